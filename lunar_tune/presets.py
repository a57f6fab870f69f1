"""Presets: recipes for training as data, each value with its reason, in `presets.toml`.

A preset is what the settings of `[train]` are where nothing else was set; a value that somebody set wins over it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple


class Chosen(NamedTuple):
    """A preset's value of one setting, and why."""

    value: Any
    reason: str


@dataclass(frozen=True, slots=True)
class Preset:
    """A recipe: what it is for in a sentence, and its settings of `[train]`."""

    about: str
    settings: Mapping[str, Chosen]


@cache
def presets() -> Mapping[str, Preset]:
    """Return every preset by name, in the order of the file."""
    import tomllib

    read = tomllib.loads(files("lunar_tune").joinpath("presets.toml").read_text(encoding="utf-8"))
    common = read.pop("all")
    found = {}
    for name, own in read.items():
        about = own.pop("about")
        settings = {key: Chosen(_frozen(said["value"]), said["reason"]) for key, said in (common | own).items()}
        found[name] = Preset(about, settings)
    return found


def preset_values(name: Any) -> dict[str, Any]:
    """Return a preset's settings of `[train]`; of a name that is none, nothing."""
    preset = presets().get(name) if isinstance(name, str) else None
    return {key: chosen.value for key, chosen in preset.settings.items()} if preset else {}


def changed(settings: Any) -> list[str]:
    """Return the names of the settings, of a `TrainSettings`, that are not its preset's."""
    return [key for key, value in preset_values(settings.preset).items() if getattr(settings, key) != value]


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
