"""What the commands' parsers share: a command with examples, options, and the values that options take."""

from __future__ import annotations

import argparse
import ast
import json
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import date
from pathlib import Path

from facelib import files
from facelib.errors import AMOUNT, COSINE, FRACTION, NATURAL, POSITIVE, SECONDS, SIDE, InputError, Numbers


def command(commands, name: str, run: Callable, summary: str, examples: str) -> argparse.ArgumentParser:
    """A command's parser; ``run`` gets what was parsed and returns the exit code."""
    about = {"help": summary, "description": summary[0].upper() + summary[1:] + "."}
    about |= {"epilog": "examples:\n" + examples, "formatter_class": argparse.RawDescriptionHelpFormatter}
    parser = commands.add_parser(name, **about)
    parser.set_defaults(command=run)
    return parser


# --- values ----------------------------------------------------------------------------------------------


def _typed(check: Callable) -> Callable[[str], object]:
    """A check of text as an argparse type: what it raises is wrong usage."""

    def read(text: str):
        try:
            return check(text)
        except InputError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read


def _span(text: str) -> float | tuple[float, float]:
    """A number of at least 0, or two with a comma between them, the smaller first."""
    with suppress(ValueError):
        ends = [float(word) for word in text.split(",")]
        if len(ends) <= 2 and 0 <= ends[0] <= ends[-1] < float("inf"):
            return tuple(ends) if len(ends) == 2 else ends[0]
    raise InputError(f"{text} is not a number of at least 0, nor two as in 0,5")


fraction, amount, positive, natural = map(_typed, (FRACTION, AMOUNT, POSITIVE, NATURAL))
span, seconds, cosine, side = map(_typed, (_span, SECONDS, COSINE, SIDE))
magnification = _typed(Numbers(int, 1, 64, "a whole number of at least 1, 64 is the most"))
port = _typed(Numbers(int, 1, 65535, "a port, a whole number from 1 to 65535"))


# --- options that several commands have --------------------------------------------------------------------

SHARED = {
    "--batch-size": {"type": positive, "metavar": "N"},
    "--class-prior": {"choices": ["uniform", "fer2013"],
                      "help": "how often each emotion is expected: all alike, as in any photograph, or as in "
                      "FER-2013 (default uniform; of FER-2013's own splits and of DeepFace's path fer2013)"},
    "--codec": {"metavar": "DIR", "help": "a run of `facelib train vqvae`, not the shipped network"},
    "--data": {"metavar": "FILE", "help": "a parquet file as data/README.md describes"},
    "--dataset": {"default": "auto", "choices": ["auto", "toy", "fer2013"],
                  "help": "auto: FER-2013 where it is, else toy, the synthetic faces"},
    "--detector": {"metavar": "NAME|FILE",
                   "help": "haar, yunet (finds more; fetch it), auto (yunet if it was fetched, else haar), "
                   "none (a picture is a face), or a YuNet file"},
    "--emotion": {"nargs": "+", "required": True, "metavar": "NAME[=SHARE]",
                  "help": "angry, disgust, fear, happy, sad, surprise, neutral, or their French names; "
                  "several: a mixture"},
    "--jobs": {"type": positive, "default": 1, "metavar": "N", "help": "so many at a time (default 1)"},
    "--json": {"action": "store_true", "help": "print the metrics as JSON"},
    "--prior": {"metavar": "DIR", "help": "a run of `facelib train prior`, not the shipped network"},
    "--scheduler": {"metavar": "ADDRESS",
                    "help": "a running Dask cluster that does the work, such as tcp://10.0.0.1:8786"},
    "--seed": {"type": natural, "default": 0},
    "--tta": {"choices": ["none", "mirror", "crops"],
              "help": "test-time augmentation: emotion is the mean over a face and its mirror image, or over "
              "seven crops of it, in two or seven times the time (default none)"},
}  # fmt: skip


def shared(parser, *names: str, note: str = "", **changes) -> None:
    """Add options of ``SHARED``. note: goes before the help. changes: what differs in this command."""
    for name in names:
        options = SHARED[name] | changes
        if "default" in changes and "help" in options:
            options["help"] += " (default %(default)s)"
        if note:
            options["help"] = f"{note}: {options['help']}"
        parser.add_argument(*["-j"] * (name == "--jobs"), name, **options)


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
        if files.check_file(file).st_size > files.MAX_VALUE:
            raise ValueError("larger than any such file")
        found = yaml.safe_load(Path(file).read_text(encoding="utf-8")) or {}
        parts, size = [], 0
        for part in json.JSONEncoder(default=date.isoformat).iterencode(dict(found)):  # aliases: gigabytes
            parts.append(part)
            size += len(part)
            if size > files.MAX_VALUE:
                raise ValueError("larger than any such file")
        return json.loads("".join(parts))
    except FileNotFoundError:
        raise InputError(f"{file}: no such file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: is not YAML ({' '.join(str(error).split())})") from None
    except InputError:
        raise
    except (RecursionError, TypeError, ValueError) as error:
        raise InputError(f"{file}: must hold lines such as `seed: 1`, with plain values ({error})") from None


def load_data(dataset: str):
    """The labelled set that a command works on; its name goes to stderr, so that they are not confused."""
    from facelib.data import fer2013

    data = fer2013.load(dataset)
    print(f"data: {data.source} (digest {data.digest})", file=sys.stderr)
    return data


def only_for(arguments: argparse.Namespace, **options: tuple[str, ...]) -> None:
    """Raise InputError for an option that was given and is not for this task. options: name -> its tasks."""
    for option, tasks in options.items():
        if getattr(arguments, option) not in (None, False) and arguments.task not in tasks:
            option = option.replace("_", "-")
            raise InputError(f"--{option} is for {' and '.join(tasks)}, not for {arguments.task}")
