"""Held-out turns: every assistant message of weight 1 in a split, with what the agent knew before it."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lunar_tune.artefacts import Row, Verdict
from lunar_tune.chatml import WireMessage, WireTool
from lunar_tune.episodes import ToolCall
from lunar_tune.identity import content_id
from lunar_tune.seams import Prompt, Tokenizer
from lunar_tune.tokens import prompt_ids


@dataclass(frozen=True, slots=True)
class HeldOutTurn:
    """One turn to be judged.

    `id` is a content id; `row` the dataset row's id; `group` the conversation group (`meta.group`, else the row), whose
    turns are not independent of each other. `context` is the messages before the answer, `expected` the logged answer.
    """

    id: str
    row: str
    group: str
    date: str
    context: tuple[WireMessage, ...]
    tools: tuple[WireTool, ...]
    expected: WireMessage

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        """The tool calls of the logged answer."""
        bodies = [call["function"] for call in self.expected.get("tool_calls") or ()]
        return tuple(ToolCall(name=body["name"], arguments=body["arguments"]) for body in bodies)

    def asked_with(self, system: str | None) -> HeldOutTurn:
        """Return the turn asked with another system prompt, as `with_prompt` takes it; the id stays."""
        return replace(self, context=with_prompt(self.context, system))


def held_out_turns(rows: Iterable[Row]) -> list[HeldOutTurn]:
    """Return the turns to be judged of a split's rows, in order."""
    turns: list[HeldOutTurn] = []
    for row in rows:
        messages, tools = row["messages"], tuple(row.get("tools") or ())
        group = str((row.get("meta") or {}).get("group") or row["id"])
        for index, message in enumerate(messages):
            if message["role"] == "assistant" and message.get("weight") == 1:
                context, expected = tuple(map(_unweighted, messages[:index])), _unweighted(message)
                parts: list[Any] = [row["id"], index, row["date"], context, tools, expected]
                name = content_id("turn", parts)
                turns.append(HeldOutTurn(name, row["id"], group, row["date"], context, tools, expected))
    return turns


def with_prompt(messages: Sequence[WireMessage], system: str | None) -> tuple[WireMessage, ...]:
    """Return messages with another system prompt in place of theirs: None is their own, "" none.

    Messages that have no system prompt get none.
    """
    if system is None or not messages or messages[0]["role"] != "system":
        return tuple(messages)
    head = ({**messages[0], "content": system},) if system else ()
    return (*head, *messages[1:])


def fitting_turns(
    turns: Sequence[HeldOutTurn],
    prompt: Prompt,
    tokenizer: Tokenizer,
    limit: int,
    systems: Collection[str | None] = (None,),
) -> tuple[list[HeldOutTurn], list[Verdict], int]:
    """Return the turns that fit, a verdict for each of the others, and the length in tokens of the longest that fits.

    A turn fits when its prompt has at most `limit` tokens with each of the system prompts that it is asked with.
    """
    fit: list[HeldOutTurn] = []
    verdicts: list[Verdict] = []
    longest = 0
    for turn in turns:
        asked = (turn.asked_with(system) for system in systems)
        length = max(len(prompt_ids(form.context, turn.tools, turn.date, prompt, tokenizer)) for form in asked)
        if length <= limit:
            fit.append(turn)
            longest = max(longest, length)
        else:
            detail = f"prompt of {length} tokens, at most {limit} fit"
            verdicts.append(Verdict(turn.row, "evaluate", "window", detail, len(turn.context)))
    return fit, verdicts, longest


def choose_turns(turns: Sequence[HeldOutTurn], most: int) -> list[HeldOutTurn]:
    """Return at most `most` turns (0: all), in order.

    The choice depends on the turns' ids alone: it is the same for every arm, takes conversations in proportion to
    their turns, and changes little when turns are added.
    """
    if not 0 < most < len(turns):
        return list(turns)
    chosen = sorted(turns, key=lambda turn: hashlib.blake2b(turn.id.encode()).digest())[:most]
    ids = {turn.id for turn in chosen}
    return [turn for turn in turns if turn.id in ids]


def _unweighted(message: WireMessage) -> WireMessage:
    return {key: value for key, value in message.items() if key != "weight"}
