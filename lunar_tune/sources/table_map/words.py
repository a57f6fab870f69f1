"""What the words in somebody's columns mean: roles, ratings, names of conversations."""

from __future__ import annotations

import math
from typing import Any

from lunar_tune.episodes import Role
from lunar_tune.sources.core import cells
from lunar_tune.table_map import OTHERWISE, TableMap

ROLES: dict[str, Role] = {
    "user": "user", "human": "user", "customer": "user", "client": "user",
    "assistant": "assistant", "ai": "assistant", "bot": "assistant", "agent": "assistant", "model": "assistant",
    "system": "system", "developer": "system",
    "tool": "tool", "function": "tool", "tool_result": "tool",
}  # fmt: skip
RATINGS = {
    "up": 1.0, "good": 1.0, "like": 1.0, "liked": 1.0, "positive": 1.0, "thumbs_up": 1.0, "thumbsup": 1.0, "true": 1.0,
    "yes": 1.0, "👍": 1.0, "down": -1.0, "bad": -1.0, "dislike": -1.0, "disliked": -1.0, "negative": -1.0,
    "thumbs_down": -1.0, "thumbsdown": -1.0, "false": -1.0, "no": -1.0, "👎": -1.0,
}  # fmt: skip
LONGEST = 100  # letters; no role and no rating is longer


def role(cell: Any, spec: TableMap) -> Role | None:
    """Return the role that a cell means, None when neither the map nor the usual words say."""
    if isinstance(cell, str) and cell in spec.roles:
        return spec.roles[cell]
    said = word(cell)
    if not said:
        return None
    return spec.roles.get(said) or spec.roles.get(said.lower()) or ROLES.get(said.lower()) or spec.roles.get(OTHERWISE)


def rating(cell: Any, spec: TableMap) -> float | None:
    """Return a rating as a number: by the map, by the usual words, or as it is."""
    said = word(cell)
    if said in spec.ratings:
        return spec.ratings[said]
    if said.lower() in RATINGS:
        return RATINGS[said.lower()]
    try:
        number = float(said)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def word(cell: Any) -> str:
    """Return a cell as one word, "" for what is none."""
    said = (cells.text(_number(cell)) or "").strip()
    return said if len(said) <= LONGEST else ""


def name(cell: Any) -> str:
    """Return a key as text, bytes that are none in hex; "" for what names nothing."""
    if isinstance(cell, bytes) and cells.text(cell) is None:
        return cell.hex()
    return cells.text(_number(cell)) or ""


def _number(cell: Any) -> Any:
    """Return a whole number without its point, whatever the column's type made of it."""
    return int(cell) if isinstance(cell, float) and cell.is_integer() else cell
