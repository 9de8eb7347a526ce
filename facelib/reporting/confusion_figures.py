"""What ``facelib.study.confusion`` found, as figures. Each function returns a matplotlib Figure.

Where one takes ``sets``, it draws results side by side: title -> what a function of
``facelib.study.confusion`` gave, or what stands under the same name in the metrics of
``03-confusion-*.json``.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facelib.data.synthetic_drawing import UNITS
from facelib.emotions import COLOURS, EMOTIONS
from facelib.language import say, speaks
from facelib.reporting import plots
from facelib.reporting.plots import COLOUR, INK, PALE, SOFT
from facelib.study import confusion

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_K = len(EMOTIONS)
_AT = {name: i for i, name in enumerate(EMOTIONS)}


@speaks
def matrices(sets: Mapping[str, Mapping]) -> Figure:
    """Confusion matrices of ``confusion.shares``: per cent of the row, with the count below."""
    counts = {title: np.array(found["counts"], float) for title, found in sets.items()}
    framed = [("fear", "surprise"), ("surprise", "fear"), ("fear", "sad")]
    return plots.confusions(counts, "{}: {:.0%} right", "the network's prediction", "the label", framed)


@speaks
def directions(sets: Mapping[str, Mapping], pairs: Sequence[tuple[str, str]]) -> Figure:
    """Shares (label, prediction) of ``confusion.shares`` with their intervals, in the prediction's colour."""
    options = {"frame": "bottom", "percents": "x", "dpi": 90, "sharex": True, "sharey": True}
    figure, axes = plots.small_multiples(sets, plots.WIDTH, 0.9 + 0.36 * len(pairs), **options)
    for axis, found in zip(axes, sets.values(), strict=True):
        cells = tuple(zip(*((_AT[a], _AT[b]) for a, b in pairs), strict=True))
        share, low, high = (np.array(found[key], float)[cells] for key in ("share", "low", "high"))
        colours, ends = [COLOUR[b] for _, b in pairs], np.stack([low, high], 1)
        plots.interval_plot(axis, range(len(pairs)), share, ends, colours, size=70, line=5)
        for y in np.flatnonzero(np.isfinite(share)):
            axis.text(high[y], y, f"  {share[y]:.0%}", va="center", fontsize=9, color=INK)
        axis.set_yticks(range(len(pairs)), [f"{a} → {b}" for a, b in pairs])
        axis.set_xlim(left=0)
        axis.margins(x=0.14)
        axis.set_xlabel("share of the label's pictures")
    axes[0].set_ylim(len(pairs) - 0.5, -0.5)
    return figure


@speaks
def projections(views: Mapping[str, np.ndarray], labels: np.ndarray) -> Figure:
    """Flat maps of the feature space, name -> (n, 2): fear and its rivals in colour, the others pale."""
    figure, axes = plots.small_multiples(views, plots.WIDTH, 3.8, dpi=100)
    chosen = ("fear", "surprise", "sad")
    others = ~np.isin(labels, [_AT[name] for name in chosen])
    order = np.random.default_rng(0).permutation(np.flatnonzero(~others))  # none lies on top by its name
    colours = [COLOURS[i] for i in labels[order]]
    for axis, points in zip(axes, views.values(), strict=True):
        axis.scatter(*points[others].T, s=9, color="#D9D9D9", linewidth=0)
        axis.scatter(*points[order].T, s=22, c=colours, edgecolor="white", linewidth=0.4)
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set(color="#D9D9D9", visible=True)
    plots.legend_below(figure, {"all others": "#D9D9D9"} | {name: COLOUR[name] for name in chosen})
    return figure


