"""The encoder's results as figures: networks side by side, honesty, speed, steadiness.

Where a function takes ``records``, it is a mapping network -> metrics file of ``evaluate_networks.emotion``,
as ``metrics.read_metrics`` gives it (``06-emotion-*.json``); ``speed`` is the file of
``evaluate_networks.speed`` or None. Where one takes ``curves``, it is a mapping title -> what
``metrics.reliability`` gave, or what stands under "reliability" in such a file. Each network keeps its colour
throughout.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np

from facelib.emotions import EMOTIONS
from facelib.language import say, speaks
from facelib.reporting import plots
from facelib.reporting.plots import BAND, COLOUR, INK, PALE, SOFT
from facelib.reporting.study_figures import VIEWS
from facelib.study.metrics import bins, excess, expected_error, honest_error, knowing, rejection, wilson
from facelib.study.significance import holm

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Networks: titles and colours.
NETWORKS = {
    "facelib": ("facelib", "#0072B2"),
    "tiny": ("facelib, tiny", "#56B4E9"),
    "baseline": ("DeepFace's, retrained", "#D55E00"),
    "deepface": ("DeepFace, published", "#E69F00"),
    "fer": ("package fer", "#009E73"),
}
_PEOPLE = "a reader of ten people's votes"
#: Fewer predictions than this say nothing about a share.
FEW = 20
_TITLES = {"accuracy": "accuracy", "macro_f1": "macro-F1", "balanced_accuracy": "balanced accuracy"}


@speaks
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
    # A table breaks no line in them.
    return {key: say(text).replace(" ", "\u00a0") for key, text in words.items()}


# --- networks side by side -------------------------------------------------------------------------------


def title(name: str) -> str:
    """A network's name for people."""
    return say(NETWORKS.get(name, (name, INK))[0])


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


@speaks
def overview(
    records: Mapping[str, Mapping], speed: Mapping | None = None, marks: Mapping[str, float] | None = None
) -> Figure:
    """All networks at one glance: a line for each, a column for each metric, and the calibration error.

    Dots with 95 % intervals. In the last column the band is what an honest network would show by luck
    (``honest_error``): a dot inside it is as honest as can be measured. marks: metric -> a value of some
    other reader, a dotted line.
    """
    metrics, marks = ("accuracy", "macro_f1", "disgust", "fear"), marks or {}
    paid, n = costs(speed), len(records)
    titles = [f"recall of {m}" if m in EMOTIONS else _TITLES[m] for m in metrics] + ["calibration error"]
    titles = [fill(say(title), 11) for title in titles]
    colours = [*(COLOUR.get(m, INK) for m in metrics), INK]
    options = {"frame": "bottom", "percents": "x", "colours": colours, "sharey": True}
    figure, axes = plots.small_multiples(titles, plots.WIDTH, 1.0 + 0.72 * n, **options)
    found = [record["metrics"] for record in records.values()]
    for axis, metric in zip(axes, (*metrics, None), strict=True):
        if metric:
            values, ends = zip(*(find(each, metric) for each in found), strict=True)
        else:
            values, ends = [each["ece"] for each in found], np.full((n, 2), np.nan)
            for y, each in enumerate(found):
                least, _, most = honest_error(each["reliability"])
                axis.hlines(y, least, most, color=BAND, linewidth=15, zorder=1)
        for y, value in enumerate(values):
            axis.axhline(y, color="#E4E4E4", linewidth=0.6, zorder=0.5)
            if np.isfinite(value):
                axis.annotate(f"{value:.1%}", (value, y), (0, 7), textcoords="offset points",
                              ha="center", fontsize=9, color=INK)  # fmt: skip
        plots.interval_plot(axis, range(n), values, ends, _colours(records), size=30)
        if metric in marks:
            axis.axvline(marks[metric], color=PALE, linewidth=1.2, linestyle=":", zorder=0.6)
        axis.margins(x=0.35)
        plots.few_ticks(axis)
    axes[-1].set_xlim(left=0)
    axes[0].set_yticks(range(n), [""] * n)
    axes[0].set_ylim(n - 0.5, -0.7)
    place = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
    style = place | {"ha": "right", "va": "center"}
    for y, name in enumerate(records):
        row = paid.get(name, {})
        lines = [f"{row['parameters'] / 1e6:.2g} M parameters"] if row.get("parameters") else []
        lines += [f"{row['of_64_ms_a_face']:.2g} ms a face"] if row else []
        bold = {"fontsize": 9.5, "weight": "bold", "color": plots.legible(_colour(name))}
        axes[0].annotate(title(name), (-0.06, y), (0, 6 * len(lines)), **bold, **style)
        axes[0].annotate("\n".join(lines), (-0.06, y), (0, -7), fontsize=9, color=SOFT, **style)
    keys = {"95% interval": {"color": INK, "linewidth": 2.2, "alpha": 0.5}}
    keys |= {_PEOPLE: {"color": PALE, "linestyle": ":"}} if marks else {}
    plots.legend_below(figure, keys | {"an honest network's error": {"color": BAND, "linewidth": 8}})
    return figure


