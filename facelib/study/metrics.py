"""Metrics with intervals, and the one place that writes numbers down.

Whatever a notebook, the README or a report quotes stands in ``reports/metrics/NN-slug.json``, written by
``write_metrics`` with what is needed to obtain it again. A number without n and interval is not a result:
proportions carry Wilson's interval, other metrics a bootstrap one, both at 95 %.

Generated faces are compared with real ones by features (n, d) of a network, which is named wherever a number
is quoted. A distance means something only beside its floor: the same distance between two sets of real
images, and that of the codec's reconstructions.
"""

from __future__ import annotations

import datetime
import json
import re
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from facelib import __version__, files, paths
from facelib.emotions import EMOTIONS, FerData
from facelib.training.calibration import checked_logs, macro_scores

#: Confusions that this project follows by name: (label, prediction).
CONFUSIONS = (("fear", "surprise"), ("surprise", "fear"), ("fear", "sad"))
_K = len(EMOTIONS)
_FIELDS = ("n", "split", "seed")
_WIDTH = 110


# --- metrics files ---------------------------------------------------------------------------------------


def write_metrics(
    slug: str,
    payload: Mapping,
    *,
    command: str,
    data: FerData | str | None = None,
    weights: str | Path | None = None,
) -> Path:
    """Write ``reports/metrics/<slug>.json`` whole or not at all, and return its path.

    slug: "02-audit-fer2013": the notebook's number, then words.
    payload: the keys "n", "split" and "seed" become fields of the file, all others stand under "metrics".
        Numpy scalars and arrays, tuples and paths may be values; numbers keep six significant digits, nan and
        infinity become null.
    command: how a reader obtains the numbers again, such as "facelib audit --dataset fer2013".
    data: the set (its digest is written) or a digest; weights: a weight file (its sha256 is written, first 16
        hex digits), or a digest.

    Every file has the fields metrics, n, split, data, seed, weights, command, version and date; what was not
    given is null. Keys are sorted. A file in which nothing but the date would change is left as it is.
    Raises ValueError for a slug that is no plain file name.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", slug):
        raise ValueError(f"{slug!r}: a slug has small letters, digits, - and _ only, such as 02-audit-toy")
    if weights is not None and Path(weights).is_file():
        weights = paths.digest(weights)[:16]
    record = {key: payload.get(key) for key in _FIELDS}
    record |= {"data": data.digest if isinstance(data, FerData) else data, "weights": weights}
    record |= {"metrics": {key: value for key, value in payload.items() if key not in _FIELDS}}
    record = _plain(record | {"command": command, "version": __version__})
    path = paths.metrics() / f"{slug}.json"
    try:
        old = read_metrics(slug)
        if {key: old[key] for key in old if key != "date"} == record:
            return path
    except (OSError, ValueError):
        pass  # none yet, or damaged
    record["date"] = datetime.datetime.now(datetime.UTC).date().isoformat()
    with paths.atomic_write(path) as temporary:
        temporary.write_text(_format(record) + "\n", encoding="utf-8")
    return path


def read_metrics(slug: str) -> dict:
    """What ``write_metrics`` wrote, else what was recorded when facelib was made and is installed with it.

    Raises FileNotFoundError, or InputError for a damaged file.
    """
    path, installed = (folder / f"{slug}.json" for folder in (paths.metrics(), paths.PACKAGE / "recorded"))
    if installed.is_file() and not path.exists():  # in a checkout the first is the only one
        path = installed
    try:
        return files.read_record(path, "run the command that makes it again")
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such metrics; run the command that makes them") from None


def _plain(value):
    """The same in JSON's own types."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if np.isfinite(value) else None
    return str(value) if isinstance(value, Path) else value


def _format(value, indent: int = 0) -> str:
    """JSON with sorted keys in which whatever fits stands on one line, so that a matrix has one per row."""
    line = json.dumps(value, sort_keys=True, ensure_ascii=False)
    if not value or not isinstance(value, dict | list) or (indent and len(line) + indent <= _WIDTH):
        return line
    if isinstance(value, dict):
        ends, parts = "{}", [f"{json.dumps(k)}: {_format(value[k], indent + 2)}" for k in sorted(value)]
    else:
        ends, parts = "[]", [_format(each, indent + 2) for each in value]
    gap = "\n" + " " * (indent + 2)
    return ends[0] + gap + f",{gap}".join(parts) + "\n" + " " * indent + ends[1]


