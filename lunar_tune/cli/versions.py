"""The command `versions`."""

from __future__ import annotations

import click

from lunar_tune.cli.options import Context, json_flag, settings_flags
from lunar_tune.cli.output import Talk, print_json, print_table
from lunar_tune.settings import Settings


@click.command()
@json_flag
@settings_flags("deploy")
def versions(context: Context, as_json: bool, settings: Settings) -> None:
    """List the versions, newest first, and which one is current.

    \b
    Example:
      lunar-tune versions --json
    """
    from lunar_tune import workflow

    with workflow.open_workspace(context.home, settings, Talk(), locked=False) as space:
        listed = workflow.versions(space)
    if as_json:
        return print_json(listed)
    if not listed:
        click.echo("No version yet. `lunar-tune nightly` makes one.")
        return
    rows = [
        ("*" if row["current"] else "", row["version"], row["created_at"], row["quant"], row["registry"])
        for row in listed
    ]
    print_table(("current", "version", "created", "quant", "registry"), rows)
