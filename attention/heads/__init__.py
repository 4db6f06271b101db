"""Output heads: from the features of the lifted points to the output."""

from attention.heads.base import Head, Pooling, VectorHead
from attention.heads.invariant import InvariantHead
from attention.heads.points import FrameVectorHead, PointHead, RelativeVectorHead
from attention.heads.sums import LinearReadout, SumHead

__all__ = [
    "FrameVectorHead",
    "Head",
    "InvariantHead",
    "LinearReadout",
    "PointHead",
    "Pooling",
    "RelativeVectorHead",
    "SumHead",
    "VectorHead",
]
