"""Statistics of the targets that a model is to learn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

_LEAST_REST: Final = 0.01
"""Of the deviation of a target; a fit of few molecules leaves nothing."""


@dataclass(frozen=True)
class Composition:
    r"""What the numbers of points of each kind say of the targets, by least squares on training.

    .. math:: y \approx c + \sum_e n_e w_e

    Most of what grows with a molecule is this sum over its elements. It is blind to how the atoms
    are arranged, which is what a network is for.

    Args:
        constant: c, shape (T,).
        weights: w, shape (E, T), zero for an element that no training molecule has.
        std: Standard deviations of the rest on the training part, shape (T,), where it is less than
            a hundredth of that of the target, that.
        size: Mean number of atoms on the training part.
        mae: Mean absolute errors of the fit on ``train``, ``val`` and ``test``, each of shape (T,).
    """

    constant: npt.NDArray[np.float64]
    weights: npt.NDArray[np.float64]
    std: npt.NDArray[np.float64]
    size: float
    mae: Mapping[str, npt.NDArray[np.float64]]

    @classmethod
    def of(
        cls,
        values: Mapping[str, npt.NDArray[np.float64]],
        counts: Mapping[str, npt.NDArray[np.integer[Any]]],
    ) -> Composition:
        """Fit the training part.

        Args:
            values: The targets of the parts, each of shape (n, T).
            counts: The numbers of atoms of each element in the same molecules, each (n, E).
        """
        y, n = values["train"], counts["train"]
        mean, typical = y.mean(axis=0), n.mean(axis=0, dtype=np.float64)
        # The normal equations: few elements, and more molecules than there need be copies of.
        inner, moment = np.zeros((n.shape[1], n.shape[1])), np.zeros((n.shape[1], y.shape[1]))
        for some in _blocks(len(n)):
            centered = n[some] - typical
            inner += centered.T @ centered
            moment += centered.T @ (y[some] - mean)
        weights = moment  # Nothing, where there are no kinds.
        if weights.size:
            weights = np.linalg.lstsq(inner, moment, rcond=1e-12)[0].astype(np.float64)
        constant = mean - typical @ weights
        rest = {
            part: np.concatenate(
                [
                    each[some] - constant - counts[part][some] @ weights
                    for some in _blocks(len(each))
                ]
            )
            for part, each in values.items()
        }
        std = np.maximum(rest["train"].std(axis=0), _LEAST_REST * y.std(axis=0))
        errors = {part: np.abs(each).mean(axis=0) for part, each in rest.items()}
        return cls(constant, weights, std, float(typical.sum()) or 1.0, errors)


def _blocks(count: int) -> Iterator[slice]:
    """Slices of at most 65,536 rows, together all of them."""
    return (slice(start, start + 2**16) for start in range(0, count, 2**16))


@dataclass(frozen=True)
class Statistics:
    """What is known of the targets of a data set, in their units.

    Args:
        mean: Means on the training part, shape (T,).
        std: Standard deviations on the training part, shape (T,).
        constant_mae: Mean absolute errors on ``train``, ``val`` and ``test``, each of shape (T,),
            of the best constants: the medians of the training part. A model that has learned
            something is below this.
        composition: What the numbers of atoms alone say. A model that has learned something of
            the positions is below its errors.
    """

    mean: npt.NDArray[np.float64]
    std: npt.NDArray[np.float64]
    constant_mae: Mapping[str, npt.NDArray[np.float64]]
    composition: Composition

    @classmethod
    def of(
        cls,
        values: Mapping[str, npt.NDArray[np.float64]],
        counts: Mapping[str, npt.NDArray[np.integer[Any]]],
        names: Sequence[str],
    ) -> Statistics:
        """Look at the targets of each part.

        Args:
            values: The targets of the parts, each of shape (n, T).
            counts: The numbers of atoms of each element in the same molecules, each (n, E).
            names: The names of the targets.

        Raises:
            ValueError: All training molecules have one value of a target.
        """
        train = values["train"]
        std = train.std(axis=0)
        if not std.all():
            raise ValueError(
                f"the {len(train)} training clouds have one value of {names[int(np.argmin(std))]}, "
                "so it cannot be standardized; take more"
            )
        median = np.median(train, axis=0)
        errors = {part: np.abs(each - median).mean(axis=0) for part, each in values.items()}
        return cls(train.mean(axis=0), std, errors, Composition.of(values, counts))
