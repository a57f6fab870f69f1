"""Mastra's memory in LibSQL: `mastra_threads` and `mastra_messages`, in whatever file the store was given.

Messages are read in the shape of `format: 2` (parts as the AI SDK's UI messages have them), in the older shape of a
text or a list of the AI SDK's core parts, and with the `tool-<name>` parts of newer SDKs. One row can hold several
steps of an answer with their calls and results; each step becomes an answer and its results. JSON may be text or
SQLite's binary JSON. What a person sent to a running agent is a `signal` of type `user`; other signals and reminders
are the app's own. Judgements in `mastra_scorers` that name a thread are annotations of the whole conversation; a
clone is of the group of the thread it was made from.
"""

from __future__ import annotations

import math
import sqlite3
from array import array
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lunar_tune.artefacts import Verdict
from lunar_tune.episodes import Attachment, Episode, Role, ToolCall
from lunar_tune.seams import Report
from lunar_tune.sources import base
from lunar_tune.sources.core import cells, forks, jsonb, keyed
from lunar_tune.sources.core.blocks import FAILED, Blocks, attachment, read_blocks, result_text
from lunar_tune.sources.core.conversation import Conversation

THREAD = ("id", "metadata", "createdAt", "updatedAt")
MESSAGE = ("id", "role", "type", "content", "createdAt")
SCORE = ("threadId", "scorerId", "score", "reason")
SENT = ("user", "user-message")  # signals that are what a person said
REMINDERS = ("systemReminder", "dynamicAgentsMdReminder")
NO_PART = ("source", "source-url", "source-document")  # citations repeat what the text says


class MastraSource:
    """Reads a thread a conversation."""

    name = "mastra"
    lacks = "the system prompt, tool schemas and users' ratings"

    def recognises(self, db: sqlite3.Connection) -> bool:
        """Tell from the table alone whether this is the format."""
        return base.has(db, "mastra_messages", "id", "thread_id", "content", "role")

    def threads(self, db: sqlite3.Connection) -> Iterator[tuple[str, str]]:
        """Yield each thread with its messages' number, the last one, its own time of change, its root and its scores.

        Mastra moves a thread's time of change with every message that is added, edited or deleted.
        """
        found: dict[str, list[Any]] = {}
        known = _threads(db)
        families = _families(known)
        for name, thread in known.items():
            found[name] = [thread.updated, families.get(name)]
        counts = keyed.counts(db, "mastra_messages", ("thread_id",))
        newest = keyed.rows(db, "mastra_messages", ("id",), [last for _, last in counts.values()])
        for ((key,), state), (message,) in zip(counts.items(), newest, strict=True):
            if key is not None:
                found.setdefault(keyed.name(key), []).append((state, message))
        for key, *judged in _scored(db):
            if keyed.name(key) in found:
                found[keyed.name(key)].append(judged)
        for name, states in found.items():
            yield name, base.stamp(states)

    def read(
        self, db: sqlite3.Connection, path: Path, report: Report, only: Collection[str] | None = None
    ) -> Iterator[Episode]:
        """Yield the threads in the order of their first message."""
        known = _threads(db)
        families = _families(known)
        for name, thread in known.items():
            if thread.broken and (only is None or name in only):
                report(Verdict(name, "read", "unreadable metadata", f"mastra_threads.metadata={name}"))
        scores = _scores(db, report, only)
        seen = set()
        for name, rowids in _rows(db, only).items():
            rows = keyed.rows(db, "mastra_messages", MESSAGE, rowids)
            if not name:
                for message, *_ in rows:
                    place = f"mastra_messages.id={keyed.name(message)}"
                    report(Verdict("", "read", "a message of no conversation", place))
                continue
            seen.add(name)
            said = Conversation(self.name, path, name, report, group=families.get(name))
            for message, role, kind, content, created in rows:
                _message(_Row(said, f"mastra_messages.content={keyed.name(message)}", role, kind, created), content)
            for scorer, score, reason in scores.pop(name, ()):
                said.judge("annotation", score, note=f"judge {scorer}{': ' if reason else ''}{reason or ''}")
            episode = said.episode()
            if episode is not None:
                yield episode
        for name in known:
            if name not in seen and (only is None or name in only):
                report(Verdict(name, "read", "a conversation without messages"))
        for name in scores if only is None else ():
            report(Verdict(name, "read", "a score of a conversation that is gone"))


def _rows(db: sqlite3.Connection, only: Collection[str] | None) -> dict[str, array[int]]:
    """Return the rows of the threads wanted, in the order of time; those of no thread are under ""."""
    keys = None
    if only is not None:
        counts = keyed.counts(db, "mastra_messages", ("thread_id",))
        keys = {key for key in counts if key[0] is not None and keyed.name(key[0]) in only}
    found: dict[str, array[int]] = {}
    for (key,), rowids in keyed.conversations(db, "mastra_messages", ("thread_id",), "createdAt", keys).items():
        found.setdefault("" if key is None else keyed.name(key), array("q")).extend(rowids)
    return found


