"""Pictures for people: annotated photographs, and figures that go to ``reports/figures``.

Each figure function returns a matplotlib Figure; ``save_figure`` names the file. matplotlib is imported when
the first figure is made.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from facelib import paths
from facelib.emotions import COLOURS, EMOTIONS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from facelib.vision.encoder import Face


def annotate(image: np.ndarray, faces: Iterable[Face]) -> np.ndarray:
    """Draw faces into a picture: corners in the emotion's colour, eyes, a label that stays inside.

    image: (H, W, 3) uint8 RGB. Returns a new array of the same shape and type. Lines and letters scale with
    the picture and with the face; a face too small for letters gets its corners only.
    """
    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture, "RGBA")
    width, height = picture.size
    taken: list[tuple[float, float, float, float]] = []
    for face in sorted(faces, key=lambda face: -face.box[3]):
        x, y, w, h = face.box
        colour = COLOURS[EMOTIONS.index(face.emotion)] if face.emotion else "#0072B2"
        line = max(2, round(min(width, height) / 250), round(w / 60))
        arm = w * 0.22
        for cx, dx in ((x, 1), (x + w, -1)):
            for cy, dy in ((y, 1), (y + h, -1)):
                corner = [(cx + dx * arm, cy), (cx, cy), (cx, cy + dy * arm)]
                draw.line(corner, fill="#FFFFFFB0", width=line + 2, joint="curve")
                draw.line(corner, fill=colour, width=line, joint="curve")
        for ex, ey in face.eyes or ():
            r = max(1.5, w / 50)
            draw.ellipse((ex - r, ey - r, ex + r, ey + r), fill=colour, outline="white")
        size = max(11, min(round(w / 6), round(height / 14), 48))
        text = "\n".join(_captions(face))
        if not text:
            continue
        font = ImageFont.load_default(size)
        left, top, right, bottom = draw.multiline_textbbox((0, 0), text, font=font, spacing=size // 5)
        pad = size // 3
        label_w, label_h = right - left + 2 * pad, bottom - top + 2 * pad
        # Below the box if there is room, else above, else inside; then moved into the picture.
        places = [(x, y + h + line), (x, y - label_h - line), (x + w + line, y), (x - label_w - line, y)]
        places = [(min(max(px, 0), width - label_w), py) for px, py in places]
        fits = [
            place
            for place in places
            if 0 <= place[1] <= height - label_h
            and not any(_overlap(place, label_w, label_h, t) for t in taken)
        ]
        px, py = fits[0] if fits else (places[0][0], min(max(y + h - label_h, 0), height - label_h))
        if not fits and w < 60:
            continue
        taken.append((px, py, label_w, label_h))
        draw.rounded_rectangle((px, py, px + label_w, py + label_h), radius=pad, fill=colour + "E0")
        draw.multiline_text(
            (px + pad - left, py + pad - top), text, font=font, fill="white", spacing=size // 5
        )
    return np.asarray(picture)


def _captions(face: Face) -> list[str]:
    lines = []
    if face.emotion:
        lines.append(f"{face.emotion} {face.emotions[face.emotion]:.0%}")
    if face.gender:
        lines.append(f"{face.gender} {face.genders[face.gender]:.0%}")
    return lines


def _overlap(place, width, height, other) -> bool:
    x, y = place
    ox, oy, ow, oh = other
    return x < ox + ow and ox < x + width and y < oy + oh and oy < y + height


def save_figure(
    figure: Figure, name: str, formats: Iterable[str] = ("png",), weights: str | None = None
) -> Path:
    """Write a figure to ``paths.new_figures()/NAME.png`` (whole or not at all) and return the first path.

    weights: digest of the network that made what it shows. A PNG keeps it, and a report that prints the
    picture sees whether another network has come since.
    """
    import matplotlib

    written = []
    for extension in formats:
        path = paths.new_figures() / f"{name}.{extension}"
        # The salt replaces matplotlib's random numbering of an SVG's parts.
        with paths.atomic_write(path) as temporary, matplotlib.rc_context({"svg.hashsalt": name}):
            figure.savefig(
                temporary, format=extension, dpi=150, bbox_inches="tight", metadata=_facts(extension, weights)
            )
        written.append(path)
    return written[0]


def _facts(extension: str, weights: str | None) -> dict:
    """What is written into the file: no date, so that the same figure is the same bytes."""
    if extension == "png":
        return {"Software": None} | ({"weights": weights} if weights else {})
    return {"Date": None} if extension == "svg" else {}


# --- what the notebooks share -------------------------------------------------------------------------

#: Wherever DeepFace and facelib are compared.
THEIRS, OURS = "#D55E00", "#0072B2"
#: Words and lines, and what stands behind them.
INK, PALE = "#333333", "#9A9A9A"


def sheet(width: float, height: float, layout: str | None = "constrained", dpi: int = 110) -> Figure:
    """A figure outside pyplot: a notebook shows it once, and nothing stays open."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=dpi, layout=layout)


