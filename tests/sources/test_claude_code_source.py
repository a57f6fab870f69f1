import json

import pytest
from examples.claude_code import SESSION, Log, use

from lunar_tune.episodes import Attachment, Signal, to_dict
from lunar_tune.sources.claude_code.source import ClaudeCodeSource


def read(path):
    lost = []
    source = ClaudeCodeSource()
    episodes = list(source.read_path(path, lost.append))
    return episodes, [(v.id, v.reason, v.detail) for v in lost]


def said(episode):
    return [(m.role, m.content) for m in episode.messages]


def test_a_session_whole(tmp_path):
    log = Log(tmp_path)
    log.add("file-history-snapshot", messageId="m", snapshot={})
    log.user("u1", "What is in a.txt?")
    log.add("attachment", "h1", attachment={"type": "hook_success"})
    log.assistant("a1", {"type": "thinking", "thinking": "Look first.", "signature": "x"}, id="m1", stop=None)
    log.assistant("a2", "I will look.", id="m1", stop=None)
    log.assistant("a3", use("t1", "Read", file_path="a.txt"), id="m1", stop="tool_use")
    log.result(
        "r1", "t1", [{"type": "text", "text": "hello"}, {"type": "image", "source": {"media_type": "image/png"}}]
    )
    log.add("system", "s1", subtype="turn_duration")
    log.assistant("a4", "It says hello.", id="m2")
    ((episode,), lost) = read(log.path)
    assert lost == []
    assert to_dict(episode, with_id=False) == {
        "source": "claude-code",
        "path": str(log.path),
        "thread": SESSION,
        "group": "u1",
        "started_at": "2026-03-01T10:00:02Z",
        "model": "claude-x",
        "tools": [],
        "messages": [
            {"role": "user", "content": "What is in a.txt?", "created_at": "2026-03-01T10:00:02Z"},
            {
                "role": "assistant",
                "content": "I will look.",
                "created_at": "2026-03-01T10:00:04Z",
                "model": "claude-x",
                "finish": "stop",
                "reasoning": "Look first.",
                "tool_calls": [{"id": "t1", "name": "Read", "arguments": {"file_path": "a.txt"}}],
            },
            {
                "role": "tool",
                "content": "hello",
                "created_at": "2026-03-01T10:00:07Z",
                "attachments": [{"type": "image/png"}],
                "tool_call_id": "t1",
                "name": "Read",
            },
            {
                "role": "assistant",
                "content": "It says hello.",
                "created_at": "2026-03-01T10:00:09Z",
                "model": "claude-x",
                "finish": "stop",
            },
        ],
        "signals": [],
    }


def test_calls_side_by_side_are_one_answer_and_no_fork(tmp_path):
    log = Log(tmp_path).user("u1", "Both, please")
    log.assistant("a1", use("t1"), id="m1", stop="tool_use")
    log.assistant("a2", use("t2"), id="m1", stop="tool_use")
    log.result("r1", "t1", "one", parentUuid="a1")
    log.result("r2", "t2", "two", parentUuid="a2", is_error=True)
    log.assistant("a3", "Done.")
    ((episode,), lost) = read(log.path)
    assert lost == []
    assert said(episode) == [
        ("user", "Both, please"), ("assistant", ""), ("tool", "one"), ("tool", "two"), ("assistant", "Done."),
    ]  # fmt: skip
    assert [call.id for call in episode.messages[1].tool_calls] == ["t1", "t2"]
    assert [m.tool_call_id for m in episode.messages[2:4]] == ["t1", "t2"]
    assert episode.signals == (Signal(kind="tool_error", message=3),)


