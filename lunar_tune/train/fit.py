"""What a run does so that it fits: batch, checkpointing, precision; and one notch less where memory ran out after all.

The window is never a notch: a row is trained whole or, said before, left out of the tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from lunar_tune.errors import DoesNotFit
from lunar_tune.settings import TrainSettings
from lunar_tune.train.machine import Machine
from lunar_tune.train.plan import MARGIN, Longest, Memory, Shape, estimate

SHORTEST_WINDOW = 64


@dataclass(frozen=True, slots=True)
class Plan:
    """What was chosen from the machine's state. `batch` times `accumulation` rows make a step, whatever fits."""

    batch: int
    accumulation: int
    checkpointing: Literal["on", "off"]
    precision: Literal["float32", "bfloat16"]
    quantize_base: Literal["none", "4bit", "8bit"]

    def apply(self, settings: TrainSettings) -> TrainSettings:
        """Return the settings that a trainer gets."""
        return replace(settings, **asdict(self))

    def words(self) -> str:
        """Return the plan in a line."""
        told = [f"{self.batch} x the longest row a pass, {self.accumulation} passes a step", self.precision]
        told += [f"a {self.quantize_base} base"] if self.quantize_base != "none" else []
        return ", ".join([*told, f"checkpointing {self.checkpointing}"])


def read_plan(values: dict[str, Any]) -> Plan:
    """Return a plan from what `asdict` made of it."""
    return Plan(**values)


def plans(settings: TrainSettings, machine: Machine) -> Iterator[Plan]:
    """Yield what the settings leave to choose from, the fastest first.

    A step keeps its rows: a smaller batch means more passes. Computing twice costs a third of the time, a smaller
    batch only what rows share; half the digits come last on a CPU, which multiplies float32 no slower.
    """
    if settings.precision != "auto":
        precisions: tuple[Literal["float32", "bfloat16"], ...] = (settings.precision,)
    elif machine.kind == "cpu":
        precisions = ("float32", "bfloat16")
    else:
        precisions = ("bfloat16",)
    choices: tuple[Literal["on", "off"], ...] = ("off", "on")
    if settings.checkpointing != "auto":
        choices = (settings.checkpointing,)
    rows = (settings.batch or 1) * settings.accumulation
    largest = settings.batch or settings.accumulation
    for precision in precisions:
        for checkpointing in choices:
            for batch in range(largest, 0, -1):
                if rows % batch == 0:
                    yield Plan(batch, rows // batch, checkpointing, precision, settings.quantize_base)


def memory(shape: Shape, settings: TrainSettings, plan: Plan, backend: str, machine: Machine, row: Longest) -> Memory:
    """Return what a plan takes."""
    return estimate(shape, plan.apply(settings), backend, machine.kind, row)


def fits(needed: int, machine: Machine) -> bool:
    """Tell whether so many bytes fit with the margin; a machine that does not tell what is free takes everything."""
    return not machine.free or needed * (1 + MARGIN) <= machine.free


def choose(shape: Shape, settings: TrainSettings, backend: str, machine: Machine, row: Longest) -> Plan:
    """Return the fastest plan that fits what is free.

    Raises:
        DoesNotFit: none does; the message says what the leanest needs, the hint what helps by how much.
    """
    leanest, least = None, 0
    for plan in plans(settings, machine):
        needed = memory(shape, settings, plan, backend, machine, row).total
        if fits(needed, machine):
            return plan
        if leanest is None or needed < least:
            leanest, least = plan, needed
    assert leanest is not None  # batch 1 divides every number of rows
    raise DoesNotFit(least, machine.free, MARGIN, _cures(shape, settings, leanest, backend, machine, row))


def _cures(
    shape: Shape, settings: TrainSettings, leanest: Plan, backend: str, machine: Machine, row: Longest
) -> list[str]:
    """Return what would make it fit, each with its figure."""

    def needs(plan: Plan, at: Longest) -> int:
        return memory(shape, settings, plan, backend, machine, at).total

    found = []
    if settings.precision == "float32" and settings.quantize_base == "none":
        size = needs(replace(leanest, precision="bfloat16"), row)
        found.append(f'train.precision = "bfloat16" needs {size / 1e9:.1f} GB')
    if settings.checkpointing == "off":
        size = needs(replace(leanest, checkpointing="on"), row)
        found.append(f'train.checkpointing = "on" needs {size / 1e9:.1f} GB')
    if settings.quantize_base == "none" and shape.packed is None:
        size = needs(replace(leanest, quantize_base="4bit"), row)
        found.append(f'train.quantize_base = "4bit" needs {size / 1e9:.1f} GB')
    low, high = SHORTEST_WINDOW, row.tokens
    while low < high:  # the longest window that fits
        middle = (low + high + 1) // 2
        at = Longest(middle, min(row.supervised, middle))
        low, high = (middle, high) if fits(needs(leanest, at), machine) else (low, middle - 1)
    if fits(needs(leanest, Longest(low, min(row.supervised, low))), machine):
        found.append(f"dataset.window = {low} fits")
    return [*found, "a smaller --base", "closing other programs"]


def step_down(plan: Plan, settings: TrainSettings, *, quantizes: bool) -> Plan | None:
    """Return the plan one notch below, after memory ran out; None at the bottom.

    Checkpointing first, then smaller passes, half the digits, and a 4-bit base where the trainer `quantizes` here. What
    the settings ask for by name is kept, but for the batch and the full-precision base.
    """
    if plan.checkpointing == "off" and settings.checkpointing == "auto":
        return replace(plan, checkpointing="on")
    rows = plan.batch * plan.accumulation
    smaller = next((size for size in range(plan.batch - 1, 0, -1) if rows % size == 0), None)
    if smaller is not None:
        return replace(plan, batch=smaller, accumulation=rows // smaller)
    if plan.precision == "float32" and settings.precision == "auto":
        return replace(plan, precision="bfloat16")
    if plan.quantize_base == "none" and quantizes:
        return replace(plan, quantize_base="4bit")
    return None
