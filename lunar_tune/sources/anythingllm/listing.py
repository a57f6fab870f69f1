"""Which rows of an AnythingLLM log are one conversation, and what tells that one changed.

The app has no index by conversation, so each of these is one pass over the tables' small cells.
"""

from __future__ import annotations

import hashlib
import marshal
import sqlite3
from array import array
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from lunar_tune.sources import base
from lunar_tune.sources.core import cells, keyed

WORKSPACE, EMBED = "workspace_chats", "embed_chats"
KEYS = {WORKSPACE: ("workspaceId", "user_id", "thread_id", "api_session_id"), EMBED: ("embed_id", "session_id")}
LABELS = {WORKSPACE: ("workspace", "user", "thread", "session"), EMBED: ("embed", "session")}
EXCHANGE = ("id", "prompt", "response", "include", "createdAt", "feedbackScore")
SMALL_CELLS = ("id", "include", "createdAt", "feedbackScore", "lastUpdatedAt")


@dataclass(slots=True)
class Held:
    """The places of a conversation's rows, by id; `opening` is the first of them that the model is shown."""

    table: str
    key: tuple[Any, ...]
    started: str
    rowids: array[int] = field(default_factory=lambda: array("q"))
    opening: int | None = None

    @property
    def thread(self) -> str:
        """What the conversation is called."""
        return name(self.table, self.key)


def name(table: str, key: Sequence[Any]) -> str:
    """Return a conversation's name from the cells that it has in common."""
    parts = zip(LABELS[table], key, strict=True)
    return "-".join(f"{label}-{keyed.name(v)}" for n, (label, v) in enumerate(parts) if n == 0 or v is not None)


def included(include: Any) -> bool:
    """Tell whether an exchange is in what the model is shown."""
    return include not in (0, "0", "false")


def conversations(db: sqlite3.Connection) -> list[Held]:
    """Return the conversations in the order of their start."""
    found: list[Held] = []
    for table in _tables(db):
        held: dict[tuple[Any, ...], Held] = {}
        picked = base.picked(db, table, ("include", "createdAt", *KEYS[table]))
        for rowid, include, at, *own in db.execute(f"SELECT rowid, {picked} FROM {table} ORDER BY id, rowid"):
            key = tuple(own)
            one = held.get(key)
            if one is None:
                one = held[key] = Held(table, key, (cells.timestamp(at) or "").rstrip("Z"))
            one.rowids.append(rowid)
            if one.opening is None and included(include):
                one.opening = rowid
        found += held.values()
    found.sort(key=lambda one: one.started)
    return found


def stamps(db: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    """Yield each conversation with a hash of its rows' small cells, in a small log of all cells."""
    digests: dict[str, Any] = {}
    for table in _tables(db):
        columns = (*SMALL_CELLS, *EXCHANGE[1:3]) if base.small(db) else SMALL_CELLS
        keys = KEYS[table]
        names: dict[tuple[Any, ...], Any] = {}
        for row in db.execute(f"SELECT {base.picked(db, table, (*keys, *columns))} FROM {table} ORDER BY id, rowid"):
            key = row[: len(keys)]
            digest = names.get(key)
            if digest is None:
                digest = digests.setdefault(name(table, key), hashlib.blake2b(digest_size=12))
                names[key] = digest
            digest.update(marshal.dumps(row[len(keys) :], 2))
    for thread, digest in digests.items():
        yield thread, digest.hexdigest()


def of_the_same_prompt(db: sqlite3.Connection, listed: Sequence[Held], wanted: Collection[Held]) -> list[Held]:
    """Return the conversations of workspaces that open with the same prompt as one of those wanted."""
    spaces = {one.key[0] for one in wanted if one.table == WORKSPACE}
    near = [one for one in listed if one.table == WORKSPACE and one.opening is not None and one.key[0] in spaces]
    ids = {id(one) for one in wanted}
    prompts = keyed.rows(db, WORKSPACE, ("prompt",), [one.opening for one in near if one.opening is not None])
    openings = [(one, cells.text(prompt)) for one, (prompt,) in zip(near, prompts, strict=True)]
    asked = {(one.key[0], prompt) for one, prompt in openings if id(one) in ids}
    return [one for one, prompt in openings if (one.key[0], prompt) in asked]


def _tables(db: sqlite3.Connection) -> list[str]:
    """Return the tables of exchanges that the log has."""
    both = [(WORKSPACE, ("workspaceId",)), (EMBED, KEYS[EMBED])]
    return [table for table, keys in both if base.has(db, table, "id", "prompt", "response", *keys)]
