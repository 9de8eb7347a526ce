"""What the commands' parsers share: a command with examples, and the values that options take."""

from __future__ import annotations

import argparse
import ast
import json
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from facelib.errors import InputError


def command(commands, name: str, run: Callable, summary: str, examples: str) -> argparse.ArgumentParser:
    """A command's parser; ``run`` gets what was parsed and returns the exit code."""
    parser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog="examples:\n" + examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=run)
    return parser


def fraction(text: str) -> float:
    with suppress(ValueError):
        if 0 <= float(text) <= 1:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text} is not a number between 0 and 1")


def positive(text: str) -> int:
    with suppress(ValueError):
        if int(text) >= 1:
            return int(text)
    raise argparse.ArgumentTypeError(f"{text} is not a whole number of at least 1")


def natural(text: str) -> int:
    with suppress(ValueError):
        if int(text) >= 0:
            return int(text)
    raise argparse.ArgumentTypeError(f"{text} is not a whole number of at least 0")


def magnification(text: str) -> int:
    if positive(text) > 64:
        raise argparse.ArgumentTypeError(f"{text} times is too much, 64 is the most")
    return int(text)


def amount(text: str) -> float:
    with suppress(ValueError):
        if 0 < float(text) < float("inf"):
            return float(text)
    raise argparse.ArgumentTypeError(f"{text} is not a number above 0")


def span(text: str) -> float | tuple[float, float]:
    """A number of at least 0, or two with a comma between them, the smaller first."""
    with suppress(ValueError):
        ends = [float(word) for word in text.split(",")]
        if len(ends) <= 2 and 0 <= ends[0] <= ends[-1] < float("inf"):
            return tuple(ends) if len(ends) == 2 else ends[0]
    raise argparse.ArgumentTypeError(f"{text} is not a number of at least 0, nor two as in 0,5")


# --- a notebook's parameters -----------------------------------------------------------------------------


def parameters(pairs: Iterable[str], file: str | None = None) -> dict[str, object]:
    """``--param NAME=VALUE`` …, over ``--parameters FILE``; a value is a Python literal, else text."""
    return _read_yaml(file) | {name: value(text) for name, text in _split(pairs)}


def grid(pairs: Iterable[str], file: str | None = None) -> dict[str, list]:
    """As ``parameters``, each with several values: ``seed=0..4``, ``method=none,smote``, a list in FILE."""
    listed = {name: v if isinstance(v, list) else [v] for name, v in _read_yaml(file).items()}
    axes = listed | {name: values(text) for name, text in _split(pairs)}
    for name, axis in axes.items():
        if not axis:
            raise InputError(f"parameter {name!r} has no value to take; ranges count up, as in 1..5")
    return axes


def value(text: str) -> object:
    """ "3" -> 3, "1e-3" -> 0.001, "[1, 2]" -> [1, 2], "true" -> True; anything else is text, as it stands."""
    if text in ("true", "false"):  # as text, both would count as true
        return text == "true"
    try:
        found = ast.literal_eval(text)
        return json.loads(json.dumps(found))  # as the notebook will get it
    except (ValueError, SyntaxError, TypeError):
        return text


def values(text: str) -> list:
    """ "0..4" -> [0, 1, 2, 3, 4], "none,smote" -> ["none", "smote"], "[1, 2],[3]" -> [[1, 2], [3]]."""
    first, dots, last = text.partition("..")
    with suppress(ValueError):
        if dots:
            return list(range(int(first), int(last) + 1))
    found = value(f"[{text}]")
    return found if isinstance(found, list) else [value(part.strip()) for part in text.split(",")]


def _split(pairs: Iterable[str]) -> Iterable[tuple[str, str]]:
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise InputError(f"--param {pair}: write NAME=VALUE")
        yield name.strip(), text


def _read_yaml(file: str | None) -> dict[str, object]:
    if file is None:
        return {}
    try:
        import yaml
    except ImportError:
        raise InputError("pyyaml is not installed: run `pip install 'facelib[notebooks]'`") from None
    try:
        found = yaml.safe_load(Path(file).read_text(encoding="utf-8")) or {}
        return json.loads(json.dumps(dict(found)))
    except FileNotFoundError:
        raise InputError(f"{file}: no such file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: is not YAML ({' '.join(str(error).split())})") from None
    except (TypeError, ValueError) as error:
        raise InputError(f"{file}: must hold lines such as `seed: 1`, with plain values ({error})") from None


def load_data(dataset: str):
    """The labelled set that a command works on, named on stderr: nobody should take one for the other."""
    from facelib.data import fer2013, synthetic_faces

    data = None
    if dataset != "toy":
        try:
            data = fer2013.load_fer2013()
        except FileNotFoundError:
            if dataset == "fer2013":
                raise
    data = data or synthetic_faces.load_toyfaces()
    print(f"data: {data.source} (digest {data.digest})", file=sys.stderr)
    return data


def only_for(arguments: argparse.Namespace, **options: tuple[str, ...]) -> None:
    """Raise InputError for an option that was given and is not for this task. options: name -> its tasks."""
    for option, tasks in options.items():
        if getattr(arguments, option) not in (None, False) and arguments.task not in tasks:
            raise InputError(f"--{option} is for {' and '.join(tasks)}, not for {arguments.task}")
