"""The shapes that are stated are looked at: a function that breaks them is caught."""

import pytest
import torch

from attention import LieTransformer
from liegroups import SE3, SO3
from tests.shapes import SHAPES, ShapeError, _watched


def test_every_public_function_that_is_named_is_watched():
    for base, methods in SHAPES.items():
        for name in methods:
            assert hasattr(base, name), (base, name)
    for function in (SE3.exp, SO3.log, LieTransformer.forward):
        assert function.__wrapped__


def test_a_result_of_another_shape_is_caught():
    group = SE3()
    stated = {"a": "*batch {self.dim}", "result": "*batch {self.matrix_size} {self.matrix_size}"}

    def exp(self, a):
        return torch.zeros(*a.shape[:-1], 4, 3)

    with pytest.raises(ShapeError, match=r"exp: result has not the axes"):
        _watched(exp, stated)(group, torch.zeros(5, 6))
    right = _watched(type(group).exp.__wrapped__, stated)(group, torch.zeros(5, 6))
    assert right.shape == (5, 4, 4)


def test_axes_of_one_name_are_of_one_size():
    def scale(self, x, weights):
        return x

    shapes = {"x": "batch points", "weights": "points", "result": "batch points"}
    _watched(scale, shapes)(None, torch.zeros(2, 3), torch.zeros(3))
    with pytest.raises(ShapeError, match="weights"):
        _watched(scale, shapes)(None, torch.zeros(2, 3), torch.zeros(2))
