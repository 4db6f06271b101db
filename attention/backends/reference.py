"""The reference: every pair stored, one line for each arrow of the integral transform."""

from __future__ import annotations

from torch import Tensor

from attention.backends.base import Backend
from attention.geometry import Pairs
from attention.kernels import Kernel, Projections
from attention.normalizers import Normalizer


class Reference(Backend):
    """Pull back, multiply by the kernel, push forward. Its memory grows with the pairs."""

    def limitation(self, kernel: Kernel, normalizer: Normalizer, pairs: Pairs) -> str | None:
        return None

    def __call__(
        self,
        kernel: Kernel,
        normalizer: Normalizer,
        pairs: Pairs,
        projections: Projections,
        values: Tensor,
    ) -> Tensor:
        logits = kernel(pairs, projections)  # (heads, *pairs)
        weights = normalizer(pairs.neighborhood, logits)  # (heads, *pairs)
        if kernel.filter is None:
            return pairs.neighborhood.push_forward(weights, values)
        features, coefficients = kernel.filter(pairs)
        return pairs.neighborhood.convolve(weights, features, coefficients, values)
