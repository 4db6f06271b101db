"""What the user asks for: a command, its options, and the run that it is about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks.errors import UserError
from tasks.runs.folder import RunFolder
from tasks.runs.settings import Settings
from tasks.runs.trust import Trust

__all__ = ["Request", "values_of"]

_ONCE = ("run", "resume", "ckpt_path", "task", "new_rows")
_OF_THE_REQUEST = (*_ONCE, "trust")
_RIGHT_FOLDER = "give the folder of a run, such as runs/NAME"


@dataclass(frozen=True)
class Request:
    """A command of a task, before its settings are parsed.

    Args:
        arguments: The command and its arguments, as they were given.
        options: Options of which there may be one, and their values.
        folder: The run that it is about, where there is one already.
        settings: What ``config.yaml`` of that run says.
        trust: What that run's files may name; without a run, the configuration is the user's own.
        parsed: The arguments for the parser: those that were given, upon the settings of the run.
        overrides: Whether settings were given besides those of the run.
    """

    arguments: tuple[str, ...]
    options: Mapping[str, str]
    folder: RunFolder | None
    settings: Settings | None
    trust: Trust | None
    parsed: list[str]
    overrides: bool

    @classmethod
    def of(cls, args: Sequence[str]) -> Request:
        """Look at arguments, and at the run that they name.

        Args:
            args: The command and its arguments.

        Raises:
            UserError: If an option is given twice, two options contradict each other, or the
                folder named holds no run.
        """
        command, rest = (args[0], list(args[1:])) if args else ("", [])
        options = {}
        for name in (*_ONCE, "config"):
            values = values_of(rest, name)
            if len(values) > 1 and name in _ONCE:
                raise UserError(f"{name}: it is given {len(values)} times: {', '.join(values)}.")
            if values:
                options[name] = values[0]
        if short := values_of(rest, "c", dashes="-"):
            options.setdefault("config", short[0])
        option = "resume" if command == "fit" else "run"
        named = options.get(option)
        if named is None:
            return cls(tuple(args), options, None, None, None, list(args), True)
        _refuse_contradictions(command, options)
        typed = [each for each in rest if each not in (f"--{option}", named)]
        trust = Trust.of(values_of(rest, "trust"), typed)
        folder = RunFolder(named)
        if not folder.path.is_dir():
            raise UserError(
                f"{option}: {folder} is not the folder of a run: there is no such folder; "
                f"{_RIGHT_FOLDER}."
            )
        if not folder.config.is_file():
            raise UserError(
                f"{option}: {folder} is not the folder of a run: {folder.config} is missing; "
                f"{_RIGHT_FOLDER}."
            )
        settings = Settings.read(folder.config, trust)
        parsed = [command, f"--config={settings.text}", *rest]
        weights = folder.last if command == "fit" else folder.weights
        if "ckpt_path" not in options:
            if weights.is_file():
                parsed += ["--ckpt_path", str(weights)]
            elif command != "fit":
                raise UserError(
                    f"{option}: {folder} holds no weights: {folder.best} and {folder.last} are "
                    "missing."
                )
        overrides = any(
            word.startswith("-") and word.lstrip("-").partition("=")[0] not in _OF_THE_REQUEST
            for word in rest
        )
        return cls(tuple(args), options, folder, settings, trust, parsed, overrides)


def _refuse_contradictions(command: str, options: Mapping[str, str]) -> None:
    if command != "fit":
        return
    resumed, run = options["resume"], options.get("run")
    if run is not None and Path(run).resolve() != Path(resumed).resolve():
        raise UserError(
            f"run: {run}, resume: {resumed}; a run goes on in its own folder. To begin a run in a "
            f"new folder from its weights, give --config {resumed}/config.yaml --ckpt_path "
            f"{resumed}/checkpoints/last.ckpt --run {run}."
        )
    if "ckpt_path" in options:
        raise UserError(
            "ckpt_path: a run that goes on takes its own last weights; leave out --resume or "
            "--ckpt_path."
        )


def values_of(args: Sequence[str], option: str, dashes: str = "--") -> list[str]:
    """The values of an option, each given as ``--option value`` or ``--option=value``."""
    flag, found = dashes + option, []
    for place, arg in enumerate(args):
        if arg == flag and place + 1 < len(args):
            found.append(args[place + 1])
        elif arg.startswith(flag + "="):
            found.append(arg.removeprefix(flag + "="))
    return found
