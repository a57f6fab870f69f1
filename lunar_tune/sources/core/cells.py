"""One cell of a log at a time: text, JSON, timestamps, tool calls and errors, whatever the agent really wrote."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import orjson

from lunar_tune.episodes import Message, ToolCall, ToolSpec
from lunar_tune.identity import long_integer_in

_SURROGATE = re.compile("[\ud800-\udfff]")
_PLAIN = re.compile(  # the usual forms, on days that every month has
    r"((?!0000)\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8]))[T ]((?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d)(?:Z|\+00:00)?",
    re.ASCII,
)
_EPOCH = datetime(1970, 1, 1)  # in UTC
_TAGGED = re.compile(r"<tool_call>(.*?)(</tool_call>|\Z)", re.DOTALL)
_NAME = re.compile(r'"name"\s*:\s*"([^"\\]{1,128})"')
_THINKING = re.compile(r"\s*<(think|thinking|thought|thought_chain)\b[^>]*>(.*?)(?:</\1\s*>\s*|\Z)", re.DOTALL | re.I)
DEEPEST = 200  # objects and lists in one another; a decoder takes more than can be written again
LONGEST_MOMENT = 64  # characters; a longer text is no moment, and trying would cost its length
ARGUMENT_KEYS = ("arguments", "args", "parameters", "input")


def text(value: Any) -> str | None:
    """Return a cell as text that UTF-8 and C strings can hold, None for NULL and for bytes that are no text."""
    if value is None:
        return None
    if isinstance(value, bytes):
        try:
            value = value.decode("utf-8")
        except UnicodeDecodeError:
            return None
    raw = value if isinstance(value, str) else str(value)
    if "\x00" in raw:
        raw = raw.replace("\x00", "\ufffd")
    return raw if raw.isascii() else _SURROGATE.sub("\ufffd", raw)


def parse_json(value: Any) -> Any:
    """Return the JSON document in a cell, its strings cleaned.

    Raises:
        ValueError: the cell is not JSON, holds NaN or infinity, or is nested beyond reason.
    """
    raw = value if type(value) is str and value.isascii() and "\x00" not in value else text(value)
    if raw is None:
        raise ValueError("no text")
    data = raw.encode()
    if (b"\\" not in data or b"\\u0000" not in data) and not long_integer_in(data):
        try:
            return _shallow(orjson.loads(data), data)
        except orjson.JSONDecodeError:
            pass  # what it refuses and the standard decoder takes: lone surrogates
    try:
        return _shallow(_cleaned(json.loads(raw, parse_constant=_refuse, parse_float=_finite)), data)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _shallow(value: Any, data: bytes) -> Any:
    """Return a value that is nested so little that it can be written again; `data` is what it was read from.

    Raises:
        ValueError: it is nested beyond reason.
    """
    if not _more_than(DEEPEST, data):
        return value
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(DEEPEST):
        items = (item for inner in level for item in (inner.values() if isinstance(inner, dict) else inner))
        level = [item for item in items if isinstance(item, (dict, list))]
        if not level:
            return value
    raise ValueError("nested too deeply")


def _more_than(number: int, data: bytes) -> bool:
    """Tell whether JSON has more objects and lists than a number; `find` is several times as fast as `count`."""
    for opening in (b"[", b"{"):
        at = data.find(opening)
        while at >= 0:
            number -= 1
            if number < 0:
                return True
            at = data.find(opening, at + 1)
    return False


def mapping(value: Any) -> dict[str, Any]:
    """Return a JSON object as it is, and an empty one for everything else."""
    return value if isinstance(value, dict) else {}


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _finite(raw: str) -> float:
    number = float(raw)
    if not math.isfinite(number):
        raise ValueError("a number out of range")
    return number


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return text(value)
    if isinstance(value, list):
        return [_cleaned(item) for item in value]
    if isinstance(value, dict):
        return {str(text(key)): _cleaned(item) for key, item in value.items()}
    return value


def timestamp(value: Any) -> str | None:
    """Return a moment as ISO-8601 UTC, from ISO text, SQLite's CURRENT_TIMESTAMP or a number of any unit.

    Numbers are told apart by size: below 1e11 seconds, below 1e14 milliseconds, below 1e17 microseconds, else
    nanoseconds. Text without a zone is UTC, which is what SQLite writes. None for what is no moment.
    """
    if isinstance(value, str):
        stripped = value.strip() if len(value) <= LONGEST_MOMENT else ""
        try:
            plain = _PLAIN.fullmatch(stripped)
            return f"{plain[1]}T{plain[2]}Z" if plain else _iso(datetime.fromisoformat(stripped))
        except (ValueError, OverflowError):
            try:
                value = float(stripped)
            except ValueError:
                return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e21:
        return None
    for limit, unit in ((1e11, 1), (1e14, 10**3), (1e17, 10**6)):
        if value < limit:
            return _since_epoch(value * (10**6 // unit) if isinstance(value, int) else round(value / unit * 1e6))
    return _since_epoch(int(value) // 1000)


def _since_epoch(microseconds: int) -> str | None:
    """Return a moment after 1970, to the millisecond where there is a part of a second."""
    seconds, part = divmod(microseconds, 10**6)
    minutes, second = divmod(seconds, 60)
    try:
        return f"{_minute(minutes)}:{second:02d}.{part // 1000:03d}Z" if part else f"{_minute(minutes)}:{second:02d}Z"
    except OverflowError:
        return None


@lru_cache(maxsize=4096)  # what is said comes in bursts
def _minute(minutes: int) -> str:
    return (_EPOCH + timedelta(minutes=minutes)).isoformat(timespec="minutes")


def _iso(moment: datetime) -> str:
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.isoformat(timespec="milliseconds" if moment.microsecond else "seconds").replace("+00:00", "Z")


def call(name: Any, arguments: Any, call_id: Any = None) -> ToolCall:
    """Return a tool call; arguments that are no JSON object keep their text under `arguments_raw` and set `error`."""
    known: dict[str, Any] = {"name": text(name) or "", "id": text(call_id) or None}
    if arguments is None or arguments == "":
        return ToolCall(**known)
    if isinstance(arguments, str):
        try:
            parsed = parse_json(arguments)
            parsed = parse_json(parsed) if isinstance(parsed, str) else parsed  # some clients encode twice
        except ValueError as error:
            return ToolCall(**known, arguments_raw=text(arguments), error=f"arguments are not JSON: {_brief(error)}")
    else:
        parsed = arguments
    if not isinstance(parsed, dict):
        raw = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
        return ToolCall(**known, arguments_raw=text(raw), error="arguments are not a JSON object")
    return ToolCall(**known, arguments=parsed)


def _brief(error: ValueError) -> str:
    """Say what is wrong without quoting the text: only the decoder's own words and place."""
    return (
        f"{error.msg} (position {error.pos})" if isinstance(error, json.JSONDecodeError) else "not a value JSON knows"
    )


