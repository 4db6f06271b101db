"""Laws of composition, inverse, relative pose, adjoint, projection and membership."""

from __future__ import annotations

import torch
from torch import Tensor

from liegroups.group import LieGroup
from liegroups.testing.laws.algebra import adjoint_operator
from liegroups.testing.laws.calculus import gradients
from liegroups.testing.laws.law import Elements, Tangents, law, require_all, require_close
from liegroups.testing.tolerances import FAR_FROM_GROUP, Kind, allowance, size


@law
def composition_is_associative(group: LieGroup, g: Elements, h: Elements, k: Elements) -> None:
    """(gh)k = g(hk)."""
    left = group.compose(group.compose(g, h), k)
    right = group.compose(g, group.compose(h, k))
    require_close(left, right, _rounding(g, h, k), 2, g=g, h=h, k=k)


@law
def composition_is_the_matrix_product(group: LieGroup, g: Elements, h: Elements) -> None:
    """Gh is the product of the matrices, and an element."""
    product = group.compose(g, h)
    require_close(product, g @ h, _rounding(g, h), 2, g=g, h=h)
    require_all(group.contains(product), "contains(gh) is False", g=g, h=h)


@law
def identity_is_neutral(group: LieGroup, g: Elements) -> None:
    """E g = g e = g."""
    e = group.identity(g).expand(g.shape)
    require_close(group.compose(e, g), g, _rounding(g), 2, "eg", g=g)
    require_close(group.compose(g, e), g, _rounding(g), 2, "ge", g=g)
    require_all(group.contains(e), "contains(e) is False")


@law
def inverse_is_the_inverse(group: LieGroup, g: Elements) -> None:
    """g⁻¹g = g g⁻¹ = e."""
    inverse = group.inverse(g)
    e = torch.eye(group.matrix_size, dtype=g.dtype).expand(g.shape)
    allowed = _rounding(g, LieGroup.inverse(group, g))
    require_close(inverse @ g, e, allowed, 2, "g⁻¹g", g=g)
    require_close(g @ inverse, e, allowed, 2, "g g⁻¹", g=g)
    require_all(group.contains(inverse), "contains(g⁻¹) is False", g=g)


@law
def relative_is_the_pose(group: LieGroup, g: Elements, h: Elements) -> None:
    """relative(g, h) = g⁻¹h."""
    inverse = LieGroup.inverse(group, g)
    require_close(group.relative(g, h), inverse @ h, _rounding(g, inverse, h), 2, g=g, h=h)


@law
def relative_is_left_invariant(group: LieGroup, g: Elements, h: Elements, k: Elements) -> None:
    """relative(kg, kh) = relative(g, h)."""
    # Twice: for the rounding errors of the inverse, and for what they are multiplied with.
    factors = (g, LieGroup.inverse(group, g), k, LieGroup.inverse(group, k))
    allowed = _rounding(*factors, *factors, h)
    require_close(group.relative(k @ g, k @ h), group.relative(g, h), allowed, 2, g=g, h=h, k=k)


@law
def relative_log_is_the_log_of_relative(group: LieGroup, g: Elements, a: Tangents) -> None:
    """exp(relative_log(g, h)) = g⁻¹h, for h = g exp(a); and log(g⁻¹h) is the same tangent."""
    h = g @ LieGroup.exp(group, a)
    pose = LieGroup.inverse(group, g) @ h
    b = group.relative_log(g, h)
    inverse = LieGroup.inverse(group, g)
    back = size(LieGroup.exp(group, -b.double()), 2) * size(b, 1)
    allowed = back * _rounding(g, inverse, h) * _TRANSCENDENTAL
    require_close(group.exp(b), pose, allowed, 2, g=g, a=a)
    small = size(a, 1) <= 1  # Farther out two logarithms may be right, on either side of the cut.
    b, c = (torch.where(small[..., None], x, 0) for x in (b, group.log(group.relative(g, h))))
    require_close(b, c, 4 * allowed, 1, "log(relative(g, h))", g=g, a=a)


@law
def adjoint_is_conjugation(group: LieGroup, g: Elements, a: Tangents) -> None:
    """exp(Ad(g) a) = g exp(a) g⁻¹."""
    inverse = LieGroup.inverse(group, g)
    b = (group.adjoint(g) @ a[..., None])[..., 0]
    conjugated = g @ LieGroup.exp(group, a) @ inverse
    scale = size(a, 1) * size(b, 1) * _TRANSCENDENTAL * size(LieGroup.exp(group, a), 2)
    # Twice: for the rounding errors of b, and for what the exponential makes of them.
    allowed = scale * _rounding(g, inverse, g, inverse)
    require_close(group.exp(b), conjugated, allowed, 2, g=g, a=a)


@law
def adjoint_agrees_with_its_default(group: LieGroup, g: Elements) -> None:
    """The columns of Ad(g) are vee(g Eᵢ g⁻¹)."""
    allowed = _rounding(g, LieGroup.inverse(group, g))
    require_close(group.adjoint(g), LieGroup.adjoint(group, g), allowed, 2, g=g)


