"""Keras as the package imports it: ``from facelib.backend import keras`` stands wherever it is needed.

TensorFlow starts in silence and with oneDNN's kernels, which train twice as fast; under another backend
nothing of this matters. Importing is all that a caller has to do.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from facelib.errors import InputError


@contextmanager
def _quiet_start() -> Iterator[None]:
    """oneDNN is switched by an environment variable, and announces itself on the process's standard error
    whatever the log level. Both are as they were afterwards: TensorFlow looks at the variable once."""
    name = "TF_ENABLE_ONEDNN_OPTS"
    before, kept, nowhere = os.environ.get(name), os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.environ[name] = "1"
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before


if "keras" not in sys.modules:
    # It counts the networks and sizes that it meets; a filter, because in a notebook it sets its own level.
    logging.getLogger("tensorflow").addFilter(lambda record: record.levelno >= logging.ERROR)
    with _quiet_start():
        import keras
else:
    import keras

from keras import layers, ops  # noqa: E402

__all__ = ["check_process", "gradient", "keras", "layers", "ops"]

_PROCESS = os.getpid()


def check_process() -> None:
    """Raise InputError in a child that was forked after Keras was imported: it has none of TensorFlow's
    threads, and would wait for them for ever."""
    if os.getpid() != _PROCESS:
        raise InputError(
            "this process was forked after TensorFlow had started, and would wait for it for ever: start it "
            'with multiprocessing.get_context("spawn"), or import facelib\'s networks in the child alone'
        )


def gradient(loss: Callable, z: np.ndarray) -> np.ndarray:
    """The gradient of a loss at z, both (n, d) float32, under each of Keras' backends.

    loss: a tensor (n, d) -> a number. Keras has no command for it that the backends share; but one step of
    gradient descent with rate 1 moves a weight by minus its gradient, so z becomes a weight for that step.
    """
    model = keras.Sequential([keras.Input(()), layers.Embedding(*z.shape)])  # row i is z[i]
    model.set_weights([z])
    model.compile(keras.optimizers.SGD(1.0), lambda _, z: loss(z), jit_compile=False)
    model.train_on_batch(np.arange(len(z)), z)
    return z - model.get_weights()[0]
