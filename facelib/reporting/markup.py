"""From a report's text to HTML and PDF: Markdown with a few additions, the typography of two languages.

A text is in chunks between empty lines. ``## Title @id`` is a heading, lines that begin with ``-`` a list,
``| a | b |`` a row of a table; a chunk of ``key: value`` lines that begins with ``figure:``, ``table:``,
``title:`` or ``note:`` is a figure, a table, the title page or a remark. Within a line stand Markdown's
emphasis, code and links (markdown-it-py), ``[@source]`` for the bibliography, and ``@fig:name``,
``@tab:name``, ``@sec:name``, which become "figure 3". Both outputs take the same numbers, so that what is
called figure 3 on paper is figure 3 on a telephone. Numbers and dates are babel's.
"""

from __future__ import annotations

import datetime
import html
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from babel.dates import format_date
from babel.numbers import format_decimal
from markdown_it import MarkdownIt

_KEYS = "title|subtitle|short|abstract|figure|table|note|caption|alt|from|align|width"
_REFERENCE = re.compile(r"(?<!\\)(?:\[(?P<cited>@[\w-]+(?:; ?@[\w-]+)*)\]|@(?P<ref>(?:fig|tab|sec):[\w-]+))")
#: A space that a line must not break at; a narrow one.
NBSP, THIN = "\u00a0", "\u202f"
JOINERS = "\u200c\u200d"  # Persian and Indian names want them


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


def parse(text: str, short: bool = False) -> Document:
    """Take a text apart and number what has numbers. Raises ValueError for a reference to nothing.

    short: only the sections, figures and tables whose ids stand in the title page's line ``short:``; within
    parentheses, references to the others are left out too.
    """
    chunks = [chunk.strip() for chunk in re.split(r"\n\s*\n", text.strip())]
    chunks = _shortened(chunks) if short else chunks
    text, blocks, counts, sections = "\n\n".join(chunks), [], {"figure": 0, "table": 0}, [0, 0]
    for block in map(_block, chunks):
        if block.kind == "heading":
            sections = [sections[0] + 1, 0] if block.level == 1 else [sections[0], sections[1] + 1]
            block.number = ".".join(str(n) for n in sections[: block.level])
        elif block.kind in counts:
            counts[block.kind] += 1
            block.number, block.id = str(counts[block.kind]), f"{block.kind[:3]}-{block.fields[block.kind]}"
        blocks.append(block)
    targets = {block.id: block.number for block in blocks if block.id}
    found = list(_REFERENCE.finditer(text))
    lost = {m["ref"] for m in found if m["ref"] and m["ref"].replace(":", "-") not in targets}
    if lost:
        raise ValueError(f"the text refers to {', '.join(sorted(lost))}, and there is no such thing")
    return Document(blocks, targets, list(dict.fromkeys(k for m in found for k in _keys(m["cited"]))))


def _shortened(chunks: list[str]) -> list[str]:
    blocks = [_block(chunk) for chunk in chunks]
    wanted = next(block.fields["short"].split() for block in blocks if block.kind == "title")
    kept, above, inside = [], "", True  # a heading waits until something of its section is kept
    for chunk, block in zip(chunks, blocks, strict=True):
        if block.kind == "heading":
            inside = block.id.removeprefix("sec-") in wanted
            if block.level == 1:
                above = chunk
            if inside:
                kept += [each for each in dict.fromkeys((above, chunk)) if each]
                above = ""
        elif block.kind in ("figure", "table"):
            if f"{block.kind[:3]}-{block.fields[block.kind]}" in wanted:
                kept.append(chunk)
        elif inside:
            kept.append(chunk)
    there = {f"@{key.replace('-', ':', 1)}" for key in wanted}
    there |= {f"@sec:{key}" for key in wanted}

    def fewer(found: re.Match) -> str:
        parts = re.split(r"( ?[,;] )", found[2])
        gone = [re.match("@(fig|tab|sec):", part) and part not in there for part in parts]
        held = [i for i in range(0, len(parts), 2) if not gone[i]]
        inner = "".join(part for i in held for part in (parts[i - 1] * (i != held[0]), parts[i]))
        return f"{found[1]}({inner})" if inner else ""

    return [re.sub(r"( ?)\(([^()]*@(?:fig|tab|sec):[^()]*)\)", fewer, chunk) for chunk in kept]


def _block(chunk: str) -> Block:
    lines = [line.strip() for line in chunk.splitlines()]
    if heading := re.fullmatch(r"#(#+) (.+?) @([\w-]+)", chunk):
        return Block("heading", heading[2], f"sec-{heading[3]}", len(heading[1]))
    if key := re.match(r"(figure|table|title|note): ", chunk):
        block, name = Block(key[1]), ""
        for line in lines:
            if line.startswith("|"):
                cells = re.split(r"(?<!\\)\|", line.removeprefix("|").removesuffix("|"))
                block.rows.append([cell.strip() for cell in cells])
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


def _reference(state, silent: bool) -> bool:
    """Markdown-it's rule for ``[@source]`` and ``@fig:name``."""
    found = _REFERENCE.match(state.src, state.pos)
    if found and not silent:
        state.push("reference", "", 0).content = found[0]
    if found:
        state.pos = found.end()
    return bool(found)


_MARKDOWN = MarkdownIt("zero").enable(["escape", "backticks", "emphasis", "link"])
_MARKDOWN.inline.ruler.before("link", "reference", _reference)