def test_a_rewind_is_a_path_of_its_own_marked_as_undone(tmp_path):
    log = Log(tmp_path).user("u1", "Start").assistant("a1", "Ready")
    log.user("u2", "First try").assistant("a2", "First answer").user("u3", "More").assistant("a3", "More answer")
    log.user("v2", "Second try", parentUuid="a1").assistant("b2", "Second answer")
    log.user("w2", "Never answered", parentUuid="a1")
    log.user("x2", "Third try", parentUuid="b2").assistant("y2", "Third answer")
    ((undone, current), lost) = read(log.path)
    assert (current.thread, undone.thread) == (SESSION, f"{SESSION}#a3")
    assert current.group == undone.group == "u1"
    assert [text for _, text in said(current)] == [
        "Start", "Ready", "Second try", "Second answer", "Third try", "Third answer",
    ]  # fmt: skip
    assert [text for _, text in said(undone)][2:] == ["First try", "First answer", "More", "More answer"]
    assert undone.signals == (Signal(kind="undo", message=3), Signal(kind="undo", message=5))
    assert current.signals == ()
    assert lost == [(f"{SESSION}#w2", "a branch without an answer", f"{SESSION}.jsonl:9")]


def test_the_transcript_goes_on_over_a_compaction(tmp_path):
    log = Log(tmp_path).user("u1", "Start").assistant("a1", "Ready")
    log.add("system", "cb", subtype="compact_boundary", parentUuid=None, logicalParentUuid="a1")
    log.user("cs", "This session is being continued from …", isCompactSummary=True, isVisibleInTranscriptOnly=True)
    log.user("u2", "Go on").assistant("a2", "Gladly")
    ((episode,), lost) = read(log.path)
    assert [text for _, text in said(episode)] == ["Start", "Ready", "Go on", "Gladly"]
    assert lost == [(SESSION, "a compaction summary", f"{SESSION}.jsonl:4")]


def test_what_a_compaction_kept_stays_where_it_was_said(tmp_path):
    log = Log(tmp_path).user("u1", "Start").assistant("a1", "Ready").user("u2", "Go on")
    log.add("system", "cb", subtype="compact_boundary", parentUuid=None, logicalParentUuid="a2")
    log.user("cs", "A summary", isCompactSummary=True)
    log.assistant("a2", "Kept").user("u2", "Go on", parentUuid="cs").user("u3", "After", parentUuid="a2")
    log.assistant("a3", "Final")
    ((episode,), _) = read(log.path)
    assert [text for _, text in said(episode)] == ["Start", "Ready", "Go on", "Kept", "After", "Final"]


def test_a_summary_without_a_boundary_goes_on_from_the_line_before(tmp_path):
    log = Log(tmp_path).user("u1", "Start").assistant("a1", "Ready")
    log.user("cs", "A summary", isCompactSummary=True, parentUuid=None).user("u2", "Go on").assistant("a2", "Gladly")
    ((episode,), _) = read(log.path)
    assert [text for _, text in said(episode)] == ["Start", "Ready", "Go on", "Gladly"]


def test_what_the_app_wrote_is_left_out_and_counted(tmp_path):
    log = Log(tmp_path)
    log.user("m1", "Caveat: the messages below …", isMeta=True)
    log.user("c1", "<command-name>/model</command-name>\n<command-args>opus</command-args>")
    log.user("o1", "<local-command-stdout>Set model</local-command-stdout>")
    log.user("c2", "<command-message>review</command-message>\n<command-name>/review</command-name>"
             "\n<command-args>#12</command-args>")  # fmt: skip
    log.assistant("a1", "Reviewed.")
    log.user(
        "u1", [{"type": "text", "text": "<system-reminder>be good</system-reminder>"}, {"type": "text", "text": "Ta"}]
    )
    log.assistant("a2", "No response requested.", model="<synthetic>")
    log.assistant("a3", "Bye.")
    log.add("summary", summary="A title", leafUuid="a3")
    log.add("brand-new-type", payload={})
    ((episode,), lost) = read(log.path)
    assert said(episode) == [("user", "/review #12"), ("assistant", "Reviewed."), ("user", "Ta"), ("assistant", "Bye.")]
    assert {(reason, place) for _, reason, place in lost} == {
        ("a line that the app wrote", f"{SESSION}.jsonl:1 and 1 more"),
        ("a command that the app ran", f"{SESSION}.jsonl:2"),
        ("a text that the app wrote", f"{SESSION}.jsonl:3 and 1 more"),
        ("a line of unknown type", f"{SESSION}.jsonl:10"),
    }


