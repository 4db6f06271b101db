"""A potential by attention on a Lie group."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor

from attention import (
    AllPairs,
    BackendName,
    Count,
    Geometry,
    InvariantHead,
    Kernel,
    LieTransformer,
    NeighborhoodRule,
    Normalizer,
    Sum,
)
from liegroups import T2, Haar, Invariant, LieGroup, RelativePose, Sampler
from tasks.dynamics.fields.base import LearnedKinetic, LearnedPotential, generator_of
from tasks.dynamics.systems import System


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
        kinetic: str = "given",
        backend: BackendName = "auto",
    ) -> None:
        super().__init__(system)
        if kinetic not in ("given", "learned"):
            raise ValueError(f"kinetic: {kinetic!r}; accepted: given, learned.")
        if kinetic == "learned" and not system.separable:
            raise ValueError(
                f"kinetic: the kinetic energy of {type(system).__name__} depends on the positions "
                "and is not learned; accepted: given."
            )
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
            head=partial(InvariantHead, pooling="sum"),
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
        output: Tensor = self.network(features, points, generator=generator)
        return output[:, 0]
