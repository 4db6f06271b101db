"""Direct and semidirect products of two groups, as block matrices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from liegroups.facts import once
from liegroups.group import LieGroup


@dataclass(frozen=True)
class DirectProduct(LieGroup):
    """G × H: elements diag(g, h), multiplied block by block.

    Coordinates: those of G, then those of H, with the labels 1.… and 2.….

    Args:
        first: The group G.
        second: The group H.

    Example:
        >>> from liegroups import SO2, T2
        >>> DirectProduct(SO2(), T2()).basis_labels
        ('1.r', '2.x', '2.y')
    """

    first: LieGroup
    second: LieGroup

    @property
    @once
    def dim(self) -> int:
        return self.first.dim + self.second.dim

    @property
    @once
    def matrix_size(self) -> int:
        return self.first.matrix_size + self.second.matrix_size

    @property
    @once
    def basis_labels(self) -> tuple[str, ...]:
        return _labels(self.first, self.second)

    @property
    @once
    def is_compact(self) -> bool:
        return self.first.is_compact and self.second.is_compact

    @property
    @once
    def is_trivial(self) -> bool:
        return self.first.is_trivial and self.second.is_trivial

    @property
    @once
    def is_abelian(self) -> bool:
        return self.first.is_abelian and self.second.is_abelian

    @property
    @once
    def is_orthogonal(self) -> bool:
        return self.first.is_orthogonal and self.second.is_orthogonal

    def algebra_basis(self) -> Tensor:
        g, h = self.first.algebra_basis(), self.second.algebra_basis()
        zero_g, zero_h = torch.zeros_like(g[:1]).sum(0), torch.zeros_like(h[:1]).sum(0)
        return torch.cat((block_diagonal(g, zero_h), block_diagonal(zero_g, h)))

    def hat(self, a: Tensor) -> Tensor:
        self.check_tangent(a)
        first, second = a.split((self.first.dim, self.second.dim), -1)
        return block_diagonal(self.first.hat(first), self.second.hat(second))

    def vee(self, x: Tensor) -> Tensor:
        first, second = self.split(x)
        return torch.cat((self.first.vee(first), self.second.vee(second)), -1)

    def exp(self, a: Tensor) -> Tensor:
        self.check_tangent(a)
        first, second = a.split((self.first.dim, self.second.dim), -1)
        return block_diagonal(self.first.exp(first), self.second.exp(second))

    def log(self, g: Tensor) -> Tensor:
        first, second = self.split(g)
        value = torch.cat((self.first.log(first), self.second.log(second)), -1)
        if self.first.dim > 0 and self.second.dim > 0:
            return value
        # A group of dimension zero has no coordinate to tell that there is no logarithm.
        return torch.where(self.in_range_of_exp(g)[..., None], value, torch.nan)

    def in_range_of_exp(self, g: Tensor) -> Tensor:
        first, second = self.split(g)
        return self.first.in_range_of_exp(first) & self.second.in_range_of_exp(second)

    def inverse(self, g: Tensor) -> Tensor:
        first, second = self.split(g)
        return block_diagonal(self.first.inverse(first), self.second.inverse(second))

    def relative(self, g: Tensor, h: Tensor) -> Tensor:
        first, second = zip(self.split(g), self.split(h), strict=True)
        return block_diagonal(self.first.relative(*first), self.second.relative(*second))

    def project(self, x: Tensor) -> Tensor:
        first, second = self.split(x)
        return block_diagonal(self.first.project(first), self.second.project(second))

    def contains(self, g: Tensor, tolerance: float | None = None) -> Tensor:
        first, second = self.split(g)
        off = g - block_diagonal(first, second)
        limit = torch.finfo(g.dtype).eps ** 0.5 if tolerance is None else tolerance
        scale = g.abs().amax((-1, -2)).clamp(min=1)
        return (
            self.first.contains(first, tolerance)
            & self.second.contains(second, tolerance)
            & (off.abs().amax((-1, -2)) <= limit * scale)
        )

    def sample(
        self,
        shape: Sequence[int] = (),
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """Independent samples of both groups: Haar where both are compact."""
        g = self.first.sample(shape, generator=generator, dtype=dtype, device=device)
        h = self.second.sample(shape, generator=generator, dtype=dtype, device=device)
        return block_diagonal(g, h)

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The diagonal blocks of matrices ``(*batch, m, m)``."""
        self.check_element(x)
        m = self.first.matrix_size
        return x[..., :m, :m], x[..., m:, m:]


