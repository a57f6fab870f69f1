"""Gradient checkpointing: adapted layers keep their input alone and are computed a second time in the backward pass.

Memory falls from all that a layer keeps for its gradient, in every adapted layer, to that of one layer; a step takes
about a third longer (Chen et al., arXiv 1604.06174). Dropout draws the same masks the second time, so that losses and
gradients are those without (tests compare both).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


def recompute_torch(layers: Sequence[Any]) -> None:
    """Let these decoder layers of a PyTorch model keep their input alone while training."""
    for layer in layers:
        layer.forward = _recomputed(layer, layer.forward)


def _recomputed(layer: Any, forward: Callable[..., Any]) -> Callable[..., Any]:
    from torch.utils.checkpoint import checkpoint

    def recomputed(hidden_states: Any, **options: Any) -> Any:
        if not layer.training:
            return forward(hidden_states, **options)
        # positional, because checkpoint() learns from its arguments whose random state to keep
        return checkpoint(forward, hidden_states, use_reentrant=False, preserve_rng_state=True, **options)

    return recomputed


def recompute_mlx(layers: Sequence[Any], make_past: Callable[..., Any]) -> None:
    """Let these decoder layers of an MLX model keep their input alone while training.

    `make_past(keys, values)` is a past to go on from whose `kept` are all keys and values after the call: what a root
    leaves to its branches is an output like any other, since gradients go through it.
    """
    for layer in layers:
        kind = type(layer)
        layer.__class__ = type(f"Recomputed{kind.__name__}", (kind,), {"__call__": _recomputed_call(kind, make_past)})


def _recomputed_call(kind: Any, make_past: Callable[..., Any]) -> Callable[..., Any]:
    import mlx.core as mx

    def call(layer: Any, x: Any, mask: Any = None, cache: Any = None) -> Any:
        if not layer.training or cache is None:
            return kind.__call__(layer, x, mask, cache)
        begun = [states for states in cache.begun if states is not None]
        state: Any = mx.random.state
        high, low = state[0].tolist()

        def inner(parameters: Any, x: Any, *begun: Any) -> Any:
            mx.random.seed(high << 32 | low)  # as the state is now: computed anew, the same masks are drawn
            held = layer.trainable_parameters()
            layer.update(parameters)
            past = make_past(*begun)
            out = kind.__call__(layer, x, mask, past)
            layer.update(held)
            return (out, *past.kept)

        out, *kept = mx.checkpoint(inner)(layer.trainable_parameters(), x, *begun)
        cache.kept = tuple(kept)
        return out

    return call
