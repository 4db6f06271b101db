import numpy as np
import pytest
import torch
from torch import nn

from attention import (
    ConcatenatedLinear,
    ContentOnly,
    DenseNeighborhood,
    DotProduct,
    Geometry,
    Joint,
    LinearLocation,
    LocationMLP,
    LocationOnly,
    NormLocation,
    Pairs,
    Product,
    RelativePosition,
    Rotary,
    SharedLocationMLP,
    Sum,
)
from attention.kernels.pairwise_mlp import pairwise_mlp
from liegroups import (
    SE3,
    SL2,
    SO2,
    SO3,
    T3,
    Aff2,
    AlgebraNorm,
    Concat,
    Distance,
    GroupItself,
    InverseDistance,
    Lifted,
    PerHead,
    RelativePose,
    Sees,
    Sim,
)
from liegroups.affine import AffineGroup

HEADS, HIDDEN, INPUTS = 3, 5, 4
SPACE = SE3().default_space()
LIFTED = Lifted(torch.eye(4), torch.zeros(3))


def cloud(*shape, space=SPACE, invariant=Distance(), **settings):  # noqa: B008
    points = torch.randn(*shape, space.point_dim, **settings)
    geometry = Geometry(space, invariant)
    return Pairs(geometry, DenseNeighborhood(), Lifted(space.section(points), points))


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


def test_pairwise_mlp_under_torch_func():
    arguments = [a.detach() for a in perceptrons(2, pairs=5)]
    batch = torch.randn(3, INPUTS, 5, dtype=torch.float64)
    by_loop = torch.stack([pairwise_mlp(x, *arguments[1:]) for x in batch])
    by_vmap = torch.func.vmap(lambda x: pairwise_mlp(x, *arguments[1:]))(batch)
    torch.testing.assert_close(by_vmap, by_loop)

    def norm(x):
        return pairwise_mlp(x, *arguments[1:]).square().sum()

    each = torch.func.vmap(torch.func.grad(norm))(batch)
    torch.testing.assert_close(each, torch.func.grad(lambda x: sum(map(norm, x)))(batch))
    jacobian = torch.func.jacrev(lambda x: pairwise_mlp(x, *arguments[1:]))(batch[0])
    assert jacobian.shape == (2 * HEADS, 5, INPUTS, 5)


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
    logits = content(DenseNeighborhood(), content.project(features, LIFTED))[:, 0]
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
    logits = content(DenseNeighborhood(), content.project(features, LIFTED))
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
    pairs = cloud(2, 4)
    projections = module.project(torch.randn(2, 4, 8), pairs.source)
    content = module.content(pairs.neighborhood, projections)
    location = module.location(pairs.invariants)
    torch.testing.assert_close(module(pairs, projections), formula(content, location))


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
    with pytest.raises(ValueError, match=r"MLP\.hidden: 0; accepted: 1 to"):
        location(torch.ones(2, 3, dtype=torch.bool), hidden=0)


# ---- alone, relative position, closed form ---------------------------------------------------


def test_content_and_location_alone():
    torch.manual_seed(0)
    pairs, features = cloud(2, 4), torch.randn(2, 4, 8)
    both = Sum(8, 2, pairs.geometry)
    content, location = ContentOnly(8, 2, pairs.geometry), LocationOnly(8, 2, pairs.geometry)
    content.content, location.location = both.content, both.location
    alone = [part(pairs, part.project(features, pairs.source)) for part in (content, location)]
    torch.testing.assert_close(both(pairs, both.project(features, pairs.source)), sum(alone))
    assert Sees.INVARIANTS not in content.sees


def test_relative_position_is_that_of_transformer_xl():
    """Written out for one pair: (q + u)ᵀk + (q + v)ᵀWr, over √d."""
    torch.manual_seed(0)
    pairs, features = cloud(1, 4, invariant=RelativePose()), torch.randn(1, 4, 8)
    kernel = RelativePosition(8, 2, pairs.geometry)
    for parameter in kernel.parameters():
        nn.init.normal_(parameter)
    logits = kernel(pairs, kernel.project(features, pairs.source))
    i, j, head, own = 1, 3, 1, slice(4, 8)
    q, k = kernel.query.weight[own] @ features[0, i], kernel.key.weight[own] @ features[0, j]
    u, v = kernel.content_bias[head, 0, 0], kernel.position_bias[head, 0, 0]
    position = kernel.position[head, 0] @ pairs.invariants[:, 0, i, j]
    expected = ((q + u) @ k + (q + v) @ position) / 4**0.5
    torch.testing.assert_close(logits[head, 0, i, j], expected)


def test_relative_position_sees_only_the_invariants_of_a_head():
    pairs = cloud(1, 4, invariant=PerHead([Distance(), InverseDistance()]))
    kernel = RelativePosition(8, 2, pairs.geometry)
    features = torch.randn(1, 4, 8)
    projections = kernel.project(features, pairs.source)
    assert (projections.queries[1][0, ..., 1] == 0).all()
    assert (projections.queries[1][1, ..., 0] == 0).all()


