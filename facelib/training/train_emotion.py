"""Which data, which targets and which settings make the networks that read emotions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from facelib.emotions import EMOTIONS, FerData, Split
from facelib.errors import InputError
from facelib.models import deepface, emotion
from facelib.paths import atomic_write
from facelib.training import calibration
from facelib.training.augmentation import Augmentation
from facelib.training.loop import Recipe, brief, fit, one_hot
from facelib.training.runs import FIRST_COURSE, SHIPPED, first_course, load_run, record

if TYPE_CHECKING:
    import keras

#: Training sees windows of this side, the network's answers are for the whole 48 pixels: the windows' places
#: are an augmentation, and a third of the work is saved (train small, test larger: arXiv:1906.06423).
WINDOW = 40
#: Weight of the FER+ votes' loss beside that of FER-2013's labels.
VOTES_WEIGHT = 0.5
#: How far shipped networks are moved from FER-2013's shares of the emotions towards equal ones. Chosen on
#: PublicTest, where seven biases fitted one by one are worth less on the other half than this number. It
#: would cost the tiny network nearly a point of accuracy, and costs the columns nothing; joined, these take
#: most of it back, and are right more often, on the rare classes too.
EVEN = {"deep": 0.4, "plain": 0.4, "facelib": -0.3, "tiny": 0.0}
#: Share of the label's place that a teacher's answer takes.
TEACHER_WEIGHT = 0.7


def emotion_targets(split: Split, smoothing: float, taught: np.ndarray | None = None) -> np.ndarray:
    """What an emotion network is to say of a split: the label's seven and, beside them, the votes' ten.

    (n, 17) float32: the smoothed label, then ``VOTES_WEIGHT`` times the votes' shares, 0 where nobody voted.
    The cross-entropy is linear in its target, so this is the sum of two losses. taught: (n, 7), a teacher's
    answers, which take ``TEACHER_WEIGHT`` of the label's place (Hinton et al. 2015, arXiv:1503.02531).
    """
    labels = one_hot(split.labels, smoothing=smoothing)
    if taught is not None:
        labels = TEACHER_WEIGHT * taught + (1 - TEACHER_WEIGHT) * labels
    votes = np.zeros((len(split), 10)) if split.votes is None else split.votes.astype(np.float64)
    shares = votes / np.maximum(votes.sum(1, keepdims=True), 1)
    return np.hstack([labels, VOTES_WEIGHT * shares]).astype(np.float32)


def two_heads(targets, outputs):
    """Cross-entropies of both heads, (n,): targets and outputs (n, 17) as ``emotion_targets`` says."""
    from keras import ops

    return -ops.sum(targets * ops.log(ops.clip(outputs, 1e-7, 1.0)), axis=-1)


_LITTLE = Augmentation(rotation=8, scale=1.08, shift=0.06, contrast=0.2, brightness=0.08, erase=0.15)
#: Settings of the emotion networks, and of a second course on whole pictures; what is not named is
#: ``Recipe``'s own.
EMOTION_RECIPES = {
    "deep": Recipe(
        epochs=60,
        learning_rate=2e-3,
        weight_decay=5e-2,
        augmentation=Augmentation(
            rotation=12, scale=1.12, shift=0.1, contrast=0.25, brightness=0.1, erase=0.3
        ),
    ),
    "deep, second course": Recipe(
        epochs=8, learning_rate=3e-4, weight_decay=5e-2, ema=0.998, augmentation=_LITTLE
    ),
    "tiny": Recipe(
        epochs=120,
        learning_rate=4e-3,
        weight_decay=1e-2,
        augmentation=Augmentation(
            rotation=10, scale=1.08, shift=0.08, contrast=0.25, brightness=0.1, erase=0.0
        ),
    ),
    "tiny, second course": Recipe(epochs=16, learning_rate=1e-3, weight_decay=1e-2, augmentation=_LITTLE),
    "baseline": Recipe(epochs=60, learning_rate=1e-3),
}
EMOTION_RECIPES["plain"] = replace(EMOTION_RECIPES["deep"], epochs=36)
EMOTION_RECIPES["plain, second course"] = EMOTION_RECIPES["deep, second course"]


def train_emotion(
    data: FerData,
    output: Path,
    name: str = "deep",
    teachers: Sequence[keras.Model] = (),
    start: Path | None = None,
    resume: bool = False,
    progress: Callable[[str], None] = print,
    **chosen,
):
    """One of the emotion networks, from the training split's labels and votes; PublicTest is watched.

    name: "deep" or "plain", the columns of the network that ships as "facelib"; "tiny"; or "baseline":
        DeepFace's architecture, learnt from the labels alone and left as it comes out; the others are
        calibrated on PublicTest and put into the form that is shipped.
    teachers: networks (n, 48, 48, 1) -> (n, 7), the mean of whose answers on the training pictures is learnt
        as well.
    start: the folder of a finished run of the same network, which then goes on from there on whole pictures,
        with an eighth of the steps.
    chosen: what a ``Recipe`` shall have otherwise.

    Returns (network, recipe): a keras.Model as ``registry.load_emotion_model`` describes. Raises InputError
    for a start that there is not.
    """
    if str(start) == SHIPPED:
        raise InputError("a shipped emotion network has lost the head that learns votes: name a run's folder")
    if start and name == "baseline":
        raise InputError("DeepFace's architecture has no second course: choose another network, or no start")
    before = first_course(start)
    recipe = replace(EMOTION_RECIPES[f"{name}, second course" if start else name], **chosen)
    recipe = recipe if start else brief(recipe, len(data.train))
    public = data.public_test
    inputs = emotion.emotion_inputs(public.images)

    def validate(model) -> dict[str, float]:
        answers = np.asarray(model.predict(inputs, batch_size=512, verbose=0), np.float32)[:, :7].argmax(1)
        hit = answers == public.labels
        recalls = {
            name: float(hit[public.labels == EMOTIONS.index(name)].mean())
            for name in ("disgust", "fear")
            if EMOTIONS.index(name) in public.labels
        }
        return {"public_accuracy": float(hit.mean()), **recalls}

    options = {"validate": validate, "resume": resume, "progress": progress}
    images = data.train.images
    if name == "baseline":
        targets = one_hot(data.train.labels, smoothing=recipe.label_smoothing)
        return fit(deepface.emotion_network, images, targets, recipe, output, 48, **options), recipe
    if not resume:
        (output / "lesson.npy").unlink(missing_ok=True)
    taught = _lesson(teachers, images, output, progress) if teachers else None
    targets = emotion_targets(data.train, recipe.label_smoothing, taught)

    def build():
        model = emotion.emotion_network(name, votes=True)
        if before:
            model.load_weights(before)
        return model

    size = emotion.EMOTION_SIDE if start else WINDOW
    model = fit(build, images, targets, recipe, output, size, two_heads, **options)
    model.save_weights(output / FIRST_COURSE)
    raw = emotion.finish(model, name)
    answers = raw.predict(inputs, batch_size=512, verbose=0)
    return emotion.finish(model, name, *_calibration(data, answers, EVEN[name])), recipe


def _calibration(data: FerData, answers: np.ndarray, even: float) -> tuple[float, np.ndarray]:
    """Temperature and bias of a shipped network, from its answers on PublicTest, (n, 7).

    The bias is the share ``even`` of what would make all classes equally likely beforehand (logit adjustment,
    arXiv:2007.07314): nowhere but in FER-2013 is disgust one face in sixty-six. Then the temperature.
    """
    shares = np.bincount(data.train.labels, minlength=len(EMOTIONS)) / len(data.train)
    bias = -even * np.log(np.maximum(shares, 1e-3))
    bias -= bias.mean()
    moved = calibration.apply_calibration(answers, 1, bias)
    temperature, _ = calibration.calibrate(data.public_test.labels, moved, "temperature")
    return temperature, bias / temperature


def _lesson(
    teachers: Sequence[keras.Model], images: np.ndarray, output: Path, progress: Callable[[str], None]
) -> np.ndarray:
    """The teachers' answers, (n, 7): the mean over a picture as it is and moved by three pixels both ways,
    and over the mirror images of these: six looks of each in place of the pupil's one.

    Kept in ``output``, so that a run that is resumed need not ask again.
    """
    kept = output / "lesson.npy"
    if kept.exists() and len(answers := np.load(kept)) == len(images):
        return answers
    progress(f"teachers look at {len(images):,} pictures: {len(teachers)}")
    answers = np.zeros((len(images), len(EMOTIONS)), np.float32)
    for start in tqdm(range(0, len(images), 256), unit_scale=256, unit="picture", disable=None):
        batch = images[start : start + 256]
        for move in (-3, 0, 3):
            moved = np.pad(batch, ((0, 0), (3, 3), (3, 3)), "edge")[:, 3 + move :, 3 + move :][:, :48, :48]
            for seen in (moved, moved[:, :, ::-1]):
                inputs = emotion.emotion_inputs(seen)
                for teacher in teachers:
                    answers[start : start + 256] += teacher.predict_on_batch(inputs)
    answers /= answers.sum(1, keepdims=True)
    output.mkdir(parents=True, exist_ok=True)
    with atomic_write(kept) as path:
        np.save(path, answers)
    return answers


def join(data: FerData, folders: Sequence[Path]) -> tuple[keras.Model, dict]:
    """The network that ships as "facelib", from finished runs of its columns, calibrated on PublicTest.

    Returns the keras.Model and its recipe, with the seed of the first run. Raises InputError for runs that
    are not of ``emotion.COLUMNS``, each once and in this order.
    """
    records = [record(folder) for folder in folders]
    found = [each["architecture"] for each in records]
    if found != list(emotion.COLUMNS):
        raise InputError(
            f"columns are runs of {', '.join(emotion.COLUMNS)}, in this order, not of {', '.join(found)}"
        )
    trained = [load_run(folder) for folder in folders]
    public = emotion.emotion_inputs(data.public_test.images)
    answers = emotion.join(trained).predict(public, batch_size=512, verbose=0)
    recipe = {"seed": records[0]["recipe"]["seed"], "columns": list(emotion.COLUMNS)}
    return emotion.join(trained, *_calibration(data, answers, EVEN["facelib"])), recipe
