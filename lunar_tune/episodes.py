"""What an agent lived through: Episode, Message, ToolCall, ToolSpec, Signal.

Pure values. An Episode is one conversation in the canonical form that every reader produces and every later step reads;
equal content gives equal objects and equal ids. Absent fields are left out of the JSON form.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields, replace
from typing import Any, Literal, TypeVar

from lunar_tune.identity import fast_id_of_bytes, plain_json

Role = Literal["user", "assistant", "tool", "system"]
Finish = Literal["stop", "length", "cancelled", "error"]
SignalKind = Literal["rating", "correction", "retry", "undo", "tool_error", "annotation", "reaction"]


Value = TypeVar("Value")


def _direct(cls: type[Value]) -> type[Value]:
    """Give a frozen dataclass with slots an `__init__` that sets its fields by plain assignment.

    The generated one goes through `object.__setattr__`, field by field: five times the time, of objects that a harvest
    makes by the million. While it is filled the object is of a class with the same slots that is not frozen.
    """
    names = [one.name for one in fields(cls)]  # type: ignore[arg-type]
    known: dict[str, Any] = {"frozen": cls, "become": object.__setattr__, "MISSING": MISSING}
    known["open"] = type(cls.__name__, (), {"__slots__": tuple(names)})
    given, body = [], []
    for one in fields(cls):  # type: ignore[arg-type]
        made = one.default_factory is not MISSING
        known[f"default_{one.name}"] = one.default_factory if made else one.default
        given.append(f"{one.name}=MISSING" if made else f"{one.name}=default_{one.name}")
        if not made and one.default is MISSING:
            given[-1] = one.name
        value = f"default_{one.name}() if {one.name} is MISSING else {one.name}" if made else one.name
        body.append(f"    self.{one.name} = {value}")
    head = f"def __init__(self, *, {', '.join(given)}):\n    become(self, '__class__', open)\n"
    exec(head + "\n".join(body) + "\n    self.__class__ = frozen", known)
    type.__setattr__(cls, "__init__", known["__init__"])
    return cls


@_direct
@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """One call of a tool. `arguments_raw` and `error` are set when the log's arguments were not a JSON object."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)
    id: str | None = None
    arguments_raw: str | None = None
    error: str | None = None


@_direct
@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSpec:
    """A tool that was offered; `inferred` when the schema was guessed from its calls."""

    name: str
    description: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)
    inferred: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A file or picture that came with a message; its content is not kept."""

    type: str
    name: str = ""


@_direct
@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message as it was said. `created_at` is ISO-8601 UTC."""

    role: Role
    content: str = ""
    created_at: str | None = None
    model: str | None = None
    error: str | None = None
    finish: Finish | None = None
    reasoning: str | None = None
    attachments: tuple[Attachment, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    name: str | None = None


@_direct
@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """What somebody thought of a turn. `message` is the index of the judged message, None for the whole episode."""

    kind: SignalKind
    value: float | str | None = None
    message: int | None = None
    note: str | None = None


@_direct
@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """One conversation. `system` is the prompt at the start and is not repeated in `messages`.

    `group` names the conversation that this one was forked from (itself included); None where the log knows no forks.
    """

    source: str
    path: str
    thread: str
    messages: tuple[Message, ...]
    started_at: str | None = None
    model: str | None = None
    system: str | None = None
    tools: tuple[ToolSpec, ...] = ()
    signals: tuple[Signal, ...] = ()
    group: str | None = None

    @property
    def id(self) -> str:
        """Content id of everything but the path: a log that moves keeps its episodes."""
        return fast_id_of_bytes("ep", plain_json(_body(self)))


def to_dict(episode: Episode, *, with_id: bool = True) -> dict[str, Any]:
    """Return the canonical JSON form of an episode (one line of `lunar-tune episodes`)."""
    body = {"path": episode.path, **_body(episode)}
    return {"id": episode.id, **body} if with_id else body


def to_line(episode: Episode) -> bytes:
    """Return the canonical JSON form in UTF-8, the keys of arguments and schemas in the order that the log has them."""
    body = plain_json(_body(episode))
    named = plain_json({"id": fast_id_of_bytes("ep", body), "path": episode.path})
    return b"%b,%b" % (named[:-1], body[1:])  # one object of two: what the id is of is written once


def _body(episode: Episode) -> dict[str, Any]:
    """Return what the id is of."""
    body: dict[str, Any] = {"source": episode.source, "thread": episode.thread}
    if episode.group is not None:
        body["group"] = episode.group
    body["started_at"] = episode.started_at
    if episode.model is not None:
        body["model"] = episode.model
    if episode.system is not None:
        body["system"] = episode.system
    body["tools"] = [tool_to_dict(tool) for tool in episode.tools]
    body["messages"] = [message_to_dict(message) for message in episode.messages]
    body["signals"] = [_signal_to_dict(signal) for signal in episode.signals]
    return body


def from_dict(data: dict[str, Any]) -> Episode:
    """Return the episode of its canonical JSON form.

    Raises:
        KeyError, TypeError: a key is missing or unknown.
    """
    return Episode(
        source=data["source"],
        path=data["path"],
        thread=data["thread"],
        started_at=data.get("started_at"),
        model=data.get("model"),
        system=data.get("system"),
        tools=tuple(ToolSpec(**tool) for tool in data.get("tools", ())),
        messages=tuple(_message_from_dict(message) for message in data["messages"]),
        signals=tuple(Signal(**signal) for signal in data.get("signals", ())),
        group=data.get("group"),
    )


def with_messages(episode: Episode, messages: tuple[Message, ...]) -> Episode:
    """Return the episode with other messages of the same number, so that signals keep their indices."""
    if len(messages) != len(episode.messages):
        raise ValueError("signals point at messages by index: the number of messages must not change")
    return replace(episode, messages=messages)


def tool_to_dict(tool: ToolSpec) -> dict[str, Any]:
    """Return a tool in the canonical form."""
    return {
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
        "inferred": tool.inferred,
    }


def message_to_dict(message: Message) -> dict[str, Any]:
    """Return a message in the canonical form, absent fields left out."""
    body: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.created_at is not None:
        body["created_at"] = message.created_at
    if message.model is not None:
        body["model"] = message.model
    if message.error is not None:
        body["error"] = message.error
    if message.finish is not None:
        body["finish"] = message.finish
    if message.reasoning is not None:
        body["reasoning"] = message.reasoning
    if message.attachments:
        body["attachments"] = [_present({"type": a.type, "name": a.name or None}) for a in message.attachments]
    if message.tool_calls:
        body["tool_calls"] = [_call_to_dict(call) for call in message.tool_calls]
    if message.tool_call_id is not None:
        body["tool_call_id"] = message.tool_call_id
    if message.name is not None:
        body["name"] = message.name
    return body


def _call_to_dict(call: ToolCall) -> dict[str, Any]:
    known = {"id": call.id, "name": call.name, "arguments": call.arguments}
    return _present({**known, "arguments_raw": call.arguments_raw, "error": call.error})


def _message_from_dict(data: dict[str, Any]) -> Message:
    fields = dict(data)
    fields["attachments"] = tuple(Attachment(**a) for a in fields.get("attachments", ()))
    fields["tool_calls"] = tuple(ToolCall(**c) for c in fields.get("tool_calls", ()))
    return Message(**fields)


def _signal_to_dict(signal: Signal) -> dict[str, Any]:
    return {"kind": signal.kind, "value": signal.value, "message": signal.message} | _present({"note": signal.note})


def _present(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value is not None}
