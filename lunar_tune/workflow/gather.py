"""From logs to the workspace's episodes: what grew or changed since the last time is read, redacted and kept."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lunar_tune import __version__
from lunar_tune.artefacts import Verdict
from lunar_tune.episodes import Episode
from lunar_tune.errors import EmptyLog, UsageError
from lunar_tune.identity import content_id
from lunar_tune.seams import Report
from lunar_tune.settings import HarvestSettings
from lunar_tune.workflow.space import Workspace

if TYPE_CHECKING:
    from lunar_tune.sources.log import Log
    from lunar_tune.store import EpisodeStore
    from lunar_tune.store.episodes import Held


@dataclass(frozen=True, slots=True)
class Gathered:
    """What a harvest read of one log; `threads` were read of `known`."""

    source: str
    path: str
    watermark: str
    threads: int
    known: int
    episodes: int


def gather(space: Workspace, logs: Sequence[Log], kept: EpisodeStore, *, full: bool = False) -> list[Gathered]:
    """Bring the kept episodes of open logs up to date, each log in one transaction.

    What a log lost without a conversation to name (an orphan row) is told by a read of everything alone.

    Args:
        space: where settings and the listener come from.
        logs: open together, each of one moment.
        kept: the workspace's episodes.
        full: read everything again, whatever the stamps say.

    Raises:
        NotSqlite: a log is damaged further in. DiskFull, EpisodesBroken. Nothing is changed for that log.
    """
    with kept.changing():
        kept.tidy(redacted=space.settings.curate.redact)
    return [_gather_log(space, log, kept, full) for log in logs]


def _gather_log(space: Workspace, log: Log, kept: EpisodeStore, full: bool) -> Gathered:
    from lunar_tune.store.episodes import name_hash, unread

    redact = space.settings.curate.redact
    # a reader of a plugin says by `version` that it reads otherwise than it did
    by = {"code": __version__, "reader": getattr(log.source, "version", "")}
    names = space.settings.curate.names if redact else ()
    made = content_id("made", by | {"names": sorted(names)} if names else by)
    with kept.changing():
        number = kept.log(str(log.path.resolve()), log.name, made, redacted=redact)
        reading = _Reading(space, log, kept, number)
        held = {} if full else kept.stamps(number)
        changed, gone = unread(log.threads, held, reading.never)
        everything = not held or len(changed) == len(log.threads)
        if not everything:
            kept.drop(number, [*gone, *map(name_hash, changed)])
            everything = bool(changed) and not reading.some(changed)
            changed = set(log.threads) if everything else changed
        if everything and not reading.all():
            changed = set()  # episodes that have no thread: this log is read whole every time
        kept.settle(number, {name_hash(thread): log.threads[thread] for thread in changed})
    return Gathered(log.name, str(log.path), log.watermark, reading.threads, len(log.threads), reading.episodes)


class _Reading:
    """The reading of one log into the store."""

    def __init__(self, space: Workspace, log: Log, kept: EpisodeStore, number: int) -> None:
        self.space, self.log, self.kept, self.number = space, log, kept, number
        self.never = kept.forgotten()
        self.episodes = self.messages = self.threads = 0

    def some(self, only: set[str]) -> bool:
        """Read some threads; tell whether each of them gave something, or a reason why not."""
        met = self._read(only)
        return met >= only and None not in met

    def all(self) -> bool:
        """Read everything anew; tell whether every episode was of a thread that the log names."""
        self.kept.clear(self.number)
        return None not in self._read(None)

    def _read(self, only: set[str] | None) -> set[str | None]:
        """Read the log, or some threads of it, and keep what comes; return the threads that were met."""
        from lunar_tune.sources.base import owner

        began = last = time.monotonic()
        self.episodes = self.messages = 0
        met: set[str | None] = set()
        lost: list[Verdict] = []
        self.threads = total = len(self.log.threads if only is None else only)
        for episode in self.log.read(lost.append, only):
            self._lose(lost, only, met)
            thread = owner(episode, self.log.threads)
            if only is not None and thread is not None and thread not in only:
                continue  # a reader may give more than it was asked for
            met.add(thread)
            self._keep(episode, thread)
            if (now := time.monotonic()) - last > 0.5:
                last = now
                note = f"{self.messages / (now - began):,.0f} messages/s"
                self.space.talk.progress("reading", min(len(met), total - 1), total, note)
        self._lose(lost, only, met)
        if last > began:
            self.space.talk.progress("reading", total, total)
        return met

    def _keep(self, episode: Episode, thread: str | None) -> None:
        from lunar_tune.curate.redact import redacted
        from lunar_tune.store.episodes import name_hash

        listed = self.space.settings.curate.names
        names = hashed_names(episode.thread, episode.group, thread, listed=listed)
        if names & self.never:
            return
        counts: dict[str, int] = {}
        if self.space.settings.curate.redact:
            episode, counts = redacted(episode, listed)
        self.kept.add(self.number, name_hash(thread or ""), names, episode, counts)
        self.episodes += 1
        self.messages += len(episode.messages)

    def _lose(self, lost: list[Verdict], only: set[str] | None, met: set[str | None]) -> None:
        """Keep what the reader reported since the last episode."""
        from lunar_tune.curate.redact import safe_name, safe_text
        from lunar_tune.store.episodes import name_hash

        listed = self.space.settings.curate.names
        for verdict in lost:
            above = (verdict.id, verdict.id.rpartition("#")[0], verdict.id.partition("#")[0])
            thread = next((name for name in above if name in self.log.threads), "")
            names = hashed_names(verdict.id, thread, listed=listed)
            if names & self.never or (only is not None and thread not in only):
                continue
            met.add(thread)
            name, place = safe_name(verdict.id, listed), safe_text(verdict.detail, listed)
            safe = Verdict(name, verdict.step, verdict.reason, place, verdict.message)
            self.kept.lose(self.number, name_hash(thread), names, safe)
        lost.clear()


def hashed_names(*called: str | None, listed: Sequence[str] = ()) -> frozenset[bytes]:
    """Return the hashes of all names that something can be asked for by.

    These are its own, those of the conversation it branched from (up to a `#`), and each as redaction writes it;
    `listed` are the names of people that it replaces.
    """
    from lunar_tune.curate.redact import safe_name
    from lunar_tune.store.episodes import name_hash

    names: set[str] = set()
    for name in {name for name in called if name}:
        names |= {name, safe_name(name), safe_name(name, listed)}
        if "#" in name:
            names |= {name.rpartition("#")[0], name.partition("#")[0]} - {""}
    return frozenset(map(name_hash, names))


def asked_names(names: Sequence[str]) -> frozenset[bytes]:
    """Return the hashes that the names a person gives stand for: as the log has them, or as datasets show them.

    Raises:
        UsageError: a name is empty.
    """
    from lunar_tune.curate.redact import safe_name
    from lunar_tune.store.episodes import name_hash

    if not all(names):
        raise UsageError("A conversation's name is empty.", "`lunar-tune episodes LOG` shows their names (`thread`).")
    return frozenset(name_hash(form) for name in names for form in (name, safe_name(name)))


def check_filters(settings: HarvestSettings) -> None:
    """Make sure, before logs are read, that `kept_episodes` can follow the settings.

    Raises:
        UsageError: `since` is no ISO date, or a name to exclude is empty.
    """
    from lunar_tune.sources.read import since_moment

    since_moment(settings.since)
    asked_names(settings.exclude)


def kept_episodes(space: Workspace, kept: EpisodeStore, paths: Sequence[Path], report: Report) -> Iterator[Held]:
    """Yield the kept episodes of some logs that the settings let through; the others are reported.

    Raises:
        UsageError: `since` is no ISO date.
        EmptyLog: there is no conversation in any of them.
    """
    from lunar_tune.sources.read import since_moment

    settings = space.settings.harvest
    first, named = since_moment(settings.since), {str(path.resolve()): str(path) for path in paths}
    excluded = asked_names(settings.exclude)
    for verdict, names in kept.losses(named):
        if not excluded & names:
            report(verdict)
    empty = True
    for held in kept.episodes(named):
        empty = False
        episode = held.episode
        if excluded & held.names:
            report(Verdict(episode.thread, "read", "excluded by the settings"))
        elif first and episode.started_at and episode.started_at < first:
            report(Verdict(episode.thread, "read", "before the date asked for"))
        else:
            yield held
    if empty and kept.forgotten():
        raise UsageError(
            "Every conversation of these logs was forgotten.", "`lunar-tune forget --undo THREAD` lets one be read."
        )
    if empty:
        raise EmptyLog([str(path) for path in paths])
