"""Reading and writing pictures: whatever is passed in becomes an RGB array or one clear error.

Pillow decodes; this module decides what is refused, converts every pixel format to 8-bit RGB (16-bit, CMYK,
palette, transparency, EXIF orientation), and words the errors. ``load`` is the one way in.
"""

from __future__ import annotations

import glob
import importlib.util
import io
import os
import re
import stat
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from facelib.errors import ImageError, InputError
from facelib.paths import atomic_write

#: Extensions looked for in folders; a file that is named explicitly is tried whatever its extension. HEIC is
#: read where the package pillow-heif is installed, AVIF where Pillow was built with it.
EXTENSIONS = frozenset(
    ".jpg .jpeg .jpe .jfif .png .bmp .gif .tif .tiff .webp .ppm .pgm .pnm".split()
    + [".avif"] * bool(importlib.util.find_spec("PIL._avif"))
    + [".heic", ".heif"] * bool(importlib.util.find_spec("pillow_heif"))
)
#: Pictures with more pixels, or a longer side (no JPEG has one), are refused before they are decoded: a few
#: bytes of PNG can unpack to gigabytes.
MAX_PIXELS, MAX_SIDE = 130_000_000, 65_535
#: Bytes that decoding one picture may take; on many cores, all threads' pictures together may take more.
MEMORY = 720_000_000
MEMORY_PER_CORE = 150_000_000
#: Files with more bytes are refused.
MAX_FILE = 350_000_000
#: Progressive JPEGs have about ten scans, each of which goes over all pixels; a hostile one has thousands.
MAX_SCANS, MAX_SCANNED = 100, 1_000_000_000
#: Longer EXIF data are not looked into for a picture's orientation: a JPEG's have 64 KB.
MAX_EXIF = 1_000_000
#: Pixels of formats that Pillow decodes in Python (PPM as text or of odd depth, run-length BMP).
MAX_SLOW_PIXELS = 6_000_000
#: Weights of red, green and blue in gray (ITU-R BT.601).
LUMA = (0.299, 0.587, 0.114)

#: What stands for a picture: a file's path; its content, as bytes or an open binary file; a PIL image; an
#: array as ``as_rgb`` takes it, also another library's (whatever numpy can make an array of).
Source = str | os.PathLike | bytes | bytearray | memoryview | BinaryIO | Image.Image | np.ndarray


def printable(path: str | bytes | os.PathLike) -> str:
    """A path (or a message with one in it) as one line of text: what cannot be shown appears as escapes."""

    def escape(c: str) -> str:
        if "\udc80" <= c <= "\udcff":  # how Python stands in for a byte that is no UTF-8
            return f"\\x{ord(c) - 0xDC00:02x}"
        return c.encode("unicode_escape").decode()

    return "".join(c if c.isprintable() else escape(c) for c in os.fsdecode(path))


def _short(text: object, most: int = 200) -> str:
    """One line of at most so many characters; what is too long loses its middle."""
    text = printable(str(text)[: 10 * most] + str(text)[10 * most :][-most:])
    return text if len(text) <= most else f"{text[: most // 2]}…{text[1 - most // 2 :]}"


# --- what stands for a picture ---------------------------------------------------------------------------


def is_picture(given: object) -> bool:
    """Whether this stands for one picture, not for several, as a list, an array of paths or one of four
    dimensions do. What can be neither counts as one: ``load`` says what is wrong with it."""
    if isinstance(given, (str, os.PathLike, bytes, bytearray, memoryview, Image.Image, Mapping)):
        return True
    if _is_file(given) or _is_table(given):
        return True
    if isinstance(given, (list, tuple)) and isinstance(next(iter(given), None), (list, tuple, int, float)):
        return True  # an array as nested lists: one error, not one for each row
    if hasattr(given, "__array__"):
        array = _array(given)
        return array.ndim < 4 and not (array.ndim == 1 and array.dtype.kind in "USOT")
    return not isinstance(given, Iterable)


def each(pictures: Source | Iterable[Source]) -> Iterable[Source]:
    """The pictures that are passed in, one after another, also if it is one alone."""
    if is_picture(pictures):
        return [pictures]
    if not hasattr(pictures, "__array__"):
        return pictures
    array = _array(pictures)
    return map(os.fsdecode, array) if array.dtype.kind == "S" else iter(array)


