"""Strict readers of the forms in which FER-2013 is found: each gives the same ``Rows`` or one InputError.

A source is refused at its first fault, in one line that says where (file and line), what and what to do: a
set that was read in part would give numbers that nobody can reproduce. Members of archives are read as
streams and never extracted, so no path inside an archive can name a file outside it. A kilobyte can unpack to
gigabytes: rows, lines, members and bytes have limits, which FER-2013 fills to a half at most.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePath, PurePosixPath
from typing import BinaryIO

import numpy as np

from facelib.emotions import EMOTIONS, OFFICIAL_COUNTS
from facelib.files import (
    AGAIN,
    ARCHIVES,
    MAX_VALUE,
    Member,
    blame,
    check_file,
    check_form,
    fault,
    open_archive,
)

SIDE = 48
#: FER-2013's own names for its splits, in the order of its rows.
USAGES = tuple(OFFICIAL_COUNTS)
#: Folders that stand for a split, in small letters: index into ``USAGES``.
SPLIT_FOLDERS = {"train": 0, "training": 0, "val": 1, "valid": 1, "validation": 1, "publictest": 1}
SPLIT_FOLDERS |= {"test": 2, "testing": 2, "privatetest": 2}
#: The table, under the names it has in Kaggle's archives; train.csv and test.csv there are only parts of it.
TABLES = ("fer2013.csv", "icml_face_data.csv")
FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
BYTE_CODES = {str(value): value for value in range(256)}
_LABEL_CODES = {str(label): label for label in range(len(EMOTIONS))}
USAGE_CODES = {usage: index for index, usage in enumerate(USAGES)}
_OFFICIAL = sum(map(sum, OFFICIAL_COUNTS.values()))  # rows
MAX_ROWS = 2 * _OFFICIAL
MAX_PICTURES = 1 << 29  # bytes of all pictures together, encoded; as JPEG they have 60 MB
MAX_SCANS = 100  # of a progressive JPEG, which has ten: each of them is decoded in full
MAX_LINE = 1 << 17  # characters; a row has 9,300 at most


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
            notes: list[str] = []
            files = [(name, partial(open, file, "rb")) for name, file in list_folder(path, notes)]
            return _read_pictures(files, path, progress, notes)
        check_form(path)
        if name.endswith(".csv"):
            with open(path, "rb") as stream:
                return _read_table(stream, path, progress)
        return (_read_parquet if name.endswith(".parquet") else _read_archive)(path, progress)


def split_folders(folder: Path) -> dict[str, int]:
    """The folders in a folder that stand for splits: name -> index into ``USAGES``."""
    found = {}
    for entry in os.scandir(folder):
        if (code := SPLIT_FOLDERS.get(entry.name.lower())) is not None:
            if os.path.isdir(entry.path):
                found[entry.name] = code
            elif entry.is_symlink():
                check_file(entry.path)  # says where the link leads
    return found


def list_folder(folder: Path, notes: list[str] | None = None) -> list[tuple[str, str]]:
    """The pictures under train/ and the like as (path relative to the folder with "/", path), sorted.

    Links are followed, but not back to a folder above; hidden files and folders are passed over. notes: gets
    what else is. Raises InputError for what cannot be a picture where it stands.
    """
    found: list[tuple[str, str]] = []
    total = 0

    def walk(place: str, relative: str, above: tuple) -> None:
        nonlocal total
        here = os.stat(place)
        above = (*above, (here.st_dev, here.st_ino))
        for entry in sorted(os.scandir(place), key=lambda entry: entry.name):
            name = f"{relative}/{entry.name}"
            if not os.path.isdir(entry.path):
                if _place(name, folder):
                    size = check_file(entry.path).st_size
                    found.append((name, entry.path))
                    total += size
                    _check_picture(f"{folder}/{name}", size, total, len(found))
            elif (there := os.stat(entry.path)) and (there.st_dev, there.st_ino) in above:
                if notes is not None:
                    notes.append(f"{folder}/{name}: a link back to a folder above it was passed over")
            elif not entry.name.startswith("."):
                walk(entry.path, name, above)

    with blame(folder):
        for top in sorted(split_folders(folder)):
            walk(str(folder / top), top, ())
    return sorted(found)


def _check_picture(where: str, size: int, total: int, count: int) -> None:
    """Refuse what is no picture of 48 pixels by its size, and more than FER-2013 could have."""
    if size > MAX_VALUE:
        raise fault(where, "is too large for a 48 x 48 picture", "give the original pictures")
    if total > MAX_PICTURES or count > MAX_ROWS:
        what = f"with it there are {count:,} pictures of {total:,} bytes together"
        raise fault(where, what, f"at most {MAX_ROWS:,} and {MAX_PICTURES:,} are read: give FER-2013 alone")


def _collect(found: Iterable[tuple[bytes, int, int]], source: object, **facts) -> Rows:
    """``Rows`` of (pixels, label, usage), without a Python object per pixel."""
    pixels, labels, usages = bytearray(), bytearray(), bytearray()
    for face, label, usage in found:
        if len(labels) == MAX_ROWS:
            what = f"has more than {MAX_ROWS:,} rows, FER-2013 {_OFFICIAL:,}"
            raise fault(source, what, "give FER-2013 alone")
        pixels += face
        labels.append(label)
        usages.append(usage)
    images = np.frombuffer(pixels, np.uint8).reshape(-1, SIDE, SIDE)
    return Rows(images, np.frombuffer(labels, np.uint8), np.frombuffer(usages, np.uint8), **facts)


def known(table: dict[str, int], value: object, where: str, what: str) -> int:
    """``table[value]``, or a fault that names the values allowed."""
    try:
        return table[str(value).strip()]
    except KeyError:
        allowed = ", ".join(table) if len(table) < 10 else f"{next(iter(table))} to {len(table) - 1}"
        remedy = f"allowed are {allowed}: correct it or {AGAIN}"
        raise fault(where, f"unknown {what} {str(value)[:40]!r}", remedy) from None


def _shown(rows: Iterable, path: object, progress: bool, total: int | None, unit: str = "row") -> Iterable:
    """The rows, with a bar on a terminal and silence in a log."""
    from tqdm import tqdm

    name = PurePath(str(path)).name
    return tqdm(rows, f"reading {name}", total, disable=None if progress else True, unit=unit)


class _Lines:
    """The lines of a text, none of them endless: a csv reader holds a whole row before it looks at it."""

    def __init__(self, stream: BinaryIO, name: object):
        self.name, self.number, self.length = name, 0, 0  # length: of the row, which may have several lines
        self.text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self.text.readline(MAX_LINE)
        self.number += 1
        self.length += len(line)
        if self.length >= MAX_LINE:
            what = f"has more than {MAX_LINE:,} characters"
            raise fault(f"{self.name}, line {self.number}", what, f"is this FER-2013's table? {AGAIN}")
        if self.number > 2 * MAX_ROWS:
            raise fault(self.name, f"has more than {2 * MAX_ROWS:,} lines", "give FER-2013's table")
        if not line:
            raise StopIteration
        return line


def csv_rows(
    stream: BinaryIO, name: object, columns: tuple[str, ...], remedy: str
) -> Iterator[tuple[str, list[str]]]:
    """Rows of a csv as ("file, line n", the fields of ``columns`` in that order).

    The standard library's reader and not a data frame's: it streams, and it knows the line it is on.
    """
    lines = _Lines(stream, name)
    reader = csv.reader(lines, strict=True)
    try:
        header = [title.strip().lower() for title in next(filter(None, reader), [])]
        if not header:
            raise fault(name, "is empty", AGAIN)
        shown = ", ".join(header)[:80]
        if len(set(header)) < len(header):
            raise fault(f"{name}, line 1", f"a column stands twice in the header ({shown})", remedy)
        if not {title.lower() for title in columns} <= set(header):
            raise fault(f"{name}, line 1", f"the columns are {shown} and not {', '.join(columns)}", remedy)
        places = [header.index(title.lower()) for title in columns]
        empty = True
        for fields in reader:
            where, lines.length = f"{name}, line {reader.line_num}", 0
            if not fields:  # a blank line, as editors leave one at the end
                continue
            if len(fields) != len(header):
                raise fault(where, f"{len(fields)} fields instead of {len(header)}", f"cut off? {AGAIN}")
            if [value.strip().lower() for value in fields] == header:
                remedy = "two files in one? delete the repeated part"
                raise fault(where, "the header stands here again", remedy)
            empty = False
            yield where, [fields[place] for place in places]
        if empty:
            raise fault(name, "has a header and no rows", AGAIN)
    except (csv.Error, UnicodeDecodeError) as error:
        raise fault(f"{name}, line {reader.line_num + 1}", f"is not CSV text ({error})", AGAIN) from error


def _read_table(stream: BinaryIO, name: object, progress: bool) -> Rows:
    """fer2013.csv: emotion,pixels,Usage, in any order of the columns."""
    remedy = f"take fer2013.csv ({_OFFICIAL:,} rows) of Kaggle, not train.csv or test.csv"
    rows = csv_rows(stream, name, ("emotion", "pixels", "Usage"), remedy)
    return _collect_table(rows, _pixels, name, progress, _OFFICIAL)


def _collect_table(rows: Iterable[tuple], decode: Callable, name: object, progress: bool, total=None) -> Rows:
    """``Rows`` of ("file, row n", (emotion, image as ``decode`` takes it, usage))."""

    def read(where: str, cells: tuple) -> tuple[bytes, int, int]:
        emotion, image, usage = cells
        pixels, label = decode(image, where), known(_LABEL_CODES, emotion, where, "emotion")
        return pixels, label, known(USAGE_CODES, usage, where, "usage")

    return _collect((read(*row) for row in _shown(rows, name, progress, total)), name)


def _pixels(text: str, where: str) -> bytes:
    """The 2,304 gray values of a row of the table."""
    # Five times faster than a loop over the values. fromstring stops at the first thing that is no number,
    # hence the test for digits; whatever fails here is looked at again below, value by value.
    if text.isascii() and not text.encode().translate(None, b"0123456789 "):
        values = np.fromstring(text, np.int64, sep=" ")
        if len(values) == SIDE * SIDE and values.max() < 256 and values.min() >= 0:
            return values.astype(np.uint8).tobytes()
    values = text.split()
    for value in values:
        if not (value.isascii() and value.isdigit() and int(value[:9]) < 256):
            what = f"pixel value {value[:40]!r} is not a whole number from 0 to 255"
            raise fault(where, what, f"correct it or {AGAIN}")
    if len(values) != SIDE * SIDE:
        what = f"{len(values)} pixels instead of {SIDE * SIDE} (48 x 48)"
        raise fault(where, what, f"all images have one size: correct the row or {AGAIN}")
    return bytes(map(int, values))


def _read_parquet(path: Path, progress: bool) -> Rows:
    """Columns image (an encoded 48 x 48 picture), emotion, usage; other columns are ignored."""
    return _collect_table(parquet_rows(path, ("emotion", "image", "usage")), _decode, path, progress)


def parquet_rows(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[str, tuple]]:
    """Rows of a parquet file as ("file, row n", the values of ``columns`` in that order).

    A column ``image`` may also be a struct with ``bytes``, as Hugging Face writes pictures. A dictionary or
    run lengths let a kilobyte stand for gigabytes: texts stay in their dictionary until a few rows of them
    are wanted, and no value is larger than a picture. Raises InputError for a damaged or foreign file.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    with blame(path):
        meta = pq.read_metadata(path)
        schema = meta.schema.to_arrow_schema()
        if not set(columns) <= set(schema.names):
            what = f"the columns are {', '.join(schema.names)[:80]}"
            raise fault(path, what, f"needed are {', '.join(columns)}: rename or add them")
        if len(set(schema.names)) < len(schema.names):
            raise fault(path, "a column stands twice", AGAIN)
        if not meta.num_rows:
            raise fault(path, "has no rows", AGAIN)
        if meta.num_rows > MAX_ROWS:
            raise fault(path, f"has {meta.num_rows:,} rows", f"at most {MAX_ROWS:,} are read")
        leaves = {name: name for name in columns}
        for name in columns:
            kind = schema.field(name).type
            if name == "image" and pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
                leaves[name], kind = "image.bytes", kind.field("bytes").type
            kind = kind.value_type if pa.types.is_dictionary(kind) else kind
            if pa.types.is_nested(kind) or (name == "image" and not _is_text(kind)):
                wanted = "an encoded picture, or a struct with bytes" if name == "image" else "one value"
                raise fault(path, f"the column {name} holds {kind}"[:160], f"wanted is {wanted} in each row")
        places = {meta.schema.column(i).path: i for i in range(meta.num_columns)}
        used = [places[leaf] for leaf in leaves.values()]
        groups = (meta.row_group(i) for i in range(meta.num_row_groups))
        size = sum(group.column(i).total_uncompressed_size for group in groups for i in used)
        if size > MAX_PICTURES:
            raise fault(path, f"unpacks to {size:,} bytes", f"at most {MAX_PICTURES:,} are read")
        stored = [meta.schema.column(i) for i in used]
        texts = [each.path for each in stored if each.physical_type == "BYTE_ARRAY"]
        number = 0
        with pq.ParquetFile(path, read_dictionary=texts) as file:
            for batch in file.iter_batches(64, columns=list(leaves.values()), use_threads=False):
                values = []
                for name in columns:
                    column = batch.column(name)
                    column = pc.struct_field(column, "bytes") if pa.types.is_struct(column.type) else column
                    inner = column.dictionary if pa.types.is_dictionary(column.type) else column
                    longest = pc.max(pc.binary_length(inner)).as_py() if _is_text(inner.type) else 0
                    if (longest or 0) > MAX_VALUE:
                        where = f"{path}, near row {number + 1}"
                        raise fault(where, f"a value of {name} has {longest:,} bytes", AGAIN)
                    values.append(column.to_pylist())
                for row in zip(*values, strict=True):
                    number += 1
                    yield f"{path}, row {number}", row


