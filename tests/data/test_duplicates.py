"""Copies, near copies and likeness between two sets of images."""

from __future__ import annotations

import numpy as np

from facelib.data import duplicates, synthetic_faces


def test_copies_near_copies_and_likeness():
    train = np.stack([synthetic_faces.draw_face(i, identity=50 * i, seed=i) for i in range(6)])
    new = np.stack([synthetic_faces.draw_face(6 - i, identity=900 + i, seed=90 + i) for i in range(2)])
    brighter = np.clip(train[2].astype(int) + 9, 0, 255).astype(np.uint8)
    test = np.stack([train[4], brighter, train[1][:, ::-1], *new])
    assert duplicates.copies_of(train, test).tolist() == [True, True, True, False, False]
    alike = duplicates.likeness(train, test)
    assert alike[0] > 0.9999 and alike[1] > 0.98 and (alike[3:] < 0.9).all()
    a, b = (each.astype(float).ravel() for each in (test[3], train[0]))
    one = duplicates.likeness(train[:1], test[3:4])[0]
    assert np.isclose(one, np.corrcoef(a, b)[0, 1], atol=1e-4)
