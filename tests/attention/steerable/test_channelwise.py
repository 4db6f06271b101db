"""Attention channel by channel, beside e3nn."""

import pytest
import torch
from e3nn import o3

from attention import invariance_error
from attention.steerable import ChannelwiseTransformer
from attention.steerable.channelwise import PairMatrices
from liegroups import Distance, E, InverseDistance, RadialBasis

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
    product = PairMatrices(types_in, types_out, max_degree=2)
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
