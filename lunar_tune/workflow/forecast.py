"""`train --plan`: what a run would take, in memory, time, energy and disk, before any of it is spent."""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lunar_tune.artefacts import Dataset, TokenRow, Tokens
from lunar_tune.errors import ArtefactBroken, DiskFull
from lunar_tune.files import artefacts_in, is_artefact, read_jsonl, read_manifest
from lunar_tune.settings import Settings, TrainSettings
from lunar_tune.workflow import fitting
from lunar_tune.workflow.space import Workspace

if TYPE_CHECKING:
    from lunar_tune.train.fit import Plan
    from lunar_tune.train.machine import Machine
    from lunar_tune.train.plan import Shape
    from lunar_tune.workflow.ground import Ground

# bytes a weight in a GGUF: llama.cpp's block sizes; Q4_K_M with its share of Q6_K as in a 3B Llama
GGUF_BYTES = {"F32": 4.0, "F16": 2.0, "BF16": 2.0, "Q8_0": 34 / 32, "Q4_K_M": 0.63}
KEPT_CHECKPOINTS = 4  # the best, the last two, and the one being written
ADAPTER_COPIES = 3  # in the work folder, in the run, and on its way there
# Watts that a machine draws while it trains, where `train.watts` says nothing: a desktop processor's usual power limit
# (65 W class), a Mac mini's highest draw (65 W, support.apple.com/103253), an H100 PCIe's limit (350 W, its data sheet)
WATTS = {"cpu": 65.0, "mps": 65.0, "metal": 65.0, "cuda": 350.0}
OF_PRODUCT = 0.5  # of the speed of a product of large matrices is what a step reaches
FORWARD = 0.5  # of a training token's time is a judged one's: no backward pass
PACKED_STEPS = 40  # whose share of tokens that are computed once stands for all


@dataclass(frozen=True)
class Rows:
    """The rows of a run; `missing` are rehearsed ones that are made before the first training."""

    train: Sequence[TokenRow]
    valid: Sequence[TokenRow]
    missing: int


def plan_run(space: Workspace, dataset: Dataset) -> dict[str, Any]:
    """Return the form of `train --plan --json`; nothing is trained, no model is asked.

    Raises:
        BaseMissing, BaseNotExportable, DoesNotFit.
    """
    from lunar_tune import plugins
    from lunar_tune.train.backends import choose_backend
    from lunar_tune.train.fit import choose, memory
    from lunar_tune.train.machine import look
    from lunar_tune.workflow import learn
    from lunar_tune.workflow.ground import ground

    settings = space.settings.train
    on = ground(space)
    backend = choose_backend(settings.backend, plugins.backends())
    tokens, complete = _tokens(space, dataset, on)
    asked = learn.asked_of(space, on, tokens, backend)
    held, shape, machine = fitting.loaded_models(space), fitting.base_shape(on.base), look(backend)
    begun, row = fitting.frozen(space, asked), fitting.longest(tokens, settings)
    if shape is None:
        plan = begun.plan if begun else fitting.as_asked(settings)
    else:
        plan = begun.plan if begun else choose(shape, settings, backend, machine, row)
    rows = _rows(tokens, dataset, 0.0 if complete else settings.rehearsal)
    run = _Run(space, on, shape, machine, backend, plan, plan.apply(settings), rows)
    taken = memory(shape, settings, plan, backend, machine, row) if shape else None
    time_, energy = run.time(), None
    if time_["seconds"] is not None:
        watts = settings.watts or WATTS[machine.kind]
        energy = {"watt_hours": round(watts * time_["seconds"] / 3600, 1), "watts": watts}
        energy["from"] = "train.watts" if settings.watts else f"assumed of {machine.name}"
    return {
        "base": on.base.name,
        "backend": backend,
        "device": {"kind": machine.kind, "name": machine.name},
        "rows": len(rows.train) + rows.missing,
        "longest": {"tokens": row.tokens, "supervised": row.supervised},
        "plan": {"batch": plan.batch, "accumulation": plan.accumulation, "checkpointing": plan.checkpointing}
        | {"precision": plan.precision, "quantize_base": plan.quantize_base},
        "frozen": begun.run if begun else None,
        "memory": {"parts": taken.parts(), "total": taken.total} if taken else None,
        "free": {"memory": machine.free, "of": machine.total, "held_by_ollama": [m["name"] for m in held]},
        "steps": run.steps(),
        "time": time_,
        "energy": energy,
        "disk": disk(space, on, shape),
    }


