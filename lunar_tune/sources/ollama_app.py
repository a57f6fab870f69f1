"""The Ollama desktop app's db.sqlite: chats with the app's own tools; `ollama run` and API calls are not in it.

A tool's row names neither its tool nor its call, so results answer the calls before them in order; newer versions name
both. A result that the app kept beside its call, and nowhere else, is read from there. Messages that a compaction
archived are the true transcript and are read; the summary that stands for them is not. Rows in which nothing was said
are the app's own and are reported. When a question is edited the app deletes what came after it: nothing of that is
left to read.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lunar_tune.artefacts import Verdict
from lunar_tune.episodes import Attachment, Episode, Role, ToolCall
from lunar_tune.seams import Report
from lunar_tune.sources import base
from lunar_tune.sources.core import cells, keyed
from lunar_tune.sources.core.conversation import Conversation

MESSAGE = (
    "id", "role", "content", "thinking", "model_name", "created_at", "tool_result", "tool_name", "tool_call_id",
)  # fmt: skip
CHAT = ("id", "created_at")
CALL = ("function_name", "function_arguments", "function_result", "tool_call_id")
Rows = Mapping[Any, Sequence[Sequence[Any]]]  # by message
ROLES: dict[str, Role] = {"user": "user", "assistant": "assistant", "system": "system"}


class OllamaAppSource:
    """Reads one chat at a time; attached files by name only."""

    name = "ollama-app"
    lacks = "system prompts, tool schemas, ratings, edits, failures"

    def places(self) -> list[Path]:
        """Return where the app keeps its database."""
        if sys.platform == "darwin":
            return [Path.home() / "Library" / "Application Support" / "Ollama" / "db.sqlite"]
        if os.name == "nt":
            data = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
            return [data / "Ollama" / "db.sqlite"]
        return [Path.home() / ".ollama" / "db.sqlite"]

    def recognises(self, db: sqlite3.Connection) -> bool:
        """Tell from the tables alone whether this is the format."""
        return (
            base.has(db, "chats", "id")
            and base.has(db, "messages", "id", "chat_id", "role", "content", "thinking", "model_name")
            and base.has(db, "tool_calls", "message_id", "function_name", "function_arguments")
        )

    def threads(self, db: sqlite3.Connection) -> Iterator[tuple[str, str]]:
        """Yield each chat with its number of messages, the last of them, when that was changed, and its summaries.

        The app changes the last message alone in place, and moves its `updated_at`; an edit writes all messages of the
        chat anew, with new ids.
        """
        moved = base.picked(db, "messages", ("updated_at",), "m")
        said = {
            chat: state
            for chat, *state in db.execute(
                f"SELECT g.chat_id, g.count, g.last, {moved} FROM messages m JOIN (SELECT chat_id, count(*) AS count,"
                " max(rowid) AS last FROM messages GROUP BY chat_id) g ON m.rowid = g.last"
            )
        }
        summaries: dict[Any, int] = {}
        if base.has(db, "compactions", "chat_id", "summary"):
            summaries = dict(db.execute("SELECT chat_id, count(*) FROM compactions GROUP BY chat_id"))
        states: dict[str, list[Any]] = {}
        for chat, started in db.execute(f"SELECT {base.picked(db, 'chats', CHAT)} FROM chats ORDER BY rowid"):
            states.setdefault(keyed.name(chat), []).append((started, said.get(chat), summaries.get(chat)))
        for thread, state in states.items():
            yield thread, base.stamp(state)

    def read(
        self, db: sqlite3.Connection, path: Path, report: Report, only: Collection[str] | None = None
    ) -> Iterator[Episode]:
        """Yield the chats in the order of their start."""
        places = keyed.places(db, "chats", "id", only)
        chats = sorted(keyed.rows(db, "chats", CHAT, places), key=lambda c: (cells.timestamp(c[1]) or "").rstrip("Z"))
        messages = keyed.finder(db, "messages", "chat_id", MESSAGE, "id")
        calls, files = _beside(db, "tool_calls", CALL), _beside(db, "attachments", ("filename",))
        for chat, started in chats:
            conversation = Conversation("ollama-app", path, keyed.name(chat), report, started_at=started)
            rows = [row[1:] for row in messages(chat)]
            ids = [row[0] for row in rows]
            _Chat(conversation, _summaries(db, chat), calls(ids), files(ids)).take(rows)
            episode = conversation.episode()
            if episode is not None:
                yield episode
        if only is None:
            for reason, place in _strays(db):
                report(Verdict("", "read", reason, place))


def _beside(db: sqlite3.Connection, table: str, columns: Sequence[str]) -> Callable[[Sequence[Any]], Rows]:
    """Return what gives a table's rows by message; none in a log from before it existed."""
    if not base.has(db, table, "message_id", *columns[:1]):
        return lambda messages: {}
    return keyed.gatherer(db, table, "message_id", columns)


