import contextlib
import json

import pytest
from examples.opencode import NEWER, SESSION, START, Log, done, text, tool
from log_database import read_whole, said, where

from lunar_tune.episodes import Attachment, Message, Signal, ToolCall, to_dict
from lunar_tune.sources.base import open_read_only
from lunar_tune.sources.opencode.source import OpencodeSource


@pytest.fixture
def log(tmp_path):
    made = Log(tmp_path / "opencode.db")
    yield made
    made.db.close()


def read(log):
    return read_whole(OpencodeSource(), log)


def test_a_whole_conversation(log):
    log.session()
    picture = {"mime": "image/png", "filename": "a.png", "url": "data:x"}
    asked = log.say("user", text("What is in a.py?"), system="Be brief.", tools={"task": False})
    log.say(
        "assistant",
        {"type": "step-start"},
        {"type": "reasoning", "text": "Read it."},
        text("Let me look."),
        done("c1", "read", {"path": "a.py"}, "print(1)", attachments=[picture]),
        tool("c2", "bash", {"command": "ls"}, status="error", error="denied", time={"start": 1, "end": START + 950}),
        {"type": "step-finish", "reason": "tool-calls"},
        {"type": "patch", "hash": "x", "files": []},
        parentID=asked,
        finish="tool-calls",
    )  # fmt: skip
    log.say("assistant", text("It prints"), parentID=asked, finish="length")
    (episode,), lost = read(log)
    assert lost == []
    assert (episode.thread, episode.group, episode.system, episode.model) == ("ses_1", "ses_1", "Be brief.", "kimi")
    assert episode.started_at == "2026-09-21T14:14:20Z"
    assert episode.messages == (
        Message(role="user", content="What is in a.py?", created_at="2026-09-21T14:13:21Z"),
        Message(
            role="assistant",
            content="Let me look.",
            created_at="2026-09-21T14:13:22Z",
            model="kimi",
            finish="stop",
            reasoning="Read it.",
            tool_calls=(
                ToolCall(name="read", arguments={"path": "a.py"}, id="c1"),
                ToolCall(name="bash", arguments={"command": "ls"}, id="c2"),
            ),
        ),
        Message(
            role="tool",
            content="print(1)",
            created_at="2026-09-21T14:13:20.900Z",
            attachments=(Attachment(type="image/png", name="a.png"),),
            tool_call_id="c1",
            name="read",
        ),
        Message(
            role="tool",
            content="denied",
            created_at="2026-09-21T14:13:20.950Z",
            error="denied",
            tool_call_id="c2",
            name="bash",
        ),
        Message(
            role="assistant", content="It prints", created_at="2026-09-21T14:13:23Z", model="kimi", finish="length"
        ),
    )
    assert episode.signals == (Signal(kind="tool_error", message=3),)


def test_text_of_the_app_is_left_out_and_files_are_kept(log):
    log.session()
    log.say(
        "user",
        text("Explain @a.py and the picture"),
        text("Called the Read tool with the following input: a.py", synthetic=True),
        text("print(1)", synthetic=True),
        {"type": "file", "mime": "text/plain", "filename": "a.py", "url": "file:///a.py"},
        {"type": "file", "mime": "image/png", "filename": "b.png", "url": "data:x"},
        {"type": "agent", "name": "build"},
        text("<system-reminder>Plan mode</system-reminder>", synthetic=True),
        text("a note", ignored=True),
    )
    log.say("assistant", text("It prints."), finish="stop")
    log.say("user", text("Continue if you have next steps", synthetic=True))
    log.say("assistant", text("Done."), finish="stop")
    (episode,), lost = read(log)
    words = "Explain @a.py and the picture\nCalled the Read tool with the following input: a.py\nprint(1)"
    assert said(episode) == [("user", words), ("assistant", "It prints."), ("assistant", "Done.")]
    assert episode.messages[0].attachments == (Attachment(type="image/png", name="b.png"),)
    assert where(lost) == [
        ("a text that was not sent", "part.data=prt_008"),
        ("text injected by the app", "part.data=prt_007"),
        ("text injected by the app", "part.data=prt_010"),
    ]


