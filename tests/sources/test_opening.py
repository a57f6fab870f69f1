import contextlib
import hashlib
import sqlite3
from pathlib import Path

import pytest

from lunar_tune import plugins
from lunar_tune.errors import EmptyLog, NotSqlite, SourceLocked, SourceMissing, UnknownSchema, UsageError
from lunar_tune.settings import HarvestSettings
from lunar_tune.sources import base
from lunar_tune.sources.detect import describe, find_logs, open_log
from lunar_tune.sources.llm import LlmSource
from lunar_tune.sources.lunar import LunarSource
from lunar_tune.sources.read import open_logs, read_logs

SOURCES = (LlmSource(), LunarSource())


@pytest.fixture
def small(lunar_log):
    lunar_log.conversation("t1")
    lunar_log.say("t1", "user", "Hello")
    lunar_log.say("t1", "assistant", "Hi")
    return lunar_log


def episodes(path, **settings):
    chosen = HarvestSettings(**settings)
    lost = []
    with open_logs([path] if isinstance(path, Path) else path, SOURCES, chosen) as logs:
        return list(read_logs(logs, chosen, lost.append)), lost


def test_the_built_in_readers_enter_by_the_front_door():
    assert {"llm", "lunar"} <= {source.name for source in plugins.sources()}


def test_what_is_no_log(tmp_path):
    with pytest.raises(SourceMissing):
        base.open_read_only(tmp_path / "none.db")
    with pytest.raises(NotSqlite, match="folder"):
        base.open_read_only(tmp_path)
    text = tmp_path / "notes.txt"
    text.write_text("This is no database at all. " * 50)
    with pytest.raises(NotSqlite):
        base.open_read_only(text)
    empty = tmp_path / "empty.db"
    empty.touch()
    with pytest.raises(UnknownSchema, match="no tables"):
        open_log(empty, SOURCES)


def test_an_unknown_schema_names_tables_and_readers(tmp_path):
    path = tmp_path / "other.db"
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE chat (id)")
    with pytest.raises(UnknownSchema) as caught:
        open_log(path, SOURCES)
    assert "'chat'" in caught.value.message
    assert "llm, lunar" in caught.value.hint


def test_a_damaged_database_is_an_error_of_the_log(small):
    path = small.close()
    raw = bytearray(path.read_bytes())
    raw[4096:] = b"\xee" * (len(raw) - 4096)
    path.write_bytes(raw)
    with pytest.raises(NotSqlite):
        episodes(path)


def test_a_log_is_not_touched_by_reading(small):
    path = small.close()
    before, stamp = hashlib.sha256(path.read_bytes()).digest(), path.stat().st_mtime_ns
    assert len(episodes(path)[0]) == 1
    assert (hashlib.sha256(path.read_bytes()).digest(), path.stat().st_mtime_ns) == (before, stamp)
    with contextlib.closing(base.open_read_only(path)) as db, pytest.raises(sqlite3.OperationalError, match="readonly"):
        db.execute("DELETE FROM messages")


def test_reading_beside_a_writer_sees_one_moment(small):
    small.script("PRAGMA journal_mode = WAL")
    small.say("t1", "user", "In the WAL, committed")
    path, settings = small.path, HarvestSettings()
    before, stamp = path.read_bytes(), path.stat().st_mtime_ns
    small.db.execute("INSERT INTO messages (conversation_id, position, role, content) VALUES ('t1', 9, 'user', 'open')")
    with open_logs([path], SOURCES, settings) as logs:
        small.db.commit()
        small.say("t1", "user", "Too late")
        (episode,) = read_logs(logs, settings, lambda verdict: None)
    assert [m.content for m in episode.messages] == ["Hello", "Hi", "In the WAL, committed"]
    assert (path.read_bytes(), path.stat().st_mtime_ns) == (before, stamp)


