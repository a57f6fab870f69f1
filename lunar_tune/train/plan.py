"""How much memory a training run takes, part by part, from a base's config alone: nothing is loaded.

`estimate` is a pure function. Its terms are what the two engines keep; `MEASURED` holds what cannot be derived (a
runtime's own size), and `tests/bench/bench_memory.py` compares the sum with what an engine used. The largest error that
is reckoned with is `MARGIN`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from lunar_tune.errors import BaseMissing
from lunar_tune.settings import TrainSettings
from lunar_tune.train.engine import DRIFT_ROWS

Kind = Literal["cpu", "cuda", "mps", "metal"]
MARGIN = 0.1
BYTES = {"float32": 4, "bfloat16": 2}
NF4_BYTES = 0.516  # a weight in doubly quantized NF4: 4 bits, 8 bits a block of 64, 32 bits a block of those (QLoRA)
MLX4_BYTES = 0.5625  # 4 bits, and a 16-bit scale and bias a group of 64
INT8_BYTES = 1.0
MLX_HEAD_ROWS = 256  # positions that the MLX engine scores at a time (`mlx_head`)
OPTIMIZER_COPIES = 3  # gradient and AdamW's two moments, of the adapter's size each


@dataclass(frozen=True, slots=True)
class Shape:
    """What a base's config.json says of its size.

    `stored` is bytes a weight in its files; `packed`, where they are quantized, the same of a layer's projections.
    """

    hidden: int
    feed_forward: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    tied: bool
    packed: float | None = None
    stored: int = 2

    @property
    def widths(self) -> dict[str, tuple[int, int]]:
        """Return (in, out) of each projection of a layer."""
        asked, kept = self.heads * self.head_dim, self.kv_heads * self.head_dim
        return {
            "q_proj": (self.hidden, asked),
            "k_proj": (self.hidden, kept),
            "v_proj": (self.hidden, kept),
            "o_proj": (asked, self.hidden),
            "gate_proj": (self.hidden, self.feed_forward),
            "up_proj": (self.hidden, self.feed_forward),
            "down_proj": (self.feed_forward, self.hidden),
        }

    @property
    def per_layer(self) -> int:
        """Return the weights of a layer's projections."""
        return sum(wide * tall for wide, tall in self.widths.values())

    @property
    def around(self) -> int:
        """Return the weights of embeddings, head and norms."""
        return self.vocabulary * self.hidden * (1 if self.tied else 2) + self.hidden * (2 * self.layers + 1)

    @property
    def parameters(self) -> int:
        """Return all weights."""
        return self.per_layer * self.layers + self.around


@dataclass(frozen=True, slots=True)
class Longest:
    """The longest row: its tokens, and the most tokens that any row's answers have."""

    tokens: int
    supervised: int


@dataclass(frozen=True, slots=True)
class Memory:
    """A run's peak in bytes by part.

    `activations` and `scoring` are a step's, `judging` a validation's; they add up, because an allocator keeps the
    pieces of a step that fit nothing else. `loading` are pages of the base's files while they are read: they count as
    the process's, and the system takes them back at need.
    """

    weights: int
    adapter: int
    optimizer: int
    activations: int
    scoring: int
    judging: int
    loading: int
    runtime: int

    @property
    def total(self) -> int:
        """Return what must be free."""
        return sum(self.parts().values()) - self.loading

    @property
    def resident(self) -> int:
        """Return the largest resident size of the process, the pages of files included."""
        return max(self.total, self.weights + self.runtime + self.loading)

    def parts(self) -> dict[str, int]:
        """Return the parts by name."""
        return asdict(self)


