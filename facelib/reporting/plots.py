"""Pictures for people: annotated photographs, and figures that go to ``reports/figures``.

Each figure function returns a matplotlib Figure; ``save_figure`` names the file. matplotlib is imported when
the first figure is made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
        track = f"{face.track}: " if getattr(face, "track", 0) else ""  # a film's faces have numbers
        lines.append(f"{track}{face.emotion} {face.emotions[face.emotion]:.0%}")
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


# --- what the figures share ---------------------------------------------------------------------------

#: Wherever DeepFace and facelib are compared.
THEIRS, OURS = "#D55E00", "#0072B2"
#: Words and lines, and what stands behind them; bands and grids.
INK, PALE, BAND = "#333333", "#9A9A9A", "#E6E6E6"
#: What legends show for an open dot, and for the parts of bars of a colour (``SQUARE | {"color": ...}``).
OPEN = {"marker": "o", "linestyle": "", "markersize": 7, "color": INK, "markerfacecolor": "white"}
SQUARE = {"marker": "s", "linestyle": "", "markersize": 7}
#: Emotion -> its colour in every figure.
COLOUR = dict(zip(EMOTIONS, COLOURS, strict=True))


def sheet(width: float, height: float, layout: str | None = "constrained", dpi: int = 110) -> Figure:
    """A figure outside pyplot: a notebook shows it once, and nothing stays open."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=dpi, layout=layout)


