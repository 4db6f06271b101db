"""What is trusted: of a run that may be somebody else's, very little.

A configuration names classes, and naming a class imports its module, which runs code. What the
user types, and the files that they give by ``--config`` or ``--study``, may name anything that a
setting accepts. The ``config.yaml`` of a run and a checkpoint may have come from anywhere. They may
name the classes of ``liegroups``, ``attention`` and ``tasks`` and those of ``LISTED``; anything
else is refused before it is imported, unless the user trusts it by ``--trust NAME``. Neither kind
of configuration can build an object where a setting has no type.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import Any, Final
from unittest.mock import patch

from jsonargparse import _common, _typehints, set_parsing_settings

from tasks.errors import UserError

__all__ = ["LISTED", "OURS", "Trust", "names_in", "reading"]

OURS: Final = ("liegroups", "attention", "tasks")
"""The packages whose classes any configuration may name."""

LISTED: Final = (
    "datetime.timedelta",
    *(
        f"pytorch_lightning.{name}"
        for name in (
            "callbacks.DeviceStatsMonitor",
            "callbacks.EarlyStopping",
            "callbacks.GradientAccumulationScheduler",
            "callbacks.LearningRateMonitor",
            "callbacks.ModelCheckpoint",
            "callbacks.ModelSummary",
            "callbacks.RichModelSummary",
            "callbacks.RichProgressBar",
            "callbacks.StochasticWeightAveraging",
            "callbacks.Timer",
            "callbacks.TQDMProgressBar",
            "plugins.DoublePrecision",
            "plugins.HalfPrecision",
            "plugins.MixedPrecision",
            "plugins.TorchSyncBatchNorm",
            "strategies.DDPStrategy",
            "strategies.SingleDeviceStrategy",
        )
    ),
)
"""Classes of other packages that the configuration of a run may name: they only compute."""

_DOTTED: Final = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+")
_PLACES: Final = ("dirpath", "save_dir", "root_dir", "default_root_dir", "log_dir", "dir")


@dataclass(frozen=True)
class Trust:
    """What a run's files may name besides our own classes and the listed ones.

    Args:
        names: Packages, modules or classes, by their dotted paths.
        folders: Folders that may be written to, besides that of the run and the cache.
    """

    names: tuple[str, ...] = ()
    folders: tuple[Path, ...] = ()

    @classmethod
    def of(cls, given: Sequence[str], typed: Sequence[str] = ()) -> Trust:
        """What the user trusts.

        Args:
            given: Values of ``--trust``: dotted names, or folders.
            typed: Further arguments; what is named in them is trusted too, to the letter.

        Raises:
            UserError: If a value is neither a name nor a folder.
        """
        names, folders = [], []
        for value in given:
            if Path(value).is_dir():
                folders.append(Path(value))
            elif all(part.isidentifier() for part in value.split(".")):
                names.append(value)
            else:
                raise UserError(
                    f"trust: {value!r} is neither a dotted name, such as my_package or "
                    "my_package.MyGroup, nor a folder that exists."
                )
        for value in _values(typed):
            names += _DOTTED.findall(value)
            if value and not value.startswith(("[", "{")):
                folders.append(Path(value))
        return cls(tuple(dict.fromkeys(names)), tuple(dict.fromkeys(folders)))

    def allows(self, name: str) -> bool:
        """Whether a run may name what has a dotted path."""
        trusted = (*OURS, *LISTED, *_defined_at(LISTED), *self.names)
        return any(name == each or name.startswith(f"{each}.") for each in trusted)

    def check(self, config: Any, where: str) -> None:
        """Look at a configuration before anything that it names is imported.

        Args:
            config: The configuration, as plain mappings, lists and scalars.
            where: The file that it is from.

        Raises:
            UserError: If it names something that is not trusted; the message says where, and how
                to trust it.
        """
        for key, value in _leaves(config):
            if key.endswith("class_path") and not self.allows(str(value)) and "." in str(value):
                raise UserError(_refusal(where, key, str(value)))
            if isinstance(value, str) and _DOTTED.fullmatch(value):
                _check_is_a_class(value, key, where)
            if key.startswith("trainer."):
                self._check_place(key, value, where)

    def _check_place(self, key: str, value: Any, where: str) -> None:
        """Refuse a setting of the trainer that names a folder to write to."""
        name = key.rpartition(".")[2]
        if not isinstance(value, str) or not value:
            return
        outside = (
            PurePosixPath(value).is_absolute()
            or ".." in PurePosixPath(value).parts
            or value.startswith("~")
        )
        if (name in _PLACES or outside) and not any(
            Path(value).resolve().is_relative_to(folder.resolve()) for folder in self.folders
        ):
            raise UserError(
                f"{where}: {key} is {value!r}, a place outside of the run. Remove it there, or, if "
                "you know where this run comes from and the folder exists, give --trust FOLDER."
            )


@contextmanager
def reading(trust: Trust | None) -> Iterator[None]:
    """Within it, the parser imports nothing but what may be named.

    Args:
        trust: What the files of a run may name; without it, the user's own configuration is read,
            which may name what a setting accepts, and is kept from the obvious mischief alone.
    """
    # Where a setting has no type, a class is neither built nor, to look at its settings, imported.
    with (
        patch.dict(_common.parsing_settings),
        patch.object(_typehints, "adapt_classes_any", lambda value, *_, **__: value),
    ):
        set_parsing_settings(
            instantiate_subclass_spec_in_any=False,
            config_read_mode_fsspec_enabled=False,
            config_read_mode_urls_enabled=False,
            import_path_denylist=["jsonargparse"],
        )
        if trust is not None:
            set_parsing_settings(
                import_path_denylist=["*"],
                import_path_allowlist=[*OURS, *LISTED, *_defined_at(LISTED), *trust.names],
            )
        yield


def names_in(texts: Iterable[str]) -> list[str]:
    """The dotted names in some texts that are not our own."""
    found = dict.fromkeys(name for text in texts for name in _DOTTED.findall(text))
    return [name for name in found if name.partition(".")[0] not in OURS]


def refused_import(message: str) -> str | None:
    """What the parser refused to import, where that is what its message says."""
    found = re.search(r"Importing '([\w.]+)' is not allowed", message)
    return None if found is None else found[1]


def _refusal(where: str, key: str, name: str) -> str:
    package = name.partition(".")[0]
    return (
        f"{where}: {key} names {name}, which is neither of {', '.join(OURS)} nor a listed class, "
        "so it is not imported: a run may come from anybody, and importing runs code. If you trust "
        f"it, give --trust {package}."
    )


def _check_is_a_class(name: str, key: str, where: str) -> None:
    """Refuse a function of ours where a class is to be named: it would be called."""
    if name.partition(".")[0] not in OURS:
        return
    module, _, last = name.rpartition(".")
    try:
        found = getattr(import_module(module), last, None)
    except ImportError:
        return  # The parser says so.
    if found is not None and not inspect.isclass(found):
        raise UserError(f"{where}: {key} names {name}, which is not a class.")


def _defined_at(names: Iterable[str]) -> list[str]:
    """Where classes are defined, which the parser looks at besides the name that they go by."""
    found = []
    for name in names:
        module, _, last = name.rpartition(".")
        kind = getattr(import_module(module), last)
        found.append(f"{kind.__module__}.{kind.__qualname__}")
    return found


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every scalar of nested mappings and lists, with the dotted way to it."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield from _leaves(each, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for place, each in enumerate(value):
            yield from _leaves(each, f"{key}[{place}]")
    else:
        yield key, value


def _values(args: Sequence[str]) -> Iterator[str]:
    """The values among the arguments of a command."""
    for arg in args:
        if not arg.startswith("-"):
            yield arg
        elif "=" in arg:
            yield arg.partition("=")[2]
