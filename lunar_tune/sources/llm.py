"""simonw/llm's logs.db, both generations: content-addressed threads (since 0.32) and `responses` (before).

Messages of the newer tables are shared between threads and forks and form a tree by `parent_hash`. Every path from the
root to a leaf becomes one episode; the paths of a fork tree share `group` (the id of its first thread), so that what
they have in common is recognised as common.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lunar_tune.artefacts import Verdict
from lunar_tune.episodes import Attachment, Episode, Message, Signal, ToolCall, ToolSpec
from lunar_tune.seams import Report
from lunar_tune.sources import base, cells
from lunar_tune.sources.llm_legacy import TOOL, attachment, read_responses, tool_spec

TURN = ("id", "thread_id", "parent_message_hash", "tip_message_hash", "model", "resolved_model", "datetime_utc")
PART = ("id", "position", "type", "tool_name", "text", "payload")
WATCHED = (
    ("threads", ("id", "tip_message_hash", "forked_from")),
    ("turns", TURN),
    ("parts", ("message_hash", *PART)),
    ("responses", ("id", "prompt", "system", "response", "conversation_id")),
    ("tool_calls", ("response_id", "name", "arguments")),
    ("tool_results", ("response_id", "output", "exception")),
)


class LlmSource:
    """Reads what `llm` logs by itself."""

    name = "llm"
    lacks = "ratings, and the failures of model calls"

    def places(self) -> list[Path]:
        """Return where `llm` keeps its log on this machine (as `click.get_app_dir` does)."""
        if set_by_user := os.environ.get("LLM_USER_PATH"):
            return [Path(set_by_user) / "logs.db"]
        if sys.platform == "darwin":
            folder = Path.home() / "Library" / "Application Support"
        elif os.name == "nt":
            folder = Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming")
        else:
            folder = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
        return [folder / "io.datasette.llm" / "logs.db"]

    def recognises(self, db: sqlite3.Connection) -> bool:
        """Tell from the tables alone whether this is the format."""
        newer = base.has(db, "turns", "tip_message_hash") and base.has(db, "parts", "message_hash")
        return newer or base.has(db, "responses", "prompt_json", "conversation_id")

    def read(self, db: sqlite3.Connection, path: Path, report: Report) -> Iterator[Episode]:
        """Yield the older conversations, then the threads' leaf paths, each in the order of their start."""
        if base.has(db, "responses", "id", "prompt", "response"):
            yield from read_responses(db, path, report, self.name)
        if base.has(db, "turns", "id", "tip_message_hash", "parent_message_hash") and base.has(db, "messages", "hash"):
            yield from _Tree(db, report).episodes(path, self.name)

    def watermark(self, db: sqlite3.Connection) -> str:
        """Return a hash of everything that `read` depends on."""
        return base.fingerprint(db, WATCHED)


