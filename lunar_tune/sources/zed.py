"""Zed's agent panel, `threads.db`: one row a thread, its conversation JSON in a blob, mostly compressed with zstd.

Read are version 0.3.0 of the JSON (`User`, `Agent` and `Resume` messages) and the `segments` of the versions before.
Threads of external agents (Claude Code, Codex, Gemini) are not in this file. An edit of an earlier message overwrites
what came after, so there are no forks; a subagent's thread is of its parent's group.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from lunar_tune.artefacts import Verdict
from lunar_tune.episodes import Attachment, Episode, ToolCall
from lunar_tune.seams import Report
from lunar_tune.sources import base
from lunar_tune.sources.core import cells, trees
from lunar_tune.sources.core.blocks import FAILED
from lunar_tune.sources.core.conversation import Conversation
from lunar_tune.sources.core.jsonl import zstandard

LARGEST = 1 << 30  # bytes of one unpacked thread


class ZedSource:
    """Reads the threads of Zed's own agent."""

    name = "zed"
    lacks = "the system prompt, tool schemas, times and models of single messages, and ratings"

    def places(self) -> list[Path]:
        """Return where Zed keeps its threads on this machine."""
        if sys.platform == "darwin":
            folder = Path.home() / "Library" / "Application Support" / "Zed"
        elif os.name == "nt":
            folder = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "Zed"
        else:
            share = os.environ.get("FLATPAK_XDG_DATA_HOME") or os.environ.get("XDG_DATA_HOME")
            folder = (Path(share) if share else Path.home() / ".local" / "share") / "zed"
        return [folder / "threads" / "threads.db"]

    def recognises(self, db: sqlite3.Connection) -> bool:
        """Tell from the table alone whether this is the format."""
        return base.has(db, "threads", "id", "data_type", "data")

    def threads(self, db: sqlite3.Connection) -> Iterator[tuple[str, str]]:
        """Yield each thread that is nobody's subagent, with its time of change and size, and those of its subagents."""
        members = _members(db)
        state = base.picked(db, "threads", ("updated_at", "data_type"))
        states = {
            rowid: cells_of for rowid, *cells_of in db.execute(f"SELECT rowid, {state}, length(data) FROM threads")
        }
        found: dict[str, list[Any]] = {}
        for rowid, (thread, root) in members.items():
            found.setdefault(root, []).append((thread, states[rowid]))
        for root, parts in found.items():
            yield root, base.stamp(parts)

    def read(
        self, db: sqlite3.Connection, path: Path, report: Report, only: Collection[str] | None = None
    ) -> Iterator[Episode]:
        """Yield the threads in the order of their start.

        Raises:
            MissingExtra: a thread is compressed and `zstandard` is not installed.
        """
        members = _members(db, report if only is None else None)
        families = Counter(root for _, root in members.values())
        times = f"SELECT {base.picked(db, 'threads', ('created_at', 'updated_at'))} FROM threads WHERE rowid = ?"
        found: list[tuple[str, int]] = []
        for rowid, (_, root) in members.items():
            if only is None or root in only:
                created, updated = db.execute(times, (rowid,)).fetchone()
                found.append((cells.timestamp(created) or cells.timestamp(updated) or "", rowid))
        for started, rowid in sorted(found):  # contents come one by one: sorting them in SQL would hold them all
            thread, root = members[rowid]
            said = Conversation(self.name, path, thread, report, started_at=started or None)
            said.group = root if root != thread or families[root] > 1 else None
            kind, data = db.execute("SELECT data_type, data FROM threads WHERE rowid = ?", (rowid,)).fetchone()
            episode = _episode(said, kind, data)
            if episode is not None:
                yield episode


