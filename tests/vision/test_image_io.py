"""facelib.vision.image_io: every format is read correctly; any other input is one line that names it."""

from __future__ import annotations

import io
import os
import struct
import tempfile
import time
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageSequence

import mutated_pictures
from facelib.errors import ImageError, InputError
from facelib.vision import image_io
from facelib.vision.encoder import FaceEncoder
from fer2013_forms import write_archive
from helpers import (
    ASTRONAUT,
    deep_png,
    encoded,
    exif_of,
    gray,
    make_bad,
    picture,
    png,
    transparent,
    without_privileges,
)
from mutation import cut, flip, remove, written


def animation() -> bytes:
    others = [Image.fromarray(np.full_like(ASTRONAUT, value)) for value in (0, 255)]
    return encoded(picture(), "GIF", save_all=True, append_images=others, duration=100, loop=0)


WIDE = ASTRONAUT.astype(np.uint16) * 257
#: name -> the file's bytes, and how far its pixels may be from the gray or RGB original on average.
READABLE = {
    "jpeg": (lambda: encoded(picture(), "JPEG", quality=95), 3),
    "gray jpeg": (lambda: encoded(picture().convert("L"), "JPEG", quality=95), 3),
    "gray png": (lambda: encoded(picture().convert("L"), "PNG"), 0.5),
    "gray 16 bit": (lambda: encoded(Image.fromarray(gray().astype(np.uint16) * 257), "PNG"), 0.5),
    "gray 16 bit tiff": (lambda: encoded(Image.fromarray(gray().astype(np.uint16) * 257), "TIFF"), 0.5),
    "8 bits kept in 16": (lambda: encoded(Image.fromarray(gray().astype(np.uint16)), "PNG"), 0.5),
    "float tiff 0..1": (lambda: encoded(Image.fromarray(gray().astype(np.float32) / 255), "TIFF"), 0.5),
    "float tiff 0..255": (lambda: encoded(Image.fromarray(gray().astype(np.float32)), "TIFF"), 0.5),
    "RGB 16 bit": (lambda: deep_png((16, 2), WIDE), 1),
    "RGBA 16 bit": (lambda: deep_png((16, 6), np.dstack([WIDE, np.full((256, 256), 65535)])), 1),
    "gray with alpha": (lambda: encoded(transparent().convert("LA"), "PNG"), 0.5),
    "RGBA": (lambda: encoded(transparent(), "PNG"), 0.5),
    "CMYK jpeg": (lambda: encoded(picture().convert("CMYK"), "JPEG", quality=95), 3),
    "CMYK tiff": (lambda: encoded(picture().convert("CMYK"), "TIFF"), 1),
    "palette": (lambda: encoded(picture().quantize(256), "PNG"), 5),
    "transparent palette": (lambda: encoded(transparent().quantize(256), "PNG"), 5),
    "animated gif": (animation, 6),
    "webp": (lambda: encoded(picture(), "WEBP", quality=95), 4),
    "bmp": (lambda: encoded(picture(), "BMP"), 0),
    "ppm": (lambda: encoded(picture(), "PPM"), 0),
    "lzw tiff": (lambda: encoded(picture(), "TIFF", compression="tiff_lzw"), 0),
}


@pytest.fixture(scope="module")
def encoder() -> FaceEncoder:
    return FaceEncoder(gender=None)


@pytest.fixture(scope="module")
def original(encoder):
    [face] = encoder(ASTRONAUT)
    return face


@pytest.mark.parametrize("name", READABLE)
def test_readable_pictures_are_read_and_analysed_rightly(name, tmp_path, encoder, original):
    make, tolerance = READABLE[name]
    path = tmp_path / "picture"  # the content decides, not the extension
    path.write_bytes(make())
    image = image_io.read_image(path)
    assert image.shape == ASTRONAUT.shape and image.dtype == np.uint8
    expected = ASTRONAUT.astype(int)
    if "alpha" in name or name == "RGBA" or "transparent" in name:
        expected[200:, :60] = 255  # white paper behind the transparent corner
    if "gray" in name or "bits" in name or "float" in name:
        gray = np.asarray(Image.fromarray(expected.astype(np.uint8)).convert("L"))
        expected = np.repeat(gray[..., None], 3, 2).astype(int)
    assert np.abs(image - expected).mean() <= tolerance

    [face] = encoder(path)
    assert np.abs(np.subtract(face.box, original.box)).max() <= 2
    assert face.emotion == original.emotion
    assert face.path == str(path)


