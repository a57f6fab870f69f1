"""Canonical JSON and content ids: the same content has the same name on every machine."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

ID_HEX = 16  # 64 bits: a collision among a million artefacts has odds below 1 in 10 million

_DIGITS = bytes(48 if chr(byte) in "0123456789-" else 46 for byte in range(256))
_LONG = b"0" * 20  # digits and sign of the shortest integer beyond 64 bits; nanoseconds have 19


def canonical_json(value: Any) -> str:
    """Return `value` as JSON with sorted keys, no spaces and UTF-8 text; dataclasses and paths are accepted.

    Raises:
        TypeError: a value JSON cannot hold.
        ValueError: NaN or infinity.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=_plain)


def content_id(tag: str, value: Any) -> str:
    """Return `<tag>-<16 hex>`: BLAKE2b of the tag and the canonical JSON of `value`.

    The tag is hashed too, so that equal content of two kinds never shares an id.
    """
    return content_id_of_bytes(tag, canonical_json(value).encode("utf-8", "surrogatepass"))


def plain_json(value: Any) -> bytes:
    """Return JSON values in UTF-8, keys in their own order; `exact_json` reads it back.

    Raises:
        TypeError: a value JSON cannot hold.
    """
    import orjson

    try:
        return orjson.dumps(value)
    except TypeError:  # an integer beyond 64 bits, a lone surrogate
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def sorted_json(value: Any) -> bytes:
    """Return JSON values with sorted keys in UTF-8, for ids, several times as fast as `canonical_json`.

    The same value always gives the same bytes, though not those of `canonical_json`: numbers are written otherwise.

    Raises:
        TypeError: a value JSON cannot hold.
    """
    import orjson

    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        return canonical_json(value).encode("utf-8", "surrogatepass")


def long_integer_in(data: bytes) -> bool:
    """Tell whether JSON may hold an integer beyond 64 bits, which orjson would make a float."""
    if b"00" not in data[::10].translate(_DIGITS):  # 20 digits in a row have two of every tenth byte
        return False
    return _LONG in data.translate(_DIGITS)


def exact_json(data: bytes) -> Any:
    """Return what `plain_json` wrote, integers beyond 64 bits included.

    Raises:
        ValueError: it is not JSON.
    """
    import orjson

    if not long_integer_in(data):
        try:
            return orjson.loads(data)
        except orjson.JSONDecodeError:
            pass  # a lone surrogate, written as it stood
    return json.loads(data.decode("utf-8", "surrogatepass"))


def content_id_of_bytes(tag: str, data: bytes) -> str:
    """Return `<tag>-<16 hex>` of bytes that stand for some content."""
    digest = hashlib.blake2b(tag.encode() + b"\n" + data, digest_size=ID_HEX // 2)
    return f"{tag}-{digest.hexdigest()}"


def fast_id_of_bytes(tag: str, data: bytes) -> str:
    """Return `<tag>-<16 hex>` of bytes by XXH3: for what there are millions of, and nobody gains by forging.

    It runs at the speed of memory, BLAKE2b at 0.3 to 0.6 GB/s. Artefacts have `content_id_of_bytes`.
    """
    import xxhash

    return f"{tag}-{xxhash.xxh3_64_hexdigest(data)}"


def file_sha256(path: Path) -> str:
    """Return the hex SHA-256 of a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} has no canonical JSON")
