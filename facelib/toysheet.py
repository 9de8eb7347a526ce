"""Polygons for many faces at once, from face coordinates to gray pixels: the paper ``facelib.toydraw`` uses.

The same bytes on every platform: coordinates need only + - * / and sqrt, which IEEE 754 rounds correctly
everywhere (circles come from rational points; no sin, exp or BLAS), polygons only integers (fixed-point
``fillPoly`` without anti-aliasing, four times too large), means (of 4 x 4 pixels) only integer sums.

Face coordinates: the origin lies between the eyes, x to the right, y down, the eyes at x = -0.2 and 0.2,
one unit = the side of the picture at scale 1.
"""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np

OVERSAMPLING = 4
FIXED = 4  # fractional bits of a polygon's coordinates


def circle(points: int) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and sines of 4 * points angles in order, from the rational points of the circle."""
    t = np.arange(points) / points
    c, s = (1 - t * t) / (1 + t * t), 2 * t / (1 + t * t)
    return np.concatenate([c, -s, -c, s]), np.concatenate([s, c, -s, -c])


def place(shot: SimpleNamespace, x, y, lift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Face coordinates -> picture coordinates (one unit = the side): turn, nod, tilt, scale, move.

    lift: how far the point stands out of the face.
    """
    depth = np.maximum(0.30 * (1 - x * x / 0.16 - y * y / 0.50), 0) + lift
    x, y = x + shot.yaw * depth, y + shot.pitch * depth
    c, s = tilt(shot)
    return 0.5 + shot.dx + shot.scale * (c * x - s * y), 0.40 + shot.dy + shot.scale * (s * x + c * y)


def tilt(shot: SimpleNamespace) -> tuple[np.ndarray, np.ndarray]:
    """Cosine and sine of the roll, which is stored as the tangent of half the angle."""
    square = shot.roll * shot.roll
    return (1 - square) / (1 + square), 2 * shot.roll / (1 + square)


class Sheet:
    """Collects polygons for n faces at once; ``paint`` fills them in the order in which they came."""

    def __init__(self, shot: SimpleNamespace, size: int):
        self.shot, self.scale = shot, size * OVERSAMPLING << FIXED
        self.size = size * OVERSAMPLING
        self.shapes: list[tuple[np.ndarray, list[int]]] = []

    def fill(self, x, y, gray, where=True, lift=0.0) -> None:
        """A polygon: x, y (n or 1, p); gray (n, 1) in 1..255; drawn on the faces chosen by ``where``."""
        x, y = place(self.shot, x, y, lift)
        points = np.ascontiguousarray(np.rint(np.stack([x, y], axis=-1) * self.scale), np.int32)
        gray = np.where(where, np.clip(np.rint(gray), 1, 255), 0)  # 0 is the empty sheet: nothing to draw
        gray = np.broadcast_to(gray, (len(points), 1)).astype(int)[:, 0].tolist()
        self.shapes.append((points, gray))

    def strip(self, x, top, bottom, gray, **options) -> None:
        """The area between two curves over the same x; where they cross there is none."""
        x, top, bottom = np.broadcast_arrays(np.atleast_2d(x), top, np.maximum(top, bottom))
        self.fill(
            np.concatenate([x, x[:, ::-1]], 1), np.concatenate([top, bottom[:, ::-1]], 1), gray, **options
        )

    def stroke(self, x, y, width, gray, **options) -> None:
        """A brush stroke along a curve, thin at both ends; ``width`` (n, 1) or (n, p)."""
        x, y = np.broadcast_arrays(np.atleast_2d(x), y)
        t = np.arange(x.shape[1]) / (x.shape[1] - 1) * 2 - 1
        half = width * (1 - 0.85 * t * t) / 2
        steep = np.abs(x[:, -1:] - x[:, :1]) < np.abs(y[:, -1:] - y[:, :1])
        across, along = np.where(steep, half, 0), np.where(steep, 0, half)
        self.fill(
            np.concatenate([x - across, (x + across)[:, ::-1]], 1),
            np.concatenate([y - along, (y + along)[:, ::-1]], 1),
            gray,
            **options,
        )

    def oval(self, x, y, rx, ry, gray, **options) -> None:
        c, s = circle(6)
        self.fill(x + rx * c, y + ry * s, gray, **options)

    def paint(self) -> tuple[np.ndarray, np.ndarray]:
        """Sums over 4 x 4 pixels of the gray and of the coverage, (n, size, size) uint16."""
        sheets = np.zeros((len(self.shot.roll), self.size, self.size), np.uint8)
        for i, sheet in enumerate(sheets):
            for points, gray in self.shapes:
                if gray[i]:
                    cv2.fillPoly(sheet, [points[i]], gray[i], lineType=cv2.LINE_8, shift=FIXED)
        return _sums(sheets), _sums(sheets > 0)


def _sums(sheets: np.ndarray) -> np.ndarray:
    k = OVERSAMPLING
    rows = sum(sheets[:, i::k].astype(np.uint16) for i in range(k))
    return sum(rows[:, :, i::k] for i in range(k))
