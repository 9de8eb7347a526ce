"""Why two expressions are mixed up: which way, where the classes meet, what decides, and whose fault it is.

Arrays in, plain dicts and arrays out. ``predict`` is any callable that takes network inputs (n, 48, 48, 1)
float32 in [0, 1] and gives probabilities (n, 7); ``reader`` makes one of a Keras model. Labels and answers
are (n,) in 0..6. Intervals are 95 %. Faces are covered square by
square, or drawn with one muscle more at a time, to see what part of a face decides.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from facelib.data import duplicates, ferplus, synthetic_drawing
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
BIASES = tuple(np.arange(-20, 21) / 10)
#: The squares that ``occlusion`` hides: their side and how far one lies from the next, in pixels.
SQUARE, STRIDE = 8, 4
#: Parts of a face that looks straight at us, as x0, y0, x1, y1 in the pixels of a drawn passport photograph.
PARTS = {
    "brows": (8, 9, 40, 17),
    "eyes": (8, 17, 40, 25),
    "nose": (16, 25, 32, 33),
    "mouth": (10, 33, 38, 46),
}


# --- networks as functions -------------------------------------------------------------------------------


def reader(model, batch_size: int = 512) -> Predict:
    """A Keras model as a function from inputs to float32 arrays."""
    return lambda inputs: np.asarray(model.predict(inputs, batch_size=batch_size, verbose=0), np.float32)


def body(model):
    """The Keras model up to what its last layer reads: the penultimate features."""
    from facelib.backend import keras

    return keras.Model(model.inputs, model.layers[-1].input)


# --- which way -------------------------------------------------------------------------------------------


def shares(labels: np.ndarray, answers: np.ndarray) -> dict:
    """counts (7, 7) int64, row label, column answer; share of the row; its interval low, high (Wilson)."""
    counts = np.bincount(labels * _K + answers, minlength=_K * _K).reshape(_K, _K)
    totals = counts.sum(1, keepdims=True)
    low, high = metrics.wilson(counts, np.broadcast_to(totals, counts.shape))
    with np.errstate(invalid="ignore"):
        return {"counts": counts, "share": counts / totals, "low": low, "high": high}


def rivals(labels, answers, label="fear", first="sad", second="surprise") -> dict:
    """Of the pictures with ``label`` that were answered with either rival: is it the first more often?

    Gives n (all pictures with the label), the two counts by name, share (of the first, among the two), its
    interval and p (exact binomial test of one half). Both counts come from the same pictures, so two
    intervals side by side would not do.
    """
    from scipy.stats import binomtest

    there = labels == EMOTIONS.index(label)
    a, b = (int((answers[there] == EMOTIONS.index(name)).sum()) for name in (first, second))
    low, high = metrics.wilson(a, a + b)
    share, p = (a / (a + b), binomtest(a, a + b).pvalue) if a + b else (np.nan, 1.0)
    return {"n": int(there.sum()), first: a, second: b, "share": share, "interval": (low, high), "p": p}


# --- where the classes meet ------------------------------------------------------------------------------


def neighbours(features: np.ndarray, labels: np.ndarray, k: int = 10) -> dict:
    """Whose pictures lie nearest: shares of the labels among each picture's ``k`` nearest others (cosine).

    features (n, d). Gives share (7, 7), row the picture's label and column its neighbours'; half, the half
    width of its interval over the pictures of the row; expected (7, 7), what chance would give, from the
    frequencies of the classes; index (n, k), who they are, nearest first. Copies of a picture would be its
    own neighbours: take them out first.
    """
    from sklearn.neighbors import NearestNeighbors

    finder = NearestNeighbors(n_neighbors=k, metric="cosine", algorithm="brute").fit(features)
    index = finder.kneighbors(return_distance=False)  # without the picture itself
    mine = (labels[index][..., None] == np.arange(_K)).mean(1)  # (n, 7)
    counts = np.bincount(labels, minlength=_K)
    share, half = np.full((2, _K, _K), np.nan)
    for i in np.flatnonzero(counts):
        rows = mine[labels == i]
        share[i], half[i] = rows.mean(0), 1.96 * rows.std(0) / math.sqrt(len(rows))
    expected = (counts - np.eye(_K)) / (len(labels) - 1)
    return {"k": k, "share": share, "half": half, "expected": expected, "index": index}


def auc(scores: np.ndarray, positive: np.ndarray) -> tuple[float, float, float]:
    """Area under the ROC curve with DeLong's interval (1988): (area, low, high); nan for an empty class.

    It is how often a positive picture scores higher than a negative one, drawn at random: 0.5 is guessing.
    """
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
    features: np.ndarray,
    labels: np.ndarray,
    pairs: Iterable[tuple[str, str]] = (),
    folds: int = 5,
    seed: int = 0,
) -> dict:
    """How well a straight cut through the features tells each two classes apart: cross-validated AUC.

    A logistic regression (standardised features, C = 0.001) for each pair; every picture is scored by the
    one that has not seen it. pairs: of emotions, none for all. Gives n (7,), area, low, high (7, 7),
    symmetric, nan where a class has fewer than ``2 * folds`` pictures. Copies of a picture would be scored by
    what has seen them: take them out.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    counts = np.bincount(labels, minlength=_K)
    found = np.full((3, _K, _K), np.nan)
    wanted = [tuple(map(EMOTIONS.index, pair)) for pair in pairs] or itertools.combinations(range(_K), 2)
    for i, j in wanted:
        if min(counts[i], counts[j]) < 2 * folds:
            continue
        rows = np.flatnonzero((labels == i) | (labels == j))
        probe = make_pipeline(StandardScaler(), LogisticRegression(C=1e-3, class_weight="balanced"))
        parts = StratifiedKFold(folds, shuffle=True, random_state=seed)
        scores = cross_val_predict(
            probe, features[rows], labels[rows] == i, cv=parts, method="decision_function"
        )
        found[:, i, j] = found[:, j, i] = auc(scores, labels[rows] == i)
    return {"n": counts, "area": found[0], "low": found[1], "high": found[2]}