def small_multiples(
    titles: Iterable[str], width: float, height: float, columns: int | None = None, frame: str = "both",
    percents: str = "", colours: Sequence[str] | None = None, dpi: int = 110, **options,
) -> tuple[Figure, list[Axes]]:  # fmt: skip
    """A figure with an axis for each title, and these axes.

    columns: None for a single row. frame: spines that stay, "both" (left and bottom), "bottom" or "none".
    percents: axes that show shares as per cent, "x", "y" or "xy". colours: of the titles. options: of
    ``Figure.subplots``.
    """
    titles = list(titles)
    colours = colours or [INK] * len(titles)
    columns = columns or max(len(titles), 1)
    figure = sheet(width, height, dpi=dpi)
    grid = figure.subplots(-(-len(titles) // columns), columns, squeeze=False, **options).ravel()
    for axis, title, colour in zip(grid, titles, colours, strict=False):
        axis.set_title(title, fontsize=10, loc="left", weight="bold", color=colour)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
        axis.spines["bottom"].set_visible(frame != "none")
        axis.spines["left"].set_visible(frame == "both")
        axis.tick_params(axis="y", left=frame == "both")
        axis.tick_params(axis="x", bottom=frame != "none")
        for name in percents:
            getattr(axis, f"{name}axis").set_major_formatter(percent)
    for axis in grid[len(titles) :]:
        axis.axis("off")
    return figure, list(grid[: len(titles)])


def interval_plot(
    axis: Axes, places, values, ends, colours, *, vertical: bool = False, filled=True, marker: str = "o",
    size: float = 44, line: float = 2.2,
) -> None:  # fmt: skip
    """Dots with their intervals: values (n,) with ends (n, 2), or one of each; what is nan is not drawn.

    places: (n,), up the axis, or along it if vertical. colours: one, or n. filled: an open dot where False.
    """
    places, values = (np.atleast_1d(np.array(each, float)) for each in (places, values))
    low, high = np.array(ends, float).reshape(-1, 2).T
    colours = np.broadcast_to(colours, len(places)).tolist()
    (axis.vlines if vertical else axis.hlines)(places, low, high, color=colours, linewidth=line, alpha=0.5)
    faces = np.where(np.broadcast_to(filled, len(places)), colours, "white").tolist()
    x, y = (places, values) if vertical else (values, places)
    edges, width = ("white", 0.8) if filled is True else (colours, 1.4)
    axis.scatter(x, y, s=size, marker=marker, color=faces, edgecolor=edges, linewidth=width, zorder=3)


def heatmap(axis: Axes, values: np.ndarray, rows: Sequence[str], columns: Sequence[str], words, **options):
    """A matrix with words in its cells, dark on light and light on dark; emotions are named in their colours.

    words: (row, column) -> text and the options of its letters. options: of ``imshow``, whose image is
    returned.
    """
    shown = axis.imshow(values, **options)
    for (y, x), value in np.ndenumerate(values):
        text, style = words(y, x)
        ink = ink_on(shown.cmap(shown.norm(value)))
        axis.text(x, y, text, **{"ha": "center", "va": "center", "fontsize": 9, "color": ink} | style)
    axis.set_xticks(range(len(columns)), columns)
    axis.set_yticks(range(len(rows)), rows)
    axis.tick_params(length=0, labelsize=9.5)
    axis.spines[:].set_visible(False)
    colour_names([*axis.get_yticklabels(), *axis.get_xticklabels()])
    return shown


def confusion_axis(axis: Axes, across: str, down: str) -> None:
    """Name the two sides of a heat map of emotions."""
    axis.set(xlabel=across, ylabel=down)
    for tick in axis.get_xticklabels():
        tick.set(rotation=40, ha="right", rotation_mode="anchor", color=INK, weight="normal")


def stacked_bars(axis: Axes, rows: Mapping[str, Sequence[float]], colours, least: float, words=None) -> None:
    """A bar of parts for each name, from the top.

    words: (value, row) -> text (None: per cent), left out of parts below ``least``.
    """
    words = words or (lambda value, _: f"{value:.0%}")
    for y, parts in enumerate(rows.values()):
        starts = np.cumsum([0, *parts])
        axis.barh([y] * len(parts), parts, left=starts[:-1], color=colours, height=0.72, edgecolor="white")
        for start, value, colour in zip(starts, parts, colours, strict=False):
            if value >= least:
                style = {"ha": "center", "va": "center", "fontsize": 9, "color": ink_on(colour)}
                axis.text(start + value / 2, y, words(value, y), **style)
    axis.set_yticks(range(len(rows)), rows, fontsize=9.5)
    axis.set_ylim(len(rows) - 0.5, -0.5)


def end_labels(axis: Axes, x: float, heights, names: Iterable[str], colours, gap: float, **style) -> None:
    """Name lines at their ends (x, heights), the names ``gap`` apart."""
    style = {"va": "center", "fontsize": 9, "weight": "bold"} | style
    for place, name, colour in zip(apart(heights, gap), names, colours, strict=True):
        axis.text(x, place, name, color=colour, **style)


def legend_below(figure: Figure, entries: Mapping[str, Mapping | str], loc="outside lower center") -> None:
    """A legend outside the axes: word -> a dot's colour, or how its line or mark is drawn (``Line2D``)."""
    from matplotlib.lines import Line2D

    dot = {"marker": "o", "linestyle": "", "markersize": 7}
    styles = [dot | {"color": style} if isinstance(style, str) else style for style in entries.values()]
    handles = [Line2D([], [], **style) for style in styles]
    figure.legend(handles, entries, loc=loc, ncols=len(entries), frameon=False, fontsize=9)


def place_names(axis: Axes, x, y, names: Sequence[str], colours=INK, size: float = 8.8, weight="normal"):
    """Name the points, each at the nearest place where its name meets no point and no other name.

    Lays the figure out, so that names can be placed in pixels: the axis's limits have to be set before.
    """
    from matplotlib.patheffects import withStroke
    from matplotlib.transforms import Bbox

    axis.figure.draw_without_rendering()
    scale, colours = axis.figure.dpi / 72, np.broadcast_to(colours, len(names)).tolist()
    there = axis.transData.transform(np.stack([x, y], 1)) / scale  # in points, as letters are
    frame = Bbox(axis.bbox.get_points() / scale)
    taken = [Bbox.from_bounds(px - 5, py - 5, 10, 10) for px, py in there]
    moves = [(dx, dy) for dx in range(8, 120, 8) for dy in range(-104, 105, 4)]
    moves.sort(key=lambda move: np.hypot(*move))
    for i in np.argsort(-there[:, 1]):
        if not np.isfinite(there[i]).all():
            continue
        wide, high = size * (0.7 if weight == "bold" else 0.57) * len(names[i]) + 4, 1.36 * size
        places = [(x0, dy - high / 2) for dx, dy in moves for x0 in (dx, -dx - wide)]
        boxes = [Bbox.from_bounds(*(there[i] + place), wide, high) for place in places]
        inside = [
            b for b in boxes if frame.x0 < b.x0 and b.x1 < frame.x1 and frame.y0 < b.y0 < b.y1 < frame.y1
        ]
        box = next((b for b in inside if not b.count_overlaps(taken)), boxes[0])
        taken.append(box)
        right = box.x0 > there[i][0]
        offset = (box.x0 if right else box.x1) - there[i][0], (box.y0 + box.y1) / 2 - there[i][1]
        far = np.hypot(*offset) > 16
        axis.annotate(
            names[i], (x[i], y[i]), offset, textcoords="offset points", fontsize=size, color=colours[i],
            weight=weight, ha="left" if right else "right", va="center", annotation_clip=False, zorder=4,
            path_effects=[withStroke(linewidth=3, foreground="white")],
            arrowprops={"arrowstyle": "-", "color": PALE, "linewidth": 0.6} if far else None,
        )  # fmt: skip


def colour_names(labels: Iterable) -> None:
    """Emotions among these texts become bold, in their colours."""
    for label in labels:
        if (name := label.get_text()) in COLOUR:
            label.set(color=COLOUR[name], weight="bold")


def ink_on(colour) -> str:
    """White or dark: in which of them letters are read on a colour."""
    from matplotlib.colors import to_rgb

    return "white" if np.dot(to_rgb(colour), (0.299, 0.587, 0.114)) < 0.6 else INK


def colour_bar(figure: Figure, shown, axes, label: str = "", **options):
    """The scale of a picture's colours, without a frame."""
    bar = figure.colorbar(shown, ax=axes, pad=0.01, **options)
    bar.set_label(label, fontsize=8.5)
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)
    return bar


def few_ticks(axis: Axes) -> None:
    """About three round numbers below a narrow axis."""
    from matplotlib.ticker import MaxNLocator

    axis.xaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 2.5, 5, 10]))
    axis.tick_params(labelsize=8.5)


