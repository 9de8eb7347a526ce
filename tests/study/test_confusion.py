"""Confusion studies on made-up networks, of which it is known what decides."""

from __future__ import annotations

import json

import numpy as np
import pytest

import facelib
from facelib import paths
from facelib.data import synthetic_faces
from facelib.data.synthetic_drawing import PROTOTYPES
from facelib.emotions import EMOTIONS, FERPLUS
from facelib.models.emotion import emotion_inputs
from facelib.study import confusion
from helpers import noisy_probabilities

FEAR, SAD, SURPRISE = (EMOTIONS.index(name) for name in ("fear", "sad", "surprise"))


def with_log_ratio(scores):
    """Probabilities (n, 7) in which fear and surprise differ by scores (n,) in their logarithms."""
    logits = np.full((len(scores), 7), -3.0)
    logits[:, FEAR], logits[:, SURPRISE] = scores / 2, -scores / 2
    e = np.exp(logits)
    return e / e.sum(1, keepdims=True)


def mouth_network(inputs):
    """Fear where the mouth is bright; nothing else counts."""
    return with_log_ratio(10 * inputs[:, 33:46, 10:38, 0].mean((1, 2)))


@pytest.fixture(scope="module")
def toys():
    return facelib.load_toyfaces(1000, 3)


# --- which way --------------------------------------------------------------------------------------------


def test_rivals_need_more_than_a_few_pictures_to_differ():
    def ask(sad, surprise):
        predictions = np.repeat([FEAR, SAD, SURPRISE, SAD], [5, sad, surprise, 100])
        labels = np.repeat([FEAR, EMOTIONS.index("sad")], [5 + sad + surprise, 100])
        return confusion.rivals(labels, predictions)

    few, many = ask(6, 4), ask(120, 80)
    assert few["n"] == 15 and (few["sad"], few["surprise"]) == (6, 4), "other labels do not count"
    assert few["share"] == many["share"] == 0.6
    assert few["p"] > 0.05 > many["p"] and few["interval"][0] < 0.5 < many["interval"][0]
    assert np.isnan(ask(0, 0)["share"])


# --- where the classes meet -------------------------------------------------------------------------------


def test_neighbours_of_separate_and_of_mixed_clusters():
    rng = np.random.default_rng(0)
    centres = 20 * np.eye(4)
    labels = np.repeat([FEAR, SURPRISE, SAD], [60, 60, 80])
    # fear and surprise share a cluster, sad has one of its own
    features = centres[np.where(labels == SAD, 1, 0)] + rng.normal(size=(200, 4))
    found = confusion.neighbours(features, labels, k=10)
    assert found["share"][SAD, SAD] == 1
    assert found["share"][FEAR, SAD] == 0
    assert found["share"][FEAR, SURPRISE] == pytest.approx(0.5, abs=0.06)
    assert found["expected"][FEAR, SURPRISE] == 60 / 199 and found["expected"][FEAR, FEAR] == 59 / 199
    assert not (found["index"] == np.arange(200)[:, None]).any()
    assert np.isnan(found["share"][EMOTIONS.index("happy")]).all()


def test_auc_is_that_of_scikit_learn_and_its_interval_covers():
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(1)
    areas, truth = [], 0.7602  # of two normal distributions one standard deviation apart
    for _ in range(200):
        positive = np.repeat([True, False], [40, 60])
        scores = np.round(rng.normal(size=100) + positive, 1)  # with ties
        areas.append(confusion.auc(scores, positive))
        assert areas[-1][0] == pytest.approx(roc_auc_score(positive, scores))
    covered = np.mean([low <= truth <= high for _, low, high in areas])
    assert 0.90 <= covered <= 0.99
    assert np.isnan(confusion.auc(np.zeros(3), np.zeros(3, bool))).all()


def test_separability_of_separate_and_of_identical_clouds():
    rng = np.random.default_rng(2)
    labels = np.repeat([FEAR, SURPRISE, SAD, EMOTIONS.index("disgust")], [80, 80, 80, 5])
    features = rng.normal(size=(245, 30))
    features[labels == SAD, :3] += 3
    found = confusion.separability(features, labels)
    area = found["area"]
    assert area[FEAR, SAD] > 0.98 and area[SURPRISE, SAD] == area[SAD, SURPRISE] > 0.98
    # Scored by a probe that has seen them, thirty features would seem to separate what is one cloud.
    assert 0.35 < area[FEAR, SURPRISE] < 0.65
    assert found["low"][FEAR, SURPRISE] < 0.5 < found["high"][FEAR, SURPRISE]
    assert np.isnan(area[EMOTIONS.index("disgust")]).all(), "five pictures are too few to tell"
    one = confusion.separability(features, labels, [("fear", "sad")])["area"]
    assert one[FEAR, SAD] == area[FEAR, SAD] and np.isfinite(one).sum() == 2


# --- what part of a face decides --------------------------------------------------------------------------


