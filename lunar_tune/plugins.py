"""One plugin manager: built-ins by dotted name, third parties by the entry point group `lunar_tune`."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from functools import cache

import pluggy

from lunar_tune import hookspecs
from lunar_tune.seams import Backend, FileSource, Source, Step

BUILT_IN = ("lunar_tune.sources", "lunar_tune.train.backends")
NO_PLUGINS = "LUNAR_TUNE_NO_PLUGINS"


@cache
def manager() -> pluggy.PluginManager:
    """Return the plugin manager with the built-ins and, unless `LUNAR_TUNE_NO_PLUGINS` is set, third parties loaded."""
    plugins = pluggy.PluginManager("lunar_tune")
    plugins.add_hookspecs(hookspecs)
    if not os.environ.get(NO_PLUGINS):
        plugins.load_setuptools_entrypoints("lunar_tune")
    for name in reversed(BUILT_IN):  # pluggy calls the last registered first; built-ins come first
        plugins.register(importlib.import_module(name), name)
    return plugins


def sources() -> list[Source | FileSource]:
    """Return every registered log reader, built-ins first."""
    found: list[Source | FileSource] = []
    manager().hook.register_sources(register=found.append)
    return found


def steps() -> list[Step]:
    """Return the curation steps that plugins add."""
    found: list[Step] = []
    manager().hook.register_steps(register=found.append)
    return found


def backends() -> dict[str, Callable[[], Backend]]:
    """Return the trainers' factories by name."""
    found: dict[str, Callable[[], Backend]] = {}
    manager().hook.register_backends(register=found.__setitem__)
    return found
