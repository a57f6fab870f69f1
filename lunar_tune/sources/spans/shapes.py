"""How clients and conventions spell what is in a message: texts, files, finishes, envelopes.

OpenAI chat and Responses, Anthropic, Bedrock, LangChain, Gemini, OpenInference (`message.…`) and OpenTelemetry GenAI
(`parts`) differ in names only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lunar_tune.episodes import Attachment, Finish, Role
from lunar_tune.sources.core import cells, conversation

REDACTED = "__REDACTED__"  # what OpenInference writes in place of what its user hides
ROLES: dict[str, Role] = {
    "user": "user", "human": "user", "humanmessage": "user", "humanmessagechunk": "user",
    "assistant": "assistant", "ai": "assistant", "aimessage": "assistant", "aimessagechunk": "assistant",
    "model": "assistant", "bot": "assistant",
    "system": "system", "developer": "system", "systemmessage": "system",
    "tool": "tool", "function": "tool", "toolmessage": "tool", "functionmessage": "tool",
}  # fmt: skip
FINISHES: dict[str, Finish] = {
    "completed": "stop",
    "stop_sequence": "stop",
    "tool_call": "stop",
    "function_call": "stop",
    "incomplete": "length",
    "content_filter": "error",
    "safety": "error",
}
TEXTS = {"text", "input_text", "output_text", "summary_text", "reasoning_text"}
THOUGHTS = {"thinking", "reasoning", "redacted_thinking"}
CALLS = {"tool_use", "tool_call", "function_call", "server_tool_use", "server_tool_call", "mcp_tool_use"}
CALL_ITEMS = {"function_call", "custom_tool_call", "mcp_call"}
RESULT_ITEMS = {"function_call_output", "custom_tool_call_output", "local_shell_call_output", "computer_call_output"}
RESULTS = {"tool_result", "tool_call_response", "server_tool_call_response", "mcp_tool_result"}
FILES = ("image", "audio", "video", "file", "document", "blob", "uri", "inline_data", "inlinedata", "filedata", "media")


def ended(word: Any) -> Finish | None:
    """Return how an answer ended, from any provider's word."""
    if not isinstance(word, str):
        return None
    last = word.rpartition(".")[2]  # an enum's text, such as FinishReason.STOP
    return conversation.finish(last) or FINISHES.get(last.strip().lower())


def listed(value: Any) -> list[Any]:
    """Return a list as it is, an object with the keys "0", "1", … as their values in order, and one thing alone."""
    if value is None:
        return []
    if isinstance(value, list):
        return value
    if isinstance(value, dict) and value and all(isinstance(key, str) and key.isdecimal() for key in value):
        return [value[key] for key in sorted(value, key=lambda key: (len(key), key))]
    return [value]


def decoded(value: Any) -> Any:
    """Return the JSON list or object that a text holds, and anything else as it is."""
    for _ in range(2):  # attributes are encoded once by the client and once by some stores
        if not isinstance(value, str) or value.lstrip()[:1] not in ("{", "[", '"'):
            break
        try:
            value = cells.parse_json(value)
        except ValueError:
            break
    return value


def unwrapped(item: dict[str, Any]) -> dict[str, Any]:
    """Return the message in an envelope: OpenInference's and a choice's, LangChain's stored and serialised forms."""
    for key in ("message", "data", "kwargs"):
        inner = item.get(key)
        if not isinstance(inner, dict) or item.get("role") is not None:
            continue
        if key == "message":
            return unwrapped(inner) if inner.keys() != {"message"} else inner
        path = item.get("id")
        kind = path[-1] if key == "kwargs" and isinstance(path, list) and path else item.get("type")
        return {**inner, "type": kind} if isinstance(kind, str) else inner
    return item


def has_content(body: dict[str, Any]) -> bool:
    """Tell whether there is anything in a message, or in a bare part."""
    return any(body.get(key) is not None for key in ("content", "contents", "parts", "text", "tool_calls")) or any(
        isinstance(body.get(key), dict) for key in ("function_call", "functionCall", "function_response", "inline_data")
    )


def text_of(part: dict[str, Any]) -> str | None:
    """Return the text of a part, None where it has none."""
    for key in ("text", "content", "value"):
        value = part.get(key)
        if isinstance(value, dict):
            value = value.get("value")
        if isinstance(value, str):
            return value
    return None


def finish_of(body: dict[str, Any], envelope: dict[str, Any]) -> Finish | None:
    """Return how an answer ended, from wherever its client keeps that."""
    more = body.get("response_metadata")
    for holder in (envelope, body, more if isinstance(more, dict) else {}):
        for key in ("finish_reason", "stop_reason", "finishReason", "stopReason", "done_reason"):
            if (found := ended(holder.get(key))) is not None:
                return found
    return "length" if body.get("status") == "incomplete" else None


def model_of(body: dict[str, Any]) -> str | None:
    """Return the model that LangChain names in an answer."""
    more = body.get("response_metadata")
    return cells.text(more.get("model_name") or more.get("model")) or None if isinstance(more, dict) else None


def attachment(kind: str, part: dict[str, Any]) -> Attachment:
    """Return a file's type and name; data written in place of an address is not kept."""
    mime = name = ""
    for holder in _holders(part):
        for key, value in holder.items():
            if not isinstance(value, str) or value == REDACTED:
                continue
            if key in ("mime_type", "media_type", "mimeType"):
                mime = mime or value
            elif value.startswith("data:"):
                mime = mime or value[5:80].partition(";")[0].partition(",")[0]
            elif key in ("filename", "file_name", "display_name", "displayName", "title", "name"):
                name = name or value
            elif key in ("url", "uri", "file_uri", "fileUri", "image_url", "file_url", "file_id"):
                name = name or value.partition("?")[0].rstrip("/").rpartition("/")[2]
    return Attachment(type=mime or kind.replace("blob", "file").replace("uri", "file"), name=name[:200])


def _holders(part: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a part and the objects in it, three deep."""
    level = [part]
    for _ in range(3):
        yield from level
        level = [value for holder in level for value in holder.values() if isinstance(value, dict)]
