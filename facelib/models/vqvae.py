"""A VQ-VAE for faces: 48x48 gray pictures become stacks of discrete codes, and codes become pictures.

van den Oord et al. 2017, "Neural Discrete Representation Learning", arXiv:1711.00937 (equations below are
theirs), with a residual quantizer: Lee et al. 2022, arXiv:2203.01941. A face is 6x6 positions of ``DEPTH``
codes each, the first the coarsest; FSQ (Mentzer et al. 2023, arXiv:2309.15505) stands behind the same
interface:

    quantizer(z, training)  (..., d) -> quantized (..., d) with straight-through gradient, codes (..., depth)
    quantizer.decode(codes) (..., k <= depth) -> (..., d), the sum of the first k codes' vectors
    quantizer.start(z)      sets its codebooks by k-means, and from then on it quantizes
"""

from __future__ import annotations

import math

import numpy as np

from facelib.backend import keras, layers, ops

SIDE, GRID = 48, 6
#: Codes at each position, codes to choose from at each depth, and the length of their vectors:
#: 6 * 6 * 4 * 10 = 1,440 bits a face.
DEPTH, CODES, WIDTH = 4, 1024, 48
#: Beginnings of a stack that are followed side by side when a face is coded.
BEAMS = 8


# --- quantizers ------------------------------------------------------------------------------------------


class _Quantizer(layers.Layer):
    """What the quantizers share: their arguments make them again, in a saved, cloned or copied network.

    A saved network is loaded again by ``keras.models.load_model`` once this module is imported.
    """

    def __init__(self, arguments: dict, name: str = "quantizer", **options):
        # Distances lose their order in half precision.
        super().__init__(name=name, **options | {"dtype": "float32"})
        self._arguments = arguments

    def get_config(self) -> dict:
        return super().get_config() | self._arguments


@keras.saving.register_keras_serializable("facelib")
class VectorQuantizer(_Quantizer):
    """One codebook, learnt by moving averages (arXiv:1711.00937, appendix A.1).

    codes: how many. width: d, their length. decay: of the averages, gamma in the paper. dead: a code that is
    used less than this share of the mean is put where a random latent of the batch is (Dhariwal et al. 2020,
    "Jukebox", arXiv:2005.00341). commitment: beta of equation 3, whose third term is added to the losses.

    Until ``start`` has been called it lets latents through as they are: an encoder that is still moving fast
    leaves codes behind.
    """

    def __init__(
        self,
        codes: int = CODES,
        width: int = WIDTH,
        decay: float = 0.99,
        dead: float = 0.05,
        commitment: float = 0.25,
        seed: int = 0,
        **options,
    ):
        arguments = {"codes": codes, "width": width, "decay": decay, "dead": dead}
        super().__init__(arguments | {"commitment": commitment, "seed": seed}, **options)
        self.codes, self.width, self.depth = codes, width, 1
        self.decay, self.dead, self.commitment = decay, dead, commitment
        self.random = keras.random.SeedGenerator(seed)
        fixed = {"trainable": False}
        spread = keras.initializers.RandomUniform(-1 / codes, 1 / codes, seed=seed)
        self.codebook = self.add_weight((codes, width), spread, name="codebook", **fixed)
        self.counts = self.add_weight((codes,), "ones", name="counts", **fixed)  # N_i
        self.sums = self.add_weight((codes, width), "zeros", name="sums", **fixed)  # m_i
        self.sums.assign(1.0 * self.codebook)  # an array of its own: JAX hands each over once
        self.started = self.add_weight((), "zeros", name="started", **fixed)

    def call(self, z, training=False):
        """z (..., width) float32 -> (quantized (..., width), codes (..., 1) int32)."""
        flat = ops.reshape(z, (-1, self.width))
        code = nearest(flat, self.codebook)
        found = ops.reshape(ops.take(self.codebook, code, axis=0), ops.shape(z))
        if training:
            self._learn(ops.stop_gradient(flat), code)
            distance = ops.mean(ops.square(z - ops.stop_gradient(found)))
            self.add_loss(self.started * self.commitment * distance)  # equation 3, third term
        quantized = z + ops.stop_gradient(self.started * (found - z))  # straight through
        return quantized, ops.reshape(code, (*ops.shape(z)[:-1], 1))

    def _learn(self, flat, code) -> None:
        """One step of the moving averages, equations 6 to 8; dead codes are put elsewhere."""
        one_hot = ops.one_hot(code, self.codes)  # (n, codes)
        n = ops.sum(one_hot, axis=0)
        m = ops.matmul(ops.transpose(one_hot), flat)
        counts = self.decay * self.counts + (1 - self.decay) * n
        sums = self.decay * self.sums + (1 - self.decay) * m
        mean = ops.mean(counts)
        dead = ops.cast(counts < self.dead * mean, "float32")
        chosen = keras.random.randint((self.codes,), 0, ops.shape(flat)[0], seed=self.random)
        elsewhere = ops.take(flat, chosen, axis=0)
        counts = (1 - dead) * counts + dead * mean
        sums = (1 - dead)[:, None] * sums + dead[:, None] * elsewhere * mean
        on = self.started
        self.counts.assign(on * counts + (1 - on) * self.counts)
        self.sums.assign(on * sums + (1 - on) * self.sums)
        found = self.sums / (self.counts[:, None] + 1e-5)
        self.codebook.assign(on * found + (1 - on) * self.codebook)

    @property
    def is_started(self) -> bool:
        return bool(ops.convert_to_numpy(self.started))

    def decode(self, codes):
        """codes (..., 1) int -> vectors (..., width)."""
        return ops.take(self.codebook, codes[..., 0], axis=0)

    def start(self, z: np.ndarray, per_step: int) -> np.ndarray:
        """Begin to quantize, with a codebook that k-means finds in latents z (n, width); returns what it
        leaves over, (n, width).

        per_step: latents in a training step: the averages start as if they had seen such steps for ever.
        Raises ValueError if there are fewer latents than codes.
        """
        from sklearn.cluster import MiniBatchKMeans

        if len(z) < self.codes:
            raise ValueError(f"{len(z)} latents are too few to find {self.codes} codes in them")
        means = MiniBatchKMeans(self.codes, batch_size=4096, n_init=1, max_iter=20, random_state=0).fit(z)
        found = means.cluster_centers_.astype(np.float32)
        share = np.bincount(means.labels_, minlength=self.codes) / len(z)
        counts = np.maximum(share, 1 / len(z)) * per_step
        self.codebook.assign(found)
        self.counts.assign(counts)
        self.sums.assign(found * counts[:, None])  # scaled alike, or every code would jump at the first step
        self.started.assign(1.0)
        return z - found[means.predict(z)]


