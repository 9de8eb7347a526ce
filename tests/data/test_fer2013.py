"""The readers of FER-2013: every form gives the same arrays, every fault gives one line and no cache."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import textwrap
import time
import warnings
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from facelib import paths
from facelib.data import fer2013, fer2013_readers, ferplus
from facelib.data.fer2013 import describe, import_fer2013, load_fer2013
from facelib.data.fer2013_readers import USAGES
from facelib.emotions import EMOTIONS, FERPLUS
from facelib.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "data"
N = 30
HEADER = "emotion,pixels,Usage"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("FACELIB_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("FACELIB_FER2013", raising=False)
    return tmp_path / "home"


@pytest.fixture(scope="module")
def tiny():
    """30 smooth random pictures (JPEG keeps them), 18 + 6 + 6 in three splits, every label at least once."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (N, 6, 6)).repeat(8, 1).repeat(8, 2).astype(np.uint8)
    images[7] = images[3]  # an exact duplicate, as FER-2013 has many
    labels = rng.permutation(np.arange(N) % 7)
    labels[7] = labels[3]
    return images, labels, np.repeat([0, 1, 2], [18, 6, 6])


def csv_lines(tiny) -> list[str]:
    rows = zip(*tiny, strict=True)
    return [HEADER] + [f"{y},{' '.join(map(str, x.ravel()))},{USAGES[u]}" for x, y, u in rows]


def write_csv(folder: Path, lines: list[str], name: str = "fer2013.csv") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("\n".join(lines) + "\n")
    return folder / name


def write_votes(folder: Path, usages, columns=FERPLUS) -> tuple[Path, np.ndarray]:
    votes = np.random.default_rng(1).integers(0, 11, (len(usages), 10))
    lines = [",".join(("Usage", "Image name", *columns))]
    for i, row in enumerate(votes):
        counts = dict(zip(FERPLUS, row, strict=True))
        name = "" if i % 10 == 4 else f"fer{i:07}.png"
        lines.append(",".join([USAGES[usages[i]], name, *(str(counts[column]) for column in columns)]))
    return write_csv(folder, lines, "fer2013new.csv"), votes


def encoded(image, form: str = "JPEG") -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, form, **({"lossless": True} if form == "WEBP" else {"quality": 95}))
    return buffer.getvalue()


def write_folders(folder: Path, tiny, name="{usage}_{number}.jpg", numbers=None, form="JPEG") -> Path:
    for i, (image, label, usage) in enumerate(zip(*tiny, strict=True)):
        place = folder / ("train" if usage == 0 else "test") / EMOTIONS[label]
        place.mkdir(parents=True, exist_ok=True)
        number = 90 + 131 * i if numbers is None else numbers[i]  # of 2 to 4 digits: not in the order of text
        (place / name.format(usage=USAGES[usage], number=number)).write_bytes(encoded(image, form))
    return folder


def write_parquet(folder: Path, tiny) -> Path:
    import pandas as pd

    images, labels, usages = tiny
    folder.mkdir(parents=True, exist_ok=True)
    columns = {"image": [encoded(image, "WEBP") for image in images], "emotion": labels.astype(np.uint8)}
    frame = pd.DataFrame({**columns, "usage": pd.Categorical([USAGES[usage] for usage in usages])})
    frame.to_parquet(folder / "fer2013.parquet")
    return folder / "fer2013.parquet"


def write_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def write_tar(path: Path, source: Path, name: str) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        archive.add(source, name)
    return path


def make_official(monkeypatch, tiny) -> None:
    """Let the tiny set pass for the official one, whose order is known by its sequence of labels."""
    import hashlib

    _, labels, usages = tiny
    digest = hashlib.sha256(labels.astype(np.uint8)).hexdigest()[:16]
    monkeypatch.setattr(fer2013, "OFFICIAL_LABELS", digest)
    counts = {u: tuple(np.bincount(labels[usages == i], minlength=7).tolist()) for i, u in enumerate(USAGES)}
    monkeypatch.setattr(fer2013, "OFFICIAL_COUNTS", counts)


def columns(data) -> tuple[np.ndarray, np.ndarray]:
    return (np.concatenate([s.images for _, s in data]), np.concatenate([s.labels for _, s in data]))


def caches(home: Path) -> list[Path]:
    """Everything in data/ but the index of digests: caches, memo, and the leavings of writers."""
    return sorted(f for f in (home / "data").glob("*") if "digests" not in f.name and f.is_file())


