"""Finite groups of matrices, and the closure of a set of generators."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from liegroups.compiling import cached
from liegroups.facts import once
from liegroups.group import LieGroup

_SAME = 1e-6


class FiniteGroup(LieGroup):
    """A finite group of m × m matrices: a Lie group of dimension zero.

    Its algebra is {0}, so tangents have shape ``(*batch, 0)``, ``exp`` gives the identity, and
    ``log`` has no coordinate to give. So ``in_range_of_exp`` is True for the identity alone.

    A subclass declares ``matrix_size`` and implements ``elements``.
    """

    @abstractmethod
    def elements(self) -> Tensor:
        """All elements ``(order, m, m)`` in float64 on the CPU, the identity first."""

    @property
    @once
    def order(self) -> int:
        """Number of elements."""
        return len(_elements(self))

    @property
    def dim(self) -> int:
        return 0

    @property
    @once
    def is_trivial(self) -> bool:
        return self.order == 1

    @property
    def basis_labels(self) -> tuple[str, ...]:
        return ()

    @property
    def is_compact(self) -> bool:
        return True

    @property
    @once
    def is_abelian(self) -> bool:
        g = _elements(self)
        products = g[:, None] @ g[None]
        return bool((products - products.transpose(0, 1)).abs().amax() < _SAME * _scale(g))

    @property
    @once
    def is_orthogonal(self) -> bool:
        g = _elements(self)
        return bool((g.mT @ g - torch.eye(self.matrix_size, dtype=g.dtype)).abs().amax() < _SAME)

    def algebra_basis(self) -> Tensor:
        return torch.zeros(0, self.matrix_size, self.matrix_size, dtype=torch.float64)

    def exp(self, a: Tensor) -> Tensor:
        self.check_tangent(a)
        return self.identity(a).expand(*a.shape[:-1], self.matrix_size, self.matrix_size)

    def log(self, g: Tensor) -> Tensor:
        """No coordinates, shape ``(*batch, 0)``."""
        self.check_element(g)
        return g.new_zeros(*g.shape[:-2], 0)

    def in_range_of_exp(self, g: Tensor) -> Tensor:
        """Whether elements are the identity."""
        self.check_element(g)
        return (g - self.identity(g)).abs().amax((-1, -2)) < torch.finfo(g.dtype).eps ** 0.5

    def project(self, x: Tensor) -> Tensor:
        """The nearest element in the Frobenius norm."""
        return _elements(self).to(x)[self.index(x)]

    def index(self, g: Tensor) -> Tensor:
        """Places ``(*batch,)`` of the nearest elements in ``elements()``."""
        self.check_element(g)
        difference = g[..., None, :, :] - _elements(self).to(g)
        return (difference * difference).sum((-1, -2)).argmin(-1)

    def sample(
        self,
        shape: Sequence[int] = (),
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """Haar measure: each element with the same probability."""
        dtype = torch.get_default_dtype() if dtype is None else dtype
        drawn = torch.randint(self.order, tuple(shape), generator=generator, device=device)
        return _elements(self).to(dtype=dtype, device=drawn.device)[drawn]


@dataclass(frozen=True)
class FiniteSubgroup(FiniteGroup):
    """The finite group that some matrices generate; `finite_subgroup` makes it from tensors.

    Args:
        generators: Matrices as nested tuples of numbers.
        max_order: Largest order to accept.

    Raises:
        ValueError: If the matrices are not square, invertible and of one size, or if they have
            not closed by ``max_order`` elements.

    Example:
        >>> FiniteSubgroup((((0.0, -1.0), (1.0, 0.0)),)).order
        4
    """

    generators: tuple[tuple[tuple[float, ...], ...], ...]
    max_order: int = 1000

    def __post_init__(self) -> None:
        # Lists, as a configuration file has them, are no part of a value that can be hashed.
        frozen = tuple(tuple(tuple(map(float, row)) for row in g) for g in self.generators)
        object.__setattr__(self, "generators", frozen)
        sizes = {len(g) for g in frozen} | {len(row) for g in frozen for row in g}
        if len(sizes) != 1:
            raise ValueError(
                "generators of a finite group are square matrices of one size, at least one; "
                f"got shapes {[(len(g), *{len(row) for row in g}) for g in frozen]}."
            )
        _elements(self)

    @property
    @once
    def matrix_size(self) -> int:
        return len(self.generators[0])

    def elements(self) -> Tensor:
        return _closure(torch.tensor(self.generators, dtype=torch.float64), self.max_order)


def finite_subgroup(
    generators: Tensor | Sequence[Tensor], *, max_order: int = 1000
) -> FiniteSubgroup:
    """The group that matrices generate under multiplication, if it is finite.

    Args:
        generators: Matrices ``(count, m, m)``, or a sequence of matrices ``(m, m)``.
        max_order: Largest order to accept.

    Returns:
        The group.

    Raises:
        ValueError: If the matrices are not square, invertible and of one size, or if they have
            not closed by ``max_order`` elements.

    Example:
        >>> import torch
        >>> swap = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
        >>> flip = torch.tensor([[-1.0, 0.0], [0.0, 1.0]])
        >>> finite_subgroup([swap, flip]).order
        8
    """
    rows = tuple(tuple(map(tuple, g.double().tolist())) for g in generators)
    return FiniteSubgroup(rows, max_order)


@cached
def _elements(group: FiniteGroup) -> Tensor:
    return group.elements()


def _scale(g: Tensor) -> float:
    return max(1.0, g.abs().amax().item())


def _closure(generators: Tensor, max_order: int) -> Tensor:
    """All products of the generators, breadth first from the identity."""
    m = generators.shape[-1]
    if not generators.isfinite().all() or (torch.linalg.det(generators).abs() < _SAME).any():
        raise ValueError("generators of a group are finite and invertible matrices; got others.")
    found = torch.eye(m, dtype=torch.float64)[None]
    fresh = found
    while len(fresh):
        products = (fresh[:, None] @ generators[None]).flatten(0, 1)
        new: list[Tensor] = []
        for g in products:
            known = torch.stack((*found, *new))
            if (known - g).abs().amax((-1, -2)).amin() > _SAME * _scale(g):
                new.append(g)
            if len(found) + len(new) > max_order:
                raise ValueError(
                    f"the {len(generators)} generators do not close within {max_order} elements: "
                    "the group that they generate is infinite, or larger than max_order."
                )
        fresh = torch.stack(new) if new else found[:0]
        found = torch.cat((found, fresh))
    return found
