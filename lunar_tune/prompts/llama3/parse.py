"""Read what a Llama 3 model wrote, in either style. Never raises: what is no call of an offered tool stays text.

All or nothing: when one call cannot be read, the whole text is the content and `problem` says why.
"""

from __future__ import annotations

from collections.abc import Sequence

from lunar_tune.artefacts import Reply
from lunar_tune.chatml import WireTool
from lunar_tune.prompts.calls import KEYS, SPACE, Unreadable, call_of, decode

OPEN, CLOSE = "<tool_call>", "</tool_call>"


def parse_tagged(text: str, tools: Sequence[WireTool]) -> Reply:
    """Read text, then any number of `<tool_call>{…}</tool_call>`; the last may lack its closing tag.

    Text after a call is content too. A call's arguments may stand under `arguments`, `args` or `parameters`.
    """
    content, tag, rest = text.partition(OPEN)
    if not tag:
        return Reply(text.strip(SPACE))
    texts, calls = [content.strip(SPACE)], []
    try:
        while tag:
            value, end = decode(rest.lstrip(SPACE))
            rest = rest.lstrip(SPACE)[end:].lstrip(SPACE)
            calls.append(call_of(value, tools))
            if rest.startswith(CLOSE):
                rest = rest[len(CLOSE) :]
            elif rest and not rest.startswith(OPEN):
                raise Unreadable("text inside a call")
            between, tag, rest = rest.partition(OPEN)
            texts.append(between.strip(SPACE))
    except Unreadable as why:
        return Reply(text.strip(SPACE), (), str(why), content.strip(SPACE))
    return Reply("\n".join(filter(None, texts)), tuple(calls))


def parse_meta(text: str, tools: Sequence[WireTool]) -> Reply:
    """Read optional text and then, on a line of its own, one JSON object with a name and its parameters."""
    stripped = text.strip(SPACE).removeprefix("<|python_tag|>").strip(SPACE)
    for start in _line_starts(stripped):
        if not stripped.startswith("{", start):
            continue
        try:
            value, end = decode(stripped[start:])
        except Unreadable as why:
            if stripped[start + 1 :].lstrip(SPACE).startswith('"name"'):
                return Reply(stripped, (), str(why), stripped[:start].strip(SPACE))
            continue
        if not isinstance(value, dict) or not isinstance(value.get("name"), str) or not any(k in value for k in KEYS):
            continue
        try:
            call = call_of(value, tools)
            if stripped[start + end :].strip(SPACE):
                raise Unreadable("text after a call")
        except Unreadable as why:
            return Reply(stripped, (), str(why), stripped[:start].strip(SPACE))
        return Reply(stripped[:start].strip(SPACE), (call,))
    return Reply(stripped)


def _line_starts(text: str) -> list[int]:
    return [0, *(index + 1 for index, char in enumerate(text) if char == "\n")]
