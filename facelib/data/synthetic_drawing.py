"""Draw faces: flat shapes moved by facial action units, soft light over them.

The action units are those of Ekman & Friesen, *Facial Action Coding System* (Consulting Psychologists Press,
1978), their strengths per emotion those of EMFACS (Friesen & Ekman 1983). Every shape is a polygon, computed
for all faces at once.

The same bytes on every platform: coordinates need only + - * / and sqrt, which IEEE 754 rounds correctly
everywhere (circles come from rational points; no sin, exp or BLAS), polygons only integers (fixed-point
``fillPoly`` without anti-aliasing, four times too large), means (of 4 x 4 pixels) only integer sums.

Face coordinates: the origin lies between the eyes, x to the right, y down, the eyes at x = -0.2 and 0.2,
one unit = the side of the picture at scale 1.

Chance is only ``Generator.random`` (53 bits of PCG64).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace

import cv2
import numpy as np

from facelib.emotions import EMOTIONS

OVERSAMPLING = 4
FIXED = 4  # fractional bits of a polygon's coordinates
#: The action units that move a face; columns of every ``units`` array, each from 0 (rest) to 1.
UNITS = {
    "AU1": "inner brow raiser", "AU2": "outer brow raiser", "AU4": "brow lowerer", "AU5": "upper lid raiser",
    "AU6": "cheek raiser", "AU7": "lid tightener", "AU9": "nose wrinkler", "AU12": "lip corner puller",
    "AU15": "lip corner depressor", "AU20": "lip stretcher", "AU23": "lip tightener", "AU26": "jaw drop",
}  # fmt: skip
#: Each emotion at full strength (after EMFACS). Fear is surprise, weaker, with AU4 and AU20 added.
PROTOTYPES = {
    "angry": {"AU4": 1.0, "AU5": 0.4, "AU7": 0.9, "AU23": 1.0},
    "disgust": {"AU4": 0.3, "AU9": 1.0, "AU15": 0.8},
    "fear": {"AU1": 0.9, "AU2": 0.6, "AU4": 0.5, "AU5": 0.9, "AU20": 0.8, "AU26": 0.45},
    "happy": {"AU6": 0.8, "AU12": 1.0},
    "sad": {"AU1": 0.9, "AU4": 0.5, "AU15": 1.0},
    "surprise": {"AU1": 1.0, "AU2": 1.0, "AU5": 0.9, "AU26": 1.0},
    "neutral": {},
}

#: What makes a person: the range of each trait. An identity number seeds one uniform draw per trait.
TRAITS = {
    "width": (0.355, 0.40), "chin": (0.545, 0.61), "crown": (0.40, 0.44), "taper": (0.00, 0.20),
    "skin": (98, 218), "hair": (0, 1), "style": (0, 8), "cloth": (30, 235), "beard": (0, 1),
    "glasses": (0, 1),
    "eye": (1.0, 1.25), "slant": (-0.012, 0.012), "iris": (30, 120), "brow": (0.020, 0.040),
    "brow_y": (0.112, 0.135), "nose": (0.056, 0.080), "nose_y": (0.215, 0.25), "mouth": (0.145, 0.180),
    "mouth_y": (0.355, 0.38), "lips": (0.020, 0.040), "lip_tone": (0.62, 0.82), "age": (0, 1),
    "ears": (0.8, 1.15), "lashes": (0.010, 0.020), "fringe": (-0.02, 0.03), "side": (-1, 1),
}  # fmt: skip
#: What makes a shot: pose, framing, gaze, light and background.
SHOTS = {
    "roll": (-0.08, 0.08), "yaw": (-0.22, 0.22), "pitch": (-0.10, 0.12), "dx": (-0.03, 0.03),
    "dy": (-0.02, 0.03), "scale": (0.90, 1.04), "gaze": (-0.014, 0.014), "light_x": (-0.34, 0.34),
    "light_y": (-0.26, 0.10), "back": (50, 245), "back_x": (-50, 50), "back_y": (-60, 40),
    "bokeh_x": (0, 1), "bokeh_y": (0, 1), "bokeh": (-60, 60),
}  # fmt: skip
#: Hair: volume, hairline height, its flatness, depth of the parting, half-width behind, lowest point, curls.
STYLES = np.array([
    (0.000, 0.00, 0.0, 0.00, 0.00, 0.0, 0.00),  # bald
    (0.035, 0.25, 0.7, 0.00, 0.00, 0.0, 0.00),  # cropped
    (0.080, 0.26, 0.5, 0.05, 0.00, 0.0, 0.00),  # parted
    (0.075, 0.20, 1.0, 0.00, 0.48, 0.42, 0.00),  # bob with a fringe
    (0.065, 0.27, 0.2, 0.07, 0.49, 0.90, 0.00),  # long
    (0.110, 0.24, 0.6, 0.00, 0.52, 0.26, 0.05),  # curls
    (0.040, 0.28, 0.4, 0.03, 0.20, -0.50, 0.00),  # bun
    (0.060, 0.20, 0.9, 0.00, 0.00, 0.0, 0.00),  # woollen hat
])  # fmt: skip
HAT = 7


def subset(arrays: SimpleNamespace, rows) -> SimpleNamespace:
    """These rows of each of the arrays."""
    return SimpleNamespace(**{name: values[rows] for name, values in vars(arrays).items()})


def spread(ranges: dict[str, tuple[float, float]], uniform: np.ndarray) -> SimpleNamespace:
    """uniform (n, len(ranges)) in [0, 1) -> one (n, 1) float64 array per name, inside its range."""
    columns = zip(ranges.items(), uniform.T, strict=True)
    return SimpleNamespace(**{name: (low + (high - low) * u)[:, None] for (name, (low, high)), u in columns})


def traits(identities: np.ndarray) -> SimpleNamespace:
    """The persons with these numbers, (n,) int64 >= 0: (n, 1) arrays named as in ``TRAITS``.

    A number is the same person in every data set and every size.
    """
    known, inverse = np.unique(np.asarray(identities, np.int64), return_inverse=True)
    uniform = [np.random.Generator(np.random.PCG64([1978, int(i)])).random(len(TRAITS)) for i in known]
    who = spread(TRAITS, np.array(uniform)[inverse])
    # Dark hair is the commonest; grey gets likelier with age; brows keep some colour on a blond head.
    who.hair = 22 + 150 * who.hair * who.hair * who.hair + 40 * np.maximum(who.age - 0.6, 0)
    who.brows = np.minimum(0.25 * who.skin + 0.45 * who.hair, 0.62 * who.skin)
    return who


def strengths(units: Mapping[str, float]) -> np.ndarray:
    """{"AU1": 0.9, ...} as (12,) float64 in the order of ``UNITS``; what is not named is 0."""
    return np.array([units.get(unit, 0.0) for unit in UNITS])


#: (7, 12) float64: the prototypes in FER-2013's order.
EMOTION_UNITS = np.array([strengths(PROTOTYPES[emotion]) for emotion in EMOTIONS])


def _behind(sheet: Sheet, who: SimpleNamespace, hair: SimpleNamespace, jaw: np.ndarray) -> None:
    """Hair behind the head, neck, clothes, ears and the head itself."""
    c, s = circle(10)
    curls = 1 + hair.curl * np.where(np.arange(len(c)) % 4 < 2, 1, -1)
    low = np.where(s > 0, hair.low, who.crown + hair.volume)
    bun = hair.low < 0
    sheet.fill(hair.wide * c * curls, low * s * curls, 0.8 * who.hair, where=(hair.wide > 0) & ~bun)
    sheet.oval(0.05 * who.side, hair.low, hair.wide, 0.13, 0.85 * who.hair, where=bun)
    y = np.arange(9) / 8
    neck = who.width * (0.62 + 0.10 * y * y)
    bottom = 0.35 + 0.6 * y
    sheet.fill(
        np.concatenate([-neck, neck[:, ::-1]], 1),
        np.concatenate([bottom, bottom[::-1]])[None],
        0.70 * who.skin,
    )
    shoulder = np.arange(-8, 9) / 8
    slope = shoulder * shoulder
    collar = 0.74 - 0.20 * np.abs(shoulder) + 0.16 * slope + 0.28 * slope * slope * slope * slope
    sheet.strip(shoulder * 0.85, collar, np.array(4.0), who.cloth)
    for side in (-1, 1):
        x = side * who.width * 1.01
        sheet.oval(x, 0.09, 0.050 * who.ears, 0.105 * who.ears, 0.93 * who.skin)
        sheet.oval(x + side * 0.006, 0.085, 0.024 * who.ears, 0.065 * who.ears, 0.74 * who.skin)
    who.outline_x = who.width * c * (1 - who.taper * np.maximum(s, 0) * s) * (1 + 0.10 * s * s)
    who.outline_y = np.where(s > 0, who.chin + 0.055 * jaw, who.crown) * s
    sheet.fill(who.outline_x, who.outline_y, who.skin)


def _beard(sheet: Sheet, who: SimpleNamespace) -> None:
    """A beard, stubble or a moustache on some of those who wear short hair."""
    tone = 0.75 * who.hair + 0.12 * who.skin
    n = who.outline_x.shape[1] // 2 + 1  # the outline's first half is the jaw, from right to left
    t = np.arange(-10, 11) / 10
    top = 0.04 + (who.mouth_y - 0.10) * (1 - t * t * t * t)
    x = np.concatenate([who.outline_x[:, :n], who.width * t], 1)
    y = np.concatenate([who.outline_y[:, :n], top], 1)
    full = who.bearded
    stubble = who.short & (who.beard > 0.80)
    sheet.fill(x, y, np.where(full, tone, 0.84 * who.skin), where=full | stubble)


def _lines(sheet: Sheet, who: SimpleNamespace, au: SimpleNamespace) -> None:
    """Furrows and folds: what the skin does when a muscle pulls."""

    def crease(x, y, depth, width=0.014):
        depth = np.clip(depth * (0.8 + 0.4 * who.age), 0, 1)
        sheet.stroke(x, y, width * (0.4 + 0.6 * depth), who.skin * (1 - 0.42 * depth), where=depth > 0.12)

    t = np.arange(-4, 5) / 4
    for row in (0.185, 0.225):  # forehead: AU1 lifts its middle, AU2 all of it
        y = -row - 0.03 * au.AU1 * (1 - t * t) - 0.015 * au.AU2
        crease(0.17 * t, y, 0.75 * au.AU1 * au.AU2 + 0.20 * who.age * (au.AU1 + au.AU2))
    fold = np.maximum(np.maximum(au.AU12, 0.9 * au.AU9), 0.55 * au.AU15) + 0.14 * who.age
    u = np.arange(9) / 8
    for side in (-1, 1):
        crease(side * (0.022 + 0.012 * t), -0.075 + 0.035 * t, au.AU4, 0.016)
        for row in (0.0, 0.042):  # AU9: wrinkles fan out at the root of the nose
            crease(side * (0.012 + 0.055 * u), 0.035 + row - 0.030 * u, 0.85 * au.AU9, 0.013)
        for row in (-0.5, 0.0, 0.5):  # AU6: crow's feet
            crease(side * (0.302 + 0.045 * u), 0.01 + 0.055 * row * (0.5 + u), 0.9 * au.AU6, 0.010)
        end = who.mouth * (1 + 0.30 * au.AU12 + 0.20 * au.AU20) + 0.028
        out = 0.085 + 0.015 * au.AU12 + (end - 0.085) * u * (1.5 - 0.5 * u)
        crease(side * out, who.nose_y - 0.015 + (0.155 - 0.025 * au.AU12) * u - 0.03 * au.AU9 * (1 - u), fold)
        bag = 0.055 + 0.030 * (1 - t * t) - 0.012 * au.AU6
        crease(side * 0.2 + 0.075 * t, bag, 0.35 * who.age + 0.5 * au.AU6 + 0.3 * au.AU7, 0.010)


def _eyes(sheet: Sheet, who: SimpleNamespace, au: SimpleNamespace) -> None:
    t = np.arange(-10, 11) / 10
    arch = 1 - t * t
    rise = 0.044 * (1 + 0.85 * au.AU5 - 0.34 * au.AU7 - 0.30 * au.AU6 - 0.45 * au.AU9 - 0.15 * au.AU4)
    sink = 0.032 * (1 + 0.15 * au.AU5 - 0.55 * au.AU7 - 0.85 * au.AU6 - 0.75 * au.AU9)
    half = 0.083 * who.eye
    for side in (-1, 1):
        middle = 0.2 * side
        tilt = -who.slant * t * side
        top, bottom = tilt - rise * who.eye * arch, tilt + sink * who.eye * arch * (1 + 0.15 * t * side)
        x = middle + half * t
        lid = 0.012 + 0.016 * (1 - au.AU5)
        sheet.strip(x, top - lid * (0.4 + 0.6 * arch), bottom + 0.006, 0.84 * who.skin)
        sheet.strip(x, top, bottom, 0.30 * who.skin + 165)
        # Iris, its bright ring, pupil: discs cut by the lids
        for radius, gray in ((0.041, who.iris), (0.034, who.iris * 1.35 + 8), (0.019, 12 + 0 * who.iris)):
            r = radius * who.eye
            h = r * np.sqrt(arch)
            gx = middle + who.gaze + r * t
            across = (gx - middle) / half
            inside, lean = np.maximum(1 - across * across, 0), -who.slant * across * side
            upper = np.maximum(-0.006 - h, lean - rise * who.eye * inside)
            lower = np.minimum(-0.006 + h, lean + sink * who.eye * inside)
            sheet.strip(gx, upper, lower, gray)
        spark = np.where(who.light_x > 0, 1, -1)
        sheet.oval(middle + who.gaze + 0.014 * spark, -0.018, 0.0105, 0.0105, 252)
        lash = who.lashes * (1 + 0.5 * (who.style >= 3) * (who.style < HAT))
        sheet.strip(x, top - lash * (0.55 + 0.45 * t * side), top + 0.004, 0.22 * who.hair + 12)
        sheet.stroke(x, bottom + 0.003, 0.008, 0.62 * who.skin)
        sheet.stroke(x, top - lid - 0.010 * arch - 0.006, 0.009, 0.66 * who.skin)


def _brows(sheet: Sheet, who: SimpleNamespace, au: SimpleNamespace) -> None:
    t = np.arange(11) / 10  # 0 at the nose, 1 at the temple
    inner = -0.075 * au.AU1 + 0.070 * au.AU4 * (1 - 0.75 * au.AU1) + 0.042 * au.AU9
    outer = -0.070 * au.AU2 + 0.014 * au.AU4 * (1 - au.AU2) + 0.028 * au.AU1 * (1 - au.AU2)
    fade = (1 - t) * (1 - t)
    y = -who.brow_y + inner * fade + outer * (1 - fade) - 0.022 * 4 * t * (1 - t) * (1 - 0.7 * au.AU4)
    y = y + 0.018 * t * t
    thick = who.brow * (0.75 + 0.5 * t * (1 - t) * 2 - 0.55 * t)
    start = 0.078 - 0.026 * au.AU4 - 0.006 * au.AU9
    x = start + (0.315 - start) * t
    for side in (-1, 1):
        sheet.strip(side * x, y - thick / 2, y + thick / 2, who.brows)


def _nose(sheet: Sheet, who: SimpleNamespace, au: SimpleNamespace) -> None:
    t = np.arange(-6, 7) / 6
    y = who.nose_y - 0.026 * au.AU9
    wing = who.nose * (1 + 0.26 * au.AU9 + 0.08 * au.AU12)
    dark = np.where(who.light_x > 0, -1, 1)  # the side away from the light
    u = np.arange(9) / 8
    sheet.stroke(dark * (0.030 + 0.022 * u * u), -0.03 + (y - 0.03) * u, 0.018, 0.83 * who.skin, lift=0.03)
    k = 1 - t * t
    sheet.strip(wing * 1.05 * t, y - 0.030 * np.sqrt(k), y + 0.016 * k, 0.90 * who.skin, lift=0.05)
    sheet.oval(0 * y, y - 0.030, 0.62 * who.nose, 0.034, 1.04 * who.skin, lift=0.06)
    sheet.stroke(wing * t, y + 0.004 + 0.014 * k * (2 * t * t + 0.4), 0.014, 0.58 * who.skin, lift=0.05)
    for side in (-1, 1):
        sheet.oval(side * 0.50 * wing, y + 0.002, 0.30 * wing, 0.011, 0.34 * who.skin, lift=0.05)
        x = side * (wing + 0.010 - 0.016 * t * t)
        sheet.stroke(x, y - 0.014 + 0.026 * t, 0.013, 0.62 * who.skin, lift=0.04)


def _mouth(sheet: Sheet, who: SimpleNamespace, au: SimpleNamespace) -> None:
    t = np.arange(-12, 13) / 12
    k = t * t
    arch, square, round_ = 1 - k, 1 - k * k * k, np.sqrt(1 - k)
    narrow = 0.30 * au.AU23 + 0.34 * au.AU26 + 0.06 * au.AU15
    half = who.mouth * (1 + 0.30 * au.AU12 + 0.36 * au.AU20 - narrow)
    corner = -0.006 - 0.080 * au.AU12 + 0.078 * au.AU15 + 0.036 * au.AU20
    middle = who.mouth_y - 0.020 * au.AU9 + 0.012 * au.AU12 - 0.018 * au.AU15 + 0.050 * au.AU26
    line = middle + corner * k
    smile, stretch = np.maximum(au.AU12 - 0.45, 0), np.maximum(au.AU20 - 0.25, 0)
    gasp, sneer = au.AU26 * (1 - 0.5 * au.AU20) * round_, np.maximum(au.AU9 - 0.3, 0) * square
    top = line - 0.058 * gasp - 0.015 * smile * arch - 0.022 * stretch * square - 0.060 * sneer
    bottom = line + 0.120 * gasp + 0.085 * smile * arch + 0.040 * stretch * square
    thick = who.lips * (1 - 0.80 * au.AU23 - 0.15 * au.AU20 - 0.15 * au.AU12)
    bow = 1 - 0.30 * np.maximum(1 - 16 * k, 0)  # Cupid's bow
    lip = who.lip_tone * who.skin
    x = half * t
    moustache = who.bearded | (who.short & (np.abs(who.beard - 0.30) < 0.05))
    over = top - thick * 0.5
    upper, lower = over - 0.055 * (1 - 0.75 * k), over + 0.01 * arch + 0.030 * k
    sheet.strip(1.12 * x, upper, lower, 0.68 * who.hair + 0.1 * who.skin, where=moustache)
    sheet.strip(x, top - 0.80 * thick * arch * bow, line, 0.90 * lip)
    sheet.strip(x, line, bottom + 1.15 * thick * arch, lip)
    sheet.stroke(0.5 * x, bottom + 0.62 * thick * arch, 0.5 * thick, 1.13 * lip)
    gape = bottom - top
    widest = gape.max(1, keepdims=True)
    sheet.strip(0.97 * x, top, bottom, 30 + 0.08 * who.skin, where=widest > 0.006)
    tooth = np.minimum(gape, 0.046 * (1 - 0.35 * au.AU26) * square)
    sheet.strip(0.93 * x, top + 0.06 * gape, top + 0.94 * tooth, 238, where=widest > 0.012)
    lower = np.minimum(gape, 0.030 * square)  # a stretched mouth bares the lower teeth too
    sheet.strip(0.86 * x, bottom - lower, bottom - 0.004, 214, where=(stretch > 0.1) & (widest > 0.05))
    tongue = np.minimum(np.maximum(gape - 0.060, 0), 0.060) * np.maximum(1 - 2 * k, 0)
    sheet.strip(x, bottom - tongue, bottom - 0.002, 0.38 * lip + 38, where=(au.AU26 > 0.3) & (stretch < 0.3))
    sheet.stroke(x * 1.04, line, 0.013, 0.36 * who.skin, where=widest <= 0.024)
    for side in (-1, 1):  # the corners
        sheet.oval(side * half, middle + corner, 0.011, 0.010, 0.50 * who.skin)
    chin = middle + 0.095 + 0.11 * au.AU26 + 0.035 * smile
    sheet.stroke(0.075 * t, chin + 0.010 * k, 0.012, 0.80 * who.skin, where=~who.bearded)


def _hair(sheet: Sheet, who: SimpleNamespace, hair: SimpleNamespace) -> None:
    c, s = circle(10)
    n = len(c) // 2
    curls = 1 + hair.curl * np.where(np.arange(n + 1) % 4 < 2, 1, -1)
    x0 = np.concatenate([c[n:], c[:1]]) * (who.width + 0.012 + hair.volume * 0.55) * curls
    y0 = np.concatenate([s[n:], s[:1]]) * (who.crown + hair.volume) * curls
    t = np.arange(12, -13, -1) / 12
    k = t * t
    flat = 1 - k * (hair.flat * k * k + (1 - hair.flat) * (0.5 + 0.5 * k))
    part = hair.part * np.maximum(1 - 3 * np.abs(t - 0.35 * np.rint(who.side * 1.4)), 0)
    y1 = 0.02 - (hair.line + 0.02 + who.fringe) * flat - part
    y1 = y1 + 0.3 * hair.curl * np.where(np.arange(len(t)) % 4 < 2, 1, -1)
    hat, band = hair.hat, -0.16 - 0.06 * (1 - k)
    y0 = np.where(hat, np.minimum(y0, -0.16), y0)
    tone = np.where(hat, who.cloth, who.hair)
    x, y = np.concatenate([x0, who.width * 1.01 * t], 1), np.concatenate([y0, np.where(hat, band, y1)], 1)
    sheet.fill(x, y, tone, where=hair.volume > 0)
    for row, shade in ((0.80, 1.22), (0.90, 0.80), (0.97, 1.12)):  # strands
        x, y = row * x0[:, 5 : n - 4], row * y0[:, 5 : n - 4]
        sheet.stroke(x, y, 0.014, tone * shade + 14 * (shade > 1), where=(hair.volume > 0.03) & ~hat)
    sheet.strip(who.width * 1.07 * t[::-1], (band - 0.10), band, 0.80 * who.cloth + 12, where=hat)


def _glasses(sheet: Sheet, who: SimpleNamespace) -> None:
    wears = who.glasses < 0.20
    tone = np.where(who.glasses < 0.13, 22, 75)
    c, s = circle(8)
    c, s = np.append(c, c[0]), np.append(s, s[0])
    ring_x, ring_y = np.concatenate([c, 0.87 * c[::-1]]), np.concatenate([s, 0.85 * s[::-1]])
    for side in (-1, 1):
        x, y = 0.2 * side + 0.128 * ring_x[None], 0.015 + 0.110 * ring_y[None]
        sheet.fill(x, y, tone, where=wears, lift=0.03)
        u = np.arange(5) / 4
        sheet.stroke(side * (0.325 + 0.09 * u), 0.0 * u, 0.022, tone, where=wears)
    t = np.arange(-4, 5) / 4
    sheet.stroke(0.085 * t, -0.01 + 0.02 * t * t, 0.022, tone, where=wears, lift=0.03)


def _grid(size: int) -> np.ndarray:
    """The pixels' centres, (1, size) float32 in (0, 1)."""
    return ((np.arange(size, dtype=np.float32) + 0.5) / np.float32(size))[None]


