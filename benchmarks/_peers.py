"""Packages of equivariant networks, and what of ours compares with each."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from liegroups import SE3

DRAWS = 3

Call = Callable[[nn.Module, Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Peer:
    """A package.

    Attributes:
        module: What to import.
        settings: What it is made with: the first example of its README, unless it says otherwise.
        make: Makes the network.
        width: Number of invariant features a point that it gives.
        call: Runs it on features, positions and a mask; gives features ``(batch, points, width)``,
            or ``(batch, width)`` where it pools by itself.
        too_large: Whether it is not to be made, only counted.
        tokens: Whether it takes the types of the atoms, in place of features.
        ours: Key of the system of ours to compare with.
        size: The arguments of ours.
    """

    module: str
    settings: str
    make: Callable[[], nn.Module]
    width: int
    call: Call
    ours: str = "LieTransformer-distance"
    size: dict[str, Any] = field(default_factory=dict)
    tokens: bool = False
    too_large: bool = False

    def build(self) -> nn.Module:
        torch.manual_seed(0)
        if self.too_large:
            with torch.device("meta"):
                count = sum(p.numel() for p in self.make().parameters())
            raise MemoryError(f"{count:,} parameters, {4e-9 * count:.1f} GB before any gradient")
        return PeerNetwork(self)


class PeerNetwork(nn.Module):
    """A peer with an embedding before it, and a mean over the points and a linear map after it."""

    def __init__(self, peer: Peer) -> None:
        super().__init__()
        self.peer = peer
        self.embedding = nn.Identity() if peer.tokens else nn.Linear(15, peer.width)
        self.network = peer.make()
        self.out = nn.Linear(peer.width, 1)

    def forward(self, features: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        if self.peer.tokens:
            features = features[..., ::3].argmax(-1)  # Of each element 1, c and c².
        hidden = self.peer.call(self.network, self.embedding(features), positions, mask)
        if hidden.ndim == 3:
            hidden = hidden.masked_fill(~mask[..., None], 0).sum(1) / mask.sum(1, keepdim=True)
        return self.out(hidden)


def _lie_transformer() -> nn.Module:
    from lie_transformer_pytorch import LieTransformer

    return LieTransformer(dim=512, depth=2, heads=8, dim_head=64)


def _se3_transformer(**settings: int) -> nn.Module:
    from se3_transformer_pytorch import SE3Transformer

    return SE3Transformer(**settings)


def _equiformer() -> nn.Module:
    from equiformer_pytorch import Equiformer

    return Equiformer(
        num_tokens=24,
        dim=(4, 4, 2),
        dim_head=(4, 4, 4),
        heads=(2, 2, 2),
        num_degrees=3,
        depth=4,
        attend_self=True,
        reduce_dim_out=True,
        l2_dist_attention=False,
    )


def _egnn() -> nn.Module:
    from egnn_pytorch import EGNN

    return nn.ModuleList([EGNN(dim=512), EGNN(dim=512)])


def _run_egnn(layers: nn.Module, x: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
    for layer in layers:  # type: ignore[attr-defined]
        x, positions = layer(x, positions, mask=mask)
    return x


PEERS: dict[str, Peer] = {
    "lie-transformer-pytorch": Peer(
        "lie_transformer_pytorch",
        "dim 512, depth 2, heads 8, dim_head 64, 4 lifts",
        _lie_transformer,
        512,
        lambda network, x, p, mask: network(x, p, mask=mask).unflatten(1, (-1, 4)).mean(2),
        ours="LieTransformer-SE3",
        size={"lifts": 4, "width": 512, "layers": 2, "heads": 8},
    ),
    "se3-transformer-pytorch": Peer(
        "se3_transformer_pytorch",
        "dim 512, 4 degrees; by default depth 2, heads 8, dim_head 24",
        partial(_se3_transformer, dim=512, num_degrees=4),
        512,
        lambda network, x, p, mask: network(x, p, mask),
        size={"width": 512, "layers": 2, "heads": 8},
        too_large=True,
    ),
    "se3-transformer-pytorch, smaller": Peer(
        "se3_transformer_pytorch",
        "not of the README: dim 16, 2 degrees, depth 2, heads 4, dim_head 4: 64 numbers an atom",
        partial(_se3_transformer, dim=16, num_degrees=2, heads=4, dim_head=4),
        16,
        lambda network, x, p, mask: network(x, p, mask),
        size={"width": 64, "layers": 2, "heads": 4},
    ),
    "equiformer-pytorch": Peer(
        "equiformer_pytorch",
        "dim (4, 4, 2), 3 degrees, depth 4, heads 2, dim_head 4: 26 numbers an atom",
        _equiformer,
        1,
        lambda network, x, p, mask: network(x, p, mask).type0[..., None],
        size={"width": 32, "layers": 4, "heads": 2},
        tokens=True,
    ),
    "egnn-pytorch": Peer(
        "egnn_pytorch",
        "2 layers EGNN(dim 512)",
        _egnn,
        512,
        _run_egnn,
        size={"width": 512, "layers": 2, "heads": 8},
    ),
}


def versions(peers: dict[str, Peer] = PEERS) -> dict[str, str]:
    """The peers that can be imported."""
    found = {}
    for name, peer in peers.items():
        # In another process: what is loaded here would count as memory of every case.
        command = [sys.executable, "-c", f"import {peer.module}"]
        if subprocess.run(command, capture_output=True).returncode == 0:
            found[name] = importlib.metadata.version(name.split(",")[0])
    return found


def equivariance(
    network: nn.Module, features: Tensor, positions: Tensor, mask: Tensor | None
) -> dict[str, float]:
    """Changes of the output, in units of its deviation over the clouds.

    What a network draws at random, it draws from the same seed each time.
    """
    group = SE3()
    generator = torch.Generator().manual_seed(0)
    elements = group.sample((DRAWS,), generator=generator, dtype=torch.float64).to(positions)
    network.eval()

    @torch.no_grad()
    def output(points: Tensor) -> Tensor:
        torch.manual_seed(0)
        return network(features, points, mask).double()

    still = output(positions)
    space = group.default_space()
    moved = torch.stack([output(space.act(g, positions)) - still for g in elements])
    stretch = positions.new_tensor([1.5, 1.0, 1.0])
    scale = still.std()
    return {
        "equivariance_error": float(f"{float(moved.square().mean().sqrt() / scale):.2g}"),
        "effect_of_positions": float(
            f"{float((output(positions * stretch) - still).square().mean().sqrt() / scale):.2g}"
        ),
    }
