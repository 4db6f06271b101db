"""Triton kernels of attention whose logits are inner products plus a function of two points.

Each program owns a block of targets, or of sources, of one head of one cloud and passes over the
other side in blocks. A tile of pairs is ``(targets, sources)`` for the logits and flat,
``(pairs, hidden)``, for the perceptron of the invariants; nothing of it leaves the program.

Features are contiguous ``(batch, points, heads, channels)``, points ``(batch, points, dim)``,
statistics of the targets ``(batch, heads, targets)``. ``tl.dot`` takes blocks of at least 16:
channels and hidden units are padded with zeros to a power of two from 16 on.

Importing this module needs triton; the backend does so on first use.
"""
# mypy: disable-error-code="no-untyped-def"

from dataclasses import dataclass

import torch
import triton
import triton.language as tl

INTERPRETED: bool = triton.knobs.runtime.interpret
_LOWEST = tl.constexpr(-1e30)  # The difference of two -∞ would be NaN.


@dataclass(frozen=True)
class Form:
    """The settings that a kernel is compiled for.

    Attributes:
        softmax: Whether weights are a softmax of the logits, or the logits over the count.
        heads: Number of heads.
        dim: Number of coordinates of a point.
        invariants: Their kinds, each with its number: ``distance`` |d|, ``inverse_distance``
            1 / √(|d|² + ε²) with ε, ``coordinate`` with the axis of d, for d = xⱼ - xᵢ.
        hidden: Number of hidden units, padded; 0 for a linear form.
        share: Number of heads a perceptron.
        channels: Channels a head of queries and keys; 0 without a content part.
        values: Channels a head of the values.
        targets: Size of a block of targets.
        sources: Size of a block of sources.
        warps: Number of warps of a program.
        factor: The type of the factors of matrix products.
        real: The type of everything else.
        precision: Of matrix products of float32, see ``tl.dot``.
    """

    softmax: bool
    heads: int
    dim: int
    invariants: tuple[tuple[str, float], ...]
    hidden: int
    share: int
    channels: int
    values: int
    targets: int
    sources: int
    warps: int
    factor: tl.dtype
    real: tl.dtype
    precision: str

    @property
    def inputs(self) -> int:
        """Number of invariants; 0 without a location part."""
        return len(self.invariants)

    @property
    def pairs(self) -> int:
        """Number of pairs in a tile."""
        return self.targets * self.sources

    @property
    def weights(self) -> int:
        """Number of weights and biases that a head sees."""
        if self.hidden:
            return self.hidden * (self.inputs + 1 + self.hidden + 1 + 1) + 1
        return self.inputs + 1

    @property
    def padded_channels(self) -> int:
        """Columns of a block of queries or keys."""
        return padded(self.channels)

    @property
    def padded_values(self) -> int:
        """Columns of a block of values."""
        return padded(self.values)

    @property
    def padded_dim(self) -> int:
        """Columns of a block of points."""
        return triton.next_power_of_2(self.dim)

    @property
    def padded_inputs(self) -> int:
        """Rows of a block of weights of the invariants."""
        return triton.next_power_of_2(self.inputs)


def type_of(dtype: torch.dtype) -> tl.dtype:
    """The type of triton with the name of one of torch's."""
    return getattr(tl, str(dtype).removeprefix("torch."))


def padded(size: int) -> int:
    """The smallest size of an axis of ``tl.dot`` that holds ``size``."""
    return max(16, triton.next_power_of_2(size))


@triton.jit
def _zeros(ROWS: tl.constexpr, COLUMNS: tl.constexpr, FORM: tl.constexpr):
    return tl.zeros((ROWS, COLUMNS), FORM.real)


@triton.jit
def _row_of_zeros(COLUMNS: tl.constexpr, FORM: tl.constexpr):
    return tl.zeros((COLUMNS,), FORM.real)


@triton.jit
def _flat(tile, FORM: tl.constexpr):
    """``(targets, sources)`` as ``(pairs, 1)``."""
    PAIRS: tl.constexpr = FORM.pairs
    return tl.reshape(tile, (PAIRS,))[:, None]


