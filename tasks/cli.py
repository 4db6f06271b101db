"""The command line: ``lie-attention fit``, ``validate``, ``test``, ``predict``, and more."""

from __future__ import annotations

import inspect
import logging
import os
import re
import sys
import warnings
from collections.abc import Sequence
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import torch
import yaml
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning import Callback, LightningDataModule
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback

from tasks.base import TaskModel
from tasks.cache import write_atomic
from tasks.record import AtomicCheckpoints, Record

TASKS = ("qm9", "md17", "shapes", "dynamics", "molecules")
"""The tasks; each is a package ``tasks.NAME`` that exports ``Model`` and ``Data``."""

COMMANDS = {
    "ablate": "tasks.ablate.command.ablate",
    "check-group": "tasks.check_group.check_group",
    "md": "tasks.md17.command.md",
    "plot": "tasks.plot.plot",
}
"""Commands beside those of a task, and the function that takes their arguments; it is imported
when its command is called, and returns whether all went well."""

TRACEBACK_VARIABLE = "LIE_ATTENTION_TRACEBACK"
"""Environment variable that, when set, makes an error show where it came from."""

CONFIGS = Path(__file__).resolve().parent / "configs"
"""The configurations that come with the package."""

CLASS_KEYS = {
    "group": ("liegroups", "LieGroup"),
    "invariant": ("liegroups", "Invariant"),
    "lift": ("liegroups", "Sampler"),
    "kernel": ("attention", "Kernel"),
    "content": ("attention", "Content"),
    "location": ("attention", "Location"),
    "normalizer": ("attention", "Normalizer"),
    "network": ("tasks.md17", "EnergyNetwork"),
    "property_network": ("tasks.qm9", "PropertyNetwork"),
    "counter": ("tasks.shapes", "CountingNetwork"),
    "source": ("tasks.md17", "Source"),
    "field": ("tasks.dynamics", "LearnedField"),
    "system": ("tasks.dynamics", "System"),
    "integrator": ("tasks.dynamics", "Integrator"),
    "loss": ("tasks.dynamics", "Loss"),
    "head": ("attention", "Head"),
}
"""Keys of a configuration that name a class, where ours live, and what the class must be."""


_RIGHT_CHECKPOINT = (
    "Give the folder of a finished run by --run, or a file from runs/NAME/checkpoints together "
    "with --config runs/NAME/config.yaml."
)


_LOST_PROCESS = re.compile(r"Connection (closed|reset) by peer|gloo", re.IGNORECASE)


class UserError(Exception):
    """A mistake in what the user gave; its text is all that the user needs to see."""


USER_ERRORS = (UserError, ValueError, OSError, ImportError, MisconfigurationException)
"""Errors whose text says what the user can do."""

C = TypeVar("C", bound=LightningCLI)


class Parser(LightningArgumentParser):
    """A parser whose errors name the key, what was given, and what would be accepted."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise a short error in place of printing the usage."""
        raise UserError(_explain(message)) from ex


