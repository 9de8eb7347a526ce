"""The study's commands: audit, evaluate, experiment; and the notebooks': run, sweep, report.

As in ``facelib.cli.app``, a command imports what it needs when it is called.
"""

from __future__ import annotations

import argparse
import json
import sys

from facelib.cli import train
from facelib.cli.options import amount, command, grid, load_data, only_for, parameters, positive, shared
from facelib.errors import InputError


def add_commands(commands) -> None:
    """Add these commands' parsers to ``facelib``'s."""
    _audit_parser(commands)
    train.add_command(commands)
    _evaluate_parser(commands)
    _experiment_parser(commands)
    _run_parser(commands)
    _sweep_parser(commands)
    _report_parser(commands)


def _print_json(found) -> None:
    print(json.dumps(found, indent=2, sort_keys=True))


# --- audit --------------------------------------------------------------------------------------------


def _audit_parser(commands) -> None:
    parser = command(commands, "audit", audit,
        "say which classes of a data set are rare or noisy, and what is copied, and write reports/metrics",
        "  facelib audit --dataset toy       (synthetic faces: compared with their truth)\n"
        "  facelib audit --dataset fer2013   (half a minute)")  # fmt: skip
    shared(parser, "--dataset")
    shared(parser, "--json")


def audit(arguments: argparse.Namespace) -> int:
    from facelib.reporting import dataset_figures
    from facelib.study.dataset_audit import record

    path = record(load_data(arguments.dataset))
    written = json.loads(path.read_text(encoding="utf-8"))
    if arguments.json:
        _print_json(written)
    else:
        print(dataset_figures.describe(written))
    print(f"written: {path}", file=sys.stderr)
    return 0


# --- evaluate ----------------------------------------------------------------------------------------


def _evaluate_parser(commands) -> None:
    parser = command(commands, "evaluate", evaluate,
        "measure networks, side by side if there are several, and write reports/metrics",
        "  facelib evaluate emotion --split PrivateTest\n"
        "  facelib evaluate emotion --model facelib tiny baseline fer\n"
        "  facelib evaluate emotion --images my-faces/ --model facelib tiny    (my-faces/happy/1.jpg, …)\n"
        "  facelib evaluate emotion --speed --model facelib tiny fer\n"
        "  facelib evaluate gender --data utkface64.parquet\n"
        "  facelib evaluate vqvae                             (what coding leaves of PrivateTest)\n"
        "  facelib evaluate generator --dataset fer2013       (a quarter of an hour; needs the package fer)"
    )  # fmt: skip
    tasks = ["emotion", "gender", "vqvae", "generator"]
    parser.add_argument("task", nargs="?", default=tasks[0], choices=tasks)
    shared(parser, "--dataset")
    shared(parser, "--data", note="gender only")
    parser.add_argument("--split", choices=["Training", "PublicTest", "PrivateTest"],
        help="emotion: default PrivateTest")  # fmt: skip
    parser.add_argument("--model", nargs="+", metavar="NAME",
        choices=["facelib", "tiny", "baseline", "deepface", "fer"],
        help="emotion: facelib (default), tiny, baseline; deepface and fer are others'")  # fmt: skip
    other = parser.add_mutually_exclusive_group()
    other.add_argument("--images", metavar="FOLDER",
        help="emotion: pictures of any size in folders named for the emotions (angry, Anger, colère, …), cut "
        "out and read as by `facelib analyze`")  # fmt: skip
    other.add_argument("--speed", action="store_true", help="milliseconds a face, instead of accuracy")
    shared(parser, "--class-prior", "--tta", note="emotion")
    shared(parser, "--codec", note="vqvae, generator")
    shared(parser, "--prior", note="generator")
    parser.add_argument("--judge", choices=["fer", "facelib"],
        help="generator: the network that reads the faces (default fer)")  # fmt: skip
    parser.add_argument("-n", type=positive, help="generator: faces an emotion (default 500)")
    shared(parser, "--detector", note="gender, --images")
    shared(parser, "--json")


