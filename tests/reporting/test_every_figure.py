"""What holds of every figure: letters that are read at the size of a page, and French that is whole."""

from __future__ import annotations

import pytest
from matplotlib.colors import to_rgb
from matplotlib.text import Text

from every_figure import EVERY
from facelib import language
from facelib.emotions import COLOURS
from facelib.reporting import plots, result_figures
from helpers import drawn


def written(figure) -> list[Text]:
    """The texts of a figure that are seen."""
    unused = {id(text) for axes in figure.axes if not axes.axison for axis in (axes.xaxis, axes.yaxis)
              for text in (*axis.get_ticklabels(which="both"), axis.label, axis.offsetText)}  # fmt: skip
    found = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    return [text for text in found if id(text) not in unused]


@pytest.mark.parametrize("name", EVERY)
def test_letters_are_large_and_dark_and_every_word_has_its_french(name):
    figure = drawn(EVERY[name]())
    assert figure.get_figwidth() <= plots.WIDTH
    for text in written(figure):
        words = text.get_text()
        assert text.get_fontsize() >= plots.SMALL, words
        on = "black" if to_rgb(text.get_color()) == (1, 1, 1) else "white"  # white letters: see ``ink_on``
        assert plots.contrast(text.get_color(), on) >= 4.5, words
        assert "$" in words or language.translate(words) is not None, f"{words!r} has no line in french.txt"


@pytest.mark.parametrize("name", EVERY)
def test_no_word_covers_another_in_french(name):
    figure = drawn(EVERY[name](lang="fr") if name == "drawn_faces" else french(EVERY[name]))
    boxes = [(text.get_text(), Text.get_window_extent(text)) for text in written(figure)]
    boxes = [(words, box) for words, box in boxes if box.width and box.height]
    for i, (words, box) in enumerate(boxes):
        for others, other in boxes[:i]:
            wide = min(box.x1, other.x1) - max(box.x0, other.x0)
            high = min(box.y1, other.y1) - max(box.y0, other.y0)
            assert wide <= 2 or high <= 4, f"{words!r} covers {others!r}"


def french(make):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACELIB_LANG", "fr")
        return make()
