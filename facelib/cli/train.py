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
        "  facelib train emotion --teachers 4 --output runs/emotion --resume  (and their student)\n"
        "  facelib train emotion --teachers 4 --output runs/emotion --resume --model tiny --ship\n"
        "  facelib train emotion --model plain --output runs/plain              (one network by itself)\n"
        "  facelib train emotion --columns runs/deep runs/plain --ship          (two networks become one)\n"
        "  facelib train gender --data utkface64.parquet --ship\n"
        "  facelib train vqvae --dataset toy --epochs 12 --output runs/codec\n"
        "  facelib train prior --dataset toy --epochs 24 --codec runs/codec --output runs/prior\n"
        "  facelib generate --codec runs/codec --prior runs/prior --emotion happy -o happy.png",
    )
    parser.add_argument("task", choices=["emotion", "gender", "vqvae", "prior"],
        help="reading emotion or gender, coding faces, or which codes make a face")  # fmt: skip
    parser.add_argument("--model", choices=["resnet", "vgg", "deep", "plain", "tiny", "baseline"],
        help="emotion only: deep (default) and plain are the branches of the network that ships as facelib; "
        "resnet (default with --teachers) and vgg are larger; tiny; or DeepFace's architecture")  # fmt: skip
    parser.add_argument("--teachers", type=positive, metavar="N",
        help="emotion only: from nothing N teachers, for --epochs each, then the student that learns from "
        "them, for twice as many; runs in the folders of --output")  # fmt: skip
    parser.add_argument("--columns", nargs=2, metavar="DIR",
        help="emotion only: nothing is trained; runs of deep and plain become one network")  # fmt: skip
    parser.add_argument("--teacher", nargs="+", metavar="NAME|DIR",
        help="emotion: finished runs whose predictions are learnt, nine parts to one of labels and votes; "
        "prior: one, or a shipped network, that says with them what a face shows")  # fmt: skip
    parser.add_argument("--start", metavar="DIR",
        help="emotion and prior: stage two: go on from this finished run; "
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
    from pathlib import Path

    from facelib import paths
    from facelib.errors import InputError
    from facelib.models import registry
    from facelib.training import runs, train_emotion, train_gender, train_generator

    both, emotion = ("emotion", "prior"), ("emotion",)
    only_for(arguments, teacher=both, start=both, codec=("prior",), data=("gender",))
    only_for(arguments, model=emotion, columns=emotion, teachers=emotion)
    task, teachers, model = arguments.task, arguments.teacher or [], arguments.model
    if arguments.teachers and (teachers or arguments.start or arguments.columns or model == "baseline"):
        raise InputError("--teachers trains them: it goes without --teacher, --start, --columns and baseline")
    if arguments.teachers:
        model = model or "resnet"
    if arguments.codec and arguments.ship:
        raise InputError("a prior is shipped for the shipped codec: train and --ship that one first")
    if task == "prior" and len(teachers) > 1:
        raise InputError("a prior has one teacher")
    ships = arguments.columns or model in ("resnet", *registry.EMOTION_TASKS)
    if arguments.ship and task == "emotion" and not ships:
        raise InputError("a column ships beside the other: train both, then --columns DIR DIR --ship")
    if arguments.columns and any((model, teachers, arguments.start, arguments.resume)):
        raise InputError("--columns trains nothing: it goes with --dataset, --output and --ship")
    known = set(registry.EMOTION_TASKS) if task == "prior" else set()
    for folder in [*(arguments.columns or []), *(set(teachers) - known)]:
        runs.record(Path(folder))  # is there one? Better said now than after a minute
    if task == "gender":
        data, name = train_gender.load_utkface(arguments.data, arguments.detector), "utkface"
    else:
        data = load_data(arguments.dataset)
        name = data.option
    ships_as = registry.EMOTION_TASKS.get(model, model or "deep") if task == "emotion" else task
    ships_as = "emotion" if ships_as == "resnet" else ships_as
    place = f"{ships_as}-{name}-{arguments.seed}"
    if arguments.columns:
        ships_as, place = "emotion", "emotion-columns"
    output = Path(arguments.output or paths.runs() / place)
    if arguments.columns:
        network, _ = train_emotion.merge_runs(data, output, arguments.columns)
    else:
        print(f"{ships_as} on {name}; checkpoints and log in {output}", flush=True)
        options = {"epochs": arguments.epochs, "batch_size": arguments.batch_size, "seed": arguments.seed}
        options |= {"start": arguments.start, "codec": arguments.codec, "name": model}
        chosen = arguments.teachers or teachers
        options |= {"teachers": chosen} if task == "emotion" else {"teacher": (teachers or [None])[0]}
        options = {option: value for option, value in options.items() if value not in (None, [])}
        fit = {
            "emotion": train_emotion.train_emotion,
            "gender": train_gender.train_gender,
            "vqvae": train_generator.train_vqvae,
            "prior": train_generator.train_prior,
        }[task]
        options |= {"resume": arguments.resume, "progress": lambda line: print(line, flush=True)}
        if arguments.teachers:
            fit = train_emotion.train_with_teachers
        network, _ = fit(data, output, **options)
        output = output / model if arguments.teachers else output
    if arguments.ship:
        from facelib.models import export

        facts = runs.record(output)
        architecture, config = facts.pop("architecture"), facts.pop("recipe")
        facts["command"] += " --ship"
        export.export(network, ships_as, architecture, facts, config)
    print(f"done: {output / runs.FINAL_WEIGHTS}")
    return 0
