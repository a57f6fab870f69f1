"""opencode's log: sessions, one row a step of the model, its texts, calls and results as parts.

Rows of `message` and `part` are read; a session that has none of them but rows of `session_message`, the newer
projection, is read from those (`opencode.v2`). Text that the app put into a user's message is left out and reported,
save for the contents of attached text files and for commands that the user ran, which the answer is about. While
`session.revert` is set, the transcript ends before the message named there, and the path that was taken back is an
episode of its own (`<session>#<last message>`) with `undo` on its answers. Copies of a session (forks) share `group`.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Collection, Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from lunar_tune.episodes import Episode
from lunar_tune.seams import Report
from lunar_tune.sources import base
from lunar_tune.sources.core import cells
from lunar_tune.sources.core.conversation import Conversation
from lunar_tune.sources.core.jsonl import undo_from
from lunar_tune.sources.opencode.sessions import Session, Sessions
from lunar_tune.sources.opencode.steps import Part, Row, Steps
from lunar_tune.sources.opencode.v2 import Projection, query_v2, rows_v2


class OpencodeSource:
    """Reads `message` and `part`, or `session_message` where a session has only that."""

    name = "opencode"
    lacks = "the system prompt (only what a user set for a message), tool schemas, and ratings"

    def places(self) -> list[Path]:
        """Return where opencode keeps its log on this machine, the logs of its release channels included."""
        data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "opencode"
        if set_by_user := os.environ.get("OPENCODE_DB"):
            return [data / set_by_user]  # an absolute path stays one
        return [data / "opencode.db", *sorted(data.glob("opencode-*.db"))]

    def recognises(self, db: sqlite3.Connection) -> bool:
        """Tell from the tables alone whether this is the format."""
        return base.has(db, "session", "id", "project_id", "slug") and (
            (base.has(db, "message", "id", "session_id", "data") and base.has(db, "part", "id", "message_id", "data"))
            or base.has(db, "session_message", "id", "session_id", "type", "data")
        )

    def threads(self, db: sqlite3.Connection) -> Iterator[tuple[str, str]]:
        """Yield each session with its revert, its fork family and the rows, last row and last edit of its tables.

        Every row has a time of change, so edits in place are seen too.
        """
        yield from Sessions(db).stamps()

    def read(
        self, db: sqlite3.Connection, path: Path, report: Report, only: Collection[str] | None = None
    ) -> Iterator[Episode]:
        """Yield each session, then the path taken back in it, in the order of the sessions' start."""
        log, rows = Sessions(db), _Rows(db)
        if only is None:
            log.tell_strays(report)
        for session in log:
            if only is not None and session.id not in only:
                continue
            first = Conversation(self.name, path, session.id, report, started_at=session.started, group=session.group)
            for conversation in _told(rows, session, first):
                episode = conversation.episode()
                if episode is not None:
                    yield episode


def _told(rows: _Rows, session: Session, conversation: Conversation) -> Iterator[Conversation]:
    """Yield the session's transcript and, if the user took back its end, the path with that end."""
    steps: Steps | Projection
    steps = Steps(conversation) if session.table == "message" else Projection(conversation)
    revert = _revert(session.revert, conversation)
    gone = revert is None or not rows.holds(session, revert[0])
    undone: list[Row] = []
    for row in rows.of(session, conversation):
        # when the message that was named is gone, everything with a later id was taken back
        if undone or (revert is not None and (row.id > revert[0] if gone else row.id == revert[0])):
            undone.append(row)
        else:
            steps.take(row)
    if not undone:
        yield conversation
        return
    taken_back = steps.branch(f"{session.id}#{undone[-1].id}")
    partly = undone[0].before(revert[1]) if revert and revert[1] else None
    if partly is not None and partly.parts:
        steps.take(partly)
    if conversation.messages:
        yield conversation
    told = taken_back.conversation
    begin = len(told.messages)
    for row in undone:
        taken_back.take(row)
    if any(message.role == "assistant" for message in told.messages[begin:]):
        undo_from(told, begin)
        yield told
    else:
        conversation.lost("taken back before an answer", f"session.revert={session.id}")


def _revert(cell: Any, conversation: Conversation) -> tuple[str, str | None] | None:
    """Return the message, and the part in it, from which on the user took back what was said."""
    if cell in (None, "", "null"):
        return None
    try:
        body = cells.mapping(cells.parse_json(cell))
    except ValueError:
        body = {}
    message, part = body.get("messageID"), body.get("partID")
    if not isinstance(message, str):
        conversation.lost("unreadable revert", f"session.revert={conversation.thread}")
        return None
    return message, part if isinstance(part, str) else None


class _Rows:
    """The messages of one session after the other."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        self.messages = self.parts = ""
        self.newer = query_v2(db)
        if base.has(db, "message", "id", "session_id", "data"):
            picked = base.picked(db, "message", ("time_created",), "m")
            order = "ORDER BY m.time_created, m.id, m.rowid" if picked.startswith("m.") else "ORDER BY m.id, m.rowid"
            self.messages = f"SELECT m.rowid, m.id, {picked}, m.data FROM message m WHERE m.session_id = ? {order}"
            if base.has(db, "part", "id", "message_id", "data"):
                self.parts = (
                    "SELECT m.rowid, p.id, p.data FROM message m CROSS JOIN part p ON p.message_id = m.id"
                    f" WHERE m.session_id = ? {order}, p.id"
                )

    def holds(self, session: Session, message: str) -> bool:
        """Tell whether a session has a message of this id."""
        if session.table is None:
            return False
        query = f"SELECT 1 FROM {session.table} WHERE session_id = ? AND id = ?"
        return self.db.execute(query, (session.key, message)).fetchone() is not None

    def of(self, session: Session, conversation: Conversation) -> Iterator[Row]:
        """Yield a session's messages in order; those that cannot be read are reported and have `data` None."""
        if session.table == "message" and self.messages:
            yield from self._older(session.key, conversation)
        elif session.table == "session_message" and self.newer:
            yield from rows_v2(self.db.execute(self.newer, (session.key,)), conversation)

    def _older(self, session: Any, conversation: Conversation) -> Iterator[Row]:
        """Yield the messages, each with its parts; both are read in the same order, side by side."""
        parts = groupby(self.db.execute(self.parts, (session,)) if self.parts else (), key=itemgetter(0))
        of, next_parts = next(parts, (None, ()))
        for rowid, key, created, data in self.db.execute(self.messages, (session,)):
            found = []
            if of == rowid:
                for _, number, cell in next_parts:
                    name = str(cells.text(number))
                    found.append(Part(name, _object(conversation, cell, "part", f"part.data={name}")))
                of, next_parts = next(parts, (None, ()))
            name = str(cells.text(key))
            yield Row(name, created, _object(conversation, data, "message", f"message.data={name}"), found)


def _object(conversation: Conversation, cell: Any, what: str, place: str) -> dict[str, Any] | None:
    try:
        body = cells.parse_json(cell)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        conversation.lost(f"unreadable {what}", place)
        return None
    return body
