"""The page of errors: every mistake, made when the page is built, and the answer to it."""

from __future__ import annotations

import textwrap
from itertools import groupby
from typing import Any

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from _ext.mistakes import ELSEWHERE, mistakes, provoke
from _ext.tables import inline, table

_WIDTH = 86


class Errors(SphinxDirective):
    """A section for each group of mistakes."""

    def run(self) -> list[nodes.Node]:
        sections: list[nodes.Node] = []
        for title, group in groupby(mistakes(), lambda mistake: mistake.section):
            section = nodes.section(
                ids=[nodes.make_id(title)], names=[nodes.fully_normalize_name(title)]
            )
            section += nodes.title(text=title)
            blocks = []
            for mistake in group:
                said = provoke(mistake)
                shown = [line if line.startswith("$") else f">>> {line}" for line in mistake.lines]
                answer = textwrap.fill(
                    " ".join(f"{said.kind}: {said.message}".split()),
                    _WIDTH,
                    subsequent_indent="    ",
                    break_long_words=False,
                    break_on_hyphens=False,
                )
                blocks.append("\n".join([*shown, answer]))
            text = "\n\n".join(blocks)
            section += nodes.literal_block(text, text, language="text")
            sections.append(section)
        return sections


class ErrorsElsewhere(SphinxDirective):
    """What the page does not provoke, and why."""

    def run(self) -> list[nodes.Node]:
        rows = [(nodes.literal(text=where), inline(why)) for where, why in ELSEWHERE.items()]
        return [table(("raised by", "why it is not shown, and what tests it"), rows, (2, 3))]


def setup(app: Any) -> dict[str, bool]:
    """Registers the directives."""
    app.add_directive("errors", Errors)
    app.add_directive("errors-elsewhere", ErrorsElsewhere)
    return {"parallel_read_safe": True}
