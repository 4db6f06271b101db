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

from liegroups.affine import AffineGroup
from liegroups.equivariance import Equivariance
from liegroups.group import LieGroup
from liegroups.invariants import (
    Concat,
    Distance,
    Invariant,
    InverseDistance,
    OrbitLabels,
    PerHead,
    RelativePose,
)
from liegroups.lifting import Haar, Lifted, Sampler, lift
from liegroups.rotation import RotationGroup
from liegroups.se2 import SE2
from liegroups.se3 import SE3
from liegroups.so2 import SO2
from liegroups.so3 import SO3
from liegroups.spaces import ConcentricSpheres, EuclideanSpace, HomogeneousSpace
from liegroups.translation import T2, T3, Translation
from liegroups.trivial import Trivial

__all__ = [
    "SE2",
    "SE3",
    "SO2",
    "SO3",
    "T2",
    "T3",
    "AffineGroup",
    "Concat",
    "ConcentricSpheres",
    "Distance",
    "Equivariance",
    "EuclideanSpace",
    "Haar",
    "HomogeneousSpace",
    "Invariant",
    "InverseDistance",
    "LieGroup",
    "Lifted",
    "OrbitLabels",
    "PerHead",
    "RelativePose",
    "RotationGroup",
    "Sampler",
    "Translation",
    "Trivial",
    "lift",
]
