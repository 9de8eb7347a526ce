"""The training loop: reproducible batches, and checkpoints that resume exactly.

Nothing here knows a backend. Batches are made with NumPy and OpenCV beside the training step, from a
generator seeded by (seed, epoch, step): what follows a step is the same whether or not the run was
interrupted after it (but under PyTorch, where dropout draws from a state that Keras does not keep).

Why not ``keras.Model.fit`` with callbacks: it starts at an epoch, not within one; the running loss, dropout's
random state and the place in the data are not among what its callbacks save. Restoring them takes more
lines than this loop, which resumes exactly at any step.
"""

from __future__ import annotations

import json
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from facelib import files
from facelib.emotions import EMOTIONS
from facelib.errors import InputError
from facelib.models.registry import cores, precision_policy
from facelib.paths import atomic_write
from facelib.training import runs
from facelib.training.augmentation import Augmentation, augment, mix


@dataclass(frozen=True)
class TrainingConfig:
    """One training run, in full: the same configuration, data and machine give the same weights.

    epochs: each of ``steps_per_epoch`` steps; 0: of as many as are a pass over the rows. label_smoothing:
    share of a target that is spread over its classes. mixup, cutmix: probabilities that a picture is mixed
    with another (``augmentation.mix``). ema: decay of the averaged weights, a step. seed: of weights,
    dropout, order and augmentation.
    """

    epochs: int = 60
    steps_per_epoch: int = 0
    batch_size: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    label_smoothing: float = 0.1
    mixup: float = 0.0
    cutmix: float = 0.0
    ema: float = 0.999
    seed: int = 0
    mixed_precision: bool = True
    augmentation: Augmentation = Augmentation()