def test_what_the_user_ran_is_the_users(log):
    log.session()
    ran = log.say("user", text("The following tool was executed by the user", synthetic=True))
    log.say("assistant", done("c1", "bash", {"command": "ls"}, "a.py\n"), parentID=ran, finish="stop")
    log.say("user", text("What is there?"))
    log.say("assistant", text("a.py"), finish="stop")
    task = log.say("user", {"type": "subtask", "prompt": "Review it", "description": "d", "agent": "general"})
    log.say("assistant", done("c2", "task", {"prompt": "Review it"}, "Good."), parentID=task, finish="tool-calls")
    log.say("assistant", text("It is good."), parentID=task, finish="stop")
    (episode,), lost = read(log)
    assert lost == []
    assert said(episode) == [
        ("user", "The following tool was executed by the user\nls\na.py"),
        ("user", "What is there?"),
        ("assistant", "a.py"),
        ("user", "The following tool was executed by the user\nReview it\nGood."),
        ("assistant", "It is good."),
    ]


def test_compaction(log):
    log.session()
    log.say("user", text("Go"))
    pruned = done("c", "read", {}, "old output", time={"start": 1, "end": 2, "compacted": 3})
    log.say("assistant", pruned, finish="tool-calls")
    log.say("user", {"type": "compaction", "auto": True})
    log.say("assistant", text("Summary: went."), summary=True, finish="stop")
    log.say("assistant", text("Gone."), finish="stop")
    (episode,), lost = read(log)
    assert said(episode) == [("user", "Go"), ("assistant", ""), ("tool", "old output"), ("assistant", "Gone.")]
    assert where(lost) == [
        ("a compaction request", "part.data=prt_003"),
        ("a compaction summary", "message.data=msg_004"),
    ]


def test_how_answers_end(log):
    log.session()
    log.say("user", text("Go"), model={"modelID": "kimi"})
    log.say("assistant", text("I was"), error={"name": "MessageAbortedError", "data": {"message": "Aborted"}})
    log.say("assistant", text("Long"), error={"name": "MessageOutputLengthError", "data": {}})
    log.say("assistant", error={"name": "APIError", "data": {"message": "overloaded"}})
    log.say("assistant", text("Half"), tool("c", "bash", {}, status="pending", raw='{"comm'))
    (episode,), lost = read(log)
    assert lost == []
    assert [(m.content, m.error, m.finish) for m in episode.messages[1:]] == [
        ("I was", "Aborted", "cancelled"),
        ("Long", "MessageOutputLengthError", "length"),
        ("", "overloaded", "error"),
        ("Half", None, "cancelled"),
    ]
    assert episode.messages[4].tool_calls[0].arguments_raw == '{"comm'


def test_an_interrupted_call_keeps_its_partial_output(log):
    log.session()
    log.say("user", text("Go"))
    log.say(
        "assistant",
        tool("c", "bash", {}, status="error", error="Aborted", metadata={"interrupted": True, "output": "1\n2"}),
        finish="stop",
    )
    (episode,), _ = read(log)
    assert [(m.content, m.error) for m in episode.messages[2:]] == [("1\n2", "Aborted")]


def test_what_was_taken_back_is_a_path_of_its_own(log):
    log.session(revert='{"messageID": "msg_003", "snapshot": "x"}')
    for role, words in (("user", "1"), ("assistant", "a1"), ("user", "2"), ("assistant", "a2"), ("user", "3")):
        log.say(role, text(words), **({"finish": "stop"} if role == "assistant" else {}))
    (kept, undone), lost = read(log)
    assert lost == []
    assert (kept.thread, said(kept), kept.signals) == ("ses_1", [("user", "1"), ("assistant", "a1")], ())
    assert (undone.thread, undone.group, len(undone.messages)) == ("ses_1#msg_005", "ses_1", 5)
    assert undone.signals == (Signal(kind="undo", message=3),)


def test_a_part_of_an_answer_was_taken_back(log):
    log.session(revert='{"messageID": "msg_002", "partID": "prt_003"}')
    log.say("user", text("1"))
    log.say("assistant", text("kept"), text("gone"), finish="stop")
    (kept, undone), _ = read(log)
    assert said(kept)[1:] == [("assistant", "kept")]
    assert said(undone)[1:] == [("assistant", "kept\ngone")]
    assert undone.signals == (Signal(kind="undo", message=1),)


