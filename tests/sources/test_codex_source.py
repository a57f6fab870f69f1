import io
import json

import pytest
from examples.codex import SESSION, Rollout

from lunar_tune.episodes import Attachment, Signal, ToolSpec, to_dict
from lunar_tune.errors import MissingExtra
from lunar_tune.sources.codex.source import CodexSource


def read(path):
    lost = []
    episodes = list(CodexSource().read_path(path, lost.append))
    return episodes, [(v.id, v.reason, v.detail) for v in lost]


def said(episode):
    return [(m.role, m.content) for m in episode.messages]


def test_a_rollout_whole(tmp_path):
    tools = [{"name": "lookup", "description": "Looks up", "inputSchema": {"type": "object"}}]
    log = Rollout(tmp_path / "2026/01/02", base_instructions={"text": "You are Codex."}, dynamic_tools=tools)
    log.add("turn_context", model="gpt-x", cwd="/canary")
    log.say("developer", "<permissions instructions>ask first</permissions instructions>")
    log.say("user", "# AGENTS.md instructions for /x\n\n<INSTRUCTIONS>be kind</INSTRUCTIONS>",
            "<environment_context><cwd>/x</cwd></environment_context>")  # fmt: skip
    log.event("user_message", message="List the files.")
    log.say("user", "List the files.")
    log.item("reasoning", summary=[{"type": "summary_text", "text": "Look first."}], encrypted_content="CANARY")
    log.say("assistant", "I will look.").call("c1", cmd="ls").call("c2", "lookup", q="x")
    log.output("c1", "Chunk ID: 1\nProcess exited with code 2\nOutput:\nno such folder")
    log.output("c2", [{"type": "input_text", "text": "found"}, {"type": "input_image", "image_url": "data:CANARY"}])
    log.item("custom_tool_call", name="apply_patch", input="*** Begin Patch", call_id="c3", status="completed")
    log.item("custom_tool_call_output", call_id="c3", output='{"output": "Done", "metadata": {"exit_code": 0}}')
    log.event("agent_message", message="Two files.").say("assistant", "Two files.")
    log.event("task_complete", last_agent_message="Two files.").event("token_count", info={})
    ((episode,), lost) = read(tmp_path)
    assert lost == [(SESSION, "a note that the tool wrote", f"{log.path.name}:4")]
    assert (episode.source, episode.thread, episode.group) == ("codex", SESSION, SESSION)
    assert (episode.path, episode.started_at, episode.model) == (str(log.path), "2026-01-02T03:04:00Z", "gpt-x")
    assert episode.system == (
        "You are Codex.\n\n<permissions instructions>ask first</permissions instructions>\n\n"
        "# AGENTS.md instructions for /x\n\n<INSTRUCTIONS>be kind</INSTRUCTIONS>"
    )
    assert episode.tools == (ToolSpec(name="lookup", description="Looks up", parameters={"type": "object"}),)
    assert to_dict(episode)["messages"] == [
        {"role": "user", "content": "List the files.", "created_at": "2026-01-02T03:04:06Z"},
        {
            "role": "assistant",
            "content": "I will look.",
            "created_at": "2026-01-02T03:04:08Z",
            "model": "gpt-x",
            "reasoning": "Look first.",
            "tool_calls": [
                {"id": "c1", "name": "exec_command", "arguments": {"cmd": "ls"}},
                {"id": "c2", "name": "lookup", "arguments": {"q": "x"}},
            ],
        },
        {
            "role": "tool",
            "content": "Chunk ID: 1\nProcess exited with code 2\nOutput:\nno such folder",
            "created_at": "2026-01-02T03:04:11Z",
            "error": "exit code 2",
            "tool_call_id": "c1",
            "name": "exec_command",
        },
        {
            "role": "tool",
            "content": "found",
            "created_at": "2026-01-02T03:04:12Z",
            "attachments": [{"type": "image"}],
            "tool_call_id": "c2",
            "name": "lookup",
        },
        {
            "role": "assistant",
            "content": "",
            "created_at": "2026-01-02T03:04:13Z",
            "model": "gpt-x",
            "tool_calls": [{"id": "c3", "name": "apply_patch", "arguments": {"input": "*** Begin Patch"}}],
        },
        {
            "role": "tool",
            "content": '{"output": "Done", "metadata": {"exit_code": 0}}',
            "created_at": "2026-01-02T03:04:14Z",
            "tool_call_id": "c3",
            "name": "apply_patch",
        },
        {"role": "assistant", "content": "Two files.", "created_at": "2026-01-02T03:04:16Z", "model": "gpt-x"},
    ]
    assert episode.signals == (Signal(kind="tool_error", message=2),)
    assert "CANARY" not in json.dumps(to_dict(episode)) + str(lost)


