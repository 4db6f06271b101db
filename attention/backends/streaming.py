"""Streaming attention: some targets at a time, forward and backward."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import functional_call

from attention.backends.base import Backend
from attention.backends.slices import Tensors, map_slices, map_slices_checkpointed
from attention.geometry import Pairs
from attention.kernels import Kernel, Projections
from attention.neighborhoods import DenseNeighborhood
from attention.normalizers import Normalizer
from liegroups import Lifted, Sees
from liegroups.sees import includes


class Streaming(Backend):
    """Any kernel and normalizer, with memory linear in the number of points.

    The targets pass in slices, each with all its sources, and every slice is an attention of its
    own; invariants, logits and weights live as long as their slice. The backward pass computes
    each slice again, and so do the derivatives of the backward pass: memory is linear in every
    order. In exchange the invariants are computed again in each layer and each pass, unless those
    of all pairs take no more than ``stored_bytes``: then they are kept, once for all layers.

    Under ``torch.compile`` the slices are checkpointed, which is linear in the first derivative.

    Args:
        elements: Logits to hold at a time.
        stored_bytes: Invariants to keep.
    """

    def __init__(self, elements: int = 2**20, stored_bytes: int = 2**27) -> None:
        self.elements = elements
        self.stored_bytes = stored_bytes

    def limitation(self, kernel: Kernel, normalizer: Normalizer, pairs: Pairs) -> str | None:
        if not isinstance(pairs.neighborhood, DenseNeighborhood):
            return "needs the dense layout; the sparse one is linear in its pairs already"
        if pairs.basis is not None:
            return "computes invariants as it goes, and has no learned features of them"
        return None

    def __call__(
        self,
        kernel: Kernel,
        normalizer: Normalizer,
        pairs: Pairs,
        projections: Projections,
        values: Tensor,
    ) -> Tensor:
        neighborhood, parameters = pairs.neighborhood, dict(kernel.named_parameters())
        in_filter = {n: n[7:] for n in parameters if n.startswith("filter.")}
        assert isinstance(neighborhood, DenseNeighborhood)
        mask, cutoff = neighborhood.mask, neighborhood.cutoff
        whole_clouds = mask is None or mask.shape[-2] == 1

        invariants = self._kept(kernel, pairs)

        def attend(own: Tensors, shared: Tensors) -> tuple[Tensors, Tensors]:
            element, point, *rest = own
            source_element, source_point, sent, *others = shared
            queries, rest = rest[: len(projections.queries)], rest[len(projections.queries) :]
            keys, weights = others[: len(projections.keys)], others[len(projections.keys) :]
            slice_cutoff = None if cutoff is None else rest.pop(0)
            slice_mask = mask if whole_clouds else rest.pop(0)
            part = Pairs(
                pairs.geometry,
                DenseNeighborhood(slice_mask, slice_cutoff),
                Lifted(element, point),
                Lifted(source_element, source_point),
                None if invariants is None else rest.pop(0),
            )
            named = dict(zip(parameters, weights, strict=True))
            logits = functional_call(
                kernel, named, (part, Projections(tuple(queries), tuple(keys)))
            )
            normalized = normalizer(part.neighborhood, logits)
            if kernel.filter is None:
                return (part.neighborhood.push_forward(normalized, sent),), ()
            of_filter = {short: named[name] for name, short in in_filter.items()}
            features, coefficients = functional_call(kernel.filter, of_filter, (part,))
            return (part.neighborhood.convolve(normalized, features, coefficients, sent),), ()

        sliced = [*pairs.target, *projections.queries]
        axes = [1, 1, *(2 for _ in projections.queries)]
        extras = ((cutoff, 1), (None if whole_clouds else mask, 1), (invariants, 2))
        for extra, axis in extras:
            if extra is not None:
                sliced.append(extra)
                axes.append(axis)
        shared = [*pairs.source, values, *projections.keys, *parameters.values()]
        heads, batch, sources, _ = values.shape
        size = max(1, self.elements // (heads * batch * sources))
        compiling = torch.compiler.is_compiling()
        map_over = map_slices_checkpointed if compiling else map_slices
        (received,), _ = map_over(attend, sliced, shared, axes=axes, output_axes=[2], size=size)
        return received

    def _kept(self, kernel: Kernel, pairs: Pairs) -> Tensor | None:
        """The invariants of all pairs, if the kernel sees them and they are few enough."""
        if not includes(kernel.sees, Sees.INVARIANTS):
            return None
        geometry, (batch, targets) = pairs.geometry, pairs.target.point.shape[:2]
        count = batch * targets * pairs.source.point.shape[1]
        size = pairs.source.point.element_size() * geometry.invariant.dim(geometry.space)
        return pairs.invariants if count * size <= self.stored_bytes else None
