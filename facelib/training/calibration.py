"""Calibration: temperature and class biases that make probabilities fit labels or raise a metric."""

from __future__ import annotations

import numpy as np

from facelib.emotions import EMOTIONS

_K = len(EMOTIONS)
_METRICS = ("accuracy", "balanced_accuracy", "macro_f1")  # that ``tune_bias`` makes large
_TINY = 1e-12  # a probability of 0 has no logarithm


def checked_labels(labels, predicted) -> tuple[np.ndarray, np.ndarray]:
    """labels (n,) int64 and predicted classes (s, n) int64."""
    labels, predicted = np.asarray(labels), np.atleast_2d(predicted)
    if labels.ndim != 1 or not labels.size or not predicted.size or predicted.shape[1:] != labels.shape:
        raise ValueError(f"wanted labels (n,) and predictions (s, n), got {labels.shape}, {predicted.shape}")
    if not np.isin(labels, range(_K)).all() or not np.isin(predicted, range(_K)).all():
        raise ValueError(f"labels and predictions go from 0 to {_K - 1}")
    return labels.astype(np.int64), predicted.astype(np.int64)


def calibrate(labels: np.ndarray, probabilities: np.ndarray, what: str = "bias") -> tuple[float, np.ndarray]:
    """Temperature and bias (7,), summing to 0, that make probabilities fit labels best (least NLL).

    labels (n,) in 0..6, probabilities (n, 7): of pictures neither trained on nor kept for the test.
    what: "temperature" (Guo et al. 2017, arXiv:1706.04599; the bias is 0, no prediction changes) or "bias",
        with one bias per class as well (bias-corrected temperature scaling, Alexandari et al. 2020,
        arXiv:1901.06852), which also corrects for other proportions of the classes.

    ``apply_calibration`` says what is done with them. The problem is convex in 1 / temperature and bias;
    temperature stays in 0.01..100 and each bias within about 10, so that separable data and classes without
    pictures have a solution too. Raises ValueError for wrong input.
    """
    from scipy.optimize import minimize

    labels, logs = checked_logs(labels, probabilities)
    if what not in ("temperature", "bias"):
        raise ValueError(f"{what!r}: calibrate fits 'temperature' or 'bias'")
    n, rows = len(labels), np.arange(len(labels))

    def loss(x):  # x: 1 / temperature, then the biases
        z = x[0] * logs + x[1:]
        z -= z.max(1, keepdims=True)
        e = np.exp(z)
        total = e.sum(1)
        value = (np.log(total) - z[rows, labels]).mean()
        slope = e / total[:, None]
        slope[rows, labels] -= 1
        return value, np.append((slope * logs).sum() / n, slope.sum(0) / n)

    limit = 10 if what == "bias" else 0
    best = minimize(
        loss,
        np.append(1.0, np.zeros(_K)),
        jac=True,
        method="L-BFGS-B",
        bounds=[(0.01, 100)] + [(-limit, limit)] * _K,
        options={"maxiter": 1000, "ftol": 1e-13, "gtol": 1e-8},
    )
    return float(1 / best.x[0]), best.x[1:] - best.x[1:].mean()


def apply_calibration(probabilities: np.ndarray, temperature: float, bias: np.ndarray) -> np.ndarray:
    """softmax(log(probabilities) / temperature + bias), (n, 7) float64; bias (7,)."""
    from scipy.special import softmax

    logs = np.log(np.maximum(np.asarray(probabilities, np.float64), _TINY))
    return softmax(logs / temperature + np.asarray(bias), axis=1)


