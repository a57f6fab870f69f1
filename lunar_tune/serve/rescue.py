"""A call that a model wrote as plain text: without its tag, or broken. The agent gets the call, not the text."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Mapping
from typing import Any

from lunar_tune.artefacts import Reply
from lunar_tune.episodes import ToolCall
from lunar_tune.errors import RuntimeFailure
from lunar_tune.serve.fleet import Worker
from lunar_tune.serve.wire import SAMPLING

LONGEST = 1024  # tokens of a call's arguments where the request sets no limit
_BEGUN = re.compile(r'\{\s*"name"\s*:\s*"(?P<name>[^"\\]+)"\s*,\s*"(?:arguments|args|parameters)"\s*:\s*')
_MAY_BEGIN = re.compile(r'(?:^|\n)[ \t]*\{\s*(?:"(?:n(?:a(?:m(?:e.*)?)?)?)?)?\Z', re.DOTALL)
_CLOSED = re.compile(r'\s*(?:,\s*"id"\s*:\s*"[^"\\]*"\s*)?\}?\s*\]?\s*(?:</tool_call>)?[\s;,]*(?:<tool_call>)?\s*')
_BEFORE = re.compile(r"(?:<tool_call>|<\|python_tag\|>|(?:\[TOOL_CALLS\]\s*)?\[|\[TOOL_CALLS\])?\s*\Z")


def may_be_call(text: str) -> bool:
    """Tell whether a text that is still coming may turn out to be a call: such text is not passed on yet."""
    return _MAY_BEGIN.search(text) is not None


def call_in(worker: Worker, body: Mapping[str, Any], text: str) -> Reply | None:
    """Return the answer that a text stands for when it holds a call of an offered tool, None when it holds none.

    A whole call is taken as it is. In a broken one the model's words count up to the arguments; these it writes again,
    held to the tool's schema.
    """
    tools = {} if body.get("tool_choice") == "none" else _offered(body)
    begun = _BEGUN.search(text)
    if begun is None or worker.prompt is None:
        return None
    before, calls = _BEFORE.sub("", text[: begun.start()]).strip(), list[ToolCall]()
    while begun is not None and begun["name"] in tools:
        found = _object(text, begun.end())
        if found is None:
            break
        calls.append(ToolCall(name=begun["name"], arguments=found[0]))
        rest = _CLOSED.match(text, found[1])
        if rest is None or rest.end() == len(text):
            return Reply(before, tuple(calls))
        begun = _BEGUN.match(text, rest.end())
    if begun is None or begun["name"] not in tools:
        return None  # more than calls, or a call of nothing that is offered: the text stays what it is
    arguments = _again(worker, body, text[: begun.end()], tools[begun["name"]])
    return None if arguments is None else Reply(before, (*calls, ToolCall(name=begun["name"], arguments=arguments)))


def _offered(body: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the schema of each offered tool's arguments."""
    functions = [tool.get("function") or {} for tool in body.get("tools") or ()]
    return {str(f.get("name")): f.get("parameters") or {"type": "object"} for f in functions}


def _object(text: str, start: int) -> tuple[dict[str, Any], int] | None:
    """Return the object that begins at `start` and where it ends, None if it is broken."""
    try:
        value, end = json.JSONDecoder().raw_decode(text, start)
    except (ValueError, RecursionError):
        return None
    return (value, end) if isinstance(value, dict) else None


def _again(worker: Worker, body: Mapping[str, Any], begun: str, schema: Mapping[str, Any]) -> dict[str, Any] | None:
    today = datetime.date.today().isoformat()
    try:
        prompt = worker.server.tokenize(
            worker.prompt.text(body["messages"], body["tools"], today) + begun  # type: ignore[union-attr]
        )
        sampling = {key: body[key] for key in SAMPLING if key in body}
        limit = body.get("max_tokens", LONGEST)
        found = worker.server.generate({**sampling, "prompt": prompt, "n_predict": limit, "json_schema": schema})
        value = json.loads(found["content"])
    except (RuntimeFailure, ValueError):
        if not worker.alive:
            raise
        return None  # a schema the worker cannot read, or no room: the text stays what it is
    return value if isinstance(value, dict) else None
