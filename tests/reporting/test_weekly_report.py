"""The weekly report says what the metrics files say, in two languages, on paper and on the screen."""

from __future__ import annotations

import io
import json
import re
import shutil
from html.parser import HTMLParser

import pytest
from PIL import Image, PngImagePlugin

from facelib import paths
from facelib.cli import app
from facelib.emotions import EMOTIONS
from facelib.errors import InputError
from facelib.reporting import markup, plots, weekly_report
from helpers import modules_after

SPACES = str.maketrans("\u00a0\u202f", "  ")


#: A picture that is quick to draw, and from which no letter has to be read.
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="90" height="50"><path d="M0 0h9v9z"/></svg>'


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A folder with the recorded metrics and figures, in which pictures are quick to draw."""
    reports = paths.CHECKOUT / "reports"
    shutil.copytree(reports / "metrics", tmp_path / "reports" / "metrics")
    (tmp_path / "reports" / "figures").mkdir()
    for source in weekly_report.SOURCES.values():
        if source.slug.endswith(".png"):
            shutil.copy(reports / "figures" / source.slug, tmp_path / "reports" / "figures")
    monkeypatch.setenv("FACELIB_HOME", str(tmp_path))
    monkeypatch.setenv("FACELIB_PROJECT", str(tmp_path))
    monkeypatch.setattr(weekly_report, "_picture", lambda *_: ("image/svg+xml", SVG))
    return tmp_path


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """Both weeks in French with all their pictures: week -> HTML, PDF and the PDF's text."""
    found, home = {}, tmp_path_factory.mktemp("built")
    shutil.copytree(paths.CHECKOUT / "reports", home / "reports")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACELIB_HOME", str(home))
        patch.setenv("FACELIB_PROJECT", str(home))
        for week in weekly_report.WEEKS:
            page, pdf = (path.read_bytes() for path in weekly_report.build(week)[0])
            found[week] = page, pdf, of_pdf(pdf)
    return found


# --- reading a report back ---------------------------------------------------------------------------------


def plain(text: str) -> str:
    """Words with single spaces, and neither apostrophes nor hyphens at a line's end to stumble over."""
    return " ".join(text.translate(SPACES).replace("’", "'").split())


class Page(HTMLParser):
    """An HTML page taken apart: its tags with their attributes, and the text of its body."""

    def __init__(self, content: bytes):
        super().__init__()
        self.tags, self.words, self.silent = [], [], False
        self.feed(content.decode())
        self.text = plain("".join(self.words))

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.silent = tag in ("style", "title")
        if tag in ("p", "td", "th", "li", "h1", "h2", "h3", "figcaption", "caption"):
            self.words.append(" ")

    def handle_endtag(self, tag):
        self.silent = False

    def handle_data(self, data):
        if not self.silent:
            self.words.append(data)

    def all(self, *names: str) -> list[dict]:
        return [attributes for tag, attributes in self.tags if tag in names]


def of_pdf(content: bytes) -> str:
    pypdf = pytest.importorskip("pypdf")
    return plain(" ".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(content)).pages))


def metrics(name: str) -> dict:
    return json.loads(weekly_report.SOURCES[name].path.read_text())


def change(name: str, **new) -> None:
    """Overwrite entries of a metrics file: fields, or "metrics" with dots, as in ``recall.fear``."""
    record = metrics(name)
    for key, value in new.items():
        place = record if key in ("weights", "data", "command") else record["metrics"]
        *path, last = key.split("__")
        for step in path:
            place = place[step]
        place[last] = value
    weekly_report.SOURCES[name].path.write_text(json.dumps(record))


def text_of(week: int, lang: str = "fr") -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("typst.compile", lambda *_, **options: b"")
        return Page(weekly_report.build(week, lang)[0][0].read_bytes()).text


def percent(value: float, comma: str = ",") -> str:
    return f"{100 * value:.1f} %".replace(".", comma)


def interval(ends, scale: float = 100, digits: int = 1) -> str:
    return "[{} ; {}]".format(*(f"{scale * end:.{digits}f}".replace(".", ",") for end in ends))


