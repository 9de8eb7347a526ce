"""Shipped networks by name: their weights and cards, verified downloads, and how they become callable.

Nothing is downloaded without being asked for (``facelib data fetch NAME``), and nothing that was downloaded
is used before its size and digest are what the publisher's file has, where that is known.

A network ships in two forms from one training run: as Keras weights (half precision, to study and to train
on) and as an ONNX model over the same numbers. ONNX Runtime runs it, twice as fast as Keras, whose
import with TensorFlow takes ten seconds and half a gigabyte: too much for looking at one photograph. A test
holds both to each other.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from facelib.errors import InputError
from facelib.models.emotion import BRANCHES, emotion_network, two_branch_network
from facelib.models.gender import gender_network
from facelib.paths import WEIGHTS, atomic_write, data

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Download:
    """A file that others publish. size and digests: None where the publisher's are not known to us."""

    folder: str
    name: str
    url: str
    what: str
    size: int | None = None
    sha256: str | None = None
    git_blob: str | None = None  # the id that `git hash-object FILE` prints

    @property
    def path(self) -> Path:
        return data() / self.folder / self.name


#: The shipped emotion networks, and the name of their files in ``weights``.
EMOTION_TASKS = {"facelib": "emotion", "tiny": "emotion-tiny", "baseline": "emotion-baseline"}
#: The file of a finished run that holds its network's weights (``training.runs`` says what else it has).
RUN_WEIGHTS = "final.weights.h5"
#: Shipped networks that draw, and run in Keras alone; those that read faces have an ONNX model as well.
GENERATOR = ("vqvae", "prior")

_DEEPFACE = "https://github.com/serengil/deepface_models/releases/download/v1.0/"
DOWNLOADS = {
    "yunet": Download(
        "models",
        "face_detection_yunet_2023mar.onnx",
        "https://github.com/opencv/opencv_zoo/raw/main/models/face_detection_yunet/"
        "face_detection_yunet_2023mar.onnx",
        "YuNet face detector (OpenCV Zoo, MIT)",
        size=232_589,
        sha256="8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
    ),
    "deepface-emotion": Download(
        "deepface",
        "facial_expression_model_weights.h5",
        _DEEPFACE + "facial_expression_model_weights.h5",
        "DeepFace's emotion network (MIT)",
        size=5_978_744,
        git_blob="9802fbb4785afcc9647aa348ae9253d94205e57e",
    ),
    "deepface-gender": Download(
        "deepface",
        "gender_model_weights.h5",
        _DEEPFACE + "gender_model_weights.h5",
        "DeepFace's VGG-Face gender network (MIT; about 540 MB)",
    ),
}


def fault(item: Download, path: Path) -> str | None:
    """Why ``path`` cannot be the published file, or None if nothing speaks against it."""
    content_size = path.stat().st_size
    if item.size is not None and content_size != item.size:
        return f"has {content_size:,} bytes, the published file {item.size:,}"
    if item.sha256 is not None:
        with open(path, "rb") as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() != item.sha256:
                return "has another sha256 than the published file"
    if item.git_blob is not None:
        blob = hashlib.sha1(f"blob {content_size}\0".encode())
        blob.update(path.read_bytes())
        if blob.hexdigest() != item.git_blob:
            return "is not the published file (its git blob id differs)"
    if item.size is None:
        # What we know no digest of is at least held to its format, so that a login page does not pass.
        with open(path, "rb") as stream:
            if stream.read(8) != b"\x89HDF\r\n\x1a\n":
                return "is no HDF5 file"
    return None


