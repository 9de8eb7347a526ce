"""facelib.training.augmentation: what is asked for happens, and nothing else."""

import numpy as np
import pytest

from facelib.training import augmentation

STILL = augmentation.Augmentation(
    rotation=0, scale=1, shift=0, flip=False, contrast=0, brightness=0, erase=0, gray=0, low_resolution=0
)


def pictures(n, side, colour=False, seed=0):
    shape = (n, side, side, 3) if colour else (n, side, side)
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def test_without_augmentation_nothing_changes():
    images = pictures(5, 48)
    out = augmentation.augment(images, np.random.default_rng(0), STILL, 48)
    assert out.shape == (5, 48, 48, 1) and out.dtype == np.float32
    np.testing.assert_allclose(out[..., 0], images / 255, atol=1e-6)


def test_larger_pictures_are_cut_to_their_centre():
    images = pictures(3, 84, colour=True)
    out = augmentation.augment(images, np.random.default_rng(0), STILL, 64)
    np.testing.assert_allclose(out, images[:, 10:74, 10:74] / 255, atol=1e-6)


def test_flip_mirrors_about_half_of_the_pictures():
    images = pictures(200, 48)
    flip = augmentation.Augmentation(**(STILL.__dict__ | {"flip": True}))
    out = augmentation.augment(images, np.random.default_rng(0), flip, 48)[..., 0]
    mirrored = [np.allclose(a, b[:, ::-1] / 255, atol=1e-6) for a, b in zip(out, images, strict=True)]
    kept = [np.allclose(a, b / 255, atol=1e-6) for a, b in zip(out, images, strict=True)]
    assert all(m != k for m, k in zip(mirrored, kept, strict=True)) and 70 < sum(mirrored) < 130


def test_rotation_turns_about_the_centre():
    image = np.zeros((1, 48, 48), np.uint8)
    image[0, 23:25, 40:44] = 255
    turn = augmentation.Augmentation(**(STILL.__dict__ | {"rotation": 90.0}))
    out = augmentation.augment(np.repeat(image, 50, 0), np.random.default_rng(0), turn, 48)[..., 0]
    y, x = np.mgrid[:48, :48] - 23.5
    radius = [(np.hypot(y, x) * o).sum() / o.sum() for o in out]
    np.testing.assert_allclose(radius, 18, atol=0.5)
    assert np.ptp([(y * o).sum() / o.sum() for o in out]) > 20


def test_gray_removes_colour_and_values_stay_in_range():
    how = augmentation.Augmentation(gray=1.0, erase=1.0, contrast=0.9, brightness=0.5, low_resolution=1.0)
    out = augmentation.augment(pictures(20, 64, colour=True), np.random.default_rng(0), how, 64)
    assert np.ptp(out, axis=-1).max() < 1e-5
    assert out.min() >= 0 and out.max() <= 1


def test_the_same_seed_gives_the_same_batch_and_another_does_not():
    images = pictures(8, 48)
    one, two, other = (
        augmentation.augment(images, np.random.default_rng(seed), augmentation.Augmentation(), 48)
        for seed in (1, 1, 2)
    )
    assert (one == two).all() and (one != other).any()


def test_a_stretched_box_a_darker_light_and_compression():
    y, x = np.mgrid[:48, :48] - 23.5
    disc = np.where(np.hypot(y, x) < 10, 255, 0).astype(np.uint8)[None].repeat(200, 0)

    def changed(images=disc, **what):
        how = augmentation.Augmentation(**(STILL.__dict__ | what))
        return augmentation.augment(images, np.random.default_rng(0), how, 48)[..., 0]

    wide, high = (np.sqrt((changed(aspect=1.5) * place**2).mean((1, 2))) for place in (x, y))
    np.testing.assert_allclose(wide * high, (wide * high).mean(), rtol=0.03)  # the area stays
    assert (wide / high).max() == pytest.approx(1.5, rel=0.05) and (wide / high).min() < 0.7
    gray = np.full((200, 48, 48), 64, np.uint8)
    light = np.log(changed(gray, gamma=2.0)[:, 0, 0]) / np.log(64 / 255)
    assert light.min() == pytest.approx(0.5, rel=0.05) and light.max() == pytest.approx(2, rel=0.05)
    wrong = np.abs(changed(jpeg=0.5) - disc / 255).max((1, 2))
    assert 60 < (wrong > 0.01).sum() < 140 and (wrong[wrong <= 0.01] == 0).all()


def test_mixed_pictures_have_mixed_targets():
    """Each picture is of one gray, its own: what it is mixed of can be read."""
    n = 300
    own = np.linspace(0, 1, n, dtype=np.float32)
    x, y = own[:, None, None, None] * np.ones((n, 20, 20, 1), np.float32), np.stack([own, 1 - own], 1)
    mixed, wanted = augmentation.mix(x, y, 0.25, 0.25, np.random.default_rng(0))
    np.testing.assert_allclose(mixed.mean((1, 2, 3)), wanted[:, 0], atol=1e-5)
    np.testing.assert_allclose(wanted.sum(1), 1, rtol=1e-5)
    alone = np.abs(mixed[:, 0, 0, 0] - own) < 1e-7
    flat = np.ptp(mixed, axis=(1, 2, 3)) < 1e-6
    assert 40 < (~flat).sum() < 110 and 40 < (flat & ~alone).sum() < 110
    share = np.abs(mixed - x).max(-1) > 1e-6  # where the square of the other is
    assert (share[~flat].mean((1, 2)) <= 0.5 + 0.05).all()
