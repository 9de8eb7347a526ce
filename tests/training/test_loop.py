"""A run that is interrupted, at any step, is taken up again as if nothing had happened."""

import itertools
import json
import os
import shutil

import numpy as np
import pytest

from facelib.errors import InputError
from facelib.models import registry
from facelib.training import loop
from facelib.training.augmentation import Augmentation

STILL = Augmentation(
    rotation=0, scale=1, shift=0, flip=False, contrast=0, brightness=0, erase=0, gray=0, low_resolution=0
)


class Stop(Exception):
    pass


def _fit(folder, epochs, resume=False, stop=None, learning_rate=0.1, mixed=False, save_every=1e9):
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
        if stop and line.startswith(stop):
            raise Stop

    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 128)
    images = (rng.integers(0, 100, (128, 8, 8)) + 130 * labels[:, None, None]).astype(np.uint8)
    config = loop.TrainingConfig(
        epochs=epochs,
        batch_size=32,
        learning_rate=learning_rate,
        label_smoothing=0.0,
        ema=0.5,
        mixed_precision=mixed,
        augmentation=STILL,
    )

    def validate(model):
        answers = np.asarray(model.predict(images[..., None] / 255, verbose=0)).argmax(1)
        return {"accuracy_held": float((answers == labels).mean())}

    targets = np.eye(2, dtype=np.float32)[labels]
    return loop.fit(
        build, images, targets, config, folder, 8,
        validate=validate, resume=resume, progress=progress, save_every=save_every,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("stop", "step", "save_every", "stored"),
    [
        ("epoch 2/", None, 1e9, 4),  # the second epoch is logged before it is saved
        (None, 6, 1e9, 4),
        (None, 6, 0, 6),
    ],
    ids=["after an epoch", "within an epoch", "within an epoch, saved at each step"],
)
def test_an_interrupted_run_ends_like_one_that_was_not(stop, step, save_every, stored, tmp_path, monkeypatch):
    """Of four steps an epoch; it goes on at the last step that was saved."""

    steps, batches = itertools.count(), loop.batches

    def breaking(*arguments):
        for batch in batches(*arguments):
            if next(steps) == step:
                raise Stop
            yield batch

    whole = _fit(tmp_path / "whole", 4)
    with monkeypatch.context() as patch, pytest.raises(Stop):
        patch.setattr(loop, "batches", breaking)
        _fit(tmp_path / "cut", 4, stop=stop, save_every=save_every)
    with np.load(tmp_path / "cut" / "checkpoint.npz") as checkpoint:
        assert checkpoint["step"] == stored
    resumed = _fit(tmp_path / "cut", 4, resume=True)
    for a, b in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    logs = [
        [json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        for name in ("whole", "cut")
    ]
    assert [row["epoch"] for row in logs[1]] == [1, 2, 3, 4] and logs[1][-1]["accuracy_held"] > 0.9
    np.testing.assert_allclose(*([row["loss"] for row in log] for log in logs), rtol=1e-5)


def test_two_runs_with_one_seed_are_equal_in_mixed_precision(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "precision", lambda mixed: "mixed_bfloat16" if mixed else "float32")
    one, two = (_fit(tmp_path / name, 2, mixed=True) for name in "ab")
    assert all((a == b).all() for a, b in zip(one.get_weights(), two.get_weights(), strict=True))
    assert {w.dtype for w in one.get_weights()} == {np.dtype("float32")}


def test_the_precision_policy_of_the_caller_stays(tmp_path):
    import keras

    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy("mixed_float16")
    try:
        model = _fit(tmp_path, 1)
        assert keras.mixed_precision.dtype_policy().name == "mixed_float16"
        assert model.layers[0].dtype_policy.name == "float32"
    finally:
        keras.mixed_precision.set_dtype_policy(before)


def test_resuming_with_another_config_is_refused(tmp_path):
    _fit(tmp_path, 1)
    with pytest.raises(InputError, match="another configuration"):
        _fit(tmp_path, 1, resume=True, learning_rate=1e-3)


def _spoil(path, change) -> None:
    """Change the arrays of a checkpoint."""
    with np.load(path) as stored:
        arrays = dict(stored)
    change(arrays)
    np.savez(path, **arrays)


#: A file of the run's folder, what is done to it, and what is said; nothing: it does no harm.
DAMAGE = {
    "half a line": ("log.jsonl", lambda f: f.write_text(f.read_text() + '{"epoch": 2, "lo'), ""),
    "a line that is not ours": ("log.jsonl", lambda f: f.write_text(f"[1]\n{f.read_text()}null\n\x00"), ""),
    "half a checkpoint": ("checkpoint.npz", lambda f: os.truncate(f, f.stat().st_size // 2), "damaged"),
    "an empty checkpoint": ("checkpoint.npz", lambda f: os.truncate(f, 0), "damaged"),
    "nan": ("checkpoint.npz", lambda f: _spoil(f, lambda a: a["1"].fill(np.nan)), "no training leaves"),
    "a step below 0": (
        "checkpoint.npz",
        lambda f: _spoil(f, lambda a: a.update(step=-1)),
        "no training leaves",
    ),
    "another shape": (
        "checkpoint.npz",
        lambda f: _spoil(f, lambda a: a.update({"0": a["0"][:1]})),
        "other shapes",
    ),
    "a part is missing": ("checkpoint.npz", lambda f: _spoil(f, lambda a: a.pop("1")), "damaged"),
    "too much": (
        "checkpoint.npz",
        lambda f: _spoil(f, lambda a: a.update(x=np.zeros(3 << 20))),
        "more than belong",
    ),
    "no recipe": ("recipe.json", lambda f: f.write_text("{"), "damaged"),
    "a hostile recipe": ("recipe.json", lambda f: f.write_text("[" * 100_000), "damaged"),
}


@pytest.fixture(scope="module")
def two_epochs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "whole"
    return folder, _fit(folder, 2).get_weights()


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_run_is_taken_up_or_named(name, two_epochs, tmp_path):
    file, spoil, message = DAMAGE[name]
    folder = shutil.copytree(two_epochs[0], tmp_path / "run")
    spoil(folder / file)
    if message:
        with pytest.raises(InputError, match=f"{file}: .*{message}.*; delete it to begin the run anew"):
            _fit(folder, 2, resume=True)
        return
    for a, b in zip(_fit(folder, 2, resume=True).get_weights(), two_epochs[1], strict=True):
        np.testing.assert_array_equal(a, b)
    assert [json.loads(line)["epoch"] for line in (folder / "log.jsonl").read_text().splitlines()] == [1, 2]


def test_batches_are_the_same_from_wherever_they_start():
    images = np.random.default_rng(0).integers(0, 256, (70, 8, 8), np.uint8)
    targets = np.eye(7, dtype=np.float32)[np.arange(70) % 7]
    config = loop.TrainingConfig(epochs=2, batch_size=16, mixup=0.5)
    whole = list(itertools.islice(loop.batches(images, targets, config, 8), 6))
    later = list(itertools.islice(loop.batches(images, targets, config, 8, start=4), 2))
    for (x, y), (u, v) in zip(whole[4:], later, strict=True):
        assert (x == u).all() and (y == v).all()
    assert not np.array_equal(whole[0][0], whole[4][0])  # another pass, another order
    np.testing.assert_allclose(whole[0][1].sum(1), 1, rtol=1e-6)


def test_targets_may_change_as_the_run_goes_on():
    images, ones = np.zeros((64, 8, 8), np.uint8), np.ones((64, 2), np.float32)
    config = loop.TrainingConfig(epochs=2, batch_size=16, augmentation=STILL)
    stream = loop.batches(images, lambda share: share * ones, config, 8)
    assert [float(y[0, 0]) for _, y in itertools.islice(stream, 8)] == [i / 8 for i in range(8)]


def test_mixing_mixes_pictures_and_targets_alike():
    labels = np.arange(64) % 2
    images = np.broadcast_to((labels * 255).astype(np.uint8)[:, None, None], (64, 8, 8))
    config = loop.TrainingConfig(epochs=1, batch_size=64, mixup=1.0, augmentation=STILL)
    x, y = next(loop.batches(images, np.eye(2, dtype=np.float32)[labels], config, 8))
    np.testing.assert_allclose(x[:, 0, 0, 0], y[:, 1], atol=1e-6)
    assert ((y > 0.01) & (y < 0.99)).any()


def test_what_is_taught_takes_the_targets_place(tmp_path, monkeypatch):
    """It gets the batch as the network does, in order."""
    import keras

    given = []

    def teach(x, y):
        given.append((x, y))
        return y[:, ::-1]

    def build():
        return keras.Sequential(
            [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(2, "softmax")]
        )

    labels = np.arange(64) % 2
    images = np.broadcast_to((labels * 200).astype(np.uint8)[:, None, None], (64, 8, 8))
    targets = np.eye(2, dtype=np.float32)[labels]
    config = loop.TrainingConfig(epochs=8, batch_size=16, learning_rate=0.1, ema=0.5, augmentation=STILL)
    model = loop.fit(build, images, targets, config, tmp_path, 8, teach=teach, progress=lambda line: None)
    stream = loop.batches(images, targets, config, 8)
    for x, y in given:
        u, v = next(stream)
        assert (x == u).all() and (y == v).all()
    found = model.predict(images[..., None] / 255, verbose=0)
    assert len(given) == 32 and (found.argmax(1) != labels).all()  # the reverse was taught


def test_an_older_runs_configuration_lacks_new_fields(tmp_path):
    _fit(tmp_path, 1)
    recipe = json.loads((tmp_path / "recipe.json").read_text())
    del recipe["cutmix"], recipe["augmentation"]["jpeg"]
    (tmp_path / "recipe.json").write_text(json.dumps(recipe))
    _fit(tmp_path, 1, resume=True)


def test_too_few_pictures_for_a_batch(tmp_path):
    with pytest.raises(InputError, match="3 pictures are fewer than one batch of 128"):
        loop.fit(None, np.zeros((3, 8, 8), np.uint8), np.ones((3, 2)), loop.TrainingConfig(), tmp_path, 8)
