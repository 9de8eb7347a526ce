"""One notebook, executed where it can be stopped.

    the caller -> a process with papermill -> the notebook's kernel -> whatever the notebook starts

The caller looks at this tree of processes five times a second and ends it when it takes too long or too much
memory. The process in the middle ends the kernel when the caller is gone, also after a kill -9: nothing of a
notebook outlives who asked for it. What a notebook found out comes back through ``record``.
"""

from __future__ import annotations

import json
import math
import numbers
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from facelib import paths
from facelib.errors import InputError

MIME = "application/x-facelib+json"  # of the output that ``record`` leaves in a notebook
LOOK = 0.2  # seconds between two looks at the processes


def record(results: Mapping[str, object]) -> None:
    """Hand numbers out of a notebook: ``facelib.record({"accuracy": 0.61, "macro_f1": 0.55})``.

    results: name -> number, text or truth value; nan and infinities become None. They are an output of the
    cell, shown as text; `facelib run` keeps them and `facelib sweep` makes its table of them. Of two calls
    with the same name the later counts. Raises InputError for anything that is not one number or one text.
    """
    plain = {str(name): _scalar(name, value) for name, value in results.items()}
    shown = "\n".join(
        f"{name}: {value:.4g}" if isinstance(value, float) else f"{name}: {value}"
        for name, value in plain.items()
    )
    if "IPython" not in sys.modules:  # the cells as a plain script
        print(shown)
        return
    from IPython.display import display

    display({MIME: plain, "text/plain": shown}, raw=True)


def _scalar(name: str, value: object) -> object:
    value = value.item() if getattr(value, "ndim", None) == 0 else value  # numpy's, and arrays of shape ()
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value) if math.isfinite(value) else None
    raise InputError(f"record: {name!r} is {type(value).__name__}; give one number, text or truth value")


def recorded(cells: Iterable) -> dict[str, object]:
    """What an executed notebook's cells recorded, all calls of ``record`` together."""
    found: dict[str, object] = {}
    for cell in cells:
        for output in cell.get("outputs", []):
            found |= output.get("data", {}).get(MIME, {})
    return found


@dataclass(frozen=True)
class Outcome:
    """What became of one run.

    state: "ok", "failed", "timed out", "out of memory" or "stopped". error: why, in one line; None for "ok".
    seconds: wall time. memory: bytes, the most that all its processes held at once (resident; what they
    share counts for each). results: what the notebook recorded.
    """

    state: str
    error: str | None
    seconds: float
    memory: int
    results: dict[str, object] = field(default_factory=dict)


def execute(
    notebook: Path,
    output: Path,
    parameters: Mapping[str, object] | None = None,
    timeout: float | None = None,
    memory: float | None = None,
    tick: Callable[[int, int], object] = lambda cell, cells: None,
    stop: threading.Event | None = None,
) -> Outcome:
    """Run one notebook with these parameters; no error of its own comes out but in the ``Outcome``.

    output: gets the executed copy; a log lies beside it, under its name with .log.
    timeout: seconds for the whole notebook. memory: bytes, for all its processes together. None: no limit.
    tick: told (the cell that begins, cells). stop: ends the run when it is set, from another thread.
    """
    job = json.dumps([str(notebook), str(output), parameters or {}])
    command = [sys.executable, "-m", "facelib.batch.process", job]
    said: dict = {"cell": 0, "cells": 0}
    start, peak, verdict = time.monotonic(), 0, None
    with open(output.with_suffix(".log"), "w", encoding="utf-8") as log:
        # A session of its own: Ctrl-C is for the caller, who ends it in order.
        process = psutil.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                               text=True, encoding="utf-8", start_new_session=True)  # fmt: skip

        def listen() -> None:
            for line in process.stdout:
                if line.endswith("\n"):  # else it was killed while it spoke
                    said.update(json.loads(line))
                    tick(said["cell"], said["cells"])

        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        tree: list[psutil.Process] = []
        try:
            while verdict is None and not _ended(process, LOOK):
                tree, seconds = _tree(process), time.monotonic() - start
                held = sum(map(_resident, tree))
                peak = max(peak, held)
                if stop and stop.is_set():
                    verdict = "stopped", "stopped"
                elif timeout and seconds > timeout:
                    verdict = "timed out", f"not done after {timeout:g} s"
                elif memory and held > memory:
                    verdict = "out of memory", f"held {held / 1e9:.2f} GB, the limit is {memory / 1e9:g} GB"
        finally:
            _end([*_tree(process), *tree])
            listener.join(timeout=5)
            process.stdin.close()
        if "error" in said:  # it was done, perhaps while we made up our mind
            state, error = ("failed" if said["error"] else "ok"), said["error"]
        elif verdict:
            state, error = verdict
            where = f"cell {said['cell']} of {said['cells']}" if said["cells"] else "before the first cell"
            error += f" ({where})"
        else:
            state, error = "failed", f"its process ended without a word (exit code {process.returncode})"
        if error:
            log.seek(0, os.SEEK_END)
            log.write(f"\n{state}: {error}\n")
    return Outcome(state, error, time.monotonic() - start, peak, said.get("results", {}))


