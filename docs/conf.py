"""Sphinx configuration. The build needs no network."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import re
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.metadata import metadata
from inspect import isabstract
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective

import attention
from liegroups import testing

distribution = metadata("lie-attention")
project = "lie-attention"
author = "The lie-attention authors"
copyright = "2026, The lie-attention authors"
version = release = distribution["Version"]

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.doctest",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
templates_path = ["_templates"]
exclude_patterns = ["_build", "_templates"]

html_theme = "furo"
html_title = f"lie-attention {version}"

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

# A package's page lists the names that its __init__ exports.
autosummary_generate = True
autosummary_imported_members = True
autosummary_ignore_module_all = False
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

PACKAGES = ("liegroups", "attention", "tasks")

# References to our own packages must resolve; other projects' need an inventory from the network.
nitpick_ignore_regex = [(r"py:.*", rf"(?!({'|'.join(PACKAGES)})\.).*")]


@cache
def public_names() -> dict[str, str]:
    """Maps where an object is defined to the name under which its package exports it."""
    names: dict[str, str] = {}
    for package in map(importlib.import_module, PACKAGES):
        below = pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
        subpackages = [importlib.import_module(info.name) for info in below if info.ispkg]
        for module in (package, *subpackages):
            for name in getattr(module, "__all__", ()):
                member = getattr(module, name)
                if inspect.isclass(member) or inspect.isfunction(member):
                    defined = f"{member.__module__}.{member.__qualname__}"
                    names.setdefault(defined, f"{module.__name__}.{name}")
    return names


def resolve_defined_name(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, contnode: nodes.TextElement
) -> nodes.reference | None:
    """Links ``liegroups.group.LieGroup``, as annotations say, to ``liegroups.LieGroup``."""
    target: str = node.get("reftarget", "")
    for defined, public in public_names().items():
        if target == defined or target.startswith(f"{defined}."):
            domain: Any = env.get_domain("py")
            name = public + target.removeprefix(defined)
            document = node.get("refdoc", "")
            return domain.resolve_xref(env, document, app.builder, "obj", name, node, contnode)
    return None


def skip_private_bases(app: Sphinx, name: str, obj: Any, options: Any, bases: list[Any]) -> None:
    """Shows the public ancestors of a class in place of a private base."""
    while any(base.__name__.startswith("_") for base in bases):
        bases[:] = [
            shown
            for base in bases
            for shown in (base.__bases__ if base.__name__.startswith("_") else (base,))
        ]


def escape_bars(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """Keeps |x|, which our formulas mean as a norm, from being read as a substitution."""
    block = None  # Indentation of the directive that we are in: math or literal text.
    example = False
    for number, line in enumerate(lines):
        text = line.strip()
        indentation = len(line) - len(line.lstrip())
        if block is not None and text and indentation <= block:
            block = None
        if text.startswith(".. ") and block is None:
            block = indentation
        example = text.startswith(">>>") or (example and text != "")
        if block is None and not example:
            parts = re.split(r"(``.*?``|`[^`]*`)", line)
            parts[::2] = [part.replace("|", r"\|") for part in parts[::2]]
            lines[number] = "".join(parts)


def table(head: Sequence[str], rows: Iterable[Sequence[nodes.Node]], widths: Sequence[int]) -> Any:
    """A table of the page."""

    def row(cells: Sequence[nodes.Node]) -> nodes.row:
        entries = [nodes.entry("", nodes.paragraph("", "", cell)) for cell in cells]
        return nodes.row("", *entries)

    columns = [nodes.colspec(colwidth=width) for width in widths]
    top = nodes.thead("", row([nodes.Text(text) for text in head]))
    body = nodes.tbody("", *map(row, rows))
    return nodes.table("", nodes.tgroup("", *columns, top, body, cols=len(columns)))


class Laws(SphinxDirective):
    """A table of laws with what they state; the argument names a tuple of `liegroups.testing`."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        laws = getattr(testing, self.arguments[0])
        rows = [
            (nodes.literal(text=law.__name__), nodes.Text(testing.formula(law))) for law in laws
        ]
        return [table(("law", "what it states"), rows, (2, 3))]


class Parts(SphinxDirective):
    """A table of the public classes of `attention` under a base class, with what each does."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        base = getattr(attention, self.arguments[0])
        rows = []
        for name in attention.__all__:
            member = getattr(attention, name)
            if inspect.isclass(member) and issubclass(member, base) and not isabstract(member):
                summary = (inspect.getdoc(member) or "").split("\n\n")[0].replace("\n", " ")
                target = f"attention.{name}"
                link = pending_xref(
                    "",
                    nodes.literal(text=name),
                    refdomain="py",
                    reftype="class",
                    reftarget=target,
                    refdoc=self.env.docname,
                    refexplicit=True,
                )
                rows.append((link, nodes.Text(summary)))
        return [table(("name", "what it does"), rows, (2, 5))]


class Results(SphinxDirective):
    """A table of a file under results/: lines of ``key | heading | format`` name its columns.

    The option ``only``, as in ``:only: part=network points=256``, leaves out other rows.
    """

    required_arguments = 1
    has_content = True
    option_spec: ClassVar[dict[str, Any]] = {"only": str}

    def run(self) -> list[nodes.Node]:
        path = Path(__file__).parent.parent / "results" / self.arguments[0]
        self.env.note_dependency(str(path))
        columns = [[part.strip() for part in line.split("|")] for line in self.content if line]
        only = [part.split("=") for part in self.options.get("only", "").split()]
        rows = [
            [nodes.Text("" if row.get(k) is None else format(row[k], f)) for k, _, f in columns]
            for row in json.loads(path.read_text())["rows"]
            if all(str(row.get(key)) == value for key, value in only)
        ]
        return [table([heading for _, heading, _ in columns], rows, [2] * len(columns))]


class GroupSpeed(SphinxDirective):
    """Our time beside that of the fastest peer, from results/groups/speed.json."""

    def run(self) -> list[nodes.Node]:
        path = Path(__file__).parent.parent / "results" / "groups" / "speed.json"
        self.env.note_dependency(str(path))
        found: dict[tuple[Any, ...], dict[str, float]] = {}
        for row in json.loads(path.read_text())["rows"]:
            key = tuple(row[k] for k in ("group", "operation", "batch", "direction"))
            found.setdefault(key, {})[row["library"]] = 1e3 * row["seconds"]
        rows = []
        for (group, operation, batch, direction), times in found.items():
            ours = times.pop("ours")
            peer = min(times, key=times.__getitem__)
            what = f"{group} {operation}, {batch:,}, {direction}"
            cells = (what, f"{ours:.3g}", peer, f"{times[peer]:.3g}", f"{ours / times[peer]:.2f}")
            rows.append([nodes.Text(cell) for cell in cells])
        head = ("operation, batch, direction", "ours / ms", "fastest peer", "its / ms", "ratio")
        return [table(head, rows, (4, 2, 3, 2, 2))]


def setup(app: Sphinx) -> None:
    """Registers what is defined above."""
    app.add_directive("laws", Laws)
    app.add_directive("group-speed", GroupSpeed)
    app.add_directive("parts", Parts)
    app.add_directive("results", Results)
    app.connect("missing-reference", resolve_defined_name)
    app.connect("autodoc-process-bases", skip_private_bases)
    app.connect("autodoc-process-docstring", escape_bars, priority=900)
