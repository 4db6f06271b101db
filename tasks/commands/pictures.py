"""Pictures of what was learned: ``lie-attention plot dynamics``."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import torch
from jsonargparse import ArgumentParser

from attention import (
    Count,
    LieTransformer,
    LinearReadout,
    Network,
    Product,
    SharedLocationMLP,
)
from liegroups import SE2, T2, Frames
from tasks.objectives import Facts, HamiltonianDynamics
from tasks.plots.dynamics import animate, check_animation, draw_conserved, draw_data_efficiency
from tasks.runs.checkpoint import load_model
from tasks.runs.folder import RunFolder
from tasks.runs.settings import Settings
from tasks.runs.trust import Trust, reading
from tasks.sources.trajectories.data import Stretches
from tasks.sources.trajectories.reference import Trajectories, trajectories
from tasks.systems import Springs, System
from tasks.systems.integrators import Leapfrog
from tasks.systems.losses import Quadrature
from tasks.systems.metrics import LONG, drifts
from tasks.training.model import Model

_SHOWN_SYSTEMS = 8


def animation(
    run: str,
    path: str = "dynamics.gif",
    number: int = 0,
    points: int = LONG,
    fps: int = 25,
    trust: str | None = None,
) -> Path:
    """Animate a test system, as it moves and as a trained model says.

    Args:
        run: Folder of a run of dynamics.
        path: Where the animation goes: ``.gif``, or ``.mp4`` where ffmpeg is installed.
        number: Number of the test system, from 0.
        points: Number of points in time.
        fps: Frames in a second; a frame is a point in time.
        trust: A package whose classes the run may name besides ours.

    Returns:
        The path.

    Raises:
        ValueError: If the ending of the path is another, or the run is not one of dynamics.
        DivergenceError: The learned trajectory left every bound.
    """
    check_animation(Path(path))
    if number < 0 or points < 2 or fps < 1:
        raise ValueError(
            f"accepted: number 0 or more, points 2 or more, fps 1 or more; got {number}, {points} "
            f"and {fps}."
        )
    folder, trusted = RunFolder(run), Trust.of([trust] if trust else [])
    settings = Settings.read(folder.config, trusted).content
    if settings.get("task") != "dynamics":
        raise ValueError(f"run: {run} is not the folder of a run of dynamics.")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--system", type=System)
    with reading(trusted):
        given = parser.parse_object({"system": settings["data"]["system"]})
        system: System = parser.instantiate_classes(given).system
    model = load_model(Model, folder.weights, trust=trusted, what="run").double().eval()
    objective = model.objective
    assert isinstance(objective, HamiltonianDynamics)
    objective.system = system
    drawn = trajectories(system, number + 1, points, part="test", random_start=False)
    state, parameters = drawn.states[number:, 0], drawn.parameters[number:]
    with torch.no_grad():
        (predicted,) = objective.roll_out(model.network, state, parameters, points)
    animate(Path(path), system, drawn.states[number], predicted, parameters[0], fps)
    return Path(path)


def data_efficiency(
    results: str = "results/dynamics/data_efficiency.json", path: str = "data_efficiency.png"
) -> Path:
    """Draw errors against the number of training systems, beside the published curves.

    Args:
        results: File that ``benchmarks/dynamics.py`` wrote.
        path: Where the picture goes.

    Returns:
        The path.

    Raises:
        ValueError: There is no such file, or it has no rows.
    """
    try:
        rows = json.loads(Path(results).read_text())["rows"]
    except (OSError, ValueError, KeyError, TypeError):
        rows = []
    if not rows:
        raise ValueError(
            f"results: {results} is not a file of measured rows; give what benchmarks/dynamics.py "
            "of the project wrote."
        )
    draw_data_efficiency(Path(path), rows)
    return Path(path)


def conservation(
    path: str = "conservation.png", steps: int = 1000, train_systems: int = 25, seed: int = 0
) -> Path:
    """Draw what potentials on T2 and on SE2 with frames conserve, after a short training.

    Both attend with a perceptron of relative poses, are trained alike, by 100 iterations of
    L-BFGS, and rolled out by leapfrog in double precision.

    Args:
        path: Where the picture goes.
        steps: Number of steps of 0.01.
        train_systems: Number of springs to train on.
        seed: Seed of the weights and of the training systems.

    Returns:
        The path.

    Raises:
        ValueError: If a number is less than 1.
    """
    if steps < 1 or train_systems < 1:
        raise ValueError(f"steps and train_systems: 1 or more; got {steps} and {train_systems}.")
    system = Springs(points=steps + 1) if steps + 1 > 500 else Springs()
    train = trajectories(Springs(), train_systems, 5, seed=seed)
    test = trajectories(Springs(), _SHOWN_SYSTEMS, LONG, part="test", random_start=False)
    facts = Facts(system.in_features, 2 * system.dim, point_dim=system.dim)
    objective = HamiltonianDynamics(
        facts, loss=Quadrature(), integrator=Leapfrog(), feature_scale=0.1
    )
    objective.system = system
    found = {}
    for name, group in (("T2", T2()), ("SE2, frames", SE2())):
        torch.manual_seed(seed)
        network = LieTransformer(
            group,
            objective.in_features,
            objective.out_features,
            lift=Frames(),
            kernel=partial(Product, location=SharedLocationMLP),
            normalizer=Count(),
            head=LinearReadout,
            width=16,
            layers=1,
            heads=4,
        ).double()
        _train(network, objective, train)
        with torch.no_grad():
            states = objective.roll_out(network, test.states[:, 0], test.parameters, steps + 1)
        found[name] = drifts(system, states, test.parameters)
    times = system.spacing * torch.arange(steps + 1)
    title = f"Potentials learned from {train_systems} systems of springs: {steps:,} leapfrog steps"
    draw_conserved(Path(path), times, found, title)
    return Path(path)


def _train(network: Network, objective: HamiltonianDynamics, train: Trajectories) -> None:
    optimizer = torch.optim.LBFGS(
        network.parameters(), max_iter=100, history_size=20, line_search_fn="strong_wolfe"
    )
    batch = Stretches(train).batch(torch.arange(len(train)))

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value, _ = objective.loss(network, batch)
        value.backward()
        return value

    optimizer.step(closure)


PICTURES = {
    "data-efficiency": data_efficiency,
    "conservation": conservation,
    "animation": animation,
}
"""The pictures of ``lie-attention plot dynamics``."""
