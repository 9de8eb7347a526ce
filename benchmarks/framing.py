"""How much of a face does FER-2013 show? The measurement behind ``MARGIN`` in facelib/vision/detection.py.

FER-2013's pictures are crops already, so a detector's box on them says little: it is cut off where the
picture ends. Distances between landmarks are not. YuNet finds eyes and mouth in both FER-2013 and whole
photographs; with s the side of FER-2013's picture, e the distance between the eyes, and w the side of a
detector's box on whole photographs, the margin is (s / e) on FER-2013 divided by (w / e) on the photographs.
The same from eyes to mouth checks it, since a turned head shortens one of the two but not the other.

    python benchmarks/framing.py --photos DIR --yunet FILE      writes reports/metrics/01-framing.json
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from facelib.data import fer2013
from facelib.models import registry
from facelib.study import metrics
from facelib.vision import detection, image_io


def landmarks(network, image: np.ndarray, zoom: float, score: float) -> np.ndarray:
    """(faces, 15) float64: YuNet's box, five points and score, in pixels of ``image`` (RGB)."""
    large = cv2.resize(image, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC)
    network.setInputSize((large.shape[1], large.shape[0]))
    _, rows = network.detect(cv2.cvtColor(large, cv2.COLOR_RGB2BGR))
    rows = np.empty((0, 15)) if rows is None else rows.astype(np.float64)
    rows[:, :14] /= zoom
    return rows[rows[:, 14] >= score]


def measure(row: np.ndarray) -> tuple[float, float, float, float, float]:
    """Distance between the eyes, from eyes to mouth, and x, y of the point between, y of the eyes."""
    eyes, mouth = (row[4:6] + row[6:8]) / 2, (row[10:12] + row[12:14]) / 2
    middle = (eyes + mouth) / 2
    return np.hypot(*(row[6:8] - row[4:6])), mouth[1] - eyes[1], middle[0], middle[1], eyes[1]


def overlap(a, b) -> float:
    w = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    h = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = max(0.0, w) * max(0.0, h)
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=Path, required=True, help="a folder of whole photographs")
    parser.add_argument("--yunet", type=Path, help="a YuNet file (default: the fetched one)")
    parser.add_argument("--n", type=int, default=2500, help="pictures of FER-2013 (default 2500)")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    model = str(arguments.yunet or registry.locate("yunet"))
    network = cv2.FaceDetectorYN.create(model, "", (192, 192), 0.6, 0.3, 5000)

    data = fer2013.load_fer2013()
    rng = np.random.default_rng(arguments.seed)
    fer = []
    for i in rng.choice(len(data.train), arguments.n, replace=False):
        rows = landmarks(network, np.repeat(data.train.images[i][..., None], 3, axis=2), 4, 0.6)
        if len(rows):
            fer.append(np.array(measure(rows[0])) / 48)
    fer = np.array(fer)

    # Detection sizes as in facelib; the box of every face that both detectors found.
    haar = detection.HaarDetector(min_confidence=0.5)
    in_use = {"haar": detection.HaarDetector, "yunet": detection.YuNetDetector}
    pairs = {name: [] for name in in_use}
    for path in image_io.find_images([arguments.photos]):
        image = image_io.read_image(path)
        rows = landmarks(network, image, 2 if max(image.shape) < 800 else 1, 0.75)
        boxes = [face.frame for face in haar(image)]
        boxes = [(cx - s / 2, cy - s / 2, s, s) for cx, cy, s in boxes]
        for row in rows:
            eyes, mouth, x, y, _ = measure(row)
            pairs["yunet"].append((row[3] / eyes, row[3] / mouth, (row[1] + row[3] / 2 - y) / row[3]))
            for box in boxes:
                if overlap(box, row[:4]) > 0.4:
                    pairs["haar"].append((box[2] / eyes, box[2] / mouth, (box[1] + box[3] / 2 - y) / box[2]))

    side_eyes, side_mouth = 1 / np.median(fer[:, 0]), 1 / np.median(fer[:, 1])
    found = {
        "eye_distance": np.median(fer[:, 0]),
        "eyes_to_mouth": np.median(fer[:, 1]),
        "eyes_x": np.median(fer[:, 2]),
        "eyes_y": np.median(fer[:, 4]),
        "middle_y": np.median(fer[:, 3]),
        "n": len(fer),
    }
    rows = [{"name": "FER-2013, in parts of the side", **found}]
    for name, values in pairs.items():
        values = np.array(values)
        draws = rng.integers(0, len(values), (2000, len(values)))
        by_eyes, by_mouth = side_eyes / np.median(values[:, 0]), side_mouth / np.median(values[:, 1])
        both = (
            side_eyes / np.median(values[draws, 0], axis=1) + side_mouth / np.median(values[draws, 1], axis=1)
        ) / 2
        margin = (by_eyes + by_mouth) / 2
        # Where FER-2013's centre lies above the box's, in parts of the box: 0 needs no correction.
        offset = (np.median(fer[:, 3]) - 0.5) * margin + np.median(values[:, 2])
        rows.append(
            {
                "name": name,
                "margin": margin,
                "margin_interval": np.percentile(both, [2.5, 97.5]).tolist(),
                "margin_by_eyes": by_eyes,
                "margin_by_mouth": by_mouth,
                "offset_y": offset,
                "margin_in_use": in_use[name].MARGIN,
                "n": len(values),
            }
        )
    for row in rows:
        print({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()})
    metrics.write_metrics(
        "01-framing",
        {"n": len(fer), "split": "Training", "seed": arguments.seed, "rows": rows},
        command="python benchmarks/framing.py --photos DIR --yunet FILE",
        data=data,
    )


if __name__ == "__main__":
    main()
