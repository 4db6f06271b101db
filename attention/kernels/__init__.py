"""Kernels: content and location parts, and the ways to combine them."""

from typing import TYPE_CHECKING

from attention.kernels.base import Kernel
from attention.kernels.basis import BasisPerceptron, PairBasis
from attention.kernels.combination import ContentOnly, Joint, LocationOnly, Product, Sum
from attention.kernels.content import ConcatenatedLinear, Content, DotProduct, Projections
from attention.kernels.filtered import Convolution, Filtered
from attention.kernels.filters import Filter, FilterMLP, LinearFilter
from attention.kernels.location import (
    LinearLocation,
    Location,
    LocationMLP,
    NormLocation,
    SharedLocationMLP,
)
from attention.kernels.relative_position import RelativePosition
from attention.kernels.rotary import FrameRotary, Rotary
from liegroups.deprecation import renamed

__all__ = [
    "BasisPerceptron",
    "ConcatenatedLinear",
    "Content",
    "ContentOnly",
    "Convolution",
    "DotProduct",
    "Filter",
    "FilterMLP",
    "Filtered",
    "FrameRotary",
    "Joint",
    "Kernel",
    "LinearFilter",
    "LinearLocation",
    "Location",
    "LocationMLP",
    "LocationOnly",
    "NormLocation",
    "PairBasis",
    "Product",
    "Projections",
    "RelativePosition",
    "Rotary",
    "SharedLocationMLP",
    "Sum",
]

if TYPE_CHECKING:
    Ends = Projections
else:
    __getattr__ = renamed(__name__, {"Ends": "Projections"})
