"""FER+'s votes: joined by row, refused where the rows are others, and read strictly."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from facelib.data.fer2013 import load_fer2013
from facelib.emotions import FERPLUS
from facelib.errors import InputError
from fer2013_forms import N, caches, csv_lines, make_official, write_csv, write_votes


def test_votes_are_joined_by_row_and_keep_the_order_of_ferplus(tiny, tmp_path):
    path = write_csv(tmp_path / "k", csv_lines(tiny))
    _, votes = write_votes(tmp_path / "k", tiny[2], columns=FERPLUS[::-1])
    data = load_fer2013(path)
    assert data.train.votes.dtype == np.uint8
    assert np.array_equal(data.whole.votes, votes)
    flags = np.concatenate(list(data.extra["no_face"].values()))
    assert np.array_equal(np.flatnonzero(flags), [4, 14, 24])
    again = load_fer2013(path)
    assert np.array_equal(again.private_test.votes, votes[24:])
    assert again.extra["no_face"]["PublicTest"].sum() == 0


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
