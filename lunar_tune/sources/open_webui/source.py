"""Open WebUI's webui.db: chats as trees of messages, with ratings, from both places where the app keeps them.

A message stands in the JSON of `chat.chat` and, in newer versions, in a row of `chat_message` too. The row's cells
win, the JSON gives what the rows lack, and the two are read as one tree. Every leaf becomes one episode: the one on
screen is the chat's own `thread`, the others are named by their leaf. An answer that was regenerated, and not kept,
has a "retry" signal unless somebody rated it good; answers of several models to one question do not judge each other,
and neither do edited questions. Messages that a compaction put aside stay in the tree and are read; its summary is not.

The prompt is what the app would send: the model's, the folder's and the chat's, as they are now. Tools have schemas
where they are the workspace's own: those of the model, and those that were called. Ratings keep the reason and comment
as their note. `feedback.snapshot` is not read: a chat that somebody deleted is not brought back.
"""

from __future__ import annotations

import hashlib
import marshal
import os
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from lunar_tune.artefacts import Verdict
from lunar_tune.episodes import Episode
from lunar_tune.seams import Report
from lunar_tune.sources import base
from lunar_tune.sources.core import keyed, trees
from lunar_tune.sources.core.conversation import Conversation
from lunar_tune.sources.open_webui.chat import CHAT, MESSAGE, Chat, origin, superseded
from lunar_tune.sources.open_webui.settings import Judgement, Ratings, Settings, mapping


class OpenWebUISource:
    """Reads one chat at a time, in the order in which they were begun."""

    name = "open-webui"
    lacks = "the schemas of MCP, OpenAPI and built-in tools, retrieved context, finish reasons"

    def places(self) -> list[Path]:
        """Return where the app keeps its database: its own settings, the container's folder, the documented one."""
        found = []
        address = os.environ.get("DATABASE_URL", "")
        if address.startswith("sqlite:///"):
            found.append(Path(address.removeprefix("sqlite:///")))
        if folder := os.environ.get("DATA_DIR"):
            found.append(Path(folder) / "webui.db")
        return [*found, Path("/app/backend/data/webui.db"), Path.home() / ".open-webui" / "webui.db"]

    def recognises(self, db: sqlite3.Connection) -> bool:
        """Tell from the tables alone whether this is the format."""
        return base.has(db, "chat", "id", "user_id", "title", "chat", "share_id")

    def threads(self, db: sqlite3.Connection) -> Iterator[tuple[str, str]]:
        """Yield each chat with the time of its last change, its number of rows and its ratings.

        The app moves `updated_at`, which is in seconds, when it saves a message, in the JSON or in a row. What changes
        in the same second, or without it, is seen in a small log (`base.SMALL`) alone. Prompts and tools are no part
        of a chat: it keeps those of the time when it was read.
        """
        ratings = Ratings(db, _unheard).found
        states = _contents(db) if base.small(db) else _times(db)
        found: dict[str, list[Any]] = {}
        for rowid, key in db.execute("SELECT rowid, id FROM chat ORDER BY rowid"):
            found.setdefault(keyed.name(key), []).append(states(rowid, key))
        for thread, state in found.items():
            yield thread, base.stamp(state, ratings.get(thread))

    def read(
        self, db: sqlite3.Connection, path: Path, report: Report, only: Collection[str] | None = None
    ) -> Iterator[Episode]:
        """Yield the chats in the order of their start; in each, the path on screen first."""
        settings = Settings(db, report if only is None else _unheard)
        ratings, families = Ratings(db, report, only), _Families(db)
        query, rows = f"SELECT {base.picked(db, 'chat', CHAT)} FROM chat WHERE rowid = ?", _rows(db)
        for rowid in keyed.places(db, "chat", "id", only, "created_at"):
            row = db.execute(query, (rowid,)).fetchone()
            chat = Chat(row, rows(row[0]), report)
            reason = _left_out(chat, db)
            if reason:
                ratings.of(chat.id)
                chat.lost(reason, f"chat.id={chat.id}")
                continue
            yield from _episodes(chat, path, families.root(chat), settings, ratings)
        if only is None:
            ratings.report_unused()
            for reason, place in _strays(db):
                report(Verdict("", "read", reason, place))


def _times(db: sqlite3.Connection) -> Callable[[int, Any], Any]:
    """Return what gives a chat's last change and number of rows; indexes have both in the logs of today."""
    moved = "updated_at" if base.has(db, "chat", "updated_at") else "length(chat)"
    moments = dict(db.execute(f"SELECT rowid, {moved} FROM chat"))
    rows: dict[Any, int] = {}
    if base.has(db, "chat_message", "id", "chat_id"):
        rows = dict(db.execute("SELECT chat_id, count(*) FROM chat_message GROUP BY chat_id"))
    return lambda rowid, key: (moments[rowid], rows.get(key, 0))


