"""Which values of a setting are allowed, by `section.key`: a range for numbers, a list for lists of names."""

from __future__ import annotations

from typing import Any

CHECKS = ("scaffolding", "cutoff", "fleeting", "refusals", "injections")
MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
_RANGES: dict[str, tuple[float, float]] = {
    "curate.doubt": (0.05, 1),
    "curate.similarity": (0.5, 1),
    "curate.burst": (0, 10**9),
    "dataset.window": (64, 1_000_000),
    "dataset.near_duplicate": (0.3, 1),
    "dataset.boilerplate": (1, 10**9),
    "dataset.largest_group": (0.01, 1),
    "dataset.near_identical": (0, 10**9),
    "dataset.per_tool": (0, 10**9),
    "dataset.per_template": (0, 10**9),
    "dataset.per_origin": (0, 10**9),
    "dataset.per_day": (0, 10**9),
    "dataset.budget": (0, 10**15),
    "dataset.valid": (0, 0.9),
    "dataset.test": (0, 0.9),
    "train.rank": (1, 1024),
    "train.alpha": (1e-6, 1e6),
    "train.dropout": (0, 0.99),
    "train.layers": (0, 10_000),
    "train.learning_rate": (1e-9, 1),
    "train.warmup": (0, 1),
    "train.batch": (0, 4096),
    "train.watts": (0, 100_000),
    "train.accumulation": (1, 4096),
    "train.epochs": (1, 1000),
    "train.max_steps": (0, 10**9),
    "train.evaluate_every": (1, 10**9),
    "train.save_every": (1, 10**9),
    "train.patience": (0, 10**9),
    "train.rehearsal": (0, 0.9),
    "gate.margin": (0, 1),
    "gate.probe_margin": (0, 1),
    "gate.confidence": (0.5, 0.9999),
    "evaluate.max_tokens": (1, 100_000),
    "evaluate.parallel": (1, 64),
    "serve.port": (0, 65535),
    "serve.parallel": (1, 64),
}


def out_of_range(section: str, key: str, value: Any) -> str | None:
    """Return what a value should have been, None where it is allowed."""
    low_high = _RANGES.get(f"{section}.{key}")
    if section == "train" and key == "modules" and (not value or set(value) - set(MODULES)):
        return "some of " + ", ".join(MODULES)
    if section == "train" and key == "layers" and value > 1 and not float(value).is_integer():
        return "a share below 1 or a whole number"
    if section == "curate" and key == "skip" and set(value) - set(CHECKS):
        return "some of " + ", ".join(CHECKS)
    if low_high is None or low_high[0] <= value <= low_high[1]:
        return None
    return f"from {low_high[0]:g} to {low_high[1]:g}"
