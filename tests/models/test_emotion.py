"""facelib.models.emotion: both forms in which a network ships give the same answers."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest
import skimage.data

from facelib.emotions import OFFICIAL_COUNTS
from facelib.errors import InputError
from facelib.models import emotion, registry
from facelib.models.emotion import EMOTION_SIDE, normalisation
from facelib.models.gender import GENDER_SIDE

#: The networks that read faces; those that draw them ship without a graph.
READERS = [task for task in registry.shipped() if task not in registry.GENERATOR]


def inputs(task: str) -> np.ndarray:
    """The astronaut's face, flat pictures and noise, as the network wants them."""
    side = GENDER_SIDE if task == "gender" else EMOTION_SIDE
    face = cv2.resize(skimage.data.astronaut()[65:163, 176:274], (side, side), interpolation=cv2.INTER_AREA)
    noise = np.random.default_rng(0).integers(0, 256, (8, side, side, 3), np.uint8)
    batch = np.concatenate([face[None], face[None, :, ::-1], np.zeros_like(noise[:1]), noise])
    return (batch if task == "gender" else batch[..., :1]).astype(np.float32) / 255


@functools.cache
def answered(task: str) -> np.ndarray:
    """What the Keras model says to ``inputs``."""
    model = registry.load_shipped(task)
    assert model.count_params() == registry.card(task)["parameters"]
    return np.asarray(model.predict_on_batch(inputs(task)))


@pytest.mark.parametrize("task", READERS)
def test_the_graph_equals_the_keras_model(task):
    batch, expected = inputs(task), answered(task)
    graph = registry.OnnxNetwork(task)
    answers = graph(batch)
    assert answers.shape == expected.shape == (len(batch), 2 if task == "gender" else 7)
    assert np.abs(answers - expected).max() < 1e-4
    assert np.allclose(answers.sum(1), 1, atol=1e-5)
    assert np.ptp(answers, axis=0).max() > 0.05  # they look at their input
    for n in (1, 3):  # the number of pictures may change from call to call
        assert np.abs(graph(batch[:n]) - expected[:n]).max() < 1e-4


OTHER_BACKEND = """
import sys, numpy as np, keras
from facelib.models import registry
assert keras.backend.backend() == "jax"
for task in sys.argv[2:]:
    batch = np.load(f"{sys.argv[1]}/{task}.npy")
    answers = registry.load_shipped(task).predict_on_batch(batch)
    np.save(f"{sys.argv[1]}/{task}-answers.npy", np.asarray(answers))
"""


@pytest.mark.slow
def test_the_same_weights_answer_alike_under_another_backend(tmp_path):
    pytest.importorskip("jax")
    for task in READERS:
        np.save(tmp_path / f"{task}.npy", inputs(task))
    quick = {"XLA_FLAGS": "--xla_backend_optimization_level=0"}  # to compile
    environment = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"} | quick
    command = [sys.executable, "-c", OTHER_BACKEND, str(tmp_path), *READERS]
    subprocess.run(command, env=environment, check=True, timeout=300)
    for task in READERS:
        expected = answered(task)
        found = np.load(tmp_path / f"{task}-answers.npy")
        assert np.abs(found - expected).max() < 1e-4, task


TRAINED = """
import sys
from facelib.data.synthetic_faces import load_toyfaces
from facelib.training.train_emotion import train_emotion
options = {"epochs": 2, "steps_per_epoch": 6, "batch_size": 64, "progress": lambda line: None}
train_emotion(load_toyfaces(n=700), sys.argv[1], "tiny", **options)
"""


@pytest.mark.slow
def test_one_seed_gives_one_training_on_two_threads(tmp_path):
    """Two processes side by side, two threads each, with the fast kernels: equal losses to the last digit."""
    threads = os.environ | {"TF_NUM_INTRAOP_THREADS": "2", "TF_NUM_INTEROP_THREADS": "2"}
    outputs, logs = [tmp_path / "a", tmp_path / "b"], []
    both = [subprocess.Popen([sys.executable, "-c", TRAINED, output], env=threads) for output in outputs]
    assert [process.wait(600) for process in both] == [0, 0]
    for output in outputs:
        rows = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
        logs.append([{key: row[key] for key in row if key != "seconds"} for row in rows])
    assert logs[0] == logs[1] and len(logs[0]) == 2 and logs[0][1]["loss"] < logs[0][0]["loss"]


