"""facelib.vision.recognition: faces aligned to the template, compared, and found in a folder."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import skimage.data
from PIL import Image

import facelib
from facelib import paths
from facelib.errors import InputError
from facelib.models import registry
from facelib.vision import recognition
from facelib.vision.detection import Detection
from helpers import ASTRONAUT

COLOURS = {"red": (200, 20, 20), "rose": (200, 60, 70), "blue": (20, 20, 200), "gray": (90, 90, 90)}


def picture(*names: str) -> np.ndarray:
    """Coloured squares on black, smaller and smaller from left to right."""
    image = np.zeros((60, 60 * len(names), 3), np.uint8)
    for i, name in enumerate(names):
        image[: 50 - 5 * i, 60 * i : 60 * i + 50 - 5 * i] = COLOURS[name]
    return image


def squares(image: np.ndarray) -> list[Detection]:
    """A detector of these squares, smallest first."""
    found = []
    for left in range(0, image.shape[1], 60):
        side = int((image[0, left : left + 60].sum(1) > 30).sum())
        if side:
            eyes = (left + side * 0.3, side * 0.4), (left + side * 0.7, side * 0.4)
            found.append(Detection((left, 0, side, side), eyes, 0.9, (left + side / 2, side / 2, side)))
    return found[::-1]


def colour(face: np.ndarray) -> np.ndarray:
    """An embedding: the colour between the eyes."""
    assert face.shape == (112, 112, 3) and face.dtype == np.uint8
    return face[45:58, 40:72].mean((0, 1))


STUB = {"detector": squares, "embed": colour}


@pytest.mark.parametrize("points", [2, 5])
@pytest.mark.parametrize(("angle", "scale"), [(0, 1.0), (0.4, 2.5), (-1.2, 0.7)])
def test_landmarks_come_to_their_places(points, angle, scale):
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    there = recognition.TEMPLATE @ turn.T + 150
    image = np.zeros((600, 600, 3), np.uint8)
    for number, point in enumerate(there):
        cv2.circle(
            image, tuple(np.rint(point).astype(int).tolist()), round(4 * scale), (50 * number + 50,) * 3, -1
        )
    aligned = recognition.align(image, there[:points])
    for number, (x, y) in enumerate(recognition.TEMPLATE.round().astype(int)):
        assert np.abs(aligned[y - 1 : y + 2, x - 1 : x + 2].mean() - 50 * number - 50) < 12


def test_verify_compares_the_largest_faces():
    found = facelib.verify(picture("red", "blue"), picture("rose"), **STUB)
    assert found.same and found.faces[0].box == (0, 0, 50, 50) and found.others == (1, 0)
    vectors = [np.array(COLOURS[name]) / np.linalg.norm(COLOURS[name]) for name in ("red", "rose", "blue")]
    assert found.similarity == pytest.approx(vectors[0] @ vectors[1], abs=0.01)
    assert found.distance == pytest.approx(np.linalg.norm(vectors[0] - vectors[1]), abs=0.02)
    other = facelib.verify(picture("red"), picture("blue"), **STUB)
    assert not other.same and other.threshold == recognition.THRESHOLD
    assert facelib.verify(picture("red"), picture("blue"), threshold=0.1, **STUB).same


def test_the_two_published_thresholds_are_one():
    assert recognition._distance(recognition.THRESHOLD) == pytest.approx(1.128, abs=1e-3)


def test_find_orders_all_faces_of_a_folder(tmp_path):
    (tmp_path / "deep").mkdir()
    for name, names in {"a.png": ("blue", "rose"), "deep/b.png": ("red",), "deep/c.png": ("gray",)}.items():
        Image.fromarray(picture(*names)).save(tmp_path / name)
    (tmp_path / "bad.png").write_text("no picture")
    Image.fromarray(np.zeros((60, 60, 3), np.uint8)).save(tmp_path / "empty.png")
    with pytest.warns(UserWarning, match="bad.png: is not a picture"):
        table = facelib.find(picture("red"), tmp_path, **STUB)
    order = [(path.rsplit("/", 1)[1], x) for path, x in zip(table.path, table.x)]
    assert order == [("b.png", 0), ("a.png", 60), ("c.png", 0), ("a.png", 0)]
    assert (table.similarity.diff().dropna() <= 0).all() and table.same.tolist() == [True, True, True, False]
    assert len(facelib.find(picture("red"), [tmp_path / "deep/c.png", picture("blue")], n=1, **STUB)) == 1


def test_faults_are_one_line(tmp_path):
    with pytest.raises(InputError, match="the picture: no face was found; try another detector"):
        facelib.verify(picture("red"), np.zeros((60, 60, 3), np.uint8), **STUB)
    with pytest.raises(InputError, match="threshold 2 is not a number between -1 and 1"):
        facelib.verify(picture("red"), picture("red"), threshold=2, **STUB)
    with pytest.raises(InputError, match="no such file"):
        facelib.find(tmp_path / "gone.jpg", tmp_path, **STUB)


def test_without_the_model_the_error_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("FACELIB_HOME", str(tmp_path))
    with pytest.raises(InputError, match="run `facelib data fetch sface`"):
        facelib.verify(ASTRONAUT, ASTRONAUT, detector="haar")
    (tmp_path / "wrong.onnx").write_bytes(b"no network")
    with pytest.raises(InputError, match="wrong.onnx: OpenCV cannot read it as SFace's model"):
        recognition.SFace(tmp_path / "wrong.onnx")


def test_a_face_without_eyes_is_taken_by_its_frame():
    seen = Detection((0, 0, 100, 100), None, 0.9, (50.0, 50.0, 100.0))
    assert recognition._landmarks(seen).tolist() == [[31, 39], [69, 39]]


@pytest.mark.realdata
def test_yunets_five_landmarks_align_the_face(monkeypatch):
    yunet = paths.PACKAGE.parents[1] / "shared" / "data" / "models" / "face_detection_yunet_2026may.onnx"
    monkeypatch.setattr(registry, "locate", lambda name: yunet)
    recognizer = recognition.Recognizer("yunet", colour)
    [face], [known] = recognizer.detect(ASTRONAUT), recognizer(ASTRONAUT)
    assert known.box == face.box and recognition._landmarks(face).shape == (5, 2)


@pytest.mark.skipif(not registry.DOWNLOADS["sface"].path.is_file(), reason="`facelib data fetch sface`")
def test_sface_knows_a_face_again():
    small = np.asarray(Image.fromarray(ASTRONAUT).resize((180, 180)))
    assert facelib.verify(ASTRONAUT, small[:, ::-1], detector="haar").same
    assert not facelib.verify(ASTRONAUT, skimage.data.lfw_subset()[0], detector="none").same