def test_messages_queued_while_the_agent_works_are_the_users(tmp_path):
    log = Log(tmp_path).user("u1", "Start").assistant("a1", use("t1"), stop="tool_use").result("r1", "t1", "ok")
    log.add("attachment", "q1", attachment={"type": "queued_command", "prompt": "also tests", "commandMode": "prompt"})
    log.add("attachment", "q2", attachment={"type": "queued_command", "prompt": "x", "origin": {"kind": "peer"}})
    log.assistant("a2", "Both done.")
    ((episode,), lost) = read(log.path)
    assert said(episode)[-2:] == [("user", "also tests"), ("assistant", "Both done.")]
    assert [reason for _, reason, _ in lost] == ["a line that the app wrote"]


def test_errors_cuts_and_interruptions(tmp_path):
    log = Log(tmp_path).user("u1", "Hi")
    log.assistant("e1", "API Error: 529 overloaded", model="<synthetic>", stop="stop_sequence", isApiErrorMessage=True)
    log.user("u2", "Again").assistant("a1", "A long", stop="max_tokens")
    log.user("u3", "Go on").assistant("a2", "Well", use("t1"), stop="tool_use")
    log.result("r1", "t1", "The user doesn't want to proceed", is_error=True)
    log.user("i1", [{"type": "text", "text": "[Request interrupted by user for tool use]"}])
    log.user("u4", "Stop that").assistant("a3", "Stopped.")
    ((episode,), lost) = read(log.path)
    assert lost == []
    answers = [m for m in episode.messages if m.role == "assistant"]
    assert [(m.content, m.error, m.finish, m.model) for m in answers] == [
        ("", "API Error: 529 overloaded", "error", None),
        ("A long", None, "length", "claude-x"),
        ("Well", None, "cancelled", "claude-x"),
        ("Stopped.", None, "stop", "claude-x"),
    ]
    assert episode.signals == (Signal(kind="tool_error", message=6),)


def test_subagents_in_the_file_and_in_files_of_their_own(tmp_path):
    log = Log(tmp_path).user("u1", "Find it").assistant("a1", use("t1", "Task", prompt="Find"), stop="tool_use")
    log.user("s1", "Find", isSidechain=True, parentUuid=None).assistant("s2", "Found.", isSidechain=True)
    log.result("r1", "t1", "Found.", parentUuid="a1").assistant("a2", "It is there.")
    agent = Log(tmp_path / SESSION / "subagents", SESSION, "agent-abc", isSidechain=True, agentId="abc")
    agent.second = 2
    agent.user("x1", "Find more").assistant("x2", "Found more.")
    ((main, in_file, of_file), lost) = read(tmp_path)
    assert lost == []
    assert (main.thread, of_file.thread, in_file.thread) == (SESSION, f"{SESSION}#agent-abc", f"{SESSION}#agent-s1")
    assert {episode.group for episode in (main, of_file, in_file)} == {"u1"}
    assert [text for _, text in said(main)] == ["Find it", "", "Found.", "It is there."]
    assert [text for _, text in said(in_file)] == ["Find", "Found."]
    assert [text for _, text in said(of_file)] == ["Find more", "Found more."]
    assert not main.signals + in_file.signals + of_file.signals


def test_forked_and_resumed_sessions_are_one_family(tmp_path):
    Log(tmp_path, "p").user("u1", "Start").assistant("a1", "Ready")
    Log(tmp_path, "resumed").user("u1", "Start").assistant("a1", "Ready").user("u2", "On").assistant("a2", "Yes")
    Log(tmp_path, "forked", forkedFrom={"sessionId": "p", "messageUuid": "u1"}).user("n1", "Start").assistant(
        "n2", "Re"
    )
    Log(tmp_path, "stranger").user("z1", "Start").assistant("z2", "Ready")
    episodes, lost = read(tmp_path)
    assert lost == []
    groups = {episode.thread: episode.group for episode in episodes}
    assert groups == {"forked": "u1", "p": "u1", "resumed": "u1", "stranger": "z1"}


