import numpy as np
import pytest
import torch

from attention import Count, DenseNeighborhood, Geometry, LieAttention, Pairs, Softmax
from liegroups import T3, Lifted, RelativePose

GEOMETRY = Geometry(T3().default_space(), RelativePose())


def by_loops(layer, features, invariants, mask):
    """One cloud through a layer with sum kernel, written out with loops in NumPy."""
    arrays = {name: p.detach().numpy() for name, p in layer.named_parameters()}
    f, inv = features.numpy(), invariants.numpy()
    size, width = f.shape
    heads = layer.heads
    channels = width // heads

    def linear(name, x):
        return x @ arrays[f"{name}.weight"].T + arrays[f"{name}.bias"]

    def silu(x):
        return x / (1 + np.exp(-x))

    query = linear("kernel.content.query", f)
    key = linear("kernel.content.key", f)
    value = linear("value", f)
    received = np.zeros_like(f)
    for h in range(heads):
        own = slice(h * channels, (h + 1) * channels)
        for i in range(size):
            logits = {}
            for j in range(size):
                if not mask[j]:
                    continue
                x = inv[:, i, j]
                for name in ("first", "second", "third"):
                    x = arrays[f"kernel.location.{name}"][h] @ x
                    x = x + arrays[f"kernel.location.{name}_bias"][h]
                    x = silu(x) if name != "third" else x
                logits[j] = query[i, own] @ key[j, own] / channels**0.5 + x[0]
            if isinstance(layer.normalizer, Softmax):
                total = sum(np.exp(v) for v in logits.values())
                weights = {j: np.exp(v) / total for j, v in logits.items()}
            else:
                weights = {j: v / len(logits) for j, v in logits.items()}
            received[i, own] = sum(w * value[j, own] for j, w in weights.items())
    return linear("out", received)


@pytest.mark.parametrize("normalizer", [Softmax(), Count()], ids=["softmax", "count"])
def test_layer_agrees_with_loops(normalizer):
    torch.manual_seed(0)
    layer = LieAttention(8, 2, GEOMETRY, normalizer=normalizer).double()
    features = torch.randn(1, 5, 8, dtype=torch.float64)
    points = torch.randn(1, 5, 3, dtype=torch.float64)
    mask = torch.tensor([[True, True, False, True, True]])
    lifted = Lifted(GEOMETRY.space.section(points), points)
    with torch.no_grad():
        output = layer(Pairs(GEOMETRY, DenseNeighborhood(mask[:, None]), lifted), features)[0]
    relative = (points[:, None] - points[:, :, None])[0].movedim(-1, 0)
    expected = by_loops(layer, features[0], relative, mask[0])
    np.testing.assert_allclose(output.numpy(), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("normalizer", [Softmax(), Count()], ids=["softmax", "count"])
def test_an_empty_fibre_gives_zeros_with_finite_gradients(normalizer):
    torch.manual_seed(0)
    logits = torch.randn(2, 1, 3, 4, requires_grad=True)
    values = torch.randn(2, 1, 4, 5, requires_grad=True)
    mask = torch.ones(1, 3, 4, dtype=torch.bool)
    mask[0, 1] = False
    neighborhood = DenseNeighborhood(mask)
    received = neighborhood.push_forward(normalizer(neighborhood, logits), values)
    assert (received[:, :, 1] == 0).all()
    assert (received[:, :, 0] != 0).all()
    for gradient in torch.autograd.grad(received.square().sum(), (logits, values)):
        assert gradient.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_masks_do_not_overflow(dtype):
    logits = torch.tensor([[[[1.0, 2.0, 3.0]]]], dtype=dtype)
    mask = torch.tensor([[[True, False, True]]])
    weights = Softmax()(DenseNeighborhood(mask), logits)
    expected = torch.tensor([1.0, 3.0], dtype=torch.float64).softmax(0)
    assert weights[0, 0, 0, 1] == 0
    torch.testing.assert_close(
        weights[0, 0, 0, [0, 2]].double(), expected, rtol=0, atol=4 * torch.finfo(dtype).eps
    )


def test_heads_must_divide_width():
    with pytest.raises(ValueError, match="3 heads and width 8"):
        LieAttention(8, 3, GEOMETRY)
