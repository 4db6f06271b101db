"""Cases that run in processes of their own, and take turns.

Peak memory is a property of a process, so each case has one. The processes wait for each other
and step in turn: a slow moment of the machine meets all of them, and ratios within a round are
those of neighbors in time.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from statistics import median
from time import perf_counter, process_time
from typing import IO, Any, NamedTuple

import torch

from tasks.provenance import processor_seconds

Row = dict[str, Any]

MEMORY_LIMIT = 12 * 2**30
"""Bytes that a case may allocate on a CPU."""


class Run(NamedTuple):
    """A case that is ready to run.

    Attributes:
        forward: Runs it forward, and gives what runs it backward.
        facts: What else there is to say, asked for after the last step.
        device: Where it runs.
    """

    forward: Callable[[], Callable[[], object]]
    facts: Callable[[], Row]
    device: str = "cpu"


class Failed(RuntimeError):
    """A case that could not be run."""


class Worker:
    """A case in a process of its own."""

    def __init__(self, case: Row) -> None:
        command = [sys.executable, sys.argv[0], "case", json.dumps(case)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.times: list[tuple[float, float, float]] = []
        self.cpu_seconds = 0.0

    def ask(self, question: str) -> Row:
        assert self.process.stdin is not None and self.process.stdout is not None
        with suppress(BrokenPipeError):  # Then it has said why, before it ended.
            print(question, file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise Failed(f"ended with status {self.join()}")
        row = json.loads(answer)
        if "failed" in row:
            raise Failed(row["failed"])
        return row

    def step(self) -> None:
        row = self.ask("step")
        self.times.append((row["forward"], row["both"], row["cpu"]))

    def end(self) -> Row:
        row = self.ask("end")
        self.join()
        return row

    def join(self, *, kill: bool = False) -> int:
        """Wait for the end, count what the process took, and give its status."""
        before = processor_seconds()
        if kill:  # Which also collects one that has ended.
            self.process.kill()
        status = self.process.wait()
        self.cpu_seconds += processor_seconds() - before
        return status


def take_turns(cases: Sequence[Row], repeats: int, *, warm_up: bool = True) -> list[Row]:
    """Run the cases in turn, as often as wanted.

    Args:
        cases: What ``serve`` is to build, and run.
        repeats: Number of rounds.
        warm_up: Whether a round goes ahead that is not counted.

    Returns:
        For each case the medians of its seconds and of those that it had a processor, its peak
        memory and that of a process which has loaded the libraries, its facts, and ``ratio`` of
        its processor seconds, on a GPU its seconds, forward and backward to those of the first
        case, the median over the rounds; and ``cpu_seconds``, those of its whole process.
        A case that fails has ``failed``.
    """
    workers: list[Worker] = []
    rows: list[Row] = [{} for _ in cases]
    for case in cases:
        workers.append(Worker(case))
    for round_ in range(repeats + warm_up):
        for worker, row in zip(workers, rows, strict=True):
            if "failed" not in row:
                try:
                    worker.step()
                except Failed as error:
                    row["failed"] = str(error)
        if warm_up and round_ == 0:
            for worker in workers:
                worker.times.clear()
    for worker, row in zip(workers, rows, strict=True):
        if "failed" in row:
            worker.join(kill=True)
            row["cpu_seconds"] = digits(worker.cpu_seconds)
            continue
        facts = worker.end()
        forward, both, cpu = zip(*worker.times, strict=True)
        row["seconds_forward"] = digits(median(forward))
        row["seconds_forward_backward"] = digits(median(both))
        row["cpu_seconds_forward_backward"] = digits(median(cpu))
        row.update(facts)
        row["cpu_seconds"] = digits(worker.cpu_seconds)
        if "failed" not in rows[0]:
            # What else a machine does falls on one case of a round: processor time is free of it.
            kind = 1 if cases[0].get("device") == "cuda" else 2
            rounds = zip(worker.times, workers[0].times, strict=True)
            row["ratio"] = digits(median(own[kind] / first[kind] for own, first in rounds))
    return rows


def serve(case: Row, build: Callable[[Row], Run]) -> None:
    """Run a case step by step, as the parent asks on standard input."""
    if case.get("device", "cpu") == "cpu":
        # A case that is too large fails by itself, and not the machine.
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_LIMIT, MEMORY_LIMIT))
    # What libraries print must not come between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    baseline = peak_mb()
    try:
        run = build(case)
        if run.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        for line in sys.stdin:
            if line.strip() != "step":
                peak = peak_mb(run.device)
                base = 0.0 if run.device == "cuda" else baseline
                facts = run.facts()
                _answer(answers, {"peak_mb": round(peak), "baseline_mb": round(base), **facts})
                return
            _answer(answers, _step(run))
    except (RuntimeError, MemoryError, ValueError, TypeError, ImportError) as error:
        first = str(error).split("\n")[0]
        _answer(answers, {"failed": f"{type(error).__name__}: {first}"[:200]})


def _step(run: Run) -> Row:
    _wait(run.device)
    start, started = perf_counter(), process_time()
    backward = run.forward()
    _wait(run.device)
    forward = perf_counter() - start
    backward()
    _wait(run.device)
    both = perf_counter() - start
    return {"forward": forward, "both": both, "cpu": process_time() - started}


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def _answer(stream: IO[str], row: Row) -> None:
    print(json.dumps(row), file=stream, flush=True)


def peak_mb(device: str = "cpu") -> float:
    """Peak memory of this process, or of its tensors on a GPU, in MB of 2²⁰ bytes."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def digits(x: float, count: int = 3) -> float:
    return float(f"{x:.{count}g}")
