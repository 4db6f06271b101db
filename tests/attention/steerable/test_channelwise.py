"""Attention channel by channel, beside e3nn."""

import pytest
import torch
from e3nn import o3

from attention import AllPairs, Linear, Pairs, invariance_error
from attention.steerable import ChannelwiseTransformer
from attention.steerable.channelwise import ByKind, PairMatrices, Type
from liegroups import Distance, E, InverseDistance, Lifted, RadialBasis

CHANNELS, PAIRS = 3, 5


@pytest.fixture
def e3nn_in_double():
    """e3nn makes its coefficients in the default dtype."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def parity(degree):
    return "e" if degree % 2 == 0 else "o"


@pytest.mark.parametrize("types_out", [range(1), range(3)], ids=str)
@pytest.mark.parametrize("types_in", [range(1), range(2), range(3)], ids=str)
def test_products_are_those_of_e3nn(types_in, types_out, e3nn_in_double):
    product = PairMatrices([*map(Type, types_in)], [*map(Type, types_out)], max_degree=2)
    directions = torch.randn(PAIRS, 3, dtype=torch.float64)
    harmonics = o3.spherical_harmonics([0, 1, 2], directions, True, "component")
    features = torch.randn(PAIRS, sum(2 * a + 1 for a in types_in), CHANNELS, dtype=torch.float64)
    ours = (product(harmonics) @ features).split(
        [n * (2 * c + 1) for n, c in zip(product.paths, types_out, strict=True)], 1
    )
    for c, found in zip(types_out, ours, strict=True):
        expected = []
        for a in types_in:
            for b in range(3):
                if not abs(a - c) <= b <= a + c or (a + b + c) % 2:
                    continue
                one = o3.TensorProduct(
                    f"{CHANNELS}x{a}{parity(a)}",
                    f"1x{b}{parity(b)}",
                    f"{CHANNELS}x{c}{parity(c)}",
                    [(0, 0, 0, "uvu", False)],
                )
                # e3nn has the channels outside, the components inside.
                of_type = features[:, a * a : (a + 1) ** 2].mT.flatten(1)
                result = one(of_type, harmonics[:, b * b : (b + 1) ** 2])
                expected.append(result.unflatten(1, (CHANNELS, -1)).mT)
        torch.testing.assert_close(found, torch.cat(expected, 1), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("invariant", [RadialBasis(5.0), [Distance(), InverseDistance()]], ids=str)
def test_outputs_are_invariant_and_those_of_each_point(invariant):
    torch.manual_seed(0)
    network = ChannelwiseTransformer(4, 2, invariant, channels=4, heads=2, hidden=8).double()
    features, points = torch.randn(2, 7, 4).double(), torch.randn(2, 7, 3).double()
    assert network(features, points).shape == (2, 7, 2)
    assert network(features, points).std() > 1e-3
    assert invariance_error(network, features, points, group=E(3)) < 1e-12
    order = torch.randperm(7)
    torch.testing.assert_close(
        network(features[:, order], points[:, order]), network(features, points)[:, order]
    )


def test_padding_changes_nothing():
    torch.manual_seed(0)
    network = ChannelwiseTransformer(4, 2, RadialBasis(5.0), channels=4, heads=2).double()
    features, points = torch.randn(1, 5, 4).double(), torch.randn(1, 5, 3).double()
    longer = [torch.cat((x, torch.randn(1, 2, x.shape[2]).double()), 1) for x in (features, points)]
    padded = network(*longer, torch.tensor([[True] * 5 + [False] * 2]))
    torch.testing.assert_close(padded[:, :5], network(features, points))
    assert (padded[:, 5:] == 0).all()


def test_pooling():
    features, points = torch.randn(2, 5, 4).double(), torch.randn(2, 5, 3).double()
    mask = torch.tensor([[True] * 5, [True] * 2 + [False] * 3])

    def outputs(pooling):
        torch.manual_seed(0)
        settings = {"channels": 4, "heads": 2, "pooling": pooling}
        return ChannelwiseTransformer(4, 2, RadialBasis(5.0), **settings).double()(
            features, points, mask
        )

    of_points = outputs("none")
    torch.testing.assert_close(outputs("sum"), torch.stack([x.sum(0) for x in of_points]))
    means = [of_points[0].mean(0), of_points[1, :2].mean(0)]
    torch.testing.assert_close(outputs("mean"), torch.stack(means))


def test_features_beyond_scalars_matter():
    torch.manual_seed(0)
    features, points = torch.ones(1, 4, 1).double(), torch.randn(1, 4, 3).double()
    network = ChannelwiseTransformer(1, 1, Distance(), channels=4, heads=2, layers=3).double()
    before = network(features, points)
    for layer in network.layers:
        for degree, mix in enumerate(layer.mix):
            if degree:
                torch.nn.init.zeros_(mix)
    assert (network(features, points) - before).abs().max() > 1e-6


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layers": 1}, "layers: 1; accepted: 2 to"),
        ({"channels": 6, "heads": 4}, "heads must divide channels"),
        ({"hidden": 0}, "hidden"),
        ({"pooling": "max"}, "'none', 'sum' or 'mean'; got 'max'"),
    ],
    ids=str,
)
def test_wrong_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        ChannelwiseTransformer(1, 1, Distance(), **settings)


@pytest.mark.parametrize(("bounded", "least", "most"), [(False, 17, 19), (True, 0.9, 1.1)])
def test_bounded_products_keep_the_output_in_proportion(bounded, least, most):
    """Of degree 3 · 3 · 2 without bounds, for three layers of which the last gives scalars."""
    torch.manual_seed(0)
    network = ChannelwiseTransformer(
        2, 1, RadialBasis(5.0), channels=8, heads=2, layers=3, bounded=bounded
    ).double()
    torch.nn.init.zeros_(network.embedding.bias)
    points = torch.randn(4, 6, 3, dtype=torch.float64)
    features = torch.randn(4, 6, 2, dtype=torch.float64)
    with torch.no_grad():
        sizes = [network(scale * features, points).abs().mean() for scale in (1e4, 1e5)]
    assert least < float((sizes[1] / sizes[0]).log10()) < most


def test_self_connections_by_kind_are_linear_maps_of_each_kind():
    torch.manual_seed(0)
    maps = ByKind(3, CHANNELS, [Type(0), Type(1)])
    x = torch.randn(2, 5, 4, CHANNELS)
    kinds = torch.tensor([[0, 1, 2, 0, 1], [2, 2, 1, 0, 0]])
    found = maps(x, torch.nn.functional.one_hot(kinds, 3).float())
    for cloud in range(2):
        for point in range(5):
            weights = [w[kinds[cloud, point]].view(CHANNELS, CHANNELS) for w in maps.weights]
            own = x[cloud, point]
            expected = torch.cat((own[:1] @ weights[0], own[1:] @ weights[1]))
            torch.testing.assert_close(found[cloud, point], expected)


@pytest.mark.parametrize("max_degree", [1, 2])
def test_without_attention_a_layer_is_the_convolution_of_e3nn(max_degree, e3nn_in_double):
    """Σⱼ R(rᵢⱼ) (hⱼ ⊗ Y(rᵢⱼ)), as of tensor field networks, L1Net and NequIP."""
    torch.manual_seed(0)
    degrees = range(max_degree + 1)
    network = ChannelwiseTransformer(
        2, 1, RadialBasis(5.0), max_degree=max_degree, channels=CHANNELS, heads=1, layers=3,
        hidden=4, attention=False, normalizer=Linear(),
        neighborhood=AllPairs(loops=False),
    )  # fmt: skip
    layer = network.layers[1]
    points = torch.randn(1, 4, 3)
    features = torch.randn(1, 4, (max_degree + 1) ** 2, CHANNELS)
    lifted = Lifted(network.space.section(points), points)
    neighborhood = AllPairs(loops=False)(network.space, lifted, None)
    pairs = Pairs(network.geometry, neighborhood, lifted)
    relative = points[:, None] - points[:, :, None]  # From targets to sources.
    harmonics = o3.spherical_harmonics(list(degrees), relative, True, "component")
    found = layer._attend(pairs, layer.product(harmonics.flatten(0, 2)), features)[0]
    weights = layer.weights(pairs.invariants.flatten(1).T).unflatten(0, (4, 4))

    irreps = [(CHANNELS, (degree, (-1) ** degree)) for degree in degrees]
    place, start = 0, 0
    for c in degrees:
        for a in degrees:
            for b in range(abs(a - c), min(a + c, max_degree) + 1):
                if (a + b + c) % 2:
                    continue
                product = o3.TensorProduct(
                    [irreps[a]], [(1, irreps[b][1])], [irreps[c]], [(0, 0, 0, "uvu", True)],
                    path_normalization="none", shared_weights=False, internal_weights=False,
                )  # fmt: skip
                size = 2 * c + 1
                for i in range(4):
                    expected = torch.zeros(CHANNELS * size)
                    for j in range(4):
                        if j == i:
                            continue
                        own = features[0, j, a * a : (a + 1) ** 2].T.reshape(1, -1)
                        direction = harmonics[0, i, j, None, b * b : (b + 1) ** 2]
                        expected += product(own, direction, weights[i, j, place][None])[0]
                    own = found[i, start : start + size].T.reshape(-1)
                    torch.testing.assert_close(own, expected, rtol=1e-6, atol=1e-9)
                place, start = place + 1, start + size
    assert start == found.shape[1]


def test_with_both_parities_products_are_all_those_of_e3nn(e3nn_in_double):
    """Each type times the harmonics, as e3nn's full tensor product has them under reflections."""
    types = [Type(degree, pseudo) for pseudo in (False, True) for degree in range(3)]
    product = PairMatrices(types, types, max_degree=2)
    irreps = o3.Irreps([(1, (t.degree, (-1) ** (t.degree + t.pseudo))) for t in types])
    harmonics = o3.Irreps.spherical_harmonics(2)
    full = o3.FullTensorProduct(irreps, harmonics).irreps_out
    for each, count in zip(types, product.paths, strict=True):
        assert count == full.count(o3.Irrep(each.degree, (-1) ** (each.degree + each.pseudo)))
    # A reflection of directions and features is one of the products.
    directions = torch.randn(PAIRS, 3)
    given = torch.randn(PAIRS, irreps.dim, CHANNELS)
    matrix = o3.rand_matrix() @ torch.diag(torch.tensor([1.0, 1.0, -1.0]))
    move_in = irreps.D_from_matrix(matrix)
    move_out = o3.Irreps(
        [(n, ir.ir) for n, ir in zip(product.paths, irreps, strict=True)]
    ).D_from_matrix(matrix)

    def products(x, y):
        return product(o3.spherical_harmonics([0, 1, 2], y, True, "component")) @ x

    moved = products(move_in @ given, directions @ matrix.T)
    torch.testing.assert_close(moved, move_out @ products(given, directions))


