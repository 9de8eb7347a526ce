"""Weights that keep their promises, and resampling that touches the training split only."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from facelib.data.synthetic_faces import load_toyfaces
from facelib.emotions import Split
from facelib.training.imbalance import (
    COSINE_SCALE,
    LOSSES,
    SAMPLERS,
    WEIGHTS,
    class_weights,
    make_loss,
    resample,
)

INTERPOLATING = ("smote", "borderline", "adasyn")


@pytest.fixture(scope="module")
def data():
    return load_toyfaces(n=1200)


@pytest.fixture(scope="module")
def fresh():
    """The same set, which no sampler has seen."""
    return load_toyfaces(n=1200)


@pytest.fixture(scope="module")
def resampled(data):
    return {how: resample(data, how, seed=0) for how in SAMPLERS}


def counts(split: Split) -> np.ndarray:
    return np.bincount(split.labels, minlength=7)


def test_weights_have_mean_one_over_the_samples(data):
    labels = data.train.labels
    for how in WEIGHTS:
        weights = class_weights(labels, how)
        assert weights.shape == (7,) and weights.dtype == np.float64
        assert weights[labels].mean() == pytest.approx(1)


def test_weights_have_their_ratios():
    labels = np.repeat([0, 1, 3], [900, 100, 4])
    assert class_weights(labels, "none").tolist() == [1, 1, 0, 1, 0, 0, 0]
    inverse, root = class_weights(labels, "inverse"), class_weights(labels, "sqrt")
    assert inverse[1] / inverse[0] == pytest.approx(9) and inverse[3] / inverse[1] == pytest.approx(25)
    assert root[1] / root[0] == pytest.approx(3) and root[3] / root[1] == pytest.approx(5)
    effective = class_weights(labels, "effective", beta=0.99)
    assert effective[1] / effective[0] == pytest.approx((1 - 0.99**900) / (1 - 0.99**100))
    assert class_weights(labels, "effective", beta=0)[[0, 1, 3]] == pytest.approx(1)
    assert class_weights(labels, "effective", beta=1 - 1e-9) == pytest.approx(inverse, rel=1e-5)


def test_wrong_arguments_are_said(data):
    for labels, how, beta in (
        ([0], "cube", 0.9),
        ([], "sqrt", 0.9),
        ([7], "sqrt", 0.9),
        ([0], "effective", 1),
    ):
        with pytest.raises(ValueError, match="weighting|label|beta"):
            class_weights(np.array(labels, int), how, beta)
    with pytest.raises(ValueError, match="no such sampler"):
        resample(data, "smite")
    with pytest.raises(ValueError, match="unknown emotion 'fera'; choose angry"):
        resample(data, "over", classes=["fera"])
    with pytest.raises(ValueError, match="no classes to choose"):
        resample(data, "under", classes=["fear"])
    with pytest.raises(ValueError, match="empty"):
        resample(replace(data, train=Split(data.train.images[:0], data.train.labels[:0])), "over")


def test_class_counts_are_as_promised(data, resampled):
    before = counts(data.train)
    assert np.array_equal(counts(resampled["none"].train), before)
    assert (counts(resampled["over"].train) == before.max()).all()
    assert (counts(resampled["under"].train) == before.min()).all()
    assert (counts(resampled["smote"].train) == before.max()).all()
    after = counts(resampled["borderline"].train)
    assert (np.isin(after, before) | (after == before.max())).all() and after.sum() > before.sum()
    after = counts(resampled["adasyn"].train)
    assert (np.abs(after - before.max()) <= 0.5 * before).all() and after.min() > 0.8 * before.max()


@pytest.mark.parametrize("how", SAMPLERS)
def test_nothing_synthetic_or_copied_reaches_the_other_splits(data, fresh, resampled, how):
    new = resampled[how]
    for split in ("public_test", "private_test"):
        for field in ("images", "labels", "votes"):
            now, once = getattr(getattr(new, split), field), getattr(getattr(fresh, split), field)
            assert now.dtype == once.dtype and now.tobytes() == once.tobytes()
    rows = new.extra["provenance"]
    assert rows.dtype == np.int64 and rows.shape == (len(new.train),)
    held_out = {
        image.tobytes() for split in ("public_test", "private_test") for image in getattr(fresh, split).images
    }
    held_out -= {image.tobytes() for image in fresh.train.images}
    assert not held_out & {image.tobytes() for image in new.train.images}
    assert np.array_equal(data.train.images, fresh.train.images)  # the input is not written to


@pytest.mark.parametrize("how", SAMPLERS)
def test_the_sampler_never_looks_at_the_other_splits(data, resampled, how):
    """With other pictures in the test splits, the new training split has the same bytes."""
    other = Split(255 - data.public_test.images, data.public_test.labels[::-1].copy(), data.public_test.votes)
    again = resample(replace(data, public_test=other, private_test=other), how, seed=0)
    for field in ("images", "labels", "votes"):
        new, old = getattr(again.train, field), getattr(resampled[how].train, field)
        assert new.tobytes() == old.tobytes()
    assert again.public_test is other and again.private_test is other


@pytest.mark.parametrize("how", SAMPLERS)
def test_provenance_tells_where_every_row_is_from(data, resampled, how):
    new, rows = resampled[how].train, resampled[how].extra["provenance"]
    known = rows >= 0
    for field in ("images", "labels", "votes"):
        there = (
            known & (np.arange(len(new)) < len(data.train))
            if (how, field) == ("augment", "images")
            else known
        )
        assert np.array_equal(getattr(new, field)[there], getattr(data.train, field)[rows[there]])
    assert new.images.dtype == np.uint8 and new.labels.dtype == np.int64
    if how == "under":
        assert len(np.unique(rows)) == len(rows)
    else:  # nobody is lost, and the originals come first
        assert np.array_equal(rows[: len(data.train)], np.arange(len(data.train)))
    assert (~known).any() == (how in INTERPOLATING)
    assert not new.votes[~known].any()
    if how != "none":
        assert "Training" not in resampled[how].extra  # its truth was of other rows
        assert resampled[how].extra["PrivateTest"] is data.extra["PrivateTest"]


def test_augmented_copies_are_no_copies_but_of_the_same_face(data, resampled):
    new, rows = resampled["augment"].train, resampled["augment"].extra["provenance"]
    assert len(set(counts(new))) == 1
    copies = np.arange(len(data.train), len(new))
    source, made = data.train.images[rows[copies]].astype(float), new.images[copies].astype(float)
    away = np.abs(made - source).mean((1, 2))
    assert (away > 0).all() and np.median(away) < 60
    strangers = np.abs(made - np.roll(source, 1, 0)).mean((1, 2))
    assert np.median(away) < np.median(strangers)


def test_losses_are_what_their_papers_say():
    """Each against the formula written out for one picture at a time."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(7), [90, 5, 40, 200, 60, 30, 75])
    logits = rng.normal(size=(20, 7))
    outputs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    true = rng.integers(0, 7, 20)
    prior = np.bincount(labels) / len(labels)
    margins = COSINE_SCALE * 0.5 * (np.bincount(labels) / 5) ** -0.25
    for i, y in enumerate(true):
        expected = {
            "cross-entropy": -np.log(outputs[i, y]),
            "focal": -((1 - outputs[i, y]) ** 2) * np.log(outputs[i, y]),
            "balanced-softmax": -np.log(prior[y] * np.exp(logits[i, y]) / (prior * np.exp(logits[i])).sum()),
        }
        moved = logits[i] - margins * (np.arange(7) == y)
        expected["ldam"] = -np.log(np.exp(moved[y]) / np.exp(moved).sum())
        targets = np.eye(7, dtype=np.float32)[[y]]
        for how in LOSSES:
            found = make_loss(how, labels)(targets, outputs[i : i + 1].astype(np.float32))
            assert float(found[0]) == pytest.approx(expected[how], rel=1e-4), how
            double = make_loss(how, labels)(2 * targets, outputs[i : i + 1].astype(np.float32))
            assert float(double[0]) == pytest.approx(2 * expected[how], rel=1e-4)
    with pytest.raises(ValueError, match="no such loss: 'hinge'"):
        make_loss("hinge", labels)