def _ended(process: psutil.Popen, seconds: float) -> bool:
    """Whether a process ends within some seconds."""
    with suppress(psutil.TimeoutExpired):
        process.wait(seconds)
        return True
    return False


def _tree(process: psutil.Process) -> list[psutil.Process]:
    """A process and all below it; none if it is gone."""
    with suppress(psutil.Error):
        return [process, *process.children(recursive=True)]
    return []


def _resident(process: psutil.Process) -> int:
    with suppress(psutil.Error):
        return process.memory_info().rss
    return 0


def _end(processes: list[psutil.Process]) -> None:
    """Kill processes and see them gone."""
    for each in processes:
        with suppress(psutil.Error):
            each.kill()
    psutil.wait_procs(processes, timeout=5)


# --- the process in the middle ---------------------------------------------------------------------------


def _main(notebook: str, output: str, parameters: dict[str, object]) -> None:
    """Execute one notebook; events leave on stdout as lines of JSON, all else goes to stderr, the log."""
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.stderr.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    threading.Thread(target=_end_with_the_caller, daemon=True).start()

    def say(**event) -> None:
        print(json.dumps(event), file=events, flush=True)

    # Where it is installed, jsonschema builds a grammar of web addresses: a third of the time before a kernel
    # starts, and no notebook is checked for one.
    sys.modules.setdefault("rfc3987_syntax", None)
    try:
        import papermill

        with open(notebook, encoding="utf-8") as stream:
            cells = len(json.load(stream)["cells"]) + bool(parameters)
        executed = papermill.execute_notebook(
            notebook,
            output,
            parameters,
            kernel_name="python3",
            language="python",
            kernel_manager_class=kernel_manager(sys.stderr),
            progress_bar=False,
            stdout_file=sys.stderr,
            stderr_file=sys.stderr,
            on_cell_start=lambda cell, cell_index: say(cell=cell_index + 1, cells=cells),
        )
        say(error=None, results=recorded(executed.cells))
    except Exception as error:  # noqa: BLE001 - whatever it is, the caller says it in one line
        text = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip()  # a traceback comes in colours
        print(f"\n{type(error).__name__}: {text}", file=sys.stderr)
        if type(error).__name__ == "PapermillExecutionError":
            text = f"In [{error.exec_count}]: {error.ename}: {error.evalue}"
        say(error=text.partition("\n")[0] or type(error).__name__)


def _end_with_the_caller() -> None:
    """stdin is a lifeline: it closes when the caller is gone, however that went."""
    while os.read(0, 1):
        pass
    _end(_tree(psutil.Process())[1:])
    os._exit(1)


def kernel_manager(log):
    """A kernel manager class whose one kernel is this Python, in the notebooks' folder.

    A kernelspec found by its name may belong to any Python that the user once installed a kernel for, and
    papermill's own ``cwd`` would change the folder of the whole process. What the kernel writes past IPython
    (TensorFlow's C++, a crash) goes to log.
    """
    from ipykernel.kernelspec import RESOURCES, get_kernel_dict
    from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager

    folder = paths.notebooks() if paths.notebooks().is_dir() else tempfile.gettempdir()

    class ThisPython(KernelSpecManager):
        def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
            return KernelSpec(resource_dir=RESOURCES, **get_kernel_dict())

    class Manager(AsyncKernelManager):
        def __init__(self, **options) -> None:
            super().__init__(kernel_spec_manager=ThisPython(), **options)

        async def start_kernel(self, **options) -> None:
            await super().start_kernel(cwd=str(folder), stdout=log, stderr=log, **options)

    return Manager


if __name__ == "__main__":
    _main(*json.loads(sys.argv[1]))
