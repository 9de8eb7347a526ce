"""Equal and nearly equal pictures: in a set, in its splits, and of two forms of one set."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from facelib.emotions import FerData

#: Near duplicates: so many of the hash's 64 bits may differ (an even number always: half of them are set),
#: and the pixels correlate so well. A hundred such pairs of FER-2013, half of them from the edge of both
#: limits, were all one photograph; at 8 bits and more some are two.
HASH_DISTANCE, CORRELATION = 6, 0.9
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
    pair = ["group_a", "group_b"]
    return table.drop_duplicates(pair).sort_values(pair, ignore_index=True)


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


def match_rows(rows, reference) -> np.ndarray | None:
    """Find each picture's row in the table it was made from: (n,) int64, or None if it is another set.

    rows, reference: ``fer2013_readers.Rows``.

    The comparison is by label, by what is known of the split, and by pixels: JPEG moves a pixel by a few
    gray levels, two different faces differ by dozens. Exact duplicates share out their rows among them.
    """
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist
    from sklearn.metrics import pairwise_distances_argmin

    def groups(r) -> np.ndarray:
        # A test/ folder without prefixes was read as PrivateTest: there only "train or not" can be compared.
        split = r.usages if 1 in rows.usages else (r.usages > 0)
        return r.labels * 3 + split

    if len(rows.labels) != len(reference.labels):
        return None
    mine, theirs = groups(rows), groups(reference)
    matched = np.full(len(mine), -1)
    for group in np.unique(mine):
        here, there = np.flatnonzero(mine == group), np.flatnonzero(theirs == group)
        if len(here) != len(there):
            return None
        # Means of 2 x 2 pixels: a quarter of the work, and JPEG's error is smaller in them.
        small, wanted = (
            r.images[index].reshape(-1, 24, 2, 24, 2).mean((2, 4), dtype=np.float32).reshape(-1, 576)
            for r, index in ((rows, here), (reference, there))
        )
        nearest = pairwise_distances_argmin(small, wanted)
        first = np.unique(nearest, return_index=True)[1]
        late = np.setdiff1d(np.arange(len(here)), first)  # their row is taken by an equal picture
        free = np.setdiff1d(np.arange(len(there)), nearest)
        pairs = linear_sum_assignment(cdist(small[late], wanted[free], "cityblock"))
        nearest[late[pairs[0]]] = free[pairs[1]]
        if np.abs(small - wanted[nearest]).mean(1).max(initial=0) > 12:
            return None
        matched[here] = there[nearest]
    return matched


def copies_of(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """(m,) bool: which of the images test (m, s, s) are copies or near copies of one of train (n, s, s)."""
    groups = duplicate_groups(np.concatenate([train, test]))
    first, n = np.unique(groups, return_index=True)[1], len(train)
    near = near_duplicates(np.concatenate([train, test])[first])
    known = set(groups[:n].tolist())
    pairs = set(zip(near.group_a, near.group_b, strict=True))
    copied = known | {a for a, b in pairs if b in known} | {b for a, b in pairs if a in known}
    return np.isin(groups[n:], list(copied))


def likeness(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """(m,) float32: correlation of each of test (m, s, s) with the most alike of train (n, s, s)."""

    def normed(images: np.ndarray) -> np.ndarray:
        x = images.reshape(len(images), -1).astype(np.float32)
        x -= x.mean(1, keepdims=True)
        return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-6)

    known, asked = normed(train), normed(test)
    return np.concatenate([(asked[at : at + _CHUNK] @ known.T).max(1) for at in range(0, len(asked), _CHUNK)])


def leaked_rows(data: FerData) -> dict[str, np.ndarray]:
    """{split: (n,) bool}: whose pixels stand in Training too; all False for Training itself."""
    training = {image.tobytes() for image in data.train.images}
    return {
        name: np.array([name != "Training" and image.tobytes() in training for image in split.images], bool)
        for name, split in data
    }


def cleaned(data: FerData) -> FerData:
    """The set without training pictures that stand there more than once (one is kept) or in a test split."""
    groups, n = duplicate_groups(data.whole.images), len(data.train)
    _, first = np.unique(groups[:n], return_index=True)
    keep = np.sort(first[~np.isin(groups[:n][first], groups[n:])])
    return replace(data, train=data.train[keep])
