"""Computations recorded as one list of tensor operations, without modules and autograd."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

import torch
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx

from attention import Nearest, Network, Radius

__all__ = ["record", "recordable"]


def recordable(network: Network) -> Network:
    """A copy whose number of pairs does not depend on the positions."""
    network = deepcopy(network)
    for module in network.modules():
        rule = getattr(module, "neighborhood", None)
        if isinstance(rule, Radius | Nearest):
            module.neighborhood = replace(rule, layout="dense")  # type: ignore[assignment]
    return network


def record(
    network: Network, setting: str, function: Callable[..., Any], *example: Any
) -> GraphModule:
    """The operations of a function of tensors, without what is for autograd alone.

    Args:
        network: The network that the function is of, for errors.
        setting: What asked for the record, for errors.
        function: The function.
        example: Arguments of the shapes that it is recorded for.

    Raises:
        ValueError: What the network computes, or the shapes of it, depends on the values of the
            positions, so that one record does not do for all.
    """
    try:
        # With fake tensors, whose values nobody can look at.
        graph = make_fx(function, tracing_mode="fake", _allow_non_fake_inputs=True)(*example)
    except Exception as error:  # Whatever the network does with the values.
        raise ValueError(
            f"{setting}: {type(network).__name__} cannot be recorded, because what it computes "
            f"depends on the values of the positions ({type(error).__name__}); leave out {setting}."
        ) from error
    for node in list(graph.graph.nodes):
        if node.target is torch.ops.aten.detach.default:
            node.replace_all_uses_with(node.args[0])
            graph.graph.erase_node(node)
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return graph
