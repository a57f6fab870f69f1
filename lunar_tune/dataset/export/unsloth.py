"""Unsloth: TRL's rows, because its trainer is TRL's. `train_on_responses_only` would learn every answer of a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from lunar_tune.dataset.export import trl
from lunar_tune.dataset.export.consumer import Source


def beside(source: Source, counts: Mapping[str, int]) -> Mapping[str, str]:
    """Return the chat template."""
    return {"chat_template.jinja": source.prompt.serving_template}


def use(source: Source) -> str:
    """Return how it is loaded, with the workspace's recipe filled in."""
    recipe = source.recipe
    layers = f", layers_to_transform={list(recipe.layers)}" if recipe.layers else ""
    steps = f", max_steps={recipe.max_steps}" if recipe.max_steps else ""
    return f"""In Python (datasets 4.7 or newer), with the recipe of the workspace:

```python
model, tokenizer = FastLanguageModel.from_pretrained(
    {recipe.base!r}, max_seq_length={recipe.window}, load_in_4bit={recipe.four_bit})
tokenizer.chat_template = open("path/of/this/folder/chat_template.jinja").read()
model = FastLanguageModel.get_peft_model(
    model, r={recipe.rank}, lora_alpha={recipe.whole_alpha}, lora_dropout={recipe.dropout}, random_state={recipe.seed},
    target_modules={list(recipe.modules)}{layers})
rows = load_dataset("path/of/this/folder")
args = SFTConfig(
    completion_only_loss=True, max_length={recipe.window}, learning_rate={recipe.learning_rate},
    lr_scheduler_type="cosine", warmup_steps={recipe.warmup}, weight_decay={recipe.weight_decay},
    max_grad_norm={recipe.clip}, per_device_train_batch_size={recipe.batch},
    gradient_accumulation_steps={recipe.accumulation}, num_train_epochs={recipe.epochs}{steps}, seed={recipe.seed})
SFTTrainer(model, args=args, processing_class=tokenizer,
           train_dataset=rows["train"], eval_dataset=rows["validation"]).train()
```

Do not add `train_on_responses_only`: it learns every answer of a row, the ones before the last again."""


CONSUMER = replace(trl.CONSUMER, name="unsloth", title="Unsloth", beside=beside, use=use)
