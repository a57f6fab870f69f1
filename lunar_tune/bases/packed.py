"""Bases whose weights are packed into few bits: who packed them, who can train on them, what they were made of.

A packed base can be trained on and not exported: the GGUF is made of the full-precision weights, which `original_of`
names where their name says so.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from lunar_tune.errors import BaseError, MissingExtra

SMALL = 3e9  # parameters; see `too_small`
READERS = {"mlx": ("mlx",), "bitsandbytes": ("peft",), "gptq": ("peft",)}  # who packed it -> trainers that read it
LIBRARIES = {"bitsandbytes": (("bitsandbytes", "peft"),), "gptq": (("gptqmodel", "gptq"), ("optimum", "gptq"))}
_TAIL = re.compile(r"-(?:\d+-?bit|bnb-4bit|unsloth-bnb-4bit|bf16-\d+bit|gptq(?:-int\d+)?|int\d+|\d+bit-dwq)+$", re.I)
_OWNERS = (("llama", "meta-llama"), ("qwen", "Qwen"), ("mistral", "mistralai"), ("ministral", "mistralai"))
_NOT_WEIGHTS = (
    *(".scales", ".biases", ".qzeros", ".g_idx", ".SCB", ".weight_format", ".absmax", ".quant_map", ".nested_absmax"),
    *(".nested_quant_map", ".quant_state.bitsandbytes__nf4", ".quant_state.bitsandbytes__fp4"),
)
_WIDE = {"U32": 32, "I32": 32, "U8": 8, "I8": 8}  # bits of the numbers that weights are packed into


@dataclass(frozen=True, slots=True)
class Packing:
    """Who packed a base's weights (`mlx`, `bitsandbytes`, `gptq`, or another's name) and into how many bits."""

    by: str
    bits: int

    def __str__(self) -> str:
        return f"{self.bits}-bit {self.by}"


def packing_of(config: Mapping[str, Any]) -> Packing | None:
    """Return how a config.json says that the weights are packed, None when they are not."""
    told = config.get("quantization_config") or config.get("quantization")
    if not isinstance(told, Mapping):
        return None
    by = str(told.get("quant_method") or "mlx").lower()
    if by == "bitsandbytes":
        return Packing(by, 8 if told.get("load_in_8bit") or told.get("_load_in_8bit") else 4)
    bits = told.get("bits") or told.get("w_bit")
    return Packing(by, bits if isinstance(bits, int) and 0 < bits <= 16 else 4)


def require_reader(base: str, packing: Packing, trainer: str) -> None:
    """Make sure that a trainer reads a packed base.

    Raises:
        BaseError: it does not, or nobody here does.
        MissingExtra: the library that reads it is not installed.
    """
    readers = READERS.get(packing.by)
    if readers is None:
        raise BaseError(
            f"The weights of {base!r} are packed by {packing.by}, which no trainer here reads.",
            "Choose the full-precision base, or one packed by MLX, bitsandbytes or GPTQ, with --base.",
        )
    if trainer in ("peft", "mlx") and trainer not in readers:
        raise BaseError(
            f"The weights of {base!r} are packed for {packing.by} ({packing.bits} bits), which the trainer {trainer!r} "
            "does not read.",
            f"Use --backend {readers[0]}, or the full-precision base"
            + (f": --base {original}." if (original := original_of(base)) else "."),
        )
    for library, extra in LIBRARIES.get(packing.by, ()):
        if find_spec(library) is None:
            raise MissingExtra(library, extra)


def original_of(name: str) -> str | None:
    """Return the repository of the full-precision weights that a packed repository was made of, as its name says.

    mlx-community/Llama-3.2-3B-Instruct-4bit -> meta-llama/Llama-3.2-3B-Instruct; None for a folder, or another's name.
    """
    owner, slash, model = name.partition("/")
    if not slash or "/" in model or not owner.strip("."):
        return None
    plain = _TAIL.sub("", model)
    if plain == model:
        return None
    if owner == "mlx-community":
        plain = plain.removeprefix("Meta-") if plain.startswith("Meta-Llama-3.") else plain
        return next((f"{by}/{plain}" for begin, by in _OWNERS if plain.lower().startswith(begin)), None)
    return f"{owner}/{plain}"


def too_small(name: str, parameters: int) -> str:
    """Return why a base is small to be worth it, in a line; "" when it is not.

    Tool choice and the format of calls are what falls off first: a tuned 1B model stays behind an untuned 3B one.
    """
    if not 0 < parameters < SMALL:
        return ""
    size = f"{parameters / 1e9:.1f}B" if parameters >= 1e8 else f"{parameters / 1e6:.0f}M"
    return (
        f"{name} has {size} parameters: below 3B the choice of tools and the format of calls hold badly, and a tuned "
        "model hardly rises above its base"
    )


def count(tensors: Iterable[tuple[str, Mapping[str, Any]]], packing: Packing | None) -> int:
    """Return the number of weights that the tensors of safetensors headers hold, unpacked."""
    total = 0
    for name, tensor in tensors:
        size = math.prod(tensor["shape"])
        if packing is None:
            total += size
        elif not name.endswith(_NOT_WEIGHTS):
            wide = _WIDE.get(tensor["dtype"], 0)
            total += size * wide // packing.bits if wide else size
    return total