# --- whose fault -----------------------------------------------------------------------------------------


def opinions(data: FerData) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """PrivateTest's rows with an undivided FER+ majority, and what is said of them.

    Returns rows (n,) and {"label": (n,), "majority": (n,)}, and on drawn faces "truth", all on the same rows.
    """
    rows, majority = ferplus.views(data)["majority"]
    said = {"majority": majority}
    if "PrivateTest" in data.extra:
        true = data.extra["PrivateTest"].emotion[rows]
        rows, said = rows[true >= 0], {"majority": majority[true >= 0], "truth": true[true >= 0]}
    return rows, {"label": data.private_test.labels[rows], **said}


def verdicts(labels, answers, opinion, label="fear", answer="surprise") -> dict:
    """Of the pictures with ``label`` that were answered with ``answer``: with whom does the opinion side?

    Gives n and the counts with_answer, with_label, neither; share of with_answer and its interval.
    """
    there = opinion[(labels == EMOTIONS.index(label)) & (answers == EMOTIONS.index(answer))]
    n, agreed, held = (
        len(there),
        (there == EMOTIONS.index(answer)).sum(),
        (there == EMOTIONS.index(label)).sum(),
    )
    found = {"n": n, "with_answer": int(agreed), "with_label": int(held), "neither": int(n - agreed - held)}
    return found | {"share": agreed / n if n else np.nan, "interval": tuple(metrics.wilson(agreed, n))}


