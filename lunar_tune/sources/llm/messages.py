"""One message of llm's newer tables: its parts put together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lunar_tune.episodes import Attachment, Role, ToolCall
from lunar_tune.sources.core import cells
from lunar_tune.sources.core.conversation import Conversation


class Part:
    """A part as it stands in its row (id, type, tool, text, payload); the texts of its fragments are added to it."""

    __slots__ = ("_text", "body", "files", "kind", "number", "payload", "texts", "tool", "unreadable")

    def __init__(self, row: Sequence[Any], files: Sequence[Attachment]) -> None:
        self.number, self.kind, self.tool, self._text, self.payload = row
        self.files = files
        self.texts: Mapping[Any, Any] = {}  # of the fragments, by id
        body: Any = {}
        if self.payload is not None:
            try:
                body = cells.parse_json(self.payload)
            except ValueError:
                body = None
        self.unreadable = not isinstance(body, dict)
        self.body: dict[str, Any] = body if isinstance(body, dict) else {}

    def fragments(self) -> Iterator[int]:
        """Yield the ids of the fragments in the text."""
        refs = self.body.get("text_ref")
        for ref in refs if isinstance(refs, list) else ():
            if isinstance(ref, dict) and isinstance(ref.get("fragment"), int):
                yield ref["fragment"]

    def text(self) -> tuple[str, bool]:
        """Return (text, whether all of it is there); what was shared or long stands in fragments."""
        refs = self.body.get("text_ref")
        if not isinstance(refs, list):
            own = cells.text(self._text)
            return own or "", own is not None or self._text is None
        joined = [_piece(ref, self.texts) for ref in refs]
        return "".join(piece or "" for piece in joined), None not in joined


def _piece(ref: Any, texts: Mapping[Any, Any]) -> str | None:
    if not isinstance(ref, dict):
        return None
    found = ref.get("literal")
    if found is None and isinstance(ref.get("fragment"), int):
        found = texts.get(ref["fragment"])
    return cells.text(found) if isinstance(found, (str, bytes)) else None


def say(talk: Conversation, role: Any, parts: Sequence[Part], key: Any, at: Any, model: Any) -> None:
    """Add a message; a result within an answer ends what was said before it, for the provider ran the tool there."""
    if role not in ("user", "assistant", "system", "tool"):
        talk.lost("a message of unknown role", f"messages.hash={key}")
        return
    said = _Said(talk, role, at, model)
    for part in parts:
        said.take(part)
    said.end()


class _Said:
    """A message while its parts are read."""

    def __init__(self, talk: Conversation, role: Any, at: Any, model: Any) -> None:
        self.talk, self.role, self.at, self.model = talk, role, at, model
        self.texts: list[str] = []
        self.thoughts: list[str] = []
        self.calls: list[ToolCall] = []
        self.files: list[Attachment] = []
        self.results = 0

    def take(self, part: Part) -> None:
        """Add a part."""
        if part.unreadable:
            self.talk.lost("unreadable part", f"parts.id={part.number}")
        if part.kind in ("text", "reasoning"):
            text, whole = part.text()
            if not whole:
                self.talk.lost("text that is not there", f"parts.id={part.number}")
            (self.texts if part.kind == "text" else self.thoughts).append(text)
        elif part.kind == "tool_call":
            # what cannot be read keeps its text
            arguments = cells.text(part.payload) if part.unreadable else part.body.get("arguments")
            self.calls.append(cells.call(part.body.get("name") or part.tool, arguments, part.body.get("tool_call_id")))
        elif part.kind == "tool_result":
            if self.role == "assistant":
                self._say()
            self._result(part)
        elif part.kind == "attachment":
            self.files += part.files
        else:
            self.talk.lost("a part of unknown type", f"parts.id={part.number}")

    def end(self) -> None:
        """Say what is left; a message of results alone has been said."""
        if self.results and not (self.texts or self.files or self.calls or self.thoughts):
            return
        if self.role == "tool":
            self.talk.result(self._joined(self.texts), at=self.at, attachments=self.files)
        else:
            self._say()

    def _say(self) -> None:
        if self.role == "assistant":
            if self.results and not (self.texts or self.thoughts or self.calls or self.files):
                return  # a second result of the same answer
            self.talk.say(
                "assistant",
                self._joined(self.texts),
                at=self.at,
                model=self.model,
                reasoning=self._joined(self.thoughts),
                attachments=self.files,
                calls=self.calls,
            )
        else:
            role: Role = "system" if self.role == "system" else "user"
            self.talk.say(role, self._joined(self.texts), at=self.at, attachments=self.files)
        self.texts, self.thoughts, self.calls, self.files = [], [], [], []

    def _result(self, part: Part) -> None:
        self.results += 1
        output = part.body.get("output")
        self.talk.result(
            output if isinstance(output, str) else "" if output is None else cells.dump(output),
            call_id=part.body.get("tool_call_id"),
            name=part.body.get("name") or part.tool,
            at=self.at,
            error=cells.text(part.body.get("exception")),
            attachments=part.files,
        )

    @staticmethod
    def _joined(texts: Sequence[str]) -> str:
        return "\n".join(text for text in texts if text)
