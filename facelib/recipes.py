"""Which data, which targets and which settings make the networks that read gender, and those that draw.

Those that read emotions have a room of their own, ``emotionrecipes``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from facelib import assets, networks, paths
from facelib.augmentation import LUMA, Augmentation
from facelib.emotions import EMOTIONS, FERPLUS, FerData, Split
from facelib.paths import InputError
from facelib.training import Recipe, fit

if TYPE_CHECKING:
    from facelib.utkface import GenderData

#: The file of a finished run from which a second course goes on; an emotion network is not calibrated there.
FIRST_COURSE = "trained.weights.h5"
#: What a finished run leaves for use: its network, and what a model card says of it.
FINISHED, RECORD = "final.weights.h5", "run.json"
SHIPPED = "shipped"  # instead of a run's folder: the prior that the package has


def one_hot(labels: np.ndarray, classes: int = len(EMOTIONS), smoothing: float = 0.0) -> np.ndarray:
    """Targets (n, classes) float32 of labels (n,), smoothed (Szegedy et al. 2016, arXiv:1512.00567)."""
    return np.eye(classes, dtype=np.float32)[labels] * (1 - smoothing) + np.float32(smoothing / classes)


def course_of(start: Path) -> dict:
    """What a model card says of the run that a second course went on from: its recipe and its digest."""
    if str(start) == SHIPPED:
        return {key: assets.card("prior")[key] for key in ("recipe", "weights_digest")}
    recipe = json.loads((start / "recipe.json").read_text(encoding="utf-8"))
    return {"recipe": recipe, "weights_digest": paths.digest(start / FIRST_COURSE)[:16]}


def first_course(start: Path | None) -> Path | None:
    """The weights that a second course goes on from. Raises InputError for a run that is not finished."""
    if start and not (start / FIRST_COURSE).exists():
        raise InputError(f"{start}: no finished run to go on from; train without a start first")
    return start / FIRST_COURSE if start else None


GENDER_RECIPE = Recipe(
    epochs=50,
    learning_rate=3e-3,
    weight_decay=1e-2,
    ema=0.998,
    augmentation=Augmentation(
        rotation=15, scale=1.25, shift=0.1, contrast=0.35, brightness=0.15, gray=0.4, low_resolution=0.35
    ),
)


def train_gender(
    data: GenderData,
    output: Path,
    resume: bool = False,
    progress: Callable[[str], None] = print,
    **chosen,
):
    """The compact gender network on crops that stray as far as a detector's boxes do, in colour and gray.

    Returns (network, recipe): a keras.Model as ``networks.load_gender_model`` describes.
    """
    held = data.validation
    edge = (data.crops.shape[1] - networks.GENDER_SIDE) // 2
    inputs = data.crops[held][:, edge:-edge, edge:-edge].astype(np.float32) / 255
    colourless = np.repeat((inputs @ np.array(LUMA, np.float32))[..., None], 3, axis=-1)
    adult = data.ages[held] >= 16

    def validate(model) -> dict[str, float]:
        def hits(pictures):
            answers = np.asarray(model.predict(pictures, batch_size=512, verbose=0), np.float32)
            return answers.argmax(1) == data.labels[held]

        colour, gray = hits(inputs), hits(colourless)
        return {
            "accuracy_all": float(colour.mean()),
            "accuracy_adults": float(colour[adult].mean()),
            "accuracy_adults_gray": float(gray[adult].mean()),
        }

    recipe = replace(GENDER_RECIPE, **chosen)
    targets = one_hot(data.labels[~held], 2, recipe.label_smoothing)
    network = fit(
        networks.gender_network,
        data.crops[~held],
        targets,
        recipe,
        output,
        networks.GENDER_SIDE,
        validate=validate,
        resume=resume,
        progress=progress,
    )
    return network, recipe


#: The codec: 40 % of the run without codes, then k-means, then with codes. It and the prior learn for less
#: than an hour on two cores. Then the codec is nearly as good as can be, the prior is not: those that are
#: shipped took more passes, which their cards tell.
VQVAE_RECIPE = Recipe(
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

    build: makes it; None: the one that is shipped. Returns (network, recipe): a keras.Model as
    ``vqvae.autoencoder`` describes.
    """
    from facelib import vqvae

    images = data.train.images
    recipe = brief(replace(VQVAE_RECIPE, **chosen), len(images))
    watched = networks.emotion_inputs(data.public_test.images)
    rng = np.random.default_rng(recipe.seed)
    sample = networks.emotion_inputs(images[rng.permutation(len(images))[:2000]])

    def before(model, share: float) -> None:
        quantizer = model.get_layer("quantizer")
        if share >= CODES_FROM and not quantizer.is_started:
            progress("k-means finds the codes in 2,000 pictures' latents")
            latents = model.get_layer("encoder").predict(sample, batch_size=500, verbose=0)
            quantizer.start(
                latents.reshape(-1, quantizer.width).astype(np.float32),
                recipe.batch_size * vqvae.GRID**2,
            )

    def validate(model) -> dict[str, float]:
        found = np.asarray(model.predict(watched, batch_size=128, verbose=0), np.float32)
        codes = vqvae.codes_of(model, watched)
        return vqvae.quality(watched, found) | vqvae.use(codes, model.get_layer("quantizer").codes)

    model = fit(
        build or vqvae.autoencoder,
        images,
        None,
        recipe,
        output,
        networks.EMOTION_SIDE,
        vqvae.reconstruction_loss,
        validate=validate,
        validate_every=1,
        resume=resume,
        progress=progress,
        before=before,
    )
    return model, recipe


