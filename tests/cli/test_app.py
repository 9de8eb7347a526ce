"""`facelib …` as it is run: tables, faults in one line, exit codes, full disks, closed pipes."""

from __future__ import annotations

import csv
import io
import json
import os
import resource
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from facelib.cli import app
from facelib.models import registry
from facelib.vision import image_io
from facelib.vision.encoder import COLUMNS
from helpers import ASTRONAUT, encoded, make_bad, picture

FACE = (80, 65, 98, 98)  # in ASTRONAUT
#: What is written meets a full disk or a closed pipe as late as it can, when Python ends.
BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
COMMANDS = (
    "analyze", "data", "data fetch", "data import", "data info", "audit", "train", "evaluate", "experiment",
    "run", "sweep", "report", "generate", "edit", "camera", "compare",
)  # fmt: skip


def facelib(*arguments, check: int = 0, shell: str = "", **options) -> subprocess.CompletedProcess:
    """Run ``python -m facelib`` in a process of its own.

    check: the exit code that it must have. shell: what a shell adds to the command, such as a pipe.
    """
    command = [sys.executable, "-m", "facelib", *map(os.fspath, arguments)]
    if shell:
        command = ["bash", "-c", f"set -o pipefail; {shlex.join(command)} {shell}"]
    options = {"stdout": subprocess.PIPE, "timeout": 300, "env": BUFFERED, **options}
    done = subprocess.run(command, stderr=subprocess.PIPE, encoding="utf-8", **options)
    assert done.returncode == check and "Traceback" not in done.stderr, (done.returncode, done.stderr)
    return done


@pytest.fixture
def main(capsys):
    """Run the command in this process, which is faster: (exit code, stdout, lines of stderr)."""

    def main(*arguments) -> tuple[int, str, list[str]]:
        try:
            code = app.main([os.fspath(argument) for argument in arguments])
        except SystemExit as stop:
            code = stop.code
        out, err = capsys.readouterr()
        return code, out, err.splitlines()

    return main


@pytest.fixture
def good(tmp_path) -> Path:
    """A folder with two pictures of one face and one of none."""
    folder = tmp_path / "pictures"
    (folder / "deep").mkdir(parents=True)
    picture().save(folder / "a.png")
    picture().save(folder / "deep" / "b.jpg", quality=95)
    Image.fromarray(skimage.data.coffee()[:150, :150]).save(folder / "coffee.png")
    return folder


# --- a photograph ---------------------------------------------------------------------------------------


def test_a_table_for_the_astronaut(tmp_path):
    Image.fromarray(skimage.data.astronaut()).save(tmp_path / "astronaut.png")
    done = facelib("analyze", tmp_path / "astronaut.png")
    title, rule, *rows = done.stdout.splitlines()
    assert title.split() == ["picture", "x", "y", "w", "h", "sure", "emotion", "gender"]
    assert len(rule) == len(title) and set(rule) == {"-"}
    [row] = rows
    name, x, y, w, h, sure, emotion, _, gender, _ = row.split()
    assert name == "astronaut.png" and (emotion, gender) == ("happy", "woman") and float(sure) > 0.5
    assert np.abs(np.subtract([int(v) for v in (x, y, w, h)], (176, 65, 98, 98))).max() <= 2
    assert done.stderr == ""


def test_json_lines(good, main):
    code, out, err = main("analyze", good, "--json")
    assert code == 0 and err[-1] == "2 faces in 3 pictures (1 without a face)"
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["path"] for row in rows] == [str(good / n) for n in ("a.png", "coffee.png", "deep/b.jpg")]
    assert [len(row["faces"]) for row in rows] == [1, 0, 1]
    assert [row["source_index"] for row in rows] == [0, 1, 2]
    face = rows[0]["faces"][0]
    assert np.abs(np.subtract(face["box"], FACE)).max() <= 2 and len(face["eyes"]) == 2
    assert abs(sum(face["emotions"].values()) - 1) < 1e-3 and face["emotion"] == "happy"


@pytest.mark.parametrize("place", ["-", "faces.csv"])
def test_csv(place, good, main, tmp_path):
    place = place if place == "-" else tmp_path / place
    code, out, err = main("analyze", good, "--csv", place)
    assert code == 0 and err[-1] == "2 faces in 3 pictures (1 without a face)"
    rows = list(csv.DictReader(io.StringIO(out if place == "-" else place.read_text(encoding="utf-8"))))
    assert tuple(rows[0]) == COLUMNS
    assert [row["path"] for row in rows] == [str(good / "a.png"), str(good / "deep" / "b.jpg")]
    assert [row["source_index"] for row in rows] == ["0", "2"]
    assert abs(sum(float(rows[0][name]) for name in ("woman", "man")) - 1) < 1e-3


