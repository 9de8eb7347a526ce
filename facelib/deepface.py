"""DeepFace's pipeline, stage by stage: its two networks in Keras 3, and its crops pixel by pixel.

DeepFace (Serengil & Ozpinar: "LightFace", ASYU 2020; "HyperExtended LightFace", ICEET 2021) is what this
laboratory started from. Here its OpenCV path is rebuilt from its version 0.0.103 so that each stage can be
looked at, timed and compared; ``tests/test_deepface.py`` holds it to the package itself::

    picture -> extract_faces -> crop -> network_input -> gender_network            (n, 224, 224, 3)
                                                      -> gray, 48x48 -> emotion_network (n, 48, 48, 1)

What the stages cost and lose is said in their docstrings. Our own path (detection, alignment, encoder)
avoids each of these losses; this module keeps them, because a comparison needs the real thing.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facelib import paths
from facelib.emotions import EMOTIONS, GENDERS

if TYPE_CHECKING:
    import keras

#: DeepFace's weight files, under the names that it gives them.
WEIGHT_FILES = {"emotion": "facial_expression_model_weights.h5", "gender": "gender_model_weights.h5"}
#: The side of the square that every one of its attribute networks is fed from.
SIDE = 224

Point = tuple[int, int]


@dataclass(frozen=True)
class ExtractedFace:
    """One face as DeepFace cuts it out.

    crop: (h, w, 3) uint8 RGB, turned so that the eyes are level; black where it leaves the picture.
    box: x, y, w, h in pixels of the picture. The corner is moved into the picture without narrowing the
        box, so a face over the left or upper edge is reported shifted by what hangs out.
    eyes: (x, y) of the eye on the picture's left, then of the one on its right; None unless both were
        found inside the picture.
    confidence: 1 - score / 100 for the cascade's score, to two decimals: the surer the detector is, the
        *lower* this number. It orders nothing; use ``facelib.detection`` for a confidence that does.
    """

    crop: np.ndarray
    box: tuple[int, int, int, int]
    eyes: tuple[Point, Point] | None
    confidence: float


# --- networks -----------------------------------------------------------------------------------------


def emotion_network(dropout: float = 0.2, initializer: str = "glorot_uniform") -> keras.Model:
    """The three-stage network: (n, 48, 48, 1) float32 in [0, 1] -> (n, 7) probabilities, FER order.

    1,485,831 parameters, seven tenths of them in the 1024 x 1024 dense layer: the convolutions see a face
    with 0.30 M, the rest is a lookup. No padding anywhere, so the sides shrink 48, 44, 20, 18, 16, 7, 5, 3, 1
    and what lies at the border of the crop is seen by few units.
    """
    import keras
    from keras import layers

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
    import keras
    from keras import layers

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
    """``emotion_network`` with DeepFace's own weights; ``paths.InputError`` if there is no sound file.

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
        raise paths.InputError(f"no such weight file: {path}") from None
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise paths.InputError(
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
    raise paths.InputError(
        f"DeepFace's {task} weights are not here: run `facelib data fetch deepface-{task}`, "
        f"or put {name} into {folders[0]}"
    )


# --- pictures -----------------------------------------------------------------------------------------


def extract_faces(image: np.ndarray) -> list[ExtractedFace]:
    """Find, level and cut the faces of a picture, (H, W, 3) uint8 RGB, as DeepFace's OpenCV path does.

    A black border of half the picture is added on each side before the search: four times the area and
    memory, 1.2 to 1.6 times the search (black is rejected at the cascade's first stage). On nine annotated
    photographs it finds as many faces as without, 34 of 43, and one false one more; what it does gain is a
    face cut by the picture's edge, with a part of its crop black.

    The eye cascade then runs in each box. On the same photographs and three more it found two eyes in none of
    27 boxes below 70 pixels, which therefore stay as they are, and in 19 of 33 above. Its two largest answers
    decide the angle, without a limit: with a nostril for an eye, a straight face comes out on its side.

    DeepFace moves the box along with the rotation; since the box always stands in the middle of the part
    that it rotates, that movement is zero, and there is none here. Where DeepFace raises an error (or, with
    ``enforce_detection=False``, takes the whole picture for a face), this returns no faces. They come from
    left to right: DeepFace's own order is that in which OpenCV's threads happened to finish.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise paths.InputError(f"a picture is (H, W, 3) uint8, this is {image.shape} {image.dtype}")
    height, width = image.shape[:2]
    top, left = height // 2, width // 2
    image = np.ascontiguousarray(image)
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    gray = cv2.copyMakeBorder(gray, top, top, left, left, cv2.BORDER_CONSTANT, value=0)
    boxes, _, scores = _cascade("frontalface_default").detectMultiScale3(
        gray, scaleFactor=1.1, minNeighbors=10, outputRejectLevels=True
    )
    faces = []
    for (x, y, w, h), score in zip(np.asarray(boxes, int).reshape(-1, 4).tolist(), scores, strict=True):
        eyes = _eyes(gray[y : y + h, x : x + w])
        x, y = x - left, y - top  # from here on in pixels of the picture
        eyes = eyes and tuple((ex + x, ey + y) for ex, ey in eyes)
        crop = _level(image, (x, y, w, h), eyes)
        x, y = max(0, x), max(0, y)
        inside = eyes and all(0 <= ex < width and 0 <= ey < height for ex, ey in eyes)
        box = (x, y, min(w, width - x - 1), min(h, height - y - 1))
        faces.append(ExtractedFace(crop, box, eyes if inside else None, round((100 - float(score)) / 100, 2)))
    return sorted(faces, key=lambda face: face.box)


def network_input(crop: np.ndarray) -> np.ndarray:
    """A crop, (h, w, 3) uint8 RGB, as the attribute networks get it: (224, 224, 3) float32 BGR in [0, 1].

    Scaled to fit, black bars on two sides. The cascade's boxes are square, so bars appear only for another
    detector's boxes and where the whole picture passes for a face; of the square, a 4:3 picture fills 75 %.
    (For one side in twelve, 97 for example, rounding down leaves a black line of one pixel all the same.)
    A crop of values 0 and 1 only is not divided by 255, neither here nor there.
    """
    pixels = crop[..., ::-1] / 255 if crop.max() > 1 else np.ascontiguousarray(crop[..., ::-1])
    scale = min(SIDE / crop.shape[0], SIDE / crop.shape[1])
    h, w = (max(1, int(side * scale)) for side in crop.shape[:2])
    square = np.zeros((SIDE, SIDE, 3), np.float32)
    y, x = (SIDE - h) // 2, (SIDE - w) // 2
    # Bilinear in double precision, then rounded to single: the last bit depends on it.
    square[y : y + h, x : x + w] = cv2.resize(pixels, (w, h))
    return square


def gender_input(crops: Sequence[np.ndarray]) -> np.ndarray:
    """Crops, each (h, w, 3) uint8 RGB -> (n, 224, 224, 3) float32 BGR in [0, 1] for ``gender_network``.

    VGG-Face as published expects 0 to 255 less a mean colour; DeepFace's gender network gets neither.
    """
    return _batch([network_input(crop) for crop in crops], (SIDE, SIDE, 3))


def emotion_input(crops: Sequence[np.ndarray]) -> np.ndarray:
    """Crops, each (h, w, 3) uint8 RGB -> (n, 48, 48, 1) float32 in [0, 1] for ``emotion_network``.

    The second of two resizes, both bilinear: from 224 to 48 two pixels in 4.67 are read along each side, 18 %
    of all, and nothing is averaged. Crops above 120 pixels come out with aliasing (35 dB from an area average
    as the median of 25 faces); smaller ones were blown up first and lose little (48 dB below 70 pixels). One
    resize with area interpolation does neither, in a sixth of the time.
    """
    gray = (cv2.cvtColor(network_input(crop), cv2.COLOR_BGR2GRAY) for crop in crops)
    return _batch([cv2.resize(face, (48, 48))[..., None] for face in gray], (48, 48, 1))


def _batch(faces: list[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    return np.stack(faces) if faces else np.zeros((0, *shape), np.float32)


_local = threading.local()  # a cascade keeps the picture that it works on: one for each thread


def _cascade(name: str) -> cv2.CascadeClassifier:
    if not hasattr(_local, name):
        setattr(_local, name, cv2.CascadeClassifier(f"{cv2.data.haarcascades}haarcascade_{name}.xml"))
    return getattr(_local, name)


def _eyes(face: np.ndarray) -> tuple[Point, Point] | None:
    """Centres of the two largest answers of the eye cascade in a gray face, the one further left first.

    Left and right are told by the boxes' left edges, not by the centres: two nested answers can come out
    exchanged, and then the face is turned upside down.
    """
    found = _cascade("eye").detectMultiScale(face, scaleFactor=1.1, minNeighbors=10)
    eyes = np.asarray(found, int).reshape(-1, 4).tolist()
    largest = sorted(eyes, key=lambda eye: (-eye[2] * eye[3], eye))[:2]
    if len(largest) < 2:
        return None
    if largest[0][0] >= largest[1][0]:
        largest.reverse()
    first, second = ((int(x + w / 2), int(y + h / 2)) for x, y, w, h in largest)
    return first, second


def _level(image: np.ndarray, box: tuple[int, int, int, int], eyes: tuple[Point, Point] | None) -> np.ndarray:
    """Turn the box and half its size around it until the eyes are level, and cut the box out of that."""
    x, y, w, h = box
    margin_x, margin_y = w // 2, h // 2
    patch = _window(image, x - margin_x, y - margin_y, w + 2 * margin_x, h + 2 * margin_y)
    if eyes:
        (x1, y1), (x2, y2) = eyes
        angle = float(np.degrees(np.arctan2(y2 - y1, x2 - x1)))
        centre = (patch.shape[1] // 2, patch.shape[0] // 2)  # half a pixel off where the side is odd
        turn = cv2.getRotationMatrix2D(centre, angle, 1.0)
        patch = cv2.warpAffine(patch, turn, patch.shape[1::-1], flags=cv2.INTER_CUBIC)  # black outside
    return patch[margin_y : margin_y + h, margin_x : margin_x + w]


def _window(image: np.ndarray, x: int, y: int, w: int, h: int) -> np.ndarray:
    """The window at x, y of size w, h; black where it hangs over the picture's edge."""
    height, width = image.shape[:2]
    window = np.zeros((h, w, 3), np.uint8)
    x1, y1, x2, y2 = max(x, 0), max(y, 0), min(x + w, width), min(y + h, height)
    if x1 < x2 and y1 < y2:
        window[y1 - y : y2 - y, x1 - x : x2 - x] = image[y1:y2, x1:x2]
    return window