class TaskCLI(LightningCLI):
    """The commands of one task, each with a folder for what it leaves.

    A run's folder is ``runs/NAME`` unless ``--run`` names another; a later run never overwrites
    it.
    """

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add what is not a setting of the trainer, the model or the data, and link those two."""
        assert isinstance(self._model_class, type) and issubclass(self._model_class, TaskModel)
        for source, target in self._model_class.links:
            parser.link_arguments(source, target, apply_on="instantiate")
        parser.add_argument(
            "--task", type=str, default=TASKS[0], help=f"The task: {', '.join(TASKS)}."
        )
        parser.add_argument(
            "--run",
            type=str | None,
            default=None,
            help=(
                "Folder of the run. For fit a new folder, by default runs/TASK-GROUP-...-DATE; "
                "for the other commands the folder of a finished run, whose config and best "
                "weights they take."
            ),
        )
        parser.add_argument(
            "--resume",
            type=str | None,
            default=None,
            help="For fit: folder of an interrupted run to go on with.",
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse the arguments, and look at the checkpoint before anything is built."""
        super().parse_arguments(parser, args)
        self._arguments = list(args)
        command = self.config.subcommand
        path = self.config[command].get("ckpt_path")
        if path is not None:
            _check_checkpoint(path)
        elif command != "fit":
            raise UserError(
                f"{command} needs trained weights: give --run FOLDER of a finished run, or "
                "--ckpt_path FILE and its --config FILE."
            )

    def instantiate_trainer(self, **kwargs: Any) -> Any:
        """Build the trainer, with the run's folder and the callbacks that fill it."""
        folder = self._folder()
        settings = self.config_init[str(self.subcommand)].trainer
        settings.callbacks = [
            *(settings.callbacks or []),
            Record(),
            *self.observers(folder),
            ModelCheckpoint(
                dirpath=folder / "checkpoints",
                filename="best",
                monitor=f"val/{self.model.criterion}",
                enable_version_counter=False,
                auto_insert_metric_name=False,
            ),
            ModelCheckpoint(  # After the best, so that it knows of it.
                dirpath=folder / "checkpoints",
                filename="last",
                save_on_train_epoch_end=True,
                enable_version_counter=False,
            ),
        ]
        settings.plugins = [*_listed(settings.plugins), AtomicCheckpoints()]
        return super().instantiate_trainer(default_root_dir=str(folder), logger=False, **kwargs)

    def _run_subcommand(self, subcommand: str) -> None:
        """Run it; Lightning starts the further processes of a training with ``sys.argv``."""
        sys.argv = [*sys.argv[:1], *self._arguments]
        super()._run_subcommand(subcommand)

    def observers(self, folder: Path) -> list[Callback]:
        """Further callbacks, which find the record of an epoch complete when it ends."""
        return []

    def after_fit(self) -> None:
        """Test the weights that did best on the validation part."""
        if self._settings.trainer.fast_dev_run or self.trainer.interrupted:
            return
        checkpoints = self.trainer.checkpoint_callback
        assert isinstance(checkpoints, ModelCheckpoint)
        self.trainer.test(
            self.model,
            datamodule=self.datamodule,
            ckpt_path=checkpoints.best_model_path,
            weights_only=True,
            verbose=False,
        )

    def predict(self, **kwargs: Any) -> None:
        """Write the predictions as a table into the run's folder.

        Raises:
            UserError: Several processes were asked for.
        """
        assert isinstance(self.model, TaskModel)
        if self.trainer.world_size > 1:
            raise UserError(f"predict runs in one process; got {self.trainer.world_size}.")
        predictions = self.trainer.predict(**kwargs)
        path = Path(self.trainer.default_root_dir) / "predictions.csv"
        self.model.write_predictions(path, predictions or [])
        self.trainer.print(f"Written: {path}")

    @property
    def _settings(self) -> Any:
        return self.config[str(self.subcommand)]

    def _folder(self) -> Path:
        """A new folder for a new run, the old one for what goes on with a run."""
        checkpoint, named = self._settings.get("ckpt_path"), self._settings.get("run")
        if checkpoint is not None:
            return Path(named) if named else Path(checkpoint).resolve().parent.parent
        if self._settings.get("resume") is not None:  # It was stopped before its first checkpoint.
            return Path(self._settings.resume)
        if named is None:
            assert isinstance(self.model, TaskModel)
            stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
            return (
                Path("runs") / f"{self._settings.task}-{self.model.label(self.datamodule)}-{stamp}"
            )
        if (Path(named) / "config.yaml").exists():
            raise UserError(
                f"run: {named} holds a run already, and nothing is overwritten. Name another "
                f"folder, or go on with that run by --resume {named}."
            )
        return Path(named)


class SaveNewConfig(SaveConfigCallback):
    """Saves the config of a new run; other commands, and resumed runs, leave it as it is."""

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Save the config before training starts, in one step."""
        path = Path(trainer.log_dir) / self.config_filename  # All processes must ask for it.
        if stage == "fit" and trainer.is_global_zero and not path.exists():
            write_atomic(path, self.parser.dump(self.config, skip_none=False).encode())


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line; where the user erred, leave with a short message and status 1.

    Args:
        args: Arguments; those of the process when absent.
    """
    given = list(sys.argv[1:] if args is None else args)
    silence_noise()
    try:
        if path := _find_command(given):
            module, _, name = path.rpartition(".")
            command = getattr(import_module(module), name)
            sys.exit(0 if command(given[1:]) else 1)
        launch(given or ["--help"], TaskCLI)
    except USER_ERRORS as error:
        _leave(error, str(error))
    except RuntimeError as error:
        if "state_dict" in str(error):
            _leave(error, f"ckpt_path: {error} {_RIGHT_CHECKPOINT}")
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
    if command == "predict" and (files or _value(args, "checkpoint") is not None):
        return "tasks.qm9.predict.predict"
    if command == "test" and "--table" in args:
        return "tasks.qm9.table.table"
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
    args = _find_config(_find_run(args))
    model, data = _find_task(args)
    sys.argv = sys.argv[:1]  # Lightning warns of arguments in two places.
    return cli(
        model,
        data,
        trainer_defaults={"enable_model_summary": False},
        parser_class=Parser,
        parser_kwargs={
            "description": "Train, test and use networks that are equivariant to a Lie group.",
            "epilog": f"Further commands, each with --help: {', '.join(COMMANDS)}.",
        },
        save_config_callback=SaveNewConfig,
        seed_everything_default=0,
        auto_configure_optimizers=False,
        args=args,
    )


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
    """Stand the path of a shipped configuration for its name."""
    found = list(args)
    for place, arg in enumerate(args):
        option, equals, name = arg.partition("=")
        if option not in ("--config", "-c"):
            continue
        if equals:
            found[place] = f"{option}={find_config(name)}"
        elif place + 1 < len(args):
            found[place + 1] = str(find_config(args[place + 1]))
    return found


