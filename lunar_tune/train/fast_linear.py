"""Products with frozen weights, also where a processor cannot multiply their 16-bit numbers.

There torch emulates bfloat16, four times slower than float32. Here a piece of the weight at a time becomes float32 in
the cache and is multiplied so: faster and more exact, and the weight stays in memory as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_PIECE = 1 << 21  # numbers of a weight that are float32 at a time: 8 MB


def computes_in(weight: torch.Tensor) -> torch.dtype:
    """Return the format in which products with `weight` are computed."""
    import torch

    slow = weight.device.type == "cpu" and weight.dtype == torch.bfloat16 and not multiplies_bfloat16()
    return torch.float32 if slow else weight.dtype


@cache
def multiplies_bfloat16() -> bool:
    """Return whether this processor has instructions for it: AVX-512 BF16, AMX or Arm's BF16. Unknown counts as yes."""
    import torch

    able = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return not able or any(bool(on) for name, on in able.items() if "bf16" in name or name == "amx_tile")


def product(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, low: tuple[torch.Tensor, torch.Tensor] | None
) -> torch.Tensor:
    """Return x @ weight' + bias + low[0] @ low[1]' in the format of x (x [rows, in], weight [out, in]).

    The two low factors [rows, rank] and [out, rank] are in the format of `computes_in`.
    """
    import torch

    kind = computes_in(weight)
    if kind == weight.dtype:
        made = torch.nn.functional.linear(x.to(kind), weight, bias)
        return (made if low is None else made.addmm_(low[0], low[1].T)).to(x.dtype)
    wide, made = x.to(kind), torch.empty(len(x), len(weight), dtype=x.dtype)
    for start, piece in _pieces(weight, kind):
        stop = start + len(piece)
        part = wide @ piece.T if low is None else torch.mm(low[0], low[1][start:stop].T).addmm_(wide, piece.T)
        made[:, start:stop] = part if bias is None else part.add_(bias[start:stop])
    return made


def product_back(gradient: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return gradient @ weight, what reaches the input of `product`; both gradients in the format of `computes_in`."""
    import torch

    kind = computes_in(weight)
    if kind == weight.dtype:
        return gradient @ weight
    made = torch.zeros(len(gradient), weight.shape[1], dtype=kind)
    for start, piece in _pieces(weight, kind):
        made.addmm_(gradient[:, start : start + len(piece)], piece)
    return made


def _pieces(weight: torch.Tensor, kind: torch.dtype) -> Iterator[tuple[int, torch.Tensor]]:
    """Yield rows of `weight` and where they start; each piece lies where the one before it lay."""
    import torch

    rows = max(1, _PIECE // weight.shape[1])
    room = torch.empty(rows, weight.shape[1], dtype=kind)
    for start in range(0, len(weight), rows):
        part = weight[start : start + rows]
        yield start, room[: len(part)].copy_(part)
