import contextlib
import json

import pytest
from examples.goose import OLDEST, START, Log, request, response, text
from log_database import read_whole, said, where

from lunar_tune.episodes import Attachment, Message, Signal, ToolCall, to_dict
from lunar_tune.sources.base import open_read_only
from lunar_tune.sources.goose.source import GooseSource


@pytest.fixture
def log(tmp_path):
    made = Log(tmp_path / "sessions.db")
    yield made
    made.db.close()


def read(log):
    return read_whole(GooseSource(), log)


def test_a_whole_conversation(log):
    log.session("20260921_1")
    log.say("20260921_1", "user", text("What is here?"), {"type": "image", "data": "AAAA", "mimeType": "image/png"})
    log.say(
        "20260921_1",
        "assistant",
        {"type": "thinking", "thinking": "List it.", "signature": "x"},
        {"type": "redactedThinking", "data": "x"},
        text("Let me look."),
        request("c1", "developer__shell", {"command": "ls"}),
        request("c2", "memory__read", {}),
    )
    log.say(
        "20260921_1",
        "user",
        response(
            "c1",
            text("a.py", annotations={"audience": ["assistant"]}),
            text("# a.py", annotations={"audience": ["user"], "priority": 0.0}),
            {"type": "resource", "resource": {"uri": "file:///b.md", "text": "B"}},
            {"type": "resource", "resource": {"uri": "file:///c.bin", "mimeType": "x/bin", "blob": "AA"}},
            {"type": "resource_link", "uri": "file:///d.txt", "name": "d.txt"},
        ),
        response("c2", text("no such memory"), isError=True),
    )
    log.say("20260921_1", "assistant", text("There is a.py."))
    (episode,), lost = read(log)
    assert lost == []
    assert (episode.thread, episode.group, episode.model) == ("20260921_1", "20260921_1", "gpt")
    assert episode.started_at == "2026-09-21T14:01:00Z"
    assert episode.messages == (
        Message(
            role="user",
            content="What is here?",
            created_at="2026-09-21T14:13:21Z",
            attachments=(Attachment(type="image/png"),),
        ),
        Message(
            role="assistant",
            content="Let me look.",
            created_at="2026-09-21T14:13:22Z",
            model="gpt",
            reasoning="List it.",
            tool_calls=(
                ToolCall(name="developer__shell", arguments={"command": "ls"}, id="c1"),
                ToolCall(name="memory__read", id="c2"),
            ),
        ),
        Message(
            role="tool",
            content="a.py\nB",
            created_at="2026-09-21T14:13:23Z",
            attachments=(Attachment(type="x/bin", name="c.bin"), Attachment(type="resource_link", name="d.txt")),
            tool_call_id="c1",
            name="developer__shell",
        ),
        Message(
            role="tool",
            content="no such memory",
            created_at="2026-09-21T14:13:23Z",
            error="no such memory",
            tool_call_id="c2",
            name="memory__read",
        ),
        Message(role="assistant", content="There is a.py.", created_at="2026-09-21T14:13:24Z", model="gpt"),
    )
    assert episode.signals == (Signal(kind="tool_error", message=3),)


def test_older_and_failed_results(log):
    log.session("s")
    log.say("s", "user", text("Go"))
    failed = {"type": "toolRequest", "id": "c0", "toolCall": {"status": "error", "error": "-32602: bad"}}
    log.say("s", "assistant", failed, *[request(f"c{n}", "t", {}) for n in range(1, 6)])
    log.say(
        "s",
        "user",
        {"type": "toolResponse", "id": "c1", "toolResult": {"status": "success", "value": [text("older")]}},
        {"type": "toolResponse", "id": "c2", "toolResult": {"status": "error", "error": "denied"}},
        {"type": "toolResponse", "id": "c3", "toolResult": {"status": "error", "error": {"code": 1, "message": "no"}}},
        response("c4", structuredContent={"n": 1}),
        {"type": "toolResponse", "id": "c5", "toolResult": None},
        text("Stop that"),
    )
    (episode,), lost = read(log)
    assert lost == []
    assert (episode.messages[1].tool_calls[0].name, episode.messages[1].tool_calls[0].error) == ("", "-32602: bad")
    assert [(m.role, m.content, m.error) for m in episode.messages[2:]] == [
        ("tool", "older", None),
        ("tool", "denied", "denied"),
        ("tool", "no", "no"),
        ("tool", '{"n": 1}', None),
        ("tool", "", None),
        ("user", "Stop that", None),
    ]


