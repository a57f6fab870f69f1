"""A log that its agent, another process, has open: nobody waits for us, and what we read is of one moment."""

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from lunar_tune.errors import SourceLocked
from lunar_tune.settings import HarvestSettings
from lunar_tune.sources import base
from lunar_tune.sources.core import still
from lunar_tune.sources.lunar.source import LunarSource
from lunar_tune.sources.read import open_logs, read_logs

MODES = ["wal", "delete", "truncate", "persist", "memory", "off"]
posix = pytest.mark.skipif(os.name != "posix", reason="asks for POSIX locks")

# Adds exchanges and changes all messages, each time in one transaction, and would fail at any lock.
AGENT = """
import sqlite3, sys, threading
path, mode = sys.argv[1:]
db = sqlite3.connect(path, timeout=0, isolation_level=None)
db.execute(f"PRAGMA journal_mode = {mode}")
db.execute("PRAGMA synchronous = OFF")
db.execute("PRAGMA cache_size = 10")
stopped, number = threading.Event(), 0
threading.Thread(target=lambda: (sys.stdin.read(), stopped.set()), daemon=True).start()
while not stopped.wait(0.02):
    try:
        db.execute("BEGIN IMMEDIATE")
        for position, role in enumerate(("user", "assistant")):
            db.execute(
                "INSERT INTO messages (conversation_id, position, role, content) VALUES (?, ?, ?, 'said')",
                (f"live-{number}", position, role),
            )
        db.execute("UPDATE messages SET name = ?", (number,))
        db.execute("COMMIT")
        number += 1
        print("added", flush=True)
    except sqlite3.OperationalError as error:
        print(error, flush=True)
        if db.in_transaction:
            db.execute("ROLLBACK")
db.close()
"""

# Runs the SQL of each line.
SHELL = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None)
for line in sys.stdin:
    db.execute(line).fetchall()
    print("done", flush=True)
