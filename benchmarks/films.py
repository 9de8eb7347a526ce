"""How many frames a second: the package fer and facelib on the same film, each in a process of its own.

    python benchmarks/films.py                      # 20 seconds of 720p made from scikit-image's astronaut
    python benchmarks/films.py --film FILM          # a film of yours
    python benchmarks/films.py --seconds 60 600 --only followed      # does memory grow with the film?

Contenders, with OpenCV's cascades unless ``--detector`` says otherwise; every frame is analysed:

    fer        the package's `Video.analyze` with its defaults (its network in TensorFlow Lite), but for the
               pictures and the film that it would also write
    followed   `facelib.vision.video`, the tiny network; the detector as often as by default, five times a
               second
    third      the same, the detector on each third frame
    searched   the same, the detector on each frame
    facelib    as followed, with the network facelib

Each gets a start (imports, loading, half a second of film) that is reported apart. Seconds of processor time
are what counts on a machine with other work to do; of the wall clock, frames per second are given as well.
fer 25.10 needs pkg_resources: `pip install --no-deps fer==25.10.3 'setuptools<81'`.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

CONTENDERS = ("fer", "followed", "third", "searched", "facelib")


def make_film(path: Path, seconds: float, rate: int = 30) -> Path:
    """One face that moves in front of a wall with grain, 1280x720."""
    import cv2
    import numpy as np
    import skimage.data

    rng = np.random.default_rng(0)
    face = skimage.data.astronaut()[..., ::-1]
    walls = [rng.integers(90, 120, (720, 1280, 3), np.uint8) for _ in range(8)]
    film = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), rate, (1280, 720))
    for number in range(round(seconds * rate)):
        t, frame = number / rate, walls[number % 8].copy()
        x, y = round(384 + 350 * np.sin(0.4 * t)), round(104 + 90 * np.sin(0.7 * t))
        frame[y : y + 512, x : x + 512] = face
        film.write(frame)
    film.release()
    return path


def contender(name: str, detector: str):
    """A function from a film to the numbers of its frames and of the faces found."""
    if name == "fer":
        import cv2

        cv2.waitKey, cv2.destroyAllWindows = lambda _: -1, lambda: None  # not in the headless wheel
        from fer.classes import Video
        from fer.fer import FER

        fer = FER()

        def run(film: str) -> tuple[int, int]:
            with tempfile.TemporaryDirectory() as folder:
                off = dict.fromkeys(("save_frames", "save_video", "annotate_frames", "zip_images"), False)
                found = Video(film, outdir=folder).analyze(fer, **off)
            frames = int(cv2.VideoCapture(film).get(cv2.CAP_PROP_FRAME_COUNT))  # found: those with a face
            return frames, sum(column.startswith("box") for row in found for column in row)

        return run
    from facelib.vision import video
    from facelib.vision.encoder import FaceEncoder

    encoder = FaceEncoder(detector, "facelib" if name == "facelib" else "tiny", None)

    looks = {"third": 3, "searched": 1}.get(name)

    def run(film: str) -> tuple[int, int]:
        frames = faces = 0
        for frame in video.stream(film, encoder, every=0, detect_every=looks):
            frames, faces = frames + 1, faces + len(frame.faces)
        return frames, faces

    return run


def measure(name: str, film: str, short: str, detector: str) -> dict:
    begin = time.perf_counter()
    run = contender(name, detector)
    run(short)
    ready, cpu = time.perf_counter(), time.process_time()
    frames, faces = run(film)
    seconds, cpu = time.perf_counter() - ready, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {
        "frames": frames,
        "faces": faces,
        "frames_per_s": round(frames / seconds, 1),
        "cpu_ms_a_frame": round(1000 * cpu / frames, 2),
        "peak_rss_mb": round(peak / 1e6),
        "start_s": round(ready - begin, 1),
    }


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="films.py"
    )
    parser.add_argument("--film", help="a film of yours")
    parser.add_argument(
        "--seconds", type=float, nargs="+", default=[20], help="lengths of films that are made"
    )
    parser.add_argument("--only", choices=CONTENDERS, action="append", help="repeatable (default all)")
    parser.add_argument("--detector", default="haar", help="facelib's: haar, yunet or a YuNet file")
    parser.add_argument("--output", type=Path, help="JSON file")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        print(json.dumps(measure(*options.child)))
        return 0
    rows = []
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    with tempfile.TemporaryDirectory(prefix="films-") as scratch:
        short = make_film(Path(scratch) / "short.mp4", 0.5)
        print(
            f"{'':10} {'frames':>7} {'faces':>6} {'frames/s':>9} {'CPU ms':>7} {'peak MB':>8} {'start s':>8}"
        )
        for seconds in [0] if options.film else options.seconds:
            film = options.film or make_film(Path(scratch) / f"{seconds:g}.mp4", seconds)
            for name in options.only or CONTENDERS:
                command = [
                    sys.executable,
                    __file__,
                    "--child",
                    name,
                    os.path.abspath(film),
                    str(short),
                    options.detector,
                ]
                done = subprocess.run(
                    command, env=environment, capture_output=True, text=True, check=False, cwd=scratch
                )
                if done.returncode:
                    print(f"{name}: failed: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
                    continue
                row = {"name": name, **json.loads(done.stdout.strip().splitlines()[-1])}
                rows.append(row)
                numbers = "{frames:7d} {faces:6d} {frames_per_s:9.1f} {cpu_ms_a_frame:7.2f} {peak_rss_mb:8d}"
                print(f"{name:10} {numbers.format(**row)} {row['start_s']:8.1f}", flush=True)
    if options.output:
        options.output.write_text(json.dumps({"load": os.getloadavg()[0], "rows": rows}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
