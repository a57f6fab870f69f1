"""The command `export`."""

from __future__ import annotations

import click

from lunar_tune.cli.options import Context, json_flag, settings_flags
from lunar_tune.cli.output import Talk, print_json
from lunar_tune.settings import Settings


@click.command()
@click.option("--run", "run_id", help="Training run to ship; the newest unless named.")
@json_flag
@settings_flags("export")
def export(context: Context, run_id: str | None, as_json: bool, settings: Settings) -> None:
    """Fuse an adapter into its base; write GGUF and Modelfile.

    The written model is compared with its source before it counts as finished.

    \b
    Example:
      lunar-tune export --quant Q4_K_M
    """
    from lunar_tune import workflow

    with workflow.open_workspace(context.home, settings, Talk()) as space:
        model = workflow.export(space, workflow.find_run(context.home, run_id))
    if as_json:
        return print_json(dict(model.manifest) | {"path": str(model.path)})
    click.echo(f"{model.version}: {model.gguf}")
    click.echo(f"By hand: ollama create {settings.deploy.name} -f {model.path / 'Modelfile'}")
