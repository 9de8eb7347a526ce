"""Grids of notebooks, and pictures, on a real cluster: a scheduler and two workers, one of them killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from facelib.batch import cluster, process, sweep
from facelib.cli import app
from facelib.errors import InputError
from helpers import picture, texts, traps, wait_for

ROOT = Path(sweep.__file__).parents[2]
GRID = {"seed": [0, 1], "method": ["none", "smote"]}


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A laboratory with one small notebook, for the caller and for the workers."""
    home = tmp_path_factory.mktemp("laboratory")
    (home / "notebooks").mkdir()
    cells = [
        new_code_cell("seed = 0\nmethod = 'none'", metadata={"tags": ["parameters"]}),
        new_code_cell("import os, time, facelib"),
        new_code_cell("open('begun', 'a').write(f'{seed}{method} {os.getpid()}\\n')\ntime.sleep(1)"),
        new_code_cell("facelib.record({'accuracy': (method == 'smote') + seed / 10, 'word': 'x'})"),
    ]
    nbformat.write(new_notebook(cells=cells), home / "notebooks" / "01-a.ipynb")
    nbformat.write(new_notebook(cells=[new_code_cell("1 / 0")]), home / "notebooks" / "02-b.ipynb")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACELIB_HOME", str(home))
        patch.setenv("FACELIB_PROJECT", str(home))
        yield home


@pytest.fixture(scope="module")
def scheduler(home) -> str:
    """The address of a scheduler with two workers, each looked after by a nanny that starts it again."""
    said = home / "scheduler.json"
    file = ["--scheduler-file", str(said)]
    run = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"]
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", "--nworkers", "2", "--nthreads", "1"]
    options = {"cwd": ROOT, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    started = [
        psutil.Popen([*run, "--dashboard-address", ":0", *file], **options),
        psutil.Popen([*worker, "--no-dashboard", "--local-directory", str(home), *file], **options),
    ]
    try:
        wait_for(said.exists)
        address = json.loads(said.read_text())["address"]
        with cluster.connect(address) as client:
            client.wait_for_workers(2, timeout=120)
        yield address
    finally:
        process._end([child for each in started for child in process._tree(each)])


def begun(home: Path) -> list[str]:
    """What the notebook wrote down, a line for each time that it began."""
    file = home / "notebooks" / "begun"
    return file.read_text().splitlines() if file.exists() else []


def test_workers_of_ones_own_and_a_notebook_that_fails(home, tmp_path, monkeypatch, capsys):
    """The workers import nothing from the working directory, and nobody outside the machine reaches them.

    The first of this file: the scheduler of the others listens to everybody.
    """
    trace, connect, heard = traps(tmp_path), cluster.connect, []

    @contextmanager
    def watched(*arguments):
        with connect(*arguments) as client:
            here = psutil.Process()
            for each in (here, *here.children(recursive=True)):
                heard.extend(c.laddr.ip for c in each.net_connections("inet") if c.status == "LISTEN")
            yield client

    monkeypatch.setattr(cluster, "connect", watched)
    monkeypatch.chdir(tmp_path)
    assert app.main(["sweep", "2", "--workers", "1", "--timeout", "300"]) == 1
    out = capsys.readouterr().out
    assert "1/1  all: failed, In [1]: ZeroDivisionError" in out and ".log)" in out
    assert not list((home / "runs" / "sweeps" / "02-b").glob("*.json"))
    assert set(heard) == {"127.0.0.1"} and not trace.exists() and "PYTHONSAFEPATH" not in os.environ


def test_a_grid_survives_a_killed_worker_and_runs_nothing_twice(home, scheduler, capsys):
    codes = []
    call = threading.Thread(target=lambda: codes.append(sweep.sweep("1", GRID, scheduler=scheduler)))
    call.start()
    folder = home / "runs" / "sweeps" / "01-a"
    with cluster.connect(scheduler) as client:
        wait_for(lambda: sum(map(len, client.processing().values())) == 4)  # all are handed out
        given = client.processing()
        wait_for(lambda: list(folder.glob("[!.]*.json")))  # a record, and none that is being written
        [first, *_] = folder.glob("[!.]*.json")
        [worker] = [name for name, keys in given.items() if f"01-a-{first.stem}" in keys]
        pid = client.run(os.getpid, workers=[worker])[worker]  # it holds a result, and is at the next
    kernels = psutil.Process(pid).children(recursive=True)
    os.kill(pid, signal.SIGKILL)
    call.join()
    assert codes == [0]
    assert not psutil.wait_procs(kernels, timeout=30)[1]  # what ran there died with it
    runs = [line.split()[0] for line in begun(home)]
    assert set(runs) == {f"{seed}{method}" for seed in GRID["seed"] for method in GRID["method"]}
    assert len(runs) <= 5  # nothing but what the dead worker was at ran again, and not what it had done
    done = json.loads(first.read_text())["of"]["parameters"]
    assert runs.count(f"{done['seed']}{done['method']}") == 1, begun(home)
    table = pd.read_parquet(folder / "table.parquet")
    assert table.columns.tolist() == ["seed", "method", "accuracy", "word"]
    assert table.iloc[3].tolist() == [1, "smote", 1.1, "x"] and len(table) == 4
    assert (folder / "figure.png").exists()
    assert "4 combinations, 4 to run" in capsys.readouterr().out

    assert sweep.sweep("1", GRID, scheduler="tcp://127.0.0.1:9") == 0  # nobody need be asked
    assert "4 combinations, 0 to run" in capsys.readouterr().out
    next(folder.glob("[!.]*.json")).unlink()
    assert sweep.sweep("1", GRID, scheduler=scheduler) == 0
    assert len(begun(home)) == len(runs) + 1


def test_pictures_on_the_cluster_come_out_as_they_do_here(scheduler, tmp_path, monkeypatch, capsys):
    """In order, in several batches, under the names that were given; bad ones named."""
    for number in range(5):
        picture().save(tmp_path / f"{number}.png")
    (tmp_path / "3.png").write_text("no picture")
    monkeypatch.chdir(tmp_path)
    command = ["analyze", ".", "--json", "--batch-size", "2"]
    told = {}
    for place in ([], ["--scheduler", scheduler]):
        assert app.main([*command, *place]) == 1
        out, err = capsys.readouterr()
        told[bool(place)] = [json.loads(line) for line in out.splitlines()], err
    assert told[True][0] == told[False][0] and len(told[True][0]) == 4
    assert "3.png: is not a picture" in told[True][1]


def test_a_batch_that_no_worker_survives_is_named(scheduler, monkeypatch):
    monkeypatch.setattr(cluster, "_analyze", lambda places, *_: os._exit(1) if "b" in places[0] else [])
    found = list(cluster.analyze(["b"], scheduler, 1))
    assert found[0].source == "b" and "no worker could analyse" in str(found[0].error)


def test_a_worker_with_another_facelib_is_refused(home, scheduler, monkeypatch, capsys):
    monkeypatch.setattr(sweep.runner, "__version__", "9")
    assert sweep.sweep("2", {}, scheduler=scheduler) == 1
    assert "has not the same facelib" in capsys.readouterr().out


def test_what_is_wrong_is_said_before_anything_runs(home, monkeypatch):
    with pytest.raises(InputError, match="'sed'; choose from: method, seed"):
        sweep.sweep("1", {"sed": [1]})
    monkeypatch.setattr(cluster, "PATIENCE", 1)
    with pytest.raises(InputError, match="no Dask scheduler answers at tcp://127.0.0.1:9"):
        list(cluster.analyze(["a.png"], "tcp://127.0.0.1:9"))
    with pytest.raises(InputError, match="no Dask scheduler answers at nowhere"):
        list(cluster.analyze(["a.png"], "nowhere"))
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match=r"pip install 'facelib\[cluster\]'"):
        sweep.sweep("1", {"seed": [100]})


