"""The weekly report: ``facelib report`` puts the texts of ``templates`` and measured numbers together.

A text says nothing about a result that it does not read from ``reports/metrics``: the templates hold words,
the files hold numbers, and which of two sentences is printed depends on the numbers. A file that is missing
is an error that names the command which makes it. One that was measured on other data, or with other weights
than the package ships, is *stale*: it is printed all the same, and marked as such in the report.
"""

from __future__ import annotations

import base64
import datetime
import io
import json
import math
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from facelib import paths
from facelib.emotions import EMOTIONS
from facelib.errors import InputError
from facelib.language import speaks
from facelib.models import registry
from facelib.study import metrics

TEMPLATES = paths.PACKAGE / "reporting" / "templates"
#: Where no authors are given.
DEFAULT_AUTHORS = {"authors": [{"name": "L'équipe facelib"}]}


@dataclass(frozen=True)
class Source:
    """A file that reports quote: its name in ``reports/metrics`` or, with .png, in ``reports/figures``.

    command: what makes it. cards: the model cards whose weights it was measured with, in the order in which
    the file names their digests. data: the model card whose data it was measured on.
    """

    slug: str
    command: str
    cards: tuple[str, ...] = ()
    data: str = ""

    @property
    def path(self) -> Path:
        if self.slug.endswith(".png"):
            return paths.figures() / self.slug
        return paths.metrics() / f"{self.slug}.json"

    def __str__(self) -> str:
        return self.path.relative_to(paths.project()).as_posix()


def _emotion(model: str, *cards: str) -> Source:
    command = "facelib evaluate emotion --dataset fer2013 --model facelib tiny baseline fer"
    return Source(f"06-emotion-fer2013-privatetest-{model}", command, cards, "emotion")


#: Everything that reports quote, under the name that the texts call it by.
SOURCES = {
    "astronaut": Source("01-astronaut.png", "make notebooks ARGS=01", ("emotion", "gender")),
    "drawn": Source("02-drawn-faces.png", "make notebooks ARGS=02"),
    "faces": Source("08-faces.png", "make notebooks ARGS=08", registry.GENERATOR),
    "detection": Source("01-detection", "python benchmarks/detection.py --photos DIR --yunet FILE"),
    "framing": Source("01-framing", "python benchmarks/framing.py --photos DIR --yunet FILE", (), "emotion"),
    "haar": Source("01-gender-haar", "facelib evaluate gender --data utkface64.parquet --detector haar",
                   ("gender",), "gender"),
    "yunet": Source("01-gender-yunet", "facelib evaluate gender --data utkface64.parquet --detector yunet",
                    ("gender",), "gender"),
    "throughput": Source("01-throughput", "python benchmarks/throughput.py --n 60 --photos DIR"),
    "beyond": Source("02-beyond-votes-fer2013", "facelib experiment votes --dataset fer2013 --model facelib",
                     ("emotion",), "emotion"),
    "audit": Source("02-audit-fer2013", "facelib audit --dataset fer2013", (), "emotion"),
    "confusion": Source("03-confusion-fer2013", "facelib experiment confusion --dataset fer2013",
                        ("emotion-baseline",), "emotion"),
    "facelib": _emotion("facelib", "emotion"),
    "tiny": _emotion("tiny", "emotion-tiny"),
    "baseline": _emotion("baseline", "emotion-baseline"),
    "fer": _emotion("fer"),
    "speed": Source("06-speed", "facelib evaluate emotion --speed --model facelib tiny baseline fer"),
    "imbalance": Source("04-imbalance-fer2013",
                        "facelib experiment imbalance --dataset fer2013 --seeds 3", (), "emotion"),
    "two_stage": Source("05-two-stage-fer2013",
                        "facelib experiment two-stage --dataset fer2013 --seeds 3", (), "emotion"),
    "codec": Source("08-codec-fer2013", "facelib evaluate vqvae --dataset fer2013", ("vqvae",), "emotion"),
    "generator": Source("08-generator-fer2013", "facelib evaluate generator --dataset fer2013",
                        registry.GENERATOR, "emotion"),
    "helped": Source("08-generated-fer2013", "facelib experiment generated --dataset fer2013 --seeds 3",
                     registry.GENERATOR, "emotion"),
}  # fmt: skip
#: week -> what its report cannot be without, and what it shows as soon as it is there.
WEEKS = {
    2: ("astronaut drawn detection framing haar yunet throughput audit confusion two_stage facelib "
        "baseline fer".split(), ["tiny", "speed"]),
    3: ("audit imbalance facelib tiny baseline fer speed codec generator faces".split(),
        ["helped", "beyond"]),
}  # fmt: skip
NETWORKS = ("facelib", "tiny", "baseline", "fer")


