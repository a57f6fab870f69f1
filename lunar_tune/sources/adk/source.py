"""Google ADK's session databases: one JSON document an event (SqliteSessionService, DatabaseSessionService since 1.22)
and the columns of before.

An event is one message. What a rewind took back is a path of its own with an `undo`. Pieces of an answer that streams
are left to the whole; requests for credentials and confirmations are scaffolding, and what they carry is not read.
The older tables' pickled columns are never touched; their times are the agent's local ones and are read as UTC.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lunar_tune.artefacts import Verdict
from lunar_tune.episodes import Episode
from lunar_tune.seams import Report
from lunar_tune.sources import base
from lunar_tune.sources.adk.events import say
from lunar_tune.sources.core import cells, keyed
from lunar_tune.sources.core.conversation import Conversation
from lunar_tune.sources.core.forks import Reported, with_retries
from lunar_tune.sources.core.keyed import Key
from lunar_tune.sources.core.trees import not_repeated, path_to

KEY = ("app_name", "user_id", "session_id")
EVENT = ("id", "invocation_id", "timestamp")
COLUMNS = ("author", "partial", "error_code", "error_message", "interrupted", "branch")
DOCUMENTS = ("content", "input_transcription", "output_transcription")
SESSION = ("app_name", "user_id", "id", "create_time", "update_time")


class AdkSource:
    """Reads the sessions of ADK agents."""

    name = "adk"
    lacks = "the instructions, the tools' schemas, ratings; before schema 1 also models, rewinds and compactions"

    def places(self) -> list[Path]:
        """Return where `adk web` and `adk run` keep the sessions of the folder they are started in."""
        return [Path.cwd() / ".adk" / "session.db"]

    def recognises(self, db: sqlite3.Connection) -> bool:
        """Tell from the tables alone whether this is the format."""
        return base.has(db, "events", *KEY, "id", "invocation_id", "event_data") or base.has(
            db, "events", *KEY, "id", "invocation_id", "author", "content"
        )

    def threads(self, db: sqlite3.Connection) -> Iterator[tuple[str, str]]:
        """Yield each session with its number of events, the last one, and its own times; events are only ever added."""
        for name, sessions in _by_name(_sessions(db)).items():
            yield name, base.stamp([(s.key, s.events, s.last, s.created, s.updated) for s in sessions])

    def read(
        self, db: sqlite3.Connection, path: Path, report: Report, only: Collection[str] | None = None
    ) -> Iterator[Episode]:
        """Yield the sessions in the order of their start."""
        named = _by_name(_sessions(db))
        wanted = [(session, name) for name, those in named.items() if only is None or name in only for session in those]
        keys = None if only is None else {session.key for session, _ in wanted}
        rowids = keyed.conversations(db, "events", KEY, "timestamp", keys)
        columns = base.columns(db, "events")
        columns_of = (*EVENT, "event_data") if "event_data" in columns else (*EVENT, *COLUMNS, *DOCUMENTS)
        for session, name in sorted(wanted, key=lambda pair: pair[0].start):
            if not session.events:
                report(Verdict(name, "read", "a conversation without messages"))
                continue
            rows = keyed.rows(db, "events", columns_of, rowids.get(session.key, ()))
            yield from _Reading(path, report, name).episodes(rows, session.start, "event_data" in columns)
        if only is None:
            for (key,) in db.execute("SELECT id FROM events WHERE session_id IS NULL ORDER BY rowid"):
                report(Verdict("", "read", "an event of no session", f"events.id={keyed.name(key)}"))


@dataclass(frozen=True, slots=True)
class _Session:
    """What is known of a session without its events' content."""

    key: Key
    events: int
    last: int | None
    created: Any
    updated: Any
    start: str


def _sessions(db: sqlite3.Connection) -> list[_Session]:
    """Return the sessions, those with events first."""
    own: dict[Key, tuple[Any, Any]] = {}
    if base.has(db, "sessions", *SESSION[:3]):
        for *key, created, updated in db.execute(f"SELECT {base.picked(db, 'sessions', SESSION)} FROM sessions"):
            own.setdefault(tuple(key), (created, updated))
    counts = keyed.counts(db, "events", KEY)
    found = []
    for key in dict.fromkeys([*counts, *own]):
        if key[2] is None:
            continue
        events, last = counts.get(key, (0, None))
        created, updated = own.get(key, (None, None))
        start = cells.timestamp(created)
        if start is None and events:
            query = "SELECT min(timestamp) FROM events WHERE app_name IS ? AND user_id IS ? AND session_id IS ?"
            start = cells.timestamp(db.execute(query, key).fetchone()[0])
        found.append(_Session(key, events, last, created, updated, start or ""))
    return found


def _by_name(sessions: Iterable[_Session]) -> dict[str, list[_Session]]:
    """Return the sessions by their id, by app, user and id where several have the same one."""
    same: dict[str, list[_Session]] = {}
    for session in sessions:
        same.setdefault(keyed.name(session.key[2]), []).append(session)
    named: dict[str, list[_Session]] = {}
    for name, those in same.items():
        for session in those:
            whole = "/".join(keyed.name(part) for part in session.key)
            named.setdefault(name if len(those) == 1 else whole, []).append(session)
    return named


