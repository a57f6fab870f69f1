"""goose's sessions: where each one's messages stand, which are copies of another, what shows that one has changed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from lunar_tune.artefacts import Verdict
from lunar_tune.seams import Report
from lunar_tune.sources import base
from lunar_tune.sources.core import cells, forks

SESSION = ("id", "session_type", "created_at", "updated_at", "parent_session_id")
TABLES = ("messages", "thread_messages")  # the second one held the messages of a few versions around the tenth schema


class Rows(NamedTuple):
    """The rows of a session: in which table, how many, the first and the last of them, the first one's time and id."""

    table: str
    number: int
    first: int
    last: int
    time: Any
    message: Any


@dataclass(frozen=True, slots=True)
class Session:
    """A row of `sessions`; `key` is its id as stored."""

    key: Any
    id: str
    kind: str | None
    started: str | None
    updated: Any
    parent: str | None
    model: str | None
    rows: Rows | None
    unreadable: str
    """The place of a model that cannot be read."""


class Sessions:
    """All sessions in the order of their start."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        self.strays: list[tuple[str, str, str]] = []  # (thread, reason, place)
        rows = _rows(db)
        known: dict[str, Session] = {}
        for rowid, model, broken, key, kind, created, updated, parent in db.execute(_query(db)):
            thread = cells.text(key)
            if not thread or thread in known:
                self.strays.append((thread or "", "a session without an id of its own", f"sessions.rowid={rowid}"))
                continue
            own = rows.get(key)
            started = cells.timestamp(created) or (cells.timestamp(own.time) if own else None)
            known[thread] = Session(
                key, thread, cells.text(kind), started, updated, cells.text(parent), cells.text(model), own,
                f"sessions.model_config_json={rowid}" if broken else "",
            )  # fmt: skip
        keys = {session.key for session in known.values()}
        for key, found in rows.items():
            if key not in keys:
                thread = cells.text(key) or ""
                self.strays.append((thread, "messages of no session", f"{found.table}.session_id={thread}"))
        self._known = dict(sorted(known.items(), key=lambda item: item[1].started or ""))
        self._above = self._families()

    def __iter__(self) -> Iterator[Session]:
        yield from self._known.values()

    def group(self, session: Session) -> str:
        """Return the session that this one was copied from, directly or not, or its own id."""
        return forks.root(session.id, self._above)

    def tell_strays(self, report: Report) -> None:
        """Report what belongs to no session, and sessions that nothing can belong to."""
        for thread, reason, place in self.strays:
            report(Verdict(thread, "read", reason, place))

    def stamps(self) -> Iterator[tuple[str, str]]:
        """Yield each session with its own cells, its number of rows and the last one."""
        for session in self:
            yield session.id, base.stamp(session, self.group(session))

    def _families(self) -> dict[str, str]:
        """Return what each session was copied from: seen by how both begin, or named by the log."""
        begun = [(session.id, session.rows) for session in self if session.rows is not None]
        # ids came later than some copies, and were made of each session's own id then
        made = ((thread, rows.time) for thread, rows in begun if _made(rows.message, thread))
        above = forks.copies(made, self._words)
        above |= forks.copies(((thread, rows.message) for thread, rows in begun), lambda thread: (True,))
        for session in self:
            if session.parent and session.kind != "sub_agent" and session.parent != session.id:
                above.setdefault(session.id, session.parent)
        return above

    def _words(self, thread: str) -> tuple[Any, ...]:
        """Return the content of a session's first message."""
        rows = self._known[thread].rows
        if rows is None:
            return ()
        return tuple(self.db.execute(f"SELECT content_json FROM {rows.table} WHERE rowid = ?", (rows.first,)))


def _made(message: Any, thread: str) -> bool:
    return message is None or str(message).startswith(f"msg_{thread}_")


def _query(db: sqlite3.Connection) -> str:
    """Of a session's settings only the model's name is read; the rest may hold keys."""
    model = "NULL, 0"
    if base.has(db, "sessions", "model_config_json"):
        readable = "json_valid(model_config_json)"
        model = f"CASE WHEN {readable} THEN json_extract(model_config_json, '$.model_name') END, NOT {readable}"
    return f"SELECT rowid, {model}, {base.picked(db, 'sessions', SESSION)} FROM sessions ORDER BY rowid"


def _rows(db: sqlite3.Connection) -> dict[Any, Rows]:
    """Return each session's rows; those of the newer table count where there are any."""
    found: dict[Any, Rows] = {}
    for table in reversed(TABLES):
        if not base.has(db, table, "session_id", "role", "content_json"):
            continue
        each = f"SELECT session_id, count(*) n, min(rowid) low, max(rowid) high FROM {table} GROUP BY session_id"
        first = base.picked(db, table, ("created_timestamp", "message_id"), "m")
        query = f"SELECT e.session_id, n, low, high, {first} FROM ({each}) e JOIN {table} m ON m.rowid = low"
        for key, *row in db.execute(query):
            found[key] = Rows(table, *row)
    return found
