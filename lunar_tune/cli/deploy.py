"""The command `deploy`."""

from __future__ import annotations

import click

from lunar_tune.cli.options import Context, settings_flags
from lunar_tune.cli.output import Talk
from lunar_tune.settings import Settings


@click.command()
@click.argument("version", required=False)
@settings_flags("deploy")
def deploy(context: Context, version: str | None, settings: Settings) -> None:
    """Put a version into the registry without making it current.

    VERSION is the newest one unless named.

    \b
    Example:
      lunar-tune deploy --registry ollama
    """
    from lunar_tune import workflow

    with workflow.open_workspace(context.home, settings, Talk()) as space:
        model = workflow.find_model(context.home, version)
        registry = workflow.deploy(space, model)
    click.echo(
        f"{model.version} is in the {registry.name} registry. `lunar-tune promote {model.version}` makes it current."
    )