def path_of(source: Source) -> str | None:
    """The path of a picture that is given by its path, else None."""
    return os.fsdecode(source) if isinstance(source, (str, os.PathLike)) else None


def held(source: Source) -> int:
    """About how many bytes a picture that was passed in holds; none where it is a path or an open file."""
    if isinstance(source, Image.Image):
        return 4 * source.width * source.height
    return len(source) if isinstance(source, (bytes, bytearray)) else getattr(source, "nbytes", 0)


def detached(source: Source) -> Source:
    """The same picture, safe to be read later and in another thread: until then an open file, or one that a
    PIL image has yet to read, may be closed, or be read by two threads. Raises ImageError."""
    if _is_file(source):
        return _content(source)
    return load(source) if isinstance(source, Image.Image) and getattr(source, "tile", None) else source


def _is_file(source: object) -> bool:
    return callable(getattr(source, "read", None))


def _is_table(source: object) -> bool:
    return hasattr(source, "__array__") and hasattr(source, "columns")


def _array(source: object) -> np.ndarray:
    try:
        return np.asarray(source)
    except Exception as error:  # noqa: BLE001 a tensor on a GPU, for one; each library has its own
        kind = type(source).__name__
        raise ImageError(f"numpy can make no array of this {kind}: {_short(error, 100)}") from None


def _content(stream: BinaryIO) -> bytes:
    """All bytes of an open file, from its beginning where it can be rewound."""
    name = _name_of(stream)
    try:
        with suppress(OSError, AttributeError):
            stream.seek(0)
        content = stream.read(MAX_FILE + 1)
    except Exception as error:  # noqa: BLE001 closed, or of any library
        raise ImageError(f"{name}: cannot be read ({_short(error, 100)}); open it again") from None
    if not isinstance(content, bytes):
        kind = type(content).__name__
        raise ImageError(f'{name}: gives {kind}, not bytes; open it as open(path, "rb")')
    if len(content) > MAX_FILE:
        raise ImageError(_TOO_LONG.format(name))
    return content


def _name_of(stream: BinaryIO) -> str:
    name = getattr(stream, "name", None)
    return _short(name) if isinstance(name, str) else type(stream).__name__


# --- reading ---------------------------------------------------------------------------------------------


def load(source: Source) -> np.ndarray:
    """Whatever stands for a picture as (H, W, 3) uint8 RGB with its EXIF orientation applied.

    Gray, palette, CMYK, 16-bit, floating-point and transparent pictures are converted (transparency over
    white); of an animation the first frame is taken; arrays as in ``as_rgb``. Raises ImageError, one line of
    at most 300 characters, for what stands for no picture, for a missing, empty, truncated, foreign or
    forbidden file and for one that is over a limit of this module.
    """
    with opened(source) as image:
        return image


read_image = load  # of a file


@contextmanager
def opened(source: Source) -> Iterator[np.ndarray]:
    """As ``load``; until the end of the block the picture counts among those that are in memory, and other
    threads may have to wait with theirs."""
    with _Memory() as memory:
        yield _load(source, memory)


class _Memory:
    """A picture's part of the bytes that all threads' pictures may take together."""

    _change, _taken = threading.Condition(), 0
    PATIENCE = 60  # seconds; a detector that reads further pictures itself would wait for its own

    def __init__(self):
        self._bytes = 0

    def take(self, size: int) -> None:
        """Have so many bytes from now on, more or fewer than before; waits until others have given back."""
        kind, more = type(self), size - self._bytes
        limit = max(MEMORY, MEMORY_PER_CORE * (os.cpu_count() or 1))

        def fits() -> bool:
            return kind._taken + more <= limit or kind._taken == self._bytes

        with kind._change:
            if more > 0:
                kind._change.wait_for(fits, kind.PATIENCE)
            kind._taken += more
            self._bytes = size
            kind._change.notify_all()

    def __enter__(self) -> _Memory:
        return self

    def __exit__(self, *_) -> None:
        self.take(0)

    @classmethod
    def forget(cls) -> None:
        cls._change, cls._taken = threading.Condition(), 0


if hasattr(os, "register_at_fork"):  # the child has none of the threads that would give back
    os.register_at_fork(after_in_child=_Memory.forget)


