"""Molecules of a database of ASE, read as they are needed."""

from tasks.sources.databases.data import Database
from tasks.sources.databases.database import Index, LazyMolecules

__all__ = ["Database", "Index", "LazyMolecules"]