def fetch(name: str, progress: bool | None = None) -> Path:
    """Download one of ``DOWNLOADS`` to its place and return the path; nothing is done if it is there.

    progress: show a bar; None: on a terminal. The file appears under its name only when it is complete and
    verified. Raises InputError with the way to do it by hand when the network, the server, the disk or the
    digest says no.
    """
    if name not in DOWNLOADS:
        raise InputError(f"nothing is called {name!r}; choose {', '.join(DOWNLOADS)}")
    item = DOWNLOADS[name]
    if item.path.is_file() and fault(item, item.path) is None:
        return item.path
    by_hand = f"by hand: download {item.url} and put it at {item.path}"
    import pooch
    import requests

    if progress is None:
        progress = sys.stderr.isatty()
    try:
        item.path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(item.path) as path:
            pooch.HTTPDownloader(progressbar=progress, timeout=30)(item.url, str(path), None)
            wrong = fault(item, path)
            if wrong:
                raise InputError(f"{name}: what came from {item.url} {wrong}; try again later, or {by_hand}")
    except InputError:
        raise
    except OSError as error:  # requests' errors are OSErrors too
        reason = error.strerror or error  # the disk
        if isinstance(error, requests.HTTPError):
            reason = f"the server answers {error.response.status_code}"
        elif isinstance(error, requests.exceptions.ChunkedEncodingError):
            reason = "the connection broke off"
        elif isinstance(error, requests.RequestException):
            reason = "no network, or the server cannot be reached"
        raise InputError(f"{name}: cannot be downloaded ({reason}); {by_hand}") from None
    return item.path


def locate(name: str) -> Path:
    """Where a download is; InputError, saying how to get it, if it is not there."""
    item = DOWNLOADS[name]
    if not item.path.is_file():
        raise InputError(
            f"{item.what} is not here; run `facelib data fetch {name}`, "
            f"or put {item.name} into {item.path.parent}"
        )
    return item.path


def card(name: str) -> dict:
    """The model card of shipped weights: architecture, parameters, data, seed, command, metrics, limits."""
    path = WEIGHTS / f"{name}.json"
    if not path.is_file():
        raise InputError(f"no weights called {name!r} are shipped; there are {', '.join(shipped())}")
    return json.loads(path.read_text(encoding="utf-8"))


def digests(*names: str) -> str:
    """The digests of shipped weights, as records quote them: 16 hexadecimal digits each, between spaces."""
    return " ".join(card(name)["weights_digest"] for name in names)


def shipped() -> list[str]:
    """Names of the networks whose weights come with the package."""
    return sorted(path.stem for path in WEIGHTS.glob("*.json"))


# --- networks -----------------------------------------------------------------------------------------


def architectures() -> dict[str, Callable[..., keras.Model]]:
    from facelib.models import deepface, masked_prior, vqvae

    return {
        "vqvae": vqvae.autoencoder,
        "prior": masked_prior.prior,
        "deepface": deepface.emotion_network,
        "gender": gender_network,
        "facelib": two_branch_network,
        **{name: functools.partial(emotion_network, name, shipped=True) for name in (*BRANCHES, "tiny")},
    }


def load_emotion_model(name: str = "facelib") -> keras.Model:
    """A Keras model: (n, 48, 48, 1) float32 in [0, 1] -> (n, 7) probabilities in FER-2013's order.

    name: "facelib", "tiny" (for speed) and "baseline" (DeepFace's architecture) were trained here; "deepface"
    has the published weights (`facelib data fetch deepface-emotion`). Raises InputError for another name, or
    where the file is missing.
    """
    from facelib.models import deepface

    return deepface.load_emotion() if name == "deepface" else load_shipped(emotion_task(name))


def load_gender_model(name: str = "facelib") -> keras.Model:
    """A Keras model: (n, 64, 64, 3) float32 RGB in [0, 1] -> (n, 2) probabilities, woman and man.

    name: "facelib", trained here; "deepface", VGG-Face, which takes (n, 224, 224, 3) BGR instead.
    """
    from facelib.models import deepface

    if name not in ("facelib", "deepface"):
        raise InputError(f"unknown gender model {name!r}; choose facelib or deepface")
    return deepface.load_gender() if name == "deepface" else load_shipped("gender")


def emotion_task(name: str) -> str:
    """The name of a shipped emotion network's files. Raises InputError for a name that is not one's."""
    if not isinstance(name, str) or name not in EMOTION_TASKS:
        raise InputError(f"unknown emotion model {name!r}; choose {', '.join(EMOTION_TASKS)} or deepface")
    return EMOTION_TASKS[name]


