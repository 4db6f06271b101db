"""No two modules of liegroups need each other."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import liegroups


def imports(root: Path) -> dict[str, set[str]]:
    """For each module of the package in a folder the modules of the package that it imports.

    Imports inside functions and those for the type checker alone count like any other: they put
    off a circle, or hide it.
    """
    files = {module(root, path): path for path in root.rglob("*.py")}
    graph: dict[str, set[str]] = {name: set() for name in files}
    for name, path in files.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                graph[name].update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                # A relative import of __init__ starts at the package itself.
                parts = name.split(".") + ["__init__"] * (path.name == "__init__.py")
                package = parts[: -node.level] if node.level else []
                source = ".".join([*package, *filter(None, [node.module])])
                for alias in node.names:
                    whole = f"{source}.{alias.name}"
                    graph[name].add(whole if whole in files else source)
    return {name: targets & set(files) for name, targets in graph.items()}


def module(root: Path, path: Path) -> str:
    """The dotted name of a file of the package in a folder."""
    parts = path.relative_to(root.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def circle(root: Path) -> list[str]:
    """The modules of one circle of imports, the first of them twice; none where there is none."""
    try:
        TopologicalSorter(imports(root)).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_imports_go_in_circles():
    assert circle(Path(liegroups.__file__).parent) == []


def test_circles_are_seen(tmp_path):
    package = tmp_path / "package"
    (package / "inner").mkdir(parents=True)
    files = {
        "__init__.py": "from package.first import x\n",
        "first.py": "def late():\n    from package.inner import third\n",
        "inner/__init__.py": "",
        "inner/third.py": "if TYPE_CHECKING:\n    from ..second import y\n",
        "second.py": "import package.inner.third\n",
    }
    for name, text in files.items():
        (package / name).write_text(text)
    assert set(circle(package)) == {"package.second", "package.inner.third"}
    (package / "second.py").write_text("import torch\n")
    assert circle(package) == []
