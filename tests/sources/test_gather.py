"""What a workspace keeps of its logs: what is new is read, what changed replaces its older self, what is gone goes."""

import contextlib
import dataclasses
import json
import sqlite3

import pytest

from lunar_tune import plugins, workflow
from lunar_tune.artefacts import Verdict
from lunar_tune.errors import EmptyLog, EpisodesBroken, UsageError
from lunar_tune.settings import Settings, load_settings
from lunar_tune.sources import base
from lunar_tune.sources.lunar.source import LunarSource
from lunar_tune.sources.read import open_logs
from lunar_tune.store import EpisodeStore
from lunar_tune.workflow.gather import gather, kept_episodes

SECRET = "sk-live9f8e7d6c5b4a39281706"


class Listener:
    def __init__(self):
        self.said = []

    def say(self, text):
        self.said.append(text)

    def progress(self, stage, done, total, note=""):
        pass


@pytest.fixture
def log(lunar_log):
    for number in range(4):
        thread = f"t{number}"
        lunar_log.conversation(thread, started_at=f"2026-10-0{number + 1}T08:00:00Z")
        lunar_log.say(thread, "user", f"Question {number}")
        lunar_log.say(thread, "assistant", f"Answer {number}")
    lunar_log.say("t1", "user", f"My key is {SECRET}")
    lunar_log.say("t1", "assistant", "Keep it to yourself.", tool_calls="[{")
    return lunar_log


@pytest.fixture
def space(tmp_path):
    with workflow.open_workspace(tmp_path / "home", Settings(), Listener()) as opened:
        yield opened


def read(space, path, **how):
    with (
        contextlib.closing(EpisodeStore(space.home)) as kept,
        open_logs([path], plugins.sources(), space.settings.harvest) as logs,
    ):
        (told,) = gather(space, logs, kept, **how)
    return told


def held(space, path):
    lost = []
    with contextlib.closing(EpisodeStore(space.home)) as kept:
        found = [one.episode for one in kept_episodes(space, kept, [path], lost.append)]
    return {e.thread: [m.content for m in e.messages] for e in found}, lost


def test_only_what_is_new_is_read(log, space):
    assert read(space, log.path).threads == 4
    assert read(space, log.path).threads == 0
    log.say("t2", "user", "And then?")
    log.conversation("t9", started_at="2026-09-01T08:00:00Z")
    log.say("t9", "user", "Hello")
    told = read(space, log.path)
    assert (told.threads, told.known, told.episodes) == (2, 5, 2)
    found, lost = held(space, log.path)
    assert list(found) == ["t9", "t0", "t1", "t2", "t3"]  # in the order of their start
    assert found["t2"] == ["Question 2", "Answer 2", "And then?"]
    assert [(v.id, v.reason) for v in lost] == [("t1", "unreadable tool calls")]


def test_a_reading_that_breaks_off_changes_nothing(log, space, monkeypatch):
    read(space, log.path)
    before = held(space, log.path)
    log.say("t0", "user", "More")
    whole = LunarSource.read

    def broken(self, *given):
        yield from whole(self, *given)
        raise KeyboardInterrupt

    monkeypatch.setattr(LunarSource, "read", broken)
    with pytest.raises(KeyboardInterrupt):
        read(space, log.path)
    assert held(space, log.path) == before
    monkeypatch.undo()
    assert read(space, log.path).threads == 1


def test_what_the_log_no_longer_holds_goes(log, space):
    read(space, log.path)
    log.script("DELETE FROM messages WHERE conversation_id = 't3'; DELETE FROM conversations WHERE id = 't3'")
    read(space, log.path)
    assert list(held(space, log.path)[0]) == ["t0", "t1", "t2"]


def test_a_text_changed_in_place_is_seen_in_a_small_log_and_by_a_full_read(log, space, monkeypatch):
    read(space, log.path)
    log.script("UPDATE messages SET content = 'One answer' WHERE content = 'Answer 0'")
    assert read(space, log.path).threads == 1
    assert held(space, log.path)[0]["t0"] == ["Question 0", "One answer"]
    monkeypatch.setattr(base, "SMALL", 0)
    read(space, log.path)
    log.script("UPDATE messages SET content = 'Another answer' WHERE content = 'One answer'")
    assert read(space, log.path).threads == 0
    assert read(space, log.path, full=True).threads == 4
    assert held(space, log.path)[0]["t0"] == ["Question 0", "Another answer"]


