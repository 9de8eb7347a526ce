"""The study: a method does what it says, nothing is run twice, and a killed study loses one run at most."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from facelib.cli import app
from facelib.data import duplicates
from facelib.data.synthetic_faces import load_toyfaces
from facelib.emotions import EMOTIONS, Split
from facelib.errors import InputError
from facelib.study import experiments, imbalance_methods, metrics
from helpers import traps, wait_for


@pytest.fixture(scope="module")
def synthetic():
    return load_toyfaces()  # what the commands take


@pytest.fixture(scope="module")
def data(synthetic):
    return experiments._few(synthetic)


METHODS = {each.name: each for each in (*imbalance_methods.IMBALANCE, *imbalance_methods.GENERATED)}


def targets_of(name, data, monkeypatch):
    """What ``imbalance_methods.train`` would hand to the training loop for this method."""
    given = {}

    def fit(build, images, targets, recipe, folder, size, loss, **options):
        given.update(images=images, targets=targets, loss=loss)

    monkeypatch.setattr(imbalance_methods, "fit", fit)
    recipe = imbalance_methods.training_config(len(data.train), 1, 32, 0)
    imbalance_methods.train(METHODS[name], data, recipe, None, imbalance_methods.silent)
    return given


def test_every_method_hands_over_what_its_loss_takes(data, monkeypatch):
    logits = np.random.default_rng(0).normal(size=(16, 7)).astype(np.float32)
    for name, method in METHODS.items():
        if method.after or method.sampler.startswith("generated"):
            continue
        given = targets_of(name, data, monkeypatch)
        targets = given["targets"](1.0) if method.deferred else given["targets"]
        assert len(given["images"]) == len(targets) and targets.shape[1] == 7, name
        assert np.isfinite(np.asarray(given["loss"](targets[:16].astype(np.float32), logits))).all(), name


def test_weights_reach_the_targets(data, monkeypatch):
    targets = targets_of("weights-inverse", data, monkeypatch)["targets"]
    assert (targets.argmax(1) == data.train.labels).all()
    sums = [targets[data.train.labels == i].sum() for i in range(7)]
    np.testing.assert_allclose(sums, len(data.train) / 7, rtol=1e-5)


def test_votes_are_half_of_the_soft_labels(data, monkeypatch):
    targets = targets_of("votes", data, monkeypatch)["targets"]
    np.testing.assert_allclose(targets.sum(1), 1, rtol=1e-5)
    assert (targets[np.arange(len(targets)), data.train.labels] >= 0.5 - 1e-6).all()
    assert ((targets > 0.05).sum(1) > 1).mean() > 0.2


def test_deferred_weights_come_late(data, monkeypatch):
    targets = targets_of("ldam-drw", data, monkeypatch)["targets"]
    assert np.array_equal(targets(0.79), np.eye(7)[data.train.labels])
    rare = data.train.labels == EMOTIONS.index("disgust")
    assert targets(0.8)[rare].max() > targets(0.8)[~rare].max()


def test_samplers_change_what_is_seen(data, monkeypatch):
    assert len(targets_of("over", data, monkeypatch)["images"]) > len(data.train)
    assert len(targets_of("under", data, monkeypatch)["images"]) < len(data.train)


def test_only_disgust_and_fear_are_topped_up(data, monkeypatch):
    """By whatever sampler; what a generator draws comes last, without votes, and what was there stays."""

    class Generator:
        def sample(self, emotion, n, seed):
            return np.full((n, 48, 48), 50 + EMOTIONS.index(emotion), np.uint8)

    monkeypatch.setattr("facelib.models.generator.load_generator", Generator)
    before = np.bincount(data.train.labels, minlength=7)
    wanted = [before.max() if name in imbalance_methods.RARE else n for name, n in zip(EMOTIONS, before)]
    for name in ("over-rare", "smote-rare", "generated"):
        given = targets_of(name, data, monkeypatch)
        labels = given["targets"].argmax(1)
        assert np.bincount(labels, minlength=7).tolist() == wanted, name
        assert np.array_equal(given["images"][: len(data.train)], data.train.images)
    new = given["images"][len(data.train) :]
    assert np.array_equal(new[:, 0, 0], 50 + labels[len(data.train) :])
    alone = targets_of("generated-only", data, monkeypatch)
    assert np.bincount(alone["targets"].argmax(1)).tolist() == [len(data.train) // 28] * 7
    assert np.array_equal(alone["images"][:, 0, 0], 50 + alone["targets"].argmax(1))
    votes = np.ones((len(data.train), 10), np.uint8)
    both = imbalance_methods.with_generated(Split(data.train.images, data.train.labels, votes), ("fear",), 0)
    assert len(both.votes) == len(both) and both.votes.sum() == votes.sum()


def test_cleaning_leaves_each_picture_once_and_none_of_a_test(data):
    kept = duplicates.cleaned(data).train
    left, before = ({image.tobytes() for image in split.images} for split in (kept, data.train))
    tests = {i.tobytes() for split in (data.public_test, data.private_test) for i in split.images}
    assert left == before - tests and before & tests
    assert len(left) == len(kept) == len(kept.votes) and len(before) < len(data.train)


REFUSED = {
    f"confusion {option}": "is for imbalance and two-stage and generated, not for confusion"
    for option in ("--seeds 2", "-j 2", "--fast", "--arms over", "--output x", "--epochs 1")
} | {"imbalance --model tiny": "--model is for confusion and votes, not for imbalance"}


@pytest.mark.parametrize("words", REFUSED)
def test_options_of_another_study_are_refused(words, capsys):
    assert app.main(["experiment", *words.split()]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.endswith(REFUSED[words])


@pytest.mark.filterwarnings("ignore:no PublicTest")
def test_what_a_study_needs_is_said_before_the_first_epoch(synthetic, tmp_path):
    empty = replace(synthetic, private_test=synthetic.private_test[:0])
    with pytest.raises(InputError, match="has no rows in PrivateTest, which is needed"):
        experiments.record("imbalance", empty, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore:no PublicTest")
def test_a_study_without_public_test_and_with_damaged_files(synthetic, tmp_path, monkeypatch):
    begun, data = [], replace(synthetic, public_test=synthetic.public_test[:0])

    def run(method, data, *_):
        begun.append([len(split) for _, split in data])
        return {"public": np.full((begun[0][1], 7), 1 / 7), "private": np.full((begun[0][2], 7), 1 / 7)}

    monkeypatch.setattr(imbalance_methods, "run", run)
    options = {"methods": ["focal"], "seeds": 1, "progress": lambda line: None}
    found = experiments.run("imbalance", data, tmp_path, "x", **options)
    assert begun[0][1] > 100 and begun[0][0] == len(data.train) - begun[0][1]
    assert set(found) == {"none", "focal"}
    result, record = (tmp_path / "imbalance-x" / "focal-0" / name for name in ("result.npz", "run.json"))
    half = result.read_bytes()[:-50]
    for file, content in ((result, half), (result, b""), (record, b"{"), (record, b"[" * 99999)):
        whole = file.read_bytes()
        file.write_bytes(content)
        with pytest.raises(InputError, match=rf"{file.name}: .*damaged.*delete") as caught:
            experiments.run("imbalance", data, tmp_path, "x", **options)
        assert "\n" not in str(caught.value)
        file.write_bytes(whole)
    np.savez(result, private=np.full((9, 7), 1 / 7), public=np.full((9, 7), 1 / 7))
    with pytest.raises(InputError, match="no probabilities of the private split"):
        experiments.run("imbalance", data, tmp_path, "x", **options)


def facelib(*words: str, **options) -> subprocess.Popen:
    """A command in a process of its own: training wants TensorFlow's faster kernels, chosen at its import."""
    return subprocess.Popen([sys.executable, "-m", "facelib", *words], **options)


