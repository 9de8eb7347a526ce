"""A tiny FER-2013 in every form in which the real one is found, for the tests of its readers."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

import helpers
from facelib.data import fer2013
from facelib.data.fer2013_readers import USAGES
from facelib.emotions import EMOTIONS, FERPLUS

N = 30
HEADER = "emotion,pixels,Usage"
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def csv_lines(tiny) -> list[str]:
    rows = zip(*tiny, strict=True)
    return [HEADER] + [f"{y},{' '.join(map(str, x.ravel()))},{USAGES[u]}" for x, y, u in rows]


def write_csv(folder: Path, lines: list[str], name: str = "fer2013.csv") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("\n".join(lines) + "\n")
    return folder / name


def write_votes(folder: Path, usages, columns=FERPLUS) -> tuple[Path, np.ndarray]:
    votes = np.random.default_rng(1).integers(0, 11, (len(usages), 10))
    names = ["" if row % 10 == 4 else f"fer{row:07}.png" for row in range(len(usages))]
    table = pd.DataFrame(votes, columns=FERPLUS)[list(columns)]
    table.insert(0, "Usage", [USAGES[usage] for usage in usages])
    table.insert(1, "Image name", names)
    return write_csv(folder, table.to_csv(index=False).splitlines(), "fer2013new.csv"), votes


def encoded(image, form: str = "JPEG") -> bytes:
    options = {"lossless": True} if form == "WEBP" else {"quality": 95}
    return helpers.encoded(Image.fromarray(image), form, **options)


def write_folders(folder: Path, tiny, name="{usage}_{number}.jpg", numbers=None, form="JPEG") -> Path:
    for i, (image, label, usage) in enumerate(zip(*tiny, strict=True)):
        place = folder / ("train" if usage == 0 else "test") / EMOTIONS[label]
        place.mkdir(parents=True, exist_ok=True)
        number = 90 + 131 * i if numbers is None else numbers[i]  # of 2 to 4 digits: not in the order of text
        (place / name.format(usage=USAGES[usage], number=number)).write_bytes(encoded(image, form))
    return folder


def write_parquet(folder: Path, tiny) -> Path:
    images, labels, usages = tiny
    folder.mkdir(parents=True, exist_ok=True)
    columns = {"image": [encoded(image, "WEBP") for image in images], "emotion": labels.astype(np.uint8)}
    frame = pd.DataFrame({**columns, "usage": pd.Categorical([USAGES[usage] for usage in usages])})
    frame.to_parquet(folder / "fer2013.parquet")
    return folder / "fer2013.parquet"


def write_archive(path: Path, members: dict[str, bytes]) -> Path:
    """A zip or a tar, by its name."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
    else:
        kind = {".tar": "w", ".bz2": "w:bz2", ".xz": "w:xz"}.get(path.suffix, "w:gz")
        with tarfile.open(path, kind) as archive:
            for name, content in members.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    return path


def make_official(monkeypatch, tiny) -> None:
    """Let the tiny set pass for the official one, whose order is known by its sequence of labels."""
    _, labels, usages = tiny
    digest = hashlib.sha256(labels.astype(np.uint8)).hexdigest()[:16]
    monkeypatch.setattr(fer2013, "OFFICIAL_LABELS", digest)
    counts = {u: tuple(np.bincount(labels[usages == i], minlength=7).tolist()) for i, u in enumerate(USAGES)}
    monkeypatch.setattr(fer2013, "OFFICIAL_COUNTS", counts)


def columns(data) -> tuple[np.ndarray, np.ndarray]:
    return data.whole.images, data.whole.labels


def caches(home: Path) -> list[Path]:
    """Everything in data/ but the index of digests: caches, memo, and the leavings of writers."""
    return sorted(f for f in (home / "data").glob("*") if "digests" not in f.name and f.is_file())