def test_what_is_kept_is_redacted_and_overwritten_when_it_goes(log, space):
    read(space, log.path)
    database = space.home / "episodes.db"
    assert database.stat().st_mode & 0o077 == 0
    assert SECRET.encode() not in database.read_bytes()
    assert b"Question 1" in database.read_bytes()
    with contextlib.closing(EpisodeStore(space.home)) as kept:
        assert kept._db.execute("PRAGMA secure_delete").fetchone() == (1,)  # whatever SQLite's own default is
    workflow.forget(space, ["t1"])
    assert b"Question 1" not in database.read_bytes()


def test_other_redaction_reads_anew(log, space, tmp_path):
    read(space, log.path)
    settings = load_settings([], {"curate": {"redact": False}})
    with workflow.open_workspace(tmp_path / "home", settings, Listener(), locked=False) as other:
        assert read(other, log.path).threads == 4
        assert SECRET in held(other, log.path)[0]["t1"][2]


def test_forgetting_is_for_good_and_can_be_undone(log, space):
    dataset = workflow.harvest(space, [str(log.path)])
    assert any("Question 1" in p.read_text() for p in dataset.path.glob("*.jsonl"))
    told = workflow.forget(space, ["t1"])
    assert (told["episodes"], told["datasets"]) == (1, [dataset.id])
    assert not dataset.path.exists()
    log.say("t1", "user", "Still here?")
    assert read(space, log.path).threads == 0
    dataset = workflow.harvest(space, [str(log.path)])
    assert not any("Question 1" in p.read_text() for p in dataset.path.glob("*.jsonl"))
    assert "was not forgotten" in workflow.remember(space, ["t2"])["said"][0]
    workflow.remember(space, ["t1"])
    read(space, log.path)
    assert "Still here?" in held(space, log.path)[0]["t1"]


def test_excluded_threads_stay_out_of_the_dataset_with_a_reason(log, space, tmp_path):
    settings = load_settings([], {"harvest": {"exclude": ["t0"]}})
    with workflow.open_workspace(tmp_path / "home", settings, Listener(), locked=False) as other:
        read(other, log.path)
        found, lost = held(other, log.path)
    assert "t0" not in found
    assert ("t0", "excluded by the settings") in [(v.id, v.reason) for v in lost]


def test_the_same_dataset_comes_of_reading_once_or_in_two_parts(log, space, tmp_path):
    first = workflow.harvest(space, [str(log.path)])
    assert workflow.harvest(space, [str(log.path)]).id == first.id
    log.say("t2", "user", "And then?")
    log.say("t2", "assistant", "Nothing.")
    grown = workflow.harvest(space, [str(log.path)])
    with workflow.open_workspace(tmp_path / "other", Settings(), Listener()) as other:
        assert workflow.harvest(other, [str(log.path)]).id == grown.id
    assert grown.id != first.id
    assert space.talk.said[-1].startswith("read 1 conversations; 3 are as they were")


def test_a_reader_that_does_not_keep_to_its_threads_is_read_whole(log, space, monkeypatch):
    monkeypatch.setattr(LunarSource, "threads", lambda self, db: [("x", str(db.total_changes))])
    for _ in range(2):
        assert read(space, log.path).episodes == 4
        assert len(held(space, log.path)[0]) == 4


def test_an_empty_log_says_so(lunar_log, space):
    with pytest.raises(EmptyLog):
        workflow.harvest(space, [str(lunar_log.path)])


def test_an_older_store_is_made_anew_but_remembers_what_to_forget(log, space):
    read(space, log.path)
    workflow.forget(space, ["t1"])
    with contextlib.closing(sqlite3.connect(space.home / "episodes.db")) as db:
        db.execute("PRAGMA user_version = 0")
    assert read(space, log.path).episodes == 3
    assert list(held(space, log.path)[0]) == ["t0", "t2", "t3"]


def test_a_file_that_is_no_store_is_an_error_with_its_name(space):
    (space.home / "episodes.db").write_text("not a database" * 100)
    with pytest.raises(EpisodesBroken, match=r"episodes\.db"):
        EpisodeStore(space.home)


def test_counts_of_redacted_secrets_are_those_of_the_first_reading(log, space):
    first = json.loads((workflow.harvest(space, [str(log.path)]).path / "manifest.json").read_text())
    again = json.loads((workflow.harvest(space, [str(log.path)]).path / "manifest.json").read_text())
    assert first["curation"]["redacted"] == again["curation"]["redacted"] != {}


