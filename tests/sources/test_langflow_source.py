import contextlib
import json
import sqlite3

import pytest
from examples import CANARY
from examples.langflow import Log, text, tool

from lunar_tune.episodes import to_dict
from lunar_tune.sources.base import open_read_only
from lunar_tune.sources.langflow import LangflowSource


def read(log):
    log.db.commit()
    log.db.close()
    lost = []
    with contextlib.closing(open_read_only(log.path)) as db:
        assert LangflowSource().recognises(db)
        episodes = list(LangflowSource().read(db, log.path, lost.append))
        for thread, _ in LangflowSource().threads(db):
            alone = list(LangflowSource().read(db, log.path, lambda verdict: None, {thread}))
            assert alone == [e for e in episodes if e.thread == thread]
    assert CANARY not in json.dumps([to_dict(e) for e in episodes]) + repr(lost)
    return episodes, lost


@pytest.fixture
def log(tmp_path):
    return Log(tmp_path / "langflow.db")


def test_a_whole_session(log):
    log.say("User", "Weather?", files=["f/2026_trip.png", {"path": "C:\\x\\a.pdf"}])
    contents = [
        {"type": "text", "text": "Weather?", "header": {"title": "Input"}},
        {"type": "tool_use", "name": "weather", "tool_input": {"city": "Oslo"}, "output": "rain", "error": None},
        {"type": "tool_use", "name": "search", "input": {"q": "x"}, "output": None, "error": {"message": "down"}},
        {"type": "text", "text": "Rain.", "header": {"title": "Output"}},
    ]
    shown = {"source": {"id": "Agent-1", "source": "gpt-4o"}, "positive_feedback": True, "state": "complete"}
    log.say("Machine", "Rain.", properties=shown, content_blocks=[{"title": "Agent Steps", "contents": contents}])
    (episode,), lost = read(log)
    assert lost == []
    at = "2026-10-01T08:00:02Z"
    assert to_dict(episode, with_id=False) == {
        "source": "langflow",
        "path": str(log.path),
        "thread": "f/s",
        "started_at": "2026-10-01T08:00:01Z",
        "model": "gpt-4o",
        "tools": [],
        "messages": [
            {
                "role": "user",
                "content": "Weather?",
                "created_at": "2026-10-01T08:00:01Z",
                "attachments": [
                    {"type": "image/png", "name": "2026_trip.png"},
                    {"type": "application/pdf", "name": "a.pdf"},
                ],
            },
            {
                "role": "assistant",
                "content": "",
                "created_at": at,
                "model": "gpt-4o",
                "tool_calls": [{"id": "call_1_0", "name": "weather", "arguments": {"city": "Oslo"}}],
            },
            {"role": "tool", "content": "rain", "created_at": at, "tool_call_id": "call_1_0", "name": "weather"},
            {
                "role": "assistant",
                "content": "",
                "created_at": at,
                "model": "gpt-4o",
                "tool_calls": [{"id": "call_3_0", "name": "search", "arguments": {"q": "x"}}],
            },
            {
                "role": "tool",
                "content": "",
                "created_at": at,
                "error": '{"message": "down"}',
                "tool_call_id": "call_3_0",
                "name": "search",
            },
            {"role": "assistant", "content": "Rain.", "created_at": at, "model": "gpt-4o"},
        ],
        "signals": [
            {"kind": "tool_error", "value": None, "message": 4},
            {"kind": "rating", "value": 1.0, "message": 5},
        ],
    }


def test_sessions_flows_and_contexts(log):
    log.say("User", "1", timestamp="2026-10-01 09:00:00")
    log.say("User", "2", context_id="k")
    log.say("User", "3", session_id="f")  # the playground's own session is named like its flow
    log.say("User", "4", flow_id=None)
    log.say("User", "5")
    episodes, _ = read(log)
    assert [(e.thread, [m.content for m in e.messages]) for e in episodes] == [
        ("f/s/k", ["2"]),
        ("f", ["3"]),
        ("s", ["4"]),
        ("f/s", ["5", "1"]),
    ]


