"""The package's folders: imports go one way, without circles, and a folder is small."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter

import pytest

from facelib import paths

#: A folder may import from lower floors only; batch and reporting, models and data do not know each other.
FLOOR = {"ground": 0, "data": 1, "models": 1, "vision": 2, "training": 3, "study": 4, "reporting": 5}
FLOOR |= {"batch": 5, "cli": 6}
FILES = {
    ".".join(("facelib", *path.relative_to(paths.PACKAGE).with_suffix("").parts)): path
    for path in paths.PACKAGE.rglob("*.py")
}


def imports(module: str) -> set[str]:
    """The package's modules that a module imports, also inside its functions."""
    found = set()
    for node in ast.walk(ast.parse(FILES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            assert not node.level, f"{module}: imports are absolute"
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found & FILES.keys() - {module}


def folder(module: str) -> str:
    """Its folder; ``__main__`` is the command's door."""
    name = module.split(".")[1]
    return "cli" if name == "__main__" else name if name in FLOOR else "ground"


@pytest.mark.parametrize("module", sorted(FILES))
def test_imports_go_down(module):
    here = folder(module)
    up = {each for each in imports(module) if folder(each) != here and FLOOR[folder(each)] >= FLOOR[here]}
    assert not up


def test_no_circles():
    TopologicalSorter({module: imports(module) for module in FILES}).prepare()  # CycleError names them


@pytest.mark.parametrize("name", FLOOR)
def test_folders_are_small(name):
    modules = [each for each in FILES if folder(each) == name and not each.endswith("__")]
    assert 0 < len(modules) <= 8
