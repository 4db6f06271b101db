"""Blocks of SchNet, NMP and EGNN, beside the same written out pair by pair."""

from functools import partial
from math import log

import pytest
import torch
from torch.nn.functional import silu, softplus

from attention import (
    AllPairs,
    Convolution,
    EdgeNetworkBlock,
    FilterMLP,
    InteractionBlock,
    LieTransformer,
    Linear,
    LinearReadout,
    MessageBlock,
    Nearest,
)
from attention.testing import network_suite
from liegroups import SE3, Bessel, Distance, Frames, RadialBasis, RelativeMatrix

RADIUS, COUNT = 3.0, 4
BASIS = RadialBasis(RADIUS, Bessel(COUNT), envelope=None)
BLOCKS = {
    "schnet": InteractionBlock,
    "nmp": partial(EdgeNetworkBlock, hidden=5),
    "egnn": MessageBlock,
}


def network(block, **settings):
    torch.manual_seed(0)
    settings = {
        "invariant": BASIS,
        "kernel": partial(Convolution, filter=partial(FilterMLP, hidden=7, bias=True)),
        "normalizer": Linear(),
        "neighborhood": AllPairs(loops=False),
        "head": LinearReadout,
        **settings,
    }
    return LieTransformer(SE3(), 3, 2, width=8, heads=1, layers=2, block=block, **settings)


TestSchNet = network_suite(lambda: network(InteractionBlock))
TestNMP = network_suite(lambda: network(EdgeNetworkBlock, neighborhood=Nearest(3, loops=False)))
TestEGNN = network_suite(lambda: network(MessageBlock, invariant=Distance()))
TestEGNNOnFrames = network_suite(
    lambda: network(MessageBlock, invariant=RelativeMatrix(), lift=Frames())
)


def basis(distance):
    """Spherical Bessel functions of order zero."""
    u = distance / RADIUS
    return torch.stack([2**0.5 * torch.sin(k * torch.pi * u) / u for k in range(1, COUNT + 1)])


def schnet(block, h, i, j, e):
    filters = block.kernel.filter
    hidden = silu(filters.first @ e + filters.first_bias)
    return (filters.second @ hidden + filters.bias) * (block.value.weight @ h[j])


def nmp(block, h, i, j, e):
    hidden = silu(block.first.weight @ e + block.first.bias)
    matrix = torch.einsum("k,kcd->cd", torch.cat((hidden, torch.ones(1))), block.matrices)
    return h[j] @ matrix


def egnn(block, h, i, j, e):
    ends = block.of_target(h[i]) + block.of_source(h[j])
    message = silu(block.second(silu(ends + block.of_pair.weight @ e)))
    return torch.sigmoid(block.gate(message)) * message


UPDATES = {
    "schnet": lambda b, h, m: h + b.second(softplus(b.first(m)) - log(2)),
    "nmp": lambda b, h, m: b.update(m, h),
    "egnn": lambda b, h, m: h + b.update(torch.cat((h, m), -1)),
}
MESSAGES = {"schnet": schnet, "nmp": nmp, "egnn": egnn}


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_are_those_of_their_definitions(name):
    made = network(BLOCKS[name]).double().eval()
    torch.manual_seed(1)
    features, points = torch.randn(5, 3).double(), torch.randn(5, 3).double()
    torch.set_default_dtype(torch.float64)
    try:
        h = made.embedding(features)
        for block in made.blocks:
            sums = torch.stack(
                [
                    sum(
                        MESSAGES[name](block, h, i, j, basis((points[i] - points[j]).norm()))
                        for j in range(5)
                        if j != i
                    )
                    for i in range(5)
                ]
            )
            h = UPDATES[name](block, h, sums)
        expected = made.head.linear(h).sum(0)
    finally:
        torch.set_default_dtype(torch.float32)
    torch.testing.assert_close(made(features[None], points[None])[0], expected)


@pytest.mark.parametrize(
    ("block", "settings", "words"),
    [
        (InteractionBlock, {"backend": "reference"}, "backend auto"),
        (partial(InteractionBlock, activation="relu"), {}, "silu, softplus"),
        (MessageBlock, {"backend": "reference"}, "1 head and the backend auto"),
        (EdgeNetworkBlock, {"backend": "reference"}, "1 head and the backend auto"),
    ],
)
def test_settings_that_do_not_fit_are_refused(block, settings, words):
    with pytest.raises(ValueError, match=words):
        network(block, **settings)


def test_blocks_see_the_invariants_of_their_pairs():
    """So that a network of theirs on frames is known to depend on those."""
    on_frames = network(MessageBlock, invariant=RelativeMatrix(), lift=Frames())
    assert on_frames.sees_lift
    assert not network(MessageBlock, invariant=Distance()).sees_lift
