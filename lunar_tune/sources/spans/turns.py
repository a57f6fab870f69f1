"""One turn of a recorded call while its parts are read."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lunar_tune.episodes import Attachment, Finish, Message, Role, ToolCall
from lunar_tune.sources.core import cells


class Turn:
    """One message while its parts are read."""

    def __init__(
        self,
        role: Role,
        *,
        texts: list[str] | None = None,
        finish: Finish | None = None,
        model: str | None = None,
        was_split: bool = False,
    ) -> None:
        self.role, self.finish, self.model, self.was_split = role, finish, model, was_split
        self.texts = texts or []
        self.reasons: list[str] = []
        self.calls: list[ToolCall] = []
        self.files: list[Attachment] = []
        self.call_id: Any = None
        self.name: Any = None
        self.failed = False

    def said(self) -> bool:
        """Tell whether the turn holds anything; an answer may be cut before its first word."""
        cut = self.role == "assistant" and self.finish not in (None, "stop")
        return bool(any(self.texts) or any(self.reasons) or self.calls or self.files or cut)

    def split(self) -> Turn:
        """Return what was said so far as its own turn, and begin anew."""
        before = Turn(self.role, texts=self.texts, model=self.model, was_split=True)
        before.reasons, before.calls, before.files = self.reasons, self.calls, self.files
        self.texts, self.reasons, self.calls, self.files, self.was_split = [], [], [], [], True
        return before

    def message(self) -> Message:
        """Return the turn as a message."""
        content = cells.text("\n".join(self.texts)) or ""
        thought = None
        if self.role == "assistant":
            content, thought = cells.split_thinking(content)
        return Message(
            role=self.role,
            content=content,
            model=self.model,
            finish=self.finish if self.role == "assistant" else None,
            reasoning=cells.text("\n".join(reason for reason in (*self.reasons, thought) if reason)) or None,
            attachments=tuple(self.files),
            tool_calls=tuple(self.calls),
        )


def joined(earlier: Message, later: Message) -> Message:
    """Return two messages as the one turn that they are."""
    return replace(
        later,
        content="\n".join(part for part in (earlier.content, later.content) if part),
        reasoning="\n".join(part for part in (earlier.reasoning, later.reasoning) if part) or None,
        tool_calls=(*earlier.tool_calls, *later.tool_calls),
        attachments=(*earlier.attachments, *later.attachments),
        model=later.model or earlier.model,
        finish=later.finish or earlier.finish,
        error=earlier.error or later.error,
    )
