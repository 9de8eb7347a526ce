"""Do two photographs show the same person? Embeddings of faces, and how near they are to each other.

SFace (Zhong et al. 2021, IEEE TIP 30, arXiv:2205.12010) gives each face 128 numbers, near for one person and
far for two; OpenCV's ``FaceRecognizerSF`` runs it. ``facelib data fetch yunet`` and ``facelib data fetch
sface`` bring both networks (OpenCV Zoo).

The threshold is OpenCV's: its tutorial "DNN-based Face Detection And Recognition" gives, for the photographs
of LFW, 99.60 % right at a cosine similarity of 0.363, which is a distance of 1.128. It was not measured again
here. Other photographs have other thresholds (the same table: 0.340 at different ages, 0.275 in different
poses), other people may be told apart less well than those of LFW, and a folder with many strangers has some
that are nearer than the threshold. That two faces are near is no proof that they are one person's.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facelib.errors import COSINE, InputError
from facelib.models import registry
from facelib.vision import detection, image_io
from facelib.vision.image_io import Source, printable

if TYPE_CHECKING:
    import pandas as pd

#: Cosine similarity from which two faces count as one person's (OpenCV's tutorial, for LFW).
THRESHOLD = 0.363
#: Side of the aligned face, and where ArcFace (arXiv:1801.07698) and SFace expect its eyes, nose and mouth's
#: corners, x and y in pixels; those on the picture's left first.
SIDE = 112
TEMPLATE = np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366],
                     [41.5493, 92.3655], [70.7299, 92.2041]])  # fmt: skip

#: An aligned face, (112, 112, 3) uint8 RGB -> its embedding, any number of values.
Embed = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class KnownFace:
    """A face with its embedding. box: x, y, w, h in pixels of its picture. vector: (128,) float32, length 1.
    path: its picture, None for an array. source_index: which of the pictures given."""

    box: tuple[int, int, int, int]
    vector: np.ndarray
    path: str | None = None
    source_index: int = 0

    def similarity(self, other: KnownFace) -> float:
        """Cosine of the angle between both embeddings, from -1 to 1 (the same)."""
        return float(np.clip(self.vector @ other.vector, -1, 1))


@dataclass(frozen=True)
class Verification:
    """Whether two pictures show one person. similarity: cosine, -1 to 1; distance: between the embeddings of
    length 1, the square root of 2 - 2 * similarity, 0 to 2. faces: the two compared. others: faces beside
    these in either picture: the largest of each was taken."""

    same: bool
    similarity: float
    distance: float
    threshold: float
    faces: tuple[KnownFace, KnownFace]
    others: tuple[int, int]


class Recognizer:
    """Finds faces in a picture and embeds them.

    detector: "yunet" (its five landmarks align the face, as for SFace's published accuracy), or as for
        ``detection.load_detector``: by the eyes alone then, less exactly. embed: another than SFace's.
    Raises InputError for an unknown detector or a missing file.
    """

    def __init__(self, detector: str | detection.Detector = "yunet", embed: Embed | None = None):
        self.detect = detection.load_detector(detector)
        self.embed = embed or SFace()

    def __call__(self, source: Source, source_index: int = 0) -> list[KnownFace]:
        """The faces of a picture (a path, or (H, W, 3) uint8 RGB), the largest first; raises InputError."""
        image = image_io.load(source)
        path = image_io.path_of(source)
        found = []
        for face in sorted(self.detect(image), key=lambda face: (-face.box[2] * face.box[3], face.box)):
            vector = np.asarray(self.embed(align(image, _landmarks(face))), np.float32).ravel()
            vector = vector / max(float(np.linalg.norm(vector)), 1e-12)
            found.append(KnownFace(face.box, vector, path, source_index))
        return found


class SFace:
    """SFace by ``cv2.FaceRecognizerSF``: (112, 112, 3) uint8 RGB -> (128,) float32; for several threads.

    model: an ONNX file; None takes the one that ``facelib data fetch sface`` put into place. Raises
    InputError when there is none, or OpenCV cannot read it.
    """

    def __init__(self, model: str | os.PathLike | None = None):
        self.model = os.fspath(model or registry.locate("sface"))
        self._local = threading.local()
        self(np.zeros((SIDE, SIDE, 3), np.uint8))  # a wrong file is reported now

    def __call__(self, face: np.ndarray) -> np.ndarray:
        try:
            if not hasattr(self._local, "network"):
                self._local.network = cv2.FaceRecognizerSF.create(self.model, "")
            return self._local.network.feature(np.ascontiguousarray(face[..., ::-1])).ravel()
        except cv2.error:
            raise InputError(
                f"{printable(self.model)}: OpenCV cannot read it as SFace's model; `facelib data fetch sface`"
            ) from None


def _landmarks(face: detection.Detection) -> np.ndarray:
    """(5, 2) landmarks, or (2, 2): the eyes, or where they stand in most faces of FER-2013's framing."""
    if face.landmarks is not None:
        return face.landmarks
    if face.eyes:
        return np.array(face.eyes)
    x, y, side = face.frame
    return np.array([[x - 0.19 * side, y - 0.11 * side], [x + 0.19 * side, y - 0.11 * side]])


def align(image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """The face as the network expects it, (112, 112, 3) uint8 RGB: the turn, scale and shift that bring the
    landmarks, (n, 2) with n the first so many of ``TEMPLATE``, nearest to their places (least squares)."""
    z, w = (points @ [1, 1j] for points in (np.asarray(landmarks, float), TEMPLATE[: len(landmarks)]))
    dz, dw = z - z.mean(), w - w.mean()
    turn = (dz.conj() @ dw) / max((dz.conj() @ dz).real, 1e-6)
    shift = w.mean() - turn * z.mean()
    matrix = np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])
    return cv2.warpAffine(image, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR)


