"""`facelib …`: the commands. Only argparse is imported before a command is known, so that help is instant.

Exit codes: 0 done; 1 the input was at fault (one line on stderr, no traceback); 2 wrong usage.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress

from facelib import __version__
from facelib.paths import InputError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    if sys.stdout is None:  # closed by the shell, as in `facelib … >&-`
        sys.stdout = open(os.devnull, "w")
    if hasattr(sys.stdout, "reconfigure"):  # a name that the terminal's encoding lacks is still printed
        sys.stdout.reconfigure(errors="backslashreplace")
    arguments = build_parser().parse_args(argv)
    try:
        code = arguments.command(arguments)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # `facelib analyze … | head`: the reader has enough
        code = 0
    except InputError as error:
        code = complain(error)
    except OSError as error:  # FileNotFoundError of our own making has no number, only its sentence
        from facelib.outputs import REMEDY

        place = error.filename or "writing the results"
        code = complain(f"{place}: {error.strerror}; {REMEDY}" if error.errno else error)
    except KeyboardInterrupt:
        complain("interrupted")
        code = 130
    try:
        sys.stdout.flush()
    except OSError:  # the rest can go nowhere; Python would complain of it once more while it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def complain(message: object) -> int:
    """One line on stderr that a progress bar does not overwrite; returns 1, its exit code."""
    from facelib.images import printable

    line = f"facelib: {printable(str(message))}"
    if "tqdm" in sys.modules:
        sys.modules["tqdm"].tqdm.write(line, file=sys.stderr)
    else:
        print(line, file=sys.stderr)
    return 1


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="facelib",
        description="Faces to emotions: analyse photographs, train and measure the networks behind it.",
        epilog="Start with:  facelib analyze photo.jpg --draw annotated",
    )
    parser.add_argument("--version", action="version", version=f"facelib {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _analyze_parser(commands)
    _data_parser(commands)
    _audit_parser(commands)
    _train_parser(commands)
    _evaluate_parser(commands)
    _experiment_parser(commands)
    _run_parser(commands)
    return parser


def _command(commands, name: str, run: Callable, summary: str, examples: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog="examples:\n" + examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=run)
    return parser


# --- analyze ------------------------------------------------------------------------------------------


def _analyze_parser(commands) -> None:
    parser = _command(
        commands,
        "analyze",
        analyze,
        "find faces in pictures and read emotion and apparent gender",
        "  facelib analyze photo.jpg\n"
        "  facelib analyze holidays/ --csv faces.csv --draw annotated/\n"
        "  facelib analyze holidays/ --detector yunet --json > faces.jsonl",
    )
    parser.add_argument("pictures", nargs="+", metavar="IMAGE|FOLDER", help="folders are searched in full")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="one JSON object for each picture, as they come")
    output.add_argument(
        "--csv", metavar="FILE", help="one row for each face, as they come; - for the terminal"
    )
    parser.add_argument(
        "--draw",
        metavar="DIR",
        help="also write annotated pictures into this folder, over what has their names",
    )
    _encoder_options(parser)


def _encoder_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--detector", default="haar", metavar="NAME|FILE",
        help="haar (default), yunet (finds more, to be fetched), none, or a YuNet file")  # fmt: skip
    parser.add_argument("--emotion-model", default="facelib",
        choices=["facelib", "tiny", "baseline", "deepface"],
        help="tiny is faster; baseline: DeepFace's architecture; deepface: its own weights")  # fmt: skip
    parser.add_argument("--gender-model", default="facelib", choices=["facelib", "deepface"])
    parser.add_argument("--mode", default="facelib", choices=["facelib", "deepface"],
        help="deepface: cut faces out exactly as DeepFace does")  # fmt: skip
    parser.add_argument("--min-confidence", type=_fraction, default=0.5, metavar="P",
        help="leave out faces that are less sure, 0 to 1 (default 0.5)")  # fmt: skip
    parser.add_argument("--batch-size", type=_positive, default=64, metavar="N",
        help="faces that go through the networks together (default 64)")  # fmt: skip


def _fraction(text: str) -> float:
    with suppress(ValueError):
        if 0 <= float(text) <= 1:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text} is not a number between 0 and 1")


def _positive(text: str) -> int:
    with suppress(ValueError):
        if int(text) >= 1:
            return int(text)
    raise argparse.ArgumentTypeError(f"{text} is not a whole number of at least 1")


def analyze(arguments: argparse.Namespace) -> int:
    import warnings
    from functools import partial

    from tqdm import tqdm

    from facelib import images, outputs
    from facelib.encoder import FaceEncoder

    warnings.filterwarnings("ignore", module="PIL")  # meant for programmers; a fault is one line of ours
    faults = faces = 0

    def fault(error: InputError) -> None:
        nonlocal faults
        faults += complain(error)

    draw = outputs.Drawings(arguments.draw, arguments.pictures) if arguments.draw else None
    find = partial(images.find_images, arguments.pictures, skip=arguments.draw)
    total = sum(1 for _ in find(lambda error: None))
    encoder = FaceEncoder(
        detector=arguments.detector,
        emotion=arguments.emotion_model,
        gender=arguments.gender_model,
        mode=arguments.mode,
        min_confidence=arguments.min_confidence,
    )
    bar = tqdm(total=total, unit="picture", disable=None if total > 1 else True, leave=False)
    with bar, outputs.open_output(arguments.json, arguments.csv) as write:
        for picture in encoder.stream(find(fault), arguments.batch_size):
            if picture.error:
                fault(picture.error)
            else:
                faces += len(picture.faces)
                write(picture)
                if draw:
                    try:
                        draw(picture)
                    except InputError as error:
                        fault(error)
            bar.update()
    if total > 1:
        named = f"; {faults} faults, named above" if faults else ""
        print(f"{faces} faces in {total} pictures{named}", file=sys.stderr)
    return 1 if faults else 0


# --- data ---------------------------------------------------------------------------------------------


def _data_parser(commands) -> None:
    parser = commands.add_parser(
        "data",
        help="get, import and describe data sets and published networks",
        epilog="examples:\n  facelib data info\n  facelib data fetch yunet\n"
        "  facelib data import ~/Downloads/fer2013.csv",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parts = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    fetch = _command(
        parts,
        "fetch",
        data_fetch,
        "download a published file and verify it",
        "  facelib data fetch yunet\n  facelib data fetch fer2013        (needs `pip install facelib[data]`)",
    )
    fetch.add_argument(
        "name",
        nargs="?",
        default="fer2013",
        choices=["yunet", "deepface-emotion", "deepface-gender", "fer2013"],
        help="yunet: face detector; deepface-…: its two networks; fer2013 (default): the data set",
    )
    importing = _command(
        parts,
        "import",
        data_import,
        "read FER-2013 in any of its forms and keep a compact copy",
        "  facelib data import ~/Downloads/fer2013.csv\n"
        "  facelib data import archive.zip --ferplus fer2013new.csv",
    )
    importing.add_argument(
        "path", help="fer2013.csv, an archive with it, Kaggle's folders, or a parquet file"
    )
    importing.add_argument("--ferplus", metavar="FILE", help="the FER+ votes, fer2013new.csv")
    _command(parts, "info", data_info, "say which data is here, and what is missing", "  facelib data info")


def data_fetch(arguments: argparse.Namespace) -> int:
    if arguments.name == "fer2013":
        from facelib import fer2013

        print(fer2013.describe(fer2013.fetch_fer2013()))
    else:
        from facelib import assets

        print(assets.fetch(arguments.name))
    return 0


def data_import(arguments: argparse.Namespace) -> int:
    from facelib import fer2013

    print(fer2013.describe(fer2013.import_fer2013(arguments.path, arguments.ferplus)))
    return 0


def data_info(arguments: argparse.Namespace) -> int:
    from facelib import assets, fer2013

    print(fer2013.info())
    print("\nPublished networks")
    for name, item in assets.DOWNLOADS.items():
        state = f"here: {item.path}" if item.path.is_file() else f"not here; `facelib data fetch {name}`"
        print(f"  {name:<17} {item.what}: {state}")
    return 0


# --- audit --------------------------------------------------------------------------------------------


def _audit_parser(commands) -> None:
    parser = _command(
        commands,
        "audit",
        audit,
        "say which classes of a data set are rare or noisy, and what is copied, and write reports/metrics",
        "  facelib audit --dataset toy       (drawn faces: compared with their truth)\n"
        "  facelib audit --dataset fer2013   (half a minute)",
    )
    parser.add_argument("--dataset", default="auto", choices=["auto", "toy", "fer2013"],
        help="auto: FER-2013 where it is, else the drawn faces")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the metrics as JSON")


def audit(arguments: argparse.Namespace) -> int:
    import json

    from facelib import auditfigures
    from facelib.audit import record

    data = _load_data(arguments.dataset)
    path = record(data)
    written = json.loads(path.read_text(encoding="utf-8"))
    print(json.dumps(written, indent=2, sort_keys=True) if arguments.json else auditfigures.describe(written))
    print(f"written: {path}", file=sys.stderr)
    return 0


# --- train, evaluate ----------------------------------------------------------------------------------


def _train_parser(commands) -> None:
    parser = _command(
        commands,
        "train",
        train,
        "train a network; a killed run goes on with --resume",
        "  facelib train emotion --dataset toy --epochs 8\n"
        "  facelib train emotion --dataset fer2013 --ship                       (three hours on two cores)\n"
        "  facelib train emotion --model tiny --teacher facelib --ship\n"
        "  facelib train gender --data utkface64.parquet --ship",
    )
    parser.add_argument("task", choices=["emotion", "gender"])
    parser.add_argument("--model", default="facelib", choices=["facelib", "tiny", "baseline"],
        help="emotion only: the network, its tiny form, or DeepFace's architecture")  # fmt: skip
    parser.add_argument("--teacher", choices=["facelib", "tiny", "baseline"],
        help="emotion only: a shipped network whose answers are learnt besides the labels")  # fmt: skip
    parser.add_argument("--dataset", default="auto", choices=["auto", "toy", "fer2013"],
        help="emotion only; auto: FER-2013 where it is, else the drawn faces")  # fmt: skip
    parser.add_argument(
        "--data", metavar="FILE", help="gender only: a parquet file as data/README.md describes"
    )
    parser.add_argument("--detector", default="yunet", metavar="NAME|FILE", help="gender only: as in analyze")
    parser.add_argument("--epochs", type=_positive, metavar="N")
    parser.add_argument("--batch-size", type=_positive, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--output", metavar="DIR", help="checkpoints and log (default runs/NETWORK-DATASET-SEED)"
    )
    parser.add_argument("--resume", action="store_true", help="go on where an interrupted run stopped")
    parser.add_argument("--ship", action="store_true", help="replace the weights that the package ships")


def train(arguments: argparse.Namespace) -> int:
    os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"  # see facelib/__init__.py; set before TensorFlow is imported
    from pathlib import Path

    from facelib import networks, paths, recipes

    chosen = {"epochs": arguments.epochs, "batch_size": arguments.batch_size, "seed": arguments.seed}
    options = {name: value for name, value in chosen.items() if value is not None}
    if arguments.task == "gender":
        from facelib import utkface

        data = utkface.load_utkface(arguments.data, arguments.detector)
        name, task, architecture, fit = "utkface", "gender", "gender", recipes.train_gender
    else:
        data = _load_data(arguments.dataset)
        name, fit = ("toy" if "drawn" in data.source else "fer2013"), recipes.train_emotion
        task = networks.emotion_task(arguments.model)
        architecture = "deepface" if arguments.model == "baseline" else arguments.model
        options["name"] = arguments.model
        if arguments.teacher:
            options["teacher"] = networks.GraphNetwork(networks.emotion_task(arguments.teacher))
    output = Path(arguments.output or paths.runs() / f"{task}-{name}-{arguments.seed}")
    print(f"{task} on {name}; checkpoints and log in {output}", flush=True)
    network, recipe = fit(
        data, output, resume=arguments.resume, progress=lambda line: print(line, flush=True), **options
    )
    network.save_weights(output / "final.weights.h5")
    if arguments.ship:
        command = f"facelib train {arguments.task} --seed {recipe.seed} --epochs {recipe.epochs}"
        if arguments.task == "emotion":
            command += f" --model {arguments.model} --dataset {name}"
            command += f" --teacher {arguments.teacher}" * bool(arguments.teacher)
        facts = {"data": name, "data_digest": data.digest, "command": f"{command} --ship"}
        networks.export(network, task, architecture, facts, recipe)
    print(f"done: {output / 'final.weights.h5'}")
    return 0


def _load_data(dataset: str):
    """The labelled set that a command works on, named on stderr: nobody should take one for the other."""
    from facelib import fer2013, toyfaces

    data = None
    if dataset != "toy":
        try:
            data = fer2013.load_fer2013()
        except FileNotFoundError:
            if dataset == "fer2013":
                raise
    data = data or toyfaces.load_toyfaces()
    print(f"data: {data.source} (digest {data.digest})", file=sys.stderr)
    return data


def _evaluate_parser(commands) -> None:
    parser = _command(
        commands,
        "evaluate",
        evaluate,
        "measure networks, side by side if there are several, and write reports/metrics",
        "  facelib evaluate emotion --split PrivateTest\n"
        "  facelib evaluate emotion --model facelib tiny baseline fer\n"
        "  facelib evaluate emotion --speed --model facelib tiny fer\n"
        "  facelib evaluate gender --data utkface64.parquet",
    )
    parser.add_argument("task", nargs="?", default="emotion", choices=["emotion", "gender"])
    parser.add_argument("--dataset", default="auto", choices=["auto", "toy", "fer2013"])
    parser.add_argument(
        "--data", metavar="FILE", help="gender only: a parquet file as data/README.md describes"
    )
    parser.add_argument("--split", default="PrivateTest", choices=["Training", "PublicTest", "PrivateTest"])
    parser.add_argument("--model", nargs="+", default=["facelib"], metavar="NAME",
        choices=["facelib", "tiny", "baseline", "deepface", "fer"],
        help="facelib (default), tiny, baseline; deepface and fer are others'")  # fmt: skip
    parser.add_argument("--speed", action="store_true", help="milliseconds a face, instead of accuracy")
    parser.add_argument("--detector", default="haar", metavar="NAME|FILE", help="gender only: as in analyze")
    parser.add_argument("--json", action="store_true", help="print the metrics as JSON")


def evaluate(arguments: argparse.Namespace) -> int:
    import json

    from facelib import measure

    if arguments.task == "gender":
        found = [measure.gender(arguments.data, arguments.detector)]
    elif arguments.speed:
        found = [measure.speed(arguments.model)]
    else:
        found = measure.emotion(_load_data(arguments.dataset), arguments.split, arguments.model)
    if arguments.json or arguments.speed:
        print(json.dumps(found if len(found) > 1 else found[0], indent=2, sort_keys=True))
    else:
        print(measure.table(found))
    return 0


# --- experiment ---------------------------------------------------------------------------------------


def _experiment_parser(commands) -> None:
    parser = _command(
        commands,
        "experiment",
        experiment,
        "run the controlled study of cures, or of second stages, or ask why fear is misread",
        "  facelib experiment imbalance --dataset toy --seeds 1 --fast    (two minutes: does it all run?)\n"
        "  facelib experiment imbalance --dataset fer2013 --seeds 3       (some hours on two cores)\n"
        '  facelib experiment imbalance --arms over smote                 (two cures beside "none")\n'
        "  facelib experiment two-stage --dataset fer2013\n"
        "  facelib experiment confusion --model baseline                  (five minutes)\n"
        "A killed study goes on where it was.",
    )
    parser.add_argument("study", choices=["imbalance", "two-stage", "confusion"])
    parser.add_argument("--dataset", default="auto", choices=["auto", "toy", "fer2013"],
        help="auto: FER-2013 where it is, else the drawn faces")  # fmt: skip
    parser.add_argument("--seeds", type=_positive, default=3, metavar="N", help="runs of an arm (default 3)")
    parser.add_argument("--arms", nargs="+", default=[], metavar="ARM", help="only these, beside none")
    parser.add_argument("--epochs", type=_positive, metavar="N", help="passes over Training (default 8)")
    parser.add_argument("--fast", action="store_true", help="one pass over a few pictures: a mere check")
    parser.add_argument("--output", metavar="DIR", help="where runs are kept (default runs/STUDY-DATASET)")
    parser.add_argument("--model", default="baseline", choices=["facelib", "tiny", "baseline", "deepface"],
        help="confusion only: the network that is asked (default baseline)")  # fmt: skip


def experiment(arguments: argparse.Namespace) -> int:
    os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"  # as in train
    from pathlib import Path

    from facelib import experiments, paths

    data = _load_data(arguments.dataset)
    if arguments.study == "confusion":
        from facelib import assets, confusion, networks

        task = networks.SHIPPED.get(arguments.model)
        print(confusion.record(
            data, networks.load_emotion_model(arguments.model), arguments.model,
            weights=task and assets.WEIGHTS / f"{task}.weights.h5",
        ))  # fmt: skip
        return 0
    folder = Path(arguments.output) if arguments.output else paths.runs()
    path = experiments.record(
        arguments.study,
        data,
        folder,
        arms=arguments.arms,
        seeds=arguments.seeds,
        epochs=arguments.epochs,
        fast=arguments.fast,
        progress=lambda line: print(line, flush=True),
    )
    print(experiments.table(path))
    print(f"written: {path}", file=sys.stderr)
    return 0


# --- run ----------------------------------------------------------------------------------------------


def _run_parser(commands) -> None:
    parser = _command(
        commands,
        "run",
        run,
        "execute the notebooks and keep the results",
        "  facelib run\n  facelib run 01-deepface-pipeline --param seed=1",
    )
    parser.add_argument(
        "notebooks", nargs="*", metavar="NOTEBOOK", help="names or numbers; none: all of them"
    )
    parser.add_argument("--dataset", default="auto", choices=["auto", "toy", "fer2013"])
    parser.add_argument("--param", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--timeout", type=_positive, default=1800, metavar="S", help="seconds for one cell")


def run(arguments: argparse.Namespace) -> int:
    import ast

    from facelib import runner

    parameters: dict[str, object] = {}
    for pair in arguments.param:
        name, equals, value = pair.partition("=")
        if not equals:
            raise InputError(f"--param {pair}: write NAME=VALUE")
        try:
            parameters[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            parameters[name] = value
    if arguments.dataset != "auto":
        parameters["dataset"] = arguments.dataset
    return runner.run(arguments.notebooks, parameters, arguments.timeout)


if __name__ == "__main__":
    sys.exit(main())
