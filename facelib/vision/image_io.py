"""Reading and writing pictures: whatever is passed in becomes an RGB array or one clear error.

Pillow decodes; this module decides what is refused, converts every pixel format to 8-bit RGB (16-bit, CMYK,
palette, transparency, EXIF orientation), and words the errors. ``load`` is the one way in.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from facelib.errors import ImageError, InputError
from facelib.paths import atomic_write

#: Extensions looked for in folders; a file that is named explicitly is tried whatever its extension.
EXTENSIONS = frozenset(".jpg .jpeg .jpe .jfif .png .bmp .gif .tif .tiff .webp .ppm .pgm .pnm .avif".split())
#: Pictures with more pixels are refused before they are decoded (400 MB as RGB): a few kilobytes of PNG
#: can unpack to gigabytes.
MAX_PIXELS = 130_000_000
#: Weights of red, green and blue in gray (ITU-R BT.601).
LUMA = (0.299, 0.587, 0.114)

#: What stands for a picture: a file's path, or an array as ``as_rgb`` takes it.
Source = str | bytes | os.PathLike | np.ndarray


def printable(path: str | bytes | os.PathLike) -> str:
    """A path (or a message with one in it) as one line of text: what cannot be shown appears as escapes."""

    def escape(c: str) -> str:
        if "\udc80" <= c <= "\udcff":  # how Python stands in for a byte that is no UTF-8
            return f"\\x{ord(c) - 0xDC00:02x}"
        return c.encode("unicode_escape").decode()

    return "".join(c if c.isprintable() else escape(c) for c in os.fsdecode(path))


def is_picture(given: Source | Iterable[Source]) -> bool:
    """Whether this stands for one picture, not for several, as an array of four dimensions does."""
    return isinstance(given, Source) and getattr(given, "ndim", 3) < 4


def path_of(source: Source) -> str | None:
    """The path of a picture that is a file, None for an array."""
    return os.fsdecode(source) if isinstance(source, str | bytes | os.PathLike) else None


def load(source: Source) -> np.ndarray:
    """Whatever stands for a picture as (H, W, 3) uint8 RGB; see ``read_image`` and ``as_rgb``.

    Raises ImageError, also for what is neither a path nor an array.
    """
    if isinstance(source, np.ndarray):
        return as_rgb(source)
    if path_of(source) is not None:
        return read_image(source)
    raise ImageError(f"a picture is a path or a uint8 array, not a {type(source).__name__}")


def read_image(path: str | bytes | os.PathLike) -> np.ndarray:
    """Decode a picture file to (H, W, 3) uint8 RGB with its EXIF orientation applied.

    Gray, palette, CMYK, 16-bit, floating-point and transparent pictures are converted (transparency over
    white); of an animation the first frame is taken. Raises ImageError for a missing, empty, truncated,
    foreign or forbidden file and for one of more than ``MAX_PIXELS`` pixels.
    """
    name = printable(path)
    try:
        kind = os.stat(path).st_mode
        if stat.S_ISDIR(kind):
            raise ImageError(f"{name}: is a folder, a picture was expected")
        if not stat.S_ISREG(kind):  # opening a pipe would wait for ever
            raise ImageError(f"{name}: is a pipe or a device; save the picture to a file first")
        with open(path, "rb") as stream:
            image = _decode(stream, name)
        return _to_rgb(image, name)
    except ImageError:
        raise
    except FileNotFoundError:
        raise ImageError(f"{name}: no such file; check the path") from None
    except PermissionError:
        raise ImageError(f"{name}: no permission to read it; change its rights (chmod +r)") from None
    except MemoryError:
        raise ImageError(f"{name}: not enough memory for this picture; reduce it first") from None
    except (OSError, ValueError) as error:  # a name too long or with a NUL, a circle of links, a bad disk
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"{name}: cannot be read ({reason}); check the path") from None


def _decode(stream: BinaryIO, name: str) -> Image.Image:
    """The first frame, decoded and upright, in whatever pixel format the file has."""
    if not stream.read(1):
        raise ImageError(f"{name}: the file is empty; copy or download it again")
    stream.seek(0)
    limit = f"the limit of {MAX_PIXELS // 10**6} million; reduce the picture first"
    try:
        with Image.open(stream, formats=_formats()) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise ImageError(f"{name}: {width}x{height} pixels are more than {limit}")
            image.load()
    except (ImageError, MemoryError):
        raise
    except UnidentifiedImageError:
        raise ImageError(f"{name}: is not a picture in a known format (JPEG, PNG, …); convert it") from None
    except Image.DecompressionBombError:
        raise ImageError(f"{name}: its pixels are more than {limit}") from None
    except Exception as error:  # noqa: BLE001 Pillow's decoders report damaged data with any type
        reason = printable(str(error) or type(error).__name__)
        raise ImageError(
            f"{name}: damaged or truncated picture ({reason}); copy or download it again"
        ) from None
    try:
        ImageOps.exif_transpose(image, in_place=True)  # in place: what it turned stays, whatever comes then
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 damaged EXIF data are no reason to lose a good picture
        pass
    return image


@cache
def _formats() -> list[str]:
    """Pillow's names of the formats behind ``EXTENSIONS``. It knows forty more, one of which (EPS) starts
    another program to draw a file: nothing to try on files from anywhere."""
    Image.init()
    return [name for name in "JPEG PNG BMP GIF TIFF WEBP PPM AVIF".split() if name in Image.OPEN]


def _to_rgb(image: Image.Image, name: str) -> np.ndarray:
    if image.mode in ("I;16", "I;16L", "I;16B", "I;16N", "I", "F"):
        values = np.asarray(image).astype(np.float32)
        values[np.isnan(values)] = 0
        top = values.max(initial=0, where=np.isfinite(values))
        # 16-bit files use the whole range; float files are 0..1, 0..255 or 0..65535.
        full = 1.0 if image.mode == "F" and top <= 1 else 255.0 if top <= 255 else max(65535.0, top)
        values *= 255 / full
        gray = np.clip(np.rint(values, out=values), 0, 255, out=values).astype(np.uint8)
        return np.repeat(gray[..., None], 3, axis=2)
    try:
        if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
            image = image.convert("RGBA")
            paper = Image.new("RGBA", image.size, "white")
            return np.asarray(Image.alpha_composite(paper, image).convert("RGB"))
        return np.asarray(image.convert("RGB"))
    except ValueError:  # CIE Lab, for one
        raise ImageError(f"{name}: pixels of type {image.mode} cannot be read; convert it to RGB") from None


def as_rgb(image: np.ndarray) -> np.ndarray:
    """Check an array that stands for a picture and return it as (H, W, 3) uint8 RGB.

    Accepts (H, W), (H, W, 1), (H, W, 3) and (H, W, 4) uint8, the fourth channel being dropped. Raises
    ImageError for any other shape or type, with what to do about it.
    """
    image = np.asarray(image)
    if image.dtype != np.uint8:
        hint = "; multiply by 255 and convert" if image.dtype.kind == "f" else ""
        raise ImageError(f"a picture must be uint8 RGB, 0 to 255, not {image.dtype}{hint}")
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3 or image.shape[2] not in (1, 3, 4) or 0 in image.shape:
        raise ImageError(f"a picture must have the shape (height, width, 3), not {image.shape}")
    if image.shape[2] == 1:
        image = np.repeat(image, 3, axis=2)
    return np.ascontiguousarray(image[..., :3])


def without_colour(images: np.ndarray) -> np.ndarray:
    """RGB images (…, 3) float32 -> the same in gray (``LUMA``), still (…, 3)."""
    return np.repeat((images @ np.array(LUMA, np.float32))[..., None], 3, axis=-1)


def find_images(
    paths: Iterable[str | os.PathLike],
    report: Callable[[InputError], None] | None = None,
    skip: str | os.PathLike | None = None,
) -> Iterator[Path]:
    """The pictures behind a list of files and folders: files as given, folders searched in full, by name.

    report: called with the error for a folder that cannot be searched or holds no picture, and the search
        goes on; None raises it. skip: a folder that is left out (where results are written).
    Hidden files and folders are left out. One folder's names are held in memory at a time, no pictures.
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
    for path in paths:
        if not os.fspath(path):  # an unset "$VARIABLE"; as a Path it would be the current folder
            fail("an empty name was given for a picture; name a file or a folder")
            continue
        if not os.path.isdir(path):
            yield Path(path)  # a missing or foreign file is reported when it is read, with all the others
            continue
        silent = True
        for folder, folders, names in os.walk(path, onerror=closed):
            folders[:] = sorted(
                name
                for name in folders
                if not name.startswith(".") and os.path.realpath(os.path.join(folder, name)) != skipped
            )
            for name in sorted(names):
                if os.path.splitext(name)[1].lower() in EXTENSIONS and not name.startswith("."):
                    silent = False
                    yield Path(folder, name)
        if silent:
            fail(f"{printable(Path(path))}: no picture in this folder ({', '.join(sorted(EXTENSIONS))})")


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
