"""opencode's newer projection, `session_message`: one row a message, the model's content and calls in one JSON object.

Switches of agent, model and place and marks of idleness are events, not messages; `synthetic` text and compactions are
left out and reported.
"""

from __future__ import annotations

import copy
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from lunar_tune.episodes import Attachment
from lunar_tune.sources import base
from lunar_tune.sources.core import cells
from lunar_tune.sources.core.blocks import result_text
from lunar_tune.sources.core.conversation import Conversation, finish
from lunar_tune.sources.opencode.steps import Call, Row, attachment, failure, string, when

ROW = ("id", "type", "time_created", "data")
EVENTS = {"agent-switched", "model-switched", "location-switched"}
LEFT_OUT = {"synthetic": "text injected by the app", "compaction": "a compaction summary"}


def query_v2(db: sqlite3.Connection) -> str:
    """Return the query for one session's messages in order, "" where there are none."""
    if not base.has(db, "session_message", "id", "session_id", "type", "data"):
        return ""
    order = "seq, time_created, id" if base.has(db, "session_message", "seq") else "time_created, id"
    return (
        f"SELECT {base.picked(db, 'session_message', ROW)} FROM session_message WHERE session_id = ? ORDER BY {order}"
    )


def rows_v2(rows: Iterable[tuple[Any, ...]], conversation: Conversation) -> Iterator[Row]:
    """Yield a session's messages; those that cannot be read are reported and have `data` None."""
    for key, kind, created, data in rows:
        name = str(cells.text(key))
        try:
            body = cells.parse_json(data)
        except ValueError:
            body = None
        if not isinstance(body, dict):
            conversation.lost("unreadable message", f"session_message.data={name}")
        yield Row(name, created, body if isinstance(body, dict) else None, kind=str(cells.text(kind)))


class Projection:
    """Tells a conversation from rows of `session_message`, in order."""

    def __init__(self, conversation: Conversation) -> None:
        self.conversation = conversation

    def branch(self, thread: str) -> Projection:
        """Return a teller that goes on from here in a conversation of its own."""
        other = copy.copy(self)
        other.conversation = self.conversation.branch(thread)
        return other

    def take(self, row: Row) -> None:
        """Tell one message."""
        data, place = row.data or {}, f"session_message.data={row.id}"
        error = None if row.data is not None else "unreadable message"
        if row.kind in ("user", "skill"):
            files = _files(data.get("files"))
            said = string(data.get("text"))
            if said or files or error:
                self.conversation.say("user", said, at=when(row, data), error=error, attachments=files)
            else:
                self.conversation.lost("a message without content", place)
        elif row.kind == "system":
            self.conversation.say("system", string(data.get("text")), at=when(row, data), error=error)
        elif row.kind == "shell":
            shown = data.get("output")
            shown = shown.get("output") if isinstance(shown, dict) else shown
            said = f"$ {string(data.get('command'))}\n{string(shown)}".rstrip()
            self.conversation.say("user", said, at=when(row, data), error=error)
        elif row.kind == "assistant":
            self._assistant(row, data, error)
        elif row.kind == "idle":
            self._idle(data)
        elif row.kind in LEFT_OUT:
            self.conversation.lost(LEFT_OUT[row.kind], place)
        elif row.kind not in EVENTS:
            self.conversation.lost("a message of unknown type", place)

    def _assistant(self, row: Row, data: dict[str, Any], error: str | None) -> None:
        texts: list[str] = []
        thoughts: list[str] = []
        calls: list[Call] = []
        content = data.get("content")
        for item in content if isinstance(content, list) else ():
            kind = item.get("type") if isinstance(item, dict) else None
            if kind == "text" or kind == "reasoning":
                words = item.get("text")
                if words is not None and not isinstance(words, str):
                    self.conversation.lost("a text that is no text", f"session_message.data={row.id}")
                (texts if kind == "text" else thoughts).append(string(words))
            elif kind == "tool":
                calls.append(_call(item))
            else:
                self.conversation.lost("a part of unknown type", f"session_message.data={row.id}")
        problem, ended = failure(data.get("error"))
        times = cells.mapping(data.get("time"))
        ended = ended or (None if problem or error else finish(data.get("finish")))
        if not (ended or problem or error or data.get("finish") or times.get("completed") is not None):
            ended = "cancelled"  # neither an end nor an error was written: the app stopped in the middle
        if not (texts or thoughts or calls or problem or error):
            self.conversation.lost("a message without content", f"session_message.data={row.id}")
            return
        model = data.get("model")
        self.conversation.say(
            "assistant",
            "\n".join(text for text in texts if text),
            at=when(row, data),
            model=(model.get("id") or model.get("modelID")) if isinstance(model, dict) else model,
            error=problem or error,
            ended=ended,
            reasoning="\n".join(thought for thought in thoughts if thought),
            calls=[call.call for call in calls],
        )
        for call in calls:
            call.tell(self.conversation)

    def _idle(self, data: dict[str, Any]) -> None:
        """An interrupted turn is told by the mark after it when its last answer does not say so itself."""
        last = self.conversation.last("assistant")
        if data.get("outcome") == "interrupted" and last == len(self.conversation.messages) - 1 and last is not None:
            message = self.conversation.messages[last]
            if message.finish in (None, "stop"):
                self.conversation.messages[last] = replace(message, finish="cancelled")


def _call(item: dict[str, Any]) -> Call:
    state = cells.mapping(item.get("state"))
    call = cells.call(item.get("name") or item.get("tool"), state.get("input"), item.get("id") or item.get("callID"))
    times = cells.mapping(item.get("time"))
    text, files = result_text(state.get("content"))
    if state.get("status") == "completed":
        return Call(call, True, text, None, times.get("completed"), files)
    if state.get("status") == "error":
        error = failure(state.get("error"))[0] or "failed"
        return Call(call, True, text or error, error, times.get("completed"), files)
    return Call(call)


def _files(value: Any) -> list[Attachment]:
    return [attachment(item) for item in value if isinstance(item, dict)] if isinstance(value, list) else []
