"""Attention on scalars whose neighbors are summed with spherical harmonics: angles at a low price.

The sums of `LieTransformer` see each neighbor through its invariant, so that a layer knows
distances and no angles. Here each message is multiplied by the harmonics of its direction before it
is summed. The sums are tensors; their inner products, in which the harmonics of two neighbors meet,
depend on the angle between them. Messages are made once for all degrees, so that a layer with
vectors costs less than twice one without.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from e3nn import o3
from torch import Tensor, nn

from attention.geometry import Geometry, Pairs, full_precision
from attention.heads import Pooling
from attention.heads.base import linear_part
from attention.interface import Network
from attention.kernels import Convolution, Kernel
from attention.kernels.content import split_heads
from attention.neighborhoods import AllPairs, Neighborhood, NeighborhoodRule
from attention.normalizers import Linear, Normalizer
from attention.steerable.pairing import directions, pair_up
from attention.steerable.paths import DEGREE
from attention.steerable.vectors import make_head, read_out
from liegroups import Bessel, E, Equivariance, Invariant, PerHead, RadialBasis
from liegroups.checks import DEPTH, check_count

_BASIS = RadialBasis(5.0, Bessel(20))


class HarmonicTransformer(Network):
    """Attention that sums neighbors with the harmonics of their directions.

    A layer is, for the harmonics Yˡ of degrees l up to ``max_degree``,

        Aᵢˡ ← Aᵢˡ + Σⱼ αᵢⱼ Yˡ(rᵢⱼ) (V hⱼ ⊙ w(Iᵢⱼ)),
        hᵢ ← hᵢ + W (Aᵢ⁰, ⟨Aᵢ¹, U Aᵢ¹⟩, …),

    and a pointwise perceptron, with the weights α and the filter w of a kernel, and inner products
    channel by channel. The tensors A of degrees 1 and more are carried from layer to layer. They
    have the parity (-1)ˡ, so that scalar outputs are invariant under E(3). Vectors that it gives
    are linear in the channels of A¹, each scaled by a perceptron of the scalars; they turn with the
    points.

    Args:
        in_features: Number of scalar features of a point.
        out_features: Number of outputs, of a cloud or a point.
        invariant: The input of kernel and filter; a list is a mix by heads.
        max_degree: Largest degree of the harmonics; 0 for none.
        channels: Number of channels.
        layers: Number of layers.
        heads: Number of heads; divides ``channels``.
        kernel: Makes the kernel, which has a filter: ``Convolution``; ``Filtered`` for attention.
        normalizer: Turns logits into weights.
        neighborhood: Chooses the neighbors of each point; a point is not its own.
        pooling: ``mean``, ``softmax`` or ``sum`` over the points; ``none`` for an output at each.
        output: ``scalars``; or ``vectors`` of three components each, which have the poolings
            ``mean`` and ``sum``.

    Raises:
        ValueError: If the settings do not fit each other, or the kernel has no filter.

    Reference:
        Schütt et al. 2021, Equivariant message passing for the prediction of tensorial properties
        and molecular spectra (PaiNN); Drautz 2019, Atomic cluster expansion (sums over neighbors of
        radial functions and harmonics, and their products); Frank et al. 2022, So3krates.

    Example:
        >>> import torch
        >>> network = HarmonicTransformer(4, 1, channels=16, pooling="sum")
        >>> network(torch.randn(2, 9, 4), torch.randn(2, 9, 3)).shape
        torch.Size([2, 1])
    """

    equivariance = Equivariance.EXACT
    neighborhood: NeighborhoodRule

    def __init__(
        self,
        in_features: int,
        out_features: int,
        invariant: Invariant | Sequence[Invariant] = _BASIS,
        max_degree: int = 1,
        channels: int = 128,
        layers: int = 3,
        heads: int = 1,
        kernel: Callable[[int, int, Geometry], Kernel] = Convolution,
        normalizer: Normalizer = Linear(),  # noqa: B008 (immutable)
        neighborhood: NeighborhoodRule = AllPairs(loops=False),  # noqa: B008 (immutable)
        pooling: Literal["none"] | Pooling = "none",
        output: Literal["scalars", "vectors"] = "scalars",
    ) -> None:
        super().__init__()
        if output == "vectors" and max_degree == 0:
            raise ValueError(
                "output: vectors, which are of sums with harmonics of degree 1; got max_degree 0."
            )
        check_count("in_features", in_features)
        check_count("out_features", out_features)
        check_count("layers", layers, most=DEPTH)
        check_count("channels", channels)
        check_count("heads", heads)
        check_count("max_degree", max_degree, 0, DEGREE)
        if channels % heads:
            raise ValueError(f"heads must divide channels; got {heads} and {channels}.")
        self.space = E(3).default_space()
        neighborhood.check(self.space)
        self.neighborhood = neighborhood
        one = invariant if isinstance(invariant, Invariant) else PerHead(invariant)
        self.invariants = [invariant] if isinstance(invariant, Invariant) else list(invariant)
        self.geometry = Geometry(self.space, one)
        self.max_degree = max_degree
        self.in_features, self.out_features = in_features, out_features
        self.embedding = nn.Linear(in_features, channels)
        self.layers = nn.ModuleList(
            HarmonicLayer(channels, heads, self.geometry, max_degree, kernel, normalizer)
            for _ in range(layers)
        )
        self.output, self.is_per_point = output, pooling == "none"
        self.pooling = None if pooling == "none" else pooling
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
        """Predict, as :meth:`attention.Network.forward` says.

        Features are scalars, points in the unit of the neighborhood, and outputs scalars at each
        point, ``(batch, points, out_features)``, or pooled, ``(batch, out_features)``; vectors have
        a last axis of three.
        """
        features, lifted, neighborhood = pair_up(self, features, points, mask, edges, generator)
        pairs = Pairs(self.geometry, neighborhood, lifted)
        with full_precision(points):
            harmonics = self._harmonics(neighborhood, lifted.point)
        hidden: Tensor = self.embedding(features)
        tensors: Tensor | None = None
        for layer in self.layers:
            hidden, tensors = layer(pairs, harmonics, hidden, tensors)
        assert tensors is not None  # There is a layer at least.
        return read_out(self.head, pairs, hidden, tensors, mask, self.pooling)

    def move(self, g: Tensor, output: Tensor) -> Tensor:
        return output @ linear_part(self.space, g).mT if self.output == "vectors" else output

    def _harmonics(self, neighborhood: Neighborhood, points: Tensor) -> Tensor:
        """Harmonics of the directions from targets to sources, ``(components, *pairs)``."""
        degrees, unit = list(range(self.max_degree + 1)), directions(neighborhood, points)
        values: Tensor = o3.spherical_harmonics(degrees, unit, False, "component")
        return values.movedim(-1, 0).contiguous()


class HarmonicLayer(nn.Module):
    """A residual layer of attention with harmonics, and a pointwise perceptron.

    Args:
        channels: Number of channels.
        heads: Number of heads; divides ``channels``.
        geometry: The space of the points and the invariant of their pairs.
        max_degree: Largest degree of the harmonics.
        kernel: Makes the kernel.
        normalizer: Turns logits into weights.

    Raises:
        ValueError: If the kernel has no filter.
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        geometry: Geometry,
        max_degree: int,
        kernel: Callable[[int, int, Geometry], Kernel],
        normalizer: Normalizer,
    ) -> None:
        super().__init__()
        self.heads, self.normalizer = heads, normalizer
        self.kernel = kernel(channels, heads, geometry)
        if self.kernel.filter is None:
            raise ValueError(
                "HarmonicTransformer needs a kernel with a filter, such as Convolution or "
                f"Filtered; got {type(self.kernel).__name__}."
            )
        self.attention_norm = nn.LayerNorm(channels)
        self.value = nn.Linear(channels, channels)
        self.mix = nn.ModuleList(
            nn.Linear(channels, channels, bias=False) for _ in range(max_degree)
        )
        self.out = nn.Linear((max_degree + 1) * channels, channels)
        self.mlp_norm = nn.LayerNorm(channels)
        self.mlp = nn.Sequential(
            nn.Linear(channels, channels), nn.SiLU(), nn.Linear(channels, channels)
        )

    def forward(
        self, pairs: Pairs, harmonics: Tensor, features: Tensor, tensors: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Attend.

        Args:
            pairs: The pairs.
            harmonics: ``(components, *pairs)``.
            features: Scalars ``(batch, points, channels)``.
            tensors: Those of the layers before, ``(batch, points, components - 1, channels)``.

        Returns:
            New features and tensors, of the same shapes.
        """
        normed = self.attention_norm(features)
        weights = self.normalizer(
            pairs.neighborhood, self.kernel(pairs, self.kernel.project(normed, pairs.source))
        )
        assert self.kernel.filter is not None
        of_pairs, coefficients = self.kernel.filter(pairs)
        values = split_heads(self.value(normed), self.heads)
        received = pairs.neighborhood.convolve_harmonics(
            harmonics, weights, of_pairs, coefficients, values
        )
        scalars, added = received[:, :, 0], received[:, :, 1:]
        tensors = added if tensors is None else tensors + added
        parts = [scalars]
        for degree, mix in enumerate(self.mix, start=1):
            one = tensors[:, :, degree**2 - 1 : (degree + 1) ** 2 - 1]
            parts.append((one * mix(one)).sum(2) * (2 * degree + 1) ** -0.5)
        features = features + self.out(torch.cat(parts, -1))
        return features + pairs.map_targets(self._mlp, features), tensors

    def _mlp(self, features: Tensor) -> Tensor:
        return self.mlp(self.mlp_norm(features))
