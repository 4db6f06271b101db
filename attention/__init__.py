"""Attention that is equivariant to a Lie group: pull back, multiply by a kernel, push forward."""

from attention.block import AttentionBlock
from attention.heads import InvariantHead
from attention.kernels import (
    ConcatenatedLinear,
    Content,
    DotProduct,
    Joint,
    Kernel,
    LinearLocation,
    Location,
    LocationMLP,
    Product,
    SharedLocationMLP,
    Sum,
)
from attention.layer import LieAttention
from attention.measure import invariance_error
from attention.neighborhood import DenseNeighborhood, all_pairs
from attention.network import LieTransformer
from attention.normalizers import Count, Normalizer, Softmax

__all__ = [
    "AttentionBlock",
    "ConcatenatedLinear",
    "Content",
    "Count",
    "DenseNeighborhood",
    "DotProduct",
    "InvariantHead",
    "Joint",
    "Kernel",
    "LieAttention",
    "LieTransformer",
    "LinearLocation",
    "Location",
    "LocationMLP",
    "Normalizer",
    "Product",
    "SharedLocationMLP",
    "Softmax",
    "Sum",
    "all_pairs",
    "invariance_error",
]
