import contextlib
import json
import sqlite3

import pytest
from examples import CANARY
from examples.flowise import Log

from lunar_tune.episodes import to_dict
from lunar_tune.sources.base import open_read_only
from lunar_tune.sources.flowise import FlowiseSource


def read(log):
    log.db.commit()
    log.db.close()
    lost = []
    with contextlib.closing(open_read_only(log.path)) as db:
        assert FlowiseSource().recognises(db)
        episodes = list(FlowiseSource().read(db, log.path, lost.append))
        for thread, _ in FlowiseSource().threads(db):
            alone = list(FlowiseSource().read(db, log.path, lambda verdict: None, {thread}))
            assert alone == [e for e in episodes if e.thread == thread]
    assert CANARY not in json.dumps([to_dict(e) for e in episodes]) + repr(lost)
    return episodes, lost


@pytest.fixture
def log(tmp_path):
    return Log(tmp_path / "database.sqlite")


def test_a_whole_session(log):
    log.flow({"systemMessage": "You are Lumi."}, {"model": "x"})
    uploads = [{"type": "file", "name": "trip.png", "mime": "image/png", "data": CANARY}]
    log.say("userMessage", "Weather?", createdDate="2026-10-01 08:00:05.900", fileUploads=uploads)
    used = [
        {"tool": "weather", "toolInput": {"city": "Oslo"}, "toolOutput": "rain"},
        None,
        {"tool": "search", "toolInput": "fjords", "toolOutput": {"hits": 0}, "error": "timeout"},
    ]
    # the answer's own time has no fraction, and so seems to come before the question
    log.say("apiMessage", "Rain.", createdDate="2026-10-01 08:00:05", usedTools=used, reasonContent={"thinking": "Hm."},
            artifacts=[{"type": "png", "data": CANARY}])  # fmt: skip
    log.rate("m2", "THUMBS_UP", "Nice")
    (episode,), lost = read(log)
    assert lost == []
    at = "2026-10-01T08:00:05Z"
    assert to_dict(episode, with_id=False) == {
        "source": "flowise",
        "path": str(log.path),
        "thread": "f/s",
        "started_at": "2026-10-01T08:00:05.900Z",
        "system": "You are Lumi.",
        "tools": [],
        "messages": [
            {
                "role": "user",
                "content": "Weather?",
                "created_at": "2026-10-01T08:00:05.900Z",
                "attachments": [{"type": "image/png", "name": "trip.png"}],
            },
            {
                "role": "assistant",
                "content": "",
                "created_at": at,
                "tool_calls": [{"id": "call_1_0", "name": "weather", "arguments": {"city": "Oslo"}}],
            },
            {"role": "tool", "content": "rain", "created_at": at, "tool_call_id": "call_1_0", "name": "weather"},
            {
                "role": "assistant",
                "content": "",
                "created_at": at,
                "tool_calls": [{"id": "call_3_0", "name": "search", "arguments": {"input": "fjords"}}],
            },
            {
                "role": "tool",
                "content": '{"hits": 0}',
                "created_at": at,
                "error": "timeout",
                "tool_call_id": "call_3_0",
                "name": "search",
            },
            {
                "role": "assistant",
                "content": "Rain.",
                "created_at": at,
                "reasoning": "Hm.",
                "attachments": [{"type": "png"}],
            },
        ],
        "signals": [
            {"kind": "tool_error", "value": None, "message": 4},
            {"kind": "rating", "value": 1.0, "message": 5, "note": "Nice"},
        ],
    }


def test_sessions_of_flows(log):
    log.say("userMessage", "1")
    log.say("userMessage", "2", flow="g")
    log.say("userMessage", "3", chatId="another chat of the session")
    log.say("userMessage", "4", sessionId=None)
    log.say("userMessage", "5", sessionId=None, chatId=None)
    log.say("userMessage", "6")
    episodes, _ = read(log)
    assert [(e.thread, [m.content for m in e.messages]) for e in episodes] == [
        ("f/s", ["1", "3", "6"]),
        ("g/s", ["2"]),
        ("f/c", ["4"]),
        ("f", ["5"]),
    ]


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ([{"agentMessages": [{"role": "system", "content": "Go."}, {"role": "user", "content": "x"}]}], "Go."),
        ([{"systemMessage": "Go."}, {"llmMessages": [{"role": "system", "content": "Go."}]}], "Go."),
        ([{"systemMessage": "Go."}, {"systemMessage": "Stop."}], None),
        ([{"systemMessagePrompt": "Today is {date}."}], None),
        ([{"systemMessage": 5, "agentMessages": [3]}], None),
    ],
)
def test_the_prompt_of_a_flow_if_it_is_sure(log, inputs, expected):
    log.flow(*inputs)
    log.say("userMessage", "Hi")
    assert read(log)[0][0].system == expected


