"""What changes when a conversation does: counts, keys, times and ratings, without the content of any message."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import asdict, fields

from lunar_tune.sources import base
from lunar_tune.sources.table_map.rows import Messages, among, column
from lunar_tune.sources.table_map.side_tables import Threads, votes
from lunar_tune.sources.table_map.words import LONGEST, name
from lunar_tune.table_map import TableMap, ThreadMap

LATEST = ("time", "updated", "order")
FILLED = ("content", "answer", "error", "finish", "tool_calls")  # often filled in when the answer is complete


def stamps(db: sqlite3.Connection, spec: TableMap) -> Iterator[tuple[str, str]]:
    """Yield (thread, stamp) of every conversation; a map that reads otherwise changes all stamps."""
    table = Messages(db, spec)
    seen: dict[str, list[str]] = {}
    for thread, fact in (*_grown(db, table), *_judged(db, table), *_voted(db, table)):
        seen.setdefault(thread, []).append(fact)
    roots: dict[str, str | None] = {}
    if spec.threads is not None:
        for thread, fact in _described(db, spec.threads):
            seen.setdefault(thread, []).append(fact)
        roots = {thread: family.root for thread, family in Threads(db, spec.threads).families.items()}
    reading = base.stamp(asdict(spec))
    for thread, facts in seen.items():
        if thread:
            yield thread, base.stamp(reading, roots.get(thread), *sorted(facts))


def _grown(db: sqlite3.Connection, table: Messages) -> Iterator[tuple[str, str]]:
    facts = ["count(*)", f"max({table.number})", *(f"max({table.column(named)})" for named in LATEST)]
    facts += [f"sum(typeof({table.column(named)}) <> 'null')" for named in FILLED]
    for key, *values in db.execute(f"SELECT {table.key}, {', '.join(facts)} FROM {table.table} GROUP BY {table.key}"):
        yield name(key), base.stamp("grown", *values)


def _judged(db: sqlite3.Connection, table: Messages) -> Iterator[tuple[str, str]]:
    """Yield what the messages' own rows say of their rating."""
    rating, note = table.column("rating"), table.column("rating_note")
    if rating == "NULL":
        return
    identity = table.number if table.number != "NULL" else table.column("id")
    query = f"SELECT {table.key}, {identity}, substr({rating}, 1, {LONGEST}), {note} FROM {table.table}"
    for key, *values in db.execute(f"{query} WHERE {rating} IS NOT NULL"):
        yield name(key), base.stamp("judged", *values)


def _voted(db: sqlite3.Connection, table: Messages) -> Iterator[tuple[str, str]]:
    """Yield what the table of ratings says of the messages of a conversation."""
    given = votes(db, table.spec.feedback)
    if not given or table.column("id") == "NULL":
        return
    condition, wanted = among(db, table.column("id"), given)
    query = f"SELECT {table.key}, {table.column('id')} FROM {table.table} WHERE {condition}"
    for key, message in db.execute(query, wanted):
        if name(message) in given:
            yield name(key), base.stamp("voted", name(message), [(v.rating, v.note) for v in given[name(message)]])


def _described(db: sqlite3.Connection, spec: ThreadMap) -> Iterator[tuple[str, str]]:
    there = base.columns(db, spec.table)
    named = [column(there, getattr(spec, f.name)) for f in fields(spec) if f.name not in ("table", "id")]
    for key, *values in db.execute(f"SELECT {base.quoted(spec.id)}, {', '.join(named)} FROM {base.quoted(spec.table)}"):
        yield name(key), base.stamp("described", *values)
