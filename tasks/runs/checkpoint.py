"""Checkpoints: how they are written, read, brought up to date, and refused."""

from __future__ import annotations

import inspect
import io
import os
import pickle
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeVar

import torch
from jsonargparse import ArgumentError
from lightning_fabric.plugins.io import TorchCheckpointIO
from pytorch_lightning import LightningModule
from pytorch_lightning.cli import instantiate_module
from torch import Tensor

import tasks.runs.types  # noqa: F401 (it is for what it does)
from tasks.cache import write_atomic
from tasks.errors import UserError
from tasks.provenance import version
from tasks.runs.exported import SUFFIX, read_exported
from tasks.runs.folder import RunFolder, refuse_links
from tasks.runs.trust import Trust, reading, refused_import
from tasks.runs.upgrade import upgrade_checkpoint

__all__ = [
    "FORMAT",
    "UPGRADES",
    "Diverged",
    "RunCheckpoints",
    "check_device",
    "check_weights",
    "load_model",
    "read_checkpoint",
    "refuse_unknown",
]

FORMAT: Final = 2
"""The format of the checkpoints that this version writes."""

_OURS: Final = "lie_attention"
_NEEDED: Final = frozenset({"state_dict", "hyper_parameters", "pytorch-lightning_version"})
_INTERNAL: Final = ("_instantiator", "_class_path")
_GIVE: Final = (
    "Give the folder of a finished run by --run, or a file from runs/NAME/checkpoints together "
    "with --config runs/NAME/config.yaml."
)
_SHOWN: Final = 4

Checkpoint = dict[str, Any]
M = TypeVar("M", bound=LightningModule)


class Diverged(ValueError):
    """The weights of a training are not finite any more.

    Args:
        epoch: The epoch.
        folder: Where the weights before are.
    """

    def __init__(self, epoch: int, folder: Path) -> None:
        super().__init__(
            f"the training diverged in epoch {epoch}: the weights are not finite. Those before are "
            f"in {folder}; start again with a lower model.learning_rate, or with gradients clipped "
            "by trainer.gradient_clip_val."
        )


class RunCheckpoints(TorchCheckpointIO):
    """Writes the checkpoints of a run whole and finite, and reads them from wherever it lies.

    A process that is killed leaves the old file or the new one. Lightning's own goes through the
    system's temporary folder, and from there to the place by a copy where that is another file
    system.

    Args:
        folder: The folder of the run.
        resumed: Whether the run goes on, so that what its checkpoints say of its best weights
            holds; else the training starts from weights of another.
    """

    def __init__(self, folder: RunFolder, resumed: bool) -> None:
        self.folder, self.resumed = folder, resumed

    def save_checkpoint(
        self, checkpoint: Checkpoint, path: Any, storage_options: Any = None
    ) -> None:
        """Write a checkpoint in one step.

        Raises:
            Diverged: If a weight is not finite; what stood at the path still does.
        """
        for key in ("state_dict", "current_model_state", "optimizer_states"):
            if not all(tensor.isfinite().all() for tensor in _tensors(checkpoint.get(key))):
                raise Diverged(checkpoint.get("epoch", 0), Path(path).parent)
        refuse_links(self.folder.path, Path(path))
        content = io.BytesIO()
        torch.save({**checkpoint, _OURS: {"format": FORMAT, "version": version()}}, content)
        write_atomic(Path(path), content.getvalue())

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = None
    ) -> Checkpoint:
        """Read a checkpoint; nothing in it is run, whatever ``weights_only`` says."""
        checkpoint = read_checkpoint(Path(path))
        _settle(checkpoint, self.folder.path if self.resumed else None)
        return checkpoint


