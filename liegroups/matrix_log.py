"""The logarithm of any matrix group, where no closed form is at hand.

Value and derivatives are found apart. A start that is good to half the digits or more comes
from inverse scaling and squaring, without derivatives. Newton's method on exp(a) = g then gives
the rest of the digits, and as it solves the equation as a power series in g too, each step also
makes one more derivative right, wherever the start came from. So nothing singular is ever
differentiated: not at the identity, not at repeated eigenvalues, not at the cut locus.
"""

from __future__ import annotations

from collections.abc import Callable
from math import pi
from typing import NamedTuple

import torch
from torch import Tensor

from liegroups.numerics import matrix_exp

_ROOTS = 6
# Gauss-Legendre nodes and weights on [0, 1].
_QUADRATURE = (
    (0.03376524289842397, 0.08566224618958525),
    (0.16939530676686776, 0.18038078652406922),
    (0.38069040695840156, 0.23395696728634546),
    (0.6193095930415985, 0.23395696728634546),
    (0.8306046932331322, 0.18038078652406922),
    (0.966234757101576, 0.08566224618958525),
)
# Eigenvalues with arguments beyond some angle between these two are turned by half a turn first.
_SECTOR = (pi / 2, pi - 0.1)


class Algebra(NamedTuple):
    """A Lie algebra of m × m matrices, as far as its logarithm needs to know it.

    Attributes:
        hat: Matrices ``(*batch, m, m)`` of coordinates ``(*batch, dim)``.
        vee: Coordinates ``(*batch, dim)`` of matrices, which it first projects on the algebra.
        brackets: Coordinates ``(dim, dim, dim)`` of the brackets of the basis,
            [Eᵢ, Eⱼ] = Σ cᵢⱼₖ Eₖ, in float64 on the device of the elements.
    """

    hat: Callable[[Tensor], Tensor]
    vee: Callable[[Tensor], Tensor]
    brackets: Tensor


def algebra_log(algebra: Algebra, g: Tensor) -> Tensor:
    """Principal logarithm in an algebra of matrices, with its first two derivatives.

    Computed in float64 throughout.

    Args:
        algebra: Where the logarithm is looked for.
        g: Elements ``(*batch, m, m)``.

    Returns:
        Algebra coordinates ``(*batch, dim)``; NaN where the algebra holds no logarithm.

    Reference:
        N. Higham, Functions of Matrices (2008), chapters 6 and 11.
    """
    if len(algebra.brackets) == 0:
        return g.new_zeros(*g.shape[:-2], 0)
    eps = torch.finfo(g.dtype).eps
    usable = g.isfinite().all(-1).all(-1)
    eye = torch.eye(g.shape[-1], dtype=torch.float64, device=g.device)
    x = torch.where(usable[..., None, None], g.double(), eye)

    def residual(a: Tensor, x: Tensor) -> Tensor:
        return matrix_exp(-algebra.hat(a)) @ x - eye

    a = algebra.vee(_start(algebra, x.detach(), eps))
    for _ in range(3):
        within = a.isfinite().all(-1) & (a.abs().amax(-1) < 1e3)
        usable, a = usable & within, torch.where(within[..., None], a, 0)
        inverse = _inverse_differential(algebra, a, eps)
        a = a + (inverse @ algebra.vee(residual(a, x.detach()))[..., None])[..., 0]
    for _ in range(2):
        a = a + (inverse @ algebra.vee(residual(a, x))[..., None])[..., 0]

    # Where the algebra holds no logarithm, Newton's method has led nowhere.
    back = matrix_exp(-algebra.hat(a.detach()))
    end = back @ x.detach() - eye
    tangential = algebra.hat(algebra.vee(end))
    scale = _size(x.detach()) * _size(back) * _size(a.detach()[..., None])
    usable = usable & (_size(tangential) <= 1e4 * eps * scale.clamp(min=1))
    usable = usable & (_size(end - tangential) <= 0.1 * scale.clamp(min=1))
    # An inverse that is far too large would excuse any residual.
    forward = matrix_exp(algebra.hat(a.detach()))
    usable = usable & (_size(forward - x.detach()) <= 0.1 * _size(x.detach()))
    return torch.where(usable[..., None], a, torch.nan).to(g.dtype)