def _find_run(args: list[str]) -> list[str]:
    """Stand ``--run`` and ``--resume`` of an existing run for its config and checkpoint."""
    command = args[0] if args else ""
    option, weights = ("resume", "last") if command == "fit" else ("run", "best")
    folder = _value(args, option)
    if folder is None or _value(args, "ckpt_path") is not None or "--print_config" in args:
        return args
    config = Path(folder) / "config.yaml"
    checkpoint = Path(folder) / "checkpoints" / f"{weights}.ckpt"
    started = [command, "--config", str(config), *args[1:]]
    if command == "fit" and config.is_file() and not checkpoint.is_file():
        return started  # It was stopped before its first checkpoint.
    for path in (config, checkpoint):
        if not path.is_file():
            raise UserError(f"{option}: {folder} is not the folder of a run: {path} is missing.")
    return [*started, "--ckpt_path", str(checkpoint)]


def _find_task(args: list[str]) -> tuple[type[TaskModel], type[LightningDataModule]]:
    """Model and data of the task that the arguments or their config file name."""
    name = _value(args, "task")
    config = _value(args, "config") or _value(args, "c", dashes="-")
    if name is None and config is not None:
        if not Path(config).is_file():
            raise UserError(f"config: there is no file {config}.")
        try:
            content = yaml.safe_load(Path(config).read_text())
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            text = " ".join(str(error).split())
            raise UserError(f"config: {config} is not a YAML file: {text}") from error
        if not isinstance(content, dict):
            raise UserError(f"config: {config} holds no settings.")
        name = content.get("task")
    name = name or TASKS[0]
    if name not in TASKS:
        raise UserError(f"task: there is no task {name!r}; accepted: {', '.join(TASKS)}.")
    package = import_module(f"tasks.{name}")
    return package.Model, package.Data


def _listed(value: Any) -> list[Any]:
    """A setting that may be absent, one, or several."""
    return value if isinstance(value, list) else [] if value is None else [value]


def _value(args: list[str], option: str, dashes: str = "--") -> str | None:
    """The value of an option, given as ``--option value`` or ``--option=value``."""
    flag = dashes + option
    for place, arg in enumerate(args):
        if arg == flag and place + 1 < len(args):
            return args[place + 1]
        if arg.startswith(flag + "="):
            return arg.removeprefix(flag + "=")
    return None


def _explain(message: str) -> str:
    """Say a parser's message in one paragraph, with what would be accepted."""
    key = re.search(r'(?:key|option|group) "([\w.]+)"', message)
    unknown = re.search(r"Expected a dot import path string: (\S+)", message)
    kind = CLASS_KEYS.get(key[1].rsplit(".", 1)[-1]) if key else None
    if key and unknown and kind:
        module = import_module(kind[0])
        base: type = getattr(module, kind[1])
        known = [
            name
            for name in module.__all__
            if inspect.isclass(found := getattr(module, name))
            and issubclass(found, base)
            and not inspect.isabstract(found)
        ]
        return (
            f"{key[1]}: {unknown[1]!r} is not known; accepted: {', '.join(known)}, or the dotted "
            f"path of your own {base.__name__}, such as my_package.My{base.__name__}."
        )
    return " ".join(message.split())


def _check_checkpoint(path: str) -> None:
    """Raise unless a file is a checkpoint that can be read without running code from it."""
    if not Path(path).is_file():
        raise UserError(f"ckpt_path: there is no file {path}.")
    try:
        content = torch.load(path, weights_only=True, map_location="cpu", mmap=False)
    except Exception as error:  # Foreign bytes make the reader fail in any way.
        raise UserError(f"ckpt_path: {path} is no checkpoint. {_RIGHT_CHECKPOINT}") from error
    needed = {"state_dict", "hyper_parameters", "pytorch-lightning_version"}
    if not isinstance(content, dict) or not needed <= content.keys():
        raise UserError(f"ckpt_path: {path} is not a checkpoint of a run. {_RIGHT_CHECKPOINT}")


def _leave(error: BaseException, message: str) -> NoReturn:
    if os.environ.get(TRACEBACK_VARIABLE):
        raise error
    print(f"lie-attention: error: {message}", file=sys.stderr)
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