@pytest.mark.slow
def test_the_whole_study_runs_and_is_not_run_twice(home, synthetic, data):
    """Of the methods, those that train, start or end in a way of their own. No process, and there are more
    than one, imports from the working directory."""
    arms, some = ["smote-features", "prior", "ldam-drw", "crt", "bias"], ["rare", "rare-last", "gradual"]
    options = ["--dataset", "toy", "--seeds", "1", "--fast"]
    said, trace = "", traps(home)
    for words in (["imbalance", "--jobs", "2", "--arms", *arms], ["two-stage", "--arms", *some]):
        process = facelib("experiment", *words, *options, cwd=home, stdout=subprocess.PIPE, text=True)
        said += process.communicate(timeout=600)[0]
        assert process.returncode == 0 and not trace.exists()
    ran = re.findall(r"^(\S+), seed 0(?:$|: done, )", said, re.M)
    # The second study finds stage one there.
    assert sorted(ran) == sorted(["none", *arms, *some])
    assert "LDAM, deferred weights  " in said
    rows = metrics.read_metrics("04-imbalance-toy-fast")["metrics"]["rows"]
    assert [row["name"] for row in rows] == ["none", *arms]
    for row in rows:
        assert set(row) >= {"all", "unseen", "majority", "against_none", "title", "seeds"}
        assert 0 <= row["all"]["accuracy"] <= 1 and row["unseen"]["n"] < row["all"]["n"]
    assert rows[0]["against_none"] == {} and "fear" in rows[1]["against_none"]["all"]["recall_p_holm"]
    results = {p.parent.name: np.load(p)["private"] for p in home.rglob("imbalance*/*/result.npz")}
    assert len(results) == len(rows)
    for name, found in results.items():
        np.testing.assert_allclose(found.sum(1), 1, atol=1e-3, err_msg=name)
    # What is done afterwards starts from the network of "none" and changes it.
    divided = results["none-0"] / np.maximum(np.bincount(data.train.labels, minlength=7), 1)
    np.testing.assert_allclose(results["prior-0"], divided / divided.sum(1, keepdims=True), rtol=1e-4)
    assert not np.allclose(results["crt-0"], results["none-0"], atol=1e-3)

    rows = metrics.read_metrics("05-two-stage-toy-fast")["metrics"]["rows"]
    assert [row["name"] for row in rows] == ["none", *some]
    curve = np.array(rows[1]["curve"], float)
    assert curve.shape == (13, 7)
    assert curve[-1][[1, 2]].sum() >= curve[0][[1, 2]].sum()  # disgust and fear, which are all that it sees

    begun = []
    again = {"seeds": 1, "fast": True, "progress": begun.append}
    experiments.record("imbalance", synthetic, home / "runs", methods=arms, **again)
    assert begun == []  # all runs were there
    with pytest.raises(InputError, match="none-0: a run on other data, of another budget"):
        experiments.record("imbalance", synthetic, home / "runs", methods=arms, epochs=2, **again)
    with pytest.raises(InputError, match="no such arm: magic; there are none, weights-sqrt"):
        experiments.record("imbalance", synthetic, home / "runs", methods=["magic"], **again)


