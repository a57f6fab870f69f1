"""LLaMA-Factory: `sharegpt` rows, one an answer, because it can learn all answers of a row or the last alone.

Calls are the JSON text of a `function_call` turn, so a turn holds calls or text, not both; results that follow each
other are one `observation`. The text of tools and calls is LLaMA-Factory's own template.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lunar_tune.artefacts import Row
from lunar_tune.chatml import WireMessage
from lunar_tune.dataset.export.consumer import Consumer, Source
from lunar_tune.dataset.export.recipe import yaml_text
from lunar_tune.dataset.export.shape import json_text, one_answer_a_row

BESIDE = "answers with text beside a call, not learnt because only the calls would be left of them"
LOST = "texts beside a call, in what was said before an answer, left out"
ORDER = "answers in conversations whose turns do not take turns, or with a system message in the middle, left out"
TEMPLATES = {  # our prompt family -> the name there
    "llama3": "llama3",
    "mistral": "mistral",
    "mistral-tekken": "ministral",
    "qwen": "qwen",
    "qwen3": "qwen3",
    "qwen3-instruct": "qwen3_nothink",
}


def rows(row: Row, source: Source) -> Iterator[dict[str, Any]]:
    """Yield a row an answer to learn, which is its last turn."""
    weights = [int(m.get("weight", 1)) if m["role"] == "assistant" else 0 for m in row["messages"]]
    tools = json_text(row["tools"]) if row.get("tools") else ""
    for said, answer in one_answer_a_row(row["messages"], weights):
        if answer.get("tool_calls") and answer["content"].strip():
            source.unsaid[BESIDE] += 1
            continue
        system, messages = _without_system([*said, answer])
        turns = _turns(messages)
        if turns is None:
            source.unsaid[ORDER] += 1
            continue
        source.unsaid[LOST] += sum(bool(m.get("tool_calls") and m["content"].strip()) for m in said)
        yield {"conversations": turns, "system": system, "tools": tools}


def _without_system(messages: Sequence[WireMessage]) -> tuple[str, Sequence[WireMessage]]:
    if messages[0]["role"] == "system":
        return messages[0]["content"], messages[1:]
    return "", messages


def _turns(messages: Sequence[WireMessage]) -> list[dict[str, str]] | None:
    """Return the turns, human or observation before gpt or function_call; None where they are in another order."""
    turns: list[dict[str, str]] = []
    for message in messages:
        if message["role"] == "tool":
            if turns and turns[-1]["from"] == "observation":
                turns[-1]["value"] += "\n" + message["content"]
            else:
                turns.append({"from": "observation", "value": message["content"]})
        elif message.get("tool_calls"):
            calls = [{k: call["function"][k] for k in ("name", "arguments")} for call in message["tool_calls"]]
            turns.append({"from": "function_call", "value": json_text(calls)})
        else:
            who = {"user": "human", "assistant": "gpt"}.get(message["role"], str(message["role"]))
            turns.append({"from": who, "value": message["content"]})
    asked, answered = turns[0::2], turns[1::2]
    fits = all(t["from"] in ("human", "observation") for t in asked)
    fits = fits and all(t["from"] in ("gpt", "function_call") for t in answered)
    return turns if fits and len(asked) == len(answered) else None


def beside(source: Source, counts: Mapping[str, int]) -> Mapping[str, str]:
    """Return dataset_info.json and the configuration."""
    recipe = source.recipe
    shape = {
        "formatting": "sharegpt",
        "columns": {"messages": "conversations", "system": "system", "tools": "tools"},
        "tags": {
            "role_tag": "from",
            "content_tag": "value",
            "user_tag": "human",
            "assistant_tag": "gpt",
            "observation_tag": "observation",
            "function_tag": "function_call",
            "system_tag": "system",
        },
    }
    info = {"lunar_train": {"file_name": "train.jsonl", **shape}, "lunar_valid": {"file_name": "valid.jsonl", **shape}}
    checked = {"eval_dataset": "lunar_valid", "eval_strategy": "steps", "eval_steps": recipe.evaluate_every}
    values = {
        "model_name_or_path": recipe.base,
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "lora",
        "lora_rank": recipe.rank,
        "lora_alpha": recipe.whole_alpha,
        "lora_dropout": recipe.dropout,
        "lora_target": ",".join(recipe.module_names()),
        **({"quantization_bit": 4, "quantization_method": "bnb"} if recipe.four_bit else {}),
        "dataset_dir": ".",
        "dataset": "lunar_train",
        **(checked if counts.get("valid") else {}),
        "template": TEMPLATES[source.prompt.family],
        "mask_history": True,
        "train_on_prompt": False,
        "cutoff_len": recipe.window,
        "packing": False,
        "optim": "adamw_torch",
        "learning_rate": recipe.learning_rate,
        "lr_scheduler_type": "cosine",
        "warmup_ratio": recipe.warmup,
        "weight_decay": recipe.weight_decay,
        "max_grad_norm": recipe.clip,
        "per_device_train_batch_size": recipe.batch,
        "gradient_accumulation_steps": recipe.accumulation,
        "num_train_epochs": recipe.epochs,
        **({"max_steps": recipe.max_steps} if recipe.max_steps else {}),
        "save_steps": recipe.save_every,
        "bf16": recipe.bfloat16,
        "fp16": False,
        "seed": recipe.seed,
        "output_dir": "out",
    }
    comment = "lunar-tune's recipe for LLaMA-Factory: run `llamafactory-cli train train.yaml` in this folder."
    return {"dataset_info.json": json.dumps(info, indent=2) + "\n", "train.yaml": yaml_text(values, comment)}


def use(_: Source) -> str:
    """Return how it is loaded."""
    return "`llamafactory-cli train train.yaml` in this folder. `dataset_info.json` names the files and their columns."


CONSUMER = Consumer(
    name="llama-factory",
    title="LLaMA-Factory",
    files={"train": "train.jsonl", "valid": "valid.jsonl"},
    rows=rows,
    learnt=lambda _: 1,
    beside=beside,
    weights=(
        "One row an answer: with `mask_history` LLaMA-Factory learns the last turn of a row alone. An answer of weight "
        "0 is never last. The beginning of a conversation is repeated in the row of each of its answers."
    ),
    use=use,
    notes=(
        "lunar-tune's prompt: LLaMA-Factory writes tools and calls in its own way, so serve the result with a template "
        "like that, not with lunar-tune's Modelfile",
        "the date of a row: LLaMA-Factory writes the day of training where there are tools",
        "the ids of calls and results: several results are one `observation`, a line each, in the order of the calls",
        "rows longer than the window, which LLaMA-Factory shortens (`cutoff_len`)",
    ),
)
