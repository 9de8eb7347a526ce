"""Where files are kept, and what damaged ones are told."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from facelib import files, paths
from facelib.errors import InputError


def test_facelib_home_moves_data_and_runs_alone(tmp_path, monkeypatch):
    """Not the notebooks and the recorded measurements of a checkout."""
    monkeypatch.setenv("FACELIB_HOME", str(tmp_path))
    assert paths.data() == tmp_path / "data" and paths.runs() == tmp_path / "runs"
    reports = paths.CHECKOUT / "reports"
    assert (paths.metrics(), paths.figures()) == (reports / "metrics", reports / "figures")
    assert paths.notebooks() == paths.CHECKOUT / "notebooks" and list(paths.notebooks().glob("01-*"))
    monkeypatch.setenv("FACELIB_PROJECT", str(tmp_path / "mine"))
    assert paths.metrics() == tmp_path / "mine" / "reports" / "metrics" and paths.data() == tmp_path / "data"
    monkeypatch.delenv("FACELIB_PROJECT")
    monkeypatch.setattr(paths, "CHECKOUT", None)  # as installed with pip
    assert paths.notebooks() == tmp_path / "notebooks"


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe", b"[" * 100_000, b'{"a": 1}', b"null"])
def test_damaged_records_are_named(content, tmp_path):
    path = tmp_path / "run.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"^\S*run\.json: cannot be read: damaged .*; make it again$"):
        files.read_record(path, "make it again", "a", "b")


def test_damaged_arrays_are_named(tmp_path):
    path = tmp_path / "result.npz"
    np.savez_compressed(path, x=np.zeros(1_000_000))
    assert files.read_arrays(path, "")["x"].shape == (1_000_000,)
    whole = path.read_bytes()
    half = whole[: len(whole) // 2]
    for content in (whole[:-30], half, b"", b"PK\3\4" + bytes(18), whole[:60] + b"?" + whole[61:]):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"result\.npz: cannot be read: damaged .*; make it again"):
            files.read_arrays(path, "make it again")
    path.write_bytes(whole)
    with pytest.raises(InputError, match="8,000,128 bytes are more than belong there"):
        files.read_arrays(path, "make it again", 10_000)


def test_what_is_no_file_is_never_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    code = "from facelib import paths; paths.digest({!r})"
    for path, text in ((tmp_path / "pipe", "pipe or a"), ("/dev/zero", "pipe or a"), (tmp_path, "folder")):
        command = [sys.executable, "-c", code.format(str(path))]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert f"is a {text}" in done.stderr
