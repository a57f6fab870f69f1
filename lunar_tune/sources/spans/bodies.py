"""Bodies of requests and answers as clients' libraries have them, brought to the shapes that messages are read from."""

from __future__ import annotations

import re
from typing import Any

from lunar_tune.sources.core import cells
from lunar_tune.sources.spans.shapes import decoded, listed

_ENUM_TYPES = re.compile(r"^(OBJECT|STRING|NUMBER|INTEGER|BOOLEAN|ARRAY|NULL)$")


def unfolded(item: Any) -> Any:
    """Return a flattened message with the blocks that its content was encoded from."""
    if not isinstance(item, dict):
        return item
    content = decoded(item.get("content"))
    blocks = (
        isinstance(content, list) and content and all(isinstance(part, dict) and "type" in part for part in content)
    )
    return {**item, "content": content} if blocks else item


def choice(item: Any) -> Any:
    """Return the message of a choice: a completion's or a LangChain generation's may be its text alone."""
    if isinstance(item, dict) and not isinstance(item.get("message"), dict) and isinstance(item.get("text"), str):
        return {"role": "assistant", "content": item["text"], "finish_reason": item.get("finish_reason")}
    if isinstance(item, dict) and isinstance(item.get("content"), dict):  # Gemini's candidate
        finish = item.get("finish_reason") or item.get("finishReason")
        return {"role": "assistant", "parts": item["content"].get("parts"), "finish_reason": finish}
    return item


def delta(item: Any) -> dict[str, Any] | None:
    """Return what a streamed piece adds, with its finish; None for what is no such piece."""
    choices = cells.mapping(item).get("choices")
    first = cells.mapping(choices[0]) if isinstance(choices, list) and choices else {}
    added = first.get("delta")
    return {**added, "finish_reason": first.get("finish_reason")} if isinstance(added, dict) else None


def streamed(chunks: list[Any]) -> dict[str, Any]:
    """Return the message that OpenAI's streamed pieces make up."""
    text: list[str] = []
    calls: dict[Any, dict[str, Any]] = {}
    finish = None
    for piece in filter(None, map(delta, chunks)):
        finish = piece["finish_reason"] or finish
        if isinstance(piece.get("content"), str):
            text.append(piece["content"])
        for part in listed(piece.get("tool_calls")):
            body = part.get("function") if isinstance(part, dict) else None
            if isinstance(body, dict):
                call = calls.setdefault(str(part.get("index")), {"id": None, "name": "", "arguments": ""})
                call["id"] = call["id"] or part.get("id")
                call["name"] += str(body.get("name") or "")
                call["arguments"] += str(body.get("arguments") or "")
    return {
        "role": "assistant",
        "content": "".join(text),
        "tool_calls": list(calls.values()),
        "finish_reason": finish,
    }


def declared(tool: Any) -> Any:
    """Return a tool of Gemini or Bedrock with its schema where the others have it, types in JSON Schema's spelling."""
    if not isinstance(tool, dict):
        return tool
    for key in ("parameters_json_schema", "parametersJsonSchema", "parameters", "inputSchema"):
        schema = decoded(tool.get(key))
        if isinstance(schema, dict):
            inner = schema.get("json")
            return {**tool, "parameters": _lowered(inner if isinstance(inner, dict) else schema)}
    return tool


def _lowered(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_lowered(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: value.lower() if key == "type" and isinstance(value, str) and _ENUM_TYPES.match(value) else _lowered(value)
        for key, value in schema.items()
    }
