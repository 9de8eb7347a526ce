"""Generated faces and what is measured on them, as figures.

Each function returns a matplotlib Figure. Faces of a data set are never drawn into a figure that is kept:
what is shown here was generated or is synthetic.
"""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np

from facelib.emotions import COLOURS, EMOTIONS
from facelib.language import say, speaks
from facelib.reporting import plots
from facelib.reporting.plots import COLOUR, INK, PALE, SOFT

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@speaks
def faces(rows: Mapping[str, np.ndarray], enlarge: int = 2, gap: int = 4) -> Figure:
    """A row of faces for each name: name -> (n, 48, 48) uint8. An emotion's name stands in its colour.

    enlarge: pixels of the notebook's page for each of a face, where the row is not too long for that: 4 faces
    at 3, 6 at 2. gap: pixels between faces.
    """
    strips = [_strip(each, enlarge, gap) for each in rows.values()]
    height, width = len(strips) * strips[0].shape[0], max(strip.shape[1] for strip in strips)
    inches = min(width / 110, plots.WIDTH - 1.4)  # the names take the rest
    figure = plots.sheet(1.4 + inches, 0.15 + inches * height / width)
    axes = figure.subplots(len(strips), 1, squeeze=False)[:, 0]
    for axis, (name, strip) in zip(axes, zip(rows, strips, strict=True), strict=True):
        axis.imshow(strip, cmap="gray", vmin=0, vmax=255, interpolation="antialiased")
        axis.set(xticks=[], yticks=[], xlim=(-0.5, width - 0.5))
        axis.spines[:].set_visible(False)
        style = {"rotation": 0, "ha": "right", "va": "center", "labelpad": 8, "weight": "bold"}
        style |= {"fontsize": 9.5, "color": plots.legible(COLOUR.get(name, INK))}
        axis.set_ylabel(fill(say(name), 14), **style)
    return figure


@speaks
def learning(rows: list[Mapping], started: float | None = None) -> Figure:
    """What a codec's training wrote after each epoch: PSNR, SSIM and perplexity.

    rows: of its ``log.jsonl``. started: the epoch from which it quantizes, a dashed line.
    """
    figure, axes = plots.small_multiples(["PSNR, dB", "SSIM", "perplexity"], plots.WIDTH, 2.5)
    for axis, key in zip(axes, ("psnr", "ssim", "perplexity"), strict=True):
        there = [row for row in rows if key in row]
        axis.plot([row["epoch"] for row in there], [row[key] for row in there], ".-", color=COLOURS[0])
        if started is not None:
            axis.axvline(started, color=PALE, linestyle="--", linewidth=0.9)
        axis.set_xlabel("epoch")
    return figure


@speaks
def plane(points: np.ndarray, books: Mapping[str, np.ndarray]) -> Figure:
    """Codebooks among points in the plane, a panel each: what uses a code is blue, a dead code a cross.

    points: (n, 2). books: title -> codes (k, 2).
    """
    figure, axes = plots.small_multiples(books, 2.45 * len(books), 2.75, frame="none")
    for axis, book in zip(axes, books.values(), strict=True):
        code = ((points[:, None] - book) ** 2).sum(-1).argmin(1)
        alive = np.bincount(code, minlength=len(book)) > 0
        axis.scatter(*points.T, s=2, color=PALE, alpha=0.35, linewidths=0)
        axis.scatter(*book[alive].T, s=34, color=COLOURS[4], edgecolors="white", linewidths=0.8, zorder=3)
        axis.scatter(*book[~alive].T, s=26, marker="x", color=COLOURS[0], linewidths=1.2, zorder=3)
        axis.set_xlabel(f"{alive.sum()} of {len(book)} codes in use", fontsize=9)
        axis.set(xticks=[], yticks=[])
        axis.set_aspect("equal", adjustable="datalim")
    return figure