def build(
    week: int, lang: str = "fr", authors: Mapping | None = None, date: str | None = None, short: bool = False
) -> tuple[list[Path], list[str]]:
    """Write a week's report as HTML and PDF, whole or not at all.

    week: of ``WEEKS``. lang: "fr" or "en". authors: as in ``reports/authors.yml``. date: ISO; None: that of
    the week in ``authors``, else the report says when the newest measurement was made, so that the same
    measurements give the same bytes. short: the two or three pages of what the text's ``short:`` names.

    Returns the paths, and a line for each source that is stale. Raises InputError for sources that are
    missing or damaged, for authors without a name, or without the packages of the extra "notebooks".
    """
    try:
        import jinja2
        import typst  # noqa: F401  not to find out after all figures were drawn
        import yaml

        from facelib.reporting import markup  # needs babel and markdown-it-py
    except ImportError as error:
        raise InputError(f"{error.name} is not installed: run `pip install 'facelib[notebooks]'`") from None
    texts = ((TEMPLATES / f"{name}.yml").read_text(encoding="utf-8") for name in (lang, "references"))
    words, references = map(yaml.safe_load, texts)
    records = gather(week)
    for study in {"imbalance", "two_stage", "helped"} & set(records):
        for row in records[study]["metrics"]["rows"]:
            row["title"] = words["arms"].get(row["name"], row["title"])
    stale = {name: why for name in records if (why := _stale(SOURCES[name], records[name], words))}
    environment = _environment(words, lang)
    try:
        template = environment.get_template(f"week-{week}.{lang}.md")
        text = template.render(_context(records, words), short=short)
        document = markup.parse(text, short)
        names = [block.fields["figure"] for block in document.blocks if block.kind == "figure"]
        pictures = {name: _picture(name, records, lang) for name in names}
    except (jinja2.UndefinedError, LookupError, TypeError, ValueError, ArithmeticError) as error:
        why = " ".join(str(error).split())[:200]
        raise InputError(
            f"week {week}: a file in {paths.metrics()} lacks what the report quotes ({why}); make it again"
        ) from error
    authors = _authors(authors or DEFAULT_AUTHORS, words)
    date = date or authors["dates"].get(week)
    measured = max(record["date"] for record in records.values() if "date" in record)
    page = {
        "lang": lang,
        "short": short,
        "words": words,
        "doc": document,
        "date": date or measured,
        "dated": words["dated" if date else "measured"],
        "authors": authors,
        "references": references,
        "used": {name: SOURCES[name] for name in records},
        "commands": {name: record.get("command", SOURCES[name].command) for name, record in records.items()},
        "digests": {name: _digests(record) for name, record in records.items()},
        "stale": stale,
        "pictures": pictures,
    }
    folder = paths.metrics().parent / f"semaine-{week}"
    name = words["report"] + short * f"-{words['short']}"
    written = [folder / f"{name}.{kind}" for kind in ("html", "pdf")]
    for path, content in zip(written, _printed(environment, page), strict=True):
        with paths.atomic_write(path) as temporary:
            temporary.write_bytes(content)
    faults = [f"{SOURCES[name]} is stale; make it again with `{SOURCES[name].command}`" for name in stale]
    return written, faults


def _environment(words: Mapping, lang: str):
    import jinja2

    from facelib.reporting import markup

    options = {"autoescape": jinja2.select_autoescape(["html"]), "trim_blocks": True, "lstrip_blocks": True}
    options["undefined"] = jinja2.StrictUndefined  # what a file lacks is an error, not an empty place
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES), **options)
    environment.filters |= markup.Numbers(words, lang).filters() | {
        "the": words["the"].__getitem__,
        "emotion": words["emotions"].__getitem__,
        "network": words["networks"].__getitem__,
        "quoted": lambda text: json.dumps(text, ensure_ascii=False),
        "data": lambda picture: f"data:{picture[0]};base64,{base64.b64encode(picture[1]).decode()}",
    }
    return environment


def _printed(environment, page: Mapping) -> list[bytes]:
    """A report as HTML and as PDF."""
    import typst

    from facelib.reporting import markup

    def kept(picture: tuple[str, bytes]) -> str:
        """Put a picture where Typst finds it, and return its name."""
        name = f"{len(list(folder.iterdir()))}.{picture[0][6:9]}"  # svg, jpe
        (folder / name).write_bytes(picture[1])
        return name

    with tempfile.TemporaryDirectory() as scratch:
        folder, files = Path(scratch), []
        environment.filters["file"] = kept
        writers = (("html", markup.Html, environment.filters["safe"]), ("typ", markup.Typst, str))
        for kind, writer, safe in writers:
            write = writer(page["doc"], page["words"], page["lang"])
            environment.filters["inline"] = lambda text, write=write, safe=safe: safe(write(text))
            files.append(environment.get_template(f"page.{kind}").render(page).encode())
        (source := folder / "page.typ").write_bytes(files[1])
        for own in (True, False):  # Typst's own fonts give the same bytes everywhere
            try:
                options = {"ignore_system_fonts": own, "pdf_standards": ["ua-1"]}
                return [files[0], typst.compile(source, root=folder, **options)]
            except RuntimeError as error:
                lacking = r".*the text .(.+). could not be displayed.*"
                why = re.sub(lacking, r"no font here has \1", str(error))
    raise InputError(f"{why.splitlines()[0]}: install a font that has it, or spell the names otherwise")