def people(votes: np.ndarray) -> dict:
    """How one annotator reads what the others agree on: counts, share (7, 7), row their answer, column his.

    votes (n, 10) as in ``Split.votes``. Each vote for an emotion in turn is held against the single leading
    answer of the picture's other voters. Votes on one picture hang together, so there is no interval.
    """
    seven, counts = ferplus.emotion_votes(votes).astype(np.int64), np.zeros((_K, _K), np.int64)
    for i in range(_K):
        cast = seven[:, i]
        rest = seven - np.eye(_K, dtype=np.int64)[i]
        single = (cast > 0) & ((rest == rest.max(1, keepdims=True)).sum(1) == 1)
        np.add.at(counts[:, i], rest[single].argmax(1), cast[single])
    with np.errstate(invalid="ignore"):
        return {"counts": counts, "share": counts / counts.sum(1, keepdims=True)}


# --- what a bias buys ------------------------------------------------------------------------------------


def point(labels: np.ndarray, probabilities: np.ndarray, bias=0.0) -> dict:
    """Metrics of answers with a bias on the log probabilities (a number or (7,)), with fear's precision."""
    shifted = calibration.apply_calibration(probabilities, 1.0, bias)
    found = metrics.classification_metrics(labels, shifted, n_bootstrap=0)
    answered = int(found["confusion"][:, _FEAR].sum())
    hits = int(found["confusion"][_FEAR, _FEAR])
    names = ("accuracy", "macro_f1", "fear_to_surprise", "surprise_to_fear", "fear_to_sad")
    row = {name: found[name] for name in names}
    row |= {f"{name}_recall": found["recall"][name] for name in ("fear", "surprise", "sad")}
    row |= {f"{name}_interval": found["recall_interval"][name] for name in ("fear", "surprise", "sad")}
    precision = hits / answered if answered else np.nan
    return row | {"precision": precision, "precision_interval": tuple(metrics.wilson(hits, answered))}


def bias_curve(labels: np.ndarray, probabilities: np.ndarray, biases=BIASES) -> dict:
    """``point`` for a bias on fear alone, one after the other: each of its numbers as an array; and bias."""
    rows = [point(labels, probabilities, b * np.eye(_K)[_FEAR]) for b in biases]
    return {"bias": np.array(biases)} | {
        name: np.array([row[name] for row in rows]) for name in rows[0] if not name.endswith("interval")
    }


def tuned(data: FerData, public: np.ndarray, private: np.ndarray, seed: int = 0) -> dict:
    """The bias that ``calibration.tune_bias`` chooses on PublicTest, and PrivateTest before and after it."""
    bias, _ = calibration.tune_bias(data.public_test.labels, public, seed=seed)
    labels = data.private_test.labels
    return {"bias": bias, "before": point(labels, private), "after": point(labels, private, bias)}


# --- everything, on record -------------------------------------------------------------------------------


def unseen(data: FerData) -> tuple[np.ndarray, np.ndarray]:
    """Both test splits' pictures and labels, without copies of Training's pictures and of each other."""
    images = np.concatenate([data.public_test.images, data.private_test.images])
    labels = np.concatenate([data.public_test.labels, data.private_test.labels])
    seen = duplicates.duplicate_groups(np.concatenate([data.train.images, images]))
    groups = seen[len(data.train) :]
    first = np.unique(groups, return_index=True)[1]
    rows = np.sort(first[~np.isin(groups[first], seen[: len(data.train)])])
    return images[rows], labels[rows]


