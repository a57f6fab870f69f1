"""Agno's forked sessions: copies of another's runs with new ids, of one family with it."""

import json

import pytest
from examples.agno import RUNS, SESSIONS, START, Log, turn
from test_agno_source import read, said

from lunar_tune.sources.agno.source import AgnoSource


@pytest.fixture
def log(tmp_path):
    log = Log(tmp_path / "forks.db", SESSIONS.format("agno_sessions", "") + RUNS.format("agno_runs"))
    yield log
    log.db.close()


def test_forks_of_forks_are_one_family(log):
    log.session("root")
    log.run("root", "r1", 0, turn("one", "1"))
    log.run("root", "r2", 1, turn("two", "bad", at=START + 1), at=START + 1, status="REGENERATED")
    log.run("root", "r3", 2, turn("two", "good", forked_from_run_id="r2"), at=START + 2)
    log.fork("root", "mid", START + 3)
    log.run("mid", "m1", 3, turn("three", "3"), at=START + 4)
    log.run("mid", "m2", 4, turn("four", "4"), at=START + 5)
    log.run("mid", "m3", 5, turn("three", "drei", forked_from_run_id="m1"), at=START + 6)
    log.fork("mid", "leaf", START + 7)
    log.run("leaf", "l1", 6, turn("five", "5"), at=START + 8)
    log.session("apart")
    log.run("apart", "a1", 0, turn("one", "1"))
    paths = [
        ("root#r2", ["one", "1", "two", "bad"]),
        ("root", ["one", "1", "two", "good"]),
        ("mid#mid-r2", ["one", "1", "two", "bad"]),
        ("mid#m2", ["one", "1", "two", "good", "three", "3", "four", "4"]),
        ("mid", ["one", "1", "two", "good", "three", "drei"]),
        ("leaf#leaf-mid-r2", ["one", "1", "two", "bad"]),
        ("leaf#leaf-m2", ["one", "1", "two", "good", "three", "3", "four", "4"]),
        ("leaf", ["one", "1", "two", "good", "three", "drei", "five", "5"]),
    ]
    episodes, lost = read(log)
    assert [(e.thread, said(e)) for e in episodes if e.group == "root"] == paths
    assert [e.thread for e in episodes if e.group != "root"] == ["apart"]
    assert {thread for thread, _ in AgnoSource().threads(log.db)} == {"root", "apart"}
    assert lost == []

    before = dict(AgnoSource().threads(log.db))
    log.run("leaf", "l2", 7, turn("six", "6"))
    after = dict(AgnoSource().threads(log.db))
    assert (after["root"] != before["root"], after["apart"] == before["apart"]) == (True, True)

    log.db.execute("DELETE FROM agno_sessions WHERE session_id = 'mid'")
    log.db.execute("DELETE FROM agno_runs WHERE session_id = 'mid'")
    episodes, _ = read(log)
    assert {e.thread for e in episodes if e.group == "root"} == {
        "root", "root#r2", "leaf", "leaf#leaf-mid-r2", "leaf#leaf-m2",
    }  # fmt: skip


def test_forks_of_a_session_that_is_gone_stay_together(log):
    log.session("root")
    log.run("root", "r1", 0, turn("one", "1"))
    log.run("root", "r2", 1, turn("two", "bad"), status="REGENERATED")
    log.run("root", "r3", 2, turn("two", "good", forked_from_run_id="r2", regenerated_from="r2"))
    log.fork("root", "a", START + 1)
    log.fork("root", "b", START + 2)
    log.fork("b", "c", START + 3)
    for name in ("root", "b"):
        log.db.execute("DELETE FROM agno_sessions WHERE session_id = ?", (name,))
        log.db.execute("DELETE FROM agno_runs WHERE session_id = ?", (name,))
    episodes, _ = read(log)
    assert [(e.thread, e.group, said(e)) for e in episodes] == [
        ("a#a-r2", "root", ["one", "1", "two", "bad"]),
        ("a", "root", ["one", "1", "two", "good"]),
        ("c#c-b-r2", "root", ["one", "1", "two", "bad"]),
        ("c", "root", ["one", "1", "two", "good"]),
    ]
    assert [thread for thread, _ in AgnoSource().threads(log.db)] == ["root"]


