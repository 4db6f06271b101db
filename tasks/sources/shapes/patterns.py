"""The shapes and the clouds that are made of them.

Clouds follow the constellations of Kosiorek et al. 2019 (Stacked Capsule Autoencoders), as the
LieTransformer (Hutchinson et al. 2021, section 4.1) uses them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, pi, sin
from typing import Any, ClassVar, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from liegroups.checks import check_count, check_number
from liegroups.deprecation import RenamedMethods

Floats = npt.NDArray[np.float64]


def _polygon(corners: int) -> tuple[tuple[float, float], ...]:
    """A regular polygon with its corners on a circle of radius 1, one of them on top."""
    angles = (pi / 2 + 2 * pi * k / corners for k in range(corners))
    return tuple((cos(angle), sin(angle)) for angle in angles)


SHAPES: Final = {
    "triangle": _polygon(3),
    "square": _polygon(4),
    "pentagon": _polygon(5),
    "L": ((1.0, 1.0), (2.0, 1.0), (3.0, 1.0), (3.0, 2.0), (3.0, 3.0)),
}
"""The corners of each shape, about the origin that it turns about."""

LONGEST: Final = 1e6
"""Longest shift, in units of the polygons' radius: further off single precision loses them."""

# float64 numbers that the generator holds at a time for each corner of each slot, from a
# measurement of its peak memory, rounded up.
_NUMBERS_A_CORNER: Final = 10


