"""English or French: the language of figures, tables and printed sentences.

It is English unless ``lang="fr"`` is passed to the function that makes them, or the environment variable
FACELIB_LANG is ``fr``. So the code of a notebook is the same in both languages. The French words stand in
``french.txt``, one line for each English text.
"""

from __future__ import annotations

import functools
import inspect
import os
import re
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from pathlib import Path

from facelib.errors import InputError

LANGUAGES = ("en", "fr")
#: What ``lang=`` asked for, while the function that got it is at work.
_ASKED: ContextVar[str | None] = ContextVar("lang", default=None)
#: Between these, parts are translated one by one.
_JOINTS = {"\n": "\n", "; ": "\u00a0; ", ": ": "\u00a0: ", " or ": " ou ", " and ": " et ", " by ": " par "}
_JOINTS |= {each: each for each in (" → ", " | ", " · ", ", ")}


def current(lang: str | None = None) -> str:
    """The language in force, "en" or "fr": ``lang``, else $FACELIB_LANG, else English. Raises InputError."""
    found = lang or _ASKED.get() or os.environ.get("FACELIB_LANG") or "en"
    if found not in LANGUAGES:
        raise InputError(f"unknown language {found!r} (lang or FACELIB_LANG); choose en or fr")
    return found


def speaks(make: Callable) -> Callable:
    """Give a function the keyword ``lang``: what it and all that it calls say is in that language."""

    @functools.wraps(make)
    def made(*args, lang: str | None = None, **options):
        token = _ASKED.set(current(lang))
        try:
            return make(*args, **options)
        finally:
            _ASKED.reset(token)

    signature = inspect.signature(make)
    extra = inspect.Parameter("lang", inspect.Parameter.KEYWORD_ONLY, default=None, annotation="str | None")
    parts = list(signature.parameters.values())
    at = len(parts) - (bool(parts) and parts[-1].kind is inspect.Parameter.VAR_KEYWORD)
    made.__signature__ = signature.replace(parameters=[*parts[:at], extra, *parts[at:]])
    return made


def say(what, lang: str | None = None):
    """A text in the language in force; of a list, a mapping or a table of pandas, every text in it.

    A text that ``french.txt`` lacks is translated line by line and, in lines that are columns, cell by cell;
    what it lacks as well stays as it is, but for its numbers: "71.1%" becomes "71,1 %".
    """
    if current(lang) == "en":
        return what
    if isinstance(what, str):
        return translate(what) or "\n".join(map(_line, what.split("\n")))
    if isinstance(what, Mapping):
        return {say(key, "fr"): say(value, "fr") for key, value in what.items()}
    if isinstance(what, list | tuple):
        return type(what)(say(each, "fr") for each in what)
    if hasattr(what, "iloc"):  # a Series or a DataFrame
        return _table(what)
    return what


def _line(text: str) -> str:
    """A line in French. Two spaces and more part cells, of which all but the first end where they did."""
    said = ""
    for cell in re.finditer(r"\S+(?: \S+)*", text):
        words = translate(cell[0]) or numbers(cell[0])
        prose = not said or len(cell[0]) > 20
        place = cell.start() if prose else cell.end() - len(words)
        said = said.ljust(max(place, len(said) + bool(said))) + words
    return said


def _table(table):
    def cell(value):
        if isinstance(value, float):
            return "–" if value != value else numbers(f"{value:.6g}")
        return say(value, "fr")

    found = table.rename(lambda name: say(name, "fr")).map(cell)
    if found.ndim == 1:
        return found.rename(say(table.name, "fr"))
    found = found.rename(columns=lambda name: say(name, "fr"))
    for axis in ("index", "columns"):  # of one level, or of several
        labels = getattr(found, axis)
        setattr(found, axis, labels.set_names([say(name, "fr") for name in labels.names]))
    return found


def numbers(text: str) -> str:
    """English numbers in a text as French ones: "1,234.5%" becomes "1 234,5 %"."""
    text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "\u202f", text)
    text = re.sub(r"(?<![\d.])(\d[\d\u202f]*)\.(?=\d+(?!\d|\.\d))", r"\1,", text)
    return re.sub(r"(?<=\d) ?%", "\u00a0%", text)


@functools.lru_cache(maxsize=4096)
def translate(text: str) -> str | None:
    """A text in French, with the numbers and names that its line in ``french.txt`` leaves open.

    None if no line fits. What holds no word of three letters needs no line.
    """
    exact, patterns = _catalogue()
    bare = text.strip()
    if bare != text:
        found = translate(bare) if bare else text
        return found and text.replace(bare, found)
    if text in exact:
        return exact[text]
    if "   " in text:  # columns: see ``_line``
        return None
    for letters, pattern, french in patterns:
        if match := pattern.fullmatch(text):
            parts = [translate(part) for part in match.groups()]
            if letters >= 12 or None not in parts:  # "{} of {}" fits half of all sentences
                return french.format(*(said or numbers(part) for said, part in zip(parts, match.groups())))
    for joint, french in _JOINTS.items():
        parts = text.split(joint)
        if len(parts) > 1 and all(found := [translate(part) if part else "" for part in parts]):
            return french.join(found)
    if "\n" in text and len(text) < 80 and (found := translate(text.replace("\n", " "))):
        return found
    if match := re.fullmatch(r"(.*\w.*?)( \(?[−+×<≈=\d][^A-Za-z]*)", text):  # a name and its number
        if found := translate(match[1]):
            return found + numbers(match[2])
    return None if re.search(r"[A-Za-z]{3}", text) else numbers(text)


@functools.cache
def _catalogue() -> tuple[dict[str, str], list[tuple[int, re.Pattern, str]]]:
    """The lines of ``french.txt``: those without a place to fill, and the others, the longest first.

    The latter with the number of their letters.
    """
    exact, open_ones = {}, []
    for line in Path(__file__).with_name("french.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            english, _, french = line.replace("\\n", "\n").partition(" == ")
            french = re.sub(" (?=[:;?!%»])|(?<=«) ", "\u00a0", french).replace("'", "’")
            if "{" in english:
                pattern = re.escape(english).replace(r"\{\}", "(.+?)")
                open_ones.append((len(english.replace("{}", "")), re.compile(pattern), french))
            else:
                exact[english] = french
    open_ones.sort(key=lambda each: -each[0])
    return exact, open_ones
