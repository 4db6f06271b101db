"""Laws of the Lie algebra: basis, hat and vee, bracket."""

from __future__ import annotations

import torch
from torch import Tensor

from liegroups.group import LieGroup
from liegroups.testing.laws.law import Tangents, fail, law, require, require_close
from liegroups.testing.tolerances import Kind, allowance, size


@law
def dimensions_are_as_declared(group: LieGroup) -> None:
    """algebra_basis is (dim, m, m) in float64, with a different label for each coordinate."""
    basis, m = group.algebra_basis(), group.matrix_size
    expected = (group.dim, m, m)
    require(
        tuple(basis.shape) == expected,
        f"algebra_basis has shape {tuple(basis.shape)}, expected {expected}",
    )
    require(basis.dtype == torch.float64, f"algebra_basis has dtype {basis.dtype}")
    labels = group.basis_labels
    require(
        len(labels) == group.dim and len(set(labels)) == group.dim,
        f"basis_labels are {labels}, expected {group.dim} different ones",
    )
    require(
        tuple(group.identity().shape) == (m, m),
        f"identity has shape {tuple(group.identity().shape)}, expected {(m, m)}",
    )


@law
def basis_is_independent(group: LieGroup) -> None:
    """Σ aᵢ Eᵢ = 0 only for a = 0."""
    if group.dim == 0:
        return
    values = torch.linalg.svdvals(group.algebra_basis().flatten(1))
    require(
        bool(values[-1] > 1e-6 * values[0]),
        f"the singular values of the basis are {values.tolist()}",
    )


@law
def basis_is_closed_under_bracket(group: LieGroup) -> None:
    """[Eᵢ, Eⱼ] is a combination of the Eₖ."""
    if group.dim == 0:
        return
    brackets, constants = _brackets(group)
    rest = brackets - torch.einsum("ijk,kmn->ijmn", constants, group.algebra_basis())
    worst = rest.abs().amax((-1, -2))
    if bool((worst > allowance(Kind.TRANSCENDENTAL, torch.float64, size(brackets, 4))).any()):
        i, j = divmod(int(worst.argmax()), group.dim)
        labels = group.basis_labels
        fail(
            f"the bracket of {labels[i]} and {labels[j]} is {worst[i, j].item():.3g} away from "
            "the span of the basis"
        )


@law
def hat_and_vee_are_inverse(group: LieGroup, a: Tangents) -> None:
    """vee(hat(a)) = a."""
    x = group.hat(a)
    expected = (*a.shape[:-1], group.matrix_size, group.matrix_size)
    require(tuple(x.shape) == expected, f"hat gives shape {tuple(x.shape)}, not {expected}", a=a)
    require_close(group.vee(x), a, allowance(Kind.ARITHMETIC, a.dtype, size(a, 1)), 1, a=a)


@law
def hat_agrees_with_its_default(group: LieGroup, a: Tangents) -> None:
    """hat(a) = Σ aᵢ Eᵢ."""
    allowed = allowance(Kind.ARITHMETIC, a.dtype, size(a, 1))
    require_close(group.hat(a), LieGroup.hat(group, a), allowed, 2, a=a)


@law
def vee_agrees_with_its_default(group: LieGroup, a: Tangents) -> None:
    """vee(X) is the projection of X on the algebra in the Frobenius sense, for any matrix X."""
    x = LieGroup.hat(group, a)
    generator = torch.Generator().manual_seed(0)
    m = group.matrix_size
    off = torch.randn(m, m, generator=generator, dtype=torch.float64).to(x)
    allowed = allowance(Kind.ARITHMETIC, a.dtype, size(a, 1))
    for y in (x, x + off):
        require_close(group.vee(y), LieGroup.vee(group, y), allowed, 1, X=y)


@law
def bracket_is_the_commutator(group: LieGroup, a: Tangents, b: Tangents) -> None:
    """hat([a, b]) = hat(a) hat(b) - hat(b) hat(a)."""
    x, y = LieGroup.hat(group, a), LieGroup.hat(group, b)
    bracket = LieGroup.hat(group, group.bracket(a, b))
    allowed = allowance(Kind.ARITHMETIC, a.dtype, size(a, 1) * size(b, 1))
    require_close(bracket, x @ y - y @ x, allowed, 2, a=a, b=b)


@law
def bracket_is_antisymmetric(group: LieGroup, a: Tangents, b: Tangents) -> None:
    """[a, b] = -[b, a]."""
    allowed = allowance(Kind.ARITHMETIC, a.dtype, size(a, 1) * size(b, 1))
    require_close(group.bracket(a, b), -group.bracket(b, a), allowed, 1, a=a, b=b)


@law
def bracket_satisfies_jacobi(group: LieGroup, a: Tangents, b: Tangents, c: Tangents) -> None:
    """[a, [b, c]] + [b, [c, a]] + [c, [a, b]] = 0."""
    f = group.bracket
    total = f(a, f(b, c)) + f(b, f(c, a)) + f(c, f(a, b))
    scale = size(a, 1) * size(b, 1) * size(c, 1)
    allowed = allowance(Kind.ARITHMETIC, a.dtype, 4 * scale)
    require_close(total, torch.zeros_like(total), allowed, 1, a=a, b=b, c=c)


def adjoint_operator(group: LieGroup, a: Tensor) -> Tensor:
    """Matrix of ad(a): b ↦ [a, b], ``(*batch, dim, dim)`` in float64, from the basis alone."""
    if group.dim == 0:
        return a.new_zeros(*a.shape, 0, dtype=torch.float64)
    return torch.einsum("...i,ijk->...kj", a.detach().double(), _brackets(group)[1])


def _brackets(group: LieGroup) -> tuple[Tensor, Tensor]:
    """Brackets of the basis, ``(dim, dim, m, m)``, and their coordinates ``(dim, dim, dim)``."""
    e = group.algebra_basis()
    products = e[:, None] @ e[None]
    brackets = products - products.transpose(0, 1)
    coordinates = brackets.flatten(2) @ torch.linalg.pinv(e.flatten(1))
    return brackets, coordinates


ALGEBRA_LAWS = (
    dimensions_are_as_declared,
    basis_is_independent,
    basis_is_closed_under_bracket,
    hat_and_vee_are_inverse,
    hat_agrees_with_its_default,
    vee_agrees_with_its_default,
    bracket_is_the_commutator,
    bracket_is_antisymmetric,
    bracket_satisfies_jacobi,
)
