"""DeepFace's pipeline, stage by stage: its crops, pixel by pixel, for the networks of ``models.deepface``.

DeepFace (Serengil & Ozpinar: "LightFace", ASYU 2020; "HyperExtended LightFace", ICEET 2021) is what this
project started from. Here its OpenCV path is rebuilt from its version 0.0.103 so that each stage can be
looked at, timed and compared; ``tests/vision/test_deepface_pipeline.py`` holds it to the package itself::

    picture -> extract_faces -> crop -> network_input -> gender_network            (n, 224, 224, 3)
                                                      -> gray, 48x48 -> emotion_network (n, 48, 48, 1)

What the stages cost and lose is said in their docstrings. Our own path (detection, alignment, encoder)
avoids each of these losses; this module keeps them, because a comparison needs the real thing.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from facelib.models.deepface import SIDE
from facelib.vision.detection import cascade
from facelib.vision.image_io import as_rgb

Point = tuple[int, int]


@dataclass(frozen=True)
class ExtractedFace:
    """One face as DeepFace cuts it out.

    crop: (h, w, 3) uint8 RGB, turned so that the eyes are level; black where it leaves the picture.
    box: x, y, w, h in pixels of the picture. The corner is moved into the picture without narrowing the
        box, so a face over the left or upper edge is reported shifted by what hangs out.
    eyes: (x, y) of the eye on the picture's left, then of the one on its right; None unless both were
        found inside the picture.
    confidence: 1 - score / 100 for the cascade's score, to two decimals: the surer the detector is, the
        *lower* this number. It orders nothing; use ``facelib.vision.detection`` for a confidence that does.
    """

    crop: np.ndarray
    box: tuple[int, int, int, int]
    eyes: tuple[Point, Point] | None
    confidence: float


def extract_faces(image: np.ndarray) -> list[ExtractedFace]:
    """Find, level and cut the faces of a picture, (H, W, 3) uint8 RGB, as DeepFace's OpenCV path does.

    A black border of half the picture is added on each side before the search: four times the area, for
    faces that the picture's edge cuts. The eye cascade then runs in each box. Its two largest boxes decide
    the angle, without a limit: with a nostril for an eye, a straight face comes out on its side.

    Where DeepFace raises an error (or, with ``enforce_detection=False``, takes the whole picture for a face),
    this returns no faces. They come from left to right: DeepFace's own order is that in which OpenCV's
    threads finished. Raises ImageError for what is no uint8 picture.
    """
    image = as_rgb(image)
    height, width = image.shape[:2]
    top, left = height // 2, width // 2
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    gray = cv2.copyMakeBorder(gray, top, top, left, left, cv2.BORDER_CONSTANT, value=0)
    boxes, _, scores = cascade("frontalface_default").detectMultiScale3(
        gray, scaleFactor=1.1, minNeighbors=10, outputRejectLevels=True
    )
    faces = []
    for (x, y, w, h), score in zip(np.asarray(boxes, int).reshape(-1, 4).tolist(), scores, strict=True):
        eyes = _eyes(gray[y : y + h, x : x + w])
        x, y = x - left, y - top  # from here on in pixels of the picture
        eyes = eyes and tuple((ex + x, ey + y) for ex, ey in eyes)
        crop = _level(image, (x, y, w, h), eyes)
        x, y = max(0, x), max(0, y)
        inside = eyes and all(0 <= ex < width and 0 <= ey < height for ex, ey in eyes)
        box = (x, y, min(w, width - x - 1), min(h, height - y - 1))
        faces.append(ExtractedFace(crop, box, eyes if inside else None, round((100 - float(score)) / 100, 2)))
    return sorted(faces, key=lambda face: face.box)


def network_input(crop: np.ndarray) -> np.ndarray:
    """A crop, (h, w, 3) uint8 RGB, as the attribute networks get it: (224, 224, 3) float32 BGR in [0, 1].

    Scaled to fit, black bars on two sides where it is not square. (For one side in twelve, 97 for example,
    rounding down leaves a black line of one pixel all the same.) A crop of values 0 and 1 only is not divided
    by 255, as in DeepFace.
    """
    pixels = crop[..., ::-1] / 255 if crop.max() > 1 else np.ascontiguousarray(crop[..., ::-1])
    scale = min(SIDE / crop.shape[0], SIDE / crop.shape[1])
    h, w = (max(1, int(side * scale)) for side in crop.shape[:2])
    square = np.zeros((SIDE, SIDE, 3), np.float32)
    y, x = (SIDE - h) // 2, (SIDE - w) // 2
    # Bilinear in double precision, then rounded to single: the last bit depends on it.
    square[y : y + h, x : x + w] = cv2.resize(pixels, (w, h))
    return square


def gender_input(crops: Sequence[np.ndarray]) -> np.ndarray:
    """Crops, each (h, w, 3) uint8 RGB -> (n, 224, 224, 3) float32 BGR in [0, 1] for ``gender_network``.

    VGG-Face as published expects 0 to 255 less a mean colour; DeepFace's gender network gets neither.
    """
    return np.array([network_input(crop) for crop in crops], np.float32).reshape(-1, SIDE, SIDE, 3)


def emotion_input(crops: Sequence[np.ndarray]) -> np.ndarray:
    """Crops, each (h, w, 3) uint8 RGB -> (n, 48, 48, 1) float32 in [0, 1] for ``emotion_network``.

    The second of two resizes, both bilinear: from 224 to 48 two pixels in 4.67 are read along each side, 18 %
    of all, and nothing is averaged, so large crops come out with aliasing.
    """
    gray = (cv2.cvtColor(network_input(crop), cv2.COLOR_BGR2GRAY) for crop in crops)
    return np.array([cv2.resize(face, (48, 48)) for face in gray], np.float32).reshape(-1, 48, 48, 1)


def _eyes(face: np.ndarray) -> tuple[Point, Point] | None:
    """Centres of the two largest boxes of the eye cascade in a gray face, the one further left first.

    Left and right are told by the boxes' left edges, not by the centres: two nested boxes can come out
    exchanged, and then the face is turned upside down.
    """
    found = cascade("eye").detectMultiScale(face, scaleFactor=1.1, minNeighbors=10)
    eyes = np.asarray(found, int).reshape(-1, 4).tolist()
    largest = sorted(eyes, key=lambda eye: (-eye[2] * eye[3], eye))[:2]
    if len(largest) < 2:
        return None
    if largest[0][0] >= largest[1][0]:
        largest.reverse()
    first, second = ((int(x + w / 2), int(y + h / 2)) for x, y, w, h in largest)
    return first, second


def _level(image: np.ndarray, box: tuple[int, int, int, int], eyes: tuple[Point, Point] | None) -> np.ndarray:
    """Turn the box and half its size around it until the eyes are level, and cut the box out of that."""
    x, y, w, h = box
    margin_x, margin_y = w // 2, h // 2
    patch = _window(image, x - margin_x, y - margin_y, w + 2 * margin_x, h + 2 * margin_y)
    if eyes:
        (x1, y1), (x2, y2) = eyes
        angle = float(np.degrees(np.arctan2(y2 - y1, x2 - x1)))
        centre = (patch.shape[1] // 2, patch.shape[0] // 2)  # half a pixel off where the side is odd
        turn = cv2.getRotationMatrix2D(centre, angle, 1.0)
        patch = cv2.warpAffine(patch, turn, patch.shape[1::-1], flags=cv2.INTER_CUBIC)  # black outside
    return patch[margin_y : margin_y + h, margin_x : margin_x + w]


def _window(image: np.ndarray, x: int, y: int, w: int, h: int) -> np.ndarray:
    """The window at x, y of size w, h; black where it hangs over the picture's edge."""
    height, width = image.shape[:2]
    window = np.zeros((h, w, 3), np.uint8)
    x1, y1, x2, y2 = max(x, 0), max(y, 0), min(x + w, width), min(y + h, height)
    if x1 < x2 and y1 < y2:
        window[y1 - y : y2 - y, x1 - x : x2 - x] = image[y1:y2, x1:x2]
    return window


