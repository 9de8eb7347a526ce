"""`facelib analyze film.mp4`, `facelib camera` and `facelib compare`: faces over time, faces side by side."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

from facelib.cli.options import amount, command, cosine, fraction, natural, positive, seconds, shared
from facelib.errors import InputError

#: Extensions by which a film is told from a picture.
FILMS = frozenset(".mp4 .m4v .mov .avi .mkv .webm .mpg .mpeg .mts .m2ts .ts .wmv .flv .ogv .3gp".split())
#: What a drawn film is encoded with: by extension, the code that OpenCV's FFmpeg knows.
CODES = {".mp4": "mp4v", ".mov": "mp4v", ".avi": "MJPG", ".webm": "VP80"}
#: Options of `facelib analyze` that its encoder takes for pictures and films.
READING = ("detector", "emotion", "gender", "mode", "min_confidence", "class_prior", "tta")
#: Prints one line on stderr and returns 1; ``app.complain``.
Complain = Callable[[object], int]
#: Keys that close the camera's window: Escape, and q.
QUIT = (27, ord("q"))


def add_options(parser: argparse.ArgumentParser) -> None:
    """What `facelib analyze` takes for a film only."""
    films = parser.add_argument_group("films")
    films.add_argument("--every", type=seconds, metavar="S",
        help="seconds from one analysed frame to the next, 0 for all frames (default 0.1)")  # fmt: skip
    films.add_argument("--detect-every", type=positive, metavar="K",
        help="search each K-th of these, follow faces between (default: about every 0.2 s)")  # fmt: skip
    films.add_argument("--smooth", type=seconds, metavar="S",
        help="average emotion over so many seconds of each face, 0 for not (default 0.5)")  # fmt: skip
    films.add_argument("--plot", metavar="FILE",
        help="a figure: the seven emotions of each face over time (.png, .svg or .pdf)")  # fmt: skip


def are_films(arguments: argparse.Namespace) -> bool:
    """Whether `facelib analyze` is given films; raises InputError for a mixture or a misplaced option."""
    films = [os.path.splitext(path)[1].lower() in FILMS for path in arguments.pictures]
    if any(films) and not all(films):
        raise InputError("films and pictures give different tables: analyse them in two calls")
    if all(films):
        if arguments.scheduler:
            raise InputError("--scheduler shares pictures among machines, not the frames of a film")
        return True
    for name in ("every", "detect_every", "smooth", "plot"):
        if getattr(arguments, name) is not None:
            raise InputError(f"--{name.replace('_', '-')} is for films ({' '.join(sorted(FILMS))})")
    return False


def analyze(arguments: argparse.Namespace, complain: Complain) -> int:
    """`facelib analyze` of films: rows, or a summary of each face, while they run."""
    from facelib.vision import video
    from facelib.vision.encoder import FaceEncoder

    every = 0.1 if arguments.every is None else arguments.every
    smooth = 0.5 if arguments.smooth is None else arguments.smooth
    many = len(arguments.pictures) > 1
    if many and arguments.plot:
        raise InputError("--plot shows one film: analyse them one by one")
    if arguments.plot and not arguments.plot.lower().endswith((".png", ".svg", ".pdf")):
        raise InputError(f"--plot {arguments.plot}: a figure is a .png, .svg or .pdf")
    drawn = [_drawn_name(arguments.draw, path, many) for path in arguments.pictures]
    options = {name: getattr(arguments, name) for name in READING}
    encoder = FaceEncoder(**options)
    faults = 0
    with _output(arguments) as write:
        for index, (path, place) in enumerate(zip(arguments.pictures, drawn, strict=True)):
            try:
                film = video.Film(path)
                options = every, arguments.detect_every, smooth, bool(place), index, arguments.batch_size
                frames = video.stream(film, encoder, *options)
                summary, started = _Summary(path, bool(arguments.plot)), time.perf_counter()
                with DrawnFilm(place, film, every) if place else ExitStack() as draw:
                    for frame in video.with_progress(frames, film, every):
                        write(path, index, frame)
                        summary.add(frame)
                        if place:
                            draw(frame)
            except InputError as error:
                faults += complain(error)
                continue
            if film.fault:
                faults += complain(film.fault)
            if not (arguments.json or arguments.csv):
                print(summary)
            rate = summary.frames / (time.perf_counter() - started)
            print(f"{summary.faces} faces of {len(summary.tracks)} tracks in {summary.frames} frames of "
                  f"{summary.time:.1f} s; {rate:.0f} frames/s", file=sys.stderr)  # fmt: skip
            if arguments.plot:
                summary.plot(arguments.plot)
    return 1 if faults else 0


@contextmanager
def _output(arguments: argparse.Namespace) -> Iterator[Callable]:
    """Gives a function that writes what a frame has: JSON lines, CSV rows, or nothing (a summary follows)."""
    import csv

    from facelib.cli.output_writers import _rounded
    from facelib.vision import video
    from facelib.vision.image_io import EXTENSIONS, printable

    if arguments.json:

        def write(path: str, index: int, frame: video.Frame) -> None:
            faces = [_rounded(vars(face)) for face in frame.faces]
            for face in faces:
                for known in ("path", "source_index", "time", "frame"):
                    del face[known]
            line = {"source_index": index, "path": printable(path), "time": round(frame.time, 4)}
            print(json.dumps(line | {"frame": frame.number, "faces": faces}), flush=True)

        yield write
    elif not arguments.csv:
        yield lambda path, index, frame: None
    else:
        if os.path.splitext(arguments.csv)[1].lower() in EXTENSIONS | FILMS:
            raise InputError(f"--csv {arguments.csv}: is a picture's or a film's name; give the table's")
        with ExitStack() as stack:
            stream = sys.stdout
            if arguments.csv != "-":
                stream = stack.enter_context(open(arguments.csv, "w", newline="", encoding="utf-8"))
            table = csv.DictWriter(stream, video.COLUMNS)
            table.writeheader()

            def write(path: str, index: int, frame: video.Frame) -> None:
                table.writerows(_rounded(video.to_row(face)) for face in frame.faces)
                stream.flush()

            yield write


class _Summary:
    """What a film showed: a line for each face; with ``plot`` its smoothed emotions as well."""

    def __init__(self, path: str, keep: bool = False):
        self.path, self.keep = path, keep
        self.faces = self.frames = 0
        self.time = 0.0
        self.tracks: dict[int, dict] = {}

    def add(self, frame) -> None:
        from array import array

        self.frames, self.time = self.frames + 1, frame.time
        for face in frame.faces:
            self.faces += 1
            track = self.tracks.setdefault(
                face.track, {"from": face.time, "seen": 0, "emotions": {}, "rows": array("f")}
            )
            track["to"], track["seen"] = face.time, track["seen"] + 1
            emotion = max(face.smoothed, key=face.smoothed.get)
            track["emotions"][emotion] = track["emotions"].get(emotion, 0) + 1
            if self.keep:
                track["rows"].extend([face.time, *face.smoothed.values()])

    def __str__(self) -> str:
        from facelib.vision.image_io import printable

        lines = [printable(self.path), f"{'track':>5} {'from':>8} {'to':>8} {'frames':>7}  mostly"]
        for number, track in self.tracks.items():
            shares = sorted(track["emotions"].items(), key=lambda each: -each[1])[:3]
            words = ", ".join(f"{name} {count / track['seen']:.0%}" for name, count in shares)
            lines.append(
                f"{number:>5} {track['from']:>7.1f}s {track['to']:>7.1f}s {track['seen']:>7}  {words}"
            )
        return "\n".join(lines if self.tracks else [*lines[:1], "no face found"])

    def plot(self, place: str) -> None:
        import numpy as np

        from facelib.paths import atomic_write
        from facelib.reporting import result_figures

        if not self.tracks:
            raise InputError(f"{self.path}: no face was found, there is nothing to plot")
        rows = {n: np.array(track["rows"]).reshape(-1, 8) for n, track in self.tracks.items()}
        figure = result_figures.timeline({n: (each[:, 0], each[:, 1:]) for n, each in rows.items()})
        with atomic_write(place) as temporary:
            figure.savefig(temporary, format=place[-3:].lower(), dpi=150, bbox_inches="tight")


# --- drawn films ----------------------------------------------------------------------------------------


def _drawn_name(draw: str | None, path: str, many: bool) -> str | None:
    """Where the annotated film goes: a file, or a folder in which it keeps its name, as an .mp4."""
    if not draw:
        return None
    place = draw
    if os.path.splitext(draw)[1].lower() not in FILMS:
        place = os.path.join(draw, os.path.splitext(os.path.basename(path))[0] + ".mp4")
    elif many:
        raise InputError(f"--draw {draw}: of several films, name a folder")
    if os.path.splitext(place)[1].lower() not in CODES:
        raise InputError(f"--draw {place}: a drawn film is one of {' '.join(CODES)}")
    if os.path.exists(place) and os.path.exists(path) and os.path.samefile(place, path):
        raise InputError(f"--draw {draw}: would overwrite the film itself; choose another place")
    return place


class DrawnFilm:
    """Writes analysed frames with their faces as a film without sound, each frame as long as it was shown.

    The file appears when it is complete. Raises InputError where it cannot be written.
    """

    def __init__(self, place: str, film, every: float):
        self.place, self.size = place, film.size
        self.rate = min(film.rate, 1 / every if every else 60.0, 60.0)
        self._stack, self._written, self._last = ExitStack(), 0, None

    def __enter__(self) -> DrawnFilm:
        import cv2

        from facelib.paths import atomic_write

        temporary = str(self._stack.enter_context(atomic_write(self.place)))
        code = cv2.VideoWriter.fourcc(*CODES[os.path.splitext(self.place)[1].lower()])
        self._film = cv2.VideoWriter(temporary, cv2.CAP_FFMPEG, code, self.rate, self.size)
        self._stack.callback(self._film.release)
        if not self._film.isOpened():
            self._stack.close()
            raise InputError(
                f"{self.place}: this film cannot be encoded; choose another of {' '.join(CODES)}"
            )
        return self

    def __call__(self, frame) -> None:
        # The writer knows one rate only: where the film's varies, frames are written more often, or not.
        due = round(frame.time * self.rate)
        while self._last is not None and self._written < due:
            self._put()
        self._last = annotated(frame)

    def _put(self) -> None:
        self._film.write(self._last[..., ::-1])
        self._written += 1

    def __exit__(self, *error) -> bool | None:
        if self._last is not None:
            self._put()
        return self._stack.__exit__(*error)


def annotated(frame):
    """A frame with its faces: their numbers, and their emotion as it was smoothed; (H, W, 3) uint8 RGB."""
    from dataclasses import replace

    from facelib.reporting import plots

    return plots.annotate(
        frame.image,
        [
            replace(face, emotion=max(face.smoothed, key=face.smoothed.get), emotions=face.smoothed)
            if face.smoothed
            else face
            for face in frame.faces
        ],
    )


# --- camera, compare --------------------------------------------------------------------------------------


def add_commands(commands, complain: Complain) -> None:
    parser = command(
        commands,
        "camera",
        camera,
        "watch a camera: faces and their emotion, now",
        "  facelib camera                       (a window; q closes it)\n"
        "  facelib camera 1 --emotion-model facelib\n"
        "  facelib camera --json | head -100    (no window: a line for each analysed frame)\n"
        "Frames that come while another is analysed are dropped, so that the picture is never late. Nothing\n"
        "is kept or sent. A window needs a screen, and opencv-python in place of opencv-python-headless.",
    )
    parser.add_argument("number", nargs="?", type=natural, default=0, metavar="N", help="which camera (0)")
    shared(parser, "--detector", default="haar")
    parser.add_argument("--emotion-model", dest="emotion", default="tiny",
        choices=["tiny", "facelib", "baseline", "deepface"],
        help="default tiny: a millisecond a face")  # fmt: skip
    parser.add_argument("--min-confidence", type=fraction, default=0.5, metavar="P",
        help="leave out faces that are less sure, 0 to 1 (default 0.5)")  # fmt: skip
    shared(parser, "--class-prior")
    shared(parser, "--tta", default="none")
    parser.add_argument("--smooth", type=seconds, default=0.5, metavar="S",
        help="average emotion over so many seconds, 0 for not (default 0.5)")  # fmt: skip
    parser.add_argument("--seconds", type=amount, metavar="S", help="end after so long")
    shared(parser, "--json", help="no window; one JSON object for each analysed frame")

    parser = command(
        commands,
        "compare",
        partial(compare, complain=complain),
        "say whether two photographs show the same person, or find the nearest faces in a folder",
        "  facelib compare passport.jpg party.jpg\n"
        "  facelib compare passport.jpg holidays/ -n 20\n"
        "  facelib compare a.jpg b.jpg --json\n"
        "Needs `facelib data fetch sface` and `facelib data fetch yunet`. Two faces count as one person's\n"
        "from a cosine similarity of 0.363, OpenCV's threshold for the photographs of LFW; no accuracy was\n"
        "measured here. Near is no proof: among many strangers some are nearer. Ask the people first.",
    )
    parser.add_argument("picture", metavar="IMAGE", help="its largest face is compared")
    parser.add_argument("other", metavar="IMAGE|FOLDER", help="a folder is searched in full")
    parser.add_argument(
        "-n", type=positive, default=10, metavar="N", help="of a folder: so many (default 10)"
    )
    parser.add_argument("--threshold", type=cosine, default=0.363, metavar="C",
        help="cosine similarity from which it is one person, -1 to 1 (default 0.363)")  # fmt: skip
    shared(parser, "--detector", default="yunet")
    shared(parser, "--json", help="print the result as JSON")


def camera(arguments: argparse.Namespace) -> int:
    from facelib.cli.output_writers import _rounded
    from facelib.vision import video
    from facelib.vision.encoder import FaceEncoder

    if not arguments.json:
        check_window()
    options = {name: getattr(arguments, name) for name in set(READING) - {"gender", "mode"}}
    encoder = FaceEncoder(gender=None, **options)
    device = video.open_camera(arguments.number)
    frames = analysed = 0
    rate, before = 0.0, None
    try:
        for frame in video.watch(device, encoder, arguments.smooth):
            frames, analysed, now = frame.number + 1, analysed + 1, time.perf_counter()
            if before is not None:
                rate += (0.1 if rate else 1) * (1 / max(now - before, 1e-6) - rate)
            before = now
            if arguments.json:
                faces = [_rounded(vars(face)) for face in frame.faces]
                line = {"time": round(frame.time, 4), "frame": frame.number, "rate": round(rate, 1)}
                print(json.dumps(line | {"faces": faces}), flush=True)
            elif not show(annotated(frame), f"{rate:.0f} frames/s, {1 - analysed / frames:.0%} dropped"):
                break
            if arguments.seconds and frame.time >= arguments.seconds:
                break
    finally:
        device.release()
    print(f"{analysed} of {frames} frames analysed; {rate:.0f} frames/s", file=sys.stderr)
    return 0


def check_window() -> None:
    """Raises InputError where OpenCV cannot open a window."""
    import cv2

    other = "use --json, or `facelib analyze film.mp4 --draw annotated/` with a recorded film"
    if not cv2.currentUIFramework():
        raise InputError(
            "this OpenCV has no windows: `pip uninstall opencv-python-headless`, then `pip install "
            f"'opencv-python<5'`; or {other}"
        )
    if sys.platform.startswith("linux") and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    ):
        raise InputError(f"there is no screen here ($DISPLAY is not set); {other}")


def show(picture, words: str) -> bool:
    """Put a picture into the window, with words above its lower edge; False once it was closed."""
    import cv2

    picture = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    place, scale = (10, picture.shape[0] - 12), picture.shape[0] / 900
    for colour, width in (((0, 0, 0), 4), ((255, 255, 255), 1)):
        cv2.putText(picture, words, place, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, width, cv2.LINE_AA)
    cv2.imshow("facelib", picture)
    closed = cv2.waitKey(1) & 0xFF in QUIT
    return not closed and cv2.getWindowProperty("facelib", cv2.WND_PROP_VISIBLE) >= 1


def compare(arguments: argparse.Namespace, complain: Complain) -> int:
    from facelib.vision import recognition
    from facelib.vision.image_io import printable

    options = {"threshold": arguments.threshold, "detector": arguments.detector}
    if os.path.isdir(arguments.other):
        faults = []
        table = recognition.find(
            arguments.picture, arguments.other, arguments.n, report=faults.append, **options
        )
        for fault in faults:
            complain(fault)
        if arguments.json:
            print(table.to_json(orient="records", lines=True, double_precision=4), end="")
        else:
            print(
                f"{'similarity':>10} {'distance':>8} {'same':>5} {'x':>5} {'y':>5} {'w':>5} {'h':>5}  picture"
            )
            for row in table.itertuples():
                same = "yes" if row.same else "no"
                box = f"{row.x:>5} {row.y:>5} {row.w:>5} {row.h:>5}"
                print(f"{row.similarity:>10.3f} {row.distance:>8.3f} {same:>5} {box}  {printable(row.path)}")
        return 1 if faults else 0
    found = recognition.verify(arguments.picture, arguments.other, **options)
    if arguments.json:
        line = {
            "same": found.same,
            "similarity": round(found.similarity, 4),
            "distance": round(found.distance, 4),
        }
        line |= {"threshold": found.threshold, "others": found.others}
        line["faces"] = [{"path": printable(face.path), "box": face.box} for face in found.faces]
        print(json.dumps(line))
        return 0
    print(f"{'the same person' if found.same else 'two persons'}: similarity {found.similarity:.3f} "
          f"(threshold {found.threshold:g}), distance {found.distance:.3f}")  # fmt: skip
    for face, others in zip(found.faces, found.others, strict=True):
        if others:
            complain(f"{face.path}: shows {others} more; its largest face was compared")
    return 0
