"""Frames that need no data and no other program."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from liegroups.checks import check_count, check_number, check_seed
from tasks.sources.md17.frames import Frames, Source

# Ethanol at rest, in angstrom.
_ETHANOL: Final = (
    ("C", 1.1879, -0.3829, 0.0),
    ("C", 0.0, 0.5526, 0.0),
    ("O", -1.1867, -0.2472, 0.0),
    ("H", -1.9237, 0.3850, 0.0),
    ("H", 2.0985, 0.2306, 0.0),
    ("H", 1.1184, -1.0093, 0.8869),
    ("H", 1.1184, -1.0093, -0.8869),
    ("H", -0.0227, 1.1812, 0.8852),
    ("H", -0.0227, 1.1812, -0.8852),
)
_BOND, _OTHER = 20_000.0, 500.0  # meV/Å²
_LONGEST_BOND = 1.7  # Å
_MOST_FRAMES = 100_000  # About a gigabyte.
_ENERGY = -4_209_000.0  # meV, about that of ethanol


@dataclass(frozen=True)
class Springs(Source):
    """Ethanol with springs between its atoms, shaken at random: made in milliseconds, for a try.

    The energy is Σ kᵢⱼ (|xᵢ - xⱼ| - dᵢⱼ)² / 2 over all pairs, and the forces are exact.

    Args:
        frames: Number of frames.
        deviation: Deviation of each coordinate from that at rest, in angstrom.
        seed: Seed of the frames.

    Raises:
        ValueError: If a number is out of range.
    """

    frames: int = 1000
    deviation: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        check_count("Springs.frames", self.frames, most=_MOST_FRAMES)
        check_number("Springs.deviation", self.deviation, above=0, most=0.1)
        check_seed("Springs.seed", self.seed)

    def load(self, molecule: str) -> Frames:
        """Make the frames.

        Args:
            molecule: ``ethanol``.

        Raises:
            ValueError: The molecule is another.
        """
        if molecule != "ethanol":
            raise ValueError(f"molecule: Springs has ethanol alone; got {molecule!r}.")
        charges = np.array([{"H": 1, "C": 6, "O": 8}[symbol] for symbol, *_ in _ETHANOL])
        rest = np.array([position for _, *position in _ETHANOL])
        random = np.random.RandomState(self.seed)
        positions = rest + self.deviation * random.standard_normal((self.frames, *rest.shape))
        first, second = np.triu_indices(len(rest), 1)
        length = np.linalg.norm(rest[first] - rest[second], axis=-1)
        stiffness = np.where(length < _LONGEST_BOND, _BOND, _OTHER)
        between = positions[:, first] - positions[:, second]  # (frames, pairs, 3)
        distance = np.linalg.norm(between, axis=-1)
        stretch = distance - length
        pull = (stiffness * stretch / distance)[..., None] * between
        identity = np.eye(len(rest))
        forces = np.einsum("pa,fpc->fac", identity[second] - identity[first], pull)
        energies = _ENERGY + (stiffness * stretch**2).sum(-1) / 2
        return Frames(molecule, "springs", charges, positions, energies, forces)
