"""The command `nightly`."""

from __future__ import annotations

import click

from lunar_tune.cli.options import Context, json_flag, settings_flags
from lunar_tune.cli.output import Talk, clock, print_json
from lunar_tune.cli.show import show_evaluation
from lunar_tune.settings import Settings

REFUSED = 3


@click.command()
@click.argument("logs", nargs=-1)
@click.option("--force", is_flag=True, help="Train even on very few examples.")
@json_flag
@settings_flags("deploy")
def nightly(context: Context, logs: tuple[str, ...], force: bool, as_json: bool, settings: Settings) -> int:
    """Run the whole loop once and promote only what is better.

    An interrupted night goes on where it stopped. Other settings come from lunar.toml or `--set`.

    \b
    Example:
      lunar-tune nightly
      0 3 * * *  lunar-tune nightly --json >> ~/lunar-nightly.jsonl
    """
    from lunar_tune import nightly as loop
    from lunar_tune import workflow

    with workflow.open_workspace(context.home, settings, Talk()) as space:
        night = loop.nightly(space, logs, force=force)
    document = night.document()
    if as_json:
        print_json(document)
    else:
        if night.evaluation is not None:
            show_evaluation(workflow.evaluation_document(night.evaluation))
        else:
            for reason in night.reasons:
                click.echo(f"  {reason}")
        took = ", ".join(f"{stage} {clock(seconds)}" for stage, seconds in night.seconds.items())
        click.echo(f"{night.outcome}{f' {night.version}' if night.version else ''}{f' ({took})' if took else ''}")
    return REFUSED if night.outcome == "refused" else 0
