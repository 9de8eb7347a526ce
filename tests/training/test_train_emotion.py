"""What the shipped networks learn from, and that what is shipped is what was learnt."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from facelib.data import synthetic_faces
from facelib.emotions import Split
from facelib.errors import InputError
from facelib.models import emotion
from facelib.training import runs, train_emotion, train_generator

#: Pictures of noise are all alike to a network that averages over places, unless their light differs.
BRIGHT = np.array([1, 0.5, 0.1, 0.8, 0.3], np.float32)[:, None, None, None]


def split(labels, votes=None) -> Split:
    labels = np.array(labels)
    return Split(np.zeros((len(labels), 48, 48), np.uint8), labels, votes)


def test_targets_are_the_label_and_the_votes():
    votes = np.zeros((3, 10), np.uint8)
    votes[0, [0, 6]] = 2, 8  # neutral, fear
    votes[1, 3] = 10
    targets = train_emotion.emotion_targets(split([2, 4, 6], votes), 0.07)
    assert targets.shape == (3, 17) and targets.dtype == np.float32
    np.testing.assert_allclose(targets[0, :7], [0.01, 0.01, 0.94, 0.01, 0.01, 0.01, 0.01], atol=1e-6)
    np.testing.assert_allclose(targets[0, 7:] / train_emotion.VOTES_WEIGHT, votes[0] / 10, atol=1e-6)
    assert not targets[2, 7:].any()  # nobody voted
    assert not train_emotion.emotion_targets(split([2, 4]), 0.1)[:, 7:].any()


def test_a_student_learns_what_its_teachers_say_of_its_own_pictures():
    """Nine parts to one of its target; each teacher sees another crop of each picture."""
    seen = []

    class Teacher:
        def __init__(self, says):
            self.says = says

        def predict_on_batch(self, inputs):
            seen.append(inputs)
            return np.tile(self.says, (len(inputs), 1))

    x = np.random.default_rng(0).random((9, 40, 40, 1), np.float32)
    y = np.random.default_rng(1).random((9, 17), np.float32)
    told = train_emotion.matching([Teacher(np.full(17, 0.2)), Teacher(np.full(17, 0.4))])(x, y)
    np.testing.assert_allclose(told[:, :7], 0.1 * y[:, :7] + 0.9 * 0.3, rtol=1e-5)
    votes = 0.3 * train_emotion.VOTES_WEIGHT
    np.testing.assert_allclose(told[:, 7:], 0.1 * y[:, 7:] + 0.9 * votes, rtol=1e-5)
    np.testing.assert_array_equal(seen[0], emotion.moved(x, np.arange(9) % 7))
    np.testing.assert_array_equal(seen[1], emotion.moved(x, (np.arange(9) + 1) % 7))


TOY = """
import sys
from pathlib import Path
from facelib.data.synthetic_faces import load_toyfaces
from facelib.models import emotion
from facelib.training import train_emotion
emotion._RESIDUAL["resnet"] = ((8, 2, 3), ((8, 1, 1), (16, 2, 1)), 0.4, True)
emotion._PLAIN["vgg"] = ((8,), (16,))
options = {"epochs": 1, "steps_per_epoch": 3, "batch_size": 16, "resume": True}
options["progress"] = lambda line: print(line, flush=True)
train_emotion.train_with_teachers(load_toyfaces(n=240), Path(sys.argv[1]), "tiny", 2, **options)
"""


def test_teachers_and_student_from_nothing_killed_and_resumed(tmp_path):
    """Small networks stand for the large ones; killed after the first of the student's two epochs."""
    command = [sys.executable, "-c", TOY, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as first:
        for line in first.stdout:
            if line.startswith("epoch 1/2"):
                first.kill()
    folders = [tmp_path / name for name in ("teacher-1", "teacher-2", "tiny-windows", "tiny")]
    assert [(each / runs.RECORD).exists() for each in folders] == [True, True, False, False]
    before = [(each / runs.FINAL_WEIGHTS).stat().st_mtime_ns for each in folders[:2]]
    again = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert again.returncode == 0, again.stderr[-2000:]
    assert before == [(each / runs.FINAL_WEIGHTS).stat().st_mtime_ns for each in folders[:2]]
    assert [row["epoch"] for row in runs.read_log(folders[2] / runs.LOG)] == [1, 2]
    kinds = [runs.record(each)["architecture"] for each in folders]
    assert kinds == ["resnet", "vgg", "tiny", "tiny"]
    record = runs.record(folders[3])
    assert record["command"].startswith("facelib train emotion --teachers 2 --model tiny --seed 0 --epochs 1")
    assert len(record["teachers_public_accuracy"]) == 2 and 0 <= record["ensemble_public_accuracy"] <= 1
    assert record["first_course"]["recipe"] == runs.record(folders[2])["recipe"]
    assert runs.load_run(folders[3]).count_params() < 100_000
    with pytest.raises(InputError, match="a teacher is a run of .*, not of deepface"):
        (folders[3] / runs.RECORD).write_text(json.dumps(record | {"architecture": "deepface"}))
        runs.load_trained(folders[3])


@pytest.mark.parametrize("train", [train_emotion.train_emotion, train_generator.train_prior])
def test_stage_two_needs_stage_one(train, tmp_path):
    with pytest.raises(InputError, match="no finished run to go on from"):
        train(None, tmp_path / "second", start=tmp_path / "first")
    with pytest.raises(InputError, match="lost the head"):
        train_emotion.train_emotion(None, tmp_path, start="shipped")


class Begun(Exception):
    """The first epoch would begin."""


@pytest.mark.filterwarnings("ignore:no PublicTest")
@pytest.mark.parametrize("trainer", ["train_emotion", "train_vqvae"])
def test_without_public_test_the_first_epoch_is_measured_on_a_part_of_training(
    trainer, tmp_path, monkeypatch
):
    module = train_emotion if trainer == "train_emotion" else train_generator
    data = synthetic_faces.load_toyfaces(n=1500)
    data = replace(data, public_test=data.public_test[:0])

    def fit(*positional, validate, **options):
        images, seen = positional[1], []

        class Model:
            def predict(self, inputs, **_):
                seen.append(np.asarray(inputs))
                raise Begun

        with pytest.raises(Begun):
            validate(Model())
        assert len(seen[0]) == len(data.train) - len(images) > 40
        held = {(255 * each).round().astype(np.uint8).tobytes() for each in seen[0][..., 0]}
        assert held.isdisjoint(image.tobytes() for image in images)
        raise Begun

    monkeypatch.setattr(module, "fit", fit)
    with pytest.raises(Begun):
        getattr(module, trainer)(data, tmp_path, epochs=1, progress=lambda line: None)
    with pytest.raises(InputError, match="has no rows in Training"):
        getattr(module, trainer)(replace(data, train=data.train[:0]), tmp_path, epochs=1)


def test_the_loss_is_the_sum_of_both_heads():
    rng = np.random.default_rng(0)
    heads = rng.dirichlet(np.ones(7), 4), rng.dirichlet(np.ones(10), 4)
    targets = np.hstack([rng.dirichlet(np.ones(7), 4), 0.5 * rng.dirichlet(np.ones(10), 4)])
    found = np.asarray(train_emotion.two_heads(targets.astype("f"), np.hstack(heads).astype("f")))
    expected = -(targets[:, :7] * np.log(heads[0])).sum(1) - (targets[:, 7:] * np.log(heads[1])).sum(1)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize("name", ["resnet", "vgg", "deep", "tiny"])
def test_what_is_shipped_answers_as_what_was_trained(name):
    """Normalisation and calibration are folded into the weights."""
    rng = np.random.default_rng(0)
    trained = emotion.emotion_network(name, votes=True)
    trained.set_weights(
        [np.abs(w + rng.normal(0, 0.2, w.shape)) if w.ndim == 1 else w for w in trained.get_weights()]
    )
    bias = rng.normal(size=7)
    shipped = emotion.fold_batch_norm(trained, name, 1.7, bias - bias.mean())
    pictures = rng.random((3, 48, 48, 1), np.float32) * BRIGHT[:3]
    logs = np.log(trained.predict(pictures, verbose=0)[:, :7]) / 1.7 + bias
    expected = np.exp(logs) / np.exp(logs).sum(1, keepdims=True)
    found = shipped.predict(pictures, verbose=0)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.ptp(found, axis=0).max() > 1e-4
    # Windows of any side go through the network that is trained.
    assert trained.predict(pictures[:, :40, :40], verbose=0).shape == (3, 17)


def finished(name: str, seed: int):
    rng = np.random.default_rng(seed)
    model = emotion.emotion_network(name, shipped=True)
    model.set_weights([w + rng.normal(0, 0.02, w.shape) for w in model.get_weights()])
    return model


def test_two_branches_predict_the_mean_of_their_logits():
    branches = [finished(name, i) for i, name in enumerate(emotion.BRANCHES)]
    pictures = np.random.default_rng(0).random((5, 48, 48, 1), np.float32) * BRIGHT
    logs = np.mean([np.log(branch.predict(pictures, verbose=0)) for branch in branches], axis=0) / 1.3
    logs += np.arange(7) / 10
    expected = np.exp(logs) / np.exp(logs).sum(1, keepdims=True)
    found = emotion.merge_branches(branches, 1.3, np.arange(7) / 10).predict(pictures, verbose=0)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.ptp(found, axis=0).max() > 1e-3


def test_runs_of_two_branches_are_merged(tmp_path):
    folders = [tmp_path / name for name in emotion.BRANCHES]
    data = synthetic_faces.load_toyfaces(n=300, seed=0)
    with pytest.raises(InputError, match="no finished run is there; train it first"):
        train_emotion.merge_runs(data, tmp_path / "both", folders)
    for number, folder in enumerate(folders):
        network, command = finished(folder.name, number), f"train {number}"
        runs.write(folder, network, folder.name, {"seed": 5 + number}, data, command=command)
    model, config = train_emotion.merge_runs(data, tmp_path / "both", folders)
    record = runs.record(tmp_path / "both")
    assert config["seed"] == 5 and record["columns"][1]["command"] == "train 1"
    inputs = emotion.emotion_inputs(data.public_test.images[:3])
    again = runs.load_run(tmp_path / "both").predict(inputs, verbose=0)
    np.testing.assert_array_equal(again, model.predict(inputs, verbose=0))
    with pytest.raises(InputError, match="columns are runs of deep, plain, in this order, not of plain"):
        train_emotion.merge_runs(data, tmp_path / "both", folders[::-1])