#: EXIF orientation, mirrored, turned and both -> how the stored pixels come from the upright ones.
STORED = {
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    8: lambda a: np.rot90(a, 3),
    2: lambda a: a[:, ::-1],
    6: lambda a: np.rot90(a, 1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
}


@pytest.mark.parametrize("orientation", STORED)
def test_exif_orientation(orientation, tmp_path, encoder, original):
    upright = ASTRONAUT[:, :240]  # no square: a wrong turn shows in the shape
    exif = exif_of(orientation)
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](upright)))
    stored.save(tmp_path / "turned.png", exif=exif)
    stored.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    np.testing.assert_array_equal(image_io.read_image(tmp_path / "turned.png"), upright)
    assert np.abs(image_io.read_image(tmp_path / "turned.jpg") - upright.astype(int)).mean() < 3
    [face] = encoder(tmp_path / "turned.jpg")
    assert np.abs(np.subtract(face.box, original.box)).max() <= 2


@pytest.mark.filterwarnings("ignore")  # Pillow may say what it thinks of it
@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "PNG"])
def test_damaged_exif_loses_no_picture(kind, tmp_path):
    exif = exif_of(6)
    content = encoded(picture(), kind, exif=exif)
    at = content.index(exif.tobytes()[6:14])
    damaged = bytearray(content)
    damaged[at : at + 4] = b"\xff" * 4
    if kind == "PNG":  # its checksum must be right for the chunk to count
        size = struct.unpack(">I", damaged[at - 8 : at - 4])[0]
        damaged[at + size : at + size + 4] = struct.pack(">I", zlib.crc32(damaged[at - 4 : at + size]))
    (tmp_path / "a").write_bytes(damaged)
    assert image_io.read_image(tmp_path / "a").shape == ASTRONAUT.shape


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_bad_pictures_give_one_line_that_names_the_file(tmp_path):
    for name, message in make_bad(tmp_path).items():
        with pytest.raises(ImageError, match=message) as caught:
            image_io.read_image(tmp_path / name)
        line = str(caught.value)
        assert line.startswith(f"{tmp_path / name}: ") and "\n" not in line


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (".", "is a folder"),
        ("pipe.jpg", "is a pipe or a device"),  # and it does not wait for a writer
        ("circle.jpg", "cannot be read"),
        ("nowhere.jpg", "is a link to a file that is gone"),
        ("file.jpg/inner.jpg", "cannot be read"),
        ("a\0b.jpg", "cannot be read"),
        ("n" * 5000, "cannot be read"),
        ("\ud800.jpg", "cannot be read"),
        ("", "no such file"),
    ],
)
def test_what_is_no_file_is_refused(name, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe.jpg")
    Path("circle.jpg").symlink_to("circle.jpg")
    Path("nowhere.jpg").symlink_to("gone.jpg")
    Path("file.jpg").write_bytes(b"x")
    with pytest.raises(ImageError, match=message):
        image_io.read_image(name)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="this system has no such permissions")
def test_no_permission():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "open").mkdir()
        (folder / "open" / "a.png").write_bytes(encoded(picture(), "PNG"))
        (folder / "secret.png").write_bytes(encoded(picture(), "PNG"))
        (folder / "secret.png").chmod(0)
        (folder / "closed").mkdir(mode=0)
        errors = []
        try:
            with without_privileges():
                with pytest.raises(ImageError, match="secret.png: no permission to read it"):
                    image_io.read_image(folder / "secret.png")
                found = list(image_io.find_images([folder], errors.append))
                inside = list(image_io.find_images([folder / "closed"], errors.append))
        finally:
            (folder / "closed").chmod(0o700)
    assert [path.name for path in found] == ["secret.png", "a.png"] and inside == []
    assert len(errors) == 2 and all("cannot be searched (Permission denied)" in str(e) for e in errors)


@pytest.mark.parametrize("shape", [(1, 1), (1, 20000), (20000, 1)])
def test_thin_pictures_are_read(shape, tmp_path):
    for name in ("thin.png", "thin.jpg"):
        Image.fromarray(np.full((*shape, 3), 200, np.uint8)).save(tmp_path / name)
        assert image_io.read_image(tmp_path / name).shape == (*shape, 3)