def escaped(given: object) -> object:
    """What a file of measurements or authors says, so that its texts mean themselves and nothing in markup.

    Texts within lists and dicts too: in one line, without invisible characters, with a backslash before what
    would begin emphasis, code, a link, a reference or a table's next cell.
    """
    if isinstance(given, dict):
        return {key: escaped(value) for key, value in given.items()}
    if isinstance(given, list):
        return [escaped(value) for value in given]
    if not isinstance(given, str):
        return given
    shown = (each for each in " ".join(given.split()) if each.isprintable() or each in JOINERS)
    return re.sub(r"[\\`*\[\]|@]|(?<!\w)_|_(?!\w)", r"\\\g<0>", "".join(shown))


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

    def __init__(self, words: Mapping, lang: str):
        self.words, self.lang = words, lang

    def num(self, value: float | None, digits: int = 1, sign: bool = False) -> str:
        """3588.96 -> "3 589,0"; a minus is a minus and no hyphen; sign: + too, but neither before nothing."""
        if value is None:
            return "–"
        rounded = round(Decimal(value), digits)
        before = "−" if rounded < 0 else "+" if sign and rounded > 0 else ""
        return before + format_decimal(abs(rounded), f"#,##0.{'0' * digits}".rstrip("."), self.lang)

    def count(self, value: float | None) -> str:
        return self.num(value, 0)

    def pct(self, value: float | None, digits: int = 1) -> str:
        """0.711 -> "71,1 %"."""
        return "–" if value is None else self.num(100 * value, digits) + self.words["percent"]

    def points(self, value: float | None, digits: int = 1) -> str:
        """A difference of shares in points: 0.012 -> "+1,2"."""
        return "–" if value is None else self.num(100 * value, digits, sign=True)

    def gap(self, value: float | None, digits: int = 1) -> str:
        """A difference of shares with its unit: -0.002 -> "−0,2 point" (French counts two from 2 on)."""
        size = 0 if value is None else abs(round(100 * value, digits))
        one = size < 2 if self.lang == "fr" else size == 1
        return f"{self.points(value, digits)}{NBSP}{self.words['point' if one else 'points']}"

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
        text = format_date(datetime.date.fromisoformat(iso), "d MMMM y", self.lang)
        return re.sub("^1 ", f"{self.words['first']} ", text).replace(" ", NBSP)

    def listing(self, items: Iterable[str]) -> str:
        """ "a, b et c"."""
        *most, last = list(items) or ["–"]
        return f"{', '.join(most)} {self.words['and']} {last}" if most else last

    def filters(self) -> dict:
        names = ("num", "count", "pct", "points", "gap", "ci", "both", "million", "p", "day", "listing")
        return {name: getattr(self, name) for name in names}


# --- two writers -----------------------------------------------------------------------------------------


class Html:
    """Lines of a text as HTML; every character that means something there is escaped."""

    #: What is written for Markdown's tokens, and for references: {0} is an address, {1} words.
    TOKENS = {
        "em_open": "<em>", "em_close": "</em>", "strong_open": "<strong>", "strong_close": "</strong>",
        "link_open": '<a href="{0}">', "link_close": "</a>", "jump": '<a href="#{0}">{1}</a>',
        "cite": "[{1}]",
    }  # fmt: skip

    def __init__(self, document: Document, words: Mapping, lang: str):
        self.document, self.words, self.lang = document, words, lang

    def __call__(self, text: str) -> str:
        return "".join(map(self._token, _MARKDOWN.parseInline(text)[0].children))

    def _token(self, token) -> str:
        if token.type == "text":
            return self.plain(token.content)
        if token.type == "code_inline":
            return self.code(token.content)
        if token.type == "reference":
            return self._refer(_REFERENCE.fullmatch(token.content))
        return self.TOKENS[token.type].format(self.address(token.attrs.get("href", "")))

    def _refer(self, found: re.Match) -> str:
        jump = self.TOKENS["jump"].format
        if found["ref"]:
            to = found["ref"].replace(":", "-")
            words = f"{self.words['refs'][to[:3]]}{NBSP}{self.document.targets[to]}"
            return jump(to, self.plain(words))
        numbers = {key: str(self.document.cited.index(key) + 1) for key in _keys(found["cited"])}
        return self.TOKENS["cite"].format("", ", ".join(jump(f"ref-{k}", n) for k, n in numbers.items()))

    def address(self, url: str) -> str:
        return html.escape(url)

    def plain(self, text: str) -> str:
        return html.escape(typography(text, self.lang))

    def code(self, text: str) -> str:
        return f"<code>{html.escape(text)}</code>"


class Typst(Html):
    """The same as Typst's markup."""

    TOKENS = {
        "em_open": "#emph[", "em_close": "]", "strong_open": "#strong[", "strong_close": "]",
        "link_open": '#link("{0}")[', "link_close": "]", "jump": "#link(<{0}>)[{1}]", "cite": r"\[{1}\]",
    }  # fmt: skip

    def address(self, url: str) -> str:
        return url  # the parser has written quotes and backslashes as %22 and %5C

    def plain(self, text: str) -> str:
        return re.sub(r"([\\#$*_`@<>\[\]()~\"'/=+.;:-])", r"\\\1", typography(text, self.lang))

    def code(self, text: str) -> str:
        return f"#raw({json.dumps(text, ensure_ascii=False)})"
