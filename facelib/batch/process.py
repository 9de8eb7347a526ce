"""One notebook, executed by papermill in a kernel that can be stopped, and what it found out.

The kernel and whatever it starts are watched, five times a second, and ended when they take too long or too
much memory. A kernel ends by itself when the process that asked for it is gone, also after a kill -9.
"""

from __future__ import annotations

import json
import math
import numbers
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

import psutil

from facelib import paths
from facelib.errors import InputError

MIME = "application/x-facelib+json"  # of the output that ``record`` leaves in a notebook
INTERVAL = 0.2  # seconds between two measurements of the processes


def record(results: Mapping[str, object]) -> None:
    """Hand numbers out of a notebook: ``facelib.record({"accuracy": 0.61, "macro_f1": 0.55})``.

    results: name -> number, text or truth value; nan and infinities become None. They are an output of the
    cell, shown as text; `facelib run` keeps them and `facelib sweep` makes its table of them. Of two calls
    with the same name the later counts. Raises InputError for anything that is not one number or one text.
    """
    plain = {str(name): _scalar(name, value) for name, value in results.items()}
    texts = {name: f"{value:.4g}" if isinstance(value, float) else value for name, value in plain.items()}
    shown = "\n".join(f"{name}: {text}" for name, text in texts.items())
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
    seconds: wall time. memory: bytes, the most that its kernel and all below it held at once (resident; what
    they share counts for each). results: what the notebook recorded.
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
    timeout: seconds for the whole notebook (papermill's is for each cell). memory: bytes, for all its
        processes together. None: no limit.
    tick: told (the cell that begins, cells). stop: ends the run when it is set, from another thread.
    """
    import papermill

    start, peak, verdict, at = time.monotonic(), 0, None, "before the first cell"
    cells = len(json.loads(notebook.read_text(encoding="utf-8"))["cells"]) + bool(parameters)
    kernels: list[psutil.Process] = []
    tree: list[psutil.Process] = []

    def begin(cell, cell_index: int) -> None:
        nonlocal at
        at = f"cell {cell_index + 1} of {cells}"
        tick(cell_index + 1, cells)

    # Line by line: the kernel writes to the same file.
    log = open(output.with_suffix(".log"), "w", 1, encoding="utf-8", errors="backslashreplace")
    with log, ThreadPoolExecutor(1) as pool:
        options = {"kernel_name": "python3", "language": "python", "progress_bar": False}
        options |= {"stdout_file": log, "stderr_file": log, "on_cell_start": begin}
        options["kernel_manager_class"] = kernel_manager(log, notebook, output.parent, kernels)
        given = notebook, output, dict(parameters or {})
        running = pool.submit(papermill.execute_notebook, *given, **options)
        while not wait([running], INTERVAL).done:
            tree = [each for kernel in kernels for each in _tree(kernel)] or tree
            seconds, held = time.monotonic() - start, sum(map(_resident, tree))
            peak = max(peak, held)
            if verdict:
                pass
            elif stop and stop.is_set():
                verdict = "stopped", f"stopped ({at})"
            elif timeout and seconds > timeout:
                verdict = "timed out", f"not done after {timeout:g} s ({at})"
            elif memory and held > memory:
                limit = f"held {held / 1e9:.2f} GB, the limit is {memory / 1e9:g} GB"
                verdict = "out of memory", f"{limit} ({at})"
            if verdict:
                _end(tree)
        _end(tree)  # what the notebook started and left behind
        if error := running.exception():
            state, said = verdict or ("failed", _line(error))
            text = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip()  # a traceback comes in colours
            log.write(f"\n{type(error).__name__}: {text}\n\n{state}: {said}\n")
            return Outcome(state, said, time.monotonic() - start, peak)
    return Outcome("ok", None, time.monotonic() - start, peak, recorded(running.result().cells))


def _line(error: BaseException) -> str:
    """What went wrong, in one line: where a cell failed, its number and its error."""
    if type(error).__name__ == "PapermillExecutionError":
        return f"In [{error.exec_count}]: {error.ename}: {error.evalue}".partition("\n")[0]
    return str(error).strip().partition("\n")[0] or type(error).__name__


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


def kernel_manager(
    log: TextIO | int, notebook: Path, elsewhere: Path, kernels: list[psutil.Process] | None = None
):
    """A kernel manager class whose one kernel is this Python, appended to kernels. Its folder is the
    notebooks', or ``elsewhere`` on a worker that has none; a notebook in a folder ``fr`` speaks French.

    A kernelspec found by its name may belong to any Python that the user once installed a kernel for, and
    papermill's own ``cwd`` would change the folder of the whole process. Nothing is imported from that
    folder: a file there may bear any package's name. What the kernel writes past IPython (TensorFlow's C++, a
    crash) goes to log.
    """
    from ipykernel.kernelspec import RESOURCES, make_ipkernel_cmd
    from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager

    language = {"FACELIB_LANG": "fr" if "fr" in notebook.parts[-3:-1] else "en"}
    folder = paths.notebooks() if paths.notebooks().is_dir() else elsewhere

    class ThisPython(KernelSpecManager):
        def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
            # -P is for Python's own start, the other for IPython before 9.7, which adds the folder again.
            python, *argv = make_ipkernel_cmd(extra_arguments=["--IPKernelApp.ignore_cwd=True"])
            argv = [python, "-P", *argv]
            return KernelSpec(argv=argv, resource_dir=RESOURCES, language="python", env=language)

    class Manager(AsyncKernelManager):
        def __init__(self, **options) -> None:
            super().__init__(kernel_spec_manager=ThisPython(), **options)

        async def start_kernel(self, **options) -> None:
            await super().start_kernel(cwd=str(folder), stdout=log, stderr=log, **options)
            if kernels is not None:
                kernels.append(psutil.Process(self.provisioner.pid))

    return Manager
