"""Sums with harmonics, against Legendre polynomials of the angles between neighbors."""

from functools import partial

import pytest
import torch

from attention import (
    AllPairs,
    DenseNeighborhood,
    LieTransformer,
    Linear,
    LocationOnly,
    Pairs,
    Radius,
    Sum,
)
from attention import Convolution as Conv
from attention.steerable import HarmonicTransformer
from liegroups import SE3, Bessel, Lifted, RadialBasis

BASIS = RadialBasis(3.0, Bessel(4))


def network(**settings):
    torch.manual_seed(0)
    settings = {"invariant": BASIS, "channels": 8, "layers": 1, "pooling": "sum", **settings}
    return HarmonicTransformer(2, 1, **settings).double().eval()


def clouds(points=5):
    torch.manual_seed(1)
    return torch.randn(1, points, 2).double(), torch.randn(1, points, 3).double()


LEGENDRE = (
    lambda x: torch.ones_like(x),
    lambda x: x,
    lambda x: (3 * x * x - 1) / 2,
    lambda x: (5 * x**3 - 3 * x) / 2,
)


@pytest.mark.parametrize("max_degree", [0, 1, 2, 3])
def test_inner_products_are_legendre_polynomials_of_angles(max_degree):
    """By the addition theorem, Σₘ Yˡₘ(a) Yˡₘ(b) = (2l + 1) Pₗ(a·b) in this normalization."""
    made = network(max_degree=max_degree)
    features, points = clouds()
    (layer,) = made.layers
    hidden = made.embedding(features)
    sent = layer.value(layer.attention_norm(hidden))[0]
    relative = points[0][None] - points[0][:, None]
    distance = relative.norm(dim=-1) + torch.eye(5, dtype=torch.float64)
    direction = relative / distance[..., None]
    u = (distance / 3).clamp(max=1)
    k = torch.arange(1, 5, dtype=torch.float64)
    basis = 2**0.5 * torch.sin(k * torch.pi * u[..., None]) / u[..., None]
    basis = basis * (1 - 28 * u**6 + 48 * u**7 - 21 * u**8)[..., None]
    messages = basis @ layer.kernel.filter.weight.T * sent[None]
    messages = messages * (1 - torch.eye(5, dtype=torch.float64))[..., None]
    parts = [messages.sum(1)]
    cosine = torch.einsum("ijd,ikd->ijk", direction, direction)
    for degree, mix in enumerate(layer.mix, start=1):
        polynomial = LEGENDRE[degree](cosine) * (2 * degree + 1) ** 0.5
        parts.append(torch.einsum("ijk,ijc,ikc->ic", polynomial, messages, mix(messages)))
    hidden = hidden + layer.out(torch.cat(parts, -1))[None]
    hidden = hidden + layer.mlp(layer.mlp_norm(hidden))
    expected = made.head(hidden, None, None, 1)
    torch.testing.assert_close(made(features, points), expected)


def angle(degrees):
    """A point with two neighbors at one distance from it, and an angle between them."""
    t = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    arm = torch.stack((t.cos(), t.sin(), torch.zeros_like(t)))
    first = torch.tensor([1.0, 0, 0], dtype=torch.float64)
    return torch.stack((torch.zeros_like(first), first, arm))[None]


@pytest.mark.parametrize("degree", [0, 1, 2])
def test_sees_an_angle_between_neighbors_that_are_none_of_each_other(degree):
    rule = Radius(1.3, loops=False)
    made = network(max_degree=degree, neighborhood=rule)
    features = torch.ones(1, 3, 2).double()
    change = made(features, angle(90.0)) - made(features, angle(150.0))
    assert (change.abs() > 1e-6) == (degree > 0)
    scalar = LieTransformer(
        SE3(), 2, 1, invariant=BASIS, kernel=Conv, normalizer=Linear(), neighborhood=rule
    ).double()
    assert torch.allclose(scalar(features, angle(90.0)), scalar(features, angle(150.0)))


def test_a_kernel_without_a_filter_is_refused():
    for kernel in (Sum, LocationOnly):
        with pytest.raises(ValueError, match="needs a kernel with a filter"):
            network(kernel=kernel)
    with pytest.raises(ValueError, match="heads must divide channels"):
        network(heads=3)


def test_forces_have_second_derivatives():
    made = network(layers=2, neighborhood=AllPairs(loops=False))
    features, points = clouds(4)
    forces = partial(torch.func.grad(lambda x: made(features, x).sum()))

    def by_autograd(x):
        x = x.requires_grad_()
        return torch.autograd.grad(made(features, x).sum(), x, create_graph=True)[0]

    torch.testing.assert_close(forces(points), by_autograd(points.clone()))
    assert torch.autograd.gradcheck(by_autograd, points.clone().requires_grad_(), fast_mode=True)


@pytest.mark.parametrize("pooling", ["none", "sum", "mean"])
def test_vectors_are_sums_of_directions(pooling):
    made = network(output="vectors", pooling=pooling)
    features, points = clouds()
    (layer,) = made.layers
    hidden = made.embedding(features)
    sent = layer.value(layer.attention_norm(hidden))[0]
    relative = points[0][None] - points[0][:, None]
    lifted = Lifted(made.space.section(points), points)
    pairs = Pairs(made.geometry, DenseNeighborhood(), lifted)
    filters = torch.einsum("fij,cf->ijc", pairs.invariants[:, 0], layer.kernel.filter.weight)
    directions = torch.nn.functional.normalize(relative, dim=-1) * 3**0.5
    vectors = torch.einsum("ijd,ijc,jc->idc", directions, filters, sent)
    tensors = torch.cat((vectors, torch.zeros(5, 0, 8)), 1)
    hidden, _ = layer(
        Pairs(made.geometry, AllPairs(loops=False)(made.space, lifted, None), lifted),
        made._harmonics(DenseNeighborhood(), points),
        hidden,
        None,
    )
    gates = made.head.gates(hidden)[0]
    expected = torch.einsum("idc,ic,oc->iod", tensors, gates, made.head.mix.weight)
    pooled = {"none": expected, "sum": expected.sum(0), "mean": expected.mean(0)}[pooling]
    torch.testing.assert_close(made(features, points)[0], pooled)


@pytest.mark.parametrize(
    "settings",
    [{"max_degree": 0}, {"pooling": "softmax"}, {"output": "tensors"}],
    ids=str,
)
def test_vectors_need_directions(settings):
    with pytest.raises(ValueError, match="output"):
        network(**{"output": "vectors", **settings})
