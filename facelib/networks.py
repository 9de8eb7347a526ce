"""Our own networks, and how shipped weights become something that can be called.

A network ships twice from one training run: as Keras weights (half precision, to study and to train on) and
as an ONNX graph of the same numbers. OpenCV, which is here anyway for detection, runs the graph: importing
TensorFlow alone takes ten seconds and half a gigabyte, too much for looking at one photograph. A test holds
both to each other.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from facelib import assets
from facelib.emotions import EMOTIONS, FERPLUS, GENDERS
from facelib.paths import InputError

if TYPE_CHECKING:
    import keras

#: Side of the crops that the gender network sees, in pixels.
GENDER_SIDE = 64
#: Side of FER-2013's pictures and of every emotion network's input.
EMOTION_SIDE = 48


def gender_network(dropout: float = 0.3) -> keras.Model:
    """Compact residual network: (n, 64, 64, 3) float32 RGB in [0, 1] -> (n, 2) probabilities, woman, man.

    0.93 M parameters and 57 M multiply-adds, against 134 M and 15 G of DeepFace's VGG-Face. Two strided
    convolutions first, so that most of the work happens on 16x16 and 8x8 maps; batch normalisation
    (arXiv:1502.03167), residual blocks (arXiv:1512.03385), global average pooling.
    """
    from keras import Input, Model, layers

    def convolve(x, filters, stride=1, kernel=3):
        x = layers.Conv2D(filters, kernel, strides=stride, padding="same", use_bias=False)(x)
        return layers.BatchNormalization(momentum=0.95)(x)

    def block(x, filters, inner=None):
        y = layers.ReLU()(convolve(x, inner or filters))
        return layers.ReLU()(layers.Add()([x, convolve(y, filters)]))

    inputs = Input((GENDER_SIDE, GENDER_SIDE, 3))
    x = layers.ReLU()(convolve(inputs, 32, stride=2, kernel=5))  # (n, 32, 32, 32)
    x = layers.ReLU()(convolve(x, 64, stride=2))  # (n, 16, 16, 64)
    x = block(x, 64)
    x = layers.ReLU()(convolve(x, 128, stride=2))  # (n, 8, 8, 128)
    x = block(x, 128)
    x = layers.ReLU()(convolve(x, 160, stride=2))  # (n, 4, 4, 160)
    x = block(x, 160, inner=96)
    x = layers.Dropout(dropout)(layers.GlobalAveragePooling2D()(x))
    return Model(inputs, layers.Dense(2, activation="softmax", dtype="float32")(x), name="gender")


#: Filters of the first convolution, (filters, stride, blocks) of each stage, and dropout before the answers.
_EMOTION = {
    "facelib": (48, ((64, 1, 1), (128, 2, 2), (320, 2, 2)), 0.4),
    "tiny": (24, ((32, 2, 2), (64, 2, 1)), 0.1),
}
#: What the shipped emotion networks are called, and the name of their files in ``weights``.
SHIPPED = {"facelib": "emotion", "tiny": "emotion-tiny", "baseline": "emotion-baseline"}


def emotion_network(name: str = "facelib", votes: bool = False, shipped: bool = False) -> keras.Model:
    """Residual network: (n, 48, 48, 1) float32 gray in [0, 1] -> (n, 7) probabilities in FER-2013's order.

    name: "facelib", 3.8 M parameters; "tiny", under 0.1 M.
    votes: for training, takes any side from 32 up and gives (n, 17): the seven, then the ten shares of the
        FER+ annotators' votes, a second task on the same features.
    shipped: for use, without normalisation layers (``finish`` folds them into the convolutions).

    A strided convolution first, so that the work happens on 24x24 maps and smaller; batch normalisation
    (arXiv:1502.03167), residual blocks (arXiv:1512.03385) whose shortcuts are averaged where they shrink
    (arXiv:1812.01187), global average pooling, which is what lets the side vary.
    """
    from keras import Input, Model, layers

    numbers = itertools.count()

    def convolve(x, filters, stride=1, kernel=3):
        i = next(numbers)
        options = {"strides": stride, "padding": "same", "use_bias": shipped, "name": f"conv{i}"}
        x = layers.Conv2D(filters, kernel, **options)(x)
        return x if shipped else layers.BatchNormalization(momentum=0.95, name=f"norm{i}")(x)

    def block(x, filters, stride=1):
        y = convolve(layers.ReLU()(convolve(x, filters, stride)), filters)
        if stride > 1:
            x = layers.AveragePooling2D(2)(x)
        if x.shape[-1] != filters:
            x = convolve(x, filters, kernel=1)
        return layers.ReLU()(layers.Add()([x, y]))

    stem, stages, dropout = _EMOTION[name]
    side = None if votes else EMOTION_SIDE
    inputs = Input((side, side, 1))
    x = layers.ReLU()(convolve(inputs, stem, stride=2, kernel=5))  # (n, 24, 24, stem)
    for filters, stride, depth in stages:
        for i in range(depth):
            x = block(x, filters, stride if i == 0 else 1)
    x = layers.GlobalAveragePooling2D()(x)
    if shipped:
        features = Model(inputs, x, name="features")
        inputs = Input((side, side, 1))
        x = features(inputs)
    x = layers.Dropout(dropout)(x)
    answers = layers.Dense(len(EMOTIONS), activation="softmax", dtype="float32", name="emotion")(x)
    if votes:
        shares = layers.Dense(len(FERPLUS), activation="softmax", dtype="float32", name="votes")(x)
        answers = layers.Concatenate(dtype="float32")([answers, shares])
    return Model(inputs, answers, name=f"emotion_{name}")


def finish(model: keras.Model, name: str, temperature: float = 1.0, bias=0.0) -> keras.Model:
    """The network as it is shipped, from one that was trained with ``votes``.

    Each normalisation is folded into the convolution before it: both are linear. temperature, bias (7,): a
    calibration, softmax(logits / temperature + bias), folded into the last layer.
    """
    shipped = emotion_network(name, shipped=True)
    for layer in shipped.get_layer("features").layers:
        if layer.name.startswith("conv"):
            norm = model.get_layer(layer.name.replace("conv", "norm"))
            gamma, beta, mean, variance = norm.get_weights()
            scale = gamma / np.sqrt(variance + norm.epsilon)
            layer.set_weights([model.get_layer(layer.name).get_weights()[0] * scale, beta - mean * scale])
    kernel, offset = model.get_layer("emotion").get_weights()
    shipped.get_layer("emotion").set_weights([kernel / temperature, offset / temperature + bias])
    return shipped


def _architectures() -> dict[str, Callable[..., keras.Model]]:
    from facelib import deepface, prior, vqvae

    return {
        "vqvae": vqvae.autoencoder,
        "prior": prior.prior,
        "deepface": deepface.emotion_network,
        "gender": gender_network,
        **{name: functools.partial(emotion_network, name, shipped=True) for name in _EMOTION},
    }


def emotion_inputs(images: np.ndarray) -> np.ndarray:
    """Pictures as every emotion network takes them: (n, 48, 48) uint8 -> (n, 48, 48, 1) float32 in [0, 1]."""
    return images[..., None].astype(np.float32) / 255


def load_emotion_model(name: str = "facelib") -> keras.Model:
    """A Keras model: (n, 48, 48, 1) float32 in [0, 1] -> (n, 7) probabilities in FER-2013's order.

    name: "facelib", "tiny" (for speed) and "baseline" (DeepFace's architecture) were trained here; "deepface"
    has the published weights (`facelib data fetch deepface-emotion`). Raises InputError for another name, or
    where the file is missing.
    """
    from facelib import deepface

    return deepface.load_emotion() if name == "deepface" else load_shipped(emotion_task(name))


def load_gender_model(name: str = "facelib") -> keras.Model:
    """A Keras model: (n, 64, 64, 3) float32 RGB in [0, 1] -> (n, 2) probabilities, woman and man.

    name: "facelib", trained here; "deepface", VGG-Face, which takes (n, 224, 224, 3) BGR instead.
    """
    from facelib import deepface

    if name not in ("facelib", "deepface"):
        raise InputError(f"unknown gender model {name!r}; choose facelib or deepface")
    return deepface.load_gender() if name == "deepface" else load_shipped("gender")


def emotion_task(name: str) -> str:
    """The name of a shipped emotion network's files. Raises InputError for a name that is not one's."""
    if name not in SHIPPED:
        raise InputError(f"unknown emotion model {name!r}; choose {', '.join(SHIPPED)} or deepface")
    return SHIPPED[name]


def load_shipped(task: str, mixed_precision: bool = False) -> keras.Model:
    """The Keras model of a file in ``weights``; mixed_precision: computing in bfloat16 where that is fast,
    beside a training. Raises InputError where it is missing."""
    import keras

    from facelib import training

    card = assets.card(task)
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy(training.precision(mixed_precision))
    try:
        model = _architectures()[card["architecture"]]()
    finally:
        keras.mixed_precision.set_dtype_policy(before)
    model.load_weights(assets.WEIGHTS / f"{task}.weights.h5")
    return model


class GraphNetwork:
    """A shipped network as an ONNX graph run by OpenCV: no TensorFlow, no compilation, ready in 20 ms.

    Called with (n, s, s, c) float32 in [0, 1] it returns (n, classes) float32 probabilities; it can be
    called from several threads.
    """

    def __init__(self, task: str):
        assets.card(task)
        self._path = assets.WEIGHTS / f"{task}.onnx"
        self._local = threading.local()

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        import cv2

        if not hasattr(self._local, "graph"):
            self._local.graph = cv2.dnn.readNetFromONNX(str(self._path))
        self._local.graph.setInput(inputs)
        return self._local.graph.forward().reshape(len(inputs), -1)


def mirrored(network: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """A network that looks twice, at pictures (n, s, s, c) and at their mirror images, in twice the time
    (test-time augmentation, arXiv:1409.1556): the geometric mean of both answers, (n, classes), sums to 1.
    On PublicTest it is as often right as the arithmetic mean, and better calibrated."""

    def look(inputs: np.ndarray) -> np.ndarray:
        both = np.sqrt(network(inputs) * network(np.ascontiguousarray(inputs[:, :, ::-1])))
        return both / both.sum(1, keepdims=True)

    return look


#: What a card says of a network whatever run it came from.
_ABOUT = {
    "emotion": {
        "input": "(n, 48, 48, 1) float32 gray in [0, 1]; a face framed as FER-2013 frames it",
        "output": "(n, 7) probabilities: " + ", ".join(EMOTIONS),
        "intended_use": "teaching and research on facial expression; reading posed or clear expressions",
        "limits": "Learnt from FER-2013, whose labels are noisy (fear most of all) and whose disgust class "
        "is tiny. An expression is not a feeling: do not use it to judge, hire, grade or watch people.",
    },
    "gender": {
        "input": "(n, 64, 64, 3) float32 RGB in [0, 1]; a face framed as FER-2013 frames it",
        "output": "(n, 2) probabilities: " + ", ".join(GENDERS),
        "intended_use": "teaching and research; counting apparent gender in large collections of photographs",
        "limits": "Apparent gender with two labels: it says how a face looks to the annotators of UTKFace, "
        "not who a person is. About 3 % of those labels are wrong. Unreliable on children. "
        "Do not use it to decide anything about a person.",
    },
    "vqvae": {
        "input": "(n, 48, 48, 1) float32 gray in [0, 1]; a face framed as FER-2013 frames it",
        "output": "(n, 48, 48, 1) its reconstruction from 6x6 stacks of codes",
        "intended_use": "teaching and research; coding and decoding faces, ours or with consent",
        "limits": "48 pixels of a gray face and nothing else. Fine texture is lost.",
    },
    "prior": {
        "input": "what is known of a face's codes, and shares of the emotions " + ", ".join(EMOTIONS),
        "output": "probabilities of the codes that are not known",
        "intended_use": "teaching and research; faces of people who do not exist",
        "limits": "Learnt from FER-2013's faces and labels, and shares their bias. Rare emotions are drawn "
        "less variously. Do not use it to alter a person's face without consent, or to deceive.",
    },
}


def export(model: keras.Model, task: str, architecture: str, facts: dict, recipe) -> None:
    """Ship a trained network: weights in half precision, for a reader the same numbers as a graph, the card.

    model: a keras.Model of ``architecture`` (see ``_architectures``); it is rounded to half precision in
    place. task: the name of its files, as in ``SHIPPED``, or a key of ``_ABOUT``. facts: what the run knows
    (data, digest, command). recipe: the run's dataclass. Raises InputError where tf2onnx (extra
    ``export``) is missing.
    """
    import datetime
    from dataclasses import asdict

    from facelib.paths import atomic_write, digest

    model.set_weights([w.astype(np.float16).astype(np.float32) for w in model.get_weights()])
    as_graph = task not in assets.GENERATOR
    weights, graph = assets.WEIGHTS / f"{task}.weights.h5", assets.WEIGHTS / f"{task}.onnx"
    with atomic_write(weights) as path:
        plain = _architectures()[architecture]()  # without an optimizer, which would be saved as well
        plain.set_weights(model.get_weights())
        plain.save_weights(path)
        _pack(path)
    if as_graph:
        _export_graph(model, graph)
    card = {
        "name": f"facelib-{task}",
        **_ABOUT[task.partition("-")[0]],
        "architecture": architecture,
        "parameters": model.count_params(),
        **facts,
        "recipe": asdict(recipe),
        "date": datetime.date.today().isoformat(),
        "weights_digest": digest(weights)[:16],
        "graph_digest": digest(graph)[:16] if as_graph else None,
        "metrics": {},
    }
    with atomic_write(assets.WEIGHTS / f"{task}.json") as path:
        path.write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _export_graph(model: keras.Model, graph) -> None:
    from facelib.paths import atomic_write

    try:
        # tf2onnx wants a network that has been called once.
        model.predict_on_batch(np.zeros((1, *model.input_shape[1:]), np.float32))
        with atomic_write(graph) as path:
            model.export(str(path), format="onnx", verbose=False)
            _halve(path)
    except ImportError as error:
        raise InputError(f"shipping a network needs {error.name}: pip install 'facelib[export]'") from None


def _halve(path) -> None:
    """Store the numbers of an ONNX graph that half precision holds exactly in half precision.

    The graph still computes in single precision: each is followed by a cast, which readers do when they load.
    """
    import onnx

    graph = onnx.load(path)
    for tensor in list(graph.graph.initializer):
        values = onnx.numpy_helper.to_array(tensor)
        half = values.astype(np.float16)
        if values.dtype == np.float32 and values.size > 64 and (half == values).all():
            name = f"{tensor.name}_half"
            graph.graph.initializer.remove(tensor)
            graph.graph.initializer.append(onnx.numpy_helper.from_array(half, name))
            cast = onnx.helper.make_node("Cast", [name], [tensor.name], to=onnx.TensorProto.FLOAT)
            graph.graph.node.insert(0, cast)
    onnx.checker.check_model(graph)
    onnx.save(graph, path)


def _pack(path) -> None:
    """Write an HDF5 file anew, its numbers in half precision and compressed."""
    import h5py

    with h5py.File(path, "r") as old, h5py.File(f"{path}.new", "w", libver="latest") as new:

        def copy(name, item):
            if isinstance(item, h5py.Group):
                made = new.require_group(name)
            else:
                values = item[()].astype(np.float16) if item.dtype == np.float32 else item[()]
                # In one chunk: the index over several would be larger than what is saved.
                how = {"compression": "gzip", "shuffle": True, "chunks": values.shape}
                made = new.create_dataset(name, data=values, **how if values.size > 64 else {})
            for key, value in item.attrs.items():
                made.attrs[key] = value

        old.visititems(copy)
        for key, value in old.attrs.items():
            new.attrs[key] = value
    os.replace(f"{path}.new", path)
