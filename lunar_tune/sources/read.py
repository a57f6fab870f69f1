"""Several logs as one stream of episodes, in the order of their start."""

from __future__ import annotations

import contextlib
import heapq
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from lunar_tune.artefacts import Verdict
from lunar_tune.episodes import Episode
from lunar_tune.errors import EmptyLog, UsageError
from lunar_tune.seams import Report
from lunar_tune.settings import HarvestSettings
from lunar_tune.sources.core import cells
from lunar_tune.sources.core.offered import given_tools, with_tools
from lunar_tune.sources.log import Log, Reader, open_log
from lunar_tune.sources.table_map.source import TableMapSource


def readers(sources: Sequence[Reader], settings: HarvestSettings) -> list[Reader]:
    """Return the readers of the settings' table maps, then the registered ones."""
    return [*map(TableMapSource, settings.table_map), *sources]


@contextlib.contextmanager
def open_logs(paths: Sequence[Path], sources: Sequence[Reader], settings: HarvestSettings) -> Iterator[list[Log]]:
    """Open logs together, each at one moment; the same file given twice is opened once.

    Args:
        paths: the logs.
        sources: the registered readers; the settings' table maps are asked before them.
        settings: of the harvest.

    Raises:
        SourceError: one cannot be opened or is of no known format.
        UsageError: several logs without `also`, since the voices of several agents would mix.
    """
    distinct = list({path.resolve(): path for path in paths}.values())
    with contextlib.ExitStack() as stack:
        known = readers(sources, settings)
        logs = [stack.enter_context(open_log(path, known)) for path in distinct]
        if len(logs) > 1 and not settings.also:
            named = ", ".join(f"{str(log.path)!r} ({log.name})" for log in logs)
            raise UsageError(
                f"{len(logs)} logs, and one workspace is one agent's: {named}.",
                "Name one of them, use a workspace for each (--home), or pass --also to mix their voices.",
            )
        yield logs


def read_logs(logs: Sequence[Log], settings: HarvestSettings, report: Report) -> Iterator[Episode]:
    """Yield the episodes of open logs in the order of their start; those before `settings.since` are reported.

    An episode whose log stores no tools has those of `settings.tools`.

    Raises:
        UsageError: `since` is no ISO date, or `tools` names no list of tools.
        EmptyLog: there is no conversation in any of them.
    """
    since, given = since_moment(settings.since), given_tools(settings.tools)
    read = 0
    streams = [log.read(report) for log in logs]
    for episode in heapq.merge(*streams, key=lambda e: e.started_at or ""):
        read += 1
        if since and episode.started_at and episode.started_at < since:
            report(Verdict(episode.thread, "read", "before the date asked for"))
            continue
        yield with_tools(episode, given)
    if not read:
        raise EmptyLog([str(log.path) for log in logs])


def since_moment(value: str | None) -> str | None:
    """Return `harvest.since` as the moments of episodes are written, None without one.

    Raises:
        UsageError: it is no ISO date.
    """
    if not value:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as error:
        raise UsageError(f"harvest.since must be an ISO date such as 2026-10-01, not {value!r}.") from error
    return cells.timestamp(moment.replace(tzinfo=moment.tzinfo or UTC).isoformat())