def call_list(value: Any) -> list[ToolCall]:
    """Return the calls of an OpenAI list: `[{"id", "function": {"name", "arguments"}}]`, with or without `function`.

    Raises:
        ValueError: it is no list of objects.
    """
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ValueError("no list of calls")
    calls = []
    for item in value:
        body = item.get("function")
        body = body if isinstance(body, dict) else item
        arguments = next((body[key] for key in ARGUMENT_KEYS if key in body), None)
        calls.append(call(body.get("name"), arguments, item.get("id") or item.get("call_id")))
    return calls


def tagged_calls(content: str) -> tuple[str, list[ToolCall], str | None]:
    """Split `<tool_call>{"name", "args"}</tool_call>` out of a text: (text before and between, calls, problem).

    A call whose JSON cannot be read keeps its text under `arguments_raw` when its name can; when not even that, the
    content stays as it is and `problem` says so.
    """
    calls: list[ToolCall] = []
    for found in _TAGGED.finditer(content):
        inner = found[1].strip()
        try:
            body = parse_json(inner)
        except ValueError as error:
            name = _NAME.search(inner)
            if name is None:
                return content, [], "unreadable tool call"
            calls.append(ToolCall(name=name[1], arguments_raw=inner, error=f"call is not JSON: {_brief(error)}"))
            continue
        if not isinstance(body, dict) or not isinstance(body.get("name"), str):
            return content, [], "unreadable tool call"
        arguments = next((body[key] for key in ARGUMENT_KEYS if key in body), None)
        calls.append(call(body["name"], arguments, body.get("id")))
    return (_TAGGED.sub("", content).strip() if calls else content), calls, None


