"""Give the faces of a photograph another expression; what is around them stays."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from facelib.errors import InputError
from facelib.models import vqvae
from facelib.models.generator import Generator
from facelib.vision import alignment, detection, image_io


def edit_photograph(
    generator: Generator,
    source: image_io.Source,
    emotion: str | Mapping[str, float],
    detector: str | detection.Detector = "haar",
    **options,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give all faces of a photograph an expression; their surroundings stay, and fine texture where the face
    is unchanged.

    source: a picture as ``facelib.analyze`` takes it. detector: as for ``FaceEncoder``. options: as for
    ``Generator.edit``. Returns the photograph with what the edit changed added to it, (H, W, 3) uint8; the
    aligned faces and their edited forms, both (n, 48, 48) uint8. Raises InputError where no face is found.
    """
    picture = image_io.load(source)
    found = detection.load_detector(detector)(picture)
    if not found:
        raise InputError("no face was found; try another detector, or `none` if the picture is a face")
    faces = np.stack([alignment.align(picture, face, vqvae.SIDE) for face in found])
    edited = generator.edit(faces, emotion, **options)
    same = generator.edit(faces, emotion, **options | {"strength": 0.0, "best_of": 1})  # only coded
    changes = edited.astype(np.float32) - same
    for face, change in zip(found, changes, strict=True):
        picture = alignment.put_back(picture, face, change)
    return picture, faces, edited
