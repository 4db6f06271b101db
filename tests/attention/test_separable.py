"""The blocks of published networks, beside the same written out plainly, with shared weights."""

from functools import partial
from itertools import combinations_with_replacement

import pytest
import torch
from torch.nn.functional import gelu, layer_norm

from attention import (
    AllPairs,
    AttentionBlock,
    BasisPerceptron,
    ContentOnly,
    ConvNextBlock,
    Convolution,
    FrameRotary,
    Geometry,
    GroupConvolutionBlock,
    GroupLinear,
    LieTransformer,
    Linear,
    LinearReadout,
    Radius,
    SeparableBlock,
    Softmax,
    Sum,
)
from attention.blocks.fibres import group_table
from liegroups import (
    SE2,
    SE3,
    SO3,
    Distance,
    Frames,
    FullOrbit,
    Grid,
    Haar,
    LiftedPositionOrientation,
    OctahedralGroup,
    PerHead,
    RelativeMatrix,
    RelativePose,
    TetrahedralGroup,
    lift,
)

SPACE = SE3().default_space()


@pytest.fixture(autouse=True)
def _double():
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("group", [TetrahedralGroup(), OctahedralGroup()], ids=str)
def test_group_convolution_is_the_sum_of_its_definition(group):
    elements = group.elements()
    table = group_table(SPACE, FullOrbit(group))
    layer = GroupLinear(3, 2, table)
    x = torch.randn(len(elements), 5, 3)
    expected = torch.zeros(len(elements), 5, 2)
    numbers = {}
    for h in range(len(elements)):
        for g in range(len(elements)):
            relative = elements[h].T @ elements[g]
            place = int((elements - relative).abs().sum((1, 2)).argmin())
            number = numbers.setdefault(place, int(table[h, g]))
            assert number == table[h, g]  # The same element, the same weight.
            expected[h] += x[g] @ layer.weight[number].T
    assert len(set(numbers.values())) == len(elements)
    torch.testing.assert_close(layer(x), expected + layer.bias)


def test_group_convolution_commutes_with_the_group():
    elements = TetrahedralGroup().elements()
    layer = GroupLinear(3, 2, group_table(SPACE, FullOrbit(TetrahedralGroup())))
    x = torch.randn(12, 4, 3)
    for g in elements:
        places = (elements[None] - (g @ elements)[:, None]).abs().sum((-1, -2)).argmin(1)
        torch.testing.assert_close(layer(x[places]), layer(x)[places])


def test_group_convolution_over_one_lift_is_linear():
    layer = GroupLinear(4, 3, group_table(SPACE, Frames()))
    x = torch.randn(2, 5, 4)
    torch.testing.assert_close(layer(x), x @ layer.weight[0].T + layer.bias)


@pytest.mark.parametrize(
    ("space", "sampler", "words"),
    [
        (SPACE, Haar(3), "the same group over every point"),
        (SPACE, Grid(5), "lifts that are a group"),
        (SO3().default_space(), Haar(2), "the same group over every point"),
    ],
)
def test_group_convolutions_need_a_group(space, sampler, words):
    with pytest.raises(ValueError, match=words):
        group_table(space, sampler)


