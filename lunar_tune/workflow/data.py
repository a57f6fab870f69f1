"""harvest · episodes · sources: from logs to a dataset."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lunar_tune import plugins
from lunar_tune.artefacts import Dataset
from lunar_tune.errors import EmptyLog, SourceMissing
from lunar_tune.seams import Talk
from lunar_tune.settings import HarvestSettings, Settings
from lunar_tune.workflow.space import Workspace


def log_paths(settings: HarvestSettings, given: Sequence[str]) -> list[Path]:
    """Return the logs to read: those given, else those set, else those found on this machine.

    Raises:
        SourceMissing: a named file does not exist, or nothing was found.
    """
    from lunar_tune.sources.detect import find_logs

    named = list(given) or list(settings.logs)
    if not named:
        found = find_logs(plugins.sources())
        if not found:
            raise SourceMissing(Path("(no log named, none found)"))
        return found
    paths = [Path(name).expanduser() for name in named]
    for path in paths:
        if not path.exists():
            raise SourceMissing(path)
    return paths
