"""harvest · episodes · sources: from logs to a dataset."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lunar_tune import plugins
from lunar_tune.artefacts import Dataset, Verdict
from lunar_tune.errors import SourceMissing, UsageError
from lunar_tune.settings import HarvestSettings, Settings
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
    """Return what each log looks like now, without reading its conversations."""
    from lunar_tune.sources.read import open_logs

    with open_logs(log_paths(settings.harvest, given), plugins.sources(), settings.harvest) as logs:
        return {str(log.path): log.watermark for log in logs}


def episode_lines(settings: Settings, given: Sequence[str], lost: list[Verdict]) -> Iterator[str]:
    """Yield the canonical episodes as JSON lines; what cannot be read is appended to `lost`."""
    import orjson

    from lunar_tune.episodes import to_dict
    from lunar_tune.sources.read import open_logs, read_logs

    with open_logs(log_paths(settings.harvest, given), plugins.sources(), settings.harvest) as logs:
        for episode in read_logs(logs, settings.harvest, lost.append):
            yield orjson.dumps(to_dict(episode)).decode()


def describe_logs(settings: Settings, given: Sequence[str]) -> list[dict[str, Any]]:
    """Return what each log named, set or found on this machine holds and lacks."""
    from lunar_tune.sources.detect import describe, find_logs

    named = [*given] or [*settings.harvest.logs]
    paths = log_paths(settings.harvest, named) if named else find_logs(plugins.sources())
    return [asdict(describe(path, plugins.sources())) for path in paths]


def harvest(space: Workspace, given: Sequence[str] = ()) -> Dataset:
    """Read logs, curate them and write a dataset; the same logs and settings give the same dataset.

    Raises:
        SourceError: a log cannot be read. UsageError: several logs without `also`. DiskFull.
    """
    from lunar_tune.curate import Ledger, curate
    from lunar_tune.dataset.write import write_dataset
    from lunar_tune.sources.read import open_logs, read_logs

    settings, ledger = space.settings, Ledger()
    with open_logs(log_paths(settings.harvest, given), plugins.sources(), settings.harvest) as logs:
        space.talk.say(f"reading {', '.join(f'{log.path} ({log.name})' for log in logs)}")
        episodes = read_logs(logs, settings.harvest, ledger)
        drafts = curate(episodes, settings.curate, ledger, plugins.steps())
        dataset = write_dataset(
            drafts,
            ledger,
            settings.dataset,
            space.home,
            sources=[{"source": log.name, "path": str(log.path), "watermark": log.watermark} for log in logs],
            recorded={"curate": settings.curate, "harvest": {"since": settings.harvest.since}},
        )
        for log in logs:
            space.store.save_watermark(str(log.path), log.name, log.watermark)
    return dataset
