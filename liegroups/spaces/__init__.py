"""Spaces that groups act on, with sections and stabilizers."""

from liegroups.spaces.base import HomogeneousSpace
from liegroups.spaces.euclidean import EuclideanSpace
from liegroups.spaces.spheres import ConcentricSpheres

__all__ = ["ConcentricSpheres", "EuclideanSpace", "HomogeneousSpace"]
