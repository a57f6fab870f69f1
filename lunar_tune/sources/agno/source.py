"""Agno's sessions: runs in a table of their own (3.x), in a JSON list of their session (2.x) or half moved over; tables
of any name.

A session is the conversation of its runs; messages that a run repeats from earlier ones are left out. A run that was
forked or regenerated from another takes its place, and the other becomes a path of its own. The runs of a team's
members and of a workflow's steps are conversations of their own in the session's family. Of a run that stored no
messages its input and its content are kept. Compaction leaves the runs as they were.

A forked session begins with copies of its origin's runs, which have new ids; it is of the family of the session that
was forked first.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

from lunar_tune.artefacts import Verdict
from lunar_tune.episodes import Episode
from lunar_tune.seams import Report
from lunar_tune.sources import base
from lunar_tune.sources.agno.runs import Family, Run, as_run, document, parsed, session_episodes, stored
from lunar_tune.sources.agno.sessions import Session, families, run_tables, session_tables
from lunar_tune.sources.core import cells, keyed

RUN = ("run_id", "parent_run_id", "status", "run_data", "created_at")


class AgnoSource:
    """Reads what Agno's SqliteDb keeps."""

    name = "agno"
    lacks = "the tools' schemas, ratings"

    def recognises(self, db: sqlite3.Connection) -> bool:
        """Tell from the tables alone whether this is the format."""
        return bool(run_tables(db) or any("runs" in there for there in session_tables(db).values()))

    def threads(self, db: sqlite3.Connection) -> Iterator[tuple[str, str]]:
        """Yield each family with its sessions' numbers of runs, last ones, their statuses and own times of change.

        A run that is rewritten and keeps its status is seen by that time, which moves whenever the session is saved.
        Whether a session is a fork stands in its session_data; the first run is looked at where that cannot be read or
        names a session that is gone.
        """
        for root, sessions in families(db).items():
            yield root, base.stamp([(name, session.state) for name, session in sessions.items()])

    def read(
        self, db: sqlite3.Connection, path: Path, report: Report, only: Collection[str] | None = None
    ) -> Iterator[Episode]:
        """Yield the families in the order of their start, the paths and members' runs of a session together."""
        wanted = {root: found for root, found in families(db).items() if only is None or root in only}
        keys = {(key,) for found in wanted.values() for session in found.values() for _, key in session.keys}
        rows = {
            table: keyed.conversations(db, table, ("session_id",), "run_index", None if only is None else keys)
            for table in run_tables(db)
        }
        for root, sessions in wanted.items():
            family = Family(root, len(sessions) > 1)
            for name, session in sessions.items():
                moved = [(table, rows[table].get((key,), ())) for table, key in session.keys]
                yield from _read(db, path, name, session, moved, family, report)
        if only is None:
            for table in run_tables(db):
                for (run,) in db.execute(f"SELECT run_id FROM {base.quoted(table)} WHERE session_id IS NULL"):
                    report(Verdict("", "read", "a run of no session", f"{table}.run_id={keyed.name(run)}"))


def _read(
    db: sqlite3.Connection,
    path: Path,
    name: str,
    session: Session,
    moved: Sequence[tuple[str, Iterable[int]]],
    family: Family,
    report: Report,
) -> Iterator[Episode]:
    """Yield one session's episodes."""
    if session.unreadable:
        report(Verdict(name, "read", "unreadable session_data", session.unreadable))
    runs = list(_runs(db, name, session.rows, moved, report))
    if any(runs):
        yield from session_episodes(path, name, runs, session.start or None, family, report)
    elif not session.rows and not session.keys:
        report(Verdict(name, "read", "a conversation without messages"))


def _runs(
    db: sqlite3.Connection,
    name: str,
    lists: Sequence[tuple[str, int]],
    tabled: Sequence[tuple[str, Iterable[int]]],
    report: Report,
) -> Iterator[Run | None]:
    """Yield a session's runs in their order: as in its list, those that have a row read from there, then the rest.

    In the place of one that cannot be read there is None.
    """
    moved: dict[str, Run | None] = {}
    for table, rowids in tabled:
        for run_id, parent, status, cell, at in keyed.rows(db, table, RUN, rowids):
            place = f"{table}.run_data={keyed.name(run_id)}"
            body = parsed(cell)
            if isinstance(body, dict):
                run = as_run(
                    {**stored(body), "run_id": run_id, "status": status or body.get("status")}, parent, at, place
                )
                moved[run.id] = run
            else:
                moved[cells.text(run_id) or place] = None
                report(Verdict(name, "read", "unreadable run", place))
    for table, rowid in lists:
        query = f"SELECT runs, {base.picked(db, table, ('created_at',))} FROM {base.quoted(table)} WHERE rowid = ?"
        for cell, at in db.execute(query, (rowid,)):
            listed = document(cell)
            for number, body in enumerate(listed if isinstance(listed, list) else [listed] if listed else []):
                place = f"{table}.runs={name}#{number}"
                if not isinstance(body, dict):
                    report(Verdict(name, "read", "unreadable run", place))
                    yield None
                    continue
                run = as_run(stored(body), body.get("parent_run_id"), body.get("created_at") or at, place)
                yield moved.pop(run.id, None) or run
    yield from moved.values()