@dataclass(frozen=True, slots=True)
class _Event:
    id: str
    invocation: Any
    body: Mapping[str, Any]
    at: Any
    place: str


@dataclass(frozen=True, slots=True)
class _Path:
    """The events, by number, of one way the session went; from `undone` on they were taken back by the event `end`."""

    end: str
    events: tuple[int, ...]
    undone: int | None = None


class _Reading:
    """One session while it is read."""

    def __init__(self, path: Path, report: Report, thread: str) -> None:
        self.path, self.report, self.thread = path, report, thread
        self.reported = Reported(report)

    def episodes(self, rows: Iterable[tuple[Any, ...]], start: str, whole: bool) -> Iterator[Episode]:
        """Yield what was taken back, each way under the event that did it, then what was said to the end."""
        events = [event for row in rows if (event := self._event(row, whole)) is not None]
        paths = self._paths(events)
        kept = [paths[n] for n in not_repeated([path.events for path in paths])]
        if not kept:
            self._lost("a conversation without messages", "")
        told = [self._episode([events[n] for n in path.events], path, start) for path in kept]
        yield from with_retries([episode for episode in told if episode is not None])

    def _paths(self, events: Sequence[_Event]) -> list[_Path]:
        """Return the ways the session went, that to its end last.

        A rewind goes to where the session was before an invocation's first event, whether or not that was taken back.
        """
        parents: dict[int, int | None] = {}
        before: list[int | None] = []  # what each event followed
        first: dict[Any, int] = {}
        paths: list[_Path] = []
        head: int | None = None
        for number, event in enumerate(events):
            before.append(head)
            first.setdefault(keyed.name(event.invocation), number)
            actions = cells.mapping(event.body.get("actions"))
            target = actions.get("rewind_before_invocation_id")
            if target:
                back = first.get(keyed.name(target), number)
                if back < number:
                    nodes = path_to(parents, head).nodes if head is not None else ()
                    undone = next((place for place, node in enumerate(nodes) if node >= back), None)
                    if undone is not None:
                        paths.append(_Path(event.id, nodes, undone))
                    head = before[back]
            elif actions.get("compaction"):
                self._lost("a compaction summary", event.place)
            elif event.body.get("partial") not in (True, 1):
                parents[number] = head
                head = number
        nodes = path_to(parents, head).nodes if head is not None else ()
        return [*_merged(paths), _Path("", nodes)]

    def _event(self, row: Sequence[Any], whole: bool) -> _Event | None:
        """Return an event; None (reported) when it cannot be read."""
        key, invocation, at = row[:3]
        name = keyed.name(key)
        if whole:
            place = f"events.event_data={name}"
            body = self._json(row[3], place, needed=True)
            if not isinstance(body, dict):
                return None
            return _Event(name, invocation, body, body.get("timestamp") or at, place)
        body = {column: cell for column, cell in zip(COLUMNS, row[3:], strict=False) if cell is not None}
        for column, cell in zip(DOCUMENTS, row[3 + len(COLUMNS) :], strict=True):
            if cell is not None:
                body[column] = self._json(cell, f"events.{column}={name}")
        return _Event(name, invocation, body, at, f"events.content={name}")

    def _episode(self, events: Sequence[_Event], path: _Path, start: str) -> Episode | None:
        thread = f"{self.thread}#{path.end}" if path.end else self.thread
        talk = Conversation(AdkSource.name, self.path, thread, self.reported.for_path(), group=self.thread)
        talk.started_at = start or None
        for number, event in enumerate(events):
            first = len(talk.messages)
            say(talk, event.body, event.at, event.place)
            if path.undone is not None and number >= path.undone:
                for index in range(first, len(talk.messages)):
                    if talk.messages[index].role == "assistant":
                        talk.judge("undo", message=index, note="rewound")
        return talk.episode()

    def _json(self, cell: Any, place: str, needed: bool = False) -> Any:
        """Return the document in a cell; None, reported, when it cannot be read or is not the object that is needed."""
        try:
            document = cells.parse_json(cell)
        except ValueError:
            document, needed = None, True
        if needed and not isinstance(document, dict):
            self._lost("unreadable event", place)
            return None
        return document

    def _lost(self, reason: str, place: str) -> None:
        self.report(Verdict(self.thread, "read", reason, place))


def _merged(paths: Sequence[_Path]) -> list[_Path]:
    """Leave out a path that was only taken back further; what was taken back of it was taken back of the longer one."""
    merged: list[_Path] = []
    for path in paths:
        last = merged[-1] if merged else None
        if last is not None and last.events[: len(path.events)] == path.events:
            earlier = min(place for place in (last.undone, path.undone) if place is not None)
            merged[-1] = replace(last, undone=earlier)
        else:
            merged.append(path)
    return merged
