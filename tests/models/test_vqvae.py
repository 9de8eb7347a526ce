"""Quantizers against cases computed by hand; the codec's shapes, losses and measures."""

from __future__ import annotations

import copy

import keras
import numpy as np
import pytest
from keras import ops
from skimage.metrics import structural_similarity

from facelib.backend import gradient
from facelib.models import vqvae
from facelib.models.vqvae import FiniteScalarQuantizer, ResidualQuantizer, VectorQuantizer

RNG = np.random.default_rng(0)
CORNERS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)


def started(codes: int = 4, counts=None, **options) -> VectorQuantizer:
    quantizer = VectorQuantizer(codes, 2, **options)
    counts = np.ones(codes, np.float32) if counts is None else np.array(counts, np.float32)
    quantizer.codebook.assign(CORNERS[:codes])
    quantizer.counts.assign(counts)
    quantizer.sums.assign(CORNERS[:codes] * counts[:, None])
    quantizer.started.assign(1.0)
    return quantizer


def residual(books, **options) -> ResidualQuantizer:
    """A started quantizer with these codebooks (depth, codes, latent)."""
    quantizer = ResidualQuantizer(*np.shape(books), **options)
    for stage, book in zip(quantizer.stages, books):
        stage.codebook.assign(book)
        stage.started.assign(1.0)
    return quantizer


def test_the_nearest_code_is_taken():
    z = np.array([[[0.1, 0.2], [0.9, 0.6]], [[0.4, 0.7], [2.0, -3.0]]], np.float32)
    quantized, codes = started()(z)
    assert ops.convert_to_numpy(codes)[..., 0].tolist() == [[0, 3], [1, 2]] and codes.shape == (2, 2, 1)
    np.testing.assert_allclose(quantized, CORNERS[[[0, 3], [1, 2]]], atol=1e-6)
    np.testing.assert_allclose(started().decode(codes), quantized, atol=1e-6)


def test_gradients_go_straight_through_and_the_commitment_pulls():
    """d/dz of sum(w * quantized) + beta * mean((z - e)^2) is w + 2 beta (z - e) / size."""
    keras.utils.set_random_seed(0)
    z, weights = np.array([[0.1, 0.2], [0.9, 0.6]], np.float32), np.array([[1, 2], [3, 4]], np.float32)
    quantizer = started(commitment=0.25, decay=1.0, dead=0.0)

    def loss(z):
        return ops.sum(weights * quantizer(z, training=True)[0]) + quantizer.losses[-1]

    expected = weights + 2 * 0.25 * (z - CORNERS[[0, 3]]) / 4
    np.testing.assert_allclose(gradient(loss, z), expected, rtol=1e-5)


def test_the_averages_move_as_equations_6_to_8_say():
    """Two latents on code 0, one on code 3: N = .9 + .1 n, m = .9 e + .1 sum(z), e = m / N."""
    quantizer = started(decay=0.9, dead=0.0)
    quantizer(np.array([[0.2, 0.0], [0.0, 0.4], [1.0, 0.8]], np.float32), training=True)
    counts = 0.9 + 0.1 * np.array([2, 0, 0, 1])
    sums = 0.9 * CORNERS + 0.1 * np.array([[0.2, 0.4], [0, 0], [0, 0], [1.0, 0.8]])
    np.testing.assert_allclose(quantizer.counts, counts, rtol=1e-5)
    np.testing.assert_allclose(quantizer.codebook, sums / counts[:, None], rtol=1e-4, atol=1e-6)


def test_a_dead_code_wakes_on_a_latent():
    quantizer = started(counts=[1, 1, 1, 1e-4], decay=1.0, dead=0.05)
    z = np.array([[0.0, 0.1], [0.1, 0.0]], np.float32)
    quantizer(z, training=True)
    codebook = ops.convert_to_numpy(quantizer.codebook)
    np.testing.assert_allclose(codebook[:3], CORNERS[:3], atol=1e-4)  # these live, and stay
    assert np.abs(z - codebook[3]).sum(1).min() < 1e-4
    assert abs(float(quantizer.counts[3]) - 0.75) < 1e-3  # the mean


