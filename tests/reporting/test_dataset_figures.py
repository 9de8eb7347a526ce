"""What the figures of the audit show: the right classes, numbers and labels, and no crash on odd sets."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import numpy as np
import pytest

from facelib.cli import app, study
from facelib.data.synthetic_faces import load_toyfaces
from facelib.emotions import EMOTIONS
from facelib.reporting import dataset_figures
from facelib.study.dataset_audit import audit, record
from facelib.study.metrics import read_metrics
from helpers import drawn, texts

FEAR = EMOTIONS.index("fear")


@pytest.fixture(scope="module")
def data():
    return load_toyfaces(1000, seed=0)


@pytest.fixture(scope="module")
def found(data):
    return audit(data, n_bootstrap=100)


@pytest.fixture(scope="module")
def sets(found):
    return {"drawn": found.to_metrics(), "FER-2013": read_metrics("02-audit-fer2013")["metrics"]}


@pytest.mark.parametrize(
    "figure, words",
    [
        (dataset_figures.class_counts, {*EMOTIONS, "drawn", "FER-2013", " 5,121 · 14.3%", "×16.4"}),
        (dataset_figures.label_to_answer, {*EMOTIONS, "FER-2013: 64% agree", "15 787"}),
        (dataset_figures.leaks, {"FER-2013 PublicTest", "288", "280", " 12.8% of 3,589"}),
        (
            lambda sets: dataset_figures.label_flow(sets["FER-2013"], "FER-2013"),
            {"fear  5,103", "fear  1,036", "32% of fear", "15% of fear"},
        ),
        (lambda sets: dataset_figures.twins(sets["FER-2013"], "FER-2013"), {*EMOTIONS, "  190 of 600"}),
    ],
    ids=["counts", "heat map", "leaks", "flow", "twins"],
)
def test_figures_say_what_the_audit_found(sets, figure, words):
    assert words <= set(texts(drawn(figure(sets))))


def test_the_flow_keeps_every_picture(sets):
    (axis,) = drawn(dataset_figures.label_flow(sets["FER-2013"], "FER-2013", highlight="happy")).axes
    heights = [patch.get_height() for patch in axis.patches if hasattr(patch, "get_height")]
    assert sum(heights) == 2 * np.sum(sets["FER-2013"]["agreement"]["matrix"])
    assert "labelled happy" in axis.get_title(loc="left")


def test_a_set_without_leaks_can_be_drawn(sets):
    without = copy.deepcopy(sets["drawn"])
    for split in without["also_in_training"].values():
        split.update(leaked=0, near_leaked=0)
    drawn(dataset_figures.leaks({"clean": without}))


def test_mean_faces_and_what_sets_them_apart():
    labels = np.array([0, 0, 1, 5])
    images = np.stack([np.full((8, 8), gray, np.uint8) for gray in (10, 30, 50, 80)])
    images[3, :4] += 60  # surprise is brighter above
    figure = drawn(dataset_figures.mean_faces(images, labels))
    shown = {axis.get_title(): axis.images[0].get_array() for axis in figure.axes[:7] if axis.images}
    assert {name: mean[7, 0] for name, mean in shown.items()} == {"angry": 20, "disgust": 50, "surprise": 80}
    apart = [axis.images[0].get_array() for axis in figure.axes[7:14] if axis.images]
    assert np.allclose([each[0, 0] for each in apart], [-10, -10, 20])  # 30 above, of which a third is common
    assert np.allclose([each.mean() for each in apart], 0)
    assert figure.axes[7].get_xlabel() == "2\npictures"


def test_the_plane_puts_disgust_right_and_fear_up(sets):
    figure = drawn(dataset_figures.rare_noisy(sets))
    for axis, found in zip(figure.axes, sets.values()):
        points = axis.collections[-1].get_offsets()
        assert points[:, 0].argmax() == EMOTIONS.index("disgust") and points[:, 1].argmax() == FEAR
        limit = axis.lines[1].get_ydata()[0]
        above = [e for e, (_, missed) in zip(EMOTIONS, points) if missed > limit]
        right = [e for e, (rarity, _) in zip(EMOTIONS, points) if rarity > 2]
        for verdict, where in (("noisy", above), ("rare", right)):  # what is drawn is what the audit says
            assert where == [e for e in EMOTIONS if found["classes"][e][verdict]]
        assert set(EMOTIONS) | {"rare", "noisy"} <= set(texts(axis))


def test_every_reader_has_a_mark_for_every_class(sets):
    network = {"recall": dict.fromkeys(EMOTIONS, 0.5)}
    figure = drawn(dataset_figures.best_recall(sets, {"FER-2013": ("a network", network)}))
    (legend,) = figure.legends
    assert texts(legend.get_texts()) == ["annotator", "majority", "informed", "balanced", "a network"]
    assert texts(figure.axes[0].get_yticklabels()) == list(EMOTIONS)
    balanced = sets["FER-2013"]["best_recall"]["balanced"]["fear"]["recall"]
    places = [points.get_offsets() for points in figure.axes[1].collections]
    marks = [place[FEAR, 0] for place in places if len(place) == 7]
    assert np.isclose(marks, balanced).any() and np.isclose(marks, 0.5).any()


def test_the_page_of_text():
    page = dataset_figures.describe(read_metrics("02-audit-fer2013")).splitlines()
    fear, disgust, happy = (next(x for x in page if x.startswith(e)) for e in ("fear", "disgust", "happy"))
    assert fear.split()[:5] == ["fear", "5,121", "14.3%", "x", "1.8"] and fear.endswith("noisy")
    assert disgust.endswith("rare") and happy.endswith("]")
    assert any("PrivateTest: 288 of 3,589 (8.0%)" in line for line in page)
    assert max(map(len, page)) <= 120


def test_a_page_without_votes_says_what_is_missing(data, home):
    names = ("train", "public_test", "private_test")
    silent = {name: replace(getattr(data, name), votes=None) for name in names}
    page = dataset_figures.describe(json.loads(record(replace(data, **silent, extra={})).read_text()))
    assert "no FER+ votes" in page and "noisy" not in page and "best recall" not in page
    assert next(line for line in page.splitlines() if line.startswith("disgust")).endswith("rare")


def test_the_command_prints_the_page_or_the_file(data, home, monkeypatch, capsys):
    monkeypatch.setattr(study, "load_data", lambda dataset: data)
    monkeypatch.setattr("facelib.study.dataset_audit.audit.__defaults__", (20, 0))
    assert app.main(["audit", "--dataset", "toy"]) == 0
    page = capsys.readouterr().out
    assert "1,000 pictures" in page and "Compared with the truth" in page
    assert app.main(["audit", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == read_metrics("02-audit-toy")
    assert record(data).is_file()
