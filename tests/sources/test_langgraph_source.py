"""LangGraph's checkpoints. Most states here are of the older JSON kind, which needs no library; the reader treats both
kinds alike once they are decoded."""

import contextlib
import sqlite3
import struct
import sys

import pytest
from examples.langgraph import Log, ai, at, human, remove
from log_database import read_open

from lunar_tune.episodes import Signal, to_dict
from lunar_tune.errors import MissingExtra
from lunar_tune.sources.base import open_read_only
from lunar_tune.sources.core.checkpoint_cells import read_cell
from lunar_tune.sources.langgraph.history import moment
from lunar_tune.sources.langgraph.source import LangGraphSource


def read(log, only=None):
    return read_open(LangGraphSource(), log, only)


@pytest.fixture
def log(tmp_path):
    log = Log(tmp_path / "checkpoints.sqlite")
    yield log
    log.db.close()


def said(episode):
    return [m.content for m in episode.messages]


ONE, TWO, THREE = ([human(f"h{n}", f"q{n}")] for n in (1, 2, 3))
ANSWERS = [[ai(f"a{n}", f"r{n}")] for n in (1, 2, 3)]


def test_a_thread_in_canonical_form(log):
    calls = [{"name": "get_weather", "args": {"city": "Paris"}, "id": "c1", "type": "tool_call"}]
    meta = {"model_name": "gpt-x", "finish_reason": "tool_calls"}
    tool = {"type": "tool", "id": "t1", "content": "sunny", "tool_call_id": "c1", "name": "get_weather"}
    log.talk(
        "t",
        [{"type": "system", "id": "s", "content": "Be brief."}, human("h1", "Weather?")],
        [ai("a1", "", tool_calls=calls, response_metadata=meta)],
        [{**tool, "status": "success", "artifact": None}],
        [ai("a2", "Sunny.")],
    )
    (episode,), lost = read(log)
    assert lost == []
    assert to_dict(episode) == {
        "id": episode.id,
        "source": "langgraph",
        "path": str(log.path),
        "thread": "t",
        "group": "t",
        "started_at": "2026-11-20T18:00:00Z",
        "model": "gpt-x",
        "system": "Be brief.",
        "tools": [],
        "messages": [
            {"role": "user", "content": "Weather?", "created_at": "2026-11-20T18:00:01Z"},
            {
                "role": "assistant",
                "content": "",
                "created_at": "2026-11-20T18:00:02Z",
                "model": "gpt-x",
                "finish": "stop",
                "tool_calls": [{"id": "c1", "name": "get_weather", "arguments": {"city": "Paris"}}],
            },
            {
                "role": "tool",
                "content": "sunny",
                "created_at": "2026-11-20T18:00:03Z",
                "tool_call_id": "c1",
                "name": "get_weather",
            },
            {"role": "assistant", "content": "Sunny.", "created_at": "2026-11-20T18:00:04Z"},
        ],
        "signals": [],
    }


def test_messages_written_before_they_have_an_id_get_their_time_by_what_they_say(log):
    log.checkpoint("t", 0, None, {"__start__": {"messages": [["user", "q"]]}})
    log.write("t", 0, [["user", "q"]])
    log.checkpoint("t", 5, 0, {"messages": [human("h1", "q")]})
    (episode,), _ = read(log)
    assert [m.created_at for m in episode.messages] == ["2026-11-20T18:00:05Z"]


def test_a_regenerated_answer_is_a_path_with_a_retry(log):
    log.checkpoint("t", 1, None, {"messages": ONE})
    log.checkpoint("t", 2, 1, {"messages": [*ONE, ai("a1", "first")]})
    log.checkpoint("t", 3, 1, {"messages": [*ONE, ai("a2", "second")]})
    episodes, lost = read(log)
    assert lost == []
    assert [(e.thread, e.group, said(e), e.signals) for e in episodes] == [
        (f"t#{at(2)}", "t", ["q1", "first"], (Signal(kind="retry", message=1, note="given anew on a later path"),)),
        ("t", "t", ["q1", "second"], ()),
    ]


