"""The weights of a base with an adapter added: W + strength · alpha/rank · B·A, in float32, a few rows at a time.

The adapter is PEFT's layout (LoRA, Hu et al. 2021). One that names a tensor the base has not, or does not fit it, or
says more than one scale can (rsLoRA, DoRA, patterns, trained biases or whole modules) is refused, never fused in part.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lunar_tune.artefacts import Adapter
from lunar_tune.errors import ArtefactBroken, ExportError
from lunar_tune.export.tensors import Array, Tensors, checkpoint_files
from lunar_tune.files import read_json

_LORA_NAME = re.compile(r"(?:base_model\.model\.)?(?P<module>.+)\.lora_(?P<half>[AB])\.(?:default\.)?weight")
_MORE_THAN_A_SCALE = (
    *("use_dora", "use_rslora", "rank_pattern", "alpha_pattern", "modules_to_save", "fan_in_fan_out"),
    *("trainable_token_indices", "lora_bias", "target_parameters"),
)
_HINT = "Train again on this base, or export with the base that the adapter was trained on."


class Fused:
    """A base's tensors with the adapter's part added, by name and rows."""

    def __init__(self, base: Path, adapter: Adapter | None, strength: float = 1.0) -> None:
        """Open the files and check that every part of the adapter fits.

        Raises:
            ExportError: a file cannot be read, or the adapter does not fit; the message names the tensors.
        """
        self.tensors = Tensors(checkpoint_files(base))
        self.names = tuple(self.tensors.entries)
        self._scale = np.float32(strength * adapter.scale) if adapter else np.float32(0)
        self._pairs = read_pairs(adapter, self.tensors) if adapter else {}

    def check_used(self, names: Collection[str]) -> None:
        """Make sure that the adapter changes none but these tensors.

        Raises:
            ExportError: it changes others, such as the output matrix of a model that reuses its embedding for it.
        """
        unused = [name for name in self._pairs if name not in names]
        if unused:
            listed = ", ".join(map(repr, unused[:8]))
            raise ExportError(f"The adapter changes {listed}, which this model does not use.", _HINT)

    def adapts(self, name: str) -> bool:
        """Tell whether the adapter changes a tensor."""
        return name in self._pairs

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape."""
        return self.tensors.shape(name)

    def rows(self, name: str, start: int = 0, stop: int | None = None) -> Array:
        """Return rows [start, stop) of a tensor as float32, fused."""
        weights = self.tensors.rows(name, start, stop)
        if name in self._pairs:
            down, up = self._pairs[name]
            weights += self._scale * (up[start:stop] @ down)
        return weights


def fused_tensors(base: Path, adapter: Adapter | None, strength: float = 1.0) -> Iterator[tuple[str, Array]]:
    """Yield (name, float32 tensor) of every tensor of the base, in the order of its files, one at a time in memory.

    Raises:
        ExportError: a file cannot be read, or the adapter does not fit; before the first tensor.
    """
    fused = Fused(base, adapter, strength)
    for name in fused.names:
        yield name, fused.rows(name)


def read_pairs(adapter: Adapter, base: Tensors) -> dict[str, tuple[Array, Array]]:
    """Return {base tensor: (A [rank, in], B [out, rank])} of an adapter.

    Raises:
        ExportError: every tensor that does not fit the base, or every setting that one scale cannot express.
    """
    problems = _settings_problems(adapter)
    weights = adapter.path / "adapter_model.safetensors"
    if not weights.is_file():
        raise ExportError(f"The adapter folder {str(adapter.path)!r} has no adapter_model.safetensors.", _HINT)
    stored = Tensors([weights])
    halves: dict[str, dict[str, Array]] = {}
    for name in stored.entries:
        match = _LORA_NAME.fullmatch(name)
        if match is None or f"{match['module']}.weight" not in base.entries:
            problems.append(f"{name!r} belongs to no tensor of the base")
        else:
            halves.setdefault(f"{match['module']}.weight", {})[match["half"]] = stored.rows(name)
    pairs = {name: _pair(name, found, base.shape(name), adapter.rank, problems) for name, found in halves.items()}
    if not halves:
        problems.append("it holds no LoRA tensors")
    if problems:
        listed = "; ".join(problems[:8]) + (f"; and {len(problems) - 8} more" if len(problems) > 8 else "")
        raise ExportError(f"The adapter {str(adapter.path)!r} cannot be fused: {listed}.", _HINT)
    return pairs


def _pair(
    name: str, found: Mapping[str, Array], shape: tuple[int, ...], rank: int, problems: list[str]
) -> tuple[Array, Array]:
    empty = np.zeros((0, 0), np.float32)
    down, up = found.get("A", empty), found.get("B", empty)
    expected = ((rank, shape[-1]), (shape[0], rank))
    if len(found) < 2:
        problems.append(f"{name!r} has only one of lora_A and lora_B")
    elif len(shape) != 2 or (down.shape, up.shape) != expected:
        problems.append(f"{name!r} has shape {shape}, but its A is {down.shape} and its B {up.shape} at rank {rank}")
    elif not (np.isfinite(down).all() and np.isfinite(up).all()):
        problems.append(f"the adapter of {name!r} holds numbers that are not finite")
    return down, up


def _settings_problems(adapter: Adapter) -> list[str]:
    path = adapter.path / "adapter_config.json"
    if not path.is_file():
        return ["it has no adapter_config.json"]
    try:
        config: dict[str, Any] = dict(read_json(path))
    except (ArtefactBroken, TypeError, ValueError):
        return ["its adapter_config.json cannot be read"]
    problems = []
    if str(config.get("peft_type", "LORA")).upper() != "LORA":
        problems.append(f"its kind is {config['peft_type']!r}, not LoRA")
    if config.get("r") != adapter.rank or not math.isclose(float(config.get("lora_alpha") or 0), adapter.alpha):
        said = f"rank {config.get('r')} and alpha {config.get('lora_alpha')}"
        problems.append(
            f"its adapter_config.json says {said}, the caller rank {adapter.rank} and alpha {adapter.alpha}"
        )
    if config.get("bias", "none") != "none":
        problems.append("it trained biases")
    problems += [f"it uses {key}" for key in _MORE_THAN_A_SCALE if config.get(key)]
    return problems
