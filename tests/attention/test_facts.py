"""A network asks its group and its space for each fact once, not in every forward pass."""

import copy
import sys
from collections import Counter

import pytest
import torch

import liegroups as lg
from attention import LieTransformer


@pytest.mark.parametrize("group", [lg.SE3(), lg.SE(4), lg.E(3)], ids=str)
def test_a_forward_pass_works_out_no_fact_twice(group):
    group = copy.copy(group)
    network = LieTransformer(group, 4, 1, invariant=lg.Distance(), width=32, layers=1)
    features, points = torch.randn(1, 6, 4), torch.randn(1, 6, group.space_dim)
    counted = Counter()

    def count(frame, event, _):
        owner = frame.f_locals.get("self")
        if event == "call" and isinstance(owner, lg.LieGroup | lg.HomogeneousSpace):
            name = frame.f_code.co_name
            counted[name, repr(owner)] += isinstance(getattr(type(owner), name, None), property)

    sys.setprofile(count)
    try:
        network(features, points)
        network(features, points)
    finally:
        sys.setprofile(None)
    counted.pop(("matrix_size", repr(group.linear)), None)  # A number or a field, read each time.
    assert max(counted.values(), default=0) <= 1
