"""What pixels alone tell of a set of pictures: which are equal or nearly equal, and how good they are."""

from __future__ import annotations

import numpy as np

#: Near duplicates: so many of the hash's 64 bits may differ (an even number always: half of them are set),
#: and the pixels correlate so well. A hundred such pairs of FER-2013, half of them from the edge of both
#: limits, were all one photograph; at 8 bits and more some are two.
HASH_DISTANCE, CORRELATION = 6, 0.9
QUALITY = ("brightness", "contrast", "clipped", "sharpness", "resolution")
_CHUNK = 1024


def duplicate_groups(images: np.ndarray) -> np.ndarray:
    """(n,) int64: equal pictures have equal numbers, counted from 0 in order of appearance."""
    known: dict[bytes, int] = {}
    return np.array([known.setdefault(image.tobytes(), len(known)) for image in images], np.int64)


def near_duplicates(images: np.ndarray):
    """Pairs of pictures that are one photograph, also mirrored: re-encoded, brightened, with a watermark.

    images: (n, s, s) uint8, s >= 8, each different from all others.
    A perceptual hash proposes (imagehash's phash, on the picture's own pixels: the signs of its 8 x 8 lowest
    cosine coefficients about their median; all pairs at once, as a matrix product of signs), the correlation
    of the pixels decides; ``HASH_DISTANCE`` and ``CORRELATION`` are the limits. Constant pictures have none.

    DataFrame: group_a < group_b (positions in ``images``), distance (bits), correlation, mirrored.
    """
    import pandas as pd
    from scipy.fft import dct

    low = dct(np.eye(images.shape[1], dtype=np.float32), axis=0, norm="ortho")[:8]
    cosines = np.concatenate([np.zeros((0, 8, 8), np.float32)] + [low @ x @ low.T for x in _chunks(images)])
    # Mirroring left and right turns the sign of the odd columns, and of nothing else.
    signs, mirrored = (_signs(cosines * turn) for turn in (np.ones(8), np.where(np.arange(8) % 2, -1, 1)))
    found = []
    for flip, other in ((False, signs), (True, mirrored)):
        for start in range(0, len(images), _CHUNK):
            product = signs[start : start + _CHUNK] @ other[start:].T  # 64 less twice the distance
            a, b = np.divmod(np.flatnonzero(product >= 64 - 2 * HASH_DISTANCE), product.shape[1])
            distance = (64 - product[a, b]) // 2
            a, b, distance = (each[b > a] for each in (a + start, b + start, distance))
            for at in range(0, len(a), _CHUNK):
                part = slice(at, at + _CHUNK)
                right = images[b[part]][:, :, ::-1] if flip else images[b[part]]
                found.append((a[part], b[part], distance[part], _correlation(images[a[part]], right)))
                found[-1] += (np.full(len(a[part]), flip),)
    columns = ("group_a", "group_b", "distance", "correlation", "mirrored")
    values = [np.concatenate(each) for each in zip(*found, strict=True)] or [np.zeros(0, np.int64)] * 5
    table = pd.DataFrame(dict(zip(columns, values, strict=True))).astype({"distance": int, "mirrored": bool})
    table = table[table.correlation >= CORRELATION].sort_values("correlation", ascending=False, kind="stable")
    # A symmetric face is near its copy and near the mirrored copy: one pair, the better of the two.
    return table.drop_duplicates(["group_a", "group_b"]).sort_values(
        ["group_a", "group_b"], ignore_index=True
    )


def quality(images: np.ndarray):
    """Technical quality of pictures (n, s, s) uint8, s >= 3, as a DataFrame of n rows:

    brightness: mean, 0 to 255; contrast: standard deviation, 0 to 127.5;
    clipped: share of pixels that are 0 or 255;
    sharpness: variance of the Laplacian with four neighbours (Pech-Pacheco et al. 2000), low if blurred;
    resolution: pixels a side that are really present, 1 to s: the smallest square of low cosine coefficients
        that leaves out at most 5 % of the contrast. Drawn faces enlarged from 24 and 32 pixels get a median
        of 28 and 32, sharp ones 47.
    """
    import pandas as pd
    from scipy.fft import dctn

    parts = []
    for x in _chunks(images):
        laplacian = x[:, 1:-1, :-2] + x[:, 1:-1, 2:] + x[:, :-2, 1:-1] + x[:, 2:, 1:-1] - 4 * x[:, 1:-1, 1:-1]
        energy = dctn(x, axes=(1, 2), norm="ortho") ** 2
        energy[:, 0, 0] = 0  # the mean is no detail
        square = energy.cumsum(1).cumsum(2).diagonal(axis1=1, axis2=2)
        present = 1 + (square < (1 - 0.05**2) * square[:, -1:]).sum(1)
        clipped = ((x == 0) | (x == 255)).mean((1, 2))
        columns = (x.mean((1, 2)), x.std((1, 2)), clipped, laplacian.var((1, 2)), present)
        parts.append(pd.DataFrame(dict(zip(QUALITY, columns, strict=True))))
    return pd.concat(parts, ignore_index=True)


def _chunks(images: np.ndarray):
    return (images[at : at + _CHUNK].astype(np.float32) for at in range(0, len(images), _CHUNK))


def _signs(cosines: np.ndarray) -> np.ndarray:
    flat = cosines.reshape(-1, 64)
    return np.where(flat > np.median(flat, axis=1, keepdims=True), 1, -1).astype(np.float32)


def _correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of pictures pair by pair, (n,) float64; 0 for constant ones."""
    a, b = (x.reshape(len(x), -1) - x.mean((1, 2))[:, None] for x in (a, b))
    norm = np.sqrt((a * a).sum(1) * (b * b).sum(1))
    return np.divide((a * b).sum(1), norm, where=norm > 0, out=np.zeros(len(a)))
