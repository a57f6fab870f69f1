"""The end of an MLX model where few positions are asked for: a last layer that answers there alone, and the loss.

Keys and values are needed everywhere; the rest of the last layer, and the head, only where a token is supervised. The
loss brings its gradient with it, some positions at a time, so that the logits of all never exist together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

HEAD_ROWS = 256  # positions scored at a time: with a vocabulary of 128k, 0.13 GB of float32 logits


def answers_narrowly(model: Any) -> bool:
    """Return whether `last_states` knows this model's layers."""
    from mlx_lm.models import llama

    return isinstance(model.layers[-1], llama.TransformerBlock) and not any(layer.use_sliding for layer in model.layers)


def last_states(model: Any, ids: Any, past: Any, index: Any) -> Any:
    """Return the last hidden states [rows, wanted, width] of `ids` [rows, tokens] at the places `index` [rows, wanted].

    `past` has one cache a layer, as mlx-lm's models take them.
    """
    from mlx_lm.models.base import create_attention_mask

    inner = model.model
    states = inner.embed_tokens(ids)
    mask = create_attention_mask(states, past[0])
    for layer, before in zip(model.layers[:-1], past[:-1], strict=True):
        states = layer(states, mask, cache=before)
    return inner.norm(_answer(model.layers[-1], states, past[-1], index))


def _answer(layer: Any, states: Any, past: Any, index: Any) -> Any:
    import mlx.core as mx

    attention, normed = layer.self_attn, layer.input_layernorm(states)
    rows, count = states.shape[:2]

    def heads(projected: Any, number: int) -> Any:  # [rows, tokens, heads * width] -> [rows, heads, tokens, width]
        return projected.reshape(rows, count, number, -1).transpose(0, 2, 1, 3)

    queries = attention.rope(heads(attention.q_proj(normed), attention.n_heads), offset=past.offset)
    keys = attention.rope(heads(attention.k_proj(normed), attention.n_kv_heads), offset=past.offset)
    values = heads(attention.v_proj(normed), attention.n_kv_heads)
    before = past.offset
    keys, values = past.update_and_fetch(keys, values)
    asked = mx.take_along_axis(queries, index[:, None, :, None], axis=2)
    seen = mx.arange(before + count)[None, None, None] <= (index + before)[:, None, :, None]
    found = mx.fast.scaled_dot_product_attention(asked, keys, values, scale=attention.scale, mask=seen)
    mixed = attention.o_proj(found.transpose(0, 2, 1, 3).reshape(rows, index.shape[1], -1))
    hidden = mx.take_along_axis(states, index[..., None], axis=1) + mixed
    return hidden + layer.mlp(layer.post_attention_layernorm(hidden))


def head_loss(project: Callable[[Any], Any], hidden: Any, targets: Any) -> Any:
    """Return the sum of NLLs in nats; `project` gives the logits of `hidden` [positions, width] and is not trained."""
    import mlx.core as mx

    def nll(states: Any, wanted: Any) -> Any:
        logits = project(states).astype(mx.float32)
        chosen = mx.take_along_axis(logits, wanted[:, None], axis=-1).squeeze(-1)
        return (mx.logsumexp(logits, axis=-1) - chosen).sum()

    def scored(states: Any) -> Any:
        starts = range(0, len(targets), HEAD_ROWS)
        parts = [
            mx.value_and_grad(nll)(states[start : start + HEAD_ROWS], targets[start : start + HEAD_ROWS])
            for start in starts
        ]
        return sum(value for value, _ in parts), mx.concatenate([gradient for _, gradient in parts])

    loss: Any = mx.custom_function(scored)

    def pulled(_: Any, cotangents: Any, outputs: Any) -> Any:
        return cotangents[0].astype(outputs[1].dtype) * outputs[1]

    loss.vjp(pulled)
    return loss(hidden)[0]
