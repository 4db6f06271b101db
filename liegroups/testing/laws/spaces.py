"""Laws of the spaces that groups act on: action, section, stabilizer, orbits."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from liegroups.group import LieGroup
from liegroups.numerics import matrix_exp
from liegroups.spaces import HomogeneousSpace
from liegroups.testing.inputs import element, point
from liegroups.testing.laws.calculus import gradients
from liegroups.testing.laws.contract import require_refusal, require_value
from liegroups.testing.laws.law import (
    Clouds,
    Elements,
    Points,
    StabilizerElements,
    law,
    require,
    require_all,
    require_close,
    require_finite,
)
from liegroups.testing.laws.lifts import LIFT_LAWS
from liegroups.testing.tolerances import Kind, allowance, size


@law
def action_is_a_left_action(space: HomogeneousSpace, g: Elements, h: Elements, x: Points) -> None:
    """(gh)x = g(hx) and e x = x."""
    allowed = _rounding(x, g, h)
    left = space.act(g @ h, x)
    require_close(left, space.act(g, space.act(h, x)), allowed, 1, g=g, h=h, x=x)
    e = torch.eye(g.shape[-1], dtype=g.dtype).expand(g.shape)
    require_close(space.act(e, x), x, allowed, 1, "ex", x=x)


@law
def section_moves_the_representative(space: HomogeneousSpace, x: Points) -> None:
    """section(x) is an element, and moves representative(x) to x."""
    s = space.section(x)
    require_all(space.group.contains(s), "contains(section(x)) is False", x=x)
    require_close(space.act(s, space.representative(x)), x, _rounding(x, s), 1, x=x)


@law
def stabilizer_fixes_the_representative(
    space: HomogeneousSpace, h: StabilizerElements, x: Points
) -> None:
    """embed(h) is an element, and leaves representative(x) where it is."""
    g = space.embed(h)
    require_all(space.group.contains(g), "contains(embed(h)) is False", h=h)
    r = space.representative(x)
    require_close(space.act(g, r), r, _rounding(x, g), 1, h=h, x=x)


@law
def embed_is_a_homomorphism(
    space: HomogeneousSpace, h: StabilizerElements, k: StabilizerElements
) -> None:
    """embed(hk) = embed(h) embed(k), and different elements stay different."""
    allowed = allowance(Kind.ARITHMETIC, h.dtype, size(h, 2) * size(k, 2))
    product = space.embed(h) @ space.embed(k)
    require_close(space.embed(h @ k), product, allowed, 2, h=h, k=k)
    apart = (h - k).abs().amax((-1, -2))
    image = (space.embed(h) - space.embed(k)).abs().amax((-1, -2))
    require_all(image >= apart / 4 - allowed, "embed maps two elements to one", h=h, k=k)


@law
def stabilizer_is_all_of_it(space: HomogeneousSpace, x: Points) -> None:
    """dim(stabilizer) = dim(group) - dim(orbit of x), except at the points that is_singular names.

    At the points that it names, the whole group fixes x.
    """
    x = x.double()
    orbit = _orbit_dim(space, x)
    singular = space.is_singular(x)
    regular = space.group.dim - space.stabilizer.dim
    found = sorted(set(orbit.flatten().tolist()))
    require_all(
        torch.where(singular, orbit == 0, orbit == regular),
        f"the stabilizer has dimension {space.stabilizer.dim} and the group "
        f"{space.group.dim}, but the orbits have dimensions {found} "
        "(0 where is_singular)",
        x=x,
    )
    if singular.any():
        require(space.has_singular_orbits, "has_singular_orbits is False at a singular point", x=x)


@law
def orbit_label_is_invariant(space: HomogeneousSpace, g: Elements, x: Points) -> None:
    """label(gx) = label(x) and representative(gx) = representative(x)."""
    moved = space.act(g, x)
    require(
        space.orbit_label(x).shape[-1] == space.orbit_label_dim,
        f"orbit_label has {space.orbit_label(x).shape[-1]} coordinates, declared are "
        f"{space.orbit_label_dim}",
    )
    for f in (space.orbit_label, space.representative):
        require_close(f(moved), f(x), _rounding(x, g), 1, f.__name__, g=g, x=x)


@law
def orbit_label_separates_orbits(space: HomogeneousSpace, x: Points, y: Points) -> None:
    """Points with the same label are moved to each other, y = section(y) section(x)⁻¹ x."""
    gap = (space.orbit_label(x) - space.orbit_label(y)).abs().double()
    same = gap.amax(-1) == 0 if space.orbit_label_dim else torch.ones(x.shape[:-1]).bool()
    s, t = space.section(x), space.section(y)
    inverse = LieGroup.inverse(space.group, s)
    reached = space.act(t @ inverse, x)
    reached = torch.where(same[..., None], reached, y)
    require_close(reached, y, _rounding(x, s, inverse, t), 1, x=x, y=y)


@law
def is_isometric_is_right(space: HomogeneousSpace) -> None:
    """is_isometric says whether |gx - gy| = |x - y|."""
    g = torch.cat((element(space.group, 1, None, (16,)), element(space.group, 99, 1.0, (16,))))
    x, y = (point(space, seed, "generic", (32,)) for seed in (2, 3))
    before, after = (x - y).norm(dim=-1), (space.act(g, x) - space.act(g, y)).norm(dim=-1)
    preserved = bool(((before - after).abs() <= _rounding(x, g)).all())
    require(
        preserved == space.is_isometric,
        f"is_isometric is {space.is_isometric}, but the distance of two points "
        f"{'never changes' if preserved else 'changes'} in random moves",
    )


@law
def constant_cocycle_is_constant(
    space: HomogeneousSpace, g: Elements, x: Points, y: Points
) -> None:
    """If declared, g section(x) = section(gx) c(g) with the same c(g) for all x."""
    if not space.section_cocycle_is_constant:
        return

    def cocycle(x: Tensor) -> Tensor:
        s = LieGroup.inverse(space.group, space.section(space.act(g, x)))
        return s @ g @ space.section(x)

    allowed = _rounding(x, g, space.section(x)) * size(y, 1) * size(g, 2)
    require_close(cocycle(x), cocycle(y), allowed, 2, g=g, x=x, y=y)


@law
def cocycle_agrees_with_its_default(space: HomogeneousSpace, g: Elements, x: Points) -> None:
    """cocycle(g, x) = section(gx)⁻¹ g section(x)."""
    s = space.section(x)
    inverse = LieGroup.inverse(space.group, space.section(space.act(g, x)))
    allowed = _rounding(x, g, s, inverse)
    require_close(space.cocycle(g, x), inverse @ g @ s, allowed, 2, g=g, x=x)


@law
def nearest_point_is_the_identity_on_points(
    space: HomogeneousSpace, g: Elements, x: Points
) -> None:
    """nearest_point(x) = x for points, those that the group moves among them."""
    moved = space.act(g, x)
    for y in (x, moved):
        require_close(space.nearest_point(y), y, _rounding(y, g) * size(x, 1), 1, g=g, x=x)


@law
def vectors_turn_with_the_cloud(space: HomogeneousSpace, g: Elements, x: Clouds) -> None:
    """vectors(turn(a) x) = a vectors(x), and their inner products do not change in any motion.

    Where the space has no ``linear`` there is nothing to hold; the inner products are those of
    orthogonal ``linear``. Points that the mask leaves out have no influence.
    """
    if space.linear is None:
        return
    a, b = (element(space.linear, seed, None, (), torch.float64).to(x) for seed in (21, 22))
    product = space.embed_linear(a) @ space.embed_linear(b)
    require_close(
        space.embed_linear(a @ b),
        product,
        allowance(Kind.ARITHMETIC, x.dtype, size(a, 2) * size(b, 2)),
        2,
        "turn",
        a=a,
        b=b,
    )
    before, after = space.vectors(x), space.vectors(space.act(space.embed_linear(a), x))
    count = x.shape[-2]
    shape = tuple(before.shape)
    require(
        shape[: x.ndim - 1] == tuple(x.shape[:-1]) and shape[x.ndim :] == (a.shape[-1],),
        f"vectors has shape {shape}",
    )
    # Vectors may come in units of a size that rounding leaves of coincident points.
    allowed = allowance(Kind.TRANSCENDENTAL, x.dtype, size(before, 3) * size(x, 2).amax())
    allowed = allowed * size(a, 2) * size(g, 2).amax() ** 2
    require_close(after, before @ a.mT, allowed[..., None, None], 1, "turned", x=x)
    if space.linear.is_orthogonal:
        g = g.reshape(-1, *g.shape[-2:])[0]
        moved = space.vectors(space.act(g, x))
        grams = [y.flatten(-3, -2) @ y.flatten(-3, -2).mT for y in (before, moved)]
        scale = (allowed * size(before, 3))[..., None, None]
        require_close(grams[1], grams[0], scale, 0, "inner products", g=g, x=x)
    padded = torch.cat((x, x.new_ones(x[..., :1, :].shape) * 7), -2)
    mask = torch.arange(count + 1) < count
    kept = space.vectors(padded, mask.expand(padded.shape[:-1]))[..., :count, :, :]
    require_close(kept, before, allowed[..., None, None], 1, "with padding", x=x)


@law
def space_operations_broadcast(space: HomogeneousSpace, g: Elements, x: Points) -> None:
    """Every operation keeps the dtype, and broadcasts over leading axes, also empty ones."""
    m, n = space.group.matrix_size, space.point_dim
    g, x = g.reshape(-1, m, m), x.reshape(-1, n)
    grid = space.act(g[:, None], x[None])
    rows = torch.stack([torch.stack([space.act(one, y) for y in x]) for one in g])
    require_close(grid, rows, _rounding(x[:1], g[:1]).amax() * size(x, 2) * size(g, 3), 1, "act")
    singles: dict[str, tuple[Callable[[Tensor], Tensor], tuple[int, ...], torch.dtype]] = {
        "section": (space.section, (m, m), x.dtype),
        "representative": (space.representative, (n,), x.dtype),
        "orbit_label": (space.orbit_label, (space.orbit_label_dim,), x.dtype),
        "is_singular": (space.is_singular, (), torch.bool),
    }
    for name, (function, event, dtype) in singles.items():
        value = function(x)
        require(value.dtype == dtype, f"{name} turns {x.dtype} into {value.dtype}")
        alone = torch.stack([function(y) for y in x])
        require_close(value, alone, _rounding(x), len(event), f"{name}, batched or alone", x=x)
        shape = tuple(function(x.new_empty(2, 0, n)).shape)
        require(shape == (2, 0, *event), f"{name} of an empty batch (2, 0) has shape {shape}")
    shape = tuple(space.act(g[:1], x.new_empty(0, n)).shape)
    require(shape == (0, n), f"act on an empty batch has shape {shape}")


@law
def space_derivatives_are_finite(space: HomogeneousSpace, g: Elements, x: Points) -> None:
    """First and second derivatives of action, section, representative and label are not NaN."""
    maps: dict[str, Callable[[Tensor], Tensor]] = {
        "act": lambda x: space.act(g, x),
        "section": space.section,
        "representative": space.representative,
        "orbit_label": space.orbit_label,
    }
    for name, function in maps.items():
        y = x.detach().clone().requires_grad_()
        value = function(y)
        if value.numel() == 0:
            continue
        weight = torch.arange(1, value.numel() + 1, dtype=x.dtype).cos().reshape(value.shape)
        (first,) = gradients((value * weight).sum(), (y,))
        require_finite(first.detach(), f"a derivative of {name}", 1, x=x)
        (second,) = gradients((first * first.detach().cos()).sum(), (y,))
        require_finite(second.detach(), f"a second derivative of {name}", 1, x=x)


@law
def space_is_a_value(space: HomogeneousSpace) -> None:
    """The space is frozen, hashable and equal to its copies, and it stores no tensors."""
    require_value(space)


@law
def wrong_points_are_refused(space: HomogeneousSpace) -> None:
    """Points of the wrong length raise ValueError, with the shape and the space in the message."""
    wrong = torch.zeros(2, space.point_dim + 1)
    e = space.group.identity()
    calls: dict[str, Callable[[Tensor], object]] = {
        "act": lambda x: space.act(e, x),
        "section": space.section,
    }
    for name, call in calls.items():
        require_refusal(call, [wrong], name, wrong.shape, space)


def _orbit_dim(space: HomogeneousSpace, x: Tensor) -> Tensor:
    """Rank of the differential of g ↦ gx at the identity, for points in float64."""
    basis = space.group.algebra_basis()
    step = 1e-5
    columns = []
    for e in basis:
        ahead, behind = (matrix_exp(s * step * e) for s in (1, -1))
        columns.append((space.act(ahead, x) - space.act(behind, x)) / (2 * step))
    if not columns:
        return torch.zeros(x.shape[:-1], dtype=torch.int64)
    differential = torch.stack(columns, -1)
    return torch.linalg.matrix_rank(differential, atol=1e-8, rtol=1e-6)


def _rounding(x: Tensor, *factors: Tensor) -> Tensor:
    scale = size(x, 1)
    for factor in factors:
        scale = scale * size(factor, 2)
    return allowance(Kind.ARITHMETIC, x.dtype, 2 * scale)


SPACE_LAWS = (
    action_is_a_left_action,
    section_moves_the_representative,
    stabilizer_fixes_the_representative,
    embed_is_a_homomorphism,
    stabilizer_is_all_of_it,
    orbit_label_is_invariant,
    orbit_label_separates_orbits,
    is_isometric_is_right,
    constant_cocycle_is_constant,
    cocycle_agrees_with_its_default,
    nearest_point_is_the_identity_on_points,
    vectors_turn_with_the_cloud,
    space_operations_broadcast,
    space_derivatives_are_finite,
    space_is_a_value,
    wrong_points_are_refused,
    *LIFT_LAWS,
)
