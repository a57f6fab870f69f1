"""The same arithmetic as PEFT's LoRA layers, in fewer passes over memory.

`speed_up` changes the layers in place. On one core a small model trains about 1.4 times as fast; what is computed is
the same function (tests compare both), with dropout masks drawn from 16-bit numbers instead of 64-bit ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from lunar_tune.settings import TrainSettings

if TYPE_CHECKING:
    import torch

_DRAWS = 1 << 16


def speed_up(lora: Sequence[Any], settings: TrainSettings) -> None:
    """Replace the forward passes of the LoRA layers on float32 linear layers."""
    import torch

    for layer in lora:
        base = layer.get_base_layer()
        if type(base) is torch.nn.Linear and base.weight.dtype == torch.float32:
            layer.forward = _lora_forward(layer, base, settings)


def _lora_forward(layer: Any, base: Any, settings: TrainSettings) -> Callable[[torch.Tensor], torch.Tensor]:
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    scale, dropped = settings.alpha / settings.rank, round(settings.dropout * _DRAWS)
    function = lora_function()

    def forward(x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = function.apply(x, base.weight, base.bias, a, b, scale, dropped if layer.training else 0)
        return out

    return forward


@cache
def lora_function() -> Any:
    """Return the autograd function y = x W' + bias + scale * drop(x) A' B' for a frozen W.

    `dropped` of 65536 inputs are dropped and the rest scaled up, as dropout does.
    """
    import torch

    class LoraLinear(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, w: Any, bias: Any, a: Any, b: Any, scale: float, dropped: int) -> Any:
            flat = x.reshape(-1, x.shape[-1])
            keep, seen = None, flat
            if dropped:
                scale *= _DRAWS / (_DRAWS - dropped)
                keep = keep_mask(flat.shape, dropped, flat.device)
                seen = flat * keep
            inner = seen @ a.T
            y = torch.nn.functional.linear(flat, w, bias).addmm_(inner, b.T, alpha=scale)
            ctx.save_for_backward(w, a, b, seen, inner, keep)
            ctx.scale = scale
            return y.view(*x.shape[:-1], -1)

        @staticmethod
        def backward(ctx: Any, *gradients: Any) -> Any:
            w, a, b, seen, inner, keep = ctx.saved_tensors
            flat = gradients[0].reshape(-1, gradients[0].shape[-1])
            through = (flat @ b).mul_(ctx.scale)
            gx = None
            if ctx.needs_input_grad[0]:
                gx = flat @ w
                gx = gx.addmm_(through, a) if keep is None else gx.addcmul_(through @ a, keep.to(gx.dtype))
                gx = gx.view(*gradients[0].shape[:-1], -1)
            return gx, None, None, through.T @ seen, (flat.T @ inner).mul_(ctx.scale), None, None

    return LoraLinear


def keep_mask(shape: Sequence[int], dropped: int, device: torch.device) -> torch.Tensor:
    """Return a uint8 mask of ones, `dropped` in 65536 of them 0, from torch's seeded generator.

    On a CPU one 64-bit draw serves four elements: torch's Bernoulli draws took a fifth of a small model's time.
    """
    import torch

    if device.type != "cpu":
        return (torch.rand(*shape, device=device) * _DRAWS >= dropped).to(torch.uint8)
    count = shape[0] * shape[1]
    draws = torch.empty(-(-count // 4), dtype=torch.int64, device=device).random_(-(1 << 63), None)
    return (draws.view(torch.int16)[:count] >= dropped - (_DRAWS >> 1)).view(torch.uint8).view(*shape)
