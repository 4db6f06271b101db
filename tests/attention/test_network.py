import copy
import pickle
from functools import partial

import pytest
import torch

from attention import Count, InvariantHead, Joint, LieTransformer, Product, Sum, invariance_error
from liegroups import (
    SE2,
    SE3,
    SO3,
    T3,
    Concat,
    Distance,
    Equivariance,
    Haar,
    InverseDistance,
    OrbitLabels,
    PerHead,
    RelativePose,
)


def network(group, seed=0, dtype=torch.float64, **settings):
    torch.manual_seed(seed)
    settings = {"width": 16, "layers": 2, "heads": 4, "lift": Haar(2), **settings}
    return LieTransformer(group, 4, 2, **settings).to(dtype).eval()


# ---- equivariance ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("group", "invariant"),
    [
        (T3(), RelativePose()),
        (T3(), Distance()),
        (SE2(), Distance()),
        (SE3(), Distance()),
        (SE3(), InverseDistance()),
        (SE3(), [Distance(), InverseDistance()]),
        (SO3(), Distance()),
    ],
    ids=str,
)
def test_exact_networks_are_invariant_to_rounding(group, invariant):
    model = network(group, invariant=invariant)
    assert model.equivariance is Equivariance.EXACT
    torch.manual_seed(1)
    features, points = torch.randn(3, 6, 4), torch.randn(3, 6, model.space.point_dim)
    assert invariance_error(model, features, points) < 1e-12
    assert invariance_error(model, features, points, dtype=torch.float32) < 1e-5


@pytest.mark.parametrize("group", [SO3(), SE2(), SE3()], ids=str)
@pytest.mark.parametrize("seed", range(2))
def test_haar_lifts_are_invariant_on_average(group, seed):
    model = network(group, seed)
    assert model.equivariance is Equivariance.IN_DISTRIBUTION
    assert abs(z_score(model, seed)) < 4


@pytest.mark.parametrize("group", [SE2(), SE3()], ids=str)
def test_shared_haar_lifts_are_invariant_on_average(group):
    assert abs(z_score(network(group, lift=Haar(2, shared=True)), 0)) < 4


def test_the_wrong_law_of_the_stabilizer_is_noticed(monkeypatch):
    """The published law for SO(3) on space: an angle with mean cosine -0.5."""

    def biased(self, shape=(), *, generator=None, dtype=None, device=None):
        angle = torch.pi * (0.5 + torch.rand(tuple(shape), generator=generator, dtype=dtype))
        c, s = angle.cos(), angle.sin()
        return torch.stack((c, -s, s, c), -1).unflatten(-1, (2, 2))

    monkeypatch.setattr("liegroups.so2.SO2.sample", biased)
    assert abs(z_score(network(SO3()), 0)) > 4


def z_score(model, seed, draws=4000):
    """Largest z of the difference of mean outputs between a cloud and a moved copy of it."""
    generator = torch.Generator().manual_seed(seed)
    dim = model.space.point_dim
    features = torch.randn(1, 5, 4, generator=generator, dtype=torch.float64)
    points = torch.randn(1, 5, dim, generator=generator, dtype=torch.float64)
    points[0, 1] = 0  # the origin, a singular orbit under rotations
    g = model.space.group.sample(generator=generator, dtype=torch.float64)
    outputs = [
        model(
            features.expand(draws, -1, -1),
            cloud.expand(draws, -1, -1),
            generator=generator,
        )
        for cloud in (points, model.space.act(g, points))
    ]
    assert outputs[0].std(0).min() > 0
    difference = outputs[0].mean(0) - outputs[1].mean(0)
    error = sum(output.var(0) / draws for output in outputs).sqrt()
    return (difference / error).abs().max().item()


def test_the_measure_sees_a_network_that_is_not_invariant():
    model = network(T3())
    torch.manual_seed(1)
    features, points = torch.randn(3, 6, 4), torch.randn(3, 6, 3)
    model.register_forward_hook(
        lambda _, inputs, output: output + 1e-3 * inputs[1].mean((1, 2))[:, None]
    )
    assert invariance_error(model, features, points) > 1e-5


