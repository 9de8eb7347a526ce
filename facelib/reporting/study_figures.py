"""The controlled study as figures, from the record that ``experiments.record`` writes: no network is needed.

Each function takes a record as ``metrics.read_metrics`` gives it and returns a matplotlib Figure. Wherever
an arm is compared with "nothing", a filled mark says that the difference holds (paired bootstrap over
pictures and seeds, p < 0.05 after Holm's correction over the arms), an open one that it may be chance.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np

from facelib.emotions import COLOURS, EMOTIONS
from facelib.reporting.plots import INK, PALE, apart, bare, few_ticks, percent, sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BAND = "#EFEFEF"
#: The three ways to mark the answers, as ``ferplus.views`` calls them, and their titles.
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
_COLOUR = dict(zip(EMOTIONS, COLOURS, strict=True)) | {
    "fear_to_surprise": COLOURS[EMOTIONS.index("surprise")]
}


def find(row: Mapping, metric: str, view: str = "all") -> tuple[float, np.ndarray, np.ndarray]:
    """An arm's value of a metric, its 95 % interval (2,), and what each seed reached (s,)."""
    keys = ["recall" if metric in EMOTIONS else metric]
    keys += [f"{keys[0]}_interval", f"{keys[0]}_runs"]
    value, ends, runs = (row[view][k][metric] if metric in EMOTIONS else row[view][k] for k in keys)
    return np.array(value, float).item(), np.array(ends, float), np.array(runs, float)


def change(
    row: Mapping, metric: str, view: str = "all", control: str = "none"
) -> tuple[float, np.ndarray, bool]:
    """An arm's difference from a control, its 95 % interval (2,), and whether it holds after Holm.

    For the control itself: 0, (0, 0), False.
    """
    if not row[f"against_{control}"]:
        return 0.0, np.zeros(2), False
    against, key = row[f"against_{control}"][view], "recall" if metric in EMOTIONS else metric
    found = [against[k] for k in (key, f"{key}_interval", f"{key}_p_holm")]
    value, ends, p = (each[metric] for each in found) if metric in EMOTIONS else found
    return np.array(value, float).item(), np.array(ends, float), p is not None and p < 0.05


