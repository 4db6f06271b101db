"""Trained models as one file of weights that runs nothing when it is read: safetensors.

The weights are the tensors of the file; how the model is built, what its objective learned of the
data, and a card that says what it is, are text beside them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from tasks.cache import write_atomic
from tasks.errors import UserError

__all__ = ["SUFFIX", "read_card", "read_exported", "write_exported"]

SUFFIX: Final = ".safetensors"
_SETTINGS: Final = ("hyper_parameters", "objective", "lie_attention", "pytorch-lightning_version")
_KEY: Final = "lie_attention"
_TENSOR: Final = "tensor"
_BESIDE: Final = "beside."

Checkpoint = dict[str, Any]


def write_exported(
    path: Path, checkpoint: Mapping[str, Any], card: Mapping[str, Any], half: bool = False
) -> None:
    """Write the model of a checkpoint and its card, in one step.

    Args:
        path: The file, which ends in ``.safetensors``.
        checkpoint: A checkpoint, as ``read_checkpoint`` gives it.
        card: What is to be known of the model, of plain values.
        half: Whether to round weights of single and double precision to half, which takes half of
            the room. Weights above 65,504 stay in single precision.

    Raises:
        UserError: If a setting cannot be written as text.
    """
    tensors = {}
    for name, weight in checkpoint["state_dict"].items():
        kept = weight.detach().cpu().contiguous()
        if half and kept.is_floating_point():
            rounded = kept.half()
            kept = rounded if rounded.isfinite().all() else kept.float()
        tensors[name] = kept.clone()  # Tensors that share their memory cannot be written.

    def as_text(value: Any) -> Any:
        if isinstance(value, Tensor):
            name = f"{_BESIDE}{len(tensors)}"
            tensors[name] = value.detach().cpu().contiguous().clone()
            return {_TENSOR: name}
        raise UserError(f"export: {type(value).__name__} {value!r} cannot be written as text.")

    settings = {key: checkpoint[key] for key in _SETTINGS}
    content = {"settings": json.dumps(settings, default=as_text), "card": json.dumps(dict(card))}
    write_atomic(path, save(tensors, {_KEY: json.dumps(content)}))


def read_exported(path: Path, what: str) -> Checkpoint:
    """Read a model that was exported, as a checkpoint, with weights of single precision at least.

    Args:
        path: The file.
        what: What it is given as, for errors.

    Raises:
        UserError: If it is no such file, or is damaged.
    """
    weights, content = _read(path, what)

    def from_text(value: dict[str, Any]) -> Any:
        if value.keys() != {_TENSOR}:
            return value
        if value[_TENSOR] not in weights:
            raise KeyError(value[_TENSOR])
        return weights[value[_TENSOR]]

    try:
        found = json.loads(content["settings"], object_hook=from_text)
        if not isinstance(found, dict) or not found.keys() >= set(_SETTINGS):
            raise KeyError("settings")
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{what}: {path} is damaged: its settings are not readable.") from error
    found["state_dict"] = {
        name: weight.float() if weight.dtype == torch.half else weight
        for name, weight in weights.items()
        if not name.startswith(_BESIDE)
    }
    checkpoint: Checkpoint = found
    return checkpoint


def read_card(path: Path, what: str = "model") -> dict[str, Any]:
    """What an exported model says of itself.

    Raises:
        UserError: If the file is none, or is damaged.
    """
    _, content = _read(path, what)
    try:
        card = json.loads(content["card"])
        if not isinstance(card, dict):
            raise KeyError("card")
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{what}: {path} is damaged: its card is not readable.") from error
    return card


def _read(path: Path, what: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the texts of a file."""
    if not path.is_file():
        raise UserError(f"{what}: there is no file {path}.")
    if not os.access(path, os.R_OK):
        raise UserError(f"{what}: {path} may not be read by this user.")
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{what}: {path} is damaged, or no file of safetensors: {error}") from error
    if _KEY not in metadata:
        raise UserError(
            f"{what}: {path} holds weights, but not how their model is built; give a file that "
            "lie-attention export wrote."
        )
    try:
        content = json.loads(metadata[_KEY])
        if not isinstance(content, dict):
            raise ValueError(content)
    except ValueError as error:
        raise UserError(f"{what}: {path} is damaged: its settings are not readable.") from error
    return tensors, content
