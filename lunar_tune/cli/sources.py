"""The command `sources`."""

from __future__ import annotations

import click

from lunar_tune.cli.options import Context, json_flag, settings_flags
from lunar_tune.cli.output import Talk, print_json, print_table
from lunar_tune.settings import Settings


@click.command()
@click.argument("logs", nargs=-1)
@json_flag
@settings_flags("harvest")
def sources(context: Context, logs: tuple[str, ...], as_json: bool, settings: Settings) -> None:
    """Say which logs are here, what each holds, lacks and needs.

    \b
    Example:
      lunar-tune sources
    """
    from lunar_tune import workflow

    talk = Talk()
    try:
        found = workflow.describe_logs(settings, logs, talk)
    finally:
        talk.close()
    if as_json:
        return print_json(found)
    if not found:
        click.echo("No agent log found. Name one: lunar-tune harvest PATH")
        return
    rows = [
        (f["path"], "-", "-", "-", "-", f"cannot be read: {f['problem']}")
        if f["problem"]
        else (f["path"], f["source"], f["conversations"], f["calls"], f["ratings"], f["lacks"])
        for f in found
    ]
    print_table(("log", "format", "conversations", "calls", "ratings", "lacks"), rows)
    for entry in found:
        if not entry["problem"]:
            click.echo(f"lunar-tune harvest {entry['path']}")
