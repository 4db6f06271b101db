"""The settings of a run: what ``config.yaml`` says, and what may be changed of it."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pytorch_lightning import Callback, LightningModule, Trainer

from tasks.cache import write_atomic
from tasks.errors import UserError
from tasks.provenance import provenance
from tasks.runs.folder import RunFolder
from tasks.runs.trust import Trust
from tasks.runs.upgrade import upgrade_settings

__all__ = ["HISTORY", "KeepSettings", "Settings", "differences", "read_mapping", "refuse_changes"]

HISTORY = "history"
"""The key of ``config.yaml`` under which a run keeps what it was begun and gone on with."""

_NOT_OF_A_RUN = ("config", "run", "resume", "ckpt_path", "weights_only", "new_rows", "trust")
_SHOWN = 6


@dataclass(frozen=True)
class Settings:
    """What ``config.yaml`` in the folder of a run says.

    Args:
        content: The settings; none of them says where the run is.
        history: Beginnings: one entry for each time that the training was begun or gone on with
            other settings.
    """

    content: Mapping[str, Any]
    history: tuple[Mapping[str, Any], ...]

    @classmethod
    def read(cls, path: Path, trust: Trust) -> Settings:
        """Read the settings of a run, which may be somebody else's.

        Args:
            path: The file.
            trust: What it may name.

        Raises:
            UserError: If it is no such file, or names what is not trusted.
        """
        content = upgrade_settings(read_mapping("run", path))
        for key in _NOT_OF_A_RUN:
            content.pop(key, None)
        history = content.pop(HISTORY, None) or ()
        trust.check(content, str(path))
        return cls(content, tuple(history))

    @property
    def text(self) -> str:
        """The settings as YAML."""
        return yaml.safe_dump(dict(self.content), sort_keys=False, width=4096)


def read_mapping(what: str, path: Path) -> dict[str, Any]:
    """Read a mapping from a YAML file.

    Args:
        what: What the file is given as, for errors.
        path: The file.

    Raises:
        UserError: If there is no such file, or it holds no mapping.
    """
    if not path.is_file():
        raise UserError(f"{what}: there is no file {path}.")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        text = " ".join(str(error).split())
        raise UserError(f"{what}: {path} is not a YAML file: {text}") from error
    if not isinstance(content, dict):
        raise UserError(f"{what}: {path} holds no settings.")
    return content


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What differs between two resolved configurations.

    Args:
        old: The one.
        new: The other.

    Returns:
        By its dotted key, what each setting was and is; None where it is absent.
    """
    before, after = flat(old), flat(new)
    return {
        key: (before.get(key), after.get(key))
        for key in dict.fromkeys([*before, *after])
        if before.get(key) != after.get(key)
    }


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """The leaves of nested mappings by their dotted keys; what is no mapping is a leaf."""
    if not isinstance(value, Mapping):
        return {prefix: value}
    leaves: dict[str, Any] = {}
    for key, each in value.items():
        leaves |= flat(each, f"{prefix}.{key}" if prefix else str(key))
    return leaves


def refuse_changes(
    changed: Mapping[str, tuple[Any, Any]],
    *,
    training: bool,
    of_training: Collection[str],
    free: Collection[str],
    weights: Path,
) -> None:
    """Raise where a setting was given to a run whose weights fix it, or on which it has no effect.

    Args:
        changed: Settings of the model, from their dotted keys to what they were and are.
        training: Whether the training is gone on with.
        of_training: Settings of the model that its training alone depends on.
        free: Settings of the model that may change at any time.
        weights: Their file.

    Raises:
        UserError: The message names the settings.
    """
    fixed, idle = [], []
    for key, (old, new) in changed.items():
        part, *way = key.split(".")
        if part != "model" or any(name in free for name in way):
            continue
        if any(name in of_training for name in way):
            if not training:
                idle.append(key)
            continue
        fixed.append(f"{key}, which is {shown(old)} and not {shown(new)}")
    if fixed:
        more = f", and {len(fixed) - _SHOWN} more" if len(fixed) > _SHOWN else ""
        raise UserError(
            f"{'; '.join(fixed[:_SHOWN])}{more}: the weights {weights} were trained with that, and "
            "fix it. To train with another, begin a new run by lie-attention fit."
        )
    if idle:
        raise UserError(
            f"{', '.join(idle)}: a setting of training, which changes nothing about weights that "
            "are trained; leave it out."
        )


def shown(value: Any) -> str:
    """A setting as a person writes it."""
    return json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value


class KeepSettings(Callback):
    """Writes ``config.yaml`` when a training begins, and when it goes on with other settings.

    Args:
        folder: The folder of the run.
        content: The settings.
        arguments: The arguments of the command.
        changed: Of a run that goes on, the settings that are other than before, from their dotted
            keys to what they were and are; None for a new run.
        history: The beginnings so far.
    """

    def __init__(
        self,
        folder: RunFolder,
        content: Mapping[str, Any],
        arguments: Sequence[str],
        changed: Mapping[str, tuple[Any, Any]] | None,
        history: Sequence[Mapping[str, Any]],
    ) -> None:
        self.folder, self.content, self.arguments = folder, content, arguments
        self.changed, self.history = changed, history

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write the settings of a new run before its training starts."""
        if stage == "fit" and self.changed is None and trainer.is_global_zero:
            self._write(0, 0)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the settings of a run that goes on, once its weights are there."""
        if self.changed and trainer.is_global_zero:
            self._write(trainer.current_epoch, trainer.global_step)

    def _write(self, epoch: int, step: int) -> None:
        made = provenance(self.arguments)
        beginning = {
            **made,
            "epoch": epoch,
            "step": step,
            "changed": [
                f"{k}: {shown(a)} -> {shown(b)}" for k, (a, b) in (self.changed or {}).items()
            ],
        }
        content = {key: each for key, each in self.content.items() if key not in _NOT_OF_A_RUN}
        content[HISTORY] = [*map(dict, self.history), beginning]
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=4096)
        write_atomic(self.folder.config, text.encode())
