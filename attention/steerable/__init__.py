"""Attention whose features are irreducible representations of rotations. It needs e3nn."""

from attention.steerable.irreps import EquivariantLinear, EquivariantNorm, Gate
from attention.steerable.layer import SteerableAttention
from attention.steerable.network import SteerableTransformer
from attention.steerable.tensor_product import Harmonics, PairProduct

__all__ = [
    "EquivariantLinear",
    "EquivariantNorm",
    "Gate",
    "Harmonics",
    "PairProduct",
    "SteerableAttention",
    "SteerableTransformer",
]
