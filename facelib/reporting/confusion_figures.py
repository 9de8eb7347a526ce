"""What ``facelib.study.confusion`` found, as figures. Each function returns a matplotlib Figure.

Where one takes ``sets``, it draws results side by side: title -> what a function of
``facelib.study.confusion`` gave, or what stands under the same name in the metrics of
``03-confusion-*.json``.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facelib.data.synthetic_drawing import UNITS
from facelib.emotions import COLOURS, EMOTIONS
from facelib.reporting.plots import INK, PALE, bare, heading, sheet
from facelib.study import confusion

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_K = len(EMOTIONS)
_AT = {name: i for i, name in enumerate(EMOTIONS)}
_COLOUR = dict(zip(EMOTIONS, COLOURS, strict=True))


def matrices(sets: Mapping[str, Mapping]) -> Figure:
    """Confusion matrices of ``confusion.shares``: per cent of the row, with the count below."""
    from matplotlib.patches import Rectangle

    figure = sheet(5.0 * len(sets), 4.9, dpi=90)
    grid = figure.subplots(1, len(sets), squeeze=False).ravel()
    for axis, (title, found) in zip(grid, sets.items(), strict=True):
        counts, share = (np.array(found[key], float) for key in ("counts", "share"))
        axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
        for row, column in np.ndindex(_K, _K):
            value, n = share[row, column], counts[row, column]
            if n:
                colour = "white" if value > 0.55 else INK
                text = {"ha": "center", "va": "center", "color": colour}
                bold = "bold" if row == column else "normal"
                axis.text(column, row - 0.12, f"{100 * value:.0f}", fontsize=10.5, weight=bold, **text)
                axis.text(column, row + 0.26, f"{n:.0f}", fontsize=6.5, **text)
            else:
                axis.text(column, row, "·", ha="center", va="center", color=PALE)
        for a, b in (("fear", "surprise"), ("surprise", "fear"), ("fear", "sad")):
            frame = Rectangle((_AT[b] - 0.47, _AT[a] - 0.47), 0.94, 0.94, fill=False, linewidth=2)
            axis.add_patch(frame).set_edgecolor(_COLOUR[a])
        axis.set_xticks(range(_K), EMOTIONS, rotation=40, ha="right", rotation_mode="anchor")
        axis.set_yticks(range(_K), EMOTIONS)
        axis.set(xlabel="the network's answer", ylabel="the label")
        for tick, colour in zip(axis.get_yticklabels(), COLOURS, strict=True):
            tick.set(color=colour, weight="bold")
        axis.tick_params(length=0, labelsize=9.5)
        axis.spines[:].set_visible(False)
        heading(axis, f"{title}: {counts.trace() / counts.sum():.0%} right")
    return figure


def directions(sets: Mapping[str, Mapping], pairs: Sequence[tuple[str, str]]) -> Figure:
    """Shares (label, answer) of ``confusion.shares`` with their intervals, a colour for each answer."""
    figure = sheet(8.6, 0.9 + 0.36 * len(pairs), dpi=90)
    grid = figure.subplots(1, len(sets), sharex=True, sharey=True, squeeze=False).ravel()
    for axis, (title, found) in zip(grid, sets.items(), strict=True):
        for y, (a, b) in enumerate(pairs):
            value, low, high = (found[key][_AT[a]][_AT[b]] for key in ("share", "low", "high"))
            if value is None or np.isnan(value):
                continue
            axis.hlines(y, low, high, color=_COLOUR[b], linewidth=5, alpha=0.35)
            axis.scatter(value, y, color=_COLOUR[b], s=46, zorder=3)
            axis.text(high, y, f"  {value:.0%}", va="center", fontsize=9, color=INK)
        axis.set_yticks(range(len(pairs)), [f"{a} → {b}" for a, b in pairs])
        axis.xaxis.set_major_formatter("{x:.0%}")
        axis.set_xlim(left=0)
        axis.margins(x=0.14)
        bare(axis)
        heading(axis, title)
        axis.set_xlabel("share of the label's pictures")
    grid[0].set_ylim(len(pairs) - 0.5, -0.5)
    return figure


def projections(
    views: Mapping[str, np.ndarray], labels: np.ndarray, chosen=("fear", "surprise", "sad")
) -> Figure:
    """Flat maps of the feature space, name -> (n, 2): the chosen classes in colour, the others pale."""
    figure = sheet(9.5, 4.6, dpi=90)
    grid = figure.subplots(1, len(views), squeeze=False).ravel()
    for axis, (title, points) in zip(grid, views.items(), strict=True):
        others = ~np.isin(labels, [_AT[name] for name in chosen])
        axis.scatter(*points[others].T, s=9, color="#D9D9D9", linewidth=0, label="all others")
        order = np.random.default_rng(0).permutation(np.flatnonzero(~others))  # none lies on top by its name
        axis.scatter(
            *points[order].T, s=22, c=[COLOURS[i] for i in labels[order]], edgecolor="white", linewidth=0.4
        )
        for name in chosen:
            axis.scatter([], [], s=30, color=_COLOUR[name], label=name)
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_color("#D9D9D9")
        heading(axis, title)
    handles, names = grid[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(names), frameon=False, fontsize=10)
    return figure


def neighbour_labels(sets: Mapping[str, Mapping], chosen=("fear", "surprise", "sad", "happy")) -> Figure:
    """The labels of the nearest neighbours (``confusion.neighbours``), above what chance would give."""
    figure = sheet(9.5, 0.9 + 0.52 * len(chosen), dpi=90)
    grid = figure.subplots(1, len(sets), sharey=True, squeeze=False).ravel()
    for axis, (title, found) in zip(grid, sets.items(), strict=True):
        expected = np.array(found["expected"], float).mean(0)
        rows = [(name, np.array(found["share"][_AT[name]], float)) for name in chosen]
        rows.append(("chance", expected / expected.sum()))
        for y, (name, share) in enumerate(rows):
            left = 0.0
            for i, value in enumerate(share):
                axis.barh(
                    y,
                    value,
                    left=left,
                    color=COLOURS[i],
                    height=0.74,
                    edgecolor="white",
                    alpha=1 if name != "chance" else 0.45,
                )
                if value >= 0.06:
                    axis.text(
                        left + value / 2,
                        y,
                        f"{value:.0%}",
                        ha="center",
                        va="center",
                        fontsize=8.5,
                        color="white",
                    )
                left += value
        axis.set_yticks(range(len(rows)), [name for name, _ in rows], fontsize=10)
        for tick in axis.get_yticklabels()[:-1]:
            tick.set(color=_COLOUR[tick.get_text()], weight="bold")
        axis.set(
            xlim=(0, 1), ylim=(len(rows) - 0.5, -0.5), xlabel=f"labels of the {found['k']} nearest pictures"
        )
        axis.xaxis.set_major_formatter("{x:.0%}")
        bare(axis)
        heading(axis, title)
    for name in EMOTIONS:
        grid[0].barh(0, 0, color=_COLOUR[name], label=name)
    figure.legend(loc="outside lower center", ncols=_K, frameon=False, fontsize=9.5)
    return figure


def pair_areas(sets: Mapping[str, Mapping], named=(("fear", "surprise"), ("fear", "sad"))) -> Figure:
    """Every pair's AUC (``confusion.separability``) with interval, from the hardest pair to the easiest."""
    figure = sheet(9.5, 5.0, dpi=90)
    grid = figure.subplots(1, len(sets), sharex=True, squeeze=False).ravel()
    for axis, (title, found) in zip(grid, sets.items(), strict=True):
        area, low, high = (np.array(found[key], float) for key in ("area", "low", "high"))
        pairs = [p for p in itertools.combinations(range(_K), 2) if np.isfinite(area[p])]
        pairs.sort(key=lambda p: area[p])
        for y, p in enumerate(pairs):
            name = f"{EMOTIONS[p[0]]} | {EMOTIONS[p[1]]}"
            bold = set(name.split(" | ")) in [set(each) for each in named]
            colour = _COLOUR["fear"] if bold else "#8A8A8A"
            axis.hlines(y, low[p], high[p], color=colour, linewidth=4, alpha=0.35)
            axis.scatter(area[p], y, color=colour, s=30, zorder=3)
            axis.text(low[p] - 0.008, y, name, ha="right", va="center", fontsize=8.5,
                      color=colour if bold else INK, weight="bold" if bold else "normal")  # fmt: skip
        axis.axvline(0.5, color=PALE, linewidth=0.9, linestyle=":")
        axis.set(yticks=[], ylim=(len(pairs) - 0.4, -0.6), xlim=(0.36, 1.01))
        axis.set_xlabel("AUC of a straight cut (dotted: guessing)")
        bare(axis)
        heading(axis, title)
    return figure


