"""The base class of backends."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from attention.geometry import Pairs
from attention.kernels import Kernel, Projections
from attention.normalizers import Normalizer
from liegroups.deprecation import RenamedMethods


class Backend(RenamedMethods, ABC):
    """A way to compute Σ_j α(fᵢ, fⱼ, I(gᵢ, gⱼ)) vⱼ over the neighbors. All agree to rounding."""

    renamed_methods = {"obstacle": "limitation"}  # noqa: RUF012

    @abstractmethod
    def limitation(self, kernel: Kernel, normalizer: Normalizer, pairs: Pairs) -> str | None:
        """The reason why it cannot compute this attention, to end a sentence; None if it can."""

    @abstractmethod
    def __call__(
        self,
        kernel: Kernel,
        normalizer: Normalizer,
        pairs: Pairs,
        projections: Projections,
        values: Tensor,
    ) -> Tensor:
        """Attend.

        Args:
            kernel: Gives the logits of pairs.
            normalizer: Turns them into weights.
            pairs: The pairs.
            projections: Queries and keys for the kernel.
            values: ``(heads, batch, sources, channels)``.

        Returns:
            ``(heads, batch, targets, channels)``, zeros for targets with an empty fibre.
        """
