"""Tables of a page, and links to classes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref


def table(
    head: Sequence[str], rows: Iterable[Sequence[nodes.Node | None]], widths: Sequence[int]
) -> Any:
    """A table of the page."""

    def row(cells: Sequence[nodes.Node | None]) -> nodes.row:
        entries = []
        for cell in cells:
            filled = [] if cell is None else [cell]
            body = filled if isinstance(cell, nodes.Body) else [nodes.paragraph("", "", *filled)]
            entries.append(nodes.entry("", *body))
        return nodes.row("", *entries)

    columns = [nodes.colspec(colwidth=width) for width in widths]
    top = nodes.thead("", row([nodes.Text(text) for text in head]))
    body = nodes.tbody("", *map(row, rows))
    return nodes.table("", nodes.tgroup("", *columns, top, body, cols=len(columns)))


def link(name: str, document: str, text: str | None = None) -> pending_xref:
    """A link to the page of a class or a function, such as ``liegroups.SE3``."""
    return pending_xref(
        "",
        nodes.literal(text=text or name.rpartition(".")[2]),
        refdomain="py",
        reftype="obj",
        reftarget=name,
        refdoc=document,
        refexplicit=True,
    )


def summary(thing: object) -> str:
    """The first paragraph of a docstring, as one line without markup."""
    first = (inspect.getdoc(thing) or "").split("\n\n")[0]
    return plain(" ".join(first.split()))


def plain(text: str) -> str:
    """Text of a docstring without the marks of reStructuredText."""
    text = re.sub(r":\w+:`~?\.?([^`]*)`", r"\1", text)
    return text.replace("``", "").replace("`", "")


def inline(text: str) -> nodes.inline:
    """A line of a docstring, with what stands in backquotes as code."""
    line = nodes.inline("", "")
    for place, part in enumerate(re.split(r"``(.+?)``", text)):
        line += nodes.literal(text=part) if place % 2 else nodes.Text(plain(part))
    return line
