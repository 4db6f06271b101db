"""The base classes of matrix Lie groups and of the spaces that they act on.

A group has a default space, and a space has a group: the two are declared together. The spaces
themselves are built of groups, in modules above those of the groups.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from liegroups.compiling import cached
from liegroups.deprecation import RenamedMethods
from liegroups.equivariance import Equivariance
from liegroups.facts import HasFacts
from liegroups.matrix_log import Algebra, algebra_log, brackets
from liegroups.numerics import matrix_exp


class LieGroup(HasFacts, ABC):
    """A matrix Lie group: what can be done with its elements, not the elements themselves.

    Elements are plain tensors ``(*batch, m, m)``, the faithful matrices; tangent vectors at the
    identity are coordinates ``(*batch, dim)`` in the basis that ``algebra_basis`` gives. Every
    operation broadcasts over the leading axes and follows the dtype and device of its input.
    Groups are frozen dataclasses without tensors: hashable, picklable, comparable.

    A new group declares its facts, implements ``algebra_basis`` and ``sample``, and overrides the
    rest only for speed, or to say more than the defaults know: ``in_range_of_exp``,
    ``default_space``. ``liegroups.testing.lie_group_suite`` checks all of it.

    Attributes:
        acts_on: The class of the space that ``default_space`` makes. The module of the space sets
            it, since spaces are built of groups and groups know nothing of spaces.
    """

    acts_on: ClassVar[type[Any] | None] = None

    # ---- declare -----------------------------------------------------------------------------

    @property
    @abstractmethod
    def dim(self) -> int:
        """Dimension of the group as a manifold."""

    @property
    @abstractmethod
    def matrix_size(self) -> int:
        """The m of the m × m matrices that represent the elements."""

    @property
    @abstractmethod
    def basis_labels(self) -> tuple[str, ...]:
        """A name for each algebra coordinate, in order."""

    @property
    @abstractmethod
    def is_compact(self) -> bool:
        """Whether the group is compact, so that Haar measure is a probability."""

    @property
    @abstractmethod
    def is_abelian(self) -> bool:
        """Whether all elements commute."""

    @property
    def is_orthogonal(self) -> bool:
        """Whether the matrices are orthogonal, so that they preserve Euclidean length."""
        return False

    @property
    def is_trivial(self) -> bool:
        """Whether the identity is the only element."""
        return False

    # ---- must implement ----------------------------------------------------------------------

    @abstractmethod
    def algebra_basis(self) -> Tensor:
        """Basis of the Lie algebra, ``(dim, m, m)`` in float64 on the CPU."""

    @abstractmethod
    def sample(
        self,
        shape: Sequence[int] = (),
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """Draw random elements: Haar where the group is compact, else a stated proposal.

        Args:
            shape: Batch shape of the draws.
            generator: Source of randomness; torch's own when absent.
            dtype: Floating type; torch's default when absent.
            device: Where the result lives.

        Returns:
            Elements ``(*shape, m, m)``.
        """

    # ---- may override, for speed -------------------------------------------------------------

    def exp(self, a: Tensor) -> Tensor:
        """Exponential map.

        Args:
            a: Algebra coordinates ``(*batch, dim)``.

        Returns:
            Elements ``(*batch, m, m)``.

        Raises:
            ValueError: If the last axis is not of length ``dim``.
        """
        return matrix_exp(self.hat(a))

    def log(self, g: Tensor) -> Tensor:
        """Principal logarithm, the inverse of ``exp`` near the identity.

        By default any matrix logarithm that lies in the algebra, right with its first two
        derivatives, at the price of a few dozen matrix inversions in float64.

        Args:
            g: Elements ``(*batch, m, m)``.

        Returns:
            Algebra coordinates ``(*batch, dim)``; NaN where ``in_range_of_exp`` is False.

        Raises:
            ValueError: If the last two axes do not have the size of the group's matrices.
        """
        self.check_element(g)
        return algebra_log(Algebra(self.hat, self.vee, _brackets(self, g.device)), g)

    def in_range_of_exp(self, g: Tensor) -> Tensor:
        """Whether elements have a logarithm, ``(*batch,)``: always, unless a group says otherwise.

        The exponential map is onto for connected compact and for nilpotent groups, for SE(n)
        and Sim(n). It is not for groups in several pieces, such as O(n), which it maps to the
        piece of the identity, and not for SL(2) or affine groups.
        """
        self.check_element(g)
        return torch.ones(g.shape[:-2], dtype=torch.bool, device=g.device)

    def hat(self, a: Tensor) -> Tensor:
        """Matrix Σ aᵢ Eᵢ ``(*batch, m, m)`` of algebra coordinates ``(*batch, dim)``."""
        self.check_tangent(a)
        return torch.einsum("...d,dij->...ij", a, _basis(self, a.dtype, a.device))

    def vee(self, x: Tensor) -> Tensor:
        """Coordinates ``(*batch, dim)`` of algebra matrices ``(*batch, m, m)``; inverts ``hat``.

        A matrix outside the algebra is first projected on it, in the Frobenius sense.
        """
        self.check_element(x)
        return torch.einsum("...ij,dij->...d", x, _dual_basis(self, x.dtype, x.device))

    def inverse(self, g: Tensor) -> Tensor:
        """Inverse elements ``(*batch, m, m)``.

        Raises:
            ValueError: If a matrix is singular, as large elements may be once they are rounded.
        """
        self.check_element(g)
        try:
            return torch.linalg.inv(g)
        except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
            raise ValueError(
                f"{self} takes invertible matrices; of those of shape {tuple(g.shape)} one is "
                f"singular in {g.dtype}: {error}"
            ) from None

    def relative(self, g: Tensor, h: Tensor) -> Tensor:
        """The pose g⁻¹h of ``h`` as seen from ``g``: unchanged when both move to kg, kh."""
        return self.compose(self.inverse(g), h)

    def relative_log(self, g: Tensor, h: Tensor) -> Tensor:
        """Coordinates log(g⁻¹h), shape ``(*batch, dim)``."""
        return self.log(self.relative(g, h))

    def adjoint(self, g: Tensor) -> Tensor:
        """Matrix of Ad(g): a ↦ vee(g hat(a) g⁻¹), shape ``(*batch, dim, dim)``."""
        self.check_element(g)
        conjugated = g[..., None, :, :] @ _basis(self, g.dtype, g.device)
        return self.vee(conjugated @ self.inverse(g)[..., None, :, :]).mT

    def project(self, x: Tensor) -> Tensor:
        """A group element near the matrices ``x``; the identity map on the group."""
        return self.exp(self.log(x))

    def contains(self, g: Tensor, tolerance: float | None = None) -> Tensor:
        """Whether matrices lie in the group.

        Args:
            g: Matrices ``(*batch, m, m)``.
            tolerance: Largest entry-wise distance to the group, relative to the largest entry;
                by default the square root of the machine epsilon.

        Returns:
            Booleans ``(*batch,)``; False where an entry is not finite.
        """
        self.check_element(g)
        if tolerance is None:
            tolerance = torch.finfo(g.dtype).eps ** 0.5
        finite = g.isfinite().all(-1).all(-1)
        safe = torch.where(finite[..., None, None], g, self.identity(g))
        scale = safe.abs().amax((-1, -2)).clamp(min=1)
        gap = (self.project(safe) - safe).abs().amax((-1, -2))
        return finite & (gap <= tolerance * scale)

    def default_space(self) -> HomogeneousSpace:
        """The space that the group acts on when none is named."""
        if self.acts_on is not None:
            space: HomogeneousSpace = self.acts_on(self)
            return space
        raise NotImplementedError(
            f"{self} names no default space: override default_space, or give a space explicitly."
        )

    # ---- derived -----------------------------------------------------------------------------

    def identity(self, like: Tensor | None = None) -> Tensor:
        """The identity matrix ``(m, m)``, with the dtype and device of ``like``."""
        if like is None:
            return torch.eye(self.matrix_size)
        return torch.eye(self.matrix_size, dtype=like.dtype, device=like.device)

    def compose(self, g: Tensor, h: Tensor) -> Tensor:
        """Product gh: the element that acts first by ``h``, then by ``g``."""
        self.check_element(g)
        self.check_element(h)
        return g @ h

    def bracket(self, a: Tensor, b: Tensor) -> Tensor:
        """Lie bracket [a, b] in coordinates, shape ``(*batch, dim)``."""
        x, y = self.hat(a), self.hat(b)
        return self.vee(x @ y - y @ x)

    # ---- input validation --------------------------------------------------------------------

    def check_element(self, g: Tensor) -> None:
        """Raise ValueError unless the last two axes have the size of the group's matrices."""
        m = self.matrix_size
        if g.shape[-2:] != (m, m):
            raise ValueError(
                f"{self} takes elements of shape (*batch, {m}, {m}); got {tuple(g.shape)}."
            )

    def check_tangent(self, a: Tensor) -> None:
        """Raise ValueError unless the last axis has the dimension of the algebra."""
        if a.ndim == 0 or a.shape[-1] != self.dim:
            raise ValueError(
                f"{self} takes algebra coordinates of shape (*batch, {self.dim}), in the order "
                f"{self.basis_labels}; got {tuple(a.shape)}."
            )


