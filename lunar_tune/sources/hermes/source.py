"""hermes-agent's log: sessions, messages that are compacted, rewound or copied, prompts, reactions.

A session that ran out of context goes on in a child (`end_reason` compression); such a chain is one conversation under
the first session's id. Whether in a child or in place, a compaction repeats messages around its summary: the originals
are kept, the copies and the summary are not (`hermes.rows`). Rows that were rewound (neither active nor compacted) are
an episode of their own, `<session>#<last row>`: the transcript up to there and what was taken back, with `undo` on its
answers. A branch shares `group` with the session it was branched from; a delegate is a conversation of its own.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Collection, Iterator
from pathlib import Path

from lunar_tune.episodes import Episode
from lunar_tune.seams import Report
from lunar_tune.sources import base
from lunar_tune.sources.core import cells
from lunar_tune.sources.core.conversation import Conversation
from lunar_tune.sources.core.jsonl import undo_from
from lunar_tune.sources.hermes.rows import ROW, Item, Transcript
from lunar_tune.sources.hermes.sessions import Session, Sessions


class HermesSource:
    """Reads state.db of every generation: without `active`, with `compacted`, with prompts by hash."""

    name = "hermes-agent"
    lacks = "tool schemas (names only), and the model of single messages"

    def places(self) -> list[Path]:
        """Return where hermes keeps its log on this machine, the logs of its profiles included."""
        if set_by_user := os.environ.get("HERMES_HOME"):
            home = Path(set_by_user)
        elif os.name == "nt":
            home = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "hermes"
        else:
            home = Path.home() / ".hermes"
        return [home / "state.db", *sorted(home.glob("profiles/*/state.db"))]

    def recognises(self, db: sqlite3.Connection) -> bool:
        """Tell from the tables alone whether this is the format."""
        return base.has(db, "sessions", "id", "source", "system_prompt") and base.has(
            db, "messages", "session_id", "role", "content", "tool_calls", "finish_reason"
        )

    def threads(self, db: sqlite3.Connection) -> Iterator[tuple[str, str]]:
        """Yield each first session of a chain, with the cells and rows of all that continue it, and the reactions.

        Rows that are rewound or archived are seen, and reactions; a text that is changed in place is not: messages have
        no time of change. Of a prompt in a session's own row only the length is seen.
        """
        yield from Sessions(db).stamps()

    def read(
        self, db: sqlite3.Connection, path: Path, report: Report, only: Collection[str] | None = None
    ) -> Iterator[Episode]:
        """Yield each conversation, then what was taken back in it, in the order of the conversations' start."""
        log, prompt = Sessions(db), _Prompts(db)
        rows = f"SELECT {base.picked(db, 'messages', ROW)} FROM messages WHERE session_id = ? ORDER BY rowid"
        if only is None:
            log.tell_strays(report)
        for root in log.roots():
            if only is not None and root not in only:
                continue
            log.tell_losses(root, report)
            for chain in log.chains(root):
                first = chain.sessions[0]
                conversation = Conversation(
                    self.name, path, chain.thread, report,
                    system=prompt.of(first), model=first.model, started_at=first.started, group=chain.group,
                )  # fmt: skip
                transcript = Transcript(conversation)
                for session in chain.sessions:
                    transcript.session(db.execute(rows, (session.key,)), session.model)
                for told in _told(transcript, conversation):
                    episode = told.episode()
                    if episode is not None:
                        yield episode


class _Prompts:
    """The system prompts of sessions: in their own rows or, in newer logs, in a table by hash."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        self.shared = base.has(db, "system_prompts", "hash", "prompt")

    def of(self, session: Session) -> str | None:
        """Return a session's system prompt."""
        length, digest = session.prompt
        query, key = "SELECT system_prompt FROM sessions WHERE id = ?", session.key
        if not length and digest is not None and self.shared:
            query, key = "SELECT prompt FROM system_prompts WHERE hash = ?", digest
        return cells.text((self.db.execute(query, (key,)).fetchone() or (None,))[0]) or None


def _told(transcript: Transcript, conversation: Conversation) -> Iterator[Conversation]:
    """Yield the transcript that stands, then each path that was taken back."""
    undone: list[Conversation] = []
    run: list[Item] = []
    for item in (*transcript.items, None):
        if item is not None and item.undone:
            run.append(item)
            continue
        if run:
            if any(one.role == "assistant" for one in run):
                told = conversation.branch(f"{conversation.thread}#{run[-1].id}")
                begin = len(told.messages)
                for one in run:
                    one.tell(told)
                undo_from(told, begin)
                undone.append(told)
            else:
                conversation.lost("taken back before an answer", f"messages.id={run[-1].id}")
            run = []
        if item is not None:
            item.tell(conversation)
    if conversation.messages or not undone:
        yield conversation
    yield from undone
