"""Lunar's own log, also for agents with no log of their own: conversations, messages, feedback.

Older agents write calls in the text as `<tool_call>{"name", "args"}</tool_call>`; these become tool calls. A cell that
cannot be read costs that cell, or at most its row, and is reported with its place, never with its text.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, get_args

from lunar_tune.artefacts import Verdict
from lunar_tune.episodes import Episode, Finish, Message, Role, Signal, ToolCall, ToolSpec
from lunar_tune.seams import Report
from lunar_tune.sources import base, cells

CONVERSATION = ("id", "started_at", "model", "system", "tools", "meta")
MESSAGE = (
    "id", "position", "role", "content", "tool_calls", "tool_call_id", "name", "model", "error", "created_at",
)  # fmt: skip
FEEDBACK = ("message_id", "rating", "note", "created_at")
ROLES: dict[str, Role] = {role: role for role in get_args(Role)} | {"developer": "system", "function": "tool"}
FINISHES: dict[str, Finish] = {"length": "length", "cancelled": "cancelled", "canceled": "cancelled"}


class LunarSource:
    """Reads the schema above in one ordered pass, with or without its index."""

    name = "lunar"
    lacks = "nothing that curation uses"

    def recognises(self, db: sqlite3.Connection) -> bool:
        """Tell from the tables alone whether this is the format."""
        return base.has(db, "conversations", "id") and base.has(db, "messages", "conversation_id", "role", "content")

    def read(self, db: sqlite3.Connection, path: Path, report: Report) -> Iterator[Episode]:
        """Yield the conversations in the order of their start."""
        ratings = _ratings(db, report)
        seen: set[str] = set()
        for thread, rows in groupby(_rows(db), key=lambda row: row["thread"]):
            if thread is None:
                for row in rows:
                    report(_lost("", "a message of no conversation", f"messages.id={row['id']}"))
                continue
            seen.add(str(thread))
            episode = _Conversation(str(thread), report, ratings).episode(rows, path)
            if episode is not None:
                yield episode
        for (thread,) in db.execute("SELECT id FROM conversations ORDER BY rowid"):
            if thread is not None and str(thread) not in seen:
                report(_lost(str(thread), "a conversation without messages", ""))

    def watermark(self, db: sqlite3.Connection) -> str:
        """Return a hash of everything that `read` looks at."""
        wanted = (("conversations", CONVERSATION), ("messages", ("conversation_id", *MESSAGE)), ("feedback", FEEDBACK))
        return base.fingerprint(db, wanted)


def _rows(db: sqlite3.Connection) -> Iterator[dict[str, Any]]:
    """Yield the messages with their conversation's cells, ordered by start, conversation and position."""
    names = ("thread", *(f"c_{name}" for name in CONVERSATION[1:]), *MESSAGE)
    there = base.columns(db, "conversations")
    start = "min(started_at)" if "started_at" in there else "NULL"
    once = f"SELECT id, {start} AS start, min(rowid) AS first FROM conversations GROUP BY id"
    query = (
        f"SELECT m.conversation_id, {base.picked(db, 'conversations', CONVERSATION[1:], 'c')},"
        f" {base.picked(db, 'messages', MESSAGE, 'm')}"
        f" FROM messages m LEFT JOIN ({once}) o ON o.id = m.conversation_id"
        " LEFT JOIN conversations c ON c.rowid = o.first"
        " ORDER BY o.start, o.first, m.conversation_id, "
        + ("m.position, " if "position" in base.columns(db, "messages") else "")
        + "m.rowid"
    )
    for row in db.execute(query):
        yield dict(zip(names, row, strict=True))


@dataclass(frozen=True, slots=True)
class _Rating:
    value: float
    note: str | None


def _ratings(db: sqlite3.Connection, report: Report) -> dict[Any, list[_Rating]]:
    """Return the ratings by message id, oldest first."""
    found: dict[Any, list[_Rating]] = {}
    if not base.has(db, "feedback", "message_id", "rating"):
        return found
    for rowid, message, value, note, _ in db.execute(
        f"SELECT rowid, {base.picked(db, 'feedback', FEEDBACK)} FROM feedback ORDER BY rowid"
    ):
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            report(_lost("", "a rating that is no number", f"feedback.rowid={rowid}"))
            continue
        found.setdefault(message, []).append(_Rating(number, cells.text(note)))
    return found


