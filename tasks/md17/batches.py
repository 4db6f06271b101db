"""Frames as batches.

All frames lie in memory as tensors, and a batch is gathered by indexing, so there are no worker
processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Sampler

from tasks.loader import ResumableLoader
from tasks.md17.frames import ELEMENTS, Frames

IN_FEATURES: Final = len(ELEMENTS)
"""Features of an atom."""


class FrameBatch(NamedTuple):
    """B frames of one molecule of N atoms.

    Attributes:
        features: What :func:`element_features` gives, shape (B, N, 12).
        positions: Coordinates in angstrom about the centroid, shape (B, N, 3).
        energy: Total energy in meV, shape (B,), float64: single precision would lose digits.
        forces: Forces in meV/angstrom, shape (B, N, 3).
        index: The number of each frame in the source, shape (B,), int64.
    """

    features: Tensor
    positions: Tensor
    energy: Tensor
    forces: Tensor
    index: Tensor  # type: ignore[assignment]  # hides tuple.index, which nobody needs here


def element_features(charges: Tensor) -> Tensor:
    """Describe atoms by their element, one-hot in the order of ``ELEMENTS``.

    Args:
        charges: Nuclear charges, any integer type, shape (...).

    Returns:
        Features, float32, shape (..., 12).

    Example:
        >>> element_features(torch.tensor([1, 6]))[:, :3]
        tensor([[1., 0., 0.],
                [0., 0., 1.]])
    """
    known = torch.tensor(list(ELEMENTS.values()), device=charges.device)
    return (charges[..., None] == known).float()


class FrameTensors:
    """Frames as tensors from which batches are gathered.

    Args:
        frames: The frames.
    """

    def __init__(self, frames: Frames) -> None:
        centered = frames.positions - frames.positions.mean(1, keepdims=True)
        self._features = element_features(torch.from_numpy(frames.charges))
        self._positions = torch.from_numpy(centered.astype(np.float32))
        self._energies = torch.from_numpy(frames.energies)
        self._forces = torch.from_numpy(frames.forces.astype(np.float32))

    def batch(self, rows: Tensor) -> FrameBatch:
        """Gather the frames of some rows ``(B,)``."""
        return FrameBatch(
            features=self._features.expand(len(rows), -1, -1),
            positions=self._positions[rows],
            energy=self._energies[rows],
            forces=self._forces[rows],
            index=rows,
        )


class Batches(Sampler[Tensor]):
    """Rows in batches of nearly equal length, a function of the seed and the epoch alone.

    Args:
        rows: The rows, shape (n,), int64.
        batch_size: Largest number of rows in a batch.
        shuffle: Whether each epoch has an order of its own; else the order is that of the rows.
        seed: Seed of the order.
        rank: Which share of the batches to give, where several processes train together.
        world_size: Number of shares. All are equally long; where the batches do not divide, the
            first ones are given twice.
    """

    def __init__(
        self,
        rows: Tensor,
        batch_size: int,
        *,
        shuffle: bool,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.rows = rows
        self.count = -(-len(rows) // batch_size)
        self.shuffle = shuffle
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose batches the next iteration gives; Lightning calls this."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.count // self.world_size)

    def __iter__(self) -> Iterator[Tensor]:
        rows = self.rows
        if self.shuffle:
            order = np.random.default_rng((self.seed, self.epoch)).permutation(len(rows))
            rows = rows[torch.from_numpy(order)]
        batches = rows.tensor_split(self.count)
        for place in range(self.rank, len(self) * self.world_size, self.world_size):
            yield batches[place % self.count]


class FrameLoader(ResumableLoader[FrameBatch, Batches]):
    """An iterable of batches, which a trainer can resume in the middle of an epoch.

    Args:
        frames: The frames.
        sampler: Gives the rows of the batches; Lightning calls its ``set_epoch``.
        progress: Gives the number of batches that the trainer has finished in this epoch;
            without it, the batches handed out count as finished.
    """

    def __init__(
        self,
        frames: FrameTensors,
        sampler: Batches,
        progress: Callable[[], int] | None = None,
    ) -> None:
        super().__init__(sampler, progress, "train_frames and batch_size")
        self.frames = frames

    def batch(self, step: int, rows: Tensor) -> FrameBatch:
        return self.frames.batch(rows)
