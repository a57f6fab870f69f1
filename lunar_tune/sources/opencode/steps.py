"""opencode's messages and parts: a user's message, or one step of the model with the results of its calls."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from typing import Any

from lunar_tune.episodes import Attachment, Finish, ToolCall
from lunar_tune.sources.core import cells
from lunar_tune.sources.core.conversation import Conversation, finish

RAN = "The following tool was executed by the user"  # the app's own words; the model reads them too
INLINED = ("text/plain", "application/x-directory")  # the app writes the contents of these into the message
SILENT = {"step-start", "step-finish", "snapshot", "patch", "agent", "retry"}  # bookkeeping, nothing that was said
STEP = {"step-start", "step-finish", "tool", "reasoning"}  # only the model's messages have these
ENDS: dict[str, Finish] = {"MessageAbortedError": "cancelled", "MessageOutputLengthError": "length"}


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a message; `data` is None when it could not be read."""

    id: str
    data: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Row:
    """A message; `data` is None when it could not be read. `kind` is the newer projection's type."""

    id: str
    created: Any
    data: dict[str, Any] | None
    parts: list[Part] = field(default_factory=list)
    kind: str = ""

    def before(self, part: str) -> Row:
        """Return the row with only the parts before one of them."""
        return replace(self, parts=[p for p in self.parts if p.id < part])


@dataclass(frozen=True, slots=True)
class Call:
    """A call of the model and, once it ended, its result."""

    call: ToolCall
    ended: bool = False
    output: str = ""
    error: str | None = None
    at: Any = None
    files: tuple[Attachment, ...] = ()

    def tell(self, conversation: Conversation) -> None:
        """Add the result to a conversation; a call that did not end has none."""
        if self.ended:
            conversation.result(
                self.output,
                call_id=self.call.id,
                name=self.call.name,
                at=self.at,
                error=self.error,
                attachments=self.files,
            )