def batches(
    images: np.ndarray,
    targets: np.ndarray | Callable | None,
    config: TrainingConfig,
    size: int,
    start: int = 0,
    draw: Callable | None = None,
) -> Iterator[tuple]:
    """Endless augmented, shuffled batches from step ``start`` on, made while those before are used.

    Yields float32 (b, size, size, 1 or 3) in [0, 1] and (b, classes), or the pictures again where targets is
    None. The last, incomplete batch of a pass over the rows is dropped. draw: as in ``fit``.
    """
    steps = len(images) // config.batch_size
    planned = config.epochs * (config.steps_per_epoch or steps)

    def make(number: int) -> tuple[np.ndarray, np.ndarray]:
        one_pass, step = divmod(number, steps)
        order = np.random.default_rng((config.seed, one_pass)).permutation(len(images))
        rows = order[step * config.batch_size : (step + 1) * config.batch_size]
        rng = np.random.default_rng((config.seed, one_pass, step))
        if draw:
            return draw(rows, rng)
        x = augment(images[rows], rng, config.augmentation, size)
        if targets is None:
            return x, x
        y = targets(number / planned)[rows] if callable(targets) else targets[rows]
        if config.mixup or config.cutmix:
            x, y = mix(x, y, config.mixup, config.cutmix, rng)
        return x, y

    threads = max(1, min(8, cores() // 2))  # one keeps up with two cores' steps, an accelerator wants more
    with ThreadPoolExecutor(threads) as pool:
        coming = deque(pool.submit(make, start + i) for i in range(threads))
        while True:
            coming.append(pool.submit(make, start + threads))
            start += 1
            yield coming.popleft().result()


def fit(
    build: Callable,
    images: np.ndarray,
    targets: np.ndarray | Callable[[float], np.ndarray] | None,
    config: TrainingConfig,
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
    teach: Callable | None = None,
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
    teach: (augmented, mixed pictures, their targets) -> the targets that are learnt in their place.
    Returns the keras.Model in float32. Sources: Loshchilov & Hutter 2019 (arXiv:1711.05101), cosine decay
    arXiv:1608.03983, weight averaging Polyak & Juditsky 1992. Raises InputError where ``folder`` holds a run
    of another configuration or a damaged checkpoint, or there are fewer pictures than in one batch; lines of
    the log that are damaged are dropped.
    """
    from facelib.backend import keras

    if len(images) < config.batch_size:
        raise InputError(f"{len(images)} pictures are fewer than one batch of {config.batch_size}")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint, state, log = (folder / name for name in (runs.CHECKPOINT, runs.CONFIG, runs.LOG))
    keras.utils.set_random_seed(config.seed)
    with precision_policy(config.mixed_precision):
        model = build()
    steps = config.steps_per_epoch or len(images) // config.batch_size
    optimizer = _optimizer(config, steps)
    # Measured: XLA on a CPU makes these networks five times slower; JAX without it compiles every operation.
    model.compile(optimizer, loss, jit_compile=keras.backend.backend() == "jax")
    optimizer.build(model.trainable_variables)

    def everything() -> list:
        """All that the next step depends on: weights, dropout's random state, moments, averages, step number.
        Keras's own weight files leave the random state out."""
        metrics = {id(v) for v in model.metrics_variables}
        return [v for v in model.variables if id(v) not in metrics] + list(optimizer.variables)

    def numpy(variables) -> list[np.ndarray]:
        return [np.array(keras.ops.convert_to_numpy(v)) for v in variables]

    def assign(variables, values) -> None:
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)

    anew = "delete it to begin the run anew"
    step, total = 0, 0.0  # steps done; sum of the losses of the epoch so far
    if resume and os.path.lexists(checkpoint):
        usual = asdict(TrainingConfig())  # of fields that an older run did not know
        stored = usual | files.read_record(state, anew)
        if isinstance(stored["augmentation"], dict):
            stored["augmentation"] = usual["augmentation"] | stored["augmentation"]
        if json.loads(json.dumps(stored)) != json.loads(json.dumps(asdict(config))):
            raise InputError(
                f"{state}: was written with another configuration; delete the folder or drop --resume"
            )
        now = numpy(everything())
        stored = files.read_arrays(checkpoint, anew, sum(each.nbytes for each in now) + (1 << 24))
        with files.blame(checkpoint, anew):
            values, step, total = (
                [stored[str(i)] for i in range(len(now))],
                int(stored["step"]),
                stored["total"],
            )
            if any(a.shape != b.shape or a.dtype != b.dtype for a, b in zip(values, now)):
                raise ValueError("other shapes than this network's")
            if not (0 <= step <= config.epochs * steps and all(map(_finite, (*values, total)))):
                raise ValueError("numbers that no training leaves")
            total = float(total)
        assign(everything(), values)
        rows = runs.read_log(log)
        with atomic_write(log) as path:
            lines = (json.dumps(row) + "\n" for row in rows if row["epoch"] <= step // steps)
            path.write_text("".join(lines), encoding="utf-8")
    else:
        log.unlink(missing_ok=True)
        with atomic_write(state) as path:
            path.write_text(json.dumps(asdict(config)))

    last = config.epochs * steps
    stream = batches(images, targets, config, size, step, draw)
    began = saved = time.perf_counter()
    first = step  # of those since ``began``
    while step < last:
        if before:
            before(model, step / last)
        inputs, wanted = next(stream)
        total += float(model.train_on_batch(inputs, teach(inputs, wanted) if teach else wanted))
        step += 1
        now = time.perf_counter()
        if step % steps == 0:
            epoch, rate = step // steps, (step - first) / (now - began)
            row = {"epoch": epoch, "seconds": round(now - began, 1), "loss": total / steps}
            if validate and (epoch % validate_every == 0 or step == last):
                raw = numpy(model.trainable_variables)
                optimizer.finalize_variable_values(model.trainable_variables)  # the averaged weights
                assign(model.trainable_variables, numpy(model.trainable_variables))  # JAX would use them up
                row |= validate(model)
                assign(model.trainable_variables, raw)
            with open(log, "a", encoding="utf-8") as lines:
                lines.write(json.dumps(row) + "\n")
            numbers = "  ".join(f"{k} {v:.4f}" for k, v in row.items() if k not in ("epoch", "seconds"))
            progress(
                f"epoch {epoch}/{config.epochs}  {numbers}  {rate * config.batch_size:.0f} images/s  "
                f"{(last - step) / rate / 60:.0f} min left"
            )
            total, began, first = 0.0, time.perf_counter(), step
        if step % steps == 0 or now - saved > save_every:
            with atomic_write(checkpoint) as path:  # one file, so that a kill leaves one state
                values = {str(i): value for i, value in enumerate(numpy(everything()))}
                np.savez(path, step=step, total=total, **values)
            saved = time.perf_counter()
    stream.close()
    optimizer.finalize_variable_values(model.trainable_variables)
    with precision_policy(False):
        final = build()
    final.set_weights(model.get_weights())
    return final


def _finite(values: np.ndarray) -> bool:
    return values.dtype.kind not in "fc" or bool(np.isfinite(values).all())


def _optimizer(config: TrainingConfig, steps: int):
    """AdamW with warm-up in the first epoch of ``steps`` steps, cosine decay and averaged weights."""
    from facelib.backend import keras

    schedule = keras.optimizers.schedules.CosineDecay(
        config.learning_rate / 20,
        decay_steps=max(1, (config.epochs - 1) * steps),
        alpha=1e-3,
        warmup_target=config.learning_rate,
        warmup_steps=steps,
    )
    optimizer = keras.optimizers.AdamW(
        schedule,
        weight_decay=config.weight_decay,
        global_clipnorm=1.0,
        use_ema=True,
        ema_momentum=config.ema,
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def data_dependent_init(model, inputs: np.ndarray):
    """Scale a Keras stack of layers so that on ``inputs`` every unit has mean 0 and deviation 1; returns it.

    Data-dependent initialisation (Krahenbuhl et al. 2016, arXiv:1511.06856): layer after layer the kernel is
    divided and the bias shifted. The last layer gets a third of it, so that the first probabilities are mild.
    """
    from facelib.backend import ops

    x = inputs
    for layer in model.layers:
        if hasattr(layer, "kernel"):
            activation, layer.activation = layer.activation, lambda y: y
            y = np.asarray(ops.convert_to_numpy(layer(x)), np.float32)
            layer.activation = activation
            mean, spread = (f(y, axis=tuple(range(y.ndim - 1))) for f in (np.mean, np.std))
            scale = (1 / 3 if layer is model.layers[-1] else 1) / (spread + 1e-6)
            kernel, bias = layer.get_weights()
            layer.set_weights([kernel * scale, (bias - mean) * scale])
        x = layer(x)
    return model


def limit_ema(config: TrainingConfig, rows: int) -> TrainingConfig:
    """The configuration, with weights averaged over a tenth of the run at most: the average of a short run
    would otherwise be what it began with."""
    steps = config.epochs * (config.steps_per_epoch or max(1, rows // config.batch_size))
    return replace(config, ema=min(config.ema, round(max(0.5, 1 - 10 / steps), 5)))


def one_hot(labels: np.ndarray, classes: int = len(EMOTIONS), smoothing: float = 0.0) -> np.ndarray:
    """Targets (n, classes) float32 of labels (n,), smoothed (Szegedy et al. 2016, arXiv:1512.00567)."""
    return np.eye(classes, dtype=np.float32)[labels] * (1 - smoothing) + np.float32(smoothing / classes)
