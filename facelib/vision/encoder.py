"""The encoder: pictures in, faces with apparent gender and emotion out.

    read -> detect -> turn and cut out -> emotion, gender

Pictures are read and searched in threads (OpenCV and Pillow release Python's lock) while the networks work
on the faces found so far, all faces of all pictures in common batches. Memory does not grow with the number
of pictures: a folder of 100,000 is a stream.
"""

from __future__ import annotations

import inspect
import os
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facelib.emotions import EMOTIONS, GENDERS
from facelib.errors import FRACTION, POSITIVE, SIDE, ImageError, InputError
from facelib.models import deepface, registry
from facelib.models.emotion import EMOTION_SIDE, reader
from facelib.models.gender import GENDER_SIDE
from facelib.vision import alignment, deepface_pipeline, detection, image_io
from facelib.vision.image_io import Source

if TYPE_CHECKING:
    import pandas as pd

#: Pictures given as arrays that wait for a batch to fill never hold more than this many bytes together.
MAX_WAITING = 2**28


@dataclass(frozen=True)
class Face:
    """One analysed face.

    box: x, y, w, h in pixels of the picture as it is shown (EXIF orientation applied). eyes: centres of the
    eye on the picture's left and of the one on its right, or None. confidence: in [0, 1], that this is a
    face. emotion, gender: the most probable; emotions, genders: label -> probability, sums to 1. Gender is
    *apparent* gender. path: the file, None for what was not given by its path. source_index: which of the
    pictures given, from 0.
    """

    box: tuple[int, int, int, int]
    eyes: tuple[tuple[float, float], tuple[float, float]] | None
    confidence: float
    emotion: str | None = None
    emotions: dict[str, float] = field(default_factory=dict)
    gender: str | None = None
    genders: dict[str, float] = field(default_factory=dict)
    path: str | None = None
    source_index: int = 0


@dataclass(frozen=True)
class Picture:
    """The result for one picture: its faces, surest first, or the error that kept it from being read.

    index: which of the pictures given, from 0. least: side in its pixels below which no face was looked for,
    as the picture was reduced for the search (``search_side``).
    """

    source: Source
    faces: list[Face]
    error: InputError | None = None
    index: int = 0
    least: float = 0.0


@dataclass(frozen=True)
class _Classifier:
    """What is read in a face: how its crop is prepared, the network, the network's labels."""

    prepare: Callable[[np.ndarray], np.ndarray]  # upright RGB patch -> one network input, any dtype
    network: Callable[[np.ndarray], np.ndarray]  # (n, …) float32 in [0, 1] -> (n, classes)
    labels: tuple[str, ...]
    most: int = 256  # faces at once, a matter of memory

    def __call__(self, inputs: list[np.ndarray]) -> Iterator[dict[str, float]]:
        for start in range(0, len(inputs), self.most):
            batch = np.stack(inputs[start : start + self.most])
            if batch.dtype == np.uint8:
                batch = batch.astype(np.float32) / 255
            for row in self.network(batch):
                yield {label: float(p) for label, p in zip(self.labels, row / row.sum())}


@dataclass(frozen=True)
class _Prepared:
    source: Source
    detections: list[detection.Detection] = field(default_factory=list)
    inputs: dict[str, list[np.ndarray]] = field(default_factory=dict)  # of each classifier, a face each
    error: InputError | None = None
    index: int = 0
    least: float = 0.0


