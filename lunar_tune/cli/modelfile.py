"""The command `modelfile`."""

from __future__ import annotations

import click

from lunar_tune.cli.options import Context, pass_context


@click.command()
@click.argument("version", required=False)
@pass_context
def modelfile(context: Context, version: str | None) -> None:
    """Print the Modelfile of a version, the newest unless named.

    \b
    Example:
      lunar-tune modelfile > Modelfile
    """
    from lunar_tune import workflow

    click.echo((workflow.find_model(context.home, version).path / "Modelfile").read_text(encoding="utf-8"), nl=False)
