"""The cures that the study compares, and what each of them does to one training run.

The network is the students': DeepFace's architecture, from nothing. Every arm sees the same number of
pictures (drawn again or not) in batches of the same size, with the same light augmentation, learning rate,
schedule, and for one seed the same initial weights; ``facelib.study.experiments`` runs them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facelib.data.duplicates import cleaned
from facelib.data.ferplus import soft_labels
from facelib.emotions import EMOTIONS, FerData, Split
from facelib.models import deepface, registry
from facelib.models.emotion import emotion_inputs
from facelib.training import imbalance
from facelib.training.augmentation import Augmentation
from facelib.training.loop import TrainingConfig, data_dependent_init, fit

#: What every run of the study shares. A budget in pictures seen makes arms comparable whose sets differ.
EPOCHS, BATCH, LEARNING_RATE = 8, 128, 2.5e-3
AUGMENTATION = Augmentation(rotation=0, scale=1.0, shift=0.05, contrast=0, brightness=0, erase=0)
#: The second stage sees an eighth of what the first saw (as the students' did), at a tenth of its rate.
STAGE_TWO = 1 / 8


@dataclass(frozen=True)
class Arm:
    """One cure: what it changes, everything else being as in the arm "none".

    name: as on the command line. title: as in tables. sampler, weights, loss: as in ``imbalance``; the
    sampler "generated" adds faces that the shipped generator draws, and "generated-only" takes nothing else,
    a quarter as many as there are real ones. classes: emotions that the sampler makes as frequent as the most
    frequent one; none: all. deferred: the weights come into force after this share of the run. targets:
    "labels", or "votes": FER+'s shares mixed in equal parts with the label. clean: without the training
    pictures that stand there twice, or in a test split. head: "softmax", or "cosine" (LDAM's).
    after: no training of its own, but something done to the network of "none": "prior" (its answers are
    divided by the classes' frequencies), "bias" (one number a class, chosen on PublicTest), "classifier" (its
    last layer is learnt anew on balanced classes), "smote" (the same, on features interpolated by SMOTE).
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


IMBALANCE = (
    Arm("none", "nothing"),
    Arm("weights-sqrt", "class weights, 1/√n", weights="sqrt"),
    Arm("weights-effective", "class weights, effective number", weights="effective"),
    Arm("weights-inverse", "class weights, 1/n", weights="inverse"),
    Arm("over", "random oversampling", sampler="over"),
    Arm("augment", "oversampling by augmentation", sampler="augment"),
    Arm("smote", "SMOTE on pixels", sampler="smote"),
    Arm("smote-features", "SMOTE on features", after="smote"),
    Arm("under", "undersampling", sampler="under"),
    Arm("focal", "focal loss", loss="focal"),
    Arm("balanced-softmax", "balanced softmax", loss="balanced-softmax"),
    Arm("prior", "logit adjustment afterwards", after="prior"),
    Arm("ldam-drw", "LDAM, deferred weights", loss="ldam", weights="effective", deferred=0.8, head="cosine"),
    Arm("crt", "classifier learnt anew (cRT)", after="classifier"),
    Arm("bias", "bias tuned on PublicTest", after="bias"),
    Arm("votes", "FER+ votes as soft labels", targets="votes"),
    Arm("clean", "without duplicates", clean=True),
)

RARE = ("disgust", "fear")
#: Do generated faces help? Disgust and fear are made as frequent as happy, in three ways. And do they stand
#: in for real ones? What is learnt from them alone is the classification accuracy score (arXiv:1905.10887).
GENERATED = (
    IMBALANCE[0],
    Arm("over-rare", "disgust and fear again at random", sampler="over", classes=RARE),
    Arm("smote-rare", "disgust and fear by SMOTE on pixels", sampler="smote", classes=RARE),
    Arm("generated", "disgust and fear by the generator", sampler="generated", classes=RARE),
    Arm("generated-only", "generated faces alone, as many of each", sampler="generated-only"),
)


@dataclass(frozen=True)
class Stage:
    """One way to go on from the network of "none".

    classes: emotions that the second stage is shown, or all. balanced: "none"; "full": each class weighs the
    same; "gradual": from as they are to the same. frozen: "none"; "convolutions"; "features": all but the
    last layer. rate: factor on the learning rate. rehearsal: share of the loss that stays with all pictures.
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
    pass


def recipe_of(n: int, epochs: int, batch_size: int, seed: int) -> TrainingConfig:
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


def predict(model, split: Split) -> np.ndarray:
    inputs = emotion_inputs(split.images)
    return np.asarray(model.predict(inputs, batch_size=512, verbose=0), np.float32)


def network(head: str = "softmax", pictures: np.ndarray | None = None):
    """DeepFace's architecture; with the head "cosine" its logits are scaled cosines (arXiv:1906.07413).

    pictures: (n, 48, 48) uint8 that its units are woken with: eight epochs are too few for it to wake by
    itself.
    """
    from facelib.backend import keras, layers

    model = deepface.emotion_network()
    if pictures is not None:
        data_dependent_init(model, emotion_inputs(pictures))
    if head == "softmax":
        return model
    features = layers.UnitNormalization()(model.layers[-2].output)
    cosines = layers.Dense(len(EMOTIONS), use_bias=False, kernel_constraint="unit_norm")(features)
    answers = layers.Activation("softmax", dtype="float32")(layers.Rescaling(imbalance.COSINE_SCALE)(cosines))
    return keras.Model(model.inputs, answers)


def train(arm: Arm, data: FerData, recipe: TrainingConfig, place: Path, progress):
    pictures = data.train.images[:256]  # the same ones for all arms, whatever they draw
    if arm.clean:
        data = cleaned(data)
    if arm.sampler == "generated":
        train = with_drawn(data.train, arm.classes, recipe.seed)
    elif arm.sampler == "generated-only":
        train = drawn([len(data.train) // (4 * len(EMOTIONS))] * len(EMOTIONS), recipe.seed)
    else:
        train = imbalance.resample(data, arm.sampler, recipe.seed, arm.classes).train
    labels = np.eye(len(EMOTIONS), dtype=np.float32)[train.labels]
    if arm.targets == "votes":
        labels = soft_labels(train)
    weights = imbalance.class_weights(train.labels, arm.weights)[train.labels].astype(np.float32)[:, None]
    targets = labels * weights
    if arm.deferred:
        targets = lambda share: labels * weights if share >= arm.deferred else labels
    return fit(
        lambda: network(arm.head, pictures),
        train.images,
        targets,
        recipe,
        place,
        48,
        imbalance.make_loss(arm.loss, train.labels),
        resume=True,
        progress=progress,
    )


def with_drawn(train: Split, classes: tuple[str, ...], seed: int) -> Split:
    """The split's rows, then faces that the shipped generator draws, until each of these classes (names from
    ``EMOTIONS``) has as many as the largest. Raises InputError where no generator is shipped."""
    counts = np.bincount(train.labels, minlength=len(EMOTIONS))
    asked = [name in classes for name in EMOTIONS]
    more = drawn((counts.max() - counts) * asked, seed)
    votes = None if train.votes is None else np.concatenate([train.votes, more.votes])
    return Split(
        np.concatenate([train.images, more.images]), np.concatenate([train.labels, more.labels]), votes
    )


def drawn(counts: Sequence[int], seed: int) -> Split:
    """So many faces of each emotion, counts (7,), by the shipped generator: images (m, 48, 48) uint8, labels
    (m,) int64 of 0 to 6; nobody voted on them, all ten are 0. Raises InputError where none is shipped."""
    from facelib.models.generator import load_generator

    generator = load_generator()
    images = [np.zeros((0, 48, 48), np.uint8)]
    for i, (name, n) in enumerate(zip(EMOTIONS, counts, strict=True)):
        if n:
            images.append(generator.sample(name, int(n), seed=1000 * seed + i))
    labels = np.repeat(np.arange(len(EMOTIONS)), counts)
    return Split(np.concatenate(images), labels, np.zeros((len(labels), 10), np.uint8))


def afterwards(arm: Arm, data: FerData, first: Path, seed: int) -> dict[str, np.ndarray]:
    """Answers of a cure that only touches the network of "none" when it is finished."""
    with np.load(first / "result.npz") as stored:
        answers = dict(stored)
    if arm.after == "prior":
        counts = np.bincount(data.train.labels, minlength=len(EMOTIONS))
        factor = 1 / np.maximum(counts, 1)
    elif arm.after == "bias":
        from facelib.training import calibration

        bias, _ = calibration.tune_bias(data.public_test.labels, answers["public"])
        factor = np.exp(bias)
    else:
        return _classifier(arm, data, first, seed)
    return {name: _shares(value * factor) for name, value in answers.items()}


def _shares(values: np.ndarray) -> np.ndarray:
    return (values / values.sum(1, keepdims=True)).astype(np.float32)


def _classifier(arm: Arm, data: FerData, first: Path, seed: int) -> dict[str, np.ndarray]:
    """A new last layer on the features of "none" (Kang et al. 2020, arXiv:1910.09217)."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    from facelib.backend import keras

    model = network()
    model.load_weights(first / registry.RUN_WEIGHTS)
    body = keras.Model(model.inputs, model.layers[-2].output)
    features, labels = predict(body, data.train), data.train.labels
    scaler = StandardScaler().fit(features)
    features = scaler.transform(features)
    if arm.after == "smote":
        from imblearn.over_sampling import SMOTE

        neighbours = min(5, np.bincount(labels)[np.unique(labels)].min() - 1)
        features, labels = SMOTE(random_state=seed, k_neighbors=neighbours).fit_resample(features, labels)
    classifier = LogisticRegression(C=1e-3, class_weight="balanced", max_iter=200).fit(features, labels)
    answers = {}
    for name, split in (("private", data.private_test), ("public", data.public_test)):
        answers[name] = np.zeros((len(split), len(EMOTIONS)), np.float32)
        answers[name][:, classifier.classes_] = classifier.predict_proba(
            scaler.transform(predict(body, split))
        )
    return answers