class FaceEncoder:
    """Finds faces and reads emotion and apparent gender; ``encoder(images)`` or ``encoder.stream(images)``.

    detector: "haar" (inside OpenCV), "yunet" (`facelib data fetch yunet`, finds more), "auto" (YuNet where it
        was fetched, else Haar; ``detector_name`` says which), "none" (each picture is a face already), a path
        to a YuNet file, or a callable (see ``detection.load_detector``).
    emotion, gender: "facelib" (trained here), "deepface" (the published networks, to be fetched), or None;
        emotion also "tiny", "baseline", or a callable (n, 48, 48, 1) float32 in [0, 1] -> (n, 7).
    mode: "facelib", or "deepface": faces cut out and resized exactly as DeepFace does.
    class_prior: "uniform", each emotion is expected alike, or "fer2013", as often as in that set, on which
        the networks were trained (``emotion.prior_bias``); None: "uniform", but "fer2013" in mode "deepface".
    tta: test-time augmentation: emotion is the mean over seven "crops" of a face, moved and zoomed a little,
        so that such a change matters less, in seven times the network's time; over the face and its "mirror"
        image; or "none".
    search_side: pictures are reduced to so many pixels on the longer side for the search: more finds smaller
        faces, in more time. turn: where nothing is found a picture is also searched turned by 90, 270 and 180
        degrees.
    min_confidence: faces below are left out (mode "deepface" keeps them all, as DeepFace does). workers:
        threads that read and search; None: one for each core.
    Raises InputError for an unknown name, a number out of range or a missing file; TypeError for an unknown
    argument, with what to write for one of DeepFace's. An encoder can be pickled, and used after a fork.
    """

    def __init__(
        self,
        detector: str | detection.Detector = "auto",
        emotion: str | Callable | None = "facelib",
        gender: str | None = "facelib",
        mode: str = "facelib",
        min_confidence: float = 0.5,
        workers: int | None = None,
        class_prior: str | None = None,
        tta: str = "none",
        search_side: int = detection.MAX_SIDE,
        turn: bool = False,
        **unknown,
    ):
        refuse_unknown(unknown, FaceEncoder.__init__)
        self._options = {
            "detector": detector, "emotion": emotion, "gender": gender, "mode": mode,
            "min_confidence": min_confidence, "workers": workers, "class_prior": class_prior,
            "tta": tta, "search_side": search_side, "turn": turn,
        }  # fmt: skip
        self.mode = _checked_mode(mode, detector)
        self.detect = detection.load_detector(
            "haar" if mode == "deepface" else detector,
            FRACTION(min_confidence, "min_confidence"),
            SIDE(search_side, "search_side"),
            turn,
        )
        self.detector_name = getattr(detection.inner(self.detect), "name", "none")
        self.workers = registry.cores() if workers is None else POSITIVE(workers, "workers")
        self._classifiers = {}
        if class_prior is None:
            class_prior = "fer2013" if mode == "deepface" else "uniform"
        if emotion is not None:
            self._classifiers["emotion"] = _emotion_classifier(emotion, mode, class_prior, tta)
        if gender is not None:
            self._classifiers["gender"] = _gender_classifier(gender, mode)

    def __reduce__(self):  # networks and detectors are made again where it is loaded
        return _made, (type(self), self._options)

    def __call__(self, pictures: Source | Iterable[Source], batch_size: int = 64) -> list[Face]:
        """Analyse one picture or many, such as a list or an array of paths; the faces in one flat list.

        A picture is a path, a file's content as bytes, an open binary file, a PIL image or an (H, W, 3) uint8
        RGB array. A single one that cannot be read raises InputError; of many, each bad one is a warning and
        the rest is kept. ``Face.source_index`` says in which picture a face was found.
        """
        POSITIVE(batch_size, "batch_size")
        if image_io.is_picture(pictures):
            with _one_opencv_thread_each():  # here, not in a new thread, which would load the cascades anew
                prepared = self._prepare(pictures)
            if prepared.error:
                raise prepared.error
            return next(self._classify([prepared])).faces
        faces = []
        for picture in self.stream(pictures, batch_size):
            if picture.error:
                where = "" if image_io.path_of(picture.source) else f"picture {picture.index}: "
                warnings.warn(f"{where}{picture.error}", stacklevel=2)
            faces += picture.faces
        return faces

    def stream(self, pictures: Iterable[Source], batch_size: int = 64) -> Iterator[Picture]:
        """Analyse any number of pictures in constant memory; results come in order, bad pictures included."""
        POSITIVE(batch_size, "batch_size")
        waiting: list[_Prepared] = []
        found = held = 0
        for prepared in self._prefetch(pictures):
            waiting.append(prepared)
            found += len(prepared.detections)
            held += image_io.held(prepared.source)
            if found >= batch_size or len(waiting) >= 2 * batch_size or held >= MAX_WAITING:
                yield from self._classify(waiting)
                waiting, found, held = [], 0, 0
        yield from self._classify(waiting)

    def _prefetch(self, pictures: Iterable[Source]) -> Iterator[_Prepared]:
        """Prepare pictures in threads, a few ahead of the reader, in order."""
        running: deque = deque()
        with _one_opencv_thread_each(), ThreadPoolExecutor(self.workers) as pool:
            try:
                for index, source in enumerate(image_io.each(pictures)):
                    running.append(pool.submit(self._prepare, *_detached(source), index))
                    if len(running) > 2 * self.workers:
                        yield running.popleft().result()
                while running:
                    yield running.popleft().result()
            finally:
                for job in running:
                    job.cancel()

    def _prepare(
        self, source: Source, content: Source | ImageError | None = None, index: int = 0
    ) -> _Prepared:
        """content: what is read for the source, or why nothing can be; None: the source itself."""
        with ExitStack() as reading:
            try:
                if isinstance(content, ImageError):
                    raise content
                image = reading.enter_context(image_io.opened(source if content is None else content))
            except ImageError as error:
                return _Prepared(source, error=error, index=index)
            found = self._inputs(source, *_find(image, self.mode, self.detect), index)
            return replace(found, least=detection.least_face(self.detect, image))

    def cut(self, source: Source, image: np.ndarray, faces: list[detection.Detection]) -> _Prepared:
        """Faces that are found already, for ``_classify``: a film's are followed from frame to frame."""
        return self._inputs(source, faces, [alignment.upright(image, face) for face in faces])

    def _inputs(self, source: Source, faces: list, patches: list[np.ndarray], index: int = 0) -> _Prepared:
        # Copied where a crop is a mere view: it would keep its whole picture in memory.
        inputs = {
            name: [np.ascontiguousarray(classifier.prepare(patch)) for patch in patches]
            for name, classifier in self._classifiers.items()
        }
        return _Prepared(source, faces, inputs, index=index)

    def _classify(self, waiting: list[_Prepared]) -> Iterator[Picture]:
        predictions = {
            name: classifier([x for prepared in waiting for x in prepared.inputs.get(name, ())])
            for name, classifier in self._classifiers.items()
        }
        for prepared in waiting:
            path = image_io.path_of(prepared.source)
            faces = []
            for found in prepared.detections:
                read = {name: next(each) for name, each in predictions.items()}
                facts = {"emotions": read.get("emotion", {}), "genders": read.get("gender", {})}
                facts |= {"path": path, "source_index": prepared.index}
                facts |= {name: max(each, key=each.get) for name, each in read.items()}
                faces.append(Face(found.box, found.eyes, found.confidence, **facts))
            yield Picture(prepared.source, faces, prepared.error, prepared.index, prepared.least)