# --- the table and the figure -----------------------------------------------------------------------------


def test_a_table_has_one_type_a_column(tmp_path):
    rows = (
        ({"k": 1, "layers": [1, 2], "seed": 0}, {"accuracy": 0.5, "seed": 7}),
        ({"k": "all", "layers": [3], "seed": 1}, {"accuracy": None, "f1": 1}),
    )
    table = sweep.table_of([{"of": {"parameters": chosen}, "results": found} for chosen, found in rows])
    assert table.columns.tolist() == ["k", "layers", "seed", "accuracy", "f1"]
    assert table["k"].tolist() == ["1", "all"] and table["seed"].tolist() == [0, 1]
    table.to_parquet(tmp_path / "table.parquet")


def test_mean_and_interval_over_seeds():
    table = pd.DataFrame({"method": list("aabb"), "seed": [0, 1, 0, 1], "acc": [0.0, 1, 2, np.nan]})
    found = sweep.summary(table, ["method", "seed"])
    assert found.loc[("method=a", "acc")].tolist() == pytest.approx([2, 0.5, 12.7062 * 0.5], rel=1e-4)
    assert found.loc[("method=b", "acc")].tolist()[:2] == [1, 2] and np.isnan(found["half"].iloc[1])
    drawn = sweep.figure(table, ["method", "seed"], "04")
    assert texts(drawn.axes[0].get_yticklabels()) == ["method=a", "method=b"]
    assert [axis.get_title(loc="left") for axis in drawn.axes] == ["acc"]


def test_without_numbers_there_is_no_figure():
    table = pd.DataFrame({"seed": [0, 1], "word": ["x", "y"]})
    assert sweep.summary(table, ["seed"]).empty
    with pytest.raises(InputError, match="nothing to draw"):
        sweep.figure(table, ["seed"])
