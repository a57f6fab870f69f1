"""Opening a log without touching it or its agent, and asking what a database holds.

A log in WAL mode that its agent has open is read in place, in one read-only transaction: a reader sees one moment of it
however long it takes, and writers go on meanwhile. Nothing is written but the reader's mark in the `-shm`, which the
agent made. Of any other log a private copy is read, in memory where the log is small: with a rollback journal a
reader's lock would hold up the agent's commits, and SQLite would leave a `-wal` and a `-shm` beside a WAL log that
nobody has open. The same where a read-only open is impossible (a folder that cannot be written, a crashed writer's
journal). Only a large WAL log that nobody has open is read in place, with these two small files left beside it: copying
gigabytes every night would cost more.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import marshal
import os
import re
import shutil
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Collection, Container, Iterable, Iterator, Sequence
from operator import methodcaller
from pathlib import Path
from typing import Any, cast

from lunar_tune.episodes import Episode
from lunar_tune.errors import DiskFull, LogEncrypted, NotSqlite, SourceLocked, SourceMissing
from lunar_tune.sources.core import still

BUSY_SECONDS = 1.0
MAGIC = b"SQLite format 3\x00"
COPY = "lunar-tune-log-"
ABANDONED_SECONDS = 86_400.0  # a copy this old was left by a process that was killed
UNLINKS = os.name == "posix"  # an open file can be deleted and goes on being read
SMALL = 64 << 20  # bytes; a log up to this size is compared by its content, and copied without a thought


class _Log(sqlite3.Connection):
    """A connection that removes its private copy, if it has one, when it is closed."""

    folder: str | None = None

    def close(self) -> None:
        super().close()
        self.remove()

    def remove(self) -> None:
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder = None


def open_read_only(path: Path) -> sqlite3.Connection:
    """Return a read-only connection inside one read transaction; close it to end both.

    Raises:
        SourceMissing, NotSqlite, LogEncrypted, SourceLocked, DiskFull: nothing was changed in any case.
    """
    if not path.exists():
        raise SourceMissing(path)
    if not path.is_file():
        raise NotSqlite(path, "it is a folder" if path.is_dir() else "it is no regular file")
    head = _head(path)
    if head and not head.startswith(MAGIC):
        raise LogEncrypted(path) if _looks_random(path) else NotSqlite(path, "it does not begin as one")
    path = path.resolve()  # SQLite keeps a log's other files beside what a link points to
    wal = head[18:19] == b"\x02"
    opened = all(os.path.exists(f"{path}{suffix}") for suffix in ("-wal", "-shm"))
    if wal and (opened or path.stat().st_size > SMALL):
        if (db := _open_in_place(path)) is not None:
            return db
        wal = False  # not a second time
    _remove_abandoned()
    try:
        return _open_in_memory(path) or _open_copy(path)
    except DiskFull:
        # Two small files beside the log are the lesser evil.
        if wal and (db := _open_in_place(path)) is not None:
            return db
        raise


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as handle:
            return handle.read(100)
    except OSError as error:
        raise NotSqlite(path, error.strerror or str(error)) from error


def _looks_random(path: Path) -> bool:
    """Tell whether a file's first bytes are as even as encryption makes them; text and media headers are not."""
    with path.open("rb") as handle:
        sample = handle.read(4096)
    return len(sample) == 4096 and len(set(sample)) > 240 and max(Counter(sample).values()) < 48


def _open_in_place(path: Path) -> sqlite3.Connection | None:
    """Return a connection to the log itself, None where SQLite cannot open it read-only."""
    try:
        return _begin(_connect(path))
    except sqlite3.DatabaseError as error:
        if _locked(error):
            raise SourceLocked(path, str(error)) from error
        if not isinstance(error, sqlite3.OperationalError):
            raise NotSqlite(path, str(error)) from error
        return None


def _connect(path: Path) -> _Log:
    uri = path.as_uri() + "?mode=ro"
    return sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None, factory=_Log)


def _begin(db: _Log) -> sqlite3.Connection:
    """Start the read transaction; the first read, not BEGIN, is what fixes the moment."""
    db.text_factory = methodcaller("decode", "utf-8", "replace")
    try:
        db.execute("BEGIN")
        db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.DatabaseError:
        db.close()
        raise
    return db


def _open_in_memory(path: Path) -> sqlite3.Connection | None:
    """Read a small log into memory and open that; None where it is not small, or no longer one file.

    What is not written to the disk does not hold up the agent's own commits there, and is nowhere to be found later.
    """
    if path.stat().st_size > SMALL or not hasattr(sqlite3.Connection, "deserialize"):
        return None
    try:
        data = still.contents(path)
        if not data:
            return None
        data[18:20] = b"\x01\x01"  # SQLite opens no database in WAL mode from memory; this one's WAL is empty
        db = sqlite3.connect(":memory:", isolation_level=None, factory=_Log)
        with contextlib.ExitStack() as failed:
            failed.callback(db.close)
            db.deserialize(bytes(data))
            db.execute("PRAGMA query_only = 1")
            _begin(db)
            failed.pop_all()
    except sqlite3.DatabaseError as error:
        raise NotSqlite(path, str(error)) from error
    except OSError as error:
        raise NotSqlite(path, error.strerror or str(error)) from error
    return db


