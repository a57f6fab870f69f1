"""Axolotl: whole conversations of type `chat_template`, with `training` true or false on every message.

Arguments and tools are JSON texts, which Axolotl reads back: as objects they would be one Arrow type for all tools.
The row's date stands in its first message, because Axolotl gives a template the same variables for every row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lunar_tune.artefacts import Row
from lunar_tune.dataset.export.consumer import Consumer, Source
from lunar_tune.dataset.export.recipe import yaml_text
from lunar_tune.dataset.export.shape import json_text, templated, with_own_date, with_text_arguments
from lunar_tune.prompts.base import spoken_date


def rows(row: Row, source: Source) -> Iterator[dict[str, Any]]:
    """Yield the row, unless nothing of it may be learnt."""
    shape = templated(row, source)
    if shape is None or not any(shape[1]):
        return
    messages, weights, tools = shape
    marked = [
        {**message, "training": bool(weight)}
        for message, weight in zip(with_text_arguments(messages), weights, strict=True)
    ]
    marked[0]["date_string"] = spoken_date(row["date"])
    yield {"messages": marked, "tools": json_text(tools)}


def learnt(row: Mapping[str, Any]) -> int:
    """Count the answers to learn."""
    return sum(message["training"] for message in row["messages"])


def beside(source: Source, counts: Mapping[str, int]) -> Mapping[str, str]:
    """Return the chat template and the configuration."""
    recipe = source.recipe
    kind = {
        "ds_type": "json",
        "type": "chat_template",
        "field_messages": "messages",
        "field_tools": "tools",
        "message_property_mappings": {name: name for name in ("role", "content", "date_string")},
        "message_field_training": "training",
        "roles_to_train": ["assistant"],
        "train_on_eos": "turn",
    }
    held_out = [{"path": "./valid.jsonl", "split": "train", **kind}] if counts.get("valid") else []
    values = {
        "base_model": recipe.base,
        "adapter": "qlora" if recipe.four_bit else "lora",
        "load_in_4bit": recipe.four_bit,
        "lora_r": recipe.rank,
        "lora_alpha": recipe.whole_alpha,
        "lora_dropout": recipe.dropout,
        "lora_target_modules": list(recipe.modules),
        **({"peft_layers_to_transform": list(recipe.layers)} if recipe.layers else {}),
        "chat_template": "jinja",
        "chat_template_jinja": "./chat_template.jinja",
        "eot_tokens": [source.prompt.end],
        "datasets": [{"path": "./train.jsonl", **kind}],
        **({"test_datasets": held_out, "eval_steps": recipe.evaluate_every} if held_out else {}),
        "dataset_prepared_path": "./prepared",
        "train_on_inputs": False,
        "sequence_len": recipe.window,
        "sample_packing": False,
        "pad_to_sequence_len": False,
        "optimizer": "adamw_torch",
        "learning_rate": recipe.learning_rate,
        "lr_scheduler": "cosine",
        "warmup_ratio": recipe.warmup,
        "weight_decay": recipe.weight_decay,
        "max_grad_norm": recipe.clip,
        "micro_batch_size": recipe.batch,
        "gradient_accumulation_steps": recipe.accumulation,
        "num_epochs": recipe.epochs,
        **({"max_steps": recipe.max_steps} if recipe.max_steps else {}),
        "save_steps": recipe.save_every,
        "bf16": recipe.bfloat16,
        "fp16": False,
        "tf32": False,
        "seed": recipe.seed,
        "output_dir": "./out",
    }
    comment = "lunar-tune's recipe for Axolotl: run `axolotl train axolotl.yaml` in this folder."
    template = with_own_date(source.prompt.serving_template)
    return {"chat_template.jinja": template, "axolotl.yaml": yaml_text(values, comment)}


def use(_: Source) -> str:
    """Return how it is loaded."""
    return """In this folder `axolotl preprocess axolotl.yaml --debug` shows what is learnt and
`axolotl train axolotl.yaml` trains. `chat_template.jinja` is the prompt that lunar-tune trains and serves."""


CONSUMER = Consumer(
    name="axolotl",
    title="Axolotl",
    files={"train": "train.jsonl", "valid": "valid.jsonl"},
    rows=rows,
    learnt=learnt,
    beside=beside,
    weights="`training` on every message says whether it is learnt (`message_field_training` in `axolotl.yaml`).",
    use=use,
    notes=("rows longer than the window, which Axolotl leaves out (`sequence_len`)",),
)
