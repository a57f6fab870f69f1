"""Tool calls against the tools that were offered, and calls against their results.

A faulty call (unknown tool, arguments that are unreadable, missing, unexpected, mistyped or outside the schema) is
context only and what follows stays. A call whose result is an error is context, the corrected call after it is learnt.
A result that no call asked for is left out, and so is a call that never got its result while the conversation went on;
the answers that could see what is then missing are not learnt.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from lunar_tune.artefacts import Draft
from lunar_tune.curate.marks import Marker
from lunar_tune.curate.schemas import Schemas, infer_tools
from lunar_tune.episodes import Message, ToolCall, ToolSpec
from lunar_tune.seams import Report

Place = tuple[int, int]  # message, number of the call in it


class ToolCalls:
    """Checks every call. Drafts of logs without any tool schema wait until their tools are known from their calls."""

    name = "toolcalls"

    def __init__(self) -> None:
        self._schemas = Schemas()

    def __call__(self, drafts: Iterable[Draft], report: Report) -> Iterator[Draft]:
        """Yield every draft, its faulty calls set aside."""
        for draft in _with_tools(drafts):
            if not any(message.tool_calls or message.role == "tool" for message in draft.episode.messages):
                yield draft
                continue
            marker = Marker(draft, self.name, report)
            _match_results(marker)
            self._check(marker)
            yield marker.done()

    def _check(self, marker: Marker) -> None:
        offered = self._schemas.of(marker.draft.episode.tools)
        for index in marker.turns(range(len(marker.messages))):
            for call in marker.messages[index].tool_calls:
                fault = offered.fault(call)
                if fault is not None:
                    marker.set_aside(index, fault)


def _with_tools(drafts: Iterable[Draft]) -> Iterator[Draft]:
    """Yield the drafts, with inferred tools where a log offers none at all.

    One conversation's calls would give its answers away as the only tools there are, so the tools are those of the
    whole log. A log that records tools for some conversations is taken at its word for the others.
    """
    waiting: dict[tuple[str, str], list[Draft]] = {}
    recorded: set[tuple[str, str]] = set()
    for draft in drafts:
        log = (draft.episode.source, draft.episode.path)
        if draft.episode.tools and log not in recorded:
            recorded.add(log)
            yield from waiting.pop(log, ())
        if log in recorded:
            yield draft
        else:
            waiting.setdefault(log, []).append(draft)
    for held in waiting.values():
        tools: tuple[ToolSpec, ...] = infer_tools(c for d in held for m in d.episode.messages for c in m.tool_calls)
        for draft in held:
            yield replace(draft, episode=replace(draft.episode, tools=tools)) if tools else draft


def _match_results(marker: Marker) -> None:
    """Pair results with calls by id, else by order and name; set failed calls aside, leave out what has no pair."""
    failed = {s.message for s in marker.draft.episode.signals if s.kind == "tool_error"}
    calls = _Waiting()
    answered: set[int] = set()
    for index, message in enumerate(marker.messages):
        if message.role == "user":
            calls.recent.clear()
        elif message.role == "assistant":
            for number, call in enumerate(message.tool_calls):
                calls.add((index, number), call)
        elif message.role == "tool":
            place = calls.answered_by(message)
            if place is None:
                marker.leave_out(index, "a result without a call")
                _forget_answers(marker, index, "answers a result without a call")
                continue
            answered.add(place[0])
            if message.error or index in failed:
                marker.set_aside(place[0], "its call failed")
    for index in dict.fromkeys(place[0] for place in calls.open):
        _unanswered(marker, index, index in answered)


class _Waiting:
    """The calls that have no result yet, in order; `recent` are those since the user's last message."""

    def __init__(self) -> None:
        self.open: dict[Place, ToolCall] = {}
        self.recent: dict[Place, ToolCall] = {}
        self._by_id: dict[str, list[Place]] = {}

    def add(self, place: Place, call: ToolCall) -> None:
        """Note a call."""
        self.open[place] = self.recent[place] = call
        if call.id is not None:
            self._by_id.setdefault(call.id, []).append(place)

    def answered_by(self, result: Message) -> Place | None:
        """Take out the call that a result answers: the newest of equal ids, else the oldest of equal names."""
        place: Place | None = None
        if result.tool_call_id is not None:
            places = self._by_id.get(result.tool_call_id, [])
            while places and place is None:
                last = places.pop()
                place = last if last in self.open else None
        else:
            place = next((p for p, call in self.recent.items() if result.name in (None, call.name)), None)
        if place is not None:
            del self.open[place]
            self.recent.pop(place, None)
        return place


def _unanswered(marker: Marker, index: int, partly: bool) -> None:
    """Deal with a turn of which a call has no result; at the end of a conversation that is how logs end."""
    if index == len(marker.messages) - 1:
        return
    if partly:
        marker.set_aside(index, "a call without a result")
        return
    marker.leave_out(index, "a call without a result")
    _forget_answers(marker, index, "follows a call without a result")


def _forget_answers(marker: Marker, index: int, reason: str) -> None:
    """Set aside the turns after a message up to the next user message."""
    for turn in marker.turns(range(index + 1, marker.exchange(index).stop)):
        marker.set_aside(turn, reason)
