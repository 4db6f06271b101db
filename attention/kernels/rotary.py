"""Rotary content: queries and keys multiplied by a representation of the group."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from attention.geometry import full_precision
from attention.kernels.content import DotProduct, Projections, split_heads
from liegroups import HomogeneousSpace, Lifted, Sees, Translation
from liegroups.affine import AffineGroup
from liegroups.checks import check_length
from liegroups.so2 import planar_rotation


class Rotary(DotProduct):
    """⟨ρ(gᵢ)⁻ᵀ Qfᵢ, ρ(gⱼ) Kfⱼ⟩ / √d = ⟨Qfᵢ, ρ(gᵢ⁻¹gⱼ) Kfⱼ⟩ / √d, ρ a representation of the group.

    The logit sees the pair through gᵢ⁻¹gⱼ alone, as every invariant does, and still is the inner
    product of something of each end: nothing is stored for pairs, and fused or linear attention
    applies. ρ need not be orthogonal, since queries are multiplied by the contragredient.

    Of translations ρ turns the two channels of each plane by the angle ω·t, with a learned
    frequency vector ω for each plane of each head: rotary position embedding, in n dimensions.
    Of every other group ρ is the element's own matrix on as many blocks of channels as fit, with
    coordinates in units of ``length``. The channels that are left over stay as they are.

    Args:
        width: Number of features a point.
        heads: Number of heads; divides ``width``.
        space: The space of the points.
        length: Unit of length, for groups with translations: frequencies start evenly from 0 to
            1 / ``length``, and the translations in matrices are divided by it.

    Raises:
        ValueError: If ``length`` is not positive or the group has no translations, or if a head
            has too few channels.

    Reference:
        Su et al. 2021, RoFormer; Ostmeier et al. 2024, LieRE; Miyato et al. 2024, GTA.
    """

    sees = Sees.ELEMENTS

    def __init__(
        self, width: int, heads: int, space: HomogeneousSpace, length: float = 1.0
    ) -> None:
        super().__init__(width, heads, space)
        group = space.group
        check_length("Rotary.length", length)
        if length != 1 and not isinstance(group, AffineGroup):
            raise ValueError(f"{group} has no translations for Rotary to measure by a length.")
        channels = width // heads
        block = 2 if isinstance(group, Translation) else group.matrix_size
        if channels < block:
            raise ValueError(
                f"Rotary needs at least {block} channels a head for {group}; got {channels}, "
                f"from width {width} and {heads} heads."
            )
        self.group = group
        self.length = length
        self.rotated = channels // block * block
        if isinstance(group, Translation):
            planes = channels // 2
            speed = torch.linspace(0, 1 / length, planes)[:, None]
            direction = normalize(torch.randn(heads, planes, group.space_dim), dim=-1)
            self.frequencies = nn.Parameter(speed * direction)

    def project(self, features: Tensor, lifted: Lifted) -> Projections:
        (query,), (key,) = super().project(features, lifted)
        # As seen from the first element: what is common to all drops out before it can round.
        with full_precision(lifted.point):
            pose = self.group.relative(lifted.element[:, :1], lifted.element)
        if isinstance(self.group, Translation):
            angle = torch.einsum("hpn,bin->hbip", self.frequencies, pose[..., :-1, -1])
            turn = planar_rotation(angle)  # (heads, batch, points, planes, 2, 2)
            return Projections((self._multiplied(turn, query),), (self._multiplied(turn, key),))
        with full_precision(lifted.point):
            contragredient = self.group.inverse(pose).mT
        if isinstance(self.group, AffineGroup):
            pose = _in_units(pose, self.length)
            contragredient = _in_units(contragredient.mT, self.length).mT
        return Projections(
            (self._multiplied(contragredient[..., None, :, :], query),),
            (self._multiplied(pose[..., None, :, :], key),),
        )

    def _multiplied(self, matrices: Tensor, x: Tensor) -> Tensor:
        """Blocks of the channels of x ``(heads, batch, points, channels)``, each by its matrix."""
        blocks = x[..., : self.rotated].unflatten(-1, (-1, matrices.shape[-1]))
        moved = (matrices * blocks[..., None, :]).sum(-1).flatten(-2)
        return torch.cat((moved, x[..., self.rotated :]), -1)


class FrameRotary(DotProduct):
    """Rotary position embedding in the frame of each lift: queries and keys turn by ω·R⁻¹x.

    A pair of lifts with the same R, as two at the same place of the fibres are, sees the relative
    position R⁻¹(xⱼ - xᵢ) through the angles of all planes, with learned frequency vectors ω. So it
    is for separable blocks and for lifts that are alike over all points; moving a cloud by one of
    those permutes the places. Fused and linear attention apply, as to ``Rotary``.

    Args:
        width: Number of features a point.
        heads: Number of heads; divides ``width``.
        space: The space of the points.
        length: Frequencies start evenly from 0 to 1 / ``length``.
        keys: Whether keys are projections of the features; else they are ones, turned, and the
            logits are a function of the target and the relative position: a dynamic convolution.

    Raises:
        ValueError: If ``length`` is not positive, the group has no translations, or a head has
            fewer than two channels.

    Reference:
        Islam et al. 2025, Platonic Transformers: A Solid Choice for Equivariance, section 4.
    """

    sees = Sees.ELEMENTS
    needs_one_place = True

    def __init__(
        self,
        width: int,
        heads: int,
        space: HomogeneousSpace,
        length: float = 1.0,
        keys: bool = True,
    ) -> None:
        super().__init__(width, heads, space)
        check_length("FrameRotary.length", length)
        if not isinstance(space.group, AffineGroup):
            raise ValueError(f"FrameRotary turns by translations; {space.group} has none.")
        self.planes = width // heads // 2
        if not self.planes:
            raise ValueError(
                f"FrameRotary needs at least 2 channels a head; got {width // heads}, from width "
                f"{width} and {heads} heads."
            )
        self.group = space.group
        self.keys = keys
        if not keys:
            del self.key
        speed = torch.linspace(1 / self.planes, 1, self.planes)[:, None] / length
        direction = normalize(torch.randn(heads, self.planes, space.group.space_dim), dim=-1)
        self.frequencies = nn.Parameter(speed * direction)

    def project(self, features: Tensor, lifted: Lifted) -> Projections:
        query = split_heads(self.query(features), self.heads)
        query = query * query.shape[-1] ** -0.5
        key = torch.ones_like(query)
        if self.keys:
            key = split_heads(self.key(features), self.heads)
        with full_precision(lifted.point):
            linear, _ = self.group.split(lifted.element)
            # As seen from the first point: what is common to all drops out before it can round.
            local = torch.einsum("bnji,bnj->bni", linear, lifted.point - lifted.point[:, :1])
            angle = torch.einsum("hpn,bin->hbip", self.frequencies, local)
            cos, sin = angle.cos(), angle.sin()
        return Projections((_turned(query, cos, sin),), (_turned(key, cos, sin),))


def _turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Planes of channels, two by two, turned by an angle each; those left over as they are."""
    planes = cos.shape[-1]
    first, second = x[..., : 2 * planes].unflatten(-1, (planes, 2)).unbind(-1)
    turned = torch.stack((first * cos - second * sin, first * sin + second * cos), -1).flatten(-2)
    return torch.cat((turned, x[..., 2 * planes :]), -1)


def _in_units(g: Tensor, length: float) -> Tensor:
    """Affine maps with their translations in units of a length: an equivalent representation."""
    unit = torch.ones(g.shape[-1], dtype=g.dtype, device=g.device)
    unit[:-1] = length
    return g * unit / unit[:, None]
