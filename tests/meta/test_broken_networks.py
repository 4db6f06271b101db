"""A broken network for every law of networks: the law must reject it, and say that it was it."""

import pytest
import torch

from attention import AllPairs, LieTransformer, Nearest, PointHead
from attention.steerable import ChannelwiseTransformer, SteerableTransformer
from attention.testing import NETWORK_LAWS, check_network, network_suite
from attention.testing import laws as law_module
from liegroups import SE3, T3, Distance, E, Haar, RelativePose
from liegroups.testing import LawViolation

LAWS = {law.__name__: law for law in NETWORK_LAWS}
SMALL = {"width": 8, "heads": 2, "layers": 1, "lift": Haar(2)}


class Broken(LieTransformer):
    def __init__(self, group=SE3(), invariant=Distance(), **settings):  # noqa: B008
        super().__init__(group, 2, 1, invariant=invariant, **SMALL | settings)


class SeesTheOrigin(Broken):
    def forward(self, features, points, mask=None, **options):
        return (
            super().forward(features, points, mask, **options)
            + points.square().mean((1, 2))[:, None]
        )


class SeesTheOriginOnAverage(Broken):
    def __init__(self):
        super().__init__(invariant=RelativePose())

    def forward(self, features, points, mask=None, **options):
        output = super().forward(features, points, mask, **options)
        return output + 0.01 * points[:, 0, :1]


class CountsPlaces(Broken):
    def forward(self, features, points, mask=None, **options):
        return super().forward(features, points, mask, **options) + features[:, :1, 0]


class SeesPadding(Broken):
    def forward(self, features, points, mask=None, **options):
        return super().forward(features, points, None, **options)


class SeesItsNeighborsInTheBatch(Broken):
    def forward(self, features, points, mask=None, **options):
        output = super().forward(features, points, mask, **options)
        return output - output.mean(0)


class IsRandom(Broken):
    def forward(self, features, points, mask=None, **options):
        output = super().forward(features, points, mask, **options)
        return output + 1e-12 * torch.randn_like(output)


class DividesByDistance(Broken):
    def forward(self, features, points, mask=None, **options):
        output = super().forward(features, points, mask, **options)
        return output + 1 / (points[:, :1] - points[:, -1:]).norm(dim=-1)


class Detaches(Broken):
    def forward(self, features, points, mask=None, **options):
        return super().forward(features, points.detach(), mask, **options)


class HasNoSecondDerivative(Broken):
    class Cube(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx, gradient):
            (x,) = ctx.saved_tensors
            return gradient * 3 * x.detach() ** 2

    def forward(self, features, points, mask=None, **options):
        return super().forward(features, points, mask, **options) + self.Cube.apply(
            features.sum((1, 2))[:, None]
        )


class DependsOnTheBackend(Broken):
    def forward(self, features, points, mask=None, **options):
        output = super().forward(features, points, mask, **options)
        return output * (1 + 1e-6 * (self.blocks[0].attention.backend == "streaming"))


class IsAlwaysFloat(Broken):
    def forward(self, features, points, mask=None, **options):
        return super().forward(features, points, mask, **options).float()


class BranchesOnData(Broken):
    def forward(self, features, points, mask=None, **options):
        output = super().forward(features, points, mask, **options)
        return output if output.sum().item() > 0 else 2 * output


class ForgetsAParameter(Broken):
    def state_dict(self, *args, **settings):
        state = super().state_dict(*args, **settings)
        return {name: x for name, x in state.items() if name != "embedding.bias"}

    def load_state_dict(self, state_dict, strict=True, assign=False):
        return super().load_state_dict(state_dict, strict=False, assign=assign)


class CannotBePickled(Broken):
    def __init__(self):
        super().__init__()
        self.function = lambda x: x


class ForgetsEdges(Broken):
    def forward(self, features, points, mask=None, *, edges=None, generator=None):
        return super().forward(features, points, mask, generator=generator)


class SwapsTheEndsOfEdges(Broken):
    def __init__(self):
        super().__init__(neighborhood=Nearest(2))

    def forward(self, features, points, mask=None, *, edges=None, generator=None):
        edges = None if edges is None else edges.flip(0)
        return super().forward(features, points, mask, edges=edges, generator=generator)


class DrawsFromElsewhere(Broken):
    def forward(self, features, points, mask=None, *, edges=None, generator=None):
        output = super().forward(features, points, mask, edges=edges, generator=generator)
        return output if generator is None else output + torch.randn_like(output)


class Steerable(SteerableTransformer):
    def __init__(self, group=E(3), pooling="none"):  # noqa: B008
        super().__init__(
            "2x0e + 1x1o",
            "1x0e + 1x1o",
            group=group,
            types=[0, 1],
            channels=4,
            layers=2,
            heads=2,
            norm=True,
            neighborhood=AllPairs(loops=False),
            pooling=pooling,
        )


class TurnsVectorsBack(Steerable):
    def move(self, g, output):
        scalars, vectors = output.split([1, 3], -1)
        return torch.cat((scalars, vectors @ g[:3, :3]), -1)


