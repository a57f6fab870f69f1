import contextlib
import json
import sqlite3

import pytest
from examples import CANARY
from examples.anythingllm import START, AnythingLLM

from lunar_tune.episodes import to_dict
from lunar_tune.sources import base
from lunar_tune.sources.anythingllm.source import AnythingLLMSource


def read(log, only=None):
    path, lost = log.close(), []
    with contextlib.closing(base.open_read_only(path)) as db:
        assert AnythingLLMSource().recognises(db)
        episodes = list(AnythingLLMSource().read(db, path, lost.append, only))
    assert CANARY not in json.dumps([to_dict(e) for e in episodes]) + repr(lost)
    return episodes, lost


@pytest.fixture
def log(tmp_path):
    return AnythingLLM(tmp_path / "anythingllm.db")


def said(episode):
    return [m.content for m in episode.messages]


def test_workspaces_users_threads_and_sessions_do_not_mix(log):
    log.say("a", "1", user_id=1)
    log.say("b", "2", user_id=2)
    log.say("c", "3", thread_id=None)
    log.say("d", "4", api_session_id="s")
    log.say("e", "5", workspaceId=2)
    log.say("f", "6", user_id=1)
    episodes, _ = read(log)
    assert [(e.thread, said(e), e.system) for e in episodes] == [
        ("workspace-1-user-1-thread-7", ["a", "1", "f", "6"], "You are Lumi."),
        ("workspace-1-user-2-thread-7", ["b", "2"], "You are Lumi."),
        ("workspace-1", ["c", "3"], "You are Lumi."),
        ("workspace-1-thread-7-session-s", ["d", "4"], "You are Lumi."),
        ("workspace-2-thread-7", ["e", "5"], None),
    ]


def test_the_prompt_is_the_one_of_the_time(log):
    """The app notes the old prompt at the moment when a new one replaces it."""
    log.add("prompt_history", workspaceId=1, prompt="Second.", modifiedAt=START + 20 * 60_000)
    log.add("prompt_history", workspaceId=1, prompt="First.", modifiedAt="2026-10-01 08:10:00")
    log.add("prompt_history", workspaceId=2, prompt="Other workspace.", modifiedAt=START + 90 * 60_000)
    for minutes in (5, 10, 15, 20, 30):
        log.say(f"at {minutes}", "ok", minutes)
    log.say("new thread", "ok", 12, thread_id=8)
    log.say("no date", "ok", thread_id=9, createdAt=None)
    episodes, lost = read(log)
    assert lost == []
    undated, episode, other = episodes
    assert [e.system for e in (episode, other, undated)] == ["First.", "Second.", "You are Lumi."]
    assert [(m.role, m.content) for m in episode.messages if m.content != "ok"] == [
        ("user", "at 5"),
        ("system", "Second."),  # a prompt replaced at 10:00 sharp is no longer in force then
        ("user", "at 10"),
        ("user", "at 15"),
        ("system", "You are Lumi."),
        ("user", "at 20"),
        ("user", "at 30"),
    ]


def test_a_replaced_default_prompt_stands_in_the_event_log_only(log):
    log.add("workspaces", id=2, name="Twin", openAiPrompt="Now.")
    log.add("workspaces", id=3, name="Twin", openAiPrompt="Now.")
    change = {"prevSystemPrompt": "The default.", "newSystemPrompt": "Now."}
    for name in ("Trips", "Twin"):
        log.add("event_logs", event="workspace_prompt_changed", metadata={"workspaceName": name, **change},
                occurredAt=START + 60_000)  # fmt: skip
    log.add("event_logs", event="workspace_prompt_changed", metadata="{", occurredAt=START)
    log.say("Hi", "ok")
    log.say("Hi again", "ok", workspaceId=2)
    episodes, lost = read(log)
    assert [e.system for e in episodes] == ["The default.", "Now."]  # which of the twins was changed is not known
    assert [(v.reason, v.detail) for v in lost] == [("unreadable change of a prompt", "event_logs.metadata=4")]


