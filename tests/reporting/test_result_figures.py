"""The encoder's result figures say what the records say: drawn from simulated answers, no network needed."""

from __future__ import annotations

import json

import numpy as np
import pytest

from facelib.emotions import EMOTIONS
from facelib.reporting import result_figures
from facelib.study import metrics as study_metrics
from facelib.study import significance

SHARES = np.array([0.137, 0.015, 0.147, 0.245, 0.165, 0.116, 0.175])
#: How well each simulated network sees, and by what its confidence is wrong (1: honest, above: too sure).
SKILL = {"facelib": (2.6, 1.0), "tiny": (2.2, 1.0), "baseline": (1.9, 0.8), "fer": (2.0, 1.5)}


def simulated_answers(labels: np.ndarray, skill: float, loud: float, seed: int) -> np.ndarray:
    """Probabilities (n, 7) that are honest for ``loud`` 1: Bayes' rule for evidence of a known strength."""
    rng = np.random.default_rng(seed)
    evidence = rng.normal(0, 1, (len(labels), 7)) + skill * np.eye(7)[labels]
    z = loud * (skill * evidence + np.log(SHARES))
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def simulated_records(n: int = 3000, seed: int = 0) -> dict[str, dict]:
    """What ``evaluate_networks.emotion`` would write of four networks, through JSON as a reader gets it."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(7, n, p=SHARES)
    majority = np.where(rng.random(n) < 0.9, labels, rng.choice(7, n, p=SHARES))
    answers = {name: simulated_answers(labels, *SKILL[name], seed + i) for i, name in enumerate(SKILL)}
    records = {}
    for name, given in answers.items():
        marks = {"unseen": (slice(n // 20, None), labels), "majority": (slice(None), majority)}
        views = {
            view: study_metrics.classification_metrics(truth[rows], given[rows], n_bootstrap=200)
            for view, (rows, truth) in marks.items()
        }
        first = answers["facelib"].argmax(1)
        metrics = {
            "model": name,
            **study_metrics.classification_metrics(labels, given, n_bootstrap=200),
            **views,
            "reliability": study_metrics.reliability(labels, given),
            "against": {"model": "facelib", **significance.mcnemar(labels, first, given.argmax(1))},
        }
        record = {"n": n, "split": "PrivateTest", "data": "0" * 16, "weights": None, "metrics": metrics}
        records[name] = json.loads(json.dumps(study_metrics._plain(record)))
    return records


def simulated_speed() -> dict:
    rows = [("facelib", 3.8e6, 9.0, 6.1), ("tiny", 9e4, 0.7, 0.31), ("baseline", 1.5e6, 1.6, 1.1)]
    rows = [{"model": m, "parameters": int(p), "one_face_ms": a, "of_64_ms_a_face": b} for m, p, a, b in rows]
    rows.append({"model": "fer", "parameters": None, "one_face_ms": 41.0, "of_64_ms_a_face": 2.4})
    return {"n": 30, "metrics": {"rows": rows, "cores": 2}}


@pytest.fixture(scope="module")
def records():
    return simulated_records()


def drawn(figure):
    """Lays everything out: what cannot be drawn fails here."""
    figure.draw_without_rendering()
    return figure


def texts(axis) -> list[str]:
    return [text.get_text() for text in axis.texts]


def dots(axis) -> list[tuple[float, float]]:
    """(x, y) of every mark in an axis."""
    marks = [c for c in axis.collections if type(c).__name__ == "PathCollection"]
    return [tuple(point) for mark in marks for point in np.asarray(mark.get_offsets())]


# --- numbers ---------------------------------------------------------------------------------------------


def test_the_calibration_error_of_a_record_is_the_one_it_was_recorded_with(records):
    for record in records.values():
        found = study_metrics.expected_error(record["metrics"]["reliability"])
        assert found == pytest.approx(record["metrics"]["ece"], abs=1e-5)


def test_honest_networks_lie_in_their_range_and_others_do_not(records):
    inside = {}
    for name, record in records.items():
        low, mean, high = study_metrics.honest_error(record["metrics"]["reliability"])
        assert 0 < low < mean < high
        inside[name] = low <= record["metrics"]["ece"] <= high
    assert inside == {"facelib": True, "tiny": True, "baseline": False, "fer": False}


def test_excess_is_positive_for_the_loud_and_negative_for_the_modest(records):
    found = {name: study_metrics.excess(r["metrics"]["reliability"]) for name, r in records.items()}
    assert found["fer"][1] > 0 > found["baseline"][2]
    assert found["facelib"][1] < 0 < found["facelib"][2]
    for name, (value, low, high) in found.items():
        assert low < value < high
        bins = study_metrics.bins(records[name]["metrics"]["reliability"])
        assert value == pytest.approx(
            bins[0] @ bins[1] / 3000 - records[name]["metrics"]["accuracy"], abs=1e-4
        )


def test_words_fit_the_numbers(records):
    found = {n: result_figures.describe(r["metrics"]["reliability"]) for n, r in records.items()}
    tempers = [each["it is"].replace("\u00a0", " ") for each in found.values()]
    assert tempers == ["about right", "about right", "too modest", "too sure"]
    for name, record in records.items():
        assert found[name]["error"] == f"{record['metrics']['ece']:.1%}"
        assert found[name]["right"] == f"{record['metrics']['accuracy']:.1%}"
    sure = study_metrics.reliability(np.arange(100) >= 95, np.tile([0.95, 0.05, 0, 0, 0, 0, 0], (100, 1)))
    assert result_figures.describe(sure)["90% right on"] == "100%"
    assert result_figures.describe(sure, goal=0.99)["99% right on"] == "0%"


# --- figures ---------------------------------------------------------------------------------------------


def test_overview_has_a_dot_for_each_network_and_metric(records):
    marks = {"accuracy": 0.68, "fear": 0.29}
    figure = drawn(result_figures.overview(records, simulated_speed(), marks=marks))
    assert [a.get_title(loc="left") for a in figure.axes] == [
        "accuracy", "macro-F1", "recall of disgust", "recall of fear", "calibration error",
    ]  # fmt: skip
    for axis, metric in zip(figure.axes, ("accuracy", "macro_f1", "disgust", "fear", "ece")):
        found = [record["metrics"] for record in records.values()]
        wanted = [m["ece"] if metric == "ece" else result_figures.find(m, metric)[0] for m in found]
        assert np.allclose(dots(axis), np.stack([wanted, range(4)], 1))
        vertical = [line.get_xdata()[0] for line in axis.lines if line.get_linestyle() == ":"]
        assert vertical == ([marks[metric]] if metric in marks else [])
    words = texts(figure.axes[0])
    assert "facelib, tiny" in words and "0.09 M parameters · 0.31 ms a face" in words
    assert "2.4 ms a face" in words  # of unknown size
    assert "" in texts(drawn(result_figures.overview(records)).axes[0])  # without a speed file


def test_a_class_without_pictures_is_drawn_as_missing(records):
    record = json.loads(json.dumps(records["fer"]))
    record["metrics"]["recall"]["disgust"] = None
    record["metrics"]["recall_interval"]["disgust"] = [None, None]
    drawn(result_figures.overview({"fer": record}))
    drawn(result_figures.recalls({"fer": record}))


def test_duels_show_the_pictures_of_mcnemar_and_say_what_may_be_chance(records):
    altered = json.loads(json.dumps(records))
    altered["tiny"]["metrics"]["against"] |= {"only_a": 100, "only_b": 96, "p": 0.83}
    (axis,) = drawn(result_figures.duels(altered)).axes
    assert len(axis.patches) == 6
    for y, name in enumerate(("tiny", "baseline", "fer")):
        against = altered[name]["metrics"]["against"]
        assert {p.get_width() for p in axis.patches[2 * y : 2 * y + 2]} == {
            -against["only_b"],
            against["only_a"],
        }
    assert sum("may be chance" in text for text in texts(axis)) == 1
    drawn(result_figures.duels({"facelib": records["facelib"]}))  # nobody to fight with


def test_recalls_of_all_networks_stand_side_by_side(records):
    (axis,) = drawn(result_figures.recalls(records, {"fear": 0.29})).axes
    found = [(round(x), float(y)) for x, y in dots(axis)]
    wanted = [
        (i, record["metrics"]["recall"][emotion])
        for i, emotion in enumerate(EMOTIONS)
        for record in records.values()
    ]
    assert found == wanted


def test_reliability_has_a_panel_each_with_error_and_honest_range(records):
    curves = {name: record["metrics"]["reliability"] for name, record in records.items()}
    figure = drawn(result_figures.reliability(curves))
    for axis, (name, record) in zip(figure.axes, records.items(), strict=True):
        assert axis.get_title(loc="left") == result_figures.title(name)
        assert texts(axis)[0].startswith(f"error {record['metrics']['ece']:.1%}, honest ")
    three = drawn(result_figures.reliability(dict(list(curves.items())[:3]), columns=2))
    assert not three.axes[-1].axison  # the empty place
    drawn(result_figures.reliability({"as taught": curves["fer"]}))


def test_rejections_begin_at_the_accuracy_of_each(records):
    curves = {name: record["metrics"]["reliability"] for name, record in records.items()}
    (axis,) = drawn(result_figures.rejections(curves)).axes
    names = texts(axis)
    for name, record in records.items():
        assert f"{result_figures.title(name)} {100 * record['metrics']['accuracy']:.0f}" in names
    places = sorted(text.get_position()[1] for text in axis.texts)
    assert np.diff(places).min() > 0  # names stand apart


def test_prices_show_who_is_recorded_and_measured(records):
    figure = drawn(result_figures.prices(records, simulated_speed()))
    sizes, times = (dots(axis) for axis in figure.axes)
    accuracy = {name: record["metrics"]["accuracy"] for name, record in records.items()}
    rows = {row["model"]: row for row in simulated_speed()["metrics"]["rows"]}
    assert set(sizes) == {(rows[n]["parameters"], accuracy[n]) for n in ("facelib", "tiny", "baseline")}
    keys = ("one_face_ms", "of_64_ms_a_face")
    assert set(times) == {(row[key], accuracy[n]) for n, row in rows.items() for key in keys}
    some = {name: records[name] for name in ("facelib", "fer")}
    assert len(dots(drawn(result_figures.prices(some, simulated_speed())).axes[0])) == 1


def test_views_are_those_that_every_record_has(records):
    figure = drawn(result_figures.views(records))
    assert [len(axis.get_xticks()) for axis in figure.axes] == [3, 3]
    line = figure.axes[0].lines[0].get_ydata()
    found = records["facelib"]["metrics"]
    assert np.allclose(line, [part["accuracy"] for part in (found, found["unseen"], found["majority"])])
    altered = json.loads(json.dumps(records))
    del altered["fer"]["metrics"]["majority"]
    assert len(drawn(result_figures.views(altered)).axes[0].get_xticks()) == 2


def test_stages_add_up():
    times = {
        "one face": {"read": 4.0, "find": 30.0, "turn and cut": 0.2, "emotion": 2.0, "gender": 5.0},
        "six faces": {"read": 5.0, "find": 40.0, "turn and cut": 1.0, "emotion": 9.0, "gender": 20.0},
    }
    (axis,) = drawn(result_figures.stages(times)).axes
    assert {"41 ms", "75 ms", "30", "5.0"} <= set(texts(axis)) and "0.2" not in texts(axis)  # too narrow
    widths = [patch.get_width() for patch in axis.patches if patch.get_width()]
    assert sum(widths) == pytest.approx(116.2)


def test_steadiness_counts_what_stays_and_what_moves():
    sure, torn = np.eye(7)[0], np.full(7, 1 / 7)
    before = np.stack([sure, sure, sure, sure])
    after = np.stack([sure, sure, sure, np.eye(7)[3]])
    pairs = {"mirrored": {"facelib": (before, after)}, "tilted": {"facelib": (before, before)}}
    pairs["mirrored"]["fer"] = (before, np.stack([sure, sure, torn + 1e-9 * sure, sure]))
    left, right = drawn(result_figures.steadiness(pairs)).axes
    assert [x for x, _ in dots(left)] == [0.75, 1.0, 1.0]
    assert np.allclose([x for x, _ in dots(right)], [0.25, 6 / 7 / 4, 0])
    assert [label.get_text() for label in left.get_yticklabels()] == list(pairs)
