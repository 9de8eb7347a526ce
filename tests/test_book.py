"""The website: built without a warning, whole in a browser; badges and first cells; the glossary.

$FACELIB_BOOK names a folder with the built site: then that is opened, instead of a small one made here.
"""

from __future__ import annotations

import ast
import functools
import html
import http.server
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import tomllib
import urllib.parse
from pathlib import Path

import pytest

from facelib import paths

pytestmark = pytest.mark.skipif(paths.CHECKOUT is None, reason="the book is in the checkout alone")
ROOT = paths.CHECKOUT or Path()
BOOK = ROOT / "book"
sys.path.insert(0, str(BOOK))
import badges  # noqa: E402
import build  # noqa: E402

from helpers import open_browser  # noqa: E402

MISSING = [name for name in ("sphinx", "myst_nb", "sphinx_book_theme") if not importlib.util.find_spec(name)]
needs_sphinx = pytest.mark.skipif(
    bool(MISSING) and "FACELIB_BOOK" not in os.environ,
    reason=f"{', '.join(MISSING)}: not installed; pip install -e '.[book]'",
)
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
    "optional-dependencies"
]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("**/[0-9][0-9]-*.ipynb"))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site; one notebook is enough for a test."""
    if "FACELIB_BOOK" in os.environ:
        return Path(os.environ["FACELIB_BOOK"]).resolve()
    folder = tmp_path_factory.mktemp("book")
    command = [sys.executable, str(BOOK / "build.py"), "02", "--output", str(folder)]
    done = subprocess.run(
        command, cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr  # a warning is an error
    return folder / "html"


def targets(page: Path) -> set[str]:
    """What a page links to, loads and shows, scripts apart."""
    text = re.sub(r"<script\b.*?</script>|<pre>.*?</pre>", "", page.read_text(encoding="utf-8"), flags=re.S)
    found = re.findall(r'<(?:a|img|link|iframe|source)\b[^>]*?\s(?:href|src)="([^"]*)"', text)
    return {html.unescape(target) for target in found}


@needs_sphinx
@pytest.mark.slow
def test_every_link_and_picture_of_the_site_is_there(site):
    pages = [page for page in site.rglob("*.html") if "_static" not in page.parts]
    ids = {page: set(re.findall(r'\bid="([^"]+)"', page.read_text(encoding="utf-8"))) for page in pages}
    assert {
        f"{language}/{page}.html" for language in build.LANGUAGES for page in ("index", "glossary", "api")
    } <= {page.relative_to(site).as_posix() for page in pages}
    broken = []
    for page in pages:
        for target in targets(page):
            parts = urllib.parse.urlsplit(target)
            if parts.scheme or parts.netloc or not (parts.path or parts.fragment):
                continue
            there = (page.parent / urllib.parse.unquote(parts.path)).resolve() if parts.path else page
            if not there.is_file() or (parts.fragment and there in ids and parts.fragment not in ids[there]):
                broken.append(f"{page.relative_to(site)}: {target}")
    assert not broken


@needs_sphinx
@pytest.mark.slow
def test_a_page_loads_nothing_from_another_host_and_leads_to_its_translation(site):
    for language, other in (("en", "fr"), ("fr", "en")):
        for page in (site / language).rglob("*.html"):
            if "_static" in page.parts:
                continue
            text = page.read_text(encoding="utf-8")
            loaded = re.findall(r'<(?:script|img|iframe)\b[^>]*\ssrc="(https?:[^"]*)"', text)
            loaded += re.findall(r'<link\b[^>]*rel="stylesheet"[^>]*href="(https?:[^"]*)"', text)
            assert not loaded, page
            (there,) = re.findall(rf'hreflang="{other}"\s+href="([^"]*)"', text)
            name = page.relative_to(site / language)
            twin = site / other / name
            expected = twin if twin.is_file() else site / other / "index.html"
            assert (page.parent / there).resolve() == expected, page


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    opened = open_browser(tmp_path_factory.mktemp("chromium"))
    yield opened
    opened.quit()


@pytest.fixture(scope="module")
def address(site):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=site)
    ) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


#: What is wrong with a page that the browser has open: how much too wide, which pictures are missing, whether
#: the language button is seen whole, and how many formulas are not set in lines.
LOOK = """
    const button = document.querySelector(".language-button"), box = button?.getBoundingClientRect();
    const seen = box && box.y >= 0 && document.elementFromPoint(box.x + box.width / 2, box.y + 3) === button;
    const high = m => m.getBoundingClientRect().height > 80 + m.getBoundingClientRect().width;
    return [document.documentElement.scrollWidth - innerWidth,
            [...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src),
            Boolean(seen),
            [...document.querySelectorAll("div.math math")].filter(high).length]"""


@needs_sphinx
@pytest.mark.slow
@pytest.mark.parametrize("width", [1400, 390])
def test_a_browser_shows_every_page_whole(site, address, browser, width):
    """Pictures and language button are there, nothing sticks out sideways, no error is logged."""
    faults = []
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500},
    )
    pages = [page for language in build.LANGUAGES for page in sorted((site / language).rglob("*.html"))]
    pages = [page for page in pages if "_static" not in page.parts] + sorted(site.glob("reports/*/*.html"))
    for page in pages:
        name = page.relative_to(site).as_posix()
        browser.get(f"{address}/{name}")
        wide, broken, button, columns = browser.execute_script(LOOK)
        faults += [f"{name}: {wide} pixels too wide"] * (wide > 0) + [f"{name}: {image}" for image in broken]
        if not name.startswith("reports/") and not button:
            faults.append(f"{name}: the language button is not there or not to be seen")
        faults += [f"{name}: {columns} formulas are set as a column"] * (columns > 0)
        faults += [
            f"{name}: {entry['message']}" for entry in browser.get_log("browser")
            if (entry["level"] == "SEVERE" or "theme mode" in entry["message"])
            and "/favicon.ico" not in entry["message"]  # a report, opened by itself, has none
        ]  # fmt: skip
    assert not faults


# --- one click -------------------------------------------------------------------------------------------


@pytest.fixture
def repository(tmp_path):
    """The files that `badges.py` changes, of this repository; two notebooks, one of them French."""
    (tmp_path / "notebooks" / "fr").mkdir(parents=True)
    for name in ("pyproject.toml", "README.md"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    for folder in ("notebooks", "notebooks/fr"):
        shutil.copyfile(NOTEBOOKS[0], tmp_path / folder / NOTEBOOKS[0].name)
    return tmp_path


def read(folder: Path) -> dict[str, str]:
    files = [folder / "pyproject.toml", folder / "README.md", *folder.glob("notebooks/**/*.ipynb")]
    return {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in files}


def test_badges_and_the_first_cell_are_set_once_and_follow_the_address(repository):
    before = read(repository)
    assert badges.main(["someone/faces"], repository) == 0
    first = read(repository)
    assert badges.main([], repository) == 0  # the address is in pyproject.toml now
    assert read(repository) == first != before
    assert 'Repository = "https://github.com/someone/faces"' in first["pyproject.toml"]
    stem = NOTEBOOKS[0].name
    colab = f"https://colab.research.google.com/github/someone/faces/blob/{build.BRANCH}/notebooks/"
    binder = f"https://mybinder.org/v2/gh/someone/faces/{build.BRANCH}?labpath=notebooks%2F"
    for name, folder in ((f"notebooks/{stem}", ""), (f"notebooks/fr/{stem}", "fr/")):
        title, setup, *rest = json.loads(first[name])["cells"]
        text = "".join(title["source"])
        assert text.startswith("# ") and colab + folder + stem in text
        assert binder + urllib.parse.quote(folder + stem, safe="") in text
        assert setup["id"] == build.SETUP and "git+https://github.com/someone/faces" in "".join(
            setup["source"]
        )
        old = [cell for cell in json.loads(before[name])["cells"] if cell.get("id") != build.SETUP]
        assert [cell["source"] for cell in rest] == [cell["source"] for cell in old[1:]]
        code = [cell for cell in (setup, *rest) if cell["cell_type"] == "code"]
        assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
        assert build.BADGE.sub("", text).split() == build.BADGE.sub("", "".join(old[0]["source"])).split()
    assert first["README.md"].count(colab) == first["README.md"].count(binder) == 1
    badges.main(["other/place"], repository)
    assert not [name for name, text in read(repository).items() if "someone/faces" in text]
    assert len(json.loads(read(repository)[f"notebooks/{stem}"])["cells"]) == len(old) + 1


def test_the_first_cell_does_nothing_where_facelib_is(repository):
    from IPython.core.inputtransformer2 import TransformerManager

    source = "".join(badges.setup_cell("https://github.com/a/b")["source"])
    code = TransformerManager().transform_cell(source)
    names = {"get_ipython": lambda: pytest.fail("it installs")}
    exec(compile(code, "setup", "exec"), names)
    asked = []
    shell = type("Shell", (), {"run_line_magic": lambda _, *words: asked.append(words)})()
    exec(compile(code.replace('"facelib"', '"facelib_that_is_missing"', 1), "setup", "exec"),
         {"get_ipython": lambda: shell})  # fmt: skip
    assert asked == [("pip", 'install --quiet "facelib[colab] @ git+https://github.com/a/b"')]


def test_what_the_first_cell_installs_is_what_notebooks_import():
    """facelib's own dependencies and the extra `colab`; IPython is there wherever a notebook is."""
    known = sys.stdlib_module_names | {"facelib", "IPython", "cv2", "PIL", "skimage", "sklearn", "deepface"}
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    lines = declared + EXTRAS["colab"]
    known |= {re.match(r"[\w-]+", line)[0].replace("-", "_") for line in lines}
    assert set(EXTRAS["colab"]) <= {line.split("  #")[0] for line in EXTRAS["notebooks"]}
    strangers = set()
    for path in NOTEBOOKS:
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "code":
                text = re.sub(r"^\s*[%!].*", "", "".join(cell["source"]), flags=re.M)
                found = re.findall(r"^\s*(?:import|from) (\w+)", text, re.M)
                strangers |= {f"{path.name}: {name}" for name in set(found) - known}
    assert not strangers