def test_broken_lines_cost_themselves(tmp_path):
    log = Log(tmp_path).user("u1", "Hi \x00 there")
    log.raw('{"type": "user", "uuid": "x", oops SECRET}').raw("[1, 2]").raw("").raw('"text"')
    log.raw('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}")
    log.assistant("a1", "Hello", {"type": "hologram"}, 7, {"type": "text", "text": 5})
    log.add("assistant", "a2", message="SECRET")
    log.add("user", "u2", message={"content": 5}, timestamp="yesterday")
    log.add({"un": "hashable"}, "u3", message={})
    log.user("u4", "Last", timestamp=[1])
    log.raw('{"type": "assistant", "mess', end="")
    ((episode,), lost) = read(log.path)
    assert said(episode) == [("user", "Hi \ufffd there"), ("assistant", "Hello"), ("user", "Last")]
    assert {(reason, place) for _, reason, place in lost} == {
        ("an unreadable line", f"{SESSION}.jsonl:2 and 1 more"),
        ("a line that is no object", f"{SESSION}.jsonl:3 and 1 more"),
        ("a block of unknown type", f"{SESSION}.jsonl:7 and 2 more"),
        ("an unreadable message", f"{SESSION}.jsonl:8 and 1 more"),
        ("a line of unknown type", f"{SESSION}.jsonl:10"),
        ("a half-written last line", f"{SESSION}.jsonl:12"),
    }
    assert "SECRET" not in str(lost)


def test_missing_parents_and_rings(tmp_path):
    log = Log(tmp_path).user("u1", "Lost start", parentUuid="gone").assistant("a1", "Yes")
    log.user("c1", "Ring", parentUuid="c2").assistant("c2", "Ringing", parentUuid="c1")
    log.user("u2", "Again", parentUuid="a1").assistant("a2", "Sure").user("u2", "Again").user(
        "u3", "x", parentUuid="u3"
    )
    log.assistant("a3", "Self")
    episodes, lost = read(log.path)
    assert {episode.thread for episode in episodes} == {f"{SESSION}#a2", f"{SESSION}#c2", SESSION}
    assert {reason for _, reason, _ in lost} == {
        "a message that hangs on one that is not there", "a chain of messages that closes on itself",
    }  # fmt: skip


def test_a_log_of_lines_without_ids_is_read_in_its_order(tmp_path):
    path = tmp_path / "plain.jsonl"
    lines = [
        {"type": "user", "uuid": "1", "sessionId": "s", "message": {"content": "Hi"}},
        {"type": "assistant", "uuid": "2", "sessionId": "s", "message": {"content": "Hello"}},
        {"type": "user", "message": {"content": "Bye"}},
    ]
    path.write_text("\n".join(map(json.dumps, lines)) + "\n")
    ((episode,), lost) = read(path)
    assert (episode.thread, said(episode)) == ("s", [("user", "Hi"), ("assistant", "Hello"), ("user", "Bye")])
    assert lost == []


def test_what_is_recognised(tmp_path):
    source = ClaudeCodeSource()
    assert not source.recognises_path(tmp_path)
    assert not source.recognises_path(tmp_path / "nothing")
    (tmp_path / "other.jsonl").write_text('{"type": "session_meta", "payload": {}}\n')
    assert not source.recognises_path(tmp_path / "other.jsonl")
    log = Log(tmp_path / "project").add("summary", summary="t", leafUuid="x").user("u1", "Hi")
    assert source.recognises_path(tmp_path)
    assert source.recognises_path(log.path)
    (tmp_path / "text.txt").write_text("Hi")
    assert not source.recognises_path(tmp_path / "text.txt")


def test_empty_files_are_reported(tmp_path):
    (tmp_path / "empty.jsonl").write_text("")
    Log(tmp_path, "titles").add("summary", summary="t", leafUuid="x")
    episodes, lost = read(tmp_path)
    assert episodes == []
    assert {(name, reason) for name, reason, _ in lost} == {
        ("empty", "a conversation without messages"), ("titles", "a conversation without messages"),
    }  # fmt: skip


def test_a_thread_is_a_family_and_is_read_by_itself(tmp_path):
    source = ClaudeCodeSource()
    log = Log(tmp_path / "p", "a").user("u1", "Hi").raw("oops").assistant("a1", "Hello")
    agent = Log(tmp_path / "p/a/subagents", "a", "agent-x", minute=1, isSidechain=True, agentId="x")
    agent.user("x1", "Find").assistant("x2", "!")
    Log(tmp_path / "p", "b", minute=2, forkedFrom={"sessionId": "a"}).user("v1", "Hi").assistant("v2", "Hey")
    orphan = Log(tmp_path / "q", "orphan", minute=3, forkedFrom={"sessionId": "gone"})
    orphan.user("w1", "Hi").assistant("w2", "Yes")
    first = dict(source.threads_path(tmp_path))
    assert set(first) == {"u1", "gone"}
    assert dict(source.threads_path(tmp_path)) == first
    everything, _ = read(tmp_path)
    assert [e.thread for e in everything] == ["a", "a#agent-x", "b", "orphan"]
    lost = []
    assert list(source.read_path(tmp_path, lost.append, {"gone"})) == everything[3:]
    assert lost == []
    assert list(source.read_path(tmp_path, lost.append, {"u1"})) == everything[:3]
    assert [(v.id, v.reason) for v in lost] == [("a", "an unreadable line")]
    log.user("u2", "More")
    second = dict(source.threads_path(tmp_path))
    assert (second["gone"], second["u1"] == first["u1"]) == (first["gone"], False)


def test_a_family_keeps_its_name_when_a_session_is_forked_from_it(tmp_path):
    Log(tmp_path, "b", isMeta=True).user("m1", "Caveat").assistant("m2", "Ready", isMeta=False)
    assert [name for name, _ in ClaudeCodeSource().threads_path(tmp_path)] == ["m2"]
    Log(tmp_path, "a", forkedFrom={"sessionId": "b"}).user("v1", "Hi").assistant("v2", "Hey")
    Log(tmp_path, "c", forkedFrom={"sessionId": "a"}).user("w1", "Hi").assistant("w2", "Hey")
    assert [name for name, _ in ClaudeCodeSource().threads_path(tmp_path)] == ["m2"]


def test_what_hung_on_an_unreadable_line_goes_on_from_the_line_before(tmp_path):
    log = Log(tmp_path).user("u1", "Start").assistant("a1", "Ready").raw('{"type": "user", "uuid": "u2", "par')
    log.assistant("a2", "Done", parentUuid="u2").user("u3", "Thanks")
    ((episode,), lost) = read(log.path)
    assert [text for _, text in said(episode)] == ["Start", "Ready", "Done", "Thanks"]
    assert [reason for _, reason, _ in lost] == ["an unreadable line"]


def test_places(monkeypatch, tmp_path):
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path))
    assert ClaudeCodeSource().places() == [tmp_path / "projects"]
    monkeypatch.delenv("CLAUDE_CONFIG_DIR")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert ClaudeCodeSource().places() == [tmp_path / ".claude" / "projects"]


@pytest.mark.parametrize("kind", ["document", "image"])
def test_files_keep_type_and_name(tmp_path, kind):
    block = {
        "type": kind,
        "title": "a.pdf",
        "source": {"type": "base64", "media_type": "application/pdf", "data": "SECRET"},
    }
    log = Log(tmp_path).user("u1", [block, {"type": "text", "text": "Read it"}]).assistant("a1", "Read.")
    ((episode,), _) = read(log.path)
    assert episode.messages[0].attachments == (Attachment(type="application/pdf", name="a.pdf"),)
    assert "SECRET" not in json.dumps(to_dict(episode))
