"""Which data, which targets and which settings make the networks that read emotions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from facelib.data.fer2013 import for_training
from facelib.emotions import EMOTIONS, FerData, Split
from facelib.errors import InputError
from facelib.models import deepface, emotion, registry
from facelib.training import calibration, runs
from facelib.training.augmentation import Augmentation
from facelib.training.loop import TrainingConfig, fit, limit_ema, one_hot

if TYPE_CHECKING:
    import keras

#: Training sees windows of this side, the network predicts from the whole 48 pixels: the windows' places
#: are an augmentation, and a third of the work is saved (train small, test larger: arXiv:1906.06423).
WINDOW = 40
#: Weight of the FER+ votes' loss beside that of FER-2013's labels.
VOTES_WEIGHT = 0.5
#: Strength of the logit adjustment, how far shipped networks are moved from FER-2013's shares of the emotions
#: towards equal ones; chosen on PublicTest, 0 for the others. The two branches' is a net 0.1.
LOGIT_ADJUSTMENT = {"deep": 0.4, "plain": 0.4, "facelib": -0.3}
#: Share of the labels and votes in a student's targets; the rest is what its teachers predict.
LABEL_WEIGHT = 0.1
#: The teachers' networks in turn, two kinds: they err differently, and together seldom.
TEACHERS = ("resnet", "vgg")


def emotion_targets(split: Split, smoothing: float) -> np.ndarray:
    """Targets of a split: the label's seven and, beside them, the votes' ten.

    (n, 17) float32: the smoothed label, then ``VOTES_WEIGHT`` times the votes' shares, 0 without votes.
    The cross-entropy is linear in its target, so this is the sum of two losses.
    """
    labels = one_hot(split.labels, smoothing=smoothing)
    votes = np.zeros((len(split), 10)) if split.votes is None else split.votes.astype(np.float64)
    shares = votes / np.maximum(votes.sum(1, keepdims=True), 1)
    return np.hstack([labels, VOTES_WEIGHT * shares]).astype(np.float32)


def matching(teachers: Sequence[keras.Model]) -> Callable:
    """Targets by function matching (Beyer et al. 2021, arXiv:2106.05237), as ``loop.fit`` takes them.

    The student learns what its teachers predict, (n, 17) each, on the picture that it gets itself, augmented
    and mixed, so that there is no end to its lessons. Each teacher sees another of ``emotion.CROPS`` of it:
    their mean is what should be said of any of these (consistency).
    """
    scale = np.repeat([1, VOTES_WEIGHT], [7, 10]).astype(np.float32)

    def teach(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        places = np.arange(len(x))
        crops = (emotion.moved(x, (places + i) % len(emotion.CROPS)) for i in range(len(teachers)))
        told = [np.asarray(each.predict_on_batch(crop)) for each, crop in zip(teachers, crops, strict=True)]
        return LABEL_WEIGHT * y + (1 - LABEL_WEIGHT) * scale * np.mean(told, axis=0, dtype=np.float32)

    return teach


def two_heads(targets, outputs):
    """Cross-entropies of both heads, (n,): targets and outputs (n, 17) as ``emotion_targets`` says."""
    from facelib.backend import ops

    return -ops.sum(targets * ops.log(ops.clip(outputs, 1e-7, 1.0)), axis=-1)


#: What a face may look like elsewhere: cut out by another detector, smaller, darker, compressed.
_WIDE = Augmentation(
    rotation=15, scale=1.2, shift=0.1, contrast=0.3, brightness=0.12, erase=0.3,
    low_resolution=0.25, aspect=1.1, jpeg=0.25, gamma=1.5,
)  # fmt: skip
_LITTLE = Augmentation(
    rotation=8, scale=1.08, shift=0.06, contrast=0.2, brightness=0.08, erase=0.1,
    low_resolution=0.15, aspect=1.05, jpeg=0.15, gamma=1.25,
)  # fmt: skip
_LARGE = TrainingConfig(
    epochs=60, learning_rate=2e-3, weight_decay=5e-2, label_smoothing=0.08, mixup=0.25, cutmix=0.25,
    ema=0.998, augmentation=_WIDE,
)  # fmt: skip
_TINY = replace(
    _LARGE, epochs=120, learning_rate=4e-3, weight_decay=1e-2, mixup=0.1, cutmix=0.1,
    augmentation=replace(_WIDE, rotation=10, scale=1.12, erase=0.0),
)  # fmt: skip
#: Settings of the emotion networks, and of stage two on whole images; what is not named is
#: ``TrainingConfig``'s own.
EMOTION_CONFIGS = dict.fromkeys(emotion.NETWORKS, _LARGE) | {"tiny": _TINY}
EMOTION_CONFIGS |= {
    f"{name}, stage two": replace(
        config, epochs=config.epochs // 5, learning_rate=config.learning_rate / 6, mixup=0.1, cutmix=0.1,
        augmentation=_LITTLE,
    )
    for name, config in EMOTION_CONFIGS.items()
}  # fmt: skip
EMOTION_CONFIGS["baseline"] = TrainingConfig(epochs=60, learning_rate=1e-3)


def train_emotion(
    data: FerData,
    output: Path,
    name: str = "deep",
    teachers: Sequence[str | Path] = (),
    start: Path | None = None,
    resume: bool = False,
    progress: Callable[[str], None] = print,
    facts: Mapping = {},
    **chosen,
):
    """Train an emotion network on the training split's labels and votes; PublicTest is watched, or what
    ``for_training`` sets aside in its place.

    output: the run's folder, as ``runs`` describes; with resume a finished run of the same configuration is
        left as it is. name: of ``emotion.NETWORKS``, or "baseline": DeepFace's architecture, trained on the
        labels alone and left as it comes out; the others are calibrated on PublicTest and put into the form
        that is shipped.
    teachers: folders of finished runs of ``emotion.NETWORKS``, whose predictions are learnt (``matching``).
    start: the folder of a finished run of the same network: stage two goes on from there on whole images,
        with few steps.
    facts: what else the run's record says. chosen: fields of ``TrainingConfig`` that shall differ.

    Returns (network, configuration): a keras.Model as ``registry.load_emotion_model`` describes. Raises
    InputError for a start or a teacher that there is not, or a set without rows to train on.
    """
    output = Path(output)
    if str(start) == runs.SHIPPED_PRIOR:
        raise InputError("a shipped emotion network has lost the head that learns votes: name a run's folder")
    if start and name == "baseline":
        raise InputError("DeepFace's architecture has no stage two: choose another network, or no start")
    before, data = runs.stage_one_weights(start), for_training(data)
    if teachers:  # they are not sure of everything either: soft targets already
        chosen = {"label_smoothing": 0.0} | chosen
    config = replace(EMOTION_CONFIGS[f"{name}, stage two" if start else name], **chosen)
    config = limit_ema(config, len(data.train))
    if resume and (network := runs.finished(output, config, data)):
        return network, config
    (output / runs.RECORD).unlink(missing_ok=True)
    public = data.public_test
    inputs = emotion.emotion_inputs(public.images)

    def validate(model) -> dict[str, float]:
        found = np.asarray(model.predict(inputs, batch_size=512, verbose=0), np.float32)[:, :7].argmax(1)
        hit = found == public.labels
        rare = {each: public.labels == EMOTIONS.index(each) for each in ("disgust", "fear")}
        recalls = {each: float(hit[rows].mean()) for each, rows in rare.items() if rows.any()}
        return {"public_accuracy": float(hit.mean()), **recalls}

    options = {"validate": validate, "resume": resume, "progress": progress}
    images = data.train.images
    if name == "baseline":
        targets = one_hot(data.train.labels, smoothing=config.label_smoothing)
        network = fit(deepface.emotion_network, images, targets, config, output, 48, **options)
    else:
        targets = emotion_targets(data.train, config.label_smoothing)
        if teachers:
            options["teach"] = matching([runs.load_trained(folder) for folder in teachers])

        def build():
            model = emotion.emotion_network(name, votes=True)
            if before:
                registry.load_weights(model, before)
            return model

        size = emotion.EMOTION_SIDE if start else WINDOW
        trained = fit(build, images, targets, config, output, size, two_heads, **options)
        runs.save_weights(trained, output / runs.STAGE_ONE)
        raw = emotion.fold_batch_norm(trained, name).predict(inputs, batch_size=512, verbose=0)
        network = emotion.fold_batch_norm(
            trained, name, *_calibration(data, raw, LOGIT_ADJUSTMENT.get(name, 0))
        )
    command = runs.command("emotion", config, dataset=data.option, model=name, teacher=teachers, start=start)
    architecture = "deepface" if name == "baseline" else name
    facts = {"command": command} | runs.stage_one_facts(start) | dict(facts)
    runs.write(output, network, architecture, config, data, **facts)
    return network, config


def train_with_teachers(
    data: FerData,
    output: Path,
    name: str = "resnet",
    teachers: int = 4,
    resume: bool = False,
    progress: Callable[[str], None] = print,
    epochs: int = _LARGE.epochs,
    seed: int = 0,
    **chosen,
):
    """Teachers from nothing, then their student from nothing: a network better than each of them.

    output: gets a run in each of teacher-1, teacher-2 … (``TEACHERS`` in turn, each pair with its own seed),
        NAME-windows (the student, for twice as many epochs) and NAME (a last tenth on whole images). With
        resume all goes on where it was, and what is finished is taken as it is, also for another student.
    epochs: of each teacher. chosen: fields of ``TrainingConfig`` that shall differ in all of them.

    Returns (network, configuration) of the student, as ``train_emotion``; its record has the shares of
    PublicTest on which each teacher and their mean are right.
    """
    output, public = Path(output), for_training(data).public_test
    folders = [output / f"teacher-{i + 1}" for i in range(teachers)]
    windows, last = output / f"{name}-windows", output / name
    for folder in (*folders, windows, last):
        if not resume:  # else a later part of an earlier training would pass for one of this
            (folder / runs.RECORD).unlink(missing_ok=True)
    shared = {"resume": resume, "progress": progress, **chosen}
    predicted, right = [], []
    for i, folder in enumerate(folders):
        kind = TEACHERS[i % len(TEACHERS)]
        progress(f"teacher {i + 1} of {teachers}, {kind}: {folder}")
        own = seed + i // len(TEACHERS)
        network, _ = train_emotion(data, folder, kind, epochs=epochs, seed=own, **shared)
        predicted.append(network.predict(emotion.emotion_inputs(public.images), batch_size=512, verbose=0))
    for each in (*predicted, np.mean(predicted, axis=0)):
        right.append(float((each.argmax(1) == public.labels).mean()))
    progress(f"right on PublicTest: {', '.join(f'{each:.4f}' for each in right)} (the mean of all)")
    command = f"facelib train emotion --teachers {teachers} --model {name} --seed {seed} --epochs {epochs}"
    command += f" --dataset {data.option}" + "".join(
        f" --{k.replace('_', '-')} {v}" for k, v in chosen.items()
    )
    facts = {"command": command}
    facts |= {"teachers_public_accuracy": right[:-1], "ensemble_public_accuracy": right[-1]}
    shared |= {"teachers": folders, "seed": seed}
    progress(f"student, {name}: {windows}, then on whole images: {last}")
    train_emotion(data, windows, name, epochs=2 * epochs, **shared)
    return train_emotion(data, last, name, start=windows, epochs=max(1, epochs // 5), facts=facts, **shared)


def _calibration(data: FerData, probabilities: np.ndarray, strength: float) -> tuple[float, np.ndarray]:
    """Temperature and bias of a shipped network, from its probabilities on PublicTest, (n, 7).

    The bias is the share ``strength`` of what would make all classes equally likely beforehand (logit
    adjustment, arXiv:2007.07314): only in FER-2013 is disgust one face in sixty-six. Then the temperature.
    """
    shares = np.bincount(data.train.labels, minlength=len(EMOTIONS)) / len(data.train)
    bias = -strength * np.log(np.maximum(shares, 1e-3))
    bias -= bias.mean()
    moved = calibration.apply_calibration(probabilities, 1, bias)
    temperature, _ = calibration.calibrate(data.public_test.labels, moved, "temperature")
    return temperature, bias / temperature


def merge_runs(data: FerData, output: Path, folders: Sequence[Path]) -> tuple[keras.Model, dict]:
    """The network that ships as "facelib", from finished runs of its branches, calibrated on PublicTest.

    output: gets a complete run. Returns the keras.Model and its configuration, with the seed of the first
    run. Raises InputError for runs that are not of ``emotion.BRANCHES``, each once and in this order.
    """
    records = [runs.record(folder) for folder in folders]
    found = [each["architecture"] for each in records]
    if found != list(emotion.BRANCHES):
        raise InputError(
            f"columns are runs of {', '.join(emotion.BRANCHES)}, in this order, not of {', '.join(found)}"
        )
    trained, data = [runs.load_run(folder) for folder in folders], for_training(data)
    public = emotion.emotion_inputs(data.public_test.images)
    raw = emotion.merge_branches(trained).predict(public, batch_size=512, verbose=0)
    network = emotion.merge_branches(trained, *_calibration(data, raw, LOGIT_ADJUSTMENT["facelib"]))
    config = {"seed": records[0]["recipe"].get("seed"), "columns": list(emotion.BRANCHES)}
    command = f"facelib train emotion --columns {' '.join(map(str, folders))}"
    runs.write(output, network, "facelib", config, data, command=command, columns=records)
    return network, config
