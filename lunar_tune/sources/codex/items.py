"""One Codex rollout while it is read, line by line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from lunar_tune.episodes import ToolCall
from lunar_tune.seams import Report
from lunar_tune.sources.core import cells, jsonl
from lunar_tune.sources.core.blocks import Blocks, read_blocks, result_text
from lunar_tune.sources.core.conversation import Conversation

INSTRUCTIONS = ("<user_instructions>", "# AGENTS.md instructions for ", "<permissions instructions>")
NOTES = (  # what the tool says in the user's name
    "<environment_context>", "<turn_aborted>", "<subagent_notification>", "<skill>", "<additional_context>",
    "<hook_prompt", "<user_shell_command>", "<goal_context>", "<internal_", "<codex_internal",
)  # fmt: skip
EXIT = re.compile(r"(?:\A|\n)(?:Process exited with code|Exit code:) (-?\d+)\b")
KNOWN_EVENTS = {  # events that repeat items, or say nothing of the conversation
    "user_message", "agent_message", "agent_reasoning", "agent_reasoning_raw_content", "token_count", "task_started",
    "task_complete", "turn_started", "turn_complete", "context_compacted", "patch_apply_end", "mcp_tool_call_end",
    "web_search_end", "image_generation_end", "exec_command_end", "entered_review_mode", "exited_review_mode",
    "thread_name_updated", "thread_goal_updated", "view_image_tool_call", "sub_agent_activity", "item_completed",
    "warning", "thread_settings_applied", "dynamic_tool_call_request", "dynamic_tool_call_response",
    "collab_agent_spawn_end", "collab_agent_interaction_end", "collab_waiting_end", "collab_close_end",
    "collab_resume_end", "guardian_assessment",
}  # fmt: skip
LINES = {
    "session_meta", "turn_context", "response_item", "event_msg", "compacted", "world_state",
    "inter_agent_communication_metadata",
}  # fmt: skip
ITEMS = {  # items that stand without envelope in the first generation
    "message", "reasoning", "function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output",
    "local_shell_call", "web_search_call",
}  # fmt: skip


class Session:
    """What a rollout's lines say so far."""

    def __init__(self, file: Path, thread: str) -> None:
        self.file = file
        self.thread = thread
        self.lost: dict[str, tuple[str, int]] = {}
        self.said = Conversation("codex", file, thread, lambda verdict: None)
        self.undone: list[Conversation] = []
        self._identified = False
        self._system: list[str] = []
        self._thoughts: list[str] = []
        self._model: str | None = None
        self._line = 0

    def lose(self, reason: str, line: int) -> None:
        """Count something that was left out."""
        place, count = self.lost.get(reason, (f"{self.file.name}:{line}", 0))
        self.lost[reason] = (place, count + 1)

    def take(self, line: int, record: dict[str, Any]) -> None:
        """Take one line in."""
        self._line = line
        kind, payload = record.get("type"), record.get("payload")
        if kind is None and "id" in record:
            kind, payload = "session_meta", record
        elif isinstance(kind, str) and kind in ITEMS and payload is None:
            kind, payload = "response_item", record
        elif kind is None and record.get("record_type") == "state":
            return
        if not isinstance(kind, str) or kind not in LINES:
            self.lose("a line of unknown type", line)
        elif not isinstance(payload, dict):
            self.lose("an unreadable line", line)
        else:
            self._line_of(kind, payload, record.get("timestamp"))

    def _line_of(self, kind: str, payload: dict[str, Any], at: Any) -> None:
        if kind == "response_item":
            self._item(payload, at)
        elif kind == "event_msg":
            self._event(payload, at)
        elif kind == "turn_context":
            self._model = cells.text(payload.get("model")) or self._model
        elif kind == "compacted":
            self._compacted(payload)
        elif kind == "session_meta":
            self._meta(payload, at)

    def conversations(self, family: str, report: Report) -> Iterator[Conversation]:
        """Yield the session's conversation, then what rollbacks took back."""
        self._cut()
        self.said.model = self.said.model or self._model
        for conversation in (self.said, *self.undone):
            conversation.report = report
            conversation.group = family
            conversation.system = "\n\n".join(self._system) or None
            conversation.tools = self.said.tools
            yield conversation

    def _meta(self, payload: dict[str, Any], at: Any) -> None:
        """Take the session's head; a forked session repeats its origin's after its own."""
        if self._identified:
            return
        self._identified = True
        self.said.started_at = cells.timestamp(payload.get("timestamp")) or cells.timestamp(at)
        base = payload.get("base_instructions")
        self._prompt(base.get("text") if isinstance(base, dict) else base)
        self._prompt(payload.get("instructions"))
        if payload.get("dynamic_tools"):
            self._tools(payload["dynamic_tools"])

    def _tools(self, listed: Any) -> None:
        specs, lost = cells.tool_specs(listed)
        self.said.offer(specs)
        for _ in range(lost):
            self.lose("an unreadable tool", self._line)

    def _prompt(self, text: Any) -> None:
        """Add to the system prompt what it does not say yet."""
        if isinstance(text, str) and text.strip() and text not in self._system:
            self._system.append(text)

    def _item(self, item: dict[str, Any], at: Any) -> None:
        kind = item.get("type")
        if kind == "message":
            self._message(item, at)
        elif kind == "reasoning":
            for part in ("summary", "content"):
                blocks = read_blocks(item.get(part))
                self._thoughts += [text for text in (*blocks.texts, *blocks.thoughts) if text]
        elif kind in ("function_call", "custom_tool_call", "local_shell_call", "web_search_call", "tool_search_call"):
            self._call(_called(item), at)
        elif kind in ("function_call_output", "custom_tool_call_output"):
            self._output(item.get("call_id"), item.get("output"), at)
        elif kind == "tool_search_output":
            self._output(item.get("call_id"), item.get("tools"), at)
        elif kind in ("compaction", "compaction_summary", "context_compaction"):
            self.lose("a compaction summary", self._line)
        elif kind == "additional_tools":
            self._tools(item.get("tools"))
        elif kind != "ghost_snapshot":
            self.lose("an item of unknown type", self._line)

    def _message(self, item: dict[str, Any], at: Any) -> None:
        blocks = read_blocks(item.get("content"))
        for _ in range(blocks.other):
            self.lose("a block of unknown type", self._line)
        role = item.get("role")
        if role == "assistant":
            if blocks.text or blocks.files:
                self._answer(blocks, at)
        elif role in ("developer", "system"):
            self._developer(blocks.text, at)
        elif role == "user":
            self._user(blocks, at)
        else:
            self.lose("a message of unknown role", self._line)

    def _answer(self, blocks: Blocks, at: Any) -> None:
        self.said.say(
            "assistant", blocks.text, at=at, model=self._model, reasoning=self._thought(), attachments=blocks.files
        )

    def _developer(self, text: str, at: Any) -> None:
        if not text or text in self._system:
            return  # said again after a compaction
        if self.said.messages:
            self.said.say("system", text, at=at)
        else:
            self._prompt(text)

    def _user(self, blocks: Blocks, at: Any) -> None:
        kept = []
        for text in blocks.texts:
            start = text.lstrip()
            if start.startswith(INSTRUCTIONS):
                if not self.said.messages:
                    self._prompt(text)
                elif text not in self._system:
                    self.lose("a note that the tool wrote", self._line)
            elif start.startswith(NOTES):
                self.lose("a note that the tool wrote", self._line)
            else:
                kept.append(text)
        blocks.texts = kept
        if blocks.text or blocks.files:
            self._cut(at)
            self.said.say("user", blocks.text, at=at, attachments=blocks.files)

    def _call(self, call: ToolCall, at: Any) -> None:
        thought = self._thought()
        index = self.said.call(call, at=at, model=self._model)
        message = self.said.messages[index]
        if thought:
            joined = f"{message.reasoning}\n{thought}" if message.reasoning else thought
            self.said.messages[index] = replace(message, reasoning=joined)

    def _thought(self) -> str | None:
        thought, self._thoughts = "\n".join(self._thoughts), []
        return thought or None

    def _output(self, call_id: Any, output: Any, at: Any) -> None:
        error = None
        if isinstance(output, dict) and "content" in output:  # {content, success} of the first generations
            error = "the tool reported an error" if output.get("success") is False else None
            output = output["content"]
        content, files = result_text(output)
        self.said.result(content, call_id=call_id, at=at, error=error or _exit(content), attachments=files)

    def _event(self, event: dict[str, Any], at: Any) -> None:
        kind = event.get("type")
        if kind == "turn_aborted":
            if not self._cut(at):
                self._ended(finish="cancelled")
        elif kind in ("error", "stream_error"):
            self._failed(cells.text(event.get("message")) or "the model call failed", at)
        elif kind == "thread_rolled_back":
            self._roll_back(event.get("num_turns"))
        elif not isinstance(kind, str) or kind not in KNOWN_EVENTS:
            self.lose("an event of unknown type", self._line)

    def _cut(self, at: Any = None) -> bool:
        """Keep what the model thought before it was cut off; False when it had said what it thought."""
        thought = self._thought()
        if thought:
            self.said.say("assistant", at=at, model=self._model, ended="cancelled", reasoning=thought)
        return thought is not None

    def _ended(self, **change: Any) -> bool:
        """Change the turn that is going on; False when the user has had no answer yet."""
        index = self.said.last("assistant")
        if index is None or index < (self.said.last("user") or 0):
            return False
        self.said.messages[index] = replace(self.said.messages[index], **change)
        return True

    def _failed(self, error: str, at: Any) -> None:
        thought = self._thought()
        last = self.said.messages[-1] if self.said.messages else None
        if last is not None and last.role == "assistant" and not thought:
            self._ended(error=error, finish="error")
        else:
            self.said.say("assistant", at=at, model=self._model, error=error, reasoning=thought)

    def _roll_back(self, turns: Any) -> None:
        """Take the last turns out of the transcript and keep how it stood as another path."""
        self._cut()
        users = [n for n, message in enumerate(self.said.messages) if message.role == "user"]
        if not isinstance(turns, int) or isinstance(turns, bool) or turns < 1 or not users:
            self.lose("an unreadable rollback", self._line)
            return
        first = users[max(0, len(users) - turns)]
        if any(message.role == "assistant" for message in self.said.messages[first:]):
            path = Conversation("codex", self.file, f"{self.thread}#line-{self._line}", self.said.report)
            path.started_at, path.model = self.said.started_at, self._model
            path.messages, path.signals = list(self.said.messages), list(self.said.signals)
            jsonl.undo_from(path, first)
            self.undone.append(path)
        del self.said.messages[first:]
        self.said.signals = [s for s in self.said.signals if s.message is None or s.message < first]

    def _compacted(self, payload: dict[str, Any]) -> None:
        """Drop the summary; the model wrote it as an answer just before."""
        self.lose("a compaction summary", self._line)
        summary = cells.text(payload.get("message")) or ""
        last = self.said.messages[-1] if self.said.messages else None
        said = last.content.strip() if last is not None and last.role == "assistant" and not last.tool_calls else ""
        if said and summary.rstrip().endswith(said):
            self.said.messages.pop()