@pytest.mark.slow
def test_a_study_that_is_killed_goes_on(home):
    """kill -9 while the second arm is learning: the first stays, the second goes on at its last epoch."""
    command = "experiment imbalance --dataset toy --fast --seeds 1 --epochs 2 --arms focal".split()
    process = facelib(*command)
    runs = home / "runs" / "imbalance-toy-fast"
    log = runs / "focal-0" / "log.jsonl"
    try:
        wait_for(lambda: (log.exists() and log.read_text()) or process.poll() is not None)
    finally:
        process.kill()
        process.wait()
    first = (runs / "none-0" / "result.npz").stat().st_mtime_ns
    assert not (runs / "focal-0" / "result.npz").exists()
    assert facelib(*command).wait(timeout=600) == 0
    assert (runs / "none-0" / "result.npz").stat().st_mtime_ns == first
    with np.load(runs / "focal-0" / "result.npz") as result:
        assert result["private"].shape[1] == 7
    assert [json.loads(line)["epoch"] for line in log.read_text().splitlines()] == [1, 2]


def test_fear_is_pushed_in_the_study_and_methods_that_count_are_known():
    methods = {each.name: each for each in imbalance_methods.IMBALANCE}
    assert methods["over-rare"].classes == ("disgust", "fear") and methods["over-rare"].sampler == "over"
    assert methods["over-rare"] in imbalance_methods.GENERATED  # one run serves both studies
    others = {name for name, each in methods.items() if not each.treats_rarity}
    assert others == {"none", "focal", "votes", "clean"}