@speaks
def neighbour_labels(sets: Mapping[str, Mapping]) -> Figure:
    """The labels of the nearest neighbours (``confusion.neighbours``), above what chance would give."""
    chosen = ("fear", "surprise", "sad", "happy")
    options = {"frame": "bottom", "percents": "x", "dpi": 90, "sharey": True}
    figure, axes = plots.small_multiples(sets, plots.WIDTH, 1.1 + 0.52 * len(chosen), **options)
    for axis, found in zip(axes, sets.values(), strict=True):
        expected = np.array(found["expected"], float).mean(0)
        rows = {name: np.array(found["share"][_AT[name]], float) for name in chosen}
        plots.stacked_bars(axis, rows | {"chance": expected / expected.sum()}, COLOURS, 0.085)
        for bar in axis.patches[-_K:]:
            bar.set_alpha(0.6)
        plots.colour_names(axis.get_yticklabels())
        axis.set(xlim=(0, 1), xlabel=f"labels of the {found['k']} nearest pictures")
    plots.legend_below(figure, {name: plots.SQUARE | {"color": colour} for name, colour in COLOUR.items()})
    return figure


@speaks
def pair_areas(sets: Mapping[str, Mapping]) -> Figure:
    """Every pair's AUC (``confusion.separability``) with interval, from the hardest pair to the easiest.

    ``confusion.PAIRS`` are bold.
    """
    figure, axes = plots.small_multiples(sets, plots.WIDTH, 5.2, frame="bottom", dpi=100, sharex=True)
    for axis, found in zip(axes, sets.values(), strict=True):
        area, low, high = (np.array(found[key], float) for key in ("area", "low", "high"))
        pairs = [p for p in itertools.combinations(range(_K), 2) if np.isfinite(area[p])]
        pairs.sort(key=lambda p: area[p])
        bold = [{EMOTIONS[i] for i in p} in [set(each) for each in confusion.PAIRS] for p in pairs]
        colours = [COLOUR["fear"] if each else SOFT for each in bold]
        values, *ends = ([each[p] for p in pairs] for each in (area, low, high))
        plots.interval_plot(axis, range(len(pairs)), values, np.transpose(ends), colours, size=50, line=4)
        for y, (i, j) in enumerate(pairs):
            style = {"color": plots.legible(colours[y]), "weight": "bold"} if bold[y] else {"color": INK}
            name = f"{EMOTIONS[i]} | {EMOTIONS[j]}"
            axis.text(ends[0][y] - 0.008, y, name, ha="right", va="center", fontsize=9, **style)
        axis.axvline(0.5, color=PALE, linewidth=0.9, linestyle=":")
        axis.set(yticks=[], ylim=(len(pairs) - 0.4, -0.6), xlim=(0.2, 1.01), xticks=(0.5, 0.75, 1))
        axis.set_xlabel("AUC of a straight cut (dotted: guessing)")
    return figure


@speaks
def hidden(sets: Mapping[str, Mapping[str, np.ndarray]], face: np.ndarray) -> Figure:
    """Maps of ``confusion.occlusion``, title -> {"fear": (11, 11), "surprise": ...}, over a synthetic face.

    face (s, s): only for orientation; its outlines lie under the colours.
    """
    names = [(title, which) for title in sets for which in ("fear", "surprise")]
    size = 2.2 * len(names) + 0.7, 2.6
    figure, axes = plots.small_multiples([""] * len(names), *size, frame="none", dpi=100)
    for axis, (title, which) in zip(axes, names, strict=True):
        maps = {k: confusion.to_pixels(np.array(m, float)) for k, m in sets[title].items() if k != "faces"}
        most = max(np.abs(each).max() for each in maps.values()) or 1
        whole = {"extent": (0, 48, 48, 0)}
        axis.imshow(face, cmap="gray", vmin=-60, vmax=315, interpolation="bicubic", **whole)
        smooth = cv2.GaussianBlur(maps[which] / most, (0, 0), 1.6)  # squares leave steps that mean nothing
        smooth = cv2.resize(smooth, (192, 192), interpolation=cv2.INTER_CUBIC)
        strength = np.clip(0.1 + 1.1 * np.abs(smooth), 0, 0.85)
        shown = axis.imshow(smooth, cmap="PuOr", vmin=-1, vmax=1, alpha=strength, **whole)
        axis.set(xticks=[], yticks=[])
        axis.set_title(f"{which} faces", fontsize=9.5, color=plots.legible(COLOUR[which]), weight="bold")
        axis.set_xlabel(fill(say(title), 20), fontsize=9)
    bar = plots.colour_bar(figure, shown, axes, shrink=0.75, aspect=16, ticks=(-1, 0, 1))
    bar.ax.set_yticklabels(["speaks for\nsurprise", "0", "speaks for\nfear"], fontsize=9)
    bar.solids.set_alpha(1)
    return figure


