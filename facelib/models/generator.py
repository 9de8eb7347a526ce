"""Faces with a chosen emotion: sample, reconstruct, edit.

``load_generator()`` puts the shipped codec (``models.vqvae``) and prior (``models.masked_prior``) together.
All pictures are gray, 48x48, uint8, framed as FER-2013 frames a face.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from tqdm import tqdm

from facelib.emotions import shares
from facelib.errors import InputError
from facelib.models import masked_prior, registry, vqvae
from facelib.models.emotion import emotion_inputs

#: Rows of the 6x6 grid, top to bottom, in the order in which an edit uncovers them: a position is edited if
#: its number here is at most the strength. Mouth, brows and eyes come first, the frame last.
EXPRESSION = np.array(
    [
        [1.0, 1.0, 0.9, 0.9, 1.0, 1.0],
        [0.9, 0.5, 0.5, 0.5, 0.5, 0.9],
        [0.8, 0.4, 0.4, 0.4, 0.4, 0.8],
        [0.9, 0.6, 0.5, 0.5, 0.6, 0.9],
        [0.9, 0.4, 0.3, 0.3, 0.4, 0.9],
        [1.0, 0.6, 0.4, 0.4, 0.6, 1.0],
    ]
)

#: The finest codes are drawn at this part of the coarsest ones' temperature, those between in equal steps:
#: the coarse ones make faces differ, the fine ones decide whether a face is clean. Chosen on PublicTest, with
#: the guidance of ``Generator.sample``, by our own network and by eye.
FINEST_TEMPERATURE = 0.4
EVEN_LIGHT = np.float32(128), np.float32(55)  # mean and deviation of the gray levels of a face in even light


class Generator:
    """A codec and a prior. codec: a ``vqvae.autoencoder``; model: a ``masked_prior.prior`` for its codes."""

    def __init__(self, codec, model):
        self.codec, self.model = codec, model
        self.codebooks = vqvae.codebooks(codec)

    def sample(
        self,
        emotion: str | Mapping[str, float],
        n: int = 16,
        seed: int = 0,
        temperature: float = 0.9,
        guidance: float | tuple[float, float] = (0.0, 5.0),
        top_p: float = 1.0,
        best_of: int = 1,
    ) -> np.ndarray:
        """Draw n faces, (n, 48, 48) uint8: the same ones for the same arguments on the same machine.

        emotion: one of ``EMOTIONS``, or shares of several, which are scaled to sum to 1.
        temperature: of the coarsest codes; that of the finest is ``FINEST_TEMPERATURE`` times it.
        guidance: 0 draws any face, 1 is the prior as learnt, more is clearer and less various. Of two
            numbers each face draws its own between them, which is more various than any one for all that is
            read as often.
        top_p: as in ``masked_prior.sample``.
        best_of: draw so many for each that is returned, and keep the one in which facelib's own emotion
            network reads most of what was asked.
        Raises InputError for unknown emotions or numbers that make no sense, here and in the others.
        """
        asked = shares(emotion)
        _check(n, seed, guidance, temperature, top_p, best_of)
        faces = self._draw(asked, n * best_of, seed, guidance, self._cooling(temperature), top_p)
        return _best(faces, asked, best_of)

    def _cooling(self, temperature: float) -> np.ndarray:
        """Each depth's temperature, (depth,)."""
        return temperature * np.linspace(1, FINEST_TEMPERATURE, len(self.codebooks))

    def encode(self, images: np.ndarray) -> np.ndarray:
        """Pictures (n, 48, 48) uint8 -> codes (n, 6, 6, depth) int32, coarse to fine."""
        return vqvae.codes_of(self.codec, emotion_inputs(_checked(images)))

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Codes (n, 6, 6, k), the first k <= depth of each position, -> pictures (n, 48, 48) uint8."""
        depth, size, _ = self.codebooks.shape
        codes, grid = np.asarray(codes), (vqvae.GRID, vqvae.GRID)
        if codes.ndim != 4 or codes.shape[1:3] != grid or not 1 <= codes.shape[-1] <= depth or not len(codes):
            raise InputError(f"expected codes (n, 6, 6, 1 to {depth}), got {codes.shape}")
        if codes.min() < 0 or codes.max() >= size:
            raise InputError(f"codes are 0 to {size - 1}, not {codes.min()} to {codes.max()}")
        return self._pictures(masked_prior.sums_of(codes, self.codebooks[: codes.shape[-1]])[..., -1, :])

    def _pictures(self, vectors: np.ndarray) -> np.ndarray:
        pictures = self.codec.get_layer("decoder").predict(vectors, batch_size=256, verbose=0)
        return np.round(255 * np.clip(pictures[..., 0], 0, 1)).astype(np.uint8)

    def reconstruct(self, images: np.ndarray) -> np.ndarray:
        """What is left of pictures (n, 48, 48) uint8 after coding them, of the same shape."""
        return self.decode(self.encode(images))

    def edit(
        self,
        images: np.ndarray,
        emotion: str | Mapping[str, float],
        strength: float = 0.5,
        seed: int = 0,
        temperature: float = 0.6,
        guidance: float | tuple[float, float] = 3.0,
        best_of: int = 8,
    ) -> np.ndarray:
        """The same people with another expression: (n, 48, 48) uint8 -> the same.

        The codes where expressions are (mouth, brows, eyes) are hidden and drawn anew under the emotion that
        is asked for; the others stay. strength: 0 draws nothing anew, 0.5 the inner face, 1 everything.
        temperature: of all codes. Others as in ``sample``. It is drawn in the even light that the prior
        learnt in, and the pictures' own is given back afterwards.
        """
        asked, images = shares(emotion), _checked(images)
        _check(len(images), seed, guidance, temperature, 1.0, best_of)
        if not 0 <= strength <= 1:
            raise InputError(f"strength is {strength}, not between 0 and 1")
        even = even_light(images)
        codes = np.repeat(self.encode(even).reshape(len(images), masked_prior.POSITIONS, -1), best_of, axis=0)
        keep = np.tile((EXPRESSION > strength).ravel(), (len(codes), 1))
        faces = self._draw(asked, len(codes), seed, guidance, temperature, codes=codes, keep=keep)
        return own_light(_best(faces, asked, best_of), images)

    def _draw(
        self, asked: np.ndarray, n: int, seed: int, guidance: float | tuple[float, float], *options, **known
    ) -> np.ndarray:
        """n faces, (n, 48, 48) uint8, in parts; guidance as in ``sample``, others as in
        ``masked_prior.sample``."""
        rng, faces = np.random.default_rng(seed), []
        parts = np.array_split(np.arange(n), -(-n // 256))  # of one size, as each size is compiled
        with tqdm(total=n, unit="face", disable=None if n > 256 else True) as bar:
            for part in parts:
                there = {key: value[part] for key, value in known.items()}
                wanted = np.tile(asked, (len(part), 1))
                own = guidance if np.ndim(guidance) == 0 else rng.uniform(*guidance, len(part))
                codes = masked_prior.sample(self.model, self.codebooks, wanted, rng, own, *options, **there)
                faces.append(self.decode(codes.reshape(len(wanted), vqvae.GRID, vqvae.GRID, -1)))
                bar.update(len(part))
        return np.concatenate(faces)

    def between(
        self,
        first: str | Mapping[str, float],
        second: str | Mapping[str, float],
        n: int = 7,
        seed: int = 0,
        guidance: float | tuple[float, float] = 3.0,
        temperature: float = 0.8,
        top_p: float = 1.0,
    ) -> np.ndarray:
        """A strip from one emotion to another, (n, 48, 48) uint8: the same chances, other shares.

        Options as in ``sample``, but of two guidances all have the mean: nothing but the shares differs.
        """
        _check(n, seed, guidance, temperature, top_p)
        guidance, cooling = float(np.mean(guidance)), self._cooling(temperature)
        steps = np.linspace(0, 1, n)[:, None]
        wanted = ((1 - steps) * shares(first) + steps * shares(second)).astype(np.float32)
        codes = masked_prior.sample(
            self.model, self.codebooks, wanted, _Alike(seed), guidance, cooling, top_p
        )
        return self.decode(codes.reshape(n, vqvae.GRID, vqvae.GRID, -1))

    def morph(self, first: np.ndarray, second: np.ndarray, n: int = 12) -> np.ndarray:
        """From one picture (48, 48) uint8 to another along a straight line between their codes' vectors,
        (n, 48, 48) uint8."""
        _check(n)
        codes = self.encode(np.stack([first, second]))
        ends = masked_prior.sums_of(codes, self.codebooks)[..., -1, :]
        steps = np.linspace(0, 1, n, dtype=np.float32)[:, None, None, None]
        return self._pictures((1 - steps) * ends[0] + steps * ends[1])


class _Alike(np.random.Generator):
    """Gives every row of what is drawn the same numbers: faces that differ in what was asked alone."""

    def __init__(self, seed: int):
        super().__init__(np.random.PCG64(seed))

    def random(self, size):
        return np.repeat(super().random((1, *size[1:])), size[0], axis=0)


def _check(
    n: int,
    seed: int = 0,
    guidance: float | tuple[float, float] = 1.0,
    temperature: float = 1.0,
    top_p: float = 1.0,
    best_of: int = 1,
) -> None:
    if n < 1 or best_of < 1 or seed < 0:
        raise InputError("n and best_of are at least 1, a seed is at least 0")
    between = np.ravel(guidance)
    if len(between) not in (1, 2) or not (0 <= between[0] <= between[-1] < np.inf):
        raise InputError("guidance is a finite number of 0 or more, or two such, the smaller first")
    if not (0 < temperature < np.inf and 0 < top_p <= 1):
        raise InputError("temperature is finite and above 0, top_p in (0, 1]")


def _best(faces: np.ndarray, asked: np.ndarray, of: int) -> np.ndarray:
    """Of each ``of`` faces in a row the one that our emotion network finds most of what was asked in."""
    if of == 1:
        return faces
    read = registry.OnnxNetwork("emotion")(emotion_inputs(faces)) @ asked
    return faces[read.reshape(-1, of).argmax(1) + np.arange(0, len(faces), of)]


def _checked(images: np.ndarray) -> np.ndarray:
    images = np.asarray(images)
    if (
        images.ndim != 3
        or not len(images)
        or images.shape[1:] != (vqvae.SIDE, vqvae.SIDE)
        or images.dtype != np.uint8
    ):
        raise InputError(f"expected pictures (n, 48, 48) uint8, got {images.shape} {images.dtype}")
    return images


def load_generator(codec: str | Path | None = None, model: str | Path | None = None) -> Generator:
    """The shipped codec and prior; codec, model: folders of finished runs of `facelib train vqvae` and
    `facelib train prior` in their places. Raises InputError where one is missing."""
    return Generator(load_network("vqvae", codec), load_network("prior", model))


def load_network(task: str, run: str | Path | None = None):
    """The keras.Model of a task, "vqvae" or "prior": the shipped one, or that of a finished run's folder."""
    if run is None:
        return registry.load_shipped(task)
    return registry.build(task, weights_file(task, run))


