"""What the pixels of a set of pictures tell, as figures: typical faces, copies, quality.

Each function returns a matplotlib Figure. Where one takes ``sets``, ``found`` or ``other``, it is as in
``auditfigures``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from facelib import toyfaces
from facelib.emotions import COLOURS, EMOTIONS
from facelib.evaluation import wilson
from facelib.figures import INK, PALE, heading, sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

_K = len(EMOTIONS)
#: The measures of ``pixels.quality`` that are drawn, with the name of their axis.
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
    faces = toyfaces.contact_sheet(columns=columns, size=size, gap=gap)
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
