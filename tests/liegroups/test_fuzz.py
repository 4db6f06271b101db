"""No NaN in many random pairs, coincident, nearly coincident and antipodal ones among them."""

import os
from math import pi

import pytest
import torch

from liegroups import SE2, SE3, SO2, SO3, T2, T3, Translation, Trivial
from liegroups.testing.draws import tangent

PAIRS = 1_000_000 if os.environ.get("HYPOTHESIS_PROFILE") == "deep" else 100_000
GROUPS = [T2(), T3(), Translation(5), SO2(), SO3(), SE2(), SE3(), Trivial(3)]


def fuzzed_pairs(group, dtype, generator):
    """Pairs g, h = g exp(a), with a of every order of magnitude and up to and over half a turn."""
    count = PAIRS // 20
    angle = torch.rand(count, generator=generator, dtype=torch.float64)
    sizes = torch.cat(
        (
            torch.zeros(count // 4, dtype=torch.float64),
            10 ** (-40 * angle[: count // 4]),
            pi + 10 ** (-17 * angle[: count // 4]),
            pi - 10 ** (-17 * angle[: count // 4]),
            torch.full((count // 4,), pi, dtype=torch.float64),
            4 * angle,
        )
    )
    a = tangent(group, 4321, 1.0, (len(sizes),)) * sizes[:, None]
    a = a.to(dtype)
    g = group.sample((len(sizes),), generator=generator, dtype=dtype)
    return a, g.clone(), g @ group.exp(a)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_no_nan(group, dtype):
    generator = torch.Generator().manual_seed(0)
    done = 0
    while done < PAIRS // 2:
        a, g, h = (x.requires_grad_() for x in fuzzed_pairs(group, dtype, generator))
        value = group.relative_log(g, h)
        round_trip = group.log(group.exp(a))
        assert value.isfinite().all() and round_trip.isfinite().all()
        total = (value**2).sum() + (round_trip**2).sum()
        if total.requires_grad:
            inputs = [x for x in (a, g, h) if x.numel()]
            for gradient in torch.autograd.grad(total, inputs, allow_unused=True):
                assert gradient is None or gradient.isfinite().all()
        assert group.relative_log(g, g).isfinite().all()
        done += len(g)
