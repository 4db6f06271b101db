"""Loggers that go by a short name and write into the folder of the run."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from pytorch_lightning import loggers
from pytorch_lightning.loggers import Logger

__all__ = ["CSV", "LOGGERS", "RunLogger", "TensorBoard", "WandB"]


class RunLogger(Logger):
    """Stands in a configuration for a logger of Lightning, which is built when the folder is known.

    So no path is part of the settings, and a run may move.
    """

    @abstractmethod
    def build(self, folder: Path) -> Logger:
        """The logger.

        Args:
            folder: The folder of the run.

        Raises:
            ImportError: If what it needs is not installed.
        """

    @property
    def name(self) -> str:
        return type(self).__name__

    @property
    def version(self) -> str:
        return ""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        raise RuntimeError("build the logger first")

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError("build the logger first")


class CSV(RunLogger):
    """Tables in ``csv/version_N/metrics.csv``, one for each part of a training."""

    def build(self, folder: Path) -> Logger:
        return loggers.CSVLogger(folder, name="csv")


class TensorBoard(RunLogger):
    """Curves for TensorBoard in ``tensorboard/version_N``: ``tensorboard --logdir RUN``."""

    def build(self, folder: Path) -> Logger:
        try:
            return loggers.TensorBoardLogger(folder, name="tensorboard")
        except ModuleNotFoundError as error:
            raise ImportError(
                "trainer.logger: tensorboard needs the package tensorboard: pip install "
                "'lie-attention[tensorboard]'.",
                name="tensorboard",
            ) from error


class WandB(RunLogger):
    """Curves for Weights & Biases, in the project ``lie-attention``; its files in ``wandb``."""

    def build(self, folder: Path) -> Logger:
        try:
            return loggers.WandbLogger(
                name=folder.resolve().name, save_dir=folder, project="lie-attention"
            )
        except ModuleNotFoundError as error:
            raise ImportError(
                "trainer.logger: wandb needs the package wandb: pip install "
                "'lie-attention[wandb]'.",
                name="wandb",
            ) from error


LOGGERS: Final[Mapping[str, type[RunLogger]]] = MappingProxyType(
    {"csv": CSV, "tensorboard": TensorBoard, "wandb": WandB}
)
"""The loggers by their short names."""
