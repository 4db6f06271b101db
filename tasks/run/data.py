"""Data of a task, whose division into parts belongs to the run that is trained on it."""

from __future__ import annotations

import hashlib
from abc import ABC
from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
from pytorch_lightning import LightningDataModule

from tasks.errors import UserError
from tasks.run.parts import Ids, Parts

__all__ = ["Purpose", "TaskData"]

Purpose = Literal["resume", "tune", "use"]
"""What weights are taken for: to go on, to begin a training of their own from, or to be used."""


class TaskData(LightningDataModule, ABC):
    """Data that keep to the parts of a run.

    A subclass tells which rows there are in its ``setup``, by :meth:`divide` where they are given
    and by :meth:`know_law` where they are drawn.

    Attributes:
        noun: What a row is, as a plural.
        parts: Which rows each part has; None before ``setup``.
    """

    noun: ClassVar[str] = "rows"

    parts: Parts | None = None

    _kept: Parts | None = None
    _purpose: Purpose = "use"
    _grows: bool = False

    def keep(self, parts: Parts | None, purpose: Purpose, grows: bool = False) -> None:
        """Keep to the parts of a run; call it before ``setup``.

        Args:
            parts: The parts of the run; None where its checkpoint does not say.
            purpose: What its weights are taken for.
            grows: Whether rows that are new to the run join its training part.

        Raises:
            UserError: If rows are to join, and the checkpoint does not say which there were.
        """
        if grows and parts is None:
            raise UserError(
                "new_rows: the checkpoint is of an older version, which did not keep the rows that "
                "it was trained on, so it cannot be told which are new."
            )
        self._kept, self._purpose, self._grows = parts, purpose, grows

    def divide(
        self, ids: Ids, rows: Mapping[str, Ids], stage: str | None, most: int | None = None
    ) -> dict[str, Ids]:
        """Give the rows of each part: as they are given, unless new rows join those of a run.

        Args:
            ids: The identities of all rows of the data.
            rows: For each part, the places of its rows by the settings of the data.
            stage: What Lightning sets up for.
            most: Largest number of training rows.

        Returns:
            For each part, the places of its rows.

        Raises:
            UserError: If the data do not fit the run.
        """
        chosen = dict(rows)
        if self._grows and self._kept is not None:
            chosen = self._kept.grown(ids, most, self.noun)
        given = Parts.of({part: ids[places] for part, places in chosen.items()})
        self._take(given, stage)
        return chosen

    def know_law(self, laws: Mapping[str, str], counts: Mapping[str, int]) -> None:
        """Say how the rows of each part are drawn, where they are drawn by a law of their own.

        Args:
            laws: For each part, a text that says all that its rows depend on.
            counts: The number of rows of each part.

        Raises:
            UserError: If the run that goes on was trained on rows of another law.
        """
        if self._grows:
            raise UserError(
                f"new_rows: the {self.noun} of this task are drawn anew for each number of them, "
                "so none can join those of the run."
            )
        rows = {part: _number(text) for part, text in laws.items()}
        parts = Parts.of(rows)
        self.parts = Parts(parts.rows, dict(counts), parts.digests)
        if self._kept is not None and self._purpose == "resume":
            self._kept.check_resumed(self.parts, self.noun)

    def _take(self, given: Parts, stage: str | None) -> None:
        kept = self._kept
        if kept is not None and self._purpose == "resume":
            if not self._grows:
                kept.check_resumed(given, self.noun)
            given = Parts(given.rows, given.counts, given.digests, kept.before)
        elif kept is not None and self._purpose == "tune":
            kept.check_unseen(given, self.noun)
            given = Parts(given.rows, given.counts, given.digests, kept.seen)
        elif kept is not None:
            kept.check_tested(given, "val" if stage == "validate" else "test", self.noun)
        self.parts = given


def _number(text: str) -> Ids:
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return np.frombuffer(digest, dtype="<i8").astype(np.int64)
