"""The command `train`."""

from __future__ import annotations

import click

from lunar_tune.cli.options import Context, json_flag, settings_flags
from lunar_tune.cli.output import Talk, print_json
from lunar_tune.settings import Settings


@click.command()
@click.option("--dataset", "dataset_id", help="Dataset to learn from; the newest unless named.")
@click.option("--force", is_flag=True, help="Train even on very few examples.")
@json_flag
@settings_flags("train", "prompt")
def train(context: Context, dataset_id: str | None, force: bool, as_json: bool, settings: Settings) -> None:
    """Train a LoRA adapter on a dataset, or go on with a stopped run.

    \b
    Example:
      lunar-tune train --base meta-llama/Llama-3.2-3B-Instruct
    """
    from lunar_tune import workflow

    with workflow.open_workspace(context.home, settings, Talk()) as space:
        run = workflow.train(space, workflow.find_dataset(context.home, dataset_id), force=force)
    if as_json:
        return print_json({"run": run.id, "path": str(run.path), **run.manifest})
    click.echo(f"{run.id}: best validation loss {run.manifest['valid_loss']} at step {run.manifest['best_step']}")
    click.echo(str(run.path))
