"""SchNet and PaiNN as SchNetPack has them, as networks that our trainer trains.

Install it beside this package without what it pins, in an environment of its own:

    pip install --no-deps schnetpack matscipy dirsync fasteners h5py omegaconf torch_ema hydra-core
"""

from __future__ import annotations

import typing
from typing import Any

import torch
from torch import Tensor, nn

from attention import Network
from liegroups import SE3, Equivariance

RADIUS, WIDTH, LAYERS, FUNCTIONS = 5.0, 128, 3, 20


class SchNetPack(Network):
    """A representation of SchNetPack and its readout: a perceptron on each atom, and a mean.

    Args:
        kind: ``SchNet`` or ``PaiNN``, with 128 features, 3 layers and a cut-off of 5 Å: Gaussians
            for the one, Bessel functions for the other, 20 of each, as in their papers' examples.
        in_features: Number of features of an atom.
        out_features: Number of outputs.
        pooling: ``mean`` or ``sum``.
    """

    equivariance = Equivariance.EXACT
    is_per_point = False

    def __init__(
        self, kind: str, in_features: int, out_features: int, pooling: str = "mean"
    ) -> None:
        super().__init__()
        import torch.utils.data.dataloader as dataloader

        if not hasattr(dataloader, "T_co"):  # SchNetPack imports it, torch has dropped it.
            dataloader.T_co = typing.TypeVar("T_co", covariant=True)
        import schnetpack.nn as spk
        import schnetpack.representation as representation

        self.in_features, self.out_features = in_features, out_features
        self.space = SE3().default_space()
        self.pooling = pooling  # type: ignore[assignment]
        basis = {"SchNet": spk.GaussianRBF, "PaiNN": spk.BesselRBF}[kind](FUNCTIONS, RADIUS)
        self.embedding = nn.Linear(in_features, WIDTH)
        self.body: Any = getattr(representation, kind)(
            n_atom_basis=WIDTH,
            n_interactions=LAYERS,
            radial_basis=basis,
            cutoff_fn=spk.CosineCutoff(RADIUS),
            nuclear_embedding=nn.Identity(),
        )
        self.head = nn.Sequential(
            nn.Linear(WIDTH, WIDTH // 2), nn.SiLU(), nn.Linear(WIDTH // 2, out_features)
        )

    def forward(
        self,
        features: Tensor,
        points: Tensor,
        mask: Tensor | None = None,
        *,
        edges: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Outputs ``(batch, out_features)``."""
        if mask is None:
            mask = torch.ones(points.shape[:2], dtype=torch.bool, device=points.device)
        with torch.no_grad():
            distance = torch.cdist(points, points)
            near = (distance < RADIUS) & mask[:, :, None] & mask[:, None]
            near &= ~torch.eye(points.shape[1], dtype=torch.bool, device=points.device)
            number = mask.flatten().cumsum(0).view_as(mask) - 1
            cloud, target, source = near.nonzero().T
        found = self.body(
            {
                "_atomic_numbers": self.embedding(features[mask]),
                "_Rij": points[cloud, source] - points[cloud, target],
                "_idx_i": number[cloud, target],
                "_idx_j": number[cloud, source],
            }
        )
        each = self.head(found["scalar_representation"])
        padded = each.new_zeros(*mask.shape, each.shape[-1])
        padded[mask] = each
        total = padded.sum(1)
        return total if self.pooling == "sum" else total / mask.sum(1, keepdim=True)
