"""The command `runs`."""

from __future__ import annotations

import click

from lunar_tune.cli.options import Context, json_flag, pass_context
from lunar_tune.cli.output import print_json, print_table


@click.command()
@click.option("--limit", default=20, show_default=True, help="How many.")
@json_flag
@pass_context
def runs(context: Context, limit: int, as_json: bool) -> None:
    """List what ran in this workspace, newest first.

    \b
    Example:
      lunar-tune runs
    """
    from lunar_tune.store import Store

    listed = Store(context.home).runs(limit)
    if as_json:
        return print_json(listed)
    print_table(
        ("run", "command", "began", "ended", "outcome"),
        [
            (row["id"], row["command"], row["started_at"], row["finished_at"], row["outcome"] or "not finished")
            for row in listed
        ],
    )
