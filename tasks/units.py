"""The units of the task, and what converts to them: energies in meV, lengths in Å.

Forces are in meV/Å. The archive of MD17 is in kcal/mol and Å, ASE in eV and Å; nothing else is
converted, and nowhere else.
"""

from typing import Final

KCAL_PER_MOL: Final = 43.364
"""One kcal/mol in meV."""

ELECTRONVOLT: Final = 1000.0
"""One eV in meV."""
