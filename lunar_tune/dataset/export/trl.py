"""TRL's SFTTrainer: conversational `prompt` and `completion` rows, one an answer, with `tools` and the row's date.

TRL masks by place, not by weight: of a prompt-completion row it learns the completion alone, whatever the template.
The columns are declared in the README's header: without that, `datasets` would guess their types from the rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lunar_tune.artefacts import Row
from lunar_tune.dataset.export.consumer import Consumer, Source
from lunar_tune.dataset.export.recipe import yaml_text
from lunar_tune.dataset.export.shape import one_answer_a_row, templated
from lunar_tune.prompts.base import spoken_date

HEADER = """---
configs:
- config_name: default
  data_files:
  - split: train
    path: train.jsonl
  - split: validation
    path: validation.jsonl
dataset_info:
  config_name: default
  features:
  - name: prompt
    list: json
  - name: completion
    list: json
  - name: tools
    list: json
  - name: chat_template_kwargs
    struct:
    - name: date_string
      dtype: string
---
"""
WEIGHTS = (
    "One row an answer: `completion` is the answer to learn, `prompt` is what was said before it, and an answer of "
    "weight 0 is in prompts only. The beginning of a conversation is repeated in the row of each of its answers."
)
CUT = "rows longer than the window, which the trainer cuts at its end (`max_length`): an answer that lies there is lost"


def rows(row: Row, source: Source) -> Iterator[dict[str, Any]]:
    """Yield a row an answer to learn."""
    shape = templated(row, source)
    if shape is None:
        return
    messages, weights, tools = shape
    for said, answer in one_answer_a_row(messages, weights):
        date = {"date_string": spoken_date(row["date"])}
        yield {"prompt": said, "completion": [answer], "tools": tools, "chat_template_kwargs": date}


def beside(source: Source, counts: Mapping[str, int]) -> Mapping[str, str]:
    """Return the chat template and a configuration for `trl sft --config`."""
    recipe = source.recipe
    values = {
        "model_name_or_path": recipe.base,
        "dtype": "bfloat16" if recipe.bfloat16 else "float32",
        "dataset_name": ".",
        "dataset_train_split": "train",
        "dataset_test_split": "validation",
        "chat_template_path": "chat_template.jinja",
        "completion_only_loss": True,
        "max_length": recipe.window,
        "use_peft": True,
        "lora_r": recipe.rank,
        "lora_alpha": recipe.whole_alpha,
        "lora_dropout": recipe.dropout,
        "lora_target_modules": recipe.module_names(),
        "load_in_4bit": recipe.four_bit,
        "learning_rate": recipe.learning_rate,
        "lr_scheduler_type": "cosine",
        "warmup_steps": recipe.warmup,
        "weight_decay": recipe.weight_decay,
        "max_grad_norm": recipe.clip,
        "per_device_train_batch_size": recipe.batch,
        "gradient_accumulation_steps": recipe.accumulation,
        "num_train_epochs": recipe.epochs,
        **({"max_steps": recipe.max_steps} if recipe.max_steps else {}),
        **({"eval_strategy": "steps", "eval_steps": recipe.evaluate_every} if counts.get("valid") else {}),
        "save_steps": recipe.save_every,
        "bf16": recipe.bfloat16,
        "seed": recipe.seed,
        "output_dir": "out",
    }
    comment = "lunar-tune's recipe for TRL: run `trl sft --config sft.yaml` in this folder."
    return {"chat_template.jinja": source.prompt.serving_template, "sft.yaml": yaml_text(values, comment)}


def use(_: Source) -> str:
    """Return how it is loaded."""
    return """`trl sft --config sft.yaml` in this folder, or in Python (datasets 4.7 or newer):

```python
rows = datasets.load_dataset("path/of/this/folder")
SFTTrainer(model, SFTConfig(completion_only_loss=True), train_dataset=rows["train"], eval_dataset=rows["validation"])
```

`chat_template.jinja` is the prompt that lunar-tune trains and serves. Give it to the tokenizer
(`tokenizer.chat_template`), unless the model will be served with a template of its own."""


CONSUMER = Consumer(
    name="trl",
    title="TRL",
    files={"train": "train.jsonl", "valid": "validation.jsonl"},
    rows=rows,
    learnt=lambda _: 1,
    beside=beside,
    weights=WEIGHTS,
    use=use,
    notes=(CUT,),
    header=HEADER,
)
