"""Trained models that come with the package, by name.

    >>> from tasks import pretrained
    >>> model = pretrained.load("qm9-homo")
    >>> pretrained.card("qm9-homo")["target"]
    'homo'

Each is a file of weights that runs nothing when it is read, and has a card that says what it was
trained on, how far it errs, and what it is not for.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.errors import UserError
from tasks.runs.exported import SUFFIX, read_card

if TYPE_CHECKING:
    from tasks.training.model import Model

__all__ = ["card", "load", "names", "path_of"]

_WEIGHTS = Path(__file__).parent / "weights"


def names() -> list[str]:
    """The names of all models."""
    return sorted(path.stem for path in _WEIGHTS.glob(f"*{SUFFIX}"))


def path_of(name: str) -> Path:
    """The file of a model.

    Raises:
        UserError: If there is no model of that name.
    """
    known = names()
    if name not in known:
        raise UserError(f"model: there is no trained model {name!r}; there are {', '.join(known)}.")
    return _WEIGHTS / f"{name}{SUFFIX}"


def card(name: str) -> dict[str, Any]:
    """What is to be known of a model: data, error, cost, and what it must not be used for.

    Raises:
        UserError: If there is no model of that name.
    """
    return read_card(path_of(name))


def load(name: str, device: str = "cpu") -> Model:
    """A trained model, ready to predict.

    Args:
        name: One of ``names()``.
        device: Where it is to compute.

    Raises:
        UserError: If there is no model of that name, or no such device.
    """
    from tasks.runs.checkpoint import load_model
    from tasks.training.model import Model  # Names are there without torch's trainer.

    model = load_model(Model, path_of(name), device=device, what="model")
    return model.eval().requires_grad_(False)
