"""The rules for notebooks, on each of them; and each with other parameters than those committed.

That the committed outputs are still true is nbval's part (`make test`).
"""

from __future__ import annotations

import ast
import re

import nbformat
import pytest

from facelib.batch import runner
from facelib.paths import CHECKOUT

EVERYWHERE = sorted((CHECKOUT / "notebooks").glob("**/*.ipynb")) if CHECKOUT else []
EVERYWHERE = [path for path in EVERYWHERE if ".ipynb_checkpoints" not in path.parts]
NOTEBOOKS = [path for path in EVERYWHERE if path.parent.name == "notebooks"]
#: Those that are written for a course: 01 to 06, and each that has solutions.
SOLUTIONS = [path.name for path in EVERYWHERE if path.parent.name == "solutions"]
WITH_EXERCISES = [path for path in NOTEBOOKS if path.stem < "07" or path.name in SOLUTIONS]
MEBIBYTE = 2**20
MACHINE = re.compile(r"(?<![\w.])/(home|root|Users|work|tmp|mnt)/\w|\b[A-Z]:\\\\\w")  # as in JSON
#: Small values of parameters that notebooks share: papermill injects those that a notebook has.
SMALL = {"dataset": "toy", "seed": 1}
#: Parameters of single notebooks, by name, that make a run short; these go before SMALL.
FAST: dict[str, dict[str, object]] = {
    "01-deepface-pipeline": {"repeats": 1, "peers": False},
    "02-fer2013-imbalance": {"n_faces": 1500, "n_bootstrap": 100},
    "03-fear-and-surprise": {"n_faces": 1000, "epochs": 1, "persons": 4, "n_matched": 200},
    "04-oversampling": {"n_faces": 1500, "n_test": 1000, "steps": 60},
    "05-two-stage-finetuning": {"n_faces": 1500, "n_validation": 1000, "steps": 60, "steps_more": 24},
    "06-encoder-results": {"n_faces": 3000, "groups": 2, "repeats": 2},
    "07-vqvae": {"n_faces": 1000, "steps": 40, "steps_small": 40},
    "08-emotion-generation": {"n_faces": 700, "codec_steps": 40, "prior_steps": 40, "n_each": 8},
}


def tagged(notebook, tag: str) -> list:
    return [cell for cell in notebook.cells if tag in cell.metadata.get("tags", [])]


def python(cell) -> str:
    """A code cell's source without IPython's own lines."""
    return re.sub(r"^(\s*)[%!].*", r"\1pass", cell.source, flags=re.M)


