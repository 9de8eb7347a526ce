"""pyproject.toml, environment.yml and constraints.txt say the same, and the Makefile explains itself."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import facelib

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
#: The machines we promise: Python, and platform as the environment markers name it.
PYTHONS = ("3.11", "3.12", "3.13")
PLATFORMS = (
    ("linux", "x86_64", "Linux", "posix"),
    ("linux", "aarch64", "Linux", "posix"),
    ("darwin", "arm64", "Darwin", "posix"),
    ("win32", "AMD64", "Windows", "nt"),
)


def requirements(*extras: str) -> list[Requirement]:
    lines = PROJECT["dependencies"] + [line for extra in extras for line in EXTRAS[extra]]
    return [r for r in map(Requirement, lines) if r.name != "facelib"]


def constraints() -> list[Requirement]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def conda() -> tuple[list[str], list[str]]:
    """What environment.yml takes from conda, and what from pip."""
    lines = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    (pip,) = (line["pip"] for line in lines if isinstance(line, dict))
    return [line for line in lines if isinstance(line, str)], pip


def machines():
    for python in PYTHONS:
        for sys_platform, machine, system, os_name in PLATFORMS:
            yield {
                "python_version": python,
                "python_full_version": f"{python}.9",
                "sys_platform": sys_platform,
                "platform_machine": machine,
                "platform_system": system,
                "os_name": os_name,
                "implementation_name": "cpython",
                "platform_python_implementation": "CPython",
            }


def holds(requirement: Requirement, machine: dict[str, str]) -> bool:
    return requirement.marker is None or requirement.marker.evaluate(machine | {"extra": ""})


@pytest.mark.parametrize("requirement", requirements(*EXTRAS), ids=lambda r: r.name)
def test_every_dependency_is_bounded_on_both_sides(requirement):
    operators = {specifier.operator for specifier in requirement.specifier}
    assert operators in ({">=", "<"}, {"=="}), f"{requirement}: write >=LOWEST,<NEXT_MAJOR"


def test_constraints_pin_every_dependency_inside_its_bounds_on_every_machine():
    pins = constraints()
    for machine in machines():
        pinned = {}
        for pin in pins:
            if holds(pin, machine):
                name = canonicalize_name(pin.name)
                assert name not in pinned, f"{name} is pinned twice for {machine}"
                (pinned[name],) = (s.version for s in pin.specifier if s.operator == "==")
        for requirement in requirements(*EXTRAS):
            if holds(requirement, machine):
                version = pinned.get(canonicalize_name(requirement.name))
                assert version, f"constraints.txt has no {requirement.name} for {machine}: make constraints"
                assert version in requirement.specifier, f"{requirement.name} {version} is not {requirement}"
        tensorflow = pinned.get("tensorflow-cpu", pinned["tensorflow"])
        assert pinned["tensorflow"] == tensorflow  # the two builds of one library
        assert pinned["tf-keras"].split(".")[:2] == tensorflow.split(".")[:2]
        cv2 = {version for name, version in pinned.items() if name.startswith("opencv-")}
        assert len(cv2) == 1  # three wheels that write the same folder


def test_constraints_are_exact_and_of_no_platform_or_host():
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert not re.search(r"nvidia|--|://| @ ", text)
    loose = [str(pin) for pin in constraints() if [s.operator for s in pin.specifier] != ["=="] or pin.extras]
    assert not loose


def test_exactly_one_tensorflow_on_every_machine():
    for machine in machines():
        builds = [r.name for r in requirements() if r.name.startswith("tensorflow") and holds(r, machine)]
        assert len(builds) == 1, (machine, builds)
        small = (machine["sys_platform"], machine["platform_machine"]) in (
            ("linux", "x86_64"),
            ("win32", "AMD64"),
        )
        assert builds == ["tensorflow-cpu" if small else "tensorflow"]


def test_environment_yml_has_the_same_bounds():
    ours, pip = conda()
    options = [line for line in pip if line.startswith("-")]
    listed = [str(Requirement(line)) for line in pip if not line.startswith("-")]
    assert sorted(listed) == sorted(str(r) for r in requirements("notebooks", "cluster", "test"))
    assert options == ["-c constraints.txt", "-e ."]
    (python,) = (line.removeprefix("python") for line in ours if line.startswith("python"))
    assert SpecifierSet(python) == SpecifierSet(PROJECT["requires-python"])


def test_every_promised_python_is_allowed_and_no_other():
    allowed = SpecifierSet(PROJECT["requires-python"])
    assert [v for v in ("3.10", *PYTHONS, "3.14") if allowed.contains(f"{v}.0")] == list(PYTHONS)


def test_the_version_is_said_once_and_again():
    assert PROJECT["version"] == facelib.__version__
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (citation["version"], citation["license"]) == (facelib.__version__, PROJECT["license"])


def test_every_folder_of_the_package_is_installed():
    """And the recorded metrics, as the folder ``recorded``, whose place is outside of the package."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    folders = {path.parent.relative_to(ROOT) for path in (ROOT / "facelib").rglob("*.py")}
    assert sorted(listed["packages"]) == sorted([".".join(f.parts) for f in folders] + ["facelib.recorded"])
    assert listed["package-dir"] == {"facelib.recorded": "reports/metrics"}
    kept = [file for folder, globs in listed["package-data"].items() for name in globs
            for file in ROOT.glob(f"{listed['package-dir'].get(folder, folder)}/{name}")]  # fmt: skip
    wanted = [*ROOT.glob("facelib/weights/*"), *ROOT.glob("facelib/reporting/templates/*")]
    wanted += [*ROOT.glob("reports/metrics/*"), ROOT / "facelib/french.txt"]
    assert sorted(kept) == sorted(path for path in wanted if path.is_file())