def _size(x: Tensor) -> Tensor:
    return x.abs().amax((-1, -2))


def _start(algebra: Algebra, g: Tensor, eps: float) -> Tensor:
    """Principal logarithm of real matrices to about half the digits, up to and at the cut.

    In log(e⁻ⁱᵅ g) + iα the cut lies along the argument α - π, where α is chosen so that no
    eigenvalue is near. The real part of this matrix is the logarithm of g, with eigenvalues
    beyond the new cut negated, and its imaginary part is π times the projection P on them. What
    remains to add is πJ, where J is the complex structure on the image of P that commutes with g.
    """
    eye = torch.eye(g.shape[-1], dtype=g.dtype, device=g.device)
    alpha = (pi - _cut(g))[..., None, None]
    turned = inverse_scaling_and_squaring(torch.polar(torch.ones_like(alpha), -alpha) * g)
    near, p = turned.real, (turned.imag + alpha * eye) / pi
    rank = p.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]
    beyond = rank > 1
    rank = torch.where(beyond, rank, 1)

    def traceless(x: Tensor) -> Tensor:
        y = p @ x @ p
        return y - y.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None] / rank * p

    # On the image of P the logarithm is small near the cut, and commutes with J as g does. On the
    # cut itself rounding errors would choose J, so an element of the algebra has the last word;
    # how large the errors are only the result tells.
    t, w = -traceless(near), _turning(algebra, g)
    turning, other = traceless(w), traceless(p @ p.mT @ w)
    turns = _turn(turning, rank) > 0.1 * turning.abs().amax((-1, -2), keepdim=True)
    turning = torch.where(turns, turning, other)
    turning = turning / _turn(turning, rank)
    agrees = (t * turning).sum((-1, -2), keepdim=True) >= 0
    turning = torch.where(agrees, 1, -1) * max(64 * eps, 1e-12) * turning
    starts = []
    for weight in (1, 1e3, 1e6):
        y = t + weight * turning
        y = torch.where(beyond, y / _turn(y, rank), 0)
        square = torch.where(beyond, -y @ y + (eye - p), eye)
        j = y @ torch.linalg.inv_ex(_square_root(square, 5))[0]
        x = algebra.hat(algebra.vee(torch.where(beyond, near + pi * j, near)))
        starts.append(torch.where(x.isfinite().all(-1, keepdim=True).all(-2, keepdim=True), x, 0))
    misses = [_size(matrix_exp(-x) @ g - eye) for x in starts]
    best = torch.stack(misses).nan_to_num(nan=torch.inf).argmin(0)[..., None, None]
    return torch.where(best == 0, starts[0], torch.where(best == 1, starts[1], starts[2]))


def _turn(x: Tensor, rank: Tensor) -> Tensor:
    """Size of the imaginary part of the eigenvalues of matrices of a given rank."""
    return (-(x * x.mT).sum((-1, -2), keepdim=True) / rank).clamp(min=1e-60).sqrt()


def _cut(g: Tensor) -> Tensor:
    """An argument in the middle of the widest gap between those of the eigenvalues, ``(*batch,)``.

    The complex solver: MKL's real one returns wrong values on some skew matrices.
    """
    angles = torch.linalg.eigvals(g.to(torch.complex128)).angle().abs().clamp(*_SECTOR)
    first, last = (torch.full_like(angles[..., :1], end) for end in _SECTOR)
    angles = torch.cat((first, angles, last), -1).sort(-1).values
    gaps = angles.diff(dim=-1)
    widest = gaps.argmax(-1, keepdim=True)
    middle = angles[..., :-1] + gaps / 2
    return middle.gather(-1, widest)[..., 0]


