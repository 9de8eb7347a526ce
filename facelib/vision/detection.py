"""Find faces: OpenCV's Haar cascades (inside the wheel, nothing to download) and YuNet (more exact).

Both return ``Detection``s: boxes in the picture's pixels, eyes, a confidence on a common scale, and the
*frame*, the square that FER-2013 would have cut around that face.
"""

from __future__ import annotations

import math
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from facelib.errors import InputError
from facelib.models import registry

#: Detection works on pictures of at most this many pixels on the longer side; larger ones are reduced for
#: the search only (``search_side``). A face must then cover about 1/53 of the longer side (Haar: 24 of 1280).
MAX_SIDE = 1280
#: Smaller pictures are enlarged until the shorter side has this many pixels, up to fourfold: a face that
#: fills a 48x48 picture is then large enough for the cascade's steps of scale.
MIN_SIDE = 192


@dataclass(frozen=True)
class Detection:
    """One face in one picture.

    box: x, y, w, h in pixels of the picture, inside it. confidence: in [0, 1], one scale for both (see
        ``_calibrated``): 0.5 is where either starts to find more faces than other things.
    eyes: centres of the eyes, the one on the left of the upright face first, or None where not found.
    frame: centre x, centre y and side of the square that has FER-2013's framing, in pixels, before rotation.
    turn: degrees, clockwise, by which the face lies turned in the picture, where no eyes tell it.
    landmarks: (5, 2) eyes, nose, corners of the mouth, each pair from left to right; YuNet's alone.
    """

    box: tuple[int, int, int, int]
    eyes: tuple[tuple[float, float], tuple[float, float]] | None
    confidence: float
    frame: tuple[float, float, float]
    turn: float = 0.0
    landmarks: np.ndarray | None = field(default=None, compare=False)


Detector = Callable[[np.ndarray], list[Detection]]

_local = threading.local()  # a cascade keeps state while it searches: one for each thread


def cascade(name: str) -> cv2.CascadeClassifier:
    """This thread's Haar cascade of OpenCV's, "frontalface_alt2", "frontalface_default" or "eye"."""
    if not hasattr(_local, name):
        setattr(_local, name, cv2.CascadeClassifier(f"{cv2.data.haarcascades}haarcascade_{name}.xml"))
    return getattr(_local, name)


def _calibrated(score: float, middle: float, slope: float) -> float:
    """A detector's own score as a number in [0, 1]: a logistic curve in the manner of Platt (1999), for YuNet
    fitted to boxes that were right or wrong, for the cascade set by hand."""
    return 1 / (1 + math.exp(-slope * (score - middle)))


def _working_size(image: np.ndarray, most: int = MAX_SIDE, least: int = 0) -> tuple[np.ndarray, float]:
    """The picture at the size for searching, at most ``most`` pixels on the longer side, and the factor from
    that size back to the picture's. least: a longer side to which smaller pictures are enlarged, but not
    those of less than half of it: what has so few pixels shows a large face."""
    shorter, longer = sorted(image.shape[:2])
    larger = max(1.0, min(MIN_SIDE / shorter, 4.0), least / longer if 2 * longer >= least else 0.0)
    return _resized(image, min(most / longer, larger))


def _resized(image: np.ndarray, zoom: float) -> tuple[np.ndarray, float]:
    height, width = image.shape[:2]
    if zoom == 1:
        return image, 1.0
    size = max(1, round(width * zoom)), max(1, round(height * zoom))
    how = cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC
    return cv2.resize(image, size, interpolation=how), 1 / zoom


