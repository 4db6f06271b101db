"""Rotations as e3nn writes them: Euler angles, quaternions and Wigner matrices.

All functions take and return the elements of `liegroups.SO3`, and follow the dtype and device
of their input, whatever torch's default dtype is.

Angles (α, β, γ) are in rad and stand for R = R_y(α) R_x(β) R_y(γ): the rotation about y by γ is
applied first. Quaternions (w, x, y, z) have their real part first.
"""

from __future__ import annotations

from functools import lru_cache
from math import pi
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from liegroups.so3 import SO3, entries, quaternion_to_matrix, scaled_quaternion

if TYPE_CHECKING:
    from e3nn.o3 import Irreps

__all__ = ["from_angles", "from_quaternion", "to_angles", "to_quaternion", "wigner_matrix"]


def to_angles(g: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Euler angles of rotations.

    Angles have no derivative where sin β = 0; only their sum or difference is determined there,
    and α = 0 is returned when sin β is exactly zero.

    Args:
        g: Rotations ``(*batch, 3, 3)``.

    Returns:
        α in [-π, π], β in [0, π] and γ in [-π, π], each ``(*batch,)``, in rad.

    Raises:
        ValueError: If the last two axes are not 3 × 3.

    Example:
        >>> import torch
        >>> alpha, beta, gamma = to_angles(from_angles(*torch.tensor([0.1, 0.2, 0.3])))
        >>> [round(x.item(), 4) for x in (alpha, beta, gamma)]
        [0.1, 0.2, 0.3]
    """
    SO3().check_element(g)
    # R maps the y axis to (sin α sin β, cos β, cos α sin β); R_y(-α) R has the first row
    # (cos γ, 0, sin γ), of length one, so that γ makes up for a rounding of α near sin β = 0.
    alpha = torch.atan2(g[..., 0, 1], g[..., 2, 1])
    beta = torch.atan2(torch.hypot(g[..., 0, 1], g[..., 2, 1]), g[..., 1, 1])
    cos, sin = alpha.cos(), alpha.sin()
    first = cos[..., None] * g[..., 0, :] - sin[..., None] * g[..., 2, :]
    return alpha, beta, torch.atan2(first[..., 2], first[..., 0])


def from_angles(alpha: Tensor, beta: Tensor, gamma: Tensor) -> Tensor:
    """Rotations R_y(α) R_x(β) R_y(γ).

    Args:
        alpha: Angle in rad of the rotation about y that is applied last, any batch shape.
        beta: Angle in rad of the rotation about x.
        gamma: Angle in rad of the rotation about y that is applied first.

    Returns:
        Rotations ``(*batch, 3, 3)``.
    """
    alpha, beta, gamma = torch.broadcast_tensors(alpha, beta, gamma)
    group, zero = SO3(), torch.zeros_like(alpha)

    def about_y(angle: Tensor) -> Tensor:
        return group.exp(torch.stack((zero, angle, zero), -1))

    about_x = group.exp(torch.stack((beta, zero, zero), -1))
    return about_y(alpha) @ about_x @ about_y(gamma)


def to_quaternion(g: Tensor) -> Tensor:
    """Unit quaternions of rotations, real part first and at least zero.

    Args:
        g: Rotations ``(*batch, 3, 3)``.

    Returns:
        Quaternions (w, x, y, z), ``(*batch, 4)``. At half turns ±q are both right, and one is
        returned.

    Raises:
        ValueError: If the last two axes are not 3 × 3.
    """
    SO3().check_element(g)
    q = torch.stack(scaled_quaternion(entries(g)), -1)
    return q / q.norm(dim=-1, keepdim=True)


def from_quaternion(q: Tensor) -> Tensor:
    """Rotations of quaternions of any positive length, real part first.

    Args:
        q: Quaternions (w, x, y, z), ``(*batch, 4)``.

    Returns:
        Rotations ``(*batch, 3, 3)``; those of q and -q are the same.

    Raises:
        ValueError: If the last axis is not of length 4.

    Example:
        >>> import torch
        >>> from_quaternion(torch.tensor([1.0, 0.0, 0.0, 1.0])).round(decimals=4).tolist()
        [[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    if q.ndim == 0 or q.shape[-1] != 4:
        raise ValueError(f"quaternions have shape (*batch, 4); got {tuple(q.shape)}.")
    return quaternion_to_matrix(q / q.norm(dim=-1, keepdim=True))


def wigner_matrix(irreps: Irreps | str, g: Tensor) -> Tensor:
    """Matrices D(g) of a representation, in the precision of ``g``.

    e3nn's own ``D_from_matrix`` goes through angles, and its precision is that of torch's
    default dtype. Here D is what the spherical harmonics turn by, Y(gx) = D(g) Y(x), solved for
    D in fixed points x: exact to rounding, and differentiable at every rotation.

    Args:
        irreps: The representation, such as ``"2x0e + 1o"``; degrees up to 11.
        g: Rotations ``(*batch, 3, 3)``.

    Returns:
        Orthogonal matrices ``(*batch, irreps.dim, irreps.dim)``, with D(gh) = D(g) D(h).

    Raises:
        ValueError: If the last two axes are not 3 × 3.
        ImportError: If e3nn is not installed.

    Example:
        >>> import torch
        >>> g = SO3().sample((5,), dtype=torch.float64)
        >>> torch.allclose(wigner_matrix("1o", g), g)
        True
    """
    from e3nn import o3

    SO3().check_element(g)
    irreps = o3.Irreps(irreps)
    blocks = {degree: _degree_matrix(degree, g) for degree in set(irreps.ls)}
    d = g.new_zeros(*g.shape[:-2], irreps.dim, irreps.dim)
    start = 0
    for degree in irreps.ls:
        end = start + 2 * degree + 1
        d[..., start:end, start:end] = blocks[degree]
        start = end
    return d


def _degree_matrix(degree: int, g: Tensor) -> Tensor:
    from e3nn import o3

    x, inverse = (part.to(g) for part in _harmonics_at_points(degree))
    moved = o3.spherical_harmonics(degree, x @ g.mT, normalize=False)
    return (inverse @ moved).mT


@lru_cache(maxsize=16)
def _harmonics_at_points(degree: int) -> tuple[Tensor, Tensor]:
    """Points on the sphere and the pseudo-inverse of the harmonics there, in float64.

    The points are a Fibonacci lattice, even enough for the harmonics of the degree to be
    independent on them.
    """
    from e3nn import o3

    count = 4 * (2 * degree + 1)
    k = torch.arange(count, dtype=torch.float64)
    height = 1 - (2 * k + 1) / count
    turn = k * pi * (3 - 5**0.5)
    radius = (1 - height * height).sqrt()
    x = torch.stack((radius * turn.cos(), height, radius * turn.sin()), -1)
    return x, torch.linalg.pinv(o3.spherical_harmonics(degree, x, normalize=False))
