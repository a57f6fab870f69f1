import contextlib
import json

import pytest
from examples.mastra import Log, invoked, signal

from lunar_tune.episodes import Attachment, Signal, to_dict
from lunar_tune.sources.base import open_read_only
from lunar_tune.sources.core import jsonb
from lunar_tune.sources.mastra import MastraSource


@pytest.fixture
def log(tmp_path):
    log = Log(tmp_path / "mastra.db")
    yield log
    log.db.close()


def read(path):
    lost = []
    with contextlib.closing(open_read_only(path)) as db:
        assert MastraSource().recognises(db)
        episodes = list(MastraSource().read(db, path, lost.append))
        for thread, _ in MastraSource().threads(db):
            alone = list(MastraSource().read(db, path, lambda verdict: None, {thread}))
            assert alone == [e for e in episodes if e.thread == thread]
        return episodes, [(v.id, v.reason, v.detail) for v in lost]


def said(episode):
    return [(m.role, m.content) for m in episode.messages]


def test_a_thread_whole(log):
    log.thread("t1")
    file = {"type": "file", "mimeType": "image/png", "filename": "a.png", "data": "canary"}
    log.parts("user", "Weather?", file)
    log.parts(
        "assistant",
        {"type": "step-start", "model": "openai/gpt-x"},
        {"type": "reasoning", "reasoning": "", "details": [{"type": "text", "text": "Ask."}]},
        "Let me look.",
        invoked("c1", result={"sky": "blue"}),
        invoked("c2", result="down", isError=True),
        {"type": "step-start"},
        invoked("c3", state="output-error", errorText="no such city"),
        {"type": "source", "source": {"url": "x"}},
        "It is sunny.",
    )
    ((episode,), lost) = read(log.path)
    assert lost == []
    answer = {"role": "assistant", "created_at": "2026-03-01T10:02:00Z", "model": "openai/gpt-x"}
    tool = {"role": "tool", "created_at": "2026-03-01T10:02:00Z", "name": "weather"}
    arguments = {"name": "weather", "arguments": {"city": "Rome"}}
    assert to_dict(episode, with_id=False) == {
        "source": "mastra",
        "path": str(log.path),
        "thread": "t1",
        "started_at": "2026-03-01T10:01:00Z",
        "model": "openai/gpt-x",
        "tools": [],
        "messages": [
            {
                "role": "user",
                "content": "Weather?",
                "created_at": "2026-03-01T10:01:00Z",
                "attachments": [{"type": "image/png", "name": "a.png"}],
            },
            {
                **answer,
                "content": "Let me look.",
                "reasoning": "Ask.",
                "tool_calls": [{"id": "c1", **arguments}, {"id": "c2", **arguments}],
            },
            {**tool, "content": '{"sky": "blue"}', "tool_call_id": "c1"},
            {**tool, "content": "down", "error": "the tool reported an error", "tool_call_id": "c2"},
            {**answer, "content": "", "tool_calls": [{"id": "c3", **arguments}]},
            {**tool, "content": "no such city", "error": "no such city", "tool_call_id": "c3"},
            {**answer, "content": "It is sunny."},
        ],
        "signals": [
            {"kind": "tool_error", "value": None, "message": 3}, {"kind": "tool_error", "value": None, "message": 5},
        ],
    }  # fmt: skip
    assert "canary" not in json.dumps(to_dict(episode))


def test_newer_tool_parts_and_unanswered_calls(log):
    log.parts("user", "Go")
    log.parts(
        "assistant",
        {"type": "tool-weather", "toolCallId": "c1", "state": "output-available", "input": {"q": 1}, "output": "x"},
        {"type": "dynamic-tool", "toolName": "mail", "toolCallId": "c2", "state": "input-available", "input": {}},
        invoked("c3", state="output-denied"),
        {"type": "error", "error": {"message": "overloaded"}},
    )
    ((episode,), lost) = read(log.path)
    assert lost == []
    assert [(c.name, c.arguments) for c in episode.messages[1].tool_calls] == [
        ("weather", {"q": 1}), ("mail", {}), ("weather", {"city": "Rome"}),
    ]  # fmt: skip
    assert (episode.messages[1].error, episode.messages[1].finish) == ("overloaded", "error")
    assert [(m.tool_call_id, m.content) for m in episode.messages[2:]] == [("c1", "x"), ("c3", "denied by the user")]


