"""Gender-labelled faces, cut out as our own detector and alignment would cut them out of a photograph.

The table is UTKFace (Zhang, Song & Qi, CVPR 2017; research use only) as a parquet file with the columns
``image`` (JPEG or PNG bytes, RGB), ``gender`` ("man" or "woman"), ``age`` (years) and ``group`` (pictures of
one person or one photograph share a number; a group is never divided between training and validation).
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facelib.data.fer2013_readers import FORMATS, MAX_PICTURES, parquet_rows
from facelib.errors import InputError
from facelib.files import check_form
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
    columns = ["image", "gender", "age", "group"]
    if not os.path.lexists(path):
        raise InputError(f"{path}: no such file; gender needs UTKFace as a parquet file (see data/README.md)")
    check_form(path, ".parquet")
    rows, size = [], 0
    for where, row in parquet_rows(path, tuple(columns)):
        whole = isinstance(row[0], bytes) and all(isinstance(each, int) for each in row[2:])
        if not whole or row[1] not in ("man", "woman"):
            raise InputError(f"{where}: is not picture, man or woman, age and group; see data/README.md")
        rows.append(row)
        size += len(row[0])
        if size > MAX_PICTURES:
            raise InputError(f"{where}: more than {MAX_PICTURES:,} bytes of pictures; give UTKFace alone")
    return pd.DataFrame(rows, columns=columns)


def decode(content: bytes) -> np.ndarray:
    """(H, W, 3) uint8 RGB, of at most 1,024 pixels a side. Raises InputError for what is no such picture."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
            if max(picture.size) > 1024:
                raise ValueError(f"{picture.size[0]} x {picture.size[1]} pixels")
            return np.asarray(picture.convert("RGB"))
    except Exception as error:  # noqa: BLE001 - Pillow raises a dozen types on damaged pictures
        raise InputError(f"a face of UTKFace's table is damaged ({str(error)[:80]}); make it again") from None


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
