"""The command `episodes`."""

from __future__ import annotations

import sys

import click

from lunar_tune.cli.options import Context, settings_flags
from lunar_tune.settings import Settings


@click.command()
@click.argument("logs", nargs=-1)
@settings_flags("harvest")
def episodes(context: Context, logs: tuple[str, ...], settings: Settings) -> None:
    """Print the canonical episodes of logs as JSONL, unredacted.

    This is what the readers understood, before curation.

    \b
    Example:
      lunar-tune episodes ~/lunar/logs.db | head -1
    """
    from lunar_tune import workflow
    from lunar_tune.artefacts import Verdict

    lost: list[Verdict] = []
    out = sys.stdout.buffer
    for line in workflow.episode_lines(settings, logs, lost):
        out.write(line + b"\n")
    out.flush()
    for verdict in lost:
        click.echo(f"not read: {verdict.id} {verdict.reason} {verdict.detail}".rstrip(), err=True)
