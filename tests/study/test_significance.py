"""Comparisons against loops, tables and simulated studies of known truth; calibration."""

from __future__ import annotations

import numpy as np
import pytest

from facelib.emotions import EMOTIONS
from facelib.study import significance
from facelib.study.metrics import classification_metrics, reliability, write_metrics
from facelib.study.significance import holm, mcnemar, paired_bootstrap, summary
from facelib.training.calibration import calibrate, tune_bias

SHARES = (0.14, 0.02, 0.14, 0.25, 0.17, 0.11, 0.17)
PLAIN = ("accuracy", "balanced_accuracy", "macro_f1", "fear_to_surprise", "surprise_to_fear", "fear_to_sad")


def study(n, runs, rng, luck=0.0, effect=0.0, noise=1.0, labels=None):
    """labels (n,) and predictions of two ways to train, (s, n) and (t, n), on images equally hard for both.

    luck: how much a whole run differs from the next, noise: on single images; effect: how much b is better.
    """
    labels = rng.choice(7, n, p=SHARES) if labels is None else labels
    truth = np.eye(7)[labels]
    hard = 1.8 * truth + rng.gumbel(size=(n, 7))
    arms = []
    for s, better in zip(runs, (0.0, effect), strict=True):
        skill = better + luck * rng.normal(size=(s, 1, 1))
        arms.append((hard + skill * truth + noise * rng.gumbel(size=(s, n, 7))).argmax(-1))
    return labels, *arms


def flat(found, end=""):
    """The metrics of a result as one list: six plain ones, then the recalls."""
    return [found[name + end] for name in PLAIN] + list(found["recall" + end].values())


def by_hand(labels, predictions):
    """The same list for one run, from ``classification_metrics``."""
    return flat(classification_metrics(labels, np.eye(7)[predictions], n_bootstrap=0))


# --- two networks, several runs --------------------------------------------------------------------------


def test_summary_is_the_mean_of_each_runs_metrics():
    labels, predictions, _ = study(700, (3, 1), np.random.default_rng(0))
    found, each = summary(labels, predictions, n_bootstrap=50), [by_hand(labels, run) for run in predictions]
    assert found["n"] == 700 and found["runs"] == 3
    assert list(found["recall"]) == list(found["recall_interval"]) == list(EMOTIONS)
    assert np.array(flat(found, "_runs")) == pytest.approx(np.transpose(each))
    assert flat(found) == pytest.approx(np.mean(each, 0))
    alone = summary(labels, predictions[1], n_bootstrap=0)
    assert flat(alone) == pytest.approx(each[1]) and np.isnan(alone["accuracy_interval"]).all()


@pytest.mark.parametrize("right", [(1, 2, 5), (19, 20, 17), (0, 0, 0)])
def test_an_interval_of_a_recall_stays_between_0_and_1(right):
    """So rare a class, and runs so unlike, that mean and t take the interval over the edge."""
    labels = np.repeat([1, 3], [20, 200])
    predictions = np.stack([np.where(np.arange(220) < n, 1, 3) for n in right])
    low, high = summary(labels, predictions, 500)["recall_interval"]["disgust"]
    assert 0 <= low <= np.mean(right) / 20 <= high <= 1
    assert high - low > 0.2 or not any(right)


def test_resamples_are_those_of_a_plain_loop():
    labels, predictions, _ = study(300, (2, 1), np.random.default_rng(1))
    labels[labels == 1] = 0  # nothing is nan
    fast = significance._bootstrap(labels, predictions, 4000, np.random.default_rng(0))[1].mean(2)
    rng, slow = np.random.default_rng(5), []
    for _ in range(400):
        rows = rng.integers(300, size=300)
        slow.append(np.mean([by_hand(labels[rows], run[rows]) for run in predictions], 0))
    fast, slow = (np.delete(each, 7, 0) for each in (fast, np.transpose(slow)))  # disgust has no images
    assert fast.mean(1) == pytest.approx(slow.mean(1), abs=0.006)
    assert fast.std(1) == pytest.approx(slow.std(1), rel=0.15)


def test_summary_covers_the_truth():
    rng, covered = np.random.default_rng(9), []
    labels, predictions, _ = study(4000, (60, 1), rng, luck=0.2)
    truth = flat(summary(labels, predictions, 0))
    for _ in range(40):
        labels, predictions, _ = study(500, (4, 1), rng, luck=0.2)
        ends = np.array(flat(summary(labels, predictions, 300), "_interval"))
        covered.append((ends[:, 0] <= truth) & (truth <= ends[:, 1]))
    covered = np.array(covered)[:, [0, 1, 2, 8]]
    assert 0.9 < covered.mean() < 0.995


@pytest.mark.parametrize("luck, paired", [(0.0, True), (0.3, True), (0.3, False)])
def test_without_an_effect_few_p_values_are_small(luck, paired):
    rng, p = np.random.default_rng(11), []
    for _ in range(80):
        found = paired_bootstrap(*study(250, (4, 4), rng, luck=luck), 150, paired_seeds=paired)
        p.append([found["accuracy_p"], found["macro_f1_p"], found["recall_p"]["fear"]])
    p = np.array(p)
    small = (p < 0.05).mean(0)
    assert (small <= 0.12).all() and 0.01 <= small.mean()
    assert 0.35 < np.median(p) < 0.7  # neither all near 1 nor all near 0