def test_a_question_taken_back_before_its_answer_is_only_reported(log):
    log.session(revert='{"messageID": "msg_0025"}')  # a message that is gone: what is later than it is undone
    log.say("user", text("1"))
    log.say("assistant", text("a"), finish="stop")
    log.say("user", text("2"))
    (kept,), lost = read(log)
    assert len(kept.messages) == 2
    assert where(lost) == [("taken back before an answer", "session.revert=ses_1")]


def test_copies_share_a_group_and_sub_agents_stand_alone(log):
    log.session("ses_1")
    log.session("ses_2", title="t (fork #1)")
    log.session("ses_3", parent_id="ses_1")
    for session, at in (("ses_1", START), ("ses_2", START), ("ses_3", START + 1)):
        log.say("user", text("Hi"), session=session, at=at)
        log.say("assistant", text(f"I am {session}"), session=session, finish="stop")
    episodes, _ = read(log)
    assert [(e.thread, e.group) for e in episodes] == [("ses_1", "ses_1"), ("ses_2", "ses_1"), ("ses_3", "ses_3")]


def test_forks_that_the_log_names(log):
    log.script("ALTER TABLE session ADD COLUMN fork_session_id TEXT")
    log.session("ses_1")
    log.session("ses_2", fork_session_id="ses_1")
    log.session("ses_3", fork_session_id="ses_2")
    for n in (1, 2, 3):
        log.say("user", text("Hi"), session=f"ses_{n}")
    episodes, _ = read(log)
    assert [e.group for e in episodes] == ["ses_1"] * 3


def test_the_newer_projection_is_read_where_there_is_nothing_else(log):
    log.session()
    log.newer("agent-switched", agent="build")
    log.newer("user", text="Hi", files=[{"mime": "image/png", "name": "a.png", "uri": "data:x"}])
    log.newer(
        "assistant",
        model={"id": "kimi", "providerID": "moonshot"},
        finish="tool-calls",
        content=[
            {"type": "reasoning", "text": "Hm."},
            {"type": "text", "text": "Looking."},
            {"type": "tool", "id": "c1", "name": "read", "time": {"created": 1, "completed": START},
             "state": {"status": "completed", "input": {"p": 1}, "content": [{"type": "text", "text": "x"}]}},
            {"type": "tool", "id": "c2", "name": "bash", "time": {},
             "state": {"status": "error", "input": {}, "error": {"type": "unknown", "message": "denied"}}},
            {"type": "tool", "id": "c3", "name": "bash", "time": {}, "state": {"status": "streaming", "input": '{"a'}},
        ],
    )  # fmt: skip
    log.newer("synthetic", text="Go on")
    log.newer("compaction", status="completed", summary="They said hi", recent="")
    log.newer("shell", command="ls", output={"output": "a.py\n"})
    log.newer("system", text="It is Monday.")
    log.newer("skill", name="review", text="Review it.")
    log.newer("assistant", model={"id": "kimi"}, content=[{"type": "text", "text": "I"}], finish="stop")
    log.newer("idle", outcome="interrupted")
    log.newer("assistant", content=[], error={"type": "aborted", "message": "stopped"})
    log.newer("hologram")
    log.session("ses_2")
    log.say("user", text("Older"), session="ses_2")
    log.newer("user", session="ses_2", text="Older")
    (episode, older), lost = read(log)
    assert said(episode) == [
        ("user", "Hi"),
        ("assistant", "Looking."),
        ("tool", "x"),
        ("tool", "denied"),
        ("user", "$ ls\na.py"),
        ("system", "It is Monday."),
        ("user", "Review it."),
        ("assistant", "I"),
        ("assistant", ""),
    ]
    first = episode.messages[1]
    assert (first.reasoning, first.model, first.finish) == ("Hm.", "kimi", "stop")
    assert [(c.name, c.arguments, c.arguments_raw) for c in first.tool_calls] == [
        ("read", {"p": 1}, None),
        ("bash", {}, None),
        ("bash", {}, '{"a'),
    ]
    assert episode.messages[0].attachments == (Attachment(type="image/png", name="a.png"),)
    assert (episode.messages[7].finish, episode.messages[8].finish) == ("cancelled", "cancelled")
    assert said(older) == [("user", "Older")]
    assert where(lost) == [
        ("text injected by the app", "session_message.data=msg_004"),
        ("a compaction summary", "session_message.data=msg_005"),
        ("a message of unknown type", "session_message.data=msg_012"),
    ]


