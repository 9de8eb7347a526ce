"""facelib.vision.encoder: one picture or a stream, the same faces in the same order, in bounded memory."""

from __future__ import annotations

import multiprocessing
import pickle
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
import skimage.data
from PIL import Image

import facelib
from facelib.emotions import EMOTIONS, GENDERS
from facelib.errors import ImageError, InputError
from facelib.models.emotion import prior_bias
from facelib.vision import alignment, deepface_pipeline, detection, encoder
from facelib.vision.encoder import COLUMNS, FaceEncoder
from helpers import ASTRONAUT

COFFEE = np.ascontiguousarray(skimage.data.coffee()[:200, :200])


@pytest.fixture(scope="module")
def both() -> FaceEncoder:
    return FaceEncoder()


@pytest.fixture(scope="module")
def crops() -> list[np.ndarray]:
    """Twenty faces of different sizes and lights, for detector "none"."""
    face = ASTRONAUT[65:163, 80:178]
    rng = np.random.default_rng(0)
    lights = np.linspace(0.4, 1.0, 20)
    return [
        cv2.resize((face * light).astype(np.uint8), (int(side), int(side)), interpolation=cv2.INTER_AREA)
        for light, side in zip(lights, rng.integers(40, 130, 20))
    ]


def same(face, other) -> bool:
    """Equal up to the rounding that differs between batch sizes."""
    close = [
        np.allclose(list(a.values()), list(b.values()), atol=1e-5)
        for a, b in ((face.emotions, other.emotions), (face.genders, other.genders))
    ]
    return all(close) and (face.box, face.eyes, face.emotion) == (other.box, other.eyes, other.emotion)


def test_one_face(both):
    [face] = both(ASTRONAUT)
    assert np.abs(np.subtract(face.box, (80, 65, 98, 98))).max() <= 2
    assert face.eyes is not None and 0.5 < face.confidence <= 1 and face.path is None
    assert tuple(face.emotions) == EMOTIONS and tuple(face.genders) == GENDERS
    for found, best in ((face.emotions, face.emotion), (face.genders, face.gender)):
        assert abs(sum(found.values()) - 1) < 1e-6 and all(0 <= p <= 1 for p in found.values())
        assert found[best] == max(found.values())
    assert (face.emotion, face.gender) == ("happy", "woman")  # she smiles


def test_one_or_many_paths_or_arrays(both, tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(ASTRONAUT).save(path)
    [face] = both(ASTRONAUT)
    one = (path, str(path), path.read_bytes(), path.open("rb"), Image.open(path))
    for given in (*one, [path], (ASTRONAUT,), iter([str(path)]), ASTRONAUT[None]):
        [other] = both(given)
        assert same(face, other)
    assert [f.path for f in both([path, ASTRONAUT, str(path)])] == [str(path), None, str(path)]
    assert len(both(np.stack([ASTRONAUT, ASTRONAUT]))) == 2  # (n, H, W, 3)


def test_what_is_open_only_for_a_moment(both, tmp_path):
    """Files and PIL images are read before the next is asked for, and two of one file are two pictures."""
    path = tmp_path / "a.png"
    Image.fromarray(ASTRONAUT).save(path)

    def streams():
        for _ in range(9):
            with path.open("rb") as stream:
                yield stream
            with Image.open(path) as image:
                yield image

    stream, image = path.open("rb"), Image.open(path)
    for given, n in ((streams(), 18), ([stream, image] * 9, 18), (np.array([str(path)] * 3), 3)):
        faces = both(given)
        assert [face.source_index for face in faces] == list(range(n))
        assert all(same(face, faces[0]) for face in faces)


def test_each_face_knows_its_picture(both, tmp_path):
    pictures = list(both.stream([ASTRONAUT, COFFEE, None, ASTRONAUT], batch_size=1))
    assert [picture.index for picture in pictures] == [0, 1, 2, 3]
    with pytest.warns(UserWarning, match="picture 2: a picture is a path, bytes"):
        faces = both([ASTRONAUT, COFFEE, None, ASTRONAUT])
    assert [face.source_index for face in faces] == [0, 3]
    assert list(facelib.to_frame(faces).source_index) == [0, 3]
    path = tmp_path / "8.30\u202fPM\n.png"
    Image.fromarray(ASTRONAUT).save(path)
    assert facelib.to_frame(both(path)).path[0] == str(path)
    assert [len(picture.faces) for picture in both.stream(path)] == [1]  # one picture, not its letters


def happy(encoder) -> str:
    return encoder(ASTRONAUT)[0].emotion


def child_of_a_fork() -> str:
    return happy(kept["encoder"])


kept = {}


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_encoders_in_other_processes(both):
    copy = pickle.loads(pickle.dumps(FaceEncoder(detector="none", gender=None, workers=3)))
    assert (copy.workers, list(copy._classifiers)) == (3, ["emotion"])
    assert copy.detect is detection.whole_picture
    kept["encoder"] = both
    assert happy(both) == "happy"  # its networks have run
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply_async(happy, [both]).get(120) == "happy"
    # OpenCV's own threads, which the child has not.
    cv2.GaussianBlur(np.zeros((3000, 3000, 3), np.uint8), (31, 31), 5)
    threads = cv2.getNumThreads()
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply_async(child_of_a_fork).get(60) == "happy"
        assert pool.apply_async(cv2.getNumThreads).get(60) == threads == cv2.getNumThreads()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"detector_backend": "opencv"}, 'detector="haar"'),
        ({"actions": ["emotion"]}, "gender=None"),
        ({"enforce_detection": False}, "leave it out: a picture without a face"),
        ({"colour": "red"}, "there are detector, emotion, gender"),
    ],
)
def test_arguments_of_others(options, message):
    for function in (FaceEncoder, lambda **options: facelib.analyze(ASTRONAUT, **options)):
        with pytest.raises(TypeError, match=message) as caught:
            function(**options)
        assert caught.value.__context__ is None  # one error, not one in the handling of another
    with pytest.raises(TypeError, match="the first argument"):
        facelib.analyze(img_path="a.jpg")
    with pytest.raises(TypeError, match='detector="haar"'):
        facelib.extract_faces(ASTRONAUT, detector_backend="opencv")


