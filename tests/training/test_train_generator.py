"""Which faces the generator learns from."""

from __future__ import annotations

import numpy as np

from facelib.data import synthetic_faces
from facelib.emotions import FERPLUS, Split
from facelib.training import train_generator


def test_frontal_faces_are_seen_from_the_front_in_one_light():
    face = synthetic_faces.draw_face("happy", 0, seed=None)
    dark, turned = (face * 0.4).astype(np.uint8), np.rot90(face)
    faces = Split(
        np.stack([face, turned, dark, np.full_like(face, 90), face]),
        np.arange(5),
        np.eye(10, dtype=np.uint8)[[1, 1, 1, 1, FERPLUS.index("NF")]],
    )
    found = train_generator.frontal_faces(faces)
    assert found.labels.tolist() == [0, 2] and found.votes.shape == (2, 10)
    assert np.abs(found.images[0].astype(int) - found.images[1]).max() <= 4  # what is left of the rounding
    np.testing.assert_allclose(found.images.mean((1, 2)), 128, atol=3)
