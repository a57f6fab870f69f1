"""Langflow's langflow.db: messages of flows; a conversation is a session of a flow, or a context within one.

An agent's steps stand in `content_blocks` of its answer, in groups or (since 1.11) one after the other: its uses of
tools become calls and results before it, one turn each, since which were made together is not stored. Texts in a group
repeat question and answer; texts between tools are what was said with the next call. `error` marks an answer whose text
is the failure; `state` "partial" one that was cut. A text that somebody edited is an "annotation".
"""

from __future__ import annotations

import mimetypes
import os
import sqlite3
import zlib
from array import array
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from lunar_tune.artefacts import Verdict
from lunar_tune.episodes import Attachment, Episode, Role
from lunar_tune.seams import Report
from lunar_tune.sources import base
from lunar_tune.sources.core import cells, keyed
from lunar_tune.sources.core.conversation import Conversation, joined_text

KEY = ("flow_id", "session_id", "context_id")
MESSAGE = (
    "id", "timestamp", "sender", "text", "files", "error", "edit", "properties", "category", "content_blocks",
)  # fmt: skip
EDITED = ("error", "edit", "category", "properties")  # what changes in place, small enough to look at
ROLES: dict[str, Role] = {"User": "user", "Machine": "assistant", "System": "system"}
COPIED = ("media", "json", "code", "usage", "citation")  # steps that show what the answer or a result says
FILES = ("image", "audio", "video", "file")


class LangflowSource:
    """Reads the table of messages alone; flows, variables and keys stay closed."""

    name = "langflow"
    lacks = "system prompts, tool schemas, finish reasons"

    def places(self) -> list[Path]:
        """Return where the server's settings put its database, else its cache folder."""
        import platformdirs

        address = os.environ.get("LANGFLOW_DATABASE_URL", "")
        found = [Path(address.removeprefix("sqlite:///"))] if address.startswith("sqlite:///") else []
        folder = os.environ.get("LANGFLOW_CONFIG_DIR") or platformdirs.user_cache_dir("langflow", "langflow")
        return [*found, Path(folder) / "langflow.db"]

    def recognises(self, db: sqlite3.Connection) -> bool:
        """Tell from the tables alone whether this is the format."""
        return base.has(db, "message", "id", "sender", "sender_name", "session_id", "text")

    def threads(self, db: sqlite3.Connection) -> Iterator[tuple[str, str]]:
        """Yield each session with its messages' number, flags and properties, where thumbs and edits are kept.

        A text that is edited a second time is not seen: the table has no time of change.
        """
        counts = keyed.counts(db, "message", KEY)
        newest = keyed.rows(db, "message", ("id",), [last for _, last in counts.values()])
        sums: dict[str, int] = {}
        picked = f"{base.picked(db, 'message', KEY)}, {base.picked(db, 'message', EDITED)}"
        for flow, session, context, *edited in db.execute(f"SELECT {picked} FROM message ORDER BY rowid"):
            thread = _thread((flow, session, context))
            sums[thread] = zlib.crc32(repr(edited).encode("utf-8", "replace"), sums.get(thread, 0))
        found: dict[str, list[Any]] = {}
        for (key, state), (message,) in zip(counts.items(), newest, strict=True):
            found.setdefault(_thread(key), []).append((key, state, message))
        for thread, states in found.items():
            if thread:
                yield thread, base.stamp(states, sums[thread])

    def read(
        self, db: sqlite3.Connection, path: Path, report: Report, only: Collection[str] | None = None
    ) -> Iterator[Episode]:
        """Yield the sessions in the order of their start."""
        keys = None if only is None else {key for key in keyed.counts(db, "message", KEY) if _thread(key) in only}
        sessions: dict[str, array[int]] = {}
        for key, rowids in keyed.conversations(db, "message", KEY, "timestamp", keys).items():
            sessions.setdefault(_thread(key), array("q")).extend(rowids)
        for thread, rowids in sessions.items():
            if not thread:
                for (message,) in keyed.rows(db, "message", ("id",), rowids):
                    report(Verdict("", "read", "a message of no session", f"message.id={keyed.name(message)}"))
                continue
            conversation = Conversation("langflow", path, thread, report)
            for row in keyed.rows(db, "message", MESSAGE, rowids):
                _take(conversation, row)
            episode = conversation.episode()
            if episode is not None:
                yield episode


def _thread(key: Sequence[Any]) -> str:
    """Return a session's name; the playground's own session is named like its flow."""
    return "/".join(dict.fromkeys(keyed.name(part) for part in key if part))


def _take(conversation: Conversation, row: tuple[Any, ...]) -> None:
    message, at, sender, content, files, error, edit, properties, category, blocks = row
    key = keyed.name(message)
    said = cells.text(content)
    if said is None and content is not None:
        conversation.lost("content that is no text", f"message.text={key}")
    role = ROLES.get(str(sender))
    if role is None:
        conversation.lost("a message of unknown role", f"message.id={key}")
        return
    said = said or ""
    shown = cells.mapping(_json(conversation, properties, "properties", key))
    attached = _files(_json(conversation, files, "files", key))
    if role != "assistant":
        index = conversation.say(role, said, at=at, attachments=attached)
    else:
        source = shown.get("source")
        model = source.get("source") if isinstance(source, dict) else source
        model = model if isinstance(model, str) else None
        steps = _Steps(conversation, at, model, key)
        rest = steps.take(_json(conversation, blocks, "content_blocks", key), said)
        failed = error in (1, "1", "true") or category == "error"
        text, thought = cells.split_thinking("" if failed else rest)
        index = conversation.say(
            "assistant",
            text,
            at=at,
            model=model,
            error=(said or steps.failure or "the flow reported an error") if failed else None,
            ended="cancelled" if shown.get("state") == "partial" and not failed else None,
            reasoning="\n".join(part for part in (*steps.thoughts, thought) if part) or None,
            attachments=(*attached, *steps.files),
        )
    if edit in (1, "1", "true") or shown.get("edited") is True:
        conversation.judge("annotation", "edited", index, "by the user")
    liked = next((shown[k] for k in ("positive_feedback", "good_answer") if isinstance(shown.get(k), bool)), None)
    if liked is not None:
        conversation.judge("rating", 1.0 if liked else -1.0, index)


