"""Augmentation: what else a training picture might have looked like, in one resampling."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from facelib.vision.image_io import without_colour


@dataclass(frozen=True)
class Augmentation:
    """How far a training picture may stray from the original; every range is symmetric and uniform.

    rotation: degrees. scale: log-uniform in [1/scale, scale]. shift: part of the side. contrast: factor in
    [1-c, 1+c] around the mean. brightness: part of the full range. erase: probability of a random gray
    rectangle (Zhong et al. 2017, arXiv:1708.04896). gray: probability that colour is removed.
    low_resolution: probability that the picture is first reduced to 35–100 % of its size and enlarged again.
    """

    rotation: float = 12.0
    scale: float = 1.15
    shift: float = 0.08
    flip: bool = True
    contrast: float = 0.25
    brightness: float = 0.1
    erase: float = 0.25
    gray: float = 0.0
    low_resolution: float = 0.0


def augment(images: np.ndarray, rng: np.random.Generator, how: Augmentation, size: int) -> np.ndarray:
    """Augment a batch: one affine resampling each, then light, then erasing.

    images: (n, s, s) or (n, s, s, 3) uint8, any s: with s > size the centre ``size`` pixels are the frame
        and the surroundings feed shifts and rotations with real pixels. size: side of the result.
    Returns (n, size, size, 1 or 3) float32 in [0, 1].
    """
    n, side = images.shape[:2]
    channels = images.shape[3] if images.ndim == 4 else 1
    angle = np.deg2rad(rng.uniform(-how.rotation, how.rotation, n))
    zoom = np.exp(rng.uniform(-1, 1, n) * math.log(how.scale))
    move = rng.uniform(-how.shift, how.shift, (n, 2)) * size
    mirror = np.where(rng.random(n) < 0.5 * how.flip, -1.0, 1.0)
    cos, sin = np.cos(angle) * zoom, np.sin(angle) * zoom
    # Rows of the matrices that take a point of the source to the result, about both centres.
    matrices = np.empty((n, 2, 3))
    matrices[:, 0, 0], matrices[:, 0, 1] = cos * mirror, -sin
    matrices[:, 1, 0], matrices[:, 1, 1] = sin * mirror, cos
    centre = np.full(2, (side - 1) / 2)
    matrices[:, :, 2] = (size - 1) / 2 + move - matrices[:, :, :2] @ centre
    coarse = np.where(rng.random(n) < how.low_resolution, rng.uniform(0.35, 1, n), 1.0)
    out = np.empty((n, size, size, channels), np.float32)
    for i in range(n):
        source = images[i]
        if coarse[i] < 1:
            small = max(8, round(side * coarse[i]))
            source = cv2.resize(source, (small, small), interpolation=cv2.INTER_AREA)
            source = cv2.resize(source, (side, side), interpolation=cv2.INTER_LINEAR)
        out[i] = cv2.warpAffine(
            source, matrices[i], (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        ).reshape(size, size, channels)
    out /= 255
    if how.gray:
        chosen = rng.random(n) < how.gray
        out[chosen] = without_colour(out[chosen])
    mean = out.mean((1, 2, 3), keepdims=True)
    factor = rng.uniform(1 - how.contrast, 1 + how.contrast, (n, 1, 1, 1)).astype(np.float32)
    offset = rng.uniform(-how.brightness, how.brightness, (n, 1, 1, 1)).astype(np.float32)
    np.clip((out - mean) * factor + mean + offset, 0, 1, out=out)
    for i in np.flatnonzero(rng.random(n) < how.erase):
        h, w = (rng.uniform(0.1, 0.4, 2) * size).astype(int)
        y, x = rng.integers(0, size - h), rng.integers(0, size - w)
        out[i, y : y + h, x : x + w] = rng.random()
    return out
