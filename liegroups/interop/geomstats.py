"""The matrix Lie groups of geomstats as ours, and ours as theirs.

It needs the extra ``geomstats``, which asks for numpy below 2.4, and works with the numpy
backend of geomstats only: to select another one changes torch's default dtype.

Elements are the same matrices on both sides, points in the words of geomstats, and
``elements_from_numpy`` and ``elements_to_numpy`` carry them over. Tangents there are matrices,
which ``hat`` makes of our coordinates and ``vee`` turns into them; geomstats orders the basis of
an algebra in ways of its own.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.metadata import version
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from liegroups.affine import AffineGroup
from liegroups.general_linear import GeneralLinear
from liegroups.group import LieGroup
from liegroups.rotation import RotationGroup
from liegroups.special_euclidean import SE
from liegroups.special_orthogonal import SO

__all__ = [
    "GeneratedGroup",
    "elements_from_numpy",
    "elements_to_numpy",
    "from_geomstats",
    "to_geomstats",
]

_CLOSED = 1e-9
_MODULES = (
    "general_linear",
    "lie_algebra",
    "lie_group",
    "special_euclidean",
    "special_orthogonal",
)


def from_geomstats(group: Any) -> LieGroup:
    """Our group of a matrix Lie group of geomstats.

    Args:
        group: ``SpecialOrthogonal(n)``, ``SpecialEuclidean(n)`` with matrices for points,
            ``GeneralLinear(n, positive_det=True)``, a result of `to_geomstats`, or any other
            ``MatrixLieGroup`` that is connected, not compact, and has a ``lie_algebra``.

    Returns:
        ``SO(n)``, ``SE(n)`` or ``GeneralLinear(n)`` with their closed forms; the group that
        `to_geomstats` was given; else a `GeneratedGroup`.

    Raises:
        TypeError: If it is not a matrix Lie group, such as one with vectors for points.
        ValueError: If it is in two pieces, has no Lie algebra, or is a compact group that we
            do not know how to draw from.
        ImportError: If geomstats, or its backend, cannot be used.

    Example:
        >>> from geomstats.geometry.special_euclidean import SpecialEuclidean  # doctest: +SKIP
        >>> from_geomstats(SpecialEuclidean(3))  # doctest: +SKIP
        SE3()
    """
    library = _library()
    if isinstance(ours := getattr(group, "ours", None), LieGroup):
        return ours
    if not isinstance(group, library.lie_group.MatrixLieGroup):
        raise TypeError(
            "from_geomstats takes a geomstats MatrixLieGroup, such as "
            f'SpecialOrthogonal(3, point_type="matrix"); got {type(group).__name__}.'
        )
    if isinstance(group, type(library.special_orthogonal.SpecialOrthogonal(2, equip=False))):
        return SO(group.n)
    if isinstance(group, type(library.special_euclidean.SpecialEuclidean(2, equip=False))):
        return SE(group.n)
    if isinstance(group, library.general_linear.GeneralLinear):
        if not group.positive_det:
            raise ValueError(
                "from_geomstats: GL(n) is in two pieces; take GeneralLinear(n, positive_det=True)."
            )
        return GeneralLinear(group.n)
    name = type(group).__name__
    if group.lie_algebra is None:
        raise ValueError(f"from_geomstats: {name} has no lie_algebra to take a basis from.")
    basis = tuple(tuple(map(tuple, x)) for x in group.lie_algebra.basis.tolist())
    return GeneratedGroup(name, basis)


def to_geomstats(group: LieGroup) -> Any:
    """The geomstats group of one of ours, without a metric.

    Args:
        group: The group.

    Returns:
        ``SpecialOrthogonal(n)`` or ``SpecialEuclidean(n)`` with matrices for points where the
        group is one of these; else a ``MatrixLieGroup`` that computes in float64 with ours,
        which its attribute ``ours`` holds.

    Raises:
        ImportError: If geomstats, or its backend, cannot be used.
    """
    library = _library()
    if isinstance(group, RotationGroup):
        return library.special_orthogonal.SpecialOrthogonal(group.matrix_size, equip=False)
    if isinstance(group, AffineGroup) and isinstance(group.linear, RotationGroup):
        return library.special_euclidean.SpecialEuclidean(group.space_dim, equip=False)
    return _exported_class()(group)


def elements_to_numpy(g: Tensor) -> Any:
    """Elements, or other matrices, as a numpy array in float64, detached from the graph.

    Args:
        g: Elements ``(*batch, m, m)``.

    Returns:
        An array of the same shape.
    """
    return g.detach().cpu().double().numpy()


def elements_from_numpy(
    points: Any, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
) -> Tensor:
    """Elements, or other matrices, from a numpy array.

    Args:
        points: Array ``(*batch, m, m)``.
        dtype: Floating type; that of the array when absent.
        device: Where the result lives.

    Returns:
        A tensor of the same shape, which shares no memory with the array.
    """
    return torch.tensor(points, dtype=dtype, device=device)


@dataclass(frozen=True)
class GeneratedGroup(LieGroup):
    """A connected group of matrices that geomstats gives by a basis of its Lie algebra.

    ``exp`` and ``log`` are the defaults. What lies in the group is known as far as ``exp``
    reaches: beyond that ``log`` is NaN and ``contains`` False.

    Args:
        name: The name of the group.
        basis: The matrices of the basis, row by row.

    Raises:
        ValueError: If the basis is not one of a Lie algebra, or generates a compact group, whose
            Haar measure could not be drawn from.
    """

    name: str
    basis: tuple[tuple[tuple[float, ...], ...], ...]

    def __post_init__(self) -> None:
        e = self.algebra_basis()
        if (
            e.ndim != 3
            or e.shape[1] != e.shape[2]
            or torch.linalg.matrix_rank(e.flatten(1)) < len(e)
        ):
            raise ValueError(f"{self.name}: the basis is not one of square matrices.")
        brackets = self._brackets()
        if (self.hat(self.vee(brackets)) - brackets).abs().amax() > _CLOSED * e.abs().amax() ** 2:
            raise ValueError(f"{self.name}: the span of the basis is not closed under brackets.")
        if (e + e.mT).abs().amax() <= _CLOSED:
            raise ValueError(
                f"{self.name} is a group of rotations other than SO(n): its Haar measure is not "
                "known. Write a LieGroup with a sampler for it."
            )

    def __repr__(self) -> str:
        return f"GeneratedGroup({self.name!r}, dim={self.dim})"

    @property
    def dim(self) -> int:
        return len(self.basis)

    @property
    def matrix_size(self) -> int:
        return len(self.basis[0])

    @property
    def basis_labels(self) -> tuple[str, ...]:
        return tuple(f"e{i + 1}" for i in range(self.dim))

    @property
    def is_compact(self) -> bool:
        return False

    @property
    def is_abelian(self) -> bool:
        return bool((self._brackets().abs() <= _CLOSED).all())

    def algebra_basis(self) -> Tensor:
        return torch.tensor(self.basis, dtype=torch.float64)

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
        """A proposal: exponentials of standard normal coordinates."""
        a = torch.randn((*shape, self.dim), generator=generator, dtype=dtype, device=device)
        return self.exp(a)

    def _brackets(self) -> Tensor:
        e = self.algebra_basis()
        return e[:, None] @ e - e @ e[:, None]


# ---- geomstats itself ------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _library() -> ModuleType:
    """``geomstats.geometry``, once it is sure that nothing global changes by importing it."""
    loaded = sys.modules.get("geomstats.backend")
    backend = getattr(loaded, "__name__", None) or os.environ.get("GEOMSTATS_BACKEND", "numpy")
    if backend.removeprefix("geomstats.") != "numpy":
        raise ImportError(
            f"liegroups.interop.geomstats works with the numpy backend of geomstats, not with "
            f"{backend.removeprefix('geomstats.')}: unset GEOMSTATS_BACKEND, or set it to numpy."
        )
    # geomstats sets the level of the root logger when it is imported.
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    try:
        for name in _MODULES:
            import_module(f"geomstats.geometry.{name}")
    except Exception as error:
        raise ImportError(
            "liegroups.interop.geomstats needs geomstats and numpy below 2.4 (here it is "
            f"{version('numpy')}): pip install 'lie-attention[geomstats]'."
        ) from error
    finally:
        root.setLevel(level)
        root.handlers[:] = handlers
    return import_module("geomstats.geometry")


@lru_cache(maxsize=1)
def _exported_class() -> type:
    library = _library()

    class ExportedAlgebra(library.lie_algebra.MatrixLieAlgebra):  # type: ignore[name-defined]
        """The Lie algebra of one of our groups."""

        def __init__(self, ours: LieGroup) -> None:
            self.ours = ours
            super().__init__(representation_dim=ours.matrix_size, dim=ours.dim, equip=False)

        def _create_basis(self) -> Any:
            return elements_to_numpy(self.ours.algebra_basis())

        def basis_representation(self, matrix_representation: Any) -> Any:
            return elements_to_numpy(self.ours.vee(_doubles(matrix_representation)))

        def projection(self, point: Any) -> Any:
            return elements_to_numpy(self.ours.hat(self.ours.vee(_doubles(point))))

        def belongs(self, point: Any, atol: float = 1e-12) -> Any:
            return abs(self.projection(point) - point).max((-1, -2)) <= atol

    class ExportedGroup(library.lie_group.MatrixLieGroup):  # type: ignore[name-defined]
        """One of our groups, for geomstats; ``ours`` is the group that does the work."""

        def __init__(self, ours: LieGroup) -> None:
            self.ours = ours
            super().__init__(
                representation_dim=ours.matrix_size,
                dim=ours.dim,
                lie_algebra=ExportedAlgebra(ours),
                equip=False,
            )

        def belongs(self, point: Any, atol: float = 1e-12) -> Any:
            return self.ours.contains(_doubles(point), atol).numpy()

        def projection(self, point: Any) -> Any:
            return elements_to_numpy(self.ours.project(_doubles(point)))

        def random_point(self, n_samples: int = 1, bound: float = 1.0) -> Any:
            """As `LieGroup.sample` draws; the seed is drawn from numpy, as geomstats does."""
            import geomstats.backend as gs

            generator = torch.Generator().manual_seed(int(gs.random.randint(0, 2**31 - 1)))
            shape = (n_samples,) if n_samples > 1 else ()
            return elements_to_numpy(
                self.ours.sample(shape, generator=generator, dtype=torch.float64)
            )

        def inverse(self, point: Any) -> Any:
            return elements_to_numpy(self.ours.inverse(_doubles(point)))

        def exp(self, tangent_vec: Any, base_point: Any = None) -> Any:
            x = _doubles(tangent_vec)
            if base_point is None:
                return elements_to_numpy(self.ours.exp(self.ours.vee(x)))
            g = _doubles(base_point)
            return elements_to_numpy(g @ self.ours.exp(self.ours.vee(self.ours.inverse(g) @ x)))

        def log(self, point: Any, base_point: Any = None) -> Any:
            h = _doubles(point)
            if base_point is None:
                return elements_to_numpy(self.ours.hat(self.ours.log(h)))
            g = _doubles(base_point)
            return elements_to_numpy(g @ self.ours.hat(self.ours.relative_log(g, h)))

    return ExportedGroup


def _doubles(x: Any) -> Tensor:
    return torch.as_tensor(x, dtype=torch.float64)
