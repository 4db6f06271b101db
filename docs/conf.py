"""Sphinx configuration. The build needs no network."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import sys
from functools import cache
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

sys.path.insert(0, str(Path(__file__).parent))

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
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
    "_ext.errors",
    "_ext.from_code",
    "_ext.from_results",
    "_ext.mathml",
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
templates_path = ["_templates"]
exclude_patterns = ["_build", "_templates", "examples", "gallery/*.ipynb", "gallery/*.py"]

html_theme = "furo"
html_title = f"lie-attention {version}"
html_static_path = ["_static"]
html_favicon = "_static/icon.svg"
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#2457a6", "color-brand-content": "#2457a6"},
    "dark_css_variables": {"color-brand-primary": "#8ab4f8", "color-brand-content": "#8ab4f8"},
}

# The scripts of examples/ run when the site is built; gallery/ is what they become.
sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "gallery",
    "filename_pattern": "plot_",
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "reset_modules": ("matplotlib", "_ext.gallery.reset"),
    "show_signature": False,
    "write_computation_times": False,
    "matplotlib_animations": (True, "jshtml"),
    "image_srcset": ["2x"],
}

# What the names of other projects link to, from inventories that are kept here: a build asks no
# other machine.
intersphinx_mapping = {
    project: (address, f"inventories/{project}.inv")
    for project, address in {
        "python": "https://docs.python.org/3",
        "numpy": "https://numpy.org/doc/stable",
        "torch": "https://docs.pytorch.org/docs/stable",
        "lightning": "https://lightning.ai/docs/pytorch/stable",
    }.items()
}
intersphinx_disabled_reftypes = ["std:*"]

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

# References to our own packages must resolve, and so must those that an inventory should have.
nitpick_ignore_regex = [
    (r"py:.*", rf"(?!({'|'.join(PACKAGES)})\.).*"),
    # Bases that remember and warn, which nobody names; type variables.
    (r"py:class", r"liegroups\.(facts\.HasFacts|deprecation\.RenamedMethods|sees\.Seeing)"),
    (r"py:(class|obj)", r"tasks\.\w+\.\w+\.[A-Z]"),
]


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


def setup(app: Sphinx) -> None:
    """Registers what is defined above."""
    app.connect("missing-reference", resolve_defined_name)
    app.connect("autodoc-process-bases", skip_private_bases)
    app.connect("autodoc-process-docstring", escape_bars, priority=900)
