"""The audit against the synthetic faces' truth, made-up troubles, and the known facts of FER-2013."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from facelib.data import duplicates
from facelib.data.duplicates import duplicate_groups, leaked_rows, near_duplicates
from facelib.data.fer2013 import OFFICIAL_COUNTS, load_fer2013
from facelib.data.synthetic_faces import load_toyfaces, plain_faces
from facelib.emotions import FERPLUS, FERPLUS_TO_FER, FerData, Split
from facelib.study import dataset_audit
from facelib.study.dataset_audit import audit, check, quality, record
from facelib.study.metrics import read_metrics

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture(scope="module")
def data():
    return load_toyfaces(n=1200)


@pytest.fixture(scope="module")
def found(data):
    return audit(data, n_bootstrap=200)


def votes_for(labels):
    """Nine votes for each label, and one for unknown."""
    column = {label: column for column, label in FERPLUS_TO_FER.items()}
    votes = np.zeros((len(labels), 10), np.uint8)
    votes[np.arange(len(labels)), [column[label] for label in labels]] = 9
    votes[:, FERPLUS.index("unknown")] = 1
    return votes


def faces(n, seed=0):
    """Distinct smooth images."""
    coarse = np.random.default_rng(seed).integers(0, 256, (n, 12, 12))
    return np.kron(coarse, np.ones((1, 4, 4))).astype(np.uint8)


# --- synthetic faces, whose truth is known -----------------------------------------------------------------


def test_the_audit_finds_the_truth(data, found):
    scores = check(found, data)
    for finder in ("duplicates", "no_face", "constant"):
        assert (scores[finder]["precision"], scores[finder]["recall"]) == (1, 1), finder
        assert scores[finder]["true"] > 0
    assert scores["label_noise"]["recall"] > 0.9 and scores["label_noise"]["precision"] > 0.7
    assert scores["near_duplicates"]["found"] < 30  # false ones, of 700,000 pairs


def test_check_scores_audits_that_find_nothing_and_everything(data, found):
    for guess, wanted in ((False, (0, 0)), (True, (1, None))):
        rows = found.rows.assign(suspect=guess, copies=2 if guess else 1)
        scores = check(replace(found, rows=rows), data)
        for finder in ("label_noise", "duplicates"):
            assert scores[finder]["recall"] == wanted[0]
            assert guess == (scores[finder]["precision"] < 0.4)  # nan where nothing was found
    with pytest.raises(ValueError, match="truth"):
        check(found, replace(data, extra={}))


def test_drawn_disgust_is_rare_and_drawn_fear_is_noisy(found):
    assert found.classes.index[found.classes.rare].tolist() == ["disgust"]
    assert found.classes.index[found.classes.noisy].tolist() == ["fear"]
    assert found.classes.suspect.idxmax() == "fear"


def test_record_writes_what_was_found(data, found, home):
    assert record(data, found) == home / "reports" / "metrics" / "02-audit-toy.json"
    stored = read_metrics("02-audit-toy")
    assert stored["n"] == 1200 and stored["data"] == data.digest
    assert stored["command"] == "facelib audit --dataset toy"
    assert stored["metrics"]["check"]["duplicates"]["recall"] == 1
    assert stored["metrics"]["best_recall"]["balanced"]["fear"]["n"] > 0
    # 1,200 pictures are not the official set, so their file must not carry its name.
    part = replace(data, name="fer2013", extra={})
    assert record(part, found).name == f"02-audit-fer2013-{data.digest[:8]}.json"
    plain = plain_faces(140, people=3)  # without a truth to check against, and not FER-2013
    assert record(plain, found).name == "02-audit-toy.json"


# --- troubles made here ------------------------------------------------------------------------------------


def test_near_duplicates_are_found_and_others_are_not():
    images = faces(60)
    noise = np.random.default_rng(1).normal(0, 3, (48, 48))
    brighter = np.clip(0.8 * images[1] + 40 + noise, 0, 255).astype(np.uint8)
    marked = images[2].copy()
    marked[40:44, 4:30] = 255  # a watermark
    flipped = np.clip(images[3][:, ::-1] + noise, 0, 255).astype(np.uint8)
    flat = np.full((2, 48, 48), 9, np.uint8) + np.arange(2, dtype=np.uint8)[:, None, None]
    pairs = near_duplicates(np.concatenate([images, [brighter, marked, flipped], flat]))
    rows = pairs[["group_a", "group_b", "mirrored"]].values.tolist()
    assert rows == [[1, 60, False], [2, 61, False], [3, 62, True]]
    assert pairs.correlation.between(0.9, 1).all() and (pairs.distance <= duplicates.HASH_DISTANCE).all()


def test_a_near_copy_in_training_is_a_leak_of_its_own_kind():
    images = faces(40)
    near = np.clip(images[:2].astype(int) + 4, 0, 255).astype(np.uint8)
    labels = np.arange(20) % 7
    test = Split(np.concatenate([near, images[2:4], images[20:36]]), labels)
    none = Split(images[:0], labels[:0])
    data = FerData(Split(images[:20], labels), test, none, "fer2013", "made here", "0")
    found = audit(data)
    rows = found.rows[found.rows.split == "PublicTest"]
    assert np.flatnonzero(rows.near_leaked).tolist() == [0, 1]
    assert np.flatnonzero(rows.leaked).tolist() == [2, 3]
    assert not found.rows.near_leaked[found.rows.split == "Training"].any()
    assert leaked_rows(data)["PublicTest"].tolist() == rows.leaked.tolist()
    exact = found.to_metrics()["exact_duplicates"]
    assert (exact["distinct"], exact["groups"], exact["groups_across_splits"]) == (38, 2, 2)
    leaks = found.to_metrics()["also_in_training"]
    assert leaks["PublicTest"] == {"leaked": 2, "near_leaked": 2}
    # Pictures 0 and 1 have the same labels in both splits, angry and disgust.
    near = found.to_metrics()["near_duplicates"]
    assert near["pairs"] == 2 and near["label_differs"] == 0
    assert near["label_differs_of"]["disgust"] == {"pairs": 1, "differ": 0}
    assert near["label_differs_of"]["fear"] == {"pairs": 0, "differ": 0}
    assert leaks["PrivateTest"] == {"leaked": 0, "near_leaked": 0}  # an empty split is no error
    assert found.agreement is None and found.readers is None  # nor are missing votes
    assert "agreement" not in found.to_metrics()


def test_groups_are_numbered_in_order_of_appearance():
    a, b = faces(2)
    assert duplicate_groups(np.stack([a, b, a, a, b])).tolist() == [0, 1, 0, 0, 1]


def test_quality_of_known_images():
    board = (np.indices((48, 48)).sum(0) % 2 * 200 + 20).astype(np.uint8)
    slope = np.tile(np.arange(48, dtype=np.uint8) * 5, (48, 1))
    table = quality(np.stack([np.full((48, 48), 255, np.uint8), board, slope]))
    assert table.brightness.tolist() == pytest.approx([255, 120, 117.5])
    assert table.contrast.tolist() == pytest.approx([0, 100, slope.std()], rel=1e-5)
    assert table.clipped.tolist() == pytest.approx([1, 0, 1 / 48])
    assert table.sharpness.tolist() == pytest.approx([0, 800.0**2, 0])  # four neighbours differ by 200
    assert table.resolution[0] == 1 and table.resolution[1] == 48 and table.resolution[2] < 6


def test_the_balanced_reader_recovers_a_rare_class_but_not_a_noisy_one():
    """Disgust is rare and gets a hint of votes; fear is common and its votes are those of sad images."""
    rng = np.random.default_rng(0)
    labels = np.repeat([1, 2, 3, 4], [60, 900, 1500, 900])
    drawn = np.where(labels == 2, 4, labels)  # what the voters see
    votes = votes_for(drawn)
    unsure = labels == 1  # voters of disgust say anger as often, and so they do of half of happy
    unsure |= (labels == 3) & (rng.random(len(labels)) < 0.1)
    votes[unsure] = 0
    votes[unsure, FERPLUS.index("anger")] = 9
    readers, auc = dataset_audit._readers(labels, votes.astype(int), np.arange(len(labels)), 300, 0)
    recall = readers.recall.unstack()
    assert recall.loc["majority", "disgust"] == 0 and recall.loc["majority", "fear"] == 0
    assert recall.loc["informed", "disgust"] == 0  # 60 against 150: it never pays to say disgust
    assert recall.loc["balanced", "disgust"] == 1
    for reader in ("informed", "balanced"):  # fear and sad look alike, so together they get one's worth
        assert recall.loc[reader, ["fear", "sad"]].sum() == pytest.approx(1, abs=0.1)
    assert auc[1] > 0.95 and auc[3] > 0.9
    # Fear ranks above happy and disgust, and by chance against sad.
    assert auc[2] == pytest.approx((1560 + 450) / 2460, abs=0.01) and np.isnan(auc[0])
    known = readers.dropna()
    assert (known.low <= known.recall).all() and (known.recall <= known.high).all()


def test_interval_of_a_reader_counts_images_not_rows():
    """Each image ten times: no more is known than with one of each, so the interval is as wide."""
    rng = np.random.default_rng(0)
    labels = np.repeat([2, 4], 100)
    votes = votes_for(np.where(rng.random(200) < 0.3, 6 - labels, labels)).astype(int)

    def width(copies):
        rows = np.tile(np.arange(200), copies)
        readers, _ = dataset_audit._readers(labels[rows], votes[rows], rows, 2000, 0)
        return readers.high["majority", "fear"] - readers.low["majority", "fear"]

    assert width(10) == pytest.approx(width(1), rel=0.1)
    assert width(1) == pytest.approx(2 * 1.96 * np.sqrt(0.3 * 0.7 / 100), rel=0.2)


def test_an_empty_set_is_said(data):
    none = Split(data.train.images[:0], data.train.labels[:0])
    with pytest.raises(ValueError, match="no images"):
        audit(FerData(none, none, none, "fer2013", "nothing", "0"))


# --- FER-2013 itself ---------------------------------------------------------------------------------------


@pytest.mark.realdata
@pytest.mark.skipif(not (SHARED / "fer2013.parquet").is_file(), reason="needs ../shared/data")
def test_the_known_facts_of_fer2013(home):
    data = load_fer2013(SHARED / "fer2013.parquet", ferplus=SHARED / "fer2013new.csv")
    found = audit(data)
    metrics = found.to_metrics()
    assert metrics["counts"] == {name: list(counts) for name, counts in OFFICIAL_COUNTS.items()}
    exact, leaks, agreement = (metrics[k] for k in ("exact_duplicates", "also_in_training", "agreement"))
    assert (exact["distinct"], exact["groups"], exact["contradictory"]) == (34_036, 1_514, 57)
    assert (leaks["PublicTest"]["leaked"], leaks["PrivateTest"]["leaked"]) == (280, 288)
    assert exact["contradictory_of"]["fear"] == 33
    assert (metrics["constant"], metrics["no_face"]) == (12, 176)  # 173 without an image name in FER+
    assert agreement["n"] == 35_709
    shares = agreement["overall"], agreement["of"]["fear"], agreement["ties_shared"]["overall"]
    assert shares == pytest.approx((0.6442, 0.1542, 0.6368), abs=5e-5)
    assert found.classes.index[found.classes.rare].tolist() == ["disgust"]
    assert found.classes.index[found.classes.noisy].tolist() == ["fear"]
    balanced = metrics["best_recall"]["balanced"]
    assert balanced["fear"]["interval"][1] < 0.35 and balanced["disgust"]["interval"][0] > 0.6
    assert 1_500 < metrics["near_duplicates"]["pairs"] < 1_800
    assert metrics["near_duplicates"]["label_differs_share"] == pytest.approx(0.17, abs=0.01)
    assert record(data, found).stem == "02-audit-fer2013"