def test_other_calls(tmp_path):
    log = Rollout(tmp_path).say("user", "Go")
    log.item("reasoning", summary=[], content=[{"type": "reasoning_text", "text": "Shell."}])
    log.item("local_shell_call", call_id="c1", status="completed",
             action={"type": "exec", "command": ["ls"], "env": {"KEY": "CANARY"}})  # fmt: skip
    log.output("c1", {"content": "denied", "success": False})
    log.item("function_call", name="go", namespace="mcp__web__", arguments="{oops", call_id="c2").output("c2", None)
    log.item("web_search_call", id="w1", status="completed", action={"type": "search", "query": "weather"})
    log.item("tool_search_call", call_id="c4", arguments={"query": "mail"})
    log.item("tool_search_output", call_id="c4", tools=[{"name": "send"}])
    log.item("additional_tools", tools=[{"name": "send", "parameters": {}}, 5])
    ((episode,), lost) = read(log.path)
    calls = [call for message in episode.messages for call in message.tool_calls]
    assert [(c.name, c.arguments, c.arguments_raw) for c in calls] == [
        ("local_shell", {"type": "exec", "command": ["ls"]}, None),
        ("mcp__web__go", {}, "{oops"),
        ("web_search", {"type": "search", "query": "weather"}, None),
        ("tool_search", {"query": "mail"}, None),
    ]
    results = [m for m in episode.messages if m.role == "tool"]
    assert [(m.content, m.error, m.tool_call_id) for m in results] == [
        ("denied", "the tool reported an error", "c1"), ("", None, "c2"), ('[{"name": "send"}]', None, "c4"),
    ]  # fmt: skip
    assert episode.messages[1].reasoning == "Shell."
    assert [tool.name for tool in episode.tools] == ["send"]
    assert [reason for _, reason, _ in lost] == ["an unreadable tool"]
    assert "CANARY" not in json.dumps(to_dict(episode))


def test_a_rollback_leaves_the_path_that_was_taken_back(tmp_path):
    log = Rollout(tmp_path).say("user", "One").say("assistant", "1").say("user", "Two").say("assistant", "2")
    log.say("user", "Three").call("c1").output("c1", {"content": "no", "success": False}).say("assistant", "3")
    log.event("thread_rolled_back", num_turns=2).say("user", "Four").say("assistant", "4")
    log.say("user", "Not answered").event("thread_rolled_back", num_turns=1).event("thread_rolled_back", num_turns="x")
    ((kept, undone), lost) = read(log.path)
    assert (kept.thread, undone.thread, undone.group) == (SESSION, f"{SESSION}#line-10", SESSION)
    assert [text for _, text in said(kept)] == ["One", "1", "Four", "4"]
    assert kept.signals == ()
    assert [text for _, text in said(undone)] == ["One", "1", "Two", "2", "Three", "", "no", "3"]
    assert undone.signals == (
        Signal(kind="undo", message=3), Signal(kind="tool_error", message=6), Signal(kind="undo", message=7),
    )  # fmt: skip
    assert lost == [(SESSION, "an unreadable rollback", f"{log.path.name}:15")]