"""


class Agent:
    def __init__(self, path, mode):
        self.path, self.failed, self.added = path, [], 0
        self.process = subprocess.Popen(
            [sys.executable, "-c", AGENT, str(path), mode], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.more = threading.Condition()
        self.thread = threading.Thread(target=self.listen)
        self.thread.start()

    def listen(self):
        for line in self.process.stdout:
            with self.more:
                if line == "added\n":
                    self.added += 1
                else:
                    self.failed.append(line)
                self.more.notify_all()

    def wait_for(self, added):
        with self.more:
            assert self.more.wait_for(lambda: self.added >= added or self.failed or self.process.poll(), 60)

    def stop(self):
        self.process.stdin.close()
        self.thread.join()
        self.process.stdout.close()
        assert self.process.wait() == 0


class Shell:
    """Another process that has the log open."""

    def __init__(self, path, *lines):
        self.process = subprocess.Popen(
            [sys.executable, "-c", SHELL, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.run(*lines)

    def run(self, *lines):
        for line in lines:
            self.process.stdin.write(f"{line}\n")
            self.process.stdin.flush()
            assert self.process.stdout.readline() == "done\n"

    def kill(self):
        self.process.kill()
        self.process.wait()
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.stdout.close()


@pytest.fixture
def shell(log):
    shells = []

    def opened(*lines):
        shells.append(Shell(log, *lines))
        return shells[-1]

    yield opened
    for one in shells:
        one.kill()


@pytest.fixture
def log(lunar_log):
    for number in range(50):
        lunar_log.conversation(f"t{number}")
        lunar_log.say(f"t{number}", "user", "x" * 2000, name="0")
    return lunar_log.close()


@pytest.fixture
def copies(tmp_path, monkeypatch):
    """Return the folder in which private copies are made."""
    folder = tmp_path / "copies"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def on_disk(monkeypatch):
    """Copy small logs as large ones are."""
    monkeypatch.setattr(base, "_open_in_memory", lambda path: None)


@pytest.fixture
def one_look(monkeypatch):
    """Do not wait for a better moment."""
    monkeypatch.setattr(still, "COPY_SECONDS", 0)


def values(db):
    return {row[0] for row in db.execute("SELECT name FROM messages")}


def read(path):
    with contextlib.closing(base.open_read_only(path)) as db:
        return values(db)


@posix
@pytest.mark.parametrize("copied", ["on_disk", "in_memory"])
@pytest.mark.parametrize("mode", MODES)
def test_an_agent_never_waits_for_us_and_we_see_one_moment(mode, copied, log, request):
    if copied == "on_disk":
        request.getfixturevalue("on_disk")
    agent = Agent(log, mode)
    try:
        agent.wait_for(1)
        for _ in range(10):
            with open_logs([agent.path], [LunarSource()], HarvestSettings()) as (opened,):
                known = set(opened.threads)
                agent.wait_for(agent.added + 3)  # the agent goes on while the log is open
                found = {e.thread: e for e in read_logs([opened], HarvestSettings(), lambda verdict: None)}
                assert len(values(opened.db)) == 1
            assert set(found) == known
            live = {thread: e for thread, e in found.items() if thread.startswith("live-")}
            assert {len(e.messages) for e in live.values()} == {2}
            assert set(live) == {f"live-{n}" for n in range(len(live))}
    finally:
        agent.stop()
    assert agent.failed == []


@posix
@pytest.mark.parametrize("mode", ["delete", "persist", "memory", "off"])
def test_a_transaction_that_has_written_to_the_log_is_waited_for(mode, log, shell, one_look):
    spilled = shell(f"PRAGMA journal_mode = {mode}", "PRAGMA cache_size = 1", "BEGIN", "UPDATE messages SET name = '1'")
    with pytest.raises(SourceLocked, match="being written"):
        base.open_read_only(log)
    spilled.run("COMMIT")
    assert read(log) == {"1"}


@posix
@pytest.mark.parametrize("mode", ["delete", "persist", "memory", "off"])
def test_a_transaction_that_has_not_is_not(mode, log, shell, one_look):
    shell(f"PRAGMA journal_mode = {mode}", "BEGIN IMMEDIATE", "UPDATE messages SET name = '1'")
    assert read(log) == {"0"}


@posix
@pytest.mark.parametrize("mode", ["persist", "truncate", "delete"])
def test_a_journal_that_is_kept_is_no_transaction(mode, log, shell, one_look):
    shell(f"PRAGMA journal_mode = {mode}", "UPDATE messages SET name = '1'")
    journal = Path(f"{log}-journal")
    assert (journal.exists(), journal.exists() and journal.stat().st_size > 0) == (mode != "delete", mode == "persist")
    assert read(log) == {"1"}


@posix
def test_a_log_held_exclusively_is_locked(log, shell, one_look):
    shell("PRAGMA locking_mode = EXCLUSIVE", "PRAGMA journal_mode = WAL", "UPDATE messages SET name = '1'")
    with pytest.raises(SourceLocked):
        base.open_read_only(log)


@posix
def test_locks_are_told_apart(log, shell):
    writer = shell()
    assert still._lock(log) == ""
    for line, lock in (
        ("BEGIN", ""),
        ("SELECT 1 FROM messages", ""),
        ("ROLLBACK", ""),
        ("BEGIN IMMEDIATE", "reserved"),
        ("ROLLBACK", ""),
        ("BEGIN EXCLUSIVE", "exclusive"),
        ("ROLLBACK", ""),
    ):
        writer.run(line)
        assert still._lock(log) == lock, line


def test_without_an_answer_a_fresh_journal_is_a_transaction(log, shell, one_look, monkeypatch):
    monkeypatch.setattr(still, "_write_locked", lambda *_: False)
    shell("PRAGMA cache_size = 1", "BEGIN", "UPDATE messages SET name = '1'")
    monkeypatch.setattr(still, "SETTLED_SECONDS", 1e9)
    with pytest.raises(SourceLocked):
        base.open_read_only(log)
    monkeypatch.setattr(still, "SETTLED_SECONDS", 0)
    assert read(log) == {"0"}  # as if it had crashed: the journal is copied and takes the changes back


def crashed(log, shell):
    """Leave a log half changed and the journal that takes it back."""
    writer = shell("PRAGMA cache_size = 1", "BEGIN", "UPDATE messages SET name = '1'")
    writer.kill()
    assert Path(f"{log}-journal").read_bytes().startswith(still.JOURNAL)


def test_a_crashed_writers_transaction_is_taken_back_in_the_copy_only(log, shell, monkeypatch):
    monkeypatch.setattr(still, "SETTLED_SECONDS", 0)
    crashed(log, shell)
    before = {file: file.read_bytes() for file in (log, Path(f"{log}-journal"))}
    assert read(log) == {"0"}
    assert {file: file.read_bytes() for file in before} == before


def test_a_journal_that_vanishes_is_looked_at_again(log, shell, monkeypatch):
    monkeypatch.setattr(still, "SETTLED_SECONDS", 0)
    crashed(log, shell)
    real, seen = shutil.copyfile, []

    def once_somebody_takes_it_back(source, target):
        seen.append(str(source))
        if len(seen) == 1:
            shell("SELECT count(*) FROM messages")  # whoever reads first takes it back
            assert not Path(source).exists()
        return real(source, target)

    monkeypatch.setattr(still.shutil, "copyfile", once_somebody_takes_it_back)
    assert read(log) == {"0"}
    assert seen == [f"{log}-journal", str(log)]


def test_a_small_log_is_read_from_memory(log, shell, copies, monkeypatch):
    monkeypatch.setattr(base, "_open_copy", None)
    shell("PRAGMA journal_mode = WAL", "UPDATE messages SET name = '1'").process.communicate()
    with contextlib.closing(base.open_read_only(log)) as db:
        shell("UPDATE messages SET name = '2'")
        assert values(db) == {"1"}
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            db.execute("DELETE FROM messages")


def test_what_is_read_into_memory_is_never_torn(log, shell, one_look, monkeypatch):
    real, writer = Path.read_bytes, shell("PRAGMA journal_mode = MEMORY")

    def while_somebody_writes(path):
        data = real(path)
        writer.run("UPDATE messages SET name = name + 1")
        return data

    monkeypatch.setattr(Path, "read_bytes", while_somebody_writes)
    with pytest.raises(SourceLocked, match="keeps changing"):
        still.contents(log)


def test_a_copy_is_never_torn(log, shell, one_look, monkeypatch):
    real, writer = shutil.copyfile, shell("PRAGMA journal_mode = MEMORY")

    def while_somebody_writes(source, target):
        real(source, target)
        writer.run("UPDATE messages SET name = name + 1")

    monkeypatch.setattr(still.shutil, "copyfile", while_somebody_writes)
    with pytest.raises(SourceLocked, match="keeps changing"):
        still.copy(log, log.parent / "copy.db")


def test_a_wal_log_that_nobody_has_open_gets_no_other_files(log, shell, copies):
    shell("PRAGMA journal_mode = WAL", "UPDATE messages SET name = '1'").process.communicate()  # the end of its input
    beside = {file.name for file in log.parent.iterdir()}
    assert not {f"{log.name}-wal", f"{log.name}-shm"} & beside
    assert read(log) == {"1"}
    assert {file.name for file in log.parent.iterdir()} == beside


def test_a_killed_agents_wal_is_read_without_leaving_another_file(log, shell, copies):
    writer = shell("PRAGMA journal_mode = WAL", "UPDATE messages SET name = '1'")
    writer.kill()
    Path(f"{log}-shm").unlink()
    beside = {file: file.is_file() and file.read_bytes() for file in log.parent.iterdir()}
    assert read(log) == {"1"}
    assert {file: file.is_file() and file.read_bytes() for file in log.parent.iterdir()} == beside


def test_a_wal_log_that_is_open_is_read_in_place(log, shell, copies, monkeypatch):
    monkeypatch.setattr(base, "_open_copy", None)
    writer = shell("PRAGMA journal_mode = WAL", "UPDATE messages SET name = '1'")
    link = copies / "link.db"
    link.symlink_to(log)  # what belongs to a log lies beside the log
    with contextlib.closing(base.open_read_only(link)) as db:
        writer.run("UPDATE messages SET name = '2'")
        assert values(db) == {"1"}


def test_a_wal_log_without_room_for_a_copy_is_read_in_place(log, shell, copies, on_disk, monkeypatch):
    import errno

    shell("PRAGMA journal_mode = WAL").process.communicate()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(still.shutil, "copyfile", full)
    assert read(log) == {"0"}
    assert list(copies.iterdir()) == []


@posix
@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_a_copy_is_deleted_as_soon_as_it_is_open_and_can_still_be_read(mode, log, shell, copies, on_disk, monkeypatch):
    monkeypatch.setattr(still, "SETTLED_SECONDS", 0)
    monkeypatch.setattr(base, "_open_in_place", lambda path: None)
    if mode == "wal":
        shell("PRAGMA journal_mode = WAL", "PRAGMA wal_autocheckpoint = 0", "UPDATE messages SET name = '0'")
    else:
        crashed(log, shell)
    with contextlib.closing(base.open_read_only(log)) as db:
        assert list(copies.iterdir()) == []
        db.execute("PRAGMA cache_size = 1")
        for store in ("FILE", "MEMORY"):
            db.execute(f"PRAGMA temp_store = {store}")
            rows = db.execute(
                "SELECT m.content, o.id FROM messages m, messages o JOIN conversations c ON c.id = m.conversation_id "
                "WHERE m.name IN (SELECT value FROM json_each('[\"0\"]')) ORDER BY m.content || o.id DESC, m.id"
            )
            assert sum(1 for _ in rows) == 2500
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            db.execute("DELETE FROM messages")


@posix
def test_a_killed_process_leaves_no_copy(log, copies):
    code = (
        "import sys; from pathlib import Path; from lunar_tune.sources import base\n"
        "base._open_in_memory = lambda path: None\n"
        "db = base.open_read_only(Path(sys.argv[1])); print('open', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(log)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(copies)},
    )
    assert process.stdout.readline() == "open\n"
    process.kill()
    process.communicate()
    assert list(copies.iterdir()) == []


def test_where_open_files_stay_the_copy_goes_with_the_connection(log, copies, on_disk, monkeypatch):
    monkeypatch.setattr(base, "UNLINKS", False)
    db = base.open_read_only(log)
    assert len(list(copies.glob("*/log.db"))) == 1
    db.close()
    assert list(copies.iterdir()) == []


def test_abandoned_copies_are_removed_by_the_next_opening(log, copies):
    for name, age in ((f"{base.COPY}old", 2e5), (f"{base.COPY}new", 10), ("another", 2e5)):
        (copies / name).mkdir()
        (copies / name / "log.db").touch()
        changed = (copies / name).stat().st_mtime - age
        os.utime(copies / name, (changed, changed))
    read(log)
    assert sorted(file.name for file in copies.iterdir()) == ["another", f"{base.COPY}new"]


@pytest.mark.parametrize("damage", ["head", "folder"])
def test_what_fails_leaves_no_copy(damage, log, copies, on_disk):
    if damage == "head":
        log.write_bytes(log.read_bytes()[:100] + b"\xff" * 4000)
    else:
        Path(f"{log}-wal").mkdir()
    with pytest.raises(base.NotSqlite):
        base.open_read_only(log)
    assert list(copies.iterdir()) == []