@dataclass
class _Conversation:
    """One conversation while it is read."""

    thread: str
    report: Report
    ratings: dict[Any, list[_Rating]]
    messages: list[Message] = field(default_factory=list)
    signals: list[Signal] = field(default_factory=list)
    system: str | None = None

    def episode(self, rows: Iterator[dict[str, Any]], path: Path) -> Episode | None:
        """Return the episode of its rows, None (reported) when no row could be read."""
        first: dict[str, Any] = {}
        for row in rows:
            if not first:
                first, self.system = row, cells.text(row["c_system"]) or None
            self._take(row)
        messages = cells.pair_calls(self.messages)
        if not messages:
            self.report(_lost(self.thread, "a conversation without messages", ""))
            return None
        meta = self._json(first["c_meta"], "meta", {})
        parent = meta.get("parent") if isinstance(meta, dict) else None
        started = cells.timestamp(first["c_started_at"]) or next((m.created_at for m in messages if m.created_at), None)
        return Episode(
            source=LunarSource.name,
            path=str(path),
            thread=self.thread,
            started_at=started,
            model=cells.text(first["c_model"]),
            system=self.system,
            tools=tuple(self._tools(first["c_tools"])),
            messages=tuple(messages),
            signals=tuple(self.signals),
            group=str(parent) if isinstance(parent, (str, int)) and parent else None,
        )

    def _take(self, row: dict[str, Any]) -> None:
        place = f"messages.id={row['id']}"
        role = ROLES.get(str(row["role"]).strip().lower())
        if role is None:
            self.report(_lost(self.thread, "a message of unknown role", place))
            return
        content, calls, problem = self._content(row, role)
        if role == "system" and not self.messages and self.system in (None, content):
            self.system = content  # the prompt at the start is the episode's, not one of its messages
            return
        error = cells.text(row["error"]) or problem
        self.messages.append(
            Message(
                role=role,
                content=content,
                created_at=cells.timestamp(row["created_at"]),
                model=cells.text(row["model"]),
                error=error,
                finish=FINISHES.get(error or "", "error" if error and role == "assistant" else None),
                tool_calls=tuple(calls),
                tool_call_id=cells.text(row["tool_call_id"]) or None,
                name=cells.text(row["name"]) or None,
            )
        )
        index = len(self.messages) - 1
        if role == "tool" and (error or cells.says_error(content)):
            self.signals.append(Signal(kind="tool_error", message=index))
        for rating in self.ratings.get(row["id"], ()):
            self.signals.append(Signal(kind="rating", value=rating.value, message=index, note=rating.note))

    def _content(self, row: dict[str, Any], role: Role) -> tuple[str, list[ToolCall], str | None]:
        """Return (text, calls, problem) of a row."""
        content = cells.text(row["content"])
        if content is None and row["content"] is not None:
            self.report(_lost(self.thread, "content that is no text", f"messages.id={row['id']}"))
            return "", [], "unreadable content"
        calls: list[ToolCall] = []
        listed, problem = self._listed_calls(row)
        if role != "assistant":
            return content or "", [], None
        if content and "<tool_call>" in content and not listed:
            content, calls, tagged = cells.tagged_calls(content)
            problem = problem or tagged
        return content or "", [*calls, *listed], problem

    def _listed_calls(self, row: dict[str, Any]) -> tuple[list[ToolCall], str | None]:
        if row["tool_calls"] in (None, "", "[]", "null"):
            return [], None
        try:
            return cells.call_list(cells.parse_json(row["tool_calls"])), None
        except ValueError:
            self.report(_lost(self.thread, "unreadable tool calls", f"messages.id={row['id']}"))
            return [], "unreadable tool calls"

    def _tools(self, cell: Any) -> list[ToolSpec]:
        value = self._json(cell, "tools", [])
        specs, lost = cells.tool_specs(value)
        if lost:
            self.report(_lost(self.thread, "unreadable tool", f"conversations.tools: {lost}"))
        return specs

    def _json(self, cell: Any, column: str, default: Any) -> Any:
        if cell in (None, "", "null"):
            return default
        try:
            return cells.parse_json(cell)
        except ValueError:
            self.report(_lost(self.thread, f"unreadable {column}", f"conversations.{column}"))
            return default


def _lost(thread: str, reason: str, place: str) -> Verdict:
    """Say that something of a conversation could not be read; the thread names it, for it has no id yet."""
    return Verdict(thread, "read", reason, place)
