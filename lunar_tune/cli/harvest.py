"""The command `harvest`."""

from __future__ import annotations

import click

from lunar_tune.cli.options import Context, json_flag, settings_flags
from lunar_tune.cli.output import Talk
from lunar_tune.cli.show import show_dataset
from lunar_tune.settings import Settings


@click.command()
@click.argument("logs", nargs=-1)
@click.option("--full", is_flag=True, help="Read everything again, not only what is new or changed.")
@json_flag
@settings_flags("harvest", "curate", "dataset")
def harvest(context: Context, logs: tuple[str, ...], full: bool, as_json: bool, settings: Settings) -> None:
    """Read agent logs, curate them and write a dataset.

    LOGS are database files, or folders of JSONL; without any, those in the settings or found on this machine are read.
    Conversations that did not change since the last harvest are not read again.

    \b
    Example:
      lunar-tune harvest ~/lunar/logs.db
    """
    from lunar_tune import workflow

    with workflow.open_workspace(context.home, settings, Talk()) as space:
        dataset = workflow.harvest(space, logs, full=full)
    show_dataset(dict(dataset.manifest), str(dataset.path), as_json)
