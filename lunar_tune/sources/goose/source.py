"""goose's log: sessions, and messages whose results stand in rows of the user.

What the user saw is read (`userVisible`): after a compaction the originals stay visible to the user and the summary is
the agent's only, so that neither is told twice. Content meant for the user alone (`audience`) was not sent to the model
and is left out of results. Sub-agents are conversations of their own; copies of a session share `group`.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

from lunar_tune.artefacts import Verdict
from lunar_tune.episodes import Episode
from lunar_tune.seams import Report
from lunar_tune.sources import base
from lunar_tune.sources.core.conversation import Conversation
from lunar_tune.sources.goose.content import Teller
from lunar_tune.sources.goose.sessions import TABLES, Sessions

ROW = ("message_id", "role", "content_json", "created_timestamp", "metadata_json")


class GooseSource:
    """Reads sessions.db of the schemas 10 to 16."""

    name = "goose"
    lacks = "the system prompt, tool schemas, ratings, what the user edited away, and the model of single messages"

    def places(self) -> list[Path]:
        """Return where goose keeps its log on this machine, in the older and the newer layout."""
        if set_by_user := os.environ.get("GOOSE_PATH_ROOT"):
            home = Path(set_by_user)
        elif sys.platform == "darwin":
            home = Path.home() / "Library" / "Application Support" / "Block" / "goose"
        elif os.name == "nt":
            home = Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming") / "Block" / "goose"
        else:
            home = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "goose"
        return [home / "data" / "sessions" / "sessions.db", home / "sessions" / "sessions.db"]

    def recognises(self, db: sqlite3.Connection) -> bool:
        """Tell from the tables alone whether this is the format."""
        return base.has(db, "sessions", "id", "working_dir", "extension_data") and base.has(
            db, "messages", "session_id", "role", "content_json"
        )

    def threads(self, db: sqlite3.Connection) -> Iterator[tuple[str, str]]:
        """Yield each session with its own cells and time of change, its number of rows and the last one.

        goose adds rows, or writes a conversation anew under new rowids. What it changes in place (which messages the
        agent still sees, titles of calls) is not read here; a row that were changed otherwise would not be seen.
        """
        yield from Sessions(db).stamps()

    def read(
        self, db: sqlite3.Connection, path: Path, report: Report, only: Collection[str] | None = None
    ) -> Iterator[Episode]:
        """Yield the sessions in the order of their start."""
        log = Sessions(db)
        # in the order of writing: a compaction writes the whole conversation anew, in order
        queries = {
            table: f"SELECT rowid, {base.picked(db, table, ROW)} FROM {table}"
            " WHERE session_id = ? AND rowid BETWEEN ? AND ? ORDER BY rowid"
            for table in TABLES
        }
        if only is None:
            log.tell_strays(report)
        for session in log:
            if only is not None and session.id not in only:
                continue
            conversation = Conversation(
                self.name, path, session.id, report,
                model=session.model, started_at=session.started, group=log.group(session),
            )  # fmt: skip
            if session.unreadable:
                report(Verdict(session.id, "read", "an unreadable model", session.unreadable))
            teller, own = Teller(conversation), session.rows
            if own is not None:
                for rowid, *row in db.execute(queries[own.table], (session.key, own.first, own.last)):
                    teller.take(row, f"{own.table}.content_json={rowid}")
            episode = conversation.episode()
            if episode is not None:
                yield episode
