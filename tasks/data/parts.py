"""Which rows a run was trained, validated and tested on: kept with its weights, by identity."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from tasks.errors import UserError

__all__ = ["PARTS", "Ids", "Parts", "identities"]

Ids = npt.NDArray[np.int64]

PARTS: Final[tuple[str, ...]] = ("train", "val", "test")

_MOST: Final = 2**20
"""Training rows that are kept one by one; of more, their number and a digest."""

_NAMES: Final = {"train": "training", "val": "validation", "test": "test"}


def identities(*columns: npt.NDArray[Any]) -> Ids:
    """Numbers that tell rows apart by what they hold: equal rows have equal ones.

    Args:
        columns: Arrays with the same number of rows, ``(n, ...)``. Floating numbers count in single
            precision.

    Returns:
        The first eight bytes of a digest of each row, ``(n,)``.

    Example:
        >>> one, other, again = identities(np.array([0.5, 0.25, 0.5]))
        >>> bool(one == again), bool(one == other)
        (True, False)
    """
    flat = [
        np.ascontiguousarray(
            each, dtype=np.float32 if np.issubdtype(each.dtype, np.floating) else each.dtype
        )
        for each in columns
    ]
    return np.array([identity(*row) for row in zip(*flat, strict=True)], dtype=np.int64)


def identity(*parts: npt.NDArray[Any]) -> int:
    """The number of one row; see :func:`identities`."""
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        digest.update(np.ascontiguousarray(part).tobytes())
        digest.update(b"|")
    return int.from_bytes(digest.digest(), "little", signed=True)


@dataclass(frozen=True)
class Parts:
    """The rows of each part.

    Args:
        rows: The identities of the rows of each part; of a training part that is very large, None.
        counts: The number of rows of each part.
        digests: A digest of the identities of each part, whatever their order.
        before: Rows that the weights had seen before this training: those of the run that they are
            from.
    """

    rows: Mapping[str, Ids | None]
    counts: Mapping[str, int]
    digests: Mapping[str, str]
    before: Ids = field(default_factory=lambda: np.empty(0, np.int64))

    @classmethod
    def of(cls, rows: Mapping[str, Ids], before: Ids | None = None) -> Parts:
        """Describe the parts of some data.

        Args:
            rows: The identities of the rows of each part.
            before: Rows that the weights have seen already.
        """
        return cls(
            {
                part: ids if part != "train" or len(ids) <= _MOST else None
                for part, ids in rows.items()
            },
            {part: len(ids) for part, ids in rows.items()},
            {part: _digest(ids) for part, ids in rows.items()},
            np.empty(0, np.int64) if before is None else before,
        )

    @property
    def seen(self) -> Ids:
        """The rows that the weights were trained on, as far as they are kept one by one."""
        train = self.rows.get("train")
        return self.before if train is None else np.union1d(self.before, train)

    def state_dict(self) -> dict[str, Any]:
        """The parts as a checkpoint holds them."""
        return {
            "rows": {
                part: None if ids is None else torch.from_numpy(ids)
                for part, ids in self.rows.items()
            },
            "counts": dict(self.counts),
            "digests": dict(self.digests),
            "before": torch.from_numpy(self.before),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any] | None) -> Parts | None:
        """Read what :meth:`state_dict` gave; None where a checkpoint does not say.

        Raises:
            UserError: If it is something else.
        """
        if not state:
            return None
        try:
            return cls(
                {part: None if ids is None else ids.numpy() for part, ids in state["rows"].items()},
                {part: int(count) for part, count in state["counts"].items()},
                {part: str(digest) for part, digest in state["digests"].items()},
                state["before"].numpy(),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UserError(
                "ckpt_path: the checkpoint is damaged: what it says of the rows that it was "
                "trained on is not readable."
            ) from error

    # ---- comparing -----------------------------------------------------------------------------

    def check_resumed(self, given: Parts, noun: str) -> None:
        """Raise unless some data have the training and validation parts of the run.

        Args:
            given: The parts of the data.
            noun: What the rows are, such as ``molecules``.

        Raises:
            UserError: The message says what differs.
        """
        for part in ("train", "val"):
            if self.digests.get(part) == given.digests.get(part):
                continue
            old, new = self.rows.get(part), given.rows.get(part)
            detail = ""
            if old is not None and new is not None:
                lost, fresh = len(np.setdiff1d(old, new)), len(np.setdiff1d(new, old))
                detail = f", without {lost:,} of those and with {fresh:,} others"
            raise UserError(
                f"the {_NAMES[part]} part of the run has {self.counts[part]:,} {noun}; these data "
                f"give {given.counts[part]:,}{detail}. A run goes on with its own parts: give the "
                f"data and settings that it was trained with, or let {noun} that are new to it "
                "join its training part alone by --new_rows train."
            )

    def check_tested(self, given: Parts, part: str, noun: str) -> None:
        """Raise where a part of some data is no fair test of the run.

        Args:
            given: The parts of the data.
            part: ``val`` or ``test``: which of them is used.
            noun: What the rows are.

        Raises:
            UserError: If rows of it were trained on, or, of a test, chosen by; or if it has none of
                the rows of that part of the run.
        """
        if self.digests.get(part) == given.digests.get(part):
            return
        rows, own, own_val = given.rows[part], self.rows.get(part), self.rows.get("val")
        assert rows is not None
        if self.rows.get("train") is None and own is not None and not np.isin(rows, own).all():
            raise UserError(
                f"the {_NAMES[part]} part of these data has {noun} that are not in that of the "
                f"run, and of its {self.counts['train']:,} training {noun} only a digest is kept, "
                "which does not tell whether these are among them. Give the data and the split of "
                "the run."
            )
        used = [("train", self.seen)]
        if part == "test" and own_val is not None:
            used.append(("val", own_val))
        for name, ids in used:
            common = int(np.isin(rows, ids).sum())
            if common:
                verb = "trained on" if name == "train" else "used to choose the weights"
                raise UserError(
                    f"{common:,} of the {len(rows):,} {noun} of the {_NAMES[part]} part of these "
                    f"data were {verb} by this run: the data are not those of the run, or are "
                    "divided otherwise. Give the data and the split that it was trained with."
                )
        if own is not None and not np.isin(rows, own).any():
            raise UserError(
                f"none of the {len(rows):,} {noun} of the {_NAMES[part]} part of these data is "
                f"among the {len(own):,} of the run: these are other data. Give those that it was "
                "trained with."
            )

    def check_unseen(self, given: Parts, noun: str) -> None:
        """Raise where weights are trained further on data that they would be tested on unfairly.

        Args:
            given: The parts of the data of the new training.
            noun: What the rows are.

        Raises:
            UserError: If they were trained on rows to validate or test on.
        """
        for part in ("val", "test"):
            rows = given.rows[part]
            assert rows is not None
            common = int(np.isin(rows, self.seen).sum())
            if common:
                raise UserError(
                    f"the weights of ckpt_path were trained on {common:,} of the {len(rows):,} "
                    f"{noun} of the {_NAMES[part]} part of these data, so its error would not be "
                    "one on new rows; take another split."
                )

    def grown(self, available: Ids, most: int | None, noun: str) -> dict[str, Ids]:
        """The parts with all rows that are new to the run in the training part.

        Args:
            available: The identities of all rows of the data.
            most: Largest number of training rows.
            noun: What the rows are.

        Returns:
            For each part, places of its rows in ``available``.

        Raises:
            UserError: If rows of the run are not among the data.
        """
        places: dict[str, Ids] = {}
        kept = np.zeros(len(available), dtype=bool)
        for part in ("val", "test"):
            own = self.rows[part]
            assert own is not None
            places[part] = _find(available, own, _NAMES[part], noun)
            kept[places[part]] = True
        train = self.rows.get("train")
        if train is None:  # Rows are added at the end.
            first = np.flatnonzero(~kept)[: self.counts["train"]]
            if _digest(available[first]) != self.digests["train"]:
                raise UserError(
                    f"new_rows: the first {len(first):,} {noun} of these data that are not "
                    "validated or tested on are not those that the run was trained on."
                )
        else:
            first = _find(available, train, "training", noun)
        kept[first] = True
        # Copies of rows that are validated or tested on do not join.
        held = np.isin(available, available[np.concatenate([places["val"], places["test"]])])
        fresh = np.flatnonzero(~kept & ~held)
        places["train"] = np.concatenate([first, fresh])[:most]
        return places


def _find(available: Ids, wanted: Ids, name: str, noun: str) -> Ids:
    """Places of some rows, each taken once."""
    order = np.argsort(available, kind="stable")
    start = np.searchsorted(available[order], wanted)
    # The n-th copy of a row that is wanted several times is the n-th that there is.
    by_value = np.argsort(wanted, kind="stable")
    ordered = wanted[by_value]
    first = np.searchsorted(ordered, ordered)
    copy = np.empty(len(wanted), dtype=np.int64)
    copy[by_value] = np.arange(len(wanted)) - first
    spot = start + copy
    inside = spot < len(available)
    found = np.zeros(len(wanted), dtype=bool)
    found[inside] = available[order[spot[inside]]] == wanted[inside]
    if not found.all():
        raise UserError(
            f"new_rows: {int((~found).sum()):,} of the {len(wanted):,} {noun} of the {name} part "
            "of the run are not among these data; rows may be added to them, not taken away."
        )
    return order[spot].astype(np.int64)


def _digest(ids: Iterable[int] | Ids) -> str:
    return hashlib.sha256(np.sort(np.asarray(ids, dtype=np.int64)).tobytes()).hexdigest()