def load_shipped(task: str, mixed_precision: bool = False) -> keras.Model:
    """The Keras model of a file in ``weights``; mixed_precision: as ``build``. Raises InputError where it is
    missing.

    Saved as .keras it loads again with ``keras.models.load_model``; "vqvae" and "prior" have layers of our
    own: import ``facelib.models.masked_prior``, which registers them, in the process that loads.
    """
    return build(card(task)["architecture"], WEIGHTS / f"{task}.weights.h5", mixed_precision)


def build(architecture: str, weights: Path, mixed_precision: bool = False) -> keras.Model:
    """The Keras model of an architecture's name, with the weights of a file; mixed_precision: computing in
    bfloat16 where that is fast, beside a training."""
    with precision_policy(mixed_precision):
        model = architectures()[architecture]()
    model.load_weights(weights)
    return model


@contextmanager
def precision_policy(mixed: bool) -> Iterator[None]:
    """Keras's global policy is ``precision(mixed)`` meanwhile, and afterwards what it was."""
    from facelib.backend import keras

    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy(precision(mixed))
    try:
        yield
    finally:
        keras.mixed_precision.set_dtype_policy(before)


class OnnxNetwork:
    """A shipped network as an ONNX model run by ONNX Runtime: no TensorFlow, no compilation, ready at once.

    Called with (n, s, s, c) float32 in [0, 1] it returns (n, classes) float32 probabilities; it can be
    called from several threads. It takes ``PART`` images at once: a whole test set at once took 9 GB.
    """

    PART = 128

    def __init__(self, task: str):
        card(task)
        self._task = task
        _session(task, os.getpid())  # what is wrong with its file is said now

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        session = _session(self._task, os.getpid())
        name = session.get_inputs()[0].name
        starts = range(0, max(1, len(inputs)), self.PART)
        parts = (inputs[start : start + self.PART] for start in starts)
        return np.concatenate([session.run(None, {name: part})[0] for part in parts])


def cores() -> int:
    """The processor cores that this process may use, fewer than the machine has in many a container."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@functools.cache
def _session(task: str, process: int):
    """process: a forked child has none of the threads with which its parent's session would answer."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # Threads that wait for work do not hold a core meanwhile: pictures are read beside the network.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.intra_op_num_threads = cores()
    return onnxruntime.InferenceSession(str(WEIGHTS / f"{task}.onnx"), options)


def mirrored(network: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """A network with test-time augmentation (arXiv:1409.1556): predicts images (n, s, s, c) and their mirror
    images, in twice the time; the geometric mean of both, (n, classes), is scaled to sum to 1. On PublicTest
    it is as often right as the arithmetic mean, and better calibrated."""

    def predict(inputs: np.ndarray) -> np.ndarray:
        both = np.sqrt(network(inputs) * network(np.ascontiguousarray(inputs[:, :, ::-1])))
        return both / both.sum(1, keepdims=True)

    return predict


def precision(mixed: bool = True) -> str:
    """Keras's policy for a training: "mixed_bfloat16" if it is wanted and computed in hardware, by an
    accelerator or by a processor whose flags say so, else "float32".

    Where a processor only imitates bfloat16, DeepFace's architecture learns twelve times as slowly with it.
    """
    from facelib.backend import keras

    if not mixed:
        return "float32"
    backend = keras.backend.backend()
    if backend == "torch":  # for which Keras lists no devices
        import torch

        accelerated = torch.cuda.is_available()
    else:
        accelerated = any(not device.startswith("cpu") for device in keras.distribution.list_devices())
    if accelerated:
        return "mixed_bfloat16"
    if backend != "tensorflow":  # JAX's convolutions in bfloat16 gave nan on a processor
        return "float32"
    told = Path("/proc/cpuinfo")  # of Linux; elsewhere we do not know, and take what is never slow
    words = set(told.read_text(encoding="utf-8", errors="replace").split()) if told.exists() else set()
    return "mixed_bfloat16" if words & {"avx512_bf16", "amx_bf16", "bf16"} else "float32"
