"""What stores of traces have in common: sessions out of rows of traces, read in one ordered pass."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from lunar_tune.sources import base
from lunar_tune.sources.core import cells

REPLACED = "\ufffd"
ONCE = "LIMIT -1 OFFSET 0"  # SQLite would else work out an inner query's cells wherever the outer one names them


def named(cell: str) -> str:
    """Return an SQL expression of a cell as a name: NULL unless it is a number or a text with something in it."""
    return f"CASE typeof({cell}) WHEN 'text' THEN nullif({cell}, '') WHEN 'integer' THEN CAST({cell} AS TEXT) END"


def askable(only: Collection[str] | None) -> Collection[str] | None:
    """Return the names if SQL can look all of them up, else None.

    A name with a replaced character is not in the log as it was read; every trace must be looked at then.
    """
    return None if only is None or any(REPLACED in name for name in only) else only


def orphans(db: sqlite3.Connection, table: str, column: str, parent: str, key: str) -> Iterator[object]:
    """Yield each value of a column that no row of the parent table has, NULL among them."""
    if base.has(db, table, column) and base.has(db, parent, key):
        missing = f"NOT EXISTS (SELECT 1 FROM {parent} p WHERE p.{key} = c.{column})"
        for (value,) in db.execute(f"SELECT c.{column} FROM {table} c WHERE {missing} GROUP BY c.{column}"):
            yield value


def stamped(rows: Iterable[Sequence[Any]]) -> Iterator[tuple[str, str]]:
    """Yield each thread and the stamp of its traces; a row is of one trace and begins with its thread's name."""
    seen: dict[str, str] = {}
    for row in rows:
        if (thread := cells.text(row[0])) is not None:
            seen[thread] = base.stamp(seen.get(thread), row)
    yield from seen.items()
