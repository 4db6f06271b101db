"""The kinds of equivariance that a construction can have."""

from __future__ import annotations

from enum import StrEnum


class Equivariance(StrEnum):
    """The equivariance of a lift, and of a network built on it.

    Attributes:
        EXACT: Holds for every input and every group element, up to rounding.
        EXACT_FOR_SUBGROUP: Holds exactly for the elements of a subgroup.
        IN_DISTRIBUTION: The law of the random output is that of the transformed input; each
            single draw is only approximately equivariant.
        NONE: No equivariance is stated.
    """

    EXACT = "exact"
    EXACT_FOR_SUBGROUP = "exact_for_subgroup"
    IN_DISTRIBUTION = "in_distribution"
    NONE = "none"