def read_shape(config: Mapping[str, Any], name: str = "") -> Shape:
    """Return the shape that a base's config.json gives.

    Raises:
        BaseMissing: a width is missing from it.
    """
    try:
        hidden, heads = int(config["hidden_size"]), int(config["num_attention_heads"])
        return Shape(
            hidden,
            int(config["intermediate_size"]),
            int(config["num_hidden_layers"]),
            heads,
            int(config.get("num_key_value_heads") or heads),
            int(config.get("head_dim") or hidden // heads),
            int(config["vocab_size"]),
            bool(config.get("tie_word_embeddings", False)),
            _packed(config),
            4 if (config.get("dtype") or config.get("torch_dtype")) == "float32" else 2,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BaseMissing(name, f"its config.json lacks a width ({error})") from error


def _packed(config: Mapping[str, Any]) -> float | None:
    """Return bytes a weight of a base whose file is quantized: MLX's, bitsandbytes' or GPTQ's; None of any other."""
    told = config.get("quantization") or config.get("quantization_config")
    if not isinstance(told, Mapping):
        return None
    bits = told.get("bits") or (4 if told.get("load_in_4bit") else 8 if told.get("load_in_8bit") else None)
    if bits is None:
        return None
    group = int(told.get("group_size") or 64)
    return int(bits) / 8 + (4 / group if group > 0 else 0.0)


def adapter_size(shape: Shape, settings: TrainSettings) -> int:
    """Return the number of adapter weights."""
    per_layer = sum(sum(shape.widths[module]) for module in settings.modules)
    return settings.adapted(shape.layers) * per_layer * settings.rank


def estimate(shape: Shape, settings: TrainSettings, backend: str, kind: Kind, longest: Longest) -> Memory:
    """Return the peak memory of a run whose settings leave nothing open (`settle.settled`).

    Args:
        shape: the base's.
        settings: batch, checkpointing, precision, quantize_base, rank, layers and modules count.
        backend: "peft" or "mlx"; of another trainer, as PEFT.
        kind: where it runs; on a CPU the runtime's own memory counts, as it is taken from the same.
        longest: the longest row.
    """
    engine = _Engine(shape, settings, backend == "mlx", kind, longest.tokens)
    tokens, wanted = longest.tokens * settings.batch, longest.supervised * settings.batch
    return Memory(
        weights=engine.weights(),
        adapter=adapter_size(shape, settings) * 4,
        optimizer=adapter_size(shape, settings) * 4 * OPTIMIZER_COPIES,
        activations=engine.activations(tokens, wanted),
        scoring=engine.scoring(wanted),
        judging=DRIFT_COPIES * 4 * min(wanted, DRIFT_ROWS) * shape.vocabulary,
        loading=engine.loading(),
        runtime=RUNTIME[kind][backend == "mlx"],
    )


@dataclass(frozen=True, slots=True)
class _Engine:
    """What an engine keeps, in bytes."""

    shape: Shape
    settings: TrainSettings
    mlx: bool
    kind: Kind
    row: int

    @property
    def wide(self) -> int:
        """Return the bytes of a number of the base's arithmetic."""
        return BYTES[self.settings.precision]

    @property
    def arithmetic(self) -> int:
        """Return the bytes of a number that is computed with: many CPUs make float32 of bfloat16 (`fast_linear`)."""
        return 4 if self.kind == "cpu" else self.wide

    @property
    def quick(self) -> bool:
        """Tell whether the layers are those of `fast_lora`, which keep less."""
        return not self.mlx and self.settings.quantize_base == "none" and self.shape.packed is None

    def weights(self) -> int:
        """Return the frozen base; embeddings and head stay whole unless MLX's file has them quantized."""
        shape = self.shape
        each: float = self.wide
        if shape.packed is not None:
            each = shape.packed
        elif self.settings.quantize_base == "4bit":
            each = MLX4_BYTES if self.mlx else NF4_BYTES
        elif self.settings.quantize_base == "8bit":
            each = INT8_BYTES
        around = shape.around * (shape.packed if shape.packed is not None and self.mlx else self.wide)
        return round(shape.per_layer * shape.layers * each + around)

    def activations(self, tokens: int, wanted: int) -> int:
        """Return what is kept for the gradient, and what a layer's backward pass needs beside it.

        Below the lowest adapted layer nothing is kept. The last layer answers at the wanted positions alone.
        """
        adapted, whole = self.settings.adapted(self.shape.layers), self._kept() * tokens
        last = self._kept() * min(tokens, wanted) + self._kept_by_keys() * tokens
        if self.settings.checkpointing == "on":
            inputs = adapted * self.shape.hidden * self.wide * tokens
            return round(inputs + (last if adapted == 1 else whole)) + self.passing(tokens)
        return round((adapted - 1) * whole + last) + self.passing(tokens)

    def passing(self, tokens: int) -> int:
        """Return what exists inside one layer's MLP at a time, forward or backward, and is gone after it."""
        return round(PASSING[self.mlx] * self.arithmetic * self.shape.feed_forward * tokens)

    def _kept(self) -> float:
        """Return bytes a token that a layer keeps: stream, attention, MLP, and the inputs of adapted projections."""
        shape, wide, modules = self.shape, self.wide, self.settings.modules
        asked, kept = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        attention = (2 * asked + 2 * kept) * wide + 4 * shape.heads
        if self.mlx:  # no fused kernel in training: every token's attention to each other is kept
            attention += shape.heads * self.row * wide
        inputs = sum(shape.widths[module][0] for module in modules)
        if self.quick:
            read = {"q_proj": "qkv", "k_proj": "qkv", "v_proj": "qkv", "gate_proj": "mlp", "up_proj": "mlp"}
            normed = len({read[module] for module in modules if module in read}) * shape.hidden
            masks = inputs if self.settings.dropout else 0
            return (2 * shape.hidden + normed + 2 * shape.feed_forward) * wide + attention + masks
        mask = (4 if self.kind == "cpu" else 1) if self.settings.dropout else 0
        copies = 4 + mask  # PEFT's layers keep their dropped inputs in float32, and the mask: of bytes on a GPU
        return (2 * shape.hidden + 3 * shape.feed_forward) * wide + attention + copies * inputs

    def _kept_by_keys(self) -> float:
        """Return bytes a token of the last layer's input, keys and values, needed at all positions."""
        return (self.shape.hidden + 2 * self.shape.kv_heads * self.shape.head_dim) * self.wide

    def scoring(self, wanted: int) -> int:
        """Return what the loss takes: a block of logits (torch, `fast_head`), or those of some rows (MLX)."""
        everything = wanted * self.shape.vocabulary
        if self.mlx:
            return LOGIT_COPIES * 4 * min(wanted, MLX_HEAD_ROWS) * self.shape.vocabulary
        block = min(everything, max((1 << 20) if self.kind == "cpu" else (1 << 26), 256 * wanted))
        widened = self.shape.hidden * 4 * block // max(1, wanted) if self.arithmetic != self.wide else 0
        return LOGIT_COPIES * 4 * block + widened

    def loading(self) -> int:
        """Return the pages of the base's files that are there beside the weights made of them, on a CPU."""
        if self.kind != "cpu" or self.shape.stored == self.wide:
            return 0  # weights of the same format are those pages
        return self.shape.parameters * self.shape.stored


# What is measured rather than derived (`tests/bench/bench_memory.py`), by MLX or not
PASSING = {False: 4.0, True: 4.0}  # tensors as wide as the MLP that exist at a time
LOGIT_COPIES = 3  # logits, what becomes of them, and their gradient
DRIFT_COPIES = 4  # two distributions, and what one of them is made of
RUNTIME: dict[Kind, dict[bool, int]] = {  # bytes of libraries and allocator; a GPU's own count leaves them out
    "cpu": {False: 530_000_000, True: 180_000_000},
    "cuda": {False: 0, True: 0},
    "mps": {False: 500_000_000, True: 0},
    "metal": {False: 0, True: 0},
}
