"""Messages and tools in the one shape that templates take: what llama-server makes of them, and reported repairs.

Pure: the input is not changed. `turns[i]` is the index, in the input, of the message that message i came from.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from lunar_tune.chatml import WireMessage, WireTool

LARGEST = sys.float_info.max
NORMALISING = 1  # raised when the shape made of the same messages changes: part of a prompt's version

What = Literal[
    "arguments", "attachment", "content", "number", "result", "role", "split", "surrogate", "tool", "tool_calls"
]


@dataclass(frozen=True, slots=True)
class Change:
    """What the normaliser changed or had to leave out, in which message of the input (None: in the tools)."""

    what: What
    message: int | None
    detail: str


@dataclass(frozen=True, slots=True)
class Normalised:
    """Messages and tools ready for a template."""

    messages: list[WireMessage]
    turns: list[int]
    tools: list[WireTool]
    changes: tuple[Change, ...] = ()


def normalise(messages: Sequence[WireMessage], tools: Sequence[WireTool]) -> Normalised:
    """Return every message with a text as content and calls whose arguments are values, tools in the server's shape.

    - content: null becomes "", text parts are joined by a newline, other values become JSON text;
    - `developer` becomes `system`, `function` becomes `tool`, as roles;
    - calls: an absent or empty list vanishes; arguments given as a JSON text become its value, "" and null an object;
    - tools: type and function with name, description and parameters, in this order; other keys are dropped;
    - NaN, infinity and integers beyond a float become null, unpaired surrogates U+FFFD: no server takes them.
    """
    changes: list[Change] = []
    shaped = [_message(message, index, changes) for index, message in enumerate(messages)]
    offered = [tool for tool in (_tool(tool, changes) for tool in tools) if tool is not None]
    return Normalised(shaped, list(range(len(shaped))), offered, tuple(changes))


def one_call_a_turn(shape: Normalised) -> Normalised:
    """Return the messages with one call a turn: a turn of several calls becomes call, result, call, result, in order.

    A result belongs to the call whose id it names, else to the first call still without one, in the order of the
    results. Text beside the calls stays with the first. Results that belong to no call follow the last one.
    """
    messages: list[WireMessage] = []
    turns: list[int] = []
    changes = list(shape.changes)
    index = 0
    while index < len(shape.messages):
        message, turn = shape.messages[index], shape.turns[index]
        calls = message.get("tool_calls", [])
        index += 1
        if len(calls) < 2:
            messages.append(message)
            turns.append(turn)
            continue
        first = index
        while index < len(shape.messages) and shape.messages[index]["role"] in ("tool", "ipython"):
            index += 1
        results = list(range(first, index))
        pairs = _pair(calls, [shape.messages[r] for r in results])
        changes.append(Change("split", turn, f"{len(calls)} calls became {len(calls)} turns"))
        for position, call in enumerate(calls):
            messages.append({**message, "content": message["content"] if position == 0 else "", "tool_calls": [call]})
            turns.append(turn)
            for result in [r for r, owner in enumerate(pairs) if owner == position]:
                messages.append(shape.messages[results[result]])
                turns.append(shape.turns[results[result]])
        for result in [r for r, owner in enumerate(pairs) if owner is None]:
            changes.append(Change("result", shape.turns[results[result]], "a result without a call"))
            messages.append(shape.messages[results[result]])
            turns.append(shape.turns[results[result]])
        if len(results) < len(calls):
            changes.append(Change("result", turn, "a call without a result"))
    return replace(shape, messages=messages, turns=turns, changes=tuple(changes))


def _pair(calls: Sequence[Mapping[str, Any]], results: Sequence[WireMessage]) -> list[int | None]:
    """Return, for each result, the position of its call."""
    ids = [call.get("id") for call in calls]
    owners: list[int | None] = [None] * len(results)
    for r, result in enumerate(results):
        wanted = result.get("tool_call_id")
        owner = next((c for c, id_ in enumerate(ids) if wanted and id_ == wanted and c not in owners), None)
        owners[r] = owner
    free = [c for c in range(len(calls)) if c not in owners]
    for r in range(len(results)):
        if owners[r] is None and free:
            owners[r] = free.pop(0)
    return owners


def _message(message: WireMessage, index: int, changes: list[Change]) -> WireMessage:
    role = {"developer": "system", "function": "tool"}.get(message["role"], message["role"])
    if role != message["role"]:
        changes.append(Change("role", index, f"{message['role']} became {role}"))
    content = _clean(_content(message.get("content"), index, changes), index, changes)
    shaped: WireMessage = {"role": _clean(role, index, changes), "content": content}
    for key in ("tool_call_id", "name"):
        if message.get(key) is not None:
            shaped[key] = message[key]
    calls = message.get("tool_calls")
    if calls:
        shaped["tool_calls"] = [_call(call, index, changes) for call in calls]
    elif calls is not None:
        changes.append(Change("tool_calls", index, "an empty list of calls"))
    return shaped


def _content(content: Any, index: int, changes: list[Change]) -> str:
    if isinstance(content, str):
        return content
    if content is None:
        return ""
    if isinstance(content, list) and content and all(isinstance(part, Mapping) and "type" in part for part in content):
        texts = [str(part["text"]) for part in content if part["type"] == "text"]
        if len(texts) < len(content):
            changes.append(Change("attachment", index, f"{len(content) - len(texts)} part(s) that are not text"))
        joined = ""
        for text in texts:  # the server writes no newline while nothing stands before it
            joined += ("\n" if joined else "") + text
        return joined
    changes.append(Change("content", index, f"a {type(content).__name__} became its JSON text"))
    return json.dumps(_clean(content, index, changes), ensure_ascii=False)


def _call(call: Mapping[str, Any], index: int, changes: list[Change]) -> dict[str, Any]:
    body = call.get("function", call)
    arguments = body.get("arguments")
    if isinstance(arguments, str) and arguments.strip():
        try:
            arguments = json.loads(arguments)
        except (ValueError, RecursionError):
            changes.append(Change("arguments", index, "arguments that are not JSON"))
    elif not arguments and not isinstance(arguments, Mapping) and arguments != []:
        if arguments != {}:
            changes.append(Change("arguments", index, "empty arguments became an object"))
        arguments = {}
    function = {"name": _clean(str(body["name"]), index, changes), "arguments": _clean(arguments, index, changes)}
    shaped = {"type": "function", "function": function}
    return {"id": call["id"], **shaped} if call.get("id") is not None else shaped


def _tool(tool: WireTool, changes: list[Change]) -> WireTool | None:
    body = tool.get("function", tool)
    if not body.get("name"):
        changes.append(Change("tool", None, "a tool without a name"))
        return None
    function = {
        "name": _clean(str(body["name"]), None, changes),
        "description": _clean(str(body.get("description") or ""), None, changes),
        "parameters": _clean(body.get("parameters") or {}, None, changes),
    }
    return {"type": "function", "function": function}


def _clean(value: Any, index: int | None, changes: list[Change]) -> Any:
    """Return the value with only what JSON in UTF-8 can hold."""
    if isinstance(value, str):
        if value.isascii():
            return value
        try:
            value.encode()
        except UnicodeEncodeError:
            changes.append(Change("surrogate", index, "an unpaired surrogate"))
            return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # pairs become characters
        return value
    if isinstance(value, (int, float)) and not -LARGEST <= value <= LARGEST:
        changes.append(Change("number", index, "a number that JSON cannot hold"))
        return None
    if isinstance(value, Mapping):
        return {_clean(str(key), index, changes): _clean(item, index, changes) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_clean(item, index, changes) for item in value]
    return value