class _Tree:
    """The tree of messages with the turns that made them."""

    def __init__(self, db: sqlite3.Connection, report: Report) -> None:
        self.db, self.report = db, report
        self.parents: dict[str, str | None] = {}
        self.roles: dict[str, str] = {}
        for key, parent, role in db.execute(
            f"SELECT hash, {base.picked(db, 'messages', ('parent_hash', 'role'))} FROM messages"
        ):
            self.parents[key], self.roles[key] = parent, str(role)
        self.turns: dict[str, list[dict[str, Any]]] = {}  # by the hash of the message they end at
        self.threads: dict[str, list[dict[str, Any]]] = {}
        for row in db.execute(f"SELECT {base.picked(db, 'turns', TURN)} FROM turns ORDER BY id"):
            turn = dict(zip(TURN, row, strict=True))
            self.turns.setdefault(turn["tip_message_hash"], []).append(turn)
            self.threads.setdefault(str(turn["thread_id"] or turn["id"]), []).append(turn)

    def episodes(self, path: Path, source: str) -> Iterator[Episode]:
        """Yield one episode a leaf of a thread, threads in the order of their first turn."""
        forked = self._forks()
        for thread, turns in self.threads.items():
            for leaf in self._leaves(turns):
                chain = self._chain(leaf)
                if chain is None:
                    self.report(Verdict(thread, "read", "a broken chain of messages", f"messages.hash={leaf}"))
                    continue
                episode = _Path(self, thread, chain).episode(path, source, _root(thread, forked))
                if episode is not None:
                    yield episode

    def _forks(self) -> dict[str, str]:
        if not base.has(self.db, "threads", "id", "forked_from"):
            return {}
        return {
            str(a): str(b)
            for a, b in self.db.execute("SELECT id, forked_from FROM threads WHERE forked_from IS NOT NULL")
        }

    def _leaves(self, turns: list[dict[str, Any]]) -> list[str]:
        """Return the ends of a thread's turns that no other turn of the thread goes on from."""
        tips = list(dict.fromkeys(turn["tip_message_hash"] for turn in turns))
        inner: set[str] = set()
        for tip in tips:
            chain = self._chain(tip)
            inner.update(chain[:-1] if chain is not None else ())
        return [tip for tip in tips if tip not in inner]

    def _chain(self, leaf: str) -> list[str] | None:
        """Return the hashes from the root to a leaf, None when one is missing or they form a ring."""
        chain: dict[str, None] = {}
        step: str | None = leaf
        while step is not None:
            if step not in self.parents or step in chain:
                return None
            chain[step] = None
            step = self.parents[step]
        return list(reversed(chain))


def _root(thread: str, forked: dict[str, str]) -> str:
    seen = {thread}
    while (parent := forked.get(thread)) is not None and parent not in seen:
        seen.add(parent)
        thread = parent
    return thread


