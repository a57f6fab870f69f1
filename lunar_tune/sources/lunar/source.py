"""Lunar's own log, also for agents with no log of their own: conversations, messages, feedback.

Older agents write calls in the text as `<tool_call>{"name", "args"}</tool_call>`; these become tool calls. A cell that
cannot be read costs that cell, or at most its row, and is reported with its place, never with its text.
"""

from __future__ import annotations

import math
import sqlite3
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, get_args

from lunar_tune.artefacts import Verdict
from lunar_tune.episodes import Episode, Finish, Message, Role, Signal, ToolCall, ToolSpec
from lunar_tune.seams import Report
from lunar_tune.sources import base
from lunar_tune.sources.core import cells
from lunar_tune.sources.lunar.stamps import CONVERSATION, FEEDBACK, MESSAGE, stamps

ROLES: dict[str, Role] = {role: role for role in get_args(Role)} | {"developer": "system", "function": "tool"}
FINISHES: dict[str, Finish] = {"length": "length", "cancelled": "cancelled", "canceled": "cancelled"}


class LunarSource:
    """Reads conversations, messages and feedback, with or without an index."""

    name = "lunar"
    lacks = "nothing that curation uses"

    def recognises(self, db: sqlite3.Connection) -> bool:
        """Tell from the tables alone whether this is the format."""
        return base.has(db, "conversations", "id") and base.has(db, "messages", "conversation_id", "role", "content")

    def threads(self, db: sqlite3.Connection) -> Iterator[tuple[str, str]]:
        """Yield each conversation with its messages, its own cells and its ratings; see `stamps`."""
        return stamps(db)

    def read(
        self, db: sqlite3.Connection, path: Path, report: Report, only: Collection[str] | None = None
    ) -> Iterator[Episode]:
        """Yield the conversations in the order of their start."""
        ratings = _ratings(db, report if only is None else _nobody)
        if only is None:
            for (key,) in db.execute("SELECT rowid FROM messages WHERE conversation_id IS NULL ORDER BY rowid"):
                report(_lost("", "a message of no conversation", f"messages.id={key}"))
        silent = []
        for cells_of, rows in _conversations(db, only):
            thread = str(cells_of[0])
            messages = list(rows)
            if not messages:
                silent.append(thread)
                continue
            episode = _Conversation(thread, report, ratings).episode(cells_of, messages, path)
            if episode is not None:
                yield episode
        for thread in silent:
            report(_lost(thread, "a conversation without messages", ""))


def _nobody(verdict: Verdict) -> None:
    """Take a verdict that a read of everything has given already."""


def _conversations(
    db: sqlite3.Connection, only: Collection[str] | None
) -> Iterator[tuple[tuple[Any, ...], Iterable[tuple[Any, ...]]]]:
    """Yield each conversation's cells and messages, in the order of its start; unlisted conversations come first."""
    there = base.columns(db, "conversations")
    wanted, ids = base.among("id", only)
    start = "min(started_at)" if "started_at" in there else "NULL"
    listed = db.execute(
        f"SELECT min(rowid) FROM conversations WHERE id IS NOT NULL AND {wanted} GROUP BY id ORDER BY {start}, 1", ids
    ).fetchall()  # the rows themselves would be sorted with their texts
    head = f"SELECT {base.picked(db, 'conversations', CONVERSATION)} FROM conversations WHERE rowid = ?"
    messages = _messages(db)
    wanted, ids = base.among("conversation_id", only)
    # of all messages a list of the conversations is made once; for a few, each is looked up
    known = "SELECT id FROM conversations WHERE id"
    listed_ones = f"NOT IN ({known} IS NOT NULL)" if only is None else f"IS NOT ({known} = m.conversation_id)"
    unlisted = db.execute(
        f"SELECT DISTINCT conversation_id FROM messages m WHERE {wanted} AND conversation_id {listed_ones}"
        " ORDER BY conversation_id",
        ids,
    )
    for (thread,) in unlisted.fetchall():
        yield (thread, *(None for _ in CONVERSATION[1:])), messages(thread)
    for key in listed:
        cells_of = db.execute(head, key).fetchone()
        yield cells_of, messages(cells_of[0])


def _messages(db: sqlite3.Connection) -> Callable[[Any], Iterable[tuple[Any, ...]]]:
    """Return what gives the messages of a conversation, in their order: by the log's index, else by one made here."""
    position = "position, " if "position" in base.columns(db, "messages") else ""
    picked = base.picked(db, "messages", MESSAGE)
    by_index = f"SELECT {picked} FROM messages WHERE conversation_id = ? ORDER BY {position}rowid"
    if _indexed(db):
        return lambda thread: db.execute(by_index, (thread,))
    rows: dict[Any, array[int]] = {}
    for thread, key in db.execute(f"SELECT conversation_id, rowid FROM messages ORDER BY {position}rowid"):
        rows.setdefault(thread, array("q")).append(key)
    by_row = f"SELECT {picked} FROM messages WHERE rowid = ?"
    return lambda thread: (db.execute(by_row, (key,)).fetchone() for key in rows.get(thread, ()))