def test_a_name_that_redaction_rewrites_can_be_forgotten_and_excluded_as_the_log_has_it(log, space, tmp_path):
    log.conversation("eve@example.com", started_at="2026-10-05T08:00:00Z")
    log.say("eve@example.com", "user", "Secret plans")
    log.conversation("child", started_at="2026-10-06T08:00:00Z", meta='{"parent": "eve@example.com"}')
    log.say("child", "user", "Secret plans, again")
    read(space, log.path)
    settings = load_settings([], {"harvest": {"exclude": ["eve@example.com"]}})
    with workflow.open_workspace(tmp_path / "home", settings, Listener(), locked=False) as other:
        assert list(held(other, log.path)[0]) == ["t0", "t1", "t2", "t3"]
    assert workflow.forget(space, ["eve@example.com"])["episodes"] == 2
    log.say("eve@example.com", "user", "More plans")
    read(space, log.path, full=True)
    assert list(held(space, log.path)[0]) == ["t0", "t1", "t2", "t3"]
    assert b"plans" not in (space.home / "episodes.db").read_bytes()


def test_the_branches_of_a_forgotten_conversation_do_not_come_back(log, space, monkeypatch):
    whole = LunarSource.read

    def branching(self, db, path, report, only=None):
        for episode in whole(self, db, path, report, only):
            yield episode
            yield dataclasses.replace(episode, thread=f"{episode.thread}#1")

    monkeypatch.setattr(LunarSource, "read", branching)
    read(space, log.path)
    assert workflow.forget(space, ["t1"])["episodes"] == 2
    read(space, log.path, full=True)
    found, lost = held(space, log.path)
    assert not [name for name in found if name.startswith("t1")]
    assert not [verdict for verdict in lost if verdict.id.startswith("t1")]


