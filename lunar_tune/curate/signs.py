"""The words of a text as a set, to tell quickly that a text has none of the words that a closer look needs."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

LONG = 20_000  # characters; the words of longer texts are not kept

_TABLE: Final = bytes(
    byte + 32 if 65 <= byte <= 90 else byte if 97 <= byte <= 122 or 48 <= byte <= 57 or byte > 127 else 32
    for byte in range(256)
)


def listed(text: str) -> frozenset[str]:
    """Return the words of a list that is written as a text."""
    return frozenset(text.split())


def signs(text: str) -> frozenset[bytes]:
    """Return words to look for in `said`, from a text with a space between them."""
    return frozenset(text.lower().encode().translate(_TABLE).split())


def said(text: str) -> frozenset[bytes]:
    """Return the words of a text in lower case, in UTF-8; all but letters and digits parts words ("it's" is two)."""
    return _said(text) if len(text) <= LONG else _split(text)


def _split(text: str) -> frozenset[bytes]:
    return frozenset(text.encode("utf-8", "surrogatepass").translate(_TABLE).split())


_said = lru_cache(maxsize=64)(_split)  # several steps look at the same texts
