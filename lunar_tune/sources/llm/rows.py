"""What both generations of llm's tables share: rows looked up for many at a time, tools and attachments."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

from lunar_tune.artefacts import Verdict
from lunar_tune.episodes import Attachment, ToolSpec
from lunar_tune.seams import Report
from lunar_tune.sources import base
from lunar_tune.sources.core import cells

Unit = TypeVar("Unit")
TOOL = ("id", "name", "description", "input_schema")
GIVEN = "(SELECT value FROM json_each(?))"  # the keys that `grouped` passes


def grouped(db: sqlite3.Connection, query: str, *keys: Iterable[int]) -> dict[int, list[tuple[Any, ...]]]:
    """Return a query's rows by their first cell, which is left out; it takes each list of keys as `GIVEN`."""
    found: dict[int, list[tuple[Any, ...]]] = {}
    for first, *rest in db.execute(query, [json.dumps([*some]) for some in keys]):
        found.setdefault(first, []).append(tuple(rest))
    return found


def batches(units: Iterable[tuple[Unit, int]], size: int) -> Iterator[list[Unit]]:
    """Yield units (unit, size) in lists that together reach a size."""
    batch: list[Unit] = []
    reached = 0
    for unit, own in units:
        batch.append(unit)
        reached += own
        if reached >= size:
            yield batch
            batch, reached = [], 0
    if batch:
        yield batch


def named(key: Any) -> str:
    """Return a conversation's name of its id."""
    return cells.text(key) or repr(key)


def clean(name: str) -> bool:
    """Tell whether a name is its id's text; an id that is no text, or not all of it, is named otherwise."""
    return "\ufffd" not in name and not name.startswith(("b'", 'b"'))


class Tools:
    """The tools that were offered, each read once."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._there = base.has(db, "tools", "id", "name")
        self._known: dict[Any, tuple[ToolSpec | None, str | None]] = {}

    def specs(self, keys: Iterable[Any], thread: str, report: Report) -> Iterator[ToolSpec]:
        """Yield the tools of these ids; what cannot be read of them is reported."""
        for key in dict.fromkeys(keys):
            if key not in self._known:
                self._known[key] = self._read(key)
            spec, problem = self._known[key]
            if problem:
                report(Verdict(thread, "read", problem, f"tools.id={key}"))
            if spec is not None:
                yield spec

    def _read(self, key: Any) -> tuple[ToolSpec | None, str | None]:
        row: Sequence[Any] | None = None
        if self._there:
            query = f"SELECT {base.picked(self._db, 'tools', TOOL)} FROM tools WHERE id = ?"
            row = self._db.execute(query, (key,)).fetchone()
        if row is None:
            return None, "a tool that is not there"
        name = cells.text(row[1])
        if not name:
            return None, "a tool without a name"
        problem = None
        parameters: Any = {}
        if row[3] is not None:
            try:
                parameters = cells.parse_json(row[3])
            except ValueError:
                parameters = None
            if not isinstance(parameters, dict):
                parameters, problem = {}, "unreadable tool schema"
        return ToolSpec(name=name, description=cells.text(row[2]) or "", parameters=parameters), problem


def attachment(kind: Any, path: Any, url: Any) -> Attachment:
    """Return an attachment: its type and the last part of its path or address."""
    place = cells.text(path) or (cells.text(url) or "").partition("?")[0]
    return Attachment(type=cells.text(kind) or "file", name=place.replace("\\", "/").rstrip("/").rpartition("/")[2])