def test_a_log_that_somebody_writes_exclusively_is_locked(small, monkeypatch):
    monkeypatch.setattr(base, "BUSY_SECONDS", 0.01)
    small.script("PRAGMA locking_mode = EXCLUSIVE")
    small.db.execute("BEGIN EXCLUSIVE")
    with pytest.raises(SourceLocked):
        open_log(small.path, SOURCES)


def test_a_log_that_cannot_be_opened_in_place_is_read_from_a_private_copy(small, monkeypatch):
    small.script("PRAGMA journal_mode = WAL")
    small.say("t1", "user", "In the WAL")
    real, folders = base._connect, []

    def unwritable(path):
        db = real(path)
        db.close()
        raise sqlite3.OperationalError("unable to open database file")

    monkeypatch.setattr(base, "_connect", unwritable)
    real_mkdtemp = base.tempfile.mkdtemp
    monkeypatch.setattr(base.tempfile, "mkdtemp", lambda **k: folders.append(real_mkdtemp(**k)) or folders[-1])
    (episode,), _ = episodes(small.path)
    assert [m.content for m in episode.messages] == ["Hello", "Hi", "In the WAL"]
    assert folders
    assert not Path(folders[0]).exists()


def test_a_copy_is_never_torn(small, monkeypatch):
    real = base.shutil.copyfile

    def while_somebody_writes(source, target):
        real(source, target)
        small.say("t1", "user", "again")

    monkeypatch.setattr(base.shutil, "copyfile", while_somebody_writes)
    with pytest.raises(SourceLocked, match="keeps changing"):
        base._copy_still(small.path, small.path.parent / "copy.db")


def test_watermarks_change_with_the_content_and_only_then(small):
    def mark():
        with open_logs([small.path], SOURCES, HarvestSettings()) as (log,):
            return log.watermark

    marks = [mark()]
    assert mark() == marks[0]
    small.script("CREATE TABLE unrelated (x); INSERT INTO unrelated VALUES (1)")
    assert mark() == marks[0]
    for change in (
        "UPDATE messages SET content = 'Ho' WHERE content = 'Hi'",  # an edit of the same length
        "INSERT INTO feedback (message_id, rating) VALUES (2, 1)",
        "UPDATE feedback SET rating = -1",
        "DELETE FROM messages WHERE position = 1",
    ):
        small.script(change)
        marks.append(mark())
    assert len(set(marks)) == len(marks)


def test_logs_of_several_agents_join_only_when_asked(small, llm_log, tmp_path):
    llm_log.add("responses", id="1", prompt="Hi", response="Ho", datetime_utc="2026-09-01")
    paths = [small.close(), llm_log.close()]
    with pytest.raises(UsageError) as caught:
        episodes(paths)
    assert all(repr(str(path)) in caught.value.message for path in paths)
    both, _ = episodes(paths, also=True)
    assert [e.source for e in both] == ["llm", "lunar"]  # in the order of their start
    assert len(episodes([paths[0], paths[0]])[0]) == 1


def test_since_is_a_date_and_what_is_older_is_reported(small):
    path = small.close()
    assert len(episodes(path, since="2026-10-01")[0]) == 1
    kept, lost = episodes(path, since="2026-10-02")
    assert (kept, [v.reason for v in lost]) == ([], ["before the date asked for"])
    with pytest.raises(UsageError, match="ISO date"):
        episodes(path, since="last week")


def test_an_empty_log_says_so(lunar_log):
    with pytest.raises(EmptyLog):
        episodes(lunar_log.close())


def test_describing_and_finding(small, tmp_path, monkeypatch):
    told = describe(small.path, SOURCES)
    assert (told.source, told.conversations, told.turns, told.calls, told.ratings) == ("lunar", 1, 1, 0, 0)
    assert told.first == told.last == "2026-10-01T08:00:00Z"
    monkeypatch.setenv("LLM_USER_PATH", str(tmp_path / "llm"))
    assert find_logs(SOURCES) == []
    (tmp_path / "llm").mkdir()
    (tmp_path / "llm" / "logs.db").touch()
    assert find_logs(SOURCES) == [tmp_path / "llm" / "logs.db"]
