"""The hooks that a plugin can implement; the built-ins enter by the same door."""

from __future__ import annotations

from collections.abc import Callable

import pluggy

from lunar_tune.seams import Backend, FileSource, Source, Step

hookspec = pluggy.HookspecMarker("lunar_tune")
hookimpl = pluggy.HookimplMarker("lunar_tune")


@hookspec
def register_sources(register: Callable[[Source | FileSource], None]) -> None:
    """Register readers of agent logs; the first that recognises a log reads it."""


@hookspec
def register_steps(register: Callable[[Step], None]) -> None:
    """Register curation steps; they run after the built-in ones."""


@hookspec
def register_backends(register: Callable[[str, Callable[[], Backend]], None]) -> None:
    """Register trainers as (name, factory); a factory explains what is missing by raising `MissingExtra`."""
