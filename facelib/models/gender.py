"""The network that reads apparent gender."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras


#: Side of the crops that the gender network sees, in pixels.
GENDER_SIDE = 64


def gender_network(dropout: float = 0.3) -> keras.Model:
    """Compact residual network: (n, 64, 64, 3) float32 RGB in [0, 1] -> (n, 2) probabilities, woman, man.

    0.93 M parameters and 57 M multiply-adds, against 134 M and 15 G of DeepFace's VGG-Face. Two strided
    convolutions first, so that most of the work happens on 16x16 and 8x8 maps; batch normalisation
    (arXiv:1502.03167), residual blocks (arXiv:1512.03385), global average pooling.
    """
    from facelib.backend import keras, layers

    def convolve(x, filters, stride=1, kernel=3):
        x = layers.Conv2D(filters, kernel, strides=stride, padding="same", use_bias=False)(x)
        return layers.BatchNormalization(momentum=0.95)(x)

    def block(x, filters, inner=None):
        y = layers.ReLU()(convolve(x, inner or filters))
        return layers.ReLU()(layers.Add()([x, convolve(y, filters)]))

    inputs = keras.Input((GENDER_SIDE, GENDER_SIDE, 3))
    x = layers.ReLU()(convolve(inputs, 32, stride=2, kernel=5))  # (n, 32, 32, 32)
    x = layers.ReLU()(convolve(x, 64, stride=2))  # (n, 16, 16, 64)
    x = block(x, 64)
    x = layers.ReLU()(convolve(x, 128, stride=2))  # (n, 8, 8, 128)
    x = block(x, 128)
    x = layers.ReLU()(convolve(x, 160, stride=2))  # (n, 4, 4, 160)
    x = block(x, 160, inner=96)
    x = layers.Dropout(dropout)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, layers.Dense(2, activation="softmax", dtype="float32")(x), name="gender")
