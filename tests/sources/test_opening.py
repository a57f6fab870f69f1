import contextlib
import hashlib
import sqlite3
from pathlib import Path

import pytest
from examples import claude_code

from lunar_tune import plugins
from lunar_tune.errors import EmptyLog, NotSqlite, SourceMissing, UnknownSchema, UsageError
from lunar_tune.settings import HarvestSettings, Settings
from lunar_tune.sources import base
from lunar_tune.sources.claude_code.source import ClaudeCodeSource
from lunar_tune.sources.codex.source import CodexSource
from lunar_tune.sources.detect import describe, find_logs, open_log
from lunar_tune.sources.llm.source import LlmSource
from lunar_tune.sources.lunar.source import LunarSource
from lunar_tune.sources.read import open_logs, read_logs
from lunar_tune.workflow.data import describe_logs

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
    with pytest.raises(UnknownSchema, match="no tables"), open_log(empty, SOURCES):
        pass


def test_an_unknown_schema_names_tables_and_readers(tmp_path):
    path = tmp_path / "other.db"
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE chat (id)")
    with pytest.raises(UnknownSchema) as caught, open_log(path, SOURCES):
        pass
    assert "'chat'" in caught.value.message
    assert "llm, lunar" in caught.value.hint
    assert caught.value.suggestion == ""


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
    (tmp_path / "llm" / "logs.db").mkdir(parents=True)
    assert find_logs(SOURCES) == []
    (tmp_path / "llm" / "logs.db").rmdir()
    (tmp_path / "llm" / "logs.db").touch()
    assert find_logs(SOURCES) == [tmp_path / "llm" / "logs.db"]


def test_a_folder_is_offered_once_its_reader_recognises_something(tmp_path, monkeypatch):
    readers = (ClaudeCodeSource(), CodexSource())
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path / "claude"))
    monkeypatch.setenv("CODEX_HOME", str(tmp_path / "codex"))
    (tmp_path / "claude/projects/p").mkdir(parents=True)
    (tmp_path / "codex/sessions").mkdir(parents=True)
    (tmp_path / "claude/projects/p/notes.jsonl").write_text('{"a": 1}\n')
    assert find_logs(readers) == []
    claude_code.build(tmp_path / "claude")
    assert find_logs(readers) == [tmp_path / "claude/projects"]


@pytest.fixture
def described(tmp_path, monkeypatch):
    """Return describe_logs on a machine whose agents left nothing."""
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    monkeypatch.setattr(plugins, "sources", lambda: SOURCES)
    monkeypatch.setenv("LLM_USER_PATH", str(tmp_path / "llm"))
    said = []

    class Heard:
        def progress(self, *told):
            said.append(told)

    def describing(*given):
        return describe_logs(Settings(), [str(path) for path in given], Heard()), said

    return describing


def test_an_unreadable_log_is_told_among_others_and_raised_alone(small, described, tmp_path):
    assert described() == ([], [])
    (tmp_path / "llm").mkdir()
    (tmp_path / "llm/logs.db").write_text("no database")
    (found,), _ = described()
    assert (found["path"], found["source"]) == (str(tmp_path / "llm/logs.db"), "")
    assert "not a readable SQLite database" in found["problem"]
    with pytest.raises(NotSqlite):
        described(tmp_path / "llm/logs.db")
    with pytest.raises(SourceMissing):
        described(tmp_path / "none.jsonl")
    found, _ = described(tmp_path / "none.jsonl", small.close())
    assert [(f["source"], f["conversations"], f["problem"][:6]) for f in found] == [("", 0, "No log"), ("lunar", 1, "")]


def test_progress_ends(small, described):
    for number in range(1200):
        small.db.execute(
            "INSERT INTO messages (conversation_id, role, content) VALUES (?, 'user', '?')", (f"p{number}",)
        )
    small.db.commit()
    _, said = described(small.path)
    assert [done == total for _, done, total in said] == [False, False, True]
    assert len({stage for stage, _, _ in said}) == 1


def test_numbers_are_looked_for_as_numbers(tmp_path):
    with contextlib.closing(sqlite3.connect(tmp_path / "a.db")) as db:
        db.execute("CREATE TABLE t (id)")
        numbers = [0, 7, -7, 1234567890123456789, (1 << 63) - 1, -(1 << 63)]
        texts = ["1234567890123456789", "007", "-0", "--7", "9" * 19, "9" * 5000, "a", "\u0663"]
        db.executemany("INSERT INTO t VALUES (?)", [(value,) for value in numbers + texts])

        def found(*only):
            condition, parameters = base.among("id", only)
            return [row[0] for row in db.execute(f"SELECT id FROM t WHERE {condition} ORDER BY rowid", parameters)]

        for number in numbers:
            assert found(str(number)) == [number, *(text for text in texts if text == str(number))]
        for text in texts[1:]:
            assert found(text) == [text]
        assert found() == []


def test_a_large_wal_log_that_nobody_has_open_is_not_copied(small, monkeypatch):
    small.script("PRAGMA journal_mode = WAL")
    path = small.close()
    monkeypatch.setattr(base, "SMALL", 0)
    monkeypatch.setattr(base.tempfile, "mkdtemp", lambda **how: pytest.fail("copied"))
    assert len(episodes(path)[0]) == 1
