"""Rigid motions of Rⁿ, for any n."""

from __future__ import annotations

from dataclasses import dataclass

from liegroups.affine import AffineGroup
from liegroups.checks import DIMENSION, check_count
from liegroups.facts import once
from liegroups.se2 import SE2
from liegroups.se3 import SE3
from liegroups.special_orthogonal import SpecialOrthogonal
from liegroups.translation import Translation


def SE(n: int) -> AffineGroup:
    """Make the group of rotations and translations of Rⁿ.

    Args:
        n: Dimension of the space.

    Returns:
        ``SE2()`` and ``SE3()`` with their closed forms, `SpecialEuclidean` from n = 4 on, and
        ``Translation(1)`` for n = 1.

    Raises:
        ValueError: If ``n`` is less than one.

    Example:
        >>> SE(3) == SE3(), SE(4).dim
        (True, 10)
    """
    check_count("SE.n", n, most=DIMENSION)
    match n:
        case 1:
            return Translation(1)
        case 2:
            return SE2()
        case 3:
            return SE3()
    return SpecialEuclidean(n)


@dataclass(frozen=True)
class SpecialEuclidean(AffineGroup):
    """SE(n), rotations and translations of Rⁿ for n ≥ 4; `SE` makes those of every n.

    Coordinates: the n components of the translational velocity in the body's frame, then the
    rotation as in `SpecialOrthogonal`. ``exp`` is the matrix exponential, and
    log(A, b) = (V⁻¹b, log A) with V = ∫₀¹ exp(s log A) ds.

    Args:
        n: Dimension of the space.

    Raises:
        ValueError: If ``n`` is less than four.

    Example:
        >>> import torch
        >>> group = SpecialEuclidean(4)
        >>> a = torch.linspace(0, 1, 10, dtype=torch.float64)
        >>> torch.allclose(group.log(group.exp(a)), a)
        True
    """

    n: int

    def __post_init__(self) -> None:
        check_count("SpecialEuclidean.n", self.n, 4, DIMENSION)

    @property
    @once
    def linear(self) -> SpecialOrthogonal:
        return SpecialOrthogonal(self.n)