def test_occlusion_finds_what_decides():
    images = confusion.draw([PROTOTYPES["fear"]], range(6))[0]
    images = np.clip(images, 60, 255)
    images[:, 33:46, 10:38] = 240  # a bright mouth, which speaks for fear
    maps = confusion.occlusion(mouth_network, images)
    assert maps.shape == (6, 11, 11)
    pixels = confusion.to_pixels(maps)
    mouth, brows_and_eyes = pixels[:, 33:46, 10:38].mean((1, 2)), pixels[:, 9:25, 8:40].mean((1, 2))
    assert (mouth > 0.05).all(), "hiding what speaks for fear lowers the score"
    assert abs(brows_and_eyes).max() < 0.2 * mouth.min()
    row, column = np.unravel_index(pixels.mean(0).argmax(), (48, 48))
    assert 33 <= row < 46 and 10 <= column < 38
    images[:, 33:46, 10:38] = 0  # now it speaks against
    pixels = confusion.to_pixels(confusion.occlusion(mouth_network, images))
    assert (pixels[:, 33:46, 10:38].mean((1, 2)) < -0.05).all()


def test_the_persons_are_those_of_the_drawn_faces():
    drawn = confusion.draw([PROTOTYPES["fear"], {}], [7, 3])
    assert (drawn[0, 1] == synthetic_faces.draw_face("fear", 3, seed=None)).all()
    assert (drawn[1, 0] == synthetic_faces.draw_face({}, 7, seed=None)).all()


def test_unit_shares_add_up_and_name_the_unit_that_counts():
    persons = range(5)
    found = confusion.unit_shares(mouth_network, persons)
    differ = {u for u in PROTOTYPES["fear"] if PROTOTYPES["fear"][u] != PROTOTYPES["surprise"].get(u, 0)}
    assert set(found) == differ
    ends = confusion.draw([PROTOTYPES["surprise"], PROTOTYPES["fear"]], persons)
    scores = [confusion.fear_over_surprise(mouth_network(emotion_inputs(each))) for each in ends]
    assert sum(row["each"] for row in found.values()) == pytest.approx(scores[1] - scores[0], abs=1e-5)
    strongest = max(found, key=lambda unit: abs(found[unit]["value"]))
    assert strongest in ("AU20", "AU26")
    assert abs(found["AU2"]["value"]) < 1e-4, "the brows are not seen by this network"


# --- whose fault ------------------------------------------------------------------------------------------


def test_opinions_are_of_the_same_rows(toys):
    rows, said = confusion.opinions(toys)
    test, truth = toys.private_test, toys.extra["PrivateTest"]
    assert list(said) == ["label", "majority", "truth"]
    assert (said["label"] == test.labels[rows]).all() and (said["truth"] == truth.emotion[rows]).all()
    assert (said["truth"] >= 0).all() and 0.5 < len(rows) / len(test) < 1
    # The voters see the picture, so they are nearer to the truth than the label is.
    assert (said["majority"] == said["truth"]).mean() > (said["label"] == said["truth"]).mean()


def test_people_are_held_against_the_others():
    votes = np.zeros((2, 10), np.uint8)
    fear, surprise = FERPLUS.index("fear"), FERPLUS.index("surprise")
    votes[0, fear], votes[0, surprise] = 7, 3  # the others say fear, whoever is taken out
    votes[1, fear], votes[1, surprise] = 5, 5  # who is taken out leaves a majority of the other side
    counts = confusion.people(votes)["counts"]
    assert counts[FEAR, FEAR] == 7 and counts[FEAR, SURPRISE] == 3 + 5 and counts[SURPRISE, FEAR] == 5
    assert counts.sum() == 20
    votes[1, fear], votes[1, surprise] = 6, 5  # without one of the six it is a tie, which is left out
    assert confusion.people(votes)["counts"].tolist()[FEAR][FEAR] == 7


def test_verdicts_count_the_errors_only():
    labels = np.array([FEAR] * 6 + [SAD])
    predictions = np.array([SURPRISE] * 4 + [FEAR, SAD] + [SURPRISE])
    opinion = np.array([SURPRISE, SURPRISE, FEAR, SAD, SURPRISE, SURPRISE, SURPRISE])
    found = confusion.verdicts(labels, predictions, opinion)
    assert [found[key] for key in ("n", "with_answer", "with_label", "neither")] == [4, 2, 1, 1]
    assert found["share"] == 0.5 and found["interval"][0] < 0.5 < found["interval"][1]
    assert confusion.verdicts(labels, predictions, opinion, "happy")["n"] == 0


# --- what a bias buys -------------------------------------------------------------------------------------


def test_the_bias_is_chosen_on_one_split_and_measured_on_another(toys):
    public, private = (
        noisy_probabilities(s.labels, i) for i, s in enumerate((toys.public_test, toys.private_test))
    )
    found = confusion.tuned(toys, public, private)
    assert len(found["bias"]) == 7 and abs(found["bias"].sum()) < 1e-9
    assert found["before"]["accuracy"] == (private.argmax(1) == toys.private_test.labels).mean()
    shifted = (np.log(private) + found["bias"]).argmax(1)
    assert found["after"]["accuracy"] == (shifted == toys.private_test.labels).mean()
    again = confusion.tuned(toys, public, noisy_probabilities(toys.private_test.labels, 9))
    assert (again["bias"] == found["bias"]).all(), "PrivateTest has no say"