def test_known_effect_is_found_and_covered():
    def truth(effect):
        rng = np.random.default_rng(13)
        labels, a, b = study(150_000, (1, 1), rng, effect=effect)
        return np.subtract(by_hand(labels, b[0]), by_hand(labels, a[0]))

    wanted, rng, covered, found_it = truth(0.6), np.random.default_rng(14), [], []
    for _ in range(40):
        found = paired_bootstrap(*study(600, (5, 5), rng, luck=0.1, effect=0.6), 200)
        ends = np.array(flat(found, "_interval"))
        covered.append((ends[:, 0] <= wanted) & (wanted <= ends[:, 1]))
        found_it.append(found["accuracy_p"] < 0.05 and found["accuracy_interval"][0] > 0)
    covered = np.array(covered)[:, [0, 2, 8]]  # accuracy, macro-F1, recall of fear
    assert covered.mean() > 0.88 and np.mean(found_it) > 0.9


def test_difference_is_b_minus_a_and_turns_its_sign():
    labels, a, b = study(1000, (2, 3), np.random.default_rng(15), effect=0.3)
    there, back = paired_bootstrap(labels, a, b, 300), paired_bootstrap(labels, b, a, 300)
    assert there["runs"] == (2, 3) and not there["paired_seeds"]
    wanted = np.mean([by_hand(labels, run) for run in b], 0) - np.mean([by_hand(labels, run) for run in a], 0)
    assert flat(there) == pytest.approx(wanted) and flat(back) == pytest.approx(-wanted)
    assert there["accuracy_interval"][0] < there["accuracy"] < there["accuracy_interval"][1]
    same = paired_bootstrap(labels, a, a, 100)
    assert same["paired_seeds"] and same["accuracy"] == 0 and same["accuracy_p"] == 1
    assert same["accuracy_interval"] == (0, 0)


def test_paired_runs_cancel_the_luck_they_share():
    rng = np.random.default_rng(16)
    labels = rng.choice(7, 3000, p=SHARES)
    shared = 1.8 * np.eye(7)[labels] + rng.gumbel(size=(3000, 7))
    skill = 0.5 * rng.normal(size=(5, 1, 1)) * np.eye(7)[labels]
    a = (shared + skill + 0.2 * rng.gumbel(size=(5, 3000, 7))).argmax(-1)
    b = (shared + skill + 0.2 * rng.gumbel(size=(5, 3000, 7))).argmax(-1)
    together = paired_bootstrap(labels, a, b, 400)["accuracy_interval"]
    apart = paired_bootstrap(labels, a, b, 400, paired_seeds=False)["accuracy_interval"]
    assert np.diff(apart) > 3 * np.diff(together)


def test_same_seed_same_numbers_and_they_can_be_written(home):
    study_ = study(200, (2, 2), np.random.default_rng(17))
    found = paired_bootstrap(*study_, 100)
    assert repr(paired_bootstrap(*study_, 100)) == repr(found) != repr(paired_bootstrap(*study_, 100, seed=1))
    write_metrics("03-study", {"difference": found, "a": summary(*study_[:2], 100)}, command="x")


def test_absent_class_is_nan():
    labels, a, b = study(300, (2, 2), np.random.default_rng(18))
    labels = np.where(labels == 1, 0, labels)
    found, difference = summary(labels, a, 50), paired_bootstrap(labels, a, b, 50)
    for value in (found["recall"], found["recall_interval"], difference["recall"], difference["recall_p"]):
        assert np.isnan(value["disgust"]).all() and np.isfinite(value["fear"]).all()
    assert np.isfinite(found["macro_f1_interval"]).all()


def test_holm():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])  # Holm's steps by hand
    assert holm([0.9, 0.6]) == pytest.approx([1, 1])
    found = holm([np.nan, 0.02, np.nan, 0.03])
    assert np.isnan(found[[0, 2]]).all() and found[[1, 3]] == pytest.approx([0.04, 0.04])
    assert holm([]).shape == (0,)


@pytest.mark.parametrize(
    "labels, a, b",
    [
        (np.zeros(3, int), np.zeros((2, 4), int), np.zeros((2, 3), int)),
        (np.zeros(3, int), np.zeros((2, 3), int), np.zeros((2, 3, 7))),
        (np.zeros(0, int), np.zeros((2, 0), int), np.zeros((2, 0), int)),
        (np.full(3, 7), np.zeros((2, 3), int), np.zeros((2, 3), int)),
        (np.zeros(3, int), np.zeros((2, 3), int), np.full((2, 3), 0.5)),
    ],
)
def test_wrong_input_is_said(labels, a, b):
    for function in (paired_bootstrap, mcnemar):
        with pytest.raises(ValueError, match="wanted labels|go from|one run"):
            function(labels, a, b)


def test_wrong_choices_are_said():
    labels, runs = np.zeros(3, int), np.zeros((2, 3), int)
    with pytest.raises(ValueError, match="as many runs"):
        paired_bootstrap(labels, runs, runs[:1], paired_seeds=True)
    with pytest.raises(ValueError, match="one run"):
        mcnemar(labels, runs, runs)
    p = np.full((3, 7), 1 / 7)
    for function, *given in (
        (calibrate, labels, p, "vector"), (calibrate, labels, 2 * p), (tune_bias, labels, p, "recall"),
        (tune_bias, np.full(3, 7), p), (reliability, labels, p, 0), (reliability, labels, p[:, :6]),
    ):  # fmt: skip
        with pytest.raises(ValueError):
            function(*given)
    with pytest.raises(ValueError):
        tune_bias(labels, p, strength=-1)