def hidden(sets: Mapping[str, Mapping[str, np.ndarray]], face: np.ndarray) -> Figure:
    """Maps of ``confusion.occlusion``, title -> {"fear": (11, 11), "surprise": ...}, over one drawn face.

    face (s, s): only for orientation; its outlines lie under the colours.
    """
    names = [(title, which) for title in sets for which in ("fear", "surprise")]
    figure = sheet(2.55 * len(names) + 0.7, 3.1, dpi=90)
    grid = figure.subplots(1, len(names), squeeze=False).ravel()
    for axis, (title, which) in zip(grid, names, strict=True):
        maps = {
            key: confusion.to_pixels(np.array(each, float))
            for key, each in sets[title].items()
            if key != "faces"
        }
        most = max(np.abs(each).max() for each in maps.values()) or 1
        axis.imshow(face, cmap="gray", vmin=-60, vmax=315, extent=(0, 48, 48, 0), interpolation="bicubic")
        smooth = cv2.GaussianBlur(maps[which] / most, (0, 0), 1.6)  # squares leave steps that mean nothing
        smooth = cv2.resize(smooth, (192, 192), interpolation=cv2.INTER_CUBIC)
        strength = np.clip(0.1 + 1.1 * np.abs(smooth), 0, 0.85)
        shown = axis.imshow(smooth, cmap="PuOr", vmin=-1, vmax=1, extent=(0, 48, 48, 0), alpha=strength)
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
        axis.set_title(f"{which} faces", fontsize=10, color=_COLOUR[which], weight="bold")
        axis.set_xlabel(title, fontsize=9)
    bar = figure.colorbar(shown, ax=grid, shrink=0.75, pad=0.01, aspect=16, ticks=(-1, 0, 1))
    bar.ax.set_yticklabels(["speaks for\nsurprise", "0", "speaks for\nfear"], fontsize=8.5)
    bar.outline.set_visible(False)
    bar.solids.set_alpha(1)
    return figure