@pytest.mark.filterwarnings("ignore")  # Pillow comments on some of the damage
def test_random_damage_never_gives_anything_but_imageerror(tmp_path):
    kinds, changes, read = list(mutated_pictures.good()), (flip, cut, remove), 0
    for case in range(600):
        kind, mutation = kinds[case % len(kinds)], changes[case // len(kinds) % len(changes)]
        path = mutated_pictures.mutated(tmp_path, kind, mutation, (0, case))
        try:
            image = image_io.read_image(path)
            read += 1
            assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
        except ImageError as error:
            assert str(error).startswith(f"{path}: ") and "\n" not in str(error)
    assert 50 < read < 550  # both happened


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"a holiday photo.png", "a holiday photo.png"),
        (b"two\nlines.png", "two\\nlines.png"),
        (b"caf\xe9.png", "caf\\xe9.png"),
        ("été.png".encode(), "été.png"),
        (b"\x1b[31mred.png", "\\x1b[31mred.png"),
    ],
)
def test_names_are_printed_on_one_line(name, shown, tmp_path):
    path = os.path.join(os.fsencode(tmp_path), name)
    assert image_io.printable(path) == f"{tmp_path}/{shown}"


def test_find_images(tmp_path):
    for name in ("b.JPG", "a.png", "notes.txt", ".hidden.jpg", "deep/er/c.webp", ".cache/d.png", "out/e.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "empty").mkdir()
    found = image_io.find_images([tmp_path, tmp_path / "notes.txt", "gone.jpg"], skip=tmp_path / "out")
    names = [os.path.relpath(path, tmp_path) if path.is_absolute() else str(path) for path in found]
    assert names == ["a.png", "b.JPG", "deep/er/c.webp", "notes.txt", "gone.jpg"]
    with pytest.raises(InputError, match="empty: no picture in this folder"):
        list(image_io.find_images([tmp_path / "empty"]))
    errors = []
    found = image_io.find_images([tmp_path / "empty", tmp_path / "a.png"], errors.append)
    assert list(found) == [tmp_path / "a.png"] and len(errors) == 1


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 3), (5, 7, 4)])
def test_arrays(shape):
    array = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    image = image_io.load(array)
    assert image.shape == (5, 7, 3) and image.flags.c_contiguous
    plain = np.repeat(array.reshape(5, 7, -1), 3, 2) if len(shape) == 2 or shape[2] == 1 else array[..., :3]
    np.testing.assert_array_equal(image, plain)


def test_write_image(tmp_path, monkeypatch):
    image_io.write_image(tmp_path / "new" / "a.png", ASTRONAUT)
    np.testing.assert_array_equal(image_io.read_image(tmp_path / "new" / "a.png"), ASTRONAUT)
    image_io.write_image(tmp_path / "a.jpg", ASTRONAUT)
    assert np.abs(image_io.read_image(tmp_path / "a.jpg") - ASTRONAUT.astype(int)).mean() < 4
    with pytest.raises(InputError, match="a.jpeg2: unknown file extension"):
        image_io.write_image(tmp_path / "a.jpeg2", ASTRONAUT)
    with pytest.raises(InputError, match="cannot be written"):
        image_io.write_image(tmp_path / "a.jpg" / "b.jpg", ASTRONAUT)

    def full(self, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(InputError, match=r"a\.jpg: cannot be written \(No space left on device\)"):
        image_io.write_image(tmp_path / "a.jpg", ASTRONAUT[:10])
    assert sorted(os.listdir(tmp_path)) == ["a.jpg", "new"]  # nothing half written, the old one is whole
    assert image_io.read_image(tmp_path / "a.jpg").shape == ASTRONAUT.shape


@pytest.mark.parametrize("name", ["film.gif", "film.mp4"])
def test_films_are_read_back(tmp_path, name):
    frames = np.stack([np.full((64, 96), value, np.uint8) for value in (0, 100, 200)])
    image_io.write_animation(tmp_path / name, frames)
    film, found = cv2.VideoCapture(str(tmp_path / name)), []
    if name.endswith("gif"):
        found = [np.asarray(f.convert("L")) for f in ImageSequence.Iterator(Image.open(tmp_path / name))]
    else:
        while (frame := film.read()[1]) is not None:
            found.append(frame[..., 0])
    assert len(found) == 3 and found[0].shape == (64, 96)
    np.testing.assert_allclose([frame.mean() for frame in found], [0, 100, 200], atol=8)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    ("name", "message"), [("film.avi", "a film is a .gif or an .mp4"), ("file/film.gif", "cannot be written")]
)
def test_films_that_cannot_be_written(name, message, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=message):
        image_io.write_animation(tmp_path / name, np.zeros((2, 8, 8), np.uint8))