def heading(axis: Axes, text: str) -> None:
    axis.set_title(text, fontsize=10.5, loc="left", weight="bold")


def bare(axis: Axes, bottom: bool = True) -> None:
    """No frame but the lower line, if at all."""
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.spines["bottom"].set_visible(bottom)
    axis.tick_params(axis="y", left=False)


def few_ticks():
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(3, steps=[1, 2, 2.5, 5, 10])


def percent(value: float, _: int) -> str:
    return f"{100 * value:.0f} %" if abs(100 * value - round(100 * value)) < 1e-6 else f"{100 * value:.1f} %"


def apart(values: list[float], gap: float) -> np.ndarray:
    """Places for names at these heights, moved until they stand ``gap`` apart."""
    values = np.nan_to_num(np.array(values, float))
    order, places = np.argsort(values), values.copy()
    for _ in range(50):
        for low, high in zip(order, order[1:], strict=False):
            short = gap - (places[high] - places[low])
            if short > 0:
                places[[low, high]] += np.array([-short, short]) / 2
    return places


def mark(axis, box=None, eyes=None, colour: str = OURS, text: str = "") -> None:
    """Draw a box (x, y, w, h) and a pair of eyes onto a picture that ``panels`` has put there."""
    from matplotlib.patches import Rectangle

    if box is not None:
        x, y, w, h = box
        axis.add_patch(Rectangle((x, y), w, h, fill=False, edgecolor="white", linewidth=3.6, alpha=0.7))
        axis.add_patch(Rectangle((x, y), w, h, fill=False, edgecolor=colour, linewidth=2))
        if text:
            axis.text(
                x + w / 2, y - 6, text, color="white", fontsize=8, ha="center", va="bottom",
                bbox={"facecolor": colour, "edgecolor": "none", "boxstyle": "round,pad=0.25"},
            )  # fmt: skip
    if eyes is not None:
        xs, ys = zip(*eyes, strict=True)
        axis.plot(xs, ys, color=colour, linewidth=1.4)
        axis.scatter(xs, ys, s=28, color=colour, edgecolor="white", linewidth=0.9, zorder=3)