def cures(
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
    figure = sheet(2.2 + 1.72 * len(metrics), 1.05 + 0.29 * len(rows))
    grid = figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
    for axis, metric in zip(grid, metrics, strict=True):
        colour = _COLOUR.get(metric, INK)
        value, (low, high), _ = find(first, metric, view)
        axis.axvspan(low, high, color=_BAND, linewidth=0)
        axis.axvline(value, color=PALE, linewidth=0.9)
        for y, row in enumerate(rows):
            value, ends, runs = find(row, metric, view)
            axis.axhline(y, color="#E4E4E4", linewidth=0.6, zorder=0.5)
            held = row is first or change(row, metric, view)[2]
            axis.hlines(y, *ends, color=colour, linewidth=1.6, alpha=0.55)
            axis.vlines(runs, y - 0.2, y + 0.2, color=colour, linewidth=0.8, alpha=0.75)
            face = colour if held else "white"
            axis.scatter(value, y, s=38, zorder=3, color=face, edgecolor=colour, linewidth=1.4)
        axis.axhline(0.5, color=PALE, linewidth=0.6)
        axis.set_title(_TITLES[metric], fontsize=10, loc="left", weight="bold", color=colour)
        axis.xaxis.set_major_formatter(percent)
        axis.xaxis.set_major_locator(few_ticks())
        axis.tick_params(labelsize=8.5)
        bare(axis)
    grid[0].set_yticks(range(len(rows)), [row["title"] for row in rows], fontsize=9.5)
    grid[0].get_yticklabels()[0].set_weight("bold")
    grid[0].set_ylim(len(rows) - 0.5, -0.6)
    style = {"marker": "o", "linestyle": "", "markeredgecolor": INK, "markersize": 6}
    marks = [grid[0].plot([], [], markerfacecolor=face, **style)[0] for face in (INK, "white")]
    marks += [grid[0].plot([], [], color=INK, marker="|", linewidth=1.6, alpha=0.6)[0]]
    words = ["differs from nothing, also after Holm", "may be chance", "95 % interval; ticks: single seeds"]
    figure.legend(marks, words, loc="outside lower right", ncols=3, frameon=False, fontsize=8.5)
    return figure


def stages(record: Mapping, view: str = "all") -> Figure:
    """The second stages as ``cures`` shows cures, in the order of the study: controls first."""
    return cures(record, ("accuracy", "balanced_accuracy", "macro_f1", "disgust", "fear"), None, view)


def trade(record: Mapping, view: str = "all") -> Figure:
    """What each arm gains in balanced accuracy (up) and what it pays in accuracy (left), in points.

    Bars are 95 % intervals of the differences, long ones cut off; filled where the gain holds.
    """
    _, rows = _split(record)
    gain = [change(row, "balanced_accuracy", view) for row in rows]
    cost = [change(row, "accuracy", view) for row in rows]
    x, y = (100 * np.array([each[0] for each in found]) for found in (cost, gain))
    xs, ys = (100 * np.array([each[1] for each in found]) for found in (cost, gain))
    figure = sheet(8.2, 6.0)
    axis = figure.subplots()
    axis.hlines(y, *xs.T, color=PALE, linewidth=0.8, alpha=0.45)
    axis.vlines(x, *ys.T, color=PALE, linewidth=0.8, alpha=0.45)
    faces = [COLOURS[1] if held else "white" for _, _, held in gain]
    axis.scatter(x, y, s=58, color=faces, edgecolor=COLOURS[1], linewidth=1.5, zorder=3)
    axis.scatter(0, 0, s=70, marker="D", color=INK, zorder=3)
    axis.axhline(0, color=PALE, linewidth=0.8)
    axis.axvline(0, color=PALE, linewidth=0.8)
    wide = 0.34 * np.ptp([0, *x]) + 1  # room for names
    axis.set_xlim(min(0, x.min()) - wide, max(0, x.max()) + wide)
    high = 0.3 * np.ptp([0, *y]) + 0.5
    axis.set_ylim(min(0, y.min()) - high, max(0, y.max()) + high)
    axis.axline((0, 0), slope=-1, color=PALE, linewidth=0.9, linestyle=":", label="gains what it pays")
    axis.set_xlabel("change in accuracy, points (left: pays)")
    axis.set_ylabel("change in balanced accuracy, points (up: gains)")
    axis.legend(frameon=False, fontsize=8.5, loc="lower left")
    axis.spines[["top", "right"]].set_visible(False)
    axis.xaxis.set_major_formatter(_points)
    axis.yaxis.set_major_formatter(_points)
    figure.draw_without_rendering()  # lays the axes out, so that names can be placed in pixels
    _names(axis, np.append(x, 0), np.append(y, 0), [*(row["title"] for row in rows), "nothing"])
    return figure


def recalls(record: Mapping, names: Iterable[str] = (), view: str = "all") -> Figure:
    """Change in each class's recall (columns) by each arm (rows; all, or those named), in points.

    Bold where it holds after Holm; pale letters where it may be chance.
    """
    names = tuple(names)
    rows = [row for row in _split(record)[1] if not names or row["name"] in names]
    found = [[change(row, emotion, view) for emotion in EMOTIONS] for row in rows]
    points = 100 * np.array([[cell[0] for cell in line] for line in found])
    most = max(np.nanmax(np.abs(points)), 1)
    figure = sheet(8.0, 0.75 + 0.29 * len(rows))
    axis = figure.subplots()
    shown = axis.imshow(points, cmap="RdBu", vmin=-most, vmax=most, aspect="auto", alpha=0.9)
    for (y, x), value in np.ndenumerate(points):
        held = found[y][x][2]
        strength = abs(value) / most
        ink = "white" if strength > 0.6 else INK if held or strength > 0.25 else "#777777"
        text = f"{value:+.1f}".replace("-", "−") if np.isfinite(value) else "–"
        axis.text(
            x, y, text, ha="center", va="center", fontsize=9,
            weight="bold" if held else "normal", color=ink,
        )  # fmt: skip
    axis.set_yticks(range(len(rows)), [row["title"] for row in rows], fontsize=9.5)
    axis.xaxis.tick_top()
    axis.set_xticks(range(len(EMOTIONS)), EMOTIONS, fontsize=10, weight="bold")
    for tick, colour in zip(axis.get_xticklabels(), COLOURS, strict=True):
        tick.set_color(colour)
    bare(axis, bottom=False)
    axis.tick_params(length=0)
    bar = figure.colorbar(shown, ax=axis, pad=0.01, fraction=0.03)
    bar.set_label("change in recall, points", fontsize=8.5)
    bar.ax.yaxis.set_major_formatter(_points)
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)
    return figure


