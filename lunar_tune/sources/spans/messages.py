"""Messages of a recorded model call, whatever client or convention wrote them.

One tolerant reader serves them all, for they differ in names only (see `shapes`). What it cannot read it says in words
that never quote the log.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lunar_tune.episodes import Attachment, Message, Role
from lunar_tune.sources.core import cells, conversation
from lunar_tune.sources.spans.shapes import (
    CALL_ITEMS,
    CALLS,
    FILES,
    REDACTED,
    RESULT_ITEMS,
    RESULTS,
    ROLES,
    TEXTS,
    THOUGHTS,
    attachment,
    decoded,
    ended,
    finish_of,
    has_content,
    listed,
    model_of,
    text_of,
    unwrapped,
)
from lunar_tune.sources.spans.turns import Turn, joined


class Messages:
    """Messages while they are read, in order; `lost` holds a reason for everything that could not be."""

    def __init__(self) -> None:
        self.read: list[Message] = []
        self.lost: dict[str, None] = {}
        self.open = False  # the newest message is an assistant's that the next item of a Responses list goes on with

    def add(self, value: Any, role: Role = "user", finish: Any = None) -> None:
        """Add a list of messages, one message, or a bare text said by `role`."""
        for item in listed(value):
            if isinstance(item, list):  # LangChain's batches
                self.add(item, role, finish)
            elif isinstance(item, str):
                self._end(Turn(role, texts=[item], finish=ended(finish)))
            elif isinstance(item, dict):
                self._item(item, role, finish)
            elif item is not None:
                self.lose("a message that is no object")

    def lose(self, reason: str) -> None:
        """Note a loss; the same reason is told once a call."""
        self.lost[reason] = None

    def _item(self, item: dict[str, Any], role: Role, finish: Any) -> None:
        body = unwrapped(item)
        kind = body.get("type")
        if isinstance(kind, str) and body.get("role") is None and self._response_item(kind, body):
            return
        word = body.get("role") or kind
        known = ROLES.get(word.strip().lower()) if isinstance(word, str) else None
        if known is None:
            if word not in (None, "message", "text") and body.get("role") is not None:
                self.lose("a message of unknown role")
                return
            if not has_content(body):
                self.lose("a message without role and content")
                return
            if body.get("content") is None and body.get("parts") is None and body.get("contents") is None:
                body = {"content": [body]}  # a bare part, as Gemini takes for a message
            known = role
        turn = Turn(known)
        if known == "assistant":
            turn.finish, turn.model = finish_of(body, item) or ended(finish), model_of(body)
        if known == "tool":
            turn.call_id, turn.name = body.get("tool_call_id") or body.get("id"), body.get("name")
            turn.failed = body.get("status") == "error" or body.get("is_error") is True
        self._fill(turn, body)
        self._end(turn, goes_on=kind == "message" and known == "assistant")

    def _fill(self, turn: Turn, body: dict[str, Any]) -> None:
        for key in ("reasoning_content", "reasoning", "thinking"):
            if isinstance(body.get(key), str):
                turn.reasons.append(body[key])
        for key in ("content", "contents", "parts"):
            for part in listed(body.get(key)):
                self._part(turn, part)
        if not turn.texts and isinstance(body.get("refusal"), str):
            turn.texts.append(body["refusal"])
        more = body.get("additional_kwargs")
        more = more if isinstance(more, dict) else {}
        for key in ("tool_calls", "invalid_tool_calls"):
            for call in listed(decoded(body.get(key) or (more.get(key) if not turn.calls else None))):
                self._call(turn, call)
        legacy = body.get("function_call") or (more.get("function_call") if not turn.calls else None)
        if isinstance(legacy, dict):
            self._call(turn, legacy)
        if body.get("function_call_name"):
            turn.calls.append(cells.call(body["function_call_name"], body.get("function_call_arguments_json")))

    def _response_item(self, kind: str, body: dict[str, Any]) -> bool:
        """Read an item of a Responses list that is no message; False when it is none of them."""
        turn = Turn("assistant")
        call_id = body.get("call_id") or body.get("id")
        if kind in RESULT_ITEMS:
            self._result(turn, body.get("output"), call_id, body.get("name"), body.get("status") == "failed")
        elif kind in CALL_ITEMS:
            arguments = next((body[key] for key in cells.ARGUMENT_KEYS if body.get(key) is not None), None)
            turn.calls.append(cells.call(body.get("name"), arguments, call_id))
            self._end(turn, goes_on=True)
            if kind == "mcp_call" and (body.get("output") is not None or body.get("error")):
                failed = body.get("error")
                output = body.get("output") if body.get("output") is not None else failed
                self._result(Turn("tool"), output, call_id, body.get("name"), bool(failed))
        elif kind == "reasoning":
            for key in ("summary", "content", "text"):
                turn.reasons += [conversation.joined_text([part]) for part in listed(body.get(key))]
            self._end(turn, goes_on=True)
        elif kind == "compaction":
            self.lose("a compaction summary")
        elif kind.endswith("_call"):  # a tool that the provider runs itself, such as web_search_call
            given = body.get("action") or {key: body[key] for key in ("queries", "code") if body.get(key) is not None}
            turn.calls.append(cells.call(kind.removesuffix("_call"), given or None, call_id))
            self._end(turn, goes_on=True)
        elif kind in ("item_reference", "mcp_list_tools", "mcp_approval_request", "mcp_approval_response"):
            self.lose("an item of unknown type")
        else:
            return False
        return True

    def _part(self, turn: Turn, part: Any) -> None:
        if isinstance(part, str):
            turn.texts.append(part)
            return
        if not isinstance(part, dict):
            self.lose("a part that is no object")
            return
        if isinstance(part.get("message_content"), dict):
            part = part["message_content"]
        kind = str(part.get("type") or "").lower()
        if kind in CALLS:
            self._call(turn, part)
        elif kind in RESULTS or kind.endswith("_tool_result"):
            output = next((part[key] for key in ("content", "response", "result", "output") if key in part), None)
            failed = part.get("is_error") is True or part.get("status") == "error"
            self._result(turn, output, part.get("tool_use_id") or part.get("id"), part.get("name"), failed)
        elif kind in THOUGHTS or part.get("thought") is True:
            thought = next((part[key] for key in ("thinking", "text", "content", "summary") if part.get(key)), None)
            turn.reasons.append(conversation.joined_text(listed(thought)))
        elif kind in ("compaction", "summary"):
            self.lose("a compaction summary")
        elif kind == "refusal" and isinstance(part.get("refusal"), str):
            turn.texts.append(part["refusal"])
        elif (kind in TEXTS or not kind) and (said := text_of(part)) is not None:
            turn.texts.append(said)
        elif not self._unnamed(turn, part) and not self._file(turn, kind, part):
            self.lose("a part of unknown type")

    def _unnamed(self, turn: Turn, part: dict[str, Any]) -> bool:
        """Read the parts of Gemini and Bedrock, which say what they are by their only key."""
        call = part.get("function_call") or part.get("functionCall") or part.get("toolUse")
        result = part.get("function_response") or part.get("functionResponse") or part.get("toolResult")
        if isinstance(call, dict):
            self._call(turn, call)
        elif isinstance(result, dict):
            output = result.get("response") if "response" in result else result.get("content")
            key = result.get("id") or result.get("toolUseId")
            self._result(turn, output, key, result.get("name"), result.get("status") == "error")
        elif isinstance(part.get("json"), (dict, list)):
            turn.texts.append(cells.dump(part["json"]))
        else:
            return False
        return True

    def _file(self, turn: Turn, kind: str, part: dict[str, Any]) -> bool:
        names = [kind] if kind else [key.lower() for key in part if part[key] is not None]
        found = next((file for name in names for file in FILES if file in name), None)
        if found is None:
            return False
        turn.files.append(attachment(found, part))
        return True

    def _call(self, turn: Turn, call: Any) -> None:
        body = call.get("tool_call", call) if isinstance(call, dict) else None
        if not isinstance(body, dict):
            self.lose("a call that is no object")
            return
        body = {**body, "id": body.get("id") or body.get("toolUseId") or body.get("call_id")}
        (read,) = cells.call_list([body])
        if read.id is None or read.id not in {known.id for known in turn.calls}:  # LangChain says Anthropic's twice
            turn.calls.append(read)

    def _result(self, turn: Turn, output: Any, call_id: Any, name: Any, failed: bool) -> None:
        """Add a tool's result after what its turn said before it."""
        self._end(turn.split())
        text, files = self._result_text(output)
        self.open = False
        self.read.append(
            Message(
                role="tool",
                content=text,
                error="the tool failed" if failed else None,
                attachments=tuple(files),
                tool_call_id=cells.text(call_id) or None,
                name=cells.text(name) or None,
            )
        )

    def _result_text(self, output: Any) -> tuple[str, list[Attachment]]:
        if isinstance(output, str) or output is None:
            return cells.text(output) or "", []
        parts = listed(output)
        if not all(isinstance(part, dict) and (part.get("type") or "text" in part or "json" in part) for part in parts):
            return cells.dump(output), []
        turn = Turn("tool")
        for part in parts:
            text = text_of(part)
            if text is not None:
                turn.texts.append(text)
            elif not self._file(turn, str(part.get("type") or "").lower(), part):
                turn.texts.append(cells.dump(part.get("json", part)))
        return "\n".join(turn.texts), turn.files

    def _end(self, turn: Turn, goes_on: bool = False) -> None:
        """Add what a turn said, or join it to the turn that it goes on with."""
        if turn.role == "tool" and (turn.said() or not turn.was_split):
            self._result(Turn("tool", was_split=True), "\n".join(turn.texts), turn.call_id, turn.name, turn.failed)
            return
        if not turn.said():
            return
        message = turn.message()
        if REDACTED in (message.content.strip(), *(c.name for c in message.tool_calls)):
            self.lose("a redacted message")
            message = replace(message, content="", tool_calls=(), error="redacted")
        if goes_on and self.open:
            self.read[-1] = joined(self.read[-1], message)
        else:
            self.read.append(message)
        self.open = goes_on
