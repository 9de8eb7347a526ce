"""A short run of the generator of hostile and damaged sources, and what some of them must be told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import mutated_sources
from facelib.data.fer2013 import load_fer2013
from facelib.errors import InputError
from helpers import in_child

ROOT = Path(__file__).resolve().parents[2]


def test_mutated_sources_give_a_result_or_one_named_error():
    """In a process of its own, whose memory is not that of all other tests."""
    command = [sys.executable, mutated_sources.__file__, "--n", "40", "--seed", "1"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert done.stdout.count("Error: ") > 10 and done.stdout.count("result: ") > 5


def test_the_generator_tells_what_fails():
    fails = {"crash": lambda: 1 / 0, "kill": lambda: os.kill(os.getpid(), 9), "fine": lambda: "result: 1"}
    said = {name: in_child(each)[0] for name, each in fails.items()}
    assert "ZeroDivisionError" in said["crash"] and "SIGKILL" in said["kill"] and said["fine"] == "result: 1"
    assert in_child(lambda: str(len(b"x" * 300_000_000)))[2] > 3e8


#: What is read, of the sources in ``SPECIAL``, and what is said where it is not.
REMEDIES = {
    "a tar named .csv": "fer2013.csv: is a tar archive and not UTF-8 text; rename it to .tar",
    "a gzip of the table": "fer2013.tar.gz: holds no tar archive",
    "a zip in a zip": "holds neither table nor pictures but download/archive.zip; unpack it and give that",
    "a tar in a zip": "but download/fer2013.tar.gz; unpack it",
    "encrypted": "is encrypted; unpack it with its password",
    "directory of parquet": "part-0.parquet, part-1.parquet, part-2.parquet; give the file itself",
    "a web page": "is a web page and not UTF-8 text; a login or error page",
    "a Git LFS pointer": "is a Git LFS pointer and not UTF-8 text; `git lfs pull`",
    "csv as UTF-16": "is UTF-16 text and not UTF-8 text; save it as UTF-8",
    "a broken link": "fer2013.csv: is a link to /nowhere, which is not there",
    "a broken link in its place": "fer2013.csv: is a link to /nowhere, which is not there",
    "train is a broken link": "train: is a link to /nowhere, which is not there",
    "a broken link in a folder": "x.jpg: is a link to nowhere.jpg, which is not there",
    "a link to itself": "Too many levels of symbolic links",
    "a link to the root": "does not stand in train/<emotion>/",
    "a class in a tar is a link": "'train/neutral2' is a link; pack the files themselves",
    "a pipe": "fer2013.csv: is a pipe or a device",
    "a pipe for votes": "fer2013new.csv: is a pipe or a device",
    "a device": "fer2013.csv: is a pipe or a device",
    "a device in a folder": "x.jpg: is a pipe or a device",
    "parquet bomb of many rows": "has 30,000,000 rows; at most 71,774 are read",
    "zip of one long line": "line 2: has more than 131,072 characters",
    "zip of one endless line": "unpacks to more than 65,536 files or 1,073,741,824 bytes",
    "tar with a header of 3 GB": "unpacks to more than 65,536 files or 1,073,741,824 bytes",
    "sparse csv": "has 21,474,836,480 bytes",
}


@pytest.mark.parametrize("name", REMEDIES)
def test_the_remedy_follows_the_cause(name, tmp_path):
    source = mutated_sources.SPECIAL[name](tmp_path)
    with pytest.raises(InputError) as caught:
        load_fer2013(source)
    message = str(caught.value)
    assert REMEDIES[name] in message and "\n" not in message and len(message) < 500


@pytest.mark.filterwarnings("ignore:.*link back:UserWarning", "ignore:.*validation:UserWarning")
@pytest.mark.parametrize(
    "name", ["a class is a link", "a circle", "hidden folders", "three folders", "struct"]
)
def test_what_is_as_good_as_the_plain_form(name, tmp_path):
    for folder in ("plain", "in"):
        (tmp_path / folder).mkdir()
    plain = mutated_sources.FORMS["csv" if name == "struct" else "folders"](tmp_path / "plain")
    found = load_fer2013(mutated_sources.SPECIAL[name](tmp_path / "in"))
    assert found.digest == load_fer2013(plain).digest and len(found.public_test) == 6


def test_a_circle_is_named(tmp_path):
    with pytest.warns(
        UserWarning, match="train/happy/loop: a link back to a folder above it was passed over"
    ):
        load_fer2013(mutated_sources.SPECIAL["a circle"](tmp_path))
