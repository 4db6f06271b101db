"""What trains a network: the model, averages of its weights, a compiled step."""

from tasks.training.averaging import WeightAverage
from tasks.training.model import Model

__all__ = ["Model", "WeightAverage"]
