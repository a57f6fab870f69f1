"""The OpenAI Agents SDK's sessions: `SQLiteSession`, its async and SQLAlchemy kin, and `AdvancedSQLiteSession`.

The tables can have any name, so every table of session ids and message data is read. The branches of an advanced
session are the paths of one family: the log does not say which is in use, so `main`, with which every session opens,
has the session's own id. What `pop_item` took back left no trace.
"""

from __future__ import annotations

import heapq
import json
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from lunar_tune.artefacts import Verdict
from lunar_tune.episodes import Episode
from lunar_tune.seams import Report
from lunar_tune.sources import base
from lunar_tune.sources.core import cells
from lunar_tune.sources.core.conversation import Conversation
from lunar_tune.sources.core.forks import with_retries
from lunar_tune.sources.core.responses_items import ItemReader
from lunar_tune.sources.core.trees import not_repeated

MESSAGE = ("id", "session_id", "message_data", "created_at")
USUAL, BRANCHES, MAIN = "agent_messages", "message_structure", "main"
ENCRYPTED = "a message encrypted by EncryptedSession, whose key only the agent has"
NAMED = "session_id IS NOT NULL"
BATCH = 128  # messages looked up together

Row = list[Any]  # of `MESSAGE`
Item = tuple[Any, Any, str]  # what was said, when, and its place


class OpenAIAgentsSource:
    """Reads the sessions that the Agents SDK keeps in SQLite."""

    name = "openai-agents"
    lacks = (
        "the instructions, the tools' schemas, models, ratings, the failures of model calls, results of web searches"
    )

    def recognises(self, db: sqlite3.Connection) -> bool:
        """Tell from the tables alone whether this is the format."""
        return bool(_message_tables(db))

    def threads(self, db: sqlite3.Connection) -> Iterator[tuple[str, str]]:
        """Yield each session with its number of messages, the newest, the same of its branches, and its time of change.

        An item that is changed in place is not seen: the SDK only adds and takes away.
        """
        for table in _tables(db):
            yield from table.threads()

    def read(
        self, db: sqlite3.Connection, path: Path, report: Report, only: Collection[str] | None = None
    ) -> Iterator[Episode]:
        """Yield the sessions in the order of their start, the branches of a session together."""
        streams = [table.episodes(path, report, only) for table in _tables(db)]
        yield from heapq.merge(*streams, key=lambda episode: episode.started_at or "")


def _message_tables(db: sqlite3.Connection) -> list[str]:
    names = db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
    return [str(name) for (name,) in names if base.has(db, name, "id", "session_id", "message_data")]


def _tables(db: sqlite3.Connection) -> list[_Table]:
    names = _message_tables(db)
    return [_Table(db, name, len(names) == 1) for name in names]


