"""Maps of the features over the fibre of each point: what mixes the lifts of one point."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn

from attention.geometry import Geometry, Pairs
from attention.kernels.filters import Filter
from attention.neighborhoods import DenseNeighborhood
from liegroups import HomogeneousSpace, Lifted, Sampler, Sees, lift
from liegroups.sees import Seeing

_SAME = 1e-6


class GroupLinear(Seeing, nn.Module):
    """A linear map of functions on a finite group that commutes with it: a group convolution.

    y(h) = Σ_g W(h⁻¹g) x(g) + b. With one element it is ``nn.Linear``. In channels of all lifts
    together it costs what a linear map of as many channels does, and has as many parameters fewer
    as there are lifts.

    Args:
        in_features: Number of features of each lift.
        out_features: Number of features of each lift that it gives.
        table: Numbers ``(lifts, lifts)`` of the elements h⁻¹g, as ``group_table`` gives them.

    Reference:
        Cohen and Welling 2016, Group Equivariant Convolutional Networks, equation 11.
    """

    sees = Sees.ELEMENTS
    table: Tensor

    def __init__(self, in_features: int, out_features: int, table: Tensor) -> None:
        super().__init__()
        self.in_features, self.out_features, self.lifts = in_features, out_features, len(table)
        self.register_buffer("table", table, persistent=False)
        bound = (in_features * self.lifts) ** -0.5
        weight = torch.empty(self.lifts, out_features, in_features).uniform_(-bound, bound)
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.empty(out_features).uniform_(-bound, bound))

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(batch · lifts, points, in_features)``, the lifts of a cloud side by side."""
        together = rearrange(features, "(b k) n c -> b n (k c)", k=self.lifts)
        weight = rearrange(self.weight[self.table], "h g o i -> (h o) (g i)")
        mapped = nn.functional.linear(together, weight, self.bias.repeat(self.lifts))
        return rearrange(mapped, "b n (k c) -> (b k) n c", k=self.lifts)


class FibreConvolution(nn.Module):
    """A convolution over the fibre of each point, channel by channel.

    y(gᵢ) = 1/k Σⱼ w(I(gᵢ, gⱼ)) ⊙ x(gⱼ) over the k lifts gⱼ of the point of gᵢ, w a filter. Where
    the lifts of all points are alike, the filters are those of one point.

    Args:
        geometry: The space, the invariant and the lift.
        filter: The filter w.

    Reference:
        Bekkers et al. 2024, PONITA, section 3.4: the spherical part of its convolution.
    """

    def __init__(self, geometry: Geometry, filter: Filter) -> None:
        super().__init__()
        self.filter = filter
        self.is_alike = geometry.lift is not None and geometry.lift.is_alike_on(geometry.space)

    def forward(self, within: Pairs, features: Tensor) -> Tensor:
        """Convolve ``(batch · lifts, points, width)``, the lifts of a cloud side by side.

        Args:
            within: Pairs of the lifts of each point, ``(batch · points, lifts, ...)``.
            features: The features.
        """
        lifts = within.target.element.shape[1]
        if self.is_alike:
            one = Lifted(*(part[:1] for part in within.target))
            of_pairs, coefficients = self.filter(
                Pairs(within.geometry, DenseNeighborhood(), one, basis=within.basis)
            )
            filters = torch.einsum("fop,fc->opc", of_pairs[:, 0], coefficients.to(of_pairs.dtype))
            split = features.unflatten(0, (-1, lifts))  # (batch, lifts, points, width)
            mapped = torch.einsum("bpnc,opc->bonc", split, filters.to(features.dtype) / lifts)
            return mapped.flatten(0, 1)
        fibres = rearrange(features, "(b k) n c -> (b n) k c", k=lifts)
        of_pairs, coefficients = self.filter(within)
        weights = torch.full_like(of_pairs[:1], 1 / lifts)
        received = within.neighborhood.convolve(weights, of_pairs, coefficients, fibres[None])[0]
        return rearrange(received, "(b n) k c -> (b k) n c", n=features.shape[1])


def group_table(space: HomogeneousSpace, sampler: Sampler) -> Tensor:
    """Numbers ``(k, k)`` of the elements h⁻¹g, for the k elements h and g over each point.

    Raises:
        ValueError: If the elements over different points are not alike, or are no group.
    """
    if not sampler.is_alike_on(space):
        raise ValueError(
            f"a group convolution over the fibre needs lifts that are the same group over every "
            f"point, such as FullOrbit; got {sampler}."
        )
    origin = torch.zeros(1, space.point_dim, dtype=torch.float64)
    h = lift(space, origin, sampler, fixed=True).element[0]
    relative = space.group.relative(h[:, None], h[None]).flatten(2)  # (k, k, entries)
    # In a group, what leads from any element to another also leads from the first to one of them.
    distance = torch.stack([(relative - other).abs().amax(-1) for other in relative[0]], -1)
    nearest, table = distance.min(-1)
    if (nearest > _SAME).any() or len(table.unique()) != len(h):
        raise ValueError(
            "a group convolution over the fibre needs lifts that are a group, such as FullOrbit, "
            f"or in the plane Grid; those of {sampler} are none."
        )
    return table
