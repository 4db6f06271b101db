"""The tasks that a configuration can name: where their data come from, and what they default to.

A task is nothing but this: everything that is asked of every task is written once, elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Final

from tasks.data.module import CloudData
from tasks.errors import UserError

__all__ = ["TASKS", "Task", "find_task"]


@dataclass(frozen=True)
class Task:
    """A kind of data, and what a network is trained for on them where nothing else is said.

    Args:
        data: The class of the data, by its dotted path.
        objective: The objective.
        network: The network and its settings.
        settings: Further settings of the model.
        pictures: Module of the pictures of ``lie-attention plot``, where there are any.
    """

    data: str
    objective: str | Mapping[str, Any]
    network: Mapping[str, Any]
    settings: Mapping[str, Any] = field(default_factory=dict)
    pictures: str | None = None

    @property
    def data_class(self) -> type[CloudData]:
        """The class of the data."""
        module, _, name = self.data.rpartition(".")
        found: type[CloudData] = getattr(import_module(module), name)
        return found

    @property
    def defaults(self) -> dict[str, Any]:
        """Defaults of the settings, by their dotted keys."""
        objective = self.objective
        if isinstance(objective, str):
            objective = {"class_path": objective}
        own = {f"model.{name}": value for name, value in self.settings.items()}
        return {"model.network": dict(self.network), "model.objective": dict(objective), **own}


def _lie_transformer(**settings: Any) -> dict[str, Any]:
    return {"class_path": "attention.LieTransformer", "init_args": settings}


_IN_A_PLANE: Final = {"group": "liegroups.T2", "normalizer": "attention.Count", "heads": 8}

TASKS: Final[Mapping[str, Task]] = {
    "qm9": Task(
        "tasks.sources.qm9.QM9",
        "tasks.objectives.Regression",
        _lie_transformer(group="liegroups.T3"),
    ),
    "molecules": Task(
        "tasks.sources.databases.Database",
        "tasks.objectives.Regression",
        _lie_transformer(group="liegroups.T3"),
    ),
    "md17": Task(
        "tasks.sources.md17.MD17",
        {"class_path": "tasks.objectives.EnergiesAndForces", "init_args": {"scale": 0.1}},
        {
            "class_path": "attention.steerable.SteerableTransformer",
            "init_args": {
                "types": [0, 1, 2],
                "channels": 16,
                "layers": 3,
                "neighborhood": {
                    "class_path": "attention.Radius",
                    "init_args": {"radius": 4.0, "loops": False},
                },
                "residual": True,
                "norm": True,
                "gate": True,
                "pooling": "sum",
            },
        },
        {"learning_rate": 3e-3},
    ),
    "shapes": Task(
        "tasks.sources.shapes.Shapes",
        "tasks.objectives.Counting",
        _lie_transformer(**_IN_A_PLANE, width=64, head="attention.SumHead"),
        {"learning_rate": 5e-3},
        "tasks.plots.shapes",
    ),
    "dynamics": Task(
        "tasks.sources.trajectories.DynamicsData",
        "tasks.objectives.HamiltonianDynamics",
        _lie_transformer(**_IN_A_PLANE, width=32, layers=2, head="attention.LinearReadout"),
        {"learning_rate": 3e-3, "warmup": 0.02},
        "tasks.commands.pictures",
    ),
    "clouds": Task(
        "tasks.sources.FromSource",
        "tasks.objectives.Regression",
        _lie_transformer(group="liegroups.SE3"),
    ),
}
"""The tasks by name; ``clouds`` is for a source of your own."""


def find_task(name: object) -> Task:
    """The task of a name.

    Raises:
        UserError: There is none.
    """
    if not isinstance(name, str) or name not in TASKS:
        raise UserError(f"task: there is no task {name!r}; accepted: {', '.join(TASKS)}.")
    return TASKS[name]