# --- what is there, and whether it is up to date -----------------------------------------------------------


def gather(week: int) -> dict[str, dict]:
    """What stands in each of a week's sources, under its name in ``SOURCES``; of pictures, their weights.

    Raises InputError that names each missing or damaged file, and the command that makes it.
    """
    wanted, welcome = WEEKS[week]
    records, faults = {}, []
    for name in [*wanted, *welcome]:
        source = SOURCES[name]
        try:
            if source.path.suffix == ".png":
                from PIL import Image

                with Image.open(source.path) as picture:
                    records[name] = {"weights": picture.info.get("weights")}  # who saved it may have said so
            else:
                records[name] = metrics.read_metrics(source.slug)
                datetime.date.fromisoformat(records[name]["date"])
        except FileNotFoundError:
            if name in wanted:
                faults.append(f"{source} is missing; make it with `{source.command}`")
        except (OSError, ValueError, TypeError, KeyError):
            faults.append(f"{source} is damaged; make it again with `{source.command}`")
    if faults:
        raise InputError(f"week {week} cannot be reported from {paths.project()}: {'. '.join(faults)}")
    return records


def _stale(source: Source, record: Mapping, words: Mapping) -> str:
    """Why a source no longer fits the package, in the report's language; "" if it does, or does not say."""
    from facelib.reporting import markup

    shipped = set(registry.shipped())
    cards = [registry.card(name) if name in shipped else {} for name in source.cards]
    weights = " ".join(card.get("weights_digest", "–") for card in cards)
    if weights and record.get("weights") not in (None, weights):
        return words["stale_weights"].format(markup.escaped(record["weights"]), weights)
    data = registry.card(source.data)["data_digest"] if source.data else None
    if data and record.get("data") != data:
        return words["stale_data"].format(markup.escaped(record.get("data")), data)
    return ""


def _digests(record: Mapping) -> list[str]:
    return [digest for key in ("data", "weights") for digest in str(record.get(key) or "").split()]


# --- what the texts see ----------------------------------------------------------------------------------


def _context(records: Mapping[str, Mapping], words: Mapping) -> dict:
    """What a text can name: each source by its name, its metrics beside its own fields; and a few verbs."""
    from facelib.reporting import markup
    from facelib.study import experiments, significance

    flat = {name: {**record, **record.get("metrics", {})} for name, record in records.items()}
    flat = markup.escaped(flat)

    def least(values: Mapping, key: str = "", sign: int = 1) -> str:
        """The name of the least value, or of the one whose ``key`` is least; what is null does not count."""
        found = {name: value[key] if key else value for name, value in values.items()}
        return min((n for n in found if found[n] is not None), key=lambda n: sign * found[n])

    def above(one: Mapping, other: Mapping) -> list[str]:
        """Emotions whose recall has an interval that lies above the other's."""
        ends = one["recall_interval"], other["recall_interval"]
        return [e for e in EMOTIONS if (ends[0][e][0] or 0) > (ends[1][e][1] or 0)]

    def duels(networks: Mapping[str, Mapping]) -> dict[str, dict]:
        """McNemar's test of our network against each other one, p after Holm's correction, by outcome."""
        pairs = {n: m["against"] for n, m in networks.items() if m["against"]["model"] == "facelib" != n}
        corrected = significance.holm([each["p"] for each in pairs.values()]).tolist()
        found = {"won": {}, "lost": {}, "even": {}}
        for (name, pair), p in zip(pairs.items(), corrected, strict=True):
            outcome = "even" if p >= 0.05 else "won" if pair["only_a"] > pair["only_b"] else "lost"
            found[outcome][name] = {**pair, "p": p}
        return found

    def effects(study: Mapping, metric: str, control: str = "none") -> dict[str, list]:
        """The arms that raise a metric, or lower it, also after Holm's correction; strongest first."""
        found = [(*experiments.change(row, metric, control=control), row) for row in study["rows"]]
        held = sorted((each for each in found if each[2]), key=lambda each: -abs(each[0]))
        return {"up": [e[3] for e in held if e[0] > 0], "down": [e[3] for e in held if e[0] < 0]}

    return {name: flat.get(name) for name in SOURCES} | {
        "words": words,
        "EMOTIONS": EMOTIONS,
        "networks": {name: flat[name] for name in NETWORKS if name in flat},
        "cards": {name: registry.card(name) for name in registry.shipped()},
        "named": lambda rows, key: {row[key]: row for row in rows},
        "where": lambda rows, key: [e for e in EMOTIONS if rows[e][key]],
        "cells": lambda matrix, e: dict(zip(EMOTIONS, matrix[EMOTIONS.index(e)], strict=True)),
        "log2": math.log2,
        "least": least,
        "most": lambda values, key="": least(values, key, -1),
        "above": above,
        "duels": duels,
        "effects": effects,
        "find": experiments.find,
        "change": experiments.change,
        "excess": metrics.excess,
        "honest": metrics.honest_error,
    }


