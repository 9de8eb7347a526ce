"""`facelib …`: the entry, and the commands for pictures and data; the others are in ``cli.study``.

Only argparse is imported before a command is known, so that help is instant.

Exit codes: 0 done; 1 the input was at fault (one line on stderr, no traceback); 2 wrong usage.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence

from facelib import __version__
from facelib.cli import demo, films, study
from facelib.cli.options import SHARED, amount, command, fraction, magnification, positive, shared, side, span
from facelib.errors import InputError


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
        from facelib.cli.output_writers import REMEDY

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
    from facelib.vision.image_io import printable

    line = f"facelib: {printable(str(message))}"
    if "tqdm" in sys.modules:
        sys.modules["tqdm"].tqdm.write(line, file=sys.stderr)
    else:
        print(line, file=sys.stderr)
    return 1


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="facelib",
        description="Faces to emotions and back: analyse photographs, generate and edit faces, train and "
        "measure the networks behind it.",
        epilog="Start with:  facelib analyze photo.jpg --draw annotated",
    )
    parser.add_argument("--version", action="version", version=f"facelib {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _analyze_parser(commands)
    _data_parser(commands)
    _generate_parser(commands)
    _edit_parser(commands)
    films.add_commands(commands, complain)
    demo.add_commands(commands)
    study.add_commands(commands)
    return parser


# --- analyze ------------------------------------------------------------------------------------------


def _analyze_parser(commands) -> None:
    parser = command(commands, "analyze", analyze,
        "find faces in pictures or films and read emotion and apparent gender",
        "  facelib analyze photo.jpg\n"
        "  facelib analyze holidays/ --csv faces.csv --draw annotated/\n"
        "  facelib analyze holidays/ --detector yunet --json > faces.jsonl\n"
        "  facelib analyze archive/ --csv faces.csv --scheduler tcp://10.0.0.1:8786\n"
        "  facelib analyze film.mp4 --csv faces.csv --plot emotions.png --draw annotated/")  # fmt: skip
    parser.add_argument("pictures", nargs="+", metavar="IMAGE|FOLDER|FILM",
        help="folders are searched in full for pictures; a quoted '*.jpg' is expanded")  # fmt: skip
    output = parser.add_mutually_exclusive_group()
    shared(output, "--json", help="one JSON object for each picture or frame, as they come")
    output.add_argument("--csv", metavar="FILE",
        help="one row for each face, as they come; - for the terminal; pictures without a face are counted "
        "at the end")  # fmt: skip
    parser.add_argument("--draw", metavar="DIR",
        help="also write annotated copies into this folder, over what has their names")  # fmt: skip
    shared(parser, "--scheduler")
    shared(parser, "--detector", default="auto")
    parser.add_argument("--search-side", type=side, default=1280, metavar="PIXELS",
        help="larger pictures are reduced to so many pixels for the search (default 1280); more finds "
        "smaller faces")  # fmt: skip
    parser.add_argument("--turn", action="store_true",
        help="where no face is found, look again at the picture turned by 90, 270, 180 degrees")  # fmt: skip
    parser.add_argument("--emotion-model", dest="emotion", default="facelib",
        choices=["facelib", "tiny", "baseline", "deepface"],
        help="tiny is faster; baseline: DeepFace's architecture; deepface: its own weights")  # fmt: skip
    shared(parser, "--class-prior")
    shared(parser, "--tta", default="none")
    parser.add_argument("--gender-model", dest="gender", default="facelib", choices=["facelib", "deepface"])
    parser.add_argument("--mode", default="facelib", choices=["facelib", "deepface"],
        help="deepface: cut faces out exactly as DeepFace does")  # fmt: skip
    parser.add_argument("--min-confidence", type=fraction, default=0.5, metavar="P",
        help="leave out faces that are less sure, 0 to 1 (default 0.5)")  # fmt: skip
    shared(parser, "--batch-size", default=64, help="faces that go through the networks together")
    films.add_options(parser)


def analyze(arguments: argparse.Namespace) -> int:
    if films.are_films(arguments):
        return films.analyze(arguments, complain)
    import warnings
    from collections import Counter
    from functools import partial

    from tqdm import tqdm

    from facelib.cli import output_writers
    from facelib.vision import image_io
    from facelib.vision.encoder import FaceEncoder

    warnings.filterwarnings("ignore", module="PIL")  # meant for programmers; a fault is one line of ours
    faults = faces = without = reduced = 0

    def fault(error: InputError) -> None:
        nonlocal faults
        faults += complain(error)

    draw = output_writers.Drawings(arguments.draw, arguments.pictures) if arguments.draw else None
    find = partial(image_io.find_images, arguments.pictures, skip=arguments.draw)
    others, total = Counter(), 0
    for path in find(lambda error: None, others=others):
        total += 1
        if arguments.csv and _is_same(path, arguments.csv):
            raise InputError(f"--csv {arguments.csv}: is one of the pictures; give the table another name")
    names = (*films.READING, "search_side", "turn")
    options = {name: getattr(arguments, name) for name in names}
    encoder = FaceEncoder(**options)  # also for a cluster: what is wrong with it is said at once
    if arguments.scheduler:
        from facelib.batch import cluster

        found = cluster.analyze(find(fault), arguments.scheduler, arguments.batch_size, **options)
    else:
        found = encoder.stream(find(fault), arguments.batch_size)
    bar = tqdm(total=total, unit="picture", disable=None if total > 1 else True, leave=False)
    with bar, output_writers.open_output(arguments.json, arguments.csv) as write:
        for picture in found:
            if picture.error:
                fault(picture.error)
            else:
                faces += len(picture.faces)
                without += not picture.faces
                reduced += picture.least > 50  # reduced to half or less
                write(picture)
                if draw:
                    try:
                        draw(picture)
                    except InputError as error:
                        fault(error)
            bar.update()
    for line in _hints(encoder.detector_name, arguments, total, without, reduced):
        print(f"facelib: {line}", file=sys.stderr)
    if total > 1 or others or (arguments.csv and without):
        print(_summary(faces, total, without, faults, image_io.counted(others)), file=sys.stderr)
    return 1 if faults else 0


def _summary(faces: int, pictures: int, without: int, faults: int, others: str) -> str:
    said = f"{faces} faces in {pictures} pictures" + f" ({without} without a face)" * bool(without)
    said += f"; {faults} faults, named above" * bool(faults)
    said += f"; passed over, no readable pictures: {others}" * bool(others)
    return said + " (`pip install 'facelib[heic]'` reads .heic)" * (".heic" in others)


def _hints(
    detector: str, arguments: argparse.Namespace, total: int, without: int, reduced: int
) -> Iterator[str]:
    """What might find the faces that were not found, a line for each reason to think that there are some."""
    if reduced:
        yield (
            f"{reduced} large pictures were searched at {arguments.search_side} pixels, where small faces "
            "may be missed; --search-side looks closer"
        )
    if without:
        tries = ["--turn (on their side)"] * (not arguments.turn)
        tries += ["--detector none (cut-out faces already)"] * (detector != "none")
        tries += ["--min-confidence 0.3 (dark or half hidden)"] * (arguments.min_confidence > 0.3)
        tries += ["`facelib data fetch yunet` (finds more than haar)"] * (detector == "haar")
        yield f"no face found by {detector} in {without} of {total}; try {', '.join(tries)}"
    elif total > 1 and detector == "haar" and arguments.detector == "auto":
        yield "searched with haar; `facelib data fetch yunet` gets a detector that finds more faces"


def _is_same(path: str | os.PathLike, output: str) -> bool:
    """Whether both are one file, also by a link."""
    try:
        return os.path.samefile(path, output)
    except (OSError, ValueError):  # one is missing, or no name
        return False


# --- generate, edit -----------------------------------------------------------------------------------


def _generate_parser(commands) -> None:
    parser = command(commands, "generate", generate,
        "generate faces of people who do not exist, with the emotion that is asked for",
        "  facelib generate --emotion fear -n 16 -o fear.png\n"
        "  facelib generate --emotion happy=2 surprise=1 --seed 3 -o happily-surprised.png\n"
        "  facelib generate --emotion all -n 12 -o sheet.png          (a row for each emotion)\n"
        "  facelib generate --emotion neutral --to angry -n 24 -o anger.gif\n"
        "The same seed, with all else the same as well, gives the same faces.")  # fmt: skip
    shared(parser, "--emotion", help=SHARED["--emotion"]["help"] + "; or all")
    parser.add_argument("--to", nargs=1, metavar="NAME", help="-n steps from one emotion to this one")
    parser.add_argument("-n", type=positive, default=16, metavar="N", help="faces (default 16)")
    _generator_options(parser)
    parser.add_argument("--top-p", type=fraction, default=1.0, metavar="P",
        help="only codes that together are so likely (default 1: all)")  # fmt: skip
    parser.set_defaults(guidance="0,5", temperature=0.9, best_of=1)


def _generator_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", required=True, metavar="FILE",
        help="a picture (.png), a film (.gif, .mp4), or for single pictures a folder (name/)")  # fmt: skip
    parser.add_argument("--guidance", type=span, metavar="G[,H]",
        help="0: any face, 1: as faces are, more: clearer and less various; of two numbers each face draws "
        "its own between them (default %(default)s)")  # fmt: skip
    parser.add_argument("--temperature", type=amount, metavar="T",
        help="below 1: likelier, smoother faces (default %(default)s)")  # fmt: skip
    parser.add_argument("--best-of", type=positive, metavar="K",
        help="draw K for each, keep the one that facelib reads best (default %(default)s)")  # fmt: skip
    parser.add_argument("--enlarge", type=magnification, default=2, metavar="K",
        help="pixels of the file for each of a face (default 2)")  # fmt: skip
    shared(parser, "--seed", "--codec", "--prior")


def generate(arguments: argparse.Namespace) -> int:
    from functools import partial

    import numpy as np

    from facelib import emotions
    from facelib.cli import output_writers

    options = {name: getattr(arguments, name) for name in ("temperature", "guidance")}
    options["top_p"] = arguments.top_p or 1e-9
    every = arguments.emotion == ["all"]
    if arguments.to and (every or arguments.best_of > 1):
        raise InputError("--to goes from one emotion to another: not with --emotion all, nor with --best-of")
    asked, goal = (words and not every and _shares(words) for words in (arguments.emotion, arguments.to))
    output_writers.check_faces(arguments.output)
    from facelib.models.generator import load_generator  # imports TensorFlow: after all checks

    generator = load_generator(arguments.codec, arguments.prior)
    sample = partial(generator.sample, best_of=arguments.best_of)
    if every:
        rows = [sample(name, arguments.n, arguments.seed, **options) for name in emotions.EMOTIONS]
        faces = np.concatenate(rows)
    elif arguments.to:
        faces = generator.between(asked, goal, arguments.n, arguments.seed, **options)
    else:
        faces = sample(asked, arguments.n, arguments.seed, **options)
    output_writers.write_faces(arguments.output, faces, arguments.enlarge, arguments.n if every else None)
    print(f"{len(faces)} faces: {arguments.output}", file=sys.stderr)
    return 0


def _shares(words: list[str]) -> dict[str, float]:
    """["happy=2", "sad"] -> {"happy": 2.0, "sad": 1.0}; raises InputError."""
    from facelib.emotions import emotion_name, shares

    try:
        pairs = [word.partition("=") for word in words]
        found = {emotion_name(name): float(share or 1) for name, _, share in pairs}
    except InputError:
        raise
    except ValueError:
        raise InputError(f"--emotion {' '.join(words)}: write NAME or NAME=SHARE, as in happy=2") from None
    if len(found) < len(words):
        raise InputError(f"--emotion {' '.join(words)}: names an emotion twice")
    shares(found)
    return found


def _edit_parser(commands) -> None:
    parser = command(commands, "edit", edit, "give the faces of a photograph another expression",
        "  facelib edit photo.jpg --emotion happy -o happier.png              (the faces, before and after)\n"
        "  facelib edit photo.jpg --emotion happy --blend -o happier.jpg      (the whole photograph)\n"
        "  facelib edit photo.jpg --emotion surprise --strength 0.8 -o face.gif   (from one to the other)\n"
        "Expect a caricature: the emotion is plain, the likeness suffers; --strength 0.4 is milder.\n"
        "Ask the people first.")  # fmt: skip
    parser.add_argument("picture", metavar="IMAGE")
    shared(parser, "--emotion")
    parser.add_argument("--strength", type=fraction, default=0.5, metavar="S",
        help="part of the face that is generated anew; 0.5: mouth, eyes and brows (default 0.5)")  # fmt: skip
    parser.add_argument("--blend", action="store_true", help="write the photograph, with the changed faces")
    shared(parser, "--detector", default="auto")
    _generator_options(parser)
    parser.set_defaults(guidance=3.0, temperature=0.6, best_of=8)


def edit(arguments: argparse.Namespace) -> int:
    import numpy as np

    from facelib.cli import output_writers
    from facelib.vision import image_io

    asked = _shares(arguments.emotion)
    picture = image_io.load(arguments.picture)  # before the networks, whose import takes seconds
    kind = output_writers.check_faces(arguments.output)
    if arguments.blend and kind != "picture":
        raise InputError(f"{arguments.output}: --blend writes one photograph, name a .png or .jpg")
    if _is_same(arguments.picture, arguments.output):
        raise InputError(f"{arguments.output}: is the photograph itself; write to another file")
    from facelib.models.generator import load_generator
    from facelib.vision import photo_editing

    generator = load_generator(arguments.codec, arguments.prior)
    names = ("detector", "strength", "seed", "temperature", "guidance", "best_of")
    options = {name: getattr(arguments, name) for name in names}
    photograph, faces, edited = photo_editing.edit_photograph(generator, picture, asked, **options)
    if arguments.blend:
        image_io.write_image(arguments.output, photograph)
    elif kind == "film":
        strips = [generator.morph(*each) for each in zip(faces, edited, strict=True)]
        output_writers.write_faces(arguments.output, np.concatenate(strips, axis=2), arguments.enlarge)
    else:  # before above after
        both = np.concatenate([faces, edited])
        output_writers.write_faces(arguments.output, both, arguments.enlarge, len(faces))
    print(f"{len(faces)} faces: {arguments.output}", file=sys.stderr)
    return 0


# --- data ---------------------------------------------------------------------------------------------


def _data_parser(commands) -> None:
    parser = command(commands, "data", data_info, "get, import and describe data sets and published networks",
        "  facelib data info\n  facelib data fetch yunet\n  facelib data import ~/Downloads/fer2013.csv"
    )  # fmt: skip
    parts = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    fetch = command(parts, "fetch", data_fetch, "download a published file and verify it",
        "  facelib data fetch yunet\n  facelib data fetch fer2013        (needs `pip install facelib[data]`)"
    )  # fmt: skip
    fetch.add_argument("name", nargs="?", default="fer2013",
        choices=["yunet", "deepface-emotion", "deepface-gender", "sface", "fer2013"],
        help="yunet: face detector; deepface-…: its networks; sface: for compare; fer2013 (default): "
        "the data set")  # fmt: skip
    importing = command(parts, "import", data_import,
        "read FER-2013 in any of its forms and keep a compact copy",
        "  facelib data import ~/Downloads/fer2013.csv\n"
        "  facelib data import archive.zip --ferplus fer2013new.csv")  # fmt: skip
    importing.add_argument("path", help="fer2013.csv, an archive of it, Kaggle's folders, or a parquet file")
    importing.add_argument("--ferplus", metavar="FILE", help="the FER+ votes, fer2013new.csv")
    command(parts, "info", data_info, "say which data is here, and what is missing", "  facelib data info")


def data_fetch(arguments: argparse.Namespace) -> int:
    if arguments.name == "fer2013":
        from facelib.data import fer2013

        print(fer2013.describe(fer2013.fetch_fer2013()))
    else:
        from facelib.models import registry

        print(registry.fetch(arguments.name))
    return 0


def data_import(arguments: argparse.Namespace) -> int:
    from facelib.data import fer2013

    print(fer2013.describe(fer2013.import_fer2013(arguments.path, arguments.ferplus)))
    return 0


def data_info(arguments: argparse.Namespace) -> int:
    from facelib.data import fer2013
    from facelib.models import registry

    print(fer2013.info())
    print("\nPublished networks")
    for name, item in registry.DOWNLOADS.items():
        state = f"here: {item.path}" if item.path.is_file() else f"not here; `facelib data fetch {name}`"
        print(f"  {name:<17} {item.what}: {state}")
    return 0
