"""``facelib train``: networks that read emotion and gender, the codec and the prior.

As in ``facelib.cli.app``, what a command needs is imported when it is called.
"""

from __future__ import annotations

import argparse

from facelib.cli.options import command, load_data, only_for, positive, shared


def add_command(commands) -> None:
    parser = command(
        commands,
        "train",
        train,
        "train a network; a killed run goes on with --resume",
        "  facelib train emotion --dataset toy --epochs 8\n"
        "  facelib train emotion --dataset fer2013 --output runs/first          (an hour on two cores)\n"
        "  facelib train emotion --start runs/first --teacher runs/first --output runs/deep\n"
        "  facelib train emotion --model plain --seed 1 --output runs/plain\n"
        "  facelib train emotion --columns runs/deep runs/plain --ship           (two networks become one)\n"
        "  facelib train emotion --model tiny --teacher facelib --ship\n"
        "  facelib train gender --data utkface64.parquet --ship\n"
        "  facelib train vqvae --dataset toy --epochs 12 --output runs/codec\n"
        "  facelib train prior --dataset toy --epochs 24 --codec runs/codec --output runs/prior\n"
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
    shared(parser, "--codec", note="prior only")
    shared(parser, "--dataset", note="not for gender")
    shared(parser, "--data", note="gender only")
    shared(parser, "--detector", note="gender only", default="yunet")
    parser.add_argument("--epochs", type=positive, metavar="N",
        help="passes over the pictures; by default codec (4) and prior (8) take less than an hour together "
        "on FER-2013 and two cores; those shipped had 12, and 24 with 20 more")  # fmt: skip
    shared(parser, "--batch-size", "--seed")
    parser.add_argument(
        "--output", metavar="DIR", help="checkpoints and log (default runs/NETWORK-DATASET-SEED)"
    )
    parser.add_argument("--resume", action="store_true", help="go on where an interrupted run stopped")
    parser.add_argument("--ship", action="store_true", help="replace the weights that the package ships")


def train(arguments: argparse.Namespace) -> int:
    import json
    from dataclasses import asdict
    from pathlib import Path

    from facelib import paths
    from facelib.errors import InputError
    from facelib.models import registry
    from facelib.training import runs, train_emotion, train_gender, train_generator
    from facelib.training.loop import import_keras

    both, emotion = ("emotion", "prior"), ("emotion",)
    only_for(arguments, teacher=both, start=both, codec=("prior",), data=("gender",))
    only_for(arguments, model=emotion, columns=emotion)
    if arguments.codec and arguments.ship:
        raise InputError("a prior is shipped for the shipped codec: train and --ship that one first")
    if arguments.task == "prior" and len(arguments.teacher or []) > 1:
        raise InputError("a prior has one teacher")
    if arguments.ship and arguments.task == "emotion" and not arguments.columns:
        if arguments.model not in registry.SHIPPED:
            raise InputError("a column ships beside the other: train both, then --columns DIR DIR --ship")
    if arguments.columns:
        if any((arguments.model, arguments.teacher, arguments.start, arguments.resume)):
            raise InputError("--columns trains nothing: it goes with --dataset, --output and --ship")
        return _join(arguments)
    for teacher in set(arguments.teacher or []) - set(registry.SHIPPED):
        runs.record(Path(teacher))  # is there one? Better said now than after a minute
    chosen = {"epochs": arguments.epochs, "batch_size": arguments.batch_size, "seed": arguments.seed}
    options = {name: value for name, value in chosen.items() if value is not None}
    if arguments.task == "gender":
        from facelib.training import train_gender

        data = train_gender.load_utkface(arguments.data, arguments.detector)
        name, task, architecture, fit = "utkface", "gender", "gender", train_gender.train_gender
    else:
        data = load_data(arguments.dataset)
        name = data.option
    import_keras()
    if arguments.task in registry.GENERATOR:
        task = architecture = arguments.task
        fit = train_generator.train_vqvae if task == "vqvae" else train_generator.train_prior
    elif arguments.task == "emotion":
        fit = train_emotion.train_emotion
        model = options["name"] = arguments.model or "deep"
        task, architecture = registry.SHIPPED.get(model, model), "deepface" if model == "baseline" else model
    if arguments.codec:
        from facelib.models import generator

        options["codec"] = generator.load_network("vqvae", arguments.codec)
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
    network.save_weights(output / runs.FINISHED)
    command = f"facelib train {arguments.task} --seed {recipe.seed} --epochs {recipe.epochs}"
    if arguments.task != "gender":
        command += f" --dataset {name}" + f" --model {options.get('name')}" * (arguments.task == "emotion")
        command += f" --teacher {' '.join(arguments.teacher)}" if arguments.teacher else ""
        command += f" --start {arguments.start}" * ("start" in options)
    facts = {"data": name, "data_digest": data.digest, "command": command + " --ship" * arguments.ship}
    if task == "prior":
        facts["codec_digest"] = registry.card("vqvae")["weights_digest"]
    if "start" in options:
        facts["first_course"] = runs.course_of(options["start"])
    with paths.atomic_write(output / runs.RECORD) as path:
        path.write_text(
            json.dumps({"architecture": architecture, "recipe": asdict(recipe), **facts}, indent=2)
        )
    if arguments.ship:
        from facelib.models import export

        if task == "vqvae":
            from facelib.models import vqvae

            vqvae.forget(network)
        export.export(network, task, architecture, facts, asdict(recipe))
    print(f"done: {output / runs.FINISHED}")
    return 0


def _teacher(name: str):
    """A network that teaches: a shipped one's name, or the folder of a finished run."""
    from pathlib import Path

    from facelib.models import registry
    from facelib.training import runs

    if name in registry.SHIPPED:
        return registry.load_shipped(registry.SHIPPED[name], mixed_precision=True)
    return runs.load_run(Path(name), mixed_precision=True)


def _join(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from facelib import paths
    from facelib.models import export
    from facelib.training import runs, train_emotion
    from facelib.training.loop import import_keras

    folders = [Path(folder) for folder in arguments.columns]
    records = [runs.record(folder) for folder in folders]
    data = load_data(arguments.dataset)
    import_keras()
    network, recipe = train_emotion.join(data, folders)
    output = Path(arguments.output or paths.runs() / "emotion-columns")
    output.mkdir(parents=True, exist_ok=True)
    network.save_weights(output / runs.FINISHED)
    if arguments.ship:
        facts = {
            "data": data.option,
            "data_digest": data.digest,
            "command": f"facelib train emotion --columns {' '.join(arguments.columns)} --ship",
            "columns": records,
        }
        export.export(network, "emotion", "facelib", facts, recipe)
    print(f"done: {output / runs.FINISHED}")
    return 0
