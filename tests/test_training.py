"""Augmentation, and a run that is interrupted and taken up again as if nothing had happened."""

import json

import numpy as np
import pytest

from facelib import training
from facelib.paths import InputError

STILL = training.Augmentation(
    rotation=0, scale=1, shift=0, flip=False, contrast=0, brightness=0, erase=0, gray=0, low_resolution=0
)


def pictures(n, side, colour=False, seed=0):
    shape = (n, side, side, 3) if colour else (n, side, side)
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def test_without_augmentation_nothing_changes():
    images = pictures(5, 48)
    out = training.augment(images, np.random.default_rng(0), STILL, 48)
    assert out.shape == (5, 48, 48, 1) and out.dtype == np.float32
    np.testing.assert_allclose(out[..., 0], images / 255, atol=1e-6)


def test_larger_pictures_are_cut_to_their_centre():
    images = pictures(3, 84, colour=True)
    out = training.augment(images, np.random.default_rng(0), STILL, 64)
    np.testing.assert_allclose(out, images[:, 10:74, 10:74] / 255, atol=1e-6)


def test_flip_mirrors_about_half_of_the_pictures():
    images = pictures(200, 48)
    flip = training.Augmentation(**(STILL.__dict__ | {"flip": True}))
    out = training.augment(images, np.random.default_rng(0), flip, 48)[..., 0]
    mirrored = [np.allclose(a, b[:, ::-1] / 255, atol=1e-6) for a, b in zip(out, images, strict=True)]
    kept = [np.allclose(a, b / 255, atol=1e-6) for a, b in zip(out, images, strict=True)]
    assert all(m != k for m, k in zip(mirrored, kept, strict=True)) and 70 < sum(mirrored) < 130


def test_rotation_turns_about_the_centre():
    image = np.zeros((1, 48, 48), np.uint8)
    image[0, 23:25, 40:44] = 255
    turn = training.Augmentation(**(STILL.__dict__ | {"rotation": 90.0}))
    out = training.augment(np.repeat(image, 50, 0), np.random.default_rng(0), turn, 48)[..., 0]
    y, x = np.mgrid[:48, :48] - 23.5
    radius = [(np.hypot(y, x) * o).sum() / o.sum() for o in out]
    np.testing.assert_allclose(radius, 18, atol=0.5)
    assert np.ptp([(y * o).sum() / o.sum() for o in out]) > 20


def test_gray_removes_colour_and_values_stay_in_range():
    how = training.Augmentation(gray=1.0, erase=1.0, contrast=0.9, brightness=0.5, low_resolution=1.0)
    out = training.augment(pictures(20, 64, colour=True), np.random.default_rng(0), how, 64)
    assert np.ptp(out, axis=-1).max() < 1e-5
    assert out.min() >= 0 and out.max() <= 1


def test_the_same_seed_gives_the_same_batch_and_another_does_not():
    images = pictures(8, 48)
    one, two, other = (
        training.augment(images, np.random.default_rng(seed), training.Augmentation(), 48)
        for seed in (1, 1, 2)
    )
    assert (one == two).all() and (one != other).any()


class Stop(Exception):
    pass


def _fit(folder, epochs, resume=False, stop_after=None, learning_rate=0.1, mixed=False):
    """A network of 50 parameters that learns whether a picture is bright."""
    import keras

    def build():
        return keras.Sequential(
            [
                keras.Input((8, 8, 1)),
                keras.layers.Flatten(),
                keras.layers.Dropout(0.2),
                keras.layers.Dense(2, activation="softmax", dtype="float32"),
            ]
        )

    def progress(line):
        if stop_after and line.startswith(f"epoch {stop_after}/"):
            raise Stop

    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 128)
    images = (rng.integers(0, 100, (128, 8, 8)) + 130 * labels[:, None, None]).astype(np.uint8)
    recipe = training.Recipe(
        epochs=epochs,
        batch_size=32,
        learning_rate=learning_rate,
        ema=0.5,
        mixed_precision=mixed,
        augmentation=STILL,
    )

    def validate(model):
        answers = np.asarray(model.predict(images[..., None] / 255, verbose=0)).argmax(1)
        return {"accuracy_held": float((answers == labels).mean())}

    return training.fit(build, images, labels, recipe, folder, 2, 8, validate, resume, progress)


def test_an_interrupted_run_ends_like_one_that_was_not(tmp_path):
    whole = _fit(tmp_path / "whole", 5)
    with pytest.raises(Stop):
        _fit(tmp_path / "cut", 5, stop_after=2)
    with np.load(tmp_path / "cut" / "checkpoint.npz") as stored:
        assert stored["epoch"] == 2
    resumed = _fit(tmp_path / "cut", 5, resume=True)
    for a, b in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    log = [json.loads(line) for line in (tmp_path / "cut" / "log.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in log] == [1, 2, 3, 4, 5]
    assert log[-1]["accuracy_held"] > 0.9


def test_two_runs_with_one_seed_are_equal_in_mixed_precision(tmp_path):
    one, two = (_fit(tmp_path / name, 2, mixed=True) for name in "ab")
    assert all((a == b).all() for a, b in zip(one.get_weights(), two.get_weights(), strict=True))
    assert {w.dtype for w in one.get_weights()} == {np.dtype("float32")}


def test_resuming_with_another_recipe_is_refused(tmp_path):
    _fit(tmp_path, 1)
    with pytest.raises(InputError, match="another recipe"):
        _fit(tmp_path, 1, resume=True, learning_rate=1e-3)