def quoted(week: int):
    """What a week's French report must say, from the metrics files."""
    for model in weekly_report.NETWORKS:
        m = metrics(model)["metrics"]
        yield f"{percent(m['accuracy'])} {interval(m['accuracy_interval'])}"
        yield f"{m['macro_f1']:.3f}".replace(".", ",") + " " + interval(m["macro_f1_interval"], 1, 3)
        yield percent(m["unseen"]["accuracy"])
        yield percent(m["ece"])
        if week == 2:
            for emotion in EMOTIONS:
                yield f"{percent(m['recall'][emotion])} {interval(m['recall_interval'][emotion])}"
    if week == 2:
        audit = metrics("audit")["metrics"]
        yield f"{audit['exact_duplicates']['groups']:,}".replace(",", " ")
        yield from (percent(audit["agreement"]["of"][e]) for e in EMOTIONS)
        yield from (f"{audit['classes'][e]['n']:,}".replace(",", " ") for e in EMOTIONS)
        for name in ("haar", "yunet"):
            m = metrics(name)["metrics"]
            yield f"{percent(m['accuracy_colour'])} {interval(m['accuracy_colour_interval'])}"
        for row in metrics("detection")["metrics"]["rows"]:
            yield f"{row['found']} sur {row['annotated']}"
        for row in metrics("throughput")["metrics"]["rows"]:
            yield f"{row['pictures_per_s']:.2f}".replace(".", ",")
    else:
        for row in metrics("imbalance")["metrics"]["rows"]:
            yield percent(row["all"]["macro_f1"])
        codec, generator = (metrics(name)["metrics"] for name in ("codec", "generator"))
        yield f"{codec['psnr']:.1f} dB".replace(".", ",")
        yield f"{percent(codec['kept'])} {interval(codec['kept_interval'])}"
        yield from (percent(codec[kept]) for kept in ("kept_in_noise", "kept_uncoded"))
        for row in ("plain", "best", "real"):
            found = generator["agreement"][row]
            yield percent(found["balanced_accuracy"])
            yield from (percent(found["recall"][e]) for e in EMOTIONS)
        for found in generator["distance"].values():
            yield f"{found['frechet']:.2f}".replace(".", ",")


# --- what is printed ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("week", weekly_report.WEEKS)
def test_paper_and_screen_say_what_the_files_say(built, week):
    page, pdf = Page(built[week][0]).text, built[week][2]
    wanted = list(quoted(week))
    assert len(wanted) > 50
    assert not [text for text in wanted if text not in page]
    assert not [text for text in wanted if text not in pdf]
    for kind in ("Figure", "Tableau"):
        numbers = [sorted(set(re.findall(rf"{kind} (\d+) :", text)), key=int) for text in (page, pdf)]
        assert numbers[0] == numbers[1] == [str(n + 1) for n in range(len(numbers[0]))] != []
    missing = set(page) - set(pdf) - {"·"}  # every letter of the screen is on paper
    assert not missing and {"«", "»", "é", "√" if week == 3 else "×"} <= set(pdf) and "\ufffd" not in pdf
    assert max(map(len, built[week][:2])) < 1e6


@pytest.mark.parametrize("week", weekly_report.WEEKS)
def test_the_page_stands_alone_and_is_open_to_everybody(built, week):
    content = built[week][0]
    page = Page(content)
    assert page.all("html")[0]["lang"] == "fr" and not page.all("script", "link", "iframe")
    assert "viewport" in [each.get("name") for each in page.all("meta")]
    assert not re.search(rb"@import|url\(", content)
    assert all(each["src"].startswith("data:image/") for each in page.all("img"))
    assert all(len(each["alt"]) > 30 for each in page.all("img")) and len(page.all("img")) >= 4
    assert all(each["scope"] in ("col", "row") for each in page.all("th"))
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [each["href"] for each in page.all("a")]
    assert {link[1:] for link in links if link.startswith("#")} <= set(ids)
    assert all(re.match(r"#|https://", link) for link in links)
    cited = {link for link in links if link.startswith("#ref-")}
    assert cited == {f"#{each}" for each in ids if each.startswith("ref-")} and len(cited) > 10


