"""The imbalance methods that the study compares, and what each of them does to one training run.

The network is the students': DeepFace's architecture, from random weights. Every method sees the same number
of images (repeated or not) in batches of the same size, with the same light augmentation, learning rate,
schedule, and for one seed the same initial weights; ``facelib.study.experiments`` runs them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from facelib import files
from facelib.data.duplicates import cleaned
from facelib.data.ferplus import soft_labels
from facelib.emotions import EMOTIONS, FerData, Split
from facelib.errors import InputError
from facelib.models import deepface, registry
from facelib.models.emotion import emotion_inputs
from facelib.study.metrics import class_recall, confusion_counts
from facelib.training import calibration, imbalance, runs
from facelib.training.augmentation import Augmentation
from facelib.training.loop import TrainingConfig, data_dependent_init, fit, one_hot

#: What every run of the study shares. A budget in images seen makes methods comparable whose sets differ.
EPOCHS, BATCH, LEARNING_RATE = 8, 128, 2.5e-3
AUGMENTATION = Augmentation(rotation=0, scale=1.0, shift=0.05, contrast=0, brightness=0, erase=0)
#: The second stage sees an eighth of what the first saw (as the students' did), at a tenth of its rate.
STAGE_TWO = 1 / 8


@dataclass(frozen=True)
class Method:
    """One imbalance method: what it changes, everything else being as in the method "none".

    name: as on the command line. title: as in tables. sampler, weights, loss: as in ``imbalance``; the
    sampler "generated" adds faces that the shipped generator draws, and "generated-only" takes nothing else,
    a quarter as many as there are real ones. classes: emotions that the sampler makes as frequent as the most
    frequent one; none: all. deferred: the weights come into force after this share of the run. targets:
    "labels", or "votes": FER+'s shares mixed in equal parts with the label. clean: without the training
    images that stand there twice, or in a test split. head: "softmax", or "cosine" (LDAM's).
    after: no training of its own, but something done to the network of "none": "prior" (its probabilities
    are divided by the classes' frequencies), "bias" (one number a class, chosen on PublicTest), "classifier"
    (its last layer is trained anew on balanced classes), "smote" (the same, on features interpolated by
    SMOTE).
    """

    name: str
    title: str
    sampler: str = "none"
    weights: str = "none"
    loss: str = "cross-entropy"
    deferred: float = 0.0
    targets: str = "labels"
    clean: bool = False
    head: str = "softmax"
    after: str = ""
    classes: tuple[str, ...] = ()

    @property
    def treats_rarity(self) -> bool:
        """Whether it knows how often each class occurs, and changes something by it."""
        knows = self.sampler != "none" or self.weights != "none" or self.loss in ("balanced-softmax", "ldam")
        return bool(knows or self.after)


RARE = ("disgust", "fear")
#: Both of the weak classes as frequent as happy. Fear already has its equal share, so that no method which
#: balances all classes shows it more often: this one does.
_PUSHED = Method("over-rare", "disgust and fear again at random", sampler="over", classes=RARE)

IMBALANCE = (
    Method("none", "nothing"),
    Method("weights-sqrt", "class weights, 1/√n", weights="sqrt"),
    Method("weights-effective", "class weights, effective number", weights="effective"),
    Method("weights-inverse", "class weights, 1/n", weights="inverse"),
    Method("over", "random oversampling", sampler="over"),
    _PUSHED,
    Method("augment", "oversampling by augmentation", sampler="augment"),
    Method("smote", "SMOTE on pixels", sampler="smote"),
    Method("smote-features", "SMOTE on features", after="smote"),
    Method("under", "undersampling", sampler="under"),
    Method("focal", "focal loss", loss="focal"),
    Method("balanced-softmax", "balanced softmax", loss="balanced-softmax"),
    Method("prior", "logit adjustment afterwards", after="prior"),
    Method("ldam-drw", "LDAM, deferred weights", "none", "effective", "ldam", deferred=0.8, head="cosine"),
    Method("crt", "classifier learnt anew (cRT)", after="classifier"),
    Method("bias", "bias tuned on PublicTest", after="bias"),
    Method("votes", "FER+ votes as soft labels", targets="votes"),
    Method("clean", "without duplicates", clean=True),
)

#: Do generated faces help? Disgust and fear are made as frequent as happy, in three ways. And do they stand
#: in for real ones? What is learnt from them alone is the classification accuracy score (arXiv:1905.10887).
GENERATED = (
    IMBALANCE[0],
    _PUSHED,
    Method("smote-rare", "disgust and fear by SMOTE on pixels", sampler="smote", classes=RARE),
    Method("generated", "disgust and fear by the generator", sampler="generated", classes=RARE),
    Method("generated-only", "generated faces alone, as many of each", sampler="generated-only"),
)


@dataclass(frozen=True)
class Stage:
    """One second stage of training, from the network of "none".

    classes: emotions that the second stage is shown, or all. balanced: "none"; "full": each class weighs the
    same; "gradual": from as they are to the same. frozen: "none"; "convolutions"; "features": all but the
    last layer. rate: factor on the learning rate. rehearsal: share of the loss that stays with all images.
    """

    name: str
    title: str
    classes: tuple[str, ...] = EMOTIONS
    balanced: str = "none"
    frozen: str = "none"
    rate: float = 1.0
    rehearsal: float = 0.0


TWO_STAGE = (
    Stage("longer", "as many steps more, nothing changed"),
    Stage("rare", "disgust and fear only (the students')", RARE),
    Stage("rare-slow", "disgust and fear only, a tenth of the rate", RARE, rate=0.1),
    Stage("rare-dense", "disgust and fear only, frozen convolutions", RARE, frozen="convolutions"),
    Stage("rare-last", "disgust and fear only, last layer", RARE, frozen="features"),
    Stage("rehearsal", "half disgust and fear, half everything", RARE, rehearsal=0.5),
    Stage("balanced", "all classes, balanced", balanced="full"),
    Stage("balanced-last", "all classes, balanced, last layer", balanced="full", frozen="features"),
    Stage("gradual", "all classes, balanced by and by", balanced="gradual"),
)


def silent(line: str) -> None:
    """Report no progress."""


def training_config(n: int, epochs: int, batch_size: int, seed: int) -> TrainingConfig:
    """The configuration that all runs on ``n`` images share."""
    return TrainingConfig(
        epochs=epochs,
        steps_per_epoch=max(1, n // batch_size),
        batch_size=batch_size,
        learning_rate=LEARNING_RATE,
        label_smoothing=0.0,
        ema=0.99,
        seed=seed,
        augmentation=AUGMENTATION,
    )


def stage_config(stage: Stage, first: TrainingConfig) -> TrainingConfig:
    """The configuration of a second stage, in twelve epochs, after a run with the configuration ``first``."""
    steps = max(12, int(STAGE_TWO * first.epochs * first.steps_per_epoch))
    rate = LEARNING_RATE / 10 * stage.rate
    return replace(first, epochs=12, steps_per_epoch=steps // 12, ema=0.9, learning_rate=rate)


def run(
    method: Method | Stage,
    data: FerData,
    recipe: TrainingConfig,
    place: Path,
    base: Path,
    progress: Callable[[str], None] = silent,
) -> dict[str, np.ndarray]:
    """Do one run; its float32 probabilities on the test splits: {"private": (n, 7), "public": (m, 7)}.

    place: its folder, where it resumes; base: the finished run of "none" with the same seed, from which a
    stage and a method with ``after`` start.
    """
    if isinstance(method, Stage):
        return second(method, data, recipe, place, base)
    if method.after:
        return afterwards(method, data, base, recipe.seed)
    model = train(method, data, recipe, place, progress)
    if method.name == "none":
        runs.save_weights(model, place / registry.RUN_WEIGHTS)
    return _predictions(model, data)


def read_result(path: Path, data: FerData) -> dict[str, np.ndarray]:
    """What a run left in its file, as ``run`` returned it. Raises InputError for a damaged one."""
    again = "delete it and its run is made again"
    found = files.read_arrays(path, again)
    for name, split in (("private", data.private_test), ("public", data.public_test)):
        each = found.get(name, np.empty(0))
        if each.shape != (len(split), len(EMOTIONS)) or each.dtype.kind != "f" or not np.isfinite(each).all():
            raise InputError(f"{path}: is damaged (no probabilities of the {name} split); {again}")
    return found


def predict(model, split: Split) -> np.ndarray:
    """What a Keras model gives for the images of a split, float32."""
    inputs = emotion_inputs(split.images)
    return np.asarray(model.predict(inputs, batch_size=512, verbose=0), np.float32)


def _predictions(model, data: FerData) -> dict[str, np.ndarray]:
    return {"private": predict(model, data.private_test), "public": predict(model, data.public_test)}


def network(head: str = "softmax", images: np.ndarray | None = None):
    """DeepFace's architecture; with the head "cosine" its logits are scaled cosines (arXiv:1906.07413).

    images: (n, 48, 48) uint8 for a data-dependent initialisation: eight epochs are too few without one.
    """
    from facelib.backend import keras, layers

    model = deepface.emotion_network()
    if images is not None:
        data_dependent_init(model, emotion_inputs(images))
    if head == "softmax":
        return model
    features = layers.UnitNormalization()(model.layers[-2].output)
    cosines = layers.Dense(len(EMOTIONS), use_bias=False, kernel_constraint="unit_norm")(features)
    outputs = layers.Activation("softmax", dtype="float32")(layers.Rescaling(imbalance.COSINE_SCALE)(cosines))
    return keras.Model(model.inputs, outputs)


def small_network():
    """A network of some 60,000 parameters that learns in seconds: (n, 24, 24, 1) in [0, 1] -> (n, 7).

    Not part of the study: the notebooks train it live, on images of half the size (``halve``).
    """
    from facelib.backend import keras, layers

    x = inputs = keras.Input((24, 24, 1))
    for filters in (16, 32, 64):
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        x = layers.MaxPooling2D()(layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x)))
    features = layers.Dense(64, activation="relu")(layers.Flatten()(x))
    return keras.Model(inputs, layers.Dense(7, activation="softmax")(features))


def halve(images: np.ndarray) -> np.ndarray:
    """Images (n, 48, 48) uint8 at half the size, (n, 24, 24) uint8: means of four pixels, rounded down."""
    return images.reshape(-1, 24, 2, 24, 2).mean((2, 4)).astype(np.uint8)


def first_stage(base: Path):
    """The trained network of the finished run of "none" in ``base``."""
    model = network()
    registry.load_weights(model, base / registry.RUN_WEIGHTS)
    return model


def train(method: Method, data: FerData, recipe: TrainingConfig, place: Path, progress):
    """Train the network with a method that acts during training; a Keras model."""
    images = data.train.images[:256]  # the same ones for all methods, whatever they draw
    if method.clean:
        data = cleaned(data)
    if method.sampler == "generated":
        train = with_generated(data.train, method.classes, recipe.seed)
    elif method.sampler == "generated-only":
        train = generated([len(data.train) // (4 * len(EMOTIONS))] * len(EMOTIONS), recipe.seed)
    else:
        train = imbalance.resample(data, method.sampler, recipe.seed, method.classes).train
    labels = soft_labels(train) if method.targets == "votes" else one_hot(train.labels)
    weights = imbalance.class_weights(train.labels, method.weights)[train.labels].astype(np.float32)[:, None]
    targets = labels * weights
    if method.deferred:
        targets = lambda share: labels * weights if share >= method.deferred else labels
    return fit(
        lambda: network(method.head, images),
        train.images,
        targets,
        recipe,
        place,
        48,
        imbalance.make_loss(method.loss, train.labels),
        resume=True,
        progress=progress,
    )


def with_generated(train: Split, classes: tuple[str, ...], seed: int) -> Split:
    """The split's rows, then generated faces until each of the classes has as many images as the largest.

    classes: names from ``EMOTIONS``. Raises InputError where no generator is shipped.
    """
    counts = np.bincount(train.labels, minlength=len(EMOTIONS))
    asked = [name in classes for name in EMOTIONS]
    more = generated((counts.max() - counts) * asked, seed)
    votes = None if train.votes is None else np.concatenate([train.votes, more.votes])
    return Split(
        np.concatenate([train.images, more.images]), np.concatenate([train.labels, more.labels]), votes
    )


def generated(counts: Sequence[int], seed: int) -> Split:
    """So many faces of each emotion, counts (7,), by the shipped generator; their votes are all 0.

    Raises InputError where no generator is shipped.
    """
    from facelib.models.generator import load_generator

    generator = load_generator()
    images = [np.zeros((0, 48, 48), np.uint8)]
    for i, (name, n) in enumerate(zip(EMOTIONS, counts, strict=True)):
        if n:
            images.append(generator.sample(name, int(n), seed=1000 * seed + i))
    labels = np.repeat(np.arange(len(EMOTIONS)), counts)
    return Split(np.concatenate(images), labels, np.zeros((len(labels), 10), np.uint8))


def afterwards(method: Method, data: FerData, base: Path, seed: int) -> dict[str, np.ndarray]:
    """Probabilities, as ``run`` gives them, of a method that only changes the trained network of "none"."""
    if method.after in ("classifier", "smote"):
        return _new_classifier(first_stage(base), data, method.after == "smote", seed)
    before = read_result(base / "result.npz", data)
    if method.after == "prior":
        factor = 1 / np.maximum(np.bincount(data.train.labels, minlength=len(EMOTIONS)), 1)
    else:
        factor = np.exp(calibration.tune_bias(data.public_test.labels, before["public"])[0])
    scaled = {name: probabilities * factor for name, probabilities in before.items()}
    return {name: (each / each.sum(1, keepdims=True)).astype(np.float32) for name, each in scaled.items()}


def _new_classifier(model, data: FerData, smote: bool, seed: int) -> dict[str, np.ndarray]:
    """A new last layer on a model's features (cRT; Kang et al. 2020, arXiv:1910.09217)."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    from facelib.backend import keras

    body = keras.Model(model.inputs, model.layers[-2].output)
    features, labels = predict(body, data.train), data.train.labels
    scaler = StandardScaler().fit(features)
    features = scaler.transform(features)
    if smote:
        from imblearn.over_sampling import SMOTE

        neighbours = min(5, np.bincount(labels)[np.unique(labels)].min() - 1)
        features, labels = SMOTE(random_state=seed, k_neighbors=neighbours).fit_resample(features, labels)
    classifier = LogisticRegression(C=1e-3, class_weight="balanced", max_iter=200).fit(features, labels)
    found = {}
    for name, each in _predictions(body, data).items():
        found[name] = np.zeros((len(each), len(EMOTIONS)), np.float32)
        found[name][:, classifier.classes_] = classifier.predict_proba(scaler.transform(each))
    return found


def second(
    stage: Stage, data: FerData, recipe: TrainingConfig, place: Path, base: Path
) -> dict[str, np.ndarray]:
    """Train a second stage; probabilities as ``run`` gives them, and curve (epochs + 1, 7), PublicTest's
    recalls from before the first step to after the last."""

    def build():
        model = first_stage(base)
        learning = {"none": len(model.layers), "convolutions": 5, "features": 1}[stage.frozen]
        for layer in model.layers[:-learning]:
            layer.trainable = False
        return model

    train, wanted = data.train, np.isin(data.train.labels, [EMOTIONS.index(name) for name in stage.classes])
    rows = np.arange(len(train)) if stage.rehearsal else np.flatnonzero(wanted)
    labels = one_hot(train.labels[rows])
    weight = np.ones(len(rows))
    if stage.rehearsal:  # the chosen classes and everything, each with its share of the loss
        weight = stage.rehearsal + (1 - stage.rehearsal) * wanted / wanted.mean()
    elif stage.balanced != "none":
        weight = imbalance.class_weights(train.labels[rows], "inverse")[train.labels[rows]]
    weight = weight.astype(np.float32)[:, None]
    targets = labels * weight
    if stage.balanced == "gradual":
        targets = lambda share: labels * (share * weight + 1 - share)
    curve = [_recalls(read_result(base / "result.npz", data)["public"], data.public_test)]

    def validate(model) -> dict[str, float]:
        curve.append(_recalls(predict(model, data.public_test), data.public_test))
        return {"balanced_accuracy": float(np.nanmean(curve[-1]))}

    model = fit(
        build,
        train.images[rows],
        targets,
        recipe,
        place,
        48,
        validate=validate,
        validate_every=1,
        progress=silent,
    )
    return _predictions(model, data) | {"curve": np.array(curve)}


def _recalls(probabilities: np.ndarray, split: Split) -> np.ndarray:
    return class_recall(confusion_counts(split.labels, probabilities.argmax(1)))