@dataclass(frozen=True, slots=True)
class _Thread:
    """What its own row says of a thread; `cloned` names the one that it was made from."""

    updated: Any
    cloned: str | None = None
    broken: bool = False


def _threads(db: sqlite3.Connection) -> dict[str, _Thread]:
    """Return the threads that have a row."""
    found: dict[str, _Thread] = {}
    if not base.has(db, "mastra_threads", "id"):
        return found
    for thread, metadata, created, updated in db.execute(
        f"SELECT {base.picked(db, 'mastra_threads', THREAD)} FROM mastra_threads ORDER BY rowid"
    ):
        if thread is None:
            continue
        source, broken = None, False
        if metadata not in (None, "", b""):
            try:
                source = cells.mapping(cells.mapping(_json(metadata)).get("clone")).get("sourceThreadId")
            except ValueError:
                broken = True
        cloned = source if isinstance(source, str) and source else None
        found.setdefault(keyed.name(thread), _Thread((created, updated), cloned, broken))
    return found


def _families(known: dict[str, _Thread]) -> dict[str, str]:
    """Return the thread that each family of clones began with, by member."""
    cloned = {name: thread.cloned for name, thread in known.items() if thread.cloned is not None}
    return {name: forks.root(name, cloned) for pair in cloned.items() for name in pair}


def _scored(db: sqlite3.Connection) -> Iterator[tuple[Any, ...]]:
    """Yield each thread with the number of its scores, the last one, their sum and their newest change."""
    if base.has(db, "mastra_scorers", "threadId", "score"):
        updated = "max(updatedAt)" if "updatedAt" in base.columns(db, "mastra_scorers") else "NULL"
        yield from db.execute(
            f"SELECT threadId, count(*), max(rowid), total(score), {updated} FROM mastra_scorers"
            " WHERE threadId IS NOT NULL GROUP BY threadId"
        )


Scores = dict[str, list[tuple[str, float, str | None]]]  # thread -> (judge, score, reason)


def _scores(db: sqlite3.Connection, report: Report, only: Collection[str] | None) -> Scores:
    found: Scores = {}
    if not base.has(db, "mastra_scorers", "threadId", "score"):
        return found
    query = f"SELECT rowid, {base.picked(db, 'mastra_scorers', SCORE)} FROM mastra_scorers ORDER BY rowid"
    for rowid, thread, scorer, score, reason in db.execute(query):
        if thread is None or (only is not None and keyed.name(thread) not in only):
            continue
        if not isinstance(score, (int, float)) or not math.isfinite(score):
            where = f"mastra_scorers.rowid={rowid}"
            report(Verdict(keyed.name(thread), "read", "a score that is no number", where))
            continue
        judged = (cells.text(scorer) or "unknown", float(score), cells.text(reason))
        found.setdefault(keyed.name(thread), []).append(judged)
    return found


def _json(cell: Any) -> Any:
    """Return the JSON in a cell, be it text or SQLite's binary JSON.

    Raises:
        ValueError: it is neither.
    """
    try:
        return cells.parse_json(cell)
    except ValueError:
        if not isinstance(cell, bytes):
            raise
    return jsonb.loads(cell)


class _Row:
    """One row of messages while it is read; `flush` ends a step of an answer."""

    def __init__(self, said: Conversation, place: str, role: Any, kind: Any, created: Any) -> None:
        self.said, self.place, self.role, self.kind, self.created = said, place, role, kind, created
        self.model: str | None = None
        self.clear()

    def clear(self) -> None:
        self.texts: list[str] = []
        self.thoughts: list[str] = []
        self.calls: list[ToolCall] = []
        self.files: list[Attachment] = []
        self.results: list[dict[str, Any]] = []
        self.error: str | None = None

    def flush(self) -> None:
        """Say what there is: a step of an answer, or a message of the user or the app."""
        if self.role == "assistant":
            if self.texts or self.thoughts or self.calls or self.files or self.error:
                self.said.say(
                    "assistant",
                    "\n".join(self.texts),
                    at=self.created,
                    model=self.model,
                    error=self.error,
                    reasoning="\n".join(self.thoughts),
                    attachments=self.files,
                    calls=self.calls,
                )
        elif self.role != "tool" and (self.texts or self.files):
            role: Role = "user" if self.role == "user" else "system"
            self.said.say(role, "\n".join(self.texts), at=self.created, attachments=self.files)
        elif self.texts and not self.results:
            self.said.result("\n".join(self.texts), at=self.created)
        for result in self.results:
            self.said.result(**result, at=self.created)
        self.clear()

    def lost(self, reason: str) -> None:
        self.said.lost(reason, self.place)