def test_compactions_are_left_out_with_the_summary_as_it_was_written(tmp_path):
    log = Rollout(tmp_path).say("developer", "Rules").say("user", "One").say("assistant", "1")
    log.say("assistant", "The user asked for one.\n")
    log.add("compacted", message="Another model wrote:\nThe user asked for one.", replacement_history=[])
    log.say("developer", "Rules").say("developer", "New rules").say(
        "user", "<environment_context>x</environment_context>"
    )
    log.item("compaction", encrypted_content="CANARY").say("user", "Two").say("assistant", "2")
    ((episode,), lost) = read(log.path)
    assert said(episode) == [
        ("user", "One"), ("assistant", "1"), ("system", "New rules"), ("user", "Two"), ("assistant", "2"),
    ]  # fmt: skip
    assert episode.system == "Rules"
    assert [(reason, place) for _, reason, place in lost] == [
        ("a compaction summary", f"{log.path.name}:6 and 1 more"), ("a note that the tool wrote", f"{log.path.name}:9"),
    ]  # fmt: skip


def test_aborted_and_failed_turns(tmp_path):
    log = Rollout(tmp_path).event("turn_aborted", reason="interrupted").say("user", "One")
    log.event("error", message="usage limit reached").say("user", "Two").event("turn_aborted", reason="interrupted")
    log.say("user", "<turn_aborted>stopped</turn_aborted>").say("user", "Three").say("assistant", "3")
    log.event("turn_aborted", reason="interrupted").say("user", "Four").say("assistant", "4").event(
        "error", message="boom"
    )
    ((episode,), _) = read(log.path)
    assert [(m.content, m.error, m.finish) for m in episode.messages if m.role == "assistant"] == [
        ("", "usage limit reached", "error"), ("3", None, "cancelled"), ("4", "boom", "error"),
    ]  # fmt: skip


def test_forks_and_subagents_are_one_family(tmp_path):
    ids = {name: f"{n}{SESSION[1:]}" for n, name in enumerate(("parent", "fork", "grandchild", "agent"), 2)}
    Rollout(tmp_path, ids["parent"], second=1).say("user", "One").say("assistant", "1")
    fork = Rollout(tmp_path, ids["fork"], second=2, forked_from_id=ids["parent"])
    fork.add("session_meta", id=ids["parent"]).say("user", "One").say("assistant", "1").say("user", "Two")
    spawn = {"subagent": {"thread_spawn": {"parent_thread_id": ids["fork"], "depth": 1}}}
    agent = Rollout(tmp_path, ids["agent"], meta=False, second=30)
    agent.add("session_meta", id=ids["agent"], source=spawn).say("user", "Find").say("assistant", "Found")
    Rollout(tmp_path, ids["grandchild"], second=40, forked_from_id=ids["fork"]).say("user", "One")
    episodes, lost = read(tmp_path)
    assert lost == []
    assert {e.thread: e.group for e in episodes} == dict.fromkeys(ids.values(), ids["parent"])


def test_the_first_generation_without_envelopes(tmp_path):
    path = tmp_path / f"rollout-2025-05-07T17-24-21-{SESSION}.jsonl"
    lines = [
        {"id": SESSION, "timestamp": "2025-05-07T17:24:21.597Z", "instructions": "Be brief.", "git": {}},
        {"record_type": "state"},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
        {"type": "reasoning", "id": "r", "summary": []},
        {"type": "function_call", "name": "shell", "arguments": '{"command": ["ls"]}', "call_id": "c1"},
        {"type": "function_call_output", "call_id": "c1", "output": '{"output": "x", "metadata": {"exit_code": 1}}'},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hello"}]},
    ]
    path.write_text("\n".join(map(json.dumps, lines)))
    assert CodexSource().recognises_path(path)
    ((episode,), lost) = read(path)
    assert lost == []
    assert (episode.thread, episode.system, episode.started_at) == (SESSION, "Be brief.", "2025-05-07T17:24:21.597Z")
    assert [m.role for m in episode.messages] == ["user", "assistant", "tool", "assistant"]
    assert (episode.messages[2].error, episode.messages[1].tool_calls[0].arguments) == (
        "exit code 1",
        {"command": ["ls"]},
    )


