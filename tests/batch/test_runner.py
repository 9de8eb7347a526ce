"""The runner of the notebooks: order, parameters, limits, what is up to date, this Python as the kernel."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import nbformat
import numpy as np
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

import facelib
from facelib.batch import process, runner
from facelib.cli import app
from facelib.errors import InputError
from helpers import traps, wait_for


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """An empty laboratory, in a folder with a space in its name, and the caller somewhere else."""
    home = tmp_path / "a house"
    (home / "notebooks").mkdir(parents=True)
    monkeypatch.setenv("FACELIB_HOME", str(home))
    monkeypatch.setenv("FACELIB_PROJECT", str(home))
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


def test_without_notebooks_there_is_nothing_to_run_and_that_is_an_error(home, capsys):
    assert app.main(["run"]) == 1
    assert "notebooks holds no notebooks; they come with the repository" in capsys.readouterr().err


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
    assert out.index("01-broken: running\n") < out.index("01-broken: failed") < out.index("02-sound: running")


def test_the_kernel_is_this_python_in_the_notebooks_folder(home, monkeypatch):
    """Also where a kernelspec of that name, first in the search, belongs to another Python, and files in
    that folder have packages' names."""
    trace = traps(home / "notebooks")
    spec = home / "jupyter" / "kernels" / "python3"
    spec.mkdir(parents=True)
    argv = ["/nowhere/python", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (spec / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "x", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(home / "jupyter"))
    write(home, "01-where", "import os, sys, tqdm; print(sys.executable, os.getcwd(), sep='\\n')")
    caller = Path.cwd()
    assert runner.run(["1"]) == 0
    executable, folder = printed(home, "01-where").splitlines()
    assert executable == sys.executable
    assert Path(folder) == home / "notebooks" and Path.cwd() == caller
    assert not trace.exists()


def test_a_notebook_that_hangs_is_ended_with_what_it_started(home, capsys):
    started = "import subprocess; print(subprocess.Popen(['sleep', '600']).pid)"
    write(home, "01-hangs", started, "import time; time.sleep(600)")
    assert runner.run(timeout=10) == 1
    assert "01-hangs: not done after 10 s (" in capsys.readouterr().out
    log = (home / "runs" / "notebooks" / "01-hangs.log").read_text()
    assert "timed out: not done" in log and not (home / "runs" / "notebooks" / "01-hangs.json").exists()
    if log[0].isdigit():  # else it was ended before it came so far
        assert not psutil.pid_exists(int(log.split()[0]))


def test_a_kernel_that_dies_and_one_that_eats_memory_are_named(home, capsys):
    write(home, "01-dies", "import os; os.write(2, b'last words'); os._exit(3)")
    write(home, "02-eats", "eaten = b'x' * 1_000_000_000", "import time; time.sleep(600)")
    assert runner.run(memory=0.8e9) == 1
    out = capsys.readouterr().out
    assert "01-dies: Kernel died" in out and "02-eats: out of memory" in out
    assert "GB, the limit is 0.8 GB (cell" in out
    assert "last words" in (home / "runs" / "notebooks" / "01-dies.log").read_text()


def test_two_at_a_time_are_two_processes_at_a_time(home):
    """Each waits for the other's sign."""
    sign = "from pathlib import Path; import time\nPath({!r}).touch()"
    wait = "while not Path({!r}).exists(): time.sleep(0.1)"
    write(home, "01-a", sign.format("a"), wait.format("b"))
    write(home, "02-b", sign.format("b"), wait.format("a"))
    assert runner.run(jobs=2, timeout=300) == 0


@pytest.mark.parametrize("kill", ["SIGKILL", "SIGINT"])
def test_nothing_outlives_a_caller_who_was_killed(kill, home):
    write(home, "01-a", "from pathlib import Path; Path('begun').touch(); import time; time.sleep(600)")
    run = (  # the handler, because who starts the tests in the background makes them deaf to SIGINT
        "import signal, sys; from facelib.cli import app; "
        "signal.signal(signal.SIGINT, signal.default_int_handler); sys.exit(app.main(['run']))"
    )
    caller = psutil.Popen([sys.executable, "-c", run], cwd=Path(runner.__file__).parents[2])
    try:
        wait_for((home / "notebooks" / "begun").exists)
        processes = caller.children(recursive=True)
        assert processes
        caller.send_signal(getattr(signal, kill))
        assert caller.wait(60) == (130 if kill == "SIGINT" else -signal.SIGKILL)
    finally:
        process._end(process._tree(caller))
    assert not psutil.wait_procs(processes, timeout=60)[1]


# --- what is recorded, and what is up to date -------------------------------------------------------------


def test_numbers_come_out_of_a_notebook(home):
    first = "import numpy, facelib\nfacelib.record({'accuracy': numpy.float32(0.5), 'n': 3})\nprint('more')"
    write(home, "01-a", first, "facelib.record({'n': 4, 'method': 'none', 'worst': float('nan')})")
    assert runner.run() == 0
    record = json.loads((home / "runs" / "notebooks" / "01-a.json").read_text())
    assert record["results"] == {"accuracy": 0.5, "n": 4, "method": "none", "worst": None}
    assert record["seconds"] > 0 and record["memory_mb"] > 30 and record["of"]["parameters"] == {}
    copy = nbformat.read(home / "runs" / "notebooks" / "01-a.ipynb", as_version=4)
    nbformat.validate(copy)
    assert copy.cells[1].outputs[0].data["text/plain"] == "accuracy: 0.5\nn: 3"


@pytest.mark.parametrize("value", [[1], np.zeros(2), {"a": 1}, 1j, object()], ids=lambda v: type(v).__name__)
def test_only_single_values_are_recorded(value):
    with pytest.raises(InputError, match="'x' is .*; give one number"):
        facelib.record({"x": value})


@pytest.fixture
def executed(monkeypatch) -> list[str]:
    """The notebooks that were executed, in order; none really is."""
    names = []

    def execute(notebook, output, parameters, timeout, memory, tick, stop):
        names.append(notebook.stem)
        tick(1, 2)
        output.write_text("{}")
        return process.Outcome("ok", None, 1.5, 10**8, {})

    monkeypatch.setattr(process, "execute", execute)
    return names


def test_resume_passes_over_what_nothing_has_changed_for(home, executed, monkeypatch):
    path = write(home, "01-a", "seed", parameters="seed = 0")
    write(home, "02-b", "pass")

    def ran(parameters=None, resume=True) -> list[str]:
        executed.clear()
        assert runner.run([], parameters, resume=resume) == 0
        return executed[:]

    assert ran() == ["01-a", "02-b"] and ran() == [] and ran(resume=False) == ["01-a", "02-b"]
    assert ran({"seed": 1}) == ["01-a"] and ran({"seed": 1}) == [] and ran() == ["01-a"]
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[-1].outputs = [new_output("stream", name="stdout", text="an output is no change")]
    nbformat.write(notebook, path)
    assert ran() == []
    write(home, "01-a", "seed + 1", parameters="seed = 0")
    assert ran() == ["01-a"] and ran() == []
    (home / "runs" / "notebooks" / "01-a.ipynb").unlink()
    assert ran() == ["01-a"]
    (home / "runs" / "notebooks" / "02-b.json").write_text("{ half")
    assert ran() == ["02-b"]
    (home / "reports" / "metrics").mkdir(parents=True)
    (home / "reports" / "metrics" / "01-detection.json").write_text("{}")
    assert ran() == ["01-a", "02-b"] and ran() == []
    monkeypatch.setattr(runner, "__version__", "9")
    assert ran() == ["01-a", "02-b"]


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


def test_refresh_writes_outputs_of_the_synthetic_faces_and_keeps_the_source(home):
    parameters = 'dataset: str = "auto"  # auto, toy or fer2013'
    where = "from facelib import paths; print(dataset, paths.new_figures() == paths.figures())"
    path = write(home, "01-a", where, parameters=parameters)
    runner.refresh()
    _, first, second = nbformat.read(path, as_version=4).cells
    assert first.source == parameters
    assert second.outputs == [new_output("stream", name="stdout", text="toy True\n")]
    assert second.metadata == {}  # no times: the next refresh must give the same file


def test_a_notebook_in_a_folder_fr_speaks_french(home, monkeypatch):
    monkeypatch.setenv("FACELIB_LANG", "fr")  # the caller's language is not the notebook's
    english = write(home, "01-a", "import facelib; print(facelib.say('fear'))")
    french = english.parent / "fr" / english.name
    french.parent.mkdir()
    french.write_text(english.read_text())
    runner.refresh()
    for path, words in ((english, "fear\n"), (french, "peur\n")):
        assert nbformat.read(path, as_version=4).cells[1].outputs[0].text == words


def test_a_missing_extra_is_named(home, monkeypatch):
    write(home, "01-a", "pass")
    monkeypatch.setitem(sys.modules, "papermill", None)
    with pytest.raises(InputError, match=r"pip install 'facelib\[notebooks\]'"):
        runner.run()
