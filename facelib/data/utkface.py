"""Gender-labelled faces, cut out as our own detector and alignment would cut them out of a photograph.

The table is UTKFace (Zhang, Song & Qi, CVPR 2017; research use only) as a parquet file with the columns
``image`` (JPEG or PNG bytes, RGB), ``gender`` ("man" or "woman"), ``age`` (years) and ``group`` (pictures of
one person or one photograph share a number; a group is never divided between training and validation).
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facelib.errors import InputError
from facelib.paths import data

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
