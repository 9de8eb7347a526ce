"""Paired comparisons: is one network better than another, or was it chance?

Two things vary when a network is measured: the images it is measured on and the run that trained it. An
interval from the images alone mistakes a lucky seed for a result, so ``summary`` and ``paired_bootstrap``
take the predictions of several runs and count both.
"""

from __future__ import annotations

import warnings

import numpy as np
from scipy.special import expit, logit

from facelib.emotions import EMOTIONS
from facelib.study.metrics import CONFUSIONS, percentile_interval
from facelib.training.calibration import checked_labels, macro_scores

_K = len(EMOTIONS)
#: Metrics in the order of ``_measure``'s rows; the recalls of the seven emotions follow.
_NAMES = ("accuracy", "balanced_accuracy", "macro_f1", *(f"{a}_to_{b}" for a, b in CONFUSIONS))


def mcnemar(labels: np.ndarray, predictions_a: np.ndarray, predictions_b: np.ndarray) -> dict:
    """McNemar's exact test (1947): of the images that only one of two networks gets right, half each?

    labels, predictions_a, predictions_b: (n,) in 0..6. Gives only_a and only_b, the images that only a, only
    b gets right, and p, two-sided from the binomial distribution (1 where they never differ). It knows one
    run of each network, so it judges two weight files, not two ways to train. Raises ValueError.
    """
    from scipy.stats import binomtest

    labels, a = checked_labels(labels, predictions_a)
    b = checked_labels(labels, predictions_b)[1]
    if len(a) != 1 or len(b) != 1:
        raise ValueError("McNemar's test takes one run of each network: predictions (n,)")
    right_a, right_b = a[0] == labels, b[0] == labels
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    p = float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0
    return {"only_a": only_a, "only_b": only_b, "p": p}


def summary(labels: np.ndarray, predictions: np.ndarray, n_bootstrap: int = 2000, seed: int = 0) -> dict:
    """Metrics of several runs of one way to train: their means, what each run reached, and 95 % intervals.

    labels (n,) in 0..6; predictions (s, n) in 0..6, a row per run, or (n,) for a single one; seed: the
    bootstrap's, not the runs'.

    Gives n, runs (s), and for accuracy, balanced_accuracy, macro_f1, fear_to_surprise, surprise_to_fear and
    fear_to_sad (all as in ``metrics.classification_metrics``) the mean over the runs, "<name>_runs" (a
    list of s) and "<name>_interval" (low, high). recall, recall_runs and recall_interval are the same by
    emotion. A class without images gives nan.

    The interval is for the mean over all runs and images that might have been: percentiles of the mean over
    the runs on resampled images (one resample for all runs), with the runs' own variation added to each.
    Resampling the runs as well (the plain two-stage bootstrap) counts what varies on single images up to
    three times (Owen 2007, arXiv:0712.1111), and a handful of runs resampled varies too little. So that part
    is drawn as sqrt(v) t, with v = max(0, variance between the runs / s - the part of it that the choice of
    images explains, read from the same resamples) and t from Student's distribution with s - 1 degrees of
    freedom (variance split by stages: Davison & Hinkley 1997, "Bootstrap Methods and their Application").

    Limits: one run knows nothing of v, its interval is that of the images alone. With 5 runs the interval
    misses in up to about 8 %, with 2 or 3 in up to about 12 % of cases where runs vary more than images do
    (simulated); elsewhere the tails of t make it wider than it need be. It never leaves [0, 1]: all these
    metrics are shares, and the runs' part is added to their logits (log p / (1 - p)).

    Raises ValueError for wrong shapes or values.
    """
    labels, predictions = checked_labels(labels, predictions)
    rng = np.random.default_rng(seed)
    runs, resampled = _bootstrap(labels, predictions, n_bootstrap, rng)
    found = {"n": len(labels), "runs": len(predictions)} | _named(runs.mean(1)) | _named(runs, "_runs")
    return found | _intervals(_draws(runs, resampled, rng, shares=True))