@speaks
def duels(records: Mapping[str, Mapping]) -> Figure:
    """McNemar's pictures: those that only the first network reads rightly, and those that only another does.

    Beside each pair the p-value, after Holm's correction over the pairs.
    """
    pairs = {n: r["metrics"]["against"] for n, r in records.items() if r["metrics"]["against"]["model"] != n}
    p_values = holm([one["p"] for one in pairs.values()])
    heading = ["pictures that only one of two networks reads rightly"]
    height = 1.0 + 0.5 * max(len(pairs), 1)
    figure, (axis,) = plots.small_multiples(heading, plots.WIDTH, height, frame="none")
    most = max((one[key] for one in pairs.values() for key in ("only_a", "only_b")), default=1) or 1
    for y, (name, one) in enumerate(pairs.items()):
        for side, key, who in ((-1, "only_b", name), (1, "only_a", one["model"])):
            bar = axis.barh(y, side * one[key], color=_colour(who), height=0.66)
            style = {"fontsize": 9.5, "color": plots.legible(_colour(who)), "weight": "bold", "padding": 3}
            axis.bar_label(bar, [f"{one[key]:,}"], **style)
        words = "p < 0.001" if p_values[y] < 0.001 else f"p = {p_values[y]:.2g}"
        verdict = "" if p_values[y] < 0.05 else "\nmay be chance"
        axis.text(1.3 * most, y, words + verdict, va="center", fontsize=9, color=INK)
    axis.axvline(0, color=INK, linewidth=0.9)
    wide = max((one["only_b"] for one in pairs.values()), default=1) + 0.16 * most
    axis.set(xlim=(-wide, 1.85 * most), ylim=(len(pairs) - 0.45, -0.95), xticks=[])
    axis.set_yticks(range(len(pairs)), [say("only {}").format(title(name)) for name in pairs], fontsize=9.5)
    for tick, name in zip(axis.get_yticklabels(), pairs, strict=True):
        tick.set(color=plots.legible(_colour(name)), weight="bold")
    style = {"fontsize": 9.5, "weight": "bold", "va": "center"}
    for first in {one["model"]: None for one in pairs.values()}:
        colour = plots.legible(_colour(first))
        axis.text(most / 60, -0.68, say("only {}").format(title(first)), color=colour, **style)
    return figure


@speaks
def recalls(records: Mapping[str, Mapping], marks: Mapping[str, float] | None = None) -> Figure:
    """Recall of each emotion, a dot with its interval for each network; marks: dotted lines, as above."""
    figure, (axis,) = plots.small_multiples(["recall of each emotion"], plots.WIDTH, 3.3, percents="y")
    for i, emotion in enumerate(EMOTIONS):
        values, ends = zip(*(find(record["metrics"], emotion) for record in records.values()), strict=True)
        x = i + _side_by_side(len(records), 0.72 / max(len(records), 1))
        plots.interval_plot(axis, x, values, ends, _colours(records), vertical=True, size=52)
        if marks and emotion in marks:
            axis.hlines(marks[emotion], i - 0.44, i + 0.44, color=INK, linewidth=1.3, linestyle=":")
    axis.set_xticks(range(len(EMOTIONS)), EMOTIONS, fontsize=9.5)
    plots.colour_names(axis.get_xticklabels())
    axis.set(ylim=(0, 1), ylabel="recall", xlim=(-0.55, len(EMOTIONS) - 0.45))
    _legend(figure, records, {_PEOPLE: {"linestyle": ":", "color": INK}} if marks else {})
    axis.tick_params(axis="x", length=0)
    axis.spines["bottom"].set_visible(False)
    axis.yaxis.grid(color="#EEEEEE")
    return figure


