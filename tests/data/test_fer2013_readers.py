"""The readers of FER-2013: every form gives the same arrays, every fault gives one line and no cache."""

from __future__ import annotations

import os
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest

from facelib.data.fer2013 import import_fer2013, load_fer2013
from facelib.errors import InputError
from fer2013_forms import (
    HEADER,
    caches,
    columns,
    csv_lines,
    encoded,
    make_official,
    write_archive,
    write_csv,
    write_folders,
    write_parquet,
)

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
    elif form == "spaced":  # icml_face_data.csv: another order, spaces in the header, CRLF, a last blank line
        swapped = [line.split(",") for line in lines]
        path = place / "icml_face_data.csv"
        text = ["emotion, Usage, pixels"] + [f"{y},{u},{x}" for y, x, u in swapped[1:]]
        path.write_bytes(("\ufeff" + "\r\n".join(text) + "\r\n\r\n").encode())
    elif form == "zip":
        members = {"train.csv": b"emotion,pixels\n", "fer2013/fer2013.csv": csv_path.read_bytes()}
        path = write_archive(place / "archive.zip", members)
    elif form == "tar.gz":
        path = write_archive(place / "fer2013.tar.gz", {"fer2013/fer2013.csv": csv_path.read_bytes()})
    elif form == "parquet":
        path = write_parquet(place, tiny)
    else:
        path = write_folders(place / "pictures", tiny, "{usage}_{number}.png", form="PNG")
        if form == "png zip":
            files = {f.relative_to(path).as_posix(): f.read_bytes() for f in path.rglob("*.png")}
            files |= {"README.txt": b"hello", "__MACOSX/train/._x": b""}
            path = write_archive(place / "archive.zip", files)
    data = load_fer2013(path)
    images, labels = columns(data)
    assert images.dtype == np.uint8 and labels.dtype == np.int64
    assert np.array_equal(images, tiny[0]) and np.array_equal(labels, tiny[1])
    assert [len(split) for _, split in data] == [18, 6, 6]
    assert data.extra["order"] == "official" and data.extra["notes"] == []
    assert data.digest == load_fer2013(csv_path).digest
    assert str(tmp_path) not in data.source and path.name in data.source


def test_folders_are_read_in_the_order_of_the_numbers(tiny, tmp_path):
    data = load_fer2013(write_folders(tmp_path / "k", tiny))
    images, labels = columns(data)
    assert np.array_equal(labels, tiny[1])
    assert np.abs(images.astype(int) - tiny[0]).max() <= 12
    assert data.extra["order"] == "by the number in the file name"  # 30 are not the official sequence


# --- faults ----------------------------------------------------------------------------------------------


#: What is replaced in which line of the table, and what is said about it.
FAULTS = {
    "wrong columns": (1, "pixels", "picture", "line 1: the columns are emotion, picture, usage"),
    "a column twice": (1, "pixels", "Usage", "line 1: a column stands twice"),
    "no header": (1, ".+", "0,1 2 3,Training", "line 1: the columns are"),
    "2303 pixels": (10, r",\d+ ", ",", "line 10: 2303 pixels instead of 2304"),
    "4096 pixels": (6, ",.+,", f",{'7 ' * 4096},", "line 6: 4096 pixels"),
    "value 300": (5, r",\d+ ", ",300 ", "line 5: pixel value '300'"),
    "value -1": (5, r" \d+,", " -1,", "line 5: pixel value '-1'"),
    "value 1.5": (5, r" \d+,", " 1.5,", "line 5: pixel value '1.5'"),
    "a word after": (5, ",Training", " x,Training", "line 5: pixel value 'x'"),
    "label 9": (8, r"^\d", "9", "line 8: unknown emotion '9'; allowed are 0, 1, 2"),
    "no label": (8, r"^\d", "", "line 8: unknown emotion ''"),
    "unknown usage": (3, "Training", "Validation", "line 3: unknown usage 'Validation'"),
    "header twice": (13, "^", f"{HEADER}\n", "line 13: the header stands here again"),
    "cut row": (13, ",Training", "", "line 13: 2 fields instead of 3"),
    "open quote": (31, ",", ',"', "is not CSV text"),
}


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
    line, old, new, text = FAULTS[fault]
    lines = csv_lines(tiny)
    lines[line - 1], changes = re.subn(old, new, lines[line - 1], count=1)
    assert changes
    refuse(write_csv(tmp_path / "k", lines), text, home, import_fer2013)