def views(record: Mapping, metric: str = "macro_f1", movers: int = 3) -> Figure:
    """The ranking of all arms on each of ``VIEWS``, side by side; who moves by ``movers`` ranks is coloured.

    Neighbours in rank often differ by chance: the numbers, in per cent, say by how much.
    """
    rows = record["metrics"]["rows"]
    shown = {view: title for view, title in VIEWS.items() if view in rows[0]}
    values = np.array([[find(row, metric, view)[0] for row in rows] for view in shown])  # (v, arms)
    ranks = np.argsort(np.argsort(-values, axis=1, kind="stable"), axis=1)
    figure = sheet(3.2 + 2.3 * len(shown), 0.8 + 0.29 * len(rows))
    axis = figure.subplots()
    for i, row in enumerate(rows):
        moved = np.ptp(ranks[:, i]) >= movers
        none = row["name"] == "none"
        colour = INK if none else COLOURS[0] if moved else PALE
        style = {"color": colour, "fontsize": 9.5, "va": "center", "weight": "bold" if none else "normal"}
        axis.plot(ranks[:, i], color=colour, linewidth=2.6 if none else 1.8 if moved else 1.1, zorder=2)
        for x, y in enumerate(ranks[:, i]):
            box = {"boxstyle": "round,pad=0.25", "facecolor": "white", "edgecolor": "none"}
            axis.text(x, y, f"{100 * values[x, i]:.1f}", ha="center", bbox=box, zorder=3, **style)
        words = style | {"color": INK if colour == PALE else colour}
        axis.text(-0.18, ranks[0, i], row["title"], ha="right", **words)
        if len(shown) > 1:
            axis.text(len(shown) - 0.82, ranks[-1, i], row["title"], ha="left", **words)
    axis.set_xlim(-1.35, len(shown) + 0.35)
    axis.set_ylim(len(rows) - 0.4, -0.6)
    axis.set_xticks(range(len(shown)), shown.values(), fontsize=10, weight="bold")
    axis.xaxis.tick_top()
    axis.set_yticks([])
    bare(axis, bottom=False)
    axis.tick_params(length=0)
    axis.set_xlabel(f"{_TITLES[metric]}, per cent; coloured: moves by {movers} ranks or more", fontsize=9)
    return figure


