"""What is raised where the input was at fault: one line that says what, where, and what to do."""

from __future__ import annotations

import math
import sys
from contextlib import suppress
from dataclasses import dataclass


class InputError(ValueError):
    """The input was at fault. The message is one line: what was wrong, where, and what to do."""


class ImageError(InputError):
    """A picture could not be read; the message is one line that names the file and the remedy."""


@dataclass(frozen=True)
class Numbers:
    """The numbers that an option takes: one check for the command line and for callers from Python.

    kind: int or float. low, high: bounds, both allowed. words: what they are, for the message.
    """

    kind: type
    low: float
    high: float
    words: str

    def __call__(self, value: object, name: str = "") -> int | float:
        """A number, or text that is one, as ``kind``; raises InputError. name: the option's."""
        with suppress(TypeError, ValueError, OverflowError):
            number = self.kind(value)
            if self.low <= number <= self.high and (isinstance(value, str) or number == value):
                return number
        raise InputError(f"{name}{' ' * bool(name)}{value} is not {self.words}")


FRACTION = Numbers(float, 0, 1, "a number between 0 and 1")
AMOUNT = Numbers(float, math.nextafter(0, 1), sys.float_info.max, "a number above 0")
POSITIVE = Numbers(int, 1, math.inf, "a whole number of at least 1")
NATURAL = Numbers(int, 0, math.inf, "a whole number of at least 0")
SECONDS = Numbers(float, 0, 1e9, "a number of seconds, at least 0")
COSINE = Numbers(float, -1, 1, "a number between -1 and 1")
