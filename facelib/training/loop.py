"""Fitting: batches that are drawn the same way twice, and checkpoints that resume.

Nothing here knows a backend. Batches are made with NumPy and OpenCV beside the training step, from a
generator seeded by (seed, epoch, step): what follows a step is the same whether or not the run was
interrupted after it, on any backend.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from facelib.emotions import EMOTIONS
from facelib.errors import InputError
from facelib.models.registry import precision
from facelib.paths import atomic_write
from facelib.training.augmentation import Augmentation, augment


@dataclass(frozen=True)
class Recipe:
    """One training run, in full: the same recipe, data and machine give the same weights.

    epochs: each of ``steps_per_epoch`` steps; 0: of as many as are a pass over the rows. label_smoothing:
    share of a target that is spread over its classes. mixup: probability that a batch is mixed with itself in
    another order (Zhang et al. 2018, arXiv:1710.09412), one weight a pair from Beta(0.3, 0.3). ema: decay of
    the averaged weights, a step. seed: of weights, dropout, order and augmentation.
    """

    epochs: int = 60
    steps_per_epoch: int = 0
    batch_size: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    label_smoothing: float = 0.1
    mixup: float = 0.0
    ema: float = 0.999
    seed: int = 0
    mixed_precision: bool = True
    augmentation: Augmentation = Augmentation()


def batches(
    images: np.ndarray,
    targets: np.ndarray | Callable | None,
    recipe: Recipe,
    size: int,
    start: int = 0,
    draw: Callable | None = None,
) -> Iterator[tuple]:
    """Endless augmented, shuffled batches from step ``start`` on, each made while the one before is used.

    Yields float32 (b, size, size, 1 or 3) in [0, 1] and (b, classes), or the pictures again where targets is
    None. The last, incomplete batch of a pass over the rows is dropped. draw: as in ``fit``.
    """
    steps = len(images) // recipe.batch_size
    planned = recipe.epochs * (recipe.steps_per_epoch or steps)

    def make(number: int) -> tuple[np.ndarray, np.ndarray]:
        one_pass, step = divmod(number, steps)
        order = np.random.default_rng((recipe.seed, one_pass)).permutation(len(images))
        rows = order[step * recipe.batch_size : (step + 1) * recipe.batch_size]
        rng = np.random.default_rng((recipe.seed, one_pass, step))
        if draw:
            return draw(rows, rng)
        x = augment(images[rows], rng, recipe.augmentation, size)
        if targets is None:
            return x, x
        y = targets(number / planned)[rows] if callable(targets) else targets[rows]
        if recipe.mixup and rng.random() < recipe.mixup:
            partner = rng.permutation(len(rows))
            weight = rng.beta(0.3, 0.3, len(rows)).astype(np.float32)[:, None]
            y = weight * y + (1 - weight) * y[partner]
            weight = weight[..., None, None]
            x = weight * x + (1 - weight) * x[partner]
        return x, y

    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(make, start)
        while True:
            start += 1
            batch, coming = coming, pool.submit(make, start)
            yield batch.result()


def fit(
    build: Callable,
    images: np.ndarray,
    targets: np.ndarray | Callable[[float], np.ndarray] | None,
    recipe: Recipe,
    folder: str | Path,
    size: int,
    loss: Callable | str = "categorical_crossentropy",
    validate: Callable | None = None,
    validate_every: int = 5,
    resume: bool = False,
    progress: Callable[[str], None] = print,
    save_every: float = 120.0,
    before: Callable | None = None,
    draw: Callable | None = None,
):
    """Train ``build()`` with AdamW, a cosine schedule and averaged weights, and return it with them.

    build: makes the network; outputs probabilities. images: (n, s, s[, 3]) uint8. targets: (n, classes)
        float32, one row a picture: probabilities, times the picture's weight. Or a function that gives them
        when a share of the run, from 0 to 1, is done. None: the pictures themselves.
    folder: gets ``recipe.json``; after each epoch a row of ``log.jsonl``; and, after each epoch and whenever
        ``save_every`` seconds have passed, ``checkpoint.npz`` (network, optimizer, random state, step),
        replaced at once: a killed run goes on at the step that was saved last, with equal results.
    loss: as Keras takes it; compares targets with outputs.
    validate: network -> dict of numbers, called with the averaged weights after each ``validate_every``-th
        epoch.
    before: (network, share of the run that is done), called before each step.
    draw: (row numbers (b,), generator) -> what the network takes and what it is to give, in place of
        augmented pictures and their targets.
    Returns the keras.Model in float32. Sources: Loshchilov & Hutter 2019 (arXiv:1711.05101), cosine decay
    arXiv:1608.03983, weight averaging Polyak & Juditsky 1992. Raises InputError where ``folder`` holds a run
    of another recipe, or there are fewer pictures than in one batch.
    """
    import keras

    if len(images) < recipe.batch_size:
        raise InputError(f"{len(images)} pictures are fewer than one batch of {recipe.batch_size}")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint, state, log = folder / "checkpoint.npz", folder / "recipe.json", folder / "log.jsonl"
    keras.utils.set_random_seed(recipe.seed)
    keras.mixed_precision.set_global_policy(precision(recipe.mixed_precision))
    try:
        model = build()
    finally:
        keras.mixed_precision.set_global_policy("float32")
    steps = recipe.steps_per_epoch or len(images) // recipe.batch_size
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
    # Measured: XLA on a CPU makes these networks five times slower.
    model.compile(optimizer, loss, jit_compile=False)
    optimizer.build(model.trainable_variables)

    def everything() -> list:
        """All that the next step depends on: weights, dropout's random state, moments, averages, step number.
        Keras's own weight files leave the random state out."""
        metrics = {id(v) for v in model.metrics_variables}
        return [v for v in model.variables if id(v) not in metrics] + list(optimizer.variables)

    def save() -> None:
        with atomic_write(checkpoint) as path:
            values = {str(i): keras.ops.convert_to_numpy(v) for i, v in enumerate(everything())}
            np.savez(path, step=step, total=total, **values)  # one file, so that a kill finds one state

    def averaged() -> list[np.ndarray]:
        """Swap the averaged weights in; returns the raw ones."""
        raw = [keras.ops.convert_to_numpy(v) for v in model.trainable_variables]
        for variable, mean in zip(model.trainable_variables, optimizer._model_variables_moving_average):
            variable.assign(mean)
        return raw

    step, total = 0, 0.0  # steps done; sum of the losses of the epoch so far
    if resume and checkpoint.exists():
        stored = {**asdict(Recipe()), **json.loads(state.read_text())}
        if json.loads(json.dumps(stored)) != json.loads(json.dumps(asdict(recipe))):
            raise InputError(f"{state}: was written by another recipe; delete the folder or drop --resume")
        with np.load(checkpoint) as stored:
            for i, variable in enumerate(everything()):
                variable.assign(stored[str(i)])
            step, total = int(stored["step"]), float(stored["total"])
        done = [line for line in _lines(log) if json.loads(line)["epoch"] <= step // steps]
        with atomic_write(log) as path:
            path.write_text("".join(line + "\n" for line in done))
    else:
        log.unlink(missing_ok=True)
        with atomic_write(state) as path:
            path.write_text(json.dumps(asdict(recipe)))

    last = recipe.epochs * steps
    stream = batches(images, targets, recipe, size, step, draw)
    began = saved = time.perf_counter()
    first = step  # of those since ``began``
    while step < last:
        if before:
            before(model, step / last)
        total += float(model.train_on_batch(*next(stream)))
        step += 1
        now = time.perf_counter()
        if step % steps == 0:
            epoch, rate = step // steps, (step - first) / (now - began)
            row = {"epoch": epoch, "seconds": round(now - began, 1), "loss": total / steps}
            if validate and (epoch % validate_every == 0 or step == last):
                raw = averaged()
                row |= validate(model)
                for variable, value in zip(model.trainable_variables, raw):
                    variable.assign(value)
            with open(log, "a", encoding="utf-8") as lines:
                lines.write(json.dumps(row) + "\n")
            numbers = "  ".join(f"{k} {v:.4f}" for k, v in row.items() if k not in ("epoch", "seconds"))
            progress(
                f"epoch {epoch}/{recipe.epochs}  {numbers}  {rate * recipe.batch_size:.0f} images/s  "
                f"{(last - step) / rate / 60:.0f} min left"
            )
            total, began, first = 0.0, time.perf_counter(), step
        if step % steps == 0 or now - saved > save_every:
            save()
            saved = time.perf_counter()
    stream.close()
    averaged()
    final = build()
    final.set_weights(model.get_weights())
    return final


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def import_keras() -> None:
    """Import Keras over TensorFlow with oneDNN's kernels, which train twice as fast here, and in silence.

    oneDNN announces itself on the process's standard error whatever the log level, so that is closed
    meanwhile. TensorFlow's warnings are silenced too: it counts the networks and sizes that it meets. It must
    come before anything else imports TensorFlow.
    """
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        import keras  # noqa: F401
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def wake(model, inputs: np.ndarray):
    """Start a Keras stack of layers so that on ``inputs`` every unit has mean 0 and deviation 1; returns it.

    Data-dependent initialisation (Krahenbuhl et al. 2016, arXiv:1511.06856): layer after layer the kernel is
    divided and the bias shifted. The last layer gets a third of it, so that first answers are mild.
    """
    x = inputs
    for layer in model.layers:
        if hasattr(layer, "kernel"):
            activation, layer.activation = layer.activation, lambda y: y
            y = np.asarray(layer(x), np.float32)
            layer.activation = activation
            mean, spread = (f(y, axis=tuple(range(y.ndim - 1))) for f in (np.mean, np.std))
            scale = (1 / 3 if layer is model.layers[-1] else 1) / (spread + 1e-6)
            kernel, bias = layer.get_weights()
            layer.set_weights([kernel * scale, (bias - mean) * scale])
        x = layer(x)
    return model


def brief(recipe: Recipe, rows: int) -> Recipe:
    """The recipe, with weights that are averaged over a tenth of the run at most: a short run's average would
    be what it began with."""
    steps = recipe.epochs * (recipe.steps_per_epoch or max(1, rows // recipe.batch_size))
    return replace(recipe, ema=min(recipe.ema, round(max(0.5, 1 - 10 / steps), 5)))


def one_hot(labels: np.ndarray, classes: int = len(EMOTIONS), smoothing: float = 0.0) -> np.ndarray:
    """Targets (n, classes) float32 of labels (n,), smoothed (Szegedy et al. 2016, arXiv:1512.00567)."""
    return np.eye(classes, dtype=np.float32)[labels] * (1 - smoothing) + np.float32(smoothing / classes)