def test_what_the_user_saw_is_read(log):
    log.session("s")
    log.say("s", "user", text("Hi"), metadata_json='{"userVisible": true, "agentVisible": false}')
    log.say("s", "assistant", text("Hello"), metadata_json='{"userVisible": true, "agentVisible": false}')
    log.say("s", "user", text("Summary: hi"), metadata_json='{"userVisible": false, "agentVisible": true}')
    log.say("s", "assistant", text("I go on"), metadata_json='{"userVisible": false, "agentVisible": true}')
    log.say("s", "assistant", {"type": "systemNotification", "notificationType": "inlineMessage", "msg": "Compacted"})
    log.say("s", "user", text("Bye"), metadata_json=None)
    log.say("s", "assistant", text("Bye!"), metadata_json="{}")
    (episode,), lost = read(log)
    assert said(episode) == [("user", "Hi"), ("assistant", "Hello"), ("user", "Bye"), ("assistant", "Bye!")]
    assert where(lost) == [
        ("a compaction summary", "messages.content_json=3"),
        ("text for the agent only", "messages.content_json=4"),
        ("a notice of the app", "messages.content_json=5"),
    ]


def test_what_is_not_conversation(log):
    log.session("s")
    log.say("s", "user", text("Go"), {"type": "conversationCompacted", "msg": "x"})
    confirmation = {"actionType": "toolConfirmation", "id": "c", "toolName": "t", "arguments": {}}
    log.say("s", "assistant", {"type": "actionRequired", "data": confirmation})
    log.say("s", "assistant", {"type": "toolConfirmationRequest", "id": "c", "toolName": "t", "arguments": {}})
    log.say("s", "assistant", {"type": "actionRequired", "data": {"actionType": "elicitation", "message": "Who?"}})
    log.say("s", "assistant", text("for you", annotations={"audience": ["user"]}), {"type": "hologram"})
    log.say("s", "assistant")
    log.say("s", "assistant", text("Ran into this error: overloaded.\n\nPlease retry"))
    (episode,), lost = read(log)
    assert said(episode)[0] == ("user", "Go")
    assert (episode.messages[1].finish, episode.messages[1].error) == ("error", episode.messages[1].content)
    assert [v.reason for v in lost] == [
        "a compaction summary",
        "a question of the app",
        "a text that was not sent",
        "a part of unknown type",
        "a message without content",
    ]


def test_pieces_of_one_answer_are_one_message(log):
    log.session("s")
    log.say("s", "user", text("Go"), message_id="u")
    log.say("s", "assistant", {"type": "reasoning", "text": "Hm."}, text("I "), message_id="m")
    log.say("s", "assistant", text("go."), request("c", "t", {}), message_id="m")
    log.say("s", "user", response("c", text("ok")), message_id="r")
    log.say("s", "assistant", text("Done."), message_id="m")
    (episode,), lost = read(log)
    assert lost == []
    assert said(episode) == [("user", "Go"), ("assistant", "I go."), ("tool", "ok"), ("assistant", "Done.")]
    assert (episode.messages[1].reasoning, len(episode.messages[1].tool_calls)) == ("Hm.", 1)


def test_copies_share_a_group_and_sub_agents_stand_alone(log):
    log.session("s1")
    log.session("s2", name="copy")
    log.session("s3", session_type="sub_agent", parent_session_id="s1")
    log.session("s4", parent_session_id="s2")
    log.say("s1", "user", text("Hi"), message_id="m1")
    log.say("s2", "user", text("Hi"), message_id="m1")
    log.say("s3", "user", text("Task"), message_id="m3")
    log.say("s4", "user", text("Other"), message_id="m4")
    episodes, _ = read(log)
    assert [(e.thread, e.group) for e in episodes] == [("s1", "s1"), ("s2", "s1"), ("s3", "s3"), ("s4", "s1")]


def test_copies_made_before_messages_had_ids(log):
    for key in ("s1", "s2", "s3"):
        log.session(key)
        words = "Bye" if key == "s3" else "Hi"
        log.say(key, "user", text(words), message_id=f"msg_{key}_1", created_timestamp=START)
    log.session("s4")
    log.say("s4", "user", text("Hi"), created_timestamp=START)
    log.session("s5", parent_session_id="s6")
    log.session("s6", parent_session_id="s5")
    log.say("s5", "user", text("Round"))
    log.say("s6", "user", text("and round"))
    episodes, _ = read(log)
    assert [e.group for e in episodes] == ["s1", "s1", "s3", "s1", "s5", "s5"]