def panels(pictures, titles, columns: int | None = None, width: float = 8.5, scale=None) -> Figure:
    """Pictures side by side, each under its title, gray or RGB; small ones are enlarged without smoothing.

    pictures: arrays (h, w) or (h, w, 3), uint8 or float in [0, 1]. columns: None for a single row. scale: the
    (lowest, highest) value of gray pictures that stand for black and white.
    """
    columns = columns or len(pictures)
    rows = -(-len(pictures) // columns)
    ratios = [max(p.shape[1] / p.shape[0] for p in pictures[c::columns]) for c in range(columns)]
    figure = sheet(width, rows * (width / sum(ratios) + 0.42), dpi=100)
    grid = figure.subplots(rows, columns, squeeze=False, width_ratios=ratios).ravel()
    for axis in grid:
        axis.axis("off")
    for axis, picture, title in zip(grid, pictures, titles, strict=False):
        low, high = scale or ((0, 255) if picture.dtype == np.uint8 else (0, 1))
        large = max(picture.shape[:2]) > 150  # real pixels are shown as squares, photographs are not
        how = "antialiased" if large else "nearest"
        axis.imshow(picture, cmap="gray", vmin=low, vmax=high, interpolation=how)
        axis.set_title(title, fontsize=9)
    return figure


def network_diagrams(networks: dict[str, list[tuple[str, int, int, int]]]) -> Figure:
    """Networks as rows of blocks, one row for each: what shape leaves each stage, where the parameters are.

    networks: title -> stages, each (name, side, channels, parameters). A block is as high as its maps are
    large (square root) and as thick as it has channels (logarithm); the darker, the more of the network's
    parameters it holds.
    """
    from matplotlib import colormaps
    from matplotlib.patches import Polygon

    tallest = [0.16 + 0.062 * max(stage[1] for stage in stages) ** 0.5 for stages in networks.values()]
    ratios = [1.35 * high + 0.72 for high in tallest]  # the limits of y below
    figure = sheet(9.5, 1.16 * sum(ratios) + 0.33 * len(networks), dpi=100)
    grid = figure.subplots(len(networks), 1, sharex=True, squeeze=False, height_ratios=ratios).ravel()
    widest = 0.0
    for axis, top, (title, stages) in zip(grid, tallest, networks.items(), strict=True):
        total, foot = sum(stage[3] for stage in stages), -top / 2
        left = 0.0
        for name, side, channels, parameters in stages:
            high, thick = 0.16 + 0.062 * np.sqrt(side), 0.08 + 0.05 * np.log2(channels)
            slant, share = 0.32 * high, parameters / total
            base = colormaps["Blues"](0.14 + 0.76 * np.sqrt(share))
            x, y = left, -high / 2
            front = [(x, y), (x + thick, y), (x + thick, y + high), (x, y + high)]
            roof = [
                (x, y + high),
                (x + slant, y + high + slant),
                (x + slant + thick, y + high + slant),
                front[2],
            ]
            flank = [front[1], (x + thick + slant, y + slant), roof[2], front[2]]
            for corners, shade in ((front, 1.0), (roof, 0.92), (flank, 0.8)):
                colour = tuple(shade * c for c in base[:3])
                axis.add_patch(Polygon(corners, facecolor=colour, edgecolor="#333333", linewidth=0.6))
            middle = left + (thick + slant) / 2
            shape = f"{side}×{side}×{channels}" if side > 1 else f"{channels:,}"
            axis.text(
                middle, foot - 0.09, f"{name}\n{shape}", ha="center", va="top", fontsize=8, linespacing=1.35
            )
            if parameters:
                bold = "bold" if share > 0.2 else "normal"
                percent = f"{share:.0%}" if share >= 0.005 else "<0.5%"
                axis.text(middle, foot - 0.5, percent, ha="center", va="top", fontsize=8.5, weight=bold)
            left += max(thick + slant + 0.26, 0.72)
        axis.set_title(f"{title}: {total:,} parameters", fontsize=10.5, loc="left")
        widest = max(widest, left)
        axis.set(xlim=(-0.12, widest), ylim=(foot - 0.72, 0.85 * top), aspect="equal", anchor="W")
        axis.axis("off")
    return figure


def stage_costs(groups: dict[str, dict[str, float]], counted: Iterable[str] = ()) -> Figure:
    """Milliseconds of each stage as bars, a panel for each pipeline, all on one scale.

    groups: pipeline -> stage -> milliseconds. counted: stages that were not run, only counted (hatched).
    """
    most = max(max(stages.values()) for stages in groups.values())
    figure = sheet(8.5, 0.9 + 0.27 * sum(len(stages) for stages in groups.values()), dpi=100)
    heights = [len(stages) for stages in groups.values()]
    grid = figure.subplots(len(groups), 1, sharex=True, squeeze=False, height_ratios=heights).ravel()
    for axis, colour, (title, stages) in zip(grid, (THEIRS, OURS), groups.items(), strict=False):
        names = list(stages)[::-1]
        bars = axis.barh(names, [stages[name] for name in names], color=colour, height=0.68)
        for name, bar in zip(names, bars, strict=True):
            if name in counted:
                bar.set(facecolor="white", edgecolor=colour, hatch="////")
            figures = 0 if stages[name] >= 10 else 1 if stages[name] >= 1 else 2
            least = "≥ " if name in counted else ""
            axis.text(
                bar.get_width() + most / 120, bar.get_y() + bar.get_height() / 2,
                f"{least}{stages[name]:.{figures}f} ms", va="center", fontsize=8.5,
            )  # fmt: skip
        axis.set_title(title, fontsize=10, loc="left", color=colour, weight="bold")
        axis.spines[["top", "right", "left"]].set_visible(False)
        axis.tick_params(left=False, labelsize=9)
        axis.set_xlim(0, 1.14 * most)
    grid[-1].set_xlabel("milliseconds for one photograph with one face", fontsize=9)
    return figure


def found_eyes(sides, rates: dict[str, list[float]]) -> Figure:
    """How often both eyes are found in a face (shares in [0, 1]), against the face's width in pixels."""
    figure = sheet(7.0, 2.7, dpi=100)
    axis = figure.subplots()
    for name, colour in zip(rates, (THEIRS, OURS), strict=False):
        axis.plot(sides, rates[name], "o-", color=colour, label=name, markersize=5)
    axis.set(xlabel="width of the face, pixels", ylabel="share of tilts", ylim=(-0.05, 1.08))
    axis.set_xscale("log")
    axis.set_xticks(sides, [f"{side:.0f}" for side in sides])
    axis.minorticks_off()
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=9, loc="lower right")
    axis.set_title("Were both eyes found?", fontsize=10, loc="left")
    return figure