def _per_pixel(values) -> np.ndarray:
    """(n, 1) -> (n, 1, 1) float32, to be combined with pictures."""
    return np.asarray(values, np.float32)[:, :, None]


def _light(shot: SimpleNamespace, who: SimpleNamespace, au: SimpleNamespace, size: int) -> np.ndarray:
    """How bright each pixel is lit, (n, size, size) float32 about 1: a rounded head under one soft lamp."""
    f, grid = _per_pixel, _grid(size)
    c, s = (f(each / shot.scale) for each in tilt(shot))
    px, py = grid[:, None, :] - f(0.5 + shot.dx), grid[:, :, None] - f(0.40 + shot.dy)
    x, y = c * px + s * py, c * py - s * px
    nx = np.clip(x * np.float32(2.3), -1, 1)
    ny = np.clip((y - np.float32(0.08)) * np.float32(1.8), -1, 1)
    light = 1.08 + f(shot.light_x) * nx + f(shot.light_y) * ny - np.float32(0.22) * (nx * nx + ny * ny)
    light = np.maximum(light, np.float32(0.45))
    x, y = x - f(0.22 * shot.yaw), y - f(0.22 * shot.pitch)

    def glow(cx, cy, rx, ry, amount):
        dx, dy = (x - f(cx)) * f(1 / rx), (y - f(cy)) * f(1 / ry)
        bump = np.maximum(1 - dx * dx - dy * dy, 0)
        light.__iadd__(f(amount) * bump * bump)

    one = np.ones_like(shot.roll)
    apple = 0.07 + 0.10 * au.AU6 + 0.04 * au.AU12
    for side in (-1, 1):
        glow(0.19 * side * one, -0.03 * one, 0.17 * one, 0.12 * one, -0.13 * one)  # eye socket
        glow(0.25 * side * one, 0.19 - 0.03 * au.AU6, 0.15 * one, 0.13 * one, apple)  # cheek
        glow(0.29 * side * one, 0.36 * one, 0.14 * one, 0.20 * one, -0.09 * one)  # hollow of the cheek
    glow(0.04 * np.where(shot.light_x > 0, 1, -1), who.nose_y - 0.06, 0.10 * one, 0.15 * one, 0.12 * one)
    glow(0 * one, who.nose_y + 0.05, 0.13 * one, 0.055 * one, -0.18 * one)  # under the nose
    glow(0 * one, who.mouth_y + 0.085 + 0.09 * au.AU26, 0.14 * one, 0.06 * one, -0.10 * one)  # under the lip
    glow(0 * one, -0.26 * one, 0.30 * one, 0.16 * one, 0.07 * one)  # forehead
    glow(0 * one, who.chin + 0.14 + 0.05 * au.AU26, 0.34 * one, 0.16 * one, -0.30 * one)  # under the chin
    return light


