"""Batches for one process or several, which go on in the middle of an epoch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import numpy as np
import torch
from pytorch_lightning import Trainer
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor
from torch.autograd import Function
from torch.utils.data import Sampler

Batch = TypeVar("Batch")
S = TypeVar("S", bound=Sampler[Tensor])


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


class Batches(Sampler[Tensor]):
    """Rows in batches of nearly equal length, a function of the seed and the epoch alone.

    Args:
        rows: The rows, shape (n,), int64.
        batch_size: Largest number of rows in a batch.
        seed: Seed of the order, a new one each epoch; without one, the order is that of the rows.
        repeats: How often an epoch goes through the rows.
    """

    def __init__(
        self, rows: Tensor, batch_size: int, *, seed: int | None = None, repeats: int = 1
    ) -> None:
        self.rows, self.seed, self.repeats = rows, seed, repeats
        self._each = -(-len(rows) // batch_size)
        self.epoch = 0

    @property
    def smallest(self) -> int:
        """Number of rows in the smallest batch."""
        return len(self.rows) // self._each

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose batches the next iteration gives; Lightning calls this."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self._each * self.repeats

    def __iter__(self) -> Iterator[Tensor]:
        for repeat in range(self.repeats):
            rows = self.rows
            if self.seed is not None:
                rng = np.random.default_rng((self.seed, self.epoch, repeat))
                rows = rows[torch.from_numpy(rng.permutation(len(rows)))]
            yield from rows.tensor_split(self._each)


class ResumableLoader(ABC, Generic[Batch, S]):
    """Gives this process's part of the batches of a sampler, and says how far it has come.

    Args:
        sampler: Gives the rows of the batches; Lightning calls its ``set_epoch``.
        order: The settings that the order of an epoch depends on, by name. A checkpoint keeps them.
        smallest: Number of rows in the smallest batch.
        progress: Gives the number of batches that the trainer has finished in this epoch;
            without it, the batches handed out count as finished.
        share: The part of each batch that this process takes.

    Raises:
        ValueError: There are more processes than rows in a batch.
    """

    kind: ClassVar[str] = "rows"
    """What a row is, in the plural."""

    def __init__(
        self,
        sampler: S,
        order: Mapping[str, int | str],
        smallest: int,
        progress: Callable[[], int] | None,
        share: Share,
    ) -> None:
        # Lightning expects the two attributes that a DataLoader without batching of its own has.
        self.sampler = sampler
        self.batch_sampler = None
        self.share = share
        share.require(smallest, self.kind)
        self._order = dict(order)
        self._progress = progress
        self._handed_out = 0
        self._resume_at = 0

    @abstractmethod
    def batch(self, step: int, rows: Tensor) -> Batch:
        """This process's part of the batch of some rows, at a place of the epoch."""

    def __len__(self) -> int:
        return len(self.sampler)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Batch]:
        # Lightning makes the iterator before it sets the epoch; a generator starts after that.
        start, self._resume_at = self._resume_at, 0
        work = ((step, rows) for step, rows in enumerate(self.sampler) if step >= start)
        for step, batch in enumerate(self.batches(work), start):
            self._handed_out = step + 1
            yield batch

    def batches(self, work: Iterable[tuple[int, Tensor]]) -> Iterator[Batch]:
        """Batches of some rows at places of the epoch, one after the other."""
        return (self.batch(step, rows) for step, rows in work)

    def state_dict(self) -> dict[str, Any]:
        """Say how far the epoch has come, and what its order depends on, for a checkpoint."""
        done = self._handed_out if self._progress is None else self._progress()
        return {"batches": len(self), "done": done, "order": self._order}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Let the next iteration start where a checkpoint stands.

        Args:
            state: What :meth:`state_dict` gave; one of an earlier version has no ``order``.

        Raises:
            ValueError: The checkpoint stands inside an epoch of another order.
        """
        done, batches = state["done"] % state["batches"], state["batches"]
        if done:
            before: dict[str, int | str] = state.get("order", {})
            changed = [
                f"{name} was {before[name]}, is {value}"
                for name, value in self._order.items()
                if before.get(name, value) != value
            ]
            if changed:
                raise ValueError(
                    f"{'; '.join(changed)}; the checkpoint stands inside an epoch, after batch "
                    f"{done} of {batches}, whose order depends on it. Resume with what was, or "
                    "from a checkpoint at the end of an epoch."
                )
            if batches != len(self):
                raise ValueError(
                    f"the checkpoint stands after batch {done} of {batches}, but the epoch has "
                    f"{len(self)} batches now; resume with the same {', '.join(self._order)}"
                )
        self._resume_at = done
