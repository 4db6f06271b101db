"""The folder of a run: what it holds, who may write to it, what is trusted of it."""

from tasks.run.data import TaskData
from tasks.run.folder import RunFolder
from tasks.run.parts import Parts, identities
from tasks.run.trust import Trust

__all__ = ["Parts", "RunFolder", "TaskData", "Trust", "identities"]