def background(shot: SimpleNamespace, size: int) -> np.ndarray:
    """Out of focus: a slope and one large soft spot, (n, size, size) float32 gray."""
    f, grid = _per_pixel, _grid(size)
    x, y = grid[:, None, :], grid[:, :, None]
    dx, dy = (x - f(shot.bokeh_x)) * np.float32(1.8), (y - f(shot.bokeh_y)) * np.float32(1.8)
    spot = np.maximum(1 - dx * dx - dy * dy, 0)
    slope = f(shot.back) + f(shot.back_x) * (x - 0.5) + f(shot.back_y) * (y - 0.5)
    return slope + f(shot.bokeh) * spot * spot


def layers(
    who: SimpleNamespace, shot: SimpleNamespace, units: np.ndarray, size: int = 48
) -> tuple[np.ndarray, np.ndarray]:
    """The lit figure without its background.

    who, shot: (n, 1) arrays as ``traits`` and ``spread(SHOTS, ...)`` give; units (n, 12) float64 in [0, 1].
    Returns (n, size, size) float32 twice: gray from 0 to about 255, already multiplied by the coverage, and
    the coverage from 0 to 1.
    """
    au = SimpleNamespace(**dict(zip(UNITS, np.asarray(units, float).T[:, :, None], strict=True)))
    who = SimpleNamespace(**vars(who), gaze=shot.gaze, light_x=shot.light_x)
    style = who.style.astype(int)
    who.short = (style < 3) | (style == HAT)
    who.bearded = who.short & (who.beard < 0.22)
    names = ("volume", "line", "flat", "part", "wide", "low", "curl")
    hair = SimpleNamespace(hat=style == HAT, **dict(zip(names, STYLES.T[:, style], strict=True)))
    sheet = Sheet(shot, size)
    _behind(sheet, who, hair, au.AU26)
    _lines(sheet, who, au)
    _beard(sheet, who)
    _eyes(sheet, who, au)
    _brows(sheet, who, au)
    _nose(sheet, who, au)
    _mouth(sheet, who, au)
    _hair(sheet, who, hair)
    _glasses(sheet, who)
    full = np.float32(OVERSAMPLING * OVERSAMPLING)
    gray, cover = (sums.astype(np.float32) / full for sums in sheet.paint())
    return gray * _light(shot, who, au, size), cover


