"""The French notebooks: the English ones' cells, with every text translated and none out of date."""

from __future__ import annotations

import re

import nbformat
import pytest

from facelib.batch import french
from facelib.paths import CHECKOUT

FRENCH = sorted((CHECKOUT / "notebooks" / "fr").glob("*.ipynb")) if CHECKOUT else []
WORDS = {
    "english": re.compile(r"\b(the|of|and|is|are|to|which|with|has|what)\b", re.I),
    "french": re.compile(r"\b(le|la|les|des?|et|est|une?|du|sont|que|qui|dans|pour|[ldnsc]’)", re.I),
}


def test_there_are_some():
    assert FRENCH


@pytest.mark.parametrize("path", FRENCH, ids=lambda path: path.stem)
def test_it_is_the_english_one_translated(path):
    english = nbformat.read(path.parent.parent / path.name, as_version=4).cells
    translated = nbformat.read(path, as_version=4).cells
    assert [cell.id for cell in translated] == [cell.id for cell in english]
    for cell, of in zip(translated, english, strict=True):
        assert cell.cell_type == of.cell_type
        assert cell.metadata.get("tags") == of.metadata.get("tags"), cell.id
        if cell.cell_type == "code":
            assert cell.source == of.source, f"{cell.id}: run python -m facelib.batch.french {path.stem[:2]}"
            continue
        made = cell.metadata["translation"]
        assert made["english"] == french.digest(of.source), f"{cell.id}: the English text has changed since"
        foreign, own = (len(words.findall(cell.source)) for words in WORDS.values())
        assert cell.source != of.source and own > 3 * foreign, f"{cell.id} is English"


@pytest.mark.parametrize("path", FRENCH, ids=lambda path: path.stem)
def test_its_links_lead_somewhere_and_its_spaces_are_french(path):
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type != "markdown":
            continue
        for link in re.findall(r"\]\(([^)\s]+)\)", cell.source):
            if "://" not in link:
                assert (path.parent / link.partition("#")[0]).is_file(), f"{cell.id}: {link}"
        prose = re.sub(r"```.*?```|`[^`]*`|\$\$.*?\$\$|\$[^$]*\$|\]\([^)]*\)", "", cell.source, flags=re.S)
        assert not re.findall(r".* [;:?!%»].*|.*« .*|.*\w[;?!%»].*|.*\d\.\d+ %.*|.*\w'\w.*", prose), cell.id


def test_what_has_changed_is_named(tmp_path):
    def write(text, code="1"):
        cells = [nbformat.v4.new_markdown_cell(text, id="a"), nbformat.v4.new_code_cell(code, id="b")]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), path)

    def translate(text):
        notebook = nbformat.read(target, as_version=4)
        notebook.cells[0].source = text
        nbformat.write(notebook, target)

    path, target = tmp_path / "01-a.ipynb", tmp_path / "fr" / "01-a.ipynb"
    write("# One")
    assert french.renew(path) == french.renew(path) == ["a"]  # it holds the English text
    translate("# Un")
    assert french.renew(path) == french.renew(path) == []
    write("# One\n\n[![Open in Colab](x)](y)", "2")  # badges do not count; code follows
    assert french.renew(path) == []
    write("# Two", "2")
    assert french.renew(path) == french.renew(path) == ["a"]
    translate("# Deux")
    assert french.renew(path) == []
    found = nbformat.read(target, as_version=4).cells
    assert [cell.source for cell in found] == ["# Deux", "2"]
