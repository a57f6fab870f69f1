"""Episode <-> {"messages", "tools"}: the one place that knows the OpenAI / Hugging Face chat shape.

The system prompt is the first message, tool-call `arguments` are objects, and every assistant message of a dataset row
carries `"weight": 0|1` (OpenAI's convention; 0 = context only).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lunar_tune.episodes import Episode, Message, ToolCall, ToolSpec

WireMessage = dict[str, Any]
WireTool = dict[str, Any]


def to_messages(episode: Episode, weights: Sequence[int] | None = None) -> list[WireMessage]:
    """Return the wire messages of an episode, its system prompt first.

    `weights` has one entry per message of the episode; only those of assistant messages are written.
    """
    wire: list[WireMessage] = []
    if episode.system:
        wire.append({"role": "system", "content": episode.system})
    for index, message in enumerate(episode.messages):
        wire.append(to_message(message, None if weights is None else weights[index]))
    return wire


def to_message(message: Message, weight: int | None = None) -> WireMessage:
    """Return one wire message; `weight` is written on assistant messages only."""
    wire: WireMessage = {"role": message.role, "content": message.content}
    if message.tool_calls:
        wire["tool_calls"] = [to_call(call) for call in message.tool_calls]
    if message.tool_call_id is not None:
        wire["tool_call_id"] = message.tool_call_id
    if message.name is not None:
        wire["name"] = message.name
    if weight is not None and message.role == "assistant":
        wire["weight"] = weight
    return wire


def to_call(call: ToolCall) -> dict[str, Any]:
    """Return one wire tool call; its arguments are an object."""
    wire: dict[str, Any] = {"type": "function", "function": {"name": call.name, "arguments": call.arguments}}
    return {"id": call.id, **wire} if call.id is not None else wire


def to_tools(tools: Sequence[ToolSpec]) -> list[WireTool]:
    """Return the wire form of the offered tools."""
    return [to_tool(tool) for tool in tools]


def to_tool(tool: ToolSpec) -> WireTool:
    """Return the wire form of one tool; an absent schema becomes an object without properties."""
    parameters = tool.parameters or {"type": "object", "properties": {}}
    return {
        "type": "function",
        "function": {"name": tool.name, "description": tool.description, "parameters": parameters},
    }


def from_tool(wire: WireTool) -> ToolSpec:
    """Return a tool from its wire form, with or without the `function` envelope.

    Raises:
        KeyError: it has no name.
    """
    body = wire.get("function", wire)
    return ToolSpec(
        name=str(body["name"]),
        description=str(body.get("description") or ""),
        parameters=dict(body.get("parameters") or {}),
    )
