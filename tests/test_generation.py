"""The generator's interface, on a codec and a prior that have learnt nothing."""

from __future__ import annotations

import numpy as np
import pytest

from facelib import generation, prior, vqvae
from facelib.emotions import EMOTIONS
from facelib.paths import InputError


@pytest.fixture(scope="module")
def generator():
    import keras

    keras.utils.set_random_seed(0)
    codec = vqvae.autoencoder(vqvae.ResidualQuantizer(2, 16, 8))
    latents = np.random.default_rng(0).normal(size=(500, 8)).astype(np.float32)
    codec.get_layer("quantizer").start(latents, 100)
    return generation.Generator(codec, prior.prior(24, 2, 2, latent=8, depth=2, codes=16))


PICTURES = np.random.default_rng(1).integers(0, 256, (3, 48, 48)).astype(np.uint8)


def test_samples_repeat_themselves(generator):
    faces = generator.sample("fear", n=3, seed=4)
    assert faces.shape == (3, 48, 48) and faces.dtype == np.uint8
    np.testing.assert_array_equal(faces, generator.sample("fear", n=3, seed=4))
    assert (faces != generator.sample("fear", n=3, seed=5)).any()


def test_best_of_returns_what_our_network_reads_best(generator):
    from facelib import networks

    one, best = generator.sample("happy", n=12, seed=1), generator.sample("happy", n=3, seed=1, best_of=4)
    read = networks.GraphNetwork("emotion")(networks.emotion_inputs(one))[:, EMOTIONS.index("happy")]
    np.testing.assert_array_equal(best, one.reshape(3, 4, 48, 48)[range(3), read.reshape(3, 4).argmax(1)])


def test_codes_go_and_come_back(generator):
    codes = generator.encode(PICTURES)
    assert codes.shape == (3, 6, 6, 2) and codes.max() < 16
    again = generator.decode(codes)
    np.testing.assert_array_equal(again, generator.reconstruct(PICTURES))
    direct = generator.codec.predict(PICTURES[..., None] / np.float32(255), verbose=0)[..., 0]
    assert np.abs(again - 255 * np.clip(direct, 0, 1)).max() <= 1  # decoding codes is the codec's own way
    assert generator.decode(codes[..., :1]).shape == (3, 48, 48)  # the coarse codes alone


def test_an_edit_leaves_the_rest(generator):
    codes = generator.encode(PICTURES)
    np.testing.assert_array_equal(generator.edit(PICTURES, "sad", 0.0), generator.decode(codes))
    asked = {}

    def draw(*arguments, **options):
        asked.update(options)
        return real(*arguments, **options)

    real, prior.sample = prior.sample, draw
    try:
        generator.edit(PICTURES, "sad", 0.5, best_of=2)
    finally:
        prior.sample = real
    keep = asked["keep"][0].reshape(6, 6)
    assert keep[0].all() and keep[:, 0].all() and not keep[4, 2:4].any() and not keep[2, 1:5].any()
    assert len(asked["keep"]) == 6


def test_shares_of_emotions():
    assert generation.shares("fear").tolist() == [0, 0, 1, 0, 0, 0, 0]
    np.testing.assert_allclose(generation.shares({"happy": 3, "sad": 1}), [0, 0, 0, 0.75, 0.25, 0, 0])


@pytest.mark.parametrize(
    "wrong",
    [
        lambda g: g.sample("joy"),
        lambda g: g.sample({"fear": -1.0}),
        lambda g: g.sample("fear", n=0),
        lambda g: g.sample("fear", temperature=0),
        lambda g: g.edit(PICTURES, "fear", strength=2),
        lambda g: g.encode(PICTURES[:, :20]),
        lambda g: g.encode(PICTURES / 255),
    ],
)
def test_wrong_input_is_named(generator, wrong):
    with pytest.raises(InputError):
        wrong(generator)