def ponita(network, features, points, orientations, radius):
    """PONITA (Bekkers et al. 2024), as its public code computes it, on one cloud.

    The public code repeats monomials that commute, which is a sum of weights here; and shows the
    spatial kernel the two invariants of position and the spherical kernel the one of orientation,
    where the invariant here is all three, of which the others are constant.
    """

    def basis(module, *invariants):
        monomials = [
            torch.stack([invariants[a] for a in axes]).prod(0)
            for degree in (1, 2, 3)
            for axes in combinations_with_replacement(range(3), degree)
        ]
        hidden = gelu(module.first(torch.stack(monomials, -1)))
        return gelu(module.second(hidden))

    relative = points[None] - points[:, None]  # From targets to sources.
    distance = relative.norm(dim=-1)
    along = torch.einsum("ijd,od->ijo", relative, orientations)
    across = (relative[:, :, None] - along[..., None] * orientations).norm(dim=-1)
    angle = orientations @ orientations.T
    u = distance / radius
    window = (1 - 28 * u**6 + 48 * u**7 - 21 * u**8) * (u < 1)
    window.fill_diagonal_(0)
    spatial = basis(network.basis, along, across, torch.ones_like(along))
    spatial = spatial * window[..., None, None]
    spherical = basis(network.fibre_basis, 0 * angle, 0 * angle, angle)
    x = network.embedding(features)[:, None].expand(-1, len(orientations), -1)
    for block in network.blocks:
        kernel = spatial @ block.kernel.filter.weight.T  # (targets, sources, orientations, width)
        y = (kernel * x[None]).sum(1)
        kernel = spherical @ block.fibre.filter.weight.T  # (to, from, width)
        y = torch.einsum("ioc,poc->ipc", y, kernel) / len(orientations) + block.bias
        y = layer_norm(y, y.shape[-1:], block.norm.weight, block.norm.bias)
        y = block.mlp[2](gelu(block.mlp[0](y)))
        x = x + (y if block.scale is None else block.scale * y)
    return network.head.linear(x).mean(1).sum(0)


@pytest.mark.parametrize("scale", [None, 1e-2])
def test_a_network_of_convnext_blocks_is_ponita(scale):
    network = LieTransformer(
        SE3(),
        4,
        2,
        invariant=LiftedPositionOrientation(),
        lift=Grid(5),
        kernel=Convolution,
        normalizer=Linear(),
        neighborhood=Radius(3.0, loops=False),
        block=partial(ConvNextBlock, scale=scale),
        basis=partial(BasisPerceptron, features=6, hidden=7),
        head=LinearReadout,
        width=8,
        heads=1,
        layers=2,
    ).eval()
    features, points = torch.randn(9, 4), 1.5 * torch.randn(9, 3)
    orientations = lift(SPACE, points[:1], Grid(5), fixed=True).element[0, :, :3, 0]
    expected = ponita(network, features, points, orientations, 3.0)
    torch.testing.assert_close(network(features[None], points[None])[0], expected)


def platonic(network, features, points, elements, normalizer):
    """A Platonic Transformer (Islam et al. 2025), as its public code computes it, on one cloud."""
    table = network.blocks[0].attention.value.table

    def linear(layer, x):  # (points, lifts, channels)
        return torch.einsum("nki,hkoi->nho", x, layer.weight[table]) + layer.bias

    def rotated(x, frequencies):  # (points, lifts, heads, channels)
        omega = torch.einsum("kde,hfe->khfd", elements, frequencies)  # Frequencies, turned.
        angle = torch.einsum("nd,khfd->nkhf", points, omega)
        cos, sin = angle.cos(), angle.sin()
        first, second = x.unflatten(-1, (-1, 2)).unbind(-1)
        pairs = (first * cos - second * sin, first * sin + second * cos)
        return torch.stack(pairs, -1).flatten(-2)

    x = network.embedding(features)[:, None].expand(-1, len(elements), -1)
    for block in network.blocks:
        attention, content = block.attention, block.attention.kernel.content
        normed = layer_norm(x, x.shape[-1:], block.attention_norm.weight, block.attention_norm.bias)
        heads = (attention.heads, -1)
        query = linear(content.query, normed).unflatten(-1, heads)
        value = linear(attention.value, normed).unflatten(-1, heads)
        key = torch.ones_like(query)
        if content.keys:
            key = linear(content.key, normed).unflatten(-1, heads)
        query, key = (rotated(y, content.frequencies) for y in (query, key))
        logits = torch.einsum("nkhc,mkhc->khnm", query, key) * query.shape[-1] ** -0.5
        weights = logits.softmax(-1) if isinstance(normalizer, Softmax) else logits
        received = torch.einsum("khnm,mkhc->nkhc", weights, value).flatten(-2)
        x = x + linear(attention.out, received)
        normed = layer_norm(x, x.shape[-1:], block.mlp_norm.weight, block.mlp_norm.bias)
        x = x + linear(block.mlp[2], gelu(linear(block.mlp[0], normed)))
    return network.head.linear(x).mean(1).sum(0)


