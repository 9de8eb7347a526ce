"""What the audit found, as a page of text and as figures: counts, label noise, rare against noisy, pixels.

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
from facelib.language import say, speaks
from facelib.reporting import plots
from facelib.reporting.plots import INK, PALE, THEIRS
from facelib.study.dataset_audit import READERS
from facelib.study.metrics import wilson

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

_K = len(EMOTIONS)
#: How the readers of ``facelib.study.dataset_audit`` are drawn: marker, and whether it is filled.
_MARKS = dict(zip(READERS, (("o", False), ("o", True), ("D", False), ("D", True)), strict=True))
#: The measures of ``dataset_audit.quality`` that are drawn, with the name of their axis.
MEASURES = {
    "sharpness": "sharpness (variance of the Laplacian)",
    "contrast": "contrast (standard deviation)",
    "brightness": "exposure (mean brightness)",
    "resolution": "resolution really present (pixels)",
}


@speaks
def describe(record: Mapping) -> str:
    """A metrics file of an audit (``02-audit-*.json``) as a page for people, its words explained below.

    This is what `facelib audit` prints.
    """
    found, readers = record["metrics"], record["metrics"].get("best_recall")
    head = f"{'label':<10}{'pictures':>9}{'share':>9}{'imbalance':>11}"
    head += f"{'agreed':>9}   {'best recall':<21}" if readers else "  "
    lines = [f"{found['source']}: {record['n']:,} pictures (digest {record['data']})", "", f"{head}verdict"]
    for emotion in EMOTIONS:
        row = found["classes"][emotion]
        ratio = "none" if row["imbalance"] is None else f"x {row['imbalance']:.1f}"
        line = f"{emotion:<10}{row['n']:>9,}{_share(row['share']):>9}{ratio:>11}"
        if readers:
            one = readers["balanced"][emotion]
            line += f"{_share(row['agreement']):>9}   "
            ends = "" if None in one["interval"] else " [{:.0%} to {:.0%}]"
            line += f"{_share(one['recall']):<6}" + ends.format(*one["interval"])
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
        lines += ["", "Compared with the truth, which is known of synthetic faces:"]
        for name, score in found["check"].items():
            line = f"  {name.replace('_', ' '):<16}{score['true']:>6,} true, {score['found']:>6,} found"
            if score.get("precision") is not None and score.get("recall") is not None:
                line += f": {_share(score['recall'])} of the true ones, {_share(score['precision'])} rightly"
            lines += [line]
    return say("\n".join(lines))


@speaks
def class_counts(sets: Mapping[str, Mapping]) -> Figure:
    """Pictures of each class, one panel a set, and in the last panel how many times larger the largest is."""
    titles, widths = [*sets, "imbalance ratio"], [*[1.2] * len(sets), 1]
    options = {"frame": "bottom", "sharey": True, "width_ratios": widths}
    figure, (*axes, last) = plots.small_multiples(titles, plots.WIDTH, 3.3, **options)
    for i, (axis, found) in enumerate(zip(axes, sets.values(), strict=True)):
        n, ratio = _column(found, "n"), _column(found, "imbalance")
        bars = axis.barh(EMOTIONS, n, color=COLOURS, height=0.72)
        texts = [f" {count:,.0f} · {count / n.sum():.1%}" for count in n]
        axis.bar_label(bars, texts, fontsize=9, color=INK)
        axis.set(xlim=(0, 1.75 * n.max()), xticks=[], xlabel=f"pictures (of {n.sum():,.0f})")
        y = np.arange(_K) + (0.18 if i else -0.18) * (len(sets) > 1)
        ends = np.stack([np.ones(_K), ratio], 1)
        plots.interval_plot(last, y, ratio, ends, COLOURS, filled=np.full(_K, not i))
        worst = int(np.nanargmax(ratio))
        last.text(1.15 * ratio[worst], y[worst], f"×{ratio[worst]:.1f}", va="center", fontsize=9, color=INK)
    last.set(xlim=(0.93, 30), xlabel="largest class ÷ this class", xscale="log")
    last.set_xticks([1, 2, 4, 8, 16], [f"×{x}" for x in (1, 2, 4, 8, 16)])
    last.minorticks_off()
    last.axvline(1, color=PALE, linewidth=0.8)
    if len(sets) > 1:
        keys = {title: plots.OPEN | {"markerfacecolor": ink} for title, ink in zip(sets, (INK, "white"))}
        plots.legend_below(figure, keys, "outside lower right")
    axes[0].invert_yaxis()
    return figure


@speaks
def label_to_answer(sets: Mapping[str, Mapping]) -> Figure:
    """Heat maps: of the pictures with a label (row), the per cent with each leading answer (column)."""
    counts = {title: np.array(found["agreement"]["matrix"], float) for title, found in sets.items()}
    words = "{}: {:.0%} agree", "the annotators' leading answer", "what the label says"
    return plots.confusions(counts, *words, [("fear", each) for each in EMOTIONS])


@speaks
def label_flow(found: Mapping, title: str, highlight: str = "fear") -> Figure:
    """Every picture flows from its label (left) to the leading answer (right); one label's flow is coloured.

    found: the metrics of one audit. The bands' heights are numbers of pictures.
    """
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    matrix = np.array(found["agreement"]["matrix"], float)
    chosen, total = EMOTIONS.index(highlight), matrix.sum()
    gap, counts = 0.018 * total, (matrix.sum(1), matrix.sum(0))  # of labels, of leading votes
    starts = [np.r_[0, np.cumsum(n + gap)[:-1]] for n in counts]
    left, right = (start.copy() for start in starts)
    heading = [f"{title}: where the pictures labelled {highlight} go"]
    figure, (axis,) = plots.small_multiples(heading, plots.WIDTH, 4.9)
    moves = [Path.MOVETO, *[Path.CURVE4] * 3, Path.LINETO, *[Path.CURVE4] * 3, Path.CLOSEPOLY]
    for row, column in np.ndindex(_K, _K):
        a, b, n = left[row], right[column], matrix[row, column]
        upper = [(0, a), (0.5, a), (0.5, b), (1, b)]
        lower = [(1, b + n), (0.5, b + n), (0.5, a + n), (0, a + n)]
        colour, alpha, order = (COLOURS[row], 0.8, 2) if row == chosen else ("#B8B8B8", 0.3, 1)
        band = Path([*upper, *lower, (0, a)], moves)
        axis.add_patch(PathPatch(band, color=colour, alpha=alpha, linewidth=0, zorder=order))
        left[row], right[column] = a + n, b + n
    style = {"va": "center", "fontsize": 9.5}
    for x, side, start, n in zip((0, 1), ("right", "left"), starts, counts, strict=True):
        axis.bar([x] * _K, n, 0.024, start, color=COLOURS, zorder=3)
        for i, emotion in enumerate(EMOTIONS):
            bold = {"color": plots.legible(COLOURS[i]), "weight": "bold"}
            place = x + 0.05 * (x - 0.5), start[i] + n[i] / 2
            axis.text(*place, f"{emotion}  {n[i]:,.0f}", ha=side, **bold, **style)
    went = matrix[chosen] / max(matrix[chosen].sum(), 1)
    style |= {"ha": "right", "color": plots.legible(COLOURS[chosen])}
    for y, share in zip(starts[1] + counts[1] / 2, went, strict=True):
        axis.text(1.62, y, f"{share:.0%} of {highlight}", **style)
    for x, text in ((0, "the label says"), (1, "the annotators' leading answer")):
        axis.text(x, -0.035 * total, text, ha="center", fontsize=9.5, color=INK)
    axis.set(xlim=(-0.26, 1.63), ylim=(total + 7 * gap, -0.07 * total))
    axis.axis("off")
    return figure


@speaks
def rare_noisy(sets: Mapping[str, Mapping]) -> Figure:
    """The plane of the two troubles: how rare a class is (right), how much of it its best reader misses (up).

    Rare: how many times an even share (1/7) is larger than the class's. Noisy: what the *balanced* reader of
    ``facelib.study.dataset_audit``, whom rarity costs nothing, does not find; with 95 % intervals. The lines
    are the limits of that module: half an even share, and a recall of three quarters of the classes' mean.
    """
    figure, axes = plots.small_multiples(sets, 4.6 * len(sets), 4.2, percents="y", sharex=True, sharey=True)
    top, points = 0.8, []
    for axis, found in zip(axes, sets.values(), strict=True):
        recall, ends = _recall(found["best_recall"]["balanced"])
        missed, ends, rarity = 1 - recall, 1 - ends[:, ::-1], 1 / (_K * _column(found, "share"))
        limit = 1 - 0.75 * np.nanmean(recall)
        axis.axvspan(2, 99, color="#009E73", alpha=0.07, linewidth=0)
        axis.axhspan(limit, 2, color="#7B4EA3", alpha=0.07, linewidth=0)
        axis.axvline(2, color=PALE, linewidth=0.9, linestyle="--")
        axis.axhline(limit, color=PALE, linewidth=0.9, linestyle="--")
        plots.interval_plot(axis, rarity, missed, ends, COLOURS, vertical=True, size=90)
        points.append((rarity, missed))
        top = max(top, 1.06 * np.nanmax(ends))
        style = {"fontsize": 11, "style": "italic"}
        axis.text(0.46, limit + 0.012, "noisy", color=plots.legible("#7B4EA3"), **style)
        axis.text(22, limit - 0.012, "rare", color="#00684D", ha="right", va="top", **style)
        axis.set_xlabel("how rare: even share ÷ its share")
    axes[0].set(xlim=(0.44, 24), ylim=(-0.04, top), xscale="log")
    axes[0].set_ylabel("how noisy: missed by the best balanced reader")
    axes[0].set_xticks([0.5, 1, 2, 4, 8, 16], ["×0.5", "×1", "×2", "×4", "×8", "×16"])
    for axis, place in zip(axes, points, strict=True):
        axis.minorticks_off()
        plots.place_names(axis, *place, EMOTIONS, COLOURS, weight="bold")
    return figure


@speaks
def best_recall(
    sets: Mapping[str, Mapping], networks: Mapping[str, tuple[str, Mapping]] | None = None
) -> Figure:
    """Recall of each class by the four readers of ``facelib.study.dataset_audit``, with 95 % intervals.

    networks: title of a set -> (name, metrics of ``metrics.classification_metrics``) of a network on that
    set, whose recall is drawn beside the readers' as a cross.
    """
    options = {"frame": "bottom", "percents": "x", "sharex": True, "sharey": True}
    figure, axes = plots.small_multiples(sets, 4.6 * len(sets), 4.8, **options)
    legend = {}
    for axis, (title, found) in zip(axes, sets.items(), strict=True):
        for y in range(0, _K, 2):
            axis.axhspan(y - 0.5, y + 0.5, color="#F4F4F4", linewidth=0)
        for (reader, (marker, full)), move in zip(_MARKS.items(), np.linspace(-0.24, 0.24, 4), strict=True):
            style = {"marker": marker, "filled": np.full(_K, full), "size": 34, "line": 1.8}
            recall = _recall(found["best_recall"][reader])
            plots.interval_plot(axis, np.arange(_K) + move, *recall, COLOURS, **style)
            face = INK if full else "white"
            legend[reader] = {"marker": marker, "linestyle": "", "color": INK, "markerfacecolor": face}
        if networks and title in networks:
            name, metrics = networks[title]
            cross = {"marker": "x", "color": "black"}
            recall = [metrics["recall"][e] for e in EMOTIONS]
            axis.scatter(recall, np.arange(_K), s=64, linewidth=1.8, zorder=4, **cross)
            legend[name] = cross | {"linestyle": ""}
        axis.axvline(1 / _K, color=PALE, linewidth=0.9, linestyle=":")
        axis.set_yticks(range(_K), EMOTIONS, fontsize=10)
        axis.set(xlim=(0, 1.02), ylim=(_K - 0.5, -0.5), xlabel="recall (dotted: guessing)")
    plots.legend_below(figure, legend)
    return figure


@speaks
def drawn_faces() -> Figure:
    """The contact sheet of the synthetic faces: a row for each emotion, twelve persons, the rows' names.

    The persons are always the same, whatever set a notebook draws, so that the saved picture is too.
    """
    size, gap, left, width = 96, 4, 0.95, plots.WIDTH
    faces = synthetic_faces.contact_sheet(12, size, gap)
    height = (width - left) * faces.shape[0] / faces.shape[1]
    figure = plots.sheet(width, height, layout=None, dpi=90)  # many grays: the notebook stays small
    axis = figure.add_axes((left / width, 0, 1 - left / width, 1))
    axis.imshow(faces, cmap="gray", vmin=0, vmax=255, interpolation="antialiased")
    style = {"ha": "right", "va": "center", "fontsize": 11, "weight": "bold"}
    for row, (emotion, colour) in enumerate(zip(EMOTIONS, COLOURS, strict=True)):
        place = -2 * gap, gap + row * (size + gap) + size / 2
        axis.text(*place, emotion, color=plots.legible(colour), **style)
    axis.axis("off")
    return figure


@speaks
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
    figure = plots.sheet(plots.WIDTH, 2.9)
    grid = figure.subplots(2, _K)
    for i, (top, bottom) in enumerate(grid.T):
        top.set_title(EMOTIONS[i], fontsize=9.5, color=plots.legible(COLOURS[i]), weight="bold")
        if i in means:
            top.imshow(means[i], cmap="gray", vmin=0, vmax=255, interpolation="bicubic")
            shown = bottom.imshow(apart[i], cmap="RdBu_r", vmin=-most, vmax=most, interpolation="bicubic")
            bottom.set_xlabel(f"{(labels == i).sum():,}\npictures", fontsize=9)
        for axis in (top, bottom):
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
    grid[0, 0].set_ylabel("mean", fontsize=9.5)
    grid[1, 0].set_ylabel("minus the mean\nof all classes", fontsize=9.5)
    plots.colour_bar(figure, shown, grid[1], "gray levels", shrink=0.8, aspect=14)
    return figure


@speaks
def leaks(sets: Mapping[str, Mapping]) -> Figure:
    """How much of the two test splits also stands in Training: exact copies, and near ones."""
    heading = ["copies of Training in the test splits"]
    options = {"frame": "bottom", "percents": "x"}
    figure, (axis,) = plots.small_multiples(heading, plots.WIDTH, 1.0 + 0.85 * len(sets), **options)
    rows, ends = {}, []
    for title, found in sets.items():
        for split in ("PublicTest", "PrivateTest"):
            leaked, n = found["also_in_training"][split], sum(found["counts"][split])
            rows[f"{title}\n{split}"] = [leaked[kind] / n for kind in ("leaked", "near_leaked")]
            ends.append((sum(rows[f"{title}\n{split}"]), n))
    colours = {"to the pixel": THEIRS, "nearly (perceptual hash and correlation)": "#EEBF99"}
    words = lambda share, y: f"{share * ends[y][1]:,.0f}"
    plots.stacked_bars(axis, rows, list(colours.values()), 0.012, words)
    for y, (share, n) in enumerate(ends):
        axis.text(share + 0.001, y, f" {share:.1%} of {n:,}", va="center", fontsize=9, color=INK)
    most = max(share for share, _ in ends)
    axis.set(xlim=(0, 1.28 * max(most, 0.01)), xlabel="share of the split that also stands in Training")
    keys = {text: plots.SQUARE | {"color": colour} for text, colour in colours.items()}
    plots.legend_below(figure, keys, "outside upper center")
    return figure


@speaks
def twins(found: Mapping, title: str) -> Figure:
    """Of the near-equal pairs in which a class occurs, the share whose two labels differ (Wilson's interval).

    Two copies of one photograph were labelled twice by the same procedure, so this is the labels' own
    repeatability. A photograph with three copies counts in three pairs: the intervals are a little narrow.
    """
    counted = found["near_duplicates"]["label_differs_of"]
    n, differ = (np.array([counted[e][key] for e in EMOTIONS], float) for key in ("pairs", "differ"))
    share, (low, high) = differ / np.where(n > 0, n, np.nan), wilson(differ, n)
    heading = f"{title}: one photograph, two labels"
    figure, (axis,) = plots.small_multiples([heading], plots.WIDTH, 2.9, frame="bottom", percents="x")
    axis.barh(EMOTIONS, share, color=COLOURS, height=0.7)
    axis.hlines(range(_K), low, high, color=INK, linewidth=1.4)
    for y in np.flatnonzero(n):
        axis.text(high[y], y, f"  {differ[y]:.0f} of {n[y]:.0f}", va="center", fontsize=9, color=INK)
    axis.set(xlim=(0, 1.2 * np.nanmax(high)), xlabel="share of pairs whose two labels differ")
    axis.invert_yaxis()
    return figure


@speaks
def quality_distributions(
    rows: DataFrame, title: str, other: Mapping | None = None, other_title=""
) -> Figure:
    """Box plots of ``MEASURES`` per class: median, half of the pictures, nine tenths; outliers are not drawn.

    rows: ``Audit.rows``. other: the metrics of another audit, whose medians are marked.
    """
    figure, axes = plots.small_multiples(MEASURES.values(), plots.WIDTH, 5.2, columns=2, sharex=True)
    for axis, measure in zip(axes, MEASURES, strict=True):
        values = [rows.loc[(rows.label == i) & ~rows.constant, measure] for i in range(_K)]
        boxes = axis.boxplot(
            values, positions=range(_K), widths=0.62, whis=(5, 95), showfliers=False, patch_artist=True,
            medianprops={"color": "white", "linewidth": 2}, whiskerprops={"color": PALE},
            capprops={"visible": False},
        )["boxes"]  # fmt: skip
        for box, colour in zip(boxes, COLOURS, strict=True):
            box.set(facecolor=colour, edgecolor="none", alpha=0.85)
        if other is not None:
            style = {"marker": "D", "s": 30, "color": "white", "edgecolor": "black", "zorder": 4}
            axis.scatter(range(_K), _column(other, measure), label=f"median of {other_title}", **style)
        if measure == "sharpness":
            axis.set_yscale("log")
        axis.set_xticks(range(_K), EMOTIONS, rotation=30)
        axis.grid(axis="y", color="#E4E4E4", linewidth=0.8)
        axis.tick_params(labelsize=9)
    if other is not None:
        axes[0].legend(frameon=True, framealpha=0.9, edgecolor="none", fontsize=9, loc="lower right")
    figure.suptitle(title, fontsize=11, weight="bold", x=0.01, ha="left")
    return figure


# --- small things ------------------------------------------------------------------------------------------


def _column(found: Mapping, key: str) -> np.ndarray:
    """One number of each class, (7,) float64; what a metrics file holds as null is nan."""
    return np.array([found["classes"][emotion][key] for emotion in EMOTIONS], float)


def _recall(reader: Mapping) -> tuple[np.ndarray, np.ndarray]:
    """A reader's recall of each class (7,), and its intervals (7, 2)."""
    return tuple(np.array([reader[e][key] for e in EMOTIONS], float) for key in ("recall", "interval"))


def _share(value: float | None) -> str:
    return "none" if value is None else f"{value:.1%}"
