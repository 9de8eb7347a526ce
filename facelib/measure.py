"""Measure shipped networks: run them over a whole split and write down what came out.

The numbers and their intervals are ``evaluation``'s; here stands what is fed to which network.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from facelib import alignment, assets, detection, evaluation, fer2013, networks, paths, utkface
from facelib.emotions import FerData
from facelib.paths import InputError


def emotion(data: FerData, split: str = "PrivateTest", model: str = "facelib") -> dict:
    """Run an emotion network over one split; writes ``reports/metrics/01-emotion-….json`` and returns it.

    split: a name of ``FerData.splits``. model: as in ``networks.load_emotion_model``; the shipped one runs as
    the graph that the encoder uses. Raises InputError for an empty split.
    """
    rows = data.splits[split]
    if not len(rows):
        raise InputError(f"{data.source} has no rows in {split}; choose another split")
    network = (
        networks.GraphNetwork("emotion") if model == "facelib" else networks.load_emotion_model(model).predict
    )
    inputs = rows.images[..., None].astype(np.float32) / 255
    answers = np.concatenate([np.asarray(network(inputs[i : i + 512])) for i in range(0, len(inputs), 512)])
    name = "toy" if data.source.startswith("drawn") else fer2013.dataset_name(data)
    slug = f"01-emotion-{name}-{split.lower()}" + ("" if model == "facelib" else f"-{model}")
    evaluation.write_metrics(
        slug,
        {
            "split": split,
            "seed": 0,
            "model": model,
            **evaluation.classification_metrics(rows.labels, answers),
        },
        command=f"facelib evaluate emotion --dataset {name[:7]} --split {split} --model {model}",
        data=data,
        weights=assets.card("emotion")["weights_digest"] if model == "facelib" else None,
    )
    if model == "facelib" and name == "fer2013":
        _into_card("emotion", slug)
    return evaluation.read_metrics(slug)


def gender(path: str | Path | None = None, detector: str = "haar") -> dict:
    """Detection, alignment and gender on UTKFace's held-out groups, adults (16 and older), colour and gray.

    Writes ``reports/metrics/01-gender-DETECTOR.json`` and returns it. A face that the detector misses has no
    answer: ``found`` is the rate of those that have one, the accuracies are over these.
    """
    from tqdm import tqdm

    table = utkface.read_table(path)
    held = utkface.held_out(table["group"].to_numpy()) & (table["age"] >= utkface.ADULT).to_numpy()
    rows = table[held]
    detect, network = detection.load_detector(detector), networks.GraphNetwork("gender")
    crops, labels = [], []
    for content, gender in tqdm(
        zip(rows["image"], rows["gender"]), total=len(rows), unit="face", disable=None
    ):
        image = utkface.decode(content)
        for face in detect(image)[:1]:
            crops.append(alignment.align(image, face, networks.GENDER_SIDE, gray=False))
            labels.append(gender == "man")
    if not crops:
        raise InputError(f"the detector {detector!r} finds no face in these pictures")
    colour = np.stack(crops).astype(np.float32) / 255
    gray = np.repeat((colour @ np.array([0.299, 0.587, 0.114], np.float32))[..., None], 3, axis=-1)
    result = {"found": len(crops) / len(rows), "found_interval": evaluation.wilson(len(crops), len(rows))}
    for name, inputs in (("colour", colour), ("gray", gray)):
        answers = np.concatenate([network(inputs[i : i + 256]) for i in range(0, len(inputs), 256)])
        hits = int((answers.argmax(1) == np.array(labels)).sum())
        result[f"accuracy_{name}"] = hits / len(labels)
        result[f"accuracy_{name}_interval"] = evaluation.wilson(hits, len(labels))
    name = detector if detector in ("haar", "yunet", "none") else "yunet"
    evaluation.write_metrics(
        f"01-gender-{name}",
        {"n": len(crops), "split": "held-out tenth of the groups, age >= 16", "seed": 0, **result},
        command=f"facelib evaluate gender --data utkface64.parquet --detector {name}",
        data=utkface.table_digest(table),
        weights=assets.card("gender")["weights_digest"],
    )
    _into_card("gender", f"01-gender-{name}")
    return evaluation.read_metrics(f"01-gender-{name}")


def _into_card(task: str, slug: str) -> None:
    """Copy accuracies into the model card, which travels with the weights; in a checkout only."""
    if not paths.CHECKOUT:
        return
    record, card = evaluation.read_metrics(slug), assets.card(task)
    accuracies = {key: value for key, value in record["metrics"].items() if key.startswith("accuracy")}
    card["metrics"][slug] = {"n": record["n"], "split": record["split"], **accuracies}
    with paths.atomic_write(assets.WEIGHTS / f"{task}.json") as path:
        path.write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def table(record: dict) -> str:
    """A metrics file as lines for people: what was measured, each number with its interval."""
    metrics = record["metrics"]
    lines = [f"n = {record['n']:,}, {record['split']}, data {record['data']}, weights {record['weights']}"]
    for key, value in metrics.items():
        if isinstance(value, float):
            interval = metrics.get(f"{key}_interval")
            between = f"   [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else ""
            lines.append(f"{key:<24} {value:.3f}{between}")
    return "\n".join(lines)