class Clouds(NamedTuple):
    """n clouds of up to N points.

    Attributes:
        points: Coordinates, zero where there is no point, shape (n, N, 2), float64.
        mask: Which points exist; they come first, shape (n, N), booleans.
        counts: How often each shape appears, shape (n, shapes), int64.
    """

    points: Floats
    mask: npt.NDArray[np.bool_]
    counts: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Patterns(RenamedMethods):
    """The law of a random cloud: which shapes, how many, where and how exact.

    A cloud has ``repetitions`` slots for each shape. Each slot holds its shape with probability
    ``presence``, given that not all are empty. The shape is turned about its origin, moved, and
    its corners get Gaussian noise; the corners of all shapes come in random order. With
    ``scaled``, one scalar and one shift, the same for all clouds, bring everything but the tails
    of the noise into [-1, 1]².

    Args:
        shapes: Names of shapes: ``triangle``, ``square``, ``pentagon``, ``L``.
        repetitions: Number of slots of each shape.
        presence: Probability that a slot is filled, above 0.
        rotation: Largest angle in degrees, to either side; 180 is every angle.
        translation: Side of the square from which the shifts are drawn, in units of the
            polygons' radius.
        noise: Standard deviation of the noise of each coordinate, in the same unit.
        scaled: Whether to bring the coordinates into [-1, 1].

    Raises:
        ValueError: If there is no shape, an unknown one or one twice, or a number is out of range.

    Example:
        >>> patterns = Patterns(shapes=("triangle", "L"), repetitions=1, presence=1.0)
        >>> clouds = patterns.sample(5, seed=0)
        >>> clouds.points.shape, clouds.counts[0].tolist()
        ((5, 8, 2), [1, 1])
    """

    renamed_methods: ClassVar[dict[str, str]] = {"draw": "sample"}

    shapes: Sequence[str] = tuple(SHAPES)
    repetitions: int = 2
    presence: float = 0.5
    rotation: float = 59.4
    translation: float = 24.0
    noise: float = 0.1
    scaled: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "shapes", tuple(self.shapes))
        if not self.shapes:
            raise ValueError(f"shapes: none are given; accepted: {', '.join(SHAPES)}.")
        for name in self.shapes:
            if name not in SHAPES:
                raise ValueError(f"shapes: there is no {name!r}; accepted: {', '.join(SHAPES)}.")
        if len(set(self.shapes)) < len(self.shapes):
            raise ValueError(
                f"shapes: {', '.join(self.shapes)} names one twice; for several of a kind set "
                "repetitions."
            )
        check_count("repetitions", self.repetitions, most=None)
        check_number("presence", self.presence, above=0, most=1)
        check_number("rotation", self.rotation, least=0, most=180)
        check_number("translation", self.translation, least=0, most=LONGEST)
        check_number("noise", self.noise, least=0, most=LONGEST)

    @property
    def corners(self) -> list[Floats]:
        """The corners of each shape, ``(corners, 2)``."""
        return [np.array(SHAPES[name]) for name in self.shapes]

    @property
    def max_points(self) -> int:
        """Number of points of a cloud whose slots are all filled."""
        return self.repetitions * sum(map(len, self.corners))

    @property
    def center(self) -> float:
        """What is taken from both coordinates: the middle of the square of shifts."""
        return self.translation / 2 if self.scaled else 0.0

    @property
    def unit(self) -> float:
        """The polygons' radius in the coordinates of the clouds."""
        if not self.scaled:
            return 1.0
        reach = max(float(np.linalg.norm(corners, axis=1).max()) for corners in self.corners)
        return 1 / (self.translation / 2 + reach)

    def sample(self, count: int, seed: int | Sequence[int] | np.random.SeedSequence) -> Clouds:
        """Draw clouds.

        Args:
            count: Number of clouds.
            seed: Of numpy's default generator.

        Returns:
            The clouds, with N = ``max_points``.

        Raises:
            ValueError: If the count is below 0, or the memory of the machine does not hold so
                many slots.
        """
        self.check_memory(count)
        generator = np.random.default_rng(seed)
        corners = self.corners
        kinds, slots, most = len(corners), len(corners) * self.repetitions, max(map(len, corners))
        template = np.zeros((kinds, most, 2))
        is_corner = np.zeros((kinds, most), dtype=bool)
        for kind, places in enumerate(corners):
            template[kind, : len(places)] = places
            is_corner[kind, : len(places)] = True

        present = self._present(generator, count, slots).reshape(count, kinds, self.repetitions)
        angle = np.deg2rad(self.rotation) * generator.uniform(-1, 1, present.shape)
        shift = generator.uniform(0, self.translation, (*present.shape, 2))
        c, s = np.cos(angle)[..., None], np.sin(angle)[..., None]
        x, y = template[:, None, :, 0], template[:, None, :, 1]  # (kinds, 1, corners)
        points = np.stack((c * x - s * y, s * x + c * y), -1) + shift[..., None, :]
        points += self.noise * generator.standard_normal(points.shape)
        exists = (present[..., None] & is_corner[:, None]).reshape(count, slots * most)

        # Those that exist come first, in random order.
        key = np.where(exists, generator.random(exists.shape), 2.0)
        order = np.argsort(key, axis=1)[:, : self.max_points]
        mask = np.take_along_axis(exists, order, 1)
        points = np.take_along_axis(points.reshape(count, slots * most, 2), order[..., None], 1)
        points = np.where(mask[..., None], (points - self.center) * self.unit, 0.0)
        return Clouds(points, mask, present.sum(-1))

    def _present(self, generator: np.random.Generator, count: int, slots: int) -> Any:
        """Which slots are filled ``(count, slots)``: independent, given that one is."""
        present = generator.random((count, slots)) < self.presence
        # The first one filled is number k with probability proportional to (1 - p)ᵏ; the later
        # ones know nothing of it. The inverse of that law's distribution function:
        u = generator.random(count)
        if self.presence < 1:
            log_empty = np.log1p(-self.presence)
            first = np.log1p(u * np.expm1(slots * log_empty)) // log_empty
            first = np.minimum(first, slots - 1).astype(np.int64)  # Rounding may reach the end.
        else:
            first = np.zeros(count, dtype=np.int64)
        place = np.arange(slots)
        return (present & (place > first[:, None])) | (place == first[:, None])

    def check_memory(self, count: int) -> None:
        """Raise ValueError if clouds cannot be drawn for want of memory.

        Args:
            count: Number of clouds.
        """
        if count < 0:
            raise ValueError(f"the number of clouds is {count}; accepted: 0 or more.")
        slots = len(self.shapes) * self.repetitions
        corners = slots * max(map(len, self.corners))
        needed, memory = 8 * _NUMBERS_A_CORNER * count * corners, _memory()
        if memory is not None and needed > memory:
            raise ValueError(
                f"{count:,} clouds of {slots:,} slots take about {needed / 2**30:,.1f} GiB, and "
                f"the machine has {memory / 2**30:,.1f} GiB; lower repetitions or the number of "
                "clouds."
            )


def _memory() -> int | None:
    """Bytes of memory that the machine has, where the operating system tells."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None
