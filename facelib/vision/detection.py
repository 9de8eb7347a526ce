"""Find faces: OpenCV's Haar cascades (inside the wheel, nothing to download) and YuNet (more exact).

Both return ``Detection``s: boxes in the picture's pixels, eyes, a confidence on a common scale, and the
*frame*, the square that FER-2013 would have cut around that face.
"""

from __future__ import annotations

import math
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from facelib.errors import InputError
from facelib.models import registry

#: Detection works on pictures of at most this many pixels on the longer side; larger ones are reduced for
#: the search only. A face must then cover about 1/53 of the longer side (Haar: 24 of 1280 pixels).
MAX_SIDE = 1280
#: Smaller pictures are enlarged until the shorter side has this many pixels, up to fourfold: a face that
#: fills a 48x48 picture is then large enough for the cascade's steps of scale.
MIN_SIDE = 192


@dataclass(frozen=True)
class Detection:
    """One face in one picture.

    box: x, y, w, h in pixels of the picture, inside it. confidence: in [0, 1], one scale for both,
        set by hand (see ``_calibrated``): 0.5 is where either starts to find more faces than other things.
    eyes: centres of the eyes, the one on the left of the picture first, or None where they were not found.
    frame: centre x, centre y and side of the square that has FER-2013's framing, in pixels, before rotation.
    """

    box: tuple[int, int, int, int]
    eyes: tuple[tuple[float, float], tuple[float, float]] | None
    confidence: float
    frame: tuple[float, float, float]


Detector = Callable[[np.ndarray], list[Detection]]

_local = threading.local()  # a cascade keeps state while it searches: one for each thread


def cascade(name: str) -> cv2.CascadeClassifier:
    """This thread's Haar cascade of OpenCV's, "frontalface_alt2", "frontalface_default" or "eye"."""
    if not hasattr(_local, name):
        setattr(_local, name, cv2.CascadeClassifier(f"{cv2.data.haarcascades}haarcascade_{name}.xml"))
    return getattr(_local, name)


def _calibrated(score: float, middle: float, slope: float) -> float:
    """A detector's own score as a number in [0, 1]: a logistic curve in the manner of Platt (1999), but with
    ``middle`` and ``slope`` set by hand on 43 annotated faces, not fitted. It orders boxes and puts the
    threshold of both detectors at 0.5; it is not a measured probability."""
    return 1 / (1 + math.exp(-slope * (score - middle)))


def _working_size(image: np.ndarray) -> tuple[np.ndarray, float]:
    """The picture at the size for searching, and the factor from that size back to the picture's."""
    height, width = image.shape[:2]
    zoom = min(MAX_SIDE / max(height, width), 1.0)
    if zoom == 1:
        zoom = min(max(MIN_SIDE / min(height, width), 1.0), 4.0, MAX_SIDE / max(height, width))
    if zoom == 1:
        return image, 1.0
    size = max(1, round(width * zoom)), max(1, round(height * zoom))
    how = cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC
    return cv2.resize(image, size, interpolation=how), 1 / zoom


class _BoxDetector(ABC):
    """What both detectors share: the size that is searched, and boxes in the picture's own pixels.

    A subclass has ``LEAST``, the shortest side in which it can find anything; ``MARGIN``, the side of
    FER-2013's frame in parts of its box's height; and ``_search``.
    """

    LEAST: int
    MARGIN: float

    def __init__(self, min_confidence: float = 0.5):
        self.min_confidence = min_confidence

    def __call__(self, image: np.ndarray) -> list[Detection]:
        """image: (H, W, 3) uint8 RGB. Returns the faces, surest first."""
        small, back = _working_size(image)
        if min(small.shape[:2]) < self.LEAST:
            return []
        faces = []
        for box, eyes, confidence in self._search(small):
            x, y, w, h = (float(v) * back for v in box)
            left, top = max(0, round(x)), max(0, round(y))
            right, bottom = min(image.shape[1], round(x + w)), min(image.shape[0], round(y + h))
            inside = left, top, max(1, right - left), max(1, bottom - top)
            eyes = eyes and tuple((float(ex) * back, float(ey) * back) for ex, ey in eyes)
            frame = (x + w / 2, y + h / 2, h * self.MARGIN)
            faces.append(Detection(inside, eyes, confidence, frame))
        return sorted(faces, key=lambda face: (-face.confidence, face.box))

    @abstractmethod
    def _search(self, image: np.ndarray) -> Iterator[tuple]:
        """The faces of an RGB picture of the working size: box, eyes or None, confidence; in its pixels."""


