"""Analytic functions of a squared angle, right with their derivatives everywhere.

The closed forms of exp and log are full of quotients such as ``sin(x) / x`` whose value is
harmless at zero and whose derivatives, computed by the quotient rule, are not. Every function
here takes the *square* of the angle, of which these quotients are analytic, and uses the power
series where the closed form would cancel. The series is long enough to be exact to rounding at
the switch, so neither the value nor its first two derivatives has a gap there.
"""

from __future__ import annotations

from math import factorial

import torch
from torch import Tensor

_COSINE = tuple((-1) ** j / factorial(2 * j) for j in range(12))
_SINE = tuple((-1) ** j / factorial(2 * j + 1) for j in range(12))
_STUMPFF_2 = tuple((-1) ** j / factorial(2 * j + 2) for j in range(12))
_STUMPFF_3 = tuple((-1) ** j / factorial(2 * j + 3) for j in range(12))
_ARCTAN = tuple((-1) ** j / (2 * j + 1) for j in range(16))
# |B_2k| / (2k)! for k = 1, 2, ...: the Taylor coefficients of 1 - (x/2) cot(x/2) in x².
_COTANGENT = (
    1 / 12,
    1 / 720,
    1 / 30240,
    1 / 1209600,
    1 / 47900160,
    691 / 1307674368000,
    1 / 74724249600,
    3617 / 10670622842880000,
    43867 / 5109094217170944000,
    174611 / 802857662698291200000,
    77683 / 14101100039391805440000,
    236364091 / 1693824136731743669452800000,
)


def _horner(coefficients: tuple[float, ...], x: Tensor) -> Tensor:
    """The power series at x, to its end in float64 and to seven terms in lower precision."""
    terms = coefficients if x.dtype == torch.float64 else coefficients[:7]
    value = terms[-1] * x + terms[-2]
    for c in reversed(terms[:-2]):
        value = value * x + c
    return value


