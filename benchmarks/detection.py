"""Which faces are found, and what a confidence means: facelib's detectors beside DeepFace's OpenCV one.

A box counts as right when it overlaps an annotated face by at least 0.4 (intersection over union; 0.3 in a
folder that marks masked faces, as its boxes reach to hair and chin), each face once. Settings and confidences
in facelib/vision/detection.py were chosen on these photographs: what this prints for them is no independent
measurement.

    python benchmarks/detection.py --photos DIR … --yunet FILE     writes reports/metrics/01-detection*.json

Each DIR holds photographs and boxes.json: a list of {"file", "boxes"}, boxes a list of [x, y, w, h] or of
{"box": [x, y, w, h], "masked": true or false}, or null where nobody annotated.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from pathlib import Path

import numpy as np
from framing import overlap
from sklearn.linear_model import LogisticRegression

from facelib.models import registry
from facelib.study import metrics
from facelib.vision import deepface_pipeline, detection, image_io


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=Path, nargs="+", required=True)
    parser.add_argument("--yunet", type=Path, help="a YuNet file (default: the fetched one)")
    arguments = parser.parse_args()
    contenders = {
        "deepface (opencv)": deepface_pipeline.extract_faces,
        "facelib haar": detection.HaarDetector(),
        "facelib yunet": detection.YuNetDetector(arguments.yunet or registry.locate("yunet")),
    }
    scores = []
    for folder in arguments.photos:
        annotated = json.loads((folder / "boxes.json").read_text())
        pictures = {row["file"]: image_io.read_image(folder / row["file"]) for row in annotated}
        content = hashlib.sha256(b"".join(image.tobytes() for image in pictures.values()))
        rows = [
            {"detector": name, **measured(each, annotated, pictures)} for name, each in contenders.items()
        ]
        print(folder.name, *rows, sep="\n", flush=True)
        every = detection.YuNetDetector(contenders["facelib yunet"].model, 0.0)
        scores += measured(every, annotated, pictures, True)
        metrics.write_metrics(
            "01-detection" + f"-{folder.name}" * (folder.name != "photos"),
            {"n": rows[0]["annotated"], "split": f"all photographs of {folder.name}", "rows": rows},
            command="python benchmarks/detection.py --photos DIR --yunet FILE",
            data=content.hexdigest()[:16],
        )
    logits = np.array([np.log(c / (1 - c)) for c, _ in scores])
    raw = logits / detection.YuNetDetector.SLOPE + detection.YuNetDetector.MIDDLE
    fitted = LogisticRegression(C=1e6).fit(raw[:, None], [hit for _, hit in scores])
    slope, offset = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
    print(f"YuNet's confidence, {len(scores)} boxes: middle {-offset / slope:.3f}, slope {slope:.1f}")


def measured(detect, annotated: list[dict], pictures: dict, scores: bool = False):
    """Annotated faces that a detector finds, false boxes, processor seconds; or each box's confidence and
    whether it is right. Masked faces count as neither."""
    right = wrong = total = unannotated = 0
    sure, seconds = [], 0.0
    for row in annotated:
        start = time.process_time()
        faces = detect(pictures[row["file"]])
        seconds += time.process_time() - start
        if row["boxes"] is None and row["file"] != "dogs.jpg":
            unannotated += len(faces)
            continue
        marked = [box for box in row["boxes"] or [] if isinstance(box, dict)]
        left = [(box["box"], box["masked"]) for box in marked] or [(b, False) for b in row["boxes"] or []]
        total += sum(not masked for _, masked in left)
        for face in faces:
            best = max(left, key=lambda each: overlap(face.box, each[0]), default=None)
            hit = best is not None and overlap(face.box, best[0]) >= (0.3 if marked else 0.4)
            if hit:
                left.remove(best)
            right, wrong = right + (hit and not best[1]), wrong + (not hit)
            sure.append((face.confidence, hit))
    if scores:
        return sure
    return {"found": right, "annotated": total, "false": wrong, "in_unannotated_pictures": unannotated,
            "seconds": round(seconds, 2)}  # fmt: skip


if __name__ == "__main__":
    main()