@speaks
def reliability(curves: Mapping[str, Mapping], columns: int = 4) -> Figure:
    """How often predictions of a confidence were right, a panel for each title; on the diagonal is honest.

    Upright lines: 95 % intervals; bins with less than ``FEW`` predictions are not drawn. Below: how many
    predictions had that confidence. Above: the expected calibration error, and what an honest network's would
    be. A title that is a network's name (of ``NETWORKS``) takes its colour.
    """
    columns = min(columns, max(len(curves), 1))
    height = -(-len(curves) // columns) * (6.0 / columns + 0.95) + 0.2
    options = {"percents": "xy", "colours": _colours(curves), "sharex": True, "sharey": True}
    width = min(plots.WIDTH, 3.6 * columns)
    figure, axes = plots.small_multiples(map(title, curves), width, height, columns, **options)
    for axis, (name, curve) in zip(axes, curves.items(), strict=True):
        count, confidence, hits = bins(curve)
        many, edges = count >= FEW, np.array(curve["edges"], float)
        axis.plot([0, 1], [0, 1], color=PALE, linewidth=0.9, linestyle="--", zorder=1)
        axis.bar(edges[:-1], 0.22 * count / count.max(), np.diff(edges), align="edge", color=BAND,
                 edgecolor="white", linewidth=0.5, zorder=0.5)  # fmt: skip
        x, share, colour = confidence[many], hits[many] / count[many], _colour(name)
        ends = np.transpose(wilson(hits[many], count[many]))
        axis.plot(x, share, color=colour, linewidth=1.6)
        plots.interval_plot(axis, x, share, ends, colour, vertical=True, size=36, line=2)
        least, _, most = honest_error(curve)
        words = f"error {expected_error(curve):.1%}\nhonest {100 * least:.1f} to {most:.1%}"
        axis.text(0, 1.02, words, transform=axis.transAxes, va="bottom", fontsize=9, color=INK)
        style = {"fontsize": 10, "weight": "bold", "color": plots.legible(colour)}
        axis.set_title(axis.get_title("left"), loc="left", pad=31, **style)
        axis.set(xlim=(0, 1), ylim=(0, 1), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1), aspect="equal")
        axis.tick_params(labelsize=9)
    figure.supxlabel("confidence", fontsize=9.5)
    figure.supylabel("share of right predictions", fontsize=9.5)
    return figure


@speaks
def rejections(curves: Mapping[str, Mapping]) -> Figure:
    """Accuracy of the predictions left when unsure ones are refused (``rejection``), with intervals."""
    heading = ["how often it is right if it may refuse unsure faces"]
    figure, (axis,) = plots.small_multiples(heading, plots.WIDTH, 4.0, percents="xy")
    ends = {}
    for name, curve in curves.items():
        found = rejection(curve)
        big = found["coverage"] * np.sum(bins(curve)[0]) >= FEW
        x, y, band = found["coverage"][big], found["accuracy"][big], found["interval"][:, big]
        axis.fill_between(x, *band, color=_colour(name), alpha=0.13, linewidth=0)
        axis.plot(x, y, "o-", color=_colour(name), linewidth=2, markersize=4)
        ends[f"{title(name)} {100 * y[0]:.0f}"] = y[0]
    gap = 0.034 * np.diff(axis.get_ylim())[0] / 0.6
    plots.end_labels(axis, 1.015, list(ends.values()), ends, _colours(curves), gap, fontsize=9.5)
    axis.axhline(0.9, color=PALE, linewidth=0.9, linestyle=":")
    axis.set(xlim=(0, 1), xlabel="coverage: share of faces that get a prediction", ylabel="accuracy of these")
    return figure


@speaks
def prices(records: Mapping[str, Mapping], speed: Mapping) -> Figure:
    """Accuracy against parameters, and against milliseconds a face: 64 at once, and one alone (open)."""
    paid = {name: row for name, row in costs(speed).items() if name in records}
    titles = ["what it takes in memory", "what it takes in time"]
    figure, axes = plots.small_multiples(titles, plots.WIDTH, 3.5, percents="y", sharey=True)
    for name, row in paid.items():
        value, ends = find(records[name]["metrics"], "accuracy")
        for axis, key in zip(axes, ("parameters", "of_64_ms_a_face"), strict=True):
            if row.get(key):
                plots.interval_plot(axis, row[key], value, ends, _colour(name), vertical=True, size=52)
        times = sorted((row["of_64_ms_a_face"], row["one_face_ms"]))
        axes[1].hlines(value, *times, color=_colour(name), alpha=0.6)
        style = {"s": 44, "facecolor": "white", "edgecolor": _colour(name), "zorder": 3}
        axes[1].scatter(row["one_face_ms"], value, **style)
    for axis, label in zip(axes, ("parameters", "milliseconds a face"), strict=True):
        axis.set_xscale("log")
        axis.margins(x=0.12, y=0.18)
        axis.set_xlabel(label)
        axis.xaxis.set_major_formatter(_short)
        axis.grid(color="#EEEEEE")
    axes[0].set_ylabel("accuracy")
    _legend(figure, paid, {"64 at once": INK, "one alone": plots.OPEN})
    return figure


