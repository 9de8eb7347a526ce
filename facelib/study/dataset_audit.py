"""What is wrong with a labelled set of faces: copies, quality, labels, and which class is rare or noisy.

``audit(data)`` takes half a minute for FER-2013; ``check`` compares what it finds in synthetic faces with
their truth. FER+ (Barsoum et al. 2016, arXiv:1608.01041) is the second opinion about labels. The leading
emotion of an image is the one of the seven with most FER+ votes, the first of ``EMOTIONS`` in a tie; 35,709
of FER-2013's 35,887 images have one. Other ways to count move the agreement with the labels by up to four
points (``Audit.to_metrics`` has three).

How well can a face be classified from its votes alone? Four such classifiers, the readers of votes:

- ``annotator``: one annotator at random: recall is the mean share of the votes for the label;
- ``majority``: the leading emotion: recall is the agreement;
- ``informed``: the label that is most probable given the votes (Bayes), estimated by logistic regression on
  log(1 + votes), cross-validated with the copies of an image in one fold (boosted trees gain half a point of
  accuracy, for twenty times the work). It makes fewest errors, so it gives rare classes up where in doubt;
- ``balanced``: the same with probabilities divided by the classes' shares, best for mean recall. Rarity costs
  it nothing: what it does not find, no weighting, no resampling and no larger set brings back from votes.

So a class is *rare* with less than half an even share of the images, and *noisy* if the balanced reader's
recall of it is less than three quarters of the classes' mean. That bounds a classifier of votes, not of
pixels, which also hold what annotators do not respond to.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from facelib.data.duplicates import duplicate_groups, near_duplicates
from facelib.data.ferplus import emotion_votes
from facelib.data.synthetic_faces import KINDS, Truth
from facelib.emotions import EMOTIONS, FERPLUS, FerData
from facelib.study.metrics import confusion_counts, percentile_interval, wilson, write_metrics

READERS = ("annotator", "majority", "informed", "balanced")
QUALITY = ("brightness", "contrast", "clipped", "sharpness", "resolution")
_K, _CHUNK = len(EMOTIONS), 1024


@dataclass(frozen=True)
class Audit:
    """What ``audit`` found in n images. Emotions index the tables in the order of ``EMOTIONS``.

    counts: DataFrame (3 splits, 7), images.
    rows: DataFrame (n,), the splits one after the other: split, row (in the split), label, group (equal
        pixels have equal numbers, from 0), copies (images in its group), contradictory (its group has
        several labels), leaked, near_leaked (not in Training, and a copy, or a near but no exact copy, is),
        constant, no_face (most voters, or FER+ itself, saw no usable face), the five of ``QUALITY`` (see
        ``quality``), leader (leading emotion, -1: none), suspect (half of the voters or more agree on another
        emotion than the label). Without votes: leader -1, no_face and suspect False.
    near: DataFrame, pairs of distinct images: group_a < group_b, distance, correlation, mirrored.
    agreement: DataFrame (7 labels, 7 leading emotions), images; None without votes.
    readers: DataFrame indexed by (reader, emotion): recall with low and high (95 %), n; None without votes.
    classes: DataFrame (7,): n, share, imbalance (how many times larger the largest class is), rare; medians
        of ``QUALITY``; with votes also agreement, balanced (that reader's recall), auc (how well votes rank
        the class's images above the others: 0.5 chance, 1 perfect), suspect (share of the rows) and noisy.
    """

    source: str
    digest: str
    counts: object
    rows: object
    near: object
    agreement: object | None
    readers: object | None
    classes: object

    def to_metrics(self) -> dict:
        """Every number that is worth quoting, as nested dicts; the content of ``02-audit-*.json``."""
        rows, near = self.rows, self.near
        groups = rows.groupby("group")
        several, crossing = groups.size() > 1, groups["split"].nunique() > 1
        contradictory = groups["label"].nunique() > 1
        label = groups["label"].first()
        a, b = (label[near[side]].to_numpy() for side in ("group_a", "group_b"))
        differ = a != b
        disputed = groups["label"].unique()[contradictory]
        held_out = [split for split in self.counts.index if split != "Training"]
        found = {
            "counts": {split: counts.tolist() for split, counts in self.counts.iterrows()},
            "exact_duplicates": {
                "distinct": len(several),
                "groups": several.sum(),
                "rows": (rows.copies > 1).sum(),
                "contradictory": contradictory.sum(),
                "contradictory_of": {e: sum(i in each for each in disputed) for i, e in enumerate(EMOTIONS)},
                "groups_across_splits": crossing.sum(),
                "groups_within_one_split": (several & ~crossing).sum(),
            },
            "near_duplicates": {
                "pairs": len(near),
                "mirrored": near.mirrored.sum(),
                "label_differs": differ.sum(),
                "label_differs_share": differ.mean() if len(near) else None,
                "label_differs_of": {
                    e: {"pairs": (one := (a == i) | (b == i)).sum(), "differ": (one & differ).sum()}
                    for i, e in enumerate(EMOTIONS)
                },
            },
            "also_in_training": {
                split: {kind: rows.loc[rows.split == split, kind].sum() for kind in ("leaked", "near_leaked")}
                for split in held_out
            },
            "constant": rows.constant.sum(),
            "quality_median": {measure: rows[measure].median() for measure in QUALITY},
            "classes": self.classes.to_dict("index"),
        }
        if self.agreement is None:
            return found
        matrix = self.agreement.to_numpy()
        hits, totals = matrix.diagonal(), matrix.sum(1)
        found["no_face"] = rows.no_face.sum()
        found["suspect"] = rows.suspect.sum()
        found["agreement"] = {
            "n": totals.sum(),
            "overall": hits.sum() / max(totals.sum(), 1),
            "overall_interval": wilson(hits.sum(), totals.sum()),
            "matrix": matrix,
            "of": dict(zip(EMOTIONS, hits / np.maximum(totals, 1), strict=True)),
            "of_interval": dict(zip(EMOTIONS, wilson(hits, totals).T, strict=True)),
            **self.agreement.attrs,
        }
        found["best_recall"] = {
            reader: {
                row.Index: {"recall": row.recall, "interval": (row.low, row.high), "n": row.n}
                for row in self.readers.loc[reader].itertuples()
            }
            for reader in READERS
        }
        found["reader_accuracy"] = self.readers.attrs["accuracy"]
        return found


def audit(data: FerData, n_bootstrap: int = 1000, seed: int = 0) -> Audit:
    """Find all that stands in ``Audit``; FER-2013 takes 21 s of processor time and 0.8 GB.

    The intervals of the readers come from ``n_bootstrap`` resamples of the distinct images, drawn with
    ``seed``; the informed reader is not fitted anew in them. Raises ValueError for an empty set.
    """
    import pandas as pd

    names, splits = list(data.splits), list(data.splits.values())
    whole = data.whole
    images, labels, votes = whole.images, whole.labels, whole.votes
    if not len(labels):
        raise ValueError(f"{data.source}: no images")
    rows = pd.DataFrame({"split": np.repeat(names, [len(split) for split in splits])})
    rows["row"] = np.concatenate([np.arange(len(split)) for split in splits])
    rows["label"], rows["group"] = labels, duplicate_groups(images)
    by_group = rows.groupby("group")
    rows["copies"] = by_group["row"].transform("size")
    rows["contradictory"] = by_group["label"].transform("nunique") > 1
    training = rows.split == "Training"
    rows["leaked"] = ~training & rows.group.isin(rows.group[training])
    near = near_duplicates(images[by_group.head(1).index])
    seen = near.group_a[near.group_b.isin(rows.group[training])]
    seen = pd.concat([seen, near.group_b[near.group_a.isin(rows.group[training])]])
    rows["near_leaked"] = ~training & ~rows.leaked & rows.group.isin(seen)
    rows = rows.join(quality(images))
    rows["constant"] = np.ptp(images.reshape(len(images), -1), axis=1) == 0
    counts = pd.crosstab(rows.split, rows.label).reindex(names, columns=range(_K), fill_value=0)
    counts = counts.set_axis(list(EMOTIONS), axis=1).rename_axis(None)
    n = np.bincount(labels, minlength=_K)
    classes = pd.DataFrame({"n": n, "share": n / n.sum()}, index=list(EMOTIONS))
    classes["imbalance"] = n.max() / np.where(n > 0, n, np.nan)
    classes["rare"] = classes.share < 0.5 / _K
    rows["leader"], rows["suspect"], rows["no_face"] = -1, False, False
    agreement = readers = None
    if votes is not None:
        votes = votes.astype(np.int64)
        seven = emotion_votes(votes)
        most, total = seven.max(1), np.maximum(votes.sum(1), 1)
        rows["leader"] = np.where(most > 0, seven.argmax(1), -1)
        rows["suspect"] = (2 * most >= total) & (seven[np.arange(len(labels)), labels] < most)
        rows["no_face"] = 2 * votes[:, FERPLUS.index("NF")] > total
        if "no_face" in data.extra:
            rows["no_face"] |= np.concatenate([data.extra["no_face"][name] for name in names])
        agreement = _agreement(labels, seven)
        readers, auc = _readers(labels, votes, rows.group.to_numpy(), n_bootstrap, seed)
        classes["agreement"] = readers.loc["majority"].recall
        classes["balanced"], classes["auc"] = readers.loc["balanced"].recall, auc
        classes["suspect"] = rows.groupby("label")["suspect"].mean().reindex(range(_K)).to_numpy()
        classes["noisy"] = classes.balanced < 0.75 * classes.balanced.mean()
    medians = rows.groupby("label")[list(QUALITY)].median().reindex(range(_K))
    classes = classes.join(medians.set_axis(list(EMOTIONS)))
    return Audit(data.source, data.digest, counts, rows, near, agreement, readers, classes)


def quality(images: np.ndarray):
    """Technical quality of images (n, s, s) uint8, s >= 3, as a DataFrame of n rows:

    brightness: mean, 0 to 255; contrast: standard deviation, 0 to 127.5;
    clipped: share of pixels that are 0 or 255;
    sharpness: variance of the Laplacian with four neighbours (Pech-Pacheco et al. 2000), low if blurred;
    resolution: pixels a side that are really present, 1 to s: the smallest square of low cosine coefficients
        that leaves out at most 5 % of the contrast. Synthetic faces enlarged from 24 and 32 pixels get a
        median of 28 and 32, sharp ones 47.
    """
    import pandas as pd
    from scipy.fft import dctn

    parts = []
    for at in range(0, len(images), _CHUNK):
        x = images[at : at + _CHUNK].astype(np.float32)
        laplacian = x[:, 1:-1, :-2] + x[:, 1:-1, 2:] + x[:, :-2, 1:-1] + x[:, 2:, 1:-1] - 4 * x[:, 1:-1, 1:-1]
        energy = dctn(x, axes=(1, 2), norm="ortho") ** 2
        energy[:, 0, 0] = 0  # the mean is no detail
        square = energy.cumsum(1).cumsum(2).diagonal(axis1=1, axis2=2)
        present = 1 + (square < (1 - 0.05**2) * square[:, -1:]).sum(1)
        clipped = ((x == 0) | (x == 255)).mean((1, 2))
        columns = (x.mean((1, 2)), x.std((1, 2)), clipped, laplacian.var((1, 2)), present)
        parts.append(pd.DataFrame(dict(zip(QUALITY, columns, strict=True))))
    return pd.concat(parts, ignore_index=True)


# --- votes -----------------------------------------------------------------------------------------------


def _agreement(labels: np.ndarray, seven: np.ndarray):
    """Label by leading emotion, (7, 7) images; ``attrs`` has the two other ways to count."""
    import pandas as pd

    most = seven.max(1)
    lead = (seven == most[:, None]) & (most > 0)[:, None]
    shared = (lead / np.maximum(lead.sum(1), 1)[:, None])[np.arange(len(labels)), labels]
    counts = confusion_counts(labels[most > 0], seven.argmax(1)[most > 0])
    table = pd.DataFrame(counts, list(EMOTIONS), list(EMOTIONS))
    for name, rows in (("ties_shared", most > 0), ("more_than_half", 2 * most > seven.sum(1))):
        of = {e: shared[mine].mean() for i, e in enumerate(EMOTIONS) if (mine := rows & (labels == i)).any()}
        overall = shared[rows].mean() if rows.any() else None
        table.attrs[name] = {"n": rows.sum(), "overall": overall, "of": of}
    return table


def _readers(labels: np.ndarray, votes: np.ndarray, groups: np.ndarray, n_bootstrap: int, seed: int):
    """The readers' recalls with intervals (DataFrame, see ``Audit``), and the informed one's AUC, (7,)."""
    import pandas as pd
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import GroupKFold, cross_val_predict

    seven = emotion_votes(votes)
    rows = np.flatnonzero(seven.max(1) > 0)
    labels, seven, groups = labels[rows], seven[rows], np.unique(groups[rows], return_inverse=True)[1]
    present = np.unique(labels)
    probability = np.zeros((len(rows), _K))
    # The Newton solver is several times as fast as the default one: seventy parameters, many rows.
    model, options = LogisticRegression(solver="newton-cholesky"), {"cv": GroupKFold(5), "groups": groups}
    cases = np.log1p(votes[rows]), labels
    probability[:, present] = cross_val_predict(model, *cases, method="predict_proba", **options)
    prior = np.maximum(np.bincount(labels, minlength=_K), 1)
    hits = [seven[np.arange(len(rows)), labels] / seven.sum(1)]
    hits += [scores.argmax(1) == labels for scores in (seven, probability, probability / prior)]
    # Sums per distinct image, reader and class. The bootstrap draws images, not rows, because copies are not
    # independent; Poisson weights stand for the multinomial ones (Hanley & MacGibbon 2006).
    sums = np.zeros((groups.max() + 1, len(READERS) + 1, _K), np.float32)
    for reader, hit in enumerate([*hits, np.ones(len(rows))]):
        np.add.at(sums[:, reader], (groups, labels), hit)
    rng, drawn = np.random.default_rng(seed), []
    for at in range(0, n_bootstrap, 100):
        weights = rng.poisson(1, (min(100, n_bootstrap - at), len(sums))).astype(np.float32)
        total = (weights @ sums.reshape(len(sums), -1)).reshape(-1, len(READERS) + 1, _K)
        drawn.append(total[:, :-1] / np.maximum(total[:, -1:], 1))
    n = sums[:, -1].sum(0, dtype=np.float64)
    recall = sums[:, :-1].sum(0, dtype=np.float64) / np.where(n > 0, n, np.nan)
    drawn = np.concatenate([np.zeros((0, *recall.shape), np.float32), *drawn])
    low, high = percentile_interval(drawn, axis=0)
    index = pd.MultiIndex.from_product([READERS, EMOTIONS], names=["reader", "emotion"])
    columns = {"recall": recall, "low": low, "high": high, "n": np.tile(n, (len(READERS), 1)).astype(int)}
    table = pd.DataFrame({name: value.ravel() for name, value in columns.items()}, index)
    table.attrs["accuracy"] = {reader: float(np.mean(hit)) for reader, hit in zip(READERS, hits, strict=True)}
    auc = np.full(_K, np.nan)
    if len(present) > 1:
        auc[present] = [roc_auc_score(labels == i, probability[:, i]) for i in present]
    return table, auc


# --- truth and record ------------------------------------------------------------------------------------


def check(found: Audit, data: FerData) -> dict[str, dict[str, float]]:
    """Compare with the synthetic faces' truth, over rows: {finder: {precision, recall, found, true}}.

    label_noise: ``suspect`` against "another emotion was drawn than the label says" (images with a face).
    duplicates: ``copies`` > 1 against the truth's copies and originals; no_face and constant likewise.
    near_duplicates: pairs found; synthetic faces have none, so each is a false one.
    A precision of nothing found, or a recall of nothing to find, is nan. Raises ValueError without a truth.
    """
    from sklearn.metrics import precision_score, recall_score

    if not isinstance(data.extra.get("Training"), Truth):
        raise ValueError(f"{data.source}: the truth of this set is not known; use load_toyfaces()")
    truths, keys = [data.extra[name] for name in data.splits], ("kind", "emotion", "duplicate_of")
    kind, emotion, original = (np.concatenate([getattr(each, key) for each in truths]) for key in keys)
    rows, face, copied = found.rows, kind == 0, original >= 0
    copied[np.unique(original[copied])] = True  # originals stand in Training, which comes first
    wrong = emotion != rows.label.to_numpy()
    pairs = {
        "label_noise": (rows.suspect.to_numpy()[face], wrong[face]),
        "duplicates": (rows.copies.to_numpy() > 1, copied),
        "no_face": (rows.no_face.to_numpy(), ~face),
        "constant": (rows.constant.to_numpy(), kind == KINDS.index("constant")),
    }
    scores = {}
    for name, (guess, true) in pairs.items():
        precision, recall = (f(true, guess, zero_division=np.nan) for f in (precision_score, recall_score))
        counts = {"found": int(guess.sum()), "true": int(true.sum())}
        scores[name] = {"precision": precision, "recall": recall, **counts}
    return scores | {"near_duplicates": {"found": len(found.near), "true": 0}}


def record(data: FerData, found: Audit | None = None):
    """Write ``02-audit-toy.json`` or ``02-audit-fer2013.json`` and return its path.

    found: what ``audit(data)`` gave; None runs it. Where the truth is known the file also holds ``check``'s
    scores.
    """
    found = audit(data) if found is None else found
    payload = {"n": len(found.rows), "split": "all", "seed": 0, "source": found.source} | found.to_metrics()
    if isinstance(data.extra.get("Training"), Truth):
        payload["check"] = check(found, data)
    command = f"facelib audit --dataset {data.option}"
    return write_metrics(f"02-audit-{data.slug}", payload, command=command, data=data)