def test_nothing_to_do(both):
    assert both([]) == [] and list(both.stream([])) == [] and both(COFFEE) == []


def test_many_equals_one_by_one_whatever_the_batch(crops):
    encoder = FaceEncoder(detector="none")
    alone = [encoder(crop)[0] for crop in crops]
    assert np.ptp([face.emotions["happy"] for face in alone]) > 1e-3  # a wrong order would be seen
    for batch_size in (1, 7, 64):
        together = encoder(crops, batch_size)
        assert len(together) == len(crops)
        assert all(same(*pair) for pair in zip(alone, together))
    with pytest.raises(InputError, match="batch_size 0 is not a whole number of at least 1"):
        encoder(crops, 0)
    with pytest.raises(InputError, match="batch_size 1.5 is not"):
        encoder(crops[0], 1.5)


def test_results_keep_their_order_when_pictures_take_their_time():
    def detect(image):
        time.sleep(0.02 if image[0, 0, 0] % 3 == 0 else 0)
        return detection.whole_picture(image)

    given = [np.full((30 + i, 30, 3), i, np.uint8) for i in range(30)]
    encoder = FaceEncoder(detector=detect, emotion=None, gender=None, workers=8)
    pictures = list(encoder.stream(given, batch_size=4))
    assert all(picture.source is source for picture, source in zip(pictures, given, strict=True))
    assert [picture.faces[0].box[3] for picture in pictures] == list(range(30, 60))


def test_a_bad_picture_in_the_middle(both, tmp_path):
    (tmp_path / "bad.jpg").write_text("no picture")
    bad, gone = tmp_path / "bad.jpg", tmp_path / "gone.jpg"
    given = [ASTRONAUT, bad, COFFEE, np.zeros((5, 5)), gone, None, ASTRONAUT]
    pictures = list(both.stream(given))
    assert [len(p.faces) for p in pictures] == [1, 0, 0, 0, 0, 0, 1]
    assert [p.error is not None for p in pictures] == [False, True, False, True, True, True, False]
    assert "bad.jpg: is not a picture" in str(pictures[1].error)
    assert same(pictures[0].faces[0], pictures[-1].faces[0])
    with pytest.warns(UserWarning) as caught:  # also from threads: none switches warnings off for the process
        assert len(both(given * 5)) == 10
    assert len(caught) == 20
    with pytest.raises(ImageError, match="no such file"):
        both(gone)
    with pytest.raises(ImageError, match="not a list"):  # one error, not one for each row
        both(ASTRONAUT[:50].tolist())
    with pytest.raises(ImageError, match="multiply by 255"):
        both(np.zeros((5, 5, 3)))


def test_faults_in_code_are_not_swallowed():
    def detect(image):
        raise ZeroDivisionError("a bug")

    def pictures():
        yield COFFEE
        raise KeyError("the caller's own")

    encoder = FaceEncoder(detector=detect, emotion=None, gender=None)
    for given in (COFFEE, [COFFEE] * 50):
        with pytest.raises(ZeroDivisionError):
            encoder(given)
    with pytest.raises(KeyError):
        list(FaceEncoder(detector="none", emotion=None, gender=None).stream(pictures()))


