"""Tables of groups, laws, parts, settings and configurations, made from the code."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import docstring_parser
import torch
import yaml
from docutils import nodes
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

import attention
import attention.testing
import liegroups
from _ext.tables import inline, link, table
from liegroups import testing
from tasks.commands.parser import CLASS_KEYS

ROOT = Path(__file__).resolve().parents[2]

GROUPS = (
    "Trivial(n)", "T2()", "T3()", "Translation(n)", "SO2()", "SO3()", "SO(n)", "SE2()", "SE3()",
    "SE(n)", "O(n)", "E(n)", "PositiveScaling(n)", "RotationScaling()", "Sim(n)", "SL2()",
    "Heisenberg()", "GeneralLinear(n)", "Aff2()", "Aff3()", "CyclicGroup(n)", "DihedralGroup(n)",
    "TetrahedralGroup()", "OctahedralGroup()", "IcosahedralGroup()",
)  # fmt: skip
"""The rows of the table of groups; a family is shown at the n below."""

_SIZES = {"Trivial": 3, "SO": 4, "SE": 4, "Translation": 4, "CyclicGroup": 5, "DihedralGroup": 4}
_COMPOSED = {"Affine", "DirectProduct", "FiniteSubgroup", "SemidirectProduct"}
_TO_DERIVE_FROM = {"AffineGroup", "FiniteGroup", "RotationGroup"}


class Groups(SphinxDirective):
    """The groups with their facts; the build fails where one is left out."""

    def run(self) -> list[nodes.Node]:
        groups = {text: _group(text) for text in GROUPS}
        shown = {type(group).__name__ for group in groups.values()}
        for name in liegroups.__all__:
            member = getattr(liegroups, name)
            if (
                inspect.isclass(member)
                and issubclass(member, liegroups.LieGroup)
                and not inspect.isabstract(member)
                and name not in shown | _COMPOSED | _TO_DERIVE_FROM
            ):
                raise ExtensionError(f"the table of groups lacks {name}")
        rows = []
        for text, group in groups.items():
            name = text.partition("(")[0]
            size = f" (n = {_SIZES.get(name, 3)})" if text.endswith("(n)") else ""
            rows.append(
                (
                    link(f"liegroups.{name}", self.env.docname, text.removesuffix("()")),
                    nodes.Text(f"{group.dim}{size}"),
                    nodes.Text(", ".join(group.basis_labels) or "–"),
                    nodes.Text(_space(group)),
                    nodes.Text(_recommended(group)),
                    nodes.Text(_yes(_every_element_has_a_log(group))),
                    nodes.Text(_yes(_is_isometric(group))),
                )
            )
        head = (
            "group",
            "dimension",
            "coordinates of the algebra, in order",
            "acts by default on",
            "begin with",
            "every element has a log",
            "keeps distances",
        )
        return [table(head, rows, (3, 2, 4, 3, 4, 2, 2))]


def _group(text: str) -> Any:
    name, _, rest = text.partition("(")
    make = getattr(liegroups, name)
    return make(_SIZES.get(name, 3)) if rest == "n)" else make()


def _space(group: Any) -> str:
    try:
        space = group.default_space()
    except NotImplementedError:
        return "– (name a space)"
    names = {
        "EuclideanSpace": f"R{_raised(space.point_dim)}",
        "ConcentricSpheres": f"R{_raised(space.point_dim)}, about the origin",
        "Coordinates": f"R{_raised(space.point_dim)}, which stays as it is",
        "GroupItself": "itself",
    }
    return names.get(type(space).__name__, type(space).__name__)


def _recommended(group: Any) -> str:
    try:
        choice = liegroups.recommended(group.default_space())
    except NotImplementedError:
        return "–"
    text = type(choice.invariant).__name__
    seen = liegroups.Sees.ELEMENTS in choice.invariant.sees
    return f"{text}, {type(choice.lift).__name__}" if seen else text


def _raised(n: int) -> str:
    return str(n).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _yes(fact: bool | None) -> str:
    return "–" if fact is None else "yes" if fact else "no"


def _every_element_has_a_log(group: Any) -> bool:
    drawn = group.sample((2000,), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return bool(group.in_range_of_exp(drawn).all())


def _is_isometric(group: Any) -> bool | None:
    try:
        return bool(group.default_space().is_isometric)
    except NotImplementedError:
        return None


class Laws(SphinxDirective):
    """A table of laws with what they state; the argument names the tuple that holds them."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        name = self.arguments[0]
        module = testing if hasattr(testing, name) else attention.testing
        rows = [
            (nodes.literal(text=law.__name__), nodes.Text(testing.formula(law)))
            for law in getattr(module, name)
        ]
        return [table(("law", "what it states"), rows, (2, 3))]


