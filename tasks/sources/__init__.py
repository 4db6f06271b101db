"""Where clouds come from: files, databases, archives, and what is made at random."""

from tasks.sources.base import FromSource, Source

__all__ = ["FromSource", "Source"]