def _members(db: sqlite3.Connection, report: Report | None = None) -> dict[int, tuple[str, str]]:
    """Return, by rowid, (the thread, the one that it was begun for in the end) of all threads that have an id."""
    parents: dict[str, str | None] = {}
    threads: list[tuple[int, str]] = []
    query = f"SELECT rowid, {base.picked(db, 'threads', ('id', 'parent_id'))} FROM threads ORDER BY rowid"
    for rowid, key, parent in db.execute(query):
        if thread := cells.text(key):
            threads.append((rowid, thread))
            parents.setdefault(thread, cells.text(parent) or None)
        elif report is not None:
            report(Verdict("", "read", "a thread without an id", f"threads.rowid={rowid}"))
    return {rowid: (thread, trees.root(parents, thread)) for rowid, thread in threads}


def _episode(said: Conversation, kind: Any, data: Any) -> Episode | None:
    """Return a thread's episode, None (reported) when its JSON cannot be read."""
    document = _document(said, kind, data)
    if document is None:
        return None
    messages = document.get("messages")
    if not isinstance(messages, list):
        said.lost("an unreadable thread", f"threads.data={said.thread}")
        return None
    said.model = cells.text(cells.mapping(document.get("model")).get("model"))
    for number, message in enumerate(messages):
        _message(said, message, f"threads.data={said.thread} message {number}")
    return said.episode()


def _document(said: Conversation, kind: Any, data: Any) -> dict[str, Any] | None:
    """Return a thread's JSON, None (reported) when it cannot be read."""
    place = f"threads.data={said.thread}"
    if kind == "zstd" and isinstance(data, bytes):
        data = _unpacked(data)
    elif kind not in ("json", "zstd"):
        said.lost("data of unknown type", place)
        return None
    try:
        document = cells.parse_json(data)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        said.lost("an unreadable thread", place)
        return None
    return document


def _unpacked(data: bytes) -> bytes | None:
    library = zstandard()
    try:  # a stream, for Zed does not write the size
        with library.ZstdDecompressor().stream_reader(data, read_across_frames=True) as stream:
            unpacked = stream.read(LARGEST + 1)
    except (library.ZstdError, MemoryError):
        return None
    return unpacked if len(unpacked) <= LARGEST else None


def _message(said: Conversation, message: Any, place: str) -> None:
    if message == "Resume":
        return  # the user pressed "continue"; the agent's next message goes on
    if not isinstance(message, dict):
        said.lost("an unreadable message", place)
    elif isinstance(message.get("User"), dict):
        _user(said, message["User"].get("content"), place)
    elif isinstance(message.get("Agent"), dict):
        _agent(said, message["Agent"], place)
    elif "role" in message:
        _segments(said, message, place)
    else:
        said.lost("a message of unknown type", place)


def _user(said: Conversation, content: Any, place: str) -> None:
    texts, files = [], []
    for part in content if isinstance(content, list) else (content,):
        kind, value = _variant(part)
        if kind == "Text" and isinstance(value, str):
            texts.append(value)
        elif kind == "Mention" and isinstance(value, dict):
            files.append(_mentioned(value.get("uri")))
            texts.append(f"@{files[-1].name or files[-1].type}")
        elif kind == "Image":
            files.append(Attachment(type="image"))
        else:
            said.lost("a part of unknown type", place)
    said.say("user", "".join(texts), attachments=files)


def _mentioned(uri: Any) -> Attachment:
    """Return what was mentioned; its text, which Zed pasted in, is not kept."""
    kind, value = _variant(uri)
    body = cells.mapping(value)
    name = next((body[key] for key in ("name", "abs_path", "path", "file_path", "url") if _is_text(body.get(key))), "")
    if name and not _is_text(body.get("name")) and not _is_text(body.get("url")):
        name = name.replace("\\", "/").rstrip("/").rpartition("/")[2]
    return Attachment(type=(kind or "mention").lower(), name=name)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _agent(said: Conversation, message: dict[str, Any], place: str) -> None:
    texts, thoughts, calls = [], [], []
    parts = message.get("content")
    for part in parts if isinstance(parts, list) else (parts,):
        kind, value = _variant(part)
        if kind == "Text" and isinstance(value, str):
            texts.append(value)
        elif kind == "Thinking" and isinstance(value, dict) and isinstance(value.get("text"), str):
            thoughts.append(value["text"])
        elif kind == "ToolUse" and isinstance(value, dict):
            calls.append(_call(value))
        elif kind != "RedactedThinking":
            said.lost("a part of unknown type", place)
    results = cells.mapping(message.get("tool_results"))
    if texts or thoughts or calls:
        cut = any(call.error for call in calls)
        said.say(
            "assistant",
            "\n".join(texts),
            reasoning="\n".join(thoughts),
            calls=calls,
            ended="cancelled" if cut else None,
        )
    elif not results:
        said.lost("an empty message", place)
    order = {call.id: number for number, call in enumerate(calls)}
    for key, result in sorted(results.items(), key=lambda item: order.get(item[0], len(order))):
        _result(said, key, result, place)