def evaluate(arguments: argparse.Namespace) -> int:
    emotion, generated = ("emotion",), ("generator",)
    only_for(arguments, data=("gender",), detector=("gender", "emotion"), codec=("vqvae", "generator"))
    only_for(arguments, split=emotion, model=emotion, speed=emotion, images=emotion)
    only_for(arguments, tta=emotion, class_prior=emotion)
    only_for(arguments, prior=generated, judge=generated, n=generated)
    if arguments.task in ("vqvae", "generator"):
        return _evaluate_generator(arguments)
    from facelib.study import evaluate_networks

    models, images = arguments.model or ["facelib"], arguments.images
    if images and (arguments.split or arguments.dataset != "auto"):
        raise InputError("--images is a data set of its own: leave out --dataset and --split")
    if arguments.task == "emotion" and arguments.detector and not images:
        raise InputError("--detector is for gender and --images: FER-2013's pictures are faces already")
    if arguments.speed and (arguments.tta or arguments.class_prior):
        raise InputError("--speed is that of a network in one pass: leave out --tta and --class-prior")
    given = {"tta": arguments.tta, "class_prior": arguments.class_prior}
    given |= {"detector": arguments.detector} if images else {}
    options = {name: value for name, value in given.items() if value}
    if arguments.task == "gender":
        found = [evaluate_networks.gender(arguments.data, arguments.detector or "haar")]
    elif arguments.speed:
        found = [evaluate_networks.speed(models)]
    elif images:
        found = evaluate_networks.emotion_in_pictures(
            images, models, complain=lambda line: print(f"facelib: {line}", file=sys.stderr), **options
        )
    else:
        data, split = load_data(arguments.dataset), arguments.split or "PrivateTest"
        found = evaluate_networks.emotion(data, split, models, **options)
    if arguments.json or arguments.speed:
        _print_json(found if len(found) > 1 else found[0])
    else:
        print(evaluate_networks.table(found))
    return 0


def _evaluate_generator(arguments: argparse.Namespace) -> int:
    from facelib import paths
    from facelib.models.generator import load_generator, load_network, weights_file
    from facelib.study import evaluate_generator

    data, runs = load_data(arguments.dataset), {"vqvae": arguments.codec}
    if arguments.task == "generator":
        runs["prior"] = arguments.prior
    digests = [paths.digest(weights_file(*each))[:16] for each in runs.items()]
    found = [evaluate_generator.record_codec(data, load_network("vqvae", runs["vqvae"]), digests[0])]
    if arguments.task == "generator":
        options = {"judge": arguments.judge or "fer", "weights": " ".join(digests)}
        generator = load_generator(*runs.values())
        n = arguments.n or evaluate_generator.EACH
        found += [evaluate_generator.record(data, generator, n, **options)]
    if arguments.json:
        _print_json(found)
    else:
        print(evaluate_generator.table(*found))
    return 0


# --- experiment ---------------------------------------------------------------------------------------


