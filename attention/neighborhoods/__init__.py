"""Neighborhoods: the neighbors of each target, in two layouts, and the rules that choose them."""

from attention.neighborhoods.base import Neighborhood
from attention.neighborhoods.dense import DenseNeighborhood
from attention.neighborhoods.rules import AllPairs, Nearest, NeighborhoodRule, Radius, RandomNearest
from attention.neighborhoods.sparse import SparseNeighborhood, given_edges

__all__ = [
    "AllPairs",
    "DenseNeighborhood",
    "Nearest",
    "Neighborhood",
    "NeighborhoodRule",
    "Radius",
    "RandomNearest",
    "SparseNeighborhood",
    "given_edges",
]