def test_detectors_and_limits(good, main):
    code, out, _ = main("analyze", good / "coffee.png", "--detector", "none", "--json")
    assert code == 0 and json.loads(out)["faces"][0]["box"] == [0, 0, 150, 150]
    code, out, _ = main("analyze", good / "a.png", "--min-confidence", "1", "--json")
    assert code == 0 and json.loads(out)["faces"] == []
    code, out, _ = main("analyze", good / "coffee.png")
    assert code == 0 and "coffee.png" in out and "no face found" in out


# --- annotated pictures ---------------------------------------------------------------------------------


def test_an_empty_name_is_not_the_current_folder(main):
    code, out, err = main("analyze", "")
    assert code == 1 and "empty name" in err[0] and out == ""  # no table without a row


def test_what_to_try_where_faces_may_be_missing(good, main, tmp_path):
    code, _, err = main("analyze", good / "coffee.png")
    assert code == 0 and err == [
        "facelib: no face found by haar in 1 of 1; try --turn (on their side), --detector none (cut-out "
        "faces already), --min-confidence 0.3 (dark or half hidden), `facelib data fetch yunet` (finds more "
        "than haar)"
    ]
    Image.new("RGB", (3000, 40), "white").save(tmp_path / "wide.png")
    _, _, err = main("analyze", tmp_path / "wide.png", "--detector", "none")
    assert err == []
    _, _, err = main("analyze", tmp_path / "wide.png", "--turn")
    assert "1 large pictures were searched at 1280 pixels" in err[0] and "--turn" not in err[1]
    _, _, err = main("analyze", tmp_path / "wide.png", "--search-side", "3000")
    assert len(err) == 1
    _, _, err = main("analyze", good / "a.png", good / "deep")
    assert err == [
        "facelib: searched with haar; `facelib data fetch yunet` gets a detector that finds more faces",
        "2 faces in 2 pictures",
    ]


def test_draw(tmp_path, main):
    """Two folders with pictures of the same names; names that differ in case only; a second run."""
    for name in ("one/photo.png", "two/photo.jpg", "two/photo-2.png", "three/Photo.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        picture().save(tmp_path / name)
    (tmp_path / "none.png").write_bytes(encoded(Image.new("RGB", (40, 30), "white"), "PNG"))
    for _ in range(2):
        code, _, err = main("analyze", tmp_path, "--draw", tmp_path / "drawn")
        # The drawn pictures lie in the folder that is searched, and are not taken for new ones.
        assert code == 0 and err[-1] == "4 faces in 5 pictures (1 without a face)"
        drawn = sorted(path.name for path in (tmp_path / "drawn").glob("[!.]*"))
        assert drawn == ["Photo-2.jpg", "none.jpg", "photo-2-2.jpg", "photo-3.jpg", "photo.jpg"]
    annotated = image_io.read_image(tmp_path / "drawn" / "photo.jpg")
    assert annotated.shape == ASTRONAUT.shape
    changed = np.abs(annotated - ASTRONAUT.astype(int)).max(2) > 60
    assert changed[20:170, 75:185].sum() > 100 and changed[180:].sum() < 20  # the face, with its label above
    blank = image_io.read_image(tmp_path / "drawn" / "none.jpg")
    assert blank.shape == (30, 40, 3) and blank.min() > 250


@pytest.mark.parametrize(
    ("pictures", "folder", "message"),
    [
        (".", ".", "would overwrite the pictures there"),
        ("a.png", ".", "would overwrite the pictures there"),
        ("deep/../a.png", ".", "would overwrite the pictures there"),
        (".", "deep", "holds files of yours"),
        (".", "a.png", "a.png: cannot be a folder"),
    ],
)
def test_draw_never_overwrites_the_originals(pictures, folder, message, good, main, monkeypatch):
    before = {path: path.read_bytes() for path in good.rglob("*.*")}
    monkeypatch.chdir(good)
    code, out, [line] = main("analyze", pictures, "--draw", folder)
    assert code == 1 and out == "" and message in line
    assert {path: path.read_bytes() for path in good.rglob("*.*")} == before


def test_draw_on_a_full_disk(good, tmp_path):
    """Each picture that cannot be written is named; the analysis goes on; nothing half written stays."""

    def few_blocks():
        resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))

    done = facelib("analyze", good, "--draw", tmp_path / "drawn", "--json", check=1, preexec_fn=few_blocks)
    assert len(done.stdout.splitlines()) == 3
    lines = done.stderr.splitlines()
    assert [line.split(": ")[1:3] for line in lines[:2]] == [
        [str(tmp_path / "drawn" / "a.jpg"), "cannot be written (File too large)"],
        [str(tmp_path / "drawn" / "coffee.jpg"), "cannot be written (File too large)"],
    ]
    assert lines[-1] == "2 faces in 3 pictures (1 without a face); 3 faults, named above" and len(lines) == 5
    assert os.listdir(tmp_path / "drawn") == []


