"""A trained network is shipped: a file of weights, an ONNX model over the same numbers, a card."""

from __future__ import annotations

import datetime
import json
import os
from typing import TYPE_CHECKING

import numpy as np

from facelib.emotions import EMOTIONS, GENDERS
from facelib.errors import InputError
from facelib.models import registry
from facelib.paths import atomic_write, digest

if TYPE_CHECKING:
    import keras

#: What a card says of a network whatever run it came from.
_ABOUT = {
    "emotion": {
        "input": "(n, 48, 48, 1) float32 gray in [0, 1]; a face framed as FER-2013 frames it",
        "output": "(n, 7) probabilities: " + ", ".join(EMOTIONS),
        "intended_use": "teaching and research on facial expression; reading posed or clear expressions",
        "limits": "Learnt from FER-2013, whose labels are noisy (fear most of all) and whose disgust class "
        "is tiny. An expression is not a feeling: do not use it to judge, hire, grade or watch people.",
    },
    "gender": {
        "input": "(n, 64, 64, 3) float32 RGB in [0, 1]; a face framed as FER-2013 frames it",
        "output": "(n, 2) probabilities: " + ", ".join(GENDERS),
        "intended_use": "teaching and research; counting apparent gender in large collections of photographs",
        "limits": "Apparent gender with two labels: it says how a face looks to the annotators of UTKFace, "
        "not who a person is. About 3 % of those labels are wrong. Unreliable on children. "
        "Do not use it to decide anything about a person.",
    },
    "vqvae": {
        "input": "(n, 48, 48, 1) float32 gray in [0, 1]; a face framed as FER-2013 frames it",
        "output": "(n, 48, 48, 1) its reconstruction from 6x6 stacks of codes",
        "intended_use": "teaching and research; coding and decoding faces, ours or with consent",
        "limits": "48 pixels of a gray face and nothing else. Fine texture is lost.",
    },
    "prior": {
        "input": "what is known of a face's codes, and shares of the emotions " + ", ".join(EMOTIONS),
        "output": "probabilities of the codes that are not known",
        "intended_use": "teaching and research; faces of people who do not exist",
        "limits": "Learnt from FER-2013's faces and labels, and shares their bias. Rare emotions are drawn "
        "less variously. Do not use it to alter a person's face without consent, or to deceive.",
    },
}


def export(model: keras.Model, task: str, architecture: str, facts: dict, recipe: dict) -> None:
    """Ship a trained network: weights in half precision, an ONNX model over the same file (if it reads
    faces), the card.

    model: a keras.Model of ``architecture`` (see ``registry.architectures``); it is rounded to half precision
    in place. task: the name of its files, as in ``EMOTION_TASKS``, or a key of ``_ABOUT``. facts: what the
    run knows (data, digest, command). recipe: the run's, with its seed. Raises InputError where tf2onnx
    (extra ``export``) is missing.
    """
    if task == "vqvae":
        from facelib.models import vqvae

        vqvae.clear_averages(model)
    model.set_weights([w.astype(np.float16).astype(np.float32) for w in model.get_weights()])
    as_graph = task not in registry.GENERATOR
    weights, graph = registry.WEIGHTS / f"{task}.weights.h5", registry.WEIGHTS / f"{task}.onnx"
    with atomic_write(weights) as path:
        plain = registry.architectures()[architecture]()  # without an optimizer, which would be saved as well
        plain.set_weights(model.get_weights())
        plain.save_weights(path)
        _pack(path, compress=not as_graph)
        if as_graph:
            _export_graph(model, graph, path, weights.name)
    card = {
        "name": f"facelib-{task}",
        **_ABOUT[task.partition("-")[0]],
        "architecture": architecture,
        "parameters": model.count_params(),
        **facts,
        "recipe": recipe,
        "date": datetime.date.today().isoformat(),
        "weights_digest": digest(weights)[:16],
        "graph_digest": digest(graph)[:16] if as_graph else None,
        "metrics": {},
    }
    with atomic_write(registry.WEIGHTS / f"{task}.json") as path:
        path.write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _export_graph(model: keras.Model, graph, weights, name: str) -> None:
    try:
        # tf2onnx wants a network that has been called once.
        model.predict_on_batch(np.zeros((1, *model.input_shape[1:]), np.float32))
        with atomic_write(graph) as path:
            model.export(str(path), format="onnx", verbose=False)
            _share(path, weights, name)
    except ImportError as error:
        raise InputError(f"shipping a network needs {error.name}: pip install 'facelib[export]'") from None


