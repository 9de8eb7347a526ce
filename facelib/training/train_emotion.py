"""Which data, which targets and which settings make the networks that read emotions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from facelib.data.fer2013 import for_training
from facelib.emotions import EMOTIONS, FerData, Split
from facelib.errors import InputError
from facelib.models import deepface, emotion, registry
from facelib.paths import atomic_write
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
#: towards equal ones. Chosen on PublicTest, where seven biases fitted one by one are worth less on the other
#: half than this number. It would cost the tiny network nearly a point of accuracy, and costs the two
#: branches nothing; merged, these take most of it back, and are right more often, on the rare classes too.
LOGIT_ADJUSTMENT = {"deep": 0.4, "plain": 0.4, "facelib": -0.3, "tiny": 0.0}
#: Share of the label's place that a teacher's prediction takes.
TEACHER_WEIGHT = 0.7


def emotion_targets(split: Split, smoothing: float, taught: np.ndarray | None = None) -> np.ndarray:
    """Targets of a split: the label's seven and, beside them, the votes' ten.

    (n, 17) float32: the smoothed label, then ``VOTES_WEIGHT`` times the votes' shares, 0 without votes.
    The cross-entropy is linear in its target, so this is the sum of two losses. taught: (n, 7), teacher
    predictions, which take ``TEACHER_WEIGHT`` of the label's place (Hinton et al. 2015, arXiv:1503.02531).
    """
    labels = one_hot(split.labels, smoothing=smoothing)
    if taught is not None:
        labels = TEACHER_WEIGHT * taught + (1 - TEACHER_WEIGHT) * labels
    votes = np.zeros((len(split), 10)) if split.votes is None else split.votes.astype(np.float64)
    shares = votes / np.maximum(votes.sum(1, keepdims=True), 1)
    return np.hstack([labels, VOTES_WEIGHT * shares]).astype(np.float32)


def two_heads(targets, outputs):
    """Cross-entropies of both heads, (n,): targets and outputs (n, 17) as ``emotion_targets`` says."""
    from facelib.backend import ops

    return -ops.sum(targets * ops.log(ops.clip(outputs, 1e-7, 1.0)), axis=-1)


_LITTLE = Augmentation(rotation=8, scale=1.08, shift=0.06, contrast=0.2, brightness=0.08, erase=0.15)
#: Settings of the emotion networks, and of stage two on whole images; what is not named is
#: ``TrainingConfig``'s own.
EMOTION_CONFIGS = {
    "deep": TrainingConfig(
        epochs=60,
        learning_rate=2e-3,
        weight_decay=5e-2,
        augmentation=Augmentation(
            rotation=12, scale=1.12, shift=0.1, contrast=0.25, brightness=0.1, erase=0.3
        ),
    ),
    "deep, stage two": TrainingConfig(
        epochs=8, learning_rate=3e-4, weight_decay=5e-2, ema=0.998, augmentation=_LITTLE
    ),
    "tiny": TrainingConfig(
        epochs=120,
        learning_rate=4e-3,
        weight_decay=1e-2,
        augmentation=Augmentation(
            rotation=10, scale=1.08, shift=0.08, contrast=0.25, brightness=0.1, erase=0.0
        ),
    ),
    "tiny, stage two": TrainingConfig(epochs=16, learning_rate=1e-3, weight_decay=1e-2, augmentation=_LITTLE),
    "baseline": TrainingConfig(epochs=60, learning_rate=1e-3),
}
EMOTION_CONFIGS["plain"] = replace(EMOTION_CONFIGS["deep"], epochs=36)
EMOTION_CONFIGS["plain, stage two"] = EMOTION_CONFIGS["deep, stage two"]


def train_emotion(
    data: FerData,
    output: Path,
    name: str = "deep",
    teachers: Sequence[str | Path | keras.Model] = (),
    start: Path | None = None,
    resume: bool = False,
    progress: Callable[[str], None] = print,
    **chosen,
):
    """Train an emotion network on the training split's labels and votes; PublicTest is watched, or what
    ``for_training`` sets aside in its place.

    output: the run's folder, as ``runs`` describes. name: "deep" or "plain", the branches of the network that
        ships as "facelib"; "tiny"; or "baseline": DeepFace's architecture, trained on the labels alone and
        left as it comes out; the others are calibrated on PublicTest and put into the form that is shipped.
    teachers: networks (n, 48, 48, 1) -> (n, 7), shipped networks' names or folders of finished runs; the mean
        of their predictions on the training images is learnt as well (distillation).
    start: the folder of a finished run of the same network: stage two goes on from there on whole images,
        with an eighth of the steps.
    chosen: fields of ``TrainingConfig`` that shall differ.

    Returns (network, configuration): a keras.Model as ``registry.load_emotion_model`` describes. Raises
    InputError for a start or a teacher that there is not, or a set without rows to train on.
    """
    output = Path(output)
    if str(start) == runs.SHIPPED_PRIOR:
        raise InputError("a shipped emotion network has lost the head that learns votes: name a run's folder")
    if start and name == "baseline":
        raise InputError("DeepFace's architecture has no stage two: choose another network, or no start")
    before, data = runs.stage_one_weights(start), for_training(data)
    config = replace(EMOTION_CONFIGS[f"{name}, stage two" if start else name], **chosen)
    config = config if start else limit_ema(config, len(data.train))
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
        if not resume:
            (output / runs.TEACHER).unlink(missing_ok=True)
        taught = teacher_predictions(teachers, images, output, progress) if teachers else None
        targets = emotion_targets(data.train, config.label_smoothing, taught)

        def build():
            model = emotion.emotion_network(name, votes=True)
            if before:
                registry.load_weights(model, before)
            return model

        size = emotion.EMOTION_SIDE if start else WINDOW
        trained = fit(build, images, targets, config, output, size, two_heads, **options)
        runs.save_weights(trained, output / runs.STAGE_ONE)
        raw = emotion.fold_batch_norm(trained, name).predict(inputs, batch_size=512, verbose=0)
        network = emotion.fold_batch_norm(trained, name, *_calibration(data, raw, LOGIT_ADJUSTMENT[name]))
    command = runs.command("emotion", config, dataset=data.option, model=name, teacher=teachers, start=start)
    architecture = "deepface" if name == "baseline" else name
    facts = runs.stage_one_facts(start)
    runs.write(output, network, architecture, config, data, command=command, **facts)
    return network, config


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


def teacher_predictions(
    teachers: Sequence, images: np.ndarray, output: Path, progress: Callable[[str], None]
) -> np.ndarray:
    """The teachers' mean probabilities, (n, 7), over each image as it is and moved by three pixels both ways,
    and over the mirror images of these. Kept in ``output``, so that a resumed run does not predict again."""
    kept, shape = output / runs.TEACHER, (len(images), len(EMOTIONS))
    if (found := runs.read_teacher(kept)) is not None and found.shape == shape:
        return found
    progress(f"predictions of {len(teachers)} teachers on {len(images):,} images")
    networks = [runs.load_teacher(each) for each in teachers]
    found = np.zeros(shape, np.float32)
    for start in tqdm(range(0, len(images), 256), unit_scale=256, unit="image", disable=None):
        batch = images[start : start + 256]
        for move in (-3, 0, 3):
            moved = np.pad(batch, ((0, 0), (3, 3), (3, 3)), "edge")[:, 3 + move :, 3 + move :][:, :48, :48]
            for seen in (moved, moved[:, :, ::-1]):
                inputs = emotion.emotion_inputs(seen)
                for network in networks:
                    found[start : start + 256] += network.predict_on_batch(inputs)
    found /= found.sum(1, keepdims=True)
    with atomic_write(kept) as path:
        np.save(path, found)
    return found


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
