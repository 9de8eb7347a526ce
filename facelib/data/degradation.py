"""Spoil clean pictures as cameras and the web do: soft, badly exposed, grainy, compressed.

The same bytes on every platform: integer-valued matrices whose products float64 holds exactly, in whatever
order they are added.
"""

from __future__ import annotations

import numpy as np

#: Softness: standard deviation of the blur in pixels, resolution really present, share of the pictures.
SOFTNESS = ((0.0, 48, 0.52), (0.7, 48, 0.24), (1.0, 48, 0.10), (0.0, 32, 0.08), (0.0, 24, 0.06))

#: The luminance table of JPEG, ITU-T T.81, annex K.
LUMINANCE = np.array([
    (16, 11, 10, 16, 24, 40, 51, 61), (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56), (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77), (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101), (72, 92, 95, 98, 112, 100, 103, 99),
])  # fmt: skip


def softening(sigma: float, resolution: int) -> np.ndarray:
    """(48, 48) int64 matrix A with equal row sums: A @ image @ A.T / sum(A[0])**2 is the softened picture."""
    eye = np.eye(48, dtype=np.int64)
    if resolution < 48:  # the mean over coarse pixels, then linear between their centres
        fine, coarse = np.arange(48)[None] * resolution, np.arange(resolution)[:, None] * 48
        shrink = np.maximum(np.minimum(fine + resolution, coarse + 48) - np.maximum(fine, coarse), 0)
        left, weight = np.divmod((2 * np.arange(48) + 1) * resolution - 48, 96)
        near = np.eye(resolution, dtype=np.int64)
        clamp = [np.clip(left + step, 0, resolution - 1) for step in (0, 1)]
        return (near[clamp[0]] * (96 - weight[:, None]) + near[clamp[1]] * weight[:, None]) @ shrink
    passes = {0.0: 0, 0.7: 1, 1.0: 2}[sigma]  # [1 2 1] / 4 has variance 1/2, twice has 1
    once = 2 * eye + eye[np.maximum(np.arange(48) - 1, 0)] + eye[np.minimum(np.arange(48) + 1, 47)]
    return np.linalg.matrix_power(once, passes)


def spoil(rng: np.random.Generator, images: np.ndarray, blur, resolution, quality) -> None:
    """Softness, exposure, grain and JPEG compression, in place; in pieces to spare memory.

    images (n, 48, 48) uint8; blur, resolution (n,), pairs of ``SOFTNESS``; quality (n,) as for ``compress``.
    """
    for sigma, pixels, _ in SOFTNESS[1:]:
        matrix = softening(sigma, pixels).astype(np.float64)
        rows = np.flatnonzero((blur == sigma) & (resolution == pixels))
        images[rows] = np.rint(matrix @ images[rows] @ matrix.T / matrix[0].sum() ** 2)
    for start in range(0, len(images), 500):
        part = slice(start, start + 500)
        u = rng.random((3, len(images[part]), 1, 1))
        grain = (rng.random(images[part].shape) - 0.5) * 10 * u[0]
        exposed = 128 + (images[part] - 128.0) * (0.75 + 0.45 * u[1]) + 40 * (u[2] - 0.5) + grain
        images[part] = np.clip(np.rint(exposed), 0, 255)
        images[part] = compress(images[part], quality[part])


def compress(images: np.ndarray, quality: np.ndarray) -> np.ndarray:
    """What JPEG leaves of a picture: its 8 x 8 cosine coefficients, rounded to multiples of the table.

    images (n, 48, 48) uint8, quality (n,) int64 from 1 to 100 with libjpeg's meaning; 100 changes nothing.
    """
    k, j = np.arange(8)[:, None], np.arange(8)[None]
    cosines = np.rint(512 * np.cos(np.pi / 16 * (2 * j + 1) * k))  # none lies near a tie
    cosines[0] = 362  # 512 / sqrt(2)
    blocks = np.kron(np.eye(6), cosines)  # 1024 times an orthonormal transform
    scale = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)[:, None, None]
    table = np.tile(np.clip((LUMINANCE * scale + 50) // 100, 1, 255), (1, 6, 6)).astype(np.float64)
    steps = np.rint(blocks @ (images - 128.0) @ blocks.T / (table * 2.0**20)) * table
    back = np.clip(np.rint(blocks.T @ steps @ blocks / 2.0**20) + 128, 0, 255).astype(np.uint8)
    return np.where((quality < 100)[:, None, None], back, images)