def test_a_table_without_rows(tmp_path, home):
    refuse(write_csv(tmp_path / "k", [HEADER]), "has a header and no rows", home)


def test_faults_inside_archives_name_archive_member_and_line(tiny, tmp_path, home):
    lines = csv_lines(tiny)
    lines[3] = lines[3].replace("Training", "Train")
    members = {"fer2013/fer2013.csv": "\n".join(lines).encode()}
    archive = write_archive(tmp_path / "fer2013.tar.gz", members)
    assert "fer2013.tar.gz/fer2013/fer2013.csv, line 4" in refuse(archive, "unknown usage 'Train'", home)


@pytest.mark.parametrize("name", ["fer2013.csv", "a.zip", "a.tar.gz", "a.parquet"])
def test_empty_files(name, tmp_path, home):
    (tmp_path / name).touch()
    refuse(tmp_path / name, "", home)


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "parquet"])
@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_truncated_files(kind, kept, tiny, tmp_path, home):
    if kind == "parquet":
        whole = write_parquet(tmp_path / "p", tiny)
    else:
        whole = write_archive(tmp_path / f"a.{kind}", {"fer2013.csv": "\n".join(csv_lines(tiny)).encode()})
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
    write_archive(path, {"fer2013/fer2013.csv": content, member: content})
    refuse(path, "points outside the archive", home)
    assert [f for f in tmp_path.rglob("*.csv")] == [], "nothing was extracted"


def _empty(folder: Path) -> None:
    for file in folder.rglob("*.jpg"):
        file.unlink()


#: What is done to a picture in train/fear/, and what is said about it.
PICTURE_FAULTS = {
    "not a picture": (lambda file: file.write_bytes(b"hello"), "{}: is not a readable picture"),
    "half a picture": (
        lambda file: os.truncate(file, file.stat().st_size // 2),
        "{}: is not a readable pict",
    ),
    "empty": (lambda file: file.write_bytes(b""), "{}: is not a readable picture"),
    "mixed sizes": (
        lambda file: file.write_bytes(encoded(np.zeros((64, 48), np.uint8))),
        "{}: is 48 x 64 pixels and not 48 x 48",
    ),
    "huge": (lambda file: os.truncate(file, 2 << 20), "{}: is too large"),
    "unknown class": (
        lambda file: file.parent.rename(file.parents[1] / "afraid"),
        "unknown emotion 'afraid'",
    ),
    "no class": (lambda file: file.rename(file.parents[1] / file.name), "does not stand in train/<emotion>/"),
    "split in the wrong folder": (
        lambda file: file.rename(file.with_name("PrivateTest_5.jpg")),
        "a PrivateTest picture in train/",
    ),
    "empty test": (lambda file: _empty(file.parents[2] / "test"), "holds neither fer2013.csv nor pictures"),
}


@pytest.mark.parametrize("fault", PICTURE_FAULTS)
def test_malformed_folders(fault, tiny, tmp_path, home):
    folder = write_folders(tmp_path / "k", tiny)
    file = min((folder / "train" / "fear").glob("*"))
    spoil, text = PICTURE_FAULTS[fault]
    spoil(file)
    refuse(folder, text.format(file.name), home, import_fer2013)


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


def test_an_unknown_form(tmp_path, home):
    (tmp_path / "faces.rar").write_bytes(b"Rar!")
    refuse(tmp_path / "faces.rar", "is not a form of FER-2013", home)
    (tmp_path / "empty").mkdir()
    refuse(tmp_path / "empty", "holds no FER-2013", home)
