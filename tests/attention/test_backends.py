"""Backends against the reference, where slices are small, and which of them is chosen."""

from functools import partial

import pytest
import torch

from attention import (
    BACKENDS,
    AllPairs,
    ContentOnly,
    Count,
    Joint,
    LieTransformer,
    Linear,
    LocationOnly,
    Nearest,
    Product,
    Radius,
    RelativePosition,
    Rotary,
    Sum,
)
from attention.backends import Streaming, choose_backend
from liegroups import SE3, SO3, T3, Distance, Haar

ROTARY = partial(ContentOnly, content=Rotary)


def network(group=T3(), **settings):  # noqa: B008
    torch.manual_seed(0)
    settings = {"width": 8, "heads": 2, "layers": 2, "lift": Haar(2), **settings}
    return LieTransformer(group, 2, 1, **settings).double().eval()


def clouds(points=7):
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, points, 2, generator=generator, dtype=torch.float64)
    positions = torch.randn(2, points, 3, generator=generator, dtype=torch.float64)
    mask = torch.arange(points) < torch.tensor([[points], [points - 2]])
    return features, positions.requires_grad_(), mask


def derivatives(model):
    """Output, forces, and gradients of a loss of the forces with respect to the weights."""
    features, points, mask = clouds()
    output = model(features, points, mask)
    (force,) = torch.autograd.grad(output.sum(), points, create_graph=True)
    parameters = tuple(model.parameters())
    weights = torch.autograd.grad(force.square().sum(), parameters, materialize_grads=True)
    return output, force, *weights


@pytest.mark.parametrize("stored", [0, 2**27], ids=["invariants anew", "invariants kept"])
@pytest.mark.parametrize("elements", [1, 100, 150])
@pytest.mark.parametrize(
    ("group", "settings"),
    [
        (T3(), {}),
        (SE3(), {}),
        (SO3(), {"kernel": Joint}),
        (T3(), {"kernel": Product, "normalizer": Count()}),
        (T3(), {"kernel": ROTARY}),
        (T3(), {"kernel": RelativePosition, "neighborhood": AllPairs(loops=False)}),
        (T3(), {"kernel": LocationOnly, "neighborhood": Nearest(3, layout="dense")}),
        (SE3(), {"neighborhood": Radius(2.0, layout="dense"), "invariant": Distance()}),
    ],
    ids=str,
)
def test_streaming_in_small_slices(monkeypatch, group, settings, elements, stored):
    monkeypatch.setitem(BACKENDS, "streaming", Streaming(elements, stored))
    expected = derivatives(network(group, backend="reference", **settings))
    found = derivatives(network(group, backend="streaming", **settings))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("kernel", [Sum, ROTARY], ids=["sum", "rotary"])
def test_streaming_keeps_nothing_as_large_as_the_pairs(monkeypatch, kernel):
    monkeypatch.setitem(BACKENDS, "streaming", Streaming(elements=2000, stored_bytes=0))
    points, largest = 300, []

    def pack(tensor):
        largest.append(tensor.numel())
        return tensor

    model = network(kernel=kernel, backend="streaming")
    features, positions, _ = clouds(points)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = model(features, positions)
        (force,) = torch.autograd.grad(output.sum(), positions, create_graph=True)
        force.square().sum().backward()
    assert max(largest) <= 4 * points * 16  # Elements of the group; pairs are 2 · 300².


def chosen(model, points=7, **options):
    features, positions, mask = clouds(points)
    names = []

    def spy(*arguments):
        backend = choose_backend(*arguments)
        names.append(next(name for name, known in BACKENDS.items() if known is backend))
        return backend

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("attention.layer.choose_backend", spy)
        model(features, positions.detach() if options.get("detach") else positions, mask)
    assert len(set(names)) == 1
    return names[0]


def test_what_auto_chooses():
    assert chosen(network()) == "reference"
    assert chosen(network(), points=1300) == "streaming"
    assert chosen(network(neighborhood=Nearest(3)), points=800) == "reference"
    assert chosen(network(kernel=ROTARY)) == "reference"  # The points require a gradient.
    assert chosen(network(kernel=ROTARY), detach=True) == "fused"
    assert chosen(network(kernel=ROTARY, normalizer=Linear())) == "linear"
    assert chosen(network(normalizer=Linear())) == "reference"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"backend": "fused", "normalizer": Count()}, "'fused' needs the normalizer Softmax"),
        ({"backend": "fused", "kernel": Product}, "'fused' needs logits that are inner products"),
        ({"backend": "fused", "neighborhood": Nearest(2)}, "'fused' needs the dense layout"),
        (
            {"backend": "fused", "neighborhood": Radius(1.0, layout="dense")},
            "'fused' does not know a cut-off",
        ),
        ({"backend": "linear"}, "'linear' needs the normalizer Linear"),
        ({"backend": "linear", "normalizer": Linear()}, "inner products and nothing more"),
        (
            {
                "backend": "linear",
                "normalizer": Linear(),
                "kernel": ROTARY,
                "neighborhood": AllPairs(loops=False),
            },
            "'linear' needs every point of a cloud",
        ),
        ({"backend": "streaming", "neighborhood": Nearest(2)}, "'streaming' needs the dense"),
    ],
    ids=str,
)
def test_a_backend_that_cannot_says_why(settings, message):
    features, points, mask = clouds()
    with pytest.raises(ValueError, match=message):
        network(**settings)(features, points, mask)
