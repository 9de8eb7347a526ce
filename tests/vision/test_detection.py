"""facelib.vision.detection: the right boxes, at any size of picture, and none where there is no face."""

from __future__ import annotations

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
import skimage.data

from facelib import paths
from facelib.errors import InputError
from facelib.vision import alignment, detection, image_io

SHARED = paths.PACKAGE.parent.parent / "shared" / "data"
YUNET = SHARED / "models" / "face_detection_yunet_2026may.onnx"
ASTRONAUT = skimage.data.astronaut()
FACE = (176, 65, 98, 98)
EYES = ((201.7, 100.5), (247.5, 103.0))


@pytest.fixture(scope="module")
def haar():
    return detection.HaarDetector()


@pytest.fixture(scope="module")
def yunet():
    return detection.YuNetDetector(YUNET)


def large(transpose: bool = False) -> np.ndarray:
    """The astronaut, twice as large, in a picture of 24 million pixels."""
    picture = np.full((6000, 4000, 3) if transpose else (4000, 6000, 3), 90, np.uint8)
    picture[2500:3524, 700:1724] = cv2.resize(ASTRONAUT, (1024, 1024), interpolation=cv2.INTER_CUBIC)
    return picture


LARGE_FACE = (700 + 2 * FACE[0], 2500 + 2 * FACE[1], 2 * FACE[2], 2 * FACE[3])


