"""Clouds as batches: features of points, batches of clouds of like size, motions.

All clouds lie in memory as tensors, and a batch is gathered by indexing, so there are no worker
processes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from tasks.loader import ResumableLoader, Share
from tasks.qm9.batches import SizeBuckets
from tasks.shapes.motions import Motion, move
from tasks.shapes.patterns import Clouds, Floats

Features = Literal["constant", "distances"]

FEATURES: Final[tuple[Features, ...]] = ("constant", "distances")
"""``constant``: a one at each point; ``distances``: its sorted distances to the others."""


class CloudBatch(NamedTuple):
    """B clouds of at most N points.

    Attributes:
        features: Features of the points, zero in the padding, shape (B, N, features).
        points: Coordinates, zero in the padding, shape (B, N, 2).
        mask: True for a point, False for padding, shape (B, N).
        counts: How often each shape appears, shape (B, shapes), int64.
        index: The number of each cloud in its set, shape (B,), int64.
        weight: What each cloud counts in the mean of the loss, shape (B,): 1, but where processes
            that train together have unequal parts of a batch.
    """

    features: Tensor
    points: Tensor
    mask: Tensor
    counts: Tensor
    index: Tensor  # type: ignore[assignment]  # hides tuple.index, which nobody needs here
    weight: Tensor


def sorted_distances(clouds: Clouds) -> Floats:
    """The distances of each point to the others of its cloud, the largest first.

    They are invariant under motions of the plane, and alone tell much about the shapes. The public
    code of the LieTransformer feeds them to all networks.

    Args:
        clouds: The clouds.

    Returns:
        Distances padded with zeros, ``(n, N, N - 1)``; zeros in the padding.
    """
    difference = clouds.points[:, :, None] - clouds.points[:, None]
    distance = np.sqrt(np.square(difference).sum(-1))
    pairs = clouds.mask[:, :, None] & clouds.mask[:, None]
    return -np.sort(-np.where(pairs, distance, 0.0), axis=-1)[..., :-1]


class CloudTensors:
    """A set of clouds as tensors from which padded batches are gathered.

    Args:
        clouds: The clouds.
        features: One of ``FEATURES``.
    """

    def __init__(self, clouds: Clouds, features: Features) -> None:
        self.clouds, self.features = clouds, features
        self.sizes = clouds.mask.sum(1)
        self.counts = torch.from_numpy(clouds.counts)
        self._points = torch.from_numpy(clouds.points.astype(np.float32))
        self._sizes = torch.from_numpy(self.sizes)

    def batch(self, rows: Tensor, moved: Clouds | None = None) -> CloudBatch:
        """Gather clouds.

        Args:
            rows: Their numbers in the set, shape (B,), int64.
            moved: The same clouds elsewhere, in place of those of the set.

        Returns:
            The batch, padded to its largest cloud.
        """
        size = int(self._sizes[rows].max())
        mask = torch.arange(size) < self._sizes[rows, None]
        if moved is None:
            points = self._points[rows, :size]
        else:
            points = torch.from_numpy(moved.points[:, :size].astype(np.float32))
        if self.features == "constant":
            features = mask[..., None].float()
        else:
            distances = sorted_distances(self.take(rows))[:, :size]
            features = torch.from_numpy(distances.astype(np.float32))
        weight = torch.ones(len(rows))
        return CloudBatch(features, points, mask, self.counts[rows], rows, weight)

    def take(self, rows: Tensor) -> Clouds:
        """Some of the clouds."""
        chosen = rows.numpy()
        return Clouds(*(part[chosen] for part in self.clouds))


class CloudSampler(SizeBuckets):
    """Rows in batches of clouds of like size, a function of the seed and the epoch alone.

    Args:
        draw: Gives the set of an epoch; without ``fresh`` it is asked for once.
        batch_size: Largest number of clouds in a batch.
        fresh: Whether each epoch has a set of its own.
        mixing: How many points apart the sizes in a batch may be, about.
        seed: Seed of the order.
        reshuffle: Whether each epoch has an order of its own.
    """

    def __init__(
        self,
        draw: Callable[[int], CloudTensors],
        batch_size: int,
        *,
        fresh: bool = False,
        mixing: float = 0.0,
        seed: int = 0,
        reshuffle: bool = True,
    ) -> None:
        self.clouds = draw(0)
        self._draw, self._fresh = draw, fresh
        super().__init__(
            self.clouds.sizes,
            batch_size,
            mixing=mixing,
            seed=seed,
            reshuffle=reshuffle,
        )

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose batches the next iteration gives; Lightning calls this."""
        if self._fresh and epoch != self.epoch:
            self.clouds = self._draw(epoch)
            self.sizes = self.clouds.sizes
        super().set_epoch(epoch)


class CloudLoader(ResumableLoader[CloudBatch, CloudSampler]):
    """An iterable of batches, which a trainer can resume in the middle of an epoch.

    The motions of a batch depend on the seed, the epoch and the place of the batch in it alone,
    so an interrupted run goes on with the batches that it would have seen, and several processes
    see what one would.

    Args:
        sampler: Gives the rows of the batches; Lightning calls its ``set_epoch``.
        order: The settings that the order of an epoch depends on, by name.
        augment: Moves each cloud anew.
        shift: Largest shift of a coordinate, in the unit of the coordinates.
        progress: Gives the number of batches that the trainer has finished in this epoch;
            without it, the batches handed out count as finished.
        share: The part of each batch that this process takes.

    Raises:
        ValueError: There are more processes than clouds in a batch.
    """

    kind = "clouds"

    def __init__(
        self,
        sampler: CloudSampler,
        *,
        order: Mapping[str, int | str],
        augment: Motion = "D",
        shift: float = 0.0,
        progress: Callable[[], int] | None = None,
        share: Share = Share(),  # noqa: B008 (immutable)
    ) -> None:
        super().__init__(sampler, order, sampler.smallest, progress, share)
        self.augment, self.shift = augment, shift

    def batch(self, step: int, rows: Tensor) -> CloudBatch:
        clouds, own = self.sampler.clouds, self.share.take(rows)
        moved = None
        if self.augment != "D":
            generator = np.random.default_rng((self.sampler.seed, self.sampler.epoch, step, 1))
            # All clouds of the batch draw, so that the number of processes changes no motion.
            whole = move(clouds.take(rows), self.augment, self.shift, generator)
            places = self.share.take(torch.arange(len(rows))).numpy()
            moved = Clouds(*(part[places] for part in whole))
        batch = clouds.batch(own, moved)
        return batch._replace(weight=self.share.weigh(batch.weight, len(rows)))
