"""How many photographs a second: DeepFace and facelib, emotion and gender, each in a process of its own.

    python benchmarks/throughput.py                       # 200 pictures made from scikit-image's astronaut
    python benchmarks/throughput.py --photos DIR          # made from the photographs in DIR as well
    python benchmarks/throughput.py --n 20 --only facelib # a quick look
    python benchmarks/throughput.py --yunet FILE          # where YuNet was not fetched

Four contenders, of which all but the second find faces with OpenCV's cascades:

    deepface   the package, its defaults: detector opencv, its emotion network, VGG-Face for gender
    facelib    FaceEncoder(), our defaults: the detector is YuNet where it was fetched, or given by --yunet
    haar       FaceEncoder(detector="haar"), our networks
    same nets  FaceEncoder(detector="haar", emotion="deepface", gender="deepface"): DeepFace's two networks
               in our pipeline, which tells what the pipeline gives and what the smaller networks give

Each gets the same files, environment and cores, three pictures to warm up (imports, loading and tracing are
reported apart, as "start"), and is then timed from the first file to the last result. DeepFace's networks
have random weights: the work is the same whatever the numbers are. Peak memory is the process's largest
resident set, start included. The machine should have nothing else to do; the load before the runs is
written down beside the result.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

CONTENDERS = {
    "deepface": "deepface (detector opencv, emotion, VGG-Face gender)",
    "facelib": "facelib (defaults: detector {})",
    "haar": 'facelib (detector "haar")',
    "same nets": 'facelib (detector "haar", emotion and gender "deepface")',
}
SIZES = ((500, 375), (640, 480), (800, 600), (1024, 768), (1280, 960), (1600, 1200))
WARM_UP = 3
YUNET = "THROUGHPUT_YUNET"  # tells the contender's process which file to take
EXTENSIONS = {".jpg", ".jpeg", ".png"}


# --- the pictures -------------------------------------------------------------------------------------


def make_pictures(folder: Path, n: int, seed: int, photos: list[Path]) -> None:
    """Write n JPEG files: random parts of the sources at six sizes, a quarter of them as 2x2 tiles."""
    import skimage.data
    from PIL import Image

    found = [p for d in photos for p in sorted(d.iterdir()) if p.suffix.lower() in EXTENSIONS]
    sources = [Image.fromarray(skimage.data.astronaut()), *(Image.open(p).convert("RGB") for p in found)]
    rng = np.random.default_rng(seed)

    def part(width: int, height: int) -> Image.Image:
        source = sources[rng.integers(len(sources))]
        scale = rng.uniform(0.7, 1.0) * min(source.width / width, source.height / height)
        w, h = width * scale, height * scale
        x, y = rng.uniform(0, source.width - w), rng.uniform(0, source.height - h)
        piece = source.resize((width, height), Image.Resampling.BICUBIC, (x, y, x + w, y + h))
        return piece.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else piece

    for i in range(n):
        width, height = SIZES[i % len(SIZES)]
        picture = part(width, height)
        if rng.random() < 0.25:
            for corner in ((0, 0), (width // 2, 0), (0, height // 2), (width // 2, height // 2)):
                picture.paste(part(width // 2, height // 2), corner)
        picture.save(folder / f"{i:04d}.jpg", quality=90)


# --- in the contender's process -----------------------------------------------------------------------


def write_weights(home: Path) -> None:
    """Random weights for DeepFace's two networks, where it looks for them."""
    from facelib.models import deepface

    folder = home / ".deepface" / "weights"
    folder.mkdir(parents=True)
    deepface.emotion_network().save(folder / deepface.WEIGHT_FILES["emotion"])
    deepface.gender_network().save(folder / deepface.WEIGHT_FILES["gender"])


def contender(name: str):
    """A function from a list of files to the number of faces found in them."""
    if name == "deepface":
        from deepface import DeepFace

        def run(files: list[str]) -> int:
            faces = 0
            for file in files:
                # Without enforce_detection=False a picture without a face is an error; with it, the whole
                # picture passes for a face of confidence 0 and goes through both networks.
                found = DeepFace.analyze(
                    file,
                    actions=["emotion", "gender"],
                    detector_backend="opencv",
                    enforce_detection=False,
                    silent=True,
                )
                faces += sum(face["face_confidence"] > 0 for face in found)
            return faces

        return run

    import facelib

    options = {"detector": os.environ.get(YUNET, "auto") if name == "facelib" else "haar"}
    options |= {"emotion": "deepface", "gender": "deepface"} if name == "same nets" else {}
    encoder = facelib.FaceEncoder(**options)
    CONTENDERS[name] = CONTENDERS[name].format(encoder.detector_name)
    return lambda files: len(encoder(files))


def measure(name: str, folder: Path) -> dict:
    files = sorted(map(str, folder.iterdir()))
    begin = time.perf_counter()
    run = contender(name)
    run(files[:WARM_UP])
    ready = time.perf_counter()
    cpu = time.process_time()
    faces = run(files)
    seconds, cpu = time.perf_counter() - ready, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {
        "what": CONTENDERS[name],
        "pictures_per_s": len(files) / seconds,
        "seconds": seconds,
        "cpu_seconds": cpu,
        "start_s": ready - begin,
        "faces": int(faces),
        "peak_rss_mb": peak / 1e6,
    }


# --- in the caller's process --------------------------------------------------------------------------


