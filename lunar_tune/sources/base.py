"""Opening a log without touching it, and reading cells that may hold anything.

A log is opened read-only in one read transaction, so that a reader sees one moment of it however long it takes and
whoever writes meanwhile. Where that is impossible (a WAL log in a folder that cannot be written, a crashed writer's
journal) a private copy is read instead.
"""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from lunar_tune.errors import NotSqlite, SourceLocked, SourceMissing

BUSY_SECONDS = 1.0
COPY_ATTEMPTS = 5
SIDE_FILES = ("-wal", "-journal")


class _Log(sqlite3.Connection):
    """A connection that removes its private copy, if it has one, when it is closed."""

    folder: str | None = None

    def close(self) -> None:
        super().close()
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder = None


def open_read_only(path: Path) -> sqlite3.Connection:
    """Return a read-only connection inside one read transaction; close it to end both.

    Raises:
        SourceMissing, NotSqlite, SourceLocked: nothing was changed in any case.
    """
    if not path.exists():
        raise SourceMissing(path)
    if not path.is_file():
        raise NotSqlite(path, "it is a folder" if path.is_dir() else "it is no regular file")
    try:
        return _begin(_connect(path))
    except sqlite3.DatabaseError as error:
        if _locked(error):
            raise SourceLocked(path, str(error)) from error
        if not isinstance(error, sqlite3.OperationalError):
            raise NotSqlite(path, str(error)) from error
        return _open_copy(path, error)


def _connect(path: Path) -> _Log:
    uri = path.resolve().as_uri() + "?mode=ro"
    return sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None, factory=_Log)


def _begin(db: _Log) -> sqlite3.Connection:
    """Start the read transaction; the first read, not BEGIN, is what fixes the moment."""
    db.text_factory = lambda raw: raw.decode("utf-8", "replace")
    try:
        db.execute("BEGIN")
        db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.DatabaseError:
        db.close()
        raise
    return db


def _open_copy(path: Path, cause: sqlite3.DatabaseError) -> sqlite3.Connection:
    """Copy the log and its journal to a private folder, whole or not at all, and open that."""
    folder = tempfile.mkdtemp(prefix="lunar-tune-log-")
    try:
        _copy_still(path, Path(folder) / "log.db")
        db = sqlite3.connect(Path(folder) / "log.db", timeout=BUSY_SECONDS, isolation_level=None, factory=_Log)
        db.folder = folder
        db.execute("SELECT count(*) FROM sqlite_master").fetchone()  # replays the copied journal
        db.execute("PRAGMA query_only = 1")
        return _begin(db)
    except sqlite3.DatabaseError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise NotSqlite(path, str(error)) from cause
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise NotSqlite(path, error.strerror or str(error)) from cause
    except SourceLocked:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _copy_still(path: Path, target: Path) -> None:
    """Copy the log and its journal at a moment when neither changed meanwhile."""
    for _ in range(COPY_ATTEMPTS):
        before = _stamps(path)
        for suffix in SIDE_FILES:
            Path(f"{target}{suffix}").unlink(missing_ok=True)
            if Path(f"{path}{suffix}").exists():
                shutil.copyfile(f"{path}{suffix}", f"{target}{suffix}")
        shutil.copyfile(path, target)
        if _stamps(path) == before:
            return
    raise SourceLocked(path, "it keeps changing")


def _stamps(path: Path) -> list[tuple[int, int] | None]:
    found: list[tuple[int, int] | None] = []
    for suffix in ("", *SIDE_FILES):
        file = Path(f"{path}{suffix}")
        stat = file.stat() if file.exists() else None
        found.append((stat.st_mtime_ns, stat.st_size) if stat else None)
    return found


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
            digest.update(repr(row).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
