"""facelib.vision.alignment: eyes level and in their place, no bars, no aliasing."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import skimage.data

from facelib.vision import alignment
from facelib.vision.detection import Detection
from facelib.vision.image_io import without_colour

ASTRONAUT = skimage.data.astronaut()


def face_at(centre, side: float, degrees: float, apart: float = 0.38, height: float = 0.12) -> Detection:
    """A face whose eyes stand ``apart`` sides from each other and ``height`` sides above the centre."""
    angle = math.radians(degrees)
    across, up = np.array([math.cos(angle), math.sin(angle)]), np.array([math.sin(angle), -math.cos(angle)])
    middle = np.array(centre) + height * side * up
    left, right = middle - apart / 2 * side * across, middle + apart / 2 * side * across
    box = (round(centre[0] - side / 2), round(centre[1] - side / 2), round(side), round(side))
    return Detection(box, (tuple(left), tuple(right)), 1.0, (*centre, side))


def two_dots(shape, *points) -> np.ndarray:
    """Soft black dots on white, centred to a fraction of a pixel; pixel (i, j) has its centre at + 0.5."""
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    ink = sum(np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * 3.0**2)) for px, py in points)
    return np.repeat(np.rint(255 * (1 - ink)).clip(0, 255).astype(np.uint8)[..., None], 3, 2)


def dots_in(patch: np.ndarray) -> np.ndarray:
    """Centres of the dot in the left half and of the one in the right half."""
    ink = 255.0 - patch[..., 0]
    y, x = np.mgrid[: patch.shape[0], : patch.shape[1]] + 0.5
    centres = []
    for half in (x < patch.shape[1] / 2, x >= patch.shape[1] / 2):
        weight = ink * half
        centres.append([(weight * x).sum() / weight.sum(), (weight * y).sum() / weight.sum()])
    return np.array(centres)


@pytest.mark.parametrize("degrees", [-30, -12, -3, 0, 0.5, 7, 20, 40])
@pytest.mark.parametrize(("centre", "side"), [((200.0, 150.0), 120.0), ((203.4, 151.7), 121.0)])
def test_eyes_become_level_and_stand_in_their_place(degrees, centre, side):
    face = face_at(centre, side, degrees)
    patch = alignment.upright(two_dots((300, 400), *face.eyes), face)
    assert patch.shape == (round(side), round(side), 3) and patch.dtype == np.uint8
    left, right = dots_in(patch)
    # Below one degree nothing is turned: at half a degree the eyes of this face stay 0.4 pixels apart.
    assert abs(left[1] - right[1]) < 0.5
    middle, height = side / 2, side / 2 - 0.12 * side
    expected = [[middle - 0.19 * side, height], [middle + 0.19 * side, height]]
    off = np.abs([left, right] - np.array(expected)).max()
    assert off <= (0.5 if abs(degrees) >= 1 else 0.95), off  # unturned, the frame is rounded to whole pixels


@pytest.mark.parametrize("eyes", [True, False])
def test_what_is_upright_or_without_eyes_is_not_resampled(eyes):
    face = face_at((200.0, 150.0), 100.0, 0)
    face = face if eyes else replace(face, eyes=None)
    np.testing.assert_array_equal(alignment.upright(ASTRONAUT, face), ASTRONAUT[100:200, 150:250])


@pytest.mark.parametrize("degrees", [0, 25, -25])
@pytest.mark.parametrize("centre", [(10.0, 10.0), (390.0, 290.0), (200.0, 5.0)])
def test_no_black_bars_at_the_border(degrees, centre):
    """On white paper every crop is white, however far it hangs out."""
    patch = alignment.upright(np.full((300, 400, 3), 255, np.uint8), face_at(centre, 120.0, degrees))
    assert patch.shape == (120, 120, 3) and patch.min() == 255


def test_over_the_edge_the_edge_is_repeated():
    face = Detection((0, 0, 60, 60), None, 1.0, (20.0, 30.0, 60.0))
    patch = alignment.upright(ASTRONAUT, face)
    np.testing.assert_array_equal(patch[:, 10:], ASTRONAUT[:60, :50])
    np.testing.assert_array_equal(patch[:, :10], np.repeat(ASTRONAUT[:60, :1], 10, 1))


def test_a_panorama_wider_than_opencv_warps():
    """cv2.warpAffine refuses sources of 32,767 pixels and more."""
    face = face_at((39000.0, 100.0), 100.0, 20)
    picture = np.full((200, 40000, 3), 255, np.uint8)
    picture[:, 38800:39200] = two_dots((200, 400), *(np.array(face.eyes) - (38800, 0)))
    left, right = dots_in(alignment.upright(picture, face))
    assert abs(left[1] - right[1]) < 0.5


def test_a_picture_of_one_pixel():
    face = Detection((0, 0, 1, 1), None, 1.0, (0.5, 0.5, 1.0))
    assert alignment.align(np.full((1, 1, 3), 7, np.uint8), face).tolist() == [[7] * 48] * 48


@pytest.mark.parametrize("side", [96, 97, 144, 481])
def test_reduction_averages(side):
    """A checkerboard of single pixels becomes gray; picking pixels would give bands of black and white."""
    board = (np.indices((side, side)).sum(0) % 2 * 255).astype(np.uint8)
    small = alignment.resize(np.repeat(board[..., None], 3, 2), 48)
    assert small.shape == (48, 48, 3)
    assert np.abs(small.astype(int) - 127.5).max() < 40
    assert abs(small.mean() - 127.5) < 2
    if side % 48 == 0:
        means = board.reshape(48, side // 48, 48, side // 48).mean((1, 3))
        assert np.abs(small - means[..., None]).max() <= 0.5


@pytest.mark.parametrize("size", [48, 64, 224])
def test_align_gives_what_networks_want(size):
    face = face_at((225.0, 114.0), 98.0, 4)
    gray, colour = (alignment.align(ASTRONAUT, face, size, gray) for gray in (True, False))
    assert gray.shape == (size, size) and colour.shape == (size, size, 3)
    assert gray.dtype == colour.dtype == np.uint8
    assert np.abs(gray - without_colour(colour.astype(np.float32))[..., 0]).max() <= 1


@pytest.mark.parametrize("degrees, centre", [(0, (200, 150)), (25, (200, 150)), (-40, (30, 20))])
def test_what_is_put_back_comes_out_again(degrees, centre):
    """A change that is added to a picture is what the aligned face then has more, but for the fading edge."""
    picture = np.full((300, 400, 3), 100, np.uint8)
    face = face_at(centre, 96, degrees)
    y, x = np.mgrid[-1:1:48j, -1:1:48j]
    change = 60 * np.exp(-8 * ((x - 0.2) ** 2 + (y + 0.1) ** 2))  # off the middle: a wrong turn would show
    changed = alignment.put_back(picture, face, change)
    found = alignment.align(changed, face).astype(float) - 100
    inside = np.ones((48, 48), bool)
    if min(centre) < 96:  # what lies outside the picture cannot come back
        inside[:, :34] = inside[:30] = False
    assert np.abs(found - change)[inside].max() < 4
    assert (picture == 100).all()
    y, x = np.mgrid[:300, :400]
    far = np.hypot(x - centre[0], y - centre[1]) > 50
    assert (changed[far] == 100).all()


def test_a_change_takes_the_place_of_finer_texture():
    """Stripes that are finer than the change's pixels stay where nothing changes, and go where much does."""
    picture = np.full((400, 400, 3), 100, np.uint8)
    picture[:, ::2] = 120
    change = np.zeros((48, 48))
    change[24:40, 12:36] = 50
    changed = alignment.put_back(picture, face_at((200, 200), 240, 0), change).astype(int)
    np.testing.assert_array_equal(changed[90:190], picture[90:190])
    mouth = changed[220:260, 160:240]
    assert mouth.std() < 1 and abs(mouth.mean() - 160) < 1
