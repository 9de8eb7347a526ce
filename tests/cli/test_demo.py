"""`facelib demo` in a real browser, in both languages; nothing leaves the machine or stays on it."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest
from PIL import Image

from facelib import language
from facelib.cli import app, demo
from facelib.emotions import EMOTIONS
from facelib.errors import InputError
from facelib.models.registry import OnnxNetwork
from helpers import ASTRONAUT, modules_after, new_user, open_browser, wait_for, written_below

needs_gradio = pytest.mark.skipif(
    importlib.util.find_spec("gradio") is None, reason="gradio: pip install -e '.[demo]'"
)


# --- what the page's functions return --------------------------------------------------------------------


class Generator:
    """Remembers what it was asked for."""

    def sample(self, emotion, n, seed, temperature, guidance):
        self.asked = emotion, n, seed, temperature, guidance
        return np.full((n, 48, 48), 90, np.uint8)

    def edit(self, images, emotion, strength, **_):
        self.asked = emotion, strength
        return images // 2 if strength else images


@pytest.fixture
def generator(monkeypatch):
    made = Generator()
    monkeypatch.setattr(demo, "_generator", lambda: made)
    return made


def test_a_picture_has_its_faces_and_bars_and_gender_if_it_is_asked_for():
    words, picture, bars = demo.look(ASTRONAUT, False)
    assert words == "1 face" and picture.shape == ASTRONAUT.shape and (picture != ASTRONAUT).any()
    rows = dict(re.findall(r"<dt>(\w+)</dt>.*?<dd>(\d+)%</dd>", bars))
    assert tuple(rows) == EMOTIONS and max(rows, key=lambda name: int(rows[name])) == "happy"
    assert sum(map(int, rows.values())) in range(97, 104) and bars.count("<img ") == 1
    assert "woman" in demo.look(ASTRONAUT, True)[2] and "femme" in demo.look(ASTRONAUT, True, lang="fr")[2]
    words, picture, bars = demo.look(np.zeros_like(ASTRONAUT), False)
    assert words.startswith("no face found") and not picture.any() and "<img" not in bars


@pytest.mark.parametrize(
    ("other", "share", "asked"),
    [("", 50, "happy"), ("happy", 50, "happy"), ("fear", 25, {"happy": 0.75, "fear": 0.25})],
)
def test_emotions_are_mixed_and_all_that_was_set_is_passed_on(other, share, asked, generator):
    words, strip, bars = demo.draw("happy", other, share, 3, 8, 2.5, 0.7)
    assert generator.asked == (asked, 8, 3, 0.7, 2.5)
    assert words.startswith("8 faces") and strip.shape == (2 * 192 + 8, 4 * 192 + 3 * 8)
    grey = np.full((1, 48, 48, 1), 90 / 255, np.float32)
    best = EMOTIONS[int(OnnxNetwork("emotion")(grey).argmax())]
    rows = dict(re.findall(r"<dt>(\w+)</dt>.*?<dd>(\d+)%</dd>", bars))
    assert max(rows, key=lambda name: int(rows[name])) == best


def test_a_photograph_is_shown_before_and_after(generator):
    words, (before, after), strip = demo.edit(ASTRONAUT, "fear", 0.3)
    assert generator.asked[0] == "fear" and words and strip.shape == (192, 2 * 192 + 8)
    assert (before == ASTRONAUT).all() and after.mean() < before.mean() - 1
    with pytest.raises(InputError, match="no photograph yet"):
        demo.edit(None, "fear", 0.3)


def test_an_error_is_one_line_without_the_folder(tmp_path):
    (tmp_path / "<b>.jpg").write_bytes(b"Dear diary")
    said, picture, bars = demo._told(demo.look, 2, "en", str(tmp_path / "<b>.jpg"), False)
    assert picture is bars is None and 'role="alert"' in said
    assert ">&lt;b&gt;.jpg: is not a picture in a known format (JPEG, PNG, …); convert it<" in said
    assert "ce n’est pas une image" in demo._told(demo.look, 2, "fr", str(tmp_path / "<b>.jpg"), False)[0]


def test_every_text_of_the_page_has_its_french():
    tree = ast.parse(Path(demo.__file__).read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args]
    texts = [call.args[0].value for call in calls if getattr(call.func, "id", "") in ("say", "told")
             and isinstance(call.args[0], ast.Constant)]  # fmt: skip
    assert len(texts) > 25 and [text for text in texts if language.translate(text) is None] == []


# --- the command -----------------------------------------------------------------------------------------


def test_without_gradio_one_line_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert app.main(["demo"]) == 1
    assert capsys.readouterr().err == "facelib: the page needs Gradio: run `pip install 'facelib[demo]'`\n"


@needs_gradio
def test_a_port_that_is_taken_is_named(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        assert app.main(["demo", "--port", str(number)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"127.0.0.1, port {number}: is taken" in line and "--port" in line


@needs_gradio
def test_faces_are_analysed_without_tensorflow(tmp_path):
    loaded = modules_after(
        "from facelib.cli import demo; import numpy as np; "
        "demo._launched('en', server_name='127.0.0.1', server_port=None); "
        "demo.look(np.zeros((99, 99, 3), np.uint8), True)",
        new_user(tmp_path),
    )
    assert "gradio" in loaded and not loaded & {"tensorflow", "keras", "jax", "torch"}


# --- in a browser ----------------------------------------------------------------------------------------

#: Ends the server where Python would resolve another name than this machine's, or call one.
HERE = """
import os, sys
def look(event, args):
    if event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.connect", "socket.sendto"):
        place = args[1] if event in ("socket.connect", "socket.sendto") else args
        if isinstance(place, tuple) and place[0] not in (None, "127.0.0.1", b"127.0.0.1", "localhost"):
            os._exit(9)
