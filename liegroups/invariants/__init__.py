"""Invariants of pairs of lifted points, the features of pairs that kernels see.

An invariant I satisfies I(g·target, g·source) = I(target, source) for every element g. It has no
parameters and holds no group; it is called with the space, the targets and the
sources of the pairs.
"""

from liegroups.invariants.base import Invariant
from liegroups.invariants.combinations import Concat, PerHead
from liegroups.invariants.distances import Distance, InverseDistance, OrbitLabels
from liegroups.invariants.poses import AlgebraNorm, PoseDistance, RelativeMatrix, RelativePose
from liegroups.invariants.position_orientation import (
    LiftedPositionOrientation,
    RelativePositionOrientation,
)
from liegroups.invariants.radial import (
    Bessel,
    BumpEnvelope,
    Envelope,
    FrameBasis,
    Gaussian,
    PolynomialEnvelope,
    RadialBasis,
    RadialFunctions,
)

__all__ = [
    "AlgebraNorm",
    "Bessel",
    "BumpEnvelope",
    "Concat",
    "Distance",
    "Envelope",
    "FrameBasis",
    "Gaussian",
    "Invariant",
    "InverseDistance",
    "LiftedPositionOrientation",
    "OrbitLabels",
    "PerHead",
    "PolynomialEnvelope",
    "PoseDistance",
    "RadialBasis",
    "RadialFunctions",
    "RelativeMatrix",
    "RelativePose",
    "RelativePositionOrientation",
]