def test_hooks_check_with_the_versions_last_seen_green():
    repositories = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    wanted = [
        line for repo in repositories for hook in repo["hooks"] for line in hook["additional_dependencies"]
    ]
    assert wanted and set(wanted) <= {str(pin) for pin in constraints()}


def test_continuous_integration_runs_the_two_commands_on_every_promised_python():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    job = workflow["jobs"]["test"]
    assert tuple(job["strategy"]["matrix"]["python"]) == PYTHONS
    run = " ".join(step.get("run", "") for step in job["steps"])
    assert "make run" in run and "make test" in run


def test_what_is_imported_is_declared():
    """An import that works only because another package brings it along breaks with that package."""
    modules = {"cv2": "opencv-python-headless", "PIL": "pillow", "skimage": "scikit-image"}
    modules |= {"sklearn": "scikit-learn", "imblearn": "imbalanced-learn", "yaml": "pyyaml"}
    modules |= {"markdown_it": "markdown-it-py"}
    # jupyter_client is ipykernel's own way to be started, IPython is what runs in it
    modules |= {"jupyter_client": "ipykernel", "IPython": "ipykernel", "tensorflow": "tensorflow-cpu"}
    modules |= {"torch": "keras"}  # imported only where Keras itself computes with it
    declared = {canonicalize_name(r.name) for r in requirements(*EXTRAS)}
    for path in sorted((ROOT / "facelib").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            found = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                found = [node.module]
            for module in {name.split(".")[0] for name in found} - sys.stdlib_module_names - {"facelib"}:
                assert canonicalize_name(modules.get(module, module)) in declared, f"{path.name}: {module}"


# --- make ------------------------------------------------------------------------------------------------

posix = pytest.mark.skipif(os.name != "posix", reason="the Makefile wants a POSIX shell")


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    environment = {
        k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "VENV")
    }
    command = ["make", "-f", str(ROOT / "Makefile"), "--no-print-directory", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@posix
def test_make_help_documents_every_target():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (phony,) = re.findall(r"^\.PHONY: (.*)$", makefile, re.M)
    done = make(ROOT)
    assert [line.split()[0] for line in done.stdout.splitlines()[1:]] == phony.split()


@pytest.fixture
def checkout(tmp_path):
    """A folder, with spaces in its name, where make finds its inputs and stand-ins for Python."""
    folder = tmp_path / "a check out"
    folder.mkdir()
    for name in ("pyproject.toml", "constraints.txt"):
        (folder / name).touch()
    return folder


def stand_in(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@posix
def test_make_names_the_pythons_it_wants_in_one_line(checkout):
    stand_in(checkout / "old", "exit 1")
    done = make(checkout, "run", "UV=", "PYTHON=./old")
    said = done.stderr.splitlines()
    assert done.returncode and "needs Python 3.11, 3.12 or 3.13" in said[0] and "./old" in said[0]
    assert not [line for line in said[1:] if not line.startswith("make")]


@posix
def test_an_interrupted_installation_is_taken_up_again_and_a_finished_one_left_alone(checkout):
    python = checkout / "env" / "bin" / "python"
    log = 'case "$*" in *"pip install"*) echo install >> log;; *"facelib run"*) echo ran >> log;; esac; '
    stand_in(python, log + 'case "$*" in *"pip install"*) exit 1;; esac')
    assert make(checkout, "run", "UV=", "VENV=env").returncode
    assert not (checkout / "env" / ".run").exists()
    stand_in(python, log)
    for _ in range(2):
        assert make(checkout, "run", "UV=", "VENV=env").returncode == 0
    assert (checkout / "log").read_text().split() == ["install", "install", "ran", "ran"]
    later = (checkout / "env" / ".run").stat().st_mtime + 5
    os.utime(checkout / "constraints.txt", (later, later))
    assert make(checkout, "run", "UV=", "VENV=env").returncode == 0
    assert (checkout / "log").read_text().split()[4:] == ["install", "ran"]


@posix
def test_make_test_goes_on_without_the_peers(checkout):
    stand_in(
        checkout / "env" / "bin" / "python",
        'case "$*" in *gdown*) exit 1;; *"-m pytest"*) echo tested; exit "${RC:-0}";; esac',
    )
    done = make(checkout, "test", "UV=", "VENV=env")
    assert done.returncode == 0 and "the tests marked peers are skipped" in done.stdout
    assert done.stdout.splitlines()[-1] == "tested"