def test_the_older_shapes(log):
    log.say("system", "Be kind.").say("user", "Hi").say("user", "42").say("user", '{"my": "json"}').say("user", "[1]")
    call = {"type": "tool-call", "toolCallId": "c1", "toolName": "weather", "args": {"city": "Rome"}}
    log.say("assistant", json.dumps([{"type": "text", "text": "Look."}, call]))
    log.say(
        "tool", json.dumps([{"type": "tool-result", "toolCallId": "c1", "toolName": "weather", "result": {"a": 1}}])
    )
    log.say("assistant", json.dumps("Sunny.")).say("assistant", json.dumps({"format": 2, "content": "Bye"}))
    log.say("tool", "loose")
    ((episode,), lost) = read(log.path)
    assert lost == []
    assert episode.system == "Be kind."
    assert said(episode) == [
        ("user", "Hi"), ("user", "42"), ("user", '{"my": "json"}'), ("user", "[1]"), ("assistant", "Look."),
        ("tool", '{"a": 1}'), ("assistant", "Sunny."), ("assistant", "Bye"), ("tool", "loose"),
    ]  # fmt: skip
    assert episode.messages[4].tool_calls[0].id == episode.messages[5].tool_call_id == "c1"


def test_scores_are_annotations_of_the_conversation(log):
    log.parts("user", "Hi").parts("assistant", "Hello")
    add = "INSERT INTO mastra_scorers (id, scorerId, score, reason, threadId, input) VALUES (?, ?, ?, ?, ?, 'canary')"
    log.db.execute(add, ("1", "relevancy", 0.75, "to the point", "t1"))
    log.db.execute(add, ("2", None, 1, None, "t1"))
    log.db.execute(add, ("3", "x", "high", None, "t1"))
    log.db.execute(add, ("4", "x", 0.5, None, None))
    log.db.execute(add, ("5", "x", 0.5, None, "gone"))
    log.db.commit()
    ((episode,), lost) = read(log.path)
    assert episode.signals == (
        Signal(kind="annotation", value=0.75, note="judge relevancy: to the point"),
        Signal(kind="annotation", value=1.0, note="judge unknown"),
    )
    assert lost == [
        ("t1", "a score that is no number", "mastra_scorers.rowid=3"),
        ("gone", "a score of a conversation that is gone", ""),
    ]


def test_clones_are_of_the_group_of_the_first(log):
    log.thread("t1").thread("t2", json.dumps({"clone": {"sourceThreadId": "t1"}}))
    log.thread("t3", json.dumps({"clone": {"sourceThreadId": "t2"}})).thread("t4", "{SECRET").thread("t5")
    for thread in ("t1", "t2", "t3", "t4"):
        log.parts("user", "Hi", thread=thread).parts("assistant", "Hello", thread=thread)
    episodes, lost = read(log.path)
    assert [(e.thread, e.group) for e in episodes] == [("t1", "t1"), ("t2", "t1"), ("t3", "t1"), ("t4", None)]
    assert lost == [
        ("t4", "unreadable metadata", "mastra_threads.metadata=t4"), ("t5", "a conversation without messages", ""),
    ]  # fmt: skip


def test_threads_come_in_the_order_of_their_start_and_messages_in_theirs(log):
    log.say("user", "second", "b", created="2026-03-01T11:00:00Z").say(
        "user", "first", "a", created="2026-03-01T10:00:00Z"
    )
    log.say("assistant", "later", "b", created="2026-03-01T12:00:00Z").say("user", "none", None)
    log.say("assistant", "between", "b", created="2026-03-01T11:30:00Z")
    episodes, lost = read(log.path)
    assert [[m.content for m in e.messages] for e in episodes] == [["first"], ["second", "between", "later"]]
    assert lost == [("", "a message of no conversation", "mastra_messages.id=m4")]


def test_broken_rows_cost_themselves(log):
    log.parts("user", "Hi").say("user", "{SECRET").say("user", b"\xff\x00SECRET").say("signal", "x").say("user", None)
    log.parts("assistant", "Yes", {"type": "hologram"}, 5, {"type": "data-x"}, {"type": "tool-invocation"}, {"type": 5})
    log.say("assistant", '{"parts": 5}').say("assistant", '{"parts": [], "content": 5}').say("user", '[{"type": "x"}]')
    ((episode,), lost) = read(log.path)
    assert said(episode) == [("user", "Hi"), ("assistant", "Yes")]
    assert [(reason, place.removeprefix("mastra_messages.content=")) for _, reason, place in lost] == [
        ("unreadable content", "m2"), ("unreadable content", "m3"), ("a signal of the app", "m4"),
        ("unreadable content", "m5"), ("a part of unknown type", "m6"), ("a part of unknown type", "m6"),
        ("a part that is the app's own data", "m6"), ("an unreadable tool call", "m6"),
        ("a part of unknown type", "m6"),
        ("unreadable content", "m7"), ("unreadable content", "m8"), ("a part of unknown type", "m9"),
    ]  # fmt: skip
    assert "SECRET" not in str(lost)