def _open_copy(path: Path) -> sqlite3.Connection:
    """Copy the log and its journal to a private folder, whole or not at all, and open that.

    Where an open file can be deleted the copy is, at once: a process that is killed leaves nothing readable behind.
    """
    folder = tempfile.mkdtemp(prefix=COPY)
    with contextlib.ExitStack() as failed:
        failed.callback(shutil.rmtree, folder, ignore_errors=True)
        try:
            still.copy(path, Path(folder) / "log.db")
            db = sqlite3.connect(Path(folder) / "log.db", timeout=BUSY_SECONDS, isolation_level=None, factory=_Log)
            failed.callback(db.close)
            db.folder = folder
            db.execute("SELECT count(*) FROM sqlite_master").fetchone()  # replays the copied journal
            db.execute("PRAGMA query_only = 1")
            _begin(db)
        except sqlite3.DatabaseError as error:
            raise NotSqlite(path, str(error)) from error
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DiskFull(Path(folder)) from error
            raise NotSqlite(path, error.strerror or str(error)) from error
        failed.pop_all()
    if UNLINKS:
        db.remove()
    return db


def _remove_abandoned() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{COPY}*"):
        with contextlib.suppress(OSError):
            if time.time() - folder.lstat().st_mtime > ABANDONED_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)


def _locked(error: sqlite3.DatabaseError) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def tables(db: sqlite3.Connection) -> list[str]:
    """Return the names of the tables and views."""
    return [
        str(row[0])
        for row in db.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY name")
    ]


def columns(db: sqlite3.Connection, table: str) -> set[str]:
    """Return the column names of a table, empty when there is no such table."""
    return {str(row[1]) for row in db.execute(f"PRAGMA table_info({quoted(table)})")}


def has(db: sqlite3.Connection, table: str, *needed: str) -> bool:
    """Tell whether a table exists with at least these columns."""
    return set(needed) <= columns(db, table) if needed else bool(columns(db, table))


def picked(db: sqlite3.Connection, table: str, wanted: Sequence[str], alias: str = "") -> str:
    """Return a select list of the wanted columns; one that the table lacks is read as NULL."""
    there = columns(db, table)
    prefix = f"{alias}." if alias else ""
    return ", ".join(f"{prefix}{quoted(name)}" if name in there else f"NULL AS {quoted(name)}" for name in wanted)


def quoted(name: str) -> str:
    """Return a name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def fingerprint(db: sqlite3.Connection, wanted: Iterable[tuple[str, Sequence[str]]]) -> str:
    """Return a hash of (table, columns)' contents: the watermark of formats without a counter that can be trusted.

    The rows are hashed in SQLite's own order, which costs one sequential read and no parsing; an edit in place, a
    deletion and a new row all change it. Tables that are missing are skipped.
    """
    digest = hashlib.blake2b(digest_size=12)
    for table, names in wanted:
        if not has(db, table):
            continue
        digest.update(f"\x00{table}".encode())
        for row in db.execute(f"SELECT {picked(db, table, names)} FROM {quoted(table)}"):
            digest.update(marshal.dumps(row, 2))  # version 2 has no references: equal rows, equal bytes
    return digest.hexdigest()


def small(db: sqlite3.Connection) -> bool:
    """Tell whether a log is so small that its content can be looked at on every harvest."""
    pages, size = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    return bool(pages * size <= SMALL)


def whole(db: sqlite3.Connection, wanted: Iterable[tuple[str, Sequence[str]]]) -> Iterator[tuple[str, str]]:
    """Yield the one thread of a log that can only be read whole; see `Source.threads`."""
    yield "", fingerprint(db, wanted)


def among(expression: str, only: Collection[str] | None) -> tuple[str, tuple[str, ...]]:
    """Return an SQL condition that an id is one of those wanted, and its parameters; always true for None.

    An id that is a number in the log is a text here, so both are looked for. What JSON cannot say as the log does (NUL,
    bytes that are no UTF-8) makes the condition always true as well: whoever reads by threads drops the others.
    """
    if only is None or any("\x00" in name or "\ufffd" in name for name in only):
        return "1", ()
    ids: list[str | int] = [*only]
    numbers = (int(name) for name in only if re.fullmatch("0|-?[1-9][0-9]{0,18}", name))
    ids += [number for number in numbers if -(1 << 63) <= number < 1 << 63]
    return f"{expression} IN (SELECT value FROM json_each(?))", (json.dumps(ids),)


def stamp(*parts: object) -> str:
    """Return a short text that differs when any of the parts does."""
    try:
        data = marshal.dumps(cast(Any, parts), 2)
    except ValueError:  # something that is no plain value
        data = repr(parts).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(data, digest_size=12).hexdigest()


def owner(episode: Episode, threads: Container[str]) -> str | None:
    """Return the thread, as `Source.threads` names it, that an episode was read from; None where none fits."""
    for name in (episode.thread, episode.thread.rpartition("#")[0], episode.thread.partition("#")[0], episode.group):
        if name and name in threads:
            return name
    return "" if "" in threads else None