@pytest.mark.parametrize("lang", ["fr", "en"])
@pytest.mark.parametrize("week", weekly_report.WEEKS)
def test_the_short_version_has_two_or_three_pages(home, week, lang):
    pypdf = pytest.importorskip("pypdf")
    page, pdf = weekly_report.build(week, lang, short=True)[0]
    assert page.stem in ("rapport-court", "report-short") and 2 <= len(pypdf.PdfReader(pdf).pages) <= 3
    text = Page(page.read_bytes()).text
    assert ("Tableau 1" if lang == "fr" else "Table 1") in text and "()" not in text
    assert "facelib evaluate" not in text  # no appendix


def test_a_short_version_refers_to_what_it_has():
    text = "title: T\nshort: b\n\n## A @a\n\nNo.\n\ntable: t\n| x |\n\n"
    text += "## B @b\n\nYes (1; @tab:t, @sec:a), @sec:b (@tab:t)."
    document = markup.parse(text, short=True)
    assert [block.text for block in document.blocks[1:]] == ["B", "Yes (1), @sec:b."]
    with pytest.raises(ValueError, match="tab:t"):
        markup.parse(text.replace("(@tab:t)", "@tab:t"), short=True)


def test_english_has_its_own_numbers(home):
    for week in weekly_report.WEEKS:
        written, stale = weekly_report.build(week, "en")
        assert [path.name for path in written] == ["report.html", "report.pdf"] and not stale
        page = Page(written[0].read_bytes())
        accuracy = metrics("facelib")["metrics"]["accuracy"]
        assert percent(accuracy, ".").replace(" ", "") in page.text and page.all("html")[0]["lang"] == "en"
        assert not re.search(r"\d,\d\b", page.text) and "«" not in page.text


@pytest.mark.parametrize(
    "path", sorted(weekly_report.TEMPLATES.glob("week-*.md")), ids=lambda path: path.name
)
def test_texts_speak_of_every_figure_and_hold_no_result(path):
    """Shares and decimals in the words themselves are levels, limits and definitions, never results."""
    text = path.read_text(encoding="utf-8")
    there = {f"@{kind[:3]}:{name}" for kind, name in re.findall(r"^(figure|table): (\w+)", text, re.M)}
    assert len(there) >= 10 and not [each for each in there if not re.search(rf"{each}\b", text)]
    words = re.sub(r"\{[{%#].*?[}%#]\}", "", text, flags=re.S)
    found = set(re.findall(r"\d+[.,]\d+|\d+ ?%", words))
    assert {each.replace(" ", "") for each in found} <= {"95%", "70%", "99%", "1%", "0.4", "0,4"}


def test_the_same_measurements_give_the_same_bytes(home):
    first = [path.read_bytes() for path in weekly_report.build(2)[0]]
    assert first == [path.read_bytes() for path in weekly_report.build(2)[0]]
    assert first != [path.read_bytes() for path in weekly_report.build(2, date="2027-01-31")[0]]
    records = weekly_report.gather(2)
    drawn = [weekly_report._drawn("plane", records, lang=lang) for lang in ("fr", "fr", "en")]
    assert drawn[0] == drawn[1] != drawn[2]


def test_what_is_committed_is_what_the_committed_metrics_give(tmp_path, monkeypatch):
    shutil.copytree(paths.CHECKOUT / "reports", tmp_path / "reports")
    monkeypatch.setenv("FACELIB_PROJECT", str(tmp_path))
    monkeypatch.setattr(weekly_report, "_picture", lambda *_: ("image/svg+xml", SVG))
    for name, options in (("rapport", []), ("rapport-court", ["--short"])):
        pages = [tmp_path / "reports" / f"semaine-{week}" / f"{name}.html" for week in weekly_report.WEEKS]
        committed = [Page(page.read_bytes()).text for page in pages]
        assert app.main(["report", *options]) == 0
        said = [Page(page.read_bytes()).text for page in pages]
        assert said == committed, "run `make report` and commit what it writes"


