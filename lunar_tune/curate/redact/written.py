"""How a value may be written in a text: with JSON's escapes, with percent signs, in markup."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterator, Sequence
from urllib.parse import quote, quote_plus, unquote

from lunar_tune.curate.redact.encoded import decoded
from lunar_tune.curate.redact.told import odd


def unescaped(value: str) -> str:
    """Return a value that was found in JSON, in JSON within JSON or in code as the text it stands for."""
    for _ in range(3):
        if "\\" not in value:
            break
        try:
            value = str(json.loads(f'"{value}"'))
        except ValueError:
            break
    return value


def _in_json(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)[1:-1]


def _in_ascii(value: str) -> str:
    return json.dumps(value)[1:-1]


# how a value may be written: in JSON, in JSON within JSON, in an address
ESCAPED: tuple[Callable[[str], str], ...] = (
    _in_json,
    _in_ascii,
    lambda value: _in_json(_in_json(value)),
    lambda value: _in_ascii(_in_ascii(value)),
)
QUOTED: tuple[Callable[[str], str], ...] = (
    quote,
    lambda value: quote(value, safe=""),
    quote_plus,
    lambda value: quote_plus(value, safe="/:@"),
)
SLASHES = re.compile(r"\\{2,}")
ENCODED_TWICE: tuple[Callable[[str], str], ...] = (
    lambda value: quote(quote(value)),
    lambda value: quote(quote(value, safe=""), safe=""),
)
MARKED: tuple[Callable[[str], str], ...] = (html.escape, lambda value: html.escape(value, quote=False), html.unescape)
_BASE64 = re.compile(r"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{8,}={0,2}(?![A-Za-z0-9+/=])")
_ALSO_KNOWN = 6  # a part of a value is looked for by itself from this length on


def parts(kind: str, value: str) -> Iterator[tuple[str, str]]:
    """Yield what of a value is a secret by itself: the password of an address, the key of a second factor."""
    if kind == "URL_CREDENTIALS" and len(password := value.rpartition(":")[2]) >= _ALSO_KNOWN:
        yield "PASSWORD", password
    elif kind == "SECRET" and "otpauth" in value[:8].lower():
        key = re.search(r"[?&;]secret=([A-Za-z2-7]{8,})", unquote(unquote(value)), re.IGNORECASE)
        if key is not None:
            yield "SECRET", key[1]
    if kind in ("PASSWORD", "TOKEN", "API_KEY", "SECRET"):
        line = re.split(r"\\+[nrt]", value)[0]  # found in JSON, where a value goes over the end of its line
        if _ALSO_KNOWN <= len(line) < len(value):
            yield kind, line


def in_base64(text: str, values: Sequence[str]) -> Iterator[str]:
    """Yield what holds one of some values in base 64."""
    for match in _BASE64.finditer(text):
        plain = decoded(match[0])
        if plain is not None and any(len(value) >= _ALSO_KNOWN and value in plain for value in values):
            yield match[0]


_WORD = re.compile(r"[^\s\x00\"'`<>(){}\[\],;:=|&]{6,}")


def within(text: str, values: Sequence[str]) -> Iterator[str]:
    """Yield the words of a text that are most of a value: it was found with signs or a name that are not of it."""
    long = [value for value in values if len(value) > _ALSO_KNOWN and " " not in value]
    for word in dict.fromkeys(_WORD.findall(text)) if long else ():
        plain = word.rstrip(".!?*")
        if any(plain in value and len(value) // 2 < len(plain) < len(value) for value in long) and odd(plain):
            yield plain
