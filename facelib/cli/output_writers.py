"""Writers of results: a table, JSON lines, CSV, annotated pictures; sheets and films of generated faces."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from tqdm import tqdm

from facelib.errors import InputError
from facelib.reporting import plots
from facelib.vision import image_io
from facelib.vision.encoder import COLUMNS, Picture, to_row
from facelib.vision.image_io import EXTENSIONS, printable

#: What to do when something cannot be written.
REMEDY = "free the disk, change its rights or choose another place"

Write = Callable[[Picture], None]


class Drawings:
    """Annotated pictures under the originals' names; a second photo.jpg becomes photo-2.jpg."""

    MARK = ".facelib"  # an empty file that says: all pictures here are annotated copies

    def __init__(self, folder: str, pictures: Sequence[str]):
        self.folder = Path(folder)
        self.numbers: dict[str, int] = {}
        self.taken: set[str] = set()
        within = False
        for path in pictures:
            place = path if os.path.isdir(path) else os.path.dirname(path)
            if os.path.realpath(place) == os.path.realpath(folder):
                raise InputError(
                    f"--draw {folder}: would overwrite the pictures there; choose another folder"
                )
            # Inside a folder that is searched, only a folder that we made ourselves may be written over.
            inside = os.path.realpath(folder).startswith(os.path.join(os.path.realpath(place), ""))
            if inside and any(self.folder.glob("*")) and not (self.folder / self.MARK).exists():
                raise InputError(f"--draw {folder}: holds files of yours; choose a new folder")
            within |= inside
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if within:
                (self.folder / self.MARK).touch()
        except OSError as error:
            raise InputError(f"{folder}: cannot be a folder for pictures ({error.strerror})") from None

    def __call__(self, picture) -> None:
        annotated = plots.annotate(image_io.load(picture.source), picture.faces)
        image_io.write_image(self.folder / self._name(picture.source.stem), annotated)

    def _name(self, stem: str) -> str:
        while True:
            number = self.numbers[stem] = self.numbers.get(stem, 0) + 1
            name = f"{stem}-{number}.jpg" if number > 1 else f"{stem}.jpg"
            if name.casefold() not in self.taken:  # Photo.jpg and photo.jpg are one file on many a disk
                self.taken.add(name.casefold())
                return name


@contextmanager
def open_output(as_json: bool = False, csv_place: str | None = None) -> Iterator[Write]:
    """Gives a function that writes one picture's result: JSON lines, a CSV file ("-": stdout), or a table.

    Results are there as they come, also for a reader of the file; what a full disk does not take whole is not
    there at all. Raises InputError naming the place when it cannot be written, or another process writes it.
    """
    if csv_place and os.path.splitext(csv_place)[1].lower() in EXTENSIONS:  # else a picture is overwritten
        raise InputError(f"--csv {csv_place}: is the name of a picture; give the table's name after --csv")
    try:
        if as_json:
            yield _json(_to_stdout)
        elif not csv_place:
            yield _table()
        elif csv_place == "-":
            yield _csv(_to_stdout, sys.stdout.isatty())
        else:
            with open(csv_place, "ab", buffering=0) as stream:
                _claim(stream, csv_place)
                yield _csv(lambda text: _append(stream.fileno(), text))
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        place = csv_place if csv_place not in (None, "-") else "the results"
        raise InputError(f"{place}: cannot be written ({error.strerror or error}); {REMEDY}") from None


def _claim(stream: BinaryIO, place: str) -> None:
    """Empty a file that is ours alone until it is closed; raises InputError where another process has it."""
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        return
    try:
        _lock(stream)
    except (BlockingIOError, PermissionError):
        raise InputError(f"{place}: another process is writing it; give another name") from None
    except OSError:  # a network drive that knows no locks
        pass
    stream.truncate(0)


def _lock(stream: BinaryIO) -> None:
    """Until the file is closed, however the process ends; raises OSError where another process has it."""
    if sys.platform == "win32":
        import msvcrt

        stream.seek(1 << 30)  # there, a locked byte keeps nobody from reading the table
        msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _append(descriptor: int, text: str) -> None:
    """Write all of a text at the end of a file; where that fails, the file is as it was before."""
    whole = os.fstat(descriptor).st_size
    content = text.encode("utf-8", "surrogateescape")  # a name that is no UTF-8 keeps its bytes
    try:
        while content:
            content = content[os.write(descriptor, content) :]
    except BaseException:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.ftruncate(descriptor, whole)
        raise


