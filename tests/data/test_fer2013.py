"""FER-2013 as a set: where it is looked for, in which order it comes, and what is remembered of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from facelib import paths
from facelib.data import fer2013, ferplus
from facelib.data.fer2013 import describe, import_fer2013, load_fer2013
from facelib.data.fer2013_readers import USAGES
from facelib.emotions import EMOTIONS, FERPLUS
from facelib.errors import InputError
from fer2013_forms import (
    SHARED,
    N,
    caches,
    columns,
    csv_lines,
    encoded,
    make_official,
    write_archive,
    write_csv,
    write_folders,
    write_parquet,
    write_votes,
)

ROOT = Path(__file__).resolve().parents[2]


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
    assert np.array_equal(data.whole.votes, votes)

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


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_without_public_test_a_tenth_of_training_is_set_aside(tiny, tmp_path):
    images = np.random.default_rng(3).integers(0, 256, (300, 48, 48), np.uint8)
    images[:60] = images[0]  # copies stay together, in Training
    labels, usages = np.repeat(np.arange(6), 50), np.repeat([0, 2], [280, 20])
    path = write_csv(tmp_path / "k", csv_lines((images, labels, usages)))
    write_votes(path.parent, usages)
    data = load_fer2013(path)
    with pytest.warns(UserWarning, match="no PublicTest: 22 of Training's 280 images are set aside"):
        found = fer2013.for_training(data, "PrivateTest")
    assert [len(split) for _, split in found] == [258, 22, 20] and found.name == "fer2013"
    assert np.bincount(found.public_test.labels).tolist() == [0, 4, 5, 5, 5, 3]
    held = {image.tobytes() for image in found.public_test.images}
    assert len(held) == 22 and images[0].tobytes() not in held
    assert held.isdisjoint(image.tobytes() for image in found.train.images)
    assert {image.tobytes() for image in found.whole.images} == {image.tobytes() for image in images}
    assert {name: len(flags) for name, flags in found.extra["no_face"].items()} == {
        name: len(split) for name, split in found
    }
    assert found.public_test.votes.shape == (22, 10) and "set aside" in found.extra["notes"][-1]
    assert found.digest == fer2013.for_training(data).digest != data.digest  # seeded
    assert fer2013.for_training(found) is found and "set aside" not in str(data.extra["notes"])


def test_training_without_rows_to_spare_is_refused(tiny, tmp_path):
    images, labels, usages = tiny

    def load(name, keep, usage=None):
        rows = np.flatnonzero(keep)
        usage = usages[rows] if usage is None else np.full(len(rows), usage)
        return load_fer2013(write_csv(tmp_path / name, csv_lines((images[rows], labels[rows], usage))))

    with pytest.raises(InputError, match="has no rows in Training, which is needed; give the whole set"):
        fer2013.for_training(load("a", usages == 2))
    with pytest.raises(InputError, match="has no rows in PrivateTest"):
        fer2013.for_training(load("b", usages < 2), "PrivateTest")
    with pytest.raises(InputError, match="too few rows in Training to spare"):
        fer2013.for_training(load("c", np.arange(N) < 2, 0))


@pytest.mark.parametrize("name", ["val", "valid", "Validation"])
def test_a_folder_for_validation_is_public_test(name, tiny, tmp_path):
    """Also where somebody cut it out of Training: the folders tell, not the names."""
    folder = write_folders(tmp_path / "k", tiny)
    moved = sorted((folder / "train").rglob("*.jpg"))[::4]
    for file in moved:
        (folder / name / file.parent.name).mkdir(parents=True, exist_ok=True)
        file.rename(folder / name / file.parent.name / file.name)
    with pytest.warns(
        UserWarning, match=r"the folder for validation is public_test, and test/ is private_test"
    ):
        data = load_fer2013(folder)
    assert [len(split) for _, split in data] == [18 - len(moved), len(moved), 12]
    wanted = sorted(EMOTIONS.index(file.parent.name) for file in moved)
    assert sorted(data.public_test.labels.tolist()) == wanted
    shutil.rmtree(folder / "test")
    with pytest.warns(UserWarning, match="without test/ private_test is empty"):
        assert len(load_fer2013(folder).private_test) == 0


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
    write_archive(home / "data" / "fer2013.tar.gz", {"fer2013.csv": path.read_bytes()})
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


def child(code: str, home: Path) -> subprocess.Popen:
    environment = {**os.environ, "FACELIB_HOME": str(home), "PYTHONPATH": str(ROOT)}
    code = f"import os, signal\nfrom facelib.data import fer2013\n{code}"
    return subprocess.Popen([sys.executable, "-c", code], env=environment)


DIE = "os.kill(os.getpid(), signal.SIGKILL)"
KILLS = {
    # Half of the cache is on the disk when the process dies.
    "while writing": f"fer2013.np.savez = lambda file, **_: (file.write_bytes(b'PK' + bytes(20_000)), {DIE})",
    # The cache is whole, but the import is not yet remembered.
    "before the memo": f"fer2013._memo = lambda: {DIE}",
}


@pytest.mark.parametrize("moment", KILLS)
@pytest.mark.parametrize("old", [False, True])
def test_kill_9_leaves_the_old_set_or_none(moment, old, tiny, tmp_path, home):
    before = import_fer2013(write_csv(tmp_path / "old", csv_lines(tiny)[:-1])).digest if old else None
    path = write_csv(tmp_path / "new", csv_lines(tiny))
    process = child(f"{KILLS[moment]}\nfer2013.import_fer2013({str(path)!r})", home)
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


# --- the real set ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """The table, Kaggle's folders in a zip, and the parquet file that both are made of."""
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
        table = load_fer2013(place / "csv", ferplus=votes)
    yield table, folders, parquet
    shutil.rmtree(place)