def test_forks_in_a_circle_are_one_family(log):
    for name, origin in (("c", "b"), ("b", "a"), ("a", "b"), ("d", "d")):
        log.session(name, forked_from_session_id=origin)
        log.run(name, f"{name}1", 0, turn(name, "1"))
    episodes, lost = read(log)
    assert [(e.thread, e.group) for e in episodes] == [("c", "a"), ("b", "a"), ("a", "a"), ("d", "d")]
    assert lost == []


@pytest.mark.parametrize("cell", ['{"forked_from_session_id": "roo', '{"forked_from', None])
def test_a_fork_whose_own_row_does_not_say_so(log, cell):
    log.session("root")
    log.run("root", "r1", 0, turn("one", "1"))
    log.fork("root", "fork")
    log.run("fork", "f1", 1, turn("two", "2"))
    if cell is None:
        log.db.execute("DELETE FROM agno_sessions WHERE session_id = 'fork'")
    log.db.execute("UPDATE agno_sessions SET session_data = ? WHERE session_id = 'fork'", (cell,))
    episodes, lost = read(log)
    assert [(e.thread, e.group) for e in episodes] == [("root", "root"), ("fork", "root")]
    assert lost == []


def test_a_fork_that_nothing_readable_tells_is_reported(log):
    log.session("s")
    log.run("s", "r1", 0, turn("one", "1"))
    log.db.execute('UPDATE agno_sessions SET session_data = \'{"forked_from_session_id": "canary\'')
    episodes, lost = read(log)
    assert [e.group for e in episodes] == ["s"]
    assert [(v.id, v.reason, v.detail) for v in lost] == [
        ("s", "unreadable session_data", "agno_sessions.session_data=s")
    ]


def test_a_run_that_cannot_be_read_does_not_move_the_others(log):
    log.session("root")
    log.run("root", "r0", 0, turn("zero", "0"))
    log.run("root", "r1", 1, turn("one", "1"))
    log.run("root", "r2", 2, turn("two", "2"))
    log.run("root", "r3", 3, turn("one", "uno", forked_from_run_id="r1"))
    log.fork("root", "fork")
    log.db.execute("UPDATE agno_runs SET run_data = '{' WHERE run_id = 'r0'")
    episodes, _ = read(log)
    assert said(episodes[-1]) == ["zero", "0", "one", "uno"]


def test_a_forked_team_s_member_is_not_told_twice(log):
    log.session("root")
    log.run("root", "t1", 0, turn("one", "1", member_responses=[{"run_id": "m1", **turn("sub", "task")}]))
    log.run("root", "m1", 1, turn("sub", "task"), parent="t1")
    log.fork("root", "fork")
    episodes, _ = read(log)
    assert [e.thread for e in episodes] == ["root", "root#m1", "fork", "fork#fork-m1"]


def test_a_fork_in_the_sessions_lists_of_an_older_version(tmp_path):
    older = Log(tmp_path / "older.db", SESSIONS.format("my_sessions", "runs JSON,"))
    runs = [
        {"run_id": "r1", **turn("one", "1")},
        {"run_id": "r2", "status": "REGENERATED", **turn("two", "bad")},
        {"run_id": "r3", "forked_from_run_id": "r2", **turn("two", "good")},
    ]
    copies = [{**run, "run_id": f"f{run['run_id']}", "forked_from_session_id": "root"} for run in runs]
    older.session("root", json.dumps(runs), START, "my_sessions")
    older.session("fork", json.dumps(copies), START + 1, "my_sessions", forked_from_session_id="root")
    episodes, _ = read(older)
    assert [(e.thread, e.group, said(e)) for e in episodes][2:] == [
        ("fork#fr2", "root", ["one", "1", "two", "bad"]),
        ("fork", "root", ["one", "1", "two", "good"]),
    ]
    older.db.close()