def _authors(given: Mapping, words: Mapping) -> dict:
    from facelib.reporting import markup

    people = [each if isinstance(each, dict) else {"name": each} for each in given.get("authors") or ()]
    people = [{key: str(each.get(key) or "") for key in ("name", "affiliation", "email")} for each in people]
    if not people or not all(each["name"] for each in people):
        raise InputError("the file of authors wants a list `authors:` in which each has a `name:`")
    for each in people:
        if each["email"] and not re.fullmatch(r"[\w.+%-]+@[\w.-]+", each["email"]):
            raise InputError(f"the file of authors has {each['email']!r}, which is no e-mail address")
    lines = [(f"{words[key]}{words['colon']}" if key in words else "") + markup.escaped(str(given[key]))
             for key in ("course", "teacher", "group", "year") if given.get(key)]  # fmt: skip
    names = [" ".join(each["name"].split()) for each in people]
    people = [markup.escaped(each) | {"email": each["email"]} for each in people]
    dates = given.get("dates") or {}
    try:
        dates = {int(week): datetime.date.fromisoformat(str(day)).isoformat() for week, day in dates.items()}
    except (AttributeError, TypeError, ValueError):
        wanted = "`dates:` as in {2: 2026-12-04}, a day for a week"
        raise InputError(f"the file of authors wants {wanted}") from None
    return {"people": people, "names": names, "lines": lines, "dates": dates}


# --- pictures --------------------------------------------------------------------------------------------


def _picture(name: str, records: Mapping[str, Mapping], lang: str) -> tuple[str, bytes]:
    """A picture of the report, its type and its bytes: drawn anew from the metrics, or from its file."""
    if name not in SOURCES:
        return "image/svg+xml", _drawn(name, records, lang=lang)
    from PIL import Image

    kept, place = io.BytesIO(), SOURCES[name].path
    translated = place.with_suffix(f".{lang}.png")
    with Image.open(translated if translated.exists() else place) as picture:
        gray = picture.convert("L" if picture.mode in ("L", "LA", "1") else "RGB")
        gray.thumbnail((1200, 1200))
        gray.save(kept, "JPEG", quality=70, optimize=True)  # a fifth of the PNG; a PDF takes it as it is
    return "image/jpeg", kept.getvalue()


@speaks
def _drawn(name: str, records: Mapping[str, Mapping]) -> bytes:
    """A figure of the laboratory as SVG, its words in the report's language."""
    import matplotlib

    from facelib.reporting import (
        confusion_figures,
        dataset_figures,
        generator_figures,
        result_figures,
        study_figures,
    )

    networks = {key: records[key] for key in NETWORKS if key in records}

    found = {key: record["metrics"] for key, record in records.items() if "metrics" in record}
    titles = {result_figures.NETWORKS[key][0]: key for key in ("baseline", "facelib")}
    two = {title: {"counts": found[key]["confusion"]} for title, key in titles.items()}
    curves = {key: found[key]["reliability"] for key in networks}
    figure = {
        "flow": lambda: dataset_figures.label_flow(found["audit"], "FER-2013"),
        "plane": lambda: dataset_figures.rare_noisy({"": found["audit"]}),
        "confusions": lambda: confusion_figures.matrices(two),
        "recalls": lambda: result_figures.recalls(networks),
        "reliability": lambda: result_figures.reliability(curves),
        "overview": lambda: result_figures.overview(networks, records.get("speed")),
        "cures": lambda: study_figures.methods(records["imbalance"]),
        "stages": lambda: study_figures.stages(records["two_stage"]),
        "forgetting": lambda: study_figures.forgetting(records["two_stage"]),
        "agreement": lambda: generator_figures.agreement(records["generator"]),
    }[name]()
    kept = io.BytesIO()
    # The salt replaces matplotlib's random numbering of an SVG's parts; letters are drawn, not named.
    with matplotlib.rc_context({"svg.hashsalt": name, "svg.fonttype": "path"}):
        figure.savefig(kept, format="svg", bbox_inches="tight", metadata={"Date": None})
    return kept.getvalue()
