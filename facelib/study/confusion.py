"""Why two expressions are confused: how often, where the classes meet, who is wrong, and what decides.

Arrays in, plain dicts and arrays out. ``predict`` is any callable from network inputs (n, 48, 48, 1) float32
in [0, 1] to probabilities (n, 7), such as ``predictor`` of a Keras model. Labels and predictions are (n,) in
0..6. Intervals are 95 %. Which part of a face decides is seen by covering it square by square, and by
changing one muscle of a synthetic face at a time.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from facelib.data import duplicates, ferplus, synthetic_drawing
from facelib.data.fer2013 import for_training
from facelib.data.synthetic_drawing import PROTOTYPES
from facelib.emotions import EMOTIONS, FerData
from facelib.errors import InputError
from facelib.models.emotion import EMOTION_SIDE, emotion_inputs
from facelib.study import metrics
from facelib.training import calibration

Predict = Callable[[np.ndarray], np.ndarray]
_K, _SIDE = len(EMOTIONS), EMOTION_SIDE
_FEAR, _SURPRISE = EMOTIONS.index("fear"), EMOTIONS.index("surprise")
#: The pairs that the question is about.
PAIRS = (("fear", "surprise"), ("fear", "sad"))
#: The squares that ``occlusion`` hides: their side and how far one lies from the next, in pixels.
SQUARE, STRIDE = 8, 4


# --- networks as functions -------------------------------------------------------------------------------


def predictor(model) -> Predict:
    """A Keras model as a function from inputs to float32 arrays."""
    return lambda inputs: np.asarray(model.predict(inputs, batch_size=512, verbose=0), np.float32)


def body(model):
    """The Keras model up to what its last layer reads: the penultimate features."""
    from facelib.backend import keras

    return keras.Model(model.inputs, model.layers[-1].input)


# --- how often -------------------------------------------------------------------------------------------


def shares(labels: np.ndarray, predictions: np.ndarray) -> dict:
    """counts (7, 7) int64, row label, column prediction; share of the row; low, high: its Wilson interval."""
    counts = metrics.confusion_counts(labels, predictions)
    totals = counts.sum(1, keepdims=True)
    low, high = metrics.wilson(counts, np.broadcast_to(totals, counts.shape))
    with np.errstate(invalid="ignore"):
        return {"counts": counts, "share": counts / totals, "low": low, "high": high}


def rivals(labels, predictions) -> dict:
    """Of the images of fear that were predicted to be sad or surprise: is it sad more often?

    Gives n (all images of fear), the two counts by name, share (of sad, among the two), its interval and p
    (exact binomial test of one half): both counts come from the same images, so two intervals side by side
    would not do.
    """
    from scipy.stats import binomtest

    fear = metrics.confusion_counts(labels, predictions)[_FEAR].tolist()
    a, b = fear[EMOTIONS.index("sad")], fear[_SURPRISE]
    p = binomtest(a, a + b).pvalue if a + b else 1.0
    return {"n": sum(fear), "sad": a, "surprise": b, "p": p, **_share(a, a + b)}


def _share(hits: int, n: int) -> dict:
    found = metrics.proportion("share", hits, n)
    return {"share": found["share"], "interval": found["share_interval"]}


# --- where the classes meet ------------------------------------------------------------------------------


def neighbours(features: np.ndarray, labels: np.ndarray, k: int = 10) -> dict:
    """Whose images lie nearest: shares of the labels among each image's ``k`` nearest others (cosine).

    features (n, d), without copies of an image, which would be its neighbours. Gives share (7, 7), row the
    image's label and column its neighbours'; expected (7, 7), what chance would give, from the frequencies of
    the classes; index (n, k), nearest first.
    """
    from sklearn.neighbors import NearestNeighbors

    finder = NearestNeighbors(n_neighbors=k, metric="cosine", algorithm="brute").fit(features)
    index = finder.kneighbors(return_distance=False)  # without the image itself
    mine = (labels[index][..., None] == np.arange(_K)).mean(1)  # (n, 7)
    counts = np.bincount(labels, minlength=_K)
    share = np.full((_K, _K), np.nan)
    for i in np.flatnonzero(counts):
        share[i] = mine[labels == i].mean(0)
    expected = (counts - np.eye(_K)) / (len(labels) - 1)
    return {"k": k, "share": share, "expected": expected, "index": index}


def auc(scores: np.ndarray, positive: np.ndarray) -> tuple[float, float, float]:
    """Area under the ROC curve with DeLong's interval (1988): (area, low, high); nan below two of a class."""
    from scipy.stats import rankdata

    a, b = scores[positive], scores[~positive]
    if len(a) < 2 or len(b) < 2:
        return np.nan, np.nan, np.nan
    ranks = rankdata(np.concatenate([a, b]))
    above = (ranks[: len(a)] - rankdata(a)) / len(b)  # of each positive, the share of negatives below it
    below = 1 - (ranks[len(a) :] - rankdata(b)) / len(a)
    area = above.mean()
    spread = 1.96 * math.sqrt(above.var(ddof=1) / len(a) + below.var(ddof=1) / len(b))
    return float(area), float(max(area - spread, 0)), float(min(area + spread, 1))


