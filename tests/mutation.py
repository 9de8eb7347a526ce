"""Hostile files, each made and read in processes of its own: what the generators of such files share."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from helpers import in_child

SECONDS, MEMORY = 20, 1e9  # a case
#: Makes a file or a folder of them in an empty folder.
Make = Callable[[Path], Path]


def flip(content: bytearray, rng) -> None:
    for place in rng.integers(0, max(1, len(content)), rng.integers(1, 30)):
        content[place : place + 1] = bytes([rng.integers(256)])


def cut(content: bytearray, rng) -> None:
    del content[rng.integers(0, len(content) + 1) :]


def remove(content: bytearray, rng) -> None:
    start = rng.integers(0, len(content) + 1)
    del content[start : start + rng.integers(1, 3000)]


def mutate(file: Path, mutations: tuple[Callable, ...], rng) -> None:
    """One of the mutations (bytes, random numbers) of a file."""
    content = bytearray(file.read_bytes())
    mutations[rng.integers(len(mutations))](content, rng)
    file.write_bytes(content)


def lazily(function: Callable) -> Callable:
    """``lazily(f)(a)(place)`` is ``f(place, a)``."""
    return lambda *rest, **options: lambda place: function(place, *rest, **options)


def written(place: Path, content: bytes, size: int = 0, name: str = "a.jpg") -> Path:
    """A file; size: longer than its content, with nothing behind it."""
    with open(place / name, "wb") as stream:
        stream.write(content)
        stream.truncate(max(size, len(content)))
    return place / name


def pipe(place: Path, name: str = "a.jpg") -> Path:
    os.mkfifo(place / name)
    return place / name


def link(place: Path, target: str, name: str = "a.jpg") -> Path:
    os.symlink(target, place / name)
    return place / name


def chosen(special: Mapping[str, Make], slow: Iterable[str], n: int, seed: int) -> dict[str, Make]:
    """Half of n cases from those made on purpose: all, or a seeded choice of those that are quick."""
    names = list(special)
    if n < 2 * len(special):
        names = np.random.default_rng(seed).permutation([name for name in special if name not in slow])
    return {str(name): special[name] for name in names[: max(1, n // 2)]}


def attempt(read: Callable[[Path], str], path: Path, errors: tuple[type, ...], most: int) -> str:
    """What reading says, or its error, which has one line of at most so many characters."""
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    warnings.simplefilter("ignore")
    try:
        return f"result: {read(path)}"
    except errors as error:
        message = str(error)
        if "\n" in message or len(message) > most or ":" not in message or getattr(error, "errno", None):
            return f"CRASH not one short line: {message!r}"
        return f"{type(error).__name__}: {message}"


def main(about: str, cases: Callable[[int, int], dict[str, Make]], read: Callable[[str, Path], str]) -> None:
    """The command of a generator: cases(n, seed) are made and given to read(name, path); 1 for faults."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--n", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="part of a case's name")
    arguments = parser.parse_args()
    faults = []
    for name, make in cases(arguments.n, arguments.seed).items():
        if arguments.only not in name:
            continue
        with tempfile.TemporaryDirectory(prefix="mutated-") as folder:
            os.environ["FACELIB_HOME"] = f"{folder}/home"
            (place := Path(folder) / "in").mkdir()
            made, *_ = in_child(lambda make=make, place=place: json.dumps(str(make(place))))
            if made.startswith("CRASH"):
                faults.append(f"{name}: cannot be made: {made}")
                continue
            said, seconds, peak = in_child(partial(read, name, Path(json.loads(made))))
        faulty = {"crashed": said.startswith("CRASH"), "slow": seconds > SECONDS, "large": peak > MEMORY}
        what = " ".join(word for word, is_so in faulty.items() if is_so)
        line = f"{name}: {what} {seconds:.1f} s, {peak / 1e6:.0f} MB, {said.replace(folder, '')}"
        print(line if what else line[:400], flush=True)
        faults += [line] if what else []
    print(f"\n{len(faults)} of {arguments.n} cases crashed, were slow or large", *faults, sep="\n")
    sys.exit(bool(faults))