def test_binary_json_as_the_library_writes_it(log):
    log.thread("t1", bytes.fromhex("4c17611331"))
    log.thread("t2", b"\xccPWclone\xccH\xc7\x0esourceThreadId't1\x87clonedAt\xc7\x182026-11-21T14:52:26.087Z"
               b"\xc7\rlastMessageId'm2")  # fmt: skip
    log.parts("user", "Hi", thread="t2")
    episodes, lost = read(log.path)
    assert [(e.thread, e.group) for e in episodes] == [("t2", "t1")]
    assert lost == [("t1", "a conversation without messages", "")]


@pytest.mark.parametrize(
    ("blob", "value"),
    [
        (b"\x00", None), (b"\x01", True), (b"\x02", False), (b"\x2312", 12), (b"\x351.5", 1.5), (b"\x440x1f", 31),
        (b"\x26.5", 0.5), (b"\x18n", "n"), (b"\x28\\n", "\n"), (b"\x39\\x4", "\\x4"), (b"\x1aa", "a"),
        (b"\x0b", []), (b"\x3b\x131\x00", [1, None]), (b"\xd7\x00\x01a", "a"), (b"\x2c\x17a\x00"[:1] + b"", ValueError),
        (b"", ValueError), (b"\x0d", ValueError), (b"\x131\x131", ValueError), (b"\x1c\x00", ValueError),
        (b"\x3c\x131\x00", ValueError), (b"\x13x", ValueError), (b"\xfb" + b"\xff" * 8, ValueError),
        (b"\x86Infinity", ValueError), (b"\xc4\x140x" + b"f" * 18, ValueError),
    ],
)  # fmt: skip
def test_binary_json(blob, value):
    if value is ValueError:
        with pytest.raises(ValueError, match=r"."):
            jsonb.loads(blob)
    else:
        assert jsonb.loads(blob) == value


def test_binary_json_nested_beyond_reason():
    blob = b"\x0b"
    for _ in range(600):
        blob = b"\xeb" + len(blob).to_bytes(4, "big") + blob

    def deep(calls):
        return deep(calls - 1) if calls else jsonb.loads(blob)

    for calls in (0, 400):
        with pytest.raises(ValueError, match="nested"):
            deep(calls)


def test_a_database_of_messages_alone(tmp_path):
    log = Log(tmp_path / "m.db", "CREATE TABLE mastra_messages (id TEXT, thread_id TEXT, content TEXT, role TEXT);")
    log.db.execute("INSERT INTO mastra_messages VALUES ('1', 't', 'Hi', 'user')")
    log.db.commit()
    log.db.close()
    ((episode,), lost) = read(log.path)
    assert (said(episode), episode.started_at, lost) == ([("user", "Hi")], None, [])


def test_an_empty_database(log):
    assert read(log.path) == ([], [])


def test_a_stamp_follows_its_thread_alone(log):
    def stamps():
        return dict(MastraSource().threads(log.db))

    log.thread("a").thread("b").parts("user", "Hi", thread="a").parts("user", "Hi", thread="b")
    before = stamps()
    log.score("1", "tone", 1.0, None, "a")
    judged = stamps()
    assert (judged["a"] != before["a"], judged["b"] == before["b"]) == (True, True)
    log.db.execute("UPDATE mastra_threads SET updatedAt = '2026-03-03T10:00:00Z' WHERE id = 'b'")
    assert (stamps()["a"] == judged["a"], stamps()["b"] != before["b"]) == (True, True)


def test_signals_of_people_are_their_messages_and_others_the_apps(log):
    log.parts("signal", "Sent", metadata=signal("user")).parts("signal", "Typed", kind="user-message")
    log.parts("signal", "Mail", metadata=signal("notification")).parts("user", "<system-reminder>x</system-reminder>")
    log.parts("user", "x", metadata={"systemReminder": {"type": "x"}}).parts("assistant", "Fine.")
    ((episode,), lost) = read(log.path)
    assert said(episode) == [("user", "Sent"), ("user", "Typed"), ("assistant", "Fine.")]
    assert [(reason, place[-2:]) for _, reason, place in lost] == [
        ("a signal of the app", "m3"), ("a reminder of the app", "m4"), ("a reminder of the app", "m5"),
    ]  # fmt: skip


def test_attachments_beside_the_parts(log):
    log.parts(
        "user", "Read", experimental_attachments=[{"name": "a.pdf", "contentType": "application/pdf", "url": "canary"}]
    )
    ((episode,), _) = read(log.path)
    assert episode.messages[0].attachments == (Attachment(type="application/pdf", name="a.pdf"),)