def separability(
    features: np.ndarray, labels: np.ndarray, pairs: Iterable[tuple[str, str]] = (), seed: int = 0
) -> dict:
    """How well a linear classifier of the features tells each two classes apart: AUC in five folds.

    A logistic regression (standardised features, C = 0.001) for each pair; every image is scored by the one
    that has not seen it, so features (n, d) must be without copies. pairs: of emotions, none for all. Gives
    n (7,), area, low, high (7, 7), symmetric, nan where a class has fewer than ten images.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    counts = np.bincount(labels, minlength=_K)
    found = np.full((3, _K, _K), np.nan)
    wanted = [tuple(map(EMOTIONS.index, pair)) for pair in pairs] or itertools.combinations(range(_K), 2)
    for i, j in wanted:
        if min(counts[i], counts[j]) < 10:
            continue
        rows = np.flatnonzero((labels == i) | (labels == j))
        probe = make_pipeline(StandardScaler(), LogisticRegression(C=1e-3, class_weight="balanced"))
        parts = StratifiedKFold(5, shuffle=True, random_state=seed)
        positive = labels[rows] == i
        scores = cross_val_predict(probe, features[rows], positive, cv=parts, method="decision_function")
        found[:, i, j] = found[:, j, i] = auc(scores, positive)
    return {"n": counts, "area": found[0], "low": found[1], "high": found[2]}


# --- who is wrong ----------------------------------------------------------------------------------------


def opinions(data: FerData) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """PrivateTest's rows with an undivided FER+ majority, and what is said of them.

    Returns rows (n,) and {"label": (n,), "majority": (n,)}, for synthetic faces also "truth", all on the same
    rows.
    """
    rows, majority = ferplus.views(data)["majority"]
    said = {"majority": majority}
    if "PrivateTest" in data.extra:
        true = data.extra["PrivateTest"].emotion[rows]
        rows, said = rows[true >= 0], {"majority": majority[true >= 0], "truth": true[true >= 0]}
    return rows, {"label": data.private_test.labels[rows], **said}


def verdicts(labels, predictions, opinion, label="fear", prediction="surprise") -> dict:
    """Of the images with ``label`` that were predicted to be ``prediction``: which does the opinion share?

    Gives n and the counts with_answer (the prediction), with_label, neither; share of with_answer and its
    interval.
    """
    row, column = EMOTIONS.index(label), EMOTIONS.index(prediction)
    there = opinion[(labels == row) & (predictions == column)]
    agreed, other = int((there == column).sum()), int((there == row).sum())
    counts = {"with_answer": agreed, "with_label": other, "neither": len(there) - agreed - other}
    return {"n": len(there), **counts, **_share(agreed, len(there))}


def people(votes: np.ndarray) -> dict:
    """How one annotator reads what the others agree on: counts, share (7, 7), row their vote, column his.

    votes (n, 10) as in ``Split.votes``. Each vote for an emotion in turn is compared with the single leading
    emotion of the image's other voters. Votes on one image are not independent, so there is no interval.
    """
    seven, counts = ferplus.emotion_votes(votes).astype(np.int64), np.zeros((_K, _K), np.int64)
    for i in range(_K):
        cast = seven[:, i]
        rest = seven - np.eye(_K, dtype=np.int64)[i]
        single = (cast > 0) & ((rest == rest.max(1, keepdims=True)).sum(1) == 1)
        np.add.at(counts[:, i], rest[single].argmax(1), cast[single])
    with np.errstate(invalid="ignore"):
        return {"counts": counts, "share": counts / counts.sum(1, keepdims=True)}


def followed(found: Mapping[str, Mapping]):
    """Recall of fear and the confusions that we follow (``metrics.CONFUSIONS``), as a DataFrame of text.

    found: title of a column -> what ``shares`` gave (then with intervals) or ``people``.
    """
    import pandas as pd

    pairs = (("fear", "fear"), *metrics.CONFUSIONS)
    table = {}
    for title, one in found.items():
        cells = []
        for i, j in (tuple(map(EMOTIONS.index, pair)) for pair in pairs):
            value = one["share"][i][j]
            ends = [one[end][i][j] for end in ("low", "high") if end in one]
            cells.append(metrics.with_interval(value, ends, 0) if ends else f"{value:.0%}")
        table[title] = cells
    return pd.DataFrame(table, [f"{a} → {b}" for a, b in pairs])


# --- what a bias buys ------------------------------------------------------------------------------------


def point(labels: np.ndarray, probabilities: np.ndarray, bias=0.0) -> dict:
    """Metrics, with fear's precision, of predictions with a bias (a number or (7,)) on log probabilities."""
    shifted = calibration.apply_calibration(probabilities, 1.0, bias)
    found = metrics.classification_metrics(labels, shifted, n_bootstrap=0)
    names = ("accuracy", "macro_f1", "fear_to_surprise", "surprise_to_fear", "fear_to_sad")
    row = {name: found[name] for name in names}
    row |= {f"{name}_recall": found["recall"][name] for name in ("fear", "surprise", "sad")}
    row |= {f"{name}_interval": found["recall_interval"][name] for name in ("fear", "surprise", "sad")}
    predicted = found["confusion"][:, _FEAR]
    return row | metrics.proportion("precision", predicted[_FEAR], predicted.sum())