def test_nothing_is_quantized_or_learnt_before_the_start():
    quantizer = VectorQuantizer(4, 2)
    z = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    before = [ops.convert_to_numpy(weight) for weight in quantizer.weights[:4]]
    quantized, _ = quantizer(z, training=True)
    np.testing.assert_allclose(quantized, z)
    assert float(quantizer.losses[0]) == 0 and not quantizer.is_started
    for weight, value in zip(quantizer.weights, before):
        np.testing.assert_array_equal(weight, value)


def test_k_means_starts_it_where_the_latents_are():
    rng = np.random.default_rng(0)
    z = (CORNERS[rng.integers(4, size=400)] + rng.normal(0, 0.02, (400, 2))).astype(np.float32)
    quantizer = VectorQuantizer(4, 2)
    rest = quantizer.start(z, per_step=100)
    codebook = ops.convert_to_numpy(quantizer.codebook)
    assert quantizer.is_started and np.abs(codebook[:, None] - CORNERS).sum(-1).min(0).max() < 0.02
    np.testing.assert_allclose(ops.sum(quantizer.counts), 100, rtol=1e-5)
    np.testing.assert_allclose(
        quantizer.sums, codebook * ops.convert_to_numpy(quantizer.counts)[:, None], rtol=1e-5
    )
    assert np.abs(rest).max() < 0.2
    with pytest.raises(ValueError, match="3 latents are too few to find 4 codes"):
        VectorQuantizer(4, 2).start(z[:3], 100)


def test_each_depth_takes_what_the_one_before_left():
    quantizer = residual([CORNERS, 0.1 * CORNERS])
    quantized, codes = quantizer(np.array([[1.11, 0.02], [0.09, 1.08]], np.float32))
    assert ops.convert_to_numpy(codes).tolist() == [[2, 2], [1, 3]]
    np.testing.assert_allclose(quantized, [[1.1, 0.0], [0.1, 1.1]], atol=1e-6)
    np.testing.assert_allclose(quantizer.decode(codes), quantized, atol=1e-6)
    np.testing.assert_allclose(quantizer.decode(codes[:, :1]), CORNERS[[2, 1]], atol=1e-6)  # coarse


def test_more_codes_leave_less():
    z = np.random.default_rng(0).normal(size=(2000, 2)).astype(np.float32)
    quantizer = ResidualQuantizer(3, 16, 2, beams=1)
    rest = quantizer.start(z, 1000)
    codes = quantizer(z)[1]
    errors = [float(ops.mean((z - quantizer.decode(codes[:, :k])) ** 2)) for k in (1, 2, 3)]
    assert errors[0] > 5 * errors[1] > 25 * errors[2] > 0
    np.testing.assert_allclose((rest**2).mean(), errors[2], rtol=1e-3)


def test_with_beams_enough_the_nearest_of_all_sums_is_found():
    rng = np.random.default_rng(0)
    z, books = rng.normal(size=(4, 9, 3)).astype(np.float32), rng.normal(size=(3, 5, 3))
    every = np.stack(np.meshgrid(*[np.arange(5)] * 3, indexing="ij"), -1).reshape(-1, 3)
    sums = sum(books[i][every[:, i]] for i in range(3))
    nearest = every[((z[..., None, :] - sums) ** 2).sum(-1).argmin(-1)]
    errors, found = [], []
    for beams in (1, 3, 25):
        quantizer = residual(books, beams=beams)
        quantized, codes = quantizer(z)
        np.testing.assert_allclose(quantizer.decode(codes), quantized, atol=1e-5)
        errors.append(float(ops.mean((z - quantized) ** 2)))
        found.append(ops.convert_to_numpy(codes).tolist())
    assert found[2] == nearest.tolist() != found[0]
    assert errors[0] > errors[1] >= errors[2]
    # While it learns, each depth takes the nearest code, one after the other.
    assert ops.convert_to_numpy(quantizer(z, training=True)[1]).tolist() == found[0]


def test_finite_scalars_by_hand():
    """Levels (5, 4): five values from -1 to 1, and four, -2/2 to 1/2."""
    quantizer = FiniteScalarQuantizer((5, 4))
    quantized, codes = quantizer(np.array([[0.0, 0.0], [9.0, 9.0], [-9.0, -9.0]], np.float32))
    np.testing.assert_allclose(quantized, [[0, 0], [1, 0.5], [-1, -1]], atol=1e-6)
    assert ops.convert_to_numpy(codes)[:, 0].tolist() == [2 + 5 * 2, 4 + 5 * 3, 0]
    np.testing.assert_allclose(quantizer.decode(codes), quantized, atol=1e-6)
    every = np.arange(20)[:, None]
    vectors = ops.convert_to_numpy(quantizer.decode(every))
    assert len(np.unique(vectors, axis=0)) == quantizer.codes == 20


