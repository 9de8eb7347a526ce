"""What is raised where the input was at fault: one line that says what, where, and what to do."""

from __future__ import annotations


class InputError(ValueError):
    """The input was at fault. The message is one line: what was wrong, where, and what to do."""


class ImageError(InputError):
    """A picture could not be read; the message is one line that names the file and the remedy."""
