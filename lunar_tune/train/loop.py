"""The one training loop: order, schedule, validation, checkpoints and events, for any engine.

The loss of a step is the mean NLL over all supervised tokens of its rows, however they are cut into forward passes. The
delivered adapter is the best by validation loss, the last where there are no validation rows; training stops early when
`patience` validations brought no better one. At float32 and a fixed
number of threads the same inputs give the same bytes, interrupted and resumed or not.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from lunar_tune.artefacts import REHEARSED, Adapter, TokenRow, TrainEvent
from lunar_tune.errors import DiskFull
from lunar_tune.identity import content_id, file_sha256
from lunar_tune.seams import OnEvent
from lunar_tune.settings import TrainSettings
from lunar_tune.train.adapter import adapter_config
from lunar_tune.train.checkpoints import Checkpoint, Checkpoints
from lunar_tune.train.engine import Engine
from lunar_tune.train.events import Recorder
from lunar_tune.train.initial import initial_weights
from lunar_tune.train.memory import memory_errors
from lunar_tune.train.order import Order, draw_seed
from lunar_tune.train.packing import pack
from lunar_tune.train.schedule import learning_rate
from lunar_tune.train.settle import settled
from lunar_tune.train.tripwires import check_loss, check_rows, read_base

MEASURED = 12  # rows of each kind whose distance from the base is measured: enough for a curve, little to compute
# settings that leave the numbers of a step as they are: a resume may change them
_FREE = (
    "base",
    "backend",
    "threads",
    "min_examples",
    "preset",
    "rehearsal",
    "save_every",
    "checkpointing",
    "watts",
    "mlflow",
    "mlflow_uri",
)


@dataclass(frozen=True)
class Job:
    """What one run is made of."""

    backend: str
    base: Path
    train: Sequence[TokenRow]
    valid: Sequence[TokenRow]
    settings: TrainSettings
    work: Path


def run(job: Job, open_engine: Callable[[], Engine], on_event: OnEvent) -> Adapter:
    """Train, resuming from the newest checkpoint in the work folder; write `work/adapter/` and `work/metrics.jsonl`.

    Raises:
        BaseMissing, TrainingError, DiskFull.
    """
    job = replace(job, settings=settled(job.settings))
    facts = read_base(job.base)
    notes = check_rows(job.train, job.valid, facts)
    checkpoints = Checkpoints(job.work, recipe_id(job))
    found = checkpoints.newest()
    record = Recorder(job.work, on_event)
    record.rewind(found.step if found else 0)
    order = Order(job.train, job.settings)
    config = adapter_config(facts.layers, job.settings)
    loop = _Loop(job, order, checkpoints, record, config)
    try:
        loop.start(found, notes)
        if found is None or not (found.step == order.steps or loop.stopped(found.step)):
            with memory_errors():
                loop.train(open_engine(), found)
        return loop.end()
    except DiskFull as full:
        where = f"`df -h {shlex.quote(str(job.work))}` shows how much is left"
        kept = f"training goes on from step {checkpoints.steps()}"
        full.hint = f"Free some space there ({where}) and run the same command again: {kept}."
        raise


def recipe_id(job: Job) -> str:
    """Return the id of everything that shapes the numbers of a run; a checkpoint fits only the same."""
    recipe = {key: value for key, value in asdict(job.settings).items() if key not in _FREE}
    weights = sorted((p.name, p.stat().st_size) for p in job.base.glob("*.safetensors"))
    base = [file_sha256(job.base / "config.json"), weights]
    return content_id("recipe", [job.backend, recipe, base, _digest(job.train), _digest(job.valid)])


class _Loop:
    def __init__(
        self, job: Job, order: Order, checkpoints: Checkpoints, record: Recorder, config: dict[str, object]
    ) -> None:
        self.job, self.order, self.checkpoints, self.record, self.config = job, order, checkpoints, record, config
        self.limit = job.settings.batch * max(len(row.ids) for row in (*job.train, *job.valid))
        supervised = [row for row in job.valid if row.supervised]
        new = [row for row in supervised if not row.id.startswith(REHEARSED)]
        old = [row for row in supervised if row.id.startswith(REHEARSED)]
        self.valid = pack(new, self.limit)
        self.measured = {"kl_new": pack(_spread(new), self.limit), "kl_old": pack(_spread(old), self.limit)}
        self.base_states: dict[str, list[Any]] = {}
        self.tokens_left = 0
        self.seconds = 0.0
        self.tokens_done = 0

    def start(self, found: Checkpoint | None, notes: Sequence[str]) -> None:
        """Say where training starts and what is unusual about it."""
        step = found.step if found else 0
        resumed = [f"resumed from the checkpoint of step {step}"] if found else []
        if found:
            self._say("checkpoint", step, valid_loss=found.valid_loss)
        self._say("start", step, note="; ".join([*resumed, *notes]))

    def train(self, engine: Engine, found: Checkpoint | None) -> None:
        """Do all steps that are left."""
        settings, order = self.job.settings, self.order
        first = found.step if found else 0
        if found:
            engine.load(found.weights(), found.moments(), found.step)
        else:
            engine.load(initial_weights(engine.shapes(), settings.rank, settings.seed), {}, 0)
            self._validate(engine, 0)
        self.checkpoints.require_room(engine.weights(), 1)
        self.tokens_left = sum(
            len(self.job.train[row].ids) for step in range(first + 1, order.steps + 1) for row in order.rows(step)
        )
        for step in range(first + 1, order.steps + 1):
            self._step(engine, step)
            last = step == order.steps
            judge = bool(self.valid) and (last or step % settings.evaluate_every == 0)
            loss = self._validate(engine, step) if judge else None
            if judge or last or step % settings.save_every == 0:
                self.checkpoints.save(step, loss, engine.weights(), self.config, engine.moments())
                self._say("checkpoint", step, valid_loss=loss)
            if judge and self.stopped(step):
                break

    def stopped(self, step: int) -> bool:
        """Tell whether the last `patience` validations up to `step` brought no better loss.

        The checkpoints alone say so, one of which is of the best: a resumed run stops where an uninterrupted one does.
        """
        settings, best = self.job.settings, self.checkpoints.best()
        if not settings.patience or best is None or best.valid_loss is None:
            return False
        return step // settings.evaluate_every - best.step // settings.evaluate_every >= settings.patience

    def end(self) -> Adapter:
        """Deliver the best adapter."""
        settings, target = self.job.settings, self.job.work / "adapter"
        best = self.checkpoints.best()
        assert best is not None  # the last step is always saved
        last = self.checkpoints.steps()
        self.checkpoints.deliver(best, target)
        early = f"stopped early: {settings.patience} validations brought no better loss than that of step {best.step}"
        note = early if last < self.order.steps else ""
        self._say("end", last, valid_loss=best.valid_loss, best_step=best.step, note=note)
        return Adapter(target, settings.rank, settings.alpha)

    def _step(self, engine: Engine, step: int) -> None:
        settings, begun = self.job.settings, time.perf_counter()
        rows = [self.job.train[index] for index in self.order.rows(step)]
        batches = pack(rows, self.limit)
        supervised = sum(len(batch.targets) for batch in batches)
        total = 0.0
        for place, batch in enumerate(batches):
            total += engine.accumulate(batch, supervised, draw_seed("dropout", settings.seed, step, place))
        loss, norm = total / supervised, engine.norm()
        check_loss(loss, norm, step, rows)
        rate = learning_rate(step, self.order.steps, settings.learning_rate, settings.warmup)
        engine.update(rate, _clip(norm, settings.clip))
        tokens, seconds = sum(batch.tokens for batch in batches), time.perf_counter() - begun
        self.tokens_done += tokens
        self.tokens_left -= tokens
        self.seconds += seconds
        self._say(
            "step",
            step,
            loss=loss,
            learning_rate=rate,
            tokens_per_second=round(tokens / seconds, 1),
            memory=engine.memory(),
            seconds_left=round(self.tokens_left * self.seconds / self.tokens_done, 1),
        )

    def _validate(self, engine: Engine, step: int) -> float | None:
        if not self.valid:
            return None
        total = sum(engine.nll(batch) for batch in self.valid)
        loss = total / sum(len(batch.targets) for batch in self.valid)
        check_loss(loss, 0.0, step, self.job.valid)
        self._say("valid", step, valid_loss=loss, **self._drift(engine))
        return loss

    def _drift(self, engine: Engine) -> dict[str, float]:
        """Return how far the model is from its base: KL(base || tuned) in nats per supervised token."""
        found = {}
        for kind, batches in self.measured.items():
            if not batches:
                continue
            if kind not in self.base_states:
                self.base_states[kind] = [engine.base_states(batch) for batch in batches]
            total = sum(engine.drift(*pair) for pair in zip(batches, self.base_states[kind], strict=True))
            found[kind] = round(total / sum(len(batch.targets) for batch in batches), 6)
        return found

    def _say(self, kind: str, step: int, **values: object) -> None:
        epoch = round(self.order.epoch(step), 4)
        at = round(time.time(), 3)
        self.record(TrainEvent(kind=kind, step=step, steps=self.order.steps, epoch=epoch, at=at, **values))  # type: ignore[arg-type]


def _spread(rows: Sequence[TokenRow]) -> list[TokenRow]:
    """Return at most `MEASURED` rows, evenly spread."""
    return [rows[index * len(rows) // MEASURED] for index in range(MEASURED)] if len(rows) > MEASURED else list(rows)


def _clip(norm: float, largest: float) -> float:
    """Return the factor that brings a gradient of `norm` down to `largest`; as torch's clip_grad_norm_ computes it."""
    return min(1.0, largest / (norm + 1e-6)) if largest > 0 else 1.0


def _digest(rows: Sequence[TokenRow]) -> str:
    digest = blake2b(digest_size=16)
    for row in rows:
        digest.update(len(row.ids).to_bytes(8, "little"))
        digest.update(np.array([row.ids, row.mask], dtype="<i8").tobytes())
    return digest.hexdigest()
