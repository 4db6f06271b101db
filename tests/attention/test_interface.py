import pytest
import torch
from torch import nn

from attention import (
    FrameVectorHead,
    LieTransformer,
    Nearest,
    Network,
    PointHead,
    RandomNearest,
    RelativeVectorHead,
    SparseNeighborhood,
    invariance_error,
)
from attention.neighborhoods import NeighborhoodRule
from attention.steerable import ChannelwiseTransformer, SteerableTransformer
from attention.testing import check_network, network_suite
from liegroups import SE3, Distance, E, Equivariance, Frames
from liegroups.numerics import safe_norm


class DeepSets(Network):
    """A network that a user could write: a set of the distances from the center, with features."""

    equivariance = Equivariance.EXACT

    def __init__(self, pooling="sum"):
        super().__init__()
        self.space = SE3().default_space()
        self.in_features, self.out_features = 3, 2
        self.is_per_point = pooling == "none"
        self.each = nn.Sequential(nn.Linear(4, 8), nn.SiLU(), nn.Linear(8, 8))
        self.all = nn.Sequential(nn.SiLU(), nn.Linear(8, 2))

    def forward(self, features, points, mask=None, *, edges=None, generator=None):
        exists = torch.ones_like(points[..., :1]) if mask is None else mask[..., None].to(points)
        points, features = points.masked_fill(exists == 0, 0), features.masked_fill(exists == 0, 0)
        center = points.sum(1, keepdim=True) / exists.sum(1, keepdim=True)
        radius = safe_norm(points - center)[..., None]
        hidden = self.each(torch.cat((features, radius), -1)) * exists
        if self.is_per_point:
            return self.all(hidden + hidden.sum(1, keepdim=True)) * exists
        return self.all(hidden.sum(1))


class Messages(Network):
    """Vectors from the neighbors that a rule or the user chooses."""

    equivariance = Equivariance.EXACT
    in_features, out_features, is_per_point = 2, 3, True

    def __init__(self):
        super().__init__()
        self.space = E(3).default_space()
        self.neighborhood = Nearest(3, loops=False)
        self.weight = nn.Linear(2, 1)

    def forward(self, features, points, mask=None, *, edges=None, generator=None):
        if mask is not None:
            points = points.masked_fill(~mask[..., None], 0)
            features = features.masked_fill(~mask[..., None], 0)
        batch, size = points.shape[:2]
        near = torch.zeros(batch * size, batch * size, dtype=points.dtype)
        if edges is None:
            distance = safe_norm(points[:, :, None] - points[:, None])
            distance = distance.masked_fill(torch.eye(size, dtype=torch.bool), torch.inf)
            if mask is not None:
                distance = distance.masked_fill(~mask[:, None], torch.inf)
            found, source = distance.topk(min(3, size), largest=False)
            weight = found.isfinite().to(points)
            own = torch.zeros_like(distance).scatter(-1, source, weight)
            near = torch.block_diag(*own)
        else:
            near[edges[1], edges[0]] = 1
        sent = (self.weight(features) * points).flatten(0, 1)
        weight = self.weight(features).flatten(0, 1)
        output = near @ sent - (near @ weight) * points.flatten(0, 1)
        output = output.unflatten(0, (batch, size))
        return output if mask is None else output.masked_fill(~mask[..., None], 0)

    def move(self, g, output):
        return output @ g[:3, :3].mT


TestDeepSets = network_suite(DeepSets)
TestDeepSetsOfPoints = network_suite(lambda: DeepSets("none"))
TestMessages = network_suite(Messages)


def lie(**settings):
    return LieTransformer(SE3(), 3, 2, width=8, heads=2, layers=1, lift=Frames(), **settings)


def steerable(pooling="none", **settings):
    return SteerableTransformer(
        "2x0e + 1x1o", "1x0e + 2x1o", types=[0, 1], channels=4, layers=2, heads=2, pooling=pooling
    )


def channelwise(pooling="none"):
    return ChannelwiseTransformer(
        5, 2, Distance(), max_degree=1, channels=4, layers=2, heads=2, pooling=pooling
    )


@pytest.mark.parametrize(
    ("network", "sizes", "is_per_point"),
    [
        (lie(), (3, 2), False),
        (lie(head=PointHead), (3, 2), True),
        (lie(head=FrameVectorHead), (3, 2), True),
        (steerable("mean"), (5, 7), False),
        (steerable(), (5, 7), True),
        (channelwise("sum"), (5, 2), False),
        (channelwise(), (5, 2), True),
        (DeepSets(), (3, 2), False),
    ],
    ids=lambda x: type(x).__name__,
)
def test_what_a_network_says_of_itself(network, sizes, is_per_point):
    assert isinstance(network, Network)
    assert (network.in_features, network.out_features) == sizes
    assert network.is_per_point is is_per_point
    assert network.equivariance is Equivariance.EXACT
    features, points = torch.randn(2, 5, sizes[0]), torch.randn(2, 5, network.space.point_dim)
    output = network(features, points, edges=None, generator=torch.Generator())
    assert output.shape[:2] == ((2, 5) if is_per_point else (2, sizes[1]))
    assert output.shape[1 + is_per_point] == sizes[1]


