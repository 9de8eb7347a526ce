"""Execute the notebooks: ``facelib run``, and ``make notebooks``, which refreshes what is committed.

Each notebook gets a fresh kernel of this very Python, in the notebooks' folder. The executed copies go to
``runs/notebooks``, with a log and a record (NN-slug.json: what it ran on, what it took and found) beside
each; the notebooks themselves are not touched.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from facelib import __version__, paths
from facelib.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

TIMEOUT = 3600  # seconds for one notebook


def run(
    names: Sequence[str] = (),
    parameters: Mapping[str, object] | None = None,
    timeout: float | None = TIMEOUT,
    output: Path | None = None,
    jobs: int = 1,
    memory: float | None = None,
    resume: bool = False,
) -> int:
    """Run notebooks through papermill, all of them for no name; show a table. 0, or 1 if any failed.

    names: file names, with or without .ipynb, or numbers ("01", "1").
    parameters: go to each notebook that has a parameter of that name; InputError if none has.
    timeout: seconds for one notebook; memory: bytes for one with all its processes. None: no limit.
    output: where the executed copies, logs and records go; None means ``paths.runs() / "notebooks"``.
    jobs: so many at a time. resume: pass over those whose record says that nothing has changed since.
    """
    from rich.console import Console
    from rich.live import Live

    console = Console()
    notebooks = select(names)
    accepted = share_out(notebooks, parameters or {})
    process = _process()
    output = output or paths.runs() / "notebooks"
    output.mkdir(parents=True, exist_ok=True)
    board = {notebook: _Row(notebook.stem, console) for notebook in notebooks}
    here, stop = surroundings(), threading.Event()

    def work(notebook: Path) -> None:
        row, copy = board[notebook], output / notebook.name
        what = identity(notebook, accepted[notebook]) | here
        done = paths.read_json(copy.with_suffix(".json"))
        if resume and copy.is_file() and done.get("of") == what:
            row.end("up to date", done["seconds"], done["memory_mb"])
            return
        copy.with_suffix(".json").unlink(missing_ok=True)  # the copy that it describes is about to go
        row.begin()
        found = process.execute(notebook, copy, accepted[notebook], timeout, memory, row.tick, stop)
        row.end(found.state, found.seconds, found.memory / 1e6)
        if found.error is None:
            facts = {"seconds": round(found.seconds, 1), "memory_mb": round(found.memory / 1e6)}
            paths.write_json(copy.with_suffix(".json"), {"of": what, **facts, "results": found.results})
        elif not stop.is_set():
            where = f"(log: {short(copy.with_suffix('.log'))})"
            console.print(f"{row.name}: {found.error} {where}", markup=False, highlight=False, soft_wrap=True)

    live = Live(get_renderable=lambda: _table(board.values()), console=console, refresh_per_second=4)
    with ThreadPoolExecutor(jobs) as pool, live if console.is_terminal else nullcontext():
        try:
            for future in as_completed([pool.submit(work, notebook) for notebook in notebooks]):
                future.result()
        except BaseException:  # Ctrl-C, or a full disk: what runs is ended, what waits does not begin
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    if not console.is_terminal:
        console.print(_table(board.values()))
    console.print(f"Results: {short(output)}", highlight=False, soft_wrap=True)
    return 0 if all(row.state in ("ok", "up to date") for row in board.values()) else 1


# --- what is shown ---------------------------------------------------------------------------------------

_COLOURS = {"ok": "green", "up to date": "green", "running": "cyan", "waiting": "dim"}


@dataclass
class _Row:
    """A notebook's line in the table; on a terminal it moves, elsewhere beginning and end are printed."""

    name: str
    console: Console
    state: str = "waiting"
    cell: str = ""
    seconds: float | None = None
    memory: float | None = None  # MB
    began: float = 0.0

    def begin(self) -> None:
        self.state, self.began = "running", time.monotonic()
        self._say("running")

    def tick(self, cell: int, cells: int) -> None:
        self.cell = f"{cell}/{cells}"

    def end(self, state: str, seconds: float, memory: float) -> None:
        self.state, self.seconds, self.memory = state, seconds, memory
        self._say(f"{state}, {seconds:.1f} s, {memory:.0f} MB")

    def _say(self, what: str) -> None:
        if not self.console.is_terminal:
            self.console.print(f"{self.name}: {what}", markup=False, highlight=False)

    @property
    def cells(self) -> tuple[str, ...]:
        colour = _COLOURS.get(self.state, "red")
        elapsed = time.monotonic() - self.began if self.state == "running" else self.seconds
        return (
            self.name,
            f"[{colour}]{self.state}",
            self.cell,
            "" if elapsed is None else f"{elapsed:.1f}",
            "" if self.memory is None else f"{self.memory:.0f}",
        )


def _table(rows: Iterable[_Row]):
    from rich.table import Column, Table

    right = [Column(title, justify="right") for title in ("cell", "seconds", "peak MB")]
    table = Table(Column("notebook", overflow="fold"), "status", *right)
    for row in rows:
        table.add_row(*row.cells)
    return table


# --- which notebooks, with which parameters --------------------------------------------------------------


