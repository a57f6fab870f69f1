"""mlx-lm: `messages` and `tools`, one row an answer, because `mask_prompt` learns the last message of a row alone.

mlx-lm gives a template nothing but messages and tools, so the row's date stands in its first message.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from lunar_tune.artefacts import Row
from lunar_tune.dataset.export.consumer import Consumer, Source
from lunar_tune.dataset.export.recipe import BLOCK, yaml_text
from lunar_tune.dataset.export.shape import one_answer_a_row, templated, with_own_date
from lunar_tune.prompts.base import spoken_date


def rows(row: Row, source: Source) -> Iterator[dict[str, Any]]:
    """Yield a row an answer to learn, which is its last message."""
    shape = templated(row, source)
    if shape is None:
        return
    messages, weights, tools = shape
    for said, answer in one_answer_a_row(messages, weights):
        first, *rest = [*said, answer]
        dated = [{**first, "date_string": spoken_date(row["date"])}, *rest]
        yield {"messages": dated, "tools": tools} if tools else {"messages": dated}


def beside(source: Source, counts: Mapping[str, int]) -> Mapping[str, str]:
    """Return the chat template and a configuration for `mlx_lm.lora --config`."""
    recipe = source.recipe
    batches = max(1, counts["train"] // recipe.batch) * recipe.epochs
    batches = min(batches, recipe.max_steps * recipe.accumulation) if recipe.max_steps else batches
    steps = max(1, batches // recipe.accumulation)
    warmup = math.ceil(steps * recipe.warmup)
    values = {
        "model": recipe.base,
        "train": True,
        "data": ".",
        "mask_prompt": True,
        "max_seq_length": recipe.window,
        "num_layers": len(recipe.layers) or -1,
        "lora_parameters": {
            "rank": recipe.rank,
            "scale": recipe.alpha / recipe.rank,
            "dropout": recipe.dropout,
            "keys": [f"{BLOCK.get(name, 'mlp')}.{name}" for name in recipe.modules],
        },
        "optimizer": "adamw",
        "optimizer_config": {"adamw": {"weight_decay": recipe.weight_decay, "bias_correction": True}},
        "learning_rate": recipe.learning_rate,
        "lr_schedule": {
            "name": "cosine_decay",
            "warmup": warmup,
            "arguments": [recipe.learning_rate, max(1, steps - warmup)],
        },
        "batch_size": recipe.batch,
        "grad_accumulation_steps": recipe.accumulation,
        "iters": batches,
        "steps_per_eval": recipe.evaluate_every * recipe.accumulation,
        "save_every": recipe.save_every * recipe.accumulation,
        "seed": recipe.seed,
        "adapter_path": "adapters",
    }
    comment = (
        "lunar-tune's recipe for mlx-lm: run `mlx_lm.lora --config lora.yaml` in this folder.\n"
        "An iteration is one batch; mlx-lm leaves out the rows that do not fill the last one."
    )
    template = with_own_date(source.prompt.serving_template)
    return {"chat_template.jinja": template, "lora.yaml": yaml_text(values, comment)}


def use(_: Source) -> str:
    """Return how it is loaded."""
    return """Copy `chat_template.jinja` into the folder of the base model, in the place of its own, then run
`mlx_lm.lora --config lora.yaml` in this folder. Without that the base's own template writes the rows: Llama 3.2's
raises on two calls in a turn, loses the text beside a call, and writes the day of training into every row."""


CONSUMER = Consumer(
    name="mlx-lm",
    title="mlx-lm",
    files={"train": "train.jsonl", "valid": "valid.jsonl", "test": "test.jsonl"},
    rows=rows,
    learnt=lambda _: 1,
    beside=beside,
    weights=(
        "One row an answer: with `mask_prompt` mlx-lm learns the last message of a row alone. An answer of weight 0 is "
        "never last. The beginning of a conversation is repeated in the row of each of its answers. `test.jsonl` is "
        "read with `--test` only, never trained on."
    ),
    use=use,
    notes=(
        "rows longer than the window, which mlx-lm cuts at their end (`max_seq_length`); where nothing of the answer "
        "is left, its loss is not a number",
        "the largest gradient norm (train.clip): mlx-lm does not clip",
        "4-bit training (train.quantize_base): mlx-lm trains on what it is given; convert the base with "
        "`mlx_lm.convert -q` first",
    ),
)
