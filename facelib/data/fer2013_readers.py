"""Strict readers of the forms in which FER-2013 is found: each gives the same ``Rows`` or one InputError.

A source is refused at its first fault, in one line that says where (file and line), what and what to do: a
set that was read in part would give numbers that nobody can reproduce. Members of archives are read as
streams and never extracted, so no path inside an archive can name a file outside it.
"""

from __future__ import annotations

import csv
import io
import lzma
import os
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePath, PurePosixPath
from typing import BinaryIO

import numpy as np

from facelib.emotions import EMOTIONS, OFFICIAL_COUNTS
from facelib.errors import InputError

SIDE = 48
#: FER-2013's own names for its splits, in the order of its rows.
USAGES = tuple(OFFICIAL_COUNTS)
#: The table, under the names it has in Kaggle's archives; train.csv and test.csv there are only parts of it.
TABLES = ("fer2013.csv", "icml_face_data.csv")
ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")
MAX_PICTURE = 1 << 20  # bytes; a 48 x 48 picture takes 10 kB at most, whatever its format
FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
BYTE_CODES = {str(value): value for value in range(256)}
_LABEL_CODES = {str(label): label for label in range(len(EMOTIONS))}
USAGE_CODES = {usage: index for index, usage in enumerate(USAGES)}
_OFFICIAL = sum(map(sum, OFFICIAL_COUNTS.values()))  # rows
_AGAIN = "download it again"
# What a damaged file makes the parsers raise; pyarrow's errors derive from ValueError, OSError, RuntimeError.
_DAMAGE = (
    EOFError, OSError, RuntimeError, ValueError, csv.Error, lzma.LZMAError,
    tarfile.TarError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


@dataclass(frozen=True)
class Rows:
    """What one source holds, in its own order.

    images: (n, 48, 48) uint8; labels: (n,) uint8 in 0..6; usages: (n,) uint8, index into ``USAGES``.
    pictures: True if the rows come from single files, whose order need not be the official one.
    notes: what the caller should be told, one line each.
    """

    images: np.ndarray
    labels: np.ndarray
    usages: np.ndarray
    pictures: bool = False
    notes: list[str] = field(default_factory=list)


def read_rows(path: Path, progress: bool = True) -> Rows:
    """Read any source: a csv, an archive, a folder with train/ and test/, a parquet file.

    Raises InputError at the first fault.
    """
    name = path.name.lower()
    with blame(path):
        if path.is_dir():
            files = [(name, partial(open, file, "rb")) for name, file in list_folder(path)]
            return _read_pictures(files, path, progress)
        if name.endswith(".csv"):
            with open(path, "rb") as stream:
                return _read_table(stream, path, progress)
        if name.endswith(".parquet"):
            return _read_parquet(path, progress)
        if name.endswith(ARCHIVES):
            return _read_archive(path, progress)
    remedy = "give a .csv, .zip, .tar.gz or .parquet file, or a folder"
    raise _fault(path, "is not a form of FER-2013", remedy)


def list_folder(folder: Path) -> list[tuple[str, str]]:
    """The files under train/ and test/ as (path relative to the folder with "/", path), sorted."""
    found = []
    for top in ("test", "train"):
        for root, _, files in os.walk(folder / top):
            relative = Path(root).relative_to(folder).as_posix()
            found += [(f"{relative}/{file}", f"{root}/{file}") for file in files]
    return sorted(found)


def match_rows(rows: Rows, reference: Rows) -> np.ndarray | None:
    """Find each picture's row in the table it was made from: (n,) int64, or None if it is another set.

    The comparison is by label, by what is known of the split, and by pixels: JPEG moves a pixel by a few
    gray levels, two different faces differ by dozens. Exact duplicates share out their rows among them.
    """
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist
    from sklearn.metrics import pairwise_distances_argmin

    def groups(r: Rows) -> np.ndarray:
        # A test/ folder without prefixes was read as PrivateTest: there only "train or not" can be compared.
        split = r.usages if 1 in rows.usages else (r.usages > 0)
        return r.labels * 3 + split

    if len(rows.labels) != len(reference.labels):
        return None
    mine, theirs = groups(rows), groups(reference)
    matched = np.full(len(mine), -1)
    for group in np.unique(mine):
        here, there = np.flatnonzero(mine == group), np.flatnonzero(theirs == group)
        if len(here) != len(there):
            return None
        # Means of 2 x 2 pixels: a quarter of the work, and JPEG's error is smaller in them.
        small, wanted = (
            r.images[index].reshape(-1, 24, 2, 24, 2).mean((2, 4), dtype=np.float32).reshape(-1, 576)
            for r, index in ((rows, here), (reference, there))
        )
        nearest = pairwise_distances_argmin(small, wanted)
        first = np.unique(nearest, return_index=True)[1]
        late = np.setdiff1d(np.arange(len(here)), first)  # their row is taken by an equal picture
        free = np.setdiff1d(np.arange(len(there)), nearest)
        pairs = linear_sum_assignment(cdist(small[late], wanted[free], "cityblock"))
        nearest[late[pairs[0]]] = free[pairs[1]]
        if np.abs(small - wanted[nearest]).mean(1).max(initial=0) > 12:
            return None
        matched[here] = there[nearest]
    return matched


def _collect(found: Iterable[tuple[bytes, int, int]], **facts) -> Rows:
    """``Rows`` of (pixels, label, usage), without a Python object per pixel."""
    pixels, labels, usages = bytearray(), bytearray(), bytearray()
    for face, label, usage in found:
        pixels += face
        labels.append(label)
        usages.append(usage)
    images = np.frombuffer(pixels, np.uint8).reshape(-1, SIDE, SIDE)
    return Rows(images, np.frombuffer(labels, np.uint8), np.frombuffer(usages, np.uint8), **facts)


def _fault(where: object, what: str, remedy: str) -> InputError:
    return InputError(" ".join(f"{where}: {what}; {remedy}".split()))


@contextmanager
def blame(name: object) -> Iterator[None]:
    """Whatever a parser raises on a damaged file becomes one line with the file's name."""
    try:
        yield
    except InputError:
        raise
    except _DAMAGE as error:
        why = str(error)[:120] or type(error).__name__
        raise _fault(name, f"cannot be read: damaged or cut off? ({why})", _AGAIN) from error


def known(table: dict[str, int], value: object, where: str, what: str) -> int:
    """``table[value]``, or a fault that names the values allowed."""
    try:
        return table[str(value).strip()]
    except KeyError:
        allowed = ", ".join(table) if len(table) < 10 else f"{next(iter(table))} to {len(table) - 1}"
        remedy = f"allowed are {allowed}: correct it or {_AGAIN}"
        raise _fault(where, f"unknown {what} {str(value)[:40]!r}", remedy) from None


def _label(value: object, where: str) -> int:
    return known(_LABEL_CODES, value, where, "emotion")


def _usage(value: object, where: str) -> int:
    return known(USAGE_CODES, value, where, "usage")


def _shown(rows: Iterable, path: object, progress: bool, total: int, unit: str = "row") -> Iterable:
    """The rows, with a bar on a terminal and silence in a log."""
    from tqdm import tqdm

    name = PurePath(str(path)).name
    return tqdm(rows, f"reading {name}", total, disable=None if progress else True, unit=unit)


def csv_rows(
    stream: BinaryIO, name: object, columns: tuple[str, ...], remedy: str
) -> Iterator[tuple[str, list[str]]]:
    """Rows of a csv as ("file, line n", the fields of ``columns`` in that order).

    The standard library's reader and not a data frame's: it streams, and it knows the line it is on.
    """
    reader = csv.reader(io.TextIOWrapper(stream, encoding="utf-8-sig", newline=""), strict=True)
    try:
        header = [title.strip().lower() for title in next(reader, [])]
        if not header:
            raise _fault(name, "is empty", _AGAIN)
        shown = ", ".join(header)[:80]
        if len(set(header)) < len(header):
            raise _fault(f"{name}, line 1", f"a column stands twice in the header ({shown})", remedy)
        if not {title.lower() for title in columns} <= set(header):
            raise _fault(f"{name}, line 1", f"the columns are {shown} and not {', '.join(columns)}", remedy)
        places = [header.index(title.lower()) for title in columns]
        empty = True
        for fields in reader:
            where = f"{name}, line {reader.line_num}"
            if not fields:  # a blank line, as editors leave one at the end
                continue
            if len(fields) != len(header):
                raise _fault(where, f"{len(fields)} fields instead of {len(header)}", f"cut off? {_AGAIN}")
            if [value.strip().lower() for value in fields] == header:
                remedy = "two files in one? delete the repeated part"
                raise _fault(where, "the header stands here again", remedy)
            empty = False
            yield where, [fields[place] for place in places]
        if empty:
            raise _fault(name, "has a header and no rows", _AGAIN)
    except (csv.Error, UnicodeDecodeError) as error:
        raise _fault(f"{name}, line {reader.line_num + 1}", f"is not CSV text ({error})", _AGAIN) from error


def _read_table(stream: BinaryIO, name: object, progress: bool) -> Rows:
    """fer2013.csv: emotion,pixels,Usage, in any order of the columns."""
    remedy = f"take fer2013.csv ({_OFFICIAL:,} rows) of Kaggle, not train.csv or test.csv"
    rows = csv_rows(stream, name, ("emotion", "pixels", "Usage"), remedy)
    return _collect(
        (_pixels(pixels, where), _label(emotion, where), _usage(usage, where))
        for where, (emotion, pixels, usage) in _shown(rows, name, progress, _OFFICIAL)
    )


def _pixels(text: str, where: str) -> bytes:
    """The 2,304 gray values of a row of the table."""
    # Five times faster than a loop over the values. fromstring stops at the first thing that is no number,
    # hence the test for digits; whatever fails here is looked at again below, value by value.
    if text.isascii() and text.replace(" ", "").isdigit():
        values = np.fromstring(text, np.int64, sep=" ")
        if len(values) == SIDE * SIDE and values.max() < 256 and values.min() >= 0:
            return values.astype(np.uint8).tobytes()
    values = text.split()
    for value in values:
        if not (value.isascii() and value.isdigit() and int(value[:9]) < 256):
            what = f"pixel value {value[:40]!r} is not a whole number from 0 to 255"
            raise _fault(where, what, f"correct it or {_AGAIN}")
    if len(values) != SIDE * SIDE:
        what = f"{len(values)} pixels instead of {SIDE * SIDE} (48 x 48)"
        raise _fault(where, what, f"all images have one size: correct the row or {_AGAIN}")
    return bytes(map(int, values))


def _read_parquet(path: Path, progress: bool) -> Rows:
    """Columns image (an encoded 48 x 48 picture), emotion, usage; other columns are ignored."""
    import pyarrow.parquet as pq

    columns = ["image", "emotion", "usage"]
    with pq.ParquetFile(path) as file:
        names, count = file.schema_arrow.names, file.metadata.num_rows
        if not set(columns) <= set(names):
            raise _fault(path, f"the columns are {', '.join(names)[:80]}", f"needed are {', '.join(columns)}")
        if not count:
            raise _fault(path, "has no rows", _AGAIN)
        rows = (row for batch in file.iter_batches(1024, columns=columns) for row in batch.to_pylist())
        numbered = ((f"{path}, row {number}", row) for number, row in enumerate(rows, 1))
        return _collect(
            (_decode(row["image"], where), _label(row["emotion"], where), _usage(row["usage"], where))
            for where, row in _shown(numbered, path, progress, count)
        )


def _decode(data: object, where: str) -> bytes:
    """The 2,304 gray values of an encoded picture."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            size = picture.size  # from the header: nothing large is ever decoded
            if size == (SIDE, SIDE):
                return picture.convert("L").tobytes()
    except Exception as error:  # noqa: BLE001 - Pillow raises a dozen types on damaged pictures
        why = "cannot be decoded" if "cannot identify" in str(error) else str(error)[:80]
        raise _fault(where, f"is not a readable picture ({why})", f"delete it or {_AGAIN}") from None
    what = f"is {size[0]} x {size[1]} pixels and not 48 x 48"
    raise _fault(where, what, "give the original pictures, unresized")


Member = tuple[str, Callable[[], BinaryIO]]  # a file's name and how to open it


def _read_archive(path: Path, progress: bool) -> Rows:
    """A zip or tar of Kaggle: the table where there is one, else the folders of pictures."""
    with _open_archive(path) as members:
        for name, _ in members:
            inside = PurePosixPath(name.replace("\\", "/"))
            if inside.is_absolute() or ".." in inside.parts or re.match("[A-Za-z]:", name):
                what = f"the member {name[:80]!r} points outside the archive"
                raise _fault(path, what, f"do not trust it: {_AGAIN}")
        for wanted in TABLES:
            for name, opener in members:
                if PurePosixPath(name).name == wanted and "__MACOSX" not in name:
                    with opener() as stream:
                        return _read_table(stream, f"{path}/{name}", progress)
        return _read_pictures(members, path, progress)


@contextmanager
def _open_archive(path: Path) -> Iterator[list[Member]]:
    """The files in an archive, in its order."""
    if path.name.lower().endswith(".zip"):
        with zipfile.ZipFile(path) as archive:
            files = [member for member in archive.infolist() if not member.is_dir()]
            yield [(member.filename, partial(archive.open, member)) for member in files]
    else:
        with tarfile.open(path) as archive:
            files = [member for member in archive if member.isfile()]
            yield [(member.name, partial(archive.extractfile, member)) for member in files]


def _read_pictures(members: Iterable[Member], source: Path, progress: bool) -> Rows:
    """Kaggle's folders: train/<emotion>/*, test/<emotion>/*, with the split as the file name's prefix.

    The rows are sorted by split, number in the file name, label and name.
    """
    chosen = [(*place, name, opener) for name, opener in members if (place := _place(name, source))]
    if {top for top, *_ in chosen} != {"train", "test"}:
        what = "holds neither fer2013.csv nor pictures in train/<emotion>/ and test/<emotion>/"
        raise _fault(source, what, "give the archive or the folder as it comes from Kaggle")
    one_test = any(top == "test" and usage is None for top, usage, *_ in chosen)
    notes = []
    if one_test:
        count = sum(top == "test" for top, *_ in chosen)
        notes.append(
            f"{source}: the file names under test/ do not tell PublicTest from PrivateTest; all {count:,} "
            "test pictures are in private_test and public_test is empty"
        )

    def split(top: str, usage: str | None) -> int:
        return 0 if top == "train" else 2 if one_test else USAGE_CODES[usage]

    chosen.sort(key=lambda each: (split(*each[:2]), *each[2:-1]))
    return _collect(
        (
            (_picture(opener, f"{source}/{name}"), label, split(top, usage))
            for top, usage, _, label, name, opener in _shown(chosen, source, progress, len(chosen), "file")
        ),
        pictures=True,
        notes=notes,
    )


def _picture(opener: Callable[[], BinaryIO], where: str) -> bytes:
    with opener() as stream:
        data = stream.read(MAX_PICTURE + 1)
    if len(data) > MAX_PICTURE:
        raise _fault(where, "is too large for a 48 x 48 picture", "give the original pictures")
    return _decode(data, where)


def _place(name: str, source: Path) -> tuple[str, str | None, int, int] | None:
    """What a member's name tells: train or test, usage or None, number, label; None for other files."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    top = next((i for i, part in enumerate(parts[:-1]) if part in ("train", "test")), None)
    file = parts[-1]
    left_by_systems = file.startswith(".") or file.lower() in ("thumbs.db", "desktop.ini")
    if top is None or "__MACOSX" in parts or left_by_systems:
        return None
    where = f"{source}/{name}"
    if len(parts) != top + 3:
        raise _fault(where, "does not stand in train/<emotion>/ or test/<emotion>/", "remove it")
    folder = parts[top + 1].lower()
    if folder not in EMOTIONS:
        raise _fault(where, f"unknown emotion {folder!r}", f"the folders are {', '.join(EMOTIONS)}")
    prefix = re.match(rf"({'|'.join(USAGES)})_", file)
    usage = prefix[1] if prefix else None
    if usage and (usage == "Training") != (parts[top] == "train"):
        remedy = "splits would mix: put it back in its folder"
        raise _fault(where, f"a {usage} picture in {parts[top]}/", remedy)
    digits = re.findall(r"\d+", PurePosixPath(file).stem)
    return parts[top], usage, int(digits[-1]) if digits else -1, EMOTIONS.index(folder)
