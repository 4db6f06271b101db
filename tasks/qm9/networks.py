"""Networks that give a property of a molecule, beside the LieTransformer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from attention import NeighborhoodRule, Normalizer, Radius, Softmax
from attention.steerable import ChannelwiseTransformer, ProductName, SteerableTransformer
from liegroups import SE3, Equivariance, HomogeneousSpace, Invariant, LieGroup


class PropertyNetwork(nn.Module, ABC):
    """Gives one or several numbers for a molecule.

    A subclass is built from the number of features of an atom, the invariant of a pair, the pooling
    and the number of properties, in this order, and settings of its own with defaults.
    """

    @property
    @abstractmethod
    def space(self) -> HomogeneousSpace:
        """The space of the atoms, with the group that the number is invariant to."""

    @property
    @abstractmethod
    def equivariance(self) -> Equivariance:
        """The kind of invariance that the number has."""

    @abstractmethod
    def forward(
        self,
        features: Tensor,
        positions: Tensor,
        mask: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """The numbers ``(batch, outputs)``.

        Args:
            features: Features of the atoms ``(batch, atoms, in_features)``.
            positions: Coordinates in angstrom ``(batch, atoms, 3)``.
            mask: Booleans ``(batch, atoms)``, True for atoms that exist; all when absent.
            generator: Source of randomness, for a network that has any.
        """


class SteerableProperty(PropertyNetwork):
    """A property by attention on irreducible representations, pooled over the atoms.

    The defaults are the network of Mather 2023 with corrections.

    Args:
        in_features: Number of features of an atom.
        invariant: What the perceptrons see of a pair; a list is a mix by heads.
        pooling: ``mean`` over the atoms for intensive targets, ``sum`` for extensive ones.
        outputs: Number of properties.
        group: ``SE3``, or ``E(3)`` for features with parity.
        types: The degrees l of the hidden features.
        channels: Number of channels of each type, of all heads together.
        layers: Number of layers.
        heads: Number of heads in each layer; divides ``channels``.
        stacks: Number of networks side by side.
        max_degree: Largest degree of the harmonics; the largest of ``types`` when absent.
        neighborhood: Chooses the neighbors of each atom; an atom is not its own.
        residual: Whether to add the input of each hidden layer to its output.
        norm: Whether to normalize the features before each layer.
        gate: Whether a gated non-linearity follows each hidden layer.
        hidden: Number of hidden units of the perceptrons of pairs.
        normalizer: Turns logits into weights.
        product: How to compute the products of features with harmonics: ``fused``, ``e3nn``, or
            ``cuequivariance``.

    Raises:
        ValueError: If the settings do not fit each other.
    """

    def __init__(
        self,
        in_features: int,
        invariant: Invariant | Sequence[Invariant],
        pooling: Literal["mean", "sum"],
        outputs: int = 1,
        group: LieGroup = SE3(),  # noqa: B008 (immutable)
        types: Sequence[int] = (0, 1, 2, 3),
        channels: int = 8,
        layers: int = 4,
        heads: int = 4,
        stacks: int = 1,
        max_degree: int | None = None,
        neighborhood: NeighborhoodRule = Radius(2.0, loops=False),  # noqa: B008 (immutable)
        residual: bool = False,
        norm: bool = False,
        gate: bool = False,
        hidden: int = 32,
        normalizer: Normalizer = Softmax(),  # noqa: B008 (immutable)
        product: ProductName = "fused",
    ) -> None:
        super().__init__()
        self.network = SteerableTransformer(
            f"{in_features}x0e",
            f"{outputs}x0e",
            group=group,
            invariant=invariant,
            types=types,
            channels=channels,
            layers=layers,
            heads=heads,
            stacks=stacks,
            max_degree=max_degree,
            neighborhood=neighborhood,
            residual=residual,
            norm=norm,
            gate=gate,
            hidden=hidden,
            normalizer=normalizer,
            pooling=pooling,
            product=product,
        )

    @property
    def space(self) -> HomogeneousSpace:
        return self.network.space

    @property
    def equivariance(self) -> Equivariance:
        return self.network.equivariance

    def forward(
        self,
        features: Tensor,
        positions: Tensor,
        mask: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        output: Tensor = self.network(features, positions, mask)
        return output


class ChannelwiseProperty(PropertyNetwork):
    """A property by attention on true tensors, channel by channel, pooled over the atoms.

    It is invariant under E(3), and cheaper than ``SteerableProperty``.

    Args:
        in_features: Number of features of an atom.
        invariant: What the perceptrons of the pairs see; a list is a mix by heads.
        pooling: ``mean`` over the atoms for intensive targets, ``sum`` for extensive ones.
        outputs: Number of properties.
        max_degree: Largest degree of the features and of the harmonics.
        channels: Number of channels of each type.
        layers: Number of layers, 2 or more.
        heads: Number of heads; divides ``channels``.
        neighborhood: Chooses the neighbors of each atom; an atom is not its own.
        hidden: Number of hidden units of the perceptrons of pairs.
        normalizer: Turns logits into weights.

    Raises:
        ValueError: If the settings do not fit each other.
    """

    def __init__(
        self,
        in_features: int,
        invariant: Invariant | Sequence[Invariant],
        pooling: Literal["mean", "sum"],
        outputs: int = 1,
        max_degree: int = 2,
        channels: int = 32,
        layers: int = 3,
        heads: int = 4,
        neighborhood: NeighborhoodRule = Radius(5.0, loops=False),  # noqa: B008 (immutable)
        hidden: int = 32,
        normalizer: Normalizer = Softmax(),  # noqa: B008 (immutable)
    ) -> None:
        super().__init__()
        self.network = ChannelwiseTransformer(
            in_features,
            outputs,
            invariant,
            max_degree=max_degree,
            channels=channels,
            layers=layers,
            heads=heads,
            neighborhood=neighborhood,
            hidden=hidden,
            normalizer=normalizer,
            pooling=pooling,
        )

    @property
    def space(self) -> HomogeneousSpace:
        return self.network.space

    @property
    def equivariance(self) -> Equivariance:
        return self.network.equivariance

    def forward(
        self,
        features: Tensor,
        positions: Tensor,
        mask: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        output: Tensor = self.network(features, positions, mask)
        return output