class Given(NeighborhoodRule):
    """The edges that it is given."""

    def __init__(self, edges):
        self.edges = edges

    def __call__(self, space, lifted, mask, *, generator=None, fixed=False):
        source, target = self.edges
        return SparseNeighborhood(target, source, lifted.point.shape[:2].numel())


@pytest.mark.parametrize("make", [steerable, channelwise], ids=lambda make: make.__name__)
def test_edges_give_what_a_rule_that_chooses_them_gives(make):
    torch.manual_seed(0)
    network = make()
    features, points = torch.randn(2, 5, 5), torch.randn(2, 5, 3)
    edges = torch.tensor([[0, 1, 4, 3, 5, 9, 9, 2], [1, 0, 0, 0, 9, 5, 6, 2]])  # One is a loop.
    found = network(features, points, edges=edges)
    assert not torch.allclose(found, network(features, points))
    network.neighborhood = Given(edges)
    assert torch.equal(found, network(features, points))
    network.neighborhood = Given(edges[:, ::2])
    assert not torch.allclose(found, network(features, points))


@pytest.mark.parametrize("make", [steerable, channelwise], ids=lambda make: make.__name__)
def test_edges_that_do_not_fit(make):
    network = make()
    features, points = torch.randn(2, 5, 5), torch.randn(2, 5, 3)
    mask = torch.ones(2, 5, dtype=torch.bool)
    mask[0, 4] = False
    for edges, message in {
        ((0, 1), (1, 10)): "edges must name points from 0 to 9; got 0 to 10",
        ((0, 1), (1, 5)): "edges must stay within a cloud",
        ((0, 4), (1, 3)): "edges must name points that exist",
    }.items():
        with pytest.raises(ValueError, match=message):
            network(features, points, mask, edges=torch.tensor(edges))


@pytest.mark.parametrize("make", [steerable, channelwise], ids=lambda make: make.__name__)
@pytest.mark.parametrize("training", [True, False])
def test_random_neighbors_come_from_the_generator(make, training):
    torch.manual_seed(0)
    network = make().train(training)
    network.neighborhood = RandomNearest(2, of=7, loops=False)
    features, points = torch.randn(2, 8, 5), torch.randn(2, 8, 3)
    outputs = [
        network(features, points, generator=torch.Generator().manual_seed(seed))
        for seed in (1, 1, 2)
    ]
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.allclose(outputs[0], outputs[2])


def test_the_error_of_networks_whose_features_and_outputs_turn():
    torch.manual_seed(0)
    clouds = torch.randn(2, 6, 5), torch.randn(2, 6, 3)
    assert invariance_error(steerable(), *clouds) < 1e-12
    assert invariance_error(steerable("mean"), *clouds, dtype=torch.float32) < 1e-4
    assert invariance_error(DeepSets(), clouds[0][..., :3], clouds[1]) < 1e-12
    network = lie(head=RelativeVectorHead, invariant=Distance()).double()
    assert invariance_error(network, clouds[0][..., :3], clouds[1]) < 1e-12


def test_reflections_turn_features_by_their_parity():
    network = SteerableTransformer("1x0e + 1x0o + 1x1o + 1x1e", "1x0e", E(3), types=[0, 1, 2])
    mirror = torch.diag(torch.tensor([-1.0, 1.0, 1.0, 1.0], dtype=torch.float64))
    features = torch.ones(1, 1, 8, dtype=torch.float64)
    expected = torch.tensor([1, -1, -1, 1, 1, 1, -1, -1], dtype=torch.float64)
    torch.testing.assert_close(network.move_features(mirror, features)[0, 0], expected)


def test_a_subclass_says_what_it_is():
    class Silent(Network):
        def forward(self, features, points, mask=None, *, edges=None, generator=None):
            return features.sum(1)

    with pytest.raises(TypeError, match="equivariance"):
        Silent()

    class WithoutSpace(Silent):
        equivariance = Equivariance.EXACT

    with pytest.raises(ValueError, match="WithoutSpace does not set space; a subclass"):
        check_network(WithoutSpace)
    with pytest.raises(ValueError, match=r"subclass of attention.Network; got Linear"):
        check_network(lambda: nn.Linear(2, 2))


def test_a_law_that_needs_more_than_the_interface_says_why_it_does_not_apply():
    found = {result.name: result for result in check_network(DeepSets)}
    assert found["backends_agree"].passed is None
    assert "no layer that backends compute" in found["backends_agree"].message
    assert found["edges_take_the_place_of_the_rule"].passed is None
    assert "no rule that chooses neighbors" in found["edges_take_the_place_of_the_rule"].message
    assert [name for name, result in found.items() if result.passed is False] == []


def test_laws_of_a_network_that_is_exact_for_a_subgroup_that_it_does_not_name():
    class ForSome(DeepSets):
        equivariance = Equivariance.EXACT_FOR_SUBGROUP

    found = {result.name: result for result in check_network(ForSome)}
    result = found["equivariance_is_of_the_stated_kind"]
    assert (result.passed, result.message) == (
        None,
        "the network does not say for which subgroup it is exact",
    )
