"""Every error that a user can meet is on the page of errors, or is named there with its test."""

import ast
from functools import cache

import pytest
from _ext.mistakes import ELSEWHERE, PACKAGES, ROOT, mistakes, provoke

# A traceback ends where it was raised; these are no messages to a user.
INTERNAL = {"KeyboardInterrupt", "NotApplicable", "LawViolation"}


@cache
def said():
    return {mistake: provoke(mistake) for mistake in mistakes()}


def raises():
    """File, line and function of every exception that is raised with a message."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = str(path.relative_to(ROOT))
            if name.startswith("liegroups/testing/laws"):
                continue

            def visit(node, where, name=name):
                for child in ast.iter_child_nodes(node):
                    inner = where
                    if isinstance(child, ast.FunctionDef | ast.ClassDef):
                        inner = [*where, child.name]
                    call = child.exc if isinstance(child, ast.Raise) else None
                    if isinstance(call, ast.Call) and ast.unparse(call.func) not in INTERNAL:
                        module = name.removesuffix(".py").replace("/", ".")
                        yield (name, child.lineno), ".".join([module, *where])
                    yield from visit(child, inner)

            yield from visit(ast.parse(path.read_text()), [])


@pytest.mark.slow
def test_every_message_is_on_the_page_or_named_with_its_test():
    reached = {place for answer in said().values() for place in answer.places}
    missing = {
        f"{where} (line {place[1]})"
        for place, where in raises()
        if place not in reached and not any(where.startswith(f"{module}.") for module in ELSEWHERE)
    }
    assert not missing


@pytest.mark.slow
def test_messages_are_sentences_for_people():
    for mistake, answer in said().items():
        assert len(answer.message) > 15, mistake
        assert "object at 0x" not in answer.message, mistake
        assert "Traceback" not in answer.message, mistake
        assert answer.places, f"{mistake.lines}: raised by another package: {answer.message}"


def test_what_is_named_elsewhere_is_still_raised_there():
    functions = {where for _, where in raises()}
    for module, why in ELSEWHERE.items():
        assert any(where.startswith(f"{module}.") for where in functions), module
        for path in (word.strip("`.,;") for word in why.split() if word.startswith("`tests/")):
            assert (ROOT / path).exists(), path
