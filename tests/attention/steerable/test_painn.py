"""PaiNN beside the same written out plainly, atom by atom, and by the laws of networks."""

import pytest
import torch
from torch.nn.functional import silu

from attention import FilterMLP, Nearest, Radius
from attention.steerable import PaiNN
from attention.testing import network_suite
from liegroups import Bessel, Distance, RadialBasis

RADIUS, COUNT = 3.0, 4


def network(**settings):
    torch.manual_seed(0)
    basis = RadialBasis(RADIUS, Bessel(COUNT), envelope=None)
    return PaiNN(2, 2, **{"invariant": basis, "channels": 4, "layers": 2, **settings})


TestScalars = network_suite(lambda: network(pooling="sum"))
TestPoints = network_suite(lambda: network(neighborhood=Radius(2.0, loops=False)))
TestVectors = network_suite(lambda: network(output="vectors"))
TestDipoles = network_suite(
    lambda: network(output="vectors", pooling="sum", neighborhood=Nearest(3, loops=False))
)
TestPerceptrons = network_suite(
    lambda: network(invariant=Distance(), filter=FilterMLP, pooling="softmax")
)


def plainly(made, features, points):
    """Scalars ``(points, channels)`` and vectors ``(points, channels, 3)`` of the last layer."""
    channels = made.embedding.out_features
    s = made.embedding(features)
    v = torch.zeros(len(points), channels, 3, dtype=s.dtype)
    for layer in made.layers:
        phi = layer.messages[2](silu(layer.messages[0](s)))
        added_s, added_v = torch.zeros_like(s), torch.zeros_like(v)
        for i in range(len(points)):
            for j in range(len(points)):
                if i == j:
                    continue
                r = points[j] - points[i]
                u = r.norm() / RADIUS
                k = torch.arange(1, COUNT + 1, dtype=r.dtype)
                w = layer.filter.weight @ (2**0.5 * torch.sin(k * torch.pi * u) / u)
                message = (phi[j] * w).split(channels)
                added_s[i] += message[0]
                added_v[i] += v[j] * message[1][:, None] + message[2][:, None] * r / r.norm()
        s, v = s + added_s, v + added_v
        left, right = layer.mix.weight.split(channels)
        uv, vv = torch.einsum("oc,ncd->nod", left, v), torch.einsum("oc,ncd->nod", right, v)
        a = layer.update[2](silu(layer.update[0](torch.cat((s, vv.norm(dim=-1)), -1))))
        a_vv, a_sv, a_ss = a.split(channels, -1)
        s = s + a_ss + a_sv * (uv * vv).sum(-1)
        v = v + a_vv[..., None] * uv
    return s, v


@pytest.mark.parametrize("output", ["scalars", "vectors"])
def test_it_is_the_published_network(output):
    made = network(output=output).double().eval()
    torch.manual_seed(1)
    features, points = torch.randn(5, 2).double(), torch.randn(5, 3).double()
    s, v = plainly(made, features, points)
    if output == "vectors":
        gated = made.head.gates(s)[..., None] * v
        expected = torch.einsum("oc,ncd->nod", made.head.mix.weight, gated)
    else:
        expected = made.head(s[None], None, None, 1)[0]
    torch.testing.assert_close(made(features[None], points[None])[0], expected)


@pytest.mark.parametrize(
    "settings", [{"output": "tensors"}, {"output": "vectors", "pooling": "softmax"}], ids=str
)
def test_outputs_that_there_are_not_are_refused(settings):
    with pytest.raises(ValueError, match="output"):
        network(**settings)
