"""``facelib sweep``: a notebook for every combination of parameters, on a Dask cluster, into one table.

Each combination that is done is a file of its own, NAMED-BY-DIGEST.json, beside its executed copy and log: a
worker that is killed loses the combination that it was at, a sweep that is killed those that were under way,
and the same command runs what is missing. The digest is over the notebook, the parameters, facelib and its
data, so nothing that has changed is taken for done.
"""

from __future__ import annotations

import json
import socket
import tempfile
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from facelib import paths
from facelib.batch import cluster, runner
from facelib.errors import InputError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_BLUE = "#0072B2"  # the figures' colour of what is ours


def sweep(
    notebook: str,
    axes: Mapping[str, Sequence],
    workers: int = 2,
    scheduler: str | None = None,
    output: Path | None = None,
    timeout: float | None = runner.TIMEOUT,
    memory: float | None = None,
) -> int:
    """Run a notebook for every combination that is not done yet; 0, or 1 if one failed.

    axes: parameter -> its values. workers: processes on this machine; scheduler: instead, the address of a
        running cluster, whose machines need the same facelib and the same data.
    output: gets the records, table.parquet and figure.png; None means ``paths.runs() / "sweeps" / notebook``.
    timeout (seconds), memory (bytes): of each run, as in ``runner.run``.
    The table has a row for each combination that is done: its parameters, and what the notebook recorded
    (``facelib.record``). Raises InputError for an unknown notebook or parameter, or a missing cluster.
    """
    [path] = runner.select([notebook])
    combinations = [dict(zip(axes, values)) for values in product(*axes.values())]
    runner.share_out([path], combinations[0])
    folder = output or paths.runs() / "sweeps" / path.stem
    here = runner.surroundings()
    missing, places = {}, []
    for chosen in combinations:
        of = runner.identity(path, chosen) | here
        place = folder / f"{runner.sha(json.dumps(of, sort_keys=True))}.json"
        places.append(place)
        if paths.read_json(place).get("of") != of:
            missing[place] = of
    print(f"{len(combinations)} combinations, {len(missing)} to run")
    failed = _run(path, missing, here, workers, scheduler, timeout, memory) if missing else 0
    done = [record for place in dict.fromkeys(places) if (record := paths.read_json(place))]
    if done:
        _write(done, list(axes), folder, path.stem)
    return 1 if failed else 0


def _run(path: Path, missing: dict[Path, dict], here: dict, workers, scheduler, timeout, memory) -> int:
    """Run what is to be done, and write each record as soon as it is there; how many failed."""
    text, failed = path.read_text(encoding="utf-8"), 0
    with cluster.connect(scheduler, min(workers, len(missing))) as client:
        from distributed import as_completed

        places = {f"{path.stem}-{place.stem}": place for place in missing}
        given = {key: (text, missing[place]["parameters"]) for key, place in places.items()}
        options, submit = {"here": here, "timeout": timeout, "memory": memory, "pure": False}, client.submit
        futures = [submit(_cell, *arguments, key=key, **options) for key, arguments in given.items()]
        for number, future in enumerate(as_completed(futures), 1):
            place = places[future.key]
            try:
                files, facts, said = future.result()
            except Exception as error:  # noqa: BLE001 - the others still run
                files, facts, said = {}, None, " ".join(str(error).split())[:200] or type(error).__name__
            future.release()  # it is here: were it still asked for, it would run again when its worker dies
            for suffix, content in files.items():
                with paths.atomic_write(place.with_suffix(suffix)) as temporary:
                    temporary.write_text(content, encoding="utf-8")
            if facts is None:
                failed += 1
                said += f" (log: {runner.short(place.with_suffix('.log'))})" if files else ""
            else:  # last: what has a record is done
                paths.write_json(place, {"of": missing[place], **facts})
            print(f"{number}/{len(missing)}  {_words(missing[place]['parameters'])}: {said}", flush=True)
    return failed


def _cell(
    text: str, parameters: dict, here: dict, timeout: float | None, memory: float | None
) -> tuple[dict[str, str], dict | None, str]:
    """On a worker: one combination. What to keep, by suffix; its record, None if it failed; a line to print.

    Everything goes back to the caller: the worker's disk may be another one.
    """
    from distributed import get_worker

    from facelib.batch import process

    mine = runner.surroundings()
    other = [name for name in here if here[name] != mine[name]]
    if other:
        where = f"the worker on {socket.gethostname()} has not the same {' and '.join(other)}"
        return {}, None, f"{where}: bring it up to date, and call this again"
    with tempfile.TemporaryDirectory(dir=get_worker().local_directory) as folder:
        source, copy = Path(folder, "source.ipynb"), Path(folder, "copy.ipynb")
        source.write_text(text, encoding="utf-8")
        found = process.execute(source, copy, parameters, timeout, memory)
        kept = [file for file in (copy, copy.with_suffix(".log")) if file.is_file()]
        files = {file.suffix: file.read_text(encoding="utf-8", errors="replace") for file in kept}
    if found.error:
        return files, None, f"{found.state}, {found.error}"
    facts = {"seconds": round(found.seconds, 1), "memory_mb": round(found.memory / 1e6)}
    return files, {**facts, "results": found.results}, f"ok, {found.seconds:.1f} s"


