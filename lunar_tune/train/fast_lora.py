"""The same arithmetic as PEFT's LoRA layers and transformers' Llama blocks, in fewer passes over memory.

`speed_up` changes the modules in place. What is computed is the same function (tests compare both), with dropout masks
drawn from 16-bit numbers instead of 64-bit ones. What is kept for the gradient is less: no dropped copy of an input,
one tensor a normalisation, and of a gated block the gate and its partner alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from lunar_tune.settings import TrainSettings
from lunar_tune.train.fast_linear import computes_in, product, product_back

if TYPE_CHECKING:
    import torch

_DRAWS = 1 << 16
_NORMS = ("LlamaRMSNorm", "MistralRMSNorm", "Qwen2RMSNorm", "Qwen3RMSNorm")


def speed_up(model: Any, lora: Sequence[Any], settings: TrainSettings) -> None:
    """Replace the forward passes of linear layers, gated blocks and normalisations where nothing is quantized."""
    import torch

    quick: set[int] = set()

    def replace(layer: Any, base: Any, adapted: bool) -> None:
        if type(base) is torch.nn.Linear and base.weight.dtype in (torch.float32, torch.bfloat16):
            layer.forward = _linear_forward(layer, base, settings if adapted else None)
            quick.add(id(layer))

    inside = {id(part) for layer in lora for part in layer.modules()}
    for layer in lora:
        replace(layer, layer.get_base_layer(), True)
    for module in model.modules():
        if id(module) not in inside and type(module) is torch.nn.Linear:
            replace(module, module, False)
    for module in model.modules():
        if type(module).__name__ in _NORMS:
            module.forward = _norm_forward(module)
        elif type(getattr(module, "act_fn", None)).__name__ in ("SiLU", "SiLUActivation"):
            _gate(module, quick)


def _linear_forward(layer: Any, base: Any, settings: TrainSettings | None) -> Callable[..., torch.Tensor]:
    """Return a forward pass of `base`, with LoRA if there are settings; `gate` multiplies its input by silu(gate)."""
    scale, dropped, a, b = 0.0, 0, None, None
    if settings:
        scale, dropped = settings.alpha / settings.rank, round(settings.dropout * _DRAWS)
        a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    function = lora_function()

    def forward(x: torch.Tensor, gate: torch.Tensor | None = None) -> torch.Tensor:
        drop = dropped if layer.training else 0
        out: torch.Tensor = function.apply(x, gate, base.weight, base.bias, a, b, scale, drop)
        return out

    return forward


def _gate(block: Any, quick: set[int]) -> None:
    """Let a block's last layer take the gate and its partner, if it is one of ours and nothing else is in the block."""
    names = {name for name, _ in block.named_children()}
    if names == {"gate_proj", "up_proj", "down_proj", "act_fn"} and id(block.down_proj) in quick:
        block.forward = lambda x: block.down_proj(block.up_proj(x), gate=block.gate_proj(x))


def _norm_forward(norm: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    function = norm_function()

    def forward(x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = function.apply(x, norm.weight, norm.variance_epsilon)
        return out

    return forward


@cache
def lora_function() -> Any:
    """Return the autograd function y = x W' + bias + scale * drop(x) A' B' for a frozen W.

    With a `gate`, silu(gate) * x stands for x. `dropped` of 65536 inputs are dropped and the rest scaled up, as dropout
    does. Without A it is a frozen layer.
    """
    import torch

    class LoraLinear(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, gate: Any, w: Any, bias: Any, a: Any, b: Any, scale: float, dropped: int) -> Any:
            flat = _flat(x) if gate is None else torch.nn.functional.silu(_flat(gate)).mul_(_flat(x))
            inner, keep, low = None, None, None
            if a is not None:
                kind = computes_in(w)
                if dropped:
                    scale *= _DRAWS / (_DRAWS - dropped)
                    keep = keep_mask(flat.shape, dropped, flat.device)
                inner = ((flat if keep is None else flat * keep).to(kind) @ a.to(kind).T).mul_(scale)
                low = inner, b.to(kind)
            ctx.save_for_backward(x if a is not None or gate is not None else None, gate, w, a, b, inner, keep)
            ctx.scale = scale
            return product(flat, w, bias, low).view(*x.shape[:-1], -1)

        @staticmethod
        def backward(ctx: Any, *gradients: Any) -> Any:
            x, gate, w, a, b, inner, keep = ctx.saved_tensors
            kind, shape = computes_in(w), gradients[0].shape
            flat = _flat(gradients[0]).to(kind)
            wanted, ga, gb, through = any(ctx.needs_input_grad[:2]), None, None, None
            gated = None if gate is None else torch.nn.functional.silu(_flat(gate))
            if a is not None:
                through = (flat @ b.to(kind)).mul_(ctx.scale)
                seen = _flat(x) if gated is None else gated * _flat(x)
                ga = (through.T @ (seen if keep is None else seen * keep).to(kind)).to(a.dtype)
                gb = (flat.T @ inner).to(b.dtype)  # `inner` holds the scale
                del seen
            gx = product_back(flat, w) if wanted else None
            if gx is not None and through is not None:
                low = a.to(kind)
                gx = gx.addmm_(through, low) if keep is None else gx.addcmul_(through @ low, keep.to(kind))
            ggate = None
            if gx is not None and gated is not None:
                # d silu(g) = sigmoid(g) (1 + g (1 - sigmoid(g))), which torch computes in one pass
                ggate = torch.ops.aten.silu_backward(gx * _flat(x), _flat(gate).to(kind)).to(gate.dtype)
                ggate, gx = ggate.view(gate.shape), gx.mul_(gated)
            if gx is not None:
                gx = gx.to(gradients[0].dtype).view(*shape[:-1], -1)
            return gx, ggate, None, None, ga, gb, None, None

    return LoraLinear


@cache
def norm_function() -> Any:
    """Return the autograd function weight * x / rms(x) for a frozen weight; statistics are float32."""
    import torch

    class Norm(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, weight: Any, epsilon: float) -> Any:
            wide = x.float()
            inverse = torch.linalg.vector_norm(wide, dim=-1, keepdim=True).square_().div_(x.shape[-1])
            inverse = inverse.add_(epsilon).rsqrt_()
            ctx.save_for_backward(x, weight, inverse)
            return (wide * inverse).to(x.dtype).mul_(weight)

        @staticmethod
        def backward(ctx: Any, *gradients: Any) -> Any:
            x, weight, inverse = ctx.saved_tensors
            wide, pull = x.float() * inverse, gradients[0].float() * weight
            mean = (pull * wide).mean(-1, keepdim=True)
            return pull.sub_(wide.mul_(mean)).mul_(inverse).to(x.dtype), None, None

    return Norm


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


def _flat(x: torch.Tensor) -> torch.Tensor:
    return x.reshape(-1, x.shape[-1])