class Steps:
    """Tells a conversation from rows of `message`, in order."""

    def __init__(self, conversation: Conversation) -> None:
        self.conversation = conversation
        self.system: str | None = None
        self.ran: tuple[str, str] | None = None  # the message by which the user ran a tool, and what was asked of it

    def branch(self, thread: str) -> Steps:
        """Return a teller that goes on from here in a conversation of its own."""
        other = copy.copy(self)
        other.conversation = self.conversation.branch(thread)
        return other

    def take(self, row: Row) -> None:
        """Tell one message. One that cannot be read is told by its parts, with an error."""
        data = row.data
        role = data.get("role") if data is not None else _likely_role(row)
        if role == "user":
            self._user(row, data or {}, None if data is not None else "unreadable message")
        elif role == "assistant":
            self._assistant(row, data or {}, None if data is not None else "unreadable message")
        else:
            self.conversation.lost("a message of unknown role", f"message.data={row.id}")

    def _user(self, row: Row, data: dict[str, Any], error: str | None) -> None:
        texts: list[str] = []
        files: list[Attachment] = []
        injected: list[tuple[str, str]] = []  # (part, text) of the app since the last thing of the user's own
        ran: str | None = None
        for part in row.parts:
            body = part.data
            kind = string(body.get("type")) if body is not None else None
            if body is None:
                error = error or "unreadable part"
            elif kind == "text" and body.get("ignored") is True:
                self._left_out("a text that was not sent", part)
            elif kind == "text" and body.get("synthetic") is True:
                injected.append((part.id, string(body.get("text"))))
            elif kind == "text":
                texts.append(self._words(part, body))
            elif kind == "file":
                if not (injected and body.get("mime") in INLINED):
                    files.append(attachment(body))
                texts += [text for _, text in injected]  # the file's contents, as the model read them
                injected = []
            elif kind == "subtask":
                ran = string(body.get("prompt"))
            elif kind == "compaction":
                self._left_out("a compaction request", part)
            elif kind not in SILENT:
                self._left_out("a part of unknown type", part)
        if ran is None and not texts and [text for _, text in injected] == [RAN]:
            ran, injected = "", []
        for key, _ in injected:
            self.conversation.lost("text injected by the app", f"part.data={key}")
        said = "\n".join(text for text in texts if text)
        self.ran = (row.id, ran) if ran is not None and not said else None
        self._prompt(data.get("system"), row)
        if said or files or error:
            self.conversation.say("user", said, at=when(row, data), error=error, attachments=files)
        elif not row.parts:
            self.conversation.lost("a message without content", f"message.data={row.id}")

    def _prompt(self, system: Any, row: Row) -> None:
        """Tell the system prompt that a user set for a message, when it is another than before."""
        if isinstance(system, str) and system and system != self.system:
            self.system = system
            self.conversation.say("system", system, at=row.created)

    def _assistant(self, row: Row, data: dict[str, Any], error: str | None) -> None:
        if data.get("summary") is True:
            self.conversation.lost("a compaction summary", f"message.data={row.id}")
            return
        texts: list[str] = []
        thoughts: list[str] = []
        calls: list[Call] = []
        files: list[Attachment] = []
        reason: Any = None
        for part in row.parts:
            body = part.data
            kind = string(body.get("type")) if body is not None else None
            if body is None:
                error = error or "unreadable part"
            elif kind == "text":
                texts.append(self._words(part, body))
            elif kind == "reasoning":
                thoughts.append(self._words(part, body))
            elif kind == "tool":
                calls.append(self._call(part, body))
            elif kind == "file":
                files.append(attachment(body))
            elif kind == "step-finish":
                reason = body.get("reason")
            elif kind not in SILENT:
                self._left_out("a part of unknown type", part)
        ran, self.ran = self.ran, None
        if ran is not None and calls and not texts and data.get("parentID") == ran[0]:
            self._ran(row, data, ran[1], calls)
            return
        problem, ended = failure(data.get("error"))
        times = cells.mapping(data.get("time"))
        ended = ended or (None if problem or error else finish(data.get("finish") or reason))
        if not (ended or problem or error or data.get("finish") or reason or times.get("completed") is not None):
            ended = "cancelled"  # neither an end nor an error was written: the app stopped in the middle
        if not (texts or thoughts or calls or files or problem or error):
            self.conversation.lost("a message without content", f"message.data={row.id}")
            return
        self.conversation.say(
            "assistant",
            "\n".join(text for text in texts if text),
            at=when(row, data),
            model=data.get("modelID"),
            error=problem or error,
            ended=ended,
            reasoning="\n".join(thought for thought in thoughts if thought),
            attachments=files,
            calls=[call.call for call in calls],
        )
        for call in calls:
            call.tell(self.conversation)

    def _ran(self, row: Row, data: dict[str, Any], prompt: str, calls: list[Call]) -> None:
        """Tell what the user ran and what came out as the user's words: the model did not call it."""
        for one in calls:
            command = one.call.arguments.get("command")
            asked = prompt or (command if isinstance(command, str) else cells.dump(one.call.arguments))
            self.conversation.say("user", "\n".join((RAN, asked, one.output)).rstrip("\n"), at=when(row, data))

    def _call(self, part: Part, body: dict[str, Any]) -> Call:
        state = cells.mapping(body.get("state"))
        status, given = state.get("status"), state.get("input")
        if status == "pending" and not given:
            given = state.get("raw")  # the arguments were still being written
        call = cells.call(body.get("tool"), given, body.get("callID"))
        at = cells.mapping(state.get("time")).get("end")
        listed = state.get("attachments")
        files = tuple(attachment(item) for item in listed if isinstance(item, dict)) if isinstance(listed, list) else ()
        if status == "completed":
            return Call(call, True, output(state.get("output")), None, at, files)
        if status == "error":
            error = output(state.get("error")) or "failed"
            metadata = cells.mapping(state.get("metadata"))
            partly = metadata.get("output") if metadata.get("interrupted") is True else None
            return Call(call, True, partly if isinstance(partly, str) else error, error, at, files)
        if status not in ("pending", "running"):
            self._left_out("a call of unknown state", part)
        return Call(call)

    def _words(self, part: Part, body: dict[str, Any]) -> str:
        words = body.get("text")
        if words is not None and not isinstance(words, str):
            self._left_out("a text that is no text", part)
        return string(words)

    def _left_out(self, reason: str, part: Part) -> None:
        self.conversation.lost(reason, f"part.data={part.id}")


def _likely_role(row: Row) -> str:
    return "assistant" if any(part.data and string(part.data.get("type")) in STEP for part in row.parts) else "user"


def failure(error: Any) -> tuple[str | None, Finish | None]:
    """Return (what went wrong, how the answer ended) of an error `{name, data: {message}}` or `{type, message}`."""
    if not isinstance(error, dict):
        return (string(error) or None), ("error" if error else None)
    name = string(error.get("name") or error.get("type"))
    words = error.get("message") or cells.mapping(error.get("data")).get("message")
    ended = ENDS.get(name) or ("cancelled" if "abort" in name.lower() or "interrupt" in name.lower() else "error")
    return string(words) or name or "unknown error", ended


def when(row: Row, data: dict[str, Any]) -> Any:
    """Return the time of a message, its own or its row's."""
    own = cells.mapping(data.get("time")).get("created")
    return own if cells.timestamp(own) else row.created


def attachment(body: dict[str, Any]) -> Attachment:
    """Return the type and name of a file; its address may hold its content and is not read."""
    return Attachment(type=string(body.get("mime")) or "file", name=string(body.get("filename") or body.get("name")))


def output(value: Any) -> str:
    """Return a tool's output as text."""
    return value if isinstance(value, str) else "" if value is None else cells.dump(value)


def string(value: Any) -> str:
    """Return a text as it is, and an empty one for everything else."""
    return value if isinstance(value, str) else ""
