"""The tables beside the messages: what is said of a conversation as a whole, and what somebody thought of a message."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from lunar_tune.sources import base
from lunar_tune.sources.core import cells
from lunar_tune.sources.table_map.rows import among, column, row_number
from lunar_tune.sources.table_map.words import name
from lunar_tune.table_map import FeedbackMap, ThreadMap

MOST_GENERATIONS = 50  # of forks; then the whole table is read


class Head(NamedTuple):
    """What a conversation's own row says, None for what is not mapped."""

    system: Any = None
    tools: Any = None
    model: Any = None


@dataclass(frozen=True, slots=True)
class Family:
    """Where a conversation's row is, when the conversation began and which one it was forked from at the first."""

    key: Any
    started_at: str | None
    root: str | None


class Threads:
    """The table of conversations of an open log; keys, times and parents are held, nothing else.

    `only` names the conversations that are wanted; their forebears are looked for one after the other.
    """

    def __init__(self, db: sqlite3.Connection, spec: ThreadMap, only: Collection[str] | None = None) -> None:
        self.db, self.spec = db, spec
        self.there = base.columns(db, spec.table)
        self.table = base.quoted(spec.table)
        self.number = row_number(db, spec.table)
        self.by = self.number if self.number != "NULL" else base.quoted(spec.id)
        self.families = self._families(only)

    def head(self, thread: str) -> Head:
        """Return what is said of a conversation; of two rows for one the first counts."""
        family = self.families.get(thread)
        if family is None:
            return Head()
        picked = ", ".join(column(self.there, getattr(self.spec, named)) for named in Head._fields)
        row = self.db.execute(f"SELECT {picked} FROM {self.table} WHERE {self.by} = ? LIMIT 1", (family.key,))
        return Head(*(row.fetchone() or ()))

    def _families(self, only: Collection[str] | None) -> dict[str, Family]:
        found: dict[str, tuple[Any, str | None]] = {}
        parents: dict[str, str] = {}
        wanted, asked, generations = only, set(only or ()), 0
        while wanted is None or wanted:
            for key, named, started, parent in self._rows(wanted):
                if named not in found:
                    found[named] = (key, started)
                    parents[named] = parent
            if wanted is None:
                break
            generations += 1
            wanted = set(parents.values()) - asked - {""} if generations < MOST_GENERATIONS else None
            asked.update(wanted or ())
        roots = _roots(parents)
        return {
            named: Family(key, started, roots[named] if roots[named] != named else None)
            for named, (key, started) in found.items()
            if only is None or named in only
        }

    def _rows(self, wanted: Collection[str] | None) -> Iterator[tuple[Any, str, str | None, str]]:
        """Yield (key, name, when it began, parent) of conversations, those that come first in the table first."""
        spec = self.spec
        picked = [self.by, *(column(self.there, named) for named in (spec.id, spec.started_at, spec.parent))]
        condition, parameters = among(self.db, base.quoted(spec.id), wanted)
        order = f" ORDER BY {self.number}" if self.number != "NULL" else ""
        query = f"SELECT {', '.join(picked)} FROM {self.table} WHERE {condition}{order}"
        for key, thread, started, parent in self.db.execute(query, parameters):
            named = name(thread)
            if named and (wanted is None or named in wanted):
                yield key, named, cells.timestamp(started), name(parent)


def _roots(parents: Mapping[str, str]) -> dict[str, str]:
    """Return the first of each one's forebears, be it in the table or not; of a circle the first by name."""
    roots: dict[str, str] = {}
    for start in parents:
        way: dict[str, None] = {}
        at = start
        while at not in roots and at not in way and parents.get(at):
            way[at] = None
            at = parents[at]
        if at in way:
            names = list(way)
            root = min(names[names.index(at) :])
        else:
            root = roots.get(at, at)
        roots.update(dict.fromkeys((*way, at), root))
    return roots


@dataclass(slots=True)
class Vote:
    """A row of the table of ratings; `place` says where it stands, `used` that its message was read."""

    rating: Any
    note: Any
    place: str
    used: bool = False


def votes(db: sqlite3.Connection, spec: FeedbackMap | None) -> dict[str, list[Vote]]:
    """Return the ratings by the key of the judged message, in the table's order."""
    found: dict[str, list[Vote]] = {}
    if spec is None or not base.has(db, spec.table, spec.message, spec.rating):
        return found
    there, number = base.columns(db, spec.table), row_number(db, spec.table)
    picked = [number, *(column(there, named) for named in (spec.message, spec.rating, spec.note))]
    order = f" ORDER BY {number}" if number != "NULL" else ""
    for row, message, rating, note in db.execute(f"SELECT {', '.join(picked)} FROM {base.quoted(spec.table)}{order}"):
        where = f"rowid={row}" if row is not None else f"{spec.message}={name(message)[:40]}"
        found.setdefault(name(message), []).append(Vote(rating, note, f"{spec.table}.{where}"))
    return found
