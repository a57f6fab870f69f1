"""Anybody's own tables, read by a few lines of TOML that say which column is what.

    [[harvest.table_map]]
    name = "mybot"
    table = "chat_log"
    thread = "session"                       # the conversation's id
    role = "who"                             # or, for tables with an exchange a row: prompt and answer
    content = "body"
    time = "ts"
    order = "id"                             # without it by time, then as the rows stand
    roles = { human = "user", bot = "assistant" }                # "*" is every other word
    system = "You are Bot."                  # a column of the table, else the text itself
    threads = { table = "sessions", id = "id", system = "prompt", tools = "tools", started_at = "began" }
    feedback = { table = "votes", message = "log_id", rating = "vote" }   # needs id, the messages' key

Content may be text or a JSON list of content blocks. Only the columns that are named are read. A message that is
changed in place is seen as a change where `updated` names a column that changes with it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator
from pathlib import Path

from lunar_tune.artefacts import Verdict
from lunar_tune.episodes import Episode
from lunar_tune.seams import Report
from lunar_tune.sources import base
from lunar_tune.sources.core.conversation import Conversation
from lunar_tune.sources.table_map.reading import Reading
from lunar_tune.sources.table_map.rows import Messages
from lunar_tune.sources.table_map.side_tables import Head, Threads, votes
from lunar_tune.sources.table_map.stamps import stamps
from lunar_tune.table_map import TableMap


class TableMapSource:
    """Reads the tables that one map names."""

    def __init__(self, spec: TableMap) -> None:
        self.spec = spec
        self.name = spec.name
        told = {"system": "the system prompt", "tool_calls": "tool calls", "model": "models", "time": "times"}
        there = {"system"} if spec.threads is not None and spec.threads.system else set()
        missing = [words for field, words in told.items() if not getattr(spec, field) and field not in there]
        self.lacks = ", ".join(missing) or "what the map does not name"

    def recognises(self, db: sqlite3.Connection) -> bool:
        """Tell whether the tables are there with the columns that a conversation needs."""
        return self.misfit(db) is None

    def misfit(self, db: sqlite3.Connection) -> str | None:
        """Return what a conversation needs and the database does not have, None when it is all there."""
        spec = self.spec
        needed = [(spec.table, name) for name in (spec.thread, spec.role, spec.content, spec.prompt, spec.answer)]
        needed += [(spec.threads.table, spec.threads.id)] if spec.threads is not None else []
        for table, name in needed:
            there = base.columns(db, table)
            if not there:
                return f"there is no table {table!r}"
            if name is not None and name not in there:
                return f"the table {table!r} has no column {name!r}"
        if Messages(db, spec).key == "NULL":
            return f"the rows of {spec.table!r} have no numbers: it must name thread or id"
        return None

    def threads(self, db: sqlite3.Connection) -> Iterator[tuple[str, str]]:
        """Yield each conversation with its number of messages, the latest of them, its own row and its ratings."""
        return stamps(db, self.spec)

    def read(
        self, db: sqlite3.Connection, path: Path, report: Report, only: Collection[str] | None = None
    ) -> Iterator[Episode]:
        """Yield the conversations in the order of their start."""
        only = None if only is None else set(only)
        if only is None:
            self._missing(db, report)
        table = Messages(db, self.spec)
        threads = Threads(db, self.spec.threads, only) if self.spec.threads is not None else None
        families = threads.families if threads is not None else {}
        judged = votes(db, self.spec.feedback)
        prompt = self.spec.system if self.spec.system not in table.there else None
        places = table.conversations({name: family.started_at for name, family in families.items()}, only)
        for place, rows in table.rows(places):
            if not place.thread:
                for row in rows:
                    report(Verdict("", "read", "a message of no conversation", f"{self.spec.table}.{row.place}"))
                continue
            said = Conversation(self.name, path, place.thread, report)
            said.started_at = place.started_at
            said.group = families[place.thread].root if place.thread in families else None
            reading = Reading(self.spec, said, judged, prompt)
            reading.head(threads.head(place.thread) if threads is not None else Head())
            episode = reading.episode(rows)
            if episode is not None:
                yield episode
        read = {place.thread for place in places}
        for name in families:
            if name not in read and (only is None or name in only):
                report(Verdict(name, "read", "a conversation without messages"))
        if only is None:
            for vote in (vote for cast in judged.values() for vote in cast if not vote.used):
                report(Verdict("", "read", "a rating of no message that was read", vote.place))

    def _missing(self, db: sqlite3.Connection, report: Report) -> None:
        for table, names in self.spec.columns().items():
            there = base.columns(db, table)
            for name in sorted(names - there):
                place = f"{table}.{name}"
                if name != self.spec.system or table != self.spec.table:
                    report(Verdict("", "read", "a mapped column that is not there", place))
                elif len(name.split()) == 1:  # a column misspelt, more likely than a prompt of one word
                    report(Verdict("", "read", "system is no column: taken as the prompt itself", place))