def _load(source: Source, memory: _Memory) -> np.ndarray:
    if isinstance(source, (str, os.PathLike)):
        return _read_path(source, memory)
    if isinstance(source, (bytes, bytearray, memoryview)):
        if _names_a_file(source):  # what comes as bytes may come from anywhere: it opens no file
            raise ImageError("bytes are a picture's content, not a path; write os.fsdecode(path)")
        return _decode(_Bytes(source), type(source).__name__, memory)
    if _is_file(source):
        return _decode(_Bytes(_content(source)), _name_of(source), memory)
    if isinstance(source, Image.Image):
        return _upright(*_pixels(source, type(source).__name__, memory))
    if hasattr(source, "__array__") and not _is_table(source):
        return as_rgb(_array(source))
    raise ImageError(
        "a picture is a path, bytes, an open binary file, a PIL image or an (H, W, 3) uint8 array, "
        f"not a {_short(type(source).__name__, 80)}"
    )


def _names_a_file(content: bytes) -> bool:
    with suppress(OSError, ValueError):
        return len(content) < 4096 and os.path.isfile(bytes(content))
    return False


class _Counted:
    """A file that ends with an error where headers do not: Pillow walks through them byte by byte, and keeps
    what it finds, each number of a table as an object of its own."""

    MOST_READS, MOST_HEADERS = 8_000_000, 48_000_000
    reads = headers = 0
    is_opening = True  # until then, all that is read are headers

    def read(self, *size) -> bytes:
        self.reads += 1
        if self.reads > self.MOST_READS:
            raise _Endless("it has headers without an end")
        content = super().read(*size)
        self.headers += len(content) * self.is_opening
        if self.headers > self.MOST_HEADERS:
            raise _Endless(f"it has over {self.MOST_HEADERS // 10**6} million bytes before its first pixel")
        return content


class _Endless(Exception):
    pass


class _File(_Counted, io.BufferedReader):
    pass


class _Bytes(_Counted, io.BytesIO):
    pass


_TOO_LONG = f"{{}}: the file has more than {MAX_FILE // 10**6} million bytes; reduce the picture first"


def _read_path(path: str | os.PathLike, memory: _Memory) -> np.ndarray:
    name = _short(os.fsdecode(path))
    try:
        if _ADDRESS.match(name) and not os.path.exists(path):
            raise ImageError(f"{_short(name, 80)}: {_why_no_path(name)}")
        found = os.stat(path)
        if stat.S_ISDIR(found.st_mode):
            raise ImageError(f"{name}: is a folder, a picture was expected")
        if not stat.S_ISREG(found.st_mode):  # opening a pipe would wait for ever
            raise ImageError(f"{name}: is a pipe or a device; save the picture to a file first")
        if found.st_size > MAX_FILE:
            with open(path, "rb") as stream:
                why = _foreign(stream.read(64), name)
            raise ImageError(f"{name}: {why}" if why else _TOO_LONG.format(name))
        with _File(io.FileIO(path)) as stream:
            return _decode(stream, name, memory)
    except ImageError:
        raise
    except FileNotFoundError:
        why = "no such file; check the path"
        if os.path.islink(path):
            why = "is a link to a file that is gone"
        elif glob.has_magic(name):
            why = "no such file; for a pattern write glob.glob(pattern)"
        raise ImageError(f"{name}: {why}") from None
    except PermissionError:
        raise ImageError(f"{name}: no permission to read it; change its rights (chmod +r)") from None
    except (OSError, ValueError) as error:  # a name too long or with a NUL, a circle of links, a bad disk
        reason = _short(getattr(error, "strerror", None) or error, 60)
        raise ImageError(f"{name}: cannot be read ({reason}); check the path") from None


_ADDRESS = re.compile("data:|[a-z][a-z0-9+.-]+://", re.IGNORECASE)


def _why_no_path(name: str) -> str:
    if name.lower().startswith("data:"):
        return "is a picture as text; pass the bytes, base64.b64decode(text.partition(',')[2])"
    if name.lower().startswith("file:"):
        return "is an address; give the path alone, without file://"
    return "is an address; download the picture and give the file, facelib opens no connections"


