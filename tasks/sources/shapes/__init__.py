"""Random clouds of triangles, squares, pentagons and Ls."""

from tasks.sources.shapes.data import FEATURES, Shapes, sorted_distances
from tasks.sources.shapes.motions import MOTIONS, Motion, move
from tasks.sources.shapes.patterns import SHAPES, Clouds, Patterns

__all__ = [
    "FEATURES",
    "MOTIONS",
    "SHAPES",
    "Clouds",
    "Motion",
    "Patterns",
    "Shapes",
    "move",
    "sorted_distances",
]
