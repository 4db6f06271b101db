"""Attention that is equivariant to a Lie group: pull back, multiply by a kernel, push forward."""

from typing import TYPE_CHECKING

from attention.backends import BACKENDS, Backend, BackendName
from attention.blocks import (
    AttentionBlock,
    Block,
    ConvNextBlock,
    EdgeNetworkBlock,
    FibreConvolution,
    GroupConvolutionBlock,
    GroupLinear,
    InteractionBlock,
    MessageBlock,
    SeparableBlock,
)
from attention.geometry import Geometry, Pairs
from attention.heads import (
    FrameVectorHead,
    Head,
    InvariantHead,
    LinearReadout,
    PointHead,
    RelativeVectorHead,
    SumHead,
    VectorHead,
)
from attention.interface import Network
from attention.kernels import (
    BasisPerceptron,
    ConcatenatedLinear,
    Content,
    ContentOnly,
    Convolution,
    DotProduct,
    Filter,
    Filtered,
    FilterMLP,
    FrameRotary,
    Joint,
    Kernel,
    LinearFilter,
    LinearLocation,
    Location,
    LocationMLP,
    LocationOnly,
    NormLocation,
    PairBasis,
    Product,
    Projections,
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
from liegroups.deprecation import renamed

__all__ = [
    "BACKENDS",
    "AllPairs",
    "AttentionBlock",
    "Backend",
    "BackendName",
    "BasisPerceptron",
    "Block",
    "ConcatenatedLinear",
    "Content",
    "ContentOnly",
    "ConvNextBlock",
    "Convolution",
    "Count",
    "DenseNeighborhood",
    "DotProduct",
    "EdgeNetworkBlock",
    "Exponential",
    "FibreConvolution",
    "Filter",
    "FilterMLP",
    "Filtered",
    "FrameRotary",
    "FrameVectorHead",
    "Geometry",
    "GroupConvolutionBlock",
    "GroupLinear",
    "Head",
    "InteractionBlock",
    "InvariantHead",
    "Joint",
    "Kernel",
    "LieAttention",
    "LieTransformer",
    "Linear",
    "LinearFilter",
    "LinearLocation",
    "LinearReadout",
    "Location",
    "LocationMLP",
    "LocationOnly",
    "MessageBlock",
    "Nearest",
    "Neighborhood",
    "NeighborhoodRule",
    "Network",
    "NormLocation",
    "Normalizer",
    "PairBasis",
    "Pairs",
    "PointHead",
    "Product",
    "Projections",
    "Radius",
    "RandomNearest",
    "RelativePosition",
    "RelativeVectorHead",
    "Rotary",
    "SeparableBlock",
    "SharedLocationMLP",
    "Sigmoid",
    "Softmax",
    "SparseNeighborhood",
    "Sum",
    "SumHead",
    "VectorHead",
    "invariance_error",
]

if TYPE_CHECKING:
    Ends = Projections
    Fibres = Pairs
else:
    __getattr__ = renamed(__name__, {"Fibres": "Pairs", "Ends": "Projections"})