def read_checkpoint(path: Path, what: str = "ckpt_path") -> Checkpoint:
    """Read a checkpoint and bring it up to date, without running anything in it.

    Args:
        path: The file.
        what: What it is given as, for errors.

    Returns:
        The checkpoint, on the CPU, in the format of this version.

    Raises:
        UserError: If it is none, is damaged, holds code, or was written by a newer version. The
            message says which.
    """
    if path.suffix == SUFFIX:
        return _up_to_date(_checked(read_exported(path, what), path, what), path, what)
    if not path.is_file():
        raise UserError(f"{what}: there is no file {path}.")
    if not os.access(path, os.R_OK):
        raise UserError(f"{what}: {path} may not be read by this user.")
    try:
        archive = zipfile.is_zipfile(path)
        with path.open("rb") as file:
            begins = file.read(2) == b"PK"
    except OSError as error:
        raise UserError(f"{what}: {path} cannot be read: {error.strerror or error}.") from error
    if not archive:
        reason = "it is damaged, its end is missing" if begins else "it is another file"
        raise UserError(
            f"{what}: {path} is not a checkpoint: {reason} ({path.stat().st_size:,} bytes). {_GIVE}"
        )
    try:
        content = torch.load(path, weights_only=True, map_location="cpu", mmap=False)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        if named is None:
            raise UserError(f"{what}: {path} is damaged: its index is not readable.") from error
        raise UserError(
            f"{what}: {path} is no checkpoint that can be trusted: it holds {named[1]} where "
            "weights and plain settings belong. Making that would run code, so it is not read."
        ) from error
    except (MemoryError, OSError):
        raise
    except Exception as error:  # Foreign bytes make the reader fail in any way.
        raise UserError(f"{what}: {path} is damaged: {_first_line(error)}") from error
    return _up_to_date(_checked(content, path, what), path, what)


def _checked(content: Any, path: Path, what: str) -> Checkpoint:
    """What was read, where it has all that a checkpoint has."""
    if (
        not isinstance(content, dict)
        or not content.keys() >= _NEEDED
        or not all(isinstance(content[key], dict) for key in ("state_dict", "hyper_parameters"))
        or not all(isinstance(each, Tensor) for each in content["state_dict"].values())
        or not isinstance(content.get("callbacks", {}), dict)
    ):
        raise UserError(f"{what}: {path} is not a checkpoint of a run. {_GIVE}")
    return content


# ---- formats ---------------------------------------------------------------------------------


def _from_0_to_1(checkpoint: Checkpoint) -> None:
    """Checkpoints before the format had a number: version 0.1.0 until November 2026.

    They do not say which rows were trained on, so the rows that are given count as those.
    """
    checkpoint.setdefault("parts", None)


UPGRADES: Final[Mapping[int, Callable[[Checkpoint], None]]] = {
    0: _from_0_to_1,
    1: upgrade_checkpoint,
}
"""What brings a checkpoint of a format to the next one, by the number of the format."""


def _up_to_date(checkpoint: Checkpoint, path: Path, what: str) -> Checkpoint:
    made = checkpoint.get(_OURS) or {}
    number = made.get("format", 0) if isinstance(made, dict) else None
    if not isinstance(number, int) or number < 0:
        raise UserError(f"{what}: {path} has a format of {number!r}, which is no number of one.")
    if number > FORMAT:
        raise UserError(
            f"{what}: {path} was written by lie-attention {made.get('version', 'of a later date')} "
            f"in format {number}; this is version {version()}, which reads formats up to "
            f"{FORMAT}. Install the newer version."
        )
    for each in range(number, FORMAT):
        UPGRADES[each](checkpoint)
    checkpoint[_OURS] = {"version": "0.1.0", **made, "format": FORMAT}
    return checkpoint


# ---- models ----------------------------------------------------------------------------------


def load_model(
    kind: type[M],
    path: Path,
    *,
    device: str | torch.device = "cpu",
    trust: Trust | None = None,
    settings: Mapping[str, Any] = MappingProxyType({}),
    what: str = "checkpoint",
) -> M:
    """Build the model that a checkpoint describes, with its weights.

    Args:
        kind: The model's class.
        path: The checkpoint.
        device: Where the model is to compute.
        trust: What the checkpoint's settings may name besides classes of ours.
        settings: Settings that take the place of those of the checkpoint.
        what: What it is given as, for errors.

    Raises:
        UserError: If the file is no checkpoint, its settings are not known or not trusted, a class
            cannot be imported, the weights do not fit, or the device is not there. The message
            says which.
    """
    check_device(device)
    checkpoint = read_checkpoint(path, what)
    made_by = checkpoint[_OURS]["version"]
    found = dict(checkpoint["hyper_parameters"])
    from_config = found.pop("_instantiator", None) is not None
    refuse_unknown(kind, found, f"{what}: {path}", made_by)
    trust = trust or Trust()
    trust.check(found, f"{what}: {path}")
    found |= settings
    try:
        with reading(trust):
            model = instantiate_module(kind, found) if from_config else kind(**found)
        model.on_load_checkpoint(checkpoint)
    except (ArgumentError, TypeError, ImportError) as error:
        raise UserError(_unbuildable(f"{what}: {path}", error, made_by)) from error
    except ValueError as error:
        raise UserError(f"{what}: {path}: {error}") from error
    check_weights(model, checkpoint["state_dict"], f"{what}: {path}")
    model.load_state_dict(checkpoint["state_dict"])
    return model.to(device)


