"""What a graph's state held over time, and the conversation behind it.

A state forgets: messages are removed to save room, summed up, or taken back. `told` keeps what was said in the order in
which it was said; what was taken back, or cleared, becomes a telling of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lunar_tune.sources.core import cells
from lunar_tune.sources.core.checkpoint_cells import OVERWRITE
from lunar_tune.sources.core.langchain_messages import REMOVE, REMOVE_ALL, is_summary, message_fields

Fields = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Telling:
    """One way the conversation went, up to a checkpoint. From `undone` on it was taken back."""

    checkpoint: str
    messages: tuple[Fields, ...]
    undone: int | None = None

    def keys(self) -> list[str]:
        """Return what stands for each message when tellings are compared: a fork may reword one under its old id."""
        return [cells.dump([m.get("type"), m.get("id"), m.get("content"), m.get("tool_calls")]) for m in self.messages]


@dataclass(frozen=True, slots=True)
class Write:
    """What a node wrote into the channel; `whole` when it takes the place of everything before."""

    messages: tuple[Fields, ...]
    whole: bool = False
    unknown: int = 0

    @property
    def forgets(self) -> bool:
        """Whether something that was said is gone after it."""
        return self.whole or any(m["type"] == REMOVE for m in self.messages)


def as_write(value: Any) -> Write:
    """Return a written value: a list of messages or one, in any form that graphs take, or an overwrite."""
    if isinstance(value, dict) and (OVERWRITE in value or value.get("type") == OVERWRITE):
        inner = as_write(value.get(OVERWRITE, value.get("value")))
        return Write(inner.messages, True, inner.unknown)
    one = message_fields(value)
    items = [one] if one is not None else value if isinstance(value, list) else [] if value is None else [value]
    found: list[Fields] = []
    unknown = 0
    for item in items:
        fields = {"type": "human", "content": item} if isinstance(item, str) else message_fields(item)
        if fields is None:
            unknown += 1
        else:
            found.append(fields)
    return Write(tuple(found), False, unknown)


def applied(state: Sequence[Fields], writes: Iterable[Write]) -> list[Fields]:
    """Return the state after writes, as LangGraph's `add_messages` and its delta channels merge them."""
    now: list[Fields | None] = list(state)
    places = {m["id"]: n for n, m in enumerate(state) if isinstance(m.get("id"), str)}
    for write in writes:
        if write.whole:
            now, places = [], {}
        for message in write.messages:
            key = message.get("id") if isinstance(message.get("id"), str) else None
            if message["type"] == REMOVE:
                if key == REMOVE_ALL:
                    now, places = [], {}
                elif key in places:
                    now[places.pop(key)] = None
            elif key in places:
                now[places[key]] = message
            else:
                if key is not None:
                    places[key] = len(now)
                now.append(message)
    return [message for message in now if message is not None]


def tellings(states: Iterable[tuple[str, Sequence[Fields]]]) -> Iterator[Telling]:
    """Yield how the conversation went, the last being what the agent ended with.

    `states` are (checkpoint, messages) before each loss and at the end. Where the newest message of before is still
    there, what is missing was forgotten to save room and stays told; so does what a summary stands for. Otherwise what
    came after the last message that is still there was taken back, or, when none is, all of it was cleared.
    """
    told: list[Fields] = []
    before = ""
    for checkpoint, state in states:
        known = {_key(m): n for n, m in enumerate(told)}
        summed = any(is_summary(m) and _key(m) not in known for m in state)
        last = max((known[_key(m)] for m in state if _key(m) in known), default=-1)
        if told and last < len(told) - 1 and not summed:
            yield Telling(before, tuple(told), last + 1 if last >= 0 else None)
            del told[last + 1 :]
        for message in state:
            place = known.get(_key(message), len(told))
            if place < len(told):
                told[place] = message
            elif not is_summary(message):
                told.append(message)
        before = checkpoint
    yield Telling(before, tuple(told))


def _key(message: Fields) -> str:
    key = message.get("id")
    return key if isinstance(key, str) and key else cells.dump([message.get("type"), message.get("content")])


class Times:
    """When each message came into the state: by id, or for those written before they got one by what they say."""

    def __init__(self) -> None:
        self._by_id: dict[str, str] = {}
        self._by_words: dict[str, list[str]] = {}

    def add(self, writes: Iterable[Write], at: str | None) -> None:
        """Note the messages of one step."""
        for message in (m for write in writes for m in write.messages if at is not None):
            key = message.get("id")
            if message["type"] == REMOVE:
                continue
            if isinstance(key, str) and key:
                self._by_id.setdefault(key, at or "")
            else:
                self._by_words.setdefault(_words(message), []).append(at or "")

    def of(self, messages: Iterable[Fields]) -> list[str | None]:
        """Return the time of each message of one telling."""
        left = {words: list(times) for words, times in self._by_words.items()}
        found: list[str | None] = []
        for message in messages:
            times = left.get(_words(message))
            key = message.get("id")
            found.append(
                self._by_id[key] if isinstance(key, str) and key in self._by_id else times.pop(0) if times else None
            )
        return found


def _words(message: Fields) -> str:
    return cells.dump([message.get("type"), message.get("content"), message.get("tool_call_id")])


def moment(checkpoint: str | None) -> str | None:
    """Return when a checkpoint was made, from its id: a UUID with a time (versions 6 and 7) or, long ago, ISO text."""
    digits = (checkpoint or "").replace("-", "")
    if len(digits) == 32 and digits[12] in "67":
        try:
            if digits[12] == "7":
                return cells.timestamp(int(digits[:12], 16))
            return cells.timestamp((int(digits[:12] + digits[13:16], 16) - 0x01B21DD213814000) / 10**7)
        except ValueError:
            return None
    return cells.timestamp(checkpoint)
