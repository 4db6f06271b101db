"""The fused product against e3nn's own, with the same weights."""

import sys

import pytest
import torch
from e3nn import o3
from torch.nn.functional import normalize

from attention import AllPairs, Radius, SparseNeighborhood
from attention.steerable import (
    CuEquivarianceProduct,
    Directions,
    E3nnProduct,
    EquivariantLinear,
    EquivariantNorm,
    FusedProduct,
    Gate,
    Harmonics,
    PairPerceptron,
    PairProduct,
    make_product,
)
from liegroups import SE3, Lifted
from liegroups.numerics import safe_norm

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


def directions_of(x, neighborhood=None, clouds=None, max_degree=3):
    """Directions of vectors ``(pairs, 3)``; without a neighborhood, from points in one cloud."""
    harmonics = Harmonics(max_degree, 3)
    return Directions(neighborhood, harmonics, normalize(x, dim=-1), clouds or (1, len(x)))


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
    starts = [0] * len(weights)
    for source, target, degrees in product.paths:
        channels = product.irreps_in[source].mul
        for degree in degrees:
            start = starts[target]
            blocks[source, degree, target] = weights[target][:, start : start + channels]
            starts[target] += channels
    order = [(i.i_in1, i.i_in2, i.i_out) for i in theirs.instructions]
    assert set(order) == set(blocks)
    flat = torch.cat([blocks[path].flatten(1) for path in order], 1)
    values = o3.spherical_harmonics([0, 1, 2, 3], direction, True, "component")
    return theirs(x, values, flat)


def agree(outputs, inputs, rtol=1e-7):
    """Values agree, and derivatives, and derivatives of the square of those."""
    first = []
    cotangent = torch.randn_like(outputs[0])
    for output in outputs:
        torch.testing.assert_close(output, outputs[0], rtol=rtol, atol=1e-9)
        first.append(torch.autograd.grad((output * cotangent).sum(), inputs, create_graph=True))
    second = []
    for gradients in first:
        torch.testing.assert_close(gradients, first[0], rtol=rtol, atol=1e-8)
        square = sum(g.square().sum() for g in gradients)
        second.append(torch.autograd.grad(square, inputs, retain_graph=True))
    for gradients in second:
        torch.testing.assert_close(gradients, second[0], rtol=rtol, atol=1e-7)
    assert all(g.abs().max() > 0 for g in second[0])


@pytest.mark.parametrize(("parity", "irreps_in", "irreps_out"), FIELDS)
def test_the_product_is_that_of_e3nn(parity, irreps_in, irreps_out):
    product, x, direction, weights = random_product(parity, irreps_in, irreps_out)
    ours = product(x, directions_of(direction), weights)
    theirs = by_e3nn(product, parity, x, direction, weights)
    agree([theirs, ours], (x, direction, *weights))


# ---- the product of a layer, in all ways -----------------------------------------------------


def fused(order):
    def make(*types):
        return FusedProduct(*types, order=order)

    return make


def cuequivariance(*types):
    pytest.importorskip("cuequivariance_torch")
    return CuEquivarianceProduct(*types)


class OfALayer:
    """Points and perceptrons with heads in two groups of unlike size."""

    def __init__(self, parity, irreps_in, irreps_out, rule, points=5):
        torch.manual_seed(0)
        self.types = o3.Irreps(irreps_in), o3.Irreps(irreps_out), 3, parity
        product = FusedProduct(*self.types)
        head_mask = torch.tensor([[True, False], [False, True], [False, True]])
        self.perceptrons = [
            PairPerceptron(head_mask, 3, product.paths, product.types_in, product.types_out)
            for _ in range(2)
        ]
        for perceptron in self.perceptrons:
            for layer in perceptron.last:
                torch.nn.init.normal_(layer.bias)
        self.features = torch.randn(2, points, product.irreps_in.dim, requires_grad=True)
        self.points = torch.randn(2, points, 3, requires_grad=True)
        space = SE3().default_space()
        lifted = Lifted(space.section(self.points.detach()), self.points)
        mask = torch.ones(2, points, dtype=torch.bool)
        mask[1, -1] = False
        self.neighborhood = rule(space, lifted, mask)
        target, source = self.neighborhood.pull_back(lifted, lifted)
        self.relative = source.point - target.point
        self.exists = self.relative.detach().norm(dim=-1).flatten() > 0

    @property
    def inputs(self):
        parameters = [p for each in self.perceptrons for p in each.parameters()]
        return [self.features, self.points, *parameters]

    def product(self, make):
        """Both products, one after the other, of the pairs of different points."""
        distance = safe_norm(self.relative)
        direction = self.relative / torch.where(distance > 0, distance, 1)[..., None]
        directions = Directions(self.neighborhood, Harmonics(3, 3), direction, (2, 5))
        invariants = torch.stack((distance.flatten(), distance.flatten() ** 2), -1)
        weights = [perceptron(invariants) for perceptron in self.perceptrons]
        found = make(*self.types)(self.features, directions, weights)
        return torch.cat([part.flatten(1) for each in found for part in each], 1)[self.exists]


