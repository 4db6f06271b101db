"""Lie groups for PyTorch: elements as plain tensors, spaces, lifting and invariants.

A group is a small frozen object; its elements are matrices ``(*batch, m, m)`` and its algebra
coordinates are ``(*batch, dim)``. Actions are left actions, and the relative pose of ``h`` as
seen from ``g`` is g⁻¹h.

Example:
    >>> import torch, liegroups as lg
    >>> group = lg.SE3()
    >>> g, h, k = group.sample((3,), dtype=torch.float64)
    >>> pose = group.relative_log(g, h)
    >>> moved = group.relative_log(k @ g, k @ h)
    >>> torch.allclose(pose, moved)
    True
"""

from liegroups.affine import Affine, AffineGroup
from liegroups.defaults import Recommended, recommended
from liegroups.equivariance import Equivariance
from liegroups.finite import FiniteGroup, FiniteSubgroup, finite_subgroup
from liegroups.finite_rotations import (
    CyclicGroup,
    DihedralGroup,
    IcosahedralGroup,
    OctahedralGroup,
    TetrahedralGroup,
)
from liegroups.general_linear import Aff2, Aff3, GeneralLinear
from liegroups.group import LieGroup
from liegroups.heisenberg import Heisenberg
from liegroups.invariants import (
    AlgebraNorm,
    Bessel,
    BumpEnvelope,
    Concat,
    Distance,
    Envelope,
    FrameBasis,
    Gaussian,
    Invariant,
    InverseDistance,
    LiftedPositionOrientation,
    OrbitLabels,
    PerHead,
    PolynomialEnvelope,
    PoseDistance,
    RadialBasis,
    RadialFunctions,
    RelativeMatrix,
    RelativePose,
    RelativePositionOrientation,
)
from liegroups.lifting import Lifted, lift
from liegroups.orthogonal import E, O
from liegroups.products import DirectProduct, SemidirectProduct
from liegroups.rotation import RotationGroup
from liegroups.samplers import (
    Frames,
    FullOrbit,
    GivenElements,
    Grid,
    Haar,
    Proposal,
    RandomSampler,
    Sampler,
)
from liegroups.scaling import PositiveScaling, RotationScaling, Sim
from liegroups.se2 import SE2
from liegroups.se3 import SE3
from liegroups.sees import Sees
from liegroups.sl2 import SL2
from liegroups.so2 import SO2
from liegroups.so3 import SO3
from liegroups.spaces import (
    ConcentricSpheres,
    Coordinates,
    EuclideanSpace,
    GroupItself,
    HomogeneousSpace,
    PositionOrientation,
    Sphere,
)
from liegroups.special_euclidean import SE, SpecialEuclidean
from liegroups.special_orthogonal import SO, SpecialOrthogonal
from liegroups.translation import T2, T3, Translation
from liegroups.trivial import Trivial

__all__ = [
    "SE",
    "SE2",
    "SE3",
    "SL2",
    "SO",
    "SO2",
    "SO3",
    "T2",
    "T3",
    "Aff2",
    "Aff3",
    "Affine",
    "AffineGroup",
    "AlgebraNorm",
    "Bessel",
    "BumpEnvelope",
    "Concat",
    "ConcentricSpheres",
    "Coordinates",
    "CyclicGroup",
    "DihedralGroup",
    "DirectProduct",
    "Distance",
    "E",
    "Envelope",
    "Equivariance",
    "EuclideanSpace",
    "FiniteGroup",
    "FiniteSubgroup",
    "FrameBasis",
    "Frames",
    "FullOrbit",
    "Gaussian",
    "GeneralLinear",
    "GivenElements",
    "Grid",
    "GroupItself",
    "Haar",
    "Heisenberg",
    "HomogeneousSpace",
    "IcosahedralGroup",
    "Invariant",
    "InverseDistance",
    "LieGroup",
    "Lifted",
    "LiftedPositionOrientation",
    "O",
    "OctahedralGroup",
    "OrbitLabels",
    "PerHead",
    "PolynomialEnvelope",
    "PoseDistance",
    "PositionOrientation",
    "PositiveScaling",
    "Proposal",
    "RadialBasis",
    "RadialFunctions",
    "RandomSampler",
    "Recommended",
    "RelativeMatrix",
    "RelativePose",
    "RelativePositionOrientation",
    "RotationGroup",
    "RotationScaling",
    "Sampler",
    "Sees",
    "SemidirectProduct",
    "Sim",
    "SpecialEuclidean",
    "SpecialOrthogonal",
    "Sphere",
    "TetrahedralGroup",
    "Translation",
    "Trivial",
    "finite_subgroup",
    "lift",
    "recommended",
]
