"""Spaces and invariants that each break a law, with the name of the law that must reject them."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from liegroups import (
    SE2,
    SE3,
    SO3,
    ConcentricSpheres,
    Distance,
    EuclideanSpace,
    RelativePose,
    Sees,
    Sphere,
    Trivial,
)
from tests.meta.broken_groups import AngleOfWrongLaw, SampleIgnoresGenerator


@dataclass(frozen=True)
class RightAction(ConcentricSpheres):
    def act(self, g, x):
        return super().act(g.mT, x)


@dataclass(frozen=True)
class SectionInverted(ConcentricSpheres):
    def section(self, x):
        return super().section(x).mT


@dataclass(frozen=True)
class EmbeddedInTheWrongAxes(ConcentricSpheres):
    def embed(self, h):
        return super().embed(h).flip(-1, -2)


@dataclass(frozen=True)
class EmbedSquared(ConcentricSpheres):
    def embed(self, h):
        return super().embed(h @ h.mT)


@dataclass(frozen=True)
class EmbedReversed(EuclideanSpace):
    def embed(self, h):
        return super().embed(h.mT)


@dataclass(frozen=True)
class StabilizerForgotten(EuclideanSpace):
    """SE(n) on Rⁿ as if translations were all: the lift claims to be exact."""

    @property
    def stabilizer(self):
        return Trivial(self.group.space_dim)


@dataclass(frozen=True)
class OriginForgotten(ConcentricSpheres):
    has_singular_orbits = False

    def is_singular(self, x):
        return torch.zeros(x.shape[:-1], dtype=torch.bool)

    def section(self, x):
        return ConcentricSpheres(self.group).section(x)


@dataclass(frozen=True)
class OriginUndeclared(ConcentricSpheres):
    has_singular_orbits = False


@dataclass(frozen=True)
class LabelOfCoordinate(ConcentricSpheres):
    def orbit_label(self, x):
        return x[..., :1]


@dataclass(frozen=True)
class LabelConstant(ConcentricSpheres):
    def orbit_label(self, x):
        return torch.zeros_like(x[..., :1])

    def representative(self, x):
        return ConcentricSpheres(self.group).representative(x)


@dataclass(frozen=True)
class DeniesIsometric(EuclideanSpace):
    is_isometric = False


@dataclass(frozen=True)
class ClaimsConstantCocycle(ConcentricSpheres):
    section_cocycle_is_constant = True


@dataclass(frozen=True)
class CocycleInverted(EuclideanSpace):
    def cocycle(self, g, x):
        return super().cocycle(self.group.inverse(g), x)


@dataclass(frozen=True)
class NearestPointOffTheSide(Sphere):
    def nearest_point(self, x):
        return super().nearest_point(x + 0.1)


@dataclass(frozen=True)
class TurnTransposed(ConcentricSpheres):
    def embed_linear(self, a):
        return a.mT


@dataclass(frozen=True)
class VectorsNotCentered(EuclideanSpace):
    def vectors(self, x, mask=None):
        return x[..., None, :]


@dataclass(frozen=True)
class VectorsSeePadding(EuclideanSpace):
    def vectors(self, x, mask=None):
        return super().vectors(x)


@dataclass(frozen=True)
class VectorsOfOneAxis(ConcentricSpheres):
    """Vectors that do not turn with the cloud."""

    def vectors(self, x, mask=None):
        return x.norm(dim=-1)[..., None, None] * torch.eye(x.shape[-1]).to(x)[:1]


@dataclass(frozen=True)
class ActOnRows(ConcentricSpheres):
    """Written for one batch axis, transposes what it should not."""

    def act(self, g, x):
        return (g @ x.T).T if g.ndim == 2 and x.ndim == 2 else super().act(g, x).squeeze()


@dataclass(frozen=True)
class LabelByRoot(ConcentricSpheres):
    """NaN gradient at the origin."""

    def orbit_label(self, x):
        return (x * x).sum(-1, keepdim=True).sqrt()


@dataclass(frozen=True)
class SpaceNotHashable(ConcentricSpheres):
    __hash__ = None


@dataclass(frozen=True)
class ActUnchecked(ConcentricSpheres):
    def act(self, g, x):
        return (g @ x[..., None])[..., 0]


@dataclass(frozen=True)
class WrongStabilizerLaw(ConcentricSpheres):
    """The stabilizer angle with mean cosine -0.5, as public code draws it."""

    @property
    def stabilizer(self):
        return AngleOfWrongLaw()


@dataclass(frozen=True)
class _SE3WithoutGenerator(SE3):
    @property
    def linear(self):
        return SampleIgnoresGenerator()


_SO3_SPACE = ConcentricSpheres(SO3())
_SE3_SPACE = EuclideanSpace(SE3())

BROKEN_SPACES = [
    (RightAction(SO3()), "action_is_a_left_action"),
    (SectionInverted(SO3()), "section_moves_the_representative"),
    (EmbeddedInTheWrongAxes(SO3()), "stabilizer_fixes_the_representative"),
    (EmbedSquared(SO3()), "embed_is_a_homomorphism"),
    (EmbedReversed(SE3()), "embed_is_a_homomorphism"),
    (StabilizerForgotten(SE3()), "stabilizer_is_all_of_it"),
    (OriginForgotten(SO3()), "stabilizer_is_all_of_it"),
    (OriginUndeclared(SO3()), "stabilizer_is_all_of_it"),
    (LabelOfCoordinate(SO3()), "orbit_label_is_invariant"),
    (LabelConstant(SO3()), "orbit_label_separates_orbits"),
    (DeniesIsometric(SE3()), "is_isometric_is_right"),
    (ClaimsConstantCocycle(SO3()), "constant_cocycle_is_constant"),
    (CocycleInverted(SE3()), "cocycle_agrees_with_its_default"),
    (NearestPointOffTheSide(SO3()), "nearest_point_is_the_identity_on_points"),
    (TurnTransposed(SO3()), "vectors_turn_with_the_cloud"),
    (VectorsNotCentered(SE3()), "vectors_turn_with_the_cloud"),
    (VectorsSeePadding(SE2()), "vectors_turn_with_the_cloud"),
    (VectorsOfOneAxis(SO3()), "vectors_turn_with_the_cloud"),
    (ActOnRows(SO3()), "space_operations_broadcast"),
    (LabelByRoot(SO3()), "space_derivatives_are_finite"),
    (SpaceNotHashable(SO3()), "space_is_a_value"),
    (ActUnchecked(SO3()), "wrong_points_are_refused"),
    (SectionInverted(SO3()), "lift_lies_over_the_points"),
    (StabilizerForgotten(SE2()), "section_lift_is_exact_without_a_stabilizer"),
    (WrongStabilizerLaw(SO3()), "haar_lift_is_equivariant_in_distribution"),
    (ClaimsConstantCocycle(SO3()), "haar_lift_is_equivariant_in_distribution"),
    (OriginUndeclared(SO3()), "haar_lift_is_equivariant_in_distribution"),
    (VectorsNotCentered(SE3()), "frames_are_exact"),
    (VectorsOfOneAxis(SO3()), "frames_are_exact"),
    (CocycleInverted(SE3()), "frames_are_exact"),
    (EuclideanSpace(_SE3WithoutGenerator()), "fixed_lift_depends_on_the_place_alone"),
]


@dataclass(frozen=True)
class Displacement(Distance):
    """Invariant under translations alone."""

    def dim(self, space):
        return space.point_dim

    def __call__(self, space, target, source):
        return target.point - source.point


@dataclass(frozen=True)
class DimWrong(Distance):
    def dim(self, space):
        return 2


@dataclass(frozen=True)
class DistanceByTheMean(Distance):
    """In units of the cloud's own size: not a function of the pair."""

    def __call__(self, space, target, source):
        value = super().__call__(space, target, source)
        return value / value.mean().clamp(min=1e-3)


