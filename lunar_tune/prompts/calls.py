"""What the families' parsers share: one JSON value out of a text, and a call of an offered tool out of that."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from lunar_tune.chatml import WireTool
from lunar_tune.episodes import ToolCall

KEYS = ("arguments", "args", "parameters")
SPACE = " \t\n\v\f\r"


class Unreadable(Exception):
    """Why a text that looks like a call is none."""


def decode(text: str) -> tuple[Any, int]:
    """Return the JSON value that a text begins with, and where it ends.

    Raises:
        Unreadable: it begins with none.
    """
    try:
        return json.JSONDecoder(parse_constant=_refuse).raw_decode(text)
    except (ValueError, RecursionError):
        raise Unreadable("broken JSON in a call") from None


def call_of(value: Any, tools: Sequence[WireTool]) -> ToolCall:
    """Return the call that a JSON value is.

    Raises:
        Unreadable: it is none of an offered tool.
    """
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        raise Unreadable("a call without a name")
    key = next((key for key in KEYS if key in value), None)
    if key is None:
        raise Unreadable("a call without arguments")
    if not isinstance(value[key], dict):
        raise Unreadable("arguments that are no object")
    if value["name"] not in {_name(tool) for tool in tools}:
        raise Unreadable("a call of a tool that was not offered")
    return ToolCall(name=value["name"], arguments=value[key])


def _refuse(constant: str) -> Any:
    raise ValueError(constant)


def _name(tool: WireTool) -> Any:
    body = tool.get("function", tool)
    return body.get("name") if isinstance(body, Mapping) else None