# ---- derivatives -----------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", [Sum, Product, Joint])
def test_derivatives_with_respect_to_points(group, clouds, kernel):
    features, points, mask = clouds
    points = points.clone()
    points[0, 1] = points[0, 0]  # coincident
    points[0, 2] = 2 * points[0, 0]  # collinear with the origin and the first
    points.requires_grad_()
    model = network(group, kernel=kernel)
    assert torch.autograd.gradcheck(lambda x: model(features, x, mask), points)
    assert torch.autograd.gradgradcheck(lambda x: model(features, x, mask), points)


@pytest.mark.parametrize("invariant", [Distance(), InverseDistance()], ids=str)
def test_derivatives_through_distances(invariant):
    torch.manual_seed(0)
    model = network(SE3(), invariant=invariant)
    features = torch.randn(1, 4, 4, dtype=torch.float64)
    points = torch.randn(1, 4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: model(features, x), points)
    assert torch.autograd.gradgradcheck(lambda x: model(features, x), points)


def test_derivatives_are_finite_where_all_points_coincide(group):
    dim = group.default_space().point_dim
    for invariant in (RelativePose(), Distance(), InverseDistance()):
        points = torch.zeros(1, 3, dim, requires_grad=True)
        model = network(group, invariant=invariant, dtype=torch.float32)
        output = model(torch.randn(1, 3, 4), points)
        (first,) = torch.autograd.grad(output.sum(), points, create_graph=True)
        assert first.isfinite().all()
        if first.requires_grad:
            (second,) = torch.autograd.grad(first.square().sum(), points, allow_unused=True)
            assert second is None or second.isfinite().all()


# ---- padding, batches, permutations ----------------------------------------------------------


@pytest.mark.parametrize("normalizer", [None, Count()], ids=["softmax", "count"])
@pytest.mark.parametrize("pooling", ["mean", "sum"])
def test_padding_and_batching_change_nothing(group, clouds, normalizer, pooling):
    features, points, mask = clouds
    model = network(group, normalizer=normalizer, head=partial(InvariantHead, pooling=pooling))
    together = model(features, points, mask)
    alone = model(features[1:, :3], points[1:, :3])
    torch.testing.assert_close(together[1:], alone, rtol=1e-12, atol=1e-12)
    features, points = features.clone(), points.clone()
    features[1, 3:], points[1, 3:] = float("nan"), float("inf")
    torch.testing.assert_close(model(features, points, mask), together, rtol=0, atol=0)


def test_a_large_cloud_uses_the_same_lifts_for_its_first_points():
    model = network(SE3())
    torch.manual_seed(0)
    features, points = torch.randn(1, 80, 4).double(), torch.randn(1, 80, 3).double()
    mask = torch.arange(80)[None] < 70
    torch.testing.assert_close(
        model(features, points, mask), model(features[:, :70], points[:, :70])
    )


def test_order_of_points_does_not_matter(clouds, group):
    features, points, mask = clouds
    model = network(group, invariant=[Distance(), InverseDistance()])
    order = torch.tensor([3, 1, 0, 4, 2])
    shuffled = model(features[:, order], points[:, order], mask[:, order])
    torch.testing.assert_close(shuffled, model(features, points, mask), rtol=1e-12, atol=1e-12)


def test_sum_is_extensive_and_mean_intensive():
    """A cloud beside a copy of itself, which softmax attention to distances cannot tell apart."""
    torch.manual_seed(0)
    features, points = torch.randn(1, 3, 4).double(), torch.randn(1, 3, 3).double()
    twice = features.repeat(1, 2, 1), points.repeat(1, 2, 1)
    for pooling, factor in (("mean", 1), ("sum", 2)):
        head = partial(InvariantHead, pooling=pooling)
        model = network(SE3(), invariant=Distance(), head=head)
        torch.testing.assert_close(model(*twice), factor * model(features, points))


def test_a_single_point(group):
    model = network(group)
    points = torch.zeros(1, 1, model.space.point_dim, dtype=torch.float64)
    assert model(torch.randn(1, 1, 4).double(), points).isfinite().all()


# ---- the lift --------------------------------------------------------------------------------


def test_evaluation_repeats_itself_and_training_does_not():
    model = network(SE3())
    features, points = torch.randn(1, 5, 4).double(), torch.randn(1, 5, 3).double()
    torch.testing.assert_close(model(features, points), model(features, points), rtol=0, atol=0)
    model.train()
    assert (model(features, points) != model(features, points)).all()


def test_an_invariant_of_points_alone_is_not_lifted(monkeypatch):
    model = network(SE3(), invariant=Distance(), lift=Haar(4))
    seen = []
    model.head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[3]))
    model(torch.randn(1, 5, 4).double(), torch.randn(1, 5, 3).double())
    assert seen == [1]


