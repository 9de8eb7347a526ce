"""Synthetic faces: a data set with FER-2013's shape and FER-2013's troubles, whose truth is known.

FER-2013 may not be passed on, and which of its labels are wrong is not known. These pictures are made by
``facelib.data.synthetic_drawing`` from persons, poses and facial action units (Ekman & Friesen 1978), so
everything that a course asks of FER-2013 can be run without a download and checked against the truth in
``data.extra``:

- the class proportions of each split are FER-2013's (Goodfellow et al. 2013, arXiv:1307.0414);
- labels are noisy, those of fear most, toward surprise, sad and neutral, as the FER+ votes showed
  (Barsoum et al. 2016, arXiv:1608.01041); fear is milder here than there (about half of the labels
  hold, not 15 %), so that there is something left to learn;
- the same picture stands twice, within and across splits, sometimes under two labels;
- some pictures are blurred, enlarged from 24 or 32 pixels, compressed, flat; a few hold no face.

Equal seeds give equal bytes on every platform: see ``facelib.data.synthetic_drawing`` and
``facelib.data.degradation``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

from facelib.data.degradation import SOFTNESS, spoil
from facelib.data.synthetic_drawing import (
    EMOTION_UNITS,
    SHOTS,
    UNITS,
    background,
    layers,
    place,
    render,
    spread,
    strengths,
    subset,
    traits,
)
from facelib.emotions import EMOTIONS, FERPLUS, FERPLUS_TO_FER, OFFICIAL_COUNTS, FerData, Split, emotion_name

#: Share of each split that copies a Training picture: FER-2013 has 1,514 groups of equal pictures, 34,036
#: distinct ones, 280 and 288 test pictures that also stand in Training.
COPIES = {"Training": 1283 / 28709, "PublicTest": 280 / 3589, "PrivateTest": 288 / 3589}
CONTRADICTORY = 57 / 1514  # share of the copies that carry another label than their original
NO_FACE = 0.006
#: What a picture holds: the values of ``Truth.kind``.
KINDS = ("face", "card", "constant", "empty")

#: Given the label (row), how likely each true expression is (column), in per cent.
TRUE_GIVEN_LABEL = np.array([
    (88, 1, 2, 0, 5, 0, 4),
    (2, 98, 0, 0, 0, 0, 0),
    (3, 0, 55, 0, 14, 20, 8),
    (0, 0, 0, 96, 0, 1, 3),
    (3, 0, 3, 0, 87, 0, 7),
    (0, 0, 4, 2, 0, 92, 2),
    (3, 0, 0, 2, 6, 0, 89),
])  # fmt: skip
#: Given the true expression (row), which other one may be mixed into it, in per cent.
MIXES_WITH = np.array([
    (0, 30, 5, 0, 25, 0, 40),
    (40, 0, 0, 0, 30, 0, 30),
    (0, 0, 0, 0, 20, 65, 15),
    (0, 0, 0, 0, 0, 30, 70),
    (20, 0, 30, 0, 0, 0, 50),
    (0, 0, 60, 20, 0, 0, 20),
    (30, 0, 0, 30, 40, 0, 0),
])  # fmt: skip


@dataclass(frozen=True)
class Truth:
    """What is true of one split, row by row; ``data.extra[split]`` holds one for each split.

    kind: (n,) uint8, index into ``KINDS``; not 0: there is no face.
    emotion: (n,) int64, the expression that is shown, -1 without a face. The label may say otherwise.
    mixed: (n,) int64, the expression mixed into it; -1 without a face.
    ambiguity: (n,) float64 from 0 (pure) to 0.5 (half the other expression).
    intensity: (n,) float64 from 0.6 to 1. Without a face it and the ambiguity mean nothing.
    units: (n, 12) float64 in [0, 1], the action units in the order of ``synthetic_drawing.UNITS``.
    identity: (n,) int64, the person: ``draw_face(..., identity=number)`` draws the same; -1 without a face.
    duplicate_of: (n,) int64, row of the original in Training for an exact copy, else -1.
    blur: (n,) float64, standard deviation in pixels, 0 if none.
    resolution: (n,) int64, 48, or 24 or 32 if the picture was enlarged from so few pixels.
    quality: (n,) int64, JPEG quality from 30 to 90; 100 if it was never compressed.
    eyes: (n, 2, 2) float64, x and y in pixels of the picture's left and right eye; nan without a face.
    """

    kind: np.ndarray
    emotion: np.ndarray
    mixed: np.ndarray
    ambiguity: np.ndarray
    intensity: np.ndarray
    units: np.ndarray
    identity: np.ndarray
    duplicate_of: np.ndarray
    blur: np.ndarray
    resolution: np.ndarray
    quality: np.ndarray
    eyes: np.ndarray

    def __len__(self) -> int:
        return len(self.kind)

    def __getitem__(self, rows) -> Truth:
        return Truth(*(getattr(self, each.name)[rows] for each in fields(self)))


def load_toyfaces(n: int = 6000, seed: int = 0) -> FerData:
    """Draw ``n`` faces (n >= 100), split 80/10/10 and labelled like FER-2013.

    images (m, 48, 48) uint8, labels (m,) int64, votes (m, 10) uint8 in FER+'s order, each row summing to 10.
    ``extra`` maps "Training", "PublicTest" and "PrivateTest" to a ``Truth``. Equal n and seed give equal
    bytes everywhere; a copy's original always stands in Training.
    """
    if n < 100:
        raise ValueError(f"n={n}: a set with seven classes and three splits needs at least 100 pictures")
    rng = np.random.Generator(np.random.PCG64(seed))
    sizes = _share(n, [sum(counts) for counts in OFFICIAL_COUNTS.values()])
    labels = np.concatenate(
        [_labels(rng, size, counts) for size, counts in zip(sizes, OFFICIAL_COUNTS.values(), strict=True)]
    )
    kind, source = _plan(rng, labels, sizes)
    truth, shot = _truth(rng, labels, kind)
    images = _pictures(rng, truth, shot)
    # A copy takes over pixels and truth, but not the label, and its voters are ten other people.
    rows = np.where(source < 0, np.arange(n), source)
    images, truth = images[rows], truth[rows]
    truth.duplicate_of[:] = source
    whole = Split(images, labels, _votes(rng, truth))
    parts = [slice(end - size, end) for end, size in zip(np.cumsum(sizes), sizes, strict=True)]
    splits = [whole[part] for part in parts]
    digest = hashlib.sha256()
    for split in splits:
        digest.update(split.images.tobytes() + split.labels.astype("<i8").tobytes())
    extra = {name: truth[part] for name, part in zip(OFFICIAL_COUNTS, parts, strict=True)}
    return FerData(*splits, "synthetic", f"drawn faces, n={n}, seed={seed}", digest.hexdigest()[:16], extra)


def plain_faces(n: int = 2100, people: int = 30, seed: int = 0) -> FerData:
    """Draw ``n`` faces without FER-2013's troubles, for a generator that must learn in a minute.

    Right labels, as many of each emotion, nothing spoilt, no votes; a few people in front of one camera
    that hardly moves. Split 80/10/10; equal arguments give equal bytes everywhere.
    """
    rng = np.random.Generator(np.random.PCG64([48, seed]))
    who = np.floor(rng.random(people) * 1e6).astype(np.int64)[np.floor(rng.random(n) * people).astype(int)]
    labels = np.arange(n, dtype=np.int64) % len(EMOTIONS)
    units = EMOTION_UNITS[labels] * (0.8 + 0.2 * rng.random((n, 1)))
    images = render(traits(who), _shots(n, seed, stray=0.15), units)
    ends = np.cumsum(_share(n, (8, 1, 1)))
    splits = [Split(images[a:b], labels[a:b]) for a, b in zip((0, *ends), ends)]
    digest = hashlib.sha256(images.tobytes() + labels.astype("<i8").tobytes()).hexdigest()[:16]
    return FerData(*splits, "synthetic", f"drawn faces, plain, n={n}, people={people}, seed={seed}", digest)


def _share(total: int, weights) -> np.ndarray:
    """Whole numbers in proportion to ``weights`` that add up to ``total`` (largest remainders)."""
    weights = np.asarray(weights, np.int64)
    whole, rest = np.divmod(weights * total, weights.sum())
    whole[np.argsort(-rest, kind="stable")[: total - whole.sum()]] += 1
    return whole


def _shuffled(rng: np.random.Generator, values: np.ndarray) -> np.ndarray:
    return values[np.argsort(rng.random(len(values)), kind="stable")]


def _pick(rng: np.random.Generator, percent: np.ndarray) -> np.ndarray:
    """One column per row of ``percent`` (n, k), with these chances; (n,) int64."""
    edges = np.cumsum(percent, axis=1)
    return (rng.random((len(percent), 1)) * edges[:, -1:] >= edges).sum(1)


def _labels(rng: np.random.Generator, size: int, counts: tuple[int, ...]) -> np.ndarray:
    return _shuffled(rng, np.repeat(np.arange(len(counts), dtype=np.int64), _share(size, counts)))


def _plan(rng: np.random.Generator, labels: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows without a face (kind, (n,) uint8) and the Training row each copies (source, (n,), -1 none)."""
    kind, source = np.zeros(len(labels), np.uint8), np.full(len(labels), -1)
    start, copies = 0, []
    for size, share in zip(sizes, COPIES.values(), strict=True):
        rows = _shuffled(rng, np.arange(start, start + size))
        faceless, copied = int(np.ceil(NO_FACE * size)), int(np.rint(share * size))
        kind[rows[:faceless]] = 1 + np.arange(faceless) % 3
        copies.append(rows[faceless : faceless + copied])
        start += size
    original = np.arange(len(labels)) < sizes[0]
    original[kind > 0] = original[copies[0]] = False
    for rows in copies:
        other = np.arange(len(rows)) < max(1, np.rint(CONTRADICTORY * len(rows)))
        for row, contradicts, u in zip(rows, other, rng.random(len(rows)), strict=True):
            pool = np.flatnonzero(original & ((labels == labels[row]) != contradicts))
            if len(pool):
                source[row] = pool[int(u * len(pool))]
    return kind, source


