"""``python -m facelib.batch.french [NN …]``: bring notebooks/fr up to date with the English notebooks.

A French notebook has the cells of the English one, with the same ids: code is copied, Markdown is translated
by hand in notebooks/fr. Each translated cell's metadata holds the digests of both texts, so that it shows
which English texts have changed since.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

import nbformat

from facelib import paths
from facelib.batch import runner


def digest(text: str) -> str:
    """Of a cell's text without its badges, which ``book/badges.py`` puts below the title."""
    return runner.sha(re.sub(r"^\[!\[.*\n*", "", text, flags=re.M).strip())


def renew(path: Path) -> list[str]:
    """Write the French notebook of an English one; ids of the cells whose French is missing or out of date.

    Outputs stay where the code is the same. A cell that has no French gets the English text. One counts as
    translated as soon as its French text has changed, and until its English text does.
    """
    notebook = nbformat.read(path, as_version=4)
    target = path.parent / "fr" / path.name
    known = {c.id: c for c in nbformat.read(target, as_version=4).cells} if target.is_file() else {}
    open_ones = []
    for cell in notebook.cells:
        old, source = known.get(cell.id, cell), cell.source
        if cell.cell_type == "code":
            if old.source == source:
                cell.outputs = old.outputs
            continue
        cell.source = old.source
        was = old.metadata.get("translation", {"english": "", "french": digest(source)})
        changed = digest(cell.source) != was["french"]
        of = digest(source) if changed else was["english"]
        cell.metadata["translation"] = {"english": of, "french": digest(cell.source)}
        if of != digest(source):
            open_ones.append(cell.id)
    target.parent.mkdir(exist_ok=True)
    with paths.atomic_write(target) as temporary:
        nbformat.write(notebook, temporary)
    return open_ones


def main(names: Sequence[str]) -> int:
    """Of these notebooks, or all; 0, or 1 if some cell needs a translator."""
    left = {path.name: renew(path) for path in runner.select(names)}
    for name, cells in left.items():
        print(f"fr/{name}: " + (f"to be translated: {', '.join(cells)}" if cells else "up to date"))
    return int(any(left.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