class _BoxDetector(ABC):
    """What both detectors share: the size that is searched, and boxes in the picture's own pixels.

    A subclass has ``LEAST``, the shortest side in which it can find anything; ``ENLARGED``, the longer side
    to which smaller pictures are brought; ``MARGIN``, the side of FER-2013's frame in parts of its box's
    height; and ``_search``.
    """

    LEAST: int
    MARGIN: float
    ENLARGED = 0

    def __init__(self, min_confidence: float = 0.5, search_side: int = MAX_SIDE):
        self.min_confidence, self.search_side = min_confidence, search_side

    def __call__(self, image: np.ndarray) -> list[Detection]:
        """image: (H, W, 3) uint8 RGB. Returns the faces, surest first."""
        small, back = _working_size(image, self.search_side, self.ENLARGED)
        if min(small.shape[:2]) < self.LEAST:
            return []
        faces = []
        for box, points, confidence in self._search(small):
            x, y, w, h = (float(v) * back for v in box)
            left, top = max(0, round(x)), max(0, round(y))
            right, bottom = min(image.shape[1], round(x + w)), min(image.shape[0], round(y + h))
            inside = left, top, max(1, right - left), max(1, bottom - top)
            points = np.array(points or [], float) * back
            eyes = tuple(map(tuple, points[:2].tolist())) or None
            landmarks = points if len(points) == 5 else None
            frame = (x + w / 2, y + h / 2, h * self.MARGIN)
            faces.append(Detection(inside, eyes, confidence, frame, landmarks=landmarks))
        return sorted(faces, key=lambda face: (-face.confidence, face.box))

    @abstractmethod
    def _search(self, image: np.ndarray) -> Iterator[tuple]:
        """The faces of an RGB picture of the working size, in its pixels: box, landmarks (the eyes first, or
        alone) or None, confidence."""


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
    #: Raw hits that agree on a box which is as likely a face as not. Of a close-up, a box that is at least
    #: ``CLOSE_UP`` of the picture's shorter side, two are enough, and one where nothing else was found: in
    #: close-ups the cascade misses a third of the faces for want of hits, and hardly errs.
    HITS, HITS_CLOSE_UP, CLOSE_UP = 3.5, 1.9, 0.45
    #: A picture with fewer gray levels than this is stretched to 256: OpenCV passes over windows of low
    #: contrast, and at 12 % of their brightness it finds no face in photographs in which it then finds most.
    FLAT = 100

    def _search(self, image: np.ndarray) -> Iterator[tuple]:
        gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        share = np.cumsum(cv2.calcHist([gray], [0], None, [256], [0, 256])) / gray.size
        low, high = np.searchsorted(share, (0.0005, 0.9995))
        if high - low < self.FLAT:
            gray = cv2.convertScaleAbs(np.clip(gray, low, high) - low, alpha=255 / max(high - low, 1))
        large = self.CLOSE_UP * min(gray.shape)
        boxes, hits = cascade("frontalface_alt2").detectMultiScale2(
            gray, 1.15, 1, minSize=(self.LEAST, self.LEAST)
        )
        found = [(box, int(n), self.HITS_CLOSE_UP if box[2] >= large else self.HITS)
                 for box, n in zip(boxes, np.ravel(hits))]  # fmt: skip
        found = [each for each in found if each[1] >= each[2]]
        if not found:
            size = (max(self.LEAST, round(large)),) * 2
            single = cascade("frontalface_alt2").detectMultiScale(gray, 1.15, 0, minSize=size)
            found = [(box, 1, 1.0) for box in sorted(single, key=lambda box: -box[2])[:1]]
        for (x, y, w, h), count, needed in found:
            confidence = _calibrated(math.log(count), math.log(needed), 2.5)
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

    #: Score that counts as likely a face as not, and the steepness of the confidence about it. The slope is
    #: the logistic fit that ``benchmarks/detection.py`` prints, to 528 boxes in 82 photographs; its middle
    #: would be 0.68 (even with many a face that nobody annotated among the wrong), and a dog's head has 0.77.
    MIDDLE, SLOPE = 0.8, 12.5
    #: In a street of 400 pixels half as many faces again are found when it is enlarged.
    ENLARGED = 640
    #: Longer side of a second search, for faces of at least ``LARGE`` pixels in the first: the network is
    #: sure of a face only where it sees it whole.
    COARSE, LARGE = 480, 240
    #: Boxes of two searches are the same face where they overlap by so much, or one lies in the other.
    SAME, INSIDE = 0.3, 0.6

    def __init__(
        self,
        model: str | Path | None = None,
        min_confidence: float = 0.5,
        search_side: int = MAX_SIDE,
    ):
        super().__init__(min_confidence, search_side)
        self.model = Path(model) if model else registry.locate("yunet")
        self._local = threading.local()
        registry.check_detector(self.model)
        self.rows(np.zeros((32, 32, 3), np.uint8))  # a wrong file is reported now, not at the first picture

    def rows(self, image: np.ndarray) -> np.ndarray:
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
        rows, zoom = self.rows(image), self.COARSE / max(image.shape[:2])
        if zoom < 0.75 and min(image.shape[:2]) * zoom >= self.LEAST:
            other, back = _resized(image, zoom)
            more = self.rows(other)
            more[:, :14] *= back
            large = more[:, 2:4].max(1) >= self.LARGE
            rows = self._distinct(np.concatenate([rows, more[large]]))
        for row in rows:
            confidence = _calibrated(float(row[14]), self.MIDDLE, self.SLOPE)
            if confidence >= self.min_confidence and np.isfinite(row).all():
                eyes, nose, mouth = np.split(row[4:14].reshape(5, 2), (2, 3))
                yield row[:4], [*sorted(eyes.tolist()), *nose.tolist(), *sorted(mouth.tolist())], confidence

    def _distinct(self, rows: np.ndarray) -> np.ndarray:
        """The surest of the rows that are the same face."""
        kept: list[int] = []
        for i in np.argsort(-rows[:, 14], kind="stable"):
            for j in kept:
                both, areas = _common(rows[i], rows[j]), rows[[i, j], 2] * rows[[i, j], 3]
                if both > self.SAME * (areas.sum() - both) or both > self.INSIDE * areas.min():
                    break
            else:
                kept.append(i)
        return rows[kept]


