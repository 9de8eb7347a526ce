"""Files that others made, read with care: what they are, how large they get, and what is wrong with them.

A kilobyte can unpack to gigabytes, a pipe can be read for ever, and a file is not always what its name says.
Limits are generous to FER-2013, the largest set that is read here: it fills them to a half at most. Every
fault is one ``InputError``: what, where, what to do.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import os
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO

from facelib.errors import InputError

if TYPE_CHECKING:
    import numpy as np

MAX_BYTES = 1 << 30  # of a file, and of all that an archive unpacks to
MAX_VALUE = 1 << 20  # bytes of a small picture, or of a field
MAX_MEMBERS = 1 << 16  # files in an archive
ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")
AGAIN = "download it again"
# What a damaged file makes the parsers raise; pyarrow's errors derive from ValueError, OSError, RuntimeError.
_DAMAGE = (
    EOFError, KeyError, MemoryError, OSError, OverflowError, RuntimeError, SyntaxError, TypeError, ValueError,
    csv.Error, lzma.LZMAError, struct.error, tarfile.TarError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
_TARS = {"a gzip file": gzip.open, "a bzip2 file": bz2.open, "an xz file": lzma.open, "a tar archive": open}
#: What a file begins with -> what it is.
_KINDS = (
    (b"PK\3\4", "a zip archive"), (b"PK\5\6", "a zip archive"), (b"\x1f\x8b", "a gzip file"),
    (b"BZh", "a bzip2 file"), (b"\xfd7zXZ", "an xz file"), (b"PAR1", "a parquet file"),
    (b"Rar!", "a RAR archive"), (b"7z\xbc\xaf", "a 7-Zip archive"), (b"\x28\xb5\x2f\xfd", "a zstd file"),
    (b"\xff\xd8\xff", "a picture"), (b"\x89PNG", "a picture"), (b"GIF8", "a picture"),
    (b"%PDF", "a PDF file"), (b"\x89HDF", "an HDF5 file"), (b"\x93NUMPY", "a NumPy file"),
    (b"ARROW1", "an Arrow file"), (b"SQLite", "a database"), (b"\xd0\xcf\x11\xe0", "an Excel file"),
    (b"\xff\xfe", "UTF-16 text"), (b"\xfe\xff", "UTF-16 text"),
    (b"version https://git-lfs", "a Git LFS pointer"),
)  # fmt: skip
#: What to do about a file that is not what its name says.
_REMEDIES = {
    "a web page": "a login or error page was saved in its place: download it in a browser",
    "a Git LFS pointer": "`git lfs pull` brings the file itself",
    "UTF-16 text": "save it as UTF-8",
    "a picture": "give the folder that holds train/ and test/",
    "a zip archive": "rename it to .zip, or unpack it and give what is inside",
    "a tar archive": "rename it to .tar, or unpack it and give what is inside",
    "a parquet file": "rename it to .parquet",
    "UTF-8 text": "rename it to .csv if it is the table, else " + AGAIN,
}


def fault(where: object, what: str, remedy: str) -> InputError:
    return InputError(" ".join(f"{where}: {what}; {remedy}".split()))


@contextmanager
def blame(name: object, remedy: str = AGAIN) -> Iterator[None]:
    """Whatever a parser raises on a damaged file becomes one line with the file's name."""
    try:
        yield
    except (InputError, FileNotFoundError):
        raise
    except NotImplementedError as error:
        raise fault(name, f"cannot be read ({error})", "unpack it with the program that made it") from error
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.errno and error.strerror:
            what = f"cannot be read ({error.strerror})"
            raise fault(name, what, "check its permissions and the disk") from error
        why = str(error)[:120] or type(error).__name__
        raise fault(name, f"cannot be read: damaged or cut off? ({why})", remedy) from error


