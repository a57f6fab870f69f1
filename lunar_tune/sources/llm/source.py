"""simonw/llm's logs.db, both generations: content-addressed threads (since 0.32) and `responses` (before).

An older conversation that was gone on with since has a thread of its own id, whose messages begin with what the older
tables say of it: then it is told once. Messages added without a call of a model belong to their thread too.
"""

from __future__ import annotations

import heapq
import os
import sqlite3
import sys
from collections.abc import Collection, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from lunar_tune.episodes import Episode
from lunar_tune.seams import Report
from lunar_tune.sources import base
from lunar_tune.sources.llm.legacy import Responses, Told
from lunar_tune.sources.llm.threads import Family, Threads


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

    def threads(self, db: sqlite3.Connection) -> Iterator[tuple[str, str]]:
        """Yield each conversation, or family of forks, with its number of turns, the newest, and its threads' pointers.

        A row that is changed in place is not seen: `llm` never does. The older tables have no index by conversation, so
        that one pass over `responses` is needed where they are there.
        """
        log = _Both(db, Path(), _unheard)
        found: dict[str, list[Any]] = {}
        for name, part in chain(log.older.threads(), log.newer.stamps()):
            found.setdefault(log.newer.root(name), []).append(part)
        for name, parts in found.items():
            yield name, base.stamp(parts)

    def read(
        self, db: sqlite3.Connection, path: Path, report: Report, only: Collection[str] | None = None
    ) -> Iterator[Episode]:
        """Yield the conversations in the order of their start, the forks of one together."""
        log = _Both(db, path, report)
        wanted = None
        if only is not None:
            wanted = {*only, *(thread for thread in log.newer.above if log.newer.root(thread) in only)}
        families = log.newer.families(only)
        alone = (told for told in log.older.conversations(wanted) if log.newer.root(told[0]) not in families)
        yield from heapq.merge(
            log.older.episodes(alone), log.threads(families, wanted), key=lambda episode: episode.started_at or ""
        )


def _unheard(_: object) -> None:
    """Report nothing."""


class _Both:
    """The two generations of one log."""

    def __init__(self, db: sqlite3.Connection, path: Path, report: Report) -> None:
        self.older = Responses(db, path, report, LlmSource.name)
        self.newer = Threads(db, path, report, LlmSource.name)

    def threads(self, families: dict[str, Family], wanted: Collection[str] | None) -> Iterator[Episode]:
        """Yield the newer episodes, each family after what only the older tables say of it."""
        before: dict[str, list[Told]] = {}
        for told in self.older.conversations(wanted) if families else ():
            if (name := self.newer.root(told[0])) in families:
                before.setdefault(name, []).append(told)
        first = [families[name] for name in before]  # they began before there were any threads
        rest = (family for name, family in families.items() if name not in before)
        for family, episodes in self.newer.episodes(chain(first, rest)):
            for older in self.older.episodes(before.get(family.name, ())):
                continued = [_goes_on(older, episode) for episode in episodes]
                if not any(continued):
                    taken = any(episode.thread == older.thread for episode in episodes)
                    thread = f"{older.thread}#responses" if taken else older.thread
                    yield replace(older, thread=thread, group=family.name)
                episodes = [
                    _dated(episode, older) if goes_on else episode
                    for episode, goes_on in zip(episodes, continued, strict=True)
                ]
            yield from episodes


def _goes_on(older: Episode, episode: Episode) -> bool:
    """Tell whether an episode begins with all that the user said in an older one; answers are kept more fully now."""
    asked, now = ([m.content for m in told.messages if m.role == "user"] for told in (older, episode))
    return bool(asked) and now[: len(asked)] == asked


def _dated(episode: Episode, older: Episode) -> Episode:
    """Return an episode with the times and models that the older tables have of its beginning."""
    messages = list(episode.messages)
    for place, (now, before) in enumerate(zip(episode.messages, older.messages, strict=False)):
        if (now.role, now.content) != (before.role, before.content):
            break
        messages[place] = replace(now, created_at=before.created_at, model=now.model or before.model)
    return replace(episode, messages=tuple(messages), started_at=older.started_at or episode.started_at)