def test_the_fused_normalisation_is_keras_own():
    """Training and afterwards, its answers, gradients and moving averages; the variance that TensorFlow's
    kernel averages is the unbiased one."""
    import keras
    import tensorflow as tf

    inputs = np.random.default_rng(0).normal(3, 2, (64, 5, 5, 8)).astype(np.float32)
    layers = normalisation()(momentum=0.9), keras.layers.BatchNormalization(momentum=0.9)
    found = []
    for layer in layers:
        layer.build(inputs.shape)
        layer.gamma.assign(np.linspace(0.5, 2, 8))
        with tf.GradientTape() as tape:
            outputs = layer(inputs, training=True)
            loss = tf.reduce_sum(outputs**3)
        slopes = tape.gradient(loss, [layer.gamma.value, layer.beta.value])
        found.append([outputs, *slopes, layer.moving_mean, layer.moving_variance, layer(inputs)])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), rtol=2e-3, atol=2e-3)


def test_the_two_branch_network_is_saved_in_either_format(tmp_path):
    import keras

    model = registry.load_emotion_model()
    pictures = np.random.default_rng(0).random((2, 48, 48, 1), np.float32)
    for name in ("a.h5", "a.keras"):
        model.save(tmp_path / name)
        np.testing.assert_array_equal(keras.models.load_model(tmp_path / name)(pictures), model(pictures))


def test_another_class_prior_is_bayes_rule():
    """A network that says nothing but how frequent the emotions are in its training set says nothing."""
    shares = np.array(OFFICIAL_COUNTS["Training"]) / sum(OFFICIAL_COUNTS["Training"])
    read = emotion.reader(lambda inputs: np.tile(shares, (len(inputs), 1)), "uniform")
    left = (shares / shares.max()) ** (1 - emotion.PRIOR_STRENGTH)
    np.testing.assert_allclose(read(np.zeros((2, 48, 48, 1)))[0], left / left.sum(), rtol=1e-6)
    assert np.ptp(np.log(shares) + emotion.prior_bias("uniform", 1)) < 1e-9
    assert not emotion.prior_bias("fer2013").any()


def test_the_class_prior_is_folded_into_a_keras_model():
    read = emotion.reader(registry.OnnxNetwork("emotion-tiny"), "uniform")
    batch = inputs("emotion-tiny")
    model = registry.load_emotion_model("tiny", class_prior="uniform")
    np.testing.assert_allclose(model.predict_on_batch(batch), read(batch), atol=1e-4)
    assert np.abs(answered("emotion-tiny") - read(batch)).max() > 0.02


def test_crops_move_and_zoom():
    image = np.zeros((1, 48, 48, 1), np.float32)
    image[0, 20, 30], image[0, :, 0] = 1, 0.5
    bright = [np.argwhere(emotion.moved(image, i)[0, ..., 0] > 0.6).tolist() for i in range(5)]
    assert bright == [[[20, 30]], [[20, 32]], [[20, 28]], [[22, 30]], [[18, 30]]]
    assert (emotion.moved(image, 1)[0, 5, :3] == 0.5).all()  # the edge is repeated
    disc = (np.hypot(*(np.mgrid[:48, :48] - 23.5)) < 12).astype(np.float32)[None, ..., None]
    areas = [emotion.moved(disc, i).sum() / disc.sum() for i in (5, 6)]
    np.testing.assert_allclose(areas, [1.05**2, 1.05**-2], rtol=0.02)
    each = emotion.moved(np.concatenate([image, image]), np.array([1, 3]))
    np.testing.assert_array_equal(each, [emotion.moved(image, i)[0] for i in (1, 3)])


@pytest.mark.parametrize(("tta", "copies"), [("none", 1), ("mirror", 2), ("crops", 7)])
def test_augmentation_at_test_time_is_the_geometric_mean(tta, copies):
    seen = []

    def network(batch):
        logits = batch.reshape(len(batch), -1)[:, 1000:1007] * 9
        seen.append(np.exp(logits) / np.exp(logits).sum(1, keepdims=True))
        return seen[-1]

    batch = np.random.default_rng(0).random((3, 48, 48, 1), np.float32)
    found = emotion.reader(network, tta=tta)(batch)
    mean = np.prod(seen, axis=0) ** (1 / copies)
    assert len(seen) == copies
    np.testing.assert_allclose(found, mean / mean.sum(1, keepdims=True), rtol=1e-5)


@pytest.mark.parametrize("wrong", [{"tta": True}, {"tta": "flip"}, {"class_prior": "own"}])
def test_unknown_ways_to_read(wrong):
    with pytest.raises(InputError, match=f"{next(iter(wrong))} .* is unknown; choose"):
        emotion.reader(None, **wrong)