def check_file(path: str | Path) -> os.stat_result:
    """What is known of a file that may be opened. Raises FileNotFoundError, and InputError for a folder, a
    link that leads nowhere, and for a pipe or a device, which could be read for ever."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        if os.path.islink(path):
            what = f"is a link to {os.readlink(path)}, which is not there"
            raise fault(path, what, "mend the link") from None
        raise
    except (OSError, ValueError) as error:  # a circle of links; a name that no file can have
        why = getattr(error, "strerror", None) or error
        raise fault(path, f"cannot be read ({why})", "check the path") from None
    if stat.S_ISDIR(found.st_mode):
        raise fault(path, "is a folder, a file was expected", "give the file")
    if not stat.S_ISREG(found.st_mode):
        raise fault(path, "is a pipe or a device", "save its content to a file first")
    return found


def kind(path: str | Path) -> str:
    """What a file is by its first bytes, in words."""
    check_file(path)
    with open(path, "rb") as stream:
        start = stream.read(512)
    if found := next((words for magic, words in _KINDS if start.startswith(magic)), None):
        return found
    if start[257:262] == b"ustar":
        return "a tar archive"
    if re.match(rb"\s*<(!doctype|html)", start, re.I):
        return "a web page"
    return "something unknown" if b"\0" in start else "UTF-8 text" if start else "empty"


def check_form(path: Path, form: str = "") -> None:
    """Refuse what is no .csv, .parquet or archive, or not what its name says, or too large.

    form: an extension in place of the name's own. Raises InputError, and FileNotFoundError.
    """
    with blame(path):
        size, found, name = check_file(path).st_size, kind(path), form or path.name.lower()
    wanted = {".csv": "UTF-8 text", ".parquet": "a parquet file"} | dict.fromkeys(ARCHIVES, "a tar archive")
    wanted |= {".zip": "a zip archive"}
    if (meant := next((words for end, words in wanted.items() if name.endswith(end)), None)) is None:
        remedy = "give a .csv, .zip, .tar.gz or .parquet file, or a folder"
        raise fault(path, f"is not a form of FER-2013 but {found}", remedy)
    if found == "empty":
        raise fault(path, "is empty", AGAIN)
    if size > MAX_BYTES:
        raise fault(path, f"has {size:,} bytes, at most {MAX_BYTES:,} are read", "give FER-2013 alone")
    if found not in (meant, "something unknown") and not (meant == "a tar archive" and found in _TARS):
        remedy = _REMEDIES.get(found, "unpack it, or name it as what it is")
        raise fault(path, f"is {found} and not {meant}", remedy)


# --- what this package writes itself, and may find damaged --------------------------------------------------


def read_record(path: str | Path, remedy: str, *fields: str) -> dict:
    """A JSON file's object, with these fields. Raises FileNotFoundError, and InputError in one line, with the
    remedy, for a damaged file."""
    with blame(path, remedy):
        if check_file(path).st_size > 64 * MAX_VALUE:
            raise ValueError("larger than any such file")
        found = json.loads(Path(path).read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError("no JSON object")
        if missing := [name for name in fields if name not in found]:
            raise ValueError(f"it has no {', '.join(missing)}")
    return found


def read_arrays(path: str | Path, remedy: str, most: int = MAX_BYTES) -> dict[str, np.ndarray]:
    """The arrays that ``np.savez`` wrote, of ``most`` bytes together. Raises FileNotFoundError, and
    InputError in one line, with the remedy, for a damaged file."""
    import numpy as np

    with blame(path, remedy):
        check_file(path)
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > most:
            raise ValueError(f"{size:,} bytes are more than belong there")
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}


# --- archives -------------------------------------------------------------------------------------------

Member = tuple[str, Callable[[], BinaryIO]]  # a file's name and how to open it


@contextmanager
def open_archive(path: Path, wanted: Callable[[str], bool]) -> Iterator[list[Member]]:
    """The files in a zip or a tar, in its order. wanted: says of a name that it must be no link."""
    kind_of = _open_zip if path.name.lower().endswith(".zip") else _open_tar
    with blame(path), kind_of(path, _Limits(path, wanted)) as members:
        yield members


class _Limits:
    """Counts an archive's members and bytes, and refuses what a member may not be."""

    def __init__(self, path: Path, wanted: Callable[[str], bool]):
        self.path, self.wanted, self.count, self.total = path, wanted, 0, 0

    def check(self, name: str, size: int, mode: int) -> None:
        """size: as it is unpacked; mode: as of ``os.stat``, 0 where it is not known."""
        inside = PurePosixPath(name.replace("\\", "/"))
        where, self.count, self.total = f"the member {name[:80]!r}", self.count + 1, self.total + size
        if inside.is_absolute() or ".." in inside.parts or re.match("[A-Za-z]:", name):
            raise fault(self.path, f"{where} points outside the archive", f"do not trust it: {AGAIN}")
        if self.total > MAX_BYTES or self.count > MAX_MEMBERS:
            raise self.too_much()
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR) and self.wanted(name):
            what = "is a link" if stat.S_ISLNK(mode) else "is a pipe or a device"
            raise fault(self.path, f"{where} {what}", "pack the files themselves (tar -h, zip without -y)")

    def too_much(self) -> InputError:
        what = f"unpacks to more than {MAX_MEMBERS:,} files or {MAX_BYTES:,} bytes"
        return fault(self.path, what, "give FER-2013 alone")


