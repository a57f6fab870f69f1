"""What shows that a conversation of Lunar's log has changed."""

from __future__ import annotations

import hashlib
import marshal
import sqlite3
from collections.abc import Iterator
from typing import Any

from lunar_tune.sources import base

CONVERSATION = ("id", "started_at", "model", "system", "tools", "meta")
MESSAGE = (
    "id", "position", "role", "content", "tool_calls", "tool_call_id", "name", "model", "error", "created_at",
)  # fmt: skip
FEEDBACK = ("message_id", "rating", "note", "created_at")


def stamps(db: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    """Yield what shows that a conversation, its messages or its ratings changed.

    The schema has no time of change. Of a log that is not small (`base.SMALL`) only the number of messages, the last
    one and the ratings are looked at: other changes in place are not seen.
    """
    judged: dict[str, str] = {}
    if base.has(db, "feedback", "message_id", "rating") and base.has(db, "messages", "id"):
        for thread, *row in db.execute(
            f"SELECT m.conversation_id, {base.picked(db, 'feedback', FEEDBACK, 'f')}"
            " FROM feedback f JOIN messages m ON m.id = f.message_id ORDER BY f.rowid"
        ):
            judged[str(thread)] = base.stamp(judged.get(str(thread)), row)
    if base.small(db):
        own, said = _heads(db), _contents(db)
    else:
        own, said = _listed(db), _counts(db)
    for thread, state in {**own, **said}.items():
        name = str(thread)
        yield (
            name,
            f"{own.get(thread, '')} {state} {judged[name]}" if name in judged else f"{own.get(thread, '')} {state}",
        )


def _heads(db: sqlite3.Connection) -> dict[Any, str]:
    """Return a hash of each conversation's own cells."""
    rows = db.execute(f"SELECT {base.picked(db, 'conversations', CONVERSATION)} FROM conversations ORDER BY rowid DESC")
    return {row[0]: base.stamp(row) for row in rows if row[0] is not None}


def _listed(db: sqlite3.Connection) -> dict[Any, str]:
    """Return the conversations that are listed, of which an index suffices to say so."""
    return dict(db.execute("SELECT id, '' FROM conversations WHERE id IS NOT NULL"))


def _counts(db: sqlite3.Connection) -> dict[Any, str]:
    """Return each conversation's number of messages and the last one's row."""
    query = "SELECT conversation_id, count(*), max(rowid) FROM messages WHERE conversation_id IS NOT NULL"
    return {thread: f"{count}.{last}" for thread, count, last in db.execute(f"{query} GROUP BY conversation_id")}


def _contents(db: sqlite3.Connection) -> dict[Any, str]:
    """Return a hash of each conversation's messages."""
    digests: dict[Any, Any] = {}
    picked = base.picked(db, "messages", MESSAGE)
    for thread, *row in db.execute(f"SELECT conversation_id, {picked} FROM messages ORDER BY rowid"):
        if thread is not None:
            digest = digests.get(thread) or digests.setdefault(thread, hashlib.blake2b(digest_size=12))
            digest.update(marshal.dumps(row, 2))
    return {thread: digest.hexdigest() for thread, digest in digests.items()}