class TakesVectorsForScalars(Steerable):
    def move_features(self, g, features):
        return features


class TakesVectorsForPseudovectors(Steerable):
    def move(self, g, output):
        return super().move(g.det() * g, output)


class CentersVectorsByComponent(Steerable):
    def forward(self, features, points, mask=None, **options):
        output = super().forward(features, points, mask, **options)
        scalars, vectors = output.split([1, 3], -1)
        return torch.cat((scalars, vectors - vectors.mean(-1, keepdim=True)), -1)


class CentersOnPadding(Steerable):
    def forward(self, features, points, mask=None, **options):
        output = super().forward(features, points, mask, **options)
        output = output - output.mean(1, keepdim=True)
        return output if mask is None else output.masked_fill(~mask[..., None], 0)


class IgnoresEdgesOfSteerable(Steerable):
    def forward(self, features, points, mask=None, *, edges=None, generator=None):
        return super().forward(features, points, mask, generator=generator)


class SeesTheFirstCoordinate(ChannelwiseTransformer):
    def __init__(self):
        super().__init__(2, 1, Distance(), max_degree=1, channels=4, layers=2, heads=2)

    def forward(self, features, points, mask=None, **options):
        along = torch.diff(points[..., :1], dim=1, append=points[:, :1, :1])
        return super().forward(features + 0.01 * along, points, mask, **options)


BROKEN = [
    ("equivariance_is_of_the_stated_kind", SeesTheOrigin),
    ("equivariance_is_of_the_stated_kind", SeesTheOriginOnAverage),
    ("order_of_points_does_not_matter", CountsPlaces),
    ("padding_changes_nothing", SeesPadding),
    ("batching_changes_nothing", SeesItsNeighborsInTheBatch),
    ("evaluation_repeats_itself", IsRandom),
    ("equivariance_is_of_the_stated_kind", TurnsVectorsBack),
    ("equivariance_is_of_the_stated_kind", TakesVectorsForScalars),
    ("equivariance_is_of_the_stated_kind", TakesVectorsForPseudovectors),
    ("equivariance_is_of_the_stated_kind", CentersVectorsByComponent),
    ("equivariance_is_of_the_stated_kind", SeesTheFirstCoordinate),
    ("padding_changes_nothing", CentersOnPadding),
    ("batching_changes_nothing", CentersOnPadding),
    ("edges_take_the_place_of_the_rule", ForgetsEdges),
    ("edges_take_the_place_of_the_rule", SwapsTheEndsOfEdges),
    ("edges_take_the_place_of_the_rule", IgnoresEdgesOfSteerable),
    ("the_generator_decides_what_is_drawn", DrawsFromElsewhere),
    ("few_points_are_enough", DividesByDistance),
    ("derivatives_are_right", HasNoSecondDerivative),
    ("backends_agree", DependsOnTheBackend),
    ("dtype_is_kept", IsAlwaysFloat),
    ("it_compiles", BranchesOnData),
    ("it_exports", BranchesOnData),
    ("copies_are_equal", ForgetsAParameter),
    ("copies_are_equal", CannotBePickled),
]


@pytest.mark.parametrize(("name", "broken"), BROKEN)
def test_the_law_rejects_it(name, broken):
    torch.manual_seed(0)
    with pytest.raises(Exception) as caught:
        LAWS[name](broken().double().eval(), 0)
    assert not isinstance(caught.value, law_module.NotApplicable)
    if isinstance(caught.value, LawViolation):
        assert caught.value.law == name


def test_every_law_has_a_broken_network():
    assert {name for name, _ in BROKEN} == set(LAWS)


def test_a_law_passes_what_is_right():
    results = check_network(lambda: Broken(T3(), head=PointHead))
    untraced = {"it_compiles", "it_exports"}  # By an older torch.
    assert [r.name for r in results if r.passed is False] == []
    assert {r.name for r in results if r.passed is None} <= untraced


def test_a_law_passes_what_is_right_and_steerable():
    results = check_network(Steerable, skip={"it_compiles": "slow", "it_exports": "slow"})
    assert [r.name for r in results if r.passed is False] == []


def test_results_name_the_law_and_the_finding():
    found = {r.name: r for r in check_network(CountsPlaces)}
    assert found["order_of_points_does_not_matter"].passed is False
    assert "the permuted clouds: off by" in found["order_of_points_does_not_matter"].message
    assert found["evaluation_repeats_itself"].passed is True


def test_skipping_needs_a_known_law_and_a_reason():
    with pytest.raises(ValueError, match="no law 'it_flies'"):
        network_suite(Broken, skip={"it_flies": "why not"})
    with pytest.raises(ValueError, match="needs a reason"):
        network_suite(Broken, skip={"it_compiles": " "})
    (result,) = [
        r for r in check_network(Broken, skip={"it_compiles": "slow"}) if r.name == "it_compiles"
    ]
    assert (result.passed, result.message) == (None, "slow")