def _foreign(head: bytes, name: str) -> str | None:
    """What a file that is no picture is, by its first bytes or else by its extension, and what to do."""
    brand = head[8:12] if head[4:8] == b"ftyp" else b""
    if brand in (b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1"):
        if ".heic" not in EXTENSIONS:
            return "is a HEIC picture; `pip install 'facelib[heic]'`, then it is read"
    elif brand == b"avif":
        if ".avif" not in EXTENSIONS:
            return "is an AVIF picture, which this build of Pillow cannot read; convert it"
    elif brand or head.startswith((b"\x1aE\xdf\xa3", b"0&\xb2u", b"\0\0\1\xba", b"FLV\1")):
        return _FILM
    if head.startswith(b"RIFF") and head[8:12] == b"AVI ":
        return _FILM
    if head.startswith(b"PK\3\4"):
        return "is a zip archive; unpack it and give the folder"
    if head.startswith(b"%PDF"):
        return "is a PDF; save its pages as pictures"
    return _FILM if os.path.splitext(name)[1].lower() in _FILMS else None


_FILM = "is a film, not a picture; `facelib analyze FILM` and facelib.analyze_video read films"
_FILMS = frozenset(".mp4 .m4v .mov .avi .mkv .webm .wmv .mpg .mpeg .flv .mts .m2ts .ts .3gp".split())


def _decode(stream: BinaryIO, name: str, memory: _Memory) -> np.ndarray:
    head = stream.read(64)
    if not head:
        raise ImageError(f"{name}: the file is empty; copy or download it again")
    stream.seek(0)
    # The inner function: Pillow's copy is gone before another is made, turned.
    return _upright(*_opened_pixels(stream, head, name, memory))


def _opened_pixels(stream: BinaryIO, head: bytes, name: str, memory: _Memory) -> tuple[np.ndarray, int]:
    try:
        image = Image.open(stream, formats=_formats())
    except UnidentifiedImageError:
        why = _foreign(head, name) or "is not a picture in a known format (JPEG, PNG, …); convert it"
        raise ImageError(f"{name}: {why}") from None
    except Image.DecompressionBombError:
        raise ImageError(f"{name}: its pixels are more than {_LIMIT}") from None
    except _Endless as error:
        raise ImageError(f"{name}: {error}; save it again, as JPEG or PNG") from None
    except Exception as error:  # noqa: BLE001 as below
        raise _damaged(name, error) from None
    stream.is_opening = False
    return _pixels(image, name, memory)


def _damaged(name: str, error: Exception) -> ImageError:
    if isinstance(error, MemoryError):
        return ImageError(f"{name}: not enough memory for this picture; reduce it first")
    reason = _short(str(error) or type(error).__name__, 60)
    return ImageError(f"{name}: damaged or truncated picture ({reason}); copy or download it again")


def _pixels(image: Image.Image, name: str, memory: _Memory) -> tuple[np.ndarray, int]:
    """(H, W, 3) uint8 RGB as the file has it, and the EXIF orientation in which it is to be seen."""
    try:
        memory.take(_cost(image, name))
        image.load()
        rgb = _to_rgb(image, name)
    except ImageError:
        raise
    except Exception as error:  # noqa: BLE001 Pillow's decoders report damaged data with any type
        raise _damaged(name, error) from None
    memory.take(2 * rgb.nbytes)
    if len(image.info.get("exif") or b"") > MAX_EXIF:
        return rgb, 1
    try:
        return rgb, image.getexif().get(0x0112, 1)
    except Exception:  # noqa: BLE001 damaged EXIF data are no reason to lose a good picture
        return rgb, 1


@cache
def _formats() -> list[str]:
    """Pillow's names of the formats behind ``EXTENSIONS``. It knows forty more, one of which (EPS) starts
    another program to draw a file: nothing to try on files from anywhere."""
    Image.init()
    with suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()
    return [name for name in "JPEG PNG BMP GIF TIFF WEBP PPM AVIF HEIF".split() if name in Image.OPEN]


_LIMIT = f"the limit of {MAX_PIXELS // 10**6} million; reduce the picture first"
#: Bytes for each pixel: of Pillow's picture, 4 for what is not listed, and in some formats of its decoder.
_STORED = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2, "I;16N": 2}
_DECODER = {"WEBP": 13, "AVIF": 7, "HEIF": 5, "TIFF": 5, "GIF": 4}


