"""Which data, which targets and which settings make the networks that draw: the codec and the prior."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from facelib.data.duplicates import cleaned
from facelib.data.fer2013 import for_training
from facelib.data.ferplus import soft_labels
from facelib.emotions import EMOTIONS, FERPLUS, FerData, Split
from facelib.errors import InputError
from facelib.models import registry
from facelib.models.emotion import EMOTION_SIDE, emotion_inputs
from facelib.paths import digest
from facelib.training import runs
from facelib.training.augmentation import Augmentation
from facelib.training.loop import TrainingConfig, fit, limit_ema

if TYPE_CHECKING:
    import keras

#: The codec: 40 % of the run without codes, then k-means, then with codes. It and the prior learn for less
#: than an hour on two cores. Then the codec is nearly as good as can be, the prior is not: those that are
#: shipped took more passes, which their cards tell.
VQVAE_CONFIG = TrainingConfig(
    epochs=4,
    batch_size=64,
    learning_rate=2e-3,
    weight_decay=0.0,
    label_smoothing=0.0,
    ema=0.998,
    augmentation=Augmentation(rotation=0, scale=1.05, shift=0.03, contrast=0.1, brightness=0.05, erase=0),
)
CODES_FROM = 0.4


def train_vqvae(
    data: FerData,
    output: Path,
    build: Callable | None = None,
    resume: bool = False,
    progress: Callable[[str], None] = print,
    **chosen,
):
    """The codec, from the training split's pictures; PublicTest is watched.

    output: the run's folder, as ``runs`` describes. build: makes the network; None: the one that is shipped.
    Returns (network, configuration): a keras.Model as ``vqvae.autoencoder`` describes.
    """
    from facelib.models import vqvae

    data = for_training(data)
    images = data.train.images
    config = limit_ema(replace(VQVAE_CONFIG, **chosen), len(images))
    watched = emotion_inputs(data.public_test.images)
    rng = np.random.default_rng(config.seed)
    sample = emotion_inputs(images[rng.permutation(len(images))[:2000]])

    def before(model, share: float) -> None:
        quantizer = model.get_layer("quantizer")
        if share >= CODES_FROM and not quantizer.is_started:
            progress("k-means finds the codes in 2,000 pictures' latents")
            latents = vqvae.latents_of(model, sample, 500)
            quantizer.start(
                latents.reshape(-1, quantizer.width).astype(np.float32),
                config.batch_size * vqvae.GRID**2,
            )

    def validate(model) -> dict[str, float]:
        found = np.asarray(model.predict(watched, batch_size=128, verbose=0), np.float32)
        codes = vqvae.codes_of(model, watched)
        return vqvae.quality(watched, found) | vqvae.codebook_usage(codes, model.get_layer("quantizer").codes)

    model = fit(
        build or vqvae.autoencoder,
        images,
        None,
        config,
        output,
        EMOTION_SIDE,
        vqvae.reconstruction_loss,
        validate=validate,
        validate_every=1,
        resume=resume,
        progress=progress,
        before=before,
    )
    command = runs.command("vqvae", config, dataset=data.option)
    runs.write(output, model, None if build else "vqvae", config, data, command=command)
    return model, config


#: The prior. One pass is as many faces as the training split has, drawn with chances of 1/√n of their class.
PRIOR_CONFIG = TrainingConfig(
    epochs=8, batch_size=64, learning_rate=1e-3, weight_decay=0.02, label_smoothing=0.0, ema=0.999
)


def train_prior(
    data: FerData,
    output: Path,
    codec: str | Path | keras.Model | None = None,
    build: Callable | None = None,
    teacher: str | Path | keras.Model | None = None,
    start: Path | None = None,
    resume: bool = False,
    progress: Callable[[str], None] = print,
    **chosen,
):
    """The prior over a codec's codes of the training split's faces; PublicTest is watched.

    output: the run's folder, as ``runs`` describes. codec: a ``vqvae.autoencoder`` or the folder of its run;
        None: the shipped one. build: makes the prior, called with the codec's latent, depth and codes; None:
        ``masked_prior.prior``.
    teacher: a network (n, 48, 48, 1) -> (n, 7), a shipped one's name or a run's folder, whose probabilities
        are half of what a face is said to show, label and votes the other half: who asks for fear and nothing
        else then asks for the faces in which it is plain.
    start: folder of a finished run, or ``runs.SHIPPED_PRIOR``, to go on from its weights.

    Faces are drawn by the class, 1/√n, and by the square of the share of their foremost emotion. Returns
    (network, configuration): a keras.Model as ``masked_prior.prior`` describes. Raises InputError for a
    start, codec or teacher that there is not.
    """
    from facelib.models import generator, masked_prior, vqvae

    if str(start) == runs.SHIPPED_PRIOR:
        before = registry.WEIGHTS / "prior.weights.h5"
    else:
        before = runs.stage_one_weights(start)
    facts, named = {}, codec
    if codec is None or isinstance(codec, (str, Path)):
        facts["codec_digest"] = digest(generator.weights_file("vqvae", codec))[:16]
        codec = generator.load_network("vqvae", codec)
    command = {"teacher": teacher, "start": start, "codec": named}
    data = for_training(data)
    teacher = None if teacher is None else runs.load_teacher(teacher)
    config = limit_ema(replace(PRIOR_CONFIG, **chosen), len(data.train))
    codebooks = vqvae.codebooks(codec)
    depth, size, latent = codebooks.shape
    train, public = frontal_faces(cleaned(data).train), frontal_faces(data.public_test)
    if not len(train) or not len(public):
        raise InputError(f"{data.source}: no frontal face in Training or PublicTest; give more faces")
    progress(f"{len(train):,} faces of {len(data.train):,} are coded, and mirrored")
    stacks = np.stack([_coded(codec, train.images, mirrored) for mirrored in (False, True)], axis=1)
    counts = np.bincount(train.labels, minlength=len(EMOTIONS))
    shown = _shown(train, teacher)
    chances = shown.max(1) ** 2 / np.sqrt(counts[train.labels])
    draw = masked_prior.masked_batches(stacks, shown, chances / chances.sum(), codebooks)
    held = masked_prior.masked_batches(
        _coded(codec, public.images)[:, None],
        _shown(public, teacher),
        np.full(len(public), 1 / len(public)),
        codebooks,
        without=0.0,
    )
    watched = [held(np.arange(500), np.random.default_rng(i)) for i in range(4)]

    def validate(model) -> dict[str, float]:
        losses = [masked_prior.loss(y, model.predict(x, batch_size=250, verbose=0)) for x, y in watched]
        return {"public_loss": float(np.mean([float(each) for each in losses]))}

    def begin():
        model = (build or masked_prior.prior)(latent=latent, depth=depth, codes=size)
        if before:
            registry.load_weights(model, before)
        return model

    model = fit(
        begin,
        train.images,
        None,
        config,
        output,
        EMOTION_SIDE,
        masked_prior.loss,
        validate=validate,
        validate_every=2,
        resume=resume,
        progress=progress,
        draw=draw,
    )
    runs.save_weights(model, Path(output) / runs.STAGE_ONE)
    command = runs.command("prior", config, dataset=data.option, **command)
    facts |= runs.stage_one_facts(start)
    runs.write(output, model, None if build else "prior", config, data, command=command, **facts)
    return model, config


def _shown(split: Split, teacher) -> np.ndarray:
    """What each face is said to show, (n, 7) float32: shares of emotions that sum to 1."""
    said = soft_labels(split)
    if teacher is None:
        return said
    return (said + teacher.predict(emotion_inputs(split.images), batch_size=256, verbose=0)) / 2


def frontal_faces(split: Split) -> Split:
    """The faces of a split that are seen from the front, (m, 48, 48) uint8, all in the same light.

    Left out: constant pictures, such as most FER+ voters saw no face in, and those in which OpenCV's frontal
    cascade finds none: turned, tilted and half hidden faces, a quarter of FER-2013.
    """
    import cv2

    from facelib.models.generator import even_light
    from facelib.vision import detection

    # ``detection.HaarDetector`` has the same cascade, and would look for the eyes of 28,709 faces as well.
    cascade = detection.cascade("frontalface_alt2")

    def frontal(image: np.ndarray) -> bool:  # the cascade wants space around a face, and more pixels
        image = cv2.resize(np.pad(image, 8, "edge"), None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
        return len(cascade.detectMultiScale(image, 1.1, 2, minSize=(56, 56))) > 0

    good = split.images.std((1, 2)) > 12
    if split.votes is not None:
        good &= 2 * split.votes[:, FERPLUS.index("NF")] < split.votes.sum(1)
    good[good] = [frontal(image) for image in split.images[good]]
    return Split(
        even_light(split.images[good]),
        split.labels[good],
        None if split.votes is None else split.votes[good],
    )


def _coded(codec, images: np.ndarray, mirrored: bool = False) -> np.ndarray:
    """Codes (n, 36, depth) uint16 of pictures (n, 48, 48) uint8, or of their mirror images."""
    from facelib.models import vqvae

    inputs = emotion_inputs(images)
    codes = vqvae.codes_of(codec, inputs[:, :, ::-1] if mirrored else inputs)
    return codes.reshape(len(images), -1, codes.shape[-1]).astype(np.uint16)
