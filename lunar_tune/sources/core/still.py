"""A copy of a database file as one commit left it, made without a lock, so that its writer never waits.

Between commits a file stands still. That one fell into the copying shows in the header's change counter, which every
commit raises (in WAL mode the `-shm`'s header); that one is under way shows in the writer's lock, which can be asked
after without taking any. Times alone would not tell: a clock's tick is milliseconds.

The writer must be another process: a process is not told of its own locks, and closing a file ends all it has on it.
So whoever copies must not have the log open through SQLite.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import struct
import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TypeVar

from lunar_tune.errors import SourceLocked

COPY_SECONDS = 30.0  # how long a moment is looked for at which nobody writes
LONGEST_PAUSE = 0.05  # between tries, so that the copying itself does not slow the writer down
SETTLED_SECONDS = 2.0  # a journal this old is a crashed writer's, where no lock says so
JOURNAL = bytes.fromhex("d9d505f920a163d7")  # how a journal begins; zeros once its transaction has ended

PENDING, RESERVED, SHARED = 0x40000000, 0x40000001, 0x40000002  # the bytes of a database that SQLite locks
SHARED_SIZE = 510
FLOCK = {"linux": "hhqqi4x", "android": "hhqqi4x", "darwin": "qqihh"}.get(sys.platform)  # C's struct flock


def copy(path: Path, target: Path) -> None:
    """Copy a database and what belongs to it (a WAL, a crashed writer's journal) between two commits.

    Raises:
        SourceLocked: there was no such moment for `COPY_SECONDS`.
    """

    def copied(parts: Collection[str]) -> None:
        for suffix in ("-wal", "-journal"):
            Path(f"{target}{suffix}").unlink(missing_ok=True)
            if suffix in parts:
                shutil.copyfile(f"{path}{suffix}", f"{target}{suffix}")
        shutil.copyfile(path, target)

    _between_commits(path, copied)


def contents(path: Path) -> bytearray | None:
    """Return a database as one commit left it, None where more than its own file belongs to it.

    Raises:
        SourceLocked: there was no such moment for `COPY_SECONDS`.
    """

    def read(parts: Collection[str]) -> bytearray | None:
        if "-journal" in parts or ("-wal" in parts and os.path.getsize(f"{path}-wal")):
            return None
        return bytearray(path.read_bytes())

    return _between_commits(path, read)


Taken = TypeVar("Taken")


def _between_commits(path: Path, take: Callable[[Collection[str]], Taken]) -> Taken:
    """Return what `take` makes of the database, tried until no commit fell into it."""
    end, pause = time.monotonic() + COPY_SECONDS, 0.002
    while True:
        before = _moment(path)
        if before is not None:
            with contextlib.suppress(FileNotFoundError):  # a journal that has gone: its transaction has ended
                taken = take(before)
                if _moment(path) == before:
                    return taken
        if time.monotonic() >= end:
            raise SourceLocked(path, "it is being written" if before is None else "it keeps changing")
        time.sleep(pause)
        pause = min(pause * 1.3, LONGEST_PAUSE)


def _moment(path: Path) -> dict[str, object] | None:
    """Return what every commit changes, by the suffix of the file it is of; None while one is under way.

    The lock is asked after on both sides, or a commit could begin between the question and the reading, or end between
    the reading and the question.
    """
    first = _lock(path)
    if first == "exclusive":
        return None
    found: dict[str, object] = {"": (_read(path, 24, 4), _times(path))}
    with contextlib.suppress(FileNotFoundError):
        found["-wal"] = _times(Path(f"{path}-wal"))
    with contextlib.suppress(FileNotFoundError, PermissionError):
        found["-shm"] = _read(Path(f"{path}-shm"), 0, 100)  # changes with every commit and every checkpoint
    journal = Path(f"{path}-journal")
    # A writer that has only reserved its turn has a journal, but has not written to the database.
    with contextlib.suppress(FileNotFoundError):
        if first != "reserved" and _read(journal, 0, 8) == JOURNAL:
            if time.time() - journal.stat().st_mtime < SETTLED_SECONDS:
                return None  # its writer's locks may be of a kind that cannot be seen from here
            found["-journal"] = _times(journal)
    return None if _lock(path) == "exclusive" else found


def _times(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_size


def _read(path: Path, start: int, size: int) -> bytes:
    with path.open("rb", buffering=0) as handle:
        handle.seek(start)
        return handle.read(size) or b""


def _lock(path: Path) -> str:
    """Return whether a writer has the database "exclusive" or "reserved", "" for neither or where it cannot be told."""
    handle = os.open(path, os.O_RDONLY)
    try:
        if _write_locked(handle, PENDING, 1) or _write_locked(handle, SHARED, SHARED_SIZE):
            return "exclusive"
        return "reserved" if _write_locked(handle, RESERVED, 1) else ""
    finally:
        os.close(handle)


if sys.platform == "win32":

    def _write_locked(handle: int, start: int, size: int) -> bool:
        return False

else:
    import fcntl

    def _write_locked(handle: int, start: int, size: int) -> bool:
        if FLOCK is None:
            return False
        wanted = {"h": (fcntl.F_RDLCK, os.SEEK_SET, start, size, 0), "q": (start, size, 0, fcntl.F_RDLCK, os.SEEK_SET)}
        packed = struct.pack(FLOCK, *wanted[FLOCK[0]])
        try:
            answer = struct.unpack(FLOCK, fcntl.fcntl(handle, fcntl.F_GETLK, packed))
        except OSError:  # a file system that cannot say
            return False
        return bool(answer[0 if FLOCK[0] == "h" else 3] == fcntl.F_WRLCK)
