"""Hostile and damaged data sources, seeded: ``python tests/mutated_sources.py --n 500 --seed 0``.

Allowed is a result, or one ``InputError`` of one line, within the limits of ``mutation``; whatever else
happens is printed, and the exit code is 1.
"""

from __future__ import annotations

import gzip
import io
import os
import shutil
import struct
import tarfile
import tempfile
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from facelib.data import fer2013, utkface
from facelib.errors import InputError
from fer2013_forms import (
    csv_lines,
    encoded,
    write_archive,
    write_csv,
    write_folders,
    write_parquet,
    write_votes,
)
from helpers import encoded as save
from helpers import png
from mutation import attempt, chosen, cut, flip, lazily, link, main, mutate, pipe, remove, written

N = 30
rng = np.random.default_rng(0)
IMAGES = rng.integers(0, 256, (N, 6, 6)).repeat(8, 1).repeat(8, 2).astype(np.uint8)
TINY = IMAGES, np.arange(N) % 7, np.repeat([0, 1, 2], [18, 6, 6])
ROWS = f"{csv_lines(TINY)[1]}\n".encode() * 1000
TABLE = "\n".join(csv_lines(TINY)).encode() + b"\n"
PNG = encoded(IMAGES[0], "PNG")
#: Fields that have broken readers.
WORDS = (
    "", " ", "-1", "7", "1e3", "1.0", "NaN", "inf", "0x10", "9" * 5000, "١", "²", "=1+1", "\x00", "\u202f",
    '"', "'",
    "None", "Training\u00a0", "training", "PublicTest", ",", ";", "\t", "1 " * 2304, "300 " * 2304,
)  # fmt: skip


# --- forms -----------------------------------------------------------------------------------------------


def csv_(place: Path) -> Path:
    return write_csv(place, csv_lines(TINY))


def folders(place: Path, **options) -> Path:
    return write_folders(place / "faces", TINY, **options)


def three(place: Path) -> Path:
    folder = folders(place)
    (folder / "val").mkdir()
    for file in sorted(folder.glob("test/*/PublicTest*")):
        (folder / "val" / file.parent.name).mkdir(exist_ok=True)
        file.rename(folder / "val" / file.parent.name / file.name)
    return folder


def pictures() -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as made:
        folder = folders(Path(made))
        return {
            file.relative_to(folder).as_posix(): file.read_bytes() for file in sorted(folder.rglob("*.jpg"))
        }


def archive(place: Path, name: str, members: dict[str, bytes] | None = None) -> Path:
    return write_archive(place / name, members or {"fer2013/fer2013.csv": TABLE})


def parquet(place: Path, name: str = "fer2013.parquet", **columns) -> Path:
    """The set as a table; a column that is given takes the place of its own, None: it is left out."""
    images, labels, usages = TINY
    table = {
        "image": [encoded(image, "PNG") for image in images],
        "emotion": labels.tolist(),
        "usage": [("Training", "PublicTest", "PrivateTest")[usage] for usage in usages],
    } | columns
    pq.write_table(pa.table({key: each for key, each in table.items() if each is not None}), place / name)
    return place / name


def hugging_face(place: Path) -> Path:
    return parquet(place, image=[{"bytes": encoded(image, "PNG"), "path": "x.png"} for image in IMAGES])


def spark(place: Path) -> Path:
    (place / "fer2013.parquet").mkdir()
    for part in range(3):
        parquet(place / "fer2013.parquet", f"part-{part}.parquet")
    return place / "fer2013.parquet"


FORMS: dict[str, Callable[[Path], Path]] = {
    "csv": csv_,
    "folders": folders,
    "folders without prefix": partial(folders, name="im{number}.jpg"),
    "png folders": partial(folders, name="{usage}_{number}.png", form="PNG"),
    "three folders": three,
    "parquet": lambda place: write_parquet(place, TINY),
    "struct": hugging_face,
    "directory of parquet": spark,
    **{
        kind: partial(archive, name=f"a{kind}") for kind in (".zip", ".tar", ".tar.gz", ".tar.bz2", ".tar.xz")
    },
    "zip of pictures": lambda place: archive(place, "a.zip", pictures()),
    "tar of pictures": lambda place: archive(place, "a.tar.gz", pictures()),
}


