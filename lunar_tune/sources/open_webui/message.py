"""One message of an Open WebUI chat, from the chat's JSON or from a row, as what was said in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lunar_tune.episodes import Attachment, Finish, Role
from lunar_tune.sources.core import cells
from lunar_tune.sources.core.conversation import Conversation, joined_text
from lunar_tune.sources.open_webui.answer import Result, Turn, attachments, read
from lunar_tune.sources.open_webui.settings import Judgement, judgement

ROLES: dict[str, Role] = {"user": "user", "assistant": "assistant", "system": "system"}


class Node:
    """A message with what the JSON and its row say, by the JSON's names; `problem` is what of it could not."""

    __slots__ = ("key", "place", "problem", "said")

    def __init__(self, key: str, said: dict[str, Any], place: str) -> None:
        self.key, self.said, self.place = key, said, place
        self.problem: str | None = None

    @property
    def role(self) -> Any:
        """The role as the log has it."""
        return self.said.get("role")

    @property
    def model(self) -> str:
        """The model that answered, "" where none is named."""
        value = self.said.get("model")
        return value if isinstance(value, str) else ""

    @property
    def judged(self) -> tuple[Judgement, ...]:
        """What the message itself keeps of its rating."""
        return judgement(self.said["annotation"]) if "annotation" in self.said else ()

    @property
    def moment(self) -> str:
        """The time for comparing, "" where there is none."""
        return (cells.timestamp(self.said.get("timestamp")) or "").rstrip("Z")

    def say(self, conversation: Conversation, report: Callable[[str, str], None]) -> int | None:
        """Add the message to a conversation and return the index that judgements of it belong to."""
        said = self.said
        if said.get("contextSummary"):
            report("a compaction summary", self.place)
        if said.get("merged"):
            report("an answer merged from those of several models", self.place)
        role = said.get("role")
        known = ROLES.get(role) if isinstance(role, str) else None
        if known is None:
            report("a message of unknown role", self.place)
            return None
        content = said.get("content")
        text, files = (content, ()) if isinstance(content, str) else _text(content)
        if said.get("files"):
            files = (*files, *attachments(said["files"]))
        if known == "assistant":
            return self._answer(conversation, text, files, report)
        return conversation.say(known, text, at=said.get("timestamp"), attachments=files)

    def _answer(
        self,
        conversation: Conversation,
        content: str,
        files: tuple[Attachment, ...],
        report: Callable[[str, str], None],
    ) -> int | None:
        said, at = self.said, self.said.get("timestamp")
        error = _error(said["error"]) if said.get("error") else None
        if error is None and said.get("error") is True:
            content, error = "", content or "the app reported an error"
        error = error or self.problem
        ended: Finish | None = "error" if error else "cancelled" if said.get("done") in (False, 0) else None
        if not said.get("output") and "<" not in content:  # most answers: a text and nothing else
            text = content.strip()
            return conversation.say(
                "assistant", text, at=at, model=self.model, error=error, ended=ended, attachments=files
            )
        steps = read(said.get("output"), content, lambda reason: report(reason, self.place)).steps
        if not steps or (ended and isinstance(steps[-1], Result)):
            steps.append(Turn())  # what ended there was the answer to the result, not the call
        index, last = None, len(steps) - 1
        for number, step in enumerate(steps):
            if isinstance(step, Result):
                conversation.result(
                    step.content, call_id=step.call_id, name=step.name, at=at, error=step.error, attachments=step.files
                )
                continue
            final = number == last
            index = conversation.say(
                "assistant",
                "\n".join(step.texts),
                at=at,
                model=self.model,
                error=error if final else None,
                ended=ended if final else None,
                reasoning="\n".join(step.thoughts),
                attachments=files if final else (),
                calls=step.calls,
            )
        return index


def parent(said: dict[str, Any]) -> str | None:
    """Return the message that one answers."""
    value = said.get("parentId")
    return str(value) if isinstance(value, (str, int)) and value not in ("", 0) else None


def _text(content: Any) -> tuple[str, tuple[Attachment, ...]]:
    """Return the text and the pictures of a message's content that is no text, most often a list of blocks."""
    if isinstance(content, list):
        others = [b for b in content if isinstance(b, dict) and not isinstance(b.get("text"), str)]
        kinds = [b["type"].removesuffix("_url") if isinstance(b.get("type"), str) else "file" for b in others]
        return joined_text(content, ("text",)), tuple(Attachment(type=kind) for kind in kinds)
    return ("" if content is None else cells.dump(content)), ()


def _error(value: Any) -> str | None:
    """Return what an error says; None for none, and for the older bare `true`."""
    if isinstance(value, dict):
        value = next((value[key] for key in ("content", "message", "detail") if value.get(key)), value or None)
    if isinstance(value, bool) or value in (None, ""):
        return None
    return value if isinstance(value, str) else cells.dump(value)