def test_broken_lines_cost_themselves(tmp_path):
    log = Rollout(tmp_path, meta=False).say("user", "Hi \x00")
    log.raw("{SECRET").raw("[]").raw(json.dumps({"type": "response_item", "payload": "SECRET"}))
    log.raw(json.dumps({"type": ["list"], "payload": {}})).add("future_record", x=1)
    log.item("message", role="narrator", content=[]).item("message", role="assistant", content=[{"type": "x"}, 5])
    log.item("message", role="assistant", content=7).item({"un": "hashable"}).item("hologram").event(None).event("new")
    log.item("function_call", name=None, arguments=[1], call_id=7).item("function_call_output", output={"a": 1})
    log.item("reasoning", summary="thinking aloud").add("turn_context", model=7).add("compacted", message=None)
    log.add("session_meta", id=None, base_instructions=5, dynamic_tools="x", source=[1])
    log.raw('{"timestamp": "2026', end="")
    ((episode,), lost) = read(log.path)
    name = log.path.name
    assert (episode.thread, episode.messages[0].content) == (SESSION, "Hi \ufffd")
    call = episode.messages[1].tool_calls[0]
    assert (call.id, call.arguments_raw, call.error) == ("7", "[1]", "arguments are not a JSON object")
    assert episode.messages[2].content == '{"a": 1}'
    assert {(reason, place) for _, reason, place in lost} == {
        ("an unreadable line", f"{name}:2 and 1 more"),
        ("a line that is no object", f"{name}:3"),
        ("a line of unknown type", f"{name}:5 and 1 more"),
        ("a message of unknown role", f"{name}:7"),
        ("a block of unknown type", f"{name}:8 and 2 more"),
        ("an item of unknown type", f"{name}:10 and 1 more"),
        ("an event of unknown type", f"{name}:12 and 1 more"),
        ("a compaction summary", f"{name}:18"),
        ("an unreadable tool", f"{name}:19"),
        ("a half-written last line", f"{name}:20"),
    }
    assert "SECRET" not in str(lost)


def test_pictures_of_the_user_keep_their_type(tmp_path):
    log = Rollout(tmp_path)
    log.item("message", role="user", content=[{"type": "input_image", "image_url": "data:image/png;base64,CANARY"}])
    log.say("assistant", "A cat.")
    ((episode,), lost) = read(log.path)
    assert (episode.messages[0].attachments, lost) == ((Attachment(type="image"),), [])
    assert "CANARY" not in json.dumps(to_dict(episode))


def test_what_is_recognised(tmp_path):
    source = CodexSource()
    assert not source.recognises_path(tmp_path)
    (tmp_path / "a.jsonl").write_text('{"type": "user", "uuid": "1", "sessionId": "s", "message": {}}\n{"type": []}\n')
    assert not source.recognises_path(tmp_path)
    log = Rollout(tmp_path / "2026" / "01")
    assert source.recognises_path(tmp_path)
    assert source.recognises_path(log.path)


def test_an_empty_rollout_is_reported(tmp_path):
    log = Rollout(tmp_path)
    assert read(log.path) == ([], [(SESSION, "a conversation without messages", "")])


