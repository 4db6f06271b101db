"""Attention that is equivariant to a Lie group: pull back, multiply by a kernel, push forward."""

from attention.backends import BACKENDS, Backend, BackendName
from attention.block import AttentionBlock
from attention.geometry import Fibres, Geometry
from attention.heads import (
    FrameVectorHead,
    Head,
    InvariantHead,
    PointHead,
    RelativeVectorHead,
    VectorHead,
)
from attention.interface import Network
from attention.kernels import (
    ConcatenatedLinear,
    Content,
    ContentOnly,
    DotProduct,
    Ends,
    Joint,
    Kernel,
    LinearLocation,
    Location,
    LocationMLP,
    LocationOnly,
    NormLocation,
    Product,
    RelativePosition,
    Rotary,
    SharedLocationMLP,
    Sum,
)
from attention.layer import LieAttention
from attention.measure import invariance_error
from attention.neighborhoods import (
    AllPairs,
    DenseNeighborhood,
    Nearest,
    Neighborhood,
    NeighborhoodRule,
    Radius,
    RandomNearest,
    SparseNeighborhood,
)
from attention.network import LieTransformer
from attention.normalizers import Count, Exponential, Linear, Normalizer, Sigmoid, Softmax

__all__ = [
    "BACKENDS",
    "AllPairs",
    "AttentionBlock",
    "Backend",
    "BackendName",
    "ConcatenatedLinear",
    "Content",
    "ContentOnly",
    "Count",
    "DenseNeighborhood",
    "DotProduct",
    "Ends",
    "Exponential",
    "Fibres",
    "FrameVectorHead",
    "Geometry",
    "Head",
    "InvariantHead",
    "Joint",
    "Kernel",
    "LieAttention",
    "LieTransformer",
    "Linear",
    "LinearLocation",
    "Location",
    "LocationMLP",
    "LocationOnly",
    "Nearest",
    "Neighborhood",
    "NeighborhoodRule",
    "Network",
    "NormLocation",
    "Normalizer",
    "PointHead",
    "Product",
    "Radius",
    "RandomNearest",
    "RelativePosition",
    "RelativeVectorHead",
    "Rotary",
    "SharedLocationMLP",
    "Sigmoid",
    "Softmax",
    "SparseNeighborhood",
    "Sum",
    "VectorHead",
    "invariance_error",
]