def _summaries(db: sqlite3.Connection, chat: Any) -> list[str]:
    """Return the summaries of a chat's compactions, which newer versions make."""
    if not base.has(db, "compactions", "chat_id", "summary"):
        return []
    texts = [cells.text(row[0]) for row in db.execute("SELECT summary FROM compactions WHERE chat_id = ?", (chat,))]
    return [text for text in texts if text and text.strip()]


def _strays(db: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    """Yield the rows that belong to nothing."""
    for table, column, owners, reason in (
        ("messages", "chat_id", "chats", "a message of no conversation"),
        ("tool_calls", "message_id", "messages", "a call of a message that is gone"),
        ("attachments", "message_id", "messages", "a file of a message that is gone"),
    ):
        if base.has(db, table, column):
            query = (
                f"SELECT rowid FROM {table} WHERE {column} IS NULL"
                f" OR {column} NOT IN (SELECT id FROM {owners} WHERE id IS NOT NULL) ORDER BY rowid"
            )
            for (key,) in db.execute(query):
                yield reason, f"{table}.id={key}"


class _Chat:
    """One chat while it is read. `kept` are results that stand beside their calls, until a row gives them."""

    def __init__(self, conversation: Conversation, summaries: list[str], calls: Rows, files: Rows) -> None:
        self.conversation, self.summaries, self.calls, self.files = conversation, summaries, calls, files
        self.kept: list[tuple[ToolCall, str | None]] = []

    def take(self, rows: Sequence[Sequence[Any]]) -> None:
        """Add the messages, each with its calls and files."""
        for key, role, content, thinking, model, at, result, tool, call_id in rows:
            place, said = f"messages.id={key}", self._text(content, "content", f"messages.content={key}")
            role = str(role).strip().lower()
            if said and any(summary in said for summary in self.summaries):
                self._summary(place)
            elif role == "tool":
                if key in self.calls:
                    self.conversation.lost("calls beside a result", place)
                stored = None if said else self._text(result, "a result", f"messages.tool_result={key}")
                failed = said if result is None else ""  # the app writes a failure as text, without the tool's result
                self._result(said or stored or "", failed, at, cells.text(tool) or None, cells.text(call_id) or None)
            elif role in ROLES:
                self._settle(at)
                kept = self._calls(key)
                calls = [call for call, _ in kept]
                thought = self._text(thinking, "reasoning", f"messages.thinking={key}")
                files = [Attachment(type="file", name=cells.text(name) or "") for (name,) in self.files.get(key, ())]
                if role == "assistant" and not (said or thought or calls or files):
                    self.conversation.lost("an empty message", place)
                    continue
                self.conversation.say(
                    ROLES[role],
                    said or "",
                    at=at,
                    model=model if role == "assistant" else None,
                    error="unreadable content" if said is None and content is not None else None,
                    reasoning=thought,
                    attachments=files,
                    calls=calls,
                )
                self.kept = kept
            else:
                self.conversation.lost("a message of unknown role", place)
        self._settle(None)

    def _summary(self, place: str) -> None:
        """Report a summary, and take back the call that the app made up to bring it in."""
        self.conversation.lost("a compaction summary", place)
        last = self.conversation.messages[-1] if self.conversation.messages else None
        if self.kept and last and last.tool_calls and not (last.content or last.reasoning):
            self.conversation.messages.pop()
        self.kept = []

    def _calls(self, key: Any) -> list[tuple[ToolCall, str | None]]:
        """Return a message's calls, each with the result that stands beside it."""
        found = []
        for name, arguments, result, call_id in self.calls.get(key, ()):
            written = self._text(arguments, "arguments", f"tool_calls.message_id={key}")
            kept = self._text(result, "a result", f"tool_calls.message_id={key}")
            found.append((cells.call(name, written, call_id), kept))
        return found

    def _text(self, cell: Any, what: str, place: str) -> str | None:
        found = cells.text(cell)
        if found is None and cell is not None:
            self.conversation.lost(f"{what} that is no text", place)
        return found

    def _result(self, said: str, failed: str | None, at: Any, tool: str | None, call_id: str | None) -> None:
        """Add the result of the call that it names, else of the oldest call without one."""
        fits = [c for c, _ in self.kept if (call_id and c.id == call_id) or (not call_id and tool in (None, c.name))]
        call = fits[0] if fits else None
        self.kept = [(c, result) for c, result in self.kept if c is not call]
        self.conversation.result(
            said,
            call_id=call_id or (call.id if call else None),
            name=tool or (call.name if call else None),
            at=at,
            error=failed if failed and failed.startswith("Error: ") else None,
        )

    def _settle(self, at: Any) -> None:
        """Give the calls that no row answered the results that stand beside them."""
        for call, stored in self.kept:
            if stored:
                self.conversation.result(stored, call_id=call.id, name=call.name, at=at)
        self.kept = []
