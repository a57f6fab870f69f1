"""PEFT's layout of an adapter: which modules get one, what their tensors are called, and the two files.

The bytes depend on the weights and the recipe alone.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lunar_tune.files import write_bytes, write_json
from lunar_tune.settings import TrainSettings

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
Arrays = dict[str, npt.NDArray[np.float32]]
Shapes = dict[str, tuple[int, int]]  # module -> (out, in), in the order of the model
_BLOCK = {"q_proj": "self_attn", "k_proj": "self_attn", "v_proj": "self_attn", "o_proj": "self_attn"}


def adapted_layers(total: int, settings: TrainSettings) -> range:
    """Return the indices of the layers that get an adapter, the top ones."""
    return range(total - settings.adapted(total), total)


def adapted_modules(total: int, settings: TrainSettings) -> list[str]:
    """Return the adapted modules of a model with `total` layers, such as `model.layers.3.self_attn.q_proj`."""
    return [
        f"model.layers.{layer}.{_BLOCK.get(module, 'mlp')}.{module}"
        for layer in adapted_layers(total, settings)
        for module in settings.modules
    ]


def tensor_name(module: str, side: str) -> str:
    """Return the name of A [rank, in] or B [out, rank] of a module, as PEFT writes it."""
    return f"base_model.model.{module}.lora_{side}.weight"


def adapter_config(total: int, settings: TrainSettings) -> dict[str, Any]:
    """Return `adapter_config.json` for a base of `total` layers."""
    layers = adapted_layers(total, settings)
    # llama.cpp's converter and some servers read lora_alpha as an integer
    alpha = int(settings.alpha) if float(settings.alpha).is_integer() else settings.alpha
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": public_name(settings.base),
        "r": settings.rank,
        "lora_alpha": alpha,
        "lora_dropout": settings.dropout,
        "target_modules": sorted(settings.modules),
        "layers_to_transform": list(layers) if len(layers) < total else None,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
        "modules_to_save": None,
        "use_dora": False,
        "use_rslora": False,
    }


def public_name(base: str) -> str:
    """Return a base's name without the folders of this machine: a repository's name as it is, a folder's last part."""
    if re.fullmatch(r"[\w.-]+/[\w.-]+", base) and not base.startswith(".") and not Path(base).exists():
        return base
    return Path(base).resolve().name


def write_adapter(folder: Path, weights: Arrays, config: dict[str, Any]) -> None:
    """Write both files, each whole or absent.

    Raises:
        DiskFull: no room.
    """
    from safetensors.numpy import save

    ordered = {name: np.ascontiguousarray(weights[name], dtype=np.float32) for name in sorted(weights)}
    write_bytes(folder / WEIGHTS, save(ordered, metadata={"format": "pt"}))
    write_json(folder / CONFIG, config)
