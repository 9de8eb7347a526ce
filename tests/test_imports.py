"""What a command pays for: the heavy packages are imported when they are needed, not before."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

import facelib

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


def modules_after(code: str) -> set[str]:
    """Top-level modules that are loaded once ``code`` has run in a new process."""
    code += "\nimport sys; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True
    )
    return set(done.stdout.splitlines()[-1].split())


def test_importing_facelib_imports_next_to_nothing():
    assert not modules_after("import facelib") & (HEAVY | {"numpy", "cv2", "PIL"})


def test_help_imports_next_to_nothing():
    code = "from facelib import cli\ntry: cli.main(['--help'])\nexcept SystemExit: pass"
    assert not modules_after(code) & (HEAVY | {"numpy", "cv2", "PIL"})


def test_analysing_a_picture_needs_no_tensorflow():
    code = (
        "import numpy, facelib; from facelib import cli, figures\n"
        "facelib.analyze([numpy.zeros((60, 60, 3), 'uint8')], detector='none')"
    )
    loaded = modules_after(code)
    assert not loaded & HEAVY and "cv2" in loaded


def test_help_is_instant():
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", "facelib.cli", "--help"], check=True, capture_output=True, timeout=300
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1  # seconds of processor


@pytest.mark.parametrize("name", facelib.__all__)
def test_public_names_are_there(name):
    assert getattr(facelib, name) is not None and name in dir(facelib)


def test_other_names_are_not():
    with pytest.raises(AttributeError, match="no attribute 'analyse'"):
        facelib.analyse  # noqa: B018
