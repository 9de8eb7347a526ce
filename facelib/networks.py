"""Our own networks, and how shipped weights become something that can be called.

A network ships twice from one training run: as Keras weights (half precision, to study and to train on) and
as an ONNX graph of the same numbers. OpenCV, which is here anyway for detection, runs the graph: importing
TensorFlow alone takes ten seconds and half a gigabyte, too much for looking at one photograph. A test holds
both to each other.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from facelib import assets
from facelib.paths import InputError

if TYPE_CHECKING:
    import keras

#: Side of the crops that the gender network sees, in pixels.
GENDER_SIDE = 64
#: Side of FER-2013's pictures and of every emotion network's input.
EMOTION_SIDE = 48


def gender_network(dropout: float = 0.3) -> keras.Model:
    """Compact residual network: (n, 64, 64, 3) float32 RGB in [0, 1] -> (n, 2) probabilities, woman, man.

    0.9 M parameters and 31 M multiply-adds, against 134 M and 15 G of DeepFace's VGG-Face. Two strided
    convolutions first, so that most of the work happens on 16x16 and 8x8 maps; batch normalisation
    (arXiv:1502.03167), residual blocks (arXiv:1512.03385), global average pooling.
    """
    from keras import Input, Model, layers

    def convolve(x, filters, stride=1, kernel=3):
        x = layers.Conv2D(filters, kernel, strides=stride, padding="same", use_bias=False)(x)
        return layers.BatchNormalization(momentum=0.95)(x)

    def block(x, filters):
        y = layers.ReLU()(convolve(x, filters))
        return layers.ReLU()(layers.Add()([x, convolve(y, filters)]))

    inputs = Input((GENDER_SIDE, GENDER_SIDE, 3))
    x = layers.ReLU()(convolve(inputs, 32, stride=2, kernel=5))  # (n, 32, 32, 32)
    x = layers.ReLU()(convolve(x, 64, stride=2))  # (n, 16, 16, 64)
    x = block(x, 64)
    x = layers.ReLU()(convolve(x, 128, stride=2))  # (n, 8, 8, 128)
    x = block(x, 128)
    x = layers.ReLU()(convolve(x, 160, stride=2))  # (n, 4, 4, 160)
    x = block(x, 160)
    x = layers.Dropout(dropout)(layers.GlobalAveragePooling2D()(x))
    return Model(inputs, layers.Dense(2, activation="softmax", dtype="float32")(x), name="gender")