def test_orbit_labels_are_added_where_there_are_several_orbits():
    assert network(SO3()).invariant == Concat([RelativePose(), OrbitLabels()])
    assert network(SO3(), invariant=Concat([Distance(), OrbitLabels()])).invariant == Concat(
        [Distance(), OrbitLabels()]
    )
    assert network(SE3()).invariant == RelativePose()
    assert network(SE3(), invariant=[Distance(), RelativePose()]).invariant == PerHead(
        [Distance(), RelativePose()]
    )


# ---- what users do with a network ------------------------------------------------------------


def test_size_of_the_published_network():
    parameters = LieTransformer(T3(), 15, 1, width=512, layers=6, heads=8).parameters()
    assert sum(p.numel() for p in parameters) == pytest.approx(10.0e6, rel=0.01)


def test_pickle_deepcopy_and_state_dict(group, clouds):
    model = network(group)
    expected = model(*clouds)
    other = network(group, seed=1)
    assert (other(*clouds) != expected).any()
    other.load_state_dict(model.state_dict())
    for again in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model), other):
        torch.testing.assert_close(again(*clouds), expected, rtol=0, atol=0)


def test_compiles_without_a_break(group, clouds):
    torch.compiler.reset()
    model = network(group, layers=1)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(*clouds), model(*clouds))


def test_compiles_for_clouds_of_many_sizes():
    torch.compiler.reset()  # The compiler counts what other tests made it compile.
    model = network(SE2(), layers=1)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    for points in (4, 5, 7):  # From the second on, the number of points is a symbol.
        x = torch.randn(2, points, 6, dtype=torch.float64)
        inputs = x[..., :4], x[..., 4:]
        torch.testing.assert_close(compiled(*inputs), model(*inputs))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_output_has_the_dtype_of_the_network(group, clouds, dtype):
    features, points, mask = clouds
    output = network(group, dtype=dtype)(features.to(dtype), points.to(dtype), mask)
    assert output.dtype == dtype
    assert output.isfinite().all()


# ---- mistakes --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"invariant": OrbitLabels()}, "OrbitLabels needs a space with several orbits"),
        ({"invariant": [Distance()] * 3}, "4 heads are not divisible by 3"),
        ({"invariant": []}, "at least one invariant"),
        ({"layers": 0}, "layers: 0; accepted: 1 to 1,000"),
        ({"heads": 3}, "3 heads and width 16"),
        (
            {"head": partial(InvariantHead, pooling="max")},
            "pooling is one of mean, softmax, sum; got 'max'",
        ),
        ({"backend": "fast"}, "backend is one of auto, reference, fused"),
        ({"space": T3().default_space()}, "is a space of T3"),
    ],
    ids=str,
)
def test_settings_that_do_not_fit(settings, message):
    with pytest.raises(ValueError, match=message):
        network(SE3(), **settings)


@pytest.mark.parametrize(
    ("features", "points", "mask", "message"),
    [
        ((2, 5, 3), (2, 5, 3), None, r"features must have shape \(batch, points, 4\)"),
        ((2, 5, 4), (2, 5, 2), None, r"points must have shape \(2, 5, 3\)"),
        ((2, 5, 4), (2, 4, 3), None, r"points must have shape \(2, 5, 3\)"),
        ((2, 0, 4), (2, 0, 3), None, "at least one point"),
        ((2, 5, 4), (2, 5, 3), torch.ones(2, 5), "mask must be booleans"),
        ((2, 5, 4), (2, 5, 3), torch.ones(2, 4, dtype=torch.bool), r"shape \(2, 5\)"),
        ((2, 5, 4), (2, 5, 3), torch.tensor([[True] * 5, [False] * 5]), "cloud 1 of the batch"),
    ],
)
def test_clouds_that_do_not_fit(features, points, mask, message):
    with pytest.raises(ValueError, match=message):
        network(SE3())(torch.randn(features).double(), torch.randn(points).double(), mask)


def test_points_that_are_not_finite():
    points = torch.zeros(2, 5, 3, dtype=torch.float64)
    points[1, 3, 0] = float("nan")
    with pytest.raises(ValueError, match=r"index \[1, 3\] is \[nan, 0.0, 0.0\]"):
        network(SE3())(torch.zeros(2, 5, 4).double(), points)
