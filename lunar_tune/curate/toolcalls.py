"""Tool calls against the tools that were offered, and calls against their results.

A faulty call is context only and what follows stays. A call whose result is an error is context, the corrected call
after it is learnt. A result that no call asked for is left out, and so is a call that never got its result while the
conversation went on; the answers that could see what is then missing are not learnt.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from lunar_tune.artefacts import Draft
from lunar_tune.curate.marks import Marker
from lunar_tune.curate.schemas import Schemas, infer_tools
from lunar_tune.episodes import ToolSpec
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
            marker = Marker(draft, self.name, report)
            _match_results(marker)
            self._check(marker)
            yield marker.done()

    def _check(self, marker: Marker) -> None:
        tools = {tool.name: tool for tool in marker.draft.episode.tools}
        for index in marker.turns(range(len(marker.messages))):
            for call in marker.messages[index].tool_calls:
                fault = self._schemas.fault(call, tools)
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
    waiting: dict[Place, None] = {}
    answered: set[int] = set()
    for index, message in enumerate(marker.messages):
        if message.role == "assistant":
            waiting.update(((index, n), None) for n in range(len(message.tool_calls)))
        elif message.role == "tool":
            place = _asked(marker, waiting, index)
            if place is None:
                marker.leave_out(index, "a result without a call")
                _forget_answers(marker, index, "answers a result without a call")
                continue
            del waiting[place]
            answered.add(place[0])
            if message.error or index in failed:
                marker.set_aside(place[0], "its call failed")
    for index in dict.fromkeys(place[0] for place in waiting):
        _unanswered(marker, index, index in answered)


def _asked(marker: Marker, waiting: Iterable[Place], result: int) -> Place | None:
    """Return the open call that a result answers, the newest of equal ids and the oldest of equal names."""
    message, places = marker.messages[result], list(waiting)
    if message.tool_call_id is not None:
        by_id = [p for p in places if marker.messages[p[0]].tool_calls[p[1]].id == message.tool_call_id]
        return by_id[-1] if by_id else None
    recent = [p for p in places if not any(m.role == "user" for m in marker.messages[p[0] : result])]
    return next((p for p in recent if message.name in (None, marker.messages[p[0]].tool_calls[p[1]].name)), None)


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