def _common(a: np.ndarray, b: np.ndarray) -> float:
    """The area that two boxes (x, y, w, h, …) share."""
    ends = np.minimum(a[:2] + a[2:4], b[:2] + b[2:4])
    return float(np.prod(np.maximum(ends - np.maximum(a[:2], b[:2]), 0)))


@dataclass(frozen=True)
class Turning:
    """A detector for photographs that lie on their side: where it finds nothing, it looks again at the
    picture turned by 90, 270 and 180 degrees."""

    detect: Detector

    def __call__(self, image: np.ndarray) -> list[Detection]:
        for quarters in (0, 1, 3, 2):  # clockwise
            if found := self.detect(np.ascontiguousarray(np.rot90(image, -quarters))):
                return [_turned_back(face, quarters, image.shape) for face in found]
        return []


def inner(detector: Detector) -> Detector:
    """The detector itself, without what turns pictures for it."""
    return detector.detect if isinstance(detector, Turning) else detector


def least_face(detector: Detector, image: np.ndarray) -> float:
    """Side in a picture's own pixels below which the detector finds no face, as it reduces the picture; 0 for
    a detector that is not ours."""
    detector = inner(detector)
    if not isinstance(detector, _BoxDetector):
        return 0.0
    return detector.LEAST * max(1.0, max(image.shape[:2]) / detector.search_side)


def _turned_back(face: Detection, quarters: int, shape: tuple[int, ...]) -> Detection:
    """A face of a picture that was turned clockwise by quarters, in the pixels of the picture (h, w, …)."""
    height, width = shape[:2]

    def back(x: float, y: float) -> tuple[float, float]:
        return {0: (x, y), 1: (y, height - x), 2: (width - x, height - y), 3: (width - y, x)}[quarters]

    x, y, w, h = face.box
    ends = np.sort([back(x, y), back(x + w, y + h)], axis=0)
    box = tuple(int(v) for v in (*ends[0], *(ends[1] - ends[0])))
    eyes = face.eyes and tuple(back(*eye) for eye in face.eyes)
    cx, cy, side = face.frame
    return Detection(box, eyes, face.confidence, (*back(cx, cy), side), face.turn - 90.0 * quarters)


def whole_picture(image: np.ndarray) -> list[Detection]:
    """For pictures that are face crops already: the whole picture is the frame, nothing is searched."""
    height, width = image.shape[:2]
    return [Detection((0, 0, width, height), None, 1.0, (width / 2, height / 2, float(min(height, width))))]


def load_detector(
    detector: str | Detector = "auto",
    min_confidence: float = 0.5,
    search_side: int = MAX_SIDE,
    turn: bool = False,
) -> Detector:
    """A detector by name: "auto" (YuNet where it was fetched, else Haar), "haar", "yunet", "none" (each
    picture is a face) or a path to a YuNet file; a callable is returned as it is.

    search_side: pictures are reduced to so many pixels on the longer side for the search. turn: where nothing
    is found the picture is also searched turned (``Turning``). Raises InputError for another name.
    """
    if callable(detector):
        found = detector
    elif detector == "none":
        found = whole_picture
    elif detector == "haar" or (detector == "auto" and not registry.DOWNLOADS["yunet"].path.is_file()):
        found = HaarDetector(min_confidence, search_side)
    elif detector in ("auto", "yunet"):
        found = YuNetDetector(None, min_confidence, search_side)
    elif not str(detector).endswith(".onnx"):
        raise InputError(
            f"unknown detector {detector!r}; choose auto, haar, yunet, none or a YuNet file (.onnx)"
        )
    elif not Path(detector).is_file():
        raise InputError(f"{detector}: no such file; `facelib data fetch yunet` downloads one")
    else:
        found = YuNetDetector(detector, min_confidence, search_side)
    return Turning(found) if turn else found
