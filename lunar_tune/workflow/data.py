"""harvest · episodes · sources: from logs to a dataset."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from lunar_tune import plugins
from lunar_tune.artefacts import Dataset, Verdict
from lunar_tune.episodes import Episode, tool_to_dict
from lunar_tune.errors import MissingExtra, SourceError, SourceMissing, UsageError
from lunar_tune.identity import content_id
from lunar_tune.seams import Talk
from lunar_tune.settings import CurateSettings, HarvestSettings, Settings
from lunar_tune.workflow.gather import Gathered, check_filters, gather, kept_episodes
from lunar_tune.workflow.space import Workspace


def log_paths(settings: HarvestSettings, given: Sequence[str]) -> list[Path]:
    """Return the logs to read: those given, else those set, else those found on this machine.

    Raises:
        SourceMissing: a named file does not exist.
        UsageError: none is named and none was found.
    """
    from lunar_tune.sources.detect import find_logs

    paths = [Path(name).expanduser() for name in given or settings.logs]
    if not paths:
        paths = find_logs(plugins.sources())
        if not paths:
            raise UsageError("No log is named and none was found on this machine.", "lunar-tune harvest PATH")
    for path in paths:
        if not path.exists():
            raise SourceMissing(path)
    return paths


def watermarks(settings: Settings, given: Sequence[str]) -> dict[str, str]:
    """Return what each log, the file of tools and that of the system prompt look like now; no conversation is read."""
    from lunar_tune.dataset.system import trained_system
    from lunar_tune.sources.core.offered import given_tools
    from lunar_tune.sources.read import open_logs

    with open_logs(log_paths(settings.harvest, given), plugins.sources(), settings.harvest) as logs:
        marks = {str(log.path): log.watermark for log in logs}
    if settings.harvest.tools:
        marks["tools"] = content_id("tools", given_tools(settings.harvest.tools))
    return marks | {"system": content_id("system", trained_system(settings.dataset.system))}


def episode_lines(settings: Settings, given: Sequence[str], lost: list[Verdict]) -> Iterator[bytes]:
    """Yield the canonical episodes as JSON lines; what cannot be read is appended to `lost`."""
    from lunar_tune.episodes import to_line
    from lunar_tune.sources.read import open_logs, read_logs

    with open_logs(log_paths(settings.harvest, given), plugins.sources(), settings.harvest) as logs:
        for episode in read_logs(logs, settings.harvest, lost.append):
            yield to_line(episode)


def describe_logs(settings: Settings, given: Sequence[str], talk: Talk) -> list[dict[str, Any]]:
    """Return what each log named, set or found on this machine holds and lacks, or why it cannot be read.

    Raises:
        SourceError, MissingExtra: the only log named or set cannot be read.
    """
    from lunar_tune.sources.detect import Description, describe, find_logs
    from lunar_tune.sources.read import readers

    known = readers(plugins.sources(), settings.harvest)
    named = [Path(name).expanduser() for name in [*given] or settings.harvest.logs]
    described = []
    for path in named or find_logs(plugins.sources()):
        totals: list[int] = []

        def told(done: int, total: int, name: str = path.name, totals: list[int] = totals) -> None:
            totals.append(max(total, done + 1))
            talk.progress(f"reading {name}", done, totals[-1])

        try:
            if not path.exists():
                raise SourceMissing(path)
            found = describe(path, known, told)
        except (SourceError, MissingExtra) as error:
            if len(named) == 1:
                raise
            found = Description("", str(path), problem=error.message)
        finally:
            if totals:
                talk.progress(f"reading {path.name}", totals[-1], totals[-1])
        described.append(asdict(found))
    return described


def harvest(space: Workspace, given: Sequence[str] = (), *, full: bool = False) -> Dataset:
    """Read what is new in the logs, curate all of it and write a dataset; the same logs and settings give the same one.

    Raises:
        SourceError: a log cannot be read. DiskFull.
        UsageError: several logs without `also`, or a setting that cannot be followed; said before anything is read.
        SettingsError: the prompt of `dataset.system` cannot be read, or is empty.
    """
    from lunar_tune.curate import Ledger, curate
    from lunar_tune.curate.redact import redacted_tools
    from lunar_tune.dataset.write import write_dataset
    from lunar_tune.sources.core.offered import given_tools, with_tools
    from lunar_tune.sources.read import open_logs
    from lunar_tune.store import EpisodeStore
    from lunar_tune.store.decisions import Decisions, decisions_mark

    settings, ledger = space.settings, Ledger()
    decisions = Decisions(space.home).all()
    check_filters(settings.harvest)
    tools = given_tools(settings.harvest.tools)
    if settings.curate.redact:
        tools = redacted_tools(tools, settings.curate.names)
    paths = log_paths(settings.harvest, given)
    with contextlib.closing(EpisodeStore(space.home)) as kept:
        with open_logs(paths, plugins.sources(), settings.harvest) as logs:
            space.talk.say(f"reading {', '.join(f'{log.path} ({log.name})' for log in logs)}")
            gathered = gather(space, logs, kept, full=full)
        space.talk.say(_told(gathered))

        def episodes() -> Iterator[Episode]:
            for held in kept_episodes(space, kept, [log.path for log in logs], ledger):
                ledger.redacted.update(held.redacted)
                yield with_tools(held.episode, tools)

        return write_dataset(
            curate(episodes(), _of_redacted(settings), ledger, plugins.steps(), decisions),
            ledger,
            settings.dataset,
            space.home,
            sources=[{"source": log.source, "path": log.path, "watermark": log.watermark} for log in gathered],
            recorded={
                "curate": {**asdict(settings.curate), "names": len(settings.curate.names)},  # how many, not which
                **({"review": {"decisions": mark}} if (mark := decisions_mark(decisions)) else {}),
                "harvest": {
                    "since": settings.harvest.since,
                    "exclude": list(settings.harvest.exclude),
                    "tools": [tool_to_dict(tool) for tool in tools],
                },
            },
            redact=_redact(space) if settings.curate.redact else None,
        )


def _redact(space: Workspace) -> Callable[[str], str]:
    """Return what takes the secrets and listed names out of a system prompt that is in the settings, and says so."""
    from lunar_tune.curate.redact import redacted

    def clean(prompt: str) -> str:
        only = Episode(source="", path="", thread="", messages=(), system=prompt)
        found, counts = redacted(only, space.settings.curate.names)
        if counts:
            kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(counts.items()))
            space.talk.say(f"dataset.system: redacted {kinds}; it is trained with and served so")
        return found.system or ""

    return clean


def _of_redacted(settings: Settings) -> CurateSettings:
    """Return how episodes that are redacted already are curated; our models also go by their deployed name."""
    own = settings.curate.own_model.split()
    names = dict.fromkeys([*own, settings.deploy.name] if own else [])
    return replace(settings.curate, redact=False, own_model=" ".join(names))


def _told(gathered: Sequence[Gathered]) -> str:
    """Say what was read and what was known already."""
    read, known = sum(one.threads for one in gathered), sum(one.known for one in gathered)
    if not read:
        return f"nothing new in {known} conversations"
    return f"read {read} conversations" + (f"; {known - read} are as they were" if known > read else "")