def verify(
    first: Source,
    second: Source,
    threshold: float = THRESHOLD,
    detector: str | detection.Detector = "yunet",
    embed: Embed | None = None,
) -> Verification:
    """Whether the largest faces of two pictures are one person's; sources and options as for ``Recognizer``.

    threshold: cosine similarity from which they are. Raises InputError where a picture shows no face.

    >>> facelib.verify("passport.jpg", "party.jpg").same
    """
    threshold, recognizer = COSINE(threshold, "threshold"), Recognizer(detector, embed)
    found = [_faces(recognizer, source, number) for number, source in enumerate((first, second))]
    one, other = (faces[0] for faces in found)
    similarity = one.similarity(other)
    return Verification(similarity >= threshold, similarity, _distance(similarity), threshold, (one, other),
                        tuple(len(faces) - 1 for faces in found))  # fmt: skip


def find(
    picture: Source,
    folder: str | os.PathLike | Iterable[Source],
    n: int | None = 10,
    threshold: float = THRESHOLD,
    detector: str | detection.Detector = "yunet",
    embed: Embed | None = None,
    report: Callable[[InputError], None] | None = None,
) -> pd.DataFrame:
    """The faces nearest to the largest face of a picture, among all of a folder (searched in full) or a list.

    n: so many; None: all. report: called with the error of each picture that cannot be read; None: a warning.
    Returns a row for each face, nearest first: source_index, path, x, y, w, h, similarity (cosine), distance,
    same (similarity of at least ``threshold``). Other arguments, and InputError, as ``verify``.
    """
    import pandas as pd

    threshold, recognizer = COSINE(threshold, "threshold"), Recognizer(detector, embed)
    wanted = _faces(recognizer, picture, 0)[0]
    report = report or (lambda error: warnings.warn(str(error), stacklevel=3))
    rows = []
    for face in _all_faces(recognizer, folder, report):
        similarity = wanted.similarity(face)
        row = {"source_index": face.source_index, "path": face.path, **dict(zip("xywh", face.box))}
        row |= {"similarity": similarity, "distance": _distance(similarity), "same": similarity >= threshold}
        rows.append(row)
    columns = ["source_index", "path", *"xywh", "similarity", "distance", "same"]
    table = pd.DataFrame(rows, columns=columns).sort_values("similarity", ascending=False, kind="stable")
    return table.head(len(table) if n is None else n).reset_index(drop=True)


def _faces(recognizer: Recognizer, source: Source, number: int) -> list[KnownFace]:
    faces = recognizer(source, number)
    if not faces:
        name = image_io.path_of(source)
        raise InputError(
            f"{printable(name) if name else 'the picture'}: no face was found; try another detector"
        )
    return faces


def _all_faces(recognizer, folder, report) -> Iterator[KnownFace]:
    one = isinstance(folder, str | bytes | os.PathLike)
    for number, source in enumerate(image_io.find_images([folder], report) if one else folder):
        try:
            yield from recognizer(source, number)
        except InputError as error:
            report(error)


def _distance(similarity: float) -> float:
    return float(np.sqrt(2 - 2 * similarity))
