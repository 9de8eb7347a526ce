"""The prior: shapes, what it is shown, and that sampling keeps what it is told to keep."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

from facelib.backend import keras
from facelib.models import masked_prior

CODEBOOKS = np.random.default_rng(0).normal(size=(3, 8, 5)).astype(np.float32)


@pytest.fixture(scope="module")
def model():
    return masked_prior.prior(width=16, blocks=2, heads=2, latent=5, depth=3, codes=8)


def test_sums_by_hand():
    found = masked_prior.sums_of(np.array([[2, 0, 7]]), CODEBOOKS)[0]
    assert found.shape == (4, 5) and (found[0] == 0).all()
    np.testing.assert_allclose(found[2], CODEBOOKS[0, 2] + CODEBOOKS[1, 0], rtol=1e-6)
    np.testing.assert_allclose(found[3], found[2] + CODEBOOKS[2, 7], rtol=1e-6)


def test_masked_batches_hide_what_they_ask_for():
    rng = np.random.default_rng(0)
    codes = rng.integers(8, size=(50, 2, 36, 3))
    wanted = np.eye(7)[rng.integers(7, size=50)]
    chances = np.full(50, 1 / 50)
    draw = masked_prior.masked_batches(codes, wanted, chances, CODEBOOKS, without=0.25)
    (vectors, known, asked, places, sums), targets = draw(np.arange(2000), rng)
    assert vectors.shape == (2000, 36, 5) and sums.shape == (2000, 12, 3, 5)
    there = np.take_along_axis(known, places, 1)
    assert ((targets >= 0).all(-1) == (there == 0)).all() and ((targets == -1).all(-1) == (there == 1)).all()
    assert ((there == 0).sum(1) == np.minimum((known == 0).sum(1), 12)).all()  # hidden ones first
    assert all(len(set(row)) == 12 for row in places.tolist())
    assert np.ptp(np.bincount(places.ravel(), minlength=36)) < 200  # of some 670, no place is preferred
    assert abs((known == 0).mean() - 2 / np.pi) < 0.03 and (known == 0).any(1).all()
    assert abs((asked.sum(1) == 0).mean() - 0.25) < 0.04
    named = targets[0] >= 0
    hidden, at = targets[0][named[:, 0]].astype(int), places[0][named[:, 0]]
    np.testing.assert_allclose(masked_prior.sums_of(hidden, CODEBOOKS)[:, -1], vectors[0][at], rtol=1e-5)
    np.testing.assert_allclose(
        masked_prior.sums_of(hidden, CODEBOOKS)[:, :-1], sums[0][named[:, 0]], rtol=1e-5
    )


def test_hidden_vectors_and_later_codes_are_not_seen(model):
    """What the prior shall guess must not reach it: neither hidden positions nor codes of the same stack."""
    rng = np.random.default_rng(1)
    for weight in model.trainable_variables:  # adaptive norms start at zero, which would hide a leak
        weight.assign(rng.normal(0, 0.3, weight.shape))
    vectors, sums = rng.normal(size=(1, 36, 5)), rng.normal(size=(1, 36, 3, 5))
    known, wanted = (np.arange(36) % 2)[None].astype(float), np.eye(7)[[2]]
    vectors, known, wanted, sums = (each.astype(np.float32) for each in (vectors, known, wanted, sums))
    places = np.arange(36)[None]
    inputs = [vectors, known, wanted, places, sums]
    before = np.asarray(model(inputs))
    changed = [vectors.copy(), known, wanted, places, sums.copy()]
    changed[0][0, 0] += 10  # position 0 is hidden
    changed[4][0, :, 2] += 10  # the sum that only the third code may see
    after = np.asarray(model(changed))
    np.testing.assert_allclose(after[:, :, :2], before[:, :, :2], atol=1e-4)
    assert np.abs(after[:, :, 2] - before[:, :, 2]).max() > 0.1
    changed[0][0, 1] += 10  # position 1 is known: seen everywhere
    assert np.abs(np.asarray(model(changed))[0, 20, 0] - before[0, 20, 0]).max() > 1e-3
    other = [vectors, known, np.eye(7, dtype=np.float32)[[3]], places, sums]
    assert np.abs(np.asarray(model(other)) - before).max() > 1e-2
    few = [vectors, known, wanted, np.array([[30, 4]]), sums[:, [30, 4]]]
    np.testing.assert_allclose(np.asarray(model(few)), before[:, [30, 4]], atol=1e-4)


def test_the_loss_by_hand():
    logits = np.log(np.array([[[[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]]], np.float32))
    assert float(masked_prior.loss(np.array([[[0.0, -1.0]]]), logits)) == pytest.approx(np.log(2), rel=1e-5)
    expected = (np.log(2) - np.log(0.8)) / 2
    assert float(masked_prior.loss(np.array([[[0.0, 2.0]]]), logits)) == pytest.approx(expected, rel=1e-5)


def test_sampling_keeps_what_is_kept_and_repeats_itself(model):
    rng = np.random.default_rng(2)
    codes = rng.integers(8, size=(4, 36, 3))
    keep = rng.random((4, 36)) < 0.5
    wanted = np.eye(7)[[0, 1, 2, 3]]
    options = {"guidance": 2.0, "codes": codes, "keep": keep}
    one, two = (
        masked_prior.sample(model, CODEBOOKS, wanted, np.random.default_rng(5), **options) for _ in "ab"
    )
    assert (one == two).all() and one.shape == (4, 36, 3)
    assert (one[keep] == codes[keep]).all() and (one[~keep] != codes[~keep]).any()
    fresh = masked_prior.sample(model, CODEBOOKS, wanted, np.random.default_rng(5), guidance=1.0)
    assert fresh.min() >= 0 and fresh.max() < 8 and len(np.unique(fresh)) == 8


def head(seed: int):
    """A head with random weights."""
    rng = np.random.default_rng(seed)
    whole = masked_prior.head(width=16, latent=5, depth=3, codes=8)
    whole.set_weights([w + rng.normal(0, 0.1, w.shape) for w in whole.get_weights()])
    return whole


def test_one_depth_at_a_time_is_the_whole_head():
    """At every depth, also beside another head of that size, and after the weights have changed."""
    rng = np.random.default_rng(4)
    place = rng.normal(size=(2, 6, 16)).astype(np.float32)
    sums = rng.normal(size=(2, 6, 3, 5)).astype(np.float32)
    one, other = head(0), head(1)
    for each in (one, other, one):
        each.set_weights([w + rng.normal(0, 0.1, w.shape) for w in each.get_weights()])
        expected, alone = each.predict_on_batch([place, sums]), masked_prior.one_depth_heads(each)
        for d in (0, 2, 1):
            found = alone[d].predict_on_batch([place, sums[:, :, d : d + 1]])
            np.testing.assert_allclose(found[:, :, 0], expected[:, :, d], atol=1e-5)
    assert masked_prior.one_depth_heads(one) is masked_prior.one_depth_heads(one)


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="there Keras predicts in one thread at a time")
def test_threads_sample_side_by_side(model):
    """From two priors of one size and twice from one, each thread gets what it gets alone."""
    rng = np.random.default_rng(3)
    other = masked_prior.prior(width=16, blocks=2, heads=2, latent=5, depth=3, codes=8)
    other.set_weights([w + rng.normal(0, 0.3, w.shape) for w in other.get_weights()])

    def draw(job) -> np.ndarray:
        prior, seed = job
        wanted = np.eye(7)[np.arange(6)]
        return masked_prior.sample(prior, CODEBOOKS, wanted, np.random.default_rng(seed), steps=6)

    jobs = [(model, 0), (other, 0), (model, 1), (other, 1)]
    alone = [draw(job) for job in jobs]
    with ThreadPoolExecutor(4) as pool:
        for job, expected, found in zip(5 * jobs, 5 * alone, pool.map(draw, 5 * jobs), strict=True):
            np.testing.assert_array_equal(found, expected, str(job[1]))
    assert (alone[0] != alone[1]).any()


def test_guidance_moves_away_from_the_unconditional(monkeypatch):
    """With a model whose logits are the condition itself, guidance sharpens it."""

    class Fixed:
        def get_layer(self, name):
            return SimpleNamespace(predict_on_batch=lambda inputs: np.repeat(inputs[2][:, None], 36, 1))

    same = SimpleNamespace(predict_on_batch=lambda inputs: inputs[0][:, :, None])
    monkeypatch.setattr(masked_prior, "one_depth_heads", lambda head: [same])
    wanted = np.tile([1.0, 0, 0, 0, 0, 0, 0], (400, 1))

    def drawn(guidance, temperature=1.0, **options):
        rng, books = np.random.default_rng(0), np.zeros((1, 7, 5), np.float32)
        return masked_prior.sample(Fixed(), books, wanted, rng, guidance, temperature, **options) == 0

    expected = {g: np.exp(g) / (np.exp(g) + 6) for g in (1.0, 1.5, 3.0)}
    np.testing.assert_allclose([drawn(g).mean() for g in (1.0, 3.0)], [expected[1], expected[3]], atol=0.015)
    each = drawn(np.repeat([1.0, 3.0], 200))  # each face its own
    np.testing.assert_allclose([each[:200].mean(), each[200:].mean()], [expected[1], expected[3]], atol=0.02)
    assert drawn(3.0, np.array([2.0])).mean() == pytest.approx(expected[1.5], abs=0.015)  # and each depth
    assert drawn(3.0, top_p=0.7).all() and not drawn(3.0, top_p=0.8).all()  # the likeliest has 0.77


def test_each_depth_has_its_temperature(model):
    """Almost cold, a depth repeats itself whatever the chances; hot, it does not."""
    wanted = np.eye(7)[[0, 1]]
    found = [
        masked_prior.sample(
            model, CODEBOOKS, wanted, np.random.default_rng(seed), 1.0, [1e-6, 50.0, 50.0], steps=1
        )
        for seed in (1, 2)
    ]
    same = (found[0] == found[1]).mean((0, 1))
    assert same[0] == 1 and same[1:].max() < 0.4