def ladders(paths: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Figure:
    """Answers along paths of expressions: title -> (steps (s,), probabilities (s, persons, 7), 3 pictures).

    Means over the persons, with the middle half of them; above, one person at the start, half way and end.
    """
    figure = sheet(3.05 * len(paths), 4.3, dpi=90)
    grid = figure.subplots(2, len(paths), height_ratios=(1, 2.1), squeeze=False)
    for (top, axis), (title, (steps, answers, pictures)) in zip(grid.T, paths.items(), strict=True):
        top.imshow(
            np.concatenate(list(pictures), 1), cmap="gray", vmin=0, vmax=255, interpolation="antialiased"
        )
        top.axis("off")
        heading(top, title)
        means = answers.mean(1)
        for i in np.argsort(means.max(0)):
            main = EMOTIONS[i] in ("fear", "surprise") or means[:, i].max() > 0.1
            if main:
                low, high = np.percentile(answers[..., i], (25, 75), axis=1)
                axis.fill_between(steps, low, high, color=COLOURS[i], alpha=0.15, linewidth=0)
            axis.plot(
                steps, means[:, i], color=COLOURS[i] if main else "#DADADA", linewidth=2.2 if main else 1
            )
            if main:
                axis.plot([], [], color=COLOURS[i], linewidth=3, label=EMOTIONS[i])
        axis.set(xlim=(steps[0], steps[-1]), ylim=(0, 1), xlabel="share of the way to fear")
        axis.yaxis.set_major_formatter("{x:.0%}")
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=9)
    found = {name: h for axis in grid[1] for h, name in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(found.values(), found.keys(), loc="outside lower center", ncols=len(found), frameon=False)
    grid[1, 0].set_ylabel("probability (mean, middle half)")
    return figure


def units(found: Mapping[str, Mapping], expert: Sequence[str] = ("AU4", "AU20")) -> Figure:
    """``confusion.unit_shares`` as bars; those that the expert's table tells the two by are filled."""
    figure = sheet(8.6, 0.8 + 0.42 * len(found), dpi=90)
    axis = figure.subplots()
    for y, (unit, row) in enumerate(found.items()):
        colour = _COLOUR["fear" if row["value"] >= 0 else "surprise"]
        face = colour if unit in expert else "white"
        axis.barh(y, row["value"], color=face, edgecolor=colour, linewidth=1.6, height=0.66)
        axis.hlines(y, *row["interval"], color=INK, linewidth=1.3)
    names = [f"{u}  {UNITS[u]}  {row['from']:g} → {row['to']:g}" for u, row in found.items()]
    axis.set_yticks(range(len(found)), names)
    axis.axvline(0, color=INK, linewidth=0.8)
    axis.invert_yaxis()
    axis.set_xlabel("← towards surprise      change of log p(fear) / p(surprise)      towards fear →")
    axis.bar(0, 0, color="#666666", label="in the expert's table of differences")
    axis.bar(0, 0, color="white", edgecolor="#666666", label="not in it: only stronger or weaker")
    axis.legend(frameon=False, fontsize=9, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    bare(axis)
    return figure


def sides(sets: Mapping[str, Mapping[str, Mapping]]) -> Figure:
    """With whom a second opinion sides where label and answer differ: title -> {confusion: ``verdicts``}."""
    figure = sheet(9.5, 0.95 + 0.36 * max(map(len, sets.values())), dpi=90)
    grid = figure.subplots(1, len(sets), squeeze=False).ravel()
    parts = {
        "with_answer": ("the network", "#0072B2"),
        "neither": ("neither", "#D0D0D0"),
        "with_label": ("the label", "#D55E00"),
    }
    for axis, (title, rows) in zip(grid, sets.items(), strict=True):
        for y, row in enumerate(rows.values()):
            left = 0.0
            for key, (_, colour) in parts.items():
                value = row[key] / max(row["n"], 1)
                axis.barh(y, value, left=left, color=colour, height=0.72, edgecolor="white")
                if value >= 0.08:
                    axis.text(left + value / 2, y, f"{value:.0%}", ha="center", va="center", fontsize=9,
                              color=INK if key == "neither" else "white")  # fmt: skip
                left += value
        axis.set_yticks(
            range(len(rows)), [f"{name}\n{row['n']} pictures" for name, row in rows.items()], fontsize=8.5
        )
        axis.set(xlim=(0, 1), ylim=(len(rows) - 0.5, -0.5))
        axis.xaxis.set_major_formatter("{x:.0%}")
        bare(axis)
        heading(axis, title)
    for name, colour in parts.values():
        grid[0].barh(0, 0, color=colour, label=f"sides with {name}" if name != "neither" else name)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9.5)
    return figure


def trade(sets: Mapping[str, tuple[Mapping, Mapping]]) -> Figure:
    """The price of fear: title -> (``confusion.bias_curve``, ``confusion.tuned``), two panels a set."""
    figure = sheet(9.5, 3.6 * len(sets), dpi=90)
    grid = figure.subplots(len(sets), 2, squeeze=False, sharex=True)
    others = (
        ("surprise_recall", "recall of surprise", "surprise"),
        ("precision", "precision of fear", "fear"),
    )
    for row, (title, (curve, found)) in zip(grid, sets.items(), strict=True):
        for axis, (key, label, name) in zip(row, others, strict=True):
            x, y = (np.array(curve[each], float) for each in ("fear_recall", key))
            axis.plot(x, y, color=_COLOUR[name], linewidth=2)
            for bias in (-1, 0, 1, 2):
                at = int(np.argmin(np.abs(np.array(curve["bias"], float) - bias)))
                axis.scatter(x[at], y[at], s=16, color=_COLOUR[name], zorder=3)
                axis.annotate(
                    f"{bias:+d}" if bias else "0",
                    (x[at], y[at]),
                    (5, 4),
                    textcoords="offset points",
                    fontsize=8,
                )
            interval = key.replace("_recall", "") + "_interval"
            for which, face in (("before", "white"), ("after", "black")):
                one = found[which]
                axis.hlines(one[key], *one["fear_interval"], color=PALE, linewidth=1)
                axis.vlines(one["fear_recall"], *one[interval], color=PALE, linewidth=1)
                words = "as trained" if which == "before" else "bias tuned on PublicTest"
                axis.scatter(
                    one["fear_recall"],
                    one[key],
                    s=58,
                    marker="D",
                    color=face,
                    edgecolor="black",
                    zorder=4,
                    label=words,
                )
            axis.set(xlabel="recall of fear", ylabel=label, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
            axis.xaxis.set_major_formatter("{x:.0%}")
            axis.yaxis.set_major_formatter("{x:.0%}")
            axis.spines[["top", "right"]].set_visible(False)
        heading(row[0], title)
        row[0].legend(frameon=False, fontsize=9, loc="lower left")
    return figure