def _message(row: _Row, content: Any) -> None:
    if row.role not in ("user", "assistant", "system", "tool", "signal"):
        row.lost("a message of unknown role")
        return
    try:
        document = _json(content)
    except ValueError:
        document = cells.text(content)  # the oldest rows hold plain text
        if document is None or document.lstrip().startswith(("{", "[")):
            row.lost("unreadable content")
            return
    if (reason := _scaffolding(row, document)) is not None:
        row.lost(reason)
        return
    if isinstance(document, dict) and ("parts" in document or "content" in document):
        _parts(row, document)
    elif isinstance(document, list) and any(isinstance(part, dict) and "type" in part for part in document):
        blocks = read_blocks(document)
        if blocks.other:
            row.lost("a part of unknown type")
        _take(row, blocks)
    else:
        row.texts.append(document if isinstance(document, str) else cells.text(content) or "")
    row.flush()


def _scaffolding(row: _Row, document: Any) -> str | None:
    """Return what a message is if it is the app's own; a signal of a person becomes the person's message."""
    body = cells.mapping(document)
    metadata = cells.mapping(body.get("metadata"))
    if row.role == "signal":
        kind = cells.mapping(metadata.get("signal")).get("type")
        if (kind if isinstance(kind, str) else row.kind) not in SENT:
            return "a signal of the app"
        row.role = "user"
    elif row.role == "user":
        parts = body.get("parts")
        first = (
            next((p for p in parts if cells.mapping(p).get("type") == "text"), None)
            if isinstance(parts, list)
            else None
        )
        text = cells.mapping(first).get("text")
        if any(key in metadata for key in REMINDERS) or (isinstance(text, str) and text.startswith("<system-reminder")):
            return "a reminder of the app"
    return None


def _parts(row: _Row, document: dict[str, Any]) -> None:
    """Take a message of parts."""
    metadata = cells.mapping(document.get("metadata"))
    model = metadata.get("modelId") or metadata.get("model")
    row.model = model if isinstance(model, str) else None
    parts, content = document.get("parts"), document.get("content")
    for part in parts if isinstance(parts, list) else ():
        if isinstance(part, dict) and isinstance(part.get("type"), str):
            _part(row, part)
        else:
            row.lost("a part of unknown type")
    if not parts and isinstance(content, str):
        row.texts.append(content)
    elif not parts or not isinstance(parts, list):
        row.lost("unreadable content")
    files = document.get("experimental_attachments")
    row.files += [attachment(file) for file in files if isinstance(file, dict)] if isinstance(files, list) else []


def _take(row: _Row, blocks: Blocks) -> None:
    row.texts += [text for text in blocks.texts if text]
    row.thoughts += [thought for thought in blocks.thoughts if thought]
    row.calls += blocks.calls
    row.files += blocks.files
    for result in blocks.results:
        row.results.append(
            {
                "content": result.content,
                "call_id": result.call_id,
                "name": result.name,
                "error": result.error,
                "attachments": result.files,
            }
        )


def _part(row: _Row, part: dict[str, Any]) -> None:
    kind = part["type"]
    if kind == "step-start":
        row.flush()
        row.model = part["model"] if isinstance(part.get("model"), str) else row.model
    elif kind == "tool-invocation":
        _invocation(row, cells.mapping(part.get("toolInvocation")))
    elif kind == "dynamic-tool" or (kind.startswith("tool-") and kind not in ("tool-call", "tool-result")):
        name = part.get("toolName") or kind.removeprefix("tool-")
        _invocation(row, {**part, "toolName": name, "args": part.get("input"), "result": part.get("output")})
    elif kind == "error":
        said = part.get("error") or part.get("message") or part.get("errorText")
        said = said.get("message") if isinstance(said, dict) else said
        row.error = cells.text(said) or "the model call failed"
    elif kind.startswith("data-"):
        row.lost("a part that is the app's own data")
    elif kind not in NO_PART:
        blocks = read_blocks(part)
        if row.results and (blocks.texts or blocks.thoughts or blocks.calls):
            row.flush()
        if blocks.other:
            row.lost("a part of unknown type")
        _take(row, blocks)


def _invocation(row: _Row, call: dict[str, Any]) -> None:
    """Take a call with its result, if it has one; calls that follow each other are of one step."""
    if not isinstance(call.get("toolName"), str):
        row.lost("an unreadable tool call")
        return
    arguments = call.get("args") if call.get("args") is not None else call.get("rawInput")
    row.calls.append(cells.call(call["toolName"], arguments, call.get("toolCallId")))
    state = call.get("state")
    failed = call.get("isError") is True
    if state in ("output-error", "output-denied"):
        text = cells.text(call.get("errorText")) or ("denied by the user" if state == "output-denied" else FAILED)
        result: dict[str, Any] = {"content": text, "error": text}
    elif state in ("result", "output-available") or call.get("result") is not None:
        content, files = result_text(call.get("result"))
        result = {"content": content, "error": FAILED if failed else None, "attachments": files}
    else:
        return  # the call was made and never answered
    row.results.append({**result, "call_id": call.get("toolCallId"), "name": call["toolName"]})
