"""The command `forget`."""

from __future__ import annotations

import click

from lunar_tune.cli.options import Context, json_flag, settings_flags
from lunar_tune.cli.output import Talk, print_json
from lunar_tune.settings import Settings


@click.command()
@click.argument("threads", nargs=-1, required=True)
@click.option("--undo", is_flag=True, help="Let these threads be read again.")
@json_flag
@settings_flags()
def forget(context: Context, threads: tuple[str, ...], undo: bool, as_json: bool, settings: Settings) -> None:
    """Remove conversations from the workspace for good, and never read them again.

    THREADS are the names that `lunar-tune episodes` shows. Episodes, datasets and cached texts that hold them are
    deleted. A model that was trained on them keeps what it learnt: the next night trains without them.

    \b
    Example:
      lunar-tune forget conv-17
    """
    from lunar_tune import workflow

    with workflow.open_workspace(context.home, settings, Talk()) as space:
        told = workflow.remember(space, threads) if undo else workflow.forget(space, threads)
    if as_json:
        return print_json(told)
    for line in told["said"]:
        click.echo(line)
