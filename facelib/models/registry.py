"""Shipped networks by name: their weights and cards, verified downloads, and how they become callable.

Nothing is downloaded without being asked for (``facelib data fetch NAME``), and nothing that was downloaded
is used before its digest is what the publisher's file has.

A network ships in two forms from one training run: as Keras weights (half precision, to study and to train
on) and as an ONNX model over the same numbers. ONNX Runtime runs it, twice as fast as Keras, whose
import with TensorFlow takes ten seconds and half a gigabyte: too much for looking at one photograph. A test
holds both to each other.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from facelib.errors import InputError
from facelib.files import blame, check_file, read_record
from facelib.models.emotion import NETWORKS, emotion_network, prior_bias, two_branch_network
from facelib.models.gender import gender_network
from facelib.paths import WEIGHTS, atomic_write, data, digest

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Download:
    """A file that others publish, with its digest; size: bytes, None where it is not known to us."""

    folder: str
    name: str
    url: str
    what: str
    sha256: str
    size: int | None = None

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
        "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
        232_589,
    ),
    "deepface-emotion": Download(
        "deepface",
        "facial_expression_model_weights.h5",
        _DEEPFACE + "facial_expression_model_weights.h5",
        "DeepFace's emotion network (MIT)",
        "e8e8851d3fa05c001b1c27fd8841dfe08d7f82bb786a53ad8776725b7a1e824c",
        5_978_744,
    ),
    "deepface-gender": Download(
        "deepface",
        "gender_model_weights.h5",
        _DEEPFACE + "gender_model_weights.h5",
        "DeepFace's VGG-Face gender network (MIT; about 540 MB)",
        "45513ce5678549112d25ab85b1926fb65986507d49c674a3d04b2ba70dba2eb5",
    ),
    "sface": Download(
        "models",
        "face_recognition_sface_2021dec.onnx",
        "https://github.com/opencv/opencv_zoo/raw/main/models/face_recognition_sface/"
        "face_recognition_sface_2021dec.onnx",
        "SFace face recogniser (OpenCV Zoo, Apache-2.0; 39 MB)",
        size=38_696_353,
        sha256="0ba9fbfa01b5270c96627c4ef784da859931e02f04419c829e83484087c34e79",
    ),
}
#: Digests of YuNet files that OpenCV is known to read.
_YUNETS = (
    DOWNLOADS["yunet"].sha256,
    "ebafce4e3c118d6554634be5c27ab333b4c047a9a8c3faf1d7cf93101c22f0f0",  # face_detection_yunet_2026may.onnx
)


def fault(item: Download, path: Path) -> str | None:
    """Why ``path`` cannot be the published file, or None if it is."""
    size = check_file(path).st_size
    if item.size not in (None, size):
        return f"has {size:,} bytes, the published file {item.size:,}"
    return None if digest(path) == item.sha256 else "has another sha256 than the published file"


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


def check_detector(path: Path) -> None:
    """Refuse a detector's file that OpenCV cannot read: a damaged one ends the process, without a word.

    A known file is told by its digest; another one is tried in a process of its own. Raises InputError.
    """
    advice = "`facelib data fetch yunet` brings a whole one"
    with blame(path, advice):
        if check_file(path).st_size > 1 << 26:
            raise ValueError("too large for a YuNet model")
        found = digest(path)
    if found not in _YUNETS:
        if Path(path) == DOWNLOADS["yunet"].path:
            raise InputError(f"{path}: is damaged (its sha256 is not the published file's); {advice}")
        if not _is_read(str(path), found):
            raise InputError(f"{path}: OpenCV cannot read it as a YuNet model; {advice}")


@functools.cache
def _is_read(path: str, digest: str) -> bool:
    """Whether OpenCV reads a detector's file. digest: of its content, so that a new one is tried again."""
    code = "import sys, cv2, numpy; model = cv2.FaceDetectorYN.create(sys.argv[1], '', (32, 32)); "
    code += "model.detect(numpy.zeros((32, 32, 3), numpy.uint8))"
    try:  # -P: nothing is imported from the working directory
        done = subprocess.run([sys.executable, "-P", "-c", code, path], capture_output=True, timeout=60)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def card(name: str) -> dict:
    """The model card of shipped weights: architecture, parameters, data, seed, command, metrics, limits."""
    path = WEIGHTS / f"{name}.json"
    if not path.is_file():
        raise InputError(f"no weights called {name!r} are shipped; there are {', '.join(shipped())}")
    return read_record(path, "install facelib again", "architecture", "weights_digest")


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
        **{name: functools.partial(emotion_network, name, shipped=True) for name in NETWORKS},
    }


def load_emotion_model(name: str = "facelib", class_prior: str = "fer2013") -> keras.Model:
    """A Keras model: (n, 48, 48, 1) float32 in [0, 1] -> (n, 7) probabilities in FER-2013's order.

    name: "facelib", "tiny" (for speed) and "baseline" (DeepFace's architecture) were trained here; "deepface"
    has the published weights (`facelib data fetch deepface-emotion`). class_prior: "fer2013", as it was
    trained, or "uniform", as ``facelib.analyze`` reads (``emotion.prior_bias``). Raises InputError for
    another name, or where the file is missing.
    """
    from facelib.models import deepface

    bias = prior_bias(class_prior)
    model = deepface.load_emotion() if name == "deepface" else load_shipped(emotion_task(name))
    kernel, offset = model.layers[-1].get_weights()
    model.layers[-1].set_weights([kernel, offset + bias])
    return model


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
    known = architectures()
    if architecture not in known:
        raise InputError(f"{weights}: is of a network {str(architecture)[:40]!r}, which is none of ours")
    with precision_policy(mixed_precision):
        model = known[architecture]()
    load_weights(model, weights)
    return model


def load_weights(model: keras.Model, path: Path) -> None:
    """Give a network the weights of a file. Raises InputError, in one line that names the file, for a damaged
    one, one of another network, and one whose numbers are not all finite."""
    import h5py

    with blame(path, "make it again, or take it from where it is whole"):
        check_file(path)
        sizes: list[int] = []
        with h5py.File(path) as stored:
            stored.visititems(lambda _, item: sizes.append(getattr(item, "size", 0) or 0))
        if sum(sizes) > 8 * model.count_params() + 1_000_000:  # weights, the optimizer's moments and averages
            raise ValueError(f"{sum(sizes):,} numbers, the network has {model.count_params():,}")
        model.load_weights(path)
        if not all(np.isfinite(values).all() for values in model.get_weights()):
            raise ValueError("numbers that are not finite")


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