@triton.jit
def _tile(flat, FORM: tl.constexpr):
    """``(pairs,)`` as ``(targets, sources)``."""
    TARGETS: tl.constexpr = FORM.targets
    SOURCES: tl.constexpr = FORM.sources
    return tl.reshape(flat, (TARGETS, SOURCES))


@triton.jit
def _place(points, BLOCK: tl.constexpr, FORM: tl.constexpr):
    """The cloud, the head and the points ``(block,)`` of this program."""
    blocks = tl.cdiv(points, BLOCK)
    program = tl.program_id(0)
    cloud = (program // (blocks * FORM.heads)).to(tl.int64)  # Offsets can exceed 32 bits.
    head = program // blocks % FORM.heads
    return cloud, head, program % blocks * BLOCK + tl.arange(0, BLOCK)


@triton.jit
def _load(
    pointer, cloud, head, index, points, exists, WIDTH: tl.constexpr, PADDED: tl.constexpr,
    FORM: tl.constexpr,
):  # fmt: skip
    """Features of points, ``(block, padded width)``, zero where there is nothing."""
    rows = pointer + ((cloud * points + index) * FORM.heads + head) * WIDTH
    column = tl.arange(0, PADDED)[None, :]
    within = exists[:, None] & (column < WIDTH)
    return tl.load(rows[:, None] + column, mask=within, other=0.0)


@triton.jit
def _store(
    pointer, value, cloud, head, index, points, exists, WIDTH: tl.constexpr, PADDED: tl.constexpr,
    FORM: tl.constexpr,
):  # fmt: skip
    """The way back of ``_load``."""
    rows = pointer + ((cloud * points + index) * FORM.heads + head) * WIDTH
    column = tl.arange(0, PADDED)[None, :]
    within = exists[:, None] & (column < WIDTH)
    tl.store(rows[:, None] + column, value.to(pointer.dtype.element_ty), mask=within)


@triton.jit
def _existing(mask, cloud, index, points):
    """Booleans ``(block,)``, True for sources that exist."""
    exists = index < points
    if mask is not None:
        exists = exists & (tl.load(mask + cloud * points + index, mask=exists, other=0) != 0)
    return exists


@triton.jit
def _difference(x, y, has_x, has_y, AXIS: tl.constexpr, FORM: tl.constexpr):
    """A coordinate of xⱼ - xᵢ, ``(targets, sources)``."""
    target = tl.load(x + AXIS, mask=has_x, other=0.0).to(FORM.real)
    source = tl.load(y + AXIS, mask=has_y, other=0.0).to(FORM.real)
    return source[None, :] - target[:, None]


@triton.jit
def _squared_distance(x, y, has_x, has_y, FORM: tl.constexpr):
    DIM: tl.constexpr = FORM.dim
    squared = _zeros(FORM.targets, FORM.sources, FORM)
    for axis in tl.static_range(DIM):
        d = _difference(x, y, has_x, has_y, axis, FORM)
        squared += d * d
    return squared


@triton.jit
def _invariant(squared, x, y, has_x, has_y, INDEX: tl.constexpr, FORM: tl.constexpr):
    """One invariant, ``(targets, sources)``."""
    KIND: tl.constexpr = FORM.invariants[INDEX][0]
    NUMBER: tl.constexpr = FORM.invariants[INDEX][1]
    if KIND == "distance":
        value = tl.sqrt(squared)
    elif KIND == "inverse_distance":
        value = 1 / tl.sqrt(squared + NUMBER * NUMBER)
    else:
        value = _difference(x, y, has_x, has_y, NUMBER, FORM)
    return value


@triton.jit
def _radial_slope(squared, INDEX: tl.constexpr, FORM: tl.constexpr):
    """The derivative by r of a function of r, over r; for r itself 0 at 0."""
    KIND: tl.constexpr = FORM.invariants[INDEX][0]
    NUMBER: tl.constexpr = FORM.invariants[INDEX][1]
    if KIND == "distance":
        apart = squared > 0
        slope = tl.where(apart, 1 / tl.sqrt(tl.where(apart, squared, 1.0)), 0.0)
    else:
        softened = squared + NUMBER * NUMBER
        slope = -1 / (softened * tl.sqrt(softened))
    return slope


@triton.jit
def _silu(z):
    return z / (1 + tl.exp(-z))


@triton.jit
def _silu_slope(z):
    s = 1 / (1 + tl.exp(-z))
    return s * (1 + z * (1 - s))


@triton.jit
def _product(a, b, FORM: tl.constexpr):
    return tl.dot(a.to(FORM.factor), b.to(FORM.factor), input_precision=FORM.precision)


@triton.jit
def _location(squared, x, y, has_x, has_y, head, layers, FORM: tl.constexpr):
    """w₃ σ(w₂ σ(w₁ I + b₁) + b₂) + b₃, σ = SiLU, or w₁ I + b₁ without hidden units.

    Returns:
        Logits ``(targets, sources)``, and both hidden layers before σ, ``(pairs, hidden)``.
    """
    INPUTS: tl.constexpr = FORM.inputs
    w1, b1, w2, b2, w3, b3 = layers
    if FORM.hidden == 0:
        logits = _zeros(FORM.targets, FORM.sources, FORM) + tl.load(b1 + head)
        for c in tl.static_range(INPUTS):
            invariant = _invariant(squared, x, y, has_x, has_y, c, FORM)
            logits += tl.load(w1 + head * FORM.inputs + c) * invariant
        z1 = logits
        z2 = logits
    else:
        unit = tl.arange(0, FORM.hidden)
        row = head // FORM.share * FORM.hidden + unit
        z1 = _zeros(FORM.pairs, FORM.hidden, FORM) + tl.load(b1 + row)[None, :]
        for c in tl.static_range(INPUTS):
            invariant = _invariant(squared, x, y, has_x, has_y, c, FORM)
            weight = tl.load(w1 + row * FORM.inputs + c)
            z1 += _flat(invariant, FORM) * weight[None, :]
        transposed = tl.load(w2 + row[None, :] * FORM.hidden + unit[:, None])
        z2 = _product(_silu(z1), transposed, FORM) + tl.load(b2 + row)[None, :]
        output = tl.sum(_silu(z2) * tl.load(w3 + head * FORM.hidden + unit)[None, :], 1)
        logits = _tile(output, FORM) + tl.load(b3 + head)
    return logits, z1, z2


@triton.jit
def _hidden_cotangents(gl, z1, z2, head, layers, FORM: tl.constexpr):
    """Cotangents of both hidden layers before σ from those of the logits, ``(pairs, hidden)``."""
    w2, w3 = layers[2], layers[4]
    if FORM.hidden == 0:
        g1 = gl
        g2 = gl
    else:
        unit = tl.arange(0, FORM.hidden)
        row = head // FORM.share * FORM.hidden + unit
        output = tl.load(w3 + head * FORM.hidden + unit)[None, :]
        g2 = _flat(gl, FORM) * output * _silu_slope(z2)
        weight = tl.load(w2 + row[:, None] * FORM.hidden + unit[None, :])
        g1 = _product(g2, weight, FORM) * _silu_slope(z1)
    return g1, g2


@triton.jit
def _displacement_cotangents(
    gl, g1, squared, x, y, has_x, has_y, head, layers, AXIS: tl.constexpr, FORM: tl.constexpr
):
    """Cotangents of xⱼ - xᵢ, summed over the sources or the targets, ``(block, padded dim)``."""
    INPUTS: tl.constexpr = FORM.inputs
    DIM: tl.constexpr = FORM.dim
    w1 = layers[0]
    coordinate = tl.arange(0, FORM.padded_dim)[None, :]
    BLOCK: tl.constexpr = FORM.pairs // gl.shape[AXIS]
    total = _zeros(BLOCK, FORM.padded_dim, FORM)
    radial = _zeros(FORM.targets, FORM.sources, FORM)
    for c in tl.static_range(INPUTS):
        if FORM.hidden == 0:
            gi = gl * tl.load(w1 + head * FORM.inputs + c)
        else:
            row = head // FORM.share * FORM.hidden + tl.arange(0, FORM.hidden)
            flat = tl.sum(g1 * tl.load(w1 + row * FORM.inputs + c)[None, :], 1)
            gi = _tile(flat, FORM)
        if FORM.invariants[c][0] == "coordinate":
            share = tl.sum(gi, AXIS)[:, None]
            total += tl.where(coordinate == FORM.invariants[c][1], share, 0.0)
        else:
            radial += gi * _radial_slope(squared, c, FORM)
    for axis in tl.static_range(DIM):
        d = _difference(x, y, has_x, has_y, axis, FORM)
        total += tl.where(coordinate == axis, tl.sum(radial * d, AXIS)[:, None], 0.0)
    return total


@triton.jit
def _weigh(logits, received, pairs, statistic, delta, FORM: tl.constexpr):
    """The weights of pairs, and the cotangents of logits from those of weights."""
    if FORM.softmax:
        weight = tl.where(pairs, tl.exp(logits - statistic[:, None]), 0.0)
        gl = weight * (received - delta[:, None])
    else:
        weight = tl.where(pairs, logits * statistic[:, None], 0.0)
        gl = tl.where(pairs, received * statistic[:, None], 0.0)
    return weight, gl


@triton.jit
def forward(
    x, y, q, k, v, mask, w1, b1, w2, b2, w3, b3, out, statistics, targets, sources,
    FORM: tl.constexpr,
):  # fmt: skip
    """Σ_j wᵢⱼ vⱼ for a block of targets.

    ``statistics`` receives log Σ_j exp lᵢⱼ for a softmax; otherwise it holds one over the count.

    Reference:
        Dao 2023, FlashAttention-2, algorithm 1.
    """
    layers = (w1, b1, w2, b2, w3, b3)
    cloud, head, i = _place(targets, FORM.targets, FORM)
    has_x = i < targets
    x += (cloud * targets + i) * FORM.dim
    statistics += (cloud * FORM.heads + head) * targets + i
    if FORM.channels > 0:
        query = _load(q, cloud, head, i, targets, has_x, FORM.channels, FORM.padded_channels, FORM)
    if not FORM.softmax:
        share = tl.load(statistics, mask=has_x, other=0.0)
    largest = _row_of_zeros(FORM.targets, FORM) + _LOWEST
    total = _row_of_zeros(FORM.targets, FORM)
    received = _zeros(FORM.targets, FORM.padded_values, FORM)
    for start in range(0, sources, FORM.sources):
        j = start + tl.arange(0, FORM.sources)
        has_y = _existing(mask, cloud, j, sources)
        logits = _zeros(FORM.targets, FORM.sources, FORM)
        if FORM.inputs > 0:
            y_j = y + (cloud * sources + j) * FORM.dim
            squared = _squared_distance(x, y_j, has_x, has_y, FORM)
            logits, _, _ = _location(squared, x, y_j, has_x, has_y, head, layers, FORM)
        if FORM.channels > 0:
            key = _load(
                k, cloud, head, j, sources, has_y, FORM.channels, FORM.padded_channels, FORM
            )
            logits += _product(query, tl.trans(key), FORM)
        if FORM.softmax:
            logits = tl.where(has_y[None, :], logits, _LOWEST)
            above = tl.maximum(largest, tl.max(logits, 1))
            weight = tl.where(has_y[None, :], tl.exp(logits - above[:, None]), 0.0)
            fade = tl.exp(largest - above)
            total = total * fade + tl.sum(weight, 1)
            received = received * fade[:, None]
            largest = above
        else:
            weight = tl.where(has_y[None, :], logits * share[:, None], 0.0)
        value = _load(v, cloud, head, j, sources, has_y, FORM.values, FORM.padded_values, FORM)
        received += _product(weight, value, FORM)
    if FORM.softmax:
        total = tl.where(total > 0, total, 1.0)  # Zero over an empty fibre.
        received = received / total[:, None]
        tl.store(statistics, largest + tl.log(total), mask=has_x)
    _store(out, received, cloud, head, i, targets, has_x, FORM.values, FORM.padded_values, FORM)


@triton.jit
def backward_of_targets(
    x, y, q, k, v, mask, w1, b1, w2, b2, w3, b3, g, statistics, deltas, gx, gq, gw,
    targets, sources, FORM: tl.constexpr,
):  # fmt: skip
    """Cotangents of a block of targets, and its share of the cotangents of the layers.

    ``gx (batch, targets, heads, dim)`` is apart by heads and ``gw`` by programs, for the caller to
    sum in an order that does not change; each is None where it is not wanted.

    Reference:
        Dao 2023, FlashAttention-2, algorithm 2.
    """
    INPUTS: tl.constexpr = FORM.inputs
    layers = (w1, b1, w2, b2, w3, b3)
    cloud, head, i = _place(targets, FORM.targets, FORM)
    has_x = i < targets
    x += (cloud * targets + i) * FORM.dim
    at = (cloud * FORM.heads + head) * targets + i
    statistic = tl.load(statistics + at, mask=has_x, other=0.0)
    delta = tl.load(deltas + at, mask=has_x, other=0.0)
    cotangent = _load(g, cloud, head, i, targets, has_x, FORM.values, FORM.padded_values, FORM)
    if FORM.channels > 0:
        query = _load(q, cloud, head, i, targets, has_x, FORM.channels, FORM.padded_channels, FORM)
        gq_total = _zeros(FORM.targets, FORM.padded_channels, FORM)
    if gx is not None:
        gx_total = _zeros(FORM.targets, FORM.padded_dim, FORM)
    if gw is not None:
        column = tl.arange(0, FORM.padded_inputs)
        if FORM.hidden == 0:
            first_total = _row_of_zeros(FORM.padded_inputs, FORM)
            first_bias_total = _row_of_zeros(FORM.targets, FORM)
        else:
            first_total = _zeros(FORM.padded_inputs, FORM.hidden, FORM)
            first_bias_total = _row_of_zeros(FORM.hidden, FORM)
            second_total = _zeros(FORM.hidden, FORM.hidden, FORM)
            second_bias_total = _row_of_zeros(FORM.hidden, FORM)
            third_total = _row_of_zeros(FORM.hidden, FORM)
            third_bias_total = _row_of_zeros(FORM.targets, FORM)
    for start in range(0, sources, FORM.sources):
        j = start + tl.arange(0, FORM.sources)
        has_y = _existing(mask, cloud, j, sources)
        logits = _zeros(FORM.targets, FORM.sources, FORM)
        if FORM.inputs > 0:
            y_j = y + (cloud * sources + j) * FORM.dim
            squared = _squared_distance(x, y_j, has_x, has_y, FORM)
            logits, z1, z2 = _location(squared, x, y_j, has_x, has_y, head, layers, FORM)
        if FORM.channels > 0:
            key = _load(
                k, cloud, head, j, sources, has_y, FORM.channels, FORM.padded_channels, FORM
            )
            logits += _product(query, tl.trans(key), FORM)
        value = _load(v, cloud, head, j, sources, has_y, FORM.values, FORM.padded_values, FORM)
        received = _product(cotangent, tl.trans(value), FORM)
        pairs = has_x[:, None] & has_y[None, :]
        _, gl = _weigh(logits, received, pairs, statistic, delta, FORM)
        if FORM.channels > 0:
            gq_total += _product(gl, key, FORM)
        if gx is not None or gw is not None:
            g1, g2 = _hidden_cotangents(gl, z1, z2, head, layers, FORM)
            if gx is not None:
                gx_total -= _displacement_cotangents(
                    gl, g1, squared, x, y_j, has_x, has_y, head, layers, 1, FORM
                )
            if gw is not None:
                for c in tl.static_range(INPUTS):
                    invariant = _invariant(squared, x, y_j, has_x, has_y, c, FORM)
                    if FORM.hidden == 0:
                        share = tl.sum(gl * invariant)
                        first_total += tl.where(column == c, share, 0.0)
                    else:
                        share = tl.sum(_flat(invariant, FORM) * g1, 0)
                        first_total += tl.where(column[:, None] == c, share[None, :], 0.0)
                if FORM.hidden == 0:
                    first_bias_total += tl.sum(gl, 1)
                else:
                    first_bias_total += tl.sum(g1, 0)
                    second_total += _product(tl.trans(g2), _silu(z1), FORM)
                    second_bias_total += tl.sum(g2, 0)
                    third_total += tl.sum(_flat(gl, FORM) * _silu(z2), 0)
                    third_bias_total += tl.sum(gl, 1)
    if FORM.channels > 0:
        _store(
            gq, gq_total, cloud, head, i, targets, has_x, FORM.channels, FORM.padded_channels, FORM
        )
    if gx is not None:
        _store(gx, gx_total, cloud, head, i, targets, has_x, FORM.dim, FORM.padded_dim, FORM)
    if gw is not None:
        gw += tl.program_id(0).to(tl.int64) * FORM.weights
        if FORM.hidden == 0:
            tl.store(gw + column, first_total, mask=column < FORM.inputs)
            tl.store(gw + FORM.inputs, tl.sum(first_bias_total))
        else:
            unit = tl.arange(0, FORM.hidden)
            places = unit[None, :] * FORM.inputs + column[:, None]
            tl.store(gw + places, first_total, mask=column[:, None] < FORM.inputs)
            gw += FORM.hidden * FORM.inputs
            tl.store(gw + unit, first_bias_total)
            gw += FORM.hidden
            tl.store(gw + unit[:, None] * FORM.hidden + unit[None, :], second_total)
            gw += FORM.hidden * FORM.hidden
            tl.store(gw + unit, second_bias_total)
            gw += FORM.hidden
            tl.store(gw + unit, third_total)
            tl.store(gw + FORM.hidden, tl.sum(third_bias_total))


@triton.jit
def backward_of_sources(
    x, y, q, k, v, mask, w1, b1, w2, b2, w3, b3, g, statistics, deltas, gy, gk, gv,
    targets, sources, FORM: tl.constexpr,
):  # fmt: skip
    """Cotangents of a block of sources.

    ``gy (batch, sources, heads, dim)`` is apart by heads, or None where it is not wanted.

    Reference:
        Dao 2023, FlashAttention-2, algorithm 2.
    """
    layers = (w1, b1, w2, b2, w3, b3)
    cloud, head, j = _place(sources, FORM.sources, FORM)
    within = j < sources
    has_y = _existing(mask, cloud, j, sources)
    y += (cloud * sources + j) * FORM.dim
    value = _load(v, cloud, head, j, sources, has_y, FORM.values, FORM.padded_values, FORM)
    gv_total = _zeros(FORM.sources, FORM.padded_values, FORM)
    if FORM.channels > 0:
        key = _load(k, cloud, head, j, sources, has_y, FORM.channels, FORM.padded_channels, FORM)
        gk_total = _zeros(FORM.sources, FORM.padded_channels, FORM)
    if gy is not None:
        gy_total = _zeros(FORM.sources, FORM.padded_dim, FORM)
    for start in range(0, targets, FORM.targets):
        i = start + tl.arange(0, FORM.targets)
        has_x = i < targets
        at = (cloud * FORM.heads + head) * targets + i
        statistic = tl.load(statistics + at, mask=has_x, other=0.0)
        delta = tl.load(deltas + at, mask=has_x, other=0.0)
        logits = _zeros(FORM.targets, FORM.sources, FORM)
        if FORM.inputs > 0:
            x_i = x + (cloud * targets + i) * FORM.dim
            squared = _squared_distance(x_i, y, has_x, has_y, FORM)
            logits, z1, z2 = _location(squared, x_i, y, has_x, has_y, head, layers, FORM)
        if FORM.channels > 0:
            query = _load(
                q, cloud, head, i, targets, has_x, FORM.channels, FORM.padded_channels, FORM
            )
            logits += _product(query, tl.trans(key), FORM)
        cotangent = _load(g, cloud, head, i, targets, has_x, FORM.values, FORM.padded_values, FORM)
        received = _product(cotangent, tl.trans(value), FORM)
        pairs = has_x[:, None] & has_y[None, :]
        weight, gl = _weigh(logits, received, pairs, statistic, delta, FORM)
        gv_total += _product(tl.trans(weight), cotangent, FORM)
        if FORM.channels > 0:
            gk_total += _product(tl.trans(gl), query, FORM)
        if gy is not None:
            g1, _ = _hidden_cotangents(gl, z1, z2, head, layers, FORM)
            gy_total += _displacement_cotangents(
                gl, g1, squared, x_i, y, has_x, has_y, head, layers, 0, FORM
            )
    _store(gv, gv_total, cloud, head, j, sources, within, FORM.values, FORM.padded_values, FORM)
    if FORM.channels > 0:
        _store(
            gk, gk_total, cloud, head, j, sources, within, FORM.channels, FORM.padded_channels, FORM
        )
    if gy is not None:
        _store(gy, gy_total, cloud, head, j, sources, within, FORM.dim, FORM.padded_dim, FORM)
