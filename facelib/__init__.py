"""facelib: faces to emotions, and emotions to faces.

``import facelib`` costs milliseconds: every name below is loaded at its first use, so that the data
notebooks and ``facelib --help`` never wait ten seconds for TensorFlow.
"""

from __future__ import annotations

import importlib
import os

# Keras reads this once, at its import; TensorFlow is the default where nothing else is set.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# FFmpeg inside OpenCV reads this at its first film; what is wrong with a film is one line of our own.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
# Unset or 1, TensorFlow prints a line about oneDNN at its import, into every notebook's output, and rounds
# differently from one processor to the next. `facelib train` turns it on: bfloat16 needs it to be fast.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
# Nobody is told what runs here: ONNX Runtime would resolve a host and keep an id of this machine in the
# user's cache. Each reads its switch at its import; one that is set already stays as it is.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

__version__ = "0.1.0"

_EXPORTS = {
    "analyze": "vision.encoder",
    "extract_faces": "vision.encoder",
    "to_frame": "vision.encoder",
    "analyze_video": "vision.video",
    "verify": "vision.recognition",
    "find": "vision.recognition",
    "Face": "vision.encoder",
    "FaceEncoder": "vision.encoder",
    "load_emotion_model": "models.registry",
    "load_gender_model": "models.registry",
    "load_generator": "models.generator",
    "load_fer2013": "data.fer2013",
    "load_toyfaces": "data.synthetic_faces",
    "EMOTIONS": "emotions",
    "InputError": "errors",
    "record": "batch.process",
    "say": "language",
}
__all__ = list(_EXPORTS)


def __getattr__(name: str):
    if name in _EXPORTS:
        return getattr(importlib.import_module(f"facelib.{_EXPORTS[name]}"), name)
    raise AttributeError(f"module 'facelib' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