def overlap(a, b) -> float:
    """Intersection over union of two boxes (x, y, w, h)."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    both = max(width, 0) * max(height, 0)
    return both / (a[2] * a[3] + b[2] * b[3] - both)


def check(face: detection.Detection, shape) -> None:
    """What every detection promises."""
    x, y, w, h = face.box
    assert all(type(v) is int for v in face.box)
    assert 0 <= x < x + w <= shape[1] and 0 <= y < y + h <= shape[0]
    assert 0 <= face.confidence <= 1
    if face.eyes:
        assert face.eyes[0][0] < face.eyes[1][0]


def test_haar_finds_the_astronaut_and_nothing_else(haar):
    [face] = haar(ASTRONAUT)
    check(face, ASTRONAUT.shape)
    assert np.abs(np.subtract(face.box, FACE)).max() <= 2
    assert np.abs(np.subtract(face.eyes, EYES)).max() <= 3
    assert face.confidence > 0.9
    assert np.allclose(face.frame, (225, 114, 98), atol=2)


@pytest.mark.parametrize("name", ["coffee", "brick", "grass", "text"])
def test_haar_finds_nothing_where_there_is_no_face(name, haar):
    picture = getattr(skimage.data, name)()
    assert haar(image_io.as_rgb(picture)) == []


def test_small_pictures_are_enlarged(haar):
    x, y, w, h = FACE
    crop = ASTRONAUT[y - 24 : y + h + 24, x - 24 : x + w + 24]
    small = cv2.resize(crop, (48, 48), interpolation=cv2.INTER_AREA)
    [face] = haar(small)
    check(face, small.shape)
    zoom = 48 / (w + 48)
    assert overlap(face.box, (24 * zoom, 24 * zoom, w * zoom, h * zoom)) > 0.7
    assert np.abs(np.array(face.eyes) / zoom + (x - 24, y - 24) - EYES).max() < 6


@pytest.mark.parametrize("portrait", [False, True])
def test_large_pictures_have_boxes_in_their_own_pixels(portrait, haar):
    picture = large(portrait)
    [face] = haar(picture)
    check(face, picture.shape)
    assert overlap(face.box, LARGE_FACE) > 0.8
    assert np.abs(np.subtract(face.eyes, 2 * np.array(EYES) + (700, 2500))).max() < 16


def test_close_ups_need_fewer_hits():
    """A face that fills a small picture, blurred until the cascade hits it once or twice."""
    x, y, w, h = FACE
    crop = ASTRONAUT[y - 20 : y + h + 20, x - 20 : x + w + 20]
    found = [detection.HaarDetector()(cv2.GaussianBlur(crop, (0, 0), blur)) for blur in (3, 4, 5, 6)]
    assert [len(faces) for faces in found] == [1, 1, 1, 1]
    assert all(overlap(face.box, (20, 20, w, h)) > 0.5 for [face] in found)
    assert 0.5 <= found[-1][0].confidence < found[0][0].confidence


@pytest.mark.parametrize("brightness", [0.3, 0.12])
def test_dark_pictures_are_stretched(brightness, haar):
    [face] = haar((ASTRONAUT * brightness).astype(np.uint8))
    assert overlap(face.box, FACE) > 0.8


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_pictures_on_their_side(quarters, haar):
    """Turned by hand, the picture gives the same face when it is turned back."""
    turned = np.ascontiguousarray(np.rot90(ASTRONAUT, quarters))
    only_upright = detection.load_detector(
        lambda image: [face for face in haar(image) if overlap(face.box, FACE) > 0.5], turn=True
    )
    [face] = only_upright(turned)
    box = np.zeros(ASTRONAUT.shape[:2], bool)
    x, y, w, h = face.box
    np.rot90(box, quarters)[y : y + h, x : x + w] = True
    rows, columns = np.nonzero(box)
    back = (columns.min(), rows.min(), columns.max() - columns.min() + 1, rows.max() - rows.min() + 1)
    assert overlap(back, FACE) > 0.95
    upright, expected = (
        alignment.align(picture, each) for picture, each in ((turned, face), (ASTRONAUT, haar(ASTRONAUT)[0]))
    )
    assert np.abs(upright.astype(int) - expected).mean() < 3
    without_eyes = replace(face, eyes=None)
    assert np.abs(alignment.align(turned, without_eyes).astype(int) - expected).mean() < 20


def test_small_faces_of_large_pictures_want_a_longer_side(haar):
    picture = np.full((3000, 4000, 3), 90, np.uint8)
    picture[1000:1160, 2000:2160] = cv2.resize(ASTRONAUT, (160, 160), interpolation=cv2.INTER_AREA)
    assert haar(picture) == [] and detection.least_face(haar, picture) == 75
    [face] = detection.load_detector("haar", search_side=4000)(picture)
    assert overlap(face.box, np.array(FACE) / 3.2 + (2000, 1000, 0, 0)) > 0.6


@pytest.mark.parametrize(
    ("shape", "options", "size"),
    [
        ((4000, 3000), (1280,), (1280, 960)),
        ((400, 300), (), (400, 300)),
        ((48, 48), (), (192, 192)),
        ((20, 60), (), (80, 240)),
        ((400, 300), (1280, 640), (640, 480)),
        ((200, 200), (1280, 640), (200, 200)),
        ((320, 320), (1280, 640), (640, 640)),
        ((48, 48), (1280, 640), (192, 192)),
        ((700, 500), (1280, 640), (700, 500)),
        ((400, 300), (320, 640), (320, 240)),
    ],
)
def test_sizes_that_are_searched(shape, options, size):
    small, back = detection._working_size(np.zeros((*shape, 3), np.uint8), *options)
    assert small.shape[:2] == size and back == pytest.approx(shape[0] / size[0])


def test_auto_is_yunet_where_it_was_fetched(monkeypatch):
    assert isinstance(detection.load_detector(), detection.HaarDetector)
    there = detection.registry.DOWNLOADS["yunet"]
    monkeypatch.setattr(type(there), "path", paths.PACKAGE / "__init__.py")
    monkeypatch.setattr(detection, "YuNetDetector", lambda *options: options)
    assert detection.load_detector("auto", 0.7, 900) == (None, 0.7, 900)


def test_faces_at_the_edge_stay_inside(haar):
    picture = np.ascontiguousarray(ASTRONAUT[70:300, 160:400])
    for face in haar(picture):
        check(face, picture.shape)


def test_surest_first_and_min_confidence(haar):
    picture = np.hstack([ASTRONAUT, cv2.GaussianBlur(ASTRONAUT, (0, 0), 3)])
    faces = detection.HaarDetector(min_confidence=0)(picture)
    sure = [face.confidence for face in faces]
    assert len(faces) >= 2 and sure == sorted(sure, reverse=True)
    limit = (sure[0] + sure[-1]) / 2
    kept = detection.HaarDetector(min_confidence=limit)(picture)
    assert [face.confidence for face in kept] == [s for s in sure if s >= limit] != sure


@pytest.mark.parametrize("shape", [(1, 1), (1, 20000), (20000, 1), (2, 2), (5, 5), (19, 19), (3, 300)])
def test_no_face_in_black_specks_and_strips(shape, haar):
    assert haar(np.zeros((*shape, 3), np.uint8)) == []


def test_none_takes_the_whole_picture():
    [face] = detection.load_detector("none")(ASTRONAUT[:100, :60])
    assert face.box == (0, 0, 60, 100) and face.eyes is None and face.confidence == 1
    assert face.frame == (30, 50, 60)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mtcnn", "unknown detector 'mtcnn'; choose auto, haar, yunet, none"),
        ("gone.onnx", "gone.onnx: no such file"),
        ("bad.onnx", "bad.onnx: OpenCV cannot read it as a YuNet model"),
        ("yunet", "run `facelib data fetch yunet`, or put face_detection_yunet"),
    ],
)
def test_detectors_that_cannot_be_loaded(name, message, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FACELIB_HOME", str(tmp_path))
    (tmp_path / "bad.onnx").write_bytes(b"no network")
    with pytest.raises(InputError, match=message):
        detection.load_detector(name)
    assert capfd.readouterr().err == ""  # OpenCV does not add its own lines


# --- with photographs and YuNet's file -----------------------------------------------------------------


def count(detector) -> tuple[int, int, int]:
    """Annotated faces, those found (IoU at least 0.4, each once), and false boxes; dogs.jpg has no face."""
    total = found = false = 0
    for row in json.loads((SHARED / "photos" / "boxes.json").read_text()):
        if row["boxes"] is None and row["file"] != "dogs.jpg":
            continue  # faces without annotation
        picture = image_io.read_image(SHARED / "photos" / row["file"])
        left = list(row["boxes"] or [])
        total += len(left)
        for face in detector(picture):
            check(face, picture.shape)
            best = max(left, key=lambda box: overlap(face.box, box), default=None)
            if best and overlap(face.box, best) >= 0.4:
                left.remove(best)
                found += 1
            else:
                false += 1
    return total, found, false


@pytest.mark.realdata
@pytest.mark.parametrize(("name", "least", "most_false"), [("haar", 38, 0), ("yunet", 43, 0)])
def test_photographs(name, least, most_false, request):
    total, found, false = count(request.getfixturevalue(name))
    assert total == 43 and found >= least and false <= most_false


@pytest.mark.realdata
def test_yunet_agrees_with_haar_on_the_astronaut(yunet):
    [face] = yunet(ASTRONAUT)
    check(face, ASTRONAUT.shape)
    assert overlap(face.box, FACE) > 0.7
    assert np.abs(np.subtract(face.eyes, EYES)).max() < 5  # of 98; they stray by 2 from size to size
    assert face.landmarks.shape == (5, 2) and np.array_equal(face.landmarks[:2], face.eyes)
    # The frame is what matters to the networks: the same square from both detectors, to a few pixels.
    assert np.abs(np.subtract(face.frame, (225, 114, 98))).max() < 10


@pytest.mark.realdata
@pytest.mark.parametrize(
    "shape", [(1, 1), (2, 2), (5, 5), (19, 19), (1, 300), (3, 300), (1, 20000), (20000, 1)]
)
def test_yunet_finds_no_face_in_specks_and_strips(shape):
    """Below one cell of its coarsest map OpenCV reads what it never wrote: any score may come out."""
    yunet = detection.YuNetDetector(YUNET, min_confidence=0.3)
    for gray in (0, 90, 200):
        assert yunet(np.full((*shape, 3), gray, np.uint8)) == []


@pytest.mark.realdata
def test_yunet_by_path_and_in_a_large_picture(yunet):
    named = detection.load_detector(str(YUNET), 0.6)
    assert named.min_confidence == 0.6
    [face] = named(large())
    assert overlap(face.box, LARGE_FACE) > 0.6


@pytest.mark.realdata
def test_yunet_finds_small_faces_in_small_pictures(yunet):
    """Pictures of a street, 400 pixels wide: 55 of 106 faces were found where they were not enlarged."""
    found = total = others = 0
    for row in json.loads((SHARED / "detection" / "boxes.json").read_text()):
        picture = image_io.read_image(SHARED / "detection" / row["file"])
        if max(picture.shape) > 400 or len(row["boxes"]) == 1:
            continue
        faces = yunet(picture)
        seen = [[overlap(face.box, each["box"]) > 0.3 for face in faces] for each in row["boxes"]]
        hits = [any(hit) for hit, each in zip(seen, row["boxes"]) if not each["masked"]]
        found, total = found + sum(hits), total + len(hits)
        others += sum(not any(hit) for hit in zip(*seen))
    assert total == 106 and found >= 78 and others <= 8


@pytest.mark.realdata
@pytest.mark.parametrize("side", [160, 640, 1024, 3000])
def test_yunet_finds_large_faces_at_any_size(side, yunet):
    """Portraits of about a thousand pixels: searched at their own size alone, two thirds were lost."""
    rows = json.loads((SHARED / "detection" / "boxes.json").read_text())
    found = []
    for row in [row for row in rows if len(row["boxes"]) == 1][:10]:
        picture = image_io.read_image(SHARED / "detection" / row["file"])
        zoom = side / max(picture.shape[:2])
        box = np.array(row["boxes"][0]["box"]) * zoom
        faces = yunet(cv2.resize(picture, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA))
        found.append(any(overlap(face.box, box) > 0.3 for face in faces))
    assert len(found) == 10 and all(found)
