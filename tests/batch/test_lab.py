"""`make lab` works on a copy, which keeps what its user changed; and running notebooks leaves no trace."""

from __future__ import annotations

import subprocess
import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from facelib import paths
from facelib.batch import lab


@pytest.fixture
def notebooks(tmp_path, monkeypatch):
    monkeypatch.setenv("FACELIB_PROJECT", str(tmp_path / "project"))
    monkeypatch.setenv("FACELIB_HOME", str(tmp_path / "home"))
    return tmp_path / "project" / "notebooks"


def write(path, source, output=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    outputs = [nbformat.v4.new_output("stream", text=output)] if output else []
    nbformat.write(new_notebook(cells=[new_code_cell(source, id="a", outputs=outputs)]), path)


def read(path):
    (cell,) = nbformat.read(path, as_version=4).cells
    return cell.source, "".join(output.text for output in cell.outputs)


def test_the_copy_follows_what_its_user_has_not_changed(notebooks):
    copy = paths.runs() / "lab"
    names = ["01-mine.ipynb", "02-run.ipynb", "fr/03-theirs.ipynb", "04-deleted.ipynb", "05-broken.ipynb"]
    for name in names:
        write(notebooks / name, "1")
    assert lab.copy_notebooks(copy) == [] and all(read(copy / name) == ("1", "") for name in names)
    write(copy / "01-mine.ipynb", "my own")
    write(copy / "02-run.ipynb", "1", output="as run here")
    (copy / "04-deleted.ipynb").unlink()
    (copy / "05-broken.ipynb").write_text('{"cells": [')
    assert lab.copy_notebooks(copy) == []
    assert read(copy / "01-mine.ipynb") == ("my own", "")
    assert read(copy / "02-run.ipynb") == ("1", "as run here")
    assert read(copy / "04-deleted.ipynb") == ("1", "")
    for name in names:
        write(notebooks / name, "2")
    for _ in range(2):  # said at each start, until it is renamed
        assert lab.copy_notebooks(copy) == ["01-mine.ipynb", "05-broken.ipynb"]
    assert read(copy / "01-mine.ipynb") == ("my own", "")
    assert all(read(copy / name) == ("2", "") for name in names[1:4])
    (copy / "01-mine.ipynb").rename(copy / "mine.ipynb")
    assert lab.copy_notebooks(copy) == ["05-broken.ipynb"]
    assert read(copy / "01-mine.ipynb") == ("2", "") and read(copy / "mine.ipynb") == ("my own", "")


def test_lab_is_started_on_the_copy_and_asks_nobody(notebooks, monkeypatch, capsys):
    write(notebooks / "01-a.ipynb", "1")
    started = []
    monkeypatch.setattr(lab.os, "execv", lambda _, command: started.append(command))
    lab.main(["--port=8899"])
    ((_, *module, folder, news, check, port),) = started
    assert module == ["-m", "jupyterlab"] and folder == str(paths.runs() / "lab") and port == "--port=8899"
    assert news == "--LabApp.news_url=None" and check.endswith("=jupyterlab.NeverCheckForUpdate")
    write(paths.runs() / "lab" / "01-a.ipynb", "mine")
    write(notebooks / "01-a.ipynb", "2")
    lab.main([])
    assert "01-a.ipynb: you changed it" in capsys.readouterr().err


def test_without_notebooks_lab_says_so_in_one_line(notebooks):
    with pytest.raises(SystemExit, match="holds no notebooks"):
        lab.main([])


@pytest.mark.slow
@pytest.mark.skipif(paths.CHECKOUT is None, reason="only a checkout has files that git follows")
def test_papermill_on_a_notebook_changes_no_file_that_git_follows(tmp_path):
    """Called as anybody would, in the notebooks' folder, without what `facelib run` and make set."""

    def followed():
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=paths.CHECKOUT, capture_output=True, text=True)
        if listed.returncode:
            pytest.skip("no git here")
        files = (paths.CHECKOUT / name for name in listed.stdout.split("\0") if name)
        return {path: path.stat().st_mtime_ns for path in files if path.is_file()}

    before = followed()
    command = [sys.executable, "-m", "papermill", "02-fer2013-imbalance.ipynb", str(tmp_path / "02.ipynb")]
    command += "--no-progress-bar -k python3 -p dataset toy -p n_faces 1000 -p n_bootstrap 20".split()
    environment = {k: v for k, v in lab.os.environ.items() if not k.startswith("FACELIB_")}
    environment |= {"FACELIB_HOME": str(tmp_path), "PYTHONPATH": str(paths.CHECKOUT)}
    options = {"cwd": paths.notebooks(), "env": environment, "capture_output": True, "text": True}
    done = subprocess.run(command, **options)
    assert done.returncode == 0, done.stderr[-2000:]
    assert list((tmp_path / "runs" / "figures").glob("02-*"))  # it did draw
    after = followed()
    assert {path.name for path in before if before[path] != after.get(path)} == set()
