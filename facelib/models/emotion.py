"""The networks that read emotions from a face."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facelib.emotions import EMOTIONS, FERPLUS, OFFICIAL_COUNTS
from facelib.errors import InputError

if TYPE_CHECKING:
    import keras

#: Side of FER-2013's pictures and of every emotion network's input.
EMOTION_SIDE = 48


def fused_batch_norm(inputs, gamma, beta, epsilon: float):
    """TensorFlow's fused kernel of batch normalisation in training: outputs, batch mean, batch variance.

    Keras has none for training and makes it of a dozen operations there. Measured in alternation beside other
    work, a step of "deep" takes 1.1 (least) to 1.4 times (median) the processor time with these.
    """
    import tensorflow as tf

    empty = tf.zeros((0,), tf.float32)
    found = tf.raw_ops.FusedBatchNormV3(
        x=inputs, scale=gamma, offset=beta, mean=empty, variance=empty, epsilon=epsilon, is_training=True
    )
    return found[:3]


@functools.cache
def normalisation() -> type[keras.layers.BatchNormalization]:
    """Batch normalisation (arXiv:1502.03167), while TensorFlow trains by ``fused_batch_norm``.

    Under other backends, and when a network is used, it is Keras's own layer, and so are its weights.
    """
    from facelib.backend import keras, ops

    class BatchNormalization(keras.layers.BatchNormalization):
        __module__ = "keras.layers"  # as which it is saved: the file loads where this class is not known

        def call(self, inputs, training=None, mask=None):
            if not training or keras.backend.backend() != "tensorflow":
                return super().call(inputs, training=training, mask=mask)
            gamma, beta = ops.cast(self.gamma, "float32"), ops.cast(self.beta, "float32")
            outputs, *found = fused_batch_norm(inputs, gamma, beta, self.epsilon)
            for moving, value in zip((self.moving_mean, self.moving_variance), found, strict=True):
                moving.assign(moving * self.momentum + value * (1 - self.momentum))
            return outputs

    return BatchNormalization


#: (filters, stride, side) of the first convolution, (filters, stride, blocks) of each stage, the last layer's
#: dropout, and whether blocks weigh their channels (squeeze-and-excitation).
_RESIDUAL = {
    "resnet": ((48, 1, 3), ((48, 1, 2), (96, 2, 2), (192, 2, 2), (384, 2, 2)), 0.4, True),
    "deep": ((48, 2, 5), ((64, 1, 1), (128, 2, 2), (320, 2, 2)), 0.4, False),
    "tiny": ((24, 2, 5), ((32, 2, 2), (64, 2, 1)), 0.1, False),
}
#: Filters of the plain networks' convolutions, between which the maps are halved; dropout is 0.4.
_PLAIN = {
    "vgg": ((64, 64), (128, 128), (256, 256, 256), (512, 512)),
    "plain": ((32, 64), (128, 128), (256, 256), (384, 384)),
}
#: All of them, as ``emotion_network`` knows them.
NETWORKS = (*_RESIDUAL, *_PLAIN)
#: The branches of the network that ships as "facelib", each trained by itself.
BRANCHES = ("deep", "plain")


def emotion_network(
    name: str = "deep", votes: bool = False, shipped: bool = False, prefix: str = ""
) -> keras.Model:
    """An emotion network: (n, 48, 48, 1) float32 gray in [0, 1] -> (n, 7) probabilities in FER-2013's order.

    name: of ``NETWORKS``: "resnet" with 6.4 M parameters and 702 M multiply-adds, "vgg" with 5.3 M and
        553 M; the ``BRANCHES``, "deep" with 3.8 M and 225 M, "plain" with 3.3 M and 378 M; "tiny", under
        0.1 M.
    votes: for training, takes any side from 32 up and gives (n, 17): the seven, then the ten shares of the
        FER+ annotators' votes, a second task on the same features.
    shipped: for use, without normalisation layers (``fold_batch_norm`` folds them into the convolutions).
    prefix: of its convolutions' names: in one network they must differ, or no .h5 file can hold them.

    "resnet", "deep" and "tiny": residual blocks (arXiv:1512.03385) whose shortcuts are averaged where they
    shrink (arXiv:1812.01187), in "resnet" with squeeze-and-excitation (arXiv:1709.01507); the others begin
    with a strided convolution, so that the work happens on 24x24 maps and smaller. "vgg" and "plain":
    convolutions one after another, the first two on all pixels (arXiv:1409.1556). All: batch normalisation
    (arXiv:1502.03167), global average pooling, which is what lets the side vary.
    """
    from facelib.backend import keras, layers

    numbers = itertools.count()

    def convolve(x, filters, stride=1, kernel=3):
        i = next(numbers)
        options = {"strides": stride, "padding": "same", "use_bias": shipped, "name": f"{prefix}conv{i}"}
        x = layers.Conv2D(filters, kernel, **options)(x)
        return x if shipped else normalisation()(momentum=0.95, name=f"norm{i}")(x)

    def block(x, filters, stride=1):
        y = convolve(layers.ReLU()(convolve(x, filters, stride)), filters)
        if squeeze:
            gate, i = layers.GlobalAveragePooling2D(keepdims=True)(y), next(numbers)
            for part, width, activation in (("a", filters // 8, "relu"), ("b", filters, "sigmoid")):
                gate = layers.Conv2D(width, 1, activation=activation, name=f"{prefix}gate{i}{part}")(gate)
            y = layers.Multiply()([y, gate])
        if stride > 1:
            x = layers.AveragePooling2D(2)(x)
        if x.shape[-1] != filters:
            x = convolve(x, filters, kernel=1)
        return layers.ReLU()(layers.Add()([x, y]))

    side = None if votes else EMOTION_SIDE
    x = inputs = keras.Input((side, side, 1))
    if name in _PLAIN:
        dropout = 0.4
        for i, stage in enumerate(_PLAIN[name]):
            x = layers.MaxPooling2D(2)(x) if i else x
            for filters in stage:
                x = layers.ReLU()(convolve(x, filters))
    else:
        stem, stages, dropout, squeeze = _RESIDUAL[name]
        x = layers.ReLU()(convolve(inputs, *stem))
        for filters, stride, depth in stages:
            for i in range(depth):
                x = block(x, filters, stride if i == 0 else 1)
    x = layers.GlobalAveragePooling2D()(x)
    if shipped:
        features = keras.Model(inputs, x, name="features")
        inputs = keras.Input((side, side, 1))
        x = features(inputs)
    x = layers.Dropout(dropout)(x)
    outputs = layers.Dense(len(EMOTIONS), activation="softmax", dtype="float32", name="emotion")(x)
    if votes:
        shares = layers.Dense(len(FERPLUS), activation="softmax", dtype="float32", name="votes")(x)
        outputs = layers.Concatenate(dtype="float32")([outputs, shares])
    return keras.Model(inputs, outputs, name=f"emotion_{name}")


def fold_batch_norm(model: keras.Model, name: str, temperature: float = 1.0, bias=0.0) -> keras.Model:
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
        elif layer.name.startswith("gate"):
            layer.set_weights(model.get_layer(layer.name).get_weights())
    kernel, offset = model.get_layer("emotion").get_weights()
    shipped.get_layer("emotion").set_weights([kernel / temperature, offset / temperature + bias])
    return shipped


def two_branch_network() -> keras.Model:
    """Two networks on the same image: (n, 48, 48, 1) float32 gray in [0, 1] -> (n, 7).

    A multi-column network (arXiv:1202.2745): the output is the softmax of the mean of both's logits, which
    is one linear layer over both's features.
    """
    from facelib.backend import keras, layers

    inputs = keras.Input((EMOTION_SIDE, EMOTION_SIDE, 1))
    inside = [
        emotion_network(name, shipped=True, prefix=f"{name}_").get_layer("features") for name in BRANCHES
    ]
    for name, branch in zip(BRANCHES, inside, strict=True):
        branch.name = name
    features = keras.Model(
        inputs, layers.Concatenate()([branch(inputs) for branch in inside]), name="features"
    )
    outputs = layers.Dense(len(EMOTIONS), activation="softmax", dtype="float32", name="emotion")
    inputs = keras.Input((EMOTION_SIDE, EMOTION_SIDE, 1))
    return keras.Model(inputs, outputs(features(inputs)), name="emotion_facelib")


def merge_branches(trained: Sequence[keras.Model], temperature: float = 1.0, bias=0.0) -> keras.Model:
    """``two_branch_network`` with trained weights. trained: folded networks, in the order of ``BRANCHES``;
    temperature, bias: a calibration of the mean of their logits, as in ``fold_batch_norm``."""
    merged = two_branch_network()
    for name, model in zip(BRANCHES, trained, strict=True):
        merged.get_layer("features").get_layer(name).set_weights(model.get_layer("features").get_weights())
    kernels, offsets = zip(*(model.get_layer("emotion").get_weights() for model in trained), strict=True)
    share = 1 / len(BRANCHES) / temperature
    merged.get_layer("emotion").set_weights([np.concatenate(kernels) * share, sum(offsets) * share + bias])
    return merged


def emotion_inputs(images: np.ndarray) -> np.ndarray:
    """Pictures as every emotion network takes them: (n, 48, 48) uint8 -> (n, 48, 48, 1) float32 in [0, 1]."""
    return images[..., None].astype(np.float32) / 255


# --- how a network reads ------------------------------------------------------------------------------

#: How often each emotion is expected before a face is seen: all alike, or as in FER-2013's training split.
CLASS_PRIORS = ("uniform", "fer2013")
#: With which exponent "uniform" divides by FER-2013's shares (``prior_bias``), chosen on PublicTest weighted
#: to equal classes: with exponents 0, 0.5, 0.75 and 1 "facelib" is right on 0.692, 0.706, 0.707 and 0.687 of
#: it, "tiny" on 0.616, 0.649, 0.630 and 0.577, and both are calibrated best by 0.25 to 0.5. Soft targets have
#: flattened the shares that they have learnt, so that 1 goes too far.
PRIOR_STRENGTH = 0.5
#: Test-time augmentation: none, the mirror image, or ``CROPS``.
TTA = ("none", "mirror", "crops")
#: A face as a detector might as well have cut it out: (right, down) in pixels of 48, zoom. The first is the
#: face as it is.
CROPS = np.array(
    [(0, 0, 1), (2, 0, 1), (-2, 0, 1), (0, 2, 1), (0, -2, 1), (0, 0, 1.05), (0, 0, 1 / 1.05)], np.float64
)


def prior_bias(class_prior: str, strength: float = PRIOR_STRENGTH) -> np.ndarray:
    """What is added to the logits of a network from FER-2013 where another class prior holds, (7,) float64.

    class_prior: of ``CLASS_PRIORS``; raises InputError for another. By Bayes' rule probabilities are divided
    by the training set's class shares and multiplied by the new ones (Saerens et al. 2002, Neural Computation
    14, 21-41). With strength 1 that is exact for a calibrated network on faces that differ from FER-2013's in
    these shares alone.
    """
    if class_prior not in CLASS_PRIORS:
        raise InputError(f"class_prior {class_prior!r} is unknown; choose {' or '.join(CLASS_PRIORS)}")
    bias = -strength * np.log(OFFICIAL_COUNTS["Training"]) * (class_prior == "uniform")
    return bias - bias.mean()


def moved(images: np.ndarray, places) -> np.ndarray:
    """Images (n, s, s, 1) as they would be in other crops. places: position in ``CROPS``, of all or (n,).

    Where the crop leaves the image, its edge is repeated.
    """
    places, out = np.broadcast_to(places, len(images)), images.copy()
    for i in np.flatnonzero(places):
        right, down, zoom = CROPS[places[i]]
        middle = (images.shape[1] - 1) / 2 * (1 - zoom)
        matrix = np.array([[zoom, 0, middle + right], [0, zoom, middle + down]])
        side = images.shape[1:3]
        out[i, ..., 0] = cv2.warpAffine(images[i], matrix, side, borderMode=cv2.BORDER_REPLICATE)
    return out


def reader(network: Callable, class_prior: str = "fer2013", tta: str = "none") -> Callable:
    """A network (n, 48, 48, 1) -> (n, 7), for a class prior and with test-time augmentation.

    tta: of ``TTA``; the geometric mean over the changed copies (arXiv:1409.1556), which on PublicTest is as
    often right as the arithmetic mean and better calibrated, in 2 or 7 times the time. Raises InputError for
    an unknown name.
    """
    bias = prior_bias(class_prior)
    if tta not in TTA:
        raise InputError(f"tta {tta!r} is unknown; choose {', '.join(TTA)}")

    def read(inputs: np.ndarray) -> np.ndarray:
        copies = [moved(inputs, i) for i in range(len(CROPS))] if tta == "crops" else [inputs]
        copies += [np.ascontiguousarray(inputs[:, :, ::-1])] * (tta == "mirror")
        logs = bias + np.mean([np.log(np.maximum(network(each), 1e-12)) for each in copies], axis=0)
        found = np.exp(logs - logs.max(1, keepdims=True))
        return found / found.sum(1, keepdims=True)

    return read