# --- intervals and classification -----------------------------------------------------------------------


def wilson(hits, n) -> np.ndarray:
    """Wilson's 95 % interval of proportions, (2, ...) float64 in [0, 1]; nan where n is 0 (Wilson 1927)."""
    hits, n = np.asarray(hits, np.float64), np.asarray(n, np.float64)
    z = 1.959963984540054
    with np.errstate(divide="ignore", invalid="ignore"):
        p = hits / n
        centre, spread = p + z * z / (2 * n), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        ends = np.stack([np.maximum(centre - spread, 0), np.minimum(centre + spread, 1 + z * z / n)])
        return ends / (1 + z * z / n)


def proportion(name: str, hits: int, n: int) -> dict:
    """{name: hits / n, "<name>_interval": (low, high)} with Wilson's interval; nan where n is 0."""
    ends = tuple(map(float, wilson(hits, n)))
    return {name: float(hits / n) if n else np.nan, f"{name}_interval": ends}


def with_interval(share: float, interval, digits: int = 1) -> str:
    """A share and its interval (low, high) as text: "15.4%  [14.5% to 16.4%]"."""
    low, high = interval
    return f"{share:.{digits}%}  [{low:.{digits}%} to {high:.{digits}%}]"


def percentile_interval(draws: np.ndarray, axis: int = -1) -> np.ndarray:
    """95 % intervals, (2, ...), of bootstrap draws along an axis; nan draws do not count, none give nan."""
    if not draws.shape[axis]:
        return np.full((2, *np.delete(draws.shape, axis)), np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a class without images is nan throughout
        return np.nanpercentile(draws, (2.5, 97.5), axis=axis)


def confusion_counts(labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Confusion matrix (7, 7) int64, row label, column prediction; both (n,) in 0..6."""
    cells = np.asarray(labels, np.int64) * _K + predictions
    return np.bincount(cells, minlength=_K * _K).reshape(_K, _K)


def class_recall(confusion: np.ndarray) -> np.ndarray:
    """Recall of each class (7,) from a confusion matrix; nan for a class without images."""
    with np.errstate(invalid="ignore"):
        return confusion.diagonal() / confusion.sum(1)


def classification_metrics(
    labels: np.ndarray, probabilities: np.ndarray, n_bootstrap: int = 2000, seed: int = 0
) -> dict:
    """How well seven-way predictions fit the labels.

    labels (n,) in 0..6, probabilities (n, 7) whose rows sum to 1, both in the order of ``EMOTIONS``; n >= 1.

    Gives n, accuracy, balanced_accuracy (mean recall of the classes that occur), macro_f1 (mean F1 of the
    same classes), recall {emotion: ...}, confusion (``confusion_counts``),
    fear_to_surprise, surprise_to_fear, fear_to_sad (share of the first's images that were predicted to be the
    second), ece (``expected_calibration_error``). Each but confusion and ece has an "<name>_interval"
    (low, high) beside it: Wilson's for proportions; for the two means, percentiles of ``n_bootstrap``
    resamples of the images.

    Raises ValueError for wrong shapes or values.
    """
    labels, probabilities = checked_logs(labels, probabilities)[0], np.asarray(probabilities, np.float64)
    n, confusion = len(labels), confusion_counts(labels, probabilities.argmax(1))
    # All that follows depends on the images through the confusion matrix only, so resampling the images is a
    # multinomial draw of its 49 cells: 2,000 resamples take milliseconds.
    drawn = np.random.default_rng(seed).multinomial(n, confusion.ravel() / n, size=n_bootstrap)
    resampled = macro_scores(drawn.reshape(-1, _K, _K))
    found = {"n": n, "confusion": confusion, "ece": expected_calibration_error(labels, probabilities)}
    names = ("balanced_accuracy", "macro_f1")
    for name, value, draws in zip(names, macro_scores(confusion[None]), resampled, strict=True):
        found |= {name: float(value[0]), f"{name}_interval": tuple(percentile_interval(draws).tolist())}
    totals = confusion.sum(1)
    found |= proportion("accuracy", confusion.trace(), n)
    for label, prediction in CONFUSIONS:
        row, column = EMOTIONS.index(label), EMOTIONS.index(prediction)
        found |= proportion(f"{label}_to_{prediction}", confusion[row, column], totals[row])
    intervals = map(tuple, wilson(confusion.diagonal(), totals).T.tolist())
    found["recall"] = dict(zip(EMOTIONS, class_recall(confusion).tolist(), strict=True))
    return found | {"recall_interval": dict(zip(EMOTIONS, intervals, strict=True))}


# --- calibration -----------------------------------------------------------------------------------------


def reliability(labels: np.ndarray, probabilities: np.ndarray, bins: int = 15) -> dict:
    """Reliability curve: how often predictions of about the same confidence are right.

    labels (n,) in 0..6, probabilities (n, 7). The bins have equal width. Gives edges (bins + 1,), count
    (bins,) int64, confidence and accuracy (bins,), their means in each bin, and accuracy_interval (2, bins),
    Wilson's at 95 %; nan in an empty bin. Raises ValueError for wrong input.
    """
    labels = checked_logs(labels, probabilities)[0]
    if bins < 1:
        raise ValueError(f"{bins} bins: wanted at least one")
    probabilities = np.asarray(probabilities, np.float64)
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    place = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    count, hits = np.bincount(place, minlength=bins), np.bincount(place, right, minlength=bins)
    with np.errstate(invalid="ignore"):
        return {
            "edges": np.linspace(0, 1, bins + 1),
            "count": count,
            "confidence": np.bincount(place, confidence, minlength=bins) / count,
            "accuracy": hits / count,
            "accuracy_interval": wilson(hits, count),
        }


def bins(curve: Mapping) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """count, confidence and right predictions of a reliability curve's bins, (b,) each; 0 in empty bins."""
    count = np.array(curve["count"], float)
    confidence, accuracy = (np.nan_to_num(np.array(curve[k], float)) for k in ("confidence", "accuracy"))
    return count, confidence, np.rint(accuracy * count)


def expected_error(curve: Mapping) -> float:
    """Expected calibration error of a reliability curve: mean gap between confidence and accuracy, weighted
    by predictions (Guo et al. 2017, arXiv:1706.04599)."""
    count, confidence, hits = bins(curve)
    return float(np.abs(hits - count * confidence).sum() / count.sum())


def expected_calibration_error(labels: np.ndarray, probabilities: np.ndarray, bins: int = 15) -> float:
    """``expected_error`` of labels (n,) and probabilities (n, 7) in ``bins`` bins of equal width."""
    return expected_error(reliability(labels, probabilities, bins))


def honest_error(curve: Mapping, draws: int = 4000, seed: int = 0) -> tuple[float, float, float]:
    """Calibration error of a perfectly calibrated network: (lowest, mean, highest) of 95 % of such networks.

    Even its error is not 0, since in a bin of a few predictions chance alone moves the share of right ones.
    Those of each bin are drawn ``draws`` times from a binomial distribution with the bin's own count and
    confidence (as in Vaicenavicius et al. 2019, arXiv:1902.06977, who test calibration by resampling).
    """
    count, confidence, _ = bins(curve)
    hits = np.random.default_rng(seed).binomial(count.astype(int), confidence, (draws, len(count)))
    errors = np.abs(hits - count * confidence).sum(1) / count.sum()
    low, high = percentile_interval(errors).tolist()
    return low, float(errors.mean()), high


def excess(curve: Mapping) -> tuple[float, float, float]:
    """Mean confidence minus accuracy, with its 95 % interval: above 0 is overconfident."""
    count, confidence, hits = bins(curve)
    low, high = wilson(hits.sum(), count.sum())
    mean = count @ confidence / count.sum()
    return float(mean - hits.sum() / count.sum()), float(mean - high), float(mean - low)


def rejection(curve: Mapping) -> dict[str, np.ndarray]:
    """What is left if predictions below a confidence are refused: one entry for each bin that is not empty.

    Gives threshold, coverage (the share of faces that get a prediction), accuracy of these predictions and
    interval (2, b), Wilson's at 95 %; the first entry refuses none.
    """
    count, _, hits = bins(curve)
    kept, right = (np.cumsum(each[::-1])[::-1] for each in (count, hits))
    there = count > 0
    return {
        "threshold": np.array(curve["edges"], float)[:-1][there],
        "coverage": kept[there] / count.sum(),
        "accuracy": right[there] / kept[there],
        "interval": wilson(right[there], kept[there]),
    }


def knowing(curve: Mapping) -> float:
    """Area under the ROC curve of the confidence: how often a right prediction has more than a wrong one.

    Estimated from bins, whose predictions count as equally sure: cautious where most crowd in a few bins.
    """
    count, _, hits = bins(curve)
    wrong = count - hits
    below = np.cumsum(wrong) - wrong
    pairs = hits.sum() * wrong.sum()
    return float((hits * (below + wrong / 2)).sum() / pairs) if pairs else float("nan")


# --- distances between sets of features ------------------------------------------------------------------


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """Fréchet distance between the Gaussians of two sets of features (Heusel et al. 2017, arXiv:1706.08500).

    a (n, d), b (m, d). It falls with the number of images: compare sets of equal size only.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    # The trace of the root of a product is the sum of the roots of its eigenvalues, which are not negative.
    roots = np.sqrt(np.maximum(np.linalg.eigvals(cov_a @ cov_b).real, 0)).sum()
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * roots)


def kernel_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Squared maximum mean discrepancy with the kernel (x·y/d + 1)^3, unbiased (arXiv:1801.01401).

    a (n, d), b (m, d). About 0 for two samples of one distribution, whatever their sizes.
    """
    from sklearn.metrics.pairwise import polynomial_kernel

    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    n, m = len(a), len(b)
    aa, bb, ab = polynomial_kernel(a), polynomial_kernel(b), polynomial_kernel(a, b)
    same = (aa.sum() - np.trace(aa)) / (n * (n - 1)) + (bb.sum() - np.trace(bb)) / (m * (m - 1))
    return float(same - 2 * ab.mean())


def coverage(real: np.ndarray, made: np.ndarray, k: int = 5) -> dict[str, float]:
    """Precision and recall (Kynkäänniemi et al. 2019, arXiv:1904.06991), density and coverage (Naeem et al.
    2020, arXiv:2002.09797).

    real (n, d), made (m, d). An image's ball reaches to its k-th neighbour of its own set. precision: share
    of made images in a real one's ball; recall: the reverse; density: in how many, over k; coverage: share
    of real balls that hold a made image.
    """
    from scipy.spatial.distance import cdist

    ball_real = np.sort(cdist(real, real), axis=1)[:, k]  # 0 is the image itself
    ball_made = np.sort(cdist(made, made), axis=1)[:, k]
    apart = cdist(real, made)
    inside = apart <= ball_real[:, None]
    return {
        "precision": float(inside.any(0).mean()),
        "recall": float((apart <= ball_made).any(1).mean()),
        "density": float(inside.sum(0).mean() / k),
        "coverage": float(inside.any(1).mean()),
    }


def diversity(features: np.ndarray) -> float:
    """Mean distance between two images of a set, (n, d)."""
    from scipy.spatial.distance import pdist

    return float(pdist(features).mean())


def nearest(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Distance of each of a (n, d) to the nearest of b (m, d), (n,)."""
    from sklearn.neighbors import NearestNeighbors

    return NearestNeighbors(n_neighbors=1, algorithm="brute").fit(b).kneighbors(a)[0][:, 0]


def copies(made: np.ndarray, train: np.ndarray, test: np.ndarray) -> dict[str, float]:
    """How many made images are nearer to a training image than real, unseen ones ever are.

    All (n, d). limit: 1st percentile of the test images' distances to training (without equal pixels,
    which a test set should not have); rate: share of made images below it, 1 % if they are as new as real
    ones; smallest: the least distance found.
    """
    unseen = nearest(test, train)
    limit = float(np.percentile(unseen[unseen > 1e-6], 1))
    found = nearest(made, train)
    return {"limit": limit, "rate": float((found < limit).mean()), "smallest": float(found.min())}
