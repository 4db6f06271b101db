"""What every backend has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from attention.geometry import Fibres
from attention.kernels import Ends, Kernel
from attention.normalizers import Normalizer


class Backend(ABC):
    """A way to compute Σ_j α(fᵢ, fⱼ, I(gᵢ, gⱼ)) vⱼ over the fibres. All agree to rounding."""

    @abstractmethod
    def obstacle(self, kernel: Kernel, normalizer: Normalizer, fibres: Fibres) -> str | None:
        """Why it cannot compute this attention, as the end of a sentence; None when it can."""

    @abstractmethod
    def __call__(
        self, kernel: Kernel, normalizer: Normalizer, fibres: Fibres, ends: Ends, values: Tensor
    ) -> Tensor:
        """Attend.

        Args:
            kernel: Gives the logits of pairs.
            normalizer: Turns them into weights.
            fibres: The pairs.
            ends: What the points bring to the kernel.
            values: ``(heads, batch, sources, channels)``.

        Returns:
            ``(heads, batch, targets, channels)``, zeros for targets with an empty fibre.
        """