def test_norm_location_is_a_gaussian_of_the_group_distance():
    pairs = cloud(1, 5, invariant=AlgebraNorm())
    layer = NormLocation(pairs.geometry.head_mask(3))
    nn.init.normal_(layer.share)
    logits = layer(pairs.invariants)
    points = pairs.source.point[0]
    squared = (points[:, None] - points).square().sum(-1)  # Translations alone: no rotation.
    share = layer.share.softmax(-1)[:, 0]
    for head in range(3):
        expected = -share[head] * squared / layer.log_temperature[head].exp()
        torch.testing.assert_close(logits[head, 0], expected)


# ---- rotary ----------------------------------------------------------------------------------


@pytest.mark.parametrize("group", [T3(), SE3(), SO3(), Sim(2), SL2(), Aff2()], ids=str)
@pytest.mark.parametrize("length", [1.0, 2.5])
def test_rotary_logits_see_the_relative_element_alone(group, length):
    """⟨Qf, ρ(g⁻¹h)Kf⟩ / √d, with ρ(g⁻¹h) from the elements and not from their representations."""
    torch.manual_seed(0)
    if length != 1 and not isinstance(group, AffineGroup):
        pytest.skip("there are no translations to measure")
    space = group.default_space() if group != SL2() else GroupItself(group)
    content = Rotary(20, 2, space, length=length).double()  # 10 channels: some are left over.
    element = group.sample((1, 4), dtype=torch.float64)
    x = torch.zeros(1, 4, space.point_dim, dtype=torch.float64)
    features = torch.randn(1, 4, 20, dtype=torch.float64)
    logits = content(DenseNeighborhood(), content.project(features, Lifted(element, x)))
    query, key = content.query(features)[0], content.key(features)[0]
    m = group.matrix_size
    for i in range(4):
        for j in range(4):
            pose = torch.linalg.solve(element[0, i], element[0, j])
            if isinstance(group, AffineGroup):
                scale = torch.diag(torch.tensor([1 / length] * (m - 1) + [1.0]).double())
                pose = scale @ pose @ torch.linalg.inv(scale)
            for head in range(2):
                own = slice(10 * head, 10 * head + 10)
                if group == T3():
                    angle = content.frequencies[head] @ (pose[:3, 3] * length)
                    blocks = [SO2().exp(a[None]) for a in angle]
                else:
                    blocks = [pose] * (10 // m)
                rest = 10 - sum(len(block) for block in blocks)
                rho = torch.block_diag(*blocks, torch.eye(rest, dtype=torch.float64))
                expected = query[i, own] @ rho @ key[j, own] / 10**0.5
                torch.testing.assert_close(logits[head, 0, i, j], expected)


@pytest.mark.parametrize("group", [T3(), SE3()], ids=str)
def test_rotary_far_from_the_origin(group):
    """In float32, 10⁴ away: the positions themselves are known to 5e-4 there."""
    torch.manual_seed(0)
    content = Rotary(8, 2, group.default_space())
    element, features = group.sample((1, 4)), torch.randn(1, 4, 8)
    far = group.default_space().section(torch.tensor([1e4, 0.0, 0.0]))
    logits = [
        content(DenseNeighborhood(), content.project(features, Lifted(g, g[..., :3, 3])))
        for g in (element, far @ element)
    ]
    torch.testing.assert_close(logits[0], logits[1], rtol=0, atol=5e-3)


def test_frequencies_are_learned():
    torch.manual_seed(0)
    content = Rotary(8, 2, T3().default_space())
    pairs = cloud(1, 4, space=T3().default_space())
    logits = content(DenseNeighborhood(), content.project(torch.randn(1, 4, 8), pairs.source))
    (gradient,) = torch.autograd.grad(logits.square().sum(), content.frequencies)
    assert (gradient != 0).all()


@pytest.mark.parametrize(
    ("group", "settings", "message"),
    [
        (SE3(), {"width": 6}, "at least 4 channels a head for SE3"),
        (SE3(), {"length": 0.0}, "Rotary.length: 0.0; accepted"),
        (SO3(), {"length": 2.0}, "no translations"),
    ],
    ids=str,
)
def test_rotary_settings_that_do_not_fit(group, settings, message):
    with pytest.raises(ValueError, match=message):
        Rotary(**{"width": 8, "heads": 2, "space": group.default_space(), **settings})


def test_pairs_that_do_not_exist_are_left_out():
    """Packed or not: the same logits at the pairs that exist, and zero at the others."""
    torch.manual_seed(0)
    pairs = cloud(2, 6)
    mask = torch.arange(6) < torch.tensor([[6], [3]])
    neighborhood = DenseNeighborhood(mask[:, None], targets=mask)
    packed = Pairs(pairs.geometry, neighborhood, pairs.source)
    location = LocationMLP(pairs.geometry.head_mask(2))
    seen = []
    values = packed.map_invariants(lambda x: (seen.append(x.shape), location(x))[1])
    exists = mask[:, None] & mask[..., None]
    assert seen == [(1, 6 * 6 + 3 * 3)]
    expected = location(pairs.invariants).masked_fill(~exists, 0)
    torch.testing.assert_close(values, expected)


def test_a_kernel_that_declares_an_old_boolean_keeps_the_rest():
    with pytest.warns(DeprecationWarning, match="sees_elements"):

        class Old(LocationOnly):
            sees_elements = True

    assert Old.__new__(Old).sees == Sees.INVARIANTS | Sees.ELEMENTS
