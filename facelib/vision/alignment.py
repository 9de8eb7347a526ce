"""Turn a detected face upright and cut it out as FER-2013 would have: same margin, no black bars.

DeepFace cuts the face out, letterboxes it to 224x224 and reduces that to 48x48: two resamplings and black
bars that its networks never saw in training. Here the frame is turned once at the picture's own resolution
and reduced once, by area.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from facelib.vision.detection import Detection

MUCH = 24  # gray levels of change at which a picture's own finer texture is gone


def upright(image: np.ndarray, face: Detection) -> np.ndarray:
    """The square frame around a face, turned so that the eyes are level, at the picture's resolution.

    image: (H, W, 3) uint8 RGB. Returns (s, s, 3) uint8, s the side of ``face.frame`` in whole pixels, at
    least 1. Where the frame leaves the picture, the picture's edge is repeated: a black bar would be the
    strongest edge in the crop. Without eyes nothing is turned.
    """
    size, angle, matrix, (top, bottom, left, right) = _geometry(image, face)
    x, y = (round(c - size / 2) for c in face.frame[:2])
    inside = x >= 0 and y >= 0 and x + size <= image.shape[1] and y + size <= image.shape[0]
    if inside and abs(angle) < math.radians(1):
        return image[y : y + size, x : x + size]  # nothing to resample
    return cv2.warpAffine(
        image[top:bottom, left:right],
        matrix,
        (size, size),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )


def put_back(image: np.ndarray, face: Detection, change: np.ndarray) -> np.ndarray:
    """Add a change to a face in its picture, the inverse of ``align``.

    image: (H, W, 3) uint8 RGB. change: (s, s) float, gray levels to add to the aligned face, of any side s.
    It is enlarged, fades out towards the frame's edge and is added to all three colours, so hue stays. Where
    the change is large, texture finer than its pixels is smoothed away: the old teeth would show through the
    new lips. Returns a new picture.
    """
    size, _, matrix, (top, bottom, left, right) = _geometry(image, face)
    y, x = np.mgrid[-1 : 1 : 1j * len(change), -1 : 1 : 1j * len(change)]
    fade = np.clip((1 - np.hypot(x, y)) / 0.25, 0, 1)  # an ellipse, as wide as the frame
    faded = (change * fade).astype(np.float32)
    much = np.clip(cv2.GaussianBlur(np.abs(faded), (0, 0), 1.0) / MUCH, 0, 1)

    def turned(layer: np.ndarray) -> np.ndarray:
        large = cv2.resize(layer, (size, size), interpolation=cv2.INTER_CUBIC)
        return cv2.warpAffine(large, matrix, (right - left, bottom - top), flags=cv2.INTER_LINEAR)[..., None]

    changed = image.copy()
    part = changed[top:bottom, left:right]
    coarse = cv2.GaussianBlur(part.astype(np.float32), (0, 0), max(0.5, size / len(change)))
    kept = part + np.clip(turned(much), 0, 1) * (coarse - part)
    part[:] = np.clip(np.round(kept + turned(faded)), 0, 255)
    return changed


def _geometry(image: np.ndarray, face: Detection) -> tuple[int, float, np.ndarray, tuple[int, ...]]:
    """Side of a face's frame in whole pixels, its turn in radians, the matrix from its pixels to those of
    the part of the picture that it can touch, and that part: top, bottom, left, right."""
    cx, cy, side = face.frame
    size = max(1, round(side))
    angle = math.radians(face.turn)
    if face.eyes:
        (x0, y0), (x1, y1) = face.eyes
        angle = math.atan2(y1 - y0, x1 - x0)
    # Only what the turned frame can touch: OpenCV warps no picture that is wider than 32,767 pixels.
    reach = size * math.sqrt(0.5) + 2
    left, top = (
        min(max(0, math.floor(c - reach)), n - 1) for c, n in ((cx, image.shape[1]), (cy, image.shape[0]))
    )
    bottom, right = max(math.ceil(cy + reach), top + 1), max(math.ceil(cx + reach), left + 1)
    bottom, right = min(bottom, image.shape[0]), min(right, image.shape[1])
    cx, cy = cx - left, cy - top
    cos, sin = math.cos(angle), math.sin(angle)
    middle = (size - 1) / 2
    # From a pixel of the frame to the picture's: a turn about the frame's centre.
    matrix = np.array(
        [
            [cos, -sin, cx - 0.5 - cos * middle + sin * middle],
            [sin, cos, cy - 0.5 - sin * middle - cos * middle],
        ]
    )
    return size, angle, matrix, (top, bottom, left, right)


def resize(patch: np.ndarray, size: int) -> np.ndarray:
    """One resampling to (size, size): by area when it reduces (no aliasing), linear when it enlarges."""
    if patch.shape[:2] == (size, size):
        return patch
    how = cv2.INTER_AREA if patch.shape[0] > size else cv2.INTER_LINEAR
    return cv2.resize(patch, (size, size), interpolation=how)


def align(image: np.ndarray, face: Detection, size: int = 48, gray: bool = True) -> np.ndarray:
    """A face as the networks want it: (size, size) uint8 gray, or (size, size, 3) RGB with gray=False."""
    patch = resize(upright(image, face), size)
    return cv2.cvtColor(patch, cv2.COLOR_RGB2GRAY) if gray else patch
