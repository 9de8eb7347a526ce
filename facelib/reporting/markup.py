"""From a report's text to HTML and PDF: a small markup, the typography of two languages, two writers.

The text is plain, in chunks between empty lines. ``## Title @id`` is a heading, lines that begin with ``-``
a list, ``| a | b |`` a row of a table; a chunk of ``key: value`` lines that begins with ``figure:``,
``table:``, ``title:`` or ``note:`` is a figure, a table, the title page or a remark. Within a line stand
``*stress*``, ``**bold**``, `` `code` ``, ``[words](address)``, ``[@source]`` for the bibliography, and
``@fig:name``, ``@tab:name``, ``@sec:name``, which become "figure 3". Both outputs take the same numbers, so
that what is called figure 3 on paper is figure 3 on a telephone.
"""

from __future__ import annotations

import datetime
import html
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

_KEYS = "title|subtitle|abstract|figure|table|note|caption|alt|from|align|width"
_INLINE = re.compile(
    r"`(?P<code>[^`]+)`"
    r"|\*\*(?P<strong>.+?)\*\*"
    r"|\*(?P<em>.+?)\*"
    r"|\[(?P<words>[^]]+)\]\((?P<address>[^)]+)\)"
    r"|\[(?P<cited>@[\w-]+(?:; ?@[\w-]+)*)\]"
    r"|@(?P<ref>(?:fig|tab|sec):[\w-]+)"
)
#: A space that a line must not break at; a narrow one.
NBSP, THIN = "\u00a0", "\u202f"


@dataclass
class Block:
    """One chunk: kind is "heading", "list", "text", "figure", "table", "title" or "note".

    text: a heading's or a paragraph's. id: what references call it. number: "2.1" of headings, "3" of figures
    and tables. fields: of ``key: value`` chunks. rows: a table's cells, or a list's items as its only row.
    """

    kind: str
    text: str = ""
    id: str = ""
    level: int = 0
    number: str = ""
    fields: dict[str, str] = field(default_factory=dict)
    rows: list[list[str]] = field(default_factory=list)


@dataclass
class Document:
    """A text taken apart. targets: id ("fig-recalls") -> number; cited: the bibliography's keys, in order."""

    blocks: list[Block]
    targets: dict[str, str]
    cited: list[str]

    @property
    def title(self) -> dict[str, str]:
        return next((block.fields for block in self.blocks if block.kind == "title"), {})


def parse(text: str) -> Document:
    """Take a text apart and number what has numbers. Raises ValueError for a reference to nothing."""
    blocks, counts, sections = [], {"figure": 0, "table": 0}, [0, 0]
    for chunk in re.split(r"\n\s*\n", text.strip()):
        block = _block(chunk.strip())
        if block.kind == "heading":
            sections = [sections[0] + 1, 0] if block.level == 1 else [sections[0], sections[1] + 1]
            block.number = ".".join(str(n) for n in sections[: block.level])
        elif block.kind in counts:
            counts[block.kind] += 1
            block.number, block.id = str(counts[block.kind]), f"{block.kind[:3]}-{block.fields[block.kind]}"
        blocks.append(block)
    targets = {block.id: block.number for block in blocks if block.id}
    found = list(_INLINE.finditer(text))
    lost = {m["ref"] for m in found if m["ref"] and m["ref"].replace(":", "-") not in targets}
    if lost:
        raise ValueError(f"the text refers to {', '.join(sorted(lost))}, and there is no such thing")
    return Document(blocks, targets, list(dict.fromkeys(k for m in found for k in _keys(m["cited"]))))


def _block(chunk: str) -> Block:
    lines = [line.strip() for line in chunk.splitlines()]
    if heading := re.fullmatch(r"#(#+) (.+?) @([\w-]+)", chunk):
        return Block("heading", heading[2], f"sec-{heading[3]}", len(heading[1]))
    if key := re.match(r"(figure|table|title|note): ", chunk):
        block, name = Block(key[1]), ""
        for line in lines:
            if line.startswith("|"):
                block.rows.append([cell.strip() for cell in line.strip("|").split("|")])
            elif found := re.match(rf"({_KEYS}): (.*)", line):
                name, block.fields[found[1]] = found[1], found[2]
            else:
                block.fields[name] += f" {line}"
        return block
    if chunk.startswith("- "):
        return Block("list", rows=[re.split(r"\s*\n- ", "\n".join(lines)[2:])])
    return Block("text", " ".join(lines))


