"""The command line: ``lie-attention fit``, ``validate``, ``test``, ``predict``, and more."""

from __future__ import annotations

import logging
import os
import re
import sys
import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import torch
import yaml

from tasks.cache import cache_directory, writing_only_below
from tasks.commands.catalog import TASKS, Task, find_task
from tasks.commands.parser import Parser
from tasks.commands.task import TaskCLI
from tasks.errors import USER_ERRORS, UserError
from tasks.runs.folder import release_folders
from tasks.runs.request import Request, values_of
from tasks.runs.settings import read_mapping
from tasks.runs.upgrade import is_of_0_1, refuse_old_options, upgrade_settings
from tasks.training.model import Model

COMMANDS = {
    "ablate": "tasks.studies.command.ablate",
    "check-group": "tasks.commands.check_group.check_group",
    "export": "tasks.commands.export.export",
    "md": "tasks.commands.md.md",
    "plot": "tasks.commands.plot.plot",
}
"""Commands beside those of a task, and the function that takes their arguments; it is imported
when its command is called, and returns whether all went well."""

TRACEBACK_VARIABLE = "LIE_ATTENTION_TRACEBACK"
"""Environment variable that, when set, makes an error show where it came from."""

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
"""The configurations that come with the package."""

_NO_MEMORY = "not enough memory; make the network or data.batch_size smaller:"
_LOST_PROCESS = re.compile(r"Connection (closed|reset) by peer|gloo", re.IGNORECASE)

C = TypeVar("C", bound=TaskCLI)


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line; where the user erred, leave with a short message and status 1.

    Args:
        args: Arguments; those of the process when absent.
    """
    given = list(sys.argv[1:] if args is None else args)
    silence_noise()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # A log in ASCII has no Å, which is no reason to end.
            stream.reconfigure(errors="replace")
    try:
        if path := _find_command(given):
            module, _, name = path.rpartition(".")
            command = getattr(import_module(module), name)
            sys.exit(0 if command(given[1:]) else 1)
        launch(given or ["--help"], TaskCLI)
    except USER_ERRORS as error:
        _leave(error, str(error))
    except KeyboardInterrupt as interrupt:
        _leave(interrupt, "interrupted.")
    except MemoryError as error:
        _leave(error, f"{_NO_MEMORY} {error}")
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error):
            _leave(error, f"{_NO_MEMORY} {error}")
        if isinstance(error, torch.distributed.DistError) or _LOST_PROCESS.search(str(error)):
            _leave(error, f"another process of this training has ended, so this one does: {error}")
        raise


def _find_command(given: list[str]) -> str | None:
    """The function that carries out a command, unless it is one of the trainer's."""
    if not given:
        return None
    command, *args = given
    files = any(
        not arg.startswith("-")
        and (place == 0 or args[place - 1][:1] != "-" or "=" in args[place - 1])
        for place, arg in enumerate(args)
    )
    if command == "predict" and (
        files or values_of(args, "checkpoint") or values_of(args, "model")
    ):
        return "tasks.commands.predict.predict"
    if command == "test" and "--table" in args:
        return "tasks.commands.table.table"
    return COMMANDS.get(command)


def launch(args: list[str], cli: type[C]) -> C:
    """Run one command of a task.

    Args:
        args: The command, such as ``fit``, and its arguments.
        cli: What parses and runs it.

    Returns:
        The command line object, after the command.

    Raises:
        UserError: If an argument or a file that it names is wrong.
    """
    refuse_old_options(args)
    request = Request.of(_find_config(args))
    task = _find_task(request)
    sys.argv = sys.argv[:1]  # Lightning warns of arguments in two places.
    try:
        with _writing_where(request):
            return cli(
                request,
                task,
                model_class=Model,
                datamodule_class=task.data_class,
                trainer_defaults={"enable_model_summary": False},
                parser_class=Parser,
                parser_kwargs={
                    "description": "Train, test and use networks that are equivariant to a "
                    "Lie group.",
                    "epilog": f"Further commands, each with --help: {', '.join(COMMANDS)}.",
                },
                save_config_callback=None,
                seed_everything_default=0,
                auto_configure_optimizers=False,
                args=request.parsed,
            )
    finally:
        release_folders()


def _writing_where(request: Request) -> AbstractContextManager[None]:
    """Where a command may write: with the settings of a run, there, to the cache, where typed."""
    if request.trust is None or request.folder is None:
        return nullcontext()
    return writing_only_below(request.folder.path, cache_directory(), *request.trust.folders)


def find_config(name: str) -> Path:
    """The file of that name; where there is none, the shipped configuration of that name.

    Args:
        name: A path, or a name below ``tasks/configs`` such as ``qm9/quick.yaml``, with or without
            the ending, and with or without that folder.

    Returns:
        The path, which may not exist.
    """
    shipped = CONFIGS / name.removeprefix("tasks/configs/")
    for path in (Path(name), shipped, shipped.with_name(f"{shipped.name}.yaml")):
        if path.is_file():
            return path
    return Path(name)


def _find_config(args: list[str]) -> list[str]:
    """Stand the path of a shipped configuration for its name, and today's form for an older one."""
    found = list(args)
    for place, arg in enumerate(args):
        option, equals, name = arg.partition("=")
        if option not in ("--config", "-c"):
            continue
        if equals:
            found[place] = f"{option}={_of_today(find_config(name))}"
        elif place + 1 < len(args):
            found[place + 1] = _of_today(find_config(args[place + 1]))
    return found


def _of_today(path: Path) -> str:
    """A configuration: its path, or its settings where it is of an older version."""
    try:
        content = read_mapping("config", path)
    except UserError:
        return str(path)  # The parser says what is wrong.
    if not is_of_0_1(content.get("model")):
        return str(path)
    print(
        f"lie-attention: {path} is of version 0.1; its settings are taken by the names of today.",
        file=sys.stderr,
    )
    return yaml.safe_dump(upgrade_settings(content), sort_keys=False, width=4096)


def _find_task(request: Request) -> Task:
    """The task that the request or its configuration names."""
    name: Any = request.options.get("task")
    config = request.options.get("config")
    if name is None and request.settings is not None:
        name = request.settings.content.get("task")
    elif name is None and config is not None:
        text = "\n" in config  # Settings in place of a file.
        content = yaml.safe_load(config) if text else read_mapping("config", Path(config))
        name = content.get("task")
    return find_task(name or next(iter(TASKS)))


def _leave(error: BaseException, message: str) -> NoReturn:
    if os.environ.get(TRACEBACK_VARIABLE):
        raise error
    print(f"lie-attention: error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(1)


def silence_noise() -> None:
    """Keep advice about hardware and logging services off the terminal; keep warnings."""
    logging.getLogger("pytorch_lightning.utilities.rank_zero").setLevel(logging.WARNING)
    logging.getLogger("lightning_fabric.utilities.seed").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="pytorch_lightning.*", message=".*num_workers.*")
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")
    warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")


if __name__ == "__main__":
    main()
