"""What holds of every figure: letters that are read at the size of a page, and French that is whole."""

from __future__ import annotations

import pytest
from matplotlib.colors import to_rgb
from matplotlib.text import Text

from every_figure import EVERY, networks
from facelib import language
from facelib.emotions import COLOURS
from facelib.reporting import plots, result_figures
from helpers import drawn


def written(figure) -> list[Text]:
    """The texts of a figure that are seen."""
    unseen = set()
    for axis in [axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)]:
        low, high = sorted(axis.get_view_interval())
        for tick in axis.get_major_ticks():  # matplotlib makes some that lie outside
            if not axis.axes.axison or not low <= tick.get_loc() <= high:
                unseen |= {id(tick.label1), id(tick.label2)}
        unseen |= set() if axis.axes.axison else {id(axis.label), id(axis.offsetText)}
    found = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    return [text for text in found if id(text) not in unseen]


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
def test_no_word_covers_another_in_french(name, monkeypatch):
    monkeypatch.setenv("FACELIB_LANG", "fr")
    figure = drawn(EVERY[name]())
    boxes = [
        (text.get_text(), Text.get_window_extent(text)) for text in written(figure) if not text.get_rotation()
    ]
    for i, (words, box) in enumerate(boxes):
        for others, other in boxes[:i]:
            wide = min(box.x1, other.x1) - max(box.x0, other.x0)
            high = min(box.y1, other.y1) - max(box.y0, other.y0)
            assert wide <= 2 or high <= 4, f"{words!r} covers {others!r}"
        assert -5 <= box.x0 and box.x1 <= figure.bbox.width + 5, f"{words!r} leaves the figure"


@pytest.mark.parametrize(
    "colour", [*COLOURS, *(each for _, each in result_figures.NETWORKS.values()), plots.THEIRS]
)
def test_colours_keep_their_hue_and_become_legible(colour):
    assert plots.contrast(plots.legible(colour), "white") >= 4.5
    assert plots.contrast(plots.ink_on(colour), colour) >= 4.5
    assert plots.legible("#333333") == "#333333"


def test_contrast_is_that_of_wcag():
    assert plots.contrast("white", "black") == pytest.approx(21) and plots.contrast("#777777", "white") < 4.5
    assert plots.contrast("#767676", "white") >= 4.5  # the best-known limit


def test_figures_speak_french(monkeypatch):
    figure = drawn(EVERY["methods"]())
    assert figure.axes[0].get_title("left") == "accuracy"
    assert drawn(result_figures.recalls(networks(), lang="fr")).axes[0].get_ylabel() == "rappel"
    monkeypatch.setenv("FACELIB_LANG", "fr")
    assert (
        drawn(result_figures.recalls(networks(), lang="en")).axes[0].get_ylabel() == "recall"
    )  # what is asked for wins
    figure = drawn(drawn(plots.small_multiples(["recall of fear"], 3, 2, percents="y")[0]))  # drawn twice
    (axis,) = figure.axes
    axis.set(xticks=[0.125], ylim=(0, 0.125), yticks=[0.125], xlabel="71.5% of fear")
    drawn(drawn(figure))
    assert axis.get_title("left") == "rappel, peur" and axis.get_xlabel() == "71,5\u00a0% de peur"
    assert [axis.get_xticklabels()[0].get_text(), axis.get_yticklabels()[0].get_text()] == [
        "0,125",
        "12,5\u00a0%",
    ]
