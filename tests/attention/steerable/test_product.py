"""The fused product against e3nn's own, with the same weights."""

import pytest
import torch
from e3nn import o3
from torch.nn.functional import normalize

from attention.steerable import EquivariantLinear, EquivariantNorm, Gate, Harmonics, PairProduct
from attention.steerable.tensor_product import degrees_between

FIELDS = [
    (True, "3x0e + 2x1o + 2x2e", "2x0e + 2x1o + 3x2e + 1x1e"),
    (False, "3x0e + 2x1e + 2x2e + 1x3e", "2x0e + 2x1e + 3x2e + 2x3e"),
    (False, "4x0e", "1x0e + 1x1e + 1x2e + 1x3e"),
    (True, "2x1o + 1x1o", "1x0e + 1x2e"),
]


@pytest.fixture(autouse=True)
def double():
    """Wigner matrices of e3nn follow the default dtype."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def random_product(parity, irreps_in, irreps_out, pairs=6):
    generator = torch.Generator().manual_seed(0)

    def randn(*shape):
        return torch.randn(shape, generator=generator).requires_grad_()

    product = PairProduct(o3.Irreps(irreps_in), o3.Irreps(irreps_out), 3, parity)
    weights = [
        randn(pairs, columns, mul)
        for columns, (mul, _) in zip(product.columns, product.irreps_out, strict=True)
    ]
    return product, randn(pairs, product.irreps_in.dim), randn(pairs, 3), weights


def by_e3nn(product, parity, x, direction, weights):
    """The same with a FullyConnectedTensorProduct, its weights in the order of its paths."""
    harmonics = o3.Irreps.spherical_harmonics(3, p=-1 if parity else 1)
    theirs = o3.FullyConnectedTensorProduct(
        product.irreps_in,
        harmonics,
        product.irreps_out,
        shared_weights=False,
        internal_weights=False,
    )
    blocks = {}
    for target, (paths, weight) in enumerate(zip(product.paths, weights, strict=True)):
        start = 0
        for source, degrees in paths:
            mul, ir = product.irreps_in[source]
            between = degrees_between(ir.l, product.irreps_out[target].ir.l, 3)
            block = weight[:, start : start + mul * len(degrees)].unflatten(1, (mul, -1))
            for number, degree in enumerate(degrees):
                blocks[source, between[degree], target] = block[:, :, number]
            start += mul * len(degrees)
    order = [(i.i_in1, i.i_in2, i.i_out) for i in theirs.instructions]
    assert set(order) == set(blocks)
    flat = torch.cat([blocks[path].flatten(1) for path in order], 1)
    values = o3.spherical_harmonics([0, 1, 2, 3], direction, True, "component")
    return theirs(x, values, flat)


@pytest.mark.parametrize(("parity", "irreps_in", "irreps_out"), FIELDS)
def test_the_product_is_that_of_e3nn(parity, irreps_in, irreps_out):
    product, x, direction, weights = random_product(parity, irreps_in, irreps_out)
    ours = product(x, Harmonics(3, 3)(normalize(direction, dim=-1)), weights)
    theirs = by_e3nn(product, parity, x, direction, weights)
    torch.testing.assert_close(ours, theirs)
    cotangent = torch.randn_like(ours)
    inputs = (x, direction, *weights)
    first = [
        torch.autograd.grad((y * cotangent).sum(), inputs, create_graph=True)
        for y in (ours, theirs)
    ]
    torch.testing.assert_close(*first)
    second = [
        torch.autograd.grad(sum(g.square().sum() for g in gradients), inputs) for gradients in first
    ]
    torch.testing.assert_close(*second)


def test_unit_variance_in_gives_unit_variance_out():
    torch.manual_seed(0)
    product = PairProduct(o3.Irreps("8x0e + 8x1e"), o3.Irreps("8x0e + 8x1e + 8x2e"), 2, False)
    direction = normalize(torch.randn(4000, 3), dim=-1)
    weights = [torch.randn(4000, c, 8) for c in product.columns]
    out = product(torch.randn(4000, 32), Harmonics(2, 2)(direction), weights)
    for part in out.split([8, 24, 40], 1):
        assert part.square().mean().item() == pytest.approx(1, abs=0.1)


def test_in_single_precision_the_coefficients_are_right():
    """They are made in double precision whatever the default is."""
    torch.set_default_dtype(torch.float32)
    direction = normalize(torch.randn(3, 3, dtype=torch.float64), dim=-1)
    single = Harmonics(3, 3)
    torch.set_default_dtype(torch.float64)
    for types, matrices in Harmonics(3, 3)(direction).items():
        torch.testing.assert_close(single(direction)[types], matrices, rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    "make",
    [
        lambda irreps: EquivariantLinear(irreps, o3.Irreps("2x0e + 5x1o + 1x3o + 2x1o")),
        EquivariantNorm,
        Gate,
    ],
)
def test_pointwise_maps_commute_with_rotations_and_reflections(make):
    torch.manual_seed(0)
    irreps = o3.Irreps("4x0e + 3x1o + 2x2e + 1x0e")
    layer = make(irreps)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    before = getattr(layer, "irreps_in", irreps)
    after = getattr(layer, "irreps_out", irreps)
    x, matrix = torch.randn(5, before.dim), -o3.rand_matrix()
    moved = layer(x @ before.D_from_matrix(matrix).T)
    torch.testing.assert_close(moved, layer(x) @ after.D_from_matrix(matrix).T)


def test_a_linear_map_is_that_of_e3nn():
    torch.manual_seed(0)
    irreps = o3.Irreps("4x0e + 3x1o + 2x2e"), o3.Irreps("2x0e + 5x1o + 1x3o")
    ours, theirs = EquivariantLinear(*irreps, bias=False), o3.Linear(*irreps)
    flat = [w.flatten() for w in ours.weights if w.shape[0]]
    theirs.weight.data = torch.cat([w * (mul**0.5) for w, mul in zip(flat, (4, 3), strict=True)])
    x = torch.randn(5, irreps[0].dim)
    torch.testing.assert_close(ours(x), theirs(x))