def _cost(image: Image.Image, name: str) -> int:
    """The bytes that decoding a picture takes; raises ImageError where that, or the time, is too much."""
    width, height = image.size
    size, pixels = f"{width}x{height} pixels", width * height
    if pixels > MAX_PIXELS:
        raise ImageError(f"{name}: {size} are more than {_LIMIT}")
    if max(width, height) > MAX_SIDE:
        raise ImageError(f"{name}: {size}: no side may have more than {MAX_SIDE}; cut the picture up")
    if any(tile[0] in Image.DECODERS for tile in getattr(image, "tile", ())) and pixels > MAX_SLOW_PIXELS:
        raise ImageError(f"{name}: {size} in a form that takes minutes to read; convert it to PNG")
    each = 3 + _STORED.get(image.mode, 4) + _DECODER.get(image.format, 0)
    if image.format in ("JPEG", "MPO") and getattr(image, "tile", ()):
        scans = _scans(image.fp)
        if scans > MAX_SCANS or (scans > 16 and scans * pixels > MAX_SCANNED):
            number = f"more than {MAX_SCANS}" if scans > MAX_SCANS else scans
            raise ImageError(f"{name}: a JPEG of {number} scans takes minutes to read; save it again")
        if scans > 1:  # all coefficients are in memory
            each += 2 * len(image.getbands())
    if each * pixels > MEMORY:
        needed = f"{each * pixels // 10**6} MB of memory, more than the limit of {MEMORY // 10**6}"
        raise ImageError(f"{name}: {size} would take {needed}; reduce the picture first")
    return each * pixels


#: A marker of a JPEG file, apart from those of restarts; in coded data a byte of 255 is followed by 0.
_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")


def _scans(stream: BinaryIO) -> int:
    """How many scans a JPEG file has, counted to just above ``MAX_SCANS``, and up to its picture's end: a
    film may follow. Pillow stands behind the marker of the first. Segments without an end count as scans."""
    before, count, segments, block, at = stream.tell(), 1, 0, b"", 0
    while count <= MAX_SCANS and segments < 100_000:
        found = _MARKER.search(block, at)
        if found and found[1] == b"\xd9":
            break
        if found and found.end() + 2 <= len(block):
            segments, at = segments + 1, found.end()
            count += found[1] == b"\xda"
            if found[1] not in b"\x01\xd8":
                at += int.from_bytes(block[at : at + 2])
                stream.seek(max(0, at - len(block)), os.SEEK_CUR)
            continue
        if not (more := stream.read(1 << 20)):
            break
        rest = block[max(at, len(block) - 3) :]  # a marker and the length behind it may lie in both
        block, at = rest + more, 0
    stream.seek(before)
    return count if segments < 100_000 else MAX_SCANS + 1


_DEEP = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")
_STRIP = 1 << 20  # pixels that are converted together


def _to_rgb(image: Image.Image, name: str) -> np.ndarray:
    """Any pixel format as (H, W, 3) uint8, in strips: several copies of a large picture fill the memory."""
    width, height = image.size
    rows = max(1, _STRIP // max(1, width))
    boxes = [(0, top, width, min(top + rows, height)) for top in range(0, height, rows)]

    def strips() -> Iterator[Image.Image]:
        return (image.crop(box) if len(boxes) > 1 else image for box in boxes)

    rgb, full = np.empty((height, width, 3), np.uint8), 0.0
    if image.mode in _DEEP:
        top = max(_finite(strip).max(initial=0) for strip in strips())
        # 16-bit files use the whole range; float files are 0..1, 0..255 or 0..65535.
        full = 1.0 if image.mode == "F" and top <= 1 else 255.0 if top <= 255 else max(65535.0, top)
    try:
        for (_, top, _, bottom), strip in zip(boxes, strips(), strict=True):
            rgb[top:bottom] = _gray(strip, full)[..., None] if full else _flat(strip)
    except ValueError:  # CIE Lab, for one
        raise ImageError(f"{name}: pixels of type {image.mode} cannot be read; convert it to RGB") from None
    return rgb


def _finite(image: Image.Image) -> np.ndarray:
    values = np.asarray(image).astype(np.float32)
    return values[np.isfinite(values)]


def _gray(image: Image.Image, full: float) -> np.ndarray:
    values = np.asarray(image).astype(np.float32) * (255 / full)
    values[np.isnan(values)] = 0
    return np.clip(np.rint(values, out=values), 0, 255, out=values).astype(np.uint8)


def _flat(image: Image.Image) -> np.ndarray:
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("RGB"))


