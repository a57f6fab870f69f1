"""Jinja as llama-server runs it: what this environment renders is what the server renders.

llama.cpp's engine differs from jinja2 in white space (`trim` takes ASCII only), numbers and JSON; the filters here
follow the server. `{% generation %}` marks an answer: `pieces` gives the text in pieces and tells the answers apart.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment, Template

RENDERING = 1  # raised when the same template and values give another text: part of a prompt's version
ASCII_SPACE = " \t\n\v\f\r"  # C's isspace, what llama.cpp's trim takes


class Answer(str):
    """A piece of rendered text that stood between `{% generation %}` marks."""

    __slots__ = ()


def pieces(source: str, variables: Mapping[str, Any]) -> Iterator[str]:
    """Yield the rendered text in order; what was marked as an answer is an `Answer`, one a mark."""
    template = _compiled(source)
    yield from template.generate(**variables)


def printed_float(value: float) -> str:
    """Return a float as llama.cpp prints it: six decimals, trailing zeros cut, at least one kept."""
    text = f"{value:f}".rstrip("0")
    return text + "0" if text.endswith(".") else text


def as_served(value: Any) -> Any:
    """Return a number as the server reads it from JSON: integers beyond 64 bits wrap or become floats."""
    if isinstance(value, int) and not isinstance(value, bool):
        if -(2**63) <= value < 2**63:
            return value
        return value - 2**64 if 0 <= value < 2**64 else float(value)
    return value


@cache
def _compiled(source: str) -> Template:
    return _environment().from_string(source)


@cache
def _environment() -> Environment:
    from jinja2 import TemplateError, nodes
    from jinja2.ext import Extension
    from jinja2.parser import Parser
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        tags = {"generation"}  # noqa: RUF012 - jinja2's own declaration

        def parse(self, parser: Parser) -> nodes.Node:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.CallBlock(self.call_method("mark"), [], [], body).set_lineno(line)

        def mark(self, caller: Any) -> Answer:
            return Answer(caller())

    def raise_exception(message: str) -> None:
        raise TemplateError(message)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation], finalize=_printed
    )
    environment.filters["trim"] = lambda text: str(text).strip(ASCII_SPACE)
    environment.filters["tojson"] = to_json
    environment.globals["raise_exception"] = raise_exception
    return environment


def _printed(value: Any) -> Any:
    value = as_served(value)
    return printed_float(value) if isinstance(value, float) else value


def to_json(value: Any, indent: int | None = None) -> str:
    """Return JSON as llama.cpp's `tojson` writes it: UTF-8 text, six significant digits in floats."""
    return "".join(_json(value, indent, 0))


def _json(value: Any, indent: int | None, level: int) -> Iterator[str]:
    value = as_served(value)
    if isinstance(value, float):
        yield f"{value:g}"
    elif isinstance(value, Mapping):
        yield from _nested(
            "{}", ((json.dumps(k, ensure_ascii=False) + ": ", v) for k, v in value.items()), indent, level
        )
    elif isinstance(value, (list, tuple)):
        yield from _nested("[]", (("", v) for v in value), indent, level)
    else:
        yield json.dumps(value, ensure_ascii=False)


def _nested(brackets: str, items: Iterator[tuple[str, Any]], indent: int | None, level: int) -> Iterator[str]:
    start, close = ("", "") if indent is None else (f"\n{' ' * indent * (level + 1)}", f"\n{' ' * indent * level}")
    between = ", " if indent is None else ","
    yield brackets[0]
    empty = True
    for label, value in items:
        yield ("" if empty else between) + start + label
        yield from _json(value, indent, level + 1)
        empty = False
    yield ("" if empty else close) + brackets[1]