def test_a_fork_with_another_question_is_no_retry(log):
    log.checkpoint("t", 1, None, {"messages": ONE})
    log.checkpoint("t", 2, 1, {"messages": [*ONE, *ANSWERS[0]]})
    edited = [human("h1", "q1, but better")]  # `update_state` keeps the id
    log.checkpoint("t", 3, 1, {"messages": edited})
    log.checkpoint("t", 4, 3, {"messages": [*edited, *ANSWERS[1]]})
    log.checkpoint("t", 5, 1, {"messages": ONE})  # a fork that nobody went on from
    episodes, _ = read(log)
    assert [(e.thread, said(e), e.signals) for e in episodes] == [
        (f"t#{at(2)}", ["q1", "r1"], ()),
        ("t", ["q1, but better", "r2"], ()),
    ]


def test_a_summary_gives_way_to_what_was_said(log):
    log.talk("t", ONE, ANSWERS[0], TWO, ANSWERS[1])
    summary = human("s", "Here is a summary of the conversation to date:\n\nshort", additional_kwargs={})
    rewritten = [summary, *TWO, *ANSWERS[1]]
    log.write("t", 4, [remove("__remove_all__"), *rewritten])
    log.checkpoint("t", 5, 4, {"messages": rewritten})
    log.checkpoint("t", 6, 5, {"messages": [*rewritten, *THREE]})
    (episode,), lost = read(log)
    assert said(episode) == ["q1", "r1", "q2", "r2", "q3"]
    assert episode.signals == ()
    assert [(v.reason, v.detail) for v in lost] == [("a compaction summary", f"checkpoints.checkpoint={at(6)}")]


def test_messages_removed_to_save_room_stay_told(log):
    log.talk("t", ONE, ANSWERS[0], TWO, ANSWERS[1])
    log.write("t", 4, [remove("h1"), remove("a1")])
    log.checkpoint("t", 5, 4, {"messages": [*TWO, *ANSWERS[1]]})
    (episode,), lost = read(log)
    assert (said(episode), episode.signals, lost) == (["q1", "r1", "q2", "r2"], (), [])


def test_what_was_taken_back_is_a_path_with_an_undo(log):
    log.talk("t", ONE, ANSWERS[0], TWO, ANSWERS[1])
    log.write("t", 4, [remove("h2"), remove("a2")])
    log.checkpoint("t", 5, 4, {"messages": [*ONE, *ANSWERS[0]]})
    log.checkpoint("t", 6, 5, {"messages": [*ONE, *ANSWERS[0], *THREE]})
    episodes, _ = read(log)
    assert [(e.thread, said(e), e.signals) for e in episodes] == [
        (f"t#{at(4)}", ["q1", "r1", "q2", "r2"], (Signal(kind="undo", message=3, note="removed from the state"),)),
        ("t", ["q1", "r1", "q3"], ()),
    ]


def test_a_cleared_conversation_is_a_path_of_its_own(log):
    log.talk("t", ONE, ANSWERS[0])
    log.write("t", 2, [remove("__remove_all__"), *TWO])
    log.checkpoint("t", 3, 2, {"messages": TWO})
    episodes, _ = read(log)
    assert [(e.thread, said(e), e.signals) for e in episodes] == [(f"t#{at(2)}", ["q1", "r1"], ()), ("t", ["q2"], ())]


def test_delta_channels_are_replayed_from_the_last_state(log):
    versions = {"messages": "1"}
    log.checkpoint("t", 0, None, {}, versions=versions)
    log.write("t", 0, ONE)
    log.checkpoint("t", 1, 0, {"messages": ONE}, versions=versions)  # a snapshot
    log.write("t", 1, ANSWERS[0], task="z", path="a")
    log.write("t", 1, TWO, task="a", path="b")
    log.checkpoint("t", 2, 1, {}, versions=versions)
    log.write("t", 2, [remove("h2"), *THREE], index=0)
    log.write("t", 2, [ai("a1", "r1, edited")], index=1)
    log.checkpoint("t", 3, 2, {}, versions=versions)
    log.checkpoint("u", 10, None, {}, versions=versions)
    log.write("u", 10, {"__overwrite__": TWO})
    log.checkpoint("u", 11, 10, {}, versions=versions)
    (undone, episode, other), lost = read(log)
    assert said(undone) == ["q1", "r1", "q2"]
    assert said(episode) == ["q1", "r1, edited", "q3"]
    assert said(other) == ["q2"]
    assert lost == []