def _indexed(db: sqlite3.Connection) -> bool:
    """Tell whether an index leads with the conversation."""
    for _, name, *_ in db.execute("PRAGMA index_list(messages)").fetchall():
        first = db.execute(f"PRAGMA index_info({base.quoted(name)})").fetchone()
        if first and first[2] == "conversation_id":
            return True
    return False


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

    def episode(self, head: tuple[Any, ...], rows: Iterable[tuple[Any, ...]], path: Path) -> Episode | None:
        """Return the episode of a conversation's cells and rows, None (reported) when no row could be read."""
        _, started_at, model, system, tools, meta = head
        self.system = cells.text(system) or None
        for row in rows:
            self._take(row)
        messages = cells.pair_calls(self.messages)
        if not messages:
            self.report(_lost(self.thread, "a conversation without messages", ""))
            return None
        known = self._json(meta, "meta", {})
        parent = known.get("parent") if isinstance(known, dict) else None
        started = cells.timestamp(started_at) or next((m.created_at for m in messages if m.created_at), None)
        return Episode(
            source=LunarSource.name,
            path=str(path),
            thread=self.thread,
            started_at=started,
            model=cells.text(model),
            system=self.system,
            tools=self._tools(tools),
            messages=tuple(messages),
            signals=tuple(self.signals),
            group=str(parent) if isinstance(parent, (str, int)) and parent else None,
        )

    def _take(self, row: tuple[Any, ...]) -> None:
        key, _, said_by, said, listed, answers, name, model, failed, created_at = row
        role = ROLES.get(said_by) or ROLES.get(str(said_by).strip().lower())
        if role is None:
            self.report(_lost(self.thread, "a message of unknown role", f"messages.id={key}"))
            return
        content, calls, problem = self._content(key, said, listed, role)
        if role == "system" and not self.messages and self.system in (None, content):
            self.system = content  # the prompt at the start is the episode's, not one of its messages
            return
        error = (cells.text(failed) if failed is not None else None) or problem
        self.messages.append(
            Message(
                role=role,
                content=content,
                created_at=cells.timestamp(created_at),
                model=cells.text(model) if model is not None else None,
                error=error,
                finish=FINISHES.get(error, "error" if role == "assistant" else None) if error else None,
                tool_calls=tuple(calls),
                tool_call_id=(cells.text(answers) or None) if answers is not None else None,
                name=(cells.text(name) or None) if name is not None else None,
            )
        )
        index = len(self.messages) - 1
        if role == "tool" and (error or cells.says_error(content)):
            self.signals.append(Signal(kind="tool_error", message=index))
        for rating in self.ratings.get(key, ()):
            self.signals.append(Signal(kind="rating", value=rating.value, message=index, note=rating.note))

    def _content(self, key: Any, said: Any, listed: Any, role: Role) -> tuple[str, Sequence[ToolCall], str | None]:
        """Return (text, calls, problem) of a row."""
        plain = type(said) is str and said.isascii() and "\x00" not in said  # nearly all: nothing to mend
        content = said if plain else cells.text(said)
        if content is None and said is not None:
            self.report(_lost(self.thread, "content that is no text", f"messages.id={key}"))
            return "", (), "unreadable content"
        if role != "assistant":
            return content or "", (), None
        calls, problem = self._listed_calls(key, listed)
        if content and "<tool_call>" in content and not calls:
            content, tagged, wrong = cells.tagged_calls(content)
            return content, tagged, problem or wrong
        return content or "", calls, problem

    def _listed_calls(self, key: Any, listed: Any) -> tuple[Sequence[ToolCall], str | None]:
        if listed in (None, "", "[]", "null"):
            return (), None
        try:
            return cells.call_list(cells.parse_json(listed)), None
        except ValueError:
            self.report(_lost(self.thread, "unreadable tool calls", f"messages.id={key}"))
            return (), "unreadable tool calls"

    def _tools(self, cell: Any) -> tuple[ToolSpec, ...]:
        if cell in (None, "", "null"):
            return ()
        try:
            specs, lost = _specs(cell)
        except ValueError:
            self.report(_lost(self.thread, "unreadable tools", "conversations.tools"))
            return ()
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


@lru_cache(maxsize=64)  # the same in most conversations
def _specs(cell: Any) -> tuple[tuple[ToolSpec, ...], int]:
    specs, lost = cells.tool_specs(cells.parse_json(cell))
    return tuple(specs), lost


def _lost(thread: str, reason: str, place: str) -> Verdict:
    """Say that something of a conversation could not be read; the thread names it, for it has no id yet."""
    return Verdict(thread, "read", reason, place)