@speaks
def ladders(paths: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Figure:
    """Predictions along paths of expressions: title -> (steps (s,), probabilities (s, n, 7), 3 pictures).

    Means over the persons, with the middle half of them; above, one person at the start, half way and end.
    """
    n, named = len(paths), {}
    titles = [*paths, *[""] * n]
    options = {"percents": "y", "dpi": 100, "height_ratios": (1, 2.1)}
    figure, axes = plots.small_multiples(titles, plots.WIDTH, 3.9, n, **options)
    for top, axis, (steps, probabilities, pictures) in zip(axes[:n], axes[n:], paths.values(), strict=True):
        row = np.concatenate(list(pictures), 1)
        top.imshow(row, cmap="gray", vmin=0, vmax=255, interpolation="antialiased")
        top.axis("off")
        means = probabilities.mean(1)
        for i in np.argsort(means.max(0)):
            if EMOTIONS[i] in ("fear", "surprise") or means[:, i].max() > 0.1:
                low, high = np.percentile(probabilities[..., i], (25, 75), axis=1)
                axis.fill_between(steps, low, high, color=COLOURS[i], alpha=0.15, linewidth=0)
                axis.plot(steps, means[:, i], color=COLOURS[i], linewidth=2.2)
                named[EMOTIONS[i]] = {"color": COLOURS[i], "linewidth": 3}
            else:
                axis.plot(steps, means[:, i], color="#DADADA", linewidth=1)
        axis.set(xlim=(steps[0], steps[-1]), ylim=(0, 1), xlabel="way to fear")
        axis.set(xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
    plots.legend_below(figure, named)
    axes[n].set_ylabel("probability (mean, middle half)")
    return figure


@speaks
def units(found: Mapping[str, Mapping]) -> Figure:
    """``confusion.unit_shares`` as bars; those that the expert's table tells the two by are filled."""
    heading = ["what each action unit does to fear against surprise"]
    figure, (axis,) = plots.small_multiples(heading, plots.WIDTH, 1.1 + 0.42 * len(found), frame="bottom")
    for y, (unit, row) in enumerate(found.items()):
        colour = COLOUR["fear" if row["value"] >= 0 else "surprise"]
        face = colour if unit in ("AU4", "AU20") else "white"
        axis.barh(y, row["value"], color=face, edgecolor=colour, linewidth=1.6, height=0.66)
        axis.hlines(y, *row["interval"], color=INK, linewidth=1.3)
    names = [f"{u}  {UNITS[u]}  {row['from']:g} → {row['to']:g}" for u, row in found.items()]
    axis.set_yticks(range(len(found)), names)
    axis.axvline(0, color=INK, linewidth=0.8)
    axis.invert_yaxis()
    axis.set_xlabel("← towards surprise · change of log p(fear) / p(surprise) · towards fear →")
    kinds = {"in the expert's table of differences": SOFT, "not in it: only stronger or weaker": "white"}
    square = plots.SQUARE | {"markeredgecolor": SOFT}
    plots.legend_below(figure, {w: square | {"color": c} for w, c in kinds.items()}, "outside upper center")
    return figure


@speaks
def sides(sets: Mapping[str, Mapping[str, Mapping]]) -> Figure:
    """With whom a second opinion sides if label and prediction differ: title -> {confusion: ``verdicts``}."""
    height = 0.95 + 0.36 * max(map(len, sets.values()))
    figure, axes = plots.small_multiples(sets, plots.WIDTH, height, frame="bottom", percents="x")
    keys, colours = ("with_answer", "neither", "with_label"), ("#0072B2", "#D0D0D0", "#D55E00")
    for axis, rows in zip(axes, sets.values(), strict=True):
        shares = {
            f"{name}\n{row['n']} pictures": [row[key] / max(row["n"], 1) for key in keys]
            for name, row in rows.items()
        }
        plots.stacked_bars(axis, shares, colours, 0.15)
        axis.set_xlim(0, 1)
        axis.tick_params(axis="y", labelsize=9)
    words = ("sides with the network", "neither", "sides with the label")
    plots.legend_below(figure, {w: plots.SQUARE | {"color": c} for w, c in zip(words, colours, strict=True)})
    return figure


@speaks
def trade(sets: Mapping[str, tuple[Mapping, Mapping]]) -> Figure:
    """The price of fear: title -> (``confusion.bias_curve``, ``confusion.tuned``), two panels a set."""
    titles = [text for title in sets for text in (title, "")]
    figure, axes = plots.small_multiples(titles, plots.WIDTH, 3.3 * len(sets), 2, percents="xy", sharex=True)
    kinds = [
        ("surprise_recall", "recall of surprise", "surprise"),
        ("precision", "precision of fear", "fear"),
    ]
    states = {"before": ("as trained", "white"), "after": ("bias tuned on PublicTest", "black")}
    panels = itertools.product(sets.values(), kinds)
    for axis, ((curve, found), (key, label, name)) in zip(axes, panels, strict=True):
        x, y, biases = (np.array(curve[each], float) for each in ("fear_recall", key, "bias"))
        at = [int(np.argmin(np.abs(biases - bias))) for bias in (-1, 0, 1, 2)]
        axis.plot(x, y, "o-", color=COLOUR[name], linewidth=2, markersize=4, markevery=at)
        for i, text in zip(at, ("-1", "0", "+1", "+2"), strict=True):
            axis.annotate(text, (x[i], y[i]), (5, 4), textcoords="offset points", fontsize=9)
        for which, (words, face) in states.items():
            one = found[which]
            axis.hlines(one[key], *one["fear_interval"], color=PALE, linewidth=1)
            ends = one[f"{key.replace('_recall', '')}_interval"]
            axis.vlines(one["fear_recall"], *ends, color=PALE, linewidth=1)
            style = {"s": 58, "marker": "D", "color": face, "edgecolor": "black", "zorder": 4}
            axis.scatter(one["fear_recall"], one[key], label=words, **style)
        axis.set(xlabel="recall of fear", ylabel=label, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    for axis in axes[::2]:
        axis.legend(frameon=False, fontsize=9, loc="lower left")
    return figure


def expression(units: Mapping[str, float], networks: Mapping[str, confusion.Predict]) -> Figure:
    """One synthetic face with these action units, and what each of some networks says of it, as bars."""
    face = confusion.draw([units], [12])[0]  # (1, 48, 48)
    titles = ["the face", *networks]
    figure, axes = plots.small_multiples(titles, 2.2 + 2.9 * len(networks), 2.6, frame="bottom", dpi=90)
    plots.show(axes[0], face[0])
    for axis, predict in zip(axes[1:], networks.values(), strict=True):
        probabilities = predict(face[..., None].astype(np.float32) / 255)[0]
        bars = axis.barh(range(_K), probabilities, color=COLOURS, height=0.72)
        axis.bar_label(bars, [f"{p:.0%}" for p in probabilities], padding=3, fontsize=8.5)
        axis.set_yticks(range(_K), EMOTIONS, fontsize=9)
        axis.set(ylim=(_K - 0.5, -0.5), xlim=(0, 1.15), xticks=[])
    return figure
