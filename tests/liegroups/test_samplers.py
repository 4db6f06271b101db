"""What each sampler promises: measured on the lifts, set against what it declares."""

import math

import pytest
import torch

from liegroups import (
    SE2,
    SE3,
    SO2,
    SO3,
    T3,
    ConcentricSpheres,
    Equivariance,
    EuclideanSpace,
    Frames,
    FullOrbit,
    GivenElements,
    Grid,
    GroupItself,
    Haar,
    PositionOrientation,
    Proposal,
    Sphere,
    lift,
)
from liegroups.finite import finite_subgroup
from liegroups.finite_rotations import CyclicGroup
from liegroups.general_linear import Aff2
from liegroups.orthogonal import E, O
from liegroups.scaling import Sim
from liegroups.so2 import planar_rotation
from liegroups.special_euclidean import SE
from liegroups.testing.inputs import cloud
from liegroups.testing.probes import probe_spaces

PLANE, SPACE = EuclideanSpace(SE2()), EuclideanSpace(SE3())
SPACES = [
    PLANE,
    SPACE,
    ConcentricSpheres(SO2()),
    ConcentricSpheres(SO3()),
    Sphere(SO3()),
    PositionOrientation(SE2()),
    PositionOrientation(SE3()),
    EuclideanSpace(E(2)),
    EuclideanSpace(E(3)),
    EuclideanSpace(SE(4)),
    ConcentricSpheres(O(2)),
    ConcentricSpheres(O(3)),
    Sphere(O(3)),
    PositionOrientation(E(3)),
    EuclideanSpace(Sim(2)),
    EuclideanSpace(Sim(3)),
]
ON_SPACES = [
    (space, sampler)
    for space in SPACES
    for sampler in (Frames(), Frames(radius=1.0), Haar(2), Proposal(count=2))
    if space.is_isometric or sampler in (Frames(), Proposal(count=2))
]
FRAMES = [pair for pair in ON_SPACES if isinstance(pair[1], Frames)]


HALF_TURNS = finite_subgroup(torch.diag_embed(torch.tensor([[-1.0, -1, 1], [1, -1, -1]])))


def exactness(space, sampler, g, x):
    """Largest distance from an element of lift(gx) to the nearest in g lift(x), over each point."""
    before = g @ lift(space, x, sampler, fixed=True).element
    after = lift(space, space.act(g, x), sampler, fixed=True).element
    gaps = (after[..., :, None, :, :] - before[..., None, :, :, :]).abs().amax((-1, -2))
    return max(gaps.amin(-1).max().item(), gaps.amin(-2).max().item())


def moves(space, angle):
    """An element that moves by a rotation of the plane of the first axes, and a translation."""
    n = space.linear.matrix_size
    a = torch.eye(n, dtype=torch.float64)
    a[:2, :2] = planar_rotation(torch.tensor(angle, dtype=torch.float64))
    g = space.embed_linear(a)
    if g.shape[-1] > n:
        g[:n, n] = torch.tensor([3.0, -4.0, 5.0])[:n]
    return g


# ---- grids -----------------------------------------------------------------------------------


def test_a_grid_of_angles_is_exact_for_its_own_rotations_and_translations():
    x = cloud(PLANE, 1, "generic", 6)
    assert PLANE.equivariance(Grid(6)) is Equivariance.EXACT_FOR_SUBGROUP
    for k in range(6):
        assert exactness(PLANE, Grid(6), moves(PLANE, k * math.pi / 3), x) < 1e-14
    assert exactness(PLANE, Grid(6), moves(PLANE, 0.1), x) > 0.05


def test_a_grid_of_rotations_is_exact_for_translations_alone():
    x = cloud(SPACE, 1, "generic", 6)
    assert SPACE.equivariance(Grid(16)) is Equivariance.EXACT_FOR_SUBGROUP
    assert exactness(SPACE, Grid(16), moves(SPACE, 0.0), x) < 1e-14
    assert exactness(SPACE, Grid(16), moves(SPACE, math.pi / 2), x) > 0.05


