"""Random motions of whole clouds: the transformed copies of a set."""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from liegroups.checks import check_number
from tasks.sources.shapes.patterns import Clouds

Motion = Literal["D", "T2", "SE2"]

MOTIONS: Final[tuple[Motion, ...]] = ("D", "T2", "SE2")
"""``D``: the clouds as they are; ``T2``: translated; ``SE2``: rotated and translated."""


def move(clouds: Clouds, motion: Motion, shift: float, generator: np.random.Generator) -> Clouds:
    """Move each cloud by a random element of a group.

    Angles are uniform on the circle, about the origin of the coordinates; then each coordinate is
    shifted by a number uniform in [-shift, shift).

    Args:
        clouds: The clouds; they are left as they are.
        motion: One of ``MOTIONS``.
        shift: Largest shift of a coordinate, in the unit of the coordinates.
        generator: Source of randomness.

    Returns:
        Clouds whose existing points are moved.

    Raises:
        ValueError: If there is no such motion, or the shift is below 0.

    Example:
        >>> from tasks.sources.shapes import Patterns
        >>> clouds = Patterns().sample(3, seed=0)
        >>> moved = move(clouds, "SE2", 1.0, np.random.default_rng(0))
        >>> (moved.counts == clouds.counts).all()
        np.True_
    """
    check_motion("motion", motion)
    check_number("shift", shift, least=0)
    if motion == "D":
        return clouds
    points, count = clouds.points, len(clouds.points)
    if motion == "SE2":
        points = points @ _rotations(generator.uniform(0, 2 * np.pi, count)).transpose(0, 2, 1)
    points = points + generator.uniform(-shift, shift, (count, 1, 2))
    return clouds._replace(points=np.where(clouds.mask[..., None], points, 0.0))


def check_motion(name: str, motion: str) -> None:
    """Raise ValueError unless a setting of some name is one of ``MOTIONS``."""
    if motion not in MOTIONS:
        raise ValueError(f"{name}: {motion!r}; accepted: {', '.join(MOTIONS)}.")


def _rotations(angle: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Matrices ``(n, 2, 2)`` of angles ``(n,)``."""
    c, s = np.cos(angle), np.sin(angle)
    return np.stack((np.stack((c, -s), -1), np.stack((s, c), -1)), -2)