def test_pseudotensors_are_there_from_the_second_layer_on():
    """Chirality cannot be told by an invariant, but its square can, and normals of planes."""
    torch.manual_seed(0)
    network = ChannelwiseTransformer(
        1, 1, Distance(), max_degree=1, channels=4, heads=2, layers=4, parities="both"
    ).double()
    seen = []
    for layer in network.layers:
        layer.register_forward_hook(lambda m, i, o: seen.append(o))
    network(torch.ones(1, 5, 1).double(), torch.randn(1, 5, 3).double())
    sizes = [each[..., 4:, :].abs().amax().item() for each in seen[:3]]
    assert sizes[0] == 0
    assert sizes[1] > 1e-3
    assert sizes[2] > 1e-3


def test_a_layer_keeps_its_features_by_kind():
    """Atoms without neighbors: what the last layer but one keeps is a linear map of each kind."""
    torch.manual_seed(0)
    settings = {"channels": CHANNELS, "heads": 1, "layers": 2, "by_kind": True}
    network = ChannelwiseTransformer(3, 1, RadialBasis(1.0), **settings)
    far = 100.0 * torch.arange(3.0)[None, :, None].expand(1, 3, 3)
    before = network(torch.eye(3)[None], far)
    with torch.no_grad():
        network.layers[0].keep_by_kind.weights[0][1] += 1.0  # Of the second kind alone.
    changed = (network(torch.eye(3)[None], far) - before)[0, :, 0].abs() > 1e-6
    assert changed.tolist() == [False, True, False]
