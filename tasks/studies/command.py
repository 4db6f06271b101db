"""``lie-attention ablate``: train with every combination of settings, and compare."""

from __future__ import annotations

import os
import signal
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import yaml
from tqdm import tqdm

from tasks.cache import write_atomic
from tasks.commands.main import find_config, silence_noise
from tasks.errors import UserError
from tasks.runs.settings import read_mapping
from tasks.studies import report
from tasks.studies.grid import Axis
from tasks.studies.runs import LOG, Job, check
from tasks.studies.store import Row, Store
from tasks.studies.study import Study
from tasks.studies.workers import Cluster, Processes, Workers

_DESCRIPTION = """\
Train with every combination of settings, several at a time, and compare the results.

  lie-attention ablate --study tasks/configs/md17/ablation.yaml
  lie-attention ablate --config tasks/configs/md17/quick.yaml \\
      --grid.model.invariant '[Distance, InverseDistance, [Distance, InverseDistance]]' \\
      --grid.seed_everything '[0, 1, 2]' --trainer.max_epochs 10

A study that was stopped, in whatever way, goes on when the same command is given again. Further
arguments, such as --trainer.max_epochs, are those of `lie-attention fit` and hold for all runs."""

_GRID = "--grid."
_BAR = "{desc}: {percentage:3.0f}%|{bar}| {n:.1f}/{total} runs [{elapsed}<{remaining}{postfix}]"


class _Parser(ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"ablate: {message}; lie-attention ablate --help lists what is accepted.")


def ablate(args: Sequence[str]) -> bool:
    """Carry out a study, or go on with it.

    Args:
        args: What follows ``ablate`` on the command line.

    Returns:
        Whether every run ended well.

    Raises:
        UserError: If the study, a setting of a run or the folder is wrong.
        ValueError: The same.
        ImportError: If Ray is wanted and not installed.
    """
    silence_noise()
    given, study = _read(list(args))
    store = Store(Path(given.folder or f"runs/ablate-{study.name}"))
    if given.dry_run:
        store.holds(study)
        _check(study)
        _say_plan(study, store)
        return True
    workers = _workers(given, study)
    with store.held():
        if not store.holds(study):
            _check(study)
            store.claim(study)
        results = Path(given.results or store.folder / "results.json")

        def save(failed: Mapping[str, str]) -> tuple[list[Row], dict[str, str]]:
            return store.write_results(results, study, failed)

        left = [run for run in study.runs if not store.is_done(run)]
        jobs = [store.job(study, run, given.threads) for run in left]
        log = _near(store.folder / "runs" / "NAME" / LOG)
        print(f"{len(jobs)} of {len(study.runs)} runs are left; each writes to {log}.", flush=True)
        failed, stopped = _carry_out(study, store, jobs, workers, save)
        rows, failed = save(failed)
        _report(study, rows, results)
        for name, message in failed.items():
            print(f"{name} failed: {message}")
    if stopped:
        print("Stopped. Go on by giving the same command again.")
    return not failed and not stopped


# ---- what is asked for -----------------------------------------------------------------------


def _read(args: list[str]) -> tuple[Namespace, Study]:
    """The options of the command, and the study."""
    axes, args = _take_grid(args)
    parser = _parser()
    given, rest = parser.parse_known_args(args)
    if (given.study is None) == (given.config is None):
        raise UserError("ablate: give either --study FILE, or --config FILE and a --grid.KEY.")
    if (given.workers or 1) < 1 or given.workers == 0 or given.threads < 1:
        raise UserError(f"workers, threads: at least 1; got {given.workers} and {given.threads}.")
    if given.study is not None:
        study = Study.read(find_config(given.study))
        for name, value in axes:
            study = study.narrowed(name, value)
    else:
        parsed = tuple(Axis.parse(name, value) for name, value in axes)
        config = find_config(given.config)
        study = Study(config.stem, config, axes=parsed)
    read_mapping("config", study.config)
    study = replace(study, settings=_override(study.settings, _joined(rest)))
    columns = _mapping("columns", given.columns)
    study = replace(study, columns=columns or study.columns, spread=given.spread or study.spread)
    names = [axis.name for axis in study.axes]
    if given.spread is not None and given.spread not in names:
        raise UserError(f"spread: {given.spread!r}; accepted: {', '.join(names)}.")
    return given, study


def _parser() -> ArgumentParser:
    parser = _Parser(
        prog="lie-attention ablate",
        description=_DESCRIPTION,
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--study", metavar="FILE", help="A study file; docs/ablate.md describes it."
    )
    parser.add_argument("--config", metavar="FILE", help="The configuration that the runs share.")
    parser.add_argument(
        "--grid.KEY",
        dest="grid",
        metavar="VALUES",
        help=(
            "Values of a key, as a YAML list: an axis of the grid. With --study, the name of an "
            "axis and some of its labels take these alone."
        ),
    )
    parser.add_argument(
        "--folder", help="Folder of the study; runs/ablate-NAME of the study or config by default."
    )
    parser.add_argument(
        "--results", metavar="FILE", help="Results; FOLDER/results.json by default."
    )
    parser.add_argument(
        "--workers", type=int, help="Number of runs at a time; one a core by default."
    )
    parser.add_argument("--threads", type=int, default=1, help="Threads of each run; 1 by default.")
    parser.add_argument(
        "--ray",
        nargs="?",
        const="",
        metavar="ADDRESS",
        help="Run on a Ray cluster: the one at the address, or one that is started here.",
    )
    parser.add_argument(
        "--gpus", type=float, default=0.0, help="With --ray: GPUs of each run, such as 0.25."
    )
    parser.add_argument(
        "--columns",
        metavar="MAPPING",
        help="Figures of the results: {NAME: KEY OF metrics.json, ...}; all of the test else.",
    )
    parser.add_argument(
        "--spread", metavar="AXIS", help="The axis to take mean and spread over; seed by default."
    )
    parser.add_argument(
        "--dry_run", action="store_true", help="Check the settings of all runs, and name the runs."
    )
    return parser


