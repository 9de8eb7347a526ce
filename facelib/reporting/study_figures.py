"""The controlled study as figures, from the record that ``experiments.record`` writes: no network is needed.

Each function takes a record as ``metrics.read_metrics`` gives it and returns a matplotlib Figure. Wherever
an arm is compared with "nothing", a filled mark says that the difference is statistically significant (paired
bootstrap over pictures and seeds, p < 0.05 after Holm's correction over the arms), an open one that it may be
chance.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np

from facelib.emotions import COLOURS, EMOTIONS
from facelib.language import say, speaks
from facelib.reporting import plots
from facelib.reporting.plots import BAND, COLOUR, INK, PALE, SOFT
from facelib.study.experiments import change, find

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: The three ways to mark the predictions, as ``ferplus.views`` calls them, and their titles.
VIEWS = {
    "all": "PrivateTest as it is",
    "unseen": "without leaked pictures",
    "majority": "against FER+'s majority",
}
#: Metrics: titles and colours; an emotion's name stands for its recall.
_TITLES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro-F1",
    "fear_to_surprise": "fear called surprise",
    **{emotion: f"recall of {emotion}" for emotion in EMOTIONS},
}
_COLOUR = COLOUR | {"fear_to_surprise": COLOUR["surprise"]}


@speaks
def methods(
    record: Mapping,
    metrics: Iterable[str] = ("accuracy", "macro_f1", "disgust", "fear", "fear_to_surprise"),
    by: str | None = "macro_f1",
    view: str = "all",
) -> Figure:
    """All arms at one glance: a line for each, a column for each metric, dots with 95 % intervals.

    "Nothing" stands on top; its value and interval go down each column as line and band. The others are
    sorted by a metric, best first (None: as recorded). Ticks are single seeds.
    """
    first, others = _split(record)
    if by:
        others.sort(key=lambda row: -np.nan_to_num(find(row, by, view)[0], nan=-1))
    rows, metrics = [first, *others], tuple(metrics)
    names = [fill(say(row["title"]), 30) for row in rows]
    size = plots.WIDTH, 1.5 + (0.36 if any("\n" in name for name in names) else 0.29) * len(rows)
    titles, colours = zip(*((fill(say(_TITLES[m]), 11), _COLOUR.get(m, INK)) for m in metrics), strict=True)
    options = {"frame": "bottom", "percents": "x", "colours": colours, "sharey": True}
    figure, axes = plots.small_multiples(titles, *size, **options)
    for axis, metric, colour in zip(axes, metrics, colours, strict=True):
        values, ends, runs = zip(*(find(row, metric, view) for row in rows), strict=True)
        axis.axvspan(*ends[0], color=BAND, linewidth=0)
        axis.axvline(values[0], color=PALE, linewidth=0.9)
        axis.hlines(range(len(rows)), 0, 1, color="#E4E4E4", linewidth=0.6, zorder=0.5,
                    transform=axis.get_yaxis_transform())  # fmt: skip
        held = [row is first or change(row, metric, view)[2] for row in rows]
        plots.interval_plot(axis, range(len(rows)), values, ends, colour, filled=held, size=38, line=1.6)
        for y, each in enumerate(runs):
            axis.vlines(each, y - 0.2, y + 0.2, color=colour, linewidth=0.8, alpha=0.75)
        axis.axhline(0.5, color=PALE, linewidth=0.6)
        plots.few_ticks(axis)
    axes[0].set_yticks(range(len(rows)), names, fontsize=9)
    axes[0].get_yticklabels()[0].set_weight("bold")
    axes[0].set_ylim(len(rows) - 0.5, -0.6)
    keys = {"differs from nothing, also after Holm": INK, "may be chance": plots.OPEN}
    keys |= {"95% interval": {"color": INK, "linewidth": 1.6, "alpha": 0.6}}
    keys |= {"one seed": {"color": INK, "linestyle": "", "marker": "|", "markersize": 8}}
    keys |= {"nothing, with its interval": {"color": BAND, "linewidth": 9}}
    plots.legend_below(figure, keys)
    return figure


@speaks
def stages(record: Mapping) -> Figure:
    """The second stages as ``methods`` shows methods, in the order of the study: controls first."""
    return methods(record, ("accuracy", "balanced_accuracy", "macro_f1", "disgust", "fear"), None)


@speaks
def trade(record: Mapping) -> Figure:
    """What each arm gains in balanced accuracy (up) and what it pays in accuracy (left), in points.

    Bars are 95 % intervals of the differences, long ones cut off; filled where the gain is significant.
    """
    _, rows = _split(record)
    found = [[change(row, metric) for row in rows] for metric in ("accuracy", "balanced_accuracy")]
    x, y = (100 * np.array([value for value, _, _ in changes]) for changes in found)
    xs, ys = (100 * np.array([ends for _, ends, _ in changes]) for changes in found)
    figure, (axis,) = plots.small_multiples(["what each method gains, and what it pays"], plots.WIDTH, 5.6)
    axis.hlines(y, *xs.T, color=PALE, linewidth=0.8, alpha=0.45)
    axis.vlines(x, *ys.T, color=PALE, linewidth=0.8, alpha=0.45)
    faces = [COLOURS[1] if held else "white" for _, _, held in found[1]]
    axis.scatter(x, y, s=58, color=faces, edgecolor=COLOURS[1], linewidth=1.5, zorder=3)
    axis.scatter(0, 0, s=70, marker="D", color=INK, zorder=3)
    axis.axhline(0, color=PALE, linewidth=0.8)
    axis.axvline(0, color=PALE, linewidth=0.8)
    x, y = np.append(x, 0), np.append(y, 0)
    wide, high = 0.42 * np.ptp(x) + 1, 0.3 * np.ptp(y) + 0.5  # room for names
    axis.set(xlim=(x.min() - wide, x.max() + wide), ylim=(y.min() - high, y.max() + high))
    axis.axline((0, 0), slope=-1, color=PALE, linewidth=0.9, linestyle=":", label="gains what it pays")
    axis.set_xlabel("change in accuracy, points (left: pays)")
    axis.set_ylabel("change in balanced accuracy, points (up: gains)")
    axis.legend(frameon=False, fontsize=9, loc="lower left")
    axis.xaxis.set_major_formatter(_points)
    axis.yaxis.set_major_formatter(_points)
    plots.place_names(axis, x, y, [*(row["title"] for row in rows), "nothing"])
    return figure


@speaks
def recalls(record: Mapping, names: Iterable[str] = ()) -> Figure:
    """Change in each class's recall (columns) by each arm (rows; all, or those named), in points.

    Bold where it is significant after Holm's correction; pale letters where it may be chance.
    """
    names = tuple(names)
    rows = [row for row in _split(record)[1] if not names or row["name"] in names]
    found = [[change(row, emotion) for emotion in EMOTIONS] for row in rows]
    points = 100 * np.array([[cell[0] for cell in line] for line in found])
    most = max(np.nanmax(np.abs(points)), 1)
    heading = ["change in each class's recall, points (bold: significant)"]
    figure, (axis,) = plots.small_multiples(heading, plots.WIDTH, 1.1 + 0.29 * len(rows), frame="none")

    def words(y, x):
        value = points[y, x]
        text = f"{value:+.1f}".replace("-", "−") if np.isfinite(value) else "–"
        if found[y][x][2]:
            return text, {"weight": "bold"}
        return text, {} if abs(value) > most / 4 else {"color": SOFT}

    options = {"cmap": "RdBu", "vmin": -most, "vmax": most, "aspect": "auto", "alpha": 0.9}
    plots.heatmap(axis, points, [row["title"] for row in rows], EMOTIONS, words, **options)
    axis.xaxis.tick_top()
    plots.colour_names(axis.get_xticklabels())
    axis.tick_params(length=0)
    return figure


@speaks
def views(record: Mapping, metric: str = "macro_f1") -> Figure:
    """The ranking of all arms on each of ``VIEWS``, side by side; the three that move most are coloured.

    Neighbours in rank often differ by chance: the numbers, in per cent, say by how much.
    """
    rows = record["metrics"]["rows"]
    shown = {view: title for view, title in VIEWS.items() if view in rows[0]}
    values = np.array([[find(row, metric, view)[0] for row in rows] for view in shown])  # (v, arms)
    ranks = np.argsort(np.argsort(-values, axis=1, kind="stable"), axis=1)
    moved = np.argsort(-np.ptp(ranks, axis=0), kind="stable")[:3]
    heading = [f"{_TITLES[metric]}, per cent, and its ranks; coloured: the 3 that move most"]
    figure, (axis,) = plots.small_multiples(heading, plots.WIDTH, 1.2 + 0.29 * len(rows), frame="none")
    for i, row in enumerate(rows):
        none = row["name"] == "none"
        colour = INK if none else COLOURS[(0, 4, 2)[list(moved).index(i) % 3]] if i in moved else PALE
        strong = none or i in moved
        style = {"color": plots.legible(colour) if strong else SOFT, "fontsize": 9, "va": "center"}
        style["weight"] = "bold" if strong else "normal"
        axis.plot(ranks[:, i], color=colour, linewidth=2.4 if strong else 1.0, zorder=2 if strong else 1)
        for x, y in enumerate(ranks[:, i]):
            box = {"boxstyle": "round,pad=0.2", "facecolor": "white", "edgecolor": "none"}
            axis.text(x, y, f"{100 * values[x, i]:.1f}", ha="center", bbox=box, zorder=3, **style)
        axis.text(-0.2, ranks[0, i], row["title"], ha="right", **style)
        if len(shown) > 1:
            axis.text(len(shown) - 0.8, ranks[-1, i], f"{ranks[-1, i] + 1}", ha="left", **style)
    axis.set_xlim(-1.55, len(shown) - 0.6)
    axis.set_ylim(len(rows) - 0.4, -0.6)
    names = [fill(say(title), 16) for title in shown.values()]
    axis.set_xticks(range(len(shown)), names, fontsize=9.5, weight="bold")
    axis.xaxis.tick_top()
    axis.set_yticks([])
    axis.tick_params(length=0)
    return figure


@speaks
def forgetting(record: Mapping, columns: int = 3, exam: str = "PublicTest") -> Figure:
    """Recall while a second stage learns: disgust, fear and the mean of the other five.

    A panel for each arm, from before its first step to after its last; dashed: where each line began.
    exam: name of the validation set.
    """
    rows = [row for row in record["metrics"]["rows"] if row.get("curve") is not None]
    titles, height = [row["title"] for row in rows], 0.7 + 1.95 * -(-len(rows) // columns)
    options = {"frame": "bottom", "percents": "y", "sharex": True, "sharey": True}
    figure, axes = plots.small_multiples(titles, plots.WIDTH, height, columns, **options)
    rare = [EMOTIONS.index(emotion) for emotion in ("disgust", "fear")]
    rest = [i for i in range(len(EMOTIONS)) if i not in rare]
    names, colours = ("disgust", "fear", "others"), [*(COLOURS[i] for i in rare), INK]
    for axis, row in zip(axes, rows, strict=True):
        curve = np.array(row["curve"], float)  # (13, 7)
        lines = [*(curve[:, i] for i in rare), np.nanmean(curve[:, rest], axis=1)]
        for line, colour, name in zip(lines, colours, names, strict=True):
            axis.hlines(line[0], 0, 1, color=colour, linewidth=0.8, linestyle=(0, (4, 3)), alpha=0.6)
            x = np.linspace(0, 1, len(curve))
            style = {"markersize": 4, "markevery": [-1], "label": name, "clip_on": False}
            axis.plot(x, line, "o-", color=colour, linewidth=2.2, **style)
        ends = [line[-1] for line in lines]
        plots.end_labels(axis, 1.05, ends, [f"{end:.0%}" for end in ends], colours, 0.15)
        axis.set(xlim=(0, 1.3), ylim=(0, 1), yticks=(0, 0.5, 1))
        axis.set_xticks([0, 1], ["begin", "end"])
        axis.spines["bottom"].set_bounds(0, 1)
    figure.get_layout_engine().set(hspace=0.06)
    figure.supxlabel("progress of the second stage", fontsize=9.5)
    figure.supylabel(f"recall, {exam}", fontsize=9.5)
    keys = {"disgust": colours[0], "fear": colours[1], "mean of the other five": INK}
    lines = {name: {"color": colour, "linewidth": 2.2} for name, colour in keys.items()}
    plots.legend_below(figure, lines, "outside upper center")
    return figure


def two_cuts(x: np.ndarray, classes: np.ndarray, cuts: Mapping[str, float]) -> Figure:
    """A common class (0) and a rare one (1) along one feature x, (n,) each, and where classifiers cut.

    cuts: name -> x.
    """
    figure, (axis,) = plots.small_multiples([""], 8.5, 2.6, frame="bottom")
    for i, (name, colour) in enumerate((("common", COLOURS[6]), ("rare", COLOURS[1]))):
        axis.hist(x[classes == i], 160, range=(-4, 4), color=colour, alpha=0.75, label=name)
    for (name, cut), side in zip(cuts.items(), ("right", "left"), strict=True):
        axis.axvline(cut, color=INK, linestyle="--")
        axis.text(cut, axis.get_ylim()[1], f" {name} ", ha=side, va="top")
    axis.set(xlabel="x", yticks=[], xlim=(-4, 4))
    axis.legend(frameon=False, loc="upper left")
    return figure


# --- small things ------------------------------------------------------------------------------------------


def _split(record: Mapping) -> tuple[Mapping, list[Mapping]]:
    """The row of "none", and the others."""
    rows = list(record["metrics"]["rows"])
    first = next(row for row in rows if row["name"] == "none")
    return first, [row for row in rows if row is not first]


def _points(value: float, _: int) -> str:
    return "0" if abs(value) < 1e-9 else f"{value:+g}".replace("-", "−")
