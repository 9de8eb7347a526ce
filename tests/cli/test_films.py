"""`facelib analyze film.mp4`, `camera`, `compare`: tables, drawn films, figures, one-line errors."""

from __future__ import annotations

import csv
import io
import json

import cv2
import numpy as np
import pytest
from PIL import Image

from facelib.cli import app, films
from facelib.vision import recognition, video
from helpers import ASTRONAUT

FAST = ("--emotion-model", "tiny", "--every", "0.2")


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Two seconds of the astronaut, 25 frames a second, who is gone in the last half second."""
    path = tmp_path_factory.mktemp("films") / "film.mp4"
    out = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25, (256, 256))
    for number in range(50):
        out.write(np.roll(ASTRONAUT, number, 1)[..., ::-1] if number < 38 else np.zeros_like(ASTRONAUT))
    out.release()
    return path


@pytest.fixture
def main(capfd):
    """Run the command in this process: (exit code, stdout, lines of stderr)."""

    def main(*arguments) -> tuple[int, str, list[str]]:
        try:
            code = app.main(list(map(str, arguments)))
        except SystemExit as stop:
            code = stop.code
        out, err = capfd.readouterr()
        return code, out, err.splitlines()

    return main


def test_a_summary_of_each_face(film, main):
    code, out, [err] = main("analyze", film, *FAST)
    name, title, row = out.splitlines()
    assert code == 0 and name == str(film) and title.split() == ["track", "from", "to", "frames", "mostly"]
    assert row.split()[:4] == ["1", "0.0s", "1.4s", "8"] and "happy" in row
    assert err.startswith("8 faces of 1 tracks in 10 frames of 1.8 s; ") and err.endswith(" frames/s")


def test_csv_and_json_know_source_time_and_track(film, main):
    code, out, _ = main("analyze", film, film, *FAST, "--csv", "-")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert code == 0 and tuple(rows[0]) == video.COLUMNS and len(rows) == 16
    assert [row["source_index"] for row in rows] == ["0"] * 8 + ["1"] * 8
    assert {row["path"] for row in rows} == {str(film)} and {row["track"] for row in rows} == {"1"}
    code, out, _ = main("analyze", film, *FAST, "--json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert [round(line["time"], 4) for line in lines] == [round(0.2 * i, 4) for i in range(10)]
    assert [len(line["faces"]) for line in lines] == [1] * 8 + [0] * 2
    face = lines[0]["faces"][0]
    assert face["track"] == 1 and abs(sum(face["smoothed"].values()) - 1) < 1e-3 and "time" not in face
    assert [float(row["x"]) for row in rows[:8]] == [line["faces"][0]["box"][0] for line in lines[:8]]


@pytest.mark.parametrize(("draw", "every"), [("drawn", 0), ("drawn/other.webm", 0.2), ("film.avi", 0.08)])
def test_a_drawn_film_is_as_long_and_shows_the_face(draw, every, film, main, tmp_path):
    code, _, _ = main(
        "analyze", film, *FAST, "--every", every, "--draw", tmp_path / draw, "--csv", "/dev/null"
    )
    place = tmp_path / draw if "." in draw else tmp_path / draw / "film.mp4"
    drawn = list(video.Film(place).frames())
    assert code == 0 and abs(drawn[-1][1] - 2) <= max(every, 0.04) + 0.045
    assert [path for path in place.parent.iterdir() if path.name.startswith(".")] == []
    original = {round(time, 2): image.astype(int) for _, time, image in video.Film(film).frames()}
    for _, time, image in drawn[1:7]:
        changed = np.abs(image - original[round(time, 2)]).max(2) > 60
        assert 200 < changed.sum() < 16000  # corners, eyes and a label


def test_a_plot(film, main, tmp_path):
    assert main("analyze", film, *FAST, "--plot", tmp_path / "plot.png")[0] == 0
    assert np.asarray(Image.open(tmp_path / "plot.png").convert("RGB")).std() > 20


def test_faults_are_one_line(film, main, tmp_path):
    Image.fromarray(ASTRONAUT).save(tmp_path / "photo.png")
    (tmp_path / "cut.mp4").write_bytes(film.read_bytes()[:5000])
    for arguments, message in (
        ((film, tmp_path / "photo.png"), "films and pictures give different tables"),
        ((tmp_path / "photo.png", "--every", "1"), "--every is for films"),
        ((film, film, "--plot", "x.png"), "--plot shows one film"),
        ((film, "--plot", "x.gif"), "--plot x.gif: a figure is a .png"),
        ((film, "--scheduler", "tcp://x:1"), "--scheduler shares pictures"),
        ((film, "--draw", film), "would overwrite the film itself"),
        ((film, "--draw", film.parent), "would overwrite the film itself"),
        ((film, "--draw", "x.mkv"), "a drawn film is one of .mp4"),
        ((film, "--csv", "x.mov"), "is a picture's or a film's name"),
    ):
        code, out, [err] = main("analyze", *arguments)
        assert code == 1 and out == "" and message in err, arguments
    code, out, err = main("analyze", tmp_path / "cut.mp4", film, *FAST)
    assert code == 1 and "cut.mp4: is truncated" in err[0] and "8 faces" in err[1] and len(err) == 2
    assert main("analyze", film, "--every", "-1")[0] == 2


# --- camera ---------------------------------------------------------------------------------------------


class Camera:
    """The astronaut, 12 times; what OpenCV's camera would do."""

    def __init__(self):
        self.left, self.released = 12, False

    def read(self):
        self.left -= 1
        return self.left >= 0, ASTRONAUT[..., ::-1].copy()

    def release(self):
        self.released = True