@pytest.mark.realdata
@pytest.mark.skipif(not (SHARED / "fer2013.parquet").is_file(), reason="needs ../shared/data")
class TestReal:
    def test_counts_order_and_votes(self, real):
        for data in real:
            counts = {name: tuple(np.bincount(split.labels, minlength=7).tolist()) for name, split in data}
            assert counts == fer2013.OFFICIAL_COUNTS and data.slug == "fer2013"
            assert data.extra["order"] == "official" and data.extra["notes"] == []
            votes = data.whole.votes
            assert votes.shape == (35_887, 10) and set(np.unique(votes.sum(1)).tolist()) <= {9, 10}
            flags = np.concatenate(list(data.extra["no_face"].values()))
            assert flags.sum() == 173 and (votes[flags, FERPLUS.index("NF")] == 10).all()

    def test_the_three_sources_agree(self, real):
        table, folders, parquet = (data.whole for data in real)
        assert real[0].digest == real[2].digest
        assert np.array_equal(table.images, parquet.images) and np.array_equal(table.labels, folders.labels)
        assert np.array_equal(table.votes, folders.votes)
        error = np.abs(table.images.astype(np.int16) - folders.images)
        assert error.max() <= 16 and error.mean() < 2  # JPEG at quality 95
        assert len({image.tobytes() for image in table.images}) == 34_036


def test_the_set_to_work_on_is_fer2013_where_it_is_else_synthetic(tiny, home):
    assert fer2013.load("auto", 100).name == "synthetic" and len(fer2013.load("toy", 100, 3).train) == 80
    with pytest.raises(FileNotFoundError):
        fer2013.load("fer2013")
    write_csv(paths.data(), csv_lines(tiny))
    assert fer2013.load().name == fer2013.load("fer2013").name == "fer2013"
    assert fer2013.load("toy", 100).name == "synthetic"
    assert fer2013.load("auto", 100, votes=True).name == "synthetic"  # it has no votes
    with pytest.raises(InputError, match="no FER.* votes"):
        fer2013.load("fer2013", votes=True)
