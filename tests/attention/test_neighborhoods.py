"""Rules against scipy's neighbor search, and both layouts against loops."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from attention import (
    AllPairs,
    Count,
    Exponential,
    LieTransformer,
    Linear,
    Nearest,
    Radius,
    RandomNearest,
    Sigmoid,
    Softmax,
    SparseNeighborhood,
)
from attention.neighborhoods import given_edges
from attention.neighborhoods.scatter import scatter_max, scatter_sum
from liegroups import (
    SE3,
    SO3,
    T2,
    T3,
    AlgebraNorm,
    BumpEnvelope,
    Distance,
    Haar,
    Lifted,
    PolynomialEnvelope,
    PoseDistance,
)

SPACE = T3().default_space()
SIZES = (40, 25)


@pytest.fixture
def clouds():
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(2, 40, 3, generator=generator, dtype=torch.float64)
    mask = torch.arange(40) < torch.tensor(SIZES)[:, None]
    return Lifted(SPACE.section(points), points), mask


def chosen(neighborhood, points=40):
    """The pairs of a neighborhood with their cut-off, for each cloud."""
    if isinstance(neighborhood, SparseNeighborhood):
        cutoff = neighborhood.cutoff
        weight = torch.ones(len(neighborhood.target)) if cutoff is None else cutoff
        rows = [
            (t // points, t % points, s % points, w)
            for t, s, w in zip(
                neighborhood.target.tolist(),
                neighborhood.source.tolist(),
                weight.tolist(),
                strict=True,
            )
            if w > 0
        ]
    else:
        mask = neighborhood.mask.expand(2, points, points)
        weight = mask.double() if neighborhood.cutoff is None else neighborhood.cutoff
        rows = [(b, t, s, weight[b, t, s].item()) for b, t, s in mask.nonzero().tolist()]
    found = [{}, {}]
    for cloud, target, source, w in rows:
        if target < SIZES[cloud]:
            found[cloud][target, source] = w
    return found


@pytest.mark.parametrize("layout", ["dense", "sparse"])
@pytest.mark.parametrize("blocks", [2**22, 200])
def test_radius_agrees_with_a_tree(clouds, layout, blocks, monkeypatch):
    monkeypatch.setattr("attention.neighborhoods.rules._PAIRS_AT_A_TIME", blocks)
    lifted, mask = clouds
    found = chosen(Radius(1.2, cutoff=None, layout=layout)(SPACE, lifted, mask))
    for cloud, size in enumerate(SIZES):
        points = lifted.point[cloud, :size].numpy()
        tree = cKDTree(points)
        pairs = {(i, j) for i, near in enumerate(tree.query_ball_point(points, 1.2)) for j in near}
        assert set(found[cloud]) == pairs


@pytest.mark.parametrize("layout", ["dense", "sparse"])
@pytest.mark.parametrize("loops", [True, False])
@pytest.mark.parametrize("count", [1, 7, 30])
def test_nearest_agrees_with_a_tree(clouds, layout, loops, count):
    lifted, mask = clouds
    found = chosen(Nearest(count, layout=layout, loops=loops)(SPACE, lifted, mask))
    for cloud, size in enumerate(SIZES):
        points = lifted.point[cloud, :size].numpy()
        own = int(not loops)
        ranks = list(range(1 + own, min(count + own, size) + 1))
        _, near = cKDTree(points).query(points, ranks)
        assert set(found[cloud]) == {(i, j) for i, row in enumerate(near) for j in row}


def test_random_nearest_draws_some_of_the_nearest(clouds):
    lifted, mask = clouds
    rule = RandomNearest(4, of=10)
    nearest = chosen(Nearest(10)(SPACE, lifted, mask))
    draws = [chosen(rule(SPACE, lifted, mask)) for _ in range(200)]
    for cloud, size in enumerate(SIZES):
        for found in draws:
            assert set(found[cloud]) <= set(nearest[cloud])
            assert len(found[cloud]) == 4 * size
    # Each of the ten is drawn with probability 0.4.
    rates = [sum(pair in found[0] for found in draws) / 200 for pair in nearest[0]]
    assert abs(np.mean(rates) - 0.4) < 1e-12
    assert np.std(rates) < 2 * (0.4 * 0.6 / 200) ** 0.5


def test_random_nearest_is_drawn_for_each_point_and_fixed_at_evaluation(clouds):
    lifted, mask = clouds
    rule = RandomNearest(4, of=10)
    fixed = rule(SPACE, lifted, mask, fixed=True)
    again = rule(SPACE, lifted, mask, fixed=True)
    assert torch.equal(fixed.source, again.source)
    other = RandomNearest(4, of=10, seed=1)(SPACE, lifted, mask, fixed=True)
    assert not torch.equal(fixed.source, other.source)
    ranks = []
    for i in range(20):
        order = (lifted.point[0, i] - lifted.point[0]).norm(dim=-1).argsort()
        ranks.append(order.argsort()[fixed.source[4 * i : 4 * i + 4]].sort().values)
    ranks = torch.stack(ranks)
    assert len(ranks.unique(dim=0)) > 10
    generator = torch.Generator()
    a, b = (rule(SPACE, lifted, mask, generator=generator.manual_seed(3)) for _ in range(2))
    assert torch.equal(a.source, b.source)


@pytest.mark.parametrize("envelope", [PolynomialEnvelope(), BumpEnvelope()])
@pytest.mark.parametrize("layout", ["dense", "sparse"])
def test_cutoff_is_the_envelope_of_the_distance(clouds, envelope, layout):
    lifted, mask = clouds
    found = chosen(Radius(1.5, cutoff=envelope, layout=layout)(SPACE, lifted, mask))
    for (i, j), weight in found[0].items():
        reach = (lifted.point[0, i] - lifted.point[0, j]).norm() / 1.5
        assert weight == pytest.approx(envelope(reach**2).item(), rel=1e-12)


def test_rules_that_see_the_lift():
    space = SE3().default_space()
    network = LieTransformer(
        SE3(),
        2,
        1,
        lift=Haar(3),
        width=8,
        heads=2,
        layers=1,
        neighborhood=Nearest(4, PoseDistance(0.3)),
    )
    assert network.sees_lift
    element = space.group.sample((1, 15), dtype=torch.float64)
    lifted = Lifted(element, element[..., :3, 3])
    found = Nearest(4, PoseDistance(0.3))(space, lifted, None)
    for i in range(15):
        a = space.group.log(space.group.inverse(element[0, i]) @ element[0])
        distance = 0.7 * a[:, :3].norm(dim=-1) + 0.3 * a[:, 3:].norm(dim=-1)
        assert set(found.source[4 * i : 4 * i + 4].tolist()) == set(distance.argsort()[:4].tolist())


def test_lifts_of_neighbors_are_neighbors(clouds):
    lifted, mask = clouds
    for layout in ("dense", "sparse"):
        below = Radius(1.0, layout=layout)(SPACE, lifted, mask)
        above = chosen(below.between_lifts(2), points=80)
        for (i, j), weight in chosen(below)[0].items():
            for a in (0, 1):
                for b in (0, 1):
                    if 2 * i + a < SIZES[0]:
                        assert above[0][2 * i + a, 2 * j + b] == weight


# ---- arrows ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "normalizer", [Softmax(), Count(), Exponential(), Linear(), Sigmoid()], ids=str
)
@pytest.mark.parametrize("rule", [Radius(1.0), Radius(1.0, cutoff=None), Nearest(4)], ids=str)
def test_layouts_agree_with_loops(clouds, normalizer, rule):
    lifted, mask = clouds
    generator = torch.Generator().manual_seed(1)
    query, key, value = torch.randn(3, 2, 2, 40, 5, generator=generator, dtype=torch.float64)
    expected = torch.zeros_like(value)
    pairs = chosen(rule(SPACE, lifted, mask))
    for cloud, found in enumerate(pairs):
        for i in range(SIZES[cloud]):
            near = {j: w for (t, j), w in found.items() if t == i}
            total = max(1.0, sum(near.values()))
            for h in range(2):
                logit = {j: (query[h, cloud, i] @ key[h, cloud, j]).item() for j in near}
                match normalizer:
                    case Softmax():
                        norm = sum(near[j] * np.exp(logit[j]) for j in near)
                        weight = {j: near[j] ** 2 * np.exp(logit[j]) / norm for j in near}
                    case Count():
                        weight = {j: near[j] * logit[j] / total for j in near}
                    case Exponential():
                        weight = {j: near[j] * np.exp(min(logit[j], 10.0)) / total for j in near}
                    case Linear():
                        weight = {j: near[j] * logit[j] for j in near}
                    case Sigmoid():
                        weight = {j: near[j] / (1 + total * np.exp(-logit[j])) for j in near}
                for j, w in weight.items():
                    expected[h, cloud, i] += w * value[h, cloud, j]
    for layout in ("dense", "sparse"):
        neighborhood = replace(rule, layout=layout)(SPACE, lifted, mask)
        weights = normalizer(neighborhood, neighborhood.inner(query, key))
        received = neighborhood.push_forward(weights, value)
        received = received.masked_fill(~mask[..., None], 0)
        torch.testing.assert_close(received, expected)


@pytest.mark.parametrize("rule", [AllPairs(), Radius(0.9), Nearest(4)], ids=str)
def test_contractions_of_pairs(clouds, rule):
    lifted, mask = clouds
    neighborhood = rule(SPACE, lifted, mask)
    target = torch.randn(2, 2, 40, 3, dtype=torch.float64)
    ends = neighborhood.pull_back(lifted, lifted)
    relative = ends[1].point - ends[0].point
    features = relative.movedim(-1, 0)
    separate = neighborhood.inner(target, lifted.point.expand(2, -1, -1, -1))
    own = (target * lifted.point).sum(-1)
    expected = separate - neighborhood.outer_sum(own, torch.zeros_like(own))
    torch.testing.assert_close(neighborhood.contract(target, features), expected)


# ---- what a cut-off is for -------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["dense", "sparse"])
@pytest.mark.parametrize(
    "normalizer", [Softmax(), Count(), Exponential(), Linear(), Sigmoid()], ids=str
)
@pytest.mark.parametrize("loops", [True, False])
def test_nothing_jumps_at_the_radius(layout, normalizer, loops):
    """Output, slope and curvature as a point leaves, the last but the target itself or not."""
    torch.manual_seed(0)
    network = (
        LieTransformer(
            SE3(),
            1,
            1,
            invariant=Distance(),
            width=16,
            heads=2,
            layers=1,
            normalizer=normalizer,
            neighborhood=Radius(1.0, layout=layout, loops=loops),
        )
        .double()
        .eval()
    )

    def along(x):
        points = torch.zeros(1, 2, 3, dtype=torch.float64)
        points = torch.stack((points[:, 0], points[:, 1] + x * torch.eye(3).double()[0]), 1)
        return network(torch.ones(1, 2, 1).double(), points)[0, 0]

    def jet(x):
        x = torch.tensor(x, dtype=torch.float64, requires_grad=True)
        value = along(x)
        (slope,) = torch.autograd.grad(value, x, create_graph=True, materialize_grads=True)
        if not slope.requires_grad:
            return torch.stack((value, slope, torch.zeros_like(slope))).detach()
        (curvature,) = torch.autograd.grad(slope, x, materialize_grads=True)
        return torch.stack((value, slope, curvature)).detach()

    inside, outside = jet(1 - 1e-6), jet(1 + 1e-6)
    torch.testing.assert_close(inside, outside, rtol=0, atol=1e-3)
    assert (jet(0.5)[0] - outside[0]).abs() > 1e-5


def test_without_a_cutoff_it_jumps():
    torch.manual_seed(0)
    network = (
        LieTransformer(
            SE3(),
            1,
            1,
            invariant=Distance(),
            width=16,
            heads=2,
            layers=1,
            neighborhood=Radius(1.0, cutoff=None),
            normalizer=Count(),
        )
        .double()
        .eval()
    )
    points = torch.tensor([[[0.0, 0, 0], [1, 0, 0]]], dtype=torch.float64)
    outputs = [network(torch.ones(1, 2, 1).double(), points * s) for s in (1 - 1e-9, 1 + 1e-9)]
    assert (outputs[0] - outputs[1]).abs() > 1e-4


# ---- given edges -----------------------------------------------------------------------------


def test_given_edges_are_those_of_the_rule(clouds):
    lifted, mask = clouds
    torch.manual_seed(0)
    network = (
        LieTransformer(
            SE3(),
            2,
            1,
            lift=Haar(2),
            width=8,
            heads=2,
            layers=1,
            neighborhood=Radius(1.0, cutoff=None),
        )
        .double()
        .eval()
    )
    features = torch.randn(2, 40, 2).double()
    edges = Radius(1.0, cutoff=None)(SPACE, lifted, mask)
    listed = torch.stack((edges.source, edges.target))
    shuffled = listed[:, torch.randperm(listed.shape[1])]
    expected = network(features, lifted.point, mask)
    given = network(features, lifted.point, mask, edges=shuffled)
    torch.testing.assert_close(given, expected)
    fewer = network(features, lifted.point, mask, edges=listed[:, ::2])
    assert (fewer - expected).abs().max() > 1e-6


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        (torch.zeros(3, 2, dtype=torch.int64), r"shape \(2, edges\); got torch.int64 of"),
        (torch.zeros(2, 2), "must be int64"),
        (torch.tensor([[0], [8]]), "points from 0 to 7; got 0 to 8"),
        (torch.tensor([[0, 1], [1, 5]]), "edge 1 leads from 1 to 5"),
        (torch.tensor([[4], [7]]), "points that exist"),
    ],
)
def test_edges_that_do_not_fit(edges, message):
    mask = torch.ones(2, 4, dtype=torch.bool)
    mask[1, 3] = False
    with pytest.raises(ValueError, match=message):
        given_edges(edges, mask, 2, 4)


def test_no_edges_at_all():
    torch.manual_seed(0)
    network = LieTransformer(SE3(), 2, 1, invariant=Distance(), width=8, heads=2, layers=1).eval()
    features, points = torch.randn(1, 4, 2), torch.randn(1, 4, 3)
    none = torch.zeros(2, 0, dtype=torch.int64)
    assert network(features, points, edges=none).isfinite().all()


# ---- scatter ---------------------------------------------------------------------------------


@pytest.mark.parametrize("package", ["torch", "torch_scatter"])
def test_scatter_agrees_with_loops(package):
    if package == "torch_scatter":
        pytest.importorskip("torch_scatter")
    index = torch.tensor([0, 2, 2, 0, 3])
    values = torch.randn(2, 5, 3, dtype=torch.float64)
    total = scatter_sum(values, index, 5, package)
    largest = scatter_max(values[..., 0], index, 5, package)
    for k in range(5):
        own = values[:, index == k]
        torch.testing.assert_close(total[:, k], own.sum(1))
        expected = own[..., 0].amax(1) if own.shape[1] else torch.zeros(2).double()
        torch.testing.assert_close(largest[:, k], expected)


@pytest.mark.parametrize("normalizer", [Softmax(), Count()], ids=str)
def test_networks_agree_with_either_package(normalizer):
    pytest.importorskip("torch_scatter")
    outputs = []
    for package in ("torch", "torch_scatter"):
        torch.manual_seed(0)
        rule = Radius(1.5, scatter=package)
        model = LieTransformer(
            SE3(),
            2,
            1,
            invariant=Distance(),
            width=8,
            heads=2,
            normalizer=normalizer,
            neighborhood=rule,
        ).double()
        points = torch.randn(2, 9, 3, dtype=torch.float64, requires_grad=True)
        output = model(torch.ones(2, 9, 2).double(), points)
        (force,) = torch.autograd.grad(output.sum(), points, create_graph=True)
        gradients = torch.autograd.grad(
            force.square().sum(), tuple(model.parameters()), materialize_grads=True
        )
        outputs.append((output, force, *gradients))
    torch.testing.assert_close(*outputs)


def test_torch_scatter_is_asked_for_by_name():
    try:
        import torch_scatter  # noqa: F401
    except ModuleNotFoundError:
        with pytest.raises(ModuleNotFoundError, match="scatter='torch'"):
            Nearest(2, scatter="torch_scatter")
    else:
        pytest.skip("torch_scatter is installed")


# ---- mistakes --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Radius(0.0), "Radius.radius: 0.0; accepted"),
        (lambda: Nearest(0), "Nearest.count: 0; accepted: 1 to"),
        (lambda: RandomNearest(5), "RandomNearest.of: 0; accepted: 5 to"),
        (lambda: Radius(1.0, layout="csr"), "'dense' or 'sparse'; got 'csr'"),
        (lambda: Nearest(1, scatter="pyg"), "'torch' or 'torch_scatter'; got 'pyg'"),
        (lambda: LieTransformer(SE3(), 1, 1, neighborhood=Radius(1.0, AlgebraNorm())), "2 on"),
        (lambda: LieTransformer(SO3(), 1, 1, neighborhood=Nearest(2, PoseDistance())), "no tran"),
        (lambda: PoseDistance(2.0), "PoseDistance.rotation: 2.0; accepted: a number at least 0"),
    ],
)
def test_settings_that_do_not_fit(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_two_dimensions():
    space = T2().default_space()
    points = torch.tensor([[[0.0, 0], [1, 0], [5, 0]]])
    found = Radius(2.0, cutoff=None)(space, Lifted(space.section(points), points), None)
    assert found.target.tolist() == [0, 0, 1, 1, 2]
    assert found.source.tolist() == [0, 1, 0, 1, 2]


def test_random_neighbors_of_clouds_larger_than_the_table(monkeypatch):
    monkeypatch.setattr("attention.neighborhoods.rules._TABLE_ROWS", 4)
    space = SE3().default_space()
    points = torch.randn(2, 11, 3)
    rule = RandomNearest(2, of=5, seed=4321)  # Another seed than where the table has its own size.
    neighborhood = rule(space, Lifted(space.section(points), points), None, fixed=True)
    assert (neighborhood.target.bincount(minlength=22) == 2).all()