def _experiment_parser(commands) -> None:
    parser = command(commands, "experiment", experiment,
        "compare imbalance methods, second stages, or generated faces, or ask why fear is misread",
        "  facelib experiment imbalance --dataset toy --seeds 1 --fast    (two minutes: does it all run?)\n"
        "  facelib experiment imbalance --dataset fer2013 --seeds 3 -j 2  (two hours on two cores)\n"
        '  facelib experiment imbalance --arms over smote                 (two methods beside "none")\n'
        "  facelib experiment two-stage --dataset fer2013\n"
        "  facelib experiment generated --dataset fer2013                 (do generated faces help?)\n"
        "  facelib experiment confusion --model baseline                  (five minutes)\n"
        "  facelib experiment votes --model facelib                       (what it knows and votes do not)\n"
        "A killed study goes on where it was.")  # fmt: skip
    parser.add_argument("task", choices=["imbalance", "two-stage", "generated", "confusion", "votes"],
        help="confusion and votes take --dataset and --model only")  # fmt: skip
    shared(parser, "--dataset")
    parser.add_argument("--seeds", type=positive, metavar="N", help="runs of an arm (default 3)")
    parser.add_argument("--arms", nargs="+", metavar="ARM", help="only these methods, beside none")
    parser.add_argument("--epochs", type=positive, metavar="N", help="passes over Training (default 8)")
    parser.add_argument("--fast", action="store_true", help="one pass over a few images: a mere check")
    parser.add_argument("--output", metavar="DIR", help="where runs are kept (default runs/STUDY-DATASET)")
    shared(parser, "--jobs", help="so many runs at a time, each on its share of the cores (default 1)")
    parser.set_defaults(jobs=None)  # else "not for confusion", though nobody asked for it
    parser.add_argument("--model", choices=["facelib", "tiny", "baseline", "deepface"],
        help="confusion, votes: the network that is studied (default baseline; votes: facelib)")  # fmt: skip


