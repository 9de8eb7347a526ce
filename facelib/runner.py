"""Execute the notebooks: ``facelib run``, and ``make notebooks``, which refreshes what is committed.

Each notebook gets a fresh kernel of this very Python, in the notebooks' folder. The executed copies, with a
log beside each, go to ``runs/notebooks``; the notebooks themselves are not touched.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from facelib import paths
from facelib.paths import InputError

TIMEOUT = 1800  # seconds for one cell


def run(names: Sequence[str] = (), parameters: dict[str, object] | None = None, timeout: int = TIMEOUT,
        output: Path | None = None) -> int:  # fmt: skip
    """Run notebooks through papermill, all of them for no name; print a table. 0, or 1 if any failed.

    names: file names, with or without .ipynb, or numbers ("01", "1").
    parameters: go to each notebook that has a parameter of that name. timeout: seconds for one cell.
    output: where the executed copies and the logs go; None means ``paths.runs() / "notebooks"``.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.table import Column, Table

    console = Console()
    notebooks = select(names)
    if not notebooks:
        console.print(f"There is no notebook in {paths.notebooks()}: nothing to run.", highlight=False)
        return 0
    accepted = _share_out(notebooks, parameters or {})
    output = output or paths.runs() / "notebooks"
    output.mkdir(parents=True, exist_ok=True)
    table = Table("notebook", "status", "seconds", Column("where", overflow="fold"))
    failed = 0
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        for notebook in notebooks:
            bar = progress.add_task(notebook.stem, total=None)
            start = time.monotonic()
            error = _execute(
                notebook,
                output,
                accepted[notebook],
                timeout,
                lambda done, cells, bar=bar: progress.update(bar, completed=done, total=cells),
            )
            where = output / (notebook.name if error is None else f"{notebook.stem}.log")
            status = "[green]ok" if error is None else "[red]failed"
            table.add_row(notebook.stem, status, f"{time.monotonic() - start:.1f}", _short(where))
            if error is not None:
                failed += 1
                progress.console.print(f"{notebook.stem}: {error}", markup=False, highlight=False)
    console.print(table)
    console.print(f"Results: {_short(output)}", highlight=False)
    return 1 if failed else 0


def select(names: Sequence[str] = ()) -> list[Path]:
    """The notebooks of these names or numbers, in order; all for no name. InputError names the choices."""
    found = sorted(paths.notebooks().glob("[0-9][0-9]-*.ipynb"))
    chosen = set()
    for name in names:
        stem = Path(name).name.removesuffix(".ipynb")
        number = f"{stem.zfill(2)}-" if stem.isdigit() else None
        match = [p for p in found if p.stem == stem or (number and p.stem.startswith(number))]
        if not match:
            choices = ", ".join(p.stem for p in found) or f"{paths.notebooks()} holds none"
            raise InputError(f"there is no notebook {name!r}; choose from: {choices}")
        chosen.update(match)
    return [p for p in found if p in chosen or not names]


def _share_out(notebooks: list[Path], parameters: dict[str, object]) -> dict[Path, dict[str, object]]:
    """Which parameters each notebook gets. One that none of them has is an InputError."""
    _papermill()
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


def _execute(notebook: Path, output: Path, parameters: dict[str, object], timeout: int,
             tick: Callable[[int, int], object]) -> str | None:  # fmt: skip
    """Run one notebook; None, or in one line what went wrong. tick is told (cells done, cells)."""
    papermill = _papermill()
    cells = len(_read(notebook).cells) + bool(parameters)
    with open(output / f"{notebook.stem}.log", "w", encoding="utf-8") as log:
        try:
            papermill.execute_notebook(
                str(notebook),
                str(output / notebook.name),
                parameters,
                kernel_name="python3",
                language="python",
                kernel_manager_class=_kernel_manager(log),
                execution_timeout=timeout,
                progress_bar=False,
                stdout_file=log,
                stderr_file=log,
                on_cell_complete=lambda cell, cell_index: tick(cell_index + 1, cells),
            )
        except Exception as error:  # noqa: BLE001 - whatever one notebook does, the others still run
            text = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip()  # a traceback comes in colours
            log.write(f"\n{type(error).__name__}: {text}\n")
            if isinstance(error, papermill.PapermillExecutionError):
                text = f"In [{error.exec_count}]: {error.ename}: {error.evalue}"
            return text.partition("\n")[0] or type(error).__name__
    return None


def _kernel_manager(log):
    """A kernel manager class whose one kernel is this Python, in the notebooks' folder.

    A kernelspec found by its name may belong to any Python that the user once installed a kernel for, and
    papermill's own ``cwd`` would change the folder of the whole process. What the kernel writes past IPython
    (TensorFlow's C++, a crash) goes to log.
    """
    from ipykernel.kernelspec import RESOURCES, get_kernel_dict
    from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager

    class ThisPython(KernelSpecManager):
        def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
            return KernelSpec(resource_dir=RESOURCES, **get_kernel_dict())

    class Manager(AsyncKernelManager):
        def __init__(self, **options) -> None:
            super().__init__(kernel_spec_manager=ThisPython(), **options)

        async def start_kernel(self, **options) -> None:
            await super().start_kernel(cwd=str(paths.notebooks()), stdout=log, stderr=log, **options)

    return Manager


def refresh(names: Sequence[str] = ()) -> None:
    """Execute notebooks in place, as they are committed: on the drawn faces, whatever data is here."""
    _papermill()
    import nbformat
    from nbclient import NotebookClient

    for path in select(names):
        notebook = _read(path)
        cells = _tagged(notebook)
        sources = [cell.source for cell in cells]
        for cell in cells:
            cell.source = on_drawn_faces(cell.source)
        client = NotebookClient(
            notebook,
            kernel_manager_class=_kernel_manager(subprocess.DEVNULL),
            kernel_name="python3",
            timeout=TIMEOUT,
            record_timing=False,  # else each refresh changes the file
        )
        client.execute()
        for cell, source in zip(cells, sources, strict=True):
            cell.source = source
        with paths.atomic_write(path) as temporary:
            nbformat.write(notebook, temporary)
        print(f"{path.name}: executed")


def on_drawn_faces(parameters: str) -> str:
    """The source of a parameters cell, with its ``dataset`` (if it has one) set to the drawn faces."""
    return parameters + ('\ndataset = "toy"' if re.search(r"^dataset\b", parameters, re.M) else "")


def _papermill():
    try:
        import papermill
    except ImportError as error:
        raise InputError(f"{error.name} is not installed: run `pip install 'facelib[notebooks]'`") from None
    return papermill


def _read(path: Path):
    import nbformat

    try:
        return nbformat.read(path, as_version=4)
    except (OSError, ValueError, nbformat.ValidationError) as error:
        raise InputError(f"{path} is not a notebook that can be read: {str(error).splitlines()[0]}") from None


def _tagged(notebook) -> list:
    """The parameters cell, in a list; an empty one where a notebook has none."""
    return [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]


def _short(path: Path) -> str:
    """Relative to the working directory where that is shorter to read."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


if __name__ == "__main__":
    refresh(sys.argv[1:])