# --- one set, many forms ---------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["csv", "spaced", "zip", "tar.gz", "parquet", "png folders", "png zip"])
def test_all_lossless_forms_are_bit_identical(form, tiny, tmp_path, monkeypatch):
    make_official(monkeypatch, tiny)
    lines = csv_lines(tiny)
    csv_path = write_csv(tmp_path / "made", lines)
    place = tmp_path / "in"
    place.mkdir()
    if form == "csv":
        path = csv_path
    elif (
        form == "spaced"
    ):  # icml_face_data.csv: other order of columns, spaces in the header, CRLF, a last blank line
        swapped = [line.split(",") for line in lines]
        path = place / "icml_face_data.csv"
        text = ["emotion, Usage, pixels"] + [f"{y},{u},{x}" for y, x, u in swapped[1:]]
        path.write_bytes(("\ufeff" + "\r\n".join(text) + "\r\n\r\n").encode())
    elif form == "zip":
        members = {"train.csv": b"emotion,pixels\n", "fer2013/fer2013.csv": csv_path.read_bytes()}
        path = write_zip(place / "archive.zip", members)
    elif form == "tar.gz":
        path = write_tar(place / "fer2013.tar.gz", csv_path, "fer2013/fer2013.csv")
    elif form == "parquet":
        path = write_parquet(place, tiny)
    else:
        path = write_folders(place / "pictures", tiny, "{usage}_{number}.png", form="PNG")
        if form == "png zip":
            files = {f.relative_to(path).as_posix(): f.read_bytes() for f in path.rglob("*.png")}
            path = write_zip(
                place / "archive.zip", {"README.txt": b"hello", "__MACOSX/train/._x": b"", **files}
            )
    data = load_fer2013(path)
    images, labels = columns(data)
    assert images.dtype == np.uint8 and labels.dtype == np.int64
    assert np.array_equal(images, tiny[0]) and np.array_equal(labels, tiny[1])
    assert [len(split) for _, split in data] == [18, 6, 6]
    assert data.extra["order"] == "official" and data.extra["notes"] == []
    assert data.digest == load_fer2013(csv_path).digest
    assert str(tmp_path) not in data.source and path.name in data.source


def test_digest_depends_on_pixels_labels_and_splits(tiny, tmp_path):
    images, labels, usages = tiny
    other = images.copy()
    other[29, 47, 47] ^= 1
    swapped = labels.copy()
    swapped[0] = (swapped[0] + 1) % 7
    moved = usages.copy()
    moved[17] = 1
    sets = [tiny, (other, labels, usages), (images, swapped, usages), (images, labels, moved)]
    digests = {load_fer2013(write_csv(tmp_path / str(i), csv_lines(x))).digest for i, x in enumerate(sets)}
    assert len(digests) == 4 and all(len(digest) == 16 for digest in digests)


def test_folders_are_read_in_the_order_of_the_numbers(tiny, tmp_path):
    data = load_fer2013(write_folders(tmp_path / "k", tiny))
    images, labels = columns(data)
    assert np.array_equal(labels, tiny[1])
    assert np.abs(images.astype(int) - tiny[0]).max() <= 12
    assert (
        data.extra["order"] == "by the number in the file name"
    )  # 30 pictures are not the official sequence


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("prefix", [True, False])
def test_a_table_gives_pictures_their_official_order_split_and_votes(prefix, tiny, tmp_path, monkeypatch):
    make_official(monkeypatch, tiny)
    numbers = np.random.default_rng(2).permutation(10**6)[:N]
    name = "{usage}_{number}.jpg" if prefix else "im{number}.jpg"
    folder = write_folders(tmp_path / "k" / "pictures", tiny, name, numbers)
    _, votes = write_votes(tmp_path / "k", tiny[2])
    with pytest.warns(UserWarning, match="no votes"):
        alone = load_fer2013(folder)
    assert alone.train.votes is None and not np.array_equal(columns(alone)[1], tiny[1])

    table = write_csv(tmp_path / "k", csv_lines(tiny))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = load_fer2013(folder)
    images, labels = columns(data)
    assert np.array_equal(labels, tiny[1]) and np.abs(images.astype(int) - tiny[0]).max() <= 12
    assert [len(split) for _, split in data] == [18, 6, 6]
    assert np.array_equal(np.concatenate([split.votes for _, split in data]), votes)

    strange = (np.roll(tiny[0], 20, axis=2), *tiny[1:])
    write_csv(table.parent, csv_lines(strange))
    with pytest.warns(UserWarning, match="not those of"):
        assert load_fer2013(folder).train.votes is None


