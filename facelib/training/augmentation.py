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
    aspect: log-uniform stretch in width against height, in [1/aspect, aspect], as a detector's box has it.
    jpeg: probability that the crop is compressed, with a quality of 15 to 90. gamma: log-uniform exponent of
    the light in [1/gamma, gamma], above 1 darker.
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
    aspect: float = 1.0
    jpeg: float = 0.0
    gamma: float = 1.0


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
    if how.aspect > 1:
        stretch = np.exp(rng.uniform(-0.5, 0.5, n) * math.log(how.aspect))[:, None]
        matrices[:, 0] *= stretch
        matrices[:, 1] /= stretch
    centre = np.full(2, (side - 1) / 2)
    matrices[:, :, 2] = (size - 1) / 2 + move - matrices[:, :, :2] @ centre
    coarse = np.where(rng.random(n) < how.low_resolution, rng.uniform(0.35, 1, n), 1.0)
    quality = np.where(rng.random(n) < how.jpeg, rng.integers(15, 91, n), 0) if how.jpeg else np.zeros(n, int)
    out = np.empty((n, size, size, channels), np.float32)
    for i in range(n):
        source = images[i]
        if coarse[i] < 1:
            small = max(8, round(side * coarse[i]))
            source = cv2.resize(source, (small, small), interpolation=cv2.INTER_AREA)
            source = cv2.resize(source, (side, side), interpolation=cv2.INTER_LINEAR)
        crop = cv2.warpAffine(
            source, matrices[i], (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        if quality[i]:
            content = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, int(quality[i])])[1]
            crop = cv2.imdecode(content, cv2.IMREAD_UNCHANGED)
        out[i] = crop.reshape(size, size, channels)
    out /= 255
    if how.gray:
        chosen = rng.random(n) < how.gray
        out[chosen] = without_colour(out[chosen])
    if how.gamma > 1:
        out **= np.exp(rng.uniform(-1, 1, (n, 1, 1, 1)) * math.log(how.gamma)).astype(np.float32)
    mean = out.mean((1, 2, 3), keepdims=True)
    factor = rng.uniform(1 - how.contrast, 1 + how.contrast, (n, 1, 1, 1)).astype(np.float32)
    offset = rng.uniform(-how.brightness, how.brightness, (n, 1, 1, 1)).astype(np.float32)
    np.clip((out - mean) * factor + mean + offset, 0, 1, out=out)
    for i in np.flatnonzero(rng.random(n) < how.erase):
        h, w = (rng.uniform(0.1, 0.4, 2) * size).astype(int)
        y, x = rng.integers(0, size - h), rng.integers(0, size - w)
        out[i, y : y + h, x : x + w] = rng.random()
    return out


def mix(
    x: np.ndarray, y: np.ndarray, mixup: float, cutmix: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Mix pictures with others of their batch, and their targets alike.

    x: (n, s, s, c) float32. y: (n, classes) float32. mixup: probability that a picture is blended with
    another (Zhang et al. 2018, arXiv:1710.09412); cutmix: that it gets a square of another (Yun et al. 2019,
    arXiv:1905.04899). The other's share is 1 - w, w of Beta(0.4, 0.4) and at least 1/2.
    """
    n, side = x.shape[:2]
    partner, kind, weight = rng.permutation(n), rng.random(n), rng.beta(0.4, 0.4, n)
    weight, corner = np.maximum(weight, 1 - weight), rng.random((n, 2))
    kept = np.ones((n, side, side, 1), np.float32)
    blended = kind < mixup
    kept[blended] = weight[blended, None, None, None]
    for i in np.flatnonzero(~blended & (kind < mixup + cutmix)):
        edge = round(side * math.sqrt(1 - weight[i]))
        top, left = (corner[i] * (side - edge + 1)).astype(int)
        kept[i, top : top + edge, left : left + edge] = 0
    share = kept.mean((1, 2))
    return kept * x + (1 - kept) * x[partner], share * y + (1 - share) * y[partner]