# --- sentences follow numbers ------------------------------------------------------------------------------


def test_a_report_in_french_takes_the_picture_in_french(tmp_path, monkeypatch):
    monkeypatch.setenv("FACELIB_PROJECT", str(tmp_path))
    monkeypatch.setenv("FACELIB_FIGURES", str(tmp_path / "reports" / "figures"))
    for lang, size in (("en", 2), ("fr", 3)):
        figure = plots.sheet(size, 1)
        monkeypatch.setenv("FACELIB_LANG", lang)
        plots.save_figure(figure, "01-astronaut")
    found = {lang: weekly_report._picture("astronaut", {}, lang)[1] for lang in ("en", "fr")}
    sizes = [Image.open(io.BytesIO(found[lang])).size for lang in ("en", "fr")]
    assert sizes[0] != sizes[1]
    (tmp_path / "reports/figures/01-astronaut.fr.png").unlink()
    assert weekly_report._picture("astronaut", {}, "fr")[1] == found["en"]


def change_arm(study: str, arm: str, against: str, view: str, **new) -> None:
    """Overwrite what a study says of an arm beside a control."""
    rows = metrics(study)["metrics"]["rows"]
    next(row for row in rows if row["name"] == arm)[f"against_{against}"][view].update(new)
    change(study, rows=rows)


def test_numbers_and_sentences_of_week_2_follow_the_files(home):
    before = text_of(2)
    ours = "notre réseau est significativement plus exact que .* et que le réseau du paquet fer"
    assert re.search(ours, before) and "76,5 %" not in before
    for words in ("la première rivale de la peur est donc la tristesse", "la peur n'y est pas rare mais mal "
                  "étiquetée", "Le nôtre ne s'en distingue pas", "C'est l'oubli catastrophique"):  # fmt: skip
        assert words in before
    change("confusion", rivals__share=0.3721, rivals__interval=[0.31, 0.44])
    change("fer", against__p=0.4)
    change("audit", classes__fear__noisy=False)
    change("facelib", accuracy=0.7654, ece=0.0912)
    less = {"accuracy": -0.0125, "accuracy_interval": [-0.04, 0.01], "accuracy_p_holm": 0.6}
    change_arm("two_stage", "rare", "longer", "all", **less)
    after = text_of(2)
    assert "37,2 % [31,0 ; 44,0] : la première rivale de la peur est donc bien la surprise" in after
    assert "notre réseau ne présente pas de différence significative avec le réseau du paquet fer" in after
    assert "mal étiquetée" not in after.split("Objectifs")[0] and "aucune n'est bruitée" in after
    assert "76,5 %" in after and "Le nôtre s'en distingue" in after
    assert "de −1,2 point [−4,0 ; 1,0], ce qui peut être dû au hasard" in after


def test_numbers_and_verdicts_of_week_3_follow_the_study_and_the_judge(home):
    before = text_of(3)
    gone = ("la preuve la plus forte", "ne bornent pas", "rien n'indique que le générateur recopie",
            "Les visages générés ne relèvent pas significativement le rappel du dégoût",
            "11 relèvent significativement le rappel du dégoût")  # fmt: skip
    assert not [words for words in gone if words not in before]
    assert "de 0,516 à 0,471 (−4,5 points, significatif) et l'exactitude baisse de 6,6 points" in before
    assert "il retrouve 49,2 % de la peur, un lecteur des votes 25,2 %, à précision égale" in before
    change_arm("helped", "over-rare", "none", "majority", macro_f1_p_holm=0.2)
    change("beyond", network__recall_interval=[0.2, 0.6])
    change("generator", copies__pixels__rate=0.037)
    rows = metrics("imbalance")["metrics"]["rows"]
    for row in rows[1:]:
        row["against_none"]["all"]["recall_p_holm"]["disgust"] = 1.0
    change("imbalance", rows=rows)
    rows = metrics("helped")["metrics"]["rows"]
    generated = next(row for row in rows if row["name"] == "generated")["against_none"]["all"]
    generated["recall"]["disgust"], generated["recall_p_holm"]["disgust"] = 0.1875, 0.01
    change("helped", rows=rows)
    after = text_of(3)
    assert not [words for words in gone if words in after]
    assert "aucune ne relève significativement le rappel du dégoût, qui est rare, et 2 relèvent" in after
    assert "Les visages générés relèvent le rappel du dégoût de +18,8 points [" in after
    assert "3,7 % des visages générés" in after and "s'approche donc parfois trop de ses exemples" in after


