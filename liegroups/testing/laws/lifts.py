"""Laws of lifting: the promise that a sampler makes on a space, and the fixed table."""

from __future__ import annotations

import torch
from torch import Tensor

from liegroups.equivariance import Equivariance
from liegroups.lifting import lift
from liegroups.samplers import Frames, Haar, Sampler
from liegroups.spaces import HomogeneousSpace
from liegroups.testing.inputs import cloud, element, point
from liegroups.testing.laws.law import (
    Clouds,
    Elements,
    law,
    require,
    require_all,
    require_close,
)
from liegroups.testing.moments import confirmed_z, moments, two_sample_z
from liegroups.testing.tolerances import DRAWS, Z_LIMIT, Kind, allowance, size


@law
def lift_lies_over_the_points(space: HomogeneousSpace, x: Clouds) -> None:
    """A lifted element moves the representative of its point to the point, drawn or fixed."""
    if not space.stabilizer.is_compact:
        return
    for fixed in (False, True):
        generator = torch.Generator().manual_seed(1)
        lifted = lift(space, x, Haar(count=2), generator=generator, fixed=fixed)
        require_all(space.group.contains(lifted.element), "a lifted element is not in the group")
        moved = space.act(lifted.element, space.representative(lifted.point))
        allowed = allowance(Kind.TRANSCENDENTAL, x.dtype, size(x, 1).amax() ** 2)
        require_close(moved, lifted.point, allowed, 1, f"fixed={fixed}")


@law
def section_lift_is_exact_without_a_stabilizer(
    space: HomogeneousSpace, g: Elements, x: Clouds
) -> None:
    """A lift that is declared exact commutes with the group: lift(gx) = g lift(x)."""
    sampler = Haar(count=2)
    if sampler.equivariance(space) is not Equivariance.EXACT:
        return
    g = g.reshape(-1, *g.shape[-2:])[0]
    before, after = (lift(space, y, sampler, fixed=True).element for y in (x, space.act(g, x)))
    allowed = allowance(Kind.ARITHMETIC, x.dtype, size(x, 1).amax() * size(g, 2) ** 2)
    require_close(after, g @ before, allowed, 2, g=g)


@law
def haar_lift_is_equivariant_in_distribution(space: HomogeneousSpace) -> None:
    """lift(gx) has the law of g lift(x), wherever Haar samples declare it, shared or not.

    Compared by means of entries and products of entries of the relative elements g⁻¹s(x)h and
    of the poses between points, over 100,000 draws, with |z| < 4.
    """
    if not space.stabilizer.is_compact:
        return
    for shared in (False, True):
        z = lift_z_score(space, Haar(count=1, shared=shared))
        require(
            z < Z_LIMIT,
            f"a moment of lift(gx) differs from that of g lift(x) with |z| = {z:.1f}"
            f"{' (shared draws)' if shared else ''}",
        )


@law
def frames_are_exact(space: HomogeneousSpace, g: Elements, x: Clouds) -> None:
    """The poses between the points of lift(gx) are those of lift(x), wherever frames exist.

    On clouds of every kind, in float64: coincident, collinear, planar, of a single point. The
    elements move the representatives of the points to the points.
    """
    g, x = space.group.project(g.reshape(-1, *g.shape[-2:])[0].double()), x.double()
    for sampler in (Frames(), Frames(radius=0.7)):
        try:
            sampler.equivariance(space)
        except ValueError:
            continue
        before, after = (lift(space, y, sampler) for y in (x, space.act(g, x)))
        # An axis of length t before it is normalized turns by ε/t through rounding, and with it
        # those that are made from it.
        lost = torch.finfo(x.dtype).eps ** -0.5
        scale = lost * size(x, 2) * size(g, 2) ** 2
        allowed = allowance(Kind.TRANSCENDENTAL, x.dtype, scale)
        moved = space.act(before.element, space.representative(before.point))
        require_close(moved, before.point, allowed[..., None, None], 1, f"{sampler}, points", x=x)
        poses = [
            space.group.relative(y.element, y.element[..., :1, :1, :, :]) for y in (before, after)
        ]
        require_close(poses[1], poses[0], allowed[..., None, None], 2, f"{sampler}, poses", g=g)


@law
def fixed_lift_depends_on_the_place_alone(space: HomogeneousSpace) -> None:
    """The fixed table gives a cloud the same lift alone, in a batch, and ahead of padding."""
    if not space.stabilizer.is_compact:
        return
    x = cloud(space, 12, "generic", 130, (2,))
    for sampler in (Haar(count=3), Haar(count=3, shared=True)):
        before = torch.get_rng_state()
        whole = lift(space, x, sampler, fixed=True).element
        require(torch.equal(before, torch.get_rng_state()), "torch's own generator was drawn from")
        again = lift(space, x, sampler, fixed=True).element
        require(torch.equal(whole, again), f"{sampler}: two fixed lifts of one cloud differ")
        alone = lift(space, x[1], sampler, fixed=True).element
        require(torch.equal(alone, whole[1]), f"{sampler}: the batch changes a fixed lift")
        for count in (1, 5, 64, 65):
            prefix = lift(space, x[:, :count], sampler, fixed=True).element
            require(
                torch.equal(prefix, whole[:, :count]),
                f"{sampler}: the fixed lift of the first {count} points depends on those after",
            )


def lift_z_score(space: HomogeneousSpace, sampler: Sampler) -> float:
    """Largest |z| of the difference between the laws of lift(gx) and g lift(x).

    Args:
        space: The space.
        sampler: A sampler with random draws. Where it declares no equivariance, or an exact
            one, there is nothing random to compare.

    Returns:
        The score; below 4 if the two laws have the same first and second moments.
    """
    if sampler.equivariance(space) is not Equivariance.IN_DISTRIBUTION:
        return 0.0
    x = _cloud_with_origin(space)
    worst = 0.0
    for k in range(2):
        g = element(space.group, 20 + k, None if k else 1.0)
        back = space.group.inverse(g)

        def scores(seed: int, g: Tensor = g, back: Tensor = back) -> Tensor:
            generator = torch.Generator().manual_seed(seed)
            still = _features(space, sampler, x, None, generator)
            moved = _features(space, sampler, space.act(g, x), back, generator)
            return two_sample_z(still, moved)

        worst = max(worst, confirmed_z(scores))
    return worst


def _features(
    space: HomogeneousSpace,
    sampler: Sampler,
    x: Tensor,
    back: Tensor | None,
    generator: torch.Generator,
) -> Tensor:
    """Moments of lifted elements, moved back, and of the poses between neighbors."""
    values = []
    for _ in range(10):
        clouds = x.expand(DRAWS // 10, *x.shape)
        element = lift(space, clouds, sampler, generator=generator).element[:, :, 0]
        poses = space.group.relative(element[:, :-1], element[:, 1:])
        placed = element if back is None else back @ element
        entries = torch.cat((placed, poses), 1).flatten(1)
        values.append(moments(entries))
    return torch.cat(values)


def _cloud_with_origin(space: HomogeneousSpace) -> Tensor:
    """A cloud of random points, with the origin where that is singular."""
    x = cloud(space, 11, "generic", 2)
    o = point(space, 0, "origin")
    return torch.cat((x, o[None])) if bool(space.is_singular(o)) else x


LIFT_LAWS = (
    lift_lies_over_the_points,
    section_lift_is_exact_without_a_stabilizer,
    haar_lift_is_equivariant_in_distribution,
    frames_are_exact,
    fixed_lift_depends_on_the_place_alone,
)
