"""A layer written out: inner products of irreps by loops, softmax by its definition."""

import torch
from e3nn import o3
from torch.nn.functional import silu

from attention import Geometry, Pairs, Radius
from attention.steerable import Directions, Harmonics, SteerableAttention
from attention.steerable.irreps import split_types
from liegroups import SE3, InverseDistance, Lifted


def test_a_layer_written_out():
    torch.manual_seed(0)
    space = SE3().default_space()
    types_in, types_out = o3.Irreps("3x0e + 2x1e"), o3.Irreps("4x0e + 2x1e")
    geometry = Geometry(space, InverseDistance())
    layer = SteerableAttention(types_in, types_out, geometry, heads=2, max_degree=1).double()
    features = torch.randn(1, 4, types_in.dim, dtype=torch.float64)
    points = torch.randn(1, 4, 3, dtype=torch.float64)
    lifted = Lifted(space.section(points), points)
    neighborhood = Radius(50.0, cutoff=None, loops=False)(space, lifted, None)
    pairs = Pairs(geometry, neighborhood, lifted)
    target, source = neighborhood.pull_back(lifted, lifted)
    relative = source.point - target.point
    direction = relative / relative.norm(dim=-1, keepdim=True)
    directions = Directions(neighborhood, Harmonics(1, 1), direction, (1, 4))
    output = layer(pairs, directions, features)[0]

    invariants = 1 / (relative.square().sum(-1, keepdim=True) + 0.1**2).sqrt()
    sent = features[0, neighborhood.source]
    key, value = (
        _product(layer, sent, direction, perceptron, invariants)
        for perceptron in (layer.key_weights, layer.value_weights)
    )
    query = split_types(layer.types, layer.query(features[0]))
    own = split_types(layer.types, layer.self_interaction(features[0]))
    for i in range(4):
        pairs = (neighborhood.target == i).nonzero()[:, 0].tolist()
        assert len(pairs) == 3
        for head in range(2):
            # Two scalars and one vector a head: five numbers.
            channels = [slice(2 * head, 2 * head + 2), slice(head, head + 1)]
            logits = [
                sum((query[t][i, c] * key[t][e, c]).sum() for t, c in enumerate(channels))
                for e in pairs
            ]
            weights = (torch.stack(logits) / 5**0.5).exp()
            weights = weights / weights.sum()
            for t, c in enumerate(channels):
                received = sum(w * value[t][e, c] for w, e in zip(weights, pairs, strict=True))
                found = split_types(layer.types, output)[t][i, c]
                torch.testing.assert_close(found, own[t][i, c] + received)


def _product(layer, features, direction, perceptron, invariants):
    """Keys or values by type: e3nn's product, its weights picked from the perceptron's one by one.

    The perceptron gives for each head, type of the output and type of the input the weights from
    each channel, by each degree of the harmonics, to each channel.
    """
    theirs = o3.FullyConnectedTensorProduct(
        layer.irreps_in,
        "1x0e + 1x1e",
        layer.irreps_out,
        shared_weights=False,
        internal_weights=False,
    ).double()
    units = silu(perceptron.first[0](invariants))
    weights = perceptron.last[0](units).unflatten(-1, (2, -1))  # (pairs, heads, weights)
    blocks, start = {}, 0
    for target, (mul_out, ir_out) in enumerate(layer.irreps_out):
        for source, (mul_in, ir_in) in enumerate(layer.irreps_in):
            degrees = [degree for degree in (0, 1) if o3.Irrep(degree, 1) in ir_in * ir_out]
            size = mul_in * len(degrees) * mul_out // 2
            block = weights[:, :, start : start + size]
            block = block.unflatten(-1, (mul_in, len(degrees), mul_out // 2))
            for number, degree in enumerate(degrees):
                blocks[source, degree, target] = block[:, :, :, number].movedim(1, 2).flatten(1)
            start += size
    assert start == weights.shape[-1]
    order = [(i.i_in1, i.i_in2, i.i_out) for i in theirs.instructions]
    harmonics = o3.spherical_harmonics([0, 1], direction, False, "component")
    product = theirs(features, harmonics, torch.cat([blocks[path] for path in order], 1))
    return split_types(layer.types, product)
