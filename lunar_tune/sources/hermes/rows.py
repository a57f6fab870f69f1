"""hermes-agent's rows: what a message says, and one transcript out of the segments that compactions leave behind.

A compaction writes [first messages again] [summary] [last messages again] and goes on from there. Which rows repeat
is told by value (ids of calls where there are any, else role and text), since copies get new ids and times. When the
summary had to be merged into the first of the last messages, that message is what stands before or after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from lunar_tune.episodes import Attachment, Role, ToolCall
from lunar_tune.sources.core import cells
from lunar_tune.sources.core.blocks import read_blocks
from lunar_tune.sources.core.conversation import Conversation, finish
from lunar_tune.sources.hermes import scaffolding

ROW = (
    "id", "role", "content", "tool_call_id", "tool_calls", "tool_name", "timestamp", "finish_reason", "reasoning",
    "reasoning_content", "reasoning_details", "_compressed_summary", "active", "compacted", "display_kind",
    "display_metadata",
)  # fmt: skip
ROLES: dict[str, Role] = {
    "user": "user", "assistant": "assistant", "tool": "tool", "function": "tool", "system": "system",
    "developer": "system",
}  # fmt: skip
THUMBS = {"👍": 1.0, "+1": 1.0, "thumbsup": 1.0, "👎": -1.0, "-1": -1.0, "thumbsdown": -1.0}
HEAD = 64  # a compaction repeats a handful of first messages; more than this is no copy


@dataclass(slots=True)
class Item:
    """A message of the transcript. `undone` is what its newest copy says."""

    id: str
    role: Role
    text: str = ""
    at: Any = None
    model: str | None = None
    undone: bool = False
    error: str | None = None
    ended: Any = None
    reasoning: str | None = None
    files: tuple[Attachment, ...] = ()
    calls: tuple[ToolCall, ...] = ()
    call_id: str | None = None
    name: str | None = None
    reactions: list[tuple[str, str | None]] = field(default_factory=list)
    _key: tuple[Any, ...] | None = None

    @property
    def key(self) -> tuple[Any, ...]:
        """What a copy has in common with its original; asked for when the message is whole."""
        if self._key is None:
            self._key = self._common()
        return self._key

    def _common(self) -> tuple[Any, ...]:
        if self.role == "tool" and self.call_id:
            return "tool", self.call_id
        if self.calls and all(call.id for call in self.calls):
            return "calls", *(call.id for call in self.calls)
        return self.role, self.text.strip(), *(call.name for call in self.calls)

    def tell(self, conversation: Conversation) -> None:
        """Add the message to a conversation, with what was thought of it."""
        index: int | None
        if self.role == "tool":
            index = conversation.result(
                self.text, call_id=self.call_id, name=self.name, at=self.at, error=self.error, attachments=self.files
            )
        else:
            answer = self.role == "assistant"
            index = conversation.say(
                self.role,
                self.text,
                at=self.at,
                model=self.model if answer else None,
                error=self.error,
                ended=finish(self.ended) if answer and not self.error else None,
                reasoning=self.reasoning if answer else None,
                attachments=self.files,
                calls=self.calls if answer else (),
            )
        for emoji, author in self.reactions:
            value = THUMBS.get(emoji.rstrip("\ufe0f🏻🏼🏽🏾🏿")) if author in (None, "user") else None
            if value is not None and self.role == "assistant":
                conversation.judge("rating", value, index, emoji)
            else:
                conversation.judge("reaction", emoji, index, author)


class Transcript:
    """The messages of a chain of sessions, each once and in order."""

    def __init__(self, conversation: Conversation) -> None:
        self.conversation = conversation
        self.items: list[Item] = []

    def session(self, rows: Iterable[Sequence[Any]], model: str | None) -> None:
        """Add a session's rows; where they repeat what was said before a summary, only what is new."""
        begin = len(self.items)
        waiting: list[Item] = []  # rows since the newest summary
        live: list[Item] | None = None  # what stood when it was written
        review = False
        for row in rows:
            item, summary, kept = self._read(row, model)
            if item is None:
                continue
            if review and item.role == "assistant":
                self._left_out("an answer to the app's own prompt", item)
                review = False
                continue
            review = False
            if summary:
                self._after(live, waiting)
                live, waiting = self._before(begin, item.undone), [item] if kept else []
                self._left_out("a compaction summary", item)
            elif item.role in ("user", "system") and item.text.lstrip().startswith(scaffolding.REVIEW):
                self._left_out("text injected by the app", item)
                review = True
            elif live is None:
                self.items.append(item)
            else:
                waiting.append(item)
        self._after(live, waiting)

    def _before(self, begin: int, undone: bool) -> list[Item]:
        """Drop the copies of the first messages that end the items, and return what stood before the compaction."""
        count = len(self.items)
        first = list(islice(((n, item) for n, item in enumerate(self.items) if not item.undone), HEAD))
        originals: list[Item] = []
        for length in range(min(HEAD, count - begin, count // 2), 0, -1):
            copies = self.items[-length:]
            fits = [item for n, item in first[:length] if n < count - length]
            if [item.key for item in fits] == [item.key for item in copies]:
                originals = fits
                del self.items[-length:]
                _take_over(originals, copies)
                break
        repeated = {id(item) for item in originals}
        live = [item for item in self.items if not item.undone or id(item) in repeated]
        if undone:  # the user went back to before the compaction: what it had summarised is taken back with it
            for item in live[len(originals) :]:
                item.undone = True
        return live

    def _after(self, live: list[Item] | None, rows: list[Item]) -> None:
        """Add the rows after a summary, without the copies of the last messages that they begin with."""
        if live is None:
            return
        last = live[-1].key if live else None
        length = next((n for n, row in enumerate(rows, 1) if row.key == last), 0)
        originals = _originals(live, rows[:length])  # when these repeat nothing, more rows do not either
        if originals is None:
            length = 0
        else:
            _take_over(originals, rows[:length])
        self.items += rows[length:]

    def _read(self, row: Sequence[Any], model: str | None) -> tuple[Item | None, bool, bool]:
        """Return (message, whether the row is or holds a summary, whether it holds a message besides)."""
        (number, name, content, call_id, calls, tool, at, ended, thought, shown, details, flag, active, compacted,
         kind, metadata) = row  # fmt: skip
        key = str(cells.text(number))
        role = ROLES.get(str(cells.text(name)).strip().lower())
        if name == "session_meta":  # settings at the start of a chat, no message
            return None, False, False
        if role is None:
            self.conversation.lost("a message of unknown role", f"messages.role={key}")
            return None, False, False
        item = Item(key, role, at=at, model=model, undone=active == 0 and not compacted)
        item.call_id, item.name, item.ended = cells.text(call_id) or None, cells.text(tool) or None, ended
        self._content(item, content)
        held, item.text = scaffolding.summary(item.text)
        if flag == 1 and not held:
            held, item.text = True, ""
        if kind in scaffolding.UNSAID or (role == "user" and item.text.lstrip().startswith(scaffolding.INJECTED)):
            self._left_out("text injected by the app", item)
            return None, False, False
        if role == "user":
            item.text, left_out = scaffolding.own_words(item.text)
            if left_out:
                self._left_out("text injected by the app", item)
        elif role == "assistant" and (told := scaffolding.notice(item.text, kind)):
            item.text, item.error, item.ended = "", told.error or item.error, told.ended
        if role == "assistant":
            item.reasoning = cells.text(shown) or cells.text(thought) or self._details(details, key)
            item.calls = self._calls(item, calls)
        item.reactions = self._reactions(metadata, key)
        return item, held, bool(item.text.strip() or item.calls or item.files or role == "tool")

    def _content(self, item: Item, content: Any) -> None:
        place = f"messages.content={item.id}"
        if isinstance(content, str) and content.startswith(scaffolding.JSON):
            try:
                blocks = read_blocks(cells.parse_json(content[len(scaffolding.JSON) :]))
            except ValueError:
                self.conversation.lost("unreadable content", place)
                item.error = "unreadable content"
                return
            if blocks.other:
                self.conversation.lost("a block of unknown type", place)
            item.text, item.files = blocks.text, tuple(blocks.files)
        else:
            text = cells.text(content)
            if text is None and content is not None:
                self.conversation.lost("content that is no text", place)
                item.error = "unreadable content"
            item.text = text or ""
        if item.role in ("user", "assistant"):
            shown = scaffolding.without_memory(item.text)
            if shown != item.text:
                self.conversation.lost("text injected by the app", place)
                item.text = shown
        if scaffolding.STRIPPED in item.text:
            item.text = item.text.replace(scaffolding.STRIPPED, "").rstrip("\n")

    def _calls(self, item: Item, cell: Any) -> tuple[ToolCall, ...]:
        if cell in (None, "", "[]", "null"):
            return ()
        try:
            return tuple(cells.call_list(cells.parse_json(cell)))
        except ValueError:
            self.conversation.lost("unreadable tool calls", f"messages.tool_calls={item.id}")
            item.error = item.error or "unreadable tool calls"
            return ()

    def _details(self, cell: Any, key: str) -> str | None:
        if cell in (None, "", "[]", "null"):
            return None
        try:
            listed = cells.parse_json(cell)
        except ValueError:
            self.conversation.lost("unreadable reasoning", f"messages.reasoning_details={key}")
            return None
        parts = [part for part in listed if isinstance(part, dict)] if isinstance(listed, list) else []
        texts = (next((p[k] for k in ("text", "summary") if isinstance(p.get(k), str)), "") for p in parts)
        return "\n".join(text for text in texts if text) or None

    def _reactions(self, cell: Any, key: str) -> list[tuple[str, str | None]]:
        if cell in (None, "", "{}", "null"):
            return []
        try:
            listed = cells.mapping(cells.parse_json(cell)).get("reactions")
        except ValueError:
            self.conversation.lost("unreadable metadata", f"messages.display_metadata={key}")
            return []
        return [
            (one["emoji"], cells.text(one.get("author")))
            for one in (listed if isinstance(listed, list) else ())
            if isinstance(one, dict) and isinstance(one.get("emoji"), str) and one["emoji"]
        ]

    def _left_out(self, reason: str, item: Item) -> None:
        self.conversation.lost(reason, f"messages.content={item.id}")


def _originals(live: list[Item], copies: list[Item]) -> list[Item] | None:
    """Return the item that each copy repeats, in order and from the end of what stood; None when one repeats none."""
    found: list[Item] = []
    at = len(live) - 1
    for copy in reversed(copies):
        while at >= 0 and live[at].key != copy.key:
            at -= 1
        if at < 0:
            return None
        found.append(live[at])
        at -= 1
    return found[::-1]


def _take_over(originals: list[Item], copies: list[Item]) -> None:
    """Copies are what later rewinds and reactions act on."""
    for original, copy in zip(originals, copies, strict=True):
        original.undone = copy.undone
        original.reactions += [reaction for reaction in copy.reactions if reaction not in original.reactions]