@speaks
def views(records: Mapping[str, Mapping], metrics: Iterable[str] = ("accuracy", "macro_f1")) -> Figure:
    """Each network under each of ``VIEWS``: as it is, without leaked pictures, marked by the majority."""
    metrics = tuple(metrics)
    titles = [_TITLES.get(metric, metric) for metric in metrics]
    figure, axes = plots.small_multiples(titles, plots.WIDTH, 3.7, percents="y")
    words = ("PrivateTest\nas it is", "without leaked\npictures", "marked by the\nmajority")
    in_all = {"all"}.union(set.intersection(*(set(record["metrics"]) for record in records.values())))
    shown = {view: text for view, text in zip(VIEWS, words, strict=True) if view in in_all}
    for axis, metric in zip(axes, metrics, strict=True):
        moves = _side_by_side(len(records), 0.09)
        for (name, record), move in zip(records.items(), moves, strict=True):
            parts = [record["metrics"] if view == "all" else record["metrics"][view] for view in shown]
            values, ends = zip(*(find(part, metric) for part in parts), strict=True)
            x = np.arange(len(shown)) + move
            axis.plot(x, values, color=_colour(name), linewidth=1.6)
            plots.interval_plot(axis, x, values, ends, _colour(name), vertical=True)
        axis.set_xticks(range(len(shown)), shown.values(), fontsize=9)
        axis.set_xlim(-0.4, len(shown) - 0.6)
        axis.yaxis.grid(color="#EEEEEE")
    _legend(figure, records)
    return figure


# --- the whole encoder -----------------------------------------------------------------------------------

#: Stages of the encoder and their colours, in the order of the work.
STAGES = {"read": "#BDBDBD", "find": "#D55E00", "turn and cut": "#E6A700", "emotion": "#0072B2"}
STAGES |= {"gender": "#56B4E9"}


@speaks
def stages(times: Mapping[str, Mapping[str, float]]) -> Figure:
    """Where the time goes: title -> {stage of ``STAGES``: milliseconds}, a stacked bar for each title."""
    heading, height = ["where the time goes"], 1.2 + 0.46 * len(times)
    figure, (axis,) = plots.small_multiples(heading, plots.WIDTH, height, frame="bottom")
    rows = {name: [parts.get(stage, 0) for stage in STAGES] for name, parts in times.items()}
    most = max(map(sum, rows.values()))
    words = lambda value, _: f"{value:.{int(value < 9.95)}f}"
    plots.stacked_bars(axis, rows, list(STAGES.values()), 0.045 * most, words)
    style = {"va": "center", "fontsize": 9.5, "weight": "bold", "color": INK}
    for y, total in enumerate(map(sum, rows.values())):
        axis.text(total + most / 90, y, f"{total:.0f} ms", **style)
    axis.set(xlim=(0, 1.13 * most), xlabel="milliseconds of one processor core")
    keys = {stage: plots.SQUARE | {"color": colour} for stage, colour in STAGES.items()}
    plots.legend_below(figure, keys, "outside upper center")
    return figure


