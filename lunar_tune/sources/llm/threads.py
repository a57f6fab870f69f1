"""The content-addressed tables that simonw/llm writes since 0.32: turns of threads over a tree of messages.

A message names the one before it by its hash, so threads and forks share what they have in common. Threads that were
forked from one another are one family; every path of a family from a root to a leaf is one episode, and a path that
another goes on from is not told twice.
"""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from lunar_tune.artefacts import Verdict
from lunar_tune.episodes import Attachment, Episode
from lunar_tune.seams import Report
from lunar_tune.sources import base
from lunar_tune.sources.core.conversation import Conversation
from lunar_tune.sources.core.forks import root, with_retries
from lunar_tune.sources.core.trees import path_to
from lunar_tune.sources.llm.messages import Part, say
from lunar_tune.sources.llm.rows import GIVEN, Tools, attachment, batches, grouped, named

TURN = ("id", "thread_id", "parent_message_hash", "tip_message_hash", "model", "resolved_model", "datetime_utc")
PART = ("id", "type", "tool_name", "text", "payload")
BATCH = 64  # turns read together


@dataclass(slots=True)
class Family:
    """Threads that were forked from one another: the rows of their turns and of the threads themselves."""

    name: str
    turns: array[int] = field(default_factory=lambda: array("q"))
    threads: array[int] = field(default_factory=lambda: array("q"))


class Turn(NamedTuple):
    """One call of a model: it was given the messages up to `parent` and answered with those up to `tip`."""

    id: Any
    thread_id: Any
    parent: Any
    tip: Any
    model: Any
    resolved: Any
    at: Any

    @property
    def thread(self) -> str:
        """The thread's name; a turn of no thread is one of its own."""
        return named(self.thread_id or self.id)


class Threads:
    """The newer tables of a log."""

    def __init__(self, db: sqlite3.Connection, path: Path, report: Report, source: str) -> None:
        self.db, self.path, self.report, self.source = db, path, report, source
        self.there = base.has(db, "turns", "id", "tip_message_hash", "parent_message_hash") and base.has(
            db, "messages", "hash"
        )
        self.listed = base.has(db, "threads", "id", "tip_message_hash")
        self.tools = Tools(db)
        self.above: dict[str, str] = {}  # the thread that a thread was forked from
        if self.there and base.has(db, "threads", "id", "forked_from"):
            forks = db.execute("SELECT id, forked_from FROM threads WHERE forked_from IS NOT NULL")
            self.above = {named(thread): named(parent) for thread, parent in forks}

    def root(self, thread: str) -> str:
        """Return the name of a thread's family."""
        return root(thread, self.above)

    def stamps(self) -> Iterator[tuple[str, list[Any]]]:
        """Yield (family, number of turns and the newest) of each thread, then (family, pointer)."""
        if not self.there:
            return
        for query, names in self._by_thread(None):
            counted = f"SELECT name, count(*), max(turn) FROM ({query}) GROUP BY name ORDER BY min(turn)"
            for thread, *newest in self.db.execute(counted, names):
                yield self.root(named(thread)), [named(thread), *newest]
        if self.listed:
            pointers = base.picked(self.db, "threads", ("id", "tip_message_hash", "forked_from"))
            for thread, *pointer in self.db.execute(f"SELECT {pointers} FROM threads ORDER BY rowid"):
                yield self.root(named(thread)), [named(thread), *pointer]

    def families(self, only: Collection[str] | None) -> dict[str, Family]:
        """Return the families, or those named, in the order of their first turn."""
        if not self.there:
            return {}
        wanted = None if only is None else {*only, *(thread for thread in self.above if self.root(thread) in only)}
        found, seen = self._families(wanted)
        if wanted is not None and not wanted <= seen:  # an id that is no clean text has another name
            found = {name: family for name, family in self._families(None)[0].items() if name in wanted}
        return {name: family for name, family in found.items() if only is None or name in only}

    def _families(self, wanted: Collection[str] | None) -> tuple[dict[str, Family], set[str]]:
        found: dict[str, Family] = {}
        seen: set[str] = set()
        rows: list[tuple[int, str, bool]] = []
        for query, names in self._by_thread(wanted):
            rows += [(turn, named(thread), True) for turn, thread in self.db.execute(query, names)]
        rows.sort()
        if self.listed:
            condition, names = base.among("id", wanted)
            query = f"SELECT rowid, id FROM threads WHERE {condition} ORDER BY rowid"
            rows += [(row, named(thread), False) for row, thread in self.db.execute(query, names)]
        for row, thread, is_turn in rows:
            name = self.root(thread)
            family = found.get(name) or found.setdefault(name, Family(name))
            (family.turns if is_turn else family.threads).append(row)
            if wanted is not None:
                seen.add(thread)
        return found, seen

    def _by_thread(self, wanted: Collection[str] | None) -> list[tuple[str, tuple[str, ...]]]:
        """Return queries, with their parameters, of (turn, name) with a thread and of those without; both by index."""
        kinds = [("thread_id", "thread_id <> ''"), ("id", "(thread_id IS NULL OR thread_id = '')")]
        if not base.has(self.db, "turns", "thread_id"):
            kinds = [("id", "1")]
        queries = []
        for column, kind in kinds:
            condition, names = base.among(column, wanted)
            queries.append((f"SELECT rowid AS turn, {column} AS name FROM turns WHERE {kind} AND {condition}", names))
        return queries

    def episodes(self, families: Iterable[Family]) -> Iterator[tuple[Family, list[Episode]]]:
        """Yield each family's episodes, the oldest path first; some families are read together."""
        for batch in batches(((family, len(family.turns) + 1) for family in families), BATCH):
            shared = _Shared(self, batch)
            for family in batch:
                yield family, _Reading(self, family, shared).episodes()


