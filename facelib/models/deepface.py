"""DeepFace's two networks (Serengil & Ozpinar 2020, 2021) in Keras 3, and how its own weights are read."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from facelib import paths
from facelib.emotions import EMOTIONS, GENDERS
from facelib.errors import InputError

if TYPE_CHECKING:
    import keras

#: DeepFace's weight files, under the names that it gives them.
WEIGHT_FILES = {"emotion": "facial_expression_model_weights.h5", "gender": "gender_model_weights.h5"}
#: The side of the square that every one of its attribute networks is fed from.
SIDE = 224


def emotion_network(dropout: float = 0.2, initializer: str = "glorot_uniform") -> keras.Model:
    """The three-stage network: (n, 48, 48, 1) float32 in [0, 1] -> (n, 7) probabilities, FER order.

    1,485,831 parameters, seven tenths of them in the 1024 x 1024 dense layer: the convolutions see a face
    with 0.30 M, the rest is a lookup. No padding anywhere, so the sides shrink 48, 44, 20, 18, 16, 7, 5, 3, 1
    and what lies at the border of the crop is seen by few units.
    """
    from facelib.backend import keras, layers

    def conv(filters: int, side: int):
        return layers.Conv2D(filters, side, activation="relu", kernel_initializer=initializer)

    def dense(units: int, activation: str = "relu"):
        return layers.Dense(units, activation=activation, kernel_initializer=initializer)

    stack = [keras.Input((48, 48, 1))]
    stack += [conv(64, 5), layers.MaxPooling2D(5, strides=2)]  # (n, 44, 44, 64), (n, 20, 20, 64)
    stack += [conv(64, 3), conv(64, 3), layers.AveragePooling2D(3, strides=2)]  # (n, 16, ..), (n, 7, 7, 64)
    stack += [conv(128, 3), conv(128, 3), layers.AveragePooling2D(3, strides=2)]  # (n, 3, ..), (n, 1, 1, 128)
    stack += [layers.Flatten(), dense(1024), layers.Dropout(dropout), dense(1024), layers.Dropout(dropout)]
    stack += [dense(len(EMOTIONS), "softmax")]
    return keras.Sequential(stack, name="deepface_emotion")


def gender_network(dropout: float = 0.5, initializer: str = "glorot_uniform") -> keras.Model:
    """VGG-Face: (n, 224, 224, 3) float32 BGR in [0, 1] -> (n, 2) probabilities, woman then man.

    The 16-layer network of Parkhi, Vedaldi & Zisserman, "Deep Face Recognition" (BMVC 2015), its 2,622
    identities replaced by two outputs. 134,268,738 parameters (537 MB), 103 M of them in the 7 x 7
    convolution that stands for the first dense layer: one bit of answer for 15 billion multiplications.
    """
    from facelib.backend import keras, layers

    def conv(filters: int, side: int, activation: str | None = "relu", padding: str = "valid"):
        return layers.Conv2D(
            filters, side, activation=activation, padding=padding, kernel_initializer=initializer
        )

    stack = [keras.Input((SIDE, SIDE, 3))]
    for filters, depth in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        # 3x3 with one pixel of zeros on each side: "same", at stride 1
        stack += [conv(filters, 3, padding="same") for _ in range(depth)]
        stack += [layers.MaxPooling2D(2)]
    for size in (7, 1):  # (n, 7, 7, 512) -> (n, 1, 1, 4096): dense layers written as convolutions
        stack += [conv(4096, size), layers.Dropout(dropout)]
    stack += [conv(len(GENDERS), 1, None), layers.Flatten(), layers.Softmax()]
    return keras.Sequential(stack, name="deepface_gender")


def load_emotion(path: str | Path | None = None) -> keras.Model:
    """``emotion_network`` with DeepFace's own weights; ``errors.InputError`` if there is no sound file.

    Without a path: facelib's data folder (``deepface/``), then ``$DEEPFACE_HOME/.deepface/weights``, then
    ``~/.deepface/weights``, where the package itself keeps them.
    """
    return _load(emotion_network, "emotion", path)


def load_gender(path: str | Path | None = None) -> keras.Model:
    """``gender_network`` with DeepFace's own weights; looked for as in ``load_emotion``."""
    return _load(gender_network, "gender", path)


def _load(build: Callable[..., keras.Model], task: str, path: str | Path | None) -> keras.Model:
    path = _find(task) if path is None else Path(path)
    try:
        return _read_weights(build, path)
    except FileNotFoundError:
        raise InputError(f"no such weight file: {path}") from None
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise InputError(
            f"{path} does not hold the weights of DeepFace's {task} network ({reason}); delete it and run "
            f"`facelib data fetch deepface-{task}`"
        ) from None


def _read_weights(build: Callable[..., keras.Model], path: Path) -> keras.Model:
    """A network with the weights of a file in Keras's old HDF5 layout, with or without the model around them.

    ``Model.load_weights`` does the same, but reads all of VGG-Face into memory beside a network of random
    numbers; layer by layer, into zeros, the peak is 0.4 GB lower.
    """
    import h5py

    with h5py.File(path) as stream:  # a download that broke off fails here, before the network is made
        root = stream.get("model_weights", stream)
        groups = [root[name] for name in root.attrs["layer_names"]]
        stored = [[group[name] for name in group.attrs["weight_names"]] for group in groups]
        stored = [arrays for arrays in stored if arrays]
        model = build(initializer="zeros")
        layers = [layer for layer in model.layers if layer.weights]
        if len(stored) != len(layers):
            raise ValueError(f"{len(stored)} layers with weights where it has {len(layers)}")
        for layer, arrays in zip(layers, stored, strict=True):
            layer.set_weights([array[()] for array in arrays])
    return model


def _find(task: str) -> Path:
    name = WEIGHT_FILES[task]
    folders = [paths.data() / "deepface"]
    homes = (os.environ.get("DEEPFACE_HOME"), Path.home())
    folders += [Path(home) / ".deepface" / "weights" for home in homes if home]
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    raise InputError(
        f"DeepFace's {task} weights are not here: run `facelib data fetch deepface-{task}`, "
        f"or put {name} into {folders[0]}"
    )


def stages(model) -> list[tuple[str, int, int, int]]:
    """A Keras model as ``plots.network_diagrams`` draws it: (name, side, channels, parameters) of its input
    and of each layer that has parameters."""
    found = [("input", model.input_shape[1], model.input_shape[3], 0)]
    for layer in model.layers:
        shape = layer.output.shape
        if layer.count_params():
            name = f"conv {layer.kernel_size[0]}" if len(shape) == 4 else "dense"
            found.append((name, shape[1] if len(shape) == 4 else 1, shape[-1], layer.count_params()))
    return found
