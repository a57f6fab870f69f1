"""hermes-agent's sessions: which continue each other after a compaction, which were branched off, what has changed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lunar_tune.artefacts import Verdict
from lunar_tune.seams import Report
from lunar_tune.sources import base
from lunar_tune.sources.core import cells, forks, trees

SESSION = ("id", "source", "model", "parent_session_id", "started_at", "ended_at", "end_reason", "system_prompt_hash")


@dataclass(frozen=True, slots=True)
class Session:
    """A row of `sessions`; `key` is its id as stored, `prompt` how long its prompt is and the hash of a shared one."""

    key: Any
    id: str
    source: str | None
    model: str | None
    parent: str | None
    started: str | None
    ended: str | None
    end_reason: str | None
    branched: str | None
    delegated: bool
    prompt: tuple[Any, Any]
    readable: bool


@dataclass(frozen=True, slots=True)
class Chain:
    """The sessions that one conversation ran through, oldest first."""

    thread: str
    group: str
    sessions: tuple[Session, ...]


class Sessions:
    """All sessions and how they hang together; a family is what continues one session, under its id."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        self.known: dict[str, Session] = {}
        self.strays: list[tuple[str, str, str]] = []  # (thread, reason, place)
        for (
            rowid,
            valid,
            length,
            key,
            source,
            model,
            parent,
            started,
            ended,
            end,
            digest,
            branched,
            delegated,
        ) in db.execute(_query(db)):
            thread = cells.text(key)
            if not thread or thread in self.known:
                self.strays.append((thread or "", "a session without an id of its own", f"sessions.rowid={rowid}"))
                continue
            self.known[thread] = Session(
                key, thread, cells.text(source), cells.text(model), cells.text(parent), self._start(key, started),
                cells.timestamp(ended), cells.text(end), cells.text(branched), delegated is not None,
                (length, digest), bool(valid),
            )  # fmt: skip
        self.families: dict[str, list[tuple[str, ...]]] = {}
        self.round: set[str] = set()
        for path in trees.leaf_paths({session.id: self._continued(session) for session in self.known.values()}):
            self.families.setdefault(path.nodes[0], []).append(path.nodes)
            if path.problem:
                self.round.add(path.nodes[0])
        above = ((session.id, self._continued(session) or self._branched(session)) for session in self.known.values())
        self._above = {thread: parent for thread, parent in above if parent in self.known and parent is not None}

    def chains(self, root: str) -> list[Chain]:
        """Return the conversations of a family; of several continuations the current one first."""
        paths = sorted(self.families[root], key=self._current, reverse=True)
        group = forks.root(root, self._above)
        return [
            Chain(root if n == 0 else f"{root}#{path[-1]}", group, tuple(self.known[thread] for thread in path))
            for n, path in enumerate(paths)
        ]

    def roots(self) -> list[str]:
        """Return the families in the order of their start."""
        return sorted(self.families, key=lambda root: self.known[root].started or "")

    def tell_strays(self, report: Report) -> None:
        """Report what belongs to no session, and sessions that nothing can belong to."""
        for thread, reason, place in self.strays:
            report(Verdict(thread, "read", reason, place))
        known = {session.key for session in self.known.values()}
        for (key,) in self.db.execute("SELECT DISTINCT session_id FROM messages"):
            if key not in known:
                thread = cells.text(key) or ""
                report(Verdict(thread, "read", "messages of no session", f"messages.session_id={thread}"))

    def tell_losses(self, root: str, report: Report) -> None:
        """Report what could not be read of a family's sessions."""
        if root in self.round:
            reason = "sessions that continue each other in a circle"
            report(Verdict(root, "read", reason, f"sessions.parent_session_id={root}"))
        for thread in dict.fromkeys(thread for path in self.families[root] for thread in path):
            if not self.known[thread].readable:
                report(Verdict(thread, "read", "unreadable model_config", f"sessions.model_config={thread}"))

    def stamps(self) -> Iterator[tuple[str, str]]:
        """Yield each family with its sessions' cells, their rows, how many of them are active, and the reactions."""
        grown, reactions = _grown(self.db), _reactions(self.db)
        for root in self.roots():
            sessions = [self.known[thread] for path in sorted(self.families[root]) for thread in path]
            rows = [(session, grown.get(session.key), reactions.get(session.key)) for session in sessions]
            yield root, base.stamp(forks.root(root, self._above), rows)

    def _start(self, key: Any, started: Any) -> str | None:
        """Return when a session started, from its first message where it does not say."""
        at = cells.timestamp(started)
        if at is None and base.has(self.db, "messages", "timestamp"):
            row = self.db.execute("SELECT min(timestamp) FROM messages WHERE session_id = ?", (key,)).fetchone()
            at = cells.timestamp(row[0])
        return at

    def _continued(self, session: Session) -> str | None:
        """Return the session that this one continues after a compaction."""
        parent = self.known.get(session.parent or "")
        if parent is None or parent.end_reason != "compression" or session.source == "tool":
            return None
        return None if session.branched or session.delegated else parent.id

    def _branched(self, session: Session) -> str | None:
        if session.branched or session.delegated:
            return None if session.delegated else session.branched
        parent = self.known.get(session.parent or "")
        return parent.id if parent is not None and parent.end_reason == "branched" else None

    def _current(self, path: tuple[str, ...]) -> tuple[int, bool, str]:
        tip = self.known[path[-1]]
        return len(path), tip.ended is None, tip.started or ""


def _query(db: sqlite3.Connection) -> str:
    """Of `model_config` only the links between sessions are read; the rest may be anybody's settings."""
    valid, links = "1", "NULL, NULL"
    if base.has(db, "sessions", "model_config"):
        valid = "(model_config IS NULL OR json_valid(model_config))"
        links = ", ".join(
            f"CASE WHEN json_valid(model_config) THEN json_extract(model_config, '$.{name}') END"
            for name in ("_branched_from", "_delegate_from")
        )
    own = f"{valid}, length(system_prompt), {base.picked(db, 'sessions', SESSION)}, {links}"
    return f"SELECT rowid, {own} FROM sessions ORDER BY rowid"


def _grown(db: sqlite3.Connection) -> dict[Any, tuple[Any, ...]]:
    """Return, for each session, (rows, last row, active rows); an index holds all of it."""
    active = "total(active)" if base.has(db, "messages", "active") else "NULL"
    query = f"SELECT session_id, count(*), max(rowid), {active} FROM messages GROUP BY session_id"
    return {key: tuple(row) for key, *row in db.execute(query)}


def _reactions(db: sqlite3.Connection) -> dict[Any, str]:
    """Return what stands for each session's reactions; they are written into a message's row, without a time."""
    found: dict[Any, str] = {}
    if base.has(db, "messages", "display_metadata"):
        # a NULL is seen in a row's header, so that the text before it is not read
        query = "SELECT session_id, rowid, display_metadata FROM messages WHERE display_metadata IS NOT NULL"
        for key, rowid, cell in db.execute(f"{query} AND instr(display_metadata, 'reactions') ORDER BY rowid"):
            found[key] = base.stamp(found.get(key), rowid, cell)
    return found