def one_file(source: Path, rng) -> Path:
    """The source, or one of its files."""
    return source if source.is_file() else rng.choice(sorted(f for f in source.rglob("*") if f.is_file()))


# --- random mutations --------------------------------------------------------------------------------------


def hole(content: bytearray, rng) -> None:
    start = rng.integers(0, len(content) + 1)
    content[start : start + 500] = bytes(len(content[start : start + 500]))


def insert(content: bytearray, rng) -> None:
    start = rng.integers(0, len(content) + 1)
    content[start:start] = rng.bytes(rng.integers(1, 300))


def double(content: bytearray, rng) -> None:
    content.extend(bytes(content))


def swap_head(content: bytearray, rng) -> None:
    heads = (b"PK\3\4", b"\x1f\x8b\x08", b"BZh9", b"\xfd7zXZ\0", b"PAR1", b"<html>", b"\xff\xfe", b"\xef\xbb")
    head = heads[rng.integers(len(heads))]
    content[: len(head)] = head


BYTES = (flip, cut, hole, remove, insert, double, swap_head)


def bytes_changed(place: Path, rng) -> Path:
    source = FORMS[rng.choice(list(FORMS))](place)
    file = one_file(source, rng)
    mutate(file, BYTES, rng)
    return source


def renamed(place: Path, rng) -> Path:
    source = FORMS[rng.choice([form for form in FORMS if form != "directory of parquet"])](place)
    ends = (".csv", ".zip", ".tar", ".tar.gz", ".tgz", ".parquet", ".rar", ".h5", "", ".CSV", ".csv.gz")
    return source.rename(source.with_name("renamed" + ends[rng.integers(len(ends))]))


def fields_changed(place: Path, rng) -> Path:
    rows = [line.split(",") for line in csv_lines(TINY)]
    for _ in range(rng.integers(1, 4)):
        row = rows[rng.integers(len(rows))]
        word = WORDS[rng.integers(len(WORDS))]
        if rng.random() < 0.3:
            row.insert(rng.integers(4), word)
        else:
            row[rng.integers(len(row))] = word
    text = "\n".join(",".join(row) for row in rows)
    return written(place, text.encode("utf-8", "surrogatepass"), name="fer2013.csv").parent


def lines_changed(place: Path, rng) -> Path:
    lines = csv_lines(TINY)
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(len(lines)))
        change = rng.integers(6)
        if change == 0:
            lines[at:at] = ["\n" * int(rng.integers(1, 50))]
        elif change == 1:
            lines[at] = lines[at] * 3
        elif change == 2:
            lines[at] = '"' + lines[at]
        elif change == 3:
            del lines[at]
        elif change == 4:
            lines[at] = lines[at].replace(" ", "\r" if rng.random() < 0.5 else "  ")
        else:
            lines[at:at] = [lines[0]]
    return write_csv(place, lines or [""])


def votes_changed(place: Path, rng) -> Path:
    source = csv_(place)
    file, _ = write_votes(place, TINY[2])
    mutate(file, BYTES, rng)
    return source


def tree_changed(place: Path, rng) -> Path:
    """Something in a folder of pictures is something else."""
    source = FORMS[rng.choice(["folders", "png folders", "three folders", "folders without prefix"])](place)
    file = one_file(source, rng)
    names = (
        "x\n.jpg", "x\udcff.jpg", "é" * 100 + ".jpg", "\u202f.jpg", " .jpg", "9" * 200 + ".jpg", ".x.jpg",
        "x",
    )  # fmt: skip
    change = rng.integers(11)
    if change == 0:
        os.rename(file, os.fsencode(file.parent) + b"/" + os.fsencode(names[rng.integers(len(names))]))
    elif change in (1, 2, 3):
        file.unlink()
        other = str(one_file(source, rng))
        targets = "/dev/zero", "/nowhere/x.jpg", file.name, other, "/", "..", "/dev/stdin"
        os.symlink(targets[rng.integers(len(targets))], file)
    elif change == 4:
        file.unlink()
        os.mkfifo(file)
    elif change == 5:
        shutil.copytree(file.parent, file.parent / "nested")
    elif change == 6:
        file.parent.rename(file.parents[1] / rng.choice(["Happy", "afraid", ".hidden", "happy ", "1"]))
    elif change == 7:
        file.parents[1].rename(source / rng.choice(["Train", "valid", "training", "dev", ".x"]))
    elif change == 8:
        os.truncate(file, int(10 ** rng.uniform(0, 11)))
    elif change == 9:
        moved = file.parent.rename(place / "elsewhere")
        os.symlink(moved, file.parent)
    else:
        shutil.rmtree(file.parents[int(rng.integers(2))])
    return source


