"""Figures of codecs and generated faces show what they were given."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import to_hex

from facelib.emotions import COLOURS, EMOTIONS
from facelib.reporting import generator_figures, plots
from facelib.study.metrics import read_metrics
from helpers import texts

RNG = np.random.default_rng(0)


def titles(figure) -> list[str]:
    return [axis.get_title("left") or axis.get_title() for axis in figure.axes]


def test_a_row_of_faces_for_each_name_and_emotions_in_their_colours():
    strip = np.full((3, 48, 48), 90, np.uint8)
    figure = generator_figures.faces({"fear": strip, "4 codes": strip[:2]}, enlarge=2, gap=4)
    names = [axis.get_ylabel() for axis in figure.axes]
    assert names == ["fear", "4 codes"]
    assert figure.axes[0].yaxis.label.get_color() == plots.legible(COLOURS[EMOTIONS.index("fear")])
    shown = [axis.images[0].get_array() for axis in figure.axes]
    assert [image.shape for image in shown] == [(100, 300), (100, 200)]
    assert (shown[0][:96, :96] == 90).all() and (shown[0][96:] == 255).all()


def test_codes_in_the_plane_are_alive_or_dead():
    points = np.array([[0.0, 0.0], [1.0, 1.0], [1.1, 1.0]])
    book = np.array([[0.0, 0.1], [1.0, 1.1], [9.0, 9.0]])
    figure = generator_figures.plane(points, {"one": book, "two": book[:2]})
    assert titles(figure) == ["one", "two"]
    assert [axis.get_xlabel() for axis in figure.axes] == ["2 of 3 codes in use", "2 of 2 codes in use"]
    _, alive, dead = figure.axes[0].collections
    assert len(alive.get_offsets()) == 2 and dead.get_offsets().tolist() == [[9, 9]]


def test_places_that_change_take_the_emotions_colour():
    share = np.zeros((6, 6))
    share[4, 2] = 1.0
    figure = generator_figures.positions({"happy": (np.full((48, 48), 255, np.uint8), share)})
    (axis,) = figure.axes
    picture = axis.images[0].get_array()
    assert picture.shape == (48, 48, 3) and (picture[0, 0] == 1).all()
    happy = COLOURS[EMOTIONS.index("happy")]
    full = (picture[36, 20] - 0.25) / 0.75
    assert to_hex(full) == happy.lower() and axis.get_title() == "happy"


def test_agreement_shows_rows_with_their_intervals():
    record = read_metrics("08-generator-fer2013")
    figure = generator_figures.agreement(record)
    (axis,), found = figure.axes, record["metrics"]["agreement"]["best"]
    assert texts(axis.get_yticklabels()) == [*EMOTIONS, "mean"]
    assert f"best of {record['metrics']['best_of']}" in texts(figure.legends[0])
    shown = axis.collections[5].get_offsets()[:, 0]  # lines and dots of each row
    assert np.allclose(shown, [*(found["recall"][e] for e in EMOTIONS), found["balanced_accuracy"]])
