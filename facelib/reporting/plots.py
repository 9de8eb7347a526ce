"""Pictures for people: annotated photographs, and figures that go to ``reports/figures``.

Each figure function returns a matplotlib Figure; ``save_figure`` names the file. matplotlib is imported when
the first figure is made.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from facelib import language, paths
from facelib.emotions import COLOURS, EMOTIONS
from facelib.language import say, speaks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from facelib.vision.encoder import Face


@speaks
def annotate(image: np.ndarray, faces: Iterable[Face]) -> np.ndarray:
    """Draw faces into a picture: corners in the emotion's colour, eyes, a label that stays inside.

    image: (H, W, 3) uint8 RGB. Returns a new array of the same shape and type. Lines and letters scale with
    the picture and with the face. A label never covers another face: without a free place a face gets its
    corners only.
    """
    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture, "RGBA")
    width, height = picture.size
    faces = sorted(faces, key=lambda face: -face.box[3])
    labels: list[tuple[float, float, float, float]] = []
    for face in faces:
        taken = labels + [other.box for other in faces if other is not face]
        x, y, w, h = face.box
        colour = legible(COLOURS[EMOTIONS.index(face.emotion)] if face.emotion else OURS)
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
        letters = max(11, min(round(w / 6), round(height / 14), 48))
        text = "\n".join(_captions(face))
        if not text:
            continue
        font, spacing, pad = ImageFont.load_default(letters), letters // 5, letters // 3
        left, top, right, bottom = draw.multiline_textbbox((0, 0), text, font=font, spacing=spacing)
        size = right - left + 2 * pad, bottom - top + 2 * pad
        free_x, free_y = width - size[0], height - size[1]
        # Above the box if there is room, else beside it, else below the chin, else over the own forehead.
        middle, above, below = min(max(x, 0), free_x), y - size[1] - line, y + 1.15 * h
        places = [(middle, above), (x + w + line, y), (x - size[0] - line, y), (middle, below)]
        places = [(px, py) for px, py in places if 0 <= px <= free_x and 0 <= py <= free_y]
        places += [(middle, min(max(y, 0), free_y))] * (w >= 60)
        place = next((place for place in places if _is_free(*place, *size, taken)), None)
        if place is None:
            continue
        labels.append((*place, *size))
        px, py = place
        draw.rounded_rectangle((px, py, px + size[0], py + size[1]), radius=pad, fill=colour)
        start = px + pad - left, py + pad - top
        draw.multiline_text(start, text, font=font, fill="white", spacing=spacing)
    return np.asarray(picture)


def _captions(face: Face) -> list[str]:
    lines = []
    if face.emotion:
        track = f"{face.track}: " if getattr(face, "track", 0) else ""  # a film's faces have numbers
        lines.append(f"{track}{face.emotion} {face.emotions[face.emotion]:.0%}")
    if face.gender:
        lines.append(f"{face.gender} {face.genders[face.gender]:.0%}")
    return [line.replace("\u00a0", " ") for line in say(lines)]  # Pillow's letters lack that space


def _is_free(x: float, y: float, width: float, height: float, others: Iterable) -> bool:
    """Whether a box meets none of the others, (x, y, w, h) each."""
    return not any(
        x < ox + ow and ox < x + width and y < oy + oh and oy < y + height for ox, oy, ow, oh in others
    )


def save_figure(figure: Figure, name: str, weights: str | None = None) -> Figure:
    """Write a figure to ``paths.new_figures()/NAME.png`` (whole or not at all) and return it, to be shown.

    In French, to NAME.fr.png: a report in French takes it instead of the other. The same figure is the same
    bytes.

    weights: digest of the network that made what it shows. The file keeps it, and a report that prints the
    picture sees whether another network has come since.
    """
    path = paths.new_figures() / f"{name}{'.fr' * (language.current() == 'fr')}.png"
    facts = {"Software": None} | ({"weights": weights} if weights else {})
    with paths.atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150, bbox_inches="tight", metadata=facts)
    return figure


# --- what the figures share ---------------------------------------------------------------------------

#: Inches that the widest figure has, and points of the smallest letters: at the width of a page's text, 6.5
#: inches, letters are then 8 points high, and at that of a website's column they are read.
WIDTH, SMALL = 7.2, 9
#: Wherever DeepFace and facelib are compared.
THEIRS, OURS = "#D55E00", "#0072B2"
#: Words, and pale ones; lines, dots and grids that stand behind; bands.
INK, SOFT, PALE, BAND = "#333333", "#666666", "#9A9A9A", "#E6E6E6"
#: What legends show for an open dot, and for the parts of bars of a colour (``SQUARE | {"color": ...}``).
OPEN = {"marker": "o", "linestyle": "", "markersize": 7, "color": INK, "markerfacecolor": "white"}
SQUARE = {"marker": "s", "linestyle": "", "markersize": 7}
#: Emotion -> its colour in every figure.
COLOUR = dict(zip(EMOTIONS, COLOURS, strict=True))


def contrast(one, other) -> float:
    """The contrast of two colours, 1 to 21 (WCAG 2.2, "contrast ratio"); text wants 4.5."""
    from matplotlib.colors import to_rgb

    def luminance(colour) -> float:
        rgb = np.array(to_rgb(colour))
        return np.dot(
            (0.2126, 0.7152, 0.0722), np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        )

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@functools.lru_cache
def legible(colour: str) -> str:
    """A colour for letters on white: the same, darkened until its contrast is 4.8."""
    from matplotlib.colors import to_hex, to_rgb

    found = np.array(to_rgb(colour))
    while contrast(found, "white") < 4.8:
        found = 0.97 * found
    return to_hex(found)


def ink_on(colour) -> str:
    """White or black: in which of them letters are read on a colour."""
    return "white" if contrast("white", colour) >= 4.5 else "black"


def sheet(
    width: float = WIDTH, height: float = 3.0, layout: str | None = "constrained", dpi: int = 110
) -> Figure:
    """A figure outside pyplot: a notebook shows it once, and nothing stays open.

    It speaks ``language.current()`` and is at most ``WIDTH`` wide.
    """
    kind = _sheets()[language.current()]
    return kind(figsize=(min(width, WIDTH), height), dpi=dpi, layout=layout)


@functools.cache
def _sheets() -> dict[str, type]:
    """Language -> the class of its figures. A French one translates its texts before it is drawn."""
    from matplotlib.figure import Figure
    from matplotlib.text import Text
    from matplotlib.ticker import Formatter

    class Translated(Formatter):
        def __init__(self, said: Formatter):
            self.said = said

        def format_ticks(self, values):
            return [say(text, "fr") for text in self.said.format_ticks(values)]

        def get_offset(self):
            return self.said.get_offset()

    class FrenchFigure(Figure):
        def draw(self, renderer):
            for axis in [axis for axes in self.axes for axis in (axes.xaxis, axes.yaxis)]:
                if not isinstance(said := axis.get_major_formatter(), Translated):  # axes may share one
                    axis.set_major_formatter(Translated(said))
            ticks = {id(text) for axes in self.axes for axis in (axes.xaxis, axes.yaxis)
                     for text in axis.get_ticklabels(which="both")}  # fmt: skip
            for text in self.findobj(Text):
                if id(text) not in ticks and text.get_text() != getattr(text, "said", None):
                    spoken(text, say(text.get_text(), "fr"))
            super().draw(renderer)

    return {"en": Figure, "fr": FrenchFigure}


def spoken(text, words: str | None = None):
    """Mark a text of a figure as in the figure's language: it is not translated once more."""
    text.set_text(text.get_text() if words is None else words)
    text.said = text.get_text()
    return text