@dataclass(frozen=True)
class DistanceByRoot(Distance):
    def __call__(self, space, target, source):
        difference = target.point - source.point
        return (difference * difference).sum(-1, keepdim=True).sqrt()


@dataclass(frozen=True)
class DistanceDetached(Distance):
    def __call__(self, space, target, source):
        value = super().__call__(space, target, source)
        return value.detach() + (value - value.detach()) / 2


@dataclass(frozen=True)
class MaskOfOneHead(Distance):
    def head_mask(self, space, heads):
        return torch.arange(heads)[:, None] == 0


@dataclass(frozen=True)
class ClaimsToSeeTheLift(Distance):
    sees = Sees.ELEMENTS


@dataclass(frozen=True)
class DeniesToSeeTheLift(RelativePose):
    sees = Sees.POINTS


@dataclass(frozen=True)
class DistanceAnywhere(Distance):
    """Refuses no space."""

    def dim(self, space):
        return 1


@dataclass(frozen=True)
class InvariantWithTensor(Distance):
    scale: Tensor = field(default_factory=lambda: torch.ones(1), compare=False)


@dataclass(frozen=True)
class DistanceBranches(Distance):
    def __call__(self, space, target, source):
        value = super().__call__(space, target, source)
        return value if value.amax().item() > 0 else value * 1


BROKEN_INVARIANTS = [
    (Displacement(), _SE3_SPACE, "invariant_is_invariant"),
    (DimWrong(), _SE3_SPACE, "invariant_has_its_dimension"),
    (DistanceByTheMean(), _SE3_SPACE, "invariant_is_of_pairs"),
    (DistanceByRoot(), _SO3_SPACE, "invariant_derivatives_are_finite"),
    (DistanceDetached(), _SE3_SPACE, "invariant_derivatives_match_finite_differences"),
    (MaskOfOneHead(), _SE3_SPACE, "head_mask_is_right"),
    (ClaimsToSeeTheLift(), _SE3_SPACE, "sees_lift_is_right"),
    (DeniesToSeeTheLift(), _SO3_SPACE, "sees_lift_is_right"),
    (DistanceAnywhere(), _SE3_SPACE, "unsuitable_spaces_are_refused"),
    (InvariantWithTensor(), _SE3_SPACE, "invariant_is_a_value"),
    (DistanceBranches(), _SE3_SPACE, "invariant_compiles"),
]
