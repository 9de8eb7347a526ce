"""Mutated pictures: each gives faces or one named error, in bounded time and memory."""

from __future__ import annotations

import subprocess
import sys

import mutated_pictures


def test_mutated_pictures_give_a_result_or_one_named_error():
    """A short run of what ``python tests/mutated_pictures.py --n 2000`` does, in a fresh process."""
    command = [sys.executable, mutated_pictures.__file__, "--n", "40", "--seed", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    lines = done.stdout.splitlines()
    assert len(lines) == 42 and sum("result: " in line for line in lines) > 3
