"""The only place where paths live, and what writers of files and starters of processes need.

In a checkout, ``data/``, ``runs/``, ``notebooks/`` and ``reports/`` stand beside the package whatever the
working directory is; installed with pip there is no checkout, and the user's cache folder takes its place.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from facelib import files
from facelib.errors import InputError

PACKAGE = Path(__file__).resolve().parent
WEIGHTS = PACKAGE / "weights"
CHECKOUT = PACKAGE.parent if (PACKAGE.parent / "pyproject.toml").is_file() else None


def home() -> Path:
    """The folder that holds ``data`` and ``runs``: $FACELIB_HOME, the checkout, else the user's cache."""
    if os.environ.get("FACELIB_HOME"):
        return Path(os.environ["FACELIB_HOME"])
    if CHECKOUT:
        return CHECKOUT
    import platformdirs

    return Path(platformdirs.user_cache_dir("facelib"))


def project() -> Path:
    """The folder of ``notebooks`` and ``reports``: $FACELIB_PROJECT, the checkout, else ``home()``."""
    return Path(os.environ.get("FACELIB_PROJECT") or CHECKOUT or home())


def data() -> Path:
    """Downloaded data and caches; ignored by git."""
    return home() / "data"


def notebooks() -> Path:
    return project() / "notebooks"


def metrics() -> Path:
    """Where every number that is quoted anywhere is written, as JSON."""
    return project() / "reports" / "metrics"


def figures() -> Path:
    return project() / "reports" / "figures"


def new_figures() -> Path:
    """Where a notebook's figures are saved: in ``runs()``; `make notebooks` sets $FACELIB_FIGURES to
    ``figures()``, so that no other run changes a file that git follows."""
    return Path(os.environ.get("FACELIB_FIGURES") or runs() / "figures")


def runs() -> Path:
    """Checkpoints, logs and executed notebooks; ignored by git."""
    return home() / "runs"


@contextmanager
def environment(**values: str) -> Iterator[None]:
    """Environment variables have these values meanwhile; afterwards they are as they were."""
    before = {name: os.environ.pop(name, None) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def safe_children():
    """Python processes that are started meanwhile import nothing from their working directory."""
    return environment(PYTHONSAFEPATH="1")


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; on success it replaces ``path``, on any error it is removed.

    A reader sees the old file or the whole new one, never a half, also under two writers or a kill -9.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".", suffix=f"-{path.name}", dir=path.parent)
    os.close(handle)
    umask = os.umask(0)
    os.umask(umask)
    os.chmod(name, 0o666 & ~umask)  # mkstemp's 0600 would hide the file from other users
    try:
        yield Path(name)
        with open(name, "rb+") as written:
            os.fsync(written.fileno())
        os.replace(name, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(name)
        raise


def write_json(path: Path, content: dict) -> None:
    """Write a file whole or not at all."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict:
    """What ``write_json`` wrote; nothing where there is no file yet, or a damaged one."""
    try:
        return files.read_record(path, "")
    except (OSError, InputError):
        return {}


def digest(path: str | Path) -> str:
    """sha256 of a file's bytes in hex digits, read in pieces; errors as of ``files.check_file``."""
    files.check_file(path)
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