def _share(path, weights, name) -> None:
    """Let an ONNX graph read its numbers from the file of Keras weights beside it, instead of from a copy.

    ONNX calls that external data: a file's name, an offset and a length, which HDF5 tells of an array that it
    keeps in one piece. The graph turns kernels into its own order and computes in single precision; both are
    done once, when it is loaded. Numbers that the file has not stay inside, in half precision if that holds
    them exactly.
    """
    import h5py
    import onnx

    arrays = []
    with h5py.File(weights, "r") as file:
        file.visititems(
            lambda _, item: (
                arrays.append((item[()], item.id.get_offset())) if isinstance(item, h5py.Dataset) else None
            )
        )

    def half(label: str, values: np.ndarray) -> tuple:
        """The tensor that holds ``values`` (float16), and the order of its axes."""
        for array, offset in arrays:
            if offset is None or array.dtype != np.float16 or array.ndim != values.ndim:
                continue
            for axes in {4: [(3, 2, 0, 1), (0, 1, 2, 3)], 2: [(0, 1), (1, 0)], 1: [(0,)]}.get(array.ndim, []):
                if array.transpose(axes).shape == values.shape and (array.transpose(axes) == values).all():
                    tensor = onnx.TensorProto(
                        name=label, data_type=onnx.TensorProto.FLOAT16, dims=array.shape
                    )
                    place = {"location": name, "offset": offset, "length": array.nbytes}
                    tensor.data_location = onnx.TensorProto.EXTERNAL
                    for key, value in place.items():
                        tensor.external_data.add(key=key, value=str(value))
                    return tensor, axes
        return onnx.numpy_helper.from_array(values, label), tuple(range(values.ndim))

    graph = onnx.load(path)
    first = []
    for tensor in list(graph.graph.initializer):
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size <= 64 or (values.astype(np.float16) != values).any():
            continue
        stored, axes = half(f"{tensor.name}_half", values.astype(np.float16))
        graph.graph.initializer.remove(tensor)
        graph.graph.initializer.append(stored)
        single = f"{tensor.name}_single"
        first += [
            onnx.helper.make_node("Cast", [stored.name], [single], to=onnx.TensorProto.FLOAT),
            onnx.helper.make_node("Transpose", [single], [tensor.name], perm=axes),
        ]
    for node in reversed(first):
        graph.graph.node.insert(0, node)
    path.write_bytes(graph.SerializeToString())


def _pack(path, compress: bool) -> None:
    """Write an HDF5 file anew, its numbers in half precision: compressed, or each array in one piece."""
    import h5py

    with h5py.File(path, "r") as old, h5py.File(f"{path}.new", "w", libver="latest") as new:

        def copy(name, item):
            if isinstance(item, h5py.Group):
                made = new.require_group(name)
            else:
                values = item[()].astype(np.float16) if item.dtype == np.float32 else item[()]
                # In one chunk: the index over several would be larger than what is saved.
                how = {"compression": "gzip", "shuffle": True, "chunks": values.shape}
                made = new.create_dataset(name, data=values, **how if compress and values.size > 64 else {})
            for key, value in item.attrs.items():
                made.attrs[key] = value

        old.visititems(copy)
        for key, value in old.attrs.items():
            new.attrs[key] = value
    os.replace(f"{path}.new", path)
