"""Gender-labelled faces, cut out as our own detector and alignment would cut them out of a photograph.

The table is UTKFace (Zhang, Song & Qi, CVPR 2017; research use only) as a parquet file with the columns
``image`` (JPEG or PNG bytes, RGB), ``gender`` ("man" or "woman"), ``age`` (years) and ``group`` (pictures of
one person or one photograph share a number; a group is never divided between training and validation).
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from facelib import alignment, detection, networks
from facelib.paths import InputError, data

#: Training crops are this much larger than the frame, so that jittered crops find real pixels around it.
CONTEXT = 84 / 64
#: People from this age on count as adults where results are given; labels of young children are ambiguous.
ADULT = 16


@dataclass(frozen=True)
class GenderData:
    """crops: (n, 84, 84, 3) uint8 RGB, the central 64 pixels being what the encoder would cut out;
    labels: (n,) int64, 0 woman, 1 man; ages: (n,) int64 years; validation: (n,) bool, one tenth by groups."""

    crops: np.ndarray
    labels: np.ndarray
    ages: np.ndarray
    validation: np.ndarray
    digest: str


def read_table(path: str | Path | None):
    """The parquet file as a DataFrame; None: ``data/utkface64.parquet``. Raises InputError."""
    import pandas as pd

    path = Path(path) if path else data() / "utkface64.parquet"
    if not path.is_file():
        raise InputError(f"{path}: no such file; gender needs UTKFace as a parquet file (see data/README.md)")
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: is no parquet file ({error}); make it again") from None
    missing = {"image", "gender", "age", "group"} - set(table.columns)
    if missing:
        raise InputError(f"{path}: has no column {', '.join(sorted(missing))}; see data/README.md")
    return table


def decode(content: bytes) -> np.ndarray:
    """(H, W, 3) uint8 RGB."""
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def load_utkface(path: str | Path | None = None, detector: str | Path = "yunet", seed: int = 0) -> GenderData:
    """Read the table and cut every face out; a tenth of the groups, drawn with ``seed``, is for validation.

    detector: as in ``detection.load_detector``. Where it finds nothing the whole picture is taken: these
    pictures are face crops already.
    """
    from tqdm import tqdm

    table = read_table(path)
    detect = detection.load_detector(detector, min_confidence=0.05)
    size = round(networks.GENDER_SIDE * CONTEXT)
    crops = np.empty((len(table), size, size, 3), np.uint8)
    for i, content in enumerate(tqdm(table["image"], desc="cutting faces out", unit="face", disable=None)):
        image = decode(content)
        face = (detect(image) or detection.whole_picture(image))[0]
        crops[i] = alignment.align(_enlarge(image), _with_context(face), size, gray=False)
    labels = (table["gender"] == "man").to_numpy().astype(np.int64)
    held = held_out(table["group"].to_numpy(), seed)
    return GenderData(crops, labels, table["age"].to_numpy(), held, table_digest(table))


def held_out(groups: np.ndarray, seed: int = 0) -> np.ndarray:
    """(n,) bool: the rows whose group is in the tenth of all groups that is drawn with ``seed``."""
    unique = np.unique(groups)
    chosen = np.random.default_rng(seed).choice(unique, len(unique) // 10, replace=False)
    return np.isin(groups, chosen)


def table_digest(table) -> str:
    """sha256 over pictures and labels in the table's order, first 16 hex digits."""
    import hashlib

    content = hashlib.sha256()
    for image, gender in zip(table["image"], table["gender"]):
        content.update(image)
        content.update(gender.encode())
    return content.hexdigest()[:16]


def _enlarge(image: np.ndarray) -> np.ndarray:
    """Twice the size: turning a face of 60 pixels at its own resolution would blur it."""
    return cv2.resize(image, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)


def _with_context(face: detection.Detection) -> detection.Detection:
    cx, cy, side = face.frame
    eyes = tuple((2 * x, 2 * y) for x, y in face.eyes) if face.eyes else None
    return detection.Detection(face.box, eyes, face.confidence, (2 * cx, 2 * cy, 2 * side * CONTEXT))