def _is_text(kind) -> bool:
    import pyarrow as pa

    t = pa.types
    return t.is_binary(kind) or t.is_large_binary(kind) or t.is_string(kind) or t.is_large_string(kind)


def _decode(data: object, where: str) -> bytes:
    """The 2,304 gray values of an encoded picture."""
    from PIL import Image

    if not isinstance(data, bytes):
        raise fault(where, f"holds no picture but {str(data)[:40]!r}", f"correct it or {AGAIN}")
    if (scans := data.count(b"\xff\xda")) > MAX_SCANS:
        raise fault(where, f"is a picture of {scans:,} scans", "save it anew")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            size = picture.size  # from the header: nothing large is ever decoded
            if size == (SIDE, SIDE):
                return picture.convert("L").tobytes()
    except Exception as error:  # noqa: BLE001 - Pillow raises a dozen types on damaged pictures
        why = "cannot be decoded" if "cannot identify" in str(error) else str(error)[:80]
        raise fault(where, f"is not a readable picture ({why})", f"delete it or {AGAIN}") from None
    what = f"is {size[0]} x {size[1]} pixels and not 48 x 48"
    raise fault(where, what, "give the original pictures, unresized")


def _read_archive(path: Path, progress: bool) -> Rows:
    """A zip or tar of Kaggle: the table where there is one, else the folders of pictures."""
    with open_archive(path, lambda name: bool(SPLIT_FOLDERS.keys() & name.lower().split("/"))) as members:
        for wanted in TABLES:
            for name, opener in members:
                if PurePosixPath(name).name == wanted and "__MACOSX" not in name:
                    with opener() as stream:
                        return _read_table(stream, f"{path}/{name}", progress)
        inner = [name for name, _ in members if name.lower().endswith((*ARCHIVES, ".parquet"))]
        if inner and not any(_place(name, path) for name, _ in members):
            what = f"holds neither table nor pictures but {inner[0][:80]}"
            raise fault(path, what, "unpack it and give that file")
        return _read_pictures(members, path, progress)


