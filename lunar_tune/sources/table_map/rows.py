"""The rows of the table of messages: which conversations there are, in the order of their start, and their cells.

First only keys and times are read and put in order, then the rows of some conversations at a time, so that no more than
these are ever in memory. Tables without row numbers (views, WITHOUT ROWID) are read by the conversation's own key.
"""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

from lunar_tune.sources import base
from lunar_tune.sources.core import cells
from lunar_tune.sources.table_map.words import name
from lunar_tune.table_map import TableMap

AT_ONCE = 500  # rows, or one conversation; without row numbers, where each turn may be a scan, ten times as many
WHOLE = re.compile(r"-?[0-9]{1,19}")


class Row(NamedTuple):
    """A row's number and its cells by the map's names; None for what is not mapped or not there."""

    number: int | None
    role: Any
    content: Any
    prompt: Any
    answer: Any
    id: Any
    time: Any
    model: Any
    error: Any
    finish: Any
    reasoning: Any
    tool_calls: Any
    tool_call_id: Any
    tool_name: Any
    tool_arguments: Any
    rating: Any
    rating_note: Any
    system: Any

    @property
    def place(self) -> str:
        """Where the row stands in its table."""
        return f"rowid={self.number}" if self.number is not None else f"id={name(self.id)[:40]}"


@dataclass(slots=True)
class Place:
    """Where a conversation's rows are: their numbers in order, or else what stands in the column of its key."""

    thread: str
    started_at: str | None
    numbers: array[int] = field(default_factory=lambda: array("q"))
    keys: list[Any] = field(default_factory=list)
    count: int = 0


class Messages:
    """The table of messages of an open log."""

    def __init__(self, db: sqlite3.Connection, spec: TableMap) -> None:
        self.db, self.spec = db, spec
        self.there = base.columns(db, spec.table)
        self.table = base.quoted(spec.table)
        self.number = row_number(db, spec.table)
        self.key = self.column("thread" if spec.thread else "id")
        if self.key == "NULL" and not spec.thread:
            self.key = self.number
        places = [column for column in map(self.column, ("order", "time")) if column != "NULL"][:1]
        places += [self.number] if self.number != "NULL" else []
        self.order = f"ORDER BY {', '.join(places)}" if places else ""

    def column(self, named: str) -> str:
        """Return a field's column as SQL, NULL when it is not mapped or not there."""
        return column(self.there, getattr(self.spec, named))

    def conversations(self, started: Mapping[str, str | None], only: Collection[str] | None) -> list[Place]:
        """Return where the conversations are, in the order of their start; "" is the place of rows of none.

        Args:
            started: when each began, where that is known; else its first message that has a time says it.
            only: the conversations that are wanted, None for all.
        """
        condition, wanted = among(self.db, self.key, only)
        found: dict[str, Place] = {}
        for key, number, time in self.db.execute(
            f"SELECT {self.key}, {self.number}, {self.column('time')} FROM {self.table} WHERE {condition} {self.order}",
            wanted,
        ):
            thread = name(key)
            if only is not None and thread not in only:
                continue
            place = found.get(thread)
            if place is None:
                place = found[thread] = Place(thread, started.get(thread))
            if place.started_at is None:
                place.started_at = cells.timestamp(time)
            place.count += 1
            if number is not None:
                place.numbers.append(number)
            elif key not in place.keys:
                place.keys.append(key)
        return sorted(found.values(), key=lambda place: place.started_at or "")

    def rows(self, places: Iterable[Place]) -> Iterator[tuple[Place, Iterator[Row]]]:
        """Yield each conversation with its rows in order; use them up before you ask for the next."""
        numbered = self.number != "NULL"
        group: list[Place] = []
        waiting = 0
        for place in places:
            if group and waiting + place.count > (AT_ONCE if numbered else 10 * AT_ONCE):
                yield from self._numbered(group) if numbered else self._keyed(group)
                group, waiting = [], 0
            group.append(place)
            waiting += place.count
        if group:
            yield from self._numbered(group) if numbered else self._keyed(group)

    def _numbered(self, places: list[Place]) -> Iterator[tuple[Place, Iterator[Row]]]:
        numbers = json.dumps([number for place in places for number in place.numbers])
        rows = self.db.execute(
            f"SELECT {self._picked()} FROM json_each(?) j CROSS JOIN {self.table} m ON m.{self.number} = j.value"
            " ORDER BY j.key",
            (numbers,),
        )
        for place in places:
            yield place, map(Row._make, islice(rows, place.count))

    def _keyed(self, places: list[Place]) -> Iterator[tuple[Place, Iterator[Row]]]:
        keys = [key for place in places for key in place.keys]
        found: dict[str, list[Row]] = {}
        for start in range(0, len(keys), AT_ONCE):
            some = keys[start : start + AT_ONCE]
            wanted = f"m.{self.key} IN ({', '.join('?' * len(some))})" + (f" OR m.{self.key} IS NULL" * (None in some))
            query = f"SELECT m.{self.key}, {self._picked()} FROM {self.table} m WHERE {wanted} {self.order}"
            for key, *values in self.db.execute(query, some):
                found.setdefault(name(key), []).append(Row._make(values))
        for place in places:
            yield place, iter(found.pop(place.thread, ()))

    def _picked(self) -> str:
        columns = [self.number, *map(self.column, Row._fields[1:])]
        return ", ".join("NULL" if named == "NULL" else f"m.{named}" for named in columns)


def column(there: Collection[str], named: str | None) -> str:
    """Return a column as SQL, NULL when there is none of the name."""
    return base.quoted(named) if named is not None and named in there else "NULL"


def row_number(db: sqlite3.Connection, table: str) -> str:
    """Return the name of the rows' number as SQL, NULL for views and tables that have none."""
    there = {named.lower() for named in base.columns(db, table)}
    for named in ("rowid", "_rowid_", "oid"):
        if named not in there:  # else it is somebody's own column
            try:
                db.execute(f"SELECT {named} FROM {base.quoted(table)} LIMIT 0")
            except sqlite3.OperationalError:
                return "NULL"
            is_view = db.execute("SELECT 1 FROM sqlite_master WHERE type = 'view' AND name = ?", (table,)).fetchone()
            return "NULL" if is_view else named  # old SQLites give views a number that is always NULL
    return "NULL"


def among(db: sqlite3.Connection, key: str, only: Collection[str] | None) -> tuple[str, tuple[str, ...]]:
    """Return an SQL condition that a key may be one of those wanted, and its parameters.

    It lets through too many where a name does not say what stands in the column; compare names afterwards.
    """
    if only is None or not all(map(_exact, only)):
        return "1", ()
    with contextlib.suppress(sqlite3.OperationalError):  # it is there already, and in use
        db.create_function("unhexed", 1, _unhexed, deterministic=True)
    ids = json.dumps([*only, *(int(wanted) for wanted in only if WHOLE.fullmatch(wanted))])
    listed = "SELECT {} FROM json_each(?)"
    values = (listed.format("value"), listed.format("CAST(value AS BLOB)"), listed.format("unhexed(value)"))
    return f"{key} IN ({' UNION ALL '.join(values)})", (ids, ids, ids)


def _exact(wanted: str) -> bool:
    """Tell whether a name can only come from the text, whole number or bytes that it looks like."""
    if WHOLE.fullmatch(wanted):
        return abs(int(wanted)) < 2**63  # what SQLite can hold as a whole number
    try:
        float(wanted)
    except ValueError:
        return "\ufffd" not in wanted
    return False


def _unhexed(value: Any) -> bytes | None:
    try:
        return bytes.fromhex(value) if isinstance(value, str) else None
    except ValueError:
        return None