def test_failures_cuts_edits_and_ratings(log):
    log.say("User", "Q")
    log.say("Machine", "Quota exceeded", error=1)
    reason = [{"contents": [{"type": "error", "reason": "No key"}]}]
    log.say("Machine", "", category="error", content_blocks=reason)
    log.say("Machine", "Half a", properties={"state": "partial", "source": "gpt"})
    log.say("Machine", "Better", edit=1, properties={"positive_feedback": False})
    log.say("Machine", "<think>Hm.</think>Old", properties={"good_answer": True})
    running = [{"contents": [{"type": "tool_use", "name": "f", "output": None}]}]
    log.say("Machine", "", content_blocks=running)
    (episode,), lost = read(log)
    assert lost == []
    assert [(m.content, m.error, m.finish) for m in episode.messages[1:6]] == [
        ("", "Quota exceeded", "error"),
        ("", "No key", "error"),
        ("Half a", None, "cancelled"),
        ("Better", None, None),
        ("Old", None, None),
    ]
    assert (episode.messages[3].model, episode.messages[5].reasoning) == ("gpt", "Hm.")
    assert [m.role for m in episode.messages[6:]] == ["assistant", "assistant"]  # the tool never answered
    assert [(s.kind, s.value, s.message) for s in episode.signals] == [
        ("annotation", "edited", 4),
        ("rating", -1.0, 4),
        ("rating", 1.0, 5),
    ]


def test_broken_cells_cost_their_cell(log):
    log.say("User", b"\xff", files="[hunter2")
    log.say("Wizard", "hunter2")
    log.say("Machine", "kept", properties="{hunter2", content_blocks="hunter2")
    log.say("Machine", "too", content_blocks=[{"contents": [{"type": "hunter2"}]}], timestamp="never")
    (episode,), lost = read(log)
    assert [m.content for m in episode.messages] == ["", "kept", "too"]
    assert "hunter2" not in repr(lost)
    assert [(v.id, v.reason, v.detail) for v in lost] == [
        ("f/s", "content that is no text", "message.text=m1"),
        ("f/s", "unreadable files", "message.files=m1"),
        ("f/s", "a message of unknown role", "message.id=m2"),
        ("f/s", "unreadable properties", "message.properties=m3"),
        ("f/s", "unreadable content_blocks", "message.content_blocks=m3"),
        ("f/s", "a step of unknown type", "message.content_blocks=m4"),
    ]


@pytest.mark.parametrize("odd", [None, True, 0, 10**400, 1.5, "", "x", [], [[]], {}, {"contents": [3]}])
def test_no_value_stops_the_reader(log, odd):
    for sender in ("User", "Machine"):
        for cell in (odd, [odd]):
            log.say(sender, "x", **dict.fromkeys(("files", "properties", "content_blocks"), json.dumps(cell)))
    for key in ("source", "state", "positive_feedback", "edited"):
        log.say("Machine", "x", properties={key: odd})
    for key in ("type", "name", "tool_input", "output", "error"):
        log.say("Machine", "x", content_blocks=[{"contents": [{"type": "tool_use", "name": "f", key: odd}]}])
    assert read(log)[0]


def test_older_and_empty_databases(tmp_path):
    path = tmp_path / "old.db"
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE message (id, timestamp, sender, sender_name, session_id, text, files, flow_id)")
        db.execute("INSERT INTO message VALUES ('m', '2026-10-01 08:00:00', 'User', 'U', 's', 'Hi', '[]', 'f')")
        db.commit()
    with contextlib.closing(open_read_only(path)) as db:
        assert LangflowSource().recognises(db)
        assert [e.thread for e in LangflowSource().read(db, path, lambda verdict: None)] == ["f/s"]
    assert read(Log(tmp_path / "empty.db")) == ([], [])


def test_texts_of_blocks_that_are_not_the_answer_are_copies(log):
    log.say("Machine", "Answer.", content_blocks=[text("Question?"), tool("f", output="x"), text("Answer.")])
    log.say("Machine", "One. Two.", content_blocks=[text("One. "), tool("f", output="x"), text("Two.")])
    (episode,), lost = read(log)
    assert lost == []
    assert [m.content for m in episode.messages] == ["", "x", "Answer.", "One. ", "x", "Two."]


def test_a_stamp_sees_thumbs_and_edits_of_its_session_alone(log):
    def stamps():
        return dict(LangflowSource().threads(log.db))

    log.say("Machine", "1")
    log.say("Machine", "2", session_id="t")
    before = stamps()
    log.db.execute("UPDATE message SET properties = ? WHERE id = 'm1'", (json.dumps({"positive_feedback": True}),))
    liked = stamps()
    assert (liked["f/s"] != before["f/s"], liked["f/t"] == before["f/t"]) == (True, True)
    log.db.execute("UPDATE message SET text = 'one', edit = 1 WHERE id = 'm1'")
    assert stamps()["f/s"] != liked["f/s"]


def test_places(monkeypatch, tmp_path):
    monkeypatch.setenv("LANGFLOW_DATABASE_URL", f"sqlite:///{tmp_path}/own.db")
    monkeypatch.setenv("LANGFLOW_CONFIG_DIR", str(tmp_path))
    assert LangflowSource().places() == [tmp_path / "own.db", tmp_path / "langflow.db"]