def _upright(rgb: np.ndarray, orientation: int) -> np.ndarray:
    """A picture turned and mirrored as its EXIF orientation, 1 to 8, says."""
    if orientation in (5, 6, 7, 8):
        rgb = rgb.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        rgb = rgb[::-1]
    if orientation in (2, 3, 6, 7):
        rgb = rgb[:, ::-1]
    return np.ascontiguousarray(rgb)


def as_rgb(image: np.ndarray) -> np.ndarray:
    """Check an array that stands for a picture and return it as (H, W, 3) uint8 RGB.

    Accepts (H, W), (H, W, 1), (H, W, 3) and (H, W, 4) uint8, the fourth channel being dropped. Raises
    ImageError for any other shape or type, with what to do about it.
    """
    image = np.asarray(image)
    kind = _short(image.dtype, 60)
    if image.dtype != np.uint8:
        raise ImageError(f"a picture must be uint8 RGB, 0 to 255, not {kind}{_towards_uint8(image)}")
    shape = image.shape
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3 or image.shape[2] not in (1, 3, 4) or 0 in image.shape:
        first = image.ndim == 3 and shape[0] in (1, 3)
        hint = "; move the colours last: transpose(1, 2, 0)" if first else ""
        raise ImageError(f"a picture must have the shape (height, width, 3), not {_short(shape, 60)}{hint}")
    if image.shape[2] == 1:
        image = np.repeat(image, 3, axis=2)
    return np.ascontiguousarray(image[..., :3])


def _towards_uint8(image: np.ndarray) -> str:
    """What to do with a picture of another type, by the values that it has."""
    if image.dtype.kind not in "fiub" or not image.size:
        return ""
    if not np.isfinite(image).all():
        return "; it holds values that are no finite numbers: replace them, numpy.nan_to_num(x)"
    low, high = float(image.min()), float(image.max())
    if low < 0:
        return f"; its values are {low:.4g} to {high:.4g}: scale them to 0 to 255 and convert"
    if high <= 1 and image.dtype.kind in "fb":
        return "; multiply by 255 and convert: (255 * x).astype('uint8')"
    if high <= 255:
        return "; its values are 0 to 255 already: x.astype('uint8')"
    divisor = 257 if high <= 65535 else high / 255
    return f"; its values go up to {high:.6g}: divide by {divisor:.4g} and convert"


def without_colour(images: np.ndarray) -> np.ndarray:
    """RGB images (…, 3) float32 -> the same in gray (``LUMA``), still (…, 3)."""
    return np.repeat((images @ np.array(LUMA, np.float32))[..., None], 3, axis=-1)


# --- folders ---------------------------------------------------------------------------------------------


def find_images(
    paths: Iterable[str | os.PathLike],
    report: Callable[[InputError], None] | None = None,
    skip: str | os.PathLike | None = None,
    others: Counter | None = None,
) -> Iterator[Path]:
    """The pictures behind a list of files and folders: files as given, folders searched in full, by name.

    A pattern such as ``*.jpg`` that is no file's name stands for the files and folders that fit it (``**``
    for folders inside folders). Links to folders are followed; a folder that two ways lead to, as in a
    circle, is searched once. Hidden files and folders are left out.

    report: called with the error for a folder that cannot be searched or holds no picture, and the search
        goes on; None raises it. skip: a folder that is left out (where results are written). others: counts
        the files in these folders that are no pictures, by extension.
    One folder's names are held in memory at a time, no pictures.
    """

    def fail(message: str) -> None:
        if report is None:
            raise InputError(message)
        report(InputError(message))

    def closed(error: OSError) -> None:
        nonlocal silent
        silent = False
        fail(f"{printable(error.filename)}: cannot be searched ({error.strerror}); change its rights")

    skipped = skip and os.path.realpath(skip)
    for path in _expanded(paths, fail):
        if not os.path.isdir(path):
            yield Path(path)  # a missing or foreign file is reported when it is read, with all the others
            continue
        silent, seen, other = True, {_identity(path)}, Counter()
        for folder, folders, names in os.walk(path, onerror=closed, followlinks=True):
            places = {name: os.path.join(folder, name) for name in folders if not name.startswith(".")}
            places = {name: place for name, place in places.items() if os.path.realpath(place) != skipped}
            folders[:] = sorted(name for name, place in places.items() if not _is_known(place, seen))
            for name in sorted(name for name in names if not name.startswith(".")):
                kind = os.path.splitext(name)[1].lower()
                if kind in EXTENSIONS:
                    silent = False
                    yield Path(folder, name)
                else:
                    other[kind] += 1
        if others is not None:
            others.update(other)
        if silent:
            there = f"there are {counted(other)}; " if other else ""
            kinds = ", ".join(sorted(EXTENSIONS))
            fail(f"{printable(Path(path))}: no picture in this folder ({there}facelib reads {kinds})")