# --- bad input ------------------------------------------------------------------------------------------


def test_every_bad_picture_in_one_go(good, tmp_path):
    """Each fault is one line, and everything else is there as if they were not."""
    bad = tmp_path / "bad"
    bad.mkdir()
    expected = make_bad(bad)
    (tmp_path / "empty").mkdir()
    names = [bad / name for name in expected]
    done = facelib("analyze", *names, tmp_path / "empty", good, "--csv", tmp_path / "faces.csv", check=1)
    *lines, hint, last = done.stderr.splitlines()
    assert len(lines) == len(expected) + 1 and "no face found by haar in 1 of" in hint
    for name in expected:
        assert sum(line.startswith(f"facelib: {bad / name}: ") for line in lines) == 1
    assert sum("no picture in this folder" in line for line in lines) == 1
    counts = f"2 faces in {len(expected) + 3} pictures (1 without a face)"
    assert last == f"{counts}; {len(lines)} faults, named above"
    with open(tmp_path / "faces.csv", encoding="utf-8") as stream:
        assert [Path(row["path"]).name for row in csv.DictReader(stream)] == ["a.png", "b.jpg"]


def test_odd_file_names(tmp_path, main, monkeypatch):
    """For a terminal each is one line; in JSON, CSV and drawn, they are the files' own."""
    names = [b"two\nlines.png", b"caf\xe9.png", "8.30\u202fPM.png".encode(), b"a\\\\b.png", b"=1+1,a.png",
             b"-1.png", b"@a.png", b"\t=1.png", b'+"a".png']  # fmt: skip
    (tmp_path / "odd").mkdir()
    monkeypatch.chdir(tmp_path / "odd")
    try:
        for name in names:
            Path(os.fsdecode(name)).write_bytes(encoded(picture(), "PNG"))
    except OSError:
        pytest.skip("this file system takes no such names")
    given = sorted(map(os.fsdecode, names))
    code, out, err = main("analyze", "--draw", tmp_path / "drawn", "--", *given)
    assert code == 0 and err[-1] == "9 faces in 9 pictures" and len(out.splitlines()) == 2 + 9
    for shown in ("two\\nlines.png", "caf\\xe9.png", "8.30\\u202fPM.png", "\\t=1.png"):
        assert out.count(shown) == 1
    drawn = {os.fsencode(path.name) for path in (tmp_path / "drawn").iterdir()}
    assert drawn == {name.replace(b".png", b".jpg") for name in names}
    _, out, _ = main("analyze", "--json", "--", *given)
    assert [json.loads(line)["path"] for line in out.splitlines()] == given
    assert main("analyze", "--csv", "faces.txt", "--", *given)[0] == 0
    with open("faces.txt", newline="", encoding="utf-8", errors="surrogateescape") as stream:
        written = [row["path"] for row in csv.DictReader(stream)]
    assert [os.path.normpath(path) for path in written] == given  # and all of them exist
    assert not any(path.startswith(tuple("=+-@\t")) for path in written)
    for name in given:
        Path(name).write_bytes(b"no picture")
    code, _, err = main("analyze", "--", *given)
    assert code == 1 and len(err) == 11


def test_a_terminal_that_knows_ascii_only(tmp_path):
    folder = tmp_path / "été"
    folder.mkdir()
    picture().save(folder / "à la plage.png")
    (folder / "ça.png").write_bytes(b"no picture")
    done = facelib("analyze", folder, check=1, env=BUFFERED | {"PYTHONIOENCODING": "ascii"})
    assert "\\xe0 la plage.png" in done.stdout and "happy" in done.stdout
    assert done.stderr.count("\\xe7a.png: is not a picture") == 1


