"""Metrics against scikit-learn and scipy; metrics files: what is in them, and when they change."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, f1_score, recall_score

import facelib
from facelib import paths
from facelib.emotions import EMOTIONS
from facelib.study import metrics
from facelib.study.metrics import classification_metrics, read_metrics, reliability, write_metrics
from helpers import noisy_probabilities

pytestmark = pytest.mark.usefixtures("home")


def simulated(n, seed=0):
    """Labels (n,) in FER-2013's proportions, and probabilities (n, 7) that often fit them."""
    labels = np.random.default_rng(seed).choice(7, n, p=(0.14, 0.02, 0.14, 0.25, 0.17, 0.11, 0.17))
    return labels, noisy_probabilities(labels, seed, skill=2.0)


def test_metrics_are_scikit_learns():
    labels, probabilities = simulated(3589)
    found = classification_metrics(labels, probabilities)
    guess = probabilities.argmax(1)
    assert found["n"] == 3589
    assert found["accuracy"] == pytest.approx((guess == labels).mean())
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(labels, guess))
    assert found["macro_f1"] == pytest.approx(f1_score(labels, guess, average="macro"))
    assert list(found["recall"]) == list(EMOTIONS)
    assert list(found["recall"].values()) == pytest.approx(list(recall_score(labels, guess, average=None)))
    assert np.array_equal(found["confusion"], confusion_matrix(labels, guess, labels=range(7)))
    for name, label, wrong in (("fear_to_surprise", 2, 5), ("surprise_to_fear", 5, 2), ("fear_to_sad", 2, 4)):
        assert found[name] == pytest.approx((guess[labels == label] == wrong).mean())
        assert found[f"{name}_interval"][0] < found[name] < found[f"{name}_interval"][1]


def test_absent_classes_have_no_recall_and_do_not_count():
    found = classification_metrics(np.array([2, 2, 5]), np.eye(7)[[2, 5, 5]])
    assert found["balanced_accuracy"] == pytest.approx(0.75)
    assert np.isnan(found["recall"]["happy"]) and np.isnan(found["recall_interval"]["happy"]).all()
    assert found["fear_to_surprise"] == 0.5


@pytest.mark.parametrize(
    "labels, probabilities",
    [
        (np.zeros(3, int), np.ones((3, 6)) / 6),
        (np.zeros(3, int), np.ones((2, 7)) / 7),
        (np.zeros(0, int), np.ones((0, 7)) / 7),
        (np.array([7]), np.ones((1, 7)) / 7),
        (np.array([0]), np.array([[5.0, -3, 0, 0, 0, 0, 0]])),
        (np.array([0]), np.full((1, 7), np.nan)),
    ],
)
def test_wrong_input_is_said(labels, probabilities):
    with pytest.raises(ValueError, match="wanted|go from|probabilities"):
        classification_metrics(labels, probabilities)


def test_file_has_all_fields_and_plain_numbers(tmp_path):
    weights = tmp_path / "a.h5"
    weights.write_bytes(b"weights")
    payload = {"n": np.int64(3), "accuracy": np.float32(0.1), "matrix": np.eye(2, dtype=int), "none": np.nan}
    path = write_metrics("02-try", payload, command="facelib try", data="0123", weights=weights)
    assert path == tmp_path / "reports" / "metrics" / "02-try.json"
    found = json.loads(path.read_text())
    assert found.pop("date")[:2] == "20"
    assert found.pop("metrics") == {"accuracy": 0.1, "matrix": [[1, 0], [0, 1]], "none": None}
    wanted = {"n": 3, "split": None, "seed": None, "data": "0123", "weights": paths.digest(weights)[:16]}
    assert found == wanted | {"command": "facelib try", "version": facelib.__version__}
    assert read_metrics("02-try") == json.loads(path.read_text())


def test_only_a_change_changes_the_file():
    def write(value):
        return write_metrics("02-same", {"value": value, "pair": (1, 2)}, command="x").read_text()

    path = paths.metrics() / "02-same.json"
    write(0.5)
    path.write_text(path.read_text().replace(read_metrics("02-same")["date"], "2001-02-03"))
    assert '"2001-02-03"' in write(0.5)
    assert '"2001-02-03"' in write(0.50000000001)  # beyond six digits
    assert '"2001-02-03"' not in write(0.6)
    path.write_text("{ damaged")
    assert json.loads(write(0.6))["metrics"]["value"] == 0.6


def test_a_changed_number_changes_one_line():
    def lines(value):
        payload = {"matrix": np.arange(49).reshape(7, 7) + 10000, "rate": value, "long": list(range(60))}
        return write_metrics("02-diff", payload, command="x").read_text().splitlines()

    before, after = lines(0.25), lines(0.5)
    assert sum(a != b for a, b in zip(before, after, strict=True)) == 1
    assert "      [10000, 10001, 10002, 10003, 10004, 10005, 10006]," in before


