"""Networks that give the energy of a molecule."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from attention import (
    AllPairs,
    BackendName,
    Geometry,
    InvariantHead,
    Kernel,
    LieTransformer,
    NeighborhoodRule,
    Normalizer,
    Radius,
    Softmax,
    Sum,
)
from attention.steerable import ChannelwiseTransformer, ProductName, SteerableTransformer
from liegroups import SE3, E, Haar, Invariant, LieGroup, Sampler

# A sum over atoms of features of unit variance has forces ten times those of molecules, in the unit
# that the model standardizes to; a training that starts lower ends lower.
_START = 0.1


class EnergyNetwork(nn.Module, ABC):
    """Gives a number for a molecule, twice differentiable in the positions of its atoms.

    A subclass is built from the number of features of an atom and the invariant of a pair, in this
    order, and settings of its own with defaults.
    """

    @property
    @abstractmethod
    def group(self) -> LieGroup:
        """The group that the number is invariant to."""

    @abstractmethod
    def forward(
        self, features: Tensor, positions: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """The numbers ``(batch,)``.

        Args:
            features: Features of the atoms ``(batch, atoms, in_features)``.
            positions: Coordinates in angstrom ``(batch, atoms, 3)``.
            generator: Source of randomness, for a network that has any.
        """


class SteerableEnergy(EnergyNetwork):
    """The energy by attention on irreducible representations, summed over the atoms.

    Args:
        in_features: Number of features of an atom.
        invariant: What the perceptrons see of a pair; a list is a mix by heads.
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
        product: How to compute the products with harmonics, see ``attention.steerable``.

    Raises:
        ValueError: If the settings do not fit each other.
    """

    def __init__(
        self,
        in_features: int,
        invariant: Invariant | Sequence[Invariant],
        group: LieGroup = SE3(),  # noqa: B008 (immutable)
        types: Sequence[int] = (0, 1, 2),
        channels: int = 16,
        layers: int = 3,
        heads: int = 4,
        stacks: int = 1,
        max_degree: int | None = None,
        neighborhood: NeighborhoodRule = Radius(4.0, loops=False),  # noqa: B008 (immutable)
        residual: bool = True,
        norm: bool = True,
        gate: bool = True,
        hidden: int = 32,
        normalizer: Normalizer = Softmax(),  # noqa: B008 (immutable)
        product: ProductName = "fused",
    ) -> None:
        super().__init__()
        self._group = group
        self.network = SteerableTransformer(
            f"{in_features}x0e",
            "1x0e",
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
            product=product,
            pooling="sum",
        )

    @property
    def group(self) -> LieGroup:
        return self._group

    def forward(
        self, features: Tensor, positions: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        output: Tensor = self.network(features, positions)
        return _START * output[:, 0]


class ChannelwiseEnergy(EnergyNetwork):
    """The energy by attention on true tensors, channel by channel, summed over the atoms.

    It is invariant under E(3), and cheaper than ``SteerableEnergy``.

    Args:
        in_features: Number of features of an atom.
        invariant: What the perceptrons of the pairs see; a list is a mix by heads.
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
            1,
            invariant,
            max_degree=max_degree,
            channels=channels,
            layers=layers,
            heads=heads,
            neighborhood=neighborhood,
            hidden=hidden,
            normalizer=normalizer,
            pooling="sum",
        )

    @property
    def group(self) -> LieGroup:
        return E(3)

    def forward(
        self, features: Tensor, positions: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        output: Tensor = self.network(features, positions)
        return output[:, 0]


class LieEnergy(EnergyNetwork):
    """The energy by attention on a Lie group, summed over the atoms.

    Args:
        in_features: Number of features of an atom.
        invariant: What the kernel sees of a pair; a list is a mix by heads.
        group: The group, which acts on points of space.
        lift: Chooses the group elements over each atom, where the invariant sees them.
        width: Number of features an atom in the hidden layers.
        layers: Number of attention blocks.
        heads: Number of attention heads; divides ``width``.
        kernel: Makes the kernel of each layer, for example ``Sum`` of content and location.
        normalizer: Turns logits into weights.
        neighborhood: Chooses the neighbors of each lifted atom.
        backend: How to compute the attention: ``auto``, or a name of ``attention.BACKENDS``.

    Raises:
        ValueError: If the settings do not fit each other, or the group's space is not
            three-dimensional.
    """

    def __init__(
        self,
        in_features: int,
        invariant: Invariant | Sequence[Invariant],
        group: LieGroup = SE3(),  # noqa: B008 (immutable)
        lift: Sampler = Haar(count=4),  # noqa: B008 (immutable)
        width: int = 64,
        layers: int = 3,
        heads: int = 8,
        kernel: Callable[[int, int, Geometry], Kernel] = Sum,
        normalizer: Normalizer = Softmax(),  # noqa: B008 (immutable)
        neighborhood: NeighborhoodRule = AllPairs(),  # noqa: B008 (immutable)
        backend: BackendName = "auto",
    ) -> None:
        super().__init__()
        self.network = LieTransformer(
            group,
            in_features,
            1,
            invariant=invariant,
            lift=lift,
            width=width,
            layers=layers,
            heads=heads,
            kernel=kernel,
            normalizer=normalizer,
            neighborhood=neighborhood,
            head=partial(InvariantHead, pooling="sum"),
            backend=backend,
        )
        if self.network.space.point_dim != 3:
            raise ValueError(
                f"model.network.group: {group} acts on points of {self.network.space.point_dim} "
                "coordinates, but atoms have 3; use T3, SE3, SO3 or another group of space."
            )

    @property
    def group(self) -> LieGroup:
        return self.network.space.group

    def forward(
        self, features: Tensor, positions: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        output: Tensor = self.network(features, positions, generator=generator)
        return output[:, 0]
