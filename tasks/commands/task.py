"""The commands of one task: settings compared with the run, the trainer built, figures placed."""

from __future__ import annotations

import os
import re
import sys
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import torch
import yaml
from pytorch_lightning import Callback
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI

from liegroups.checks import check_seed
from tasks.cache import write_atomic
from tasks.commands.catalog import TASKS, Task
from tasks.data.module import CloudData, Purpose
from tasks.data.parts import Parts
from tasks.errors import UserError
from tasks.objectives import Objective
from tasks.provenance import provenance
from tasks.runs.checkpoint import RunCheckpoints, check_weights, read_checkpoint, refuse_unknown
from tasks.runs.folder import CONFIG, RunFolder, free_file
from tasks.runs.loggers import RunLogger
from tasks.runs.request import Request
from tasks.runs.say import say
from tasks.runs.settings import KeepSettings, differences, refuse_changes
from tasks.runs.trust import Trust, names_in, reading
from tasks.training.lines import EpochLines, on_a_terminal
from tasks.training.model import Model
from tasks.training.record import Record
from tasks.training.trainer import check_trainer

__all__ = ["TaskCLI"]

_SETTINGS = ("seed_everything", "trainer", "model", "data", "task")
_OF_THE_SCREEN = ("trainer.enable_progress_bar", "trainer.enable_model_summary")


