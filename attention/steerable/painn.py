"""PaiNN: scalars and vectors that pass messages through radial filters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from attention.geometry import Geometry, Pairs, full_precision
from attention.heads import Pooling
from attention.heads.base import linear_part
from attention.interface import Network
from attention.kernels import Filter, LinearFilter
from attention.neighborhoods import AllPairs, NeighborhoodRule
from attention.steerable.pairing import directions, pair_up
from attention.steerable.vectors import make_head, read_out
from liegroups import Bessel, E, Equivariance, Invariant, RadialBasis
from liegroups.checks import DEPTH, check_count
from liegroups.numerics import safe_norm

_BASIS = RadialBasis(5.0, Bessel(20))


class PaiNN(Network):
    """A polarizable atom interaction network: scalars s and vectors v of each point.

    A layer is a message and an update. With φ a perceptron of the scalars and w a filter for each
    channel,

        sᵢ ← sᵢ + Σⱼ φˢ(sⱼ) ⊙ wˢ(Iᵢⱼ),
        vᵢ ← vᵢ + Σⱼ vⱼ ⊙ φᵛ(sⱼ) ⊙ wᵛ(Iᵢⱼ) + (rᵢⱼ/|rᵢⱼ|) φʳ(sⱼ) ⊙ wʳ(Iᵢⱼ);

    and with a perceptron a of s and |V v|,

        vᵢ ← vᵢ + aᵛ ⊙ U vᵢ,   sᵢ ← sᵢ + aˢ + aˢᵛ ⊙ ⟨U vᵢ, V vᵢ⟩.

    The sums of scalars and of vectors along the filters wˢ and wᵛ are one convolution of four times
    the channels, and those of the directions one with harmonics.

    Args:
        in_features: Number of scalar features of a point.
        out_features: Number of outputs, of a cloud or a point.
        invariant: The input of the filters.
        channels: Number of channels of scalars, and of vectors.
        layers: Number of layers.
        filter: Makes the filters.
        neighborhood: Chooses the neighbors of each point; a point is not its own.
        pooling: ``mean``, ``softmax`` or ``sum`` over the points; ``none`` for an output at each.
        output: ``scalars``; or ``vectors`` of three components each, which have the poolings
            ``mean`` and ``sum``.

    Raises:
        ValueError: If a setting is another.

    Reference:
        Schütt et al. 2021, Equivariant message passing for the prediction of tensorial properties
        and molecular spectra, figure 2. Without the scaling by √2 and √3 of its later code.

    Example:
        >>> import torch
        >>> network = PaiNN(4, 1, channels=16, pooling="sum")
        >>> network(torch.randn(2, 9, 4), torch.randn(2, 9, 3)).shape
        torch.Size([2, 1])
    """

    equivariance = Equivariance.EXACT
    neighborhood: NeighborhoodRule

    def __init__(
        self,
        in_features: int,
        out_features: int,
        invariant: Invariant = _BASIS,
        channels: int = 128,
        layers: int = 3,
        filter: Callable[[Tensor, int], Filter] = LinearFilter,
        neighborhood: NeighborhoodRule = AllPairs(loops=False),  # noqa: B008 (immutable)
        pooling: Literal["none"] | Pooling = "none",
        output: Literal["scalars", "vectors"] = "scalars",
    ) -> None:
        super().__init__()
        check_count("in_features", in_features)
        check_count("out_features", out_features)
        check_count("layers", layers, most=DEPTH)
        check_count("channels", channels)
        self.space = E(3).default_space()
        neighborhood.check(self.space)
        self.neighborhood = neighborhood
        self.invariants = [invariant]
        self.geometry = Geometry(self.space, invariant)
        self.in_features, self.out_features = in_features, out_features
        self.output, self.is_per_point = output, pooling == "none"
        self.pooling = None if pooling == "none" else pooling
        self.embedding = nn.Linear(in_features, channels)
        mask = self.geometry.head_mask(1)
        self.layers = nn.ModuleList(
            PaiNNLayer(channels, filter(mask, 3 * channels)) for _ in range(layers)
        )
        self.head = make_head(output, pooling, channels, out_features, self.geometry)

    def forward(
        self,
        features: Tensor,
        points: Tensor,
        mask: Tensor | None = None,
        *,
        edges: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Predict, as :meth:`attention.Network.forward` says; vectors have a last axis of three."""
        features, lifted, neighborhood = pair_up(self, features, points, mask, edges, generator)
        pairs = Pairs(self.geometry, neighborhood, lifted)
        with full_precision(points):
            along = directions(neighborhood, lifted.point).movedim(-1, 0).contiguous()
        scalars = self.embedding(features)
        vectors = scalars.new_zeros(*scalars.shape[:2], 3, scalars.shape[-1])
        for layer in self.layers:
            scalars, vectors = layer(pairs, along, scalars, vectors)
        return read_out(self.head, pairs, scalars, vectors, mask, self.pooling)

    def move(self, g: Tensor, output: Tensor) -> Tensor:
        return output @ linear_part(self.space, g).mT if self.output == "vectors" else output


class PaiNNLayer(nn.Module):
    """A message and an update.

    Args:
        channels: Number of channels of scalars, and of vectors.
        filter: The filters of the three messages, for three times the channels.
    """

    def __init__(self, channels: int, filter: Filter) -> None:
        super().__init__()
        self.filter = filter
        self.messages = nn.Sequential(
            nn.Linear(channels, channels), nn.SiLU(), nn.Linear(channels, 3 * channels)
        )
        self.mix = nn.Linear(channels, 2 * channels, bias=False)
        self.update = nn.Sequential(
            nn.Linear(2 * channels, channels), nn.SiLU(), nn.Linear(channels, 3 * channels)
        )

    def forward(
        self, pairs: Pairs, directions: Tensor, scalars: Tensor, vectors: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Give new scalars and vectors, of the same shapes.

        Args:
            pairs: The pairs.
            directions: From targets to sources, ``(3, *pairs)``.
            scalars: ``(batch, points, channels)``.
            vectors: ``(batch, points, 3, channels)``.
        """
        neighborhood, channels = pairs.neighborhood, scalars.shape[-1]
        features, coefficients = self.filter(pairs)
        weights = neighborhood.apply_mask(torch.ones_like(features[:1]))
        of_scalars, of_vectors, of_directions = coefficients.split(channels, 1)
        sent, scale, along = self.messages(scalars).split(channels, -1)
        values = torch.cat((sent, (vectors * scale[:, :, None]).flatten(2)), -1)
        filters = torch.cat((of_scalars, of_vectors.repeat(1, 3)), 1)
        received = neighborhood.convolve(weights, features, filters, values[None])[0]
        pointing = neighborhood.convolve_harmonics(
            directions, weights, features, of_directions, along[None]
        )
        scalars = scalars + received[..., :channels]
        vectors = vectors + received[..., channels:].unflatten(-1, (3, channels)) + pointing
        first, second = self.mix(vectors).chunk(2, -1)
        together = torch.cat((scalars, safe_norm(second.transpose(-1, -2))), -1)
        of_vector, of_inner, added = self.update(together).split(channels, -1)
        scalars = scalars + added + of_inner * (first * second).sum(2)
        return scalars, vectors + of_vector[:, :, None] * first
