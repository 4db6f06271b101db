"""Hypothesis strategies for elements, tangents, points and clouds.

They draw integer seeds and special values, never from torch's own generator, and compose like
any others. A failing example shrinks to float64, one row, the first basis direction and the
angle 1, as far as the failure lasts.

Example:
    >>> from hypothesis import given
    >>> from liegroups import SE3
    >>> group = SE3()
    >>> @given(tangents(group))
    ... def exp_stays_in_the_group(a):
    ...     assert group.contains(group.exp(a)).all()
    >>> exp_stays_in_the_group()
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from liegroups.group import LieGroup
from liegroups.spaces import HomogeneousSpace
from liegroups.testing import inputs as given
from liegroups.testing.laws.law import Law, Role, roles

__all__ = ["batches", "clouds", "dtypes", "elements", "points", "tangents"]

_SEEDS = st.integers(0, 2**32 - 1)
_CUT_ANGLES = tuple(angle for angle in given.ANGLES if angle <= 4)
_DTYPES = st.sampled_from((torch.float64, torch.float32))
_BATCHES: st.SearchStrategy[tuple[int, ...]] = st.sampled_from(((), (3,), (2, 2)))
_NUMBERS = st.sampled_from((1.0, 0.0, -1.0, 0.5, -1.75, 1e-6))
_ANGLES = st.sampled_from(given.ANGLES)
_ELEMENT_ANGLES = st.sampled_from((*_CUT_ANGLES, None, None, None))
_POINT_KINDS = st.sampled_from(given.POINT_KINDS)
_CLOUD_KINDS = st.sampled_from(given.CLOUD_KINDS)
_COUNTS = st.integers(2, 5)


def dtypes() -> st.SearchStrategy[torch.dtype]:
    """The floating types that the numerics are promised for."""
    return _DTYPES


def batches() -> st.SearchStrategy[tuple[int, ...]]:
    """Batch shapes."""
    return _BATCHES


def tangents(
    group: LieGroup,
    *,
    batch: Sequence[int] = (),
    dtype: torch.dtype = torch.float64,
    angles: Sequence[float] = given.ANGLES,
) -> st.SearchStrategy[Tensor]:
    """Algebra coordinates of special spectral angles, in basis directions and random ones.

    Args:
        group: The group.
        batch: Batch shape.
        dtype: Floating type.
        angles: Spectral angles to choose from, in rad; the simplest first.

    Returns:
        A strategy of tangents ``(*batch, dim)``.
    """
    return st.builds(
        given.tangent,
        st.just(group),
        _SEEDS,
        st.sampled_from(tuple(angles)),
        st.just(tuple(batch)),
        st.just(dtype),
    )


def elements(
    group: LieGroup,
    *,
    batch: Sequence[int] = (),
    dtype: torch.dtype = torch.float64,
    angles: Sequence[float] = _CUT_ANGLES,
) -> st.SearchStrategy[Tensor]:
    """Exponentials of `tangents`, the identity among them, and the group's own samples.

    Args:
        group: The group.
        batch: Batch shape.
        dtype: Floating type.
        angles: Spectral angles to choose from, in rad; the simplest first.

    Returns:
        A strategy of elements ``(*batch, m, m)``.
    """
    return st.builds(
        given.element,
        st.just(group),
        _SEEDS,
        st.sampled_from((*angles, None, None, None)),
        st.just(tuple(batch)),
        st.just(dtype),
    )


def points(
    space: HomogeneousSpace, *, batch: Sequence[int] = (), dtype: torch.dtype = torch.float64
) -> st.SearchStrategy[Tensor]:
    """Points: generic, the origin, on the half-axes and just off them.

    Args:
        space: The space; see `given.point` for one whose points are not all of Rⁿ.
        batch: Batch shape.
        dtype: Floating type.

    Returns:
        A strategy of points ``(*batch, point_dim)``.
    """
    return st.builds(
        given.point,
        st.just(space),
        _SEEDS,
        _POINT_KINDS,
        st.just(tuple(batch)),
        st.just(dtype),
    )


def clouds(
    space: HomogeneousSpace, *, batch: Sequence[int] = (), dtype: torch.dtype = torch.float64
) -> st.SearchStrategy[Tensor]:
    """Clouds of one to five points: generic, coincident, collinear, planar, all at the origin.

    Args:
        space: The space.
        batch: Batch shape.
        dtype: Floating type.

    Returns:
        A strategy of clouds ``(*batch, points, point_dim)``.
    """
    return st.builds(
        given.cloud,
        st.just(space),
        _SEEDS,
        _CLOUD_KINDS,
        _COUNTS,
        st.just(tuple(batch)),
        st.just(dtype),
    )


@st.composite
def law_inputs(
    draw: st.DrawFn, law: Law, group: LieGroup, space: HomogeneousSpace | None = None
) -> dict[str, Any]:
    """Inputs of a law by name, all of one dtype and one batch shape.

    Args:
        draw: Given by Hypothesis.
        law: The law.
        group: Where elements and tangents come from.
        space: Where points, clouds and stabilizer elements come from.

    Returns:
        A strategy of keyword arguments.
    """
    # The strategies above, drawn from without building one anew for each input.
    like: dict[str, Any] = {"dtype": draw(_DTYPES), "batch": draw(_BATCHES)}
    inputs: dict[str, Any] = {}
    for name, role in roles(law).items():
        if role is Role.NUMBER:
            inputs[name] = draw(_NUMBERS)
            continue
        seed = draw(_SEEDS)
        match role:
            case Role.TANGENT:
                inputs[name] = given.tangent(group, seed, draw(_ANGLES), **like)
            case Role.ELEMENT:
                inputs[name] = given.element(group, seed, draw(_ELEMENT_ANGLES), **like)
            case _ if space is None:
                raise _needs_space(role)
            case Role.STABILIZER:
                angle = draw(_ELEMENT_ANGLES)
                inputs[name] = given.element(space.stabilizer, seed, angle, **like)
            case Role.POINT:
                inputs[name] = given.point(space, seed, draw(_POINT_KINDS), **like)
            case Role.CLOUD:
                kind, count = draw(_CLOUD_KINDS), draw(_COUNTS)
                inputs[name] = given.cloud(space, seed, kind, count, **like)
    return inputs


def generic_inputs(
    law: Law, group: LieGroup, space: HomogeneousSpace | None = None
) -> dict[str, Any]:
    """One set of unremarkable inputs for a law that is run once, float64, batches of two.

    Args:
        law: The law.
        group: Where elements and tangents come from.
        space: Where points, clouds and stabilizer elements come from.

    Returns:
        Keyword arguments.
    """
    inputs: dict[str, Any] = {}
    for seed, (name, role) in enumerate(roles(law).items(), start=1000):
        match role:
            case Role.NUMBER:
                inputs[name] = 0.5
            case Role.TANGENT:
                inputs[name] = given.tangent(group, seed, 1.0, (2,))
            case Role.ELEMENT:
                inputs[name] = given.element(group, seed, 1.0, (2,))
            case _ if space is None:
                raise _needs_space(role)
            case Role.STABILIZER:
                inputs[name] = given.element(space.stabilizer, seed, 1.0, (2,))
            case Role.POINT:
                inputs[name] = given.point(space, seed, "generic", (2,))
            case Role.CLOUD:
                inputs[name] = given.cloud(space, seed, "generic", 3)
    return inputs


def _needs_space(role: Role) -> TypeError:
    return TypeError(f"a law with a {role.value} among its inputs is about a space.")
