"""No NaN in many random pairs, coincident, nearly coincident and antipodal ones among them."""

import os
from math import pi

import pytest
import torch

from liegroups import (
    SE,
    SE2,
    SE3,
    SL2,
    SO,
    SO2,
    SO3,
    T2,
    T3,
    Aff2,
    Aff3,
    Affine,
    CyclicGroup,
    DirectProduct,
    E,
    Heisenberg,
    IcosahedralGroup,
    O,
    PositiveScaling,
    RotationScaling,
    SemidirectProduct,
    Sim,
    Translation,
    Trivial,
)
from liegroups.testing.inputs import tangent

PAIRS = 1_000_000 if os.environ.get("HYPOTHESIS_PROFILE") == "deep" else 100_000


def dilation(h):
    """The scalings (x, y, z) ↦ (λx, λy, λ²z) of the Heisenberg group, as a conjugation."""
    scale = h[..., 0]
    return torch.cat((scale**2, scale, torch.ones_like(scale)), -1).diag_embed()


GROUPS = [T2(), T3(), Translation(5), SO2(), SO3(), SE2(), SE3(), Trivial(3)]
GROUPS += [
    pytest.param(group, marks=pytest.mark.slow)
    for group in (
        O(2),
        O(3),
        E(2),
        E(3),
        PositiveScaling(2),
        RotationScaling(),
        RotationScaling(3),
        Sim(2),
        Sim(3),
        SL2(),
        Heisenberg(),
        CyclicGroup(5),
        IcosahedralGroup(),
        Affine(CyclicGroup(4)),
        DirectProduct(SO3(), T2()),
        SO(4),
        SO(5),
        SE(4),
        Aff2(),
        Aff3(),
        SemidirectProduct(Heisenberg(), PositiveScaling(1), dilation),
    )
]


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
    # Made for the largest size, beyond which the elements would not be held in single precision.
    a = tangent(group, 4321, 5.0, (len(sizes),)) / 5 * sizes[:, None]
    a = a.to(dtype)
    g = group.sample((len(sizes),), generator=generator, dtype=dtype)
    return a, g.clone(), g @ group.exp(a)


def require_finite_log(group, log, element, inputs):
    """The value and its first derivatives are finite wherever the element has a logarithm."""
    inside = group.in_range_of_exp(element.detach())
    assert inside.double().mean() > 0.8
    assert log[inside].isfinite().all()
    if log.requires_grad and log.numel():
        for gradient in torch.autograd.grad((log[inside] ** 2).sum(), inputs, allow_unused=True):
            assert gradient is None or gradient[inside].isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_no_nan(group, dtype):
    generator = torch.Generator().manual_seed(0)
    done = 0
    while done < PAIRS // 2:
        a, g, h = (x.requires_grad_() for x in fuzzed_pairs(group, dtype, generator))
        require_finite_log(group, group.relative_log(g, h), group.relative(g, h), (g, h))
        require_finite_log(group, group.log(group.exp(a)), group.exp(a), (a,))
        require_finite_log(group, group.relative_log(g, g), group.relative(g, g), (g,))
        done += len(g)