def require_disk(space: Workspace, on: Ground) -> None:
    """Make sure that the disk has room for what a night writes: checkpoints, adapter and the exported model.

    Raises:
        DiskFull: it has not; said before training.
    """
    shape = fitting.base_shape(on.base)
    found = disk(space, on, shape)
    if shape is not None and found["needed"] > found["free"]:
        error = DiskFull(space.home, found["needed"], found["free"])
        listed = ", ".join(f"{name} {size / 1e9:.1f} GB" for name, size in found["parts"].items() if size)
        error.hint = f"A night here writes {listed}. Free some space, or move the workspace with --home."
        raise error


def disk(space: Workspace, on: Ground, shape: Shape | None) -> dict[str, Any]:
    """Return bytes by part that a night still has to write, their sum, and what is free where the workspace lies."""
    folder = next(path for path in (space.home, *space.home.parents) if path.exists())
    free = shutil.disk_usage(folder).free
    if shape is None:
        return {"parts": {}, "needed": None, "free": free}
    parts = disk_parts(space.settings, shape, on.whole.parameters, _written(space, on))
    return {"parts": parts, "needed": sum(parts.values()), "free": free}


def disk_parts(settings: Settings, shape: Shape, parameters: int, written: Sequence[str]) -> dict[str, int]:
    """Return bytes by part of a night for a base of so many weights; `written` are formats of its GGUF that exist.

    A format that llama.cpp writes goes through a 16-bit file, which is removed afterwards.
    """
    from lunar_tune.export.layout import DIRECT
    from lunar_tune.train.plan import adapter_size

    weights, quant = max(parameters, shape.parameters), settings.export.quant
    adapter = adapter_size(shape, settings.train) * 4
    wanted = {quant, *(["F16"] if settings.train.rehearsal else [])} - set(written)
    deployed = settings.deploy.registry != "local"
    return {
        "checkpoints": KEPT_CHECKPOINTS * 3 * adapter,
        "adapter": ADAPTER_COPIES * adapter,
        "base as GGUF": round(sum(weights * GGUF_BYTES[name] for name in wanted)),
        "exported model": round(weights * GGUF_BYTES[quant]),
        "while exporting": 0 if quant in DIRECT else round(weights * GGUF_BYTES["F16"]),
        "copy in Ollama": round(weights * GGUF_BYTES[quant]) if deployed else 0,
    }


def _written(space: Workspace, on: Ground) -> list[str]:
    from lunar_tune.workflow.learn import base_gguf_folder

    return [name for name in GGUF_BYTES if is_artefact(base_gguf_folder(space, on, name))]


def _tokens(space: Workspace, dataset: Dataset, on: Ground) -> tuple[Tokens, bool]:
    """Return the run's tokens, and whether rehearsed rows are among them: asking the base for them takes a while."""
    from lunar_tune.workflow import learn

    settings = space.settings.train
    if not settings.rehearsal or is_artefact(learn.rehearsal_folder(space, on)):
        return learn.dataset_tokens(space, dataset, on), True
    bare = replace(space, settings=replace(space.settings, train=replace(settings, rehearsal=0.0)))
    return learn.dataset_tokens(bare, dataset, on), False


def _rows(tokens: Tokens, dataset: Dataset, share: float) -> Rows:
    from lunar_tune.dataset.general import general_prompts
    from lunar_tune.tokens import read_tokens

    wanted = round(dataset.counts["train"] * share / (1 - share))
    return Rows(
        read_tokens(tokens, "train"),
        [row for row in read_tokens(tokens, "valid") if row.supervised],
        min(wanted, len(general_prompts())) if share else 0,
    )