def _to_stdout(text: str) -> None:
    try:
        descriptor = sys.stdout.fileno()
        is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
    except (OSError, ValueError):  # a notebook's, or closed
        is_file = False
    sys.stdout.flush()
    if is_file:
        _append(descriptor, text)
    elif sys.stdout.isatty() or not hasattr(sys.stdout, "buffer"):
        sys.stdout.write(text)
    else:
        sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))
    sys.stdout.flush()


def _json(put: Callable[[str], object]) -> Write:
    def write(picture: Picture) -> None:
        faces = [_rounded(vars(face)) for face in picture.faces]
        for face in faces:
            del face["path"], face["source_index"]
        row = {"path": os.fsdecode(picture.source), "source_index": picture.index, "faces": faces}
        put(json.dumps(row) + "\n")

    return write


def _csv(put: Callable[[str], object], for_a_terminal: bool = False) -> Write:
    """Paths are the files' own, apart from those that a spreadsheet would take for a formula: "=1+1.jpg" is
    written "./=1+1.jpg", which is the same file. For a terminal, what it might obey is escaped."""
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, COLUMNS)
    table.writeheader()

    def write(picture: Picture | None) -> None:
        for face in picture.faces if picture else ():
            row = _rounded(to_row(face))
            path = printable(row["path"]) if for_a_terminal else row["path"]
            formula = path[:1] in _FORMULA or path[:1].isspace()
            table.writerow(row | {"path": os.path.join(os.curdir, path) if formula else path})
        put(text.getvalue())
        text.seek(0)
        text.truncate()

    write(None)
    return write


_FORMULA = tuple("=+-@\uff1d\uff0b\uff0d\uff20")  # and their wide forms, which some editions obey as well


def _table() -> Write:
    titles = f"{'picture':<32} {'x':>5} {'y':>5} {'w':>5} {'h':>5} {'sure':>5}  {'emotion':<14} gender"
    head = [titles, "-" * len(titles)]

    def write(picture: Picture) -> None:
        while head:  # not before there is something to head
            tqdm.write(head.pop(0))
        name = printable(picture.source.name)
        name = name if len(name) <= 32 else "…" + name[-31:]
        if not picture.faces:
            tqdm.write(f"{name:<32} no face found")
        for face in picture.faces:
            x, y, w, h = face.box
            emotion = f"{face.emotion} {face.emotions[face.emotion]:.0%}"
            gender = f"{face.gender} {face.genders[face.gender]:.0%}"
            box = f"{name:<32} {x:>5} {y:>5} {w:>5} {h:>5} {face.confidence:>5.2f}"
            tqdm.write(f"{box}  {emotion:<14} {gender}")

    return write


def _rounded(found: dict) -> dict:
    """Numbers to four decimals, in dictionaries inside as well; boxes and eyes stay."""
    return {
        key: round(v, 4) if isinstance(v, float) else _rounded(v) if isinstance(v, dict) else v
        for key, v in found.items()
    }


def write_faces(place: str, faces: np.ndarray, enlarge: int = 2, columns: int | None = None) -> None:
    """Write faces (n, 48, 48) uint8: a grid into a picture, one after another into a .gif or .mp4, or each
    into a file of its own in a folder (no extension).

    enlarge: pixels of the file for one of a face. columns: of the grid; None: about twice as wide as high.
    Raises InputError for an extension that is none of these, or a place that cannot be written.
    """
    large = faces.repeat(enlarge, axis=1).repeat(enlarge, axis=2)
    kind = check_faces(place)
    if kind == "folder":
        for number, face in enumerate(large):
            image_io.write_image(Path(place) / f"{number:04}.png", face)
    elif kind == "film":
        image_io.write_animation(place, large)
    else:
        image_io.write_image(place, grid(large, enlarge, columns))


def grid(faces: np.ndarray, gap: int, columns: int | None = None) -> np.ndarray:
    """Faces (n, s, s) uint8 in rows, a white gap of so many pixels after each; one (H, W) uint8 picture.

    columns: faces in a row; None: the grid is about twice as wide as high.
    """
    columns = columns or min(len(faces), math.ceil(math.sqrt(2 * len(faces))))
    faces = np.pad(faces, ((0, -len(faces) % columns), (0, gap), (0, gap)), constant_values=255)
    rows = faces.reshape(-1, columns, *faces.shape[1:]).swapaxes(1, 2)
    return rows.reshape(rows.shape[0] * rows.shape[1], -1)


def check_faces(place: str) -> str:
    """What ``write_faces`` makes of a place: "picture", "film" or "folder"; raises InputError as it does."""
    suffix = Path(place).suffix.lower()
    if suffix in (".gif", ".mp4"):
        return "film"
    if suffix in EXTENSIONS:
        return "picture"
    if suffix:
        raise InputError(f"{printable(place)}: write a .png or .jpg, a .gif or .mp4, or into a folder")
    return "folder"
