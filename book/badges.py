"""``python book/badges.py [ACCOUNT/NAME]``: what opens the notebooks elsewhere with one click.

Given where the repository is published on GitHub, the address goes into pyproject.toml; without, it is read
from there. Then README.md and each notebook get their badges for Colab and Binder, and each notebook a cell
that installs facelib where it is missing. All is replaced when it is there already, so that a second call
changes nothing. Outputs stay; execution counts become those of a run from top to bottom.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import urllib.parse
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from build import BADGE, BRANCH, ROOT, SETUP

README_NOTEBOOK = "notebooks/01-deepface-pipeline.ipynb"  # what the README's badges open


def badges(repository: str, path: str, lang: str = "en") -> str:
    """Two lines of Markdown: the badges that open a notebook in Colab and in Binder."""
    name = repository.removeprefix("https://github.com/")
    lab = urllib.parse.quote(path, safe="")
    words = {"en": "Open in", "fr": "Ouvrir dans"}[lang]
    return (
        f"[![{words} Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
        f"(https://colab.research.google.com/github/{name}/blob/{BRANCH}/{path})\n"
        f"[![{words} Binder](https://mybinder.org/badge_logo.svg)]"
        f"(https://mybinder.org/v2/gh/{name}/{BRANCH}?labpath={lab})\n"
    )


def with_badges(text: str, made: str) -> str:
    """Markdown with these badges below its title, instead of those that are there."""
    title, _, rest = BADGE.sub("", text).partition("\n")
    return f"{title}\n\n{made}\n{rest.lstrip(chr(10))}"


def setup_cell(repository: str) -> dict:
    """The cell that installs facelib where it is missing, as on Colab; elsewhere it does nothing."""
    source = (
        "import importlib.util\n"
        "\n"
        'if not importlib.util.find_spec("facelib"):  # on Colab, say\n'
        f'    %pip install --quiet "facelib[colab] @ git+{repository}"'
    )
    empty = {"execution_count": None, "metadata": {}, "outputs": []}
    return {"cell_type": "code", "id": SETUP, **empty, "source": source.splitlines(keepends=True)}


def prepare(notebook: dict, repository: str, path: str) -> None:
    """Give a notebook, as JSON, its badges and its first cell."""
    cells = notebook["cells"] = [cell for cell in notebook["cells"] if cell.get("id") != SETUP]
    lang = "fr" if path.startswith("notebooks/fr/") else "en"
    title = with_badges("".join(cells[0]["source"]), badges(repository, path, lang))
    cells[0]["source"] = title.splitlines(keepends=True)
    cells.insert(1, setup_cell(repository))
    count = 0
    for cell in cells:
        if cell["cell_type"] == "code":
            count += 1
            cell["execution_count"] = count
            for output in cell["outputs"]:
                if "execution_count" in output:
                    output["execution_count"] = count


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "name", nargs="?", metavar="ACCOUNT/NAME", help="on GitHub; default: pyproject.toml's"
    )
    name = parser.parse_args(arguments).name
    if name and not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        parser.error(f"{name!r} is no ACCOUNT/NAME")
    project = root / "pyproject.toml"
    text = project.read_text(encoding="utf-8")
    if name:
        text = re.sub(r'^(Repository = )"[^"]*"', rf'\1"https://github.com/{name}"', text, flags=re.M)
        project.write_text(text, encoding="utf-8")
    repository = re.search(r'^Repository = "([^"]*)"', text, re.M)[1]
    readme = root / "README.md"
    made = with_badges(readme.read_text(encoding="utf-8"), badges(repository, README_NOTEBOOK))
    readme.write_text(made, encoding="utf-8")
    for path in sorted((root / "notebooks").glob("**/[0-9][0-9]-*.ipynb")):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        prepare(notebook, repository, path.relative_to(root).as_posix())
        # as nbformat writes
        path.write_text(
            json.dumps(notebook, ensure_ascii=False, indent=1, sort_keys=True) + "\n", encoding="utf-8"
        )
        print(f"{path.name}: badges and first cell for {repository}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
