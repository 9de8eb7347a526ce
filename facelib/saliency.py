"""What part of a face decides between fear and surprise, for any network that answers pictures.

``predict`` is any callable that takes network inputs (n, 48, 48, 1) float32 in [0, 1] and gives probabilities
(n, 7): faces are covered square by square, or drawn with one muscle more at a time, and the answers compared.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from facelib import networks, toydraw
from facelib.emotions import EMOTIONS
from facelib.toydraw import PROTOTYPES

Predict = Callable[[np.ndarray], np.ndarray]
_K, _SIDE = len(EMOTIONS), networks.EMOTION_SIDE
_FEAR, _SURPRISE = EMOTIONS.index("fear"), EMOTIONS.index("surprise")
#: The squares that ``occlusion`` hides: their side and how far one lies from the next, in pixels.
SQUARE, STRIDE = 8, 4
#: Parts of a face that looks straight at us, as x0, y0, x1, y1 in the pixels of a drawn passport photograph.
PARTS = {
    "brows": (8, 9, 40, 17),
    "eyes": (8, 17, 40, 25),
    "nose": (16, 25, 32, 33),
    "mouth": (10, 33, 38, 46),
}


def fear_over_surprise(probabilities: np.ndarray) -> np.ndarray:
    """log p(fear) - log p(surprise), (n,): positive where fear is the likelier of the two."""
    logs = np.log(np.maximum(probabilities, 1e-7))
    return logs[:, _FEAR] - logs[:, _SURPRISE]


def occlusion(predict: Predict, images: np.ndarray, score: Callable = fear_over_surprise) -> np.ndarray:
    """How much each square of a picture speaks for a high score: (n, 11, 11).

    images (n, 48, 48) uint8; score: probabilities (n, 7) -> (n,). Each square in turn is filled with the
    mean gray of its own picture; what the score *loses* is the square's share in it (Zeiler & Fergus 2014,
    arXiv:1311.2901). Positive: it spoke for fear; negative: for surprise. Hiding is itself a picture the
    network never saw, so trust means over many faces, not one.
    """
    inputs = networks.emotion_inputs(images)
    gray = inputs.mean((1, 2, 3))[:, None, None, None]
    corners = range(0, _SIDE - SQUARE + 1, STRIDE)
    whole = score(predict(inputs))
    maps = np.empty((len(images), len(corners), len(corners)))
    for (row, y), (column, x) in itertools.product(enumerate(corners), repeat=2):
        hidden = inputs.copy()
        hidden[:, y : y + SQUARE, x : x + SQUARE] = gray
        maps[:, row, column] = whole - score(predict(hidden))
    return maps


def to_pixels(maps: np.ndarray) -> np.ndarray:
    """Maps of squares (..., 11, 11) -> (..., 48, 48): each pixel has the mean of the squares over it."""
    sums, covered = np.zeros((*maps.shape[:-2], _SIDE, _SIDE)), np.zeros((_SIDE, _SIDE))
    for row, column in np.ndindex(maps.shape[-2:]):
        y, x = row * STRIDE, column * STRIDE
        sums[..., y : y + SQUARE, x : x + SQUARE] += maps[..., row, column, None, None]
        covered[y : y + SQUARE, x : x + SQUARE] += 1
    return sums / covered


def by_part(maps: np.ndarray) -> dict[str, np.ndarray]:
    """Mean of maps (n, 11, 11) over each of ``PARTS``: name -> (n,)."""
    pixels = to_pixels(maps)
    return {name: pixels[:, y0:y1, x0:x1].mean((1, 2)) for name, (x0, y0, x1, y1) in PARTS.items()}


def draw(units: Sequence[dict], persons: Iterable[int]) -> np.ndarray:
    """Passport photographs, (len(units), persons, 48, 48) uint8: each expression on each of the persons.

    units: {"AU1": 0.9, ...} from 0 to 1, as in ``toydraw.UNITS``; persons: as in ``toyfaces.draw_face``.
    """
    persons = np.fromiter(persons, np.int64)
    strengths = np.array([[each.get(unit, 0.0) for unit in toydraw.UNITS] for each in units])
    strengths, who = np.repeat(strengths, len(persons), 0), np.tile(persons, len(units))
    middle = toydraw.spread(toydraw.SHOTS, np.full((len(who), len(toydraw.SHOTS)), 0.5))
    pictures = toydraw.render(toydraw.traits(who), middle, strengths)
    return pictures.reshape(len(units), len(persons), _SIDE, _SIDE)


def ladder(predict: Predict, steps: Sequence[dict], persons: Iterable[int]) -> np.ndarray:
    """Probabilities (steps, persons, 7) along a path of expressions, each drawn on each person."""
    pictures = draw(steps, persons)
    return predict(networks.emotion_inputs(pictures.reshape(-1, _SIDE, _SIDE))).reshape(
        *pictures.shape[:2], _K
    )


def unit_shares(
    predict: Predict, persons: Iterable[int], start: str = "surprise", end: str = "fear"
) -> dict[str, dict]:
    """What each action unit contributes when one drawn expression becomes another: Shapley values (1953).

    The units in which the prototypes differ are switched from the one's strength to the other's in all
    combinations; a unit's value is what switching it adds to ``fear_over_surprise``, averaged over all orders
    in which they can be switched, so that the values add up to the whole way. Gives for each unit "from",
    "to" (strengths), value (mean over the persons), interval, and each (persons,).
    """
    a, b = PROTOTYPES[start], PROTOTYPES[end]
    names = sorted({*a, *b}, key=lambda unit: int(unit[2:]))
    names = [unit for unit in names if a.get(unit, 0.0) != b.get(unit, 0.0)]
    m, codes = len(names), range(2 ** len(names))
    mixes = [{**a, **{u: b.get(u, 0.0) for i, u in enumerate(names) if code >> i & 1}} for code in codes]
    answers = ladder(predict, mixes, persons)
    worth = fear_over_surprise(answers.reshape(-1, _K)).reshape(len(mixes), -1)  # (2**m, persons)
    found = {}
    for i, unit in enumerate(names):
        each = 0.0
        for code in codes:
            if not code >> i & 1:
                size = code.bit_count()
                weight = math.factorial(size) * math.factorial(m - size - 1) / math.factorial(m)
                each = each + weight * (worth[code | 1 << i] - worth[code])
        half = 1.96 * each.std() / math.sqrt(len(each))
        interval = (float(each.mean() - half), float(each.mean() + half))
        found[unit] = {"from": a.get(unit, 0.0), "to": b.get(unit, 0.0), "value": float(each.mean())}
        found[unit] |= {"interval": interval, "each": each}
    return found
