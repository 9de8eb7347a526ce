"""Work on a Dask cluster: batches of pictures here, grids of notebooks in ``facelib.batch.sweep``.

What runs on a worker that dies runs again on another; a piece of work that took four workers with it is
given up, and is a fault like any other.
"""

from __future__ import annotations

import itertools
import logging
import os
import tempfile
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from facelib.errors import InputError
from facelib.paths import safe_children
from facelib.vision import encoder
from facelib.vision.encoder import Picture

if TYPE_CHECKING:
    from distributed import Client

PATIENCE = 30  # seconds until a scheduler or a first worker must have responded


@contextmanager
def connect(scheduler: str | None = None, workers: int = 2) -> Iterator[Client]:
    """A client of the cluster at ``scheduler`` (tcp://…), or of worker processes started here for the while.

    Raises InputError where Dask is not installed, no scheduler responds, or the cluster has no worker.
    """
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise InputError(f"{error.name} is not installed: run `pip install 'facelib[cluster]'`") from None
    if scheduler is None:
        # Work has limits of its own; Dask would kill a worker for what the page cache holds. Nobody outside
        # this machine sees the dashboard, and nobody else on it writes where the workers import from.
        options = {"threads_per_worker": 1, "memory_limit": 0, "dashboard_address": "127.0.0.1:0"}
        options |= {"n_workers": workers, "silence_logs": logging.ERROR}
        with safe_children(), tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
            with LocalCluster(local_directory=scratch, **options) as cluster, Client(cluster) as client:
                yield client
        return
    try:
        client = Client(scheduler, timeout=PATIENCE)
    except (OSError, ValueError):  # no scheduler there; no address at all
        raise InputError(
            f"no Dask scheduler answers at {scheduler}: start one with `dask scheduler`, and on each machine "
            f"`dask worker {scheduler}`"
        ) from None
    with client:
        try:
            client.wait_for_workers(1, timeout=PATIENCE)
        except TimeoutError:
            none = f"the scheduler at {scheduler} has no worker"
            raise InputError(f"{none}: run `dask worker {scheduler}`") from None
        yield client


def analyze(
    pictures: Iterable[str | os.PathLike], scheduler: str, batch_size: int = 64, **options
) -> Iterator[Picture]:
    """``FaceEncoder(**options).stream(pictures, batch_size)``, with the work done by a cluster's workers.

    Results come in order, and a few batches at a time are under way, however many pictures there are. The
    workers read the pictures themselves: these must lie at the same place on each machine.
    """
    if os.path.exists(str(options.get("detector"))):
        options["detector"] = os.path.abspath(options["detector"])
    sources, waiting, given = iter(pictures), deque(), 0
    with connect(scheduler) as client:
        while True:
            busy = len(waiting) > 2 * sum(client.nthreads().values())
            batch = [] if busy else list(islice(sources, batch_size))
            if batch:
                places = [os.path.abspath(source) for source in batch]
                future = client.submit(_analyze, places, batch_size, options, pure=False)
                waiting.append((given, batch, future))
                given += len(batch)
            elif waiting:
                yield from _results(*waiting.popleft())
            else:
                return


def _results(first: int, batch: list, future) -> Iterator[Picture]:
    try:
        found = future.result()
    except Exception as error:  # noqa: BLE001 - the other batches are still analysed
        why = " ".join(str(error).split())[:200] or type(error).__name__
        found = [Picture(s, [], InputError(f"{s}: no worker could analyse its batch ({why})")) for s in batch]
    # Under the name and the number that the caller gave.
    for index, source, picture in zip(itertools.count(first), batch, found, strict=False):
        faces = [replace(face, path=os.fsdecode(source), source_index=index) for face in picture.faces]
        yield Picture(source, faces, picture.error, index)


_one_batch = threading.Lock()  # the encoder has threads of its own


def _analyze(places: list[str], batch_size: int, options: dict) -> list[Picture]:
    """On a worker: one batch, by an encoder that stays for the next."""
    from distributed import get_worker

    with _one_batch:
        reader = encoder._encoder(workers=get_worker().state.nthreads, **options)
        return list(reader.stream(map(Path, places), batch_size))
