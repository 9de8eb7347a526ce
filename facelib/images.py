"""Reading pictures safely: whatever a folder holds, the answer is an RGB array or one clear line.

Pillow decodes; this module decides what is refused, turns every pixel format into 8-bit RGB rightly
(16-bit, CMYK, palette, transparency, EXIF orientation), and words the errors.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from facelib.paths import InputError, atomic_write

#: Extensions looked for in folders; a file that is named explicitly is tried whatever its extension.
EXTENSIONS = frozenset(".jpg .jpeg .jpe .jfif .png .bmp .gif .tif .tiff .webp .ppm .pgm .pnm .avif".split())
#: Pictures with more pixels are refused before they are decoded (400 MB as RGB): a few kilobytes of PNG
#: can unpack to gigabytes.
MAX_PIXELS = 130_000_000


class ImageError(InputError):
    """A picture could not be read; the message is one line that names the file and the remedy."""


def printable(path: str | bytes | os.PathLike) -> str:
    """A path as one line of text: newlines and bytes that are no UTF-8 appear as escapes."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def read_image(path: str | os.PathLike) -> np.ndarray:
    """Decode a picture file to (H, W, 3) uint8 RGB with its EXIF orientation applied.

    Gray, palette, CMYK, 16-bit, floating-point and transparent pictures are converted (transparency over
    white); of an animation the first frame is taken. Raises ImageError for a missing, empty, truncated,
    foreign or forbidden file and for one of more than ``MAX_PIXELS`` pixels.
    """
    name = printable(path)
    try:
        with open(path, "rb") as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own bomb warning: the limit below decides
            if not stream.read(1):
                raise ImageError(f"{name}: the file is empty; copy or download it again")
            stream.seek(0)
            with Image.open(stream) as image:
                width, height = image.size
                if width * height > MAX_PIXELS:
                    raise ImageError(
                        f"{name}: {width}x{height} pixels are more than the limit of "
                        f"{MAX_PIXELS // 10**6} million; reduce the picture first"
                    )
                return _to_rgb(ImageOps.exif_transpose(image))
    except ImageError:
        raise
    except FileNotFoundError:
        raise ImageError(f"{name}: no such file; check the path") from None
    except IsADirectoryError:
        raise ImageError(f"{name}: is a folder, a picture was expected") from None
    except PermissionError:
        raise ImageError(f"{name}: no permission to read it; change its rights (chmod +r)") from None
    except UnidentifiedImageError:
        raise ImageError(f"{name}: is not a picture in a known format (JPEG, PNG, …); convert it") from None
    except Image.DecompressionBombError:
        raise ImageError(
            f"{name}: its size is more than the limit of {MAX_PIXELS // 10**6} million pixels; "
            "reduce the picture first"
        ) from None
    except (OSError, SyntaxError, ValueError, EOFError, MemoryError, OverflowError) as error:
        # Pillow reports damaged data with any of these, the reason in the text.
        reason = printable(str(error) or type(error).__name__)
        raise ImageError(
            f"{name}: damaged or truncated picture ({reason}); copy or download it again"
        ) from None


def _to_rgb(image: Image.Image) -> np.ndarray:
    if image.mode in ("I;16", "I;16L", "I;16B", "I;16N", "I", "F"):
        values = np.asarray(image).astype(np.float64)
        values = np.nan_to_num(values, nan=0.0, posinf=65535.0, neginf=0.0)
        top = values.max(initial=0)
        # 16-bit files use the whole range; float files are 0..1, 0..255 or 0..65535.
        full = 1.0 if image.mode == "F" and top <= 1 else 255.0 if top <= 255 else max(65535.0, top)
        gray = np.clip(np.rint(values * (255 / full)), 0, 255).astype(np.uint8)
        return np.repeat(gray[..., None], 3, axis=2)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, "white")
        return np.asarray(Image.alpha_composite(paper, image).convert("RGB"))
    return np.asarray(image.convert("RGB"))


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


def find_images(paths: Iterable[str | os.PathLike]) -> Iterator[Path]:
    """The pictures behind a list of files and folders: files as given, folders searched in full, by name.

    Raises InputError for a path that does not exist and for a folder without a picture. Hidden files are
    passed over. A folder's names are held in memory (100 bytes a picture), its pictures are not.
    """
    for path in map(Path, paths):
        if not path.is_dir():
            yield path  # a missing or foreign file is reported when it is read, with all the others
            continue
        found = False
        for folder, folders, names in os.walk(path):
            folders.sort()
            for name in sorted(names):
                if Path(name).suffix.lower() in EXTENSIONS and not name.startswith("."):
                    found = True
                    yield Path(folder, name)
        if not found:
            raise InputError(
                f"{printable(path)}: no picture in this folder ({', '.join(sorted(EXTENSIONS))})"
            )


def write_image(path: str | os.PathLike, image: np.ndarray) -> None:
    """Write (H, W[, 3]) uint8 in the format of the file's extension, whole or not at all.

    Raises InputError when the extension is unknown or the disk does not take it.
    """
    path = Path(path)
    try:
        with atomic_write(path) as temporary:
            Image.fromarray(image).save(temporary, quality=92)
    except ValueError as error:
        raise InputError(f"{printable(path)}: {error}; use .png or .jpg") from None
    except OSError as error:
        raise InputError(f"{printable(path)}: cannot be written ({error.strerror or error})") from None
