"""What the rows of a dataset hold, counted while they pass: months, sources, tools, lengths, writing systems.

Lengths are estimated at four characters a token, the rule of thumb for English text; the tokenizer of a base counts
them when the dataset is shown and when it is trained on.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from sys import intern
from typing import Any

from lunar_tune.artefacts import Row
from lunar_tune.chatml import WireMessage
from lunar_tune.identity import sorted_json

CHARACTERS_A_TOKEN = 4
BOUNDS = (32, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 16384, 32768)
"""Tokens; what is longer is the last bucket."""
SCRIPT_SAMPLE = 400  # characters of a conversation's requests that are looked at for their writing system
SCRIPTS = {
    "Greek": "\u0370-\u03ff\u1f00-\u1fff",
    "Cyrillic": "\u0400-\u052f",
    "Hebrew": "\u0590-\u05ff",
    "Arabic": "\u0600-\u06ff\u0750-\u077f",
    "Devanagari": "\u0900-\u097f",
    "Thai": "\u0e00-\u0e7f",
    "Japanese": "\u3040-\u30ff",
    "Korean": "\u1100-\u11ff\uac00-\ud7af",
    "Chinese or Japanese": "\u4e00-\u9fff\u3400-\u4dbf",
    "Latin": "A-Za-z\u00c0-\u024f",
}
_LETTERS = {name: re.compile(f"[{letters}]") for name, letters in SCRIPTS.items()}
Length = Callable[[str], int]


@dataclass(slots=True)
class RowFacts:
    """What is counted of a row; lengths are characters, `prompt` is the hash and the length of a system prompt."""

    month: str
    source: str
    model: str
    script: str
    offered: tuple[str, ...]
    prompt: tuple[int, int] | None = None
    said: int = 0
    answers: int = 0
    learnt: int = 0
    context: int = 0
    called: tuple[str, ...] = ()
    calls: int = 0
    """Turns to learn that call a tool."""


class Content:
    """Counts over rows; `facts` is what the manifest holds of them.

    The length of a set of tools is remembered by their names: it is nearly always the same.
    """

    def __init__(self) -> None:
        self._counts: dict[str, Counter[str]] = {
            name: Counter() for name in ("months", "sources", "models", "scripts", "called")
        }
        self._learnt: Counter[int] = Counter()
        self._offered: Counter[tuple[str, ...]] = Counter()
        self._tokens, self._answers = Histogram(), Histogram()
        self._prompts: set[int] = set()
        self._tools: dict[tuple[str, ...], tuple[tuple[str, ...], int]] = {}

    def read(self, row: Row, began: str) -> RowFacts:
        """Return what is counted of a row; `began` is when its conversation did, "" when the log does not say."""
        meta, messages = row["meta"], row["messages"]
        names = tuple([tool["function"]["name"] for tool in row.get("tools") or ()])
        if names not in self._tools:
            self._tools[names] = names, sum(len(sorted_json(tool)) for tool in row.get("tools") or ())
        offered, model = self._tools[names][0], intern(meta.get("model") or "unknown")
        facts = RowFacts(intern(began[:7] or "undated"), intern(meta["source"]), model, script(messages), offered)
        called: list[str] = []
        for message in messages:
            length, calls = len(message["content"]), message.get("tool_calls")
            if calls:
                functions = [call["function"] for call in calls]
                length += sum([len(one["name"]) + len(sorted_json(one["arguments"])) for one in functions])
            if message["role"] == "system":
                facts.prompt = hash(message["content"]), length
                continue
            facts.said += length
            if message.get("weight"):
                facts.learnt += 1
                facts.answers += length
                if calls:
                    facts.calls += 1
                    called += [one["name"] for one in functions]
            elif message["role"] == "assistant":
                facts.context += 1
        facts.called = tuple(map(intern, called))
        return facts

    def add(self, row: RowFacts, prompt: str | None = None) -> None:
        """Count a row; `prompt` is what it has in place of its system prompt, "" for none, None for its own."""
        counts = self._counts
        counts["months"][row.month] += 1
        counts["sources"][row.source] += 1
        counts["models"][row.model] += 1
        counts["scripts"][row.script] += 1
        counts["called"].update(row.called)
        self._offered[row.offered] += 1
        self._learnt[row.learnt] += 1
        whole = row.said + self._tools[row.offered][1]
        if row.prompt is not None and prompt != "":
            name, length = row.prompt if prompt is None else (hash(prompt), len(prompt))
            self._prompts.add(name)
            whole += length
        self._tokens.add(whole // CHARACTERS_A_TOKEN)
        self._answers.add(row.answers // CHARACTERS_A_TOKEN)

    def facts(self) -> dict[str, Any]:
        """Return {"months", "sources", "models", "scripts", "learnt", "tools", "tokens", "prompts"}."""
        counts = self._counts
        offered: Counter[str] = Counter()
        for tools, rows in self._offered.items():
            offered.update(dict.fromkeys(tools, rows))
        names = sorted(offered | counts["called"], key=lambda name: (-counts["called"][name], name))
        return {
            "months": dict(sorted(counts["months"].items())),
            "sources": _by_number(counts["sources"]),
            "models": _by_number(counts["models"]),
            "scripts": _by_number(counts["scripts"]),
            "prompts": len(self._prompts),
            "learnt": {str(number): rows for number, rows in sorted(self._learnt.items())},
            "tools": {name: {"offered": offered[name], "learnt_calls": counts["called"][name]} for name in names},
            "tokens": {"how": "estimated", "rows": self._tokens.facts(), "answers": self._answers.facts()},
        }


class Histogram:
    """Numbers in buckets that grow with them, and their sum and most."""

    def __init__(self) -> None:
        self._buckets = [0] * (len(BOUNDS) + 1)
        self._sum = self._most = 0

    def add(self, number: int) -> None:
        """Count a number."""
        self._buckets[bisect_left(BOUNDS, number)] += 1
        self._sum += number
        self._most = max(self._most, number)

    def facts(self) -> dict[str, Any]:
        """Return {"sum", "longest", "up_to": {bound: how many}}; empty buckets at both ends are left out."""
        names = [*map(str, BOUNDS), "longer"]
        used = [i for i, number in enumerate(self._buckets) if number]
        span = range(used[0], used[-1] + 1) if used else range(0)
        return {"sum": self._sum, "longest": self._most, "up_to": {names[i]: self._buckets[i] for i in span}}


def group_sizes(groups: Iterable[int]) -> dict[str, int]:
    """Return how many groups there are of each number of rows, by size; `groups` names the group of every row."""
    sizes = Counter(Counter(groups).values())
    return {str(size): sizes[size] for size in sorted(sizes)}


def script(messages: Iterable[WireMessage]) -> str:
    """Return the writing system of the requests: that of most letters in their beginning."""
    text = ""
    for message in messages:
        if message["role"] == "user":
            text += message["content"]
            if len(text) >= SCRIPT_SAMPLE:
                break
    text = text[:SCRIPT_SAMPLE]
    if text.isascii():
        return "Latin" if any(map(str.isalpha, text)) else "none"
    found = {name: len(letters.findall(text)) for name, letters in _LETTERS.items()}
    most = max(found, key=lambda name: found[name])
    return most if found[most] else "other"


def _by_number(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