@pytest.mark.parametrize("how", ["over", "under", *INTERPOLATING])
def test_another_seed_gives_another_set(data, resampled, how):
    """That the same seed gives the same bytes, is proved above: there it also had other test splits."""
    other = resample(data, how, seed=1)
    assert other.digest not in (resampled[how].digest, data.digest) and other.source != resampled[how].source
    assert other.train.images.tobytes() != resampled[how].train.images.tobytes()


def test_tiny_sets(data):
    def tiny(labels):
        labels = np.array(labels, np.int64)
        return replace(data, train=Split(data.train.images[: len(labels)], labels))

    new = resample(tiny([3] * 9 + [4] * 2), "smote")  # two pictures are each other's only neighbour
    assert counts(new.train)[[3, 4]].tolist() == [9, 9] and new.train.votes is None
    with pytest.raises(ValueError, match="fear: one picture has no neighbour"):
        resample(tiny([3] * 9 + [2]), "smote")
    for how in SAMPLERS:
        assert counts(resample(tiny([3] * 9), how).train)[3] == 9


def test_adasyn_says_where_no_neighbour_disagrees(data):
    images = np.repeat(np.array([0, 200], np.uint8), [9, 20])[:, None, None] + np.zeros(
        (29, 48, 48), np.uint8
    )
    images[:, 0, 0] = np.arange(29)
    apart = replace(data, train=Split(images, np.repeat([2, 3], [9, 20])))
    with pytest.raises(ValueError, match="adasyn"):
        resample(apart, "adasyn")
    assert counts(resample(apart, "borderline").train)[[2, 3]].tolist() == [9, 20]


def test_facts_by_split_lose_the_training_rows_only(data):
    flags = {name: np.zeros(len(split), bool) for name, split in data}
    marked = replace(data, extra={"no_face": flags, "order": "official"})
    extra = resample(marked, "over").extra
    assert set(extra) == {"no_face", "order", "provenance"}
    assert set(extra["no_face"]) == {"PublicTest", "PrivateTest"} and set(flags) == set(data.splits)