def _take_grid(args: list[str]) -> tuple[list[tuple[str, Any]], list[str]]:
    """The axes among the arguments, and the other arguments."""
    axes, rest = [], []
    words = iter(args)
    for word in words:
        if not word.startswith(_GRID):
            rest.append(word)
            continue
        name, equals, text = word.removeprefix(_GRID).partition("=")
        if not equals:
            text = next(words, "")
        axes.append((name, _parsed(f"grid.{name}", text)))
    return axes, rest


def _parsed(name: str, text: str) -> Any:
    """The value that a text means."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"{name}: {text!r} is not YAML: {' '.join(str(error).split())}") from error


def _joined(words: Sequence[str]) -> list[str]:
    """Arguments of ``fit``, each as one word."""
    joined: list[str] = []
    for word in words:
        if word.startswith("--"):
            joined.append(word)
        elif joined and "=" not in joined[-1]:
            joined[-1] += f"={word}"
        else:
            raise UserError(f"ablate: {word!r} belongs to no option.")
    return joined


def _override(settings: Sequence[str], later: Sequence[str]) -> tuple[str, ...]:
    """Settings, where a later one of the same key takes the place of an earlier one."""
    new = {text.partition("=")[0] for text in later}
    return (*(text for text in settings if text.partition("=")[0] not in new), *later)


def _mapping(name: str, text: str | None) -> dict[str, str]:
    if text is None:
        return {}
    value = _parsed(name, text)
    if not isinstance(value, dict) or not value:
        raise UserError(f"{name}: {text!r}; accepted: a mapping such as {{mae: test/mae}}.")
    return {str(key): str(each) for key, each in value.items()}


def _workers(given: Namespace, study: Study) -> Workers:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    workers = given.workers or max(1, min((cores or 1) // given.threads, len(study.runs)))
    if given.ray is not None:
        return Cluster(given.ray or None, workers, given.threads, given.gpus)
    if given.gpus:
        raise UserError("gpus: it is for --ray; without it, the runs take turns on the GPUs here.")
    return Processes(workers, given.threads, study.task)


# ---- the work --------------------------------------------------------------------------------


def _check(study: Study) -> None:
    """Look at the settings of all runs before the first one starts."""
    pairs = [(run.name, study.arguments(run)) for run in study.runs]
    with tqdm(total=len(pairs), desc="checking", unit=" runs", disable=None, leave=False) as bar:
        for _ in check(pairs):
            bar.update()


def _say_plan(study: Study, store: Store) -> None:
    """Name the runs."""
    for run in study.runs:
        print(f"{run.name}{'  (done)' if store.is_done(run) else ''}")
    left = sum(not store.is_done(run) for run in study.runs)
    print(f"{left} of {len(study.runs)} runs are left; their settings are in order.")


def _carry_out(
    study: Study,
    store: Store,
    jobs: Sequence[Job],
    workers: Workers,
    save: Callable[[Mapping[str, str]], object],
) -> tuple[dict[str, str], bool]:
    """Carry out the runs that are left; say which failed and why, and whether it was stopped."""
    failed: dict[str, str] = {}
    total = len(study.runs)
    done = total - len(jobs)

    def share() -> float:
        return total - len(jobs) + sum(store.done_share(job.folder) for job in jobs)

    with (
        _Terminable(),
        tqdm(
            total=total,
            initial=share(),
            desc=study.name,
            unit=" runs",
            bar_format=_BAR,
            disable=None,
        ) as bar,
    ):
        try:
            with closing(workers.carry_out(jobs)) as outcomes:
                for ended in outcomes:
                    for job, message in ended:
                        if message is None:
                            done += 1
                            text = f"{job.name}: done ({done} of {total})"
                        else:
                            failed[job.name] = message
                            text = f"{job.name}: failed: {message} (log: {_near(job.folder / LOG)})"
                        bar.write(text, file=sys.stdout)
                        save(failed)
                    bar.n = share()
                    bar.set_postfix_str(f"{len(failed)} failed" if failed else "")
        except KeyboardInterrupt:
            return failed, True
    return failed, False


def _report(study: Study, rows: Sequence[Row], results: Path) -> None:
    """Write the table and the picture beside the results, and print the table."""
    groups = report.group_rows(rows, study.axes, study.spread)
    text = report.table(groups, study.axes)
    files = [results, results.with_suffix(".md")]
    write_atomic(files[1], (text + "\n").encode())
    if groups:
        files.append(results.with_suffix(".png"))
        report.draw(files[-1], groups, study.axes, study.spread)
    print(text)
    print(f"Written: {', '.join(str(_near(file)) for file in files)}")


def _near(path: Path) -> Path:
    """A path as it is seen from here, where it lies below."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


class _Terminable:
    """Within it, the signal TERM stops the study as the interrupt from the keyboard does."""

    def __enter__(self) -> None:
        self._old = signal.signal(signal.SIGTERM, _interrupt)

    def __exit__(self, *exception: object) -> None:
        signal.signal(signal.SIGTERM, self._old)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
