"""Together's fine-tuning: whole conversations with `weight` 0 or 1 on every message, arguments as JSON text.

Every message has a weight: where one has, the service trains on all that have none (its `train_on_inputs` turns true).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lunar_tune.artefacts import Row
from lunar_tune.dataset.export.consumer import Consumer, Source
from lunar_tune.dataset.export.openai import conversation, learnt


def rows(row: Row, source: Source) -> Iterator[dict[str, Any]]:
    """Yield the row, unless the service would not take it."""
    made = conversation(row, source)
    if made is not None:
        messages = [{**m, "weight": int(m.get("weight", 1)) if m["role"] == "assistant" else 0} for m in made]
        yield {"messages": messages, "tools": row["tools"]} if row.get("tools") else {"messages": messages}


def beside(source: Source, counts: Mapping[str, int]) -> Mapping[str, str]:
    """Return nothing: there is no configuration."""
    return {}


def use(source: Source) -> str:
    """Return how it is used, with what of the recipe the service takes."""
    recipe = source.recipe
    return f"""`together files check train.jsonl`, then `together files upload train.jsonl` and a job with LoRA rank
{recipe.rank}, alpha {recipe.whole_alpha}, dropout {recipe.dropout}, learning rate {recipe.learning_rate},
{recipe.epochs} epochs, warm-up ratio {recipe.warmup} and `valid.jsonl` as validation file.
**Everything in these files leaves your machine.**"""


CONSUMER = Consumer(
    name="together",
    title="Together fine-tuning",
    files={"train": "train.jsonl", "valid": "valid.jsonl"},
    rows=rows,
    learnt=learnt,
    beside=beside,
    weights="`weight` is 1 on an answer to learn and 0 on every other message.",
    use=use,
    notes=(
        "the layers that get an adapter (train.layers): the service adapts all of them",
        "what follows the last answer to learn of a conversation",
    ),
)