@contextmanager
def _open_zip(path: Path, limits: _Limits) -> Iterator[list[Member]]:
    with open(path, "rb") as stream:
        stream.seek(-min(os.path.getsize(path), 65_557), os.SEEK_END)
        _, found, end = stream.read().rpartition(b"PK\5\6")
    # The size of the list of members, of which Python makes thirty times as much.
    if found and len(end) >= 12 and struct.unpack_from("<I", end, 8)[0] > 16 * MAX_VALUE:
        raise limits.too_much()
    with zipfile.ZipFile(path) as archive:
        members = []
        for member in archive.infolist():
            mode = member.external_attr >> 16 if member.create_system == 3 else 0
            limits.check(member.filename, member.file_size, mode)
            if member.flag_bits & 1:
                remedy = "unpack it with its password and give the folder"
                raise fault(path, f"the member {member.filename[:80]!r} is encrypted", remedy)
            if not member.is_dir():
                members.append((member.filename, partial(archive.open, member)))
        yield members


@contextmanager
def _open_tar(path: Path, limits: _Limits) -> Iterator[list[Member]]:
    """Small files are read as they come: to go back in what is packed is to unpack it from the start."""
    with _TARS.get(kind(path), open)(path, "rb") as stream:
        try:
            archive = tarfile.open(fileobj=_Bounded(stream, limits), mode="r:")
        except tarfile.ReadError as error:
            remedy = f"{AGAIN}, or unpack it and give what is inside"
            raise fault(path, f"holds no tar archive, or a damaged one ({error})", remedy) from None
        members, small = [], 0
        for member in archive:
            link = stat.S_IFLNK if member.issym() or member.islnk() else stat.S_IFIFO
            limits.check(member.name, member.size, 0 if member.isfile() or member.isdir() else link)
            if member.isfile():
                opener = partial(archive.extractfile, member)
                if limits.wanted(member.name) and member.size <= MAX_VALUE:
                    small += member.size
                    if small > MAX_BYTES // 2:
                        raise limits.too_much()
                    opener = partial(io.BytesIO, opener().read())
                members.append((member.name, opener))
        yield members


class _Bounded:
    """What ``tarfile`` reads of a stream: no more than ``MAX_BYTES``, and never a header of megabytes."""

    def __init__(self, stream: BinaryIO, limits: _Limits):
        self.stream, self.limits = stream, limits
        self.tell, self.seekable = stream.tell, stream.seekable

    def read(self, size: int) -> bytes:
        if size > MAX_VALUE or self.tell() > MAX_BYTES:
            raise self.limits.too_much()
        return self.stream.read(size)

    def seek(self, place: int) -> None:
        if place > MAX_BYTES:
            raise self.limits.too_much()
        self.stream.seek(place)
