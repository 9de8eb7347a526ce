"""Sphinx's settings for the website, one for both languages; ``build.py`` lays out the pages and calls it.

Nothing on a page comes from another host: formulas are MathML, which browsers draw by themselves, and
badges are left out for the launch buttons. So the site can be read offline, from a folder.
"""

from __future__ import annotations

import inspect
import re
import sys
from html import escape
from pathlib import Path

from docutils.utils.math.latex2mathml import tex2mathml

sys.path.insert(0, str(Path(__file__).resolve().parent))
from build import BRANCH, LANGUAGES, repository  # what both need is said there

import facelib
from facelib.study import metrics

french = tags.has("fr")  # noqa: F821 - Sphinx puts it here; `sphinx-build -t fr`
language = "fr" if french else "en"
other = "en" if french else "fr"

project = "facelib"
version = release = facelib.__version__
author = "les auteurs de facelib" if french else "the facelib authors"
project_copyright = f"{author}, licence MIT" if french else f"{author}, MIT licence"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon"]
templates_path = ["_templates"]
exclude_patterns = ["_build"]

# Pages: the outputs that are committed, never a run.
nb_execution_mode = "off"
nb_merge_streams = True
nb_ipywidgets_js = {}  # their scripts lie on other hosts; the static picture beside a widget is shown
nb_mime_priority_overrides = [("html", "application/vnd.jupyter.widget-view+json", None)]
suppress_warnings = ["myst.header"]  # a notebook's introduction has small headings below its title
myst_enable_extensions = ["amsmath", "colon_fence", "dollarmath", "substitution"]
myst_heading_anchors = 4
myst_dmath_double_inline = True
suppress_warnings = ["myst.header"]  # a subtitle under the title is smaller than a section, on purpose


def numbers() -> dict[str, str]:
    """What the French front page quotes, from the metrics files, as French writes numbers."""

    def percent(value: float) -> str:
        return f"{100 * value:.1f} %".replace(".", ",")

    def network(name: str) -> dict:
        return metrics.read_metrics(f"06-emotion-fer2013-privatetest-{name}")["metrics"]

    def arms(slug: str) -> dict:
        return {row["name"]: row["all"] for row in metrics.read_metrics(slug)["metrics"]["rows"]}

    ours, methods, stages = network("facelib"), arms("04-imbalance-fer2013"), arms("05-two-stage-fer2013")
    agreement = metrics.read_metrics("02-audit-fer2013")["metrics"]["agreement"]
    judged = metrics.read_metrics("08-generator-fer2013")["metrics"]["agreement"]
    found = {
        "accuracy": ours["accuracy"],
        "accuracy_fer": network("fer")["accuracy"],
        "accuracy_baseline": network("baseline")["accuracy"],
        "agreement": agreement["overall"],
        "agreement_fear": agreement["of"]["fear"],
        "stage_before": stages["none"]["accuracy"],
        "stage_after": stages["rare"]["accuracy"],
        "generated": judged["plain"]["balanced_accuracy"],
        "real": judged["real"]["balanced_accuracy"],
    }
    for name in ("disgust", "fear"):
        found |= {
            f"{name}_before": methods["none"]["recall"][name],
            f"{name}_after": methods["over"]["recall"][name],
        }
    low, high = map(percent, ours["accuracy_interval"])
    n = metrics.read_metrics("06-emotion-fer2013-privatetest-facelib")["n"]
    return {key: percent(value) for key, value in found.items()} | {
        "accuracy_interval": f"de {low} à {high}",
        "n": f"{n:,}".replace(",", "\u202f"),
    }


myst_substitutions = numbers()

# The public interface: the signatures and docstrings as they are in the package.
default_role = "code"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 90
add_module_names = False

html_theme = "sphinx_book_theme"
html_title = "facelib"
# A face, drawn here: an icon that is missing is an error in the browser's console.
html_favicon = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 9 9'%3E"
    "%3Ccircle cx='4.5' cy='4.5' r='4.4' fill='%23f0ad00'/%3E%3Ccircle cx='3' cy='3.5' r='.6'/%3E"
    "%3Ccircle cx='6' cy='3.5' r='.6'/%3E"
    "%3Cpath d='M2.5 5.5q2 2.5 4 0' fill='none' stroke='%23000'/%3E%3C/svg%3E"
)
html_static_path = ["_static"]
html_css_files = ["book.css"]
html_math_renderer = "mathml"
html_copy_source = False
html_show_sourcelink = False
html_last_updated_fmt = None
html_theme_options = {
    "repository_url": repository(),
    "repository_branch": BRANCH,
    "path_to_docs": LANGUAGES[language],
    "use_repository_button": True,
    "use_download_button": False,
    "home_page_in_toc": True,
    "show_toc_level": 2,
    "launch_buttons": {
        "notebook_interface": "jupyterlab",
        "colab_url": "https://colab.research.google.com",
        "binderhub_url": "https://mybinder.org",
    },
    "article_header_end": ["language.html", "article-header-buttons.html"],
    "navbar_persistent": [],
}
html_context = {
    "default_mode": "auto",  # of colours: light or dark, as the reader's system has it
    "other_language": other,
    "language_button": "English" if french else "Français",
}


# --- formulas ----------------------------------------------------------------------------------------------


def mathml(tex: str, block: bool) -> str:
    """Docutils' converter, and the two commands that it does not know; an equation's number stands beside."""
    number = re.search(r"\\tag\{([^}]*)\}", tex)
    tex = re.sub(r"\\tag\{[^}]*\}", "", tex).replace(r"\dots", r"\ldots")
    made = tex2mathml(tex.strip(), as_block=block)
    return f'{made}<span class="eqno">({escape(number[1])})</span>' if number else made


def visit_inline(translator, node):
    translator.body.append(mathml(node.astext(), block=False))
    raise_skip()


def visit_block(translator, node):
    translator.body.append(f'<div class="math">{mathml(node.astext(), block=True)}</div>')
    raise_skip()


def raise_skip():
    from docutils import nodes

    raise nodes.SkipNode


# --- docstrings --------------------------------------------------------------------------------------------


def arguments_as_list(app, what, name, obj, options, lines: list[str]) -> None:
    """Our docstrings write ``name: what it is``, one after the other: to Sphinx, a list of them."""
    try:
        names = "|".join(inspect.signature(obj).parameters)
    except (TypeError, ValueError):  # a module, a constant
        return
    start = re.compile(rf"(?:^|(?<=[.;)] ))(?=(?:{names})(?:, (?:{names}))*: )|(?<=\. )(?=Raises )")
    done = []
    for paragraph in "\n".join(lines).split("\n\n"):
        if not names or paragraph.startswith((">>>", " ", ".. ", ":")):
            done += [*paragraph.split("\n"), ""]
            continue
        for part in filter(None, start.split(" ".join(paragraph.split()))):
            named = re.match(rf"((?:{names})(?:, (?:{names}))*): (.*)", part)
            done += [f"* **{named[1]}**: {named[2]}" if named else part, ""]
    lines[:] = done


def find_other_pages(app) -> None:
    """Let the language button know which pages the other language has."""
    folder = Path(app.srcdir).parent / other
    pages = {path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.*")}
    app.config.html_context["other_pages"] = pages | {"genindex", "search"}


def setup(app):
    app.connect("builder-inited", find_other_pages)
    app.add_html_math_renderer(
        "mathml", inline_renderers=(visit_inline, None), block_renderers=(visit_block, None)
    )
    app.connect("autodoc-process-docstring", arguments_as_list)
