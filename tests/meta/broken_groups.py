"""Groups that each break a law, with the name of the law that must reject them."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from liegroups import SE2, SE3, SL2, SO2, SO3, CyclicGroup, LieGroup, Trivial
from liegroups.so2 import planar_rotation
from liegroups.so3 import quaternion_to_matrix, skew_part


@dataclass(frozen=True)
class LabelMissing(SO3):
    @property
    def basis_labels(self):
        return ("rx", "ry")


@dataclass(frozen=True)
class BasisTwice(SO3):
    def algebra_basis(self):
        return super().algebra_basis()[[0, 0, 2]]


@dataclass(frozen=True)
class BasisNotClosed(SO3):
    dim = 2
    basis_labels = ("rx", "ry")

    def algebra_basis(self):
        return super().algebra_basis()[:2]


@dataclass(frozen=True)
class TransposedHat(SO3):
    def hat(self, a):
        return super().hat(a).mT


@dataclass(frozen=True)
class DoubledVee(SO3):
    def vee(self, x):
        return skew_part(x)


@dataclass(frozen=True)
class VeeOfOneTriangle(SO3):
    def vee(self, x):
        self.check_element(x)
        return torch.stack((x[..., 2, 1], x[..., 0, 2], x[..., 1, 0]), -1)


@dataclass(frozen=True)
class BracketReversed(SO3):
    def bracket(self, a, b):
        return super().bracket(b, a)


@dataclass(frozen=True)
class BracketNotAntisymmetric(SO3):
    def bracket(self, a, b):
        return super().bracket(a, b) + a * b


@dataclass(frozen=True)
class BracketWithoutJacobi(SO3):
    def bracket(self, a, b):
        return super().bracket(a, b) + a[..., :1] * b - b[..., :1] * a


@dataclass(frozen=True)
class ExpShifted(SO3):
    def exp(self, a):
        return super().exp(a + 1e-3)


@dataclass(frozen=True)
class ExpOfFirstOrder(SO3):
    def exp(self, a):
        return self.identity(a) + self.hat(a)


@dataclass(frozen=True)
class ExpDoubled(SO3):
    def exp(self, a):
        return super().exp(2 * a)


@dataclass(frozen=True)
class Cayley(SO3):
    """A good map into the group that is not the exponential."""

    def exp(self, a):
        x, e = self.hat(a) / 2, self.identity(a)
        return torch.linalg.solve(e - x, e + x)


@dataclass(frozen=True)
class ExpOfMagnitudes(SO3):
    def exp(self, a):
        return super().exp(a.abs())


@dataclass(frozen=True)
class ExpWithoutCoupling(SE3):
    """The translation is left as it is, without the matrix V."""

    def exp(self, a):
        return self.join(self.linear.exp(a[..., 3:]), a[..., :3])


@dataclass(frozen=True)
class LogOffByFullTurn(SO2):
    def log(self, g):
        return super().log(g) % (2 * torch.pi)


@dataclass(frozen=True)
class LogByArcCosine(SO3):
    """The textbook formula: half the digits are lost near 0 and π, NaN at both."""

    def log(self, g):
        self.check_element(g)
        angle = torch.acos((g.diagonal(dim1=-2, dim2=-1).sum(-1) - 1) / 2)
        return (angle / (2 * angle.sin()))[..., None] * skew_part(g)


@dataclass(frozen=True)
class LogInExpOutOfStep(SE2):
    """V where V⁻¹ belongs."""

    def log(self, g):
        a, b = self.split(g)
        tangent = self.linear.log(a)
        return torch.cat(((self._integrated_exp(tangent) @ b[..., None])[..., 0], tangent), -1)


@dataclass(frozen=True)
class LogTransposed(SO3):
    def log(self, g):
        return super().log(g.mT)


@dataclass(frozen=True)
class ComposeWithTranspose(SO3):
    def compose(self, g, h):
        return g @ h.mT


@dataclass(frozen=True)
class SemidirectReversed(SE2):
    def compose(self, g, h):
        self.check_element(g)
        return h @ g


@dataclass(frozen=True)
class Direct(SE2):
    """Translations added without the rotation: the direct product, not the semidirect one."""

    def compose(self, g, h):
        (a, b), (c, d) = self.split(g), self.split(h)
        return self.join(a @ c, b + d)


@dataclass(frozen=True)
class IdentityFlipped(SO3):
    def identity(self, like=None):
        return super().identity(like).flip(0)


@dataclass(frozen=True)
class InverseTransposed(SE3):
    def inverse(self, g):
        self.check_element(g)
        return g.mT


@dataclass(frozen=True)
class InverseForgetsRotation(SE3):
    def inverse(self, g):
        a, b = self.split(g)
        return self.join(a.mT, -b)


@dataclass(frozen=True)
class RelativeReversed(SO3):
    def relative(self, g, h):
        return super().relative(h, g)


@dataclass(frozen=True)
class RelativeFromTheRight(SO3):
    def relative(self, g, h):
        return self.compose(h, self.inverse(g))


@dataclass(frozen=True)
class RelativeLogReversed(SE3):
    def relative_log(self, g, h):
        return super().relative_log(h, g)


@dataclass(frozen=True)
class AdjointTransposed(SO3):
    def adjoint(self, g):
        return super().adjoint(g).mT


@dataclass(frozen=True)
class AdjointWithoutCoupling(SE3):
    def adjoint(self, g):
        a, _ = self.split(g)
        zero = torch.zeros_like(a)
        return torch.cat((torch.cat((a, zero), -1), torch.cat((zero, a), -1)), -2)


@dataclass(frozen=True)
class ContainsNothingRounded(SO3):
    def contains(self, g, tolerance=None):
        return super().contains(g, 0.0)


@dataclass(frozen=True)
class ContainsEverything(SO3):
    def contains(self, g, tolerance=None):
        self.check_element(g)
        return torch.ones(g.shape[:-2], dtype=torch.bool)


@dataclass(frozen=True)
class ContainsReflections(SO3):
    """Orthogonality alone is checked, and NaN slips through."""

    def contains(self, g, tolerance=None):
        gap = (g.mT @ g - self.identity(g)).abs().amax((-1, -2))
        return ~(gap > 1e-3)


@dataclass(frozen=True)
class ProjectToIdentity(SO3):
    def project(self, x):
        self.check_element(x)
        return self.identity(x).expand(x.shape)


@dataclass(frozen=True)
class ProjectNothing(SO3):
    def project(self, x):
        return x

    def contains(self, g, tolerance=None):
        return SO3().contains(g, tolerance)


@dataclass(frozen=True)
class ProjectHalfway(SO3):
    def project(self, x):
        return (x + super().project(x)) / 2


@dataclass(frozen=True)
class ClaimsAbelian(SO3):
    is_abelian = True


@dataclass(frozen=True)
class DeniesAbelian(SO2):
    is_abelian = False


@dataclass(frozen=True)
class ClaimsOrthogonal(SE3):
    is_orthogonal = True


@dataclass(frozen=True)
class ClaimsCompact(SE2):
    is_compact = True


@dataclass(frozen=True)
class DeniesCompact(SO3):
    is_compact = False


@dataclass(frozen=True)
class ClaimsTrivial(CyclicGroup):
    is_trivial = True


@dataclass(frozen=True)
class DeniesTrivial(Trivial):
    is_trivial = False


@dataclass(frozen=True)
class SampleOffTheGroup(SO3):
    def sample(self, shape=(), *, generator=None, dtype=None, device=None):
        return torch.randn((*shape, 3, 3), generator=generator, dtype=dtype, device=device)


@dataclass(frozen=True)
class SampleOneDtype(SO3):
    def sample(self, shape=(), *, generator=None, dtype=None, device=None):
        return super().sample(shape, generator=generator, dtype=torch.float64)


@dataclass(frozen=True)
class SampleIgnoresGenerator(SO3):
    def sample(self, shape=(), *, generator=None, dtype=None, device=None):
        return super().sample(shape, dtype=dtype, device=device)


@dataclass(frozen=True)
class SampleIgnoresSeed(SO3):
    def sample(self, shape=(), *, generator=None, dtype=None, device=None):
        return super().sample(shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


@dataclass(frozen=True)
class SampleConstant(SE2):
    def sample(self, shape=(), *, generator=None, dtype=None, device=None):
        return torch.eye(3, dtype=dtype, device=device).expand(*shape, 3, 3)


@dataclass(frozen=True)
class AngleUniform(SO3):
    """Random axis, uniform angle: looks uniform, is not Haar."""

    def sample(self, shape=(), *, generator=None, dtype=None, device=None):
        axis = torch.randn((*shape, 3), generator=generator, dtype=dtype)
        angle = torch.pi * torch.rand((*shape, 1), generator=generator, dtype=dtype)
        return self.exp(angle * axis / axis.norm(dim=-1, keepdim=True))


@dataclass(frozen=True)
class QuaternionFromCube(SO3):
    """Quaternions from the cube, normalized: only the corners are too likely."""

    def sample(self, shape=(), *, generator=None, dtype=None, device=None):
        q = 2 * torch.rand((*shape, 4), generator=generator, dtype=dtype) - 1
        return quaternion_to_matrix(q / q.norm(dim=-1, keepdim=True))


@dataclass(frozen=True)
class AngleOfWrongLaw(SO2):
    """Mean cosine -0.5, the law by which public code draws the stabilizer of SO(3)."""

    def sample(self, shape=(), *, generator=None, dtype=None, device=None):
        u = torch.rand(tuple(shape), generator=generator, dtype=dtype)
        v = torch.rand(tuple(shape), generator=generator, dtype=dtype)
        # density (1 - cos θ)/2π, the angle of a Haar rotation of space
        angle = 2 * torch.pi * u
        return planar_rotation(torch.where(v < (1 - angle.cos()) / 2, angle, angle + torch.pi))


@dataclass(frozen=True)
class LogDetached(SO3):
    """The factor of the logarithm is held constant in the gradient."""

    def log(self, g):
        value = super().log(g)
        skew = skew_part(g)
        factor = (value.norm(dim=-1) / skew.norm(dim=-1)).nan_to_num(nan=0.5, posinf=0.5)
        return value.detach() + factor.detach()[..., None] * (skew - skew.detach())


@dataclass(frozen=True)
class ExpDetached(SE3):
    def exp(self, a):
        value = super().exp(a)
        return value.detach() + 0.5 * (value - value.detach())


@dataclass(frozen=True)
class RelativeLogDetached(SE3):
    def relative_log(self, g, h):
        return super().relative_log(g.detach(), h)


@dataclass(frozen=True)
class ExpOneWhere(SO3):
    """A single where around a singular formula: NaN gradient at the identity."""

    def exp(self, a):
        self.check_tangent(a)
        angle = a.norm(dim=-1)[..., None, None]
        x = self.hat(a)
        turned = angle.sin() / angle * x + (1 - angle.cos()) / angle**2 * (x @ x)
        return self.identity(a) + torch.where(angle > 0, turned, 0)


@dataclass(frozen=True)
class ExpInFloat32(SO3):
    def exp(self, a):
        return super().exp(a.float())


@dataclass(frozen=True)
class LogSqueezed(SE3):
    def log(self, g):
        return super().log(g).squeeze()


@dataclass(frozen=True)
class InverseInPlace(SE3):
    def inverse(self, g):
        a, b = self.split(g)
        return self.join(a.mT, -(a.mT @ b[..., None])[..., 0], out=g)

    def join(self, a, b, out=None):
        joined = super().join(a, b)
        return joined if out is None else out.copy_(joined)


@dataclass(frozen=True)
class ExpBranches(SO3):
    """A decision in Python on a value: no graph, no vmap."""

    def exp(self, a):
        self.check_tangent(a)
        if (a * a).sum().item() < 1e-12:
            return self.identity(a) + self.hat(a)
        return super().exp(a)


class NotFrozen(SO3):
    __setattr__ = object.__setattr__


@dataclass(frozen=True)
class StoresTensor(SO3):
    basis: Tensor = field(default_factory=lambda: torch.eye(3), compare=False)


@dataclass(frozen=True)
class ExpUnchecked(SO3):
    def exp(self, a):
        return torch.linalg.matrix_exp(self.hat(a[..., :3]))


@dataclass(frozen=True)
class ExpCheckedByTorch(SO3):
    def hat(self, a):
        return torch.einsum("...d,dij->...ij", a, self.algebra_basis().to(a))


@dataclass(frozen=True)
class RangeOfExpForgotten(SL2):
    """log is NaN where there is none, and nothing tells so beforehand."""

    def in_range_of_exp(self, g):
        return LieGroup.in_range_of_exp(self, g)


@dataclass(frozen=True)
class RangeOfExpTooSmall(SO3):
    def in_range_of_exp(self, g):
        return g.diagonal(dim1=-2, dim2=-1).sum(-1) > 0


BROKEN_GROUPS = [
    (LabelMissing(), "dimensions_are_as_declared"),
    (BasisTwice(), "basis_is_independent"),
    (BasisNotClosed(), "basis_is_closed_under_bracket"),
    (TransposedHat(), "hat_agrees_with_its_default"),
    (TransposedHat(), "hat_and_vee_are_inverse"),
    (DoubledVee(), "hat_and_vee_are_inverse"),
    (DoubledVee(), "vee_agrees_with_its_default"),
    (VeeOfOneTriangle(), "vee_agrees_with_its_default"),
    (BracketReversed(), "bracket_is_the_commutator"),
    (BracketNotAntisymmetric(), "bracket_is_antisymmetric"),
    (BracketWithoutJacobi(), "bracket_satisfies_jacobi"),
    (ExpShifted(), "exp_of_zero_is_the_identity"),
    (ExpOfFirstOrder(), "exp_lands_in_the_group"),
    (ExpDoubled(), "exp_agrees_with_its_default"),
    (ExpWithoutCoupling(), "exp_agrees_with_its_default"),
    (Cayley(), "exp_is_a_one_parameter_subgroup"),
    (ExpWithoutCoupling(), "exp_is_a_one_parameter_subgroup"),
    (ExpOfMagnitudes(), "exp_of_minus_is_the_inverse"),
    (LogOffByFullTurn(), "log_inverts_exp"),
    (LogByArcCosine(), "log_inverts_exp"),
    (LogInExpOutOfStep(), "log_inverts_exp"),
    (LogByArcCosine(), "exp_inverts_log"),
    (LogTransposed(), "exp_inverts_log"),
    (LogInExpOutOfStep(), "log_is_right_where_defined"),
    (LogTransposed(), "log_is_right_where_defined"),
    (RangeOfExpForgotten(), "log_is_defined_on_the_range_of_exp"),
    (RangeOfExpTooSmall(), "log_is_defined_on_the_range_of_exp"),
    (ComposeWithTranspose(), "composition_is_associative"),
    (SemidirectReversed(), "composition_is_the_matrix_product"),
    (Direct(), "composition_is_the_matrix_product"),
    (IdentityFlipped(), "identity_is_neutral"),
    (InverseTransposed(), "inverse_is_the_inverse"),
    (InverseForgetsRotation(), "inverse_is_the_inverse"),
    (RelativeReversed(), "relative_is_the_pose"),
    (RelativeFromTheRight(), "relative_is_the_pose"),
    (RelativeFromTheRight(), "relative_is_left_invariant"),
    (RelativeLogReversed(), "relative_log_is_the_log_of_relative"),
    (AdjointTransposed(), "adjoint_is_conjugation"),
    (AdjointTransposed(), "adjoint_agrees_with_its_default"),
    (AdjointWithoutCoupling(), "adjoint_agrees_with_its_default"),
    (AdjointTransposed(), "adjoint_is_a_homomorphism"),
    (AdjointTransposed(), "adjoint_is_generated_by_the_bracket"),
    (AdjointWithoutCoupling(), "adjoint_is_generated_by_the_bracket"),
    (ContainsNothingRounded(), "contains_accepts_members"),
    (ContainsEverything(), "contains_rejects_outsiders"),
    (ContainsReflections(), "contains_rejects_outsiders"),
    (ProjectToIdentity(), "project_is_the_identity_on_the_group"),
    (ProjectNothing(), "project_is_idempotent"),
    (ProjectHalfway(), "project_is_idempotent"),
    (ClaimsAbelian(), "is_abelian_is_right"),
    (DeniesAbelian(), "is_abelian_is_right"),
    (ClaimsOrthogonal(), "is_orthogonal_is_right"),
    (ClaimsCompact(), "is_compact_is_right"),
    (DeniesCompact(), "is_compact_is_right"),
    (ClaimsTrivial(3), "is_trivial_is_right"),
    (DeniesTrivial(2), "is_trivial_is_right"),
    (SampleOffTheGroup(), "samples_lie_in_the_group"),
    (SampleOneDtype(), "samples_lie_in_the_group"),
    (SampleIgnoresGenerator(), "samples_follow_the_generator"),
    (SampleIgnoresSeed(), "samples_follow_the_generator"),
    (SampleConstant(), "samples_vary"),
    (AngleUniform(), "samples_follow_haar_measure"),
    (QuaternionFromCube(), "samples_follow_haar_measure"),
    (AngleOfWrongLaw(), "samples_follow_haar_measure"),
    (LogDetached(), "derivatives_of_log_of_exp_are_trivial"),
    (ExpDetached(), "derivatives_of_exp_match_finite_differences"),
    (LogDetached(), "derivatives_of_log_match_finite_differences"),
    (RelativeLogDetached(), "derivatives_of_relative_log_match_finite_differences"),
    (ExpOneWhere(), "derivatives_are_finite"),
    (LogByArcCosine(), "derivatives_are_finite"),
    (ExpInFloat32(), "operations_keep_dtype"),
    (LogSqueezed(), "operations_broadcast"),
    (InverseInPlace(), "operations_leave_their_inputs_alone"),
    (ExpBranches(), "operations_compile"),
    (ExpBranches(), "operations_vectorize"),
    (NotFrozen(), "group_is_a_value"),
    (StoresTensor(), "group_is_a_value"),
    (ExpUnchecked(), "wrong_shapes_are_refused"),
    (ExpCheckedByTorch(), "wrong_shapes_are_refused"),
]
