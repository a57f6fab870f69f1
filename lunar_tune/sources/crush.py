"""crush's log: one a project, sessions and messages of typed parts.

The assistant's row that sums a session up for the model, and the request that the app then writes again for the user,
are left out and reported, and so are the sessions that only make a title. Sub-agents are sessions of their own
(`<message>$$<call>`), of the group of the session they work for. An answer without a `finish` part was cut. Times are
in seconds, whatever the comments say.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from lunar_tune.artefacts import Verdict
from lunar_tune.episodes import Attachment, Episode, Finish, Role, ToolCall
from lunar_tune.seams import Report
from lunar_tune.sources import base
from lunar_tune.sources.core import cells, trees
from lunar_tune.sources.core.conversation import Conversation, finish

SESSION = ("created_at", "summary_message_id")
MESSAGE = ("id", "role", "parts", "model", "created_at", "is_summary_message")
STATE = (
    "id", "parent_session_id", "created_at", "updated_at", "prompt_tokens", "completion_tokens", "summary_message_id",
)  # fmt: skip
TITLE = "title-"  # how the sessions that make titles begin
ROLES: dict[str, Role] = {"user": "user", "assistant": "assistant", "tool": "tool", "system": "system"}
ASKED_AGAIN = "The previous session was interrupted because it got too long, the initial user request was:"
FAILED = "the tool reported an error"
_COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class CrushSource:
    """Reads a project's crush.db."""

    name = "crush"
    lacks = "the system prompt, tool schemas, and ratings"

    def places(self) -> list[Path]:
        """Return the logs of this folder's project and of those that crush has on its list."""
        data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
        if os.name == "nt":
            data = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
        here = [folder / ".crush" / "crush.db" for folder in (Path.cwd(), *Path.cwd().parents)]
        try:
            listed = cells.mapping(cells.parse_json((data / "crush" / "projects.json").read_bytes())).get("projects")
        except (OSError, ValueError):
            listed = None
        folders = [
            project["data_dir"]
            for project in (listed if isinstance(listed, list) else ())
            if isinstance(project, dict) and isinstance(project.get("data_dir"), str)
        ]
        return [*here, *(Path(folder) / "crush.db" for folder in folders)]

    def recognises(self, db: sqlite3.Connection) -> bool:
        """Tell from the tables alone whether this is the format."""
        return base.has(db, "sessions", "id", "parent_session_id", "title", "prompt_tokens") and base.has(
            db, "messages", "id", "session_id", "role", "parts"
        )

    def threads(self, db: sqlite3.Connection) -> Iterator[tuple[str, str]]:
        """Yield each session that is nobody's sub-agent, with the times and numbers of its rows and its sub-agents'."""
        said: dict[str, list[Any]] = {}
        changed = [column for column in ("updated_at", "finished_at") if base.has(db, "messages", column)]
        totals = "".join(f", total({column})" for column in changed)
        for key, *state in db.execute(
            f"SELECT session_id, count(*), max(rowid){totals} FROM messages GROUP BY session_id"
        ):
            said.setdefault(cells.text(key) or "", []).append(state)
        found: dict[str, list[Any]] = {}
        roots = _roots(db)
        for rowid, key, *state in db.execute(f"SELECT rowid, {base.picked(db, 'sessions', STATE)} FROM sessions"):
            if rowid in roots:
                thread, root = roots[rowid]
                found.setdefault(root, []).append((thread, key, state, said.get(thread)))
        for root, members in found.items():
            yield root, base.stamp(members)

    def read(
        self, db: sqlite3.Connection, path: Path, report: Report, only: Collection[str] | None = None
    ) -> Iterator[Episode]:
        """Yield the sessions in the order of their start."""
        roots = _roots(db, report if only is None else None)
        families = Counter(root for thread, root in roots.values() if not thread.startswith(TITLE))
        wanted = [rowid for rowid, (_, root) in roots.items() if only is None or root in only]
        if only is None:
            _report_orphans(db, report)
        found: list[tuple[str, int, str, Any]] = []
        for rowid, created, summary in _sessions(db, wanted):
            thread, _ = roots[rowid]
            if thread.startswith(TITLE):
                report(Verdict(thread, "read", "a session that made a title", f"sessions.id={thread}"))
            else:
                found.append((cells.timestamp(created) or "", rowid, thread, summary))
        for started, rowid, thread, summary in sorted(found, key=lambda session: session[:2]):
            conversation = Conversation(self.name, path, thread, report, started_at=started or None)
            root = roots[rowid][1]
            conversation.group = root if root != thread or families[root] > 1 else None
            for row in _rows(db, rowid):
                _take(conversation, row, summary)
            episode = conversation.episode()
            if episode is not None:
                yield episode


def _roots(db: sqlite3.Connection, report: Report | None = None) -> dict[int, tuple[str, str]]:
    """Return, by rowid, (the session, the one that it was begun for in the end) of all sessions that have an id."""
    parents: dict[str, str | None] = {}
    sessions: list[tuple[int, str]] = []
    for rowid, key, parent in db.execute("SELECT rowid, id, parent_session_id FROM sessions ORDER BY rowid"):
        if thread := cells.text(key):
            sessions.append((rowid, thread))
            parents.setdefault(thread, cells.text(parent) or None)
        elif report is not None:
            report(Verdict("", "read", "a session without an id", f"sessions.rowid={rowid}"))
    return {rowid: (thread, trees.root(parents, thread)) for rowid, thread in sessions}