@pytest.mark.parametrize("space", [ConcentricSpheres(SO3()), Sphere(SO3())], ids=str)
def test_a_grid_on_spheres_promises_nothing_and_holds_nothing(space):
    x = cloud(space, 1, "generic", 6)
    g = SO3().sample(generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert space.equivariance(Grid(4)) is Equivariance.NONE
    assert exactness(space, Grid(4), g, x) > 0.05


def test_rotations_of_a_grid_are_spread_evenly():
    """Means of matrix elements of the first two degrees, zero under Haar measure, fall off."""
    h = lift(SPACE, torch.zeros(1, 3).double(), Grid(500)).element[0, :, :3, :3]
    assert SO3().contains(h).all()
    assert h.mean(0).abs().max() < 0.01
    second = torch.einsum("kab,kcd->abcd", h, h) / 500
    eye = torch.eye(3).double()
    torch.testing.assert_close(second, torch.einsum("ac,bd->abcd", eye, eye) / 3, rtol=0, atol=0.02)


def test_one_element_where_the_stabilizer_is_trivial():
    x = cloud(EuclideanSpace(T3()), 1, "generic", 6)
    for sampler in (Grid(4), Haar(4), Proposal(count=4), Frames()):
        for space in (EuclideanSpace(T3()), GroupItself(SE2())):
            assert space.equivariance(sampler) is Equivariance.EXACT
            assert sampler.count_on(space) == 1
        torch.testing.assert_close(
            lift(EuclideanSpace(T3()), x, sampler).element, lift(EuclideanSpace(T3()), x).element
        )


def test_grids_are_of_known_stabilizers():
    with pytest.raises(ValueError, match=r"SO\(2\) and SO\(3\); got _Dilations"):
        lift(probe_spaces()[-1], torch.zeros(1, 2), Grid(4))
    with pytest.raises(ValueError, match=r"Grid\.count: 0; accepted: 1 to 65,536"):
        Grid(0)


def test_given_elements():
    elements = planar_rotation(torch.tensor([0.0, 0.3]).double())
    sampler = GivenElements(elements)
    assert hash(sampler) == hash(GivenElements(elements.tolist()))
    x = cloud(PLANE, 1, "generic", 6)
    lifted = lift(PLANE, x, sampler).element
    torch.testing.assert_close(lifted[:, :, :2, :2], elements.expand(6, 2, 2, 2), rtol=0, atol=0)
    assert exactness(PLANE, sampler, moves(PLANE, 0.0), x) < 1e-14
    with pytest.raises(ValueError, match="which is not in SO2"):
        lift(PLANE, x, GivenElements([[[2, 0], [0, 1]]]))
    with pytest.raises(ValueError, match="at least one element"):
        GivenElements([])


# ---- finite subgroups ------------------------------------------------------------------------


@pytest.mark.parametrize("space", [s for s in SPACES if s.linear.matrix_size < 4], ids=str)
def test_full_orbits_are_exact_for_their_group(space):
    group = CyclicGroup(4) if space.linear.matrix_size == 2 else HALF_TURNS
    sampler, x = FullOrbit(group), cloud(space, 1, "generic", 6)
    element = space.embed_linear(group.elements()[1])
    assert exactness(space, sampler, element, x) < 1e-13
    if isinstance(space, EuclideanSpace):
        assert exactness(space, sampler, element @ moves(space, 0.0), x) < 1e-13
    trivial = space == PositionOrientation(SE2())
    expected = Equivariance.EXACT if trivial else Equivariance.EXACT_FOR_SUBGROUP
    assert space.equivariance(sampler) is expected
    assert sampler.count_on(space) == (1 if trivial else 4)
    # On the circles of the plane every lift is exact but that of the origin.
    x[0] = 0 if isinstance(space, ConcentricSpheres) else x[0]
    assert (exactness(space, sampler, moves(space, 0.1), x) > 0.05) is not trivial


def test_full_orbits_of_a_group_that_is_not_there():
    with pytest.raises(ValueError, match=r"turns by SO3\(\), which does not contain CyclicGroup"):
        lift(SPACE, torch.zeros(1, 3), FullOrbit(CyclicGroup(4)))
    with pytest.raises(ValueError, match=r"turns by _Dilations\(\), which does not contain"):
        lift(probe_spaces()[-1], torch.zeros(1, 2), FullOrbit(CyclicGroup(4)))


# ---- random samplers -------------------------------------------------------------------------


def test_seeds_of_the_fixed_table_share_no_rows():
    x = torch.zeros(200, 3)
    rows = [lift(SPACE, x, Haar(1, seed=s), fixed=True).element.flatten(1) for s in range(3)]
    assert len(torch.unique(torch.cat(rows), dim=0)) == 600


def test_proposals_serve_where_haar_refuses():
    space = probe_spaces()[-1]
    with pytest.raises(ValueError, match=r"Name a probability .* liegroups\.Proposal"):
        lift(space, torch.zeros(1, 2), Haar())
    assert space.equivariance(Haar()) is Equivariance.NONE
    sampler = Proposal(scale=0.5, count=3)
    assert space.equivariance(sampler) is Equivariance.NONE
    x = torch.zeros(5000, 2, dtype=torch.float64)
    lifted = lift(space, x, sampler, generator=torch.Generator().manual_seed(0)).element
    assert lifted.shape == (5000, 3, 3, 3)
    scale = lifted[..., 0, 0].log()
    assert abs(scale.mean()) < 0.02 and abs(scale.std() - 0.5) < 0.02
    first, again = (lift(space, x, sampler, fixed=True).element for _ in range(2))
    assert torch.equal(first, again)


@pytest.mark.parametrize("scale", [0.0, -1.0, math.inf, math.nan])
def test_scale_of_a_proposal(scale):
    with pytest.raises(ValueError, match=r"Proposal\.scale: "):
        Proposal(scale=scale)
    with pytest.raises(ValueError, match=r"Proposal\.count: 0"):
        Proposal(count=0)


# ---- masks -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("space", "sampler"), ON_SPACES, ids=str)
def test_points_that_do_not_exist_have_no_influence(space, sampler):
    x = cloud(space, 2, "generic", 7)
    mask = torch.arange(7) < 5
    whole = lift(space, torch.stack((x, -x)), sampler, mask=torch.stack((mask, mask)), fixed=True)
    alone = lift(space, x[:5], sampler, fixed=True)
    torch.testing.assert_close(whole.element[0, :5], alone.element, rtol=0, atol=1e-12)
    nothing = lift(space, x, sampler, mask=mask & False, fixed=True).element
    assert space.group.contains(nothing).all()


@pytest.mark.parametrize("mask", [torch.ones(4, dtype=torch.bool), torch.ones(5)])
def test_masks_of_the_wrong_shape_or_type(mask):
    with pytest.raises(ValueError, match=r"mask of booleans of shape \(5,\); got"):
        lift(SPACE, torch.zeros(5, 3), mask=mask)


# ---- frames ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("space", "sampler"), FRAMES, ids=str)
def test_frames_of_generic_clouds(space, sampler):
    x = cloud(space, 3, "generic", 8, (4,))
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        g = space.group.sample(generator=generator, dtype=torch.float64)
        assert exactness(space, sampler, g, x) < 1e-10
        order = torch.randperm(8, generator=generator)
        shuffled = lift(space, x[:, order], sampler).element
        expected = lift(space, x, sampler).element[:, order]
        torch.testing.assert_close(shuffled, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize(("space", "sampler"), FRAMES, ids=str)
def test_derivatives_of_frames(space, sampler):
    x = cloud(space, 4, "generic", 4).requires_grad_()

    def element(x):
        return lift(space, x, sampler).element

    assert torch.autograd.gradcheck(element, x, fast_mode=True)
    assert torch.autograd.gradgradcheck(element, x, atol=1e-4, fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1e-20, 1.0, 1e20])
def test_frames_of_clouds_of_any_size(dtype, size):
    x = cloud(SPACE, 3, "generic", 8).to(dtype)
    expected = lift(SPACE, x, Frames()).element[..., :3, :3]
    got = lift(SPACE, x * size, Frames()).element[..., :3, :3]
    assert got.dtype == dtype
    torch.testing.assert_close(got, expected, rtol=0, atol=20 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("off", [1e-3, 1e-6, 1e-7, 1e-9, 1e-12])
@pytest.mark.parametrize("sampler", [Frames(), Frames(1.0)], ids=str)
def test_frames_of_clouds_near_a_line_are_orthogonal_and_as_exact_as_documented(off, sampler):
    x = cloud(SPACE, 6, "collinear", 6) + off * cloud(SPACE, 7, "generic", 6)
    element = lift(SPACE, x, sampler).element
    rotation = element[:, 0, :3, :3]
    eye = torch.eye(3).double().expand(6, 3, 3)
    torch.testing.assert_close(rotation.mT @ rotation, eye, rtol=0, atol=1e-14)
    g = SE3().sample(generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    moved = lift(SPACE, SPACE.act(g, x), sampler).element
    poses = [SE3().relative(e[:1], e) for e in (element, moved)]
    torch.testing.assert_close(poses[1], poses[0], rtol=0, atol=5e-7)


def test_a_local_frame_does_not_see_what_is_far():
    x = cloud(SPACE, 5, "generic", 8)
    y = x.clone()
    x[4:], y[4:] = x[4:] + 100, 2 * y[4:] + 100
    near, far = (lift(SPACE, z, Frames(radius=1.0)).element[:4] for z in (x, y))
    torch.testing.assert_close(near, far, rtol=0, atol=1e-12)
    near, far = (lift(SPACE, z, Frames()).element[:4] for z in (x, y))
    assert (near - far).abs().max() > 0.01


def test_frames_compile():
    x = cloud(SPACE, 3, "generic", 8, (2,)).requires_grad_()
    mask = torch.arange(8).expand(2, 8) < torch.tensor([[8], [5]])
    torch.compiler.reset()

    def element(x):
        return lift(SPACE, x, Frames(1.0), mask=mask).element

    compiled = torch.compile(element, fullgraph=True, backend="aot_eager")(x)
    torch.testing.assert_close(compiled, element(x))
    compiled.sum().backward()


def test_frames_are_of_rotations():
    with pytest.raises(ValueError, match=r"weights by distance, which is not an invariant of"):
        lift(EuclideanSpace(Sim(2)), torch.zeros(1, 2), Frames(1.0))
    with pytest.raises(ValueError, match=r"turns by GeneralLinear"):
        EuclideanSpace(Aff2()).equivariance(Frames())
    with pytest.raises(ValueError, match=r"turns by _Dilations\(\). Use liegroups.Haar"):
        lift(probe_spaces()[-1], torch.zeros(1, 2), Frames())
    for radius in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match=r"Frames\.radius: "):
            Frames(radius)