@pytest.mark.parametrize(
    "evil",
    [
        "<script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "[x](javascript:alert(1)) `*a* _b_ \\\\ | c",
        "@fig:nowhere [@nobody]",
        "x\n\n## Title @evil\n\nfigure: astronaut\nwidth: 1;evil:1\ncaption: c\nalt: a",
    ],
)
def test_what_files_say_is_escaped(home, evil):
    rows = metrics("detection")["metrics"]["rows"]
    rows[0]["detector"] = evil
    change("detection", rows=rows, command=evil, data=evil)
    change("audit", data=evil, weights=evil)
    authors = {"authors": [{"name": evil, "affiliation": evil}], "course": evil, "year": 2026}
    page = Page(weekly_report.build(2, authors=authors)[0][0].read_bytes())
    assert not page.all("script") and not [each for _, each in page.tags if "onerror" in each]
    assert not any("javascript" in each["href"] for each in page.all("a"))
    assert not any("evil" in str(each.get("id")) or "evil" in each.get("style", "") for _, each in page.tags)
    assert page.text.count(plain(evil)) >= 6  # each is shown as it stands


@pytest.mark.parametrize(
    ("name", "shown"), [("Ελένη Łuć", "Ελένη Łuć"), ("Дмитрий", "Дмитрий"), ("\ue000", "")]
)
def test_names_are_printed_or_named(home, name, shown):
    """Of the last no font has a letter."""
    if shown:
        assert shown in of_pdf(weekly_report.build(2, authors={"authors": [name]})[0][1].read_bytes())
        return
    with pytest.raises(InputError, match="no font here has .*install a font that has it") as error:
        weekly_report.build(2, authors={"authors": ["王 \U000e0fff" + name]})
    assert "\n" not in str(error.value)


# --- missing, damaged, stale -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "week, name", [(w, n) for w, (wanted, _) in weekly_report.WEEKS.items() for n in wanted]
)
def test_what_is_missing_is_named_with_the_command_that_makes_it(home, week, name):
    source = weekly_report.SOURCES[name]
    source.path.unlink()
    with pytest.raises(InputError) as error:
        weekly_report.build(week)
    assert f"{source} is missing; make it with `{source.command}`" in str(error.value)
    assert "\n" not in str(error.value) and str(error.value).count("is missing") == 1
    assert not (home / "reports" / f"semaine-{week}").exists()


def test_commands_that_make_files_exist():
    for source in weekly_report.SOURCES.values():
        program, *arguments = source.command.split()
        if program == "facelib":
            app.build_parser().parse_args(arguments)
        elif program == "make":
            assert f"\n{arguments[0]}:" in (paths.CHECKOUT / "Makefile").read_text(encoding="utf-8")
        else:
            assert (paths.CHECKOUT / arguments[0]).exists()


@pytest.mark.parametrize(
    "week, names, gone",
    [(2, ("tiny", "speed"), ("facelib, petit", "par lots de 64")), (3, ("helped",), ("score d'exactitude",))],
)
def test_what_may_be_missing_is_left_out_and_shown_once_there(home, week, names, gone):
    assert all(words in text_of(week) for words in gone)
    for name in names:
        weekly_report.SOURCES[name].path.unlink()
    assert not any(words in text_of(week) for words in gone)


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"date": "2026-11-22", "metrics": {}}',
                                     b'{"date": "today", "metrics": {}}'])  # fmt: skip
def test_a_damaged_file_is_an_error_in_one_line(home, content):
    weekly_report.SOURCES["audit"].path.write_bytes(content)
    with pytest.raises(InputError, match="make it again") as error:
        weekly_report.build(2)
    assert "\n" not in str(error.value)


def test_what_is_stale_is_marked_and_named(home):
    change("facelib", weights="feedfeedfeedfeed")
    change("audit", data="badbadbadbadbadb")
    (path, pdf), stale = weekly_report.build(2)
    wanted = [weekly_report.SOURCES[name] for name in ("audit", "facelib")]
    assert stale == [f"{source} is stale; make it again with `{source.command}`" for source in wanted]
    assert stale[0].startswith("reports/metrics/02-audit-fer2013.json is stale; make it again with `facelib ")
    page = path.read_text(encoding="utf-8")
    warned = page.split('class="warning"')[1].split("</div>")[0]
    assert "02-audit-fer2013" in warned and "feedfeedfeedfeed" in warned and "badbadbadbadbadb" in warned
    captions = re.findall(r'<(?:figure|div class="scroll") id="([\w-]+)"(.*?)</(?:fig)?caption>', page, re.S)
    marked = {name for name, caption in captions if "périmé" in caption}
    assert {"tab-classes", "fig-flow", "tab-reseaux", "fig-recalls"} <= marked
    assert not {"fig-drawn", "tab-detection", "tab-genre"} & marked
    assert of_pdf(pdf.read_bytes()).count("[périmé]") >= len(marked)


def test_a_picture_that_names_other_weights_is_stale(home):
    note = PngImagePlugin.PngInfo()
    note.add_text("weights", "feedfeedfeedfeed")
    Image.new("L", (60, 60)).save(weekly_report.SOURCES["faces"].path, pnginfo=note)
    assert weekly_report.build(3)[1] == [
        "reports/figures/08-faces.png is stale; make it again with `make notebooks ARGS=08`"
    ]


# --- the command -------------------------------------------------------------------------------------------


def test_the_command_builds_what_it_can_and_says_what_it_cannot(home, capsys):
    assert app.main(["report"]) == 0
    assert [line.rpartition("/")[2] for line in capsys.readouterr().out.split()] == 2 * [
        "rapport.html",
        "rapport.pdf",
    ]
    weekly_report.SOURCES["imbalance"].path.unlink()
    assert app.main(["report"]) == 1
    out, err = capsys.readouterr()
    assert "semaine-2" in out and "semaine-3" not in out
    assert err.startswith("facelib: week 3 cannot be reported") and len(err.splitlines()) == 1
    assert "make it with `facelib experiment imbalance --dataset fer2013 --seeds 3`" in err
    change("facelib", weights="feedfeedfeedfeed")
    assert app.main(["report", "--week", "2"]) == 0
    assert "is stale" in capsys.readouterr().err


def test_authors_are_parameters(home, capsys):
    place = home / "us.yml"
    place.write_text(
        "authors:\n- {name: Ada *L* <b>, affiliation: 'École #1', email: ada@example.org}\n- Zoé $x$\n"
        "course: Traitement d'images\nyear: 2026–2027\n",
        encoding="utf-8",
    )
    assert app.main(["report", "--week", "2", "--authors", str(place), "--date", "2026-12-01"]) == 0
    html_file, pdf = (home / "reports/semaine-2" / f"rapport.{kind}" for kind in ("html", "pdf"))
    page = Page(html_file.read_bytes())
    for text in (page.text, of_pdf(pdf.read_bytes())):
        assert "<b>" in text and "École #1" in text and "Zoé $x$" in text and "1er décembre 2026" in text
        assert "Traitement d'images" in text and "2026–2027" in text
    assert "mailto:ada@example.org" in [each["href"] for each in page.all("a")]
    place.write_text("authors: [A]\ndates: {2: 2026-11-27, 3: 2026-12-04}\n")
    assert app.main(["report", "--authors", str(place)]) == 0
    pages = [Page((home / f"reports/semaine-{week}/rapport.html").read_bytes()).text for week in (2, 3)]
    assert "27 novembre 2026" in pages[0] and "4 décembre 2026" in pages[1] and "mesures du" not in pages[0]
    evil = "[{name: A, email: 'x](javascript:alert(1))'}]"
    for wrong in ("[]", "[A]\ndates: soon", "[A]\ndates: {2: soon}", evil):
        place.write_text(f"authors: {wrong}\n", encoding="utf-8")
        assert app.main(["report", "--week", "2", "--authors", str(place)]) == 1
    assert app.main(["report", "--week", "2", "--authors", str(home / "missing.yml")]) == 1
    assert "missing.yml: no such file" in capsys.readouterr().err


def test_no_network_library_is_loaded(home):
    code = "from facelib.reporting import weekly_report as report\n"
    code += "report._picture = lambda *_: ('image/svg+xml', b'<svg xmlns=%s width=%s "
    code += "height=%s/>' % ((b'\"http://www.w3.org/2000/svg\"',) + (b'\"9\"',) * 2))\nreport.build(2)\n"
    code += "from facelib.reporting import dataset_figures, confusion_figures, generator_figures\n"
    code += "from facelib.reporting import result_figures, study_figures"
    loaded = modules_after(code)
    assert "typst" in loaded and not loaded & {"tensorflow", "keras", "torch", "jax"}


# --- the markup and the numbers ----------------------------------------------------------------------------


def test_numbers_in_two_languages():
    words = {"percent": " %", "interval": "[{} ; {}]", "first": "1er", "and": "et"}
    words |= {"point": "point", "points": "points"}
    french, english = markup.Numbers(words, "fr"), markup.Numbers(words, "en")
    assert english.count(35887) == "35,887" and english.num(0.35) == "0.3"  # 0.35 is a little less in binary
    assert french.count(35887) == "35\u202f887" and french.num(-1234.56, 1) == "−1\u202f234,6"
    assert french.pct(0.7114) == "71,1 %" and french.pct(None) == "–"
    assert french.points(0.0125) == "+1,2" and french.points(-0.0004, 1) == "0,0"
    assert french.ci([0.696, None]) == "[69,6\u00a0;\u00a0–]" and french.ci([1.5, 2], 2, 1).startswith(
        "[1,50"
    )
    found = [each.gap(x / 100) for each in (french, english) for x in (-0.2, 1.9, 2, 1)]
    assert found[:3] == ["−0,2\u00a0point", "+1,9\u00a0point", "+2,0\u00a0points"]
    assert found[4:] == ["−0.2\u00a0points", "+1.9\u00a0points", "+2.0\u00a0points", "+1.0\u00a0point"]
    assert french.million(3_772_199) == "3,77 M" and french.p(0.0004) == "p < 0,001"
    assert french.listing(["a"]) == "a" and french.listing("abc") == "a, b et c"
    assert french.day("2026-01-01") == "1er\u00a0janvier\u00a02026"


def test_french_spaces_do_not_break():
    found = markup.typography("« L'œil » : 12 % ; n = 3 ! 28 dB", "fr")
    assert found == "«\u00a0L’œil\u00a0»\u00a0: 12\u00a0%\u202f; n\u00a0=\u00a03\u202f! 28\u00a0dB"
    assert markup.typography("It's 12%: n = 3", "en") == "It’s 12%: n\u00a0=\u00a03"


def test_a_reference_to_nothing_is_an_error():
    with pytest.raises(ValueError, match="fig:nowhere"):
        markup.parse("See @fig:nowhere.")


def test_no_character_means_anything_to_the_printer():
    import typst

    letters, document = "".join(map(chr, range(33, 127))).replace("'", ""), markup.parse("text")
    text = f'{markup.escaped(letters)} 1. x *em*(a);b **bold**.field `co\\de"`'
    printed = of_pdf(typst.compile(markup.Typst(document, {}, "en")(text).encode()))
    wanted = f'{letters} 1. x em(a);b bold.field co\\de"'
    assert printed.replace(" ", "") == wanted.replace(" ", "")  # the line may break anywhere
    written = Page(markup.Html(document, {}, "en")(f"{markup.escaped(letters)} <script>").encode())
    assert written.text == f"{letters} <script>" and not written.tags
