"""The command `episodes`."""

from __future__ import annotations

import click

from lunar_tune.cli.options import Context, settings_flags
from lunar_tune.cli.output import Talk
from lunar_tune.settings import Settings


@click.command()
@click.argument("logs", nargs=-1)
@settings_flags("harvest")
def episodes(context: Context, logs: tuple[str, ...], settings: Settings) -> None:
    """Print the canonical episodes of logs as JSONL, before curation and unredacted.

    \b
    Example:
      lunar-tune episodes ~/lunar/logs.db | head -1
    """
    from lunar_tune import workflow

    for line in workflow.episode_lines(settings, logs, Talk()):
        click.echo(line)
