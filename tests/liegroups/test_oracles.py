"""Agreement with scipy and e3nn, which share no code with us."""

from math import pi

import numpy as np
import pytest
import torch

from liegroups import SE2, SE3, SO2, SO3, T2, T3, ConcentricSpheres, Translation, Trivial
from liegroups.testing.draws import ANGLES, element, tangent

GROUPS = [T2(), T3(), Translation(5), SO2(), SO3(), SE2(), SE3(), Trivial(3)]


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_exp_against_scipy(group):
    linalg = pytest.importorskip("scipy.linalg")
    for angle in ANGLES:
        a = tangent(group, 99, angle, (20,))
        expected = np.stack([linalg.expm(x) for x in group.hat(a).numpy()])
        size = max(1, np.abs(expected).max(), a.abs().amax().item() if group.dim else 0)
        np.testing.assert_allclose(group.exp(a).numpy(), expected, rtol=0, atol=4e-15 * size)


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_log_against_scipy(group):
    linalg = pytest.importorskip("scipy.linalg")
    for angle in (0, 1e-3, 1, 2, 3):
        g = element(group, 99, angle, (10,))
        expected = np.stack([linalg.logm(x).real for x in g.numpy()])
        found = group.hat(group.log(g)).numpy()
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


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
