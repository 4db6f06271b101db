"""The matrix products of the dense layout against what every layout derives from its primitives."""

import pytest
import torch

from attention import DenseNeighborhood, Neighborhood

BATCH, POINTS = 2, 6
EXISTS = torch.arange(POINTS) < torch.tensor([[6], [4]])
NEIGHBORHOODS = {
    "all": DenseNeighborhood(),
    "whole clouds": DenseNeighborhood(EXISTS[:, None]),
    "others": DenseNeighborhood(EXISTS[:, None] & ~torch.eye(POINTS, dtype=torch.bool)),
    "cut-off": DenseNeighborhood(EXISTS[:, None], torch.rand(BATCH, POINTS, POINTS).double()),
}


@pytest.mark.parametrize("name", NEIGHBORHOODS)
@pytest.mark.parametrize("method", ["inner", "contract", "softmax", "push_forward"])
def test_fast_paths_agree_with_what_is_derived(name, method):
    neighborhood = NEIGHBORHOODS[name]
    target, source = torch.randn(2, 3, BATCH, POINTS, 5, dtype=torch.float64)
    logits = torch.randn(3, BATCH, POINTS, POINTS, dtype=torch.float64)
    arguments = {
        "inner": (target, source),
        "contract": (target, torch.randn(5, BATCH, POINTS, POINTS, dtype=torch.float64)),
        "softmax": (logits,),
        "push_forward": (neighborhood.apply_mask(logits), source),
    }[method]
    fast = getattr(neighborhood, method)(*arguments)
    derived = getattr(Neighborhood, method)(neighborhood, *arguments)
    torch.testing.assert_close(fast, derived)


def test_pairs_are_gathered_without_copies():
    x = torch.randn(BATCH, POINTS, 3)
    neighborhood = NEIGHBORHOODS["all"]
    assert neighborhood.pull_targets(x).data_ptr() == x.data_ptr()
    assert neighborhood.pull_sources(x[None], 1).shape == (1, BATCH, 1, POINTS, 3)
