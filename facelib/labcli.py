"""The laboratory's commands: audit, train, evaluate, experiment, and the notebooks: run, sweep.

As in ``facelib.cli``, a command imports what it needs when it is called.
"""

from __future__ import annotations

import argparse
import sys

from facelib.arguments import amount, command, grid, natural, parameters, positive


def add_commands(commands) -> None:
    """Add the laboratory's parsers to ``facelib``'s."""
    _audit_parser(commands)
    _train_parser(commands)
    _evaluate_parser(commands)
    _experiment_parser(commands)
    _run_parser(commands)
    _sweep_parser(commands)
    _report_parser(commands)


# --- audit --------------------------------------------------------------------------------------------


def _audit_parser(commands) -> None:
    parser = command(
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
    parser = command(
        commands,
        "train",
        train,
        "train a network; a killed run goes on with --resume",
        "  facelib train emotion --dataset toy --epochs 8\n"
        "  facelib train emotion --dataset fer2013 --output runs/first          (an hour on two cores)\n"
        "  facelib train emotion --start runs/first --teacher runs/first --output runs/deep\n"
        "  facelib train emotion --columns runs/deep runs/plain --ship           (two networks become one)\n"
        "  facelib train emotion --model tiny --teacher facelib --ship\n"
        "  facelib train gender --data utkface64.parquet --ship\n"
        "  facelib train vqvae --dataset toy --epochs 6 --output runs/codec\n"
        "  facelib train prior --dataset toy --epochs 12 --codec runs/codec --output runs/prior\n"
        "  facelib generate --codec runs/codec --prior runs/prior --emotion happy -o happy.png",
    )
    parser.add_argument("task", choices=["emotion", "gender", "vqvae", "prior"],
        help="reading emotion or gender, coding faces, or which codes make a face")  # fmt: skip
    parser.add_argument("--model", choices=["deep", "plain", "tiny", "baseline"],
        help="emotion only: deep (default) and plain are the columns of the network that ships as facelib; "
        "its tiny form; or DeepFace's architecture")  # fmt: skip
    parser.add_argument("--columns", nargs=2, metavar="DIR",
        help="emotion only: nothing is trained; finished runs of deep and plain become one")  # fmt: skip
    parser.add_argument("--teacher", nargs="+", metavar="NAME|DIR",
        help="emotion: shipped networks or finished runs whose answers are learnt besides the labels; "
        "prior: one that says, with label and votes, what a face shows")  # fmt: skip
    parser.add_argument("--start", metavar="DIR",
        help="emotion and prior: go on from this finished run for a second course; "
        "prior: also `shipped`, from what the package ships")  # fmt: skip
    parser.add_argument("--codec", metavar="DIR",
        help="prior: the run of `train vqvae` whose codes are learnt, not the shipped one; "
        "emotion: learn from what a codec leaves of the pictures as well (`shipped`, or a run)")  # fmt: skip
    parser.add_argument("--dataset", default="auto", choices=["auto", "toy", "fer2013"],
        help="not for gender; auto: FER-2013 where it is, else the drawn faces")  # fmt: skip
    parser.add_argument(
        "--data", metavar="FILE", help="gender only: a parquet file as data/README.md describes"
    )
    parser.add_argument("--detector", default="yunet", metavar="NAME|FILE", help="gender only: as in analyze")
    parser.add_argument("--epochs", type=positive, metavar="N")
    parser.add_argument("--batch-size", type=positive, metavar="N")
    parser.add_argument("--seed", type=natural, default=0)
    parser.add_argument(
        "--output", metavar="DIR", help="checkpoints and log (default runs/NETWORK-DATASET-SEED)"
    )
    parser.add_argument("--resume", action="store_true", help="go on where an interrupted run stopped")
    parser.add_argument("--ship", action="store_true", help="replace the weights that the package ships")


def train(arguments: argparse.Namespace) -> int:
    import json
    from dataclasses import asdict
    from pathlib import Path

    from facelib import assets, emotionrecipes, networks, paths, recipes
    from facelib.training import import_keras

    both, emotion = ("emotion", "prior"), ("emotion",)
    _only_for(arguments, teacher=both, start=both, codec=both, data=("gender",))
    _only_for(arguments, model=emotion, columns=emotion)
    if arguments.codec and arguments.ship and arguments.task == "prior":
        raise paths.InputError("a prior is shipped for the shipped codec: train and --ship that one first")
    if arguments.task == "prior" and len(arguments.teacher or []) > 1:
        raise paths.InputError("a prior has one teacher")
    if arguments.ship and arguments.task == "emotion" and not arguments.columns:
        if arguments.model not in networks.SHIPPED:
            raise paths.InputError(
                "a column ships beside the other: train both, then --columns DIR DIR --ship"
            )
    if arguments.columns:
        if any((arguments.model, arguments.teacher, arguments.start, arguments.codec, arguments.resume)):
            raise paths.InputError("--columns trains nothing: it goes with --dataset, --output and --ship")
        return _join(arguments)
    for teacher in set(arguments.teacher or []) - set(networks.SHIPPED):
        emotionrecipes.record(Path(teacher))  # is there one? Better said now than after a minute
    chosen = {"epochs": arguments.epochs, "batch_size": arguments.batch_size, "seed": arguments.seed}
    options = {name: value for name, value in chosen.items() if value is not None}
    if arguments.task == "gender":
        from facelib import utkface

        data = utkface.load_utkface(arguments.data, arguments.detector)
        name, task, architecture, fit = "utkface", "gender", "gender", recipes.train_gender
    else:
        data = _load_data(arguments.dataset)
        name = "toy" if "drawn" in data.source else "fer2013"
    import_keras()
    if arguments.task in assets.GENERATOR:
        task = architecture = arguments.task
        fit = recipes.train_vqvae if task == "vqvae" else recipes.train_prior
    elif arguments.task == "emotion":
        fit = emotionrecipes.train_emotion
        model = options["name"] = arguments.model or "deep"
        task, architecture = networks.SHIPPED.get(model, model), "deepface" if model == "baseline" else model
    if arguments.codec:
        from facelib import generation

        run = None if arguments.codec == recipes.SHIPPED else arguments.codec
        options["codec"] = generation.load_network("vqvae", run)
    if arguments.teacher:
        teachers = [_teacher(each) for each in arguments.teacher]
        options |= {"teacher": teachers[0]} if task == "prior" else {"teachers": teachers}
    if arguments.start:
        options["start"] = Path(arguments.start)
    output = Path(arguments.output or paths.runs() / f"{task}-{name}-{arguments.seed}")
    print(f"{task} on {name}; checkpoints and log in {output}", flush=True)
    network, recipe = fit(
        data, output, resume=arguments.resume, progress=lambda line: print(line, flush=True), **options
    )
    network.save_weights(output / recipes.FINISHED)
    command = f"facelib train {arguments.task} --seed {recipe.seed} --epochs {recipe.epochs}"
    if arguments.task != "gender":
        command += f" --dataset {name}" + f" --model {options.get('name')}" * (arguments.task == "emotion")
        command += f" --teacher {' '.join(arguments.teacher)}" if arguments.teacher else ""
        command += f" --start {arguments.start}" * ("start" in options)
        command += f" --codec {arguments.codec}" * ("codec" in options)
    facts = {"data": name, "data_digest": data.digest, "command": command + " --ship" * arguments.ship}
    if task == "prior":
        facts["codec_digest"] = assets.card("vqvae")["weights_digest"]
    if "start" in options:
        facts["first_course"] = recipes.course_of(options["start"])
    with paths.atomic_write(output / recipes.RECORD) as path:
        path.write_text(
            json.dumps({"architecture": architecture, "recipe": asdict(recipe), **facts}, indent=2)
        )
    if arguments.ship:
        from facelib import shipping

        if task == "vqvae":
            from facelib import vqvae

            vqvae.forget(network)
        shipping.export(network, task, architecture, facts, asdict(recipe))
    print(f"done: {output / recipes.FINISHED}")
    return 0


def _teacher(name: str):
    """A network that teaches: a shipped one's name, or the folder of a finished run."""
    from pathlib import Path

    from facelib import emotionrecipes, networks

    if name in networks.SHIPPED:
        return networks.load_shipped(networks.SHIPPED[name], mixed_precision=True)
    return emotionrecipes.load_run(Path(name), mixed_precision=True)


def _join(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from facelib import emotionrecipes, paths, recipes, shipping
    from facelib.training import import_keras

    folders = [Path(folder) for folder in arguments.columns]
    records = [emotionrecipes.record(folder) for folder in folders]
    data = _load_data(arguments.dataset)
    import_keras()
    network, recipe = emotionrecipes.join(data, folders)
    output = Path(arguments.output or paths.runs() / "emotion-columns")
    output.mkdir(parents=True, exist_ok=True)
    network.save_weights(output / recipes.FINISHED)
    if arguments.ship:
        facts = {
            "data": "toy" if "drawn" in data.source else "fer2013",
            "data_digest": data.digest,
            "command": f"facelib train emotion --columns {' '.join(arguments.columns)} --ship",
            "columns": records,
        }
        shipping.export(network, "emotion", "facelib", facts, recipe)
    print(f"done: {output / recipes.FINISHED}")
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


def _only_for(arguments: argparse.Namespace, **options: tuple[str, ...]) -> None:
    """Raise InputError for an option that was given and is not for this task. options: name -> its tasks."""
    from facelib.paths import InputError

    for option, tasks in options.items():
        if getattr(arguments, option) not in (None, False) and arguments.task not in tasks:
            raise InputError(f"--{option} is for {' and '.join(tasks)}, not for {arguments.task}")


def _evaluate_parser(commands) -> None:
    parser = command(
        commands,
        "evaluate",
        evaluate,
        "measure networks, side by side if there are several, and write reports/metrics",
        "  facelib evaluate emotion --split PrivateTest\n"
        "  facelib evaluate emotion --model facelib tiny baseline fer\n"
        "  facelib evaluate emotion --speed --model facelib tiny fer\n"
        "  facelib evaluate gender --data utkface64.parquet\n"
        "  facelib evaluate vqvae                             (what coding leaves of PrivateTest)\n"
        "  facelib evaluate generator --dataset fer2013       (half an hour; needs the package fer)",
    )
    parser.add_argument(
        "task", nargs="?", default="emotion", choices=["emotion", "gender", "vqvae", "generator"]
    )
    parser.add_argument("--dataset", default="auto", choices=["auto", "toy", "fer2013"])
    parser.add_argument(
        "--data", metavar="FILE", help="gender only: a parquet file as data/README.md describes"
    )
    parser.add_argument("--split", choices=["Training", "PublicTest", "PrivateTest"],
        help="emotion: default PrivateTest")  # fmt: skip
    parser.add_argument("--model", nargs="+", metavar="NAME",
        choices=["facelib", "tiny", "baseline", "deepface", "fer"],
        help="emotion: facelib (default), tiny, baseline; deepface and fer are others'")  # fmt: skip
    other = parser.add_mutually_exclusive_group()
    other.add_argument("--mirror", action="store_true",
        help="emotion: the networks look at the mirror image as well")  # fmt: skip
    other.add_argument("--speed", action="store_true", help="milliseconds a face, instead of accuracy")
    parser.add_argument("--codec", metavar="DIR", help="vqvae, generator: a run's, not the shipped one")
    parser.add_argument("--prior", metavar="DIR", help="generator: a run's, not the shipped one")
    parser.add_argument("--judge", choices=["fer", "facelib"],
        help="generator: the network that reads the faces (default fer)")  # fmt: skip
    parser.add_argument("-n", type=positive, help="generator: faces an emotion (default 500)")
    parser.add_argument("--detector", metavar="NAME|FILE", help="gender only: as in analyze")
    parser.add_argument("--json", action="store_true", help="print the metrics as JSON")


def evaluate(arguments: argparse.Namespace) -> int:
    import json

    emotion, drawn = ("emotion",), ("generator",)
    _only_for(arguments, data=("gender",), detector=("gender",), codec=("vqvae", "generator"))
    _only_for(arguments, split=emotion, model=emotion, mirror=emotion, speed=emotion)
    _only_for(arguments, prior=drawn, judge=drawn, n=drawn)
    from facelib import measure

    if arguments.task in ("vqvae", "generator"):
        from facelib.training import import_keras

        import_keras()
        from facelib import generation, genmeasure, paths

        data, runs = _load_data(arguments.dataset), {"vqvae": arguments.codec}
        if arguments.task == "generator":
            runs["prior"] = arguments.prior
        digests = [paths.digest(generation.weights_file(*each))[:16] for each in runs.items()]
        found = [genmeasure.record_codec(data, generation.load_network("vqvae", runs["vqvae"]), digests[0])]
        if arguments.task == "generator":
            generator = generation.load_generator(*runs.values())
            options = {"judge": arguments.judge or "fer", "weights": " ".join(digests)}
            found += [genmeasure.record(data, generator, arguments.n or genmeasure.EACH, **options)]
        print(json.dumps(found, indent=2, sort_keys=True) if arguments.json else genmeasure.table(*found))
        return 0
    if arguments.task == "gender":
        found = [measure.gender(arguments.data, arguments.detector or "haar")]
    elif arguments.speed:
        found = [measure.speed(arguments.model or ["facelib"])]
    else:
        data = _load_data(arguments.dataset)
        found = measure.emotion(
            data, arguments.split or "PrivateTest", arguments.model or ["facelib"], arguments.mirror
        )
    if arguments.json or arguments.speed:
        print(json.dumps(found if len(found) > 1 else found[0], indent=2, sort_keys=True))
    else:
        print(measure.table(found))
    return 0


# --- experiment ---------------------------------------------------------------------------------------


def _experiment_parser(commands) -> None:
    parser = command(
        commands,
        "experiment",
        experiment,
        "run the controlled study of cures, of second stages, of generated faces, or ask why fear is misread",
        "  facelib experiment imbalance --dataset toy --seeds 1 --fast    (two minutes: does it all run?)\n"
        "  facelib experiment imbalance --dataset fer2013 --seeds 3 -j 2  (two hours on two cores)\n"
        '  facelib experiment imbalance --arms over smote                 (two cures beside "none")\n'
        "  facelib experiment two-stage --dataset fer2013\n"
        "  facelib experiment generated --dataset fer2013                 (do drawn faces help?)\n"
        "  facelib experiment confusion --model baseline                  (five minutes)\n"
        "A killed study goes on where it was.",
    )
    parser.add_argument("study", choices=["imbalance", "two-stage", "generated", "confusion"])
    parser.add_argument("--dataset", default="auto", choices=["auto", "toy", "fer2013"],
        help="auto: FER-2013 where it is, else the drawn faces")  # fmt: skip
    parser.add_argument("--seeds", type=positive, default=3, metavar="N", help="runs of an arm (default 3)")
    parser.add_argument("--arms", nargs="+", default=[], metavar="ARM", help="only these, beside none")
    parser.add_argument("--epochs", type=positive, metavar="N", help="passes over Training (default 8)")
    parser.add_argument("--fast", action="store_true", help="one pass over a few pictures: a mere check")
    parser.add_argument("--output", metavar="DIR", help="where runs are kept (default runs/STUDY-DATASET)")
    parser.add_argument("-j", "--jobs", type=positive, default=1, metavar="N",
        help="so many runs at a time, each on its share of the cores")  # fmt: skip
    parser.add_argument("--model", default="baseline", choices=["facelib", "tiny", "baseline", "deepface"],
        help="confusion only: the network that is asked (default baseline)")  # fmt: skip


def experiment(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from facelib import experiments, paths
    from facelib.training import import_keras

    data = _load_data(arguments.dataset)
    import_keras()
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
        jobs=arguments.jobs,
    )
    print(experiments.table(path))
    print(f"written: {path}", file=sys.stderr)
    return 0


# --- the notebooks: run, sweep ------------------------------------------------------------------------


def _run_parser(commands) -> None:
    parser = command(
        commands,
        "run",
        run,
        "execute the notebooks and keep the results",
        "  facelib run\n"
        "  facelib run 01-deepface-pipeline --param seed=1\n"
        "  facelib run -j 2 --resume                        (only what has changed since)\n"
        "  facelib run --parameters full.yml --timeout 7200 --memory 8",
    )
    parser.add_argument(
        "notebooks", nargs="*", metavar="NOTEBOOK", help="names or numbers; none: all of them"
    )
    _notebook_options(parser)
    parser.add_argument("-j", "--jobs", type=positive, default=1, metavar="N", help="so many at a time")
    parser.add_argument("--resume", action="store_true",
        help="pass over those that nothing has changed for: notebook, parameters, facelib, data")  # fmt: skip


def _notebook_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dataset", default="auto", choices=["auto", "toy", "fer2013"])
    parser.add_argument("--param", action="append", default=[], metavar="NAME=VALUE", help="may be repeated")
    parser.add_argument("--parameters", metavar="FILE", help="a YAML file of them; --param goes before it")
    parser.add_argument("--timeout", type=amount, default=3600, metavar="SECONDS",
        help="a notebook that takes longer is ended (default 3600)")  # fmt: skip
    parser.add_argument("--memory", type=amount, metavar="GB",
        help="a notebook that holds more, with all its processes, is ended")  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    from facelib import runner

    chosen = parameters(arguments.param, arguments.parameters)
    if arguments.dataset != "auto":
        chosen["dataset"] = arguments.dataset
    return runner.run(
        arguments.notebooks,
        chosen,
        arguments.timeout,
        jobs=arguments.jobs,
        memory=_bytes(arguments.memory),
        resume=arguments.resume,
    )


def _bytes(gigabytes: float | None) -> float | None:
    return None if gigabytes is None else gigabytes * 1e9


def _sweep_parser(commands) -> None:
    parser = command(
        commands,
        "sweep",
        sweep,
        "run a notebook for every combination of parameters, and put what it records in one table",
        "  facelib sweep 04 --param seed=0..4 --param n_faces=1500,6000\n"
        "  facelib sweep 04 --parameters grid.yml --workers 4\n"
        "  facelib sweep 04 --param seed=0..99 --scheduler tcp://10.0.0.1:8786\n"
        "A killed sweep, called again, runs only what is missing. Needs `pip install facelib[cluster]`.",
    )
    parser.add_argument("notebook", metavar="NOTEBOOK", help="name or number")
    _notebook_options(parser)
    parser.add_argument("--workers", type=positive, default=2, metavar="N",
        help="processes on this machine (default 2)")  # fmt: skip
    parser.add_argument("--scheduler", metavar="ADDRESS",
        help="a running Dask cluster, such as tcp://10.0.0.1:8786")  # fmt: skip
    parser.add_argument("--output", metavar="DIR", help="default runs/sweeps/NOTEBOOK")


def sweep(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from facelib import sweep as sweeps

    axes = grid(arguments.param, arguments.parameters)
    if arguments.dataset != "auto":
        axes["dataset"] = [arguments.dataset]
    return sweeps.sweep(
        arguments.notebook,
        axes,
        workers=arguments.workers,
        scheduler=arguments.scheduler,
        output=arguments.output and Path(arguments.output),
        timeout=arguments.timeout,
        memory=_bytes(arguments.memory),
    )


# --- report -------------------------------------------------------------------------------------------


def _report_parser(commands) -> None:
    parser = command(
        commands,
        "report",
        report,
        "write the weekly reports, as HTML and PDF, from reports/metrics and reports/figures",
        "  facelib report                                   (both weeks, in French)\n"
        "  facelib report --week 2 --lang en\n"
        "  facelib report --week 3 --authors us.yml --date 2026-12-04",
    )
    parser.add_argument("--week", type=int, choices=[2, 3], help="default: both")
    parser.add_argument("--lang", default="fr", choices=["fr", "en"])
    parser.add_argument("--authors", metavar="FILE", help="default reports/authors.yml, which says how")
    parser.add_argument("--date", type=_day, metavar="YYYY-MM-DD", help="default: the newest measurement's")


def _day(text: str) -> str:
    from datetime import date

    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is no day; write it as in 2026-12-04") from None


def report(arguments: argparse.Namespace) -> int:
    from facelib import paths
    from facelib import report as reports

    place = paths.metrics().parent / "authors.yml"
    given = arguments.authors or (str(place) if place.exists() else None)
    authors = parameters([], given) if given else None
    code = 0
    for week in [arguments.week] if arguments.week else reports.WEEKS:
        try:
            written, stale = reports.build(week, arguments.lang, authors, arguments.date)
        except paths.InputError as error:  # the other week may be complete
            print(f"facelib: {error}", file=sys.stderr)
            code = 1
            continue
        for line in stale:
            print(f"facelib: {line}", file=sys.stderr)
        print(*written, sep="\n")
    return code
