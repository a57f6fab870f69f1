"""Looking on while somebody else trains: a run's record, finished or not, and its events as they come.

Nothing is locked and nothing is written, so that looking on never disturbs a run.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from lunar_tune.artefacts import TrainEvent
from lunar_tune.errors import RunMissing
from lunar_tune.train.events import METRICS, event_of

PAUSE = 0.5  # seconds between two looks


def find_record(home: Path, name: str | None = None) -> str:
    """Return the id of a training run, finished or not; without a name, the one that was written to last.

    Raises:
        RunMissing: there is none, or none of that name.
    """
    found: dict[str, int] = {}
    for path in _records(home):
        with contextlib.suppress(FileNotFoundError):  # a run that ends just now moves
            found[path.parent.name] = path.stat().st_mtime_ns
    known = sorted(found, key=lambda run: -found[run])
    if name is None and known:
        return known[0]
    if name is None or name not in found:
        raise RunMissing(name or "", known)
    return name


def read_events(home: Path, run: str) -> list[TrainEvent]:
    """Return a run's events so far; a line that is being written is left for later."""
    for folder in ("work", "runs", "work"):  # it may move from one to the other while we look
        with contextlib.suppress(FileNotFoundError):
            lines = (home / folder / run / METRICS).read_text(encoding="utf-8").splitlines(keepends=True)
            return [event_of(json.loads(line)) for line in lines if line.endswith("\n")]
    raise RunMissing(run, [])


def goes_on(home: Path, run: str) -> bool:
    """Tell whether a run is unfinished, somebody is working in the workspace, and not on a later run."""
    if (home / "runs" / run / METRICS).is_file() or find_record(home) != run:
        return False
    try:
        process = int((home / "lock").read_text())
        os.kill(process, 0)
    except PermissionError:
        return True
    except (OSError, ValueError):
        return False
    return True


def follow(home: Path, run: str, *, pause: Callable[[float], None] = time.sleep) -> Iterator[list[TrainEvent]]:
    """Yield a run's events so far, now and whenever there are more, until it ends or nobody works on it."""
    seen: list[TrainEvent] = []
    while True:
        alive = goes_on(home, run)  # asked first: what was written until then is read
        events = read_events(home, run)
        if events != seen:
            seen = events
            yield events
        if not alive or (events and events[-1].kind == "end"):
            return
        pause(PAUSE)


def _records(home: Path) -> list[Path]:
    running = [path for path in home.glob(f"work/*/{METRICS}") if not path.parent.name.endswith(".done")]
    return [*running, *home.glob(f"runs/*/{METRICS}")]
