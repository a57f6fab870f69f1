"""The episodes of a workspace's logs, redacted, with the stamps they were read at: `HOME/episodes.db`.

A harvest reads again only the threads whose stamps differ, so that tonight's cost follows tonight's rows. What a log no
longer holds goes from here too; what is deleted is overwritten in the file. Threads are kept by a hash of their names,
for a name may be somebody's address.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from lunar_tune.artefacts import Verdict
from lunar_tune.episodes import Episode, from_dict, to_line
from lunar_tune.errors import DiskFull, EpisodesBroken
from lunar_tune.files import PRIVATE_FILE, make_private_dir
from lunar_tune.identity import exact_json

FORMAT = 4
SCHEMA = """
CREATE TABLE logs (id INTEGER PRIMARY KEY, path TEXT UNIQUE NOT NULL, source TEXT NOT NULL, made TEXT NOT NULL,
  redacted INTEGER NOT NULL);
CREATE TABLE threads (id INTEGER PRIMARY KEY, log INTEGER NOT NULL, name BLOB NOT NULL, stamp TEXT);
CREATE TABLE episodes (id INTEGER PRIMARY KEY, log INTEGER NOT NULL, thread INTEGER NOT NULL, names BLOB NOT NULL,
  started_at TEXT NOT NULL, name TEXT NOT NULL, redacted TEXT, body BLOB NOT NULL);
CREATE INDEX episodes_by_thread ON episodes (thread);
CREATE INDEX episodes_by_start ON episodes (started_at, name, id);
CREATE TABLE losses (log INTEGER NOT NULL, thread INTEGER NOT NULL, names BLOB NOT NULL, name TEXT, step TEXT,
  reason TEXT, detail TEXT, message INTEGER);