def faults(notebook) -> list[str]:
    """Which rules a committed notebook breaks."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    outputs = [output for cell in code for output in cell.outputs]
    parameters = tagged(notebook, "parameters")
    first = notebook.cells[0]
    lines = [line for cell in code if cell.id != "setup"  # the same in each: book/badges.py
             for line in cell.source.splitlines() if line.strip()]  # fmt: skip
    text = nbformat.writes(notebook)
    found = {
        "the first cell is a title, # and a question":
            first.cell_type == "markdown" and re.match(r"# .*\?", first.source),
        "one cell has the tag parameters": len(parameters) == 1,
        "at most 300 lines of code": len(lines) <= 300,
        "every cell is executed, from top to bottom":
            [cell.execution_count for cell in code] == list(range(1, len(code) + 1)),
        "no output is an error": not any(output.output_type == "error" for output in outputs),
        "no cell may raise: it stops papermill": not tagged(notebook, "raises-exception"),
        "nothing of papermill is committed":
            "papermill" not in notebook.metadata and not tagged(notebook, "injected-parameters"),
        "pictures are made by the notebook, not pasted":
            not any("attachments" in cell for cell in notebook.cells),
        "no path of a machine": not MACHINE.search(text),
        "smaller than 1.5 MB": len(text.encode()) < 1.5 * MEBIBYTE,
    }  # fmt: skip
    if any("dataset" in names(cell) for cell in parameters):
        said = " ".join(
            str(o.get("text", "")) + str(o.get("data", {}).get("text/plain", "")) for o in outputs
        )
        # A data set's faces may not be shown; synthetic ones may.
        found["committed from a run on the synthetic faces, and says so"] = re.search(
            r"drawn|synth[eé]ti|toy", said, re.I
        )
    return [rule for rule, kept in found.items() if not kept]


def names(cell) -> list[str]:
    """What a parameters cell assigns."""
    targets = []
    for node in ast.parse(python(cell)).body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets += node.targets if isinstance(node, ast.Assign) else [node.target]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def test_every_notebook_is_numbered_and_no_number_is_taken_twice():
    assert all(re.fullmatch(r"\d\d-[a-z0-9]+(-[a-z0-9]+)*", path.stem) for path in NOTEBOOKS)
    numbers = [path.stem[:2] for path in NOTEBOOKS]
    assert len(numbers) == len(set(numbers))


@pytest.mark.parametrize("path", EVERYWHERE, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_the_rules(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert faults(notebook) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_parameter_is_used(path):
    notebook = nbformat.read(path, as_version=4)
    (parameters,) = tagged(notebook, "parameters")
    rest = "\n".join(python(c) for c in notebook.cells if c.cell_type == "code" and c is not parameters)
    read = {node.id for node in ast.walk(ast.parse(rest)) if isinstance(node, ast.Name)}
    assert names(parameters) and not set(names(parameters)) - read


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_with_other_parameters(path, tmp_path):
    """nbval runs the defaults; here papermill injects others, as `facelib run --param` does."""
    (cell,) = tagged(nbformat.read(path, as_version=4), "parameters")
    chosen = {k: v for k, v in (SMALL | FAST.get(path.stem, {})).items() if k in names(cell)}
    assert runner.run([path.stem], chosen, timeout=600, output=tmp_path) == 0, (
        tmp_path / f"{path.stem}.log"
    ).read_text()
    executed = nbformat.read(tmp_path / path.name, as_version=4)
    assert [names(c) for c in tagged(executed, "injected-parameters")] == ([list(chosen)] if chosen else [])


def test_fast_names_notebooks_that_exist():
    assert set(FAST) <= {path.stem for path in NOTEBOOKS}


# --- exercises -------------------------------------------------------------------------------------------


def sources(path, tag: str) -> list[str]:
    return [cell.source for cell in tagged(nbformat.read(path, as_version=4), tag)]


@pytest.mark.parametrize("path", WITH_EXERCISES, ids=lambda path: path.stem)
def test_it_is_written_for_a_course(path):
    """The opening says what for and how long; prose leads to code; what is compared can be compared."""
    cells = nbformat.read(path, as_version=4).cells
    for word in ("What you will learn", "Core", "To read", "To run", "glossary"):
        assert word in cells[0].source, f"the opening does not say: {word}"
    kinds = [cell.cell_type for cell in cells]
    assert sum(a == b == "code" for a, b in zip(kinds, kinds[1:], strict=False)) <= 2
    ignored = [c for c in cells if "nbval-ignore-output" in c.metadata.get("tags", []) and c.outputs]
    assert len(ignored) <= 7, "only for versions, timings, and numbers of a network trained here"
    assert "\n## What we found" in "\n" + "\n".join(c.source for c in cells if c.cell_type == "markdown")


@pytest.mark.parametrize("path", WITH_EXERCISES, ids=lambda path: path.stem)
def test_each_exercise_has_a_stub_a_check_and_a_solution(path):
    solved = path.parent / "solutions" / path.name
    stubs, checks = sources(path, "exercise"), sources(path, "check")
    assert 2 <= len(checks) == len(stubs) == len(sources(solved, "solution")) <= 4
    assert all("None  # your code here" in stub for stub in stubs)
    assert sources(solved, "check") == checks  # the same, so that the solution solves this exercise


@pytest.mark.parametrize("path", WITH_EXERCISES, ids=lambda path: path.stem)
def test_solutions_pass_and_wrong_answers_do_not(path, monkeypatch, capsys):
    """The solution, then the check; each solution's cell holds a wrong answer (metadata "wrong") as well."""
    monkeypatch.chdir(path.parent)
    space = {"display": print, "__name__": "solutions"}
    notebook = nbformat.read(path.parent / "solutions" / path.name, as_version=4)
    solution = None
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        if "check" in cell.metadata.get("tags", []):
            exec(solution.metadata["wrong"], space)
            with pytest.raises(AssertionError):
                exec(cell.source, space)
            exec(solution.source, space)
        capsys.readouterr()
        exec(python(cell), space)
        if "check" in cell.metadata.get("tags", []):
            assert "Right." in capsys.readouterr().out
        elif "solution" in cell.metadata.get("tags", []):
            solution = cell