def select(names: Sequence[str] = ()) -> list[Path]:
    """The notebooks of these names or numbers, in order; all for no name. InputError names the choices."""
    found = sorted(paths.notebooks().glob("[0-9][0-9]-*.ipynb"))
    if not found:
        raise InputError(f"{paths.notebooks()} holds no notebooks; they come with the repository")
    chosen = set()
    for name in names:
        stem = Path(name).name.removesuffix(".ipynb")
        number = f"{stem.zfill(2)}-" if stem.isdigit() else None
        match = [p for p in found if p.stem == stem or (number and p.stem.startswith(number))]
        if not match:
            choices = ", ".join(p.stem for p in found)
            raise InputError(f"there is no notebook {name!r}; choose from: {choices}")
        chosen.update(match)
    return [p for p in found if p in chosen or not names]


def share_out(notebooks: list[Path], parameters: Mapping[str, object]) -> dict[Path, dict[str, object]]:
    """Which parameters each notebook gets. One that none of them has is an InputError."""
    _process()
    from papermill.translators import PythonTranslator

    has = {
        p: {known.name for cell in _tagged(_read(p)) for known in PythonTranslator.inspect(cell)}
        for p in notebooks
    }
    known = set().union(*has.values())
    for name in parameters:
        if name not in known:
            choices = ", ".join(sorted(known)) or "they have none"
            raise InputError(f"no notebook to be run has a parameter {name!r}; choose from: {choices}")
    return {p: {name: parameters[name] for name in parameters if name in has[p]} for p in notebooks}


# --- what a run depends on -------------------------------------------------------------------------------


def identity(notebook: Path, parameters: Mapping[str, object]) -> dict[str, object]:
    """What makes a run this run and no other: {"notebook": digest, "parameters": …}, as JSON gives it back.

    Outputs do not count: a notebook that was executed in place is still the same.
    """
    cells = [(c.cell_type, c.source, c.metadata.get("tags", [])) for c in _read(notebook).cells]
    return json.loads(json.dumps({"notebook": sha(json.dumps(cells)), "parameters": dict(parameters)}))


def surroundings() -> dict[str, str]:
    """What all runs here depend on: {"facelib": version and digest of its files, "data": digest}.

    The data are FER-2013 (its own digest), the published networks that were fetched (each verified when it
    was), and the measurements in reports/metrics, which notebooks quote.
    """
    from facelib.data import fer2013
    from facelib.models import registry

    files = sorted(p for p in paths.PACKAGE.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    source = [(p.relative_to(paths.PACKAGE).as_posix(), paths.digest(p)) for p in files]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fer = fer2013.load_fer2013().digest
    except FileNotFoundError:
        fer = None
    fetched = sorted(name for name, item in registry.DOWNLOADS.items() if item.path.is_file())
    measured = [(p.name, paths.digest(p)) for p in sorted(paths.metrics().glob("*.json"))]
    return {"facelib": f"{__version__} {sha(repr(source))}", "data": sha(repr((fer, fetched, measured)))}


def sha(text: str) -> str:
    """The first 16 hex digits of a text's sha256."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


# --- what is committed -----------------------------------------------------------------------------------


def refresh(names: Sequence[str] = ()) -> None:
    """Execute notebooks, their solutions and their French in place, as they are committed: on the synthetic
    faces, whatever data is here."""
    process = _process()
    import nbformat
    from nbclient import NotebookClient

    folders = ("", "solutions", "fr")
    chosen = (path.parent / folder / path.name for path in select(names) for folder in folders)
    for path in filter(Path.is_file, chosen):
        notebook = _read(path)
        cells = _tagged(notebook)
        sources = [cell.source for cell in cells]
        for cell in cells:
            cell.source = on_synthetic_faces(cell.source)
        options = {"kernel_name": "python3", "timeout": TIMEOUT}
        options["record_timing"] = False  # else each refresh changes the file
        manager = process.kernel_manager(subprocess.DEVNULL, path, path.parent)
        client = NotebookClient(notebook, kernel_manager_class=manager, **options)
        client.execute(env={**os.environ, "FACELIB_FIGURES": str(paths.figures()), "FACELIB_STATIC": "1"})
        for cell, source in zip(cells, sources, strict=True):
            cell.source = source
        with paths.atomic_write(path) as temporary:
            nbformat.write(notebook, temporary)
        print(f"{path.name}: executed")


def on_synthetic_faces(parameters: str) -> str:
    """The source of a parameters cell, with its ``dataset`` (if it has one) set to the synthetic faces."""
    return parameters + ('\ndataset = "toy"' if re.search(r"^dataset\b", parameters, re.M) else "")


def _process():
    """The module that executes; InputError where the extra that it needs is not installed."""
    try:
        import papermill  # noqa: F401

        from facelib.batch import process
    except ImportError as error:
        raise InputError(f"{error.name} is not installed: run `pip install 'facelib[notebooks]'`") from None
    return process


def _read(path: Path):
    import nbformat

    try:
        return nbformat.read(path, as_version=4)
    except (OSError, ValueError, nbformat.ValidationError) as error:
        raise InputError(f"{path} is not a notebook that can be read: {str(error).splitlines()[0]}") from None


def _tagged(notebook) -> list:
    """The parameters cell, in a list; an empty one where a notebook has none."""
    return [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]


def short(path: Path) -> str:
    """Relative to the working directory where that is shorter to read."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


if __name__ == "__main__":
    refresh(sys.argv[1:])
