"""Bases of distances, and of positions as seen from a frame, with a smooth cut-off."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import combinations_with_replacement
from math import pi

import torch
from torch import Tensor

from liegroups.affine import AffineGroup
from liegroups.checks import check_count, check_length
from liegroups.compiling import constant_when_compiled
from liegroups.invariants.base import Invariant
from liegroups.invariants.distances import require_isometry
from liegroups.lifting import Lifted
from liegroups.numerics import safe_norm, stumpff
from liegroups.sees import Sees
from liegroups.spaces import EuclideanSpace, HomogeneousSpace


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


@dataclass(frozen=True)
class FrameBasis(Invariant):
    """Features of where a source lies as seen from the target's frame: a basis of a ball of Rⁿ.

    With (R, p) the element over the target, they are the products of radial functions of the
    distance r with monomials of the direction R⁻¹(q - p)/r. Up to a degree L, the monomials whose
    last exponent is at most one are a basis of the polynomials on the sphere, as the spherical
    harmonics are; there are (L + 1)² of them in space and 2L + 1 in the plane. A filter that is a
    linear form of these (``attention.LinearFilter``) knows not only how far off a neighbor is, but
    where.

    A point has no direction from itself: where the two coincide, what depends on it is zero, and
    not continuous. Leave points out of their own neighborhoods.

    Args:
        radius: The radius R of the ball, in the unit of the coordinates.
        functions: ``Bessel`` or ``Gaussian``, functions of r/R.
        max_degree: Largest degree L of the monomials; with 0 it is ``RadialBasis``.
        envelope: ``PolynomialEnvelope`` or ``BumpEnvelope``; None for no cut-off.

    Raises:
        ValueError: If ``radius`` is not positive or ``max_degree`` is not from 0 to 6; on use,
            unless the space is Rⁿ under isometries.

    Reference:
        Cohen et al. 2018, Spherical CNNs, and Weiler et al. 2018, 3D Steerable CNNs, section 4.4:
        kernels as radial functions times harmonics.

    Example:
        >>> import torch
        >>> from liegroups import SE3, Lifted
        >>> space = SE3().default_space()
        >>> ends = [Lifted(space.section(x), x) for x in torch.tensor([[0.0, 0, 0], [3, 4, 0]])]
        >>> FrameBasis(radius=10.0, functions=Bessel(3), max_degree=1)(space, *ends).shape
        torch.Size([12])
    """

    radius: float
    functions: RadialFunctions = Bessel()
    max_degree: int = 1
    envelope: Envelope | None = PolynomialEnvelope()

    def __post_init__(self) -> None:
        check_length("FrameBasis.radius", self.radius)
        check_count("FrameBasis.max_degree", self.max_degree, 0, 6)

    @property
    def sees(self) -> Sees:
        return Sees.ELEMENTS if self.max_degree else Sees.POINTS

    def dim(self, space: HomogeneousSpace) -> int:
        return self.functions.count * len(_monomials(_isometric(space).space_dim, self.max_degree))

    def __call__(self, space: HomogeneousSpace, target: Lifted, source: Lifted) -> Tensor:
        group = _isometric(space)
        monomials = _monomials(group.space_dim, self.max_degree)
        linear, _ = group.split(target.element)
        difference = source.point - target.point
        local = torch.einsum("...ji,...j->...i", linear, difference)
        distance = safe_norm(local)
        direction = (local / torch.where(distance > 0, distance, 1)[..., None]).unbind(-1)
        scaled = difference / self.radius
        squared = (scaled * scaled).sum(-1)
        radial = self.functions(squared)
        if self.envelope is not None:
            radial = radial * self.envelope(squared)[..., None]
        radial = radial.movedim(-1, 0)
        products = [torch.ones_like(distance)]
        for place, monomial in enumerate(monomials[1:], start=1):
            before = products[monomials.index(monomial[:-1], 0, place)]
            products.append(before * direction[monomial[-1]])
        # One after the other in memory, as kernels read them.
        features = torch.stack([radial * product for product in products])
        return features.flatten(0, 1).movedim(0, -1)


@constant_when_compiled
def _monomials(n: int, max_degree: int) -> list[tuple[int, ...]]:
    """The axes that are multiplied, in order, for each monomial; a lower degree before."""
    every = (
        axes
        for degree in range(max_degree + 1)
        for axes in combinations_with_replacement(range(n), degree)
    )
    return [axes for axes in every if axes.count(n - 1) <= 1]


def _isometric(space: HomogeneousSpace) -> AffineGroup:
    if not isinstance(space, EuclideanSpace) or not space.is_isometric:
        raise ValueError(
            "FrameBasis needs points of Rⁿ under isometries, whose lifts have axes; got "
            f"{space}. Use RelativeMatrix."
        )
    return space.group


def _root(squared: Tensor) -> Tensor:
    """√s, with derivative zero at zero."""
    positive = squared > 0
    return torch.where(positive, torch.where(positive, squared, 1).sqrt(), 0)
