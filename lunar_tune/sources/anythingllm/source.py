"""AnythingLLM's anythingllm.db: one row an exchange, in workspaces and in embedded chats.

A conversation is what has the same workspace, user, thread and API session (an embedded one: the same widget and
session), by id. Its prompt is the workspace's at the time: the app notes the old prompt whenever one is replaced, so
the one in force is the first that was replaced later, else the present one; a change in mid-conversation is a message
of role `system`. Where the default prompt was replaced, only the event log says so, by the workspace's name.

`include = 0` takes an exchange out of what the model is shown. A run of such rows at the start is what `/reset` ended
and is an episode of its own; later ones are leaves that branch off after the exchanges before them, with an "undo"
signal. Answers that the app wrote itself (a refusal in query mode, the placeholder of an agent's run) are left out. A
forked thread is a copy of rows; threads that begin with the same exchange share `group`.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lunar_tune.artefacts import Verdict
from lunar_tune.episodes import Attachment, Episode
from lunar_tune.seams import Report
from lunar_tune.sources import base
from lunar_tune.sources.anythingllm import listing
from lunar_tune.sources.anythingllm.listing import EXCHANGE, Held
from lunar_tune.sources.anythingllm.prompts import Prompts
from lunar_tune.sources.core import cells, keyed
from lunar_tune.sources.core.conversation import Conversation

RATINGS: dict[Any, float | None] = {None: None, 1: 1.0, 0: -1.0, "true": 1.0, "false": -1.0}


class AnythingLLMSource:
    """Reads the final texts of chats; nothing of credentials, visitors' addresses or documents."""

    name = "anythingllm"
    lacks = "tool schemas, agents' tool calls and results, retrieved context, failures, a deleted workspace's prompt"

    def places(self) -> list[Path]:
        """Return where the server and the desktop app keep their database."""
        found = [Path(folder) / "anythingllm.db"] if (folder := os.environ.get("STORAGE_DIR")) else []
        if sys.platform == "darwin":
            data = Path.home() / "Library" / "Application Support"
        elif os.name == "nt":
            data = Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming")
        else:
            data = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
        desktop = data / "anythingllm-desktop" / "storage" / "anythingllm.db"
        return [*found, Path("/app/server/storage/anythingllm.db"), desktop]

    def recognises(self, db: sqlite3.Connection) -> bool:
        """Tell from the tables alone whether this is the format."""
        return base.has(db, "workspace_chats", "id", "workspaceId", "prompt", "response", "include")

    def threads(self, db: sqlite3.Connection) -> Iterator[tuple[str, str]]:
        """Yield each conversation with a hash of its rows' small cells: ids, times, ratings, what was taken out.

        The app moves no time when it rewrites an answer, which is seen in a small log (`base.SMALL`) alone. The prompt
        that was in force at a time does not change later.
        """
        yield from listing.stamps(db)

    def read(
        self, db: sqlite3.Connection, path: Path, report: Report, only: Collection[str] | None = None
    ) -> Iterator[Episode]:
        """Yield the conversations of workspaces and the embedded ones in the order of their start."""
        prompts = Prompts(db, report if only is None else _unheard)
        listed = listing.conversations(db)
        forks: dict[int, str] = {}  # how conversations of a workspace open -> the first that does so
        if only is not None:
            wanted = [one for one in listed if one.thread in only]
            _find_forks(db, listing.of_the_same_prompt(db, listed, wanted), forks)
            listed = wanted
        for one in listed:
            embedded = one.table == listing.EMBED
            workspace = prompts.of_embed(one.key[0]) if embedded else one.key[0]
            reader = _Reader(path, one.thread, workspace, prompts, report)
            exchanges = list(_exchanges(db, one.table, one.rowids, reader.lost))
            opening = None if embedded else _opening(one, exchanges)
            root = one.thread if opening is None else forks.setdefault(opening, one.thread)
            yield from reader.episodes(exchanges, root)


def _unheard(verdict: Verdict) -> None:
    """Take what is said of the log as a whole while only some conversations are read."""


def _find_forks(db: sqlite3.Connection, near: Sequence[Held], forks: dict[int, str]) -> None:
    """Fill in the first of the conversations, in their order, with each opening."""
    for one in near:
        first = [one.opening] if one.opening is not None else []
        opening = _opening(one, list(_exchanges(db, one.table, first, lambda reason, place: None)))
        if opening is not None:
            forks.setdefault(opening, one.thread)


def _opening(one: Held, exchanges: Sequence[_Exchange]) -> int | None:
    """Return what stands for the first exchange that the model is shown, which a fork has a copy of."""
    first = next((e for e in exchanges if e.rowid == one.opening), None)
    return None if first is None else hash((one.key[0], first.prompt, first.text))