# --- where results cannot go ----------------------------------------------------------------------------


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_full_disks(good, main):
    code, _, [line] = main("analyze", good / "a.png", "--csv", "/dev/full")
    assert code == 1 and line.startswith("facelib: /dev/full: cannot be written (No space left on device)")
    with open("/dev/full", "w") as full:
        [line] = facelib("analyze", good / "a.png", check=1, stdout=full).stderr.splitlines()
    assert "cannot be written (No space left on device)" in line


@pytest.mark.parametrize("output", [["--csv", "faces.txt"], ["--json"]], ids=["csv", "json"])
def test_a_full_disk_holds_no_half_row(output, good, tmp_path):
    """The file ends with the last row that fits, whatever part of the next one does."""
    place = tmp_path / "faces.txt"
    if output[0] == "--csv":
        output = ["--csv", place]
    for size in (1400, 1650):

        def few_bytes(size=size):
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

        with open(place, "w") as stdout:
            options = {"stdout": stdout} if output[0] == "--json" else {}
            command = ["analyze", *[good / "a.png"] * 9, *output]
            done = facelib(*command, check=1, preexec_fn=few_bytes, **options)
        assert "cannot be written (File too large)" in done.stderr and len(done.stderr.splitlines()) == 1
        text = place.read_text(encoding="utf-8")
        assert 0 < len(text) <= size and text.endswith("\n")


def test_a_table_has_one_writer(good, main, tmp_path):
    fcntl = pytest.importorskip("fcntl")
    place = tmp_path / "faces.csv"
    with open(place, "w") as first:
        fcntl.flock(first, fcntl.LOCK_EX)
        first.write("theirs")
        first.flush()
        code, _, [line] = main("analyze", good / "a.png", "--csv", place)
        assert code == 1 and "another process is writing it" in line and place.read_text() == "theirs"
    assert main("analyze", good / "a.png", "--csv", place)[0] == 0
    assert place.read_text(encoding="utf-8").startswith("path,")


def test_a_table_is_none_of_the_pictures(good, main, tmp_path):
    (tmp_path / "photo").write_bytes((good / "a.png").read_bytes())
    (tmp_path / "link.csv").symlink_to(good / "a.png")
    (tmp_path / "hard.csv").hardlink_to(good / "deep" / "b.jpg")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    for pictures, place in (("photo", "photo"), ("pictures", "link.csv"), ("pictures", "hard.csv")):
        code, out, [line] = main("analyze", tmp_path / pictures, "--csv", tmp_path / place)
        assert code == 1 and out == "" and "is one of the pictures" in line
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*")} == before


def test_what_a_folder_holds_besides(good, main):
    for name in ("a.heic", "b.HEIC", "deep/c.mov", "deep/README", ".hidden.txt"):
        (good / name).touch()
    (good / "circle").symlink_to(good)
    code, out, err = main("analyze", good, "--json")
    assert code == 0 and len(out.splitlines()) == 3
    heic = "2 .heic, " * (".heic" not in image_io.EXTENSIONS)
    if heic:
        assert err[1:] == [
            "2 faces in 3 pictures (1 without a face); passed over, no readable pictures: 2 .heic, "
            "1 without an extension, 1 .mov (`pip install 'facelib[heic]'` reads .heic)"
        ]


def test_patterns_that_no_shell_expanded(good, main, monkeypatch):
    monkeypatch.chdir(good)
    Path("[1].png").write_bytes(Path("a.png").read_bytes())
    for pattern, names in (("*.png", ["[1].png", "a.png", "coffee.png"]), ("**/*.jpg", ["deep/b.jpg"]),
                           ("[1].png", ["[1].png"]), ("d*", ["deep/b.jpg"])):  # fmt: skip
        code, out, _ = main("analyze", pattern, "--json")
        assert code == 0 and [json.loads(line)["path"] for line in out.splitlines()] == names
    code, out, [line] = main("analyze", "*.tif", "--json")
    assert (code, out) == (1, "") and "*.tif: no file fits this pattern" in line


def test_places_that_do_not_exist(good, main, tmp_path):
    code, out, [line] = main("analyze", good / "a.png", "--csv", tmp_path / "no" / "faces.csv")
    assert code == 1 and out == "" and f"{tmp_path / 'no' / 'faces.csv'}: cannot be written" in line
    before = (good / "a.png").read_bytes()
    code, _, [line] = main("analyze", "--csv", good / "a.png", good / "deep")
    assert code == 1 and "is the name of a picture" in line
    assert (good / "a.png").read_bytes() == before


