"""Quiet TensorFlow, the user's own settings kept out, and what is skipped where."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

# Before anything imports TensorFlow, and inherited by the notebooks' kernels.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # else it announces itself whatever the level
# Workers side by side share the cores: threads of BLAS that wait for each other took ten times as long.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
os.environ.setdefault("FACELIB_STATIC", "1")  # notebooks show pictures in place of sliders
# A test's answer must not depend on what you have at home; with MPLBACKEND a kernel would show no figure.
for name in ("FACELIB_HOME", "FACELIB_PROJECT", "FACELIB_FER2013", "FACELIB_FIGURES", "MPLBACKEND"):
    os.environ.pop(name, None)

REALDATA = Path(__file__).resolve().parent.parent / "shared" / "data"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs the real data or the peers where they are missing; notebooks read synthetic faces."""
    without_data = pytest.mark.skip(reason="needs ../shared/data")
    without_peers = pytest.mark.skip(reason="the deepface package is not installed")
    has_data, has_peers = REALDATA.is_dir(), importlib.util.find_spec("deepface") is not None
    for item in items:
        if not has_data and item.get_closest_marker("realdata"):
            item.add_marker(without_data)
        if not has_peers and item.get_closest_marker("peers"):
            item.add_marker(without_peers)
        cell = getattr(item, "cell", None)  # nbval's items have one
        if cell is not None and "parameters" in cell.metadata.get("tags", []):
            from facelib.batch.runner import on_synthetic_faces

            cell.source = on_synthetic_faces(cell.source)  # the committed outputs are theirs


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """An empty folder of the test's own, in which facelib keeps and finds its files."""
    monkeypatch.setenv("FACELIB_HOME", str(tmp_path))
    monkeypatch.setenv("FACELIB_PROJECT", str(tmp_path))
    return tmp_path
