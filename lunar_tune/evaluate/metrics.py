"""Figures of answers and of probabilities. Pure.

Tool calls are judged by the AST rules of the Berkeley Function-Calling Leaderboard v4 (`ast_checker.py`, Apache-2.0):
the same number of calls, matched in any order, the right name, no argument missing or added, types strict except that
an integer passes for a float, and texts compared without spaces, `,./-_*^`, case and kind of quote. BFCL lists
acceptable answers by hand; here the logged call is the answer, and an optional argument may be left out or written when
its value is the schema's default. So a logged call always matches itself, whatever its schema says.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lunar_tune.chatml import WireTool, from_tool
from lunar_tune.episodes import ToolCall

_LENIENT = re.compile(r"[ ,./\-_*^]")
_NOTHING: Any = object()


# -- tool calls --


def calls_difference(got: Sequence[ToolCall], expected: Sequence[ToolCall], tools: Sequence[WireTool]) -> str | None:
    """Return why the calls of a turn are not the expected ones, None when they are.

    The reason is a word, with the path of the argument after a colon where one is to blame: `count`, `name`,
    `missing:city`, `unexpected:unit`, `type:days`, `value:stops[1].name`.
    """
    if len(got) != len(expected):
        return "count"
    schemas = _schemas(tools)
    left = list(got)
    for call in expected:
        reasons = [_call_difference(candidate, call, schemas) for candidate in left]
        if None not in reasons:
            # the reason of the call that came closest: of several, one with the right name says more
            return next((reason for reason in reasons if reason != "name"), "name")
        left.pop(reasons.index(None))
    return None


def calls_exact(got: Sequence[ToolCall], expected: Sequence[ToolCall]) -> bool:
    """Tell whether the calls are the expected ones to the letter: names and JSON of the arguments, in any order."""
    return Counter(map(_letters, got)) == Counter(map(_letters, expected))


def schema_problem(call: ToolCall, tools: Sequence[WireTool]) -> str | None:
    """Return why a call is not valid for the tools that were offered, None when it is.

    `tool`: no tool of that name was offered. `schema:<keyword>`: its arguments break that keyword of the JSON schema.

    Raises:
        ValueError: the tool's schema is itself not one, so nothing can be said.
    """
    schema = _schemas(tools).get(call.name)
    if schema is None:
        return "tool"
    from jsonschema import Draft202012Validator, SchemaError
    from jsonschema.validators import validator_for
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    validator = validator_for(schema, default=Draft202012Validator)
    try:
        validator.check_schema(schema)
        # an empty registry: a `$ref` of a logged schema must not reach out to the network
        error = next(validator(schema, registry=Registry()).iter_errors(call.arguments), None)
    except (SchemaError, Unresolvable, re.error, RecursionError) as why:
        raise ValueError(f"the schema of {call.name!r} cannot be used: {type(why).__name__}") from why
    return None if error is None else f"schema:{error.validator}"


def _schemas(tools: Sequence[WireTool]) -> dict[str, dict[str, Any]]:
    return {tool.name: tool.parameters for tool in map(from_tool, tools)}


def _letters(call: ToolCall) -> tuple[str, str]:
    return call.name, json.dumps(call.arguments, sort_keys=True, ensure_ascii=False)


def _call_difference(got: ToolCall, expected: ToolCall, schemas: Mapping[str, dict[str, Any]]) -> str | None:
    if got.name != expected.name:
        return "name"
    return _object_difference(got.arguments, expected.arguments, schemas.get(expected.name, {}), "")


def _object_difference(got: dict[str, Any], expected: dict[str, Any], schema: Any, path: str) -> str | None:
    properties = _part(schema, "properties")
    required = schema.get("required", ()) if isinstance(schema, dict) else ()
    required = required if isinstance(required, (list, tuple)) else ()
    for key in sorted({*got, *expected}):
        here = f"{path}.{key}" if path else key
        part = properties.get(key, {})
        default = part.get("default", _NOTHING) if isinstance(part, dict) and key not in required else _NOTHING
        value, wanted = got.get(key, default), expected.get(key, default)
        if value is _NOTHING:
            return f"missing:{here}"
        if wanted is _NOTHING:
            return f"unexpected:{here}"
        if problem := _value_difference(value, wanted, part, here):
            return problem
    return None


def _value_difference(got: Any, expected: Any, schema: Any, path: str) -> str | None:
    if not _type_fits(got, expected, schema):
        return f"type:{path}"
    if isinstance(expected, dict) and isinstance(got, dict):
        return _object_difference(got, expected, schema, path)
    if isinstance(expected, list) and isinstance(got, list):
        if len(got) != len(expected):
            return f"value:{path}"
        items = _part(schema, "items")
        pairs = enumerate(zip(got, expected, strict=True))
        return next((p for i, (a, b) in pairs if (p := _value_difference(a, b, items, f"{path}[{i}]"))), None)
    if isinstance(expected, str) and isinstance(got, str):
        return None if lenient(got) == lenient(expected) else f"value:{path}"
    return None if got == expected else f"value:{path}"


def _type_fits(got: Any, expected: Any, schema: Any) -> bool:
    """Tell whether a value has the type of the logged one; an integer passes for a float.

    The reverse passes only where the schema says `number`, which makes no difference between them.
    """
    if type(got) is type(expected):
        return True
    if _kind(got) != "number" or _kind(expected) != "number":
        return False
    declared = schema.get("type") if isinstance(schema, dict) else None
    return isinstance(got, int) or "number" in (declared if isinstance(declared, list) else [declared])


def lenient(text: str) -> str:
    """Return a text as BFCL compares it: without spaces and `,./-_*^`, in lower case, with one kind of quote."""
    return _LENIENT.sub("", text).lower().replace("'", '"')


def _kind(value: Any) -> str:
    """Return a JSON type with one kind of number: in Python True is 1."""
    return "number" if isinstance(value, (int, float)) and not isinstance(value, bool) else type(value).__name__


def _part(schema: Any, key: str) -> dict[str, Any]:
    part = schema.get(key) if isinstance(schema, dict) else None
    return part if isinstance(part, dict) else {}


# -- probabilities --


def mean_nll(logprobs: Sequence[float]) -> float:
    """Return the mean negative log-likelihood in nats per token.

    Raises:
        ValueError: there is none.
    """
    if not logprobs:
        raise ValueError("no supervised token to average over")
    return -math.fsum(logprobs) / len(logprobs)


def perplexity(nll: float) -> float:
    """Return exp(nll), `nll` in nats per token; e^700 for more, so that it stays a number."""
    return math.exp(min(nll, 700.0))


def kl(p_logits: npt.NDArray[np.floating[Any]], q_logits: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
    """Return KL(P || Q) in nats for every row of two arrays of logits [n, vocab]; p is the reference.

    Raises:
        ValueError: the shapes differ.
    """
    if p_logits.shape != q_logits.shape:
        raise ValueError(f"logits of different shapes: {p_logits.shape} and {q_logits.shape}")
    p, q = _log_softmax(p_logits), _log_softmax(q_logits)
    chance = np.exp(p)
    # what cannot happen adds nothing, even where both logits are -inf
    difference = np.subtract(p, q, out=np.zeros_like(p), where=chance > 0)
    return np.asarray(np.maximum((chance * difference).sum(-1), 0.0))


def _log_softmax(logits: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
    wide = logits.astype(np.float64)
    wide = wide - wide.max(-1, keepdims=True)
    return np.asarray(wide - np.log(np.exp(wide).sum(-1, keepdims=True)))
