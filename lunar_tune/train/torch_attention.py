"""Attention over a packed pass (`packing`), and a last layer that answers at the wanted positions alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lunar_tune.errors import TrainingError
from lunar_tune.train.fast_linear import computes_in
from lunar_tune.train.packing import Batch, Segment

if TYPE_CHECKING:
    import torch

NAME = "lunar_tune_packed"
NARROWED = ("LlamaDecoderLayer", "MistralDecoderLayer", "Qwen2DecoderLayer", "Qwen3DecoderLayer")  # the same but norms


@dataclass(frozen=True, slots=True)
class Pass:
    """A packed pass on its device: its segments, each with its mask, and the wanted positions of each."""

    segments: tuple[Segment, ...]
    masks: tuple[torch.Tensor | None, ...]  # added to the scores [own tokens, root and own tokens]; None: causal
    wanted: torch.Tensor  # ascending, over all segments
    counts: tuple[int, ...]


def prepare(batch: Batch, dtype: torch.dtype, device: torch.device) -> Pass:
    """Return what attention needs to know of a pass."""
    import numpy as np
    import torch

    masks = []
    for segment in batch.segments:
        own, before = segment.end - segment.start, segment.before
        mask = torch.full((own, before + own), -torch.inf, dtype=dtype).triu(before + 1).to(device) if before else None
        masks.append(mask)
    starts = [segment.start for segment in batch.segments]
    counts = np.diff(np.searchsorted(batch.positions, [*starts, len(batch.ids)])).tolist()
    return Pass(batch.segments, tuple(masks), torch.from_numpy(batch.positions).to(device), tuple(counts))


def install(model: Any) -> bool:
    """Make a transformers model attend as the `packed` argument of its forward pass says.

    Returns whether its output at a packed pass is that of the wanted positions alone, in order, instead of all.
    """
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(NAME, _attention)
    AttentionMaskInterface.register(NAME, _no_mask)
    model.set_attn_implementation(NAME)
    last = model.model.layers[-1]
    if type(last).__name__ not in NARROWED:
        return False
    _narrow(last)
    return True


def _no_mask(*_: Any, **__: Any) -> None:
    """Return no mask: segments say who sees whom."""


def _attention(
    module: Any, query: Any, key: Any, value: Any, mask: Any, scaling: float, packed: Pass, **options: Any
) -> tuple[Any, None]:
    """Attend within segments and to their roots: [1, heads, tokens, width] -> [1, tokens, heads, width]."""
    import torch

    answers = []
    for segment, added in zip(packed.segments, packed.masks, strict=True):
        keys, values = _seen(key, segment), _seen(value, segment)
        if options.get("sliding_window") and keys.shape[2] > options["sliding_window"]:
            raise TrainingError(
                f"A row is longer than the {options['sliding_window']} tokens that this base sees at a time.",
                "Lower dataset.window.",
            )
        answers.append(_attended(query[:, :, segment.start : segment.end], keys, values, added, scaling))
    return torch.cat(answers, dim=2).transpose(1, 2), None


def _narrow(layer: Any) -> None:
    """Let a model's last layer answer at the wanted positions alone: no other output of it is used.

    Keys and values are needed everywhere; queries, and all that follows attention, only where a token is supervised.
    """

    def forward(hidden_states: Any, position_embeddings: Any, packed: Pass, **_: Any) -> Any:
        normed = layer.input_layernorm(hidden_states)
        hidden = hidden_states[:, packed.wanted] + _attend(layer.self_attn, normed, position_embeddings, packed)
        return hidden + layer.mlp(layer.post_attention_layernorm(hidden))

    layer.forward = forward


def _attend(attention: Any, normed: Any, rotation: Sequence[Any], packed: Pass) -> Any:
    """Return self-attention [1, wanted, width] over `normed` [1, tokens, width]."""
    import torch
    from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

    def heads(states: Any) -> Any:  # [1, tokens, heads * head width] -> [1, heads, tokens, head width]
        return states.unflatten(-1, (-1, attention.head_dim)).transpose(1, 2)

    key, value = heads(attention.k_proj(normed)), heads(attention.v_proj(normed))
    query = heads(attention.q_proj(normed[:, packed.wanted]))
    if hasattr(attention, "q_norm"):  # Qwen3's
        query, key = attention.q_norm(query), attention.k_norm(key)
    _, key = apply_rotary_pos_emb(key[:, :0], key, *rotation)
    query, _ = apply_rotary_pos_emb(query, query[:, :0], *(part[:, packed.wanted] for part in rotation))
    answers, done = [], 0
    for segment, added, count in zip(packed.segments, packed.masks, packed.counts, strict=True):
        if not count:
            continue
        places = packed.wanted[done : done + count] - segment.start
        reach = segment.end - segment.start + segment.before
        if added is None:
            later = torch.arange(reach, device=places.device) > places[:, None]
            added = torch.zeros(later.shape, dtype=query.dtype, device=places.device).masked_fill_(later, -torch.inf)
        else:
            added = added[places]
        asked = query[:, :, done : done + count]
        done += count
        answers.append(_attended(asked, _seen(key, segment), _seen(value, segment), added, attention.scaling))
    return attention.o_proj(torch.cat(answers, dim=2).transpose(1, 2).flatten(2))


def _attended(query: Any, key: Any, value: Any, added: Any, scale: float) -> Any:
    """Return attention [1, heads, queries, width]; without `added` it is causal."""
    import torch

    groups, kind = query.shape[1] // key.shape[1], query.dtype
    if computes_in(query) != kind:  # its backward pass is four times slower in bfloat16
        query, key, value = (states.float() for states in (query, key, value))
        added = None if added is None else added.float()
    if added is not None and query.is_cuda and groups > 1:  # with a mask, CUDA's fast kernels know no shared keys
        key, value = (states.repeat_interleave(groups, dim=1) for states in (key, value))
    return torch.nn.functional.scaled_dot_product_attention(
        query, key, value, attn_mask=added, is_causal=added is None, scale=scale, enable_gqa=groups > 1
    ).to(kind)


def _seen(states: Any, segment: Segment) -> Any:
    """Return the keys or values [1, heads, tokens, width] of a segment's root and its own."""
    import torch

    own = states[:, :, segment.start : segment.end]
    return torch.cat((states[:, :, segment.root[0] : segment.root[1]], own), dim=2) if segment.before else own
