"""Which tensors a GGUF holds, in which order and number format, and their bytes, a few rows at a time.

A matrix that is stored in the wanted format and that the adapter leaves alone is copied as it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lunar_tune.errors import ExportError
from lunar_tune.export.fuse import Fused
from lunar_tune.export.shape import DecoderShape

DIRECT = ("F32", "F16", "BF16", "Q8_0")  # formats written here; the others are llama.cpp's work
HALF = "half"
"""What llama.cpp quantizes from: F16, except that 16-bit matrices without an adapter stay as they are, hence exact."""
CHUNK = 1 << 20  # numbers at a time: small enough for a processor's cache
LARGEST_F16 = 65_504.0
_NOT_FINITE = {"F16": 0x7C00, "BF16": 0x7F80}  # bits from here on, without the sign, are infinite or no number


@dataclass(frozen=True, slots=True)
class Plan:
    """One tensor of the file: its GGUF name, the checkpoint's name (empty for rope_freqs), number format and shape."""

    name: str
    source: str
    format: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Bytes in the file."""
        numbers = math.prod(self.shape)
        return numbers // 32 * 34 if self.format == "Q8_0" else numbers * (4 if self.format == "F32" else 2)


def plan_tensors(shape: DecoderShape, quant: str, fused: Fused) -> list[Plan]:
    """Return the file's tensors in the order of llama.cpp's quantizer: those of no block, then by block and name.

    One-dimensional tensors are F32. With Q8_0 a matrix whose width is no multiple of 32 is F16.
    """
    plans = []
    for source, (name, dimensions) in shape.tensors().items():
        chosen = "F32" if len(dimensions) == 1 else quant
        if chosen == HALF:
            stored = fused.tensors.entries[source].dtype
            chosen = stored if stored in _NOT_FINITE and not fused.adapts(source) else "F16"
        elif chosen == "Q8_0" and dimensions[-1] % 32:
            chosen = "F16"
        plans.append(Plan(name, source, chosen, dimensions))
    if shape.scaling is not None:
        plans.append(Plan("rope_freqs.weight", "", "F32", (shape.head_dim // 2,)))
    return sorted(plans, key=lambda plan: (_block(plan.name), plan.name))


def _block(name: str) -> int:
    return int(name.split(".")[1]) if name.startswith("blk.") else -1


def pieces(plan: Plan, fused: Fused, shape: DecoderShape) -> Iterator[npt.NDArray[Any]]:
    """Yield a tensor's bytes as contiguous arrays; query and key of a Llama, whose rows change places, in one piece.

    Raises:
        ExportError: a number is not finite, or too large for 16 bits.
    """
    factors = shape.rope_factors()
    if not plan.source and factors is not None:
        yield factors
        return
    heads = (
        {"q_proj": shape.heads, "k_proj": shape.kv_heads}.get(plan.source.split(".")[-2]) if shape.permuted else None
    )
    copied = fused.tensors.entries[plan.source].dtype == plan.format and not fused.adapts(plan.source)
    step = plan.shape[0] if heads else max(1, CHUNK // math.prod(plan.shape[1:]))
    for start in range(0, plan.shape[0], step):
        if copied:
            rows = fused.tensors.stored_rows(plan.source, start, start + step)
            _check_stored(rows, plan)
            yield permute(rows, heads) if heads else rows
        else:
            fresh = fused.rows(plan.source, start, start + step)
            yield _encode(permute(fresh, heads) if heads else fresh, plan)


def permute(weights: npt.NDArray[Any], heads: int) -> npt.NDArray[Any]:
    """Return query or key rows in llama.cpp's order: the two halves of each head interleaved.

    Transformers rotates the pairs (i, i + half), llama.cpp the pairs (2i, 2i + 1); its converter does the same.
    """
    halves = weights.reshape(heads, 2, weights.shape[0] // heads // 2, *weights.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(weights.shape))


def _encode(rows: npt.NDArray[np.float32], plan: Plan) -> npt.NDArray[Any]:
    largest = max(float(rows.max()), -float(rows.min()))  # NaN if any number is
    if not largest < math.inf or (plan.format == "F16" and largest > LARGEST_F16):
        raise _unstorable(plan, largest)
    if plan.format == "F16":
        return rows.astype("<f2")
    if plan.format == "F32":
        return np.ascontiguousarray(rows, dtype="<f4")
    from gguf import GGMLQuantizationType, quants

    encoded: npt.NDArray[Any] = quants.quantize(rows, GGMLQuantizationType[plan.format])
    return np.ascontiguousarray(encoded)


def _check_stored(rows: npt.NDArray[Any], plan: Plan) -> None:
    finite = np.isfinite(rows).all() if plan.format == "F32" else _largest_bits(rows) < _NOT_FINITE[plan.format]
    if not finite:
        raise _unstorable(plan, math.nan)


def _largest_bits(rows: npt.NDArray[Any]) -> int:
    return int((rows.view("<u2") & 0x7FFF).max())


def _unstorable(plan: Plan, number: float) -> ExportError:
    if math.isfinite(number):
        return ExportError(f"{plan.source!r} holds {number:g}, too large for {plan.format}.", "Try --quant BF16.")
    return ExportError(f"{plan.source!r} holds numbers that are not finite.", "The weights are broken: train again.")