def _read_pictures(
    members: Iterable[Member], source: Path, progress: bool, notes: Iterable[str] = ()
) -> Rows:
    """Kaggle's folders: train/<emotion>/*, test/<emotion>/*, with the split as the file name's prefix.

    Where there is a folder for validation as well, the folders alone tell the split. The rows are sorted by
    split, number in the file name, label and name.
    """
    chosen = [(*place, name, opener) for name, opener in members if (place := _place(name, source))]
    notes, found = list(notes), {code for code, *_ in chosen}
    if 0 not in found or len(found) < 2:
        what = "holds neither fer2013.csv nor pictures in train/<emotion>/ and test/<emotion>/"
        raise fault(source, what, "give the archive or the folder as it comes from Kaggle")
    three = 1 in found
    one_test = not three and any(code == 2 and usage is None for code, usage, *_ in chosen)
    if one_test:
        count = sum(code == 2 for code, *_ in chosen)
        notes.append(
            f"{source}: the file names under test/ do not tell PublicTest from PrivateTest; all {count:,} "
            "test pictures are in private_test and public_test is empty"
        )
    if three:
        rest = ", and test/ is private_test" if 2 in found else "; without test/ private_test is empty"
        notes.append(f"{source}: the folder for validation is public_test{rest}")

    def split(code: int, usage: str | None) -> int:
        return code if three or one_test or not code else USAGE_CODES[usage]

    chosen.sort(key=lambda each: (split(*each[:2]), *each[2:-1]))
    total = 0

    def pixels(opener: Callable[[], BinaryIO], where: str) -> bytes:
        nonlocal total
        with opener() as stream:
            data = stream.read(MAX_VALUE + 1)
        total += len(data)
        _check_picture(where, len(data), total, len(chosen))
        return _decode(data, where)

    found = (
        (pixels(opener, f"{source}/{name}"), label, split(code, usage))
        for code, usage, _, label, name, opener in _shown(chosen, source, progress, len(chosen), "file")
    )
    return _collect(found, source, pictures=True, notes=notes)