def in_a_child(task: str, argument: Path, environment: dict[str, str]) -> dict | None:
    command = [sys.executable, __file__, "--child", task, str(argument)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{task} failed:\n{done.stderr.strip()[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def machine() -> dict:
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [
            s.split(":", 1)[1].strip() for s in info.read_text().splitlines() if s.startswith("model name")
        ]
        model = names[0] if names else model
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"cpu": model, "cores": cores, "load_before": round(os.getloadavg()[0], 2)}


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in (
        "deepface",
        "tf-keras",
        "tensorflow",
        "tensorflow-cpu",
        "keras",
        "numpy",
        "opencv-python-headless",
    ):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def summary(name: str, runs: list[dict]) -> dict:
    """The medians of a contender's runs; the rate of each run beside them."""
    row = {"name": name, "what": runs[0]["what"]}
    for key in runs[0].keys() - {"what"}:
        middle = statistics.median(run[key] for run in runs)
        row[key] = int(middle) if key == "faces" else round(middle, 3)
    row["runs_pictures_per_s"] = [round(run["pictures_per_s"], 3) for run in runs]
    return row


def table(rows: list[dict]) -> str:
    base = next((row for row in rows if row["name"] == "deepface"), None)
    lines = [f"{'':10} {'pictures/s':>10} {'times':>7} {'cpu':>7} {'faces':>6} {'peak MB':>8} {'start s':>8}"]
    for row in rows:
        times = f"{row['pictures_per_s'] / base['pictures_per_s']:.1f}x" if base else "-"
        work = f"{base['cpu_seconds'] / row['cpu_seconds']:.1f}x" if base else "-"
        lines.append(
            f"{row['name']:10} {row['pictures_per_s']:10.2f} {times:>7} {work:>7} {row['faces']:6d} "
            f"{row['peak_rss_mb']:8.0f} {row['start_s']:8.1f}  {row['what']}"
        )
    return "\n".join(lines)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="throughput.py"
    )
    add = parser.add_argument
    add("--n", type=int, default=200, help="how many pictures (default 200)")
    add("--seed", type=int, default=0, help="which pictures are made (default 0)")
    add("--photos", type=Path, action="append", default=[], metavar="DIR", help="further sources; repeatable")
    add(
        "--yunet",
        type=Path,
        metavar="FILE",
        help="the default's detector (default: YuNet if fetched, or Haar)",
    )
    add("--only", choices=CONTENDERS, action="append", help="this contender; repeatable (default all)")
    add("--repeats", type=int, default=1, help="rounds over all contenders; medians are reported (default 1)")
    add("--threads", type=int, help="threads for each contender (default: as many as the libraries like)")
    add("--output", type=Path, help="JSON file (default reports/metrics/01-throughput.json; - for none)")
    add("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.n < 1 or options.repeats < 1 or (options.threads or 1) < 1:
        parser.error("--n, --repeats and --threads are at least 1")
    for folder in options.photos:
        if not folder.is_dir():
            parser.error(f"--photos {folder}: no such folder")
    if options.yunet and not options.yunet.is_file():
        parser.error(f"--yunet {options.yunet}: no such file")
    return options


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    if options.child:
        task, argument = options.child
        answer = write_weights(Path(argument)) if task == "weights" else measure(task, Path(argument))
        print(json.dumps(answer))
        return 0
    names = [name for name in CONTENDERS if name in (options.only or CONTENDERS)]
    if "deepface" in names and not importlib.util.find_spec("deepface"):
        print(
            "deepface is not installed; install the peers (see the README) or use --only facelib",
            file=sys.stderr,
        )
        return 1
    from facelib.study import metrics

    about = machine()
    with tempfile.TemporaryDirectory(prefix="throughput-") as scratch:
        pictures, home = Path(scratch) / "pictures", Path(scratch) / "home"
        pictures.mkdir()
        home.mkdir()
        environment = os.environ | {
            "DEEPFACE_HOME": str(home),
            "DEEPFACE_BACKEND_ENGINE": "tensorflow",
            "KERAS_BACKEND": "tensorflow",
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "CUDA_VISIBLE_DEVICES": "",
        }
        if options.yunet:
            environment[YUNET] = str(options.yunet.resolve())
        if options.threads:
            for variable in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "OPENCV_FOR_THREADS_NUM"):
                environment[variable] = str(options.threads)
        print(f"making {options.n} pictures", file=sys.stderr)
        make_pictures(pictures, options.n, options.seed, options.photos)
        if {"deepface", "same nets"} & set(names):
            print("writing random weights (540 MB, removed at the end)", file=sys.stderr)
            in_a_child("weights", home, environment)
        runs: dict[str, list[dict]] = {name: [] for name in names}
        for _ in range(options.repeats):
            for name in names:
                runs[name].append(in_a_child(name, pictures, environment))
                print(f"{name}: {runs[name][-1]['pictures_per_s']:.2f} pictures/s", file=sys.stderr)
    rows = [summary(name, runs[name]) for name in names]
    print(table(rows))
    if str(options.output) == "-":
        return 0
    command = ["python benchmarks/throughput.py", f"--n {options.n} --seed {options.seed}"]
    command += ["--photos DIR" for _ in options.photos] + ["--yunet FILE"] * bool(options.yunet)
    command += [f"--only '{name}'" for name in options.only or []]
    command += [f"--repeats {options.repeats}"]
    command += [f"--threads {options.threads}"] if options.threads else []
    report = {"n": options.n, "seed": options.seed, "machine": about, "versions": versions(), "rows": rows}
    if options.output is None:
        target = metrics.write_metrics("01-throughput", report, command=" ".join(command))
    else:
        target = options.output
        target.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"written: {os.path.relpath(target)}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
