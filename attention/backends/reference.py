"""The reference: every pair stored, one line for each arrow of the integral transform."""

from __future__ import annotations

from torch import Tensor

from attention.backends.base import Backend
from attention.geometry import Fibres
from attention.kernels import Ends, Kernel
from attention.normalizers import Normalizer


class Reference(Backend):
    """Pull back, multiply by the kernel, push forward. Its memory grows with the pairs."""

    def obstacle(self, kernel: Kernel, normalizer: Normalizer, fibres: Fibres) -> str | None:
        return None

    def __call__(
        self, kernel: Kernel, normalizer: Normalizer, fibres: Fibres, ends: Ends, values: Tensor
    ) -> Tensor:
        logits = kernel(fibres, ends)  # (heads, *pairs)
        weights = normalizer(fibres.neighborhood, logits)  # (heads, *pairs)
        return fibres.neighborhood.push_forward(weights, values)
