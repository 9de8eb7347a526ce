"""Refuse what must never enter git: a data set's pictures, and what is too large. ``refuse.py [FILE…]``

No file means everything that git follows. One line for each fault, and exit code 1 if there is any. A sheet
of many faces in one picture cannot be told from a drawing: that remains for the reviewer of a change.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

MEGABYTE = 10**6
SIDE = 48  # FER-2013's pictures; nothing that we draw for people is so small
PICTURES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".svg", ".tif", ".tiff", ".webp"}
PLACES = ("reports/figures/", "book/pictures/", "facelib/")  # where pictures of our own may lie
LARGE = ("facelib/weights/",)  # what we trained; a notebook's size: tests/notebooks/test_notebooks.py


def faults(name: str, content: bytes) -> Iterator[str]:
    """What is wrong with a file of this name, relative to the checkout."""
    suffix = Path(name).suffix.lower()
    if suffix == ".ipynb":
        yield from _notebook(content)
    elif len(content) > MEGABYTE and not name.startswith(LARGE):
        yield f"{len(content) / MEGABYTE:.1f} MB, and 1 MB is the limit"
    if suffix in PICTURES:
        if not name.startswith(PLACES):
            yield f"a picture outside {' and '.join(PLACES)}"
        if _is_face(content):
            yield f"a picture of {SIDE}×{SIDE} pixels, as a data set's are"
    if suffix in (".csv", ".txt") and b"pixels" in content.split(b"\n", 1)[0].lower():
        yield "a table with a column of pixels"


def _notebook(content: bytes) -> Iterator[str]:
    try:
        cells = json.loads(content)["cells"]
    except (ValueError, KeyError, TypeError):
        yield "not a notebook that can be read"
        return
    for number, cell in enumerate(cells, 1):
        for output in cell.get("outputs", []):
            text = json.dumps(output)
            if len(text) > MEGABYTE:
                yield f"cell {number}: an output of {len(text) / MEGABYTE:.1f} MB, and 1 MB is the limit"
        text = json.dumps([cell.get("outputs"), cell.get("attachments"), cell.get("source")])
        found = re.findall(r'(?:"image/\w+": "|data:image/\w+;base64,)([A-Za-z0-9+/=\s\\]+)', text)
        if any(_is_face(_decoded(picture)) for picture in found):
            yield f"cell {number}: a picture of {SIDE}×{SIDE} pixels, as a data set's are"


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text.replace("\\n", ""))
    except binascii.Error:
        return b""


def _is_face(content: bytes) -> bool:
    try:
        with Image.open(io.BytesIO(content)) as picture:
            return picture.size == (SIDE, SIDE)
    except (OSError, Image.DecompressionBombError):
        return False


def main(names: list[str]) -> int:
    if not names:
        listed = subprocess.run(["git", "ls-files", "-z"], check=True, capture_output=True, text=True)
        names = [name for name in listed.stdout.split("\0") if Path(name).is_file()]
    found = [f"{name}: {fault}" for name in names for fault in faults(name, Path(name).read_bytes())]
    print("".join(f"{line}\n" for line in found), end="")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
