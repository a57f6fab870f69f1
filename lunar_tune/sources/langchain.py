"""LangChain's `SQLChatMessageHistory`: one message a row, in a table of any name.

The log knows no times and no models but what a provider wrote into a message, and often holds only what the person
said and the final answers.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from lunar_tune.artefacts import Verdict
from lunar_tune.episodes import Episode
from lunar_tune.seams import Report
from lunar_tune.sources import base
from lunar_tune.sources.core import cells, keyed, langchain_messages
from lunar_tune.sources.core.conversation import Conversation

MESSAGE = ("id", "session_id", "message")
USUAL = "message_store"
BEGINNING = re.compile(r'\s*\{"(type|data|lc)":')  # of a message, even of one that was cut
SAMPLE = 20  # rows looked at before a table of another name is called something else


class LangChainSource:
    """Reads the tables that SQLChatMessageHistory writes."""

    name = "langchain"
    lacks = "times, the tools' schemas, ratings, the failures of model calls, often calls and the system prompt"

    def recognises(self, db: sqlite3.Connection) -> bool:
        """Tell from the tables, and of a table with another name from its first rows, whether this is the format."""
        return bool(_tables(db))

    def threads(self, db: sqlite3.Connection) -> Iterator[tuple[str, str]]:
        """Yield each session with its number of messages and its last one.

        That one is looked at itself, for a session that was cleared and begun anew may have the same numbers. An edit
        of an earlier message is not seen: the table has no time of change.
        """
        found: dict[str, list[Any]] = {}
        for table, prefix in _tables(db).items():
            counts = keyed.counts(db, table, ("session_id",))
            last = keyed.rows(db, table, ("message",), [last for _, last in counts.values()])
            for ((session,), state), (message,) in zip(counts.items(), last, strict=True):
                if session is not None:
                    found.setdefault(prefix + keyed.name(session), []).append((state, message))
        for thread, states in found.items():
            yield thread, base.stamp(states)

    def read(
        self, db: sqlite3.Connection, path: Path, report: Report, only: Collection[str] | None = None
    ) -> Iterator[Episode]:
        """Yield the sessions in the order of their first message."""
        for table, prefix in _tables(db).items():
            wanted = None
            if only is not None:
                keys = keyed.counts(db, table, ("session_id",))
                wanted = {key for key in keys if key[0] is not None and prefix + keyed.name(key[0]) in only}
            for (session,), rowids in keyed.conversations(db, table, ("session_id",), "id", wanted).items():
                rows = keyed.rows(db, table, ("id", "message"), rowids)
                if session is None:
                    for key, _ in rows:
                        report(Verdict("", "read", "a message of no session", f"{table}.id={keyed.name(key)}"))
                    continue
                talk = Conversation(self.name, path, prefix + keyed.name(session), report)
                for key, cell in rows:
                    _take(talk, cell, f"{table}.message={keyed.name(key)}")
                episode = talk.episode()
                if episode is not None:
                    yield episode


def _tables(db: sqlite3.Connection) -> dict[str, str]:
    """Return the tables of exactly these columns whose rows hold messages, and what their sessions' names begin with.

    An empty one counts only under the usual name; a view would show the same messages again.
    """
    tables = [str(name) for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
    names = [
        name
        for name in tables
        if base.columns(db, name) == set(MESSAGE) and (name == USUAL or _holds_messages(db, name))
    ]
    return {name: "" if name == USUAL or len(names) == 1 else f"{name}/" for name in names}


def _holds_messages(db: sqlite3.Connection, table: str) -> bool:
    return any(
        _fields(cell) is not None or BEGINNING.match(cells.text(cell) or "")
        for (cell,) in db.execute(f"SELECT message FROM {base.quoted(table)} ORDER BY id LIMIT {SAMPLE}")
    )


def _fields(cell: Any) -> dict[str, Any] | None:
    try:
        return langchain_messages.message_fields(cells.parse_json(cell))
    except ValueError:
        return None


def _take(talk: Conversation, cell: Any, place: str) -> None:
    fields = _fields(cell)
    if fields is None:
        talk.lost("unreadable message", place)
    elif langchain_messages.is_summary(fields):
        talk.lost("a compaction summary", place)
    else:
        langchain_messages.say(talk, fields, place)
