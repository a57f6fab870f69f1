"""What several consumers share: rows as the prompt's template takes them, one answer a row, ids, arguments as text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from lunar_tune.artefacts import Row
from lunar_tune.chatml import WireMessage, WireTool
from lunar_tune.dataset.export.consumer import Source

UNFAITHFUL = "answers that the prompt cannot write so that they read back as themselves, and that are context here"
NESTED = "rows whose arguments or schemas are nested too deep, left out"
OWN_DATE = (
    "{%- if messages and messages[0].date_string %}{%- set date_string = messages[0].date_string %}{%- endif %}\n"
)


def templated(row: Row, source: Source) -> tuple[list[WireMessage], list[int], list[WireTool]] | None:
    """Return a row's messages, the weight of each (0 but for answers to learn) and its tools, as the template has them.

    What training here would not learn, because the prompt cannot write it faithfully, has weight 0 here as well.
    None for a row that cannot be written.
    """
    try:
        context = {verdict.message for verdict in source.prompt.unfaithful(row)}
        shape = source.prompt.normalise(row["messages"], row.get("tools") or ())
    except RecursionError:
        source.unsaid[NESTED] += 1
        return None
    source.unsaid[UNFAITHFUL] += len(context)
    weights = [
        0 if turn in context else _weight(row["messages"][turn]) if message["role"] == "assistant" else 0
        for message, turn in zip(shape.messages, shape.turns, strict=True)
    ]
    return shape.messages, weights, shape.tools


def _weight(message: WireMessage) -> int:
    return int(message.get("weight", 1))


def one_answer_a_row(
    messages: Sequence[WireMessage], weights: Sequence[int]
) -> Iterator[tuple[list[WireMessage], WireMessage]]:
    """Yield what was said before, and the answer, for every answer to learn."""
    for index, weight in enumerate(weights):
        if weight:
            yield list(messages[:index]), messages[index]


def with_text_arguments(messages: Sequence[WireMessage]) -> list[WireMessage]:
    """Return the messages with the arguments of calls as JSON text: one type, whatever the tool."""
    return [
        {**message, "tool_calls": [_text_call(call) for call in message["tool_calls"]]}
        if message.get("tool_calls")
        else message
        for message in messages
    ]


def _text_call(call: dict[str, Any]) -> dict[str, Any]:
    function = call["function"]
    arguments = function["arguments"]
    text = arguments if isinstance(arguments, str) else json_text(arguments)
    return {**call, "function": {**function, "arguments": text}}


def with_ids(messages: Sequence[WireMessage]) -> list[WireMessage] | None:
    """Return the messages with an id on every call, and on every result that of its call; None when they do not pair.

    A call without an id gets one, and a result without one is that of the first call still without a result.
    """
    out: list[WireMessage] = []
    waiting: list[str] = []
    for number, message in enumerate(messages):
        if message["role"] == "tool":
            id_ = message.get("tool_call_id") or (waiting[0] if waiting else None)
            if id_ not in waiting:
                return None
            waiting.remove(id_)
            out.append({**message, "tool_call_id": id_})
            continue
        if waiting:
            return None
        calls = message.get("tool_calls") or ()
        if not calls:
            out.append(message)
            continue
        named = [{**call, "id": call.get("id") or f"call_{number}_{n}"} for n, call in enumerate(calls)]
        waiting = [call["id"] for call in named]
        if len(set(waiting)) < len(waiting):
            return None
        out.append({**message, "tool_calls": named})
    return out


def json_text(value: Any) -> str:
    """Return JSON in one line, keys in their order."""
    return json.dumps(value, ensure_ascii=False)


def with_own_date(template: str) -> str:
    """Return the template with a first line that takes a conversation's date from its first message.

    Trainers that hand nothing but messages and tools to a template would write the day of training into every row.
    """
    return OWN_DATE + template
