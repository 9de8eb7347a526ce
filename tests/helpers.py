"""What several test modules share."""

from __future__ import annotations

import io
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
import traceback
import zlib
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image, features

#: Head and shoulders of the astronaut: small enough to be searched quickly. The face is at (80, 65, 98, 98).
ASTRONAUT = np.ascontiguousarray(skimage.data.astronaut()[:256, 96:352])


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def exif_of(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[274] = orientation
    return exif


def picture() -> Image.Image:
    return Image.fromarray(ASTRONAUT)


def gray() -> np.ndarray:
    return np.asarray(picture().convert("L"))


def transparent(values=ASTRONAUT) -> Image.Image:
    """The lower corners are transparent, and black behind the transparency."""
    alpha = np.full(values.shape[:2], 255, np.uint8)
    alpha[200:, :60] = 0
    return Image.fromarray(np.dstack([np.where(alpha[..., None] > 0, values, 0).astype(np.uint8), alpha]))


def deep_png(depth_and_colour: tuple[int, int], samples: np.ndarray) -> bytes:
    """A 16-bit PNG with more channels than Pillow writes."""
    height, width = samples.shape[:2]
    rows = samples.astype(">u2").reshape(height, -1).view(np.uint8)
    raw = np.concatenate([np.zeros((height, 1), np.uint8), rows], 1).tobytes()
    return png(width, height, zlib.compress(raw), *depth_and_colour)


def png(width: int, height: int, data: bytes, depth: int = 8, colour: int = 2) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def make_bad(folder: Path) -> dict[str, str]:
    """One file for each fault; name -> what the message must say."""
    jpeg = encoded(picture(), "JPEG")
    files = {
        "text.jpg": (b"Dear diary, today I renamed a letter.\n" * 50, "is not a picture in a known format"),
        "page.png": (b"<!DOCTYPE html><html>404</html>", "is not a picture in a known format"),
        "drawing.jpg": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is not a picture"),
        "cut.jpg": (jpeg[: len(jpeg) // 2], "truncated"),
        "header.jpg": (jpeg[:30], "is not a picture|truncated"),
        "cut.png": (encoded(picture(), "PNG")[:5000], "truncated"),
        "empty.jpg": (b"", "is empty"),
        "bomb.png": (png(60000, 60000, zlib.compress(bytes(1000))), "limit of 130 million"),
        "big.png": (png(12000, 12000, zlib.compress(bytes(1000))), "12000x12000 pixels are more than"),
        "hollow.png": (png(300, 300, zlib.compress(bytes(10))), "truncated"),
        "avif.avif": (b"\0\0\0 ftypavif\0\0\0\0avifmif1miaf" + bytes(90), "is not a picture|damaged"),
    }
    if features.check("avif"):  # not in every build of Pillow
        avif = encoded(picture(), "AVIF")
        start = avif.index(b"mdat") + 4
        files["payload.avif"] = (avif[:start] + bytes(len(avif) - start), "damaged")
    for name, (content, _) in files.items():
        (folder / name).write_bytes(content)
    return {name: message for name, (_, message) in files.items()} | {"missing.jpg": "no such file"}


@contextmanager
def without_privileges():
    """As somebody who may not read everything; root may."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def modules_after(code: str, environment: dict[str, str] | None = None) -> set[str]:
    """Top-level modules that are loaded once ``code`` has run in a new process."""
    code += "\nimport sys; print(*{name.partition('.')[0] for name in sys.modules})"
    command, quiet = [sys.executable, "-c", code], {"capture_output": True, "text": True, "timeout": 300}
    return set(subprocess.run(command, check=True, env=environment, **quiet).stdout.splitlines()[-1].split())


#: Before the code of a child: it ends at once where Python would resolve a name or call somebody.
UNPLUGGED = """
import os, sys
calls = {"socket.getaddrinfo", "socket.gethostbyname", "socket.connect", "socket.sendto"}
sys.addaudithook(lambda event, _: os._exit(9) if event in calls else None)
"""


def new_user(home: Path) -> dict[str, str]:
    """The environment of somebody who has set no switch, with an empty folder as the home."""
    switches = ("CI", "ORT_", "HF_", "GRADIO_", "XDG_", "TF_", "KERAS_", "MPL", "DO_NOT_TRACK")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(switches)}
    return kept | {"HOME": str(home), "USERPROFILE": str(home), "LOCALAPPDATA": str(home)}


def written_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def traps(folder: Path) -> Path:
    """Put files that bear packages' names into a folder; whoever executes one leaves the file returned."""
    trace = folder / "executed"
    for name in ("argparse", "pickle", "psutil", "random", "tqdm"):
        (folder / f"{name}.py").write_text(f"open({str(trace)!r}, 'a').write(__name__)")
    return trace


def in_child(function: Callable[[], str], seconds: float = 120) -> tuple[str, float, float]:
    """What the function returns, in a process of its own; its processor's seconds and its peak in bytes.

    Others may be at work on this machine, hence the processor's; who waits for ever is ended.
    """
    import resource

    reading, writing = os.pipe()
    process = os.fork()
    if not process:
        code = 1
        try:
            resource.setrlimit(resource.RLIMIT_AS, (16 << 30, 16 << 30))
            signal.alarm(int(seconds))
            said = function()
            code = 0
        except BaseException:  # noqa: BLE001 - whatever it is, the parent is told
            said = f"CRASH {traceback.format_exc()}"
        os.write(writing, said.encode("utf-8", "backslashreplace")[:60_000])
        os._exit(code)
    os.close(writing)
    with open(reading, "rb") as stream:
        said = stream.read().decode()
    _, status, used = os.wait4(process, 0)
    if os.WIFSIGNALED(status):
        said = f"CRASH ended by {signal.Signals(os.WTERMSIG(status)).name}"
    return said, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024.0


def noisy_probabilities(labels: np.ndarray, seed: int = 0, skill: float = 1.5) -> np.ndarray:
    """Probabilities (n, 7) of a network whose logits are noise, and ``skill`` more for the label."""
    logits = np.random.default_rng(seed).normal(size=(len(labels), 7)) + skill * np.eye(7)[labels]
    e = np.exp(logits)
    return e / e.sum(1, keepdims=True)


def drawn(figure):
    """The figure, laid out: what cannot be drawn fails here."""
    figure.draw_without_rendering()
    return figure


def texts(where) -> list[str]:
    """Everything that is written in a list of texts, or else in an axis or a figure; lines in one."""
    found = where.findobj(lambda each: hasattr(each, "get_text")) if hasattr(where, "findobj") else where
    return [text.get_text().replace("\n", " ") for text in found]


def dots(axis) -> list[tuple[float, float, bool]]:
    """(x, y, filled) of every mark in an axis."""
    found = []
    for points in axis.collections:
        if type(points).__name__ == "PathCollection":
            offsets = np.asarray(points.get_offsets())
            faces = np.broadcast_to(points.get_facecolor(), (len(offsets), 4))
            found += [(x, y, not np.allclose(face, 1)) for (x, y), face in zip(offsets, faces)]
    return found


def wait_for(there, seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < end
        time.sleep(0.05)


def open_browser(folder: Path, *flags: str):
    """Chromium without a window, its profile in a folder, for Selenium; a test without either is skipped."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium: pip install -e '.[book]'")
    chrome = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    driver = shutil.which("chromedriver")
    if not chrome or not driver:
        pytest.skip("chromium and chromedriver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = chrome
    for flag in ("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run",
                 "disable-background-networking", "disable-component-update", "disable-sync",
                 f"user-data-dir={folder}", *flags):  # fmt: skip
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