def _turning(algebra: Algebra, g: Tensor) -> Tensor:
    """An element of the algebra near a generic skew matrix."""
    m = g.shape[-1]
    entries = torch.arange(1, m * m + 1, dtype=g.dtype, device=g.device).sqrt().sin().reshape(m, m)
    return algebra.hat(algebra.vee(entries - entries.mT))


def inverse_scaling_and_squaring(x: Tensor) -> Tensor:
    """Logarithm of complex matrices without eigenvalues near the closed negative half-axis.

    Square roots until the matrix is near the identity, then Gauss-Legendre quadrature of
    log(1 + E) = ∫₀¹ E (1 + tE)⁻¹ dt, which is the diagonal Padé approximant.

    Args:
        x: Matrices ``(*batch, m, m)``, complex.

    Returns:
        Matrices ``(*batch, m, m)``.

    Reference:
        N. Higham, Functions of Matrices (2008), section 11.5.
    """
    for k in range(_ROOTS):
        x = _square_root(x, 12 if k < 2 else 5)
    eye = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
    e = x - eye
    terms = [weight * torch.linalg.inv_ex(eye + node * e)[0] for node, weight in _QUADRATURE]
    return 2**_ROOTS * e @ torch.stack(terms).sum(0)


def _square_root(x: Tensor, steps: int) -> Tensor:
    """Principal square root by the scaled product form of the Denman-Beavers iteration.

    Reference:
        S. Cheng, N. Higham, C. Kenney and A. Laub, Approximating the logarithm of a matrix to
        specified accuracy (2001), equations (3.5) and (3.6).
    """
    eye = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
    m, power = x, -1 / (2 * x.shape[-1])
    for step in range(steps):
        if step < steps // 3:
            scale = torch.linalg.det(m).abs().clamp(1e-200, 1e200) ** power
            scale = scale.to(x.dtype)[..., None, None]
            m, x = scale * scale * m, scale * x
        inverse = torch.linalg.inv_ex(m)[0]
        x = x @ (eye + inverse) / 2
        m = (2 * eye + m + inverse) / 4
    return x


def _inverse_differential(algebra: Algebra, a: Tensor, eps: float) -> Tensor:
    """φ(ad a)⁻¹, φ(z) = (1 - e⁻ᶻ)/z: what a relative change of exp(a) does to a.

    It is bounded where φ(ad a) is singular, that is on the cut, so that rounding errors of
    exp(-a)g move a by no more than the root of their size.
    """
    n = len(algebra.brackets)
    ad = torch.einsum("...i,ijk->...kj", a, algebra.brackets)
    eye = torch.eye(n, dtype=a.dtype, device=a.device).expand(ad.shape)
    block = torch.nn.functional.pad(torch.cat((-ad, eye), -1), (0, 0, 0, n))
    differential = matrix_exp(block)[..., :n, n:]
    usable = differential.isfinite().all(-1, keepdim=True).all(-2, keepdim=True)
    u, s, vh = torch.linalg.svd(torch.where(usable, differential, eye))
    x = algebra.hat(a)
    rounding = eps * _size(matrix_exp(x)) * _size(matrix_exp(-x))
    least = (rounding.nan_to_num(posinf=1).clamp(eps, 1).sqrt() / 8)[..., None]
    return (vh.mT / torch.maximum(s, least)[..., None, :]) @ u.mT


def brackets(basis: Tensor) -> Tensor:
    """Coordinates ``(dim, dim, dim)`` of the brackets of a basis, [Eᵢ, Eⱼ] = Σ cᵢⱼₖ Eₖ."""
    products = basis[:, None] @ basis[None]
    commutators = products - products.transpose(0, 1)
    return commutators.flatten(2) @ torch.linalg.pinv(basis.flatten(1))
