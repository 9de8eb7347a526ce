"""Run folders: what a training leaves there, how it is written, found and read again.

While it trains, ``loop.fit`` keeps ``CONFIG``, ``LOG`` and ``CHECKPOINT`` there. A finished run has
``FINAL_WEIGHTS``, the network for use, and ``RECORD``, what a model card says of it: architecture, recipe
(the ``TrainingConfig``), data, data_digest, command, what else its trainer knows. ``STAGE_ONE`` holds the
weights that stage two goes on from; an emotion network is not folded or calibrated there.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from facelib import files, paths
from facelib.errors import InputError
from facelib.models import emotion, registry

if TYPE_CHECKING:
    import keras

CONFIG, LOG, CHECKPOINT = "recipe.json", "log.jsonl", "checkpoint.npz"
FINAL_WEIGHTS, RECORD, STAGE_ONE = registry.RUN_WEIGHTS, "run.json", "trained.weights.h5"
_ANEW = "delete the folder and train again"
SHIPPED_PRIOR = "shipped"  # instead of a run's folder: the prior that the package has


def read_log(path: Path) -> list[dict]:
    """The rows of a log, one for each epoch; without lines that were cut off or are none of ours."""
    rows = []
    if os.path.lexists(path):
        files.check_file(path)
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(ValueError, RecursionError):
                row = json.loads(line)
                if isinstance(row, dict) and isinstance(row.get("epoch"), int):
                    rows.append(row)
    return rows


def save_weights(network: keras.Model, path: Path) -> None:
    """Write a network's weights; the file appears when it is whole."""
    with paths.atomic_write(path) as temporary:
        network.save_weights(temporary)


def write(folder: Path, network: keras.Model, architecture: str | None, config, learnt_from, **facts) -> None:
    """Complete a run: its network's weights, then its record.

    architecture: as ``registry.build`` knows it; None: the caller's own. config: a ``TrainingConfig`` or a
    dict. learnt_from: the data, with a digest. facts: what else the record says, "data" and "command".
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    save_weights(network, folder / FINAL_WEIGHTS)
    record = {"architecture": architecture, "recipe": asdict(config) if is_dataclass(config) else config}
    record |= {"data": facts.pop("data", None) or learnt_from.option}
    record |= {"data_digest": learnt_from.digest, **facts}
    with paths.atomic_write(folder / RECORD) as path:
        path.write_text(json.dumps(record, indent=2), encoding="utf-8")


def command(task: str, config, **options) -> str:
    """The command line that repeats a run. options: name -> value or values; None and empty are left out."""
    words = [f"facelib train {task} --seed {config.seed} --epochs {config.epochs}"]
    for name, value in options.items():
        values = list(value) if isinstance(value, (list, tuple)) else [value] if value is not None else []
        values = [str(each) if isinstance(each, Path) else each for each in values]
        if values:
            words.append(f"--{name} {' '.join(str(getattr(each, 'name', each)) for each in values)}")
    return " ".join(words)


def record(folder: Path) -> dict:
    """What a finished run says of itself. Raises InputError for a run that is not finished, or damaged."""
    path = Path(folder) / RECORD
    if not os.path.lexists(path):
        raise InputError(f"{folder}: no finished run is there; train it first")
    found = files.read_record(path, _ANEW, "architecture", "recipe")
    if not isinstance(found["recipe"], dict) or not isinstance(found["architecture"], str | None):
        raise InputError(f"{path}: is damaged (architecture or recipe); {_ANEW}")
    return found


def load_run(folder: Path, mixed_precision: bool = False) -> keras.Model:
    """The finished network of a run; mixed_precision: as ``registry.build``. Raises InputError for a run that
    is not finished, or whose network its caller defined."""
    architecture = record(folder)["architecture"]
    if architecture is None:
        raise InputError(f"{folder}: its network is not one of ours; build it and load {FINAL_WEIGHTS}")
    return registry.build(architecture, Path(folder) / FINAL_WEIGHTS, mixed_precision)


def finished(folder: Path, config, learnt_from) -> keras.Model | None:
    """The network of a run, if it is finished and had this ``TrainingConfig`` and these data."""
    if not os.path.lexists(Path(folder) / RECORD):
        return None
    wanted = json.loads(json.dumps(asdict(config))), learnt_from.digest
    found = record(folder)
    return load_run(folder) if (found["recipe"], found.get("data_digest")) == wanted else None


def load_trained(folder: Path) -> keras.Model:
    """The emotion network of a finished run as it was trained, to teach others: (n, s, s, 1) -> (n, 17), as
    ``emotion.emotion_network`` describes with votes. Raises InputError for another run."""
    from facelib.backend import keras

    name = record(folder)["architecture"]
    if name not in emotion.NETWORKS:
        raise InputError(f"{folder}: a teacher is a run of {', '.join(emotion.NETWORKS)}, not of {name}")
    with registry.precision_policy(True):
        model = emotion.emotion_network(name, votes=True)
    registry.load_weights(model, Path(folder) / STAGE_ONE)
    model.compile(jit_compile=keras.backend.backend() == "jax")  # as ``loop.fit``
    return model


def load_teacher(teacher) -> keras.Model:
    """A network (n, 48, 48, 1) -> (n, 7): a shipped one's name, the folder of a finished run, or itself."""
    if not isinstance(teacher, (str, Path)):
        return teacher
    if teacher in registry.EMOTION_TASKS:
        return registry.load_shipped(registry.EMOTION_TASKS[teacher], mixed_precision=True)
    return load_run(Path(teacher), mixed_precision=True)


def stage_one_weights(start: Path | None) -> Path | None:
    """The weights that stage two goes on from; None: there is no stage one. Raises InputError for a run that
    is not finished."""
    for name in (STAGE_ONE, CONFIG) if start else ():
        if not os.path.lexists(Path(start) / name):
            raise InputError(f"{start}: no finished run to go on from; train without a start first")
    if start:  # what the record will say of it: better known now than after the training
        stage_one_facts(start)
    return Path(start) / STAGE_ONE if start else None


def stage_one_facts(start: Path | None) -> dict:
    """What a record says of stage one, if any: {"first_course": {"recipe", "weights_digest"}}."""
    if not start:
        return {}
    if str(start) == SHIPPED_PRIOR:
        return {"first_course": {key: registry.card("prior")[key] for key in ("recipe", "weights_digest")}}
    config = files.read_record(Path(start) / CONFIG, _ANEW)
    digest = paths.digest(Path(start) / STAGE_ONE)[:16]
    return {"first_course": {"recipe": config, "weights_digest": digest}}
