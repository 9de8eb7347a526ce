"""The controlled study, run and summed up: one network, one budget, and one thing changed at a time.

Every run ends in a file of its own, ``result.npz`` in its folder, so a study that is killed loses the run in
progress and no other; that run goes on at its last checkpoint. What is quoted is the summary over all runs,
``reports/metrics/04-imbalance-….json``, ``05-two-stage-….json`` and ``08-generated-….json``. What the arms
do stands in ``facelib.study.imbalance_methods``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np

from facelib.data import fer2013, ferplus
from facelib.emotions import EMOTIONS, FerData, Split
from facelib.errors import InputError
from facelib.models import registry
from facelib.paths import atomic_write
from facelib.study import imbalance_methods, significance
from facelib.study.metrics import read_metrics, write_metrics
from facelib.training.loop import TrainingConfig

#: Of each study: the notebook whose number its record bears, and its arms.
STUDIES = {
    "imbalance": ("04", imbalance_methods.IMBALANCE),
    "two-stage": ("05", imbalance_methods.TWO_STAGE),
    "generated": ("08", imbalance_methods.GENERATED),
}

# --- running ---------------------------------------------------------------------------------------------


def imbalance(
    data: FerData,
    folder: Path,
    arms: Iterable[str] = (),
    seeds: int = 3,
    epochs: int = imbalance_methods.EPOCHS,
    batch_size: int = imbalance_methods.BATCH,
    progress: Callable[[str], None] = print,
    jobs: int = 1,
    known: tuple[imbalance_methods.Arm, ...] = imbalance_methods.IMBALANCE,
) -> dict[str, list[dict]]:
    """Run the arms (all, or "none" and those named) that are not finished yet.

    seeds: runs 0 to seeds - 1 of each. epochs: passes over the training split as it is; other splits are
    passed over more or less often. jobs: processes that share the cores: so small a network does not fill
    two, and two processes on two cores need a fifth less time than one. known: the arms that there are,
    "none" first.
    Returns arm -> for each seed {"private" (n, 7), "public" (m, 7)}, its probabilities on both test splits.
    Raises InputError for an unknown arm, or a folder that holds runs on other data or of another budget.
    """
    chosen = _chosen(known, arms)
    if chosen[0].name != "none":
        chosen = (known[0], *chosen)
    recipes = [
        imbalance_methods.recipe_of(len(data.train), epochs, batch_size, seed) for seed in range(seeds)
    ]
    runs = [_Run(folder, arm, recipe, data) for recipe in recipes for arm in chosen]
    _go_on([run for run in runs if not run.arm.after], partial(_train, data), jobs, progress)
    # What only touches the network of "none" waits until there is one.
    _go_on([run for run in runs if run.arm.after], partial(_afterwards, data, folder), jobs, progress)
    return _results(runs)


def two_stage(
    data: FerData,
    folder: Path,
    first: Path,
    arms: Iterable[str] = (),
    seeds: int = 3,
    epochs: int = imbalance_methods.EPOCHS,
    batch_size: int = imbalance_methods.BATCH,
    progress: Callable[[str], None] = print,
    jobs: int = 1,
) -> dict[str, list[dict]]:
    """Second stages, each from the network that ``imbalance`` left in ``first`` for the arm "none".

    Each is looked at twelve times on PublicTest while it learns: ``curve`` (13, 7), the recalls, from before
    the first step to after the last. Otherwise as ``imbalance``.
    """
    before = imbalance(data, first, ("none",), seeds, epochs, batch_size, progress, jobs)
    steps = max(12, int(imbalance_methods.STAGE_TWO * epochs * (len(data.train) // batch_size)))
    runs = []
    for seed in range(seeds):
        recipe = replace(
            imbalance_methods.recipe_of(len(data.train), 12, batch_size, seed),
            steps_per_epoch=steps // 12,
            ema=0.9,
        )
        for stage in _chosen(imbalance_methods.TWO_STAGE, arms):
            rate = imbalance_methods.LEARNING_RATE / 10 * stage.rate
            runs.append(_Run(folder, stage, replace(recipe, learning_rate=rate), data))
    _go_on(runs, partial(_second, data, first), jobs, progress)
    return before | _results(runs)


class _Run:
    """A run's folder: ``run.json`` says what it is, ``result.npz`` what came out."""

    def __init__(
        self,
        folder: Path,
        arm: imbalance_methods.Arm | imbalance_methods.Stage,
        recipe: TrainingConfig,
        data: FerData,
    ):
        self.arm, self.recipe, self.place = arm, recipe, folder / f"{arm.name}-{recipe.seed}"
        what = {"arm": asdict(arm), "recipe": asdict(recipe), "data": data.digest}
        if getattr(arm, "sampler", "").startswith("generated"):
            what["generator"] = registry.digests(*registry.GENERATOR)
        what = json.loads(json.dumps(what))
        path = self.place / "run.json"
        self.place.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            with atomic_write(path) as temporary:
                temporary.write_text(json.dumps(what, indent=1), encoding="utf-8")
        elif json.loads(path.read_text(encoding="utf-8")) != what:
            raise InputError(
                f"{self.place}: a run on other data, of another budget or generator; "
                "delete it, or choose --output"
            )
        self.result = self.place / "result.npz"
        self.done = self.result.exists()

    def save(self, answers: dict[str, np.ndarray]) -> None:
        with atomic_write(self.result) as path:
            np.savez_compressed(path, **answers)
        (self.place / "checkpoint.npz").unlink(missing_ok=True)

    def load(self) -> dict[str, np.ndarray]:
        with np.load(self.result) as stored:
            return dict(stored)


