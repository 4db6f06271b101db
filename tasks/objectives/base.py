"""What every objective is: a loss, the figures that tell how good a prediction is, and a report."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from attention import Network
from tasks.data.clouds import Arrays, Clouds, Stored, Table, check_arrays, one_hot
from tasks.data.module import CloudData
from tasks.sources.atoms import columns

__all__ = ["Column", "Facts", "Figures", "Objective", "Prediction", "Tested"]

Figures = dict[str, float | str]
"""What a test found, by name."""

Prediction = tuple[Tensor, ...]
"""What is predicted of a batch, each ``(B, ...)``."""

D = TypeVar("D", bound=CloudData)


class Facts(NamedTuple):
    """What a network and an objective are built from: facts of the data, all of them plain.

    Attributes:
        in_features: Number of features of a point.
        outputs: Number of targets of a cloud.
        kinds: The columns of the features that count the kinds of points.
        point_dim: Number of coordinates of a point, where it is known.
        max_points: Number of points of the largest cloud, where it is known.
        choices: Number of values that a target may have, 0, 1 and so on; 0 where it is any number.
    """

    in_features: int
    outputs: int
    kinds: Sequence[int] = ()
    point_dim: int | None = None
    max_points: int | None = None
    choices: int = 0


class Tested(NamedTuple):
    """A batch that was tested, with what an objective keeps of it.

    Attributes:
        test_set: Which of the test sets it is of.
        parts: What :meth:`Objective.keep` gave.
    """

    test_set: int
    parts: tuple[Tensor, ...]


class Column(NamedTuple):
    """A column of a table of predictions.

    Attributes:
        name: Its name, with the unit.
        form: How a number is written.
    """

    name: str
    form: str = "%.6g"


class Objective(nn.Module, ABC, Generic[D]):
    """What a network is trained for.

    Built by a ``Model`` from facts of the data; what it learns of them before training, such as
    means, it keeps in buffers and in :meth:`get_extra`, which go into the checkpoints.

    Args:
        facts: Facts of the data.

    Attributes:
        criterion: The figure by which weights are chosen, less being better.
        of_training: Settings that training alone depends on: a run may go on with others.
        free: Settings that say how something is computed and not what.
        needs_gradients: Whether predictions are made of derivatives with respect to the points.
        sees_clouds: Whether the network takes the clouds of the data as they are.
    """

    criterion: ClassVar[str] = "mae"
    of_training: ClassVar[Collection[str]] = ()
    free: ClassVar[Collection[str]] = ()
    needs_gradients: ClassVar[bool] = False
    sees_clouds: ClassVar[bool] = True

    def __init__(self, facts: Facts) -> None:
        super().__init__()
        self.facts = facts

    # ---- the network -------------------------------------------------------------------------

    @property
    def in_features(self) -> int:
        """Number of features of a point that the network is to take."""
        return self.facts.in_features

    @property
    def out_features(self) -> int:
        """Number of outputs that the network is to give."""
        return self.facts.outputs

    def join(self, network: Network) -> None:
        """Look at the network; an objective that has weights of its own makes them here.

        Raises:
            ValueError: If it is not one for this objective.
        """
        if network.is_per_point:
            raise ValueError(
                f"model.network: {type(network).__name__} gives an output at each point; "
                f"{type(self).__name__} needs one for the cloud: give --model.network.pooling mean "
                "or sum, or a head that pools."
            )

    # ---- the data ----------------------------------------------------------------------------

    def at(self, progress: float) -> None:
        """Prepare for a step after a share of the training, from 0 to 1."""

    def learn_from(self, data: D) -> None:
        """Take what there is to know of the training part before training starts."""

    def point_dim(self, network: Network, data: D) -> int:
        """Number of coordinates of the points that the network is to take."""
        return data.point_dim

    def check(self, data: D) -> None:
        """Look whether data are of what the weights were trained on.

        Raises:
            ValueError: If not; the message names the setting.
        """

    def get_extra(self) -> dict[str, Any]:
        """What a checkpoint keeps besides buffers, as plain values."""
        return {}

    def set_extra(self, kept: Mapping[str, Any]) -> None:
        """Take what :meth:`get_extra` gave."""

    # ---- training and evaluation -------------------------------------------------------------

    @abstractmethod
    def loss(
        self, network: Network, batch: Clouds, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Prediction]:
        """The mean of the loss over a batch, and what was predicted, in the units of the targets.

        Args:
            network: The network.
            batch: The clouds.
            generator: Source of randomness for the network.
        """

    @abstractmethod
    def predict(self, network: Network, batch: Clouds) -> Prediction:
        """Predict, in the units of the targets."""

    @abstractmethod
    def errors(self, prediction: Prediction, batch: Clouds) -> dict[str, Tensor]:
        """How far a prediction is off, by the name of the figure: each cloud's own, ``(B,)``.

        The criterion is among them.
        """

    def training_errors(
        self, loss: Tensor, prediction: Prediction, batch: Clouds
    ) -> dict[str, Tensor]:
        """What is logged of a training step; by default the errors of its prediction."""
        return self.errors(prediction, batch)

    # ---- what a test says --------------------------------------------------------------------

    @abstractmethod
    def keep(self, prediction: Prediction, batch: Clouds) -> tuple[Tensor, ...]:
        """What is kept of a batch for the report, tensors ``(B, ...)``."""

    @abstractmethod
    def results(self, network: Network, tested: Sequence[Tested], data: D) -> Figures:
        """What a test found.

        ``test/`` and the criterion is among the names; and the same with ``_constant``, what a
        predictor that has learned nothing scores.
        """

    @abstractmethod
    def summary(self, found: Figures, data: D) -> list[str]:
        """What a test found, as lines for a person."""

    def symmetry(self, found: Figures) -> list[str]:
        """What a test found of the equivariance, as lines for a person."""
        if "equivariance/error" not in found:
            return []
        kind = str(found["equivariance/kind"]).replace("_", " ")
        return [
            f"Invariance to {found['equivariance/group']}: {kind}; the output changes by "
            f"{found['equivariance/error']:.1e} of its deviation under random elements "
            f"({found['equivariance/error_float32']:.1e} in float32)."
        ]

    @abstractmethod
    def symmetry_errors(
        self, network: Network, batch: Clouds, dtype: torch.dtype
    ) -> dict[str, float]:
        """How far predictions are from what they should be when the group moves the clouds.

        Args:
            network: The network; it is left as it is.
            batch: Clouds.
            dtype: Floating type to compute in.

        Returns:
            By the name of the figure, ``error`` where there is one.
        """

    @property
    @abstractmethod
    def curve_label(self) -> str:
        """What the learning curve shows, with its unit."""

    @abstractmethod
    def draw(self, folder: Path, tested: Sequence[Tested], found: Figures, data: D) -> list[Path]:
        """Draw a test's figures into a folder; return their paths."""

    # ---- tables of predictions ---------------------------------------------------------------

    @abstractmethod
    def columns(self, labelled: bool = True) -> list[Column]:
        """The columns of a table of predictions, after that of the numbers of the clouds.

        Args:
            labelled: Whether the targets of the clouds are known.
        """

    @abstractmethod
    def cells(self, prediction: Prediction, batch: Clouds) -> Tensor:
        """The numbers in these columns, ``(B, columns)``."""

    def point_columns(self) -> list[Column]:
        """Columns for each point, a vector of as many components; ``{}`` stands for its number."""
        return []

    def point_cells(self, prediction: Prediction) -> Tensor:
        """The numbers in these columns, ``(B, N, columns)``."""
        raise NotImplementedError(f"{type(self).__name__} predicts nothing of single points.")

    # ---- clouds of a file --------------------------------------------------------------------

    @property
    def described(self) -> str:
        """What is predicted, in words: equal for networks that may be averaged."""
        return ", ".join(column.name for column in self.columns(labelled=False))

    @property
    def deviations(self) -> Tensor:
        """How much each column differs from cloud to cloud, or broadcasts with that."""
        return torch.ones(1)

    @property
    def elements(self) -> Mapping[str, int]:
        """The elements that are known, with their nuclear charges, where points are atoms."""
        return {}

    def atom_features(self) -> npt.NDArray[np.float32]:
        """Features of the atoms of an element in the row of its nuclear charge.

        Raises:
            ValueError: If points are no atoms, or have further features.
        """
        kinds, powers = self.elements, self.facts.in_features // max(len(self.elements), 1)
        if not kinds or list(self.facts.kinds) != list(columns(kinds, powers).values()):
            raise ValueError(
                f"a network of {self.described} sees more of a point than an element; give a file "
                "NAME.npz of arrays."
            )
        return one_hot(kinds, powers)

    @property
    def turns(self) -> bool:
        """Whether the columns stay as they are when a cloud turns, and vectors turn with it."""
        return True

    def stored(
        self, network: Network, arrays: Mapping[str, npt.NDArray[Any]], center: bool
    ) -> Stored:
        """Make clouds of the arrays of a file.

        Args:
            network: The network.
            arrays: ``points`` ``(P, point_dim)`` of all clouds side by side, the ``sizes`` ``(n,)``
                of the clouds, and ``features`` ``(P, in_features)``, which may be absent where a
                point has one, a 1.
            center: Whether the clouds of the training were centered.

        Raises:
            ValueError: If an array is absent, or does not fit the network.
        """
        needed = ["points", "sizes", *(["features"] if self.facts.in_features > 1 else [])]
        take_arrays(arrays, needed, ["features"])
        count = len(arrays["sizes"])
        found = Arrays(
            points=arrays["points"],
            sizes=arrays["sizes"],
            features=arrays.get("features", np.ones((len(arrays["points"]), 1))),
            targets=np.empty((count, 0)),
            ids=np.arange(count),
        )
        check_arrays("the file", found, network.space.point_dim, self.facts.in_features)
        return Table(found, center=center)


def take_arrays(
    arrays: Mapping[str, npt.NDArray[Any]], needed: Sequence[str], others: Sequence[str] = ()
) -> None:
    """Raise ValueError unless a file has the arrays that are needed, and no others than known.

    Args:
        arrays: What the file has.
        needed: The names of what it needs.
        others: The names of what it may have besides.
    """
    missing = [name for name in needed if name not in arrays]
    strange = [name for name in arrays if name not in (*needed, *others)]
    if missing or strange:
        raise ValueError(
            f"the file has the arrays {', '.join(arrays) or 'none'}; this network needs "
            f"{', '.join(needed)}."
        )
    for name, array in arrays.items():
        if array.dtype.kind not in "fiu":
            raise ValueError(f"{name}: an array of {array.dtype}; accepted: real numbers.")
        if not np.isfinite(array).all():
            raise ValueError(f"{name}: some numbers are not finite.")


def all_of(tested: Sequence[Tested], place: int, test_set: int = 0) -> Tensor:
    """One of the kept tensors, of all clouds of a test set."""
    return torch.cat([each.parts[place] for each in tested if each.test_set == test_set])
