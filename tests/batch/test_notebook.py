"""What the notebooks share."""

from __future__ import annotations

import sys

import pandas as pd
import pytest

from facelib.batch import notebook
from facelib.study import metrics


def test_an_exercise_is_open_right_or_wrong(capsys):
    def test(answer):
        assert answer == 42, "not the answer"

    notebook.check(None, test)
    assert "Not solved yet" in capsys.readouterr().out
    notebook.check(42, test)
    assert capsys.readouterr().out == "Right.\n"
    with pytest.raises(AssertionError, match="not the answer"):
        notebook.check(0, test)
    assert capsys.readouterr().out == ""


def test_recorded_rows_and_results_side_by_side(home):
    rows = [{"name": "a", "seconds": 1.23456, "n": None}, {"name": "b", "seconds": 2, "n": 3}]
    metrics.write_metrics("01-rows", {"rows": rows}, command="x")
    found = notebook.recorded_rows("01-rows", "name")
    assert found.loc["seconds"].tolist() == ["1.23", "2"] and found.loc["n"].tolist() == ["–", "3"]
    sets = {"run": {"a": {"b": 1}}, "recorded": {"a": {"b": 2}}}
    assert notebook.side_by_side(sets, "a", "b") == {"run": 1, "recorded": 2}


@pytest.mark.parametrize("processor", [False, True])
def test_fastest_call_counts_on_the_clock_that_was_asked_for(processor, monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    times, calls = iter((0.0, 0.02, 1.0, 1.001, 2.0, 2.03)), []
    monkeypatch.setattr(notebook.time, "process_time" if processor else "perf_counter", lambda: next(times))
    assert notebook.fastest(calls.append, 7, repeats=3, processor=processor) == pytest.approx(1)
    assert calls == [7, 7, 7]


def test_a_table_is_text_in_the_language_in_force(monkeypatch):
    table = pd.DataFrame({"accuracy": [0.5], "PSNR": [25.04]}, ["nothing"])
    assert notebook.formatted(table, "{:.1%}", "{:.1f} dB").to_numpy().tolist() == [["50.0%", "25.0 dB"]]
    monkeypatch.setenv("FACELIB_LANG", "fr")
    french = notebook.formatted(table, "{:.1%}", "{:.1f} dB")
    assert french.to_numpy().tolist() == [["50,0\u00a0%", "25,0 dB"]] and list(french.index) == ["rien"]


@pytest.mark.parametrize("static", ["1", ""])
def test_sliders_have_a_picture_that_needs_no_widgets(static, monkeypatch, capsys):
    """And where ipywidgets is missing the reader learns of it."""
    monkeypatch.setenv("FACELIB_STATIC", static)
    monkeypatch.setitem(__import__("sys").modules, "ipywidgets", None)
    notebook.sliders(lambda **strengths: str(strengths), AU4=0.5)
    out = capsys.readouterr().out
    assert "AU4" in out and ("pip install ipywidgets" in out) == (not static)
    notebook.tell("epoch 1")
    assert ("epoch 1" in capsys.readouterr().out) == (not static)
