"""The command `train`."""

from __future__ import annotations

import click

from lunar_tune.cli.options import Context, json_flag, settings_flags
from lunar_tune.cli.output import Talk, print_json
from lunar_tune.settings import Settings


@click.command()
@click.option("--dataset", "dataset_id", help="Dataset to learn from; the newest unless named.")
@click.option("--force", is_flag=True, help="Train even on very few examples.")
@click.option("--plan", is_flag=True, help="Print what a run would take: memory, time, energy, disk; no training.")
@click.option("--presets", is_flag=True, help="Print the presets with every value's reason; no training.")
@click.option(
    "--show-tokens", type=click.IntRange(1), metavar="N", help="Print N rows, the learnt marked; no training."
)
@json_flag
@settings_flags("train", "prompt")
def train(
    context: Context,
    dataset_id: str | None,
    force: bool,
    plan: bool,
    presets: bool,
    show_tokens: int | None,
    as_json: bool,
    settings: Settings,
) -> None:
    """Train a LoRA adapter on a dataset, or go on with a stopped run.

    \b
    Example:
      lunar-tune train --base meta-llama/Llama-3.2-3B-Instruct
      lunar-tune train --plan
      lunar-tune train --show-tokens 3
    """
    from lunar_tune import workflow
    from lunar_tune.cli import show_plan, show_train

    if presets:
        return show_train.show_presets(as_json)
    if show_tokens:
        with workflow.open_workspace(context.home, settings, Talk()) as space:
            found = workflow.trained_rows(space, workflow.find_dataset(context.home, dataset_id), show_tokens)
        return show_train.show_tokens(found, as_json)
    if plan:
        with workflow.open_workspace(context.home, settings, Talk()) as space:
            foreseen = workflow.plan_run(space, workflow.find_dataset(context.home, dataset_id))
        return show_plan.show_plan(foreseen, as_json)
    with workflow.open_workspace(context.home, settings, Talk()) as space:
        run = workflow.train(space, workflow.find_dataset(context.home, dataset_id), force=force)
    if as_json:
        return print_json({"run": run.id, "path": str(run.path), **run.manifest})
    click.echo(f"{run.id}: best validation loss {run.manifest['valid_loss']} at step {run.manifest['best_step']}")
    if run.manifest["stopped_early"]:
        click.echo(f"stopped early after step {run.manifest['steps']}: train.patience = {settings.train.patience}")
    return click.echo(str(run.path))