def forgetting(record: Mapping, columns: int = 3, exam: str = "PublicTest") -> Figure:
    """Recall while a second stage learns: disgust, fear and the mean of the other five.

    A panel for each arm, from before its first step to after its last; dashed: where each line began.
    """
    rows = [row for row in record["metrics"]["rows"] if row.get("curve") is not None]
    height = -(-len(rows) // columns)
    figure = sheet(9.5, 0.35 + 1.95 * height)
    grid = figure.subplots(height, columns, sharex=True, sharey=True, squeeze=False).ravel()
    rare = [EMOTIONS.index(emotion) for emotion in ("disgust", "fear")]
    rest = [i for i in range(len(EMOTIONS)) if i not in rare]
    for axis, row in zip(grid, rows, strict=False):
        curve = np.array(row["curve"], float)  # (13, 7)
        lines = [*(curve[:, i] for i in rare), np.nanmean(curve[:, rest], axis=1)]
        x = np.linspace(0, 1, len(curve))
        at = apart([line[-1] for line in lines], 0.115)
        colours = [COLOURS[i] for i in rare] + [INK]
        for line, y, colour, name in zip(lines, at, colours, ("disgust", "fear", "others"), strict=True):
            axis.hlines(line[0], 0, 1, color=colour, linewidth=0.8, linestyle=(0, (4, 3)), alpha=0.6)
            axis.plot(x, line, color=colour, linewidth=2.2, solid_capstyle="round", label=name)
            axis.scatter(x[-1], line[-1], s=16, color=colour, zorder=3)
            text = f"{name} {100 * line[-1]:.0f}"
            axis.text(1.04, y, text, color=colour, fontsize=8.5, va="center", weight="bold")
        axis.set(xlim=(0, 1.42), ylim=(0, 1), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
        axis.xaxis.set_major_formatter(percent)
        axis.yaxis.set_major_formatter(percent)
        axis.set_title(fill(row["title"], 38), fontsize=9.5, loc="left", weight="bold")
        axis.tick_params(labelsize=8.5)
        bare(axis)
        axis.spines["bottom"].set_bounds(0, 1)
    for axis in grid[len(rows) :]:
        axis.axis("off")
    figure.get_layout_engine().set(hspace=0.06)
    figure.supxlabel("share of the second stage that is done", fontsize=9)
    figure.supylabel(f"recall, {exam}", fontsize=9)
    return figure


# --- small things ------------------------------------------------------------------------------------------


def _split(record: Mapping) -> tuple[Mapping, list[Mapping]]:
    """The row of "none", and the others."""
    rows = list(record["metrics"]["rows"])
    first = next(row for row in rows if row["name"] == "none")
    return first, [row for row in rows if row is not first]


def _points(value: float, _: int) -> str:
    return "0" if abs(value) < 1e-9 else f"{value:+g}".replace("-", "−")


def _names(axis: Axes, x: np.ndarray, y: np.ndarray, names: list[str]) -> None:
    """Name the points, each at the nearest place where its name meets no point and no other name."""
    from matplotlib.patheffects import withStroke
    from matplotlib.transforms import Bbox

    scale = axis.figure.dpi / 72
    there = axis.transData.transform(np.stack([x, y], 1)) / scale  # in points, as letters are
    frame = Bbox(axis.bbox.get_points() / scale)
    taken = [Bbox.from_bounds(px - 4, py - 4, 8, 8) for px, py in there]
    moves = [(dx, dy) for dx in range(8, 120, 8) for dy in range(-104, 105, 4)]
    moves.sort(key=lambda move: np.hypot(*move))
    for i in np.argsort(-there[:, 1]):
        wide, high = 4.9 * len(names[i]) + 4, 12
        places = [(x0, dy - 5.5) for dx, dy in moves for x0 in (dx, -dx - wide)]
        boxes = [Bbox.from_bounds(*(there[i] + place), wide, high) for place in places]
        free = [
            box
            for box in boxes
            if not box.count_overlaps(taken)
            and frame.x0 < box.x0 and box.x1 < frame.x1 and frame.y0 < box.y0 and box.y1 < frame.y1
        ]  # fmt: skip
        box = (free or boxes)[0]
        taken.append(box)
        right = box.x0 > there[i][0]
        offset = (box.x0 if right else box.x1) - there[i][0], box.y0 + 5.5 - there[i][1]
        far = np.hypot(*offset) > 16
        axis.annotate(
            names[i], (x[i], y[i]), offset, textcoords="offset points", fontsize=8.8, color=INK,
            ha="left" if right else "right", va="center", annotation_clip=False, zorder=4,
            path_effects=[withStroke(linewidth=3, foreground="white")],
            arrowprops={"arrowstyle": "-", "color": PALE, "linewidth": 0.6} if far else None,
        )  # fmt: skip
