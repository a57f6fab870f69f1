"""The command `rollback`."""

from __future__ import annotations

import click

from lunar_tune.cli.options import Context, settings_flags
from lunar_tune.cli.output import Talk
from lunar_tune.settings import Settings


@click.command()
@settings_flags("deploy")
def rollback(context: Context, settings: Settings) -> None:
    """Go back to the version that was current before.

    \b
    Example:
      lunar-tune rollback
    """
    from lunar_tune import workflow

    with workflow.open_workspace(context.home, settings, Talk()) as space:
        version = workflow.rollback(space)
    click.echo(f"{version} is current again.")
