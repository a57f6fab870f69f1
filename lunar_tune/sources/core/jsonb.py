"""SQLite's binary JSON (JSONB), which only SQLite from 3.45 reads by itself; see sqlite.org/jsonb.html."""

from __future__ import annotations

import json
import math
from typing import Any

from lunar_tune.sources.core import cells

DEEPEST = 200  # two calls a level, whatever Python's limit leaves
WIDEST = 18  # characters of a hexadecimal number, which SQLite keeps in 64 bits
ARRAY, OBJECT = 11, 12


def loads(blob: bytes) -> Any:
    """Return the value of a blob, its strings cleaned.

    Raises:
        ValueError: it is no binary JSON, or nested beyond reason.
    """
    try:
        value, end = _element(blob, 0, 0)
    except IndexError as error:
        raise ValueError("cut binary JSON") from error
    if end != len(blob):
        raise ValueError("more than one value")
    return value


def _element(blob: bytes, at: int, depth: int) -> tuple[Any, int]:
    """Return (value, where it ends) of the element that starts at a place."""
    kind, size, at = blob[at] & 15, blob[at] >> 4, at + 1
    if size > 11:  # then the size stands in the next 1, 2, 4 or 8 bytes
        width = 1 << (size - 12)
        size, at = int.from_bytes(blob[at : at + width], "big"), at + width
    end = at + size
    if end > len(blob) or depth > DEEPEST:
        raise ValueError("cut binary JSON" if depth <= DEEPEST else "nested too deeply")
    if kind in (ARRAY, OBJECT):
        return _container(blob, kind, at, end, depth), end
    return _scalar(kind, blob[at:end].decode("utf-8", "replace")), end


def _container(blob: bytes, kind: int, at: int, end: int, depth: int) -> Any:
    items = []
    while at < end:
        item, at = _element(blob, at, depth + 1)
        items.append(item)
    if at != end or (kind == OBJECT and (len(items) % 2 or not all(isinstance(key, str) for key in items[::2]))):
        raise ValueError("no binary JSON")
    return items if kind == ARRAY else dict(zip(items[::2], items[1::2], strict=True))


def _scalar(kind: int, raw: str) -> Any:
    if kind in (0, 1, 2):
        return (None, True, False)[kind]
    if kind in (3, 5):
        return cells.parse_json(raw)
    if kind == 4 and len(raw.lstrip("+-")) <= WIDEST:
        return int(raw, 16)
    if kind == 6 and math.isfinite(number := float(raw)):
        return number
    if kind in (7, 10):
        return cells.text(raw)
    if kind in (8, 9):  # escaped as in JSON; JSON5's own escapes are rare and kept as they are
        try:
            return cells.text(json.loads(f'"{raw}"'))
        except ValueError:
            return cells.text(raw)
    raise ValueError("no binary JSON")
