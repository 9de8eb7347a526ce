"""The encoder's result figures say what the records say: no network is needed."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest

from facelib.reporting import result_figures
from facelib.study import metrics as study_metrics
from helpers import dots, drawn, texts

NETWORKS = ("facelib", "tiny", "baseline", "fer")


def simulated_speed() -> dict:
    rows = [("facelib", 3.8e6, 9.0, 6.1), ("tiny", 9e4, 0.7, 0.31), ("baseline", 1.5e6, 1.6, 1.1)]
    rows = [{"model": m, "parameters": int(p), "one_face_ms": a, "of_64_ms_a_face": b} for m, p, a, b in rows]
    rows.append({"model": "fer", "parameters": None, "one_face_ms": 41.0, "of_64_ms_a_face": 2.4})
    return {"n": 30, "metrics": {"rows": rows, "cores": 2}}


@pytest.fixture(scope="module")
def records():
    """network -> its recorded metrics file."""
    names = {name: f"06-emotion-fer2013-privatetest-{name}" for name in NETWORKS}
    return {name: study_metrics.read_metrics(slug) for name, slug in names.items()}


def of_confidence(confidence: float, right: int) -> dict:
    """The reliability of 1000 predictions with one confidence, of which some are right."""
    probabilities = np.tile([confidence, *[(1 - confidence) / 6] * 6], (1000, 1))
    return study_metrics.reliability(np.arange(1000) >= right, probabilities)


@pytest.mark.parametrize(
    "confidence, right, words", [(0.9, 700, "too sure"), (0.6, 800, "too modest"), (0.8, 800, "about right")]
)
def test_words_fit_the_numbers(confidence, right, words):
    curve = of_confidence(confidence, right)
    value, low, high = study_metrics.excess(curve)
    assert low < value < high and value == pytest.approx(confidence - right / 1000, abs=1e-6)
    found = result_figures.describe(curve)
    assert found["it is"].replace("\u00a0", " ") == words and found["right"] == f"{right / 1000:.1%}"
    assert found["error"] == f"{study_metrics.expected_error(curve):.1%}"


def test_how_many_faces_may_be_answered_for_a_goal():
    sure = of_confidence(0.95, 950)
    assert result_figures.describe(sure)["90% right on"] == "100%"
    assert result_figures.describe(sure, goal=0.99)["99% right on"] == "0%"


def test_overview_has_a_dot_for_each_network_and_metric(records):
    marks = {"accuracy": 0.68, "fear": 0.29}
    figure = drawn(result_figures.overview(records, simulated_speed(), marks=marks))
    assert [a.get_title(loc="left").replace("\n", " ") for a in figure.axes] == [
        "accuracy", "macro-F1", "recall of disgust", "recall of fear", "calibration error",
    ]  # fmt: skip
    for axis, metric in zip(figure.axes, ("accuracy", "macro_f1", "disgust", "fear", "ece")):
        found = [record["metrics"] for record in records.values()]
        wanted = [m["ece"] if metric == "ece" else result_figures.find(m, metric)[0] for m in found]
        assert np.allclose([dot[:2] for dot in dots(axis)], np.stack([wanted, range(4)], 1))
        vertical = [line.get_xdata()[0] for line in axis.lines if line.get_linestyle() == ":"]
        assert vertical == ([marks[metric]] if metric in marks else [])
    words = texts(figure.axes[0].texts)
    assert "facelib, tiny" in words and "0.09 M parameters 0.31 ms a face" in words
    assert "2.4 ms a face" in words  # of unknown size
    assert "" in texts(drawn(result_figures.overview(records)).axes[0].texts)  # without a speed file


def test_a_class_without_pictures_is_drawn_as_missing(records):
    record = deepcopy(records["fer"])
    record["metrics"]["recall"]["disgust"] = None
    record["metrics"]["recall_interval"]["disgust"] = [None, None]
    drawn(result_figures.overview({"fer": record}))
    drawn(result_figures.recalls({"fer": record}))


def test_duels_show_the_pictures_of_mcnemar_and_say_what_may_be_chance(records):
    altered = deepcopy(records)
    altered["tiny"]["metrics"]["against"] |= {"only_a": 100, "only_b": 96, "p": 0.83}
    (axis,) = drawn(result_figures.duels(altered)).axes
    assert len(axis.patches) == 6
    for y, name in enumerate(("tiny", "baseline", "fer")):
        against = altered[name]["metrics"]["against"]
        widths = [patch.get_width() for patch in axis.patches[2 * y : 2 * y + 2]]
        assert widths == [-against["only_b"], against["only_a"]]
    assert sum("may be chance" in text for text in texts(axis.texts)) == 1
    drawn(result_figures.duels({"facelib": records["facelib"]}))  # no other network


def test_reliability_has_a_panel_each_with_error_and_honest_range(records):
    curves = {name: record["metrics"]["reliability"] for name, record in records.items()}
    figure = drawn(result_figures.reliability(curves))
    for axis, (name, record) in zip(figure.axes, records.items(), strict=True):
        assert axis.get_title(loc="left").replace("\n", " ") == result_figures.title(name)
        assert texts(axis.texts)[0].startswith(f"error {record['metrics']['ece']:.1%} honest ")
    three = drawn(result_figures.reliability(dict(list(curves.items())[:3]), columns=2))
    assert not three.axes[-1].axison  # the empty place
    drawn(result_figures.reliability({"as taught": curves["fer"]}))


def test_rejections_begin_at_the_accuracy_of_each(records):
    curves = {name: record["metrics"]["reliability"] for name, record in records.items()}
    (axis,) = drawn(result_figures.rejections(curves)).axes
    names = texts(axis.texts)
    for name, record in records.items():
        assert f"{result_figures.title(name)} {100 * record['metrics']['accuracy']:.0f}" in names
    places = sorted(text.get_position()[1] for text in axis.texts)
    assert np.diff(places).min() > 0  # names stand apart


def test_prices_show_who_is_recorded_and_measured(records):
    figure = drawn(result_figures.prices(records, simulated_speed()))
    sizes, times = ({dot[:2] for dot in dots(axis)} for axis in figure.axes)
    accuracy = {name: record["metrics"]["accuracy"] for name, record in records.items()}
    rows = {row["model"]: row for row in simulated_speed()["metrics"]["rows"]}
    assert sizes == {(rows[n]["parameters"], accuracy[n]) for n in ("facelib", "tiny", "baseline")}
    keys = ("one_face_ms", "of_64_ms_a_face")
    assert times == {(row[key], accuracy[n]) for n, row in rows.items() for key in keys}
    some = {name: records[name] for name in ("facelib", "fer")}
    assert len(dots(drawn(result_figures.prices(some, simulated_speed())).axes[0])) == 1


def test_views_are_those_that_every_record_has(records):
    figure = drawn(result_figures.views(records))
    assert [len(axis.get_xticks()) for axis in figure.axes] == [3, 3]
    line = figure.axes[0].lines[0].get_ydata()
    found = records["facelib"]["metrics"]
    assert np.allclose(line, [part["accuracy"] for part in (found, found["unseen"], found["majority"])])
    altered = deepcopy(records)
    del altered["fer"]["metrics"]["majority"]
    assert len(drawn(result_figures.views(altered)).axes[0].get_xticks()) == 2


def test_stages_add_up():
    milliseconds = {"one face": (4.0, 30.0, 0.2, 2.0, 5.0), "six faces": (5.0, 40.0, 1.0, 9.0, 20.0)}
    times = {name: dict(zip(result_figures.STAGES, each)) for name, each in milliseconds.items()}
    (axis,) = drawn(result_figures.stages(times)).axes
    words = texts(axis.texts)
    assert {"41 ms", "75 ms", "30", "5.0"} <= set(words) and "0.2" not in words  # too narrow
    widths = [patch.get_width() for patch in axis.patches if patch.get_width()]
    assert sum(widths) == pytest.approx(116.2)


def test_steadiness_counts_what_stays_and_what_moves():
    sure, torn = np.eye(7)[0], np.full(7, 1 / 7)
    before = np.stack([sure, sure, sure, sure])
    after = np.stack([sure, sure, sure, np.eye(7)[3]])
    pairs = {"mirrored": {"facelib": (before, after)}, "tilted": {"facelib": (before, before)}}
    pairs["mirrored"]["fer"] = (before, np.stack([sure, sure, torn + 1e-9 * sure, sure]))
    left, right = drawn(result_figures.steadiness(pairs)).axes
    assert [x for x, *_ in dots(left)] == [0.75, 1.0, 1.0]
    assert np.allclose([x for x, *_ in dots(right)], [0.25, 6 / 7 / 4, 0])
    assert texts(left.get_yticklabels()) == list(pairs)


def test_timeline_shows_the_longest_tracks_with_their_gaps():
    times = np.r_[np.arange(0, 2, 0.1), np.arange(4, 5, 0.1)]
    happy, fear = np.eye(7)[[3, 2]] * 0.9 + 0.1 / 7
    tracks = {number: (times[: 30 - number], np.tile(happy, (30 - number, 1))) for number in range(1, 8)}
    tracks[9] = times, np.r_[np.tile(fear, (20, 1)), np.tile(happy, (10, 1))]
    tracks[12] = np.array([3.0]), fear[None]
    figure = drawn(result_figures.timeline(tracks, most=3))
    assert [axis.get_title("left") for axis in figure.axes] == [
        "face 1: happy 91% on average", "face 2: happy 91% on average", "face 9: fear 61% on average"
    ]  # fmt: skip
    assert "6 that were seen more briefly are not shown" in figure.axes[-1].get_xlabel()
    axis = figure.axes[2]
    assert len(axis.collections) == 14  # seven emotions, before and after the gap
    ends = [band.get_paths()[0].get_extents() for band in axis.collections]
    assert {(round(e.x0, 1), round(e.x1, 1)) for e in ends} == {(0.0, 1.9), (4.0, 4.9)}
    assert ends[2].height > 0.9 and ends[7].height > 0.9  # fear first, then happy
    drawn(result_figures.timeline({12: tracks[12]}))