@speaks
def staircase(codes: np.ndarray, latents: np.ndarray) -> Figure:
    """The loss (q - 1)^2 of one number z that is written as its nearest code q, and for some latents where
    the slope at their code, the straight-through estimate, pushes them.

    codes: (k,). latents: (n,).
    """

    def written(z):
        return codes[np.abs(z[:, None] - codes).argmin(1)]

    edge = 0.6 + np.abs(codes).max()
    z, q = np.linspace(-edge, edge, 1501), written(latents)
    heading = ["loss of one latent, with a quantiser and without"]
    figure, (axis,) = plots.small_multiples(heading, plots.WIDTH, 3.2)
    axis.plot(z, (z - 1) ** 2, color=PALE, linestyle="--", label="the loss, were there no quantiser")
    axis.plot(z, (written(z) - 1) ** 2, color=COLOURS[4], label="the loss with it: its gradient is 0")
    axis.plot(codes, (codes - 1) ** 2, "o", color=COLOURS[4], label="codes")
    for start, code in zip(latents, q, strict=True):
        height = (code - 1) ** 2
        axis.annotate("", (start - 0.2 * (code - 1), height), (start, height), arrowprops=_arrow(0))
    axis.plot([], [], color=COLOURS[0], label="where the straight-through gradient moves a latent")
    axis.set(xlabel="latent z", ylabel="loss", ylim=(-0.4, None))
    axis.legend(frameon=False, fontsize=9)
    return figure


@speaks
def curves(curves: Mapping[str, np.ndarray], highest: float, unit: str) -> Figure:
    """Something that was looked at in equal steps of several trainings, each line named at its end.

    curves: name -> (n,), nan where there is nothing yet. highest: the end of the axis.
    """
    figure, (axis,) = plots.small_multiples([unit], plots.WIDTH, 3.0, percents="x")
    colours = [COLOURS[i] for i in (0, 3, 1, 4, 2, 6, 5)][: len(curves)]
    for curve, colour in zip(curves.values(), colours, strict=True):
        axis.plot(np.arange(1, len(curve) + 1) / len(curve), curve, color=colour, linewidth=1.8)
    ends = [curve[-1] for curve in curves.values()]
    plots.end_labels(axis, 1.012, ends, curves, colours, highest / 15, weight="normal")
    axis.set(xlim=(0, 1), ylim=(0, highest), xlabel="share of the training")
    return figure


@speaks
def codebooks(books: np.ndarray, counts: np.ndarray) -> Figure:
    """The codebook of each depth, all on one scale, in the plane that shows most of the first.

    books: (depth, codes, d). counts: (depth, codes), how often each code is used: the area of its dot.
    """
    directions = np.linalg.svd(books[0] - books[0].mean(0), full_matrices=False)[2][:2]
    places = (books - books.mean(1, keepdims=True)) @ directions.T  # (depth, codes, 2)
    edge = 1.05 * np.abs(places).max()
    titles = [f"code {i + 1}" for i in range(len(books))]
    figure, axes = plots.small_multiples(titles, 2.2 * len(books), 2.45, sharex=True, sharey=True)
    for i, axis in enumerate(axes):
        area = 4 * counts[i] / max(counts[i].mean(), 1e-9)
        axis.scatter(*places[i].T, s=area, color=COLOURS[4], alpha=0.45, linewidths=0)
        axis.set(xlim=(-edge, edge), ylim=(-edge, edge), xticks=[], yticks=[], aspect="equal")
        axis.spines[:].set(color="#DDDDDD", visible=True)
    return figure


