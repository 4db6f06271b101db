"""Radial embeddings: distances as features of a radial basis, with a smooth cut-off."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import pi

import torch
from torch import Tensor

from liegroups.checks import check_count, check_length
from liegroups.invariants.base import Invariant
from liegroups.invariants.distances import require_isometry
from liegroups.lifting import Lifted
from liegroups.numerics import stumpff
from liegroups.sees import Sees
from liegroups.spaces import HomogeneousSpace


class RadialFunctions(ABC):
    """Functions of the distance in units of a radius, u = r/R."""

    count: int

    @abstractmethod
    def __call__(self, squared: Tensor) -> Tensor:
        """Evaluate.

        Args:
            squared: u², any shape.

        Returns:
            Values ``(..., count)``.
        """


@dataclass(frozen=True)
class Gaussian(RadialFunctions):
    """Gaussians exp(-(u - μₖ)²/2σ²) with centers evenly from 0 to 1, σ their spacing.

    Like the distance, they are not differentiable where two points coincide; their derivatives
    are zero there.

    Args:
        count: Number of centers.

    Raises:
        ValueError: If ``count`` is less than two.

    Reference:
        Schütt et al. 2017, SchNet, section 3.
    """

    count: int = 16

    def __post_init__(self) -> None:
        check_count("Gaussian.count", self.count, 2)

    def __call__(self, squared: Tensor) -> Tensor:
        u = _root(squared)
        centers = torch.arange(self.count, dtype=u.dtype, device=u.device)
        # One after the other in memory, as kernels read them.
        steps = u * (self.count - 1) - centers.view(-1, *[1] * u.ndim)
        return (steps * steps).mul_(-0.5).exp_().movedim(0, -1)


@dataclass(frozen=True)
class Bessel(RadialFunctions):
    """Spherical Bessel functions √2 sin(kπu)/u for k = 1 … count, analytic in u².

    They are orthonormal on the ball of radius 1 with the weight u², and smooth also where two
    points coincide. All of them vanish at u = 1, though not their derivatives.

    Args:
        count: Number of functions.

    Raises:
        ValueError: If ``count`` is less than one.

    Reference:
        Gasteiger et al. 2020, Directional Message Passing for Molecular Graphs, equation 7.
    """

    count: int = 8

    def __post_init__(self) -> None:
        check_count("Bessel.count", self.count)

    def __call__(self, squared: Tensor) -> Tensor:
        cosine, sinc, _, _ = stumpff(squared * pi**2)
        # sin kx = 2 cos x sin (k - 1)x - sin (k - 2)x: a product, where a sine would cost ten.
        doubled, before, last = 2 * cosine, torch.zeros_like(sinc), 2**0.5 * pi * sinc
        found = [last]
        for _ in range(1, self.count):
            before, last = last, doubled * last - before
            found.append(last)
        return torch.stack(found).movedim(0, -1)  # One after the other in memory.


class Envelope(ABC):
    """A function of u = r/R that is 1 at 0, and 0 with its derivatives from u = 1 on."""

    @abstractmethod
    def __call__(self, squared: Tensor) -> Tensor:
        """Values of the shape of ``squared``, which holds u²."""


@dataclass(frozen=True)
class PolynomialEnvelope(Envelope):
    """1 - (p+1)(p+2)/2 uᵖ + p(p+2) uᵖ⁺¹ - p(p+1)/2 uᵖ⁺²: value and two derivatives vanish at 1.

    Args:
        power: The exponent p; the larger, the longer it stays near 1.

    Raises:
        ValueError: If ``power`` is less than three, from where on it is smooth at u = 0 as well:
            twice differentiable in the points.

    Reference:
        Gasteiger et al. 2020, Directional Message Passing for Molecular Graphs, equation 8.
    """

    power: int = 6

    def __post_init__(self) -> None:
        check_count("PolynomialEnvelope.power", self.power, 3, 100)

    def __call__(self, squared: Tensor) -> Tensor:
        p, inside, near = self.power, squared < 1, squared < 0.25
        u = _root(torch.where(near, squared, 0))
        begin = 1 - u**p * ((p + 1) * (p + 2) / 2 - p * (p + 2) * u + p * (p + 1) / 2 * u * u)
        # The same with its triple root at 1 taken out, where the terms above would cancel.
        u = _root(torch.where(inside & ~near, squared, 1))
        series = torch.ones_like(u)
        for k in range(p - 1, 0, -1):  # Σ (k + 1)(k + 2)/2 uᵏ for k < p, by Horner's rule.
            ratio = (k + 2) / k
            series = 1 + ratio * u * series
        return torch.where(near, begin, torch.where(inside, (1 - u) ** 3 * series, 0))


@dataclass(frozen=True)
class BumpEnvelope(Envelope):
    """exp(-u²/(1 - u²)), smooth everywhere: all derivatives vanish at u = 1."""

    def __call__(self, squared: Tensor) -> Tensor:
        inside = squared < 1
        s = torch.where(inside, squared, 0)
        return torch.where(inside, (-s / (1 - s)).exp(), 0)


@dataclass(frozen=True)
class RadialBasis(Invariant):
    """Features of the distance r = |xᵢ - xⱼ|: radial functions of r/R under an envelope.

    Both are functions of r², so that nothing is lost where points coincide. From r = R on all
    features are zero, with their first two derivatives at least. There are no parameters to
    learn: what the kernel does with the features it learns itself.

    In a configuration::

        invariant:
          class_path: liegroups.RadialBasis
          init_args:
            radius: 5.0
            functions: {class_path: liegroups.Bessel, init_args: {count: 8}}

    Args:
        radius: The radius R, in the unit of the coordinates.
        functions: ``Bessel`` or ``Gaussian``.
        envelope: ``PolynomialEnvelope`` or ``BumpEnvelope``; None for no cut-off.

    Raises:
        ValueError: If ``radius`` is not positive.

    Example:
        >>> import torch
        >>> from liegroups import SE3, Lifted
        >>> space = SE3().default_space()
        >>> ends = [Lifted(space.section(x), x) for x in torch.tensor([[0.0, 0, 0], [3, 4, 0]])]
        >>> RadialBasis(radius=10.0, functions=Bessel(3))(space, *ends).shape
        torch.Size([3])
        >>> RadialBasis(radius=4.0, functions=Bessel(3))(space, *ends).abs()
        tensor([0., 0., 0.])
    """

    radius: float
    functions: RadialFunctions = Bessel()
    envelope: Envelope | None = PolynomialEnvelope()

    def __post_init__(self) -> None:
        check_length("RadialBasis.radius", self.radius)

    sees = Sees.POINTS

    def dim(self, space: HomogeneousSpace) -> int:
        require_isometry(self, space)
        return self.functions.count

    def __call__(self, space: HomogeneousSpace, target: Lifted, source: Lifted) -> Tensor:
        difference = (target.point - source.point) / self.radius
        squared = (difference * difference).sum(-1)
        features = self.functions(squared)
        return features if self.envelope is None else features * self.envelope(squared)[..., None]


def _root(squared: Tensor) -> Tensor:
    """√s, with derivative zero at zero."""
    positive = squared > 0
    return torch.where(positive, torch.where(positive, squared, 1).sqrt(), 0)