def refuse_unknown(
    kind: type[LightningModule], settings: Mapping[str, Any], where: str, made_by: str
) -> None:
    """Raise where a checkpoint has a setting that the model of this version does not.

    Args:
        kind: The model's class.
        settings: The settings of the checkpoint.
        where: The file, for errors.
        made_by: The version of the product that wrote it.

    Raises:
        UserError: The message names the settings.
    """
    known = inspect.signature(kind.__init__).parameters
    unknown = [name for name in settings if name not in known and name not in _INTERNAL]
    if unknown:
        raise UserError(
            f"{where} was trained with {', '.join(unknown)}, which {kind.__name__} of this "
            f"version, {version()}, does not know; the checkpoint is of version {made_by}. "
            "Leaving it out would give another network."
        )


def check_weights(model: LightningModule, given: Mapping[str, Tensor], where: str) -> None:
    """Raise unless the weights of a checkpoint fit a model.

    Args:
        model: The model.
        given: The weights by name.
        where: The file, for errors.

    Raises:
        UserError: The message names the first weights that differ.
    """
    own = model.state_dict()
    differing = {
        "lacks": [name for name in own if name not in given],
        "has": [name for name in given if name not in own],
        "has another shape for": [
            f"{name}, {tuple(given[name].shape)} and not {tuple(own[name].shape)}"
            for name in own
            if name in given and own[name].shape != given[name].shape
        ],
    }
    parts = [f"it {verb} {_some(names)}" for verb, names in differing.items() if names]
    if parts:
        raise UserError(
            f"{where}: the weights do not fit the network of its settings: {'; '.join(parts)}. The "
            f"checkpoint is of another network or another version. {_GIVE}"
        )


def check_device(device: str | torch.device) -> None:
    """Raise unless there is a device.

    Raises:
        UserError: The message says what there is.
    """
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        here = "cpu, cuda" if torch.cuda.is_available() else "cpu"
        raise UserError(
            f"device: {device} cannot be used here ({_first_line(error)}); there is: {here}."
        ) from error


def _unbuildable(where: str, error: Exception, made_by: str) -> str:
    text = " ".join(str(error).split())
    denied = refused_import(text)
    if denied is not None:
        return (
            f"{where} names {denied}, which is none of our classes, so it is not imported: a "
            "checkpoint may come from anybody. If you trust it, name its package as trusted."
        )
    absent = re.search(r"No module named '([\w.]+)'", text)
    if absent is not None:
        return (
            f"{where} needs the package {absent[1]}, which is not installed here or not found from "
            "this folder."
        )
    return f"{where} is of version {made_by}; its settings do not fit this one: {text}"


# ---- places ----------------------------------------------------------------------------------


def _settle(checkpoint: Checkpoint, folder: Path | None) -> None:
    """Make what callbacks know of files true for where the run lies now.

    Lightning keeps absolute paths, and forgets the best score where they have changed.

    Args:
        checkpoint: The checkpoint, which is changed.
        folder: The folder of the run that goes on; without it, what is known of another run's
            files is dropped.
    """
    callbacks = checkpoint.get("callbacks") or {}
    of_files = {name: state for name, state in callbacks.items() if _knows_files(state)}
    if folder is None:
        for name in of_files:
            del callbacks[name]
        return
    for state in of_files.values():
        old = Path(str(state["dirpath"]))
        new = Path(os.path.realpath(folder / "checkpoints"))
        if old.name != "checkpoints":
            continue

        def moved(path: Any, old: Path = old, new: Path = new) -> str:
            """The same file where the run lies now; nothing where it is not there."""
            place = Path(str(path))
            there = new / place.relative_to(old) if place.is_relative_to(old) else new / place.name
            return str(there) if there.is_file() else ""

        state["dirpath"] = str(new)
        for key in ("best_model_path", "kth_best_model_path", "last_model_path"):
            state[key] = moved(state.get(key) or "")
        state["best_k_models"] = {
            moved(path): score
            for path, score in (state.get("best_k_models") or {}).items()
            if moved(path)
        }
        if not state["best_model_path"]:
            state["best_model_score"] = None


def _knows_files(state: Any) -> bool:
    return isinstance(state, dict) and {"dirpath", "best_model_path"} <= state.keys()


def _tensors(value: Any) -> Iterator[Tensor]:
    """All tensors of floating numbers in nested mappings and lists."""
    if isinstance(value, Tensor):
        if value.is_floating_point() or value.is_complex():
            yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _tensors(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _tensors(each)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
