"""Frames: one lift of each point, computed from the cloud so that it moves with the cloud."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from liegroups.checks import check_length
from liegroups.compiling import constant_when_compiled
from liegroups.equivariance import Equivariance
from liegroups.samplers.base import Sampler, has_one_lift
from liegroups.samplers.grids import carried
from liegroups.samplers.moments import Vectors, cloud_axes, local_axes
from liegroups.spaces import HomogeneousSpace


@dataclass(frozen=True)
class Frames(Sampler):
    r"""The section, carried along by a frame of the cloud: exact equivariance with one lift.

    A frame F(X) is an element of SO(n) or O(n), times a length under similarities, computed from
    the cloud X so that F(gX) = gF(X). Over x lies F s(F⁻¹x); that of gx is g times it.

    The axes of F come one after the other from vectors that turn with the cloud, orthogonalized:
    first the moment Σ |y|² y of the vectors y from the mean to the points (from the origin,
    where that is fixed), then, with the second moment C = Σ y yᵀ, the vectors C a of the axes a
    before. The last axis of SO(n) follows from the others. Where symmetry makes a moment vanish,
    or puts it in the span of the axes before, the axis points to a point of the cloud: the one
    with the largest value of a fixed invariant function, or the first of several with the same
    value. Where no point is off the span of the axes before, the axis is arbitrary.

    What holds, to rounding, or to a few √ε for a cloud within √ε of a degenerate one:

    * *Every cloud, symmetric and degenerate ones included*: lift(gX) = g k lift(X), with a k that
      fixes every point of X, so invariants of pairs of lifted points, and networks that see
      nothing else, are **exact**. k is the identity unless the points leave a rotation free:
      one point, coincident or collinear ones in space, or planar ones with reflections.
    * *Order of the points*: it makes no difference unless the axis comes from a point, and then
      only if points of equal value differ in their features. That is so if the positions are
      symmetric and the features break their symmetry: a frame of the positions alone cannot
      then respect both the group and the order, and this one respects the group. Points with
      the same value that no symmetry relates are possible, but not in general position.
    * *Smoothness*: F is smooth in the points as long as the axes come from moments. It jumps
      where an axis changes its source, at a moment of ε^¼ in units of the cloud's size, and so
      do derivatives; they stay finite everywhere. No choice of one frame is continuous on all
      clouds (Dym et al. 2024). On a sphere, or under rotations about the origin, the section
      has its own jump, at the direction -a₁.

    Under rotations a pair of lifted points may be exactly half a turn apart, as in symmetric
    clouds. That is the cut locus of ``RelativePose``, which jumps there; ``RelativeMatrix`` does
    not.

    Eigenvectors of C would need a choice of signs (frame averaging: 2ⁿ⁻¹ lifts) and have
    infinite derivatives at repeated eigenvalues; the moments avoid both.

    Args:
        radius: When given, each point has a frame of its own from the vectors to the other points
            at distance d, weighted by exp(-d²/2·radius²); what it leaves undetermined comes
            from the frame of the cloud. In the unit of the coordinates.

    Raises:
        ValueError: If ``radius`` is not positive; on use, if the space does not turn by all of
            SO(n) or O(n), or if it has no distance and a radius is given.

    Reference:
        Puny et al. 2022, Frame Averaging for Invariant and Equivariant Network Design; Dym et
        al. 2024, Equivariant Frames and the Impossibility of Continuous Canonicalization.

    Example:
        >>> import torch
        >>> from liegroups import SE3, lift
        >>> space, x = SE3().default_space(), torch.randn(5, 3, dtype=torch.float64)
        >>> g = SE3().sample(dtype=torch.float64)
        >>> before, after = (lift(space, y, Frames()).element for y in (x, space.act(g, x)))
        >>> torch.allclose(after, g @ before)
        True
    """

    radius: float | None = None

    def __post_init__(self) -> None:
        if self.radius is not None:
            check_length("Frames.radius", self.radius)

    def equivariance(self, space: HomogeneousSpace) -> Equivariance:
        if not has_one_lift(space):
            self._check(space)
        return Equivariance.EXACT

    def count_on(self, space: HomogeneousSpace) -> int:
        return 1

    def __call__(
        self,
        space: HomogeneousSpace,
        points: Tensor,
        *,
        mask: Tensor | None = None,
        generator: torch.Generator | None = None,
        fixed: bool = False,
    ) -> Tensor:
        if has_one_lift(space) or points.shape[-2] == 0:
            return space.group.identity(points)
        family = self._check(space)
        # Moments of half precision would not leave enough digits for the axes.
        x = points.to(torch.promote_types(points.dtype, torch.float32))
        vectors = Vectors.of(space, x, mask)
        frame = cloud_axes(vectors, family.reflections)[..., None, :, :]
        if self.radius is not None:
            frame = local_axes(vectors, x, self.radius, frame, family.reflections)
        if family.scalings:
            frame = frame * vectors.size[..., None, None]
        return carried(space, space.embed_linear(frame), x)[..., None, :, :].to(points.dtype)

    def _check(self, space: HomogeneousSpace) -> _Family:
        family = _family(space)
        if family is None:
            turns = "nothing" if space.linear is None else space.linear
            raise ValueError(
                f"Frames are rotations or reflections of all of Rⁿ, with or without a length; "
                f"{space} turns by {turns}. Use liegroups.Haar or, for a finite group, "
                "liegroups.FullOrbit."
            )
        if self.radius is not None and not space.is_isometric:
            raise ValueError(
                f"Frames(radius={self.radius}) weights by distance, which is not an invariant "
                f"of {space}; use Frames()."
            )
        return family


class _Family(NamedTuple):
    """The matrices of a group besides the rotations."""

    reflections: bool
    scalings: bool


@constant_when_compiled
def _family(space: HomogeneousSpace) -> _Family | None:
    """The family of ``linear``: SO(n) or O(n), with or without scalings; None if neither."""
    linear = space.linear
    if linear is None:
        return None
    n = linear.matrix_size
    scalings = bool(linear.contains(2 * torch.eye(n, dtype=torch.float64)))
    noise = torch.randn(n, n, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rotation = torch.linalg.qr(noise).Q
    reflection = torch.eye(n, dtype=torch.float64)
    reflection[0, 0] = -1
    if torch.linalg.det(rotation) < 0:
        rotation = rotation @ reflection
    if linear.dim != n * (n - 1) // 2 + scalings or not linear.contains(rotation):
        return None
    return _Family(bool(linear.contains(reflection)), scalings)
