"""The command `evaluate`."""

from __future__ import annotations

import click

from lunar_tune.cli.options import Context, json_flag, settings_flags
from lunar_tune.cli.output import Talk, print_json
from lunar_tune.cli.show import show_evaluation
from lunar_tune.settings import Settings


@click.command()
@click.argument("version", required=False)
@click.option("--dataset", "dataset_id", help="Dataset whose held-out turns judge; the newest unless named.")
@json_flag
@settings_flags("evaluate", "gate")
def evaluate(context: Context, version: str | None, dataset_id: str | None, as_json: bool, settings: Settings) -> None:
    """Judge a version beside its base and the version in use.

    The newest VERSION is judged unless named, on held-out turns and on probes of what the base could do.

    \b
    Example:
      lunar-tune evaluate --json
    """
    from lunar_tune import workflow

    with workflow.open_workspace(context.home, settings, Talk()) as space:
        model = workflow.find_model(context.home, version)
        evaluation = workflow.evaluate(space, workflow.find_dataset(context.home, dataset_id), model)
    document = workflow.evaluation_document(evaluation)
    if as_json:
        return print_json(document)
    show_evaluation(document)
