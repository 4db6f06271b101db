"""Round trips at the special angles, to a few roundings, in both precisions."""

from math import pi

import pytest
import torch

from liegroups import SE2, SE3, SO2, SO3, Affine, Sim
from liegroups.numerics import half_cotangent_deficit, matrix_exp, safe_norm, stumpff
from liegroups.testing.inputs import spectral_angle, tangent

ANGLES = [0, 1e-12, 1e-7, 1e-3, 1, pi - 1e-3, pi - 1e-6]
GROUPS = [SO2(), SO3(), SE2(), SE3()]
DTYPES = [torch.float32, torch.float64]


def tangents(group, angle, dtype):
    return tangent(group, 1234, angle, (200,), dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("angle", ANGLES)
@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_log_of_exp(group, angle, dtype):
    a = tangents(group, angle, dtype)
    error = (group.log(group.exp(a)) - a).abs().amax(-1)
    size = a.abs().amax(-1).clamp(min=1)
    assert (error <= 8 * torch.finfo(dtype).eps * size).all()


@pytest.mark.parametrize("group", [SO3(), SE3()], ids=str)
def test_large_batches_pass_in_slices_with_the_same_results(group):
    a = tangent(group, 1, 2.0, (3, 60_000), torch.float32)
    g = group.exp(a)
    recorded = a.clone().requires_grad_()  # In one piece, for the derivatives.
    assert torch.equal(g, group.exp(recorded))
    torch.testing.assert_close(group.log(g), group.log(g.clone().requires_grad_()).detach())
    assert torch.equal(torch.func.vmap(group.exp)(a), g)
    _, moved = torch.func.jvp(group.exp, (a,), (a,))
    _, in_parts = torch.func.jvp(group.exp, (a[1],), (a[1],))
    torch.testing.assert_close(moved[1], in_parts)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("angle", [*ANGLES, pi])
@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_exp_of_log(group, angle, dtype):
    g = group.exp(tangents(group, angle, dtype))
    error = (group.exp(group.log(g)) - g).abs().amax((-1, -2))
    size = g.abs().amax((-1, -2)).clamp(min=1)
    assert (error <= 8 * torch.finfo(dtype).eps * size).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("group", [SO2(), SO3()], ids=str)
def test_small_angles_keep_their_digits(group, dtype):
    for angle in (1e-12, 1e-9, 1e-6, 1e-3):
        a = tangents(group, angle, dtype)
        error = (group.log(group.exp(a)) - a).abs().amax()
        assert error <= 4 * torch.finfo(dtype).eps * angle


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_half_turns_are_finite(group, dtype):
    """Exactly half a turn: matrices of exact entries, and the nearest float to π."""
    n = 2 if group in (SO2(), SE2()) else 3
    turns = [torch.diag(torch.tensor(d)) for d in ([-1.0, -1, 1], [1.0, -1, -1], [-1.0, 1, -1])]
    exact = torch.stack(turns if n == 3 else [-torch.eye(2)]).to(dtype)
    if group.matrix_size > n:
        exact = group.join(exact, torch.randn(len(exact), n, dtype=dtype))
    a = tangents(group, pi, dtype)
    a = a[(spectral_angle(group, a) - pi).abs() < 1e-6]  # The others turn slowly, and move far.
    assert len(a) > 100
    g = torch.cat((exact, group.exp(a))).requires_grad_()
    a = group.log(g)
    a.sum().backward()
    assert a.isfinite().all() and g.grad.isfinite().all()
    turn = a[:, -1].abs() if n == 2 else a[:, -3:].norm(dim=-1)
    assert (turn - pi).abs().amax() < 8 * torch.finfo(dtype).eps * pi


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_precision_is_kept_along_a_sweep_of_angles(group):
    """Closed forms hand over to series somewhere: no angle on the way is off."""
    angles = torch.cat((torch.logspace(-9, 0.49, 4000), torch.linspace(0.9, 1.1, 2000))).double()
    a = tangents(group, 1.0, torch.float64)[0] * angles[:, None]
    error = (group.exp(a) - torch.linalg.matrix_exp(group.hat(a))).abs().amax()
    assert error < 32 * torch.finfo(torch.float64).eps * a.abs().amax()
    assert (group.log(group.exp(a)) - a).abs().amax() < 16e-16 * a.abs().amax()


@pytest.mark.parametrize("group", [Sim(2), Affine(SO2())], ids=str)
def test_single_precision_stays_on_its_side_of_the_cut(group):
    a = torch.linspace(-1, 1, 200)[:, None].repeat(1, group.dim)
    for angle in (pi - 1e-6, 1e-6 - pi):
        a[:, 2] = angle
        assert (group.log(group.exp(a)) - a).abs().amax() < 1e-4


def test_series_coefficients_against_mpmath():
    mpmath = pytest.importorskip("mpmath")
    mpmath.mp.dps = 60
    for x in (0.0, 1e-9, 1e-3, 0.5, 0.999999, 1.0, 1.000001, 2.0, 9.0, 9.869):
        t = mpmath.mpf(x)
        root = mpmath.sqrt(t)
        expected = [
            mpmath.cos(root),
            mpmath.sinc(root),
            (1 - mpmath.cos(root)) / t if x else mpmath.mpf(1) / 2,
            (root - mpmath.sin(root)) / root**3 if x else mpmath.mpf(1) / 6,
            (1 - root / 2 * mpmath.cot(root / 2)) / t if x else mpmath.mpf(1) / 12,
        ]
        for dtype, eps in ((torch.float64, 2.3e-16), (torch.float32, 1.2e-7)):
            value = torch.tensor(x, dtype=dtype)
            exact = value.item() == x
            found = (*stumpff(value), half_cotangent_deficit(value))
            for f, e in zip(found, expected, strict=True):
                allowed = 8 * eps if exact else 16 * eps
                assert abs(f.item() - e) <= allowed * max(abs(e), mpmath.mpf(1) / 16)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("batch", [(), (1,), (1, 1), (2,), (0,)])
def test_matrix_exp_of_few_matrices_against_scipy(batch, dtype):
    linalg = pytest.importorskip("scipy.linalg")
    for size in (1e-9, 1e-3, 0.01, 0.03, 0.1, 0.3, 1.0):
        x = torch.randn(*batch, 3, 3, generator=torch.Generator().manual_seed(0)).to(dtype) * size
        expected = torch.from_numpy(linalg.expm(x.double().numpy())).reshape(x.shape).to(dtype)
        # scipy's own error is up to 1e-13.
        atol = max(16 * torch.finfo(dtype).eps, 1e-13)
        torch.testing.assert_close(matrix_exp(x), expected, rtol=0, atol=atol)


def test_matrix_exp_of_one_matrix_is_differentiated_and_transformed():
    x = 0.02 * torch.randn(3, 3, generator=torch.Generator().manual_seed(0)).double()
    pair = torch.stack((x, x))
    expected = torch.linalg.matrix_exp(pair)[0]
    slope = torch.autograd.functional.jacobian(torch.linalg.matrix_exp, pair)[0, :, :, 0]
    close = {"rtol": 0, "atol": 1e-15}
    torch.testing.assert_close(torch.func.vmap(matrix_exp)(pair)[0], expected, **close)
    torch.testing.assert_close(torch.func.jacrev(matrix_exp)(x), slope, **close)
    compiled = torch.compile(matrix_exp, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), expected, **close)
    assert torch.autograd.gradgradcheck(matrix_exp, (x.requires_grad_(),))


def test_safe_norm():
    x = torch.tensor([[3.0, 4.0], [0.0, 0.0]], requires_grad=True)
    safe_norm(x).sum().backward()
    assert safe_norm(x).tolist() == [5, 0]
    torch.testing.assert_close(x.grad, torch.tensor([[0.6, 0.8], [0.0, 0.0]]))
