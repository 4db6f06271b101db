"""The LieTransformer of its public code, from the folder of a checkout; nothing of it is here.

The folder is that of github.com/oxcsml/lie-transformer with its submodule LieConv,
github.com/MJHutchinson/LieConv.
"""

from __future__ import annotations

import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

import torch
from torch import Tensor, nn


class _Mending(SourceFileLoader):
    """Reads a module whose last commit is no Python, and mends the line."""

    def get_data(self, path: str) -> bytes:
        return super().get_data(path).replace(b"(*p.shape[:2])\n", b"(*p.shape[:2],)\n")


def public_network(
    folder: str, group: str, *, in_features: int, lifts: int, width: int, layers: int, heads: int
) -> nn.Module:
    """Make the network, as its configuration for molecules does.

    Args:
        folder: The checkout.
        group: ``SE3`` or ``T3``.
        in_features: Number of features of a point.
        lifts: Number of lifts of each point.
        width: Number of features of a lifted point.
        layers: Number of blocks.
        heads: Number of heads.

    Raises:
        ValueError: If the folder is no such checkout.
    """
    root = Path(folder)
    for part in ("eqv_transformer/eqv_attention.py", "LieConv/lie_conv/lieGroups.py"):
        if not (root / part).is_file():
            raise ValueError(
                f"public: {root} has no {part}; give a checkout of oxcsml/lie-transformer, with "
                "MJHutchinson/LieConv in its folder LieConv."
            )
    sys.path[:0] = [str(root), str(root / "LieConv")]
    name = "lie_conv.lieGroups"
    loader = _Mending(name, str(root / "LieConv/lie_conv/lieGroups.py"))
    spec = spec_from_loader(name, loader)
    assert spec is not None
    groups = sys.modules[name] = module_from_spec(spec)
    loader.exec_module(groups)
    from eqv_transformer.eqv_attention import EquivariantTransformer  # type: ignore[import-not-found]

    torch.manual_seed(0)
    network = EquivariantTransformer(
        dim_input=in_features,
        dim_output=1,
        dim_hidden=width,
        num_layers=layers,
        num_heads=heads,
        global_pool=True,
        global_pool_mean=True,
        group=groups.SE3(0.2) if group == "SE3" else groups.T(3),
        liftsamples=lifts,
        block_norm="layer_pre",
        output_norm="none",
        kernel_norm="none",
        kernel_type="mlp",
        kernel_dim=16,
        kernel_act="swish",
        fill=1.0,
        mc_samples=0,
        attention_fn="softmax",
        feature_embed_dim=None,
        architecture="model_1",
    )
    return _Called(network)


class _Called(nn.Module):
    """The network, called as ours are."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, features: Tensor, positions: Tensor, mask: Tensor | None) -> Tensor:
        exists = torch.ones(features.shape[:2], dtype=torch.bool) if mask is None else mask
        found: Tensor = self.network((positions, features, exists))
        return found