def tool_specs(value: Any) -> tuple[list[ToolSpec], int]:
    """Return (tools, number that could not be read) of a JSON list in the OpenAI shape, with or without envelope."""
    if isinstance(value, dict):  # name -> body, as some agents keep them
        value = [{"name": name, **body} if isinstance(body, dict) else name for name, body in value.items()]
    if not isinstance(value, list):
        return [], 1
    specs: dict[str, ToolSpec] = {}
    lost = 0
    for item in value:
        body = item.get("function", item) if isinstance(item, dict) else None
        if not isinstance(body, dict) or not isinstance(body.get("name"), str) or not body["name"]:
            lost += 1
            continue
        schema = next((body[key] for key in ("parameters", "input_schema", "inputSchema") if key in body), None)
        specs[body["name"]] = ToolSpec(
            name=body["name"],
            description=body["description"] if isinstance(body.get("description"), str) else "",
            parameters=schema if isinstance(schema, dict) else {},
        )
    return list(specs.values()), lost


def split_thinking(content: str) -> tuple[str, str | None]:
    """Split `<think>…</think>` off the start of an answer: (answer, reasoning); None where it does not start so.

    A thought that is not closed was cut: all of it is reasoning. Tags further in are the answer's own text.
    """
    found = _THINKING.match(content)
    return (content[found.end() :], found[2].strip() or None) if found else (content, None)


def says_error(content: str) -> bool:
    """Tell whether a tool's result reports a failure in the usual JSON ways."""
    if not content.lstrip().startswith("{"):
        return False
    try:
        body = parse_json(content)
    except ValueError:
        return False
    return bool(isinstance(body, dict) and (body.get("error") or body.get("exception") or body.get("isError") is True))


def pair_calls(messages: Sequence[Message]) -> list[Message]:
    """Give ids to calls and results of logs that have none: a result answers the oldest open call of its name.

    Results that carry an id, and results that fit no open call, are left as they are.
    """
    paired: list[Message] = []
    waiting: list[ToolCall] = []
    for index, message in enumerate(messages):
        if message.role == "user":
            waiting = []
        if message.tool_calls:
            if any(c.id is None for c in message.tool_calls):
                calls = enumerate(message.tool_calls)
                named = tuple(c if c.id is not None else replace(c, id=f"call_{index}_{n}") for n, c in calls)
                message = replace(message, tool_calls=named)
            waiting = list(message.tool_calls)
        elif message.role == "tool" and waiting:
            fit = _fitting(waiting, message)
            if fit is not None:
                waiting.remove(fit)
                if message.tool_call_id is None or not message.name:
                    message = replace(message, tool_call_id=fit.id, name=message.name or fit.name)
        paired.append(message)
    return paired


def _fitting(waiting: Sequence[ToolCall], result: Message) -> ToolCall | None:
    if result.tool_call_id is not None:
        return next((c for c in waiting if c.id == result.tool_call_id), None)
    return next((c for c in waiting if result.name in (None, c.name)), None)


def dump(value: Any) -> str:
    """Return a JSON value that stands where text was meant, as text."""
    return json.dumps(value, ensure_ascii=False)
