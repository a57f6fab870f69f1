"""Items of the OpenAI Responses API, as agents store them, turned into messages.

What one answer consists of (reasoning, text, calls) comes as several items; they become one assistant message. Calls of
tools that the server runs carry their result in the same item, which becomes a call and its result; where the result is
not stored the call stays without one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lunar_tune.episodes import Attachment, Finish, Role, ToolCall
from lunar_tune.sources.core import cells
from lunar_tune.sources.core.blocks import read_blocks
from lunar_tune.sources.core.conversation import Conversation

ROLES: dict[str, Role] = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}
ENDS: dict[str, Finish] = {"incomplete": "length", "in_progress": "cancelled", "failed": "error"}
LOCAL = {  # items of calls that the agent answers with an item of its own: the tool's name, and where the arguments are
    "function_call": (None, "arguments"),
    "custom_tool_call": (None, "input"),
    "computer_call": ("computer", "action"),
    "local_shell_call": ("local_shell", "action"),
    "shell_call": ("shell", "action"),
    "apply_patch_call": ("apply_patch", "operation"),
    "tool_search_call": ("tool_search", "arguments"),
    "program": ("program", "code"),
}
HOSTED = {  # the same for tools that the server runs, and where the result is
    "mcp_call": (None, "arguments", "output"),
    "web_search_call": ("web_search", "action", "results"),
    "file_search_call": ("file_search", "queries", "results"),
    "code_interpreter_call": ("code_interpreter", "code", "outputs"),
    "image_generation_call": ("image_generation", "revised_prompt", "result"),
}
NOT_SAID = {
    "compaction": "a compaction summary",
    "compaction_summary": "a compaction summary",
    "compaction_trigger": "a setting of the agent",
    "configuration_update": "a setting of the agent",
    "item_reference": "a reference to an item that is not in the log",
}
_FAILED = re.compile(
    r"An error occurred while running the tool\b|Tool '[^'\n]*' timed out after [\d.e+]+ seconds\.\Z"
    r"|Tool execution was not approved\.\Z"
)


@dataclass(slots=True)
class _Answer:
    """What the model said before it was given results, while its items come in."""

    at: Any
    model: Any
    texts: list[str] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    files: list[Attachment] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)


class ItemReader:
    """Adds items, in their order, to a conversation; `end` after the last."""

    def __init__(self, conversation: Conversation) -> None:
        self.conversation = conversation
        self._answer: _Answer | None = None
        self._thoughts: list[str] = []  # of the answer that goes on or comes next
        self._thought_at: Any = None
        self._names: dict[str, str] = {}  # of the calls, by their id
        self._approvals: dict[str, dict[str, Any]] = {}

    def take(self, item: Any, at: Any, place: str) -> None:
        """Add one item; what is no message, call or result is reported with its place."""
        if not isinstance(item, dict):
            self.conversation.lost("an item that is no object", place)
            return
        kind = item.get("type") or ("message" if "role" in item else None)
        if not isinstance(kind, str):
            self.conversation.lost("an item of unknown type", place)
        elif kind == "message":
            self._message(item, at, place)
        elif kind in LOCAL:
            name, key = LOCAL[kind]
            self._call(item, at, name, _arguments(key, item.get(key)))
            if (ended := ENDS.get(str(item.get("status")))) is not None:
                self._close(ended)
        elif kind.endswith("_output"):
            self._output(kind, item, at, place)
        elif kind == "reasoning":
            self._thought_at = self._thought_at if self._thoughts else at
            self._thoughts += _texts(item.get("content")) or _texts(item.get("summary"))
        elif kind in HOSTED:
            self._hosted(kind, item, at)
        elif kind in ("additional_tools", "mcp_list_tools"):
            self._offer(item.get("tools"), place)
        elif kind in ("mcp_approval_request", "mcp_approval_response"):
            self._approval(kind, item, at)
        else:
            self.conversation.lost(NOT_SAID.get(kind, "an item of unknown type"), place)

    def end(self) -> None:
        """Keep what is under way; what was thought last came before something that is not there."""
        if self._thoughts:
            self._going_on(self._thought_at, {})
            self._close("cancelled")
        self._close(None)

    def _message(self, item: dict[str, Any], at: Any, place: str) -> None:
        role = ROLES.get(str(item.get("role")))
        if role is None:
            self.conversation.lost("a message of unknown role", place)
            return
        content, files, unknown = split_content(item.get("content"))
        if unknown:
            self.conversation.lost("content of unknown type", place)
        if role != "assistant":
            self.end()
            self.conversation.say(role, content, at=at, attachments=files)
            return
        if content and self._answer is not None and self._answer.texts and not self._answer.calls:
            self._close(None)  # two texts, and no call between them, are two answers
        answer = self._going_on(at, item)
        if content:
            answer.texts.append(content)
        answer.files += files
        if (ended := ENDS.get(str(item.get("status")))) is not None:
            self._close(ended)

    def _going_on(self, at: Any, item: dict[str, Any]) -> _Answer:
        """Return the answer that goes on, or begin one; what was thought meanwhile is part of it."""
        provider = item.get("provider_data")
        model = provider.get("model") if isinstance(provider, dict) else None
        if self._answer is None:
            self._answer = _Answer(at, model)
        answer = self._answer
        answer.model = answer.model or model
        answer.thoughts += self._thoughts
        self._thoughts = []
        return answer

    def _close(self, ended: Finish | None) -> None:
        """Say the answer that goes on, if there is one."""
        answer, self._answer = self._answer, None
        if answer is not None:
            self.conversation.say(
                "assistant",
                "\n".join(answer.texts),
                at=answer.at,
                model=answer.model,
                ended=ended,
                reasoning="\n".join(answer.thoughts),
                attachments=answer.files,
                calls=answer.calls,
            )

    def _call(self, item: dict[str, Any], at: Any, name: str | None, arguments: Any) -> ToolCall:
        call = cells.call(name or item.get("name"), arguments, item.get("call_id") or item.get("id"))
        if call.id:
            self._names[call.id] = call.name
        self._going_on(at, item).calls.append(call)
        return call

    def _hosted(self, kind: str, item: dict[str, Any], at: Any) -> None:
        name, asked, answered = HOSTED[kind]
        call = self._call(item, at, name, _arguments(asked, item.get(asked)))
        error = item.get("error") or ("failed" if item.get("status") == "failed" else None)
        result = item.get(answered)
        if result is None and not error:
            self._close(None)  # a result that is not stored: what follows saw it
            return
        files = (Attachment(type="image"),) if kind == "image_generation_call" and result else ()
        self._result("" if files else _shown(result), at, call.id, call.name, _shown(error) or None, files)

    def _output(self, kind: str, item: dict[str, Any], at: Any, place: str) -> None:
        call_id = cells.text(item.get("call_id") or item.get("id"))
        if kind == "tool_search_output":
            self._offer(item.get("tools"), place)
            names = [str(tool.get("name")) for tool in _flat(item.get("tools")) if tool.get("name")]
            self._result(cells.dump(names), at, call_id, "tool_search", None, ())
            return
        output = item.get("output", item.get("result"))
        content, files, unknown = split_content(output)
        if kind == "computer_call_output":
            content, files = "", (Attachment(type="image"),)
        elif unknown or isinstance(output, dict):
            content, files = _shown(output), ()
        failed = _FAILED.match(content) or item.get("status") == "failed"
        name = item.get("name") or self._names.get(call_id or "")
        self._result(content, at, call_id, name, (content or "failed") if failed else None, files)

    def _result(
        self, content: str, at: Any, call_id: Any, name: Any, error: str | None, files: Sequence[Attachment]
    ) -> None:
        if self._thoughts and self._answer is None:
            self.end()
        elif self._answer is not None:
            self._going_on(at, {})
            self._close(None)
        self.conversation.result(content, call_id=call_id, name=name, at=at, error=error, attachments=files)

    def _offer(self, tools: Any, place: str) -> None:
        """Add the function tools; hosted ones have no schema, and their settings may hold a key."""
        functions = [tool for tool in _flat(tools) if tool.get("name")]
        specs, lost = cells.tool_specs(functions)
        self.conversation.offer(specs)
        if lost or not isinstance(tools, list):
            self.conversation.lost("unreadable tool", place)

    def _approval(self, kind: str, item: dict[str, Any], at: Any) -> None:
        """Keep a refused call as a failed one; an approved one comes as an item of its own."""
        if kind == "mcp_approval_request":
            self._approvals[str(item.get("id"))] = item
            return
        asked = self._approvals.pop(str(item.get("approval_request_id")), None)
        if asked is not None and item.get("approve") is False:
            call = self._call({"id": asked.get("id")}, at, asked.get("name"), asked.get("arguments"))
            self._result(cells.text(item.get("reason")) or "", at, call.id, call.name, "not approved", ())


def split_content(content: Any) -> tuple[str, tuple[Attachment, ...], bool]:
    """Return (text, attachments, whether something is of unknown type) of a message's content."""
    if isinstance(content, str):
        return content, (), False
    if isinstance(content, list) and len(content) == 1 and isinstance(content[0], dict):  # nearly always
        block = content[0]
        if block.get("type") in ("output_text", "input_text") and isinstance(block.get("text"), str):
            return block["text"], (), False
    found = read_blocks(content)
    return found.text, tuple(found.files), bool(found.other or found.calls or found.results)


def _texts(value: Any) -> list[str]:
    text = split_content(value)[0]
    return [text] if text else []


def _arguments(key: str, value: Any) -> Any:
    """Return a call's arguments as an object or as the JSON text that the model wrote; free text gets its key."""
    if key == "arguments" or isinstance(value, dict) or value is None:
        return value
    return {key: value}


def _shown(value: Any) -> str:
    if isinstance(value, list) and value and all(isinstance(v, dict) and isinstance(v.get("logs"), str) for v in value):
        return "\n".join(v["logs"] for v in value)
    return value if isinstance(value, str) else "" if value is None else cells.dump(value)


def _flat(tools: Any) -> list[dict[str, Any]]:
    """Return the tools of a list and of the namespaces in it."""
    flat: list[dict[str, Any]] = []
    for tool in tools if isinstance(tools, list) else ():
        if isinstance(tool, dict):
            inner = tool.get("tools")
            flat += [t for t in inner if isinstance(t, dict)] if isinstance(inner, list) else [tool]
    return flat
