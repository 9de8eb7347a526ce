"""Every figure that the package makes, drawn from recorded metrics or from small invented numbers."""

from __future__ import annotations

from functools import cache

import numpy as np
import skimage.data

from facelib.data.synthetic_faces import load_toyfaces
from facelib.emotions import EMOTIONS, GENDERS
from facelib.reporting import (
    confusion_figures,
    dataset_figures,
    generator_figures,
    plots,
    result_figures,
    study_figures,
)
from facelib.study import dataset_audit
from facelib.study.metrics import read_metrics
from facelib.vision.encoder import Face

RNG = np.random.default_rng(0)
read = cache(read_metrics)
NETWORKS = ("facelib", "tiny", "baseline", "fer")


@cache
def toy():
    return load_toyfaces(1000, seed=0)


def faces(n: int) -> np.ndarray:
    return toy().train.images[:n]


def networks() -> dict:
    return {name: read(f"06-emotion-fer2013-privatetest-{name}") for name in NETWORKS}


def curves() -> dict:
    return {name: record["metrics"]["reliability"] for name, record in networks().items()}


def audits() -> dict:
    here, there = (read(f"02-audit-{name}")["metrics"] for name in ("toy", "fer2013"))
    return {"synthetic faces": here, "FER-2013": there}


def confusion(name: str) -> dict:
    found = read("03-confusion-fer2013")["metrics"]
    for key in name.split("/"):
        found = found[key]
    return found


def twice(found) -> dict:
    return {"synthetic faces": found, "FER-2013": found}


def face() -> Face:
    emotions = dict(zip(EMOTIONS, (0.01, 0.02, 0.01, 0.91, 0.01, 0.02, 0.02), strict=True))
    genders = dict(zip(GENDERS, (0.92, 0.08), strict=True))
    eyes = ((201.7, 100.5), (247.5, 103.0))
    return Face((176, 65, 98, 98), eyes, 0.9, "happy", emotions, "woman", genders)


def blocks() -> dict:
    """Networks as stages: name, side, channels, parameters."""
    emotion = [
        ("input", 48, 1, 0), ("conv 5", 44, 64, 1664), ("conv 3", 18, 64, 36928), ("conv 3", 16, 64, 36928),
        ("conv 3", 5, 128, 73856), ("conv 3", 3, 128, 147584), ("dense", 1, 1024, 132096),
        ("dense", 1, 1024, 1049600), ("dense", 1, 7, 7175),
    ]  # fmt: skip
    vgg = [
        ("input", 224, 3, 0), ("2 × conv 3", 112, 64, 38720), ("2 × conv 3", 56, 128, 221440),
        ("3 × conv 3", 28, 256, 1475328), ("3 × conv 3", 14, 512, 5899776), ("3 × conv 3", 7, 512, 7079424),
        ("conv 7", 1, 4096, 102764544), ("conv 1", 1, 4096, 16781312), ("conv 1", 1, 2, 8194),
    ]  # fmt: skip
    return {"DeepFace's emotion network": emotion, "VGG-Face, its gender network": vgg}


def costs() -> dict:
    theirs = {"search for the face": 24.7, "search for the eyes": 3.1, "turn and cut": 0.62}
    theirs |= {"emotion: its network": 1.3, "gender: VGG-Face": 88.0}
    return {"DeepFace": theirs, "facelib": {"search for the face": 9.1, "turn and cut": 0.2, "gender": 0.9}}


def ladders() -> dict:
    steps = np.linspace(0, 1, 7)
    path = RNG.dirichlet(np.ones(7), (7, 12))
    path[..., 2] += steps[:, None] * 2
    path /= path.sum(-1, keepdims=True)
    return {"AU4 and AU20 together": (steps, path, faces(3)), "AU4 alone": (steps, path, faces(3)),
            "AU20 alone": (steps, path, faces(3))}  # fmt: skip


def steadiness() -> dict:
    before = RNG.dirichlet(np.ones(7), 60)
    changes = ("mirrored", "tilted by 10°", "moved by 2 pixels", "darker", "JPEG of quality 30")
    return {
        change: {name: (before, 0.8 * before + 0.2 * RNG.dirichlet(np.ones(7), 60)) for name in NETWORKS[:3]}
        for change in changes
    }


def stages() -> dict:
    parts = {"read": 4.0, "find": 30.0, "turn and cut": 0.6, "emotion": 4.0, "gender": 5.0}
    return {"a photograph": parts, "six drawn people": {name: 2 * ms for name, ms in parts.items()}}


def codes() -> tuple:
    return RNG.normal(size=(3, 64, 8)), RNG.integers(0, 40, (3, 64))


def log() -> list[dict]:
    return [{"epoch": i, "psnr": 20 + i, "ssim": 0.8 + i / 50, "perplexity": 40.0 * i} for i in range(1, 7)]


