import numpy as np
import pytest
import torch
from torch import nn

from attention import (
    ConcatenatedLinear,
    DenseNeighborhood,
    DotProduct,
    Fibres,
    Geometry,
    Joint,
    LinearLocation,
    LocationMLP,
    Product,
    SharedLocationMLP,
    Sum,
)
from attention.kernels.pairwise_mlp import pairwise_mlp
from liegroups import SE3, Concat, Distance, InverseDistance, Lifted, PerHead, RelativePose

HEADS, HIDDEN, INPUTS = 3, 5, 4
SPACE = SE3().default_space()
LIFTED = Lifted(torch.eye(4), torch.zeros(3))


def cloud(*shape, space=SPACE, invariant=Distance(), **settings):  # noqa: B008
    points = torch.randn(*shape, space.point_dim, **settings)
    geometry = Geometry(space, invariant)
    return Fibres(geometry, DenseNeighborhood(), Lifted(space.section(points), points))


def perceptrons(outputs=1, pairs=700):
    generator = torch.Generator().manual_seed(1)
    shapes = [
        (INPUTS, pairs),
        (HEADS, HIDDEN, INPUTS),
        (HEADS, HIDDEN),
        (HEADS, HIDDEN, HIDDEN),
        (HEADS, HIDDEN),
        (HEADS, outputs, HIDDEN),
        (HEADS, outputs),
    ]
    draws = (torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes)
    return [draw.requires_grad_() for draw in draws]


def by_modules(x, w1, b1, w2, b2, w3, b3):
    """The same perceptrons as torch modules, one after the other."""
    rows = []
    for head in range(HEADS):
        layers = []
        for w, b in ((w1, b1), (w2, b2), (w3, b3)):
            linear = nn.Linear(*w[head].T.shape, dtype=torch.float64)
            linear.weight, linear.bias = nn.Parameter(w[head]), nn.Parameter(b[head])
            layers += [linear, nn.SiLU()]
        rows.append(nn.Sequential(*layers[:-1])(x.T).T)
    return torch.cat(rows)


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("cache", [2**18, 64], ids=["one slice", "many slices"])
def test_pairwise_mlp_agrees_with_modules(monkeypatch, outputs, cache):
    monkeypatch.setattr("attention.kernels.pairwise_mlp._CACHE_ELEMENTS", cache)
    arguments = perceptrons(outputs)
    torch.testing.assert_close(pairwise_mlp(*arguments), by_modules(*arguments))


@pytest.mark.parametrize("cache", [2**18, 32], ids=["one slice", "many slices"])
def test_pairwise_mlp_derivatives(monkeypatch, cache):
    monkeypatch.setattr("attention.kernels.pairwise_mlp._CACHE_ELEMENTS", cache)
    arguments = perceptrons(2, pairs=5)
    assert torch.autograd.gradcheck(pairwise_mlp, arguments)
    assert torch.autograd.gradgradcheck(pairwise_mlp, arguments)


def test_pairwise_mlp_keeps_nothing_between_its_layers():
    arguments = perceptrons(pairs=1000)
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t.numel()), lambda t: t):
        pairwise_mlp(*arguments)
    assert sum(saved) == sum(a.numel() for a in arguments)


def test_pairwise_mlp_skips_the_gradient_of_inputs_that_need_none():
    arguments = perceptrons()
    arguments[0] = arguments[0].detach()
    gradients = torch.autograd.grad(pairwise_mlp(*arguments).sum(), arguments[1:])
    assert all(g.isfinite().all() for g in gradients)


