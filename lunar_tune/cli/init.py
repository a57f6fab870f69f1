"""The command `init`."""

from __future__ import annotations

from dataclasses import fields

import click

from lunar_tune.cli.options import Context, pass_context
from lunar_tune.settings import Settings


@click.command()
@click.option("--show", is_flag=True, help="Print every setting with its default and write nothing.")
@pass_context
def init(context: Context, show: bool) -> None:
    """Write a settings file that names every setting in a comment.

    \b
    Example:
      lunar-tune init
    """
    from lunar_tune.errors import UsageError
    from lunar_tune.files import write_text

    text = settings_text()
    if show:
        click.echo(text, nl=False)
        return
    path = context.home / "lunar.toml"
    if path.exists():
        raise UsageError(
            f"{str(path)!r} exists already and was not touched.", "`lunar-tune init --show` prints the defaults."
        )
    write_text(path, text)
    click.echo(str(path))


def settings_text() -> str:
    """Return every section and key as TOML, keys commented out, each with its help."""
    lines: list[str] = []
    defaults = Settings()
    for section in fields(defaults):
        lines.append(f"[{section.name}]")
        values = getattr(defaults, section.name)
        for item in fields(values):
            shown = item.metadata["example"] or _toml(getattr(values, item.name))
            lines += [f"# {item.metadata['help']}", f"# {item.name} = {shown}"]
        lines.append("")
    return "\n".join(lines)


def _toml(value: object) -> str:
    import json

    if value is None:
        return '""'
    return json.dumps(list(value) if isinstance(value, tuple) else value)
