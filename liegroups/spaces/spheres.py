"""Euclidean space under rotations about the origin."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from liegroups.group import LieGroup
from liegroups.numerics import safe_norm
from liegroups.rotation import RotationGroup
from liegroups.so2 import SO2
from liegroups.so3 import SO3
from liegroups.spaces.base import HomogeneousSpace
from liegroups.trivial import Trivial


@dataclass(frozen=True)
class ConcentricSpheres(HomogeneousSpace):
    """Rⁿ under SO(n): the orbits are the spheres about the origin, labeled by their radius.

    The representative of the sphere of radius r is r e₁, whose stabilizer is SO(n-1), acting on
    the other axes. The section is the rotation in the plane of e₁ and x, which is smooth except
    on the half-line of -e₁ (for n > 2 no section is smooth everywhere: the hairy ball theorem).
    The origin is an orbit of its own, fixed by all of SO(n); its section is the identity.

    Args:
        group: SO(n).
    """

    group: RotationGroup

    @property
    def point_dim(self) -> int:
        return self.group.matrix_size

    @property
    def stabilizer(self) -> LieGroup:
        match self.group.matrix_size:
            case 2:
                return Trivial(1)
            case 3:
                return SO2()
            case 4:
                return SO3()
            case n:
                raise NotImplementedError(f"the stabilizer SO({n - 1}) is not available.")

    @property
    def orbit_label_dim(self) -> int:
        return 1

    @property
    def is_isometric(self) -> bool:
        return True

    @property
    def has_singular_orbits(self) -> bool:
        return True

    def act(self, g: Tensor, x: Tensor) -> Tensor:
        self.group.check_element(g)
        self.check_points(x)
        return (g @ x[..., None])[..., 0]

    def section(self, x: Tensor) -> Tensor:
        """The rotation by the angle between e₁ and x in their plane."""
        self.check_points(x)
        origin = self.is_singular(x)[..., None]
        first = torch.zeros_like(x)
        first[..., 0] = 1
        u = _direction(torch.where(origin, first, x))
        c, s = u[..., :1], u[..., 1:]
        if self.group.matrix_size == 2:
            return torch.cat((c, -s, s, c), -1).unflatten(-1, (2, 2))
        # The block 1 - s sᵀ/(1 + c), which is 1 - (1 - c) v vᵀ with v the direction of s: the
        # latter on the far side, where 1 + c cancels. At -e₁ itself any v will do.
        far = c < 0
        opposite = (s == 0).all(-1, keepdim=True)
        v = _direction(torch.where(far & ~opposite, s, first[..., :-1]))
        ratio = 1 / (1 + torch.where(far, 0, c))
        block = torch.eye(self.group.matrix_size - 1, dtype=x.dtype, device=x.device) - torch.where(
            far[..., None],
            (1 - c)[..., None] * v[..., :, None] * v[..., None, :],
            ratio[..., None] * s[..., :, None] * s[..., None, :],
        )
        top = torch.cat((c, -s), -1)[..., None, :]
        return torch.cat((top, torch.cat((s[..., :, None], block), -1)), -2)

    def representative(self, x: Tensor) -> Tensor:
        radius = self.orbit_label(x)
        return torch.cat((radius, x.new_zeros(*x.shape[:-1], self.group.matrix_size - 1)), -1)

    def embed(self, h: Tensor) -> Tensor:
        n = self.group.matrix_size
        if n == 2:
            return self.group.identity(h).expand(*h.shape[:-2], 2, 2)
        corner = self.group.identity(h)[:, :1].expand(*h.shape[:-2], n, 1)
        return torch.cat((corner, torch.nn.functional.pad(h, (0, 0, 1, 0))), -1)

    def orbit_label(self, x: Tensor) -> Tensor:
        """Distance from the origin, ``(*batch, 1)``."""
        self.check_points(x)
        return safe_norm(x)[..., None]

    def is_singular(self, x: Tensor) -> Tensor:
        return (x == 0).all(-1)


def _direction(x: Tensor) -> Tensor:
    """Unit vector x / |x|, also where |x|² would under- or overflow."""
    scaled = x / x.detach().abs().amax(-1, keepdim=True)
    return scaled / scaled.norm(dim=-1, keepdim=True)
