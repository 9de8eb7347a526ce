"""The controlled study, run and summed up: one network, one budget, and one thing changed at a time.

Every run ends in a file of its own, ``result.npz`` in its folder, so a study that is killed loses the run in
progress and no other; that run goes on at its last checkpoint. What is quoted is the summary over all runs,
``reports/metrics/04-imbalance-….json``, ``05-two-stage-….json`` and ``08-generated-….json``. What the methods
do stands in ``facelib.study.imbalance_methods``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np

from facelib import files
from facelib.data import fer2013, ferplus
from facelib.emotions import EMOTIONS, FerData, Split
from facelib.errors import InputError
from facelib.language import say, speaks
from facelib.models import registry
from facelib.paths import atomic_write, safe_children, write_json
from facelib.study import imbalance_methods, significance
from facelib.study.imbalance_methods import BATCH, EPOCHS, Method, Stage
from facelib.study.metrics import read_metrics, write_metrics
from facelib.training.loop import TrainingConfig

#: Of each study: the notebook whose number its record bears, and its methods.
STUDIES = {
    "imbalance": ("04", imbalance_methods.IMBALANCE),
    "two-stage": ("05", imbalance_methods.TWO_STAGE),
    "generated": ("08", imbalance_methods.GENERATED),
}

# --- running ---------------------------------------------------------------------------------------------


def run(
    study: str,
    data: FerData,
    folder: Path,
    name: str,
    methods: Iterable[str] = (),
    seeds: int = 3,
    epochs: int = EPOCHS,
    batch_size: int = BATCH,
    progress: Callable[[str], None] = print,
    jobs: int = 1,
) -> dict[str, list[dict]]:
    """Run those methods of a study (all, or "none" and those named) that are not finished yet.

    folder: gets a folder for each study and the set's ``name``, with one for each run in it. seeds: runs 0 to
    seeds - 1 of each. epochs: passes over the training split as it is; other splits are passed over more or
    less often. jobs: processes that share the cores: so small a network does not fill two, and two processes
    on two cores need a fifth less time than one.

    Returns method -> for each seed {"private" (n, 7), "public" (m, 7)}, its probabilities on both test
    splits, and of second stages "curve" (13, 7), PublicTest's recalls from before the first step to after the
    last. Raises InputError for an unknown method, or a folder that holds runs on other data or of another
    budget.
    """
    data = fer2013.for_training(data, "PrivateTest")
    first, later = folder / f"imbalance-{name}", folder / f"two-stage-{name}"
    none, runs = imbalance_methods.IMBALANCE[0], []
    chosen = [none, *(each for each in _chosen(STUDIES[study][1], methods) if each != none)]
    for seed in range(seeds):
        recipe = imbalance_methods.training_config(len(data.train), epochs, batch_size, seed)
        for each in chosen:
            if isinstance(each, Stage):
                runs.append(_Run(later, each, imbalance_methods.stage_config(each, recipe), data, first))
            else:
                runs.append(_Run(first, each, recipe, data, first))
    # What starts from the network of "none" waits until there is one.
    waits = [isinstance(run.method, Stage) or bool(run.method.after) for run in runs]
    for now in (False, True):
        _finish([run for run, wait in zip(runs, waits, strict=True) if wait == now], data, jobs, progress)
    results: dict[str, list[dict]] = {}
    for run in runs:
        found = imbalance_methods.read_result(run.result, data)
        results.setdefault(run.method.name, []).append(found)
    return results


class _Run:
    """A run's folder: ``run.json`` says what it is, ``result.npz`` what came out."""

    def __init__(self, folder: Path, method: Method | Stage, recipe: TrainingConfig, data: FerData, first):
        self.method, self.recipe, self.place = method, recipe, folder / f"{method.name}-{recipe.seed}"
        self.base, self.result = first / f"none-{recipe.seed}", self.place / "result.npz"
        what = {"arm": asdict(method), "recipe": asdict(recipe), "data": data.digest}
        if getattr(method, "sampler", "").startswith("generated"):
            what["generator"] = registry.digests(*registry.GENERATOR)
        what = json.loads(json.dumps(what))
        path = self.place / "run.json"
        self.place.mkdir(parents=True, exist_ok=True)
        if not os.path.lexists(path):
            write_json(path, what)
        elif files.read_record(path, "delete its folder") != what:
            other = "a run on other data, of another budget or generator"
            raise InputError(f"{self.place}: {other}; delete it, or choose --output")

    def __str__(self) -> str:
        return f"{self.method.name}, seed {self.recipe.seed}"

    def finish(self, data: FerData, progress: Callable[[str], None]) -> None:
        found = imbalance_methods.run(self.method, data, self.recipe, self.place, self.base, progress)
        with atomic_write(self.result) as path:
            np.savez_compressed(path, **found)
        (self.place / "checkpoint.npz").unlink(missing_ok=True)