def test_finite_scalars_let_gradients_through():
    quantizer, z = FiniteScalarQuantizer((5,)), np.array([[0.3]], np.float32)
    slope = 2 * (1 - 1e-3) * (1 - np.tanh(0.3) ** 2) / 2
    np.testing.assert_allclose(gradient(lambda z: ops.sum(quantizer(z)[0]), z), [[slope]], rtol=1e-5)


def test_the_codec_has_its_shapes():
    model = vqvae.autoencoder(ResidualQuantizer(4, 8, 16))
    pictures = np.random.default_rng(0).random((3, 48, 48, 1), np.float32)
    assert model(pictures).shape == (3, 48, 48, 1)
    assert model.get_layer("encoder")(pictures).shape == (3, 6, 6, 16)
    codes = vqvae.codes_of(model, pictures)
    assert codes.shape == (3, 6, 6, 4) and codes.dtype == np.int32
    bits = vqvae.GRID**2 * vqvae.DEPTH * np.log2(vqvae.CODES)
    assert bits <= 1500


def test_what_only_learning_needs_can_be_forgotten():
    model = vqvae.autoencoder(ResidualQuantizer(2, 8, 16), (8, 8, 8))
    pictures = np.random.default_rng(0).random((8, 48, 48, 1), np.float32)
    model.get_layer("quantizer").start(np.random.default_rng(1).normal(size=(64, 16)).astype(np.float32), 64)
    before = ops.convert_to_numpy(model(pictures))
    vqvae.clear_averages(model)
    np.testing.assert_array_equal(model(pictures), before)
    assert not any(ops.convert_to_numpy(stage.sums).any() for stage in model.get_layer("quantizer").stages)


def test_ssim_is_that_of_scikit_image():
    a, b = np.random.default_rng(0).random((2, 4, 48, 48, 1), np.float32)
    b = 0.7 * a + 0.3 * b
    expected = [structural_similarity(x[..., 0], y[..., 0], data_range=1.0) for x, y in zip(a, b)]
    np.testing.assert_allclose(vqvae.ssim(a, b), expected, atol=1e-4)


def test_patches_are_the_places_of_the_grid():
    images = RNG.integers(0, 256, (2, 48, 48), np.uint8)
    patches = vqvae.to_patches(images)
    assert patches.shape == (72, 64) and patches.dtype == np.float32
    np.testing.assert_allclose(patches[36 + 6 + 2].reshape(8, 8), images[1, 8:16, 16:24] / 255)
    np.testing.assert_allclose(vqvae.from_patches(patches)[..., 0], images / 255)


def test_measures():
    pictures = np.zeros((2, 48, 48, 1), np.float32)
    found = vqvae.quality(pictures, np.stack([pictures[0] + 0.1, pictures[0] + 0.01]))
    assert abs(found["psnr"] - 30) < 1e-3  # 20 and 40 dB
    codes = np.array([0, 0, 1, 1, 2, 2, 3, 3] * 9).reshape(2, 6, 6, 1)
    assert vqvae.codebook_usage(codes, 8) == {"used": 0.5, "perplexity": pytest.approx(4)}


@pytest.mark.parametrize(
    "quantizer",
    [
        VectorQuantizer(7, 3, dead=0.2),
        ResidualQuantizer(2, 7, 3, beams=2, decay=0.9),
        FiniteScalarQuantizer((4, 3)),
    ],
    ids=lambda quantizer: type(quantizer).__name__,
)
def test_a_codec_is_saved_cloned_and_copied(quantizer, tmp_path):
    model = vqvae.autoencoder(quantizer, (4, 4, 4))
    for stage in getattr(quantizer, "stages", [quantizer]):
        if isinstance(stage, VectorQuantizer):
            stage.started.assign(1.0)
    model.save(tmp_path / "a.keras")
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    pictures = np.random.default_rng(0).random((2, 48, 48, 1), np.float32)
    for other in (keras.models.load_model(tmp_path / "a.keras"), clone, copy.deepcopy(model)):
        assert other.get_layer("quantizer").get_config() == quantizer.get_config()
        np.testing.assert_array_equal(other(pictures), model(pictures))
