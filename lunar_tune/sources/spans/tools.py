"""Runs of tools that have spans of their own: when each ended, how it failed, and what no later call repeats."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from lunar_tune.episodes import Message, ToolCall
from lunar_tune.identity import canonical_json
from lunar_tune.sources.core import cells
from lunar_tune.sources.spans.attributes import Span, at, tree
from lunar_tune.sources.spans.shapes import decoded


@dataclass(frozen=True, slots=True)
class ToolRun:
    """One run of a tool, from its own span."""

    span: Span
    name: str
    arguments: str | None
    call_id: str | None
    result: str | None


def run(span: Span) -> ToolRun:
    """Return the run of a tool that a span records."""
    own = tree(span.attributes)
    arguments = _first(
        at(own, "gen_ai.tool.call.arguments"), span.attributes.get("mlflow.spanInputs"), at(own, "input.value")
    )
    name = _first(at(own, "gen_ai.tool.name"), at(own, "tool.name"), span.name)
    call_id = _first(at(own, "gen_ai.tool.call.id"), at(own, "tool_call.id"), at(own, "tool.id"))
    result = _first(
        at(own, "gen_ai.tool.call.result"), span.attributes.get("mlflow.spanOutputs"), at(own, "output.value")
    )
    arguments = decoded(arguments)
    return ToolRun(
        span=span.bare(),
        name=cells.text(name) or "",
        arguments=_canonical(arguments) if isinstance(arguments, dict) else None,
        call_id=cells.text(call_id),
        result=_result(decoded(result)),
    )


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _result(value: Any) -> str | None:
    if isinstance(value, dict) and value.get("type") == "tool" and isinstance(value.get("content"), str):
        return str(value["content"])  # LangChain records the whole message
    try:
        return value if value is None or isinstance(value, str) else cells.dump(value)
    except RecursionError:
        return None


def _canonical(arguments: dict[str, Any]) -> str | None:
    try:
        return canonical_json(arguments)
    except RecursionError:
        return None


def with_runs(messages: list[Message], runs: Runs) -> list[Message]:
    """Return the messages with times and failures of the tools' own spans, and the last results if no call followed."""
    used: set[int] = set()
    waiting: dict[str | None, ToolRun] = {}
    told: list[Message] = []
    for message in messages:
        if message.role == "tool":
            run = waiting.pop(message.tool_call_id, None)
            if run is not None:
                moment = cells.timestamp(run.span.end) or message.created_at
                message = replace(message, created_at=moment, error=message.error or run.span.error)
        elif message.tool_calls:
            waiting = {}
            for call in message.tool_calls:
                run = runs.fitting(call, used)
                if run is not None:
                    used.add(id(run))
                    waiting[call.id] = run
        told.append(message)
    if messages and messages[-1].tool_calls:
        names = {call.id: call.name for call in messages[-1].tool_calls}
        for call_id, run in waiting.items():
            if run.result is not None or run.span.error:
                told.append(
                    Message(
                        role="tool",
                        content=run.result or "",
                        created_at=cells.timestamp(run.span.end),
                        error=run.span.error,
                        tool_call_id=call_id,
                        name=names[call_id],
                    )
                )
    return told


class Runs:
    """The runs of one session, found by what their calls were."""

    def __init__(self) -> None:
        self._by_id: dict[str, list[ToolRun]] = {}
        self._by_arguments: dict[tuple[str, str | None], list[ToolRun]] = {}

    def add(self, run: ToolRun) -> None:
        """Add a run; they come in the order of their start."""
        if run.call_id:
            self._by_id.setdefault(run.call_id, []).append(run)
        self._by_arguments.setdefault((run.name, run.arguments), []).append(run)

    def fitting(self, call: ToolCall, used: set[int]) -> ToolRun | None:
        """Return the run of a call: by its id, else the oldest of its name with its arguments."""
        if call.id:
            for run in self._by_id.get(call.id, ()):
                if id(run) not in used:
                    return run
        same = self._by_arguments.get((call.name, _canonical(call.arguments)), ())
        return next((run for run in same if id(run) not in used), None)