def _keys(cited: str | None) -> list[str]:
    return re.findall(r"@([\w-]+)", cited or "")


# --- typography ------------------------------------------------------------------------------------------


def typography(text: str, lang: str) -> str:
    """Apostrophes, and the spaces that a line must not break at: French ones before : ; ! ? % and within « »,
    in both languages those of "n = 12", "48 × 48" and "28 dB"."""
    text = text.replace("'", "’")
    if lang == "fr":
        text = re.sub(" ([;!?])", THIN + r"\1", text)
        text = re.sub(" ([:%»])", NBSP + r"\1", text).replace("« ", f"«{NBSP}")
    text = re.sub(r"\b([nMp]) ([=<≥≈]) (?=[\d−])", rf"\1{NBSP}\2{NBSP}", text)
    text = re.sub(r"(\d) × (?=\d)", rf"\1{NBSP}×{NBSP}", text)
    return re.sub(r"(\d) (?=(?:[Mks]|ms|dB|bits?|Mo|MB|pixels|points?|×)\b)", rf"\1{NBSP}", text)


class Numbers:
    """How numbers, dates and lists are written in a language; what a metrics file holds as null is a dash.

    words: of ``templates/fr.yml``. Every method is a filter of the templates: ``{{ 0.711|pct }}``.
    """

    def __init__(self, words: Mapping):
        self.words = words

    def num(self, value: float | None, digits: int = 1, sign: bool = False) -> str:
        """3588.96 -> "3 589,0"; a minus is a minus and no hyphen; sign: + too."""
        if value is None:
            return "–"
        text = f"{value:{'+' if sign else ''},.{digits}f}"
        text = text.translate({ord(","): self.words["thousands"], ord("."): self.words["decimal"]})
        return re.sub(r"^[+-](?=[0,. ]*$)", "", text).replace("-", "−")  # no sign before nothing

    def count(self, value: float | None) -> str:
        return self.num(value, 0)

    def pct(self, value: float | None, digits: int = 1) -> str:
        """0.711 -> "71,1 %"."""
        return "–" if value is None else self.num(100 * value, digits) + self.words["percent"]

    def points(self, value: float | None, digits: int = 1) -> str:
        """A difference of shares in points: 0.012 -> "+1,2"."""
        return "–" if value is None else self.num(100 * value, digits, sign=True)

    def ci(self, ends: Iterable[float | None], digits: int = 1, scale: float = 100) -> str:
        """[0.696, 0.726] -> "[69,6 ; 72,6]", in per cent if scale is 100."""
        texts = ["–" if end is None else self.num(scale * end, digits) for end in ends]
        return self.words["interval"].format(*texts).replace(" ", NBSP)

    def both(self, value: float | None, ends: Iterable[float | None], digits: int = 1) -> str:
        """A share with its interval: "71,1 % [69,6 ; 72,6]"."""
        return f"{self.pct(value, digits)} {self.ci(ends, digits)}"

    def million(self, value: float | None) -> str:
        return "–" if value is None else f"{self.num(value / 1e6, 2)} M"

    def p(self, value: float) -> str:
        """ "p < 0,001", "p = 0,040"."""
        return f"p < {self.num(0.001, 3)}" if value < 0.001 else f"p = {self.num(value, 3)}"

    def day(self, iso: str) -> str:
        day = datetime.date.fromisoformat(iso)
        first = self.words["first"] if day.day == 1 else str(day.day)
        return f"{first} {self.words['months'][day.month - 1]} {day.year}".replace(" ", NBSP)

    def listing(self, items: Iterable[str]) -> str:
        """ "a, b et c"."""
        *most, last = list(items) or ["–"]
        return f"{', '.join(most)} {self.words['and']} {last}" if most else last

    def filters(self) -> dict:
        names = ("num", "count", "pct", "points", "ci", "both", "million", "p", "day", "listing")
        return {name: getattr(self, name) for name in names}


