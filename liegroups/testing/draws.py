"""The old name of ``liegroups.testing.inputs``."""

from liegroups.deprecation import warn_renamed
from liegroups.testing.inputs import (
    ANGLES,
    CLOUD_KINDS,
    POINT_KINDS,
    cloud,
    eigenvalues,
    element,
    point,
    spectral_angle,
    tangent,
)

__all__ = [
    "ANGLES",
    "CLOUD_KINDS",
    "POINT_KINDS",
    "cloud",
    "eigenvalues",
    "element",
    "point",
    "spectral_angle",
    "tangent",
]

warn_renamed("liegroups.testing.draws", "liegroups.testing.inputs", 2)