def weights_file(task: str, run: str | Path | None = None) -> Path:
    """Where ``load_network`` finds the weights. Raises InputError for a folder without a finished run."""
    file = registry.WEIGHTS / f"{task}.weights.h5" if run is None else Path(run) / registry.RUN_WEIGHTS
    if run is not None and not file.exists():
        raise InputError(f"{run}: no finished run; make one with `facelib train {task} --output {run}`")
    return file


def even_light(
    images: np.ndarray,
    mean: tuple[float, float] = (EVEN_LIGHT[0], EVEN_LIGHT[0]),
    spread: tuple[float, float] = (EVEN_LIGHT[1], EVEN_LIGHT[1]),
) -> np.ndarray:
    """Pictures (n, 48, 48) uint8 whose gray levels have a mean and a deviation within these bounds.

    With the bounds as they are all pictures get the same light, and what a network reads in darkness alone
    is gone (near-black faces pass for sad).
    """
    middle, deviation = _light(images)
    even = (images - middle) / deviation * np.clip(deviation, *spread) + np.clip(middle, *mean)
    return np.clip(np.round(even), 0, 255).astype(np.uint8)


def own_light(even: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Faces in even light (n, 48, 48) uint8, brought back into that of pictures of the same shape: what
    ``even_light`` did to these is undone."""
    middle, deviation = _light(images)
    return np.clip(np.round((even - EVEN_LIGHT[0]) / EVEN_LIGHT[1] * deviation + middle), 0, 255).astype(
        np.uint8
    )


def _light(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation, at least 1, of gray levels: (n, h, w) -> twice (n, 1, 1) float32."""
    values = images.astype(np.float32)
    return values.mean((1, 2), keepdims=True), np.maximum(values.std((1, 2), keepdims=True), 1.0)
