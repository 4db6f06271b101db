"""Settings and checkpoints of version 0.1, brought to the form of this one.

Until December 2026 each task had a model of its own, whose network had one of four names and was
wrapped by a class of the task. Now one model has a ``network`` and an ``objective``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor

from tasks.errors import UserError

__all__ = ["is_of_0_1", "refuse_old_options", "upgrade_checkpoint", "upgrade_settings"]

Settings = dict[str, Any]

_MOVED: Final = {
    "tasks.averaging.WeightAverage": "tasks.training.WeightAverage",
    "tasks.md17.WeightAverage": "tasks.training.WeightAverage",
    "tasks.shapes.SumHead": "attention.SumHead",
    "tasks.shapes.Patterns": "tasks.sources.shapes.Patterns",
    "tasks.dynamics.LinearReadout": "attention.LinearReadout",
    **{f"tasks.md17.{name}": f"tasks.sources.md17.{name}" for name in ("RMD17", "XTB", "Springs")},
    **{
        f"tasks.dynamics.{name}": f"tasks.systems.{name}"
        for name in (
            *("Adaptive", "Leapfrog", "RK4", "Quadrature", "RollOut", "Slope"),
            *("PendulumChain", "Planets", "Springs"),
        )
    },
}
"""Classes that a configuration could name, and where they are now."""

_OF_LIE_TRANSFORMER: Final[tuple[str, ...]] = (
    *("group", "invariant", "lift", "width", "layers", "heads", "kernel", "normalizer"),
    *("neighborhood", "backend"),
)
_OLD_KEYS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("counter", "field", "property_network"), "network"),
    **{name: f"network.{name}" for name in (*_OF_LIE_TRANSFORMER, "pooling")},
    **{
        name: f"objective.{name}"
        for name in ("energy_weight", "force_weight", "loss", "integrator")
    },
    **{f"field.{name}": f"objective.{name}" for name in ("kinetic", "feature_scale")},
}
"""Keys of a model of version 0.1 alone, and what they are called now."""

_SYSTEM_PARAMETERS: Final = {"Springs": 2, "Planets": 1, "PendulumChain": 2}


def is_of_0_1(model: Any) -> bool:
    """Whether the settings of a model are of version 0.1."""
    return isinstance(model, dict) and any(key in model for key in _OLD_KEYS)


def refuse_old_options(args: Sequence[str]) -> None:
    """Raise where an option of version 0.1 is given.

    Args:
        args: The command and its arguments.

    Raises:
        UserError: The message names the option of today.
    """
    for arg in args:
        option = arg.partition("=")[0].removeprefix("--model.")
        # The longest name first: field.kinetic is not of the network.
        for old in sorted(_OLD_KEYS, key=len, reverse=True):
            if arg.startswith("--model.") and (option == old or option.startswith(f"{old}.")):
                now = _OLD_KEYS[old] + option.removeprefix(old)
                raise UserError(f"model.{option}: it is called model.{now} now.")


def upgrade_settings(content: Mapping[str, Any]) -> Settings:
    """Bring a configuration to the form of this version.

    Args:
        content: The settings: ``task``, ``model``, ``data`` and so on.

    Returns:
        The settings; those of this version as they are.
    """
    if not is_of_0_1(content.get("model")):
        return dict(content)
    found: Settings = _moved(content)
    found["model"] = _model(found["model"])
    data = found.get("data")
    if isinstance(data, dict) and "augment" in data:
        data["augment"] = _AUGMENT.get(data["augment"], data["augment"])
    return found


_AUGMENT: Final[Mapping[Any, Any]] = {
    True: {"class_path": "liegroups.SO3"},
    False: None,
    "D": None,
    "T2": {"class_path": "liegroups.T2"},
    "SE2": {"class_path": "liegroups.SE2"},
}


def _moved(value: Any) -> Any:
    """The same with classes named by where they are now."""
    if isinstance(value, dict):
        return {key: _moved(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_moved(each) for each in value]
    return _MOVED.get(value, value) if isinstance(value, str) else value


# ---- models ----------------------------------------------------------------------------------


def _model(old: Settings) -> Settings:
    """The model of a task as one of a network and an objective."""
    new = dict(old)
    if "field" in old:
        _of_dynamics(new)
    elif "counter" in old:
        _of_shapes(new)
    elif "energy_weight" in old or "force_weight" in old:
        _of_md17(new)
    else:
        _of_qm9(new)
    return new


def _split(spec: Any) -> tuple[str, Settings]:
    """The name of a class and its settings."""
    if isinstance(spec, str):
        return spec.rpartition(".")[2], {}
    return str(spec["class_path"]).rpartition(".")[2], dict(spec.get("init_args") or {})


def _lie_transformer(settings: Settings) -> Settings:
    return {"class_path": "attention.LieTransformer", "init_args": settings}


def _steerable(kind: str, settings: Settings) -> Settings:
    name = "ChannelwiseTransformer" if "Channelwise" in kind else "SteerableTransformer"
    return {"class_path": f"attention.steerable.{name}", "init_args": settings}


def _of_qm9(model: Settings) -> None:
    pooling = model.pop("pooling", "mean")
    spec = model.pop("property_network", None)
    own = {name: model.pop(name) for name in _OF_LIE_TRANSFORMER if name in model}
    if spec is None:
        model["network"] = _lie_transformer({**own, "pooling": pooling})
    else:
        kind, settings = _split(spec)
        if "invariant" in own:
            settings["invariant"] = own["invariant"]
        model["network"] = _steerable(kind, {**settings, "pooling": pooling})
    model["objective"] = {"class_path": "tasks.objectives.Regression"}


_OLD_WEIGHTS: Final = {"energies": "deviation", "energy_weight": 1.0, "force_weight": 10.0}


def _of_md17(model: Settings) -> None:
    kind, settings = _split(model.pop("network"))
    if "invariant" in model:
        settings["invariant"] = model.pop("invariant")
    settings["pooling"] = "sum"
    model["network"] = (
        _lie_transformer(settings) if kind == "LieEnergy" else _steerable(kind, settings)
    )
    weights = {n: model.pop(n) for n in ("energy_weight", "force_weight") if n in model}
    scale = {"scale": 0.1} if kind == "SteerableEnergy" else {}
    model["objective"] = {
        "class_path": "tasks.objectives.EnergiesAndForces",
        "init_args": {**_OLD_WEIGHTS, **weights, **scale},
    }


def _of_shapes(model: Settings) -> None:
    kind, settings = _split(model.pop("counter"))
    model["network"] = (
        {"class_path": "tasks.networks.SetTransformer", "init_args": settings}
        if kind == "SetTransformer"
        else _lie_transformer({"head": {"class_path": "attention.SumHead"}, **settings})
    )
    model["objective"] = {"class_path": "tasks.objectives.Counting"}


_BASELINES: Final = {
    "FC": ("Perceptron", "derivative"),
    "HFC": ("Perceptron", "potential"),
    "OGN": ("GraphNetwork", "derivative"),
    "HOGN": ("GraphNetwork", "hamiltonian"),
}


def _of_dynamics(model: Settings) -> None:
    kind, settings = _split(model.pop("field"))
    objective: Settings = {n: model.pop(n) for n in ("loss", "integrator") if n in model}
    if kind in _BASELINES:
        name, objective["learns"] = _BASELINES[kind]
        if objective["learns"] == "derivative":
            settings["output"] = "point"
        model["network"] = {"class_path": f"tasks.networks.{name}", "init_args": settings}
    else:
        objective |= {n: settings.pop(n) for n in ("kinetic", "feature_scale") if n in settings}
        model["network"] = _lie_transformer(settings)
    model["objective"] = {
        "class_path": "tasks.objectives.HamiltonianDynamics",
        "init_args": objective,
    }


# ---- checkpoints -----------------------------------------------------------------------------


def upgrade_checkpoint(checkpoint: Settings) -> None:
    """Bring a checkpoint of format 1 to format 2, in which one model is of all tasks."""
    old = checkpoint["hyper_parameters"]
    if not is_of_0_1(old):
        return
    new = upgrade_settings({"model": old})["model"]
    kind = new["objective"]["class_path"].rpartition(".")[2]
    facts, kept = _KEPT[kind](checkpoint, old)
    for name in ("system", "shapes"):
        new.pop(name, None)
    checkpoint["hyper_parameters"] = new | facts
    of_atoms = kind in ("Regression", "EnergiesAndForces")
    checkpoint["objective"] = {"kind": kind, "extra": kept, "centered": of_atoms}
    for key in ("state_dict", "current_model_state"):
        if key in checkpoint:
            checkpoint[key] = {_renamed(name): w for name, w in checkpoint[key].items()}
    if "field" in old and _split(old["field"])[0] == "FC":
        _reorder(checkpoint)


def _of_regression(checkpoint: Settings, old: Settings) -> tuple[Settings, Settings | None]:
    features = old.get("in_features", 15)
    facts = {"kinds": list(range(0, features, 3)), "point_dim": 3}
    elements = list(checkpoint.get("elements") or {})
    return facts, {"targets": checkpoint.get("targets") or [], "kinds": elements}


def _of_energies(checkpoint: Settings, old: Settings) -> tuple[Settings, Settings | None]:
    known = checkpoint.get("md17")
    kept = None
    if known is not None:
        numbers = ("energy_mean", "energy_deviation", "force_rms")
        kept = {name: known[name] for name in numbers}
        kept["molecule"] = {name: each for name, each in known.items() if name not in numbers}
    return {"in_features": 12, "outputs": 1, "kinds": list(range(12)), "point_dim": 3}, kept


def _of_counts(checkpoint: Settings, old: Settings) -> tuple[Settings, Settings | None]:
    shapes = list(old["shapes"])
    return {"outputs": len(shapes), "point_dim": 2}, {"shapes": shapes}


def _of_systems(checkpoint: Settings, old: Settings) -> tuple[Settings, Settings | None]:
    system = str(checkpoint.get("dynamics", ""))
    name = system.partition("(")[0]
    dim = 1 if name == "PendulumChain" else 2
    particles = re.search(r"particles=(\d+)", system)
    facts = {
        "in_features": _SYSTEM_PARAMETERS.get(name, 2),
        "outputs": 2 * dim,
        "point_dim": dim,
        "max_points": int(particles[1]) if particles else None,
    }
    return facts, {"system": system}


_KEPT: Final[Mapping[str, Callable[[Settings, Settings], tuple[Settings, Settings | None]]]] = {
    "Regression": _of_regression,
    "EnergiesAndForces": _of_energies,
    "Counting": _of_counts,
    "HamiltonianDynamics": _of_systems,
}


def _renamed(name: str) -> str:
    """The name of a weight in this version."""
    before, name = ("module.", name[7:]) if name.startswith("module.") else ("", name)
    if name in ("mean", "std", "references", "size"):
        return f"{before}objective.{name}"
    for old, new in (
        ("counter.network.", "network."),
        ("counter.pooling.", "network.seed_attention."),
        ("counter.", "network."),
        ("field.learned_kinetic.", "objective.learned_kinetic."),
        ("field.network.message.", "network.message."),
        ("field.network.update.", "network.update."),
        ("network.network.", "network."),
    ):
        if name.startswith(old):
            return before + new + name.removeprefix(old)
    if name.startswith("field.network."):
        rest = name.removeprefix("field.network.")
        return before + ("network.maps." if rest[0].isdigit() else "network.") + rest
    return before + name


def _reorder(checkpoint: Settings) -> None:
    """Bring the inputs and outputs of a perceptron of states into the order of particles.

    It took all positions, all momenta, all parameters; now it takes all positions, then momenta and
    parameters particle by particle, and gives both derivatives particle by particle.
    """
    facts = checkpoint["hyper_parameters"]
    count, dim, own = facts["max_points"], facts["outputs"] // 2, facts["in_features"]
    state = count * dim
    place = torch.arange(count * (2 * dim + own))
    momenta = place[state : 2 * state].view(count, dim)
    parameters = place[2 * state :].view(count, own)
    inputs = torch.cat((place[:state], torch.cat((momenta, parameters), 1).flatten()))
    both = torch.arange(2 * state).view(2, count, dim)
    outputs = both.transpose(0, 1).flatten()

    def turn(first: Tensor | None, last: list[Tensor]) -> tuple[Tensor | None, list[Tensor]]:
        return None if first is None else first[:, inputs], [each[outputs] for each in last]

    for key in ("state_dict", "current_model_state"):
        weights = checkpoint.get(key) or {}
        for prefix in {name.partition("network.maps.")[0] for name in weights if ".maps." in name}:
            numbers = [
                int(name.split(".maps.")[1].split(".")[0]) for name in weights if ".maps." in name
            ]
            start = f"{prefix}network.maps.0.weight"
            ends = [f"{prefix}network.maps.{max(numbers)}.{part}" for part in ("weight", "bias")]
            weights[start], new = turn(weights[start], [weights[end] for end in ends])
            weights.update(zip(ends, new, strict=True))
    for optimizer in checkpoint.get("optimizer_states") or []:
        state_of = optimizer.get("state") or {}
        if len(state_of) < 4 or not all("exp_avg" in each for each in state_of.values()):
            continue
        last = max(state_of)
        for moment in ("exp_avg", "exp_avg_sq"):
            state_of[0][moment] = state_of[0][moment][:, inputs]
            for number in (last - 1, last):
                state_of[number][moment] = state_of[number][moment][outputs]
