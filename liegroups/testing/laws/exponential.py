"""Laws of the exponential and the logarithm."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from liegroups.group import LieGroup
from liegroups.numerics import matrix_exp
from liegroups.testing.inputs import spectral_angle
from liegroups.testing.laws.algebra import adjoint_operator
from liegroups.testing.laws.law import (
    Elements,
    Number,
    Tangents,
    law,
    require_all,
    require_close,
    require_finite,
)
from liegroups.testing.tolerances import Kind, allowance, size


@law
def exp_of_zero_is_the_identity(group: LieGroup) -> None:
    """exp(0) = e, exactly."""
    for dtype in (torch.float32, torch.float64):
        zero = torch.zeros(group.dim, dtype=dtype)
        require_close(group.exp(zero), torch.eye(group.matrix_size, dtype=dtype), 0.0, 2)


@law
def exp_lands_in_the_group(group: LieGroup, a: Tangents) -> None:
    """exp(a) is an element."""
    require_all(group.contains(group.exp(a)), "contains(exp(a)) is False", a=a)


@law
def exp_agrees_with_its_default(group: LieGroup, a: Tangents) -> None:
    """exp(a) is the matrix exponential of hat(a)."""
    expected = LieGroup.exp(group, a.double())
    require_close(group.exp(a), expected.to(a.dtype), _rounding_of_exp(group, a), 2, a=a)


@law
def exp_is_a_one_parameter_subgroup(group: LieGroup, a: Tangents, s: Number, t: Number) -> None:
    """exp((s + t)a) = exp(sa) exp(ta)."""
    product = group.exp(s * a) @ group.exp(t * a)
    allowed = _rounding_of_exp(group, s * a) * size(group.exp(t * a), 2) + _rounding_of_exp(
        group, t * a
    ) * size(group.exp(s * a), 2)
    whole = group.exp((s + t) * a)
    require_close(whole, product, allowed + _rounding_of_exp(group, (s + t) * a), 2, a=a, s=s, t=t)


@law
def exp_of_minus_is_the_inverse(group: LieGroup, a: Tangents) -> None:
    """exp(-a) = exp(a)⁻¹."""
    g, inverse = group.exp(a), group.exp(-a)
    eye = torch.eye(group.matrix_size, dtype=g.dtype).expand(g.shape)
    allowed = _rounding_of_exp(group, a) * size(inverse, 2)
    allowed = allowed + _rounding_of_exp(group, -a) * size(g, 2)
    require_close(g @ inverse, eye, allowed, 2, a=a)


@law
def log_inverts_exp(group: LieGroup, a: Tangents) -> None:
    """log(exp(a)) = a where the eigenvalues of hat(a) have imaginary parts within (-π, π).

    There the exponential map of matrices is injective, so nothing else can be right. The
    allowed error grows with the condition number of the map, which is harmless for rotations
    and rigid motions up to and at the angle π.
    """
    inside = is_principal(group, a)
    safe = torch.where(inside[..., None], a, 0)
    allowed = rounding_of_log(group, safe)
    require_close(group.log(group.exp(safe)), safe, allowed, 1, a=safe)


@law
def exp_inverts_log(group: LieGroup, a: Tangents) -> None:
    """exp(log(g)) = g for every g = exp(a), however large a is.

    Unless exp(a) is singular to rounding, in a group that is not compact.
    """
    a = torch.where(_is_invertible(group, a)[..., None], a, 0)
    g = group.exp(a)
    b = group.log(g)
    require_finite(b, "log(exp(a))", 1, a=a)
    allowed = _rounding_of_exp_of_log(group, b) + _rounding_of_exp(group, a)
    require_close(group.exp(b), g, allowed, 2, a=a)


@law
def log_is_right_where_defined(group: LieGroup, g: Elements) -> None:
    """exp(log(g)) = g for every element in the range of exp, unless log raises ValueError.

    Where exp is not onto, ``in_range_of_exp`` tells where it has values.
    """
    try:
        b = group.log(g)
    except ValueError:
        return
    defined = group.in_range_of_exp(g) & b.isfinite().all(-1)
    b = torch.where(defined[..., None], b, 0)
    expected = torch.where(defined[..., None, None], g, torch.eye(g.shape[-1], dtype=g.dtype))
    # Near elements without a logarithm it has no more digits than its condition leaves.
    allowed = _rounding_of_exp_of_log(group, b) * condition_of_log(group, b)
    require_close(group.exp(b), expected, allowed, 2, g=g)


@law
def log_is_defined_on_the_range_of_exp(group: LieGroup, a: Tangents, g: Elements) -> None:
    """in_range_of_exp is True for exp(a), and elsewhere exactly where log is a number.

    A group of dimension zero has no coordinate to be a number or not.
    """
    inside = group.in_range_of_exp(group.exp(a)) | ~_is_invertible(group, a)
    require_all(inside, "in_range_of_exp(exp(a)) is False", a=a)
    if group.dim == 0:
        return
    try:
        defined = group.log(g).isfinite().all(-1)
    except ValueError:
        return
    claimed = group.in_range_of_exp(g)
    require_all(claimed == defined, "in_range_of_exp(g) is not where log(g) is a number", g=g)


def is_principal(group: LieGroup, a: Tensor) -> Tensor:
    """Whether log must return these very coordinates: the spectral angle is below π.

    A margin is left, of a few roundings, since exp(a) may round to an element beyond, and for
    the eigenvalues themselves. Where exp(a) and its inverse are large, so are the roundings.
    """
    there, back = (LieGroup.exp(group, x) for x in (a.detach().double(), -a.detach().double()))
    margin = 4 * torch.finfo(a.dtype).eps * size(there, 2) * size(back, 2) + 1e-12
    return spectral_angle(group, a) < math.pi - margin


def rounding_of_log(group: LieGroup, a: Tensor) -> Tensor:
    """Error to accept in log(exp(a)): a few roundings of exp(a), and what they become.

    A relative error δ of exp(a) moves the logarithm by φ(ad a)⁻¹δ; see `condition_of_log`.
    """
    if group.dim == 0:
        return torch.zeros(a.shape[:-1], dtype=torch.float64)
    back = size(LieGroup.exp(group, -a.detach().double()), 2)
    return condition_of_log(group, a) * back * _rounding_of_exp(group, a)


def condition_of_log(group: LieGroup, a: Tensor) -> Tensor:
    """Norm of φ(ad a)⁻¹, φ(z) = (1 - e⁻ᶻ)/z, at least one: the derivative of log at exp(a).

    It is infinite where exp is not one to one nearby: for two planes that both turn by π.
    """
    if group.dim == 0:
        return torch.ones(a.shape[:-1], dtype=torch.float64)
    inverse, info = torch.linalg.inv_ex(_differential_of_exp(group, a))
    norm = torch.linalg.matrix_norm(inverse, torch.inf).clamp(min=1)
    return torch.where(info == 0, norm, torch.inf)


def _differential_of_exp(group: LieGroup, a: Tensor) -> Tensor:
    """φ(ad a), φ(z) = (1 - e⁻ᶻ)/z: what a change of a becomes, at the identity."""
    ad = adjoint_operator(group, a)
    n = group.dim
    eye = torch.eye(n, dtype=torch.float64).expand(ad.shape)
    block = torch.nn.functional.pad(torch.cat((-ad, eye), -1), (0, 0, 0, n))
    return matrix_exp(block)[..., :n, n:]


def _is_invertible(group: LieGroup, a: Tensor) -> Tensor:
    """Whether exp(a), rounded, is far from singular matrices."""
    condition = size(LieGroup.exp(group, a.double()), 2) * size(LieGroup.exp(group, -a.double()), 2)
    return allowance(Kind.TRANSCENDENTAL, a.dtype, condition * size(a, 1)) < 1


def _rounding_of_exp(group: LieGroup, a: Tensor) -> Tensor:
    """Error to accept in exp(a): roundings of a number as large as a and exp(a)."""
    g = LieGroup.exp(group, a.detach().double())
    return allowance(Kind.TRANSCENDENTAL, a.dtype, size(a, 1) * size(g, 2))


def _rounding_of_exp_of_log(group: LieGroup, b: Tensor) -> Tensor:
    """Error to accept in exp(b), where b is the logarithm of a rounded element.

    The element may lie off the group by a few roundings, which its inverse magnifies; those of b
    itself grow by φ(ad b), which is large near the elements that have no logarithm.
    """
    back = size(group.exp(-b), 2)
    if group.dim > 0:
        growth = torch.linalg.matrix_norm(_differential_of_exp(group, b), torch.inf)
        back = torch.maximum(back, growth.nan_to_num(torch.inf).to(back))
    return _rounding_of_exp(group, b) * back


EXPONENTIAL_LAWS = (
    exp_of_zero_is_the_identity,
    exp_lands_in_the_group,
    exp_agrees_with_its_default,
    exp_is_a_one_parameter_subgroup,
    exp_of_minus_is_the_inverse,
    log_inverts_exp,
    exp_inverts_log,
    log_is_right_where_defined,
    log_is_defined_on_the_range_of_exp,
)