def tune_bias(
    labels: np.ndarray,
    probabilities: np.ndarray,
    metric: str = "macro_f1",
    strength: float = 0.001,
    resamples: int = 20,
    seed: int = 0,
) -> tuple[np.ndarray, float]:
    """One bias per class on the log probabilities that maximises a metric: (7,), and the metric.

    labels (n,) in 0..6, probabilities (n, 7), both of the split on which choices are made; metric:
    "accuracy", "balanced_accuracy" or "macro_f1". ``apply_calibration(p, 1, bias)`` uses the bias, which sums
    to 0. The metric that is returned is that of all n pictures, on which the bias was chosen: it is
    optimistic; measure the bias on other pictures.

    Coordinate ascent from 0: one class after the other takes the best of the biases -1.5, -1.4 .. 1.5 until
    none moves. Three things keep it from learning the few pictures of a rare class by heart: that bound; a
    price, as what is made large is metric - strength / 7 * sum_k n / (7 n_k) bias_k ** 2 with n_k pictures of
    class k; and bagging, as the bias is the mean of those found on ``resamples`` bootstrap resamples of the
    pictures (0: found on the pictures themselves). The metric is a staircase whose highest step is luck:
    bagging halves what the chosen value promises too much (simulated). A class without pictures does not
    move by itself. Raises ValueError for wrong input.
    """
    labels, logs = checked_logs(labels, probabilities)
    if metric not in _METRICS:
        raise ValueError(f"{metric!r}: tune_bias knows {', '.join(_METRICS)}")
    if strength < 0:
        raise ValueError(f"strength {strength} is negative")
    rng, n = np.random.default_rng(seed), len(labels)
    draws = [rng.integers(n, size=n) for _ in range(resamples)] or [np.arange(n)]
    found = np.stack([_ascend(labels[rows], logs[rows], metric, strength) for rows in draws])
    bias = (found - found.mean(1, keepdims=True)).mean(0)
    return bias, float(_scores(labels, (logs + bias).argmax(1)[None], metric)[0])


def _ascend(labels: np.ndarray, logs: np.ndarray, metric: str, strength: float) -> np.ndarray:
    """Bias (7,) by coordinate ascent: see ``tune_bias``."""
    grid, counts = np.arange(-15, 16) / 10, np.bincount(labels, minlength=_K)
    price = strength * len(labels) / (_K * _K * np.maximum(counts, 1))
    bias = np.zeros(_K)
    for _ in range(20):  # it ends after a few; a cycle is impossible, as each move climbs
        before = bias.copy()
        for k in np.flatnonzero(counts):
            others = logs + bias
            others[:, k] = -np.inf
            predictions = np.where(logs[:, k] + grid[:, None] > others.max(1), k, others.argmax(1))
            gains = _scores(labels, predictions, metric) - price[k] * grid**2
            if gains.max() > gains[grid == bias[k]][0] + 1e-12:
                bias[k] = grid[gains.argmax()]
        if (bias == before).all():
            break
    return bias


def _scores(labels: np.ndarray, predictions: np.ndarray, metric: str) -> np.ndarray:
    """One of ``_METRICS`` (g,) of predictions (g, n)."""
    cells = labels * _K + predictions + _K * _K * np.arange(len(predictions))[:, None]
    confusions = np.bincount(cells.ravel(), minlength=_K * _K * len(predictions))
    confusions = confusions.reshape(-1, _K, _K)
    if metric == "accuracy":
        return np.trace(confusions, axis1=1, axis2=2) / confusions.sum((1, 2))
    return macro_scores(confusions)[_METRICS.index(metric) - 1]


def checked_logs(labels, probabilities) -> tuple[np.ndarray, np.ndarray]:
    """labels (n,) int64 and log probabilities (n, 7) float64, checked."""
    probabilities = np.asarray(probabilities, np.float64)
    if probabilities.ndim != 2 or probabilities.shape[1] != _K:
        raise ValueError(f"wanted probabilities (n, {_K}), got {probabilities.shape}")
    labels = checked_labels(labels, probabilities.argmax(1))[0]
    if not (probabilities >= 0).all() or np.abs(probabilities.sum(1) - 1).max() > 1e-3:
        raise ValueError("probabilities are not negative and sum to 1 in each row (logits need a softmax)")
    return labels, np.log(np.maximum(probabilities, _TINY))


def macro_scores(confusions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Balanced accuracy and macro-F1 of confusion matrices (b, k, k), each (b,): means over the classes that
    occur as a label."""
    hits = np.diagonal(confusions, axis1=1, axis2=2)
    labelled, both = confusions.sum(2), confusions.sum(1) + confusions.sum(2)
    recall = np.divide(hits, labelled, where=labelled > 0, out=np.zeros(hits.shape))
    f1 = np.divide(2 * hits, both, where=both > 0, out=np.zeros(hits.shape))
    return tuple(each.sum(1) / (labelled > 0).sum(1) for each in (recall, f1))