_PACKAGE = """
import pickle, sys, numpy as np
from deepface import DeepFace
pictures = pickle.load(open(sys.argv[1], "rb"))
options = dict(detector_backend="opencv", align=True, normalize_face=False)
found = [DeepFace.extract_faces(np.ascontiguousarray(p[..., ::-1]), **options) for p in pictures]
pickle.dump([[face["face"] for face in faces] for faces in found], open(sys.argv[1], "wb"))
"""


def parity(pictures: Mapping[str, np.ndarray]) -> list[dict] | None:
    """How many crops the deepface package makes of each picture, how many we make, and how many are equal.

    pictures: name -> (H, W, 3) uint8 RGB. Returns a row of "picture", "DeepFace", "rebuilt", "identical" for
    each; None where the package is missing. It is asked in a process of its own, because it changes
    TensorFlow's settings.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "pictures.pickle")
        with open(file, "wb") as stream:
            pickle.dump(list(pictures.values()), stream)
        environment = os.environ | {"DEEPFACE_HOME": folder}
        command = [sys.executable, "-c", _PACKAGE, file]
        if subprocess.run(command, env=environment, capture_output=True, check=False).returncode:
            return None
        with open(file, "rb") as stream:
            theirs = pickle.load(stream)
    rows = []
    for (name, picture), crops in zip(pictures.items(), theirs, strict=True):
        ours = [face.crop for face in extract_faces(picture)]
        # The package's order is that in which its threads finished: each of our crops looks for its twin.
        equal = sum(any(np.array_equal(crop, twin) for twin in crops) for crop in ours)
        rows.append({"picture": name, "DeepFace": len(crops), "rebuilt": len(ours), "identical": equal})
    return rows
