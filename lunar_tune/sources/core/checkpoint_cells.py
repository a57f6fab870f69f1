"""Cells of LangGraph's checkpoints as plain values, without LangGraph, LangChain or any class that a cell names.

An object comes as what it was built from: a message as its fields, an enum as its value. Secrets are left out, and what
is pickled or encrypted is refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib import import_module
from typing import Any

from lunar_tune.errors import MissingExtra
from lunar_tune.sources.core import cells

OBJECTS = range(6)  # extension types of (module, class, payload, ...)
DELTA_SNAPSHOT = 7
SECRETS = ("SecretStr", "SecretBytes")
OVERWRITE = "__overwrite__"
DEPTH = 200
Unpack = Callable[[bytes, Callable[[int, bytes], Any]], Any]


def read_cell(kind: Any, cell: Any) -> Any:
    """Return the value of a (type, blob) pair.

    Raises:
        ValueError: it cannot be read; the words say why and hold nothing of it.
        MissingExtra: it is msgpack and no library for that is installed.
    """
    name = cells.text(kind) or "json"
    if name in ("null", "empty") or cell is None:
        return None
    if name == "json":
        return cells.parse_json(cell)
    if name == "msgpack":
        return _unpacked(cell)
    if name in ("bytes", "bytearray"):
        return None
    if name == "pickle":
        raise ValueError("pickled, which is never loaded")
    raise ValueError("encrypted by the agent" if "+" in name else "in a form that is not known")


def _unpacked(cell: Any) -> Any:
    if not isinstance(cell, bytes):
        raise ValueError("not msgpack")
    unpack = _unpacker()

    def extension(code: int, data: bytes) -> Any:
        if code == DELTA_SNAPSHOT:
            return unpack(data, extension)
        if code not in OBJECTS:
            return None
        parts = unpack(data, extension)
        if not isinstance(parts, (list, tuple)) or len(parts) < 3 or parts[1] in SECRETS:
            return None
        return {OVERWRITE: parts[2].get("value")} if _overwrites(parts) else parts[2]

    try:
        return _plain(unpack(cell, extension), DEPTH)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError("not msgpack") from error


def _overwrites(parts: Any) -> bool:
    return parts[0] == "langgraph.types" and parts[1] == "Overwrite" and isinstance(parts[2], dict)


def _unpacker() -> Unpack:
    """Return what decodes msgpack: the library that LangGraph itself uses, or the common one."""
    try:
        fast = import_module("ormsgpack")
    except ImportError:
        try:
            common = import_module("msgpack")
        except ImportError as error:
            raise MissingExtra("ormsgpack", "langgraph") from error
        return lambda data, hook: common.unpackb(data, ext_hook=hook, strict_map_key=False, unicode_errors="replace")
    return lambda data, hook: fast.unpackb(data, ext_hook=hook, option=fast.OPT_NON_STR_KEYS)


def _plain(value: Any, depth: int) -> Any:
    """Return a value that JSON can hold, its texts cleaned.

    Raises:
        ValueError: it is nested beyond reason.
    """
    if depth < 0:
        raise ValueError("nested too deeply")
    if isinstance(value, str):
        return cells.text(value)
    if isinstance(value, dict):
        return {str(cells.text(key)): _plain(item, depth - 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, depth - 1) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, (bool, int, float)) else None