@pytest.mark.parametrize(
    "output, shell", [("", "| head -n 1"), ("--json", "| head -n 1"), ("--csv -", "| head -n 1"), ("", ">&-")]
)
def test_a_reader_that_stops_reading_is_no_fault(output, shell, good):
    done = facelib("analyze", good, *output.split(), shell=shell)
    assert len(done.stdout.splitlines()) == (shell != ">&-")
    said = [line for line in done.stderr.splitlines() if "no face found by" not in line]
    assert said in ([], ["2 faces in 3 pictures (1 without a face)"])


# --- data -----------------------------------------------------------------------------------------------


def test_data_fetch_says_what_to_do_by_hand(main, home, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    item = replace(registry.DOWNLOADS["yunet"], url="http://127.0.0.1:9/yunet.onnx")
    monkeypatch.setitem(registry.DOWNLOADS, "yunet", item)
    code, out, [line] = main("data", "fetch", "yunet")
    assert code == 1 and out == ""
    assert f"by hand: download {item.url} and put it at {item.path}" in line
    code, _, [line] = main("analyze", "a.png", "--detector", "yunet")
    assert code == 1 and "`facelib data fetch yunet`" in line


def test_data_info_names_what_is_missing(main, home):
    code, out, _ = main("data", "info")
    assert code == 0
    for name in registry.DOWNLOADS:
        assert f"not here; `facelib data fetch {name}`" in out
    path = registry.DOWNLOADS["yunet"].path
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")
    assert f"here: {path}" in main("data", "info")[1]


# --- help and usage -------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_examples(command, main):
    code, out, err = main(*command.split(), "--help")
    assert (code, err) == (0, [])
    assert f"facelib {command}" in out.split("examples:")[1]
    assert max(len(line) for line in out.splitlines()) <= 120


def test_help_names_every_command(main):
    _, out, _ = main("--help")
    assert all(f"\n    {command}" in out for command in COMMANDS if " " not in command)
    code, out, _ = main("--version")
    assert code == 0 and out.startswith("facelib ")


@pytest.mark.parametrize("words", [
    "", "analyse a.jpg", "analyze", "analyze a.jpg --colour", "analyze a.jpg --json --csv b.csv",
    "analyze a.jpg --min-confidence 2", "data", "data fetch imagenet", "report --week 1", "report --lang de",
    "report --date tomorrow",
])  # fmt: skip
def test_wrong_usage(words, main):
    code, out, err = main(*words.split())
    assert code == 2 and out == ""
    assert err[0].startswith("usage: facelib") and "error: " in err[-1]
    assert "_" not in err[-1].split("error: ")[1]


def test_interruption(good, main, monkeypatch):
    def interrupted(path):
        raise KeyboardInterrupt

    monkeypatch.setattr(image_io, "opened", interrupted)
    code, _, err = main("analyze", good / "a.png")
    assert code == 130 and err == ["facelib: interrupted"]


def test_options_of_another_task_are_refused(main):
    for words, why in {
        "vqvae --teacher facelib": "--teacher is for emotion and prior, not for vqvae",
        "vqvae --start runs/x": "--start is for emotion and prior, not for vqvae",
        "prior --codec runs/x --ship": "train and --ship that one first",
        "prior --teacher tiny facelib": "a prior has one teacher",
        "emotion --ship": "a column ships beside the other",
        "emotion --columns a b --teacher tiny": "--columns trains nothing",
        "emotion --columns a b --dataset toy": "a: no finished run is there; train it first",
        "emotion --teacher runs/x --dataset toy": "runs/x: no finished run is there",
    }.items():
        code, _, said = main("train", *words.split())
        assert code == 1 and why in said[-1]
    for arguments, why in (
        (["gender", "--class-prior", "uniform"], "--class-prior is for emotion, not for gender"),
        (["emotion", "--detector", "haar"], "--detector is for gender and --images"),
        (["emotion", "--images", "x", "--split", "Training"], "--images is a data set of its own"),
        (["emotion", "--speed", "--tta", "crops"], "--speed is that of a network in one pass"),
        (["emotion", "--images", "nowhere"], "nowhere: no face in a folder that is named"),
    ):
        code, _, said = main("evaluate", *arguments)
        assert code == 1 and why in said[-1]
