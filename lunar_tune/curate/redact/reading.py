"""What a conversation says, as texts that are to be searched for secrets."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any
from urllib.parse import unquote_plus

from lunar_tune.curate.secrets import key_kind, keyed_value, looks_secret
from lunar_tune.episodes import Episode
from lunar_tune.identity import plain_json

GAP = "\n\x00\n"  # between two texts; no secret goes over it
NUMERIC = (
    "PASSWORD",
    "CODE",
    "PHONE",
    "SECRET",
    "API_KEY",
    "CARD",
    "ACCOUNT",
    "NATIONAL_ID",
    "TOKEN",
)  # may be a JSON number


def framing(episode: Episode) -> str:
    """Return what is the same in many conversations as one text: the system prompt and the tools."""
    texts = [episode.system or ""]
    for tool in episode.tools:
        texts += [tool.name, tool.description, plain_json(tool.parameters).decode("utf-8", "surrogatepass")]
    return GAP.join(text for text in texts if text)


def said(episode: Episode) -> Iterator[tuple[str, str]]:
    """Yield the texts of the messages and signals, each as it stands and as it is to be searched."""
    for message in episode.messages:
        yield from _both(message.content, message.reasoning, message.error, message.name, message.tool_call_id)
        yield from _both(*(attachment.name for attachment in message.attachments))
        for call in message.tool_calls:
            given = plain_json(call.arguments).decode("utf-8", "surrogatepass") if call.arguments else None
            yield from _both(call.name, call.id, given, call.arguments_raw, call.error)
    for signal in episode.signals:
        yield from _both(signal.note, signal.value if isinstance(signal.value, str) else None)


def _both(*texts: str | None) -> Iterator[tuple[str, str]]:
    for text in texts:
        if text:
            yield text, _plain(text) if "\\" in text else text


_WITHIN = ('{\\"', '[\\"', "[{\\")  # how JSON in a text of JSON begins
_LETTER = re.compile(r"\\+u(?!00[01]|d[89a-f])([0-9a-f]{4})", re.IGNORECASE)
_SIGN = re.compile(r"(?<!\\)((?:\\\\)*)\\([nrt\"])")
_SIGNS = {"n": "\n", "r": "\r", "t": "\t", '"': '"'}


def _plain(text: str) -> str:
    """Return a text with the letters that \\u escapes stand for; JSON with its lines, quotes and the JSON in it too."""
    if text.lstrip()[:1] not in ("{", "["):
        return _LETTER.sub(lambda match: chr(int(match[1], 16)), text) if "\\u" in text else text
    if "\\u" in text or any(mark in text for mark in _WITHIN):
        try:
            text = json.dumps(_opened(json.loads(text, object_pairs_hook=_pairs)), ensure_ascii=False)
        except (ValueError, RecursionError):  # it only begins like JSON, or was cut off
            text = _LETTER.sub(lambda match: chr(int(match[1], 16)), text)
    return _SIGN.sub(lambda match: match[1] + _SIGNS[match[2]], text)


def _pairs(pairs: list[tuple[str, Any]]) -> Any:
    """Return an object of JSON; one that has a key twice keeps both."""
    made = dict(pairs)
    return made if len(made) == len(pairs) else [{key: value} for key, value in pairs]


def _opened(value: Any) -> Any:
    """Return a JSON value in which texts that are JSON themselves are what they stand for."""
    if isinstance(value, str):
        if value[:1] not in ("{", "["):
            return value
        try:
            return _opened(json.loads(value, object_pairs_hook=_pairs))
        except ValueError:
            return value
    if isinstance(value, list):
        return [_opened(item) for item in value]
    return {key: _opened(item) for key, item in value.items()} if isinstance(value, dict) else value


# the signs it begins with come first, so that `re` can jump to them
_ENCODED = re.compile(r"[%?&](?:(?<=%)[0-9A-Fa-f]{2}|(?<!%)[\w.-]{1,40}=[\w.,:@/-]{1,40}\+)")
_ESCAPED = re.compile(r"%[0-9A-Fa-f]{2}")
_RUN = re.compile(r"[^\s\"'<>\x00]*")
_RUN_LENGTH = 2000  # signs before a percent sign that may belong to its address


def percent_decoded(text: str) -> Iterator[str]:
    """Yield what is written with percent signs in a text, as in queries of addresses, in plain letters."""
    end = 0
    for match in _ENCODED.finditer(text):
        if match.start() < end:
            continue
        first = max(end, match.start() - _RUN_LENGTH)
        begin = max(first, *(text.rfind(mark, first, match.start()) + 1 for mark in " \n\t\"'<>\x00"))
        run = _RUN.match(text, begin)
        end = run.end() if run else match.end()
        written = text[begin:end]
        plain = unquote_plus(written)
        for _ in range(2):  # the address in a query of an address
            if not _ESCAPED.search(plain):
                break
            plain = unquote_plus(plain)
        if plain != written:
            yield plain.replace("&", "\n&")


@lru_cache(maxsize=2048)
def keyed(text: str) -> tuple[tuple[str, str], ...]:
    """Return (kind, value) of what stands under telling keys of a text that may be JSON."""
    try:
        return tuple(_under(json.loads(text), None))
    except (ValueError, RecursionError):
        return ()


def _under(value: Any, kind: str | None) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        if kind is not None and keyed_value(kind, value):
            yield kind, value
        elif value[:1] in ("{", "["):
            yield from keyed(value)
    elif kind == "SEED_PHRASE" and isinstance(value, list) and all(isinstance(item, str) for item in value):
        yield kind, " ".join(value)
    elif isinstance(value, list):
        for item in value:
            yield from _under(item, kind)
    elif isinstance(value, dict):
        told = _told(value)
        for key, item in value.items():
            if told and key in _VALUES and isinstance(item, str):
                if key == "value" or (" " not in item and looks_secret(item)):
                    yield from _under(item, told)
            else:
                yield from _under(item, key_kind(key) or kind)
    elif kind in NUMERIC and type(value) in (int, float) and keyed_value(str(kind), str(value)):
        yield str(kind), str(value)


_NAMES = ("name", "key", "field", "label", "selector", "element", "target", "path", "column", "setting", "attribute")
_VALUES = ("value", "text", "content", "val", "new_value", "newValue", "new", "to", "answer", "state", "default")
_NO_NAME = re.compile(r"(?i)[\W_]*(?:\b(?:input|field|box|text ?box)|[\W_])*$")


def _told(value: dict[str, Any]) -> str | None:
    """Return the kind of what an object holds beside a name: a variable, a column, a field that is filled in."""
    for key in _NAMES:
        name = value.get(key)
        if isinstance(name, str) and len(name) <= 80 and (kind := key_kind(_NO_NAME.sub("", name))) is not None:
            return kind
    return None