EVERY = {
    "annotate-panels": lambda: plots.panels(
        [plots.annotate(skimage.data.astronaut(), [face()])] * 2,
        ["what DeepFace searches", "what there was to search"],
    ),
    "panels": lambda: plots.panels(
        faces(5), ["a face", "a quarter", "halfway", "three quarters", "another face"]
    ),
    "network_diagrams": lambda: plots.network_diagrams(blocks()),
    "stage_costs": lambda: plots.stage_costs(costs(), counted=["gender: VGG-Face"]),
    "found_eyes": lambda: plots.found_eyes(
        np.array([24, 48, 97, 194]), {"DeepFace": [0.1, 0.4, 0.7, 0.9], "facelib": [0.5, 0.8, 1.0, 1.0]}
    ),
    "walkthrough": lambda: plots.walkthrough(
        skimage.data.astronaut(), face(), skimage.data.astronaut()[60:170, 170:280], faces(1)[0]
    ),
    "class_counts": lambda: dataset_figures.class_counts(audits()),
    "label_to_answer": lambda: dataset_figures.label_to_answer(audits()),
    "label_flow": lambda: dataset_figures.label_flow(audits()["FER-2013"], "FER-2013"),
    "rare_noisy": lambda: dataset_figures.rare_noisy(audits()),
    "rare_noisy-one": lambda: dataset_figures.rare_noisy({"": audits()["FER-2013"]}),
    "best_recall": lambda: dataset_figures.best_recall(
        audits(), {"FER-2013": ("our network (PublicTest)", networks()["facelib"]["metrics"])}
    ),
    "drawn_faces": dataset_figures.drawn_faces,
    "mean_faces": lambda: dataset_figures.mean_faces(toy().train.images, toy().train.labels),
    "leaks": lambda: dataset_figures.leaks(audits()),
    "twins": lambda: dataset_figures.twins(audits()["FER-2013"], "FER-2013"),
    "quality": lambda: dataset_figures.quality_distributions(
        dataset_audit.quality(toy().train.images).assign(label=toy().train.labels, constant=False),
        "synthetic faces",
        audits()["FER-2013"],
        "FER-2013",
    ),
    "matrices": lambda: confusion_figures.matrices(twice(confusion("confusion"))),
    "directions": lambda: confusion_figures.directions(
        twice(confusion("confusion")),
        [("fear", "surprise"), ("surprise", "fear"), ("fear", "sad"), ("sad", "fear")],
    ),
    "projections": lambda: confusion_figures.projections(
        dict.fromkeys(("PCA", "t-SNE"), RNG.normal(size=(300, 2))), RNG.integers(0, 7, 300)
    ),
    "neighbour_labels": lambda: confusion_figures.neighbour_labels(twice(confusion("features/neighbours"))),
    "pair_areas": lambda: confusion_figures.pair_areas(twice(confusion("features/separability"))),
    "hidden": lambda: confusion_figures.hidden({"FER-2013": confusion("occlusion")}, faces(1)[0]),
    "ladders": lambda: confusion_figures.ladders(ladders()),
    "units": lambda: confusion_figures.units(confusion("units")),
    "sides": lambda: confusion_figures.sides(
        {"FER-2013": {a.replace("_to_", " → "): v["majority"] for a, v in confusion("verdicts").items()}}
    ),
    "confusion-trade": lambda: confusion_figures.trade(
        twice((confusion("bias/curve"), confusion("bias/tuned")))
    ),
    "faces": lambda: generator_figures.faces({name: faces(10) for name in EMOTIONS}),
    "faces-large": lambda: generator_figures.faces(
        {"as it was": faces(4), "written and read": faces(4)}, enlarge=3
    ),
    "learning": lambda: generator_figures.learning(log(), started=2.4),
    "plane": lambda: generator_figures.plane(
        RNG.normal(size=(400, 2)),
        {name: 3 * RNG.normal(size=(16, 2)) for name in ("at random", "k-means", "averages")},
    ),
    "staircase": lambda: generator_figures.staircase(
        np.array([-1.5, -0.5, 0.5, 1.5]), np.array([-2.0, -1.3, -0.8, -0.2, 0.25, 0.95, 1.9])
    ),
    "curves": lambda: generator_figures.curves(
        {"gradient": np.linspace(10, 90, 12), "averages": np.linspace(10, 200, 12)}, 256, "perplexity, of 256"
    ),
    "codebooks": lambda: generator_figures.codebooks(*codes()),
    "positions": lambda: generator_figures.positions(
        {e: (faces(1)[0], RNG.random((6, 6))) for e in EMOTIONS[:4]}
    ),
    "read_and_drawn": lambda: generator_figures.read_and_drawn(
        {"pixels": (40, 0.6), "the same, untrained": (16, 0.3), "trained for emotion": (20, 0.62)},
        arrow=("the same, untrained", "trained for emotion"),
    ),
    "agreement": lambda: generator_figures.agreement(read("08-generator-fer2013")),
    "overview": lambda: result_figures.overview(
        networks(), read("06-speed"), {"accuracy": 0.68, "disgust": 0.4, "fear": 0.28}
    ),
    "duels": lambda: result_figures.duels(networks()),
    "recalls": lambda: result_figures.recalls(networks(), dict.fromkeys(EMOTIONS, 0.4)),
    "reliability": lambda: result_figures.reliability(curves()),
    "rejections": lambda: result_figures.rejections(curves()),
    "prices": lambda: result_figures.prices(networks(), read("06-speed")),
    "views": lambda: result_figures.views(networks()),
    "stages": lambda: result_figures.stages(stages()),
    "steadiness": lambda: result_figures.steadiness(steadiness()),
    "timeline": lambda: result_figures.timeline(
        {i: (np.arange(0, 40, 0.2), RNG.dirichlet(np.ones(7), 200)) for i in (1, 2)}
    ),
    "methods": lambda: study_figures.methods(read("04-imbalance-fer2013")),
    "two-stage": lambda: study_figures.stages(read("05-two-stage-fer2013")),
    "generated": lambda: study_figures.methods(read("08-generated-fer2013")),
    "study-trade": lambda: study_figures.trade(read("04-imbalance-fer2013")),
    "study-recalls": lambda: study_figures.recalls(read("04-imbalance-fer2013")),
    "study-recalls-two-stage": lambda: study_figures.recalls(read("05-two-stage-fer2013")),
    "study-views": lambda: study_figures.views(read("04-imbalance-fer2013")),
    "forgetting": lambda: study_figures.forgetting(read("05-two-stage-fer2013")),
}
