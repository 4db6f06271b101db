"""Laws of good behavior as PyTorch code: types, shapes, compilation, transforms, errors."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from liegroups.group import LieGroup
from liegroups.testing.laws.exponential import condition_of_log
from liegroups.testing.laws.law import (
    Elements,
    Tangents,
    fail,
    law,
    require,
    require_close,
)
from liegroups.testing.tolerances import Kind, allowance, size

Operation = tuple[Callable[..., Tensor], tuple[str, ...], tuple[str, ...]]
"""An operation, the kinds of its inputs ("a" or "g") and the axes of its output."""


def operations(group: LieGroup) -> dict[str, Operation]:
    """The operations of a group that take tensors to tensors, by name."""
    return {
        "hat": (group.hat, ("a",), ("m", "m")),
        "vee": (group.vee, ("g",), ("dim",)),
        "exp": (group.exp, ("a",), ("m", "m")),
        "log": (group.log, ("g",), ("dim",)),
        "inverse": (group.inverse, ("g",), ("m", "m")),
        "compose": (group.compose, ("g", "g"), ("m", "m")),
        "relative": (group.relative, ("g", "g"), ("m", "m")),
        "relative_log": (group.relative_log, ("g", "g"), ("dim",)),
        "adjoint": (group.adjoint, ("g",), ("dim", "dim")),
        "bracket": (group.bracket, ("a", "a"), ("dim",)),
        "project": (group.project, ("g",), ("m", "m")),
        "contains": (group.contains, ("g",), ()),
        "in_range_of_exp": (group.in_range_of_exp, ("g",), ()),
    }


@law
def operations_keep_dtype(group: LieGroup, a: Tangents, g: Elements) -> None:
    """Every operation gives the dtype and device of its input; tests give booleans."""
    sources = {"a": a, "g": g}
    for name, (function, kinds, _) in operations(group).items():
        value = function(*(sources[kind] for kind in kinds))
        expected = torch.bool if name in ("contains", "in_range_of_exp") else a.dtype
        require(value.dtype == expected, f"{name} turns {a.dtype} into {value.dtype}")
        require(value.device == a.device, f"{name} moves {a.device} to {value.device}")
    require(group.identity(g).dtype == g.dtype, "identity(g) has another dtype than g")


@law
def operations_broadcast(group: LieGroup, a: Tangents, g: Elements) -> None:
    """Every operation broadcasts over leading axes, row by row, empty batches among them."""
    m, n = group.matrix_size, group.dim
    rows = a.shape[:-1].numel()
    a, g = a.reshape(rows, n)[:2], g.reshape(rows, m, m)[:2]
    sizes = {"m": m, "dim": n}
    sources = {"a": a, "g": g}
    for name, (function, kinds, axes) in operations(group).items():
        event = tuple(sizes[axis] for axis in axes)
        one = [sources[kind] for kind in kinds]
        if len(kinds) == 1:
            value, pairs = function(one[0][None]), [(0, j) for j in range(len(a))]
            values = [function(one[0][j]) for _, j in pairs]
        else:
            value = function(one[0][:, None], one[1][None])
            pairs = [(i, j) for i in range(len(a)) for j in range(len(a))]
            values = [function(one[0][i], one[1][j]) for i, j in pairs]
        shape = (1 if len(kinds) == 1 else len(a), len(a), *event)
        require(
            tuple(value.shape) == shape, f"{name} has shape {tuple(value.shape)}, expected {shape}"
        )
        expected = torch.stack(values).reshape(shape)
        inverses = [
            LieGroup.inverse(group, x) for x, kind in zip(one, kinds, strict=True) if kind == "g"
        ]
        scale = torch.stack([size(x, x.ndim) for x in (*one, *inverses)])
        allowed = allowance(Kind.TRANSCENDENTAL, a.dtype, scale.prod() ** 2)
        if name in ("log", "relative_log"):
            allowed = allowed * condition_of_log(group, expected.nan_to_num())
        # Outside the range of exp there is no logarithm, in a batch and alone.
        missing = value.isnan() & expected.isnan()
        value, expected = (torch.where(missing, 0, x) for x in (value, expected))
        require_close(value, expected, allowed, len(event), f"{name}, batched or alone", a=a, g=g)
        nothing = [x.new_empty(2, 0, *x.shape[1:]) for x in one]
        got, empty = tuple(function(*nothing).shape), (2, 0, *event)
        require(got == empty, f"{name} of an empty batch has shape {got}, expected {empty}")


@law
def operations_leave_their_inputs_alone(group: LieGroup, a: Tangents, g: Elements) -> None:
    """No operation writes into its inputs."""
    for name, (function, kinds, _) in operations(group).items():
        sources = {"a": a.clone(), "g": g.clone()}
        function(*(sources[kind] for kind in kinds))
        unchanged = torch.equal(sources["a"], a) and torch.equal(sources["g"], g)
        require(unchanged, f"{name} changes its input", a=a, g=g)


@law(once=True)
def operations_compile(group: LieGroup, a: Tangents, g: Elements) -> None:
    """exp, log and relative_log compile to one graph, forward and backward, and agree."""
    for name, given in _attention_inputs(group, a, g).items():
        function = getattr(group, name)
        inputs = [x.detach().clone().requires_grad_() for x in given]
        torch.compiler.reset()
        try:
            # Compiled from inside a function of ours: methods may be shared between groups.
            compiled = torch.compile(_call(function), fullgraph=True, backend="aot_eager")
            value = compiled(*inputs)
            if value.requires_grad:
                value.sum().backward()
        except Exception as error:
            fail(f"{name} does not compile to one graph: {_first_line(error)}")
        scale = size(value, 1).amax() ** 2
        allowed = allowance(Kind.TRANSCENDENTAL, a.dtype, scale)
        require_close(value, function(*inputs), allowed, 0, f"{name}, compiled or not")


@law(once=True)
def operations_vectorize(group: LieGroup, a: Tangents, g: Elements) -> None:
    """torch.func.vmap and jacrev work on exp, log and relative_log, and agree with autograd."""
    if group.dim == 0:
        return
    for name, inputs in _attention_inputs(group, a, g).items():
        function = getattr(group, name)
        try:
            mapped = torch.func.vmap(function)(*inputs)
            slopes = torch.func.vmap(torch.func.jacrev(function))(*inputs)
        except Exception as error:
            fail(f"{name} does not work under vmap and jacrev: {_first_line(error)}")
        allowed = allowance(Kind.DERIVATIVE, a.dtype, size(mapped, 1).amax() ** 2)
        require_close(mapped, function(*inputs), allowed, 0, f"{name} under vmap")
        alone = torch.autograd.functional.jacobian(
            lambda x, f=function, r=inputs[1:]: f(x, *(y[0] for y in r)), inputs[0][0]
        )
        require_close(slopes[0], alone, allowed, 0, f"{name} under jacrev")


@law
def group_is_a_value(group: LieGroup) -> None:
    """The group is frozen, hashable and equal to its copies, and it stores no tensors."""
    require_value(group)


@law
def wrong_shapes_are_refused(group: LieGroup) -> None:
    """Inputs of the wrong shape raise ValueError, with the shape and the group in the message."""
    m, n = group.matrix_size, group.dim
    wrong = {"a": torch.zeros(2, n + 1), "g": torch.zeros(2, m + 1, m)}
    right = {"a": torch.zeros(2, n), "g": torch.eye(m).expand(2, m, m)}
    for name, (function, kinds, _) in operations(group).items():
        for place, kind in enumerate(kinds):
            inputs = [right[k] for k in kinds]
            inputs[place] = wrong[kind]
            require_refusal(function, inputs, name, wrong[kind].shape, group)


def require_value(thing: Any) -> None:
    """Report unless an object is a frozen value without tensors that copies and pickles."""
    try:
        copies = (copy.deepcopy(thing), pickle.loads(pickle.dumps(thing)))
        number, numbers = hash(thing), {hash(twin) for twin in copies}
    except Exception as error:
        fail(f"it cannot be copied, pickled and hashed: {_first_line(error)}")
    require(all(twin == thing for twin in copies), "it differs from its copies")
    require(numbers == {number}, "its hash differs from its copies'")
    try:
        copies[0].attribute_that_nobody_has = 0
    except AttributeError:
        pass
    else:
        fail("it is not frozen: an attribute can be set")
    tensors = [k for k, v in getattr(thing, "__dict__", {}).items() if isinstance(v, Tensor)]
    require(not tensors, f"it stores tensors: {tensors}")


def require_refusal(
    function: Callable[..., object],
    inputs: list[Tensor],
    name: str,
    shape: torch.Size,
    subject: object,
) -> None:
    """Report unless a call raises ValueError that names the shape and the subject."""
    try:
        function(*inputs)
    except ValueError as error:
        message = str(error)
        require(
            str(tuple(shape)) in message and str(subject).split("(")[0] in message,
            f"{name} refuses the shape {tuple(shape)} with a message that does not name it "
            f"and {subject}: {message!r}",
        )
    except Exception as error:
        fail(
            f"{name} of the shape {tuple(shape)} raises {type(error).__name__}, not ValueError: "
            f"{_first_line(error)}"
        )
    else:
        fail(f"{name} accepts the shape {tuple(shape)}")


def _attention_inputs(group: LieGroup, a: Tensor, g: Tensor) -> dict[str, tuple[Tensor, ...]]:
    """Inputs of the operations that attention runs, and differentiates, by name."""
    return {"exp": (a,), "log": (g,), "relative_log": (g, g @ LieGroup.exp(group, a))}


def _call(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def call(*inputs: Tensor) -> Tensor:
        return function(*inputs)

    return call


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"


CONTRACT_LAWS = (
    operations_keep_dtype,
    operations_broadcast,
    operations_leave_their_inputs_alone,
    operations_compile,
    operations_vectorize,
    group_is_a_value,
    wrong_shapes_are_refused,
)