@dataclass(slots=True)
class _Steps:
    """The steps of an answer while they are read: uses of tools are said at once, the rest is kept for the answer."""

    conversation: Conversation
    at: Any
    model: str | None
    key: str
    failure: str | None = None
    thoughts: list[str] = field(default_factory=list)
    files: list[Attachment] = field(default_factory=list)

    def take(self, blocks: Any, said: str) -> str:
        """Take the blocks of an answer; return its text less what was said before its tools."""
        steps = [_document(block) for block in blocks] if isinstance(blocks, list) else []
        texts = [step["text"] for step in steps if step.get("type") == "text" and isinstance(step.get("text"), str)]
        told = "".join(texts) == said  # else the texts are copies
        before = ""
        for step in steps:
            kind = step.get("type")
            if kind == "text":
                before += step["text"] if isinstance(step.get("text"), str) else ""
            elif kind == "tool_use" and told:
                before = self._step(step, before)
            elif kind == "group" or (kind is None and "contents" in step):
                contents = step.get("contents")
                for inner in contents if isinstance(contents, list) else ():
                    self._step(_document(inner), "")
            else:
                self._step(step, "")
        return before if told else said

    def _step(self, step: dict[str, Any], before: str) -> str:
        """Take a step; return what of the text before it is still to be said."""
        kind, name = step.get("type"), step.get("name")
        if kind == "tool_use" and isinstance(name, str) and name:
            self._used(name, step, before)
            return ""
        if kind == "error":
            reason = step.get("reason")
            self.failure = reason if isinstance(reason, str) else self.failure
        elif kind == "reasoning" and isinstance(step.get("text"), str):
            self.thoughts.append(step["text"])
        elif kind in FILES:
            self.files += _media(step)
        elif kind == "human_input":
            self._lost("a request for a decision")
        elif kind != "text" and kind not in COPIED:
            self._lost("a step of unknown type")
        return before

    def _used(self, name: str, step: dict[str, Any], before: str) -> None:
        given = next((step[k] for k in ("tool_input", "input") if step.get(k) is not None), None)
        call = cells.call(name, given, step.get("id") if isinstance(step.get("id"), str) else None)
        thought, self.thoughts = "\n".join(self.thoughts), []
        self.conversation.say("assistant", before, calls=[call], at=self.at, model=self.model, reasoning=thought)
        output, error = step.get("output"), step.get("error")
        shown = [_document(part) for part in step["contents"]] if isinstance(step.get("contents"), list) else []
        if output is None and not error and not shown:
            return  # the run ended before the tool did
        content = output if isinstance(output, str) else joined_text(shown) if output is None else cells.dump(output)
        failed = (error if isinstance(error, str) else cells.dump(error)) if error else None
        files = [file for part in shown if part.get("type") in FILES for file in _media(part)]
        self.conversation.result(content, call_id=call.id, name=name, at=self.at, error=failed, attachments=files)

    def _lost(self, reason: str) -> None:
        self.conversation.lost(reason, f"message.content_blocks={self.key}")


def _document(value: Any) -> dict[str, Any]:
    """Return an object, which may be stored as its JSON text; an empty one for what is none."""
    if isinstance(value, str):
        try:
            value = cells.parse_json(value)
        except ValueError:
            return {}
    return cells.mapping(value)


def _json(conversation: Conversation, cell: Any, column: str, key: str) -> Any:
    if cell in (None, "", "null"):
        return None
    try:
        value = cells.parse_json(cell)
        return cells.parse_json(value) if isinstance(value, str) and value else value  # some are encoded twice
    except ValueError:
        conversation.lost(f"unreadable {column}", f"message.{column}={key}")
        return None


def _files(values: Any) -> list[Attachment]:
    """Return attached files by name; the log holds their paths, or objects with one."""
    found = []
    for value in values if isinstance(values, list) else ():
        path = value if isinstance(value, str) else cells.mapping(value).get("path")
        found.append(_file(path, None, "file"))
    return found


def _media(step: dict[str, Any]) -> list[Attachment]:
    """Return the files that a block shows."""
    urls = [url for url in step["urls"] if isinstance(url, str)] if isinstance(step.get("urls"), list) else []
    name = step.get("filename")
    return [_file(name or url, step.get("mime_type"), str(step["type"])) for url in urls or [""]]


def _file(path: Any, kind: Any, otherwise: str) -> Attachment:
    path = path.partition("?")[0] if isinstance(path, str) and not path.startswith("data:") else ""
    name = PurePosixPath(path.replace("\\", "/")).name
    known = kind if isinstance(kind, str) and kind else mimetypes.guess_type(name)[0]
    return Attachment(type=known or otherwise, name=name)
