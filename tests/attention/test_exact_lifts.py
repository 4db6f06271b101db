"""Networks on exact lifts: how far they are from invariance, also on degenerate clouds."""

import math
from itertools import product

import pytest
import torch
from torch._dynamo.utils import counters

from attention import LieTransformer, invariance_error
from liegroups import (
    SE2,
    SE3,
    SO2,
    SO3,
    ConcentricSpheres,
    Equivariance,
    Frames,
    FullOrbit,
    Grid,
    PositionOrientation,
    RelativeMatrix,
    RelativePose,
    Sphere,
)
from liegroups.finite_rotations import CyclicGroup
from liegroups.orthogonal import E, O
from liegroups.so2 import planar_rotation

SPACES = [
    *(group.default_space() for group in (SE2(), SE3(), SO2(), SO3(), E(2), E(3), O(3))),
    Sphere(SO3()),
    PositionOrientation(SE3()),
]
ROUNDING = 1e-9


def pose(space):
    """The logarithm where all elements have one, else the matrix."""
    return RelativeMatrix() if isinstance(space.linear, O) else RelativePose()


def network(space, lift=Frames(), invariant=RelativeMatrix(), **settings):  # noqa: B008
    torch.manual_seed(0)
    settings = {"width": 16, "layers": 2, "heads": 4, **settings}
    model = LieTransformer(
        space.group, 3, 2, space=space, lift=lift, invariant=invariant, **settings
    )
    return model.double().eval()


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def ring(count, radius=1.0, height=0.0):
    angle = 2 * math.pi * torch.arange(count).double() / count
    columns = (radius * angle.cos(), radius * angle.sin(), torch.full_like(angle, height))
    return torch.stack(columns, -1)


def corners(x, y, z=0.0):
    return torch.tensor([[x, y, z], [-x, -y, z], [x, -y, z], [-x, y, z]], dtype=torch.float64)


