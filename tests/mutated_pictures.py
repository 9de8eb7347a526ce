"""Hostile and damaged pictures, seeded: ``python tests/mutated_pictures.py --n 2000 --seed 0``.

Allowed is a result, or one ``ImageError`` of one line that names the file, within the limits of ``mutation``;
whatever else happens is printed, and the exit code is 1.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import numpy as np
from PIL import Image, features

from facelib.errors import ImageError
from facelib.vision.encoder import FaceEncoder
from helpers import deep_png, encoded, exif_of, picture, png, transparent
from mutation import attempt, chosen, cut, flip, lazily, link, main, pipe, remove, written

# --- good pictures, from which the others are made -------------------------------------------------------


@cache
def good() -> dict[str, bytes]:
    """A file of each kind and pixel format, by name."""
    small = picture().resize((96, 96))
    wide = np.asarray(small).astype(np.uint16) * 257
    frames = [small.rotate(90), small.rotate(180)]
    found = {
        "jpeg": encoded(small, "JPEG", exif=exif_of(6)),
        "progressive": encoded(small, "JPEG", progressive=True),
        "cmyk": encoded(small.convert("CMYK"), "JPEG"),
        "mpo": encoded(small, "MPO", save_all=True, append_images=frames),
        "png": encoded(small, "PNG", exif=exif_of(8)),
        "rgba": encoded(transparent().resize((96, 96)), "PNG"),
        "palette": encoded(transparent().resize((96, 96)).quantize(64), "PNG"),
        "bits": encoded(small.convert("1"), "PNG"),
        "deep": deep_png((16, 2), wide),
        "gif": encoded(small, "GIF", save_all=True, append_images=frames),
        "tiff": encoded(small, "TIFF", exif=exif_of(5)),
        "lzw": encoded(small, "TIFF", compression="tiff_lzw"),
        "jpeg in tiff": encoded(small, "TIFF", compression="jpeg"),
        "float": encoded(Image.fromarray(np.asarray(small.convert("L")) / np.float32(255)), "TIFF"),
        "lab": encoded(Image.new("LAB", (30, 30)), "TIFF"),
        "bmp": encoded(small, "BMP"),
        "bmp palette": encoded(small.quantize(16), "BMP"),
        "ppm": encoded(small, "PPM"),
        "pgm 16": encoded(Image.fromarray(wide[..., 0]), "PPM"),
        "ppm text": b"P3\n20 20\n255\n" + b"12 250 7 " * 400,
        "webp": encoded(small, "WEBP", exif=exif_of(6)),
        "webp animated": encoded(small, "WEBP", save_all=True, append_images=frames),
    }
    if features.check("avif"):
        found["avif"] = encoded(small, "AVIF")
    return found


# --- mutations: bytes and a generator of random numbers -> bytes -----------------------------------------

_NUMBERS = [0, 1, 2, 255, 256, 65_535, 65_536, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]


def header(content: bytearray, rng) -> None:
    """Numbers in the header that are at the edge of what they can be."""
    for _ in range(rng.integers(1, 4)):
        form = str(rng.choice([">I", "<I", ">H", "<H"]))
        number = int(rng.choice(_NUMBERS)) % (1 << 8 * struct.calcsize(form))
        struct.pack_into(form, content, rng.integers(min(len(content) - 4, 200)), number)


def longer(content: bytearray, rng) -> None:
    content += rng.bytes(rng.integers(1, 100_000)) if rng.random() < 0.5 else bytes(10_000_000)


def repeated(content: bytearray, rng) -> None:
    start = int(rng.integers(len(content)))
    end = min(len(content), start + int(rng.choice([2, 20, 2000])))
    content[start:start] = content[start:end] * int(rng.choice([1, 100, 3000]))


def spliced(content: bytearray, rng) -> None:
    """The end of another kind of picture."""
    other = list(good().values())[rng.integers(len(good()))]
    content[rng.integers(len(content)) :] = other[rng.integers(len(other)) :]


def chunks(content: bytearray, rng) -> None:
    """A PNG's chunks in disorder, with right checksums."""
    if not content.startswith(b"\x89PNG"):
        return flip(content, rng)
    found, at = [], 8
    while at < len(content):
        size = 12 + struct.unpack_from(">I", content, at)[0]
        found.append(bytearray(content[at : at + size]))
        at += size
    chunk = found[rng.integers(len(found))]
    if len(chunk) > 12:
        chunk[8 + rng.integers(len(chunk) - 12)] = rng.integers(256)
        chunk[-4:] = struct.pack(">I", zlib.crc32(chunk[4:-4]))
    order = rng.integers(len(found), size=len(found)) if rng.random() < 0.5 else range(len(found))
    content[8:] = b"".join(bytes(found[i]) for i in order)
    return None


RANDOM = (flip, header, cut, longer, repeated, remove, spliced, chunks)


