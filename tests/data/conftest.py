"""A home of its own for each test, and the tiny set of ``fer2013_forms``."""

from __future__ import annotations

import numpy as np
import pytest

from fer2013_forms import N


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("FACELIB_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("FACELIB_FER2013", raising=False)
    return tmp_path / "home"


@pytest.fixture(scope="session")
def tiny():
    """30 smooth random pictures (JPEG keeps them), 18 + 6 + 6 in three splits, every label at least once."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (N, 6, 6)).repeat(8, 1).repeat(8, 2).astype(np.uint8)
    images[7] = images[3]  # an exact duplicate, as FER-2013 has many
    labels = rng.permutation(np.arange(N) % 7)
    labels[7] = labels[3]
    return images, labels, np.repeat([0, 1, 2], [18, 6, 6])
