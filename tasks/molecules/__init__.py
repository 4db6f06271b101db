"""Properties of molecules from a database of ASE, read as they are needed."""

from tasks.molecules.data import Database
from tasks.molecules.database import Index, LazyMolecules
from tasks.qm9.model import QM9Model

Model, Data = QM9Model, Database

__all__ = ["Database", "Index", "LazyMolecules"]