class TaskCLI(LightningCLI):
    """The commands of one task, each with a folder for what it leaves.

    Args:
        request: What the user asks for.
        task: The task.
        settings: Those of Lightning's command line.
    """

    def __init__(self, request: Request, task: Task, **settings: Any) -> None:
        self.request, self.task = request, task
        self.results = Path()
        self._parts: Parts | None = None
        self._trained: dict[str, torch.Tensor] | None = None
        self._changed: dict[str, tuple[Any, Any]] = {}
        super().__init__(**settings)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add what is not a setting of the trainer, the model or the data, and link those two."""
        for source, target in Model.links:
            parser.link_arguments(source, target, apply_on="instantiate")
        parser.set_defaults(self.task.defaults)
        parser.add_argument(
            "--task", type=str, default=next(iter(TASKS)), help=f"The task: {', '.join(TASKS)}."
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
            help="For fit: folder of an interrupted run to go on with. It may have been moved.",
        )
        parser.add_argument(
            "--new_rows",
            type=Literal["refuse", "train"],
            default="refuse",
            help="With --resume, what becomes of molecules or frames that the run has not seen: "
            "they join its training part alone (train), or other data than those of the run are "
            "refused.",
        )
        parser.add_argument(
            "--trust",
            type=str | list[str] | None,
            default=None,
            help="With --run or --resume: packages whose classes the run may name besides ours, "
            "and folders that it may write to besides its own; once for each.",
        )
        parser.add_argument(
            "--history",
            type=list[dict[str, Any]] | None,
            default=None,
            help="Written by runs: when the training was begun and gone on with, and with what.",
        )

    # ---- before anything is built ------------------------------------------------------------

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse the arguments, and look at the checkpoint before anything is built."""
        with reading(self.request.trust):
            super().parse_arguments(parser, args)
            seed = self.config[self.config.subcommand].seed_everything
            if not isinstance(seed, bool):
                check_seed("seed_everything", seed)
            self._compare_with_run()
            self._compare_with_weights()

    def _parse_ckpt_path(self) -> None:
        """Leave the settings as they were given; Lightning would take those of the checkpoint."""

    def _compare_with_run(self) -> None:
        """Find the settings that are other than those of the run."""
        command, own = self.config.subcommand, self.request.settings
        if own is None or not self.request.overrides:
            return
        before = self._parser(command).parse_args([f"--config={own.text}"])
        self._changed = {
            key: change
            for key, change in differences(
                self._resolved(before), self._resolved(self.config[command])
            ).items()
            if key.partition(".")[0] in _SETTINGS and key not in _OF_THE_SCREEN
        }

    def _compare_with_weights(self) -> None:
        """Refuse settings that the weights fix, and those that have no effect.

        Raises:
            UserError: The message names the settings.
        """
        command = self.config.subcommand
        path = self.config[command].get("ckpt_path")
        if path is None:
            if command != "fit":
                raise UserError(
                    f"{command} needs trained weights: give --run FOLDER of a finished run, or "
                    "--ckpt_path FILE and its --config FILE."
                )
            return
        checkpoint = read_checkpoint(Path(path))
        trained = {
            name: value
            for name, value in checkpoint["hyper_parameters"].items()
            if not name.startswith("_") and f"model.{name}" not in dict(Model.links).values()
        }
        objective = _objective(self.config[command].model.objective.class_path)
        kind = (checkpoint.get("objective") or {}).get("kind")
        if kind != objective.__name__:
            raise UserError(
                f"ckpt_path: {path} is not a checkpoint of the task {self.config[command].task}, "
                f"whose objective is {objective.__name__}: it is of {kind or 'something else'}; "
                "give one from the folder runs/NAME/checkpoints of such a run."
            )
        refuse_unknown(Model, trained, f"ckpt_path: {path}", checkpoint["lie_attention"]["version"])
        trust = self.request.trust or Trust.of([], names_in([yaml.safe_dump(self._dumped())]))
        trust.check({"model": trained}, str(path))
        with reading(trust):
            # Upon the other settings, of which some have no default.
            before = self._parser(command).parse_object(
                {"model": trained}, self.config[command].clone()
            )
        refuse_changes(
            differences(
                {"model": self._resolved(before)["model"]},
                {"model": self._resolved(self.config[command])["model"]},
            ),
            training=command == "fit",
            of_training={*Model.of_training, *objective.of_training},
            free={*Model.free, *objective.free},
            weights=Path(path),
        )
        self._parts = Parts.from_state(checkpoint["parts"])
        self._trained = checkpoint["state_dict"]

    def _resolved(self, config: Any) -> dict[str, Any]:
        """Settings as plain mappings, lists and scalars."""
        text = self._parser(self.config.subcommand).dump(config, skip_unset=False)
        content: dict[str, Any] = yaml.safe_load(text)
        return content

    def _dumped(self) -> dict[str, Any]:
        return self._resolved(self.config[self.config.subcommand])

    # ---- building ----------------------------------------------------------------------------

    def instantiate_classes(self) -> None:
        """Build the data, the model and the trainer, and let the data keep to the parts."""
        with reading(self.request.trust):
            super().instantiate_classes()

    def instantiate_trainer(self, **kwargs: Any) -> Any:
        """Build the trainer, with the run's folder and the callbacks that fill it."""
        assert isinstance(self.model, Model) and isinstance(self.datamodule, CloudData)
        self.model.check_points(self.datamodule)
        if self._trained is not None:
            check_weights(self.model, self._trained, f"ckpt_path: {self._settings.ckpt_path}")
            self._trained = None
        settings = self.config_init[str(self.subcommand)]
        check_trainer(settings.trainer)
        purpose: Purpose = "use"
        if self.subcommand == "fit":
            purpose = "resume" if settings.resume else "tune"
        self.datamodule.keep(self._parts, purpose, settings.new_rows == "train")
        self.folder = self._claim()
        history = () if self.request.settings is None else self.request.settings.history
        training = self.subcommand == "fit"
        made = provenance(self.request.arguments) if training else (history or ({},))[-1]
        self.record = Record(self.folder, self.results, made)
        trainer = settings.trainer
        trainer.callbacks = [
            *_listed(trainer.callbacks),
            self.record,
            EpochLines(self.record),
            *self.observers(self.folder),
            ModelCheckpoint(
                dirpath=self.folder.path / "checkpoints",
                filename="best",
                monitor=f"val/{self.model.criterion}",
                enable_version_counter=False,
                auto_insert_metric_name=False,
            ),
            ModelCheckpoint(  # After the best, so that it knows of it.
                dirpath=self.folder.path / "checkpoints",
                filename="last",
                save_on_train_epoch_end=True,
                enable_version_counter=False,
            ),
        ]
        if training and not trainer.fast_dev_run:
            trainer.callbacks.append(
                KeepSettings(
                    self.folder,
                    self._dumped(),
                    self.request.arguments,
                    self._changed if settings.resume else None,
                    history,
                )
            )
        trainer.plugins = [
            *_listed(trainer.plugins),
            RunCheckpoints(self.folder, resumed=settings.resume is not None),
        ]
        if trainer.enable_progress_bar is None:
            trainer.enable_progress_bar = on_a_terminal()
        logger: Any = False
        if training and trainer.logger:
            logger = [
                each.build(self.folder.path) if isinstance(each, RunLogger) else each
                for each in _listed(trainer.logger)
            ]
            logger = True if logger == [True] else logger
        return super().instantiate_trainer(
            default_root_dir=str(self.folder), logger=logger, **kwargs
        )

    def observers(self, folder: RunFolder) -> list[Callback]:
        """Further callbacks, which find the record of an epoch complete when it ends."""
        return []

    def _claim(self) -> RunFolder:
        """The folder of the run, held against other processes, and where figures are to go.

        A new run makes its folder. A test or prediction with the settings and weights of the run
        goes into its folder, any other into a new one in it.
        """
        folder = self.request.folder
        if self.subcommand == "fit":
            folder = self._claim_for_training()
        elif self.subcommand == "validate":  # It writes nothing.
            folder = folder or RunFolder(Path("runs"))
        elif folder is None:
            folder = RunFolder.claim_new(Path("runs") / f"{self.subcommand}-{self._label()}")
        elif not self._is_own(folder) or not folder.try_to_hold():
            self.results = RunFolder.claim_new(folder.path / str(self.subcommand)).path
            return folder
        self.results = folder.path
        return folder

    def _is_own(self, folder: RunFolder) -> bool:
        """Whether the settings and the weights are those of a run."""
        weights = Path(self._settings.ckpt_path).resolve()
        return not self._changed and weights == folder.weights.resolve()

    def _claim_for_training(self) -> RunFolder:
        settings = self._settings
        named = settings.get("resume") or settings.get("run")
        if settings.trainer.fast_dev_run:  # Nothing is written.
            return RunFolder(named or Path("runs") / self._label())
        if _rank() != "0":  # The first of the processes has claimed it.
            return RunFolder(named or Path("runs") / self._label())
        if settings.get("resume") is not None:
            folder = RunFolder(named)
            folder.hold()
            folder.sweep()
            return folder
        if named is not None:
            folder = RunFolder(named)
            folder.claim()
            return folder
        return RunFolder.claim_new(Path("runs") / self._label())

    def _label(self) -> str:
        assert isinstance(self.model, Model) and isinstance(self.datamodule, CloudData)
        stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
        label = re.sub(r"[^\w.+=-]+", "_", self.model.label(self.datamodule))
        return f"{self._settings.task}-{label}-{stamp}"

    # ---- running -----------------------------------------------------------------------------

    def _run_subcommand(self, subcommand: str) -> None:
        """Run it; Lightning starts the further processes of a training with ``sys.argv``."""
        named = "run" in self.request.options or "resume" in self.request.options
        folder = [] if named or subcommand != "fit" else ["--run", str(self.folder)]
        sys.argv = [*sys.argv[:1], *self.request.arguments, *folder]
        super()._run_subcommand(subcommand)

    def after_fit(self) -> None:
        """Test the weights that did best on the validation part; the last, if none were."""
        if self._settings.trainer.fast_dev_run or self.trainer.interrupted:
            return
        weights = self.folder.weights
        self.record.weights = weights.stem
        self.trainer.test(
            self.model,
            datamodule=self.datamodule,
            ckpt_path=str(weights),
            weights_only=True,
            verbose=False,
        )

    def before_test(self) -> None:
        """Remember which weights are tested."""
        if self.request.folder is not None:
            self.record.weights = Path(self._settings.ckpt_path).stem

    def after_test(self) -> None:
        """Keep the settings beside figures that are not those of the run."""
        if self.results != self.folder.path:
            text = yaml.safe_dump(self._dumped(), sort_keys=False)
            write_atomic(self.results / CONFIG, text.encode())

    def predict(self, **kwargs: Any) -> None:
        """Write the predictions as a table that is new.

        Raises:
            UserError: Several processes were asked for, or predictions are not finite.
        """
        assert isinstance(self.model, Model)
        if self.trainer.world_size > 1:
            raise UserError(f"predict runs in one process; got {self.trainer.world_size}.")
        predictions: list[Any] = self.trainer.predict(**kwargs) or []
        table = torch.cat(predictions)
        finite = table.isfinite().all(1)
        with free_file(self.results / "predictions.csv") as path:
            self.model.write_predictions(path, [table[finite]])
        self.after_test()
        say(f"Written: {path}")
        if not finite.all():
            raise UserError(
                f"predict: {int((~finite).sum())} of {len(table)} predictions are not finite, and "
                f"are left out of {path}; the first is of row {int(table[~finite][0, 0])}."
            )

    @property
    def _settings(self) -> Any:
        return self.config[str(self.subcommand)]


def _objective(path: str) -> type[Objective[Any]]:
    """The class of an objective, by its dotted path."""
    module, _, name = path.rpartition(".")
    found: type[Objective[Any]] = getattr(import_module(module), name)
    return found


def _rank() -> str:
    """The number of this process among those that train together, as launchers say it."""
    names = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")
    return next((os.environ[name] for name in names if name in os.environ), "0")


def _listed(value: Any) -> list[Any]:
    """A setting that may be absent, one, or several."""
    return list(value) if isinstance(value, list | tuple) else [] if value is None else [value]