def experiment(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    trained = ("imbalance", "two-stage", "generated")
    only_for(arguments, model=("confusion", "votes"), seeds=trained, arms=trained, epochs=trained)
    only_for(arguments, fast=trained, output=trained, jobs=trained)
    from facelib import paths
    from facelib.study import experiments

    data = load_data(arguments.dataset)
    if arguments.task == "confusion":
        return _confusion(data, arguments.model or "baseline")
    if arguments.task == "votes":
        from facelib.study import evaluate_networks

        print(evaluate_networks.beyond_votes(data, arguments.model or "facelib"))
        return 0
    options = {"methods": arguments.arms or (), "seeds": arguments.seeds or 3, "epochs": arguments.epochs}
    options |= {"fast": arguments.fast, "jobs": arguments.jobs or 1}
    output, progress = Path(arguments.output or paths.runs()), lambda line: print(line, flush=True)
    path = experiments.record(arguments.task, data, output, progress=progress, **options)
    print(experiments.table(path))
    print(f"written: {path}", file=sys.stderr)
    return 0


def _confusion(data, name: str) -> int:
    from facelib.models import registry
    from facelib.study import confusion

    task = registry.EMOTION_TASKS.get(name)
    weights = task and registry.WEIGHTS / f"{task}.weights.h5"
    print(confusion.record(data, registry.load_emotion_model(name), name, weights=weights))
    return 0


# --- the notebooks: run, sweep ------------------------------------------------------------------------


def _run_parser(commands) -> None:
    parser = command(commands, "run", run, "execute the notebooks and keep the results",
        "  facelib run\n"
        "  facelib run 01-deepface-pipeline --param seed=1\n"
        "  facelib run -j 2 --resume                        (only what has changed since)\n"
        "  facelib run --parameters full.yml --timeout 7200 --memory 8")  # fmt: skip
    parser.add_argument("notebooks", nargs="*", metavar="NOTEBOOK",
        help="names or numbers; none: all of them")  # fmt: skip
    _notebook_options(parser)
    shared(parser, "--jobs")
    parser.add_argument("--resume", action="store_true",
        help="pass over those that nothing has changed for: notebook, parameters, facelib, data")  # fmt: skip


def _notebook_options(parser: argparse.ArgumentParser) -> None:
    shared(parser, "--dataset")
    parser.add_argument("--param", action="append", default=[], metavar="NAME=VALUE", help="may be repeated")
    parser.add_argument("--parameters", metavar="FILE", help="a YAML file of them; --param goes before it")
    parser.add_argument("--timeout", type=amount, default=3600, metavar="SECONDS",
        help="a notebook that takes longer is ended (default 3600)")  # fmt: skip
    parser.add_argument("--memory", type=amount, metavar="GB",
        help="a notebook that uses more, with all its processes, is ended")  # fmt: skip


def _limits(arguments: argparse.Namespace) -> dict[str, float | None]:
    """A notebook's limits, of time and of memory, in seconds and bytes."""
    return {"timeout": arguments.timeout, "memory": arguments.memory and arguments.memory * 1e9}


def run(arguments: argparse.Namespace) -> int:
    from facelib.batch import runner

    chosen = parameters(arguments.param, arguments.parameters)
    if arguments.dataset != "auto":
        chosen["dataset"] = arguments.dataset
    options = {"jobs": arguments.jobs, "resume": arguments.resume}
    return runner.run(arguments.notebooks, chosen, **_limits(arguments), **options)


def _sweep_parser(commands) -> None:
    parser = command(commands, "sweep", sweep,
        "run a notebook for every combination of parameters, and put what it records in one table",
        "  facelib sweep 04 --param seed=0..4 --param n_faces=1500,6000\n"
        "  facelib sweep 04 --parameters grid.yml --workers 4\n"
        "  facelib sweep 04 --param seed=0..99 --scheduler tcp://10.0.0.1:8786\n"
        "A killed sweep, called again, runs only what is missing. Needs `pip install facelib[cluster]`."
    )  # fmt: skip
    parser.add_argument("notebook", metavar="NOTEBOOK", help="name or number")
    _notebook_options(parser)
    parser.add_argument("--workers", type=positive, default=2, metavar="N",
        help="processes on this machine (default 2)")  # fmt: skip
    shared(parser, "--scheduler")
    parser.add_argument("--output", metavar="DIR", help="default runs/sweeps/NOTEBOOK")


def sweep(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from facelib.batch import sweep as batch_sweep

    axes = grid(arguments.param, arguments.parameters)
    if arguments.dataset != "auto":
        axes["dataset"] = [arguments.dataset]
    options = {"workers": arguments.workers, "scheduler": arguments.scheduler}
    output = arguments.output and Path(arguments.output)
    return batch_sweep.sweep(arguments.notebook, axes, output=output, **options, **_limits(arguments))


# --- report -------------------------------------------------------------------------------------------


def _report_parser(commands) -> None:
    parser = command(commands, "report", report,
        "write the weekly reports, as HTML and PDF, from reports/metrics and reports/figures",
        "  facelib report                                   (both weeks, in French)\n"
        "  facelib report --week 2 --lang en\n"
        "  facelib report --short\n"
        "  facelib report --week 3 --authors us.yml --date 2026-12-04")  # fmt: skip
    parser.add_argument("--week", type=int, choices=[2, 3], help="default: both")
    parser.add_argument("--lang", default="fr", choices=["fr", "en"])
    parser.add_argument("--authors", metavar="FILE", help="default reports/authors.yml, which says how")
    parser.add_argument("--date", type=_day, metavar="YYYY-MM-DD", help="default: in the authors' file")
    parser.add_argument("--short", action="store_true", help="the short version, of two or three pages")


def _day(text: str) -> str:
    from datetime import date

    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is not a date; write it as in 2026-12-04") from None


def report(arguments: argparse.Namespace) -> int:
    from facelib import paths
    from facelib.errors import InputError
    from facelib.reporting import weekly_report

    place = paths.metrics().parent / "authors.yml"
    given = arguments.authors or (str(place) if place.exists() else None)
    authors = parameters([], given) if given else None
    code, lang, date = 0, arguments.lang, arguments.date
    for week in [arguments.week] if arguments.week else weekly_report.WEEKS:
        try:
            written, stale = weekly_report.build(week, lang, authors, date, arguments.short)
        except InputError as error:  # the other week may be complete
            print(f"facelib: {error}", file=sys.stderr)
            code = 1
            continue
        for line in stale:
            print(f"facelib: {line}", file=sys.stderr)
        print(*written, sep="\n")
    return code