def test_what_was_taken_out_of_the_history(log):
    log.say("before the reset", "1", include=0)
    log.say("still before", "2", include=0, feedbackScore=1)
    log.say("fresh", "3", 1)
    log.say("out", "4", 2, include=0)
    log.say("unknown", "There is nothing on that.", 3, include=0, response={"type": "query"})
    log.say("@agent go", None, 4, include=0)
    log.say("@agent go", "Gone.", 5)
    episodes, lost = read(log)
    assert [(e.thread, e.group, said(e)) for e in episodes] == [
        ("workspace-1-thread-7#2", "workspace-1-thread-7", ["before the reset", "1", "still before", "2"]),
        ("workspace-1-thread-7", "workspace-1-thread-7", ["fresh", "3", "@agent go", "Gone."]),
        ("workspace-1-thread-7#4", "workspace-1-thread-7", ["fresh", "3", "out", "4"]),
    ]
    assert [[(s.kind, s.message) for s in e.signals] for e in episodes] == [[("rating", 3)], [], [("undo", 3)]]
    assert [(v.id, v.reason, v.detail) for v in lost] == [
        ("workspace-1-thread-7", "a refusal that the app wrote", "workspace_chats.id=5"),
        ("workspace-1-thread-7", "an agent's placeholder", "workspace_chats.id=6"),
    ]


def test_a_conversation_that_was_reset_as_a_whole_keeps_its_name(log):
    log.say("a", "1", include=0)
    (episode,), _ = read(log)
    assert (episode.thread, episode.group, episode.signals) == ("workspace-1-thread-7", None, ())


def test_forked_threads_are_known_by_their_first_exchange(log):
    for thread in (7, 8):
        log.say("Hello", "Hi!", thread_id=thread)
    log.say("and so", "ok", thread_id=8)
    log.say("Hello", "Another answer", thread_id=9)
    log.say("Hello", "Hi!", workspaceId=2)
    episodes, _ = read(log)
    assert [e.group for e in episodes] == [None, "workspace-1-thread-7", None, None]


def test_embedded_chats(log):
    log.add("embed_configs", id=4, uuid="x", workspace_id=1)
    for session, prompt in (("s1", "a"), ("s2", "b"), ("s1", "c")):
        log.say(prompt, "ok", table="embed_chats", embed_id=4, session_id=session, connection_information=CANARY)
    log.say("d", "ok", table="embed_chats", embed_id=5, session_id="s1")
    episodes, _ = read(log)
    assert [(e.thread, said(e)[::2], e.system) for e in episodes] == [
        ("embed-4-session-s1", ["a", "c"], "You are Lumi."),
        ("embed-4-session-s2", ["b"], "You are Lumi."),
        ("embed-5-session-s1", ["d"], None),
    ]


def test_broken_cells_cost_their_row(log):
    log.say("a", "kept", feedbackScore="hunter2")
    for response in ('{"text": "hunter2', "[1]", "[" * 100_000, '"hunter2"', b"\xff"):
        log.say("b", "", response=None)
        log.db.execute("UPDATE workspace_chats SET response = ? WHERE id = last_insert_rowid()", (response,))
    log.say("c", {"odd": 1}, response={"metrics": 5, "attachments": [3, {}], "outputs": {"a": 1}}, createdAt="never")
    log.say(b"\xff", "lost")
    log.say("d", "")
    log.add("prompt_history", workspaceId=1, prompt=None, modifiedAt=START)
    episodes, lost = read(log)
    assert [said(e) for e in episodes] == [["a", "kept", "c", '{"odd": 1}']]
    assert [a.type for a in episodes[0].messages[2].attachments] == ["file", "file"]
    assert "hunter2" not in repr(lost) + json.dumps([to_dict(e) for e in episodes])
    assert [(v.reason, v.detail) for v in lost] == [
        ("unreadable change of a prompt", "prompt_history.rowid=1"),
        ("a rating that is no thumb", "workspace_chats.feedbackScore=1"),
        *(("unreadable response", f"workspace_chats.response={n}") for n in range(2, 7)),
        ("unreadable prompt", "workspace_chats.prompt=8"),
        ("an exchange without an answer", "workspace_chats.id=9"),
    ]


