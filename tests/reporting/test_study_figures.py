"""The study's figures say what the recorded study says: no network is needed."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
from matplotlib.text import Text

from facelib.emotions import EMOTIONS
from facelib.reporting import study_figures
from facelib.study import imbalance_methods
from facelib.study.metrics import read_metrics
from helpers import dots, drawn, texts

DISGUST = EMOTIONS.index("disgust")
FEAR = EMOTIONS.index("fear")


@pytest.fixture(scope="module")
def imbalance():
    return read_metrics("04-imbalance-fer2013")


@pytest.fixture(scope="module")
def two_stage():
    return read_metrics("05-two-stage-fer2013")


def by_title(record) -> dict[str, dict]:
    return {row["title"]: row for row in record["metrics"]["rows"]}


def significant(row, metric: str) -> bool:
    against = row["against_none"]["all"]
    p = against["recall_p_holm"][metric] if metric in EMOTIONS else against[f"{metric}_p_holm"]
    return p < 0.05


def test_methods_have_a_dot_each_filled_where_the_difference_is_significant(imbalance):
    metrics = ("accuracy", "macro_f1", "disgust", "fear", "fear_to_surprise")
    figure, rows = drawn(study_figures.methods(imbalance)), by_title(imbalance)
    titles = texts(figure.axes[0].get_yticklabels())
    assert titles[0] == "nothing" and set(titles) == set(rows) and len(titles) == 17
    filled = 0
    for axis, metric in zip(figure.axes, metrics, strict=True):
        marks = sorted(dots(axis), key=lambda dot: dot[1])
        assert [y for _, y, _ in marks] == list(range(17))
        for title, (x, _, held) in zip(titles, marks):
            found = rows[title]["all"]
            wanted = found["recall"][metric] if metric in EMOTIONS else found[metric]
            assert np.isclose(x, wanted)
            assert held == (title == "nothing" or significant(rows[title], metric))
            filled += held and title != "nothing"
    assert 0 < filled < 80  # both kinds occur, else this would test nothing


def test_methods_are_sorted(imbalance):
    figure = drawn(study_figures.methods(imbalance, ("disgust",), by="disgust"))
    values = [x for x, _, _ in sorted(dots(figure.axes[0]), key=lambda dot: dot[1])]
    assert values[1:] == sorted(values[1:], reverse=True)
    assert len(figure.legends[0].get_texts()) == 5


def test_trade_names_every_point_and_no_name_covers_another(imbalance):
    figure, rows = drawn(study_figures.trade(imbalance)), by_title(imbalance)
    (axis,) = figure.axes
    assert sorted(texts(axis.texts)) == sorted(rows)
    for text in axis.texts:
        row = rows[text.get_text()]
        if row["name"] != "none":
            against = row["against_none"]["all"]
            assert np.allclose(text.xy, [100 * against["accuracy"], 100 * against["balanced_accuracy"]])
    boxes = [Text.get_window_extent(text) for text in axis.texts]  # without the leaders
    assert not any(one.overlaps(two) for i, one in enumerate(boxes) for two in boxes[:i])
    sure = [significant(row, "balanced_accuracy") for row in rows.values() if row["against_none"]]
    assert sum(filled for _, _, filled in dots(axis)) == sum(sure) + 1


def test_recalls_are_points_bold_where_they_are_significant(imbalance):
    figure, rows = drawn(study_figures.recalls(imbalance, ["over", "clean"])), by_title(imbalance)
    axis = figure.axes[0]
    titles = texts(axis.get_yticklabels())
    assert titles == ["random oversampling", "without duplicates"]
    assert texts(axis.get_xticklabels()) == list(EMOTIONS) and len(axis.texts) == 14
    for text in axis.texts:
        x, y = (int(each) for each in text.get_position())
        row = rows[titles[y]]
        value = 100 * row["against_none"]["all"]["recall"][EMOTIONS[x]]
        assert text.get_text() == f"{value:+.1f}".replace("-", "−")
        assert (text.get_weight() == "bold") == significant(row, EMOTIONS[x])
    assert len(drawn(study_figures.recalls(imbalance)).axes[0].texts) == 16 * 7


def test_views_rank_every_arm_in_every_view(imbalance):
    figure, rows = drawn(study_figures.views(imbalance)), imbalance["metrics"]["rows"]
    (axis,) = figure.axes
    assert texts(axis.get_xticklabels()) == list(study_figures.VIEWS.values())
    lines = [line.get_ydata() for line in axis.lines]
    for column, view in enumerate(study_figures.VIEWS):
        order = np.argsort([line[column] for line in lines])
        values = [rows[i][view]["macro_f1"] for i in order]
        assert values == sorted(values, reverse=True)
    assert all(texts(axis.texts).count(row["title"]) == 1 for row in rows)
    strong = {text.get_text() for text in axis.texts if text.get_weight() == "bold"} - {"nothing"}
    assert len(strong & {row["title"] for row in rows}) == 3


def test_without_votes_there_is_one_view_less(imbalance):
    record = deepcopy(imbalance)
    for row in record["metrics"]["rows"]:
        del row["majority"]
    figure = drawn(study_figures.views(record))
    assert len(figure.axes[0].get_xticks()) == 2


def test_forgetting_has_a_panel_for_each_stage_and_names_its_lines(two_stage):
    figure, rows = drawn(study_figures.forgetting(two_stage)), by_title(two_stage)
    titles = [axis.get_title(loc="left").replace("\n", " ") for axis in figure.axes]
    assert titles == [arm.title for arm in imbalance_methods.TWO_STAGE]
    for axis, title in zip(figure.axes, titles, strict=True):
        curve = np.array(rows[title]["curve"])
        others = np.delete(curve, [DISGUST, FEAR], axis=1).mean(1)
        lines = {line.get_label(): line.get_ydata() for line in axis.lines}
        for name, wanted in (("disgust", curve[:, DISGUST]), ("fear", curve[:, FEAR]), ("others", others)):
            assert np.allclose(lines[name], wanted)
            assert f"{wanted[-1]:.0%}" in texts(axis.texts)
        heights = sorted(text.get_position()[1] for text in axis.texts)
        assert np.diff(heights).min() > 0.1  # names stand apart


def test_stages_keep_the_order_of_the_study(two_stage):
    names = texts(drawn(study_figures.stages(two_stage)).axes[0].get_yticklabels())
    assert names == ["nothing", *(arm.title for arm in imbalance_methods.TWO_STAGE)]


def test_a_class_without_pictures_is_drawn_as_missing(imbalance):
    record = deepcopy(imbalance)
    for row in record["metrics"]["rows"]:
        for found in (row["all"], *row["against_none"].values()):
            for key in {"recall", "recall_p_holm"} & found.keys():
                found[key]["disgust"] = None
            for key in {"recall_interval", "recall_runs"} & found.keys():
                found[key]["disgust"] = [None, None]
    drawn(study_figures.methods(record))
    assert "–" in texts(drawn(study_figures.recalls(record)).axes[0].texts)
