"""deepface_pipeline against the deepface package: same crops to the pixel, same probabilities to 1e-5.

The package runs in a process of its own: importing it changes TensorFlow's Keras and silences all warnings.
It needs deepface, gdown and werkzeug, and under TensorFlow tf-keras; without them these tests are skipped.
"""

from __future__ import annotations

import importlib.util
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data

from facelib import paths
from facelib.emotions import EMOTIONS, GENDERS
from facelib.errors import InputError
from facelib.models import deepface
from facelib.vision import deepface_pipeline

PHOTOS = paths.PACKAGE.parent.parent / "shared" / "data" / "photos"
MISSING = [n for n in ("deepface", "tensorflow", "tf_keras", "gdown") if not importlib.util.find_spec(n)]
peers = [
    pytest.mark.peers,
    pytest.mark.skipif(bool(MISSING), reason=f"the peers are not installed: no {', '.join(MISSING)}"),
]

PEER = """
import pickle, sys
import numpy as np
from deepface import DeepFace
from deepface.modules import modeling, preprocessing

task, source, target = sys.argv[1:]
pictures, crops = pickle.load(open(source, "rb"))
client = modeling.build_model("facial_attribute", task.capitalize())
def predict(crop):
    entry = preprocessing.resize_image(crop[..., ::-1] / 255, (224, 224))
    return entry[0], client.predict(entry)

answer = {"faces": {}, "predictions": {}, "crops": [predict(crop) for crop in crops]}
for name, picture in pictures.items():
    bgr = np.ascontiguousarray(picture[..., ::-1])
    options = dict(detector_backend="opencv", align=True)
    try:
        faces = DeepFace.extract_faces(bgr, normalize_face=False, **options)
    except ValueError as error:
        assert "could not be detected" in str(error), error
        faces = []
    answer["faces"][name] = faces
    answer["predictions"][name] = [predict(face["face"]) for face in faces]
    if name == "astronaut":
        answer["analyses"] = DeepFace.analyze(bgr, actions=[task], silent=True, **options)
if task == "emotion":
    client.model.save_weights(target + ".h5")  # the layout of the files that the package distributes
pickle.dump(answer, open(target, "wb"))
"""