def test_gray_is_what_pillow_makes_of_rgb():
    colour = ASTRONAUT.astype(np.float32)
    found = image_io.without_colour(colour)
    assert found.shape == colour.shape and (np.ptp(found, axis=-1) == 0).all()
    assert np.abs(found[..., 0] - gray()).max() <= 1


@pytest.fixture
def tensor():
    class Tensor:  # of another library: numpy can make an array of it
        def __array__(self, dtype=None, copy=None):
            return ASTRONAUT

        def __iter__(self):
            raise AssertionError("it is no list of pictures")

    return Tensor()


def test_whatever_stands_for_a_picture_gives_the_same_pixels(tmp_path, tensor):
    """Also those that are turned when they are shown."""
    path = tmp_path / "a.png"
    Image.fromarray(np.ascontiguousarray(np.rot90(ASTRONAUT))).save(path, exif=exif_of(6))
    content = path.read_bytes()
    half_read = io.BytesIO(content)
    half_read.read(100)
    archive = write_archive(tmp_path / "a.zip", {"a.png": content})
    with path.open("rb") as stream, zipfile.ZipFile(archive).open("a.png") as member:
        for source in (path, str(path), content, bytearray(content), memoryview(content), half_read, stream,
                       member, Image.open(path), Image.fromarray(ASTRONAUT), ASTRONAUT, tensor,
                       next(entry for entry in os.scandir(tmp_path) if entry.name == path.name)):  # fmt: skip
            assert image_io.is_picture(source)
            np.testing.assert_array_equal(image_io.load(source), ASTRONAUT)
            np.testing.assert_array_equal(image_io.load(image_io.detached(source)), ASTRONAUT)


@pytest.mark.parametrize(
    "paths",
    [
        np.array(["a.png", "b.png"]),
        np.array([b"a.png", b"b.png"]),
        np.array([Path("a.png"), Path("b.png")]),
        pd.Series(["a.png", "b.png"]),
        (name for name in ("a.png", "b.png")),
    ],
    ids=["text", "bytes", "objects", "series", "generator"],
)
def test_several_paths(paths):
    assert not image_io.is_picture(paths)
    assert [os.fspath(path) for path in image_io.each(paths)] == ["a.png", "b.png"]


class Closed(io.BytesIO):
    def __init__(self):
        super().__init__()
        self.close()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (None, "not a NoneType"),
        (7, "not a int"),  # open(7) would read whatever file has that number
        (np.zeros((5, 7, 2), np.uint8), "shape"),
        (np.zeros((0, 7, 3), np.uint8), "shape"),
        (np.zeros((2, 5, 7, 3), np.uint8), "shape"),
        (np.array(["a.jpg"]), "uint8"),
        (np.full((5, 7, 3), np.nan), "not float64.*no finite numbers"),
        ({"a": 1}, "not a dict"),
        (pd.DataFrame({"path": ["a.jpg"]}), "not a DataFrame"),
        (object(), "not a object"),
        (3.5, "not a float"),
        (io.StringIO("text"), "gives str, not bytes"),
        (Closed(), "BytesIO|Closed: cannot be read"),
        (io.BytesIO(b""), "BytesIO: the file is empty"),
        (b"\xff\xd8\xff" * 9, "bytes: .*(damaged|is not a picture)"),
        (__file__.encode(), "bytes are a picture's content"),
        ("data:image/png;base64," + "A" * 10**6, "b64decode"),
        ("http://example.org/a.jpg", "is an address; download"),
        ("https://example.org/" + "a" * 10**5, "is an address; download"),
        ("file:///tmp/a.jpg", "without file://"),
        ("a" * 10**6, "cannot be read"),
        (np.full((5, 7, 3), 200.0), "0 to 255 already"),
        (np.full((5, 7, 3), 200, np.int64), "0 to 255 already"),
        (np.full((5, 7, 3), 0.3, np.float32), "multiply by 255"),
        (np.ones((5, 7), bool), "multiply by 255"),
        (np.full((5, 7, 3), -0.3), "-0.3 to -0.3: scale"),
        (np.full((5, 7, 3), 60000, np.uint16), "divide by 257"),
        (np.zeros((3, 50, 70), np.uint8), "move the colours last"),
        (np.zeros((1,) * 40, np.uint8), "shape"),
        (np.zeros(1, [("x" * 9000, "u1")]), "uint8"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else value[:20],
)
def test_everything_else_is_one_short_error(source, message):
    with pytest.raises(ImageError, match=message) as caught:
        image_io.load(source)
    assert len(str(caught.value)) <= 300 and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.mp4", b"\0\0\0 ftypisom" + bytes(90), "is a film"),
        ("a.jpg", b"\x1aE\xdf\xa3" + bytes(90), "is a film"),
        ("a.avi", b"RIFF\0\0\0\0AVI LIST" + bytes(90), "is a film"),
        ("a.mov", bytes(90), "is a film"),
        ("a.zip", b"PK\3\4" + bytes(90), "is a zip archive"),
        ("a.pdf", b"%PDF-1.7" + bytes(90), "is a PDF"),
        ("long.png", png(1, 70_000, b""), "no side may have more than 65535"),
        ("large.png", png(11_000, 11_000, b"", colour=6), "847 MB of memory, more than the limit"),
        ("slow.ppm", b"P6\n3000 3000\n254\n", "takes minutes to read"),
    ],
)
def test_what_is_no_picture_says_what_it_is(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ImageError, match=f"{name}: .*{message}"):
        image_io.load(tmp_path / name)