def test_an_interrupted_forgetting_is_finished_by_the_next(log, space, monkeypatch):
    dataset = workflow.harvest(space, [str(log.path)])
    (space.home / "cache" / "tokens").mkdir(parents=True)
    (space.home / "work" / "run-1").mkdir(parents=True)
    assert workflow.forget(space, ["nobody"])["datasets"] == []
    assert (space.home / "work" / "run-1").exists()
    monkeypatch.setattr("shutil.rmtree", lambda *given, **how: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        workflow.forget(space, ["t1"])
    monkeypatch.undo()
    (dataset.path / "manifest.json").unlink()  # as far as a removal may have come
    told = workflow.forget(space, ["t1"])
    assert told["datasets"] == [dataset.id]
    assert not dataset.path.exists()
    assert not (space.home / "cache").exists()
    assert not (space.home / "work" / "run-1").exists()
    with pytest.raises(UsageError):
        workflow.forget(space, [""])


def test_a_night_depends_on_what_is_forgotten(log, space):
    before = workflow.forgotten_mark(space)
    workflow.forget(space, ["t1"])
    assert workflow.forgotten_mark(space) != before
    workflow.remember(space, ["t1"])
    assert workflow.forgotten_mark(space) == before


def test_the_same_dataset_comes_of_reading_in_any_parts(lunar_log, space, tmp_path):
    for number in range(6):
        lunar_log.conversation(f"t{number}", started_at="2026-10-01T08:00:00Z")
        lunar_log.say(f"t{number}", "user", f"Question {number}")
        lunar_log.say(f"t{number}", "assistant", f"Answer {number}", tool_calls="[{" if number % 2 else None)
    workflow.harvest(space, [str(lunar_log.path)])
    for number in (3, 0):
        lunar_log.say(f"t{number}", "user", "And then?")
        workflow.harvest(space, [str(lunar_log.path)])
    with workflow.open_workspace(tmp_path / "other", Settings(), Listener()) as other:
        whole = workflow.harvest(other, [str(lunar_log.path)])
        assert workflow.harvest(space, [str(lunar_log.path)]).id == whole.id


def test_numbers_of_any_size_come_back(lunar_log, space):
    lunar_log.conversation("t")
    lunar_log.say("t", "user", "Find it")
    call = '[{"name": "find", "arguments": {"id": 123456789012345678901234567890}}]'
    lunar_log.say("t", "assistant", "", tool_calls=call)
    read(space, lunar_log.path)
    with contextlib.closing(EpisodeStore(space.home)) as kept:
        ((episode,),) = [[one.episode for one in kept_episodes(space, kept, [lunar_log.path], print)]]
    assert episode.messages[1].tool_calls[0].arguments == {"id": 123456789012345678901234567890}


def test_a_thread_that_gives_nothing_by_itself_is_read_with_the_others(log, space, monkeypatch):
    read(space, log.path)
    log.say("t2", "user", "And then?")
    whole = LunarSource.read
    monkeypatch.setattr(
        LunarSource, "read", lambda self, db, path, report, only=None: whole(self, db, path, report, only and set())
    )
    read(space, log.path)
    assert held(space, log.path)[0]["t2"] == ["Question 2", "Answer 2", "And then?"]


def test_logs_that_are_gone_and_texts_that_were_not_redacted_do_not_stay(log, space, tmp_path):
    settings = load_settings([], {"curate": {"redact": False}})
    with workflow.open_workspace(tmp_path / "home", settings, Listener(), locked=False) as other:
        read(other, log.path)
    database = space.home / "episodes.db"
    assert SECRET.encode() in database.read_bytes()
    moved = log.path.with_name("moved.db")
    moved.write_bytes(log.path.read_bytes())
    read(space, moved)
    assert SECRET.encode() not in database.read_bytes()
    moved.rename(moved.with_name("again.db"))
    read(space, moved.with_name("again.db"))
    with contextlib.closing(EpisodeStore(space.home)) as kept:
        assert kept._db.execute("SELECT count(*) FROM logs").fetchone() == (1,)


def test_another_version_of_a_reader_reads_anew(log, space, monkeypatch):
    read(space, log.path)
    monkeypatch.setattr(LunarSource, "version", "2", raising=False)
    assert read(space, log.path).threads == 4


def test_a_log_may_be_named_in_other_words(log, space, monkeypatch):
    workflow.harvest(space, [str(log.path)])
    monkeypatch.chdir(log.path.parent)
    log.say("t0", "user", "And then?")
    log.say("t0", "assistant", "Nothing.")
    manifest = workflow.harvest(space, [log.path.name]).manifest
    rows = sum(manifest["counts"][split] for split in ("train", "valid", "test"))
    assert [(one["path"], one["rows"]) for one in manifest["sources"]] == [(log.path.name, rows)]
    assert rows


def test_given_tools_are_redacted(log, tmp_path):
    tools = tmp_path / "tools.json"
    tools.write_text(json.dumps([{"name": "find", "description": f"Use {SECRET} or eve@example.com"}]))
    settings = load_settings([], {"harvest": {"tools": str(tools)}})
    with workflow.open_workspace(tmp_path / "home", settings, Listener()) as other:
        dataset = workflow.harvest(other, [str(log.path)])
    written = "".join(path.read_text() for path in dataset.path.iterdir())
    assert SECRET not in written
    assert "eve@example.com" not in written
    assert "Use <" in written


def test_places_in_a_log_are_told_without_addresses(log, space, monkeypatch):
    whole = LunarSource.read

    def telling(self, db, path, report, only=None):
        report(Verdict("t1", "read", "unreadable", "messages.id=bob@example.com:2"))
        yield from whole(self, db, path, report, only)

    monkeypatch.setattr(LunarSource, "read", telling)
    read(space, log.path)
    assert b"bob@example.com" not in (space.home / "episodes.db").read_bytes()


def test_settings_that_cannot_be_followed_are_told_before_anything_is_read(log, tmp_path):
    for wrong in ({"since": "last week"}, {"exclude": [""]}):
        settings = load_settings([], {"harvest": wrong})
        with (
            workflow.open_workspace(tmp_path / "home", settings, Listener()) as other,
            pytest.raises(UsageError),
        ):
            workflow.harvest(other, [str(log.path)])
    assert not (tmp_path / "home" / "episodes.db").exists()


def test_a_thread_named_after_a_listed_person_is_neither_written_nor_lost(lunar_log, tmp_path):
    lunar_log.conversation("ask-Wilhelmina", started_at="2026-10-05T08:00:00Z")
    lunar_log.say("ask-Wilhelmina", "user", "Hello")
    lunar_log.say("ask-Wilhelmina", "assistant", "Hello, Wilhelmina.", tool_calls="[{")
    path, settings = lunar_log.close(), load_settings([], {"curate": {"names": ("Wilhelmina",)}})
    with workflow.open_workspace(tmp_path / "home", settings, Listener()) as space:
        read(space, path)
        with contextlib.closing(EpisodeStore(space.home)) as kept:
            (held,) = kept.episodes({str(path.resolve()): str(path)})
            ((loss, _),) = kept.losses([str(path.resolve())])
        written = (tmp_path / "home" / "episodes.db").read_bytes()
        assert b"wilhelmina" not in written.lower()
        assert loss.id == held.episode.thread
        assert workflow.forget(space, [held.episode.thread])["episodes"] == 1
