"""The seven emotions of FER-2013 in its own order, the ten categories of FER+, and labelled sets.

"Class 2" means ``EMOTIONS[2]`` everywhere in this project.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from facelib.errors import InputError

#: FER-2013's classes in its order (Goodfellow et al. 2013, arXiv:1307.0414): label i is EMOTIONS[i].
EMOTIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
#: The same in French; ``emotion_name`` knows both.
EMOTIONS_FR = ("colère", "dégoût", "peur", "joie", "tristesse", "surprise", "neutre")
#: What else data sets call them, by emotion: FER+, CK+, AffectNet and RAF-DB in words, JAFFE and KDEF in
#: codes of two letters; and what else French does.
SPELLINGS = (
    "anger an faché",
    "disgusted di dégoûté",
    "fearful afraid scared fe af apeuré",
    "happiness ha joy joyeux heureux",
    "sadness sa triste",
    "surprised su surpris",
    "ne neutrality",
)
#: One colour each (Okabe-Ito, readable with colour-blindness), used by every figure and drawing.
COLOURS = ("#D55E00", "#009E73", "#7B4EA3", "#E6A700", "#0072B2", "#CC79A7", "#6B6B6B")
#: The ten categories of the FER+ annotators in the columns' order (Barsoum et al. 2016, arXiv:1608.01041).
FERPLUS = (
    "neutral", "happiness", "surprise", "sadness", "anger",
    "disgust", "fear", "contempt", "unknown", "NF",
)  # fmt: skip
#: FER+ column -> FER-2013 label; contempt, unknown and NF (no face) have none.
FERPLUS_TO_FER = {0: 6, 1: 3, 2: 5, 3: 4, 4: 0, 5: 1, 6: 2}
#: FER-2013's images of each emotion, per split, in its order.
OFFICIAL_COUNTS = {
    "Training": (3995, 436, 4097, 7215, 4830, 3171, 4965),
    "PublicTest": (467, 56, 496, 895, 653, 415, 607),
    "PrivateTest": (491, 55, 528, 879, 594, 416, 626),
}
#: Apparent gender, in the order of the gender networks' outputs (DeepFace's order).
GENDERS = ("woman", "man")


@dataclass(frozen=True)
class Split:
    """One split of a labelled set.

    images: (n, 48, 48) uint8, 0 black to 255 white.
    labels: (n,) int64 in 0..6, the order of ``EMOTIONS``.
    votes: (n, 10) uint8, how many FER+ annotators chose each category of ``FERPLUS``; None if unknown.
    """

    images: np.ndarray
    labels: np.ndarray
    votes: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows) -> Split:
        """These rows: a slice, positions or flags."""
        votes = None if self.votes is None else self.votes[rows]
        return Split(self.images[rows], self.labels[rows], votes)


@dataclass(frozen=True)
class FerData:
    """FER-2013, or a set that has its shape: three splits, where they came from, their digest.

    name: "fer2013" or "synthetic": what the set is, also where only a part of it is left.
    source: one line for people ("FER-2013, data/fer2013.csv", "drawn faces, n=6000, seed=0").
    digest: sha256 over the pixels and labels of all splits, first 16 hex digits; it goes into every
        metrics file that was computed on the set.
    extra: what only some sources know (the synthetic faces keep their clean truth here).
    """

    train: Split
    public_test: Split
    private_test: Split
    name: str
    source: str
    digest: str
    extra: dict = field(default_factory=dict)

    @property
    def splits(self) -> dict[str, Split]:
        """The splits under FER-2013's own names, in its order."""
        return {"Training": self.train, "PublicTest": self.public_test, "PrivateTest": self.private_test}

    @property
    def whole(self) -> Split:
        """The three splits as one, in FER-2013's order."""
        columns = ([getattr(split, name) for _, split in self] for name in ("images", "labels", "votes"))
        return Split(*(None if any(x is None for x in each) else np.concatenate(each) for each in columns))

    @property
    def option(self) -> str:
        """The set as the commands' ``--dataset`` calls it: "fer2013" or "toy"."""
        return "toy" if self.name == "synthetic" else self.name

    @property
    def slug(self) -> str:
        """The set in names of metrics files: ``option``; with the digest where FER-2013 is not whole."""
        whole = [len(split) for _, split in self] == [sum(counts) for counts in OFFICIAL_COUNTS.values()]
        return self.option if self.name == "synthetic" or whole else f"{self.option}-{self.digest[:8]}"

    def __iter__(self) -> Iterator[tuple[str, Split]]:
        return iter(self.splits.items())


def emotion_name(name: str) -> str:
    """The English name, one of ``EMOTIONS``, of an emotion named in English or French, or in ``SPELLINGS``.

    Case, accents, and digits or signs around it do not matter: "Joie", "colere", "0_Anger". Raises InputError
    for any other name, numbers alone among them: data sets number the emotions each in its way.
    """

    def plain(text: str) -> str:
        letters = unicodedata.normalize("NFKD", text.casefold())
        return re.sub(r"^[\W\d_]+|[\W\d_]+$", "", "".join(c for c in letters if not unicodedata.combining(c)))

    rows = zip(EMOTIONS, EMOTIONS_FR, SPELLINGS, strict=True)
    known = {plain(each): row[0] for row in rows for each in " ".join(row).split()}
    if not isinstance(name, str) or plain(name) not in known:
        raise InputError(
            f"unknown emotion {name!r}; choose {', '.join(EMOTIONS)}, or {', '.join(EMOTIONS_FR)}"
        )
    return known[plain(name)]


def shares(emotion: str | Mapping[str, float]) -> np.ndarray:
    """An emotion, or shares of several, as (7,) float32 that sums to 1; named as ``emotion_name`` knows them.

    Raises InputError.
    """
    if not isinstance(emotion, str | Mapping):
        raise InputError(f"expected an emotion's name, or shares of several, not {emotion!r}")
    given = {emotion: 1.0} if isinstance(emotion, str) else dict(emotion)
    asked = {emotion_name(name): share for name, share in given.items()}
    if len(asked) < len(given):
        raise InputError(f"{', '.join(map(str, given))}: names an emotion twice")
    found = np.array([asked.get(name, 0.0) for name in EMOTIONS], np.float32)
    if not np.isfinite(found).all() or (found < 0).any() or not found.any():
        raise InputError("shares of emotions are numbers, not negative, and one at least is positive")
    return found / found.sum()
