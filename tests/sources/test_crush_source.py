import contextlib
import json

import pytest
from examples.crush import START, Log, call, finish, part, text
from log_database import read_whole, where

from lunar_tune.episodes import Attachment, Message, Signal, ToolCall, to_dict
from lunar_tune.sources.base import open_read_only
from lunar_tune.sources.crush import CrushSource

OLD_SCHEMA = """
CREATE TABLE sessions (id TEXT PRIMARY KEY, parent_session_id TEXT, title TEXT, prompt_tokens INTEGER,
  created_at INTEGER, updated_at INTEGER);
CREATE TABLE messages (id TEXT PRIMARY KEY, session_id TEXT, role TEXT, parts TEXT, model TEXT, created_at INTEGER,
  updated_at INTEGER);
"""


@pytest.fixture
def log(tmp_path):
    made = Log(tmp_path / "crush.db")
    yield made
    made.db.close()


def read(log):
    return read_whole(CrushSource(), log)


def test_a_whole_conversation(log):
    log.session("s")
    picture = part("binary", Path="/home/me/a.png", MIMEType="image/png", Data="AAAA")
    shell = part("shell_command", command="ls", output="\x1b[31ma.py\x1b[0m", exit_code=0)
    log.say("s", "user", text("What is here?"), picture, shell, finish("stop"))
    log.say(
        "s", "assistant", part("reasoning", thinking="List it.", signature="x"), text("Let me look."),
        call("c1", '{"command": "ls"}'), call("c2", '{"comm'), finish("tool_use"),
    )  # fmt: skip
    shown = {"content": "a.py", "data": "AA", "mime_type": "image/png", "is_error": False}
    log.say(
        "s", "tool",
        part("tool_result", tool_call_id="c1", name="bash", **shown),
        part("tool_result", tool_call_id="c2", name="bash", content="bad input", metadata="", is_error=True),
        finish("stop"),
    )  # fmt: skip
    log.say("s", "assistant", text("a.py, "), finish("max_tokens"))
    (episode,), lost = read(log)
    assert lost == []
    assert (episode.thread, episode.group, episode.model, episode.system) == ("s", None, "glm", None)
    assert episode.started_at == "2026-09-21T14:14:20Z"
    at = "2026-09-21T14:13:20Z"
    assert episode.messages == (
        Message(
            role="user",
            content="What is here?\n$ ls\na.py\n(exit code 0)",
            created_at=at,
            attachments=(Attachment(type="image/png", name="a.png"),),
        ),
        Message(
            role="assistant",
            content="Let me look.",
            created_at=at,
            model="glm",
            finish="stop",
            reasoning="List it.",
            tool_calls=(
                ToolCall(name="bash", arguments={"command": "ls"}, id="c1"),
                ToolCall(
                    name="bash",
                    id="c2",
                    arguments_raw='{"comm',
                    error="arguments are not JSON: Unterminated string starting at (position 1)",
                ),
            ),
        ),
        Message(
            role="tool",
            content="a.py",
            created_at=at,
            attachments=(Attachment(type="image/png"),),
            tool_call_id="c1",
            name="bash",
        ),
        Message(role="tool", content="bad input", created_at=at, error="bad input", tool_call_id="c2", name="bash"),
        Message(role="assistant", content="a.py, ", created_at=at, model="glm", finish="length"),
    )
    assert episode.signals == (Signal(kind="tool_error", message=3),)


def test_how_answers_end(log):
    log.session("s")
    log.say("s", "user", text("Go"))
    log.say("s", "assistant", text("I was"), finish("canceled"))
    log.say("s", "assistant", finish("error", message="Overloaded", details="try later"))
    log.say("s", "assistant", text("No."), finish("content_filter"))
    log.say("s", "assistant", text("Half"))
    log.say("s", "assistant", text("Who knows"), finish("unknown"))
    (episode,), lost = read(log)
    assert lost == []
    assert [(m.content, m.finish, m.error) for m in episode.messages[1:]] == [
        ("I was", "cancelled", None),
        ("", "error", "Overloaded: try later"),
        ("No.", "error", "content_filter"),
        ("Half", "cancelled", None),
        ("Who knows", None, None),
    ]


