"""One open log, whatever it is made of: which reader fits it, its threads with their stamps, its episodes."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import cast

from lunar_tune.episodes import Episode
from lunar_tune.errors import NotSqlite, UnknownFiles, UnknownSchema
from lunar_tune.seams import FileSource, Report, Source
from lunar_tune.sources import base
from lunar_tune.sources.table_map.source import TableMapSource
from lunar_tune.sources.table_map.suggest import suggest

Reader = Source | FileSource
FILES = (".jsonl", ".zst", ".json")


class Log:
    """An open log; everything that is read of a database is of the moment when it was opened.

    `db` is None for a log of files.
    """

    def __init__(self, path: Path, source: Reader, db: sqlite3.Connection | None) -> None:
        self.path, self.source, self.db = path, source, db

    @cached_property
    def threads(self) -> dict[str, str]:
        """Each thread's stamp; see `Source.threads`.

        Raises:
            NotSqlite: the database is damaged further in.
        """
        with _sqlite_errors(self.path):
            if self.db is None:
                return dict(cast(FileSource, self.source).threads_path(self.path))
            return dict(cast(Source, self.source).threads(self.db))

    @property
    def name(self) -> str:
        """The reader's name."""
        return self.source.name

    @property
    def watermark(self) -> str:
        """A short text that changes whenever a thread does."""
        return base.stamp(sorted(self.threads.items()))

    def read(self, report: Report, only: Collection[str] | None = None) -> Iterator[Episode]:
        """Yield the episodes of all threads, or of those named, in the order of their start.

        Raises:
            NotSqlite: the database is damaged further in.
        """
        with _sqlite_errors(self.path):
            if self.db is None:
                yield from self.source.read_path(self.path, report, only)  # type: ignore[union-attr]
            else:
                yield from self.source.read(self.db, self.path, report, only)  # type: ignore[union-attr]


@contextlib.contextmanager
def open_log(path: Path, readers: Sequence[Reader]) -> Iterator[Log]:
    """Open a log with the first reader that recognises it.

    Raises:
        SourceMissing, NotSqlite, SourceLocked: it cannot be opened.
        UnknownSchema, UnknownFiles: no reader recognises it.
    """
    if path.is_dir() or path.suffix in FILES:
        for reader in readers:
            if hasattr(reader, "recognises_path") and reader.recognises_path(path):
                yield Log(path, reader, None)
                return
        raise UnknownFiles(path, [reader.name for reader in readers if hasattr(reader, "recognises_path")])
    with contextlib.closing(base.open_read_only(path)) as db:
        with _sqlite_errors(path):
            reader = _recognised(db, path, readers)
        yield Log(path, reader, db)


def _recognised(db: sqlite3.Connection, path: Path, readers: Sequence[Reader]) -> Source:
    databases = [cast(Source, reader) for reader in readers if hasattr(reader, "recognises")]
    for reader in databases:
        if reader.recognises(db):
            return reader
    misfits = [
        f"The table map {reader.name!r} of the settings does not fit: {why}."
        for reader in databases
        if isinstance(reader, TableMapSource) and (why := reader.misfit(db))
    ]
    raise UnknownSchema(path, base.tables(db), [reader.name for reader in databases], _suggestion(db, path), misfits)


def _suggestion(db: sqlite3.Connection, path: Path) -> str:
    """Return the TOML that would map the tables; "" also when they cannot be looked at."""
    try:
        return suggest(db, path.stem or "mybot")
    except sqlite3.Error:
        return ""


@contextlib.contextmanager
def _sqlite_errors(path: Path) -> Iterator[None]:
    """A database that opens may still be damaged further in."""
    try:
        yield
    except sqlite3.Error as error:
        raise NotSqlite(path, str(error)) from error
