"""Files that a model needs: our own shipped weights with their cards, and verified downloads.

Nothing is downloaded without being asked for (``facelib data fetch NAME``), and nothing that was downloaded
is used before its size and digest are what the publisher's file has, where that is known.
"""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path

from facelib.paths import WEIGHTS, InputError, atomic_write, data


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


#: Shipped networks that draw, and run in Keras alone; those that read faces have an ONNX graph as well.
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
