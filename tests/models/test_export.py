"""facelib.models.export: one file of numbers, which Keras and the graph both read."""

from __future__ import annotations

import json

import numpy as np
import pytest

from facelib.models import export, registry
from facelib.models.emotion import emotion_network

FACTS = {"data": "none", "data_digest": "0", "command": "facelib train"}


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "WEIGHTS", tmp_path)
    registry._session.cache_clear()
    yield tmp_path
    registry._session.cache_clear()


@pytest.mark.slow
def test_a_graph_reads_its_numbers_from_the_weights(elsewhere):
    pytest.importorskip("tf2onnx", reason="only who ships a network needs the extra `export`")
    rng = np.random.default_rng(0)
    model = emotion_network("tiny", shipped=True)
    model.set_weights([w + rng.normal(0, 0.05, w.shape) for w in model.get_weights()])
    export.export(model, "emotion-tiny", "tiny", FACTS, {"seed": 3})
    pictures = rng.random((5, 48, 48, 1), np.float32)
    found = registry.OnnxNetwork("emotion-tiny")(pictures)
    np.testing.assert_allclose(found, model.predict(pictures, verbose=0), atol=1e-5)
    np.testing.assert_allclose(
        found, registry.load_shipped("emotion-tiny").predict(pictures, verbose=0), atol=1e-5
    )
    weights, graph = elsewhere / "emotion-tiny.weights.h5", elsewhere / "emotion-tiny.onnx"
    assert graph.stat().st_size < weights.stat().st_size / 4  # it has no copy of them
    card = json.loads((elsewhere / "emotion-tiny.json").read_text())
    assert card["recipe"] == {"seed": 3} and card["parameters"] == model.count_params()
