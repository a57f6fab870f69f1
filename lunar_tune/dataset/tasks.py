"""What the agent is asked to do: the requests of rows, told apart by their words, and the shape of their answers.

Two requests are one task when their words are the same, whatever case and punctuation. A template is a task without its
values: words that the answer's calls were given, and words with a digit in them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from lunar_tune.artefacts import Row
from lunar_tune.dataset.grouping.corpus import spoken, words

TEXT = "text"
_VALUE = re.compile(r"\d")


@dataclass(frozen=True, slots=True)
class Task:
    """A request with an answer to learn, its template, and the shape of its first such answer: tools, or text."""

    request: str
    template: str
    shape: str


def tasks(row: Row) -> Iterator[Task]:
    """Yield the tasks of a row, in order; a request without words or without an answer to learn is none."""
    asked: list[str] = []
    answers: list[dict[str, Any]] = []
    for message in [*row["messages"], {"role": "user", "content": ""}]:
        if message["role"] == "user":
            if asked and answers:
                yield _task(asked, answers)
            asked, answers = words(message["content"]), []
        elif message["role"] == "assistant" and message.get("weight", 1):
            answers.append(message)


def distinct_tasks(rows: Iterable[Row]) -> int:
    """Count the tasks of rows that differ in their words."""
    return len({task.request for row in rows for task in tasks(row)})


def _task(asked: list[str], answers: list[dict[str, Any]]) -> Task:
    calls = [call["function"] for answer in answers for call in answer.get("tool_calls") or ()]
    given = {word for call in calls for word in words(" ".join(spoken(call["arguments"])))}
    masked = ["_" if word in given or _VALUE.search(word) else word for word in asked]
    template = [word for i, word in enumerate(masked) if word != "_" or i == 0 or masked[i - 1] != "_"]
    first = answers[0].get("tool_calls") or ()
    shape = ", ".join(sorted({call["function"]["name"] for call in first})) or TEXT
    return Task(" ".join(asked), " ".join(template), shape)
