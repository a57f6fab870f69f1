"""LangChain's messages in every form they are stored in, turned into canonical messages.

The forms: fields as `model_dump` gives them, `{"type", "data"}`, a serialized constructor (`lc`), a provider's
`{"role", "content"}`, and what graphs also take: a text, a pair of role and text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from lunar_tune.episodes import Attachment, Finish, Role, ToolCall
from lunar_tune.sources.core import cells, conversation
from lunar_tune.sources.core.blocks import attachment, read_blocks
from lunar_tune.sources.core.conversation import Conversation

ROLES: dict[str, Role] = {
    "human": "user", "user": "user", "ai": "assistant", "assistant": "assistant", "tool": "tool", "function": "tool",
    "system": "system", "developer": "system",
}  # fmt: skip
ALIASES = {"user": "human", "assistant": "ai", "developer": "system"}
REMOVE, REMOVE_ALL = "remove", "__remove_all__"
SUMMARY_OPENING = "Here is a summary of the conversation to date:"
FILES = {"media", "text-plain", "audio_url", "video_url"}
SERVER_CALLS = {"server_tool_use", "server_tool_call", "mcp_tool_use"}
SILENT = {"redacted_thinking", "input_json_delta", "tool_call_chunk", "server_tool_call_chunk", "cachePoint"}
CALLS = {"tool_use", "tool_call", "function_call", "invalid_tool_call"}  # repeat what stands in `tool_calls`
MODEL = ("model_name", "model", "model_id")
FINISH = ("finish_reason", "stop_reason", "stopReason", "done_reason")
PAIR = 2  # role and text


def message_fields(value: Any) -> dict[str, Any] | None:
    """Return a message's fields with its `type` (human, ai, tool, system, remove, ...); None when it is no message."""
    if isinstance(value, (list, tuple)) and len(value) == PAIR and all(isinstance(part, str) for part in value):
        return _typed({"content": value[1]}, value[0])
    if not isinstance(value, dict):
        return None
    if value.get("lc") in (1, 2) and isinstance(value.get("kwargs"), dict):
        named = value.get("id")
        return _typed(value["kwargs"], str(named[-1]) if isinstance(named, list) and named else "")
    data = value.get("data")
    if isinstance(data, dict) and isinstance(value.get("type"), str) and "content" not in value:
        return _typed(data, value["type"])
    if "content" in value or value.get("type") == REMOVE or "tool_calls" in value:
        return _typed(value, "")
    return None


def _typed(fields: Mapping[str, Any], otherwise: str) -> dict[str, Any] | None:
    """Return the fields under one of the short types; class names and roles stand for them."""
    for word in (fields.get("type"), otherwise, fields.get("role")):
        if not isinstance(word, str):
            continue
        short = word.removesuffix("Chunk").removesuffix("Message").lower()
        if short == "chat":
            short = str(fields.get("role")).lower()
        if short in ROLES or short == REMOVE:
            return {**fields, "type": ALIASES.get(short, short)}
    return None


def is_summary(fields: Mapping[str, Any]) -> bool:
    """Tell whether a message is the summary that LangChain's middleware put in the place of what was said."""
    extra = fields.get("additional_kwargs")
    if isinstance(extra, dict) and extra.get("lc_source") == "summarization":
        return True
    content = fields.get("content")
    return fields.get("type") == "human" and isinstance(content, str) and content.startswith(SUMMARY_OPENING)


def say(talk: Conversation, fields: Mapping[str, Any], place: str, at: Any = None) -> None:
    """Add a message; `fields` are as `message_fields` gives them. What cannot be read is reported with `place`.

    An answer whose tools ran on the provider's side becomes an answer with calls, their results, and the rest.
    """
    role = ROLES.get(str(fields.get("type")))
    at = at or _object(fields.get("response_metadata")).get("created_at")
    if role is None:
        talk.lost("a message of unknown role", place)
    elif role == "assistant":
        answer = _Answer(talk, fields, place, at)
        content = fields.get("content")
        for block in content if isinstance(content, list) else (content,):
            answer.take(block)
        answer.end()
    elif role == "tool":
        _result(talk, fields, place, at)
    else:
        text, files = _plain(talk, fields.get("content"), place)
        talk.say(role, text, at=at, attachments=files)


def _result(talk: Conversation, fields: Mapping[str, Any], place: str, at: Any) -> None:
    content = fields.get("content")
    found = read_blocks(content)
    text, files = found.text, found.files
    if isinstance(content, dict) or found.other or found.calls or found.results:
        text = cells.dump(content)
    failed = fields.get("status") == "error"
    index = talk.result(
        text,
        call_id=fields.get("tool_call_id"),
        name=fields.get("name"),
        at=at,
        error=(text or "the tool reported an error") if failed else None,
    )
    if files:
        talk.messages[index] = replace(talk.messages[index], attachments=tuple(files))


