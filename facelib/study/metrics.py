"""Metrics with intervals, and the one place that writes numbers down.

Whatever a notebook, the README or a report quotes stands in ``reports/metrics/NN-slug.json``, written by
``write_metrics`` with what is needed to obtain it again. A number without n and interval is not a result:
proportions carry Wilson's interval, other metrics a bootstrap one, both at 95 %.

Generated faces are compared with real ones by features, rows (n, d) of any network; which one is named
wherever a number is quoted. A distance means something only beside its floor: the same distance between two
sets of real pictures, and that of the codec's reconstructions.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from facelib import __version__, paths
from facelib.emotions import EMOTIONS, FerData
from facelib.training.calibration import checked_logs, macro_scores

#: Confusions that this project follows by name: (label, answer).
CONFUSIONS = (("fear", "surprise"), ("surprise", "fear"), ("fear", "sad"))
_FIELDS = ("n", "split", "data", "seed", "weights")
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
    payload: the keys "n", "split", "data", "seed" and "weights" become fields of the file, all others stand
        under "metrics"; a mapping under the key "metrics" is merged into them. Numpy scalars and arrays,
        tuples and paths may be values; numbers keep six significant digits, nan and infinity become null.
    command: how a reader obtains the numbers again, such as "facelib audit --dataset fer2013".
    data: the set (its digest is written) or a digest; weights: a weight file (its sha256 is written, first 16
        hex digits), or a digest. They go before the payload's.

    Every file has the fields metrics, n, split, data, seed, weights, command, version and date; what was not
    given is null. Keys are sorted. A file in which nothing but the date would change is left as it is.
    Raises ValueError for a slug that is no plain file name.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", slug):
        raise ValueError(f"{slug!r}: a slug has small letters, digits, - and _ only, such as 02-audit-toy")
    record = {key: payload.get(key) for key in _FIELDS}
    record["metrics"] = {k: v for k, v in payload.items() if k not in (*_FIELDS, "metrics")}
    record["metrics"] |= payload.get("metrics", {})
    record["data"] = data if data is not None else record["data"]
    if isinstance(record["data"], FerData):
        record["data"] = record["data"].digest
    weights = weights if weights is not None else record["weights"]
    if weights is not None and Path(weights).is_file():
        weights = paths.digest(weights)[:16]
    record |= {"weights": weights, "command": command, "version": __version__}
    record = json.loads(json.dumps(_plain(record)))  # as a reader will get it, so that it can be compared
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
    """What ``write_metrics`` wrote. Raises FileNotFoundError, or ValueError for a damaged file."""
    path = paths.metrics() / f"{slug}.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such metrics; run the command that makes them") from None
    except ValueError as error:
        raise ValueError(f"{path}: damaged ({error}); run the command that makes it again") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path}: damaged (no object); run the command that makes it again")
    return found


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


# --- intervals -------------------------------------------------------------------------------------------


def wilson(hits, n) -> np.ndarray:
    """Wilson's 95 % interval of proportions, (2, ...) float64 in [0, 1]; nan where n is 0 (Wilson 1927)."""
    hits, n = np.asarray(hits, np.float64), np.asarray(n, np.float64)
    z = 1.959963984540054
    with np.errstate(divide="ignore", invalid="ignore"):
        p = hits / n
        centre, spread = p + z * z / (2 * n), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return np.stack([np.maximum(centre - spread, 0), np.minimum(centre + spread, 1 + z * z / n)]) / (
            1 + z * z / n
        )


