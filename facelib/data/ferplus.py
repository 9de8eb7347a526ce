"""The FER+ annotators' votes (Barsoum et al. 2016, arXiv:1608.01041): the table, and what is made of it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np

from facelib import paths
from facelib.data.duplicates import leaked_rows
from facelib.data.fer2013_readers import BYTE_CODES, USAGE_CODES, csv_rows, known
from facelib.emotions import EMOTIONS, FERPLUS, FERPLUS_TO_FER, FerData, Split
from facelib.files import blame

VOTES = "fer2013new.csv"
VOTES_SHA256 = "9206e20d62f56475939f516847d61753e4860caeac9718b560129541b776fc2c"
VOTES_URL = "https://raw.githubusercontent.com/microsoft/FERPlus/master/fer2013new.csv"


def read_votes(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read FER+'s fer2013new.csv (github.com/microsoft/FERPlus).

    Returns usages (n,) uint8, votes (n, 10) uint8 with the columns in the order of ``FERPLUS`` whatever their
    order in the file, and no_face (n,) bool, true where FER+ left the image name empty.
    """
    usages, votes, no_face = bytearray(), bytearray(), []
    columns = ("Usage", "Image name", *FERPLUS)
    with blame(path), open(path, "rb") as stream:
        for where, (usage, image, *counts) in csv_rows(stream, path, columns, "take fer2013new.csv of FER+"):
            usages.append(known(USAGE_CODES, usage, where, "usage"))
            votes += bytes(known(BYTE_CODES, count, where, "number of votes") for count in counts)
            no_face.append(not image.strip())
    votes = np.frombuffer(votes, np.uint8).reshape(-1, len(FERPLUS))
    return np.frombuffer(usages, np.uint8), votes, np.array(no_face, bool)


def fetch_votes() -> None:
    """FER+'s table from GitHub into ``paths.data()``, verified; FER-2013 is of use without, so no error."""
    import pooch

    with suppress(Exception):
        pooch.retrieve(VOTES_URL, VOTES_SHA256, VOTES, paths.data(), progressbar=True)


def emotion_votes(votes: np.ndarray) -> np.ndarray:
    """FER+ votes (n, 10) in the order of ``EMOTIONS``, (n, 7): contempt, unknown and NF are dropped."""
    columns = {label: column for column, label in FERPLUS_TO_FER.items()}
    return votes[:, [columns[label] for label in range(len(EMOTIONS))]]


def views(data: FerData, split: str = "PrivateTest") -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Three ways to score predictions on a split: name -> (rows (m,) int64, labels of these rows).

    "all": as it is. "unseen": without the pictures that also stand in Training. "majority": against the
    emotion that most FER+ annotators named, where there is a single one (only with votes).
    """
    test = data.splits[split]
    everything = np.arange(len(test))
    unseen = everything if split == "Training" else np.flatnonzero(~leaked_rows(data)[split])
    found = {"all": (everything, test.labels), "unseen": (unseen, test.labels[unseen])}
    if test.votes is not None:
        seven = emotion_votes(test.votes)
        rows = np.flatnonzero((seven == seven.max(1, keepdims=True)).sum(1) == 1)
        found["majority"] = (rows, seven[rows].argmax(1))
    return found


def soft_labels(split: Split) -> np.ndarray:
    """Half the label, half the FER+ annotators' shares of the seven emotions, (n, 7) float32; the label alone
    where none of the seven was named, or there are no votes."""
    labels = np.eye(len(EMOTIONS), dtype=np.float32)[split.labels]
    if split.votes is None:
        return labels
    seven = emotion_votes(split.votes).astype(np.float32)
    named = seven.sum(1, keepdims=True)
    return (labels + np.where(named > 0, seven / np.maximum(named, 1), labels)) / 2
