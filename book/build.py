"""The website: ``python book/build.py`` writes runs/book/html from what is committed, in both languages.

The pages are the notebooks with their outputs (nothing is executed), the README, the glossary, the public
interface and the weekly reports. They are laid out in runs/book/LANGUAGE first, so that a page has a short
address and its translation the same one; links between files of the repository become links between pages,
or lead to the repository. A warning of Sphinx is an error.
"""

from __future__ import annotations

import argparse
import os
import posixpath
import re
import shutil
import subprocess
import sys
import tomllib
import unicodedata
from collections.abc import Collection
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[1]
BOOK = ROOT / "book"
BRANCH = "main"
#: Language -> the folder of its notebooks, whose subfolder solutions/ goes with them.
LANGUAGES = {"en": "notebooks", "fr": "notebooks/fr"}
FRONT = {"en": "README.md", "fr": "book/fr/index.md"}
HEADINGS = {
    "en": {"notebooks": "Notebooks", "solutions": "Solutions", "more": "Reference"},
    "fr": {"notebooks": "Carnets", "solutions": "Corrigés", "more": "Références"},
}
#: The id of the cell that installs facelib where it is missing; a page does not show it.
SETUP = "setup"
#: What facelib.record() leaves in a notebook for programs, beside the text for people.
RECORD = "application/x-facelib+json"
#: A Markdown link or image with a target that is no address: what stands before, the file, its #part.
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\]\([^)]*\))*)\]\((?!\w+:)([^)\s#]+)(#[^)\s]*)?\)")
#: Badges open a page's source elsewhere; here the launch buttons do, and no picture comes from another host.
BADGE = re.compile(r"^\[!\[[^\]]*\]\(https://[^)]*badge[^)]*\)\]\([^)]*\).*\n?", re.M)


def repository() -> str:
    """The address of the repository: of the one whose workflow runs, else the one in pyproject.toml."""
    if os.environ.get("GITHUB_REPOSITORY"):
        return f"https://github.com/{os.environ['GITHUB_REPOSITORY']}"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project["urls"]["Repository"]


def sources(language: str, only: Collection[str] = ()) -> dict[str, str]:
    """Every page of a language: its file in the repository -> its name; only notebooks of these numbers."""
    folder = LANGUAGES[language]
    found = {FRONT[language]: "index", "book/glossary.md": "glossary", "book/api.md": "api"}
    for inner in ("", "solutions"):
        for path in sorted((ROOT / folder / inner).glob("[0-9][0-9]-*.ipynb")):
            if not only or path.stem[:2] in only:
                found[path.relative_to(ROOT).as_posix()] = posixpath.join(inner, path.stem)
    return found


def relinked(text: str, source: str, pages: dict[str, dict[str, str]], language: str, folder: Path) -> str:
    """Markdown of the file ``source`` with its links, and French spaces, as this language's site needs them.

    pages: language -> its pages, as ``sources`` gives them. A page that is translated is linked to in this
    language, else in the other; other files lead to the repository; pictures are copied into ``folder``.
    """
    own = {page: Path(path).suffix for path, page in pages[language].items()}
    up = "../" * pages[language][source].count("/")

    def link(match: re.Match) -> str:
        image, words, target, part = match[1], LINK.sub(link, match[2]), match[3], match[4] or ""
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        for there, names in pages.items():
            if path in names and names[path] in own:
                return f"[{words}]({up}{names[path]}{own[names[path]]}{part})"
            if path in names:
                return f'<a href="{up}../{there}/{names[path]}.html{part}">{words}</a>'
        if not (ROOT / path).exists():
            raise SystemExit(f"{source}: the link to {target} leads nowhere")
        if image:
            copy = folder / "pictures" / Path(path).name
            copy.parent.mkdir(exist_ok=True)
            shutil.copyfile(ROOT / path, copy)
            return f"![{words}]({up}pictures/{copy.name})"
        kind = "tree" if (ROOT / path).is_dir() else "blob"
        return f"[{words}]({repository()}/{kind}/{BRANCH}/{path}{part})"

    made = LINK.sub(link, BADGE.sub("", text))
    return french_spaces(made) if language == "fr" else made


def french_spaces(text: str) -> str:
    """Markdown with spaces inside « » and before : ; ! ? % that do not break a line; code stays as it is."""
    parts = re.split(r"(```.*?```|`[^`]*`|\$[^$]*\$)", text, flags=re.S)
    for i in range(0, len(parts), 2):
        parts[i] = re.sub(r"(?<=[^\s|]) (?=[;:!?»%](?:[\s.,)*]|$))|(?<=«) ", "\u00a0", parts[i])
    return "".join(parts)


def lay_out(language: str, pages: dict[str, dict[str, str]], folder: Path) -> None:
    """Write the sources of one language's site into ``folder``."""
    for source, page in pages[language].items():
        path = folder / f"{page}{Path(source).suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".ipynb":
            notebook = nbformat.read(ROOT / source, as_version=4)
            notebook.cells = [cell for cell in notebook.cells if cell.id != SETUP]
            for cell in notebook.cells:
                if cell.cell_type == "markdown":
                    cell.source = relinked(cell.source, source, pages, language, folder)
                elif cell.cell_type == "code":
                    for kinds in (output.get("data", {}) for output in cell.outputs):
                        kinds.pop(RECORD, None)
            nbformat.write(notebook, path)
            continue
        text = glossary(language) if page == "glossary" else (ROOT / source).read_text(encoding="utf-8")
        text = re.sub(r"^(#* ?)(.*) \|\| (.*)$", r"\1\2" if language == "en" else r"\1\3", text, flags=re.M)
        path.write_text(relinked(text, source, pages, language, folder), encoding="utf-8")
    (folder / "reports.md").write_text(reports(language), encoding="utf-8")
    with open(folder / "index.md", "a", encoding="utf-8") as index:
        index.write(contents(sorted(pages[language].values()), language))


def contents(pages: list[str], language: str) -> str:
    """The tables of contents that Sphinx makes the side bar of."""
    parts = {
        "notebooks": [page for page in pages if re.match(r"\d\d-", page)],
        "solutions": [page for page in pages if page.startswith("solutions/")],
        "more": ["glossary", "reports", "api"],
    }
    return "".join(
        f"\n```{{toctree}}\n:hidden:\n:caption: {HEADINGS[language][part]}\n\n" + "\n".join(found) + "\n```\n"
        for part, found in parts.items()
        if found
    )


def terms() -> list[list[str]]:
    """The rows of glossary.md: English, French, the meaning in English and in French."""
    lines = (BOOK / "glossary.md").read_text(encoding="utf-8").splitlines()
    rows = [
        [cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines if line.startswith("| ")
    ]
    return rows[2:]  # the heading and the line below it


def glossary(language: str) -> str:
    """The glossary's page: in the language's own order, the other language's word beside each term."""
    own, other, meaning = (0, 1, 2) if language == "en" else (1, 0, 3)
    title, introduction = {
        "en": ("Glossary", "The words of the notebooks, with their French."),
        "fr": ("Glossaire", "Les mots des carnets, avec leur équivalent anglais."),
    }[language]
    entries = sorted(terms(), key=lambda row: sortable(row[own]))
    made = "".join(f"{row[own]}\n  *{row[other]}*. {row[meaning]}\n\n" for row in entries)
    return f"# {title}\n\n{introduction}\n\n:::{{glossary}}\n{made}:::\n"


def sortable(word: str) -> str:
    """A word as dictionaries sort it: without accents, capitals and punctuation."""
    return "".join(c for c in unicodedata.normalize("NFD", word.lower()) if c.isalnum() or c == " ")


def reports(language: str) -> str:
    """The page that leads to the weekly reports, which are pages of their own, printed as PDF too."""
    lines = {
        "en": [
            "# Weekly reports",
            "",
            "What the course group hands in, week after week. The reports are in French.",
        ],
        "fr": ["# Comptes rendus", "", "Ce que le groupe rend, semaine après semaine."],
    }[language]
    for page in sorted((ROOT / "reports").glob("semaine-*/*.html")):
        (title,) = re.findall(r"<title>(.*?)</title>", page.read_text(encoding="utf-8"), re.S)
        place = f"../reports/{page.parent.name}/{page.stem}"
        pdf = f' · <a href="{place}.pdf">PDF</a>' if page.with_suffix(".pdf").is_file() else ""
        lines += ["", f'- <a href="{place}.html">{title.strip()}</a>{pdf}']
    return "\n".join(lines) + "\n"


def build(output: Path, only: list[str]) -> int:
    """Build both languages beside each other; the exit code is 1 if Sphinx had anything to say."""
    shutil.rmtree(output, ignore_errors=True)
    pages = {language: sources(language, only) for language in LANGUAGES}
    for language in LANGUAGES:
        lay_out(language, pages, output / language)
    running = {
        language: subprocess.Popen(
            [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "-c", str(BOOK)]
            + ["-t", language, "-d", str(output / "doctrees" / language)]
            + [str(output / language), str(output / "html" / language)]
        )
        for language in LANGUAGES
    }
    failed = [language for language, process in running.items() if process.wait()]
    html = output / "html"
    shutil.copytree(
        ROOT / "reports",
        html / "reports",
        ignore=lambda _, names: {"metrics", "figures", "authors.yml"} & {*names},
    )
    shutil.copyfile(BOOK / "start.html", html / "index.html")
    (html / ".nojekyll").touch()  # GitHub Pages would leave out folders that begin with _
    if failed:
        print(f"The book has faults ({', '.join(failed)}): see above.", file=sys.stderr)
        return 1
    print(f"The book is in {html / 'index.html'}")
    return 0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("only", nargs="*", metavar="NN", help="only these notebooks (default: all)")
    parser.add_argument("--output", type=Path, default=ROOT / "runs" / "book", help="default: runs/book")
    chosen = parser.parse_args(arguments)
    return build(chosen.output.resolve(), chosen.only)


if __name__ == "__main__":
    sys.exit(main())
