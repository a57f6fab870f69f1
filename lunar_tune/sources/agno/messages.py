"""The messages of one Agno run turned into canonical messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from lunar_tune.episodes import Attachment, Role, ToolCall
from lunar_tune.sources.core import cells
from lunar_tune.sources.core.blocks import read_blocks
from lunar_tune.sources.core.conversation import Conversation

ROLES: dict[str, Role] = {
    "user": "user", "assistant": "assistant", "model": "assistant", "tool": "tool", "function": "tool",
    "system": "system", "developer": "system",
}  # fmt: skip
MEDIA = {
    "images": "image", "image_output": "image", "audio": "audio", "audio_output": "audio", "videos": "video",
    "video_output": "video", "files": "file", "file_output": "file",
}  # fmt: skip


def say(talk: Conversation, messages: Sequence[Any], model: Any, place: str, prompt: str | None) -> str | None:
    """Add a run's own messages; return the prompt in force. One that every run repeats is said once."""
    for message in messages:
        role = ROLES.get(str(message.get("role"))) if isinstance(message, dict) else None
        if role is None:
            talk.lost("a message of unknown role", place)
            continue
        if message.get("from_history") is True:
            continue
        content, files = _content(message)
        if role == "system":
            if content != prompt:
                talk.say(role, content, at=message.get("created_at"))
                prompt = content
        elif role == "tool":
            _results(talk, message, content, files)
        else:
            calls = _calls(talk, message, place) if role == "assistant" else []
            talk.say(
                role,
                content,
                at=message.get("created_at"),
                model=model if role == "assistant" else None,
                reasoning=_text(message.get("reasoning_content")),
                attachments=files,
                calls=calls,
            )
    return prompt


def say_without_messages(talk: Conversation, run: Mapping[str, Any], at: Any, *, failed: bool, place: str) -> None:
    """Add the input and the answer of a run whose messages were not stored."""
    asked = run.get("input")
    asked = asked.get("input_content") if isinstance(asked, dict) else asked
    if asked:
        talk.say("user", _shown(asked), at=at)
    if run.get("content") and not failed:
        reasoning = _text(run.get("reasoning_content"))
        talk.say("assistant", _shown(run["content"]), at=at, model=run.get("model"), reasoning=reasoning)
    if not asked and not run.get("content"):
        talk.lost("a run without messages", place)


def _content(message: Mapping[str, Any]) -> tuple[str, list[Attachment]]:
    content = message.get("content")
    found = read_blocks(content)
    known = not (found.other or found.calls or found.results) and not isinstance(content, dict)
    files = list(found.files) if known else []
    for key, kind in MEDIA.items():
        value = message.get(key)
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, dict):
                files.append(Attachment(type=kind, name=_name(item)))
    return found.text if known else _shown(content), files


def _name(item: Mapping[str, Any]) -> str:
    for key in ("filename", "name", "filepath", "url"):
        if isinstance(item.get(key), str) and not item[key].startswith("data:"):
            return str(item[key]).partition("?")[0].replace("\\", "/").rstrip("/").rpartition("/")[2]
    return ""


def _calls(talk: Conversation, message: Mapping[str, Any], place: str) -> list[ToolCall]:
    if not message.get("tool_calls"):
        return []
    try:
        return cells.call_list(message["tool_calls"])
    except ValueError:
        talk.lost("unreadable tool calls", place)
        return []


def _results(talk: Conversation, message: Mapping[str, Any], content: str, files: Sequence[Attachment]) -> None:
    """Add a result, or the several that some providers' results are put together from."""
    several = message.get("tool_calls")
    parts = [part for part in several if isinstance(part, dict)] if isinstance(several, list) else []
    if parts and message.get("tool_call_id") is None:
        for part in parts:
            _result(talk, {**part, "created_at": message.get("created_at")}, _shown(part.get("content")), ())
    else:
        _result(talk, message, content, files)


def _result(talk: Conversation, message: Mapping[str, Any], content: str, files: Sequence[Attachment]) -> None:
    index = talk.result(
        content,
        call_id=message.get("tool_call_id"),
        name=message.get("tool_name") or message.get("name"),
        at=message.get("created_at"),
        error=(content or "the tool reported an error") if message.get("tool_call_error") is True else None,
    )
    if files:
        talk.messages[index] = replace(talk.messages[index], attachments=tuple(files))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else cells.dump(value)
