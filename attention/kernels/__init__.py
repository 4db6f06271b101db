"""Kernels: content and location parts, and the ways to combine them."""

from attention.kernels.base import Kernel
from attention.kernels.combination import ContentOnly, Joint, LocationOnly, Product, Sum
from attention.kernels.content import ConcatenatedLinear, Content, DotProduct, Ends
from attention.kernels.location import (
    LinearLocation,
    Location,
    LocationMLP,
    NormLocation,
    SharedLocationMLP,
)
from attention.kernels.relative_position import RelativePosition
from attention.kernels.rotary import Rotary

__all__ = [
    "ConcatenatedLinear",
    "Content",
    "ContentOnly",
    "DotProduct",
    "Ends",
    "Joint",
    "Kernel",
    "LinearLocation",
    "Location",
    "LocationMLP",
    "LocationOnly",
    "NormLocation",
    "Product",
    "RelativePosition",
    "Rotary",
    "SharedLocationMLP",
    "Sum",
]