def measure(data: FerData, model, seed: int = 0, faces: int = 200) -> dict:
    """All that notebook 03 asks of a Keras model on a set with FER+ votes; see ``record`` for where it goes.

    faces: so many of PrivateTest's pictures of fear, and of surprise, are hidden square by square.
    """
    predict, test = reader(model), data.private_test
    public, private = (predict(emotion_inputs(s.images)) for s in (data.public_test, test))
    answers = private.argmax(1)
    rows, said = opinions(data)
    images, labels = unseen(data)
    features = reader(body(model))(emotion_inputs(images))
    found = {name: test.images[test.labels == EMOTIONS.index(name)][:faces] for name in ("fear", "surprise")}
    near = neighbours(features, labels)
    del near["index"]
    test_features = reader(body(model))(emotion_inputs(test.images[rows]))
    moved = unit_shares(predict, range(40))
    for row in moved.values():
        del row["each"]
    return {
        "n": len(test),
        "split": "PrivateTest",
        "seed": seed,
        "confusion": shares(test.labels, answers),
        "rivals": rivals(test.labels, answers),
        "views": {name: shares(marks, answers[rows]) for name, marks in said.items()},
        "people": people(test.votes),
        "verdicts": {
            f"{a}_to_{b}": {
                name: verdicts(said["label"], answers[rows], marks, a, b)
                for name, marks in said.items()
                if name != "label"
            }
            for a, b in metrics.CONFUSIONS
        },
        "features": {
            "n": len(labels),
            "split": "PublicTest and PrivateTest without copies",
            "neighbours": near,
            "separability": separability(features, labels, seed=seed),
        },
        "relabelled": {
            name: separability(test_features, marks, PAIRS, seed=seed) for name, marks in said.items()
        },
        "units": moved,
        "occlusion": {name: occlusion(predict, each).mean(0) for name, each in found.items()}
        | {"faces": {name: len(each) for name, each in found.items()}},
        "bias": {"curve": bias_curve(test.labels, private), "tuned": tuned(data, public, private, seed)},
    }


def record(
    data: FerData, model, name: str = "baseline", seed: int = 0, weights: str | Path | None = None
) -> Path:
    """Measure, write ``reports/metrics/03-confusion-<set>.json`` and return its path.

    name: what the model is called on the command line. weights: its weight file; None: the digest of the
    numbers themselves is written.
    """
    from facelib.data import fer2013

    if data.private_test.votes is None:
        raise InputError(
            f"{data.source} has no FER+ votes, which half of the questions need; see data/README.md"
        )
    title = "toy" if data.source.startswith("drawn") else fer2013.dataset_name(data)
    if weights is None:
        digest = hashlib.sha256()
        for values in model.get_weights():
            digest.update(np.ascontiguousarray(values, "<f4").tobytes())
        weights = digest.hexdigest()[:16]
    return metrics.write_metrics(
        f"03-confusion-{title}",
        {**measure(data, model, seed), "model": name},
        command=f"facelib experiment confusion --dataset {title.split('-')[0]} --model {name}",
        data=data,
        weights=weights,
    )


# --- what part of a face decides ---------------------------------------------------------------------------


def fear_over_surprise(probabilities: np.ndarray) -> np.ndarray:
    """log p(fear) - log p(surprise), (n,): positive where fear is the likelier of the two."""
    logs = np.log(np.maximum(probabilities, 1e-7))
    return logs[:, _FEAR] - logs[:, _SURPRISE]


def occlusion(predict: Predict, images: np.ndarray, score: Callable = fear_over_surprise) -> np.ndarray:
    """How much each square of a picture speaks for a high score: (n, 11, 11).

    images (n, 48, 48) uint8; score: probabilities (n, 7) -> (n,). Each square in turn is filled with the
    mean gray of its own picture; what the score *loses* is the square's share in it (Zeiler & Fergus 2014,
    arXiv:1311.2901). Positive: it spoke for fear; negative: for surprise. Hiding is itself a picture the
    network never saw, so trust means over many faces, not one.
    """
    inputs = emotion_inputs(images)
    gray = inputs.mean((1, 2, 3))[:, None, None, None]
    corners = range(0, _SIDE - SQUARE + 1, STRIDE)
    whole = score(predict(inputs))
    maps = np.empty((len(images), len(corners), len(corners)))
    for (row, y), (column, x) in itertools.product(enumerate(corners), repeat=2):
        hidden = inputs.copy()
        hidden[:, y : y + SQUARE, x : x + SQUARE] = gray
        maps[:, row, column] = whole - score(predict(hidden))
    return maps


