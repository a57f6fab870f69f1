import contextlib
import json

import pytest
from examples import CANARY
from examples.ollama_app import App

from lunar_tune.episodes import to_dict
from lunar_tune.sources import base
from lunar_tune.sources.ollama_app import OllamaAppSource


def read(app, only=None):
    path, lost = app.close(), []
    with contextlib.closing(base.open_read_only(path)) as db:
        assert OllamaAppSource().recognises(db)
        episodes = list(OllamaAppSource().read(db, path, lost.append, only))
    assert CANARY not in json.dumps([to_dict(e) for e in episodes]) + repr(lost)
    return episodes, lost


@pytest.fixture
def app(tmp_path):
    return App(tmp_path / "db.sqlite")


def test_results_in_their_own_cells_and_beside_their_calls(app):
    app.chat()
    app.say("user", "Q")
    first = app.say("assistant", "")
    app.call(first, "a", "{}")
    app.call(first, "b", "{}", '{"kept": "beside"}')
    app.say("tool", "", tool_result='{"own": "cell"}')
    app.say("assistant", "A")
    (episode,), _ = read(app)
    results = [(m.content, m.name, m.tool_call_id) for m in episode.messages if m.role == "tool"]
    assert results == [('{"own": "cell"}', "a", "call_1_0"), ('{"kept": "beside"}', "b", "call_1_1")]


def test_broken_cells_and_rows_of_no_chat(app):
    app.chat("late", "2026-10-02 00:00:00")
    app.chat("early", "2026-10-01 23:00:00-05:00")
    app.chat("undated", "never")
    app.say("user", b"\xff", chat="late", created_at=b"\xff")
    app.say("wizard", "hunter2", chat="late")
    app.call(app.say("assistant", "x", chat="late"), "f", '{"hunter2')
    app.say("tool", "no call", chat="early")
    app.say("user", "lost", chat="gone")
    episodes, lost = read(app)
    assert [e.thread for e in episodes] == ["late", "early"]
    assert episodes[0].messages[1].tool_calls[0].arguments_raw == '{"hunter2'
    assert "hunter2" not in repr(lost)
    assert [(v.id, v.reason, v.detail) for v in lost] == [
        ("undated", "a conversation without messages", ""),
        ("late", "content that is no text", "messages.content=1"),
        ("late", "a message of unknown role", "messages.id=2"),
        ("", "a message of no conversation", "messages.id=5"),
    ]


def test_an_empty_database_and_an_older_one(app, tmp_path):
    app.db.executescript("DROP TABLE attachments; ALTER TABLE messages DROP COLUMN tool_result")
    app.chat()
    app.say("user", "Hi")
    assert [e.messages[0].content for e in read(app)[0]] == ["Hi"]
    assert read(App(tmp_path / "empty.sqlite")) == ([], [])
    assert OllamaAppSource().places()[0].name == "db.sqlite"


def test_cells_that_are_no_text_are_reported(app):
    app.chat()
    asked = app.say("assistant", "", thinking=b"\xff")
    app.call(asked, "f", b"\xff")
    app.call(asked, "g", "{}", b"\xff")
    app.call(app.say("tool", "", tool_result=b"\xff"), "h", "{}")
    (episode,), lost = read(app)
    assert [(m.role, m.name, m.content) for m in episode.messages] == [("assistant", None, ""), ("tool", "f", "")]
    assert [(v.reason, v.detail) for v in lost] == [
        ("arguments that is no text", "tool_calls.message_id=1"),
        ("a result that is no text", "tool_calls.message_id=1"),
        ("reasoning that is no text", "messages.thinking=1"),
        ("calls beside a result", "messages.id=2"),
        ("a result that is no text", "messages.tool_result=2"),
    ]


def test_indexes_are_not_needed(app):
    app.db.executescript("DROP INDEX idx_messages_chat_id; DROP INDEX idx_tool_calls_message_id;"
                         "DROP INDEX idx_attachments_message_id")  # fmt: skip
    for chat in ("c", "d"):
        app.chat(chat)
        asked = app.say("user", chat, chat)
        app.add("attachments", message_id=asked, filename=f"{chat}.txt", data=b"")
        app.call(app.say("assistant", "", chat), "f", "{}", f"from {chat}")
    episodes, lost = read(app)
    assert lost == []
    assert [[m.content for m in e.messages] for e in episodes] == [["c", "", "from c"], ["d", "", "from d"]]
    assert [e.messages[0].attachments[0].name for e in episodes] == ["c.txt", "d.txt"]