@pytest.mark.parametrize("odd", [None, True, 0, -1, 10**400, 1.5, "", "x", [], [[]], {}, {"a": []}])
def test_no_value_stops_the_reader(log, odd):
    for n, name in enumerate(("text", "type", "sources", "attachments", "outputs", "metrics")):
        log.say("a", "b", response={name: odd}, thread_id=n)
        log.say("a", "b", response={name: [odd]}, thread_id=n, include=0)
        log.say("a", "b", response={name: {"model": odd, "name": odd}}, thread_id=n)
    log.add("event_logs", event="workspace_prompt_changed", metadata=json.dumps({"workspaceName": odd}), occurredAt=1)
    log.add("event_logs", event="workspace_prompt_changed", metadata=json.dumps(odd), occurredAt=START)
    assert read(log)[0]


def test_older_databases_lack_tables_and_columns(tmp_path):
    path = tmp_path / "anythingllm.db"
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE workspace_chats (id INTEGER PRIMARY KEY, workspaceId INTEGER, prompt TEXT,"
                   " response TEXT, include BOOLEAN)")  # fmt: skip
        db.execute("INSERT INTO workspace_chats VALUES (1, 1, 'Hi', ?, 1)", (json.dumps({"text": "Yo"}),))
        db.commit()
    with contextlib.closing(base.open_read_only(path)) as db:
        assert AnythingLLMSource().recognises(db)
        (episode,) = AnythingLLMSource().read(db, path, lambda verdict: None)
    assert (episode.thread, said(episode), episode.system) == ("workspace-1", ["Hi", "Yo"], None)


def test_an_empty_database_and_the_places(log, monkeypatch, tmp_path):
    assert read(log) == ([], [])
    monkeypatch.setenv("STORAGE_DIR", str(tmp_path))
    assert AnythingLLMSource().places()[0] == tmp_path / "anythingllm.db"


def test_forks_are_known_when_one_is_read_alone(log):
    log.say("Hello", "Hi!", include=0)
    log.say("Hello", "Hi!", 1)
    for thread in (8, 9, 10):
        log.say("Hello", "Hi!", 5, thread_id=thread, response={"metrics": {"model": str(thread)}})
    log.say("Hello", "Hm.", 6, thread_id=11)
    log.say(b"Hello", "Hi!", 7, thread_id=12)
    log.say("Hello", "Hi!", 8, thread_id="13", workspaceId=b"1")  # another workspace, whose threads have like names
    log.say("Hello", "Hi!", 9, thread_id=8, workspaceId="x")
    log.db.commit()
    everything, _ = read(AnythingLLM.open(log.path))
    assert [e.group for e in everything if "#" not in e.thread] == [
        *["workspace-1-thread-7"] * 4, None, "workspace-1-thread-7", None, None,
    ]  # fmt: skip
    for thread in {e.thread.partition("#")[0] for e in everything}:
        alone, _ = read(AnythingLLM.open(log.path), {thread})
        assert alone == [e for e in everything if e.thread.partition("#")[0] == thread]


@pytest.mark.parametrize("small", [True, False])
def test_what_a_stamp_sees(log, monkeypatch, small):
    monkeypatch.setattr(base, "SMALL", base.SMALL if small else 0)
    log.say("a", "1")
    log.say("b", "2", table="embed_chats", embed_id=4, session_id="s")
    before = stamps(log)
    changes = (
        ("INSERT INTO workspace_chats (workspaceId, thread_id, prompt, response) VALUES (1, 7, 'x', '{}')", True),
        ("UPDATE workspace_chats SET feedbackScore = 0 WHERE id = 1", True),
        ("UPDATE workspace_chats SET include = 0 WHERE id = 1", True),
        ("UPDATE workspace_chats SET lastUpdatedAt = 7 WHERE id = 1", True),
        ('UPDATE workspace_chats SET response = \'{"text": "7"}\' WHERE id = 1', small),
        ("DELETE FROM workspace_chats WHERE id = 2", True),
    )
    for change, seen in changes:
        log.db.execute(change)
        now = stamps(log)
        assert {thread for thread in now if now[thread] != before[thread]} == (
            {"workspace-1-thread-7"} if seen else set()
        )
        before = now


def stamps(log):
    log.db.commit()
    with contextlib.closing(base.open_read_only(log.path)) as db:
        return dict(AnythingLLMSource().threads(db))