def classification_metrics(
    labels: np.ndarray, probabilities: np.ndarray, n_bootstrap: int = 2000, seed: int = 0
) -> dict:
    """How well seven-way answers fit the labels.

    labels (n,) in 0..6, probabilities (n, 7) whose rows sum to 1, both in the order of ``EMOTIONS``; n >= 1.

    Gives n, accuracy, balanced_accuracy (mean recall of the classes that occur), macro_f1 (mean over the
    classes that occur as label or answer), recall {emotion: ...}, confusion (7, 7) int64 (row label, column
    answer), fear_to_surprise, surprise_to_fear, fear_to_sad (share of the first's pictures that were answered
    with the second), ece (expected calibration error, 15 bins of equal width, Guo et al. 2017,
    arXiv:1706.04599). Each but confusion and ece has an "<name>_interval" (low, high) beside it: Wilson's for
    proportions; for the two means, percentiles of ``n_bootstrap`` resamples of the pictures.

    Raises ValueError for wrong shapes or values.
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, np.float64)
    k = len(EMOTIONS)
    if labels.ndim != 1 or not len(labels) or probabilities.shape != (len(labels), k):
        raise ValueError(
            f"wanted labels (n,) and probabilities (n, {k}), got {labels.shape} and {probabilities.shape}"
        )
    if not np.isin(labels, range(k)).all():
        raise ValueError(f"labels go from 0 to {k - 1}")
    if not (probabilities >= 0).all() or np.abs(probabilities.sum(1) - 1).max() > 1e-3:
        raise ValueError("probabilities are not negative and sum to 1 in each row (logits need a softmax)")
    n, answers = len(labels), probabilities.argmax(1)
    confusion = np.bincount(labels.astype(np.int64) * k + answers, minlength=k * k).reshape(k, k)
    # All that follows depends on the pictures through the confusion matrix only, so resampling the pictures
    # is a multinomial draw of its 49 cells: 2,000 resamples take milliseconds.
    drawn = np.random.default_rng(seed).multinomial(n, confusion.ravel() / n, size=n_bootstrap)
    names = ("balanced_accuracy", "macro_f1")
    resampled = dict(zip(names, macro_scores(drawn.reshape(-1, k, k)), strict=True))
    found = {"n": n, "confusion": confusion, "ece": expected_calibration_error(labels, probabilities)}
    for name, value in zip(names, macro_scores(confusion[None]), strict=True):
        interval = np.percentile(resampled[name], (2.5, 97.5)) if n_bootstrap else (np.nan, np.nan)
        found |= {name: float(value[0]), f"{name}_interval": tuple(map(float, interval))}
    totals = confusion.sum(1)
    found |= _proportion("accuracy", confusion.trace(), n)
    for label, answer in CONFUSIONS:
        row, column = EMOTIONS.index(label), EMOTIONS.index(answer)
        found |= _proportion(f"{label}_to_{answer}", confusion[row, column], totals[row])
    recalls = [_proportion("recall", confusion[i, i], totals[i]) for i in range(k)]
    for key in ("recall", "recall_interval"):
        found[key] = {emotion: recall[key] for emotion, recall in zip(EMOTIONS, recalls, strict=True)}
    return found


def expected_calibration_error(labels: np.ndarray, probabilities: np.ndarray, bins: int = 15) -> float:
    """Mean gap between confidence and accuracy over ``bins`` bins of equal width, weighted by pictures."""
    confidence, hits = probabilities.max(1), probabilities.argmax(1) == labels
    place = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    gaps = np.bincount(place, hits, minlength=bins) - np.bincount(place, confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(labels))


def _proportion(name: str, hits: int, n: int) -> dict:
    return {
        name: float(hits / n) if n else np.nan,
        f"{name}_interval": tuple(map(float, wilson(hits, n))),
    }


# --- what a reliability curve says in one number ---------------------------------------------------------


def bins(curve: Mapping) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """count, confidence and right answers of each bin, (b,) each, the confidence 0 where a bin is empty."""
    count = np.array(curve["count"], float)
    confidence, accuracy = (np.nan_to_num(np.array(curve[k], float)) for k in ("confidence", "accuracy"))
    return count, confidence, np.rint(accuracy * count)


def expected_error(curve: Mapping) -> float:
    """The expected calibration error: mean gap between confidence and accuracy, weighted by answers."""
    count, confidence, hits = bins(curve)
    return float(np.abs(hits - count * confidence).sum() / count.sum())


def honest_error(curve: Mapping, draws: int = 4000, seed: int = 0) -> tuple[float, float, float]:
    """What an honest network would show: (lowest, mean, highest) calibration error of 95 % of such networks.

    Honest: of answers given with confidence p, a share p is right. Even that network's error is not 0, since
    in a bin of a few answers luck alone moves the share. The right answers of each bin are drawn ``draws``
    times from a binomial distribution with the bin's own count and confidence (as in Vaicenavicius et al.
    2019, arXiv:1902.06977, who test calibration by resampling).
    """
    count, confidence, _ = bins(curve)
    hits = np.random.default_rng(seed).binomial(count.astype(int), confidence, (draws, len(count)))
    errors = np.abs(hits - count * confidence).sum(1) / count.sum()
    low, high = np.percentile(errors, (2.5, 97.5))
    return float(low), float(errors.mean()), float(high)


def excess(curve: Mapping) -> tuple[float, float, float]:
    """Mean confidence minus accuracy, with its 95 % interval: above 0 is too sure, below 0 too modest."""
    count, confidence, hits = bins(curve)
    low, high = wilson(hits.sum(), count.sum())
    mean = count @ confidence / count.sum()
    return float(mean - hits.sum() / count.sum()), float(mean - high), float(mean - low)


def rejection(curve: Mapping) -> dict[str, np.ndarray]:
    """What is left if answers below a confidence are refused: one entry for each bin that is not empty.

    Gives threshold, coverage (the share of faces that get an answer), accuracy of these answers and interval
    (2, b), Wilson's at 95 %; the first entry refuses nobody.
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
    """How often a right answer was given with more confidence than a wrong one: 0.5 knows nothing, 1 all.

    The area under the ROC curve of the confidence, from bins: answers in one bin count as equally sure, which
    makes it a cautious estimate where most answers crowd in a few bins.
    """
    count, _, hits = bins(curve)
    wrong = count - hits
    below = np.cumsum(wrong) - wrong
    pairs = hits.sum() * wrong.sum()
    return float((hits * (below + wrong / 2)).sum() / pairs) if pairs else float("nan")