class _Shared:
    """The rows of some families: turns and pointers by row, messages by hash with their parts, files and tools."""

    def __init__(self, log: Threads, families: Sequence[Family]) -> None:
        db = log.db
        rows = [row for family in families for row in family.turns]
        pointers = [row for family in families for row in family.threads]
        query = f"SELECT rowid, {base.picked(db, 'turns', TURN)} FROM turns WHERE rowid IN {GIVEN}"
        self.turns = {row: Turn(*found[0]) for row, found in grouped(db, query, rows).items()}
        self.tips: dict[int, list[tuple[Any, ...]]] = {}
        ends = f"SELECT tip_message_hash FROM turns WHERE rowid IN {GIVEN}"
        if log.listed:
            self.tips = grouped(db, f"SELECT rowid, id, tip_message_hash FROM threads WHERE rowid IN {GIVEN}", pointers)
            ends += f" UNION SELECT tip_message_hash FROM threads WHERE rowid IN {GIVEN}"
        names = base.picked(db, "messages", ("hash", "parent_hash", "role"), "m")
        parent = "m.parent_hash" if base.has(db, "messages", "parent_hash") else "NULL"
        found = grouped(
            db,
            f"WITH RECURSIVE up(hash) AS ({ends} UNION SELECT {parent} FROM messages m JOIN up ON m.hash = up.hash)"
            f" SELECT m.rowid, {names} FROM up JOIN messages m ON m.hash = up.hash",
            *((rows, pointers) if log.listed else (rows,)),
        )
        self.parents = {key: parent for ((key, parent, _),) in found.values()}
        self.roles = {key: role for ((key, _, role),) in found.values()}
        self.numbers = {key: row for row, ((key, _, _),) in found.items()}
        self.parts = self._parts(db, list(found))
        self.tools: dict[int, list[tuple[Any, ...]]] = {}
        if base.has(db, "turn_tools", "turn_id", "tool_id"):
            offered = "SELECT t.rowid, o.tool_id FROM turns t JOIN turn_tools o ON o.turn_id = t.id"
            self.tools = grouped(db, f"{offered} WHERE t.rowid IN {GIVEN} ORDER BY o.rowid", rows)

    def _parts(self, db: sqlite3.Connection, messages: Sequence[int]) -> dict[int, list[Part]]:
        """Return the parts of messages in order, their text put together."""
        of_message = "FROM messages m JOIN parts p ON p.message_hash = m.hash"
        here = f"WHERE m.rowid IN {GIVEN}"
        order = "ORDER BY p.position, p.rowid" if base.has(db, "parts", "position") else "ORDER BY p.rowid"
        query = f"SELECT m.rowid, p.rowid, {base.picked(db, 'parts', PART, 'p')} {of_message} {here} {order}"
        files: dict[int, list[Attachment]] = {}
        if base.has(db, "part_attachments", "part_id", "attachment_id") and base.has(db, "attachments", "id"):
            place = 'a."order", ' if base.has(db, "part_attachments", "order") else ""
            named_by = base.picked(db, "attachments", ("type", "path", "url"), "f")
            rows = grouped(
                db,
                f"SELECT p.rowid, {named_by} {of_message} JOIN part_attachments a ON a.part_id = p.id"
                f" JOIN attachments f ON f.id = a.attachment_id {here} ORDER BY {place}a.rowid",
                messages,
            )
            files = {part: [attachment(*row) for row in found] for part, found in rows.items()}
        found = {
            message: [Part(row, files.get(number, ())) for number, *row in parts]
            for message, parts in grouped(db, query, messages).items()
        }
        wanted = {ref for parts in found.values() for part in parts for ref in part.fragments()}
        if wanted and base.has(db, "fragments", "id", "content"):
            texts = grouped(db, f"SELECT id, content FROM fragments WHERE id IN {GIVEN}", wanted)
            for parts in found.values():
                for part in parts:
                    part.texts = {ref: texts[ref][0][0] for ref in part.fragments() if ref in texts}
        return found


