"""Which codes make a face with a given emotion: a masked prior over the VQ-VAE's 6x6 stacks of codes.

Trained to fill in hidden positions from those that are left, it draws a face by uncovering random positions
a few at a time (MaskGIT, arXiv:2202.04200; in random order as in MAR, arXiv:2406.11838), and edits one by
hiding some of its positions and uncovering them under another emotion. The codes of one position are drawn
one after another, coarse to fine, by a small head (RQ-Transformer, arXiv:2203.01941). The emotion comes in
through adaptive layer norms (DiT, arXiv:2212.09748), and one face in ten is learnt without, for guidance
(Ho & Salimans 2022, arXiv:2207.12598).

What is known of a face travels as vectors: ``codebooks`` (depth, codes, width) turn codes into them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from weakref import WeakKeyDictionary

import numpy as np

from facelib.backend import keras, layers, ops
from facelib.emotions import EMOTIONS
from facelib.models.vqvae import CODES, DEPTH, GRID, WIDTH

POSITIONS = GRID * GRID
#: So many of a face's hidden positions are asked for in training: a step on two cores takes three quarters
#: of the time of one that asks for all 36 (what that costs in quality was not measured).
ASKED = 12


@keras.saving.register_keras_serializable("facelib")
class Modulate(layers.Layer):
    """Layer norm whose scale and shift depend on the condition: adaLN-Zero (arXiv:2212.09748)."""

    def __init__(self, **options):
        super().__init__(**options)
        self.norm = layers.LayerNormalization(center=False, scale=False, epsilon=1e-6)

    def build(self, shapes):
        self.both = layers.Dense(2 * shapes[0][-1], kernel_initializer="zeros")
        self.both.build(shapes[1])
        self.norm.build(shapes[0])
        self.built = True

    def call(self, inputs):
        """x (n, t, w) and condition (n, c) -> (n, t, w)."""
        x, condition = inputs
        scale, shift = ops.split(self.both(condition)[:, None], 2, axis=-1)
        return self.norm(x) * (1 + scale) + shift


@keras.saving.register_keras_serializable("facelib")
class Place(layers.Layer):
    """Vectors of known positions, one learnt vector for the hidden ones, and where each is."""

    def build(self, shapes):
        positions, width = shapes[0][1:]
        self.hidden = self.add_weight((width,), keras.initializers.RandomNormal(stddev=0.02), name="hidden")
        self.where = self.add_weight(
            (positions, width), keras.initializers.RandomNormal(stddev=0.02), name="where"
        )

    def call(self, inputs):
        """x (n, t, w), known (n, t) of 0 and 1 -> (n, t, w)."""
        x, known = inputs
        known = ops.cast(known, x.dtype)[..., None]
        return known * x + (1 - known) * ops.cast(self.hidden, x.dtype) + ops.cast(self.where, x.dtype)


def trunk(width: int = 192, blocks: int = 5, heads: int = 6, latent: int = WIDTH, dropout: float = 0.05):
    """What is known and what is wanted -> what each position should be.

    Takes vectors (n, 36, latent) float32, known (n, 36) of 0 and 1, wanted (n, 7): shares of emotions, all 0
    where none is asked for. Gives (n, 36, width) float32.
    """
    vectors = keras.Input((POSITIONS, latent))
    known, wanted = keras.Input((POSITIONS,)), keras.Input((len(EMOTIONS),))
    condition = layers.Dense(64)(wanted)  # the bias alone: none asked for
    condition = layers.Dense(64, activation="silu")(layers.Activation("silu")(condition))
    x = Place()([layers.LayerNormalization()(layers.Dense(width)(vectors)), known])
    for _ in range(blocks):
        y = Modulate()([x, condition])
        y = layers.MultiHeadAttention(heads, width // heads)(y, y)
        x = layers.Add()([x, layers.Dropout(dropout)(y)])
        y = Modulate()([x, condition])
        y = layers.Dense(width)(layers.Dense(4 * width, activation="silu")(y))
        x = layers.Add()([x, layers.Dropout(dropout)(y)])
    x = layers.Activation("linear", dtype="float32")(Modulate()([x, condition]))
    return keras.Model([vectors, known, wanted], x, name="trunk")


def head(
    width: int = 192, latent: int = WIDTH, depth: int = DEPTH, codes: int = CODES, dropout: float = 0.05
):
    """What a position should be and which codes it has already -> the next code.

    Takes (n, t, width) and sums (n, t, depth, latent), at each depth those of the codes before it. Gives
    logits (n, t, depth, codes) float32.
    """
    place, sums = keras.Input((None, width)), keras.Input((None, depth, latent))
    x = layers.LayerNormalization()(layers.Dense(width)(sums))
    x = x + ops.expand_dims(layers.Dense(width)(place), 2)
    x = layers.EinsumDense("ntdw,dwv->ntdv", (None, depth, width), bias_axes="dv")(x)  # each depth its own
    for _ in range(2):
        y = layers.Dense(2 * width, activation="silu")(layers.LayerNormalization()(x))
        x = x + layers.Dropout(dropout)(layers.Dense(width)(y))
    x = layers.LayerNormalization()(x)
    x = layers.EinsumDense("ntdw,dwc->ntdc", (None, depth, codes), bias_axes="dc")(x)
    return keras.Model([place, sums], layers.Activation("linear", dtype="float32")(x), name="head")


def prior(
    width: int = 192,
    blocks: int = 5,
    heads: int = 6,
    latent: int = WIDTH,
    depth: int = DEPTH,
    codes: int = CODES,
    dropout: float = 0.05,
) -> keras.Model:
    """``trunk`` and ``head`` in one, for training; takes [vectors, known, wanted, places, sums], gives logits
    (n, t, depth, codes).

    places: (n, t) int, the positions that are asked for; sums: (n, t, depth, latent), theirs. The two are its
    layers "trunk" and "head". Five blocks: one more would not fit beside the other weights that are shipped.
    """
    inputs = [
        keras.Input((POSITIONS, latent)),
        keras.Input((POSITIONS,)),
        keras.Input((len(EMOTIONS),)),
        keras.Input((None,), dtype="int32"),
        keras.Input((None, depth, latent)),
    ]
    seen = trunk(width, blocks, heads, latent, dropout)(inputs[:3])
    seen = ops.take_along_axis(seen, inputs[3][..., None], axis=1)
    logits = head(width, latent, depth, codes, dropout)([seen, inputs[4]])
    return keras.Model(inputs, logits, name="prior")


class AtDepth(layers.Layer):
    """An ``EinsumDense`` layer with weights for each depth, at depth d alone: the same weights, no copy."""

    def __init__(self, whole: layers.EinsumDense, d: int):
        super().__init__(dtype=whole.dtype_policy)
        self.whole, self.d = whole, d

    def call(self, x):
        """x (n, t, 1, w) -> (n, t, 1, v)."""
        kernel, bias = (ops.convert_to_tensor(w)[self.d : self.d + 1] for w in self.whole.weights)
        return ops.einsum(self.whole.equation, x, kernel) + bias


_heads: WeakKeyDictionary[keras.Model, list[keras.Model]] = WeakKeyDictionary()
_building = threading.Lock()


def one_depth_heads(whole: keras.Model) -> list[keras.Model]:
    """For each depth a model of its codes alone over the layers of ``head``, for a quarter of the work.

    Each takes (n, t, width) and the sums (n, t, 1, latent) of the codes before, and gives logits
    (n, t, 1, codes). They are kept as long as the head is, because each is compiled; they share its weights
    and nothing is ever written to them, so that threads may use them side by side (not under JAX, where
    Keras itself gives a model's arrays away while it predicts).
    """
    with _building:
        if whole not in _heads:
            _heads[whole] = [_one_depth(whole, d) for d in range(whole.output_shape[2])]
        return _heads[whole]


def _one_depth(whole: keras.Model, d: int) -> keras.Model:
    (*_, width), (*_, latent) = whole.input_shape

    def call(layer, *arguments, **options):
        layer = AtDepth(layer, d) if isinstance(layer, layers.EinsumDense) else layer
        return layer(*arguments, **options)

    inputs = [keras.Input((None, width)), keras.Input((None, 1, latent))]
    return keras.models.clone_model(whole, inputs, lambda layer: layer, call)


def loss(codes, logits):
    """Cross-entropy of the codes (n, t, depth) that are not -1, their mean in nats (one number)."""
    codes = ops.cast(codes, "int32")
    there = ops.cast(codes >= 0, "float32")
    log = ops.log_softmax(logits, axis=-1)
    found = ops.take_along_axis(log, ops.maximum(codes, 0)[..., None], axis=-1)[..., 0]
    return -ops.sum(there * found) / ops.maximum(ops.sum(there), 1.0)


def sums_of(codes: np.ndarray, codebooks: np.ndarray) -> np.ndarray:
    """Sums of the first 0, 1, … depth codes' vectors: codes (…, depth) -> (…, depth + 1, width) float32."""
    vectors = codebooks[np.arange(codes.shape[-1]), codes]  # (…, depth, width)
    return np.concatenate([np.zeros_like(vectors[..., :1, :]), np.cumsum(vectors, axis=-2)], axis=-2)


def masked_batches(
    codes: np.ndarray,
    wanted: np.ndarray,
    chances: np.ndarray,
    codebooks: np.ndarray,
    without: float = 0.1,
) -> Callable:
    """What ``loop.fit`` draws for the prior: faces by chance, some of their positions hidden, and
    ``ASKED`` of these asked for.

    codes: (n, versions, 36, depth), each face in several versions (mirrored, moved). wanted: (n, 7).
    chances: (n,), how often each is drawn. without: share of faces without an emotion.
    """

    def draw(rows: np.ndarray, rng: np.random.Generator) -> tuple[list, np.ndarray]:
        n = len(rows)
        faces = rng.choice(len(codes), n, p=chances)
        stacks = codes[faces, rng.integers(codes.shape[1], size=n)].astype(np.int64)  # (n, 36, depth)
        # Seldom few, often nearly all hidden: the cosine of MaskGIT.
        hidden = np.ceil(POSITIONS * np.cos(np.pi / 2 * rng.random(n)))
        order = rng.random((n, POSITIONS)).argsort(1)
        known = order.argsort(1) >= hidden[:, None]
        places = order[:, :ASKED]  # hidden ones, and known ones where these are fewer
        sums = sums_of(stacks, codebooks)
        emotions = wanted[faces] * (rng.random((n, 1)) >= without)
        there = np.take_along_axis(sums[..., :-1, :], places[..., None, None], 1)
        named = np.take_along_axis(np.where(known[..., None], -1, stacks), places[..., None], 1)
        inputs = [sums[..., -1, :], known.astype(np.float32), emotions.astype(np.float32), places, there]
        return inputs, named.astype(np.float32)

    return draw


def sample(
    model: keras.Model,
    codebooks: np.ndarray,
    wanted: np.ndarray,
    rng: np.random.Generator,
    guidance: float | np.ndarray = 2.0,
    temperature: float | np.ndarray = 1.0,
    top_p: float = 1.0,
    steps: int = 12,
    codes: np.ndarray | None = None,
    keep: np.ndarray | None = None,
) -> np.ndarray:
    """Draw codes (n, 36, depth) int for emotions wanted (n, 7).

    guidance: 1 draws from the conditional prior; more of it moves away from the unconditional one; (n,): of
    each face. temperature: of a code's distribution; (depth,): of each depth's, coarse to fine. top_p: only
    the likeliest codes that together have this probability (nucleus sampling, arXiv:1904.09751). steps: in so
    many turns the hidden positions are uncovered, few at first. codes, keep: (n, 36, depth) and (n, 36) bool:
    positions that are known already.
    """
    see, heads = model.get_layer("trunk").predict_on_batch, one_depth_heads(model.get_layer("head"))
    n, (depth, _, width) = len(wanted), codebooks.shape
    wanted = wanted.astype(np.float32)
    plain = np.all(guidance == 1)
    asked = [wanted] if plain else [wanted, np.zeros_like(wanted)]
    guidance = np.broadcast_to(guidance, n)[:, None, None]
    temperature = np.broadcast_to(temperature, depth)

    def twice(x: np.ndarray) -> np.ndarray:  # for what is asked, and for nothing asked
        return np.concatenate([x] * len(asked))

    codes = np.zeros((n, POSITIONS, depth), np.int64) if codes is None else codes.astype(np.int64)
    known = np.zeros((n, POSITIONS), bool) if keep is None else keep.copy()
    order = np.where(known, -1.0, rng.random((n, POSITIONS))).argsort(1)  # the known ones first
    first = known.sum(1)
    share = 1 - np.cos(np.pi / 2 * np.arange(steps + 1) / steps)
    until = np.round(first + share[:, None] * (POSITIONS - first)).astype(int)  # known after each turn
    most = int(np.diff(until, axis=0).max())  # one size for all turns: each size is compiled
    for turn in until[1:]:
        new = (order.argsort(1) < turn[:, None]) & ~known
        if not new.any():
            continue
        places = np.argsort(~new, axis=1, kind="stable")[:, :most]  # (n, most), the new ones first
        vectors = sums_of(codes, codebooks)[..., -1, :]
        seen = see([twice(vectors), twice(known.astype(np.float32)), np.concatenate(asked)])
        seen = np.take_along_axis(seen, twice(places)[..., None], 1)
        stack, sums = np.zeros((n, most, depth), np.int64), np.zeros((n, most, width), np.float32)
        for d in range(depth):
            logits = heads[d].predict_on_batch([seen, twice(sums)[:, :, None]])[:, :, 0]
            if not plain:
                logits = logits[n:] + guidance * (logits[:n] - logits[n:])
            stack[..., d] = _choose(logits / temperature[d], top_p, rng)
            sums += codebooks[d, stack[..., d]]
        old = np.take_along_axis(codes, places[..., None], 1)
        fresh = np.take_along_axis(new, places, 1)[..., None]
        np.put_along_axis(codes, places[..., None], np.where(fresh, stack, old), 1)
        known |= new
    return codes


def _choose(logits: np.ndarray, top_p: float, rng: np.random.Generator) -> np.ndarray:
    """A code of each (..., codes), by chance."""
    shares = np.exp(logits - logits.max(-1, keepdims=True))
    shares /= shares.sum(-1, keepdims=True)
    if top_p < 1:
        ranked = np.sort(shares, -1)[..., ::-1]
        last = (np.cumsum(ranked, -1) < top_p).sum(-1, keepdims=True)
        shares *= shares >= np.take_along_axis(ranked, np.minimum(last, shares.shape[-1] - 1), -1)
        shares /= shares.sum(-1, keepdims=True)
    below = np.cumsum(shares, -1) < rng.random((*shares.shape[:-1], 1))
    return np.minimum(below.sum(-1), shares.shape[-1] - 1)