class Supply:
    """A lazy stream of pictures that counts how many of them are alive."""

    def __init__(self, n: int, shape=(64, 64, 3)):
        self.n, self.shape = n, shape
        self.alive = self.most = self.made = 0
        self.lock = threading.Lock()

    def gone(self):
        with self.lock:
            self.alive -= 1

    def __iter__(self):
        for i in range(self.n):
            picture = np.full(self.shape, i % 256, np.uint8)
            weakref.finalize(picture, self.gone)
            with self.lock:
                self.made, self.alive = i + 1, self.alive + 1
                self.most = max(self.most, self.alive)
            yield picture
            del picture


@pytest.mark.parametrize(
    ("detector", "most_bytes", "waiting"),
    [("none", encoder.MAX_WAITING, 64), (lambda image: [], encoder.MAX_WAITING, 128),
     (lambda image: [], 10 * 64 * 64 * 3, 10)],
    ids=["a batch of faces", "no faces", "large arrays"],
)  # fmt: skip
def test_memory_does_not_grow_with_the_stream(detector, most_bytes, waiting, monkeypatch):
    monkeypatch.setattr(encoder, "MAX_WAITING", most_bytes)
    supply = Supply(1000)
    reader = FaceEncoder(detector=detector, emotion=None, gender=None, workers=3)
    assert sum(1 for _ in reader.stream(supply, batch_size=64)) == 1000
    assert supply.most <= waiting + 2 * 3 + 4  # a batch, what is read ahead, what is just being passed on


def test_a_waiting_face_does_not_hold_its_picture():
    """A frame of 64 pixels is the gender network's input as it is: a copy must wait, not a view."""
    frame = detection.Detection((100, 100, 64, 64), None, 1.0, (132.0, 132.0, 64.0))
    inputs = FaceEncoder(detector=lambda image: [frame])._prepare(np.zeros((300, 300, 3), np.uint8)).inputs
    for crop in inputs["emotion"] + inputs["gender"]:
        assert crop.base is None or crop.base.nbytes <= 64 * 64 * 3


def test_who_stops_reading_stops_the_work():
    supply, threads = Supply(2000), cv2.getNumThreads()
    stream = FaceEncoder(detector="none", emotion=None, gender=None, workers=2).stream(supply, batch_size=8)
    next(stream)
    stream.close()
    assert supply.made < 30
    assert cv2.getNumThreads() == threads


def test_one_encoder_in_several_threads(both):
    threads = cv2.getNumThreads()
    [expected] = both(ASTRONAUT)

    def work(number):
        return both(ASTRONAUT) if number % 2 else both([ASTRONAUT, COFFEE, ASTRONAUT], batch_size=2)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(work, range(8)))
    assert [len(faces) for faces in answers] == [2, 1] * 4
    assert all(same(face, expected) for faces in answers for face in faces)
    assert cv2.getNumThreads() == threads  # OpenCV's own setting, whoever finished first


@pytest.mark.parametrize("emotion", ["facelib", None])
@pytest.mark.parametrize("gender", ["facelib", None])
def test_without_emotion_or_gender(emotion, gender):
    [face] = FaceEncoder(emotion=emotion, gender=gender)(ASTRONAUT)
    assert face.emotion == (emotion and "happy") and len(face.emotions) == (7 if emotion else 0)
    assert face.gender == (gender and "woman") and len(face.genders) == (2 if gender else 0)


def test_with_mirrored_copies_left_and_right_give_the_same():
    crop = np.asarray(Image.fromarray(ASTRONAUT[65:163, 80:178]).convert("L"))
    crop = np.repeat(crop[..., None], 3, 2)
    options = {"detector": "none", "gender": None}
    [one], [other] = (FaceEncoder(**options, tta="none")(side) for side in (crop, crop[:, ::-1]))
    [both], [turned] = (FaceEncoder(**options, tta="mirror")(side) for side in (crop, crop[:, ::-1]))
    assert max(abs(one.emotions[e] - other.emotions[e]) for e in EMOTIONS) > 1e-3
    mean = {e: np.sqrt(one.emotions[e] * other.emotions[e]) for e in EMOTIONS}
    for e in EMOTIONS:
        assert both.emotions[e] == pytest.approx(mean[e] / sum(mean.values()), abs=1e-4)
        assert turned.emotions[e] == pytest.approx(both.emotions[e], abs=1e-4)