class _Table:
    """One table of messages."""

    def __init__(self, db: sqlite3.Connection, table: str, alone: bool) -> None:
        self.db, self.table, self.sql = db, table, base.quoted(table)
        self.prefix = "" if alone or table == USUAL else f"{table}/"  # two tables may hold sessions of the same id
        self.branched = base.has(db, BRANCHES, "session_id", "message_id", "branch_id") and (
            _refers(db, BRANCHES, "message_id") in (None, table)
        )
        self.numbered = base.has(db, BRANCHES, "sequence_number")
        sessions = _refers(db, table, "session_id")
        self.sessions = sessions if sessions is not None and base.has(db, sessions, "session_id") else None

    def thread(self, session: Any) -> str:
        """Return the thread's name of a session's id."""
        return f"{self.prefix}{cells.text(session) or repr(session)}"

    def threads(self) -> Iterator[tuple[str, str]]:
        """Yield (thread, stamp), from indices and the small table of sessions."""
        found: dict[str, list[Any]] = {}
        if self.sessions is not None:
            changed = base.picked(self.db, self.sessions, ("session_id", "updated_at"))
            for session, *moved in self.db.execute(f"SELECT {changed} FROM {base.quoted(self.sessions)}"):
                found.setdefault(self.thread(session), []).append(moved)
        for table in (self.sql, BRANCHES) if self.branched else (self.sql,):
            counted = f"SELECT session_id, count(*), max(rowid) FROM {table} WHERE {NAMED} GROUP BY session_id"
            for session, *count in self.db.execute(counted):
                found.setdefault(self.thread(session), []).append(count)
        for thread, parts in found.items():
            yield thread, base.stamp(parts)

    def episodes(self, path: Path, report: Report, only: Collection[str] | None) -> Iterator[Episode]:
        """Yield the sessions' episodes; with `only`, of these threads."""
        wanted = self._wanted(only)
        for first, rows in groupby(self._rows(wanted), key=itemgetter(0)):
            said = [row for _, row in rows]
            session = said[0][1]
            if session is None:
                for key, *_ in said:
                    report(Verdict("", "read", "a message of no session", f"{self.table}.id={key}"))
            else:
                yield from _Session(self, self.thread(session), first, path, report).episodes(said)
        if self.sessions is not None:
            condition, parameters = wanted
            query = (
                f"SELECT session_id FROM {base.quoted(self.sessions)} WHERE {NAMED} AND {condition}"
                f" EXCEPT SELECT session_id FROM {self.sql} WHERE {condition}"
            )
            for (session,) in self.db.execute(query, parameters * 2):
                report(Verdict(self.thread(session), "read", "a conversation without messages"))

    def structure(self, first: int) -> Iterator[tuple[Any, Any, int]]:
        """Yield (branch, message, rowid) of the session with this first message, in the order of the branches."""
        order = "sequence_number, rowid" if self.numbered else "rowid"
        return self.db.execute(
            f"SELECT branch_id, message_id, rowid FROM {BRANCHES}"
            f" WHERE session_id = (SELECT session_id FROM {self.sql} WHERE rowid = ?) ORDER BY {order}",
            (first,),
        )

    def _wanted(self, only: Collection[str] | None) -> tuple[str, tuple[str, ...]]:
        """Return the SQL condition that a session is of these threads.

        An id that is no clean text does not equal its thread's name: such sessions are found by looking at all.
        """
        if only is None:
            return base.among("session_id", None)
        names = {name.removeprefix(self.prefix) for name in only if name.startswith(self.prefix)}
        condition, parameters = base.among("session_id", [n for n in names if "\ufffd" not in n and "\x00" not in n])
        there = self.db.execute(f"SELECT DISTINCT session_id FROM {self.sql} WHERE {condition}", parameters)
        if {self.thread(session) for (session,) in there} >= {f"{self.prefix}{name}" for name in names}:
            return condition, parameters
        firsts = self.db.execute(f"SELECT session_id, min(rowid) FROM {self.sql} WHERE {NAMED} GROUP BY session_id")
        odd = [first for session, first in firsts if self.thread(session).removeprefix(self.prefix) in names]
        by_row = f"session_id IN (SELECT session_id FROM {self.sql} WHERE rowid IN (SELECT value FROM json_each(?)))"
        return f"({condition} OR {by_row})", (*parameters, json.dumps(odd))

    def _rows(self, wanted: tuple[str, tuple[str, ...]]) -> Iterator[tuple[int, Row]]:
        """Yield (the session's first rowid, `MESSAGE`) in the order of the sessions' start, then as inserted.

        Only rowids are sorted; the messages are looked up in that order, some at a time.
        """
        condition, parameters = wanted
        start = "f.created_at, " if "created_at" in base.columns(self.db, self.table) else ""
        order = self.db.execute(
            f"SELECT o.first, m.rowid FROM (SELECT session_id, min(rowid) AS first FROM {self.sql} WHERE {condition}"
            f" GROUP BY session_id) o JOIN {self.sql} f ON f.rowid = o.first"
            f" JOIN {self.sql} m ON m.session_id IS o.session_id ORDER BY {start}o.first, m.rowid",
            parameters,
        )
        query = (
            f"SELECT rowid, {base.picked(self.db, self.table, MESSAGE)} FROM {self.sql}"
            " WHERE rowid IN (SELECT value FROM json_each(?))"
        )
        while batch := order.fetchmany(BATCH):
            rowids = (json.dumps([rowid for _, rowid in batch]),)
            found = {rowid: row for rowid, *row in self.db.execute(query, rowids)}
            for first, rowid in batch:
                yield first, found[rowid]


