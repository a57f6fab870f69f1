"""LangGraph's checkpoints in SQLite (SqliteSaver and its async kin), also those of deepagents.

Every step stores the whole state again, so only the newest checkpoint of each leaf is read; earlier ones only where the
agent then removed messages, to know what they were. The newest leaf has the thread's own id. What a graph took back is
a path of its own with an `undo`; a failed last step is an empty answer with its error; what sub-graphs kept to
themselves is not read. Delta channels are rebuilt from the writes since their last snapshot.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from lunar_tune.artefacts import Verdict
from lunar_tune.episodes import Episode
from lunar_tune.seams import Report
from lunar_tune.sources import base
from lunar_tune.sources.core import cells, langchain_messages
from lunar_tune.sources.core.checkpoint_cells import read_cell
from lunar_tune.sources.core.conversation import Conversation
from lunar_tune.sources.core.forks import with_retries
from lunar_tune.sources.core.trees import leaf_paths, not_repeated
from lunar_tune.sources.langgraph.history import Fields, Telling, Times, Write, applied, as_write, moment, tellings

WRITE = ("checkpoint_id", "task_path", "task_id", "idx", "type", "value")
KEY = "thread_id = (SELECT thread_id FROM checkpoints WHERE rowid = ?)"  # whatever stands there, also no clean text
OWN = "checkpoint_ns = ''"  # sub-graphs have a name there
USUAL, INPUT, ERROR = "messages", "__start__", "__error__"
ROOT = "__root__"  # the state of a graph that is nothing but messages


class LangGraphSource:
    """Reads the conversations of LangGraph agents."""

    name = "langgraph"
    lacks = "the tools' schemas, ratings, most system prompts, what sub-graphs kept to themselves"

    def places(self) -> list[Path]:
        """Return where deepagents keeps its sessions."""
        return [Path.home() / ".deepagents" / "sessions.db"]

    def recognises(self, db: sqlite3.Connection) -> bool:
        """Tell from the tables alone whether this is the format."""
        return base.has(db, "checkpoints", "thread_id", "checkpoint_ns", "checkpoint_id", "checkpoint") and base.has(
            db, "writes", "channel"
        )

    def threads(self, db: sqlite3.Connection) -> Iterator[tuple[str, str]]:
        """Yield each thread with the number and the newest of its checkpoints and writes, which a replaced one changes.

        No cell is decoded. A row that is changed in place is not seen: LangGraph replaces rows or adds them.
        """
        found: dict[str, list[Any]] = {}
        for thread, *newest in db.execute(
            "SELECT thread_id, checkpoint_ns, count(*), max(checkpoint_id), max(rowid) FROM checkpoints"
            " GROUP BY thread_id, checkpoint_ns"
        ):
            found.setdefault(_named(thread), []).append(newest)
        for thread, *newest in db.execute("SELECT thread_id, count(*), max(rowid) FROM writes GROUP BY thread_id"):
            if (name := _named(thread)) in found:
                found[name].append(newest)
        for name, parts in found.items():
            yield name, base.stamp(parts)

    def read(
        self, db: sqlite3.Connection, path: Path, report: Report, only: Collection[str] | None = None
    ) -> Iterator[Episode]:
        """Yield the threads in the order of their first checkpoint.

        Raises:
            MissingExtra: no library that reads msgpack is installed.
        """
        for row, thread in _begun(db, only):
            yield from _Thread(db, row, thread, path, report).episodes()
        if only is None:
            orphans = db.execute("SELECT thread_id FROM writes EXCEPT SELECT thread_id FROM checkpoints")
            for (thread,) in orphans:
                report(Verdict(_named(thread), "read", "writes of a thread without checkpoints", "writes.thread_id"))


def _begun(db: sqlite3.Connection, only: Collection[str] | None) -> list[tuple[int, str]]:
    """Return (a row, name) of each thread, or of those named, in the order of their first checkpoint."""
    query = "SELECT min(rowid), thread_id FROM checkpoints WHERE {} GROUP BY thread_id ORDER BY min(checkpoint_id)"
    wanted, names = base.among("thread_id", only)
    found = [(row, _named(thread)) for row, thread in db.execute(query.format(wanted), names)]
    if only is not None and {name for _, name in found} != set(only):  # an id that is no clean text has another name
        every = [(row, _named(thread)) for row, thread in db.execute(query.format("1"))]
        found = [(row, name) for row, name in every if name in only]
    return found


def _named(thread: Any) -> str:
    return cells.text(thread) or repr(thread)


_State = tuple[dict[str, Any], dict[str, Any]]


class _Thread:
    """One thread while it is read."""

    def __init__(self, db: sqlite3.Connection, row: int, thread: str, path: Path, report: Report) -> None:
        self.db, self.row, self.thread, self.path, self._report = db, row, thread, path, report
        self.channel = USUAL
        self._reported: set[tuple[str, str]] = set()
        self._writes: dict[str, list[Write]] | None = None
        self._decoded: tuple[str, _State | None] = "", None

    def episodes(self) -> Iterator[Episode]:
        branches = list(leaf_paths(self._parents()))
        if not branches:
            self.lost("a thread without a state of its own", "checkpoints.checkpoint_ns")
            return
        self.channel = self._chosen_channel(branches[-1].nodes)
        found: list[tuple[Telling, tuple[str, ...]]] = []
        for branch in branches:
            if branch.problem == "cycle":
                self.lost("checkpoints in a ring", f"checkpoints.parent_checkpoint_id={branch.nodes[0]}")
            found += [(telling, branch.nodes) for telling in tellings(self._states(branch.nodes))]
        kept = [found[n] for n in not_repeated([telling.keys() for telling, _ in found])]
        if not kept:
            self.lost("a conversation without messages", "")
        told = [
            self._episode(telling, chain, self.thread if n == len(kept) - 1 else f"{self.thread}#{telling.checkpoint}")
            for n, (telling, chain) in enumerate(kept)
        ]
        yield from with_retries([episode for episode in told if episode is not None])

    def lost(self, reason: str, place: str) -> None:
        """Report once what forks have in common."""
        if (reason, place) not in self._reported:
            self._reported.add((reason, place))
            self._report(Verdict(self.thread, "read", reason, place))

    def _parents(self) -> dict[str, str | None]:
        """Return the parent of each checkpoint of the graph itself, the oldest first."""
        nested = self.db.execute(f"SELECT 1 FROM checkpoints WHERE {KEY} AND NOT {OWN} LIMIT 1", (self.row,))
        if nested.fetchone():
            self.lost("what sub-graphs said among themselves", "checkpoints.checkpoint_ns")
        names = base.picked(self.db, "checkpoints", ("checkpoint_id", "parent_checkpoint_id"))
        query = f"SELECT {names} FROM checkpoints WHERE {KEY} AND {OWN} ORDER BY checkpoint_id"
        return {str(key): str(parent) if parent else None for key, parent in self.db.execute(query, (self.row,))}

    def _chosen_channel(self, chain: Sequence[str]) -> str:
        """Return the channel that holds the conversation: `messages`, else the one with the most of them."""
        for key in reversed(chain):
            state = self._checkpoint(key)
            if state is None:
                continue
            values, versions = state
            counts = {n: _count(v) for n, v in values.items() if isinstance(v, list) and _listed(n)}
            deltas = [n for n in versions if n not in values and _listed(n) and ":" not in n]
            if USUAL in counts or USUAL in deltas:
                chosen = USUAL
            elif any(counts.values()):
                chosen = max(counts, key=lambda name: counts[name])
            elif deltas:
                chosen = max(deltas, key=lambda name: self._weight(name))
            else:
                continue
            if any(count for name, count in counts.items() if name != chosen):
                self.lost("another list of messages in the state", f"checkpoints.checkpoint={key}")
            return chosen
        return USUAL

    def _weight(self, channel: str) -> int:
        """Return how many messages were written into a channel."""
        return sum(_count(value if isinstance(value, list) else [value]) for _, value in self._values(channel))

    def _states(self, chain: Sequence[str]) -> Iterator[tuple[str, Sequence[Fields]]]:
        """Yield the state before each step that forgets something, and the last with what was under way."""
        written = self._written()
        for place, key in enumerate(chain[:-1]):
            if any(write.forgets for write in written.get(key, ())):
                yield key, self._state(chain, place)
        state = applied(self._state(chain, len(chain) - 1), written.get(chain[-1], ()))
        if any(langchain_messages.is_summary(message) for message in state):
            self.lost("a compaction summary", f"checkpoints.checkpoint={chain[-1]}")
        values, _ = self._checkpoint(chain[-1]) or ({}, {})
        asked = values.get(INPUT)
        if isinstance(asked, dict):
            asked = asked.get(self.channel)
        elif self.channel != ROOT:
            asked = None
        yield chain[-1], state if written.get(chain[-1]) else applied(state, [as_write(asked)])

    def _state(self, chain: Sequence[str], place: int) -> list[Fields]:
        """Return the messages at one checkpoint: as it stores them, else rebuilt from the newest before that does."""
        first, state = 0, []
        for at in range(place, -1, -1):
            values, _ = self._checkpoint(chain[at]) or ({}, {})
            if self.channel in values:
                stored = as_write(values[self.channel])
                if stored.unknown:
                    self.lost("a message of unknown form", f"checkpoints.checkpoint={chain[at]}")
                first, state = at, list(stored.messages)
                break
        return applied(state, [write for key in chain[first:place] for write in self._written().get(key, ())])

    def _checkpoint(self, key: str) -> _State | None:
        """Return the (values, versions) of a checkpoint's channels, None (reported) when it cannot be read."""
        if self._decoded[0] != key:  # the last one is asked for again and again
            self._decoded = key, self._decode(key)
        return self._decoded[1]

    def _decode(self, key: str) -> _State | None:
        query = f"SELECT {base.picked(self.db, 'checkpoints', ('type', 'checkpoint'))} FROM checkpoints"
        row = self.db.execute(f"{query} WHERE {KEY} AND {OWN} AND checkpoint_id = ?", (self.row, key)).fetchone()
        try:
            value = read_cell(*row) if row else None
        except ValueError as error:
            self.lost(f"unreadable checkpoint: {_why(error)}", f"checkpoints.checkpoint={key}")
            return None
        if not isinstance(value, dict) or not isinstance(value.get("channel_values"), dict):
            self.lost("unreadable checkpoint: no state", f"checkpoints.checkpoint={key}")
            return None
        versions = value.get("channel_versions")
        return value["channel_values"], versions if isinstance(versions, dict) else {}

    def _written(self) -> dict[str, list[Write]]:
        """Return what was written into the channel, by the checkpoint at which it was written."""
        if self._writes is None:
            self._writes = {}
            for key, value in self._values(self.channel):
                write = as_write(value)
                if write.unknown:
                    self.lost("a message of unknown form", f"writes.value={key}")
                self._writes.setdefault(key, []).append(write)
        return self._writes

    def _values(self, channel: str, checkpoint: str | None = None) -> Iterator[tuple[str, Any]]:
        """Yield (checkpoint, value) of the writes into a channel, those of a step in the order LangGraph applies."""
        query = f"SELECT {base.picked(self.db, 'writes', WRITE)} FROM writes WHERE {KEY} AND {OWN}"
        query += " AND channel = ?" + (" AND checkpoint_id = ?" if checkpoint is not None else "")
        place = (self.row, channel) if checkpoint is None else (self.row, channel, checkpoint)
        rows = self.db.execute(f"{query} ORDER BY checkpoint_id, task_path, task_id, idx", place)
        for key, _, task, index, kind, cell in rows:
            try:
                yield str(key), read_cell(kind, cell)
            except ValueError as error:
                self.lost(f"unreadable write: {_why(error)}", f"writes.value={key}/{task}/{index}")

    def _episode(self, telling: Telling, chain: Sequence[str], thread: str) -> Episode | None:
        talk = Conversation(LangGraphSource.name, self.path, thread, self._from_talk, group=self.thread)
        talk.started_at = moment(chain[0])
        place = f"checkpoints.checkpoint={telling.checkpoint}"
        times = self._times(chain).of(telling.messages)
        taken_back = None
        for number, (fields, at) in enumerate(zip(telling.messages, times, strict=True)):
            taken_back = len(talk.messages) if number == telling.undone else taken_back
            langchain_messages.say(talk, fields, place, at)
        for answer in _answers(talk, len(talk.messages) if taken_back is None else taken_back):
            talk.judge("undo", message=answer, note="removed from the state")
        if telling.checkpoint == chain[-1] and telling.messages:
            for _, error in self._values(ERROR, chain[-1]):
                said = cells.text(error) if isinstance(error, str) else None
                talk.say("assistant", at=moment(chain[-1]), error=said or "the step failed")
                break
        return talk.episode()

    def _times(self, chain: Sequence[str]) -> Times:
        """Return when the messages of a chain came: with the checkpoint after the one they were written at."""
        times = Times()
        for place, key in enumerate(chain):
            times.add(self._written().get(key, ()), moment(chain[min(place + 1, len(chain) - 1)]))
        return times

    def _from_talk(self, verdict: Verdict) -> None:
        self.lost(verdict.reason, verdict.detail)


def _answers(talk: Conversation, first: int) -> list[int]:
    """Return the last assistant message of each exchange from one message on."""
    found = []
    following = "user"
    for place in range(len(talk.messages) - 1, first - 1, -1):
        role = talk.messages[place].role
        if role == "assistant" and following == "user":
            found.append(place)
        following = role if role in ("assistant", "user") else following
    return found[::-1]


def _count(values: list[Any]) -> int:
    return sum(langchain_messages.message_fields(value) is not None for value in values)


def _listed(channel: str) -> bool:
    return channel == ROOT or not channel.startswith("__")


def _why(error: ValueError) -> str:
    """Return the reason, which is ours; a decoder's own words may quote the cell."""
    known = ("pickled", "encrypted", "in a form", "nested", "not msgpack", "no text")
    return str(error) if str(error).startswith(known) else "not JSON"