def _detached(source: Source) -> tuple[Source, Source | ImageError]:
    try:
        return source, image_io.detached(source)
    except ImageError as error:
        return source, error


def _made(kind: type, options: dict) -> FaceEncoder:
    return kind(**options)


#: Arguments that DeepFace has, or this had once -> what they are here.
_DEEPFACE = {
    "img_path": "the pictures are the first argument",
    "detector_backend": 'write detector="haar", "yunet" or "none"',
    "actions": "emotion and gender are both read; leave one out with emotion=None or gender=None",
    "models": 'write emotion="facelib" and gender="facelib", or None',
    "model_name": 'write emotion="facelib" and gender="facelib", or None',
    "enforce_detection": "leave it out: a picture without a face gives no faces, not an error",
    "align": "leave it out: faces are always aligned",
    "expand_percentage": "leave it out: a face is cut out as FER-2013 frames it",
    "silent": "leave it out: nothing is printed",
    "anti_spoofing": "leave it out: there is none",
    "mirror": 'write tta="mirror"',
}


def refuse_unknown(unknown: Iterable[str], function: Callable) -> None:
    """Raise TypeError, in one line, where there are arguments that a function does not have."""
    for name in unknown:
        known = [n for n in inspect.signature(function).parameters if n not in ("self", "unknown")]
        hint = _DEEPFACE.get(name, f"there are {', '.join(known)}")
        raise TypeError(f"unexpected argument {name!r}: {hint}")


_opencv, _inside, _before, _number = threading.Lock(), 0, 0, 0


def _end_opencv_threads() -> None:
    """Before a fork: the child has none of them, and would wait for them for ever."""
    global _number
    _opencv.acquire()
    _number = cv2.getNumThreads()
    cv2.setNumThreads(1)


def _allow_opencv_threads(is_child: bool) -> None:
    global _inside
    cv2.setNumThreads(_before if is_child and _inside else _number)
    _inside *= not is_child  # nobody is at work in a child
    _opencv.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_end_opencv_threads,
        after_in_parent=lambda: _allow_opencv_threads(False),
        after_in_child=lambda: _allow_opencv_threads(True),
    )


@contextmanager
def _one_opencv_thread_each() -> Iterator[None]:
    """One OpenCV thread for each of our threads: nested parallelism only makes them wait for each other.

    The setting belongs to the whole process: with several encoders at work, the last to leave restores it.
    """
    global _inside, _before
    with _opencv:
        if not _inside:
            _before = cv2.getNumThreads()
            cv2.setNumThreads(1)
        _inside += 1
    try:
        yield
    finally:
        with _opencv:
            _inside -= 1
            if not _inside:
                cv2.setNumThreads(_before)


def _checked_mode(mode: str, detector: str | detection.Detector) -> str:
    if mode not in ("facelib", "deepface"):
        raise InputError(f"unknown mode {mode!r}; choose facelib or deepface")
    if mode == "deepface" and detector not in ("haar", "auto"):
        raise InputError('mode "deepface" rebuilds its OpenCV path: it goes with detector "haar" only')
    return mode


