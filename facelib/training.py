"""Fitting: batches that are drawn the same way twice, one fused augmentation, checkpoints that resume.

Nothing here knows a backend. Batches are made with NumPy and OpenCV beside the training step, from a
generator seeded by (seed, epoch, batch): epoch 17 is the same whether or not the run was interrupted
after epoch 16, on any backend.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facelib.emotions import EMOTIONS, FerData
from facelib.paths import InputError, atomic_write

if TYPE_CHECKING:
    from facelib.utkface import GenderData

#: Weights of red, green and blue in gray (ITU-R BT.601).
LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Augmentation:
    """How far a training picture may stray from the original; every range is symmetric and uniform.

    rotation: degrees. scale: log-uniform in [1/scale, scale]. shift: part of the side. contrast: factor in
    [1-c, 1+c] around the mean. brightness: part of the full range. erase: probability of a random gray
    rectangle (Zhong et al. 2017, arXiv:1708.04896). gray: probability that colour is removed.
    low_resolution: probability that the picture is first reduced to 35–100 % of its size and enlarged again.
    """

    rotation: float = 12.0
    scale: float = 1.15
    shift: float = 0.08
    flip: bool = True
    contrast: float = 0.25
    brightness: float = 0.1
    erase: float = 0.25
    gray: float = 0.0
    low_resolution: float = 0.0


def augment(images: np.ndarray, rng: np.random.Generator, how: Augmentation, size: int) -> np.ndarray:
    """Augment a batch: one affine resampling each, then light, then erasing.

    images: (n, s, s) or (n, s, s, 3) uint8, any s: with s > size the centre ``size`` pixels are the frame
        and the surroundings feed shifts and rotations with real pixels. size: side of the result.
    Returns (n, size, size, 1 or 3) float32 in [0, 1].
    """
    n, side = images.shape[:2]
    channels = images.shape[3] if images.ndim == 4 else 1
    angle = np.deg2rad(rng.uniform(-how.rotation, how.rotation, n))
    zoom = np.exp(rng.uniform(-1, 1, n) * math.log(how.scale))
    move = rng.uniform(-how.shift, how.shift, (n, 2)) * size
    mirror = np.where(rng.random(n) < 0.5 * how.flip, -1.0, 1.0)
    cos, sin = np.cos(angle) * zoom, np.sin(angle) * zoom
    # Rows of the matrices that take a point of the source to the result, about both centres.
    matrices = np.empty((n, 2, 3))
    matrices[:, 0, 0], matrices[:, 0, 1] = cos * mirror, -sin
    matrices[:, 1, 0], matrices[:, 1, 1] = sin * mirror, cos
    centre = np.full(2, (side - 1) / 2)
    matrices[:, :, 2] = (size - 1) / 2 + move - matrices[:, :, :2] @ centre
    coarse = np.where(rng.random(n) < how.low_resolution, rng.uniform(0.35, 1, n), 1.0)
    out = np.empty((n, size, size, channels), np.float32)
    for i in range(n):
        source = images[i]
        if coarse[i] < 1:
            small = max(8, round(side * coarse[i]))
            source = cv2.resize(source, (small, small), interpolation=cv2.INTER_AREA)
            source = cv2.resize(source, (side, side), interpolation=cv2.INTER_LINEAR)
        out[i] = cv2.warpAffine(
            source, matrices[i], (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        ).reshape(size, size, channels)
    out /= 255
    if how.gray:
        chosen = rng.random(n) < how.gray
        out[chosen] = (out[chosen] @ np.array(LUMA, np.float32))[..., None]
    mean = out.mean((1, 2, 3), keepdims=True)
    factor = rng.uniform(1 - how.contrast, 1 + how.contrast, (n, 1, 1, 1)).astype(np.float32)
    offset = rng.uniform(-how.brightness, how.brightness, (n, 1, 1, 1)).astype(np.float32)
    np.clip((out - mean) * factor + mean + offset, 0, 1, out=out)
    for i in np.flatnonzero(rng.random(n) < how.erase):
        h, w = (rng.uniform(0.1, 0.4, 2) * size).astype(int)
        y, x = rng.integers(0, size - h), rng.integers(0, size - w)
        out[i, y : y + h, x : x + w] = rng.random()
    return out


@dataclass(frozen=True)
class Recipe:
    """One training run, in full: the same recipe, data and machine give the same weights."""

    epochs: int = 60
    batch_size: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    label_smoothing: float = 0.1
    ema: float = 0.999
    seed: int = 0
    mixed_precision: bool = True
    augmentation: Augmentation = Augmentation()


def batches(images: np.ndarray, targets: np.ndarray, recipe: Recipe, size: int, start_epoch: int = 0):
    """A ``keras.utils.PyDataset`` of augmented, shuffled batches; see the module's text for its seeds.

    targets: (n, classes) float32 probabilities. The last, incomplete batch of an epoch is dropped.
    """
    import keras

    class Batches(keras.utils.PyDataset):
        def __init__(self):
            super().__init__(workers=1, max_queue_size=16)
            self.epoch = start_epoch
            self.shuffle()

        def shuffle(self):
            self.order = np.random.default_rng((recipe.seed, self.epoch)).permutation(len(images))

        def __len__(self):
            return len(images) // recipe.batch_size

        def __getitem__(self, step):
            rows = self.order[step * recipe.batch_size : (step + 1) * recipe.batch_size]
            rng = np.random.default_rng((recipe.seed, self.epoch, step))
            return augment(images[rows], rng, recipe.augmentation, size), targets[rows]

        def on_epoch_end(self):
            self.epoch += 1
            self.shuffle()

    return Batches()


def fit(
    build: Callable,
    images: np.ndarray,
    labels: np.ndarray,
    recipe: Recipe,
    folder: str | Path,
    classes: int,
    size: int,
    validate: Callable | None = None,
    resume: bool = False,
    progress: Callable[[str], None] = print,
):
    """Train ``build()`` with AdamW, a cosine schedule and averaged weights, and return it with them.

    build: makes the network; outputs probabilities. images: (n, s, s[, 3]) uint8. labels: (n,) int64.
    folder: gets ``recipe.json``, and after each epoch a row of ``log.jsonl`` and ``checkpoint.npz`` (network,
        optimizer, random state, epoch), replaced in one step: a killed run continues at its last epoch.
    validate: network -> dict of numbers, called with the averaged weights after every fifth epoch.
    Returns the keras.Model in float32. Sources: Loshchilov & Hutter 2019 (arXiv:1711.05101), cosine decay
    arXiv:1608.03983, weight averaging Polyak & Juditsky 1992.
    """
    import keras

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint, state, log = folder / "checkpoint.npz", folder / "recipe.json", folder / "log.jsonl"
    keras.utils.set_random_seed(recipe.seed)
    keras.mixed_precision.set_global_policy("mixed_bfloat16" if recipe.mixed_precision else "float32")
    try:
        model = build()
    finally:
        keras.mixed_precision.set_global_policy("float32")
    steps = len(images) // recipe.batch_size
    schedule = keras.optimizers.schedules.CosineDecay(
        recipe.learning_rate / 20,
        decay_steps=max(1, (recipe.epochs - 1) * steps),
        alpha=1e-3,
        warmup_target=recipe.learning_rate,
        warmup_steps=steps,
    )
    optimizer = keras.optimizers.AdamW(
        schedule,
        weight_decay=recipe.weight_decay,
        global_clipnorm=1.0,
        use_ema=True,
        ema_momentum=recipe.ema,
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    model.compile(
        optimizer,
        keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing),
        metrics=["accuracy"],
        jit_compile=False,  # measured: XLA on a CPU makes these networks five times slower
    )

    def everything() -> list:
        """All that the next step depends on: weights, dropout's random state, moments, averages, step number.
        Keras's own weight files leave the random state out."""
        metrics = {id(v) for v in model.metrics_variables}
        return [v for v in model.variables if id(v) not in metrics] + list(optimizer.variables)

    start = 0
    if resume and checkpoint.exists():
        if json.loads(state.read_text()) != json.loads(json.dumps(asdict(recipe))):
            raise InputError(f"{state}: was written by another recipe; delete the folder or drop --resume")
        optimizer.build(model.trainable_variables)
        with np.load(checkpoint) as stored:
            for i, variable in enumerate(everything()):
                variable.assign(stored[str(i)])
            start = int(stored["epoch"])
    else:
        log.unlink(missing_ok=True)
        with atomic_write(state) as path:
            path.write_text(json.dumps(asdict(recipe)))

    def averaged() -> list[np.ndarray]:
        """Swap the averaged weights in; returns the raw ones."""
        raw = [keras.ops.convert_to_numpy(v) for v in model.trainable_variables]
        for variable, mean in zip(model.trainable_variables, optimizer._model_variables_moving_average):
            variable.assign(mean)
        return raw

    class Save(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.began = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            seconds = time.perf_counter() - self.began
            row = {"epoch": epoch + 1, "seconds": round(seconds, 1), **{k: float(v) for k, v in logs.items()}}
            if validate and ((epoch + 1) % 5 == 0 or epoch + 1 == recipe.epochs):
                raw = averaged()
                row |= validate(model)
                for variable, value in zip(model.trainable_variables, raw):
                    variable.assign(value)
            with atomic_write(checkpoint) as path:
                values = {str(i): keras.ops.convert_to_numpy(v) for i, v in enumerate(everything())}
                np.savez(path, epoch=epoch + 1, **values)  # one file, so that a kill finds one state
            with open(log, "a", encoding="utf-8") as stream:
                stream.write(json.dumps(row) + "\n")
            left = seconds * (recipe.epochs - epoch - 1)
            numbers = "  ".join(
                f"{k} {v:.4f}" for k, v in row.items() if isinstance(v, float) and k != "seconds"
            )
            rate = steps * recipe.batch_size / seconds
            progress(
                f"epoch {epoch + 1}/{recipe.epochs}  {numbers}  {rate:.0f} images/s  {left / 60:.0f} min left"
            )

    targets = np.eye(classes, dtype=np.float32)[labels]
    if start < recipe.epochs:
        model.fit(
            batches(images, targets, recipe, size, start),
            epochs=recipe.epochs,
            initial_epoch=start,
            shuffle=False,
            verbose=0,
            callbacks=[Save()],
        )
    averaged()
    final = build()
    final.set_weights(model.get_weights())
    return final


def train_emotion(
    data: FerData,
    output: Path,
    epochs: int = 60,
    batch_size: int = 128,
    seed: int = 0,
    resume: bool = False,
    progress: Callable[[str], None] = print,
):
    """DeepFace's architecture on a labelled set, with augmentation; PublicTest is looked at along the way.

    Returns (network, recipe): a keras.Model as ``networks.load_emotion_model`` describes.
    """
    from facelib import deepface

    inputs = data.public_test.images[..., None].astype(np.float32) / 255

    def validate(model) -> dict[str, float]:
        answers = np.asarray(model.predict(inputs, batch_size=512, verbose=0), np.float32).argmax(1)
        hit = answers == data.public_test.labels
        recalls = {
            name: float(hit[data.public_test.labels == i].mean())
            for i, name in enumerate(EMOTIONS)
            if name in ("disgust", "fear") and (data.public_test.labels == i).any()
        }
        return {"public_accuracy": float(hit.mean()), **recalls}

    recipe = Recipe(epochs=epochs, batch_size=batch_size, learning_rate=1e-3, seed=seed)
    images, labels = data.train.images, data.train.labels
    build = deepface.emotion_network
    return fit(build, images, labels, recipe, output, 7, 48, validate, resume, progress), recipe


def train_gender(
    data: GenderData,
    output: Path,
    epochs: int = 50,
    batch_size: int = 128,
    seed: int = 0,
    resume: bool = False,
    progress: Callable[[str], None] = print,
):
    """The compact gender network on crops that stray as far as a detector's boxes do, in colour and gray.

    Returns (network, recipe): a keras.Model as ``networks.load_gender_model`` describes.
    """
    from facelib import networks

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

    recipe = Recipe(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=3e-3,
        weight_decay=1e-2,
        ema=0.998,
        seed=seed,
        augmentation=Augmentation(
            rotation=15, scale=1.25, shift=0.1, contrast=0.35, brightness=0.15, gray=0.4, low_resolution=0.35
        ),
    )
    images, labels = data.crops[~held], data.labels[~held]
    build = networks.gender_network
    return fit(
        build, images, labels, recipe, output, 2, networks.GENDER_SIDE, validate, resume, progress
    ), recipe
