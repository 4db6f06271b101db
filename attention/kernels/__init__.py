"""Kernels: content and location parts, and the ways to combine them."""

from attention.kernels.combination import Joint, Kernel, Product, Sum
from attention.kernels.content import ConcatenatedLinear, Content, DotProduct
from attention.kernels.location import LinearLocation, Location, LocationMLP, SharedLocationMLP

__all__ = [
    "ConcatenatedLinear",
    "Content",
    "DotProduct",
    "Joint",
    "Kernel",
    "LinearLocation",
    "Location",
    "LocationMLP",
    "Product",
    "SharedLocationMLP",
    "Sum",
]