def _results(runs: list[_Run]) -> dict[str, list[dict]]:
    """Arm -> its runs' results, in the order of the runs."""
    results: dict[str, list[dict]] = {}
    for run in runs:
        results.setdefault(run.arm.name, []).append(run.load())
    return results


def _go_on(runs: list[_Run], work: Callable, jobs: int, progress: Callable[[str], None]) -> None:
    """Do the work, (run, progress) -> answers, of those runs that are not done."""
    left = [run for run in runs if not run.done]
    if jobs == 1:
        for run in left:
            progress(f"{run.arm.name}, seed {run.recipe.seed}")
            run.save(work(run, progress))
        return
    from joblib import Parallel, delayed

    threads = max(1, (os.cpu_count() or 1) // jobs)
    ready = Parallel(jobs, return_as="generator_unordered")(
        delayed(_beside)(run, work, threads) for run in left
    )
    for i, run in enumerate(ready, 1):
        progress(f"{run.arm.name}, seed {run.recipe.seed}: done, {i} of {len(left)}")


def _beside(run: _Run, work: Callable, threads: int) -> _Run:
    """A run in a process of its own, which has not met TensorFlow before its first one."""
    os.environ.update(TF_NUM_INTRAOP_THREADS=str(threads), OMP_NUM_THREADS=str(threads))
    run.save(work(run, imbalance_methods.silent))
    return run


def _train(data: FerData, run: _Run, progress: Callable[[str], None]) -> dict[str, np.ndarray]:
    model = imbalance_methods.train(run.arm, data, run.recipe, run.place, progress)
    if run.arm.name == "none":
        model.save_weights(run.place / registry.RUN_WEIGHTS)
    return {
        "private": imbalance_methods.predict(model, data.private_test),
        "public": imbalance_methods.predict(model, data.public_test),
    }


def _afterwards(data: FerData, folder: Path, run: _Run, progress) -> dict[str, np.ndarray]:
    return imbalance_methods.afterwards(run.arm, data, folder / f"none-{run.recipe.seed}", run.recipe.seed)


def _second(data: FerData, first: Path, run: _Run, progress) -> dict[str, np.ndarray]:
    return imbalance_methods.second(run.arm, data, run.recipe, run.place, first / f"none-{run.recipe.seed}")


def _chosen(arms: tuple, names: Iterable[str]) -> tuple:
    known = {arm.name: arm for arm in arms}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InputError(f"no such arm: {', '.join(unknown)}; there are {', '.join(known)}")
    return tuple(arm for arm in arms if not names or arm.name in names)


# --- what came out ---------------------------------------------------------------------------------------


def summarise(
    results: dict,
    data: FerData,
    titles: dict[str, str],
    n_bootstrap: int = 2000,
    controls: Iterable[str] = ("none",),
) -> list[dict]:
    """A row for each arm: its metrics on each view, and its differences from each control.

    results: arm -> its runs' results, the controls among them. Each row has name, title, seeds, for each of
    ``ferplus.views`` a ``significance.summary``, for each control against_<control> {view:
    ``significance.paired_bootstrap``, each of whose metrics also has ``<name>_p_holm``, corrected over the
    arms}, empty in the control's own row, and curve (13, 7) where there is one.
    """
    marks = ferplus.views(data)
    answers = {name: np.stack([run["private"].argmax(1) for run in runs]) for name, runs in results.items()}
    rows = []
    for name, runs in results.items():
        row = {"name": name, "title": titles.get(name, name), "seeds": len(runs)}
        for view, (there, labels) in marks.items():
            row[view] = significance.summary(labels, answers[name][:, there], n_bootstrap)
            for control in controls:
                against = row.setdefault(f"against_{control}", {})
                if name != control:
                    against[view] = significance.paired_bootstrap(
                        labels, answers[control][:, there], answers[name][:, there], n_bootstrap
                    )
        if "curve" in runs[0]:
            row["curve"] = np.mean([run["curve"] for run in runs], axis=0)
        rows.append(row)
    for key in (f"against_{control}" for control in controls):
        for view in marks:
            _correct([row[key][view] for row in rows if row[key]])
    return rows


def _correct(comparisons: list[dict]) -> None:
    """Write Holm's p-values of each metric, over all arms, beside the plain ones: ``<name>_p_holm``."""
    for key in [key for key in (comparisons[0] if comparisons else ()) if key.endswith("_p")]:
        for of in [None] if key != "recall_p" else EMOTIONS:  # the recalls have a p for each emotion
            raw = [each[key] if of is None else each[key][of] for each in comparisons]
            for each, p in zip(comparisons, significance.holm(raw).tolist(), strict=True):
                if of is None:
                    each[f"{key}_holm"] = p
                else:
                    each.setdefault(f"{key}_holm", {})[of] = p


def record(
    study: str,
    data: FerData,
    folder: Path,
    arms: Iterable[str] = (),
    seeds: int = 3,
    epochs: int | None = None,
    fast: bool = False,
    progress: Callable[[str], None] = print,
    jobs: int = 1,
) -> Path:
    """Run a study ("imbalance", "two-stage" or "generated"), write its metrics file and return the file's
    path.

    folder: gets a folder for each study and set, with one for each run in it. fast: a few pictures and one
    pass, under a name of its own: it says that the code runs, and nothing else.
    """
    name = "toy" if data.source.startswith("drawn") else fer2013.dataset_name(data)
    if fast:
        name, data = f"{name}-fast", _few(data)
    epochs = epochs or (1 if fast else imbalance_methods.EPOCHS)
    batch_size = 32 if fast else imbalance_methods.BATCH
    first = folder / f"imbalance-{name}"
    options = {"seeds": seeds, "epochs": epochs, "batch_size": batch_size, "progress": progress, "jobs": jobs}
    number, known = STUDIES[study]
    if study == "two-stage":
        results = two_stage(data, folder / f"two-stage-{name}", first, arms, **options)
    else:
        results = imbalance(data, first, arms, known=known, **options)
    # A second stage that gains must gain more than the same time without it.
    controls = ("none", "longer") if "longer" in results else ("none",)
    titles = {"none": imbalance_methods.IMBALANCE[0].title} | {arm.name: arm.title for arm in known}
    command = f"facelib experiment {study} --dataset {name.split('-')[0]} --seeds {seeds}"
    command += f" --epochs {epochs}" * (
        epochs != imbalance_methods.EPOCHS
    ) + f" --arms {' '.join(arms)}" * bool(arms)
    return write_metrics(
        f"{number}-{study}-{name}",
        {
            "n": len(data.private_test),
            "split": "PrivateTest",
            "seed": list(range(seeds)),
            "epochs": epochs,
            "pictures_seen": epochs * max(1, len(data.train) // batch_size) * batch_size,
            "rows": summarise(results, data, titles, 200 if fast else 2000, controls),
        },
        command=command + " --fast" * fast,
        data=data,
        weights=registry.digests(*registry.GENERATOR) if study == "generated" else None,
    )


def _few(data: FerData, n: int = 700) -> FerData:
    """The first rows of each split, with enough of the rarest class to interpolate."""

    def cut(split: Split, n: int) -> Split:
        rare = np.flatnonzero(split.labels == EMOTIONS.index("disgust"))[:8]
        rows = np.unique(np.concatenate([np.arange(min(n, len(split))), rare]))
        return Split(
            split.images[rows], split.labels[rows], None if split.votes is None else split.votes[rows]
        )

    splits = cut(data.train, n), cut(data.public_test, n // 4), cut(data.private_test, n // 4)
    return FerData(*splits, source=f"{data.source}; the first rows", digest=fer2013.data_digest(*splits))


def table(path: Path) -> str:
    """A study's metrics file as lines for people; differences from "none" that hold after Holm get a star."""
    metrics = read_metrics(path.stem)["metrics"]
    names = {"accuracy": "accuracy", "balanced": "balanced_accuracy", "macro-F1": "macro_f1"}
    lines = [" " * 42 + "".join(f"{title:>10}" for title in (*names, "disgust", "fear"))]
    for arm in metrics["rows"]:
        found, against = arm["all"], arm["against_none"].get("all")
        cells = [(found[key], against and against[f"{key}_p_holm"]) for key in names.values()]
        cells += [(found["recall"][e], against and against["recall_p_holm"][e]) for e in ("disgust", "fear")]
        row = [
            "–" if value is None else f"{value:.3f}{'*' if p is not None and p < 0.05 else ' '}"
            for value, p in cells
        ]
        lines.append(f"{arm['title']:<42}" + "".join(f"{cell:>10}" for cell in row))
    return "\n".join([*lines, "* differs from nothing, p < 0.05 after Holm's correction over the arms"])
