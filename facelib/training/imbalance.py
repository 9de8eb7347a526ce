"""Methods against imbalance, in three places: what the loss weighs (``class_weights``), what it compares
(``make_loss``) and what a batch looks like (``resample``). All see the training split only: a test picture
that was interpolated, or copied into the training set, would make every later number a lie.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from facelib.data.fer2013 import data_digest
from facelib.emotions import EMOTIONS, FerData, Split, emotion_name
from facelib.training.augmentation import Augmentation, augment

WEIGHTS = ("none", "inverse", "sqrt", "effective")
SAMPLERS = ("none", "over", "augment", "under", "smote", "borderline", "adasyn")
LOSSES = ("cross-entropy", "focal", "balanced-softmax", "ldam")
#: Factor before the cosines of a classifier with margins, and the largest margin: LDAM's authors' values.
COSINE_SCALE, LARGEST_MARGIN = 30.0, 0.5


def class_weights(labels: np.ndarray, how: str = "inverse", beta: float = 0.999) -> np.ndarray:
    """Loss weight of each class, (7,) float64, whose mean over the samples is 1 (so the step size stays).

    labels: (n,) int in 0..6, n >= 1, of the training split.
    how: "none": 1 for all; "inverse": 1 / n_c, every class weighs the same in sum; "sqrt": 1 / sqrt(n_c),
        half way; "effective": (1 - beta) / (1 - beta ** n_c), one over the effective number of samples (Cui
        et al. 2019, arXiv:1901.05555). Its beta says after how many samples, 1 / (1 - beta), little new is to
        be learnt of a class: 0 gives "none", towards 1 "inverse".

    A class without samples weighs 0. Raises ValueError for an unknown ``how``, a beta outside [0, 1), no or
    wrong labels.
    """
    if how not in WEIGHTS:
        raise ValueError(f"no such weighting: {how!r}; there are {', '.join(WEIGHTS)}")
    if not 0 <= beta < 1:
        raise ValueError(f"beta={beta}: wanted 0 <= beta < 1")
    labels = np.asarray(labels)
    if labels.ndim != 1 or not len(labels) or not np.isin(labels, range(len(EMOTIONS))).all():
        raise ValueError(f"wanted at least one label from 0 to {len(EMOTIONS) - 1}")
    counts = np.bincount(labels.astype(np.int64), minlength=len(EMOTIONS)).astype(np.float64)
    present = np.maximum(counts, 1)
    size = {
        "none": np.ones_like(present),
        "inverse": present,
        "sqrt": np.sqrt(present),
        "effective": (1 - beta**present) / (1 - beta),
    }[how]
    weights = (counts > 0) / size
    return weights * counts.sum() / (weights @ counts)


def make_loss(how: str, labels: np.ndarray) -> Callable:
    """A loss of the network's probabilities: (targets, outputs), both (b, 7) float32, to (b,).

    how: "cross-entropy";
        "focal": each class's term times (1 - p) ** 2, so that what is answered well counts less (Lin et al.
            2017, arXiv:1708.02002);
        "balanced-softmax": the classes' frequencies multiply the probabilities, in training only, so that
            rarity is explained without the network (Ren et al. 2020, arXiv:2007.10740; the same as the
            trained logit adjustment of Menon et al. 2021, arXiv:2007.07314, with its factor at 1);
        "ldam": the true class must win by a margin proportional to n_c ** -1/4 (Cao et al. 2019,
            arXiv:1906.07413), for a network whose logits are ``COSINE_SCALE`` times cosines.
    labels: (n,) int in 0..6 of the training split, for the frequencies.

    Targets may be soft, or weighted. The log of a softmax differs from its logits by one number for all
    classes, which every softmax takes away again: that is why probabilities are enough here.
    """
    from facelib.backend import ops

    if how not in LOSSES:
        raise ValueError(f"no such loss: {how!r}; there are {', '.join(LOSSES)}")
    counts = np.bincount(labels, minlength=len(EMOTIONS)).astype(np.float32)
    present = np.maximum(counts, 1)
    prior = np.log(present / present.sum())
    margin = COSINE_SCALE * LARGEST_MARGIN * (present / present.min()) ** -0.25

    def loss(targets, outputs):
        logs = ops.log(ops.clip(outputs, 1e-7, 1.0))
        if how == "balanced-softmax":
            logs = ops.log_softmax(logs + prior, axis=-1)
        elif how == "ldam":
            true = ops.cast(targets >= ops.max(targets, axis=-1, keepdims=True), logs.dtype)
            logs = ops.log_softmax(logs - margin * true, axis=-1)
        elif how == "focal":
            logs = (1 - outputs) ** 2 * logs
        return -ops.sum(targets * logs, axis=-1)

    return loss


def resample(data: FerData, how: str = "over", seed: int = 0, classes: Sequence[str] = ()) -> FerData:
    """The same set with a training split in which the classes are (nearly) equal; nothing else is touched.

    how: "none": the set as it is;
        "over": rows drawn again, with replacement, until each class has as many as the largest;
        "augment": the same rows, those that are drawn again turned, moved, scaled, mirrored and lit anew;
        "under": rows dropped until each class has as few as the smallest;
        "smote": new pictures between a picture and one of its 5 nearest neighbours of the same class, as many
            as the largest class has (Chawla et al. 2002, arXiv:1106.1813);
        "borderline": the same, only from pictures most of whose 10 neighbours have other labels (Han et al.
            2005); a class where no picture is such gets none;
        "adasyn": more new pictures where neighbours disagree more (He et al. 2008); each original's share is
            rounded, so a class may miss the largest by up to half of its own pictures.
    classes: emotions that become as frequent as the largest class, the others staying as they are; none: all.

    The public and the private test split are the very objects of ``data``. ``extra["provenance"]``,
    (m,) int64, holds for each new training row its row in ``data.train``, or -1 for an interpolated one; with
    it whatever ``data.extra`` said of the training rows can be looked up, and is therefore left out here.
    Original rows come first in their order ("under": the kept ones). Votes follow their rows; a synthetic
    picture has none, all ten are 0. Absent classes stay absent. Equal input and seed give equal output.

    Interpolation is done on the pixels in float32: two faces are averaged, ghosts included, which is what
    these methods do to pictures. Exact copies within the training split are neighbours like any other, so
    some synthetic pictures equal an original. FER-2013's 28,709 training rows take SMOTE 20 s of processor
    time; the two others search neighbours among all classes and take 100 s. Memory peaks at 1.6 GB.

    Raises ValueError for an unknown ``how`` or class, classes for "under", an empty split, a class too small
    to interpolate (one picture), and for "adasyn" where in some class no picture has a neighbour of another
    class.
    """
    if how not in SAMPLERS:
        raise ValueError(f"no such sampler: {how!r}; there are {', '.join(SAMPLERS)}")
    train = data.train
    if not len(train):
        raise ValueError(f"{data.source}: the training split is empty")
    if classes and how == "under":
        raise ValueError("undersampling has no classes to choose: it drops rows of all but the smallest")
    wanted = _wanted(train.labels, classes)
    if how in ("none", "over", "augment", "under") or len(np.unique(train.labels)) == 1:
        rows = _rows(train.labels, how, seed, wanted)
        images, labels = train.images[rows], train.labels[rows]
        if how == "augment":
            images[len(train) :] = _vary(images[len(train) :], seed)
    else:
        images, labels = _interpolate(train, how, seed, wanted)
        rows = np.where(np.arange(len(labels)) < len(train), np.arange(len(labels)), -1)
    votes = None if train.votes is None else np.where((rows >= 0)[:, None], train.votes[rows], 0)
    new = Split(images, labels, None if votes is None else votes.astype(train.votes.dtype))
    extra = {key: value for key, value in data.extra.items() if key != "Training"}
    extra = {key: _without_training(value) for key, value in extra.items()} | {"provenance": rows}
    if how == "none":
        return replace(data, extra=data.extra | {"provenance": rows})
    return replace(
        data,
        train=new,
        source=f"{data.source}; Training resampled ({how}, seed={seed})",
        digest=data_digest(new, data.public_test, data.private_test),
        extra=extra,
    )


def _without_training(value):
    """What ``data.extra`` says by split, without the split whose rows are other ones now."""
    if isinstance(value, dict):
        return {key: each for key, each in value.items() if key != "Training"}
    return value


def _wanted(labels: np.ndarray, classes: Sequence[str]) -> dict[int, int] | str:
    """imbalanced-learn's sampling_strategy: how many rows of each class there shall be."""
    counts = np.bincount(labels, minlength=len(EMOTIONS))
    chosen = [EMOTIONS.index(emotion_name(name)) for name in classes]
    return {i: int(counts.max()) for i in chosen if counts[i]} if classes else "auto"