def test_a_failed_step_and_what_was_under_way(log):
    log.checkpoint("t", 1, None, {"messages": ONE})
    log.write("t", 1, "RuntimeError('down')", channel="__error__", task="x")
    log.write("t", 1, ANSWERS[0])
    log.checkpoint("u", 11, None, {"__start__": {"messages": TWO}})  # nothing ran yet
    (failed, asked), _ = read(log)
    assert [(m.role, m.content, m.error, m.finish) for m in failed.messages[1:]] == [
        ("assistant", "r1", None, None),
        ("assistant", "", "RuntimeError('down')", "error"),
    ]
    assert said(asked) == ["q2"]


def test_the_channel_may_have_another_name(log):
    chat = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "r"}]
    log.checkpoint("t", 1, None, {"docs": ["x", "y", "z"], "chat": chat, "notes": [human("n", "aside")]})
    log.checkpoint("u", 11, None, {"__root__": [*ONE, *ANSWERS[0]]})
    log.checkpoint("v", 21, None, {"docs": ["x"]}, versions={"talk": "1", "branch:to:a": "1", "docs": "1"})
    log.write("v", 21, ONE, channel="talk")
    log.checkpoint("v", 22, 21, {"docs": ["x"]}, versions={"talk": "1", "docs": "1"})
    episodes, lost = read(log)
    assert [said(e) for e in episodes] == [["q", "r"], ["q1", "r1"], ["q1"]]
    assert [(v.id, v.reason, v.detail) for v in lost] == [
        ("t", "another list of messages in the state", f"checkpoints.checkpoint={at(1)}")
    ]


def test_sub_graphs_are_reported(log):
    log.checkpoint("t", 1, None, {"messages": ONE})
    log.checkpoint("t", 2, None, {"messages": TWO}, ns="tools:1")
    log.checkpoint("u", 3, None, {"messages": TWO}, ns="tools:1")
    (episode,), lost = read(log)
    assert said(episode) == ["q1"]
    assert [(v.id, v.reason) for v in lost] == [
        ("t", "what sub-graphs said among themselves"),
        ("u", "what sub-graphs said among themselves"),
        ("u", "a thread without a state of its own"),
    ]


def test_databases_without_a_task_path(tmp_path):
    log = Log(tmp_path / "old.sqlite", "")
    log.talk("t", ONE, ANSWERS[0])
    (episode,), lost = read(log)
    assert (said(episode), lost) == (["q1", "r1"], [])
    log.db.close()


@pytest.mark.parametrize(
    ("kind", "cell", "why"),
    [
        ("json", b"{canary", "not JSON"),
        ("json", b"[1]", "no state"),
        ("json", b"", "not JSON"),
        ("json", b"[" * 9000, "nested too deeply"),
        ("json", b'{"channel_values": 3}', "no state"),
        ("pickle", b"canary", "pickled, which is never loaded"),
        ("msgpack+aes", b"canary", "encrypted by the agent"),
        ("zip", b"canary", "in a form that is not known"),
        ("null", b"", "no state"),
    ],
)
def test_an_unreadable_checkpoint_is_rebuilt_from_the_one_before(log, kind, cell, why):
    log.checkpoint("t", 1, None, {"messages": ONE})
    log.write("t", 1, ANSWERS[0])
    log.checkpoint("t", 2, 1, cell, kind=kind)
    (episode,), lost = read(log)
    assert said(episode) == ["q1", "r1"]
    assert [(v.reason, v.detail) for v in lost] == [
        (f"unreadable checkpoint: {why}", f"checkpoints.checkpoint={at(2)}")
    ]


def test_other_broken_things(log):
    log.checkpoint("t", 1, None, {"messages": [*ONE, {"type": "wormhole", "content": "canary"}, None]})
    log.write("t", 1, b"{canary", task="a")
    log.write("t", 1, b"canary", task="b", kind="pickle")
    log.write("t", 1, [3], task="c")
    log.checkpoint("t", 2, 1, {"messages": [*ONE, *ANSWERS[0]]})
    log.checkpoint("ring", 11, 12, {"messages": TWO})
    log.checkpoint("ring", 12, 11, {"messages": THREE})
    log.checkpoint("lone", 21, 20, {"messages": TWO})  # its parent was pruned
    log.checkpoint("void", 31, None, {})
    episodes, lost = read(log)
    assert [(e.thread, said(e)) for e in episodes] == [("t", ["q1", "r1"]), ("ring", ["q3"]), ("lone", ["q2"])]
    assert {(v.id, v.reason, v.detail) for v in lost} == {
        ("t", "unreadable write: not JSON", f"writes.value={at(1)}/a/0"),
        ("t", "unreadable write: pickled, which is never loaded", f"writes.value={at(1)}/b/0"),
        ("t", "a message of unknown form", f"writes.value={at(1)}"),
        ("ring", "checkpoints in a ring", f"checkpoints.parent_checkpoint_id={at(11)}"),
        ("void", "a conversation without messages", ""),
    }


