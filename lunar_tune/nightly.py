"""One night, a straight line: harvest, train, export, judge, and promote only what is better.

Every step leaves an artefact and is skipped when that exists, so a night that was killed goes on where it stopped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeVar

from lunar_tune import __version__, workflow
from lunar_tune.artefacts import Evaluation
from lunar_tune.errors import LunarError, TooFewExamples
from lunar_tune.identity import content_id
from lunar_tune.train.awake import kept_awake
from lunar_tune.workflow import Workspace

NightOutcome = Literal["promoted", "refused", "not-enough-evidence", "nothing-to-do"]
Result = TypeVar("Result")


@dataclass
class Night:
    """What a night came to."""

    outcome: NightOutcome = "nothing-to-do"
    reasons: list[str] = field(default_factory=list)
    dataset: str | None = None
    run: str | None = None
    version: str | None = None
    evaluation: Evaluation | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    def timed(self, stage: str, work: Callable[[], Result]) -> Result:
        """Return the result of a stage and note the seconds it took."""
        began = time.monotonic()
        try:
            return work()
        finally:
            self.seconds[stage] = round(time.monotonic() - began, 3)

    def document(self) -> dict[str, Any]:
        """Return the form of `nightly --json`."""
        return {
            "outcome": self.outcome,
            "reasons": self.reasons,
            "dataset": self.dataset,
            "run": self.run,
            "evaluation": self.evaluation.id if self.evaluation else None,
            "version": self.version,
            "seconds": self.seconds,
        }


def nightly(space: Workspace, logs: Sequence[str] = (), *, force: bool = False) -> Night:
    """Run one night in a workspace that is locked for it.

    Raises:
        TooFewExamples: said before anything is trained; every other error of a stage as it is.
    """
    key = night_key(space, logs, force=force)
    if space.store.finished_run("nightly", key):
        return Night(reasons=["nothing changed in logs, decisions, settings or base since the last finished night"])
    number = space.store.start_run("nightly", key)
    try:
        with kept_awake():
            night = _night(space, logs, force=force)
    except TooFewExamples as error:
        space.store.finish_run(number, "too-few-examples", {"reasons": [error.message]}, key="")
        raise
    except LunarError as error:
        space.store.finish_run(number, "error", {"reasons": [error.message]}, key="")
        raise
    space.store.finish_run(number, night.outcome, night.document())
    return night


def _night(space: Workspace, logs: Sequence[str], *, force: bool) -> Night:
    night = Night()
    workflow.require_judge()
    dataset = night.timed("harvest", lambda: workflow.harvest(space, logs))
    night.dataset = dataset.id
    run = night.timed("train", lambda: workflow.train(space, dataset, force=force))
    night.run = run.id
    model = night.timed("export", lambda: workflow.export(space, run))
    night.version = model.version
    evaluation = night.timed("evaluate", lambda: workflow.evaluate(space, dataset, model))
    night.evaluation, night.reasons = evaluation, list(evaluation.reasons)
    if evaluation.verdict == "promote":
        night.timed("deploy", lambda: workflow.deploy(space, model))
        night.timed("promote", lambda: workflow.promote(space, model.version))
        night.outcome = "promoted"
    else:
        night.outcome = "refused" if evaluation.verdict == "refuse" else "not-enough-evidence"
    space.sweep_work()
    workflow.prune(space)
    return night


def night_key(space: Workspace, logs: Sequence[str], *, force: bool) -> str:
    """Return the content id of everything a night depends on: logs, forgotten, decided, settings, base, code."""
    inputs = {
        "logs": workflow.watermarks(space.settings, logs),
        "forgotten": workflow.forgotten_mark(space),
        "decided": workflow.decided_mark(space),
        "settings": {key: value for key, value in asdict(space.settings).items() if key != "serve"},
        "base": workflow.ground(space).base.id,  # raises before any work if it is missing or cannot be shipped
        "force": force,
        "code": __version__,
    }
    return content_id("night", inputs)
