"""A layer written out: inner products of irreps by loops, softmax by its definition."""

import torch
from e3nn import o3

from attention import Fibres, Geometry, Radius
from attention.steerable import Harmonics, SteerableAttention
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
    fibres = Fibres(geometry, neighborhood, lifted)
    target, source = neighborhood.pairs(lifted, lifted)
    relative = source.point - target.point
    matrices = Harmonics(1, 1)(relative / relative.norm(dim=-1, keepdim=True))
    output = layer(fibres, matrices, features)[0]

    invariants = 1 / (relative.square().sum(-1, keepdim=True) + 0.1**2).sqrt()
    sent = features[0, neighborhood.source]
    key, value = (
        _product(layer, sent, matrices, weights(invariants))
        for weights in (layer.key_weights, layer.value_weights)
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


def _product(layer, features, matrices, weights):
    """Keys or values by type: the product with the weights of both in its two halves."""
    by_type = [torch.cat((w, w), -1) for w in layer._by_type(weights)]
    types = split_types(layer.product.types_out, layer.product(features, matrices, by_type))
    return [part.chunk(2, 1)[0] for part in types]