# --- figures ---------------------------------------------------------------------------------------------


def translate(figure, labels: Iterable[tuple[str, str]]) -> None:
    """Replace a figure's words, pattern after pattern, also those that its axes make while it is drawn."""
    from matplotlib.text import Text
    from matplotlib.ticker import Formatter

    labels = [(re.compile(pattern), replacement) for pattern, replacement in labels]
    if not labels:
        return

    def translated(text: str) -> str:
        for pattern, replacement in labels:
            text = pattern.sub(replacement, text)
        return text.replace("'", "’")

    class Translated(Formatter):
        def __init__(self, said: Formatter):
            self.said = said

        def format_ticks(self, values):
            return [translated(text) for text in self.said.format_ticks(values)]

        def get_offset(self):
            return self.said.get_offset()

    for axis in [axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)]:
        if type(said := axis.get_major_formatter()).__name__ != "Translated":  # axes may share one
            axis.set_major_formatter(Translated(said))
    for text in figure.findobj(Text):
        text.set_text(translated(text.get_text()))


# --- two writers -----------------------------------------------------------------------------------------


class Html:
    """Lines of the markup as HTML."""

    def __init__(self, document: Document, words: Mapping, lang: str):
        self.document, self.words, self.lang = document, words, lang

    def __call__(self, text: str) -> str:
        """Text with markup -> HTML (or Typst); every character that means something there is escaped."""
        parts, end = [], 0
        for found in _INLINE.finditer(text):
            parts += [self.plain(text[end : found.start()]), self._markup(found)]
            end = found.end()
        return "".join([*parts, self.plain(text[end:])])

    def _markup(self, found: re.Match) -> str:
        if found["code"]:
            return self.code(found["code"])
        if found["words"]:
            return self.link(found["address"], self(found["words"]))
        if found["cited"]:
            numbers = {key: str(self.document.cited.index(key) + 1) for key in _keys(found["cited"])}
            return self.cite([self.jump(f"ref-{key}", self.plain(n)) for key, n in numbers.items()])
        if found["ref"]:
            to = found["ref"].replace(":", "-")
            words = f"{self.words['refs'][to[:3]]}{NBSP}{self.document.targets[to]}"
            return self.jump(to, self.plain(words))
        kind = "strong" if found["strong"] else "em"
        return getattr(self, kind)(self(found[kind]))

    def plain(self, text: str) -> str:
        return html.escape(typography(text, self.lang))

    def code(self, text: str) -> str:
        return f"<code>{html.escape(text)}</code>"

    def strong(self, text: str) -> str:
        return f"<strong>{text}</strong>"

    def em(self, text: str) -> str:
        return f"<em>{text}</em>"

    def link(self, address: str, words: str) -> str:
        return f'<a href="{html.escape(address)}">{words}</a>'

    def jump(self, to: str, words: str) -> str:
        return f'<a href="#{to}">{words}</a>'

    def cite(self, numbers: list[str]) -> str:
        return f"[{', '.join(numbers)}]"


class Typst(Html):
    """The same as Typst's markup."""

    def plain(self, text: str) -> str:
        return re.sub(r"([\\#$*_`@<>\[\]()~\"'/=+.;:-])", r"\\\1", typography(text, self.lang))

    def code(self, text: str) -> str:
        return f"#raw({json.dumps(text, ensure_ascii=False)})"

    def strong(self, text: str) -> str:
        return f"#strong[{text}]"

    def em(self, text: str) -> str:
        return f"#emph[{text}]"

    def link(self, address: str, words: str) -> str:
        return f"#link({json.dumps(address)})[{words}]"

    def jump(self, to: str, words: str) -> str:
        return f"#link(<{to}>)[{words}]"

    def cite(self, numbers: list[str]) -> str:
        return rf"\[{', '.join(numbers)}\]"
