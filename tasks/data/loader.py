"""Batches of clouds of like size, in an order that an interrupted training goes on with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from tasks.data.clouds import Clouds, Sizes, Stored
from tasks.data.share import Share

__all__ = ["BatchSampler", "Loader"]


class BatchSampler(Sampler[Tensor]):
    r"""The rows of each batch of an epoch, a function of the seed and the epoch alone.

    Clouds of one size are put in random order and cut into batches of nearly equal length. Where
    the sizes differ, the clouds are sorted by their size plus noise, :math:`n_i + \text{mixing}
    \cdot u_i` with :math:`u_i` uniform in [0, 1), cut into batches, and the batches are shuffled:
    more than one point of noise keeps a batch from holding a single size only, at the price of some
    padding. Each cloud is in one batch of an epoch.

    Args:
        sizes: Number of points of each cloud, shape (n,).
        batch_size: Largest number of clouds in a batch.
        seed: Seed of the order.
        mixing: Noise in the order by size, in points.
        reshuffle: Whether each epoch has an order of its own; else clouds of one size keep theirs.
        repeats: How often an epoch goes through the clouds.
    """

    def __init__(
        self,
        sizes: Sizes,
        batch_size: int,
        *,
        seed: int = 0,
        mixing: float = 0.0,
        reshuffle: bool = True,
        repeats: int = 1,
    ) -> None:
        self.sizes, self.batch_size, self.seed = sizes, batch_size, seed
        self.mixing, self.reshuffle, self.repeats = mixing, reshuffle, repeats
        self.epoch = 0

    @property
    def _each(self) -> int:
        return -(-len(self.sizes) // self.batch_size)

    @property
    def smallest(self) -> int:
        """Number of clouds in the smallest batch."""
        return len(self.sizes) // self._each

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose batches the next iteration gives; Lightning calls this."""
        if self.reshuffle:
            self.epoch = epoch

    def __len__(self) -> int:
        return self._each * self.repeats

    def __iter__(self) -> Iterator[Tensor]:
        """Iterate over batches, each the places of its clouds in ``sizes``, int64."""
        for repeat in range(self.repeats):
            if (self.sizes == self.sizes[0]).all():
                order = np.arange(len(self.sizes))
                if self.reshuffle:
                    rng = np.random.default_rng((self.seed, self.epoch, repeat))
                    order = rng.permutation(len(self.sizes))
                yield from torch.from_numpy(order).tensor_split(self._each)
            else:
                entropy = (self.seed, self.epoch, repeat) if repeat else (self.seed, self.epoch)
                rng = np.random.default_rng(entropy)
                keys = self.sizes + self.mixing * rng.random(len(self.sizes))
                batches = np.array_split(np.argsort(keys, kind="stable"), self._each)
                for place in rng.permutation(self._each):
                    yield torch.from_numpy(batches[place])


class Loader:
    """Gives this process's part of the batches of a sampler, and says how far it has come.

    What is random about a batch depends on the seed, the epoch and the place of the batch in it
    alone, so an interrupted run goes on with the batches that it would have seen, and several
    processes see what one would.

    Args:
        clouds: Gives the clouds of an epoch; Lightning calls it, by ``set_epoch``, before each.
        rows: Which of them, in the order that the sampler counts, shape (n,), int64, on the host.
        sampler: Gives the batches.
        order: The settings that the order of an epoch depends on, by name. A checkpoint keeps them.
        noun: What the clouds are, in the plural.
        move: Moves the clouds of a batch at random: given this process's part of it, the number of
            clouds in the whole, the share, and a seed.
        progress: Gives the number of batches that the trainer has finished in this epoch;
            without it, the batches handed out count as finished.
        share: The part of each batch that this process takes.
        workers: Number of processes that read; without any, this one does.

    Raises:
        ValueError: There are more processes than clouds in a batch.
    """

    def __init__(
        self,
        clouds: Callable[[int], Stored],
        rows: Tensor,
        sampler: BatchSampler,
        *,
        order: Mapping[str, int | str],
        noun: str = "clouds",
        move: Callable[[Clouds, int, Share, int], Clouds] | None = None,
        progress: Callable[[], int] | None = None,
        share: Share = Share(),  # noqa: B008 (immutable)
        workers: int = 0,
    ) -> None:
        # Lightning expects the two attributes that a DataLoader without batching of its own has.
        self.sampler = self
        self.batch_sampler = None
        self.rows, self.batches, self.share, self.workers = rows, sampler, share, workers
        share.require(sampler.smallest, noun)
        self._clouds, self._move, self._order = clouds, move, dict(order)
        self._progress = progress
        self._handed_out = 0
        self._resume_at = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose batches the next iteration gives; Lightning calls this."""
        self.batches.set_epoch(epoch)
        self.batches.sizes = self._clouds(self.batches.epoch).sizes[self.rows.numpy()]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Clouds]:
        # Lightning makes the iterator before it sets the epoch; a generator starts after that.
        start, self._resume_at = self._resume_at, 0
        clouds = self._clouds(self.batches.epoch)
        work = [(step, rows) for step, rows in enumerate(self.batches) if step >= start]
        read = self._read(clouds, [self.rows[self.share.take(rows)] for _, rows in work])
        for (step, rows), batch in zip(work, read, strict=True):
            self._handed_out = step + 1
            yield self._finish(step, len(rows), batch)

    def _read(self, clouds: Stored, rows: list[Tensor]) -> Iterable[Clouds]:
        """Batches of some rows; which process reads one changes nothing about it."""
        if not self.workers:
            yield from map(clouds.batch, rows)
            return
        reader = Reader(clouds)
        for batch in DataLoader(reader, sampler=rows, batch_size=None, num_workers=self.workers):
            if isinstance(batch, str):
                raise ValueError(batch)
            yield batch

    def _finish(self, step: int, count: int, batch: Clouds) -> Clouds:
        """Weigh and move this process's part of a batch of ``count`` clouds."""
        batch = batch._replace(weight=self.share.weigh(batch.weight, count))
        if self._move is None:
            return batch
        entropy = (self.batches.seed, self.batches.epoch, step)
        seed = np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0]
        return self._move(batch, count, self.share, int(seed))

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


class Reader(Dataset[Clouds | str]):
    """Clouds as the workers of a ``DataLoader`` ask for them.

    Args:
        clouds: The clouds; what it holds open is closed first, where it says how, since no
            connection is for two processes.
    """

    def __init__(self, clouds: Stored) -> None:
        self.clouds = clouds
        close = getattr(clouds, "close", None)
        if close is not None:
            close()

    def __getitem__(self, rows: Tensor) -> Clouds | str:
        """Read a batch.

        Returns:
            The batch; where it cannot be read, the reason, which as an exception would arrive with
            the stack of the worker.
        """
        try:
            return self.clouds.batch(rows)
        except ValueError as error:
            return str(error)
