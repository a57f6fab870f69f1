"""Which reader fits a database, which logs are on this machine, and what is in one."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lunar_tune.artefacts import Verdict
from lunar_tune.errors import UnknownSchema
from lunar_tune.seams import Source
from lunar_tune.sources import base


@dataclass(frozen=True, slots=True)
class Description:
    """What a log holds. `calls` and `ratings` are counts; `unreadable` is how many things could not be read."""

    source: str
    path: str
    conversations: int
    turns: int
    calls: int
    ratings: int
    first: str | None
    last: str | None
    lacks: str
    unreadable: int


def open_log(path: Path, sources: Sequence[Source]) -> tuple[Source, sqlite3.Connection]:
    """Return the first reader that recognises a database and the open connection, which the caller closes.

    Raises:
        SourceMissing, NotSqlite, SourceLocked: it cannot be opened.
        UnknownSchema: no reader recognises its tables.
    """
    db = base.open_read_only(path)
    try:
        for source in sources:
            if source.recognises(db):
                return source, db
        raise UnknownSchema(path, base.tables(db), [source.name for source in sources])
    except BaseException:
        db.close()
        raise


def find_logs(sources: Sequence[Source]) -> list[Path]:
    """Return the logs that exist at the places where the formats keep them (a reader's optional `places()`)."""
    found: list[Path] = []
    for source in sources:
        places = getattr(source, "places", None)
        for path in places() if places is not None else ():
            if path.is_file() and path not in found:
                found.append(path)
    return found


def describe(path: Path, sources: Sequence[Source]) -> Description:
    """Read a log through and return what is in it.

    Raises:
        SourceError: as `open_log`.
    """
    lost: list[Verdict] = []
    source, db = open_log(path, sources)
    conversations = turns = calls = ratings = 0
    starts: list[str] = []
    with contextlib.closing(db):
        for episode in source.read(db, path, lost.append):
            conversations += 1
            turns += sum(m.role == "assistant" for m in episode.messages)
            calls += sum(len(m.tool_calls) for m in episode.messages)
            ratings += sum(s.kind == "rating" for s in episode.signals)
            if episode.started_at:
                starts.append(episode.started_at)
    return Description(
        source=source.name,
        path=str(path),
        conversations=conversations,
        turns=turns,
        calls=calls,
        ratings=ratings,
        first=min(starts, default=None),
        last=max(starts, default=None),
        lacks=source.lacks,
        unreadable=len(lost),
    )
