"""What a checkpoint is, from its config.json: sizes, rotary embedding, tensor names; and what it must not be.

Llama, Mistral, Qwen2 and Qwen3 are one decoder with small differences: biases, normed queries and keys, the order of
a head's rows. Both styles are read: `rope_theta` + `rope_scaling` (transformers 4) and `rope_parameters`
(transformers 5).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lunar_tune.errors import ArtefactBroken, BaseMissing
from lunar_tune.export.tensors import Array
from lunar_tune.files import read_json

DEFAULT_THETA = 10_000.0  # transformers' configurations of all four and llama.cpp agree
ARCHITECTURES = {  # model_type -> its class, and llama.cpp's architecture
    "llama": ("LlamaForCausalLM", "llama"),
    "mistral": ("MistralForCausalLM", "llama"),
    "qwen2": ("Qwen2ForCausalLM", "qwen2"),
    "qwen3": ("Qwen3ForCausalLM", "qwen3"),
}
_NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


@dataclass(frozen=True, slots=True)
class RopeScaling:
    """Llama 3's stretching of the rotary embedding."""

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_context: int


@dataclass(frozen=True, slots=True)
class DecoderShape:
    """The sizes of a decoder; widths in numbers, context in tokens."""

    hidden: int
    feed_forward: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    context: int
    eps: float
    theta: float
    scaling: RopeScaling | None
    tied: bool
    arch: str = "llama"
    """llama.cpp's name of the architecture."""
    window: int | None = None
    """Tokens that a layer sees at a time; None: all. The context is no longer, so that every layer sees all of it."""

    @property
    def biased(self) -> bool:
        """Tell whether queries, keys and values have biases."""
        return self.arch == "qwen2"

    @property
    def normed(self) -> bool:
        """Tell whether queries and keys are normed, a head at a time, before they are rotated."""
        return self.arch == "qwen3"

    @property
    def permuted(self) -> bool:
        """Tell whether llama.cpp wants the two halves of each head of queries and keys interleaved."""
        return self.arch == "llama"

    def tensors(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Return {checkpoint name: (GGUF name, shape)} of every tensor that the model needs."""
        query, key = self.heads * self.head_dim, self.kv_heads * self.head_dim
        shapes: dict[str, tuple[int, ...]] = {
            "input_layernorm": (self.hidden,),
            "self_attn.q_proj": (query, self.hidden),
            "self_attn.k_proj": (key, self.hidden),
            "self_attn.v_proj": (key, self.hidden),
            "self_attn.o_proj": (self.hidden, query),
            "post_attention_layernorm": (self.hidden,),
            "mlp.gate_proj": (self.feed_forward, self.hidden),
            "mlp.up_proj": (self.feed_forward, self.hidden),
            "mlp.down_proj": (self.hidden, self.feed_forward),
        }
        if self.normed:
            shapes |= {"self_attn.q_norm": (self.head_dim,), "self_attn.k_norm": (self.head_dim,)}
        found: dict[str, tuple[str, tuple[int, ...]]] = {
            "model.embed_tokens.weight": ("token_embd.weight", (self.vocab, self.hidden)),
            "model.norm.weight": ("output_norm.weight", (self.hidden,)),
        }
        if not self.tied:
            found["lm_head.weight"] = ("output.weight", (self.vocab, self.hidden))
        for layer in range(self.layers):
            for part, shape in shapes.items():
                found[f"model.layers.{layer}.{part}.weight"] = (f"blk.{layer}.{_NAMES[part]}.weight", shape)
                if self.biased and part[-6:] in ("q_proj", "k_proj", "v_proj"):
                    found[f"model.layers.{layer}.{part}.bias"] = (f"blk.{layer}.{_NAMES[part]}.bias", shape[:1])
        return found

    def rope_factors(self) -> Array | None:
        """Return what each rotary frequency is divided by, float32 [head_dim / 2]; None without scaling.

        Llama 3.1's rule: wavelengths below context/high stay, those above context/low are stretched by `factor`, those
        between are interpolated (transformers `_compute_llama3_parameters`).
        """
        if self.scaling is None:
            return None
        s = self.scaling
        wavelength = 2 * np.pi * self.theta ** (np.arange(0, self.head_dim, 2, dtype=np.float64) / self.head_dim)
        smooth = (s.original_context / wavelength - s.low_freq_factor) / (s.high_freq_factor - s.low_freq_factor)
        between = 1 / ((1 - smooth) / s.factor + smooth)
        factors = np.where(wavelength > s.original_context / s.low_freq_factor, s.factor, between)
        return np.where(wavelength < s.original_context / s.high_freq_factor, 1.0, factors).astype(np.float32)


def read_config(base: Path) -> dict[str, Any]:
    """Return a base folder's config.json.

    Raises:
        BaseMissing: there is none that can be read.
    """
    path = base / "config.json"
    if not path.is_file():
        raise BaseMissing(str(base), "the folder has no config.json" if base.is_dir() else "there is no such folder")
    try:
        content: dict[str, Any] = dict(read_json(path))
    except (ArtefactBroken, TypeError, ValueError) as error:
        raise BaseMissing(str(base), "its config.json cannot be read") from error
    return content


def read_shape(config: Mapping[str, Any], *, quantized: bool = False) -> tuple[DecoderShape | None, list[str]]:
    """Return (shape, []) or (None, every reason why this configuration cannot be written as GGUF).

    `quantized` allows quantized weights: their configuration has the sizes of those that they were made of.
    """
    problems = _foreign_parts(config, quantized)
    required = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
    problems += [f"config.json has no {key}" for key in required if not isinstance(config.get(key), int)]
    if problems:
        return None, problems
    theta, scaling, rope_problems = _rope(config)
    heads, hidden = config["num_attention_heads"], config["hidden_size"]
    window = sliding_window(config)
    shape = DecoderShape(
        hidden=hidden,
        feed_forward=config["intermediate_size"],
        layers=config["num_hidden_layers"],
        heads=heads,
        kv_heads=config.get("num_key_value_heads") or heads,
        head_dim=config.get("head_dim") or hidden // heads,
        vocab=config["vocab_size"],
        context=min(int(config.get("max_position_embeddings") or 2048), window or 1 << 40),
        eps=float(config.get("rms_norm_eps") or 1e-6),
        theta=theta,
        scaling=scaling,
        tied=bool(config.get("tie_word_embeddings", False)),
        arch=ARCHITECTURES[config["model_type"]][1],
        window=window,
    )
    if shape.heads % shape.kv_heads:
        rope_problems.append(f"{shape.heads} heads cannot share {shape.kv_heads} key-value heads evenly")
    if shape.head_dim % 2:
        rope_problems.append(f"the head width {shape.head_dim} is odd")
    return (None, rope_problems) if rope_problems else (shape, [])


def sliding_window(config: Mapping[str, Any]) -> int | None:
    """Return how many tokens a layer of this base sees at a time, None for all.

    Mistral's key counts when it is there, Qwen's only when `use_sliding_window` is on.
    """
    window = config.get("sliding_window")
    on = config.get("use_sliding_window", config.get("model_type") == "mistral")
    return int(window) if window and on else None


def _foreign_parts(config: Mapping[str, Any], quantized: bool) -> list[str]:
    problems = []
    known = ARCHITECTURES.get(str(config.get("model_type")), ("", ""))[0]
    architectures = config.get("architectures") or [known]
    if not known or known not in architectures:
        kind = f"{config.get('model_type')!r} ({', '.join(map(str, architectures))})"
        problems.append(f"the architecture is {kind}; only Llama, Mistral, Qwen2 and Qwen3 can be exported")
    for key in ("quantization_config", "quantization"):
        if config.get(key) and not quantized:
            problems.append(f"its weights are quantized ({key} in config.json); export needs 16 or 32 bits a number")
    if config.get("hidden_act", "silu") != "silu":
        problems.append(f"the activation {config['hidden_act']!r} is not silu")
    problems += [f"{key} is set, which has no place in a GGUF here"
                 for key in ("attention_bias", "mlp_bias") if config.get(key)]  # fmt: skip
    return problems


def _rope(config: Mapping[str, Any]) -> tuple[float, RopeScaling | None, list[str]]:
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    kind = rope.get("rope_type") or rope.get("type") or "default"
    theta = float(rope.get("rope_theta") or config.get("rope_theta") or DEFAULT_THETA)
    problems = []
    if float(rope.get("partial_rotary_factor") or config.get("partial_rotary_factor") or 1.0) != 1.0:
        problems.append("only a part of each head is rotated (partial_rotary_factor)")
    if kind == "default":
        return theta, None, problems
    if kind != "llama3":
        return theta, None, [*problems, f"the rotary scaling {kind!r} is neither 'default' nor 'llama3'"]
    keys = ("factor", "low_freq_factor", "high_freq_factor")
    original = rope.get("original_max_position_embeddings") or config.get("original_max_position_embeddings")
    missing = [key for key in keys if key not in rope] + ([] if original else ["original_max_position_embeddings"])
    if missing or original is None:
        return theta, None, [*problems, f"the llama3 rotary scaling lacks {', '.join(missing)}"]
    factor, low, high = (float(rope[key]) for key in keys)
    return theta, RopeScaling(factor, low, high, int(original)), problems