def _sessions(db: sqlite3.Connection, rowids: Iterable[int]) -> Iterator[tuple[Any, ...]]:
    query = f"SELECT rowid, {base.picked(db, 'sessions', SESSION)} FROM sessions WHERE rowid = ?"
    for rowid in rowids:
        yield from db.execute(query, (rowid,))


def _report_orphans(db: sqlite3.Connection, report: Report) -> None:
    query = "SELECT DISTINCT session_id FROM messages WHERE session_id IS NULL OR session_id NOT IN"
    for (key,) in db.execute(f"{query} (SELECT id FROM sessions WHERE id IS NOT NULL)"):
        thread = cells.text(key) or ""
        report(Verdict(thread, "read", "messages of no session", f"messages.session_id={thread}"))


def _rows(db: sqlite3.Connection, session: int) -> Iterator[tuple[Any, ...]]:
    picked = base.picked(db, "messages", MESSAGE)  # seconds tie, so rows stay as they were written
    owned = "session_id = (SELECT id FROM sessions WHERE rowid = ?)"
    yield from db.execute(f"SELECT {picked} FROM messages WHERE {owned} ORDER BY created_at, rowid", (session,))


def _take(conversation: Conversation, row: tuple[Any, ...], summary: Any) -> None:
    """Tell one message."""
    key, name, cell, model, at, is_summary = row
    place = f"messages.parts={cells.text(key)}"
    role = ROLES.get(str(cells.text(name)).strip().lower())
    if role is None:
        conversation.lost("a message of unknown role", place)
        return
    if is_summary == 1 or (summary not in (None, "") and key == summary):
        conversation.lost("a compaction summary", place)
        return
    try:
        parts = cells.parse_json(cell)
    except ValueError:
        parts = None
    if not isinstance(parts, list):
        conversation.lost("unreadable message", place)
        if role in ("user", "assistant"):
            conversation.say(role, at=at, model=model if role == "assistant" else None, error="unreadable message")
        return
    _parts(conversation, role, parts, model, at, place)


def _parts(conversation: Conversation, role: Role, parts: list[Any], model: Any, at: Any, place: str) -> None:
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[ToolCall] = []
    files: list[Attachment] = []
    error: str | None = None
    ended: Finish | None = "cancelled"  # until a finish part says how
    results = injected = False
    for part in parts:
        kind = part.get("type") if isinstance(part, dict) else None
        data = cells.mapping(part.get("data")) if isinstance(part, dict) else {}
        if kind == "text":
            text = _string(data.get("text"))
            if role == "user" and (data.get("hidden") is True or text.startswith(ASKED_AGAIN)):
                conversation.lost("text injected by the app", place)
                injected = True
            else:
                texts.append(text)
        elif kind == "reasoning":
            thoughts.append(_string(data.get("thinking")))
        elif kind == "tool_call":
            calls.append(cells.call(data.get("name"), data.get("input"), data.get("id")))
        elif kind == "tool_result":
            _result(conversation, data, at)
            results = True
        elif kind == "finish":
            error, ended = _ended(data)
        elif kind in ("image_url", "binary"):
            name = re.split(r"[/\\]", _string(data.get("Path")))[-1]
            files.append(Attachment(type=_string(data.get("MIMEType")) or "image", name=name))
        elif kind == "shell_command":
            shown = _COLOUR.sub("", _string(data.get("output")))
            texts.append(f"$ {_string(data.get('command'))}\n{shown}\n(exit code {data.get('exit_code')})")
        else:
            conversation.lost("a part of unknown type", place)
    text = "\n".join(text for text in texts if text)
    if role == "assistant" and (text or any(thoughts) or calls or files or error):
        thought = "\n".join(thought for thought in thoughts if thought)
        conversation.say(
            role, text, at=at, model=model, error=error, ended=ended, reasoning=thought, attachments=files, calls=calls
        )
    elif role in ("user", "system") and (text or files):
        conversation.say(role, text, at=at, attachments=files)
    elif not results and not injected:
        conversation.lost("a message without content", place)


def _result(conversation: Conversation, data: dict[str, Any], at: Any) -> None:
    content = data.get("content")
    text = content if isinstance(content, str) else "" if content is None else cells.dump(content)
    kind = _string(data.get("mime_type"))
    conversation.result(
        text,
        call_id=data.get("tool_call_id"),
        name=data.get("name"),
        at=at,
        error=(text or FAILED) if data.get("is_error") is True else None,
        attachments=[Attachment(type=kind)] if data.get("data") and kind else (),
    )


def _ended(data: dict[str, Any]) -> tuple[str | None, Finish | None]:
    """Return (what went wrong, how the answer ended) of a finish part."""
    reason = _string(data.get("reason"))
    ended = "error" if reason == "content_filter" else finish(reason)
    if ended != "error":
        return None, ended
    words = [_string(data.get(key)) for key in ("message", "details")]
    return ": ".join(word for word in words if word) or reason, "error"


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""