def test_the_tools_of_several_agents(log):
    steps = [{"agentName": "A", "usedTools": [{"tool": "f", "toolInput": {}, "toolOutput": ""}, None]}, {}, 3]
    log.say("apiMessage", "<think>Hm.</think>Done", agentReasoning=steps)
    (episode,), _ = read(log)
    assert [[c.name for c in m.tool_calls] for m in episode.messages] == [["f"], [], []]
    assert (episode.messages[-1].content, episode.messages[-1].reasoning) == ("Done", "Hm.")


def test_broken_cells_and_ratings(log):
    log.flow()
    log.db.execute("UPDATE chat_flow SET flowData = '{hunter2'")
    log.say("userMessage", b"\xff")
    log.say("wizard", "hunter2")
    log.say("apiMessage", "kept", usedTools="[hunter2", agentReasoning="{", fileUploads="x", artifacts="hunter2")
    log.say("apiMessage", "kept too", usedTools=[{"toolInput": "hunter2"}, 3], reasonContent="Plain.")
    log.rate("m4", "THUMBS_DOWN")
    log.rate("gone", "THUMBS_UP")
    log.rate("m4", "MEH")
    (episode,), lost = read(log)
    assert [m.content for m in episode.messages] == ["", "kept", "kept too"]
    assert episode.messages[2].reasoning == "Plain."
    assert [(s.kind, s.value, s.message) for s in episode.signals] == [("rating", -1.0, 2)]
    assert "hunter2" not in repr(lost)
    assert [(v.reason, v.detail) for v in lost] == [
        ("a rating that is no thumb", "chat_message_feedback.rowid=3"),
        ("unreadable flow", "chat_flow.flowData=f"),
        ("content that is no text", "chat_message.content=m1"),
        ("a message of unknown role", "chat_message.id=m2"),
        ("unreadable usedTools", "chat_message.usedTools=m3"),
        ("unreadable agentReasoning", "chat_message.agentReasoning=m3"),
        ("unreadable artifacts", "chat_message.artifacts=m3"),
        ("unreadable tool call", "chat_message.usedTools=m4"),
        ("unreadable tool call", "chat_message.usedTools=m4"),
        ("a rating of a message that is gone", "chat_message_feedback.rowid=2"),
    ]


@pytest.mark.parametrize("odd", [None, True, 0, 10**400, 1.5, "", "x", [], [[]], {}, {"nodes": [{"data": 3}]}])
def test_no_value_stops_the_reader(log, odd):
    log.add("chat_flow", id="f", flowData=json.dumps(odd))
    columns = ("usedTools", "agentReasoning", "reasonContent", "fileUploads", "artifacts")
    for role in ("userMessage", "apiMessage"):
        log.say(role, "x", **dict.fromkeys(columns, json.dumps(odd)))
        log.say(role, "x", **dict.fromkeys(columns, json.dumps([odd])))
    for key in ("tool", "toolInput", "toolOutput", "error"):
        log.say("apiMessage", "x", usedTools=[{"tool": "f", key: odd}])
    assert read(log)[0]


def test_older_and_empty_databases(tmp_path):
    path = tmp_path / "old.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE chat_message (id varchar, role varchar, chatflowid varchar, content TEXT)")
        db.execute("INSERT INTO chat_message VALUES ('m', 'userMessage', 'f', 'Hi')")
        db.commit()
    with contextlib.closing(open_read_only(path)) as db:
        assert FlowiseSource().recognises(db)
        assert [e.thread for e in FlowiseSource().read(db, path, lambda verdict: None)] == ["f"]
    assert read(Log(tmp_path / "empty.sqlite")) == ([], [])


def test_a_stamp_follows_its_session_alone(log):
    def stamps():
        return dict(FlowiseSource().threads(log.db))

    log.flow({"systemMessage": "Go."}, key="g")
    log.say("userMessage", "1")
    log.say("userMessage", "2", flow="g")
    before = stamps()
    log.rate("m1", "THUMBS_UP")
    rated = stamps()
    assert (rated["f/s"] != before["f/s"], rated["g/s"] == before["g/s"]) == (True, True)
    log.db.execute("UPDATE chat_flow SET updatedDate = 'now' WHERE id = 'g'")
    assert stamps()["g/s"] != before["g/s"]
    log.db.execute("ALTER TABLE chat_flow DROP COLUMN updatedDate")
    before = stamps()
    log.db.execute("UPDATE chat_flow SET flowData = '{}' WHERE id = 'g'")
    assert stamps()["g/s"] != before["g/s"]


def test_places(monkeypatch, tmp_path):
    monkeypatch.setenv("DATABASE_PATH", str(tmp_path))
    assert FlowiseSource().places() == [tmp_path / "database.sqlite"]