def test_an_empty_database_and_other_ones(log, tmp_path):
    assert read(log) == ([], [])
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE checkpoints (id INTEGER)")
    assert not LangGraphSource().recognises(other)
    other.close()


def threads(log):
    log.db.commit()
    with contextlib.closing(open_read_only(log.path)) as db:
        return dict(LangGraphSource().threads(db))


def test_a_stamp_follows_its_thread_and_no_other(log):
    log.checkpoint("t", 1, None, {"messages": ONE})
    log.checkpoint("u", 2, None, {"messages": ONE})
    log.checkpoint("nested", 3, None, {"messages": ONE}, ns="tools:1")
    seen = [threads(log)]
    for change in (
        lambda: log.write("t", 1, ANSWERS[0]),
        lambda: log.checkpoint("t", 4, 1, {"messages": TWO}),
        lambda: log.checkpoint("t", 0, None, {"messages": TWO}),  # older than the newest
        lambda: log.db.execute("REPLACE INTO writes SELECT * FROM writes WHERE thread_id = 't'"),
        lambda: log.db.execute(f"DELETE FROM checkpoints WHERE thread_id = 't' AND checkpoint_id = '{at(0)}'"),
    ):
        change()
        seen.append(threads(log))
        assert {key for key in seen[-1] if seen[-1][key] != seen[-2].get(key)} == {"t"}
    assert set(seen[-1]) == {"t", "u", "nested"}


def test_a_thread_is_read_by_itself_whatever_its_id(log):
    odd = ["7", "a\x00b", b"bytes", b"\xff", "\ud7ff#x", "cut"]
    for second, thread in enumerate(odd):
        log.checkpoint(thread, second, None, {"messages": ONE})
        log.write(thread, second, ANSWERS[0])
    log.db.execute("UPDATE checkpoints SET thread_id = CAST(x'41ff' AS TEXT) WHERE thread_id = 'cut'")
    log.db.execute("UPDATE writes SET thread_id = CAST(x'41ff' AS TEXT) WHERE thread_id = 'cut'")
    everything = {episode.thread: episode for episode in read(log)[0]}
    assert set(everything) == set(threads(log))
    assert [said(episode) for episode in everything.values()] == [["q1", "r1"]] * len(odd)
    for name, episode in everything.items():
        assert read(log, {name}) == ([episode], [])
    assert read(log, {"7", "bytes"})[0] == [everything["7"], everything["bytes"]]
    assert read(log, ()) == ([], [])


def test_writes_without_checkpoints_are_reported_when_all_is_read(log):
    log.checkpoint("t", 1, None, {"messages": ONE})
    log.write("gone", 1, TWO)
    assert [(v.id, v.reason) for v in read(log)[1]] == [("gone", "writes of a thread without checkpoints")]
    assert read(log, {"t"})[1] == []


def test_moments_of_checkpoints():
    assert moment("1f1e50ec-92d8-66b6-bfff-0440fe6ed0b4") == "2026-11-20T18:18:29.270Z"
    assert moment("01a1fa2e-6e1a-70e8-bca5-5c8961c19695") == "2026-11-20T18:18:29.274Z"
    assert moment("2024-05-04T06:32:42.235444+00:00") == "2024-05-04T06:32:42.235Z"
    assert moment("b8b7d8f4-7f4d-4f4d-9c1d-f8b8d8f4d9c1") is None
    assert moment(None) is None


# msgpack, packed here by its specification so that the reader's libraries are checked against something else


