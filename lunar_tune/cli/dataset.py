"""The command `dataset`."""

from __future__ import annotations

import click

from lunar_tune.cli.options import Context, json_flag, pass_context
from lunar_tune.cli.show import show_dataset


@click.group()
def dataset() -> None:
    """Look at a dataset."""


@dataset.command()
@click.argument("dataset_id", required=False)
@json_flag
@pass_context
def show(context: Context, dataset_id: str | None, as_json: bool) -> None:
    """Say what is in a dataset and why the rest is not; the newest one unless named.

    \b
    Example:
      lunar-tune dataset show
    """
    from lunar_tune import workflow

    found = workflow.find_dataset(context.home, dataset_id)
    show_dataset(dict(found.manifest), str(found.path), as_json)
