"""The folder of a study: its lock, what it is, its runs and their results."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tasks.cache import write_atomic
from tasks.errors import UserError
from tasks.provenance import UNKNOWN, recorded
from tasks.runs.folder import METRICS, Busy, RunFolder, refuse_links
from tasks.studies.grid import Run
from tasks.studies.runs import PROGRESS, Job
from tasks.studies.study import Study, differences

STUDY = "study.json"
_SHOWN = 6

Row = dict[str, Any]


class Store:
    """The folder of a study.

    It holds ``study.json``, which says what the study is, ``runs/NAME`` for each run, and the
    results. What is done is read from the folders of the runs alone, so that nothing else can
    disagree with them.

    Args:
        folder: The folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()

    def run_folder(self, run: Run) -> Path:
        """The folder of a run."""
        return self.folder / "runs" / run.name

    def job(self, study: Study, run: Run, threads: int) -> Job:
        """What a process needs to carry out a run."""
        arguments = tuple(study.arguments(run))
        return Job(run.name, study.task, self.run_folder(run), arguments, threads, Path.cwd())

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder against other calls of ``ablate``.

        Raises:
            UserError: If another one has it.
        """
        folder = RunFolder(self.folder)
        try:
            folder.hold()
        except Busy:
            raise UserError(
                f"folder: another ablate works on {self.folder}; wait for it, or name another "
                "folder by --folder."
            ) from None
        try:
            for run in (self.folder / "runs").glob("*"):
                refuse_links(self.folder, run)
            folder.sweep()
            yield
        finally:
            folder.release()

    def holds(self, study: Study) -> bool:
        """Whether this is the folder of a study already.

        Raises:
            UserError: If it is the folder of another study; the message names what differs.
        """
        path = self.folder / STUDY
        if not path.exists():
            return False
        changed = differences(json.loads(path.read_text()), _as_json(study))
        if changed:
            shown = "; ".join(changed[:_SHOWN])
            more = f"; and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
            raise UserError(
                f"folder: {self.folder} holds another study: {shown}{more}. Name another "
                "folder by --folder, or give the settings that it was started with."
            )
        return True

    def claim(self, study: Study) -> None:
        """Make this the folder of a study, whose settings are in order."""
        write_atomic(self.folder / STUDY, (json.dumps(_as_json(study), indent=2) + "\n").encode())

    def is_done(self, run: Run) -> bool:
        """Whether a run has ended well."""
        return (self.run_folder(run) / METRICS).exists()

    def done_share(self, folder: Path) -> float:
        """Share of the steps that are done of the run in a folder."""
        return 1.0 if (folder / METRICS).exists() else float(_progress(folder).get("done", 0.0))

    def rows(self, study: Study) -> tuple[list[Row], dict[str, str]]:
        """The results of the runs that are done, one row each.

        Args:
            study: The study.

        Returns:
            The rows in the order of the grid: the labels, then the figures, then where they come
            from; and by the name of a run, why its figures could not be read.
        """
        rows, problems = [], {}
        for run in study.runs:
            if not self.is_done(run):
                continue
            metrics = json.loads((self.run_folder(run) / METRICS).read_text())
            columns = study.columns or _figures(metrics)
            missing = [key for key in columns.values() if key not in metrics]
            if missing:
                problems[run.name] = (
                    f"metrics.json has no {', '.join(missing)}; it has "
                    f"{', '.join(key for key in metrics if key != 'history')}."
                )
                continue
            figures = {name: metrics[key] for name, key in columns.items()}
            rows.append({**run.labels, **figures, **self._origin(run, metrics)})
        return rows, problems

    def _origin(self, run: Run, metrics: Mapping[str, Any]) -> Row:
        """Where the figures of a run come from, by its own folder.

        Each run is a process of its own, on another machine or day, of another commit perhaps than
        the one that collects the results.
        """
        found = recorded(metrics.get("provenance", {}))
        if found["machine"] == UNKNOWN:
            found["machine"] = _progress(self.run_folder(run)).get("machine", UNKNOWN)
        return found

    def write_results(
        self, path: Path, study: Study, failed: Mapping[str, str]
    ) -> tuple[list[Row], dict[str, str]]:
        """Write the results of the runs that are done.

        Args:
            path: The file.
            study: The study.
            failed: By the name of a run, why it failed.

        Returns:
            The rows; and by the name of a run, why it failed or its figures could not be read.
        """
        rows, problems = self.rows(study)
        content: dict[str, Any] = {"notes": study.notes, "rows": rows}
        problems = {**failed, **problems}
        if problems:
            content["failed"] = [
                {**run.labels, "message": problems[run.name]}
                for run in study.runs
                if run.name in problems
            ]
        write_atomic(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())
        return rows, problems


def _as_json(study: Study) -> dict[str, Any]:
    """The identity of a study as it is read back."""
    content: dict[str, Any] = json.loads(json.dumps(study.identity))
    return content


def _progress(folder: Path) -> dict[str, Any]:
    """What a run says of how far it is."""
    try:
        found: dict[str, Any] = json.loads((folder / PROGRESS).read_text())
    except FileNotFoundError:
        return {}
    return found


def _figures(metrics: Mapping[str, Any]) -> dict[str, str]:
    """All numbers of the test but those of constant predictors, and the time."""
    keys = [
        key
        for key, value in metrics.items()
        if key.startswith("test/") and isinstance(value, float) and not key.endswith("_constant")
    ]
    return {key.removeprefix("test/"): key for key in keys} | {"seconds": "train/seconds"}
