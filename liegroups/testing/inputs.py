"""Inputs for laws, made from a few integers and special values: no global randomness.

The Hypothesis strategies draw the integers and hand them to these functions; without Hypothesis
they are of use on their own. Everything is computed in float64 and rounded to ``dtype`` at the
end, so the same integers give the same point in every precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import pi
from typing import Literal, get_args

import torch
from torch import Tensor

from liegroups.group import LieGroup
from liegroups.numerics import matrix_exp
from liegroups.spaces import HomogeneousSpace

__all__ = ["cloud", "eigenvalues", "element", "point", "spectral_angle", "tangent"]

ANGLES = (1.0, 0.0, 1e-12, 1e-7, 1e-3, pi - 1e-3, pi - 1e-6, pi, 10.0)
"""Sizes of tangents, as ``spectral_angle`` measures them, that have broken formulas before."""

_LARGEST_GROWTH = 5.0

PointKind = Literal["generic", "origin", "axis", "near axis"]
CloudKind = Literal["generic", "coincident", "collinear", "planar", "origin", "single"]
POINT_KINDS: tuple[PointKind, ...] = get_args(PointKind)
CLOUD_KINDS: tuple[CloudKind, ...] = get_args(CloudKind)


def spectral_angle(group: LieGroup, a: Tensor) -> Tensor:
    """Largest imaginary part, in magnitude, of the eigenvalues of hat(a), ``(*batch,)``.

    For rotations it is the angle in rad. On tangents with a spectral angle below π the
    exponential map of any matrix group is injective, and its inverse there is the principal
    logarithm (Higham 2008, Functions of Matrices, theorem 1.31).
    """
    return eigenvalues(_hat(group, a)).imag.abs().amax(-1)


def _growth(group: LieGroup, a: Tensor) -> Tensor:
    """A bound on log |exp(±a)|, the largest eigenvalue of the symmetric part (Dahlquist 1958)."""
    x = _hat(group, a)
    return torch.linalg.eigvalsh((x + x.mT) / 2).abs().amax(-1)


def _hat(group: LieGroup, a: Tensor) -> Tensor:
    return LieGroup.hat(group, a.detach().double())  # By the basis, whatever the group overrides.


def eigenvalues(x: Tensor) -> Tensor:
    """Eigenvalues ``(*batch, m)`` of real matrices, complex128.

    MKL's real solver fails to converge, or returns wrong values, on one in ten thousand skew
    3 × 3 matrices; its complex solver does not.
    """
    return torch.linalg.eigvals(x.to(torch.complex128))


def tangent(
    group: LieGroup,
    seed: int,
    angle: float = 1.0,
    batch: Sequence[int] = (),
    dtype: torch.dtype = torch.float64,
) -> Tensor:
    """Tangents of a given spectral angle, in directions that ``seed`` names.

    Seeds below ``dim`` name the directions of the basis, one after the other along the batch;
    larger seeds name random directions. Where a direction turns nothing (a translation, a
    scaling), ``angle`` is its Euclidean length. Tangents along which ``exp`` may grow beyond e⁵
    are shortened: float32 would not hold the rest of the matrix beside its largest entry.

    Args:
        group: The group.
        seed: A non-negative integer.
        angle: Spectral angle in rad.
        batch: Batch shape.
        dtype: Floating type.

    Returns:
        Algebra coordinates ``(*batch, dim)``.
    """
    shape = torch.Size(batch)
    if group.dim == 0:
        return torch.zeros(*shape, 0, dtype=dtype)
    if seed < group.dim:
        rows = (seed + torch.arange(shape.numel())) % group.dim
        a = torch.eye(group.dim, dtype=torch.float64)[rows].reshape(*shape, group.dim)
    else:
        generator = torch.Generator().manual_seed(seed)
        a = torch.randn(*shape, group.dim, generator=generator, dtype=torch.float64)
    length = a.norm(dim=-1)
    turned = spectral_angle(group, a)
    unit = torch.where(turned > 0.1 * length, turned, length)
    unit = torch.maximum(unit, _growth(group, a) * angle / _LARGEST_GROWTH)
    return (a * (angle / unit)[..., None]).to(dtype)


def element(
    group: LieGroup,
    seed: int,
    angle: float | None = None,
    batch: Sequence[int] = (),
    dtype: torch.dtype = torch.float64,
) -> Tensor:
    """Elements that the group samples, or exponentials of tangents of a given spectral angle.

    The exponentials are those of the base class, so that a faulty ``exp`` is caught by the laws
    of ``exp`` and not by all of them.

    Args:
        group: The group.
        seed: A non-negative integer.
        angle: Spectral angle of the tangents; when absent, ``group.sample`` draws.
        batch: Batch shape.
        dtype: Floating type.

    Returns:
        Elements ``(*batch, m, m)``.
    """
    if angle is None or group.dim == 0:
        generator = torch.Generator().manual_seed(seed)
        return group.sample(batch, generator=generator, dtype=torch.float64).to(dtype)
    a = tangent(group, seed, angle, batch)
    return matrix_exp(_hat(group, a)).to(dtype)


def point(
    space: HomogeneousSpace,
    seed: int,
    kind: PointKind = "generic",
    batch: Sequence[int] = (),
    dtype: torch.dtype = torch.float64,
) -> Tensor:
    """Points: generic, the origin, on a coordinate half-axis, or just off one.

    A space whose points are not all of Rⁿ, such as a sphere, says how to get there by a method
    ``nearest_point(x)``, which takes coordinates ``(*batch, point_dim)`` to points.

    Args:
        space: The space.
        seed: A non-negative integer; it names the half-axis or the random draw.
        kind: Where the points are.
        batch: Batch shape.
        dtype: Floating type.

    Returns:
        Points ``(*batch, point_dim)``.
    """
    n = space.point_dim
    shape = torch.Size(batch)
    generator = torch.Generator().manual_seed(seed)
    generic = torch.randn(*shape, n, generator=generator, dtype=torch.float64)
    if kind == "generic":
        return _nearest_point(space, generic).to(dtype)
    x = torch.zeros(*shape, n, dtype=torch.float64)
    if kind != "origin":
        half_axes = torch.cat((torch.eye(n), -torch.eye(n))).double()
        rows = (seed + torch.arange(shape.numel())) % (2 * n)
        x = half_axes[rows].reshape(*shape, n)
        if kind == "near axis":
            x = x + 10.0 ** -(3 + seed % 10) * generic
    return _nearest_point(space, x).to(dtype)


def cloud(
    space: HomogeneousSpace,
    seed: int,
    kind: CloudKind = "generic",
    count: int = 4,
    batch: Sequence[int] = (),
    dtype: torch.dtype = torch.float64,
) -> Tensor:
    """Clouds of points, generic or degenerate.

    Args:
        space: The space.
        seed: A non-negative integer.
        kind: All points random; all the same; on one line; on one plane; all at the origin; or
            one point alone.
        count: Number of points, unless the cloud is a single one.
        batch: Batch shape.
        dtype: Floating type.

    Returns:
        Points ``(*batch, points, point_dim)``.
    """
    n = space.point_dim
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*batch, *shape, generator=generator, dtype=torch.float64)

    match kind:
        case "generic":
            x = normal(count, n)
        case "coincident":
            x = normal(1, n).expand(*batch, count, n)
        case "collinear":
            x = normal(1, n) + normal(count, 1) * normal(1, n)
        case "planar":
            x = normal(1, n) + normal(count, 2) @ normal(2, n)
        case "origin":
            x = normal(count, n) * 0
        case "single":
            x = normal(1, n)
    return _nearest_point(space, x).to(dtype).contiguous()


def _nearest_point(space: HomogeneousSpace, x: Tensor) -> Tensor:
    nearest = getattr(space, "nearest_point", None)
    return x if nearest is None else nearest(x)