@speaks
def positions(maps: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Where in the grid something happens: the face in gray, a share of 1 in the full colour of its emotion.

    maps: emotion -> a synthetic face, (48, 48) uint8, and shares (6, 6) in [0, 1].
    """
    from matplotlib.colors import to_rgb

    figure, axes = plots.small_multiples([""] * len(maps), 1.55 * len(maps), 1.85, frame="none")
    for axis, (name, (face, share)) in zip(axes, maps.items(), strict=True):
        colour = COLOUR[name]
        large = np.kron(share, np.ones((face.shape[0] // share.shape[0],) * 2))[..., None]
        gray = 0.35 + 0.65 * face[..., None] / 255  # paler, so that the colour is seen
        axis.imshow((1 - 0.75 * large) * gray + 0.75 * large * np.array(to_rgb(colour)) * gray)
        axis.set_title(name, color=plots.legible(colour), fontsize=9.5, weight="bold")
        axis.set_xlabel(f"{share.mean():.0%} of all", fontsize=9)
        axis.set(xticks=[], yticks=[])
    return figure


@speaks
def read_and_drawn(rows: Mapping[str, tuple[float, float]], arrow: tuple[str, str]) -> Figure:
    """How well faces are reconstructed from features, and emotions predicted: name -> (dB, share).

    arrow: from which of them to which.
    """
    heading = ["what features keep of a face"]
    figure, (axis,) = plots.small_multiples(heading, plots.WIDTH, 3.3, percents="y")
    for name, place in rows.items():
        colour = COLOURS[0] if name in arrow else COLOURS[4]
        axis.scatter(*place, s=80, color=colour, zorder=3)
        style = {"textcoords": "offset points", "ha": "center", "weight": "bold"}
        above = -18 if name == arrow[0] else 9
        axis.annotate(name, place, (0, above), color=plots.legible(colour), **style)
    axis.annotate("", rows[arrow[1]], rows[arrow[0]], arrowprops=_arrow(8))
    axis.set(xlabel="reconstruction: PSNR, dB", ylabel="emotions predicted as labelled")
    axis.margins(0.25)
    return figure


@speaks
def agreement(record: Mapping, rows: Mapping[str, str] | None = None) -> Figure:
    """How often the judge reads the emotion that was asked for, by emotion, with 95 % intervals.

    record: as ``evaluate_generator.record`` writes it. rows: keys of its agreement and their titles.
    """
    found = record["metrics"]["agreement"]
    rows = rows or {
        "plain": "as drawn",
        "even_light": "the same in even light",
        "best": f"best of {record['metrics']['best_of']}",
        "real": "real faces, their labels",
    }
    colours = dict(zip(rows, (INK, COLOURS[4], COLOURS[3], PALE), strict=False))
    heading = ["faces in which the judge reads what was asked for"]
    figure, (axis,) = plots.small_multiples(heading, plots.WIDTH, 4.4, frame="bottom", percents="x")
    names = [*EMOTIONS, "mean"]
    for i, key in enumerate(rows):
        values, ends = (
            [*(found[key][f"recall{end}"][e] for e in EMOTIONS), found[key][f"balanced_accuracy{end}"]]
            for end in ("", "_interval")
        )
        y = np.arange(len(names)) + 0.17 * (i - (len(rows) - 1) / 2)
        plots.interval_plot(axis, y, values, ends, colours[key], size=34, line=1.5)
    axis.axvline(1 / len(EMOTIONS), color=PALE, linestyle=":", linewidth=0.9)
    axis.text(1 / len(EMOTIONS), -0.6, " chance", color=SOFT, fontsize=9, va="center")
    axis.axhline(len(EMOTIONS) - 0.5, color=PALE, linewidth=0.6)
    axis.set_yticks(range(len(names)), names, weight="bold")
    plots.colour_names(axis.get_yticklabels())
    axis.set(ylim=(len(names) - 0.4, -0.8), xlim=(0, 1))
    plots.legend_below(figure, {title: colours[key] for key, title in rows.items()})
    return figure


def _arrow(gap: int) -> dict:
    """How an arrow is drawn that ends so many points before its places."""
    return {"arrowstyle": "-|>", "color": COLOURS[0], "shrinkA": gap, "shrinkB": gap, "linewidth": 1.6}


def _strip(images: np.ndarray, enlarge: int, gap: int) -> np.ndarray:
    """(n, 48, 48) uint8 side by side on white, (48 e + gap, n (48 e + gap)) uint8."""
    large = np.repeat(np.repeat(images, enlarge, axis=1), enlarge, axis=2)
    framed = np.pad(large, ((0, 0), (0, gap), (0, gap)), constant_values=255)
    return framed.transpose(1, 0, 2).reshape(framed.shape[1], -1)