def test_predictions_and_best_methods_of_a_record():
    def row(name, disgust, fear, accuracy, majority, sure=True):
        change = {"accuracy": accuracy, "macro_f1": 0.0, "accuracy_p_holm": 0.01, "macro_f1_p_holm": 1.0}
        change |= {key: (-0.1, 0.1) for key in ("accuracy_interval", "macro_f1_interval")}
        change |= {"recall": {"disgust": disgust, "fear": fear}}
        change |= {"recall_p_holm": dict.fromkeys(EMOTIONS, 0.01 if sure else 0.9)}
        change |= {"recall_interval": dict.fromkeys(EMOTIONS, (0, 0.1))}
        level = {"macro_f1": majority, "macro_f1_interval": (-0.1, 0.6), "macro_f1_runs": [majority]}
        level |= {"recall": {"disgust": 0.3 + disgust}, "recall_interval": {"disgust": (0, 1)}}
        level |= {"recall_runs": {"disgust": [0.3 + disgust]}}
        against = {} if name == "none" else {"all": change}
        return {"name": name, "title": name, "all": level, "majority": level, "against_none": against}

    rows = [row("none", 0, 0, 0, 0.4), row("over", 0.5, 0.1, -0.1, 0.45), row("crt", 0.3, -0.1, -0.1, 0.41)]
    rows += [row("smote", 0.2, 0.1, -0.1, 0.3, sure=False), row("votes", 0, 0, 0.1, 0.5)]
    rows += [row("over-rare", 1, 1, 1, 1)]
    record = {"metrics": {"rows": rows}}
    judged = experiments.predictions(record)
    assert [true for _, true, _ in judged] == [True, False, True, True]
    evidence = [each for *_, each in judged]
    assert evidence[0].startswith("2 of 3") and "soft labels 50.0%" in evidence[3]
    assert "(over) 45.0%" in evidence[3]
    assert experiments.significant(rows, "fear") == ["over", "over-rare"]
    assert experiments.significant(rows, "fear", -1) == ["crt"]
    assert experiments.find(rows[0], "macro_f1")[1].tolist() == [0, 0.6]  # an older record's, cut at 0
    best = experiments.best_methods({"metrics": {"rows": rows[:3]}}, {"disgust": "recall of disgust"})
    assert best.loc["recall of disgust"].tolist()[:2] == ["over", "80.0%"]
    assert best.loc["recall of disgust", "accuracy, points"] == "-10.0"


def test_second_stages_are_judged_on_a_record():
    def row(name, accuracy, balance, sure=True, others=0.0):
        recall = {e: 0.5 if e in imbalance_methods.RARE else others for e in EMOTIONS}
        change = {"recall": recall, "recall_p_holm": dict.fromkeys(EMOTIONS, 0.01)}
        change |= {"recall_interval": dict.fromkeys(EMOTIONS, (0, 0))}
        for metric, value in (("accuracy", accuracy), ("balanced_accuracy", balance)):
            change |= {metric: value, f"{metric}_interval": (0, 0), f"{metric}_p_holm": 0.01 if sure else 0.9}
        against = {} if name == "none" else {"all": change}
        return {"name": name, "title": name, "against_none": against, "against_longer": against}

    rows = [row("none", 0, 0), row("longer", 0.1, 0.1, sure=False), row("rare", -0.4, -0.3, others=-0.1)]
    rows += [row("rare-slow", -0.2, -0.1), row("rehearsal", -0.1, 0.02), row("balanced", -0.01, 0.05)]
    rows += [row("balanced-last", 0, 0.06, sure=False), row("gradual", 0, 0)]
    record = {"metrics": {"rows": rows}}
    judged = experiments.stage_predictions(record)
    assert [true for _, true, _ in judged] == [True, True, False, True]  # P3: the best may be chance
    assert "5 of 5 others fall" in judged[0][2] and judged[2][2].startswith("balanced-last")
    assert [each["name"] for each in experiments.working_stages(record)] == ["rehearsal", "balanced"]
    rows[2]["against_none"]["all"]["recall"]["sad"] = 0.1  # one class that gains
    rows[1]["against_none"]["all"]["accuracy_p_holm"] = 0.01
    rows[3]["against_none"]["all"]["accuracy"] = -0.5
    assert not any(true for _, true, _ in experiments.stage_predictions(record))


def test_the_small_network_of_the_notebooks():
    images = np.zeros((2, 48, 48), np.uint8)
    images[0, :2, :2] = [[0, 2], [4, 5]]
    small = imbalance_methods.halve(images)
    assert small.shape == (2, 24, 24) and small[0, 0, 0] == 2 and small.sum() == 2
    found = np.asarray(imbalance_methods.small_network()(small[..., None] / np.float32(255)))
    assert found.shape == (2, 7) and np.allclose(found.sum(1), 1, atol=1e-5)
