"""Turn a detected face upright and cut it out as FER-2013 would have: same margin, no black bars.

DeepFace cuts the face out, letterboxes it to 224x224 and reduces that to 48x48: two resamplings and black
bars that its networks never saw in training. Here the frame is turned once at the picture's own resolution
and reduced once, by area.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from facelib.detection import Detection


def upright(image: np.ndarray, face: Detection) -> np.ndarray:
    """The square frame around a face, turned so that the eyes are level, at the picture's resolution.

    image: (H, W, 3) uint8 RGB. Returns (s, s, 3) uint8, s the side of ``face.frame`` in whole pixels, at
    least 1. Where the frame leaves the picture, the picture's edge is repeated: a black bar would be the
    strongest edge in the crop. Without eyes nothing is turned.
    """
    cx, cy, side = face.frame
    size = max(1, round(side))
    angle = 0.0
    if face.eyes:
        (x0, y0), (x1, y1) = face.eyes
        angle = math.atan2(y1 - y0, x1 - x0)
    left, top = round(cx - size / 2), round(cy - size / 2)
    inside = left >= 0 and top >= 0 and left + size <= image.shape[1] and top + size <= image.shape[0]
    if inside and abs(angle) < math.radians(1):
        return image[top : top + size, left : left + size]  # nothing to resample
    # Only what the turned frame can touch: OpenCV warps no picture that is wider than 32,767 pixels.
    reach = size * math.sqrt(0.5) + 2
    left, top = (
        min(max(0, math.floor(c - reach)), n - 1) for c, n in ((cx, image.shape[1]), (cy, image.shape[0]))
    )
    bottom, right = max(math.ceil(cy + reach), top + 1), max(math.ceil(cx + reach), left + 1)
    image = image[top:bottom, left:right]
    cx, cy = cx - left, cy - top
    cos, sin = math.cos(angle), math.sin(angle)
    middle = (size - 1) / 2
    # From a pixel of the result to the picture's (WARP_INVERSE_MAP): a turn about the frame's centre.
    matrix = np.array(
        [
            [cos, -sin, cx - 0.5 - cos * middle + sin * middle],
            [sin, cos, cy - 0.5 - sin * middle - cos * middle],
        ]
    )
    return cv2.warpAffine(
        image,
        matrix,
        (size, size),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )


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
