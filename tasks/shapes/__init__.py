"""Shape counting: how many triangles, squares, pentagons and Ls a planar cloud holds."""

from tasks.shapes.batches import FEATURES, CloudBatch, sorted_distances
from tasks.shapes.data import Shapes
from tasks.shapes.model import ShapesModel
from tasks.shapes.motions import MOTIONS, Motion, move
from tasks.shapes.networks import CountingNetwork, LieCounter, SumHead
from tasks.shapes.patterns import SHAPES, Clouds, Patterns
from tasks.shapes.pictures import PICTURES
from tasks.shapes.set_transformer import SetTransformer

Model, Data = ShapesModel, Shapes

__all__ = [
    "FEATURES",
    "MOTIONS",
    "PICTURES",
    "SHAPES",
    "CloudBatch",
    "Clouds",
    "CountingNetwork",
    "LieCounter",
    "Motion",
    "Patterns",
    "SetTransformer",
    "Shapes",
    "ShapesModel",
    "SumHead",
    "move",
    "sorted_distances",
]
