"""Frames as batches.

All frames lie in memory as tensors, and a batch is gathered by indexing, so there are no worker
processes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor

from tasks.loader import Batches, ResumableLoader, Share
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
        weight: What each frame counts in the mean of the loss, shape (B,), float64: 1, but where
            processes that train together have unequal parts of a batch.
    """

    features: Tensor
    positions: Tensor
    energy: Tensor
    forces: Tensor
    index: Tensor  # type: ignore[assignment]  # hides tuple.index, which nobody needs here
    weight: Tensor


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
            weight=torch.ones(len(rows), dtype=torch.float64),
        )


class FrameLoader(ResumableLoader[FrameBatch, Batches]):
    """An iterable of batches, which a trainer can resume in the middle of an epoch.

    Args:
        frames: The frames.
        sampler: Gives the rows of the batches; Lightning calls its ``set_epoch``.
        order: The settings that the order of an epoch depends on, by name.
        progress: Gives the number of batches that the trainer has finished in this epoch;
            without it, the batches handed out count as finished.
        share: The part of each batch that this process takes.

    Raises:
        ValueError: There are more processes than frames in a batch.
    """

    kind = "frames"

    def __init__(
        self,
        frames: FrameTensors,
        sampler: Batches,
        *,
        order: Mapping[str, int | str],
        progress: Callable[[], int] | None = None,
        share: Share = Share(),  # noqa: B008 (immutable)
    ) -> None:
        super().__init__(sampler, order, sampler.smallest, progress, share)
        self.frames = frames

    def batch(self, step: int, rows: Tensor) -> FrameBatch:
        batch = self.frames.batch(self.share.take(rows))
        return batch._replace(weight=self.share.weigh(batch.weight, len(rows)))