def _place(name: str, source: Path) -> tuple[int, str | None, int, int] | None:
    """What a member's name tells: its folder's split, usage or None, number, label; None for other files."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    top = next((i for i, part in enumerate(parts[:-1]) if part.lower() in SPLIT_FOLDERS), None)
    if top is None or "__MACOSX" in parts or any(part.startswith(".") for part in parts[top:]):
        return None
    file, code, where = parts[-1], SPLIT_FOLDERS[parts[top].lower()], f"{source}/{name}"
    if file.lower() in ("thumbs.db", "desktop.ini"):  # left by systems, as hidden files are
        return None
    if len(parts) != top + 3:
        raise fault(where, f"does not stand in {parts[top]}/<emotion>/", "remove it")
    folder = parts[top + 1].lower()
    if folder not in EMOTIONS:
        raise fault(where, f"unknown emotion {folder!r}", f"the folders are {', '.join(EMOTIONS)}")
    prefix = re.match(rf"({'|'.join(USAGES)})_", file)
    usage = prefix[1] if prefix else None
    if usage and code != 1 and (usage == "Training") != (code == 0):
        remedy = "splits would mix: put it back in its folder"
        raise fault(where, f"a {usage} picture in {parts[top]}/", remedy)
    digits = re.findall(r"\d+", PurePosixPath(file).stem)
    return code, usage, int(digits[-1][:18]) if digits else -1, EMOTIONS.index(folder)