# --- the pages' sources ----------------------------------------------------------------------------------


def test_every_term_of_the_glossary_is_said_in_both_languages_and_sorted():
    terms = build.terms()
    assert len(terms) >= 80 and all(len(row) == 4 and all(row) for row in terms)
    for column in (0, 1):
        words = [row[column].lower() for row in terms]
        assert len(set(words)) == len(words)
    assert [row[0] for row in terms] == sorted((row[0] for row in terms), key=build.sortable)


def test_the_api_page_shows_the_public_interface_and_nothing_else():
    import facelib

    shown = set(re.findall(r"^\.\. auto\w+:: facelib\.(\w+)$", (BOOK / "api.md").read_text("utf-8"), re.M))
    assert shown == set(facelib.__all__)


def test_links_become_pages_or_lead_to_the_repository(tmp_path):
    pages = {
        "en": {"notebooks/01-a.ipynb": "01-a", "README.md": "index"},
        "fr": {"book/fr/index.md": "index"},
    }
    text = "[a](../../notebooks/01-a.ipynb#part) [b](../../facelib) [c](https://x.org)"
    made = build.relinked(text, "book/fr/index.md", pages, "fr", tmp_path)
    assert '<a href="../en/01-a.html#part">a</a>' in made and f"/tree/{build.BRANCH}/facelib)" in made
    assert made.endswith("[c](https://x.org)")
    with pytest.raises(SystemExit, match="nowhere.md leads nowhere"):
        build.relinked("[a](nowhere.md)", "README.md", pages, "en", tmp_path)


def test_french_spaces_do_not_break_lines_and_code_stays():
    text = "Qui ? « Lui » : 5 % ; **non !** `a : b ? c` $x : y$ | :--- | : |\n```\na ; b\n```"
    made = build.french_spaces(text)
    assert made.count("\u00a0") == 7 and "`a : b ? c` $x : y$ | :--- | : |\n```\na ; b\n```" in made
    assert "«\u00a0Lui\u00a0»\u00a0: 5\u00a0%\u00a0; **non\u00a0!**" in made


def test_the_french_front_page_names_every_notebook():
    text = (BOOK / "fr" / "index.md").read_text(encoding="utf-8")
    missing = [
        path.name for path in sorted(ROOT.glob("notebooks/[0-9][0-9]-*.ipynb")) if path.name not in text
    ]
    assert not missing


def test_make_names_what_binder_and_pages_use():
    assert (ROOT / "binder" / "requirements.txt").read_text().split("\n")[:2] == [
        "-c ../constraints.txt",
        "-e .[notebooks]",
    ]
    assert "make book" in (ROOT / ".github" / "workflows" / "pages.yml").read_text(encoding="utf-8")
    ast.parse((BOOK / "conf.py").read_text(encoding="utf-8"))
