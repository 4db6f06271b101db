"""Agreement with scipy and e3nn, which share no code with us."""

from math import pi

import numpy as np
import pytest
import torch

from liegroups import (
    SE,
    SE2,
    SE3,
    SL2,
    SO,
    SO2,
    SO3,
    T2,
    T3,
    Aff2,
    Aff3,
    Affine,
    ConcentricSpheres,
    CyclicGroup,
    DirectProduct,
    E,
    Heisenberg,
    IcosahedralGroup,
    LieGroup,
    O,
    OctahedralGroup,
    PositiveScaling,
    RotationScaling,
    SemidirectProduct,
    Sim,
    TetrahedralGroup,
    Translation,
    Trivial,
)
from liegroups.testing.inputs import ANGLES, element, tangent
from liegroups.testing.tolerances import Kind, allowance, size


def dilation(h):
    """The scalings (x, y, z) ↦ (λx, λy, λ²z) of the Heisenberg group, as a conjugation."""
    scale = h[..., 0]
    return torch.cat((scale**2, scale, torch.ones_like(scale)), -1).diag_embed()


GROUPS = [
    T2(),
    T3(),
    Translation(5),
    SO2(),
    SO3(),
    SO(4),
    SO(5),
    SE2(),
    SE3(),
    SE(4),
    Trivial(3),
    O(2),
    O(3),
    E(2),
    E(3),
    PositiveScaling(2),
    RotationScaling(),
    RotationScaling(4),
    Sim(2),
    Sim(3),
    SL2(),
    Heisenberg(),
    Aff2(),
    Aff3(),
    DirectProduct(SO3(), T2()),
    Affine(CyclicGroup(4)),
    SemidirectProduct(Heisenberg(), PositiveScaling(1), dilation),
]


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_exp_against_scipy(group):
    linalg = pytest.importorskip("scipy.linalg")
    for angle in ANGLES:
        a = tangent(group, 99, angle, (20,))
        expected = np.stack([linalg.expm(x) for x in group.hat(a).numpy()])
        expected = torch.from_numpy(expected)
        error = (group.exp(a) - expected).abs().amax((1, 2))
        # scipy's own error: the test below finds it off by up to 350 roundings, us by 4.
        few = 1 if group.is_orthogonal else 16
        allowed = allowance(Kind.TRANSCENDENTAL, a.dtype, few * size(a, 1) * size(expected, 2))
        assert (error <= allowed).all()


@pytest.mark.parametrize("group", [g for g in GROUPS if not g.is_orthogonal], ids=str)
def test_exp_against_mpmath(group):
    mpmath = pytest.importorskip("mpmath")
    for angle in (1e-3, 1, pi, 10):
        a = tangent(group, 99, angle, (3,))
        with mpmath.workdps(40):
            exact = [mpmath.expm(mpmath.matrix(x.tolist())).tolist() for x in group.hat(a)]
        expected = torch.tensor(
            [[[float(v) for v in row] for row in g] for g in exact], dtype=torch.float64
        )
        error = (group.exp(a) - expected).abs().amax((1, 2))
        allowed = allowance(Kind.ARITHMETIC, a.dtype, size(a, 1) * size(expected, 2) / 2)
        assert (error <= allowed).all()


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_log_against_scipy(group):
    linalg = pytest.importorskip("scipy.linalg")
    for angle in (0, 1e-3, 1, 2, 3):
        g = element(group, 99, angle, (10,))
        expected = np.stack([linalg.logm(x).real for x in g.numpy()])
        for log in (group.log, lambda g: LieGroup.log(group, g)):
            found = group.hat(log(g)).numpy()
            condition = (np.linalg.cond(g.numpy()).max()) if not group.is_orthogonal else 1
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * condition)


