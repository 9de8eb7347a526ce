"""The check before a commit: a data set's pictures and large files are refused, our own are not."""

from __future__ import annotations

import base64
import importlib.util
import io
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / ".ci" / "refuse.py"
_spec = importlib.util.spec_from_file_location("refuse", SCRIPT)
refuse = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(refuse)


def image(side: int, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (side, side), 90).save(buffer, kind)
    return buffer.getvalue()


def notebook(*cells) -> bytes:
    return nbformat.writes(new_notebook(cells=list(cells))).encode()


def shown(mime: str, content: str):
    return new_code_cell("pass", outputs=[new_output("display_data", {mime: content})])


FACE = base64.b64encode(image(48)).decode()
HTML = f'<img src="data:image/png;base64,{FACE}">'


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("tests/large.bin", bytes(1_000_001), "1.0 MB"),
        ("notebooks/face.png", image(200), "outside reports/figures/"),
        ("reports/figures/face.png", image(48), "48×48"),
        ("facelib/face.jpg", image(48, "JPEG"), "48×48"),
        ("data/part.csv", b"emotion,pixels,Usage\n0,70 80 82,Training\n", "column of pixels"),
        ("notebooks/01-a.ipynb", b"{", "not a notebook"),
        ("notebooks/01-a.ipynb", notebook(shown("text/plain", "x" * 1_000_001)), "cell 1: an output of"),
        ("notebooks/01-a.ipynb", notebook(shown("image/png", FACE)), "48×48"),
        ("notebooks/01-a.ipynb", notebook(shown("image/png", f"{FACE[:76]}\n{FACE[76:]}")), "48×48"),
        ("notebooks/01-a.ipynb", notebook(new_markdown_cell("#"), shown("text/html", HTML)), "cell 2: a pic"),
        ("notebooks/01-a.ipynb", notebook(new_markdown_cell(HTML)), "48×48"),
    ],
)  # fmt: skip
def test_what_is_refused(name, content, why):
    (fault,) = refuse.faults(name, content)
    assert why in fault


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("reports/figures/01-a.png", image(200)),
        ("facelib/weights/a.onnx", bytes(3_000_000)),
        ("facelib/a.py", b"pixels = 1\n"),
        ("notebooks/01-a.ipynb", notebook(shown("image/png", base64.b64encode(image(200)).decode()))),
        ("notebooks/01-a.ipynb", notebook(*(shown("text/plain", "x" * 400_000) for _ in range(3)))),
    ],
)
def test_what_is_not(name, content):
    assert list(refuse.faults(name, content)) == []


def test_as_a_hook(tmp_path):
    (tmp_path / "a face.png").write_bytes(image(48))
    done = subprocess.run(
        [sys.executable, SCRIPT, "a face.png"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 1 and done.stdout.count("a face.png: ") == 2


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a checkout")
def test_what_is_committed_passes():
    done = subprocess.run([sys.executable, SCRIPT], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