def _finish(runs: list[_Run], data: FerData, jobs: int, progress: Callable[[str], None]) -> None:
    """Finish those runs that are not, ``jobs`` at a time."""
    left = [run for run in runs if not run.result.exists()]
    if jobs == 1:
        for run in left:
            progress(str(run))
            run.finish(data, progress)
        return
    from joblib import Parallel, delayed

    threads = max(1, (os.cpu_count() or 1) // jobs)
    with safe_children():
        work = (delayed(_in_process)(run, data, threads) for run in left)
        for i, run in enumerate(Parallel(jobs, return_as="generator_unordered")(work), 1):
            progress(f"{run}: done, {i} of {len(left)}")


def _in_process(run: _Run, data: FerData, threads: int) -> _Run:
    """A run in a process of its own, which has not imported TensorFlow before its first one."""
    os.environ.update(TF_NUM_INTRAOP_THREADS=str(threads), OMP_NUM_THREADS=str(threads))
    run.finish(data, imbalance_methods.silent)
    return run


def _chosen(known: tuple, names: Iterable[str]) -> tuple:
    there = [method.name for method in known]
    if unknown := [name for name in names if name not in there]:
        raise InputError(f"no such arm: {', '.join(unknown)}; there are {', '.join(there)}")
    return tuple(method for method in known if not names or method.name in names)


# --- what came out ---------------------------------------------------------------------------------------


def summarise(
    results: dict,
    data: FerData,
    titles: dict[str, str],
    n_bootstrap: int = 2000,
    controls: Iterable[str] = ("none",),
) -> list[dict]:
    """A row for each method: its metrics on each view, and its differences from each control.

    results: method -> its runs' results, the controls among them. Each row has name, title, seeds, for each
    of ``ferplus.views`` a ``significance.summary``, for each control against_<control> {view:
    ``significance.paired_bootstrap``, each of whose metrics also has ``<name>_p_holm``, corrected over the
    methods}, empty in the control's own row, and curve (13, 7) where there is one.
    """
    marks = ferplus.views(data)
    predicted = {name: np.stack([run["private"].argmax(1) for run in runs]) for name, runs in results.items()}
    rows = []
    for name, runs in results.items():
        row = {"name": name, "title": titles.get(name, name), "seeds": len(runs)}
        for view, (there, labels) in marks.items():
            row[view] = significance.summary(labels, predicted[name][:, there], n_bootstrap)
            for control in controls:
                against = row.setdefault(f"against_{control}", {})
                if name != control:
                    pair = (predicted[each][:, there] for each in (control, name))
                    against[view] = significance.paired_bootstrap(labels, *pair, n_bootstrap)
        if "curve" in runs[0]:
            row["curve"] = np.mean([run["curve"] for run in runs], axis=0)
        rows.append(row)
    for key in (f"against_{control}" for control in controls):
        for view in marks:
            _correct([row[key][view] for row in rows if row[key]])
    return rows


def _correct(comparisons: list[dict]) -> None:
    """Write Holm's p-values of each metric, over all methods, beside the plain ones: ``<name>_p_holm``."""
    for key in [key for key in (comparisons[0] if comparisons else ()) if key.endswith("_p")]:
        by_emotion = key == "recall_p"
        raw = [list(each[key].values()) if by_emotion else [each[key]] for each in comparisons]
        adjusted = np.apply_along_axis(significance.holm, 0, raw).tolist()
        for each, values in zip(comparisons, adjusted, strict=True):
            each[f"{key}_holm"] = dict(zip(EMOTIONS, values, strict=True)) if by_emotion else values[0]


def record(
    study: str,
    data: FerData,
    folder: Path,
    methods: Iterable[str] = (),
    seeds: int = 3,
    epochs: int | None = None,
    fast: bool = False,
    progress: Callable[[str], None] = print,
    jobs: int = 1,
) -> Path:
    """Run a study ("imbalance", "two-stage" or "generated"), write its metrics file and return its path.

    As ``run``. fast: a few images and one pass, under a name of its own: it shows that the code runs, and
    nothing else.
    """
    data = fer2013.for_training(data, "PrivateTest")
    name = data.slug
    if fast:
        name, data = f"{name}-fast", _few(data)
    epochs = epochs or (1 if fast else EPOCHS)
    batch_size = 32 if fast else BATCH
    known = STUDIES[study][1]
    results = run(study, data, folder, name, methods, seeds, epochs, batch_size, progress, jobs)
    # A second stage that gains must gain more than the same time without it.
    controls = ("none", "longer") if "longer" in results else ("none",)
    titles = {"none": imbalance_methods.IMBALANCE[0].title} | {each.name: each.title for each in known}
    command = f"facelib experiment {study} --dataset {name.split('-')[0]} --seeds {seeds}"
    command += f" --epochs {epochs}" * (epochs != EPOCHS) + f" --arms {' '.join(methods)}" * bool(methods)
    found = {
        "n": len(data.private_test),
        "split": "PrivateTest",
        "seed": list(range(seeds)),
        "epochs": epochs,
        "pictures_seen": epochs * max(1, len(data.train) // batch_size) * batch_size,
        "rows": summarise(results, data, titles, 200 if fast else 2000, controls),
    }
    weights = registry.digests(*registry.GENERATOR) if study == "generated" else None
    slug, command = f"{STUDIES[study][0]}-{study}-{name}", command + " --fast" * fast
    return write_metrics(slug, found, command=command, data=data, weights=weights)


def _few(data: FerData) -> FerData:
    """The first rows of each split, with enough of the rarest class to interpolate."""

    def cut(split: Split, n: int) -> Split:
        rare = np.flatnonzero(split.labels == EMOTIONS.index("disgust"))[:8]
        return split[np.union1d(np.arange(min(n, len(split))), rare)]

    splits = cut(data.train, 700), cut(data.public_test, 175), cut(data.private_test, 175)
    digest = fer2013.data_digest(*splits)
    return FerData(*splits, name=data.name, source=f"{data.source}; the first rows", digest=digest)


@speaks
def table(path: Path) -> str:
    """A study's metrics file as lines for people; a star: differs significantly from "none" after Holm."""
    metrics = read_metrics(path.stem)["metrics"]
    names = {"accuracy": "accuracy", "balanced": "balanced_accuracy", "macro-F1": "macro_f1"}
    lines = [" " * 42 + "".join(f"{title:>10}" for title in (*names, "disgust", "fear"))]
    for row in metrics["rows"]:
        found, against = row["all"], row["against_none"].get("all")
        cells = [(found[key], against and against[f"{key}_p_holm"]) for key in names.values()]
        cells += [(found["recall"][e], against and against["recall_p_holm"][e]) for e in ("disgust", "fear")]
        stars = ["*" if p is not None and p < 0.05 else " " for _, p in cells]
        texts = ["–" if x is None else f"{x:.3f}{star}" for (x, _), star in zip(cells, stars, strict=True)]
        lines.append(f"{row['title']:<42}" + "".join(f"{text:>10}" for text in texts))
    lines.append("* differs from nothing, p < 0.05 after Holm's correction over the methods")
    return say("\n".join(lines))


# --- reading a record ------------------------------------------------------------------------------------


def find(row: Mapping, metric: str, view: str = "all") -> tuple[float, np.ndarray, np.ndarray]:
    """An arm's value of a metric, its 95 % interval (2,) within [0, 1], and what each seed reached (s,)."""
    keys = ["recall" if metric in EMOTIONS else metric]
    keys += [f"{keys[0]}_interval", f"{keys[0]}_runs"]
    value, ends, runs = (row[view][k][metric] if metric in EMOTIONS else row[view][k] for k in keys)
    ends = np.clip(np.array(ends, float), 0, 1)  # in older records some lie outside
    return np.array(value, float).item(), ends, np.array(runs, float)


def change(
    row: Mapping, metric: str, view: str = "all", control: str = "none"
) -> tuple[float, np.ndarray, bool]:
    """An arm's difference from a control, its 95 % interval (2,), and whether it is
    statistically significant after Holm's correction.

    For the control itself: 0, (0, 0), False.
    """
    if not row[f"against_{control}"]:
        return 0.0, np.zeros(2), False
    against, key = row[f"against_{control}"][view], "recall" if metric in EMOTIONS else metric
    found = [against[k] for k in (key, f"{key}_interval", f"{key}_p_holm")]
    value, ends, p = (each[metric] for each in found) if metric in EMOTIONS else found
    return np.array(value, float).item(), np.array(ends, float), p is not None and p < 0.05


def significant(rows: Iterable[Mapping], metric: str, sign: int = 1, view: str = "all") -> list[str]:
    """Names of the rows that raise (sign 1) or lower (-1) a metric significantly, against "none"."""
    changes = {row["name"]: change(row, metric, view) for row in rows}
    return [name for name, (value, _, sure) in changes.items() if sure and sign * value > 0]


def predictions(record: Mapping) -> list[tuple[str, bool, str]]:
    """Notebook 04's predictions, judged on the study's record: (name, whether it came true, the evidence)."""
    rows = {row["name"]: row for row in record["metrics"]["rows"]}
    known = [each.name for each in imbalance_methods.IMBALANCE if each.treats_rarity]
    methods = [n for n in known if n in rows and n != "over-rare"]  # an experiment of its own: notebook 04
    rare, n = [rows[name] for name in methods], len(methods)
    disgust, fear, accuracy = (len(significant(rare, m)) for m in ("disgust", "fear", "accuracy"))
    score = {name: find(row, "macro_f1", "majority")[0] for name, row in rows.items()}
    best = max(methods, key=score.get)
    return [
        ("P1", disgust > n / 2, f"{disgust} of {n} methods against rarity raise the recall of disgust"),
        ("P2", fear <= n / 4, f"{fear} of {n} raise the recall of fear"),
        ("P3", not accuracy, f"{accuracy} of {n} raise accuracy"),
        ("P4", score["votes"] > score[best], f"macro-F1 against the majority: soft labels "
         f"{score['votes']:.1%}, the best method against rarity ({rows[best]['title']}) {score[best]:.1%}"),
    ]  # fmt: skip


def stage_predictions(record: Mapping) -> list[tuple[str, bool, str]]:
    """Notebook 05's predictions, judged on the study's record: (name, whether it came true, the evidence)."""
    rows = {row["name"]: row for row in record["metrics"]["rows"]}
    others = [emotion for emotion in EMOTIONS if emotion not in imbalance_methods.RARE]
    fall = [emotion for emotion in others if significant([rows["rare"]], emotion, -1)]
    seeing_all = [s.name for s in imbalance_methods.TWO_STAGE if s.balanced != "none" or s.rehearsal]
    best = max(seeing_all, key=lambda name: change(rows[name], "balanced_accuracy")[0])
    lost, slow, longer = (change(rows[name], "accuracy") for name in ("rare", "rare-slow", "longer"))
    gain, slow_gain = (change(rows[name], "balanced_accuracy") for name in (best, "rare-slow"))
    points = [f"{100 * each[0]:+.1f}" for each in (lost, slow, longer, gain, slow_gain)]
    return [
        ("P1", lost[2] and lost[0] < 0 and fall == others,
         f"disgust and fear only: accuracy {points[0]} points; {len(fall)} of {len(others)} others fall"),
        ("P2", not longer[2], f"as many steps more: accuracy {points[2]} points"),
        ("P3", gain[2] and gain[0] > 0, f"{rows[best]['title']}: balanced accuracy {points[3]} points"),
        ("P4", slow[0] > lost[0] and slow_gain[0] < gain[0],
         f"a tenth of the rate: accuracy {points[1]} points, balanced accuracy {points[4]}"),
    ]  # fmt: skip


def working_stages(record: Mapping) -> list[Mapping]:
    """The rows of second stages that raise balanced accuracy significantly over "none" and "longer"."""
    changes = [
        (row, [change(row, "balanced_accuracy", control=control) for control in ("none", "longer")])
        for row in record["metrics"]["rows"]
        if row["name"] not in ("none", "longer")
    ]
    return [row for row, found in changes if all(sure and value > 0 for value, _, sure in found)]


def best_methods(record: Mapping, metrics: Mapping[str, str]):
    """For each of metrics (name -> title) the method that reaches most, as rows of a DataFrame.

    Per cent, and the change against "none" in points with its 95 % interval, whether it is statistically
    significant after Holm's correction, and what happened to accuracy.
    """
    import pandas as pd

    table = {}
    for metric, title in metrics.items():
        row = max(record["metrics"]["rows"], key=lambda row, metric=metric: find(row, metric)[0])
        gain, (low, high), sure = change(row, metric)
        table[title] = {
            "best method": row["title"],
            "reaches": f"{find(row, metric)[0]:.1%}",
            "change, points": f"{100 * gain:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]",
            "significant": "yes" if sure else "no",
            "accuracy, points": f"{100 * change(row, 'accuracy')[0]:+.1f}",
        }
    return pd.DataFrame(table).T