def test_a_revert_in_the_newer_projection(log):
    log.session(revert='{"messageID": "msg_003", "partID": "x"}')
    for words in ("1", "2"):
        log.newer("user", text=words)
        log.newer("assistant", content=[{"type": "text", "text": "a" + words}], finish="stop")
    (kept, undone), _ = read(log)
    assert (len(kept.messages), len(undone.messages), undone.thread) == (2, 4, "ses_1#msg_004")


def test_a_log_of_the_newer_projection_alone(tmp_path):
    log = Log(tmp_path / "opencode-next.db", SESSION + NEWER.replace(" seq INTEGER NOT NULL,", ""))
    log.session()
    for key, at in (("b", 2), ("a", 1)):
        log.add(
            "session_message", id=key, session_id="ses_1", type="user", time_created=at, time_updated=at,
            data=json.dumps({"text": str(at)}),
        )  # fmt: skip
    (episode,), _ = read(log)
    assert said(episode) == [("user", "1"), ("user", "2")]


def test_broken_cells_cost_no_more_than_their_row(log):
    log.session(revert='{"hunter2')
    odd = log.say("user", text("Hi"))
    log.say("assistant", text(7), '{"type": "text", "hunter2', '["hunter2"]', {"type": "hologram"}, finish="stop")
    log.say("assistant", tool("c", None, "[1]", status="hunter2"), {"type": "tool", "state": 3}, finish=3)
    log.say("wizard", text("hunter2"))
    log.say("user")
    log.say("user", text("nul \x00 and \ud800"))
    log.say("user", text("again"), session="gone")
    log.session("ses_empty", time_created="hunter2")
    log.script(f"UPDATE message SET data = '{{\"hunter2' WHERE id = '{odd}'")
    log.script("UPDATE message SET data = CAST(x'ff' AS TEXT) WHERE id = 'msg_003'")
    (episode,), lost = read(log)
    assert [(m.role, m.content, m.error) for m in episode.messages] == [
        ("user", "Hi", "unreadable message"),
        ("assistant", "", "unreadable part"),
        ("assistant", "", "unreadable message"),
        ("user", "nul \ufffd and \ufffd", None),
    ]
    assert where(lost) == [
        ("messages of no session", "message.session_id=gone"),
        ("a conversation without messages", ""),
        ("unreadable revert", "session.revert=ses_1"),
        ("unreadable message", "message.data=msg_001"),
        ("unreadable part", "part.data=prt_003"),
        ("unreadable part", "part.data=prt_004"),
        ("a text that is no text", "part.data=prt_002"),
        ("a part of unknown type", "part.data=prt_005"),
        ("unreadable message", "message.data=msg_003"),
        ("a call of unknown state", "part.data=prt_006"),
        ("a call of unknown state", "part.data=prt_007"),
        ("a message of unknown role", "message.data=msg_004"),
        ("a message without content", "message.data=msg_005"),
    ]
    assert "hunter2" not in repr(lost) + json.dumps([to_dict(e) for e in [episode]])


def test_a_type_that_is_no_text(log):
    log.session()
    key = log.say("user", {"type": ["text"]}, {"type": {"tool": 1}})
    log.script(f"UPDATE message SET data = '[]' WHERE id = '{key}'")
    (episode,), lost = read(log)
    assert (said(episode), episode.messages[0].error) == ([("user", "")], "unreadable message")
    assert [v.reason for v in lost] == ["unreadable message", "a part of unknown type", "a part of unknown type"]