#: The prior. One pass is as many faces as the training split has, drawn with chances of 1/√n of their class.
PRIOR_RECIPE = Recipe(
    epochs=8, batch_size=64, learning_rate=1e-3, weight_decay=0.02, label_smoothing=0.0, ema=0.999
)


def train_prior(
    data: FerData,
    output: Path,
    codec=None,
    build: Callable | None = None,
    teacher=None,
    start: Path | None = None,
    resume: bool = False,
    progress: Callable[[str], None] = print,
    **chosen,
):
    """The prior over a codec's codes of the training split's faces; PublicTest is watched.

    codec: a keras.Model as ``vqvae.autoencoder``; None: the shipped one. build: makes the prior, called with
    the codec's latent, depth and codes; None: ``prior.prior``. teacher: a keras.Model, (n, 48, 48, 1) ->
    (n, 7), whose answers are half of what a face is said to show, label and votes the other half: who asks
    for fear and nothing else then asks for the faces in which it is plain. start: folder of a finished run,
    or ``SHIPPED``, to go on from its weights. Faces are drawn by the class, 1/√n, and by the square of the
    share that their foremost emotion has. Returns (network, recipe): a keras.Model as ``prior.prior``
    describes. Raises InputError for a start that there is not.
    """
    from facelib import cures, prior, vqvae

    before = assets.WEIGHTS / "prior.weights.h5" if str(start) == SHIPPED else first_course(start)
    codec = codec or networks.load_shipped("vqvae")
    recipe = brief(replace(PRIOR_RECIPE, **chosen), len(data.train))
    codebooks = vqvae.codebooks(codec)
    depth, size, latent = codebooks.shape
    train, public = faces_worth_drawing(cures.cleaned(data).train), faces_worth_drawing(data.public_test)
    progress(f"{len(train):,} faces of {len(data.train):,} are coded, and mirrored")
    stacks = np.stack([_coded(codec, train.images, mirrored) for mirrored in (False, True)], axis=1)
    counts = np.bincount(train.labels, minlength=len(EMOTIONS))
    shown = _shown(train, teacher)
    chances = shown.max(1) ** 2 / np.sqrt(counts[train.labels])
    draw = prior.lessons(stacks, shown, chances / chances.sum(), codebooks)
    held = prior.lessons(
        _coded(codec, public.images)[:, None],
        _shown(public, teacher),
        np.full(len(public), 1 / len(public)),
        codebooks,
        without=0.0,
    )
    exam = [held(np.arange(500), np.random.default_rng(i)) for i in range(4)]

    def validate(model) -> dict[str, float]:
        losses = [prior.loss(y, model.predict(x, batch_size=250, verbose=0)) for x, y in exam]
        return {"public_loss": float(np.mean([float(each) for each in losses]))}

    def begin():
        model = (build or prior.prior)(latent=latent, depth=depth, codes=size)
        if before:
            model.load_weights(before)
        return model

    model = fit(
        begin,
        train.images,
        None,
        recipe,
        output,
        networks.EMOTION_SIDE,
        prior.loss,
        validate=validate,
        validate_every=2,
        resume=resume,
        progress=progress,
        draw=draw,
    )
    model.save_weights(output / FIRST_COURSE)
    return model, recipe


def _shown(split: Split, teacher) -> np.ndarray:
    """What each face is said to show, (n, 7) float32: shares of emotions that sum to 1."""
    from facelib import cures

    said = cures.soft_labels(split)
    if teacher is None:
        return said
    return (said + teacher.predict(networks.emotion_inputs(split.images), batch_size=256, verbose=0)) / 2


def brief(recipe: Recipe, rows: int) -> Recipe:
    """The recipe, with weights that are averaged over a tenth of the run at most: a short run's average would
    be what it began with."""
    steps = recipe.epochs * (recipe.steps_per_epoch or max(1, rows // recipe.batch_size))
    return replace(recipe, ema=min(recipe.ema, round(max(0.5, 1 - 10 / steps), 5)))


def faces_worth_drawing(split: Split) -> Split:
    """The faces of a split that are seen from the front, (m, 48, 48) uint8, all in the same light.

    Left out: constant pictures, such as most FER+ voters saw no face in, and those in which OpenCV's frontal
    cascade finds none: turned, tilted and half hidden faces, a quarter of FER-2013.
    """
    import cv2

    from facelib import fidelity

    # ``detection.HaarDetector`` has the same cascade, and would look for the eyes of 28,709 faces as well.
    cascade = cv2.CascadeClassifier(f"{cv2.data.haarcascades}haarcascade_frontalface_alt2.xml")

    def frontal(image: np.ndarray) -> bool:  # the cascade wants space around a face, and more pixels
        image = cv2.resize(np.pad(image, 8, "edge"), None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
        return len(cascade.detectMultiScale(image, 1.1, 2, minSize=(56, 56))) > 0

    good = split.images.std((1, 2)) > 12
    if split.votes is not None:
        good &= 2 * split.votes[:, FERPLUS.index("NF")] < split.votes.sum(1)
    good[good] = [frontal(image) for image in split.images[good]]
    return Split(
        fidelity.even_light(split.images[good]),
        split.labels[good],
        None if split.votes is None else split.votes[good],
    )


def _coded(codec, images: np.ndarray, mirrored: bool = False) -> np.ndarray:
    """Codes (n, 36, depth) uint16 of pictures (n, 48, 48) uint8, or of their mirror images."""
    from facelib import vqvae

    inputs = networks.emotion_inputs(images)
    codes = vqvae.codes_of(codec, inputs[:, :, ::-1] if mirrored else inputs)
    return codes.reshape(len(images), -1, codes.shape[-1]).astype(np.uint16)
