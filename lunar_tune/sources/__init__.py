"""Readers of agents' logs: SQLite in, canonical episodes out. What a log lacks is said, not guessed."""

from __future__ import annotations

from collections.abc import Callable

from lunar_tune.hookspecs import hookimpl
from lunar_tune.seams import Source


@hookimpl
def register_sources(register: Callable[[Source], None]) -> None:
    """Register the built-in readers."""
    from lunar_tune.sources.llm import LlmSource
    from lunar_tune.sources.lunar import LunarSource

    register(LlmSource())
    register(LunarSource())
