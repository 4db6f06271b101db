"""The LieTransformer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from einops import rearrange, repeat
from torch import Tensor, nn

from attention.backends import BackendName
from attention.blocks import AttentionBlock, Block, KernelMaker
from attention.clouds import check_clouds
from attention.geometry import Geometry, Pairs, full_precision
from attention.heads import Head, InvariantHead, Pooling
from attention.interface import Network
from attention.kernels import PairBasis, Sum
from attention.neighborhoods import (
    AllPairs,
    DenseNeighborhood,
    Neighborhood,
    NeighborhoodRule,
    given_edges,
)
from attention.normalizers import Normalizer
from liegroups import (
    Concat,
    Equivariance,
    HomogeneousSpace,
    Invariant,
    LieGroup,
    Lifted,
    OrbitLabels,
    PerHead,
    Sampler,
    Sees,
    lift,
    recommended,
)
from liegroups.checks import DEPTH, check_count, check_length
from liegroups.defaults import pose_invariant
from liegroups.samplers.base import has_one_lift
from liegroups.sees import Seeing, includes

BlockMaker = Callable[[int, int, Geometry, KernelMaker, Normalizer | None, BackendName], Block]


class LieTransformer(Network):
    """Attention on point clouds, equivariant to a Lie group that acts on the points.

    Lift the points to the group, attend with a kernel of the chosen invariant, pool or give an
    output for each point. The invariants of the pairs are computed once and shared by all layers,
    unless the streaming backend computes them as it goes. On a space of several orbits the orbit
    labels are part of the invariants and of the input features, since without those the network
    could not tell the orbits apart.

    In training mode the lift is random; in evaluation mode it comes from the sampler's fixed
    table, so that the same input gives the same output, alone or in a batch.

    Args:
        group: The group.
        in_features: Number of input features a point.
        out_features: Number of outputs, a cloud or a point as the head has it.
        invariant: The features of a pair that the kernel sees; a list is a mix by heads, see
            ``liegroups.PerHead``. When absent that of ``liegroups.recommended``, or with a lift
            that is named, the whole relative pose.
        lift: Chooses the elements over each point; that of ``liegroups.recommended`` when absent.
        space: The space that the points lie in; by default the group's own default.
        width: Number of features a point in the hidden layers.
        layers: Number of blocks.
        heads: Number of attention heads; divides ``width``.
        kernel: Makes the kernel of each layer.
        normalizer: Turns logits into weights; softmax by default.
        neighborhood: Chooses the neighbors of each lifted point.
        head: Makes the output: ``InvariantHead``, ``PointHead``, ``RelativeVectorHead`` or
            ``FrameVectorHead``.
        pooling: The pooling of the head, ``mean``, ``softmax`` or ``sum``, where it has one to
            choose, as ``InvariantHead`` has; its own when absent.
        backend: The way to compute the attention: ``auto``, or a name of ``attention.BACKENDS``.
        unit: Length in the coordinates of the points that the network takes as 1, also in its
            vector outputs. Perceptrons of pairs see lengths from about a tenth to ten.
        block: Makes each layer: ``AttentionBlock``, between all pairs of lifts; or, in time linear
            in the number of lifts and for spaces with translations, ``SeparableBlock``,
            ``GroupConvolutionBlock`` or ``ConvNextBlock``, between points at the same place of the
            fibre, and then within the fibre over each point.
        basis: Makes a module that learns features of the invariants, ``(invariants, *pairs)`` to
            ``(features, *pairs)``, once for all layers, whose kernels see them in place of the
            invariants; such as ``BasisPerceptron``. None where the kernels see those.

    Raises:
        ValueError: If the space does not have the invariant, the sizes do not fit, or the space,
            the head or the kernel does not go with the block.

    Reference:
        Hutchinson et al. 2021, LieTransformer: Equivariant Self-Attention for Lie Groups.

    Example:
        >>> import torch, liegroups as lg
        >>> network = LieTransformer(lg.SE3(), 4, 1, invariant=lg.Distance(), width=32, layers=2)
        >>> network.equivariance
        <Equivariance.EXACT: 'exact'>
        >>> network(torch.randn(2, 5, 4), torch.randn(2, 5, 3)).shape
        torch.Size([2, 1])

        A vector for each point, with memory linear in the number of points:

        >>> from attention import Nearest, RelativeVectorHead
        >>> network = LieTransformer(lg.SE3(), 4, 1, invariant=lg.Distance(), width=32, layers=2,
        ...     neighborhood=Nearest(16), head=RelativeVectorHead)
        >>> network(torch.randn(2, 100, 4), torch.randn(2, 100, 3)).shape
        torch.Size([2, 100, 1, 3])
    """

    neighborhood: NeighborhoodRule

    def __init__(
        self,
        group: LieGroup,
        in_features: int,
        out_features: int,
        invariant: Invariant | Sequence[Invariant] | None = None,
        lift: Sampler | None = None,
        space: HomogeneousSpace | None = None,
        width: int = 128,
        layers: int = 4,
        heads: int = 8,
        kernel: KernelMaker = Sum,
        normalizer: Normalizer | None = None,
        neighborhood: NeighborhoodRule = AllPairs(),  # noqa: B008 (immutable)
        head: Callable[[int, int, Geometry], Head] = InvariantHead,
        pooling: Pooling | None = None,
        backend: BackendName = "auto",
        unit: float = 1.0,
        block: BlockMaker = AttentionBlock,
        basis: Callable[[int], PairBasis] | None = None,
    ) -> None:
        super().__init__()
        check_count("in_features", in_features)
        check_count("out_features", out_features)
        check_count("width", width)
        check_count("layers", layers, most=DEPTH)
        check_count("heads", heads)
        self.space = space or group.default_space()
        if self.space.group != group:
            raise ValueError(f"{self.space} is a space of {self.space.group}, not of {group}.")
        check_length("unit", unit)
        if unit != 1 and self.space.linear is None:
            raise ValueError(f"unit: {unit}; {self.space} has points without a length.")
        self.unit = unit
        choice = recommended(self.space)
        if invariant is None:
            invariant = choice.invariant if lift is None else pose_invariant(self.space)
        lift = lift or choice.lift
        self.invariants = [invariant] if isinstance(invariant, Invariant) else list(invariant)
        self.invariant = _complete(invariant, self.space)
        self.sampler = lift
        # Both raise where the lift does not go with the space.
        lift.equivariance(self.space)
        count = lift.count_on(self.space)
        # Where one element alone lies over each point, the section is the lift.
        self._is_section = count == 1 and has_one_lift(self.space)
        self.neighborhood = neighborhood
        neighborhood.check(self.space)
        try:
            self.invariant.dim(self.space)
        except ValueError as error:
            raise ValueError(f"{error} Recommended on {self.space}: {choice}.") from error
        self.basis = self.fibre_basis = None
        if basis is not None:
            if not self.invariant.head_mask(self.space, heads).all():
                raise ValueError(
                    "basis: its features are shown to all heads, so it does not go with heads that "
                    f"see different invariants, {self.invariant}."
                )
            count_of_invariants = self.invariant.dim(self.space)
            self.basis = basis(count_of_invariants)
        self.geometry = Geometry(
            self.space, self.invariant, lift, None if self.basis is None else self.basis.features
        )
        self.in_features, self.out_features = in_features, out_features
        labels = self.space.orbit_label_dim
        self._has_labels = labels > 0
        self.embedding = nn.Linear(in_features + labels, width)
        blocks = [
            block(width, heads, self.geometry, kernel, normalizer, backend) for _ in range(layers)
        ]
        self.is_separable = blocks[0].is_separable
        self.blocks = nn.ModuleList(blocks)
        if basis is not None and self.is_separable:
            self.fibre_basis = basis(count_of_invariants)
        self.head = _make_head(head, width, out_features, self.geometry, pooling)
        if self.is_separable:
            _check_separable(self.space, blocks[0], self.head)
        _check_places(self)
        self.is_per_point, self.pooling = self.head.is_per_point, self.head.pooling

    @property
    def sees(self) -> Sees:
        """The parts of the lifted points that the output depends on: all that a module sees."""
        found = self.neighborhood.sees
        for module in self.modules():
            if isinstance(module, Seeing):
                found |= module.sees
        return found | self.invariant.sees if includes(found, Sees.INVARIANTS) else found

    @property
    def sees_lift(self) -> bool:
        """Whether the output depends on the elements over the points, or on the points alone."""
        return includes(self.sees, Sees.ELEMENTS)

    @property
    def equivariance(self) -> Equivariance:
        """The kind of equivariance that the output has."""
        return self.sampler.equivariance(self.space) if self.sees_lift else Equivariance.EXACT

    def forward(
        self,
        features: Tensor,
        points: Tensor,
        mask: Tensor | None = None,
        *,
        edges: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        check_clouds(self.space, self.in_features, features, points, mask)
        if mask is not None:
            points = points.masked_fill(~mask[..., None], 0)
            features = features.masked_fill(~mask[..., None], 0)
        if self.unit != 1:
            points = points / self.unit
        fixed = not self.training and generator is None
        sampler = None if self._is_section or not self.sees_lift else self.sampler
        with full_precision(points):
            lifted = lift(self.space, points, sampler, mask=mask, generator=generator, fixed=fixed)
        lifts = lifted.element.shape[2]
        flat = Lifted(
            rearrange(lifted.element, "b n k i j -> b (n k) i j"),
            rearrange(lifted.point, "b n k d -> b (n k) d"),
        )
        lifted_mask = None if mask is None else repeat(mask, "b n -> b (n k)", k=lifts)
        if self._has_labels:
            features = torch.cat((features, self.space.orbit_label(points)), -1)
        embedded = self.embedding(features)
        if self.is_separable:
            hidden = self._separately(lifted, embedded, mask, edges, generator, fixed)
            alone = Pairs(self.geometry, DenseNeighborhood(), flat)
            return self.head(hidden, alone, lifted_mask, lifts)
        neighborhood: Neighborhood
        if edges is not None:
            neighborhood = given_edges(edges, mask, *points.shape[:2]).between_lifts(lifts)
        elif includes(self.neighborhood.sees, Sees.ELEMENTS):
            neighborhood = self.neighborhood(
                self.space, flat, lifted_mask, generator=generator, fixed=fixed
            )
        else:
            below = Lifted(lifted.element[:, :, 0], points)
            neighborhood = self.neighborhood(
                self.space, below, mask, generator=generator, fixed=fixed
            ).between_lifts(lifts)
        pairs = Pairs(self.geometry, neighborhood, flat, basis=self.basis)
        hidden = repeat(embedded, "b n c -> b (n k) c", k=lifts)
        for block in self.blocks:
            hidden = block(pairs, hidden)
        return self.head(hidden, pairs, lifted_mask, lifts)

    def _separately(
        self,
        lifted: Lifted,
        embedded: Tensor,
        mask: Tensor | None,
        edges: Tensor | None,
        generator: torch.Generator | None,
        fixed: bool,
    ) -> Tensor:
        """The blocks, between points at the same place of the fibre, then within each fibre.

        Args:
            lifted: Elements and points ``(batch, points, lifts, ...)``.
            embedded: ``(batch, points, width)``.
            mask: Booleans ``(batch, points)``, or None.
            edges: Pairs of neighbors that are given, or None.
            generator: Source of randomness for the neighbors.
            fixed: Whether to draw no neighbors.

        Returns:
            ``(batch, points · lifts, width)``.
        """
        batch, points, lifts = lifted.element.shape[:3]
        layers = Lifted(
            rearrange(lifted.element, "b n k i j -> (b k) n i j"),
            rearrange(lifted.point, "b n k d -> (b k) n d"),
        )
        mask_of_layers = None if mask is None else mask.repeat_interleave(lifts, 0)
        neighborhood: Neighborhood
        if edges is None:
            neighborhood = self.neighborhood(
                self.space, layers, mask_of_layers, generator=generator, fixed=fixed
            )
        else:
            cloud, place = edges // points, edges % points
            layer = torch.arange(lifts, device=edges.device)
            copies = ((cloud[..., None] * lifts + layer) * points + place[..., None]).flatten(1)
            neighborhood = given_edges(copies, mask_of_layers, batch * lifts, points)
        between = Pairs(self.geometry, neighborhood, layers, basis=self.basis)
        within = Pairs(
            self.geometry,
            DenseNeighborhood(),
            Lifted(lifted.element.flatten(0, 1), lifted.point.flatten(0, 1)),
            basis=self.fibre_basis,
        )
        hidden = embedded.repeat_interleave(lifts, 0)
        for block in self.blocks:
            hidden = block(between, within, hidden)
        return rearrange(hidden, "(b k) n c -> b (n k) c", k=lifts)

    def move(self, g: Tensor, output: Tensor) -> Tensor:
        return self.head.move(self.space, g, output)


def _make_head(
    maker: Callable[..., Head],
    width: int,
    out_features: int,
    geometry: Geometry,
    pooling: Pooling | None,
) -> Head:
    if pooling is None:
        return maker(width, out_features, geometry)
    try:
        return maker(width, out_features, geometry, pooling=pooling)
    except TypeError as error:
        if "pooling" not in str(error):
            raise
        raise ValueError(f"pooling: {pooling}; the head has none to choose: {error}.") from error


def _check_separable(space: HomogeneousSpace, block: Block, head: Head) -> None:
    """Raise ValueError unless fibres over different points can be compared place by place."""
    name = type(block).__name__
    if not space.section_cocycle_is_constant:
        raise ValueError(
            f"block: {name}; on {space} an element moves the fibres over different points in "
            "different ways, so their places cannot be compared; take AttentionBlock."
        )
    if head.needs_pairs:
        raise ValueError(
            f"block: {name}; {type(head).__name__} looks at pairs of all lifts; take "
            "FrameVectorHead, or AttentionBlock."
        )


def _check_places(network: LieTransformer) -> None:
    """Raise ValueError where a kernel compares lifts that no one frame is common to."""
    for module in network.modules():
        if not getattr(module, "needs_one_place", False):
            continue
        if not network.is_separable or not network.sampler.is_alike_on(network.space):
            raise ValueError(
                f"{type(module).__name__} compares lifts at the same place of their fibres: it "
                "goes with a separable block, such as GroupConvolutionBlock, and with a lift that "
                f"is alike over all points, such as FullOrbit; got {network.sampler}."
            )


def _complete(invariant: Invariant | Sequence[Invariant], space: HomogeneousSpace) -> Invariant:
    """The invariant with the orbit labels beside it, where the space has several orbits."""
    if not isinstance(invariant, Invariant):
        invariant = PerHead(invariant) if len(invariant) != 1 else invariant[0]
    parts = invariant.invariants if type(invariant) is Concat else (invariant,)
    if space.orbit_label_dim and not any(isinstance(part, OrbitLabels) for part in parts):
        return Concat([invariant, OrbitLabels()])
    return invariant