class _Reading:
    """One family while it is read."""

    def __init__(self, log: Threads, family: Family, shared: _Shared) -> None:
        self.log, self.family, self.shared = log, family, shared
        self.turns: dict[Any, list[tuple[int, Turn]]] = {}  # by the message they end with
        self.owners: dict[Any, str] = {}  # the first thread that came to a message
        self.current: dict[str, Any] = {}  # where a thread stands
        self._reported: set[tuple[str, str]] = set()

    def episodes(self) -> list[Episode]:
        """Return the paths, the oldest first."""
        tips = self._tips()
        found = [self._episode(leaf, path) for leaf, path in self._paths(tips)]
        if not tips:
            self._lost("a conversation without messages", "")
        return with_retries([episode for episode in found if episode is not None])

    def _tips(self) -> list[Any]:
        """Return the messages that turns and pointers end with, the oldest first."""
        shared = self.shared
        tips: dict[Any, None] = {}
        for row in self.family.turns:
            turn = shared.turns[row]
            self.turns.setdefault(turn.tip, []).append((row, turn))
            self._end(turn.thread, turn.tip, f"turns.tip_message_hash={turn.id}", tips)
        for row in self.family.threads:
            for thread, tip in shared.tips.get(row, ()):
                if tip is not None:  # a thread that was begun and not used
                    self._end(named(thread), tip, f"threads.tip_message_hash={thread}", tips)
        return list(tips)

    def _end(self, thread: str, tip: Any, place: str, tips: dict[Any, None]) -> None:
        if tip not in self.shared.parents:
            self._lost("messages that are not there", place)
            return
        tips[tip] = None
        self.owners.setdefault(tip, thread)
        self.current[thread] = tip

    def _paths(self, tips: Sequence[Any]) -> Iterator[tuple[Any, tuple[Any, ...]]]:
        """Yield the leaves with the way to them; what only goes round in a circle is a way too."""
        parents = self.shared.parents
        inner: set[Any] = set()
        for tip in tips:
            at = parents[tip]
            while at is not None and at not in inner:
                inner.add(at)
                at = parents.get(at)
        told: set[Any] = set()
        leaves = [tip for tip in tips if tip not in inner]
        for leaf in (*leaves, *reversed(tips)):
            if leaf in told:
                continue
            path = path_to(parents, leaf)
            if path.problem:
                self._lost("a broken chain of messages", f"messages.parent_hash={path.nodes[0]}")
            told.update(path.nodes)
            yield leaf, path.nodes

    def _episode(self, leaf: Any, path: Sequence[Any]) -> Episode | None:
        thread = self.owners[leaf]
        name = thread if self.current[thread] == leaf else f"{thread}#{named(leaf)}"
        log, shared = self.log, self.shared
        talk = Conversation(log.source, log.path, name, log.report, group=self.family.name)
        turns = self._turns(thread, path)
        begin = 0
        for place, key in enumerate(path):
            if key in turns:
                self._say(talk, path[begin : place + 1], turns[key][1])
                begin = place + 1
        self._say(talk, path[begin:], None)
        offered = (key for row, _ in turns.values() for (key,) in shared.tools.get(row, ()))
        talk.offer(log.tools.specs(offered, name, log.report))
        talk.model = next((message.model for message in reversed(talk.messages) if message.model), None)
        return talk.episode()

    def _turns(self, thread: str, path: Iterable[Any]) -> dict[Any, tuple[int, Turn]]:
        """Return the turn that ends with each message of a path: the thread's own, else the oldest."""
        found: dict[Any, tuple[int, Turn]] = {}
        for key in path:
            if key in self.turns:
                ending = self.turns[key]
                found[key] = next((each for each in ending if each[1].thread == thread), ending[0])
        return found

    def _say(self, talk: Conversation, keys: Sequence[Any], turn: Turn | None) -> None:
        """Add the messages of a turn; only what comes after its input was said by its model."""
        given = keys.index(turn.parent) + 1 if turn is not None and turn.parent in keys else 0
        for place, key in enumerate(keys):
            parts = self.shared.parts.get(self.shared.numbers[key], ())
            model = (turn.resolved or turn.model) if turn is not None and place >= given else None
            say(talk, self.shared.roles[key], parts, key, turn.at if turn is not None else None, model)

    def _lost(self, reason: str, place: str) -> None:
        """Report once what paths have in common."""
        if (reason, place) not in self._reported:
            self._reported.add((reason, place))
            self.log.report(Verdict(self.family.name, "read", reason, place))
