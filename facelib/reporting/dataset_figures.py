"""What the audit found, as a page of text and as figures: counts, label noise, rare against noisy.

What pixels alone tell is drawn in ``dataset_figures``.

Each function but ``describe`` returns a matplotlib Figure. Where one takes ``sets``, it draws audits side by
side: a mapping from a title to what ``Audit.to_metrics`` gives, or to the "metrics" of ``02-audit-*.json``,
which is the same. Emotions stand in the order of ``EMOTIONS`` and in their colours throughout.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from facelib.data import synthetic_faces
from facelib.emotions import COLOURS, EMOTIONS
from facelib.reporting.plots import INK, PALE, heading, sheet
from facelib.study.dataset_audit import READERS
from facelib.study.metrics import wilson

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

_K = len(EMOTIONS)
#: How the readers of ``facelib.study.dataset_audit`` are drawn: marker, and whether it is filled.
_MARKS = {
    "annotator": ("o", False),
    "majority": ("o", True),
    "informed": ("D", False),
    "balanced": ("D", True),
}


def describe(record: Mapping) -> str:
    """A metrics file of an audit (``02-audit-*.json``) as a page for people, its words explained below.

    This is what `facelib audit` prints.
    """
    found, readers = record["metrics"], record["metrics"].get("best_recall")
    head = f"{'label':<10}{'pictures':>9}{'share':>9}{'imbalance':>11}"
    head += f"{'agreed':>9}   {'best recall':<20}" if readers else "  "
    lines = [f"{found['source']}: {record['n']:,} pictures (digest {record['data']})", "", f"{head}verdict"]
    for emotion in EMOTIONS:
        row = found["classes"][emotion]
        ratio = "none" if row["imbalance"] is None else f"x {row['imbalance']:.1f}"
        line = f"{emotion:<10}{row['n']:>9,}{_share(row['share']):>9}{ratio:>11}"
        if readers:
            one = readers["balanced"][emotion]
            line += f"{_share(row['agreement']):>9}   "
            sure = None not in one["interval"]
            line += f"{_share(one['recall']):<6}" + (" [{:.0%} to {:.0%}]" if sure else "").format(
                *one["interval"]
            )
        else:
            line += "  "
        verdict = " and ".join(word for word in ("rare", "noisy") if row.get(word))
        lines.append(f"{line:<{len(head)}}{verdict}".rstrip())
    lines += ["", "imbalance    how many times as many pictures the largest class has"]
    lines += ["rare         less than half of an even share"]
    if readers:
        lines += [
            "agreed       pictures whose label is the leading answer of the FER+ annotators",
            "best recall  what a reader of their votes finds whom rarity costs nothing [95 % interval]",
            "noisy        best recall below three quarters of the classes' mean",
        ]
    else:
        lines += ["There are no FER+ votes, so nothing is said of noise: see `facelib data info`."]
    copies, near = found["exact_duplicates"], found["near_duplicates"]
    lines += [
        "",
        f"Copies: {copies['groups']:,} pictures stand there more than once ({copies['rows']:,} rows), "
        f"{copies['contradictory']:,} of them under several labels;",
        f"        {near['pairs']:,} pairs are nearly equal, {near['label_differs']:,} under two labels.",
    ]
    for split in ("PublicTest", "PrivateTest"):
        leaked, n = found["also_in_training"][split], sum(found["counts"][split])
        part = _share(leaked["leaked"] / max(n, 1))
        lines += [f"        {split}: {leaked['leaked']:,} of {n:,} ({part}) stand in Training to the pixel,"]
        lines[-1] += f" {leaked['near_leaked']:,} more nearly."
    lines += [f"Pictures: {found['constant']:,} are one even gray."]
    if readers:
        lines[-1] = lines[-1][:-1] + f"; voters see no usable face in {found['no_face']:,}"
        lines[-1] += f" and agree on another emotion than the label in {found['suspect']:,}."
    if "check" in found:
        lines += ["", "Compared with the truth, which is known of drawn faces:"]
        for name, score in found["check"].items():
            line = f"  {name.replace('_', ' '):<16}{score['true']:>6,} true, {score['found']:>6,} found"
            if score.get("precision") is not None and score.get("recall") is not None:
                line += f": {_share(score['recall'])} of the true ones, {_share(score['precision'])} rightly"
            lines += [line]
    return "\n".join(lines)


def class_counts(sets: Mapping[str, Mapping]) -> Figure:
    """Pictures of each class, one panel a set, and in the last panel how many times larger the largest is."""
    figure = sheet(9.5, 3.3)
    widths = [*[1.25] * len(sets), 1]
    *grid, last = figure.subplots(1, len(sets) + 1, sharey=True, width_ratios=widths)
    for axis, (title, found) in zip(grid, sets.items(), strict=True):
        n = _column(found, "n")
        axis.barh(EMOTIONS, n, color=COLOURS, height=0.72)
        for y, count in enumerate(n):
            axis.text(
                count, y, f" {count:,.0f} · {count / n.sum():.1%}", va="center", fontsize=8.5, color=INK
            )
        axis.set(xlim=(0, 1.45 * n.max()), xticks=[], xlabel=f"pictures (of {n.sum():,.0f})")
        heading(axis, title)
    for i, (title, found) in enumerate(sets.items()):
        ratio = _column(found, "imbalance")
        y = np.arange(_K) + (0.18 if i else -0.18) * (len(sets) > 1)
        last.hlines(y, 1, ratio, color=COLOURS, linewidth=2, alpha=0.5)
        face = ["white"] * _K if i else COLOURS
        last.scatter(ratio, y, color=face, edgecolor=COLOURS, s=42, zorder=3)
        last.scatter([], [], color="white" if i else INK, edgecolor=INK, s=42, label=title)
        worst = int(np.nanargmax(ratio))
        last.text(1.15 * ratio[worst], y[worst], f"×{ratio[worst]:.1f}", va="center", fontsize=8.5, color=INK)
    last.set_xscale("log")
    last.set_xticks([1, 2, 4, 8, 16], [f"×{x}" for x in (1, 2, 4, 8, 16)])
    last.minorticks_off()
    last.set(xlim=(0.93, 30), xlabel="largest class ÷ this class")
    last.axvline(1, color=PALE, linewidth=0.8)
    last.legend(frameon=False, fontsize=7.5, loc="lower right", handletextpad=0.1, borderaxespad=0)
    heading(last, "imbalance ratio")
    grid[0].invert_yaxis()
    grid[0].tick_params(labelsize=10)
    for axis in (*grid, last):
        axis.spines[["top", "right", "left"]].set_visible(False)
        axis.tick_params(axis="y", left=False)
    return figure


def label_to_answer(sets: Mapping[str, Mapping]) -> Figure:
    """Heat maps: of the pictures with a label (row), the per cent with each leading answer (column)."""
    figure = sheet(4.9 * len(sets), 4.6)
    grid = figure.subplots(1, len(sets), squeeze=False).ravel()
    for axis, (title, found) in zip(grid, sets.items(), strict=True):
        matrix = np.array(found["agreement"]["matrix"], float)
        share = 100 * matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
        axis.imshow(share, cmap="Blues", vmin=0, vmax=100)
        for row in range(_K):
            for column in range(_K):
                value = share[row, column]
                axis.text(
                    column, row, f"{value:.0f}" if value >= 0.5 else "·", ha="center", va="center",
                    fontsize=10.5 if row == column else 9, weight="bold" if row == column else "normal",
                    color="white" if value > 55 else INK if value >= 0.5 else PALE,
                )  # fmt: skip
        fear = EMOTIONS.index("fear")
        axis.add_patch(_box(-0.5, fear - 0.5, _K, 1, COLOURS[fear]))
        axis.set_xticks(range(_K), EMOTIONS, rotation=40, ha="right", rotation_mode="anchor")
        axis.set_yticks(range(_K), EMOTIONS)
        axis.set(xlabel="the annotators' leading answer", ylabel="what the label says")
        for tick, colour in zip(axis.get_yticklabels(), COLOURS, strict=True):
            tick.set(color=colour, weight="bold")
        axis.tick_params(length=0, labelsize=9.5)
        axis.spines[:].set_visible(False)
        heading(axis, f"{title}: {matrix.trace() / matrix.sum():.0%} agree")
    return figure


def label_flow(found: Mapping, title: str, highlight: str = "fear") -> Figure:
    """Every picture flows from its label (left) to the leading answer (right); one label's flow is coloured.

    found: the metrics of one audit. The bands' heights are numbers of pictures.
    """
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    matrix = np.array(found["agreement"]["matrix"], float)
    chosen, total = EMOTIONS.index(highlight), matrix.sum()
    gap = 0.018 * total
    starts = [np.r_[0, np.cumsum(matrix.sum(axis) + gap)[:-1]] for axis in (1, 0)]  # of labels, of answers
    left, right = (start.copy() for start in starts)
    figure = sheet(8.6, 5.4)
    axis = figure.subplots()
    moves = [Path.MOVETO, *[Path.CURVE4] * 3, Path.LINETO, *[Path.CURVE4] * 3, Path.CLOSEPOLY]
    for row in range(_K):
        colour, alpha = (COLOURS[row], 0.8) if row == chosen else ("#B8B8B8", 0.3)
        for column in range(_K):
            a, b, n = left[row], right[column], matrix[row, column]
            upper, lower = (
                [(0, a), (0.5, a), (0.5, b), (1, b)],
                [(1, b + n), (0.5, b + n), (0.5, a + n), (0, a + n)],
            )
            band = PathPatch(Path([*upper, *lower, (0, a)], moves), color=colour, alpha=alpha, linewidth=0)
            axis.add_patch(band).set_zorder(2 if row == chosen else 1)
            left[row], right[column] = a + n, b + n
    labels, answers, went = matrix.sum(1), matrix.sum(0), matrix[chosen] / max(matrix[chosen].sum(), 1)
    for i, (emotion, colour) in enumerate(zip(EMOTIONS, COLOURS, strict=True)):
        for x, start, n in ((0, starts[0][i], labels[i]), (1, starts[1][i], answers[i])):
            axis.add_patch(_box(x - 0.012, start, 0.024, n, colour, fill=True))
            place, side = (x - 0.025, "right") if x == 0 else (x + 0.025, "left")
            style = {"ha": side, "va": "center", "fontsize": 10, "color": colour, "weight": "bold"}
            axis.text(place, start + n / 2, f"{emotion}  {n:,.0f}", **style)
        share = {"ha": "right", "va": "center", "fontsize": 10, "color": COLOURS[chosen]}
        axis.text(1.52, starts[1][i] + answers[i] / 2, f"{went[i]:.0%} of {highlight}", **share)
    for x, text in ((0, "the label says"), (1, "the annotators' leading answer")):
        axis.text(x, -0.035 * total, text, ha="center", fontsize=9.5, color=INK)
    axis.set(xlim=(-0.24, 1.53), ylim=(total + 7 * gap, -0.07 * total))
    axis.axis("off")
    heading(axis, f"{title}: where the pictures labelled {highlight} go")
    return figure


def rare_noisy(sets: Mapping[str, Mapping]) -> Figure:
    """The plane of the two troubles: how rare a class is (right), how much of it its best reader misses (up).

    Rare: how many times an even share (1/7) is larger than the class's. Noisy: what the *balanced* reader of
    ``facelib.study.dataset_audit``, whom rarity costs nothing, does not find; with 95 % intervals. The lines
    are the limits of that module: half an even share, and a recall of three quarters of the classes' mean.
    """
    figure = sheet(5.0 * len(sets), 4.7)
    grid = figure.subplots(1, len(sets), squeeze=False, sharex=True, sharey=True).ravel()
    points = []
    for axis, (title, found) in zip(grid, sets.items(), strict=True):
        readers = found["best_recall"]["balanced"]
        missed = 1 - np.array([readers[e]["recall"] for e in EMOTIONS], float)
        low, high = 1 - np.array([readers[e]["interval"] for e in EMOTIONS], float).T[::-1]
        rarity = 1 / (_K * _column(found, "share"))
        limit = 1 - 0.75 * np.nanmean(1 - missed)
        points.append((rarity, missed, high))
        axis.axvspan(2, 99, color="#009E73", alpha=0.07, linewidth=0)
        axis.axhspan(limit, 2, color="#7B4EA3", alpha=0.07, linewidth=0)
        axis.axvline(2, color=PALE, linewidth=0.9, linestyle="--")
        axis.axhline(limit, color=PALE, linewidth=0.9, linestyle="--")
        axis.vlines(rarity, low, high, color=COLOURS, linewidth=2.4, alpha=0.6)
        axis.scatter(rarity, missed, color=COLOURS, s=90, edgecolor="white", linewidth=1.2, zorder=3)
        heading(axis, title)
        axis.set_xlabel("how rare: even share ÷ its share")
        axis.text(0.46, limit + 0.012, "noisy", color="#7B4EA3", fontsize=11, style="italic")
        axis.text(
            22, limit - 0.012, "rare", color="#00795A", fontsize=11, style="italic", ha="right", va="top"
        )
        axis.spines[["top", "right"]].set_visible(False)
    top = max(0.8, 1.06 * max(np.nanmax(high) for _, _, high in points))
    grid[0].set(xlim=(0.44, 24), ylim=(-0.04, top), xscale="log")
    grid[0].set_xticks([0.5, 1, 2, 4, 8, 16], ["×0.5", "×1", "×2", "×4", "×8", "×16"])
    for axis in grid:
        axis.minorticks_off()
    grid[0].yaxis.set_major_formatter("{x:.0%}")
    grid[0].set_ylabel("how noisy: missed by the best balanced reader")
    figure.draw_without_rendering()  # lays the axes out, so that names can be placed in pixels
    for axis, (rarity, missed, _) in zip(grid, points, strict=True):
        _names(axis, rarity, missed)
    return figure


def best_recall(
    sets: Mapping[str, Mapping], networks: Mapping[str, tuple[str, Mapping]] | None = None
) -> Figure:
    """Recall of each class by the four readers of ``facelib.study.dataset_audit``, with 95 % intervals.

    networks: title of a set -> (name, metrics of ``metrics.classification_metrics``) of a network on that
    set, whose recall is drawn beside the readers' as a cross.
    """
    figure = sheet(4.9 * len(sets), 4.8)
    grid = figure.subplots(1, len(sets), squeeze=False, sharex=True, sharey=True).ravel()
    offsets = dict(zip(READERS, np.linspace(-0.24, 0.24, len(READERS)), strict=True))
    for axis, (title, found) in zip(grid, sets.items(), strict=True):
        for y in range(0, _K, 2):
            axis.axhspan(y - 0.5, y + 0.5, color="#F4F4F4", linewidth=0)
        for reader, offset in offsets.items():
            marker, filled = _MARKS[reader]
            each = [found["best_recall"][reader][e] for e in EMOTIONS]
            y, recall = np.arange(_K) + offset, np.array([one["recall"] for one in each], float)
            low, high = np.array([one["interval"] for one in each], float).T
            axis.hlines(y, low, high, color=COLOURS, linewidth=1.8, alpha=0.6)
            axis.scatter(
                recall,
                y,
                marker=marker,
                s=34,
                color=COLOURS if filled else "white",
                edgecolor=COLOURS,
                zorder=3,
            )
            axis.scatter(
                [], [], marker=marker, s=34, color=INK if filled else "white", edgecolor=INK, label=reader
            )
        if networks and title in networks:
            name, metrics = networks[title]
            recall = [metrics["recall"][e] for e in EMOTIONS]
            axis.scatter(
                recall, np.arange(_K), marker="x", s=64, color="black", linewidth=1.8, zorder=4, label=name
            )
        axis.axvline(1 / _K, color=PALE, linewidth=0.9, linestyle=":")
        axis.set_yticks(range(_K), EMOTIONS, fontsize=10)
        axis.set(xlim=(0, 1.02), ylim=(_K - 0.5, -0.5), xlabel="recall (dotted: guessing)")
        axis.xaxis.set_major_formatter("{x:.0%}")
        axis.spines[["top", "right", "left"]].set_visible(False)
        axis.tick_params(axis="y", left=False)
        axis.set_title(title, fontsize=10.5, loc="left", weight="bold")
    handles, names = grid[-1].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(names), frameon=False, fontsize=9)
    return figure


# --- small things ------------------------------------------------------------------------------------------


def _column(found: Mapping, key: str) -> np.ndarray:
    """One number of each class, (7,) float64; what a metrics file holds as null is nan."""
    return np.array([found["classes"][emotion][key] for emotion in EMOTIONS], float)


def _share(value: float | None) -> str:
    return "none" if value is None else f"{value:.1%}"


def _box(x: float, y: float, width: float, height: float, colour: str, fill: bool = False):
    from matplotlib.patches import Rectangle

    edge = "none" if fill else colour
    return Rectangle(
        (x, y), width, height, fill=fill, facecolor=colour, edgecolor=edge, linewidth=2, zorder=3
    )


def _names(axis: Axes, x: np.ndarray, y: np.ndarray) -> None:
    """Name the points, each on the first side where its name meets no point and no other name."""
    from matplotlib.transforms import Bbox

    scale = axis.figure.dpi / 72
    there = axis.transData.transform(np.stack([x, y], 1)) / scale  # in points, as letters are
    taken = [Bbox.from_bounds(px - 5, py - 5, 10, 10) for px, py in there]
    frame = Bbox(axis.bbox.get_points() / scale)
    order = np.argsort(-x)  # from the right: a crowd then spreads to the left
    for i in order[np.isfinite(there[order]).all(1)]:
        wide, high = 6.9 * len(EMOTIONS[i]), 11
        middle, level = -wide / 2, -high / 2
        sides = [(8, level), (-8 - wide, level), (middle, -8 - high), (middle, 8)]
        sides += [(dx, dy) for dy in (-8 - high, 8, -22 - high, 22) for dx in (4, -4 - wide, middle)]
        boxes = [Bbox.from_bounds(*(there[i] + side), wide, high) for side in sides]
        others = taken[:i] + taken[i + 1 :]
        free = [
            box for box in boxes if not box.count_overlaps(others) and frame.x0 < box.x0 and box.x1 < frame.x1
        ]
        box = (free or boxes)[0]
        taken.append(box)
        axis.annotate(
            EMOTIONS[i], (x[i], y[i]), (box.x0 - there[i][0], box.y0 - there[i][1] + 2), fontsize=10,
            textcoords="offset points", color=COLOURS[i], weight="bold",
        )  # fmt: skip


# --- pixels -----------------------------------------------------------------------------------------------

#: The measures of ``dataset_audit.quality`` that are drawn, with the name of their axis.
MEASURES = {
    "sharpness": "sharpness (variance of the Laplacian)",
    "contrast": "contrast (standard deviation)",
    "brightness": "exposure (mean brightness)",
    "resolution": "resolution really present (pixels)",
}


def drawn_faces(columns: int = 12, size: int = 96) -> Figure:
    """The contact sheet of the drawn faces: a row for each emotion, ``columns`` persons, and the rows' names.

    The persons are always the same, whatever set a notebook draws, so that the saved picture is too.
    """
    gap = 4
    faces = synthetic_faces.contact_sheet(columns=columns, size=size, gap=gap)
    left = 0.95
    width = 8.0
    inch = (width - left) / faces.shape[1]
    figure = sheet(width, faces.shape[0] * inch, layout=None, dpi=90)  # many grays: the notebook stays small
    axis = figure.add_axes((left / width, 0, 1 - left / width, 1))
    axis.imshow(faces, cmap="gray", vmin=0, vmax=255, interpolation="antialiased")
    for row, (emotion, colour) in enumerate(zip(EMOTIONS, COLOURS, strict=True)):
        middle = gap + row * (size + gap) + size / 2
        axis.text(
            -2 * gap, middle, emotion, ha="right", va="center", fontsize=11, weight="bold", color=colour
        )
    axis.axis("off")
    return figure


def mean_faces(images: np.ndarray, labels: np.ndarray) -> Figure:
    """The mean picture of each class, and below it what sets it apart from the mean of all classes.

    images: (n, s, s) uint8; labels: (n,) in 0..6. The lower row is red where the class is brighter than the
    mean of the classes' means, blue where it is darker, on one scale; how bright the class is as a whole is
    taken out, since that is light and no expression. An absent class is left out.
    """
    means = {i: images[labels == i].mean(0) for i in range(_K) if (labels == i).any()}
    middle = np.mean(list(means.values()), axis=0)
    apart = {i: mean - middle - (mean - middle).mean() for i, mean in means.items()}
    most = max(np.abs(each).max() for each in apart.values()) or 1
    figure = sheet(9.5, 3.0)
    grid = figure.subplots(2, _K)
    for i, (top, bottom) in enumerate(grid.T):
        top.set_title(EMOTIONS[i], fontsize=10, color=COLOURS[i], weight="bold")
        if i in means:
            top.imshow(means[i], cmap="gray", vmin=0, vmax=255, interpolation="bicubic")
            shown = bottom.imshow(apart[i], cmap="RdBu_r", vmin=-most, vmax=most, interpolation="bicubic")
            bottom.set_xlabel(f"{(labels == i).sum():,} pictures", fontsize=8.5)
        for axis in (top, bottom):
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
    grid[0, 0].set_ylabel("mean", fontsize=9.5)
    grid[1, 0].set_ylabel("minus the mean\nof all classes", fontsize=9.5)
    bar = figure.colorbar(shown, ax=grid[1], shrink=0.8, pad=0.01, aspect=14)
    bar.set_label("gray levels", fontsize=8.5)
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)
    return figure


def leaks(sets: Mapping[str, Mapping]) -> Figure:
    """How much of the two test splits also stands in Training: exact copies, and near ones."""
    figure = sheet(8.2, 0.75 + 0.85 * len(sets))
    axis = figure.subplots()
    names, y = [], 0.0
    for title, found in sets.items():
        for split in ("PublicTest", "PrivateTest"):
            leaked = found["also_in_training"][split]
            n = sum(found["counts"][split])
            left = 0.0
            for kind, colour, alpha in (("leaked", "#D55E00", 1.0), ("near_leaked", "#D55E00", 0.4)):
                share = leaked[kind] / n
                axis.barh(y, share, left=left, color=colour, alpha=alpha, height=0.72, edgecolor="white")
                if share > 0.012:
                    axis.text(
                        left + share / 2, y, f"{leaked[kind]:,}", ha="center", va="center", fontsize=9,
                        color="white" if alpha == 1 else INK,
                    )  # fmt: skip
                left += share
            axis.text(left + 0.001, y, f" {left:.1%} of {n:,}", va="center", fontsize=9, color=INK)
            names.append((y, f"{title}\n{split}"))
            y += 1
        y += 0.35
    axis.set_yticks(*zip(*names, strict=True), fontsize=9)
    axis.invert_yaxis()
    most = max(patch.get_x() + patch.get_width() for patch in axis.patches)
    axis.set(xlim=(0, 1.28 * max(most, 0.01)), xlabel="share of the split that also stands in Training")
    axis.xaxis.set_major_formatter("{x:.0%}")
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.tick_params(axis="y", left=False)
    for alpha, text in ((1.0, "to the pixel"), (0.4, "nearly (perceptual hash and correlation)")):
        axis.bar(0, 0, color="#D55E00", alpha=alpha, label=text)
    axis.legend(frameon=False, fontsize=9, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return figure


def twins(found: Mapping, title: str) -> Figure:
    """Of the near-equal pairs in which a class occurs, the share whose two labels differ (Wilson's interval).

    Two copies of one photograph were labelled twice by the same procedure, so this is the labels' own
    repeatability. A photograph with three copies counts in three pairs: the intervals are a little narrow.
    """
    counted = found["near_duplicates"]["label_differs_of"]
    n, differ = (np.array([counted[e][key] for e in EMOTIONS], float) for key in ("pairs", "differ"))
    share, (low, high) = differ / np.where(n > 0, n, np.nan), wilson(differ, n)
    figure = sheet(8.2, 2.9)
    axis = figure.subplots()
    axis.barh(EMOTIONS, share, color=COLOURS, height=0.7)
    axis.hlines(range(_K), low, high, color=INK, linewidth=1.4)
    for y in range(_K):
        if n[y]:
            axis.text(high[y], y, f"  {differ[y]:.0f} of {n[y]:.0f}", va="center", fontsize=9, color=INK)
    axis.set(xlim=(0, 1.2 * np.nanmax(high)), xlabel="share of pairs whose two labels differ")
    axis.invert_yaxis()
    axis.xaxis.set_major_formatter("{x:.0%}")
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.tick_params(axis="y", left=False, labelsize=10)
    heading(axis, f"{title}: one photograph, two labels")
    return figure


def quality_distributions(
    rows: DataFrame, title: str, other: Mapping | None = None, other_title: str = ""
) -> Figure:
    """Box plots of ``MEASURES`` per class: median, half of the pictures, nine tenths; outliers are not drawn.

    rows: ``Audit.rows``. other: the metrics of another audit, whose medians are marked.
    """
    figure = sheet(9.5, 5.6)
    grid = figure.subplots(2, 2, sharex=True).ravel()
    for axis, (measure, label) in zip(grid, MEASURES.items(), strict=True):
        values = [rows.loc[(rows.label == i) & ~rows.constant, measure] for i in range(_K)]
        drawn = axis.boxplot(
            values, positions=range(_K), widths=0.62, whis=(5, 95), showfliers=False, patch_artist=True,
            medianprops={"color": "white", "linewidth": 2}, whiskerprops={"color": PALE},
            capprops={"visible": False},
        )  # fmt: skip
        for box, colour in zip(drawn["boxes"], COLOURS, strict=True):
            box.set(facecolor=colour, edgecolor="none", alpha=0.85)
        if other is not None:
            medians = np.array([other["classes"][e][measure] for e in EMOTIONS], float)
            axis.scatter(
                range(_K), medians, marker="D", s=30, color="white", edgecolor="black",
                zorder=4, label=f"median of {other_title}",
            )  # fmt: skip
        if measure == "sharpness":
            axis.set_yscale("log")
        axis.set_xticks(range(_K), EMOTIONS, rotation=25)
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="y", color="#E4E4E4", linewidth=0.8)
        axis.set_axisbelow(True)
        axis.set_title(label, fontsize=10, loc="left")
        axis.tick_params(labelsize=9)
    if other is not None:
        grid[0].legend(frameon=True, framealpha=0.9, edgecolor="none", fontsize=8, loc="lower right")
    figure.suptitle(title, fontsize=11, weight="bold", x=0.01, ha="left")
    return figure
