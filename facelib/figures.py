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
    from matplotlib.figure import Figure

    from facelib.encoder import Face


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


def save_figure(figure: Figure, name: str, formats: Iterable[str] = ("png",)) -> Path:
    """Write a figure to ``reports/figures/NAME.png`` (whole or not at all) and return the first path."""
    written = []
    for extension in formats:
        path = paths.figures() / f"{name}.{extension}"
        with paths.atomic_write(path) as temporary:
            figure.savefig(
                temporary, format=extension, dpi=150, bbox_inches="tight", metadata=_undated(extension)
            )
        written.append(path)
    return written[0]


def _undated(extension: str) -> dict:
    """No date in the file: the same figure is the same bytes."""
    return {"Date": None} if extension == "svg" else {"Software": None} if extension == "png" else {}
