"""An iterable of batches that goes on in the middle of an epoch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from torch import Tensor
from torch.utils.data import Sampler

Batch = TypeVar("Batch")
S = TypeVar("S", bound=Sampler[Tensor])


class ResumableLoader(ABC, Generic[Batch, S]):
    """Gives the batches of a sampler, and says for a checkpoint how far it has come.

    Args:
        sampler: Gives the rows of the batches; Lightning calls its ``set_epoch``.
        progress: Gives the number of batches that the trainer has finished in this epoch;
            without it, the batches handed out count as finished.
        settings: The settings that the number of batches depends on, for an error message.
    """

    def __init__(self, sampler: S, progress: Callable[[], int] | None, settings: str) -> None:
        # Lightning expects the two attributes that a DataLoader without batching of its own has.
        self.sampler = sampler
        self.batch_sampler = None
        self._progress = progress
        self._settings = settings
        self._handed_out = 0
        self._resume_at = 0

    @abstractmethod
    def batch(self, step: int, rows: Tensor) -> Batch:
        """The batch of some rows, at a place of the epoch."""

    def __len__(self) -> int:
        return len(self.sampler)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Batch]:
        # Lightning makes the iterator before it sets the epoch; a generator starts after that.
        start, self._resume_at = self._resume_at, 0
        work = ((step, rows) for step, rows in enumerate(self.sampler) if step >= start)
        for step, batch in enumerate(self.batches(work), start):
            self._handed_out = step + 1
            yield batch

    def batches(self, work: Iterable[tuple[int, Tensor]]) -> Iterator[Batch]:
        """Batches of some rows at places of the epoch, one after the other."""
        return (self.batch(step, rows) for step, rows in work)

    def state_dict(self) -> dict[str, int]:
        """Say how far the epoch has come, for a checkpoint."""
        done = self._handed_out if self._progress is None else self._progress()
        return {"batches": len(self), "done": done}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Let the next iteration start where a checkpoint stands.

        Args:
            state: What :meth:`state_dict` gave.

        Raises:
            ValueError: The checkpoint stands inside an epoch of another number of batches.
        """
        resume_at = state["done"] % state["batches"]
        if resume_at and state["batches"] != len(self):
            raise ValueError(
                f"the checkpoint stands after batch {resume_at} of {state['batches']}, but the "
                f"epoch has {len(self)} batches now; resume with the same {self._settings}"
            )
        self._resume_at = resume_at