def test_a_session_without_a_time_starts_with_its_first_message(log):
    log.session("a", created_at="soon")
    log.session("b")
    log.say("b", "user", text("Hi"))
    log.say("a", "user", text("Hello"), created_timestamp=START + 500)
    episodes, _ = read(log)
    assert [(e.thread, e.started_at) for e in episodes] == [
        ("b", "2026-09-21T14:02:00Z"),
        ("a", "2026-09-21T14:21:40Z"),
    ]


def test_strays_are_reported_when_everything_is_read(log):
    log.session("s")
    log.say("s", "user", text("Hi"))
    log.session("other")
    log.session(b"s")
    log.say("gone", "user", text("Hi"), table="thread_messages")
    path = log.close()
    with contextlib.closing(open_read_only(path)) as db:
        whole, alone = [], []
        list(GooseSource().read(db, path, whole.append))
        assert len(list(GooseSource().read(db, path, alone.append, {"s"}))) == 1
    assert alone == []
    assert where(whole) == [
        ("a session without an id of its own", "sessions.rowid=3"),
        ("messages of no session", "thread_messages.session_id=gone"),
        ("a conversation without messages", ""),
    ]


def test_threads_are_read_where_a_session_has_no_messages(log):
    log.session("s1")
    log.session("s2")
    log.say("s1", "user", text("Hi"))
    log.say("s1", "user", text("Hi"), table="thread_messages", thread_id="t")
    log.say("s2", "user", text("Older"), table="thread_messages", thread_id="t")
    episodes, _ = read(log)
    assert [said(e) for e in episodes] == [[("user", "Hi")], [("user", "Older")]]


def test_a_log_with_the_fewest_columns(tmp_path):
    log = Log(tmp_path / "sessions.db", OLDEST)
    log.add("sessions", id="s", working_dir="/", created_at="2026-01-01 00:00:00")
    for role, words in (("user", "Hi"), ("assistant", "Hello")):
        log.add("messages", session_id="s", role=role, content_json=json.dumps([text(words)]), created_timestamp=START)
    (episode,), lost = read(log)
    assert (said(episode), episode.model, lost) == ([("user", "Hi"), ("assistant", "Hello")], None, [])


def test_broken_cells_cost_no_more_than_their_row(log):
    log.session("s", model_config_json='{"hunter2')
    log.say("s", "user", '[{"hunter2')
    log.say("s", "assistant", b"\xff\xfe")
    log.say("s", "assistant", text("ok"), metadata_json="{hunter2", created_timestamp="hunter2")
    log.say("s", "user", "hunter2", 3, text(4), {"type": "text"})
    log.say("s", "user", '[3, {"type": ["text"]}]')
    log.say("s", "wizard", text("hunter2"))
    log.say("s", "assistant", {"type": "toolRequest", "id": 3, "toolCall": "hunter2"[:0]})
    log.say("gone", "user", text("hunter2"))
    log.session("empty")
    (episode,), lost = read(log)
    assert [(m.role, m.content, m.error) for m in episode.messages] == [
        ("user", "", "unreadable message"),
        ("assistant", "", "unreadable message"),
        ("assistant", "ok", None),
        ("user", "", "unreadable message"),
        ("assistant", "", None),
    ]
    assert where(lost) == [
        ("messages of no session", "messages.session_id=gone"),
        ("an unreadable model", "sessions.model_config_json=1"),
        ("unreadable message", "messages.content_json=1"),
        ("unreadable message", "messages.content_json=2"),
        ("unreadable metadata", "messages.metadata_json=3"),
        ("unreadable message", "messages.content_json=4"),
        ("a part of unknown type", "messages.content_json=5"),
        ("a part of unknown type", "messages.content_json=5"),
        ("a message of unknown role", "messages.content_json=6"),
        ("a conversation without messages", ""),
    ]
    assert "hunter2" not in repr(lost) + json.dumps(to_dict(episode))


def test_an_empty_log(log):
    assert read(log) == ([], [])


def test_places(monkeypatch, tmp_path):
    monkeypatch.setenv("GOOSE_PATH_ROOT", str(tmp_path))
    names = [path.relative_to(tmp_path).as_posix() for path in GooseSource().places()]
    assert names == ["data/sessions/sessions.db", "sessions/sessions.db"]
