"""Triton attention: the streaming case on a GPU, in a kernel of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from attention.backends.base import Backend
from attention.backends.slices import Tensors, map_slices
from attention.backends.streaming import Streaming
from attention.geometry import Geometry, Pairs
from attention.kernels import Kernel, Projections
from attention.kernels.combination import ContentOnly, LocationOnly, Sum
from attention.kernels.location import (
    LinearLocation,
    Location,
    LocationMLP,
    SharedLocationMLP,
)
from attention.kernels.pairwise_mlp import pairwise_mlp
from attention.neighborhoods import DenseNeighborhood
from attention.normalizers import Count, Normalizer, Softmax
from liegroups import (
    Concat,
    Distance,
    HomogeneousSpace,
    Invariant,
    InverseDistance,
    Lifted,
    RelativePose,
    Sees,
    Translation,
)
from liegroups.sees import includes
from liegroups.spaces import EuclideanSpace

if TYPE_CHECKING:
    from attention.backends.triton_kernels import Form

_LARGEST_HIDDEN = 64
_SHARED_BYTES_OF_64 = 174_080  # The compiler's use for 64 hidden units in single precision.
# Of a tile: hidden units of all its pairs, and warps whose registers hold them and what they need.
_ELEMENTS = 2**12
_FORWARD_WARPS = 4
_BACKWARD_WARPS = 8


class Triton(Backend):
    """Inner products plus a perceptron of distances or translations, computed tile by tile.

    Memory is linear in the number of points, forward and backward, and no invariant, hidden layer
    or logit leaves the chip: the backward pass computes the tiles again, once for the gradients of
    the targets and the weights and once for those of the sources. Nothing is added atomically, so
    gradients are the same in every run. Invariants, perceptrons and sums are in single precision,
    matrix products in the type of the features; those of float32 follow
    ``torch.set_float32_matmul_precision``, so that TF32 is off by default.

    Where the backward pass is differentiated in turn, it streams through torch's operations
    instead, like ``Streaming``.

    Needs the package triton, which comes with torch for CUDA; otherwise ``pip install
    'lie-attention[triton]'``. Without a GPU it runs, slowly, in triton's interpreter, when the
    environment has ``TRITON_INTERPRET=1``.

    Reference:
        Dao 2023, FlashAttention-2.
    """

    def limitation(self, kernel: Kernel, normalizer: Normalizer, pairs: Pairs) -> str | None:
        return (
            _unsupported_kernel(kernel)
            or _unsupported_pairs(kernel, normalizer, pairs)
            or _unsupported_machine(kernel, pairs.target.point)
        )

    def __call__(
        self,
        kernel: Kernel,
        normalizer: Normalizer,
        pairs: Pairs,
        projections: Projections,
        values: Tensor,
    ) -> Tensor:
        neighborhood = pairs.neighborhood
        assert isinstance(neighborhood, DenseNeighborhood)
        layers = (
            _layers(_location(kernel), _real(values))
            if includes(kernel.sees, Sees.INVARIANTS)
            else ()
        )
        problem = _Problem(pairs.geometry, normalizer, neighborhood.mask, len(layers))
        received: Tensor = _Attention.apply(
            problem,
            pairs.target.point,
            pairs.source.point,
            values,
            *layers,
            *projections.queries[:1],
            *projections.keys[:1],
        )
        return received


def _location(kernel: Kernel) -> Location:
    assert isinstance(kernel, Sum | LocationOnly)
    return kernel.location


def _hidden(kernel: Kernel) -> int:
    """Number of hidden units of a perceptron, 0 without one."""
    location = _location(kernel) if includes(kernel.sees, Sees.INVARIANTS) else None
    if isinstance(location, LocationMLP | SharedLocationMLP):
        return location.first.shape[1]
    return 0


def _unsupported_kernel(kernel: Kernel) -> str | None:
    if type(kernel) not in (Sum, LocationOnly, ContentOnly) or not (
        kernel.is_inner_product or type(kernel) is LocationOnly
    ):
        return (
            "needs the kernel Sum or ContentOnly with a content that is an inner product, such as "
            f"DotProduct or Rotary, or LocationOnly; got {type(kernel).__name__}"
        )
    if not includes(kernel.sees, Sees.INVARIANTS):
        return None
    location = _location(kernel)
    if type(location) not in (LinearLocation, LocationMLP, SharedLocationMLP):
        return (
            "needs the location LinearLocation, LocationMLP or SharedLocationMLP; "
            f"got {type(location).__name__}"
        )
    hidden = _hidden(kernel)
    if hidden > _LARGEST_HIDDEN:
        return f"takes at most {_LARGEST_HIDDEN} hidden units; got {hidden}"
    return None


def _unsupported_pairs(kernel: Kernel, normalizer: Normalizer, pairs: Pairs) -> str | None:
    if not isinstance(normalizer, Softmax | Count):
        return f"needs the normalizer Softmax or Count; got {normalizer}"
    neighborhood = pairs.neighborhood
    if not isinstance(neighborhood, DenseNeighborhood) or not neighborhood.is_of_whole_clouds:
        return "needs every point of a cloud as a neighbor, without a cut-off"
    if pairs.basis is not None:
        return "computes invariants as it goes, and has no learned features of them"
    space, invariant = pairs.geometry.space, pairs.geometry.invariant
    if includes(kernel.sees, Sees.INVARIANTS) and _columns(space, invariant) is None:
        return (
            "needs Distance, InverseDistance or RelativePose under translations, alone or in "
            f"Concat or PerHead; got {invariant} on {space}"
        )
    return None


def _unsupported_machine(kernel: Kernel, points: Tensor) -> str | None:
    if torch.compiler.is_compiling():
        return "does not run under torch.compile"
    if find_spec("triton") is None:
        return "needs the package triton; install lie-attention[triton]"
    if find_spec("triton.knobs") is None:  # torch before 2.8 comes with an older one.
        return "needs triton 3.4 or later"
    from attention.backends import triton_kernels

    if triton_kernels.INTERPRETED:
        return None
    if not points.is_cuda:
        return f"needs tensors on a GPU, or TRITON_INTERPRET=1; got some on {points.device}"
    if points.dtype == torch.float64:
        return "computes in single precision; got points of torch.float64"
    device = torch.cuda.get_device_properties(points.device)
    shared_bytes = getattr(device, "shared_memory_per_block_optin", 0)  # ROCm does not say.
    hidden = _hidden(kernel)
    if hidden > 32 and shared_bytes < _SHARED_BYTES_OF_64:
        return f"takes at most 32 hidden units on {device.name}; got {hidden}"
    return None


def _columns(space: HomogeneousSpace, invariant: Invariant) -> tuple[tuple[str, float], ...] | None:
    """The features of an invariant as ``Form.invariants`` has them; None where it cannot."""
    if isinstance(invariant, Distance):
        return (("distance", 0),)
    if isinstance(invariant, InverseDistance):
        return (("inverse_distance", invariant.softening),)
    if isinstance(invariant, Concat):
        parts = [_columns(space, part) for part in invariant.invariants]
        return None if None in parts else tuple(c for part in parts if part for c in part)
    translates = isinstance(space, EuclideanSpace) and isinstance(space.group, Translation)
    if isinstance(invariant, RelativePose) and translates:
        # Points are what their elements translate by.
        return tuple(("coordinate", axis) for axis in range(space.point_dim))
    return None


def _real(values: Tensor) -> torch.dtype:
    """The type to accumulate in."""
    return torch.promote_types(values.dtype, torch.float32)


def _layers(location: Location, real: torch.dtype) -> Tensors:
    """Weights and biases as the invariants meet them, hidden units padded with zeros."""
    if isinstance(location, LinearLocation):
        return ((location.weight * location.head_mask).to(real), location.bias.to(real))
    assert isinstance(location, LocationMLP | SharedLocationMLP)
    from attention.backends.triton_kernels import padded

    hidden = location.first.shape[1]
    more = padded(hidden) - hidden
    return (
        pad(location.first * location.input_mask, (0, 0, 0, more)).to(real),
        pad(location.first_bias, (0, more)).to(real),
        pad(location.second, (0, more, 0, more)).to(real),
        pad(location.second_bias, (0, more)).to(real),
        pad(location.third, (0, more)).to(real),
        location.third_bias.to(real),
    )


class _Problem(NamedTuple):
    """The inputs of an attention besides the tensors that it is differentiated by.

    Those are the target points, the source points and the values, then the weights and biases of
    the location, where there is one, then queries and keys, where there is a content.
    """

    geometry: Geometry
    normalizer: Normalizer
    mask: Tensor | None
    layers: int


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, problem: _Problem, *tensors: Tensor) -> Tensor:
        out, statistics = _forward(problem, tensors)
        ctx.problem = problem
        # Rounded to half precision, the result would spoil the gradients of the logits.
        ctx.save_for_backward(*tensors, out, statistics)
        return out.to(tensors[2].dtype)

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        *tensors, out, statistics = ctx.saved_tensors
        wanted = ctx.needs_input_grad[1:]
        if not torch.is_grad_enabled():
            found = _backward(ctx.problem, tensors, wanted, out, statistics, cotangent)
            return None, *(g if w else None for g, w in zip(found, wanted, strict=True))
        # Aliases, so that the gradient by one tensor does not pass through another.
        aliases = [t.view_as(t) for t in tensors]
        gradients = iter(
            torch.autograd.grad(
                _streamed(ctx.problem, aliases),
                [t for t, w in zip(aliases, wanted, strict=True) if w],
                cotangent,
                create_graph=True,
                allow_unused=True,
            )
        )
        return None, *(next(gradients) if w else None for w in wanted)


def _forward(problem: _Problem, tensors: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """The result before it is rounded, and the statistics of the targets."""
    from attention.backends import triton_kernels

    x, _, values, *_ = tensors
    heads, batch, sources, channels = values.shape
    targets = x.shape[1]
    statistics = values.new_empty(batch, heads, targets, dtype=_real(values))
    if isinstance(problem.normalizer, Count):
        mask = values.new_ones(1, 1, sources) if problem.mask is None else problem.mask
        statistics[:] = 1 / mask.sum(-1, keepdim=True).clamp(min=1).to(statistics.dtype)
    out = statistics.new_empty(batch, targets, heads, channels)
    form = _form(problem, tensors, _FORWARD_WARPS)
    inputs = _inputs(problem, tensors)
    run = triton_kernels.forward[(_programs(form.targets, targets, values),)]
    with torch.cuda.device_of(values):
        run(*inputs, out, statistics, targets, sources, form, num_warps=form.warps, num_stages=1)
    return out.permute(2, 0, 1, 3), statistics


def _backward(
    problem: _Problem,
    tensors: Sequence[Tensor],
    wanted: Sequence[bool],
    out: Tensor,
    statistics: Tensor,
    cotangent: Tensor,
) -> list[Tensor | None]:
    """Gradients by all tensors; those of points and layers only where they are wanted."""
    from attention.backends import triton_kernels

    x, _, values, *rest = tensors
    layers, content = rest[: problem.layers], rest[problem.layers :]
    heads, batch, sources, _ = values.shape
    targets = x.shape[1]
    form = _form(problem, tensors, _BACKWARD_WARPS)
    of_targets = _programs(form.targets, targets, values)
    of_sources = _programs(form.sources, sources, values)
    new = statistics.new_empty
    gx = new(batch, targets, heads, form.dim) if layers and wanted[0] else None
    gy = new(batch, sources, heads, form.dim) if layers and wanted[1] else None
    gw = new(of_targets, form.weights) if any(wanted[3 : 3 + len(layers)]) else None
    gq, gk = (torch.empty_like(_by_points(c)) for c in content) if content else (None, None)
    gv = torch.empty_like(_by_points(values))
    received = _by_points(cotangent)
    deltas = (received * _by_points(out)).sum(-1).transpose(1, 2).contiguous()
    inputs = (*_inputs(problem, tensors), received, statistics, deltas)
    with torch.cuda.device_of(values):
        run = triton_kernels.backward_of_targets[(of_targets,)]
        run(*inputs, gx, gq, gw, targets, sources, form, num_warps=form.warps, num_stages=1)
        run = triton_kernels.backward_of_sources[(of_sources,)]
        run(*inputs, gy, gk, gv, targets, sources, form, num_warps=form.warps, num_stages=1)
    of_layers: Iterable[Tensor | None] = [None] * len(layers)
    if gw is not None:
        of_layers = _by_layers(gw.view(batch, heads, -1, form.weights).sum((0, 2)), layers)
    return [
        *(None if g is None else g.sum(2).to(x.dtype) for g in (gx, gy)),
        _by_heads(gv),
        *of_layers,
        *(_by_heads(g) for g in (gq, gk) if g is not None),
    ]


def _form(problem: _Problem, tensors: Sequence[Tensor], warps: int) -> Form:
    """Make the settings to compile for, with so many warps, or more where tiles are larger."""
    from attention.backends import triton_kernels
    from attention.backends.triton_kernels import padded

    x, _, values, *rest = tensors
    layers, content = rest[: problem.layers], rest[problem.layers :]
    columns = _columns(problem.geometry.space, problem.geometry.invariant) if layers else ()
    channels = content[0].shape[-1] if content else 0
    hidden = layers[0].shape[1] if len(layers) > 2 else 0
    factor = values.dtype
    if triton_kernels.INTERPRETED:
        side = pairs = 16
        if factor == torch.bfloat16:  # It takes the factors for integers.
            factor = torch.float32
    else:
        side = _ELEMENTS // padded(max(channels, values.shape[-1]))  # Features are to fit, too.
        pairs = _ELEMENTS // max(hidden, 4)
    block_targets = max(16, min(side, 2 ** (pairs.bit_length() // 2)))
    block_sources = max(16, min(side, pairs // block_targets))
    times = block_targets * block_sources * hidden // _ELEMENTS
    return triton_kernels.Form(
        softmax=isinstance(problem.normalizer, Softmax),
        heads=values.shape[0],
        dim=x.shape[-1],
        invariants=columns or (),
        hidden=hidden,
        share=len(values) // len(layers[0]) if layers else 1,
        channels=channels,
        values=values.shape[-1],
        targets=block_targets,
        sources=block_sources,
        factor=triton_kernels.type_of(factor),
        real=triton_kernels.type_of(_real(values)),
        warps=min(8, warps * max(1, times)),
        precision="ieee" if torch.get_float32_matmul_precision() == "highest" else "tf32",
    )


def _inputs(problem: _Problem, tensors: Sequence[Tensor]) -> tuple[Tensor | None, ...]:
    """The first arguments of every kernel: points, features, mask and layers; None for none."""
    x, y, values, *rest = tensors
    layers, content = rest[: problem.layers], rest[problem.layers :]
    mask = problem.mask
    if mask is not None:
        mask = mask[:, 0].expand(values.shape[1], -1).to(torch.uint8)
    return (
        x.contiguous(),
        y.contiguous(),
        *(map(_by_points, content) if content else (None, None)),
        _by_points(values),
        mask,
        *(layer.contiguous() for layer in layers),
        *[None] * (6 - len(layers)),
    )


def _programs(block: int, points: int, values: Tensor) -> int:
    """Number of programs of blocks of points, for all heads and clouds."""
    heads, batch, _, _ = values.shape
    return -(-points // block) * heads * batch


def _by_points(features: Tensor) -> Tensor:
    """``(heads, batch, points, channels)`` as ``(batch, points, heads, channels)``."""
    return features.permute(1, 2, 0, 3).contiguous()


def _by_heads(features: Tensor) -> Tensor:
    """``(batch, points, heads, channels)`` as ``(heads, batch, points, channels)``."""
    return features.permute(2, 0, 1, 3)


def _by_layers(gradients: Tensor, layers: Sequence[Tensor]) -> Iterator[Tensor]:
    """The gradients ``(heads, weights)`` that heads give to all layers, layer by layer."""
    # The last of three layers has a row of weights for each head, the others for several heads.
    rows = [layer[0] if index < 4 else layer[0, 0] for index, layer in enumerate(layers)]
    parts = gradients.split([row.numel() for row in rows], 1)
    for part, layer, row in zip(parts, layers, rows, strict=True):
        of_heads = part.reshape(len(layer), -1, *row.shape)
        yield of_heads.sum(1) if row.ndim == layer.ndim - 1 else of_heads


def _streamed(problem: _Problem, tensors: Sequence[Tensor]) -> Tensor:
    """The same in operations of torch, for derivatives of every order."""
    dtype = tensors[2].dtype
    x, y, values, *rest = (t.to(_real(tensors[2])) for t in tensors)
    layers, content = rest[: problem.layers], rest[problem.layers :]
    space = problem.geometry.space

    def attend(own: Tensors, shared: Tensors) -> tuple[Tensors, Tensors]:
        point, *query = own
        source, sent, *others = shared
        key, weights = others[: len(query)], others[len(query) :]
        neighborhood = DenseNeighborhood(problem.mask)
        target, other = (Lifted(space.section(p), p) for p in (point, source))
        pairs = Pairs(problem.geometry, neighborhood, target, other)
        terms = [neighborhood.inner(a, b) for a, b in zip(query, key, strict=True)]
        if weights:
            terms.append(_location_logits(pairs.invariants, *weights))
        logits = sum(terms[1:], terms[0])
        weight = problem.normalizer(neighborhood, logits)
        return (neighborhood.push_forward(weight, sent),), ()

    heads, batch, sources, _ = values.shape
    (received,), _ = map_slices(
        attend,
        [x, *content[:1]],
        [y, values, *content[1:], *layers],
        axes=[1, 2][: 1 + len(content[:1])],
        output_axes=[2],
        size=max(1, Streaming().elements // (heads * batch * sources)),
    )
    return received.to(dtype)


def _location_logits(invariants: Tensor, *layers: Tensor) -> Tensor:
    """Logits ``(heads, *pairs)`` of invariants ``(invariants, *pairs)``."""
    flat = invariants.flatten(1)
    if len(layers) > 2:
        logits = pairwise_mlp(flat, *layers)
    else:
        weight, bias = layers
        logits = torch.addmm(bias[:, None], weight, flat)
    return logits.unflatten(1, invariants.shape[1:])