@pytest.fixture
def device(monkeypatch):
    device = Camera()
    monkeypatch.setattr(video, "open_camera", lambda number: device)
    return device


def test_camera_as_json(device, main):
    code, out, err = main("camera", "--json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and device.released and lines[-1]["frame"] == 11
    assert all(line["faces"][0]["track"] == 1 and line["faces"][0]["smoothed"] for line in lines)
    assert err[-1].startswith(f"{len(lines)} of 12 frames analysed")


def test_camera_window(device, main, monkeypatch):
    shown = []
    monkeypatch.setattr(films, "check_window", lambda: None)
    monkeypatch.setattr(films, "show", lambda picture, words: shown.append((picture, words)))
    assert main("camera")[0] == 0 and device.released and len(shown) == 1  # closed at once
    picture, words = shown[0]
    assert picture.shape == ASTRONAUT.shape and "frames/s" in words and "dropped" in words


@pytest.mark.parametrize(
    ("framework", "display", "message"), [("", ":0", "opencv-python"), ("QT", "", "no screen here")]
)
def test_without_a_window_the_error_says_what_to_do(framework, display, message, main, monkeypatch):
    monkeypatch.setattr(cv2, "currentUIFramework", lambda: framework)
    monkeypatch.setattr(films.sys, "platform", "linux")
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    code, out, [err] = main("camera")
    assert code == 1 and out == "" and message in err and "--json" in err


# --- compare --------------------------------------------------------------------------------------------


def test_compare(main, tmp_path, monkeypatch):
    """The embedding is a stub here: a small picture of the face itself."""
    monkeypatch.setattr(recognition, "SFace", lambda: lambda face: cv2.resize(face, (8, 8)) - 100.0)
    for name, picture in {"a": ASTRONAUT, "b": ASTRONAUT[10:, 5:], "c": 255 - ASTRONAUT}.items():
        (tmp_path / "folder").mkdir(exist_ok=True)
        Image.fromarray(picture).save(tmp_path / "folder" / f"{name}.png")
    a, b, c = (tmp_path / "folder" / f"{name}.png" for name in "abc")
    code, out, err = main("compare", a, b, "--detector", "haar")
    assert code == 0 and out.startswith("the same person: similarity 0.9") and "threshold 0.363" in out
    code, out, _ = main("compare", a, c, "--detector", "none", "--json")
    found = json.loads(out)
    assert code == 0 and not found["same"] and [face["path"] for face in found["faces"]] == [str(a), str(c)]
    (tmp_path / "folder" / "bad.jpg").write_text("no picture")
    code, out, err = main("compare", a, tmp_path / "folder", "--detector", "none", "-n", "2")
    assert code == 1 and len(err) == 1 and "bad.jpg: is not a picture" in err[0]
    assert [line.split()[-1] for line in out.splitlines()[1:]] == [str(a), str(b)]
    code, _, [err] = main("compare", tmp_path / "gone.png", a, "--detector", "none")
    assert code == 1 and "no such file" in err