def _rows(labels: np.ndarray, how: str, seed: int, wanted: dict[int, int] | str) -> np.ndarray:
    """Which rows make the new split, (m,) int64."""
    everything = np.arange(len(labels))
    if how in ("over", "augment") and len(np.unique(labels)) > 1:
        from imblearn.over_sampling import RandomOverSampler

        sampler = RandomOverSampler(sampling_strategy=wanted, random_state=seed)
    elif how == "under" and len(np.unique(labels)) > 1:
        from imblearn.under_sampling import RandomUnderSampler

        sampler = RandomUnderSampler(random_state=seed)
    else:
        return everything
    sampler.fit_resample(everything[:, None], labels)
    rows = sampler.sample_indices_.astype(np.int64)
    return np.sort(rows) if how == "under" else rows


def _vary(images: np.ndarray, seed: int) -> np.ndarray:
    """Augmented copies, (n, 48, 48) uint8."""
    rng = np.random.default_rng(seed)
    strong = Augmentation(rotation=15, scale=1.2, shift=0.1, contrast=0.3, brightness=0.15, erase=0)
    new = np.empty_like(images)
    for start in range(0, len(images), 4096):
        piece = images[start : start + 4096]
        new[start : start + 4096] = np.rint(255 * augment(piece, rng, strong, images.shape[1])[..., 0])
    return new


