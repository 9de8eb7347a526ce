"""The runner of the notebooks: order, parameters, one failure among others, this Python as the kernel."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from facelib import runner
from facelib.paths import InputError


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """An empty laboratory, in a folder with a space in its name, and the caller somewhere else."""
    home = tmp_path / "a house"
    (home / "notebooks").mkdir(parents=True)
    monkeypatch.setenv("FACELIB_HOME", str(home))
    monkeypatch.chdir(tmp_path)
    return home


def write(home: Path, name: str, *code: str, parameters: str = "") -> Path:
    cells = [new_markdown_cell("# A question?"), *map(new_code_cell, code)]
    if parameters:
        cells.insert(1, new_code_cell(parameters, metadata={"tags": ["parameters"]}))
    path = home / "notebooks" / f"{name}.ipynb"
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": OTHER} if parameters else {}), path)
    return path


OTHER = {"name": "ada-2019", "display_name": "Python 3.7", "language": "python"}  # on the author's machine


def printed(home: Path, name: str) -> str:
    """What the executed copy printed."""
    notebook = nbformat.read(home / "runs" / "notebooks" / f"{name}.ipynb", as_version=4)
    return "".join(o.text for cell in notebook.cells for o in cell.get("outputs", []) if "text" in o)


def test_without_notebooks_it_says_so(home, capsys):
    assert runner.run() == 0
    assert "no notebook" in " ".join(capsys.readouterr().out.split())


def test_one_failure_stops_no_other_and_leaves_a_log(home, capsys):
    write(home, "01-broken", "print('before')", "1 / 0", "print('after')")
    source = write(home, "02-sound", "print('n is', n)", parameters="n: int = 1  # how many")
    before = source.read_bytes()
    assert runner.run([], {"n": 7}) == 1
    out = capsys.readouterr().out
    assert "In [2]: ZeroDivisionError: division by zero" in out
    rows = {line.split("│")[1].strip(): line for line in out.splitlines() if line.count("│") > 3}
    assert "failed" in rows["01-broken"] and "ok" in rows["02-sound"]
    log = (home / "runs" / "notebooks" / "01-broken.log").read_text()
    assert "before" in log and "ZeroDivisionError" in log and "\x1b[" not in log
    assert printed(home, "02-sound") == "n is 7\n"
    assert source.read_bytes() == before


def test_the_kernel_is_this_python_in_the_notebooks_folder(home, monkeypatch):
    """Also where a kernelspec of that name, first in the search, belongs to another Python."""
    spec = home / "jupyter" / "kernels" / "python3"
    spec.mkdir(parents=True)
    argv = ["/nowhere/python", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (spec / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "x", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(home / "jupyter"))
    write(home, "01-where", "import os, sys; print(sys.executable, os.getcwd(), sep='\\n')")
    caller = Path.cwd()
    assert runner.run(["1"]) == 0
    executable, folder = printed(home, "01-where").splitlines()
    assert executable == sys.executable
    assert Path(folder) == home / "notebooks" and Path.cwd() == caller


def test_a_cell_that_takes_too_long_or_kills_its_kernel_is_a_failure(home, capsys):
    write(home, "01-slow", "import time; time.sleep(600)")
    write(home, "02-dies", "import os; os.write(2, b'last words'); os._exit(3)")
    assert runner.run(timeout=1) == 1
    out = capsys.readouterr().out
    assert "01-slow: A cell timed out" in out and "02-dies: Kernel died" in out
    assert "last words" in (home / "runs" / "notebooks" / "02-dies.log").read_text()


def test_names_and_numbers(home):
    for name in ("02-b", "01-a", "10-c"):
        write(home, name, "pass")
    (home / "notebooks" / "draft.ipynb").write_text("{}")

    def stems(*names):
        return [path.stem for path in runner.select(names)]

    assert stems() == ["01-a", "02-b", "10-c"]
    assert stems("10", "notebooks/01-a.ipynb") == ["01-a", "10-c"]
    assert stems("2", "02-b") == ["02-b"]
    with pytest.raises(InputError, match="'3'; choose from: 01-a, 02-b, 10-c"):
        stems("3")


def test_a_parameter_that_no_notebook_has_is_refused_before_any_runs(home):
    write(home, "01-a", "print(seed)", parameters="seed = 0\ndataset = 'auto'")
    with pytest.raises(InputError, match="'sed'; choose from: dataset, seed"):
        runner.run(["01-a"], {"sed": 1})
    assert not (home / "runs").exists()


def test_a_file_that_is_no_notebook_is_named(home):
    write(home, "01-a", "pass")
    (home / "notebooks" / "02-b.ipynb").write_text("<html>")
    with pytest.raises(InputError, match="02-b.ipynb is not a notebook"):
        runner.run()


def test_refresh_writes_outputs_of_the_drawn_faces_and_keeps_the_source(home):
    parameters = 'dataset: str = "auto"  # auto, toy or fer2013'
    path = write(home, "01-a", "print(dataset)", parameters=parameters)
    runner.refresh()
    _, first, second = nbformat.read(path, as_version=4).cells
    assert first.source == parameters
    assert second.outputs == [new_output("stream", name="stdout", text="toy\n")]
    assert second.metadata == {}  # no times: the next refresh must give the same file


def test_a_missing_extra_is_named(home, monkeypatch):
    write(home, "01-a", "pass")
    monkeypatch.setitem(sys.modules, "papermill", None)
    with pytest.raises(InputError, match=r"pip install 'facelib\[notebooks\]'"):
        runner.run()