class _Answer:
    """An assistant's message while its blocks are read."""

    def __init__(self, talk: Conversation, fields: Mapping[str, Any], place: str, at: Any) -> None:
        extra, metadata = _object(fields.get("additional_kwargs")), _object(fields.get("response_metadata"))
        self.talk, self.place = talk, place
        self.at, self.model, self.ended = at, _first(metadata, MODEL), conversation.finish(_first(metadata, FINISH))
        self.calls, self.problem = _calls(fields, extra)
        self.listed = bool(self.calls)
        self.texts: list[str] = []
        self.thoughts = [thought] if (thought := _thought(extra)) else []
        self.files: list[Attachment] = []
        self.served: list[ToolCall] = []  # calls that the provider carried out itself

    def take(self, block: Any) -> None:
        kind = _kind(block)
        if kind == "server_tool_result":
            block = {**block, "type": "tool_result"}
        found = read_blocks(block)
        if kind == "reasoning" and (thought := _thought({"reasoning": block})):
            self.thoughts.append(thought)
        elif found.results:
            self._say(self.served)
            for result in found.results:
                self.talk.result(
                    result.content, call_id=result.call_id, name=result.name, at=self.at, error=result.error
                )
        elif kind in SERVER_CALLS:
            self.served.append(cells.call(block.get("name"), block.get("input", block.get("args")), block.get("id")))
        elif kind in CALLS:
            self.calls += [] if self.listed else [_own_call(block)]
        elif kind in FILES:
            self.files.append(attachment(block))
        elif found.texts or found.thoughts or found.files:
            self.texts += found.texts
            self.thoughts += found.thoughts
            self.files += found.files
        elif found.other and kind not in SILENT:
            self.talk.lost("content of unknown type", self.place)

    def end(self) -> None:
        if self.problem:
            self.talk.lost("unreadable tool calls", self.place)
        self._say([*self.served, *self.calls], "unreadable tool calls" if self.problem else None, self.ended)

    def _say(self, calls: Sequence[ToolCall], error: str | None = None, ended: Finish | None = None) -> None:
        self.talk.say(
            "assistant",
            "\n".join(part for part in self.texts if part),
            at=self.at,
            model=self.model,
            error=error,
            ended=ended,
            reasoning="\n".join(part for part in self.thoughts if part) or None,
            attachments=self.files,
            calls=calls,
        )
        self.texts, self.thoughts, self.files, self.served = [], [], [], []


def _calls(fields: Mapping[str, Any], extra: Mapping[str, Any]) -> tuple[list[ToolCall], bool]:
    """Return (calls, whether some could not be read); older versions kept the provider's own list only."""
    calls: list[ToolCall] = []
    problem = False
    for key in ("tool_calls", "invalid_tool_calls"):
        for item in _list(fields.get(key)):
            if not isinstance(item, dict):
                problem = True
                continue
            try:
                call = cells.call_list([item])[0]
            except ValueError:
                problem = True
                continue
            if key == "invalid_tool_calls" and call.error is None:
                call = replace(call, error=cells.text(item.get("error")) or "the call could not be read")
            calls.append(call)
    if calls or problem:
        return calls, problem
    try:
        calls = cells.call_list(_list(extra.get("tool_calls")))
    except ValueError:
        problem = True
    older = extra.get("function_call")
    if not calls and isinstance(older, dict):
        calls = [cells.call(older.get("name"), older.get("arguments"))]
    return calls, problem


def _own_call(block: Mapping[str, Any]) -> ToolCall:
    arguments = next((block[key] for key in cells.ARGUMENT_KEYS if key in block), None)
    return cells.call(block.get("name"), arguments, block.get("call_id") or block.get("id"))


def _thought(extra: Mapping[str, Any]) -> str | None:
    """Return the reasoning that providers put beside the content, or that a reasoning block sums up."""
    if isinstance(extra.get("reasoning_content"), str):
        return str(extra["reasoning_content"])
    body = extra.get("reasoning")
    if not isinstance(body, dict):
        return body if isinstance(body, str) else None
    return conversation.joined_text([*_list(body.get("summary")), *_list(body.get("content"))]) or None


def _plain(talk: Conversation, content: Any, place: str) -> tuple[str, list[Attachment]]:
    """Return the text and files of what a person or the system said."""
    texts: list[str] = []
    files: list[Attachment] = []
    for block in content if isinstance(content, list) else (content,):
        found = read_blocks(block)
        kind = _kind(block)
        if kind in FILES:
            files.append(attachment(block))
        elif (found.other or found.calls or found.results) and kind not in SILENT:
            talk.lost("content of unknown type", place)
        texts += found.texts
        files += found.files
    return "\n".join(text for text in texts if text), files


def _kind(block: Any) -> str | None:
    kind = block.get("type") if isinstance(block, dict) else None
    return kind if isinstance(kind, str) else None


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _first(fields: Mapping[str, Any], keys: Sequence[str]) -> Any:
    return next((fields[key] for key in keys if fields.get(key)), None)
