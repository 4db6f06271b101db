"""Checks of the settings of the trainer that Lightning takes as they are, or answers obscurely."""

from __future__ import annotations

import re
from typing import Any

from jsonargparse import Namespace

from liegroups.checks import check_count, check_number

__all__ = ["check_trainer"]

_LEAST = {
    "min_epochs": 0,
    "min_steps": 0,
    "check_val_every_n_epoch": 1,
    "accumulate_grad_batches": 1,
    "log_every_n_steps": 0,
    "num_sanity_val_steps": -1,
    "reload_dataloaders_every_n_epochs": 0,
}
"""Numbers of epochs, steps and batches, and the smallest that has a meaning."""

_SHARES = (
    "limit_train_batches",
    "limit_val_batches",
    "limit_test_batches",
    "limit_predict_batches",
    "overfit_batches",
)
"""What is a number of batches, or a share of all."""

_MOST = 2**31 - 1
_MOST_DEVICES = 1_024
_SEVERAL = re.compile(r"auto|-1|\s*\d+\s*(,\s*\d+\s*)*,?")


def check_trainer(settings: Namespace) -> None:
    """Raise where a setting would end in an error without a name, or mean nothing.

    Args:
        settings: The settings of Lightning's trainer, by their names.

    Raises:
        ValueError: Naming the setting, what was given and what is accepted.

    Example:
        >>> check_trainer(Namespace(check_val_every_n_epoch=0))
        Traceback (most recent call last):
        ...
        ValueError: trainer.check_val_every_n_epoch: 0; accepted: 1 to 2,147,483,647.
    """
    for name, least in _LEAST.items():
        value = settings.get(name)
        if value is not None:
            check_count(f"trainer.{name}", value, least, _MOST)
    clip = settings.get("gradient_clip_val")
    if clip is not None:
        check_number("trainer.gradient_clip_val", clip, least=0)
    for name in _SHARES:
        value = settings.get(name)
        if isinstance(value, int):
            check_count(f"trainer.{name}", value, 0, None)
        elif value is not None:
            check_number(f"trainer.{name}", value, least=0, most=1)
    _check_interval(settings.get("val_check_interval"))
    _check_devices(settings.get("devices"))
    if settings.get("num_nodes") is not None:
        check_count("trainer.num_nodes", settings.num_nodes)


def _check_interval(value: Any) -> None:
    """How often to validate: a share of the epoch, a number of batches, or a time, as text."""
    if isinstance(value, float):
        check_number("trainer.val_check_interval", value, above=0, most=1)
    elif isinstance(value, int):
        check_count("trainer.val_check_interval", value, most=_MOST)


def _check_devices(value: Any) -> None:
    """How many devices, or which; Lightning looks whether they are there."""
    if isinstance(value, str) and not _SEVERAL.fullmatch(value):
        raise ValueError(
            f"trainer.devices: {value!r}; accepted: auto, a number of devices, or their numbers "
            "as in [0, 1]."
        )
    if isinstance(value, int) and value != -1:
        check_count("trainer.devices", value, most=_MOST_DEVICES)
    for number in value if isinstance(value, list) else ():
        check_count("trainer.devices", number, 0, _MOST_DEVICES)
