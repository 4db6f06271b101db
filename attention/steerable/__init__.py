"""Attention whose features are irreducible representations of rotations. It needs e3nn."""

from typing import TYPE_CHECKING

from attention.steerable.channelwise import ChannelwiseTransformer
from attention.steerable.harmonic import HarmonicTransformer
from attention.steerable.irreps import EquivariantLinear, EquivariantNorm, Gate
from attention.steerable.layer import SteerableAttention
from attention.steerable.network import SteerableTransformer
from attention.steerable.painn import PaiNN, PaiNNLayer
from attention.steerable.paths import Path
from attention.steerable.perceptron import PairPerceptron, Radial
from attention.steerable.pooling import Pooling
from attention.steerable.products import (
    CuEquivarianceProduct,
    E3nnProduct,
    FusedProduct,
    PairwiseProduct,
    ProductName,
    TensorProduct,
    make_product,
)
from attention.steerable.tensor_product import Directions, Harmonics, PairProduct, Slots
from liegroups.deprecation import renamed

__all__ = [
    "ChannelwiseTransformer",
    "CuEquivarianceProduct",
    "Directions",
    "E3nnProduct",
    "EquivariantLinear",
    "EquivariantNorm",
    "FusedProduct",
    "Gate",
    "HarmonicTransformer",
    "Harmonics",
    "PaiNN",
    "PaiNNLayer",
    "PairPerceptron",
    "PairProduct",
    "PairwiseProduct",
    "Path",
    "Pooling",
    "ProductName",
    "Radial",
    "Slots",
    "SteerableAttention",
    "SteerableTransformer",
    "TensorProduct",
    "make_product",
]

if TYPE_CHECKING:
    Product = TensorProduct
else:
    __getattr__ = renamed(__name__, {"Product": "TensorProduct"})
