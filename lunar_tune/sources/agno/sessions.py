"""Agno's sessions: where they stand, what covers their changes, and which were forked from which."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lunar_tune.sources import base
from lunar_tune.sources.agno.runs import document
from lunar_tune.sources.core import cells, keyed, trees

ORIGIN = "forked_from_session_id"  # in session_data what a session is a copy of; in a run where it was made


@dataclass(slots=True)
class Session:
    """Where a session stands: its keys in tables of runs, its rows in tables of sessions, and what a stamp covers.

    `origin` is the session that it is a fork of; `known` says that a row of its own could be asked for it, `unreadable`
    is the place of a row that names one and cannot be read.
    """

    start: str = ""
    keys: list[tuple[str, Any]] = field(default_factory=list)
    firsts: list[tuple[str, int]] = field(default_factory=list)
    rows: list[tuple[str, int]] = field(default_factory=list)
    state: list[tuple[Any, ...]] = field(default_factory=list)
    origin: str | None = None
    known: bool = False
    unreadable: str | None = None


def run_tables(db: sqlite3.Connection) -> list[str]:
    """Return the tables of runs."""
    return [name for name in _tables(db) if base.has(db, name, "run_id", "session_id", "run_data")]


def session_tables(db: sqlite3.Connection) -> dict[str, set[str]]:
    """Return the columns of the tables of sessions."""
    found = {name: base.columns(db, name) for name in _tables(db)}
    return {name: there for name, there in found.items() if {"session_id", "session_type"} <= there}


def _tables(db: sqlite3.Connection) -> list[str]:
    """Return the tables; a view would show the same runs again."""
    return [str(name) for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]


def families(db: sqlite3.Connection) -> dict[str, dict[str, Session]]:
    """Return the sessions of each family by their names, the oldest first; a family has the name of its root.

    The root may be gone: its forks stay together under its name.
    """
    sessions = _sessions(db)
    above: dict[str, str | None] = {}
    for name, session in sessions.items():
        if not session.known or (session.origin is not None and session.origin not in sessions):
            told = _first_made_in(db, session)
            session.origin = told or session.origin
            session.unreadable = None if told else session.unreadable
        above[name] = session.origin
    found: dict[str, dict[str, Session]] = {}
    for name in sorted(sessions, key=lambda name: sessions[name].start):
        root = trees.root(above, name)
        above[name] = None if root == name else root  # so that a long way is walked once
        found.setdefault(root, {})[name] = sessions[name]
    return found


def _sessions(db: sqlite3.Connection) -> dict[str, Session]:
    """Return the sessions by their names, as they stand in the tables."""
    found: dict[str, Session] = {}
    for table, there in session_tables(db).items():
        _add_rows(db, table, there, found)
    for table in run_tables(db):
        _add_runs(db, table, found)
    return found


def _add_rows(db: sqlite3.Connection, table: str, there: set[str], found: dict[str, Session]) -> None:
    runs = "length(runs)" if "runs" in there else "NULL"
    forked = (
        f"CASE WHEN instr(session_data, '{ORIGIN}') OR NOT json_valid(session_data) THEN session_data END"
        if "session_data" in there
        else "NULL"
    )
    picked = base.picked(db, table, ("session_id", "created_at", "updated_at"))
    query = f"SELECT rowid, {runs}, {forked}, {picked} FROM {base.quoted(table)} ORDER BY rowid"
    for rowid, size, data, key, created, updated in db.execute(query):
        if key is None:
            continue
        name = keyed.name(key)
        session = found.setdefault(name, Session())
        session.start = session.start or cells.timestamp(created) or ""
        session.state.append((table, size, created, updated))
        if size:
            session.rows.append((table, rowid))
        said = {} if data is None else document(data)
        if isinstance(said, dict):
            session.known = True
            session.origin = session.origin or _named(said)
        elif ORIGIN in (cells.text(data) or ""):
            session.unreadable = f"{table}.session_data={name}"


def _add_runs(db: sqlite3.Connection, table: str, found: dict[str, Session]) -> None:
    status, created = base.picked(db, table, ("status",)), base.picked(db, table, ("created_at",))
    name = base.quoted(table)
    query = (
        f"SELECT o.*, (SELECT run_id FROM {name} WHERE rowid = o.last) FROM (SELECT session_id, count(*),"
        f" min(rowid), max(rowid) AS last, group_concat(coalesce({status.partition(' AS ')[0]}, ''))"
        f" FROM {name} WHERE session_id IS NOT NULL GROUP BY session_id ORDER BY min(rowid)) o"
    )
    for key, *state, first, last, statuses, run in db.execute(query):
        session = found.setdefault(keyed.name(key), Session())
        if not session.start:
            (began,) = db.execute(f"SELECT {created} FROM {name} WHERE rowid = ?", (first,)).fetchone()
            session.start = cells.timestamp(began) or ""
        session.keys.append((table, key))
        session.firsts.append((table, first))
        session.state.append((table, *state, last, statuses, run))


def _first_made_in(db: sqlite3.Connection, session: Session) -> str | None:
    """Return where a session's first run was made, when it is a copy; it is the root's also in a fork of a fork."""
    for column, places in (("runs", session.rows), ("run_data", session.firsts)):
        for table, rowid in places:
            for (cell,) in db.execute(f"SELECT {column} FROM {base.quoted(table)} WHERE rowid = ?", (rowid,)):
                body = document(cell)
                body = body[0] if isinstance(body, list) and body else body
                if isinstance(body, dict) and _named(body):
                    return _named(body)
    return None


def _named(body: Mapping[str, Any]) -> str | None:
    origin = body.get(ORIGIN)
    return origin if isinstance(origin, str) and origin else None
