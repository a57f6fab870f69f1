"""The record of a run: one line of metrics.jsonl an event, written before anybody is told of it."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

from lunar_tune.artefacts import TrainEvent
from lunar_tune.files import PRIVATE_FILE, disk_errors, make_private_dir, write_text
from lunar_tune.seams import OnEvent

METRICS = "metrics.jsonl"


def event_line(event: TrainEvent) -> str:
    """Return an event as one line of JSON; fields without a value are left out."""
    values = {key: value for key, value in dataclasses.asdict(event).items() if value is not None and value != ""}
    return json.dumps(values, separators=(",", ":"), allow_nan=False) + "\n"


def event_of(values: dict[str, Any]) -> TrainEvent:
    """Return the event of a parsed line."""
    return TrainEvent(**values)


class Recorder:
    """Appends events to `work/metrics.jsonl` and passes them on."""

    def __init__(self, work: Path, on_event: OnEvent) -> None:
        make_private_dir(work)
        self.path = work / METRICS
        self.on_event = on_event

    def rewind(self, step: int) -> None:
        """Forget what came after the checkpoint of `step` (0: everything), so that a resumed run repeats no line."""
        if not self.path.exists():
            return
        kept = [line for line in self.path.read_text(encoding="utf-8").splitlines() if _before(line, step)]
        write_text(self.path, "".join(f"{line}\n" for line in kept))

    def __call__(self, event: TrainEvent) -> None:
        """Append the event in one write, then tell the listener; all but steps outlive a power cut, as checkpoints do.

        Raises:
            DiskFull: no room; a torn last line is forgotten by the run that goes on.
        """
        with disk_errors(self.path):
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, PRIVATE_FILE)
            with os.fdopen(descriptor, "ab") as handle:
                handle.write(event_line(event).encode())
                handle.flush()
                if event.kind != "step":
                    os.fsync(handle.fileno())
        self.on_event(event)


def _before(line: str, step: int) -> bool:
    try:
        values = json.loads(line)
    except ValueError:  # the torn last line of a crash
        return False
    at = values.get("step", 0)
    return step > 0 and bool(at < step or (at == step and values.get("kind") in ("step", "valid")))
