"""The command `advise`."""

from __future__ import annotations

import click

from lunar_tune.cli.options import Context, json_flag, settings_flags
from lunar_tune.cli.output import Talk, print_json, print_table
from lunar_tune.settings import Settings


@click.command()
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@json_flag
@settings_flags()
def advise(context: Context, paths: tuple[str, ...], as_json: bool, settings: Settings) -> None:
    """Say whether to prompt, retrieve or fine-tune, with the evidence.

    Answers from the newest dataset; PATHs are harvested first, and so are the logs of a workspace without a dataset.

    \b
    Example:
      lunar-tune advise ~/lunar/logs.db
    """
    from lunar_tune import workflow
    from lunar_tune.advise import advise as advised
    from lunar_tune.advise import table
    from lunar_tune.errors import ArtefactMissing

    try:
        dataset = None if paths else workflow.find_dataset(context.home)
    except ArtefactMissing:
        dataset = None
    if dataset is None:
        with workflow.open_workspace(context.home, settings, Talk()) as space:
            dataset = workflow.harvest(space, paths)
    advice = advised(context.home, dataset, settings)
    if as_json:
        return print_json(advice.document())
    click.echo(f"{advice.verdict}: {'; '.join(advice.reasons)}.")
    for remark in advice.also:
        click.echo(f"  {remark}.")
    print_table(["evidence", "found", "bar"], table(advice.evidence), f"From {advice.dataset}")
    click.echo(f"next: {advice.next}")