def bias_curve(labels: np.ndarray, probabilities: np.ndarray) -> dict:
    """``point`` for each bias from -2 to 2 on fear alone: bias, and each of the numbers, as arrays (41,)."""
    biases = np.arange(-20, 21) / 10
    rows = [point(labels, probabilities, b * np.eye(_K)[_FEAR]) for b in biases]
    names = [name for name in rows[0] if not name.endswith("interval")]
    return {"bias": biases} | {name: np.array([row[name] for row in rows]) for name in names}


def tuned(data: FerData, public: np.ndarray, private: np.ndarray, seed: int = 0) -> dict:
    """The bias that ``calibration.tune_bias`` chooses on PublicTest, and PrivateTest before and after it."""
    bias, _ = calibration.tune_bias(data.public_test.labels, public, seed=seed)
    labels = data.private_test.labels
    return {"bias": bias, "before": point(labels, private), "after": point(labels, private, bias)}


# --- what part of a face decides -------------------------------------------------------------------------


def fear_over_surprise(probabilities: np.ndarray) -> np.ndarray:
    """log p(fear) - log p(surprise), (n,): positive where fear is the likelier of the two."""
    logs = np.log(np.maximum(probabilities, 1e-7))
    return logs[:, _FEAR] - logs[:, _SURPRISE]


