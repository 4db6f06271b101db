"""Features of pairs that a network learns once for all of its layers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import combinations_with_replacement
from math import prod

import torch
from torch import Tensor, nn

from liegroups.checks import check_count


class PairBasis(nn.Module, ABC):
    """Learned features of the invariants of pairs, which the kernels of all layers see.

    Args:
        inputs: Number of invariants of a pair.

    Attributes:
        features: Number of features.
    """

    features: int

    def __init__(self, inputs: int) -> None:
        super().__init__()

    @abstractmethod
    def forward(self, invariants: Tensor) -> Tensor:
        """Features ``(features, *pairs)`` of invariants ``(invariants, *pairs)``."""


class BasisPerceptron(PairBasis):
    """A perceptron of polynomials of the invariants, with two layers and GELU after each.

    Args:
        inputs: Number of invariants of a pair.
        features: Number of features.
        hidden: Number of hidden units.
        degree: Degree of the polynomials; 1 for the invariants themselves.

    Raises:
        ValueError: If a number is less than one.

    Reference:
        Bekkers et al. 2024, Fast, Expressive SE(n) Equivariant Networks through Weight-Sharing in
        Position-Orientation Space (PONITA), appendix: the basis of its kernels, of degree 3.
    """

    def __init__(self, inputs: int, features: int = 32, hidden: int = 64, degree: int = 3) -> None:
        super().__init__(inputs)
        check_count("BasisPerceptron.features", features)
        check_count("BasisPerceptron.hidden", hidden)
        check_count("BasisPerceptron.degree", degree, most=6)
        self.features = features
        self.monomials = [
            axes
            for d in range(1, degree + 1)
            for axes in combinations_with_replacement(range(inputs), d)
        ]
        self.first = nn.Linear(len(self.monomials), hidden)
        self.second = nn.Linear(hidden, features)
        for layer in (self.first, self.second):
            # Of unit size and spread, so that the features tell pairs apart from the start.
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
            nn.init.uniform_(layer.bias, -1, 1)

    def forward(self, invariants: Tensor) -> Tensor:
        flat = invariants.flatten(1)
        rows = flat.unbind(0)
        monomials = torch.stack(
            [prod([rows[a] for a in axes[1:]], start=rows[axes[0]]) for axes in self.monomials]
        )
        gelu = nn.functional.gelu
        # Features first, as pairs have them: W x + b of all pairs at once.
        hidden = gelu(torch.addmm(self.first.bias[:, None], self.first.weight, monomials))
        found = gelu(torch.addmm(self.second.bias[:, None], self.second.weight, hidden))
        return found.unflatten(1, invariants.shape[1:])
