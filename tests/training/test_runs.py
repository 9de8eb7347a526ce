"""A run is complete whoever starts it, under each backend of Keras."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys

import pytest

from facelib.errors import InputError
from facelib.models import registry
from facelib.training import runs
from helpers import UNPLUGGED, new_user, written_below

#: Every trainer as a Python caller uses it, on tiny data; small networks stand for the slow ones. A run whose
#: network is one of ours is found and loaded again; what is shipped at the end is cleared of training state.
TRAIN = """
import json, sys
import numpy as np
from functools import partial
from pathlib import Path
from facelib.data.synthetic_faces import load_toyfaces
from facelib.data.utkface import GenderData
from facelib.errors import InputError
from facelib.training import runs, train_emotion, train_gender, train_generator
from facelib.models import masked_prior, vqvae
from facelib.backend import keras

place, data, rng = Path(sys.argv[1]), load_toyfaces(n=240), np.random.default_rng(0)
quiet = {"epochs": 1, "steps_per_epoch": 2, "batch_size": 16, "progress": lambda line: None}
train_emotion.train_emotion(data, place / "first", "tiny", **quiet)
train_emotion.train_emotion(data, place / "emotion", "tiny", teachers=[place / "first"], **quiet)
train_emotion.train_emotion(data, place / "two", "tiny", start=place / "emotion", **quiet)
crops, labels = rng.integers(0, 256, (40, 84, 84, 3), np.uint8), rng.integers(0, 2, 40)
people = GenderData(crops, labels, np.full(40, 30), np.arange(40) < 8, "0" * 16)
train_gender.train_gender(people, place / "gender", **quiet)
small = lambda: vqvae.autoencoder(vqvae.ResidualQuantizer(2, 16, 8), (8, 8, 8))
codec, _ = train_generator.train_vqvae(data, place / "vqvae", small, **quiet | {"steps_per_epoch": 5})
assert codec.get_layer("quantizer").is_started
vqvae.clear_averages(codec)
train_generator.train_prior(data, place / "prior", codec, partial(masked_prior.prior, 16, 1, 2), **quiet)
for name in ("emotion", "two", "gender"):
    network = runs.load_run(place / name)
    found = np.asarray(network.predict_on_batch(np.zeros((2, *network.input_shape[1:]), np.float32)))
    assert np.isfinite(found).all() and np.allclose(found.sum(1), 1, atol=1e-5)
print(keras.backend.backend())
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return train("tensorflow", tmp_path_factory.mktemp("runs"))


def train(backend: str, place):
    environment = os.environ | {"KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu"}
    environment["XLA_FLAGS"] = (
        "--xla_backend_optimization_level=0"  # compiling takes longer than the few steps
    )
    done = subprocess.run(
        [sys.executable, "-c", TRAIN, str(place)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0 and done.stdout.split()[-1] == backend, done.stderr[-2000:]
    return place


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_all_networks_learn_under_another_backend(backend, tmp_path):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    train(backend, tmp_path)


def test_a_python_caller_gets_complete_runs_of_one_schema(finished):
    common = {"architecture", "recipe", "data", "data_digest", "command"}
    more = {"emotion": set(), "two": {"first_course"}, "gender": set(), "vqvae": set(), "prior": set()}
    for name, fields in more.items():
        record = runs.record(finished / name)
        assert set(record) == common | fields and (finished / name / runs.FINAL_WEIGHTS).is_file()
        assert record["recipe"] == json.loads((finished / name / runs.CONFIG).read_text())
    assert runs.record(finished / "gender")["data"] == "utkface"
    two = runs.record(finished / "two")
    assert two["first_course"]["recipe"] == runs.record(finished / "emotion")["recipe"]
    start = f"--dataset toy --model tiny --start {finished / 'emotion'}"
    assert two["command"] == f"facelib train emotion --seed 0 --epochs 1 {start}"
    taught = f"--model tiny --teacher {finished / 'first'}"
    assert runs.record(finished / "emotion")["command"].endswith(taught)


def test_runs_that_cannot_be_loaded(finished, tmp_path):
    with pytest.raises(InputError, match="no finished run is there; train it first"):
        runs.load_run(tmp_path)
    with pytest.raises(InputError, match="its network is not one of ours"):
        runs.load_run(finished / "vqvae")


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", '{"recipe": {}}', '{"architecture": ["x"], "recipe": {}}', "[" * 100_000,
     '{"architecture": "tiny", "recipe": 3}'],
)  # fmt: skip
def test_a_damaged_record_is_named(content, tmp_path):
    (tmp_path / runs.RECORD).write_text(content)
    with pytest.raises(
        InputError, match=r"run\.json: .*damaged.*; delete the folder and train again"
    ) as caught:
        runs.record(tmp_path)
    assert "\n" not in str(caught.value)


def test_stage_one_is_looked_at_before_stage_two_begins(tmp_path):
    (tmp_path / runs.STAGE_ONE).write_bytes(b"")
    with pytest.raises(InputError, match="no finished run to go on from"):
        runs.stage_one_weights(tmp_path)
    (tmp_path / runs.CONFIG).write_text("{")
    with pytest.raises(InputError, match=r"recipe\.json: .*damaged"):
        runs.stage_one_weights(tmp_path)


def test_the_record_of_stage_two_says_what_stage_one_was():
    card = registry.card("prior")
    shipped = runs.stage_one_facts("shipped")["first_course"]
    assert shipped == {key: card[key] for key in ("recipe", "weights_digest")}


QUIET = """
import os
import facelib.models.vqvae
assert os.environ["TF_ENABLE_ONEDNN_OPTS"] == "0"
from tensorflow.python.util import _pywrap_util_port as port
assert port.IsMklEnabled()
import sys; sys.exit(3)
"""


def test_importing_a_module_is_enough(tmp_path):
    """TensorFlow starts in silence, offline and with oneDNN, and the environment is what it was."""
    command, environment = [sys.executable, "-c", UNPLUGGED + QUIET], new_user(tmp_path)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert (done.returncode, done.stderr) == (3, "")
    settings = (".keras/keras.json", ".cache/matplotlib/fontlist")  # and no id of the machine
    assert all(name.startswith(settings) for name in written_below(tmp_path))
