"""Are generated faces like real ones, various, and nobody's copy? Distances between sets of features.

Features are rows (n, d) of any network; which one is named wherever a number is quoted. A distance means
something only beside its floor: the same distance between two sets of real pictures, and that of the
codec's reconstructions.
"""

from __future__ import annotations

import numpy as np

EVEN = np.float32(128), np.float32(55)  # mean and deviation of the gray levels of a face in even light


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """Fréchet distance between the Gaussians of two sets of features (Heusel et al. 2017, arXiv:1706.08500).

    a (n, d), b (m, d). It falls with the number of pictures: compare sets of equal size only.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    # The trace of the root of a product is the sum of the roots of its eigenvalues, which are not negative.
    roots = np.sqrt(np.maximum(np.linalg.eigvals(cov_a @ cov_b).real, 0)).sum()
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * roots)


def kernel_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Squared maximum mean discrepancy with the kernel (x·y/d + 1)^3, unbiased (arXiv:1801.01401).

    a (n, d), b (m, d). About 0 for two samples of one distribution, whatever their sizes.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    n, m, d = len(a), len(b), a.shape[1]
    aa, bb, ab = ((x @ y.T / d + 1) ** 3 for x, y in ((a, a), (b, b), (a, b)))
    same = (aa.sum() - np.trace(aa)) / (n * (n - 1)) + (bb.sum() - np.trace(bb)) / (m * (m - 1))
    return float(same - 2 * ab.mean())


def coverage(real: np.ndarray, made: np.ndarray, k: int = 5) -> dict[str, float]:
    """Precision and recall (Kynkäänniemi et al. 2019, arXiv:1904.06991), density and coverage (Naeem et al.
    2020, arXiv:2002.09797).

    real (n, d), made (m, d). A picture's ball reaches to its k-th neighbour of its own set. precision: share
    of made pictures in a real one's ball; recall: the reverse; density: in how many, over k; coverage: share
    of real balls that hold a made picture.
    """
    from scipy.spatial.distance import cdist

    ball_real = np.sort(cdist(real, real), axis=1)[:, k]  # 0 is the picture itself
    ball_made = np.sort(cdist(made, made), axis=1)[:, k]
    apart = cdist(real, made)
    inside = apart <= ball_real[:, None]
    return {
        "precision": float(inside.any(0).mean()),
        "recall": float((apart <= ball_made).any(1).mean()),
        "density": float(inside.sum(0).mean() / k),
        "coverage": float(inside.any(1).mean()),
    }


def diversity(features: np.ndarray) -> float:
    """Mean distance between two pictures of a set, (n, d)."""
    from scipy.spatial.distance import pdist

    return float(pdist(features).mean())


def nearest(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Distance of each of a (n, d) to the nearest of b (m, d), (n,)."""
    from sklearn.neighbors import NearestNeighbors

    return NearestNeighbors(n_neighbors=1, algorithm="brute").fit(b).kneighbors(a)[0][:, 0]


def copies(made: np.ndarray, train: np.ndarray, test: np.ndarray) -> dict[str, float]:
    """How many made pictures are nearer to a training picture than real, unseen ones ever are.

    All (n, d). limit: 1st percentile of the test pictures' distances to training (without equal pixels,
    which a test set should not have); rate: share of made pictures below it, 1 % if they are as new as real
    ones; smallest: the least distance found.
    """
    unseen = nearest(test, train)
    limit = float(np.percentile(unseen[unseen > 1e-6], 1))
    found = nearest(made, train)
    return {"limit": limit, "rate": float((found < limit).mean()), "smallest": float(found.min())}


def even_light(
    images: np.ndarray,
    mean: tuple[float, float] = (EVEN[0], EVEN[0]),
    spread: tuple[float, float] = (EVEN[1], EVEN[1]),
) -> np.ndarray:
    """Pictures (n, 48, 48) uint8 whose gray levels have a mean and a deviation within these bounds.

    With the bounds as they are all pictures get the same light, and what a network reads in darkness alone
    is gone (near-black faces pass for sad).
    """
    middle, deviation = _light(images)
    even = (images - middle) / deviation * np.clip(deviation, *spread) + np.clip(middle, *mean)
    return np.clip(np.round(even), 0, 255).astype(np.uint8)


def own_light(even: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Faces in even light (n, 48, 48) uint8, brought back into that of pictures of the same shape: what
    ``even_light`` did to these is undone."""
    middle, deviation = _light(images)
    return np.clip(np.round((even - EVEN[0]) / EVEN[1] * deviation + middle), 0, 255).astype(np.uint8)


def _light(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation, at least 1, of gray levels: (n, h, w) -> twice (n, 1, 1) float32."""
    values = images.astype(np.float32)
    return values.mean((1, 2), keepdims=True), np.maximum(values.std((1, 2), keepdims=True), 1.0)
