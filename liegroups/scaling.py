"""Scalings, alone and with rotations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from liegroups.affine import AffineGroup
from liegroups.checks import DIMENSION, check_count
from liegroups.facts import once
from liegroups.group import LieGroup
from liegroups.special_orthogonal import SO


@dataclass(frozen=True)
class PositiveScaling(LieGroup):
    """R₊, the uniform scalings x ↦ λx of Rⁿ with λ > 0; the coordinate is s = log λ.

    Args:
        n: Dimension of the space.

    Raises:
        ValueError: If ``n`` is less than one.

    Example:
        >>> import torch
        >>> PositiveScaling(2).log(2 * torch.eye(2)).round(decimals=4).tolist()
        [0.6930999755859375]
    """

    n: int = 1

    def __post_init__(self) -> None:
        check_count("PositiveScaling.n", self.n, most=DIMENSION)

    @property
    def dim(self) -> int:
        return 1

    @property
    def matrix_size(self) -> int:
        return self.n

    @property
    def basis_labels(self) -> tuple[str, ...]:
        return ("s",)

    @property
    def is_compact(self) -> bool:
        return False

    @property
    def is_abelian(self) -> bool:
        return True

    def algebra_basis(self) -> Tensor:
        return torch.eye(self.n, dtype=torch.float64)[None]

    def exp(self, a: Tensor) -> Tensor:
        self.check_tangent(a)
        return a.exp()[..., None] * self.identity(a)

    def log(self, g: Tensor) -> Tensor:
        """Logarithm of the mean of the diagonal."""
        self.check_element(g)
        return self.vee(g).log()

    def inverse(self, g: Tensor) -> Tensor:
        self.check_element(g)
        return (1 / self.vee(g))[..., None] * self.identity(g)

    def contains(self, g: Tensor, tolerance: float | None = None) -> Tensor:
        """Whether matrices are the identity once they are divided by the mean of the diagonal."""
        self.check_element(g)
        tolerance = torch.finfo(g.dtype).eps ** 0.5 if tolerance is None else tolerance
        scale = self.vee(g)
        gap = g / torch.where(scale > 0, scale, 1)[..., None] - self.identity(g)
        return (scale[..., 0] > 0) & (gap.abs().amax((-1, -2)) <= tolerance)

    def sample(
        self,
        shape: Sequence[int] = (),
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """A proposal, as no Haar probability exists: s is normal with deviation ½."""
        s = torch.randn((*shape, 1), generator=generator, dtype=dtype, device=device) / 2
        return self.exp(s)


@dataclass(frozen=True)
class RotationScaling(LieGroup):
    """SO(n) × R₊, rotations times uniform scalings λ > 0 of Rⁿ; of the plane when n is absent.

    In the plane these are the complex numbers other than zero, with their product:
    λ(cos θ, sin θ) as [[a, -b], [b, a]], and ``log`` is the complex logarithm.

    Coordinates: those of ``SO(n)``, in rad, then s = log λ.

    Args:
        n: Dimension of the space.

    Raises:
        ValueError: If ``n`` is less than two.

    Example:
        >>> import torch
        >>> group = RotationScaling()
        >>> i = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
        >>> group.log(2 * i).round(decimals=4).tolist()  # log 2i = log 2 + iπ/2
        [1.5707999467849731, 0.6930999755859375]
    """

    n: int = 2

    def __post_init__(self) -> None:
        check_count("RotationScaling.n", self.n, 2, DIMENSION)

    @property
    @once
    def rotations(self) -> LieGroup:
        """SO(n)."""
        return SO(self.n)

    @property
    @once
    def dim(self) -> int:
        return self.rotations.dim + 1

    @property
    def matrix_size(self) -> int:
        return self.n

    @property
    @once
    def basis_labels(self) -> tuple[str, ...]:
        return (*self.rotations.basis_labels, "s")

    @property
    def is_compact(self) -> bool:
        return False

    @property
    def is_abelian(self) -> bool:
        return self.n == 2

    def algebra_basis(self) -> Tensor:
        scaling = torch.eye(self.n, dtype=torch.float64)[None]
        return torch.cat((self.rotations.algebra_basis(), scaling))

    def exp(self, a: Tensor) -> Tensor:
        self.check_tangent(a)
        return a[..., -1:, None].exp() * self.rotations.exp(a[..., :-1])

    def log(self, g: Tensor) -> Tensor:
        scale = self.scale(g)
        rotation = self.rotations.log(g / scale[..., None, None])
        return torch.cat((rotation, scale.log()[..., None]), -1)

    def inverse(self, g: Tensor) -> Tensor:
        return g.mT / (self.scale(g) ** 2)[..., None, None]

    def project(self, x: Tensor) -> Tensor:
        """The nearest rotation, times the scale that leaves the least error.

        For x = λR it is the mean of the singular values, with the sign of the determinant.
        """
        self.check_element(x)
        rotation = self.rotations.project(x)
        scale = (rotation * x).sum((-1, -2)) / self.n
        return torch.where(scale > 0, scale, torch.nan)[..., None, None] * rotation

    def contains(self, g: Tensor, tolerance: float | None = None) -> Tensor:
        """Whether matrices are rotations once they are divided by their scale."""
        scale = self.scale(g)
        safe = torch.where(scale > 0, scale, 1)[..., None, None]
        return (scale > 0) & self.rotations.contains(g / safe, tolerance)

    def scale(self, g: Tensor) -> Tensor:
        """The factors λ, ``(*batch,)``: the root mean square of the lengths of the columns."""
        self.check_element(g)
        return ((g * g).sum((-1, -2)) / self.n).sqrt()

    def sample(
        self,
        shape: Sequence[int] = (),
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """A proposal, as no Haar probability exists: Haar rotations, s normal with deviation ½."""
        r = self.rotations.sample(shape, generator=generator, dtype=dtype, device=device)
        s = torch.randn((*shape, 1, 1), generator=generator, dtype=dtype, device=device) / 2
        return s.exp() * r


@dataclass(frozen=True)
class Sim(AffineGroup):
    """Sim(n), the similarities x ↦ λRx + b of Rⁿ: Rⁿ ⋊ (SO(n) × R₊).

    Coordinates: n translations, then the rotation as in ``SO(n)``, in rad, then s = log λ.

    Args:
        n: Dimension of the space.

    Raises:
        ValueError: If ``n`` is less than two.

    Example:
        >>> Sim(3).basis_labels
        ('x', 'y', 'z', 'rx', 'ry', 'rz', 's')
    """

    n: int = 3

    def __post_init__(self) -> None:
        check_count("Sim.n", self.n, 2, DIMENSION)

    @property
    @once
    def linear(self) -> RotationScaling:
        return RotationScaling(self.n)
