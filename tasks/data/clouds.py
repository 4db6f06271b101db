"""Clouds of points, in batches and as the arrays that batches are gathered from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import copy
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import embedding

__all__ = [
    "Arrays",
    "Clouds",
    "Stored",
    "Table",
    "centered",
    "check_arrays",
    "one_hot",
    "padding_fraction",
]

Floats = npt.NDArray[np.floating[Any]]
Sizes = npt.NDArray[np.integer[Any]]


class Clouds(NamedTuple):
    """A batch of B clouds, padded to the size N of the largest.

    Attributes:
        features: Features of the points, zero in the padding, shape (B, N, in_features).
        points: Coordinates of the points, zero in the padding, shape (B, N, point_dim).
        mask: True for a point, False for padding, shape (B, N); None where all clouds of the data
            have one size.
        targets: What is to be predicted of a cloud, shape (B, ...).
        ids: The number of each cloud in its source, shape (B,), int64.
        weight: What each cloud counts in the mean of the loss, shape (B,): 1, but where processes
            that train together have unequal parts of a batch.
        point_targets: What is to be predicted of each point, zero in the padding, shape
            (B, N, ...); None where there is nothing.
        edges: The pairs of neighbors, shape (2, E), where the source has them; else None.
        cells: The three vectors of the periodic cell of each cloud, shape (B, 3, 3), where the
            source has them; else None.
    """

    features: Tensor
    points: Tensor
    mask: Tensor | None
    targets: Tensor
    ids: Tensor
    weight: Tensor
    point_targets: Tensor | None = None
    edges: Tensor | None = None
    cells: Tensor | None = None

    @property
    def inputs(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """What a network takes: features, points and mask."""
        return self.features, self.points, self.mask

    @classmethod
    def of(cls, parts: Mapping[str, Tensor]) -> Clouds:
        """A batch of those parts that there are; without numbers and weights, none are known."""
        nothing = parts["points"].new_zeros(0)
        given: dict[str, Any] = {"mask": None, "ids": nothing, "weight": nothing, **parts}
        return cls(**given)

    def first(self, count: int) -> Clouds:
        """The first few clouds."""
        return Clouds(*(None if part is None else part[:count] for part in self))  # type: ignore[arg-type]


class Stored(Protocol):
    """Clouds of which batches are made: in memory, or in a file that is read as it is needed."""

    @property
    def device(self) -> torch.device:
        """Where batches are made."""

    @property
    def sizes(self) -> Sizes:
        """Number of points of each cloud, shape (n,)."""

    def batch(self, rows: Tensor) -> Clouds:
        """The clouds of some rows ``(B,)``, int64, on the host."""

    def to(self, device: torch.device | str, /) -> Stored:
        """The same clouds, of which batches are made on another device."""


class Arrays(NamedTuple):
    """What a source gives: n clouds with P points in all, side by side.

    Attributes:
        points: Coordinates of all points, shape (P, point_dim).
        sizes: Number of points of each cloud, shape (n,).
        features: Features of all points, shape (P, in_features); or the kind of each point, shape
            (P,), an integer that counts the rows of ``kinds``.
        targets: What is to be predicted of each cloud, shape (n, ...).
        ids: The number of each cloud in the source, shape (n,).
        kinds: Features of the kinds of points, shape (kinds, in_features).
        point_targets: What is to be predicted of each point, shape (P, ...).
    """

    points: Floats
    sizes: Sizes
    features: npt.NDArray[Any]
    targets: npt.NDArray[Any]
    ids: npt.NDArray[np.integer[Any]]
    kinds: Floats | None = None
    point_targets: Floats | None = None


class Table:
    """Clouds in the memory of a device, from which padded batches are gathered.

    What decides the shape of a batch, the sizes and the order of the clouds, stays with the host,
    so that neither waits for the other, and there are no worker processes.

    Args:
        arrays: The clouds.
        center: Whether to move the centroid of each cloud to the origin.
        targets: Floating type of the targets; that of the points when absent, and whole numbers
            stay whole.
        dtype: Floating type of everything else.
    """

    def __init__(
        self,
        arrays: Arrays,
        *,
        center: bool = False,
        targets: torch.dtype | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.sizes: Sizes = np.asarray(arrays.sizes)
        starts = np.concatenate([[0], np.cumsum(self.sizes)[:-1]]).astype(np.int64)
        points = centered(arrays.points, self.sizes) if center else arrays.points
        self.device = torch.device("cpu")
        self._equal = bool((self.sizes == self.sizes[0]).all())
        self._points = torch.from_numpy(np.ascontiguousarray(points)).to(dtype)
        self._starts = torch.from_numpy(starts)
        self._sizes = torch.from_numpy(self.sizes.astype(np.int64))
        self._ids = torch.from_numpy(arrays.ids.astype(np.int64))
        self._targets = torch.from_numpy(np.ascontiguousarray(arrays.targets))
        if self._targets.is_floating_point():
            self._targets = self._targets.to(targets or dtype)
        self._features = torch.from_numpy(np.ascontiguousarray(arrays.features))
        self._kinds = None if arrays.kinds is None else torch.from_numpy(arrays.kinds).to(dtype)
        if self._kinds is None:
            self._features = self._features.to(dtype)
        given = arrays.point_targets
        self._point_targets = (
            None if given is None else torch.from_numpy(np.ascontiguousarray(given)).to(dtype)
        )

    def __len__(self) -> int:
        """Count the clouds."""
        return len(self.sizes)

    def to(self, device: torch.device | str) -> Table:
        if torch.device(device) == self.device:
            return self
        moved = copy(self)
        moved.device = torch.device(device)
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(moved, name, value.to(device))
        return moved

    def batch(self, rows: Tensor) -> Clouds:
        """Gather clouds, without waiting for the device.

        Args:
            rows: Their places, shape (B,), int64, on the host.

        Returns:
            The batch, padded to its largest cloud, on the device.
        """
        largest = int(self.sizes[rows.numpy()].max())
        if self.device.type == "cuda":
            rows = rows.pin_memory()
        rows = rows.to(self.device, non_blocking=True)
        slots = torch.arange(largest, device=self.device)
        mask = slots < self._sizes[rows, None]  # (B, N)
        # Padding points at the first point of the cloud and is blanked.
        place = self._starts[rows, None] + slots * mask  # (B, N)
        if self._kinds is None:
            features = self._features[place] * mask[..., None]
        else:
            features = embedding(self._features[place].long() * mask, self._kinds)
        return Clouds(
            features=features,
            points=self._points[place] * mask[..., None],
            mask=None if self._equal else mask,
            targets=self._targets[rows],
            ids=self._ids[rows],
            weight=torch.ones(len(rows), device=self.device),
            point_targets=None if self._point_targets is None else self._blank(place, mask),
        )

    def _blank(self, place: Tensor, mask: Tensor) -> Tensor:
        assert self._point_targets is not None
        values = self._point_targets[place]
        return values * mask.view(*mask.shape, *(1,) * (values.ndim - 2))


def check_arrays(name: str, arrays: Arrays, point_dim: int, in_features: int) -> None:
    """Raise ValueError unless arrays fit each other and are finite.

    Args:
        name: Where they are from, for the message.
        arrays: The clouds.
        point_dim: Number of coordinates of a point.
        in_features: Number of features of a point.
    """
    if arrays.sizes.ndim != 1 or arrays.sizes.dtype.kind not in "iu":
        raise ValueError(f"{name}: sizes are no column of whole numbers.")
    clouds, points = len(arrays.sizes), int(np.sum(arrays.sizes))
    features = (points, in_features) if arrays.kinds is None else (points,)
    for what, array, shape in (
        ("points", arrays.points, (points, point_dim)),
        ("features", arrays.features, features),
        ("ids", arrays.ids, (clouds,)),
    ):
        if array.shape != shape:
            raise ValueError(f"{name}: {what} have shape {array.shape}; expected {shape}.")
    if len(arrays.targets) != clouds:
        raise ValueError(f"{name}: there are {len(arrays.targets)} targets of {clouds} clouds.")
    if not clouds or np.min(arrays.sizes) < 1:
        raise ValueError(f"{name}: there are no clouds, or clouds without points.")
    for what, values in (
        ("points", arrays.points),
        ("features", arrays.features),
        ("targets", arrays.targets),
    ):
        if not np.isfinite(values).all():
            raise ValueError(f"{name}: some {what} are not finite.")


def centered(points: Floats, sizes: Sizes) -> Floats:
    """Points of clouds side by side with the centroid of each cloud moved to the origin.

    Args:
        points: Coordinates, shape (P, point_dim).
        sizes: Number of points of each cloud, shape (n,).
    """
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
    centroids = np.add.reduceat(points, starts, axis=0, dtype=np.float64) / sizes[:, None]
    return (points - centroids.repeat(sizes, axis=0)).astype(points.dtype)


def padding_fraction(batches: Iterable[Clouds]) -> float:
    """The share of padding among all points of some batches."""
    rows = points = 0
    for batch in batches:
        count = batch.points.shape[:2].numel()
        rows += count
        points += count if batch.mask is None else int(batch.mask.sum())
    return 1 - points / rows


def one_hot(kinds: Mapping[str, int], powers: int = 1) -> npt.NDArray[np.float32]:
    r"""Features of kinds of points: one-hot, times powers of a number that tells how large it is.

    .. math:: f = \mathrm{onehot}(Z) \otimes (1, c, \dots, c^{p-1}), \qquad c = Z / Z_\mathrm{max}.

    Args:
        kinds: The numbers of the kinds by name, such as the nuclear charges of elements.
        powers: How many powers, p.

    Returns:
        The features of a kind in the row of its number, zeros in the others, shape
        (largest + 1, p K) for K kinds, the powers of a kind side by side.

    Reference:
        B. Anderson, T. S. Hy, R. Kondor, "Cormorant: Covariant molecular neural networks",
        NeurIPS 2019.

    Example:
        >>> one_hot({"H": 1, "O": 8}, powers=3)[8]
        array([0., 0., 0., 1., 1., 1.], dtype=float32)
    """
    largest = max(kinds.values())
    table = torch.zeros(largest + 1, len(kinds), powers)
    for place, number in enumerate(kinds.values()):
        table[number, place] = (number / largest) ** torch.arange(float(powers))
    found: npt.NDArray[np.float32] = table.flatten(1).numpy()
    return found
