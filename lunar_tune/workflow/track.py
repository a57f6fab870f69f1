"""Who hears of a run of training: the person, and MLflow where `train.mlflow` asks for it.

MLflow's failures cost a line, never the training; what it missed is recorded at the next event or at the end.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lunar_tune.artefacts import Run, TrainEvent
from lunar_tune.workflow.follow import read_events
from lunar_tune.workflow.space import Workspace

if TYPE_CHECKING:
    from lunar_tune.train.mlflow_record import MlflowRecord

EVERY = 25  # steps between two visits to MLflow


class Tracker:
    """Listens to a run.

    Raises:
        MissingExtra, TrainingError: MLflow is asked for and cannot be used; said before training.
    """

    def __init__(self, space: Workspace, run: str, inputs: dict[str, Any]) -> None:
        self.space, self.run = space, run
        self.record = _open(space, run, inputs) if space.settings.train.mlflow else None
        self._failed = False

    def hear(self, event: TrainEvent) -> None:
        """Show an event, and record now and then."""
        self.space.talk.training(event)
        if event.kind in ("valid", "end") or event.step % EVERY == 0:
            self._do(lambda record: record.write(read_events(self.space.home, self.run)))

    def stopped(self, error: BaseException) -> None:
        """Note that training ended without an adapter."""
        status = "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
        self._do(lambda record: record.stop(status))

    def done(self, run: Run) -> None:
        """Record a finished run to its end, once."""

        def write(record: MlflowRecord) -> None:
            if not record.finished:
                record.write(read_events(self.space.home, self.run))
                record.finish(run.path)

        self._do(write)

    def _do(self, work: Callable[[MlflowRecord], None]) -> None:
        if self.record is None:
            return
        try:
            work(self.record)
        except Exception as error:  # whatever a database, a server or MLflow itself comes up with
            if not self._failed:
                said = (str(error).splitlines() or [""])[0]
                self.space.talk.say(f"MLflow did not record this ({type(error).__name__}: {said}); training goes on")
            self._failed = True


def _open(space: Workspace, run: str, inputs: dict[str, Any]) -> MlflowRecord:
    from lunar_tune.train.adapter import public_name
    from lunar_tune.train.mlflow_record import MlflowRecord, tracking_uri, without_password

    uri, said = tracking_uri(space.home, space.settings.train.mlflow_uri, os.environ)
    if said:
        space.talk.say(said)
    named = {"base_name": public_name(str(inputs["base_name"]))}
    params = {**inputs["recipe"], **{key: inputs[key] for key in ("tokens", "dataset", "code")}, **named}
    record = MlflowRecord(uri, Path(space.home), run, params)
    space.talk.say(f"recording in MLflow at {without_password(uri)}")
    return record