class _Session:
    """One session while it is read."""

    def __init__(self, table: _Table, thread: str, first: int, path: Path, report: Report) -> None:
        self.table, self.thread, self.first, self.path, self.report = table, thread, first, path, report

    def episodes(self, rows: Sequence[Row]) -> Iterator[Episode]:
        """Yield the session, or its branches; `rows` are those of all branches."""
        items = self._items(rows)
        branches = self._branches() if self.table.branched else {}
        start = next((start for row in rows if (start := cells.timestamp(row[3]))), None)
        if not branches:
            episode = self._episode(self.thread, None, items.values(), start)
            if episode is not None:
                yield episode
            return
        self._report_strays(branches, [row[0] for row in rows])
        names = list(branches)
        kept = [names[n] for n in not_repeated([branches[name] for name in names])]
        chosen = MAIN if MAIN in kept else kept[-1]
        found = []
        for name in kept:
            said = [items[key] for key in branches[name] if key in items]
            thread = self.thread if name == chosen else f"{self.thread}#{name}"
            found.append(self._episode(thread, self.thread, said, start))
        yield from with_retries([episode for episode in found if episode is not None])

    def _items(self, rows: Sequence[Row]) -> dict[Any, Item]:
        """Return the items that can be read, by their id."""
        found: dict[Any, Item] = {}
        locked = []
        for key, _, data, at in rows:
            place = f"{self.table.table}.message_data={key}"
            try:
                item = cells.parse_json(data)
            except ValueError:
                self._lost("unreadable item", place)
                continue
            if isinstance(item, dict) and "__enc__" in item:
                locked.append(place)
            else:
                found[key] = item, at, place
        if locked:
            self._lost(ENCRYPTED, f"{locked[0]} and {len(locked) - 1} more" if len(locked) > 1 else locked[0])
        return found

    def _branches(self) -> dict[str, list[Any]]:
        """Return the ids of each branch's messages in order, the oldest branch first."""
        found: dict[str, list[Any]] = {}
        ages: dict[str, int] = {}
        for branch, message, row in self.table.structure(self.first):
            name = cells.text(branch) or MAIN
            found.setdefault(name, []).append(message)
            ages[name] = min(ages.get(name, row), row)
        return {name: found[name] for name in sorted(found, key=lambda name: ages[name])}

    def _report_strays(self, branches: dict[str, list[Any]], there: Sequence[Any]) -> None:
        placed = dict.fromkeys(key for keys in branches.values() for key in keys)
        known = set(there)
        for key in there:
            if key not in placed:
                self._lost("a message of no branch", f"{self.table.table}.id={key}")
        for key in placed:
            if key not in known:
                self._lost("a branch names a message that is not there", f"{BRANCHES}.message_id={key}")

    def _episode(self, thread: str, group: str | None, said: Collection[Item], start: str | None) -> Episode | None:
        if not said:
            return None  # what stood there has been reported
        talk = Conversation(OpenAIAgentsSource.name, self.path, thread, self.report, group=group)
        talk.started_at = start
        reader = ItemReader(talk)
        for item, at, place in said:
            reader.take(item, at, place)
        reader.end()
        return talk.episode()

    def _lost(self, reason: str, place: str) -> None:
        self.report(Verdict(self.thread, "read", reason, place))


def _refers(db: sqlite3.Connection, table: str, column: str) -> str | None:
    """Return the table that a column's foreign key names."""
    rows = db.execute(f"PRAGMA foreign_key_list({base.quoted(table)})")
    return next((str(row[2]) for row in rows if row[3] == column), None)