def test_without_prefixes_test_is_one_split_and_the_caller_is_told_every_time(tiny, tmp_path):
    folder = write_folders(tmp_path / "k", tiny, "im{number}.jpg")
    for _ in range(2):  # parsed, then from the cache
        with pytest.warns(UserWarning, match=r"all 12 test pictures are in private_test"):
            data = load_fer2013(folder)
        assert [len(split) for _, split in data] == [18, 0, 12]
    assert "private_test" in describe(data)


def test_votes_are_joined_by_row_and_keep_the_order_of_ferplus(tiny, tmp_path):
    path = write_csv(tmp_path / "k", csv_lines(tiny))
    _, votes = write_votes(tmp_path / "k", tiny[2], columns=FERPLUS[::-1])
    data = load_fer2013(path)
    assert data.train.votes.dtype == np.uint8
    assert np.array_equal(np.concatenate([split.votes for _, split in data]), votes)
    flags = np.concatenate(list(data.extra["no_face"].values()))
    assert np.array_equal(np.flatnonzero(flags), [4, 14, 24])
    again = load_fer2013(path)
    assert (
        np.array_equal(again.private_test.votes, votes[24:])
        and again.extra["no_face"]["PublicTest"].sum() == 0
    )


def test_votes_of_other_rows_are_refused(tiny, tmp_path):
    path = write_csv(tmp_path / "k", csv_lines(tiny))
    other, _ = write_votes(tmp_path / "elsewhere", np.roll(tiny[2], 1))
    with pytest.raises(InputError, match="do not fit 30 images"):
        load_fer2013(path, ferplus=other)
    shutil.copy(other, path.parent)
    with pytest.warns(UserWarning, match="do not fit"):
        assert load_fer2013(path).train.votes is None


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_shuffled_official_set_gets_no_votes(tiny, tmp_path, monkeypatch):
    make_official(monkeypatch, tiny)
    order = np.r_[np.random.default_rng(3).permutation(18), 18:N]
    path = write_csv(tmp_path / "k", csv_lines(tuple(column[order] for column in tiny)))
    write_votes(tmp_path / "k", tiny[2])  # the usages agree, the rows do not
    with pytest.warns(UserWarning, match="not in its official order"):
        assert load_fer2013(path).train.votes is None


# --- faults ----------------------------------------------------------------------------------------------


def _change(line: int, old: str, new: str):
    def change(lines: list[str]) -> list[str]:
        assert old in lines[line - 1]
        return [*lines[: line - 1], lines[line - 1].replace(old, new, 1), *lines[line:]]

    return change


FAULTS = {
    "wrong columns": (_change(1, "pixels", "picture"), "line 1: the columns are emotion, picture, usage"),
    "a column twice": (_change(1, "pixels", "Usage"), "line 1: a column stands twice"),
    "no header": (lambda lines: lines[1:], "line 1: the columns are"),
    "2303 pixels": (lambda x: [*x[:9], x[9].replace(" ", ",", 1).replace(",", "§", 1).split("§")[0] + ","
                               + x[9].split(" ", 1)[1], *x[10:]], "line 10: 2303 pixels instead of 2304"),
    "4096 pixels": (lambda x: [*x[:5], f"0,{' '.join(['7'] * 4096)},Training"], "line 6: 4096 pixels"),
    "value 300": (
        lambda x: [*x[:4], f"0,300 {' '.join(['7'] * 2303)},Training"],
        "line 5: pixel value '300'",
    ),
    "value -1": (lambda x: [*x[:4], f"0,{' '.join(['7'] * 2303)} -1,Training"], "line 5: pixel value '-1'"),
    "value 1.5": (
        lambda x: [*x[:4], f"0,{' '.join(['7'] * 2303)} 1.5,Training"],
        "line 5: pixel value '1.5'",
    ),
    "a word after": (lambda x: [*x[:4], f"0,{'7 ' * 2304}x,Training"], "line 5: pixel value 'x'"),
    "label 9": (lambda x: [*x[:7], "9" + x[7][1:]], "line 8: unknown emotion '9'; allowed are 0, 1, 2"),
    "no label": (lambda x: [*x[:7], x[7][1:]], "line 8: unknown emotion ''"),
    "unknown usage": (_change(3, "Training", "Validation"), "line 3: unknown usage 'Validation'"),
    "header twice": (lambda x: [*x[:12], HEADER, *x[12:]], "line 13: the header stands here again"),
    "cut row": (lambda x: [*x[:12], x[12].rsplit(",", 1)[0]], "line 13: 2 fields instead of 3"),
    "open quote": (lambda x: [*x[:12], '0,"1 2 3'], "line 14: is not CSV text"),
    "header only": (lambda x: x[:1], "has a header and no rows"),
}  # fmt: skip