# --- distances between sets of features ------------------------------------------------------------------


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """Fréchet distance between the Gaussians of two sets of features (Heusel et al. 2017, arXiv:1706.08500).

    a (n, d), b (m, d). It falls with the number of pictures: compare sets of equal size only.
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
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    n, m, d = len(a), len(b), a.shape[1]
    aa, bb, ab = ((x @ y.T / d + 1) ** 3 for x, y in ((a, a), (b, b), (a, b)))
    same = (aa.sum() - np.trace(aa)) / (n * (n - 1)) + (bb.sum() - np.trace(bb)) / (m * (m - 1))
    return float(same - 2 * ab.mean())


def coverage(real: np.ndarray, made: np.ndarray, k: int = 5) -> dict[str, float]:
    """Precision and recall (Kynkäänniemi et al. 2019, arXiv:1904.06991), density and coverage (Naeem et al.
    2020, arXiv:2002.09797).

    real (n, d), made (m, d). A picture's ball reaches to its k-th neighbour of its own set. precision: share
    of made pictures in a real one's ball; recall: the reverse; density: in how many, over k; coverage: share
    of real balls that hold a made picture.
    """
    from scipy.spatial.distance import cdist

    ball_real = np.sort(cdist(real, real), axis=1)[:, k]  # 0 is the picture itself
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
    """Mean distance between two pictures of a set, (n, d)."""
    from scipy.spatial.distance import pdist

    return float(pdist(features).mean())


def nearest(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Distance of each of a (n, d) to the nearest of b (m, d), (n,)."""
    from sklearn.neighbors import NearestNeighbors

    return NearestNeighbors(n_neighbors=1, algorithm="brute").fit(b).kneighbors(a)[0][:, 0]


def copies(made: np.ndarray, train: np.ndarray, test: np.ndarray) -> dict[str, float]:
    """How many made pictures are nearer to a training picture than real, unseen ones ever are.

    All (n, d). limit: 1st percentile of the test pictures' distances to training (without equal pixels,
    which a test set should not have); rate: share of made pictures below it, 1 % if they are as new as real
    ones; smallest: the least distance found.
    """
    unseen = nearest(test, train)
    limit = float(np.percentile(unseen[unseen > 1e-6], 1))
    found = nearest(made, train)
    return {"limit": limit, "rate": float((found < limit).mean()), "smallest": float(found.min())}


def reliability(labels: np.ndarray, probabilities: np.ndarray, bins: int = 15) -> dict:
    """A reliability curve: how often answers are right that were given with about the same confidence.

    labels (n,) in 0..6, probabilities (n, 7). The bins have equal width and are those of
    ``expected_calibration_error``. Gives edges (bins + 1,), count (bins,) int64, confidence and
    accuracy (bins,), their means in each bin, and accuracy_interval (2, bins), Wilson's at 95 %; nan in an
    empty bin. Raises ValueError for wrong input.
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
