"""Settings as flags: every field of a stage's dataclass is a flag of that stage's command."""

from __future__ import annotations

import functools
import typing
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import click

from lunar_tune.errors import SettingsError, UsageError
from lunar_tune.settings import Settings, load_settings

Command = Callable[..., Any]


@dataclass
class Context:
    """What the group knows and hands to a command."""

    home: Path
    config: Path | None
    values: tuple[str, ...]

    def settings(self, flags: dict[str, dict[str, Any]] | None = None) -> Settings:
        """Return the settings of the files, `--set`, and a command's own flags, in this order.

        Raises:
            SettingsError: unknown keys and wrong values.
            UsageError: `--config` names no file.
        """
        if self.config is not None and not self.config.is_file():
            raise UsageError(f"No settings file at {str(self.config)!r}.", "`lunar-tune init` writes one.")
        merged = _assignments(self.values)
        for section, values in (flags or {}).items():
            merged.setdefault(section, {}).update(values)
        return load_settings([self.home / "lunar.toml", self.config or Path("lunar.toml")], merged)


def _assignments(values: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    import tomllib

    merged: dict[str, dict[str, Any]] = {}
    for text in values:
        key, equals, value = text.partition("=")
        section, dot, name = key.strip().partition(".")
        if not (equals and dot and name):
            raise SettingsError([f"{text!r} is not SECTION.KEY=VALUE"], "--set")
        try:
            parsed = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            parsed = value  # a bare word is a text
        merged.setdefault(section, {})[name] = parsed
    return merged


pass_context = click.make_pass_decorator(Context)


def _flagged(section: str) -> list[Any]:
    """Return the fields of a section that have a flag."""
    return [field for field in fields(getattr(Settings(), section)) if field.metadata["flag"]]


def settings_flags(*sections: str) -> Callable[[Command], Command]:
    """Add a flag for every setting of the sections; the command receives `settings`, flags laid over the files."""

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def with_settings(context: Context, *args: Any, **given: Any) -> Any:
            flags: dict[str, dict[str, Any]] = {section: {} for section in sections}
            for section in sections:
                for field in _flagged(section):
                    value = given.pop(f"{section}__{field.name}")
                    if value is not None and value != ():
                        flags[section][field.name] = value
            return command(context, *args, settings=context.settings(flags), **given)

        flagged: Command = with_settings
        for section in reversed(sections):
            for field in reversed(_flagged(section)):
                flagged = _flag(section, field)(flagged)
        return pass_context(flagged)

    return decorate


@functools.cache
def _hints(section: str) -> dict[str, Any]:
    return typing.get_type_hints(type(getattr(Settings(), section)))


def _flag(section: str, field: Any) -> Callable[[Command], Command]:
    hint = _hints(section)[field.name]
    name = field.name.replace("_", "-")
    shown = f"{field.metadata['help']} [{_shown(field.default)}]"
    destination = f"{section}__{field.name}"
    if hint is bool:
        return click.option(f"--{name}/--no-{name}", destination, default=None, help=shown)
    if typing.get_origin(hint) is Literal:
        kind: Any = click.Choice(list(typing.get_args(hint)))
    elif typing.get_origin(hint) is tuple:
        return click.option(f"--{name}", destination, multiple=True, help=shown)
    else:
        kind = hint if hint in (int, float) else str
    return click.option(f"--{name}", destination, type=kind, default=None, help=shown)


def _shown(default: Any) -> str:
    if default is None or default == ():
        return "none"
    return (
        ", ".join(default)
        if isinstance(default, tuple)
        else str(default).lower()
        if isinstance(default, bool)
        else str(default)
    )


def json_flag(command: Command) -> Command:
    """Add `--json`: one JSON document on stdout and nothing else there."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")(command)
