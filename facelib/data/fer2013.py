"""FER-2013 (Goodfellow et al. 2013, arXiv:1307.0414) from whatever form it was downloaded in.

The official table, Kaggle's archives and folders and a parquet file all give the same ``FerData``. The first
read checks every row (``fer2013_readers``) and leaves a cache in ``paths.data()``; later reads take it and
need neither parsing nor hashing. FER+ votes (Barsoum et al. 2016, arXiv:1608.01041) are joined by row where
the rows are in the official order, which is verified from the sequence of labels.

The order of the rows, in each split:
- table and parquet: the file's own, which is the official one;
- pictures in folders: by the number in the file name, then label, then name. Where this gives the official
  sequence of labels it is the official order. Kaggle's own numbers are random: there, a table or parquet file
  beside the folders or in ``paths.data()`` gives each picture its row by comparing pixels, and with it the
  official order and the votes; without one the pictures have no votes.
- pictures whose names under test/ carry no PublicTest_ or PrivateTest_: all of test/ is ``private_test``,
  ``public_test`` is empty, and a warning says so (a table tells them apart, as above);
- pictures in train/, val/ (valid/, validation/) and test/: in this order the three splits.
Who needs a split for validation takes the set through ``for_training``.
"""

from __future__ import annotations

import hashlib
import json
import os
import textwrap
import time
import warnings
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from facelib import files, paths
from facelib.data.duplicates import duplicate_groups, match_rows
from facelib.data.fer2013_readers import TABLES, USAGES, Rows, list_folder, read_rows, split_folders
from facelib.data.ferplus import VOTES, VOTES_URL, fetch_votes, read_votes
from facelib.emotions import EMOTIONS, OFFICIAL_COUNTS, FerData, Split
from facelib.errors import InputError

#: sha256 over the 35,887 labels (one byte each) in the official order, first 16 hex digits.
OFFICIAL_LABELS = "82c7563585b898ca"
#: Kaggle data sets: the table first, because its row order is what FER+ votes are joined by.
KAGGLE = ("deadskull7/fer2013", "msambare/fer2013")
COMPETITION = "challenges-in-representation-learning-facial-expression-recognition-challenge"
_ARCHIVES = ("fer2013.tar.gz", "fer2013.zip", f"{COMPETITION}.zip", "archive.zip")
_BY_HAND = (
    f"download https://www.kaggle.com/datasets/{KAGGLE[0]} (table) or "
    f"https://www.kaggle.com/datasets/{KAGGLE[1]} (folders) in a browser, then run `facelib data import PATH`"
)
_HOW = f"run `facelib data fetch`, or {_BY_HAND}; or set FACELIB_FER2013 to the file or folder you have"
_VERSION = 2  # of the cache's layout and of the readers: raise it when either gives something else


def load_fer2013(
    path: str | Path | None = None, ferplus: str | Path | None = None, progress: bool = True
) -> FerData:
    """FER-2013 as three splits.

    path: a fer2013.csv, an archive (.zip, .tar.gz) of Kaggle, a folder that holds one of these or train/ and
        test/, or a parquet file. None: what `facelib data import` remembered, then ``paths.data()``, then
        $FACELIB_FER2013.
    ferplus: the FER+ votes; None looks for fer2013new.csv beside the source, then in ``paths.data()``.
    progress: a bar on stderr for a first, slow read (never where stderr is not a terminal).

    In each split: images (n, 48, 48) uint8, labels (n,) int64 in 0..6, votes (n, 10) uint8 or None.
    ``extra`` holds "order" ("official", else in words), "no_face" (only with votes; {split: (n,) bool}, where
    FER+ left the image name empty), "notes" (what was also said by warnings.warn) and "cache" (a file name).

    Raises FileNotFoundError (one line: how to get the set) and InputError (one line: file, row, remedy).
    """
    if path is not None:
        return _warn(_read(_source(path), ferplus, progress))
    if ferplus is None and (imported := _imported(progress)):
        return _warn(imported)
    places = [paths.data()]
    if os.environ.get("FACELIB_FER2013"):
        places.append(Path(os.environ["FACELIB_FER2013"]))
    for place in places:
        if source := _find(place):
            return _warn(_read(source, ferplus, progress))
    raise FileNotFoundError(f"FER-2013 is not in {' or '.join(map(str, places))}: {_HOW}")


