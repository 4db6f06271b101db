"""Print the lowest version of each dependency that pyproject.toml declares, as pip constraints.

    python scripts/lowest.py [EXTRA ...]

The arguments name the optional dependencies to include.
"""

import re
import sys
import tomllib
from pathlib import Path

_REQUIREMENT = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)"  # pip's constraints take no [extras].
    r"\s*(?:\[[^\]]*\])?"
    r"\s*>=\s*(?P<lowest>[0-9][0-9A-Za-z.]*)"
    r"\s*(?:,\s*<[^;]*)?"
    r"\s*(?P<marker>;.*)?"
)


def lowest(requirement: str) -> str:
    """The constraint ``name==version`` of a requirement ``name>=version``."""
    match = _REQUIREMENT.fullmatch(requirement)
    if match is None:
        raise SystemExit(f"lowest: {requirement!r} has no lower bound of the form name>=version.")
    return f"{match['name']}=={match['lowest']}{match['marker'] or ''}"


def constraints(project: dict, extras: list[str]) -> list[str]:
    """The constraints of the dependencies and of some extras of a ``[project]`` table."""
    optional = project["optional-dependencies"]
    if unknown := sorted(set(extras) - set(optional)):
        raise SystemExit(f"lowest: no extra {', '.join(unknown)}; there are {', '.join(optional)}.")
    declared = [project["dependencies"], *(optional[extra] for extra in extras)]
    return sorted({lowest(requirement) for group in declared for requirement in group})


if __name__ == "__main__":
    pyproject = Path(__file__).parent.parent / "pyproject.toml"
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    print("\n".join(constraints(project, sys.argv[1:])))
