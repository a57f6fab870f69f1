"""The workspace's recipe for others: one value, from which every config is written, and the module names of adapters.

The learning rate is that of AdamW with scale = alpha / rank, as in PEFT, so it means the same in every PEFT trainer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lunar_tune.settings import Settings

BLOCK = {"q_proj": "self_attn", "k_proj": "self_attn", "v_proj": "self_attn", "o_proj": "self_attn"}


@dataclass(frozen=True)
class Recipe:
    """How to train; `layers` are the indices of the adapted layers, empty for all of them."""

    base: str
    rank: int
    alpha: float
    dropout: float
    layers: tuple[int, ...]
    modules: tuple[str, ...]
    learning_rate: float
    warmup: float
    weight_decay: float
    clip: float
    batch: int
    accumulation: int
    epochs: int
    max_steps: int
    evaluate_every: int
    save_every: int
    window: int
    four_bit: bool
    bfloat16: bool
    seed: int
    unknown: tuple[str, ...] = ()
    """What of the settings could not be found out or written, in words."""

    @property
    def whole_alpha(self) -> float | int:
        """Alpha as a whole number where it is one: some configs take nothing else."""
        return int(self.alpha) if self.alpha == int(self.alpha) else self.alpha

    def module_names(self) -> list[str]:
        """Return the adapted modules as PEFT's `target_modules`; of some layers only, each by name."""
        if not self.layers:
            return list(self.modules)
        return [f"layers.{n}.{BLOCK.get(name, 'mlp')}.{name}" for n in self.layers for name in self.modules]


def recipe(settings: Settings) -> Recipe:
    """Return the recipe of the settings; the base is only looked for on this machine, never downloaded."""
    train = settings.train
    total = _layers_of(train.base)
    layers: tuple[int, ...] = ()
    unknown: tuple[str, ...] = ()
    if train.layers and total is None:
        unknown = (
            f"train.layers = {train.layers:g} (the top layers only): the base's config.json is not on this machine, so "
            "the number of its layers is not known and the configs put an adapter on all of them",
        )
    elif total is not None and train.adapted(total) < total:
        layers = tuple(range(total - train.adapted(total), total))
    if train.alpha != int(train.alpha):
        unknown = (*unknown, f"train.alpha = {train.alpha}: Axolotl and LLaMA-Factory take whole numbers only")
    local = Path(train.base).expanduser()
    return Recipe(
        base=str(local.resolve()) if local.is_dir() else train.base,
        rank=train.rank,
        alpha=train.alpha,
        dropout=train.dropout,
        layers=layers,
        modules=train.modules,
        learning_rate=train.learning_rate,
        warmup=train.warmup,
        weight_decay=train.weight_decay,
        clip=train.clip,
        batch=train.batch,
        accumulation=train.accumulation,
        epochs=train.epochs,
        max_steps=train.max_steps,
        evaluate_every=train.evaluate_every,
        save_every=train.save_every,
        window=settings.dataset.window,
        four_bit=train.quantize_base == "4bit",
        bfloat16=train.precision == "bfloat16",
        seed=train.seed,
        unknown=unknown,
    )


def _layers_of(base: str) -> int | None:
    """Return the number of layers of a base that is on this machine, None of another."""
    config: Path | None = Path(base).expanduser() / "config.json"
    if config is not None and not config.is_file():
        config = _cached(base)
    if config is None:
        return None
    try:
        layers = json.loads(config.read_text(encoding="utf-8"))["num_hidden_layers"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return layers if isinstance(layers, int) else None


def _cached(base: str) -> Path | None:
    from huggingface_hub import errors, try_to_load_from_cache

    try:
        found = try_to_load_from_cache(base, "config.json")
    except errors.HFValidationError:
        return None
    return Path(found) if isinstance(found, str) else None


def yaml_text(values: Mapping[str, Any], comment: str) -> str:
    """Return flat settings as YAML: values as JSON, which YAML contains, and a comment before them.

    A float is written with a point and an exponent's sign: YAML 1.1 reads `1e-05` as a text.
    """
    lines = [f"# {line}" for line in comment.splitlines()]
    return "\n".join([*lines, *(f"{key}: {_scalar(value)}" for key, value in values.items())]) + "\n"


def _scalar(value: Any) -> str:
    if isinstance(value, float):
        text = repr(value)
        return text if "." in text else re.sub(r"^(-?\d+)", r"\1.0", text)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(key)}: {_scalar(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_scalar, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
