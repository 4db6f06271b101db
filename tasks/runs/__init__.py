"""The folder of a run: what it holds, who may write to it, what is trusted of it."""

from tasks.runs.folder import RunFolder
from tasks.runs.trust import Trust

__all__ = ["RunFolder", "Trust"]
