"""The loss and its gradient at the last hidden states, without the logits ever standing in memory.

The vocabulary is gone through once, a block at a time: each block's logits give their part of the normaliser and of the
gradient, rescaled as larger logits appear (the online softmax of Milakov and Gimelshein, arXiv 1805.02867, which
FlashAttention made known). One block is all that is held: with 128k words and 300 positions 2 MB instead of 450.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lunar_tune.train.fast_linear import computes_in

if TYPE_CHECKING:
    import torch

_CPU_BLOCK, _BLOCK = 1 << 20, 1 << 26  # logits at a time: what stays in a core's cache; what keeps a GPU busy


def head_loss(
    hidden: torch.Tensor, head: Any, targets: torch.Tensor, divisor: float | None
) -> tuple[float, torch.Tensor | None]:
    """Return the sum of NLLs in nats and, with a `divisor`, the gradient of (that sum / divisor) in `hidden`.

    `hidden` is [positions, width], `head` a linear layer [vocabulary, width] that is not trained; sums are float32.
    """
    import torch

    with torch.no_grad():
        weight, bias, kind = head.weight, head.bias, computes_in(head.weight)
        states = hidden.to(kind)
        count, words = len(states), len(weight)
        top = torch.full((count, 1), -torch.inf, device=states.device)
        mass = torch.zeros((count, 1), device=states.device)
        pull = torch.zeros(states.shape, device=states.device) if divisor else None
        block = max(256, (_CPU_BLOCK if states.device.type == "cpu" else _BLOCK) // count)
        for start in range(0, words, block):
            part = weight[start : start + block].to(kind)
            logits = torch.mm(states, part.T).float()
            if bias is not None:
                logits += bias[start : start + block]
            higher = torch.maximum(top, logits.amax(1, keepdim=True))
            shrink = (top - higher).exp_()
            logits.sub_(higher).exp_()
            mass.mul_(shrink).add_(logits.sum(1, keepdim=True))
            if pull is not None:
                pull.mul_(shrink)
                _add_product(pull, logits, part)
            top = higher
        chosen = weight[targets].to(kind)
        at = (states.float() * chosen.float()).sum(1)
        if bias is not None:
            at += bias[targets]
        total = ((mass.log() + top).squeeze(1) - at).sum().item()
        if pull is None or divisor is None:
            return total, None
        return total, pull.div_(mass).sub_(chosen).div_(divisor).to(hidden.dtype)


def _add_product(to: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> None:
    """Add left @ right to a float32 tensor, multiplying in the format of `right`."""
    if right.dtype == to.dtype:
        to.addmm_(left, right)
    else:
        to.add_(left.to(right.dtype) @ right)
