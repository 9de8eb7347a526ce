"""What a command pays for: the heavy packages are imported when they are needed, not before."""

from __future__ import annotations

import subprocess
import sys

import pytest

import facelib
from helpers import UNPLUGGED, modules_after, new_user, traps, written_below

HEAVY = {"tensorflow", "keras", "torch", "jax", "matplotlib", "pandas", "sklearn", "scipy", "skimage"}
HEAVY |= {"pyarrow", "PIL", "tqdm", "pooch"}


@pytest.mark.parametrize(
    ("code", "unwanted"),
    [
        ("import facelib", {"numpy", "cv2"}),
        ("from facelib.cli import app\ntry: app.main(['--help'])\nexcept SystemExit: pass", {"numpy", "cv2"}),
        ("import facelib.data.fer2013", {"cv2"}),
    ],
    ids=["facelib", "help", "data"],
)
def test_what_needs_little_imports_little(code, unwanted):
    assert not modules_after(code) & (HEAVY | unwanted)


def test_analysing_a_picture_needs_no_tensorflow_and_tells_nobody(tmp_path):
    code = UNPLUGGED + (
        "import numpy, facelib; from facelib.cli import app; from facelib.reporting import plots\n"
        "facelib.analyze([numpy.zeros((60, 60, 3), 'uint8')], detector='none')"
    )
    loaded = modules_after(code, new_user(tmp_path))
    assert not written_below(tmp_path)  # ONNX Runtime keeps an id of the machine there, unless told not to
    assert not loaded & (HEAVY - {"PIL"}) and "cv2" in loaded


def test_tensorflow_warns_nobody_in_a_notebook():
    """Where Python is interactive its logger takes every level, whatever was set before the import."""
    code = "import sys; sys.ps1 = ''; import facelib.backend, tensorflow as tf; tf.get_logger().{}('counted')"
    for level, told in (("warning", False), ("error", True)):
        run = subprocess.run([sys.executable, "-c", code.format(level)], capture_output=True, check=True)
        assert (b"counted" in run.stdout + run.stderr) is told


def test_nothing_is_imported_from_the_working_directory(tmp_path):
    trace = traps(tmp_path)
    done = subprocess.run([sys.executable, "-m", "facelib", "--help"], cwd=tmp_path, capture_output=True)
    assert done.returncode == 0 and done.stdout.startswith(b"usage: facelib") and not trace.exists()


@pytest.mark.parametrize("name", facelib.__all__)
def test_public_names_are_there(name):
    assert getattr(facelib, name) is not None and name in dir(facelib)


def test_other_names_are_not():
    with pytest.raises(AttributeError, match="no attribute 'analyse'"):
        facelib.analyse  # noqa: B018