def test_rotations_against_scipy():
    Rotation = pytest.importorskip("scipy.spatial.transform").Rotation
    group = SO3()
    for angle in (0, 1e-12, 1e-7, 1e-3, 1, pi - 1e-3, pi - 1e-6):
        a = tangent(group, 99, angle, (200,))
        rotation = Rotation.from_rotvec(a.numpy())
        np.testing.assert_allclose(group.exp(a).numpy(), rotation.as_matrix(), rtol=0, atol=1e-15)
        g = torch.from_numpy(rotation.as_matrix())
        np.testing.assert_allclose(group.log(g).numpy(), rotation.as_rotvec(), rtol=0, atol=4e-15)
    g, h = group.sample((2, 200), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    first, second = Rotation.from_matrix(g.numpy()), Rotation.from_matrix(h.numpy())
    expected = (first.inv() * second).as_rotvec()
    np.testing.assert_allclose(group.relative_log(g, h).numpy(), expected, rtol=0, atol=1e-14)
    x = torch.randn(200, 3, dtype=torch.float64)
    moved = ConcentricSpheres(group).act(g, x).numpy()
    np.testing.assert_allclose(moved, first.apply(x.numpy()), rtol=0, atol=1e-14)


def test_haar_rotations_against_scipy():
    """The angle of a Haar rotation has density (1 - cos θ)/π on [0, π]."""
    stats = pytest.importorskip("scipy.stats")
    g = SO3().sample((100_000,), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    angle = SO3().log(g).norm(dim=-1).numpy()
    result = stats.kstest(angle, lambda t: (t - np.sin(t)) / pi)
    assert result.pvalue > 1e-4
    axis = (SO3().log(g) / SO3().log(g).norm(dim=-1, keepdim=True)).numpy()
    assert stats.kstest(axis[:, 2], lambda z: (z + 1) / 2).pvalue > 1e-4


def test_rotations_against_e3nn():
    o3 = pytest.importorskip("e3nn.o3")
    group = SO3()
    a = tangent(group, 99, 1.0, (100,))
    axis, angle = a / a.norm(dim=-1, keepdim=True), a.norm(dim=-1)
    expected = o3.axis_angle_to_matrix(axis, angle)
    torch.testing.assert_close(group.exp(a), expected, rtol=0, atol=1e-14)
    # Both order the axes x, y, z, and act from the left: D(gh) = D(g)D(h).
    g, h = group.sample((2, 10), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    irreps = o3.Irreps("1o")
    default = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)  # e3nn's Wigner matrices follow it.
        d = irreps.D_from_matrix(g)
        torch.testing.assert_close(
            irreps.D_from_matrix(group.compose(g, h)),
            d @ irreps.D_from_matrix(h),
            rtol=0,
            atol=1e-12,
        )
    finally:
        torch.set_default_dtype(default)
    torch.testing.assert_close(d, g, rtol=0, atol=1e-12)


def test_polyhedral_groups_against_scipy():
    Rotation = pytest.importorskip("scipy.spatial.transform").Rotation
    for name, group in (
        ("T", TetrahedralGroup()),
        ("O", OctahedralGroup()),
        ("I", IcosahedralGroup()),
    ):
        theirs = torch.from_numpy(Rotation.create_group(name).as_matrix())
        assert len(theirs) == group.order
        traces = [
            x.diagonal(dim1=1, dim2=2).sum(-1).sort().values for x in (theirs, group.elements())
        ]
        torch.testing.assert_close(*traces, rtol=0, atol=1e-14)
        if name != "I":  # Where the axes of an icosahedron lie is a convention.
            assert group.contains(theirs).all()


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_haar_samples_against_scipy(n):
    """The distribution of one entry and of the trace, of rotations and of orthogonal matrices."""
    stats = pytest.importorskip("scipy.stats")
    for group, law in ((SO(n), stats.special_ortho_group), (O(n), stats.ortho_group)):
        generator = torch.Generator().manual_seed(0)
        ours = group.sample((20_000,), generator=generator, dtype=torch.float64).numpy()
        theirs = law.rvs(n, size=20_000, random_state=0)
        for statistic in (lambda x: x[:, 0, -1], lambda x: np.trace(x, axis1=1, axis2=2)):
            # The trace of a reflection of the plane is zero, up to rounding.
            samples = (statistic(x).round(9) for x in (ours, theirs))
            assert stats.ks_2samp(*samples).pvalue > 1e-4


def test_complex_numbers_are_the_rotation_scalings_of_the_plane():
    group = RotationScaling()
    g = group.sample((100,), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    z = torch.complex(g[:, 0, 0], g[:, 1, 0])
    log = torch.complex(*group.log(g).flip(-1).unbind(-1))
    torch.testing.assert_close(log, z.log(), rtol=0, atol=1e-14)


@pytest.mark.parametrize("angle", [0, 1e-12, 1e-7, 1e-3, 1, pi - 1e-3, pi - 1e-6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("n", [4, 5, 6])
def test_rotations_round_trip_at_special_angles(n, dtype, angle):
    group = SO(n)
    generic = tangent(group, 1234, angle, (200,))
    # Planes that turn by the same angle: the matrices have repeated eigenvalues.
    frame = group.sample((200,), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    isoclinic = torch.zeros(n, n, dtype=torch.float64)
    isoclinic[1, 0], isoclinic[3, 2] = angle, min(angle, 3.0)
    isoclinic = group.vee(frame @ (isoclinic - isoclinic.mT) @ frame.mT)
    a = torch.cat((generic, isoclinic)).to(dtype)
    g = group.exp(a)
    eps = torch.finfo(dtype).eps
    assert (group.log(g) - a).abs().amax() <= 16 * eps * max(angle, 1e-300)
    assert (group.exp(group.log(g)) - g).abs().amax() <= 16 * eps