def _expanded(paths: Iterable, fail: Callable[[str], None]) -> Iterator[str | os.PathLike]:
    for path in paths:
        text = os.fsdecode(path)
        if not text:  # an unset "$VARIABLE"; as a Path it would be the current folder
            fail("an empty name was given for a picture; name a file or a folder")
        elif os.path.lexists(path) or "\0" in text:
            yield path
        elif _ADDRESS.match(text):  # as a Path it would lose a slash
            fail(f"{_short(text, 80)}: {_why_no_path(text)}")
        elif glob.has_magic(text):
            found = sorted(glob.glob(text, recursive=True))
            yield from found
            if not found:
                fail(f"{_short(text)}: no file fits this pattern; check the path")
        else:
            yield path


def _identity(folder: str | os.PathLike) -> tuple[int, int]:
    found = os.stat(folder)
    return found.st_dev, found.st_ino


def _is_known(folder: str, seen: set) -> bool:
    """Whether a folder was met before, by whatever way; from now on it was."""
    try:
        identity = _identity(folder)
    except OSError:  # it is gone, or closed: the search reports it
        return False
    known = identity in seen
    seen.add(identity)
    return known


def counted(others: Mapping[str, int]) -> str:
    """Files counted by their extensions as text, eight at most: "2 .heic, 3 without an extension"."""
    by_count = sorted(others.items(), key=lambda item: (-item[1], item[0]))
    words = [f"{n} {_short(kind, 20) or 'without an extension'}" for kind, n in by_count]
    more = sum(n for _, n in by_count[8:])
    return ", ".join(words[:8] + [f"{more} more"] * bool(more))


# --- writing ---------------------------------------------------------------------------------------------


def write_image(path: str | os.PathLike, image: np.ndarray) -> None:
    """Write (H, W[, 3]) uint8 in the format of the file's extension, whole or not at all.

    Raises InputError when the extension is unknown or the disk does not take it.
    """
    path = Path(path)
    kind = Image.registered_extensions().get(path.suffix.lower())
    if kind not in Image.SAVE:
        raise InputError(f"{printable(path)}: unknown file extension; use .png or .jpg")
    with _written(path) as temporary:
        temporary.write_bytes(_encoded(Image.fromarray(image), kind, quality=92))


def write_animation(path: str | os.PathLike, frames: np.ndarray, seconds: float = 0.12) -> None:
    """Write (n, H, W[, 3]) uint8 as a .gif that runs for ever, or as an .mp4, each frame for ``seconds``.

    Raises InputError as ``write_image``.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in (".gif", ".mp4"):
        raise InputError(f"{printable(path)}: a film is a .gif or an .mp4")
    with _written(path) as temporary:
        if kind == ".gif":
            first, *others = (Image.fromarray(frame) for frame in frames)
            options = {"append_images": others, "duration": round(1000 * seconds), "loop": 0}
            temporary.write_bytes(_encoded(first, "GIF", save_all=True, **options))
            return
        import cv2

        size = frames.shape[2:0:-1]
        film = cv2.VideoWriter(str(temporary), cv2.VideoWriter.fourcc(*"mp4v"), 1 / seconds, size)
        for frame in frames:
            film.write(as_rgb(frame)[..., ::-1])
        film.release()


def _encoded(image: Image.Image, kind: str, **options) -> bytes:
    """A file's bytes: when it writes to a file itself, Pillow hides why the disk refused it."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


@contextmanager
def _written(path: Path) -> Iterator[Path]:
    """As ``atomic_write``; what the encoder or the disk refuses is an InputError."""
    try:
        with atomic_write(path) as temporary:
            yield temporary
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{printable(path)}: cannot be written ({reason})") from None