@law
def adjoint_is_a_homomorphism(group: LieGroup, g: Elements, h: Elements) -> None:
    """Ad(gh) = Ad(g) Ad(h)."""
    # Twice: for the rounding errors of the inverse, and for what they are multiplied with.
    factors = (g, LieGroup.inverse(group, g), h, LieGroup.inverse(group, h))
    allowed = _rounding(*factors, *factors)
    require_close(group.adjoint(g @ h), group.adjoint(g) @ group.adjoint(h), allowed, 2, g=g, h=h)


@law
def adjoint_is_generated_by_the_bracket(group: LieGroup, a: Tangents, b: Tangents) -> None:
    """The derivative of Ad(exp(ta)) b at t = 0 is [a, b]."""
    t = torch.zeros((), dtype=a.dtype, requires_grad=True)
    moved = (group.adjoint(LieGroup.exp(group, t * a)) @ b[..., None])[..., 0]
    derivative = _derivative(moved, t)
    expected = (adjoint_operator(group, a) @ b.double()[..., None])[..., 0].to(a.dtype)
    allowed = allowance(Kind.DERIVATIVE, a.dtype, size(a, 1) * size(b, 1))
    require_close(derivative, expected, allowed, 1, a=a, b=b)


@law
def contains_accepts_members(group: LieGroup, g: Elements) -> None:
    """contains(g) for every element, in either precision."""
    require_all(group.contains(g), "contains(g) is False", g=g)


@law
def contains_rejects_outsiders(group: LieGroup, g: Elements) -> None:
    """contains(x) is False for a matrix clearly off the group, or with an entry that is NaN.

    The matrix is g(1 + N), with N small and orthogonal to the algebra.
    """
    m = group.matrix_size
    normal = _normal_matrix(group)
    if normal is not None:
        outside = g @ (torch.eye(m, dtype=g.dtype) + FAR_FROM_GROUP * normal.to(g.dtype))
        require_all(~group.contains(outside), "contains(x) is True for an outsider", x=outside)
    broken = g.clone()
    broken[..., 0, 0] = torch.nan
    require_all(~group.contains(broken), "contains(x) is True for a NaN", x=broken)


@law
def project_is_the_identity_on_the_group(group: LieGroup, g: Elements) -> None:
    """project(g) = g."""
    allowed = _rounding(g, LieGroup.inverse(group, g)) * _TRANSCENDENTAL
    require_close(group.project(g), g, allowed, 2, g=g)


@law
def project_is_idempotent(group: LieGroup, g: Elements) -> None:
    """project(project(x)) = project(x), an element, for x near the group."""
    m = group.matrix_size
    noise = torch.randn(m, m, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = g @ (torch.eye(m, dtype=torch.float64) + 1e-3 * noise).to(g)
    p = group.project(x)
    allowed = _rounding(g, LieGroup.inverse(group, g)) * _TRANSCENDENTAL
    require_close(group.project(p), p, allowed, 2, x=x)
    require_all(group.contains(p), "contains(project(x)) is False", x=x)


_TRANSCENDENTAL = 4
"""Roundings of an exponential or a logarithm, as a multiple of those of a product."""


def _rounding(*factors: Tensor) -> Tensor:
    """Error to accept in a product of matrices: roundings of the product of their sizes.

    An entry sums as many terms as a matrix has rows; the table of roundings is for two.
    """
    scale = torch.tensor(max(factors[0].shape[-1] / 2, 1), dtype=torch.float64)
    for factor in factors:
        scale = scale * size(factor, 2)
    return allowance(Kind.ARITHMETIC, factors[0].dtype, scale)


def _derivative(y: Tensor, t: Tensor) -> Tensor:
    """dy/dt for a scalar t and any y, by two backward passes (Townsend's trick)."""
    if not y.requires_grad:
        return torch.zeros_like(y)
    v = torch.zeros_like(y, requires_grad=True)
    (vjp,) = gradients((y * v).sum(), (t,))
    return gradients(vjp, (v,))[0]


def _normal_matrix(group: LieGroup) -> Tensor | None:
    """A matrix with largest entry 1, orthogonal to the algebra; None if that is everything."""
    m = group.matrix_size
    x = torch.randn(m * m, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    if group.dim > 0:
        e = group.algebra_basis().flatten(1)
        x = x - x @ torch.linalg.pinv(e) @ e
    largest = x.abs().amax()
    return None if largest < 1e-9 else (x / largest).reshape(m, m)


STRUCTURE_LAWS = (
    composition_is_associative,
    composition_is_the_matrix_product,
    identity_is_neutral,
    inverse_is_the_inverse,
    relative_is_the_pose,
    relative_is_left_invariant,
    relative_log_is_the_log_of_relative,
    adjoint_is_conjugation,
    adjoint_agrees_with_its_default,
    adjoint_is_a_homomorphism,
    adjoint_is_generated_by_the_bracket,
    contains_accepts_members,
    contains_rejects_outsiders,
    project_is_the_identity_on_the_group,
    project_is_idempotent,
)
