"""What every reader builds an episode with: messages in order, calls beside their results, ratings, and what was lost.

A reader says what stands in its log; this class gives it the canonical shape: the prompt at the start becomes `system`,
calls and results get ids and are paired, failed results become signals, times become ISO-8601 UTC.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lunar_tune.artefacts import Verdict
from lunar_tune.episodes import Attachment, Episode, Finish, Message, Role, Signal, SignalKind, ToolCall, ToolSpec
from lunar_tune.seams import Report
from lunar_tune.sources.core import cells

FINISHES: dict[str, Finish] = {
    "stop": "stop",
    "end_turn": "stop",
    "tool_use": "stop",
    "tool_calls": "stop",
    "length": "length",
    "max_tokens": "length",
    "cancelled": "cancelled",
    "canceled": "cancelled",
    "interrupted": "cancelled",
    "error": "error",
    "failed": "error",
}


def finish(word: Any) -> Finish | None:
    """Return how an answer ended, from the word a provider or an agent wrote; None for a word that says nothing."""
    return FINISHES.get(str(word).strip().lower().replace("-", "_")) if isinstance(word, str) else None


@dataclass(slots=True)
class Conversation:
    """One conversation while it is read; `episode` ends it."""

    source: str
    path: Path
    thread: str
    report: Report
    system: str | None = None
    model: str | None = None
    started_at: str | None = None
    group: str | None = None
    tools: dict[str, ToolSpec] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)
    signals: list[Signal] = field(default_factory=list)

    def lost(self, reason: str, place: str) -> None:
        """Report something that could not be read; `place` is table.column=key, never text of the log."""
        self.report(Verdict(self.thread, "read", reason, place))

    def say(
        self,
        role: Role,
        content: str = "",
        *,
        at: Any = None,
        model: Any = None,
        error: str | None = None,
        ended: Finish | None = None,
        reasoning: str | None = None,
        attachments: Iterable[Attachment] = (),
        calls: Iterable[ToolCall] = (),
    ) -> int | None:
        """Add a message and return its index; None when it is the prompt at the start, which is the episode's.

        `at` is a time in any unit or form. An assistant's `error` without `ended` means that it ended in error.
        """
        if role == "system" and not self.messages and self.system in (None, "", content):
            self.system = content or self.system
            return None
        self.messages.append(
            Message(
                role=role,
                content=content,
                created_at=None if at is None else cells.timestamp(at),
                model=cells.text(model) or None if model else None,
                error=error or None,
                finish=ended or ("error" if error and role == "assistant" else None),
                reasoning=reasoning or None,
                attachments=tuple(attachments) if attachments else (),
                tool_calls=tuple(calls) if calls else (),
            )
        )
        return len(self.messages) - 1

    def call(self, call: ToolCall, **said: Any) -> int:
        """Add a call to the assistant's turn that is going on, or as a new turn; return the message's index.

        A turn goes on until a result or the user comes; `said` is as for `say`.
        """
        if self.messages and self.messages[-1].role == "assistant" and self.messages[-1].finish in (None, "stop"):
            last = self.messages[-1]
            self.messages[-1] = replace(last, tool_calls=(*last.tool_calls, call))
        else:
            self.say("assistant", calls=(call,), **said)
        return len(self.messages) - 1

    def result(
        self,
        content: str,
        *,
        call_id: Any = None,
        name: Any = None,
        at: Any = None,
        error: str | None = None,
        attachments: Iterable[Attachment] = (),
    ) -> int:
        """Add a tool's result and return its index; a failure is also a signal."""
        self.messages.append(
            Message(
                role="tool",
                content=content,
                created_at=cells.timestamp(at),
                error=error or None,
                attachments=tuple(attachments),
                tool_call_id=cells.text(call_id) or None,
                name=cells.text(name) or None,
            )
        )
        index = len(self.messages) - 1
        if error or cells.says_error(content):
            self.signals.append(Signal(kind="tool_error", message=index))
        return index

    def offer(self, specs: Iterable[ToolSpec]) -> None:
        """Add tools that were offered; a later schema of the same name replaces the earlier."""
        self.tools.update((spec.name, spec) for spec in specs)

    def judge(
        self, kind: SignalKind, value: float | str | None = None, message: int | None = None, note: str | None = None
    ) -> None:
        """Add what somebody thought of a message, or of the whole conversation."""
        self.signals.append(Signal(kind=kind, value=value, message=message, note=note or None))

    def branch(self, thread: str) -> Conversation:
        """Return a conversation that goes on from here under another id; what follows in one is not in the other."""
        return replace(self, thread=thread, messages=[*self.messages], signals=[*self.signals], tools=dict(self.tools))

    def last(self, role: Role) -> int | None:
        """Return the index of the newest message of a role."""
        return next((n for n in range(len(self.messages) - 1, -1, -1) if self.messages[n].role == role), None)

    def episode(self) -> Episode | None:
        """Return the episode; None, reported, when nothing was said in it."""
        if not self.messages:
            self.lost("a conversation without messages", "")
            return None
        messages = cells.pair_calls(self.messages)
        return Episode(
            source=self.source,
            path=str(self.path),
            thread=self.thread,
            started_at=cells.timestamp(self.started_at) or next((m.created_at for m in messages if m.created_at), None),
            model=cells.text(self.model) or next((m.model for m in messages if m.model), None),
            system=self.system or None,
            tools=tuple(self.tools.values()),
            messages=tuple(messages),
            signals=tuple(sorted(self.signals, key=_place)) if self.signals else (),
            group=self.group,
        )


def _place(signal: Signal) -> int:
    return -1 if signal.message is None else signal.message


def joined_text(parts: Sequence[Any], keys: Sequence[str] = ("text", "content")) -> str:
    """Return the texts of a list of content blocks, a newline between; blocks without text are left to the caller."""
    texts = []
    for part in parts:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict):
            found = next((part[key] for key in keys if isinstance(part.get(key), str)), None)
            if found is not None:
                texts.append(found)
    return "\n".join(texts)
