"""The encoder: pictures in, faces with apparent gender and emotion out.

    read -> detect -> turn and cut out -> emotion, gender

Pictures are read and searched in threads (OpenCV and Pillow leave Python's lock) while the networks work on
the faces found so far, all faces of all pictures in common batches. Nothing grows with the number of
pictures: a folder of 100,000 is a stream.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facelib.emotions import EMOTIONS, GENDERS
from facelib.errors import InputError
from facelib.models import deepface, registry
from facelib.models.emotion import EMOTION_SIDE
from facelib.models.gender import GENDER_SIDE
from facelib.vision import alignment, deepface_pipeline, detection, image_io

if TYPE_CHECKING:
    import pandas as pd

Source = str | bytes | os.PathLike | np.ndarray

#: Pictures given as arrays that wait for a batch to fill never hold more than this many bytes together.
MAX_WAITING = 2**28


@dataclass(frozen=True)
class Face:
    """One analysed face.

    box: x, y, w, h in pixels of the picture as it is shown (EXIF orientation applied). eyes: centres of the
    eye on the picture's left and of the one on its right, or None. confidence: in [0, 1], that this is a
    face. emotion, gender: the most probable; emotions, genders: label -> probability, sums to 1. Gender is
    *apparent* gender. path: the file, None for an array.
    """

    box: tuple[int, int, int, int]
    eyes: tuple[tuple[float, float], tuple[float, float]] | None
    confidence: float
    emotion: str | None = None
    emotions: dict[str, float] = field(default_factory=dict)
    gender: str | None = None
    genders: dict[str, float] = field(default_factory=dict)
    path: str | None = None


@dataclass(frozen=True)
class Picture:
    """What became of one picture: its faces, surest first, or the error that kept it from being read."""

    source: Source
    faces: list[Face]
    error: InputError | None = None


@dataclass(frozen=True)
class _Head:
    """One question asked of a face: how the crop is made, who answers, what the answers are called."""

    prepare: Callable[[np.ndarray], np.ndarray]  # upright RGB patch -> one network input, any dtype
    network: Callable[[np.ndarray], np.ndarray]  # (n, …) float32 in [0, 1] -> (n, classes)
    labels: tuple[str, ...]
    most: int  # faces at once, a matter of memory

    def __call__(self, crops: list[np.ndarray]) -> list[dict[str, float]]:
        answers = []
        for start in range(0, len(crops), self.most):
            batch = np.stack(crops[start : start + self.most])
            if batch.dtype == np.uint8:
                batch = batch.astype(np.float32) / 255
            answers.append(self.network(batch))
        return [
            {label: float(p) for label, p in zip(self.labels, row / row.sum())}
            for row in np.concatenate(answers)
        ]


@dataclass(frozen=True)
class _Prepared:
    source: Source
    detections: list[detection.Detection]
    crops: list[list[np.ndarray]]  # one list for each head
    error: InputError | None = None


class FaceEncoder:
    """Finds faces and reads emotion and apparent gender; ``encoder(images)`` or ``encoder.stream(images)``.

    detector: "haar" (inside OpenCV), "yunet" (`facelib data fetch yunet`, finds more), "none" (each picture
        is a face already), a path to a YuNet file, or a callable (see ``detection.load_detector``).
    emotion, gender: "facelib" (trained here), "deepface" (the published networks, to be fetched), or None.
    mode: "facelib", or "deepface": faces cut out and resized exactly as DeepFace does.
    mirror: emotion is read in each face and in its mirror image, and their mean taken: more accurate by some
        tenths of a point (README), and that step takes twice as long.
    min_confidence: faces below are left out (mode "deepface" keeps them all, as DeepFace does). workers:
        threads that read and search; None: one for each core.
    Raises InputError for an unknown name or a missing file.
    """

    def __init__(
        self,
        detector: str | detection.Detector = "haar",
        emotion: str | None = "facelib",
        gender: str | None = "facelib",
        mode: str = "facelib",
        min_confidence: float = 0.5,
        workers: int | None = None,
        mirror: bool = False,
    ):
        if mode not in ("facelib", "deepface"):
            raise InputError(f"unknown mode {mode!r}; choose facelib or deepface")
        if mode == "deepface" and detector != "haar":
            raise InputError('mode "deepface" rebuilds its OpenCV path: it goes with detector "haar" only')
        self.mode = mode
        self.detect = detection.load_detector(detector, min_confidence)
        self.workers = workers or registry.cores()
        self._heads = {
            "emotion": _emotion_head(emotion, mode, mirror) if emotion else None,
            "gender": _gender_head(gender, mode) if gender else None,
        }

    def __call__(self, pictures: Source | Iterable[Source], batch_size: int = 64) -> list[Face]:
        """Analyse one picture (a path or an (H, W, 3) uint8 RGB array) or many; the faces in one flat list.

        A single picture that cannot be read raises InputError; of many, each bad one is a warning and the
        rest is kept.
        """
        if isinstance(pictures, Source) and getattr(pictures, "ndim", 3) < 4:
            with _one_opencv_thread_each():  # here, not in a new thread, which would load the cascades anew
                prepared = self._prepare(pictures)
            if prepared.error:
                raise prepared.error
            return next(self._answer([prepared])).faces
        faces = []
        for picture in self.stream(pictures, batch_size):
            if picture.error:
                warnings.warn(str(picture.error), stacklevel=2)
            faces += picture.faces
        return faces

    def stream(self, pictures: Iterable[Source], batch_size: int = 64) -> Iterator[Picture]:
        """Analyse any number of pictures in constant memory; results come in order, bad pictures included."""
        if batch_size < 1:
            raise InputError(f"batch_size must be at least 1, not {batch_size}")
        waiting: list[_Prepared] = []
        found = held = 0
        for prepared in self._prefetch(pictures):
            waiting.append(prepared)
            found += len(prepared.detections)
            held += getattr(prepared.source, "nbytes", 0)
            if found >= batch_size or len(waiting) >= 2 * batch_size or held >= MAX_WAITING:
                yield from self._answer(waiting)
                waiting, found, held = [], 0, 0
        yield from self._answer(waiting)

    def _prefetch(self, pictures: Iterable[Source]) -> Iterator[_Prepared]:
        """Prepare pictures in threads, a few ahead of the reader, in order."""
        running: deque = deque()
        with _one_opencv_thread_each(), ThreadPoolExecutor(self.workers) as pool:
            try:
                for source in pictures:
                    running.append(pool.submit(self._prepare, source))
                    if len(running) > 2 * self.workers:
                        yield running.popleft().result()
                while running:
                    yield running.popleft().result()
            finally:
                for job in running:
                    job.cancel()

    def _prepare(self, source: Source) -> _Prepared:
        try:
            image = image_io.load(source)
        except InputError as error:
            return _Prepared(source, [], [], error)
        if self.mode == "deepface":
            extracted = deepface_pipeline.extract_faces(image)
            faces = [detection.Detection(f.box, f.eyes, f.confidence, (0, 0, 0)) for f in extracted]
            patches = [f.crop for f in extracted]
        else:
            faces = self.detect(image)
            patches = [alignment.upright(image, face) for face in faces]
        # Copied where a crop is a mere view: it would keep its whole picture in memory.
        crops = [
            [np.ascontiguousarray(head.prepare(patch)) for patch in patches] if head else []
            for head in self._heads.values()
        ]
        return _Prepared(source, faces, crops)

    def _answer(self, waiting: list[_Prepared]) -> Iterator[Picture]:
        answers = {}
        for number, (name, head) in enumerate(self._heads.items()):
            crops = [crop for prepared in waiting if not prepared.error for crop in prepared.crops[number]]
            answers[name] = iter(head(crops) if crops else [])
        for prepared in waiting:
            path = (
                os.fsdecode(prepared.source)
                if isinstance(prepared.source, str | bytes | os.PathLike)
                else None
            )
            faces = []
            for found in prepared.detections:
                emotions = next(answers["emotion"], {})
                genders = next(answers["gender"], {})
                faces.append(
                    Face(
                        box=found.box,
                        eyes=found.eyes,
                        confidence=found.confidence,
                        emotion=max(emotions, key=emotions.get, default=None),
                        emotions=emotions,
                        gender=max(genders, key=genders.get, default=None),
                        genders=genders,
                        path=path,
                    )
                )
            yield Picture(prepared.source, faces, prepared.error)


class _one_opencv_thread_each:
    """One OpenCV thread for each of our threads: nested parallelism only makes them wait for each other.

    The setting belongs to the whole process: with several encoders at work, the last to leave restores it.
    """

    lock, inside, before = threading.Lock(), 0, 0

    def __enter__(self):
        cls = type(self)
        with cls.lock:
            if not cls.inside:
                cls.before = cv2.getNumThreads()
                cv2.setNumThreads(1)
            cls.inside += 1

    def __exit__(self, *error):
        cls = type(self)
        with cls.lock:
            cls.inside -= 1
            if not cls.inside:
                cv2.setNumThreads(cls.before)


def _emotion_head(name: str, mode: str, mirror: bool) -> _Head:
    if name == "deepface":
        network = _keras(registry.load_emotion_model(name))
    else:
        network = registry.OnnxNetwork(registry.emotion_task(name))
    if mirror:
        network = registry.mirrored(network)
    if mode == "deepface":
        return _Head(lambda crop: deepface_pipeline.emotion_input([crop])[0], network, EMOTIONS, 256)

    def prepare(patch: np.ndarray) -> np.ndarray:
        gray = cv2.cvtColor(alignment.resize(patch, EMOTION_SIDE), cv2.COLOR_RGB2GRAY)
        return gray[..., None]

    return _Head(prepare, network, EMOTIONS, 256)


def _gender_head(name: str, mode: str) -> _Head:
    if name == "facelib":
        return _Head(
            lambda patch: alignment.resize(patch, GENDER_SIDE),
            registry.OnnxNetwork("gender"),
            GENDERS,
            256,
        )
    network = _keras(registry.load_gender_model(name))
    if mode == "deepface":
        return _Head(lambda crop: deepface_pipeline.gender_input([crop])[0], network, GENDERS, 8)
    # VGG-Face on our own crop; above 8 faces at once its first layers take more memory than time they save.
    return _Head(lambda patch: alignment.resize(patch, deepface.SIDE)[..., ::-1], network, GENDERS, 8)


def _keras(model) -> Callable[[np.ndarray], np.ndarray]:
    lock = threading.Lock()

    def call(inputs: np.ndarray) -> np.ndarray:
        with lock:
            return np.asarray(model.predict_on_batch(inputs))

    return call


@lru_cache(maxsize=4)
def _encoder(**options) -> FaceEncoder:
    return FaceEncoder(**options)


def analyze(pictures: Source | Iterable[Source], **options) -> list[Face]:
    """Faces of one picture or of many; options are those of ``FaceEncoder``, which is kept for the next call.

    >>> faces = facelib.analyze("photo.jpg")
    >>> faces[0].emotion, faces[0].gender
    """
    try:
        encoder = _encoder(**options)
    except TypeError:  # an option that cannot be a key, such as some callable detector
        encoder = FaceEncoder(**options)
    return encoder(pictures)


def extract_faces(image: Source, detector: str = "haar", mode: str = "facelib") -> list[np.ndarray]:
    """The face crops of one picture, (s, s, 3) uint8 RGB at the picture's resolution, one for each face.

    mode "deepface" gives what ``DeepFace.extract_faces`` gives, to the pixel.
    """
    image = image_io.load(image)
    if mode == "deepface":
        if detector != "haar":
            raise InputError('mode "deepface" goes with detector "haar" only')
        return [face.crop for face in deepface_pipeline.extract_faces(image)]
    return [alignment.upright(image, face) for face in detection.load_detector(detector)(image)]


def to_row(face: Face) -> dict:
    """A face as one flat row: path, box, eyes, confidence, the answers and every probability."""
    (lx, ly), (rx, ry) = face.eyes or ((None, None), (None, None))
    x, y, w, h = face.box
    row = {
        "path": face.path and image_io.printable(face.path),
        "x": x,
        "y": y,
        "w": w,
        "h": h,
        "confidence": face.confidence,
    }
    row |= {"left_eye_x": lx, "left_eye_y": ly, "right_eye_x": rx, "right_eye_y": ry}
    row |= {"emotion": face.emotion, **{name: face.emotions.get(name) for name in EMOTIONS}}
    row |= {"gender": face.gender, **{name: face.genders.get(name) for name in GENDERS}}
    return row


#: The columns of ``to_frame`` and of the CSV that `facelib analyze` writes.
COLUMNS = tuple(to_row(Face((0, 0, 0, 0), None, 0.0)))


def to_frame(faces: Iterable[Face]) -> pd.DataFrame:
    """One row for each face; the columns are ``COLUMNS``, also when there is no face."""
    import pandas as pd

    return pd.DataFrame([to_row(face) for face in faces], columns=list(COLUMNS))
