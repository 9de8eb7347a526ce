"""`make lab`: a copy of the notebooks to work in, so that running them changes no file that git follows.

The copy lies in ``runs/lab`` and stays from one start to the next. What is new in the notebooks arrives at
each start, except in those whose cells you have changed: these are yours, and are named.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from facelib import paths
from facelib.batch import runner
from facelib.errors import InputError

RECORD = ".copied.json"  # in the copy: notebook -> the digest of its cells when it was copied
#: Nothing is looked up on the network at a start: neither news nor a newer version.
QUIET = ["--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]


def copy_notebooks(folder: Path) -> list[str]:
    """Bring the copy of the notebooks in ``folder`` up to date; return those that are left as they are,
    because they were changed there and in the original too.

    A notebook counts as changed when its cells are; outputs do not count, and what was only run is not kept
    once its original has other cells. A notebook that was deleted from the copy comes back.
    """
    copied, left = paths.read_json(folder / RECORD), []
    for source in sorted(paths.notebooks().glob("**/[0-9][0-9]-*.ipynb")):
        name = source.relative_to(paths.notebooks()).as_posix()
        copy, now = folder / name, _digest(source)
        if copy.exists() and now == copied.get(name):
            continue  # nothing new
        if copy.exists() and _changed(copy, copied.get(name), now):
            left.append(name)
            continue
        with paths.atomic_write(copy) as temporary:
            temporary.write_bytes(source.read_bytes())
        copied[name] = now
    paths.write_json(folder / RECORD, copied)
    return left


def _changed(copy: Path, *known: str | None) -> bool:
    try:
        return _digest(copy) not in known
    except InputError:  # half a notebook is the user's too
        return True


def _digest(notebook: Path) -> str:
    return runner.identity(notebook, {})["notebook"]


def main(arguments: list[str]) -> None:
    """Bring the copy up to date and become JupyterLab, which gets the arguments."""
    folder = paths.runs() / "lab"
    try:
        runner.select()  # are there notebooks?
        left = copy_notebooks(folder)
    except InputError as error:
        sys.exit(f"facelib: {error}")
    for name in left:
        copy = runner.short(folder / name)
        print(f"{copy}: you changed it, and there is a newer one; rename yours to get that", file=sys.stderr)
    command = [sys.executable, "-m", "jupyterlab", str(folder), *QUIET, *arguments]
    os.execv(sys.executable, command)


if __name__ == "__main__":
    main(sys.argv[1:])