# --- everything -------------------------------------------------------------------------------------------


def test_unseen_pictures_stand_nowhere_else(toys):
    images, labels = confusion.unseen(toys)
    known = {image.tobytes() for image in toys.train.images}
    mine = [image.tobytes() for image in images]
    assert not known & set(mine) and len(set(mine)) == len(mine) == len(labels)
    assert 0.8 < len(images) / (len(toys.public_test) + len(toys.private_test)) < 1


class Fake:
    """A model of which ``predictor`` and ``body`` need this much."""

    def predict(self, inputs, batch_size, verbose):
        return mouth_network(inputs)

    def get_weights(self):
        return [np.arange(3.0)]


def test_a_record_holds_all(toys, monkeypatch, home):
    flat = type(
        "Flat", (), {"predict": lambda self, x, batch_size, verbose: x[:, ::6, ::6, 0].reshape(len(x), -1)}
    )
    monkeypatch.setattr(confusion, "body", lambda model: flat())
    path = confusion.record(toys, Fake(), "made-up")
    assert path == paths.metrics() / "03-confusion-toy.json"
    file = json.loads(path.read_text())
    assert file["data"] == toys.digest and file["split"] == "PrivateTest" and file["seed"] == 0
    assert file["n"] == len(toys.private_test) and len(file["weights"]) == 16
    assert file["command"] == "facelib experiment confusion --dataset toy --model made-up"
    found = file["metrics"]
    assert np.array(found["confusion"]["counts"]).sum() == file["n"]
    assert np.array(found["occlusion"]["fear"]).shape == (11, 11)


def test_matched_faces_differ_in_the_experts_units_alone(monkeypatch):
    given = []
    monkeypatch.setattr(confusion.synthetic_drawing, "render", lambda who, shots, units: given.append(units))
    labels = confusion.matched_faces(600, 1)[1]
    units = dict(zip(confusion.synthetic_drawing.UNITS, given[0].T, strict=True))
    fear = labels == FEAR
    assert set(labels) == {FEAR, SURPRISE} and 0.4 < fear.mean() < 0.6
    for unit in ("AU1", "AU2", "AU5", "AU26"):
        assert abs(units[unit][fear].mean() - units[unit][~fear].mean()) < 0.05
    brows, lips = (units[unit] > 0 for unit in ("AU4", "AU20"))
    assert not (brows | lips)[~fear].any() and (brows | lips)[fear].all()
    assert all(0.2 < each[fear].mean() < 0.5 for each in (brows & lips, brows & ~lips, lips & ~brows))


def test_a_way_begins_at_one_expression_and_moves_the_named_units():
    assert confusion.way(["AU4", "AU26"], 0) == PROTOTYPES["surprise"] | {"AU4": 0}
    half = confusion.way(["AU4", "AU26"], 0.5)
    assert half["AU4"] == 0.25 and half["AU26"] == pytest.approx(0.725) and half["AU1"] == 1


def test_suspects_and_followed():
    """60 of 200 labelled fear are read as surprise: they show it, or people read them so too, or neither."""

    def result(label, majority, person):
        def shares(hits):
            marks = np.repeat([FEAR, SAD, SURPRISE], 200)
            read = marks.copy()
            read[:hits] = SURPRISE
            return confusion.shares(marks, read)

        people = np.zeros((7, 7))
        people[FEAR, SURPRISE] = person
        relabelled = {"majority": {"area": np.full((7, 7), 0.9)}}
        views = {"label": shares(label), "majority": shares(majority)}
        return {"views": views, "people": {"share": people}, "relabelled": relabelled}

    for numbers, blame in {
        (60, 6, 0.03): "the labels", (60, 6, 0.0): "the labels and the network",
        (60, 60, 0.28): "the faces", (60, 60, 0.1): "the network",
    }.items():  # fmt: skip
        assert confusion.suspects(result(*numbers))["fear → surprise"]["verdict"] == blame
    table = confusion.followed(
        {"a": result(60, 6, 0.1)["views"]["label"], "b": {"share": np.full((7, 7), 0.5)}}
    )
    assert table.loc["fear → surprise"].tolist() == ["30%  [24% to 37%]", "50%"]


@pytest.mark.parametrize("task, function", [("confusion", "record"), ("votes", "beyond_votes")])
def test_the_commands_that_train_nothing_need_no_more_than_their_name(
    task, function, home, monkeypatch, capsys
):
    """They were refused once, for --jobs that nobody had asked for."""
    from facelib.cli import app
    from facelib.study import evaluate_networks

    monkeypatch.setattr(
        confusion if task == "confusion" else evaluate_networks, function, lambda *_, **__: "done"
    )
    monkeypatch.setattr("facelib.models.registry.load_emotion_model", lambda name: None)
    assert app.main(["experiment", task, "--dataset", "toy"]) == 0
    assert capsys.readouterr().out == "done\n"
    assert app.main(["experiment", task, "--dataset", "toy", "--jobs", "2"]) == 1