LAYERS = [
    (True, "3x0e + 2x1o + 2x2e", "3x0e + 6x1o + 3x2e + 3x1e"),
    (False, "3x0e + 2x1e + 1x3e", "3x0e + 3x1e + 6x3e"),
    (True, "2x0e", "3x0e + 3x0o + 3x1o"),  # Nothing gives the pseudoscalars.
]
RULES = [Radius(1.5, loops=False), Radius(1.5, loops=False, layout="dense"), AllPairs(loops=False)]


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize(("parity", "irreps_in", "irreps_out"), LAYERS)
def test_every_way_to_compute_the_product_of_a_layer_gives_the_same(
    parity, irreps_in, irreps_out, rule
):
    layer = OfALayer(parity, irreps_in, irreps_out, rule)
    ways = E3nnProduct, fused("pairs"), fused("points"), fused("auto")
    agree([layer.product(way) for way in ways], layer.inputs)


@pytest.mark.parametrize(("parity", "irreps_in", "irreps_out"), LAYERS)
def test_the_product_by_cuequivariance(parity, irreps_in, irreps_out):
    layer = OfALayer(parity, irreps_in, irreps_out, RULES[0])
    agree([layer.product(way) for way in (E3nnProduct, cuequivariance)], layer.inputs)


def test_points_that_are_computed_a_few_at_a_time(monkeypatch):
    layer = OfALayer(*LAYERS[0], RULES[0])
    together = layer.product(fused("points"))
    monkeypatch.setattr("attention.steerable.products._CHUNK", 1)
    agree([together, layer.product(fused("points"))], layer.inputs)


@pytest.mark.parametrize("order", ["pairs", "points"])
def test_points_without_a_neighbor(order):
    layer = OfALayer(*LAYERS[0], Radius(1e-3, loops=False))
    assert layer.product(fused(order)).shape == (0, 2 * layer.types[1].dim)


def test_the_order_with_fewer_multiplications_is_taken():
    """With one neighbor the weights of pairs are few; with many, those of points."""
    layer = OfALayer(*LAYERS[2], AllPairs(loops=False))
    product = FusedProduct(*layer.types)
    counts = {}
    for pairs in (2, 200):
        target, source = torch.arange(pairs) % 2, torch.arange(pairs) % 2
        neighborhood = SparseNeighborhood(target, source, 2)
        directions = directions_of(torch.randn(pairs, 3), neighborhood, (1, 2))
        weights = [layer.perceptrons[0](torch.randn(pairs, 2))]
        counts[pairs] = product.multiplications(directions, weights)
    assert counts[2][0] < counts[2][1]
    assert counts[200][0] > counts[200][1]


def test_libraries_that_are_not_installed_and_names_that_do_not_exist(monkeypatch):
    monkeypatch.setitem(sys.modules, "cuequivariance", None)
    types = o3.Irreps("2x0e"), o3.Irreps("2x1o"), 1, True
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'lie-attention\[cuequivariance\]'"):
        make_product("cuequivariance", *types)
    with pytest.raises(ValueError, match=r"'fused', 'e3nn', 'cuequivariance'; got 'fast'"):
        make_product("fast", *types)


def test_unit_variance_in_gives_unit_variance_out():
    torch.manual_seed(0)
    product = PairProduct(o3.Irreps("8x0e + 8x1e"), o3.Irreps("8x0e + 8x1e + 8x2e"), 2, False)
    direction = normalize(torch.randn(4000, 3), dim=-1)
    weights = [torch.randn(4000, c, 8) for c in product.columns]
    directions = Directions(None, Harmonics(2, 2), direction, (1, 4000))
    out = product(torch.randn(4000, 32), directions, weights)
    for part in out.split([8, 24, 40], 1):
        assert part.square().mean().item() == pytest.approx(1, abs=0.1)


def test_in_single_precision_the_coefficients_are_right():
    """They are made in double precision whatever the default is."""
    torch.set_default_dtype(torch.float32)
    single = Harmonics(3, 3).coefficients(1, 2, [1, 2, 3])
    torch.set_default_dtype(torch.float64)
    for number, degree in enumerate([1, 2, 3]):
        own = single[degree**2 : (degree + 1) ** 2, number]
        expected = o3.wigner_3j(1, degree, 2).permute(1, 2, 0) * 5**0.5
        torch.testing.assert_close(own, expected, rtol=0, atol=1e-14)


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
