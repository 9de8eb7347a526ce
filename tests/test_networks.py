"""facelib.networks: both forms in which a network ships give the same answers."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import skimage.data

from facelib import networks
from facelib.paths import InputError


def inputs(task: str) -> np.ndarray:
    """The astronaut's face, flat pictures and noise, as the network wants them."""
    side = networks.EMOTION_SIDE if task == "emotion" else networks.GENDER_SIDE
    face = cv2.resize(skimage.data.astronaut()[65:163, 176:274], (side, side), interpolation=cv2.INTER_AREA)
    noise = np.random.default_rng(0).integers(0, 256, (8, side, side, 3), np.uint8)
    batch = np.concatenate([face[None], face[None, :, ::-1], np.zeros_like(noise[:1]), noise])
    return (batch[..., :1] if task == "emotion" else batch).astype(np.float32) / 255


@pytest.mark.parametrize("task", ["emotion", "gender"])
def test_the_graph_equals_the_keras_model(task):
    load = networks.load_emotion_model if task == "emotion" else networks.load_gender_model
    batch = inputs(task)
    model = load()
    assert model.count_params() == networks.assets.card(task)["parameters"]
    expected = np.asarray(model.predict_on_batch(batch))
    graph = networks.GraphNetwork(task)
    answers = graph(batch)
    assert answers.shape == expected.shape == (len(batch), 7 if task == "emotion" else 2)
    assert np.abs(answers - expected).max() < 1e-4
    assert np.allclose(answers.sum(1), 1, atol=1e-5)
    assert np.ptp(answers, axis=0).max() > 0.05  # they look at their input
    for n in (1, 3):  # the number of pictures may change from call to call
        assert np.abs(graph(batch[:n]) - expected[:n]).max() < 1e-4


def test_unknown_networks():
    with pytest.raises(InputError, match="unknown emotion model 'vgg'; choose facelib or deepface"):
        networks.load_emotion_model("vgg")
    with pytest.raises(InputError, match="no weights called 'age' are shipped"):
        networks.GraphNetwork("age")