def _call(use: dict[str, Any]) -> ToolCall:
    """Return a call; one that was cut while it was written keeps the text so far."""
    if use.get("is_input_complete") is False:
        raw = cells.text(use.get("raw_input"))
        name, call_id = cells.text(use.get("name")) or "", cells.text(use.get("id")) or None
        return ToolCall(name=name, id=call_id, arguments_raw=raw, error="the call was cut")
    arguments = use.get("input") if use.get("input") is not None else use.get("raw_input")
    return cells.call(use.get("name"), arguments, use.get("id"))


def _result(said: Conversation, key: Any, result: Any, place: str) -> None:
    if not isinstance(result, dict):
        said.lost("an unreadable result", place)
        return
    content = result.get("content")
    texts, files = [], []
    for part in content if isinstance(content, list) else () if content is None else (content,):
        kind, value = ("Text", part) if isinstance(part, str) else _variant(part)
        if kind == "Text" and isinstance(value, str):
            texts.append(value)
        elif kind == "Image":
            files.append(Attachment(type="image"))
        else:
            said.lost("a part of unknown type", place)
    output = result.get("output")
    if not (texts or files) and output is not None:
        texts.append(output if isinstance(output, str) else cells.dump(output))
    said.result(
        "\n".join(texts),
        call_id=result.get("tool_use_id") or key,
        name=result.get("tool_name"),
        error=FAILED if result.get("is_error") is True else None,
        attachments=files,
    )


def _segments(said: Conversation, message: dict[str, Any], place: str) -> None:
    """Take a message of the versions before 0.3.0."""
    role = message.get("role")
    if role not in ("user", "assistant", "system"):
        said.lost("a message of unknown role", place)
        return
    texts: list[str] = []
    thoughts: list[str] = []
    listed = message.get("segments")
    for segment in listed if isinstance(listed, list) else ({"type": "text", "text": message.get("text")},):
        body = cells.mapping(segment)
        text = body.get("text")
        if body.get("type") in ("text", "thinking") and isinstance(text, str):
            (texts if body["type"] == "text" else thoughts).append(text)
        elif body.get("type") not in ("redacted_thinking", "redactedThinking"):
            said.lost("a part of unknown type", place)
    uses, results = message.get("tool_uses"), message.get("tool_results")
    calls = [_call(use) for use in uses if isinstance(use, dict)] if isinstance(uses, list) else []
    if isinstance(uses, list) and len(calls) < len(uses):
        said.lost("an unreadable call", place)
    if role == "assistant" and (texts or thoughts or calls):
        said.say("assistant", "".join(texts), reasoning="\n".join(thoughts), calls=calls)
    for result in results if isinstance(results, list) else ():
        _result(said, None, result, place)
    if role != "assistant" and "".join(texts):
        said.say(role, "".join(texts))


def _variant(value: Any) -> tuple[str | None, Any]:
    """Return (name, body) of a value as Rust writes its enums: a name alone, or an object with the name as its key."""
    if isinstance(value, str):
        return value, None
    if isinstance(value, dict) and len(value) == 1:
        return next(iter(value.items()))
    return None, None