def mutated(place: Path, name: str, change: Callable, seed: tuple[int, int]) -> Path:
    rng, content = np.random.default_rng(seed), bytearray(good()[name])
    for _ in range(rng.integers(1, 3)):
        if len(content) > 8:
            change(content, rng)
    return written(place, bytes(content))


# --- what is made on purpose -----------------------------------------------------------------------------


def png_bomb(place: Path, width: int, height: int, colour: int = 2, depth: int = 8) -> Path:
    """A PNG of nothing but zeros, in full."""
    row = 1 + width * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour] * depth // 8
    packer = zlib.compressobj(9)
    step = max(1, (1 << 20) // row)
    parts = [packer.compress(bytes(row * min(step, height - at))) for at in range(0, height, step)]
    return written(place, png(width, height, b"".join(parts) + packer.flush(), depth, colour))


def scans(place: Path, n: int, side: int) -> Path:
    """A progressive JPEG whose last scan comes again and again."""
    drawn = Image.effect_noise((side, side), 50) if n < 100 else Image.new("L", (side, side))
    content = encoded(drawn, "JPEG", progressive=True)
    start = content.rindex(b"\xff\xda")
    return written(place, content[:-2] + content[start:-2] * n + content[-2:])


def saved(place: Path, kind: str, mode: str, side: int, **options) -> Path:
    return written(place, encoded(Image.new(mode, (side, side)), kind, **options))


def table(tag: int, count: int, after: int = 26) -> bytes:
    """A TIFF directory (or EXIF data) with one tag of so many 16-bit numbers."""
    entry = struct.pack("<HHHIII", 1, tag, 3, count, after, 0)
    return b"II*\0\x08\0\0\0" + entry + b"\1\0" * count


def png_with_exif(place: Path, count: int, is_last: bool) -> Path:
    """A PNG whose orientation is so many numbers, before or after its pixels."""
    content, exif = encoded(picture(), "PNG"), b"eXIf" + table(274, count)
    chunk = struct.pack(">I", len(exif) - 4) + exif + struct.pack(">I", zlib.crc32(exif))
    at = len(content) - 12 if is_last else 33
    return written(place, content[:at] + chunk + content[at:])


def jpeg_with_exif(place: Path, count: int) -> Path:
    content, exif = encoded(picture(), "JPEG"), table(296, count)
    parts = (exif[i : i + 65_000] for i in range(0, len(exif), 65_000))
    segments = (b"\xff\xe1" + struct.pack(">H", len(part) + 8) + b"Exif\0\0" + part for part in parts)
    return written(place, content[:2] + b"".join(segments) + content[2:])


def _repeat(head: bytes, block: bytes, times: int) -> Callable[[Path], Path]:
    return lambda place: written(place, head + block * times)


_file, _bomb = lazily(written), lazily(png_bomb)
_HUGE, _PNG_HEAD = 340_000_000, encoded(picture(), "PNG")[:33]
SPECIAL: dict[str, Callable[[Path], Path]] = {
    "one column": _bomb(1, 130_000_000, 0),
    "one row": _bomb(130_000_000, 1, 0),
    "RGB of 130 million": _bomb(11_400, 11_400),
    "RGB of 102 million": _bomb(10_100, 10_100),
    "RGBA of 130 million": _bomb(11_400, 11_400, 6),
    "RGBA of 102 million": _bomb(10_100, 10_100, 6),
    "gray of 130 million": _bomb(11_400, 11_400, 0),
    "gray with alpha of 102 million": _bomb(10_100, 10_100, 4),
    "deep RGBA of 100 million": _bomb(10_000, 10_000, 6, 16),
    "deep gray of 130 million": _bomb(11_400, 11_400, 0, 16),
    "a declared size alone": _file(png(60_000, 60_000, zlib.compress(bytes(1000)))),
    "1,000 scans": lambda place: scans(place, 1000, 2000),
    "90 scans": lambda place: scans(place, 90, 3000),
    "progressive of 55 million": partial(saved, kind="JPEG", mode="RGB", side=7400, progressive=True),
    "jpeg of 102 million": partial(saved, kind="JPEG", mode="RGB", side=10_100),
    "cmyk of 100 million": partial(saved, kind="JPEG", mode="CMYK", side=10_000),
    "tiff of 59 million": partial(saved, kind="TIFF", mode="RGB", side=7700, compression="tiff_lzw"),
    "tiff turned": partial(saved, kind="TIFF", mode="RGB", side=7700, compression="tiff_lzw",
                           exif=exif_of(6)),
    "float tiff": partial(saved, kind="TIFF", mode="F", side=7700, compression="tiff_lzw"),
    "webp of 35 million": partial(saved, kind="WEBP", mode="RGBA", side=5900, method=0),
    "gif of 90 million": partial(saved, kind="GIF", mode="L", side=9500),
    "ppm as text": _repeat(b"P3\n2400 2400\n255\n", b"1 ", 3 * 2400 * 2400),
    "ppm of odd depth": _file(b"P6\n10000 10000\n254\n", 300_000_100),
    "ppm with a long comment": _file(b"P6\n#", _HUGE),
    "jpeg of nothing but headers": _repeat(b"\xff\xd8", b"\xff\xfe\0\2", 10_000_000),
    "jpeg of nothing but 255": _repeat(b"\xff\xd8", b"\xff", 50_000_000),
    "png of nothing but chunks": _repeat(_PNG_HEAD, b"\0\0\0\0teXt\x8d\xb9\x1f\x9b", 8_000_000),
    "webp with nothing behind": _file(b"RIFF\xff\xff\xff\x7fWEBPVP8 ", _HUGE),
    "gif with nothing behind": _file(b"GIF89a\x10\0\x10\0\0\0\0", _HUGE),
    "bmp with nothing behind": _file(b"BM" + bytes(52), _HUGE),
    "tiff with nothing behind": _file(b"II*\0\x08\0\0\0\xff\xff", _HUGE),
    "tiff of numbers": lambda place: written(place, table(274, 100_000_000)),
    "png with numbers before": partial(png_with_exif, count=100_000_000, is_last=False),
    "png with numbers behind": partial(png_with_exif, count=100_000_000, is_last=True),
    "png with fewer numbers": partial(png_with_exif, count=20_000_000, is_last=False),
    "jpeg with numbers": partial(jpeg_with_exif, count=100_000_000),
    "jpeg with fewer numbers": partial(jpeg_with_exif, count=20_000_000),
    "gif with a long comment": lambda place: written(
        place, b"GIF89a\x10\0\x10\0\0\0\0!\xfe" + (b"\xff" + b"a" * 255) * 400_000),
    "jpeg of segments": lambda place: written(
        place, (c := encoded(picture(), "JPEG"))[:-2] + b"\xff\xfe\0\2" * 50_000_000 + c[-2:]),
    "20 GB": _file(encoded(picture(), "JPEG"), 20 << 30),
    "empty": _file(b""),
    "a film": _file(b"\0\0\0 ftypisom\0\0\2\0", 100_000, "a.mp4"),
    "a long film": _file(b"\x1aE\xdf\xa3", 2 << 30, "a.mkv"),
    "HEIC": _file(b"\0\0\0 ftypheic\0\0\0\0" + bytes(500)),
    "a zip": _file(b"PK\3\4" + bytes(500)),
    "PostScript": _file(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"),
    "a pipe": pipe,
    "endless": partial(link, target="/dev/zero"),
    "/proc": partial(link, target="/proc/self/mem"),
    "a broken link": partial(link, target="nowhere"),
    "a link to itself": partial(link, target="a.jpg"),
    "a link to a folder": partial(link, target="."),
    "the device itself": lambda place: Path("/dev/zero"),
    "a name too long": lambda place: place / ("x" * 5000),
    "a name with a null": lambda place: place / "a\0b.jpg",
}  # fmt: skip

#: Those that take more than two seconds.
SLOW = {
    "RGB of 102 million", "RGBA of 102 million", "gray of 130 million", "gray with alpha of 102 million",
    "deep gray of 130 million", "deep RGBA of 100 million", "RGB of 130 million", "RGBA of 130 million",
    "jpeg of 102 million", "cmyk of 100 million", "90 scans", "ppm as text", "ppm with a long comment",
    "jpeg of nothing but headers", "jpeg of nothing but 255", "png of nothing but chunks",
    "gif with nothing behind", "webp of 35 million", "tiff turned", "float tiff", "gif of 90 million",
    "tiff of numbers", "png with numbers before", "png with numbers behind", "png with fewer numbers",
    "jpeg with numbers", "jpeg with fewer numbers", "gif with a long comment", "jpeg of segments",
    "progressive of 55 million", "one column", "one row", "tiff of 59 million", "webp with nothing behind",
}  # fmt: skip


# --- running ---------------------------------------------------------------------------------------------


def cases(n: int, seed: int) -> dict[str, Callable[[Path], Path]]:
    """n cases: those made on purpose, then mutations."""
    found, kinds = chosen(SPECIAL, SLOW, n, seed), list(good())
    for i in range(n - len(found)):
        change, kind = RANDOM[i % len(RANDOM)], kinds[i // len(RANDOM) % len(kinds)]
        found[f"{kind} {change.__name__} {i}"] = partial(mutated, name=kind, change=change, seed=(seed, i))
    return found


if __name__ == "__main__":
    encoder = FaceEncoder(workers=1)
    faces = partial(attempt, lambda path: f"{len(encoder(path))} faces", errors=(ImageError,), most=300)
    main(__doc__, cases, lambda _, path: faces(path))
