"""Read what a Llama 3 model wrote, in either style. Never raises: what is no call of an offered tool stays text.

All or nothing: when one call cannot be read, the whole text is the content and `problem` says why.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from lunar_tune.artefacts import Reply
from lunar_tune.chatml import WireTool
from lunar_tune.episodes import ToolCall

OPEN, CLOSE = "<tool_call>", "</tool_call>"
KEYS = ("arguments", "args", "parameters")
SPACE = " \t\n\v\f\r"


class _Unreadable(Exception):
    """Why a text that looks like a call is none."""


def parse_tagged(text: str, tools: Sequence[WireTool]) -> Reply:
    """Read text, then any number of `<tool_call>{…}</tool_call>`; the last may lack its closing tag.

    Text after a call is content too. A call's arguments may stand under `arguments`, `args` or `parameters`.
    """
    content, tag, rest = text.partition(OPEN)
    if not tag:
        return Reply(text.strip(SPACE))
    texts, calls = [content.strip(SPACE)], []
    try:
        while tag:
            value, end = _decode(rest.lstrip(SPACE))
            rest = rest.lstrip(SPACE)[end:].lstrip(SPACE)
            calls.append(_call(value, tools))
            if rest.startswith(CLOSE):
                rest = rest[len(CLOSE) :]
            elif rest and not rest.startswith(OPEN):
                raise _Unreadable("text inside a call")
            between, tag, rest = rest.partition(OPEN)
            texts.append(between.strip(SPACE))
    except _Unreadable as why:
        return Reply(text.strip(SPACE), (), str(why), content.strip(SPACE))
    return Reply("\n".join(filter(None, texts)), tuple(calls))


def parse_meta(text: str, tools: Sequence[WireTool]) -> Reply:
    """Read optional text and then, on a line of its own, one JSON object with a name and its parameters."""
    stripped = text.strip(SPACE).removeprefix("<|python_tag|>").strip(SPACE)
    for start in _line_starts(stripped):
        if not stripped.startswith("{", start):
            continue
        try:
            value, end = _decode(stripped[start:])
        except _Unreadable as why:
            if stripped[start + 1 :].lstrip(SPACE).startswith('"name"'):
                return Reply(stripped, (), str(why), stripped[:start].strip(SPACE))
            continue
        if not isinstance(value, dict) or not isinstance(value.get("name"), str) or not any(k in value for k in KEYS):
            continue
        try:
            call = _call(value, tools)
            if stripped[start + end :].strip(SPACE):
                raise _Unreadable("text after a call")
        except _Unreadable as why:
            return Reply(stripped, (), str(why), stripped[:start].strip(SPACE))
        return Reply(stripped[:start].strip(SPACE), (call,))
    return Reply(stripped)


def _line_starts(text: str) -> list[int]:
    return [0, *(index + 1 for index, char in enumerate(text) if char == "\n")]


def _decode(text: str) -> tuple[Any, int]:
    try:
        return json.JSONDecoder(parse_constant=_refuse).raw_decode(text)
    except (ValueError, RecursionError):
        raise _Unreadable("broken JSON in a call") from None


def _refuse(constant: str) -> Any:
    raise ValueError(constant)


def _call(value: Any, tools: Sequence[WireTool]) -> ToolCall:
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        raise _Unreadable("a call without a name")
    key = next((key for key in KEYS if key in value), None)
    if key is None:
        raise _Unreadable("a call without arguments")
    if not isinstance(value[key], dict):
        raise _Unreadable("arguments that are no object")
    if value["name"] not in {_name(tool) for tool in tools}:
        raise _Unreadable("a call of a tool that was not offered")
    return ToolCall(name=value["name"], arguments=value[key])


def _name(tool: WireTool) -> Any:
    body = tool.get("function", tool)
    return body.get("name") if isinstance(body, Mapping) else None
