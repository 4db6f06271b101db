import math
from functools import partial

import pytest
import torch

from attention import (
    AllPairs,
    Count,
    FrameVectorHead,
    LieTransformer,
    Linear,
    LocationOnly,
    PointHead,
    RelativeVectorHead,
)
from liegroups import SE3, SO3, T3, Distance, Frames, Haar, PositionOrientation, Sees, Trivial


def network(group=SE3(), **settings):  # noqa: B008
    torch.manual_seed(0)
    settings = {"width": 16, "heads": 2, "layers": 1, "invariant": Distance(), **settings}
    return LieTransformer(group, 2, 3, **settings).double().eval()


def clouds(points=5):
    generator = torch.Generator().manual_seed(0)
    draws = torch.randn(2, points, 5, generator=generator, dtype=torch.float64)
    return draws[..., :2], draws[..., 2:]


@pytest.mark.parametrize(
    ("head", "shape"),
    [
        (PointHead, (2, 5, 3)),
        (partial(RelativeVectorHead, heads=2), (2, 5, 3, 3)),
        (FrameVectorHead, (2, 5, 3, 3)),
    ],
)
def test_shapes(head, shape):
    assert network(head=head, lift=Frames())(*clouds()).shape == shape


def test_relative_vectors_written_out():
    """Σ_h c_h(f_i) Σ_j α_h (x_j - x_i), with the features of the network's own last block."""
    model = network(head=partial(RelativeVectorHead, heads=2, normalizer=Count()))
    features, points = clouds()
    seen = {}
    model.head.register_forward_pre_hook(lambda _, inputs: seen.update(inputs=inputs))
    vectors = model(features, points)
    hidden, pairs, _, _ = seen["inputs"]
    head = model.head
    logits = head.kernel(pairs, head.kernel.project(hidden, pairs.source))
    relative = points[:, None] - points[:, :, None]
    moments = torch.einsum("hbij,bijc->hbic", logits / 5, relative)
    coefficients = head.coefficients(hidden).unflatten(-1, (3, 2))
    expected = torch.einsum("bioh,hbic->bioc", coefficients, moments)
    torch.testing.assert_close(vectors, expected)


def test_relative_vectors_lie_in_the_plane_of_a_planar_cloud_and_frames_do_not():
    features, points = clouds()
    points[..., 2] = 0
    relative = network(head=partial(RelativeVectorHead, heads=2))(features, points)
    assert relative[..., 2].abs().max() < 1e-12
    assert relative[..., :2].abs().min() > 0
    turned = network(head=FrameVectorHead, lift=Haar(2))(features, points)
    assert turned[..., 2].abs().max() > 1e-3


def test_a_trained_head_finds_the_gradient_of_a_potential():
    """Forces of springs, Σ_j (x_j - x_i), need nothing but a constant weight."""
    torch.manual_seed(0)
    head = partial(RelativeVectorHead, heads=2, kernel=LocationOnly, normalizer=Linear())
    model = LieTransformer(
        SE3(), 1, 1, invariant=Distance(), width=16, heads=2, layers=1, head=head
    )
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    losses = []
    for _ in range(150):
        points = torch.randn(32, 4, 3)
        force = (points.sum(1, keepdim=True) - 4 * points)[:, :, None]
        loss = (model(torch.ones(32, 4, 1), points) - force).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item() / force.square().mean().item())
    assert losses[0] > 0.3
    assert sum(losses[-10:]) / 10 < 0.03


def test_vectors_are_zero_at_padding():
    features, points = clouds()
    mask = torch.tensor([[True] * 5, [True, True, False, False, False]])
    for head in (PointHead, FrameVectorHead, partial(RelativeVectorHead, heads=2)):
        output = network(head=head, lift=Frames())(features, points, mask)
        assert (output[1, 2:] == 0).all()
        assert (output[1, :2] != 0).all()


def test_a_head_that_looks_at_elements_makes_the_network_lift():
    assert not network().sees_lift
    assert network(head=FrameVectorHead).sees_lift
    assert not network(head=partial(RelativeVectorHead, heads=2)).sees_lift
    assert network().sees == Sees.INVARIANTS | Sees.POINTS
    assert network(head=FrameVectorHead).sees == network().sees | Sees.ELEMENTS


@pytest.mark.parametrize("group", [T3(), SO3(), Trivial(3)], ids=str)
def test_vectors_under_other_groups(group):
    assert network(group, head=FrameVectorHead, lift=Frames())(*clouds()).shape == (2, 5, 3, 3)


def test_vectors_need_a_group_that_moves_them():
    with pytest.raises(ValueError, match="FrameVectorHead gives vectors, which need points"):
        network(space=PositionOrientation(SE3()), head=FrameVectorHead)
    with pytest.raises(ValueError, match="3 heads and width 16"):
        network(head=partial(RelativeVectorHead, heads=3))


def test_neighbors_alone_see_each_other():
    """Without loops and with one point, nothing is received, and the vector is zero."""
    model = network(head=partial(RelativeVectorHead, heads=2), neighborhood=AllPairs(loops=False))
    features, points = clouds(1)
    assert model(features, points).abs().max() == 0
    assert math.isfinite(model(features, points).sum().item())
