"""Spaces that groups act on, with sections and stabilizers."""

from liegroups.group import HomogeneousSpace
from liegroups.spaces.coordinates import Coordinates
from liegroups.spaces.euclidean import EuclideanSpace
from liegroups.spaces.position_orientation import PositionOrientation
from liegroups.spaces.principal import GroupItself
from liegroups.spaces.spheres import ConcentricSpheres, Sphere

__all__ = [
    "ConcentricSpheres",
    "Coordinates",
    "EuclideanSpace",
    "GroupItself",
    "HomogeneousSpace",
    "PositionOrientation",
    "Sphere",
]
