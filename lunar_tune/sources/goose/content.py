"""What a row of goose says: texts, thoughts, calls and results, in MCP's shapes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lunar_tune.episodes import Attachment, ToolCall
from lunar_tune.sources.core import cells
from lunar_tune.sources.core.conversation import Conversation

CALLS = ("toolRequest", "frontendToolRequest")
SILENT = {"redactedThinking", "toolConfirmationRequest"}  # nothing in them can be read, or was said
FAILED = "the tool reported an error"
FAILURE = "Ran into this error:"  # goose writes the failure of a model's call as words of the assistant


@dataclass(slots=True)
class _Said:
    """What stands between two results of a row."""

    texts: list[str] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    files: list[Attachment] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(any(self.texts) or any(self.thoughts) or self.calls or self.files)


class Teller:
    """Tells a conversation from rows (message_id, role, content_json, created_timestamp, metadata_json), in order."""

    def __init__(self, conversation: Conversation) -> None:
        self.conversation = conversation
        self.going_on: str | None = None  # the id of the answer that the newest row was a piece of

    def take(self, row: Sequence[Any], place: str) -> None:
        """Tell one row."""
        number, role, content, at, metadata = row
        if role not in ("user", "assistant"):
            self.conversation.lost("a message of unknown role", place)
            return
        if not self._shown(metadata, place):
            self.conversation.lost("a compaction summary" if role == "user" else "text for the agent only", place)
            return
        try:
            items = cells.parse_json(content)
        except ValueError:
            items = None
        if not isinstance(items, list):
            self.conversation.lost("unreadable message", place)
            self.conversation.say(role, at=at, model=self._model(role), error="unreadable message")
            self.going_on = None
            return
        said = _Said()
        name = cells.text(number) or None
        told = False
        for item in items:
            kind = _string(item.get("type")) if isinstance(item, dict) else None
            if kind == "toolResponse":
                told = self._tell(role, said, at, name) or told
                said = _Said()
                self._result(item, at)
                self.going_on, told = None, True
            elif not self._piece(said, item, kind, place):
                self._left_out(item, kind, place)
                told = told or kind is not None  # reported, so that the row needs no word of its own
        if not self._tell(role, said, at, name) and not told:
            self.conversation.lost("a message without content", place)

    def _shown(self, metadata: Any, place: str) -> bool:
        if metadata in (None, "", "{}"):
            return True
        try:
            return cells.mapping(cells.parse_json(metadata)).get("userVisible") is not False
        except ValueError:
            self.conversation.lost("unreadable metadata", place.replace("content_json", "metadata_json"))
            return True

    def _piece(self, said: _Said, item: Any, kind: Any, place: str) -> bool:
        """Take in one piece of content; False when it is of another kind."""
        if (kind == "text" and not _for_user(item)) or kind in ("thinking", "reasoning"):
            words = item.get("text") if kind == "text" else item.get("thinking") or item.get("text")
            if words is not None and not isinstance(words, str):
                self.conversation.lost("a text that is no text", place)
            (said.texts if kind == "text" else said.thoughts).append(_string(words))
        elif kind in CALLS:
            said.calls.append(_call(item))
        elif kind in ("image", "audio"):
            said.files.append(Attachment(type=_string(item.get("mimeType")) or kind))
        else:
            return False
        return True

    def _left_out(self, item: Any, kind: Any, place: str) -> None:
        action = cells.mapping(cells.mapping(item).get("data")).get("actionType")
        if kind in SILENT or (kind == "actionRequired" and action == "toolConfirmation"):
            return
        reasons = {
            "text": "a text that was not sent",
            "systemNotification": "a notice of the app",
            "actionRequired": "a question of the app",
            "conversationCompacted": "a compaction summary",
        }
        self.conversation.lost(reasons.get(str(kind), "a part of unknown type"), place)

    def _tell(self, role: str, said: _Said, at: Any, number: str | None) -> bool:
        """Add what was said; pieces of one answer that were stored one by one are one message. False if nothing was."""
        if not said:
            return False
        text = "\n".join(text for text in said.texts if text)
        if role == "user":
            self.conversation.say("user", text, at=at, attachments=said.files)
            self.going_on = None
            return True
        error = text if text.startswith(FAILURE) else None
        thought = "".join(said.thoughts)
        if number is not None and number == self.going_on and not error:
            last = self.conversation.messages[-1]
            self.conversation.messages[-1] = replace(
                last,
                content=last.content + text,
                reasoning=(last.reasoning or "") + thought or None,
                attachments=(*last.attachments, *said.files),
                tool_calls=(*last.tool_calls, *said.calls),
            )
            return True
        self.conversation.say(
            "assistant",
            text,
            at=at,
            model=self._model(role),
            error=error,
            reasoning=thought,
            attachments=said.files,
            calls=said.calls,
        )
        self.going_on = None if error else number
        return True

    def _model(self, role: str) -> str | None:
        return self.conversation.model if role == "assistant" else None

    def _result(self, item: dict[str, Any], at: Any) -> None:
        result = item.get("toolResult")
        body = cells.mapping(result)
        if body.get("status") == "error" or ("error" in body and "value" not in body):
            error = _words(body.get("error")) or FAILED
            self.conversation.result(error, call_id=item.get("id"), at=at, error=error)
            return
        value = body.get("value", result)
        holder = cells.mapping(value)
        content = holder.get("content", value if isinstance(value, list) else None)
        texts, files = _contents(content)
        text = "\n".join(texts)
        if not text and not files and holder.get("structuredContent") is not None:
            text = cells.dump(holder["structuredContent"])
        elif content is None and value is not None and not holder:
            text = _words(value)
        failed = holder.get("isError") is True
        self.conversation.result(
            text, call_id=item.get("id"), at=at, error=(text or FAILED) if failed else None, attachments=files
        )


def _call(item: dict[str, Any]) -> ToolCall:
    body = cells.mapping(item.get("toolCall"))
    value = cells.mapping(body.get("value", body))
    if body.get("status") == "error" or not value.get("name"):
        error = _words(body.get("error")) or "a call without a name"
        return replace(cells.call(value.get("name"), value.get("arguments"), item.get("id")), error=error)
    return cells.call(value["name"], value.get("arguments"), item.get("id"))


def _contents(content: Any) -> tuple[list[str], list[Attachment]]:
    """Return (texts, files) of a result, without what was for the user's eyes only."""
    texts: list[str] = []
    files: list[Attachment] = []
    for item in content if isinstance(content, list) else ():
        if isinstance(item, str):
            texts.append(item)
        elif not isinstance(item, dict) or _for_user(item):
            continue
        elif isinstance(item.get("text"), str):
            texts.append(item["text"])
        else:
            held = item.get("resource")
            holder = held if isinstance(held, dict) else item
            if isinstance(holder.get("text"), str):
                texts.append(holder["text"])
            else:
                name = _string(holder.get("name")) or _string(holder.get("uri")).rpartition("/")[2]
                kind = _string(holder.get("mimeType")) or _string(item.get("type")) or "file"
                files.append(Attachment(type=kind, name=name))
    return texts, files


def _for_user(item: dict[str, Any]) -> bool:
    audience = cells.mapping(item.get("annotations")).get("audience", item.get("audience"))
    return isinstance(audience, list) and bool(audience) and "assistant" not in audience


def _words(value: Any) -> str:
    if isinstance(value, dict) and isinstance(value.get("message"), str):
        return str(value["message"])
    return value if isinstance(value, str) else "" if value is None else cells.dump(value)


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""
