"""Where the runs of a study are carried out: processes of this machine, or a Ray cluster."""

from __future__ import annotations

import os
import queue
from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import torch

from tasks.cache import CACHE_VARIABLE
from tasks.studies.runs import FreshProcess, Job, start_server
from tasks.studies.store import STUDY

_TICK = 0.5  # seconds between two looks at the progress
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")

Outcome = tuple[Job, str | None]
"""A run that has ended, and what went wrong, if anything did."""


class Workers(ABC):
    """Carries out runs, several at a time, each in a fresh process."""

    @abstractmethod
    def carry_out(self, jobs: Sequence[Job]) -> Generator[list[Outcome]]:
        """Carry out runs.

        Args:
            jobs: The runs, in the order in which they are to begin.

        Yields:
            The runs that have ended since the last time; now and then none, so that the caller
            can show the progress. A caller that stops asking stops the runs, which can be gone on
            with.
        """


class Processes(Workers):
    """Processes of this machine; where it has GPUs, each run sees one of them.

    Args:
        workers: Number of runs at a time.
        threads: Number of threads of each.
        task: The name of the task.
    """

    def __init__(self, workers: int, threads: int, task: str) -> None:
        self.workers = workers
        os.environ |= dict.fromkeys(_THREADS, str(threads))
        start_server(task)  # It imports while the settings are checked.

    def carry_out(self, jobs: Sequence[Job]) -> Generator[list[Outcome]]:
        devices: queue.Queue[dict[str, str]] = queue.Queue()
        for worker in range(self.workers):
            devices.put(device_of(worker))

        running: set[FreshProcess] = set()

        def work(job: Job) -> str | None:
            device = devices.get()
            process = FreshProcess(job, {**os.environ, **device})
            running.add(process)
            try:
                return process.result()
            finally:
                running.discard(process)
                devices.put(device)

        with ThreadPoolExecutor(self.workers) as pool:
            pending: dict[Future[str | None], Job] = {pool.submit(work, job): job for job in jobs}
            try:
                while pending:
                    ended, _ = wait(pending, timeout=_TICK, return_when=FIRST_COMPLETED)
                    yield [(pending.pop(future), future.result()) for future in ended]
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
                for process in list(running):
                    process.stop()


class Cluster(Workers):
    """The machines of a Ray cluster, which share the file system that the study's folder is on.

    Args:
        address: The address of the cluster; without one, Ray's own choice, which is the cluster
            that ``RAY_ADDRESS`` names or this machine.
        workers: Number of runs at a time on a machine that Ray is started on here.
        threads: Number of threads, and so of CPUs, of each run.
        gpus: Number of GPUs of each run, a share of one where it is below 1.

    Raises:
        ImportError: If Ray is not installed.
    """

    def __init__(self, address: str | None, workers: int, threads: int, gpus: float = 0.0) -> None:
        try:
            import ray
        except ImportError as error:
            raise ImportError(
                "--ray needs Ray: pip install 'lie-attention[ray]'; without --ray the runs are "
                "processes of this machine."
            ) from error
        self.ray: Any = ray
        self.address, self.workers, self.threads, self.gpus = address, workers, threads, gpus

    def carry_out(self, jobs: Sequence[Job]) -> Generator[list[Outcome]]:
        self._connect()
        try:
            work = self.ray.remote(num_cpus=self.threads, num_gpus=self.gpus)(_carry_out_on_a_node)
            pending = {work.remote(job, job.folder.parent.parent): job for job in jobs}
            while pending:
                ended, _ = self.ray.wait(list(pending), timeout=_TICK)
                yield [(pending.pop(each), self._message(each)) for each in ended]
        finally:
            self.ray.shutdown()

    def _connect(self) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        variables = dict.fromkeys(_THREADS, str(self.threads))
        if CACHE_VARIABLE in os.environ:
            variables[CACHE_VARIABLE] = os.environ[CACHE_VARIABLE]
        settings: dict[str, Any] = {
            "runtime_env": {"env_vars": variables},
            "log_to_driver": False,
            "logging_level": "ERROR",
        }
        here = self.address is None and not os.environ.get("RAY_ADDRESS")
        if here or self.address == "local":
            settings |= {"num_cpus": self.workers * self.threads, "include_dashboard": False}
        try:
            self.ray.init(address=self.address, **settings)
        except ConnectionError as error:
            raise ValueError(f"ray: no cluster answers at {self.address}: {error}") from error

    def _message(self, reference: Any) -> str | None:
        try:
            message: str | None = self.ray.get(reference)
        except self.ray.exceptions.RayError as error:
            return f"Ray: {error}"
        return message


def _carry_out_on_a_node(job: Job, folder: Path) -> str | None:
    """Carry out a run on a machine of a cluster, after a look whether it sees the folder."""
    if not (folder / STUDY).is_file():
        return (
            f"the machine {os.uname().nodename} does not see {folder}: the folder of a study must "
            "be on a file system that all machines of the cluster share."
        )
    return FreshProcess(job, {}).result()


def device_of(worker: int) -> dict[str, str]:
    """The GPU of a worker, as an environment variable; the workers take turns.

    Args:
        worker: The number of the worker.
    """
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    known = named.split(",") if named else [str(i) for i in range(torch.cuda.device_count())]
    return {"CUDA_VISIBLE_DEVICES": known[worker % len(known)]} if known else {}