def _interpolate(train: Split, how: str, seed: int, wanted) -> tuple[np.ndarray, np.ndarray]:
    """The split's pictures, then the synthetic ones: images (m, 48, 48) uint8 and labels (m,) int64."""
    from imblearn.over_sampling import ADASYN, SMOTE, BorderlineSMOTE

    counts = np.bincount(train.labels, minlength=len(EMOTIONS))
    smallest = counts[counts > 0].min()
    if smallest < 2:
        alone = ", ".join(EMOTIONS[i] for i in np.flatnonzero(counts == 1))
        raise ValueError(f"{alone}: one picture has no neighbour to interpolate with; use 'over'")
    k = int(min(5, smallest - 1))  # imbalanced-learn's default, where the smallest class has so many
    makers = {"smote": SMOTE, "borderline": BorderlineSMOTE, "adasyn": ADASYN}
    neighbours = {"n_neighbors": k} if how == "adasyn" else {"k_neighbors": k}
    sampler = makers[how](sampling_strategy=wanted, random_state=seed, **neighbours)
    pixels = train.images.reshape(len(train), -1).astype(np.float32)
    try:
        pixels, labels = sampler.fit_resample(pixels, train.labels)
    except RuntimeError as error:  # ADASYN only, where it has nowhere to put new pictures
        raise ValueError(f"{how}: in some class no picture has a neighbour of another class") from error
    new = np.empty((len(labels) - len(train), *train.images.shape[1:]), np.uint8)
    for start in range(0, len(new), 4096):  # in pieces: a float copy of all would double the memory
        piece = pixels[len(train) + start : len(train) + start + 4096]
        new[start : start + len(piece)] = np.clip(np.rint(piece), 0, 255).reshape(-1, *new.shape[1:])
    return np.concatenate([train.images, new]), labels.astype(np.int64)
