"""One run of a study: checking its settings, and carrying it out in a process of its own."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from tasks.cache import write_atomic
from tasks.commands.catalog import TASKS
from tasks.commands.main import launch, silence_noise
from tasks.commands.task import TaskCLI
from tasks.errors import USER_ERRORS, UserError
from tasks.provenance import machine
from tasks.runs.folder import RunFolder, locked, refuse_links
from tasks.runs.request import Request
from tasks.runs.trust import names_in

PROGRESS = "progress.json"
LOG = "log.txt"

_WAIT = 60.0  # seconds for a process whose parent was killed to be gone


@dataclass(frozen=True)
class Job:
    """A run that is to be carried out.

    Args:
        name: The name of the run.
        task: The name of the task.
        folder: Its folder, an absolute path.
        arguments: The arguments of ``lie-attention fit``.
        threads: Number of threads.
        working_folder: The folder that relative paths start from.
    """

    name: str
    task: str
    folder: Path
    arguments: tuple[str, ...]
    threads: int
    working_folder: Path


# ---- checking --------------------------------------------------------------------------------


class Check(TaskCLI):
    """Parses the arguments of ``fit``, builds what they say, and trains and writes nothing."""

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        return {"fit": TaskCLI.subcommands()["fit"]}

    def _run_subcommand(self, subcommand: str) -> None:
        """Leave it at that."""

    def _claim(self) -> RunFolder:
        """Leave the folder to the run."""
        return RunFolder("runs/checked")

    def again(self, arguments: Sequence[str]) -> None:
        """Do the same for other arguments, with the parser that is there."""
        self.request = Request.of(arguments)
        self.parse_arguments(self.parser, self.request.parsed)
        self.instantiate_classes()


def check(runs: Sequence[tuple[str, Sequence[str]]]) -> Iterator[str]:
    """Parse and build every run, as ``fit`` would before it reads any data.

    Args:
        runs: The name of each run and its arguments of ``lie-attention fit``.

    Yields:
        The name of each run that is found in order.

    Raises:
        UserError: If a setting is wrong; the message names the run.
    """
    checker: Check | None = None
    for name, arguments in runs:
        try:
            if checker is None:
                checker = launch(["fit", *arguments], Check)
            else:
                checker.again(["fit", *arguments])
        except USER_ERRORS as error:
            raise UserError(f"run {name}: {error}") from error
        yield name


# ---- carrying out ----------------------------------------------------------------------------


class Progress(Callback):
    """Says after each epoch how far the training is, to who waits for it.

    Args:
        folder: The folder of the run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the share that is done."""
        steps = trainer.estimated_stepping_batches
        state = {
            "done": min(trainer.global_step / steps, 1.0) if steps else 0.0,
            "epoch": trainer.current_epoch + 1,
            "machine": machine(),
        }
        write_atomic(self.folder / PROGRESS, json.dumps(state).encode())


class Train(TaskCLI):
    """``fit`` within a study."""

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        return {"fit": TaskCLI.subcommands()["fit"]}

    def observers(self, folder: RunFolder) -> list[Callback]:
        return [Progress(folder.path)]

    def before_fit(self) -> None:
        """Make the data in one run, if they are to be made, while the others wait for them."""
        with locked(self.folder.path.parent / ".data.lock"):
            self.datamodule.prepare_data()


def train(job: Job) -> None:
    """Carry out a run in this process: begin it, or go on with it, unless it is done.

    Args:
        job: The run.

    Raises:
        UserError: If a setting is wrong.
        TimeoutError: If another process works on the run.
    """
    os.chdir(job.working_folder)
    torch.set_num_threads(job.threads)
    silence_noise()
    folder = RunFolder(job.folder)
    with folder.held(_WAIT):
        folder.sweep()
        if folder.metrics.exists():
            return
        if folder.last.exists():
            print(f"\nGoing on with {job.name}.", flush=True)
            trusted = [f"--trust={name}" for name in _named(job)]
            launch(["fit", "--resume", str(job.folder), *trusted], Train)
            return
        for path in job.folder.iterdir():  # What was killed in its first epoch left nothing.
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name not in (LOG, ".lock"):
                path.unlink()
        quiet = "--trainer.enable_progress_bar=false"
        launch(["fit", *job.arguments, quiet, "--run", str(job.folder)], Train)


def _named(job: Job) -> list[str]:
    """What the user's own arguments and configuration of a run name, beside classes of ours."""
    texts = list(job.arguments)
    for option, value in pairwise(job.arguments):
        if option == "--config":
            texts.append(Path(value).read_text())
    return names_in(texts)


def start_server(task: str) -> None:
    """Start the server that processes are forked from, and let it import what a task needs."""
    multiprocessing.get_context("forkserver").set_forkserver_preload(
        [__name__, TASKS[task].data.rpartition(".")[0]]
    )
    forkserver.ensure_running()


class FreshProcess:
    """A process in which a run is carried out.

    It is forked from a server that has imported everything and computed nothing. So a run starts
    at once, sees nothing of the runs before it, and gives all its memory back; where it crashes,
    the others go on.

    Args:
        job: The run.
        environment: Environment variables of the process.
    """

    def __init__(self, job: Job, environment: dict[str, str]) -> None:
        start_server(job.task)
        context = multiprocessing.get_context("forkserver")
        self._receiver, sender = context.Pipe(duplex=False)
        self._process = context.Process(
            target=_work, args=(job, environment, sender), name=job.name
        )
        self._process.start()
        sender.close()

    def result(self) -> str | None:
        """Wait for the end; None where all went well, else what went wrong."""
        try:
            message: str | None = self._receiver.recv()
        except EOFError:
            self._process.join()
            code = self._process.exitcode or 0
            by = f"signal {-code} ({signal.strsignal(-code)})" if code < 0 else f"status {code}"
            message = f"the process ended by {by}."
        self._process.join()
        return message

    def stop(self) -> None:
        """Let the training write a checkpoint and end."""
        if self._process.pid is not None and self._process.is_alive():
            os.kill(self._process.pid, signal.SIGINT)


def _work(job: Job, environment: dict[str, str], sender: Connection) -> None:
    """What the process of a run does."""
    os.setpgid(0, 0)  # The keyboard's interrupt goes to the parent, which stops this process,
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also in the background of a shell.
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ |= environment
    job.folder.mkdir(parents=True, exist_ok=True)
    refuse_links(job.folder, job.folder / LOG)
    log = os.open(job.folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o666)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    message: str | None = None
    try:
        train(job)
    except (KeyboardInterrupt, SystemExit):  # Lightning turns the first into the second.
        message = "interrupted."
    except Exception as error:
        traceback.print_exc()
        kind = "" if isinstance(error, USER_ERRORS) else f"{type(error).__name__}: "
        message = f"{kind}{error}" if str(error) else type(error).__name__
    sys.stdout.flush()
    sys.stderr.flush()
    sender.send(message)


def _end_with_parent() -> None:
    """Kill this process when the one that waits for it is gone."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGKILL)
