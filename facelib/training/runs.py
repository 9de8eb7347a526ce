"""A run's folder: what a finished training leaves there, and how it is found and read again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from facelib import paths
from facelib.errors import InputError
from facelib.models import registry

if TYPE_CHECKING:
    import keras

#: The file of a finished run from which a second course goes on; an emotion network is not calibrated there.
FIRST_COURSE = "trained.weights.h5"
#: What a finished run leaves for use: its network, and what a model card says of it.
FINISHED, RECORD = "final.weights.h5", "run.json"
SHIPPED = "shipped"  # instead of a run's folder: the prior that the package has


def course_of(start: Path) -> dict:
    """What a model card says of the run that a second course went on from: its recipe and its digest."""
    if str(start) == SHIPPED:
        return {key: registry.card("prior")[key] for key in ("recipe", "weights_digest")}
    recipe = json.loads((start / "recipe.json").read_text(encoding="utf-8"))
    return {"recipe": recipe, "weights_digest": paths.digest(start / FIRST_COURSE)[:16]}


def first_course(start: Path | None) -> Path | None:
    """The weights that a second course goes on from. Raises InputError for a run that is not finished."""
    if start and not (start / FIRST_COURSE).exists():
        raise InputError(f"{start}: no finished run to go on from; train without a start first")
    return start / FIRST_COURSE if start else None


def record(folder: Path) -> dict:
    """What a finished run says of itself. Raises InputError for a run that is not finished."""
    path = folder / RECORD
    if not path.is_file():
        raise InputError(f"{folder}: no finished run is there; train it first")
    return json.loads(path.read_text(encoding="utf-8"))


def load_run(folder: Path, mixed_precision: bool = False) -> keras.Model:
    """The finished network of a run, (n, 48, 48, 1) -> (n, 7). mixed_precision: as ``registry.build``."""
    return registry.build(record(folder)["architecture"], folder / FINISHED, mixed_precision)
