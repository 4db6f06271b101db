"""Values that are multiplied by filters, channel by channel, against sums written out."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck, gradgradcheck
from torch.nn.functional import silu

from attention import (
    AllPairs,
    Convolution,
    Count,
    DenseNeighborhood,
    Filtered,
    FilterMLP,
    LieTransformer,
    Linear,
    LinearFilter,
    Nearest,
    Product,
    Radius,
    Softmax,
    SparseNeighborhood,
    Sum,
)
from attention.neighborhoods import filtering
from liegroups import SE3, Bessel, Concat, Distance, RadialBasis, RelativePose

BATCH, POINTS, HEADS, CHANNELS, FEATURES = 3, 5, 2, 3, 4


@pytest.fixture(params=[1, 7, 2**17], ids=["rows", "blocks", "whole"])
def pieces(request, monkeypatch):
    """Slices of few pairs and of many."""
    elements = request.param * HEADS * CHANNELS
    monkeypatch.setitem(filtering._CACHE_ELEMENTS, "cpu", elements)


def tensors(heads=HEADS):
    torch.manual_seed(0)
    mask = torch.rand(BATCH, POINTS, POINTS) > 0.3
    mask[0, 2] = False
    shapes = (
        (heads, BATCH, POINTS, POINTS),
        (FEATURES, BATCH, POINTS, POINTS),
        (FEATURES, HEADS * CHANNELS),
        (HEADS, BATCH, POINTS, CHANNELS),
    )
    return mask, [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in shapes]


def dense(mask, weights, features, coefficients, values):
    return DenseNeighborhood(mask).convolve(weights * mask, features, coefficients, values)


def sparse(mask, weights, features, coefficients, values):
    cloud, target, source = mask.nonzero().T
    edges = SparseNeighborhood(
        target + cloud * POINTS, source + cloud * POINTS, targets=BATCH * POINTS
    )
    return edges.convolve(weights[:, mask], features[:, mask], coefficients, values)


def written_out(mask, weights, features, coefficients, values):
    filters = coefficients.view(FEATURES, HEADS, CHANNELS)
    weights = (weights * mask).expand(HEADS, -1, -1, -1)
    return torch.einsum("hbij,kbij,khc,hbjc->hbic", weights, features, filters, values)


@pytest.mark.parametrize("layout", [dense, sparse])
@pytest.mark.parametrize("heads", [1, HEADS])
def test_is_the_sum_written_out_with_its_gradients(pieces, layout, heads):
    mask, given = tensors(heads)
    received, expected = layout(mask, *given), written_out(mask, *given)
    torch.testing.assert_close(received, expected)
    cotangent = torch.randn_like(expected)
    found = torch.autograd.grad(received, given, cotangent)
    for gradient, right in zip(found, torch.autograd.grad(expected, given, cotangent), strict=True):
        torch.testing.assert_close(gradient, right)


@pytest.mark.parametrize("wanted", range(4))
@pytest.mark.parametrize("layout", [dense, sparse])
def test_gradients_of_one_alone(pieces, layout, wanted):
    mask, given = tensors()
    given = [x.detach().requires_grad_(i == wanted) for i, x in enumerate(given)]
    (found,) = torch.autograd.grad(layout(mask, *given).square().sum(), given[wanted])
    (right,) = torch.autograd.grad(written_out(mask, *given).square().sum(), given[wanted])
    torch.testing.assert_close(found, right)


@pytest.mark.parametrize("layout", [dense, sparse])
def test_second_derivatives(layout):
    mask, given = tensors()
    assert gradcheck(partial(layout, mask), given, fast_mode=True)
    assert gradgradcheck(partial(layout, mask), given, fast_mode=True)


def harmonics_of(layout):
    def call(mask, harmonics, weights, features, coefficients, values):
        if layout == "dense":
            edges = DenseNeighborhood(mask)
            return edges.convolve_harmonics(
                harmonics, weights * mask, features, coefficients, values
            )
        cloud, target, source = mask.nonzero().T
        edges = SparseNeighborhood(
            target + cloud * POINTS, source + cloud * POINTS, targets=BATCH * POINTS
        )
        return edges.convolve_harmonics(
            harmonics[:, mask], weights[:, mask], features[:, mask], coefficients, values
        )

    return call


def harmonics_written_out(mask, harmonics, weights, features, coefficients, values):
    filters = coefficients.view(FEATURES, HEADS, CHANNELS)
    weights = (weights * mask).expand(HEADS, -1, -1, -1)
    found = torch.einsum(
        "dbij,hbij,kbij,khc,hbjc->bidhc", harmonics, weights, features, filters, values
    )
    return found.flatten(-2)


@pytest.mark.parametrize("layout", ["dense", "sparse"])
@pytest.mark.parametrize("heads", [1, HEADS])
def test_harmonics_are_the_sum_written_out_with_its_gradients(pieces, layout, heads):
    mask, given = tensors(heads)
    harmonics = torch.randn(3, *mask.shape, dtype=torch.float64, requires_grad=True)
    given = [harmonics, *given]
    received = harmonics_of(layout)(mask, *given)
    expected = harmonics_written_out(mask, *given)
    torch.testing.assert_close(received, expected)
    cotangent = torch.randn_like(expected)
    found = torch.autograd.grad(received, given, cotangent)
    right = torch.autograd.grad(expected, given, cotangent)
    for gradient, other in zip(found, right, strict=True):
        torch.testing.assert_close(gradient, other)


@pytest.mark.parametrize("wanted", range(5))
@pytest.mark.parametrize("layout", ["dense", "sparse"])
def test_gradients_with_harmonics_of_one_alone(layout, wanted):
    mask, given = tensors()
    given = [torch.randn(3, *mask.shape, dtype=torch.float64), *given]
    given = [x.detach().requires_grad_(i == wanted) for i, x in enumerate(given)]
    total = harmonics_of(layout)(mask, *given).square().sum()
    (found,) = torch.autograd.grad(total, given[wanted])
    (right,) = torch.autograd.grad(
        harmonics_written_out(mask, *given).square().sum(), given[wanted]
    )
    torch.testing.assert_close(found, right)


@pytest.mark.parametrize("layout", ["dense", "sparse"])
def test_second_derivatives_with_harmonics(layout):
    mask, given = tensors()
    harmonics = torch.randn(3, *mask.shape, dtype=torch.float64, requires_grad=True)
    call = partial(harmonics_of(layout), mask)
    assert gradcheck(call, [harmonics, *given], fast_mode=True)
    assert gradgradcheck(call, [harmonics, *given], fast_mode=True)


def test_second_derivatives_where_weights_are_made_of_the_features():
    own = network(partial(Filtered, kernel=Sum), normalizer=Count())
    features, points, _ = clouds()
    points.requires_grad_()

    def forces(x):
        return torch.autograd.grad(own(features, x).sum(), x, create_graph=True)[0]

    found = torch.autograd.grad(forces(points).square().sum(), points)[0]
    step = 1e-5 * torch.randn_like(points)
    ahead, behind = (
        forces((points.detach() + sign * step).requires_grad_()).square().sum() for sign in (1, -1)
    )
    torch.testing.assert_close((found * step).sum(), (ahead - behind) / 2, rtol=1e-6, atol=1e-14)


def test_is_mapped_over_batches():
    mask, given = tensors()
    several = [torch.stack((x, 2 * x)).detach() for x in given]
    found = torch.func.vmap(partial(dense, mask))(*several)
    expected = torch.stack([written_out(mask, *(x[n] for x in several)) for n in range(2)])
    torch.testing.assert_close(found, expected)


def network(kernel, **settings):
    torch.manual_seed(1)
    settings = {"invariant": RadialBasis(3.0, Bessel(5)), "heads": 2, **settings}
    return LieTransformer(SE3(), 3, 2, width=16, layers=2, kernel=kernel, **settings).double()


def clouds():
    torch.manual_seed(2)
    mask = torch.ones(2, 6, dtype=torch.bool)
    mask[1, 4:] = False
    return torch.randn(2, 6, 3).double(), torch.randn(2, 6, 3).double(), mask


class PlainSchNet(nn.Module):
    """Interaction blocks of SchNet as its authors write them, with a mean for the sum."""

    def __init__(self, of):
        super().__init__()
        self.of = of

    def forward(self, features, points, mask):
        of = self.of
        hidden = of.embedding(features)
        for block in of.blocks:
            filter_of = block.attention.kernel.filter
            normed = block.attention_norm(hidden)
            values = block.attention.value(normed)
            received = torch.zeros_like(values)
            for b in range(len(points)):
                real = [i for i in range(points.shape[1]) if mask[b, i]]
                for i in real:
                    for j in real:
                        r = (points[b, i] - points[b, j]).norm().clamp(min=1e-9)
                        u = (r / 3.0).clamp(max=1.0)
                        k = torch.arange(1, 6, dtype=r.dtype)
                        basis = 2**0.5 * torch.sin(k * torch.pi * u) / u
                        basis = basis * (1 - 28 * u**6 + 48 * u**7 - 21 * u**8)
                        if isinstance(filter_of, FilterMLP):
                            inner = filter_of.first @ basis + filter_of.first_bias
                            w = filter_of.second @ silu(inner)
                        else:
                            w = filter_of.weight @ basis
                        received[b, i] += values[b, j] * w / len(real)
            hidden = hidden + block.attention.out(received)
            hidden = hidden + block.mlp(block.mlp_norm(hidden))
        return of.head(hidden, None, mask, 1)


@pytest.mark.parametrize("filter_of", [LinearFilter, partial(FilterMLP, hidden=7)])
def test_a_convolution_is_that_of_schnet(filter_of):
    own = network(partial(Convolution, filter=filter_of), normalizer=Count())
    given = clouds()
    torch.testing.assert_close(own(*given), PlainSchNet(own)(*given))


@pytest.mark.parametrize("normalizer", [Softmax(), Count()])
def test_a_mean_by_softmax_of_nothing_is_that_by_counting(normalizer):
    given = clouds()
    expected = network(Convolution, normalizer=Count())(*given)
    torch.testing.assert_close(network(Convolution, normalizer=normalizer)(*given), expected)


def test_a_filter_of_ones_changes_nothing():
    kernel = partial(Filtered, kernel=partial(Product))
    own = network(kernel, invariant=Concat([Distance(), RadialBasis(3.0)]))
    plain = network(Product, invariant=Concat([Distance(), RadialBasis(3.0)]))
    state = own.state_dict()
    plain.load_state_dict(
        {k.replace("kernel.kernel.", "kernel."): v for k, v in state.items() if "filter" not in k}
    )
    for block in own.blocks:

        class Ones(nn.Module):
            def forward(self, pairs):
                ones = torch.ones_like(pairs.invariants[:1])
                return ones, ones.new_ones(1, 16)

        block.attention.kernel.filter = Ones()
    given = clouds()
    torch.testing.assert_close(own(*given), plain(*given))


@pytest.mark.parametrize(
    "rule", [Radius(2.0), Nearest(3), AllPairs(loops=False)], ids=lambda r: type(r).__name__
)
@pytest.mark.parametrize("kernel", [Convolution, partial(Filtered, kernel=Sum)])
def test_layouts_agree(rule, kernel):
    given = clouds()
    one = network(kernel, neighborhood=rule)
    if isinstance(rule, AllPairs):
        b, i, j = (
            (given[2][:, :, None] & given[2][:, None] & ~torch.eye(6, dtype=torch.bool)).nonzero().T
        )
        other = one(*given, edges=torch.stack((b * 6 + j, b * 6 + i)))
    else:
        other = network(kernel, neighborhood=replace(rule, layout="dense"))(*given)
    torch.testing.assert_close(one(*given), other)


def test_heads_filter_by_their_own_invariants():
    own = network(Convolution, invariant=[RadialBasis(3.0), RelativePose()], heads=2)
    filter_of = own.blocks[0].attention.kernel.filter
    seen = (filter_of.weight * filter_of.channel_mask) != 0
    head_mask = own.geometry.head_mask(2)
    assert (seen == head_mask.repeat_interleave(8, 0)).all()
    mlp = FilterMLP(head_mask, 16, hidden=3)
    assert (mlp.second * mlp.channel_mask != 0).sum() == 16 * 3


@pytest.mark.parametrize("backend", ["fused", "linear", "triton"])
def test_backends_that_do_not_filter_say_so(backend):
    normalizer = Linear() if backend == "linear" else Softmax()
    own = network(Convolution, backend=backend, normalizer=normalizer)
    with pytest.raises(ValueError, match=f"{backend}.*Convolution"):
        own(*clouds())


def test_single_precision_is_that_of_double():
    own, given = network(partial(Filtered, kernel=Sum)), clouds()
    expected = own(*given)
    found = own.float()(given[0].float(), given[1].float(), given[2])
    torch.testing.assert_close(found, expected.float(), atol=1e-5, rtol=1e-4)