def entitle(axis: Axes, title: str, room: int, **style) -> None:
    """A title in the figure's language, its lines of at most ``room`` letters."""
    spoken(axis.set_title("\n".join(fill(line, room) for line in say(title).split("\n")), **style))


def small_multiples(
    titles: Iterable[str], width: float, height: float, columns: int | None = None, frame: str = "both",
    percents: str = "", colours: Sequence[str] | None = None, dpi: int = 110, **options,
) -> tuple[Figure, list[Axes]]:  # fmt: skip
    """A figure with an axis for each title, and these axes.

    columns: None for a single row. frame: spines that stay, "both" (left and bottom), "bottom" or "none".
    percents: axes that show shares as per cent, "x", "y" or "xy". colours: of the titles. options: of
    ``Figure.subplots``. Titles that are wider than their panel go on in a new line.
    """
    titles = list(titles)
    colours = colours or [INK] * len(titles)
    columns = columns or max(len(titles), 1)
    figure = sheet(width, height, dpi=dpi)
    grid = figure.subplots(-(-len(titles) // columns), columns, squeeze=False, **options).ravel()
    room = int(9 * figure.get_figwidth() / columns) if columns > 1 else 200  # letters of 10 points, bold
    for axis, title, colour in zip(grid, titles, colours, strict=False):
        entitle(axis, title, room, fontsize=10, loc="left", weight="bold", color=legible(colour))
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
        axis.spines["bottom"].set_visible(frame != "none")
        axis.spines["left"].set_visible(frame == "both")
        axis.tick_params(axis="y", left=frame == "both", labelsize=9.5)
        axis.tick_params(axis="x", bottom=frame != "none", labelsize=SMALL)
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
    axis.tick_params(length=0, labelsize=SMALL)
    axis.spines[:].set_visible(False)
    colour_names([*axis.get_yticklabels(), *axis.get_xticklabels()])
    return shown


def confusions(
    counts: Mapping[str, np.ndarray], heading: str, across: str, down: str, framed: Iterable[tuple[str, str]]
) -> Figure:
    """Confusion matrices, title -> counts (7, 7): per cent of each row, with the count below.

    heading: a format of title and share on the diagonal. across, down: what columns and rows are. framed:
    cells with a frame, (row, column), in the row's colour.
    """
    from matplotlib.patches import Rectangle

    titles = [heading.format(title, n.trace() / max(n.sum(), 1)) for title, n in counts.items()]
    figure, axes = small_multiples(titles, 3.9 * len(counts), 4.1, frame="none", dpi=120, sharey=True)
    for axis, n in zip(axes, counts.values(), strict=True):
        share = n / np.maximum(n.sum(1, keepdims=True), 1)

        def words(row, column, n=n, share=share):
            style = {"weight": "bold" if row == column else "normal", "linespacing": 0.95}
            return f"{100 * share[row, column]:.0f}\n{n[row, column]:.0f}" if n[row, column] else "·", style

        heatmap(axis, share, EMOTIONS, EMOTIONS, words, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        axis.set_xlabel(across)
        for tick in axis.get_xticklabels():
            tick.set(rotation=40, ha="right", rotation_mode="anchor")
        for a, b in framed:
            place = EMOTIONS.index(b) - 0.48, EMOTIONS.index(a) - 0.48
            axis.add_patch(Rectangle(place, 0.96, 0.96, fill=False, linewidth=1.8, edgecolor=COLOUR[a]))
    axes[0].set_ylabel(f"{down} (per cent of it; below: pictures)")
    return figure


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
        axis.text(x, place, name, color=legible(colour), **style)


def legend_below(figure: Figure, entries: Mapping[str, Mapping | str], loc="outside lower center") -> None:
    """A legend outside the axes: word -> a dot's colour, or how its line or mark is drawn (``Line2D``)."""
    from matplotlib.lines import Line2D

    dot = {"marker": "o", "linestyle": "", "markersize": 7}
    styles = [dot | {"color": style} if isinstance(style, str) else style for style in entries.values()]
    handles = [Line2D([], [], **style) for style in styles]
    letters = sum(len(say(text)) + 7 for text in entries)  # of which one is 0.075 inches wide
    rows = -(-letters // int(figure.get_figwidth() / 0.075))
    options = {"frameon": False, "fontsize": SMALL, "columnspacing": 1.4, "handletextpad": 0.9}
    figure.legend(handles, entries, loc=loc, ncols=-(-len(entries) // rows), **options)


def place_names(axis: Axes, x, y, names: Sequence[str], colours=INK, size: float = SMALL, weight="normal"):
    """Name the points, each at the nearest place where its name meets no point and no other name.

    Lays the figure out, so that names can be placed in pixels: the axis's limits have to be set before.
    """
    from matplotlib.patheffects import withStroke
    from matplotlib.transforms import Bbox

    axis.figure.draw_without_rendering()
    scale, colours = axis.figure.dpi / 72, np.broadcast_to(colours, len(names)).tolist()
    names = [say(name) for name in names]
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
        label = axis.annotate(
            names[i], (x[i], y[i]), offset, textcoords="offset points", color=legible(colours[i]),
            fontsize=size, weight=weight, ha="left" if right else "right", va="center",
            annotation_clip=False, zorder=4,
            path_effects=[withStroke(linewidth=3, foreground="white")],
            arrowprops={"arrowstyle": "-", "color": PALE, "linewidth": 0.6} if far else None,
        )  # fmt: skip
        spoken(label)


def colour_names(labels: Iterable) -> None:
    """Emotions among these texts become bold, in their colours."""
    for label in labels:
        if (name := label.get_text()) in COLOUR:
            label.set(color=legible(COLOUR[name]), weight="bold")


def colour_bar(figure: Figure, shown, axes, label: str = "", **options):
    """The scale of a picture's colours, without a frame."""
    bar = figure.colorbar(shown, ax=axes, pad=0.01, **options)
    bar.set_label(label, fontsize=SMALL)
    bar.ax.tick_params(labelsize=SMALL)
    bar.outline.set_visible(False)
    return bar


def few_ticks(axis: Axes) -> None:
    """Two round numbers below a narrow axis, whose limits are set."""
    from matplotlib.ticker import MaxNLocator

    low, high = axis.get_xlim()
    inside = [x for x in MaxNLocator(3, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high) if low <= x <= high]
    axis.set_xticks(sorted({inside[0], inside[-1]}))
    axis.tick_params(labelsize=SMALL)


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
                x + w / 2, y - 6, text, color="white", fontsize=SMALL, ha="center", va="bottom",
                bbox={"facecolor": legible(colour), "edgecolor": "none", "boxstyle": "round,pad=0.25"},
            )  # fmt: skip
    if eyes is not None:
        xs, ys = zip(*eyes, strict=True)
        axis.plot(xs, ys, color=colour, linewidth=1.4)
        axis.scatter(xs, ys, s=28, color=colour, edgecolor="white", linewidth=0.9, zorder=3)


@speaks
def panels(pictures, titles, columns: int | None = None, width: float = WIDTH) -> Figure:
    """Pictures side by side, each under its title, gray or RGB; small ones are enlarged without smoothing.

    pictures: arrays (h, w) or (h, w, 3), uint8 or float in [0, 1]. columns: None for a single row. width: of
    the figure, inches.
    """
    columns = columns or len(pictures)
    rows = -(-len(pictures) // columns)
    ratios = [max(p.shape[1] / p.shape[0] for p in pictures[c::columns]) for c in range(columns)]
    width = min(width, WIDTH)
    figure = sheet(width, rows * (width / sum(ratios) + 0.42), dpi=100)
    grid = figure.subplots(rows, columns, squeeze=False, width_ratios=ratios).ravel()
    for i, (axis, picture, title) in enumerate(zip(grid, pictures, titles, strict=False)):
        show(axis, picture)
        room = max(8, int(13 * width * ratios[i % columns] / sum(ratios)))  # letters of 9 points
        entitle(axis, title, room, fontsize=SMALL)
    for axis in grid[len(pictures) :]:
        axis.axis("off")
    return figure


def show(axis: Axes, picture: np.ndarray) -> None:
    """A picture without a frame: the pixels of small ones are squares, photographs are smoothed."""
    white = 255 if picture.dtype == np.uint8 else 1
    how = "antialiased" if max(picture.shape[:2]) > 150 else "nearest"
    axis.imshow(picture, cmap="gray", vmin=0, vmax=white, interpolation=how)
    axis.axis("off")


@speaks
def network_diagrams(networks: dict[str, list[tuple[str, int, int, int]]]) -> Figure:
    """Networks as rows of blocks, one row for each: what shape leaves each stage, where the parameters are.

    networks: title -> stages, each (name, side, channels, parameters). A block is as high as its maps are
    large (square root) and as thick as it has channels (logarithm); the darker, the more of the network's
    parameters it holds, whose share stands below.
    """
    from matplotlib import colormaps
    from matplotlib.patches import Polygon

    steps = max(map(len, networks.values()))
    figure = sheet(WIDTH, 2.35 * len(networks), dpi=100)
    grid = figure.subplots(len(networks), 1, squeeze=False).ravel()
    for axis, (title, stages) in zip(grid, networks.items(), strict=True):
        total, most = sum(stage[3] for stage in stages), max(stage[1] for stage in stages) ** 0.5
        for i, (name, side, channels, parameters) in enumerate(stages):
            high, thick = 0.12 + 0.6 * side**0.5 / most, 0.1 + 0.035 * np.log2(channels)
            share = parameters / total
            slant, base = 0.25 * high, np.array(colormaps["Blues"](0.14 + 0.76 * np.sqrt(share))[:3])
            x, y = i - (thick + slant) / 2, -high / 2
            front = [(x, y), (x + thick, y), (x + thick, y + high), (x, y + high)]
            back = [(a + slant, b + slant) for a, b in front]
            for corners, shade in ((front, 1.0), ([front[3], back[3], back[2], front[2]], 0.92),
                                   ([front[1], back[1], back[2], front[2]], 0.8)):  # fmt: skip
                axis.add_patch(Polygon(corners, facecolor=shade * base, edgecolor=INK, linewidth=0.6))
            shape = f"{side}×{side}\n×{channels}" if side > 1 else f"{channels:,}\n"
            part = "" if not parameters else f"{share:.0%}" if share >= 0.005 else "<0.5%"
            bold = "bold" if share > 0.2 else "normal"
            axis.text(i, -0.48, f"{name.replace(' × ', '×')}\n{shape}", ha="center", va="top", fontsize=SMALL)
            axis.text(i, -1.1, part, ha="center", va="top", fontsize=SMALL, weight=bold)
        axis.text(-0.62, -1.1, "share:", ha="right", va="top", fontsize=SMALL, color=SOFT)
        axis.set_title(f"{title}: {total:,} parameters", fontsize=10, loc="left", weight="bold", color=INK)
        axis.set(xlim=(-1.1, steps - 0.45), ylim=(-1.35, 0.62))
        axis.axis("off")
    return figure


@speaks
def stage_costs(groups: dict[str, dict[str, float]], counted: Iterable[str] = ()) -> Figure:
    """Milliseconds of each stage as bars, a panel for each pipeline, all on one scale.

    groups: pipeline -> stage -> milliseconds. counted: stages that were not run, only counted (hatched).
    """
    heights = [len(stages) for stages in groups.values()]
    options = {"sharex": True, "height_ratios": heights, "dpi": 100, "colours": (THEIRS, OURS)}
    figure, axes = small_multiples(groups, WIDTH, 0.9 + 0.27 * sum(heights), 1, "bottom", **options)
    for axis, colour, stages in zip(axes, (THEIRS, OURS), groups.values(), strict=False):
        words = [f"{ms:.{0 if ms >= 10 else 1 if ms >= 1 else 2}f} ms" for ms in stages.values()]
        words = ["≥ " * (name in counted) + text for name, text in zip(stages, words, strict=True)]
        bars = axis.barh(list(stages), stages.values(), color=colour, height=0.68)
        axis.bar_label(bars, words, padding=4, fontsize=SMALL)
        for name, bar in zip(stages, bars, strict=True):
            if name in counted:
                bar.set(facecolor="white", edgecolor=colour, hatch="////")
        axis.invert_yaxis()
    axes[-1].set_xlim(0, 1.18 * max(max(stages.values()) for stages in groups.values()))
    axes[-1].set_xlabel("milliseconds for one photograph with one face", fontsize=9.5)
    return figure


@speaks
def found_eyes(sides, rates: dict[str, list[float]]) -> Figure:
    """How often both eyes are found in a face (shares in [0, 1]), against the face's width in pixels."""
    figure, (axis,) = small_multiples(["Were both eyes found?"], WIDTH, 2.8, percents="y", dpi=100)
    for name, colour in zip(rates, (THEIRS, OURS), strict=False):
        axis.plot(sides, rates[name], "o-", color=colour, label=name, markersize=5)
    axis.set(xlabel="width of the face, pixels", ylabel="share of tilts", ylim=(-0.05, 1.08), xscale="log")
    axis.set_xticks(sides, [f"{side:.0f}" for side in sides])
    axis.minorticks_off()
    axis.legend(frameon=False, fontsize=SMALL, loc="lower right")
    return figure


@speaks
def walkthrough(image: np.ndarray, face: Face, patch: np.ndarray, small: np.ndarray) -> Figure:
    """The front page: a photograph, its annotated face, the stages in between, and every probability.

    image: (H, W, 3) uint8 RGB, of which the face's surroundings are shown. patch: the frame around the face,
    turned upright. small: (48, 48) uint8, what the emotion network sees.
    """
    figure = sheet(WIDTH, 3.9, dpi=100)
    left, right = figure.subfigures(1, 2, width_ratios=(0.8, 1))
    top, bottom = right.subfigures(2, 1, height_ratios=(1, 1.3))
    x, y, w, h = face.box
    there = annotate(image, [face])[max(0, round(y - 0.75 * h)) : round(y + 2.9 * h)]
    pictures = {
        "a photograph": there[:, max(0, round(x - 0.9 * w)) : round(x + 1.9 * w)],
        "turned, cut out": patch,
        f"{small.shape[0]} × {small.shape[1]}, read": small,
    }
    for axis, (title, picture) in zip([left.subplots(), *top.subplots(1, 2)], pictures.items(), strict=True):
        show(axis, picture)
        axis.set_title(title, fontsize=10, loc="left")
    axis = bottom.subplots()
    probabilities = face.emotions | face.genders
    colours = [*COLOURS[: len(face.emotions)], *["#444444"] * len(face.genders)]
    places = [i + 0.6 * (i >= len(face.emotions)) for i in range(len(probabilities))]
    bars = axis.barh(places, list(probabilities.values()), color=colours, height=0.74)
    axis.bar_label(bars, [f"{p:.0%}" for p in probabilities.values()], padding=3, fontsize=SMALL)
    axis.set_yticks(places, list(probabilities), fontsize=9.5)
    axis.invert_yaxis()
    axis.set(xlim=(0, 1.12), xticks=[])
    axis.set_xlabel("probability", fontsize=9.5)
    axis.spines[:].set_visible(False)
    axis.tick_params(left=False)
    return figure
