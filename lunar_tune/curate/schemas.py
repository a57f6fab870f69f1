"""Is a call what the tool's JSON schema asks for? And the schema itself where an agent's log has none.

Reasons name the kind of fault, never a value. A schema that is itself broken, or refers to something elsewhere, checks
names only; nothing is ever fetched. Calls of plainly typed arguments are let through by a check of their names and
types; whatever that cannot vouch for goes through the validator.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from lunar_tune.episodes import ToolCall, ToolSpec
from lunar_tune.identity import plain_json

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

Check = Callable[[dict[str, Any]], str | None]
SHAPE_RULES = ("pattern", "minLength", "maxLength", "format", "enum", "const")  # what a placeholder may break
MISSING, UNEXPECTED, MISTYPED = "missing argument", "unexpected argument", "mistyped argument"
OUTSIDE = "argument outside the schema"
FAULTS = (MISSING, UNEXPECTED, MISTYPED, OUTSIDE)  # of several faults the first is told
_BY_RULE = {
    "required": MISSING,
    "dependentRequired": MISSING,
    "additionalProperties": UNEXPECTED,
    "unevaluatedProperties": UNEXPECTED,
    "type": MISTYPED,
}
_CHOICES = ("anyOf", "oneOf")
_PLAIN: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}
_SILENT = {"type", "description", "title", "default", "examples", "deprecated", "readOnly", "writeOnly", "$comment"}
_PLACEHOLDER = re.compile(r"<[A-Z][A-Z_]*_\d+>")
_ROOT = {"type", "properties", "required", "additionalProperties", "description", "title", "$schema", "$comment"}


class Schemas:
    """Checks arguments against schemas; each distinct schema is compiled once."""

    def __init__(self) -> None:
        self._checks: dict[bytes, Check] = {}

    def of(self, tools: Iterable[ToolSpec]) -> Offered:
        """Return what checks calls of these tools."""
        return Offered(self._checks, tools)


class Offered:
    """The tools of one conversation; only the schemas of those that are called are looked at."""

    def __init__(self, known: dict[bytes, Check], tools: Iterable[ToolSpec]) -> None:
        self._known, self._tools = known, {tool.name: tool for tool in tools}
        self._checks: dict[str, Check] = {}

    def fault(self, call: ToolCall) -> str | None:
        """Return what is wrong with a call, None when nothing is."""
        if call.error is not None or call.arguments_raw is not None:
            return "unreadable arguments"
        if call.name not in self._tools:
            return "unknown tool"
        check = self._checks.get(call.name)
        if check is None:
            schema = self._tools[call.name].parameters
            key = plain_json(schema)
            check = self._known.get(key) or self._known.setdefault(key, _compile(schema))
            self._checks[call.name] = check
        return check(call.arguments)


def _compile(schema: dict[str, Any]) -> Check:
    """Return the check of one schema; the validator itself is made when a call first needs it."""
    properties = schema.get("properties")
    known = set(properties) if isinstance(properties, dict) else None
    open_ended = bool(schema.get("additionalProperties") or schema.get("patternProperties"))
    vouched, made = _vouching(schema), list[Callable[[dict[str, Any]], Iterator[str]]]()

    def check(arguments: dict[str, Any]) -> str | None:
        if vouched is not None and vouched(arguments):
            return None
        if not made:
            made.append(_validating(schema))
        found = set(made[0](arguments))
        if known is not None and not open_ended and not known.issuperset(arguments):
            found.add(UNEXPECTED)
        return next((fault for fault in FAULTS if fault in found), None)

    return check


def _vouching(schema: dict[str, Any]) -> Callable[[dict[str, Any]], bool] | None:
    """Return a quick test that only valid arguments pass, None for a schema that it does not understand."""
    properties, required = schema.get("properties"), schema.get("required", [])
    simple = schema.get("type") == "object" and isinstance(properties, dict) and not set(schema) - _ROOT
    if not simple or not isinstance(required, list) or not isinstance(schema.get("additionalProperties", False), bool):
        return None
    allowed: dict[str, tuple[type, ...]] = {}
    choices: dict[str, frozenset[str]] = {}
    for name, part in (properties or {}).items():
        if not isinstance(part, dict) or not isinstance(part.get("type"), str) or part["type"] not in _PLAIN:
            continue  # a call that gives this argument is left to the validator
        if set(part) <= _SILENT:
            allowed[name] = _PLAIN[part["type"]]
        elif set(part) <= _SILENT | {"enum"} and part["type"] == "string" and isinstance(part["enum"], list):
            allowed[name] = (str,)
            choices[name] = frozenset(value for value in part["enum"] if isinstance(value, str))
    needed = [name for name in required if isinstance(name, str)]

    def vouched(arguments: dict[str, Any]) -> bool:
        for name in needed:
            if name not in arguments:
                return False
        for name, value in arguments.items():
            if type(value) not in allowed.get(name, ()) or (name in choices and value not in choices[name]):
                return False
        return True

    return vouched


def _validating(schema: dict[str, Any]) -> Callable[[dict[str, Any]], Iterator[str]]:
    """Return what yields the faults of arguments by the real validator; an unusable schema accuses nobody."""
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import Draft202012Validator, validator_for
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    cls = validator_for(schema, default=Draft202012Validator)
    try:
        cls.check_schema(schema)
        validator = cls(schema, registry=Registry())
    except (SchemaError, RecursionError):
        return lambda arguments: iter(())

    def faults(arguments: dict[str, Any]) -> Iterator[str]:
        try:
            for error in validator.iter_errors(arguments):
                fault = _fault(error)
                if fault is not None:
                    yield fault
        except (Unresolvable, RecursionError):
            return

    return faults


def _fault(error: ValidationError) -> str | None:
    """Return the kind of a validator's complaint, None when a placeholder alone is to blame."""
    rule = str(error.validator)
    if rule in _CHOICES and error.context:
        kinds = [_fault(part) for part in error.context]
        if None in kinds:
            return None
        return next((fault for fault in (OUTSIDE, MISSING, UNEXPECTED) if fault in kinds), MISTYPED)
    if rule in SHAPE_RULES and _redacted(error.instance):
        return None
    if rule == "type" and _redacted(error.instance):
        return None  # a number that was redacted became a text
    return _BY_RULE.get(rule, OUTSIDE)


def _redacted(value: Any) -> bool:
    return isinstance(value, str) and bool(_PLACEHOLDER.search(value))


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