def test_summaries_titles_and_sub_agents(log):
    log.session("s", summary_message_id="m3")
    log.session("title-s", parent_session_id="s")
    log.session("m2$$c1", parent_session_id="s")
    log.say("s", "user", text("Go"))
    log.say("s", "assistant", text("Gone."), finish())
    log.say("s", "assistant", text("Summary by id"), finish())
    log.say("s", "assistant", text("Summary by flag"), finish(), is_summary_message=1)
    again = "The previous session was interrupted because it got too long, the initial user request was: `Go`"
    log.say("s", "user", text(again))
    log.say("s", "user", text("continue", hidden=True))
    log.say("s", "assistant", text("And back."), finish())
    log.say("title-s", "assistant", text("A title"), finish())
    log.say("m2$$c1", "user", text("Sub task"))
    episodes, lost = read(log)
    assert [(e.thread, [m.content for m in e.messages]) for e in episodes] == [
        ("s", ["Go", "Gone.", "And back."]),
        ("m2$$c1", ["Sub task"]),
    ]
    assert where(lost) == [
        ("a session that made a title", "sessions.id=title-s"),
        ("a compaction summary", "messages.parts=m3"),
        ("a compaction summary", "messages.parts=m4"),
        ("text injected by the app", "messages.parts=m5"),
        ("text injected by the app", "messages.parts=m6"),
    ]


def test_an_older_log_in_milliseconds(tmp_path):
    log = Log(tmp_path / "crush.db", OLD_SCHEMA)
    log.session("s", created_at=START * 1000)
    log.say("s", "user", text("Hi"), created_at=START * 1000)
    (episode,), _ = read(log)
    assert (episode.started_at, episode.messages[0].created_at) == ("2026-09-21T14:13:20Z",) * 2


def test_broken_cells_cost_no_more_than_their_row(log):
    log.session("s")
    log.say("s", "user", parts='[{"hunter2')
    log.say("s", "assistant", parts='{"hunter2": 1}')
    log.say("s", "tool", parts=b"\xff")
    log.say("s", "user", 3, part("text", text=4), {"type": "text", "data": "hunter2"}, part("hologram"))
    log.say("s", "wizard", text("hunter2"))
    log.say("s", "assistant", text("ok"), finish(3), model=b"\xff", created_at="hunter2")
    log.say("gone", "user", text("hunter2"))
    log.session("empty", created_at="hunter2")
    (episode,), lost = read(log)
    assert [(m.role, m.content, m.error) for m in episode.messages] == [
        ("user", "", "unreadable message"),
        ("assistant", "", "unreadable message"),
        ("assistant", "ok", None),
    ]
    assert where(lost) == [
        ("messages of no session", "messages.session_id=gone"),
        ("a conversation without messages", ""),
        ("unreadable message", "messages.parts=m1"),
        ("unreadable message", "messages.parts=m2"),
        ("unreadable message", "messages.parts=m3"),
        ("a part of unknown type", "messages.parts=m4"),
        ("a part of unknown type", "messages.parts=m4"),
        ("a message without content", "messages.parts=m4"),
        ("a message of unknown role", "messages.parts=m5"),
    ]
    assert "hunter2" not in repr(lost) + json.dumps(to_dict(episode))


def test_an_empty_log(log):
    assert read(log) == ([], [])


def test_places(monkeypatch, tmp_path):
    (tmp_path / "crush").mkdir()
    listed = {"projects": [{"path": "/p", "data_dir": "/p/.crush"}, 3]}
    (tmp_path / "crush" / "projects.json").write_text(json.dumps(listed), encoding="utf-8")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    places = [path.as_posix() for path in CrushSource().places()]
    assert (places[0], places[-1]) == ((tmp_path / ".crush" / "crush.db").as_posix(), "/p/.crush/crush.db")
    (tmp_path / "crush" / "projects.json").write_text("{", encoding="utf-8")
    assert "/p/.crush/crush.db" not in [path.as_posix() for path in CrushSource().places()]


def test_a_thread_is_a_session_with_its_sub_agents(log):
    log.session("s")
    log.session("title-s", parent_session_id="s")
    log.session("m2$$c1", parent_session_id="s")
    log.session("lost", parent_session_id="gone")
    log.session("one", parent_session_id="two")
    log.session("two", parent_session_id="one")
    for session in ("s", "m2$$c1", "lost", "one", "two"):
        log.say(session, "user", text("Go"))
    log.say("none", "user", text("Go"))

    def threads():
        with contextlib.closing(open_read_only(log.path)) as db:
            return dict(CrushSource().threads(db))

    first = threads()
    assert set(first) == {"s", "gone", "one"}
    log.script("UPDATE messages SET parts = '[]', updated_at = updated_at + 60 WHERE session_id = 'm2$$c1'")
    second = threads()
    assert {thread for thread in second if second[thread] != first[thread]} == {"s"}
    log.script("UPDATE sessions SET summary_message_id = 'm1' WHERE id = 'lost'")
    assert {thread for thread, stamp in threads().items() if second[thread] != stamp} == {"gone"}
    lost = []
    with contextlib.closing(open_read_only(log.close())) as db:
        episodes = list(CrushSource().read(db, log.path, lost.append, {"one", "s"}))
    assert [(e.thread, e.group) for e in episodes] == [("s", "s"), ("one", "one"), ("two", "one")]
    assert [v.reason for v in lost] == [
        "a session that made a title", "a message without content", "a conversation without messages",
    ]  # fmt: skip
