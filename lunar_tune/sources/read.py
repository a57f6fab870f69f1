"""Several logs as one stream of episodes, in the order of their start."""

from __future__ import annotations

import contextlib
import heapq
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from lunar_tune.artefacts import Verdict
from lunar_tune.episodes import Episode
from lunar_tune.errors import EmptyLog, NotSqlite, UsageError
from lunar_tune.seams import Report, Source
from lunar_tune.settings import HarvestSettings
from lunar_tune.sources import cells
from lunar_tune.sources.detect import open_log


@dataclass(frozen=True, slots=True)
class Log:
    """An open log; `watermark` is of the very moment that `read_logs` reads."""

    path: Path
    source: Source
    db: sqlite3.Connection = field(repr=False)
    watermark: str

    @property
    def name(self) -> str:
        """The reader's name."""
        return self.source.name


@contextlib.contextmanager
def open_logs(paths: Sequence[Path], sources: Sequence[Source], settings: HarvestSettings) -> Iterator[list[Log]]:
    """Open logs together, each at one moment; the same file given twice is opened once.

    Raises:
        SourceError: one cannot be opened or is of no known format.
        UsageError: several logs without `also`, since the voices of several agents would mix.
    """
    distinct = list({path.resolve(): path for path in paths}.values())
    with contextlib.ExitStack() as stack:
        logs = []
        for path in distinct:
            source, db = open_log(path, sources)
            stack.enter_context(contextlib.closing(db))
            with _sqlite_errors(path):
                logs.append(Log(path, source, db, source.watermark(db)))
        if len(logs) > 1 and not settings.also:
            named = ", ".join(f"{str(log.path)!r} ({log.name})" for log in logs)
            raise UsageError(
                f"{len(logs)} logs, and one workspace is one agent's: {named}.",
                "Name one of them, use a workspace for each (--home), or pass --also to mix their voices.",
            )
        yield logs


def read_logs(logs: Sequence[Log], settings: HarvestSettings, report: Report) -> Iterator[Episode]:
    """Yield the episodes of open logs in the order of their start; those before `settings.since` are reported.

    Raises:
        UsageError: `since` is no ISO date.
        EmptyLog: there is no conversation in any of them.
    """
    since = _since(settings.since)
    read = 0
    streams = [_episodes(log, report) for log in logs]
    for episode in heapq.merge(*streams, key=lambda e: e.started_at or ""):
        read += 1
        if since and episode.started_at and episode.started_at < since:
            report(Verdict(episode.thread, "read", "before the date asked for"))
            continue
        yield episode
    if not read:
        raise EmptyLog([str(log.path) for log in logs])


def _episodes(log: Log, report: Report) -> Iterator[Episode]:
    with _sqlite_errors(log.path):
        yield from log.source.read(log.db, log.path, report)


@contextlib.contextmanager
def _sqlite_errors(path: Path) -> Iterator[None]:
    """A database that opens may still be damaged further in."""
    try:
        yield
    except sqlite3.Error as error:
        raise NotSqlite(path, str(error)) from error


def _since(value: str | None) -> str | None:
    if not value:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as error:
        raise UsageError(f"harvest.since must be an ISO date such as 2026-10-01, not {value!r}.") from error
    return cells.timestamp(moment.replace(tzinfo=moment.tzinfo or UTC).isoformat())