def to_pixels(maps: np.ndarray) -> np.ndarray:
    """Maps of squares (..., 11, 11) -> (..., 48, 48): each pixel has the mean of the squares over it."""
    sums, covered = np.zeros((*maps.shape[:-2], _SIDE, _SIDE)), np.zeros((_SIDE, _SIDE))
    for row, column in np.ndindex(maps.shape[-2:]):
        y, x = row * STRIDE, column * STRIDE
        sums[..., y : y + SQUARE, x : x + SQUARE] += maps[..., row, column, None, None]
        covered[y : y + SQUARE, x : x + SQUARE] += 1
    return sums / covered


def by_part(maps: np.ndarray) -> dict[str, np.ndarray]:
    """Mean of maps (n, 11, 11) over each of ``PARTS``: name -> (n,)."""
    pixels = to_pixels(maps)
    return {name: pixels[:, y0:y1, x0:x1].mean((1, 2)) for name, (x0, y0, x1, y1) in PARTS.items()}


def draw(units: Sequence[dict], persons: Iterable[int]) -> np.ndarray:
    """Passport photographs, (len(units), persons, 48, 48) uint8: each expression on each of the persons.

    units: {"AU1": 0.9, ...} from 0 to 1, as in ``synthetic_drawing.UNITS``; persons: as in
    ``synthetic_faces.draw_face``.
    """
    persons = np.fromiter(persons, np.int64)
    strengths = np.array([[each.get(unit, 0.0) for unit in synthetic_drawing.UNITS] for each in units])
    strengths, who = np.repeat(strengths, len(persons), 0), np.tile(persons, len(units))
    middle = synthetic_drawing.spread(
        synthetic_drawing.SHOTS, np.full((len(who), len(synthetic_drawing.SHOTS)), 0.5)
    )
    pictures = synthetic_drawing.render(synthetic_drawing.traits(who), middle, strengths)
    return pictures.reshape(len(units), len(persons), _SIDE, _SIDE)


def ladder(predict: Predict, steps: Sequence[dict], persons: Iterable[int]) -> np.ndarray:
    """Probabilities (steps, persons, 7) along a path of expressions, each drawn on each person."""
    pictures = draw(steps, persons)
    return predict(emotion_inputs(pictures.reshape(-1, _SIDE, _SIDE))).reshape(*pictures.shape[:2], _K)


def unit_shares(
    predict: Predict, persons: Iterable[int], start: str = "surprise", end: str = "fear"
) -> dict[str, dict]:
    """What each action unit contributes when one drawn expression becomes another: Shapley values (1953).

    The units in which the prototypes differ are switched from the one's strength to the other's in all
    combinations; a unit's value is what switching it adds to ``fear_over_surprise``, averaged over all orders
    in which they can be switched, so that the values add up to the whole way. Gives for each unit "from",
    "to" (strengths), value (mean over the persons), interval, and each (persons,).
    """
    a, b = PROTOTYPES[start], PROTOTYPES[end]
    names = sorted({*a, *b}, key=lambda unit: int(unit[2:]))
    names = [unit for unit in names if a.get(unit, 0.0) != b.get(unit, 0.0)]
    m, codes = len(names), range(2 ** len(names))
    mixes = [{**a, **{u: b.get(u, 0.0) for i, u in enumerate(names) if code >> i & 1}} for code in codes]
    answers = ladder(predict, mixes, persons)
    worth = fear_over_surprise(answers.reshape(-1, _K)).reshape(len(mixes), -1)  # (2**m, persons)
    found = {}
    for i, unit in enumerate(names):
        each = 0.0
        for code in codes:
            if not code >> i & 1:
                size = code.bit_count()
                weight = math.factorial(size) * math.factorial(m - size - 1) / math.factorial(m)
                each = each + weight * (worth[code | 1 << i] - worth[code])
        half = 1.96 * each.std() / math.sqrt(len(each))
        interval = (float(each.mean() - half), float(each.mean() + half))
        found[unit] = {"from": a.get(unit, 0.0), "to": b.get(unit, 0.0), "value": float(each.mean())}
        found[unit] |= {"interval": interval, "each": each}
    return found