def where(mask: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """``torch.where`` for a mask of ones and zeros in the dtype of x and y, which are finite.

    It is exact, and on the CPU several times as fast, forward and backward.
    """
    return torch.lerp(y, x, mask)


def _apart(mask: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """The part of x inside the mask, with 0 elsewhere, and the part outside, with 1 elsewhere."""
    inside = mask * x
    return inside, x - inside + mask


def stumpff(t: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Evaluate the Stumpff functions c₀ … c₃ at t = θ² ≥ 0.

    c_k(t) = Σ_j (-t)^j / (2j + k)!, that is cos θ, sin θ / θ, (1 - cos θ) / θ² and
    (θ - sin θ) / θ³. Values and derivatives with respect to ``t`` are right at zero.

    Args:
        t: Squared angles in rad², any shape.

    Returns:
        The four functions, each of the shape of ``t``.

    Reference:
        K. Stumpff, Himmelsmechanik I (1959), chapter 5.

    Example:
        >>> import torch
        >>> [round(c.item(), 6) for c in stumpff(torch.zeros(()))]
        [1.0, 1.0, 0.5, 0.166667]
    """
    small = (t < 1).to(t.dtype)
    near, far = _apart(small, t)
    angle = far.sqrt()
    c2 = where(small, _horner(_STUMPFF_2, near), (1 - angle.cos()) / far)
    c3 = where(small, _horner(_STUMPFF_3, near), (1 - angle.sin() / angle) / far)
    return 1 - t * c2, 1 - t * c3, c2, c3


def half_cotangent_deficit(t: Tensor) -> Tensor:
    """Evaluate (1 - (θ/2) cot(θ/2)) / θ² at t = θ², for θ in [0, 2π).

    It is the coefficient of the square in the inverse left Jacobian of rotations,
    V⁻¹ = 1 - ½K + D(θ²) K².

    Args:
        t: Squared angles in rad², any shape.

    Returns:
        The function, of the shape of ``t``: 1/12 at zero and 1/π² at π².
    """
    small = (t < 1).to(t.dtype)
    near, far = _apart(small, t)
    half = far.sqrt() / 2
    return where(small, _horner(_COTANGENT, near), (1 - half * half.cos() / half.sin()) / far)


def double_arctangent(s: Tensor, w: Tensor) -> Tensor:
    """Evaluate 2 atan2(√s, w) / √s for s ≥ 0 and w ≥ 0, not both zero.

    With w and √s the real part and the length of the imaginary part of a quaternion of any
    norm, it is the factor that turns the imaginary part into the rotation vector.

    Args:
        s: Squared length of the imaginary part.
        w: Real part, same shape.

    Returns:
        The factor, of the shape of ``s``.
    """
    # In the series' domain w/4 stands in for the length, so nothing is divided by zero.
    square = w * w / 16
    small = (s < square).to(s.dtype)
    squared_length = where(small, square, s)
    length = squared_length.sqrt()
    series = _horner(_ARCTAN, small * s / (16 * squared_length)) / 4
    return 2 * where(small, series, torch.atan2(length, w)) / length


def matrix_exp(x: Tensor) -> Tensor:
    """Matrix exponential ``(*batch, m, m)``, as exact for one matrix as for many.

    For a single matrix ``torch.linalg.matrix_exp`` takes shorter series, one of which has a wrong
    coefficient (pytorch issue 196592): it is off by 2e-10 in float64 and 2e-5 in float32. So a
    single matrix goes in twice.

    Args:
        x: Matrices ``(*batch, m, m)``.

    Returns:
        Their exponentials, of the same shape.
    """
    if x.shape[:-2].numel() != 1:
        return torch.linalg.matrix_exp(x)
    return torch.linalg.matrix_exp(x.expand(2, *x.shape))[0]


def safe_norm(x: Tensor) -> Tensor:
    """Euclidean length of the last axis, with derivative zero (not NaN) at the zero vector."""
    squared = (x * x).sum(-1)
    zero = (squared == 0).to(x.dtype)
    return (1 - zero) * (squared + zero).sqrt()


def circular(t: Tensor) -> tuple[Tensor, Tensor]:
    """Evaluate cos(√t) and sin(√t)/√t for t of any sign: cosh(√-t) and sinh(√-t)/√-t below zero.

    Args:
        t: Any shape.

    Returns:
        The two functions, each of the shape of ``t``.
    """
    small, positive = t.abs() < 1, t > 0
    near = torch.where(small, t, 0)
    turn = torch.where(~small & positive, t, 1).sqrt()
    stretch = torch.where(~small & ~positive, -t, 1).sqrt()
    cosine = torch.where(positive, turn.cos(), stretch.cosh())
    sine = torch.where(positive, turn.sin() / turn, stretch.sinh() / stretch)
    return (
        torch.where(small, _horner(_COSINE, near), cosine),
        torch.where(small, _horner(_SINE, near), sine),
    )


def inverse_sine_quotient(q: Tensor, c: Tensor) -> Tensor:
    """Evaluate √t / sin(√t) from q = sin²(√t) and c = cos(√t), with √t in [0, π), or t < 0.

    Args:
        q: Square of the sine; negative for t < 0, where it is -sinh²(√-t).
        c: Cosine, same shape; positive where ``q`` is not.

    Returns:
        The quotient, of the shape of ``q``: 1 at t = 0.
    """
    small = (16 * q.abs() < c * c) & (c > 0)
    ratio = torch.where(small, q, 0) / torch.where(small, c * c, 1)
    series = _horner(_ARCTAN, ratio) / torch.where(small, c, 1)
    sine = torch.where(~small & (q > 0), q, 1).sqrt()
    turn = torch.atan2(sine, torch.where(small, 1, c)) / sine
    stretch = torch.where(~small & (q < 0), -q, 1).sqrt()
    return torch.where(small, series, torch.where(q > 0, turn, torch.asinh(stretch) / stretch))
