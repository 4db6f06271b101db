"""Semidirect products Rⁿ ⋊ H, the groups of maps x ↦ Ax + b with A in a matrix group H."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from liegroups.facts import once
from liegroups.group import LieGroup
from liegroups.numerics import matrix_exp
from liegroups.trivial import Trivial


class AffineGroup(LieGroup):
    """Rⁿ ⋊ H: elements [[A, b], [0, 1]] with A in ``linear`` and b in Rⁿ.

    Algebra coordinates are the n translations first, then those of ``linear``. Every operation
    follows from the group of linear parts; SE(2) and SE(3) have closed forms.

    A subclass declares ``linear``; `Affine` takes it as an argument.

    Attributes:
        linear: The group H of linear parts, n × n matrices: the stabilizer of the origin.
    """

    if TYPE_CHECKING:
        # A subclass has a property or a field; a property here would stand in the field's way.
        @property
        def linear(self) -> LieGroup:
            """The group of linear parts, n × n matrices: the stabilizer of the origin."""

    @property
    @once
    def space_dim(self) -> int:
        """Dimension n of the space acted on."""
        return self.linear.matrix_size

    @property
    @once
    def dim(self) -> int:
        return self.space_dim + self.linear.dim

    @property
    @once
    def matrix_size(self) -> int:
        return self.space_dim + 1

    @property
    @once
    def basis_labels(self) -> tuple[str, ...]:
        n = self.space_dim
        axes = tuple("xyz"[:n]) if n <= 3 else tuple(f"x{i + 1}" for i in range(n))
        return axes + self.linear.basis_labels

    @property
    def is_compact(self) -> bool:
        return False

    @property
    def is_abelian(self) -> bool:
        return False

    def algebra_basis(self) -> Tensor:
        n = self.space_dim
        basis = torch.zeros(self.dim, n + 1, n + 1, dtype=torch.float64)
        basis[torch.arange(n), torch.arange(n), n] = 1
        basis[n:, :n, :n] = self.linear.algebra_basis()
        return basis

    def hat(self, a: Tensor) -> Tensor:
        self.check_tangent(a)
        top = torch.cat(
            (self.linear.hat(a[..., self.space_dim :]), a[..., : self.space_dim, None]), -1
        )
        return torch.nn.functional.pad(top, (0, 0, 0, 1))

    def vee(self, x: Tensor) -> Tensor:
        self.check_element(x)
        n = self.space_dim
        return torch.cat((x[..., :n, n], self.linear.vee(x[..., :n, :n])), -1)

    def exp(self, a: Tensor) -> Tensor:
        """Elements (exp X, Vρ); the linear part as the group of linear parts computes it.

        It may have a closed form, which is more exact: near half a turn a rounding of the matrix
        exponential would take the element beyond the cut.
        """
        n = self.space_dim
        translation = matrix_exp(self.hat(a))[..., :n, n]
        return self.join(self.linear.exp(a[..., n:]), translation)

    def log(self, g: Tensor) -> Tensor:
        """Logarithm (V⁻¹b, log A), with V = ∫₀¹ exp(s log A) ds."""
        a, b = self.split(g)
        tangent = self.linear.log(a)
        if self.linear.dim == 0:
            return torch.where(self.in_range_of_exp(g)[..., None], b, torch.nan)
        defined = tangent.isfinite().all(-1, keepdim=True)
        integrated = self._integrated_exp(torch.where(defined, tangent, 0))
        wide = torch.promote_types(b.dtype, torch.float32)  # There is no solver in half precision.
        translation = torch.linalg.solve(integrated.to(wide), b.to(wide)).to(b.dtype)
        return torch.cat((torch.where(defined, translation, torch.nan), tangent), -1)

    def in_range_of_exp(self, g: Tensor) -> Tensor:
        return self.linear.in_range_of_exp(self.split(g)[0])

    def _integrated_exp(self, tangent: Tensor) -> Tensor:
        """∫₀¹ exp(s X) ds as the corner block of exp([[X, 1], [0, 0]]) (Van Loan 1978)."""
        n = self.space_dim
        x = self.linear.hat(tangent)
        eye = torch.eye(n, dtype=x.dtype, device=x.device).expand_as(x)
        block = torch.nn.functional.pad(torch.cat((x, eye), -1), (0, 0, 0, n))
        return matrix_exp(block)[..., :n, n:]

    def inverse(self, g: Tensor) -> Tensor:
        a, b = self.split(g)
        inverse = self.linear.inverse(a)
        return self.join(inverse, -(inverse @ b[..., None])[..., 0])

    def relative(self, g: Tensor, h: Tensor) -> Tensor:
        """g⁻¹h, from the difference of the translations: no digits are lost far from the origin."""
        a, b = self.split(g)
        c, d = self.split(h)
        inverse = self.linear.inverse(a)
        return self.join(inverse @ c, (inverse @ (d - b)[..., None])[..., 0])

    def project(self, x: Tensor) -> Tensor:
        a, b = self.split(x)
        return self.join(self.linear.project(a), b)

    def sample(
        self,
        shape: Sequence[int] = (),
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """Linear parts as ``linear`` draws them, translations standard normal.

        The group is not compact, so no Haar probability exists; this is a proposal.
        """
        a = self.linear.sample(shape, generator=generator, dtype=dtype, device=device)
        b = torch.randn((*shape, self.space_dim), generator=generator, dtype=dtype, device=device)
        return self.join(a, b)

    def split(self, g: Tensor) -> tuple[Tensor, Tensor]:
        """Linear part ``(*batch, n, n)`` and translation ``(*batch, n)`` of elements."""
        self.check_element(g)
        return g[..., :-1, :-1], g[..., :-1, -1]

    def join(self, a: Tensor, b: Tensor) -> Tensor:
        """Elements ``(*batch, n + 1, n + 1)`` of linear parts and translations."""
        n = self.space_dim
        batch = a.shape[:-2]
        if batch != b.shape[:-1]:  # Broadcasting takes longer than the rest on small batches.
            batch = torch.broadcast_shapes(batch, b.shape[:-1])
            a, b = a.expand(*batch, n, n), b.expand(*batch, n)
        top = torch.cat((a, b[..., None]), -1)
        bottom = torch.zeros(n + 1, dtype=top.dtype, device=top.device)
        bottom[n] = 1
        return torch.cat((top, bottom.expand(*batch, 1, n + 1)), -2)


@dataclass(frozen=True)
class Affine(AffineGroup):
    """Rⁿ ⋊ H, the maps x ↦ Ax + b with A in any group H of n × n matrices.

    Coordinates: the n translations, then those of H. For a finite H, such as a point group of a
    crystal, the coordinates are the translations alone, and ``exp`` reaches only those.

    Args:
        linear: The group H of the linear parts.

    Example:
        >>> import torch
        >>> from liegroups import PositiveScaling
        >>> group = Affine(PositiveScaling(2))
        >>> group.basis_labels
        ('x', 'y', 's')
        >>> [round(x, 4) for x in group.exp(torch.tensor([0.0, 0.0, 1.0])).diagonal().tolist()]
        [2.7183, 2.7183, 1.0]
    """

    linear: LieGroup

    @property
    @once
    def is_abelian(self) -> bool:
        return isinstance(self.linear, Trivial)