def occlusion(predict: Predict, images: np.ndarray) -> np.ndarray:
    """How much each square of images (n, 48, 48) uint8 speaks for fear against surprise: (n, 11, 11).

    Each square in turn is filled with the mean gray of its own image; what ``fear_over_surprise`` *loses* is
    the square's share in it (Zeiler & Fergus 2014, arXiv:1311.2901). Positive: it spoke for fear; negative:
    for surprise. A covered image is itself one that the network never saw, so trust means over many faces,
    not one.
    """
    inputs = emotion_inputs(images)
    gray = inputs.mean((1, 2, 3))[:, None, None, None]
    corners = range(0, _SIDE - SQUARE + 1, STRIDE)
    whole = fear_over_surprise(predict(inputs))
    maps = np.empty((len(images), len(corners), len(corners)))
    for (row, y), (column, x) in itertools.product(enumerate(corners), repeat=2):
        hidden = inputs.copy()
        hidden[:, y : y + SQUARE, x : x + SQUARE] = gray
        maps[:, row, column] = whole - fear_over_surprise(predict(hidden))
    return maps


def to_pixels(maps: np.ndarray) -> np.ndarray:
    """Maps of squares (..., 11, 11) -> (..., 48, 48): each pixel has the mean of the squares over it."""
    sums, covered = np.zeros((*maps.shape[:-2], _SIDE, _SIDE)), np.zeros((_SIDE, _SIDE))
    for row, column in np.ndindex(maps.shape[-2:]):
        y, x = row * STRIDE, column * STRIDE
        sums[..., y : y + SQUARE, x : x + SQUARE] += maps[..., row, column, None, None]
        covered[y : y + SQUARE, x : x + SQUARE] += 1
    return sums / covered


def draw(units: Sequence[dict], persons: Iterable[int]) -> np.ndarray:
    """Frontal synthetic faces, (len(units), persons, 48, 48) uint8: each expression on each of the persons.

    units: {"AU1": 0.9, ...} from 0 to 1, as in ``synthetic_drawing.UNITS``; persons: as in
    ``synthetic_faces.draw_face``.
    """
    persons = np.fromiter(persons, np.int64)
    strengths = np.array([[each.get(unit, 0.0) for unit in synthetic_drawing.UNITS] for each in units])
    strengths, who = np.repeat(strengths, len(persons), 0), np.tile(persons, len(units))
    shots = synthetic_drawing.SHOTS
    middle = synthetic_drawing.spread(shots, np.full((len(who), len(shots)), 0.5))
    images = synthetic_drawing.render(synthetic_drawing.traits(who), middle, strengths)
    return images.reshape(len(units), len(persons), _SIDE, _SIDE)