def load(dataset: str = "auto", n: int = 6000, seed: int = 0, votes: bool = False) -> FerData:
    """The set that a command or a notebook works on.

    dataset: "fer2013"; "toy", ``n`` synthetic faces drawn with ``seed``; or "auto", FER-2013 where it is and
        else the synthetic faces. votes: FER-2013 counts only with the FER+ votes.

    Raises FileNotFoundError or InputError for "fer2013" where it, or its votes, are missing.
    """
    from facelib.data.synthetic_faces import load_toyfaces  # imports OpenCV

    if dataset != "toy":
        try:
            data = load_fer2013()
            if data.train.votes is not None or not votes:
                return data
            if dataset == "fer2013":
                lacks = f"{data.source} has no FER+ votes"
                raise InputError(f"{lacks}: put {VOTES} beside it, see data/README.md")
        except FileNotFoundError:
            if dataset == "fer2013":
                raise
    return load_toyfaces(n, seed)


def import_fer2013(path: str | Path, ferplus: str | Path | None = None, progress: bool = True) -> FerData:
    """Read any source once and remember it: ``load_fer2013()`` finds it later, also when ``path`` is gone.

    Parameters, result and errors as for ``load_fer2013``; InputError also where the cache cannot be written.
    """
    source = _source(path)
    data = _read(source, ferplus, progress, keep=True)
    memo = {"cache": data.extra["cache"], "source": str(source.resolve())}
    memo["ferplus"] = str(Path(ferplus).resolve()) if ferplus else None
    paths.write_json(_memo(), memo)
    return _warn(data)


def fetch_fer2013() -> FerData:
    """Download FER-2013 through kagglehub (an optional extra) and FER+'s votes from GitHub, and import them.

    Raises InputError, with the way by hand, where kagglehub is not installed or Kaggle does not respond.
    """
    try:
        import kagglehub
    except ImportError:
        raise InputError(f"kagglehub is not installed: run `pip install kagglehub`, or {_BY_HAND}") from None
    why = ""
    for name in KAGGLE:
        try:
            folder = Path(kagglehub.dataset_download(name))
        except Exception as error:  # noqa: BLE001 - any error here means: no network, or no such data set
            why = why or " ".join(str(error).split())[:160] or type(error).__name__
            continue
        fetch_votes()
        return import_fer2013(folder)
    raise InputError(f"Kaggle did not give FER-2013 ({why}): {_BY_HAND}")


