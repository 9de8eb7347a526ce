"""What a command pays for: the heavy packages are imported when they are needed, not before."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

import facelib
from helpers import modules_after

HEAVY = {
    "tensorflow",
    "keras",
    "torch",
    "jax",
    "matplotlib",
    "pandas",
    "sklearn",
    "scipy",
    "skimage",
    "pyarrow",
}


def test_importing_facelib_imports_next_to_nothing():
    assert not modules_after("import facelib") & (HEAVY | {"numpy", "cv2", "PIL"})


def test_help_imports_next_to_nothing():
    code = "from facelib.cli import app\ntry: app.main(['--help'])\nexcept SystemExit: pass"
    assert not modules_after(code) & (HEAVY | {"numpy", "cv2", "PIL"})


def test_analysing_a_picture_needs_no_tensorflow():
    code = (
        "import numpy, facelib; from facelib.cli import app; from facelib.reporting import plots\n"
        "facelib.analyze([numpy.zeros((60, 60, 3), 'uint8')], detector='none')"
    )
    loaded = modules_after(code)
    assert not loaded & HEAVY and "cv2" in loaded


def test_help_is_instant():
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "facelib", "--help"], check=True, capture_output=True, timeout=300)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1  # seconds of processor


@pytest.mark.parametrize("name", facelib.__all__)
def test_public_names_are_there(name):
    assert getattr(facelib, name) is not None and name in dir(facelib)


def test_other_names_are_not():
    with pytest.raises(AttributeError, match="no attribute 'analyse'"):
        facelib.analyse  # noqa: B018