def test_scans_are_counted_before_they_are_decoded(tmp_path):
    for extra in (0, 80):
        assert image_io.load(mutated_pictures.scans(tmp_path, extra, 256)).shape == ASTRONAUT.shape
    with pytest.raises(ImageError, match="a JPEG of more than 100 scans"):
        image_io.load(mutated_pictures.scans(tmp_path, 1000, 256))


def test_a_film_behind_a_jpeg_has_no_scans(tmp_path):
    """As phones write moving photographs: its noise has the bytes of a marker every 65,536."""
    film = np.random.default_rng(0).bytes(10_000_000)
    (tmp_path / "a.jpg").write_bytes(encoded(picture(), "JPEG") + film)
    assert image_io.load(tmp_path / "a.jpg").shape == ASTRONAUT.shape


@pytest.mark.parametrize("is_last", [False, True])
def test_long_exif_data_are_not_looked_into(is_last, tmp_path, monkeypatch):
    path = mutated_pictures.png_with_exif(tmp_path, 600_000, is_last)
    monkeypatch.setattr(Image.Exif, "get", lambda *_: pytest.fail("made an object of each number"))
    np.testing.assert_array_equal(image_io.load(path), ASTRONAUT)


@pytest.mark.parametrize("make", [
    lambda folder: mutated_pictures.png_with_exif(folder, 25_000_000, False),
    lambda folder: written(folder, mutated_pictures.table(274, 25_000_000)),
])  # fmt: skip
def test_headers_have_an_end(make, tmp_path):
    with pytest.raises(ImageError, match="over 48 million bytes before its first pixel"):
        image_io.load(make(tmp_path))


def test_threads_wait_for_memory(monkeypatch):
    """Two pictures would take more than there is: never are two of them held."""
    monkeypatch.setattr(image_io, "MEMORY", 3 * ASTRONAUT.size)
    monkeypatch.setattr(image_io, "MEMORY_PER_CORE", 0)
    monkeypatch.setattr(image_io, "_cost", lambda image, name: 2 * ASTRONAUT.size)
    inside, most, content = [], [], encoded(picture(), "PNG")

    def work(number):
        with image_io.opened(content):
            inside.append(number)
            time.sleep(0.02)
            most.append(len(inside))
            inside.remove(number)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(12)))
    assert most == [1] * 12 and image_io._Memory._taken == 0


def test_links_between_folders(tmp_path):
    """A folder elsewhere is searched, a circle ends, two ways to one folder give its pictures once."""
    for name in ("in/a/1.png", "elsewhere/2.png", "in/.hidden/3.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for name, target in (("in/a/up", ".."), ("in/link", "../elsewhere"), ("in/z", "../elsewhere"),
                         ("elsewhere/back", "../in"), ("in/gone.png", "nowhere")):  # fmt: skip
        (tmp_path / name).symlink_to(target)
    found = [os.path.relpath(path, tmp_path / "in") for path in image_io.find_images([tmp_path / "in"])]
    assert found == ["gone.png", "a/1.png", "link/2.png"]


def test_heic_where_the_plug_in_is(tmp_path):
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    (tmp_path / "a.heic").write_bytes(encoded(picture(), "HEIF", quality=90))
    assert np.abs(image_io.load(tmp_path / "a.heic") - ASTRONAUT.astype(int)).mean() < 5
    assert list(image_io.find_images([tmp_path])) == [tmp_path / "a.heic"]