def refuse(path: Path, text: str, home: Path, reader=load_fer2013) -> str:
    with pytest.raises(InputError) as caught:
        reader(path)
    message = str(caught.value)
    assert "\n" not in message and text in message and path.name in message
    assert ";" in message, "a remedy follows the fault"
    assert caches(home) == [], "nothing is kept of a refused source"
    return message


@pytest.mark.parametrize("fault", FAULTS)
def test_malformed_tables(fault, tiny, tmp_path, home):
    change, text = FAULTS[fault]
    refuse(write_csv(tmp_path / "k", change(csv_lines(tiny))), text, home, import_fer2013)


def test_faults_inside_archives_name_archive_member_and_line(tiny, tmp_path, home):
    lines = csv_lines(tiny)
    lines[3] = lines[3].replace("Training", "Train")
    path = write_csv(tmp_path / "k", lines)
    archive = write_tar(tmp_path / "fer2013.tar.gz", path, "fer2013/fer2013.csv")
    assert "fer2013.tar.gz/fer2013/fer2013.csv, line 4" in refuse(archive, "unknown usage 'Train'", home)


@pytest.mark.parametrize("name", ["fer2013.csv", "a.zip", "a.tar.gz", "a.parquet"])
def test_empty_files(name, tmp_path, home):
    (tmp_path / name).touch()
    refuse(tmp_path / name, "", home)


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "parquet"])
@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_truncated_files(kind, kept, tiny, tmp_path, home):
    csv_path = write_csv(tmp_path / "k", csv_lines(tiny))
    if kind == "zip":
        whole = write_zip(tmp_path / "a.zip", {"fer2013.csv": csv_path.read_bytes()})
    elif kind == "tar.gz":
        whole = write_tar(tmp_path / "a.tar.gz", csv_path, "fer2013.csv")
    else:
        whole = write_parquet(tmp_path / "p", tiny)
    content = whole.read_bytes()
    whole.write_bytes(content[: int(len(content) * kept)])
    refuse(whole, "download it again", home)


def test_a_damaged_byte_in_a_zip(tiny, tmp_path, home):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:  # stored: only the checksum can tell
        archive.writestr("fer2013.csv", "\n".join(csv_lines(tiny)) + "\n")
    content = bytearray(path.read_bytes())
    place = content.index(b" ", 5000) - 1
    content[place] = ord("1") if content[place] != ord("1") else ord("2")
    path.write_bytes(content)
    refuse(path, "CRC", home)


@pytest.mark.parametrize(
    "member", ["../fer2013.csv", "/tmp/fer2013.csv", "a/../../fer2013.csv", "..\\x.csv", "C:/x"]
)
@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_archives_that_point_outside_are_refused(member, kind, tiny, tmp_path, home):
    content = "\n".join(csv_lines(tiny)).encode()
    path = tmp_path / "deep" / f"a.{kind}"
    path.parent.mkdir()
    members = {"fer2013/fer2013.csv": content, member: content}
    if kind == "zip":
        write_zip(path, members)
    else:
        with tarfile.open(path, "w:gz") as archive:
            for name, data in members.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
    refuse(path, "points outside the archive", home)
    assert [f for f in tmp_path.rglob("*.csv")] == [], "nothing was extracted"


def test_nothing_of_an_archive_is_extracted(tiny, tmp_path, home):
    path = write_zip(tmp_path / "a.zip", {"fer2013.csv": "\n".join(csv_lines(tiny)).encode()})
    load_fer2013(path)
    assert list(tmp_path.rglob("*.csv")) == []


