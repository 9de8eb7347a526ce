"""Calibration against searches and simulated networks of known truth."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import log_loss

from facelib.study.metrics import (
    classification_metrics,
    expected_calibration_error,
    reliability,
    wilson,
)
from facelib.training.calibration import apply_calibration, calibrate, tune_bias

SHARES = (0.14, 0.02, 0.14, 0.25, 0.17, 0.11, 0.17)


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def overconfident(n, rng, temperature=2.5, bias=0.0):
    """labels drawn from honest probabilities, and what a network says that ``calibrate`` has to undo."""
    logits = rng.normal(size=(n, 7)) * 1.5 + np.log(SHARES)
    honest = softmax(logits)
    labels = (honest.cumsum(1) > rng.random((n, 1))).argmax(1)
    return labels, softmax((logits - bias) * temperature)


def test_temperature_is_recovered():
    labels, p = overconfident(20_000, np.random.default_rng(20))
    temperature, bias = calibrate(labels, p, "temperature")
    assert temperature == pytest.approx(2.5, rel=0.05) and (bias == 0).all()
    better = apply_calibration(p, temperature, bias)
    assert (better.argmax(1) == p.argmax(1)).all() and better.sum(1) == pytest.approx(1)
    assert expected_calibration_error(labels, p) > 0.15 > 0.02 > expected_calibration_error(labels, better)


def test_bias_is_recovered_and_helps_on_other_pictures():
    wanted = np.array([0.5, 1.0, 0.8, -0.7, -0.4, -0.6, -0.6])
    rng = np.random.default_rng(21)
    labels, p = overconfident(20_000, rng, bias=wanted)
    temperature, bias = calibrate(labels, p)
    assert temperature == pytest.approx(2.5, rel=0.05) and bias == pytest.approx(wanted, abs=0.12)
    assert bias.sum() == pytest.approx(0, abs=1e-9)
    labels, p = overconfident(5000, rng, bias=wanted)
    plain, better = calibrate(labels, p, "temperature"), apply_calibration(p, temperature, bias)
    assert log_loss(labels, better) < log_loss(labels, apply_calibration(p, *plain)) < log_loss(labels, p)
    assert expected_calibration_error(labels, better) < 0.03


def test_calibration_is_the_least_loss_of_a_search_without_gradient():
    labels, p = overconfident(300, np.random.default_rng(22), bias=0.3 * np.arange(7))
    temperature, bias = calibrate(labels, p)
    reached = log_loss(labels, apply_calibration(p, temperature, bias), labels=range(7))
    for i in range(8):  # no step in any direction is better
        for step in (-0.02, 0.02):
            moved = np.append(temperature, bias) + step * np.eye(8)[i]
            assert log_loss(labels, apply_calibration(p, moved[0], moved[1:]), labels=range(7)) > reached


def test_calibration_survives_certainty_and_absent_classes():
    labels = np.array([0, 2, 3, 3])
    temperature, bias = calibrate(labels, np.eye(7)[labels])
    assert np.isfinite(temperature) and np.isfinite(bias).all()
    assert (apply_calibration(np.eye(7)[labels], temperature, bias).argmax(1) == labels).all()


def test_tuned_bias_helps_on_other_pictures():
    # A network that all but forgets disgust and fear; disgust is too rare to be sure of its cure.
    rng, wrong = np.random.default_rng(23), np.array([0, 1.2, 1.2, 0, 0, 0, 0])

    def draw(n):
        labels = rng.choice(7, n, p=SHARES)
        return labels, softmax(rng.normal(size=(n, 7)) + 2.0 * np.eye(7)[labels] - wrong)

    labels, p = draw(2000)
    bias, reached = tune_bias(labels, p)
    assert bias.sum() == pytest.approx(0, abs=1e-9) and bias[2] > np.delete(bias, 2).max() + 0.5
    answers = apply_calibration(p, 1, bias)
    assert classification_metrics(labels, answers, 0)["macro_f1"] == pytest.approx(reached)
    labels, p = draw(30_000)
    before, after = (classification_metrics(labels, q, 0) for q in (p, apply_calibration(p, 1, bias)))
    assert (
        after["macro_f1"] > before["macro_f1"] + 0.03 and after["recall"]["fear"] > before["recall"]["fear"]
    )


def test_tuned_bias_of_one_class_is_that_of_a_full_search():
    rng = np.random.default_rng(24)
    labels = rng.choice((2, 4), 500)
    p = softmax(np.where(np.isin(range(7), (2, 4)), rng.normal(size=(500, 7)), -30) + np.eye(7)[labels])
    p = softmax(np.log(p) + np.eye(7)[4])
    for metric in ("accuracy", "balanced_accuracy", "macro_f1"):
        best = max(
            classification_metrics(labels, apply_calibration(p, 1, shift * np.eye(7)[2]), 0)[metric]
            for shift in np.arange(-30, 31) / 10
        )
        assert tune_bias(labels, p, metric, strength=0, resamples=0)[1] == pytest.approx(best, abs=0.004)


def test_what_holds_a_tuned_bias_back():
    rng = np.random.default_rng(25)
    labels = rng.choice(7, 600, p=SHARES)
    p = softmax(rng.normal(size=(600, 7)) + 1.5 * np.eye(7)[labels])  # nothing to cure but the proportions
    free, best = tune_bias(labels, p, strength=0, resamples=0)
    bagged, reached = tune_bias(labels, p, strength=0)
    held, least = tune_bias(labels, p, strength=1)
    assert np.ptp(free) <= 3 and np.abs(held).max() < 0.1 < np.abs(bagged).max()
    assert best > reached > least
    cheap, dear = (tune_bias(labels, p, "accuracy", strength=s, resamples=0)[0] for s in (0, 0.01))
    assert abs(dear[1]) < abs(cheap[1])  # disgust pays most
    only = np.array([3, 3, 4, 4])
    assert np.isfinite(tune_bias(only, np.eye(7)[only])[0]).all()


def test_reliability_is_a_plain_loop():
    labels, p = overconfident(800, np.random.default_rng(26))
    p[:3] = np.eye(7)[:3]  # certain: the last bin has its upper edge
    found = reliability(labels, p, bins=10)
    confidence, right = p.max(1), p.argmax(1) == labels
    assert found["count"].sum() == 800 and found["count"][0] == 0 and np.isnan(found["accuracy"][0])
    for i in range(1, 10):
        low, high = found["edges"][i], found["edges"][i + 1]
        rows = (confidence >= low) & ((confidence < high) | (i == 9))
        assert found["count"][i] == rows.sum()
        if rows.any():
            assert found["confidence"][i] == pytest.approx(confidence[rows].mean())
            assert found["accuracy"][i] == pytest.approx(right[rows].mean())
            assert found["accuracy_interval"][:, i] == pytest.approx(wilson(right[rows].sum(), rows.sum()))
    gaps = np.abs(found["accuracy"] - found["confidence"]) * found["count"] / 800
    assert np.nansum(gaps) == pytest.approx(expected_calibration_error(labels, p, bins=10))