def _truth(rng: np.random.Generator, labels: np.ndarray, kind: np.ndarray) -> tuple[Truth, SimpleNamespace]:
    """Draw what every row shows, and how it is taken."""
    n, face = len(labels), kind == 0
    emotion = _pick(rng, TRUE_GIVEN_LABEL[labels])
    mixed = _pick(rng, MIXES_WITH[emotion])
    u = rng.random((n, 2))
    # Fear and surprise mix furthest: they share four action units, and people confuse them (FER+).
    reach = np.where(np.isin(emotion, [EMOTIONS.index("fear"), EMOTIONS.index("surprise")]), 0.5, 0.4)
    ambiguity = reach * u[:, 0] * u[:, 0]
    intensity = 0.6 + 0.4 * u[:, 1]
    other = ambiguity[:, None]
    units = ((1 - other) * EMOTION_UNITS[emotion] + other * EMOTION_UNITS[mixed]) * intensity[:, None]
    u = rng.random((2, n, len(UNITS)))
    units = np.clip(units * (0.75 + 0.5 * u[0]) + 0.15 * u[1] * u[1] * u[1], 0, 1)
    people = np.floor(rng.random(max(1, n // 3)) * 1e6).astype(np.int64)  # a person has three pictures or so
    identity = people[np.floor(rng.random(n) * len(people)).astype(np.int64)]
    shot = spread(SHOTS, rng.random((n, len(SHOTS))))
    eyes = eye_positions(shot) * 48
    softness = _pick(rng, np.broadcast_to([100 * share for _, _, share in SOFTNESS], (n, len(SOFTNESS))))
    u = rng.random((n, 2))
    quality = np.where(u[:, 0] < 0.3, 100, 30 + np.floor(61 * u[:, 1])).astype(np.int64)
    blur, resolution = np.array([(sigma, pixels) for sigma, pixels, _ in SOFTNESS])[softness].T
    emotion, mixed, identity = (np.where(face, each, -1) for each in (emotion, mixed, identity))
    eyes[~face] = np.nan
    units[~face] = 0
    quality[kind == KINDS.index("constant")] = 100
    shown = kind, emotion, mixed, ambiguity, intensity, units, identity, np.full(n, -1)
    return Truth(*shown, blur, resolution.astype(np.int64), quality, eyes), shot


def eye_positions(shot: SimpleNamespace) -> np.ndarray:
    """Where the eyes stand, as parts of the picture's side: (n, 2, 2) float64, left eye first, x then y."""
    return np.stack(
        [np.concatenate(place(shot, np.array([[side]]), np.array([[0.0]])), 1) for side in (-0.2, 0.2)], 1
    )


def _pictures(rng: np.random.Generator, truth: Truth, shot: SimpleNamespace) -> np.ndarray:
    """Draw every row that shows a face, invent the others, then spoil them as cameras and the web do."""
    images = np.rint(np.clip(background(shot, 48), 0, 255)).astype(np.uint8)
    rows = np.flatnonzero(truth.kind == 0)
    images[rows] = render(traits(truth.identity[rows]), subset(shot, rows), truth.units[rows])
    for row in np.flatnonzero(truth.kind == KINDS.index("card")):
        images[row] = _card(rng)
    spoil(rng, images, truth.blur, truth.resolution, truth.quality)
    constant = np.flatnonzero(truth.kind == KINDS.index("constant"))
    grays = _shuffled(rng, np.arange(256))  # no two alike, so that they are no duplicates
    images[constant] = grays[np.arange(len(constant)) % 256, None, None]
    return images


def _card(rng: np.random.Generator) -> np.ndarray:
    """Something like a page of print: dark words on light paper, or the reverse."""
    u = rng.random((8, 48))
    paper, ink = 190 + 50 * u[0, 0], 20 + 60 * u[0, 1]
    words = (u > 0.18) & (np.arange(48) > 3) & (np.arange(48) < 30 + 16 * u[:, :1])
    page = np.zeros((48, 48), bool)
    for i in (1, 2, 3):  # every line of print is three pixels high, and ragged like letters
        page[i::6] = words & (u[::-1] > 0.12 * i)
    return np.where(page ^ (u[0, 2] > 0.7), ink, paper).astype(np.uint8)


def _votes(rng: np.random.Generator, truth: Truth) -> np.ndarray:
    """Ten annotators per row, (n, 10) uint8: they see the picture, not the label."""
    n, face = len(truth), truth.kind == 0
    other, strong = truth.ambiguity[:, None], truth.intensity[:, None]
    one = np.eye(len(EMOTIONS))
    seen = (1 - other) * one[truth.emotion] + other * one[truth.mixed]
    seen = 0.92 * seen + 0.08 * MIXES_WITH[truth.emotion] / 100  # people read faces imperfectly
    faint = 0.5 * (1 - strong)
    seen = (1 - faint) * seen + faint * one[EMOTIONS.index("neutral")]
    chance = np.zeros((n, len(FERPLUS)))
    for column, label in FERPLUS_TO_FER.items():
        chance[:, column] = 0.96 * seen[:, label]
    chance[:, FERPLUS.index("contempt")] = chance[:, FERPLUS.index("unknown")] = 0.02
    chance[~face] = 0
    chance[~face, FERPLUS.index("NF")], chance[~face, FERPLUS.index("unknown")] = 0.9, 0.1
    chosen = _pick(rng, np.repeat(chance, 10, axis=0)).reshape(n, 10)
    return np.stack([(chosen == column).sum(1) for column in range(len(FERPLUS))], 1).astype(np.uint8)


def _units(expression: str | int | Mapping[str, float] | np.ndarray, intensity: float) -> np.ndarray:
    if isinstance(expression, Mapping):
        unknown = set(expression) - set(UNITS)
        if unknown:
            unknown = ", ".join(sorted(unknown))
            raise ValueError(f"no such action unit: {unknown}; there are {', '.join(UNITS)}")
        expression = strengths(expression)
    elif isinstance(expression, str):
        expression = EMOTION_UNITS[EMOTIONS.index(emotion_name(expression))]
    elif np.ndim(expression) == 0:
        expression = EMOTION_UNITS[expression]
    return np.clip(np.asarray(expression, float) * intensity, 0, 1)


def _shots(n: int, seed: int | None, stray: float = 1.0) -> SimpleNamespace:
    """n random shots; seed None: as for a passport, straight and evenly lit. stray: how far from that."""
    uniform = np.full((n, len(SHOTS)), 0.5)
    if seed is not None:
        u = np.random.Generator(np.random.PCG64([1978, seed])).random((n, len(SHOTS)))
        uniform = u if stray == 1 else 0.5 + stray * (u - 0.5)
    return spread(SHOTS, uniform)


def draw_face(
    expression: str | int | Mapping[str, float] | np.ndarray,
    identity: int = 0,
    seed: int | None = 0,
    size: int = 48,
    intensity: float = 1.0,
) -> np.ndarray:
    """One clean face, (size, size) uint8.

    expression: an emotion's name or label, {"AU1": 0.5, ...}, or the twelve units in the order of ``UNITS``.
    identity: who (>= 0); the number in ``Truth.identity`` is the same person.
    seed: the shot: pose, light, background. None is a passport photograph.
    """
    units = _units(expression, intensity)
    return render(traits(np.array([identity])), _shots(1, seed), units[None], size)[0]


def contact_sheet(columns: int = 10, size: int = 96, gap: int = 2) -> np.ndarray:
    """Synthetic faces side by side on white, (H, W) uint8: a row of ``columns`` persons for each emotion.

    The rows are in the order of ``EMOTIONS``; each picture is ``size`` pixels wide, the white ``gap`` pixels.
    """
    from skimage.util import montage

    n = columns * len(EMOTIONS)
    rng = np.random.Generator(np.random.PCG64(0))
    who = traits(np.floor(rng.random(n) * 1e6).astype(np.int64))
    units = np.repeat(EMOTION_UNITS, columns, 0) * (0.7 + 0.3 * rng.random((n, 1)))
    images = render(who, _shots(n, 0), units, size)
    return montage(images, fill=255, padding_width=gap, grid_shape=(len(EMOTIONS), columns))


class Scene(NamedTuple):
    """A photograph made of synthetic faces.

    picture: (H, W, 3) uint8 RGB. boxes: (n, 4) int64, x, y, w, h from hairline to chin, inside the picture.
    eyes: (n, 2, 2) float64, x and y in pixels of the left and the right eye of the picture.
    labels: (n,) int64, the expressions, in the order of ``EMOTIONS``.
    """

    picture: np.ndarray
    boxes: np.ndarray
    eyes: np.ndarray
    labels: np.ndarray


#: How red, green and blue differ from gray in each material.
TINTS = {"skin": (1.10, 0.93, 0.80), "hair": (1.12, 0.94, 0.80), "brows": (1.10, 0.94, 0.82),
         "lip_tone": (1.10, 0.90, 0.92), "iris": (0.85, 1.00, 1.15)}  # fmt: skip


def draw_scene(n: int, seed: int = 0, size: tuple[int, int] = (480, 640)) -> Scene:
    """``n`` people in rows, as for a group photograph, in a picture of ``size`` (H, W)."""
    height, width = size
    side = max(size)
    rng = np.random.Generator(np.random.PCG64([1978, 2013, seed]))
    columns = max(1, int(np.ceil(np.sqrt(n * width / height))))
    rows = -(-n // columns)
    columns = -(-n // rows)
    cell = min(width / columns, height / rows)
    who = traits(np.floor(rng.random(n) * 1e6).astype(np.int64))
    labels = np.floor(rng.random(n) * len(EMOTIONS)).astype(np.int64)
    shot = _shots(n, seed)
    i = np.arange(n)[:, None]
    jitter = 0.06 * (rng.random((2, n, 1)) - 0.5)
    shot.scale = shot.scale * 0.70 * cell / side
    in_row = np.where(i // columns == rows - 1, n - (rows - 1) * columns, columns)
    shot.dx = ((i % columns + 0.5) * width / in_row + jitter[0] * cell) / side - 0.5
    shot.dy = ((i // columns + 0.45) * height / rows + jitter[1] * cell) / side - 0.40
    wall = background(subset(shot, slice(1)), side)[0]
    cloth = 25 + 200 * rng.random((3, n, 1))
    picture = np.empty((side, side, 3), np.float32)
    for channel in range(3):
        tinted = {name: getattr(who, name) * tint[channel] for name, tint in TINTS.items()}
        coloured = SimpleNamespace(**{**vars(who), **tinted, "cloth": cloth[channel]})
        canvas = wall * np.float32(0.9 + 0.1 * channel)
        for k in range(n):  # from the back row to the front
            one = slice(k, k + 1)
            gray, cover = layers(subset(coloured, one), subset(shot, one), EMOTION_UNITS[labels[one]], side)
            canvas = gray[0] + (1 - cover[0]) * canvas
        picture[..., channel] = canvas
    x, y = np.array([[-1.0, 1.0, 0.0, 0.0]]), np.array([[0.0, 0.0, -1.0, 1.0]])
    x, y = place(shot, x * who.width, np.where(y < 0, -0.27, who.chin) * np.abs(y))
    low = np.stack([x.min(1), y.min(1)], 1) * side
    high = np.stack([x.max(1), y.max(1)], 1) * side
    low, high = (np.clip(np.rint(corner), 0, [width, height]).astype(np.int64) for corner in (low, high))
    picture = np.clip(np.rint(picture[:height, :width]), 0, 255).astype(np.uint8)
    return Scene(picture, np.concatenate([low, high - low], 1), eye_positions(shot) * side, labels)