def test_nesting_without_end(log):
    log.session()
    log.say("user", '{"type": "text", "text": ' + "[" * 100_000)
    log.say("assistant", text("Hm."), finish="stop")
    (episode,), lost = read(log)
    assert (episode.messages[0].error, where(lost)) == ("unreadable part", [("unreadable part", "part.data=prt_001")])


def test_a_revert_of_everything_leaves_the_path_taken_back(log):
    log.session(revert='{"messageID": "msg_001"}')
    log.say("user", text("1"))
    log.say("assistant", text("a"), finish="stop")
    (undone,), lost = read(log)
    assert (undone.thread, said(undone), lost) == ("ses_1#msg_002", [("user", "1"), ("assistant", "a")], [])


def test_a_session_without_a_time_starts_with_its_first_message(log):
    log.session("ses_1")
    log.session("ses_2", time_created="yesterday")
    log.say("user", text("Later"), session="ses_2", at=START + 90000)
    log.say("user", text("Earlier"), session="ses_1")
    episodes, _ = read(log)
    assert [(e.thread, e.started_at) for e in episodes] == [
        ("ses_1", "2026-09-21T14:14:20Z"),
        ("ses_2", "2026-09-21T14:14:50Z"),
    ]


def test_the_same_moment_alone_makes_no_copy(log):
    for key in ("ses_1", "ses_2", "ses_3"):
        log.session(key)
        log.say("user", *[text(f"Do {key}")] * (key != "ses_3"), session=key, at=START)
    episodes, _ = read(log)
    assert [(e.thread, e.group) for e in episodes] == [("ses_1", "ses_1"), ("ses_2", "ses_2")]


def test_a_log_with_the_fewest_columns(tmp_path):
    log = Log(
        tmp_path / "opencode.db",
        SESSION
        + "CREATE TABLE message (id TEXT, session_id TEXT, data TEXT);"
        + "CREATE TABLE part (id TEXT, message_id TEXT, data TEXT);",
    )
    log.session()
    for key, role in (("m1", "user"), ("m2", "assistant")):
        log.add("message", id=key, session_id="ses_1", data=json.dumps({"role": role, "finish": "stop"}))
        log.add("part", id="p" + key, message_id=key, data=json.dumps(text(role)))
    with contextlib.closing(open_read_only(log.path)) as db:
        before = dict(OpencodeSource().threads(db))
    log.add("part", id="pm3", message_id="m2", data=json.dumps(text("more")))
    with contextlib.closing(open_read_only(log.path)) as db:
        assert dict(OpencodeSource().threads(db)) != before
    (episode,), lost = read(log)
    assert (said(episode), lost) == ([("user", "user"), ("assistant", "assistant\nmore")], [])


def test_strays_are_reported_when_everything_is_read(log):
    log.session("ses_1")
    log.say("user", text("Hi"))
    log.say("user", text("Hi"), session="ses_gone")
    log.newer("user", session="ses_lost", text="Hi")
    log.add("session", id=b"ses_1", project_id="p", slug="x", directory="/", title="", version="", time_created=1,
            time_updated=1)  # fmt: skip
    path = log.close()
    with contextlib.closing(open_read_only(path)) as db:
        whole, alone = [], []
        list(OpencodeSource().read(db, path, whole.append))
        assert len(list(OpencodeSource().read(db, path, alone.append, {"ses_1"}))) == 1
        assert set(dict(OpencodeSource().threads(db))) == {"ses_1"}
    assert alone == []
    assert where(whole) == [
        ("a session without an id of its own", "session.rowid=2"),
        ("messages of no session", "session_message.session_id=ses_lost"),
        ("messages of no session", "message.session_id=ses_gone"),
    ]


def test_an_empty_log(log):
    assert read(log) == ([], [])


def test_places(monkeypatch, tmp_path):
    (tmp_path / "opencode").mkdir()
    (tmp_path / "opencode" / "opencode-dev.db").touch()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.delenv("OPENCODE_DB", raising=False)
    names = [path.relative_to(tmp_path).as_posix() for path in OpencodeSource().places()]
    assert names == ["opencode/opencode.db", "opencode/opencode-dev.db"]
    monkeypatch.setenv("OPENCODE_DB", str(tmp_path / "mine.db"))
    assert OpencodeSource().places() == [tmp_path / "mine.db"]
