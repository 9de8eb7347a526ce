"""Which faces the generator learns from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from facelib.data import synthetic_faces
from facelib.data.utkface import GenderData
from facelib.emotions import FERPLUS, Split
from facelib.errors import InputError
from facelib.models import vqvae
from facelib.training import train_gender, train_generator


def test_who_is_to_be_measured_on_nobody_is_told_before_the_first_epoch(tmp_path, monkeypatch):
    data = synthetic_faces.load_toyfaces(n=300)
    noise = np.random.default_rng(0).integers(0, 256, data.public_test.images.shape, np.uint8)
    data = replace(data, public_test=replace(data.public_test, images=noise))
    monkeypatch.setattr(vqvae, "codebooks", lambda codec: np.zeros((2, 4, 8)))
    with pytest.raises(InputError, match="no frontal face in Training or PublicTest"):
        train_generator.train_prior(data, tmp_path, codec=object(), progress=lambda line: None)
    people = GenderData(*(np.zeros(9, np.int64),) * 3, np.zeros(9, bool), "")
    with pytest.raises(InputError, match="none is left for validation"):
        train_gender.train_gender(people, tmp_path)


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
