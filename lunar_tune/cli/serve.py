"""The command `serve`."""

from __future__ import annotations

import click

from lunar_tune.cli.options import Context, settings_flags
from lunar_tune.cli.output import Talk
from lunar_tune.settings import Settings


@click.command()
@settings_flags("serve")
def serve(context: Context, settings: Settings) -> None:
    """Answer OpenAI-compatible requests with the current version.

    The local registry's pointer is followed at every request; Ctrl-C ends the door.

    \b
    Example:
      lunar-tune serve --port 11500
    """
    from lunar_tune.serve import run_door

    run_door(context.home, settings.serve, settings.deploy.name, Talk())
