"""Which pictures and which settings make the network that reads gender."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from facelib.data.utkface import GenderData, decode, held_out, read_table, table_digest
from facelib.errors import InputError
from facelib.models.gender import GENDER_SIDE, gender_network
from facelib.training import runs
from facelib.training.augmentation import Augmentation
from facelib.training.loop import TrainingConfig, fit, one_hot
from facelib.vision import alignment, detection, image_io

#: Training crops are this much larger than the frame, so that jittered crops find real pixels around it.
CONTEXT = 84 / 64


def load_utkface(path: str | Path | None = None, detector: str | Path = "yunet", seed: int = 0) -> GenderData:
    """Read the table and cut every face out; a tenth of the groups, drawn with ``seed``, is for validation.

    detector: as in ``detection.load_detector``. Where it finds nothing the whole picture is taken: these
    pictures are face crops already.
    """
    table = read_table(path)
    detect = detection.load_detector(detector, min_confidence=0.05)
    size = round(GENDER_SIDE * CONTEXT)
    crops = np.empty((len(table), size, size, 3), np.uint8)
    for i, content in enumerate(tqdm(table["image"], desc="cutting faces out", unit="face", disable=None)):
        image = decode(content)
        face = (detect(image) or detection.whole_picture(image))[0]
        crops[i] = alignment.align(_enlarge(image), _with_context(face), size, gray=False)
    labels = (table["gender"] == "man").to_numpy().astype(np.int64)
    held = held_out(table["group"].to_numpy(), seed)
    return GenderData(crops, labels, table["age"].to_numpy(), held, table_digest(table))


def _enlarge(image: np.ndarray) -> np.ndarray:
    """Twice the size: turning a face of 60 pixels at its own resolution would blur it."""
    return cv2.resize(image, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)


def _with_context(face: detection.Detection) -> detection.Detection:
    cx, cy, side = face.frame
    eyes = tuple((2 * x, 2 * y) for x, y in face.eyes) if face.eyes else None
    return detection.Detection(face.box, eyes, face.confidence, (2 * cx, 2 * cy, 2 * side * CONTEXT))


GENDER_CONFIG = TrainingConfig(
    epochs=50,
    learning_rate=3e-3,
    weight_decay=1e-2,
    ema=0.998,
    augmentation=Augmentation(
        rotation=15, scale=1.25, shift=0.1, contrast=0.35, brightness=0.15, gray=0.4, low_resolution=0.35
    ),
)


def train_gender(
    data: GenderData,
    output: Path,
    resume: bool = False,
    progress: Callable[[str], None] = print,
    **chosen,
):
    """Train the compact gender network on crops that vary as much as a detector's boxes, in colour and gray.

    output: the run's folder, as ``runs`` describes. Returns (network, configuration): a keras.Model as
    ``registry.load_gender_model`` describes. Raises InputError where nothing is held out for validation.
    """
    held = data.validation
    if not held.any():
        raise InputError("fewer than ten groups of faces: none is left for validation; give all of UTKFace")
    edge = (data.crops.shape[1] - GENDER_SIDE) // 2
    inputs = data.crops[held][:, edge:-edge, edge:-edge].astype(np.float32) / 255
    colourless = image_io.without_colour(inputs)
    adult = data.ages[held] >= 16

    def validate(model) -> dict[str, float]:
        def hits(pictures):
            found = np.asarray(model.predict(pictures, batch_size=512, verbose=0), np.float32)
            return found.argmax(1) == data.labels[held]

        colour, gray = hits(inputs), hits(colourless)
        return {
            "accuracy_all": float(colour.mean()),
            "accuracy_adults": float(colour[adult].mean()),
            "accuracy_adults_gray": float(gray[adult].mean()),
        }

    config = replace(GENDER_CONFIG, **chosen)
    targets = one_hot(data.labels[~held], 2, config.label_smoothing)
    network = fit(
        gender_network,
        data.crops[~held],
        targets,
        config,
        output,
        GENDER_SIDE,
        validate=validate,
        resume=resume,
        progress=progress,
    )
    command = runs.command("gender", config)
    runs.write(output, network, "gender", config, data, data="utkface", command=command)
    return network, config
