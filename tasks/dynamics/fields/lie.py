"""A potential by attention on a Lie group."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from torch import Tensor, nn

from attention import (
    AllPairs,
    BackendName,
    Count,
    Fibres,
    Geometry,
    Head,
    Kernel,
    LieTransformer,
    NeighborhoodRule,
    Normalizer,
    Sum,
)
from liegroups import T2, Haar, Invariant, LieGroup, RelativePose, Sampler
from liegroups.checks import check_length
from tasks.dynamics.fields.base import LearnedKinetic, LearnedPotential, generator_of
from tasks.dynamics.systems import System


class LinearReadout(Head):
    """A linear function of the features, summed over the points and averaged over their lifts.

    Energies of pairs that the kernels hold then add up as they are.

    Args:
        width: Number of features a point.
        out_features: Number of outputs.
        geometry: The space of the points and the invariant of their pairs.
    """

    is_per_point = False

    def __init__(self, width: int, out_features: int, geometry: Geometry) -> None:
        super().__init__(width, out_features, geometry)
        self.linear = nn.Linear(width, out_features)

    def forward(self, features: Tensor, fibres: Fibres, mask: Tensor | None, lifts: int) -> Tensor:
        """Outputs ``(batch, out_features)``."""
        values: Tensor = self.linear(features)
        if mask is not None:
            values = values.masked_fill(~mask[..., None], 0)
        return values.sum(1) / lifts


class LieHamiltonian(LearnedPotential):
    """Kinetic energy plus a potential by attention on a Lie group.

    Every symmetry of the potential conserves its quantity to the accuracy of the integrator: with
    translations the momentum, with rotations the angular momentum.

    Args:
        system: The system.
        group: The group, which acts on the plane: ``T2``, ``SE2``, ``SO2``, ``E2`` as
            ``{class_path: liegroups.E, init_args: {n: 2}}``, ``Trivial`` or your own.
        invariant: What the kernel sees of a pair; a list is a mix by heads.
        lift: Chooses the group elements over each point, where the invariant sees them. ``Frames``
            makes SE2 exact; ``Haar`` lifts are drawn once for each trajectory.
        width: Number of features a point in the hidden layers.
        layers: Number of attention blocks.
        heads: Number of attention heads; divides ``width``.
        kernel: Makes the kernel of each layer; ``LocationOnly`` is LieConv.
        normalizer: Turns logits into weights.
        neighborhood: Chooses the neighbors of each lifted point.
        head: Makes the output: ``LinearReadout``, which adds up what the blocks found, or
            ``InvariantHead``, a perceptron.
        feature_scale: Factor on the features of the points. A layer norm sees a small feature
            beside its bias nearly as it is, of a large one little more than the sign.
        kinetic: ``given``, the system's own, or ``learned``, a mass for each particle.
        backend: How to compute the attention: ``auto``, or a name of ``attention.BACKENDS``.

    Raises:
        ValueError: If the settings do not fit each other, the group does not act on the plane, or
            the kinetic energy cannot be learned because it depends on the positions.
    """

    def __init__(
        self,
        system: System,
        group: LieGroup = T2(),  # noqa: B008 (immutable)
        invariant: Invariant | Sequence[Invariant] = RelativePose(),  # noqa: B008 (immutable)
        lift: Sampler = Haar(count=4),  # noqa: B008 (immutable)
        width: int = 32,
        layers: int = 2,
        heads: int = 8,
        kernel: Callable[[int, int, Geometry], Kernel] = Sum,
        normalizer: Normalizer = Count(),  # noqa: B008 (immutable)
        neighborhood: NeighborhoodRule = AllPairs(),  # noqa: B008 (immutable)
        head: Callable[[int, int, Geometry], Head] = LinearReadout,
        feature_scale: float = 1.0,
        kinetic: Literal["given", "learned"] = "given",
        backend: BackendName = "auto",
    ) -> None:
        super().__init__(system)
        check_length("feature_scale", feature_scale)
        if kinetic == "learned" and not system.separable:
            raise ValueError(
                f"kinetic: the kinetic energy of {type(system).__name__} depends on the positions "
                "and is not learned; accepted: given."
            )
        self.feature_scale = feature_scale
        self.network = LieTransformer(
            group,
            system.in_features,
            1,
            invariant=invariant,
            lift=lift,
            width=width,
            layers=layers,
            heads=heads,
            kernel=kernel,
            normalizer=normalizer,
            neighborhood=neighborhood,
            head=head,
            backend=backend,
        )
        if self.network.space.point_dim != 2:
            raise ValueError(
                f"model.field.group: {group} acts on points of {self.network.space.point_dim} "
                "coordinates, but the systems lie in the plane; use T2, SE2, SO2 or another group "
                "of the plane."
            )
        self.learned_kinetic = (
            LearnedKinetic(len(system.parameter_names)) if kinetic == "learned" else None
        )

    @property
    def description(self) -> str:
        invariant = type(self.network.invariant).__name__
        return f"{type(self.network.space.group).__name__}-{invariant}"

    def kinetic(self, state: Tensor, parameters: Tensor) -> Tensor:
        if self.learned_kinetic is None:
            return super().kinetic(state, parameters)
        energy: Tensor = self.learned_kinetic(state, parameters)
        return energy

    def potential(self, positions: Tensor, parameters: Tensor, seed: int | None = None) -> Tensor:
        features, points = self.system.scene(positions, parameters)
        generator = generator_of(seed, points.device)
        features = self.feature_scale * features
        output: Tensor = self.network(features, points, generator=generator)
        return output[:, 0]
