"""Spheres, and Euclidean space as the union of those about the origin, under rotations."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from liegroups.facts import once
from liegroups.group import HomogeneousSpace, LieGroup
from liegroups.numerics import safe_norm
from liegroups.orthogonal import O
from liegroups.rotation import RotationGroup
from liegroups.special_orthogonal import SO


@dataclass(frozen=True)
class ConcentricSpheres(HomogeneousSpace):
    """Rⁿ under SO(n) or O(n): the orbits are the spheres about the origin, labeled by radius.

    The representative of the sphere of radius r is r e₁; its stabilizer, SO(n-1) or O(n-1), acts
    on the other axes. The section is the rotation in the plane of e₁ and x, which is smooth
    except at the half-line of -e₁ (for n > 2 no section is smooth everywhere: the hairy ball
    theorem). The origin is an orbit of its own, fixed by the whole group; its section is the
    identity.

    Args:
        group: SO(n) or O(n).

    Raises:
        ValueError: If the group is another one.
    """

    group: LieGroup

    def __post_init__(self) -> None:
        fixing_first_axis(self.group)

    @property
    @once
    def point_dim(self) -> int:
        return self.group.matrix_size

    @property
    @once
    def stabilizer(self) -> LieGroup:
        return fixing_first_axis(self.group)

    @property
    def orbit_label_dim(self) -> int:
        return 1

    @property
    def is_isometric(self) -> bool:
        return True

    @property
    def has_singular_orbits(self) -> bool:
        return True

    @property
    def linear(self) -> LieGroup:
        return self.group

    def act(self, g: Tensor, x: Tensor) -> Tensor:
        self.group.check_element(g)
        self.check_points(x)
        return (g @ x[..., None])[..., 0]

    def section(self, x: Tensor) -> Tensor:
        """The rotation by the angle between e₁ and x in their plane; see `first_axis_to`."""
        self.check_points(x)
        return first_axis_to(direction(x))

    def representative(self, x: Tensor) -> Tensor:
        radius = self.orbit_label(x)
        return torch.cat((radius, x.new_zeros(*x.shape[:-1], self.group.matrix_size - 1)), -1)

    def embed(self, h: Tensor) -> Tensor:
        return beside_first_axis(h)

    def orbit_label(self, x: Tensor) -> Tensor:
        """Distance from the origin, ``(*batch, 1)``."""
        self.check_points(x)
        return safe_norm(x)[..., None]

    def is_singular(self, x: Tensor) -> Tensor:
        return (x == 0).all(-1)

    def embed_linear(self, a: Tensor) -> Tensor:
        return a

    def vectors(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """The points themselves, as vectors from the origin."""
        self.check_points(x)
        return x[..., None, :]


RotationGroup.acts_on = O.acts_on = ConcentricSpheres


@dataclass(frozen=True)
class Sphere(HomogeneousSpace):
    """The unit sphere Sⁿ⁻¹ in Rⁿ under SO(n) or O(n); points are unit vectors.

    The base point is e₁; its stabilizer, SO(n-1) or O(n-1), acts on the other axes. The section
    is the rotation in the plane of e₁ and x.

    Args:
        group: SO(n) or O(n).

    Raises:
        ValueError: If the group is another one.

    Example:
        >>> import torch
        >>> from liegroups import SO3
        >>> sphere = Sphere(SO3())
        >>> sphere.act(SO3().sample(), torch.tensor([0.0, 0.0, 1.0])).norm().round(decimals=5)
        tensor(1.)
    """

    group: LieGroup

    def __post_init__(self) -> None:
        fixing_first_axis(self.group)

    @property
    @once
    def point_dim(self) -> int:
        return self.group.matrix_size

    @property
    @once
    def stabilizer(self) -> LieGroup:
        return fixing_first_axis(self.group)

    @property
    def is_isometric(self) -> bool:
        return True

    @property
    def linear(self) -> LieGroup:
        return self.group

    def act(self, g: Tensor, x: Tensor) -> Tensor:
        self.group.check_element(g)
        self.check_points(x)
        return (g @ x[..., None])[..., 0]

    def section(self, x: Tensor) -> Tensor:
        """The rotation by the angle between e₁ and x in their plane; see `first_axis_to`."""
        self.check_points(x)
        return first_axis_to(direction(x))

    def representative(self, x: Tensor) -> Tensor:
        return first_axis(x)

    def embed(self, h: Tensor) -> Tensor:
        return beside_first_axis(h)

    def nearest_point(self, x: Tensor) -> Tensor:
        """The unit vector x / |x|, and e₁ at the origin."""
        self.check_points(x)
        return direction(x)

    def embed_linear(self, a: Tensor) -> Tensor:
        return a

    def vectors(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """The points themselves."""
        self.check_points(x)
        return x[..., None, :]


def fixing_first_axis(group: LieGroup) -> LieGroup:
    """The subgroup of SO(n) or O(n) that fixes e₁, as matrices of the other n - 1 axes.

    Raises:
        ValueError: If the group is another one, or n is less than two.
    """
    n = group.matrix_size
    if isinstance(group, RotationGroup) and n >= 2:
        return SO(n - 1)
    if isinstance(group, O) and n >= 2:
        return O(n - 1)
    raise ValueError(
        f"this space is one of rotations or orthogonal matrices of at least two dimensions, "
        f"SO(n) or O(n); got {group}."
    )


def first_axis(like: Tensor) -> Tensor:
    """The vectors e₁ of the shape of ``like``."""
    return torch.nn.functional.pad(torch.ones_like(like[..., :1]), (0, like.shape[-1] - 1))


def first_axis_to(u: Tensor) -> Tensor:
    """Rotations ``(*batch, n, n)`` that take e₁ to unit vectors ``(*batch, n)`` the short way.

    The rotation is 1 - s sᵀ/(1 + c) beside the first row (c, -sᵀ) and column (c, s) = u. The
    short way to -e₁ itself is not unique, and around it rounding would decide: there, within an
    angle of ε^⅓, it is replaced by a half turn of the plane of e₁ and e₂ and the short way
    from -e₁.
    """
    n = u.shape[-1]
    if n == 2:
        c, s = u[..., :1], u[..., 1:]
        return torch.cat((c, -s, s, c), -1).unflatten(-1, (2, 2))
    opposite = u[..., 1:].abs().amax(-1, keepdim=True) < torch.finfo(u.dtype).eps ** (1 / 3)
    opposite = opposite & (u[..., :1] < 0)
    near = torch.where(opposite, -u, u)
    c, s = near[..., :1], near[..., 1:]
    # 1 - s sᵀ/(1 + c) is 1 - (1 - c) v vᵀ with v the direction of s: the latter on the far side,
    # where 1 + c cancels.
    far = c < 0
    v = direction(torch.where(far, s, first_axis(s)))
    ratio = 1 / (1 + torch.where(far, 0, c))
    block = torch.eye(n - 1, dtype=u.dtype, device=u.device) - torch.where(
        far[..., None],
        (1 - c)[..., None] * v[..., :, None] * v[..., None, :],
        ratio[..., None] * s[..., :, None] * s[..., None, :],
    )
    top = torch.cat((c, -s), -1)[..., None, :]
    rotation = torch.cat((top, torch.cat((s[..., :, None], block), -1)), -2)
    half_turn = torch.cat((-rotation[..., :2], rotation[..., 2:]), -1)
    return torch.where(opposite[..., None], half_turn, rotation)


def beside_first_axis(h: Tensor) -> Tensor:
    """The matrices ``(*batch, n, n)`` that fix e₁ and act by ``h`` on the other axes."""
    n = h.shape[-1] + 1
    corner = torch.eye(n, dtype=h.dtype, device=h.device)[:, :1].expand(*h.shape[:-2], n, 1)
    return torch.cat((corner, torch.nn.functional.pad(h, (0, 0, 1, 0))), -1)


def direction(x: Tensor) -> Tensor:
    """Unit vector x / |x|, also where |x|² would under- or overflow; e₁ at the origin."""
    x = torch.where((x == 0).all(-1, keepdim=True), first_axis(x), x)
    scaled = x / x.detach().abs().amax(-1, keepdim=True)
    return scaled / scaled.norm(dim=-1, keepdim=True)
