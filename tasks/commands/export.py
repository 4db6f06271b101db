"""``lie-attention export``: a trained model as one file that runs nothing when it is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from jsonargparse import ArgumentParser

from tasks.errors import UserError
from tasks.runs.checkpoint import load_model, read_checkpoint
from tasks.runs.exported import SUFFIX, write_exported
from tasks.runs.folder import RunFolder, free_file
from tasks.runs.settings import read_mapping
from tasks.runs.trust import Trust
from tasks.training.model import Model

__all__ = ["card_of", "export", "export_run"]

_FIGURES: Final = ("test/", "equivariance/", "train/", "unit", "energy_unit", "target", "split",
                   "molecule", "theory", "parameters")  # fmt: skip


def export(args: Sequence[str]) -> bool:
    """Write the model of a run to a file and say where it is.

    Args:
        args: What follows ``export`` on the command line.

    Returns:
        True.

    Raises:
        UserError: If there is no trained run, or the file is there already.
    """
    parser = ArgumentParser(
        prog="lie-attention export",
        description="The best weights of a run as one file of safetensors, with what builds the "
        "model and a card. predict and md take it in place of a checkpoint.",
        exit_on_error=False,
    )
    parser.add_argument("--run", type=Path, required=True, help="The folder of the run.")
    parser.add_argument(
        "--output", type=Path, default=None, help=f"The file; by default RUN/NAME{SUFFIX}."
    )
    parser.add_argument("--half", action="store_true", help="Weights in half precision.")
    parser.add_argument("--not_for", type=str, default="", help="What it must not be used for.")
    parser.add_argument("--trust", nargs="*", default=[], help="Packages besides ours.")
    try:
        given = parser.parse_args(list(args))
    except Exception as error:
        raise UserError(f"export: {' '.join(str(error).split())}") from error
    output = given.output or given.run / f"{given.run.resolve().name}{SUFFIX}"
    if output.suffix != SUFFIX:
        raise UserError(f"output: {output}; the name of the file ends in {SUFFIX}.")
    if not output.parent.is_dir():
        raise UserError(f"output: there is no folder {output.parent}.")
    if output.exists():
        raise UserError(f"output: there is a file {output}, and nothing is overwritten.")
    card = {"not_for": given.not_for} if given.not_for else {}
    with free_file(output) as path:
        export_run(given.run, path, half=given.half, card=card, trust=Trust.of(given.trust))
    print(f"Written: {output} ({output.stat().st_size / 1e6:.1f} MB)")
    return True


def export_run(
    run: Path,
    path: Path,
    *,
    half: bool = False,
    card: Mapping[str, Any] | None = None,
    trust: Trust | None = None,
) -> dict[str, Any]:
    """Write the best weights of a run, and return the card.

    Args:
        run: The folder of the run.
        path: The file to write.
        half: Whether to keep the weights in half precision.
        card: Further entries of the card.
        trust: What the settings may name besides classes of ours.

    Raises:
        UserError: If the run has no trained weights that can be read.
    """
    folder = RunFolder(run)
    if not folder.holds_a_run():
        raise UserError(f"run: {run} is not the folder of a run.")
    weights = folder.weights
    model = load_model(Model, weights, trust=trust, what="run")
    if not model.is_trained:
        raise UserError(f"run: {weights} has not been trained.")
    found = {**card_of(folder, model), **(card or {})}
    write_exported(path, read_checkpoint(weights, "run"), found, half)
    return found


def card_of(folder: RunFolder, model: Model) -> dict[str, Any]:
    """What a run says of its model: what it predicts, by which figures, at which cost."""
    metrics = folder.read_metrics()
    config = read_mapping("run", folder.config) if folder.config.is_file() else {}
    figures = {
        key: value
        for key, value in metrics.items()
        if key.startswith(_FIGURES) and not isinstance(value, list | dict)
    }
    return {
        "predicts": model.objective.described,
        "network": model.network.label,
        **figures,
        "seed": config.get("seed_everything"),
        **metrics.get("provenance", {}),
    }