CREATE INDEX losses_by_thread ON losses (thread);
CREATE TABLE forgotten (name BLOB PRIMARY KEY, at TEXT);
"""
HASH = 8  # bytes of a name's hash


_EMPTY = hashlib.blake2b(digest_size=HASH, person=b"thread")


def name_hash(name: str) -> bytes:
    """Return what a thread is kept by."""
    digest = _EMPTY.copy()
    digest.update(name.encode("utf-8", "surrogatepass"))
    return digest.digest()


@dataclass(frozen=True, slots=True)
class Held:
    """An episode that is held; `redacted` counts distinct secrets by kind, `names` are the hashes it goes by.

    `number` finds it again until the next harvest.
    """

    episode: Episode
    redacted: Mapping[str, int]
    names: frozenset[bytes]
    number: int = 0


class EpisodeStore:
    """Opened by the commands that read or write episodes; close it.

    Raises:
        EpisodesBroken: `episodes.db` is damaged, or is not a database of ours.
    """

    def __init__(self, home: Path) -> None:
        self.path = make_private_dir(home) / "episodes.db"
        self.path.touch(mode=PRIVATE_FILE)
        os.chmod(self.path, PRIVATE_FILE)
        self._db = sqlite3.connect(self.path, timeout=30, isolation_level=None)
        self._threads: dict[int, dict[bytes, int]] = {}  # by log, as the transaction that is open left them
        try:
            with self._errors():
                self._db.execute("PRAGMA secure_delete = ON")
                version = self._db.execute("PRAGMA user_version").fetchone()[0]
                if version != FORMAT:  # a cache of the logs: made anew, but for what was forgotten
                    self._make_anew()
        except EpisodesBroken:
            self._db.close()
            raise

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Tell SQLite's errors as ours."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
                raise DiskFull(self.path) from error
            raise EpisodesBroken(self.path, str(error)) from error

    def _make_anew(self) -> None:
        with self.changing():
            tables = [row[0] for row in self._db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            kept = list(self._db.execute("SELECT name, at FROM forgotten")) if "forgotten" in tables else []
            for table in tables:
                self._db.execute(f'DROP TABLE "{table}"')
            for statement in filter(str.strip, SCHEMA.split(";")):
                self._db.execute(statement)
            self._db.executemany("INSERT INTO forgotten VALUES (?, ?)", kept)
            self._db.execute(f"PRAGMA user_version = {FORMAT}")

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """One transaction: all of what is changed within, or nothing of it.

        Raises:
            DiskFull, EpisodesBroken: nothing was changed.
        """
        with self._errors():
            self._db.execute("BEGIN IMMEDIATE")
        self._threads = {}
        try:
            yield
            with self._errors():
                self._db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            raise

    # -- writing, inside `changing` --

    def log(self, path: str, source: str, made: str, *, redacted: bool) -> int:
        """Return the number of a log; what was kept of it in another way (`made`) is dropped first."""
        with self._errors():
            row = self._db.execute("SELECT id, made, source, redacted FROM logs WHERE path = ?", (path,)).fetchone()
            if row is None:
                made_by = (path, source, made, redacted)
                query = "INSERT INTO logs (path, source, made, redacted) VALUES (?, ?, ?, ?)"
                return int(self._db.execute(query, made_by).lastrowid or 0)
            number = int(row[0])
            if row[1:] != (made, source, redacted):
                self.clear(number)
                how = (source, made, redacted, number)
                self._db.execute("UPDATE logs SET source = ?, made = ?, redacted = ? WHERE id = ?", how)
            return number

    def tidy(self, *, redacted: bool) -> None:
        """Drop logs that are no longer on the disk and, where texts are to be `redacted`, those that were not."""
        with self._errors():
            for number, path, was in self._db.execute("SELECT id, path, redacted FROM logs").fetchall():
                if not Path(path).exists() or (redacted and not was):
                    self.clear(number)
                    self._db.execute("DELETE FROM logs WHERE id = ?", (number,))

    def stamps(self, log: int) -> dict[bytes, str]:
        """Return the stamp that each thread of a log was read at."""
        with self._errors():
            return dict(self._db.execute("SELECT name, stamp FROM threads WHERE log = ? AND stamp NOTNULL", (log,)))

    def _thread(self, log: int, name: bytes) -> int:
        """Return the number of a thread; one that is new gets the next.

        Numbers grow, so that what a night adds stands together at the end of every index, and little is written.
        """
        if log not in self._threads:
            self._threads[log] = dict(self._db.execute("SELECT name, id FROM threads WHERE log = ?", (log,)))
        known = self._threads[log]
        if name not in known:
            made = self._db.execute("INSERT INTO threads (log, name) VALUES (?, ?)", (log, name))
            known[name] = int(made.lastrowid or 0)
        return known[name]

    def clear(self, log: int) -> None:
        """Drop everything of a log."""
        self._threads.pop(log, None)
        with self._errors():
            for table in ("threads", "episodes", "losses"):
                self._db.execute(f"DELETE FROM {table} WHERE log = ?", (log,))

    def drop(self, log: int, threads: Iterable[bytes]) -> None:
        """Drop some threads of a log."""
        with self._errors():
            which = [(self._thread(log, name),) for name in threads]
            self._db.executemany("DELETE FROM episodes WHERE thread = ?", which)
            self._db.executemany("DELETE FROM losses WHERE thread = ?", which)
            self._db.executemany("DELETE FROM threads WHERE id = ?", which)
        self._threads.pop(log, None)

    def add(
        self, log: int, thread: bytes, names: Iterable[bytes], episode: Episode, redacted: Mapping[str, int]
    ) -> None:
        """Keep an episode, redacted; `names` are the hashes of all that it can be called by."""
        start, text = episode.started_at or "", to_line(episode)
        query = (
            "INSERT INTO episodes (log, thread, names, started_at, name, redacted, body) VALUES (?, ?, ?, ?, ?, ?, ?)"
        )
        with self._errors():
            number = self._thread(log, thread)
            row = (log, number, b"".join(names), start, episode.thread, _counts(redacted), text)
            self._db.execute(query, row)

    def lose(self, log: int, thread: bytes, names: Iterable[bytes], verdict: Verdict) -> None:
        """Keep what could not be read of a thread."""
        told = (verdict.id, verdict.step, verdict.reason, verdict.detail, verdict.message)
        with self._errors():
            row = (log, self._thread(log, thread), b"".join(names), *told)
            self._db.execute("INSERT INTO losses VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)

    def settle(self, log: int, stamps: Mapping[bytes, str]) -> None:
        """Remember the stamps that threads were read at."""
        with self._errors():
            rows = [(stamp, self._thread(log, thread)) for thread, stamp in stamps.items()]
            self._db.executemany("UPDATE threads SET stamp = ? WHERE id = ?", rows)

    # -- reading --

    def episodes(self, paths: Mapping[str, str]) -> Iterator[Held]:
        """Yield the episodes of some logs in the order of their start, whenever they were read.

        Args:
            paths: the logs, by the path they are kept under, and the path that their episodes are to bear.
        """
        with self._errors():
            logs = {number: paths[path] for path, number in self._logs(paths).items()}
            order = f"WHERE log IN ({_listed(logs)}) ORDER BY started_at, name, log, id"
            rows = self._db.execute(f"SELECT log, body, redacted, names, id FROM episodes {order}")
            for log, body, redacted, names, number in rows:
                document = exact_json(body) | {"path": logs[log]}
                yield Held(from_dict(document), _read_counts(redacted), _split(names), number)

    def episode(self, number: int) -> Episode | None:
        """Return one episode by its number, None when it is no longer held."""
        with self._errors():
            row = self._db.execute("SELECT body FROM episodes WHERE id = ?", (number,)).fetchone()
        return None if row is None else from_dict(exact_json(row[0]))

    def logs(self) -> list[str]:
        """Return the paths of the logs that episodes are held of."""
        with self._errors():
            return [row[0] for row in self._db.execute("SELECT path FROM logs ORDER BY id")]

    def losses(self, paths: Iterable[str]) -> Iterator[tuple[Verdict, frozenset[bytes]]]:
        """Yield what could not be read of some logs, and the hashes of what it is of, in an order of its own."""
        with self._errors():
            numbers = _listed(self._logs(paths).values())
            order = f"WHERE l.log IN ({numbers}) ORDER BY t.name, l.name, detail, reason, l.rowid"
            told = "l.names, l.name, l.step, l.reason, l.detail, l.message"
            rows = self._db.execute(f"SELECT {told} FROM losses l JOIN threads t ON t.id = l.thread {order}")
            for names, *verdict in rows:
                yield Verdict(*verdict), _split(names)

    def _logs(self, paths: Iterable[str]) -> dict[str, int]:
        known = dict(self._db.execute("SELECT path, id FROM logs"))
        return {path: known[path] for path in paths if path in known}

    # -- forgetting --

    def forgotten(self) -> frozenset[bytes]:
        """Return the hashes of the names that are never to be read again."""
        with self._errors():
            return frozenset(row[0] for row in self._db.execute("SELECT name FROM forgotten"))

    def forget(self, names: Collection[bytes]) -> int:
        """Drop for good everything that goes by one of some hashed names; return how many episodes there were."""
        wanted, gone = frozenset(names), 0
        with self.changing(), self._errors():
            for table in ("losses", "episodes"):
                rows = self._db.execute(f"SELECT rowid, names FROM {table}")
                which = [(key,) for key, cell in rows if wanted & _split(cell)]
                self._db.executemany(f"DELETE FROM {table} WHERE rowid = ?", which)
                gone = len(which)
            self._db.executemany("INSERT OR IGNORE INTO forgotten VALUES (?, ?)", [(name, _now()) for name in wanted])
        return gone

    def remember(self, names: Collection[bytes]) -> bool:
        """Let forgotten names be read again; tell whether one was forgotten. The next harvest reads everything."""
        with self.changing(), self._errors():
            cursor = self._db.executemany("DELETE FROM forgotten WHERE name = ?", [(name,) for name in names])
            found = cursor.rowcount > 0
            if found:  # whose fork it was is not known here
                self._db.execute("UPDATE threads SET stamp = NULL")
        return found


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers)) or "NULL"


def _split(names: bytes) -> frozenset[bytes]:
    return frozenset(names[at : at + HASH] for at in range(0, len(names), HASH))


def _counts(redacted: Mapping[str, int]) -> str | None:
    return ",".join(f"{kind}={number}" for kind, number in sorted(redacted.items())) or None


def _read_counts(cell: str | None) -> Counter[str]:
    pairs = (part.split("=") for part in (cell or "").split(",") if part)
    return Counter({kind: int(number) for kind, number in pairs})


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def unread(now: Mapping[str, str], held: Mapping[bytes, str], never: Collection[bytes]) -> tuple[set[str], set[bytes]]:
    """Return the threads of a log that are to be read, and the hashes of those held that are to go.

    Args:
        now: the stamps of the log's threads.
        held: the stamps that threads were read at, by hash.
        never: hashes of threads that are not to be read.
    """
    hashes = {name_hash(thread): thread for thread in now}
    changed = {thread for key, thread in hashes.items() if key not in never and held.get(key) != now[thread]}
    gone = {key for key in held if key not in hashes or key in never}
    return changed, gone
