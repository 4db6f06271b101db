"""Laws of invariants of pairs of lifted points."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from liegroups.invariants import Invariant
from liegroups.lifting import Haar, Lifted, lift
from liegroups.sees import Sees
from liegroups.spaces import HomogeneousSpace
from liegroups.testing.inputs import cloud, eigenvalues, element
from liegroups.testing.laws.calculus import check_derivatives, gradients
from liegroups.testing.laws.contract import require_value
from liegroups.testing.laws.law import (
    Clouds,
    Elements,
    fail,
    law,
    require,
    require_close,
    require_finite,
)
from liegroups.testing.probes import probe_spaces
from liegroups.testing.tolerances import Kind, allowance, size


@law
def invariant_is_invariant(
    invariant: Invariant, space: HomogeneousSpace, g: Elements, x: Clouds
) -> None:
    """I(g target, g source) = I(target, source)."""
    g = g.reshape(-1, *g.shape[-2:])[0]
    lifted = _lift(space, x)
    moved = Lifted(g @ lifted.element, space.act(g, lifted.point))
    allowed = _rounding(space, lifted, moved)
    if Sees.ELEMENTS in invariant.sees:
        # An invariant may be a logarithm: leave out the pairs that it does not take far from
        # its cut, where the two sides may rightly be different.
        away = _away_from_the_cut(space, lifted)
    else:
        away = torch.ones(()).bool()
    before, after = (_pairs(invariant, space, y) for y in (lifted, moved))
    require_finite(before, "the value", 1)
    before, after = (torch.where(away[..., None], y, 0) for y in (before, after))
    require_close(after, before, allowed * size(before, 1), 1, g=g, x=x)


@law
def invariant_has_its_dimension(invariant: Invariant, space: HomogeneousSpace, x: Clouds) -> None:
    """The value has shape (*pairs, dim) and the dtype of the points, also for no pairs."""
    lifted = _lift(space, x)
    value = _pairs(invariant, space, lifted)
    expected = (*_pair_shape(lifted), invariant.dim(space))
    require(
        tuple(value.shape) == tuple(expected),
        f"the value has shape {tuple(value.shape)}, expected {tuple(expected)}",
    )
    require(value.dtype == x.dtype, f"the value has dtype {value.dtype}, the points {x.dtype}")
    nothing = Lifted(lifted.element[..., :0, :, :], lifted.point[..., :0, :])
    shape = tuple(invariant(space, nothing, nothing).shape)
    require(
        shape == (*nothing.point.shape[:-1], invariant.dim(space)),
        f"the value for no pairs has shape {shape}",
    )


@law
def invariant_is_of_pairs(invariant: Invariant, space: HomogeneousSpace, x: Clouds) -> None:
    """The value for a pair is the same alone as among other pairs."""
    lifted = _lift(space, x)
    flat = Lifted(
        lifted.element.reshape(-1, *lifted.element.shape[-2:]),
        lifted.point.reshape(-1, space.point_dim),
    )
    first, last = (Lifted(flat.element[i], flat.point[i]) for i in (0, -1))
    alone = invariant(space, first, last)
    among = _pairs(invariant, space, flat)[0, -1]
    allowed = _rounding(space, flat, flat)
    require_close(among, alone, allowed.amax() * size(alone, 1), 1, x=x)


@law
def invariant_derivatives_are_finite(
    invariant: Invariant, space: HomogeneousSpace, x: Clouds
) -> None:
    """Value, first and second derivatives by the points are finite, coincident points included."""
    points = x.detach().clone().requires_grad_()
    value = _pairs(invariant, space, _lift(space, points))
    require_finite(value.detach(), "the value", 1)
    weight = torch.arange(1, value.numel() + 1, dtype=x.dtype).cos().reshape(value.shape)
    (first,) = gradients((value * weight).sum(), (points,))
    require_finite(first.detach(), "a derivative", 1, x=x)
    (second,) = gradients((first * first.detach().cos()).sum(), (points,))
    require_finite(second.detach(), "a second derivative", 1, x=x)


@law(once=True)
def invariant_derivatives_match_finite_differences(
    invariant: Invariant, space: HomogeneousSpace
) -> None:
    """First and second derivatives by the points are right, between generic points in float64."""
    x = cloud(space, 13, "generic", 3).requires_grad_()

    def values(x: Tensor) -> Tensor:
        lifted = _lift(space, x)
        pairs = _pairs(invariant, space, lifted)
        i, j = torch.triu_indices(pairs.shape[0], pairs.shape[1], 1)
        return pairs[i, j][::2]

    check_derivatives(values, (x,))


@law
def head_mask_is_right(invariant: Invariant, space: HomogeneousSpace) -> None:
    """head_mask is boolean (heads, dim); every head sees a feature, and every feature is seen."""
    heads = 24
    mask = invariant.head_mask(space, heads)
    expected = (heads, invariant.dim(space))
    require(
        tuple(mask.shape) == expected and mask.dtype == torch.bool,
        f"head_mask has shape {tuple(mask.shape)} and dtype {mask.dtype}, expected {expected} "
        "booleans",
    )
    require(bool(mask.any(1).all()), "a head sees no feature")
    require(bool(mask.any(0).all()), "a feature is seen by no head")


@law
def sees_lift_is_right(invariant: Invariant, space: HomogeneousSpace) -> None:
    """The value changes with the elements over the points where sees holds Sees.ELEMENTS."""
    h = element(space.stabilizer, 14, None, (5,))
    if space.stabilizer.dim == 0 and torch.equal(h, h[:1].expand(h.shape)):
        # Points determine the elements over them; move the elements off the points instead.
        h = element(space.group, 14, None, (5,))
    else:
        h = space.embed(h)
    x = cloud(space, 15, "generic", 5)
    element_, point_ = (part[:, 0] for part in lift(space, x))
    still = _pairs(invariant, space, Lifted(element_, point_))
    turned = _pairs(invariant, space, Lifted(element_ @ h, point_))
    same = torch.equal(still, turned)
    require(
        same != (Sees.ELEMENTS in invariant.sees),
        f"sees is {invariant.sees}, but the value "
        f"{'stays the same' if same else 'changes'} with the elements over the points",
    )


@law
def unsuitable_spaces_are_refused(invariant: Invariant, space: HomogeneousSpace) -> None:
    """On every space, dim raises ValueError or the invariant is invariant."""
    for other in probe_spaces():
        try:
            invariant.dim(other)
        except ValueError as error:
            require(len(str(error)) > 20, f"{other} is refused without a reason: {error}")
            continue
        g, x = element(other.group, 16, 1.0), cloud(other, 17, "generic", 3)
        lifted = _lift(other, x)
        moved = Lifted(g @ lifted.element, other.act(g, lifted.point))
        before, after = (_pairs(invariant, other, y) for y in (lifted, moved))
        allowed = _rounding(other, lifted, moved) * size(before, 1)
        away = _away_from_the_cut(other, lifted) | torch.tensor(Sees.ELEMENTS not in invariant.sees)
        before, after = (torch.where(away[..., None], y, 0) for y in (before, after))
        require_close(after, before, allowed, 1, f"it accepts {other}, where it is not invariant")


@law
def invariant_is_a_value(invariant: Invariant, space: HomogeneousSpace) -> None:
    """The invariant is frozen, hashable and equal to its copies, and it stores no tensors."""
    require_value(invariant)


@law(once=True)
def invariant_compiles(invariant: Invariant, space: HomogeneousSpace, x: Clouds) -> None:
    """The invariant compiles to one graph, forward and backward, and agrees."""
    lifted = _lift(space, x)
    points = lifted.point.detach().clone().requires_grad_()
    elements = lifted.element.detach().clone().requires_grad_()

    def value(element: Tensor, point: Tensor) -> Tensor:
        return _pairs(invariant, space, Lifted(element, point))

    torch.compiler.reset()
    compiled: Callable[[Tensor, Tensor], Tensor]
    try:
        compiled = torch.compile(value, fullgraph=True, backend="aot_eager")
        got = compiled(elements, points)
        got.sum().backward()
    except Exception as error:
        fail(f"it does not compile to one graph: {str(error).strip().splitlines()[0]}")
    allowed = _rounding(space, lifted, lifted).amax()
    require_close(got, value(elements, points), allowed * size(got, got.ndim), 0)


def _lift(space: HomogeneousSpace, x: Tensor) -> Lifted:
    """Two fixed elements over each point, ``(*batch, points · count)``."""
    if space.stabilizer.is_compact:
        lifted = lift(space, x, Haar(count=2), fixed=True)
    else:
        lifted = lift(space, x)
    return Lifted(lifted.element.flatten(-4, -3), lifted.point.flatten(-3, -2))


def _pairs(invariant: Invariant, space: HomogeneousSpace, lifted: Lifted) -> Tensor:
    target = Lifted(lifted.element[..., :, None, :, :], lifted.point[..., :, None, :])
    source = Lifted(lifted.element[..., None, :, :, :], lifted.point[..., None, :, :])
    return invariant(space, target, source)


def _pair_shape(lifted: Lifted) -> tuple[int, ...]:
    *batch, count = lifted.point.shape[:-1]
    return (*batch, count, count)


def _relative(space: HomogeneousSpace, lifted: Lifted) -> Tensor:
    g = lifted.element.detach().double()
    return torch.linalg.inv(g)[..., :, None, :, :] @ g[..., None, :, :, :]


def _away_from_the_cut(space: HomogeneousSpace, lifted: Lifted) -> Tensor:
    """Whether the pose of each pair has no eigenvalue near the negative real axis."""
    angles = eigenvalues(_relative(space, lifted)).angle().abs()
    return angles.amax(-1) < 3.0


def _rounding(space: HomogeneousSpace, lifted: Lifted, moved: Lifted) -> Tensor:
    """Error to accept for a pair: roundings as large as the elements and points that make it."""
    entries = size(lifted.element, 3) * size(moved.element, 3) * size(lifted.point, 2)
    scale = entries[..., None, None] * size(_relative(space, lifted), 2)
    return allowance(Kind.TRANSCENDENTAL, lifted.point.dtype, scale)


INVARIANT_LAWS = (
    invariant_is_invariant,
    invariant_has_its_dimension,
    invariant_is_of_pairs,
    invariant_derivatives_are_finite,
    invariant_derivatives_match_finite_differences,
    head_mask_is_right,
    sees_lift_is_right,
    unsuitable_spaces_are_refused,
    invariant_is_a_value,
    invariant_compiles,
)
