"""opencode's sessions: where each one's messages stand, which are copies of another, what shows that one changed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lunar_tune.artefacts import Verdict
from lunar_tune.seams import Report
from lunar_tune.sources import base
from lunar_tune.sources.core import cells, forks

SESSION = ("id", "fork_session_id", "revert", "time_created")
PARTS = "SELECT p.data FROM message m JOIN part p ON p.message_id = m.id WHERE m.rowid = ? ORDER BY p.id"


@dataclass(frozen=True, slots=True)
class Session:
    """A row of `session`; `key` is its id as stored, `table` is the one that holds its messages."""

    key: Any
    id: str
    started: str | None
    group: str
    table: str | None
    revert: Any


@dataclass(frozen=True, slots=True)
class _Begun:
    """Where a session's messages stand, and the first of them."""

    table: str
    time: Any
    rowid: int


class Sessions:
    """All sessions by id, in the order of their start."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        self.strays: list[tuple[str, str, str]] = []  # (thread, reason, place)
        self.with_parts = base.has(db, "part", "id", "message_id", "data")
        self._begun = _begun(db)
        rows: dict[str, tuple[Any, Any, Any, str | None]] = {}
        for rowid, key, forked, revert, created in db.execute(
            f"SELECT rowid, {base.picked(db, 'session', SESSION)} FROM session ORDER BY rowid"
        ):
            thread = cells.text(key)
            if not thread or thread in rows:
                self.strays.append((thread or "", "a session without an id of its own", f"session.rowid={rowid}"))
                continue
            rows[thread] = key, forked, revert, cells.timestamp(created) or self._start(key)
        known = {row[0] for row in rows.values()}
        for key, begun in self._begun.items():
            if key not in known:
                place = f"{begun.table}.session_id={cells.text(key) or ''}"
                self.strays.append((cells.text(key) or "", "messages of no session", place))
        self._rows = dict(sorted(rows.items(), key=lambda row: row[1][3] or ""))
        self._above = self._families()

    def __iter__(self) -> Iterator[Session]:
        for thread, (key, _, revert, started) in self._rows.items():
            begun = self._begun.get(key)
            group = forks.root(thread, self._above)
            yield Session(key, thread, started, group, begun.table if begun else None, revert)

    def tell_strays(self, report: Report) -> None:
        """Report what belongs to no session, and sessions that nothing can belong to."""
        for thread, reason, place in self.strays:
            report(Verdict(thread, "read", reason, place))

    def stamps(self) -> Iterator[tuple[str, str]]:
        """Yield each session with its own cells and, table by table, its rows, the last one and the last edit."""
        grown = [_grown(self.db, table) for table in ("message", "part", "session_message")]
        for session in self:
            rows = [found.get(session.key) for found in grown]
            yield session.id, base.stamp(session.group, session.table, session.started, session.revert, rows)

    def _start(self, key: Any) -> str | None:
        """Return the time of a session's first row, for one that does not say when it started."""
        begun = self._begun.get(key)
        if begun is None or not base.has(self.db, begun.table, "time_created"):
            return None
        query = f"SELECT min(time_created) FROM {begun.table} WHERE session_id = ?"
        return cells.timestamp(self.db.execute(query, (key,)).fetchone()[0])

    def _families(self) -> dict[str, str]:
        """Return what each session was copied from: named by the log, or seen by how both begin."""
        begun = ((thread, self._begun.get(row[0])) for thread, row in self._rows.items())
        above = forks.copies(((thread, first.time if first else None) for thread, first in begun), self._marks)
        for thread, (_, forked, *_) in self._rows.items():
            if (name := cells.text(forked)) and name != thread:
                above[thread] = name
        return above

    def _marks(self, thread: str) -> tuple[str, ...]:
        """Return the words that a session begins with; a copy gives its messages new ids, but not new words."""
        first = self._begun[self._rows[thread][0]]
        if first.table == "message":
            words = self.db.execute(PARTS, (first.rowid,)).fetchall() if self.with_parts else []
        else:
            words = self.db.execute("SELECT data FROM session_message WHERE rowid = ?", (first.rowid,)).fetchall()
        return (base.stamp(words),) if words else ()


def _begun(db: sqlite3.Connection) -> dict[Any, _Begun]:
    """Return the first message of each session that has any; of both generations the older one counts."""
    found: dict[Any, _Begun] = {}
    for table, time in (("session_message", "CASE WHEN type = 'user' THEN {} END"), ("message", "{}")):
        there = base.columns(db, table)
        if not {"id", "session_id", "data"} <= there or (table == "session_message" and "type" not in there):
            continue
        first = time.format("time_created" if "time_created" in there else "NULL")
        # rowid is that of the row with the smallest time: SQLite's rule for a column beside one min()
        for key, at, rowid in db.execute(f"SELECT session_id, min({first}), rowid FROM {table} GROUP BY session_id"):
            found[key] = _Begun(table, at, rowid)
    return found


def _grown(db: sqlite3.Connection, table: str) -> dict[Any, tuple[Any, ...]]:
    """Return, for each session, (rows, last row, last edit) of a table."""
    there = base.columns(db, table)
    session = "session_id"
    if session not in there:
        if "message_id" not in there or not base.has(db, "message", "id", "session_id"):
            return {}
        session = "(SELECT m.session_id FROM message m WHERE m.id = message_id)"
    edited = "max(time_updated)" if "time_updated" in there else "NULL"
    rows = db.execute(f"SELECT {session}, count(*), max(rowid), {edited} FROM {table} GROUP BY 1")
    return {key: (count, last, at) for key, count, last, at in rows}