_HALF = torch.tensor([[1.0, 0, 0], [0, 0, 0.0]]).double()
CLOUDS = {
    "one point": normal(1, 3),
    "one point at the origin": torch.zeros(1, 3).double(),
    "coincident": normal(1, 3).expand(4, 3),
    "two points": normal(2, 3),
    "collinear": normal(1, 3) + normal(5, 1, seed=1) * normal(1, 3, seed=2),
    "collinear with the origin": normal(5, 1, seed=1) * normal(1, 3, seed=2),
    "collinear, symmetric": torch.cat((_HALF, -_HALF[:1])) + 1,
    "planar": normal(1, 3) + normal(6, 2, seed=1) @ normal(2, 3, seed=2),
    "planar with the origin": normal(6, 2, seed=1) @ normal(2, 3, seed=2),
    "triangle": ring(3) + 1,
    "square": ring(4),
    "hexagons": torch.cat((ring(6, 1.4), ring(6, 2.5))),
    "water": torch.tensor([[0, 0, 0.1], [0.8, 0, -0.5], [-0.8, 0, -0.5]]).double(),
    "ammonia": torch.cat((torch.tensor([[0, 0, 0.4]]).double(), ring(3))),
    "methane": torch.tensor([[0, 0, 0], [1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]).double(),
    "cube": torch.tensor(list(product((1.0, -1.0), repeat=3))).double(),
    "inversion": torch.cat((normal(3, 3), -normal(3, 3))),
    "rectangle below an axis": torch.cat(
        (torch.tensor([[0, 0, 1.0], [0, 0, 0.3]]).double(), corners(0.7, 0.4, -0.2))
    ),
    "two rectangles on a circle": torch.cat((corners(0.8, 0.6), corners(0.28, 0.96))),
}


def points_of(space, name):
    """The cloud in the space: in its first coordinates, with orientations that keep symmetry."""
    x = CLOUDS[name][:, : space.linear.matrix_size]
    if isinstance(space, PositionOrientation):
        x = torch.cat((x, x - x.mean(0)), -1)
    return space.nearest_point(x)[None]


# ---- invariance ------------------------------------------------------------------------------


@pytest.mark.parametrize("radius", [None, 1.0])
@pytest.mark.parametrize("space", SPACES, ids=str)
def test_frames_make_generic_clouds_exact(space, radius):
    model = network(space, Frames(radius), pose(space))
    assert model.equivariance is Equivariance.EXACT
    points = space.nearest_point(normal(8, 7, space.point_dim))
    features = normal(8, 7, 3, seed=1)
    assert invariance_error(model, features, points) < ROUNDING
    single = invariance_error(model.float(), features, points, dtype=torch.float32)
    assert single < 1e-2


@pytest.mark.parametrize("radius", [None, 1.0])
@pytest.mark.parametrize("name", CLOUDS)
@pytest.mark.parametrize("space", SPACES, ids=str)
def test_frames_make_degenerate_clouds_exact(space, name, radius):
    """Whatever the features are: symmetric positions do not make them symmetric."""
    model, points = network(space, Frames(radius)), points_of(space, name)
    features = normal(*points.shape[:2], 3, seed=1)
    assert invariance_error(model, features, points) < ROUNDING


@pytest.mark.parametrize("group", [SE2(), SE3()], ids=str)
@pytest.mark.parametrize("name", CLOUDS)
def test_one_frame_of_the_cloud_keeps_poses_off_the_cut(group, name):
    """All points share the rotation, so the logarithm of their poses is a translation."""
    space = group.default_space()
    points = points_of(space, name)
    features = normal(*points.shape[:2], 3, seed=1)
    model = network(space, invariant=RelativePose())
    assert invariance_error(model, features, points) < ROUNDING


def test_the_network_sees_more_than_distances():
    """Mirror images are told apart in SE(3), as they should be, and only there."""
    points = normal(1, 6, 3)
    features = normal(1, 6, 3, seed=1)
    mirror = points * torch.tensor([1.0, 1.0, -1.0]).double()
    model = network(SE3().default_space())
    assert (model(features, points) - model(features, mirror)).abs().max() > 1e-6


# ---- order, padding --------------------------------------------------------------------------


@pytest.mark.parametrize("radius", [None, 1.0])
@pytest.mark.parametrize("name", CLOUDS)
@pytest.mark.parametrize("space", SPACES, ids=str)
def test_order_does_not_matter_where_features_share_the_symmetry(space, name, radius):
    model, points = network(space, Frames(radius)), points_of(space, name)
    vectors = points[..., : space.linear.matrix_size]
    centered = vectors - vectors.mean(1, keepdim=True)
    # The distance from the origin is invariant only where the origin is fixed.
    turned = isinstance(space, (ConcentricSpheres, Sphere))
    invariants = (centered.norm(dim=-1), vectors.norm(dim=-1) if turned else centered[..., 0] * 0)
    features = torch.stack((*invariants, invariants[0].square()), -1)
    expected = model(features, points)
    for seed in range(4):
        order = torch.randperm(points.shape[1], generator=torch.Generator().manual_seed(seed))
        shuffled = model(features[:, order], points[:, order])
        torch.testing.assert_close(shuffled, expected, rtol=1e-9, atol=1e-9)


def test_order_does_not_matter_on_generic_clouds():
    for space in SPACES:
        model = network(space)
        features, points = normal(2, 7, 3), space.nearest_point(normal(2, 7, space.point_dim))
        order = torch.tensor([3, 1, 6, 0, 5, 4, 2])
        shuffled = model(features[:, order], points[:, order])
        torch.testing.assert_close(shuffled, model(features, points), rtol=1e-9, atol=1e-9)


def test_order_matters_where_features_break_the_symmetry_of_the_positions():
    """What no frame of the positions alone can avoid, as documented."""
    space = SE2().default_space()
    model, points = network(space), points_of(space, "square")
    features = torch.eye(4, 3)[None].double()
    order = torch.tensor([1, 0, 2, 3])
    change = model(features[:, order], points[:, order]) - model(features, points)
    assert change.abs().max() > 1e-6


@pytest.mark.parametrize("radius", [None, 1.0])
@pytest.mark.parametrize("space", SPACES, ids=str)
def test_padding_does_not_matter(space, radius):
    model = network(space, Frames(radius))
    features, points = normal(2, 7, 3), space.nearest_point(normal(2, 7, space.point_dim))
    mask = torch.arange(7).expand(2, 7) < torch.tensor([[7], [4]])
    together = model(features, points, mask)
    alone = model(features[1:, :4], points[1:, :4])
    torch.testing.assert_close(together[1:], alone, rtol=1e-10, atol=1e-10)
    points[1, 4:] = 1e3
    torch.testing.assert_close(model(features, points, mask), together, rtol=0, atol=0)


# ---- derivatives -----------------------------------------------------------------------------


@pytest.mark.parametrize("radius", [None, 1.0])
@pytest.mark.parametrize("space", SPACES, ids=str)
def test_derivatives_on_generic_clouds(space, radius):
    model = network(space, Frames(radius), layers=1)
    features = normal(1, 4, 3)
    points = space.nearest_point(normal(1, 4, space.point_dim)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: model(features, x), points)
    assert torch.autograd.gradgradcheck(
        lambda x: model(features, x), points, atol=1e-4, fast_mode=True
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("radius", [None, 1.0])
@pytest.mark.parametrize("space", SPACES, ids=str)
def test_derivatives_are_finite_on_every_cloud(space, radius, dtype):
    model = network(space, Frames(radius), pose(space)).to(dtype)
    for name in CLOUDS:
        points = points_of(space, name).to(dtype).requires_grad_()
        features = normal(*points.shape[:2], 3, seed=1).to(dtype)
        output = model(features, points)
        (first,) = torch.autograd.grad(output.sum(), points, create_graph=True)
        assert first.isfinite().all(), name
        if first.requires_grad:
            (second,) = torch.autograd.grad(first.square().sum(), points, allow_unused=True)
            assert second is None or second.isfinite().all(), name


def test_the_network_compiles():
    space = SE3().default_space()
    model = network(space, layers=1)
    features, points = normal(2, 5, 3), normal(2, 5, 3)
    mask = torch.arange(5).expand(2, 5) < torch.tensor([[5], [3]])
    torch.compiler.reset()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(features, points, mask), model(features, points, mask))


# ---- finite subgroups ------------------------------------------------------------------------


def test_a_full_orbit_is_exact_for_its_group_and_translations_and_for_no_other_rotation():
    space = SE2().default_space()
    model = network(space, FullOrbit(CyclicGroup(4)))
    assert model.equivariance is Equivariance.EXACT_FOR_SUBGROUP
    features, points = normal(4, 6, 3), normal(4, 6, 2)
    output = model(features, points)
    scale = output.std(0)

    def change(angle, shift):
        g = planar_rotation(torch.tensor(angle, dtype=torch.float64))
        moved = points @ g.mT + torch.tensor(shift).double()
        return ((model(features, moved) - output) / scale).abs().max().item()

    for k in range(4):
        assert change(k * math.pi / 2, [0.0, 0.0]) < ROUNDING
        assert change(k * math.pi / 2, [3.0, -5.0]) < ROUNDING
    for angle in (0.1, math.pi / 4, 1.0):
        assert change(angle, [0.0, 0.0]) > 1e-4


@pytest.mark.parametrize("lift", [FullOrbit(CyclicGroup(4)), Grid(3)], ids=["orbit", "grid"])
def test_a_network_on_several_lifts_is_compiled_once_for_all_sizes(lift):
    """The number of lifts is a constant, and that of the points is not."""
    model = network(SE2().default_space(), lift, layers=1)
    torch.compiler.reset()
    counters.clear()
    compiled = torch.compile(model, dynamic=True, fullgraph=True, backend="eager")
    for points in (4, 5, 7):
        cloud = normal(2, points, 3), normal(2, points, 2)
        torch.testing.assert_close(compiled(*cloud), model(*cloud))
    assert counters["stats"]["unique_graphs"] == 1