def packed(value):
    if value is None:
        return b"\xc0"
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return b"\xd3" + struct.pack(">q", value)
    if isinstance(value, float):
        return b"\xcb" + struct.pack(">d", value)
    if isinstance(value, str):
        raw = value.encode()
        return b"\xdb" + struct.pack(">I", len(raw)) + raw
    if isinstance(value, bytes):
        return b"\xc6" + struct.pack(">I", len(value)) + value
    if isinstance(value, Ext):
        return b"\xc9" + struct.pack(">Ib", len(value.data), value.code) + value.data
    if isinstance(value, list):
        return b"\xdd" + struct.pack(">I", len(value)) + b"".join(packed(v) for v in value)
    pairs = b"".join(packed(k) + packed(v) for k, v in value.items())
    return b"\xdf" + struct.pack(">I", len(value)) + pairs


class Ext:
    def __init__(self, code, value):
        self.code, self.data = code, value if isinstance(value, bytes) else packed(value)


def model(fields, name="HumanMessage"):
    return Ext(5, ["langchain_core.messages.human", name, fields, "model_validate_json"])


@pytest.fixture(params=["ormsgpack", "msgpack"])
def library(request, monkeypatch):
    pytest.importorskip(request.param)
    other = {"ormsgpack": "msgpack", "msgpack": "ormsgpack"}[request.param]
    monkeypatch.setitem(sys.modules, other, None)


@pytest.mark.usefixtures("library")
def test_objects_come_as_what_they_were_built_from():
    value = {
        "message": model({"type": "human", "content": "q", "id": "h"}),
        "older": Ext(4, ["m", "HumanMessage", {"type": "human"}]),
        "snapshot": Ext(7, [model({"type": "human", "content": "x"})]),
        "enum": Ext(0, ["m", "Colour", "red"]),
        "date": Ext(3, ["datetime", "datetime", "2026-10-01", "fromisoformat"]),
        "path": Ext(1, ["pathlib", "PosixPath", ["/", "a"]]),
        "secret": Ext(0, ["pydantic.types", "SecretStr", "canary"]),
        "array": Ext(6, ["<f4", [1], "C", b"\x00"]),
        "unknown": Ext(99, b"\x01\x02"),
        "whole": Ext(2, ["langgraph.types", "Overwrite", {"value": [1]}]),
        "bytes": b"\x00",
        "text": "a\x00b",
        "nan": float("nan"),
        "numbers": {1: 2},
    }
    assert read_cell("msgpack", packed(value)) == {
        "message": {"type": "human", "content": "q", "id": "h"},
        "older": {"type": "human"},
        "snapshot": [{"type": "human", "content": "x"}],
        "enum": "red",
        "date": "2026-10-01",
        "path": ["/", "a"],
        "secret": None,
        "array": None,
        "unknown": None,
        "whole": {"__overwrite__": [1]},
        "bytes": None,
        "text": "a\ufffdb",
        "nan": "nan",
        "numbers": {"1": 2},
    }


@pytest.mark.usefixtures("library")
def test_a_thread_in_msgpack(log):
    state = [model(human("h1", "q")), model(ai("a1", "r"), "AIMessage")]
    cell = packed({"v": 4, "channel_values": {"messages": state}, "channel_versions": {"messages": "1"}})
    log.checkpoint("t", 1, None, cell, kind="msgpack")
    log.write("t", 1, packed([model(human("h2", "more"))]), kind="msgpack")
    (episode,), lost = read(log)
    assert [(m.role, m.content) for m in episode.messages] == [("user", "q"), ("assistant", "r"), ("user", "more")]
    assert lost == []


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize(
    "cell",
    [
        b"",
        b"\xc1",
        packed({"a": "b"})[:-1],
        packed(Ext(5, b"\xc1")),
        b"\x91" * 5000,
        b"\xdd\xff\xff\xff\xff",
        "text",
        3,
    ],
)
def test_broken_msgpack_is_refused(cell):
    with pytest.raises(ValueError, match=r"not msgpack|nested"):
        read_cell("msgpack", cell)


def test_a_missing_library_is_said_when_it_is_needed(log, monkeypatch):
    monkeypatch.setitem(sys.modules, "ormsgpack", None)
    monkeypatch.setitem(sys.modules, "msgpack", None)
    log.checkpoint("t", 1, None, {"messages": ONE})
    assert len(read(log)[0]) == 1
    log.checkpoint("t", 2, 1, b"\x80", kind="msgpack")
    with pytest.raises(MissingExtra, match="ormsgpack"):
        read(log)