def percent(value: float, _: int = 0) -> str:
    return f"{value:.{0 if abs(100 * value - round(100 * value)) < 1e-6 else 1}%}"


def apart(values, gap: float) -> np.ndarray:
    """Places for names at these heights, moved until they stand ``gap`` apart."""
    values = np.nan_to_num(np.array(values, float))
    order, places = np.argsort(values), values.copy()
    for _ in range(50):
        for low, high in zip(order, order[1:], strict=False):
            short = gap - (places[high] - places[low])
            if short > 0:
                places[[low, high]] += np.array([-short, short]) / 2
    return places


# --- photographs, networks, costs -------------------------------------------------------------------------


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
    for axis, picture, title in zip(grid, pictures, titles, strict=False):
        show(axis, picture, scale)
        axis.set_title(title, fontsize=9)
    for axis in grid[len(pictures) :]:
        axis.axis("off")
    return figure


def show(axis: Axes, picture: np.ndarray, scale: tuple[float, float] | None = None) -> None:
    """A picture without a frame: the pixels of small ones are squares, photographs are smoothed."""
    low, high = scale or ((0, 255) if picture.dtype == np.uint8 else (0, 1))
    how = "antialiased" if max(picture.shape[:2]) > 150 else "nearest"
    axis.imshow(picture, cmap="gray", vmin=low, vmax=high, interpolation=how)
    axis.axis("off")


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
    heights = [len(stages) for stages in groups.values()]
    options = {"sharex": True, "height_ratios": heights, "dpi": 100, "colours": (THEIRS, OURS)}
    figure, axes = small_multiples(groups, 8.5, 0.9 + 0.27 * sum(heights), 1, "bottom", **options)
    for axis, colour, stages in zip(axes, (THEIRS, OURS), groups.values(), strict=False):
        words = [f"{ms:.{0 if ms >= 10 else 1 if ms >= 1 else 2}f} ms" for ms in stages.values()]
        words = ["≥ " * (name in counted) + text for name, text in zip(stages, words, strict=True)]
        bars = axis.barh(list(stages), stages.values(), color=colour, height=0.68)
        axis.bar_label(bars, words, padding=4, fontsize=8.5)
        for name, bar in zip(stages, bars, strict=True):
            if name in counted:
                bar.set(facecolor="white", edgecolor=colour, hatch="////")
        axis.invert_yaxis()
        axis.tick_params(labelsize=9)
    axes[-1].set_xlim(0, 1.14 * max(max(stages.values()) for stages in groups.values()))
    axes[-1].set_xlabel("milliseconds for one photograph with one face", fontsize=9)
    return figure


def found_eyes(sides, rates: dict[str, list[float]]) -> Figure:
    """How often both eyes are found in a face (shares in [0, 1]), against the face's width in pixels."""
    figure, (axis,) = small_multiples(["Were both eyes found?"], 7.0, 2.7, percents="y", dpi=100)
    for name, colour in zip(rates, (THEIRS, OURS), strict=False):
        axis.plot(sides, rates[name], "o-", color=colour, label=name, markersize=5)
    axis.set(xlabel="width of the face, pixels", ylabel="share of tilts", ylim=(-0.05, 1.08), xscale="log")
    axis.set_xticks(sides, [f"{side:.0f}" for side in sides])
    axis.minorticks_off()
    axis.legend(frameon=False, fontsize=9, loc="lower right")
    return figure


def walkthrough(image: np.ndarray, face: Face, patch: np.ndarray, small: np.ndarray) -> Figure:
    """The front page: a photograph, its annotated face, the stages in between, and every probability.

    image: (H, W, 3) uint8 RGB. patch: the frame around the face, turned upright. small: (48, 48) uint8, what
    the emotion network sees.
    """
    figure = sheet(8.0, 3.75, dpi=100)
    left, right = figure.subfigures(1, 2, width_ratios=(0.88, 1))
    top, bottom = right.subfigures(2, 1, height_ratios=(1, 1.12))
    pictures = {
        "a photograph": annotate(image, [face]),
        "turned, cut out": patch,
        f"{small.shape[0]} × {small.shape[1]}: what is read": small,
    }
    for axis, (title, picture) in zip([left.subplots(), *top.subplots(1, 2)], pictures.items(), strict=True):
        show(axis, picture)
        axis.set_title(title, fontsize=10, loc="left")
    axis = bottom.subplots()
    probabilities = face.emotions | face.genders
    colours = [*COLOURS[: len(face.emotions)], *["#444444"] * len(face.genders)]
    places = [i + 0.6 * (i >= len(face.emotions)) for i in range(len(probabilities))]
    bars = axis.barh(places, list(probabilities.values()), color=colours, height=0.74)
    axis.bar_label(bars, [f"{p:.0%}" for p in probabilities.values()], padding=3, fontsize=8)
    axis.set_yticks(places, list(probabilities), fontsize=9)
    axis.invert_yaxis()
    axis.set(xlim=(0, 1.1), xticks=[])
    axis.spines[:].set_visible(False)
    axis.tick_params(left=False)
    return figure
