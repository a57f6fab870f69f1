"""Canonical JSON and content ids: the same content has the same name on every machine."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

ID_HEX = 16  # 64 bits: a collision among a million artefacts has odds below 1 in 10 million


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
    digest = hashlib.blake2b(
        f"{tag}\n{canonical_json(value)}".encode("utf-8", "surrogatepass"), digest_size=ID_HEX // 2
    )
    return f"{tag}-{digest.hexdigest()}"


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
