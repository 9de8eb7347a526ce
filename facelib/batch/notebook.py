"""What the cells of the course's notebooks share: versions, times, recorded tables, checks of exercises."""

from __future__ import annotations

import os
import sys
import time
import timeit
from collections.abc import Callable, Mapping
from importlib.metadata import version

from facelib.language import say
from facelib.study import metrics


def versions(*packages: str) -> None:
    """Print the versions of Python, facelib and these packages."""
    names = ("facelib", *packages)
    print(f"python {sys.version.split()[0]}", *(f"{name} {version(name)}" for name in names), sep=", ")


def tell(line: str) -> None:
    """Print a line of progress: nothing in tests and committed outputs, where $FACELIB_STATIC is set."""
    if not os.environ.get("FACELIB_STATIC"):
        print(line, flush=True)


def fastest(stage: Callable, *inputs, repeats: int = 5, processor: bool = False) -> float:
    """Milliseconds of the fastest of some calls ``stage(*inputs)``: something disturbed the others.

    processor: those of the processor (of all cores together), which do not pass while other programs have
    their turn; on Windows, which counts them too coarsely, those of the clock.
    """
    clock = time.process_time if processor and sys.platform != "win32" else time.perf_counter
    return 1000 * min(timeit.repeat(lambda: stage(*inputs), timer=clock, number=1, repeat=repeats))


def recorded_rows(slug: str, index: str):
    """The rows of a file in ``reports/metrics`` as a DataFrame: a column for each value of ``index``.

    Numbers have three significant digits. Raises FileNotFoundError as ``metrics.read_metrics``.
    """
    import pandas as pd

    found = metrics.read_metrics(slug)
    rows = pd.DataFrame(found.get("metrics", found)["rows"]).set_index(index).astype(object)
    return rows.where(rows.notna(), "–").map(lambda x: f"{x:.3g}" if isinstance(x, float) else x).T


def formatted(table, *formats: str):
    """A DataFrame as text in the language in force, each column by its format: "{:.1%}"."""
    text = {name: table[name].map(each.format) for name, each in zip(table, formats, strict=True)}
    return say(type(table)(text))


def side_by_side(sets: Mapping[str, Mapping], *keys: str) -> dict:
    """The same part of several results: title -> results[keys[0]][keys[1]] …"""
    found = {}
    for title, part in sets.items():
        for key in keys:
            part = part[key]
        found[title] = part
    return found


def sliders(draw: Callable, **strengths: float) -> None:
    """Show ``draw(**strengths)``; in a live notebook with a slider from 0 to 1 for each strength below it.

    Where $FACELIB_STATIC is set (tests, committed outputs) or ipywidgets is missing, the picture alone.
    """
    from IPython.display import display

    display(draw(**strengths))
    if os.environ.get("FACELIB_STATIC"):
        return
    try:
        import ipywidgets
    except ImportError:
        print(say("pip install ipywidgets, and there are sliders here."))
        return
    bars = {name: ipywidgets.FloatSlider(value, min=0, max=1, step=0.05) for name, value in strengths.items()}
    output = ipywidgets.interactive_output(lambda **chosen: display(draw(**chosen)), bars)
    for name, bar in bars.items():
        bar.description = name
    display(ipywidgets.HBox([ipywidgets.VBox(list(bars.values())), output]))


def check(answer, test: Callable[[object], object]) -> None:
    """Check the answer to an exercise and print the outcome; an answer of None is one that is not there yet.

    test: is called with the answer, and raises AssertionError (with what is wrong) for a wrong one.
    """
    if answer is None:
        print(say("Not solved yet: put your answer in place of None in the cell above."))
        return
    test(answer)
    print(say("Right."))
