"""The command `promote`."""

from __future__ import annotations

import click

from lunar_tune.cli.options import Context, settings_flags
from lunar_tune.cli.output import Talk
from lunar_tune.settings import Settings


@click.command()
@click.argument("version")
@click.option("--force", is_flag=True, help="Promote a version that no evaluation approved.")
@settings_flags("deploy")
def promote(context: Context, version: str, force: bool, settings: Settings) -> None:
    """Make VERSION the one that the agent's next request meets.

    \b
    Example:
      lunar-tune promote v-0123456789abcdef
    """
    from lunar_tune import workflow

    with workflow.open_workspace(context.home, settings, Talk()) as space:
        workflow.promote(space, version, force=force)
    click.echo(f"{version} is current.")