def paired_bootstrap(
    labels: np.ndarray,
    predictions_a: np.ndarray,
    predictions_b: np.ndarray,
    n_bootstrap: int = 2000,
    seed: int = 0,
    paired_seeds: bool | None = None,
) -> dict:
    """How much better b is than a: differences b - a of the means over runs, 95 % intervals and p-values.

    labels (n,) in 0..6; predictions_a (s, n) and predictions_b (t, n) in 0..6, a row per run; seed: the
        bootstrap's.
    paired_seeds: run k of both started from the same weights, so that their difference is what varies from
        run to run; None: if s == t.

    Gives n, runs (s, t), paired_seeds, and for each metric of ``summary`` the difference, "<name>_interval"
    (low, high) and "<name>_p"; recall, recall_interval and recall_p by emotion.

    Both see the same resamples of the images; the runs' variation is added as in ``summary``, to the
    differences of paired runs or to each side on its own. p, two-sided, is the percentile interval turned
    round: p = min(1, 2 (1 + min(#{d <= 0}, #{d >= 0})) / (B + 1)) with the B = n_bootstrap draws d of the
    difference. It is never below 2 / (B + 1), and below 0.05 where the interval leaves out 0, up to one draw.
    Many metrics are many tests: see ``holm``.

    Limits: as in ``summary``. With one run on each side, p says whether these two networks differ, and not
    whether their ways to train do. Raises ValueError for wrong shapes or values.
    """
    labels, a = checked_labels(labels, predictions_a)
    b = checked_labels(labels, predictions_b)[1]
    paired = len(a) == len(b) if paired_seeds is None else paired_seeds
    if paired and len(a) != len(b):
        raise ValueError(f"paired seeds want as many runs of both, got {len(a)} and {len(b)}")
    rng = np.random.default_rng(seed)
    runs, resampled = _bootstrap(labels, np.concatenate([a, b]), n_bootstrap, rng)
    of_a, of_b = slice(None, len(a)), slice(len(a), None)
    if paired:
        draws = _draws(runs[:, of_b] - runs[:, of_a], resampled[..., of_b] - resampled[..., of_a], rng)
    else:
        draws = _draws(runs[:, of_b], resampled[..., of_b], rng, shares=True)
        draws -= _draws(runs[:, of_a], resampled[..., of_a], rng, shares=True)
    found = {"n": len(labels), "runs": (len(a), len(b)), "paired_seeds": bool(paired)}
    found |= _named(runs[:, of_b].mean(1) - runs[:, of_a].mean(1)) | _named(_p_values(draws), "_p")
    return found | _intervals(draws)


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
    """Metrics (m, ...) of confusion matrices (..., 7, 7) in the order of ``_NAMES``, then the recalls."""
    totals = confusions.sum(-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        rates = confusions / totals[..., None]
    balanced, f1 = macro_scores(confusions.reshape(-1, _K, _K))
    hits = np.diagonal(confusions, axis1=-2, axis2=-1).sum(-1)
    rows = [hits / totals.sum(-1), balanced.reshape(hits.shape), f1.reshape(hits.shape)]
    rows += [rates[..., EMOTIONS.index(a), EMOTIONS.index(b)] for a, b in CONFUSIONS]
    rows += [rates[..., k, k] for k in range(_K)]
    return np.stack(rows)


def _bootstrap(labels, predictions, n_bootstrap, rng) -> tuple[np.ndarray, np.ndarray]:
    """Metrics (m, s) of the runs on all images, and (m, b, s) on resampled ones, the same for each run."""
    s, n = predictions.shape
    # An image's cell in each run's confusion matrix, one-hot: any resample's matrices are its counts of the
    # images times this. Counts below 2 ** 24 are exact in float32.
    cells = np.zeros((n, s, _K * _K), np.float32)
    np.put_along_axis(cells, (labels * _K + predictions).T[..., None], 1, axis=2)
    cells = cells.reshape(n, -1)
    resampled = np.empty((n_bootstrap, s, _K, _K))
    step = max(1, 1_000_000 // n)
    for start in range(0, n_bootstrap, step):
        part = resampled[start : start + step]
        rows = rng.integers(n, size=(len(part), n)) + n * np.arange(len(part))[:, None]
        counts = np.bincount(rows.ravel(), minlength=len(part) * n).reshape(len(part), n)
        part[...] = (counts.astype(np.float32) @ cells).reshape(part.shape)
    return _measure(cells.sum(0, dtype=np.float64).reshape(s, _K, _K)), _measure(resampled)


def _draws(runs: np.ndarray, resampled: np.ndarray, rng, shares: bool = False) -> np.ndarray:
    """Draws (m, b) of the mean over runs from metrics (m, s), (m, b, s) if resampled: see ``summary``.

    shares: the metrics, not their differences, so that no draw may leave [0, 1].
    """
    s, means = runs.shape[1], resampled.mean(2)
    if s == 1 or not resampled.shape[1]:
        return means
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a class without images is nan throughout
        # Between runs, the resamples move only what runs do differently on single images.
        explained = np.nanvar(resampled - means[..., None], axis=1).sum(1) / (s - 1)
    spread = np.sqrt(np.maximum(runs.var(1, ddof=1) - explained, 0) / s)[:, None]
    t = rng.standard_t(s - 1, size=means.shape[1])
    if not shares:
        return means + spread * t
    centre = runs.mean(1, keepdims=True)
    slope = centre * (1 - centre)  # of the share by its logit
    moved = np.divide(spread, slope, where=slope > 0, out=np.zeros_like(spread)) * t
    return expit(logit(means) + moved)


def _p_values(draws: np.ndarray) -> np.ndarray:
    """Two-sided p-values (m,) of draws (m, b) against 0: see ``paired_bootstrap``."""
    counted = np.count_nonzero(~np.isnan(draws), axis=1)
    tail = np.minimum((draws <= 0).sum(1), (draws >= 0).sum(1))
    return np.where(counted, np.minimum(2 * (1 + tail) / (counted + 1), 1), np.nan)


def _named(values: np.ndarray, end: str = "") -> dict:
    """Values (m, ...) by the name of their metric and ``end``; the recalls as one, by emotion."""
    each = values.tolist()
    plain = {f"{name}{end}": value for name, value in zip(_NAMES, each, strict=False)}
    return plain | {f"recall{end}": dict(zip(EMOTIONS, each[len(_NAMES) :], strict=True))}


def _intervals(draws: np.ndarray) -> dict:
    """95 % intervals (low, high) of draws (m, b), by name: the one place where they are made."""
    found = _named(percentile_interval(draws).T, "_interval")
    recall = {emotion: tuple(ends) for emotion, ends in found.pop("recall_interval").items()}
    return {name: tuple(ends) for name, ends in found.items()} | {"recall_interval": recall}