def _find(
    image: np.ndarray, mode: str, detect: detection.Detector
) -> tuple[list[detection.Detection], list[np.ndarray]]:
    """The faces of a picture and their upright crops at its resolution, each (h, w, 3) uint8 RGB."""
    if mode == "deepface":
        found = deepface_pipeline.extract_faces(image)
        faces = [detection.Detection(f.box, f.eyes, f.confidence, (0, 0, 0)) for f in found]
        return faces, [f.crop for f in found]
    faces = detect(image)
    return faces, [alignment.upright(image, face) for face in faces]


def _emotion_classifier(name: str | Callable, mode: str, class_prior: str, tta: str) -> _Classifier:
    if callable(name):
        network = name
    elif name == "deepface":
        network = _keras(registry.load_emotion_model(name))
    else:
        network = registry.OnnxNetwork(registry.emotion_task(name))
    network = reader(network, class_prior, tta)
    if mode == "deepface":
        return _Classifier(lambda crop: deepface_pipeline.emotion_input([crop])[0], network, EMOTIONS)

    def prepare(patch: np.ndarray) -> np.ndarray:
        return cv2.cvtColor(alignment.resize(patch, EMOTION_SIDE), cv2.COLOR_RGB2GRAY)[..., None]

    return _Classifier(prepare, network, EMOTIONS)


def _gender_classifier(name: str, mode: str) -> _Classifier:
    if name == "facelib":
        network = registry.OnnxNetwork("gender")
        return _Classifier(lambda patch: alignment.resize(patch, GENDER_SIDE), network, GENDERS)
    network = _keras(registry.load_gender_model(name))
    if mode == "deepface":
        return _Classifier(lambda crop: deepface_pipeline.gender_input([crop])[0], network, GENDERS, 8)
    # VGG-Face on our own crop; above 8 faces at once its first layers take more memory than time they save.
    return _Classifier(lambda patch: alignment.resize(patch, deepface.SIDE)[..., ::-1], network, GENDERS, 8)


def _keras(model) -> Callable[[np.ndarray], np.ndarray]:
    lock = threading.Lock()

    def call(inputs: np.ndarray) -> np.ndarray:
        with lock:
            return np.asarray(model.predict_on_batch(inputs))

    return call


@lru_cache(maxsize=4)
def _encoder(**options) -> FaceEncoder:
    return FaceEncoder(**options)


def analyze(pictures: Source | Iterable[Source] | None = None, **options) -> list[Face]:
    """Faces of one picture or of many; options are those of ``FaceEncoder``, which is kept for the next call.

    A picture is a path, a file's content as bytes, an open binary file, a PIL image or an (H, W, 3) uint8 RGB
    array; errors as of ``FaceEncoder``.

    >>> faces = facelib.analyze("photo.jpg")
    >>> faces[0].emotion, faces[0].gender
    """
    make = _encoder
    try:
        hash(tuple(options.values()))
    except TypeError:  # an option that cannot be a key, such as some callable detector
        make = FaceEncoder
    return make(**options)(pictures)


def extract_faces(
    image: Source | None = None, detector: str = "auto", mode: str = "facelib", **unknown
) -> list[np.ndarray]:
    """The face crops of one picture, (s, s, 3) uint8 RGB at the picture's resolution, one for each face.

    mode "deepface" gives what ``DeepFace.extract_faces`` gives, to the pixel.
    """
    refuse_unknown(unknown, extract_faces)
    mode = _checked_mode(mode, detector)
    detect = detection.load_detector("haar" if mode == "deepface" else detector)
    return _find(image_io.load(image), mode, detect)[1]


def to_row(face: Face) -> dict:
    """A face as one flat row: path and index of its picture, box, eyes, confidence, emotion and gender, and
    every probability."""
    (left_x, left_y), (right_x, right_y) = face.eyes or ((None, None), (None, None))
    return {
        "path": face.path,
        "source_index": face.source_index,
        **dict(zip("xywh", face.box)),
        "confidence": face.confidence,
        "left_eye_x": left_x,
        "left_eye_y": left_y,
        "right_eye_x": right_x,
        "right_eye_y": right_y,
        "emotion": face.emotion,
        **{name: face.emotions.get(name) for name in EMOTIONS},
        "gender": face.gender,
        **{name: face.genders.get(name) for name in GENDERS},
    }


#: The columns of ``to_frame`` and of the CSV that `facelib analyze` writes.
COLUMNS = tuple(to_row(Face((0, 0, 0, 0), None, 0.0)))


def to_frame(faces: Iterable[Face]) -> pd.DataFrame:
    """One row for each face; the columns are ``COLUMNS``, also when there is no face."""
    import pandas as pd

    return pd.DataFrame([to_row(face) for face in faces], columns=list(COLUMNS))