def _called(item: dict[str, Any]) -> ToolCall:
    """Return the call of an item; free-form input is the argument `input`."""
    kind, call_id = item["type"], item.get("call_id") or item.get("id")
    if kind == "function_call":
        name, space = cells.text(item.get("name")) or "", item.get("namespace")
        if isinstance(space, str) and space:
            name = f"{space.rstrip('_')}__{name.lstrip('_')}"  # the tool's own flat form
        return cells.call(name, item.get("arguments"), call_id)
    if kind == "custom_tool_call":
        return cells.call(item.get("name"), {"input": cells.text(item.get("input")) or ""}, call_id)
    if kind == "tool_search_call":
        return cells.call("tool_search", item.get("arguments"), call_id)
    action = item.get("action")
    shown = {key: value for key, value in action.items() if key != "env"} if isinstance(action, dict) else {}
    return cells.call(kind.removesuffix("_call"), shown, call_id)


def _exit(content: str) -> str | None:
    """Return how a command failed, None when it did not or is not known to."""
    head = content[:2000]
    if head.startswith("{"):
        try:
            body = cells.parse_json(content)
        except ValueError:
            return None
        meta = body.get("metadata") if isinstance(body, dict) else None
        code = meta.get("exit_code") if isinstance(meta, dict) else None
        return f"exit code {code}" if isinstance(code, int) and code != 0 else None
    found = EXIT.search(head.partition("\nOutput:")[0])
    return f"exit code {found[1]}" if found and found[1] != "0" else None
