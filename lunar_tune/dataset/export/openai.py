"""OpenAI's supervised fine-tuning: whole conversations with `weight` 0 or 1 on every answer, arguments as JSON text.

The API takes a file or refuses it whole, so a row that breaks one of its rules (names of tools, a result for every
call) is left out and counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from lunar_tune.artefacts import Row
from lunar_tune.chatml import WireMessage
from lunar_tune.dataset.export.consumer import Consumer, Source
from lunar_tune.dataset.export.shape import with_ids, with_text_arguments

FEWEST = 10  # rows of a file
NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
NAMES = "rows with a tool whose name is not 1 to 64 of a-z, A-Z, 0-9, _ and -, left out"
PAIRS = "rows in which a call has no result right after it, or a result no call, left out"


def rows(row: Row, source: Source) -> Iterator[dict[str, Any]]:
    """Yield the row, unless the API would not take it."""
    made = conversation(row, source)
    if made is not None:
        messages = [_message(message) for message in made]
        yield {"messages": messages, "tools": row["tools"]} if row.get("tools") else {"messages": messages}


def conversation(row: Row, source: Source) -> list[WireMessage] | None:
    """Return a row's messages up to its last answer to learn, calls and results paired; None for what is not taken."""
    learnt = [i for i, m in enumerate(row["messages"]) if m["role"] == "assistant" and m.get("weight", 1)]
    if not learnt:
        return None
    messages = with_ids(row["messages"][: learnt[-1] + 1])
    if messages is None:
        source.unsaid[PAIRS] += 1
        return None
    called = [call["function"]["name"] for m in messages for call in m.get("tool_calls") or ()]
    offered = [tool["function"]["name"] for tool in row.get("tools") or ()]
    if not all(NAME.fullmatch(name) for name in (*called, *offered)):
        source.unsaid[NAMES] += 1
        return None
    return with_text_arguments(messages)


def _message(message: WireMessage) -> WireMessage:
    made: WireMessage = {"role": message["role"]}
    if message["content"] or not message.get("tool_calls"):
        made["content"] = message["content"]
    if message.get("tool_calls"):
        made["tool_calls"] = message["tool_calls"]
    if message["role"] == "tool":
        made["tool_call_id"] = message["tool_call_id"]
    if message["role"] == "assistant":
        made["weight"] = int(message.get("weight", 1))
    return made


def learnt(row: Mapping[str, Any]) -> int:
    """Count the answers to learn."""
    return sum(message.get("weight", 0) for message in row["messages"] if message["role"] == "assistant")


def beside(source: Source, counts: Mapping[str, int]) -> Mapping[str, str]:
    """Return nothing: there is no configuration. Say so when the file is too small for the API."""
    if counts["train"] < FEWEST:
        source.unsaid[f"rows for training, and the API wants at least {FEWEST}"] = counts["train"]
    return {}


def use(source: Source) -> str:
    """Return how it is used."""
    return f"""Upload `train.jsonl` (and `valid.jsonl` as validation file) with purpose `fine-tune` and create a job
with method `supervised`: `client.files.create`, then `client.fine_tuning.jobs.create`. Epochs in the workspace's
recipe: {source.recipe.epochs}. **Everything in these files leaves your machine.**"""


CONSUMER = Consumer(
    name="openai",
    title="OpenAI fine-tuning",
    files={"train": "train.jsonl", "valid": "valid.jsonl"},
    rows=rows,
    learnt=learnt,
    beside=beside,
    weights="`weight` is 1 on an answer to learn and 0 on one that is context. Other messages are never learnt.",
    use=use,
    notes=(
        "rank, alpha, layers and learning rate: the service chooses its own",
        "what follows the last answer to learn of a conversation",
    ),
)
