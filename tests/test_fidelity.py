"""Distances between sets of features, against cases that can be computed."""

from __future__ import annotations

import numpy as np
import pytest

from facelib.models import generator
from facelib.study import metrics

RNG = np.random.default_rng(0)


def test_frechet_of_shifted_and_stretched_gaussians():
    """Means 3 apart; deviations 1 and 2 in four dimensions: 9 + 4 (1 - 2)^2."""
    a = RNG.normal(size=(50_000, 4))
    b = 2 * RNG.normal(size=(50_000, 4)) + [3, 0, 0, 0]
    assert metrics.frechet(a, b) == pytest.approx(13, rel=0.02)
    assert metrics.frechet(a, a) == pytest.approx(0, abs=1e-6)


def test_kernel_distance_is_unbiased():
    zero = [metrics.kernel_distance(RNG.normal(size=(60, 3)), RNG.normal(size=(90, 3))) for _ in range(200)]
    assert abs(np.mean(zero)) < 3 * np.std(zero) / np.sqrt(200)
    far = metrics.kernel_distance(RNG.normal(size=(300, 3)), RNG.normal(size=(300, 3)) + 1)
    assert far > 10 * np.std(zero)


def test_coverage_sees_what_is_left_out():
    real = np.concatenate([RNG.normal(size=(300, 2)), RNG.normal(size=(300, 2)) + 20])
    half = metrics.coverage(real, RNG.normal(size=(300, 2)))
    assert half["precision"] > 0.9 and 0.4 < half["recall"] < 0.55 and 0.4 < half["coverage"] < 0.55
    wrong = metrics.coverage(real, RNG.normal(size=(300, 2)) + 100)
    assert wrong["precision"] == wrong["recall"] == wrong["coverage"] == wrong["density"] == 0
    same = metrics.coverage(real[::2], real[1::2])
    assert same["precision"] > 0.9 and same["recall"] > 0.9 and same["density"] == pytest.approx(1, abs=0.15)


def test_diversity_by_hand():
    assert metrics.diversity(np.array([[0.0, 0], [3, 4], [0, 0]])) == pytest.approx(10 / 3)


def test_copies_are_found():
    train, test, fresh = RNG.normal(size=(3, 2000, 10))
    honest = metrics.copies(fresh, train, test)
    assert 0 < honest["rate"] < 0.03
    thief = np.concatenate([fresh[:1800], train[:200] + 1e-3])
    found = metrics.copies(thief, train, test)
    assert 0.1 <= found["rate"] < 0.13 and found["smallest"] < 0.01


def test_even_light():
    images = RNG.integers(0, 40, (3, 48, 48)).astype(np.uint8)
    even = generator.even_light(images)
    assert np.abs(even.mean((1, 2)) - 128).max() < 3 and np.abs(even.std((1, 2)) - 55).max() < 5
    assert np.abs(generator.own_light(even, images).astype(int) - images).max() <= 1
