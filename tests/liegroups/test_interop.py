"""Elements and groups in the conventions of scipy, e3nn and geomstats."""

import importlib
import logging
import subprocess
import sys
from math import pi

import numpy as np
import pytest
import torch

from liegroups import SE2, SE3, SO2, SO3, T3
from liegroups.general_linear import GeneralLinear
from liegroups.interop import e3nn, scipy
from liegroups.interop import geomstats as ours
from liegroups.special_euclidean import SE
from liegroups.special_orthogonal import SO
from liegroups.testing import check_group
from liegroups.testing.inputs import ANGLES, element

F64 = {"rtol": 0, "atol": 1e-14}


def draw(group, batch=(50,), seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return group.sample(batch, generator=generator, dtype=torch.float64).to(dtype)


def special_rotations():
    """Rotations at every angle that has broken a formula, about the axes and about any axis."""
    seeds = (0, 1, 2, 99)
    return torch.cat([element(SO3(), seed, angle, (3,)) for seed in seeds for angle in ANGLES])


# ---- scipy -----------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [(), (4,), (2, 3)])
def test_scipy_rotations_there_and_back(batch):
    g, h = draw(SO3(), batch), draw(SO3(), batch, seed=1)
    first, second = scipy.to_rotation(g), scipy.to_rotation(h)
    torch.testing.assert_close(scipy.from_rotation(first), g, **F64)
    torch.testing.assert_close(scipy.from_rotation(first * second), g @ h, **F64)
    np.testing.assert_allclose(first.as_rotvec(), SO3().log(g).numpy(), **F64)
    assert scipy.from_rotation(first, dtype=torch.float32).dtype == torch.float32


@pytest.mark.parametrize("batch", [(), (4,), (2, 3)])
def test_scipy_rigid_transforms_there_and_back(batch):
    g, h = draw(SE3(), batch), draw(SE3(), batch, seed=1)
    first, second = scipy.to_rigid_transform(g), scipy.to_rigid_transform(h)
    torch.testing.assert_close(scipy.from_rigid_transform(first), g, **F64)
    torch.testing.assert_close(scipy.from_rigid_transform(first * second), g @ h, **F64)
    expected = SE3().log(g).unflatten(-1, (2, 3)).flip(-2).flatten(-2)  # Theirs: rotation first.
    np.testing.assert_allclose(first.as_exp_coords(), expected.numpy(), rtol=0, atol=1e-13)


def test_scipy_detaches_and_refuses_wrong_shapes():
    scipy.to_rotation(draw(SO3()).requires_grad_())
    with pytest.raises(ValueError, match="SO3"):
        scipy.to_rotation(torch.eye(4))
    with pytest.raises(ValueError, match="SE3"):
        scipy.to_rigid_transform(torch.eye(3))


def test_quaternions_have_the_real_part_first_here_and_last_in_scipy():
    g = special_rotations()
    theirs = scipy.to_rotation(g).as_quat(canonical=True)
    q = e3nn.to_quaternion(g).numpy()
    same = np.minimum(abs(q - theirs[:, [3, 0, 1, 2]]), abs(q + theirs[:, [3, 0, 1, 2]]))
    assert same.max() < 1e-14


# ---- e3nn ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_e3nn_angles_there_and_back(dtype):
    g = torch.cat((special_rotations(), draw(SO3(), (200,)))).to(dtype)
    angles = e3nn.to_angles(g)
    assert all(x.dtype == dtype for x in angles)
    back = e3nn.from_angles(*angles)
    torch.testing.assert_close(back, g, rtol=0, atol=16 * torch.finfo(dtype).eps)
    alpha, beta, gamma = angles
    assert (alpha.abs() <= pi + 1e-6).all() and (gamma.abs() <= pi + 1e-6).all()
    assert ((beta >= 0) & (beta <= pi + 1e-6)).all()


@pytest.mark.parametrize("beta", [0.0, 1e-12, 1e-7, 1e-3, 1.0, pi - 1e-3, pi - 1e-7, pi])
def test_e3nn_angles_keep_their_digits_where_two_axes_meet(beta):
    g = e3nn.from_angles(*torch.tensor([0.3, beta, 0.5], dtype=torch.float64))
    alpha, found, gamma = e3nn.to_angles(g)
    assert found.item() == pytest.approx(beta, abs=1e-15)
    torch.testing.assert_close(e3nn.from_angles(alpha, found, gamma), g, rtol=0, atol=1e-15)


def test_e3nn_angles_and_quaternions_are_those_of_e3nn():
    o3 = pytest.importorskip("e3nn.o3")
    g = draw(SO3(), (200,))
    for found, expected in zip(e3nn.to_angles(g), o3.matrix_to_angles(g), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    angles = 2 * pi * torch.rand(3, 200, dtype=torch.float64)
    torch.testing.assert_close(e3nn.from_angles(*angles), o3.angles_to_matrix(*angles), **F64)
    q = e3nn.to_quaternion(g)
    torch.testing.assert_close(o3.quaternion_to_matrix(q), g, rtol=0, atol=1e-12)
    torch.testing.assert_close(e3nn.from_quaternion(q), g, **F64)
    torch.testing.assert_close(e3nn.from_quaternion(-3 * q), g, **F64)


def test_quaternions_have_derivatives_at_every_rotation():
    g = torch.cat((special_rotations(), draw(SO3()))).requires_grad_()
    e3nn.to_quaternion(g).square().cumsum(-1).sum().backward()
    assert g.grad.isfinite().all()


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match=r"\(\*batch, 4\)"):
        e3nn.from_quaternion(torch.ones(3))
    for function in (e3nn.to_angles, e3nn.to_quaternion, lambda g: e3nn.wigner_matrix("1o", g)):
        with pytest.raises(ValueError, match="SO3"):
            function(torch.eye(4))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_wigner_matrices_have_the_precision_of_the_rotations(dtype):
    o3 = pytest.importorskip("e3nn.o3")
    irreps = o3.Irreps("2x0e + 1o + 1e + 2x2e + 3o + 6e + 11o")
    g, h = draw(SO3(), dtype=dtype), draw(SO3(), seed=1, dtype=dtype)
    before = torch.get_default_dtype()
    d, product = e3nn.wigner_matrix(irreps, g), e3nn.wigner_matrix(irreps, g @ h)
    assert d.dtype == dtype and torch.get_default_dtype() == before
    # Harmonics of degree l are polynomials of degree l: l roundings of the rotation, and more.
    tight = {"rtol": 0, "atol": 500 * torch.finfo(dtype).eps}
    torch.testing.assert_close(d @ d.mT, torch.eye(irreps.dim, dtype=dtype).expand_as(d), **tight)
    torch.testing.assert_close(d @ e3nn.wigner_matrix(irreps, h), product, **tight)
    expected = irreps.D_from_matrix(g).to(dtype)  # In the default dtype, float32.
    torch.testing.assert_close(d, expected, rtol=0, atol=1e-4)
    torch.testing.assert_close(d[..., 2:5, 2:5], g, **tight)


def test_wigner_matrices_have_derivatives_at_every_rotation():
    pytest.importorskip("e3nn.o3")
    g = special_rotations().requires_grad_()
    e3nn.wigner_matrix("1o + 2e", g).square().cumsum(-1).sum().backward()
    assert g.grad.isfinite().all()


# ---- geomstats -------------------------------------------------------------------------------


def geomstats(module):
    """A module of geomstats.geometry; skips where geomstats cannot be imported."""
    try:
        ours._library()
    except ImportError as error:
        pytest.skip(str(error))
    return importlib.import_module(f"geomstats.geometry.{module}")


def usable():
    try:
        ours._library()
    except ImportError:
        return False
    return True


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_geomstats_rotations_and_motions_both_ways(n):
    rotations = geomstats("special_orthogonal").SpecialOrthogonal(n, point_type="matrix")
    motions = geomstats("special_euclidean").SpecialEuclidean(n, point_type="matrix")
    assert ours.from_geomstats(rotations) == SO(n)
    assert ours.from_geomstats(motions) == SE(n)
    for group, theirs in ((SO(n), rotations), (SE(n), motions)):
        back = ours.to_geomstats(group)
        assert type(back) is type(theirs) and back.n == n
        assert ours.from_geomstats(back) == group


@pytest.mark.parametrize("group", [SO2(), SO3(), SO(4), SE2(), SE3(), SE(4)], ids=str)
def test_geomstats_agrees_on_rotations_and_motions(group):
    """exp, log, composition and membership, away from the angles where theirs loses digits."""
    geomstats("lie_group")
    theirs = ours.to_geomstats(group)
    for angle in (0.0, 1e-3, 1.0, 2.0, 3.0):
        g, h = (element(group, seed, angle, (20,)) for seed in (98, 99))
        x, y = ours.elements_to_numpy(g), ours.elements_to_numpy(h)
        assert theirs.belongs(x, atol=1e-12).all()
        np.testing.assert_allclose(theirs.compose(x, y), group.compose(g, h).numpy(), **F64)
        np.testing.assert_allclose(theirs.inverse(x), group.inverse(g).numpy(), rtol=0, atol=1e-13)
        tangent = group.hat(group.log(g)).numpy()
        np.testing.assert_allclose(theirs.exp(tangent), x, rtol=0, atol=1e-13)
        np.testing.assert_allclose(theirs.log(x), tangent, rtol=0, atol=1e-9)


def test_geomstats_points_are_our_elements():
    theirs = geomstats("special_euclidean").SpecialEuclidean(3, point_type="matrix", equip=False)
    points = theirs.random_point(20)
    g = ours.elements_from_numpy(points)
    assert g.dtype == torch.float64 and SE3().contains(g, 1e-12).all()
    np.testing.assert_array_equal(ours.elements_to_numpy(g), points)
    g[0] = 0
    assert points[0, 3, 3] == 1
    assert ours.elements_from_numpy(points, dtype=torch.float32).dtype == torch.float32


def test_geomstats_general_linear_and_triangular_groups():
    general = geomstats("general_linear").GeneralLinear
    assert ours.from_geomstats(general(3, positive_det=True, equip=False)) == GeneralLinear(3)
    with pytest.raises(ValueError, match="two pieces"):
        ours.from_geomstats(general(3, equip=False))
    with pytest.raises(TypeError, match="MatrixLieGroup"):
        ours.from_geomstats(
            geomstats("special_orthogonal").SpecialOrthogonal(3, point_type="vector", equip=False)
        )
    with pytest.raises(TypeError, match="MatrixLieGroup"):
        ours.from_geomstats(SO3())


def lower_triangular():
    module = geomstats("positive_lower_triangular_matrices")
    return module.PositiveLowerTriangularMatrices(2, equip=False)


@pytest.mark.parametrize("group", [T3(), GeneralLinear(2)], ids=str)
def test_geomstats_takes_any_group_of_ours(group):
    lie_group = geomstats("lie_group")
    theirs = ours.to_geomstats(group)
    assert isinstance(theirs, lie_group.MatrixLieGroup)
    assert ours.from_geomstats(theirs) == group
    x, y = theirs.random_point(8), theirs.random_point(8)
    assert theirs.belongs(x).all() and theirs.random_point().shape == x.shape[1:]
    product = theirs.compose(x, theirs.inverse(y))
    assert theirs.belongs(product).all()
    tangent = theirs.to_tangent(np.random.default_rng(0).normal(size=x.shape) / 4, base_point=x)
    assert theirs.is_tangent(tangent, base_point=x, atol=1e-9).all()
    moved = theirs.exp(tangent, base_point=x)
    plain = lie_group.MatrixLieGroup.exp.__func__(lie_group.MatrixLieGroup, tangent, x)
    np.testing.assert_allclose(moved, plain, rtol=0, atol=1e-12)
    np.testing.assert_allclose(theirs.log(moved, base_point=x), tangent, rtol=0, atol=1e-9)
    coordinates = theirs.lie_algebra.basis_representation(theirs.lie_algebra.basis)
    np.testing.assert_allclose(coordinates, np.eye(group.dim), **F64)


def test_geomstats_changes_no_global_state():
    if not usable():
        pytest.skip("geomstats cannot be imported here")
    code = (
        "import logging, numpy, torch; from liegroups import T3; "
        "from liegroups.interop.geomstats import to_geomstats; "
        "state = lambda: (torch.get_default_dtype(), numpy.geterr(), logging.getLogger().level, "
        "logging.getLogger().handlers[:], numpy.random.get_state()[1].sum(), "
        "torch.get_rng_state().sum().item()); "
        "before = state(); to_geomstats(T3()); assert state() == before"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_another_backend_is_refused_before_it_is_loaded(monkeypatch):
    code = (
        "import torch; from liegroups import T3; "
        "from liegroups.interop.geomstats import to_geomstats\n"
        "try: to_geomstats(T3())\n"
        "except ImportError as error: print(error)\n"
        "assert torch.get_default_dtype() == torch.float32"
    )
    monkeypatch.setenv("GEOMSTATS_BACKEND", "pytorch")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "numpy backend" in done.stdout and "GEOMSTATS_BACKEND" in done.stdout


def test_a_missing_geomstats_names_the_extra():
    if usable():
        pytest.skip("geomstats is installed here")
    level = logging.getLogger().level
    with pytest.raises(ImportError, match=r"numpy below 2.4.*lie-attention\[geomstats\]"):
        ours.to_geomstats(SO3())
    assert logging.getLogger().level == level


@pytest.mark.parametrize(
    ("basis", "message"),
    [
        ((((0.0, 1.0), (0.0, 0.0)), ((0.0, 2.0), (0.0, 0.0))), "not one of square matrices"),
        ((((0.0, 1.0), (0.0, 0.0)), ((0.0, 0.0), (1.0, 0.0))), "not closed under brackets"),
        ((((0.0, -1.0), (1.0, 0.0)),), "Haar measure"),
    ],
)
def test_what_generates_no_group_is_refused(basis, message):
    with pytest.raises(ValueError, match=message):
        ours.GeneratedGroup("Mine", basis)


# The lower triangular 2 × 2 matrices with a positive diagonal, as geomstats would give them.
TRIANGULAR = ours.GeneratedGroup(
    "PositiveLowerTriangularMatrices",
    (((1.0, 0.0), (0.0, 0.0)), ((0.0, 0.0), (1.0, 0.0)), ((0.0, 0.0), (0.0, 1.0))),
)


def test_a_generated_group_is_a_group():
    # Few examples: the default logarithm, which has a suite of its own, takes its time.
    results = check_group(TRIANGULAR, examples=5)
    assert [result for result in results if not result.passed] == []


def test_a_generated_group_is_that_of_geomstats():
    theirs = lower_triangular()
    group = ours.from_geomstats(theirs)
    assert group == TRIANGULAR and str(group) == (
        "GeneratedGroup('PositiveLowerTriangularMatrices', dim=3)"
    )
    assert not group.is_abelian
    assert theirs.belongs(ours.elements_to_numpy(group.sample((20,), dtype=torch.float64))).all()
