"""Is a call what the tool's JSON schema asks for? And the schema itself where an agent's log has none.

Reasons name the kind of fault, never a value. A schema that is itself broken, or refers to something elsewhere, checks
names only; nothing is ever fetched.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from lunar_tune.curate.secrets import PLACEHOLDER
from lunar_tune.episodes import ToolCall, ToolSpec
from lunar_tune.identity import canonical_json

Check = Callable[[dict[str, Any]], str | None]
SHAPE_RULES = ("pattern", "minLength", "maxLength", "format", "enum", "const")  # what a placeholder may break


class Schemas:
    """Checks arguments against schemas; each distinct schema is compiled once."""

    def __init__(self) -> None:
        self._checks: dict[str, Check] = {}

    def fault(self, call: ToolCall, tools: Mapping[str, ToolSpec]) -> str | None:
        """Return what is wrong with a call, None when nothing is."""
        if call.error is not None or call.arguments_raw is not None:
            return "unreadable arguments"
        tool = tools.get(call.name)
        if tool is None:
            return "unknown tool"
        key = canonical_json(tool.parameters)
        if key not in self._checks:
            self._checks[key] = _compile(tool.parameters)
        return self._checks[key](call.arguments)


def _compile(schema: dict[str, Any]) -> Check:
    """Return the check of one schema."""
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import Draft202012Validator, validator_for
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    cls = validator_for(schema, default=Draft202012Validator)
    try:
        cls.check_schema(schema)
        validator = cls(schema, registry=Registry())
    except SchemaError:
        validator = None
    properties = schema.get("properties")
    known = set(properties) if isinstance(properties, dict) else None
    open_ended = bool(schema.get("additionalProperties") or schema.get("patternProperties"))

    def check(arguments: dict[str, Any]) -> str | None:
        if known is not None and not open_ended and set(arguments) - known:
            return "unexpected argument"
        if validator is None:
            return None
        try:
            for error in validator.iter_errors(arguments):
                if error.validator == "required":
                    return "missing argument"
                if error.validator in SHAPE_RULES and _redacted(error.instance):
                    continue
                return "argument outside the schema"
        except (Unresolvable, RecursionError):
            return None
        return None

    return check


def _redacted(value: Any) -> bool:
    return isinstance(value, str) and bool(PLACEHOLDER.search(value))


def infer_tools(calls: Iterable[ToolCall]) -> tuple[ToolSpec, ...]:
    """Return a tool a name with the arguments seen: their types, and as required those that every call has."""
    types: dict[str, dict[str, set[str]]] = {}
    seen: Counter[str] = Counter()
    present: Counter[tuple[str, str]] = Counter()
    for call in calls:
        if not call.name or call.error is not None:
            continue
        seen[call.name] += 1
        arguments = types.setdefault(call.name, {})
        for key, value in call.arguments.items():
            arguments.setdefault(key, set()).add(_type(value))
            present[call.name, key] += 1
    return tuple(
        ToolSpec(name=name, parameters=_object(types[name], seen[name], name, present), inferred=True)
        for name in sorted(types)
    )


def _object(arguments: dict[str, set[str]], calls: int, name: str, present: Counter[tuple[str, str]]) -> dict[str, Any]:
    properties = {}
    for key in sorted(arguments):
        kinds = arguments[key] - ({"integer"} if "number" in arguments[key] else set())
        properties[key] = {"type": next(iter(kinds)) if len(kinds) == 1 else sorted(kinds)}
    required = [key for key in sorted(arguments) if present[name, key] == calls]
    return {"type": "object", "properties": properties, "required": required}


def _type(value: Any) -> str:
    if value is None:
        return "null"
    names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array"}
    return names.get(type(value), "object")