# --- what came out ---------------------------------------------------------------------------------------


def _write(done: list[dict], names: list[str], folder: Path, title: str) -> None:
    """The table and the figure, whole or not at all; what they say is printed."""
    table = table_of(done)
    with paths.atomic_write(folder / "table.parquet") as temporary:
        table.to_parquet(temporary, index=False)
    found = summary(table, names)
    if found.empty:
        print(f'{title} recorded no number: add facelib.record({{"accuracy": accuracy}}) at its end')
    else:
        with paths.atomic_write(folder / "figure.png") as temporary:
            figure(table, names, title).savefig(temporary, format="png", dpi=150)
        print(found.to_string(float_format="{:.4g}".format))
    print(f"Results: {runner.short(folder)}")


def table_of(done: Sequence[Mapping]) -> pd.DataFrame:
    """One row for each record: its parameters, then what the notebook recorded under other names.

    A parameter that is a list, or now a number and now a text, becomes text: a column has one type.
    """
    import pandas as pd

    table = pd.DataFrame([{**each["of"]["parameters"]} for each in done])
    for name in table:
        if table[name].map(type).nunique() > 1 or table[name].map(lambda v: isinstance(v, list | dict)).any():
            table[name] = table[name].map(str)
    results = pd.DataFrame([each["results"] for each in done], index=table.index)
    return table.join(results[[name for name in results if name not in table]])


def summary(table: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Mean and interval of each recorded number: a row for each (combination, result).

    names: the parameters' columns. Rows that differ in ``seed`` only are repeats of one combination. Columns:
    n, mean, and half, the half width of Student's 95 % interval of the mean (nan for fewer than two repeats).
    """
    from scipy import stats

    results = table.drop(columns=list(names)).select_dtypes(["number", "bool"]).astype(float)
    long = results.assign(combination=_combinations(table, names)).melt("combination", var_name="result")
    found = long.groupby(["combination", "result"], sort=False)["value"].agg(["count", "mean", "sem"])
    found["half"] = stats.t.ppf(0.975, found["count"] - 1) * found.pop("sem")
    found = found.reindex(list(dict.fromkeys(long["combination"])), level=0)
    return found.rename(columns={"count": "n"})


def figure(table: pd.DataFrame, names: Sequence[str], title: str = "") -> Figure:
    """Mean and 95 % interval of each combination, a panel for each recorded number, a dot for each repeat."""
    from matplotlib.figure import Figure

    found, combination = summary(table, names), _combinations(table, names)
    if found.empty:
        raise InputError("no number was recorded: there is nothing to draw")
    results = found.index.unique("result")
    rows, columns = -(-len(results) // 3), min(3, len(results))
    height = rows * (1.0 + 0.3 * len(set(combination)))
    sheet = Figure(figsize=(2.2 + 2.6 * columns, height), layout="constrained")
    grid = sheet.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    for axis in grid[len(results) :]:
        axis.axis("off")
    for axis, result in zip(grid, results, strict=False):
        axis.plot(table[result], combination, "o", color="#999999", markersize=3, alpha=0.6)
        these = found.xs(result, level="result")
        half = these["half"].fillna(0)
        axis.errorbar(these["mean"], these.index, xerr=half, fmt="o", color=_BLUE, capsize=3)
        axis.set_title(result, fontsize=10, loc="left")
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    grid[0].invert_yaxis()  # the first combination above
    sheet.suptitle(f"{title}: mean and 95 % interval over repeats".removeprefix(": "), fontsize=10)
    return sheet


def _combinations(table: pd.DataFrame, names: Sequence[str]) -> np.ndarray:
    """Each row's combination in words: the parameters that differ between rows, without the seed."""
    varied = [name for name in names if name != "seed" and table[name].nunique(dropna=False) > 1]
    return np.array([_words({name: row[name] for name in varied}) for row in table.to_dict("records")])


def _words(parameters: Mapping[str, object]) -> str:
    return ", ".join(f"{name}={value}" for name, value in parameters.items()) or "all"