@pytest.mark.parametrize("hidden", [None, 5])
def test_concatenated_linear_is_a_linear_form_of_the_concatenation(hidden):
    torch.manual_seed(0)
    content = ConcatenatedLinear(6, 2, SPACE, hidden=hidden)
    features = torch.randn(1, 4, 6)
    query, key = content.query(features)[0], content.key(features)[0]
    logits = content(DenseNeighborhood(), content.ends(features, LIFTED))[:, 0]
    for head in range(2):
        if hidden is None:
            form = content.vectors[:, head].flatten()
        else:
            further = torch.cat((content.further[0, head], content.further[1, head]), 1)
            form = content.vectors[head] @ further
        channels = slice(3 * head, 3 * head + 3)
        for i in range(4):
            for j in range(4):
                pair = torch.cat((query[i, channels], key[j, channels]))
                torch.testing.assert_close(logits[head, i, j], form @ pair)


def test_dot_product_scales_by_the_channels_of_a_head():
    torch.manual_seed(0)
    content = DotProduct(8, 2, SPACE)
    features = torch.randn(1, 3, 8)
    query, key = content.query(features)[0], content.key(features)[0]
    expected = query[1, 4:] @ key[2, 4:] / 4**0.5
    logits = content(DenseNeighborhood(), content.ends(features, LIFTED))
    torch.testing.assert_close(logits[1, 0, 1, 2], expected)


@pytest.mark.parametrize("location", [LinearLocation, LocationMLP, SharedLocationMLP])
def test_a_head_sees_only_its_own_invariants(location):
    torch.manual_seed(0)
    space = SE3().default_space()
    mask = PerHead([Distance(), Concat([InverseDistance(), Distance()])]).head_mask(space, 4)
    np.testing.assert_array_equal(mask, [[1, 0, 0], [1, 0, 0], [0, 1, 1], [0, 1, 1]])
    layer = location(mask)
    invariants = torch.randn(3, 10)
    changed = invariants.clone()
    changed[0] += 1
    moved = (layer(changed) - layer(invariants)).abs().amax(1) > 1e-4
    assert moved.tolist() == [True, True, False, False]
    changed = invariants.clone()
    changed[1:] += 1
    moved = (layer(changed) - layer(invariants)).abs().amax(1) > 1e-4
    assert moved.tolist() == [False, False, True, True]


def test_shared_perceptron_serves_uneven_groups_of_heads():
    space = SE3().default_space()
    invariant = PerHead([PerHead([Distance(), InverseDistance()]), RelativePose()])
    mask = invariant.head_mask(space, 4)
    layer = SharedLocationMLP(mask, hidden=8)
    assert layer.first.shape == (4, 8, 8)
    assert layer(torch.randn(8, 10)).shape == (4, 10)


@pytest.mark.parametrize(
    ("kernel", "formula"),
    [(Sum, lambda a, b: a + b), (Product, lambda a, b: a * b)],
)
def test_combination(kernel, formula):
    torch.manual_seed(0)
    module = kernel(8, 2, Geometry(SPACE, Distance()))
    fibres = cloud(2, 4)
    ends = module.ends(torch.randn(2, 4, 8), fibres.source)
    content = module.content(fibres.neighborhood, ends)
    location = module.location(fibres.invariants)
    torch.testing.assert_close(module(fibres, ends), formula(content, location))


def test_joint_is_a_perceptron_of_both():
    torch.manual_seed(0)
    module = Joint(8, 2, Geometry(SPACE, Distance()), hidden=3)
    content, location = torch.randn(2, 1, 4, 4), torch.randn(2, 1, 4, 4)
    logits = module.combine(content, location)
    for head in range(2):
        hidden = nn.functional.silu(
            module.from_content[:, head] * content[head, 0, 1, 2]
            + module.from_location[:, head] * location[head, 0, 1, 2]
            + module.hidden_bias[:, head]
        )
        torch.testing.assert_close(logits[head, 0, 1, 2], hidden @ module.out[:, head])


@pytest.mark.parametrize("location", [LocationMLP, SharedLocationMLP])
def test_hidden_units_are_needed(location):
    with pytest.raises(ValueError, match="at least 1 hidden unit; got 0"):
        location(torch.ones(2, 3, dtype=torch.bool), hidden=0)