def render(who: SimpleNamespace, shot: SimpleNamespace, units: np.ndarray, size: int = 48) -> np.ndarray:
    """Clean pictures, (n, size, size) uint8, of these persons in these shots with these action units."""
    out = np.empty((len(units), size, size), np.uint8)
    step = max(1, 2**23 // (size * OVERSAMPLING) ** 2)  # some megabytes at a time
    for start in range(0, len(units), step):
        part = slice(start, start + step)
        chosen = subset(shot, part)
        gray, cover = layers(subset(who, part), chosen, units[part], size)
        out[part] = np.clip(np.rint(gray + (1 - cover) * background(chosen, size)), 0, 255)
    return out


# --- polygons -----------------------------------------------------------------------------------------


def circle(points: int) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and sines of 4 * points angles in order, from the rational points of the circle."""
    t = np.arange(points) / points
    c, s = (1 - t * t) / (1 + t * t), 2 * t / (1 + t * t)
    return np.concatenate([c, -s, -c, s]), np.concatenate([s, c, -s, -c])


def place(shot: SimpleNamespace, x, y, lift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Face coordinates -> picture coordinates (one unit = the side): turn, nod, tilt, scale, move.

    lift: how far the point stands out of the face.
    """
    depth = np.maximum(0.30 * (1 - x * x / 0.16 - y * y / 0.50), 0) + lift
    x, y = x + shot.yaw * depth, y + shot.pitch * depth
    c, s = tilt(shot)
    return 0.5 + shot.dx + shot.scale * (c * x - s * y), 0.40 + shot.dy + shot.scale * (s * x + c * y)


def tilt(shot: SimpleNamespace) -> tuple[np.ndarray, np.ndarray]:
    """Cosine and sine of the roll, which is stored as the tangent of half the angle."""
    square = shot.roll * shot.roll
    return (1 - square) / (1 + square), 2 * shot.roll / (1 + square)


class Sheet:
    """Collects polygons for n faces at once; ``paint`` fills them in the order in which they came."""

    def __init__(self, shot: SimpleNamespace, size: int):
        self.shot, self.scale = shot, size * OVERSAMPLING << FIXED
        self.size = size * OVERSAMPLING
        self.shapes: list[tuple[np.ndarray, list[int]]] = []

    def fill(self, x, y, gray, where=True, lift=0.0) -> None:
        """A polygon: x, y (n or 1, p); gray (n, 1) in 1..255; drawn on the faces chosen by ``where``."""
        x, y = place(self.shot, x, y, lift)
        points = np.ascontiguousarray(np.rint(np.stack([x, y], axis=-1) * self.scale), np.int32)
        gray = np.where(where, np.clip(np.rint(gray), 1, 255), 0)  # 0 is the empty sheet: nothing to draw
        gray = np.broadcast_to(gray, (len(points), 1)).astype(int)[:, 0].tolist()
        self.shapes.append((points, gray))

    def strip(self, x, top, bottom, gray, **options) -> None:
        """The area between two curves over the same x; where they cross there is none."""
        x, top, bottom = np.broadcast_arrays(np.atleast_2d(x), top, np.maximum(top, bottom))
        y = np.concatenate([top, bottom[:, ::-1]], 1)
        self.fill(np.concatenate([x, x[:, ::-1]], 1), y, gray, **options)

    def stroke(self, x, y, width, gray, **options) -> None:
        """A brush stroke along a curve, thin at both ends; ``width`` (n, 1) or (n, p)."""
        x, y = np.broadcast_arrays(np.atleast_2d(x), y)
        t = np.arange(x.shape[1]) / (x.shape[1] - 1) * 2 - 1
        half = width * (1 - 0.85 * t * t) / 2
        steep = np.abs(x[:, -1:] - x[:, :1]) < np.abs(y[:, -1:] - y[:, :1])
        across, along = np.where(steep, half, 0), np.where(steep, 0, half)
        sides = ((x - across, x + across), (y - along, y + along))
        self.fill(*(np.concatenate([one, other[:, ::-1]], 1) for one, other in sides), gray, **options)

    def oval(self, x, y, rx, ry, gray, **options) -> None:
        c, s = circle(6)
        self.fill(x + rx * c, y + ry * s, gray, **options)

    def paint(self) -> tuple[np.ndarray, np.ndarray]:
        """Sums over 4 x 4 pixels of the gray and of the coverage, (n, size, size) uint16."""
        sheets = np.zeros((len(self.shot.roll), self.size, self.size), np.uint8)
        for i, sheet in enumerate(sheets):
            for points, gray in self.shapes:
                if gray[i]:
                    cv2.fillPoly(sheet, [points[i]], gray[i], lineType=cv2.LINE_8, shift=FIXED)
        return _sums(sheets), _sums(sheets > 0)


def _sums(sheets: np.ndarray) -> np.ndarray:
    k = OVERSAMPLING
    rows = sum(sheets[:, i::k].astype(np.uint16) for i in range(k))
    return sum(rows[:, :, i::k] for i in range(k))