class HaarDetector(_BoxDetector):
    """Viola-Jones cascade (CVPR 2001) with OpenCV's frontal "alt2" classifier, eyes by a second cascade.

    Why "alt2" in steps of 1.15 and not "default" in steps of 1.1, which DeepFace takes: it finds more of the
    annotated faces, with fewer false boxes, in less than half the time (``benchmarks/detection.py``). Unlike
    DeepFace, no border is added around the picture: it would quadruple the area that is searched.
    Frontal faces of at least 24 pixels after the scaling that ``MAX_SIDE`` documents.
    """

    name = "haar"
    LEAST = 24
    #: FER-2013's frames are OpenCV's own boxes, to the percent (measured: benchmarks/framing.py).
    MARGIN = 1.0
    #: A box on which fewer raw hits agree is left out at once.
    MIN_HITS = 2

    def _search(self, image: np.ndarray) -> Iterator[tuple]:
        gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        boxes, hits = cascade("frontalface_alt2").detectMultiScale2(
            gray, 1.15, self.MIN_HITS - 1, minSize=(self.LEAST, self.LEAST)
        )
        for (x, y, w, h), count in zip(boxes, np.ravel(hits)):
            confidence = _calibrated(math.log(count), math.log(3.5), 2.5)
            if confidence >= self.min_confidence:
                eyes = self._eyes(gray[y : y + h, x : x + w])
                yield (x, y, w, h), eyes and [(x + ex, y + ey) for ex, ey in eyes], confidence

    def _eyes(self, face: np.ndarray) -> list[tuple[float, float]] | None:
        """Eyes in the upper part of a box, one in each half; None unless both are found and plausible."""
        side = face.shape[0]
        zoom = 120 / side  # a fixed size: constant cost, and the cascade's 20 pixels are a sixth of the face
        how = cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR
        face = cv2.resize(face, (120, 120), interpolation=how)
        found = []
        for left in (0, 48):  # the halves overlap: a turned head moves both eyes to one side
            part = face[18:72, left : left + 72]
            boxes, hits = cascade("eye").detectMultiScale2(part, 1.1, 2, maxSize=(48, 48))
            if not len(boxes):
                return None
            x, y, w, h = boxes[int(np.argmax(hits))]
            found.append(((left + x + w / 2) / zoom, (18 + y + h / 2) / zoom))
        (x0, y0), (x1, y1) = found
        apart, slope = (x1 - x0) / side, abs(y1 - y0) / max(x1 - x0, 1e-6)
        # FER-2013's eyes stand 0.38 of the side apart; half of that is one eye seen twice.
        return found if 0.22 < apart < 0.6 and slope < 0.6 else None


class YuNetDetector(_BoxDetector):
    """YuNet (Wu, Peng & Yu 2023, Machine Intelligence Research 20) through ``cv2.FaceDetectorYN``.

    model: an ONNX file; None takes the one that ``facelib data fetch yunet`` put into place.
    Raises InputError when there is no model file, or OpenCV cannot read it.
    """

    name = "yunet"
    LEAST = 32  # less than a cell of its coarsest map: what comes out is noise
    #: YuNet's box reaches from chin to hairline; FER-2013's frame is this part of its height
    #: (measured: benchmarks/framing.py).
    MARGIN = 0.92

    def __init__(self, model: str | Path | None = None, min_confidence: float = 0.5):
        super().__init__(min_confidence)
        self.model = Path(model) if model else registry.locate("yunet")
        self._local = threading.local()
        registry.check_detector(self.model)
        self._run(np.zeros((32, 32, 3), np.uint8))  # a wrong file is reported now, not at the first picture

    def _run(self, image: np.ndarray) -> np.ndarray:
        """(faces, 15) float32: box, five landmarks (the eyes first), score."""
        size = image.shape[1], image.shape[0]
        try:
            if not hasattr(self._local, "network"):
                self._local.network = cv2.FaceDetectorYN.create(str(self.model), "", size, 0.5, 0.3, 5000)
            self._local.network.setInputSize(size)
            rows = self._local.network.detect(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1]
        except cv2.error:
            raise InputError(
                f"{self.model}: OpenCV cannot read it as a YuNet model; `facelib data fetch yunet`"
            ) from None
        return np.empty((0, 15), np.float32) if rows is None else rows

    def _search(self, image: np.ndarray) -> Iterator[tuple]:
        for row in self._run(image):
            confidence = _calibrated(float(row[14]), 0.78, 30.0)
            if confidence >= self.min_confidence and np.isfinite(row).all():
                yield row[:4], sorted((tuple(row[4:6]), tuple(row[6:8]))), confidence


def whole_picture(image: np.ndarray) -> list[Detection]:
    """For pictures that are face crops already: the whole picture is the frame, nothing is searched."""
    height, width = image.shape[:2]
    return [Detection((0, 0, width, height), None, 1.0, (width / 2, height / 2, float(min(height, width))))]


def load_detector(detector: str | Detector = "haar", min_confidence: float = 0.5) -> Detector:
    """A detector by name: "haar", "yunet", "none" (each picture is a face) or a path to a YuNet file; a
    callable is returned as it is.

    Raises InputError for another name.
    """
    if callable(detector):
        return detector
    if detector == "haar":
        return HaarDetector(min_confidence)
    if detector == "none":
        return whole_picture
    if detector == "yunet":
        return YuNetDetector(min_confidence=min_confidence)
    if not str(detector).endswith(".onnx"):
        raise InputError(f"unknown detector {detector!r}; choose haar, yunet, none or a YuNet file (.onnx)")
    if not Path(detector).is_file():
        raise InputError(f"{detector}: no such file; `facelib data fetch yunet` downloads one")
    return YuNetDetector(detector, min_confidence)
