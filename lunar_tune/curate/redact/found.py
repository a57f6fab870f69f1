"""A secret that was found: where it stands and what it is."""

from __future__ import annotations

from typing import NamedTuple


class Found(NamedTuple):
    """A place in a text; `since` is where the words that tell it begin. One that is `alone` is replaced there only."""

    begin: int
    end: int
    kind: str
    alone: bool
    since: int