@pytest.mark.parametrize("normalizer", [Softmax(), Linear()], ids=["softmax", "linear"])
@pytest.mark.parametrize("keys", [True, False], ids=["keys", "no keys"])
def test_a_network_of_group_convolutions_is_the_platonic_transformer(normalizer, keys):
    network = LieTransformer(
        SE3(),
        4,
        2,
        invariant=RelativePose(),
        lift=FullOrbit(TetrahedralGroup()),
        kernel=partial(ContentOnly, content=partial(FrameRotary, length=2.0, keys=keys)),
        normalizer=normalizer,
        block=partial(GroupConvolutionBlock, widening=4),
        head=LinearReadout,
        width=8,
        heads=2,
        layers=2,
    ).eval()
    features, points = torch.randn(9, 4), 1.5 * torch.randn(9, 3)
    elements = TetrahedralGroup().elements()
    expected = platonic(network, features, points, elements, normalizer)
    torch.testing.assert_close(network(features[None], points[None])[0], expected)


def separable(**settings):
    settings = {"lift": FullOrbit(TetrahedralGroup()), "block": SeparableBlock, **settings}
    group = settings.pop("group", SE3())
    return LieTransformer(group, 3, 1, width=8, heads=2, layers=1, **settings)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"block": GroupConvolutionBlock, "lift": Haar(2)}, "the same group over every point"),
        ({"block": ConvNextBlock}, "needs a kernel with a filter"),
        (
            {"block": ConvNextBlock, "kernel": Convolution, "backend": "reference"},
            "one way to convolve",
        ),
        ({"group": SO3(), "lift": Haar(2)}, "in different ways"),
        (
            {"kernel": partial(ContentOnly, content=FrameRotary), "lift": Haar(2)},
            "the same place of their fibres",
        ),
        (
            {"kernel": partial(ContentOnly, content=FrameRotary), "block": GroupConvolutionBlock}
            | {"lift": Frames()},
            None,
        ),
        (
            {"basis": BasisPerceptron, "invariant": PerHead([Distance(), RelativePose()])},
            "see different invariants",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(settings, words):
    if words is None:
        separable(**settings)
        return
    with pytest.raises(ValueError, match=words):
        separable(**settings)


def test_a_block_by_itself_says_that_it_needs_a_lift():
    with pytest.raises(ValueError, match="needs a geometry with a lift"):
        GroupConvolutionBlock(8, 2, Geometry(SPACE, Distance()), Sum)


def test_pairs_are_linear_in_the_lifts():
    """Twice the lifts, twice the pairs: counted, not timed."""
    seen = []

    class Counting(RelativeMatrix):
        def __call__(self, space, target, source):
            found = super().__call__(space, target, source)
            seen.append(found[..., 0].numel())
            return found

    for count in (4, 8, 16):
        network = separable(
            group=SE2(),
            lift=Grid(count),
            invariant=Counting(),
            kernel=partial(Convolution),
            normalizer=Linear(),
            neighborhood=AllPairs(loops=False),
            block=ConvNextBlock,
        ).eval()
        network(torch.randn(2, 7, 3), torch.randn(2, 7, 2))
    over_fibre = [count**2 for count in (4, 8, 16)]  # Of one point: they are alike.
    assert seen == [n for k, f in zip((4, 8, 16), over_fibre, strict=True) for n in (98 * k, f)]


def test_convolutions_over_fibres_are_the_same_where_lifts_are_not_known_to_be_alike():
    features, points = torch.randn(2, 5, 3), torch.randn(2, 5, 3)
    made = separable(
        lift=Grid(3), invariant=LiftedPositionOrientation(), kernel=Convolution,
        normalizer=Linear(), block=ConvNextBlock,
    ).eval()  # fmt: skip
    expected = made(features, points)
    made.blocks[0].fibre.is_alike = False
    torch.testing.assert_close(made(features, points), expected)


def test_backends_that_make_invariants_as_they_go_leave_learned_features_alone():
    made = separable(
        lift=Frames(), basis=BasisPerceptron, invariant=Distance(), backend="streaming",
        block=AttentionBlock,
    )  # fmt: skip
    with pytest.raises(ValueError, match="no learned features"):
        made(torch.randn(2, 5, 3), torch.randn(2, 5, 3))
