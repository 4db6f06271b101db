"""Sums and maxima over the edges that share a target, by torch or by torch_scatter."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

Package = Literal["torch", "torch_scatter"]


def scatter_sum(values: Tensor, index: Tensor, size: int, package: Package = "torch") -> Tensor:
    """Sum the values of the edges with the same index.

    Args:
        values: ``(channels, edges, *rest)``.
        index: Integers from 0 to ``size`` - 1, ``(edges,)``.
        size: Number of sums.
        package: The package that does it; the results agree to rounding.

    Returns:
        Sums ``(channels, size, *rest)``, zero where there is no edge.
    """
    if package == "torch_scatter":
        return _torch_scatter().scatter(values, index, dim=1, dim_size=size, reduce="sum")
    total = values.new_zeros(len(values), size, *values.shape[2:])
    return total.index_add(1, index, values)


def scatter_max(values: Tensor, index: Tensor, size: int, package: Package = "torch") -> Tensor:
    """The largest value of the edges with the same index, and zero where there is no edge.

    Args:
        values: ``(channels, edges)``.
        index: Integers from 0 to ``size`` - 1, ``(edges,)``.
        size: Number of maxima.
        package: The package that does it.

    Returns:
        Maxima ``(channels, size)``.
    """
    if package == "torch_scatter":
        return _torch_scatter().scatter(values, index, dim=1, dim_size=size, reduce="max")
    largest = values.new_zeros(len(values), size)
    return largest.scatter_reduce(1, index.expand_as(values), values, "amax", include_self=False)


def check_scatter(package: str) -> None:
    """Raise unless the package is one of the two, and installed.

    Raises:
        ValueError: If it is another.
        ModuleNotFoundError: If it is not installed.
    """
    if package not in ("torch", "torch_scatter"):
        raise ValueError(f"scatter is 'torch' or 'torch_scatter'; got {package!r}.")
    if package == "torch_scatter":
        _torch_scatter()


def _torch_scatter():  # type: ignore[no-untyped-def]
    try:
        import torch_scatter
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "scatter='torch_scatter' needs the package torch_scatter, which is not installed; "
            "use scatter='torch', or install it with "
            "pip install --no-build-isolation 'lie-attention[scatter]'."
        ) from None
    return torch_scatter