class HomogeneousSpace(HasFacts, RenamedMethods, ABC):
    """A space of points, a group that acts on it from the left, and a section of the action.

    Points are tensors ``(*batch, point_dim)``. Each orbit has a representative point; the
    ``section`` picks one element s(x) that moves the representative of x's orbit to x, and all
    such elements are s(x)h, with h in the ``stabilizer`` of the representative. On a transitive
    space there is one orbit, and its representative is the base point.

    A space is a frozen dataclass, like the groups.

    Attributes:
        group: The group that acts.
    """

    renamed_methods = {"turn": "embed_linear"}  # noqa: RUF012

    # ---- declare -----------------------------------------------------------------------------

    group: LieGroup

    @property
    @abstractmethod
    def point_dim(self) -> int:
        """Number of coordinates of a point."""

    @property
    @abstractmethod
    def stabilizer(self) -> LieGroup:
        """The subgroup that fixes the representative of a regular orbit."""

    @property
    def orbit_label_dim(self) -> int:
        """Number of coordinates that tell the orbits apart; 0 where there is one orbit."""
        return 0

    @property
    def is_isometric(self) -> bool:
        """Whether the group preserves the Euclidean distance of the point coordinates."""
        return False

    @property
    def has_singular_orbits(self) -> bool:
        """Whether some points, see ``is_singular``, have a larger stabilizer than the rest."""
        return False

    @property
    def section_cocycle_is_constant(self) -> bool:
        """Whether g s(x) = s(gx) c(g) with a c that is the same for every x.

        Then one random stabilizer element can serve all points of a cloud at once.
        """
        return False

    @property
    def linear(self) -> LieGroup | None:
        """The group of n × n matrices that acts linearly on ``vectors``; None where there is none.

        Frames and finite orbits are taken from it.
        """
        return None

    # ---- must implement ----------------------------------------------------------------------

    @abstractmethod
    def act(self, g: Tensor, x: Tensor) -> Tensor:
        """Move points.

        Args:
            g: Elements ``(*batch, m, m)``.
            x: Points ``(*batch, point_dim)``.

        Returns:
            The points gx ``(*batch, point_dim)``.
        """

    @abstractmethod
    def section(self, x: Tensor) -> Tensor:
        """An element that moves the representative of the orbit of ``x`` to ``x``.

        Args:
            x: Points ``(*batch, point_dim)``.

        Returns:
            Elements ``(*batch, m, m)``.
        """

    @abstractmethod
    def representative(self, x: Tensor) -> Tensor:
        """The representative of the orbit of each point, ``(*batch, point_dim)``."""

    @abstractmethod
    def embed(self, h: Tensor) -> Tensor:
        """Stabilizer elements as elements of the group, ``(*batch, m, m)``."""

    # ---- may override ------------------------------------------------------------------------

    def orbit_label(self, x: Tensor) -> Tensor:
        """Invariant coordinates ``(*batch, orbit_label_dim)`` of the orbit of each point."""
        return x.new_zeros(*x.shape[:-1], 0)

    def is_singular(self, x: Tensor) -> Tensor:
        """Whether each point, ``(*batch,)``, is fixed by the whole group."""
        return torch.zeros(x.shape[:-1], dtype=torch.bool, device=x.device)

    def nearest_point(self, x: Tensor) -> Tensor:
        """A point near any coordinates ``(*batch, point_dim)``; the identity map on the space.

        A space whose points are not all of Rⁿ overrides it.
        """
        return x

    def cocycle(self, g: Tensor, x: Tensor) -> Tensor:
        """The c(g, x) with g s(x) = s(gx) c(g, x), which fixes the representative of x's orbit.

        Args:
            g: Elements ``(*batch, m, m)``.
            x: Points ``(*batch, point_dim)``.

        Returns:
            Elements ``(*batch, m, m)``.
        """
        return self.group.relative(self.section(self.act(g, x)), g @ self.section(x))

    def embed_linear(self, a: Tensor) -> Tensor:
        """Elements of ``linear`` as elements of the group, ``(*batch, m, m)``."""
        raise NotImplementedError(f"{self} has no group of matrices that acts linearly.")

    def vectors(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Vectors that a cloud spans, on which the group acts through ``linear`` alone.

        Args:
            x: Clouds ``(*batch, points, point_dim)``.
            mask: Booleans ``(*batch, points)``, True for points that exist; all when absent.

        Returns:
            One or several vectors a point, ``(*batch, points, count, n)``, on which ``linear``
            acts by multiplication.
        """
        raise NotImplementedError(f"{self} has no group of matrices that acts on vectors.")

    # ---- derived -----------------------------------------------------------------------------

    def equivariance(self, sampler: SupportsEquivariance) -> Equivariance:
        """The kind of equivariance of the lift by a sampler, as the sampler states it."""
        return sampler.equivariance(self)

    # ---- input validation --------------------------------------------------------------------

    def check_points(self, x: Tensor) -> None:
        """Raise ValueError unless the last axis of ``x`` holds the coordinates of points."""
        if x.ndim == 0 or x.shape[-1] != self.point_dim:
            raise ValueError(
                f"{self} has points of shape (*batch, {self.point_dim}); got {tuple(x.shape)}."
            )


class SupportsEquivariance(Protocol):
    """The part of a sampler that a space uses: the equivariance of its lift."""

    def equivariance(self, space: HomogeneousSpace) -> Equivariance:
        """The kind of equivariance of the lift by this sampler on a space."""


@cached
def _basis(group: LieGroup, dtype: torch.dtype, device: torch.device) -> Tensor:
    return group.algebra_basis().to(dtype=dtype, device=device)


@cached
def _dual_basis(group: LieGroup, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Matrices D_i with ⟨D_i, E_j⟩ = δ_ij in the span of the basis E."""
    basis = group.algebra_basis()
    if group.dim == 0:
        return basis.to(dtype=dtype, device=device)
    flat = basis.flatten(1)
    dual = torch.linalg.solve(flat @ flat.T, flat)
    return dual.reshape(basis.shape).to(dtype=dtype, device=device)


@cached
def _brackets(group: LieGroup, device: torch.device) -> Tensor:
    return brackets(group.algebra_basis()).to(device)
