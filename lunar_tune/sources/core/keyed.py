"""Rows that belong together by columns: conversations of logs that keep no table of them."""

from __future__ import annotations

import json
import sqlite3
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any

from lunar_tune.sources import base
from lunar_tune.sources.core import cells

Key = tuple[Any, ...]


def counts(db: sqlite3.Connection, table: str, columns: Sequence[str]) -> dict[Key, tuple[int, int]]:
    """Return (number of rows, highest rowid) of each conversation, the one inserted first at the front."""
    picked = base.picked(db, table, columns)
    by = ", ".join(str(n + 1) for n in range(len(columns)))
    query = f"SELECT {picked}, count(*), max(rowid) FROM {base.quoted(table)} GROUP BY {by} ORDER BY min(rowid)"
    return {tuple(key): (count, last) for *key, count, last in db.execute(query)}


def conversations(
    db: sqlite3.Connection, table: str, columns: Sequence[str], order: str = "", only: Collection[Key] | None = None
) -> dict[Key, array[int]]:
    """Return the rowids of each conversation, in `order` and then as inserted; the one begun first comes first.

    A conversation is what has the same cells in `columns`; a column that the table lacks is NULL in all rows. Only
    keys and rowids are held, those of the conversations in `only` where they are named.
    """
    found: dict[Key, array[int]] = {}
    there = base.columns(db, table)
    by = f"{base.quoted(order)}, rowid" if order and order in there else "rowid"
    conditions, values = ["1"], list[str]()
    for place, column in enumerate(columns if only is not None else ()):
        wanted = {key[place] for key in only or ()}
        if column in there and all(map(_findable, wanted)):
            conditions.append(f"{base.quoted(column)} IN (SELECT value FROM json_each(?))")
            values.append(json.dumps([*wanted]))
    query = (
        f"SELECT rowid, {base.picked(db, table, columns)} FROM {base.quoted(table)}"
        f" WHERE {' AND '.join(conditions)} ORDER BY {by}"
    )
    for rowid, *cells_of in db.execute(query, values):
        key = tuple(cells_of)
        if only is None or key in only:
            found.setdefault(key, array("q")).append(rowid)
    return found


def _findable(value: Any) -> bool:
    """Tell whether SQLite finds this value again: not what JSON cannot hold, nor text that was mended in reading."""
    return isinstance(value, int) or (isinstance(value, str) and not {"\x00", "\ufffd"} & set(value))


def rows(
    db: sqlite3.Connection, table: str, columns: Sequence[str], rowids: Iterable[int]
) -> Iterator[tuple[Any, ...]]:
    """Yield these rows in the order given, each looked up by its rowid; columns that the table lacks are NULL."""
    query = (
        f"SELECT {base.picked(db, table, columns, 't')} FROM json_each(?) j"
        f" CROSS JOIN {base.quoted(table)} t ON t.rowid = j.value"  # a cross join keeps SQLite to the order of the list
    )
    yield from db.execute(query, (json.dumps([*rowids]),))


def finder(
    db: sqlite3.Connection, table: str, column: str, columns: Sequence[str], order: str = ""
) -> Callable[[Any], Iterable[tuple[Any, ...]]]:
    """Return what gives (rowid, *cells) of the rows with a value in `column`, in `order` and then as inserted.

    An index of the log finds them; where it has none, the rowids of all values are held.
    """
    there = base.columns(db, table)
    by = f"{base.quoted(order)}, rowid" if order and order in there else "rowid"
    picked, named = base.picked(db, table, columns), base.quoted(table)
    if indexed(db, table, column):
        query = f"SELECT rowid, {picked} FROM {named} WHERE {base.quoted(column)} = ? ORDER BY {by}"
        return lambda value: db.execute(query, (value,)).fetchall()
    held = conversations(db, table, (column,), order)
    query = f"SELECT rowid, {picked} FROM {named} WHERE rowid = ?"
    return lambda value: [db.execute(query, (rowid,)).fetchone() for rowid in held.get((value,), ())]


def gatherer(
    db: sqlite3.Connection, table: str, column: str, columns: Sequence[str]
) -> Callable[[Sequence[Any]], dict[Any, list[tuple[Any, ...]]]]:
    """Return what gives the rows of many values in `column`, by value and as inserted: one query where an index serves.

    A value without rows is left out.
    """
    if not indexed(db, table, column):
        find = finder(db, table, column, columns)
        return lambda values: {value: rows for value in values if (rows := [tuple(row[1:]) for row in find(value)])}
    query = (
        f"SELECT t.{base.quoted(column)}, {base.picked(db, table, columns, 't')} FROM json_each(?) j"
        f" CROSS JOIN {base.quoted(table)} t ON t.{base.quoted(column)} = j.value ORDER BY t.rowid"
    )

    def gather(values: Sequence[Any]) -> dict[Any, list[tuple[Any, ...]]]:
        found: dict[Any, list[tuple[Any, ...]]] = {}
        listed = json.dumps([value for value in values if isinstance(value, (int, str))])
        for value, *cells_of in db.execute(query, (listed,)):
            found.setdefault(value, []).append(tuple(cells_of))
        return found

    return gather


def indexed(db: sqlite3.Connection, table: str, column: str) -> bool:
    """Tell whether an index of all rows leads with a column."""
    for _, index, _, _, partial in db.execute(f"PRAGMA index_list({base.quoted(table)})").fetchall():
        first = db.execute(f"PRAGMA index_info({base.quoted(index)})").fetchone()
        if first and first[2] == column and not partial:
            return True
    return False


def places(
    db: sqlite3.Connection, table: str, column: str, only: Collection[str] | None = None, order: str = ""
) -> array[int]:
    """Return the rowids of all rows, or of those whose id has one of these names, in `order` and then as inserted."""
    by = f"{base.quoted(order)}, rowid" if order and order in base.columns(db, table) else "rowid"
    key, named = base.quoted(column), base.quoted(table)
    if only is None:
        return array("q", (row[0] for row in db.execute(f"SELECT rowid FROM {named} ORDER BY {by}")))
    wanted, names = base.among(key, only)
    # ids that are no clean text are called otherwise than they are stored; an index finds each of these by itself
    condition = f"{wanted} OR {key} IS NULL OR {key} < '' OR {key} = '' OR {key} >= x''"
    if any("\ufffd" in name for name in only):
        condition, names = "1", ()
    found = db.execute(f"SELECT rowid, {key} FROM {named} WHERE {condition} ORDER BY {by}", names)
    return array("q", (rowid for rowid, value in found if name(value) in only))


def name(key: Any) -> str:
    """Return an id of the log as a name that is never empty; what is no text is named as it is written in code."""
    return cells.text(key) or repr(key)