class Parts(SphinxDirective):
    """A table of the classes under a base class, such as ``liegroups.Invariant``.

    The base is looked for in ``attention`` where no package is named, and so are the classes. The
    option ``settings`` adds a column of the arguments that a configuration may give, and ``within``
    names further packages to look in.
    """

    required_arguments = 1
    option_spec = {"settings": lambda argument: True, "within": str}  # noqa: RUF012 (Sphinx's)

    def run(self) -> list[nodes.Node]:
        package, _, base = self.arguments[0].rpartition(".")
        module = import_module(package or "attention")
        further = map(import_module, self.options.get("within", "").split())
        rows = []
        for where, name, member in (
            (each.__name__, *found)
            for each in (module, *further)
            for found in _below(each, getattr(module, base))
        ):
            target = link(f"{where}.{name}", self.env.docname)
            cells = [target, inline(_first_line(member))]
            if "settings" in self.options:
                cells.insert(1, nodes.Text(", ".join(_settings_in_short(member)) or "–"))
            rows.append(cells)
        if "settings" in self.options:
            return [table(("name", "settings", "what it does"), rows, (2, 4, 5))]
        return [table(("name", "what it does"), rows, (2, 5))]


def _below(module: Any, base: type) -> Iterator[tuple[str, type]]:
    for name in module.__all__:
        member = getattr(module, name)
        if inspect.isclass(member) and issubclass(member, base) and not inspect.isabstract(member):
            yield name, member


def _first_line(member: object) -> str:
    return " ".join((inspect.getdoc(member) or "").split("\n\n")[0].split())


# Arguments that the network gives to what it makes; a configuration does not.
_GIVEN = {
    "width", "heads", "geometry", "space", "in_features", "out_features", "head_mask", "system",
}  # fmt: skip


def _settings_in_short(member: type) -> list[str]:
    found = []
    for argument in inspect.signature(member).parameters.values():
        required = argument.default is argument.empty
        if argument.name in ("args", "kwargs") or (required and argument.name in _GIVEN):
            continue
        found.append(argument.name if required else f"{argument.name}={_value(argument.default)}")
    return found


def _value(default: Any) -> str:
    """A default as a configuration would say it."""
    if default is None or isinstance(default, bool):
        return {None: "null", True: "true", False: "false"}[default]
    if hasattr(default, "func"):  # functools.partial
        given = ", ".join(f"{key}={_value(value)}" for key, value in default.keywords.items())
        return f"{default.func.__name__}({given})"
    return (
        default.__name__
        if inspect.isroutine(default) or inspect.isclass(default)
        else repr(default)
    )


class Settings(SphinxDirective):
    """The settings of a class: ``tasks.training.Model model`` for those under the key ``model``."""

    required_arguments = 2

    def run(self) -> list[nodes.Node]:
        package, _, name = self.arguments[0].rpartition(".")
        member = getattr(import_module(package), name)
        documented = {
            each.arg_name: each.description
            for each in docstring_parser.parse(inspect.getdoc(member) or "").params
        }
        linked = {target.rpartition(".")[2] for _, target in getattr(member, "links", ())}
        rows = []
        for argument in inspect.signature(member).parameters.values():
            if argument.name in linked:
                continue
            if not documented.get(argument.name):
                raise ExtensionError(f"{self.arguments[0]} does not say what {argument.name} is")
            shown = "" if argument.default is argument.empty else _value(argument.default)
            rows.append(
                (
                    nodes.literal(text=f"{self.arguments[1]}.{argument.name}"),
                    nodes.literal(text=shown) if shown else nodes.Text("to be given"),
                    inline(" ".join(str(documented[argument.name]).split())),
                )
            )
        return [table(("key", "default", "meaning"), rows, (3, 3, 6))]


class Choices(SphinxDirective):
    """Which classes a key of a configuration takes, for all keys that name a class."""

    def run(self) -> list[nodes.Node]:
        rows = []
        for key, (base, *packages) in CLASS_KEYS.items():
            kind = getattr(import_module(packages[0]), base)
            found = {
                name: f"{package}.{name}"
                for package in packages
                for name, _ in _below(import_module(package), kind)
            }
            cell = nodes.inline("", "")
            for place, target in enumerate(found.values()):
                cell += nodes.Text(", " if place else "")
                cell += link(target, self.env.docname)
            rows.append(
                (nodes.literal(text=key), cell, link(f"{packages[0]}.{base}", self.env.docname))
            )
        return [table(("key", "accepted by name", "or a class of your own under"), rows, (2, 6, 3))]


class Configs(SphinxDirective):
    """The configuration files of a task or a folder of one, with what their first lines say."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        folder = ROOT / "tasks/configs" / self.arguments[0]
        rows = []
        for path in sorted(folder.glob("*.yaml")):
            self.env.note_dependency(str(path))
            text = path.read_text()
            comment = re.match(r"(?:# .+\n)+", text)
            if comment is None:
                raise ExtensionError(f"{path.name} does not begin with what it is for")
            said = " ".join(line.removeprefix("# ") for line in comment[0].splitlines())
            kind = "study" if "grid" in yaml.safe_load(text) else "run"
            name = str(path.relative_to(ROOT / "tasks/configs").with_suffix(""))
            rows.append((nodes.literal(text=name), nodes.Text(kind), nodes.Text(said)))
        return [table(("name", "for a", "what it is"), rows, (3, 1, 6))]


def setup(app: Any) -> dict[str, bool]:
    """Registers the directives."""
    for name, directive in {
        "groups": Groups,
        "laws": Laws,
        "parts": Parts,
        "settings": Settings,
        "choices": Choices,
        "configs": Configs,
    }.items():
        app.add_directive(name, directive)
    return {"parallel_read_safe": True}
