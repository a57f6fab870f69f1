"""A recorded span and its attributes: dotted or nested names, and what kind of span it is."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

MODEL_KINDS = {"LLM", "CHAT_MODEL"}
TOOL_KIND = "TOOL"
JUDGE_KINDS = {"EVALUATOR", "GUARDRAIL"}
OPERATIONS = {
    "chat": "LLM", "text_completion": "LLM", "generate_content": "LLM", "execute_tool": TOOL_KIND,
    "invoke_agent": "AGENT", "create_agent": "AGENT", "invoke_workflow": "WORKFLOW", "embeddings": "EMBEDDING",
}  # fmt: skip
WRAPPERS = {"AGENT", "CHAIN", "WORKFLOW", "TASK", "UNKNOWN", ""}  # may hold a conversation where no call was recorded
READ = ("gen_ai", "llm", "input", "output", "openinference", "tool", "session")  # the names that attributes begin with
DEPTH = 24  # of dotted names; real ones have eight parts at most


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A span as its store keeps it. `place` is table.column=key; times are in any form that `cells.timestamp` reads."""

    id: str
    trace: str
    place: str
    parent: str | None = None
    name: str = ""
    kind: str = ""
    start: Any = None
    end: Any = None
    error: str | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    events: list[Any] = field(default_factory=list)

    def bare(self) -> Span:
        """Return the span without what it recorded."""
        return replace(self, attributes={}, events=[])


def tree(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return attributes with dotted names as nested objects; of a value and an object of one name the object stands."""
    root: dict[str, Any] = {}
    for name, value in attributes.items():
        path = name.split(".", DEPTH)
        if path[0] not in READ:
            continue
        at = root
        for step in path[:-1]:
            inner = at.get(step)
            if not isinstance(inner, dict):
                inner = at[step] = {}
            at = inner
        known = at.get(path[-1])
        if isinstance(known, dict) and isinstance(value, dict):
            at[path[-1]] = {**known, **value}
        elif not isinstance(known, dict):
            at[path[-1]] = value
    return root


def at(attributes: Any, name: str) -> Any:
    """Return the value of a dotted name in nested attributes, None when there is none."""
    for step in name.split("."):
        if not isinstance(attributes, dict):
            return None
        attributes = attributes.get(step)
    return attributes


def kind_of(span: Span) -> str:
    """Return what a span is: the store's word, else the convention's own."""
    kind = span.kind.strip().upper()
    if kind not in ("", "UNKNOWN"):
        return kind
    attributes = tree(span.attributes)
    own = at(attributes, "openinference.span.kind")
    if isinstance(own, str):
        return own.upper()
    operation = at(attributes, "gen_ai.operation.name")
    if isinstance(operation, str):
        return OPERATIONS.get(operation, "")
    told = ("llm.input_messages", "gen_ai.prompt", "gen_ai.input.messages")
    return "LLM" if any(at(attributes, name) is not None for name in told) else ""
