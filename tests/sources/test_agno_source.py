"""Agno's sessions of versions 2 (runs in the session) and 3 (runs in a table)."""

import json
import sqlite3

import pytest
from examples.agno import RUNS, SESSIONS, START, Log, message, turn
from log_database import read_open

from lunar_tune.episodes import Attachment, Signal, to_dict
from lunar_tune.sources.agno.source import AgnoSource


def read(log):
    return read_open(AgnoSource(), log)


@pytest.fixture
def log(tmp_path):
    log = Log(tmp_path / "any.db", SESSIONS.format("agno_sessions", "") + RUNS.format("agno_runs"))
    yield log
    log.db.close()


@pytest.fixture
def older(tmp_path):
    log = Log(tmp_path / "older.db", SESSIONS.format("my_sessions", "runs JSON,"))
    yield log
    log.db.close()


def said(episode):
    return [m.content for m in episode.messages]


def test_a_session_in_canonical_form(log):
    log.session("s")
    calls = [{"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Paris"}'}}]
    first = [
        message("system", "Be brief."),
        message("user", "Weather?", images=[{"url": "https://x.y/a.png?canary", "content": "canary"}]),
        message("assistant", None, tool_calls=calls, reasoning_content="Look it up."),
        message("tool", "sunny", tool_call_id="c1", tool_name="get_weather", tool_call_error=True),
        message("assistant", "Sunny."),
    ]
    again = [message("system", "Be brief.")] + [{**m, "from_history": True} for m in first[1:]]
    log.run("s", "r1", 0, {"model": "gpt-4o", "messages": first, "tools": [{"tool_name": "canary"}]})
    log.run("s", "r2", 1, {"model": "gpt-5", "messages": [*again, message("user", "Ok"), message("assistant", "Bye.")]})
    (episode,), lost = read(log)
    assert lost == []
    when = "2026-11-20T18:22:58Z"
    assert to_dict(episode) == {
        "id": episode.id,
        "source": "agno",
        "path": str(log.path),
        "thread": "s",
        "group": "s",
        "started_at": when,
        "model": "gpt-4o",
        "system": "Be brief.",
        "tools": [],
        "messages": [
            {
                "role": "user",
                "content": "Weather?",
                "created_at": when,
                "attachments": [{"type": "image", "name": "a.png"}],
            },
            {
                "role": "assistant",
                "content": "",
                "created_at": when,
                "model": "gpt-4o",
                "reasoning": "Look it up.",
                "tool_calls": [{"id": "c1", "name": "get_weather", "arguments": {"city": "Paris"}}],
            },
            {
                "role": "tool",
                "content": "sunny",
                "created_at": when,
                "error": "sunny",
                "tool_call_id": "c1",
                "name": "get_weather",
            },
            {"role": "assistant", "content": "Sunny.", "created_at": when, "model": "gpt-4o"},
            {"role": "user", "content": "Ok", "created_at": when},
            {"role": "assistant", "content": "Bye.", "created_at": when, "model": "gpt-5"},
        ],
        "signals": [{"kind": "tool_error", "value": None, "message": 2}],
    }


def test_runs_that_an_older_version_keeps_in_the_session(older):
    runs = json.dumps([{"run_id": "r1", **turn("one", "1")}, {"run_id": "r2", **turn("two", "2")}])
    older.session("twice", json.dumps(runs), START + 1, "my_sessions")  # as SQLAlchemy's JSON type stores a text
    older.session("once", runs, START, "my_sessions")
    older.session("none", None, START, "my_sessions")
    episodes, lost = read(older)
    assert [(e.thread, e.started_at, said(e)) for e in episodes] == [
        ("once", "2026-11-20T18:22:58Z", ["one", "1", "two", "2"]),
        ("twice", "2026-11-20T18:22:59Z", ["one", "1", "two", "2"]),
    ]
    assert [(v.id, v.reason) for v in lost] == [("none", "a conversation without messages")]


def test_runs_that_were_moved_to_the_table_are_read_once(tmp_path):
    log = Log(tmp_path / "moved.db", SESSIONS.format("agno_sessions", "runs JSON,") + RUNS.format("agno_runs"))
    log.session("s", json.dumps([{"run_id": "r1", **turn("one", "1")}]))
    log.run("s", "r1", 0, turn("one", "1"))
    (episode,), _ = read(log)
    assert said(episode) == ["one", "1"]
    log.db.close()


def test_a_regenerated_run_is_a_path_with_a_retry(log):
    log.run("s", "r1", 0, turn("one", "1"))
    log.run("s", "r2", 1, turn("two", "bad"), status="REGENERATED")
    log.run("s", "r3", 2, turn("two", "good", forked_from_run_id="r2", regenerated_from="r2"))
    log.run("s", "r4", 3, turn("three", "3", forked_from_run_id="elsewhere"))
    episodes, lost = read(log)
    assert [(e.thread, e.group, said(e), e.signals) for e in episodes] == [
        (
            "s#r2",
            "s",
            ["one", "1", "two", "bad"],
            (Signal(kind="retry", message=3, note="given anew on a later path"),),
        ),
        ("s#r3", "s", ["one", "1", "two", "good"], ()),
        ("s", "s", ["three", "3"], ()),  # what it followed went with the run that it was forked from
    ]
    assert lost == []


def test_members_of_a_team_talk_for_themselves(log):
    log.run("s", "r1", 0, turn("one", "1"))
    log.run("s", "m1", 1, turn("sub", "task"), parent="r1")
    episodes, _ = read(log)
    assert [(e.thread, e.group, said(e)) for e in episodes] == [
        ("s", "s", ["one", "1"]),
        ("s#m1", "s", ["sub", "task"]),
    ]


def test_failed_and_cancelled_runs(log):
    log.run("s", "r1", 0, {"messages": [message("user", "one")], "content": "bad key"}, status="ERROR")
    log.run("s", "r2", 1, turn("two", "hal"), status="CANCELLED")
    log.run("s", "r3", 2, {"input": {"input_content": "three"}, "content": "no net"}, status="ERROR")
    (episode,), _ = read(log)
    assert [(m.content, m.error, m.finish) for m in episode.messages] == [
        ("one", None, None),
        ("", "bad key", "error"),
        ("two", None, None),
        ("hal", None, "cancelled"),
        ("three", None, None),
        ("", "no net", "error"),
    ]


def test_a_run_without_messages_keeps_its_input_and_answer(log):
    body = {"input": {"input_content": "one"}, "content": {"a": 1}, "model": "gpt"}
    log.run("s", "r1", 0, body)
    log.run("s", "r2", 1, {"workflow_id": "w"})
    (episode,), lost = read(log)
    assert [(m.role, m.content) for m in episode.messages] == [("user", "one"), ("assistant", '{"a": 1}')]
    assert [(v.reason, v.detail) for v in lost] == [("a run without messages", "agno_runs.run_data=r2")]


def test_results_that_a_provider_put_together(log):
    calls = [{"id": key, "function": {"name": "f", "arguments": "{}"}} for key in ("c1", "c2")]
    results = [
        {"tool_call_id": key, "tool_name": "f", "content": text} for key, text in (("c1", "x"), ("c2", {"y": 1}))
    ]
    messages = [
        message("user", "Go"),
        message("model", None, tool_calls=calls),
        message("tool", ["x"], tool_calls=results),
    ]
    log.run("s", "r1", 0, {"messages": messages})
    (episode,), _ = read(log)
    assert [(m.role, m.content, m.tool_call_id) for m in episode.messages[2:]] == [
        ("tool", "x", "c1"),
        ("tool", '{"y": 1}', "c2"),
    ]


def test_a_prompt_that_changes(log):
    log.run("s", "r1", 0, {"messages": [message("system", "A"), message("user", "one")]})
    log.run("s", "r2", 1, {"messages": [message("system", "B"), message("user", "two")]})
    log.run("s", "r3", 2, {"messages": [message("system", "B"), message("user", "three")]})
    (episode,), _ = read(log)
    assert episode.system == "A"
    assert [(m.role, m.content) for m in episode.messages] == [
        ("user", "one"),
        ("system", "B"),
        ("user", "two"),
        ("user", "three"),
    ]


@pytest.mark.parametrize("cell", ["{", "null", "3", "[]", '"canary"', b"\xff", "[" * 9000])
def test_a_broken_run_costs_itself(log, older, cell):
    log.run("s", "r1", 0, turn("one", "1"))
    log.run("s", "r2", 1, cell)
    (episode,), lost = read(log)
    assert said(episode) == ["one", "1"]
    assert [(v.id, v.reason, v.detail) for v in lost] == [("s", "unreadable run", "agno_runs.run_data=r2")]
    older.session("s", cell, START, "my_sessions")
    episodes, lost = read(older)
    assert episodes == []
    assert len(lost) == (cell not in ("null", "[]"))


@pytest.mark.parametrize(
    "body",
    [
        {"messages": 3}, {"messages": [3, None, {"role": []}, {"role": "canary"}]}, {"messages": [{"role": "tool"}]},
        {"messages": [message("assistant", {"a": 1}, tool_calls=3)]}, {"messages": [message("user", [3, {"a": []}])]},
        {"messages": [message("assistant", 3, tool_calls=[3])]}, {"status": {}, "content": [], "input": []},
        {"messages": [message("user", "x", created_at={}, images=3, files=[3, {"name": []}])]},
        {"forked_from_run_id": {}, "model": [], "messages": [message("assistant", "x")]}, {"forked_from_run_id": "r2"},
    ],
)  # fmt: skip
def test_odd_runs_never_stop_the_reading(log, body):
    log.run("s", "r1", 0, turn("one", "1"))
    log.run("s", "r2", 1, body)
    episodes, _ = read(log)
    assert said(episodes[-1])[:2] == ["one", "1"]
    json.dumps([to_dict(e) for e in episodes])


def test_files_have_names(log):
    files = [{"filename": "a.pdf", "content": "canary"}]
    log.run("s", "r1", 0, {"messages": [message("user", "Read", files=files, audio=[{"id": "1"}])]})
    (episode,), _ = read(log)
    assert episode.messages[0].attachments == (Attachment(type="audio"), Attachment(type="file", name="a.pdf"))


def test_an_empty_database_and_other_ones(log, older, tmp_path):
    assert read(log) == ([], [])
    assert read(older) == ([], [])
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE sessions (session_id TEXT, runs TEXT)")
    assert not AgnoSource().recognises(other)
    other.close()


def test_a_fork_that_goes_on_from_all_of_a_run_is_not_told_twice(log):
    log.run("s", "r1", 0, turn("one", "1"))
    whole = [*turn("one", "1")["messages"], message("user", "two"), message("assistant", "2")]
    log.run("s", "r2", 1, {"messages": whole, "forked_from_run_id": "r1"})
    (episode,), _ = read(log)
    assert (episode.thread, said(episode)) == ("s", ["one", "1", "two", "2"])


def test_runs_that_stand_in_another_run_alone(log):
    inner = {"run_id": "x2", **turn("deep", "er")}
    step = {"run_id": "x1", **turn("sub", "task"), "member_responses": [inner, 3, {"run_id": "r1"}]}
    log.run("s", "r1", 0, turn("one", "1", step_executor_runs=[step, step]))
    episodes, _ = read(log)
    assert [(e.thread, said(e)) for e in episodes] == [
        ("s", ["one", "1"]),
        ("s#x1", ["sub", "task"]),
        ("s#x2", ["deep", "er"]),
    ]


def test_a_view_of_the_runs_is_not_read_again(log):
    log.run("s", "r1", 0, turn("one", "1"))
    log.db.execute("CREATE VIEW recent AS SELECT * FROM agno_runs")
    assert len(read(log)[0]) == 1


def test_a_stamp_follows_its_session_alone(log):
    def stamps():
        return dict(AgnoSource().threads(log.db))

    log.session("a")
    log.session("b")
    log.run("a", "r1", 0, turn("one", "1"), status="RUNNING")
    log.run("b", "r2", 0, turn("one", "1"))
    before = stamps()
    log.db.execute("UPDATE agno_runs SET status = 'COMPLETED' WHERE run_id = 'r1'")
    grown = stamps()
    assert (grown["a"] != before["a"], grown["b"] == before["b"]) == (True, True)
    log.db.execute("UPDATE agno_sessions SET updated_at = 1 WHERE session_id = 'b'")
    assert (stamps()["a"] == grown["a"], stamps()["b"] != grown["b"]) == (True, True)
    log.db.execute("DELETE FROM agno_runs WHERE run_id = 'r2'")
    log.run("b", "r3", 0, turn("one", "1"))  # takes the place of the row that is gone
    assert stamps()["b"] != before["b"]