def test_files_that_are_not_there_or_damaged_are_said():
    with pytest.raises(FileNotFoundError, match="02-nothing.json: no such metrics"):
        read_metrics("02-nothing")
    paths.metrics().mkdir(parents=True)
    (paths.metrics() / "02-bad.json").write_text("[1, 2]")
    with pytest.raises(ValueError, match="damaged"):
        read_metrics("02-bad")
    for slug in ("../02", "02 a", "", "02.json"):
        with pytest.raises(ValueError, match="slug"):
            write_metrics(slug, {}, command="x")


def test_recorded_metrics_are_found_where_facelib_was_installed_without_a_checkout(tmp_path, monkeypatch):
    monkeypatch.setattr(metrics.paths, "PACKAGE", tmp_path / "site-packages" / "facelib")
    recorded = write_metrics("02-audit", {"value": 1}, command="x")
    (metrics.paths.PACKAGE / "recorded").mkdir(parents=True)
    recorded.rename(metrics.paths.PACKAGE / "recorded" / recorded.name)
    assert read_metrics("02-audit")["metrics"]["value"] == 1
    mine = write_metrics("02-audit", {"value": 2}, command="x")
    assert mine == recorded  # one's own goes elsewhere, and first
    assert read_metrics("02-audit")["metrics"]["value"] == 2


def test_a_failed_write_leaves_the_old_file(monkeypatch):
    path = write_metrics("02-keep", {"a": 1}, command="x")
    before = path.read_text()
    monkeypatch.setattr(metrics, "_format", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_metrics("02-keep", {"a": 2}, command="x")
    assert path.read_text() == before and list(path.parent.iterdir()) == [path]


# --- what a reliability curve says ------------------------------------------------------------------------


def curve(confidence: np.ndarray, right: np.ndarray) -> dict:
    """A reliability curve of two-way predictions with these confidences (n,), right or not."""
    probabilities = np.zeros((len(right), 7))
    probabilities[:, 0], probabilities[:, 1] = confidence, 1 - confidence
    return reliability(np.where(right, 0, 1), probabilities)


def test_the_range_of_honest_networks_holds_95_of_100():
    rng, inside = np.random.default_rng(0), 0
    for k in range(200):
        confidence = rng.uniform(0.5, 1, 400)
        found = curve(confidence, rng.random(400) < confidence)
        low, _, high = metrics.honest_error(found, draws=400, seed=k)
        inside += low <= metrics.expected_error(found) <= high
    assert 180 <= inside <= 198


def test_knowing_is_the_area_under_the_roc_curve():
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(2)
    confidence = rng.uniform(0.5, 1, 2000)
    right = rng.random(2000) < confidence
    found = metrics.knowing(curve(confidence, right))
    assert found == pytest.approx(roc_auc_score(right, confidence), abs=0.01)
    same = metrics.knowing(curve(np.full(2000, 0.7), right))
    assert same == 0.5  # the same confidence for all tells nothing
    assert np.isnan(metrics.knowing(curve(confidence, np.ones(2000, bool))))


# --- distances between sets of features -------------------------------------------------------------------

RNG = np.random.default_rng(0)


def test_frechet_of_shifted_and_stretched_gaussians():
    """Means 3 apart; deviations 1 and 2 in four dimensions: 9 + 4 (1 - 2)^2."""
    a = RNG.normal(size=(50_000, 4))
    b = 2 * RNG.normal(size=(50_000, 4)) + [3, 0, 0, 0]
    assert metrics.frechet(a, b) == pytest.approx(13, rel=0.02)
    assert metrics.frechet(a, a) == pytest.approx(0, abs=1e-6)


def test_diversity_by_hand():
    assert metrics.diversity(np.array([[0.0, 0], [3, 4], [0, 0]])) == pytest.approx(10 / 3)


def test_kernel_distance_is_unbiased():
    zero = [metrics.kernel_distance(RNG.normal(size=(60, 3)), RNG.normal(size=(90, 3))) for _ in range(200)]
    assert abs(np.mean(zero)) < 3 * np.std(zero) / np.sqrt(200)
    far = metrics.kernel_distance(RNG.normal(size=(300, 3)), RNG.normal(size=(300, 3)) + 1)
    assert far > 10 * np.std(zero)


def test_coverage_sees_what_is_left_out():
    real = np.concatenate([RNG.normal(size=(300, 2)), RNG.normal(size=(300, 2)) + 20])
    half = metrics.coverage(real, RNG.normal(size=(300, 2)))
    assert half["precision"] > 0.9 and 0.4 < half["recall"] < 0.55 and 0.4 < half["coverage"] < 0.55
    wrong = metrics.coverage(real, RNG.normal(size=(300, 2)) + 100)
    assert wrong["precision"] == wrong["recall"] == wrong["coverage"] == wrong["density"] == 0
    same = metrics.coverage(real[::2], real[1::2])
    assert same["precision"] > 0.9 and same["recall"] > 0.9 and same["density"] == pytest.approx(1, abs=0.15)


def test_copies_are_found():
    train, test, fresh = RNG.normal(size=(3, 2000, 10))
    honest = metrics.copies(fresh, train, test)
    assert 0 < honest["rate"] < 0.03
    thief = np.concatenate([fresh[:1800], train[:200] + 1e-3])
    found = metrics.copies(thief, train, test)
    assert 0.1 <= found["rate"] < 0.13 and found["smallest"] < 0.01