@dataclass(frozen=True)
class _Run:
    """A run that is being foreseen."""

    space: Workspace
    on: Ground
    shape: Shape | None
    machine: Machine
    backend: str
    plan: Plan
    settings: TrainSettings
    rows: Rows

    def steps(self) -> int:
        """Return the number of optimizer steps."""
        per_step = self.plan.batch * self.plan.accumulation
        planned = -(-(len(self.rows.train) + self.rows.missing) // per_step) * self.settings.epochs
        return min(planned, self.settings.max_steps) if self.settings.max_steps else planned

    def tokens(self) -> float:
        """Return the tokens of the rows of all steps, and those judged on the way at their share of a token's time."""
        train = sum(len(row.ids) for row in self.rows.train)
        all_rows = len(self.rows.train) + self.rows.missing
        mean = train / max(1, len(self.rows.train))  # rehearsed rows are shorter: this errs on the long side
        per_step = self.plan.batch * self.plan.accumulation
        trained = mean * min(all_rows * self.settings.epochs, per_step * self.steps())
        looks = self.steps() // self.settings.evaluate_every + 2
        return trained + FORWARD * looks * sum(len(row.ids) for row in self.rows.valid)

    def time(self) -> dict[str, Any]:
        """Return the expected seconds and what they rest on: earlier runs like this one, or a timed product."""
        rate = self._earlier_rate()
        if rate is not None:
            return {"seconds": round(self.tokens() / rate[0]), "tokens_per_second": rate[0], "from": rate[1]}
        rate = self._estimated_rate()
        if rate is None:
            return {"seconds": None, "tokens_per_second": None, "from": "no earlier run, and nothing to time"}
        return {"seconds": round(self.tokens() / rate[0]), "tokens_per_second": rate[0], "from": rate[1]}

    def _earlier_rate(self) -> tuple[float, str] | None:
        """Return the median tokens a second of the newest run of this base, trainer and plan."""
        same: dict[str, Any] = {
            "backend": self.backend,
            "precision": self.plan.precision,
            "checkpointing": self.plan.checkpointing,
        }
        same |= {"layers": self.settings.layers, "quantize_base": self.plan.quantize_base}
        for path in reversed(artefacts_in(self.space.home / "runs")):
            try:
                manifest = read_manifest(path)
                if manifest["base"] != self.on.base.id or any(manifest["recipe"].get(k) != v for k, v in same.items()):
                    continue
                events = [event for event in read_jsonl(path / "metrics.jsonl") if event.get("tokens_per_second")]
            except (ArtefactBroken, KeyError, OSError):
                continue
            if events:
                rate = statistics.median(event["tokens_per_second"] for event in events)
                return round(rate, 1), f"run {path.name} of the same base"
        return None

    def _estimated_rate(self) -> tuple[float, str] | None:
        from lunar_tune.train.machine import speed

        found = speed(self.backend, self.plan.precision, self.settings.threads) if self.shape else None
        if found is None:
            return None
        rate = found * OF_PRODUCT / (self._operations() * self._computed())
        return round(
            rate, 1
        ), f"an estimate: half of the {found / 1e9:.0f} GFLOP/s that a product of matrices reaches here"

    def _operations(self) -> float:
        """Return multiplications and additions a token: forward everywhere, backward from the lowest adapted layer."""
        assert self.shape is not None
        shape, rows = self.shape, self.rows.train
        length = sum(len(row.ids) ** 2 for row in rows) / sum(len(row.ids) for row in rows)
        layer = 2 * shape.per_layer + 2 * length * shape.heads * shape.head_dim
        adapted, twice = self.settings.adapted(shape.layers), self.plan.checkpointing == "on"
        share = sum(row.supervised for row in rows) / sum(len(row.ids) for row in rows)
        return layer * (shape.layers + adapted * (2 if twice else 1)) + 4 * share * shape.vocabulary * shape.hidden

    def _computed(self) -> float:
        """Return which share of the rows' tokens is computed: what rows share is, once."""
        from lunar_tune.train.order import Order
        from lunar_tune.train.packing import pack

        rows = self.rows.train
        order = Order(rows, self.settings)
        limit = self.plan.batch * max(len(row.ids) for row in rows)
        steps = range(1, min(order.steps, PACKED_STEPS) + 1)
        passes = [one for step in steps for one in pack([rows[index] for index in order.rows(step)], limit)]
        return sum(len(one.ids) for one in passes) / sum(one.tokens for one in passes)
