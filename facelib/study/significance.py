"""Paired comparisons: is one network better than another, or was it luck?

Two things vary when a network is measured: the pictures it is measured on and the run that trained it. An
interval from the pictures alone calls the luck of one seed a result, so ``summary`` and ``paired_bootstrap``
take the answers of several runs and count both.
"""

from __future__ import annotations

import warnings

import numpy as np

from facelib.emotions import EMOTIONS
from facelib.study.metrics import CONFUSIONS
from facelib.training.calibration import checked_labels, macro_scores

_K = len(EMOTIONS)
#: Metrics in the order of ``_measure``'s rows; the recalls of the seven emotions stand after the third.
_NAMES = ("accuracy", "balanced_accuracy", "macro_f1", "recall", *(f"{a}_to_{b}" for a, b in CONFUSIONS))


# --- two networks, several runs --------------------------------------------------------------------------


def mcnemar(labels: np.ndarray, answers_a: np.ndarray, answers_b: np.ndarray) -> dict:
    """McNemar's exact test (1947): of the pictures that only one of two networks gets right, is it half each?

    labels, answers_a, answers_b: (n,) in 0..6. Gives only_a and only_b, the pictures that only a, only b gets
    right, and p, two-sided from the binomial distribution (1 where they never differ). It knows one run of
    each network, so it judges two weight files, not two ways to train. Raises ValueError for wrong input.
    """
    from scipy.stats import binomtest

    labels, a = checked_labels(labels, answers_a)
    b = checked_labels(labels, answers_b)[1]
    if len(a) != 1 or len(b) != 1:
        raise ValueError("McNemar's test takes one run of each network: answers (n,)")
    right_a, right_b = a[0] == labels, b[0] == labels
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    p = float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0
    return {"only_a": only_a, "only_b": only_b, "p": p}


def summary(labels: np.ndarray, answers: np.ndarray, n_bootstrap: int = 2000, seed: int = 0) -> dict:
    """Metrics of several runs of one way to train: their means, what each run reached, and 95 % intervals.

    labels (n,) in 0..6; answers (s, n) in 0..6, a row per run, or (n,) for a single one; seed: the
    bootstrap's, not the runs'.

    Gives n, runs (s), and for accuracy, balanced_accuracy, macro_f1, fear_to_surprise, surprise_to_fear and
    fear_to_sad (all as in ``metrics.classification_metrics``) the mean over the runs, "<name>_runs" (a
    list of s) and "<name>_interval" (low, high). recall, recall_runs and recall_interval are the same by
    emotion. A class without pictures gives nan.

    The interval is for the mean over all runs and pictures that might have been: percentiles of the mean over
    the runs on resampled pictures (one resample for all runs), with the luck of the runs added to each.
    Resampling the runs as well, the plain two-stage bootstrap, goes wrong here in two ways: what varies from
    run to run on single pictures and averages out over them is counted up to three times (Owen 2007,
    arXiv:0712.1111), and a handful of runs resampled varies too little. So that luck is drawn as sqrt(v) t,
    with v = max(0, variance between the runs / s - the part of it that the choice of pictures explains, read
    from the same resamples) and t from Student's distribution with s - 1 degrees of freedom (variance split
    by stages: Davison & Hinkley 1997, "Bootstrap Methods and their Application", 3.8).

    Limits: one run knows nothing of v, its interval is that of the pictures alone. From a few runs v is a
    guess: where luck outweighs the pictures, 5 runs miss in up to about 8 % and 2 or 3 in up to about 12 % of
    cases (simulated), and elsewhere the tails of t make the interval wider than it need be.

    Raises ValueError for wrong shapes or values.
    """
    labels, answers = checked_labels(labels, answers)
    rng = np.random.default_rng(seed)
    runs, resampled = _bootstrap(labels, answers, n_bootstrap, rng)
    interval = _percentiles(_draws(runs, resampled, rng))
    found = {"n": len(labels), "runs": len(answers)}
    for name, mean, each, ends in _named(runs.mean(1), runs, interval):
        found |= {name: mean, f"{name}_runs": each, f"{name}_interval": ends}
    return found


def paired_bootstrap(
    labels: np.ndarray,
    answers_a: np.ndarray,
    answers_b: np.ndarray,
    n_bootstrap: int = 2000,
    seed: int = 0,
    paired_seeds: bool | None = None,
) -> dict:
    """How much better b is than a: differences b - a of the means over runs, 95 % intervals and p-values.

    labels (n,) in 0..6; answers_a (s, n) and answers_b (t, n) in 0..6, a row per run; seed: the bootstrap's.
    paired_seeds: run k of both started from the same weights, so that their difference is what varies from
        run to run; None: if s == t.

    Gives n, runs (s, t), paired_seeds, and for each metric of ``summary`` the difference, "<name>_interval"
    (low, high) and "<name>_p"; recall, recall_interval and recall_p by emotion.

    Both see the same resamples of the pictures; the luck of the runs is added as in ``summary``, to the
    differences of paired runs or to each side on its own. p, two-sided, is the percentile interval turned
    round: p = min(1, 2 (1 + min(#{d <= 0}, #{d >= 0})) / (B + 1)) with the B = n_bootstrap draws d of the
    difference. It is never below 2 / (B + 1), and below 0.05 where the interval leaves out 0, up to one draw.
    Many metrics are many tests: see ``holm``.

    Limits: as in ``summary``. With one run on each side, p says whether these two networks differ, and not
    whether their ways to train do. Raises ValueError for wrong shapes or values.
    """
    labels, a = checked_labels(labels, answers_a)
    b = checked_labels(labels, answers_b)[1]
    paired = len(a) == len(b) if paired_seeds is None else paired_seeds
    if paired and len(a) != len(b):
        raise ValueError(f"paired seeds want as many runs of both, got {len(a)} and {len(b)}")
    rng = np.random.default_rng(seed)
    runs, resampled = _bootstrap(labels, np.concatenate([a, b]), n_bootstrap, rng)
    of_a, of_b = slice(None, len(a)), slice(len(a), None)
    if paired:
        draws = _draws(runs[:, of_b] - runs[:, of_a], resampled[..., of_b] - resampled[..., of_a], rng)
    else:
        draws = _draws(runs[:, of_b], resampled[..., of_b], rng)
        draws -= _draws(runs[:, of_a], resampled[..., of_a], rng)
    difference = runs[:, of_b].mean(1) - runs[:, of_a].mean(1)
    found = {"n": len(labels), "runs": (len(a), len(b)), "paired_seeds": bool(paired)}
    for name, value, p, ends in _named(difference, _p_values(draws), _percentiles(draws)):
        found |= {name: value, f"{name}_interval": ends, f"{name}_p": p}
    return found