def for_training(data: FerData, *measured: str) -> FerData:
    """The set as a training needs it: where ``public_test`` is empty, a tenth of Training takes its place.

    The tenth is drawn by label, always the same, among the images that stand once in Training; a note says
    so. measured: other splits that are needed. Raises InputError where one of these or Training is empty.
    """
    for name in ("Training", *measured):
        if not len(data.splits[name]):
            raise InputError(f"{data.source}: has no rows in {name}, which is needed; give the whole set")
    if len(data.public_test):
        return data
    groups, rng = duplicate_groups(data.train.images), np.random.default_rng(0)
    once = np.bincount(groups)[groups] == 1
    held = np.zeros(len(data.train), bool)
    for label in np.unique(data.train.labels):
        rows = rng.permutation(np.flatnonzero(once & (data.train.labels == label)))
        held[rows[: max(len(rows) // 10, len(rows) > 1)]] = True
    if not held.any():
        raise InputError(f"{data.source}: has no PublicTest, and too few rows in Training to spare a tenth")
    note = f"no PublicTest: {held.sum():,} of Training's {len(held):,} images are set aside for validation"
    extra = {**data.extra, "notes": [*data.extra.get("notes", []), note]}
    if "no_face" in extra:
        flags = extra["no_face"]
        parts = {"Training": flags["Training"][~held], "PublicTest": flags["Training"][held]}
        extra["no_face"] = flags | parts
    warnings.warn(note, stacklevel=2)
    splits = data.train[~held], data.train[held], data.private_test
    return FerData(*splits, data.name, f"{data.source}; {note}", data_digest(*splits), extra)


def info() -> str:
    """What `facelib data info` prints: the set that is here, or how to get it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # describe() says the same
            return describe(load_fer2013())
    except FileNotFoundError as error:
        return f"{error}\nUntil then everything runs on the synthetic faces (facelib.load_toyfaces)."


def describe(data: FerData) -> str:
    """A page about a set for people: source, digest, counts per split and class, votes, what is missing."""
    import pandas as pd

    counts = {name: tuple(np.bincount(split.labels, minlength=7).tolist()) for name, split in data}
    table = pd.DataFrame.from_dict(counts, "index", columns=EMOTIONS)
    table.loc["all"] = table.sum()
    share = 100 * table.loc["all"] / max(table.loc["all"].sum(), 1)
    table["all"] = table.sum(axis=1)
    table = table.map("{:,}".format)
    table.loc["share"] = [*share.map("{:.1f} %".format), "100.0 %"]
    lines = [
        f"{table.loc['all', 'all']} faces of 48 x 48 gray pixels, in three splits and seven emotions",
        f"  source  {data.source}",
        f"  digest  {data.digest}  (sha256 over pixels and labels; quoted with every result)",
        "",
        textwrap.indent(table.to_string(col_space=9), "  "),
        "",
    ]
    if "order" in data.extra:  # only FER-2013 has one
        same = "the official ones" if counts == OFFICIAL_COUNTS else "NOT the official ones (35,887 images)"
        lines.append(f"Counts: {same}; order of the rows: {data.extra['order']}.")
    votes = [split.votes for _, split in data if split.votes is not None]
    if votes:
        lines.append(f"FER+ votes: present for {sum(map(len, votes)):,} images")
        if "no_face" in data.extra:
            unusable = sum(int(flags.sum()) for flags in data.extra["no_face"].values())
            lines[-1] += f"; FER+ found no usable face in {unusable}"
        lines[-1] += "."
    else:
        lines.append(
            f"FER+ votes: missing. Download {VOTES_URL}, put it beside the data and import again; "
            "votes follow the official order of rows, so with Kaggle's folders put fer2013.csv there too."
        )
    return "\n".join(lines + [f"Note: {note}" for note in data.extra.get("notes", [])])


def data_digest(*splits: Split) -> str:
    """sha256 over the pixels and labels (one byte each) of the splits in their order, first 16 hex digits."""
    found = hashlib.sha256()
    for split in splits:
        found.update(np.ascontiguousarray(split.images))
        found.update(split.labels.astype(np.uint8))
    return found.hexdigest()[:16]


# --- finding ---------------------------------------------------------------------------------------------


def _source(path: str | Path) -> Path:
    path = Path(path)
    if not os.path.lexists(path):
        raise FileNotFoundError(f"{str(path)[:300]}: no such file or folder; to get FER-2013, {_HOW}")
    if not path.is_dir():
        files.check_file(path)
    if source := _find(path):
        return source
    wanted = ", ".join((*TABLES, *_ARCHIVES[:2], "fer2013.parquet"))
    others = sorted(file.name for file in path.iterdir() if file.suffix in (".csv", ".zip", ".parquet"))
    if others:
        holds = f"holds no FER-2013 under its name but {', '.join(others)[:120]}"
        remedy = f"give the file itself, with all its rows in one, or name it {wanted}"
        raise InputError(f"{path}: {holds}; {remedy}")
    raise InputError(f"{path}: holds no FER-2013; wanted is one of {wanted}, or folders train/ and test/")


def _find(place: Path) -> Path | None:
    """The source that ``place`` is or holds: table, archive, folders, parquet, in this order."""
    if place.is_file():
        return place
    for folder in (place, place / "fer2013"):
        if table := _find_table(folder, (*TABLES, *_ARCHIVES)):
            return table
        if folder.is_dir() and 0 in (splits := set(split_folders(folder).values())) and len(splits) > 1:
            return folder
        if table := _find_table(folder, ("fer2013.parquet",)):
            return table
    return None


def _find_table(folder: Path, names: tuple[str, ...]) -> Path | None:
    """The first of these files that is there; InputError for a pipe, a folder or a broken link there."""
    for file in (folder / name for name in names):
        if os.path.lexists(file):
            files.check_file(file)
            return file
    return None


def _beside(source: Path, names: tuple[str, ...]) -> Path | None:
    """One of the files in the source, beside it, or in ``paths.data()``; never the source itself."""
    folders = ([source] if source.is_dir() else []) + [source.parent, paths.data()]
    found = (_find_table(folder, names) for folder in folders)
    return next((file for file in found if file and file != source), None)


# --- caching ---------------------------------------------------------------------------------------------


def _read(source: Path, ferplus: str | Path | None, progress: bool, keep: bool = False) -> FerData:
    """The source with its votes, through the cache. keep: a cache that cannot be written is an error."""
    if ferplus is not None and not os.path.lexists(ferplus):
        raise FileNotFoundError(f"{ferplus}: no such file; FER+ votes are at {VOTES_URL}")
    votes = Path(ferplus) if ferplus is not None else _beside(source, (VOTES,))
    single = source.is_dir() or source.name.lower().endswith(files.ARCHIVES)
    table = _beside(source, (*TABLES, "fer2013.parquet")) if single else None
    for file in (source, table):
        if file and not file.is_dir():
            files.check_form(file)
    if votes:
        files.check_form(votes, ".csv")
    digests = [_file_digest(file) if file else "none" for file in (source, votes, table)]
    rest = hashlib.sha256(repr((_VERSION, ferplus is not None, digests[1:])).encode()).hexdigest()
    cache = paths.data() / f"fer2013-{digests[0][:16]}-{rest[:8]}.npz"
    data = _load(cache)
    if data is not None:
        return replace(data, source=f"FER-2013, {_shown(source)}")  # the same bytes may have another name now
    data = _build(read_rows(source, progress), votes, ferplus is not None, table, progress)
    data = replace(data, source=f"FER-2013, {_shown(source)}")
    data.extra["cache"] = cache.name
    try:
        _store(cache, data)
    except OSError as error:
        what = f"{cache}: the cache cannot be written ({error.strerror or error})"
        if keep:
            raise InputError(f"{what}; free the disk or set FACELIB_HOME to a folder of yours") from error
        warnings.warn(f"{what}; FER-2013 will be parsed again each time", stacklevel=3)
    return data


def _shown(source: Path) -> str:
    """A source's name without the machine's folders, since it goes into metrics files and reports."""
    with suppress(ValueError):
        return source.resolve().relative_to(paths.home().resolve()).as_posix()
    return source.resolve().name


def _store(cache: Path, data: FerData) -> None:
    """Write the cache whole or not at all; leftovers of killed writers go after a day."""
    whole, counts = data.whole, np.array([len(split) for _, split in data])
    arrays = {"images": whole.images, "labels": whole.labels.astype(np.uint8), "counts": counts}
    if whole.votes is not None:
        arrays |= {"votes": whole.votes, "no_face": np.concatenate(list(data.extra["no_face"].values()))}
    meta = {"version": _VERSION, "source": data.source, "digest": data.digest}
    meta |= {"order": data.extra["order"], "notes": data.extra["notes"]}
    with paths.atomic_write(cache) as temporary:
        np.savez(temporary, meta=np.array(json.dumps(meta)), **arrays)
    for leftover in cache.parent.glob(".*fer2013-*"):
        with suppress(OSError):
            if time.time() - leftover.stat().st_mtime > 86_400:
                leftover.unlink()


def _load(cache: Path) -> FerData | None:
    """The set in a cache; None if there is none, or if it is damaged or of another version."""
    try:
        arrays = files.read_arrays(cache, "")
        meta = json.loads(str(arrays["meta"]))
        shape = len(arrays["labels"]), 48, 48
        if meta["version"] != _VERSION or (arrays["images"].shape, arrays["images"].dtype) != (shape, "u1"):
            return None
        whole = Split(arrays["images"], arrays["labels"].astype(np.int64), arrays.get("votes"))
        data = _splits(whole, arrays["counts"], arrays.get("no_face"))
        data.extra.update(order=meta["order"], notes=meta["notes"], cache=cache.name)
        return replace(data, source=meta["source"], digest=meta["digest"])
    except (OSError, KeyError, TypeError, ValueError, RecursionError):
        return None


def _memo() -> Path:
    return paths.data() / "fer2013-imported.json"


def _imported(progress: bool) -> FerData | None:
    """What was imported last: from its cache, or read again from its source if the cache is gone."""
    memo = paths.read_json(_memo())
    if not all(isinstance(memo.get(key), str) for key in ("cache", "source")):
        return None
    ferplus = memo.get("ferplus") if isinstance(memo.get("ferplus"), str) else None
    data = _load(paths.data() / memo["cache"])
    if data is None and Path(memo["source"]).exists():
        data = _read(Path(memo["source"]), ferplus, progress)
    return data


def _file_digest(path: Path) -> str:
    """sha256 of a file, or of a folder's names and bytes; remembered by path, size and time of change."""
    index, name = paths.data() / "fer2013-digests.json", str(path.resolve())
    parts = list_folder(path) if path.is_dir() else [("", path)]
    stats = [(rel, (stat := os.stat(file)).st_size, stat.st_mtime_ns) for rel, file in parts]
    key = hashlib.sha256(repr(stats).encode()).hexdigest()
    known = paths.read_json(index).get(name)
    match known:
        case [str(of), str(found)] if of == key:
            return found
    if path.is_dir():
        total = hashlib.sha256()
        for rel, file in parts:
            total.update(os.fsencode(f"{rel}\0{paths.digest(file)}\0"))
        found = total.hexdigest()
    else:
        found = paths.digest(path)
    # Two writers may lose one entry between them: it is then computed again.
    with suppress(OSError):
        paths.write_json(index, paths.read_json(index) | {name: [key, found]})
    return found


# --- joining ---------------------------------------------------------------------------------------------


def _build(rows: Rows, votes: Path | None, required: bool, table: Path | None, progress: bool) -> FerData:
    """Put the rows in their documented order and join the votes.

    required: votes that do not fit are an error (they were given) and not a note (they were found).
    """
    notes, usages, matched = list(rows.notes), rows.usages, False
    order = np.argsort(usages, kind="stable")
    official = _is_official(rows.labels[order]) and 1 in usages
    if rows.pictures and not official and table is not None:
        known = _read(table, None, progress)
        splits = np.repeat(np.arange(3, dtype=np.uint8), [len(split) for _, split in known])
        row = match_rows(rows, Rows(known.whole.images, known.whole.labels.astype(np.uint8), splits))
        matched = row is not None
        if matched:
            notes = []  # the table has told what the names did not
            order, usages = np.argsort(row), splits[row]
            official = _is_official(rows.labels[order])
        else:
            notes.append(f"the pictures are not those of {table}, so they keep the order of their file names")
    text = "official"
    if not official:
        text = "by the number in the file name" if rows.pictures and not matched else "as in the table"
        counts = [tuple(np.bincount(rows.labels[usages == i], minlength=7).tolist()) for i in range(3)]
        if counts == list(OFFICIAL_COUNTS.values()) and not rows.pictures:
            notes.append("the rows have FER-2013's official counts but are not in its official order")
    joined = no_face = None
    if votes is not None:
        theirs, all_votes, all_no_face = read_votes(votes)
        sort = np.argsort(theirs, kind="stable")
        fits = np.array_equal(theirs[sort], usages[order])
        if not official:  # a part of the set, or another one: then each row must follow the votes' rows
            fits &= matched or (not rows.pictures and not notes and np.array_equal(theirs, usages))
        if fits:
            joined, no_face = all_votes[sort], all_no_face[sort]
        else:
            what = f"{votes}: {len(theirs):,} rows of votes do not fit {len(order):,} images row by row"
            remedy = "give votes and images in the official order; for pictures put fer2013.csv beside them"
            if required:
                raise InputError(f"{what}; {remedy}")
            notes.append(f"{what}, so there are no votes; {remedy}")
    counts = np.bincount(usages, minlength=len(USAGES))
    data = _splits(Split(rows.images[order], rows.labels[order].astype(np.int64), joined), counts, no_face)
    data.extra.update(order=text, notes=notes)
    return replace(data, digest=data_digest(*data.splits.values()))


def _splits(whole: Split, counts: np.ndarray, no_face: np.ndarray | None) -> FerData:
    """FerData from rows in which the splits stand one after the other, ``counts`` rows each."""
    ends = np.cumsum(counts)
    parts = {name: slice(end - n, end) for name, end, n in zip(USAGES, ends, counts, strict=True)}
    data = FerData(*(whole[part] for part in parts.values()), name="fer2013", source="", digest="")
    if no_face is not None:
        data.extra["no_face"] = {name: no_face[part] for name, part in parts.items()}
    return data


def _is_official(labels: np.ndarray) -> bool:
    return hashlib.sha256(labels.astype(np.uint8)).hexdigest()[:16] == OFFICIAL_LABELS


def _warn(data: FerData) -> FerData:
    for note in data.extra["notes"]:
        warnings.warn(note, stacklevel=3)
    return data