@keras.saving.register_keras_serializable("facelib")
class ResidualQuantizer(_Quantizer):
    """Vector quantizers in a row, each for what the ones before it left over (arXiv:2203.01941, section 3.1).

    With ``depth`` codebooks of K codes a latent has one of K^depth values, coarse to fine. The commitment of
    all partial sums is added to the losses (their equation 7). While it learns, each stage takes its nearest
    code. That is not the nearest sum, so in use the ``beams`` best beginnings are followed side by side (Liu
    et al. 2015, arXiv:1509.05195): nearer, in the same codebooks and bits. Other arguments as for
    ``VectorQuantizer``.
    """

    def __init__(
        self,
        depth: int = DEPTH,
        codes: int = CODES,
        width: int = WIDTH,
        beams: int = BEAMS,
        seed: int = 0,
        decay: float = 0.99,
        dead: float = 0.05,
        commitment: float = 0.25,
        **options,
    ):
        learning = {"decay": decay, "dead": dead, "commitment": commitment}
        size = {"depth": depth, "codes": codes, "width": width, "beams": beams, "seed": seed}
        super().__init__(size | learning, **options)
        self.depth, self.codes, self.width, self.beams = depth, codes, width, beams
        self.stages = [
            VectorQuantizer(codes, width, seed=seed + i, name=f"stage{i}", **learning) for i in range(depth)
        ]

    def build(self, shape) -> None:
        for stage in self.stages:
            stage.build(shape)

    def call(self, z, training=False):
        """z (..., width) -> (quantized (..., width), codes (..., depth) int32)."""
        total, codes = self._follow(z) if training else self._search(z)
        on = self.stages[0].started
        return z + ops.stop_gradient(on * (total - z)), codes

    def _follow(self, z):
        """The nearest code of each stage, which learns from it; returns the sum and the codes."""
        rest, found = z, []
        for stage in self.stages:
            part, code = stage(rest, training=True)
            rest, found = rest - ops.stop_gradient(part), [*found, code]
        return z - rest, ops.concatenate(found, axis=-1)

    def _search(self, z):
        """The nearest sum of those whose beginnings are among the ``beams`` best at each depth; its codes."""
        rest = ops.reshape(z, (-1, 1, self.width))  # what each beginning leaves over
        codes, begun = ops.zeros_like(rest[..., :0], dtype="int32"), 1  # (n, begun, i); how many there are
        for i, stage in enumerate(self.stages):
            last, book = i == self.depth - 1, stage.codebook
            nearer = 2 * ops.matmul(rest, ops.transpose(book)) - ops.sum(ops.square(book), axis=1)
            each = 1 if last else min(self.beams, self.codes)
            nearer, code = ops.top_k(nearer, each)  # by how much a code brings it nearer, squared
            left = ops.sum(ops.square(rest), axis=-1, keepdims=True) - nearer
            kept = 1 if last else min(self.beams, begun * each)
            best = ops.top_k(-ops.reshape(left, (-1, begun * each)), kept)[1]
            code = ops.take_along_axis(ops.reshape(code, (-1, begun * each)), best, axis=1)
            parent = (best // each)[..., None]
            rest = ops.take_along_axis(rest, parent, axis=1) - ops.take(book, code, axis=0)
            codes = ops.take_along_axis(codes, parent, axis=1)
            codes, begun = ops.concatenate([codes, ops.cast(code, "int32")[..., None]], axis=-1), kept
        shape = ops.shape(z)
        return z - ops.reshape(rest, shape), ops.reshape(codes, (*shape[:-1], self.depth))

    @property
    def is_started(self) -> bool:
        return self.stages[0].is_started

    def decode(self, codes):
        """codes (..., k <= depth) int -> vectors (..., width), the sums of the first k codes' vectors."""
        k = codes.shape[-1]
        return sum(stage.decode(codes[..., i : i + 1]) for i, stage in enumerate(self.stages[:k]))

    def start(self, z: np.ndarray, per_step: int) -> np.ndarray:
        """As ``VectorQuantizer.start``, one codebook after the other."""
        for stage in self.stages:
            z = stage.start(z, per_step)
        return z


@keras.saving.register_keras_serializable("facelib")
class FiniteScalarQuantizer(_Quantizer):
    """Each coordinate rounded to a few levels: no codebook, nothing to collapse (arXiv:2309.15505).

    levels: of each coordinate, so that width = len(levels) and there are prod(levels) codes. Nothing is
    learnt and nothing needs a start.
    """

    def __init__(self, levels: tuple[int, ...] = (8, 8, 8), **options):
        super().__init__({"levels": list(levels)}, **options)
        self.levels, self.width, self.depth = tuple(levels), len(levels), 1
        self.codes, self.is_started = math.prod(self.levels), True
        self._basis = np.cumprod([1, *levels[:-1]]).astype(np.int32)

    def call(self, z, training=False):
        """z (..., width) -> (quantized (..., width) in [-1, 1], codes (..., 1) int32)."""
        levels = np.array(self.levels, np.float32)
        half, offset = (levels - 1) * (1 - 1e-3) / 2, np.where(levels % 2 == 0, 0.5, 0.0)
        bounded = ops.tanh(z + np.arctanh(offset / half).astype(np.float32)) * half - offset
        whole = bounded + ops.stop_gradient(ops.round(bounded) - bounded)  # straight through
        digits = ops.cast(ops.round(bounded), "int32") + self.levels_below
        return whole / self.levels_below, ops.sum(digits * self._basis, axis=-1, keepdims=True)

    @property
    def levels_below(self) -> np.ndarray:
        """Levels below zero, (width,) int32: half of them, rounded down."""
        return np.array(self.levels, np.int32) // 2

    def decode(self, codes):
        """codes (..., 1) int -> (..., width)."""
        digits = codes // self._basis % np.array(self.levels, np.int32)
        return ops.cast(digits - self.levels_below, "float32") / self.levels_below

    def start(self, z: np.ndarray, per_step: int) -> np.ndarray:
        return z - ops.convert_to_numpy(self(z)[0])


def nearest(flat, codebook):
    """Index of the nearest row of ``codebook`` (k, d) for each of ``flat`` (n, d), (n,) int32: equation 1."""
    distance = ops.sum(ops.square(codebook), axis=1) - 2 * ops.matmul(flat, ops.transpose(codebook))
    return ops.cast(ops.argmin(distance, axis=1), "int32")


# --- the autoencoder -------------------------------------------------------------------------------------


def _block(x, filters: int):
    """Residual block of van den Oord et al.: a 3x3 convolution and a 1x1 one; SiLU, no normalisation."""
    y = layers.Conv2D(filters, 3, padding="same")(layers.Activation("silu")(x))
    return layers.Add()([x, layers.Conv2D(filters, 1)(layers.Activation("silu")(y))])


def _up(x, filters: int):
    """Twice the side by sub-pixels (Shi et al. 2016, arXiv:1609.05158): (n, s, s, c) -> (n, 2s, 2s, f)."""
    s = x.shape[1]
    x = layers.Conv2D(4 * filters, 3, padding="same")(x)
    x = layers.Reshape((s, s, 2, 2, filters))(x)
    x = layers.Permute((1, 3, 2, 4, 5))(x)
    return layers.Reshape((2 * s, 2 * s, filters))(x)


def encoder(filters: tuple[int, int, int] = (48, 96, 160), width: int = WIDTH) -> keras.Model:
    """(n, 48, 48, 1) float32 in [0, 1] -> latents (n, 6, 6, width) float32."""
    inputs = keras.Input((SIDE, SIDE, 1))
    x = layers.Rescaling(2.0, -1.0)(inputs)
    for i, n in enumerate(filters):
        x = layers.Conv2D(n, 4, strides=2, padding="same")(x if i == 0 else layers.Activation("silu")(x))
        for _ in range(2 if i else 0):
            x = _block(x, n)
    x = layers.Conv2D(width, 1, dtype="float32")(layers.Activation("silu")(x))
    return keras.Model(inputs, x, name="encoder")


def decoder(filters: tuple[int, int, int] = (48, 96, 160), width: int = WIDTH) -> keras.Model:
    """Quantized latents (n, 6, 6, width) -> pictures (n, 48, 48, 1) float32, about [0, 1]."""
    small, middle, large = filters
    inputs = keras.Input((GRID, GRID, width))
    x = layers.Conv2D(large, 3, padding="same")(inputs)
    x = _block(_block(x, large), large)
    x = _up(layers.Activation("silu")(x), middle)
    x = _block(_block(x, middle), middle)
    x = _up(layers.Activation("silu")(x), small)
    x = _block(x, small)
    x = _up(layers.Activation("silu")(x), 1)
    return keras.Model(inputs, layers.Rescaling(0.5, 0.5, dtype="float32")(x), name="decoder")


def autoencoder(
    quantizer: layers.Layer | None = None, filters: tuple[int, int, int] = (48, 96, 160)
) -> keras.Model:
    """Encoder, quantizer and decoder: (n, 48, 48, 1) float32 in [0, 1] -> reconstructions of that shape.

    Its layers are called "encoder", "quantizer" and "decoder". quantizer: None for a ``ResidualQuantizer``.
    """
    quantizer = quantizer or ResidualQuantizer()
    inputs = keras.Input((SIDE, SIDE, 1))
    quantized, _ = quantizer(encoder(filters, quantizer.width)(inputs))
    return keras.Model(inputs, decoder(filters, quantizer.width)(quantized), name="vqvae")


def reconstruction_loss(pictures, found):
    """Mean absolute error, twice the mean squared error, and a share of 1 - SSIM, (n,).

    The first term of equation 3 with a mixed likelihood: squares alone blur, absolute values alone are slow.
    """
    difference = pictures - found
    pixels = ops.mean(ops.abs(difference) + 2 * ops.square(difference), axis=(1, 2, 3))
    return pixels + 0.1 * (1 - ssim(pictures, found))


def ssim(a, b):
    """Structural similarity (Wang et al. 2004) of pictures (n, h, w, 1) in [0, 1], (n,).

    Windows of 7x7 pixels, all of the same weight, inside the picture: as scikit-image's default.
    """

    a, b = a[..., 0], b[..., 0]
    down, across = (_windows(side) for side in a.shape[1:])

    def mean(x):  # as products with band matrices: pooling and its gradient took 18 times as long
        return ops.matmul(ops.matmul(down, x), ops.transpose(across))

    n, c1, c2 = 49, 0.01**2, 0.03**2
    ma, mb = mean(a), mean(b)
    va, vb = (n / (n - 1) * (mean(x * x) - m * m) for x, m in ((a, ma), (b, mb)))
    both = n / (n - 1) * (mean(a * b) - ma * mb)
    map_ = ((2 * ma * mb + c1) * (2 * both + c2)) / ((ma**2 + mb**2 + c1) * (va + vb + c2))
    return ops.mean(map_, axis=(1, 2))


def _windows(side: int, width: int = 7):
    """(side - width + 1, side): each row takes the mean of ``width`` neighbours."""
    first = np.arange(side - width + 1)[:, None]
    there = (np.arange(side) >= first) & (np.arange(side) < first + width)
    return ops.convert_to_tensor(there / width, "float32")


def to_patches(images: np.ndarray) -> np.ndarray:
    """Images (n, 48, 48) uint8 as one tile for each position, (36 n, 64) float32 in [0, 1]."""
    tiles = images.reshape(-1, GRID, SIDE // GRID, GRID, SIDE // GRID).swapaxes(2, 3)
    return tiles.reshape(-1, (SIDE // GRID) ** 2) / np.float32(255)


def from_patches(patches) -> np.ndarray:
    """The pictures (n, 48, 48, 1) that tiles (36 n, 64) make up."""
    tiles = np.asarray(patches).reshape(-1, GRID, GRID, SIDE // GRID, SIDE // GRID)
    return tiles.swapaxes(2, 3).reshape(-1, SIDE, SIDE, 1)


def clear_averages(model: keras.Model) -> None:
    """Zero what an ``autoencoder``'s quantizer needs for learning alone: compressed zeros take no space."""
    quantizer = model.get_layer("quantizer")
    for stage in getattr(quantizer, "stages", [quantizer]):
        if isinstance(stage, VectorQuantizer):
            for variable in (stage.counts, stage.sums):
                variable.assign(np.zeros(variable.shape, np.float32))


def codebooks(model: keras.Model) -> np.ndarray:
    """The vectors of an ``autoencoder``'s codes, (depth, codes, width) float32."""
    quantizer = model.get_layer("quantizer")
    stages = getattr(quantizer, "stages", [quantizer])
    if isinstance(quantizer, FiniteScalarQuantizer):
        return ops.convert_to_numpy(quantizer.decode(np.arange(quantizer.codes)[:, None]))[None]
    return np.stack([ops.convert_to_numpy(stage.codebook) for stage in stages])


def latents_of(model: keras.Model, pictures: np.ndarray, batch_size: int = 128) -> np.ndarray:
    """What an ``autoencoder``'s encoder makes of pictures (n, 48, 48, 1), (n, 6, 6, width) float32."""
    encoder = model.get_layer("encoder")
    if keras.backend.backend() != "jax":
        return encoder.predict(pictures, batch_size=batch_size, verbose=0)
    # There ``predict`` gives away the arrays that the encoder shares with the model in training.
    starts = range(0, len(pictures), batch_size)
    parts = [encoder(pictures[i : i + batch_size], training=False) for i in starts]
    return np.concatenate([ops.convert_to_numpy(part) for part in parts])


def codes_of(model: keras.Model, pictures: np.ndarray, batch_size: int = 128) -> np.ndarray:
    """The codes of pictures (n, 48, 48, 1) float32 in [0, 1] under an ``autoencoder``, (n, 6, 6, depth)
    int32."""
    quantizer = model.get_layer("quantizer")
    latents = latents_of(model, pictures, batch_size)
    parts = [quantizer(latents[i : i + batch_size])[1] for i in range(0, len(latents), batch_size)]
    return np.concatenate([ops.convert_to_numpy(part) for part in parts])  # the distances to all fill memory


def quality(pictures: np.ndarray, found: np.ndarray) -> dict[str, float]:
    """How like the originals reconstructions are, both (n, 48, 48, 1) float32 in [0, 1].

    psnr: dB, the mean of the pictures' own. ssim: the mean of ``ssim``.
    """
    found = np.clip(found, 0, 1)
    error = np.maximum(((pictures - found) ** 2).mean((1, 2, 3)), 1e-10)
    likeness = [ssim(pictures[i : i + 500], found[i : i + 500]) for i in range(0, len(pictures), 500)]
    return {
        "psnr": float(-10 * np.log10(error).mean()),
        "ssim": float(np.concatenate([ops.convert_to_numpy(part) for part in likeness]).mean()),
    }


def codebook_usage(codes: np.ndarray, size: int) -> dict[str, float]:
    """How much of the codebooks is in use, codes (n, 6, 6, depth) of 0 to size - 1, means over the depths.

    used: share of the codes that occur. perplexity: 2 to the entropy in bits: as many codes, used equally,
    would say as much.
    """
    found = [np.bincount(codes[..., i].ravel(), minlength=size) for i in range(codes.shape[-1])]
    entropies = [-(p[p > 0] * np.log2(p[p > 0])).sum() for p in (n / n.sum() for n in found)]
    return {
        "used": float(np.mean([(n > 0).mean() for n in found])),
        "perplexity": float(np.mean(2 ** np.array(entropies))),
    }
