"""Rollouts of Codex CLI: calls of every kind, a rollback, a compaction, a fork, a subagent, the first generation."""

import json
from pathlib import Path

from examples import CANARY

SESSION = "11111111-1111-4111-8111-111111111111"


class Rollout:
    """A rollout under construction; each line is a second after the one before."""

    def __init__(self, folder, session=SESSION, meta=True, second=0, **fields):
        self.path = Path(folder) / f"rollout-2026-01-02T03-04-05-{session}.jsonl"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.second = second
        self.lines = []
        if meta:
            own = {"id": session, "timestamp": "2026-01-02T03:04:00Z", "cwd": "/canary", "source": "cli"}
            self.add("session_meta", **own | fields)

    def add(self, kind, **payload):
        self.second += 1
        stamp = f"2026-01-02T03:04:{self.second:02d}.000Z"
        return self.raw(json.dumps({"timestamp": stamp, "type": kind, "payload": payload}))

    def raw(self, line, end="\n"):
        self.lines.append(line + end)
        self.path.write_text("".join(self.lines), encoding="utf-8")
        return self

    def item(self, kind, **fields):
        return self.add("response_item", type=kind, **fields)

    def say(self, role, *texts):
        kind = "output_text" if role == "assistant" else "input_text"
        return self.item("message", role=role, content=[{"type": kind, "text": text} for text in texts])

    def event(self, kind, **fields):
        return self.add("event_msg", type=kind, **fields)

    def call(self, call_id, name="exec_command", **arguments):
        return self.item("function_call", name=name, arguments=json.dumps(arguments), call_id=call_id)

    def output(self, call_id, output):
        return self.item("function_call_output", call_id=call_id, output=output)


def session(number):
    return f"{number}{SESSION[1:]}"


def build(folder):
    sessions = folder / "sessions" / "2026/01/02"
    main(sessions)
    forked(sessions)
    spawn = {"subagent": {"thread_spawn": {"parent_thread_id": session(2), "depth": 1}}}
    agent = Rollout(sessions, session(3), second=40, source=spawn).say("user", "Find the callers")
    agent.item("web_search_call", id="w1", status="completed", action={"type": "search", "query": "callers"})
    agent.say("assistant", "Two callers.")
    broken(sessions)
    first_generation(folder / "sessions")
    return folder / "sessions"


def main(folder):
    schema = {"type": "object", "properties": {"q": {"type": "string"}}}
    tools = [{"name": "lookup", "description": "Looks up", "inputSchema": schema}, {"name": 5}]
    git = {"repository_url": f"https://user:{CANARY}@example.org/shop.git"}
    log = Rollout(folder, base_instructions={"text": "You are Codex."}, dynamic_tools=tools, git=git)
    log.add("turn_context", model="gpt-x", cwd="/shop").say("developer", "<permissions instructions>Ask first.")
    log.say("user", "# AGENTS.md instructions for /shop\n\nBe kind.", "<environment_context>x</environment_context>")
    log.event("user_message", message="Why do the tests fail?").say("user", "Why do the tests fail?")
    log.item("message", role="user", content=[{"type": "input_image", "image_url": f"data:image/png,{CANARY}"}])
    summary = [{"type": "summary_text", "text": "Run them."}]
    log.item("reasoning", summary=summary, encrypted_content=CANARY)
    log.say("assistant", "I will run them.").call("c1", cmd="pytest").call("c2", "lookup", q="price")
    log.output("c1", "Chunk ID: 1\nProcess exited with code 1\nOutput:\n1 failed")
    log.output("c2", [{"type": "input_text", "text": "found"}, {"type": "input_image", "image_url": CANARY}])
    log.item("custom_tool_call", name="apply_patch", input="*** Begin Patch", call_id="c3", status="completed")
    log.item("custom_tool_call_output", call_id="c3", output='{"output": "Done", "metadata": {"exit_code": 0}}')
    shell = {"type": "exec", "command": ["env"], "env": {"API_KEY": CANARY}}
    log.item("local_shell_call", call_id="c4", status="completed", action=shell)
    log.output("c4", {"content": "denied", "success": False}).say("assistant", "Fixed.").event("token_count", info={})
    log.say("user", "Delete it").say("assistant", "Deleted.").event("thread_rolled_back", num_turns=1)
    log.say("user", "Show it").item("function_call", name="go", namespace="mcp__web__", arguments="{oops", call_id="c5")
    log.output("c5", "bad arguments").event("turn_aborted", reason="interrupted")
    log.say("user", "<turn_aborted>The user stopped it.</turn_aborted>")
    log.say("assistant", "The tests failed; price() is fixed.")
    replaced = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": CANARY}]}]
    summed = "Another model began:\nThe tests failed; price() is fixed."
    log.add("compacted", message=summed, replacement_history=replaced)
    log.say("developer", "<permissions instructions>Ask first.").say("developer", "Ask never.")
    log.add("turn_context", model="gpt-y").say("user", "Thanks").event("error", message="usage limit reached")


def forked(folder):
    log = Rollout(folder, session(2), second=30, forked_from_id=SESSION)
    log.add("session_meta", id=SESSION, base_instructions={"text": "Another prompt."})
    log.add("turn_context", model="gpt-x").say("user", "Why do the tests fail?").say("assistant", "I will look.")
    log.item("reasoning", summary=[{"type": "summary_text", "text": "Where?"}])


def broken(folder):
    log = Rollout(folder, session(4), meta=False, second=50).say("user", "Hi \x00")
    log.raw("{" + CANARY).raw("[]").raw(json.dumps({"type": "response_item", "payload": CANARY}))
    log.add("future_record", x=CANARY).item("hologram").event("new").item("message", role="narrator", content=CANARY)
    log.item("message", role="assistant", content=[{"type": "x"}, {"type": "output_text", "text": "Hello"}])
    log.raw('{"timestamp": "2026-01-02T03:04:59Z", "type": "response_item", "payload": {', end="")


def first_generation(folder):
    path = folder / f"rollout-2025-05-07T17-24-21-{session(5)}.jsonl"
    lines = [
        {"id": session(5), "timestamp": "2025-05-07T17:24:21.597Z", "instructions": "Be brief.", "git": {}},
        {"record_type": "state"},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
        {"type": "function_call", "name": "shell", "arguments": '{"command": ["ls"]}', "call_id": "c1"},
        {"type": "function_call_output", "call_id": "c1", "output": '{"output": "x", "metadata": {"exit_code": 1}}'},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hello"}]},
    ]
    path.write_text("\n".join(map(json.dumps, lines)))


def grow(path):
    """The line that was being written is finished, a session goes on, and one is forked from the first generation."""
    day = path / "2026/01/02"
    with next(day.glob(f"*{session(4)}.jsonl")).open("a", encoding="utf-8") as file:
        file.write('"type": "message", "role": "user", "content": "Bye"}}\n')
    with next(day.glob(f"*{session(3)}.jsonl")).open("a", encoding="utf-8") as file:
        file.write('{"type": "event_msg", "payload": {"type": "error", "message": "overloaded"}}\n')
    Rollout(day, session(6), forked_from_id=session(5)).say("user", "Hi").say("assistant", "Hey")
    return {SESSION, session(4), session(5)}
