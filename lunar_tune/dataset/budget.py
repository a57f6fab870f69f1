"""Which training rows there is room for: near-identical ones, caps, and a budget of tokens.

Rows are asked in one order. First the newest row of every template, those of rarer tools before those of commoner ones,
then the second newest of every template, and so on: what is rare comes in before what is frequent, the new before the
old. A row for which a cap or the budget has no room is dropped with its reason; a smaller one after it may still fit.
Valid and test stay as the log has them: they say how the model does on what people ask. The newest of near-identical
rows stay, as the agent answers today.

Tokens are estimated from the bytes of a row's line as it is trained on, with messages, calls and schemas
(`content.CHARACTERS_A_TOKEN` each).
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lunar_tune.artefacts import Draft, Split, Verdict
from lunar_tune.dataset.content import CHARACTERS_A_TOKEN
from lunar_tune.dataset.grouping.corpus import Turn
from lunar_tune.dataset.grouping.split import Member
from lunar_tune.settings import DatasetSettings

STEP = "budget"
TEMPLATE_WORDS = 20  # a request is told apart by its first so many words
_VALUE = re.compile(r"\d|_")


@dataclass(frozen=True, slots=True)
class Load:
    """What a row weighs: the tools that it calls, its template, tokens of all of it, turns to learn.

    There is always room for one of which its owner decided to keep a turn (`kept`).
    """

    tools: tuple[str, ...]
    template: str
    tokens: int
    turns: int
    kept: bool = False


def load_of(draft: Draft, turns: Sequence[Turn], size: int) -> Load:
    """Return the load of a draft, which said `turns` and whose row is a line of so many bytes."""
    learnt = [m for m, weight in zip(draft.episode.messages, draft.weights, strict=True) if weight == 1]
    called = {sys.intern(call.name) for message in learnt if message.tool_calls for call in message.tool_calls}
    tokens, kept = size // CHARACTERS_A_TOKEN, bool(draft.kept)
    return Load(tuple(sorted(called)), sys.intern(template(turns)), tokens, len(learnt), kept)


def template(turns: Sequence[Turn]) -> str:
    """Return the first request without its values: numbers, placeholders, and what the first call was given."""
    first = next((i for i, turn in enumerate(turns) if turn.role == "user"), None)
    if first is None:
        return ""
    given: set[str] = set()
    for turn in turns[first + 1 :]:
        if turn.role == "user" or given:
            break
        given |= turn.given
    masked: list[str] = []
    for word in turns[first].words[:TEMPLATE_WORDS]:
        if word not in given and (word.isalpha() or not _VALUE.search(word)):
            masked.append(word)
        elif not masked or masked[-1] != "_":
            masked.append("_")
    return " ".join(masked)


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which rows are dropped, as indices with verdicts, and what caps and budget cost, for the manifest."""

    dropped: Mapping[int, Verdict]
    facts: dict[str, Any]


def choose(
    members: Sequence[Member],
    loads: Sequence[Load],
    splits: Sequence[Split],
    crowded: Collection[int],
    settings: DatasetSettings,
) -> Chosen:
    """Choose the training rows; `crowded` are those that have near-duplicates enough among newer ones (`crowd`)."""
    train = [i for i, split in enumerate(splits) if split == "train"]
    newest = sorted(train, key=lambda i: (members[i].started_at, members[i].id), reverse=True)
    alike = "a near-duplicate of newer rows", f"{settings.near_identical} are kept"
    dropped = {i: Verdict(members[i].id, STEP, *alike) for i in newest if i in crowded and not loads[i].kept}
    left = [i for i in newest if i not in dropped]
    order = _order(left, loads)
    room = _Room(members, loads, left, settings)
    for i in order:
        if not loads[i].kept and (problem := room.problem(i)) is not None:
            dropped[i] = Verdict(members[i].id, STEP, *problem)
        else:
            room.take(i)
    facts: dict[str, Any] = {"limit": settings.budget, "tokens": room.tokens, "estimated": True}
    return Chosen(dropped, {**facts, "dropped": _cost(dropped, loads)})


def _order(newest: Sequence[int], loads: Sequence[Load]) -> list[int]:
    rows_of = Counter(tool for i in newest for tool in loads[i].tools)
    before: Counter[str] = Counter()
    asked = []
    for age, i in enumerate(newest):
        load = loads[i]
        rarest = min((rows_of[tool] for tool in load.tools), default=len(newest))
        asked.append((before[load.template], rarest, age, i))
        before[load.template] += 1
    return [i for *_, i in sorted(asked)]


class _Room:
    """What is left under each cap and of the budget."""

    def __init__(
        self, members: Sequence[Member], loads: Sequence[Load], rows: Sequence[int], settings: DatasetSettings
    ) -> None:
        self.members, self.loads, self.budget, self.tokens = members, loads, settings.budget, 0
        self.caps = {
            "its tool": settings.per_tool,
            "its template": settings.per_template,
            "its origin": settings.per_origin,
            "its day": settings.per_day,
        }
        self.taken: Counter[tuple[str, str]] = Counter()

    def _names(self, i: int) -> dict[str, Sequence[str]]:
        member, load = self.members[i], self.loads[i]
        origin = f"{member.log[0]} {member.thread}"
        day = member.started_at[:10]
        return {
            "its tool": load.tools,
            "its template": (load.template,),
            "its origin": (origin,),
            "its day": (day,) if day else (),
        }

    def problem(self, i: int) -> tuple[str, str] | None:
        """Return why a row has no room (reason, detail); one that calls several tools has it while one of them has."""
        for cap, names in self._names(i).items():
            most = self.caps[cap]
            if most and names and all(self.taken[cap, name] >= most for name in names):
                return f"over the cap of {cap}", f"{most} rows"
        if self.budget and self.tokens + self.loads[i].tokens > self.budget:
            return "over the token budget", f"{self.loads[i].tokens} tokens"
        return None

    def take(self, i: int) -> None:
        """Let a row in."""
        self.tokens += self.loads[i].tokens
        for cap, names in self._names(i).items():
            if self.caps[cap]:
                self.taken.update((cap, name) for name in names)


def _cost(dropped: Mapping[int, Verdict], loads: Sequence[Load]) -> dict[str, dict[str, int]]:
    """Return what was dropped, by reason: rows, turns to learn and tokens."""
    found: dict[str, dict[str, int]] = {}
    for i, verdict in sorted(dropped.items()):
        one = found.setdefault(verdict.reason, {"rows": 0, "turns": 0, "tokens": 0})
        one["rows"] += 1
        one["turns"] += loads[i].turns
        one["tokens"] += loads[i].tokens
    return dict(sorted(found.items()))
