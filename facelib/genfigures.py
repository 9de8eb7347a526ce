"""Generated faces and what is measured on them, as figures.

Each function returns a matplotlib Figure. Faces of a data set are never drawn into a figure that is kept:
what is shown here was generated or drawn by us.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from facelib.emotions import COLOURS, EMOTIONS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_INK, _PALE = "#333333", "#9A9A9A"


def faces(rows: Mapping[str, np.ndarray], enlarge: int = 2, gap: int = 4) -> Figure:
    """A row of faces for each name: name -> (n, 48, 48) uint8. An emotion's name stands in its colour."""
    strips = [_strip(each, enlarge, gap) for each in rows.values()]
    height, width = len(strips) * strips[0].shape[0], max(strip.shape[1] for strip in strips)
    figure = _sheet(1.0 + width / 110, 0.15 + height / 110)
    axes = figure.subplots(len(strips), 1, squeeze=False)[:, 0]
    for axis, (name, strip) in zip(axes, zip(rows, strips, strict=True), strict=True):
        axis.imshow(strip, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axis.set(xticks=[], yticks=[], xlim=(-0.5, width - 0.5))
        axis.spines[:].set_visible(False)
        colour = COLOURS[EMOTIONS.index(name)] if name in EMOTIONS else _INK
        axis.set_ylabel(name, rotation=0, ha="right", va="center", color=colour, weight="bold", labelpad=8)
    return figure


def learning(rows: list[Mapping], started: float | None = None) -> Figure:
    """What a codec's training wrote after each epoch: PSNR, SSIM and perplexity.

    rows: of its ``log.jsonl``. started: the epoch from which it quantizes, a dashed line.
    """
    names = {"psnr": "PSNR, dB", "ssim": "SSIM", "perplexity": "perplexity"}
    figure = _sheet(8.6, 2.6)
    for axis, (key, title) in zip(figure.subplots(1, len(names)), names.items(), strict=True):
        there = [row for row in rows if key in row]
        axis.plot([row["epoch"] for row in there], [row[key] for row in there], ".-", color=COLOURS[0])
        if started is not None:
            axis.axvline(started, color=_PALE, linestyle="--", linewidth=0.9)
        axis.set_title(title, loc="left", fontsize=10, weight="bold")
        axis.set_xlabel("epoch")
        axis.spines[["top", "right"]].set_visible(False)
    return figure


def agreement(record: Mapping, rows: Mapping[str, str] | None = None) -> Figure:
    """How often the judge reads the emotion that was asked for, by emotion, with 95 % intervals.

    record: as ``genmeasure.record`` writes it. rows: keys of its agreement and their titles.
    """
    found = record["metrics"]["agreement"]
    rows = rows or {
        "plain": "as drawn",
        "even_light": "the same in even light",
        "best": f"best of {record['metrics']['best_of']}",
        "real": "real faces, their labels",
    }
    colours = dict(zip(rows, (_INK, COLOURS[4], COLOURS[3], _PALE), strict=False))
    figure = _sheet(8.6, 3.6)
    axis = figure.subplots()
    names = [*EMOTIONS, "mean"]
    for i, (key, title) in enumerate(rows.items()):
        recall, ends = found[key]["recall"], found[key]["recall_interval"]
        values = [*(recall[e] for e in EMOTIONS), found[key]["balanced_accuracy"]]
        both = np.array([*(ends[e] for e in EMOTIONS), found[key]["balanced_accuracy_interval"]], float)
        y = np.arange(len(names)) + 0.17 * (i - (len(rows) - 1) / 2)
        axis.hlines(y, *both.T, color=colours[key], linewidth=1.5, alpha=0.6)
        axis.scatter(values, y, s=30, color=colours[key], label=title, zorder=3)
    axis.axvline(1 / len(EMOTIONS), color=_PALE, linestyle=":", linewidth=0.9)
    axis.text(1 / len(EMOTIONS), -0.6, " chance", color=_PALE, fontsize=8.5, va="center")
    axis.axhline(len(EMOTIONS) - 0.5, color=_PALE, linewidth=0.6)
    axis.set_yticks(range(len(names)), names)
    for tick, emotion in zip(axis.get_yticklabels(), names, strict=True):
        tick.set_color(COLOURS[EMOTIONS.index(emotion)] if emotion in EMOTIONS else _INK)
        tick.set_weight("bold")
    axis.set(ylim=(len(names) - 0.4, -0.8), xlim=(0, 1))
    axis.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.tick_params(axis="y", length=0)
    figure.legend(loc="outside lower center", ncols=len(rows), frameon=False, fontsize=9)
    return figure


def _strip(images: np.ndarray, enlarge: int, gap: int) -> np.ndarray:
    """(n, 48, 48) uint8 side by side on white, (48 e + gap, n (48 e + gap)) uint8."""
    large = np.repeat(np.repeat(images, enlarge, axis=1), enlarge, axis=2)
    framed = np.pad(large, ((0, 0), (0, gap), (0, gap)), constant_values=255)
    return framed.transpose(1, 0, 2).reshape(framed.shape[1], -1)


def _sheet(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure((width, height), layout="constrained", dpi=110)