def test_each_emotion_is_expected_alike_unless_said_otherwise():
    """The same face: what is rare in FER-2013 is more probable than the network's own answer."""
    options = {"detector": "none", "gender": None, "emotion": "tiny"}
    [seven], [one], [default] = (
        FaceEncoder(**options, **tta)(COFFEE) for tta in ({"tta": "crops"}, {"tta": "none"}, {})
    )
    assert seven.emotions != one.emotions == default.emotions
    [own], [alike], [asked] = (
        FaceEncoder(**options, **prior)(COFFEE)
        for prior in ({"class_prior": "fer2013"}, {}, {"class_prior": "uniform"})
    )
    logs = np.log(list(own.emotions.values())) + prior_bias("uniform")
    np.testing.assert_allclose(list(alike.emotions.values()), np.exp(logs) / np.exp(logs).sum(), rtol=1e-4)
    assert alike.emotions == asked.emotions != own.emotions
    # DeepFace's path is rebuilt as it is.
    [rebuilt], [bare] = (
        FaceEncoder(mode="deepface", gender=None, emotion="tiny", **prior)(ASTRONAUT)[:1]
        for prior in ({}, {"class_prior": "fer2013"})
    )
    assert rebuilt.emotions == bare.emotions


def test_mode_deepface_takes_deepface_s_crops():
    expected = deepface_pipeline.extract_faces(ASTRONAUT)
    assert len(expected) >= 1
    for crop, face in zip(facelib.extract_faces(ASTRONAUT, mode="deepface"), expected, strict=True):
        np.testing.assert_array_equal(crop, face.crop)
    faces = FaceEncoder(mode="deepface", gender=None)(ASTRONAUT)
    assert [face.box for face in faces] == [face.box for face in expected]
    assert all(abs(sum(face.emotions.values()) - 1) < 1e-6 for face in faces)


def test_extract_faces_is_detection_and_alignment(tmp_path):
    Image.fromarray(ASTRONAUT).save(tmp_path / "a.png")
    [face] = detection.HaarDetector()(ASTRONAUT)
    [crop] = facelib.extract_faces(tmp_path / "a.png")
    np.testing.assert_array_equal(crop, alignment.upright(ASTRONAUT, face))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "keras"}, "unknown mode 'keras'"),
        ({"mode": "deepface", "detector": "none"}, 'goes with detector "haar" only'),
        ({"detector": "mtcnn"}, "unknown detector"),
        ({"emotion": "vgg"}, "unknown emotion model 'vgg'"),
        ({"gender": "vgg"}, "unknown gender model 'vgg'"),
        ({"min_confidence": 50}, "min_confidence 50 is not a number between 0 and 1"),
        ({"min_confidence": float("nan")}, "min_confidence nan"),
        ({"workers": 1.5}, "workers 1.5 is not a whole number"),
        ({"workers": 0}, "workers 0 is not a whole number"),
        ({"tta": "no"}, "tta 'no' is unknown; choose none, mirror, crops"),
        ({"class_prior": "mine"}, "class_prior 'mine' is unknown; choose uniform or fer2013"),
        ({"emotion": ""}, "unknown emotion model ''"),
        ({"emotion": ["happy"]}, "unknown emotion model"),
        ({"gender": ""}, "unknown gender model ''"),
        ({"workers": 0}, "workers 0 is not a whole number"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(InputError, match=message):
        FaceEncoder(**options)
    with pytest.raises(InputError, match=message):
        facelib.analyze(ASTRONAUT, **options)


def test_analyze_keeps_its_encoder(monkeypatch):
    made = []

    class Counted(FaceEncoder):
        def __init__(self, **options):
            made.append(options)
            super().__init__(**options)

    monkeypatch.setattr(encoder, "FaceEncoder", Counted)
    encoder._encoder.cache_clear()
    for _ in range(3):
        assert len(facelib.analyze(ASTRONAUT, gender=None)) == 1

    class Unhashable:
        __hash__ = None

        def __call__(self, image):
            return detection.whole_picture(image)

    assert len(facelib.analyze([COFFEE, COFFEE], detector=Unhashable(), emotion=None, gender=None)) == 2
    assert len(made) == 2
    encoder._encoder.cache_clear()
    with pytest.raises(TypeError):
        facelib.analyze(ASTRONAUT, colour="red")


def test_to_frame(both, tmp_path):
    Image.fromarray(ASTRONAUT).save(tmp_path / "a.png")
    frame = facelib.to_frame(both([tmp_path / "a.png", ASTRONAUT]))
    assert tuple(frame.columns) == COLUMNS
    assert COLUMNS[:7] == ("path", "source_index", "x", "y", "w", "h", "confidence")
    assert {*EMOTIONS, *GENDERS, "emotion", "gender", "left_eye_x"} < set(COLUMNS)
    assert len(frame) == 2 and frame.path[0] == str(tmp_path / "a.png")
    assert np.allclose(frame[list(EMOTIONS)].sum(axis=1), 1) and np.allclose(
        frame[list(GENDERS)].sum(axis=1), 1
    )
    empty = facelib.to_frame([])
    assert len(empty) == 0 and tuple(empty.columns) == COLUMNS
    bare = facelib.to_frame(FaceEncoder(detector="none", emotion=None, gender=None)(COFFEE))
    assert bare.emotion.isna().all() and bare.left_eye_x.isna().all() and bare.w[0] == 200
