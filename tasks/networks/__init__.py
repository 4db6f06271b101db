"""Networks without a symmetry, to compare with."""

from tasks.networks.graph import GraphNetwork
from tasks.networks.perceptron import Perceptron
from tasks.networks.set_transformer import SetTransformer

__all__ = ["GraphNetwork", "Perceptron", "SetTransformer"]