def second(
    stage: Stage, data: FerData, recipe: TrainingConfig, place: Path, first: Path
) -> dict[str, np.ndarray]:
    def build():
        model = network()
        model.load_weights(first / registry.RUN_WEIGHTS)
        learning = {"none": len(model.layers), "convolutions": 5, "features": 1}[stage.frozen]
        for layer in model.layers[:-learning]:
            layer.trainable = False
        return model

    train, wanted = data.train, np.isin(data.train.labels, [EMOTIONS.index(name) for name in stage.classes])
    if wanted.all() or stage.rehearsal:
        rows = np.arange(len(train))
    else:
        rows = np.flatnonzero(wanted)
    labels = np.eye(len(EMOTIONS), dtype=np.float32)[train.labels[rows]]
    weight = np.ones(len(rows))
    if stage.rehearsal:  # the chosen classes and everything, each with its share of the loss
        weight = stage.rehearsal + (1 - stage.rehearsal) * wanted / wanted.mean()
    elif stage.balanced != "none":
        weight = imbalance.class_weights(train.labels[rows], "inverse")[train.labels[rows]]
    weight = weight.astype(np.float32)[:, None]
    targets = labels * weight
    if stage.balanced == "gradual":
        targets = lambda share: labels * (share * weight + 1 - share)
    curve = [_recalls(np.load(first / "result.npz")["public"], data.public_test)]

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
    answers = {"private": predict(model, data.private_test), "public": predict(model, data.public_test)}
    return answers | {"curve": np.array(curve)}


def _recalls(answers: np.ndarray, split: Split) -> np.ndarray:
    """Recall of each class, (7,); nan where it does not occur."""
    hits = answers.argmax(1) == split.labels
    return np.array(
        [hits[split.labels == i].mean() if (split.labels == i).any() else np.nan for i in range(7)]
    )