def columns_changed(place: Path, rng) -> Path:
    images, labels, usages = (
        [f(x) for x in each] for f, each in zip((partial(encoded, form="PNG"), int, int), TINY)
    )
    names = ["Training", "PublicTest", "PrivateTest"]
    kinds = {
        "image": [
            [None] * N, images[:-1] + [None], [""] * N, ["text"] * N, [1] * N, [[1, 2]] * N,
            [{"path": "x"}] * N, [{"bytes": None}] * N,
            [{"bytes": image} for image in images], [{"bytes": 3}] * N, [[b"x"]] * N,
            [{"bytes": {"bytes": b"x"}}] * N, images[:-1] + [bytes(2 << 20)],
            pa.array(images, pa.large_binary()),
            pa.array(images).dictionary_encode(), [0.5] * N, [True] * N, images[:-1] + [images[0][:60]], None,
            [IMAGES[0].tolist()] * N, [encoded(IMAGES[0].repeat(2, 0), "PNG")] * N,
        ],
        "emotion": [
            [None] * N, [str(x) for x in labels], [float(x) for x in labels], [[1]] * N, [9] * N, [-1] * N,
            [b"1"] * N, ["happy"] * N, [{"label": 1}] * N, [2**62] * N, None, [True] * N, ["x" * 2**20] * N,
        ],
        "usage": [
            [None] * N, usages, ["Training"] * N, [["Training"]] * N, ["train"] * N, [b"Training"] * N, None,
            pa.array([names[u] for u in usages]).dictionary_encode(), ["y" * 9999] * N, ["PrivateTest"] * N,
        ],
    }  # fmt: skip
    chosen = rng.choice(list(kinds), rng.integers(1, 3), replace=False)
    return parquet(place, **{key: kinds[key][rng.integers(len(kinds[key]))] for key in chosen})


def picture_changed(place: Path, rng) -> Path:
    gray, large = Image.fromarray(IMAGES[0]), Image.fromarray(IMAGES[0].repeat(9, 0).repeat(9, 1))
    kinds = [
        lambda: save(gray.convert("RGBA"), "PNG"), lambda: save(gray.convert("CMYK"), "JPEG"),
        lambda: save(gray.convert("I;16"), "PNG"), lambda: save(gray.convert("1"), "PNG"),
        lambda: save(gray.convert("P"), "GIF"), lambda: save(gray, "TIFF"), lambda: save(gray, "BMP"),
        lambda: save(large, "PNG"), lambda: png(60_000, 60_000, b"", 8, 0), lambda: PNG + bytes(1 << 19),
        lambda: b"",
        lambda: save(gray, "JPEG", progressive=True), lambda: PNG[: rng.integers(8, len(PNG))],
        lambda: save(gray, "JPEG").replace(b"\xff\xda", b"\xff\xda" * 500), lambda: rng.bytes(700),
        lambda: save(gray, "WEBP"), lambda: save(gray, "PPM"), lambda: b"GIF89a" + bytes(9),
    ]  # fmt: skip
    content = kinds[rng.integers(len(kinds))]()
    if rng.random() < 0.5:
        source = folders(place)
        one_file(source, rng).write_bytes(content)
        return source
    form = rng.choice(["zip", "tar", "parquet"])
    if form == "parquet":
        return parquet(place, image=[content, *([PNG] * (N - 1))])
    members = pictures()
    members[rng.choice(list(members))] = content
    return archive(place, {"zip": "a.zip", "tar": "a.tar.gz"}[form], members)