@dataclass(frozen=True, slots=True)
class _Exchange:
    """One row that can be read, without the contents of its files."""

    rowid: int
    key: str
    prompt: str
    text: str
    included: bool
    at: str | None
    model: str | None
    rating: float | None
    files: tuple[Attachment, ...]
    outputs: tuple[Attachment, ...]


def _exchanges(
    db: sqlite3.Connection, table: str, rowids: Sequence[int], lost: Callable[[str, str], None]
) -> Iterator[_Exchange]:
    """Yield the rows that were an exchange; the others are reported."""
    rows = keyed.rows(db, table, EXCHANGE, rowids)
    for rowid, (key, prompt, response, include, at, score) in zip(rowids, rows, strict=True):
        shown, place = listing.included(include), f"{table}.id={key}"
        try:
            body = cells.parse_json(response)
        except ValueError:
            body = None
        if not isinstance(body, dict):
            lost("unreadable response", f"{table}.response={key}")
            continue
        asked, text = cells.text(prompt), body.get("text")
        if asked is None:
            lost("unreadable prompt", f"{table}.prompt={key}")
        elif not text:
            lost("an exchange without an answer" if shown else "an agent's placeholder", place)
        elif not shown and body.get("type") == "query" and not body.get("sources"):
            lost("a refusal that the app wrote", place)
        else:
            if score not in RATINGS:
                lost("a rating that is no thumb", f"{table}.feedbackScore={key}")
            model = cells.mapping(body.get("metrics")).get("model")
            yield _Exchange(
                rowid=rowid,
                key=keyed.name(key),
                prompt=asked,
                text=text if isinstance(text, str) else cells.dump(text),
                included=shown,
                at=cells.timestamp(at),
                model=model if isinstance(model, str) else None,
                rating=RATINGS.get(score),
                files=_files(body.get("attachments")),
                outputs=_files(body.get("outputs")),
            )


@dataclass(frozen=True, slots=True)
class _Reader:
    """Makes the episodes of one conversation."""

    path: Path
    thread: str
    workspace: Any
    prompts: Prompts
    report: Report

    def lost(self, reason: str, place: str) -> None:
        self.report(Verdict(self.thread, "read", reason, place))

    def episodes(self, exchanges: list[_Exchange], root: str) -> Iterator[Episode]:
        """Yield what was reset, what the model is shown now, and what was taken out of that, as each began."""
        if not exchanges:
            self.lost("a conversation without messages", "")
            return
        reset = next((n for n, e in enumerate(exchanges) if e.included), len(exchanges))
        before, after = exchanges[:reset], exchanges[reset:]
        kept = [e for e in after if e.included]
        out = [n for n, e in enumerate(after) if not e.included]
        paths = [(self.thread, kept, False)] if kept else []
        if before:
            paths.append((f"{self.thread}#{before[-1].key}" if kept else self.thread, before, False))
        for n in out:
            shown = [e for e in after[:n] if e.included]
            paths.append((f"{self.thread}#{after[n].key}", [*shown, after[n]], True))
        family = root if len(paths) > 1 or root != self.thread else None
        paths.sort(key=lambda path: path[1][0].at or "")  # what was reset began earlier
        for thread, said, undone in paths:
            episode = self._episode(thread, said, undone, family)
            if episode is not None:
                yield episode

    def _episode(self, thread: str, said: list[_Exchange], undone: bool, group: str | None) -> Episode | None:
        conversation = Conversation("anythingllm", self.path, thread, self.report, group=group)
        prompt: str | None = None
        index: int | None = None
        for exchange in said:
            valid = self.prompts.at(self.workspace, exchange.at)
            if valid and valid != prompt:
                conversation.say("system", valid, at=exchange.at)
                prompt = valid
            conversation.say("user", exchange.prompt, at=exchange.at, attachments=exchange.files)
            index = _answer(conversation, exchange)
        if undone:
            conversation.judge("undo", None, index, "taken out of the history")
        return conversation.episode()


def _answer(conversation: Conversation, exchange: _Exchange) -> int | None:
    text, thought = cells.split_thinking(exchange.text)
    index = conversation.say(
        "assistant", text, at=exchange.at, model=exchange.model, reasoning=thought, attachments=exchange.outputs
    )
    if exchange.rating is not None:
        conversation.judge("rating", exchange.rating, index)
    return index


def _files(values: Any) -> tuple[Attachment, ...]:
    """Return attachments and generated files by type and name."""
    found = []
    for value in values if isinstance(values, list) else ():
        body = cells.mapping(value)
        inner = cells.mapping(body.get("payload"))
        kinds = (body.get("mime"), body.get("type"), "file")
        names = (body.get("name"), inner.get("filename"), inner.get("name"), "")
        kind = next(k for k in kinds if isinstance(k, str) and k)
        found.append(Attachment(type=kind, name=next(n for n in names if isinstance(n, str))))
    return tuple(found)
