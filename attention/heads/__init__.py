"""Output heads: from the features of the lifted points to the output."""

from attention.heads.base import Head, VectorHead
from attention.heads.invariant import InvariantHead
from attention.heads.points import FrameVectorHead, PointHead, RelativeVectorHead

__all__ = [
    "FrameVectorHead",
    "Head",
    "InvariantHead",
    "PointHead",
    "RelativeVectorHead",
    "VectorHead",
]
