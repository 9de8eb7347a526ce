"""plots: annotated pictures in which one can read, figures that are the same bytes each time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import skimage.data
from matplotlib.figure import Figure
from PIL import Image

from facelib.emotions import COLOURS, EMOTIONS
from facelib.reporting import plots
from facelib.vision.encoder import Face

ASTRONAUT = skimage.data.astronaut()
BOX = (176, 65, 98, 98)


def face(box=BOX, emotion: str | None = "happy", gender: str | None = "woman", eyes=None) -> Face:
    emotions = {name: 0.7 if name == emotion else 0.05 for name in EMOTIONS} if emotion else {}
    genders = {"woman": 0.9, "man": 0.1} if gender else {}
    return Face(box, eyes, 0.9, emotion, emotions, gender, genders)


def changed(before: np.ndarray, after: np.ndarray) -> tuple[int, int, int, int]:
    """The box (left, top, right, bottom) around the pixels that differ."""
    y, x = np.nonzero((before != after).any(2))
    return x.min(), y.min(), x.max() + 1, y.max() + 1


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_a_face_is_marked_in_its_emotion_s_colour(emotion):
    before = ASTRONAUT.copy()
    drawn = plots.annotate(ASTRONAUT, [face(emotion=emotion)])
    np.testing.assert_array_equal(ASTRONAUT, before)  # a new picture, the old one is untouched
    assert drawn.shape == ASTRONAUT.shape and drawn.dtype == np.uint8
    colour = plots.legible(COLOURS[EMOTIONS.index(emotion)])
    colour = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    x, y, w, h = BOX
    for cx, cy in ((x, y), (x + w, y), (x, y + h), (x + w, y + h)):  # at all four corners
        assert (drawn[cy - 3 : cy + 4, cx - 3 : cx + 4] == colour).all(2).any()
    np.testing.assert_array_equal(drawn[85:145, 195:255], ASTRONAUT[85:145, 195:255])  # the face stays free
    left, top, right, bottom = changed(ASTRONAUT, drawn)
    assert left > x - 60 and right < x + w + 60 and top > y - 60 and bottom < y + h + 80


def test_eyes_are_marked():
    eyes = ((201.7, 100.5), (247.5, 103.0))
    with_eyes, without = (plots.annotate(ASTRONAUT, [face(eyes=e)]) for e in (eyes, None))
    left, top, right, bottom = changed(without, with_eyes)
    assert 195 <= left <= 201 and 248 <= right <= 255 and 94 <= top and bottom <= 110


@pytest.mark.parametrize("corner", [(0, 0), (414, 0), (0, 414), (414, 414)])
def test_labels_stay_in_the_picture(corner):
    """A label in a corner is as large as one in the middle: nothing of it is cut off."""
    sizes = []
    for x, y in ((200, 150), corner):
        black = np.zeros((512, 512, 3), np.uint8)
        sizes.append((plots.annotate(black, [face((x, y, 98, 98))]) == 255).all(2).sum())  # white letters
    assert sizes[0] > 100 and abs(sizes[1] - sizes[0]) < 20


def test_labels_never_cover_another_face():
    """Nine faces that touch: what their words change lies outside all other boxes; each has its corners."""
    black = np.zeros((420, 420, 3), np.uint8)
    faces = [face((60 + 100 * i, 60 + 100 * j, 100, 100)) for j in range(3) for i in range(3)]
    mute = [replace(each, emotion=None, gender=None, emotions={}, genders={}) for each in faces]
    corners = plots.annotate(black, mute)
    for i, each in enumerate(faces):
        changed = (plots.annotate(black, [*mute[:i], each, *mute[i + 1 :]]) != corners).any(2)
        for j, (x, y, w, h) in enumerate(other.box for other in faces):
            inside = changed[y + 5 : y + h - 5, x + 5 : x + w - 5]
            assert i == j or not inside[30:, 30:70].any()
    assert all(corners[y : y + 4, x : x + 20].any() for x, y, _, _ in (each.box for each in faces))


def test_labels_do_not_cover_each_other():
    boxes = [(60 + 110 * i, 100, 90, 90) for i in range(4)]
    together = plots.annotate(ASTRONAUT, [face(box) for box in boxes])
    alone = [(plots.annotate(ASTRONAUT, [face(box)]) != ASTRONAUT).any(2) for box in boxes]
    marked = (together != ASTRONAUT).any(2)
    assert marked.sum() >= 0.8 * sum(mask.sum() for mask in alone)


@pytest.mark.parametrize("shape", [(1, 1), (1, 2000), (2000, 1), (20, 20), (48, 48)])
def test_tiny_pictures(shape):
    drawn = plots.annotate(np.zeros((*shape, 3), np.uint8), [face((0, 0, shape[1], shape[0]))])
    assert drawn.shape == (*shape, 3)


def test_save_figure_writes_the_same_bytes_twice(home):
    written = []
    for _ in range(2):
        figure = Figure(figsize=(2, 1))
        figure.subplots().plot([0, 1], [0, 1], label="a line")
        assert plots.save_figure(figure, "07-lines", weights="0123456789abcdef") is figure
        path = home / "runs" / "figures" / "07-lines.png"
        written.append(path.read_bytes())
    assert written[0] == written[1]
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    with Image.open(path) as picture:
        assert picture.width > 100 and picture.info["weights"] == "0123456789abcdef"


@pytest.mark.parametrize("vertical", [False, True])
def test_intervals_lie_behind_their_dots(vertical):
    axis = Figure().subplots()
    plots.interval_plot(axis, [0, 1], [0.5, 0.7], [(0.4, 0.6), (0.6, 0.9)], "#0072b2", vertical=vertical)
    lines, marks = axis.collections
    places, values = (0, 1) if vertical else (1, 0)
    assert [segment[:, values].tolist() for segment in lines.get_segments()] == [[0.4, 0.6], [0.6, 0.9]]
    assert marks.get_offsets()[:, values].tolist() == [0.5, 0.7]
    assert marks.get_offsets()[:, places].tolist() == [0, 1]