def matched_faces(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Synthetic faces of fear and surprise that only the units of the expert's table tell apart.

    images (n, 48, 48) uint8, labels (n,). Brows, lids and jaw (AU1, AU2, AU5, AU26) are as strong in both;
    a face of fear has AU4, AU20 or both, one of surprise neither. Poses go half as far as ``SHOTS``.
    """
    rng, names = np.random.default_rng(seed), list(synthetic_drawing.UNITS)
    fear, which = rng.random(n) < 0.5, rng.integers(3, size=n)
    strengths = np.zeros((n, len(names)))
    for unit in ("AU1", "AU2", "AU5", "AU26"):
        strengths[:, names.index(unit)] = rng.uniform(0.4, 1, n)
    for i, unit in enumerate(("AU20", "AU4")):
        strengths[:, names.index(unit)] = rng.uniform(0.4, 1, n) * (fear & (which != i))
    shots = synthetic_drawing.SHOTS
    taken = synthetic_drawing.spread(shots, 0.25 + 0.5 * rng.random((n, len(shots))))
    images = synthetic_drawing.render(synthetic_drawing.traits(rng.integers(10**6, size=n)), taken, strengths)
    return images, np.where(fear, _FEAR, _SURPRISE)


def way(units: Iterable[str], share: float) -> dict[str, float]:
    """The expression of surprise with these units a share of the way to their strength in fear."""
    a, b = PROTOTYPES["surprise"], PROTOTYPES["fear"]
    return {**a, **{unit: (1 - share) * a.get(unit, 0) + share * b.get(unit, 0) for unit in units}}


def ladder(predict: Predict, steps: Sequence[dict], persons: Iterable[int]) -> np.ndarray:
    """Probabilities (steps, persons, 7) along a path of expressions, each on each person."""
    images = draw(steps, persons)
    return predict(emotion_inputs(images.reshape(-1, _SIDE, _SIDE))).reshape(*images.shape[:2], _K)


def unit_shares(predict: Predict, persons: Iterable[int]) -> dict[str, dict]:
    """What each action unit contributes when surprise becomes fear: Shapley values (1953).

    The units in which the prototypes differ are switched from the one's strength to the other's in all
    combinations; a unit's value is what switching it adds to ``fear_over_surprise``, averaged over all orders
    in which they can be switched, so that the values add up to the whole difference. Gives for each unit
    "from", "to" (strengths), value (mean over the persons), interval, and each (persons,).
    """
    a, b = PROTOTYPES["surprise"], PROTOTYPES["fear"]
    names = sorted({*a, *b}, key=lambda unit: int(unit[2:]))
    names = [unit for unit in names if a.get(unit, 0.0) != b.get(unit, 0.0)]
    m, codes = len(names), range(2 ** len(names))
    mixes = [{**a, **{u: b.get(u, 0.0) for i, u in enumerate(names) if code >> i & 1}} for code in codes]
    probabilities = ladder(predict, mixes, persons)
    worth = fear_over_surprise(probabilities.reshape(-1, _K)).reshape(len(mixes), -1)  # (2**m, persons)
    found = {}
    for i, unit in enumerate(names):
        each = 0.0
        for code in (code for code in codes if not code >> i & 1):
            size = code.bit_count()
            weight = math.factorial(size) * math.factorial(m - size - 1) / math.factorial(m)
            each = each + weight * (worth[code | 1 << i] - worth[code])
        mean, half = each.mean(), 1.96 * each.std() / math.sqrt(len(each))
        found[unit] = {"from": a.get(unit, 0.0), "to": b.get(unit, 0.0), "value": float(mean)}
        found[unit] |= {"interval": (float(mean - half), float(mean + half)), "each": each}
    return found


# --- the verdict -----------------------------------------------------------------------------------------


def suspects(found: Mapping) -> dict[str, dict[str, str]]:
    """Notebook 03's verdicts: for each confusion the evidence, from ``measure``'s parts, and who is to blame.

    found: "confusion", "views", "people", and "relabelled". For each of ``PAIRS`` the columns label,
    majority (the confusion's share against either), annotator (how often one annotator makes it, against
    the nine others), cut (AUC of a straight cut of the features, taught and tested by the majority) and
    verdict. The labels are to blame where the share against the majority is significantly (intervals apart)
    smaller than against the label; the faces, where annotators make the confusion at least three quarters as
    often as the network does; else the network. A confusion may be several's.
    """
    table = {}
    for a, b in PAIRS:
        i, j = EMOTIONS.index(a), EMOTIONS.index(b)
        label, majority = (found["views"][name] for name in ("label", "majority"))
        person = found["people"]["share"][i][j]
        by_majority = majority["share"][i][j]
        blame = []
        if majority["high"][i][j] < label["low"][i][j]:
            blame.append("the labels")
        elif person >= 0.75 * by_majority:
            blame.append("the faces")
        if person < 0.75 * by_majority:
            blame.append("the network")
        shown = "{:.0%} [{:.0%} to {:.0%}]"
        table[f"{a} → {b}"] = {
            "against the label": shown.format(*(label[key][i][j] for key in ("share", "low", "high"))),
            "against the majority": shown.format(*(majority[key][i][j] for key in ("share", "low", "high"))),
            "one annotator": f"{person:.0%}",
            "AUC by the majority": f"{found['relabelled']['majority']['area'][i][j]:.2f}",
            "verdict": " and ".join(blame),
        }
    return table


# --- everything, on record -------------------------------------------------------------------------------


def unseen(data: FerData) -> tuple[np.ndarray, np.ndarray]:
    """Both test splits' images and labels, without copies of Training's images and of each other."""
    images = np.concatenate([data.public_test.images, data.private_test.images])
    labels = np.concatenate([data.public_test.labels, data.private_test.labels])
    seen = duplicates.duplicate_groups(np.concatenate([data.train.images, images]))
    groups = seen[len(data.train) :]
    first = np.unique(groups, return_index=True)[1]
    rows = np.sort(first[~np.isin(groups[first], seen[: len(data.train)])])
    return images[rows], labels[rows]


def _without(found: dict, key: str) -> dict:
    return {name: value for name, value in found.items() if name != key}


def measure(data: FerData, model, seed: int = 0, faces: int = 200) -> dict:
    """All that notebook 03 asks of a Keras model on a set with FER+ votes, as ``record`` writes it.

    faces: so many of PrivateTest's images of fear, and of surprise, are hidden square by square.
    """
    predict, features, test = predictor(model), predictor(body(model)), data.private_test
    public, private = (predict(emotion_inputs(s.images)) for s in (data.public_test, test))
    predictions = private.argmax(1)
    rows, said = opinions(data)
    images, labels = unseen(data)
    of_unseen, of_test = (features(emotion_inputs(each)) for each in (images, test.images[rows]))
    hidden = {name: test.images[test.labels == EMOTIONS.index(name)][:faces] for name in ("fear", "surprise")}
    return {
        "n": len(test),
        "split": "PrivateTest",
        "seed": seed,
        "confusion": shares(test.labels, predictions),
        "rivals": rivals(test.labels, predictions),
        "views": {name: shares(marks, predictions[rows]) for name, marks in said.items()},
        "people": people(test.votes),
        "verdicts": {
            f"{a}_to_{b}": {
                name: verdicts(said["label"], predictions[rows], marks, a, b)
                for name, marks in said.items()
                if name != "label"
            }
            for a, b in metrics.CONFUSIONS
        },
        "features": {
            "n": len(labels),
            "split": "PublicTest and PrivateTest without copies",
            "neighbours": _without(neighbours(of_unseen, labels), "index"),
            "separability": separability(of_unseen, labels, seed=seed),
        },
        "relabelled": {name: separability(of_test, marks, PAIRS, seed=seed) for name, marks in said.items()},
        "units": {unit: _without(row, "each") for unit, row in unit_shares(predict, range(40)).items()},
        "occlusion": {name: occlusion(predict, each).mean(0) for name, each in hidden.items()}
        | {"faces": {name: len(each) for name, each in hidden.items()}},
        "bias": {"curve": bias_curve(test.labels, private), "tuned": tuned(data, public, private, seed)},
    }


def record(
    data: FerData, model, name: str = "baseline", seed: int = 0, weights: str | Path | None = None
) -> Path:
    """Measure, write ``reports/metrics/03-confusion-<set>.json`` and return its path.

    name: what the model is called on the command line. weights: its weight file; None: the digest of the
    numbers themselves is written. Raises InputError for a set without FER+ votes.
    """
    data = for_training(data, "PrivateTest")
    if data.private_test.votes is None:
        raise InputError(
            f"{data.source} has no FER+ votes, which half of the questions need; see data/README.md"
        )
    if weights is None:
        digest = hashlib.sha256()
        for values in model.get_weights():
            digest.update(np.ascontiguousarray(values, "<f4").tobytes())
        weights = digest.hexdigest()[:16]
    found = {**measure(data, model, seed), "model": name}
    command = f"facelib experiment confusion --dataset {data.option} --model {name}"
    slug = f"03-confusion-{data.slug}"
    return metrics.write_metrics(slug, found, command=command, data=data, weights=weights)
