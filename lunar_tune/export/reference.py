"""A decoder's forward pass in numpy and float32: what a GGUF is held against, without torch.

Layer by layer for all prompts at once, so that one layer's weights are in memory and each is read once. Follows
transformers' `modeling_llama`: RMSNorm, rotary embedding on half-split heads, grouped-query attention, SwiGLU; with
Qwen2's biases and Qwen3's normed queries and keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lunar_tune.artefacts import Adapter
from lunar_tune.errors import BaseNotExportable
from lunar_tune.export.fuse import Fused
from lunar_tune.export.shape import DecoderShape, read_config, read_shape
from lunar_tune.export.tensors import Array

HEAD_CHUNK = 1 << 24  # numbers of the output matrix in memory at a time: 64 MiB


def reference_logits(
    base: Path,
    adapter: Adapter | None,
    prompts: Sequence[Sequence[int]],
    *,
    tail: int | None = None,
    strength: float = 1.0,
) -> list[Array]:
    """Return, for each prompt of token ids, the logits [positions, vocabulary] after its last `tail` tokens.

    `tail` None means after every token. Memory: the hidden states of all prompts, one matrix, and the answer.

    Raises:
        BaseNotExportable, ExportError: the base or the adapter cannot be read.
    """
    shape, problems = read_shape(read_config(base))
    if shape is None:
        raise BaseNotExportable(str(base), problems)
    fused = Fused(base, adapter, strength)
    fused.check_used(shape.tensors())
    states = [fused.tensors.gather("model.embed_tokens.weight", ids) for ids in prompts]
    angles = _angles(shape, max(map(len, prompts), default=0))
    for layer in range(shape.layers):
        states = _layer(fused, f"model.layers.{layer}.", states, shape, angles)
    norm = fused.rows("model.norm.weight")
    last = [_rms_norm(state[-tail:] if tail else state, norm, shape.eps) for state in states]
    return _head(fused, last, shape)


def log_softmax(logits: Array) -> Array:
    """Return natural-log probabilities along the last axis; log-probabilities come back unchanged."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    total = np.exp(shifted).sum(axis=-1, keepdims=True, dtype=np.float64)
    return np.asarray(shifted - np.log(total), dtype=np.float32)


def _layer(
    fused: Fused, prefix: str, states: list[Array], shape: DecoderShape, angles: tuple[Array, Array]
) -> list[Array]:
    norm = fused.rows(prefix + "input_layernorm.weight")
    normed = [_rms_norm(state, norm, shape.eps) for state in states]
    projected = {}
    for part in ("q_proj", "k_proj", "v_proj"):
        weights = fused.rows(f"{prefix}self_attn.{part}.weight")
        bias = fused.rows(f"{prefix}self_attn.{part}.bias") if shape.biased else np.float32(0)
        projected[part] = [state @ weights.T + bias for state in normed]
    if shape.normed:
        for part in ("q", "k"):
            norm = fused.rows(f"{prefix}self_attn.{part}_norm.weight")
            projected[f"{part}_proj"] = [_norm_heads(s, norm, shape) for s in projected[f"{part}_proj"]]
    mixed = [_attend(q, k, v, shape, angles) for q, k, v in zip(*projected.values(), strict=True)]
    weights = fused.rows(prefix + "self_attn.o_proj.weight")
    states = [state + mix @ weights.T for state, mix in zip(states, mixed, strict=True)]
    norm = fused.rows(prefix + "post_attention_layernorm.weight")
    normed = [_rms_norm(state, norm, shape.eps) for state in states]
    gate, up, down = (fused.rows(f"{prefix}mlp.{part}_proj.weight") for part in ("gate", "up", "down"))
    return [state + _feed_forward(n, gate, up, down) for state, n in zip(states, normed, strict=True)]


def _feed_forward(state: Array, gate: Array, up: Array, down: Array) -> Array:
    hidden: Array = _silu(state @ gate.T) * (state @ up.T)
    return hidden @ down.T


def _rms_norm(state: Array, weights: Array, eps: float) -> Array:
    mean = np.mean(np.square(state), axis=-1, keepdims=True, dtype=np.float32)
    return np.asarray(state / np.sqrt(mean + np.float32(eps)) * weights, dtype=np.float32)


def _norm_heads(state: Array, weights: Array, shape: DecoderShape) -> Array:
    heads = state.reshape(state.shape[0], -1, shape.head_dim)
    return _rms_norm(heads, weights, shape.eps).reshape(state.shape)


def _silu(x: Array) -> Array:
    return np.asarray(x * 0.5 * (1 + np.tanh(0.5 * x)), dtype=np.float32)  # x · sigmoid(x), which cannot overflow


def _angles(shape: DecoderShape, length: int) -> tuple[Array, Array]:
    """Return (cos, sin) [length, head_dim / 2] of the rotary embedding."""
    frequencies = shape.theta ** -(np.arange(0, shape.head_dim, 2, dtype=np.float64) / shape.head_dim)
    factors = shape.rope_factors()
    if factors is not None:
        frequencies = frequencies / factors
    turned = np.arange(length, dtype=np.float64)[:, None] * frequencies
    return np.cos(turned).astype(np.float32), np.sin(turned).astype(np.float32)


def _rotate(heads: Array, angles: tuple[Array, Array]) -> Array:
    """Rotate [length, heads, head_dim] by its position, pairing each number with the one half a head further."""
    cos, sin = (part[: heads.shape[0], None, :] for part in angles)
    left, right = np.split(heads, 2, axis=-1)
    return np.concatenate((left * cos - right * sin, right * cos + left * sin), axis=-1)


def _attend(query: Array, key: Array, value: Array, shape: DecoderShape, angles: tuple[Array, Array]) -> Array:
    """Return causal attention [length, heads · head_dim]; each group of query heads shares a key-value head."""
    length, group = query.shape[0], shape.heads // shape.kv_heads
    q = _rotate(query.reshape(length, shape.heads, shape.head_dim), angles)
    k = _rotate(key.reshape(length, shape.kv_heads, shape.head_dim), angles)
    v = value.reshape(length, shape.kv_heads, shape.head_dim)
    q = q.reshape(length, shape.kv_heads, group, shape.head_dim)
    scores = np.einsum("qkgd,skd->kgqs", q, k, optimize=True) / np.float32(np.sqrt(shape.head_dim))
    scores[..., np.triu(np.ones((length, length), bool), 1)] = -np.inf
    weights = np.exp(log_softmax(scores))
    mixed: Array = np.einsum("kgqs,skd->qkgd", weights, v, optimize=True)
    return mixed.reshape(length, -1)


def _head(fused: Fused, states: list[Array], shape: DecoderShape) -> list[Array]:
    name = "model.embed_tokens.weight" if shape.tied else "lm_head.weight"
    logits = [np.empty((state.shape[0], shape.vocab), np.float32) for state in states]
    step = max(1, HEAD_CHUNK // shape.hidden)
    for start in range(0, shape.vocab, step):
        weights = fused.rows(name, start, start + step)
        for state, target in zip(states, logits, strict=True):
            target[:, start : start + step] = state @ weights.T
    return logits