sys.addaudithook(look)
from facelib.cli.app import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """(process, address, where it keeps its files) of a page of somebody who has set no switch."""
    folder = tmp_path_factory.mktemp("demo")
    environment = new_user(folder) | {"TMPDIR": str(folder), "HTTP_PROXY": "http://192.0.2.1:1"}
    command = [sys.executable, "-c", HERE, "demo"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    threading.Timer(850, process.kill).start()
    address = process.stdout.readline().split(" ")[0]
    assert address.startswith("http://127.0.0.1:"), process.wait()
    yield process, address, folder
    process.kill()


@pytest.fixture(scope="module")
def browser(server, tmp_path_factory):
    """Its camera shows the astronaut."""
    folder = tmp_path_factory.mktemp("chromium")
    frame = cv2.cvtColor(cv2.resize(ASTRONAUT, (320, 320)), cv2.COLOR_RGB2YUV_I420).tobytes()
    film = b"YUV4MPEG2 W320 H320 F10:1 Ip A1:1 C420\n" + 5 * (b"FRAME\n" + frame)
    (folder / "film.y4m").write_bytes(film)
    Image.fromarray(ASTRONAUT).save(folder / "astronaut.png")
    (folder / "diary.jpg").write_bytes(b"Dear diary")
    opened = open_browser(
        folder / "profile", "use-fake-device-for-media-stream", "use-fake-ui-for-media-stream",
        f"use-file-for-fake-video-capture={folder / 'film.y4m'}",
    )  # fmt: skip
    yield Page(opened, folder)
    opened.quit()


class Page:
    """What a person does with the page. Each step is one script, as the page changes meanwhile."""

    SEEN = """const seen = [...document.querySelectorAll(arguments[0])].filter(
        each => each.offsetParent && each.innerText.includes(arguments[1])); """

    def __init__(self, driver, folder: Path):
        self.driver, self.folder = driver, folder

    def open(self, address: str) -> None:
        self.driver.get(address)
        self.wait("button[role=tab]")
        time.sleep(1)  # until the buttons answer

    def seen(self, selector: str, text: str = "") -> int:
        return self.driver.execute_script(f"{self.SEEN} return seen.length", selector, text)

    def wait(self, selector: str, text: str = "", seconds: float = 240) -> None:
        wait_for(lambda: self.seen(selector, text), seconds)

    def click(self, selector: str, text: str = "") -> None:
        self.wait(selector, text)
        self.driver.execute_script(f"{self.SEEN} seen.at(-1).click()", selector, text)

    def drop(self, name: str) -> None:
        """A file into the photograph of the tab that is open."""
        shown = "[...document.querySelectorAll('input[type=file]')].find(e => e.parentElement.offsetParent)"
        wait_for(lambda: self.driver.execute_script(f"return {shown}"))
        self.driver.execute_script(f"return {shown}").send_keys(str(self.folder / name))

    def pictures(self) -> set[tuple[int, int]]:
        """Sizes of the pictures that the server has sent and the page shows."""
        sizes = "seen.filter(e => e.src.includes('/file=')).map(e => [e.naturalWidth, e.naturalHeight])"
        return set(map(tuple, self.driver.execute_script(f"{self.SEEN} return {sizes}", "img", "")))


@needs_gradio
@pytest.mark.slow
def test_a_photograph_is_analysed(server, browser):
    browser.open(server[1])
    browser.drop("diary.jpg")
    browser.wait("[role=alert]", "diary.jpg: is not a picture")
    browser.driver.refresh()
    browser.open(server[1])
    browser.drop("astronaut.png")
    browser.wait(".face img")
    browser.wait(".said", "1 face")
    assert (256, 256) in browser.pictures() and not browser.seen(".face", "woman")
    browser.click("input[type=checkbox]")
    browser.wait(".face", "woman")


@needs_gradio
@pytest.mark.slow
def test_a_camera_is_analysed_while_it_runs(server, browser):
    browser.open(server[1])
    browser.click("button[role=tab]", "Live camera")
    browser.click("button", "Webcam")
    browser.click("button", "Record")
    browser.wait(".face", "happy")
    wait_for(browser.pictures)


@needs_gradio
@pytest.mark.slow
def test_faces_are_generated_and_edited(server, browser):
    browser.open(server[1])
    browser.click("button[role=tab]", "Generate")
    browser.click("button.primary", "Generate")
    browser.wait(".said", "8 faces of people who do not exist", 600)  # TensorFlow starts
    wait_for(lambda: browser.pictures() == {(792, 392)})
    browser.click("button[role=tab]", "Edit")
    browser.click("button.primary", "Edit")
    browser.wait("[role=alert]", "there is no photograph yet")
    browser.drop("astronaut.png")
    wait_for(browser.pictures)
    browser.click("button.primary", "Edit")
    wait_for(lambda: {(256, 256), (392, 192)} <= browser.pictures())


@needs_gradio
@pytest.mark.slow
def test_it_speaks_french_and_fits_a_telephone(server, browser):
    screen = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    browser.open(server[1])
    browser.click("a, button", "Français")
    for tab in ("Modifier", "Générer", "Analyser"):
        browser.click("button[role=tab]", tab)
        wide = browser.driver.execute_script("return document.documentElement.scrollWidth")
        assert wide <= 390
    browser.drop("astronaut.png")
    browser.wait(".face", "joie")


@needs_gradio
@pytest.mark.slow
def test_nothing_left_this_machine_and_nothing_stays(server, browser):
    """After all of the above."""
    process, address, folder = server
    log = [json.loads(entry["message"])["message"] for entry in browser.driver.get_log("performance")]
    asked = [
        each["params"]["request"]["url"] for each in log if each["method"] == "Network.requestWillBeSent"
    ]
    assert any(url.startswith(f"{address}gradio_api/upload") for url in asked)
    elsewhere = [url for url in asked if urlsplit(url).scheme in ("http", "https", "ws", "wss")
                 and not url.startswith((address, address.replace("http", "ws")))]  # fmt: skip
    assert elsewhere == []
    assert [name for name in written_below(folder) if "astronaut" in name]
    process.send_signal(signal.SIGTERM)
    assert process.wait(240) == 0
    assert [name for name in written_below(folder) if re.search("astronaut|jpe?g|png|webp", name)] == []