@dataclass(frozen=True)
class SemidirectProduct(LieGroup):
    """N ⋊ H: pairs (n, h) with the product (n, h)(n', h') = (n · ρ(h) n' ρ(h)⁻¹, h h').

    ``action`` is a homomorphism ρ from H to invertible matrices of the size of those of N, whose
    conjugation takes N to itself. Elements are the block matrices diag(n ρ(h), h), which
    multiply in this way; an action that is not of this form need have no matrices at all.
    Conjugations cover all actions on Rⁿ, as n = [[1, b], [0, 1]] and ρ(h) = diag(A(h), 1) for any
    representation A. Rⁿ ⋊ H with H acting by its own matrices is smaller as `Affine`.

    Coordinates: those of N, then those of H, with the labels 1.… and 2.…, as the algebra matrix
    diag(X + dρ(Y), Y).

    Args:
        normal: The group N.
        acting: The group H.
        action: ρ, a function of module level that takes ``(*batch, m, m)`` matrices of H to those
            of the size of N, differentiable at the identity.

    Raises:
        ValueError: If ``action`` has the wrong shape, is not a homomorphism, or does not take N
            to itself.

    Example:
        The scalings (x, y, z) ↦ (λx, λy, λ²z) of the Heisenberg group:

        >>> import torch
        >>> from liegroups import Heisenberg, PositiveScaling
        >>> def dilation(h):
        ...     scale = h[..., 0]
        ...     return torch.cat((scale**2, scale, torch.ones_like(scale)), -1).diag_embed()
        >>> group = SemidirectProduct(Heisenberg(), PositiveScaling(1), dilation)
        >>> group.dim, group.matrix_size
        (4, 4)
    """

    normal: LieGroup
    acting: LieGroup
    action: Callable[[Tensor], Tensor] = field(repr=False)  # It would show a memory address.

    def __post_init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        g, h = self.acting.sample((2, 8), generator=generator, dtype=torch.float64)
        n = self.normal.sample((8,), generator=generator, dtype=torch.float64)
        rho, other = self.action(g), self.action(h)
        m = self.normal.matrix_size
        if rho.shape != (8, m, m):
            raise ValueError(
                f"action takes elements (*batch, {self.acting.matrix_size}, "
                f"{self.acting.matrix_size}) of {self.acting} to matrices (*batch, {m}, {m}); "
                f"elements of shape {tuple(g.shape)} gave {tuple(rho.shape)}."
            )
        product = rho @ other
        gap = (self.action(g @ h) - product).abs().amax() / product.abs().amax()
        if not gap < 1e-6:
            raise ValueError(
                f"action is no homomorphism of {self.acting}: ρ(gh) and ρ(g)ρ(h) differ by "
                f"{gap.item():.3g} of their size."
            )
        if not self.normal.contains(rho @ n @ torch.linalg.inv(rho), 1e-6).all():
            raise ValueError(f"action does not take {self.normal} to itself by conjugation.")

    @property
    @once
    def dim(self) -> int:
        return self.normal.dim + self.acting.dim

    @property
    @once
    def matrix_size(self) -> int:
        return self.normal.matrix_size + self.acting.matrix_size

    @property
    @once
    def basis_labels(self) -> tuple[str, ...]:
        return _labels(self.normal, self.acting)

    @property
    @once
    def is_compact(self) -> bool:
        return self.normal.is_compact and self.acting.is_compact

    @property
    @once
    def is_trivial(self) -> bool:
        return self.normal.is_trivial and self.acting.is_trivial

    @property
    @once
    def is_abelian(self) -> bool:
        if not (self.normal.is_abelian and self.acting.is_abelian):
            return False
        g = self.sample((2, 8), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        products = g[0] @ g[1]
        return bool((products - g[1] @ g[0]).abs().amax() < 1e-6 * products.abs().amax())

    @property
    @once
    def is_orthogonal(self) -> bool:
        g = self.sample((8,), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        return bool((g.mT @ g - self.identity(g)).abs().amax() < 1e-6)

    def algebra_basis(self) -> Tensor:
        x, y = self.normal.algebra_basis(), self.acting.algebra_basis()
        zero = torch.zeros(self.acting.matrix_size, self.acting.matrix_size, dtype=x.dtype)
        eye = torch.eye(self.acting.matrix_size, dtype=x.dtype)
        turned = [torch.func.jvp(self.action, (eye,), (e,))[1] for e in y]
        shape = (0, self.normal.matrix_size, self.normal.matrix_size)
        slopes = torch.stack(turned) if turned else x.new_zeros(shape)
        return torch.cat((block_diagonal(x, zero), block_diagonal(slopes, y)))

    def inverse(self, g: Tensor) -> Tensor:
        x, h = self.split(g)
        return block_diagonal(torch.linalg.inv(x), self.acting.inverse(h))

    def project(self, x: Tensor) -> Tensor:
        top, h = self.split(x)
        h = self.acting.project(h)
        rho = self.action(h)
        return block_diagonal(self.normal.project(top @ torch.linalg.inv(rho)) @ rho, h)

    def in_range_of_exp(self, g: Tensor) -> Tensor:
        return self.log(g.detach()).isfinite().all(-1)

    def sample(
        self,
        shape: Sequence[int] = (),
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """Independent samples n and h: Haar where both groups are compact."""
        n = self.normal.sample(shape, generator=generator, dtype=dtype, device=device)
        h = self.acting.sample(shape, generator=generator, dtype=dtype, device=device)
        return self.join(n, h)

    def join(self, n: Tensor, h: Tensor) -> Tensor:
        """Elements (n, h) from those of N and of H."""
        return block_diagonal(n @ self.action(h), h)

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The diagonal blocks, n ρ(h) and h, of matrices ``(*batch, m, m)``."""
        self.check_element(x)
        m = self.normal.matrix_size
        return x[..., :m, :m], x[..., m:, m:]


def block_diagonal(x: Tensor, y: Tensor) -> Tensor:
    """Matrices diag(x, y) of square matrices ``(*batch, m, m)`` and ``(*batch, k, k)``."""
    m, k = x.shape[-1], y.shape[-1]
    batch = torch.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    top = torch.nn.functional.pad(x.expand(*batch, m, m), (0, k))
    return torch.cat((top, torch.nn.functional.pad(y.expand(*batch, k, k), (m, 0))), -2)


def _labels(first: LieGroup, second: LieGroup) -> tuple[str, ...]:
    return (
        *(f"1.{label}" for label in first.basis_labels),
        *(f"2.{label}" for label in second.basis_labels),
    )