def test_a_thread_is_a_family_and_is_read_by_itself(tmp_path):
    source = CodexSource()
    ids = [f"{n}{SESSION[1:]}" for n in range(2, 6)]
    Rollout(tmp_path / "01", ids[0]).say("user", "One").raw("oops").say("assistant", "1")
    Rollout(tmp_path / "02", ids[1], second=9, forked_from_id=ids[0]).say("user", "One").say("assistant", "2")
    log = Rollout(tmp_path / "02", ids[2], second=20, parent_thread_id=ids[3]).say("user", "Find").say("assistant", "!")
    first = dict(source.threads_path(tmp_path))
    assert set(first) == {ids[0], ids[3]}
    everything, _ = read(tmp_path)
    lost = []
    assert list(source.read_path(tmp_path, lost.append, {ids[3]})) == everything[2:]
    assert lost == []
    assert list(source.read_path(tmp_path, lost.append, {ids[0]})) == everything[:2]
    assert [(v.id, v.reason) for v in lost] == [(ids[0], "an unreadable line")]
    log.say("user", "More")
    second = dict(source.threads_path(tmp_path))
    assert (second[ids[0]], second[ids[3]] == first[ids[3]]) == (first[ids[0]], False)


def test_thoughts_that_came_to_nothing_are_kept(tmp_path):
    log = Rollout(tmp_path).say("user", "One")
    thinks = {"summary": [{"type": "summary_text", "text": "Hm."}]}
    log.item("reasoning", **thinks).event("turn_aborted", reason="interrupted").say("user", "Two")
    log.item("reasoning", **thinks).event("error", message="boom").say("user", "Three").item("reasoning", **thinks)
    ((episode,), lost) = read(log.path)
    assert lost == []
    assert [(m.content, m.reasoning, m.finish, m.error) for m in episode.messages if m.role == "assistant"] == [
        ("", "Hm.", "cancelled", None), ("", "Hm.", "error", "boom"), ("", "Hm.", "cancelled", None),
    ]  # fmt: skip


def test_places(monkeypatch, tmp_path):
    monkeypatch.setenv("CODEX_HOME", str(tmp_path))
    assert CodexSource().places() == [tmp_path / "sessions", tmp_path / "archived_sessions"]
    monkeypatch.delenv("CODEX_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert CodexSource().places()[0] == tmp_path / ".codex" / "sessions"


def test_compressed_rollouts_need_their_library(tmp_path, monkeypatch):
    Rollout(tmp_path).say("user", "Hi").path.rename(tmp_path / "rollout-x.jsonl.zst")
    monkeypatch.setitem(__import__("sys").modules, "zstandard", None)
    assert CodexSource().recognises_path(tmp_path)
    assert len(list(CodexSource().threads_path(tmp_path))) == 1
    with pytest.raises(MissingExtra, match="zstandard"):
        read(tmp_path)


def test_compressed_rollouts(tmp_path):
    zstandard = pytest.importorskip("zstandard")
    log = Rollout(tmp_path).say("user", "Hi").say("assistant", "Hello")
    packed = io.BytesIO()
    with zstandard.ZstdCompressor().stream_writer(packed, closefd=False) as writer:  # no content size, as Codex writes
        writer.write(log.path.read_bytes())
    target = log.path.with_name(log.path.name + ".zst")
    target.write_bytes(packed.getvalue())
    ((both,), _) = read(tmp_path)
    assert both.path == str(log.path)
    log.path.unlink()
    assert CodexSource().recognises_path(tmp_path)
    ((episode,), lost) = read(tmp_path)
    assert (said(episode), lost) == ([("user", "Hi"), ("assistant", "Hello")], [])
    target.write_bytes(packed.getvalue()[:-20])
    _, lost = read(tmp_path)
    assert {reason for _, reason, _ in lost} <= {"a half-written last line", "a conversation without messages"}
    target.write_bytes(b"no zstd")
    episodes, lost = read(tmp_path)
    assert episodes == []
    assert "a file that cannot be read further" in {reason for _, reason, _ in lost}


def test_a_result_with_a_part_of_no_known_type_shows_it_without_the_files(tmp_path):
    parts = [{"type": "hologram", "size": 3}, {"type": "input_image", "image_url": "data:CANARY"}]
    log = Rollout(tmp_path).say("user", "Look").call("c1").output("c1", parts)
    ((episode,), _) = read(log.path)
    assert episode.messages[2].content == '[{"type": "hologram", "size": 3}]'
    assert episode.messages[2].attachments == (Attachment(type="image"),)
