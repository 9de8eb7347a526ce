"""Synthetic faces: shape, proportions, troubles as the truth reports them, and one seed, one set."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from facelib.data import degradation, synthetic_faces
from facelib.data.synthetic_drawing import EMOTION_UNITS, PROTOTYPES, UNITS, traits
from facelib.emotions import EMOTIONS, FERPLUS, OFFICIAL_COUNTS

N = 6000


@pytest.fixture(scope="module")
def data():
    return synthetic_faces.load_toyfaces(N, seed=0)


def rows(images: np.ndarray) -> list[bytes]:
    return [image.tobytes() for image in images]


def test_types_shapes_and_ranges(data):
    assert [len(split) for _, split in data] == [4800, 600, 600]
    for name, split in data:
        n, truth = len(split), data.extra[name]
        assert split.images.shape == (n, 48, 48) and split.images.dtype == np.uint8
        assert split.labels.shape == (n,) and split.labels.dtype == np.int64
        assert split.votes.shape == (n, 10) and split.votes.dtype == np.uint8
        assert (split.votes.sum(1) == 10).all()
        assert len(truth) == n and truth.units.shape == (n, 12)
        assert truth.units.min() >= 0 and truth.units.max() <= 1


def test_classes_stand_in_fer2013s_proportions(data):
    for name, split in data:
        official = np.array(OFFICIAL_COUNTS[name])
        wanted = official / official.sum() * len(split)
        assert np.abs(np.bincount(split.labels, minlength=7) - wanted).max() < 1


def test_eight_per_cent_of_the_test_pictures_stand_in_training_and_some_disagree(data):
    training = set(rows(data.train.images))
    for split in (data.public_test, data.private_test):
        assert np.mean([row in training for row in rows(split.images)]) == pytest.approx(0.08, abs=0.005)
    disagree = total = 0
    for name, split in data:
        source = data.extra[name].duplicate_of
        copy = source >= 0
        disagree += (split.labels[copy] != data.train.labels[source[copy]]).sum()
        total += copy.sum()
    assert 0.02 < disagree / total < 0.06  # FER-2013: 57 of 1,514 groups
    copies = sum((data.extra[name].duplicate_of >= 0).sum() for name in data.splits)
    assert copies / N == pytest.approx(1851 / 35887, rel=0.05)


def test_pictures_without_a_face_are_few_and_the_voters_see_it(data):
    no_face = FERPLUS.index("NF")
    for name, split in data:
        truth = data.extra[name]
        faceless = truth.kind > 0
        assert 0.005 <= faceless.mean() <= 0.01
        assert (truth.emotion[faceless] == -1).all() and (truth.emotion[~faceless] >= 0).all()
        assert (split.votes[faceless].argmax(1) == no_face).all()
        assert (split.votes[~faceless, no_face] == 0).all()


def test_noise_hits_fear_hardest(data):
    labels, truth = data.train.labels, data.extra["Training"]
    face = truth.kind == 0
    holds = [np.mean(truth.emotion[face & (labels == k)] == k) for k in range(7)]
    fear = EMOTIONS.index("fear")
    assert np.argmin(holds) == fear and holds[fear] < 0.65 and min(np.delete(holds, fear)) > 0.75
    wrong = truth.emotion[face & (labels == fear) & (truth.emotion != fear)]
    assert set(np.bincount(wrong, minlength=7).argsort()[-3:]) == {4, 5, 6}  # sad, surprise, neutral


def test_softness_and_compression_leave_their_marks(data):
    truth, images = data.extra["Training"], data.train.images.astype(float)
    face = truth.kind == 0
    edges = np.abs(np.diff(images, axis=2)).mean((1, 2))
    sharp = edges[face & (truth.blur == 0) & (truth.resolution == 48)].mean()
    for soft in (truth.blur == 1.0, truth.resolution == 24):
        assert edges[face & soft].mean() < 0.8 * sharp
    assert ((truth.quality >= 30) & (truth.quality <= 100)).all() and (truth.quality < 100).mean() > 0.5


def test_compression_quantises_and_quality_100_changes_nothing():
    noise = np.random.default_rng(0).integers(0, 256, (2, 48, 48)).astype(np.uint8)
    assert (degradation.compress(noise, np.array([100, 100])) == noise).all()
    coded = [degradation.compress(noise, np.array([q, q])).astype(float) for q in (95, 60, 20)]
    errors = [np.abs(each - noise).mean() for each in coded]
    assert 0 < errors[0] < errors[1] < errors[2]
    flat = np.full((1, 48, 48), 77, np.uint8)
    assert np.abs(degradation.compress(flat, np.array([90])).astype(int) - 77).max() <= 2


def test_the_bytes_depend_on_the_seed_alone():
    first, again, other = (synthetic_faces.load_toyfaces(400, seed=seed) for seed in (3, 3, 4))
    for (_, a), (_, b) in zip(first, again, strict=True):
        assert (a.images == b.images).all() and (a.labels == b.labels).all() and (a.votes == b.votes).all()
    assert first.digest == again.digest != other.digest
    assert not set(rows(first.train.images)) & set(rows(other.train.images))


def test_too_small_a_set_is_refused():
    with pytest.raises(ValueError, match="at least 100"):
        synthetic_faces.load_toyfaces(20)
    assert sum(len(split) for _, split in synthetic_faces.load_toyfaces(100)) == 100


def test_fear_is_surprise_with_au4_and_au20():
    fear, surprise = set(PROTOTYPES["fear"]), set(PROTOTYPES["surprise"])
    assert fear & surprise == {"AU1", "AU2", "AU5", "AU26"}
    assert fear ^ surprise == {"AU4", "AU20"}
    assert EMOTION_UNITS.shape == (7, 12) and list(PROTOTYPES) == list(EMOTIONS)
    assert not EMOTION_UNITS[EMOTIONS.index("neutral")].any()


def test_every_emotion_and_every_action_unit_moves_the_face():
    rest = synthetic_faces.draw_face("neutral", identity=5, seed=None, size=96).astype(int)
    assert rest.shape == (96, 96)
    for expression in [*EMOTIONS[:6], *({unit: 1.0} for unit in UNITS)]:
        moved = synthetic_faces.draw_face(expression, identity=5, seed=None, size=96)
        assert moved.dtype == np.uint8 and (np.abs(moved - rest) > 20).sum() > 10, expression
    faint = synthetic_faces.draw_face("happy", identity=5, seed=None, size=96, intensity=0.3)
    full = synthetic_faces.draw_face("happy", identity=5, seed=None, size=96)
    assert 0 < np.abs(faint - rest).sum() < np.abs(full - rest).sum()
    assert (synthetic_faces.draw_face(3, identity=5, seed=None, size=96) == full).all()


def test_an_unknown_expression_is_named():
    with pytest.raises(ValueError, match="AU99"):
        synthetic_faces.draw_face({"AU99": 1})
    with pytest.raises(ValueError, match="bored"):
        synthetic_faces.draw_face("bored")


def test_a_person_stays_the_same_in_any_company():
    alone, together = traits(np.array([7])), traits(np.array([3, 7, 9]))
    assert all((vars(alone)[name] == vars(together)[name][1]).all() for name in vars(alone))
    one, again, other = (synthetic_faces.draw_face("sad", who, 1, 64) for who in (7, 7, 8))
    assert (one == again).all() and (one != other).any()


def test_eyes_are_dark_spots_where_the_truth_says(data):
    truth = data.extra["Training"]
    clear = (truth.kind == 0) & (truth.blur == 0) & (truth.resolution == 48)
    (x, y) = np.nanmean(truth.eyes, axis=0).mean(0) / 48
    assert abs(x - 0.5) < 0.02 and abs(y - 0.41) < 0.03  # FER-2013's framing
    apart = truth.eyes[clear, 1, 0] - truth.eyes[clear, 0, 0]
    assert apart.mean() / 48 == pytest.approx(0.38, abs=0.04)
    mean = data.train.images[clear].mean(0)
    eye = tuple(np.rint(truth.eyes[clear, 0].mean(0)).astype(int)[::-1])
    assert mean[eye] < mean[eye[0] + 8, eye[1]] - 15  # darker than the cheek below


@pytest.mark.parametrize(("n", "size"), [(1, (120, 160)), (5, (240, 200)), (7, (160, 320))])
def test_a_scene_knows_where_its_faces_are(n, size):
    scene = synthetic_faces.draw_scene(n, seed=n, size=size)
    assert scene.picture.shape == (*size, 3) and scene.picture.dtype == np.uint8
    assert scene.boxes.shape == (n, 4) and scene.eyes.shape == (n, 2, 2) and scene.labels.shape == (n,)
    low, high = scene.boxes[:, :2], scene.boxes[:, :2] + scene.boxes[:, 2:]
    assert (low >= 0).all() and (high <= size[::-1]).all() and (scene.boxes[:, 2:] > 10).all()
    assert ((scene.eyes > low[:, None]) & (scene.eyes < high[:, None])).all()
    apart = np.abs((low + high)[:, None] - (low + high)[None]) >= scene.boxes[:, None, 2:]
    assert (apart.any(-1) | np.eye(n, dtype=bool)).all()  # no face covers another
    assert np.ptp(scene.picture.astype(int), axis=2).mean() > 3  # in colour
    assert (synthetic_faces.draw_scene(n, seed=n, size=size).picture == scene.picture).all()


def test_plain_faces_are_even_right_and_easy():
    data = synthetic_faces.plain_faces(700, people=10, seed=1)
    again = synthetic_faces.plain_faces(700, people=10, seed=1)
    assert data.digest == again.digest != synthetic_faces.plain_faces(700, people=10, seed=2).digest
    assert data.name == "synthetic" and data.slug == "toy"  # never filed as FER-2013
    assert [len(split) for _, split in data] == [560, 70, 70]
    for _, split in data:
        assert split.images.shape[1:] == (48, 48) and split.images.dtype == np.uint8
        assert np.ptp(np.bincount(split.labels, minlength=7)) <= 1
    # One straight line between each two emotions is enough, for people that were seen.
    pixels = [split.images.reshape(len(split), -1) / 255 for _, split in data]
    reader = make_pipeline(PCA(40, random_state=0), LogisticRegression(max_iter=500))
    reader.fit(pixels[0], data.train.labels)
    assert reader.score(pixels[2], data.private_test.labels) > 0.95