def cache_changed(place: Path, rng) -> Path:
    """What an import left in data/ is damaged; the set is read from it, or again."""
    source = csv_(place / "in")
    fer2013.import_fer2013(source)
    file = rng.choice(sorted((Path(os.environ["FACELIB_HOME"]) / "data").iterdir()))
    memo = b'{"cache": 5, "source": [], "ferplus": {}}'
    texts = b"[]", b"{}", memo, b"[" * 100_000, b"null", b'"x"', b"\xff\xfe{"
    if file.suffix == ".json" and rng.random() < 0.5:
        file.write_bytes(texts[rng.integers(len(texts))])
    else:
        mutate(file, BYTES, rng)
    return source


def people_changed(place: Path, rng) -> Path:
    """UTKFace's table, for which the name is looked at below."""
    kinds = {
        "image": [[None] * N, [1] * N, ["x"] * N, [bytes(2 << 20)] * N, [[1]] * N, None],
        "gender": [["man"] * N, [0] * N, [None] * N, [["man"]] * N, ["x" * 99999] * N, None],
        "age": [[None] * N, ["old"] * N, [1.5] * N, [-5] * N, [[3]] * N, None],
        "group": [[None] * N, ["a"] * N, [2**62] * N, None],
    }
    table = {"image": [PNG] * N, "gender": ["man", "woman"] * (N // 2), "age": [30] * N}
    table["group"] = list(range(N))
    key = rng.choice(list(kinds))
    table[key] = kinds[key][rng.integers(len(kinds[key]))]
    path = parquet(place, "utkface.parquet", emotion=None, usage=None, **table)
    if rng.random() < 0.3:
        mutate(path, BYTES, rng)
    return path


RANDOM = (
    bytes_changed, renamed, fields_changed, lines_changed, votes_changed, tree_changed, columns_changed,
    picture_changed, cache_changed, people_changed,
)  # fmt: skip


# --- bombs, and what else is made on purpose -------------------------------------------------------------


def zip_bomb(place: Path, block: bytes, times: int, name: str = "fer2013.csv", head: bytes = b"") -> Path:
    """A zip of one member, ``head`` and then ``block`` so many times; only the first block is packed."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH)
    part = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    packed += part * times + packer.flush()
    size, name, check = len(head) + len(block) * times, name.encode(), zlib.crc32(head)
    for _ in range(times if size < 1 << 30 else 0):  # larger ones are refused before
        check = zlib.crc32(block, check)
    fields = struct.pack("<HHHHHIIIHH", 20, 0, 8, 0, 0x21, check, len(packed), size, len(name), 0)
    local = b"PK\3\4" + fields + name + packed
    central = b"PK\1\2" + b"\x14\0" + fields + struct.pack("<HHHII", 0, 0, 0, 0, 0) + name
    end = b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(central), len(local), 0)
    return written(place, local + central + end, name="a.zip")


def gzip_bomb(place: Path, head: bytes, block: bytes, times: int) -> Path:
    return written(place, gzip.compress(head) + gzip.compress(block) * times, name="a.tar.gz")


def tar_head(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size, entry.type = size, kind
    return entry.tobuf(tarfile.GNU_FORMAT)


def with_link(place: Path, name: str, target: str, **options) -> Path:
    """Folders of pictures in which one path is a link."""
    source = folders(place, **options)
    if not os.path.isabs(target):
        (source / name).unlink(missing_ok=True)
    os.symlink(target, source / name)
    return source


def linked_class(place: Path) -> Path:
    source = folders(place)
    moved = (source / "train" / "happy").rename(place / "happy")
    os.symlink(moved, source / "train" / "happy")
    return source


def hidden(place: Path) -> Path:
    source = folders(place)
    shutil.copytree(source / "train" / "sad", source / "train" / ".ipynb_checkpoints")
    shutil.copytree(source / "train" / "sad", source / "train" / "sad" / ".ipynb_checkpoints")
    return source


def linked_members(place: Path, name: str, kind: bytes = tarfile.SYMTYPE) -> Path:
    with tarfile.open(place / "a.tar", "w") as made:
        for member, content in pictures().items():
            entry = tarfile.TarInfo(member)
            entry.size = len(content)
            made.addfile(entry, io.BytesIO(content))
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname = kind, "../elsewhere"
        made.addfile(entry)
    return place / "a.tar"


def encrypted(place: Path) -> Path:
    path = archive(place, "a.zip")
    content = bytearray(path.read_bytes())
    content[6] |= 1
    content[content.rindex(b"PK\1\2") + 8] |= 1
    path.write_bytes(content)
    return path


def inner(place: Path, name: str) -> Path:
    made = archive(place, name).rename(place / "made").read_bytes()
    return archive(place, "a.zip", {f"download/{name}": made})


def spark_bomb(place: Path, rows: int, size: int) -> Path:
    """One value, so many times: a dictionary and run lengths make it a kilobyte."""
    value = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), [bytes(size)])
    usage = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), ["Training"])
    return parquet(place, image=value, emotion=pa.array(np.ones(rows, np.uint8)), usage=usage)


def _text(name: str, content: bytes, size: int = 0) -> Callable[[Path], Path]:
    return partial(written, content=content, size=size, name=name)


_zip, _gzip, _link = map(lazily, (zip_bomb, gzip_bomb, linked_members))
_BLOCK = b"1 " * (1 << 19)
_PICTURE = tar_head("train/sad/1.jpg", 512) + bytes(512)
SPECIAL: dict[str, Callable[[Path], Path]] = {
    **FORMS,
    "a class is a link": linked_class,
    "a circle": partial(with_link, name="train/happy/loop", target=".."),
    "a link to the root": partial(with_link, name="train/happy/root", target="/"),
    "a link to /proc": partial(with_link, name="train/sad/proc", target="/proc"),
    "a device in a folder": partial(with_link, name="train/happy/x.jpg", target="/dev/zero"),
    "a broken link in a folder": partial(with_link, name="train/happy/x.jpg", target="nowhere.jpg"),
    "parquet bomb": partial(spark_bomb, rows=2900, size=1_000_000),
    "parquet bomb of many rows": partial(spark_bomb, rows=30_000_000, size=100),
    "parquet bomb of one value": partial(spark_bomb, rows=5, size=600_000_000),
    "parquet bomb of lists": lambda place: parquet(place, image=pa.array([[7] * 3_000_000] * N)),
    "zip of one endless line": _zip(_BLOCK, 3000),
    "zip of one long line": _zip(_BLOCK, 800, head=b"emotion,pixels,Usage\n0,"),
    "zip of a huge quoted field": _zip(b'"\n' * (1 << 19), 800, head=b'a,"'),
    "zip of empty lines": _zip(b"\n" * (1 << 20), 480),
    "zip of many rows": _zip(ROWS, 80, head=TABLE),
    "zip of as many rows as there may be": _zip(ROWS, 71, head=TABLE),
    "zip of short rows": _zip(b"0,1,Training\n" * 9999, 1000, head=TABLE),
    "zip with a picture of 3 GB": _zip(bytes(1 << 20), 3000, "train/happy/x.jpg"),
    "tar of 3 GB": _gzip(tar_head("fer2013.csv", 3 << 30), bytes(1 << 20), 3072),
    "tar with a header of 3 GB": _gzip(tar_head("x", 3 << 30, b"x"), bytes(1 << 20), 3072),
    "tar with a name of 3 GB": _gzip(tar_head("x", 3 << 30, b"L"), bytes(1 << 20), 3072),
    "tar of many members": _gzip(b"", tar_head("x", 0) * 9999, 100),
    "tar of many pictures": _gzip(b"", _PICTURE, 400_000),
    "gzip of 3 GB of nothing": _gzip(b"", bytes(1 << 20), 3072),
    "zip of many members": lambda place: archive(place, "a.zip", {f"{i}.jpg": b"" for i in range(140_000)}),
    "sparse csv": _text("fer2013.csv", b"", 20 << 30),
    "sparse zip": _text("a.zip", b"", 20 << 30),
    "sparse parquet": _text("fer2013.parquet", b"", 20 << 30),
    "sparse csv that is just small enough": _text("fer2013.csv", b"", 1 << 30),
    "csv with a long line": _text("fer2013.csv", TABLE + b"0," + _BLOCK * 400),
    "csv of semicolons": _text("fer2013.csv", TABLE.replace(b",", b";")),
    "csv as UTF-16": _text("fer2013.csv", TABLE.decode().encode("utf-16")),
    "csv as Latin-1": _text("fer2013.csv", TABLE + b"\xe9"),
    "csv of old Macs": _text("fer2013.csv", TABLE.replace(b"\n", b"\r")),
    "a web page": _text("fer2013.csv", b"<!DOCTYPE html><html>log in</html>"),
    "a web page as zip": _text("a.zip", b"<!DOCTYPE html><html>log in</html>"),
    "a Git LFS pointer": _text("fer2013.csv", b"version https://git-lfs.github.com/spec/v1\n"),
    "a tar named .csv": lambda place: archive(place, "a.tar").rename(place / "fer2013.csv"),
    "a gzip of the table": _text("fer2013.tar.gz", gzip.compress(TABLE)),
    "encrypted": encrypted,
    "a zip in a zip": partial(inner, name="archive.zip"),
    "a tar in a zip": partial(inner, name="fer2013.tar.gz"),
    "a member outside": lambda place: archive(place, "a.tar", {"../fer2013.csv": TABLE}),
    "a class in a tar is a link": _link(name="train/neutral2"),
    "a picture in a tar is a link": _link(name="train/sad/x.jpg"),
    "a picture in a tar is a hard link": _link(name="train/sad/x.jpg", kind=tarfile.LNKTYPE),
    "a pipe in a tar": _link(name="train/sad/x.jpg", kind=tarfile.FIFOTYPE),
    "a pipe": partial(pipe, name="fer2013.csv"),
    "a pipe in its place": lambda place: pipe(place, "fer2013.csv").parent,
    "a pipe for votes": lambda place: (pipe(place, "fer2013new.csv"), csv_(place))[1],
    "a device": partial(link, name="fer2013.csv", target="/dev/zero"),
    "the device itself": lambda place: Path("/dev/zero"),
    "a broken link": partial(link, name="fer2013.csv", target="/nowhere"),
    "a broken link in its place": lambda place: link(place, "/nowhere", "fer2013.csv").parent,
    "a link to itself": partial(link, name="fer2013.csv", target="fer2013.csv"),
    "train is a broken link": lambda place: link(place, "/nowhere", "train").parent,
    "a folder named .csv": lambda place: folders(place / "in").rename(place / "fer2013.csv"),
    "hidden folders": hidden,
    "no faces": lambda place: place,
    "a name too long": lambda place: place / ("x" * 5000),
    "a name with a null": lambda place: place / "a\0b.csv",
    "nothing": lambda place: place / "nowhere.csv",
}  # fmt: skip


#: Those that take seconds to make or to read.
SLOW = {
    "zip of many rows", "zip of as many rows as there may be", "tar of many members", "tar of many pictures",
    "zip of many members", "csv with a long line", "sparse csv that is just small enough",
    "parquet bomb of lists", "parquet bomb of one value", "parquet bomb of many rows",
}  # fmt: skip


# --- running -----------------------------------------------------------------------------------------------


def read_faces(path: Path) -> str:
    data = fer2013.load_fer2013(path, progress=False)
    return f"{[len(split) for _, split in data]} {'; '.join(data.extra['notes'])}"


def read_people(path: Path) -> str:
    table = utkface.read_table(path)
    return f"{len(table)} rows, {utkface.decode(table['image'][0]).shape}"


def cases(n: int, seed: int) -> dict[str, Callable[[Path], Path]]:
    """n cases: those made on purpose, then mutations."""
    found = chosen(SPECIAL, SLOW, n, seed)
    for i in range(n - len(found)):
        change = RANDOM[i % len(RANDOM)]
        found[f"{change.__name__} {i}"] = partial(change, rng=np.random.default_rng((seed, i)))
    return found


def read(name: str, path: Path) -> str:
    reader = read_people if name.startswith("people") else read_faces
    return attempt(reader, path, (InputError, FileNotFoundError), 1000)


if __name__ == "__main__":
    main(__doc__, cases, read)