def _contents(db: sqlite3.Connection) -> Callable[[int, Any], Any]:
    """Return what gives a hash of a chat and its rows."""
    query, rows = f"SELECT {base.picked(db, 'chat', CHAT)} FROM chat WHERE rowid = ?", _rows(db)

    def content(rowid: int, key: Any) -> str:
        cells_of = [db.execute(query, (rowid,)).fetchone(), *(row[1:] for row in rows(key))]
        return hashlib.blake2b(marshal.dumps(cells_of, 2), digest_size=12).hexdigest()

    return content


def _unheard(verdict: Verdict) -> None:
    """Take what is said of the log as a whole while only some chats are read."""


def _rows(db: sqlite3.Connection) -> Callable[[Any], Sequence[Sequence[Any]]]:
    """Return what gives a chat's rows of messages, oldest first; none in a log from before they existed."""
    if not base.has(db, "chat_message", "id", "chat_id") or not db.execute("SELECT 1 FROM chat_message").fetchone():
        return lambda chat: ()
    find = keyed.finder(db, "chat_message", "chat_id", MESSAGE, "created_at")
    return lambda chat: list(find(chat))


def _strays(db: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    """Yield the rows of chats that are gone."""
    if base.has(db, "chat_message", "id", "chat_id"):
        query = (
            "SELECT rowid FROM chat_message WHERE chat_id IS NULL"
            " OR chat_id NOT IN (SELECT id FROM chat WHERE id IS NOT NULL) ORDER BY rowid"
        )
        for (rowid,) in db.execute(query):
            yield "a message of a chat that is gone", f"chat_message.rowid={rowid}"


def _left_out(chat: Chat, db: sqlite3.Connection) -> str:
    if chat.internal:
        return "an internal chat of the app"
    original = chat.user.removeprefix("shared-")
    if original != chat.user and db.execute("SELECT 1 FROM chat WHERE id = ?", (original,)).fetchone():
        return "a shared copy of another chat"
    return ""


class _Families:
    """Which chat a copied or branched one began with, however many times it was copied; the copies are read later."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db, self.origins = db, dict[str, str | None]()
        self.query = f"SELECT {base.picked(db, 'chat', ('chat', 'meta'))} FROM chat WHERE id = ?"

    def root(self, chat: Chat) -> str | None:
        """Return the first of a chat's family; None for a chat that is no copy."""
        at, line = chat.copied_from, [chat.id]
        while at is not None and at not in line:
            line.append(at)
            at = self._origin(at)
        if len(line) == 1:
            return None
        return line[-1] if at is None else min(line)  # chats that name each other in a circle

    def _origin(self, key: str) -> str | None:
        if key not in self.origins:
            row = self.db.execute(self.query, (key,)).fetchone()
            self.origins[key] = origin(mapping(row[0]), mapping(row[1])) if row else None
        return self.origins[key]


def _episodes(chat: Chat, path: Path, family: str | None, settings: Settings, ratings: Ratings) -> Iterator[Episode]:
    """Yield the paths of a chat's tree."""
    signals = ratings.of(chat.id)
    branches = list(trees.leaf_paths(chat.parents))
    current = chat.selected(branches)
    branches.sort(key=lambda branch: branch is not current)  # stable: the path on screen first, the rest as they stand
    retried = superseded(chat, current.nodes if current else ()) if len(branches) > 1 else frozenset[str]()
    group = family or (chat.id if len(branches) > 1 else None)
    told: set[str] = set()  # messages whose losses an earlier path has reported
    for branch in branches:
        nodes = [chat.nodes[key] for key in branch.nodes]
        if branch.problem and nodes[0].key not in told:
            chat.lost(f"a {branch.problem} in the tree of messages", nodes[0].place)
        thread = chat.id if branch is current else f"{chat.id}#{nodes[-1].key}"
        conversation = Conversation("open-webui", path, thread, chat.report, started_at=chat.started_at, group=group)
        models = [*dict.fromkeys([model for node in nodes if node.role == "assistant" and (model := node.model)])]
        conversation.system = settings.prompt(models, chat.folder, chat.system)
        for node in nodes:
            index = node.say(conversation, _unsaid if node.key in told else chat.lost)
            judged, again = signals.get(node.key) or node.judged, node.key in retried
            if index is not None and (judged or again):
                _judge(conversation, index, judged, again)
        told.update(branch.nodes)
        if settings.specs:
            called = {call.name for message in conversation.messages for call in message.tool_calls}
            conversation.offer(settings.tools(models, called))
        episode = conversation.episode()
        if episode is not None:
            yield episode
    ratings.unused(chat.id, signals.keys() - chat.nodes.keys())
    if not branches:
        chat.lost("a conversation without messages", f"chat.id={chat.id}")


def _unsaid(reason: str, place: str) -> None:
    """Take what another path has said already."""


def _judge(conversation: Conversation, index: int, ratings: Iterable[Judgement], retried: bool) -> None:
    good = False
    for kind, value, note in ratings:
        conversation.judge(kind, value, index, note)
        good = good or value == 1.0
    if retried and not good:
        conversation.judge("retry", None, index, "regenerated, and another answer was kept")