class _Path:
    """One path from the root to a leaf while it is read."""

    def __init__(self, tree: _Tree, thread: str, chain: list[str]) -> None:
        self.tree, self.thread, self.chain = tree, thread, chain
        self.db = tree.db
        self.messages: list[Message] = []
        self.signals: list[Signal] = []
        self.system: str | None = None

    def episode(self, path: Path, source: str, group: str) -> Episode | None:
        turns = self._turns()
        said: dict[str, dict[str, Any]] = {}
        begin = 0
        for place, key in enumerate(self.chain):
            if key in turns:  # everything since the turn before belongs to this turn
                said.update((k, turns[key]) for k in self.chain[begin : place + 1])
                begin = place + 1
        for key in self.chain:
            self._message(key, said.get(key, {}))
        if not self.messages:
            self.tree.report(Verdict(self.thread, "read", "no readable message"))
            return None
        models = [m.model for m in self.messages if m.model]
        return Episode(
            source=source,
            path=str(path),
            thread=self.thread,
            started_at=next((m.created_at for m in self.messages if m.created_at), None),
            model=models[-1] if models else None,
            system=self.system,
            tools=tuple(self._tools([turn["id"] for turn in turns.values()])),
            messages=tuple(cells.pair_calls(self.messages)),
            signals=tuple(self.signals),
            group=group if group != self.thread else None,
        )

    def _turns(self) -> dict[str, dict[str, Any]]:
        """Return the turn that ends at each message of the path: this thread's, else the oldest."""
        found = {}
        for key in self.chain:
            turns = self.tree.turns.get(key)
            if turns:
                found[key] = next((t for t in turns if str(t["thread_id"]) == self.thread), turns[0])
        return found

    def _message(self, key: str, turn: dict[str, Any]) -> None:
        role, when = self.tree.roles[key], cells.timestamp(turn.get("datetime_utc"))
        text, reasoning = [], []
        calls: list[ToolCall] = []
        files: list[Attachment] = []
        results: list[Message] = []
        query = f"SELECT {base.picked(self.db, 'parts', PART)} FROM parts WHERE message_hash = ? ORDER BY position"
        for number, _, kind, tool, own, payload in self.db.execute(query, (key,)):
            body = self._payload(number, payload)
            if kind == "text":
                text.append(self._text(own, body))
            elif kind == "reasoning":
                reasoning.append(self._text(own, body))
            elif kind == "tool_call":
                arguments = body.get("arguments") if body else payload  # what cannot be read keeps its text
                calls.append(cells.call(body.get("name") or tool, arguments, body.get("tool_call_id")))
            elif kind == "tool_result":
                results.append(_result(body, tool, when))
                files += self._attachments(number)
            elif kind == "attachment":
                files += self._attachments(number)
            else:
                self.tree.report(Verdict(self.thread, "read", "a part of unknown type", f"parts.id={number}"))
        for result in results:
            if result.error or cells.says_error(result.content):
                self.signals.append(Signal(kind="tool_error", message=len(self.messages)))
            self.messages.append(result)
        said = "\n".join(part for part in text if part)
        if role == "system" and not self.messages and self.system is None:
            self.system = said
        elif role in ("user", "system") and (said or files or not results):
            self.messages.append(
                Message(
                    role="user" if role == "user" else "system", content=said, created_at=when, attachments=tuple(files)
                )
            )
        elif role == "assistant":
            model = cells.text(turn.get("resolved_model") or turn.get("model"))
            why = "\n".join(part for part in reasoning if part) or None
            self.messages.append(
                Message(
                    role="assistant", content=said, created_at=when, model=model, reasoning=why, tool_calls=tuple(calls)
                )
            )
        elif role not in ("user", "system", "tool"):
            self.tree.report(Verdict(self.thread, "read", "a message of unknown role", f"messages.hash={key}"))

    def _payload(self, number: Any, payload: Any) -> dict[str, Any]:
        if payload is None:
            return {}
        try:
            body = cells.parse_json(payload)
        except ValueError:
            body = None
        if not isinstance(body, dict):
            self.tree.report(Verdict(self.thread, "read", "unreadable part", f"parts.id={number}"))
            return {}
        return body

    def _text(self, own: Any, body: dict[str, Any]) -> str:
        """Return a part's text; long or shared text stands in `fragments` and is named by `text_ref`."""
        refs = body.get("text_ref")
        if not isinstance(refs, list):
            return cells.text(own) or ""
        joined = []
        for ref in refs:
            if isinstance(ref, dict) and "fragment" in ref:
                row = self.db.execute("SELECT content FROM fragments WHERE id = ?", (ref["fragment"],)).fetchone()
                joined.append(cells.text(row[0]) or "" if row else "")
            elif isinstance(ref, dict):
                joined.append(str(ref.get("literal", "")))
        return "".join(joined)

    def _attachments(self, part: Any) -> list[Attachment]:
        if not (base.has(self.db, "part_attachments", "part_id") and base.has(self.db, "attachments", "id")):
            return []
        query = (
            "SELECT a.type, a.path, a.url FROM part_attachments p JOIN attachments a ON a.id = p.attachment_id"
            ' WHERE p.part_id = ? ORDER BY p."order"'
        )
        return [attachment(*row) for row in self.db.execute(query, (part,))]

    def _tools(self, turns: list[str]) -> list[ToolSpec]:
        """Return the tools offered on the path's turns; of two with one name the later stands."""
        found: dict[str, ToolSpec] = {}
        if not (base.has(self.db, "turn_tools", "turn_id", "tool_id") and base.has(self.db, "tools", "id")):
            return []
        query = (
            f"SELECT {base.picked(self.db, 'tools', TOOL, 't')} FROM turn_tools o JOIN tools t ON t.id = o.tool_id"
            " WHERE o.turn_id = ? ORDER BY t.id"
        )
        for turn in turns:
            for row in self.db.execute(query, (turn,)):
                spec = tool_spec(row, self.thread, self.tree.report)
                if spec is not None:
                    found[spec.name] = spec
        return list(found.values())


def _result(body: dict[str, Any], tool: Any, when: str | None) -> Message:
    output = body.get("output")
    return Message(
        role="tool",
        content=output if isinstance(output, str) else "" if output is None else cells.dump(output),
        created_at=when,
        error=cells.text(body.get("exception")) or None,
        tool_call_id=cells.text(body.get("tool_call_id")) or None,
        name=cells.text(body.get("name") or tool) or None,
    )
