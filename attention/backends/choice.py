"""The choice of a backend: the named one, or the best that can."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from attention.backends.base import Backend
from attention.backends.fused import Fused
from attention.backends.linear import LinearTime
from attention.backends.reference import Reference
from attention.backends.streaming import Streaming
from attention.backends.triton import Triton
from attention.geometry import Pairs
from attention.kernels import Kernel
from attention.normalizers import Normalizer
from liegroups import Sees
from liegroups.sees import includes

BackendName = Literal["auto", "reference", "fused", "linear", "streaming", "triton"]

BACKENDS: dict[str, Backend] = {
    "reference": Reference(),
    "fused": Fused(),
    "linear": LinearTime(),
    "streaming": Streaming(),
    "triton": Triton(),
}
_STORED_BYTES = 2**25


def choose_backend(
    name: BackendName, kernel: Kernel, normalizer: Normalizer, pairs: Pairs, values: Tensor
) -> Backend:
    """The backend of a name; for ``auto`` the first of these that can compute the attention.

    ``linear``, where it can. ``fused``, where logits are inner products without a location part
    and the points require no gradient, since it has no second derivatives. Where the logits of a
    layer are larger than 32 MiB, ``triton`` on a GPU, or ``streaming``. ``reference``.

    Args:
        name: A key of ``BACKENDS``, or ``auto``.
        kernel: Gives the logits of pairs.
        normalizer: Turns them into weights.
        pairs: The pairs.
        values: ``(heads, batch, sources, channels)``.

    Raises:
        ValueError: If there is no such backend, or it cannot compute this attention.
    """
    if name != "auto":
        check_backend(name)
        reason = BACKENDS[name].limitation(kernel, normalizer, pairs)
        if reason is not None:
            raise ValueError(f"backend {name!r} {reason}.")
        return BACKENDS[name]
    heads, batch, sources, _ = values.shape
    logits = heads * batch * pairs.target.point.shape[1] * sources
    large = logits * values.element_size() > _STORED_BYTES
    for candidate, wanted in {
        "linear": True,
        "fused": not includes(kernel.sees, Sees.INVARIANTS) and not pairs.points_require_grad,
        "triton": large and values.is_cuda,
        "streaming": large,
    }.items():
        backend = BACKENDS[candidate]
        if wanted and backend.limitation(kernel, normalizer, pairs) is None:
            return backend
    return BACKENDS["reference"]


def check_backend(name: str) -> None:
    """Raise ValueError unless there is a backend of that name."""
    if name not in ("auto", *BACKENDS):
        raise ValueError(f"backend is one of {', '.join(('auto', *BACKENDS))}; got {name!r}.")