def holm(p_values) -> np.ndarray:
    """p-values (m,) adjusted for their number (Holm 1979): at most 5 % risk of any false one below 0.05.

    nan stays nan and does not count.
    """
    p = np.asarray(p_values, np.float64)
    adjusted, order = np.full(p.shape, np.nan), np.argsort(p)  # nan goes last
    order = order[: np.count_nonzero(~np.isnan(p))]
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)), 1)
    return adjusted


def _measure(confusions: np.ndarray) -> np.ndarray:
    """Metrics (m, ...) of confusion matrices (..., 7, 7) in the order of ``_NAMES``."""
    totals = confusions.sum(-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        rates = confusions / totals[..., None]
    balanced, f1 = macro_scores(confusions.reshape(-1, _K, _K))
    hits = np.diagonal(confusions, axis1=-2, axis2=-1).sum(-1)
    rows = [hits / totals.sum(-1), balanced.reshape(hits.shape), f1.reshape(hits.shape)]
    rows += [rates[..., k, k] for k in range(_K)]
    rows += [rates[..., EMOTIONS.index(label), EMOTIONS.index(answer)] for label, answer in CONFUSIONS]
    return np.stack(rows)


def _bootstrap(labels, answers, n_bootstrap, rng) -> tuple[np.ndarray, np.ndarray]:
    """Metrics (m, s) of the runs on all pictures, and (m, b, s) on resampled ones, the same for each run."""
    s, n = answers.shape
    # A picture's cell in each run's confusion matrix, one-hot: any resample's matrices are its counts of the
    # pictures times this. Counts below 2 ** 24 are exact in float32.
    cells = np.zeros((n, s, _K * _K), np.float32)
    np.put_along_axis(cells, (labels * _K + answers).T[..., None], 1, axis=2)
    cells = cells.reshape(n, -1)
    resampled = np.empty((n_bootstrap, s, _K, _K))
    step = max(1, 1_000_000 // n)
    for start in range(0, n_bootstrap, step):
        part = resampled[start : start + step]
        rows = rng.integers(n, size=(len(part), n)) + n * np.arange(len(part))[:, None]
        counts = np.bincount(rows.ravel(), minlength=len(part) * n).reshape(len(part), n)
        part[...] = (counts.astype(np.float32) @ cells).reshape(part.shape)
    return _measure(cells.sum(0, dtype=np.float64).reshape(s, _K, _K)), _measure(resampled)


def _draws(runs: np.ndarray, resampled: np.ndarray, rng) -> np.ndarray:
    """Draws (m, b) of the mean over runs from metrics (m, s), (m, b, s) if resampled: see ``summary``."""
    s, means = runs.shape[1], resampled.mean(2)
    if s == 1 or not resampled.shape[1]:
        return means
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a class without pictures is nan throughout
        # Between runs, the resamples move only what runs do differently on single pictures.
        explained = np.nanvar(resampled - means[..., None], axis=1).sum(1) / (s - 1)
    luck = np.sqrt(np.maximum(runs.var(1, ddof=1) - explained, 0) / s)
    return means + luck[:, None] * rng.standard_t(s - 1, size=means.shape[1])


def _percentiles(draws: np.ndarray) -> np.ndarray:
    """95 % intervals (m, 2) of draws (m, b)."""
    if not draws.shape[1]:
        return np.full((len(draws), 2), np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.nanpercentile(draws, (2.5, 97.5), axis=1).T


def _p_values(draws: np.ndarray) -> np.ndarray:
    """Two-sided p-values (m,) of draws (m, b) against 0: see ``paired_bootstrap``."""
    counted = np.count_nonzero(~np.isnan(draws), axis=1)
    tail = np.minimum((draws <= 0).sum(1), (draws >= 0).sum(1))
    return np.where(counted, np.minimum(2 * (1 + tail) / (counted + 1), 1), np.nan)


def _named(*columns: np.ndarray):
    """Rows of ``columns``, each (m,) or (m, c), with their metric's name; the recalls as one, by emotion."""
    each = [column.tolist() for column in columns]
    each[2] = [tuple(ends) for ends in each[2]]
    for name in _NAMES:
        at = _NAMES.index(name)
        if name == "recall":
            yield name, *(dict(zip(EMOTIONS, column[at : at + _K], strict=True)) for column in each)
        else:
            yield name, *(column[at + (_K - 1) * (at > 3)] for column in each)
