"""How several processes train together: who takes which rows, and how their work is joined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from pytorch_lightning import Trainer
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor
from torch.autograd import Function

__all__ = ["Share", "allow_unused_weights"]


class Share(NamedTuple):
    """The part of each batch that a process takes where several train together.

    The parts of a batch are disjoint and together all of it, so that a training does not depend on
    the number of processes: neither what a step sees, nor what an epoch holds.

    Attributes:
        rank: The number of the process, from 0.
        world_size: The number of processes.
    """

    rank: int = 0
    world_size: int = 1

    @classmethod
    def of_this_process(cls) -> Share:
        """The part of this process in the training that it belongs to, all of it if in none."""
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            return cls(torch.distributed.get_rank(), torch.distributed.get_world_size())
        return cls()

    def require(self, smallest: int, kind: str) -> None:
        """Refuse batches that leave a process without a row.

        Args:
            smallest: Number of rows in the smallest batch.
            kind: What a row is, in the plural.

        Raises:
            ValueError: There are more processes than that.
        """
        if smallest < self.world_size:
            raise ValueError(
                f"batch_size: the smallest batch holds {smallest} {kind}, too few for "
                f"{self.world_size} processes; batch_size is the number for all processes "
                f"together. Take a larger one, more {kind}, or fewer processes"
            )

    def take(self, rows: Tensor) -> Tensor:
        """The rows of this process."""
        return rows[self.rank :: self.world_size]

    def weigh(self, weight: Tensor, count: int) -> Tensor:
        """Weights ``(B,)`` of this process's part of a batch of ``count`` rows.

        The gradients of the processes are averaged. With these weights that is the gradient of the
        mean over the whole batch, also where the parts are not equally large.
        """
        return torch.full_like(weight, len(weight) * self.world_size / count)

    def count(self, rows: int) -> int:
        """What ``LightningModule.log`` takes for the number of rows, with ``sync_dist``.

        Lightning divides by the mean of the processes' counts, rounded down; of these it is whole,
        so that what is logged is the mean over the rows of all processes.
        """
        return rows * self.world_size

    def gather(self, parts: Sequence[tuple[Tensor, ...]]) -> list[tuple[Tensor, ...]]:
        """Bring together what the processes have kept of their parts of some batches.

        Args:
            parts: Of each batch, tensors whose first axis counts the rows of this process.

        Returns:
            The same of the whole batches, their rows in order, on the host. Where the parts differ
            in size on another axis, as by padding, the smaller are padded with zeros.
        """
        here = [tuple(tensor.cpu() for tensor in part) for part in parts]
        if self.world_size == 1:
            return here
        everywhere: list[Any] = [None] * self.world_size
        torch.distributed.all_gather_object(everywhere, here)
        return [
            tuple(_interleaved(tensors) for tensors in zip(*batch, strict=True))
            for batch in zip(*everywhere, strict=True)
        ]

    def mean(self, value: Tensor) -> Tensor:
        """The mean of a number over the processes, with the derivatives of this one's.

        Optimizers that look at the loss take the same steps everywhere by it.
        """
        if self.world_size == 1:
            return value
        mean: Tensor = _Mean.apply(value)
        return mean


def _interleaved(parts: Sequence[Tensor]) -> Tensor:
    size = [max(sizes) for sizes in zip(*(part.shape[1:] for part in parts), strict=True)]
    whole = parts[0].new_zeros(sum(map(len, parts)), *size)
    for rank, part in enumerate(parts):
        whole[rank :: len(parts)][(slice(None), *map(slice, part.shape[1:]))] = part
    return whole


class _Mean(Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        mean = value.clone()
        torch.distributed.all_reduce(mean)
        return mean / torch.distributed.get_world_size()

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Tensor:
        return slope


def allow_unused_weights(trainer: Trainer) -> None:
    """Let processes train together though the loss does not depend on some of the weights.

    As where an energy is learned by its derivatives, which a constant does not change. Call it
    where the model is set up; who chose a strategy that says otherwise keeps it.

    Args:
        trainer: The trainer, before it sets up its strategy.
    """
    if isinstance(trainer.strategy, DDPStrategy):
        trainer.strategy._ddp_kwargs.setdefault("find_unused_parameters", True)