def walkthrough(image: np.ndarray, face: Face, patch: np.ndarray, small: np.ndarray) -> Figure:
    """The front page: a photograph, its annotated face, the stages in between, and every probability.

    image: (H, W, 3) uint8 RGB. patch: the frame around the face, turned upright. small: (48, 48) uint8, what
    the emotion network sees.
    """
    figure = sheet(8.0, 3.75, dpi=100)
    left, right = figure.subfigures(1, 2, width_ratios=(0.88, 1))
    picture = left.subplots()
    picture.imshow(annotate(image, [face]), interpolation="antialiased")
    picture.set_title("a photograph", fontsize=10, loc="left")
    top, bottom = right.subfigures(2, 1, height_ratios=(1, 1.12))
    cut, seen = top.subplots(1, 2)
    cut.imshow(patch, interpolation="antialiased")
    cut.set_title("turned, cut out", fontsize=10, loc="left")
    seen.imshow(small, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    seen.set_title(f"{small.shape[0]} × {small.shape[1]}: what is read", fontsize=10, loc="left")
    for axis in (picture, cut, seen):
        axis.axis("off")
    axis = bottom.subplots()
    answers = face.emotions | face.genders
    colours = [*COLOURS[: len(face.emotions)], *["#444444"] * len(face.genders)]
    places = [i + 0.6 * (i >= len(face.emotions)) for i in range(len(answers))]
    axis.barh(places, list(answers.values()), color=colours, height=0.74)
    for place, p in zip(places, answers.values(), strict=True):
        axis.text(p + 0.012, place, f"{p:.0%}", va="center", fontsize=8)
    axis.set_yticks(places, list(answers), fontsize=9)
    axis.invert_yaxis()
    axis.set(xlim=(0, 1.1), xticks=[])
    axis.spines[:].set_visible(False)
    axis.tick_params(left=False)
    return figure
