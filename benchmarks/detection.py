"""Which faces are found, and what a confidence means: facelib's detectors beside DeepFace's OpenCV one.

A box counts as right when it overlaps an annotated face by at least 0.4 (intersection over union), each face
once. The settings in facelib/vision/detection.py, and the two numbers that turn each detector's score into a
confidence, were chosen by hand on such a table of scores (--scores), from these same photographs: what this
prints for them is no independent measurement of facelib's detectors.

    python benchmarks/detection.py --photos DIR --yunet FILE     writes reports/metrics/01-detection.json

DIR holds photographs and boxes.json: a list of {"file", "boxes": [[x, y, w, h], …] or null}.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from pathlib import Path

import numpy as np
from framing import overlap

from facelib.models import registry
from facelib.study import metrics
from facelib.vision import deepface_pipeline, detection, image_io


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--yunet", type=Path, help="a YuNet file (default: the fetched one)")
    parser.add_argument(
        "--scores", action="store_true", help="also print every box's confidence, right or wrong"
    )
    arguments = parser.parse_args()
    annotated = json.loads((arguments.photos / "boxes.json").read_text())
    pictures = {row["file"]: image_io.read_image(arguments.photos / row["file"]) for row in annotated}
    yunet = arguments.yunet or registry.locate("yunet")
    contenders = {
        "deepface (opencv)": deepface_pipeline.extract_faces,
        "facelib haar": detection.HaarDetector(),
        "facelib yunet": detection.YuNetDetector(yunet),
    }
    rows = []
    for name, detect in contenders.items():
        right = wrong = unannotated = 0
        sure = []
        seconds = 0.0
        for row in annotated:
            start = time.perf_counter()
            faces = detect(pictures[row["file"]])
            seconds += time.perf_counter() - start
            if row["boxes"] is None and row["file"] != "dogs.jpg":
                unannotated += len(faces)
                continue
            left = list(row["boxes"] or [])
            for face in faces:
                best = max(left, key=lambda box: overlap(face.box, box), default=None)
                hit = best is not None and overlap(face.box, best) >= 0.4
                if hit:
                    left.remove(best)
                right, wrong = right + hit, wrong + (not hit)
                sure.append((face.confidence, hit))
        total = sum(len(row["boxes"] or []) for row in annotated)
        rows.append({"detector": name, "found": right, "annotated": total, "false": wrong,
                     "in_unannotated_pictures": unannotated, "seconds": round(seconds, 2)})  # fmt: skip
        if name.startswith("facelib"):
            rows[-1]["mean_confidence_of_right"] = round(float(np.mean([c for c, hit in sure if hit])), 3)
        print(rows[-1])
        if arguments.scores:
            print("  ", sorted(((round(c, 2), bool(hit)) for c, hit in sure), reverse=True))
    digest = hashlib.sha256(b"".join(image.tobytes() for image in pictures.values())).hexdigest()[:16]
    metrics.write_metrics(
        "01-detection",
        {"n": rows[0]["annotated"], "split": "all photographs of DIR", "rows": rows},
        command="python benchmarks/detection.py --photos DIR --yunet FILE",
        data=digest,
    )


if __name__ == "__main__":
    main()
