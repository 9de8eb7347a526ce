"""What the README quotes is what the metrics files say, and what it names exists."""

import re
from pathlib import Path

import pytest

from facelib.emotions import EMOTIONS
from facelib.study import metrics

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _percent(value):
    return f"{100 * value:.1f} %"


def _quoted():
    for model in ("facelib", "facelib-mirror", "tiny", "fer", "baseline"):
        emotion = metrics.read_metrics(f"06-emotion-fer2013-privatetest-{model}")["metrics"]
        yield _percent(emotion["accuracy"])
        yield "{:.1f}–{:.1f}".format(*(100 * v for v in emotion["accuracy_interval"]))
        yield _percent(emotion["unseen"]["accuracy"])
        yield "{:.3f} | {:.3f} | {:.3f} | {:.3f}".format(
            emotion["macro_f1"], emotion["recall"]["fear"], emotion["recall"]["disgust"], emotion["ece"]
        )
    speed = {row["model"]: row for row in metrics.read_metrics("06-speed")["metrics"]["rows"]}
    for model in ("facelib", "tiny", "fer"):
        yield f"{speed[model]['one_face_ms']:.1f} ms"
        yield f"{speed[model]['of_64_ms_a_face']:.2g}"
    rows = {row["name"]: row for row in metrics.read_metrics("04-imbalance-fer2013")["metrics"]["rows"]}
    for arm in (rows["none"]["all"], rows["over"]["all"]):
        yield from map(_percent, (arm["accuracy"], arm["recall"]["disgust"], arm["recall"]["fear"]))
    rows = {row["name"]: row for row in metrics.read_metrics("05-two-stage-fer2013")["metrics"]["rows"]}
    yield _percent(rows["rare"]["all"]["accuracy"])
    yield _percent(rows["none"]["all"]["balanced_accuracy"])
    gradual = rows["gradual"]["all"]
    yield from map(_percent, (gradual["accuracy"], gradual["balanced_accuracy"]))
    yield from map(_percent, (gradual["recall"]["disgust"], gradual["recall"]["fear"]))
    for detector in ("yunet", "haar"):
        gender = metrics.read_metrics(f"01-gender-{detector}")["metrics"]
        yield _percent(gender["accuracy_colour"])
        yield _percent(gender["accuracy_gray"])
        yield _percent(gender["found"])
    for row in metrics.read_metrics("01-detection")["metrics"]["rows"]:
        yield f"{row['found']} of {row['annotated']}"
    for row in metrics.read_metrics("01-throughput")["metrics"]["rows"]:
        yield f"{row['pictures_per_s']:.2f}"
        yield f"{row['peak_rss_mb']:.0f} MB"
    codec = metrics.read_metrics("08-codec-fer2013")["metrics"]
    yield f"PSNR {codec['psnr']:.1f} dB, SSIM {codec['ssim']:.2f}"
    yield from (_percent(codec[kept]) for kept in ("kept", "kept_uncoded"))
    generator = metrics.read_metrics("08-generator-fer2013")["metrics"]
    for row in (generator["agreement"][key] for key in ("plain", "best", "real")):
        yield " | ".join(f"{100 * row['recall'][name]:.0f} %" for name in EMOTIONS)
        yield _percent(row["balanced_accuracy"])
        yield "[{:.1f}–{:.1f}]".format(*(100 * v for v in row["balanced_accuracy_interval"]))
    ratios = [row["ratio"] for row in generator["diversity"].values()]
    yield f"{sum(ratios) / len(ratios):.2f} times as various"
    yield f"({min(ratios):.2f} to {max(ratios):.2f})"
    for name in ("generated", "reconstructions", "PublicTest"):
        yield f"{generator['distance'][name]['frechet']:.2f}"
    yield from (_percent(found["rate"]) for found in generator["copies"].values())
    yield _percent(generator["edit"]["read"])
    yield f"SSIM of {generator['edit']['ssim_outside']:.2f}"
    yield from (
        f"{generator[key]['precision']:.2f} and {word}{generator[key]['recall']:.2f}"
        for key, word in {"coverage": "recall ", "coverage_of_real": ""}.items()
    )
    rows = {
        row["name"]: row["all"] for row in metrics.read_metrics("08-generated-fer2013")["metrics"]["rows"]
    }
    yield from (_percent(rows[arm]["accuracy"]) for arm in ("none", "generated", "generated-only"))
    yield from (_percent(rows[arm]["recall"]["disgust"]) for arm in ("none", "generated", "over-rare"))
    pushed = next(
        row
        for row in metrics.read_metrics("08-generated-fer2013")["metrics"]["rows"]
        if row["name"] == "over-rare"
    )
    gained, lost = (pushed["against_none"][view] for view in ("all", "majority"))
    points = [100 * value for value in (gained["recall"]["fear"], gained["macro_f1"])]
    yield "recall rises by {:.1f} points and macro-F1 by {:.1f}".format(*points)
    after = pushed["majority"]["macro_f1"]
    yield f"falls from {after - lost['macro_f1']:.3f} to {after:.3f}"
    beyond = metrics.read_metrics("02-beyond-votes-fer2013")["metrics"]
    yield from (_percent(beyond[reader]["recall"]) for reader in ("network", "balanced_reader"))
    yield from (_percent(beyond["unvoted"]["fear"][which]) for which in ("labelled", "others"))
    audit = metrics.read_metrics("02-audit-fer2013")["metrics"]
    yield _percent(audit["agreement"]["overall"])
    yield _percent(audit["agreement"]["of"]["fear"])


def test_every_number_stands_in_a_metrics_file():
    missing = [number for number in _quoted() if number not in README]
    assert not missing, f"README.md does not say {missing}"


def test_no_number_in_the_results_is_without_a_file():
    """Percentages in the section on results are among those that the files give."""
    results = README.split("## Results")[1].split("\n## ")[0]
    known = set(_quoted())
    strangers = [n for n in re.findall(r"\d+\.\d %", results) if n not in known]
    assert not strangers, f"no metrics file says {strangers}"


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#:]+)\)", README))
def test_links_lead_somewhere(link):
    assert (ROOT / link).exists(), link