@speaks
def steadiness(pairs: Mapping[str, Mapping[str, tuple[np.ndarray, np.ndarray]]]) -> Figure:
    """Does the prediction survive a small change? change -> network -> probabilities (n, 7) before and after.

    Left: faces that keep their emotion, with 95 % intervals. Right: how much of the probability went to other
    emotions, the mean over the faces.
    """
    titles = ("faces that keep their emotion", "probability that changes its place")
    options = {"frame": "bottom", "percents": "x", "sharey": True, "width_ratios": (1.35, 1)}
    figure, (left, right) = plots.small_multiples(titles, plots.WIDTH, 1.1 + 0.4 * len(pairs), **options)
    names = list(dict.fromkeys(name for each in pairs.values() for name in each))
    moves = dict(zip(names, _side_by_side(len(names), 0.24), strict=True))
    for y, each in enumerate(pairs.values()):
        for axis in (left, right):
            axis.axhline(y, color="#E9E9E9", linewidth=0.6, zorder=0.5)
        for name, (before, after) in each.items():
            same, place = before.argmax(1) == after.argmax(1), y + moves[name]
            ends, moved = wilson(same.sum(), len(same)), np.abs(after - before).sum(1).mean() / 2
            plots.interval_plot(left, place, same.mean(), ends, _colour(name), size=52, line=2)
            plots.interval_plot(right, place, moved, (np.nan, np.nan), _colour(name), size=52)
    left.set_yticks(range(len(pairs)), pairs, fontsize=9.5)
    left.set_ylim(len(pairs) - 0.4, -0.6)
    left.set_xlim(right=1.02)
    right.set_xlim(left=-0.01)
    _legend(figure, names)
    return figure


@speaks
def timeline(tracks: Mapping[int, tuple[np.ndarray, np.ndarray]], most: int = 6) -> Figure:
    """Emotion over the time of a film: for each face a band, an emotion in it as wide as it is probable.

    tracks: number -> seconds (n,) and probabilities (n, 7), as ``analyze_video`` gives them in its columns
    ``smoothed_…``; one at least. most: so many faces are shown, those that are seen longest; how many are
    left out is written below. A gap is where the face was not seen.
    """
    chosen = sorted(sorted(tracks, key=lambda number: -len(tracks[number][0]))[:most])
    steps = np.concatenate([np.diff(tracks[number][0]) for number in chosen])
    step = float(np.median(steps)) if len(steps) else 0.1
    means = [tracks[number][1].mean(0) for number in chosen]
    titles = [f"face {n}: {EMOTIONS[m.argmax()]} {m.max():.0%} on average" for n, m in zip(chosen, means)]
    height = 1.0 + 1.25 * len(chosen)
    figure, axes = plots.small_multiples(titles, plots.WIDTH, height, 1, percents="y", sharex=True)
    colours = COLOUR | {"neutral": "#CFCFCF"}  # as background: what stands out is what is not neutral
    order = ("happy", "surprise", "fear", "sad", "disgust", "angry", "neutral")
    for axis, number in zip(axes, chosen, strict=True):
        times, shares = tracks[number]
        shares = shares[:, [EMOTIONS.index(name) for name in order]].T
        for part in np.split(np.arange(len(times)), np.flatnonzero(np.diff(times) > 3.5 * step) + 1):
            at, heights = times[part], shares[:, part]
            if len(part) == 1:
                at, heights = at + step * np.array([-0.5, 0.5]), heights.repeat(2, 1)
            axis.stackplot(at, heights, colors=[colours[name] for name in order], linewidth=0)
        end = max(each[-1] for each, _ in tracks.values()) + step
        axis.set(ylim=(0, 1), yticks=(0, 0.5, 1), xlim=(0, end))
    axes[-1].xaxis.set_major_formatter(lambda at, _: f"{int(at // 60)}:{at % 60:04.1f}".removesuffix(".0"))
    hidden = len(tracks) - len(chosen)
    words = f"; {hidden} that were seen more briefly are not shown" if hidden else ""
    axes[-1].set_xlabel("time in the film (m:ss)" + words)
    plots.legend_below(figure, {name: plots.SQUARE | {"color": colours[name]} for name in order})
    return figure


# --- small things ------------------------------------------------------------------------------------------


def _colours(names: Iterable[str]) -> list[str]:
    return [_colour(name) for name in names]


def _side_by_side(n: int, step: float) -> np.ndarray:
    """Offsets (n,) around 0, a step apart."""
    return step * (np.arange(n) - (n - 1) / 2)


def _short(value: float, _: int) -> str:
    """1,500,000 as 1.5 M."""
    for unit, word in ((1e6, " M"), (1e3, " k")):
        if value >= unit:
            return f"{value / unit:g}{word}"
    return f"{value:g}"


def _legend(figure, names: Iterable[str], extra: Mapping[str, Mapping] | None = None) -> None:
    """Networks below a figure, then what else is to be explained."""
    plots.legend_below(figure, {title(name): _colour(name) for name in names} | dict(extra or {}))