def pictures() -> dict[str, np.ndarray]:
    """The astronaut, and what makes each branch run."""
    astronaut = skimage.data.astronaut()
    turn = cv2.getRotationMatrix2D((225, 110), 12, 1.0)
    tilted = cv2.warpAffine(astronaut, turn, (512, 512), borderMode=cv2.BORDER_REFLECT)
    large = cv2.resize(astronaut[:220, 120:340], (660, 660), interpolation=cv2.INTER_CUBIC)
    turn = cv2.getRotationMatrix2D((330, 330), 20, 1.0)
    large = cv2.warpAffine(large, turn, (660, 660), borderMode=cv2.BORDER_REFLECT)
    small = cv2.resize(astronaut, (300, 300), interpolation=cv2.INTER_AREA)
    return {
        "astronaut": astronaut,
        "tilted": tilted,
        "three eyes": large,
        "nine neighbours": cv2.resize(large, (550, 550), interpolation=cv2.INTER_AREA),
        "cut": np.ascontiguousarray(astronaut[78:300, 190:]),
        "cut right": np.ascontiguousarray(astronaut[:300, :255]),
        "odd": np.ascontiguousarray(astronaut[:401, :331]),
        "many": np.vstack(
            [np.hstack([small, small[:, ::-1]]), np.hstack([small // 2, tilted[:300, 50:350]])]
        ),
        "none": skimage.data.brick()[..., None].repeat(3, axis=2),
        "tiny": astronaut[100:101, 200:203],
    }


#: How many faces the deepface package finds in them.
FACES = {
    "astronaut": 1, "tilted": 1, "three eyes": 1, "nine neighbours": 0, "cut": 1, "cut right": 1, "odd": 1,
    "many": 4, "none": 0, "tiny": 0,
}  # fmt: skip


def crops() -> list[np.ndarray]:
    """Parts of a picture that look less alike than one face does to itself; a wide, a high, a black one."""
    image = skimage.data.astronaut()
    parts = [image[60:170, 170:280], image[:120, :90], image[300:420, 200:400], image[200:260, 300:360]]
    return [*parts, image[430:500, 20:60], image[50:250, 350:500], np.zeros((40, 40, 3), np.uint8)]


def photograph(name: str) -> np.ndarray:
    return cv2.imread(str(PHOTOS / name))[..., ::-1].copy()


PHOTO_NAMES = sorted(path.name for path in PHOTOS.glob("*.jpg"))
CASES = [*pictures(), *(pytest.param(name, marks=pytest.mark.realdata) for name in PHOTO_NAMES)]


def spread_out(model, inputs: np.ndarray):
    """Give a network random weights under which its predictions for ``inputs`` differ.

    Keras's own initial weights would let any two networks agree on nearly uniform probabilities, and larger
    ones on nearly certain ones: the last layer is centred and scaled to logits that vary by about one.
    """
    rng = np.random.default_rng(0)
    weights = []
    for weight in model.weights:
        fan_in = int(np.prod(weight.shape[:-1]))
        scale = 0.05 if len(weight.shape) == 1 else np.sqrt(2 / fan_in)
        weights.append(rng.standard_normal(weight.shape, np.float32) * np.float32(scale))
    model.set_weights(weights)
    logits = np.log(np.asarray(model(inputs)))  # but for a constant in each row, which softmax forgets
    gain = 1 / logits.std(axis=0).mean()
    *rest, kernel, bias = weights
    model.set_weights([*rest, kernel * gain, (bias - logits.mean(axis=0)) * gain])
    return model


def ask_deepface(task: str, images: dict[str, np.ndarray], home: Path) -> dict:
    source, target = home / f"{task}-pictures.pickle", home / f"{task}-answer.pickle"
    source.write_bytes(pickle.dumps((images, crops())))
    environment = os.environ | {
        "DEEPFACE_HOME": str(home),
        "DEEPFACE_BACKEND_ENGINE": "tensorflow",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "",
    }
    environment.pop("KERAS_BACKEND", None)
    command = [sys.executable, "-c", PEER, task, str(source), str(target)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return pickle.loads(target.read_bytes())


@pytest.fixture(scope="module")
def emotion_home(tmp_path_factory) -> Path:
    """A DEEPFACE_HOME with an emotion weight file of random numbers."""
    home = tmp_path_factory.mktemp("deepface")
    folder = home / ".deepface" / "weights"
    folder.mkdir(parents=True)
    network = spread_out(deepface.emotion_network(), deepface_pipeline.emotion_input(crops()))
    network.save(folder / deepface.WEIGHT_FILES["emotion"])
    return home


@pytest.fixture(scope="module")
def emotion_file(emotion_home) -> Path:
    return emotion_home / ".deepface" / "weights" / deepface.WEIGHT_FILES["emotion"]


@pytest.fixture(scope="module")
def theirs(emotion_home) -> dict:
    """What the deepface package makes of all pictures, the emotion network included; asked once."""
    return ask_deepface("emotion", pictures() | {n: photograph(n) for n in PHOTO_NAMES}, emotion_home)


def their_faces(theirs: dict, name: str) -> list[tuple]:
    """Box, eyes, confidence, crop, network input and output of each face, from left to right."""
    rows = []
    for face, (entry, output) in zip(theirs["faces"][name], theirs["predictions"][name], strict=True):
        area = face["facial_area"]
        # a person's right eye is on the picture's left
        eyes = (area["right_eye"], area["left_eye"])
        box = tuple(area[key] for key in "xywh")
        rows.append((box, None if None in eyes else eyes, face["confidence"], face["face"], entry, output))
    return sorted(rows, key=lambda row: row[0])


# --- parity -------------------------------------------------------------------------------------------


class TestPeer:
    pytestmark = peers

    @pytest.mark.parametrize("name", CASES)
    def test_crops_equal_to_the_pixel(self, theirs, name):
        image = pictures()[name] if name in pictures() else photograph(name)
        ours, expected = deepface_pipeline.extract_faces(image), their_faces(theirs, name)
        assert len(expected) == FACES.get(name, len(expected)), "a branch is no longer reached"
        assert [(face.box, face.eyes, face.confidence) for face in ours] == [row[:3] for row in expected]
        for face, row in zip(ours, expected, strict=True):
            np.testing.assert_array_equal(face.crop, row[3])
            np.testing.assert_array_equal(deepface_pipeline.network_input(face.crop), row[4])

    def test_emotion_equals(self, theirs, emotion_file):
        model = deepface.load_emotion(emotion_file)
        for crop, (entry, _) in zip(crops(), theirs["crops"], strict=True):
            np.testing.assert_array_equal(deepface_pipeline.network_input(crop), entry)
        rows = [row for name in theirs["faces"] for row in their_faces(theirs, name)]
        ours = np.asarray(model(deepface_pipeline.emotion_input(crops() + [row[3] for row in rows])))
        expected = np.array([output for _, output in theirs["crops"]] + [row[5] for row in rows])
        assert expected[: len(crops())].std(axis=0).mean() > 0.05, "the predictions have to differ"
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-5)

    def test_emotion_labels_stand_in_the_same_order(self, theirs, emotion_file):
        (analysis,) = theirs["analyses"]
        (face,) = deepface_pipeline.extract_faces(skimage.data.astronaut())
        model = deepface.load_emotion(emotion_file)
        [ours] = np.asarray(model(deepface_pipeline.emotion_input([face.crop])))
        expected = [analysis["emotion"][name] / 100 for name in EMOTIONS]
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-5)

    def test_a_file_of_weights_alone_loads(self, theirs, emotion_home, emotion_file):
        alone = deepface.load_emotion(emotion_home / "emotion-answer.pickle.h5")
        for ours, expected in zip(
            alone.get_weights(), deepface.load_emotion(emotion_file).get_weights(), strict=True
        ):
            np.testing.assert_array_equal(ours, expected)

    def test_gender_equals(self, tmp_path):
        """VGG-Face on both sides; 540 MB on the disk and about 2 GB of memory for the while."""
        name = deepface.WEIGHT_FILES["gender"]
        (tmp_path / ".deepface" / "weights").mkdir(parents=True)
        path = tmp_path / ".deepface" / "weights" / name
        images = {"astronaut": skimage.data.astronaut()}
        try:
            network = spread_out(deepface.gender_network(), deepface_pipeline.gender_input(crops()))
            network.save(path)
            del network
            answers = ask_deepface("gender", images, tmp_path)
            model = deepface.load_gender(path)
        finally:
            path.unlink(missing_ok=True)
        assert model.count_params() == 134_268_738
        faces = deepface_pipeline.extract_faces(images["astronaut"])
        ours = np.asarray(model(deepface_pipeline.gender_input(crops() + [face.crop for face in faces])))
        expected = np.array([output for _, output in answers["crops"] + answers["predictions"]["astronaut"]])
        assert expected[:, 0].std() > 0.05, "the predictions have to differ"
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-5)
        (analysis,) = answers["analyses"]
        woman, man = (analysis["gender"][name.capitalize()] / 100 for name in GENDERS)
        np.testing.assert_allclose(ours[-1], [woman, man], rtol=0, atol=1e-5)


# --- networks and their files -------------------------------------------------------------------------


def test_weights_are_looked_for_in_three_places(tmp_path, monkeypatch):
    name = deepface.WEIGHT_FILES["emotion"]
    for variable in ("FACELIB_HOME", "DEEPFACE_HOME", "HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    with pytest.raises(InputError, match="facelib data fetch deepface-emotion") as caught:
        deepface.load_emotion()
    assert name in str(caught.value) and str(tmp_path / "FACELIB_HOME") in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="facelib data fetch deepface-gender"):
        deepface.load_gender()
    home = "USERPROFILE" if os.name == "nt" else "HOME"
    places = (f"{home}/.deepface/weights", "DEEPFACE_HOME/.deepface/weights", "FACELIB_HOME/data/deepface")
    # each new place comes before those already filled
    for folder in places:
        path = tmp_path / folder / name
        path.parent.mkdir(parents=True)
        path.write_bytes(b"damaged")
        with pytest.raises(InputError, match=f"^{re.escape(str(path))} does not hold"):
            deepface.load_emotion()


@pytest.mark.parametrize("kept", [0.5, -1, 600, 0, b"<html>Not Found</html>"])
def test_a_broken_file_is_named_in_one_line(kept, tmp_path, emotion_file):
    path, whole = tmp_path / "weights.h5", emotion_file.read_bytes()
    kept = int(kept * len(whole)) if isinstance(kept, float) else kept
    path.write_bytes(kept if isinstance(kept, bytes) else whole[:kept])
    with pytest.raises(InputError) as caught:
        deepface.load_emotion(path)
    message = str(caught.value)
    assert str(path) in message and "fetch deepface-emotion" in message and "\n" not in message


def test_other_peoples_files_are_refused(tmp_path, emotion_file):
    import h5py
    import keras

    with h5py.File(tmp_path / "numbers.h5", "w") as stream:
        stream["x"] = np.zeros(3)
    same_depth = deepface.emotion_network()  # as many layers with weights, one of another shape
    layers = [keras.layers.Dense.from_config(same_depth.layers[-1].get_config() | {"units": 8})]
    keras.Sequential([*same_depth.layers[:-1], *layers]).save(tmp_path / "eight.h5")
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save(tmp_path / "small.h5")
    for name in ("numbers.h5", "eight.h5", "small.h5"):
        with pytest.raises(InputError, match="does not hold the weights"):
            deepface.load_emotion(tmp_path / name)
    with pytest.raises(InputError, match="no such weight file"):
        deepface.load_emotion(tmp_path / "nothing.h5")
    with pytest.raises(InputError):
        deepface.load_emotion(tmp_path)
    with pytest.raises(InputError, match="fetch deepface-gender"):
        deepface.load_gender(tmp_path / "small.h5")


# --- pictures -----------------------------------------------------------------------------------------


def test_the_astronaut():
    (face,) = deepface_pipeline.extract_faces(skimage.data.astronaut())
    assert face.box == (176, 66, 97, 97) and face.crop.shape == (97, 97, 3) and face.crop.dtype == np.uint8
    assert face.eyes == ((202, 100), (247, 103)) and face.confidence == 0.92


def test_pictures_without_faces_give_none():
    for shape in ((1, 1, 3), (3, 400, 3), (30, 30, 3), (200, 200, 3)):
        assert deepface_pipeline.extract_faces(np.zeros(shape, np.uint8)) == []


def test_what_is_no_picture_is_refused():
    with pytest.raises(InputError, match="uint8"):
        deepface_pipeline.extract_faces(np.zeros((9, 9, 3)))


def test_a_crop_of_zeros_and_ones_is_not_divided():
    assert deepface_pipeline.network_input(np.ones((20, 20, 3), np.uint8)).max() == 1
    assert deepface_pipeline.network_input(np.full((20, 20, 3), 2, np.uint8)).max() < 0.01


def test_inputs_come_in_batches():
    red = np.zeros((50, 50, 3), np.uint8)
    red[..., 0] = 255
    gray = deepface_pipeline.emotion_input([red, red // 3])
    colour = deepface_pipeline.gender_input([red, red // 3])
    assert gray.shape == (2, 48, 48, 1) and colour.shape == (2, 224, 224, 3)
    assert gray.dtype == colour.dtype == np.float32
    np.testing.assert_allclose(gray.mean(axis=(1, 2, 3)), (0.299, 0.299 / 3), atol=1e-4)
    assert deepface_pipeline.emotion_input([]).shape == (0, 48, 48, 1)
    assert deepface_pipeline.gender_input([]).shape == (0, 224, 224, 3)


def test_parity_counts_equal_crops_in_any_order_and_says_where_the_package_is_missing(monkeypatch):
    crops = [np.full((2, 2, 3), value, np.uint8) for value in (1, 2, 3)]
    ours = [deepface_pipeline.ExtractedFace(crop, (0, 0, 2, 2), None, 1.0) for crop in crops[:2]]
    monkeypatch.setattr(deepface_pipeline, "extract_faces", lambda picture: ours)
    other = "import numpy, pickle, sys; crops = [numpy.full((2, 2, 3), v, numpy.uint8) for v in (3, 2)]; "
    other += "pickle.dump([crops], open(sys.argv[1], 'wb'))"
    monkeypatch.setattr(deepface_pipeline, "_PACKAGE", other)
    (row,) = deepface_pipeline.parity({"one": crops[0]})
    assert row == {"picture": "one", "DeepFace": 2, "rebuilt": 2, "identical": 1}
    monkeypatch.setattr(deepface_pipeline, "_PACKAGE", "raise ImportError")
    assert deepface_pipeline.parity({}) is None


def test_a_network_as_stages_to_draw():
    model = deepface.emotion_network()
    found = deepface.stages(model)
    assert found[0] == ("input", 48, 1, 0) and found[1][:3] == ("conv 5", 44, 64)
    assert found[-1] == ("dense", 1, 7, 1025 * 7)
    assert sum(stage[3] for stage in found) == model.count_params()