def _picture_fault(folder: Path, fault: str) -> str:
    file = min((folder / "train" / "fear").glob("*"))
    content = file.read_bytes()
    if fault == "not a picture":
        file.write_bytes(b"hello")
        return f"{file.name}: is not a readable picture"
    if fault == "half a picture":
        file.write_bytes(content[: len(content) // 2])
        return f"{file.name}: is not a readable picture"
    if fault == "empty":
        file.write_bytes(b"")
        return f"{file.name}: is not a readable picture"
    if fault == "mixed sizes":
        file.write_bytes(encoded(np.zeros((64, 48), np.uint8)))
        return f"{file.name}: is 48 x 64 pixels and not 48 x 48"
    if fault == "huge":
        file.write_bytes(content + bytes(2 << 20))
        return f"{file.name}: is too large"
    if fault == "unknown class":
        file.parent.rename(folder / "train" / "afraid")
        return "unknown emotion 'afraid'"
    if fault == "no class":
        file.rename(folder / "train" / file.name)
        return "does not stand in train/<emotion>/"
    if fault == "split in the wrong folder":
        file.rename(file.with_name("PrivateTest_5.jpg"))
        return "a PrivateTest picture in train/"
    for file in (folder / "test").rglob("*.jpg"):
        file.unlink()
    return "holds neither fer2013.csv nor pictures"


@pytest.mark.parametrize(
    "fault",
    ["not a picture", "half a picture", "empty", "mixed sizes", "huge", "unknown class", "no class",
     "split in the wrong folder", "empty test"],
)  # fmt: skip
def test_malformed_folders(fault, tiny, tmp_path, home):
    folder = write_folders(tmp_path / "k", tiny)
    refuse(folder, _picture_fault(folder, fault), home, import_fer2013)


def test_files_that_systems_leave_in_folders_are_ignored(tiny, tmp_path):
    folder = write_folders(tmp_path / "k", tiny)
    for name in (".DS_Store", "Thumbs.db", "desktop.ini"):
        (folder / "train" / "fear" / name).write_bytes(b"x")
    assert len(load_fer2013(folder).train) == 18


def test_malformed_parquet(tiny, tmp_path, home):
    import pandas as pd

    path = write_parquet(tmp_path, tiny)
    frame = pd.read_parquet(path)
    frame.rename(columns={"emotion": "label"}).to_parquet(path)
    refuse(path, "the columns are image, label, usage", home)
    frame.assign(emotion=9).to_parquet(path)
    refuse(path, "row 1: unknown emotion '9'", home)
    frame.loc[4, "image"] = b"no picture"
    frame.to_parquet(path)
    refuse(path, "row 5: is not a readable picture", home)
    frame[:0].to_parquet(path)
    refuse(path, "has no rows", home)


def test_malformed_votes(tiny, tmp_path, home):
    path = write_csv(tmp_path / "k", csv_lines(tiny))
    votes, _ = write_votes(tmp_path / "v", tiny[2])
    lines = votes.read_text().splitlines()
    for changed, text in [
        ([lines[0].replace("contempt", "scorn"), *lines[1:]], "fer2013new.csv, line 1: the columns are"),
        ([*lines[:2], lines[2].replace("Training", "Train"), *lines[3:]], "line 3: unknown usage 'Train'"),
        ([*lines[:3], lines[3].rsplit(",", 1)[0] + ",many"], "line 4: unknown number of votes 'many'"),
    ]:
        write_csv(votes.parent, changed, votes.name)
        with pytest.raises(InputError, match=text):
            load_fer2013(path, ferplus=votes)
    assert caches(home) == []
    with pytest.raises(FileNotFoundError, match="FER\\+ votes are at https"):
        load_fer2013(path, ferplus=tmp_path / "nothing.csv")


def test_an_unknown_form(tmp_path, home):
    (tmp_path / "faces.rar").write_bytes(b"Rar!")
    refuse(tmp_path / "faces.rar", "is not a form of FER-2013", home)
    (tmp_path / "empty").mkdir()
    refuse(tmp_path / "empty", "holds no FER-2013", home)


# --- finding and remembering -----------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_where_it_is_looked_for(tiny, tmp_path, home, monkeypatch):
    with pytest.raises(FileNotFoundError) as caught:
        load_fer2013()
    message = str(caught.value)
    assert "\n" not in message and "facelib data fetch" in message and "facelib data import PATH" in message
    assert "msambare/fer2013" in message and "FACELIB_FER2013" in message
    with pytest.raises(FileNotFoundError, match="nowhere.*facelib data fetch"):
        load_fer2013(tmp_path / "nowhere")

    def first_label() -> int:
        return int(load_fer2013().train.labels[0])

    def relabelled(label: int):
        labels = tiny[1].copy()
        labels[0] = label
        return tiny[0], labels, tiny[2]

    monkeypatch.setenv("FACELIB_FER2013", str(write_csv(tmp_path / "env", csv_lines(relabelled(1))).parent))
    assert first_label() == 1
    write_parquet(home / "data", relabelled(2))
    assert first_label() == 2  # data/ goes before the environment
    write_folders(home / "data", relabelled(3))
    assert load_fer2013().source == "FER-2013, data"
    path = write_csv(home / "data", csv_lines(relabelled(4)))
    write_tar(home / "data" / "fer2013.tar.gz", path, "fer2013.csv")
    path.unlink()
    assert first_label() == 4
    write_csv(home / "data", csv_lines(relabelled(5)))
    assert first_label() == 5
    import_fer2013(write_csv(tmp_path / "imported", csv_lines(relabelled(6))))
    assert first_label() == 6  # what was imported goes before all


def test_an_import_outlives_its_source_and_a_lost_cache(tiny, tmp_path, home):
    path = write_csv(tmp_path / "usb", csv_lines(tiny))
    write_votes(path.parent, tiny[2])
    data = import_fer2013(path)
    memo = json.loads((home / "data" / "fer2013-imported.json").read_text())
    (home / "data" / memo["cache"]).write_bytes(b"damaged")
    assert load_fer2013().digest == data.digest  # read again
    shutil.rmtree(path.parent)
    found = load_fer2013()
    assert found.digest == data.digest and found.source == "FER-2013, fer2013.csv"
    assert np.array_equal(found.train.votes, data.train.votes)
    (home / "data" / memo["cache"]).unlink()
    with pytest.raises(FileNotFoundError):
        load_fer2013()


def test_the_second_read_neither_parses_nor_hashes(tiny, tmp_path, monkeypatch):
    path = write_csv(tmp_path / "k", csv_lines(tiny))
    folder = write_folders(tmp_path / "f", tiny)
    first = load_fer2013(path), load_fer2013(folder)

    def forbidden(*_, **__):
        raise AssertionError("the cache was not used")

    with monkeypatch.context() as patch:
        patch.setattr(fer2013, "read_rows", forbidden)
        patch.setattr(paths, "digest", forbidden)
        second = load_fer2013(path), load_fer2013(folder)
        for one, two in zip(first, second, strict=True):
            assert one.digest == two.digest and np.array_equal(columns(one)[0], columns(two)[0])
            assert one.source == two.source and one.extra == two.extra
        os.utime(path, (1, 1))  # the file was touched: it must be looked at again
        with pytest.raises(AssertionError):
            load_fer2013(path)
    with monkeypatch.context() as patch:
        patch.setattr(fer2013, "read_rows", forbidden)
        assert load_fer2013(path).digest == first[0].digest  # the same bytes: hashed, not parsed
    write_csv(path.parent, csv_lines(tiny)[:-1])
    assert len(load_fer2013(path).private_test) == 5


def test_a_cache_that_cannot_be_written(tiny, tmp_path, home):
    path = write_csv(tmp_path / "k", csv_lines(tiny))
    home.write_text("a file where a folder should be")
    with pytest.warns(UserWarning, match="cannot be written"):
        assert len(load_fer2013(path).train) == 18
    with pytest.raises(InputError, match="FACELIB_HOME"):
        import_fer2013(path)


def child(code: str, home: Path, *arguments, **options) -> subprocess.Popen:
    environment = {**os.environ, "FACELIB_HOME": str(home), "PYTHONPATH": str(ROOT)}
    code = (
        "import os, signal, sys\nfrom facelib import paths\nfrom facelib.data import fer2013\n"
        + textwrap.dedent(code)
    )
    return subprocess.Popen([sys.executable, "-c", code, *arguments], env=environment, **options)


KILLS = {
    # Half of the cache is on the disk when the process dies.
    "while writing": """
        def half(file, **arrays):
            with open(file, "wb") as stream:
                stream.write(b"PK" + bytes(20_000))
            os.kill(os.getpid(), signal.SIGKILL)
        fer2013.np.savez = half
        """,
    # All of it, under its temporary name.
    "before the rename": """
        rename = os.replace
        def die(a, b):
            if str(b).endswith(".npz"):
                os.kill(os.getpid(), signal.SIGKILL)
            rename(a, b)
        os.replace = die
        """,
    # The cache is whole, but the import is not yet remembered.
    "before the memo": """
        fer2013._memo = lambda: os.kill(os.getpid(), signal.SIGKILL)
        """,
}


@pytest.mark.parametrize("moment", KILLS)
@pytest.mark.parametrize("old", [False, True])
def test_kill_9_leaves_the_old_set_or_none(moment, old, tiny, tmp_path, home):
    before = import_fer2013(write_csv(tmp_path / "old", csv_lines(tiny)[:-1])).digest if old else None
    path = write_csv(tmp_path / "new", csv_lines(tiny))
    process = child(f"{textwrap.dedent(KILLS[moment])}\nfer2013.import_fer2013({str(path)!r})", home)
    assert process.wait(60) == -signal.SIGKILL
    if old:
        assert load_fer2013().digest == before
    else:
        with pytest.raises(FileNotFoundError):
            load_fer2013()
    for leftover in (home / "data").glob(".*fer2013-*"):
        os.utime(leftover, (1, 1))  # a day later ...
    data = import_fer2013(path)
    assert load_fer2013().digest == data.digest and len(data.private_test) == 6
    if moment != "before the memo":
        assert list((home / "data").glob(".*")) == []  # ... the next import clears what the dead one left


def test_two_processes_at_once(tiny, tmp_path, home):
    path = write_csv(tmp_path / "k", csv_lines(tiny))
    both = [child(f"print(fer2013.import_fer2013({str(path)!r}).digest)", home) for _ in range(2)]
    assert [process.wait(60) for process in both] == [0, 0]
    assert len(load_fer2013().train) == 18
    assert len(caches(home)) == 2 and list((home / "data").glob(".*")) == []


def test_fetch_without_kagglehub_or_network_gives_the_way_by_hand(tiny, tmp_path, home, monkeypatch):
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(InputError, match=r"pip install kagglehub.*kaggle\.com/datasets.*facelib data import"):
        fer2013.fetch_fer2013()

    asked, given = [], {}

    def dataset_download(name):
        asked.append(name)
        if name not in given:
            raise ConnectionError("no\nnetwork")
        return str(given[name])

    monkeypatch.setitem(sys.modules, "kagglehub", SimpleNamespace(dataset_download=dataset_download))
    monkeypatch.setattr(fer2013, "fetch_votes", lambda: write_votes(home / "data", tiny[2]))
    with pytest.raises(InputError, match=r"^[^\n]*\(no network\).*facelib data import[^\n]*$"):
        fer2013.fetch_fer2013()
    given["msambare/fer2013"] = write_folders(tmp_path / "versions" / "1", tiny)
    with pytest.warns(UserWarning, match="no votes"):  # folders alone: a word, and the pictures all the same
        assert len(fer2013.fetch_fer2013().train) == 18 and len(load_fer2013().train) == 18
    given[fer2013.KAGGLE[0]] = write_csv(tmp_path / "versions" / "2", csv_lines(tiny)).parent
    assert fer2013.fetch_fer2013().train.votes is not None
    assert asked == [*fer2013.KAGGLE * 2, fer2013.KAGGLE[0]]


def test_info_tells_what_is_here_and_what_is_missing(tiny, tmp_path, monkeypatch):
    assert "facelib data fetch" in fer2013.info() and "synthetic faces" in fer2013.info()
    path = write_csv(tmp_path / "k", csv_lines(tiny))
    data = import_fer2013(path)
    text = fer2013.info()
    assert data.digest in text and data.source in text and "30 faces" in text
    assert "NOT the official" in text and "FER+ votes: missing" in text and ferplus.VOTES_URL in text
    rows = {words[0]: words[1:] for line in text.splitlines() if len(words := line.split()) == 9}
    for name, split in data:
        assert rows[name] == [str(x) for x in (*np.bincount(split.labels, minlength=7), len(split))]
    assert rows["all"][-1] == "30"
    make_official(monkeypatch, tiny)
    write_votes(tmp_path / "k", tiny[2])
    text = describe(load_fer2013(path))
    assert "Counts: the official ones" in text
    assert "FER+ votes: present for 30 images; FER+ found no usable face in 3." in text


def test_importing_the_module_is_cheap():
    code = "import sys, facelib.data.fer2013; print([m for m in sys.argv[1:] if m in sys.modules])"
    heavy = ["tensorflow", "keras", "pandas", "pyarrow", "PIL", "cv2", "sklearn", "scipy", "tqdm", "pooch"]
    run = [sys.executable, "-c", code, *heavy]
    assert subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip() == "[]"


# --- the real set ----------------------------------------------------------------------------------------

realdata = [
    pytest.mark.realdata,
    pytest.mark.skipif(not (SHARED / "fer2013.parquet").is_file(), reason="needs ../shared/data"),
]


FIRST_READ = """
    import json, pathlib, time
    start = time.process_time()
    fer2013.load_fer2013(sys.argv[1], ferplus=sys.argv[2])
    seconds = time.process_time() - start
    # Not ru_maxrss: a child starts with its parent's, and pytest itself is large by then.
    status = pathlib.Path("/proc/self/status").read_text().split()
    print(json.dumps([seconds, int(status[status.index("VmHWM:") + 1]) / 1024]))
    """


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """The parquet file, the table made of it, and Kaggle's folders in a zip: 35,887 files less to remove."""
    place, votes = tmp_path_factory.mktemp("fer2013"), SHARED / "fer2013new.csv"
    maker = subprocess.Popen([sys.executable, SHARED / "unpack.py", "csv", place / "csv"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACELIB_HOME", str(place / "home"))
        parquet = load_fer2013(SHARED / "fer2013.parquet", ferplus=votes)
        usages = np.repeat([0, 1, 2], [len(split) for _, split in parquet])
        with zipfile.ZipFile(place / "archive.zip", "w") as archive:
            for i, (image, label, usage) in enumerate(zip(*columns(parquet), usages, strict=True)):
                name = f"{USAGES[usage]}_{10_000_000 + 131 * i}.jpg"  # as unpack.py names them
                folder = "train" if usage == 0 else "test"
                archive.writestr(f"{folder}/{EMOTIONS[label]}/{name}", encoded(image))
        folders = load_fer2013(place / "archive.zip", ferplus=votes)
        assert maker.wait() == 0
        # The first read in a process of its own, which tells its peak of memory; processor seconds, because
        # the tests beside this one would stretch the clock's.
        process = child(FIRST_READ, place / "home", place / "csv", votes, stdout=subprocess.PIPE)
        first, peak = json.loads(process.communicate()[0])
        start = time.process_time()
        table = load_fer2013(place / "csv", ferplus=votes)
        again = time.process_time() - start
    yield table, folders, parquet, {"first": first, "peak": peak, "again": again}
    shutil.rmtree(place)


@pytest.mark.parametrize("source", range(3))
class TestReal:
    pytestmark = realdata

    def test_counts_order_and_votes(self, real, source):
        data = real[source]
        counts = {n: tuple(np.bincount(split.labels, minlength=7).tolist()) for n, split in data}
        assert counts == fer2013.OFFICIAL_COUNTS
        assert data.extra["order"] == "official" and data.extra["notes"] == []
        votes = np.concatenate([split.votes for _, split in data])
        assert votes.shape == (35_887, 10) and set(np.unique(votes.sum(1)).tolist()) <= {9, 10}
        flags = np.concatenate(list(data.extra["no_face"].values()))
        assert flags.sum() == 173 and (votes[flags, FERPLUS.index("NF")] == 10).all()


class TestRealTogether:
    pytestmark = realdata

    def test_the_three_sources_agree(self, real):
        table, folders, parquet, _ = real
        assert table.digest == parquet.digest
        for (_, a), (_, b), (_, c) in zip(table, parquet, folders, strict=True):
            assert np.array_equal(a.images, b.images) and np.array_equal(a.labels, b.labels)
            assert np.array_equal(a.labels, c.labels) and np.array_equal(a.votes, c.votes)
            error = np.abs(a.images.astype(np.int16) - c.images)
            assert error.max() <= 16 and error.mean() < 2  # JPEG at quality 95

    def test_distinct_images(self, real):
        images = columns(real[0])[0]
        assert len({image.tobytes() for image in images}) == 34_036

    def test_time_and_memory(self, real):
        assert real[3]["first"] <= 30 and real[3]["peak"] <= 1024 and real[3]["again"] < 1

    def test_kaggles_random_numbers_are_put_in_order_by_the_table(self, real):
        rng = np.random.default_rng(0)
        (originals, labels), (pictures, _) = columns(real[0]), columns(real[1])
        usages = np.repeat(np.arange(3, dtype=np.uint8), [len(split) for _, split in real[0]])
        test = usages > 0  # the training split takes the same way for twenty seconds
        originals, pictures, labels, usages = originals[test], pictures[test], labels[test], usages[test]
        order = rng.permutation(len(labels))
        labels = labels.astype(np.uint8)
        shuffled = fer2013_readers.Rows(pictures[order], labels[order], usages[order], pictures=True)
        row = fer2013_readers.match_rows(shuffled, fer2013_readers.Rows(originals, labels, usages))
        assert np.array_equal(np.sort(row), np.arange(len(labels)))
        # Equal pictures may change places; every picture must come to a row with its own pixels.
        assert np.abs(originals[row].astype(np.int16) - pictures[order]).max() <= 16
